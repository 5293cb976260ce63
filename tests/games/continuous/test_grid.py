"""Dynamic programming on grids: against brute force, closed forms, and what its policies really earn."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.errors import InputError
from sbmrl.games.continuous import grid
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.grid import GridSolution, achieved, grid_optimum, promised
from sbmrl.games.continuous.simulator import Chart, Discrete, Rules, Simulator, never

CORRIDOR = (49,)  # 1/16 apart: the start, the wall and both ends lie on points


@pytest.mark.parametrize("name", ["corridor", "corridor_3"])
def test_the_corridors_optimum_is_known(name):
    simulator = make_simulator(name)
    solution = grid_optimum(simulator, CORRIDOR, 9)
    assert solution.first.shape == CORRIDOR
    assert solution.ahead.shape == (50, *CORRIDOR)
    np.testing.assert_array_equal(solution.ahead[-1], 0)
    np.testing.assert_array_equal(promised(jax.random.key(0), simulator, solution, 5), 44)
    np.testing.assert_array_equal(achieved(jax.random.key(0), simulator, solution, 5), 44)


def test_a_false_wall_makes_leaving_the_best_response():
    """x' = min(x + u/4, 0) for x ≤ 0: its best response earns 1 in model and world, 43 less than the optimum."""
    simulator = make_simulator("corridor")

    def walled(observation, action):
        free = observation + action / 4
        return jnp.where(observation <= 0, jnp.minimum(free, 0), free)

    solution = grid_optimum(simulator, CORRIDOR, 9, walled)
    np.testing.assert_array_equal(promised(jax.random.key(0), simulator, solution, 2), 1)
    np.testing.assert_array_equal(achieved(jax.random.key(0), simulator, solution, 2, walled), 1)


SHAPE = (5, 3, 4)  # the middle coordinate has edges, the others wrap
MOVES = np.array([[1, 0, 0], [0, 1, 0], [0, -1, 1], [-2, 0, -1]])
HOLE = (3, 2, 1)


def _walk(wraps, table):
    """A walk on whole numbers, paid by where it comes from and what it does; stepping into the hole ends it."""
    top = tuple(float(size if wrap else size - 1) for size, wrap in zip(SHAPE, wraps, strict=True))

    def step(key, physics, seen, action):
        moved = seen + jnp.asarray(MOVES, jnp.float32)[action]
        return jnp.where(np.array(wraps), moved % np.array(SHAPE), jnp.clip(moved, 0, np.array(SHAPE) - 1.0))

    def reward(physics, seen, action, following):
        place = seen.astype(int)
        return jnp.asarray(table)[place[0], place[1], place[2], action]

    def terminated(physics, following):
        return jnp.all(following == np.array(HOLE))

    def same(vector):
        return vector

    chart = Chart((0.0,) * 3, top, wraps, same, same)
    rules = Rules(lambda key, physics: jnp.zeros(3), step, reward, terminated, same, 3, Discrete(4), chart=chart)
    return Simulator({}, "walk", 7, rules)


@pytest.mark.parametrize("wraps", [(True, False, True), (False, True, False)])
@pytest.mark.parametrize("table_bytes", [2**30, 0])
def test_on_whole_numbers_it_is_plain_dynamic_programming(wraps, table_bytes, monkeypatch):
    """Whether next states are kept or computed anew."""
    monkeypatch.setattr(grid, "_TABLE_BYTES", table_bytes)
    table = np.random.default_rng(0).normal(size=(*SHAPE, 4)).astype(np.float32)
    values = np.zeros(SHAPE)
    for _ in range(7):
        before = np.full(SHAPE, -np.inf)
        for place in itertools.product(*map(range, SHAPE)):
            for action, move in enumerate(MOVES):
                moved = np.array(place) + move
                next_place = tuple(np.where(wraps, moved % SHAPE, np.clip(moved, 0, np.array(SHAPE) - 1)))
                follows = 0.0 if next_place == HOLE else values[next_place]
                before[place] = max(before[place], table[(*place, action)] + follows)
        values = before
    simulator = _walk(wraps, table)
    solution = grid_optimum(simulator, SHAPE)
    np.testing.assert_allclose(solution.first, values, atol=1e-5)
    found = achieved(jax.random.key(0), simulator, solution, 1)
    np.testing.assert_allclose(found, values[0, 0, 0], atol=1e-5)


