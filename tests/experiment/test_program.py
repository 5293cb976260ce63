"""Whole runs: every formulation runs and is finite; vmap equals a loop; chunked equals whole; one compile for all α.

What most tests look at is one batch for each formulation, all seeds of all points of a grid of hyper-parameters.
"""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.core.options import traced_fields
from sbmrl.errors import InputError
from sbmrl.experiment.program import finish_key, make_program, make_train
from sbmrl.sweep.execute import Engine, all_runs, seed_keys, traced_values

NUM_SEEDS = 5
ALPHAS = (1.0, 0.5, 0.0)  # one in each point of the grid, where there is an α
REPAIRS = (("mal_agent_reward", "world"), ("mal_agent_reward", "model"), ("mal_random_noise", None))
model_leads = pytest.mark.xdist_group("model leads")  # these tests share batches


@functools.cache
def experiment_of(formulation, agent_reward=None):
    experiment = tiny_experiment(formulation)
    experiment = experiment.replace(**({} if agent_reward is None else {"agent_reward": agent_reward}))
    return experiment.replace(env="hero" if compose(experiment).kind.name == "matrix" else "simple_mdp_2_variant_2")


def grid_of(experiment, learning_rate=None):
    """Hyper-parameter -> its value in each point of the grid."""
    rate = experiment.leader.learning_rate if learning_rate is None else learning_rate
    grid = {"leader.learning_rate": np.full(len(ALPHAS), rate, np.float32)}
    return grid | ({"alpha": np.array(ALPHAS, np.float32)} if "alpha" in traced_fields(experiment) else {})


@functools.cache
def program_of(experiment):
    """(keys, grid) -> results `[N, points]`; must never be compiled twice."""
    train = chex.assert_max_traces(make_train(experiment), n=1)
    return jax.jit(jax.vmap(jax.vmap(train, (None, 0)), (0, None)))


@functools.cache
def batch_of(formulation, agent_reward=None):
    experiment = experiment_of(formulation, agent_reward)
    return jax.device_get(program_of(experiment)(seed_keys(0, NUM_SEEDS), grid_of(experiment)))


def at_point(batch, point):
    return jax.tree.map(lambda x: x[:, point], batch)


@pytest.mark.parametrize(
    "formulation", [pytest.param(name, marks=[model_leads] if "mal" in name else []) for name in registry.formulations()]
)
def test_every_formulation_runs_and_vmap_equals_a_loop(formulation):
    experiment, batch = experiment_of(formulation), batch_of(formulation)
    assert batch.final.metrics["finite"].all()
    for strategy in batch.final.profile.values():
        np.testing.assert_allclose(strategy.sum(-1), 1.0, atol=1e-5)
    seed, point = 1, 1
    hyper = {name: values[point] for name, values in grid_of(experiment).items()}
    single = jax.jit(make_train(experiment))(seed_keys(0, NUM_SEEDS)[seed], hyper)
    for one, many in zip(jax.tree.leaves(single), jax.tree.leaves(batch), strict=True):
        np.testing.assert_allclose(one, many[seed, point], rtol=2e-3, atol=2e-4)


TABLE_LEADER = dataclasses.replace(tiny_experiment("mal").leader, parametrization="table")


@pytest.mark.parametrize(
    ("formulation", "env", "changes"),
    [
        ("pal", "counterexample_1", {"loss": "kl"}),
        ("mal", "mdp_erg_det_2", {"loss": "kl", "response": "sampled"}),
        ("mal_random_noise", "random_4_3_0", {"leader": TABLE_LEADER}),
    ],
)
def test_other_worlds_losses_and_responses_run(formulation, env, changes):
    train = make_train(tiny_experiment(formulation, env=env, **changes))
    metrics = jax.jit(lambda key: train(key).final.metrics)(jax.random.key(0))
    assert bool(metrics["finite"])
    assert float(metrics["regret"]) >= -1e-4
    assert float(metrics["follower_gap"]) >= -1e-4
    assert float(metrics["follower_gap_random"]) >= -1e-4


