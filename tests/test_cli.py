"""The command line: what works end to end, and what is refused with one line, exit code 2 and nothing written."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from conftest import tiny_experiment

from sbmrl.cli import COMMANDS, main, usage
from sbmrl.commands import parsing, training
from sbmrl.commands.parsing import parse_sweep, parse_train
from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.core.options import settings
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.programme import FORMULATIONS as POSTER_FORMULATIONS
from sbmrl.games.tabular.theory import check
from sbmrl.games.tabular.theory.certificates import Certificate
from sbmrl.games.tabular.theory.judge import STATEMENTS
from sbmrl.games.tabular.theory.search import tightest
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.fit import FitOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.learners.ppo import PPOOptions
from sbmrl.report import tracking
from sbmrl.sweep.store import RESULT_COLUMNS

pytestmark = pytest.mark.xdist_group("cli")  # so that one worker makes the runs that several tests read


def refused(capsys, *arguments):
    """The one line on stderr that refuses `arguments`."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("sbmrl: error: ")
    return captured.err


ALPHA = "alpha belongs to the formulations mal_agent_reward, mal_random_noise"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trian mal", "did you mean 'train'"),
        ("train", "formulation: must come first"),
        ("train mall", "did you mean 'mal'"),
        ("train mal --env simple_mpd_2", "env: 'simple_mpd_2' is unknown; did you mean 'simple_mdp_2'"),
        ("train mal --env absent.json", "absent.json: cannot be read"),
        ("train mal --preset poste", "preset: 'poste' is unknown; did you mean 'poster'"),
        ("train mal --preset", "preset: must be one of poster, fast, practical"),
        ("train mal_random_noise --alpha 1.5", "alpha: must be in [0, 1], got 1.5"),
        ("train mal_random_noise --alpha nan", "alpha: must be in [0, 1], got nan"),
        ("train mal_random_noise --alpha x", "--alpha"),
        ("train mal --leader.actor-hidden 8 x", "--leader.actor-hidden"),
        ("bench --num-seeds x", "--num-seeds"),
        ("train mal_random_noise --alpa 1", "did you mean --alpha"),
        ("train mal --alpha 0.5", f"alpha: has no meaning here; {ALPHA}"),
        ("train mal alpha=0.5", f"alpha: has no meaning here; {ALPHA}"),
        (
            "train pal --beta 1",
            "beta: has no meaning here; beta belongs to the formulations pessimistic_pal, reward_shaping",
        ),
        ("train mal --loss l2", "--loss"),
        ("train mal --num-seeds 0", "num_seeds: must be a whole number of at least 1, got 0"),
        ("train mal --seed -1", "seed: must be a whole number of at least 0"),
        ("train mal --num-records 0", "num_records"),
        ("train mal leader.learning_rate=-1", "leader.learning_rate: must be at least 0"),
        ("train mal --leader.minibatch-size 65", "leader.minibatch_size: must be a multiple of num_environments"),
        ("train mal --follower.discount 2", "follower.discount: must be in [0, 1]"),
        ("train mal --follower.parametrization table", "follower.parametrization: must be 'network'"),
        ("train pal --follower.hidden 0", "follower.hidden"),
        ("reproduce --num-seeds -3", "num_seeds"),
        ("reproduce --preset tiny", "preset: 'tiny' is unknown"),
        ("evaluate", "PATH"),
        ("evaluate absent", "absent: must be the directory of a run"),
        ("evaluate . --num-episodes 0", "num_episodes"),
        ("draw simple_mdp_3", "env: 'simple_mdp_3' is unknown; did you mean"),
        ("draw simple_mdp_2 --run-seed -1", "run_seed"),
        ("list everything", "everything"),
        ("sweep", "formulation: must come first"),
        ("sweep mal mall", "did you mean 'mal'"),
        ("train mal pal", "`sbmrl sweep` takes several"),
        ("sweep mal --grid", "grid: must be given a value, got nothing"),
        ("sweep mal --grid alpha", "grid: must look like alpha=0:1:11"),
        ("sweep mal_random_noise --grid alfa=1", "grid: 'alfa' is unknown; did you mean 'alpha'"),
        ("sweep mal_random_noise --grid alpha=2", "alpha: must be in [0, 1]"),
        ("sweep mal_random_noise --grid alpha=", "must have at least one value"),
        ("sweep mal --grid alpha=0:1:3", f"must change one of the formulations, and has no meaning here; {ALPHA}"),
        ("sweep mal mal", "must not have a cell twice"),
        ("sweep mal --chunk-size 0", "chunk_size: must be a whole number of at least 1"),
        ("train mal --checkpoint-seconds 0", "checkpoint_seconds: must be positive"),
        ("train mal --resume --out absent", "no plan.json"),
        ("train mal --distributed auto", "out: must be given with --distributed"),
        ("train mal --distributed on", "distributed: must be off, auto or HOST:PORT,N,I with 0 <= I < N"),
        ("train mal --distributed host:1,2,2", "distributed: must be off, auto or HOST:PORT,N,I"),
        ("sweep mal --cluster moon", "cluster: AutoExecutor doesn't know any executor named moon"),
        ("sweep mal --cluster local --cluster-options 60", "cluster_options: must look like timeout_min=60"),
        ("sweep mal --cluster local --cluster-options minutes=60", "cluster: Parameter 'minutes'"),
        (
            "sweep mal --cluster local --distributed host:1,2,0 --out x",
            "distributed: must be off or auto with a cluster",
        ),
        ("bench mall", "did you mean 'mal'"),
        ("bench --schemes exat", "scheme: 'exat' is unknown; did you mean 'exact'"),
        ("bench --num-seeds 0", "num_seeds: must be a whole number of at least 1"),
        ("bench --num-repeats 0", "num_repeats: must be a whole number of at least 1"),
        ("bench --phase-seeds -1", "phase_seeds: must be a whole number of at least 0"),
        ("bench --worlds 1", "worlds: must be a whole number of at least 2"),
        ("bench --worlds 8 --accelerator", "accelerator: must not be given with --worlds"),
        ("bench --worlds 8 --num-seeds 64", "num_seeds: must not be given with --worlds"),
        ("bench --worlds 8 --preset poster", "preset: must not be given with --worlds"),
        ("bench --accelerator --limit 0", "limit: must be above 0"),
        ("bench --preset tiny", "preset: 'tiny' is unknown"),
        ("bench pessimistic_pal", "has no closed form"),
        ("theory --num-instances 0", "num_instances: must be a whole number of at least 1"),
        ("theory --seed -1", "seed: must be a whole number of at least 0"),
        ("train mal --scheme exat", "scheme: 'exat' is unknown; did you mean 'exact'"),
        ("train mal --scheme", "scheme: must be one of contextual, inner_outer, exact, implicit, got nothing"),
        ("train mal --learner sgd", "learner: 'sgd' is unknown"),
        ("train mal --scheme inner_outer --unroll 11", "unroll: must be in [0, num_inner_steps = 10]"),
        ("train mal --scheme inner_outer --num-inner-steps 0", "num_inner_steps: must be a whole number of at least 1"),
        ("train mal --scheme implicit --follower.temperature 0", "follower.temperature: must be positive"),
        ("train mal --scheme implicit --follower.discount 1", "follower.discount: must be below 1"),
        (
            "train mal --scheme exact --learner evolution --follower.tie-breaking best",
            "tie-breaking: 'best' is unknown",
        ),
        ("train mal --scheme exact --follower.tie-breaking optimistic", "must be lowest with soft backups"),
        ("train mal --scheme exact --unroll 2", "has no meaning here; unroll belongs to the scheme inner_outer"),
        ("train mal --learner policy_gradient --leader.clip-range 0.1", "leader.clip_range belongs to the learner ppo"),
        ("train mal --buffer-size 10", "buffer_size: must be 100000 unless data is aggregated"),
        ("train mal --preset practical --loss excess_brier", "loss: must need no second next state"),
        ("train mal --loss excess-brier", "loss: 'excess-brier' is unknown; did you mean 'excess_brier'"),
        ("train matrix_game --scheme inner_outer --unroll 2", "unroll: must be 0 for q_learning, which learns inside"),
        ("train mal_agent_reward --scheme inner_outer --unroll 0", "plain MAL"),
        ("train mal_random_noise --preset practical", "practical is for pal and mal"),
        ("train pessimistic_pal --scheme exact", "has no closed form"),
        ("train pessimistic_pal --beta -1", "beta: must be positive"),
        ("train matrix_game --env prisoners_dilema", "did you mean 'prisoners_dilemma'"),
        ("train matrix_game --env simple_mdp_2", "env: 'simple_mdp_2' is unknown"),
        ("train mal --env prisoners_dilemma", "env: 'prisoners_dilemma' is unknown"),
        ("train matrix_game --env absent.json", "absent.json: cannot be read"),
        ("train matrix_game --preset poster", "preset: poster is not for the formulation matrix_game"),
        ("train mal --preset oracles_followers", "preset: oracles_followers is not for the formulation mal"),
        ("train matrix_game --scheme implicit", "scheme: implicit has no closed form for the follower of matrix_game"),
        ("train matrix_game --context probabilities", "context: must be answers"),
        ("train matrix_game --hiden-queries True", "did you mean --hidden-queries"),
        ("train matrix_game --learner gradient --hidden-queries", "hidden_queries: must be False unless"),
        ("train mal --paid-queries", "paid_queries belongs to the formulations matrix_game, matrix_game_column"),
        ("reproduce oracles-folowers", "programme: 'oracles-folowers' is unknown; did you mean 'oracles-followers'"),
        ("reproduce oracles-followers --preset poster", "preset: 'poster' is unknown"),
        ("reproduce oracles-followers --env chickn", "env: 'chickn' is unknown; did you mean 'chicken'"),
    ],
)
def test_bad_input(capsys, tmp_path, monkeypatch, line, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *line.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"row": [[3, 1], [4]]}, "row: must be a rectangular array of numbers"),
        ({"row": [3, 1]}, "row: must have shape [A_row, A_column]"),
        ({"column": [[1, 2]]}, "column: must have row's shape [2, 2], got [1, 2]"),
        ({"row": [[3, float("nan")], [4, 2]]}, "row: must be finite numbers, got NaN or infinity"),
        ({"horizon": 0}, "horizon: must be a whole number of at least 1"),
        ({"horizon": -3}, "horizon: must be a whole number of at least 1"),
        ({"memory": "joined"}, "memory: 'joined' is unknown; did you mean 'joint'"),
        ({"switch": 1}, "key: 'switch' is unknown"),
        ({"row": np.zeros((9, 9)).tolist(), "column": np.zeros((9, 9)).tolist()}, "strategies can be enumerated"),
    ],
    ids=str,
)
def test_a_bad_payoff_file_is_refused_with_its_field(capsys, tmp_path, monkeypatch, changes, says):
    monkeypatch.chdir(tmp_path)
    good = {"row": [[3, 1], [4, 2]], "column": [[3, 4], [1, 2]], "horizon": 10, "memory": "joint"}
    (tmp_path / "mine.json").write_text(json.dumps(good | changes))
    assert says in refused(capsys, "train", "matrix_game", "--env", "mine.json")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_an_occupied_or_unwritable_directory_is_left_alone(capsys, tmp_path):
    (tmp_path / "theirs").write_text("precious")
    assert "out: must be a new or empty directory" in refused(capsys, "train", "mal", "--out", str(tmp_path))
    assert "out: must be a directory" in refused(capsys, "train", "mal", "--out", str(tmp_path / "theirs"))
    assert "cannot be written" in refused(capsys, "reproduce", "--out", "/proc/sbmrl")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert (tmp_path / "theirs").read_text() == "precious"


