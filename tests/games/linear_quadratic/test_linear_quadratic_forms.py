"""The closed forms of linear-quadratic worlds against scipy, sums written out, finite differences and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from sbmrl.games.linear_quadratic import closed_forms as forms
from sbmrl.games.linear_quadratic.catalogue import SYSTEMS, make_world, random_arrays
from sbmrl.games.linear_quadratic.system import control_part, make_system, state_part

NAMES = [*SYSTEMS, "lqr_random_3_2_0"]


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def near_optimal(world, seed=0, spread=0.1):
    gain = forms.riccati(world, world.truth).gain
    return gain + spread * jax.random.normal(jax.random.key(seed), gain.shape) * jnp.abs(gain).mean()


@pytest.mark.parametrize("name", NAMES)
def test_the_optimal_control_is_scipys(name):
    world = make_world(name)
    a, b = (np.asarray(part(world.truth)) * world.discount**0.5 for part in (state_part, control_part))
    expected = linalg.solve_discrete_are(a, b, np.asarray(world.state_cost), np.asarray(world.control_cost))
    solved = forms.riccati(world, world.truth)
    np.testing.assert_allclose(solved.value, expected, rtol=1e-9, atol=1e-9)
    assert solved.residual < 1e-12
    gain = np.linalg.solve(np.asarray(world.control_cost) + b.T @ expected @ b, b.T @ expected @ a)
    np.testing.assert_allclose(solved.gain, gain, rtol=1e-8, atol=1e-9)
    stop_early = forms.riccati(world, world.truth, num_doublings=1)
    assert stop_early.residual > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_costs_and_data_are_the_sums_that_they_stand_for(name):
    world, noise = make_world(name), 0.3
    gain = near_optimal(world)
    b = np.asarray(control_part(world.truth))
    loop, num_controls = np.asarray(forms.closed_loop(world.truth, gain)), world.num_controls
    paid = np.asarray(world.state_cost + gain.T @ world.control_cost @ gain)
    moment, total, discount = np.asarray(world.initial), np.zeros_like(loop), 1.0
    for _ in range(6000):
        total, discount = total + discount * moment, discount * world.discount
        moment = loop @ moment @ loop.T + np.asarray(world.noise) + noise * b @ b.T
    expected = np.sum(paid * total) + noise * np.trace(np.asarray(world.control_cost)) / (1 - world.discount)
    np.testing.assert_allclose(forms.cost(world, world.truth, gain, noise), expected, rtol=1e-9)
    both = np.concatenate([np.eye(world.num_states), -np.asarray(gain)])
    data = (1 - world.discount) * both @ total @ both.T
    data[-num_controls:, -num_controls:] += noise * np.eye(num_controls)
    np.testing.assert_allclose(forms.occupancy(world, gain, noise), data, rtol=1e-8, atol=1e-12)
    value = forms.evaluate(world, world.truth, gain)
    start = np.sum(np.asarray(value) * np.asarray(world.initial))
    later = world.discount / (1 - world.discount) * np.sum(np.asarray(value) * np.asarray(world.noise))
    np.testing.assert_allclose(forms.cost(world, world.truth, gain), start + later, rtol=1e-9)


def test_a_policy_that_does_not_stabilise_costs_infinitely_much():
    world = make_world("lqr_double_integrator")
    assert forms.cost(world, world.truth, jnp.array([[-5.0, 0.0]])) == jnp.inf
    assert jnp.isfinite(forms.cost(world, world.truth, jnp.zeros((1, 2))))  # √γ is below 1


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_of_the_best_response_is_exact(name):
    world = make_world(name)
    model = world.truth + 0.02 * jax.random.normal(jax.random.key(1), world.truth.shape)
    direction = jax.random.normal(jax.random.key(2), world.truth.shape)
    _, slope = jax.jvp(lambda model: forms.best_response(world, model).gain, (model,), (direction,))
    step = 1e-5
    ahead, behind = (forms.riccati(world, model + sign * step * direction).gain for sign in (1.0, -1.0))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_gradient_is_the_derivative_of_the_cost(name):
    world = make_world(name)
    gain = near_optimal(world)
    slope = jax.grad(lambda gain: forms.cost(world, world.truth, gain))(gain)
    np.testing.assert_allclose(forms.policy_gradient(world, world.truth, gain), slope, rtol=1e-7, atol=1e-8)
    optimum = forms.riccati(world, world.truth).gain
    np.testing.assert_allclose(forms.natural_policy_gradient(world, world.truth, optimum), 0.0, atol=1e-8)


def test_kl_is_that_of_two_gaussians():
    world, model = make_world("lqr_scalar"), jnp.array([[0.7, 0.9]])
    point = jnp.array([1.3, -0.4])
    means = [float((m @ point)[0]) for m in (world.truth, model)]
    expected = (means[0] - means[1]) ** 2 / (2 * float(world.noise[0, 0]))
    found = forms.kl_divergence(world, model, jnp.outer(point, point))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(forms.squared_error(world, model, jnp.outer(point, point)), (means[0] - means[1]) ** 2)


def test_square_roots_are_those_of_singular_covariances_too():
    covariance = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    root = forms.square_root(covariance)
    np.testing.assert_allclose(root @ root.T, covariance, atol=1e-12)


def test_every_stabilising_gain_is_an_equilibrium_of_mal():
    """docs/theory.md, "Linear-quadratic worlds": 1,000 random systems with 4 states and 2 controls, any stable gain."""
    num_systems = 1000
    drawn = [random_arrays(4, 2, seed) for seed in range(num_systems)]
    systems = [make_system(arrays._replace(name="drawn")) for arrays in drawn]
    worlds = jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)

    def fooled(world, key):
        optimal = forms.riccati(world, world.truth).gain
        keys = jax.random.split(key, 8)
        gains = optimal + 0.25 * jax.vmap(lambda key: jax.random.normal(key, optimal.shape))(keys)
        costs = jax.vmap(lambda gain: forms.cost(world, world.truth, gain))(gains)
        gain = gains[jnp.argmin(costs)]  # of eight, one that is stable; stable they need to be, good they need not
        model = forms.self_confirming_model(world, gain)
        answer = forms.riccati(world, model).gain
        return {
            "loss": forms.squared_error(world, model, forms.occupancy(world, gain, 0.0)),
            "answer": jnp.max(jnp.abs(answer - gain)),
            "gap": forms.cost(world, model, gain) / forms.cost(world, world.truth, gain) - 1.0,
            "regret": jnp.min(costs) / forms.cost(world, world.truth, optimal) - 1.0,
            "condition": jnp.linalg.cond(forms.closed_loop(world.truth, gain)),
        }

    found = jax.jit(jax.vmap(fooled))(worlds, jax.random.split(jax.random.key(0), num_systems))
    stable = np.isfinite(found["regret"])
    assert stable.mean() > 0.95
    tame = stable & (np.asarray(found["condition"]) < 1e3)  # the model is unique where F is invertible
    assert tame.sum() >= 0.9 * num_systems
    assert np.asarray(found["loss"])[tame].max() < 1e-12
    assert np.asarray(found["answer"])[tame].max() < 1e-6
    assert np.abs(np.asarray(found["gap"])[tame]).max() < 1e-8
    assert np.median(np.asarray(found["regret"])[tame]) > 0.1
