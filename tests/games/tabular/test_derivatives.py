"""The closed forms' own derivatives are those of the plain recursions, in worlds small and large, first and second."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.games.tabular.closed_forms import (
    expected_reward,
    finite_horizon_return,
    finite_horizon_values,
    optimal_action_values,
)
from sbmrl.games.tabular.mdp import random_mdp, with_transition

SIZES = [(3, 2, 6), (40, 3, 10)]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def world(num_states, num_actions, horizon, terminal=True):
    mdp = random_mdp(jax.random.key(num_states), num_states, num_actions, horizon=horizon)
    mdp = jax.tree.map(lambda x: x.astype(float), mdp)
    if terminal:  # the last state ends the episode
        mdp = mdp.replace(terminal=(False,) * (num_states - 1) + (True,))
    return with_transition(mdp, mdp.transition)


def rows(key, *shape):
    return jax.nn.softmax(jax.random.normal(jax.random.key(key), shape, float))


def plain_values(mdp, policy):
    """One step after the other, nothing but sums."""
    values = jnp.zeros(mdp.num_states)
    for time in reversed(range(mdp.horizon)):
        now = policy[time] if policy.ndim == 3 else policy
        later = jnp.sum(mdp.transition * (mdp.reward + values), axis=-1)
        values = jnp.sum(now * later, axis=-1)
    return values


def plain_action_values(mdp, temperature):
    values, found = jnp.zeros(mdp.num_states), []
    for _ in range(mdp.horizon):
        found.append(expected_reward(mdp) + jnp.sum(mdp.transition * values, axis=-1))
        values = jnp.max(found[-1], axis=-1)
        if temperature is not None:
            soft = temperature * jnp.log(jnp.sum(jnp.exp(found[-1] / temperature), axis=-1))
            values = jnp.where(jnp.array(mdp.terminal), 0.0, soft)
    return jnp.stack(found[::-1])


def close(ours, plain, tolerance=1e-9):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, plain)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("clock", [False, True])
def test_values_of_a_policy(size, clock):
    mdp = world(*size)
    policy = rows(1, *((size[2],) if clock else ()), *size[:2])
    weights = jax.random.normal(jax.random.key(2), (size[0],), float)

    def scalar(values):
        return lambda policy, model, reward: (
            weights @ values(with_transition(mdp, model).replace(reward=reward), policy)
        )

    arguments = policy, mdp.transition, mdp.reward
    ours, plain = (jax.value_and_grad(scalar(f), (0, 1, 2))(*arguments) for f in (finite_horizon_values, plain_values))
    close(ours, plain)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [None, 0.3])
def test_optimal_values(size, temperature):
    mdp = world(*size)
    weights = jax.random.normal(jax.random.key(3), (size[2], *size[:2]), float)

    def scalar(values):
        return lambda model, heat: jnp.sum(weights * values(with_transition(mdp, model), heat))

    which = (0,) if temperature is None else (0, 1)
    ours, plain = (jax.value_and_grad(scalar(f), which) for f in (optimal_action_values, plain_action_values))
    close(ours(mdp.transition, temperature), plain(mdp.transition, temperature))


@pytest.mark.parametrize("batched", [False, True])
def test_a_leaders_payoff_through_the_soft_response_and_its_second_derivative(batched):
    """What unrolled schemes need: the derivative of a derivative, also side by side."""
    mdp = world(3, 2, 6)
    logits = jax.random.normal(jax.random.key(4), (2, 3, 2, 3), float)

    def payoff(action_values, returns):
        def of(logits):
            model = with_transition(mdp, jax.nn.softmax(logits))
            policy = jax.nn.softmax(action_values(model, 0.3) / 0.3)
            return returns(mdp, policy) + returns(model, policy)

        return of

    ours = payoff(optimal_action_values, finite_horizon_return)
    plain = payoff(plain_action_values, lambda mdp, policy: mdp.initial @ plain_values(mdp, policy))

    def second(of):
        return jax.grad(lambda logits: jnp.sum(jax.grad(of)(logits) ** 2))

    for derivative in (jax.grad, second):
        f, g = derivative(ours), derivative(plain)
        if batched:
            close(jax.vmap(f)(logits), jax.vmap(g)(logits))
        else:
            close(f(logits[0]), g(logits[0]))
