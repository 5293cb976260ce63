"""What is measured of an iterated matrix game: both players' exact returns, and how far each is from its optimum.

The leader is held against the deterministic optimum with a follower without a clock, ties in its favour, by brute force
(`sbmrl.games.matrix.optima`); the follower against its exact best response with and without a clock.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Measures, Metrics, Profile, Strategy, at_time, sample_row
from sbmrl.core.measures import ExactGame, exact_measures
from sbmrl.games.matrix.optima import Commitment, deterministic_optimum
from sbmrl.games.matrix.rules import MatrixGame, first_state, step
from sbmrl.games.matrix.values import LedGame, best_response, game_returns, led_by, regret


def optimum(led: LedGame) -> Commitment:
    """The best deterministic commitment against a follower without a clock; at once, where the game is known."""
    with jax.ensure_compile_time_eval():
        return deterministic_optimum(led, clock=False).best


def make_measures(
    world: MatrixGame,
    formulation: Formulation,
    prior: Callable[[jax.Array], Strategy],
    heard: Callable[[jax.Array, Strategy], Strategy],
    played: Mapping[Role, Callable[[Strategy], Strategy]],
) -> Measures:
    """All of it for one formulation; `prior` and `heard` are the leader's, `played` is both players'."""
    leader, follower = formulation.leader, formulation.follower
    led = led_by(world, leader)

    def value(profile: Profile, role: Role) -> jax.Array:
        row, column = game_returns(world, profile["row"], profile["column"])
        return row if role == "row" else column

    def uniform() -> jax.Array:
        rows = [jnp.full((o, a), 1 / a) for o, a in zip(world.num_observations, world.num_actions, strict=True)]
        return value({"row": rows[0], "column": rows[1]}, leader)

    def best() -> tuple[Strategy, jax.Array]:
        found = optimum(led)
        return found.leader, found.leader_value

    def more(evaluated: Profile) -> Metrics:
        return {
            "best_response_return": best_response(led, evaluated[leader], clock=False).leader_value,
            "follower_gap_clock": regret(led, evaluated[leader], evaluated[follower], clock=True),
        }

    def sampled(key: jax.Array, evaluated: Profile, num_episodes: int) -> jax.Array:
        """`[N]`: the leader's undiscounted returns in N episodes."""

        def one_step(carry, key: jax.Array):
            state, total = carry
            key_row, key_column = jax.random.split(key)
            row = sample_row(key_row, at_time(evaluated["row"], state.time)[state.row_observation])
            column = sample_row(key_column, at_time(evaluated["column"], state.time)[state.column_observation])
            state, row_reward, column_reward, _ = step(world, state, row, column)
            return (state, total + (row_reward if leader == "row" else column_reward)), None

        def episode(key: jax.Array) -> jax.Array:
            keys = jax.random.split(key, world.horizon)
            return jax.lax.scan(one_step, (first_state(), jnp.zeros(())), keys)[0][1]

        return jax.vmap(episode)(jax.random.split(key, num_episodes))

    gap = lambda profile: regret(led, profile[leader], profile[follower], clock=False)  # noqa: E731
    return exact_measures(
        ExactGame(value, gap, played, prior, heard, best, uniform, sampled, more),
        formulation,
    )
