"""What a run left, read back: frames, and agents that act."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import polars as pl
import pytest
from conftest import tiny_experiment

import sbmrl
from sbmrl.errors import InputError
from sbmrl.sweep import store
from sbmrl.sweep.run import Listener, run_plan

pytestmark = pytest.mark.xdist_group("sweep")

AXES = [sbmrl.Axis("alpha", (0.2, 0.8)), sbmrl.Axis("leader.learning_rate", (0.05, 0.1))]


class Notes(Listener):
    """Writes down what it is told."""

    def __init__(self):
        self.compiled_parts, self.chunks = [], []

    def compiled(self, part):
        self.compiled_parts.append(part.name)

    def chunk(self, num_done):
        self.chunks.append(num_done)


@pytest.fixture(scope="module")
def experiments():
    return [tiny_experiment("mal_random_noise", "exact"), tiny_experiment("pal", "contextual", "gradient")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, experiments):
    """(directory, what was told): two cells from Python, the second with a network and without the axis α."""
    out = tmp_path_factory.mktemp("load") / "run"
    notes = Notes()
    plan = sbmrl.make_plan(experiments, AXES, num_seeds=3, chunk_size=5)
    assert run_plan(plan, out, notes) == out
    return out, notes


def test_one_compile_for_each_static_configuration(swept):
    """Four points in three chunks, then two points in two: values of an axis and a shorter last chunk cost none."""
    _, notes = swept
    assert notes.chunks == [5, 10, 12, 5, 6]
    assert notes.compiled_parts == ["play", "init", "finish", "pretrain", "init", "play", "finish"]


def test_frames(swept):
    out, _ = swept
    run = sbmrl.load(out)
    exact, contextual = run.cells
    assert run.results["cell"].to_list() == [exact] * 12 + [contextual] * 6
    assert run.results.filter(pl.col("cell") == exact)["seed"].to_list() == [0, 1, 2] * 4
    assert set(run.curves["stage"]) == {"pretrain", "play"}
    frame = sbmrl.load(out, frames="pandas").results
    assert isinstance(frame, pandas.DataFrame)
    np.testing.assert_array_equal(frame["exact_return"], run.results["exact_return"])
    assert run.commands[0]["packages"]["jax"] == jax.__version__
    cell = sbmrl.load(out / exact)
    assert list(cell.cells) == [exact]


def test_an_agent_acts_in_its_world(swept):
    out, _ = swept
    run = sbmrl.load(out)
    exact, _ = run.cells
    agent = run.agent(exact, seed=2, alpha=0.8, leader__learning_rate=0.1)
    row = run.results.row(11, named=True)
    assert {name: agent.results[name] for name in ("seed", "alpha", "exact_return")} == {
        name: row[name] for name in ("seed", "alpha", "exact_return")
    }
    keys = jax.random.split(jax.random.key(0), 500)
    actions = jax.jit(jax.vmap(agent.act, (0, None)))(keys, 1)
    policy = agent.profile["policy"] if agent.profile["policy"].ndim == 2 else agent.profile["policy"][0]
    frequencies = jnp.bincount(actions, length=policy.shape[-1]) / len(keys)
    np.testing.assert_allclose(frequencies, policy[1], atol=0.08)
    returns = agent.play(jax.random.key(1), 400)
    assert abs(float(returns.mean()) - row["exact_return"]) < 5 * float(returns.std()) / 20 + 1e-3


def test_the_parameters_are_those_that_were_trained(swept, experiments):
    """The parameters of the agent's leader make the model that the run ended with."""
    out, _ = swept
    run = sbmrl.load(out)
    exact, contextual = run.cells
    agent = run.agent(exact, seed=1, alpha=0.2, leader__learning_rate=0.05)
    assert isinstance(agent.world, sbmrl.TabularMDP)
    live = ~np.array(agent.world.terminal)  # a model is asked about no others
    answers = jax.nn.softmax(agent.params["leader"]["logits"])
    np.testing.assert_allclose(
        answers.reshape(agent.profile["model"][live].shape), agent.profile["model"][live], rtol=1e-5, atol=1e-6
    )
    program = sbmrl.make_program(experiments[1])
    like = jax.eval_shape(lambda key: program.params(program.init(key, {})), jax.random.key(0))
    params = run.agent(contextual, seed=0, leader__learning_rate=0.1).params
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda x: x.shape, like)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seed": 3, "alpha": 0.2, "leader__learning_rate": 0.05}, "must be one run of 3 seeds with alpha in"),
        ({"seed": 0, "alpha": 0.3, "leader__learning_rate": 0.05}, "0 runs"),
        ({"seed": 0, "alpha": 0.2}, "2 runs"),
        ({"seed": 0, "alfa": 0.2}, "axis: 'alfa' is unknown; did you mean 'alpha'"),
    ],
)
def test_runs_that_are_not_there(swept, arguments, says):
    out, _ = swept
    run = sbmrl.load(out)
    with pytest.raises(InputError, match=says):
        run.agent(next(iter(run.cells)), **arguments)
    with pytest.raises(InputError, match="cell: must be one of"):
        run.agent(**arguments)


def test_an_unfinished_run_shows_what_it_has(swept, tmp_path):
    out = tmp_path / "part"
    shutil.copytree(swept[0], out)
    exact, contextual = sbmrl.load(out).cells
    for cell in (exact, contextual):
        (out / cell / "results.parquet").unlink()
        (out / cell / "metrics.parquet").unlink()
    for path in store.finished_chunks(out / exact)[1:] + store.finished_chunks(out / contextual):
        shutil.rmtree(path)
    run = sbmrl.load(out)
    assert run.results["cell"].to_list() == [exact] * 5
    assert set(run.curves["cell"]) == {exact}
    assert run.agent(exact, seed=0, alpha=0.2, leader__learning_rate=0.05).results["seed"] == 0
    with pytest.raises(InputError, match="is not finished"):
        run.agent(exact, seed=0, alpha=0.8, leader__learning_rate=0.05)


def test_what_is_damaged_is_named(swept, tmp_path):
    out = tmp_path / "damaged"
    shutil.copytree(swept[0], out)
    exact, contextual = sbmrl.load(out).cells
    chunk = store.finished_chunks(out / exact)[0]
    (chunk / "profiles.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"must be a finished chunk .*profiles.npz has another checksum"):
        sbmrl.load(out).agent(exact, seed=0, alpha=0.2, leader__learning_rate=0.05)
    (out / contextual / "results.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"results.parquet: cannot be read"):
        _ = sbmrl.load(out).results
    config = out / exact / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"axes": 3}))
    with pytest.raises(InputError, match="is no configuration of this program"):
        sbmrl.load(out)


def test_a_diverged_run_in_a_chunk_is_flagged_and_harms_no_other(swept, tmp_path, experiments):
    axes = [AXES[0], sbmrl.Axis("leader.learning_rate", (0.05, 3e38))]
    run_plan(sbmrl.make_plan(experiments[:1], axes, num_seeds=3, chunk_size=5), tmp_path / "diverged")
    results = sbmrl.load(tmp_path / "diverged").results
    sane = pl.col("leader.learning_rate") < 1.0
    assert results.filter(~sane)["finite"].to_list() == [False] * 6
    whole = sbmrl.load(swept[0]).results.filter((pl.col("leader.learning_rate") < 0.07) & pl.col("finite"))
    columns = ["alpha", "seed", *store.RESULT_COLUMNS]
    assert results.filter(sane).select(columns).equals(whole[:6].select(columns))
