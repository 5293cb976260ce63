"""Model-based RL on a linear-quadratic world as one part: its worlds, answers, presets and checks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.displays import GameDisplay
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import Composition, GameKind
from sbmrl.errors import InputError, require
from sbmrl.games.linear_quadratic.catalogue import SYSTEMS, make_world
from sbmrl.games.linear_quadratic.files import check_system, is_system_file, load_system
from sbmrl.games.linear_quadratic.game import linear_quadratic_game
from sbmrl.games.linear_quadratic.options import (
    IterationOptions,
    LinearQuadraticOptions,
    RegressionOptions,
    RiccatiOptions,
)
from sbmrl.games.linear_quadratic.presets import ENV, PRESETS
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem, control_part, make_system, state_part
from sbmrl.games.model_based.options import columns, refuse_void, require_plans


def _worlds() -> Mapping[str, str]:
    return {name: summary for name, (summary, _) in SYSTEMS.items()} | {
        "lqr_random_N_M_SEED": "a random stable system with N states and M controls",
        "FILE.json, FILE.npz": "your own A, B, Q, R (docs/how_to/linear_quadratic.md)",
    }


def _knows(env: str) -> bool:
    return env in SYSTEMS or env.startswith("lqr_random_") or is_system_file(env)


def _world_fields(world: LinearQuadraticSystem) -> dict[str, Any]:
    """A world's arrays in the format of the user's own files."""
    arrays = {
        "A": state_part(world.truth),
        "B": control_part(world.truth),
        "Q": world.state_cost,
        "R": world.control_cost,
        "noise": world.noise,
        "initial": world.initial,
    }
    plain = {name: np.asarray(array, np.float64).tolist() for name, array in arrays.items()}
    return {"name": world.name, **plain, "discount": world.discount}


def _check_world(world: LinearQuadraticSystem, where: str) -> None:
    check_system(_world_fields(world), world.name, where)


def _world_of_fields(path: Path) -> LinearQuadraticSystem:
    return make_system(load_system(path))


def _make_game(world: LinearQuadraticSystem, formulation: Formulation, options: LinearQuadraticOptions) -> Game:
    if options.loss == "kl":
        noise = np.asarray(world.noise, np.float64)
        least = float(np.linalg.eigvalsh(noise).min())
        allowed = f"must be squared in {world.name}: the noise of a KL divergence must reach every state"
        require(least > 1e-6 * np.abs(noise).max(), "loss", allowed, f"kl, with a smallest variance of {least:g}")
    return linear_quadratic_game(world, formulation, options)


def _exact(row: FormulationRow, differentiable: bool) -> RiccatiOptions | RegressionOptions | None:
    """A policy is the optimal control; a model that only fits has no error; one that wants more has no closed form."""
    if row.follower == "policy":
        return RiccatiOptions(derivative="exact" if differentiable else "none")
    return RegressionOptions() if LINEAR_QUADRATIC.only_predicts(row) else None


def _soft(row: FormulationRow, differentiable: bool) -> IterationOptions | None:
    del differentiable  # it always is
    return IterationOptions() if row.follower == "policy" or LINEAR_QUADRATIC.only_predicts(row) else None


def _check(composition: Composition) -> None:
    """Numbers in their ranges, no follower without a best response, no repair without effect."""
    options, answer = composition.experiment.game, getattr(composition.experiment.scheme, "follower", None)
    require_ranges(options, "", action_noise=(0.0, math.inf))
    if isinstance(answer, IterationOptions):
        require_counts(answer, "follower.", "num_doublings")
    if isinstance(answer, RegressionOptions) and options.action_noise > 0.0:
        allowed = "must be truth where action_noise is positive: no other model has loss 0"
        require(answer.among == "truth", "follower.among", allowed, answer.among)
    if composition.row.follower == "model" and not composition.only_predicts:
        raise InputError(
            f"formulation: {composition.row.name} has no solution in a linear-quadratic world: its model can make the "
            "cost infinite at a finite loss"
        )
    require_plans(composition.formulation, composition.row.name, "linear-quadratic worlds")
    refuse_void(composition, greedy_is_flat=False)


def _unused(composition: Composition) -> dict[str, str]:
    """Linear players answer by what they are: nothing is drawn, and a phase would be a constant."""
    answer, found = getattr(composition.experiment.scheme, "follower", None), {}
    if isinstance(answer, RegressionOptions) and answer.among == "truth":
        found["follower.derivative"] = "where the model is the truth, whoever leads"
    if isinstance(answer, IterationOptions) and composition.row.follower == "model":
        found["follower.num_doublings"] = "where the follower is a model, which is not iterated"
    return found | {
        "response": "in linear-quadratic worlds, where a follower answers by its mean action",
        "phase_told": "in linear-quadratic worlds, where a player is linear in what it observes",
    }


def _columns(options: LinearQuadraticOptions) -> dict[str, Any]:
    own = columns(options)
    noise = options.action_noise
    return {"alpha": own["alpha"], "loss": options.loss, "agent_reward": own["agent_reward"], "action_noise": noise}


def _display() -> GameDisplay:
    from sbmrl.games.linear_quadratic.display import DISPLAY  # here, so that a run does not wait for matplotlib

    return DISPLAY


LINEAR_QUADRATIC = GameKind(
    name="linear_quadratic",
    summary="model-based RL where all is in closed form: linear players, quadratic costs",
    world=LinearQuadraticSystem,
    what="a linear-quadratic world",
    worlds=_worlds,
    make_world=make_world,
    check_world=_check_world,
    world_fields=_world_fields,
    world_of_fields=_world_of_fields,
    make_game=_make_game,
    env=ENV,
    family="model_based",
    options=LinearQuadraticOptions,
    knows=_knows,
    presets=PRESETS,
    check=_check,
    unused=_unused,
    starts=("weak", "random", "truth"),
    answers={"exact": _exact, "soft": _soft},
    predictions=frozenset({"fit"}),
    columns=_columns,
    display=_display,
)
