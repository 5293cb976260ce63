"""The tightest instances: gradient ascent on the share of a bound that the regret uses.

The share is (regret − ε_π) / (right-hand side − ε_π): what is left once the policy's own error is taken off both
sides, since a policy that is bad in a perfect model makes any bound trivially tight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sbmrl.games.tabular.theory.instances import make_world
from sbmrl.games.tabular.theory.judge import THEOREMS, Instance, judge

_PRINTED = {"theorem_2_printed": "epsilon_2"}  # not a theorem: see docs/theory.md


class Tightest(NamedTuple):
    """The tightest instance found.

    Attributes:
        share: the share of the bound that the regret uses, in [0, 1] if the theorem holds.
        instance: its instance, as numpy arrays.
    """

    share: float
    instance: Instance


class Logits(NamedTuple):
    """An instance without constraints: softmax of each makes the rows, tanh the rewards, a sigmoid the discount."""

    transition: jax.Array
    reward: jax.Array
    initial: jax.Array
    discount: jax.Array
    policy: jax.Array
    model: jax.Array
    model_at_optimum: jax.Array


def _draw(key: jax.Array, num_states: int, num_actions: int) -> Logits:
    triples = (num_states, num_actions, num_states)
    shapes = (triples, triples, (num_states,), (), triples[:2], triples, triples)
    keys = jax.random.split(key, len(shapes))
    drawn = Logits(*(2.0 * jax.random.normal(k, shape, jnp.float64) for k, shape in zip(keys, shapes, strict=True)))
    close = 0.1 * drawn.model  # models start near the truth, where the bounds are not hopelessly loose
    return drawn._replace(model=drawn.transition + close, model_at_optimum=drawn.transition + 0.1 * drawn.reward)


def instance_of(logits: Logits, discounts: tuple[float, float]) -> Instance:
    """The instance behind the logits."""
    world = make_world(jax.nn.softmax(logits.transition), jnp.tanh(logits.reward), jax.nn.softmax(logits.initial))
    low, high = discounts
    return Instance(
        world,
        low + (high - low) * jax.nn.sigmoid(logits.discount),
        jax.nn.softmax(logits.policy),
        jax.nn.softmax(logits.model),
        jax.nn.softmax(logits.model_at_optimum),
    )


def used_share(instance: Instance, theorem: str) -> jax.Array:
    """`[]`: (regret − ε_π) / (right-hand side − ε_π); `theorem` is a key of THEOREMS or "theorem_2_printed"."""
    verdict = judge(instance)
    epsilon = getattr(verdict, (THEOREMS | _PRINTED)[theorem])
    return (verdict.regret - epsilon) / (getattr(verdict, theorem) - epsilon + 1e-12)


def tightest(
    theorem: str,
    seed: int = 0,
    num_starts: int = 128,
    num_steps: int = 400,
    learning_rate: float = 0.05,
    shape: tuple[int, int] = (3, 2),
    discounts: tuple[float, float] = (0.0, 0.99),
) -> Tightest:
    """The largest share found by Adam from random starts, among `discounts` between the two given."""
    optimizer = optax.adam(learning_rate)

    def ascend(key: jax.Array, discounts: tuple[float, float]) -> tuple[jax.Array, Instance]:
        start = _draw(key, *shape)

        def step(carry, _):
            logits, state, best, best_logits = carry
            share, slope = jax.value_and_grad(lambda x: used_share(instance_of(x, discounts), theorem))(logits)
            better = share > best
            best_logits = jax.tree.map(lambda new, old: jnp.where(better, new, old), logits, best_logits)
            updates, state = optimizer.update(jax.tree.map(jnp.negative, slope), state, logits)
            return (optax.apply_updates(logits, updates), state, jnp.where(better, share, best), best_logits), None

        carry = (start, optimizer.init(start), jnp.array(-jnp.inf), start)
        (_, _, share, logits), _ = jax.lax.scan(step, carry, length=num_steps)
        return share, instance_of(logits, discounts)

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), num_starts)
        shares, instances = jax.jit(jax.vmap(ascend, (0, None)))(keys, discounts)
        best = int(jnp.nanargmax(shares))
        return Tightest(float(shares[best]), jax.tree.map(lambda x: np.asarray(x[best]), instances))
