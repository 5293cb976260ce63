"""From a configuration to a solver: the world, its game, the players and the scheme, put together."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.config import Experiment, FitOptions, PPOOptions
from sbmrl.environments.tabular import TabularMDP
from sbmrl.formulations import Formulation, make_formulation
from sbmrl.game import Game, Seat, Strategy, tabular_game
from sbmrl.learners.base import Learner
from sbmrl.learners.fit import fit
from sbmrl.learners.ppo import ppo
from sbmrl.payoffs import LOSSES
from sbmrl.players import MultiLayerPerceptron, Params, Player, Table, actor_critic, contextual_strategy
from sbmrl.problems import follower_problem, leader_problem
from sbmrl.schemes.base import Scheme
from sbmrl.schemes.contextual import contextual
from sbmrl.stackelberg import Algorithm, GameState, stackelberg

Logits = Callable[[Params, jax.Array], Any]


class Solver(NamedTuple):
    """An algorithm with what is needed to read its state.

    Attributes:
        game: the game played.
        formulation: who leads and who wants what, α included.
        algorithm: the run.
        leader_strategy: (state) -> the leader's present strategy.
        params: (state) -> {"leader": …, "follower": …} parameters.
        steps_per_update: stage name -> environment steps taken by one update.
    """

    game: Game
    formulation: Formulation
    algorithm: Algorithm
    leader_strategy: Callable[[GameState], Strategy]
    params: Callable[[GameState], Mapping[str, Any]]
    steps_per_update: Mapping[str, int]


def num_updates(options: PPOOptions | FitOptions, num_records: int) -> int:
    """Updates that cover `total_steps`, rounded up to whole records."""
    updates = math.ceil(options.total_steps / (options.num_environments * options.num_steps))
    return math.ceil(updates / num_records) * num_records


def _player(seat: Seat, observation_size: int, options: PPOOptions) -> Player:
    if options.parametrization == "table":
        actor = Table(seat.queries, seat.num_outputs, initial_scale=0.01)
    else:
        actor = MultiLayerPerceptron(options.actor_hidden, seat.num_outputs, output_gain=0.01)
    return actor_critic(actor, options.critic_hidden, seat.head, observation_size)


def _leader(game: Game, formulation: Formulation, experiment: Experiment) -> tuple[Learner, Logits]:
    seat = game.seats[formulation.leader]
    player = _player(seat, seat.queries.shape[1], experiment.leader)
    problem = leader_problem(game, formulation, experiment.response)
    return ppo(problem, player, experiment.leader), player.logits


def _follower(
    game: Game, formulation: Formulation, options: PPOOptions | FitOptions, context_size: int
) -> tuple[Learner, Logits]:
    seat = game.seats[formulation.follower]
    problem, observation_size = follower_problem(game, formulation), context_size + seat.queries.shape[1]
    if isinstance(options, PPOOptions):
        player = _player(seat, observation_size, options)
        return ppo(problem, player, options), player.logits
    network = MultiLayerPerceptron(options.hidden, seat.num_outputs, output_gain=0.01, activation="relu")

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros(observation_size))

    def logits(params: Params, observation: jax.Array) -> Any:
        return network.apply(params, observation)

    return fit(problem, init, logits, seat.num_outputs, game.measurement.loss, options), logits


def _contextual(game: Game, formulation: Formulation, experiment: Experiment) -> Scheme:
    describe = game.describe[formulation.leader]
    context_size = jax.eval_shape(lambda key: describe(game.priors[formulation.leader](key)), jax.random.key(0)).shape[
        0
    ]
    follower, logits = _follower(game, formulation, experiment.follower, context_size)
    seat = game.seats[formulation.follower]
    return contextual(
        follower,
        lambda params, description: contextual_strategy(logits, params, description, seat),
        describe,
        num_updates(experiment.follower, experiment.num_records),
        experiment.num_leader_pool,
    )


def make_solver(experiment: Experiment, mdp: TabularMDP) -> Solver:
    """The solver of an experiment on `mdp`; the experiment's traced fields may hold arrays."""
    game = tabular_game(mdp, LOSSES[experiment.loss])
    formulation = make_formulation(experiment.formulation, experiment.alpha, experiment.agent_reward)
    leader, logits = _leader(game, formulation, experiment)
    scheme = _contextual(game, formulation, experiment)
    seat = game.seats[formulation.leader]
    num_steps = num_updates(experiment.leader, experiment.num_records)
    return Solver(
        game,
        formulation,
        stackelberg(game, formulation, leader, scheme, num_steps),
        lambda state: seat.table(logits(leader.params(state.leader), seat.queries)),
        lambda state: {"leader": leader.params(state.leader), "follower": scheme.params(state.follower)},
        {
            "pretrain": experiment.follower.num_environments * experiment.follower.num_steps,
            "play": leader.steps_per_update,
        },
    )
