"""Gradient and evolution strategies on payoffs with known optima; any optax optimizer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny_experiment

from sbmrl.core.experiment import choices
from sbmrl.core.options import EvolutionOptions, GradientOptions, Optimizer
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_train
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.mdp import make_world
from sbmrl.learners.evolution import evolution
from sbmrl.learners.gradient import gradient, make_optimizer

TARGET = jnp.array([1.0, -2.0, 0.5])


def climb(make, options, num_steps):
    """Maximise −‖x − TARGET‖² over x, the "strategy" being x itself."""
    payoff = lambda profile: -jnp.sum((profile["x"] - TARGET) ** 2)  # noqa: E731
    init, optimizer = lambda key: jnp.zeros(3), make_optimizer(options)
    if isinstance(options, EvolutionOptions):
        learner = make(init, lambda key, x, outcome: payoff(outcome(x)), 1, optimizer, options)
    else:
        learner = make(init, lambda x: x, payoff, optimizer)
    outcome = lambda x: {"x": x}  # noqa: E731
    state = learner.init(jax.random.key(0), outcome)
    keys = jax.random.split(jax.random.key(1), num_steps)
    state, info = jax.lax.scan(lambda state, key: learner.update(key, state, outcome), state, keys)
    return learner.params(state), info


@pytest.mark.parametrize("optimizer", choices(Optimizer))
def test_every_optimizer_climbs(optimizer):
    options = GradientOptions(optimizer=optimizer, learning_rate=0.05)
    params, info = climb(gradient, options, 400)
    np.testing.assert_allclose(params, TARGET, atol=0.1)
    assert float(info["payoff"][-1]) > float(info["payoff"][0])


def test_evolution_strategies_climb_without_a_gradient():
    params, info = climb(evolution, EvolutionOptions(population_size=64, standard_deviation=0.1), 300)
    np.testing.assert_allclose(params, TARGET, atol=0.2)
    assert set(info) == {"payoff", "best_payoff"}


@pytest.mark.parametrize("optimizer", sorted(set(choices(Optimizer)) - {"lion"}))
def test_every_step_but_lions_can_be_differentiated_also_where_the_gradient_is_zero(optimizer):
    transform = make_optimizer(GradientOptions(optimizer=optimizer))

    def after_two_steps(slope):
        params, state = jnp.zeros(2), transform.init(jnp.zeros(2))
        for _ in range(2):
            updates, state = transform.update(slope * jnp.array([1.0, 0.0]), state, params)
            params = optax.apply_updates(params, updates)
        return jnp.sum(jnp.asarray(params))

    assert bool(jnp.isfinite(jax.grad(after_two_steps)(0.3)))
    assert bool(jnp.isfinite(jax.grad(after_two_steps)(0.0)))


def test_any_optax_transformation_can_lead():
    schedule = optax.chain(optax.clip(0.5), optax.sgd(optax.linear_schedule(0.5, 0.0, 8), momentum=0.9))
    experiment = tiny_experiment("pal", "exact")
    named, own = (
        jax.jit(make_train(experiment, leader_optimizer=o))(jax.random.key(0)).final for o in (None, schedule)
    )
    assert bool(own.metrics["finite"])
    assert not np.allclose(named.params["leader"]["logits"], own.params["leader"]["logits"])


@pytest.mark.parametrize("learner", ["gradient", "evolution"])
def test_pal_with_the_exact_response_finds_the_optimum(learner):
    experiment = preset("fast", "pal", "exact", learner)
    result = jax.jit(jax.vmap(make_train(dataclasses.replace(experiment, num_random_leaders=2))))(
        jax.random.split(jax.random.key(0), 4)
    )
    assert bool(result.final.metrics["optimal"].all())


@pytest.mark.parametrize("parametrization", ["table", "network"])
def test_the_initial_strategy_is_the_one_asked_for(parametrization):
    mdp = make_world("simple_mdp_2")
    for initial in ("uniform", "random", "truth"):
        leader = GradientOptions(initial=initial, parametrization=parametrization)
        experiment = check(dataclasses.replace(preset("fast", "mal", "exact"), leader=leader))
        solver = make_solver(experiment, mdp)
        model = solver.algorithm.leader_strategy(solver.algorithm.init(jax.random.key(0)))[:2]
        if parametrization == "network" or initial == "uniform":
            np.testing.assert_allclose(model, 1 / 3, atol=0.05)
        elif initial == "truth":
            np.testing.assert_allclose(model, mdp.transition[:2], atol=1e-3)
        else:
            assert float(jnp.abs(model - 1 / 3).max()) > 0.2
