"""PPO: its formulas against rlax and finite differences, its learning on probes with known answers and on CartPole."""

import dataclasses
from typing import Any, NamedTuple

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
from sbmrl.learners.policy_gradient import PolicyGradientOptions, as_ppo, of_ppo
from sbmrl.learners.ppo import PPOOptions, ppo, surrogate_loss
from sbmrl.learners.rollouts import Samples, generalized_advantage_estimation

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
        options = dataclasses.replace(SMALL, entropy_coefficient=0.01)

        @jax.jit
        def slopes():
            keys = jax.random.split(jax.random.key(0), 6)
            params = jax.tree.map(lambda x: x.astype(jnp.float64), agent.init(keys[0]))
            observation = jax.random.normal(keys[1], (32, 3), jnp.float64)
            answer = agent.distribution(params, observation).sample(seed=keys[2])
            advantage, target = jax.random.normal(keys[3], (2, 32), jnp.float64)
            old = agent.distribution(params, observation).log_prob(answer) + 0.05 * jax.random.normal(keys[4], (32,))
            samples = Samples(observation, answer, old, advantage, target)
            direction = jax.tree.map(lambda x: jax.random.normal(keys[5], x.shape, x.dtype), params)

            def loss(params):
                return surrogate_loss(agent, params, samples, options)[0]

            def moved(step):
                return loss(jax.tree.map(lambda p, d: p + step * d, params, direction))

            up, down = jax.lax.map(moved, jnp.array([1e-6, -1e-6]))
            return optax.tree_utils.tree_vdot(jax.grad(loss)(params), direction), (up - down) / 2e-6

        slope, difference = slopes()
        assert slope == pytest.approx(float(difference), rel=1e-5)


def test_the_clipped_surrogate_by_hand():
    agent = player(1, 2)
    options = dataclasses.replace(SMALL, value_coefficient=0.0)

    @jax.jit
    def loss():
        params = agent.init(jax.random.key(0))
        observation, answer = jnp.ones((2, 1)), jnp.array([0, 1])
        log_probability = agent.distribution(params, observation).log_prob(answer)
        # Ratios 2 and 0.5, advantages that normalise to ±1/√2: both terms sit on the clip at 1.2 and 0.8.
        old = log_probability - jnp.log(jnp.array([2.0, 0.5]))
        samples = Samples(observation, answer, old, jnp.array([1.0, -1.0]), jnp.zeros(2))
        return surrogate_loss(agent, params, samples, options)[0]

    assert float(loss()) == pytest.approx(-(1.2 - 0.8) / np.sqrt(2) / 2, abs=1e-4)


def test_plain_policy_gradient_is_ppo_with_one_step_on_the_whole_rollout():
    options = PolicyGradientOptions(num_environments=8, num_steps=32, learning_rate=3e-3)
    expected = dataclasses.replace(SMALL, num_epochs=1, minibatch_size=8 * 32)
    assert as_ppo(options) == expected
    assert of_ppo(expected) == options


def learn(environment, agent, options, num_updates, look=lambda params: ()):
    """The parameters after `num_updates`, and after each of them the learner's info and what `look` finds."""
    learner = ppo(lambda opponent: environment, agent, options)
    key = jax.random.key(0)

    def update(state, key):
        state, info = learner.update(key, state, None)
        return state, (info, look(state.params))

    state, seen = jax.lax.scan(update, learner.init(key, None), jax.random.split(key, num_updates))
    return state.params, *seen


class Probe(NamedTuple):
    """An environment with two actions, and how it is learned.

    Attributes:
        pay: `[2, 2]` what each action is paid at the first and at later times.
        length: steps of an episode.
        terminates: whether it then ends; else it is only cut.
        tells_time: whether the player sees which of the two times it is.
        discount: per step.
        learning_rate: Adam's.
    """

    pay: Any
    length: int
    terminates: bool = True
    tells_time: bool = False
    discount: float = 0.99
    learning_rate: float = 3e-3


