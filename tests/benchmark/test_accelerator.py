"""What is done on a new accelerator, on the CPU and with tiny sizes: its whole path, and what it does when stopped."""

import json
import signal
import threading
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from conftest import tiny_experiment

from sbmrl.benchmark import accelerator, agreement, ceilings
from sbmrl.benchmark.accelerator import Task, measure_accelerator, told_of
from sbmrl.benchmark.sequential import count_launches, count_steps
from sbmrl.cli import main
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import make_solver, world_of
from sbmrl.sweep import execute, memory
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import CellPlan, Plan

pytestmark = pytest.mark.xdist_group("cli")  # whose cells are compiled here too

EXACT = tiny_experiment("pal", "exact")
SAMPLED = tiny_experiment("mal", "contextual")
CORRECTNESS = Plan((CellPlan("pal-exact", EXACT, ()), CellPlan("mal", SAMPLED, ())), num_seeds=4)


def task(**changes) -> Task:
    """A few seeds of tiny experiments."""
    options = {"num_seeds": (4,), "most": True, "num_repeats": 1, "phase_seeds": 4, "limit": 1e6}
    return Task(CORRECTNESS, {"tiny mal": SAMPLED}, **{**options, **changes})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ceilings of a megabyte, and a memory that holds 8 runs."""
    monkeypatch.setattr(ceilings, "_SIDE", {"cpu": 512})
    monkeypatch.setattr(ceilings, "_NUMBERS", {"cpu": 2**18})
    monkeypatch.setattr(accelerator, "room", lambda width, bytes_each, free: memory.Room(8, 8))


def test_the_whole_path(tmp_path):
    told: list[str] = []
    path = measure_accelerator(task(), tmp_path, told.append)
    assert path.name == "accelerator_cpu_cpu.json"
    found = json.loads(path.read_text())
    steps = [
        "ceilings",
        "training",
        "comparison",
        "tiny mal, 4 seeds",
        "phases of the follower",
        "phases of the leader",
    ]
    assert [step["step"] for step in found["clock"]] == [*steps, "tiny mal, as many seeds as fit"]
    assert [step["error"] for step in found["clock"]] == [None] * 7
    assert [line.split(":")[0] for line in told] == [step["step"] for step in found["clock"]]
    assert found["left_out"] == []
    correctness = found["correctness"]
    assert correctness["values_agree"]
    assert correctness["exact_trainings_agree"]
    assert correctness["samples_agree"]
    assert {row["cell"] for row in correctness["values"]} == {"pal-exact", "mal"}
    assert {row["cell"] for row in correctness["exact_trainings"]} == {"pal-exact"}
    assert [line["num_seeds"] for line in found["lines"]] == [4, 8]
    for line in found["lines"]:
        for stage in ("pretrain", "play"):
            seconds = line["records"][stage]
            assert line["seconds_per_1000_steps"][stage] * line["sequential"][stage]["steps"] == pytest.approx(
                1000 * seconds
            )
            assert line["seconds_per_launch"][stage] * line["launches"][stage]["kernels"] == pytest.approx(seconds)
            assert 0 < line["share_of_arithmetic"][stage] < 1
            assert 0 < line["share_of_copy"][stage] < 1
    assert {phase["side"] for phase in found["phases"]} == {"follower", "leader"}
    text = told_of(found)
    assert "As on CPU: exact values of given profiles, exact trainings seed by seed, distributions over seeds." in text
    assert "NOT" not in text


def test_what_differs_is_said(tmp_path):
    agreement.run_here(CORRECTNESS, tmp_path / "one")
    run = load(tmp_path / "one")
    cells = dict(run.cells)
    frame = cells["pal-exact"].results()

    class Other:
        name, experiment = "pal-exact", EXACT

        def results(self):
            return frame.with_columns(exact_return=frame["exact_return"] + 0.5)

        def evaluate(self, num_episodes, seed):
            return {"exact_return": frame["exact_return"].to_numpy()}

    (row,) = [row for row in agreement.compare_seeds(run, _run(Other())) if row.metric == "exact_return"]
    assert row.largest > agreement.TOLERANCE
    assert row.within == 0.0
    (row,) = agreement.compare_values(_run(Other()))
    assert row.largest > agreement.TOLERANCE


def _run(cell) -> Any:
    """What `load` gives, as far as it is looked at."""
    return SimpleNamespace(cells={cell.name: cell})


def test_a_step_that_fails_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "_trained_on_cpu", _no_child)
    monkeypatch.setattr(agreement, "run_here", lambda plan, out: None)
    path = measure_accelerator(task(most=False, phase_seeds=0), tmp_path, lambda line: None)
    found = json.loads(path.read_text())
    errors = {step["step"]: step["error"] for step in found["clock"]}
    assert "no reference" in errors["comparison"]
    assert errors["tiny mal, 4 seeds"] is None
    assert "not compared with a CPU" in told_of(found)
    assert "Failed: comparison." in told_of(found)


class _no_child:  # noqa: N801  # in place of a context manager's function
    def __init__(self, plan, out):
        pass

    def __enter__(self):
        def wait():
            raise RuntimeError("no reference")

        return wait

    def __exit__(self, *error):
        pass


def test_stopped_it_finishes_the_step_and_names_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "_trained_on_cpu", _no_child)

    def stopped(plan, out):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(agreement, "run_here", stopped)
    assert threading.current_thread() is threading.main_thread()
    found = json.loads(measure_accelerator(task(), tmp_path, lambda line: None).read_text())
    assert [step["step"] for step in found["clock"]] == ["ceilings", "training"]
    assert found["left_out"][0] == "comparison"
    assert len(found["left_out"]) == 5


def test_a_side_without_rollouts_has_no_shares():
    """PAL's contextual follower fits its model to payoffs."""
    work = accelerator._work(tiny_experiment("pal", "contextual"))
    assert set(work) == {"play"}
    assert work["play"].operations > 0


