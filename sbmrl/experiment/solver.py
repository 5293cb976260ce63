"""From a configuration to a solver: the world, its game, the players and the scheme, put together."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.experiment import Experiment, formulation_of
from sbmrl.core.environment import Environment
from sbmrl.games.matrix.rules import MatrixGame
from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Game, Outcome, Profile, Strategy
from sbmrl.core.learner import Learner
from sbmrl.learners.evolution import evolution
from sbmrl.learners.fit import fit
from sbmrl.learners.gradient import gradient, gradient_norm, make_optimizer
from sbmrl.learners.ppo import ppo
from sbmrl.games.matrix.game import matrix_game
from sbmrl.games.matrix.q_learning import q_learning
from sbmrl.games.tabular.game import model_based_game
from sbmrl.games.tabular.payoffs import LOSSES, Loss
from sbmrl.core.options import (
    ExactOptions,
    FitOptions,
    GradientOptions,
    ImplicitOptions,
    PPOOptions,
    QLearningOptions,
)
from sbmrl.core.oracles import Oracle, interview
from sbmrl.core.payoffs import exact_payoff
from sbmrl.core.players import MultiLayerPerceptron, Params, contextual_strategy, free_player, make_player
from sbmrl.core.problems import Conditions, follower_problem, leader_problem, leader_view
from sbmrl.core.rollout import episode_returns
from sbmrl.core.scheme import Scheme
from sbmrl.schemes.contextual import contextual
from sbmrl.schemes.exact import exact
from sbmrl.schemes.implicit import implicit
from sbmrl.schemes.inner_outer import inner_outer
from sbmrl.core.stackelberg import NO_COLLECTION, Algorithm, Collector, GameState, stackelberg
from sbmrl.experiment.worlds import World

Logits = Callable[[Params, jax.Array], Any]
ParamsToStrategy = Callable[[Params], Strategy]


class Solver(NamedTuple):
    """An algorithm with what is needed to read its state.

    Attributes:
        game: the game played.
        formulation: who leads and who wants what, α included.
        algorithm: the run.
        scheme: how the follower answers.
        params: (state) -> {"leader": …, "follower": …} parameters.
        steps_per_update: stage name -> steps taken by one update.
    """

    game: Game
    formulation: Formulation
    algorithm: Algorithm
    scheme: Scheme
    params: Callable[[GameState], Mapping[str, Any]]
    steps_per_update: Mapping[str, int]


def num_updates(options: Any, num_records: int) -> int:
    """Updates that cover `total_steps` or `num_updates`, rounded up to whole records."""
    if isinstance(options, PPOOptions | FitOptions):
        updates = math.ceil(options.total_steps / (options.num_environments * options.num_steps))
    else:
        updates = options.num_updates
    return math.ceil(updates / num_records) * num_records


def _leader(
    game: Game,
    formulation: Formulation,
    experiment: Experiment,
    optimizer: optax.GradientTransformation | None,
    oracle: Oracle | None,
) -> tuple[Learner, ParamsToStrategy]:
    role, options = formulation.leader, experiment.leader
    seat, view = game.seats[role], leader_view(game.seats[role], experiment.phase_told)
    conditions = Conditions(*(getattr(experiment, name) for name in Conditions._fields))

    def problem(
        outcome: Outcome,
    ) -> Environment:  # not made for a leader of exact payoffs, some of which cannot be played
        return leader_problem(game, formulation, experiment.response, conditions, oracle)(outcome)

    if isinstance(options, PPOOptions):
        player = make_player(seat._replace(queries=view.queries), view.queries.shape[1], options)
        return ppo(problem, player, options), lambda params: seat.table(
            player.logits(params, view.playing(seat.queries))
        )

    def payoff(profile: Profile) -> jax.Array:
        if experiment.response == "greedy":
            role = formulation.follower
            profile = {**profile, role: game.played[role](profile[role])}
        return exact_payoff(game.payoffs, formulation.leader_wants, profile)

    free, optimizer = free_player(game, role, options, view.queries), optimizer or make_optimizer(options)

    def strategy(params: Params) -> Strategy:
        return seat.table(free.logits(params)[-seat.queries.shape[0] :])  # told the phase, that of play is the last

    if isinstance(options, GradientOptions):
        return gradient(free.init, strategy, payoff, optimizer), strategy
    if options.num_episodes == 0:
        fitness = lambda key, params, outcome: payoff(outcome(strategy(params)))  # noqa: E731
        return evolution(free.init, fitness, 1, optimizer, options), strategy
    length = (oracle.num_queries if oracle else len(seat.queries)) + game.horizon

    def played_fitness(key: jax.Array, params: Params, outcome: Outcome) -> jax.Array:
        def answer(key: jax.Array, observation: jax.Array) -> jax.Array:
            return jax.random.categorical(key, free.logits(params)[jnp.argmax(view.queries @ observation)])

        return jnp.mean(episode_returns(key, problem(outcome), answer, options.num_episodes, length))

    return evolution(free.init, played_fitness, options.num_episodes * length, optimizer, options), strategy


def _sampling_follower(
    game: Game,
    formulation: Formulation,
    options: PPOOptions | FitOptions,
    describe: Callable[[Strategy], jax.Array],
    context_size: int,
    loss: Loss,
) -> tuple[Learner, Logits]:
    """A follower that learns by playing against leaders, with their description before every observation."""
    seat = game.seats[formulation.follower]
    problem, observation_size = follower_problem(game, formulation, describe), context_size + seat.queries.shape[1]
    if isinstance(options, PPOOptions):
        player = make_player(seat, observation_size, options)
        return ppo(problem, player, options), player.logits
    network = MultiLayerPerceptron(options.hidden, seat.num_outputs, output_gain=0.01, activation="relu")

    def init(key: jax.Array) -> Params:
        return network.init(key, jnp.zeros(observation_size))

    def logits(params: Params, observation: jax.Array) -> Any:
        return network.apply(params, observation)

    return fit(problem, init, logits, seat.num_outputs, loss, options), logits


def _contextual(game: Game, formulation: Formulation, experiment: Experiment) -> Scheme:
    options, role = experiment.follower, formulation.leader
    assert isinstance(options, PPOOptions | FitOptions)
    describe, prior = game.describe[role], game.priors[role]
    context_size = jax.eval_shape(lambda key: describe(prior(key)), jax.random.key(0)).shape[0]
    loss = LOSSES[experiment.loss]
    follower, logits = _sampling_follower(game, formulation, options, describe, context_size, loss)
    seat = game.seats[formulation.follower]
    return contextual(
        follower,
        lambda params, description: contextual_strategy(logits, params, description, seat),
        lambda given: describe(given[role]),
        num_updates(options, experiment.num_records),
        experiment.num_leader_pool,
    )


def _inner_outer(game: Game, formulation: Formulation, experiment: Experiment) -> Scheme:
    options, role = experiment.follower, formulation.follower
    steps = (experiment.num_inner_steps, experiment.unroll)
    if isinstance(options, PPOOptions | FitOptions):
        nothing = jnp.zeros(0)
        loss = LOSSES[experiment.loss]
        learner, logits = _sampling_follower(game, formulation, options, lambda strategy: nothing, 0, loss)
        seat = game.seats[role]
        strategy = lambda params: contextual_strategy(logits, params, nothing, seat)  # noqa: E731
        return inner_outer(learner, strategy, lambda given: lambda key: given, *steps)
    assert isinstance(options, GradientOptions)
    seat = game.seats[role]
    free = free_player(game, role, options, seat.queries)

    def strategy(params: Params) -> Strategy:
        return seat.table(free.logits(params))

    def payoff(profile: Profile) -> jax.Array:
        return exact_payoff(game.payoffs, formulation.follower_wants, profile)

    def residual(answer: Strategy, given: Profile) -> jax.Array:
        """The norm of the follower's gradient in its own probabilities, along the simplex of each row."""
        slope = jax.grad(lambda answer: payoff({**given, role: answer}))(answer)
        along = answer * (slope - jnp.sum(answer * slope, axis=-1, keepdims=True))  # = ∂ payoff / ∂ logits
        return gradient_norm(along)

    learner = gradient(free.init, strategy, payoff, make_optimizer(options))
    against = lambda given: lambda answer: {**given, role: answer}  # noqa: E731
    return inner_outer(learner, strategy, against, *steps, residual)


