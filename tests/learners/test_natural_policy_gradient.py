"""Natural policy gradient: its pieces against closed forms, its step's length, its learning, its place in the games."""

import dataclasses
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment, tiny_options

from sbmrl.core.environment import Environment
from sbmrl.core.game import Head
from sbmrl.core.gymnax_adapter import from_gymnax
from sbmrl.core.players import MultiLayerPerceptron, Table, actor_critic, separated, united
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program, make_train
from sbmrl.games.tabular.closed_forms import finite_horizon_optimum
from sbmrl.games.tabular.mdp import make_world, tabular_environment
from sbmrl.learners.gradient import GradientOptions
from sbmrl.learners.natural_policy_gradient import (
    NaturalPolicyGradientOptions,
    natural_policy_gradient,
    policy_step,
)
from sbmrl.learners.natural_step import conjugate_gradient, fisher_vector_product, natural_step
from sbmrl.learners.rollouts import Samples

SMALL = NaturalPolicyGradientOptions(
    num_environments=8, num_steps=32, value_minibatch_size=64, value_epochs=4, value_learning_rate=3e-3
)


def player(observation_size, num_outputs, head: Head = "categorical", hidden=(16,), spread=0.0):
    actor = MultiLayerPerceptron(hidden, num_outputs, 0.01)
    return actor_critic(actor, hidden, head, observation_size, spread)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", ["categorical", "gaussian"])
def test_the_fisher_information_is_the_hessian_of_the_mean_divergence(head, weighted):
    agent = player(3, 2, head, hidden=(4,), spread=-0.5)
    keys = jax.random.split(jax.random.key(0), 4)
    weight = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]) if weighted else None

    @jax.jit
    def both():
        params = agent.init(keys[0])
        params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(keys[1], x.shape), params)
        policy, critic = separated(params)
        observation = jax.random.normal(keys[2], (6, 3))
        vector, unflatten = jax.flatten_util.ravel_pytree(policy)
        old = agent.distribution(params, observation)

        def divergence(vector):
            new = agent.distribution(united(unflatten(vector), critic), observation)
            return jnp.average(old.kl_divergence(new), weights=weight)

        product = fisher_vector_product(
            lambda policy: agent.distribution_parameters(united(policy, critic), observation), head, policy, weight
        )
        ours = jax.vmap(lambda v: jax.flatten_util.ravel_pytree(product(unflatten(v)))[0])(jnp.eye(len(vector)))
        return ours, jax.jacrev(jax.grad(divergence))(vector)

    ours, hessian = both()
    assert np.linalg.norm(hessian) > 0.1
    np.testing.assert_allclose(ours, hessian, atol=2e-5)


def test_conjugate_gradients_solve_and_survive_zero():
    matrix = np.random.default_rng(0).normal(size=(6, 9))
    matrix = jnp.asarray(matrix @ matrix.T + 0.5 * np.eye(6), jnp.float32)
    solution = {"a": jnp.arange(4.0), "b": jnp.array([-1.0, 2.0])}
    vector, unflatten = jax.flatten_util.ravel_pytree(solution)

    def product(tree):
        return unflatten(matrix @ jax.flatten_util.ravel_pytree(tree)[0])

    solve = jax.jit(lambda b: conjugate_gradient(product, unflatten(b), 25))  # more iterations than are needed
    found = solve(matrix @ vector)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(found)[0], vector, atol=1e-3)
    for x in jax.tree.leaves(solve(jnp.zeros(6))):
        np.testing.assert_array_equal(x, 0.0)
    assert np.isnan(jax.flatten_util.ravel_pytree(solve(vector.at[2].set(jnp.nan)))[0]).any()


def test_no_gradient_is_no_step():
    step = natural_step(lambda v: v, jnp.zeros(3), 0.05, 1e-4, 3)
    np.testing.assert_array_equal(step, 0.0)


