"""Fitting members to a replay by minibatches, with early stopping that has no data-dependent shapes.

A fit is a scan over a fixed number of epochs, each a scan over a fixed number of Adam steps. Behind each epoch a member
is judged on the slots held out; it ends where it was judged best, its optimiser's moments too. A member whose patience
is over trains on to no effect: under a vmap over seeds a loop that stops would wait for the slowest seed anyway.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.game import Info
from sbmrl.core.options import require_count, require_counts, require_ranges
from sbmrl.core.players import Params
from sbmrl.errors import require
from sbmrl.games.continuous.replay import Replay, draw, is_filled, num_training_slots

_LEAST_GAIN = 0.01  # by how much of the best loss a loss must be lower to count as better (mbrl-lib)

_BONUS_TAG = 0x626F6E  # far behind the numbers of sources

Rows = Any  # a pytree of `[n, ...]`: transitions as a model trains on them
Bonus = Callable[[jax.Array, Params], jax.Array]


@dataclasses.dataclass(frozen=True)
class FittingOptions:
    """How a model is fitted to a replay."""

    learning_rate: float = 1e-3
    """Adam's step size."""
    weight_decay: float = 0.0
    """Share of each parameter, times the step size, that a gradient step takes off (AdamW)."""
    minibatch_size: int = 200
    """Transitions per gradient step, which each member draws for itself."""
    num_epochs: int = 25
    """Epochs of a fit, each as many gradient steps as a full replay has minibatches to train on."""
    max_gradient_steps: int = 10_000
    """The most gradient steps of a fit; epochs are shortened to it."""
    holdout_every: int = 5
    """Each slot of the replay with a number divisible by this is held out; with 0 none, and all judge what is kept."""
    patience: int = 5
    """Epochs without a holdout loss lower by 1 % behind which a member stops."""
    num_new: int = 200
    """The newest transitions, on which the loss before a fit is told."""
    num_updates: int = 25
    """Fits as a leader, each with new data of the policy (rounded up to whole records)."""
    num_reward_steps: int = 20
    """Imagined steps through which a model that is paid the return follows its derivative."""
    num_reward_starts: int = 32
    """States of the replay, drawn for each gradient step, from which they are imagined."""


class Objective(NamedTuple):
    """What one member's fit lowers, and what is told of it.

    Attributes:
        losses: (params, rows `[n, ...]`) -> `[n]`, whose mean is lowered, and picks the best epoch on the holdout.
        least: no loss is below it; "better by 1 %" means closer to it by 1 %.
        errors: (params, rows `[n, ...]`) -> `[n]` mean squared normalised errors.
    """

    losses: Callable[[Params, Rows], jax.Array]
    least: float
    errors: Callable[[Params, Rows], jax.Array]


class Source(NamedTuple):
    """Data to be fitted.

    Attributes:
        replay: which slots are filled.
        rows: what is in the slots, `[N, ...]`.
        weight: `[]` of its mean loss among those of other sources.
    """

    replay: Replay
    rows: Rows
    weight: jax.typing.ArrayLike


class Fitted(NamedTuple):
    """Parameters with what their optimiser remembers of them; each with an axis of members M in front."""

    params: Params
    optimizer_state: Any


def make_optimizer(options: FittingOptions) -> optax.GradientTransformation:
    """Adam of one member."""
    return optax.adamw(options.learning_rate, weight_decay=options.weight_decay)


def steps_per_epoch(size: int, options: FittingOptions) -> int:
    """Gradient steps of an epoch on a replay of N slots."""
    minibatches = num_training_slots(size, options.holdout_every) // options.minibatch_size
    return max(1, min(minibatches, options.max_gradient_steps // options.num_epochs))


def masked_mean(numbers: jax.Array, mask: jax.Array) -> jax.Array:
    """`[]`: the mean of those that count; 0 where none does."""
    return jnp.sum(jnp.where(mask, numbers, 0.0)) / jnp.maximum(jnp.sum(mask), 1)


def fit_members(
    key: jax.Array,
    fitted: Fitted,
    sources: Sequence[Source],
    objective: Objective,
    options: FittingOptions,
    bonus: Bonus | None = None,
) -> tuple[Fitted, Info]:
    """Fit each of M members by itself: what becomes of one does not depend on how many there are.

    A gradient step has a minibatch of each source. Where something else is to be raised too, the losses alone do not
    tell which epoch was best, and the last is kept.

    Args:
        key: of the minibatches.
        fitted: where the members start.
        sources: the data; the first says how long an epoch is.
        objective: of one member.
        options: how.
        bonus: (key, params of one member) -> `[]` what else is to be raised, if anything.

    Returns:
        The members at their best, and of each, `[M]`: its `training_loss` in the last epoch before it stopped, its
        `holdout_loss`, the mean of `errors` at its best, and `num_epochs` until it stopped.
    """
    num_members = jax.tree.leaves(fitted.params)[0].shape[0]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_members))
    return jax.vmap(lambda key, one: _fit(key, one, sources, objective, options, bonus))(keys, fitted)


