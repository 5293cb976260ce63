"""The practical game of model-based RL in a simulated world (Rajeswaran, Mordatch & Kumar 2020).

A policy's strategy is its network as a function, a model's its members with their parameters. The data of all policies
so far are kept. So this is the practical game and not the literal one, in which a model fits the data of its own policy
alone.
"""

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment
from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Collector, Game, Payoff, Profile, function_seat
from sbmrl.games.continuous.episodes import at_random, imagined_environment, play, real_environment, sampled
from sbmrl.games.continuous.measures import NUM_NEW, Losses, make_measures, wide_data
from sbmrl.games.continuous.options import ContinuousOptions
from sbmrl.games.continuous.physics import model_of
from sbmrl.games.continuous.replay import action_size, empty, newest, write
from sbmrl.games.continuous.simulator import Box, Simulator

WANTED = ("model_return", "real_return", "data_fit", "random_fit")


_UNKNOWN = frozenset({"follower_gap", "follower_gap_random", "follower_gap_true"})


def _collector(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Collector:
    """All transitions so far, "data", and the first by themselves, "random", where somebody wants to fit them."""
    rules, world = simulator.rules, real_environment(simulator)
    sizes = rules.observation_size, action_size(rules.actions)

    def init(key: jax.Array) -> Profile:
        act = at_random(simulator, options.initial_noise)
        first = play(key, world, simulator, act, options.num_initial_episodes)[:2]
        found = {"data": write(empty(options.buffer_size, *sizes), *first)}
        if "random_fit" in formulation.leader_wants:
            found["random"] = write(empty(len(first[1]), *sizes), *first)
        return found

    def update(key: jax.Array, data: Profile, profile: Profile) -> Profile:
        played = play(key, world, simulator, sampled(profile["policy"]), options.num_new_episodes)
        return {**data, "data": write(data["data"], played.transitions, played.valid)}

    return Collector(init, update, after_follower=formulation.follower == "policy")


def practical_game(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Game:
    """The game on `simulator`: the policy learns in the model, the model from all data so far."""
    rules = simulator.rules
    box = isinstance(rules.actions, Box)
    seats = {
        "policy": function_seat(
            rules.observation_size, action_size(rules.actions), "gaussian" if box else "categorical"
        ),
        "model": function_seat(rules.observation_size + action_size(rules.actions), rules.observation_size, "gaussian"),
    }

    def problem(formulation: Formulation, role: Role):
        assert role == "policy"

        def build(profile: Profile) -> Environment:
            return imagined_environment(simulator, profile["model"], options.propagation)

        return build

    def not_exact(profile: Profile) -> jax.Array:
        """There is no closed form; a learner of exact payoffs is refused."""
        raise TypeError("payoffs of simulated worlds are sampled")

    wide_rows = wide_data(simulator)

    def losses(profile: Profile) -> Losses:
        model, data = profile["model"], profile["data"]
        own, wide = (model.loss(rules, *some) for some in (newest(data, NUM_NEW), wide_rows))
        return Losses(jnp.mean(own), jnp.mean(wide), data.count.astype(float))

    both = ("policy", "model")
    return Game(
        simulator,
        simulator.horizon,
        seats=seats,
        payoffs={name: Payoff(not_exact, (), name) for name in WANTED},
        priors={"policy": lambda key: None, "model": lambda key: model_of(simulator)},
        heard=dict.fromkeys(both, lambda key, strategy: strategy),
        describe=dict.fromkeys(both, lambda strategy: jnp.zeros(0)),
        played=dict.fromkeys(both, lambda strategy: strategy),
        starts={role: {} for role in both},
        measures=lambda formulation: make_measures(simulator, options, losses, _UNKNOWN),
        collector=_collector(simulator, formulation, options),
        problem=problem,
    )
