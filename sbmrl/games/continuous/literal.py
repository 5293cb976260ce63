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
from sbmrl.core.game import Acting, Earned, Game, Info, Measures, Payoff, Profile, Seat, Strategy, function_seat
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


class _Judge(NamedTuple):
    """What a profile is worth and how wrong its model is, `[]` each.

    Attributes:
        simulator: the true world.
        num_episodes: starts, the same for all.
        wide: transitions of random actions, and which of them were made.
    """

    simulator: Simulator
    num_episodes: int
    wide: tuple[Transitions, jax.Array]

    def played(self, policy: Acting, environment: Environment) -> Played:
        """Episodes of the mean policy."""
        return evaluate(self.simulator, environment, meant(policy), self.num_episodes)

    def in_world(self, policy: Acting) -> jax.Array:
        """J(π, M)."""
        return jnp.mean(self.played(policy, real_environment(self.simulator)).returns)

    def in_model(self, policy: Acting, model: PhysicsModel) -> jax.Array:
        """J(π, M̂)."""
        return jnp.mean(self.played(policy, imagined_environment(self.simulator, model, "fixed")).returns)

    def own_loss(self, profile: Profile) -> jax.Array:
        """ℓ(M̂, μ_M^π)."""
        own = self.played(profile["policy"], real_environment(self.simulator))
        return self._loss(profile["model"], own.transitions, own.valid)

    def wide_loss(self, profile: Profile) -> jax.Array:
        """ℓ on the data of random actions."""
        return self._loss(profile["model"], *self.wide)

    def regret(self, profile: Profile) -> jax.Array:
        """What the best policy on a grid earns more in the model."""
        model = profile["model"]
        best = grid_response(self.simulator, _JUDGE)(model)
        return self.in_model(best, model) - self.in_model(profile["policy"], model)

    def _loss(self, model: PhysicsModel, transitions: Transitions, valid: jax.Array) -> jax.Array:
        # Against what the world does with the same noise, or a leader would be paid for steering to quiet places.
        rules = self.simulator.rules
        action = decode_action(rules.actions, transitions.action)
        step = jax.vmap(rules.step, (None, None, 0, 0))
        following = step(jax.random.key(0), self.simulator.physics, transitions.observation, action)
        return jnp.mean(model.loss(rules, transitions._replace(next_observation=following), valid))


def _payoffs(judge: _Judge) -> dict[str, Payoff]:
    return {
        "data_fit": Payoff(lambda profile: -judge.own_loss(profile), None, "data_fit"),
        "random_fit": Payoff(lambda profile: -judge.wide_loss(profile), None, "random_fit"),
        "model_return": Payoff(
            lambda profile: judge.in_model(profile["policy"], profile["model"]), Play(1.0), "reward"
        ),
        "real_return": Payoff(lambda profile: judge.in_world(profile["policy"]), None, "real_return"),
    }


def _measures(judge: _Judge, options: ContinuousOptions, policy_leads: bool, truth: PhysicsModel) -> Measures:
    """Nothing is collected, and the follower's regret is known where a policy follows in a world with a chart."""

    def losses(profile: Profile) -> Losses:
        return Losses(judge.own_loss(profile), judge.wide_loss(profile), jnp.array(jnp.nan))

    not_known = frozenset({"real_steps", "follower_gap_random"})
    if policy_leads or judge.simulator.rules.chart is None:
        return make_measures(judge.simulator, options, losses, not_known | {"follower_gap", "follower_gap_true"})
    return make_measures(judge.simulator, options, losses, not_known, judge.regret, truth)


def literal_game(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Game:
    """The game on `simulator` in which a model is judged on the data of its own policy.

    Raises:
        InputError: the model leads in a world without physics; a best response on a grid is asked for, and the world
            has no chart.
    """
    policy_leads = formulation.leader == "policy"
    if not policy_leads:
        require_ranges(simulator)
    with jax.ensure_compile_time_eval():  # the same whatever is played
        normaliser = wide_normaliser(simulator)
    judge = _Judge(simulator, options.num_test_episodes, wide_data(simulator))
    seats = {"policy": _policy_seat(simulator), "model": _model_seat(simulator, normaliser)}
    rows, truth = seats["model"].rows, model_of(simulator).replace(normaliser=normaliser)

    def describe(model: PhysicsModel) -> jax.Array:
        low, high = _edges(simulator)
        return 2 * (rows(model)[0] - low) / (high - low) - 1

    def random_model(key: jax.Array) -> PhysicsModel:
        return model_of(random_physics(key, simulator)).replace(normaliser=normaliser)

    def leader_problem(formulation: Formulation, role: Role) -> Callable[[Profile], Environment]:
        """A policy that leads plays in the model that answers it."""
        assert role == formulation.leader == "policy"
        return lambda profile: imagined_environment(simulator, profile["model"], "fixed")

    def best_response(formulation: Formulation, answer: TruthOptions | GridOptions) -> Respond:
        if isinstance(answer, GridOptions):
            respond = grid_response(simulator, answer)
            return lambda key, given: respond(given["model"])
        return lambda key, given: truth

    starts = {"random": lambda key: rows(random_model(key)), "truth": lambda key: rows(truth)}
    return Game(
        simulator,
        simulator.horizon,
        seats=seats,
        payoffs=_payoffs(judge),
        priors={"policy": lambda key: None, "model": random_model},
        heard=dict.fromkeys(seats, lambda key, strategy: strategy),
        describe={"policy": lambda strategy: jnp.zeros(0), "model": describe},
        played=dict.fromkeys(seats, lambda strategy: strategy),
        starts={"policy": {}, "model": starts},
        measures=lambda formulation: _measures(judge, options, policy_leads, truth),
        best_response=best_response,
        problem=leader_problem if policy_leads else None,
    )
