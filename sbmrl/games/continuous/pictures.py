"""The pictures of simulated worlds in a report: against real samples, the model's error over the states, episodes.

Models and policies are those that a run has kept, its final ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sbmrl.core import registry
from sbmrl.display.files import write_figure
from sbmrl.display.frames import at_point, median_run
from sbmrl.display.plotting import COLOURS, STYLE, Drawing, clean, in_lines, left_out, new_figure, render
from sbmrl.display.results import Cell, Entry
from sbmrl.games.continuous.grid import action_grid
from sbmrl.games.continuous.learned import (
    Trajectories,
    coordinate_names,
    coordinates,
    model_error,
    slice_of,
    trajectories,
    where_visited,
)
from sbmrl.games.continuous.measures import LARGE_LOSS, SMALL_LOSS
from sbmrl.games.continuous.sample_curves import (
    REFERENCE,
    TOLD_OF_RETURNS,
    SampleCurves,
    draw_middle,
    draw_returns,
    quartiles,
    read_curves,
)
from sbmrl.games.continuous.simulator import Box, Chart, Simulator

MOST_ROWS = 8  # of a figure
_RESOLUTION = 61  # points along a coordinate
_ACTIONS = 3  # along each dimension of a box: its ends and the middle
_LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of the error, the same in all figures
_FINE = 30  # a state in so many parts of a coordinate's range is drawn once, however often it is visited
_EPISODES = ("worst", "middle", "best")  # beside each other, by their return in the world
_WORLD: Any = {"lw": 3.4, "alpha": 0.35}
_MODEL: Any = {"lw": 1.3, "ls": (0, (4, 2))}
_MEDIAN = "Drawn is the seed at the median return of its row, with what it had learned at the end."


class Learned(NamedTuple):
    """What one run has learned, ready to draw.

    Attributes:
        label: its row of the report.
        told: which seed it is, and its return.
        simulator: the world.
        model: its final model.
        in_world: episodes of its final policy, by its mean.
        in_model: the same in the model.
    """

    label: str
    told: str
    simulator: Simulator
    model: Any
    in_world: Trajectories
    in_model: Trajectories


def read_learned(cell: Cell, run: int, label: str) -> Learned:
    """The final model of a run, and episodes of its final policy.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    profile, options = cell.profile(run), cell.experiment.game
    policy: Any = profile["policy"]
    played = trajectories(cell.world, policy, profile["model"], options.propagation, options.num_test_episodes)
    told = f"seed {cell.seed_of(run)}, return {np.mean(played[0].returns):.4g}".replace("-", "\N{MINUS SIGN}")
    return Learned(label, told, cell.world, profile["model"], *played)


def sample_pictures(entries: Sequence[Entry]) -> tuple[list[Drawing], list[str]]:
    """The pictures of each world, and in sentences what is left out.

    Raises:
        InputError: a file is damaged.
    """
    worlds: dict[str, list[Entry]] = {}
    for entry in entries:
        if len(entry.finite):
            worlds.setdefault(entry.world, []).append(entry)
    drawings, told = [], []
    for number, (world, own) in enumerate(worlds.items(), start=1):
        drawings.append(_against_samples(f"samples-{number}", world, own))
        bare = dict.fromkeys(entry.cell.name for entry in own if not entry.cell.has_profiles)
        if bare:
            told.append(f"Without chunks/ there are no models to draw: {', '.join(bare)}.")
        kept = [entry for entry in own if entry.cell.name not in bare]
        learned = [_median_run(entry) for entry in kept[:MOST_ROWS]]
        if not learned:
            continue
        more = left_out(len(learned), len(kept), "rows")
        if learned[0].simulator.rules.chart is None:
            told.append(f"{world} has no chart of three coordinates or fewer: no error is drawn over its states.")
        else:
            drawings.append(_errors(f"error-{number}", world, learned, f" {_MEDIAN}{more}"))
        drawings.append(_imagined(f"imagined-{number}", world, learned, f" {_MEDIAN}{more}"))
    return drawings, told