def test_presets_are_defaults_that_options_change():
    line = "pal --preset fast --loss kl leader.learning_rate=1e-3 --num-seeds 3"
    experiment, options = parse_train(line.split())
    assert (experiment.formulation, experiment.game.loss, options.num_seeds) == ("pal", "kl", 3)
    noisy, _ = parse_train(["mal_random_noise", "--alpha", "0.25"])
    assert (noisy.formulation, noisy.game.alpha) == ("mal_random_noise", 0.25)
    assert isinstance(experiment.leader, PPOOptions)
    assert (experiment.leader.learning_rate, experiment.leader.total_steps) == (1e-3, 50_000)
    assert isinstance(experiment.scheme.follower, FitOptions)
    assert experiment.scheme.follower.hidden == (64, 64)
    poster, _ = parse_train(["mal"])
    assert isinstance(poster.leader, PPOOptions)
    assert (poster.leader.total_steps, poster.leader.discount) == (250_000, 1.0)
    assert isinstance(poster.scheme.follower, PPOOptions)
    assert poster.scheme.follower.actor_hidden == (8, 8, 8, 8)


def test_no_device_is_touched_before_it_is_known_how_many_are_wanted():
    """Every preset and every programme is put together and checked first; then the devices are made ready."""
    program = """
from functools import partial
import sbmrl
from sbmrl.core import registry
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset, presets_of
from sbmrl.sweep.execute import prepare_devices

num = 0
for row in registry.formulations().values():
    for kind in registry.kinds_of(row):
        for name in presets_of(kind):
            for env in [kind.env, *kind.worlds()]:
                try:
                    check(preset(name, row.name, env=env))
                except InputError:
                    continue  # patterns of names, and rows that a preset does not have
                num += 1
for programme in registry.programmes().values():
    programme.cells(partial(preset, programme.presets[0], env=programme.env), None)
assert num > 30, num
prepare_devices()
"""
    own = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    subprocess.run([sys.executable, "-c", program], env=own, check=True, timeout=120)


