"""How a follower finds out about its leader: it asks, hears the leader's answers, and responds.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers": an oracle that sees the leader only through its answers is
put in front of the leader's episode, which makes the game a single-agent problem of the leader.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import Seat, Strategy

OracleState = Any


class Oracle(NamedTuple):
    """A follower's way to its response.

    Attributes:
        num_queries: how often it asks, repetitions counted.
        begin: (key) -> state.
        query: (state) -> `[]` which of the leader's queries it asks next.
        hear: (key, state, answer) -> state.
        respond: (state) -> the follower's strategy.
    """

    num_queries: int
    begin: Callable[[jax.Array], OracleState]
    query: Callable[[OracleState], jax.Array]
    hear: Callable[[jax.Array, OracleState, jax.Array], OracleState]
    respond: Callable[[OracleState], Strategy]


class Answers(NamedTuple):
    """What a leader has answered: how often `[]`, and the answers `[Q, ...]` to its queries, 0 where not yet given."""

    num_answered: jax.Array
    answers: jax.Array


def asking_once(seat: Seat, respond: Callable[[Strategy], Strategy]) -> Oracle:
    """Every query once, in order; the follower responds to the strategy that the answers tell.

    Args:
        seat: the leader's.
        respond: (the leader's strategy as heard) -> the follower's.
    """
    num_queries = seat.queries.shape[0]
    shape = (num_queries,) if seat.head == "categorical" else (num_queries, seat.num_outputs)
    kind = jnp.int32 if seat.head == "categorical" else seat.queries.dtype

    def hear(key: jax.Array, state: Answers, answer: jax.Array) -> Answers:
        return Answers(state.num_answered + 1, state.answers.at[state.num_answered].set(answer))

    return Oracle(
        num_queries,
        begin=lambda key: Answers(jnp.int32(0), jnp.zeros(shape, kind)),
        query=lambda state: jnp.minimum(state.num_answered, num_queries - 1),
        hear=hear,
        respond=lambda state: respond(seat.heard(state.answers)),
    )


def interview(key: jax.Array, oracle: Oracle, answer: Callable[[jax.Array, jax.Array], jax.Array]) -> Strategy:
    """The follower's strategy after it has asked a leader that answers `answer(key, query)`."""
    key_begin, key_ask = jax.random.split(key)

    def ask(state: OracleState, key: jax.Array) -> tuple[OracleState, None]:
        key_answer, key_hear = jax.random.split(key)
        return oracle.hear(key_hear, state, answer(key_answer, oracle.query(state))), None

    state, _ = jax.lax.scan(ask, oracle.begin(key_begin), jax.random.split(key_ask, oracle.num_queries))
    return oracle.respond(state)