def _q_learning(game: Game, formulation: Formulation, oracle: Oracle) -> Scheme:
    """A follower that learns anew against every leader; its state is the key that its episodes are drawn with."""
    role = formulation.leader

    def respond(key: jax.Array, given: Profile) -> Strategy:
        rows = game.seats[role].rows(given[role])
        return interview(key, oracle, lambda key, query: jax.random.categorical(key, jnp.log(rows[query])))

    return exact(respond, draws=True)


def _scheme(game: Game, formulation: Formulation, experiment: Experiment, oracle: Oracle | None) -> Scheme:
    options = experiment.follower
    if experiment.scheme == "contextual":
        return _contextual(game, formulation, experiment)
    if oracle is not None:
        return _q_learning(game, formulation, oracle)
    if experiment.scheme == "inner_outer":
        return _inner_outer(game, formulation, experiment)
    if isinstance(options, ExactOptions):
        return exact(game.best_response(formulation, options), draws=options.num_transitions > 0)
    assert isinstance(options, ImplicitOptions)
    assert game.soft_response is not None
    return implicit(game.soft_response(formulation, options))


def _collector(game: Game, experiment: Experiment) -> Collector:
    """Data aggregation: counts of transitions; beyond the buffer's size all old counts fade in equal measure."""
    if experiment.data == "own":
        return NO_COLLECTION
    new, collect = experiment.num_new_transitions, game.collect
    assert collect is not None

    def init(key: jax.Array) -> Profile:
        return {"data": collect(key, experiment.num_initial_transitions, None)}

    def update(key: jax.Array, data: Profile, profile: Profile) -> Profile:
        old = data["data"]
        room = jnp.maximum(experiment.buffer_size - new, 0)
        kept = old * jnp.minimum(1.0, room / jnp.sum(old))
        return {"data": kept + collect(key, new, profile["policy"])}

    return Collector(init, update)


