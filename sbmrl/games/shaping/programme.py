"""The programme of hyper policy gradients as one part: its cells, and its figure and table."""

from collections.abc import Sequence
from pathlib import Path

from sbmrl.core.parts import Programme
from sbmrl.display.results import Run
from sbmrl.games.shaping.presets import ENV
from sbmrl.games.shaping.programme_cells import cells


def _write(run: Run, out: Path) -> Sequence[Path]:
    from sbmrl.games.shaping.programme_report import write  # here, so that a run does not wait for matplotlib

    return write(run, out)


HPGD = Programme(
    name="hpgd",
    summary="four rooms: penalties learned from real episodes, by the exact gradient and by zeroth order",
    num_seeds=10,
    presets=("hpgd", "fast"),
    cells=cells,
    write=_write,
    env=ENV,
)
