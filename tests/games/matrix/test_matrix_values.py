"""Returns, best responses and optima of matrix games against brute force in plain Python."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_brute_force import (
    MEMORIES,
    SIDES,
    best_with_full_memory,
    by_seat,
    expected,
    random_game,
    random_strategy,
    values,
)

from sbmrl.games.matrix import rules as games
from sbmrl.games.matrix.catalogue import TWELVE_GAMES
from sbmrl.games.matrix.optima import deterministic_optimum, mixed_lower_bound
from sbmrl.games.matrix.values import best_response, game_returns, led_by, regret, returns


@given(
    seed=st.integers(0, 10_000),
    memory=st.sampled_from(MEMORIES),
    clocks=st.tuples(st.booleans(), st.booleans()),
    leader=st.sampled_from(SIDES),
)
def test_returns_are_the_sum_over_the_tree_of_play(seed, memory, clocks, leader):
    game, rng = random_game(seed, memory, shape=(2, 3)), np.random.default_rng(seed)
    row, column = (random_strategy(rng, game, player, clock) for player, clock in enumerate(clocks))
    truth = expected(game, row, column)
    np.testing.assert_allclose(_game_returns(game, row, column), truth, rtol=1e-5, atol=1e-5)
    led = _returns(led_by(game, leader), *by_seat(leader, row, column))
    np.testing.assert_allclose(led, by_seat(leader, *truth), rtol=1e-5, atol=1e-5)


_game_returns = jax.jit(game_returns)
_returns = jax.jit(returns)
_regret = jax.jit(regret)
_response = jax.jit(best_response, static_argnames=("clock", "tie_breaking"))


def test_tit_for_tat_by_hand():
    """Defect once, then do what the other did; against it, always cooperate or always defect."""
    game = games.make_game("prisoners_dilemma")
    leader, cooperate, defect = (jnp.eye(2)[jnp.array(m)] for m in ([1, 0, 0, 1, 1], [0] * 5, [1] * 5))
    np.testing.assert_allclose(game_returns(game, leader, cooperate), [1.5 + 9 * 0.5, -1.5 + 9 * 0.5])
    np.testing.assert_allclose(game_returns(game, leader, defect), [-5.0, -5.0])


@given(seed=st.integers(0, 10_000))
def test_one_play_out_of_deterministic_strategies_earns_the_exact_value(seed):
    game, rng = random_game(seed, "joint", horizon=10), np.random.default_rng(seed)
    row, column = rng.integers(2, size=5), rng.integers(2, size=5)
    state, total = games.first_state(), np.zeros(2)
    for _ in range(10):
        actions = row[int(state.row_observation)], column[int(state.column_observation)]
        state, *rewards, _ = games.step(game, state, *map(jnp.int32, actions))
        total += np.array(rewards)
    np.testing.assert_allclose(_game_returns(game, np.eye(2)[row], np.eye(2)[column]), total, rtol=1e-6)


@pytest.mark.parametrize("leader", SIDES)
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("clock", [False, True])
def test_best_responses_against_every_follower(memory, clock, leader):
    """Deterministic leaders of games with few payoffs make ties, mixed ones test a follower who sees less than x."""
    horizon, lead, untied = (2 if memory == "joint" else 3), SIDES.index(leader), 0
    for seed, mixed in itertools.product(range(3), (False, True)):
        game = random_game(seed, memory, horizon=horizon, levels=8 if mixed else 2)
        if seed == 2:  # the follower does not care
            game = game.replace(payoffs=game.payoffs.at[1 - lead].set(1.0))
        led, x = led_by(game, leader), random_strategy(np.random.default_rng(seed + 4), game, lead)
        x = x if mixed else jnp.eye(2)[x.argmax(-1)]
        shape = (*([horizon] if clock else []), game.num_observations[1 - lead])
        followers = np.eye(2)[list(itertools.product(range(2), repeat=int(np.prod(shape))))].reshape(-1, *shape, 2)
        every = np.array([values(game, leader, x, y) for y in followers])
        tied = every[:, 1] >= every[:, 1].max() - 1e-5  # the rows of x sum to 1 in float32 only
        best = every[tied]
        untied += best[:, 0].max() > best[:, 0].min() + 0.4
        for tie_breaking, wanted in (("optimistic", best[:, 0].max()), ("pessimistic", best[:, 0].min())):
            response = _response(led, x, clock=clock, tie_breaking=tie_breaking)
            assert response.follower_value == pytest.approx(best[0, 1], rel=1e-5, abs=1e-5)
            assert response.leader_value == pytest.approx(wanted, rel=1e-5, abs=1e-5)
            earned = values(game, leader, x, np.asarray(response.strategy))
            np.testing.assert_allclose(earned, [response.leader_value, response.follower_value], rtol=1e-5, atol=1e-5)
        if not clock:
            lowest = _response(led, x, clock=False, tie_breaking="lowest").strategy
            np.testing.assert_array_equal(lowest, followers[tied][0])
    assert untied > 0  # somewhere it matters who breaks the ties


@pytest.mark.parametrize("memory", MEMORIES)
def test_where_play_never_comes_the_response_is_a_best_one_too(memory):
    """Of all maps that earn both the same, none does better on average over all joint states to begin in."""
    for seed in range(4):
        game = random_game(seed, memory, horizon=3, levels=3)
        x = jnp.eye(2)[random_strategy(np.random.default_rng(seed), game, 0).argmax(-1)]
        response = _response(led_by(game), x, clock=False, tie_breaking="optimistic")
        maps = np.eye(2)[list(itertools.product(range(2), repeat=game.num_observations[1]))]
        begins = [None, *itertools.product(range(2), repeat=2)]

        def elsewhere(y, game=game, x=x, begins=begins):
            return np.mean([expected(game, x, y, last)[1] for last in begins])

        reached = [response.leader_value, response.follower_value]
        same = [y for y in maps if np.allclose(values(game, "row", x, y), reached, atol=1e-4)]
        assert elsewhere(np.asarray(response.strategy)) == pytest.approx(max(map(elsewhere, same)), abs=1e-4)


@pytest.mark.parametrize(("memory", "seed"), list(itertools.product(MEMORIES, range(5))))
def test_no_memory_beats_a_follower_with_a_clock(memory, seed):
    game = random_game(seed, memory, horizon=4)
    x = random_strategy(np.random.default_rng(seed + 6), game, 0)
    led = led_by(game)
    response = _response(led, x, clock=True)
    assert response.follower_value == pytest.approx(best_with_full_memory(game, x), rel=1e-5)
    assert _regret(led, x, response.strategy) == pytest.approx(0.0, abs=1e-5)
    assert _returns(led, x, response.strategy)[0] == pytest.approx(float(response.leader_value), rel=1e-5)


@given(seed=st.integers(0, 10_000), clocks=st.tuples(st.booleans(), st.booleans()))
def test_regret_is_never_negative_and_what_is_missing(seed, clocks):
    game, rng = random_game(seed, "joint"), np.random.default_rng(seed)
    x, y = (random_strategy(rng, game, player, clock) for player, clock in enumerate(clocks))
    missing = _regret(led_by(game), x, y)
    assert missing >= -1e-5
    best = _response(led_by(game), x, clock=True).follower_value
    assert missing == pytest.approx(float(best) - expected(game, x, y)[1], rel=1e-4, abs=1e-4)


def test_the_anchor():
    """Grab once, then tit for tat: 6.0 against a follower without a clock; with one it defects in the last step."""
    led = led_by(games.make_game("prisoners_dilemma"))
    found = {clock: deterministic_optimum(led, clock=clock) for clock in (False, True)}
    assert found[False].best.leader_value == 6.0
    assert found[True].best.leader_value == 4.0
    for optimum in found.values():
        np.testing.assert_array_equal(optimum.best.leader.argmax(-1), [1, 0, 0, 1, 1])
        assert optimum.leader_values.shape == (32,)


@pytest.mark.parametrize(("clock", "least", "most"), [(False, 9.5, 10.0), (True, 8.0, 8.5)])
def test_mixed_commitment_in_the_prisoners_dilemma(clock, least, most):
    """`most` leaves the follower just what it gets by always defecting, -0.5 a step (docs/results/matrix_games.md)."""
    led = led_by(games.make_game("prisoners_dilemma"))
    found = mixed_lower_bound(led, jax.random.key(0), clock=clock, num_starts=32, num_steps=200)
    assert least < found.leader_value <= most
    assert found.follower_value >= -5.0 - 1e-4


def test_the_dominant_action_is_a_bad_commitment_in_the_hidden_query_game():
    led = led_by(games.make_game("hidden_query"))
    dominant = jnp.eye(2)[jnp.zeros(3, int)]
    for clock, best in ((False, 7.5), (True, 5.5)):
        assert best_response(led, dominant, clock=clock).leader_value == -2.5
        assert deterministic_optimum(led, clock=clock).best.leader_value == best


@pytest.mark.parametrize(("memory", "leader"), list(itertools.product(("joint", "opponent"), SIDES)))
def test_the_optimum_against_every_pair(memory, leader):
    game = random_game(7, memory, horizon=2, levels=2)
    lead = SIDES.index(leader)
    maps = [np.eye(2)[list(itertools.product(range(2), repeat=game.num_observations[p]))] for p in (lead, 1 - lead)]
    table = np.array([[values(game, leader, x, y) for y in maps[1]] for x in maps[0]])
    tied = table[..., 1] == table[..., 1].max(1, keepdims=True)
    favourite = np.where(tied, table[..., 0], -np.inf).max(1)
    worst = np.where(tied, table[..., 0], np.inf).min(1)
    for tie_breaking, truth in (("optimistic", favourite), ("pessimistic", worst)):
        optimum = deterministic_optimum(led_by(game, leader), clock=False, tie_breaking=tie_breaking)
        np.testing.assert_allclose(optimum.leader_values, truth, atol=1e-5)
        np.testing.assert_allclose(optimum.follower_values, table[..., 1].max(1), atol=1e-5)
        assert optimum.best.leader_value == pytest.approx(truth.max())
        np.testing.assert_array_equal(optimum.best.leader, maps[0][truth.argmax()])


@pytest.mark.parametrize("clock", [False, True])
def test_every_named_game_is_solved_by_one_program(clock):
    traces = []

    @jax.jit
    def solve(led):
        traces.append(led)
        ties = ("optimistic", "pessimistic")
        return jnp.stack([deterministic_optimum(led, clock=clock, tie_breaking=t).best.leader_value for t in ties])

    for name in TWELVE_GAMES:
        row, column = (solve(led_by(games.make_game(name), leader)) for leader in SIDES)
        np.testing.assert_array_equal(row, column)  # a symmetric game
        assert row[0] >= row[1]
    assert len(traces) == 1


@pytest.mark.parametrize("tie_breaking", ["optimistic", "pessimistic"])
def test_mixing_never_costs_the_leader(tie_breaking):
    for seed, clock in itertools.product((8, 9), (False, True)):
        led = led_by(random_game(seed, "opponent"))
        pure = deterministic_optimum(led, clock=clock, tie_breaking=tie_breaking).best
        effort = {"num_starts": 8, "num_steps": 50}
        mixed = mixed_lower_bound(led, jax.random.key(seed), clock=clock, tie_breaking=tie_breaking, **effort)
        assert mixed.leader_value >= pure.leader_value
        earned = returns(led, mixed.leader, mixed.follower)  # it really gets what it is credited with
        np.testing.assert_allclose(earned, [mixed.leader_value, mixed.follower_value], rtol=1e-4, atol=1e-4)
        assert regret(led, mixed.leader, mixed.follower, clock=clock) == pytest.approx(0.0, abs=1e-4)


def test_values_are_differentiable_and_can_be_vmapped():
    game, rng = random_game(10, "joint"), np.random.default_rng(11)
    led = led_by(game)
    x, y = (jnp.asarray(random_strategy(rng, game, player), jnp.float32) for player in (0, 1))
    slope = jax.grad(lambda x: returns(led, x, y)[0])(x)
    for index in ((0, 1), (3, 0)):
        shift = np.zeros(x.shape)
        shift[index] = 1e-3
        difference = (expected(game, x + shift, np.asarray(y)) - expected(game, x - shift, np.asarray(y)))[0] / 2e-3
        assert slope[index] == pytest.approx(difference, rel=2e-2, abs=2e-2)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), led, led_by(random_game(12, "joint")))
    both = jax.vmap(returns, (0, None, None))(stacked, x, y)
    np.testing.assert_allclose(both[1], expected(random_game(12, "joint"), np.asarray(x), np.asarray(y)), rtol=1e-5)