@pytest.mark.parametrize("head", ["categorical", "gaussian"])
def test_a_small_step_makes_half_its_size_in_divergence(head):
    delta = 2e-3
    agent = player(3, 2, head)
    options = dataclasses.replace(SMALL, step_size=delta, damping=1e-6, num_cg_iterations=20)

    def reset(key):
        return jax.random.normal(key, (3,)), jnp.int32(0)

    def step(key, time, answer):
        reward = answer @ jnp.array([1.0, -2.0]) if head == "gaussian" else 1.0 * answer
        return jax.random.normal(key, (3,)), time + 1, reward, time >= 4, jnp.array(False), {}

    learner = natural_policy_gradient(lambda opponent: Environment(reset, step), agent, options)

    @jax.jit
    def update():
        return learner.update(jax.random.key(1), learner.init(jax.random.key(0), None), None)[1]

    info = update()
    assert info["kl"] == pytest.approx(delta / 2, rel=0.1)
    assert info["skipped"] == 0.0


def test_on_a_linear_quadratic_problem_the_natural_gradient_is_the_closed_form():
    """u = −Kx + e, e ~ (0, Σ): ∇_K J = 2[(R + γB'PB)K − γB'PA]M, F = M ⊗ Σ⁻¹, F⁻¹∇ = 2Σ[(R + γB'PB)K − γB'PA]."""
    discount, deviation = 0.95, jnp.array([0.3])
    a, b = jnp.array([[1.0, 0.2], [0.0, 0.9]]), jnp.array([[0.0], [0.3]])
    q, r, w, s0 = jnp.eye(2), 0.1 * jnp.eye(1), 0.05 * jnp.eye(2), jnp.eye(2)
    noise = jnp.diag(deviation**2)
    gain = jnp.array([[0.4, 0.7]])
    rest = discount / (1.0 - discount)

    def lyapunov(f, c):  # X = F X F' + C
        return jnp.linalg.solve(jnp.eye(4) - jnp.kron(f, f), c.reshape(-1)).reshape(2, 2)

    def cost_matrix(gain):
        return lyapunov(jnp.sqrt(discount) * (a - b @ gain).T, q + gain.T @ r @ gain)

    def cost(gain):
        p, driven = cost_matrix(gain), w + b @ noise @ b.T
        return jnp.trace(p @ s0) + rest * jnp.trace(p @ driven) + jnp.trace(r @ noise) / (1.0 - discount)

    @jax.jit
    def natural():
        visits = lyapunov(jnp.sqrt(discount) * (a - b @ gain), s0 + rest * (w + b @ noise @ b.T))  # M
        states = jax.random.normal(jax.random.key(0), (200_000, 2)) @ jnp.linalg.cholesky(visits).T

        def distribution_parameters(gain):
            return -states @ gain.T, jnp.broadcast_to(jnp.log(deviation), (len(states), 1))

        product = fisher_vector_product(distribution_parameters, "gaussian", gain)
        p = cost_matrix(gain)
        bracket = (r + discount * b.T @ p @ b) @ gain - discount * b.T @ p @ a
        gradient = jax.grad(cost)(gain)
        return conjugate_gradient(product, gradient, 4), 2 * noise @ bracket, gradient, 2 * bracket @ visits

    ours, closed, gradient, its_closed_form = natural()
    np.testing.assert_allclose(gradient, its_closed_form, rtol=1e-3)
    np.testing.assert_allclose(ours, closed, rtol=0.02)


def test_a_table_moves_alike_in_whatever_coordinates_its_logits_are():
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 4)
        mix = jax.random.normal(keys[0], (12, 12), jnp.float64) + 2.0 * jnp.eye(12)
        logits = jax.random.normal(keys[1], (4, 3), jnp.float64)
        state = jax.random.randint(keys[2], (64,), 0, 4)
        advantage = jax.random.normal(keys[3], (4, 3), jnp.float64)

        @jax.jit
        def moved(matrix):
            """The probabilities after a step in φ, where the logits are A φ."""
            start = jnp.linalg.solve(matrix, logits.reshape(-1))

            def at(phi):
                return (matrix @ phi).reshape(4, 3)

            def wanted(phi):
                return jnp.mean(jnp.sum(jax.nn.softmax(at(phi)) * advantage, axis=-1)[state])

            product = fisher_vector_product(lambda phi: at(phi)[state], "categorical", start)
            step = natural_step(product, jax.grad(wanted)(start), 0.1, 0.0, 40)
            return jax.nn.softmax(at(start + step)), jax.nn.softmax(logits)

        plain, before = moved(jnp.eye(12))
        mixed, _ = moved(mix)
        assert np.abs(plain - before).max() > 0.05
        np.testing.assert_allclose(mixed, plain, atol=1e-6)


