"""What a scheme is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sbmrl.game import Strategy
from sbmrl.learners.base import Info
from sbmrl.problems import Leaders

SchemeState = Any


class Scheme(NamedTuple):
    """How the follower comes to answer a leader.

    Attributes:
        init: (key, leaders) -> state.
        adapt: (key, state, leaders) -> (state, info); one step of the follower against a distribution of leaders.
        respond: (state, the leader's strategy as heard) -> the follower's strategy.
        params: (state) -> the follower's parameters.
        num_pretrain_steps: adapt steps against random leaders, before play.
    """

    init: Callable[[jax.Array, Leaders], SchemeState]
    adapt: Callable[[jax.Array, SchemeState, Leaders], tuple[SchemeState, Info]]
    respond: Callable[[SchemeState, Strategy], Strategy]
    params: Callable[[SchemeState], Any]
    num_pretrain_steps: int
