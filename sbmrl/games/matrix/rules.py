"""Iterated matrix games as pytrees, what their players see, and one step of play.

Both players act at once, T times, and are paid payoff + offset a step. What a player sees is its *observation*, a
number; the step of the episode is never part of it. Before the first step it is 0, afterwards, with a_row and a_column
the last actions,

| memory | row sees | column sees | observations of a 2×2 game |
|---|---|---|---|
| joint | 1 + a_row + A_row·a_column | the same | 5 |
| opponent | 1 + a_column | 1 + a_row | 3 |
| none | 0 | 0 | 1 |

A player's *strategy* is a table: observation -> distribution over its actions, `[O, A]`, or with a clock `[T, O, A]`.
Numbers are counted from row's side whoever leads, so a table means the same in every formulation.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers": row leads, offset −2.5, T = 10, joint memory.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.core.files import SUFFIXES
from sbmrl.errors import require, require_known
from sbmrl.games.matrix.catalogue import GAMES, VARIANTS, GameArrays, Memory, named_game, split_name
from sbmrl.games.matrix.files import load_game


class MatrixGame(struct.PyTreeNode):
    """An iterated matrix game.

    Attributes:
        payoffs: `[2, A_row, A_column]`, row's and column's, per step.
        offset: `[]`, added to every payoff.
        horizon: steps of an episode, T (static).
        memory: what the players see of the last step (static).
        name: the game's name (static).
    """

    payoffs: jax.Array
    offset: jax.Array
    horizon: int = struct.field(pytree_node=False)
    memory: Memory = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="matrix_game")

    @property
    def rewards(self) -> jax.Array:
        """`[2, A_row, A_column]`: what a step pays."""
        return self.payoffs + self.offset

    @property
    def num_actions(self) -> tuple[int, int]:
        """(A_row, A_column)."""
        return self.payoffs.shape[-2], self.payoffs.shape[-1]

    @property
    def num_observations(self) -> tuple[int, int]:
        """(O_row, O_column), the start included."""
        num_rows, num_columns = self.num_actions
        joint = 1 + num_rows * num_columns
        return {"joint": (joint, joint), "opponent": (1 + num_columns, 1 + num_rows), "none": (1, 1)}[self.memory]


def observe(game: MatrixGame, row_action, column_action):
    """(row's, column's) observation after a step, `[...]` int; takes jax and numpy integers alike."""
    if game.memory == "joint":
        both = 1 + row_action + game.num_actions[0] * column_action
        return both, both
    if game.memory == "opponent":
        return 1 + column_action, 1 + row_action
    return 0 * row_action, 0 * column_action


class MatrixState(NamedTuple):
    """Where an episode stands. `[]` int each.

    Attributes:
        row_observation: what row sees.
        column_observation: what column sees.
        time: steps made so far.
    """

    row_observation: jax.Array
    column_observation: jax.Array
    time: jax.Array


def first_state() -> MatrixState:
    """Before the first step: both see 0."""
    return MatrixState(jnp.int32(0), jnp.int32(0), jnp.int32(0))


def step(
    game: MatrixGame, state: MatrixState, row_action: jax.Array, column_action: jax.Array
) -> tuple[MatrixState, jax.Array, jax.Array, jax.Array]:
    """One step of both: (state, row's reward `[]`, column's reward `[]`, whether that was the last step `[]`)."""
    row_reward, column_reward = game.rewards[:, row_action, column_action]
    new = MatrixState(*observe(game, row_action, column_action), state.time + 1)
    return new, row_reward, column_reward, new.time >= game.horizon


def make_matrix_game(arrays: GameArrays, dtype=None) -> MatrixGame:
    """Bring checked arrays onto the device as a `MatrixGame`."""
    payoffs, offset = (jnp.asarray(np.asarray(x), dtype or jnp.float32) for x in (arrays.payoffs, arrays.offset))
    return MatrixGame(payoffs, offset, arrays.horizon, arrays.memory, arrays.name)


def make_game(name_or_file: str | Path) -> MatrixGame:
    """A named game, one of its variants (`NAME_small_memory`, `NAME_one_shot`), or that of a JSON or npz file.

    Raises:
        InputError: unknown name (with the nearest known one), or a file that is no matrix game.
    """
    name = str(name_or_file)
    if name.endswith(SUFFIXES):
        return make_matrix_game(load_game(name))
    base, _ = split_name(name)
    if base not in GAMES:
        require_known(base, "env", [*GAMES, *(f"NAME_{variant}" for variant in VARIANTS), "a .json or .npz file"])
        require(False, "env", "write a real name or file name", repr(name))
    return make_matrix_game(named_game(name))
