"""What can be set of an iterated matrix game."""

import dataclasses
from typing import Literal

from sbmrl.core.options import AnswerOptions, GameOptions


@dataclasses.dataclass(frozen=True)
class MatrixOptions(GameOptions):
    """How a leader and its follower meet in a matrix game."""

    paid_queries: bool = False
    """A leader that plays is paid for its answers as if they were steps of the game."""


@dataclasses.dataclass(frozen=True)
class ReplyOptions(AnswerOptions):
    """The exact best response of a follower in a matrix game."""

    tie_breaking: Literal["lowest", "optimistic", "pessimistic"] = "optimistic"
    """Among best answers the lowest, the leader's favourite (strong Stackelberg) or its worst (weak)."""
    clock: bool = False
    """Whether the follower knows the time of the episode."""
