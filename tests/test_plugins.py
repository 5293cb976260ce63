"""A user's own parts: what is refused, what a run keeps of them, and how they are found again."""

import dataclasses
import importlib.metadata
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import polars as pl
import pytest

import sbmrl
from sbmrl.cli import main
from sbmrl.commands.cluster import CellJob
from sbmrl.commands.options import SweepOptions
from sbmrl.core import registry
from sbmrl.experiment import plugins
from sbmrl.experiment.solver import make_game

pytestmark = pytest.mark.xdist_group("plugins")  # one worker makes the run that several tests read

EXAMPLES = Path(__file__).parents[1] / "examples"
LINE = "--scheme exact --learner evolution --num-seeds 2 --num-records 1 --leader.num-updates 1 --no-report"
TINY = LINE.split()


@pytest.mark.parametrize("how", ["sbmrl.load_plugin(path)", "runpy.run_path(path)"])
def test_a_program_may_begin_by_registering(how):
    """sbmrl's own parts are there before the first of one's own, whatever was imported before."""
    program = f"import runpy, sys, sbmrl\npath = sys.argv[1]\n{how}\nassert sbmrl.preset(env='cart').env == 'cart'"
    subprocess.run([sys.executable, "-c", program, str(EXAMPLES / "world.py")], check=True, timeout=120)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """What a test registers is forgotten behind it, as if every test were a process of its own."""
    forget = _snapshot()
    yield forget
    forget()


def _snapshot():
    kept: list[tuple[Any, Any]] = [
        (each, dict(each)) for each in (*registry._parts.values(), registry._origins, registry._by_options)
    ]
    kept.append((plugins._loaded, dict(plugins._loaded)))

    def forget():
        for each, before in kept:
            each.clear()
            each.update(before)

    return forget


def refused(capsys, *arguments):
    """The one line on stderr that refuses `arguments`."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("sbmrl: error: ")
    return captured.err


ROW = """
import sbmrl
from sbmrl.core.registry import formulation
sbmrl.register(formulation("mal")._replace(name="{name}"))
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0\n", "mine.py raises ZeroDivisionError in line 1: division by zero"),
        ("import sbmrl\ndef f(:\n", "mine.py raises SyntaxError in line 2"),
        ("import not_there\n", "mine.py raises ModuleNotFoundError in line 1: No module named 'not_there'"),
        ("import sbmrl\n", "mine.py must register a part with sbmrl.register, it registers nothing"),
        (ROW.format(name="mal"), "there is a formulation mal already, from sbmrl"),
        (ROW.format(name="own") * 2, "there is a formulation own already, from mine.py"),
        (ROW.format(name="two words"), "a formulation's name must be letters, digits, _ and -, got 'two words'"),
        ("import sbmrl\nsbmrl.register(3)\n", "register: must be a FormulationRow, LearnerKind"),
        (
            "import sbmrl\nfrom sbmrl.learners.ppo import PPO\nsbmrl.register(PPO._replace(name='own'))\n",
            "learner own needs options of its own, got those of ppo",
        ),
        (
            "import sbmrl\nfrom sbmrl.learners.ppo import PPO\nsbmrl.register(PPO._replace(name='o', options=dict))\n",
            "learner o: must have a frozen dataclass as its options",
        ),
        (ROW.format(name="own").replace("(name=", "(family='chess', name="), "family of own: 'chess' is unknown"),
    ],
    ids=lambda value: value if value.startswith("mine") else None,
)
def test_a_plugin_that_cannot_be_used_is_refused_in_one_line(capsys, tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(text)
    before = registry.num_parts()
    assert says in refused(capsys, "train", "own", "--plugin", "mine.py", *TINY)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["mine.py"]
    if "family=" not in text:
        assert registry.num_parts() == before  # nothing of a plug-in that failed is kept


def test_a_formulation_that_weighs_no_payoff_of_its_game_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        ROW.format(name="own").replace("(name=", "(leader_wants=lambda options: {'fun': 1.0}, name=")
    )
    says = "formulation own: payoff: 'fun' is unknown; allowed: model_return, real_return, fit"
    assert says in refused(capsys, "train", "own", "--plugin", "mine.py", *TINY)
    assert not Path("runs").exists()


