"""Closed forms against brute force, linear algebra, Monte Carlo and finite differences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbmrl.core.game import random_rows
from sbmrl.games.tabular import closed_forms as exact
from sbmrl.games.tabular.catalogue import FOOLING_MODELS, WORLDS
from sbmrl.games.tabular.mdp import make_world, random_mdp, with_transition
from sbmrl.games.tabular.measures import sampled_returns

NAMES = list(WORLDS)


def all_deterministic_policies(mdp):
    for actions in itertools.product(range(mdp.num_actions), repeat=mdp.num_states):
        yield jax.nn.one_hot(jnp.array(actions), mdp.num_actions)


def random_policy(seed, mdp):
    return random_rows(jax.random.key(seed), (mdp.num_states, mdp.num_actions))


def test_the_posters_numbers():
    mdp = make_world("simple_mdp_2")
    assert exact.finite_horizon_optimum(mdp).value == pytest.approx(36.45, abs=5e-3)
    leave_at_once = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert exact.finite_horizon_return(mdp, leave_at_once) == pytest.approx(0.9875, abs=1e-4)
    assert exact.finite_horizon_return(mdp, exact.uniform_policy(mdp)) == pytest.approx(1.694, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_finite_horizon_return_is_the_sum_over_paths(name):
    mdp = make_world(name).replace(horizon=4)
    policy = random_policy(0, mdp)
    transition, reward = np.asarray(mdp.transition, np.float64), np.asarray(mdp.reward, np.float64)
    total, state = 0.0, np.asarray(mdp.initial, np.float64)
    for _ in range(4):
        joint = state[:, None, None] * np.asarray(policy)[:, :, None] * transition
        total += (joint * reward).sum()
        state = joint.sum((0, 1))
    assert exact.finite_horizon_return(mdp, policy) == pytest.approx(total, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_discounted_return_is_the_limit_of_the_series(name):
    mdp, discount = make_world(name), 0.9
    policy = random_policy(1, mdp)
    transition = np.einsum("sa,sat->st", policy, mdp.transition).astype(np.float64)
    reward = np.asarray((policy * exact.expected_reward(mdp)).sum(-1), np.float64)
    state, total = np.asarray(mdp.initial, np.float64), 0.0
    for time in range(400):
        total += discount**time * state @ reward
        state = state @ transition
    assert exact.discounted_return(mdp, policy, discount) == pytest.approx(total, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_occupancies_sum_to_one_and_give_the_return(name):
    mdp = make_world(name)
    policy = random_policy(2, mdp)
    occupancy = exact.finite_horizon_occupancy(mdp, policy)
    assert occupancy.sum() == pytest.approx(1.0, abs=1e-5)
    assert float(jnp.where(jnp.array(mdp.terminal)[:, None], occupancy, 0.0).max()) == 0.0
    decisions = _expected_decisions(mdp, policy)
    by_occupancy = decisions * float((occupancy * exact.expected_reward(mdp)).sum())
    assert by_occupancy == pytest.approx(float(exact.finite_horizon_return(mdp, policy)), rel=1e-4, abs=1e-5)
    discounted = exact.discounted_occupancy(mdp, policy, 0.9)
    assert discounted.sum() == pytest.approx(1.0, abs=1e-5)
    if not any(mdp.terminal):
        by_discounted = float((discounted * exact.expected_reward(mdp)).sum()) / (1 - 0.9)
        assert by_discounted == pytest.approx(float(exact.discounted_return(mdp, policy, 0.9)), rel=1e-4, abs=1e-5)


def _expected_decisions(mdp, policy):
    one = mdp.replace(reward=jnp.where(jnp.array(mdp.terminal)[:, None, None], 0.0, jnp.ones_like(mdp.reward)))
    return float(exact.finite_horizon_return(one, policy))


@pytest.mark.parametrize("name", NAMES)
def test_optima_are_the_best_of_all_deterministic_policies(name):
    mdp = make_world(name)
    returns = [float(exact.discounted_return(mdp, policy, 0.95)) for policy in all_deterministic_policies(mdp)]
    plan = exact.discounted_optimum(mdp, 0.95)
    assert plan.value == pytest.approx(max(returns), rel=1e-4, abs=1e-4)
    assert exact.discounted_return(mdp, plan.policy, 0.95) == pytest.approx(max(returns), rel=1e-4, abs=1e-4)
    stationary = max(float(exact.finite_horizon_return(mdp, policy)) for policy in all_deterministic_policies(mdp))
    assert exact.finite_horizon_optimum(mdp).value >= stationary - 1e-4


@given(seed=st.integers(0, 10_000), num_states=st.integers(1, 5), num_actions=st.integers(1, 3))
def test_random_worlds_are_worlds_and_their_optimum_bounds_every_policy(seed, num_states, num_actions):
    mdp = random_mdp(jax.random.key(seed), num_states, num_actions, horizon=7)
    np.testing.assert_allclose(mdp.transition.sum(-1), 1.0, atol=1e-5)
    value = exact.finite_horizon_return(mdp, random_policy(seed, mdp))
    assert float(value) <= float(exact.finite_horizon_optimum(mdp).value) + 1e-4


@pytest.mark.parametrize("name", ["simple_mdp_2", "ergodic_mdp_2", "counterexample_1"])
def test_exact_return_lies_in_the_interval_of_sampled_returns(name):
    mdp = make_world(name)
    policy = random_policy(3, mdp)
    returns = np.asarray(sampled_returns(jax.random.key(4), mdp, policy, 20_000))
    error = returns.std() / np.sqrt(len(returns))
    assert abs(returns.mean() - float(exact.finite_horizon_return(mdp, policy))) < 5 * error


def test_the_spread_of_one_optimal_episode():
    mdp = make_world("simple_mdp_2")
    returns = np.asarray(sampled_returns(jax.random.key(5), mdp, exact.finite_horizon_optimum(mdp).policy, 50_000))
    # Each step spent waiting in s1 costs .80, and the waits are geometric with variance 2; the poster prints 1.12.
    assert returns.std() == pytest.approx(0.8 * 2**0.5, abs=0.02)


@pytest.mark.parametrize(("name", "loss_free_return"), [("counterexample_1", 1.0), ("counterexample_2", 50.0)])
def test_counterexamples_fool_with_loss_zero(name, loss_free_return):
    mdp = make_world(name)
    model = jnp.asarray(FOOLING_MODELS[name], jnp.float32)
    response = exact.finite_horizon_optimum(with_transition(mdp, model)).policy
    occupancy = exact.finite_horizon_occupancy(mdp, response)
    loss = (occupancy * exact.kl_divergence(mdp.transition, with_transition(mdp, model).transition)).sum()
    assert float(loss) == 0.0
    promised = exact.finite_horizon_return(with_transition(mdp, model), response)
    assert float(promised) == pytest.approx(loss_free_return)
    assert float(exact.finite_horizon_return(mdp, response)) == pytest.approx(loss_free_return)
    assert float(exact.finite_horizon_optimum(mdp).value) >= 9 * loss_free_return


def test_losses_are_smallest_at_the_truth():
    true = random_rows(jax.random.key(0), (50, 4))
    other = random_rows(jax.random.key(1), (50, 4))
    np.testing.assert_allclose(exact.kl_divergence(true, true), 0.0, atol=1e-6)
    assert (exact.kl_divergence(true, other) > 0).all()
    assert (exact.brier_score(true, other) > exact.brier_score(true, true)).all()
    np.testing.assert_allclose(exact.brier_score(true, true), 1.0 - (true**2).sum(-1), atol=1e-6)
    assert np.isfinite(exact.kl_divergence(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])))


def test_gradient_of_the_return_agrees_with_finite_differences():
    with jax.enable_x64(True):
        mdp = jax.tree.map(lambda x: x.astype(jnp.float64), make_world("simple_mdp_2"))
        logits = jax.random.normal(jax.random.key(0), (3, 2), jnp.float64)

        def value(logits):
            return exact.finite_horizon_return(mdp, jax.nn.softmax(logits))

        gradient = jax.grad(value)(logits)
        for index in itertools.product(range(3), range(2)):
            step = jnp.zeros_like(logits).at[index].set(1e-5)
            difference = (value(logits + step) - value(logits - step)) / 2e-5
            assert gradient[index] == pytest.approx(float(difference), rel=1e-6, abs=1e-8)
