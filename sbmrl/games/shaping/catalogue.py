"""The named worlds as drawings: rooms, in which an agent walks to a goal and a designer wants it to pass somewhere.

Source of `four_rooms`: Sutton, Precup and Singh (1999) for the map; Thoma et al. (2024), arXiv 2406.01575, for start,
goals, target and the bound on the penalties.
"""

from typing import NamedTuple

Cell = tuple[int, int]  # (row, column) in the drawing


class Drawing(NamedTuple):
    """A world as written down.

    Attributes:
        summary: one line for a listing.
        lines: of the map, `#` is a wall.
        start: where episodes start.
        goals: where they end, one of which is drawn for each episode, all equally likely.
        target: where the designer wants the agent to be.
        slip: probability that another move than the chosen one is made, each of the others equally likely.
        discount: γ of both players.
        limit: most that all penalties can be together.
        horizon: T, most steps of an episode.
    """

    summary: str
    lines: tuple[str, ...]
    start: Cell
    goals: tuple[Cell, ...]
    target: Cell
    slip: float
    discount: float
    limit: float
    horizon: int


DRAWINGS: dict[str, Drawing] = {
    # In the code that goes with the paper a move fails with probability 0.33 in the episodes, and with 0.44 where the
    # agent plans and the designer is scored. The scores are what we compare with, so it is 0.44 in both.
    "four_rooms": Drawing(
        "104 cells, two goals; the four rooms of Thoma et al.",
        (
            "#############",
            "#.....#.....#",
            "#.....#.....#",
            "#...........#",
            "#.....#.....#",
            "#.....#.....#",
            "##.####.....#",
            "#.....###.###",
            "#.....#.....#",
            "#.....#.....#",
            "#...........#",
            "#.....#.....#",
            "#############",
        ),
        start=(4, 1),
        goals=((1, 9), (11, 11)),
        target=(8, 4),
        slip=0.44,
        discount=0.99,
        limit=0.2,
        horizon=200,
    ),
    "two_ways": Drawing(
        "12 cells around a wall, two goals; the target lies on one of two ways",
        (
            "#######",
            "#.....#",
            "#.###.#",
            "#.....#",
            "#######",
        ),
        start=(2, 1),
        goals=((1, 5), (2, 5)),
        target=(3, 3),
        slip=0.1,
        discount=0.95,
        limit=0.2,
        horizon=40,
    ),
}
