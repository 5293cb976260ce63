"""The programme of "Oracles & Followers" as one part: its cells, and its figure and tables."""

from collections.abc import Sequence
from pathlib import Path

from sbmrl.core.parts import Programme
from sbmrl.display.results import Run
from sbmrl.games.matrix.programme_cells import cells


def _write(run: Run, out: Path) -> Sequence[Path]:
    from sbmrl.games.matrix.programme_report import write  # here, so that a run does not wait for matplotlib

    return write(run, out)


ORACLES_FOLLOWERS = Programme(
    name="oracles-followers",
    summary="the twelve games of Oracles & Followers, two followers, and every condition given up",
    num_seeds=32,
    presets=("oracles_followers", "fast"),
    cells=cells,
    write=_write,
)
