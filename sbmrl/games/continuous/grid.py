"""Optima by dynamic programming on a grid, for worlds with a chart of at most three coordinates.

    V_T = 0,   V_t(s) = max over a of r(s, a, s') + [not terminated(s')]·V_{t+1}(s')

on the grid's points, multilinear between them, actions on a grid of their own. Where the grid has a point at which
episodes are over, V there is what would follow if they went on: the limit that its neighbours need.

The value is an estimate; what its greedy policy earns in the true dynamics (`achieved`) is a certificate from below.
With `dynamics` the same programme is the exact best response to a model, and `achieved` what that is worth in truth.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.errors import InputError, require
from sbmrl.games.continuous.simulator import (
    Act,
    Box,
    Chart,
    Discrete,
    Simulator,
    draw_starts,
    rollout_returns,
)

Dynamics = Callable[[jax.Array, jax.Array], jax.Array]
_TABLE_BYTES = 2**30  # above this, next states are computed anew at every step


class GridSolution(struct.PyTreeNode):
    """What dynamic programming found.

    Attributes:
        first: `[N_1, ...]`, V_0 on the grid.
        ahead: `[T, N_1, ...]`, V_{t+1} for each t: what the decision at t looks ahead to.
        actions: `[A, ...]`, the actions tried.
    """

    first: jax.Array
    ahead: jax.Array
    actions: jax.Array


class _Lookup(NamedTuple):
    """Where one action leads from one state: a reward, a cell of the grid and the place inside it, 0..1 an axis."""

    reward: jax.Array
    cell: jax.Array
    fractions: tuple[jax.Array, ...]


def grid_optimum(
    simulator: Simulator, resolution: tuple[int, ...], num_actions: int | None = None, dynamics: Dynamics | None = None
) -> GridSolution:
    """The optimum of the world, or of `dynamics` with the world's start, reward and termination.

    Compiled once for a world, a resolution and a `dynamics`; to solve many models in one program, call it under a `jit`
    of your own over their parameters.

    Args:
        simulator: a world with a chart.
        resolution: points along each coordinate, ≥ 2; on one that wraps, both ends are one point.
        num_actions: actions along each dimension of a box, its ends included, ≥ 2; None where actions are discrete.
        dynamics: (observation `[D]`, action) -> next observation `[D]`, such as the world could show.

    Raises:
        InputError: the world has no chart, or a resolution or number of actions that cannot be.
    """
    chart = chart_of(simulator)
    allowed = f"must be {len(chart.low)} whole numbers, 2 or more each"
    proper = len(resolution) == len(chart.low) and all(points >= 2 for points in resolution)
    require(proper, "resolution", allowed, resolution)
    return _solve(simulator, action_grid(simulator.rules.actions, num_actions), tuple(resolution), dynamics)


@partial(jax.jit, static_argnames="num_episodes")
def promised(key: jax.Array, simulator: Simulator, solution: GridSolution, num_episodes: int) -> jax.Array:
    """`[N]`: V_0 at the starts of the episodes that `achieved` plays with the same key."""
    chart, shape = chart_of(simulator), solution.first.shape

    def value(observation: jax.Array) -> jax.Array:
        cell, fractions = _locate(chart, shape, chart.state_of(observation))
        return _interpolate(_flat(chart, solution.first), _strides(chart, shape), cell, fractions)

    return jax.vmap(value)(draw_starts(key, simulator, num_episodes))


@partial(jax.jit, static_argnames=("num_episodes", "dynamics"))
def achieved(
    key: jax.Array,
    simulator: Simulator,
    solution: GridSolution,
    num_episodes: int,
    dynamics: Dynamics | None = None,
) -> jax.Array:
    """`[N]`: returns in the true dynamics of the policy that is greedy for the solution (`greedy`)."""
    return rollout_returns(key, simulator, greedy(simulator, solution, dynamics), num_episodes)


def greedy(simulator: Simulator, solution: GridSolution, dynamics: Dynamics | None = None) -> Act:
    """The policy that looks one step ahead with the dynamics that were solved, from wherever it is."""
    chart, shape = chart_of(simulator), solution.first.shape

    def act(key: jax.Array, observation: jax.Array, time: jax.Array) -> jax.Array:
        ahead = _flat(chart, solution.ahead[time])

        def worth(action: jax.Array) -> jax.Array:
            return _worth(ahead, _strides(chart, shape), _look(simulator, dynamics, shape, observation, action))

        return solution.actions[jnp.argmax(jax.vmap(worth)(solution.actions))]

    return act


def chart_of(simulator: Simulator) -> Chart:
    """The coordinates of a world.

    Raises:
        InputError: it has no chart.
    """
    chart = simulator.rules.chart
    if chart is None:
        raise InputError(f"env: must be a world of at most three coordinates for a grid, got {simulator.name}")
    return chart


def action_grid(actions: Box | Discrete, num_actions: int | None) -> jax.Array:
    """`[N, A]`: those of a box, `num_actions` along each dimension; `[N]` all of numbered ones (`num_actions` None).

    Raises:
        InputError: `num_actions` does not fit the actions.
    """
    if isinstance(actions, Discrete):
        require(num_actions is None, "num_actions", "must be None where actions are discrete", num_actions)
        return jnp.arange(actions.num)
    if num_actions is None or num_actions < 2:
        raise InputError(f"num_actions: must be 2 or more, got {num_actions}")
    sides = [np.linspace(low, high, num_actions) for low, high in zip(actions.low, actions.high, strict=True)]
    return jnp.asarray(list(itertools.product(*sides)), jnp.float32)


def _spacing(chart: Chart, shape: tuple[int, ...]) -> np.ndarray:
    intervals = np.where(chart.wraps, shape, np.array(shape) - 1)
    return (np.array(chart.high) - np.array(chart.low)) / intervals


def _states(chart: Chart, shape: tuple[int, ...]) -> jax.Array:
    """`[N_1, ..., K]`: the grid's points."""
    counts = np.moveaxis(np.indices(shape), 0, -1)
    return jnp.asarray(np.array(chart.low) + counts * _spacing(chart, shape), jnp.float32)