@model_leads
@pytest.mark.parametrize(("formulation", "agent_reward"), REPAIRS)
def test_alpha_one_is_mal_exactly(formulation, agent_reward):
    mal, repaired = (at_point(batch, ALPHAS.index(1.0)) for batch in (batch_of("mal"), batch_of(formulation, agent_reward)))
    for one, other in zip(jax.tree.leaves(mal), jax.tree.leaves(repaired), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@model_leads
def test_below_one_alpha_matters_and_so_does_where_the_reward_is_earned():
    models = [at_point(batch_of(*repair), ALPHAS.index(0.5)).final.profile["model"] for repair in REPAIRS]
    for one, other in itertools.combinations(models, 2):
        assert not np.allclose(one, other, atol=1e-6)


@model_leads
def test_hyper_parameters_are_an_axis_and_cost_one_compile():
    experiment, batch = experiment_of("mal_agent_reward"), batch_of("mal_agent_reward")
    slower = program_of(experiment)(seed_keys(0, NUM_SEEDS), grid_of(experiment, learning_rate=1e-4))
    assert slower.final.metrics["exact_return"].shape == (NUM_SEEDS, len(ALPHAS))
    assert not np.allclose(slower.final.profile["model"], batch.final.profile["model"])
    for result in (slower, batch):
        assert not np.allclose(at_point(result, 0).final.profile["model"], at_point(result, 2).final.profile["model"])
    with pytest.raises(InputError, match=r"did you mean 'leader.learning_rate'"):
        make_train(experiment)(jax.random.key(0), {"leader.learning_rat": 1e-3})


@functools.cache
def cell_of(num_seeds):
    """The seeds run by an engine on the 4 devices; 5 are padded to 8, two on each."""
    experiment = experiment_of("mal")
    return Engine(experiment, make_program(experiment), width=num_seeds).run(all_runs(num_seeds))


@model_leads
def test_chunked_and_sharded_equals_whole():
    cell, whole = cell_of(NUM_SEEDS), at_point(batch_of("mal"), 0)
    assert cell.profile["policy"].shape[0] == NUM_SEEDS
    chunked = (cell.metrics, cell.profile)
    final = (whole.final.metrics, whole.final.profile)
    for one, other in zip(jax.tree.leaves(chunked), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
    play = [progress.metrics["exact_return"] for progress in cell.curves if progress.stage == "play"]
    np.testing.assert_allclose(np.stack(play, -1), whole.curves["play"]["exact_return"], rtol=2e-3, atol=2e-4)


@model_leads
def test_a_seed_does_not_depend_on_how_many_run_beside_it():
    few, many = cell_of(4), cell_of(NUM_SEEDS)
    np.testing.assert_allclose(few.profile["model"], many.profile["model"][:4], rtol=1e-4, atol=1e-5)


@model_leads
def test_a_diverged_run_is_flagged_and_harms_no_other():
    experiment, good = experiment_of("mal"), batch_of("mal")
    grid = grid_of(experiment)
    grid["leader.learning_rate"][1] = np.nan
    bad = jax.device_get(program_of(experiment)(seed_keys(0, NUM_SEEDS), grid))
    np.testing.assert_array_equal(bad.final.metrics["finite"], [[True, False, True]] * NUM_SEEDS)
    for point in (0, 2):
        for one, other in zip(*(jax.tree.leaves(at_point(b, point).final) for b in (good, bad)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_traced_values_are_arguments_of_the_program():
    experiment = tiny_experiment("mal_random_noise")
    program, key = make_program(experiment), seed_keys(0, 1)[0]
    values = traced_values(experiment)
    assert set(values) == set(traced_fields(experiment))
    state = jax.eval_shape(program.init, key, values)
    final = jax.eval_shape(program.finish, finish_key(key), values, state)
    assert set(final.params) == {"leader", "follower"}
