"""Which linear-quadratic worlds there are."""

from collections.abc import Callable

import numpy as np

from sbmrl.core.files import SUFFIXES
from sbmrl.errors import require, require_known
from sbmrl.games.linear_quadratic.files import load_system
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem, SystemArrays, make_system


def _scalar() -> SystemArrays:
    one = np.ones((1, 1))
    return SystemArrays("lqr_scalar", 0.9 * one, 0.5 * one, one, 0.5 * one, 0.01 * one, one, 0.95)


def _double_integrator() -> SystemArrays:
    """A cart that is pushed: position and speed, a tenth of a second a step."""
    return SystemArrays(
        "lqr_double_integrator",
        A=np.array([[1.0, 0.1], [0.0, 1.0]]),
        B=np.array([[0.0], [0.1]]),
        Q=np.diag([1.0, 0.1]),
        R=np.array([[0.1]]),
        noise=1e-4 * np.eye(2),
        initial=np.eye(2),
        discount=0.99,
    )


def _four_states() -> SystemArrays:
    """Two carts joined by a spring, each pushed: two positions, two speeds, a tenth of a second a step."""
    step, spring, friction = 0.1, 2.0, 0.2
    pull = np.array([[-spring, spring], [spring, -spring]])
    flow = np.block([[np.zeros((2, 2)), np.eye(2)], [pull, -friction * np.eye(2)]])
    return SystemArrays(
        "lqr_four_states",
        A=np.eye(4) + step * flow,
        B=step * np.concatenate([np.zeros((2, 2)), np.eye(2)]),
        Q=np.diag([1.0, 1.0, 0.1, 0.1]),
        R=0.1 * np.eye(2),
        noise=1e-4 * np.eye(4),
        initial=np.eye(4),
        discount=0.98,
    )


def random_arrays(num_states: int, num_controls: int, seed: int) -> SystemArrays:
    """A random world: Gaussian A scaled to spectral radius 0.95, Gaussian B, Q = I, R = I/2, γ = 0.95."""
    generator = np.random.default_rng(seed)
    a = generator.normal(size=(num_states, num_states))
    a *= 0.95 / np.max(np.abs(np.linalg.eigvals(a)))
    return SystemArrays(
        f"lqr_random_{num_states}_{num_controls}_{seed}",
        A=a,
        B=generator.normal(size=(num_states, num_controls)),
        Q=np.eye(num_states),
        R=0.5 * np.eye(num_controls),
        noise=0.01 * np.eye(num_states),
        initial=np.eye(num_states),
        discount=0.95,
    )


SYSTEMS: dict[str, tuple[str, Callable[[], SystemArrays]]] = {
    "lqr_double_integrator": ("a cart that is pushed (2 states, 1 control)", _double_integrator),
    "lqr_scalar": ("one state, one control", _scalar),
    "lqr_four_states": ("two carts joined by a spring (4 states, 2 controls)", _four_states),
}


def make_world(name: str) -> LinearQuadraticSystem:
    """A named world, `lqr_random_N_M_SEED`, or the one in a JSON or npz file.

    Raises:
        InputError: an unknown name, with the nearest known one, or a file that is no linear-quadratic world.
    """
    if name.endswith(SUFFIXES):
        return make_system(load_system(name))
    if name.startswith("lqr_random_"):
        return make_system(_random_from_name(name))
    require_known(name, "env", [*SYSTEMS, "lqr_random_N_M_SEED", "a .json or .npz file"])
    require(name in SYSTEMS, "env", "write numbers for N, M and SEED, or a real file name", repr(name))
    return make_system(SYSTEMS[name][1]())


def _random_from_name(name: str) -> SystemArrays:
    parts = name.split("_")[2:]
    well_formed = len(parts) == 3 and all(part.isdecimal() for part in parts)
    require(well_formed, "env", "a random world is named lqr_random_N_M_SEED, as in lqr_random_3_1_0", repr(name))
    num_states, num_controls, seed = map(int, parts)
    require(min(num_states, num_controls) >= 1, "env", "a random world needs N ≥ 1 and M ≥ 1", repr(name))
    return random_arrays(num_states, num_controls, seed)
