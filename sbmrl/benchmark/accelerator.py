"""One command for a new accelerator: does it compute what a CPU computes, how fast is it, and what holds it up?

Step by step, the most wanted first; what is known is written behind every step, so that a run that is stopped or that
the time runs out for leaves all it has finished.
"""

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from sbmrl.benchmark import agreement
from sbmrl.benchmark.ceilings import Ceilings, measure_ceilings
from sbmrl.benchmark.counts import Work, together
from sbmrl.benchmark.phases import measure_phases
from sbmrl.benchmark.sides import STAGES, SideName, has_phases, make_side
from sbmrl.benchmark.table import line_of, phase_line
from sbmrl.benchmark.wall_clock import WallClock, measure_wall_clock
from sbmrl.core.experiment import Experiment
from sbmrl.core.files import write_json
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import world_of
from sbmrl.sweep.files import describe_machine
from sbmrl.sweep.load import load
from sbmrl.sweep.memory import free_bytes, room
from sbmrl.sweep.plan import Plan
from sbmrl.sweep.processes import stop_on_sigterm

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is measured.

    Attributes:
        correctness: what is trained here and on CPU, and compared; None leaves that out.
        timed: name -> experiment of the contextual scheme.
        num_seeds: for each of which all of `timed` are timed.
        most: whether to time as many seeds as fit, too.
        num_repeats: records of each stage behind a median.
        phase_seeds: side by side behind the phases of an update; 0 leaves them out.
        limit: seconds behind which no step is begun.
    """

    correctness: Plan | None
    timed: Mapping[str, Experiment]
    num_seeds: Sequence[int]
    most: bool
    num_repeats: int
    phase_seeds: int
    limit: float


class _Bench:
    """A measurement under way; `summary` is what is known so far, and `path` has it behind every step."""

    def __init__(self, task: Task, out: Path, tell: Tell) -> None:
        self.task, self.out, self.tell = task, out, tell
        self.began = time.perf_counter()
        self.should_stop: Callable[[], bool] = lambda: False
        machine = describe_machine()
        self.path = out / f"accelerator_{_file_name(machine['devices'][0])}.json"
        self.summary: dict[str, Any] = {
            "machine": machine,
            "num_cores": os.cpu_count(),
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "limit": task.limit,
            "clock": [],
            "left_out": [],
            "lines": [],
            "phases": [],
        }

    def clock(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def step(self, name: str, work: Callable[[], Any]) -> None:
        """Do one step unless the time is up; an error is written down, and the other steps are done."""
        began = self.clock()
        if self.should_stop() or began > self.task.limit:
            self.summary["left_out"].append(name)
        else:
            error = None
            try:
                work()
            except Exception as reason:  # on a new device anything may fail, and the rest is still worth having
                error = f"{type(reason).__name__}: {str(reason).strip()[:2000]}"
            seconds = self.clock() - began
            self.summary["clock"].append({"step": name, "began": began, "seconds": seconds, "error": error})
            self.tell(f"{name}: {seconds:.0f} s" + (f", {error}" if error else ""))
        self.summary["seconds"] = self.clock()
        write_json(self.path, self.summary)


def measure_accelerator(task: Task, out: Path, tell: Tell) -> Path:
    """Measure this process' devices; returns the file that was written, which is named by the device.

    SIGTERM and the limit end it behind the step in progress.
    """
    bench = _Bench(task, out, tell)
    with stop_on_sigterm() as should_stop:
        bench.should_stop = should_stop
        bench.step("ceilings", lambda: bench.summary.update(ceilings=measure_ceilings()._asdict()))
        if task.correctness is not None:
            _correctness(bench, task.correctness)
        for num_seeds, name in itertools.product(task.num_seeds, task.timed):
            bench.step(f"{name}, {num_seeds} seeds", lambda n=name, c=num_seeds: _time(bench, n, c))
        for side in STAGES if task.phase_seeds else ():
            experiment = _with_phases(task.timed.values(), side)
            if experiment is not None:
                bench.step(f"phases of the {side}", lambda side=side, one=experiment: _phases(bench, one, side))
        for name in task.timed if task.most else ():
            bench.step(
                f"{name}, as many seeds as fit",
                lambda n=name: _time(bench, n, _as_many_as_fit(bench.summary["lines"], n)),
            )
    return bench.path


def _correctness(bench: _Bench, plan: Plan) -> None:
    """Two steps: both trainings side by side, then how they agree."""
    with _trained_on_cpu(plan, bench.out / "cpu") as reference:
        bench.step("training", lambda: agreement.run_here(plan, bench.out / "here"))
        bench.step("comparison", lambda: bench.summary.update(correctness=_compare(reference, bench.out)))


@contextmanager
def _trained_on_cpu(plan: Plan, out: Path) -> Iterator[Callable[[], Path]]:
    """Train a plan on this machine's cores in a process of its own; yields what waits for it and says where it lies."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "sbmrl.benchmark.agreement", str(out)]
    log = out.with_suffix(".log")
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, env=environment)

        def wait() -> Path:
            if process.wait() != 0:
                raise RuntimeError(f"the training on CPU failed: {log.read_text(encoding='utf-8')[-2000:]}")
            return out

        try:
            assert process.stdin is not None
            with process.stdin as pipe:
                pipe.write(json.dumps(plan.to_dict()).encode())
            yield wait
        finally:
            process.terminate()
            process.wait()