def test_help_is_quick_and_names_every_hyper_parameter(capsys):
    start = time.process_time()
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "sbmrl", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert time.process_time() - start < 60
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"jax", "flax", "numpy", "scipy", "polars", "matplotlib", "wandb", "orbax.checkpoint"}
    with pytest.raises(SystemExit) as stop:
        main(["train", "mal_random_noise", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for flag in ("--alpha", "--leader.clip-range", "--leader.discount", "--follower.actor-hidden", "--wandb", "--out"):
        assert flag in printed
    with pytest.raises(SystemExit) as stop:
        main(["train", "pal", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--follower.hidden" in printed
    assert "--alpha" not in printed


@pytest.mark.parametrize(
    ("env", "told"),
    [("simple_mdp_2", "uniform (usual), random, truth."), ("lqr_scalar", "weak (usual), random, truth.")],
)
def test_help_names_how_a_table_starts_in_worlds_of_this_kind(capsys, env, told):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "mal", "--scheme", "exact", "--env", env, "--help"])
    assert f"How a table starts: {told}" in re.sub(r"[\s│]+", " ", capsys.readouterr().out)


def test_help_names_every_command_and_its_examples_can_be_typed():
    printed = usage()
    for name in COMMANDS:
        assert f"\n  {name} " in printed
    examples = [line.strip().split("   ")[0].split() for line in printed.splitlines() if line.startswith("  sbmrl ")]
    assert len(examples) == 3
    for _, command, *words in examples:
        getattr(parsing, f"parse_{command}")(words)


def test_list_names_everything_in_one_line_each(capsys):
    """In groups; a programme may share its name with others, and so may presets of different kinds of games."""
    main(["list"])
    groups: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            groups[next(reversed(groups))].append(line.split()[0])
        else:
            groups[line.removesuffix(":")] = []
    assert all(len(set(names)) == len(names) for names in groups.values())
    assert groups["formulations"] == list(registry.formulations())
    assert groups["schemes"] == list(registry.schemes())
    assert groups["learners"] == list(registry.learners())
    assert groups["programmes"] == list(registry.programmes())
    assert {"simple_mdp_2", "counterexample_2"} < set(groups["tabular: worlds"])
    assert {"prisoners_dilemma", "hidden_query"} < set(groups["matrix: worlds"])
    assert {"poster", "fast"} < set(groups["tabular: presets"])
    assert groups["matrix: presets"] == ["oracles_followers", "fast"]
    everything = [name for group, names in groups.items() if group != "programmes" for name in names]
    for name in ("simple_mdp_2", "counterexample_2", *registry.formulations(), "contextual"):
        assert everything.count(name) == 1


def test_scheme_and_learner_set_the_defaults_that_options_change():
    line = (
        "pal --scheme inner_outer --learner evolution --unroll 2 --leader.population-size 8 follower.learning_rate=0.2"
    )
    experiment, _ = parse_train(line.split())
    assert (compose(experiment).scheme.name, experiment.scheme.unroll) == ("inner_outer", 2)
    assert isinstance(experiment.leader, EvolutionOptions)
    assert experiment.leader.population_size == 8
    assert isinstance(experiment.scheme.follower, GradientOptions)
    assert experiment.scheme.follower.learning_rate == 0.2
    practical, _ = parse_train(["mal", "--preset=practical", "--num-inner-steps", "3"])
    assert (compose(practical).scheme.name, practical.scheme.num_inner_steps) == ("inner_outer", 3)
    assert (practical.game.data, practical.game.loss) == ("aggregated", "kl")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "mal --scheme exact --follower.backup hard --follower.tie-breaking optimistic",
            {"tie_breaking": "optimistic"},
        ),
        ("mal --scheme inner_outer --data aggregated --buffer-size 1000", {"data": "aggregated", "buffer_size": 1000}),
        (
            "mal --learner evolution --leader.num-episodes 2 --context answers",
            {"num_episodes": 2, "context": "answers"},
        ),
    ],
)
def test_what_one_option_gives_a_meaning_another_can_set(line, says):
    experiment, _ = parse_train(line.split())
    values = {setting.name.rpartition(".")[2]: setting.value for setting in settings(experiment)}
    assert says.items() <= values.items()


