"""Running one cell: all its seeds in one vmapped program, sharded over the local devices, record by record."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sbmrl.checks import require_count
from sbmrl.config import Experiment, traced_fields
from sbmrl.devices import make_mesh, map_over_devices
from sbmrl.program import Final, Program, StageProgram, finish_key
from sbmrl.stackelberg import GameState

_CPU_LEVEL = 2  # of XLA's optimisation: half the compile time of the default, the same speed


class Progress(NamedTuple):
    """How far a cell is.

    Attributes:
        stage: "pretrain" or "play".
        record: records finished in this stage.
        num_records: records in this stage.
        steps: environment steps that each seed has made in this stage.
        metrics: metric -> `[num_seeds]`, the record's measurements.
    """

    stage: str
    record: int
    num_records: int
    steps: int
    metrics: dict[str, np.ndarray]


class Cell(NamedTuple):
    """A finished cell; leading axis: seeds.

    Attributes:
        final: `Final` as numpy arrays `[N, ...]`.
        state: the trained state `[N, ...]`, what a checkpoint keeps.
        curves: the records in order.
        seconds: "compile" and "run" wall-clock seconds.
    """

    final: Final
    state: GameState
    curves: list[Progress]
    seconds: dict[str, float]


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


def seed_keys(root_seed: int, num_seeds: int) -> jax.Array:
    """`[num_seeds]` keys, fold_in(root, seed): a seed's result does not depend on how many run beside it."""
    root = jax.random.key(root_seed)
    return jax.vmap(lambda seed: jax.random.fold_in(root, seed))(jnp.arange(num_seeds))


class _Compiler:
    """Compiles per-seed functions for the whole seed axis and keeps count of the time it takes."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any], per_seed: tuple[bool, ...], *args: Any) -> Any:
        """`function` mapped over the seed axis of the arguments marked `per_seed`, compiled for `args`."""
        start = time.perf_counter()
        compiled = map_over_devices(function, self.mesh, per_seed, _CPU_LEVEL).lower(*args).compile()
        self.seconds += time.perf_counter() - start
        return compiled


def run_cell(
    experiment: Experiment,
    program: Program,
    num_seeds: int,
    root_seed: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Cell:
    """Train `num_seeds` seeds of an experiment side by side.

    The seed axis is padded to a multiple of the number of devices; padding never leaves this function.

    Raises:
        InputError: `num_seeds` below 1.
    """
    require_count(num_seeds, "num_seeds")
    start = time.perf_counter()
    devices = jax.local_devices()[:num_seeds]
    compiler = _Compiler(make_mesh(devices))
    keys = seed_keys(root_seed, -(-num_seeds // len(devices)) * len(devices))
    hyper = traced_values(experiment)
    state = compiler(program.init, (True, False), keys, hyper)(keys, hyper)
    curves: list[Progress] = []
    for stage in program.stages:
        state = _run_stage(stage, compiler, keys, hyper, state, num_seeds, curves, report)
    finish = compiler(program.finish, (True, False, True), finish_keys(keys), hyper, state)
    final = finish(finish_keys(keys), hyper, state)
    final, state = jax.tree.map(lambda x: _to_host(x, num_seeds), (final, state))
    total = time.perf_counter() - start
    return Cell(final, state, curves, {"compile": compiler.seconds, "run": total - compiler.seconds})


def _to_host(x: jax.Array, num_seeds: int) -> Any:
    """The first seeds of an array, as numpy; random keys, which numpy cannot hold, on one device."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.device_put(x, jax.local_devices()[0])[:num_seeds]
    return np.asarray(x)[:num_seeds]


def traced_values(experiment: Experiment) -> dict[str, jax.Array]:
    """The traced hyper-parameters as arguments: passed in rather than baked in, so that no value is compiled for."""
    return {name: jnp.float32(value) for name, value in traced_fields(experiment).items()}


def finish_keys(keys: jax.Array) -> jax.Array:
    """The keys of the seeds' own final evaluations."""
    return jax.vmap(finish_key)(keys)


def _run_stage(
    stage: StageProgram,
    compiler: _Compiler,
    keys: jax.Array,
    hyper: dict[str, jax.Array],
    state: GameState,
    num_seeds: int,
    curves: list[Progress],
    report: Callable[[Progress], None],
) -> GameState:
    record = compiler(stage.record, (True, False, True, False), keys, hyper, state, jnp.int32(0))
    for number in range(stage.num_records):
        state, metrics = record(keys, hyper, state, jnp.int32(number))
        own = {name: np.asarray(value)[:num_seeds] for name, value in metrics.items()}
        steps = (number + 1) * stage.steps_per_record
        curves.append(Progress(stage.name, number + 1, stage.num_records, steps, own))
        report(curves[-1])
    return state
