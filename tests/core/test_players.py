"""Networks: what they compute does not depend on how they lie in memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sbmrl.core.game import Head
from sbmrl.core.players import MultiLayerPerceptron, actor_critic


def plain(params, observation, activation=np.tanh):
    """The network as everybody writes it, in numpy."""
    layers = [params["params"][f"Dense_{number}"] for number in range(len(params["params"]))]
    for layer in layers[:-1]:
        observation = activation(observation @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]))
    return observation @ np.asarray(layers[-1]["kernel"]) + np.asarray(layers[-1]["bias"])


SHAPES = [(5,), (1, 5), (40, 5), (3, 4, 5), (8, 16, 5)]
HIDDEN = [(), (8, 8), (24,)]


@pytest.fixture(scope="module")
def networks():
    """For each of HIDDEN the parameters, and for each of SHAPES observations with what the network makes of them."""

    @jax.jit
    def compute():
        observations = [jax.random.normal(jax.random.key(1), shape) for shape in SHAPES]
        found = []
        for hidden in HIDDEN:
            network = MultiLayerPerceptron(hidden, 3, output_gain=0.5)
            params = network.init(jax.random.key(0), jnp.zeros(5))
            found.append((params, [network.apply(params, observation) for observation in observations]))
        return observations, found

    return jax.device_get(compute())


@pytest.mark.xdist_group("networks")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_a_network_is_the_same_wherever_its_batch_lies(networks, shape, hidden):
    """Short batches come first, long ones last; nobody must notice."""
    observations, found = networks
    (params, outputs), number = found[HIDDEN.index(hidden)], SHAPES.index(shape)
    assert outputs[number].shape == (*shape[:-1], 3)
    np.testing.assert_allclose(outputs[number], plain(params, observations[number]), atol=1e-5)


@pytest.mark.parametrize("batch", [4, 64])
def test_the_gradient_of_a_network_is_that_of_finite_differences(batch):
    """In parameters and observation, mapped over seeds; the product's derivative is written out by hand."""
    network = MultiLayerPerceptron((8, 8), 3, output_gain=0.5)
    init = jax.jit(jax.vmap(lambda key: network.init(key, jnp.zeros(5))))
    params = init(jax.random.split(jax.random.key(0), 2))
    observation = jax.random.normal(jax.random.key(1), (2, batch, 5))

    @jax.jit
    def loss(params, observation):
        apply: Callable[..., Any] = jax.vmap(network.apply)
        return jnp.mean(jnp.sin(apply(params, observation)))

    check_grads(loss, (params, observation), order=2, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_likelihood_is_that_of_the_distribution():
    answers: dict[Head, jax.Array] = {"categorical": jnp.array([[0, 2], [1, 1]]), "gaussian": jnp.ones((2, 2, 3))}
    for head, answer in answers.items():
        agent = actor_critic(MultiLayerPerceptron((8,), 3, output_gain=1.0), (), head, 5)

        @jax.jit
        def compute(agent=agent, answer=answer):
            params = agent.init(jax.random.key(0))
            observation = jax.random.normal(jax.random.key(1), (2, 2, 5))
            distribution = agent.distribution(params, observation)
            expected = distribution.log_prob(answer), distribution.entropy()
            return agent.likelihood(params, observation, answer), expected

        (log_probability, entropy), (expected_log_probability, expected_entropy) = compute()
        np.testing.assert_allclose(log_probability, expected_log_probability, rtol=1e-5)
        np.testing.assert_allclose(entropy, expected_entropy, rtol=1e-5)