PROBES = {
    "a terminal reward": Probe(np.array([[1.0, 1.0], [1.0, 1.0]]), 1),
    "a delayed reward": Probe(np.array([[0.0, 0.0], [1.0, 1.0]]), 2, tells_time=True, discount=0.5),
    "a cut": Probe(np.array([[1.0, 1.0], [1.0, 1.0]]), 4, terminates=False, discount=0.8, learning_rate=0.02),
    "a paying action": Probe(np.array([[-1.0, 1.0], [-1.0, 1.0]]), 1),
}


@pytest.fixture(scope="module")
def learned():
    """Probe -> after each of 100 updates the values at both times `[100, 2]`, and the probability of action 1."""
    agent = player(2, 2)

    def learn_one(probe):
        def see(time):
            return jnp.where(probe.tells_time, jnp.eye(2)[jnp.minimum(time, 1)], jnp.array([1.0, 0.0]))

        def reset(key):
            return see(jnp.int32(0)), jnp.int32(0)

        def step(key, time, action):
            done, reward = time + 1 >= probe.length, probe.pay[jnp.minimum(time, 1), action]
            return see(time + 1), time + 1, reward, done & probe.terminates, done & ~probe.terminates, {}

        def look(params):
            return agent.value(params, jnp.eye(2)), jax.nn.softmax(agent.logits(params, jnp.eye(2)[0]))[1]

        options = dataclasses.replace(SMALL, discount=probe.discount, learning_rate=probe.learning_rate)
        return learn(Environment(reset, step), agent, options, 100, look)[2]

    each = jax.tree.map(lambda *values: jnp.array(values), *PROBES.values())
    values, probabilities = jax.device_get(jax.jit(jax.vmap(learn_one))(each))
    return dict(zip(PROBES, zip(values, probabilities, strict=True), strict=True))


@pytest.mark.xdist_group("probes")
def test_probe_the_critic_learns_a_terminal_reward(learned):
    values, _ = learned["a terminal reward"]
    assert values[59, 0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.xdist_group("probes")
def test_probe_the_critic_discounts_a_delayed_reward(learned):
    values, _ = learned["a delayed reward"]
    assert values[79, 0] == pytest.approx(0.5, abs=0.05)
    assert values[79, 1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.xdist_group("probes")
def test_probe_a_truncated_episode_is_worth_its_endless_continuation(learned):
    values, _ = learned["a cut"]
    assert values[99, 0] == pytest.approx(1 / (1 - 0.8), abs=0.3)


@pytest.mark.xdist_group("probes")
def test_probe_the_actor_takes_the_paying_action(learned):
    _, probabilities = learned["a paying action"]
    assert probabilities[39] > 0.95


def test_a_table_player_solves_the_posters_world():
    mdp = make_world("simple_mdp_2")
    agent = actor_critic(Table(jnp.eye(3), 2, 0.01), (), "categorical", 3)
    options = dataclasses.replace(SMALL, learning_rate=0.02)

    @jax.jit
    def choices():
        params, *_ = learn(tabular_environment(mdp), agent, options, 120)
        return agent.logits(params, jnp.eye(3)).argmax(-1), finite_horizon_optimum(mdp).policy.argmax(-1)

    chosen, best = choices()
    np.testing.assert_array_equal(chosen[:2], best[:2])


def test_cartpole_is_learned():
    environment, observation_size, num_actions = from_gymnax("CartPole-v1")
    agent = player(observation_size, num_actions, hidden=(64,))
    options = dataclasses.replace(SMALL, num_environments=16, num_steps=128, minibatch_size=512, learning_rate=2.5e-3)
    share_ended = jax.jit(lambda: learn(environment, agent, options, 60)[1]["share_ended"])()
    # CartPole pays 1 a step, so the discounted value that the critic explains grows with the length of an episode;
    # the share of steps that end an episode falls from 1/20 to below 1/100.
    assert float(share_ended[:3].mean()) > 0.03
    assert float(share_ended[-5:].mean()) < 0.01
