"""The sides of a comparison: processes that measure when they are told to, and what their answers come to."""

import contextlib
import json
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peer_serve import Answer

from sbmrl.errors import InputError

_LIMIT = 1800.0  # seconds for one answer; a process that takes longer hangs


class Worker:
    """A process that runs `peer_serve.serve`.

    Attributes:
        name: for messages.
        ready: its first answer.
    """

    def __init__(
        self, name: str, command: Sequence[str], settings: Answer, variables: Mapping[str, str], limit: float = _LIMIT
    ) -> None:
        """Start it and wait until it is ready; `settings` become its first argument."""
        self.name = name
        self._limit = limit
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=dict(variables),
        )
        try:
            self.ready = self.answer()
        except BaseException:
            self.close()
            raise

    def ask(self, request: str) -> None:
        """Send a request."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # a process that has ended is noticed when it does not answer
            print(request, file=self._process.stdin, flush=True)

    def answer(self) -> Answer:
        """Wait for the answer.

        Raises:
            InputError: the process ended or hangs; with the last line of its errors.
        """
        assert self._process.stdout
        alarm = threading.Timer(self._limit, self._process.kill)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        if line:
            return json.loads(line)
        if self._process.wait() == -9:
            raise InputError(f"{self.name}: gave no answer in {self._limit:g} s, or was killed")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        raise InputError(f"{self.name}: ended without an answer: {lines[-1] if lines else 'no message'}")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Side(NamedTuple):
    """One side of a comparison: a name and the processes that work for it at the same time."""

    name: str
    workers: Sequence[Worker]

    def ask(self, request: str) -> list[Answer]:
        """The answers of all processes to the same request."""
        for worker in self.workers:
            worker.ask(request)
        return [worker.answer() for worker in self.workers]


def steps_per_second(answers: Sequence[Answer]) -> float:
    """Environment steps per second of all processes together."""
    return sum(answer["steps"] / answer["seconds"] for answer in answers)


def alternate(sides: Sequence[Side], num_repeats: int, told: Callable[[str], None]) -> dict[str, list[float]]:
    """Steps per second of every repeat: each side in turn, again and again, so that one computes at a time."""
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for repeat in range(num_repeats):
        for side in sides:
            speeds[side.name].append(steps_per_second(side.ask("time")))
            told(f"{side.name}, repeat {repeat + 1} of {num_repeats}: {speeds[side.name][-1]:,.0f} steps/s")
    return speeds


def compare_speeds(speeds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The ratio of medians of the first side and the fastest of the others, and its range over the repeats."""
    own, *others = speeds
    fastest = max(others, key=lambda name: statistics.median(speeds[name]))
    each = [ours / theirs for ours, theirs in zip(speeds[own], speeds[fastest], strict=True)]
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return {
        "ratio": medians[own] / medians[fastest],
        "ratio_against": fastest,
        "ratio_range": [min(each), max(each)],
        "ratio_of_each_repeat": each,
        "steps_per_second_median": medians,
        "steps_per_second": {name: list(values) for name, values in speeds.items()},
    }


def join_curves(answers: Sequence[Answer]) -> dict[str, Any]:
    """The learning curves of all processes' seeds: mean and sample standard deviation of every point, final values."""
    curves = {}
    for name in answers[0]["metrics"]:
        by_process = [answer["metrics"][name] for answer in answers]
        points = [[value for values in point for value in values] for point in zip(*by_process, strict=True)]
        curves[name] = {
            "mean": [statistics.fmean(values) for values in points],
            "standard_deviation": [statistics.stdev(values) if len(values) > 1 else None for values in points],
            "final": points[-1],
        }
    return {"num_seeds": len(next(iter(curves.values()))["final"]), "steps": answers[0]["steps"], "curves": curves}


def start_side(
    stack: contextlib.ExitStack,
    name: str,
    command: tuple[Path, Path],
    settings: Sequence[Answer],
    variables: Mapping[str, str],
) -> Side:
    """A side with one process for each of `settings`, which end with the stack.

    Args:
        stack: what ends them.
        name: of the side.
        command: Python and script.
        settings: of each process.
        variables: the environment variables.
    """
    workers = []
    for own in settings:
        workers.append(Worker(name, [str(part) for part in command], own, variables))
        stack.callback(workers[-1].close)
    return Side(name, workers)