@dataclasses.dataclass(frozen=True)
class OwnOptions:
    """Of a scheme of one's own."""

    rate: float = 0.1


def test_a_program_may_replace_what_it_has_registered_and_nothing_else():
    """As when the cell of a notebook is run again, whose dataclass is then another object."""
    row = registry.formulation("mal")._replace(name="own")
    again = dataclasses.make_dataclass("OwnOptions", [("rate", float, 0.2)], frozen=True)
    schemes = [registry.scheme("exact")._replace(name="own", options=options) for options in (OwnOptions, again)]
    for part in (row, row._replace(title="second"), *schemes, schemes[1]):
        assert sbmrl.register(part, replace=True) is part
    assert registry.formulation("own").title == "second"
    assert registry.scheme("own") is registry.scheme_of(again()) is schemes[1]
    with pytest.raises(sbmrl.InputError):
        registry.scheme_of(OwnOptions())
    with pytest.raises(sbmrl.InputError, match="there is a formulation own already, from this program"):
        sbmrl.register(row)
    with pytest.raises(sbmrl.InputError, match="there is a formulation mal already, from sbmrl"):
        sbmrl.register(row._replace(name="mal"), replace=True)
    with pytest.raises(sbmrl.InputError, match="needs options of its own, got those of own"):
        sbmrl.register(schemes[1]._replace(name="other"), replace=True)


SCHEME = """
import dataclasses, jax.numpy as jnp, sbmrl
from sbmrl.core.scheme import answering

@dataclasses.dataclass(frozen=True)
class StubbornOptions:
    share: float = 0.5

def build(game, composition):
    options = composition.experiment.scheme
    row = jnp.stack([options.share, 1.0 - options.share])
    return answering(lambda key, given: jnp.tile(row, (game.world.num_states, 1)), draws=False)

default = lambda choice, leader: StubbornOptions()
sbmrl.register(sbmrl.SchemeKind("stubborn", "answers all alike", StubbornOptions, build, default))
"""


