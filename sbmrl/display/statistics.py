"""The statistics of a cell, of pairs of cells and of several worlds: intervals over seeds, computed with scipy.

Source of those over several worlds: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice", arXiv 2108.13264. A world is what is called a task there, a seed a run.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported when first used

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
NUM_STRATIFIED = 2_000  # resamples of everything beyond the table's own intervals
_NUMBERS_AT_ONCE = 4_000_000  # resampled numbers held in memory; how they are batched changes no result


class Estimate(NamedTuple):
    """A number with its 95 % interval; NaN bounds where one value allows none.

    A format is that of all three numbers: `f"{estimate:.2f}"` is `0.79 [0.74, 0.84]`.
    """

    value: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        if not form:
            return str(self)
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def mean_interval(values: np.ndarray) -> Estimate:
    """The mean and its percentile-bootstrap interval (10,000 resamples, fixed generator)."""
    if len(values) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    if len(values) == 1:
        return Estimate(float(values[0]), np.nan, np.nan)
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        batch=_batch(len(values)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(float(np.mean(values)), float(interval.low), float(interval.high))


def interquartile_mean(values: np.ndarray) -> float:
    """The mean of the middle half of the values."""
    return float(scipy.stats.trim_mean(values, 0.25)) if len(values) else np.nan


def fraction_interval(successes: int, total: int) -> Estimate:
    """A proportion and its Clopper–Pearson interval: exact, so never narrower than it claims."""
    if total == 0:
        return Estimate(np.nan, np.nan, np.nan)
    interval = scipy.stats.binomtest(successes, total).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(successes / total, float(interval.low), float(interval.high))


def _batch(count: int) -> int:
    """Resamples of `count` numbers to hold in memory at once."""
    return max(_NUMBERS_AT_ONCE // max(count, 1), 1)


def stratified_intervals(strata: Sequence[np.ndarray], statistic: Callable[..., np.ndarray]) -> list[Estimate]:
    """K statistics of several samples with their percentile intervals, resampled inside every stratum.

    2,000 resamples, fixed generator: the same numbers every time.

    Args:
        strata: `[N_i]` each.
        statistic: `(*samples [..., N_i], axis) -> [K, ...]`.

    Returns:
        K estimates; NaN bounds where a stratum has one value only, NaN values where one has none.
    """
    counts = [len(values) for values in strata]
    if not counts or min(counts) == 0:
        size = len(statistic(np.zeros(1), axis=-1))
        return [Estimate(np.nan, np.nan, np.nan)] * size
    found = np.asarray(statistic(*strata, axis=-1))
    if min(counts) == 1:
        return [Estimate(float(value), np.nan, np.nan) for value in found]
    interval = scipy.stats.bootstrap(
        tuple(strata),
        statistic,
        paired=False,
        vectorized=True,
        n_resamples=NUM_STRATIFIED,
        batch=_batch(sum(counts)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    bounds = zip(found, interval.low, interval.high, strict=True)
    return [Estimate(float(value), float(low), float(high)) for value, low, high in bounds]


def interquartile_mean_interval(values: np.ndarray) -> Estimate:
    """The mean of the middle half of `[N]` values, with its bootstrap interval."""
    return stratified_intervals([values], lambda sample, axis: scipy.stats.trim_mean(sample, 0.25, axis=axis)[None])[0]


class Aggregates(NamedTuple):
    """Scores over several worlds (Agarwal et al. 2021, section 4.3); 1 is optimal play, 0 the uniform policy.

    Attributes:
        interquartile_mean: the mean of the middle half of all runs of all worlds.
        median: over worlds, of the world's mean score; with one world that mean.
        mean: over worlds, of the world's mean score.
        optimality_gap: over worlds, of the mean amount by which runs miss a score of 1; less is better.
    """

    interquartile_mean: Estimate
    median: Estimate
    mean: Estimate
    optimality_gap: Estimate


def aggregates(scores: Sequence[np.ndarray]) -> Aggregates:
    """The aggregate scores of `[N_i]` normalised scores in each world, with stratified bootstrap intervals."""
    return Aggregates(*stratified_intervals(scores, _aggregates))


def _aggregates(*worlds: np.ndarray, axis: int) -> np.ndarray:
    """`[4, ...]` the numbers of `Aggregates`."""
    pooled = np.concatenate(worlds, axis=axis)
    means = np.stack([world.mean(axis=axis) for world in worlds])
    reached = np.stack([np.minimum(world, 1.0).mean(axis=axis) for world in worlds])
    middle = scipy.stats.trim_mean(pooled, 0.25, axis=axis)
    return np.stack([middle, np.median(means, axis=0), means.mean(axis=0), 1.0 - reached.mean(axis=0)])


class Profile(NamedTuple):
    """A performance profile: for every threshold the share of runs above it, and its pointwise band; `[K]` each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def performance_profile(scores: Sequence[np.ndarray], thresholds: np.ndarray) -> Profile:
    """The share of runs with a score above each threshold, averaged over worlds (Agarwal et al. 2021, section 4.2).

    The band is that of the bootstrap stratified by worlds. At one threshold the number of resampled runs above it is
    binomial, with the share as its probability, and is drawn as such: no resample is ever made.

    Args:
        scores: `[N_i]` normalised scores in each world, at least one.
        thresholds: `[K]`.
    """
    generator = np.random.default_rng(0)
    shares = np.stack([(world[:, None] > thresholds).mean(axis=0) for world in scores])
    levels, level_of = np.unique(shares, axis=1, return_inverse=True)  # between two scores nothing changes
    resampled = np.zeros((NUM_STRATIFIED, levels.shape[1]))
    for world, share in zip(scores, levels, strict=True):
        resampled += generator.binomial(len(world), share, size=resampled.shape) / len(world)
    bounds = np.quantile(resampled / len(scores), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low, high = bounds[:, level_of.reshape(-1)]
    return Profile(shares.mean(axis=0), low, high)


class Improvement(NamedTuple):
    """One row against another, seed by seed.

    Attributes:
        difference: the mean of x − y.
        probability: P(X > Y) + ½ P(X = Y).
    """

    difference: Estimate
    probability: Estimate


def paired_improvement(differences: np.ndarray, tolerance: float) -> Improvement:
    """The mean of `[N]` paired differences and the probability of improvement, resampling pairs.

    Args:
        differences: x − y of each pair.
        tolerance: differences up to this size count as equal: rounding is no improvement.
    """

    def both(sample: np.ndarray, axis: int) -> np.ndarray:
        better = (sample > tolerance) + 0.5 * (np.abs(sample) <= tolerance)
        return np.stack([sample.mean(axis=axis), better.mean(axis=axis)])

    return Improvement(*stratified_intervals([differences], both))
