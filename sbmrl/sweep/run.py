"""A sweep, cell by cell and chunk by chunk: killed at any moment, it goes on from what is verified on disk."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from sbmrl.core.files import write_json
from sbmrl.core.parts import World
from sbmrl.errors import InputError, require
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import make_solver, world_of
from sbmrl.sweep import checkpoint, store
from sbmrl.sweep.execute import Cell, Compiled, Engine, Progress, Runs, Saved, all_runs, engine_for, part
from sbmrl.sweep.files import create_directory, locked, log_start, write_parquet
from sbmrl.sweep.memory import is_out_of_memory
from sbmrl.sweep.plan import CellPlan, Plan, difference, read_plan
from sbmrl.sweep.processes import any_of, is_first, on_first, tell
from sbmrl.sweep.shelf import shelf_of


class PreemptedError(Exception):
    """The run was asked to stop, and everything it had is saved."""


class Listener:
    """Is told how a plan goes; this one keeps silent. With several processes only the first one is told."""

    def begin(self, cell: CellPlan, directory: Path) -> None:
        """A cell begins."""

    def compiled(self, part: Compiled) -> None:
        """A part of the cell's program has been compiled."""

    def record(self, progress: Progress, share: float) -> None:
        """A record of a chunk is done, and with it this share of the chunk's records."""

    def chunk(self, num_done: int) -> None:
        """A chunk is on disk, from now or from an earlier run, and so many runs of the cell with it."""

    def end(self, cell: CellPlan, directory: Path) -> None:
        """All runs of a cell are on disk and put together."""

    def warn(self, line: str) -> None:
        """Something went wrong, and the run goes on nevertheless."""

    def should_stop(self) -> bool:
        """Whether to save and stop behind this record; asked in every process."""
        return False


def _check_is_of(plan: Plan, out: Path) -> None:
    """Let a directory pass that is that of an earlier run of the same plan.

    Raises:
        InputError: it holds something else, or another plan; then what differs.
    """
    path = out / "plan.json"
    require(path.is_file(), "resume", "needs the directory of an earlier run (--out)", f"no plan.json in {out}")
    try:
        changed = difference(read_plan(path), _fields(plan))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no plan of this program ({error})") from error
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(f"resume: the plan in {out} is another one: {'; '.join(changed[:3])}{more}")


def _fields(plan: Plan) -> dict[str, Any]:
    return json.loads(json.dumps(plan.to_dict()))


@contextlib.contextmanager
def opened(plan: Plan, out: Path, resume: bool) -> Iterator[None]:
    """The directory of a plan, held against other processes; at the end the results of all cells are put together.

    Raises:
        InputError: the directory is another plan's, holds files already, or another process is writing it.
    """
    with contextlib.ExitStack() as held:

        def begin() -> None:
            if resume:
                _check_is_of(plan, out)
            else:
                create_directory(out)
            held.enter_context(locked(out))
            if not resume:  # nothing is written before the lock is held, and another run may have ended since
                begun = (out / "plan.json").exists()
                require(not begun, "out", "must be a new or empty directory", f"{out}, where another run has begun")
                write_json(out / "plan.json", _fields(plan))
            log_start(out)

        on_first(begin)
        yield
        on_first(lambda: put_together(plan, out))


def run_plan(
    plan: Plan,
    out: str | Path,
    listener: Listener | None = None,
    *,
    resume: bool = False,
    checkpoint_seconds: float = 300.0,
) -> Path:
    """Run every cell of a plan and leave its files in `out`, a sub-directory a cell; returns the absolute path.

    With several processes (`sbmrl.sweep.processes`), each calls this, and `out` lies where all of them see it.

    Args:
        plan: what to run.
        out: a new or empty directory, or with `resume` the one of an earlier run of the same plan.
        listener: is told how it goes.
        resume: go on with what lies in `out`.
        checkpoint_seconds: between two checkpoints inside a chunk.

    Raises:
        PreemptedError: the listener asked for it.
        InputError: the directory is another plan's or another process', a world cannot be read, the disk is full, or
            a run alone does not fit the memory.
    """
    listener = listener or Listener()
    out = Path(out).absolute()
    worlds = [world_of(cell.experiment) for cell in plan.cells]
    for cell, world in zip(plan.cells, worlds, strict=True):
        make_solver(cell.experiment, world)  # what does not fit together is said before anything is written
    with opened(plan, out, resume):
        for cell, world in zip(plan.cells, worlds, strict=True):
            run_cell(cell, plan, out / cell.name, world, listener, checkpoint_seconds)
    return out


def put_together(plan: Plan, out: Path) -> None:
    """The results of all cells in one results.parquet."""
    if any(cell.name != "." for cell in plan.cells):
        frames = [pl.scan_parquet(out / cell.name / "results.parquet") for cell in plan.cells]
        write_parquet(out / "results.parquet", pl.concat(frames, how="diagonal_relaxed"), {})