CERTIFIED_OF_REPAIRS = {
    "mal_agent_reward": {"excess_cost", "noise", "epsilon_truth", "reward_in_world"},
    "mal_random_noise": {"excess_cost", "noise", "concentrability", "best_alpha", "random_noise"},
}


def test_theory_writes_its_counts(tmp_path, capsys, monkeypatch):
    """Of worlds of one shape and family, and one short search; all of them, and the bounds, are test_bounds.py's."""
    monkeypatch.setattr(check, "SHAPES", check.SHAPES[:1])
    monkeypatch.setattr(check, "FAMILIES", {"dense": check.FAMILIES["dense"]})
    monkeypatch.setattr(check, "HORIZONS", (None, 1))
    monkeypatch.setattr(check, "_BATCH", 256)
    searched, found = [], tightest(["theorem_2_kl"], num_starts=16, num_steps=150)[0]["theorem_2_kl"]

    def search(names, seed, discounts):
        searched.append(discounts)
        return [dict.fromkeys(names, found) for _ in discounts]

    monkeypatch.setattr("sbmrl.commands.theory.tightest", search)
    out = tmp_path / "theory"
    main(["theory", "--num-instances", "300", "--out", str(out)])
    summary = json.loads((out / "theory.json").read_text())
    assert summary["instances"] == 300
    assert summary["instances_by_setting"] == {"discounted": 150, "over T steps": 150}
    assert set(summary["violations"]) == {f"{key}_{loss}" for key in STATEMENTS for loss in ("kl", "brier")}
    assert searched == [((0.0, 0.99), (0.9, 0.99))]
    assert not any(summary["violations"].values())
    assert summary["seconds"] > 0
    assert {path.name for path in out.iterdir()} == {"theory.json", "theory.md", "theory.svg", "theory.png"}
    printed = capsys.readouterr().out
    assert printed.count("| theorem 2 |") == 2
    assert printed.count("| agent reward in the world |") == 2
    assert "must be a new or empty directory" in refused(capsys, "theory", "--out", str(out))


