"""Running many seeds and hyper-parameters side by side: one compiled program, sharded over all devices.

A batch of runs goes through init, record after record, then finish. It can stop behind any record and go on from what
it had there, with the same keys and so the same numbers.
"""

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from sbmrl.core import threefry
from sbmrl.core.devices import CPU_OPTIONS, CPU_OPTIONS_TINY_SUMS, compiler_options, over_devices
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.options import traced_fields
from sbmrl.core.stackelberg import GameState
from sbmrl.experiment.program import Hyper, Program, StageProgram, finish_key
from sbmrl.sweep.memory import Room, bytes_of, bytes_of_arrays, first_guess, free_bytes, lay_out, room
from sbmrl.sweep.processes import gather, smallest
from sbmrl.sweep.shelf import NO_SHELF, Shelf

_INIT, _FINISH = "init", "finish"  # parts beside the stages
_ARGUMENTS = (False, True, False, True)  # which of root, seed, shared and own hyper-parameters have an axis of runs


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
        metrics: final numbers `[N]` each.
        profile: role -> the evaluated strategies `[N, ...]`.
        state: the trained states as plain arrays `[W, ...]` over all devices; the first N count (see `unpack`).
        curves: the records in order.
    """

    metrics: Mapping[str, np.ndarray]
    profile: Mapping[str, Any]
    state: Any
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


class Compiled(NamedTuple):
    """A part of a program that has been compiled.

    Attributes:
        name: "init", a stage's, or "finish".
        trace: seconds of tracing.
        compile: seconds that it was waited for behind that; parts are compiled side by side.
        jaxpr: what was traced, None if the part was on the shelf.
        program: what was compiled.
    """

    name: str
    trace: float
    compile: float
    jaxpr: Any
    program: Any

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.trace + self.compile


class _Part(NamedTuple):
    """What is to be compiled: a function of one run, which arguments have an axis of runs, and arguments like all."""

    name: str
    function: Callable[..., Any]
    mapped: tuple[bool, ...]
    arguments: tuple[Any, ...]


class Saved(NamedTuple):
    """Where a batch stood: records done over all stages, the state `[W, ...]` as plain arrays, the records so far."""

    num_done: int
    state: Any
    curves: list[Progress]


def all_runs(num_seeds: int, points: Sequence[Mapping[str, float]] = ({},)) -> Runs:
    """Every seed of every point, points slowest."""
    hyper = {name: np.repeat(np.array([p[name] for p in points], np.float32), num_seeds) for name in points[0]}
    return Runs(np.tile(np.arange(num_seeds), len(points)), hyper)


def part(runs: Runs, start: int, count: int) -> Runs:
    """`count` runs from `start`."""
    return Runs(runs.seeds[start : start + count], {n: v[start : start + count] for n, v in runs.hyper.items()})


def prepare_devices(cache: Path | None = None) -> None:
    """One CPU device per core, whole float32 products, a persistent cache. Call before anything touches a device.

    Seeds sharded over single-core devices run faster than one device with threads inside its operations. GPUs and TPUs
    round the factors of a float32 product to 10 bits and fewer unless told not to, and exact values are then exact to
    three digits. An already chosen `JAX_NUM_CPU_DEVICES`, `JAX_DEFAULT_MATMUL_PRECISION` or
    `JAX_COMPILATION_CACHE_DIR` is kept.
    """
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        jax.config.update("jax_num_cpu_devices", cores or 1)
    if "JAX_DEFAULT_MATMUL_PRECISION" not in os.environ:
        jax.config.update("jax_default_matmul_precision", "float32")
    threefry.compile_straight()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        directory = cache or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sbmrl"
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def cpu_options(experiment: Experiment) -> Mapping[str, Any]:
    """XLA's options for an experiment's programs, on CPU."""
    return CPU_OPTIONS_TINY_SUMS if compose(experiment).scheme.cheap else CPU_OPTIONS


def seed_key(root_seed: jax.Array | int, seed: jax.Array | int) -> jax.Array:
    """fold_in(root, seed): what runs beside a seed changes nothing."""
    return jax.random.fold_in(jax.random.key(root_seed), seed)


def seed_keys(root_seed: int, seeds: int | np.ndarray) -> jax.Array:
    """`[N]` keys of the given seeds or of the first N."""
    numbers = jnp.arange(seeds) if isinstance(seeds, int) else jnp.asarray(seeds)
    return jax.vmap(seed_key, (None, 0))(root_seed, numbers)


def traced_values(experiment: Experiment) -> dict[str, np.float32]:
    """The traced hyper-parameters as arguments: passed in rather than baked in, so that no value is compiled for."""
    return {name: np.float32(value) for name, value in traced_fields(experiment).items()}


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def pack(state: GameState) -> Any:
    """A state as plain arrays: its random keys, which neither numpy nor a file can hold, as their words."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def unpack(packed: Any, like: GameState) -> GameState:
    """The inverse of `pack`; `like` has the structure and dtypes of the state."""
    return jax.tree.map(lambda x, kind: jax.random.wrap_key_data(x) if _is_key(kind) else x, packed, like)


