"""`sbmrl bench`."""

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from sbmrl.benchmark import worlds
from sbmrl.benchmark.accelerator import Task, measure_accelerator, told_of
from sbmrl.benchmark.agreement import correctness_plan
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
from sbmrl.commands.common import console, output_directory
from sbmrl.commands.options import Bench
from sbmrl.core.files import write_bytes, write_json, write_text
from sbmrl.display.plotting import Drawing
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.sweep import execute
from sbmrl.sweep.files import create_directory, describe_machine

SHORT = ("pal", "mal")  # each side leads once; all of the poster's compile for minutes
_COMPARED_SEEDS = 256


def bench(config: Bench) -> None:
    """Time every formulation and scheme for every number of seeds, and the phases of an update, against the ceilings.

    Leaves bench.json, bench.md and a figure; for an accelerator one file named by the device.

    Raises:
        InputError: an unknown name, a count below 1, or a directory that holds files.
    """
    what = _bench_accelerator if config.accelerator else _bench_worlds if config.worlds else _bench
    with output_directory(config.out, "bench") as out:
        what(config, config.formulations or SHORT, out)


def _prepare(out: Path) -> Path:
    """The directory for the files and the devices; no cache, so that compile times are those of a first start."""
    out = create_directory(out)
    execute.prepare_devices()
    jax.config.update("jax_enable_compilation_cache", False)
    return out


def _bench_accelerator(config: Bench, names: Sequence[str], out: Path) -> None:
    name = config.preset or "poster"
    timed = {f"{name} {one}": check(preset(name, one, "contextual")) for one in names}
    task = Task(
        correctness_plan(_COMPARED_SEEDS) if config.compare else None,
        timed,
        config.num_seeds or (1024, 4096, 256),
        most=not config.num_seeds,
        num_repeats=config.num_repeats,
        phase_seeds=config.phase_seeds,
        limit=config.limit,
    )
    tell = partial(print, "bench:", file=sys.stderr, flush=True)
    path = measure_accelerator(task, _prepare(out), tell)
    summary = json.loads(path.read_text(encoding="utf-8"))
    _show(COLUMNS, [texts(line) for line in summary["lines"]], told_of(summary))
    print(f"files: {path}")


def _bench_worlds(config: Bench, names: Sequence[str], out: Path) -> None:
    for name in names:
        check(preset("fast", name, "exact"))
    out = _prepare(out)
    ceilings = measure_ceilings()
    summary: dict[str, Any] = {"ceilings": ceilings._asdict(), "machine": describe_machine(), "lines": []}
    for num_states, name in itertools.product(config.worlds, names):
        measured = worlds.measure_update(name, num_states, config.num_repeats)
        summary["lines"].append(worlds.line_of(measured, ceilings))
        told = f"{num_states:,} states, {1e3 * measured.seconds:.3g} ms an update"
        print(f"bench: {name}, {told}", file=sys.stderr, flush=True)
    _write(out, summary, worlds.to_markdown(summary), worlds.draw(summary["lines"]))
    _show(worlds.COLUMNS, [worlds.texts(line) for line in summary["lines"]], worlds.caption(summary))
    print(f"files: {out}")


def _write(out: Path, summary: Mapping[str, Any], table: str, drawing: Drawing) -> None:
    write_json(out / "bench.json", summary)
    write_text(out / "bench.md", table)
    write_bytes(out / "bench.svg", drawing.svg)
    write_bytes(out / "bench.png", drawing.png)


def _bench(config: Bench, names: Sequence[str], out: Path) -> None:
    chosen = config.preset or "fast"
    cells = [(name, scheme, check(preset(chosen, name, scheme))) for name in names for scheme in config.schemes]
    out = _prepare(out)
    began = time.perf_counter()
    ceilings = measure_ceilings()
    summary: dict[str, Any] = {
        "preset": chosen,
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
        for num_seeds in config.num_seeds or (1, 128):
            measured = measure_wall_clock(experiment, num_seeds, config.num_repeats)
            summary["lines"].append(line_of(name, scheme, measured))
            told = f"{1e3 * measured.seconds_per_seed:.3g} ms a seed, {time.perf_counter() - began:.0f} s"
            print(f"bench: {name}, {scheme}, {num_seeds:,} seeds: {told}", file=sys.stderr, flush=True)
            jax.clear_caches()  # the same program for another number of seeds is traced anew
    summary["seconds"] = time.perf_counter() - began
    _write(out, summary, to_markdown(summary), draw(summary["lines"]))
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
