"""PPO: its formulas against rlax and finite differences, its learning on probes with known answers and on CartPole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax

from sbmrl.core.environment import Environment
from sbmrl.core.game import Head
from sbmrl.core.gymnax_adapter import from_gymnax
from sbmrl.core.players import MultiLayerPerceptron, Table, actor_critic
from sbmrl.games.tabular.closed_forms import finite_horizon_optimum
from sbmrl.games.tabular.mdp import make_world, tabular_environment
from sbmrl.learners.ppo import PPOOptions, Samples, generalized_advantage_estimation, ppo, surrogate_loss

SMALL = PPOOptions(num_environments=8, num_steps=32, minibatch_size=64, num_epochs=4, learning_rate=3e-3)


def player(observation_size, num_outputs, head: Head = "categorical", hidden=(16,)):
    return actor_critic(MultiLayerPerceptron(hidden, num_outputs, 0.01), hidden, head, observation_size)


def test_gae_agrees_with_rlax():
    keys = jax.random.split(jax.random.key(0), 4)
    reward, value = jax.random.normal(keys[0], (20,)), jax.random.normal(keys[1], (21,))
    terminated = jax.random.bernoulli(keys[2], 0.2, (20,))
    no = jnp.zeros(20, bool)
    ours = generalized_advantage_estimation(reward, value[:-1], value[1:], terminated, no, 0.97, 0.9)
    theirs = rlax.truncated_generalized_advantage_estimation(reward, 0.97 * (1.0 - terminated), 0.9, value)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_gae_bootstraps_at_truncation_and_not_at_termination():
    reward, value, next_value = jnp.ones(2), jnp.zeros(2), jnp.full(2, 10.0)
    ends, no = jnp.array([True, False]), jnp.zeros(2, bool)
    truncated = generalized_advantage_estimation(reward, value, next_value, no, ends, 0.5, 1.0)
    terminated = generalized_advantage_estimation(reward, value, next_value, ends, no, 0.5, 1.0)
    np.testing.assert_allclose(truncated, [1 + 0.5 * 10, 1 + 0.5 * 10])  # nothing leaks over the cut
    np.testing.assert_allclose(terminated, [1.0, 1 + 0.5 * 10])


@pytest.mark.parametrize("head", ["categorical", "gaussian"])
def test_surrogate_gradient_agrees_with_finite_differences(head):
    with jax.enable_x64(True):
        agent = player(3, 2, head)
        keys = jax.random.split(jax.random.key(0), 6)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), agent.init(keys[0]))
        observation = jax.random.normal(keys[1], (32, 3), jnp.float64)
        answer = agent.distribution(params, observation).sample(seed=keys[2])
        advantage, target = jax.random.normal(keys[3], (2, 32), jnp.float64)
        old = agent.distribution(params, observation).log_prob(answer) + 0.05 * jax.random.normal(keys[4], (32,))
        samples = Samples(observation, answer, old, advantage, target)
        options = dataclasses.replace(SMALL, entropy_coefficient=0.01)

        def loss(params):
            return surrogate_loss(agent, params, samples, options)[0]

        direction = jax.tree.map(lambda x: jax.random.normal(keys[5], x.shape, x.dtype), params)
        slope = optax.tree_utils.tree_vdot(jax.grad(loss)(params), direction)
        up, down = (jax.tree.map(lambda p, d, s=s: p + s * d, params, direction) for s in (1e-6, -1e-6))
        assert slope == pytest.approx(float(loss(up) - loss(down)) / 2e-6, rel=1e-5)


def test_the_clipped_surrogate_by_hand():
    agent = player(1, 2)
    params = agent.init(jax.random.key(0))
    observation, answer = jnp.ones((2, 1)), jnp.array([0, 1])
    log_probability = agent.distribution(params, observation).log_prob(answer)
    # Ratios 2 and 0.5, advantages that normalise to ±1/√2: both terms sit on the clip at 1.2 and 0.8.
    samples = Samples(
        observation, answer, log_probability - jnp.log(jnp.array([2.0, 0.5])), jnp.array([1.0, -1.0]), jnp.zeros(2)
    )
    options = dataclasses.replace(SMALL, value_coefficient=0.0)
    loss, _ = surrogate_loss(agent, params, samples, options)
    assert float(loss) == pytest.approx(-(1.2 - 0.8) / np.sqrt(2) / 2, abs=1e-4)


def probe(reward, length, terminates=True, observation=None):
    """Two actions; pays `reward(action, time)`; ends after `length` steps."""
    see = observation or (lambda time: jnp.ones(1))

    def reset(key):
        return see(jnp.int32(0)), jnp.int32(0)

    def step(key, time, action):
        done = time + 1 >= length
        ends = jnp.array(terminates)
        return see(time + 1), time + 1, reward(action, time), done & ends, done & ~ends, {}

    return Environment(reset, step)


def learn(environment, agent, options, num_updates, seed=0):
    learner = ppo(lambda opponent: environment, agent, options)
    key = jax.random.key(seed)

    @jax.jit
    def run(key):
        state = learner.init(key, None)
        state, info = jax.lax.scan(lambda s, k: learner.update(k, s, None), state, jax.random.split(key, num_updates))
        return state.params, info

    return run(key)


def test_probe_the_critic_learns_a_terminal_reward():
    agent = player(1, 2)
    params, _ = learn(probe(lambda action, time: 1.0, 1), agent, SMALL, 60)
    assert agent.value(params, jnp.ones(1)) == pytest.approx(1.0, abs=0.05)


def test_probe_the_critic_discounts_a_delayed_reward():
    agent = player(2, 2)
    environment = probe(lambda a, time: jnp.float32(time == 1), 2, observation=lambda t: jax.nn.one_hot(t, 2))
    params, _ = learn(environment, agent, dataclasses.replace(SMALL, discount=0.5), 80)
    assert agent.value(params, jnp.array([1.0, 0.0])) == pytest.approx(0.5, abs=0.05)
    assert agent.value(params, jnp.array([0.0, 1.0])) == pytest.approx(1.0, abs=0.05)


def test_probe_a_truncated_episode_is_worth_its_endless_continuation():
    agent = player(1, 2, hidden=())
    options = dataclasses.replace(SMALL, discount=0.8, learning_rate=0.02)
    params, _ = learn(probe(lambda action, time: 1.0, 4, terminates=False), agent, options, 100)
    assert agent.value(params, jnp.ones(1)) == pytest.approx(1 / (1 - 0.8), abs=0.3)


def test_probe_the_actor_takes_the_paying_action():
    agent = player(1, 2)
    params, _ = learn(probe(lambda action, time: jnp.where(action == 1, 1.0, -1.0), 1), agent, SMALL, 40)
    assert jax.nn.softmax(agent.logits(params, jnp.ones(1)))[1] > 0.95


def test_a_table_player_solves_the_posters_world():
    mdp = make_world("simple_mdp_2")
    agent = actor_critic(Table(jnp.eye(3), 2, 0.01), (), "categorical", 3)
    params, _ = learn(tabular_environment(mdp), agent, dataclasses.replace(SMALL, learning_rate=0.02), 120)
    chosen = jnp.argmax(agent.logits(params, jnp.eye(3)), axis=-1)
    np.testing.assert_array_equal(chosen[:2], jnp.argmax(finite_horizon_optimum(mdp).policy, axis=-1)[:2])


def test_cartpole_is_learned():
    environment, observation_size, num_actions = from_gymnax("CartPole-v1")
    agent = player(observation_size, num_actions, hidden=(64,))
    options = dataclasses.replace(SMALL, num_environments=16, num_steps=128, minibatch_size=512, learning_rate=2.5e-3)
    _, info = learn(environment, agent, options, 60)
    # CartPole pays 1 a step, so the discounted value that the critic explains grows with the length of an episode;
    # the share of steps that end an episode falls from 1/20 to below 1/100.
    assert float(info["share_ended"][:3].mean()) > 0.03
    assert float(info["share_ended"][-5:].mean()) < 0.01
