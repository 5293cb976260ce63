"""From a configuration to a solver: the world, its game, the players and the scheme, put together."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Game
from sbmrl.core.learner import Trainee
from sbmrl.core.parts import World
from sbmrl.core.scheme import Scheme
from sbmrl.core.stackelberg import Algorithm, GameState, stackelberg
from sbmrl.core.tasks import leader_task
from sbmrl.errors import require, require_known

_LARGE = 2**14  # numbers of an array, as in a transition of 64 states and 4 actions


class Solver(NamedTuple):
    """An algorithm with what is needed to read its state.

    Attributes:
        game: the game played.
        formulation: who leads and who wants what, α included.
        algorithm: the run.
        scheme: how the follower answers.
        leader: the leader with its learner.
        params: (state) -> {"leader": …, "follower": …} parameters.
        steps_per_update: stage name -> steps taken by one update.
    """

    game: Game
    formulation: Formulation
    algorithm: Algorithm
    scheme: Scheme
    leader: Trainee
    params: Callable[[GameState], Mapping[str, Any]]
    steps_per_update: Mapping[str, int]


def world_of(experiment: Experiment) -> World:
    """The world that `env` names, of the kind that the formulation is played in.

    Raises:
        InputError: there is none of that name and kind, its file cannot be read, or it cannot be played.
    """
    composition = compose(experiment)
    kind, meant = composition.kind, registry.kind_for(composition.row, experiment.env)
    if meant is not kind and not registry.has_world(kind, experiment.env):
        told = f"a world of this kind, {kind.name}; an experiment in {meant.what} starts from preset(env=…)"
        require(False, "env", f"must be {told}", experiment.env)
    return registry.make_world(kind, experiment.env)


def make_game(experiment: Experiment, world: World) -> Game:
    """The game of an experiment on its world.

    Raises:
        InputError: the world is of another kind of game.
    """
    composition = compose(experiment)
    kind = composition.kind
    allowed = f"must be {kind.what} for {experiment.formulation}"
    require(isinstance(world, kind.world), "world", allowed, type(world).__name__)
    return kind.make_game(world, composition.formulation, experiment.game)


def make_solver(
    experiment: Experiment, world: World, leader_optimizer: optax.GradientTransformation | None = None
) -> Solver:
    """The solver of an experiment on `world`; the experiment's traced fields may hold arrays.

    Raises:
        InputError: the world is of another kind of game, or the formulation weighs a payoff that the game has not.
    """
    game = make_game(experiment, _unfolded(world))
    horizon = game.horizon if game.effective_horizon is None else game.effective_horizon
    composition = compose(experiment.replace(game=experiment.game.over(float(horizon))))
    formulation = composition.formulation
    for name in (*formulation.leader_wants, *formulation.follower_wants):
        require_known(name, f"formulation {composition.row.name}: payoff", game.payoffs)
    scheme = composition.scheme.build(game, composition)
    task = leader_task(game, formulation, experiment.game, scheme.oracle, leader_optimizer)
    assert composition.leader.build is not None
    leader = composition.leader.build(task, experiment.leader)
    num_steps = experiment.whole_records(composition.leader.num_updates(experiment.leader))

    def strategy(params: Any):
        return leader.strategy(params, None)

    return Solver(
        game,
        formulation,
        stackelberg(game, formulation, leader.learner, strategy, scheme, num_steps),
        scheme,
        leader,
        lambda state: {"leader": leader.learner.params(state.leader), "follower": scheme.params(state.follower)},
        {"pretrain": scheme.steps_per_round, "play": leader.learner.steps_per_update},
    )


def _unfolded(world: World) -> World:
    """The world with its large arrays behind a barrier, so that XLA does not spend seconds computing with constants."""

    def unfolded(leaf: Any) -> Any:
        is_large = isinstance(leaf, jax.Array) and leaf.size >= _LARGE
        return jax.lax.optimization_barrier(leaf) if is_large else leaf

    return jax.tree.map(unfolded, world)
