"""What a learner is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sbmrl.core.game import Info
from sbmrl.core.options import FitOptions, PPOOptions

Opponent = Any  # what the problem needs to know of the other side: an `Outcome`, or a sampler of leaders
LearnerState = Any


class Learner(NamedTuple):
    """A player's way to improve, whatever its role.

    Attributes:
        init: (key, opponent) -> state.
        update: (key, state, opponent) -> (state, info).
        params: (state) -> the player's parameters.
        steps_per_update: environment steps taken by one update; for learners of exact payoffs, payoffs computed.
    """

    init: Callable[[jax.Array, Opponent], LearnerState]
    update: Callable[[jax.Array, LearnerState, Opponent], tuple[LearnerState, Info]]
    params: Callable[[LearnerState], Any]
    steps_per_update: int


def scan_minibatches(
    key: jax.Array,
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    data: Any,
    options: PPOOptions | FitOptions,
) -> tuple[Any, Any]:
    """`step(carry, minibatch)` over shuffled minibatches `[B, ...]` of `data` `[T, E, ...]`, once each per epoch.

    Whole time steps of all E environments are shuffled, so that a shuffle sorts T numbers instead of T·E: under a
    vmap over seeds a sort of every sample costs more than the gradient steps. Minibatches are flattened to one batch
    axis, because a matrix product with one is a third faster than with two.
    """
    rows_per_minibatch = options.minibatch_size // options.num_environments
    keys = jax.random.split(key, options.num_epochs)
    order = jax.vmap(lambda k: jax.random.permutation(k, options.num_steps))(keys).reshape(-1, rows_per_minibatch)

    def scan_step(carry: Any, rows: jax.Array):
        minibatch = jax.tree.map(lambda x: x[rows].reshape(options.minibatch_size, *x.shape[2:]), data)
        return step(carry, minibatch)

    return jax.lax.scan(scan_step, carry, order)
