"""The statistics of a cell: intervals over seeds, computed with scipy."""

from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN bounds where one value allows none."""

    value: float
    low: float
    high: float


def mean_interval(values: np.ndarray) -> Estimate:
    """The mean and its percentile-bootstrap interval (10,000 resamples, fixed generator)."""
    if len(values) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    if len(values) == 1:
        return Estimate(float(values[0]), np.nan, np.nan)
    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(float(np.mean(values)), float(interval.low), float(interval.high))


def interquartile_mean(values: np.ndarray) -> float:
    """The mean of the middle half of the values."""
    return float(stats.trim_mean(values, 0.25)) if len(values) else np.nan


def fraction_interval(successes: int, total: int) -> Estimate:
    """A proportion and its Clopper–Pearson interval: exact, so never narrower than it claims."""
    if total == 0:
        return Estimate(np.nan, np.nan, np.nan)
    interval = stats.binomtest(successes, total).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(successes / total, float(interval.low), float(interval.high))
