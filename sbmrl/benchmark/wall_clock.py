"""Wall-clock of a formulation for a number of seeds: trace, compile and run apart.

Every record of a stage is the same compiled program, and so is every chunk of the seeds: only a few records of one
chunk are run, and the others take a median record each. Compile times mean something only without the persistent
compilation cache.
"""

import itertools
import resource
import statistics
import sys
import time
from typing import NamedTuple

from sbmrl.benchmark.sequential import Launches, Sequential, count_launches, count_steps
from sbmrl.core.experiment import Experiment, compose
from sbmrl.experiment.program import make_program
from sbmrl.sweep.execute import Compiled, Engine, Runs, Saved, all_runs, engine_for, part


class WallClock(NamedTuple):
    """One measurement.

    Attributes:
        num_seeds: trained.
        side_by_side: at a time, as many as a sweep would choose, in whole groups on every device.
        entire: whether all records of all chunks were run.
        trace: seconds of tracing, all parts together.
        compile: seconds of compiling, all parts together.
        run: seconds of a whole run of all seeds.
        records: stage -> median seconds of one record.
        steps: environment steps of one seed, all stages; of learners of exact payoffs, payoffs computed.
        needed_bytes: what the compiled programs say they need on the devices of this process.
        resident_bytes: the most that this process has held so far, earlier measurements included.
        sequential: stage -> what a record does one after the other.
        launches: stage -> what a record launches on a device.
    """

    num_seeds: int
    side_by_side: int
    entire: bool
    trace: float
    compile: float
    run: float
    records: dict[str, float]
    steps: int
    needed_bytes: int
    resident_bytes: int
    sequential: dict[str, Sequential]
    launches: dict[str, Launches]

    @property
    def seconds_per_seed(self) -> float:
        """Of running."""
        return self.run / self.num_seeds

    @property
    def seeds_per_hour(self) -> float:
        """Of running."""
        return 3600.0 / self.seconds_per_seed

    @property
    def steps_per_second(self) -> float:
        """Of all seeds together."""
        return self.steps / self.seconds_per_seed


def measure_wall_clock(experiment: Experiment, num_seeds: int, num_repeats: int = 3) -> WallClock:
    """Measure an experiment, as many seeds side by side as in a sweep; all chunks take as long as the first.

    Of every stage `num_repeats` records are timed, after one that is not. Of a scheme whose runs are short all
    records of all chunks are run.

    Raises:
        InputError: the experiment cannot run.
    """
    program = make_program(experiment)
    entire = compose(experiment).scheme.cheap
    shown = experiment.num_records if entire else min(num_repeats + 1, experiment.num_records)
    short = program._replace(stages=tuple(stage._replace(num_records=shown) for stage in program.stages))
    parts: list[Compiled] = []

    def make_engine(width: int) -> Engine:
        parts.clear()
        return Engine(experiment, short, width, compiled=parts.append)

    runs = all_runs(num_seeds)
    _, engine = engine_for(runs, make_engine)
    chunks = [part(runs, start, engine.width) for start in range(0, num_seeds, engine.width)]
    if entire:  # so that everything is compiled and all memory has been touched
        engine.run(chunks[0])
    compiled = sum(one.seconds for one in parts)
    timed = [_time(engine, chunk) for chunk in (chunks if entire else chunks[:1])]
    records = {name: statistics.median(chunk.records[name] for chunk in timed) for name in timed[0].records}
    if entire:
        run = sum(chunk.seconds for chunk in timed)
    else:
        ends = max(timed[0].ends - (sum(one.seconds for one in parts) - compiled), 0.0)
        run = len(chunks) * (ends + sum(stage.num_records * records[stage.name] for stage in program.stages))
    return WallClock(
        num_seeds,
        side_by_side=engine.width,
        entire=entire,
        trace=sum(one.trace for one in parts),
        compile=sum(one.compile for one in parts),
        run=run,
        records=records,
        steps=sum(stage.num_records * stage.steps_per_record for stage in program.stages),
        needed_bytes=engine.bytes_needed(chunks[0]),
        resident_bytes=_most_resident(),
        sequential={one.name: count_steps(one.jaxpr.jaxpr) for one in parts if one.name in records},
        launches={one.name: count_launches(one.program) for one in parts if one.name in records},
    )


class _Chunk(NamedTuple):
    """Seconds of a chunk: of all of it, of its start and its end, of a median record of every stage."""

    seconds: float
    ends: float
    records: dict[str, float]


def _time(engine: Engine, runs: Runs) -> _Chunk:
    stamps: dict[str, list[float]] = {}

    def after_record(saved: Saved) -> None:
        stamps.setdefault(saved.curves[-1].stage, []).append(time.perf_counter())

    began = time.perf_counter()
    engine.run(runs, after_record=after_record)
    seconds = time.perf_counter() - began
    records = {name: statistics.median(b - a for a, b in itertools.pairwise(times)) for name, times in stamps.items()}
    timed = sum(times[-1] - times[0] for times in stamps.values())
    return _Chunk(seconds, seconds - timed - sum(records.values()), records)  # each stage's first record is not timed


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
