"""The table and the figure of `sbmrl bench`."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from sbmrl.benchmark.ceilings import Ceilings
from sbmrl.benchmark.phases import Phase
from sbmrl.benchmark.wall_clock import WallClock
from sbmrl.core import registry
from sbmrl.display.plotting import COLOURS, DASHES, MARKERS, Drawing, clean, render
from sbmrl.display.tables import markdown_table

Line = dict[str, Any]
COLUMNS = (
    "formulation",
    "scheme",
    "seeds",
    "side by side",
    "trace s",
    "compile s",
    "run s",
    "ms a seed",
    "seeds an hour",
    "steps a second",
    "MiB needed",
)
PHASE_COLUMNS = (
    "side",
    "phase",
    "seeds",
    "ms a seed",
    "GFLOP/s",
    "GB/s",
    "of the arithmetic ceiling",
    "of the nearer ceiling",
)


def line_of(formulation: str, scheme: str, measured: WallClock) -> Line:
    """A measurement as plain data."""
    derived = ("seconds_per_seed", "seeds_per_hour", "steps_per_second")
    own = {name: getattr(measured, name) for name in derived}
    counted = {
        name: {stage: one._asdict() for stage, one in getattr(measured, name).items()}
        for name in ("sequential", "launches")
    }
    return {"formulation": formulation, "scheme": scheme, **measured._asdict(), **own, **counted}


def texts(line: Line) -> list[str]:
    """A line as the texts of `COLUMNS`."""
    return [
        registry.formulation(line["formulation"]).title,
        line["scheme"],
        f"{line['num_seeds']:,}",
        f"{line['side_by_side']:,}",
        f"{line['trace']:.1f}",
        f"{line['compile']:.1f}",
        f"{line['run']:.2f}",
        f"{1e3 * line['seconds_per_seed']:.3g}",
        f"{line['seeds_per_hour']:,.0f}",
        f"{line['steps_per_second']:,.0f}",
        f"{line['needed_bytes'] / 2**20:,.1f}",
    ]


def phase_line(phase: Phase, ceilings: Ceilings) -> Line:
    """A measurement of a phase as plain data."""
    derived = ("seconds_per_seed", "operations_per_second", "bytes_per_second")
    own = {name: getattr(phase, name) for name in derived}
    shares = {name: getattr(phase, name)(ceilings) for name in ("share_of_arithmetic", "share_of_limit")}
    return {**phase._asdict(), "work": phase.work._asdict(), **own, **shares}


def phase_texts(line: Line) -> list[str]:
    """A line as the texts of `PHASE_COLUMNS`."""
    return [
        line["side"],
        line["phase"],
        f"{line['num_seeds']:,}",
        f"{1e3 * line['seconds_per_seed']:.3g}",
        f"{line['operations_per_second'] / 1e9:.1f}",
        f"{line['bytes_per_second'] / 1e9:.2f}",
        f"{line['share_of_arithmetic']:.1%}",
        f"{line['share_of_limit']:.1%}",
    ]


def to_markdown(summary: Mapping[str, Any]) -> str:
    """bench.md."""
    parts = [markdown_table(COLUMNS, [texts(line) for line in summary["lines"]]), caption(summary)]
    if summary["phases"]:
        lines = [phase_texts(line) for line in summary["phases"]]
        parts += [markdown_table(PHASE_COLUMNS, lines), phase_caption(summary)]
    return "\n\n".join(parts) + "\n"


def caption(summary: Mapping[str, Any]) -> str:
    """What the reader needs to know to read the table."""
    machine = summary["machine"]
    return (
        f"Preset {summary['preset']}, world {summary['env']}, on {len(machine['devices'])} × {machine['devices'][0]}. "
        f"Trace and compile: once for each row, from no cache. Run: all seeds, chunk by chunk as a sweep runs them; of "
        f"the exact scheme all of it, of others one chunk and of each stage the median of {summary['num_repeats']} "
        f"records, times the number of chunks and records. Steps: environment steps, of learners of exact payoffs "
        f"payoffs computed. MiB needed: by the compiled programs' own account, of the seeds side by side."
    )


def phase_caption(summary: Mapping[str, Any]) -> str:
    """What the reader needs to know to read the table of phases."""
    ceilings = summary["ceilings"]
    return (
        f"One PPO update in its phases, each a program of its own: MAL's contextual follower in pretraining and its "
        f"leader in play, preset poster. Operations and bytes by formula (docs/performance.md). This machine's "
        f"ceilings in the same process: {ceilings['operations'] / 1e9:,.0f} GFLOP/s in a matrix product, "
        f"{ceilings['bytes'] / 1e9:,.1f} GB/s in a copy through memory (read and written), to which the bytes are held "
        f"although most of them stay in a core's cache."
    )


def draw(lines: Sequence[Line]) -> Drawing:
    """Milliseconds a seed, and steps a second, against the number of seeds; both axes logarithmic."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    formulations = list(dict.fromkeys(line["formulation"] for line in lines))
    schemes = list(dict.fromkeys(line["scheme"] for line in lines))
    for formulation in formulations:
        for scheme in schemes:
            own = [line for line in lines if (line["formulation"], line["scheme"]) == (formulation, scheme)]
            seeds = [line["num_seeds"] for line in own]
            style: Any = {
                "color": COLOURS[formulations.index(formulation) % len(COLOURS)],
                "linestyle": DASHES[schemes.index(scheme) % len(DASHES)],
                "marker": MARKERS[schemes.index(scheme) % len(MARKERS)],
                "markersize": 4,
            }
            name = f"{registry.formulation(formulation).title}, {scheme}"
            left.plot(seeds, [1e3 * line["seconds_per_seed"] for line in own], label=name, **style)
            right.plot(seeds, [line["steps_per_second"] for line in own], **style)
    for axes, title in ((left, "ms a seed"), (right, "steps a second, all seeds")):
        axes.set(xscale="log", yscale="log", xlabel="seeds", ylabel=title)
        axes.grid(which="major", color="#e4e4e4", linewidth=0.8)
        clean(axes)
    figure.legend(loc="outside lower center", ncols=min(len(formulations), 4), frameon=False, fontsize=8)
    return render("bench", "Wall-clock", "Time of a seed and throughput against the number of seeds.", figure)
