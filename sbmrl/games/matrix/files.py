"""The user's own matrix game from a JSON or npz file, checked before anything runs.

Keys: `row` and `column` `[A_row, A_column]` (each player's payoffs), `horizon` (steps of an episode), `memory`
("joint", "opponent" or "none"), optional `offset` (added to every payoff, −2.5 unless told) and `name`.
Who leads is no property of the game and not in the file.
"""

from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.files import horizon_of, name_in, numbers, read_fields
from sbmrl.errors import require, require_known
from sbmrl.games.matrix.catalogue import MEMORIES, OFFSET, GameArrays, Memory

_REQUIRED = ("row", "column", "horizon", "memory")
_OPTIONAL = ("offset", "name")


def load_game(path: str | Path) -> GameArrays:
    """Read and check the file of a matrix game.

    Raises:
        InputError: unreadable or foreign file, missing or unknown key, wrong shape, NaN, horizon below 1, unknown
            memory.
    """
    path = Path(path)
    fields = read_fields(path, "a matrix game", _REQUIRED, _OPTIONAL)
    return check_game(fields, name_in(fields, path), where=f"{path}: ")


def check_game(fields: dict[str, Any], name: str, where: str = "") -> GameArrays:
    """Check the fields of a matrix game; `InputError` names the field."""
    row, column = (_payoffs(fields[player], where + player) for player in ("row", "column"))
    require(column.shape == row.shape, where + "column", f"must have row's shape {list(row.shape)}", list(column.shape))
    offset = numbers(fields.get("offset", OFFSET), where + "offset")
    require(offset.ndim == 0, where + "offset", "must be one number", f"shape {list(offset.shape)}")
    horizon = horizon_of(fields["horizon"], where + "horizon")
    return GameArrays(name, np.stack([row, column]), horizon, memory_of(fields["memory"], where), float(offset))


def memory_of(value: Any, where: str = "") -> Memory:
    """`value` as one of the three memories.

    Raises:
        InputError: unknown memory, with the nearest known one.
    """
    require_known(str(value), where + "memory", MEMORIES)
    return next(memory for memory in MEMORIES if memory == str(value))


def _payoffs(value: Any, field: str) -> np.ndarray:
    array = numbers(value, field)
    allowed = "must have shape [A_row, A_column], at least one action each"
    require(array.ndim == 2 and min(array.shape) >= 1, field, allowed, list(array.shape))
    return array
