"""What the leader of an iterated matrix game can get: the exact Stackelberg optimum, by brute force and by ascent.

There is no one optimum of such a game. It depends on
- what the leader may commit to: *deterministic* memory-one strategies (all of them are tried), or *mixed* ones
  (gradient ascent finds a lower bound);
- what the follower may answer with: strategies with or without a *clock* (`matrix_values.best_response`);
- how the follower breaks ties: for the leader (strong Stackelberg), against it (weak), or by the lowest number
  (Breton, Alj & Haurie 1988).

Everything is jitted over the game, so all games of one size share a compile.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.errors import require
from sbmrl.games.matrix.values import MAX_MAPS, LedGame, best_response, deterministic_maps, returns, tie_sign

MAX_PAIRS = 10_000_000  # leaders × followers, where both are enumerated
_BATCH = 256  # leaders judged at once: bounds memory


class Commitment(NamedTuple):
    """What a leader commits to and what comes of it.

    Attributes:
        leader_value: `[]` the leader's return.
        follower_value: `[]` the follower's.
        leader: `[O_L, A_L]` its strategy.
        follower: `[(T,) O_F, A_F]` the best response.
    """

    leader_value: jax.Array
    follower_value: jax.Array
    leader: jax.Array
    follower: jax.Array


class Optimum(NamedTuple):
    """The best deterministic commitment among all of them.

    Attributes:
        best: the first of those that earn the leader most.
        leader_values: `[N]` the leader's return of each of the N = A_L^O_L commitments, in lexicographic order.
        follower_values: `[N]` the follower's.
    """

    best: Commitment
    leader_values: jax.Array
    follower_values: jax.Array


def deterministic_optimum(led: LedGame, *, clock: bool, tie_breaking: str = "optimistic") -> Optimum:
    """Every deterministic memory-one leader against the follower's exact best response.

    Raises:
        InputError: unknown tie-breaking, more than 100,000 strategies of a player, or more than 10,000,000 pairs.
    """
    require_enumerable(led, clock=clock)
    leaders = deterministic_maps(led.num_observations[0], led.num_actions[0], "leader")
    return _brute_force(led, jnp.asarray(leaders), jnp.asarray(tie_sign(tie_breaking)), clock=clock)


def require_enumerable(led: LedGame, *, clock: bool) -> None:
    """Raise `InputError` where a game has too many deterministic strategies for `deterministic_optimum`."""
    counts = [a**o for a, o in zip(led.num_actions, led.num_observations, strict=True)]
    for count, who in zip(counts if not clock else counts[:1], ("leader", "follower"), strict=False):
        require(
            count <= MAX_MAPS, who, f"at most {MAX_MAPS:,} deterministic strategies can be enumerated", f"{count:,}"
        )
    pairs = counts[0] * counts[1]
    allowed = f"at most {MAX_PAIRS:,} pairs of strategies can be enumerated"
    require(clock or pairs <= MAX_PAIRS, "env", allowed, f"{pairs:,}")


@partial(jax.jit, static_argnames="clock")
def _brute_force(led: LedGame, leaders: jax.Array, sign: jax.Array, *, clock: bool) -> Optimum:
    def judge(leader: jax.Array) -> tuple[jax.Array, jax.Array]:
        response = best_response(led, leader, clock=clock, tie_breaking=sign)
        return response.leader_value, response.follower_value

    leader_values, follower_values = jax.lax.map(judge, leaders, batch_size=min(_BATCH, len(leaders)))
    best = leaders[jnp.argmax(leader_values)]
    return Optimum(_commitment(led, best, sign, clock), leader_values, follower_values)


def _commitment(led: LedGame, leader: jax.Array, sign: jax.Array, clock: bool) -> Commitment:
    response = best_response(led, leader, clock=clock, tie_breaking=sign)
    return Commitment(response.leader_value, response.follower_value, leader, response.strategy)


_PESSIMISTIC = -1.0
_START_SCALE = 2.0  # of the first logits: from nearly uniform to nearly deterministic leaders
_PENALTY = 20.0  # per unit of the follower's regret at its target
_MARGIN = 1e-4  # by which the target must beat all else, as a share of the largest return: ten tolerances


def mixed_lower_bound(
    led: LedGame,
    key: jax.Array,
    *,
    clock: bool,
    tie_breaking: str = "optimistic",
    num_starts: int = 128,
    num_steps: int = 400,
    learning_rate: float = 0.1,
) -> Commitment:
    """The best mixed commitment found: a lower bound on what the leader can get, and one that it really gets.

    A target, the best response y to each start, is held fixed while the leader climbs
    V_L(x, y) − λ·max(0, max_y' V_F(x, y') + margin − V_F(x, y)), x a softmax: its own return subject to y staying the
    follower's best response, the programs of Conitzer & Sandholm (2006, "Computing the optimal strategy to commit to")
    by a penalty. Whatever the climb does, every leader on its way is judged by its exact best response with ties
    *against* it, within a tolerance far above rounding, so what it is credited with holds under every tie-breaking.
    Last, the deterministic optimum under the named tie-breaking is a candidate: its ties are exact.

    Args:
        led: the game.
        key: of the starts.
        clock: whether the follower knows the time.
        tie_breaking: of the deterministic candidates.
        num_starts: random starts, climbed side by side.
        num_steps: Adam steps of each, at a rate that falls to 0.
        learning_rate: Adam's, at first.

    Raises:
        InputError: as `deterministic_optimum`.
    """
    deterministic = deterministic_optimum(led, clock=clock, tie_breaking=tie_breaking).best
    logits = _START_SCALE * jax.random.normal(key, (num_starts, led.num_observations[0], led.num_actions[0]))
    mixed = _climb(led, logits, learning_rate, clock=clock, num_steps=num_steps)
    return mixed if mixed.leader_value > deterministic.leader_value else deterministic


@partial(jax.jit, static_argnames=("clock", "num_steps"))
def _climb(led: LedGame, logits: jax.Array, learning_rate: jax.Array, *, clock: bool, num_steps: int) -> Commitment:
    optimizer = optax.adam(optax.cosine_decay_schedule(1.0, num_steps))
    margin = _MARGIN * led.horizon * jnp.max(jnp.abs(led.rewards[1]))

    def respond(leader: jax.Array):
        return best_response(led, leader, clock=clock, tie_breaking=jnp.asarray(_PESSIMISTIC))

    def penalised(logits: jax.Array, target: jax.Array):
        leader = jax.nn.softmax(logits)
        leader_value, follower_value = returns(led, leader, target)
        response = respond(leader)
        broken = jnp.maximum(0.0, response.follower_value + margin - follower_value)
        return leader_value - _PENALTY * broken, response.leader_value

    def climb(logits: jax.Array):
        target = respond(jax.nn.softmax(logits)).strategy

        def step(carry, _):
            logits, state, best_value, best_logits = carry
            (_, value), slope = jax.value_and_grad(penalised, has_aux=True)(logits, target)
            better = value > best_value
            best_logits = jnp.where(better, logits, best_logits)
            updates, state = optimizer.update(-slope, state)
            logits = logits + learning_rate * jnp.asarray(updates)
            return (logits, state, jnp.where(better, value, best_value), best_logits), None

        start = (logits, optimizer.init(logits), -jnp.inf * jnp.ones(()), logits)
        (_, _, value, logits), _ = jax.lax.scan(step, start, length=num_steps)
        return value, logits

    values, found = jax.vmap(climb)(logits)
    return _commitment(led, jax.nn.softmax(found[jnp.argmax(values)]), jnp.asarray(_PESSIMISTIC), clock)
