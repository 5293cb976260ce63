"""The benchmark against PETS and model-free peers, without the peers: arguments, what it reads, what it works out."""

import json
import math
import sys
from pathlib import Path

import continuous_peers
import numpy as np
import polars as pl
import pytest
from continuous_peers import NAMES, OURS, above_average, measure_pets, read_run, write
from peer_returns import GOAL, Cost, describe, draw, even, ratios, table

PETS = """
import sys
from peer_serve import serve

def prepare(settings):
    def learned():
        seed, last = settings["seed"], settings["total_steps"]
        return {
            "steps": [last - 400, last - 200, last][: 4 - seed],
            "returns": [-1200.0, -300.0, -100.0 * seed][: 4 - seed],
            "starts": [[3.0, 0.0], [0.0, 0.0], [0.1, 0.0]][: 4 - seed],
            "seconds": [11.0, 21.0, 31.0][: 4 - seed],
            "compile_seconds": 10.0,
            "total_seconds": 40.0,
            "num_planned": 7,
            "seconds_per_planned_step": 2.0,
            "processor_seconds": 70.0,
            "out_of_time": settings["limit_seconds"] is not None,
        }
    return {"notes": ["a note"]}, {"learn": learned}

serve(prepare)
"""


def method(returns, *, ours=False, cost=None):
    steps = [200 * (number + 1) for number in range(len(returns))]
    cost = cost or Cost(4.0, 6.0, even(steps, 6.0), 12.0)
    return describe(steps, [[value - 10.0, value + 10.0] for value in returns], cost) | {"ours": ours, "told": []}


@pytest.fixture
def coarse(monkeypatch):
    """A grid that is solved in a moment."""
    monkeypatch.setattr(continuous_peers, "GRID", ((80, 65), 5))
    continuous_peers.optimum.cache_clear()
    yield
    continuous_peers.optimum.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--out"),
        (["--out", "{folder}/taken.json"], "pass --force"),
        (["--out", "{folder}/told.json"], "pass --force"),
        (["--out", "{folder}/new.txt"], "must end in .json"),
        (["--out", "{folder}/new.json", "--add"], "must exist"),
        (["--out", "{folder}/new.json", "--only", "dreamer"], "dreamer"),
        (["--out", "{folder}/new.json", "--pets-seeds", "0"], "at least 1"),
        (["--out", "{folder}/new.json", "--limit", "-1"], "at least 1"),
        (["--out", "{folder}/new.json", "--only", "pets", "--environments", "{folder}/taken.json"], "environments: "),
    ],
)
def test_bad_arguments_end_in_one_line_and_exit_code_2(tmp_path, capsys, arguments, told):
    (tmp_path / "taken.json").write_text("{}")
    (tmp_path / "told.md").write_text("")
    with pytest.raises(SystemExit) as stopped:
        continuous_peers.main([argument.format(folder=tmp_path) for argument in arguments])
    progress = ("peers: installing", "peers: rl-blox, PETS, planning cut")
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(progress)]
    assert stopped.value.code == 2
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "new.json").exists()
    assert (tmp_path / "taken.json").read_text() == "{}"


def test_a_method_is_at_the_goal_at_its_first_mean_above_it():
    found = method([-900.0, GOAL, -150.0, -400.0])
    assert found["mean"] == [-900.0, GOAL, -150.0, -400.0]
    assert found["standard_error"] == pytest.approx([10.0] * 4)
    assert found["goal"] == {
        "real_steps": 600,
        "seconds_a_seed": 4.25,
        "seconds_a_seed_compiled": 2.25,
        "processor_seconds_a_seed": pytest.approx(6.0 * 4.25 / 5.0),
    }
    assert (found["seconds_a_seed"], found["seconds_a_seed_compiled"]) == (5.0, 3.0)
    assert method([-900.0, GOAL])["goal"] is None


def test_the_table_and_the_ratios():
    methods = {
        "ours": method([-150.0], ours=True),
        "slow": method([-900.0, -150.0], cost=Cost(100.0, 300.0, [100.0, 300.0], 600.0)),
        "lost": method([-900.0, -800.0]),
    }
    expected = "slow needs 2 times the real steps of ours, 40 times its seconds a seed (50 times compiled) "
    expected += "and 50 times its processor seconds."
    assert ratios(methods) == [expected]
    lines = table(methods | {"timed": {"steps": [], "told": ["A step takes 3 s."], "goal": None, "ours": False}}).split(
        "\n"
    )
    assert lines[2] == "| ours | 2 | 200 | 5 (3) | -150.0 ± 10.0 at 200 | 5 (3) | 6 |"
    assert lines[4] == "| lost | 2 | not reached | – | -800.0 ± 10.0 at 400 | 5 (3) | 6 |"
    assert lines[5:] == ["", "- A step takes 3 s.", f"- {expected}", ""]


