"""What is measured in a simulated world: a policy from starts that are the same for all, a model on two sets of data.

Own loss is the model's on the newest transitions, wide loss on transitions of a fixed set that no policy has chosen.
Both are mean squared errors of normalised differences, in the model's own units, so wide and own can be compared.
"""

import functools

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy
from sbmrl.core.measures import verdict
from sbmrl.games.continuous.episodes import (
    Act,
    Played,
    at_random,
    imagined_environment,
    meant,
    play,
    play_from,
    real_environment,
    sampled,
)
from sbmrl.games.continuous.options import ContinuousOptions
from sbmrl.games.continuous.replay import Transitions, newest
from sbmrl.games.continuous.simulator import Simulator, known_returns

SMALL_LOSS = 0.05  # of normalised differences: about 95 % of what varies is explained
LARGE_LOSS = 0.5  # about half of what varies is not explained
NUM_NEW = 200  # transitions of a model's own loss
_NUM_WIDE = 16  # episodes of random actions that a wide loss is measured on
_UNKNOWN = frozenset({"follower_gap", "follower_gap_random", "follower_gap_true"})


@functools.partial(jax.jit, static_argnames="num_episodes")
def _wide_data(simulator: Simulator, num_episodes: int) -> tuple[Transitions, jax.Array]:
    """Transitions of Gaussian actions that reach both ends of the range, the same for every run."""
    act = at_random(simulator, 1.0)
    return play(jax.random.key(2), real_environment(simulator), simulator, act, num_episodes)[:2]


def _evaluate(simulator: Simulator, environment, act: Act, num_episodes: int) -> Played:
    """From the same starts and with the same noise for every policy."""
    world = real_environment(simulator)
    start = jax.vmap(world.reset)(jax.random.split(jax.random.key(3), num_episodes))
    return play_from(jax.random.key(4), environment, simulator, act, start)


def make_measures(simulator: Simulator, formulation: Formulation, options: ContinuousOptions) -> Measures:
    """All of it for one formulation."""
    world, num_tests = real_environment(simulator), options.num_test_episodes
    unknown = jnp.array(jnp.nan)

    def measure(strategy: Strategy, outcome: Outcome) -> tuple[Metrics, Profile]:
        profile = outcome(strategy)
        policy, model, data = profile["policy"], profile["model"], profile["data"]
        imagined = imagined_environment(simulator, model, options.propagation)
        own = model.loss(simulator.rules, *newest(data, NUM_NEW))
        wide = model.loss(simulator.rules, *_wide_data(simulator, _NUM_WIDE))
        return {
            "exact_return": jnp.mean(_evaluate(simulator, world, meant(policy), num_tests).returns),
            "exact_return_stochastic": jnp.mean(_evaluate(simulator, world, sampled(policy), num_tests).returns),
            "model_return": jnp.mean(_evaluate(simulator, imagined, meant(policy), num_tests).returns),
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
        known = known_returns(simulator)
        found = verdict(metrics["exact_return"], jnp.float32(known.optimal), jnp.float32(known.uniform))
        own, wide = -metrics["fit"], -metrics["random_fit"]
        return found | {"fooled": found["fooled"] & (own <= SMALL_LOSS) & (wide >= LARGE_LOSS)}

    def sampled_returns(key: jax.Array, evaluated: Profile, num_episodes: int) -> jax.Array:
        return play(key, world, simulator, meant(evaluated["policy"]), num_episodes).returns

    return Measures(measure, follower, at_the_end, sampled_returns, _UNKNOWN)