def test_phases_are_those_of_whoever_has_them():
    """PAL alone has a leader that plays, and no follower."""
    pal = tiny_experiment("pal", "contextual")
    assert accelerator._with_phases([pal], "leader") is pal
    assert accelerator._with_phases([pal], "follower") is None
    assert accelerator._with_phases([pal, SAMPLED], "follower") is SAMPLED


def test_ties_apart_by_a_rounding_are_alike():
    frames = [pl.DataFrame({"fit": np.full(64, value)}) for value in (-0.02, -0.02 + 2e-9, -0.03)]
    one, other, third = (_run(SimpleNamespace(name="mal", results=lambda frame=frame: frame)) for frame in frames)
    assert agreement.compare_samples(one, other)[0].probability == 1.0
    assert not agreement.alike(agreement.compare_samples(one, third))


def test_the_limit_leaves_out_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "_trained_on_cpu", _no_child)
    found = json.loads(measure_accelerator(task(limit=1e-9), tmp_path, lambda line: None).read_text())
    assert found["clock"] == []
    assert len(found["left_out"]) == 7


def test_the_training_on_cpu_is_that_of_this_process(tmp_path):
    """In a process of its own, from the plan as text; its log is told of where it fails."""
    plan = Plan(CORRECTNESS.cells[:1], 4)
    assert agreement.read_plan(json.dumps(plan.to_dict())) == plan
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with accelerator._trained_on_cpu(plan, tmp_path / "full") as wait, pytest.raises(RuntimeError, match="full"):
        wait()


def test_the_command(tmp_path, monkeypatch, capsys, own_cache):
    monkeypatch.setattr("sbmrl.commands.bench.correctness_plan", lambda num_seeds: CORRECTNESS)
    monkeypatch.setattr("sbmrl.commands.bench.preset", lambda name, one, scheme: tiny_experiment(one, scheme))
    monkeypatch.setattr(accelerator, "_trained_on_cpu", _no_child)
    main(f"bench mal --accelerator --num-seeds 4 --num-repeats 1 --phase-seeds 0 --out {tmp_path / 'out'}".split())
    out, err = capsys.readouterr()
    assert "bench: poster mal, 4 seeds" in err
    assert "MAL" in out
    assert "accelerator_cpu_cpu.json" in out


