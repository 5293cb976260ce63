"""The literal game of model-based RL in a simulated world: every payoff is one of the present profile alone.

    ℓ(M̂, μ_M^π),   J(π, M̂),   J(π, M):   means over N starts that are the same for all, π by its mean actions

Nothing is kept, so this is the game that can fool itself, and not the practical one (`practical.py`). The model is a
setting of the world's physics, a leader of a few numbers: it answers one query, "what are they?", by their logarithms.
A follower hears them, scaled to −1..1 over the ranges of the world's rules.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment
from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Acting, Earned, Game, Info, Payoff, Profile, Seat, Strategy, function_seat
from sbmrl.games.continuous.episodes import EpisodeState, Played, imagined_environment, meant, real_environment
from sbmrl.games.continuous.grid_acting import GridOptions, grid_response
from sbmrl.games.continuous.measures import Losses, evaluate, make_measures, wide_data
from sbmrl.games.continuous.normaliser import Normaliser, statistics
from sbmrl.games.continuous.options import ContinuousOptions, TruthOptions
from sbmrl.games.continuous.physics import PhysicsModel, model_of, require_ranges
from sbmrl.games.continuous.replay import Transitions, action_size, decode_action, empty, write
from sbmrl.games.continuous.simulator import Box, Simulator, random_physics

_JUDGE = GridOptions(num_points=121, num_actions=17)  # twice as fine as what usually answers
Respond = Callable[[jax.Array, Profile], Strategy]


class Play(NamedTuple):
    """The one kind of episode that a policy plays: `imagined` is 1."""

    imagined: float


class ImaginedState(NamedTuple):
    """Where an episode in a model stands.

    Attributes:
        episode: what is seen, and the decisions made.
        model: the setting of the physics that moves it.
        time: `[]` the same decisions, where every game has them.
    """

    episode: EpisodeState
    model: PhysicsModel
    time: jax.Array


def wide_normaliser(simulator: Simulator) -> Normaliser:
    """The units of every loss: those of random actions' data, whoever plays."""
    transitions, valid = wide_data(simulator)
    sizes = simulator.rules.observation_size, action_size(simulator.rules.actions)
    return statistics(write(empty(len(valid), *sizes), transitions, valid), "absolute")


def _policy_seat(simulator: Simulator) -> Seat:
    """The policy's: it plays in the model that it is told."""
    rules = simulator.rules
    head = "gaussian" if isinstance(rules.actions, Box) else "categorical"
    world = real_environment(simulator)

    def reset(key: jax.Array, other: PhysicsModel, play: Play) -> ImaginedState:
        del play
        _, episode = world.reset(key)
        return ImaginedState(episode, other, episode.time)

    def step(key: jax.Array, state: ImaginedState, answer: jax.Array) -> tuple[ImaginedState, Earned, jax.Array, Info]:
        environment = imagined_environment(simulator, state.model, "fixed")
        _, episode, reward, terminated, _, _ = environment.step(key, state.episode, answer)
        return ImaginedState(episode, state.model, episode.time), {"reward": reward}, terminated, {}

    seat = function_seat(rules.observation_size, action_size(rules.actions), head)
    return seat._replace(observe=lambda state: state.episode.observation, reset=reset, step=step)


def _edges(simulator: Simulator) -> tuple[jax.Array, jax.Array]:
    """`[P]` each: the logarithms of the least and the greatest that the numbers of the physics can be."""
    low, high = (jnp.log(jnp.array([row[side] for row in simulator.rules.ranges])) for side in (1, 2))
    return low, high


def _model_seat(simulator: Simulator, normaliser: Normaliser) -> Seat:
    """The model's: a table of one row, the logarithms of its numbers."""
    ranges, (low, high) = simulator.rules.ranges, _edges(simulator)
    fixed = {name: jnp.log(value)[None] for name, value in simulator.physics.items()}

    def table(outputs: jax.Array) -> PhysicsModel:
        # Within the ranges, as a table of probabilities is within the simplex.
        inside = jnp.clip(outputs[0], low, high)
        chosen = {name: inside[number][None] for number, (name, _, _) in enumerate(ranges)}
        return PhysicsModel(fixed | chosen, normaliser, 1)

    seat = function_seat(1, len(ranges), "gaussian")
    return seat._replace(
        queries=jnp.ones((1, 1)),
        table=table,
        rows=lambda model: jnp.stack([model.log_physics[name][0] for name, _, _ in ranges])[None],
        of_function=None,
    )


