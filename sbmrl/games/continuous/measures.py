"""What is measured in a simulated world: a policy from starts that are the same for all, a model on two sets of data.

Own loss is the model's on the newest transitions, or in the literal game on the episodes that it is judged by, wide
loss on transitions of a fixed set that no policy has chosen. Both are mean squared errors of normalised differences, in
the model's own units, so wide and own can be compared.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment
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
from sbmrl.games.continuous.replay import Transitions
from sbmrl.games.continuous.simulator import Simulator, known_returns

SMALL_LOSS = 0.05  # of normalised differences: about 95 % of what varies is explained
LARGE_LOSS = 0.5  # about half of what varies is not explained
NUM_NEW = 200  # transitions of a model's own loss
_NUM_WIDE = 16  # episodes of random actions that a wide loss is measured on


class Losses(NamedTuple):
    """How wrong a model is, `[]` each, and what that was learned from.

    Attributes:
        own: on the data of its own policy.
        wide: on those of random actions.
        real_steps: of the true world so far; NaN where nothing is collected.
    """

    own: jax.Array
    wide: jax.Array
    real_steps: jax.Array


@jax.jit
def _wide_data(simulator: Simulator) -> tuple[Transitions, jax.Array]:
    act = at_random(simulator, 1.0)
    return play(jax.random.key(2), real_environment(simulator), simulator, act, _NUM_WIDE)[:2]


def wide_data(simulator: Simulator) -> tuple[Transitions, jax.Array]:
    """Transitions of Gaussian actions that reach both ends of the range, the same for every run: (`[n, ...]`, made).

    They are played while a program is traced and are constants in it.
    """
    with jax.ensure_compile_time_eval():
        return _wide_data(simulator)


def evaluate(simulator: Simulator, environment: Environment, act: Act, num_episodes: int) -> Played:
    """Episodes from the same starts and with the same noise for every policy."""
    world = real_environment(simulator)
    start = jax.vmap(world.reset)(jax.random.split(jax.random.key(3), num_episodes))
    return play_from(jax.random.key(4), environment, simulator, act, start)


def make_measures(
    simulator: Simulator,
    options: ContinuousOptions,
    losses: Callable[[Profile], Losses],
    not_known: frozenset[str],
    regret: Callable[[Profile], jax.Array] = lambda profile: jnp.array(jnp.nan),
    right: Strategy | None = None,
) -> Measures:
    """All of it for one game.

    Args:
        simulator: the true world.
        options: how many starts, and how a model is played.
        losses: (profile) -> of its model.
        not_known: names of metrics that nobody knows in this game, and that are NaN.
        regret: (evaluated profile) -> `[]` the policy's regret in its model; NaN where nobody knows.
        right: the strategy that a leader should play, where the follower can be asked for its answer to it.
    """
    world, num_tests = real_environment(simulator), options.num_test_episodes
    unknown = jnp.array(jnp.nan)

    def measure(strategy: Strategy, outcome: Outcome) -> tuple[Metrics, Profile]:
        profile = outcome(strategy)
        policy, model, told = profile["policy"], profile["model"], losses(profile)
        imagined = imagined_environment(simulator, model, options.propagation)
        return {
            "exact_return": jnp.mean(evaluate(simulator, world, meant(policy), num_tests).returns),
            "exact_return_stochastic": jnp.mean(evaluate(simulator, world, sampled(policy), num_tests).returns),
            "model_return": jnp.mean(evaluate(simulator, imagined, meant(policy), num_tests).returns),
            "fit": -told.own,
            "random_fit": -told.wide,
            "real_steps": told.real_steps,
            "follower_gap": unknown,
        }, {"policy": policy, "model": model}

    def follower(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        """Over random leaders a best response is known to nobody, or too dear."""
        known = unknown if right is None else regret(outcome(right))
        return {"follower_gap_true": known, "follower_gap_random": unknown}

    def at_the_end(profile: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        """A run is fooled if its regret is large *and* its model is right where its policy goes and wrong elsewhere."""
        known = known_returns(simulator)
        found = verdict(metrics["exact_return"], jnp.float32(known.optimal), jnp.float32(known.uniform))
        own, wide = -metrics["fit"], -metrics["random_fit"]
        fooled = found["fooled"] & (own <= SMALL_LOSS) & (wide >= LARGE_LOSS)
        return found | {"fooled": fooled, "follower_gap": regret(profile)}

    def sampled_returns(key: jax.Array, profile: Profile, num_episodes: int) -> jax.Array:
        return play(key, world, simulator, meant(profile["policy"]), num_episodes).returns

    return Measures(measure, follower, at_the_end, sampled_returns, not_known)
