"""What an update of the exact scheme costs in larger worlds, beside what its matrix products alone would."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from sbmrl.benchmark.ceilings import Ceilings
from sbmrl.core import registry
from sbmrl.core.devices import CPU_OPTIONS_TINY_SUMS, over_devices
from sbmrl.core.experiment import Experiment
from sbmrl.core.options import with_traced
from sbmrl.display.plotting import COLOURS, MARKERS, Drawing, clean, render
from sbmrl.display.tables import markdown_table
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import Hyper, make_program
from sbmrl.experiment.solver import make_solver, world_of
from sbmrl.sweep.execute import pack, seed_key, traced_values, unpack
from sbmrl.sweep.memory import bytes_of_arrays, lay_out

NUM_ACTIONS = 4
NUM_SEEDS = 16
_UPDATES = 4  # of a timed program
COLUMNS = ("states", "formulation", "ms an update", "products alone, ms", "ratio", "compile s")


class Update(NamedTuple):
    """One update of all seeds.

    Attributes:
        formulation: whose.
        num_states: S.
        seconds: the median of the repeats.
        operations: of its matrix products alone, all seeds.
        compile: seconds of tracing and compiling.
    """

    formulation: str
    num_states: int
    seconds: float
    operations: int
    compile: float

    def bound(self, ceilings: Ceilings) -> float:
        """Seconds of the products alone at the arithmetic ceiling."""
        return self.operations / ceilings.operations


def products(num_states: int, num_actions: int, horizon: int) -> int:
    """Operations in matrix products of one run's update, the same yardstick for every formulation.

    The values of all actions in one model are T products of `[S·A, S]` with `[S]`; their derivative is the same again,
    and a follower's answer with its derivative are as many: 4 · T · 2·S·A·S. MAL has 1.25 of that at A = 4, PAL, whose
    products are of a known policy's `[S, S]`, 0.27.
    """
    return 8 * horizon * num_actions * num_states**2


def measure_update(formulation: str, num_states: int, num_repeats: int, num_seeds: int = NUM_SEEDS) -> Update:
    """Time updates of the leader in the world random_S_4_0, preset fast, exact scheme.

    Raises:
        InputError: the formulation has no exact response, or S is below 1.
    """
    experiment = preset("fast", formulation, "exact", env=f"random_{num_states}_{NUM_ACTIONS}_0")
    world, fixed = world_of(experiment), traced_values(experiment)
    program = make_program(experiment, world)
    like = jax.eval_shape(program.init, jax.random.key(0), fixed)
    layout = lay_out(num_seeds, bytes_of_arrays(jax.eval_shape(pack, like)))
    seeds = jax.device_put(np.arange(layout.width, dtype=np.int32), over_devices(layout.mesh))
    init = layout.map(
        lambda seed, fixed: pack(program.init(seed_key(0, seed), fixed)), (True, False), CPU_OPTIONS_TINY_SUMS
    )
    run = layout.map(_updates(experiment, world, like), (True, False, True), CPU_OPTIONS_TINY_SUMS)
    state = init(seeds, fixed)
    began = time.perf_counter()
    compiled = run.lower(seeds, fixed, state).compile()
    compile_seconds = time.perf_counter() - began
    found = []
    for number in range(num_repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(compiled(seeds, fixed, state))
        if number:  # the first one touches memory for the first time
            found.append((time.perf_counter() - began) / _UPDATES)
    jax.clear_caches()
    horizon = make_solver(experiment, world).game.horizon
    operations = layout.width * products(num_states, NUM_ACTIONS, horizon)
    return Update(formulation, num_states, statistics.median(found), operations, compile_seconds)


def _updates(experiment: Experiment, world: Any, like: Any) -> Any:
    def run(seed: jax.Array, fixed: Hyper, packed: Any) -> Any:
        solver = make_solver(with_traced(experiment, fixed), world)
        (stage,) = solver.algorithm.stages
        keys = jax.random.split(seed_key(0, seed), _UPDATES)
        return pack(jax.lax.scan(lambda state, key: (stage.step(key, state)[0], None), unpack(packed, like), keys)[0])

    return run


def line_of(update: Update, ceilings: Ceilings) -> dict[str, Any]:
    """A measurement as plain data."""
    bound = update.bound(ceilings)
    return update._asdict() | {"bound": bound, "ratio": update.seconds / bound}


def texts(line: Mapping[str, Any]) -> list[str]:
    """A line as the texts of `COLUMNS`."""
    return [
        f"{line['num_states']:,}",
        registry.formulation(line["formulation"]).title,
        f"{1e3 * line['seconds']:.3g}",
        f"{1e3 * line['bound']:.3g}",
        f"{line['ratio']:.3g}",
        f"{line['compile']:.1f}",
    ]


def caption(summary: Mapping[str, Any]) -> str:
    """What the reader needs to know to read the table."""
    machine = summary["machine"]
    return (
        f"One update of {NUM_SEEDS} seeds in random worlds with {NUM_ACTIONS} actions, preset fast, exact scheme, on "
        f"{len(machine['devices'])} × {machine['devices'][0]}. Products alone: 8·T·S²·A operations a seed (MAL has "
        f"1.25 of that, PAL 0.27) at {summary['ceilings']['operations'] / 1e9:,.0f} GFLOP/s, a large float32 product "
        f"in the same process."
    )


def to_markdown(summary: Mapping[str, Any]) -> str:
    """bench.md."""
    return f"{markdown_table(COLUMNS, [texts(line) for line in summary['lines']])}\n\n{caption(summary)}\n"


def draw(lines: Sequence[Mapping[str, Any]]) -> Drawing:
    """Milliseconds of an update against S, and of its products alone; both axes logarithmic."""
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axes = figure.subplots()
    formulations = list(dict.fromkeys(line["formulation"] for line in lines))
    for number, formulation in enumerate(formulations):
        own = [line for line in lines if line["formulation"] == formulation]
        states = [line["num_states"] for line in own]
        style: Any = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "ms": 4}
        axes.plot(
            states, [1e3 * line["seconds"] for line in own], label=registry.formulation(formulation).title, **style
        )
    states = [line["num_states"] for line in lines if line["formulation"] == formulations[0]]
    bounds = [1e3 * line["bound"] for line in lines if line["formulation"] == formulations[0]]
    axes.plot(states, bounds, color="#444444", ls="--", label="matrix products alone")
    axes.set(xscale="log", yscale="log", xlabel="states", ylabel=f"ms an update of {NUM_SEEDS} seeds")
    axes.grid(which="major", color="#e4e4e4", linewidth=0.8)
    clean(axes)
    axes.legend(frameon=False, fontsize=8)
    return render("bench", "Cost against the size of the world", "Time of an update against the states.", figure)
