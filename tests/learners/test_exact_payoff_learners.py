"""Gradient and evolution strategies on payoffs with known optima; any optax optimizer."""

import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny_experiment

from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_train
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.mdp import make_world
from sbmrl.learners.evolution import EvolutionOptions, evolution
from sbmrl.learners.gradient import GradientOptions, Optimizer, gradient, make_optimizer

OPTIMIZERS: tuple[Optimizer, ...] = typing.get_args(Optimizer)
TARGET = jnp.array([1.0, -2.0, 0.5])


def climb(make, options, num_steps):
    """Maximise −‖x − TARGET‖² over x, the "strategy" being x itself."""
    payoff = lambda profile: -jnp.sum((profile["x"] - TARGET) ** 2)  # noqa: E731
    init, optimizer = lambda key: jnp.zeros(3), make_optimizer(options.optimizer, options.learning_rate)
    if isinstance(options, EvolutionOptions):
        learner = make(init, lambda key, x, outcome: payoff(outcome(x)), 1, optimizer, options)
    else:
        learner = make(init, lambda x: x, payoff, optimizer)
    outcome = lambda x: {"x": x}  # noqa: E731

    @jax.jit
    def run():
        state = learner.init(jax.random.key(0), outcome)
        keys = jax.random.split(jax.random.key(1), num_steps)
        state, info = jax.lax.scan(lambda state, key: learner.update(key, state, outcome), state, keys)
        return learner.params(state), info

    return run()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_climbs(optimizer):
    options = GradientOptions(optimizer=optimizer, learning_rate=0.05)
    params, info = climb(gradient, options, 400)
    np.testing.assert_allclose(params, TARGET, atol=0.1)
    assert float(info["payoff"][-1]) > float(info["payoff"][0])


def test_evolution_strategies_climb_without_a_gradient():
    params, info = climb(evolution, EvolutionOptions(population_size=64, standard_deviation=0.1), 300)
    np.testing.assert_allclose(params, TARGET, atol=0.2)
    assert set(info) == {"payoff", "best_payoff"}


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"lion"}))
def test_every_step_but_lions_can_be_differentiated_also_where_the_gradient_is_zero(optimizer):
    transform = make_optimizer(optimizer, GradientOptions.learning_rate)

    def after_two_steps(slope):
        params, state = jnp.zeros(2), transform.init(jnp.zeros(2))
        for _ in range(2):
            updates, state = transform.update(slope * jnp.array([1.0, 0.0]), state, params)
            params = optax.apply_updates(params, updates)
        return jnp.sum(jnp.asarray(params))

    slopes = jax.jit(jax.vmap(jax.grad(after_two_steps)))(jnp.array([0.3, 0.0]))
    assert np.isfinite(slopes).all()


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
    experiment = preset("fast", "pal", "exact", learner).replace(num_random_leaders=2)
    result = jax.jit(jax.vmap(make_train(experiment)))(jax.random.split(jax.random.key(0), 4))
    assert bool(result.final.metrics["optimal"].all())


START = [("usual", "table"), ("uniform", "table"), ("random", "table"), ("truth", "table"), ("usual", "network")]


@pytest.mark.parametrize(("initial", "parametrization"), START)
def test_the_initial_strategy_is_the_one_asked_for(initial, parametrization):
    mdp = make_world("simple_mdp_2")
    leader = GradientOptions(initial=initial, parametrization=parametrization)
    solver = make_solver(check(preset("fast", "mal", "exact").replace(leader=leader)), mdp)
    start = jax.jit(lambda key, run=solver.algorithm: run.leader_strategy(run.init(key)))
    model = np.asarray(start(jax.random.key(0)))[:2]
    if initial in ("usual", "uniform"):
        np.testing.assert_allclose(model, 1 / 3, atol=0.05)
    elif initial == "truth":
        np.testing.assert_allclose(model, mdp.transition[:2], atol=1e-3)
    else:
        assert np.abs(model - 1 / 3).max() > 0.2
