"""From a configuration to a solver: the world, its game, the players and the scheme, put together."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.config import Experiment, formulation_of
from sbmrl.environments.closed_forms import finite_horizon_optimum
from sbmrl.environments.tabular import TabularMDP
from sbmrl.formulations import Formulation, Role
from sbmrl.game import Game, Seat, Strategy, played, tabular_game
from sbmrl.learners.base import Learner
from sbmrl.learners.evolution import evolution
from sbmrl.learners.fit import fit
from sbmrl.learners.gradient import gradient, gradient_norm, make_optimizer
from sbmrl.learners.ppo import ppo
from sbmrl.options import EvolutionOptions, ExactOptions, FitOptions, GradientOptions, ImplicitOptions, PPOOptions
from sbmrl.payoffs import LOSSES, Profile, exact_payoff
from sbmrl.players import MultiLayerPerceptron, Params, Player, Table, actor_critic, contextual_strategy
from sbmrl.problems import follower_problem, leader_problem
from sbmrl.schemes.base import Scheme
from sbmrl.schemes.contextual import contextual
from sbmrl.schemes.exact import exact
from sbmrl.schemes.implicit import implicit
from sbmrl.schemes.inner_outer import inner_outer
from sbmrl.stackelberg import NO_COLLECTION, Algorithm, Collector, GameState, stackelberg

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


def make_player(seat: Seat, observation_size: int, options: PPOOptions) -> Player:
    """PPO's player in a seat, whose observations may begin with a description."""
    if options.parametrization == "table":
        actor = Table(seat.queries, seat.num_outputs, initial_scale=0.01)
    else:
        actor = MultiLayerPerceptron(options.actor_hidden, seat.num_outputs, output_gain=0.01)
    return actor_critic(actor, options.critic_hidden, seat.head, observation_size)


_SURE = 1e-4  # a certain answer's other probabilities, so that its logits are finite


def _free_strategy(
    game: Game, role: Role, options: GradientOptions | EvolutionOptions
) -> tuple[Callable[[jax.Array], Params], ParamsToStrategy]:
    """(initial parameters, strategy) of a player that answers its queries by a table or a network."""
    seat = game.seats[role]
    if options.parametrization == "network":
        network = MultiLayerPerceptron(options.hidden, seat.num_outputs, output_gain=0.01)
        return (
            lambda key: network.init(key, seat.queries[0]),
            lambda params: seat.table(network.apply(params, seat.queries)),  # pyright: ignore[reportArgumentType]
        )

    def init(key: jax.Array) -> Params:
        if options.initial == "uniform":
            return {"logits": 0.01 * jax.random.normal(key, (seat.queries.shape[0], seat.num_outputs))}
        if options.initial == "random":
            strategy = game.priors[role](key)
        else:
            strategy = game.mdp.transition if role == "model" else finite_horizon_optimum(game.mdp).policy
        return {"logits": jnp.log(jnp.maximum(seat.rows(strategy), _SURE))}

    return init, lambda params: seat.table(params["logits"])


def _leader(
    game: Game,
    formulation: Formulation,
    experiment: Experiment,
    optimizer: optax.GradientTransformation | None,
) -> tuple[Learner, ParamsToStrategy]:
    role, options = formulation.leader, experiment.leader
    seat = game.seats[role]
    if isinstance(options, PPOOptions):
        player = make_player(seat, seat.queries.shape[1], options)
        problem = leader_problem(game, formulation, experiment.response)
        return ppo(problem, player, options), lambda params: seat.table(player.logits(params, seat.queries))

    def payoff(profile: Profile) -> jax.Array:
        if experiment.response == "greedy":
            profile = {**profile, formulation.follower: played(formulation.follower, profile[formulation.follower])}
        return exact_payoff(game.measurement, formulation.leader_wants, profile)

    init, strategy = _free_strategy(game, role, options)
    optimizer = optimizer or make_optimizer(options)
    if isinstance(options, GradientOptions):
        return gradient(init, strategy, payoff, optimizer), strategy
    return evolution(init, strategy, payoff, optimizer, options), strategy


