"""Worlds of brax, written on what is seen: its inverted pendulum and its hopper, in the generalized backend.

That backend's state is (q, q̇), which is put together again from what is seen; then a step is brax's own. In the spring
backend joints stretch, and how far is not seen: under random actions a step from a state that was put together again
explains 1 % of how the pole's speed changes in brax's own. So the backend here is the generalized one, brax's default.

`brax:inverted_pendulum`: seen (x, θ, ẋ, θ̇); |u| ≤ 1 is a force on the cart, 0.04 s. A step pays 1; |θ| > 0.2 ends the
episode; T = 200, which is the optimum.

`brax:hopper`: seen (Δx, z, 4 angles, ẋ, ż, 4 angular speeds), speeds within ±10; |u_i| ≤ 1, three torques, 0.008 s. A
step pays Δx/0.008 + 1 − 0.001·‖u‖², of the clipped u, and the episode ends unless z > 0.7 and the torso leans less than
0.2; T = 1,000. brax does not show where the hopper is, but pays for how far a step has brought it. That distance, Δx,
is seen here, in front of brax's own eleven numbers, and every step begins at x = 0. In brax a speed beyond ±10 is kept,
and one beyond ±100 ends the episode; here, where it is not seen, it is 10 in the next step.

brax's reacher is left out: it shows the velocity of the tip in place of the speeds of the joints, and with the arm
along the axis, about where every episode begins, different speeds of the joints give the same velocity of the tip.

Source: brax 0.14, `brax.envs.inverted_pendulum` and `brax.envs.hopper`. Needs the extra `sbmrl[brax]`.
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.errors import InputError
from sbmrl.games.continuous.simulator import (
    BY_CONSTRUCTION,
    Box,
    Known,
    Physics,
    Rules,
    Simulator,
    clip_action,
)

FORCES = Box((-1.0,), (1.0,))
TORQUES = Box((-1.0,) * 3, (1.0,) * 3)
STEEPEST, LOWEST = 0.2, 0.7
FASTEST = 10.0
HEIGHT = 1.25  # of the hopper's torso where q is 0
HOPPER_SECONDS = 0.008
CONTROL_COST = 1e-3


@functools.cache
def _brax(module: str, name: str, **options: Any) -> Any:
    """An environment of brax, loaded when it is first needed: importing brax takes seconds."""
    # What brax and mujoco say of packages that are missing and of their own future is not about the run.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with jax.ensure_compile_time_eval():  # whatever is traced now, its arrays are constants
            return getattr(importlib.import_module(f"brax.envs.{module}"), name)(backend="generalized", **options)


def _inverted_pendulum() -> Any:
    return _brax("inverted_pendulum", "InvertedPendulum")


def _hopper() -> Any:
    return _brax("hopper", "Hopper", exclude_current_positions_from_observation=False)


def _moved(environment: Any, positions: jax.Array, speeds: jax.Array, action: jax.Array) -> jax.Array:
    """What is seen after a step from (q, q̇)."""
    state = importlib.import_module("brax.envs.base").State
    zero = jnp.zeros(())
    before = state(environment.pipeline_init(positions, speeds), zero, zero, zero, {}, {})
    return environment.step(before, action).obs


def _start_pendulum(key: jax.Array, physics: Physics) -> jax.Array:
    return _inverted_pendulum().reset(key).obs


def _step_pendulum(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    positions, speeds = jnp.split(observation, 2)
    return _moved(_inverted_pendulum(), positions, speeds, clip_action(FORCES, action))


def _reward_pendulum(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    return jnp.ones((), observation.dtype)


def _terminated_pendulum(physics: Physics, following: jax.Array) -> jax.Array:
    return jnp.abs(following[1]) > STEEPEST


def _project_pendulum(observation: jax.Array) -> jax.Array:
    return observation


def _start_hopper(key: jax.Array, physics: Physics) -> jax.Array:
    return _hopper().reset(key).obs.at[0].set(0.0)


def _step_hopper(key: jax.Array, physics: Physics, observation: jax.Array, action: jax.Array) -> jax.Array:
    positions, speeds = jnp.split(observation, 2)
    positions = positions.at[0].set(0.0).at[1].add(-HEIGHT)
    return _moved(_hopper(), positions, speeds, clip_action(TORQUES, action))


def _reward_hopper(physics: Physics, observation: jax.Array, action: jax.Array, following: jax.Array) -> jax.Array:
    cost = CONTROL_COST * jnp.sum(clip_action(TORQUES, action) ** 2)
    return following[0] / HOPPER_SECONDS + 1 - cost


def _terminated_hopper(physics: Physics, following: jax.Array) -> jax.Array:
    return (following[1] <= LOWEST) | (jnp.abs(following[2]) >= STEEPEST)


def _project_hopper(observation: jax.Array) -> jax.Array:
    return observation.at[6:].set(jnp.clip(observation[6:], -FASTEST, FASTEST))


PENDULUM_RULES = Rules(
    _start_pendulum, _step_pendulum, _reward_pendulum, _terminated_pendulum, _project_pendulum, 4, FORCES
)
HOPPER_RULES = Rules(_start_hopper, _step_hopper, _reward_hopper, _terminated_hopper, _project_hopper, 12, TORQUES)
PENDULUM_KNOWN = Known(200.0, 5.8, BY_CONSTRUCTION)


def _require_brax(name: str) -> None:
    if importlib.util.find_spec("brax") is None:
        raise InputError(f"env: {name} needs the package brax: pip install 'sbmrl[brax]'")


def inverted_pendulum() -> Simulator:
    """The inverted pendulum of brax.

    Raises:
        InputError: brax is not installed; the same for the hopper.
    """
    _require_brax("brax:inverted_pendulum")
    return Simulator({}, "brax:inverted_pendulum", 200, PENDULUM_RULES, PENDULUM_KNOWN)


def hopper() -> Simulator:
    """The hopper of brax."""
    _require_brax("brax:hopper")
    return Simulator({}, "brax:hopper", 1000, HOPPER_RULES)


WORLDS: dict[str, tuple[str, Callable[[], Simulator]]] = {
    "brax:inverted_pendulum": (
        "balance a pole on a cart, 200 steps; optimum 200 (needs sbmrl[brax])",
        inverted_pendulum,
    ),
    "brax:hopper": ("one leg hops forward, 1,000 steps (needs sbmrl[brax])", hopper),
}
