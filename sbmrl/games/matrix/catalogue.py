"""The named matrix games as data: two players, one matrix of payoffs for each.

Source: the payoffs of the iterated games of Gerstgrasser & Parkes (2023), "Oracles & Followers". Row is the paper's
leader, column its follower; here either may lead.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

Memory = Literal["joint", "opponent", "none"]
MEMORIES: tuple[Memory, ...] = get_args(Memory)
OFFSET = -2.5  # the middle of the payoffs 1..4: whoever does nothing special earns about 0 a step


class GameArrays(NamedTuple):
    """A matrix game as written down, before it becomes a pytree.

    Attributes:
        name: the game's name.
        payoffs: `[2, A_row, A_column]`, row's matrix and column's.
        horizon: T, how often it is played in an episode.
        memory: what both players see of the last step; see `matrix_games`.
        offset: added to every payoff.
    """

    name: str
    payoffs: np.ndarray
    horizon: int
    memory: Memory
    offset: float


class GameRow(NamedTuple):
    """One row of the catalogue.

    Attributes:
        summary: one line for a listing.
        payoffs: ((row, column) at (0, 0), (0, 1)), (at (1, 0), (1, 1)).
        horizon: T.
        memory: what both players see of the last step.
    """

    summary: str
    payoffs: tuple[tuple[tuple[float, float], ...], ...]
    horizon: int = 10
    memory: Memory = "joint"


GAMES: dict[str, GameRow] = {
    "prisoners_dilemma": GameRow("defecting is dominant, and worse for both", (((3, 3), (1, 4)), ((4, 1), (2, 2)))),
    "stag_hunt": GameRow("both together, or each the safe action alone", (((4, 4), (1, 3)), ((3, 1), (2, 2)))),
    "assurance": GameRow("two equilibria, both prefer the first", (((4, 4), (1, 2)), ((2, 1), (3, 3)))),
    "coordination": GameRow("two equilibria, missing them costs both", (((4, 4), (2, 1)), ((1, 2), (3, 3)))),
    "mixedharmony": GameRow("action 0 is dominant and best for both", (((4, 4), (3, 1)), ((1, 3), (2, 2)))),
    "harmony": GameRow("no conflict: action 0 is dominant and best", (((4, 4), (3, 2)), ((2, 3), (1, 1)))),
    "noconflict": GameRow("action 0 is dominant and best for both", (((4, 4), (2, 3)), ((3, 2), (1, 1)))),
    "deadlock": GameRow("action 1 is dominant, and good for both", (((2, 2), (1, 4)), ((4, 1), (3, 3)))),
    "prisoners_delight": GameRow("action 1 is dominant, and nobody regrets it", (((1, 1), (2, 4)), ((4, 2), (3, 3)))),
    "hero": GameRow(
        "to differ is best, to agree is worst; who plays 1 gains most", (((1, 1), (3, 4)), ((4, 3), (2, 2)))
    ),
    "battle": GameRow("as hero, but both playing 1 is worst", (((2, 2), (3, 4)), ((4, 3), (1, 1)))),
    "chicken": GameRow("who yields gets less, if nobody does both lose", (((3, 3), (2, 4)), ((4, 2), (1, 1)))),
    "hidden_query": GameRow(
        "row's action 0 is dominant, yet committing to it is bad; column plays the prisoner's dilemma",
        (((4, 3), (2, 4)), ((3, 1), (1, 2))),
        horizon=5,
        memory="opponent",
    ),
}

# The twelve of the paper's figure: symmetric, T = 10, joint memory.
TWELVE_GAMES = tuple(name for name in GAMES if name != "hidden_query")


class Variant(NamedTuple):
    """Another way to play any named game: its horizon and memory."""

    horizon: int
    memory: Memory


# name + "_" + key -> the same payoffs, played so
VARIANTS: dict[str, Variant] = {"small_memory": Variant(5, "opponent"), "one_shot": Variant(1, "none")}


def named_game(name: str) -> GameArrays:
    """The arrays of a named game or of a variant of one, as in "chicken_one_shot"; `KeyError` for an unknown name."""
    base, variant = split_name(name)
    row = GAMES[base]
    horizon, memory = VARIANTS[variant] if variant else (row.horizon, row.memory)
    payoffs = np.moveaxis(np.array(row.payoffs, float), -1, 0)
    return GameArrays(name, payoffs, horizon, memory, OFFSET)


def split_name(name: str) -> tuple[str, str]:
    """("chicken", "one_shot") of "chicken_one_shot"; the variant is "" where there is none."""
    for variant in VARIANTS:
        if name.endswith(f"_{variant}"):
            return name.removesuffix(f"_{variant}"), variant
    return name, ""
