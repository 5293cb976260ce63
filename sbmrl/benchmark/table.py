"""The table and the figure of `sbmrl bench`."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from sbmrl.benchmark.wall_clock import WallClock
from sbmrl.formulations import FORMULATIONS
from sbmrl.report.plotting import COLOURS, DASHES, MARKERS, Drawing, clean, render
from sbmrl.report.table import markdown_table

Line = dict[str, Any]
COLUMNS = (
    "formulation",
    "scheme",
    "seeds",
    "trace s",
    "compile s",
    "run s",
    "ms a seed",
    "seeds an hour",
    "steps a second",
    "MiB needed",
)


def line_of(formulation: str, scheme: str, measured: WallClock) -> Line:
    """A measurement as plain data."""
    derived = ("seconds_per_seed", "seeds_per_hour", "steps_per_second")
    own = {name: getattr(measured, name) for name in derived}
    return {"formulation": formulation, "scheme": scheme, **measured._asdict(), **own}


def texts(line: Line) -> list[str]:
    """A line as the texts of `COLUMNS`."""
    return [
        FORMULATIONS[line["formulation"]].title,
        line["scheme"],
        f"{line['num_seeds']:,}",
        f"{line['trace']:.1f}",
        f"{line['compile']:.1f}",
        f"{line['run']:.2f}",
        f"{1e3 * line['seconds_per_seed']:.3g}",
        f"{line['seeds_per_hour']:,.0f}",
        f"{line['steps_per_second']:,.0f}",
        f"{line['needed_bytes'] / 2**20:,.1f}",
    ]


def to_markdown(summary: Mapping[str, Any]) -> str:
    """bench.md."""
    return f"{markdown_table(COLUMNS, [texts(line) for line in summary['lines']])}\n\n{caption(summary)}\n"


def caption(summary: Mapping[str, Any]) -> str:
    """What the reader needs to know to read the table."""
    machine, ceilings = summary["machine"], summary["ceilings"]
    return (
        f"Preset {summary['preset']}, world {summary['env']}, on {len(machine['devices'])} × {machine['devices'][0]}. "
        f"Trace and compile: once for each row, from no cache. Run: all records of all seeds side by side, from the "
        f"median of {summary['num_repeats']} records of each stage. Steps: environment steps, of learners of exact "
        f"payoffs payoffs computed. This machine's ceilings in the same process: "
        f"{ceilings['operations'] / 1e9:,.0f} GFLOP/s in a matrix product, {ceilings['bytes'] / 1e9:,.1f} GB/s in a "
        f"copy (read and written)."
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
            name = f"{FORMULATIONS[formulation].title}, {scheme}"
            left.plot(seeds, [1e3 * line["seconds_per_seed"] for line in own], label=name, **style)
            right.plot(seeds, [line["steps_per_second"] for line in own], **style)
    for axes, title in ((left, "ms a seed"), (right, "steps a second, all seeds")):
        axes.set(xscale="log", yscale="log", xlabel="seeds side by side", ylabel=title)
        axes.grid(which="major", color="#e4e4e4", linewidth=0.8)
        clean(axes)
    figure.legend(loc="outside lower center", ncols=min(len(formulations), 4), frameon=False, fontsize=8)
    return render("bench", "Wall-clock", "Time of a seed and throughput against the number of seeds.", figure)
