"""What a kind of game may ask of finished results when it shows them; the classes are those of sweeps and reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jax

if TYPE_CHECKING:
    import polars as pl


class Cell(Protocol):
    """A cell of a run, finished or not (`sbmrl.sweep.loaded_cell.LoadedCell`)."""

    @property
    def name(self) -> str:
        """Of its directory."""
        ...

    @property
    def directory(self) -> Path:
        """Where it lies."""
        ...

    @property
    def world(self) -> Any:
        """The true world."""
        ...

    @property
    def experiment(self) -> Any:
        """The configuration."""
        ...

    @property
    def static(self) -> Mapping[str, Any]:
        """What tells the cell apart from the others of its plan."""
        ...

    @property
    def has_profiles(self) -> bool:
        """Whether evaluated strategies are on disk."""
        ...

    def seed_of(self, run: int) -> int:
        """The seed of a run."""
        ...

    def results(self) -> "pl.DataFrame":
        """One row a run, of the finished chunks."""
        ...

    def curves(self) -> "pl.DataFrame":
        """The learning curves, long."""
        ...

    def profile(self, run: int) -> Mapping[str, jax.Array]:
        """Role -> the evaluated strategy of a run."""
        ...

    def find(self, seed: int, **values: float) -> int:
        """The row of a seed at a point of the axes."""
        ...


class Run(Protocol):
    """What a command left in a directory (`sbmrl.sweep.load.LoadedRun`)."""

    @property
    def cells(self) -> Mapping[str, Any]:
        """Name -> cell."""
        ...


class Entry(Protocol):
    """A row of a report (`sbmrl.report.entries.Entry`)."""

    @property
    def run(self) -> int:
        """Which of the report's directories, by its place."""
        ...

    @property
    def cell(self) -> Any:
        """Its cell."""
        ...

    @property
    def point(self) -> Mapping[str, float]:
        """The values of the traced axes."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What makes it comparable."""
        ...

    @property
    def label(self) -> str:
        """Its name in the report."""
        ...

    @property
    def world(self) -> str:
        """The name of the true world."""
        ...

    @property
    def finite(self) -> "pl.DataFrame":
        """The finished runs that did not diverge."""
        ...
