"""Matrix games in plain Python, without the code under test: what is seen, and returns by walking through all play."""

import itertools

import jax.numpy as jnp
import numpy as np

from sbmrl.games.matrix.catalogue import GameArrays
from sbmrl.games.matrix.rules import make_matrix_game

MEMORIES = ("joint", "opponent", "none")
SIDES = ("row", "column")


def random_game(seed, memory, shape=(2, 2), horizon=3, levels=8):
    """Payoffs drawn from `levels` numbers: the fewer, the more ties."""
    payoffs = np.random.default_rng(seed).integers(1, 1 + levels, (2, *shape)) / 2
    return make_matrix_game(GameArrays("random", payoffs, horizon, memory, -2.5))


def random_strategy(rng, game, player, clock=False):
    shape = (game.num_observations[player], game.num_actions[player])
    rows = rng.exponential(size=(game.horizon, *shape) if clock else shape)
    return jnp.asarray(rows / rows.sum(-1, keepdims=True), jnp.float32)


def sees(memory, num_rows, last):
    """What row and column see after the joint action `last`, written down independently."""
    if last is None or memory == "none":
        return 0, 0
    row, column = last
    return (1 + column, 1 + row) if memory == "opponent" else (1 + row + num_rows * column,) * 2


def expected(game, row_strategy, column_strategy, last=None):
    """Both returns by walking through the whole tree of play, from the joint action `last` on."""
    payoffs, rows, columns = (np.asarray(x, float) for x in (game.payoffs, row_strategy, column_strategy))
    num_rows, num_columns = payoffs.shape[1:]

    def walk(last, time):
        if time == game.horizon:
            return np.zeros(2)
        row_sees, column_sees = sees(game.memory, num_rows, last)
        row = (rows[time] if rows.ndim == 3 else rows)[row_sees]
        column = (columns[time] if columns.ndim == 3 else columns)[column_sees]
        total = np.zeros(2)
        for a, b in itertools.product(range(num_rows), range(num_columns)):
            if row[a] * column[b] > 0:
                total += row[a] * column[b] * (payoffs[:, a, b] - 2.5 + walk((a, b), time + 1))
        return total

    return walk(last, 0)


def by_seat(leader, x, y):
    return (x, y) if leader == "row" else (y, x)


def values(game, leader, x, y):
    """(leader's, follower's) return by the tree."""
    total = expected(game, *by_seat(leader, x, y))
    return total if leader == "row" else total[::-1]


def best_with_full_memory(game, x):
    """Column's best return against row's x if it knows everything that was played, by walking through the tree."""
    payoffs, x = np.asarray(game.payoffs, float), np.asarray(x, float)

    def walk(last, time):
        if time == game.horizon:
            return 0.0
        row = x[sees(game.memory, 2, last)[0]]
        return max(sum(row[a] * (payoffs[1, a, b] - 2.5 + walk((a, b), time + 1)) for a in (0, 1)) for b in (0, 1))

    return walk(None, 0)
