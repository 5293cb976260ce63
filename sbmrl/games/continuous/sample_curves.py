"""Learning curves of simulated worlds against the real samples that they cost, for reports and for the programme."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from sbmrl.display.plotting import COLOURS

METRICS = ("exact_return", "model_return", "fit", "random_fit", "real_steps")
REFERENCE = "#222222"


class SampleCurves(NamedTuple):
    """Of the seeds that did not diverge, at R records in play.

    Attributes:
        real_steps: `[R]`, the mean over the seeds: episodes may end early. In literal games, where no data are
            collected, the leader's own steps: of a policy they are real ones, of a model its generations.
        metrics: name -> `[R, N]`; see `METRICS`.
    """

    real_steps: np.ndarray
    metrics: Mapping[str, np.ndarray]


def read_curves(curves: pl.DataFrame, finite: pl.DataFrame) -> SampleCurves:
    """The curves of one point of a cell, long, and its runs that did not diverge."""
    kept = curves.filter((pl.col("stage") == "play") & pl.col("seed").is_in(finite["seed"].to_list()))

    def of(metric: str) -> np.ndarray:
        own = kept.filter(pl.col("metric") == metric).sort("steps", "seed")
        return own["value"].to_numpy().reshape(own["steps"].n_unique(), -1)

    metrics = {name: of(name) for name in METRICS}
    counted = metrics["real_steps"]
    steps = kept["steps"].unique().sort().to_numpy() if np.isnan(counted).any() else counted.mean(axis=1)
    return SampleCurves(steps, metrics)


def quartiles(values: np.ndarray) -> np.ndarray:
    """`[3, R]` of `[R, N]`: the ends of the middle half, the median between them."""
    return np.quantile(values, [0.25, 0.5, 0.75], axis=1)


Numbers = Sequence[float] | np.ndarray


def draw_middle(
    axes: Axes, real_steps: Numbers, middle: Sequence[Numbers] | np.ndarray, colour: str = COLOURS[0], label: str = ""
) -> None:
    """A line of medians in the band of the middle half."""
    low, median, high = middle
    marker = "o" if len(real_steps) == 1 else None  # a line of one record is no line
    axes.fill_between(real_steps, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(real_steps, median, color=colour, lw=1.6, marker=marker, label=label)


def draw_returns(
    axes: Axes, real_steps: Numbers, middle: Sequence[Numbers] | np.ndarray, mean: Numbers, optimal: float
) -> None:
    """The return in the world: median and middle half, the mean dotted, the optimum dashed."""
    draw_middle(axes, real_steps, middle)
    axes.plot(real_steps, mean, color=COLOURS[1], lw=1.2, ls=":")
    axes.axhline(optimal, color=REFERENCE, lw=0.8, ls="--")


TOLD_OF_RETURNS = "Line: the median over the seeds; band: the middle half; dotted: the mean; dashed: the optimum."
