"""The single-agent problem that each side of the game faces, as an environment.

- The *leader* plays the query-augmented episode of Gerstgrasser & Parkes (2023), "Oracles & Followers": it is first
  asked every query, with reward 0; its sampled answers are what the follower responds to; then it plays. The
  queries look like play, are part of its episode and are trained on, so its optimum is a Stackelberg equilibrium.
- The *follower* plays against a leader drawn for each episode and sees the leader's description ω in front of
  every observation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment, Step
from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Game, Outcome, Profile, Seat, SeatState, Strategy
from sbmrl.core.options import Conditions, Response
from sbmrl.core.oracles import Oracle, asking_once
from sbmrl.core.payoffs import Objective, objective
from sbmrl.core.players import with_context

Leaders = Callable[[jax.Array], Profile]  # (key) -> what is given to a follower: a profile without its own strategy


def _begin(key: jax.Array, seat: Seat, wants: Objective, other: Strategy) -> tuple[SeatState, jax.Array]:
    """A fresh episode against `other`, of a kind drawn as the wanted payoffs demand: (state, kind)."""
    kind = wants.draw(jax.random.fold_in(key, 0))
    return seat.reset(jax.random.fold_in(key, 1), other, wants.play(kind)), kind


class View(NamedTuple):
    """What a leader sees, which is the same being asked and playing unless it is told the phase.

    Attributes:
        queries: `[Q', D']` everything that it can see.
        asked: (observation `[..., D]`) -> `[..., D']` while being asked.
        playing: (observation `[..., D]`) -> `[..., D']` while playing.
    """

    queries: jax.Array
    asked: Callable[[jax.Array], jax.Array]
    playing: Callable[[jax.Array], jax.Array]


def leader_view(seat: Seat, phase_told: bool) -> View:
    """Told the phase, an observation stands in the first half while being asked, in the second while playing."""
    if not phase_told:
        return View(seat.queries, lambda observation: observation, lambda observation: observation)

    def asked(observation: jax.Array) -> jax.Array:
        return jnp.concatenate([observation, jnp.zeros_like(observation)], axis=-1)

    def playing(observation: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.zeros_like(observation), observation], axis=-1)

    return View(jnp.concatenate([asked(seat.queries), playing(seat.queries)]), asked, playing)


class QueryState(NamedTuple):
    """Where the leader's query-augmented episode stands.

    Attributes:
        num_asked: `[]` queries asked so far.
        oracle: what the follower knows.
        played: the game behind the queries; of no meaning until all are asked.
        kind: `[]` which kind of episode is played.
        earlier: the follower's response to the episode before, where it does not restart, else nothing.
    """

    num_asked: jax.Array
    oracle: Any
    played: SeatState
    kind: jax.Array
    earlier: Any


class _QueriedEpisode(NamedTuple):
    """The leader's query-augmented episode against a follower; its functions are those of an `Environment`.

    Attributes:
        seat: the leader's.
        wants: what it is paid for.
        view: what it sees.
        conditions: those of "Oracles & Followers", and which of them are given up.
        ask: how the follower finds out about the leader.
        as_played: (the follower's strategy) -> how it is played.
        horizon: T, moves behind the queries.
    """

    seat: Seat
    wants: Objective
    view: View
    conditions: Conditions
    ask: Oracle
    as_played: Callable[[Strategy], Strategy]
    horizon: int

    def environment(self) -> Environment:
        """The episode as the environment that a learner plays."""
        return Environment(self.reset, self.step, None if self.conditions.follower_reset else self.carry_over)

    def reset(self, key: jax.Array) -> tuple[jax.Array, QueryState]:
        earlier = () if self.conditions.follower_reset else self.ask.respond(self.ask.begin(key))
        return self._fresh(key, earlier)

    def carry_over(self, key: jax.Array, state: QueryState) -> tuple[jax.Array, QueryState]:
        return self._fresh(key, self.ask.respond(state.oracle))

    def step(self, key: jax.Array, state: QueryState, answer: jax.Array) -> Step:
        key_ask, key_play = jax.random.split(key)
        asking = state.num_asked < self.ask.num_queries
        moved, earned, terminated, _ = self.seat.step(key_play, state.played, answer)
        new = jax.tree.map(
            lambda asked, played_on: jnp.where(asking, asked, played_on),
            self._hear(key_ask, state, answer),
            state._replace(played=moved),
        )
        query = self.view.asked(self.seat.queries[self.ask.query(new.oracle)])
        playing = self.view.playing(self.seat.observe(new.played))
        observation = jnp.where(new.num_asked < self.ask.num_queries, query, playing)
        paid = jnp.zeros(())
        if self.conditions.paid_queries:
            assert self.seat.pay is not None
            paid = self.seat.pay(jax.random.fold_in(key_ask, 3), self.ask.query(state.oracle), answer)
        reward = jnp.where(asking, paid, self.wants.reward(state.kind, earned))
        ended = ~asking & (terminated | (moved.time >= self.horizon))
        info = {"weight": jnp.where(asking, 0.0, 1.0)} if self.conditions.hidden_queries else {}
        return observation, new, reward, ended, jnp.array(False), info

    def _begin(self, key: jax.Array, follower: Strategy) -> tuple[SeatState, jax.Array]:
        return _begin(key, self.seat, self.wants, self.as_played(follower))

    def _fresh(self, key: jax.Array, earlier: Any) -> tuple[jax.Array, QueryState]:
        known = self.ask.begin(key)
        played = jax.eval_shape(lambda key: self._begin(key, self.ask.respond(known)), key)
        placeholder = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), played)
        state = QueryState(jnp.int32(0), known, placeholder[0], placeholder[1], earlier)
        return self.view.asked(self.seat.queries[self.ask.query(known)]), state

    def _hear(self, key: jax.Array, state: QueryState, answer: jax.Array) -> QueryState:
        known = self.ask.hear(jax.random.fold_in(key, 2), state.oracle, answer)  # 0 and 1 begin the game
        follower = self.ask.respond(known) if self.conditions.follower_reset else state.earlier
        return QueryState(state.num_asked + 1, known, *self._begin(key, follower), state.earlier)


def leader_problem(
    game: Game,
    formulation: Formulation,
    response: Response,
    conditions: Conditions = Conditions(),  # noqa: B008  # immutable
    oracle: Oracle | None = None,
) -> Callable[[Outcome], Environment]:
    """(outcome) -> the leader's query-augmented episode: queries, then at most T moves; ends by termination.

    With a "greedy" response a follower that acts takes its best action, with a "sampled" one it draws from its policy.
    The game ends after T moves by its rules, so the cut at T is a true end: nothing is bootstrapped behind it.

    Args:
        game: the game.
        formulation: who leads and who wants what.
        response: how the follower answers in play.
        conditions: those of "Oracles & Followers", and which of them are given up.
        oracle: how the follower finds out about the leader; without one it asks each query once, and responds to the
            answers as the outcome says.
    """
    seat, wants = game.seats[formulation.leader], objective(game.payoffs, formulation.leader_wants)
    view = leader_view(seat, conditions.phase_told)
    as_played = game.played[formulation.follower] if response == "greedy" else lambda follower: follower

    def build(outcome: Outcome) -> Environment:
        ask = oracle or asking_once(seat, lambda heard: outcome(heard)[formulation.follower])
        return _QueriedEpisode(seat, wants, view, conditions, ask, as_played, game.horizon).environment()

    return build


class FollowerState(NamedTuple):
    """Where the follower's episode stands: the leader's description ω `[C]`, the game, the kind of episode `[]`."""

    description: jax.Array
    played: SeatState
    kind: jax.Array


def follower_problem(
    game: Game, formulation: Formulation, describe: Callable[[Strategy], jax.Array] | None
) -> Callable[[Leaders], Environment]:
    """(leaders) -> the follower's episode against a leader drawn for it, ω = describe(heard) before every observation.

    It is cut (truncated) at T, unless the game ends there by its rules. Its info is the seat's. Without `describe`
    nothing stands before the observations.
    """
    seat, wants = game.seats[formulation.follower], objective(game.payoffs, formulation.follower_wants)
    heard = game.heard[formulation.leader]

    def observe(state: FollowerState) -> jax.Array:
        return with_context(state.description, seat.observe(state.played))

    def build(leaders: Leaders) -> Environment:
        def reset(key: jax.Array):
            key_leader, key_heard, key_begin = jax.random.split(key, 3)
            leader = leaders(key_leader)[formulation.leader]
            description = jnp.zeros(0) if describe is None else describe(heard(key_heard, leader))
            state = FollowerState(description, *_begin(key_begin, seat, wants, leader))
            return observe(state), state

        def step(key: jax.Array, state: FollowerState, answer: jax.Array):
            moved, earned, terminated, info = seat.step(key, state.played, answer)
            new = state._replace(played=moved)
            truncated = (moved.time >= game.horizon) & ~terminated
            return observe(new), new, wants.reward(state.kind, earned), terminated, truncated, info

        return Environment(reset, step)

    return build