def _strides(chart: Chart, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How far apart neighbours lie in `_flat`, for each coordinate."""
    padded = np.array(shape) + np.array(chart.wraps)
    return tuple(math.prod(padded[axis + 1 :].tolist()) for axis in range(len(shape)))


def _flat(chart: Chart, values: jax.Array) -> jax.Array:
    """The values in one row: first points repeated where a coordinate wraps, then a cell of zeros for what is over."""
    shape = values.shape
    values = jnp.pad(values, [(0, int(wraps)) for wraps in chart.wraps], mode="wrap")
    return jnp.pad(values.ravel(), (0, sum(_strides(chart, shape)) + 1))


def _locate(chart: Chart, shape: tuple[int, ...], state: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """(lowest corner of the state's cell, place inside it); states beyond the edges are met at the edge."""
    counts, wraps = np.array(shape, np.float32), np.array(chart.wraps)
    place = (state - np.array(chart.low, np.float32)) / _spacing(chart, shape).astype(np.float32)
    place = jnp.where(wraps, jnp.mod(place, counts), jnp.clip(place, 0, counts - 1))
    corner = jnp.minimum(jnp.floor(place), counts - np.where(wraps, 1, 2).astype(np.float32))
    cell = jnp.sum(corner.astype(jnp.uint32) * np.array(_strides(chart, shape), np.uint32), dtype=jnp.uint32)
    return cell, tuple(place - corner)


def _look(
    simulator: Simulator, dynamics: Dynamics | None, shape: tuple[int, ...], observation: jax.Array, action: jax.Array
) -> _Lookup:
    rules, physics, chart = simulator.rules, simulator.physics, chart_of(simulator)
    if dynamics is None:
        following = rules.step(jax.random.key(0), physics, observation, action)
    else:
        following = dynamics(observation, action)
    cell, fractions = _locate(chart, shape, chart.state_of(following))
    strides = _strides(chart, shape)
    over = np.uint32(strides[0] * (shape[0] + chart.wraps[0]))
    reward = rules.reward(physics, observation, action, following)
    return _Lookup(reward, jnp.where(rules.terminated(physics, following), over, cell), fractions)


def _interpolate(flat: jax.Array, strides: tuple[int, ...], cell: jax.Array, fractions: tuple[jax.Array, ...]):
    """Multilinear, one coordinate after the other."""

    def between(axis: int, corner: jax.Array) -> jax.Array:
        if axis == len(strides):
            return flat.at[corner].get(mode="promise_in_bounds")
        low, high = between(axis + 1, corner), between(axis + 1, corner + np.uint32(strides[axis]))
        return low + fractions[axis] * (high - low)

    return between(0, cell)


def _worth(ahead: jax.Array, strides: tuple[int, ...], lookup: _Lookup) -> jax.Array:
    """What an action is worth: r + [not terminated]·V(s')."""
    return lookup.reward + _interpolate(ahead, strides, lookup.cell, lookup.fractions)


@partial(jax.jit, static_argnames=("shape", "dynamics"))
def _solve(simulator: Simulator, actions: jax.Array, shape: tuple[int, ...], dynamics: Dynamics | None) -> GridSolution:
    chart = chart_of(simulator)
    states, strides = _states(chart, shape), _strides(chart, shape)

    def lookup(state: jax.Array, action: jax.Array) -> _Lookup:
        return _look(simulator, dynamics, shape, chart.observe(state), action)

    lookups = lookup
    for _ in shape:  # all in the grid's shape: in one long row they take twice the time on a CPU
        lookups = jax.vmap(lookups, (0, None))

    # Only V changes from step to step: where all actions lead is kept, if it fits.
    num_bytes = 4 * len(actions) * math.prod(shape) * (2 + len(shape))
    table = jax.lax.map(partial(lookups, states), actions) if num_bytes <= _TABLE_BYTES else None

    def of_action(index: jax.Array) -> _Lookup:
        if table is None:
            return lookups(states, actions[index])
        return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), table)

    def backward(following: jax.Array, _):
        ahead = _flat(chart, following)

        def improve(index: jax.Array, best: jax.Array) -> jax.Array:
            return jnp.maximum(best, _worth(ahead, strides, of_action(index)))

        # Action by action: twice as fast on a CPU as all at once, whose maximum is a pass of its own.
        return jax.lax.fori_loop(0, len(actions), improve, jnp.full(shape, -jnp.inf)), following

    first, ahead = jax.lax.scan(backward, jnp.zeros(shape), length=simulator.horizon, reverse=True)
    return GridSolution(first, ahead, actions)
