"""All exact equilibria of MAL and PAL on a small world, by enumeration, in the discounted game with KL loss.

**MAL.** The least loss is 0, and a model has it exactly if it is right on every pair that its best response visits. So
the equilibria are the *sets of actions* C(s) that some such model makes optimal: take the true rows on the pairs of C
that are visited, and on all others the rows that make deviating worth least. That is a robust problem with
independent rows,

    W(s) = max_a  r(s, a) + γ Σ P W           for visited pairs of C,
                  min_s' R(s, a, s') + γ W(s')  for all others,

and C is an equilibrium exactly if its own value V_C attains W wherever it goes.
*Optimistic* (strong Stackelberg): ties are broken for the leader, so C is one action a state and need not be strictly
better. *Pessimistic* (weak): ties are broken against the leader, so C must hold all best actions, each of them right,
and every deviation must be strictly worse.

Counted are deterministic policies (optimistic) and sets of actions (pessimistic); mixtures of tied actions are not.

**PAL.** The model is right wherever the leader goes, so the leader gets what the world pays: its equilibria are the
policies that are optimal in the world.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.errors import require
from sbmrl.games.tabular.closed_forms import expected_reward
from sbmrl.games.tabular.mdp import TabularMDP

MAX_CANDIDATES = 100_000
_TOLERANCE = 1e-8  # relative to the largest possible return
_PRECISION = 1e-11  # of robust value iteration, relative to the same


class Equilibria(NamedTuple):
    """Every equilibrium of both formulations; numpy.

    Attributes:
        optimistic: `[N, S, A]` one-hot policies of MAL's optimistic equilibria; in states never visited, action 0.
        optimistic_returns: `[N]` their discounted returns in the world.
        pessimistic: `[K, S, A]` bool, the sets of actions of MAL's pessimistic equilibria.
        pessimistic_returns: `[K]` their returns (all policies in a set earn the same).
        pal: `[L, S, A]` one-hot policies of PAL's equilibria; in states never visited, action 0.
        pal_return: their return, the optimum.
    """

    optimistic: np.ndarray
    optimistic_returns: np.ndarray
    pessimistic: np.ndarray
    pessimistic_returns: np.ndarray
    pal: np.ndarray
    pal_return: float


def enumerate_equilibria(mdp: TabularMDP, discount: float) -> Equilibria:
    """All equilibria of `mdp`, in float64.

    Raises:
        InputError: γ outside [0, 1), or more than 100,000 sets of actions to go through.
    """
    require(0.0 <= discount < 1.0, "discount", "must be in [0, 1)", discount)
    sets = [set_ for set_ in itertools.product((False, True), repeat=mdp.num_actions) if any(set_)]
    count = len(sets) ** len(mdp.decision_states)
    require(count <= MAX_CANDIDATES, "env", f"must have at most {MAX_CANDIDATES:,} sets of actions to enumerate", count)
    with jax.enable_x64(True):
        world = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), mdp)
        world = world.replace(transition=world.transition / world.transition.sum(-1, keepdims=True))
        candidates = _candidates(mdp, sets)
        weak, strict, value = (
            np.asarray(x) for x in jax.jit(jax.vmap(_judge, (None, 0, None)))(world, candidates, discount)
        )
        single = candidates.sum(-1).max(-1) == 1
        scale = float(np.abs(np.asarray(mdp.reward)).max()) / (1.0 - discount)
        optimal = single & (value >= value[single].max() - _TOLERANCE * scale)
        return Equilibria(
            candidates[weak & single].astype(float),
            value[weak & single],
            candidates[strict],
            value[strict],
            candidates[optimal].astype(float),
            float(value[single].max()),
        )


def _candidates(mdp: TabularMDP, sets: list[tuple[bool, ...]]) -> np.ndarray:
    """`[N, S, A]` bool: every way to choose a set of actions in each state that is visited; others hold action 0."""
    deciding = mdp.decision_states
    found = np.zeros((len(sets) ** len(deciding), mdp.num_states, mdp.num_actions), bool)
    found[:, :, 0] = True
    found[:, deciding] = np.array(list(itertools.product(sets, repeat=len(deciding))), bool)
    moves = np.asarray(mdp.transition) > 0
    reached = np.broadcast_to(np.asarray(mdp.initial) > 0, (len(found), mdp.num_states))
    for _ in range(mdp.num_states):
        reached = reached | (reached[:, :, None, None] & found[..., None] & moves).any((1, 2))
    found = np.where(reached[..., None], found, np.eye(mdp.num_actions, dtype=bool)[0])
    return np.unique(found, axis=0)


def _judge(world: TabularMDP, chosen: jax.Array, discount: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(optimistic?, pessimistic?, return) of the sets of actions `chosen` `[S, A]`; see the module."""
    policy = chosen / jnp.sum(chosen, axis=-1, keepdims=True)
    moved = jnp.einsum("sa,sat->st", policy, world.transition)
    reward = jnp.sum(policy * expected_reward(world), axis=-1)
    values = jnp.linalg.solve(jnp.eye(world.num_states) - discount * moved, reward)
    visits = jnp.linalg.solve((jnp.eye(world.num_states) - discount * moved).T, world.initial)
    deciding = ~np.array(world.terminal)
    reached = (visits > 1e-12) & deciding
    right = chosen & reached[:, None]
    scale = jnp.max(jnp.abs(world.reward)) / (1.0 - discount)

    def action_values(robust: jax.Array) -> jax.Array:
        true = expected_reward(world) + discount * world.transition @ robust
        worst = jnp.min(world.reward + discount * robust, axis=-1)
        return jnp.where(right, true, worst)

    def step(carry):
        robust, _ = carry
        new = jnp.where(deciding, jnp.max(action_values(robust), axis=-1), 0.0)
        return new, jnp.max(jnp.abs(new - robust))

    def unfinished(carry):
        return carry[1] > _PRECISION * scale * (1.0 - discount)

    robust, _ = jax.lax.while_loop(unfinished, step, (jnp.zeros(world.num_states), jnp.inf))
    tolerance = _TOLERANCE * scale
    attained = jnp.all(jnp.where(reached, robust <= values + tolerance, True))
    values_of_actions = action_values(robust)
    tied = jnp.abs(values_of_actions - values[:, None]) <= tolerance
    worse = values_of_actions < values[:, None] - tolerance
    consistent = jnp.all(jnp.where(reached[:, None], jnp.where(chosen, tied, worse), True))
    return attained, attained & consistent, world.initial @ values