@pytest.mark.parametrize("budget", [continuous_peers.FULL, continuous_peers.QUICK])
def test_rejax_rounds_nothing_up(budget):
    """Points are whole iterations and together all steps: what is timed is what the curve shows."""
    for key, options in continuous_peers.MODEL_FREE.items():
        iteration = options["num_envs"] * options.get("num_steps", 1)
        assert budget.steps[key] % (budget.num_points * iteration) == 0


def test_what_a_run_has_left(tmp_path):
    """Two seeds, two records; a curve of another metric and another stage beside them."""
    rows = [
        ("play", steps, seed, metric, value + seed)
        for steps, metric, value in (
            (20, "real_steps", 800.0),
            (10, "real_steps", 400.0),
            (20, "exact_return", -150.0),
            (10, "exact_return", -500.0),
            (10, "fit", 1.0),
        )
        for seed in ((1, 0) if metric != "real_steps" else (0, 0))
    ]
    columns = ["stage", "steps", "seed", "metric", "value"]
    frame = pl.DataFrame([*rows, ("pretrain", 10, 0, "exact_return", 7.0)], schema=columns, orient="row")
    frame.write_parquet(tmp_path / "metrics.parquet")
    (tmp_path / "meta.json").write_text(json.dumps({"seconds": {"compile": 9.0, "run": 4.0}}))
    steps, returns, cost = read_run(tmp_path, 7.0)
    assert steps == [400, 800]
    assert returns == [[-500.0, -499.0], [-150.0, -149.0]]
    assert cost == Cost(9.0, 4.0, [2.0, 4.0], 7.0)


@pytest.mark.usefixtures("coarse")
def test_a_return_is_told_as_from_an_average_start():
    """The optimum is best upright, the angle goes round, and over all starts nothing is added."""
    edge = math.pi - 1e-4
    upright, hanging, round_it = above_average([[0.0, 0.0], [edge, 0.2], [-edge, 0.2]])
    assert 130.0 < upright < 145.0  # an upright start loses nothing: what an average one loses
    assert -250.0 < hanging < -50.0
    assert hanging == pytest.approx(round_it, abs=0.5)
    starts = np.random.default_rng(0).uniform([-math.pi, -1.0], [math.pi, 1.0], (4000, 2))
    assert above_average(starts.tolist()).mean() == pytest.approx(0.0, abs=5.0)
    assert above_average([]).shape == (0,)


@pytest.mark.usefixtures("coarse")
def test_seeds_of_pets_are_put_together(tmp_path, capsys):
    """The second seed has one episode less; compiling is told apart; the limit makes an extrapolation."""
    script = tmp_path / "worker.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(continuous_peers.HERE)!r})\n{PETS}")
    found = measure_pets(Path(sys.executable), "pets_example", 2, 2_000, 60.0, str(script))
    assert found["steps"] == [1600, 1800]
    level = above_average([[3.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(found["mean"], np.array([-1200.0, -300.0]) - level)
    assert found["compile_seconds"] == 20.0
    assert found["seconds_a_seed"] == 40.0
    assert found["seconds_a_seed_compiled"] == 30.0
    assert found["processor_seconds_a_seed"] == 70.0
    assert [len(answer["returns"]) for answer in found["raw"]] == [3, 2]
    assert found["settings"]["num_samples"] == 400
    assert found["told"][0].endswith(
        "a planned step takes 2 s (median of 7). 2,000 real steps would take 0.78 h of planning (extrapolated)."
    )
    assert capsys.readouterr().err.count("seed ") == 2
    only_random = measure_pets(Path(sys.executable), "pets", 1, 600, None, str(script))
    assert only_random["steps"] == []
    assert len(only_random["raw"][0]["returns"]) == 3


def test_results_are_written_with_their_table_and_figure(tmp_path):
    found = {"machine": {}, "methods": {key: method([-400.0, -150.0], ours=key in OURS) for key in NAMES}}
    found["methods"]["pets_example"] |= {"steps": [], "goal": None}
    write(tmp_path / "out.json", found)
    assert json.loads((tmp_path / "out.json").read_text())["methods"]["sac"]["steps"] == [200, 400]
    assert "| rejax, SAC | 2 | 400 |" in (tmp_path / "out.md").read_text()
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
def test_a_figure_without_a_curve_is_a_figure():
    assert draw({}).png.startswith(b"\x89PNG")