def run_cell(
    cell: CellPlan,
    plan: Plan,
    directory: Path,
    world: World,
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

    def begin() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        store.save_config(directory, cell, plan, world)
        listener.begin(cell, directory)

    def end() -> None:
        store.finish_cell(directory)
        listener.end(cell, directory)

    on_first(begin)
    compiling = _Compiling(listener)

    def make_engine(width: int) -> Engine:
        shelf = shelf_of(cell.experiment, world, width, tuple(runs.hyper))
        return Engine(cell.experiment, make_program(cell.experiment, world), width, plan.seed, compiling.add, shelf)

    runs = all_runs(plan.num_seeds, cell.points())
    start, engine = 0, None
    width = plan.chunk_size or tell(store.read_width(directory) if is_first() else 0)
    while start < len(runs):
        done = tell(store.chunk_size(directory, start, listener.warn) if is_first() else 0)
        if done:
            start += done
            on_first(lambda done=start: listener.chunk(done))
            continue
        if engine is None:
            width, engine = _first_engine(width, runs, cell, make_engine, listener)
            on_first(lambda width=width: store.write_width(directory, width))
        behind = tell(store.next_chunk(directory, start, len(runs)) if is_first() else 0)
        chunk = _Chunk(start, part(runs, start, min(width, behind - start)), directory, checkpoint_seconds)
        try:
            seconds, finished = chunk.run(engine, listener, compiling)
            store.save_chunk(directory, start, finished, chunk.runs, cell, world, seconds)
        except Exception as error:
            if not is_out_of_memory(error) or isinstance(error, InputError):
                raise
            if width == 1:
                raise InputError(f"chunk_size: one run alone does not fit the memory ({error})") from error
            width, engine = width // 2, None
            _warn(listener, f"{cell.name}: out of memory, going on with {width:,} runs side by side")
        on_first(chunk.forget)
    on_first(end)


def _first_engine(
    width: int, runs: Runs, cell: CellPlan, make_engine: Callable[[int], Engine], listener: Listener
) -> tuple[int, Engine]:
    """`width` runs side by side, or if 0 as many as the memory allows and as pay, and their engine."""
    if width:
        return width, make_engine(width)
    (fit, pay), engine = engine_for(runs, make_engine)
    if fit < pay:
        _warn(listener, f"{cell.name}: {fit:,} of {len(runs):,} runs side by side, as the memory allows")
    return min(fit, pay), engine


def _warn(listener: Listener, line: str) -> None:
    if is_first():
        listener.warn(line)


class _Compiling:
    """Seconds of compilation that no chunk has accounted for yet."""

    def __init__(self, listener: Listener) -> None:
        self.seconds, self.listener = 0.0, listener

    def add(self, part: Compiled) -> None:
        self.seconds += part.seconds
        if is_first():
            self.listener.compiled(part)


class _Chunk(NamedTuple):
    """A chunk that is to be run, from its start or from its newest good checkpoint."""

    start: int
    runs: Runs
    directory: Path
    checkpoint_seconds: float

    @property
    def checkpoints(self) -> Path:
        return store.checkpoint_directory(self.directory, self.start)

    def forget(self) -> None:
        """Its checkpoints are needed no more."""
        store.remove(self.checkpoints)

    def run(self, engine: Engine, listener: Listener, compiling: _Compiling) -> tuple[dict[str, float], Cell]:
        """The seconds it took and what came out; saves and stops where the listener asks for it."""
        saved = self._restore(engine, listener)
        last = began = time.monotonic()
        before = compiling.seconds

        def after_record(now: Saved) -> None:
            nonlocal last
            if is_first():
                listener.record(now.curves[-1], now.num_done / engine.num_records)
            stop = any_of(listener.should_stop())
            if stop or tell(int(time.monotonic() - last > self.checkpoint_seconds)):
                checkpoint.save(self.checkpoints, now.num_done, now.state, store.curves_file(now.curves))
                last = time.monotonic()
            if stop:
                raise PreemptedError

        finished = engine.run(self.runs, saved, after_record)
        running = time.monotonic() - began - (compiling.seconds - before)
        seconds = {"compile": compiling.seconds, "run": running}
        compiling.seconds = 0.0
        return seconds, finished

    def _restore(self, engine: Engine, listener: Listener) -> Saved | None:
        found = checkpoint.newest(self.checkpoints, listener.warn) if is_first() else None
        step = tell(-1 if found is None else checkpoint.step_of(found))
        if step < 0:
            return None
        path = checkpoint.path_of(self.checkpoints, step)
        state = checkpoint.read_state(path / "state", engine.abstract_state())
        return Saved(step, state, store.read_curves(path))
