"""What runs have left, finished or not, as frames and agents: `load(directory)`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sbmrl.core.experiment import compose, from_dict
from sbmrl.errors import InputError, require, require_known
from sbmrl.experiment.checks import check
from sbmrl.experiment.plugins import PluginError, find_plugins
from sbmrl.sweep.loaded_cell import Agent, LoadedCell
from sbmrl.sweep.plan import Axis, CellPlan, read_plan

Frames = Literal["polars", "pandas"]


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """What a command left in a directory: cells, their results and curves as frames.

    Attributes:
        directory: where it lies.
        cells: by name.
        frames: "polars" or "pandas".
    """

    directory: Path
    cells: Mapping[str, LoadedCell]
    frames: Frames = "polars"

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The commands that wrote it, each with its start, versions and devices; none for a cell's own directory.

        Raises:
            InputError: the file is damaged.
        """
        path = self.directory / "commands.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error

    @property
    def results(self) -> Any:
        """One row a run, of everything that is finished; the column "cell" names its cell."""
        return self._frame([cell.results() for cell in self.cells.values()])

    @property
    def curves(self) -> Any:
        """The learning curves, long; the column "cell" names the cell."""
        return self._frame([cell.curves() for cell in self.cells.values()])

    def agent(self, cell: str | None = None, seed: int = 0, **values: float) -> Agent:
        """A trained run, ready to act; `cell` may be left out where there is one.

        Raises:
            InputError: there is no such run, it is not finished, or its files are damaged.
        """
        names = list(self.cells)
        if cell is None:
            require(len(names) == 1, "cell", f"must be one of {', '.join(names)}", "nothing")
            cell = names[0]
        require_known(cell, "cell", names)
        return self.cells[cell].agent(seed, **values)

    def _frame(self, frames: list[pl.DataFrame]) -> Any:
        named = [
            frame.select(pl.lit(name).alias("cell"), pl.all())
            for name, frame in zip(self.cells, frames, strict=True)
            if len(frame)
        ]
        whole = pl.concat(named, how="diagonal_relaxed") if named else pl.DataFrame()
        if self.frames == "polars":
            return whole
        import pandas  # here, because importing it takes a third of a second

        return pandas.DataFrame(whole.to_dict(as_series=False))


def load(directory: str | Path, frames: Frames = "polars") -> LoadedRun:
    """Read what `train`, `reproduce` or `sweep` left in a directory, finished or not.

    Args:
        directory: of the whole run, or of one cell.
        frames: whether results and curves are polars or pandas frames.

    Raises:
        InputError: there is no run, or a configuration is damaged.
    """
    require_known(frames, "frames", ["polars", "pandas"])
    directory = Path(directory)
    found = [path for path in (directory, *_in_order(directory)) if (path / "config.json").is_file()]
    require(bool(found), str(directory), "must be the directory of a run", "no config.json in it")
    cells = [_load_cell(path) for path in found]
    return LoadedRun(directory, {cell.name: cell for cell in cells}, frames)


def _in_order(directory: Path) -> list[Path]:
    """The sub-directories, those of the plan's cells in the plan's order."""
    path = directory / "plan.json"
    names = [cell["name"] for cell in read_plan(path)["cells"]] if path.is_file() else []
    others = sorted(path for path in directory.glob("*") if path.is_dir() and path.name not in names)
    return [*(directory / name for name in names if name != "."), *others]


def _load_cell(directory: Path) -> LoadedCell:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        axes = tuple(Axis(name, tuple(values)) for name, values in config["axes"])
        static = tuple((name, value) for name, value in config["static"])
        find_plugins(config.get("plugins", []), f"{directory / 'config.json'}: ")
        plan = CellPlan(directory.name, check(from_dict(config["experiment"])), axes, static)
        num_seeds, seed = int(config["num_seeds"]), int(config["seed"])
    except PluginError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{directory / 'config.json'}: is no configuration of this program ({error})") from error
    world = compose(plan.experiment).kind.read_world(directory / "world.json")
    return LoadedCell(directory.absolute().name, directory, plan, num_seeds, seed, world)
