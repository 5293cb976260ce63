"""Statistics and the table, on numbers whose answers are known; W&B that fails is only a warning."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from sbmrl.display.statistics import fraction_interval, interquartile_mean, mean_interval
from sbmrl.experiment.presets import preset
from sbmrl.games.matrix.kind import MATRIX
from sbmrl.games.tabular.kind import TABULAR
from sbmrl.games.tabular.theory.certificates import Certificate
from sbmrl.report import tracking
from sbmrl.report.table import cells, columns, make_row, to_markdown
from sbmrl.sweep.execute import Progress
from sbmrl.sweep.plan import CellPlan
from sbmrl.sweep.store import RESULT_COLUMNS

CELL = CellPlan("cell", preset("fast", "mal"), ())


def results(exact_return, finite=None, **columns):
    count = len(exact_return)
    frame = {name: np.zeros(count) for name in (*RESULT_COLUMNS, *Certificate._fields)} | {
        "formulation": ["mal"] * count,
        "scheme": ["contextual"] * count,
        "learner": ["ppo"] * count,
        "env": ["simple_mdp_2"] * count,
        "alpha": [0.5] * count,
        "loss": ["brier"] * count,
        "agent_reward": ["world"] * count,
        "exact_return": exact_return,
        "optimal_return": [36.45] * count,
        "fooled": np.array(exact_return) < 30,
        "optimal": np.array(exact_return) > 36,
        "finite": [True] * count if finite is None else finite,
    }
    return pl.DataFrame(frame | columns)


def test_what_did_not_converge_is_counted_and_the_certificate_kept():
    row = make_row(TABULAR, results([1.0, 2.0, 36.45], residual=[0.5, np.nan, 1e-6], theorem_2=[3.0, 1.0, 2.0]), 1.0)
    assert row["num_unconverged"] == 1
    assert row["certificate"]["theorem_2"] == 2.0


def test_the_bootstrap_interval_covers_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        estimate = mean_interval(generator.normal(size=40))
        hits += estimate.low <= 0 <= estimate.high
    assert 50 <= hits <= 60


def test_small_samples_have_no_interval_and_equal_values_a_point():
    assert np.isnan(mean_interval(np.array([3.0])).low)
    assert mean_interval(np.full(5, 2.0)) == (2.0, 2.0, 2.0)
    assert np.isnan(mean_interval(np.array([])).value)
    assert np.isnan(interquartile_mean(np.array([])))


def test_the_interquartile_mean_ignores_the_outer_quarters():
    assert interquartile_mean(np.array([-1e9, 1.0, 3.0, 1e9])) == 2.0


def test_fraction_interval_is_clopper_pearson():
    estimate = fraction_interval(0, 16)
    assert estimate.low == 0.0
    assert estimate.high == pytest.approx(stats.beta.ppf(0.975, 1, 16))


def test_diverged_seeds_are_counted_and_left_out():
    row = make_row(TABULAR, results([36.45, 0.99, np.nan], finite=[True, True, False]), seconds=1.0)
    assert (row["num_seeds"], row["num_diverged"]) == (3, 1)
    assert row["exact_return"]["value"] == pytest.approx((36.45 + 0.99) / 2)
    assert row["fraction_fooled"]["value"] == 0.5
    assert "1 diverged" in cells(row, [row])[-2]


def test_the_caption_gives_the_scale_of_regret_where_all_rows_share_it():
    rows = [make_row(TABULAR, results([36.45, 0.99], uniform_return=[1.69] * 2), seconds=1.0)]
    assert "the optimum is 36.45" in to_markdown(rows)
    assert "the baseline of 1.69 is the uniform policy." in to_markdown(rows)
    rows.append(make_row(TABULAR, results([36.45, 0.99], uniform_return=[2.0] * 2, env=["own"] * 2), seconds=1.0))
    assert "the baseline is the uniform policy." in to_markdown(rows)


def test_a_cell_in_which_every_seed_diverged_still_has_a_row():
    row = make_row(TABULAR, results([np.nan, np.nan], finite=[False, False]), seconds=1.0)
    assert row["exact_return"]["value"] is None
    assert "| MAL | 0.97 ± 0.05 | – | – | – | – | – | – | 2 (2 diverged, left out) | 1 |" in to_markdown([row])


def test_a_kind_of_game_adds_its_own_to_a_row_and_what_nobody_published_has_no_column():
    own = {"formulation": ["matrix_game"] * 2, "env": ["hero"] * 2}
    row = make_row(
        MATRIX, results([15.0, 15.0], **own).drop("alpha", "loss", "agent_reward", *Certificate._fields), 1.0
    )
    assert row["title"] == "row leads"
    assert row["published"] is None
    assert not {"alpha", "loss", "agent_reward", "certificate"} & set(row)
    tabular = make_row(TABULAR, results([36.45, 36.45]), seconds=1.0)
    assert {"alpha", "loss", "agent_reward", "certificate"} <= set(tabular)
    assert "poster" not in columns([row])
    assert columns([row, tabular])[1] == "poster"
    assert [cells(one, [row, tabular])[1] for one in (row, tabular)] == ["–", "0.97 ± 0.05"]
    for rows in ([row], [row, tabular]):
        assert {len(cells(one, rows)) for one in rows} == {len(columns(rows))}


def test_a_best_response_that_nobody_knows_is_not_counted():
    row = make_row(TABULAR, results([36.45, 36.45], follower_gap_true=[np.nan, np.nan]), 1.0)
    assert row["fraction_follower_best_responds"]["value"] is None
    row = make_row(TABULAR, results([36.45, 36.45], follower_gap_true=[np.nan, 0.1]), 1.0)
    assert row["fraction_follower_best_responds"]["value"] == 1.0


def test_aggregates_leave_out_what_is_not_finite():
    logged = tracking.aggregate(Progress("play", 1, 2, 100, {"exact_return": np.array([1.0, 3.0, np.nan])}))
    assert logged["play/steps"] == 100
    assert logged["play/exact_return/mean"] == 2.0
    assert logged["play/exact_return/num_finite"] == 2


def test_a_failing_wandb_warns_once_and_stops_nothing(monkeypatch, tmp_path, capsys):
    import wandb
    from wandb.errors import CommError

    def fail(**_):
        raise CommError("no route\nto host")

    monkeypatch.setattr(wandb, "init", fail)
    tracker = tracking.Tracker("online", "sweep", CELL, tmp_path)
    tracker.log(Progress("play", 1, 1, 1, {"exact_return": np.ones(2)}))
    tracker.finish(tmp_path, [])
    assert capsys.readouterr().err == "warning: wandb: no route; going on without it\n"


def test_a_wandb_that_fails_later_warns_once(monkeypatch, tmp_path, capsys):
    import wandb

    class Run:
        calls = 0

        def define_metric(self, *_, **__): ...

        def log(self, _):
            self.calls += 1
            raise OSError("disk full")

    run = Run()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    tracker = tracking.Tracker("offline", "sweep", CELL, tmp_path)
    for _ in range(3):
        tracker.log(Progress("play", 1, 1, 1, {"exact_return": np.ones(2)}))
    assert run.calls == 1
    assert capsys.readouterr().err == "warning: wandb: disk full; going on without it\n"
