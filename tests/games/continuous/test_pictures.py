"""The pictures of simulated worlds: what they show is what was learned, and they are there."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import struct

import sbmrl
from sbmrl.cli import main
from sbmrl.core.game import Acting
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.family import Prediction
from sbmrl.games.continuous.grid import action_grid
from sbmrl.games.continuous.learned import (
    coordinate_names,
    coordinates,
    model_error,
    slice_of,
    trajectories,
    where_visited,
)
from sbmrl.games.continuous.physics import model_of
from sbmrl.games.continuous.pictures import read_learned, sample_pictures
from sbmrl.games.continuous.programme_report import write
from sbmrl.games.continuous.sample_curves import read_curves
from sbmrl.games.continuous.simulator import Box, Chart
from sbmrl.report.entries import read_runs
from sbmrl.report.page import write_report

pytestmark = pytest.mark.xdist_group("continuous")


class Still(struct.PyTreeNode):
    """A model that says that nothing moves, in two members."""

    num_members: int = struct.field(pytree_node=False, default=2)

    def predict(self, rules, key, observation, action):
        return Prediction(observation, jnp.zeros(observation.shape[:-1], bool))


class Always(Acting):
    """A policy whose mean is the same everywhere."""

    answer: jax.Array

    def mode(self, observation, time):
        return jnp.broadcast_to(self.answer, (*observation.shape[:-1], *self.answer.shape))


def error_of(simulator, model, resolution=9):
    chart, actions = simulator.rules.chart, simulator.rules.actions
    actions = action_grid(actions, 3 if isinstance(actions, Box) else None)
    return np.asarray(model_error(simulator, model, slice_of(chart, resolution), actions))


@pytest.mark.parametrize("name", ["gymnax:Pendulum-v1", "gymnax:MountainCarContinuous-v0"])
def test_the_true_physics_have_no_error_and_a_model_that_stands_still_one_of_a_step(name):
    simulator = make_simulator(name)
    np.testing.assert_allclose(error_of(simulator, model_of(simulator)), 0.0, atol=2e-3)  # the angle's ends too
    still = error_of(simulator, Still())
    assert still.shape == (9, 9)
    assert np.mean(still**2) == pytest.approx(1.0, rel=1e-4)
    assert still.std() > 0


def test_the_error_lies_where_the_model_is_wrong():
    """Other gravity is felt where the rod is horizontal, and not where it hangs or stands."""
    simulator = make_simulator("gymnax:Pendulum-v1")
    model = model_of(simulator.replace(physics={**simulator.physics, "gravity": jnp.float32(12.0)}))
    error = error_of(simulator, model)[:, 4]  # at rest, angles −π, −3π/4, ..., π
    np.testing.assert_allclose(error[[0, 4, 8]], 0.0, atol=2e-3)
    assert error.argmax() in (2, 6)
    assert error[2] == pytest.approx(error[6], rel=1e-3)


def test_the_error_is_told_where_the_policy_goes_and_elsewhere():
    chart = Chart((0.0, 0.0), (2.0, 2.0), (False, True), jnp.asarray, jnp.asarray)
    error = np.array([[3.0, 1.0, 1.0], [1.0, 4.0, 1.0], [1.0, 1.0, 1.0]])
    visited = np.array([[0.1, 0.0], [1.2, 0.8], [0.9, 1.0], [0.0, 0.4]])
    # Three and four are near what is visited, and so is the other end of the first row, which is the same place.
    assert where_visited(chart, error, visited) == pytest.approx((np.sqrt((9 + 16 + 1) / 3), 1.0))
    here, elsewhere = where_visited(chart, error, visited[:0])
    assert np.isnan(here)
    assert elsewhere == pytest.approx(np.sqrt((error**2).mean()))


def test_noise_that_is_seen_is_no_error():
    noisy = make_simulator("corridor_3")
    assert np.mean(error_of(noisy, Still()) ** 2) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "answer"),
    [("gymnax:Pendulum-v1", jnp.array([0.3])), ("gymnax:CartPole-v1", jnp.int32(1))],
)
def test_episodes_in_the_true_physics_are_those_of_the_world(name, answer):
    """Up to rounding, which a swinging rod magnifies; a world that terminates ends in both."""
    simulator = make_simulator(name)
    real, imagined = trajectories(simulator, Always(answer), model_of(simulator), "fixed", 4)
    assert real.observations.shape == (4, simulator.horizon + 1, simulator.rules.observation_size)
    np.testing.assert_allclose(real.observations[:, :30], imagined.observations[:, :30], atol=1e-3)
    lasted = np.isfinite(np.asarray(real.cumulated)).sum(axis=1) - 1
    assert (lasted < 30).all() if name == "gymnax:CartPole-v1" else (lasted == simulator.horizon).all()
    for played in (real, imagined):
        ends = np.asarray(played.cumulated)[np.arange(4), lasted]
        np.testing.assert_allclose(ends, played.returns, rtol=1e-4)
        assert (np.asarray(played.cumulated)[:, 0] == 0).all()


def test_coordinates_are_those_of_the_chart_or_the_first_numbers():
    pendulum, cart = make_simulator("gymnax:Pendulum-v1"), make_simulator("gymnax:CartPole-v1")
    seen = jnp.array([[jnp.cos(1.0), jnp.sin(1.0), 2.0], [jnp.nan] * 3])
    np.testing.assert_allclose(coordinates(pendulum, seen), [[1.0, 2.0], [np.nan] * 2], rtol=1e-6)
    assert coordinate_names(pendulum) == ("angle [rad]", "angular velocity [rad/s]")
    assert coordinates(cart, jnp.arange(8.0).reshape(2, 4)).tolist() == [[0, 1, 2], [4, 5, 6]]
    assert coordinate_names(cart) == ("number 1 seen", "number 2 seen", "number 3 seen")


def test_a_third_coordinate_stands_in_the_middle():
    chart = Chart((0.0, -1.0, 2.0), (1.0, 1.0, 6.0), (False,) * 3, jnp.asarray, jnp.asarray)
    states = slice_of(chart, 5)
    assert states.shape == (5, 5, 3)
    assert set(states[..., 2].ravel()) == {4.0}
    assert states[0, :, 1].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def entry(corridor_run):
    (found,), _ = read_runs([sbmrl.load(corridor_run.out)])
    return found


def test_what_is_drawn_is_what_was_measured(entry):
    """The model and the policy of the files earn again what the run said of them."""
    for run, row in enumerate(entry.results.sort("seed").iter_rows(named=True)):
        learned = read_learned(entry.cell, run, "MAL")
        assert np.mean(learned.in_world.returns) == pytest.approx(row["exact_return"], abs=1e-4)
        assert np.mean(learned.in_model.returns) == pytest.approx(row["model_return"], abs=1e-4)
        assert learned.told.startswith(f"seed {run}, return ")


def test_curves_are_those_of_the_seeds_that_did_not_diverge(entry):
    curves, results = entry.cell.curves(), entry.results.sort("seed")
    both, one = read_curves(curves, results), read_curves(curves, results.tail(1))
    np.testing.assert_allclose(both.metrics["exact_return"][-1], results["exact_return"])
    np.testing.assert_allclose(both.real_steps, both.metrics["real_steps"].mean(axis=1))
    np.testing.assert_allclose(one.metrics["fit"], both.metrics["fit"][:, 1:])
    assert one.metrics["fit"].shape == (2, 1)


def test_a_report_has_the_pictures_and_says_which_seed(corridor_run, tmp_path):
    page = write_report([sbmrl.load(corridor_run.out)], tmp_path / "report").read_text(encoding="utf-8")
    names = {path.stem for path in (tmp_path / "report" / "figures").glob("*.svg")}
    assert {"samples-1", "error-1", "imagined-1"} <= names
    assert "the seed at the median return of its row" in page


def test_without_a_chart_the_report_says_that_a_picture_is_left_out(entry):
    rules = entry.cell.world.rules._replace(chart=None)
    cell = dataclasses.replace(entry.cell, world=entry.cell.world.replace(rules=rules))
    drawings, told = sample_pictures([dataclasses.replace(entry, cell=cell)])
    assert [drawing.name for drawing in drawings] == ["samples-1", "imagined-1"]
    assert told == ["corridor has no chart of three coordinates or fewer: no error is drawn over its states."]


def test_without_the_chunks_the_curves_are_drawn_alone(entry, tmp_path):
    cell = dataclasses.replace(entry.cell, directory=tmp_path)
    curves, results = entry.cell.curves(), entry.cell.results()
    metrics = tmp_path / "metrics.parquet"
    curves.write_parquet(metrics)
    results.write_parquet(tmp_path / "results.parquet")
    drawings, told = sample_pictures([dataclasses.replace(entry, cell=cell)])
    assert [drawing.name for drawing in drawings] == ["samples-1"]
    assert told == [f"Without chunks/ there are no models to draw: {cell.name}."]


def test_a_row_whose_seeds_all_diverged_is_not_drawn(entry):
    results = entry.results.with_columns(pl.lit(False).alias("finite"))
    assert sample_pictures([dataclasses.replace(entry, results=results)]) == ([], [])


def test_any_run_can_be_drawn(corridor_run, tmp_path, capsys):
    main(["draw", str(corridor_run.out), "--run-seed", "1", "--out", str(tmp_path / "one")])
    names = ["one-error.svg", "one-error.png", "one-imagined.svg", "one-imagined.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert all((tmp_path / name).stat().st_size for name in names)


def test_the_programme_draws_the_same_curves(corridor_run, entry, tmp_path):
    write(sbmrl.load(corridor_run.out), tmp_path)
    (row,) = json.loads((tmp_path / "continuous.json").read_text())["rows"]
    curves = read_curves(entry.cell.curves(), entry.finite)
    assert row["real_steps"] == curves.real_steps.tolist()
    assert row["middle"][1] == np.median(curves.metrics["exact_return"], axis=1).tolist()
