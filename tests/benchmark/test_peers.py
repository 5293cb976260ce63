"""The peer benchmark without the peers: arguments, environments, workers that are told what to measure, arithmetic."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import peer_environments
import peers
import pytest
from peer_environments import clean_variables, prepare_environment
from peer_figure import draw
from peer_sbmrl_cartpole import make_training
from peer_sbmrl_follower import follower_experiment
from peer_sides import Side, Worker, alternate, compare_speeds, join_curves, start_side

from sbmrl.errors import InputError
from sbmrl.learners.ppo import PPOOptions

WORKER = """
import sys
from peer_serve import serve

def prepare(settings):
    count = iter(range(100))

    def timed():
        print("a library prints")
        return {"steps": settings["steps"], "seconds": 1.0 + next(count)}

    def learned():
        return {"steps": [8, 16], "metrics": {"return": [[settings["steps"]], [2.0 * settings["steps"]]]}}

    def fail():
        raise RuntimeError("out of luck")

    def hang():
        import time
        time.sleep(60)

    print("so does this one")
    return {"compile_seconds": 0.5}, {"time": timed, "learn": learned, "fail": fail, "hang": hang}

serve(prepare)
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    return Path(sys.executable), script


@pytest.fixture
def variables():
    return clean_variables() | {"PYTHONPATH": str(peers.HERE)}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--out"),
        (["--out", "{folder}/taken.json"], "pass --force"),
        (["--out", "{folder}/pictured.json"], "pass --force"),
        (["--out", "{folder}/new.txt"], "must end in .json"),
        (["--out", "{folder}/taken.json/new.json"], "cannot be written"),
        (["--out", "{folder}/new.json", "--num-seeds", "0"], "at least 1"),
        (["--out", "{folder}/new.json", "--num-seeds", "many"], "--num-seeds"),
        (["--out", "{folder}/new.json", "--slow"], "--slow"),
        (["--out", "{folder}/new.json", "--environments", "{folder}/taken.json"], "environments: "),
    ],
)
def test_bad_arguments_end_in_one_line_and_exit_code_2(tmp_path, capsys, arguments, told):
    (tmp_path / "taken.json").write_text("{}")
    (tmp_path / "pictured.png").write_text("")
    with pytest.raises(SystemExit) as stopped:
        peers.main([argument.format(folder=tmp_path) for argument in arguments])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("peers: installing")]
    assert stopped.value.code == 2
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "new.json").exists()
    assert (tmp_path / "taken.json").read_text() == "{}"


def test_an_environment_is_made_once_for_its_requirements(tmp_path, monkeypatch, capsys):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\n")
    python = prepare_environment("empty", requirements, tmp_path / "all")
    told = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(told.stdout.strip()) == python.parents[1]
    monkeypatch.setattr(peer_environments, "_run", lambda *_: pytest.fail("made again"))
    assert prepare_environment("empty", requirements, tmp_path / "all") == python
    assert capsys.readouterr().err.count("installing") == 1
    requirements.write_text("--no-index\n# other\n")
    with pytest.raises(pytest.fail.Exception, match="made again"):
        prepare_environment("empty", requirements, tmp_path / "all")


def test_a_package_that_cannot_be_had_is_told_in_one_line(tmp_path, monkeypatch):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\nsbmrl-no-such-peer==1.0\n")
    real = peer_environments._run

    def run(name, command):
        if "venv" in command:  # this Python's own pip is enough to fail
            return
        real(name, [sys.executable, *command[1:]])

    monkeypatch.setattr(peer_environments, "_run", run)
    for _ in range(2):  # what failed is not taken for finished
        with pytest.raises(InputError, match=r"^peer: its packages cannot be installed: .*sbmrl-no-such-peer==1\.0$"):
            prepare_environment("peer", requirements, tmp_path / "all")


def test_a_peer_sees_nothing_of_our_settings(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "7")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("KEPT", "1")
    variables = clean_variables()
    assert variables["KEPT"] == "1"
    assert not {"JAX_NUM_CPU_DEVICES", "XLA_FLAGS", "PYTHONPATH"} & set(variables)
    assert "JAX_NUM_CPU_DEVICES" not in peers.jax_variables()
    assert peers.jax_variables(2)["JAX_NUM_CPU_DEVICES"] == "2"


