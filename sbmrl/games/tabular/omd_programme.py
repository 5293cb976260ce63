"""The tabular experiment of optimal model design as one part: its cells, and its figure and table."""

from collections.abc import Sequence
from pathlib import Path

from sbmrl.core.parts import Programme
from sbmrl.display.results import Run
from sbmrl.games.tabular.omd_cells import cells
from sbmrl.games.tabular.two_states import NAME


def _write(run: Run, out: Path) -> Sequence[Path]:
    from sbmrl.games.tabular.omd_report import write  # here, so that a run does not wait for matplotlib

    return write(run, out)


OMD = Programme(
    name="omd",
    summary="models of a bounded norm: the one that fits, and the one that serves control (Nikishin et al. 2022)",
    num_seeds=64,
    presets=("poster", "fast"),
    cells=cells,
    write=_write,
    env=NAME,
)
