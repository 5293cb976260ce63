"""Random worlds, policies and models: the families of instances on which the theorems are checked.

Rewards are in [−1, 1], discounts in (0, 0.99), all numbers float64. Every family is (draws) -> instance, unbatched.
What all of them share: half of the worlds have a state that ends them, α is uniform or next to 1, losses are raw or in
excess of the truth's, the follower answers the truth well or at random, data are wide or mixed with π's own. Where the
family does not say who plays, half of the policies are drawn and half best-respond to their model.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import greedy
from sbmrl.games.tabular.closed_forms import discounted_occupancy, discounted_optimum
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.games.tabular.theory.judge import Instance


class Draws(NamedTuple):
    """What a family makes its instance from: a key, S states and A actions."""

    key: jax.Array
    num_states: int
    num_actions: int


NUM_CROWD = 8  # random policies whose mean occupancy is one of the kinds of wide data


def _rows(key: jax.Array, shape: tuple[int, ...], power: float = 1.0) -> jax.Array:
    """Normalised exponentials to the given power: 1 is Dirichlet(1), more is nearer to the corners of the simplex."""
    draws = jax.random.exponential(key, shape, jnp.float64) ** power
    return draws / jnp.sum(draws, axis=-1, keepdims=True)


def _mix(weight: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return (1.0 - weight) * left + weight * right


def make_world(transition: jax.Array, reward: jax.Array, initial: jax.Array) -> TabularMDP:
    """A world whose horizon is the judge's; a state that ends it is an absorbing one without reward."""
    return TabularMDP(transition, reward, initial, (False,) * len(initial), horizon=1, name="instance")


def with_end(world: TabularMDP, ends: jax.Array) -> tuple[TabularMDP, jax.Array]:
    """The world whose last state is absorbing and pays nothing if `ends` `[]`, and `[S]` which states decide."""
    last = jnp.arange(len(world.initial)) == len(world.initial) - 1
    ended = ends & last
    reward = jnp.where(ended[:, None, None], 0.0, world.reward)
    return world.replace(transition=absorbed(world.transition, ended), reward=reward), ~ended


def absorbed(rows: jax.Array, ended: jax.Array) -> jax.Array:
    """`[S, A, S]` the rows, those of `ended` `[S]` states absorbing."""
    return jnp.where(ended[:, None, None], jnp.eye(len(ended))[:, None, :], rows)


def _base(draws: Draws, power: float) -> Instance:
    """A world, a policy between uniform and greedy, and two independent models at random distances of the truth."""
    shape = (draws.num_states, draws.num_actions, draws.num_states)
    keys = jax.random.split(draws.key, 14)
    transition = _rows(keys[0], shape, power)
    reward = jax.random.uniform(keys[1], shape, jnp.float64, minval=-1.0)
    weights = jax.random.uniform(keys[2], (2,), jnp.float64) ** 4  # mostly close to the truth
    model, other = (_mix(weights[i], transition, _rows(keys[3 + i], shape, power)) for i in range(2))
    world = make_world(transition, reward, _rows(keys[5], shape[:1], 4.0))
    discount = 1.0 - 10.0 ** jax.random.uniform(keys[6], (), jnp.float64, minval=-2.0, maxval=0.0)
    ends, responds, replies_well, near_one, mixed, raw = jax.random.bernoulli(keys[8], shape=(6,))
    world, deciding = with_end(world, ends)
    pairs = jnp.where(deciding[:, None], _rows(keys[9], (shape[0] * shape[1],), 6.0).reshape(shape[:2]), 0.0)
    uniform = jax.random.uniform(keys[10], (), jnp.float64)
    alpha = jnp.where(near_one, 1.0 - 10.0 ** (-6.0 * uniform), uniform).clip(1e-6, 1.0 - 1e-6)
    return Instance(
        world,
        deciding,
        discount,
        policy=_rows(keys[7], shape[:2], 6.0),
        responds=responds,
        model=absorbed(model, ~deciding),
        model_at_optimum=absorbed(other, ~deciding),
        reply=_rows(keys[11], shape[:2], 6.0),
        replies_well=replies_well,
        pairs=pairs / jnp.sum(pairs),
        crowd=_rows(keys[12], (NUM_CROWD, *shape[:2])),
        alpha=alpha,
        kept=jnp.where(mixed, alpha, 0.0),
        raw=raw.astype(jnp.float64),
    )


def _dense(draws: Draws) -> Instance:
    return _base(draws, 1.0)


def _sparse(draws: Draws) -> Instance:
    return _base(draws, 6.0)


def _near_deterministic(draws: Draws) -> Instance:
    return _base(draws, 40.0)


def _best_response(draws: Draws) -> Instance:
    """As MAL has it: one model, and the policy that is optimal in it."""
    drawn = _base(draws, 3.0)
    return drawn._replace(responds=jnp.array(True), model_at_optimum=drawn.model)


def _hidden_reward(draws: Draws) -> Instance:
    """A model that is right but for one pair, whose good outcome it hides: the shape of the counterexamples."""
    drawn = _base(draws, 6.0)
    key_state, key_action, key_hidden = jax.random.split(jax.random.fold_in(draws.key, 8), 3)
    state = jax.random.randint(key_state, (), 0, draws.num_states - 1)  # the last one may end the world
    action = jax.random.randint(key_action, (), 0, draws.num_actions)
    poorest = greedy(-jnp.mean(drawn.world.reward, axis=(0, 1)))
    reward = drawn.world.reward.at[state, action].set(1.0 - 2.0 * poorest)  # 1, and −1 where the model leads
    hidden = 1.0 - 10.0 ** jax.random.uniform(key_hidden, (), jnp.float64, minval=-9.0, maxval=0.0)
    true_row = drawn.world.transition[state, action]
    model = drawn.world.transition.at[state, action].set(_mix(hidden, true_row, poorest))
    world = drawn.world.replace(reward=reward)
    return drawn._replace(world=world, responds=jnp.array(True), model=model, model_at_optimum=model)


def _reward_on_pairs(draws: Draws) -> Instance:
    """R(s, a, s') = r(s, a): the setting of the published statements."""
    drawn = _base(draws, 1.0)
    reward = jnp.broadcast_to(drawn.world.reward[..., :1], drawn.world.reward.shape)
    return drawn._replace(world=drawn.world.replace(reward=reward))


def _fitted(draws: Draws) -> Instance:
    """Models that fit their own policy's data, the better the more often it goes there: PAL's follower."""
    drawn = _base(draws, 1.0)
    optimal = discounted_optimum(drawn.world, drawn.discount).policy

    def fit(model: jax.Array, policy: jax.Array) -> jax.Array:
        occupancy = discounted_occupancy(drawn.world, policy, drawn.discount)
        trust = occupancy / (occupancy + 0.02)
        return _mix(trust[..., None], model, drawn.world.transition)

    model, at_optimum = fit(drawn.model, drawn.policy), fit(drawn.model_at_optimum, optimal)
    return drawn._replace(responds=jnp.array(False), model=model, model_at_optimum=at_optimum)


FAMILIES: dict[str, Callable[[Draws], Instance]] = {
    "dense": _dense,
    "sparse": _sparse,
    "near_deterministic": _near_deterministic,
    "best_response": _best_response,
    "hidden_reward": _hidden_reward,
    "reward_on_pairs": _reward_on_pairs,
    "fitted": _fitted,
}
