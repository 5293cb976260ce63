"""Running many seeds and hyper-parameters side by side: one compiled program, sharded over the local devices.

A batch of runs goes through init, record after record, then finish. It can stop behind any record and go on from what
it had there, with the same keys and so the same numbers.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.config import Experiment, traced_fields
from sbmrl.devices import make_mesh, map_over_devices, over_devices
from sbmrl.program import Final, Hyper, Program, StageProgram, finish_key
from sbmrl.stackelberg import GameState
from sbmrl.sweep.memory import bytes_of

_CPU_LEVEL = 2  # of XLA's optimisation: half the compile time of the default, the same speed


class Progress(NamedTuple):
    """One record of a batch.

    Attributes:
        stage: "pretrain" or "play".
        record: records finished in this stage.
        num_records: records in this stage.
        steps: environment steps that each run has made in this stage.
        metrics: metric -> `[N]`, the record's measurements.
    """

    stage: str
    record: int
    num_records: int
    steps: int
    metrics: dict[str, np.ndarray]


class Cell(NamedTuple):
    """A finished batch; leading axis: runs.

    Attributes:
        final: `Final` as numpy arrays `[N, ...]`.
        state: the trained state `[N, ...]`.
        curves: the records in order.
    """

    final: Final
    state: GameState
    curves: list[Progress]


class Runs(NamedTuple):
    """What tells the runs of a batch apart.

    Attributes:
        seeds: `[N]` seed numbers; equal seeds share their random numbers.
        hyper: traced hyper-parameter -> `[N]` values, for those that are an axis.
    """

    seeds: np.ndarray
    hyper: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """N."""
        return len(self.seeds)


class Saved(NamedTuple):
    """Where a batch stood: records done over all stages, the state `[W, ...]`, and the records so far."""

    num_done: int
    state: GameState
    curves: list[Progress]


def all_runs(num_seeds: int, points: Sequence[Mapping[str, float]] = ({},)) -> Runs:
    """Every seed of every point, points slowest."""
    hyper = {name: np.repeat(np.array([p[name] for p in points], np.float32), num_seeds) for name in points[0]}
    return Runs(np.tile(np.arange(num_seeds), len(points)), hyper)


def part(runs: Runs, start: int, count: int) -> Runs:
    """`count` runs from `start`."""
    return Runs(runs.seeds[start : start + count], {n: v[start : start + count] for n, v in runs.hyper.items()})


def prepare_devices(cache: Path | None = None) -> None:
    """One CPU device per core and a persistent compilation cache. Call before anything touches a device.

    Seeds sharded over single-core devices run faster than one device with threads inside its operations. An already
    chosen `JAX_NUM_CPU_DEVICES` or `JAX_COMPILATION_CACHE_DIR` is kept.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        jax.config.update("jax_num_cpu_devices", cores or 1)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        directory = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sbmrl"
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def seed_keys(root_seed: int, seeds: int | np.ndarray) -> jax.Array:
    """`[N]` keys, fold_in(root, seed), of the given seeds or of the first N: what runs beside it changes nothing."""
    root = jax.random.key(root_seed)
    numbers = jnp.arange(seeds) if isinstance(seeds, int) else jnp.asarray(seeds)
    return jax.vmap(lambda seed: jax.random.fold_in(root, seed))(numbers)


def traced_values(experiment: Experiment) -> dict[str, jax.Array]:
    """The traced hyper-parameters as arguments: passed in rather than baked in, so that no value is compiled for."""
    return {name: jnp.float32(value) for name, value in traced_fields(experiment).items()}


def finish_keys(keys: jax.Array) -> jax.Array:
    """The keys of the seeds' own final evaluations."""
    return jax.vmap(finish_key)(keys)


