"""The leader's total derivative: implicit, unrolled and by finite differences; and the law of the fixed response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core.game import random_rows
from sbmrl.core.payoffs import exact_payoff
from sbmrl.core.stackelberg import GameState
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.catalogue import named_world
from sbmrl.games.tabular.closed_forms import expected_reward, finite_horizon_return
from sbmrl.games.tabular.mdp import make_mdp, random_mdp, with_transition
from sbmrl.games.tabular.planning import soft_optimum
from sbmrl.learners.gradient import GradientOptions, Optimizer

DISCOUNT, TEMPERATURE = 0.9, 0.3


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def world(name="simple_mdp_2"):
    return make_mdp(named_world(name), dtype=jnp.float64)


def finite_differences(function, x, step=1e-5):
    """∂ function / ∂ x by central differences, entry by entry."""
    flat = x.ravel()

    def slope(direction):
        high, low = (function((flat + sign * step * direction).reshape(x.shape)) for sign in (1.0, -1.0))
        return (high - low) / (2 * step)

    return jax.vmap(slope)(jnp.eye(flat.size, dtype=x.dtype)).reshape(x.shape)


def unrolled_soft_policy(mdp, num_iterations):
    """softmax(Q / τ) after plain soft value iteration, to be differentiated through every step."""

    def action_values(values):
        return expected_reward(mdp) + DISCOUNT * mdp.transition @ values

    def step(values, _):
        soft = TEMPERATURE * jax.nn.logsumexp(action_values(values) / TEMPERATURE, axis=-1)
        return jnp.where(np.array(mdp.terminal), 0.0, soft), None

    values, _ = jax.lax.scan(step, jnp.zeros(mdp.num_states, mdp.transition.dtype), length=num_iterations)
    return jax.nn.softmax(action_values(values) / TEMPERATURE, axis=-1)


@pytest.mark.parametrize("name", ["simple_mdp_2", "ergodic_mdp_2"])
def test_implicit_unrolled_and_finite_differences_agree(float64, name):
    mdp = world(name)
    logits = jax.random.normal(jax.random.key(0), mdp.transition.shape, jnp.float64)

    def leader_payoff(logits, respond):
        imagined = with_transition(mdp, jax.nn.softmax(logits))
        policy = respond(imagined)
        return finite_horizon_return(mdp, policy) - jnp.sum((imagined.transition - mdp.transition) ** 2)

    def implicit(imagined):
        return soft_optimum(imagined, DISCOUNT, TEMPERATURE, 50).policy

    def unrolled(imagined):
        return unrolled_soft_policy(imagined, 400)

    @jax.jit
    def derivatives(logits):
        by_implicit, by_unrolling = (jax.grad(leader_payoff)(logits, respond) for respond in (implicit, unrolled))
        return by_implicit, by_unrolling, finite_differences(lambda x: leader_payoff(x, implicit), logits)

    by_implicit, by_unrolling, by_differences = derivatives(logits)
    scale = float(jnp.abs(by_implicit).max())
    assert scale > 1e-2
    np.testing.assert_allclose(by_implicit, by_unrolling, rtol=1e-4, atol=1e-6 * scale)
    np.testing.assert_allclose(by_implicit, by_differences, rtol=1e-4, atol=1e-6 * scale)


def test_the_soft_optimum_solves_its_equation_and_says_when_it_does_not():
    mdp = make_mdp(named_world("simple_mdp_2"))
    solve = jax.jit(lambda max_iterations: soft_optimum(mdp, 0.98, 0.1, max_iterations).residual)
    assert float(solve(50)) < 1e-3
    assert float(solve(1)) > 1e-2


def inner_solver(formulation, unroll, num_inner_steps=6, optimizer: Optimizer = "sgd", learning_rate=0.5, mdp=None):
    follower = GradientOptions(optimizer=optimizer, learning_rate=learning_rate)
    changes = {"allow_void": True} if formulation == "mal_agent_reward" else {}
    changes |= {"unroll": unroll, "num_inner_steps": num_inner_steps, "follower": follower, "loss": "kl"}
    experiment = tiny_experiment(formulation, "inner_outer", "gradient", **changes)
    return make_solver(experiment, mdp or world())


def adapted(solver, leader):
    """The game's state after one round of the follower against `leader`."""
    key = jax.random.key(1)
    role = solver.formulation.leader
    follower = solver.scheme.init(key, lambda key: {role: leader})
    follower, _ = solver.scheme.adapt(key, follower, lambda key: {role: leader})
    return GameState(None, follower, {})


def payoff_of(solver, state, wants, logits):
    profile = solver.algorithm.outcome(state)(solver.game.seats[solver.formulation.leader].table(logits))
    return exact_payoff(solver.game.payoffs, wants, profile)


