"""The programme of linear-quadratic worlds as one part: its cells, and its figure and table."""

from collections.abc import Sequence
from pathlib import Path

from sbmrl.core.parts import Programme
from sbmrl.display.results import Run
from sbmrl.games.linear_quadratic.presets import ENV
from sbmrl.games.linear_quadratic.programme_cells import cells


def _write(run: Run, out: Path) -> Sequence[Path]:
    from sbmrl.games.linear_quadratic.programme_report import write  # here, so that a run does not wait for matplotlib

    return write(run, out)


LQR = Programme(
    name="lqr",
    summary="who fools himself in a linear-quadratic world, from where, seeing what, and what repairs it",
    num_seeds=1024,
    presets=("lqr", "fast"),
    cells=cells,
    write=_write,
    env=ENV,
)