class Engine:
    """A program compiled for batches of one width; every batch of a cell goes through the same one.

    With several processes, each of them calls the same methods in the same order.

    Attributes:
        width: W, runs side by side, a multiple of the number of devices; shorter batches are padded by their last run.
    """

    def __init__(
        self,
        experiment: Experiment,
        program: Program,
        width: int,
        root_seed: int = 0,
        compiled: Callable[[Compiled], None] = lambda part: None,
        shelf: Shelf = NO_SHELF,
    ) -> None:
        """`compiled` is told of every part that was compiled; `shelf` has what need not be."""
        self.program = program
        self._shelf = shelf
        self._cpu_options = cpu_options(experiment)
        self._told = compiled
        self._root = np.int32(root_seed)
        self._fixed = traced_values(experiment)
        self._packed = shelf.state(lambda: jax.eval_shape(pack, self._begun[1]))
        self._layout = lay_out(width, bytes_of_arrays(self._packed))
        self.mesh, self.width = self._layout.mesh, self._layout.width
        self._compiled: dict[str, Any] = {}

    @functools.cached_property
    def _begun(self) -> tuple[Any, Any]:
        """Init of one run, traced once, and the shapes of its state: for all parts that are compiled."""
        return jax.make_jaxpr(self.program.init, return_shape=True)(jax.random.key(0), self._fixed)

    def _compile(self, parts: Sequence[_Part]) -> None:
        for part in self._made(parts):
            self._told(part)

    def _made(self, parts: Sequence[_Part]) -> list[Compiled]:
        """Each part is compiled in a thread while the next is traced: XLA uses one core for much of what it does."""
        missing, made = [part for part in parts if part.name not in self._compiled], []
        if not missing:
            return made
        # Several processes on GPUs compile in the same order.
        with ThreadPoolExecutor(len(missing) if jax.process_count() == 1 else 1) as pool:
            compiling: list[tuple[str, float, Any, Future[Any]]] = []
            for part in missing:
                start = time.perf_counter()
                lowered, jaxpr = self._lowered(part)
                compiling.append((part.name, time.perf_counter() - start, jaxpr, pool.submit(lowered.compile)))
            for name, seconds, jaxpr, future in compiling:
                start = time.perf_counter()
                self._compiled[name] = future.result()
                made.append(Compiled(name, seconds, time.perf_counter() - start, jaxpr, self._compiled[name]))
        return made

    def _lowered(self, part: _Part) -> tuple[jax.stages.Lowered, Any]:
        """A part to be compiled, and its jaxpr if it had to be traced."""
        function, jaxpr = self._shelf.load(part.name), None
        if function is None:
            mapped = self._layout.map(part.function, part.mapped, self._cpu_options)
            traced = mapped.trace(*part.arguments)
            function, jaxpr = self._shelf.keep(part.name, mapped, part.arguments), traced.jaxpr
            if function is None:
                return traced.lower(), jaxpr
        options = compiler_options(self._cpu_options)
        return jax.jit(function, compiler_options=options).lower(*part.arguments), jaxpr

    def _spread(self, values: np.ndarray) -> jax.Array:
        """`[W]` values, each device holding its share."""
        return jax.make_array_from_callback(values.shape, over_devices(self.mesh), lambda index: values[index])

    def _arguments(self, runs: Runs) -> tuple[np.int32, jax.Array, Hyper, Hyper]:
        """The root seed, the seeds `[W]`, the hyper-parameters that all runs share, those that are an axis `[W]`."""
        index = np.minimum(np.arange(self.width), len(runs) - 1)
        own = {name: self._spread(values[index].astype(np.float32)) for name, values in runs.hyper.items()}
        fixed = {name: value for name, value in self._fixed.items() if name not in own}
        return self._root, self._spread(runs.seeds[index].astype(np.int32)), fixed, own

    def _parts(self, arguments: tuple[np.int32, jax.Array, Hyper, Hyper]) -> list[_Part]:
        """All parts of the program, those that take longest to compile first."""
        state = self.abstract_state()

        def init(root: jax.Array, seed: jax.Array, fixed: Hyper, own: Hyper) -> Any:
            init, like = self._begun
            begun = jaxpr_as_fun(init)(*jax.tree.leaves((seed_key(root, seed), {**fixed, **own})))
            return pack(jax.tree.unflatten(jax.tree.structure(like), begun))

        def of_stage(stage: StageProgram) -> _Part:
            def record(root: jax.Array, seed: jax.Array, fixed: Hyper, own: Hyper, packed: Any, index: jax.Array):
                state = unpack(packed, self._begun[1])
                state, metrics = stage.record(seed_key(root, seed), {**fixed, **own}, state, index)
                return pack(state), metrics

            return _Part(stage.name, record, (*_ARGUMENTS, True, False), (*arguments, state, np.int32(0)))

        def finish(root: jax.Array, seed: jax.Array, fixed: Hyper, own: Hyper, packed: Any):
            key = finish_key(seed_key(root, seed))
            final = self.program.finish(key, {**fixed, **own}, unpack(packed, self._begun[1]))
            return final.metrics, final.profile

        return [
            *(of_stage(stage) for stage in self.program.stages),
            _Part(_INIT, init, _ARGUMENTS, arguments),
            _Part(_FINISH, finish, (*_ARGUMENTS, True), (*arguments, state)),
        ]

    def bytes_needed(self, runs: Runs) -> int:
        """What a batch occupies on this process' devices, by the compiled programs' own account."""

        def measure() -> int:
            self._compile(self._parts(self._arguments(runs)))
            return max(bytes_of(one) for one in self._compiled.values()) * len(self.mesh.local_devices)

        return self._shelf.needed(measure)

    def run(
        self,
        runs: Runs,
        saved: Saved | None = None,
        after_record: Callable[[Saved], None] = lambda saved: None,
    ) -> Cell:
        """Train the runs, from the start or from where they were saved; `after_record` is told of every record."""
        arguments, count = self._arguments(runs), len(runs)
        parts = {part.name: part for part in self._parts(arguments)}
        left = self._stages_left(0 if saved is None else saved.num_done)
        first = [*left[:1], *([_INIT] if saved is None else [])]
        later = [*left[1:], _FINISH]
        if jax.process_count() > 1:  # nothing beside what several processes do together
            first, later = [*first, *later], []
        self._compile([parts[name] for name in first])
        if saved is None:
            saved = Saved(0, self._compiled[_INIT](*arguments), [])
        num_done, state, curves = saved.num_done, saved.state, list(saved.curves)
        with ThreadPoolExecutor(1) as pool:  # what is needed later is compiled while the first stage runs
            others = pool.submit(self._made, [parts[name] for name in later])
            start = 0
            for stage in self.program.stages:
                if stage.name in later:
                    self._wait(others)
                for index in range(max(num_done - start, 0), stage.num_records):
                    state, metrics = self._compiled[stage.name](*arguments, state, np.int32(index))
                    kept = {name: value[:count] for name, value in gather(metrics).items()}
                    steps = (index + 1) * stage.steps_per_record
                    curves.append(Progress(stage.name, index + 1, stage.num_records, steps, kept))
                    after_record(Saved(start + index + 1, state, curves))
                start += stage.num_records
            self._wait(others)
        metrics, profile = jax.tree.map(lambda x: x[:count], gather(self._compiled[_FINISH](*arguments, state)))
        return Cell(metrics, profile, state, curves)

    def _wait(self, others: Future[list[Compiled]]) -> None:
        """Until the others are compiled; of their seconds only those count in which nothing else was done."""
        start = time.perf_counter()
        made = others.result()
        waited = time.perf_counter() - start
        while made:
            self._told(made.pop(0)._replace(trace=0.0, compile=waited))
            waited = 0.0

    def _stages_left(self, num_done: int) -> list[str]:
        """Names of the stages that have records to go."""
        ends = np.cumsum([stage.num_records for stage in self.program.stages])
        return [stage.name for stage, end in zip(self.program.stages, ends, strict=True) if end > num_done]

    @property
    def num_records(self) -> int:
        """Records of a batch over all stages."""
        return sum(stage.num_records for stage in self.program.stages)

    def abstract_state(self) -> Any:
        """Shapes, dtypes and places of the state `[W, ...]` as plain arrays, what a checkpoint is restored into."""
        return abstract_states(self._packed, self.width, over_devices(self.mesh))


def engine_for(runs: Runs, make_engine: Callable[[int], Engine]) -> tuple[Room, Engine]:
    """How many runs fit side by side and how many pay, and an engine of the lesser width."""
    guess = first_guess(len(runs))
    engine = make_engine(guess)
    found = room(len(runs), engine.bytes_needed(part(runs, 0, guess)) / guess, free_bytes())
    agreed = Room(smallest(found.fit), smallest(found.pay))
    return agreed, engine if min(agreed) == guess else make_engine(min(agreed))


def abstract_states(packed: Any, count: int, sharding: jax.sharding.Sharding) -> Any:
    """Shapes and dtypes of `count` states, each as `packed` has them, and where they lie."""

    def batched(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *x.shape), x.dtype, sharding=sharding)

    return jax.tree.map(batched, packed)