def _sampling_follower(
    game: Game,
    formulation: Formulation,
    options: PPOOptions | FitOptions,
    describe: Callable[[Strategy], jax.Array],
    context_size: int,
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

    return fit(problem, init, logits, seat.num_outputs, game.measurement.loss, options), logits


def _contextual(game: Game, formulation: Formulation, experiment: Experiment) -> Scheme:
    options, role = experiment.follower, formulation.leader
    assert isinstance(options, PPOOptions | FitOptions)
    describe, prior = game.describe[role], game.priors[role]
    context_size = jax.eval_shape(lambda key: describe(prior(key)), jax.random.key(0)).shape[0]
    follower, logits = _sampling_follower(game, formulation, options, describe, context_size)
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
        learner, logits = _sampling_follower(game, formulation, options, lambda strategy: nothing, 0)
        seat = game.seats[role]
        strategy = lambda params: contextual_strategy(logits, params, nothing, seat)  # noqa: E731
        return inner_outer(learner, strategy, lambda given: lambda key: given, *steps)
    assert isinstance(options, GradientOptions)
    init, strategy = _free_strategy(game, role, options)

    def payoff(profile: Profile) -> jax.Array:
        return exact_payoff(game.measurement, formulation.follower_wants, profile)

    def residual(answer: Strategy, given: Profile) -> jax.Array:
        """The norm of the follower's gradient in its own probabilities, along the simplex of each row."""
        slope = jax.grad(lambda answer: payoff({**given, role: answer}))(answer)
        along = answer * (slope - jnp.sum(answer * slope, axis=-1, keepdims=True))  # = ∂ payoff / ∂ logits
        return gradient_norm(along)

    learner = gradient(init, strategy, payoff, make_optimizer(options))
    against = lambda given: lambda answer: {**given, role: answer}  # noqa: E731
    return inner_outer(learner, strategy, against, *steps, residual)


def _scheme(game: Game, formulation: Formulation, experiment: Experiment) -> Scheme:
    if experiment.scheme == "contextual":
        return _contextual(game, formulation, experiment)
    if experiment.scheme == "inner_outer":
        return _inner_outer(game, formulation, experiment)
    if isinstance(experiment.follower, ExactOptions):
        return exact(game, formulation, experiment.follower)
    assert isinstance(experiment.follower, ImplicitOptions)
    return implicit(game, formulation, experiment.follower)


def _collector(game: Game, experiment: Experiment) -> Collector:
    """Data aggregation: counts of transitions; beyond the buffer's size all old counts fade in equal measure."""
    if experiment.data == "own":
        return NO_COLLECTION
    new = experiment.num_new_transitions

    def init(key: jax.Array) -> Profile:
        uniform = jnp.full((game.mdp.num_states, game.mdp.num_actions), 1.0 / game.mdp.num_actions)
        return {"data": game.collect(key, uniform, experiment.num_initial_transitions)}

    def update(key: jax.Array, data: Profile, profile: Profile) -> Profile:
        old = data["data"]
        room = jnp.maximum(experiment.buffer_size - new, 0)
        kept = old * jnp.minimum(1.0, room / jnp.sum(old))
        return {"data": kept + game.collect(key, profile["policy"], new)}

    return Collector(init, update)


def make_solver(
    experiment: Experiment, mdp: TabularMDP, leader_optimizer: optax.GradientTransformation | None = None
) -> Solver:
    """The solver of an experiment on `mdp`; the experiment's traced fields may hold arrays."""
    # PPO's leader is heard through the actions it samples; a learner of exact payoffs through its probabilities.
    game = tabular_game(mdp, LOSSES[experiment.loss], mixed_leaders=not isinstance(experiment.leader, PPOOptions))
    formulation = formulation_of(experiment)
    leader, strategy = _leader(game, formulation, experiment, leader_optimizer)
    scheme = _scheme(game, formulation, experiment)
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
