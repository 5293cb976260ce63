"""What is measured in a simulated world: a policy from starts that are the same for all, a model on two sets of data.

Own loss is the model's on the newest transitions, wide loss on transitions of a fixed set that no policy has chosen.
Both are mean squared errors of normalised differences, in the model's own units, so wide and own can be compared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy
from sbmrl.core.measures import verdict
from sbmrl.games.continuous.catalogue import known_returns
from sbmrl.games.continuous.episodes import (
    Group,
    Played,
    at_random,
    imagined_environment,
    meant,
    play,
    play_side_by_side,
    real_environment,
    sampled,
)
from sbmrl.games.continuous.options import ContinuousOptions
from sbmrl.games.continuous.replay import newest
from sbmrl.games.continuous.simulator import Simulator

SMALL_LOSS = 0.05  # of normalised differences: about 95 % of what varies is explained
LARGE_LOSS = 0.5  # about half of what varies is not explained
NUM_NEW = 200  # transitions of a model's own loss
_NUM_WIDE = 16  # episodes of random actions that a wide loss is measured on
_UNKNOWN = frozenset({"follower_gap", "follower_gap_random", "follower_gap_true"})


class _Evaluation(NamedTuple):
    """A profile, played from the same starts and with the same noise as every other one."""

    sampled: Played
    meant: Played
    imagined: Played
    wide: Played


def _evaluate(simulator: Simulator, profile: Profile, options: ContinuousOptions) -> _Evaluation:
    world, policy = real_environment(simulator), profile["policy"]
    imagined = imagined_environment(simulator, profile["model"], options.propagation)
    key, (key_wide_starts, key_wide) = jax.random.key(4), jax.random.split(jax.random.key(2))
    tested, wide = (
        jax.vmap(world.reset)(jax.random.split(key, num))
        for key, num in ((jax.random.key(3), options.num_test_episodes), (key_wide_starts, _NUM_WIDE))
    )
    groups = [
        Group(key, world, sampled(policy), tested),
        Group(key, world, meant(policy), tested),
        Group(key, imagined, meant(policy), tested),
        # Gaussian actions of this spread reach both ends of the range.
        Group(key_wide, world, at_random(simulator, 1.0), wide),
    ]
    return _Evaluation(*play_side_by_side(simulator, groups))


def make_measures(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Measures:
    """All of it for one formulation."""
    world = real_environment(simulator)
    unknown = jnp.array(jnp.nan)

    def measure(strategy: Strategy, outcome: Outcome) -> tuple[Metrics, Profile]:
        profile = outcome(strategy)
        policy, model, data = profile["policy"], profile["model"], profile["data"]
        played = _evaluate(simulator, profile, options)
        own = model.loss(simulator.rules, *newest(data, NUM_NEW))
        wide = model.loss(simulator.rules, *played.wide[:2])
        return {
            "exact_return": jnp.mean(played.meant.returns),
            "exact_return_stochastic": jnp.mean(played.sampled.returns),
            "model_return": jnp.mean(played.imagined.returns),
            "fit": -jnp.mean(own),
            "random_fit": -jnp.mean(wide),
            "real_steps": data.count.astype(float),
            "follower_gap": unknown,
        }, {"policy": policy, "model": model}

    def follower(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        """Nobody knows a best response here."""
        return {"follower_gap_true": unknown, "follower_gap_random": unknown}

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        """A run is fooled if its regret is large *and* its model is right where its policy goes and wrong elsewhere."""
        known = known_returns(simulator.name)
        found = verdict(metrics["exact_return"], jnp.float32(known.optimal), jnp.float32(known.uniform))
        own, wide = -metrics["fit"], -metrics["random_fit"]
        return found | {"fooled": found["fooled"] & (own <= SMALL_LOSS) & (wide >= LARGE_LOSS)}

    def sampled_returns(key: jax.Array, evaluated: Profile, num_episodes: int) -> jax.Array:
        return play(key, world, simulator, meant(evaluated["policy"]), num_episodes).returns

    return Measures(measure, follower, at_the_end, sampled_returns, _UNKNOWN)