def test_a_run_of_another_scheme_can_be_read_back(tmp_path, capsys):
    out = tmp_path / "run"
    tiny = "--num-seeds 2 --num-records 1 --leader.num-updates 2 --num-random-leaders 2 --follower.num-transitions 50"
    main(["train", "pal", "--scheme", "exact", *tiny.split(), "--out", str(out)])
    results = pl.read_parquet(out / "results.parquet")
    assert results["scheme"].to_list() == ["exact", "exact"]
    assert results["learner"].to_list() == ["gradient", "gradient"]
    assert set(pl.read_parquet(out / "metrics.parquet")["stage"]) == {"play"}
    capsys.readouterr()
    main(["evaluate", str(out), "--num-episodes", "2"])
    assert "0.0e+00" in capsys.readouterr().out
    main(["draw", str(out)])
    assert (out / "model-seed0.svg").is_file()


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """`sbmrl reproduce` with a tiny preset, once: the directory of its files.

    PAL has two stages; the three of MAL are those that compile fastest, and share what does not depend on the leader.
    """

    def tiny(name, formulation, env=None):
        if formulation == "pal":
            return tiny_experiment("pal", "contextual", "gradient")
        void = {"allow_void": True} if formulation == "mal_agent_reward" else {}
        return tiny_experiment(formulation, "exact", "gradient", follower__backup="hard", response="greedy", **void)

    out = tmp_path_factory.mktemp("runs") / "reproduced"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "preset", tiny)
        main(["reproduce", "--num-seeds", "4", "--out", str(out), "--wandb", "offline"])
    return out


