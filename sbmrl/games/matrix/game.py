"""The iterated matrix game: two seats, their strategies, queries and random players.

A player's strategy is a table observation -> distribution over its actions, `[O, A]` (with a clock `[T, O, A]`); its
queries are its observations, asked as one-hot vectors. An episode ends after T steps by the rules, so nothing is
bootstrapped behind it.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import (
    Game,
    Info,
    Payoff,
    Profile,
    Seat,
    Strategy,
    at_time,
    greedy,
    random_rows,
    sample_row,
    softmax_starts,
)
from sbmrl.games.matrix.measures import make_measures, optimum
from sbmrl.games.matrix.options import ReplyOptions
from sbmrl.games.matrix.rules import MatrixGame, MatrixState, first_state, step
from sbmrl.games.matrix.values import best_response, game_returns, led_by


class MatrixPlay(NamedTuple):
    """The only kind of episode."""


class MatrixSeatState(NamedTuple):
    """Where a played episode stands: what both have seen and when, and the other side's strategy in it."""

    game: MatrixState
    other: Strategy

    @property
    def time(self) -> jax.Array:
        """`[]` steps made so far."""
        return self.game.time


ROLES: tuple[Role, Role] = ("row", "column")


def _observation(state: MatrixState, role: Role) -> jax.Array:
    return state.row_observation if role == "row" else state.column_observation


def _seat(world: MatrixGame, role: Role) -> Seat:
    own = ROLES.index(role)
    other = ROLES[1 - own]
    num_actions, num_observations = world.num_actions[own], world.num_observations[own]
    one_hot = np.eye(num_observations, dtype=np.float32)

    def reset(key: jax.Array, strategy: Strategy, play: MatrixPlay) -> MatrixSeatState:
        return MatrixSeatState(first_state(), strategy)

    def take(key: jax.Array, now: MatrixSeatState, answer: jax.Array):
        theirs = sample_row(key, at_time(now.other, now.time)[_observation(now.game, other)])
        row_action, column_action = (answer, theirs) if role == "row" else (theirs, answer)
        game, row_reward, column_reward, ended = step(world, now.game, row_action, column_action)
        info: Info = {}
        return now._replace(game=game), {"row": row_reward, "column": column_reward}, ended, info

    def pay(key: jax.Array, query: jax.Array, answer: jax.Array) -> jax.Array:
        """Against an action drawn uniformly."""
        theirs = jax.random.randint(key, (), 0, world.num_actions[1 - own])
        rewards = world.rewards[own]
        return rewards[answer, theirs] if role == "row" else rewards[theirs, answer]

    return Seat(
        jnp.asarray(one_hot),
        lambda now: jnp.asarray(one_hot)[_observation(now.game, role)],
        reset,
        take,
        table=jax.nn.softmax,
        rows=lambda strategy: strategy,
        heard=lambda answers: jax.nn.one_hot(answers, num_actions),
        num_outputs=num_actions,
        head="categorical",
        pay=pay,
    )


def random_strategy(key: jax.Array, num_observations: int, num_actions: int, mixed: bool) -> Strategy:
    """`[O, A]`: deterministic, each map equally likely; or each row so with probability ½, else from Dirichlet(1).

    Deterministic leaders are all that answers can tell of one. Mixed ones include the sure rows, because that is where
    most of the optima lie.
    """
    key_actions, key_rows, key_which = jax.random.split(key, 3)
    actions = jax.random.randint(key_actions, (num_observations,), 0, num_actions)
    sure = jax.nn.one_hot(actions, num_actions)
    if not mixed:
        return sure
    rows = random_rows(key_rows, (num_observations, num_actions))
    return jnp.where(jax.random.bernoulli(key_which, 0.5, (num_observations, 1)), sure, rows)


def matrix_game(world: MatrixGame, formulation: Formulation, mixed_leaders: bool = False) -> Game:
    """The game on `world`.

    The leader is heard through one sampled action per observation, random leaders are deterministic, and what it is
    evaluated by is its best action; with `mixed_leaders` it is heard and evaluated as the mixture that it is.
    """
    shapes = dict(zip(ROLES, zip(world.num_observations, world.num_actions, strict=True), strict=True))
    leader, led = formulation.leader, led_by(world, formulation.leader)

    def prior(role: Role):
        return lambda key: random_strategy(key, *shapes[role], mixed_leaders)

    def heard(role: Role):
        def hear(key: jax.Array, strategy: Strategy) -> Strategy:
            if mixed_leaders:
                return strategy
            actions = jax.vmap(sample_row)(jax.random.split(key, len(strategy)), strategy)
            return jax.nn.one_hot(actions, strategy.shape[-1])

        return hear

    def respond(formulation: Formulation, options: ReplyOptions):
        def response(key: jax.Array, given: Profile) -> Strategy:
            found = best_response(led, given[leader], clock=options.clock, tie_breaking=options.tie_breaking)
            return jax.lax.stop_gradient(found.strategy)

        return response

    def value(index: int):
        return lambda profile: game_returns(world, profile["row"], profile["column"])[index]

    priors = {role: prior(role) for role in ROLES}
    hears = {role: heard(role) for role in ROLES}
    seats = {role: _seat(world, role) for role in ROLES}
    truth = {leader: lambda: optimum(led).leader, formulation.follower: lambda: optimum(led).follower}
    mixture = {leader} if mixed_leaders else set()
    played = {role: (lambda strategy: strategy) if role in mixture else greedy for role in ROLES}
    return Game(
        world,
        world.horizon,
        seats=seats,
        payoffs={f"{role}_return": Payoff(value(i), MatrixPlay(), role) for i, role in enumerate(ROLES)},
        priors=priors,
        heard=hears,
        describe=dict.fromkeys(ROLES, jnp.ravel),
        played=played,
        starts={role: softmax_starts(seats[role], priors[role], truth[role]) for role in ROLES},
        measures=lambda formulation: make_measures(world, formulation, priors[leader], hears[leader], played),
        best_response=respond,
    )
