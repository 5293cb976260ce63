"""Whole runs: every formulation runs and is finite; vmap equals a loop; chunked equals whole; one compile for all α."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core.experiment import traced_fields
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.errors import InputError
from sbmrl.experiment.program import finish_key, make_program, make_train
from sbmrl.sweep.execute import Engine, all_runs, seed_keys, traced_values


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_every_formulation_runs_and_vmap_equals_a_loop(formulation):
    matrix = FORMULATIONS[formulation].kind == "matrix"
    train = make_train(tiny_experiment(formulation, env="hero" if matrix else "simple_mdp_2_variant_2"))
    keys = seed_keys(0, 3)
    batched = jax.jit(jax.vmap(train))(keys)
    assert bool(batched.final.metrics["finite"].all())
    for strategy in batched.final.profile.values():
        np.testing.assert_allclose(strategy.sum(-1), 1.0, atol=1e-5)
    single = jax.jit(train)(keys[1])
    for one, many in zip(jax.tree.leaves(single), jax.tree.leaves(batched), strict=True):
        np.testing.assert_allclose(one, many[1], rtol=2e-3, atol=2e-4)


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
    result = jax.jit(make_train(tiny_experiment(formulation, env=env, **changes)))(jax.random.key(0))
    metrics = result.final.metrics
    assert bool(metrics["finite"])
    assert float(metrics["regret"]) >= -1e-4
    assert float(metrics["follower_gap"]) >= -1e-4
    assert float(metrics["follower_gap_random"]) >= -1e-4


@pytest.mark.parametrize(
    ("formulation", "agent_reward"),
    [("mal_agent_reward", "world"), ("mal_agent_reward", "model"), ("mal_random_noise", "world")],
)
def test_alpha_one_is_mal_exactly(formulation, agent_reward):
    mal = jax.jit(make_train(tiny_experiment("mal")))(jax.random.key(3), {"alpha": 1.0})
    repaired = jax.jit(make_train(tiny_experiment(formulation, agent_reward=agent_reward)))(
        jax.random.key(3), {"alpha": 1.0}
    )
    for one, other in zip(jax.tree.leaves(mal), jax.tree.leaves(repaired), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_below_one_alpha_matters_and_so_does_where_the_reward_is_earned():
    runs = [
        jax.jit(make_train(tiny_experiment(name, agent_reward=where)))(jax.random.key(3), {"alpha": 0.5})
        for name, where in (("mal_agent_reward", "world"), ("mal_agent_reward", "model"), ("mal_random_noise", "world"))
    ]
    for one, other in itertools.combinations([run.final.profile["model"] for run in runs], 2):
        assert not np.allclose(one, other, atol=1e-6)


def test_hyper_parameters_are_an_axis_and_cost_one_compile():
    experiment = tiny_experiment("mal_agent_reward")
    train = make_train(experiment)
    chex.clear_trace_counter()
    counted = jax.jit(jax.vmap(jax.vmap(chex.assert_max_traces(train, n=1), (None, 0)), (0, None)))
    for learning_rate in (1e-3, 1e-4):
        hyper = {"alpha": jnp.linspace(0.0, 1.0, 3), "leader.learning_rate": jnp.full(3, learning_rate)}
        result = counted(seed_keys(0, 2), hyper)
    assert result.final.metrics["exact_return"].shape == (2, 3)
    assert not np.allclose(result.final.profile["model"][:, 0], result.final.profile["model"][:, 2])
    with pytest.raises(InputError, match=r"did you mean 'leader.learning_rate'"):
        train(jax.random.key(0), {"leader.learning_rat": 1e-3})


def test_chunked_and_sharded_equals_whole():
    experiment = tiny_experiment("mal")
    cell = Engine(experiment, make_program(experiment), width=5).run(all_runs(5))  # 4 devices: padded to 8
    whole = jax.jit(jax.vmap(make_train(experiment)))(seed_keys(0, 5))
    assert cell.profile["policy"].shape[0] == 5
    chunked = (cell.metrics, cell.profile)
    final = (whole.final.metrics, whole.final.profile)
    for one, other in zip(jax.tree.leaves(chunked), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
    play = [progress.metrics["exact_return"] for progress in cell.curves if progress.stage == "play"]
    np.testing.assert_allclose(np.stack(play, -1), whole.curves["play"]["exact_return"], rtol=2e-3, atol=2e-4)


def test_a_seed_does_not_depend_on_how_many_run_beside_it():
    experiment = tiny_experiment("pal")
    program = make_program(experiment)
    few, many = (Engine(experiment, program, width=count).run(all_runs(count)) for count in (4, 8))
    np.testing.assert_allclose(few.profile["model"], many.profile["model"][:4], rtol=1e-4, atol=1e-5)


def test_a_diverged_seed_is_flagged_and_harms_no_other():
    experiment = tiny_experiment("mal")
    train = jax.jit(jax.vmap(make_train(experiment)))
    keys, sane = seed_keys(0, 3), jnp.full(3, 1e-3)
    good = train(keys, {"leader.learning_rate": sane})
    bad = train(keys, {"leader.learning_rate": sane.at[1].set(jnp.nan)})
    np.testing.assert_array_equal(bad.final.metrics["finite"], [True, False, True])
    for one, other in zip(jax.tree.leaves(good.final), jax.tree.leaves(bad.final), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2], other[2])


def test_traced_values_are_arguments_of_the_program():
    experiment = tiny_experiment("mal_random_noise")
    program, keys = make_program(experiment), seed_keys(0, 1)
    assert set(traced_values(experiment)) == set(traced_fields(experiment))
    state = program.init(keys[0], traced_values(experiment))
    final = program.finish(finish_key(keys[0]), traced_values(experiment), state)
    assert set(final.params) == {"leader", "follower"}
