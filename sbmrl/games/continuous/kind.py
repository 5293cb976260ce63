"""Model-based RL in simulated worlds as one part: its worlds, presets and checks."""

from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core import registry
from sbmrl.core.displays import GameDisplay
from sbmrl.core.files import read_fields
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.options import require_count, require_counts, require_positive
from sbmrl.core.parts import Composition, GameKind, LearnerKind
from sbmrl.errors import InputError, require
from sbmrl.games.continuous.catalogue import is_named, make_simulator, summaries
from sbmrl.games.continuous.checks import check_simulator, outline_of
from sbmrl.games.continuous.grid_acting import GridOptions
from sbmrl.games.continuous.literal import literal_game
from sbmrl.games.continuous.measures import NUM_NEW
from sbmrl.games.continuous.options import ContinuousOptions, TruthOptions
from sbmrl.games.continuous.practical import practical_game
from sbmrl.games.continuous.presets import ENV, PRESETS
from sbmrl.games.continuous.simulator import Discrete, Simulator, known_returns
from sbmrl.games.model_based.options import columns, refuse_void, require_plans
from sbmrl.schemes.exact import EXACT
from sbmrl.schemes.inner_outer import INNER_OUTER


def _world_fields(world: Simulator) -> dict[str, Any]:
    return {"name": world.name, "physics": {name: float(value) for name, value in world.physics.items()}}


def _world_of_fields(path: Path) -> Simulator:
    fields = read_fields(path, "a simulated world", ("name", "physics"), ())
    require(isinstance(fields["physics"], dict), f"{path}: physics", "must be numbers by name", fields["physics"])
    world = registry.make_world(CONTINUOUS, str(fields["name"]))
    kept = fields["physics"]
    allowed = f"must have {', '.join(world.physics) or 'nothing'}"
    require(set(kept) == set(world.physics), f"{path}: physics", allowed, ", ".join(kept) or "nothing")
    numbers = {name: value for name, value in kept.items() if isinstance(value, int | float)}
    require(len(numbers) == len(kept), f"{path}: physics", "must be numbers", kept)
    world = world.replace(physics={name: np.float32(value) for name, value in numbers.items()})
    check_simulator(world, f"{path}: ")
    return world


def _make_game(world: Simulator, formulation: Formulation, options: ContinuousOptions) -> Game:
    make = practical_game if options.data == "aggregated" else literal_game
    return make(world, formulation, options)


def _exact(row: FormulationRow, differentiable: bool) -> TruthOptions | GridOptions | None:
    """A policy is the optimum on a grid; a model that only fits is the world itself."""
    del differentiable  # none has a derivative
    if row.follower == "policy":
        return GridOptions()
    return TruthOptions() if CONTINUOUS.only_predicts(row) else None


def _check(composition: Composition) -> None:
    """Sizes, a world that can be judged, and the players of either game."""
    options = composition.experiment.game
    require_counts(options, "", "num_initial_episodes", "num_new_episodes", "buffer_size", "num_test_episodes")
    require_positive(options, "", "initial_noise")
    require_count(options.buffer_size, "buffer_size", least=NUM_NEW)
    known_returns(outline_of(composition.kind, composition.experiment.env))
    if composition.row.follower == "model" and not composition.only_predicts:
        raise InputError(f"formulation: {composition.row.name} is not played in simulated worlds; use pal")
    require_plans(composition.formulation, composition.row.name, "simulated worlds")
    if options.data == "aggregated":
        _check_practical(composition)
    else:
        _check_literal(composition)


def _check_practical(composition: Composition) -> None:
    """The model and the policy learn step by step, each by a learner that can."""
    scheme, row = composition.experiment.scheme, composition.row
    inner = composition.scheme is INNER_OUTER
    require(inner, "scheme", "must be inner_outer where data=aggregated", composition.scheme.name)
    leads = "leader", composition.leader, composition.experiment.leader
    sides = {row.leader: leads, row.follower: ("follower", composition.follower, scheme.follower)}
    where, learner, _ = sides["model"]
    fits = learner is not None and learner.kind == composition.kind.name
    allowed = "must learn by ensemble or physics, as the model of a simulated world"
    require(fits, where, allowed, getattr(learner, "name", ""))
    _check_policy(*sides["policy"])
    refuse_void(composition, greedy_is_flat=False)


