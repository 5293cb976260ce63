"""What a run has learned, as numbers to look at: a model's error over the states, and episodes in it and in the world.

The error of a step is judged on the chart's coordinates, so noise that is seen counts for nothing. Its unit is what a
step moves, the root mean square over the same states and actions:

    e(s)² = mean over coordinates k, actions a and members of  (ŝ'_k − s'_k)² / mean over s, a of (s'_k − s_k)²

A model that says that nothing moves has an error of about 1, in every world.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.game import Acting
from sbmrl.games.continuous.episodes import Played, imagined_environment, meant, real_environment
from sbmrl.games.continuous.measures import evaluate
from sbmrl.games.continuous.options import Propagation
from sbmrl.games.continuous.replay import decode_action
from sbmrl.games.continuous.simulator import Chart, Simulator

_MOST_NUMBERS = 3  # of an observation, where there is no chart


class Trajectories(NamedTuple):
    """Episodes as they go; behind an end NaN.

    Attributes:
        observations: `[N, T + 1, D]`, the start first.
        cumulated: `[N, T + 1]`, the reward so far; 0 at the start.
        returns: `[N]`, all of it.
    """

    observations: jax.Array
    cumulated: jax.Array
    returns: jax.Array


@partial(jax.jit, static_argnames=("propagation", "num_episodes"))
def trajectories(
    simulator: Simulator, policy: Acting, model: Any, propagation: Propagation, num_episodes: int
) -> tuple[Trajectories, Trajectories]:
    """Episodes of the mean policy in the world and in the model, from the same starts: those that it is judged by."""
    environments = real_environment(simulator), imagined_environment(simulator, model, propagation)
    played = [evaluate(simulator, environment, meant(policy), num_episodes) for environment in environments]
    return _trajectories(simulator, played[0], num_episodes), _trajectories(simulator, played[1], num_episodes)


def _trajectories(simulator: Simulator, played: Played, num_episodes: int) -> Trajectories:
    rules = simulator.rules
    rows, valid = jax.tree.map(
        lambda x: x.reshape(num_episodes, simulator.horizon, *x.shape[1:]), (played.transitions, played.valid)
    )
    action = decode_action(rules.actions, rows.action)
    reward = jax.vmap(jax.vmap(rules.reward, (None, 0, 0, 0)), (None, 0, 0, 0))
    paid = jnp.where(valid, reward(simulator.physics, rows.observation, action, rows.next_observation), 0.0)
    following = jnp.where(valid[..., None], rows.next_observation, jnp.nan)
    cumulated = jnp.where(valid, jnp.cumsum(paid, axis=1), jnp.nan)
    observations = jnp.concatenate([rows.observation[:, :1], following], axis=1)
    return Trajectories(observations, jnp.pad(cumulated, ((0, 0), (1, 0))), played.returns)


def coordinates(simulator: Simulator, observations: jax.Array) -> np.ndarray:
    """`[..., K]`: where observations `[..., D]` lie on the chart; the first 3 numbers where there is none."""
    chart = simulator.rules.chart
    if chart is None:
        return np.asarray(observations[..., :_MOST_NUMBERS])
    return np.asarray(jnp.vectorize(chart.state_of, signature="(d)->(k)")(observations))


def coordinate_names(simulator: Simulator) -> tuple[str, ...]:
    """What the numbers of `coordinates` are called, in the world's units."""
    chart = simulator.rules.chart
    if chart is None:
        return tuple(f"number {i + 1} seen" for i in range(min(_MOST_NUMBERS, simulator.rules.observation_size)))
    return chart.names or tuple(f"coordinate {i + 1}" for i in range(len(chart.low)))


def slice_of(chart: Chart, resolution: int) -> np.ndarray:
    """`[n, (n,) K]` states: a grid over the first two coordinates, ends included; a third one stands in its middle."""
    sides = [np.linspace(low, high, resolution) for low, high in zip(chart.low, chart.high, strict=True)][:2]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)
    middle = (np.array(chart.low) + np.array(chart.high))[2:] / 2
    return np.concatenate([grid, np.broadcast_to(middle, (*grid.shape[:-1], len(middle)))], axis=-1).astype(np.float32)


@jax.jit
def model_error(simulator: Simulator, model: Any, states: jax.Array, actions: jax.Array) -> jax.Array:
    """`[...]`: e at states `[..., K]` of a world with a chart, over actions `[N, A]` or `[N]` (see the module)."""
    rules, chart = simulator.rules, simulator.rules.chart
    assert chart is not None
    flat = states.reshape(-1, states.shape[-1])
    seen = jax.vmap(chart.observe)(flat)

    def to_members(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x, (model.num_members, *x.shape))

    def squares(action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`[S, K]`: of the error, the mean over the members, and of the step."""
        action = jnp.broadcast_to(action, (len(flat), *action.shape))
        # The key makes no difference to the chart's coordinates.
        following = jax.vmap(rules.step, (None, None, 0, 0))(jax.random.key(0), simulator.physics, seen, action)
        predicted = model.predict(rules, None, to_members(seen), to_members(action)).observation
        there, said = (jnp.vectorize(chart.state_of, signature="(d)->(k)")(x) for x in (following, predicted))
        return jnp.mean(_apart(chart, said - there) ** 2, axis=0), _apart(chart, there - flat) ** 2

    wrong, moved = jax.lax.map(squares, actions)
    unit = jnp.mean(moved, axis=(0, 1))
    error = jnp.sqrt(jnp.mean(wrong / jnp.where(unit > 0, unit, 1.0), axis=(0, 2)))
    return error.reshape(states.shape[:-1])


def where_visited(chart: Chart, error: np.ndarray, visited: np.ndarray) -> tuple[float, float]:
    """The error on the grid of `slice_of` as two numbers: near what is visited, and elsewhere; NaN of nothing.

    Args:
        chart: of the world.
        error: `[n, (n)]` on the grid.
        visited: `[P, K]` states within the chart; each counts for the grid point next to it.

    Returns:
        Two root mean squares over grid points.
    """
    low, high = np.array(chart.low), np.array(chart.high)
    nearest = np.rint((visited - low) / (high - low) * (len(error) - 1)).astype(int)
    inside = np.zeros(error.shape, bool)
    inside[tuple(nearest[:, : error.ndim].T)] = True
    for axis, wraps in enumerate(chart.wraps[: error.ndim]):
        if wraps:  # both ends are one place
            ends = np.moveaxis(inside, axis, 0)
            ends[0] = ends[-1] = ends[0] | ends[-1]

    def over(places: np.ndarray) -> float:
        return float(np.sqrt(np.mean(error[places] ** 2))) if places.any() else float("nan")

    return over(inside), over(~inside)


def _apart(chart: Chart, difference: jax.Array) -> jax.Array:
    """`[..., K]`: the shorter way round where a coordinate wraps."""
    width = jnp.asarray(chart.high) - jnp.asarray(chart.low)
    return jnp.where(jnp.asarray(chart.wraps), (difference + width / 2) % width - width / 2, difference)
