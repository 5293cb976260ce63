"""What a kind of game adds to tables and reports."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Published(NamedTuple):
    """A number that somebody else has published: mean and spread."""

    value: float
    spread: float


def _nothing_printed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    del rows
    return []


class GameDisplay(NamedTuple):
    """What tables and reports show of a kind of game beside what they show of every one.

    Attributes:
        returns: whose exact return it is.
        baseline: whose return the regret is held against.
        responds: when a follower is said to best-respond; "{leader}" stands for the leader at which it is judged.
        tolerance: (line of the results) -> regret up to which a follower is said to best-respond.
        departure: (row) -> what departs from the default, behind the formulation's name.
        told: (rows) -> what a caption says of the settings, comma at the end.
        told_apart: settings that are added to the names of rows that differ in them.
        published: (first line of the results) -> a number to stand beside ours, or None.
        source: whose published numbers these are, the head of their column.
        source_note: a sentence on them.
        measured: (runs that did not diverge) -> further numbers of a row, plain data.
        lines: (rows) -> lines below a table.
        table: (rows) -> a further table of a report: heading, explanation, columns, lines; None where it has none.
        pictures: (entries) -> pictures of a report and, in sentences, what is left out.
        draw_world: (world, path without suffix) -> files with a picture of it.
        draw_run: (cell, run, path without suffix) -> files with a picture of what a run has learned.
    """

    returns: str = "the leader's"
    baseline: str = "the uniform policy"
    responds: str = "within 0.5 of the best response against {leader}"
    tolerance: Callable[[Mapping[str, Any]], float] = lambda head: 0.5
    departure: Callable[[Mapping[str, Any]], str] = lambda row: ""
    told: Callable[[Sequence[Mapping[str, Any]]], str] = lambda rows: ""
    told_apart: tuple[str, ...] = ()
    published: Callable[[Mapping[str, Any]], Published | None] = lambda head: None
    source: str = ""
    source_note: str = ""
    measured: Callable[[Any], Mapping[str, Any]] = lambda results: {}
    lines: Callable[[Sequence[Mapping[str, Any]]], list[str]] = _nothing_printed
    table: Callable[[Sequence[Mapping[str, Any]]], "ExtraTable | None"] = lambda rows: None
    pictures: Callable[[Sequence[Any]], tuple[list[Any], list[str]]] = lambda entries: ([], [])
    draw_world: Callable[[Any, Path], Sequence[Path]] | None = None
    draw_run: Callable[[Any, int, Path], Sequence[Path]] | None = None


class ExtraTable(NamedTuple):
    """A table that a kind of game adds to a report."""

    heading: str
    explanation: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
