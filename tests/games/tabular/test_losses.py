"""The losses: samples estimate them without bias, derivatives agree, and raw ones pay for being where it is easy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sbmrl
from sbmrl.core.game import random_rows
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.games.tabular.closed_forms import finite_horizon_occupancy
from sbmrl.games.tabular.mdp import make_world
from sbmrl.games.tabular.payoffs import LOSSES, Measurement, expected_loss

PAIRS = (("kl", "cross_entropy"), ("excess_brier", "brier"))  # excess, raw


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_all_draws_is_the_expected_loss(name):
    """By enumeration: every tuple of independent next states, weighted by its probability."""
    loss = LOSSES[name]
    true, predicted = (random_rows(jax.random.key(seed), (4,)) for seed in (0, 1))
    tuples = jnp.array(list(itertools.product(range(4), repeat=loss.num_draws)))
    weights = jnp.prod(true[tuples], axis=-1)
    sampled = jax.vmap(loss.sampled, (None, None, 0))(true, predicted, tuples)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)
    assert float(weights @ sampled) == pytest.approx(float(loss.expected(true, predicted)), abs=1e-6)


def test_one_next_state_taken_twice_is_the_raw_score():
    true, predicted = (random_rows(jax.random.key(seed), (4,)) for seed in (0, 1))
    twice = jnp.tile(jnp.arange(4)[:, None], (1, 2))
    sampled = jax.vmap(LOSSES["excess_brier"].sampled, (None, None, 0))(true, predicted, twice)
    assert float(true @ sampled) == pytest.approx(float(LOSSES["brier"].expected(true, predicted)), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_excess_losses_are_those_that_are_0_at_the_truth(name):
    loss, true = LOSSES[name], random_rows(jax.random.key(0), (50, 4))
    at_truth = np.asarray(loss.expected(true, true))
    assert (np.abs(at_truth) < 1e-6).all() if loss.excess else (at_truth > 0.01).all()


@pytest.mark.parametrize(("excess", "raw"), PAIRS)
def test_raw_and_excess_have_one_derivative_in_the_model(excess, raw):
    with jax.enable_x64(True):
        true = random_rows(jax.random.key(0), (5, 4)).astype(jnp.float64)
        logits = jax.random.normal(jax.random.key(1), (5, 4), jnp.float64)

        def value(name, logits):
            return LOSSES[name].expected(true, jax.nn.softmax(logits)).sum()

        gradients = {name: jax.grad(value, argnums=1)(name, logits) for name in (excess, raw)}
        np.testing.assert_allclose(gradients[excess], gradients[raw], atol=1e-10)
        for index in ((0, 0), (3, 2)):
            step = jnp.zeros((5, 4)).at[index].set(1e-5)
            difference = (value(raw, logits + step) - value(raw, logits - step)) / 2e-5
            assert float(gradients[raw][index]) == pytest.approx(float(difference), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("excess", "raw"), PAIRS)
def test_only_a_raw_loss_pays_for_policies_that_go_where_the_world_is_predictable(excess, raw):
    """At the true model: what the fit is worth depends on the policy, or on nothing."""
    mdp = make_world("simple_mdp_2")
    occupancies = [finite_horizon_occupancy(mdp, jnp.tile(jnp.eye(2)[action], (3, 1))) for action in (0, 1)]
    random = jnp.full((3, 2), 1 / 6)
    costs = {
        name: [float(expected_loss(Measurement(mdp, LOSSES[name], random), mu, mdp.transition)) for mu in occupancies]
        for name in (excess, raw)
    }
    assert costs[excess] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert abs(costs[raw][0] - costs[raw][1]) > 0.05


def test_a_run_with_a_second_draw_learns_and_is_measured_by_every_loss():
    experiment = sbmrl.preset("fast", "mal", learner="ppo").replace(
        loss="excess_brier", leader__total_steps=2000, follower__total_steps=2000, num_records=1
    )
    train = sbmrl.make_train(experiment)
    metrics = jax.jit(train)(jax.random.key(0)).final.metrics
    assert bool(metrics["finite"])
    assert float(metrics["fit"]) == float(metrics["fit_excess_brier"]) <= 0.0
    assert float(metrics["fit_cross_entropy"]) < float(metrics["fit_kl"])
    assert float(metrics["fit_brier"]) < float(metrics["fit_excess_brier"])


def test_collected_data_hold_no_second_draw():
    experiment = sbmrl.preset("practical", "mal")
    check(experiment.replace(loss="cross_entropy"))
    with pytest.raises(InputError, match="loss: must need no second next state with data=aggregated"):
        check(experiment.replace(loss="excess_brier"))
