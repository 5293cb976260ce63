"""A sweep, cell by cell and chunk by chunk: killed at any moment, it goes on from what is verified on disk."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sbmrl.environments.tabular import TabularMDP
from sbmrl.errors import InputError
from sbmrl.program import make_program
from sbmrl.sweep import checkpoint, store
from sbmrl.sweep.execute import Engine, Progress, Runs, Saved, all_runs, part
from sbmrl.sweep.memory import fitting_width, free_bytes, is_out_of_memory
from sbmrl.sweep.plan import CellPlan, Plan


class PreemptedError(Exception):
    """The run was asked to stop, and everything it had is saved."""


class Listener(NamedTuple):
    """Who is told how a cell goes.

    Attributes:
        record: (progress, runs done in earlier chunks) after each record.
        warn: one line about something that went on nevertheless.
        should_stop: whether to save and stop after this record.
    """

    record: Callable[[Progress, int], None] = lambda progress, done: None
    warn: Callable[[str], None] = lambda line: None
    should_stop: Callable[[], bool] = lambda: False


def run_cell(
    cell: CellPlan,
    plan: Plan,
    directory: Path,
    mdp: TabularMDP,
    listener: Listener,
    checkpoint_seconds: float = 300.0,
) -> None:
    """Run what is missing of a cell, then put its chunks together.

    A chunk is `chunks/<first run>/`; it appears under its name only when it is complete, and counts only if its
    checksums hold. Inside a chunk the state is checkpointed every `checkpoint_seconds`. Memory that does not suffice
    halves the chunks that are still to come.

    Raises:
        PreemptedError: the listener asked for it.
        InputError: the disk is full, or a run alone does not fit the memory.
    """
    runs = all_runs(plan.num_seeds, cell.points())
    start, width, engine = 0, plan.chunk_size or len(runs), None
    while start < len(runs):
        done = store.chunk_size(directory, start, listener.warn)
        if done:
            start += done
            continue
        if engine is None:
            engine = Engine(cell.experiment, make_program(cell.experiment, mdp), width, plan.seed)
            if plan.chunk_size is None:
                width, engine = _fit(engine, part(runs, 0, width), width, cell, mdp, plan, listener)
        own = part(runs, start, min(width, len(runs) - start))
        try:
            _run_chunk(engine, own, start, cell, directory, mdp, listener, checkpoint_seconds)
        except Exception as error:
            if not is_out_of_memory(error) or isinstance(error, InputError):
                raise
            if width == 1:
                raise InputError(f"chunk_size: one run alone does not fit the memory ({error})") from error
            width, engine = max(width // 2, 1), None
            listener.warn(f"{cell.name}: out of memory, going on with {width:,} runs side by side")
    store.finish_cell(directory)


def _fit(
    engine: Engine, runs: Runs, width: int, cell: CellPlan, mdp: TabularMDP, plan: Plan, listener: Listener
) -> tuple[int, Engine]:
    """A width that the memory allows, by the compiled program's own account, and its engine."""
    fitting = fitting_width(width, engine.bytes_needed(runs), free_bytes())
    if fitting == width:
        return width, engine
    listener.warn(f"{cell.name}: {fitting:,} of {width:,} runs side by side, as the memory allows")
    return fitting, Engine(cell.experiment, make_program(cell.experiment, mdp), fitting, plan.seed)


def _run_chunk(
    engine: Engine,
    runs: Runs,
    start: int,
    cell: CellPlan,
    directory: Path,
    mdp: TabularMDP,
    listener: Listener,
    checkpoint_seconds: float,
) -> None:
    where = directory / "checkpoints" / f"{start:08d}"
    saved = _restore(where, engine, runs, listener)
    last = began = time.monotonic()
    compiled_before = engine.compile_seconds

    def after_record(now: Saved) -> None:
        nonlocal last
        listener.record(now.curves[-1], start)
        stop = listener.should_stop()
        if stop or time.monotonic() - last > checkpoint_seconds:
            checkpoint.save(where, now.num_done, now.state, {store.CURVES: store.curves_bytes(now.curves)})
            last = time.monotonic()
        if stop:
            raise PreemptedError

    finished = engine.run(runs, saved, after_record)
    running = time.monotonic() - began - (engine.compile_seconds - compiled_before)
    seconds = {"compile": engine.compile_seconds, "run": running}
    engine.compile_seconds = 0.0  # told once, with the chunk that waited for it
    store.save_chunk(directory, start, finished, runs, cell, mdp, seconds)
    store.remove(where)


def _restore(where: Path, engine: Engine, runs: Runs, listener: Listener) -> Saved | None:
    found = checkpoint.restore(where, engine.abstract_state(), listener.warn)
    if found is None:
        return None
    path, step, state = found
    return Saved(step, state, store.read_curves(path, engine.program))
