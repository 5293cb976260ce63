"""The examples of a user's own parts: each is one short file, and runs from the command line outside the checkout."""

import re
from pathlib import Path

import polars as pl
import pytest
from test_plugins import EXAMPLES, forgetful  # noqa: F401  # the fixture, so that nothing stays registered

import sbmrl
from sbmrl.cli import main

pytestmark = pytest.mark.xdist_group("plugins")

TINY = ["--num-seeds", "2", "--num-records", "1", "--no-report", "--out", "run"]
RUNS = {
    "formulation": ("fit_then_plan --scheme exact --leader.num-updates 2", 15),
    "scheme": ("mal --scheme fictitious --leader.num-updates 2", 40),
    "learner": ("mal --scheme exact --learner cross_entropy --leader.num-updates 2", 60),
    "world": (
        "mal --env cart --num-inner-steps 1 --leader.num-updates 2 --follower.num-environments 8 --leader.hidden 8 "
        "--follower.num-steps 50 --follower.value-minibatch-size 40 --follower.actor-hidden 8 --buffer-size 500 "
        "--follower.critic-hidden 8 --leader.num-epochs 2 --num-test-episodes 4",
        50,
    ),
    "game": ("duopoly --scheme exact --learner evolution --env cournot_fine --leader.num-updates 40", 150),
}


@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs_from_the_command_line(name, tmp_path, monkeypatch, forgetful):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    line, most_lines = RUNS[name]
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) <= most_lines
    main(["train", *line.split(), "--plugin", str(path), *TINY])
    results = pl.read_parquet("run/results.parquet")
    assert results["finite"].to_list() == [True, True]
    assert bool((results["regret"] >= -1e-3).all())
    if name == "game":  # (a − c)²/8 is 9.03, and what the grid allows a little more
        assert results["optimal_return"].to_list() == pytest.approx([9.24, 9.24])
        assert results["follower_gap"].to_list() == pytest.approx([0.0, 0.0], abs=1e-5)
    if name == "world":  # what it is judged by is its own, and it is found again
        assert results["optimal_return"].to_list() == [-14.0, -14.0]
        forgetful()
        assert sbmrl.load("run").cells["run"].world.known.judge == "by its construction"


def test_a_page_shows_each_example_whole():
    pages = (Path(__file__).parents[1] / "docs" / "how_to").glob("own_*.md")
    shown = {page.stem: re.findall(r'^--8<-- "examples/(\w+)\.py"$', page.read_text("utf-8"), re.M) for page in pages}
    assert shown == {f"own_{name}": [name] for name in RUNS}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)
