"""Exact values of iterated matrix games: returns of both players, best responses, regret.

The *joint state* is what the last step was: 0 at the start, else 1 + k with k = a_row + A_row·a_column the number of
the joint action; all a player can see is a function of it. So two memory-one strategies make a Markov chain on
J = 1 + K joint states, K = A_row·A_column, and everything here is a sum over it. Unbatched, differentiable and pure;
batch with `jax.vmap`.

Notation: x `[(T,) O_L, A_L]` the leader's strategy, y `[(T,) O_F, A_F]` the follower's, each a table with or without a
clock T. Returns are undiscounted sums of T rewards.
"""

import itertools
from typing import Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.errors import require, require_known
from sbmrl.games.matrix.rules import MatrixGame, observe

Player = Literal["row", "column"]
PLAYERS: tuple[Player, ...] = get_args(Player)
TieBreaking = Literal["optimistic", "pessimistic", "lowest"]
# Among the follower's best answers: the leader's favourite (strong Stackelberg), its worst (weak), the lowest number.
TIE_BREAKING: dict[TieBreaking, float] = {"optimistic": 1.0, "pessimistic": -1.0, "lowest": 0.0}
MAX_MAPS = 100_000  # deterministic strategies of one player that are enumerated
_TIE_TOLERANCE = 1e-5  # two returns are tied within this share of the largest possible one


class LedGame(struct.PyTreeNode):
    """A matrix game as a leader and a follower play it, flattened over the K joint actions.

    Attributes:
        rewards: `[2, K]`, the leader's and the follower's.
        leader_action: `[K]` int, the leader's part of each joint action.
        follower_action: `[K]` int, the follower's.
        leader_sees: `[J]` int, the leader's observation in each joint state.
        follower_sees: `[J]` int, the follower's.
        horizon: T (static).
        num_actions: (A_L, A_F) (static).
        num_observations: (O_L, O_F) (static).
    """

    rewards: jax.Array
    leader_action: jax.Array
    follower_action: jax.Array
    leader_sees: jax.Array
    follower_sees: jax.Array
    horizon: int = struct.field(pytree_node=False)
    num_actions: tuple[int, int] = struct.field(pytree_node=False)
    num_observations: tuple[int, int] = struct.field(pytree_node=False)


