"""Return against real steps: curves of several methods, when they reach a goal, and what a seed costs until then."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sbmrl.display.plotting import COLOURS, DASHES, Drawing, clean, new_figure, render

GOAL = -200.0  # of Pendulum-v1: uniform actions earn -1224, the optimum -137.5


class Cost(NamedTuple):
    """Seconds of all seeds of a method.

    Attributes:
        compile: what was spent on compiling, as far as it can be told apart.
        run: the rest.
        until: for each point of the curve the seconds of `run` that had passed.
        processor: of all cores together, compiling included: other work on the machine changes them little.
    """

    compile: float
    run: float
    until: Sequence[float]
    processor: float


def describe(steps: Sequence[int], returns: Sequence[Sequence[float]], cost: Cost) -> dict[str, Any]:
    """A method as the results have it.

    Args:
        steps: `[P]`, real steps of one seed at each point.
        returns: `[P][N]`, of every seed.
        cost: of all N seeds.
    """
    num_seeds = len(returns[0])
    mean = [statistics.fmean(point) for point in returns]
    error = [statistics.stdev(point) / math.sqrt(num_seeds) if num_seeds > 1 else None for point in returns]
    reached = next((number for number, value in enumerate(mean) if value > GOAL), None)
    goal = None
    if reached is not None:
        run, compiling = cost.until[reached] / num_seeds, cost.compile / num_seeds
        whole = (cost.compile + cost.run) / num_seeds
        goal = {
            "real_steps": steps[reached],
            "seconds_a_seed": run + compiling,
            "seconds_a_seed_compiled": run,
            "processor_seconds_a_seed": cost.processor / num_seeds * (run + compiling) / whole,
        }
    return {
        "num_seeds": num_seeds,
        "steps": list(steps),
        "mean": mean,
        "standard_error": error,
        "returns": [list(point) for point in returns],
        "seconds_a_seed": (cost.compile + cost.run) / num_seeds,
        "seconds_a_seed_compiled": cost.run / num_seeds,
        "compile_seconds": cost.compile,
        "processor_seconds_a_seed": cost.processor / num_seeds,
        "goal": goal,
    }


def even(steps: Sequence[int], run: float) -> list[float]:
    """The seconds at each point where every real step costs alike."""
    return [run * count / steps[-1] for count in steps]


def table(methods: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each method that has a curve, then what else is to be said, a sentence a line."""
    lines = [
        f"| | seeds | real steps until the mean is above {GOAL:g} | seconds a seed until then (compiled) "
        "| mean return at the end | seconds a seed, all of it (compiled) | processor seconds a seed, all of it |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in methods.items():
        if own["steps"]:
            lines.append(_row(name, own))
    lines.append("")
    for own in methods.values():
        lines += [f"- {sentence}" for sentence in own["told"]]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in ratios(methods))]) + "\n"


def _row(name: str, own: Mapping[str, Any]) -> str:
    goal, error = own["goal"], own["standard_error"][-1]
    spread = "" if error is None else f" ± {error:.1f}"
    reached = "not reached | –"
    if goal is not None:
        seconds = f"{goal['seconds_a_seed']:.3g} ({goal['seconds_a_seed_compiled']:.3g})"
        reached = f"{goal['real_steps']:,} | {seconds}"
    whole = f"{own['seconds_a_seed']:.3g} ({own['seconds_a_seed_compiled']:.3g})"
    end = f"{own['mean'][-1]:.1f}{spread} at {own['steps'][-1]:,}"
    return f"| {name} | {own['num_seeds']} | {reached} | {end} | {whole} | {own['processor_seconds_a_seed']:.3g} |"


def ratios(methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How much sooner and cheaper each of ours reaches the goal than each other method that reaches it."""
    there = {name: own for name, own in methods.items() if own["goal"] is not None}
    told = []
    for name, own in there.items():
        for other, their in there.items():
            if own["ours"] and not their["ours"]:
                ours, theirs = own["goal"], their["goal"]
                told.append(
                    f"{other} needs {theirs['real_steps'] / ours['real_steps']:.2g} times the real steps of {name}, "
                    f"{theirs['seconds_a_seed'] / ours['seconds_a_seed']:.3g} times its seconds a seed "
                    f"({theirs['seconds_a_seed_compiled'] / ours['seconds_a_seed_compiled']:.3g} times compiled) "
                    f"and {theirs['processor_seconds_a_seed'] / ours['processor_seconds_a_seed']:.3g} times its "
                    "processor seconds."
                )
    return told


def draw(methods: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """Mean return over the seeds and one standard error, against real steps of a seed; one line a method."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for number, (name, own) in enumerate(methods.items()):
        steps = np.array(own["steps"])
        shown = steps > 0  # the axis is logarithmic
        mean, error = np.array(own["mean"])[shown], np.array(own["standard_error"], float)[shown]
        label = f"{name} ({own['num_seeds']} {'seed' if own['num_seeds'] == 1 else 'seeds'})"
        look = {"color": COLOURS[number], "linestyle": DASHES[number], "marker": "o", "markersize": 3}
        axes.plot(steps[shown], mean, lw=1.8, label=label, **look)
        axes.fill_between(steps[shown], mean - error, mean + error, color=COLOURS[number], alpha=0.15, lw=0)
    axes.axhline(GOAL, color="#888888", lw=0.8, linestyle=(0, (2, 2)), label=f"goal, {GOAL:g}")
    axes.set(title="Pendulum-v1: return", xlabel="real steps of a seed", xscale="log")
    axes.grid(axis="y", color="#e4e4e4", lw=0.8)
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    note = "Mean over the seeds and one standard error."
    return render("continuous_peers", "Return against real steps", note, figure)