def draw_run(cell: Cell, run: int, stem: Path) -> list[Path]:
    """What a run has learned: `stem`-error where its world has a chart, and `stem`-imagined, each as .svg and .png.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    world = cell.world.name
    learned = [read_learned(cell, run, registry.formulation(cell.experiment.formulation).title)]
    drawings = [_imagined(f"{stem.name}-imagined", world, learned, "")]
    if cell.world.rules.chart is not None:
        drawings.insert(0, _errors(f"{stem.name}-error", world, learned, ""))
    return [path for drawing in drawings for path in write_figure(stem.parent, drawing)]


def _median_run(entry: Entry) -> Learned:
    row, cell = median_run(entry.finite), entry.cell
    return read_learned(cell, cell.find(row["seed"], **entry.point), entry.label)


def _rows(labels: Sequence[str], columns: int, height: float, width: float, **share: Any) -> tuple[Figure, np.ndarray]:
    """A figure with a row of panels for each label, which stands above the first of them, in lines where it has any."""
    told = ["\n".join(map(in_lines, label.split("\n"))) for label in labels]
    lines = sum(text.count("\n") for text in told)
    figure = new_figure(width, height * len(labels) + 0.17 * lines + 0.7)
    several = figure.subplots(len(labels), columns, squeeze=False, **share)
    for axes, label in zip(several[:, 0], told, strict=True):
        axes.set_title(label, loc="left")
    for axes in several.ravel():
        clean(axes)
    return figure, several


def _legend(figure: Figure, lines: Mapping[str, Mapping[str, Any]]) -> None:
    handles = [Line2D([], [], label=label, **look) for label, look in lines.items()]
    figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside lower center", ncols=len(handles))


_LINES = {
    "return in the world": {"color": COLOURS[0]},
    "return in the model": {"color": COLOURS[3]},
    "own loss": {"color": COLOURS[2]},
    "wide loss": {"color": COLOURS[4]},
}


def _against_samples(name: str, world: str, entries: Sequence[Entry]) -> Drawing:
    """Return, losses, and the return in the model, against the real samples."""
    shown = entries[:MOST_ROWS]
    with matplotlib.rc_context(STYLE):
        share: Any = {"sharex": True, "sharey": "col"}
        figure, several = _rows([entry.label for entry in shown], columns=3, height=2.0, width=9.0, **share)
        counted: list[bool] = []
        for row, entry in zip(several, shown, strict=True):
            curves = read_curves(at_point(entry.cell.curves(), entry.point), entry.finite)
            counted.append(not np.isnan(curves.metrics["real_steps"]).any())
            _sample_row(row, curves, float(entry.finite["optimal_return"][0]))
        for column, title in zip(several.T, ("return in the world", "loss", "return"), strict=True):
            column[-1].set_xlabel("real samples" if all(counted) else "real samples, or the leader's steps")
            for panel in column:
                panel.set_ylabel(title)
        _legend(figure, _LINES)
    note = (
        f"{TOLD_OF_RETURNS} Middle: the model's loss on the newest transitions (own) and on those of random actions "
        f"(wide), squared errors of normalised differences; dotted: {SMALL_LOSS:g} and {LARGE_LOSS:g}, a model is "
        "right on its own data below the one and wrong elsewhere above the other. Right: the mean policy's return in "
        "the model beside that in the world. Real samples: the mean over the seeds; in literal games the leader's "
        "steps, which are real ones if a policy leads."
    )
    note += left_out(len(shown), len(entries), "rows")
    return render(name, f"Against real samples in {world}", note, figure)


def _sample_row(row: Sequence[Axes], curves: SampleCurves, optimal: float) -> None:
    real, metrics = curves
    middle = {name: quartiles(values) for name, values in metrics.items()}
    returns, losses, both = row
    draw_returns(returns, real, middle["exact_return"], metrics["exact_return"].mean(axis=1), optimal)
    for metric, label in (("fit", "own loss"), ("random_fit", "wide loss")):
        draw_middle(losses, real, -middle[metric][::-1], _LINES[label]["color"])
    for limit in (SMALL_LOSS, LARGE_LOSS):
        losses.axhline(limit, color=REFERENCE, lw=0.8, ls=":")
    losses.set_yscale("log")
    for metric, label in (("exact_return", "return in the world"), ("model_return", "return in the model")):
        draw_middle(both, real, middle[metric], _LINES[label]["color"])
    both.axhline(optimal, color=REFERENCE, lw=0.8, ls="--")


def _errors(name: str, world: str, learned: Sequence[Learned], why: str) -> Drawing:
    """The model's error over the states, and on top of it the states that its policy visits."""
    simulator = learned[0].simulator
    chart, names = simulator.rules.chart, coordinate_names(simulator)
    assert chart is not None
    states = slice_of(chart, _RESOLUTION)
    actions = action_grid(simulator.rules.actions, _ACTIONS if isinstance(simulator.rules.actions, Box) else None)
    columns = min(2, len(learned))
    with matplotlib.rc_context(STYLE):
        figure = new_figure(1.0 + 3.8 * columns, 3.3 * -(-len(learned) // columns) + 0.3)
        grid = figure.subplots(-(-len(learned) // columns), columns, squeeze=False, sharex=True, sharey=True)
        several = list(grid.ravel())
        for axes in several[len(learned) :]:
            axes.axis("off")
        drawn = None
        for axes, own in zip(several, learned, strict=False):
            error = np.clip(np.asarray(model_error(own.simulator, own.model, states, actions)), 1e-6, 1e6)
            visited = _visited(own, chart)
            here, elsewhere = where_visited(chart, error, visited)
            points = _once(visited, chart)
            if len(names) == 1:
                _error_line(axes, states[:, 0], error, points[:, 0])
            else:
                drawn = _error_map(axes, chart, states, error, points)
            split = f"{_told(here)} where its policy goes, {_told(elsewhere)} elsewhere"
            axes.set_title(f"{in_lines(own.label)}\n{own.told}\n{split}")
            axes.set_xlabel(names[0])
        for axes in grid[:, 0]:
            axes.set_ylabel(names[1] if len(names) > 1 else "model's error")
        if drawn is not None:
            figure.colorbar(drawn, ax=several, label="model's error", format="{x:g}", shrink=0.9)
    fixed = ""
    if len(names) > 2:
        fixed = f" {names[2]} is {states[0, 0, 2]:g}, the middle of its range, and points are seen along it."
    note = (
        "The error of the final model's prediction in units of what a step moves (root mean squares over the "
        "coordinates drawn here, a few actions over their whole range, and the members): a model that says that "
        "nothing moves has an error of about 1. Points: states within the chart that the final policy visits in the "
        "world, by its mean, each once. Above: the error near them and elsewhere, root mean squares."
    )
    return render(name, f"Error of the model over the states of {world}", note + fixed + why, figure)


def _told(error: float) -> str:
    return "–" if np.isnan(error) else f"{error:.2g}"


def _visited(own: Learned, chart: Chart) -> np.ndarray:
    """`[P, K]`: states of all its episodes in the world that lie within the chart."""
    found = coordinates(own.simulator, own.in_world.observations).reshape(-1, len(chart.low))
    low, high = np.array(chart.low), np.array(chart.high)
    return found[((found >= low) & (found <= high)).all(axis=1)]  # NaN is not


def _once(visited: np.ndarray, chart: Chart) -> np.ndarray:
    """`[P', K]`: of states that would touch in the figure, one."""
    low, high = np.array(chart.low), np.array(chart.high)
    cells = np.floor((visited - low) / (high - low) * _FINE)[:, :2]
    return visited[np.sort(np.unique(cells, axis=0, return_index=True)[1])]


def _error_line(axes: Axes, places: np.ndarray, error: np.ndarray, points: np.ndarray) -> None:
    axes.plot(places, error, color=COLOURS[1], lw=1.6)
    axes.plot(points, np.exp(np.interp(points, places, np.log(error))), "o", ms=4, mew=0, color=COLOURS[0], alpha=0.7)
    axes.axhline(1.0, color=REFERENCE, lw=0.8, ls=":")
    axes.set_yscale("log")
    clean(axes)


def _error_map(axes: Axes, chart: Chart, states: np.ndarray, error: np.ndarray, points: np.ndarray) -> Any:
    look: Any = {"levels": _LEVELS, "norm": LogNorm(_LEVELS[0], _LEVELS[-1]), "cmap": "YlOrBr", "extend": "both"}
    drawn = axes.contourf(states[:, 0, 0], states[0, :, 1], error.T, **look)
    axes.plot(points[:, 0], points[:, 1], "o", ms=1.8, mew=0, color=COLOURS[0], alpha=0.7)
    axes.set(xlim=(chart.low[0], chart.high[0]), ylim=(chart.low[1], chart.high[1]))
    return drawn


def _imagined(name: str, world: str, learned: Sequence[Learned], why: str) -> Drawing:
    """The same starts in the world and in the model: coordinates and cumulated reward against time."""
    simulator = learned[0].simulator
    names = (*coordinate_names(simulator), "cumulated reward")
    with matplotlib.rc_context(STYLE):
        labels = [f"{own.label}\n{own.told}" for own in learned]
        share: Any = {"sharex": True, "sharey": "col"}
        figure, several = _rows(labels, len(names), 1.9, 1.0 + 2.6 * len(names), **share)
        for row, own in zip(several, learned, strict=True):
            chosen = _worst_to_best(own.in_world)
            for played, look in ((own.in_world, _WORLD), (own.in_model, _MODEL)):
                _episode_lines(row, simulator, played, chosen, look)
        for axes, label in zip(several.T, names, strict=True):
            axes[-1].set_xlabel("decisions made")
            for panel in axes:
                panel.set_ylabel(label)
        lines = {"in the world": {"color": REFERENCE} | _WORLD, "in the model": {"color": REFERENCE} | _MODEL}
        _legend(figure, lines | {name: {"color": colour} for name, colour in zip(_EPISODES, COLOURS, strict=False)})
    note = (
        "Episodes of the final policy, by its mean, from the same start in the world and in the model: of all that it "
        "is judged by, the worst, the middle and the best by their return in the world. A dot: the episode has ended "
        "early."
    )
    return render(name, f"Imagined beside real episodes in {world}", note + why, figure)


def _worst_to_best(in_world: Trajectories) -> np.ndarray:
    """The places of the episodes to draw; where all returns are the same, from the first to the last."""
    ordered = np.argsort(in_world.returns, stable=True)
    return ordered[np.linspace(0, len(ordered) - 1, len(_EPISODES)).astype(int)]


def _episode_lines(
    row: Sequence[Axes], simulator: Simulator, played: Trajectories, chosen: np.ndarray, look: Mapping[str, Any]
) -> None:
    places = coordinates(simulator, played.observations[chosen])
    cumulated, chart = np.asarray(played.cumulated)[chosen], simulator.rules.chart
    for episode, colour in zip(range(len(chosen)), COLOURS, strict=False):
        last = int(np.isfinite(cumulated[episode]).sum()) - 1
        for k, axes in enumerate(row):
            values = cumulated[episode] if k == places.shape[-1] else places[episode, :, k]
            ended = values[last]
            if chart is not None and k < len(chart.low) and chart.wraps[k]:
                values = _without_jumps(values, chart.high[k] - chart.low[k])
            axes.plot(values, color=colour, **look)
            if last < len(values) - 1:
                axes.plot(last, ended, "o", ms=look["lw"] + 3, mew=0, color=colour, alpha=look.get("alpha"))


def _without_jumps(values: np.ndarray, width: float) -> np.ndarray:
    """A coordinate that wraps, with a gap where it goes from one end to the other."""
    jumps = np.abs(np.diff(values, prepend=values[0])) > width / 2
    return np.where(jumps, np.nan, values)
