"""The figures of a report, drawn from its entries and groups."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from sbmrl.core import registry
from sbmrl.display.plotting import (
    BOUNDS,
    COLOURS,
    DASHES,
    MARKERS,
    MOST_LINES,
    MOST_PANELS,
    STYLE,
    WIDTH,
    WIDTHS,
    Drawing,
    batches,
    clean,
    dots,
    in_lines,
    left_out,
    legend_below,
    new_figure,
    panels,
    render,
    row_figure,
    same_range,
)
from sbmrl.report.comparison import THRESHOLDS
from sbmrl.report.entries import Entry

_REFERENCE = "#222222"
_MOST_DOTS = 80  # rows of a figure with a row a dot
_MOST_GROUPS = 40
_AGGREGATES = {"interquartile_mean": "IQM", "median": "median", "mean": "mean", "optimality_gap": "optimality gap"}


def fooled(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """The probability of being fooled of each row, with its Clopper–Pearson interval."""
    shown = rows[:_MOST_DOTS]
    names = list(dict.fromkeys(row["formulation"] for row in rows))
    colours = [COLOURS[names.index(row["formulation"]) % len(COLOURS)] for row in shown]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = row_figure([row["label"] for row in shown], columns=1)
        dots(axes, [row["fraction_fooled"] for row in shown], colours)
        axes.set_xlim(0.0, 1.0)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("fooled seeds")
    note = (
        "Dot: the share of seeds whose regret is above 5 % of (optimal − baseline). Line: its 95 % "
        "Clopper–Pearson interval. Colour: the formulation."
    )
    note += left_out(len(shown), len(rows), "rows")
    return render("fooled", "Probability of being fooled", note, figure)


def aggregate_scores(groups: Sequence[Mapping[str, Any]]) -> Drawing:
    """Interquartile mean, median, mean and optimality gap of each group, with stratified bootstrap intervals."""
    shown = groups[:_MOST_GROUPS]
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(shown))]
    with matplotlib.rc_context(STYLE):
        figure, several = row_figure([group["label"] for group in shown], columns=len(_AGGREGATES))
        for axes, (name, title) in zip(several, _AGGREGATES.items(), strict=True):
            dots(axes, [group[name] for group in shown], colours)
            axes.set_title(title)
            axes.locator_params(axis="x", nbins=3)
            axes.margins(x=0.15)
            axes.tick_params(axis="y", length=0)
        same_range(several[:3])
        figure.supxlabel("normalised score: 0 the baseline, 1 optimal", fontsize=10)
    note = (
        "Dot: the aggregate over all seeds and worlds. Line: its 95 % interval from 2,000 bootstrap resamples, seeds "
        "drawn inside every world. Of the optimality gap less is better."
    )
    note += left_out(len(shown), len(groups), "formulations")
    return render("aggregates", "Aggregate scores", note, figure)


def profiles(groups: Sequence[Mapping[str, Any]]) -> Drawing:
    """Performance profiles: for every score, the share of runs above it."""
    shown = list(batches(groups))[:MOST_PANELS]
    with matplotlib.rc_context(STYLE):
        figure, several = panels([[group["label"] for group in batch] for batch in shown])
        for axes, batch in zip(several, shown, strict=True):
            for group, colour, width, dashes in zip(batch, COLOURS, WIDTHS, DASHES, strict=False):
                value, low, high = (group["profile"][name] for name in BOUNDS)
                axes.fill_between(THRESHOLDS, low, high, color=colour, alpha=0.15, lw=0, step="post")
                look = {"color": colour, "lw": width, "ls": dashes, "label": in_lines(group["label"])}
                axes.step(THRESHOLDS, value, where="post", **look)
            axes.set(xlim=(THRESHOLDS[0], THRESHOLDS[-1]), ylim=(-0.02, 1.04))
            axes.set(xlabel="normalised score τ", ylabel="share of runs above τ")
            legend_below(axes, columns=2 if len(shown) == 1 else 1)
            clean(axes)
    note = (
        "For every τ the share of runs with a normalised score above it, averaged over worlds, and its pointwise 95 % "
        "band from the bootstrap stratified by worlds. Higher is better."
    )
    note += left_out(sum(map(len, shown)), len(groups), "formulations")
    return render("profiles", "Performance profiles", note, figure)


def learning_curves(entries: Sequence[Entry]) -> Drawing | None:
    """Exact return in play against steps, median and quartiles over the seeds; None without a curve."""
    known = [entry for entry in entries if len(entry.curve)]
    by_panel: dict[tuple[str, str], list[Entry]] = {}
    for entry in known:
        by_panel.setdefault((entry.world, entry.identity["learner"]), []).append(entry)
    shown = [(key, batch) for key, own in by_panel.items() for batch in batches(own)][:MOST_PANELS]
    if not shown:
        return None
    with matplotlib.rc_context(STYLE):
        figure, several = panels([[entry.group for entry in batch] for _, batch in shown])
        for axes, ((world, learner), batch) in zip(several, shown, strict=True):
            for entry, colour, width, dashes in zip(batch, COLOURS, WIDTHS, DASHES, strict=False):
                steps, low, middle, high = (entry.curve[name].to_numpy() for name in ("steps", "low", "middle", "high"))
                axes.fill_between(steps, low, high, color=colour, alpha=0.12, lw=0)
                marker = "o" if len(steps) == 1 else None  # a line of one record is no line
                axes.plot(steps, middle, color=colour, lw=width, ls=dashes, marker=marker, label=in_lines(entry.group))
            _references(axes, batch)
            axes.set_title(world)
            axes.set(xlabel=registry.learner(learner).steps, ylabel="exact return")
            axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 5))
            legend_below(axes, columns=2 if len(shown) == 1 else 1)
            clean(axes)
    note = (
        "Exact return in the true world during play. Line: the median over seeds; band: the middle half of them. "
        "Dashed: the optimum; dotted: the baseline. Seeds that diverged are left out from there on."
    )
    note += left_out(sum(len(batch) for _, batch in shown), len(known), "rows")
    return render("curves", "Learning curves", note, figure)


def _references(axes: Axes, entries: Sequence[Entry]) -> None:
    """The optimum and the uniform policy of a panel's world, where a run of it is finished."""
    done = next((entry.results for entry in entries if len(entry.results)), None)
    if done is not None:
        axes.axhline(float(done["optimal_return"][0]), color=_REFERENCE, lw=0.8, ls="--", zorder=1)
        axes.axhline(float(done["uniform_return"][0]), color=_REFERENCE, lw=0.8, ls=":", zorder=1)


