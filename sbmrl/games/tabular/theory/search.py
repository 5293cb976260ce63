"""The tightest instances: gradient ascent on the share of a bound that is used.

The share is (left − own) / (right − own): what is left once the players' own errors are taken off both sides, since a
policy that is bad in a perfect model makes any bound trivially tight.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sbmrl.games.tabular.theory.instances import make_world
from sbmrl.games.tabular.theory.judge import Instance, judge, share_of


class Tightest(NamedTuple):
    """The tightest instance found.

    Attributes:
        share: the share of the bound that is used, in [0, 1] if the statement holds.
        instance: its instance, as numpy arrays.
    """

    share: float
    instance: Instance


class Logits(NamedTuple):
    """An instance without constraints: softmax of each makes the rows, tanh the rewards, a sigmoid the numbers."""

    transition: jax.Array
    reward: jax.Array
    initial: jax.Array
    discount: jax.Array
    policy: jax.Array
    model: jax.Array
    model_at_optimum: jax.Array
    reply: jax.Array
    pairs: jax.Array
    alpha: jax.Array


def _draw(key: jax.Array, num_states: int, num_actions: int) -> Logits:
    rows = (num_states, num_actions, num_states)
    pairs = rows[:2]
    shapes = (rows, rows, (num_states,), (), pairs, rows, rows, pairs, pairs, ())
    keys = jax.random.split(key, len(shapes))
    drawn = Logits(*(2.0 * jax.random.normal(k, shape, jnp.float64) for k, shape in zip(keys, shapes, strict=True)))
    close = 0.1 * drawn.model  # models start near the truth, where the bounds are not hopelessly loose
    return drawn._replace(model=drawn.transition + close, model_at_optimum=drawn.transition + 0.1 * drawn.reward)


def instance_of(logits: Logits, discounts: jax.Array | tuple[float, float]) -> Instance:
    """The instance behind the logits: excess losses, an endless world, a follower that plays what it is told to."""
    world = make_world(jax.nn.softmax(logits.transition), jnp.tanh(logits.reward), jax.nn.softmax(logits.initial))
    low, high = discounts
    policy = jax.nn.softmax(logits.policy)
    return Instance(
        world,
        jnp.ones(world.num_states, bool),
        low + (high - low) * jax.nn.sigmoid(logits.discount),
        policy,
        jnp.array(False),
        jax.nn.softmax(logits.model),
        jax.nn.softmax(logits.model_at_optimum),
        jax.nn.softmax(logits.reply),
        jnp.array(False),
        jax.nn.softmax(logits.pairs.ravel()).reshape(logits.pairs.shape),
        policy[None],
        1.0 - 10.0 ** (-6.0 * jax.nn.sigmoid(logits.alpha)),  # from 0 to next to 1, on a logarithmic scale
        jnp.zeros(()),
        jnp.zeros(()),
    )


def used_shares(instance: Instance, names: Sequence[str]) -> jax.Array:
    """`[len(names)]`: (left − own) / (right − own) of statements, by their names in what `judge` returns."""
    sides = judge(instance)
    return jnp.stack([share_of(sides[name]) for name in names])


def tightest(
    names: Sequence[str],
    seed: int = 0,
    num_starts: int = 128,
    num_steps: int = 400,
    learning_rate: float = 0.05,
    shape: tuple[int, int] = (3, 2),
    discounts: Sequence[tuple[float, float]] = ((0.0, 0.99),),
) -> list[dict[str, Tightest]]:
    """For each range of `discounts`, name -> the largest share found by Adam from random starts.

    All names and ranges share one compiled program.
    """
    optimizer = optax.adam(learning_rate)

    def ascend(key: jax.Array, which: jax.Array, between: jax.Array) -> tuple[jax.Array, Instance]:
        start = _draw(key, *shape)

        def step(carry, _):
            logits, state, best, best_logits = carry
            share, slope = jax.value_and_grad(lambda x: used_shares(instance_of(x, between), names)[which])(logits)
            better = share > best
            best_logits = jax.tree.map(lambda new, old: jnp.where(better, new, old), logits, best_logits)
            updates, state = optimizer.update(jax.tree.map(jnp.negative, slope), state, logits)
            return (optax.apply_updates(logits, updates), state, jnp.where(better, share, best), best_logits), None

        carry = (start, optimizer.init(start), jnp.array(-jnp.inf), start)
        (_, _, share, logits), _ = jax.lax.scan(step, carry, length=num_steps)
        return share, instance_of(logits, between)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), num_starts)
        ascend_all = jax.jit(jax.vmap(ascend, (0, None, None)))
        found = []
        for between in discounts:
            of_range = {}
            for number, name in enumerate(names):
                shares, instances = ascend_all(keys, jnp.int32(number), jnp.asarray(between))
                best = int(jnp.nanargmax(shares))
                of_range[name] = Tightest(
                    float(shares[best]), jax.tree.map(lambda x, n=best: np.asarray(x[n]), instances)
                )
            found.append(of_range)
        return found