def samples_of(agent, params, key, num_steps=16, advantage: Any = None):
    keys = jax.random.split(key, 3)
    observation = jax.random.normal(keys[0], (num_steps, 8, 3))
    answer = agent.distribution(params, observation).sample(seed=keys[1])
    advantage = jax.random.normal(keys[2], (num_steps, 8)) if advantage is None else advantage
    return Samples(observation, answer, jnp.zeros_like(advantage), advantage, advantage)


def test_hidden_steps_do_not_count_and_few_states_make_nearly_the_same_step():
    agent = player(3, 2, "gaussian")
    params = agent.init(jax.random.key(0))

    @jax.jit
    def steps():
        samples = samples_of(agent, params, jax.random.key(1), 64)
        weight = jnp.zeros((64, 8)).at[:48].set(1.0)
        nonsense = samples.advantage.at[48:].set(1e3)
        hidden = samples._replace(weight=weight, advantage=nonsense)
        few = dataclasses.replace(SMALL, num_fisher_samples=256)
        found = [
            policy_step(jax.random.key(2), agent, params, *pair)[1]
            for pair in (
                (hidden, SMALL),
                (hidden._replace(advantage=samples.advantage), SMALL),
                (samples, SMALL),
                (samples, few),
            )
        ]
        return [jax.flatten_util.ravel_pytree(step)[0] for step in found]

    hidden, without, everything, few = steps()
    np.testing.assert_allclose(hidden, without, rtol=1e-3, atol=1e-5)
    assert 0.7 < np.dot(everything, few) / np.linalg.norm(everything) / np.linalg.norm(few) < 1.0 - 1e-6


def test_a_step_that_is_not_finite_leaves_everything_as_it_was():
    agent = player(2, 2)

    def reset(key):
        return jnp.ones(2), jnp.int32(0)

    def step(key, time, answer):
        reward = jnp.where(answer == 1, jnp.inf, 0.0)
        return jnp.ones(2), time + 1, reward, time >= 4, jnp.array(False), {}

    learner = natural_policy_gradient(lambda opponent: Environment(reset, step), agent, SMALL)

    @jax.jit
    def update():
        state = learner.init(jax.random.key(0), None)
        return state, *learner.update(jax.random.key(1), state, None)

    before, after, info = update()
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(old, new)
    assert info["skipped"] == 1.0
    assert info["kl"] == 0.0


def test_a_gaussians_spread_starts_where_it_is_told_and_never_falls_below_its_floor():
    agent = player(1, 1, "gaussian", spread=-1.0)
    options = dataclasses.replace(SMALL, step_size=0.5, min_log_standard_deviation=-1.2)

    def reset(key):
        return jnp.ones(1), jnp.int32(0)

    def step(key, time, answer):
        return jnp.ones(1), time + 1, -(answer[0] ** 2), time >= 4, jnp.array(False), {}

    learner = natural_policy_gradient(lambda opponent: Environment(reset, step), agent, options)

    @jax.jit
    def spreads():
        def update(state, key):
            state, _ = learner.update(key, state, None)
            return state, state.params["params"]["log_standard_deviation"]

        state = learner.init(jax.random.key(0), None)
        return state.params, jax.lax.scan(update, state, jax.random.split(jax.random.key(1), 10))[1]

    initial, spread = spreads()
    assert initial["params"]["log_standard_deviation"] == pytest.approx(-1.0)
    assert spread.min() == pytest.approx(-1.2)


