"""The inner–outer loop: K follower steps against the present leader for each step of the leader.

The response is either held fixed (first-order: the leader takes the follower as it is) or *unrolled*: the leader
differentiates through the last k of the K steps. Source: the poster, section 3; Rajeswaran et al. (2020) for the
first-order loop at two speeds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sbmrl.core.game import Profile, Strategy
from sbmrl.core.learner import Learner
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme, no_residual


class InnerState(NamedTuple):
    """The follower's learner now, and as it was k steps ago."""

    now: Any
    before: Any


def inner_outer(
    follower: Learner,
    strategy: Callable[[Any], Strategy],
    against: Callable[[Profile], Any],
    num_inner_steps: int,
    unroll: int,
    residual: Callable[[Strategy, Profile], jax.Array] | None = None,
) -> Scheme:
    """The scheme around a follower's learner.

    Args:
        follower: learner of the follower's payoff against one leader.
        strategy: (θ) -> the follower's strategy.
        against: (given) -> the opponent that the learner wants to be told.
        num_inner_steps: K ≥ 1.
        unroll: k in [0, K].
        residual: (follower's strategy, given) -> `[]` how far it is from a stationary point, if that can be known.
    """

    def learn(keys: jax.Array, state: Any, given: Profile):
        opponent = against(given)
        return jax.lax.scan(lambda state, key: follower.update(key, state, opponent), state, keys)

    def init(key: jax.Array, leaders: Leaders) -> InnerState:
        key_leader, key_follower = jax.random.split(key)
        state = follower.init(key_follower, against(leaders(key_leader)))
        return InnerState(state, state)

    def adapt(key: jax.Array, state: InnerState, leaders: Leaders):
        key_leader, key_learn = jax.random.split(key)
        given = leaders(key_leader)
        keys = jax.random.split(key_learn, num_inner_steps)
        before, first = learn(keys[: num_inner_steps - unroll], state.now, given)
        now, last = learn(keys[num_inner_steps - unroll :], before, given)
        infos = jax.tree.map(lambda a, b: (a.sum() + b.sum()) / num_inner_steps, first, last)
        return InnerState(now, before), {f"follower_{name}": value for name, value in infos.items()}

    def respond(state: InnerState, given: Profile) -> Strategy:
        state = jax.lax.stop_gradient(state)
        if unroll == 0:
            return strategy(follower.params(state.now))
        # An unrolled learner is one of exact payoffs: it draws nothing from its keys.
        keys = jax.random.split(jax.random.key(0), unroll)
        return strategy(follower.params(learn(keys, state.before, given)[0]))

    def measure_residual(state: InnerState, given: Profile) -> jax.Array:
        return no_residual(state, given) if residual is None else residual(respond(state, given), given)

    return Scheme(init, adapt, respond, measure_residual, lambda state: follower.params(state.now), 0, True)