class Engine:
    """A program compiled for batches of one width; every batch of a cell goes through the same one.

    Attributes:
        width: W, runs side by side, a multiple of the number of devices; shorter batches are padded by their last run.
        compile_seconds: wall-clock spent in compiling and not yet told of.
    """

    def __init__(self, experiment: Experiment, program: Program, width: int, root_seed: int = 0) -> None:
        devices = jax.local_devices()[:width]
        self.mesh = make_mesh(devices)
        self.width = -(-width // len(devices)) * len(devices)
        self.program = program
        self.root_seed = root_seed
        self.compile_seconds = 0.0
        self._fixed = traced_values(experiment)
        self._compiled: dict[str, Any] = {}

    def _compile(self, name: str, function: Callable[..., Any], mapped: tuple[bool, ...], *args: Any) -> Any:
        if name not in self._compiled:
            start = time.perf_counter()
            jitted = map_over_devices(function, self.mesh, mapped, _CPU_LEVEL)
            self._compiled[name] = jitted.lower(*args).compile()
            self.compile_seconds += time.perf_counter() - start
        return self._compiled[name]

    def _arguments(self, runs: Runs) -> tuple[jax.Array, Hyper, Hyper]:
        """Keys `[W]`, the hyper-parameters that all runs share, and those that are an axis `[W]`."""
        index = np.minimum(np.arange(self.width), len(runs) - 1)
        own = {name: jnp.asarray(values[index]) for name, values in runs.hyper.items()}
        fixed = {name: value for name, value in self._fixed.items() if name not in own}
        return seed_keys(self.root_seed, runs.seeds[index]), fixed, own

    def _init(self, arguments: tuple[jax.Array, Hyper, Hyper]) -> GameState:
        init = lambda key, fixed, own: self.program.init(key, {**fixed, **own})  # noqa: E731
        return self._compile("init", init, (True, False, True), *arguments)(*arguments)

    def _record(self, stage: StageProgram, arguments: tuple[jax.Array, Hyper, Hyper], state: Any) -> Any:
        """One record of a stage, compiled, to be called with the arguments, the state and the record's index."""

        def record(key: jax.Array, fixed: Hyper, own: Hyper, state: GameState, index: jax.Array):
            return stage.record(key, {**fixed, **own}, state, index)

        return self._compile(stage.name, record, (True, False, True, True, False), *arguments, state, jnp.int32(0))

    def bytes_needed(self, runs: Runs) -> int:
        """What a batch occupies on all devices, by the compiled records' own account."""
        arguments = self._arguments(runs)
        state = self.abstract_state()
        compiled = [self._record(stage, arguments, state) for stage in self.program.stages]
        return max(bytes_of(one) for one in compiled) * self.mesh.size

    def run(
        self,
        runs: Runs,
        saved: Saved | None = None,
        after_record: Callable[[Saved], None] = lambda saved: None,
    ) -> Cell:
        """Train the runs, from the start or from where they were saved; `after_record` is told of every record."""
        arguments, count = self._arguments(runs), len(runs)
        if saved is None:
            saved = Saved(0, self._init(arguments), [])
        num_done, curves = saved.num_done, list(saved.curves)
        state = jax.device_put(saved.state, over_devices(self.mesh))  # what is read back lies on one device
        first = 0
        for stage in self.program.stages:
            for index in range(max(num_done - first, 0), stage.num_records):
                record = self._record(stage, arguments, state)
                state, metrics = record(*arguments, state, jnp.int32(index))
                kept = {name: np.asarray(value)[:count] for name, value in metrics.items()}
                steps = (index + 1) * stage.steps_per_record
                curves.append(Progress(stage.name, index + 1, stage.num_records, steps, kept))
                after_record(Saved(first + index + 1, state, curves))
            first += stage.num_records
        keys, *hyper = arguments
        arguments = (finish_keys(keys), *hyper, state)
        finish = lambda key, fixed, own, state: self.program.finish(key, {**fixed, **own}, state)  # noqa: E731
        final = self._compile("finish", finish, (True, False, True, True), *arguments)(*arguments)
        final, state = jax.tree.map(lambda x: to_host(x)[:count], (final, state))
        return Cell(final, state, curves)

    def abstract_state(self) -> GameState:
        """Structure, shapes and dtypes of the state `[W, ...]`, what a checkpoint is restored into."""
        keys = jax.eval_shape(lambda: seed_keys(0, self.width))
        return jax.eval_shape(jax.vmap(self.program.init, (0, None)), keys, self._fixed)


def to_host(x: jax.Array) -> Any:
    """As numpy; random keys, which numpy cannot hold, on one device."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.device_put(x, jax.local_devices()[0])
    return np.asarray(x)