def test_reproduce_leaves_all_files(reproduced):
    rows = json.loads((reproduced / "table.json").read_text())
    assert [row["formulation"] for row in rows] == list(POSTER_FORMULATIONS)
    assert {row["published"]["value"] for row in rows} == {0.97, 36.93, 36.74, 36.77}
    assert "| MAL + agent reward | 36.93 ± 0.57 |" in (reproduced / "table.md").read_text()
    assert len(pl.read_parquet(reproduced / "results.parquet")) == 4 * 4
    page = (reproduced / "report" / "report.html").read_text(encoding="utf-8")
    assert "Finished: 16 runs." in page
    (log,) = (reproduced / "wandb").glob("offline-run-*/*.wandb")
    assert b"report.html" in log.read_bytes()
    for name in POSTER_FORMULATIONS:
        run = reproduced / name
        config = json.loads((run / "config.json").read_text())
        assert config["num_seeds"] == 4
        assert config["experiment"]["formulation"] == name
        meta = json.loads((run / "meta.json").read_text())
        assert meta["packages"]["jax"].startswith("0.11")
        assert meta["seconds"]["run"] > 0
        results = pl.read_parquet(run / "results.parquet")
        cell = {"formulation", "scheme", "learner", "env", "alpha", "loss", "agent_reward", "seed"}
        own = {"model_return", "fit", *(f"fit_{name}" for name in LOSSES), "random_fit", *Certificate._fields}
        own |= CERTIFIED_OF_REPAIRS.get(name, set())
        assert set(RESULT_COLUMNS) | cell | own == set(results.columns)
        assert results["seed"].to_list() == [0, 1, 2, 3]
        np.testing.assert_allclose(results["regret"], results["optimal_return"] - results["exact_return"], atol=1e-5)
        curves = pl.read_parquet(run / "metrics.parquet")
        assert set(curves["stage"]) == ({"pretrain", "play"} if name == "pal" else {"play"})
        assert curves.filter(metric="exact_return").height == 2 * 4
        (log,) = (run / "wandb").glob("offline-run-*/*.wandb")
        logged = log.read_bytes()
        assert b"metrics.parquet" in logged  # the artifact
        assert run.parent.name.encode() in logged  # the group
        assert not list(run.glob("*.tmp"))