def is_log_spaced(values: Sequence[float]) -> bool:
    """Whether values stand more evenly in the logarithm, over at least a factor of ten."""
    ordered = np.sort(np.asarray(values, float))
    if len(ordered) < 2 or ordered[0] <= 0 or ordered[-1] < 10 * ordered[0]:
        return False
    steps, ratios = np.diff(ordered), np.diff(np.log(ordered))
    return bool(np.std(ratios) / np.mean(ratios) <= np.std(steps) / np.mean(steps))


def axis_effects(entries: Sequence[Entry]) -> list[Drawing]:
    """For each traced axis with two values or more and each world: exact return and share of fooled against it."""
    done = [entry for entry in entries if entry.row is not None]
    drawings = []
    for name in dict.fromkeys(itertools.chain.from_iterable(entry.point for entry in done)):
        for world in dict.fromkeys(entry.world for entry in done):
            lines: dict[tuple[Any, ...], list[Entry]] = {}
            for entry in done:
                if entry.world == world and name in entry.point:
                    others = tuple((other, value) for other, value in entry.point.items() if other != name)
                    lines.setdefault((entry.run, entry.cell.name, others), []).append(entry)
            long = [line for line in lines.values() if len(line) > 1]
            if long:
                drawings.append(_axis_effect(f"axis-{len(drawings) + 1}", name, world, long))
    return drawings


def _axis_effect(stem: str, name: str, world: str, lines: Sequence[Sequence[Entry]]) -> Drawing:
    shown = lines[:MOST_LINES]
    values = sorted({entry.point[name] for line in shown for entry in line})
    logarithmic = is_log_spaced(values)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(WIDTH + 2.0, 3.5 + 0.2 * (len(shown) // 2))
        several = figure.subplots(1, 2)
        for place, line in enumerate(shown):
            apart = place - (len(shown) - 1) / 2  # so that intervals at one value do not cover each other
            x = np.array([entry.point[name] for entry in line])
            x = x * (1 + 0.02 * apart) if logarithmic else x + 0.004 * apart * (values[-1] - values[0])
            look = {"color": COLOURS[place], "marker": MARKERS[place], "ms": 5, "lw": 1.4, "capsize": 2}
            for axes, statistic in zip(several, ("exact_return", "fraction_fooled"), strict=True):
                known = [[(entry.row or {})[statistic][part] for part in BOUNDS] for entry in line]
                value, low, high = np.array(known, float).T  # NaN for what is not known
                errors = np.nan_to_num([value - low, high - value]).clip(min=0.0)
                axes.errorbar(x, value, yerr=errors, label=in_lines(_line_label(line[0], name)), **look)
        for axes, label in zip(several, ("exact return", "fooled seeds"), strict=True):
            axes.set(xlabel=name, ylabel=label, xscale="log" if logarithmic else "linear")
            clean(axes)
        several[1].set_ylim(-0.03, 1.03)
        several[1].yaxis.set_major_formatter(PercentFormatter(1.0))
        _references(several[0], shown[0])
        handles, labels = several[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=2)
        figure.suptitle(world, fontsize=10)
    note = (
        "Left: mean exact return with its 95 % bootstrap interval (dashed: the optimum; dotted: the baseline). "
        "Right: the share of fooled seeds with its 95 % Clopper–Pearson interval. Lines are set apart a little."
    )
    note += left_out(len(shown), len(lines), "lines")
    return render(f"{stem}-{name}", f"Effect of {name} in {world}", note, figure)


def _line_label(entry: Entry, axis: str) -> str:
    """The entry's label without the world and without its value of the axis."""
    return entry.group.replace(f", {axis} {entry.point[axis]:g}", "")
