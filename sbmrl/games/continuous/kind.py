"""Model-based RL in simulated worlds as one part: its worlds, presets and checks."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from sbmrl.core import registry
from sbmrl.core.displays import GameDisplay
from sbmrl.core.files import read_fields
from sbmrl.core.options import require_count, require_counts, require_positive
from sbmrl.core.parts import Composition, GameKind
from sbmrl.errors import InputError, require
from sbmrl.games.continuous.catalogue import is_named, make_simulator, summaries
from sbmrl.games.continuous.checks import check_simulator, outline_of
from sbmrl.games.continuous.game import continuous_game
from sbmrl.games.continuous.measures import NUM_NEW
from sbmrl.games.continuous.options import ContinuousOptions
from sbmrl.games.continuous.presets import ENV, PRESETS
from sbmrl.games.continuous.simulator import Simulator, known_returns
from sbmrl.schemes.inner_outer import INNER_OUTER


def _world_fields(world: Simulator) -> dict[str, Any]:
    return {"name": world.name, "physics": {name: float(value) for name, value in world.physics.items()}}


def _world_of_fields(path: Path) -> Simulator:
    fields = read_fields(path, "a simulated world", ("name", "physics"), ())
    require(isinstance(fields["physics"], dict), f"{path}: physics", "must be numbers by name", fields["physics"])
    world = registry.make_world(CONTINUOUS, str(fields["name"]))
    return world.replace(physics={name: jnp.float32(value) for name, value in fields["physics"].items()})


def _check(composition: Composition) -> None:
    """The two practical games, each side by the learner that can play it."""
    options, row, follower = composition.experiment.game, composition.row, composition.follower
    require_counts(options, "", "num_initial_episodes", "num_new_episodes", "buffer_size", "num_test_episodes")
    require_positive(options, "", "initial_noise")
    require_count(options.buffer_size, "buffer_size", least=NUM_NEW)
    known_returns(outline_of(composition.kind, composition.experiment.env))
    wants = {*composition.formulation.leader_wants, *composition.formulation.follower_wants}
    if wants != {"model_return", "data_fit"}:
        raise InputError(f"formulation: must be pal or mal in a simulated world, got {row.name}")
    scheme = composition.experiment.scheme
    inner = composition.scheme is INNER_OUTER
    require(inner, "scheme", "must be inner_outer in a simulated world", composition.scheme.name)
    require(
        scheme.unroll == 0,
        "unroll",
        "must be 0 in a simulated world, whose players are not looked through",
        scheme.unroll,
    )
    leader, answers = composition.experiment.leader, composition.experiment.scheme.follower
    sides = {row.leader: ("leader", composition.leader, leader), row.follower: ("follower", follower, answers)}
    where, learner, _ = sides["model"]
    fits = learner is not None and learner.kind == composition.kind.name
    require(
        fits,
        where,
        "must learn by ensemble or physics, as the model of a simulated world",
        getattr(learner, "name", ""),
    )
    where, learner, own = sides["policy"]
    plays = learner is not None and learner.plays(own) and learner.pretrains and not learner.predicts
    allowed = "must learn by a policy gradient with a network, as the policy of a simulated world"
    require(plays, where, allowed, getattr(learner, "name", "none"))
    require(own.parametrization == "network", f"{where}.parametrization", "must be network", own.parametrization)


def _unused(composition: Composition) -> dict[str, str]:
    """Players known as functions are asked nothing."""
    del composition
    return {"response": "in simulated worlds, where a policy learns as it draws and is evaluated by its mean"}


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
    make_game=continuous_game,
    env=ENV,
    family="model_based",
    options=ContinuousOptions,
    knows=is_named,
    presets=PRESETS,
    check=_check,
    unused=_unused,
    starts=(),
    predictions=frozenset({"data_fit"}),
    display=_display,
)