def test_between_points_values_are_multilinear_and_beyond_the_edges_constant():
    low, high, shape = np.array([-1.0, 2.0]), np.array([1.0, 5.0]), (4, 7)

    def value(state):
        return 3 * state[..., 0] - 2 * state[..., 1] + state[..., 0] * state[..., 1]

    axes = [np.linspace(*side) for side in zip(low, high, shape, strict=True)]
    values = jnp.asarray(value(np.stack(np.meshgrid(*axes, indexing="ij"), -1)), jnp.float32)

    def start(key, physics):
        return jax.random.uniform(key, (2,), minval=jnp.array([-2.0, 1.0]), maxval=jnp.array([2.0, 6.0]))

    def same(vector):
        return vector

    chart = Chart(tuple(low), tuple(high), (False, False), same, same)
    rules = Rules(start, lambda *told: told[2], lambda *told: jnp.zeros(()), never, same, 2, Discrete(1), chart=chart)
    simulator = Simulator({}, "plane", 1, rules)
    solution = GridSolution(values, values[None], jnp.arange(1))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(5), 0), 300)
    states = np.clip(jax.vmap(start, (0, None))(keys, {}), low, high)
    np.testing.assert_allclose(promised(jax.random.key(5), simulator, solution, 300), value(states), atol=1e-4)


def test_on_a_coarse_grid_the_pendulum_is_nearly_swung_up_at_best():
    """A fine grid (401 × 321 × 41) promises and achieves about −138 in the mean over the starts."""
    simulator = make_simulator("gymnax:Pendulum-v1")
    solution = grid_optimum(simulator, (80, 65), 9)
    slow = np.abs(np.linspace(-8, 8, 65)) <= 1
    assert abs(np.asarray(solution.first)[:, slow].mean() + 138) < 6
    key = jax.random.key(0)
    gap = promised(key, simulator, solution, 200) - achieved(key, simulator, solution, 200)
    assert abs(gap.mean()) < 6


def test_true_dynamics_told_as_a_model_are_the_true_dynamics():
    simulator = make_simulator("gymnax:Pendulum-v1").replace(horizon=20)
    solve = partial(grid_optimum, simulator, (20, 17), 3)
    truth = partial(simulator.rules.step, jax.random.key(0), simulator.physics)
    np.testing.assert_allclose(solve().first, solve(truth).first, atol=1e-4)


def test_the_car_gets_out_of_the_valley_and_is_paid_once():
    simulator = make_simulator("gymnax:MountainCarContinuous-v0").replace(horizon=200)
    solution = grid_optimum(simulator, (61, 41), 5)
    key = jax.random.key(0)
    for found in promised(key, simulator, solution, 20), achieved(key, simulator, solution, 20):
        assert 97 < found.min() <= found.max() < 100


def test_a_grid_that_cannot_be_is_refused():
    pendulum, corridor = make_simulator("gymnax:Pendulum-v1"), make_simulator("corridor")
    with pytest.raises(InputError, match="env: must be a world of at most three coordinates"):
        grid_optimum(make_simulator("gymnax:Acrobot-v1"), (3, 3))
    with pytest.raises(InputError, match="resolution: must be 2 whole numbers, 2 or more each"):
        grid_optimum(pendulum, (8,), 3)
    with pytest.raises(InputError, match="resolution"):
        grid_optimum(corridor, (1,), 3)
    with pytest.raises(InputError, match="num_actions: must be 2 or more"):
        grid_optimum(corridor, (9,))
    with pytest.raises(InputError, match="num_actions: must be None where actions are discrete"):
        grid_optimum(_walk((True, True, True), np.zeros((*SHAPE, 4))), SHAPE, 3)
