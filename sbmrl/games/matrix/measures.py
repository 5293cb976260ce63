"""What is measured of an iterated matrix game: both players' exact returns, and how far each is from its optimum.

The leader is held against the deterministic optimum with a follower without a clock, ties in its favour, by brute force
(`sbmrl.games.matrix.optima`); the follower against its exact best response with and without a clock.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import Measures, Metrics, Outcome, Profile, Strategy, at_time, sample_row
from sbmrl.core.measures import mean_regret, verdict
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

    def both(leader_strategy: Strategy, follower_strategy: Strategy) -> tuple[jax.Array, jax.Array]:
        """The leader's and the follower's return."""
        strategies = {leader: leader_strategy, follower: follower_strategy}
        row, column = game_returns(world, strategies["row"], strategies["column"])
        return (row, column) if leader == "row" else (column, row)

    def gap(profile: Profile) -> jax.Array:
        return regret(led, profile[leader], played[follower](profile[follower]), clock=False)

    def measure(strategy: Strategy, outcome: Outcome) -> tuple[Metrics, Profile]:
        profile = outcome(played[leader](strategy))
        evaluated = {role: played[role](profile[role]) for role in (leader, follower)}
        own, theirs = both(evaluated[leader], evaluated[follower])
        best = best_response(led, evaluated[leader], clock=False)
        return {
            "exact_return": own,
            "exact_return_stochastic": both(strategy, played[follower](outcome(strategy)[follower]))[0],
            "best_response_return": best.leader_value,
            "follower_return": theirs,
            "follower_gap": gap(evaluated),
            "follower_gap_clock": regret(led, evaluated[leader], evaluated[follower], clock=True),
        }, evaluated

    def at_leaders(key: jax.Array, outcome: Outcome, num_leaders: int) -> Metrics:
        return {
            "follower_gap_true": gap(outcome(optimum(led).leader)),
            "follower_gap_random": mean_regret(key, leader, prior, heard, outcome, gap, num_leaders),
        }

    def at_the_end(evaluated: Profile, metrics: Metrics, outcome: Outcome) -> Metrics:
        uniform = [jnp.full((o, a), 1 / a) for o, a in zip(led.num_observations, led.num_actions, strict=True)]
        return verdict(metrics["exact_return"], optimum(led).leader_value, both(uniform[0], uniform[1])[0])

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

    return Measures(measure, at_leaders, at_the_end, sampled)