def learn(environment, agent, options, num_updates):
    """The parameters after `num_updates`, and each update's info."""
    learner = natural_policy_gradient(lambda opponent: environment, agent, options)
    key = jax.random.key(0)
    state, infos = jax.lax.scan(
        lambda state, key: learner.update(key, state, None),
        learner.init(key, None),
        jax.random.split(key, num_updates),
    )
    return state.params, infos


def test_a_table_player_solves_the_posters_world_in_no_more_steps_than_ppo():
    mdp = make_world("simple_mdp_2")
    agent = actor_critic(Table(jnp.eye(3), 2, 0.01), (), "categorical", 3)

    @jax.jit
    def choices():
        params, _ = learn(tabular_environment(mdp), agent, SMALL, 120)
        return agent.logits(params, jnp.eye(3)).argmax(-1), finite_horizon_optimum(mdp).policy.argmax(-1)

    chosen, best = choices()
    np.testing.assert_array_equal(chosen[:2], best[:2])


def test_cartpole_is_learned_in_no_more_steps_than_by_ppo():
    environment, observation_size, num_actions = from_gymnax("CartPole-v1")
    agent = player(observation_size, num_actions, hidden=(64,))
    sizes = {"num_environments": 16, "num_steps": 128, "value_minibatch_size": 512}
    options = dataclasses.replace(SMALL, **sizes, step_size=0.01, damping=0.01)
    infos = jax.jit(lambda: learn(environment, agent, options, 30)[1])()
    # Every rollout is the first 128 steps of 16 episodes. One end in each would be 1/128; below 1/500 three quarters
    # of them stand to the last step. Half of PPO's updates are enough.
    assert float(infos["share_ended"][:3].mean()) > 0.03
    assert float(infos["share_ended"][-5:].mean()) < 0.002
    assert float(infos["kl"].max()) < 0.02


def trained(experiment):
    train = make_train(experiment)
    result = jax.device_get(jax.jit(train)(jax.random.key(3)))
    assert result.final.metrics["finite"]
    assert result.final.metrics["regret"] >= -1e-3
    return result


def test_it_leads_with_a_gaussian_model_and_follows_a_leader_that_it_is_told_of():
    """Both at once, the leader's queries in its episode, and hidden from its learner."""
    follower = tiny_options(NaturalPolicyGradientOptions())
    experiment = tiny_experiment("mal", "contextual", "natural_policy_gradient", follower=follower, hidden_queries=True)
    curves = trained(experiment).curves
    for stage in ("pretrain", "play"):
        assert np.all(np.asarray(curves[stage]["kl"]) > 0.0)
        assert np.all(np.asarray(curves[stage]["skipped"]) == 0.0)


def test_it_leads_as_a_policy():
    trained(tiny_experiment("pal", "contextual", "natural_policy_gradient"))


def test_it_follows_in_the_inner_outer_loop():
    follower = tiny_options(NaturalPolicyGradientOptions())
    experiment = tiny_experiment("mal", "inner_outer", "gradient", follower=follower, unroll=0)
    assert isinstance(experiment.leader, GradientOptions)
    assert "follower_kl" in trained(experiment).curves["play"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"leader__step_size": 0.0}, "leader.step_size: must be positive"),
        ({"leader__num_fisher_samples": -1}, "leader.num_fisher_samples: must be a whole number of at least 0"),
        ({"leader__value_minibatch_size": 100}, "leader.value_minibatch_size: must be a multiple of num_environments"),
        ({"leader__damping": -1.0}, "leader.damping: must be at least 0"),
    ],
    ids=str,
)
def test_numbers_that_are_not_allowed_are_refused(changes, says):
    experiment = preset("fast", "mal", "exact", "natural_policy_gradient").replace(**changes)
    with pytest.raises(InputError, match=says):
        check(experiment)


def test_rollouts_shorter_than_an_episode_are_refused():
    experiment = preset("fast", "mal", "exact", "natural_policy_gradient")
    with pytest.raises(InputError, match="num_steps: must be at least 54 for the model, as every update starts"):
        make_program(experiment.replace(leader__num_steps=32))