def nested(x):
    """Three times two steps and four more: a matrix product in each of the former."""

    def inner(x, _):
        return jnp.tanh(x @ x), None

    def outer(x, _):
        return jax.lax.scan(inner, x, None, 2)[0], None

    x, _ = jax.lax.scan(outer, x, None, 3)
    return jax.lax.fori_loop(0, 4, lambda i, x: x + 1.0, x)


def test_steps_are_those_of_innermost_loops():
    found = count_steps(jax.make_jaxpr(nested)(jnp.eye(8)).jaxpr)
    assert found.steps == 3 * 2 + 4
    assert found.operations >= 2 * 6 + 4
    assert found.unbounded == 0
    endless = jax.make_jaxpr(lambda x: jax.lax.while_loop(lambda x: x < 5, lambda x: x + 1, x))(0).jaxpr
    assert count_steps(endless).unbounded == 1
    branches = jax.make_jaxpr(lambda x: jax.lax.cond(x[0, 0] > 0, nested, lambda x: x, x))(jnp.eye(8)).jaxpr
    assert count_steps(branches).steps == 10


def test_launches_are_as_often_as_their_loop():
    """At least a product and a tanh in each of six steps, and one more for each of four: a copy or two beside them."""
    found = count_launches(jax.jit(nested).lower(jnp.eye(8)).compile())
    assert 6 + 4 <= found.kernels <= 80
    assert (found.recorded, found.graphs) == (0, 0)
    products = [jax.jit(lambda x, n=n: jax.lax.fori_loop(0, n, lambda _, x: x @ x, x)) for n in (50, 100)]
    once, twice = (count_launches(one.lower(jnp.eye(8)).compile()).kernels for one in products)
    assert twice > 1.9 * once


GPU_TEXT = """HloModule jit_f

%command_buffer (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %a = f32[8]{0} fusion(%p), kind=kLoop, calls=%fused
  ROOT %b = f32[8]{0} custom-call(%a), custom_call_target="__cublas$gemm"
}

%body (t: (s32[], /*index=1*/f32[8])) -> (s32[], f32[8]) {
  %t = (s32[], /*index=1*/f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%t), index=1
  %c = f32[8]{0} call(%x), to_apply=%command_buffer
  %s = ((f32[8]{0}), f32[8]{0}, u32[]) copy-start(%c)
  %d = f32[8]{0} copy-done(%s)
  ROOT %r = (s32[], /*index=1*/f32[8]{0}) tuple(%i, %d)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %w = (s32[], /*index=1*/f32[8]{0}) while(%i), body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %o = f32[8]{0} get-tuple-element(%w), index=1
}
"""


def test_launches_of_a_recorded_graph_are_counted_apart():
    found = count_launches(type("Compiled", (), {"as_text": lambda self: GPU_TEXT})())
    assert found == (15, 10, 5)


def test_an_update_of_ppo_has_the_steps_that_its_options_say():
    """T of the rollout, T of the advantages, one for each minibatch of each epoch."""
    program = make_program(SAMPLED)
    fixed = execute.traced_values(SAMPLED)
    state = jax.eval_shape(program.init, jax.random.key(0), fixed)
    stage = next(stage for stage in program.stages if stage.name == "play")
    options = SAMPLED.leader
    samples = options.num_environments * options.num_steps
    own = 2 * options.num_steps + options.num_epochs * samples // options.minibatch_size
    solver = make_solver(SAMPLED, world_of(SAMPLED))
    step = next(one for one in solver.algorithm.stages if one.name == "play").step
    assert count_steps(jax.make_jaxpr(step)(jax.random.key(0), state).jaxpr).steps == own
    record = jax.make_jaxpr(stage.record)(jax.random.key(0), fixed, state, 0).jaxpr
    assert count_steps(record).steps >= own * stage.steps_per_record // samples