def _check_literal(composition: Composition) -> None:
    """A policy that leads is answered by the truth; a model that leads is a few numbers, without a derivative."""
    row, leader, options = composition.row, composition.leader, composition.experiment.leader
    if row.leader == "policy":
        exact = composition.scheme is EXACT
        allowed = f"must be exact for {row.name} where data=own: the model that fits best is the world itself"
        require(exact, "scheme", allowed, composition.scheme.name)
        return _check_policy("leader", leader, options)
    searches = not leader.plays(options) and not leader.differentiates and leader.kind != composition.kind.name
    allowed = "must learn by evolution as the model where data=own, whose payoffs have no derivative of use"
    require(searches, "leader", allowed, leader.name)
    require(options.parametrization == "table", "leader.parametrization", "must be table", options.parametrization)
    answer = composition.experiment.scheme.follower
    if isinstance(answer, GridOptions):
        require_count(answer.num_points, "follower.num_points", least=2)
        require_count(answer.num_actions, "follower.num_actions", least=2)
    else:
        _check_policy("follower", composition.follower, answer)
    return refuse_void(composition, greedy_is_flat=False)


def _check_policy(where: str, learner: LearnerKind | None, own: Any) -> None:
    """A policy is a network that learns from episodes."""
    plays = learner is not None and learner.plays(own) and learner.pretrains and not learner.predicts
    allowed = "must learn by a policy gradient with a network, as the policy of a simulated world"
    require(plays, where, allowed, getattr(learner, "name", "none"))
    require(own.parametrization == "network", f"{where}.parametrization", "must be network", own.parametrization)


def _unused(composition: Composition) -> dict[str, str]:
    """Players known as functions are asked nothing; where nothing is kept nothing is collected."""
    found = {"response": "in simulated worlds, where a policy learns as it draws and is evaluated by its mean"}
    numbered = isinstance(outline_of(composition.kind, composition.experiment.env).rules.actions, Discrete)
    if numbered:
        fields = ("initial_log_standard_deviation", "min_log_standard_deviation")
        told = "where actions are numbered, whose distribution has no spread"
        found |= {f"{side}.{name}": told for side in ("leader", "follower") for name in fields}
        found |= {"initial_noise": told, "follower.num_actions": told}
    practical = composition.experiment.game.data == "aggregated"
    if composition.row.leader == "policy" or not (practical and "model_return" in composition.formulation.leader_wants):
        side = "leader" if composition.row.leader == "model" else "follower"
        fields = (f"{side}.num_reward_steps", f"{side}.num_reward_starts")
        found |= dict.fromkeys(fields, "unless the model leads and is paid the return in itself, in the practical game")
    if composition.experiment.game.data == "own":
        fields = ("num_initial_episodes", "num_new_episodes", "buffer_size", "initial_noise", "propagation")
        found |= dict.fromkeys(fields, "unless data is aggregated")
    return found


def _columns(options: ContinuousOptions) -> dict[str, Any]:
    """What the results say of the settings."""
    return columns(options) | {"data": options.data}


def _display() -> GameDisplay:
    from sbmrl.games.continuous.display import DISPLAY  # here, so that a run does not wait for matplotlib

    return DISPLAY


CONTINUOUS = GameKind(
    name="continuous",
    summary="model-based RL in simulated worlds: neural models and policies, data that are kept",
    world=Simulator,
    what="a simulated world",
    worlds=summaries,
    make_world=make_simulator,
    check_world=check_simulator,
    world_fields=_world_fields,
    world_of_fields=_world_of_fields,
    make_game=_make_game,
    env=ENV,
    family="model_based",
    options=ContinuousOptions,
    knows=is_named,
    presets=PRESETS,
    check=_check,
    unused=_unused,
    starts=("random", "truth"),
    answers={"exact": _exact},
    predictions=frozenset({"data_fit"}),
    columns=_columns,
    display=_display,
)
