"""The programme of simulated worlds as one part: its cells, and its figure and table."""

from collections.abc import Sequence
from pathlib import Path

from sbmrl.core.parts import Programme
from sbmrl.display.results import Run
from sbmrl.games.continuous.presets import ENV
from sbmrl.games.continuous.programme_cells import cells


def _write(run: Run, out: Path) -> Sequence[Path]:
    from sbmrl.games.continuous.programme_report import write  # here, so that a run does not wait for matplotlib

    return write(run, out)


CONTINUOUS_WORLDS = Programme(
    name="continuous",
    summary="practical PAL and MAL against real samples, their repairs, no model, and what PAL owes to each part",
    num_seeds=64,
    presets=("small",),
    cells=cells,
    write=_write,
    env=ENV,
)