def make_game(experiment: Experiment, world: World) -> Game:
    """The game of an experiment on its world, an MDP or a matrix game."""
    mixed = experiment.context == "probabilities"
    if isinstance(world, MatrixGame):
        return matrix_game(world, formulation_of(experiment), mixed)
    return model_based_game(world, LOSSES[experiment.loss], mixed)


def make_solver(
    experiment: Experiment, world: World, leader_optimizer: optax.GradientTransformation | None = None
) -> Solver:
    """The solver of an experiment on `world`; the experiment's traced fields may hold arrays."""
    game, formulation, oracle = make_game(experiment, world), formulation_of(experiment), None
    if isinstance(experiment.follower, QLearningOptions):
        assert isinstance(world, MatrixGame)
        oracle = q_learning(world, formulation, experiment.follower)
    leader, strategy = _leader(game, formulation, experiment, leader_optimizer, oracle)
    scheme = _scheme(game, formulation, experiment, oracle)
    num_steps = num_updates(experiment.leader, experiment.num_records)
    follower = experiment.follower
    sampled = isinstance(follower, PPOOptions | FitOptions)
    return Solver(
        game,
        formulation,
        stackelberg(game, formulation, leader, strategy, scheme, num_steps, _collector(game, experiment)),
        scheme,
        lambda state: {"leader": leader.params(state.leader), "follower": scheme.params(state.follower)},
        {
            "pretrain": follower.num_environments * follower.num_steps if sampled else 0,
            "play": leader.steps_per_update,
        },
    )