def test_a_comparison_of_workers(command, variables, capsys):
    """Repeat r of a worker takes 1 + r seconds; the second side has two processes, the third is faster than it."""
    with contextlib.ExitStack() as stack:
        ours = start_side(stack, "sbmrl", command, [{"steps": 60}], variables)
        slow = start_side(stack, "slow", command, [{"steps": 6}, {"steps": 12}], variables)
        fast = start_side(stack, "fast", command, [{"steps": 30}], variables)
        compared = peers.measure([ours, slow, fast], 3)
    assert compared["steps_per_second"] == {"sbmrl": [60, 30, 20], "slow": [18, 9, 6], "fast": [30, 15, 10]}
    assert compared["ratio"] == 2.0
    assert compared["ratio_against"] == "fast"
    assert compared["compile_seconds"] == {"sbmrl": 0.5, "slow": 0.5, "fast": 0.5}
    assert set(compared["learning"]) == {"sbmrl", "fast"}
    assert compared["learning"]["fast"]["curves"]["return"]["mean"] == [30, 60]
    order = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert order == ["peers: sbmrl", "peers: slow", "peers: fast"] * 3
    compared["settings"] = {"total_steps": 16}
    first, *rest = peers.summary("rejax", compared).splitlines()
    assert first == "rejax: sbmrl is 2 times as fast as fast (2 to 2 in 3 repeats)"
    assert rest[-1] == "  return after 16 steps: sbmrl 120 (1 seed), fast 60 (1 seed)"
    assert draw({"rejax": compared}).png.startswith(b"\x89PNG")
    json.dumps(compared, allow_nan=False)


def test_the_ratio_is_of_medians_and_its_range_of_repeats():
    compared = compare_speeds({"ours": [90.0, 100.0, 400.0], "slow": [1.0, 1.0, 90.0], "fast": [10.0, 20.0, 25.0]})
    assert compared["ratio"] == 100.0 / 20.0
    assert compared["ratio_against"] == "fast"
    assert compared["ratio_of_each_repeat"] == [9.0, 5.0, 16.0]
    assert compared["ratio_range"] == [5.0, 16.0]


def test_the_curves_of_several_processes_are_of_all_their_seeds():
    one = {"steps": [8, 16], "metrics": {"gap": [[1.0, 2.0], [5.0, 6.0]]}}
    two = {"steps": [8, 16], "metrics": {"gap": [[3.0], [10.0]]}}
    joined = join_curves([one, two])
    assert joined["num_seeds"] == 3
    assert joined["steps"] == [8, 16]
    assert joined["curves"]["gap"]["mean"] == [2.0, 7.0]
    assert joined["curves"]["gap"]["standard_deviation"] == pytest.approx([1.0, np.std([5, 6, 10], ddof=1)])
    assert joined["curves"]["gap"]["final"] == [5.0, 6.0, 10.0]


def test_a_worker_that_fails_or_hangs_is_told_in_one_line(command, variables):
    with contextlib.ExitStack() as stack:
        failing = start_side(stack, "peer", command, [{"steps": 1}], variables)
        with pytest.raises(InputError, match=r"^peer: ended without an answer: RuntimeError: out of luck$"):
            failing.ask("fail")
        with pytest.raises(InputError, match="ended without an answer"):
            alternate([failing], 1, lambda told: None)
        hanging = Worker("peer", [str(part) for part in command], {"steps": 1}, variables, limit=3.0)
        stack.callback(hanging.close)
        with pytest.raises(InputError, match=r"^peer: gave no answer in 3 s"):
            Side("peer", [hanging]).ask("hang")
    with pytest.raises(InputError, match=r"^peer: ended without an answer: no message$"):
        start_side(stack, "peer", (command[0], peers.HERE / "peer_serve.py"), [{}], variables)


def test_a_side_that_stops_stops_the_benchmark_with_exit_code_2(tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise InputError("peer: ended without an answer: no message")

    monkeypatch.setattr(peers, "prepare_environment", lambda *_: Path(sys.executable))
    monkeypatch.setattr(peers, "against_stable_baselines3", stop)
    with pytest.raises(SystemExit) as stopped:
        peers.main(["--quick", "--out", str(tmp_path / "new.json")])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "peers: peer: ended without an answer: no message\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("budget", [peers.FULL, peers.QUICK])
def test_both_sides_train_equally_many_steps(budget):
    """Points of whole rollouts, of Stable-Baselines3's 2,048 steps in one environment as of ours."""
    follower = follower_experiment(**budget.follower).scheme.follower
    assert isinstance(follower, PPOOptions)
    for task, rollout in ((budget.follower, follower.num_environments * follower.num_steps), (budget.cartpole, 2048)):
        assert rollout == 2048
        assert task["total_steps"] % (rollout * task["num_points"]) == 0
    assert budget.follower["num_points"] > 1  # the first is not timed
    assert follower.entropy_coefficient == 0.0


def test_our_side_learns_cartpole():
    settings = peers.CARTPOLE | {"total_steps": 40_960, "learning_rate": 2.5e-3, "num_episodes": 8}
    keys = jax.random.split(jax.random.key(0), 2)
    params, curve = jax.jit(jax.vmap(make_training(settings, 2)))(keys)
    assert curve.shape == (2, 2)
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(params))
    assert jnp.all(curve[:, 0] >= 8)  # no episode of CartPole is shorter
    assert jnp.all(curve <= settings["max_episode_steps"])
    assert curve[:, -1].mean() > 100  # a random policy: 22


def test_training_without_evaluation_has_no_curve():
    settings = peers.CARTPOLE | {"total_steps": 4096}
    params, curve = jax.eval_shape(make_training(settings, 0), jax.random.key(0))
    assert curve.shape == (0,)
    assert any(leaf.shape == (4, 64) for leaf in jax.tree.leaves(params))
