"""Worlds of reward shaping as pytrees: cells with neighbours, goals as contexts, a target of the designer's."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.errors import require, require_known
from sbmrl.games.shaping.catalogue import DRAWINGS, Drawing

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left: what an action chooses, and what may be done


class ShapingWorld(struct.PyTreeNode):
    """S cells, each with D neighbours; an action draws which of them follows, and episodes end at the goal.

    Attributes:
        neighbours: `[S, D]` number of the cell to which each move leads.
        moves: `[A, D]` probability of each move, given the action.
        goals: `[C]` number of the cell where episodes of a context end.
        contexts: `[C]` probability of each context.
        initial: `[S]` distribution of the first cell.
        target: `[S]` what the designer earns for each step in a cell.
        discount: `[]` γ of both players.
        limit: `[]` most that all penalties can be together.
        horizon: T, most steps of an episode (static).
        name: the world's name (static).
    """

    neighbours: jax.Array
    moves: jax.Array
    goals: jax.Array
    contexts: jax.Array
    initial: jax.Array
    target: jax.Array
    discount: jax.Array
    limit: jax.Array
    horizon: int = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="shaping_world")

    @property
    def num_cells(self) -> int:
        """S."""
        return self.neighbours.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.moves.shape[0]

    @property
    def num_contexts(self) -> int:
        """C."""
        return self.goals.shape[0]

    @property
    def following(self) -> jax.Array:
        """`[S, D]` int: the neighbours, as indices."""
        return self.neighbours.astype(jnp.int32)  # worlds that were kept as plain data hold floating numbers

    @property
    def at_goal(self) -> jax.Array:
        """`[C, S]` bool: whether a cell is the goal of a context."""
        return self.goals.astype(jnp.int32)[:, None] == jnp.arange(self.num_cells)


def free_cells(lines: Sequence[str]) -> list[tuple[int, int]]:
    """(row, column) of every cell that is no wall, row by row."""
    return [(row, column) for row, line in enumerate(lines) for column, mark in enumerate(line) if mark != "#"]


def make_drawn(drawing: Drawing, name: str) -> ShapingWorld:
    """The world of a drawing whose outermost cells are walls; a move into a wall leads nowhere."""
    cells = free_cells(drawing.lines)
    number = {cell: index for index, cell in enumerate(cells)}
    steps = [
        [number.get((row + up, column + right), number[row, column]) for up, right in MOVES] for row, column in cells
    ]
    others = drawing.slip / (len(MOVES) - 1)
    moves = np.full((len(MOVES), len(MOVES)), others) + (1.0 - drawing.slip - others) * np.eye(len(MOVES))
    one_hot = np.eye(len(cells))
    return ShapingWorld(
        neighbours=jnp.asarray(steps, jnp.float32),
        moves=jnp.asarray(moves, jnp.float32),
        goals=jnp.asarray([number[goal] for goal in drawing.goals], jnp.float32),
        contexts=jnp.full(len(drawing.goals), 1.0 / len(drawing.goals)),
        initial=jnp.asarray(one_hot[number[drawing.start]], jnp.float32),
        target=jnp.asarray(one_hot[number[drawing.target]], jnp.float32),
        discount=jnp.float32(drawing.discount),
        limit=jnp.float32(drawing.limit),
        horizon=drawing.horizon,
        name=name,
    )


def make_world(name: str) -> ShapingWorld:
    """A named world.

    Raises:
        InputError: an unknown name, with the nearest known one.
    """
    require_known(name, "env", DRAWINGS)
    return make_drawn(DRAWINGS[name], name)


def check_world(world: ShapingWorld, where: str) -> None:
    """Raise `InputError` for a registered world that cannot be played; `where` is the prefix of the names."""
    cells, moves = np.shape(world.neighbours) if np.ndim(world.neighbours) == 2 else (0, 0)
    shape = list(np.shape(world.neighbours))
    require(cells > 1, f"{where}neighbours", "must have shape [S, D], of two cells at least", shape)
    shapes = {"initial": (cells,), "target": (cells,), "contexts": np.shape(world.goals), "discount": (), "limit": ()}
    for name, shape in shapes.items():
        found = np.shape(getattr(world, name))
        require(found == shape, f"{where}{name}", f"must have shape {list(shape)}", list(found))
    shape = np.shape(world.moves)
    require(len(shape) == 2 and shape[1] == moves, f"{where}moves", f"must have shape [A, {moves}]", list(shape))
    for name in ("neighbours", "goals"):
        inside = bool(np.all((np.asarray(getattr(world, name)) >= 0) & (np.asarray(getattr(world, name)) < cells)))
        require(inside, f"{where}{name}", f"must be numbers of cells, 0 to {cells - 1}", "another")
    for name in ("moves", "contexts", "initial"):
        rows = np.asarray(getattr(world, name), np.float64)
        proper = bool(np.all(rows >= 0) and np.all(np.abs(rows.sum(-1) - 1.0) < 1e-4))
        require(proper, f"{where}{name}", "must be probabilities that sum to 1", rows.sum(-1).tolist())
    discount, limit = float(world.discount), float(world.limit)
    require(0.0 <= discount < 1.0, f"{where}discount", "must be in [0, 1)", discount)
    require(0.0 < limit < np.inf, f"{where}limit", "must be positive and finite", limit)
    require(world.horizon >= 1, f"{where}horizon", "must be at least 1", world.horizon)