def _fit(
    key: jax.Array,
    fitted: Fitted,
    sources: Sequence[Source],
    objective: Objective,
    options: FittingOptions,
    bonus: Bonus | None,
) -> tuple[Fitted, Info]:
    optimizer = make_optimizer(options)
    shape = (steps_per_epoch(sources[0].replay.size, options), options.minibatch_size)
    every = max(options.holdout_every, 1)
    judging = [jax.tree.map(lambda x: x[::every], (one.rows, is_filled(one.replay))) for one in sources]

    def weighted(means: Iterable[jax.Array]) -> jax.Array:
        return jnp.sum(jnp.stack([one.weight * mean for one, mean in zip(sources, means, strict=True)]))

    def judged(losses: Callable[[Rows], jax.Array]) -> jax.Array:
        return weighted(masked_mean(losses(rows), filled) for rows, filled in judging)

    def judge(params: Params) -> jax.Array:
        return judged(lambda rows: objective.losses(params, rows) - objective.least)

    def mean_loss(params: Params, minibatch: Rows) -> jax.Array:
        return weighted(jnp.mean(objective.losses(params, minibatch).reshape(len(sources), -1), axis=1))

    def lowered(params: Params, minibatch: Rows, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        loss = mean_loss(params, minibatch)
        return (loss if bonus is None or key is None else loss - bonus(key, params)), loss

    def step(now: Fitted, drawn: tuple[list[jax.Array], jax.Array | None]):
        slots, key = drawn
        parts = [jax.tree.map(lambda x, own=own: x[own], one.rows) for one, own in zip(sources, slots, strict=True)]
        minibatch = jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)
        slope, loss = jax.grad(lowered, has_aux=True)(now.params, minibatch, key)
        updates, optimizer_state = optimizer.update(slope, now.optimizer_state, now.params)
        return Fitted(optax.apply_updates(now.params, updates), optimizer_state), loss

    def epoch(carry, key: jax.Array):
        now, best, least, stale = carry
        keys = [key, *(jax.random.fold_in(key, number) for number in range(1, len(sources)))]
        slots = [draw(own, one.replay, shape, options.holdout_every) for own, one in zip(keys, sources, strict=True)]
        keys = None if bonus is None else jax.random.split(jax.random.fold_in(key, _BONUS_TAG), shape[0])
        now, losses = jax.lax.scan(step, now, (slots, keys))
        loss, plays = judge(now.params), stale < options.patience
        better = plays & ((loss < (1 - _LEAST_GAIN) * least) | (bonus is not None))
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), now, best)
        carry = now, best, jnp.where(better, loss, least), jnp.where(better, 0, stale + 1)
        return carry, (jnp.mean(losses), plays)

    carry = fitted, fitted, judge(fitted.params), jnp.int32(0)
    (_, best, _, _), (losses, plays) = jax.lax.scan(epoch, carry, jax.random.split(key, options.num_epochs))
    num_epochs = jnp.sum(plays)
    error = judged(lambda rows: objective.errors(best.params, rows))
    return best, {"training_loss": losses[num_epochs - 1], "holdout_loss": error, "num_epochs": num_epochs}


def check(options: FittingOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    require_counts(
        options, where, "minibatch_size", "num_epochs", "max_gradient_steps", "patience", "num_new", "num_updates"
    )
    require_counts(options, where, "num_reward_steps", "num_reward_starts")
    require_count(options.holdout_every, where + "holdout_every", 0)
    allowed = f"must be at least {where}num_epochs, which is {options.num_epochs}"
    most = options.max_gradient_steps
    require(most >= options.num_epochs, where + "max_gradient_steps", allowed, most)
    require(options.holdout_every != 1, where + "holdout_every", "with 1 there is nothing to train on", 1)
    require_ranges(options, where, learning_rate=(0.0, math.inf), weight_decay=(0.0, math.inf))
