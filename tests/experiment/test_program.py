"""Whole runs: every formulation runs and is finite; vmap equals a loop; chunked equals whole; one compile for all α.

Most tests look at the same batch of a formulation: some seeds, and for one of them several α.
"""

import collections
import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core import registry
from sbmrl.core.options import traced_fields
from sbmrl.errors import InputError
from sbmrl.experiment.program import Final, finish_key, make_program, make_train
from sbmrl.sweep.execute import Engine, all_runs, seed_keys, traced_values

SEEDS = (0, 1, 2, 3, 4, 3, 3)
ALPHAS = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0)  # where there is an α
REPAIRS = (("mal_agent_reward", "world"), ("mal_agent_reward", "model"), ("mal_random_noise", None))
# Worlds, losses and responses that are not the usual ones; the same where model leaders are compared.
CHANGES = {
    "pal": {"env": "counterexample_1", "loss": "kl"},
    "pessimistic_pal": {"env": "simple_mdp_2_variant_2"},
    "matrix_game": {"env": "hero"},
    "matrix_game_column": {"env": "hero"},
    "reward_shaping": {"env": "two_ways", "scheme": "implicit"},
}
MODEL_LEADS = {"env": "mdp_erg_det_2", "loss": "kl", "response": "sampled"}
model_leads = pytest.mark.xdist_group("model leads")  # these tests share batches
num_traces = collections.Counter()


@functools.cache
def experiment_of(formulation, agent_reward=None):
    changes = CHANGES.get(formulation, MODEL_LEADS)
    return tiny_experiment(formulation, **changes if agent_reward is None else changes | {"agent_reward": agent_reward})


def hyper_of(experiment, learning_rate=None):
    """Hyper-parameter -> its value in each run of the batch."""
    rate = experiment.leader.learning_rate if learning_rate is None else learning_rate
    hyper = {"leader.learning_rate": np.full(len(SEEDS), rate, np.float32)}
    return hyper | ({"alpha": np.array(ALPHAS, np.float32)} if "alpha" in traced_fields(experiment) else {})


@functools.cache
def program_of(experiment):
    """(keys `[N]`, hyper-parameters `[N]`) -> results `[N]`."""
    train = make_train(experiment)

    def counted(key, hyper):
        num_traces[experiment] += 1
        return train(key, hyper)

    return jax.jit(jax.vmap(counted))


@functools.cache
def batch_of(formulation, agent_reward=None):
    experiment = experiment_of(formulation, agent_reward)
    return jax.device_get(program_of(experiment)(seed_keys(0, np.array(SEEDS)), hyper_of(experiment)))


def part(batch, index):
    return jax.tree.map(lambda x: x[index], batch)


every_formulation = pytest.mark.parametrize(
    "formulation", [pytest.param(name, marks=model_leads if "mal" in name else []) for name in registry.formulations()]
)


@every_formulation
def test_every_formulation_runs(formulation):
    batch = batch_of(formulation)
    assert batch.final.metrics["finite"].all()
    for role, strategy in batch.final.profile.items():
        if role != "designer":  # penalties are no probabilities
            np.testing.assert_allclose(strategy.sum(-1), 1.0, atol=1e-5)


@every_formulation
def test_vmap_equals_a_loop(formulation):
    experiment, run = experiment_of(formulation), ALPHAS.index(0.5)
    hyper = part(hyper_of(experiment), run)
    single = jax.jit(make_train(experiment))(seed_keys(0, np.array(SEEDS))[run], hyper)
    batched = part(batch_of(formulation), run)
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(batched), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


@functools.cache
def metrics_of_another_world():
    """A random world, and a leader that is a table."""
    leader = dataclasses.replace(tiny_experiment("mal").leader, parametrization="table")
    train = make_train(tiny_experiment("mal_random_noise", env="random_4_3_0", leader=leader))
    return jax.device_get(jax.jit(lambda key: train(key).final.metrics)(jax.random.key(0)))


@pytest.mark.parametrize(
    "metrics_of",
    [
        pytest.param(lambda: batch_of("pal").final.metrics, id="pal-counterexample_1-kl"),
        pytest.param(lambda: batch_of("mal").final.metrics, id="mal-mdp_erg_det_2-kl-sampled", marks=model_leads),
        pytest.param(metrics_of_another_world, id="mal_random_noise-random_4_3_0-table"),
    ],
)
def test_other_worlds_losses_and_responses_run(metrics_of):
    metrics = metrics_of()
    assert metrics["finite"].all()
    for regret in ("regret", "follower_gap", "follower_gap_random"):
        assert (metrics[regret] >= -1e-4).all()