def _compare(reference: Callable[[], Path], out: Path) -> dict[str, Any]:
    """All comparisons as plain data, and whether they hold."""
    cpu, here = load(reference()), load(out / "here")
    values, seeds = agreement.compare_values(cpu), agreement.compare_seeds(cpu, here)
    samples = agreement.compare_samples(cpu, here)
    return {
        "tolerance": agreement.TOLERANCE,
        "level": agreement.LEVEL,
        "values_agree": all(row.largest <= agreement.TOLERANCE for row in values),
        "exact_trainings_agree": all(row.largest <= agreement.TOLERANCE for row in seeds),
        "samples_agree": agreement.alike(samples),
        "values": [row._asdict() for row in values],
        "exact_trainings": [row._asdict() for row in seeds],
        "samples": [row._asdict() for row in samples],
    }


def _time(bench: _Bench, name: str, num_seeds: int) -> None:
    """One line: the seconds, the shares of the ceilings, the seconds for a thousand steps, the memory."""
    experiment = bench.task.timed[name]
    measured = measure_wall_clock(experiment, num_seeds, bench.task.num_repeats)
    bench.summary["lines"].append(
        line_of(experiment.formulation, "contextual", measured)
        | {"name": name, "peak_bytes": _peak_bytes()}
        | _shares(measured, _work(experiment), Ceilings(**bench.summary["ceilings"]))
    )
    jax.clear_caches()


def _as_many_as_fit(lines: Sequence[Mapping[str, Any]], name: str) -> int:
    """The largest power of two of seeds that fits side by side, by what the last line of this name needed."""
    last = max((line for line in lines if line["name"] == name), key=lambda line: line["side_by_side"])
    return room(2**30, last["needed_bytes"] / last["side_by_side"], free_bytes()).fit


def _work(experiment: Experiment) -> dict[str, Work]:
    """Stage -> of a record of one run, all updates by formula; only of a side that learns from rollouts in phases."""
    world = world_of(experiment)
    found = {}
    for name, stage in STAGES.items():
        if has_phases(experiment, world, name):
            (program,) = (one for one in make_program(experiment, world).stages if one.name == stage)
            options = experiment.leader if name == "leader" else experiment.scheme.follower
            updates = program.steps_per_record // (options.num_environments * options.num_steps)
            one = together(make_side(experiment, world, name).work.values())
            found[stage] = Work(*(updates * number for number in one))
    return found


def _shares(measured: WallClock, work: Mapping[str, Work], ceilings: Ceilings) -> dict[str, Any]:
    """Of each stage: its updates as shares of the ceilings, and the seconds of a thousand steps and of a launch."""
    each = {stage: seconds / measured.side_by_side for stage, seconds in measured.records.items()}
    return {
        "share_of_arithmetic": {name: one.operations / each[name] / ceilings.operations for name, one in work.items()},
        "share_of_copy": {name: one.bytes / each[name] / ceilings.bytes for name, one in work.items()},
        "seconds_per_1000_steps": {
            stage: 1000.0 * seconds / measured.sequential[stage].steps for stage, seconds in measured.records.items()
        },
        "seconds_per_launch": {
            stage: seconds / measured.launches[stage].kernels for stage, seconds in measured.records.items()
        },
    }


def _with_phases(experiments: Iterable[Experiment], side: SideName) -> Experiment | None:
    """The first experiment whose side learns from rollouts."""
    return next((one for one in experiments if has_phases(one, world_of(one), side)), None)


def _phases(bench: _Bench, experiment: Experiment, side: SideName) -> None:
    ceilings = Ceilings(**bench.summary["ceilings"])
    for phase in measure_phases(experiment, side, bench.task.phase_seeds, bench.task.num_repeats):
        bench.summary["phases"].append(phase_line(phase, ceilings))
    jax.clear_caches()


def _peak_bytes() -> int | None:
    """The most that arrays have held on the first device so far; None where the device does not tell."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _file_name(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", device.lower()).strip("_")


def told_of(summary: Mapping[str, Any]) -> str:
    """What the file says besides its lines, in a few sentences."""
    found, machine = summary.get("correctness"), summary["machine"]
    said = [f"On {len(machine['devices'])} × {machine['devices'][0]}, {summary['seconds']:.0f} s in all."]
    if found is None:
        said.append("It was not compared with a CPU.")
    else:
        names = {
            "values_agree": "exact values of given profiles",
            "exact_trainings_agree": "exact trainings seed by seed",
            "samples_agree": "distributions over seeds",
        }
        for agrees in (True, False):
            some = [text for name, text in names.items() if found[name] == agrees]
            if some:
                said.append(f"{'As' if agrees else 'NOT as'} on CPU: {', '.join(some)}.")
    failed = [step["step"] for step in summary["clock"] if step["error"]]
    for what, steps in (("Failed", failed), ("Left out, as the time was up", summary["left_out"])):
        if steps:
            said.append(f"{what}: {'; '.join(steps)}.")
    return " ".join(said)