def test_evaluate_finds_the_same_exact_numbers(reproduced, capsys):
    main(["evaluate", str(reproduced), "--num-episodes", "5"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "mal" in line or "pal" in line]
    assert len(lines) == 4
    assert all(line.split("│")[4].strip() == "0.0e+00" for line in lines)


def test_draw_a_run_and_a_world(reproduced, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["draw", str(reproduced / "mal"), "--run-seed", "2", "--out", "model"])
    main(["draw", "mdp_erg_det_2"])
    assert {path.name for path in tmp_path.iterdir()} == {
        *("model.svg", "model.png"),
        *("mdp_erg_det_2.svg", "mdp_erg_det_2.png"),
    }
    capsys.readouterr()
    assert "run_seed: must be below the run's 4 seeds" in refused(
        capsys, "draw", str(reproduced / "mal"), "--run-seed", "4"
    )
    assert "must be the directory of one run" in refused(capsys, "draw", str(reproduced))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("config.json", "is no configuration of this program"),
        ("world.json", "world.json: must be"),
        ("results.parquet", "results.parquet: cannot be read"),
    ],
)
def test_damaged_runs_are_named(reproduced, tmp_path, capsys, damage, says):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(reproduced / "pal", run)
    (run / damage).write_bytes(b"damaged")
    assert says in refused(capsys, "evaluate", str(run))


def test_a_checkpoint_of_another_shape_is_named(reproduced, tmp_path, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(reproduced / "pal", run)
    shutil.rmtree(run / "chunks")
    shutil.copytree(reproduced / "mal" / "chunks", run / "chunks")
    assert "00000000: cannot be restored" in refused(capsys, "evaluate", str(run))
    state = next(path for path in (run / "chunks" / "00000000" / "state").rglob("*") if path.is_file())
    state.write_bytes(state.read_bytes() + b"0")
    assert "has another checksum" in refused(capsys, "evaluate", str(run))


def test_every_trial_of_the_wandb_sweep_is_a_command_that_is_accepted():
    path = Path(__file__).parents[1] / "experiments" / "wandb_sweep.yaml"
    sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
    program, command, *line = sweep["command"]
    assert (program, command) == ("sbmrl", "train")
    assert sweep["metric"]["name"] in tracking.ESTIMATES
    values = [f"--{name}={range_['min']}" for name, range_ in sweep["parameters"].items()]  # as the agent writes them
    line = [word for given in line for word in (values if given == "${args}" else [given])]
    experiment, options = parse_train(line)
    assert (experiment.game.alpha, experiment.leader.learning_rate, options.wandb) == (0.0, 1e-4, "online")


def test_the_batch_script_is_sound_and_its_command_accepted(tmp_path):
    """The shell's own check, and a run of it in which srun and scontrol only write down what they are told."""
    script = Path(__file__).parents[1] / "experiments" / "sweep.sbatch"
    for name, code in (("srun", 75), ("scontrol", 0)):
        (tmp_path / name).write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/{name}.said\nexit {code}\n')
        (tmp_path / name).chmod(0o755)
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", str(script)], env=own, cwd=tmp_path, timeout=60)
    assert done.returncode == 75
    assert (tmp_path / "scontrol.said").read_text() == "requeue 7\n"
    words = (tmp_path / "srun.said").read_text().split()
    experiments, options = parse_sweep(words[words.index("sweep") + 1 :])
    assert [experiment.formulation for experiment in experiments] == ["mal_agent_reward", "mal_random_noise"]
    assert (options.distributed, options.resume, options.num_seeds) == ("auto", False, 4096)