def test_a_scheme_may_have_no_options_of_a_follower(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(SCHEME)
    line = "train mal --plugin mine.py --scheme stubborn --learner gradient --share 0.25 --leader.num-updates 1"
    main([*line.split(), "--num-seeds", "2", "--num-records", "1", "--no-report", "--out", "run"])
    cell = sbmrl.load("run").cells["run"]
    assert cell.experiment.scheme.share == 0.25
    assert json.loads(Path("run/config.json").read_text())["experiment"]["scheme"] == {
        "name": "stubborn",
        "share": 0.25,
    }


@pytest.fixture
def curious():
    """MAL whose policy is also paid for finding its model wrong: no plan in the model is its best response."""
    wants = lambda options: {"model_return": 1.0, options.fit: -50.0}  # noqa: E731
    return sbmrl.register(registry.formulation("mal")._replace(name="curious", follower_wants=wants))


def test_a_policy_that_wants_more_than_its_model_s_return_is_not_answered_by_a_plan(curious):
    for scheme in ("exact", "implicit"):
        with pytest.raises(sbmrl.InputError, match=f"{scheme} has no closed form for the follower of curious"):
            sbmrl.preset("fast", "curious", scheme, "gradient")
    for env in ("lqr_scalar", "corridor"):
        with pytest.raises(sbmrl.InputError, match=r"must want model_return alone in .* curious: model_return, "):
            sbmrl.make_program(sbmrl.preset(None, "curious", env=env))


def test_the_regret_of_such_a_policy_is_held_against_what_it_wants(curious):
    experiment = sbmrl.preset("fast", "curious", "inner_outer", "gradient").replace(loss="excess_brier")
    game = make_game(experiment, sbmrl.make_world("simple_mdp_2"))
    model = game.world.transition.at[1, 1].set(jnp.array([0.0, 1.0, 0.0]))  # wrong about a1 in s1 alone
    measured = game.measures(curious.formulation(experiment.game)).profile
    leaves, asks = (jnp.eye(2)[jnp.array([0, action, 0])] for action in (0, 1))  # the plan; and what it wants
    gaps = [float(measured(model, lambda m, p=p: {"model": m, "policy": p})[0]["follower_gap"]) for p in (leaves, asks)]
    assert gaps[0] > 10.0
    assert -1e-3 < gaps[1] < 0.2 * gaps[0]  # with the plan of its model as the judge it would be far below 0


def test_a_plugin_that_is_not_there_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    says = "must be a Python file (my_game.py) or a module that can be imported"
    assert f"absent.py {says}" in refused(capsys, "list", "--plugin", "absent.py")
    assert f"absent.module {says}" in refused(capsys, "report", "somewhere", "--plugin", "absent.module")
    assert "plugin: must be given a value" in refused(capsys, "list", "--plugin")
    Path("half.py").write_text(ROW.format(name="own") + "raise ValueError('two\\nlines')\n")
    assert "raises ValueError in line 5: two lines" in refused(capsys, "list", "--plugin", "half.py")


def test_a_part_is_listed_with_where_it_comes_from(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text(ROW.format(name="from_file"))
    Path("my_module_of_parts.py").write_text(ROW.format(name="from_module"))
    sbmrl.register(registry.formulation("mal")._replace(name="from_program"))
    main(["list", "--plugin", "mine.py", "--plugin=my_module_of_parts"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert lines["from_file"].endswith("[mine.py]")
    assert lines["from_module"].endswith("[my_module_of_parts]")
    assert lines["from_program"].endswith("[this program]")
    assert lines["mal"].endswith("[sbmrl]")


def test_installed_packages_bring_their_parts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "installed_parts.py").write_text(ROW.format(name="installed"))
    entry = importlib.metadata.EntryPoint("own", "installed_parts", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    plugins.load_entry_points()
    assert registry.origin_of(registry.formulation("installed")).text == "installed_parts"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of the game in examples/, with the plug-in beside it; then everything is forgotten."""
    out = tmp_path_factory.mktemp("plugins")
    shutil.copy(EXAMPLES / "game.py", out / "game.py")
    forget = _snapshot()
    main(["train", "duopoly", "--plugin", str(out / "game.py"), *TINY, "--out", str(out / "run")])
    forget()
    return out


@pytest.fixture
def run(ran, tmp_path, monkeypatch):
    """A copy of that run and of its plug-in, at the paths that the run says."""
    for path in ran.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    for path in tmp_path.glob("run/*.json"):
        path.write_text(path.read_text().replace(str(ran), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_a_run_keeps_the_name_and_the_checksum_of_its_plugin(run):
    (kept,) = json.loads((run / "config.json").read_text())["plugins"]
    assert kept["text"].endswith("game.py")
    assert kept["path"] == str(run.parent / "game.py")
    assert len(kept["checksum"]) == 64
    assert kept["parts"] == [["formulation", "duopoly"], ["kind of game", "duopoly"]]
    results = pl.read_parquet(run / "results.parquet")
    assert results["optimal_return"].to_list() == pytest.approx([10.0, 10.0])


def test_the_plugin_of_a_run_is_found_again(run, capsys, forgetful):
    for words in (["evaluate", "run", "--num-episodes", "2"], ["report", "run"]):
        main(words)
        forgetful()
    assert "0.0e+00" in capsys.readouterr().out
    agent = sbmrl.load(run).agent(seed=1)
    assert agent.acting == ["first", "second"]
    assert "a market has nothing learned that can be drawn" in refused(capsys, "draw", "run")
    forgetful()
    main(["train", "duopoly", *TINY, "--out", "run", "--resume"])  # not even --plugin is needed
    assert "files:" in capsys.readouterr().out


def test_a_plugin_that_is_missing_is_asked_for_and_may_lie_elsewhere(run, capsys, forgetful):
    (run.parent / "game.py").rename(run.parent / "elsewhere.py")
    missing = f"{run.parent / 'game.py'}, which the run needs, is missing; --plugin says where it is now"
    assert missing in refused(capsys, "evaluate", "run")
    assert missing in refused(capsys, "report", "run")
    with pytest.raises(sbmrl.InputError, match="is missing"):
        sbmrl.load(run)
    main(["evaluate", "run", "--plugin", "elsewhere.py", "--num-episodes", "2"])
    assert "0.0e+00" in capsys.readouterr().out


def test_a_plugin_that_has_changed_is_refused(run, capsys, forgetful):
    path = run.parent / "game.py"
    path.write_text(path.read_text() + "\n# another one\n")
    says = "game.py has changed since this run, which needs it as it was"
    assert says in refused(capsys, "evaluate", "run")
    assert says in refused(capsys, "train", "duopoly", *TINY, "--out", "run", "--resume")
    assert says in refused(capsys, "train", "duopoly", "--plugin", "game.py", *TINY, "--out", "run", "--resume")
    assert says in refused(capsys, "report", "run", "--plugin", "game.py")


WORLD = """
import sbmrl
make = lambda: sbmrl.make_world("simple_mdp_2").replace(name="my:world", horizon=5)
sbmrl.register(sbmrl.WorldRow("my:world", "five steps", "tabular", make))
"""


def test_a_world_of_ones_own_is_listed_run_kept_and_found_again(tmp_path, monkeypatch, capsys, forgetful):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(WORLD)
    main(["list", "--plugin", "mine.py"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  my:world ")]
    assert line.endswith("five steps [mine.py]")
    main(["train", "mal", "--plugin", "mine.py", "--env", "my:world", *TINY, "--out", "run"])
    (kept,) = json.loads(Path("run/config.json").read_text())["plugins"]
    assert (kept["text"], kept["parts"]) == ("mine.py", [["world", "my:world"]])
    for read in (lambda: main(["report", "run"]), lambda: sbmrl.load("run")):
        forgetful()
        read()
    assert sbmrl.load("run").cells["run"].world.horizon == 5
    forgetful()
    main(["train", "mal", "--env", "my:world", *TINY, "--out", "run", "--resume"])
    forgetful()
    capsys.readouterr()
    assert "env: 'my:world' is unknown" in refused(capsys, "train", "mal", "--env", "my:world", *TINY, "--out", "new")
    Path("mine.py").write_text(WORLD + "# another one\n")
    assert "mine.py has changed since this run" in refused(capsys, "evaluate", "run")


def test_parts_that_a_program_registered_itself_are_asked_for(run, capsys):
    config = json.loads((run / "config.json").read_text())
    config["plugins"][0] |= registry.PROGRAM._asdict()
    (run / "config.json").write_text(json.dumps(config))
    says = "needs the formulation duopoly, which the program that wrote the run had registered itself"
    assert says in refused(capsys, "evaluate", "run")


def test_a_job_of_a_cluster_finds_the_plugin_in_a_process_of_its_own(run):
    cell = sbmrl.load(run).cells["run"].plan
    job = CellJob.of(sbmrl.Plan((cell,), num_seeds=2), cell, run.parent, SweepOptions(), "off")
    (run.parent / "job").write_bytes(pickle.dumps(job))
    program = "import pickle; print(pickle.load(open('job', 'rb')).plan().cells[0].experiment.formulation)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=run.parent)
    assert told.stdout == "duopoly\n", told.stderr