def literal_game(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Game:
    """The game on `simulator` in which a model is judged on the data of its own policy.

    Raises:
        InputError: the model leads in a world without physics; a best response on a grid is asked for, and the world
            has no chart.
    """
    if formulation.leader == "model":
        require_ranges(simulator)
    rules, world = simulator.rules, real_environment(simulator)
    with jax.ensure_compile_time_eval():  # the same whatever is played
        normaliser = wide_normaliser(simulator)
    wide = wide_data(simulator)
    seats = {"policy": _policy_seat(simulator), "model": _model_seat(simulator, normaliser)}
    truth = model_of(simulator).replace(normaliser=normaliser)

    def describe(model: PhysicsModel) -> jax.Array:
        low, high = _edges(simulator)
        return 2 * (seats["model"].rows(model)[0] - low) / (high - low) - 1

    def loss(model: PhysicsModel, transitions: Transitions, valid: jax.Array) -> jax.Array:
        # Against what the world does with the same noise, or a leader would be paid for steering to quiet places.
        action = decode_action(rules.actions, transitions.action)
        step = jax.vmap(rules.step, (None, None, 0, 0))
        following = step(jax.random.key(0), simulator.physics, transitions.observation, action)
        return jnp.mean(model.loss(rules, transitions._replace(next_observation=following), valid))

    def played(policy: Acting, environment: Environment) -> Played:
        return evaluate(simulator, environment, meant(policy), options.num_test_episodes)

    def in_model(policy: Acting, model: PhysicsModel) -> jax.Array:
        return jnp.mean(played(policy, imagined_environment(simulator, model, "fixed")).returns)

    def own_loss(profile: Profile) -> jax.Array:
        return loss(profile["model"], *played(profile["policy"], world)[:2])

    def wide_loss(profile: Profile) -> jax.Array:
        return loss(profile["model"], *wide)

    def regret(profile: Profile) -> jax.Array:
        """What the best policy on a grid earns more in the model, where the world has a chart."""
        if policy_leads or rules.chart is None:
            return jnp.array(jnp.nan)
        best, model = grid_response(simulator, _JUDGE), profile["model"]
        return in_model(best(model), model) - in_model(profile["policy"], model)

    def random_model(key: jax.Array) -> PhysicsModel:
        drawn = random_physics(key, simulator).physics
        return PhysicsModel({name: jnp.log(value)[None] for name, value in drawn.items()}, normaliser, 1)

    def leader_problem(formulation: Formulation, role: Role) -> Callable[[Profile], Environment]:
        """A policy that leads plays in the model that answers it."""
        assert role == formulation.leader == "policy"
        return lambda profile: imagined_environment(simulator, profile["model"], "fixed")

    def best_response(formulation: Formulation, answer: TruthOptions | GridOptions) -> Respond:
        if isinstance(answer, GridOptions):
            respond = grid_response(simulator, answer)
            return lambda key, given: respond(given["model"])
        return lambda key, given: truth

    def losses(profile: Profile) -> Losses:
        return Losses(own_loss(profile), wide_loss(profile), jnp.array(jnp.nan))

    policy_leads = formulation.leader == "policy"
    unknown = frozenset({"real_steps", "follower_gap_random"})
    if policy_leads or rules.chart is None:
        unknown |= {"follower_gap", "follower_gap_true"}
    return Game(
        simulator,
        simulator.horizon,
        seats=seats,
        payoffs={
            "data_fit": Payoff(lambda profile: -own_loss(profile), None, "data_fit"),
            "random_fit": Payoff(lambda profile: -wide_loss(profile), None, "random_fit"),
            "model_return": Payoff(lambda profile: in_model(profile["policy"], profile["model"]), Play(1.0), "reward"),
            "real_return": Payoff(
                lambda profile: jnp.mean(played(profile["policy"], world).returns), None, "real_return"
            ),
        },
        priors={"policy": lambda key: None, "model": random_model},
        heard=dict.fromkeys(seats, lambda key, strategy: strategy),
        describe={"policy": lambda strategy: jnp.zeros(0), "model": describe},
        played=dict.fromkeys(seats, lambda strategy: strategy),
        starts={
            "policy": {},
            "model": {
                "random": lambda key: seats["model"].rows(random_model(key)),
                "truth": lambda key: seats["model"].rows(truth),
            },
        },
        measures=lambda formulation: make_measures(
            simulator, options, losses, unknown, regret, None if policy_leads else truth
        ),
        best_response=best_response,
        problem=leader_problem if policy_leads else None,
    )
