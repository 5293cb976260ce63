"""Closed forms against brute force, linear algebra, Monte Carlo and finite differences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.game import random_rows
from sbmrl.games.tabular import closed_forms as exact
from sbmrl.games.tabular.catalogue import FOOLING_MODELS, WORLDS
from sbmrl.games.tabular.mdp import make_world, random_mdp, with_transition
from sbmrl.games.tabular.measures import sampled_returns

NAMES = list(WORLDS)
SHAPES = [(1, 1), (1, 3), (2, 2), (3, 1), (4, 2), (5, 3)]
on_worlds = pytest.mark.xdist_group("worlds")  # they share programs


def all_deterministic_policies(mdp):
    """`[A^S, S, A]`."""
    chosen = itertools.product(range(mdp.num_actions), repeat=mdp.num_states)
    return np.eye(mdp.num_actions, dtype=np.float32)[list(chosen)]


def random_policy(seed, mdp):
    return random_rows(jax.random.key(seed), (mdp.num_states, mdp.num_actions))


@jax.jit
def compute(mdp):
    """What the closed forms say of a world and some policies in it: one program for all worlds of a shape."""
    first, second, third = (random_policy(seed, mdp) for seed in range(3))
    every = all_deterministic_policies(mdp)
    one = mdp.replace(reward=jnp.where(jnp.array(mdp.terminal)[:, None, None], 0.0, jnp.ones_like(mdp.reward)))
    plan, occupancy = exact.discounted_optimum(mdp, 0.95), exact.finite_horizon_occupancy(mdp, third)
    discounted_occupancy = exact.discounted_occupancy(mdp, third, 0.9)
    expected_reward = exact.expected_reward(mdp)
    return {
        "policies": (first, second),
        "expected_reward": expected_reward,
        "return_of_4_steps": exact.finite_horizon_return(mdp.replace(horizon=4), first),
        "discounted_return": exact.discounted_return(mdp, second, 0.9),
        "occupancy": occupancy,
        "decisions": exact.finite_horizon_return(one, third),
        "return": exact.finite_horizon_return(mdp, third),
        "discounted_occupancy": discounted_occupancy,
        "discounted_return_by_occupancy": exact.discounted_return(mdp, third, 0.9),
        "plan": plan,
        "return_of_plan": exact.discounted_return(mdp, plan.policy, 0.95),
        "discounted_returns_of_all": jax.vmap(lambda policy: exact.discounted_return(mdp, policy, 0.95))(every),
        "returns_of_all": jax.vmap(lambda policy: exact.finite_horizon_return(mdp, policy))(every),
        "optimum": exact.finite_horizon_optimum(mdp).value,
    }


@functools.cache
def computed(name):
    return jax.device_get(compute(make_world(name).replace(name="")))


def test_the_posters_numbers():
    mdp = make_world("simple_mdp_2")
    policies = jnp.stack([jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), exact.uniform_policy(mdp)])
    optimum, returns = jax.jit(
        lambda mdp: (
            exact.finite_horizon_optimum(mdp).value,
            jax.vmap(lambda policy: exact.finite_horizon_return(mdp, policy))(policies),
        )
    )(mdp)
    leave_at_once, uniform = returns
    assert optimum == pytest.approx(36.45, abs=5e-3)
    assert leave_at_once == pytest.approx(0.9875, abs=1e-4)
    assert uniform == pytest.approx(1.694, abs=1e-3)


@on_worlds
@pytest.mark.parametrize("name", NAMES)
def test_finite_horizon_return_is_the_sum_over_paths(name):
    mdp, found = make_world(name), computed(name)
    policy = found["policies"][0]
    transition, reward = np.asarray(mdp.transition, np.float64), np.asarray(mdp.reward, np.float64)
    total, state = 0.0, np.asarray(mdp.initial, np.float64)
    for _ in range(4):
        joint = state[:, None, None] * policy[:, :, None] * transition
        total += (joint * reward).sum()
        state = joint.sum((0, 1))
    assert found["return_of_4_steps"] == pytest.approx(total, rel=1e-5, abs=1e-6)


@on_worlds
@pytest.mark.parametrize("name", NAMES)
def test_discounted_return_is_the_limit_of_the_series(name):
    mdp, discount, found = make_world(name), 0.9, computed(name)
    policy = found["policies"][1]
    transition = np.einsum("sa,sat->st", policy, np.asarray(mdp.transition)).astype(np.float64)
    reward = (policy * found["expected_reward"]).sum(-1).astype(np.float64)
    state, total = np.asarray(mdp.initial, np.float64), 0.0
    for time in range(400):
        total += discount**time * state @ reward
        state = state @ transition
    assert found["discounted_return"] == pytest.approx(total, rel=1e-4, abs=1e-5)


@on_worlds
@pytest.mark.parametrize("name", NAMES)
def test_occupancies_sum_to_one_and_give_the_return(name):
    mdp, found = make_world(name), computed(name)
    occupancy, terminal = found["occupancy"], np.array(mdp.terminal)
    assert occupancy.sum() == pytest.approx(1.0, abs=1e-5)
    assert np.where(terminal[:, None], occupancy, 0.0).max() == 0.0
    by_occupancy = found["decisions"] * (occupancy * found["expected_reward"]).sum()
    assert by_occupancy == pytest.approx(found["return"], rel=1e-4, abs=1e-5)
    discounted = found["discounted_occupancy"]
    assert discounted.sum() == pytest.approx(1.0, abs=1e-5)
    if not any(mdp.terminal):
        by_discounted = (discounted * found["expected_reward"]).sum() / (1 - 0.9)
        assert by_discounted == pytest.approx(found["discounted_return_by_occupancy"], rel=1e-4, abs=1e-5)


@on_worlds
@pytest.mark.parametrize("name", NAMES)
def test_optima_are_the_best_of_all_deterministic_policies(name):
    found = computed(name)
    best = found["discounted_returns_of_all"].max()
    assert found["plan"].value == pytest.approx(best, rel=1e-4, abs=1e-4)
    assert found["return_of_plan"] == pytest.approx(best, rel=1e-4, abs=1e-4)
    assert found["optimum"] >= found["returns_of_all"].max() - 1e-4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_worlds_are_worlds_and_their_optimum_bounds_every_policy(shape):
    @jax.jit
    @jax.vmap
    def draw(seed):
        mdp = random_mdp(jax.random.key(seed), *shape, horizon=7)
        value = exact.finite_horizon_return(mdp, random_policy(seed, mdp))
        return mdp.transition, value, exact.finite_horizon_optimum(mdp).value

    transition, value, optimum = jax.device_get(draw(jnp.arange(100)))
    np.testing.assert_allclose(transition.sum(-1), 1.0, atol=1e-5)
    assert (value <= optimum + 1e-4).all()


@jax.jit
def sample(key, mdp, policy):
    return sampled_returns(key, mdp, policy, 50_000)


@on_worlds
@pytest.mark.parametrize("name", ["simple_mdp_2", "ergodic_mdp_2", "counterexample_1"])
def test_exact_return_lies_in_the_interval_of_sampled_returns(name):
    mdp = make_world(name).replace(name="")
    policy = random_policy(3, mdp)
    returns = np.asarray(sample(jax.random.key(4), mdp, policy))
    error = returns.std() / np.sqrt(len(returns))
    assert abs(returns.mean() - float(jax.jit(exact.finite_horizon_return)(mdp, policy))) < 5 * error


@on_worlds
def test_the_spread_of_one_optimal_episode():
    mdp = make_world("simple_mdp_2").replace(name="")
    returns = np.asarray(sample(jax.random.key(5), mdp, jax.jit(exact.finite_horizon_optimum)(mdp).policy))
    # Each step spent waiting in s1 costs .80, and the waits are geometric with variance 2; the poster prints 1.12.
    assert returns.std() == pytest.approx(0.8 * 2**0.5, abs=0.02)


@pytest.mark.parametrize(("name", "loss_free_return"), [("counterexample_1", 1.0), ("counterexample_2", 50.0)])
def test_counterexamples_fool_with_loss_zero(name, loss_free_return):
    mdp, model = make_world(name), np.asarray(FOOLING_MODELS[name], np.float32)

    @jax.jit
    def fool(mdp, model):
        imagined = with_transition(mdp, model)
        response = exact.finite_horizon_optimum(imagined).policy
        occupancy = exact.finite_horizon_occupancy(mdp, response)
        loss = (occupancy * exact.kl_divergence(mdp.transition, imagined.transition)).sum()
        returns = [exact.finite_horizon_return(world, response) for world in (imagined, mdp)]
        return loss, *returns, exact.finite_horizon_optimum(mdp).value

    loss, promised, earned, optimum = (float(x) for x in fool(mdp, model))
    assert loss == 0.0
    assert promised == pytest.approx(loss_free_return)
    assert earned == pytest.approx(loss_free_return)
    assert optimum >= 9 * loss_free_return


def test_losses_are_smallest_at_the_truth():
    true = random_rows(jax.random.key(0), (50, 4))
    other = random_rows(jax.random.key(1), (50, 4))
    np.testing.assert_allclose(exact.kl_divergence(true, true), 0.0, atol=1e-6)
    assert (exact.kl_divergence(true, other) > 0).all()
    assert (exact.brier_score(true, other) > exact.brier_score(true, true)).all()
    np.testing.assert_allclose(exact.brier_score(true, true), 1.0 - (true**2).sum(-1), atol=1e-6)
    entropy = -(true * np.log(true)).sum(-1)
    np.testing.assert_allclose(exact.cross_entropy(true, true), entropy, atol=1e-6)
    np.testing.assert_allclose(exact.cross_entropy(true, other), exact.kl_divergence(true, other) + entropy, atol=1e-5)
    np.testing.assert_array_equal(exact.excess_brier_score(true, true), 0.0)
    assert (exact.excess_brier_score(true, other) > 0).all()
    certain, impossible = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    assert np.isfinite(exact.kl_divergence(certain, impossible))
    assert np.isfinite(exact.cross_entropy(certain, impossible))


def test_gradient_of_the_return_agrees_with_finite_differences():
    with jax.enable_x64(True):
        mdp = jax.tree.map(lambda x: x.astype(jnp.float64), make_world("simple_mdp_2"))
        logits = jax.random.normal(jax.random.key(0), (3, 2), jnp.float64)

        def value(logits):
            return exact.finite_horizon_return(mdp, jax.nn.softmax(logits))

        @jax.jit
        def slopes(logits):
            steps = 1e-5 * jnp.eye(6).reshape(6, 3, 2)
            differences = jax.vmap(lambda step: (value(logits + step) - value(logits - step)) / 2e-5)(steps)
            return jax.grad(value)(logits), differences.reshape(3, 2)

        gradient, differences = jax.device_get(slopes(logits))
        for index in itertools.product(range(3), range(2)):
            assert gradient[index] == pytest.approx(differences[index], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("world", ["simple_mdp_2", "ergodic_mdp_1", "random_7_3_1"])
def test_the_mean_occupancy_is_that_of_each_policy_alone(world):
    mdp = make_world(world)
    policies = random_rows(jax.random.key(3), (5, mdp.num_states, mdp.num_actions))
    alone = jnp.stack([exact.finite_horizon_occupancy(mdp, policy) for policy in policies])
    np.testing.assert_allclose(exact.mean_occupancy(mdp, policies), alone.mean(axis=0), atol=1e-6)