def led_by(game: MatrixGame, leader: str = "row") -> LedGame:
    """`game` with "row" or "column" as the leader.

    Nothing but shapes is static in the result, so whatever is jitted over it is compiled once for all games of a size.

    Raises:
        InputError: the leader is no player.
    """
    require_known(leader, "leader", PLAYERS)
    first, second = (0, 1) if leader == "row" else (1, 0)
    joint_actions = np.arange(game.num_actions[0] * game.num_actions[1])
    actions = (joint_actions % game.num_actions[0], joint_actions // game.num_actions[0])
    sees = [np.concatenate([[0], observation]) for observation in observe(game, *actions)]
    return LedGame(
        game.rewards[:, *actions][np.array([first, second])],
        jnp.asarray(actions[first]),
        jnp.asarray(actions[second]),
        jnp.asarray(sees[first]),
        jnp.asarray(sees[second]),
        game.horizon,
        (game.num_actions[first], game.num_actions[second]),
        (game.num_observations[first], game.num_observations[second]),
    )


def _check(led: LedGame, strategy: jax.Array, side: int) -> None:
    clock = (led.horizon,) if strategy.ndim == 3 else ()
    chex.assert_shape(strategy, (*clock, led.num_observations[side], led.num_actions[side]))


def returns(led: LedGame, leader_strategy: jax.Array, follower_strategy: jax.Array) -> jax.Array:
    """`[2]`: the leader's and the follower's return, Σ_t Σ_k P(k_t = k) r(k).

    p_0 = M_0[start], p_{t+1} = p_t M_{t+1}, with M_t[j, k] = x_t(o_L(j), a_L(k)) y_t(o_F(j), a_F(k)) the chain from
    joint states to joint actions.
    """
    chain = _chain(led, leader_strategy, follower_strategy)
    clock = chain.ndim == 3

    def step(carry: tuple[jax.Array, jax.Array], now: jax.Array | None):
        probabilities, visits = carry
        probabilities = probabilities @ (chain if now is None else now)[1:]
        return (probabilities, visits + probabilities), None

    start = (chain[0] if clock else chain)[0]
    later = chain[1:] if clock else None
    (_, visits), _ = jax.lax.scan(step, (start, start), later, length=led.horizon - 1)
    return led.rewards @ visits


def _chain(led: LedGame, leader_strategy: jax.Array, follower_strategy: jax.Array) -> jax.Array:
    """`[(T,) J, K]`: from joint states to joint actions."""
    _check(led, leader_strategy, 0)
    _check(led, follower_strategy, 1)
    leader_moves = leader_strategy[..., led.leader_sees, :][..., led.leader_action]
    follower_moves = follower_strategy[..., led.follower_sees, :][..., led.follower_action]
    return leader_moves * follower_moves


def _returns_from_everywhere(led: LedGame, leader_strategy: jax.Array, follower_strategy: jax.Array) -> jax.Array:
    """`[2]`: mean returns of T steps over all joint states to begin in."""
    chain = _chain(led, leader_strategy, follower_strategy)

    def step(probabilities: jax.Array, _: None):
        return probabilities @ chain[1:], probabilities

    _, visits = jax.lax.scan(step, jnp.mean(chain, axis=0), length=led.horizon)
    return led.rewards @ jnp.sum(visits, axis=0)


def game_returns(game: MatrixGame, row_strategy: jax.Array, column_strategy: jax.Array) -> jax.Array:
    """`[2]`: row's and column's exact return; strategies `[(T,) O, A]`."""
    return returns(led_by(game, "row"), row_strategy, column_strategy)


def deterministic_maps(num_observations: int, num_actions: int, field: str) -> np.ndarray:
    """`[A^O, O, A]` one-hot: every deterministic strategy without a clock, in lexicographic order of its actions.

    Raises:
        InputError: more than 100,000 of them; `field` says whose.
    """
    count = num_actions**num_observations
    allowed = f"at most {MAX_MAPS:,} deterministic memory-one strategies can be enumerated"
    require(count <= MAX_MAPS, field, allowed, f"{num_actions}^{num_observations} = {count:,}")
    actions = np.array(list(itertools.product(range(num_actions), repeat=num_observations)))
    return np.eye(num_actions, dtype=np.float32)[actions]


class Response(NamedTuple):
    """A follower's best response and what it earns.

    Attributes:
        strategy: `[(T,) O_F, A_F]` one-hot.
        leader_value: `[]` the leader's return against it.
        follower_value: `[]` the follower's return: the most that any strategy of its class earns.
    """

    strategy: jax.Array
    leader_value: jax.Array
    follower_value: jax.Array


def best_response(
    led: LedGame, leader_strategy: jax.Array, *, clock: bool, tie_breaking: str | jax.Array = "optimistic"
) -> Response:
    """The follower's exact best response to x `[(T,) O_L, A_L]`.

    With a clock it is the best among *all* strategies, those that remember the whole episode included (backward
    induction). Without one it is the best *deterministic* memory-one map (enumeration): the follower then cannot tell
    the steps of an episode apart, so a mixed map may earn more, and `regret` against it may be negative.

    Args:
        led: the game.
        leader_strategy: x.
        clock: whether the follower knows the time.
        tie_breaking: a name, or its sign as in `TIE_BREAKING`, which may be traced.

    Raises:
        InputError: unknown tie-breaking, or more than 100,000 maps to enumerate.
    """
    _check(led, leader_strategy, 0)
    if isinstance(tie_breaking, str):
        tie_breaking = jnp.asarray(tie_sign(tie_breaking))
    return (_plan if clock else _enumerate)(led, leader_strategy, tie_breaking)


def tie_sign(tie_breaking: str) -> float:
    """1 for the leader's favourite, −1 for its worst, 0 for the lowest; `InputError` for an unknown name."""
    require_known(tie_breaking, "tie_breaking", TIE_BREAKING)
    return {str(name): sign for name, sign in TIE_BREAKING.items()}[tie_breaking]


def _tolerance(led: LedGame) -> jax.Array:
    return _TIE_TOLERANCE * led.horizon * jnp.max(jnp.abs(led.rewards))


def _choose(led: LedGame, follower_values: jax.Array, leader_values: jax.Array, sign: jax.Array) -> jax.Array:
    """`[...]` which of the last axis the follower takes; what still ties goes to the lowest."""
    tied = follower_values >= jnp.max(follower_values, axis=-1, keepdims=True) - _tolerance(led)
    return jnp.argmax(jnp.where(tied, sign * leader_values, -jnp.inf), axis=-1)


def _enumerate(led: LedGame, leader_strategy: jax.Array, sign: jax.Array) -> Response:
    maps = jnp.asarray(deterministic_maps(led.num_observations[1], led.num_actions[1], "follower"))
    values = jax.vmap(returns, (None, None, 0))(led, leader_strategy, maps)
    chosen = _choose(led, values[:, 1], values[:, 0], sign)
    # Many maps differ only in what is never met. Of those take the one that is best wherever play may begin: a leader
    # that departs from what it answered meets a follower that responds to what it said, not an arbitrary one. (The
    # lowest is the lowest.)
    same = jnp.all(jnp.abs(values - values[chosen]) <= _tolerance(led), axis=-1)
    elsewhere = jax.vmap(_returns_from_everywhere, (None, None, 0))(led, leader_strategy, maps)[:, 1]
    chosen = jnp.where(sign == 0, chosen, jnp.argmax(jnp.where(same, elsewhere, -jnp.inf)))
    return Response(maps[chosen], *values[chosen])


def _plan(led: LedGame, leader_strategy: jax.Array, sign: jax.Array) -> Response:
    """Backward induction over (time, joint state), ties broken by what the leader earns from there on.

    Q_t(j, b) = Σ_{k: a_F(k) = b} x_t(o_L(j), a_L(k)) (r_F(k) + V_{t+1}(1 + k)). This is a follower who sees the joint
    state; no memory of the past can serve it better, because x looks at nothing else. With joint memory it does see
    it. With less it plays just as well: then x depends only on the follower's own last action (or on nothing), which
    its clock tells it, since its own plan is deterministic. So the plan is played out as one sequence of actions, and
    the observation is not even used.
    """
    own = jax.nn.one_hot(led.follower_action, led.num_actions[1], dtype=led.rewards.dtype)  # [K, A_F]
    moves = leader_strategy[..., led.leader_sees, :][..., led.leader_action]  # [(T,) J, K]

    def backward(values: jax.Array, now: jax.Array | None):
        reach = moves if now is None else now
        leader, follower = (reach * (led.rewards + values[:, 1:])[:, None, :]) @ own  # [J, A_F] each
        chosen = _choose(led, follower, leader, sign)
        taken = [jnp.take_along_axis(q, chosen[:, None], axis=-1)[:, 0] for q in (leader, follower)]
        return jnp.stack(taken), chosen

    start = jnp.zeros((2, moves.shape[-2]), led.rewards.dtype)
    clock = moves if moves.ndim == 3 else None
    values, plan = jax.lax.scan(backward, start, clock, length=led.horizon, reverse=True)
    answers = plan if led.num_observations[1] == moves.shape[-2] else _played_out(led, plan)
    strategy = jax.nn.one_hot(answers, led.num_actions[1], dtype=led.rewards.dtype)
    return Response(strategy, values[0, 0], values[1, 0])


def _played_out(led: LedGame, plan: jax.Array) -> jax.Array:
    """`[T, O_F]` int: the actions that `plan` `[T, J]` takes from the start, whatever is observed."""

    def forward(state: jax.Array, now: jax.Array):
        action = now[state]
        # Any joint state with this own action: x, and so the plan, is the same in all of them.
        return 1 + jnp.argmax(led.follower_action == action), action

    _, actions = jax.lax.scan(forward, jnp.zeros((), jnp.int32), plan)
    return jnp.broadcast_to(actions[:, None], (led.horizon, led.num_observations[1]))


def regret(led: LedGame, leader_strategy: jax.Array, follower_strategy: jax.Array, *, clock: bool = True) -> jax.Array:
    """`[]`: how much more the best response to x earns than y does.

    Against the best response with a clock it is never negative, whatever y is; without, see `best_response`.
    """
    best = best_response(led, leader_strategy, clock=clock, tie_breaking="lowest").follower_value
    return best - returns(led, leader_strategy, follower_strategy)[1]