def test_with_the_response_held_fixed_the_true_return_has_no_gradient_in_the_model(float64):
    solver = inner_solver("mal_agent_reward", unroll=0)
    logits = jax.random.normal(jax.random.key(2), (4, 3), jnp.float64)

    @jax.jit
    def slopes(logits):
        state = adapted(solver, solver.game.seats["model"].table(logits))
        every = ({"real_return": 1.0}, {"fit": 0.5}, solver.formulation.leader_wants)
        return [jax.grad(lambda x, wants=wants: payoff_of(solver, state, wants, x))(logits) for wants in every]

    slope, mal, repaired = slopes(logits)
    np.testing.assert_array_equal(slope, 0.0)
    np.testing.assert_array_equal(mal, repaired)  # first-order agent reward is MAL


def test_the_exact_fit_also_carries_the_occupancys_gradient(float64):
    """dℓ/dM̂ = ∂ℓ/∂M̂ + ∂ℓ/∂μ · dμ/dM̂: the second term is what a sampled fit does not see."""
    solver = make_solver(tiny_experiment("mal", "implicit", "gradient", loss="kl"), world())
    logits = jax.random.normal(jax.random.key(4), (4, 3), jnp.float64)

    def profile_of(logits):
        return solver.algorithm.outcome(GameState(None, (), {}))(solver.game.seats["model"].table(logits))

    def loss(logits):
        return exact_payoff(solver.game.payoffs, {"fit": 1.0}, profile_of(logits))

    def partial(logits):
        profile = profile_of(logits)
        held = {**profile, "policy": jax.lax.stop_gradient(profile["policy"])}
        return exact_payoff(solver.game.payoffs, {"fit": 1.0}, held)

    @jax.jit
    def derivatives(logits):
        return jax.grad(loss)(logits), jax.grad(partial)(logits), finite_differences(loss, logits)

    total, direct, differences = derivatives(logits)
    np.testing.assert_allclose(total, differences, rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(total - direct).max()) > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("formulation", ["mal_agent_reward", "pal"])
def test_an_unrolled_response_is_differentiated_and_agrees_with_finite_differences(float64, formulation, optimizer):
    solver = inner_solver(formulation, unroll=4, optimizer=optimizer)
    num_queries, num_outputs = {"pal": (2, 2), "mal_agent_reward": (4, 3)}[formulation]
    logits = jax.random.normal(jax.random.key(2), (num_queries, num_outputs), jnp.float64)

    @jax.jit
    def derivatives(logits):
        state = adapted(solver, solver.game.seats[solver.formulation.leader].table(logits))

        def payoff(x):
            return payoff_of(solver, state, solver.formulation.leader_wants, x)

        return jax.grad(payoff)(logits), finite_differences(payoff, logits)

    slope, differences = derivatives(logits)
    assert float(jnp.abs(slope).max()) > 1e-3
    np.testing.assert_allclose(slope, differences, rtol=1e-4, atol=1e-6 * float(jnp.abs(slope).max()))


def test_the_response_to_the_present_leader_is_the_present_follower(float64):
    for unroll in (0, 2, 6):
        solver = inner_solver("mal", unroll)

        @jax.jit
        def answer_and_present(leader, solver=solver):
            state = adapted(solver, leader)
            answer = solver.algorithm.outcome(state)(leader)["policy"]
            return answer, solver.game.seats["policy"].table(state.follower.now.params["logits"])

        answer, now = answer_and_present(random_rows(jax.random.key(3), (3, 2, 3)).astype(jnp.float64))
        np.testing.assert_allclose(answer, now, atol=1e-6)


def test_pal_unrolled_to_convergence_has_the_gradient_of_the_exact_response(float64):
    """The fitted model converges to the truth whatever the policy, so J(π, M̂^π) has the gradient of J(π, M)."""
    mdp = jax.tree.map(lambda x: x.astype(jnp.float64), random_mdp(jax.random.key(0), 3, 2, 10.0, horizon=10))
    mdp = mdp.replace(transition=mdp.transition / mdp.transition.sum(-1, keepdims=True))
    solver = inner_solver("pal", unroll=600, num_inner_steps=600, optimizer="sgd", learning_rate=5.0, mdp=mdp)
    logits = jax.random.normal(jax.random.key(5), (3, 2), jnp.float64)
    table = solver.game.seats["policy"].table

    @jax.jit
    def derivatives(logits):
        state = adapted(solver, table(logits))

        def payoff(x):
            return payoff_of(solver, state, {"model_return": 1.0}, x)

        exact = jax.grad(lambda x: finite_horizon_return(mdp, table(x)))(logits)
        return jax.grad(payoff)(logits), exact, finite_differences(payoff, logits)

    slope, exact, differences = derivatives(logits)
    np.testing.assert_allclose(slope, exact, rtol=1e-4)
    np.testing.assert_allclose(slope, differences, rtol=1e-4)