@model_leads
@pytest.mark.parametrize(("formulation", "agent_reward"), REPAIRS)
def test_alpha_one_is_mal_exactly(formulation, agent_reward):
    plain = np.array(ALPHAS) == 1.0
    mal, repaired = part(batch_of("mal"), plain), part(batch_of(formulation, agent_reward), plain)
    metrics = repaired.final.metrics  # of a repair's certificate mal has nothing
    metrics = {name: metrics[name] for name in mal.final.metrics}
    repaired = repaired._replace(final=repaired.final._replace(metrics=metrics))
    for one, other in zip(jax.tree.leaves(mal), jax.tree.leaves(repaired), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@model_leads
def test_below_one_alpha_matters_and_so_does_where_the_reward_is_earned():
    models = [part(batch_of(*repair), ALPHAS.index(0.5)).final.profile["model"] for repair in REPAIRS]
    for one, other in itertools.combinations(models, 2):
        assert not np.allclose(one, other, atol=1e-6)


@model_leads
def test_hyper_parameters_are_an_axis_and_cost_one_compile():
    experiment, batch = experiment_of("mal_agent_reward"), batch_of("mal_agent_reward")
    slower = program_of(experiment)(seed_keys(0, np.array(SEEDS)), hyper_of(experiment, learning_rate=1e-4))
    assert num_traces[experiment] == 1
    assert not np.allclose(slower.final.profile["model"], batch.final.profile["model"])
    same_seed = [SEEDS.index(3), ALPHAS.index(0.5), ALPHAS.index(0.0)]
    for result in (slower, batch):
        for one, other in itertools.combinations(result.final.profile["model"][np.array(same_seed)], 2):
            assert not np.allclose(one, other)


def test_hyper_parameters_can_be_an_axis_of_their_own():
    train = make_train(experiment_of("mal_agent_reward"))
    of_all = jax.vmap(jax.vmap(train, (None, 0)), (0, None))
    result = jax.eval_shape(of_all, seed_keys(0, 2), {"alpha": jnp.linspace(0.0, 1.0, 3)})
    assert result.final.metrics["exact_return"].shape == (2, 3)
    with pytest.raises(InputError, match=r"did you mean 'leader.learning_rate'"):
        train(jax.random.key(0), {"leader.learning_rat": 1e-3})


@model_leads
def test_chunked_and_sharded_equals_whole():
    experiment, whole = experiment_of("mal"), part(batch_of("mal"), slice(5))
    cell = Engine(experiment, make_program(experiment), width=5).run(all_runs(5))  # 4 devices: padded to 8
    assert cell.profile["policy"].shape[0] == 5
    chunked = (cell.metrics, cell.profile)
    final = (whole.final.metrics, whole.final.profile)
    for one, other in zip(jax.tree.leaves(chunked), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
    play = [progress.metrics["exact_return"] for progress in cell.curves if progress.stage == "play"]
    np.testing.assert_allclose(np.stack(play, -1), whole.curves["play"]["exact_return"], rtol=2e-3, atol=2e-4)


def test_a_seed_does_not_depend_on_how_many_run_beside_it():
    experiment = tiny_experiment("mal", "exact", leader__initial="random")
    program = make_program(experiment)
    bare = program._replace(finish=lambda key, hyper, state: Final({}, program.params(state)["leader"], {}))
    few, many = (Engine(experiment, bare, width=count).run(all_runs(count)).profile["logits"] for count in (4, 8))
    np.testing.assert_allclose(few, many[:4], rtol=1e-4, atol=1e-5)
    for one, other in itertools.combinations(many, 2):
        assert not np.allclose(one, other, atol=1e-2)


@model_leads
def test_a_diverged_run_is_flagged_and_harms_no_other():
    experiment, good = experiment_of("mal"), batch_of("mal")
    hyper, diverges = hyper_of(experiment), np.arange(len(SEEDS)) == 1
    hyper["leader.learning_rate"][diverges] = np.nan
    bad = jax.device_get(program_of(experiment)(seed_keys(0, np.array(SEEDS)), hyper))
    np.testing.assert_array_equal(bad.final.metrics["finite"], ~diverges)
    for one, other in zip(jax.tree.leaves(good.final), jax.tree.leaves(bad.final), strict=True):
        np.testing.assert_array_equal(one[~diverges], other[~diverges])


def test_traced_values_are_arguments_of_the_program():
    experiment = tiny_experiment("mal_random_noise")
    program, key = make_program(experiment), seed_keys(0, 1)[0]
    values = traced_values(experiment)
    assert set(values) == set(traced_fields(experiment))
    state = jax.eval_shape(program.init, key, values)
    final = jax.eval_shape(program.finish, finish_key(key), values, state)
    assert set(final.params) == {"leader", "follower"}
