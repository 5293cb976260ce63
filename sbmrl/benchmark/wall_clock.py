"""Wall-clock of a formulation for a number of seeds: trace, compile and run apart.

Every record of a stage is the same compiled program, so a run takes its start, its end, and for every stage a median
record times the number of records: only a few records are run. Compile times mean something only without the
persistent compilation cache.
"""

import itertools
import resource
import statistics
import sys
import time
from typing import NamedTuple

from sbmrl.config import Experiment
from sbmrl.program import make_program
from sbmrl.sweep.execute import Compiled, Engine, Saved, all_runs


class WallClock(NamedTuple):
    """One measurement.

    Attributes:
        num_seeds: side by side.
        trace: seconds of tracing, all parts together.
        compile: seconds of compiling, all parts together.
        run: seconds of a whole run of all seeds.
        records: stage -> median seconds of one record.
        steps: environment steps of one seed, all stages; of learners of exact payoffs, payoffs computed.
        needed_bytes: what the compiled programs say they need on the devices of this process.
        resident_bytes: the most that this process has held so far, earlier measurements included.
    """

    num_seeds: int
    trace: float
    compile: float
    run: float
    records: dict[str, float]
    steps: int
    needed_bytes: int
    resident_bytes: int

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
    """Measure an experiment; of every stage `num_repeats` records are timed, after one that is not.

    Raises:
        InputError: the experiment cannot run.
    """
    parts: list[Compiled] = []
    program = make_program(experiment)
    shown = min(num_repeats + 1, experiment.num_records)
    short = program._replace(stages=tuple(stage._replace(num_records=shown) for stage in program.stages))
    engine = Engine(experiment, short, num_seeds, compiled=parts.append)
    runs = all_runs(num_seeds)
    needed = engine.bytes_needed(runs)
    engine.run(runs)  # so that everything is compiled and all memory has been touched
    stamps: dict[str, list[float]] = {}

    def after_record(saved: Saved) -> None:
        stamps.setdefault(saved.curves[-1].stage, []).append(time.perf_counter())

    began = time.perf_counter()
    engine.run(runs, after_record=after_record)
    whole = time.perf_counter() - began
    records = {name: statistics.median(b - a for a, b in itertools.pairwise(times)) for name, times in stamps.items()}
    timed = sum(times[-1] - times[0] for times in stamps.values())
    ends = max(whole - timed - sum(records.values()), 0.0)  # the start and the end, without each stage's first record
    return WallClock(
        num_seeds,
        trace=sum(part.trace for part in parts),
        compile=sum(part.compile for part in parts),
        run=ends + sum(stage.num_records * records[stage.name] for stage in program.stages),
        records=records,
        steps=sum(stage.num_records * stage.steps_per_record for stage in program.stages),
        needed_bytes=needed,
        resident_bytes=_most_resident(),
    )


def _most_resident() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
