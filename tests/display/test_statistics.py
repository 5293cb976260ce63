"""Statistics over pairs and over worlds, on numbers whose answers are known."""

import numpy as np
import pytest
from scipy import stats

from sbmrl.display import statistics
from sbmrl.display.statistics import (
    aggregates,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    paired_improvement,
    performance_profile,
    stratified_intervals,
)
from sbmrl.report.figures import is_log_spaced


def means(*strata, axis):
    return np.mean([stratum.mean(axis=axis) for stratum in strata], axis=0)[None]


def test_aggregates_of_known_scores():
    scores = [np.array([0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.5, 1.5]), np.full(4, 0.9)]
    found = aggregates(scores)
    pooled = np.sort(np.concatenate(scores))
    assert found.interquartile_mean.value == pytest.approx(pooled[3:9].mean())
    assert found.median.value == pytest.approx(0.9)
    assert found.mean.value == pytest.approx((0.5 + 1.25 + 0.9) / 3)
    assert found.optimality_gap.value == pytest.approx((0.5 + 0.0 + 0.1) / 3)


def test_equal_values_in_every_world_leave_no_doubt_though_worlds_differ():
    """A bootstrap that mixed the worlds would doubt the mean."""
    assert aggregates([np.full(5, 0.25), np.full(3, 0.75)]).mean == (0.5, 0.5, 0.5)


def test_one_seed_has_no_interval_and_none_no_value():
    found = aggregates([np.array([0.5]), np.array([0.5, 1.0])])
    assert found.mean.value == pytest.approx(0.625)
    assert np.isnan(found.mean.low)
    assert np.isnan(aggregates([np.array([]), np.array([1.0])]).mean.value)
    assert np.isnan(interquartile_mean_interval(np.array([])).value)


def test_the_stratified_interval_of_a_mean_is_the_normal_one():
    generator = np.random.default_rng(0)
    strata = [generator.normal(size=200), generator.normal(5.0, 3.0, size=300)]
    (found,) = stratified_intervals(strata, means)
    error = 0.5 * np.sqrt(sum(stratum.var() / len(stratum) for stratum in strata))
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)


def test_the_stratified_interval_covers_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        strata = [generator.normal(size=30), generator.normal(size=50)]
        (found,) = stratified_intervals(strata, means)
        hits += found.low <= 0 <= found.high
    assert 50 <= hits < 60


def test_batches_bound_the_memory_and_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=500)
    before = (mean_interval(values), interquartile_mean_interval(values))
    monkeypatch.setattr(statistics, "_NUMBERS_AT_ONCE", 5_000)
    assert (mean_interval(values), interquartile_mean_interval(values)) == before


def test_the_interval_of_the_interquartile_mean_is_around_it():
    values = np.random.default_rng(0).normal(size=100)
    found = interquartile_mean_interval(values)
    assert found.value == pytest.approx(interquartile_mean(values))
    assert found.low < found.value < found.high


def test_probability_of_improvement_counts_ties_half():
    found = paired_improvement(np.array([2.0, -1.0, 1e-9, -1e-9]), tolerance=1e-6)
    assert found.difference.value == pytest.approx(0.25)
    assert found.probability.value == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert paired_improvement(np.zeros(8), 1e-6) == ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))


def test_a_profile_is_the_share_above_averaged_over_worlds():
    thresholds = np.array([-0.1, 0.0, 0.5, 1.0])
    found = performance_profile([np.array([0.0, 1.0]), np.array([0.6, 0.6, 0.6, 0.2])], thresholds)
    np.testing.assert_allclose(found.value, [1.0, (0.5 + 1.0) / 2, (0.5 + 0.75) / 2, 0.0])
    np.testing.assert_allclose(found.low[[0, 3]], [1.0, 0.0])
    assert np.all(found.low <= found.value)
    assert np.all(found.value <= found.high)


def test_a_profile_s_band_is_that_of_resampled_runs():
    """Drawn as binomial numbers; here against resamples that are really made."""
    generator = np.random.default_rng(2)
    scores = [generator.uniform(size=40), generator.uniform(size=60)]
    found = performance_profile(scores, np.array([0.3]))

    def share(*worlds, axis):
        return np.mean([(world > 0.3).mean(axis=axis) for world in worlds], axis=0)

    made = stats.bootstrap(scores, share, method="percentile", n_resamples=5000, rng=generator).confidence_interval
    assert found.low[0] == pytest.approx(made.low, abs=0.015)
    assert found.high[0] == pytest.approx(made.high, abs=0.015)


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ((1e-4, 1e-3, 1e-2), True),
        ((1e-4, 3e-4, 1e-3), True),
        ((0.0, 0.5, 1.0), False),
        ((1.0, 2.0, 3.0), False),
        ((0.1, 0.55, 1.0), False),
        ((1.0,), False),
    ],
)
def test_log_spaced_values_are_known(values, logarithmic):
    assert is_log_spaced(values) == logarithmic


def test_an_estimate_is_printed_with_its_interval():
    estimate = statistics.Estimate(0.786, 0.741, 0.838)
    assert f"{estimate:.0%}" == "79% [74%, 84%]"
    assert f"{estimate:5.2f}" == " 0.79 [ 0.74,  0.84]"
    assert f"{estimate}" == str(estimate)
