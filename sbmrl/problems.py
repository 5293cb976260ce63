"""The single-agent problem that each side of the game faces, as an environment.

- The *leader* plays the query-augmented episode of Gerstgrasser & Parkes (2023), "Oracles & Followers": it is first
  asked every query, with reward 0; its sampled answers are what the follower responds to; then it plays. The
  queries look like play, are part of its episode and are trained on, so its optimum is a Stackelberg equilibrium.
- The *follower* plays against a leader drawn for each episode and sees the leader's description ω in front of
  every observation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.config import Response
from sbmrl.environments.base import Environment
from sbmrl.formulations import Formulation
from sbmrl.game import Game, Outcome, Seat, SeatState, Strategy, played
from sbmrl.payoffs import Objective, Profile, objective
from sbmrl.players import with_context

Leaders = Callable[[jax.Array], Profile]  # (key) -> what is given to a follower: a profile without its own strategy


def _begin(key: jax.Array, seat: Seat, wants: Objective, other: Strategy) -> tuple[SeatState, jax.Array]:
    """A fresh episode against `other`, of a kind drawn as the wanted payoffs demand: (state, kind)."""
    kind = wants.draw(jax.random.fold_in(key, 0))
    return seat.reset(jax.random.fold_in(key, 1), other, wants.play(kind)), kind


class QueryState(NamedTuple):
    """Where the leader's query-augmented episode stands.

    Attributes:
        num_answered: `[]` queries answered so far; Q during play.
        answers: `[Q, ...]` the answers, 0 where not yet given.
        played: the game behind the queries; a placeholder until all are answered.
        kind: `[]` which kind of episode is played.
    """

    num_answered: jax.Array
    answers: jax.Array
    played: SeatState
    kind: jax.Array


def leader_problem(game: Game, formulation: Formulation, response: Response) -> Callable[[Outcome], Environment]:
    """(outcome) -> the leader's query-augmented episode: Q queries, then at most T moves; ends by termination.

    With a "greedy" response a policy follower takes its best action, with a "sampled" one it draws from its policy.
    The game ends after T moves by its rules, so the cut at T is a true end: nothing is bootstrapped behind it.
    """
    seat, wants = game.seats[formulation.leader], objective(formulation.leader_wants)
    num_queries = seat.queries.shape[0]
    answer_shape = () if seat.head == "categorical" else (seat.num_outputs,)
    answer_type = jnp.int32 if seat.head == "categorical" else seat.queries.dtype

    def build(outcome: Outcome) -> Environment:
        def begin(key: jax.Array, answers: jax.Array) -> tuple[SeatState, jax.Array]:
            follower = outcome(seat.heard(answers))[formulation.follower]
            return _begin(
                key, seat, wants, played(formulation.follower, follower) if response == "greedy" else follower
            )

        def reset(key: jax.Array):
            answers = jnp.zeros((num_queries, *answer_shape), answer_type)
            placeholder = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(begin, key, answers))
            state = QueryState(jnp.int32(0), answers, *placeholder)
            return seat.queries[0], state

        def ask(key: jax.Array, state: QueryState, answer: jax.Array) -> QueryState:
            answers = state.answers.at[state.num_answered].set(answer)
            return QueryState(state.num_answered + 1, answers, *begin(key, answers))

        def step(key: jax.Array, state: QueryState, answer: jax.Array):
            key_ask, key_play = jax.random.split(key)
            asking = state.num_answered < num_queries
            moved, earned, terminated, _ = seat.step(key_play, state.played, answer)
            new = jax.tree.map(
                lambda asked, played_on: jnp.where(asking, asked, played_on),
                ask(key_ask, state, answer),
                state._replace(played=moved),
            )
            query = seat.queries[jnp.minimum(new.num_answered, num_queries - 1)]
            observation = jnp.where(new.num_answered < num_queries, query, seat.observe(new.played))
            reward = jnp.where(asking, 0.0, wants.reward(state.kind, earned))
            ended = ~asking & (terminated | (moved.time >= game.mdp.horizon))
            return observation, new, reward, ended, jnp.array(False), {}

        return Environment(reset, step)

    return build


class FollowerState(NamedTuple):
    """Where the follower's episode stands: the leader's description ω `[C]`, the game, the kind of episode `[]`."""

    description: jax.Array
    played: SeatState
    kind: jax.Array


def follower_problem(
    game: Game, formulation: Formulation, describe: Callable[[Strategy], jax.Array]
) -> Callable[[Leaders], Environment]:
    """(leaders) -> the follower's episode against a leader drawn for it, ω = describe(heard) before every observation.

    It is cut (truncated) at T. `info["next_state"]` is the state that followed, the target of a world model.
    """
    seat, wants = game.seats[formulation.follower], objective(formulation.follower_wants)
    heard = game.heard[formulation.leader]

    def observe(state: FollowerState) -> jax.Array:
        return with_context(state.description, seat.observe(state.played))

    def build(leaders: Leaders) -> Environment:
        def reset(key: jax.Array):
            key_leader, key_heard, key_begin = jax.random.split(key, 3)
            leader = leaders(key_leader)[formulation.leader]
            description = describe(heard(key_heard, leader))
            state = FollowerState(description, *_begin(key_begin, seat, wants, leader))
            return observe(state), state

        def step(key: jax.Array, state: FollowerState, answer: jax.Array):
            moved, earned, terminated, next_state = seat.step(key, state.played, answer)
            new = state._replace(played=moved)
            truncated = (moved.time >= game.mdp.horizon) & ~terminated
            info = {"next_state": next_state}
            return observe(new), new, wants.reward(state.kind, earned), terminated, truncated, info

        return Environment(reset, step)

    return build
