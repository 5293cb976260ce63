"""`sbmrl bench`."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
from rich.table import Table

from sbmrl.benchmark.ceilings import measure_ceilings
from sbmrl.benchmark.phases import measure_phases
from sbmrl.benchmark.sides import STAGES
from sbmrl.benchmark.table import (
    COLUMNS,
    PHASE_COLUMNS,
    caption,
    draw,
    line_of,
    phase_caption,
    phase_line,
    phase_texts,
    texts,
    to_markdown,
)
from sbmrl.benchmark.wall_clock import measure_wall_clock
from sbmrl.commands.common import console, default_directory
from sbmrl.commands.options import Bench
from sbmrl.core.files import write_bytes, write_json, write_text
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.sweep import execute
from sbmrl.sweep.files import create_directory, describe_machine

SHORT = ("pal", "mal")  # each side leads once; all of the poster's compile for minutes


def bench(config: Bench) -> None:
    """Time every formulation and scheme for every number of seeds, and the phases of an update, against the ceilings.

    Leaves bench.json, bench.md and a figure.

    Raises:
        InputError: an unknown name, a count below 1, or a directory that holds files.
    """
    names = config.formulations or SHORT
    cells = [(name, scheme, check(preset(config.preset, name, scheme))) for name in names for scheme in config.schemes]
    out = create_directory(config.out or default_directory("bench"))
    execute.prepare_devices()
    jax.config.update("jax_enable_compilation_cache", False)  # so that compile times are those of a first start
    began = time.perf_counter()
    ceilings = measure_ceilings()
    summary: dict[str, Any] = {
        "preset": config.preset,
        "env": cells[0][2].env,
        "num_repeats": config.num_repeats,
        "ceilings": ceilings._asdict(),
        "machine": describe_machine(),
        "lines": [],
        "phases": [],
    }
    for side in STAGES if config.phase_seeds else ():
        for phase in measure_phases(preset("poster", "mal"), side, config.phase_seeds):
            summary["phases"].append(phase_line(phase, ceilings))
        print(f"bench: phases of the {side}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    for name, scheme, experiment in cells:
        for num_seeds in config.num_seeds:
            measured = measure_wall_clock(experiment, num_seeds, config.num_repeats)
            summary["lines"].append(line_of(name, scheme, measured))
            told = f"{1e3 * measured.seconds_per_seed:.3g} ms a seed, {time.perf_counter() - began:.0f} s"
            print(f"bench: {name}, {scheme}, {num_seeds:,} seeds: {told}", file=sys.stderr, flush=True)
            jax.clear_caches()  # the same program for another number of seeds is traced anew
    summary["seconds"] = time.perf_counter() - began
    write_json(out / "bench.json", summary)
    write_text(out / "bench.md", to_markdown(summary))
    drawing = draw(summary["lines"])
    write_bytes(out / "bench.svg", drawing.svg)
    write_bytes(out / "bench.png", drawing.png)
    _show(COLUMNS, [texts(line) for line in summary["lines"]], caption(summary))
    if summary["phases"]:
        _show(PHASE_COLUMNS, [phase_texts(line) for line in summary["phases"]], phase_caption(summary))
    print(f"files: {out}")


def _show(columns: Sequence[str], lines: Sequence[Sequence[str]], caption: str) -> None:
    """A table, its first two columns texts and the others numbers, and what to know to read it."""
    table = Table(show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console().print(table)
    console().print(caption)
