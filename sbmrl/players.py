"""The parametrised players: tables and networks, in flax.

The same modules serve policies and world models, leaders and followers: a player maps an observation to logits,
over actions or over next states, and a follower's observation begins with the leader's description ω.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sbmrl.distributions import Distribution, categorical, diagonal_gaussian
from sbmrl.game import Head, Strategy

Parametrization = Literal["network", "table"]
Params = Any
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"tanh": nn.tanh, "relu": nn.relu}


class MultiLayerPerceptron(nn.Module):
    """Dense layers with orthogonal weights of gain √2 and a linear last layer of gain `output_gain`, biases 0.

    The initialisation is Stable-Baselines3's. `[..., D] -> [..., num_outputs]`.
    """

    hidden: tuple[int, ...]
    num_outputs: int
    output_gain: float
    activation: str = "tanh"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """`[..., D] -> [..., num_outputs]`."""
        features = observation
        for width in self.hidden:
            layer = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2.0**0.5))
            features = ACTIVATIONS[self.activation](layer(features))
        return nn.Dense(self.num_outputs, kernel_init=nn.initializers.orthogonal(self.output_gain))(features)


class Table(nn.Module):
    """One free row of logits per query: a softmax table. `[..., D] -> [..., num_outputs]`.

    An observation is looked up as the query with the largest inner product, which is the query itself since
    queries are (pairs of) one-hot vectors.

    Attributes:
        queries: `[Q, D]` all observations.
    """

    queries: jax.Array
    num_outputs: int
    initial_scale: float

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """`[..., D] -> [..., num_outputs]`."""
        shape = (self.queries.shape[0], self.num_outputs)
        logits = self.param("logits", nn.initializers.normal(self.initial_scale), shape)
        return logits[jnp.argmax(observation @ self.queries.T, axis=-1)]


class ActorCritic(nn.Module):
    """An actor whose answers are drawn from a distribution, and a critic that values observations."""

    actor_module: nn.Module
    critic_module: nn.Module
    head: Head

    def setup(self):
        """Name the parts, and the Gaussian's spread, which does not depend on the observation."""
        self.actor = self.actor_module
        self.critic = self.critic_module
        if self.head == "gaussian":
            shape = (self.actor_module.num_outputs,)
            self.log_standard_deviation = self.param("log_standard_deviation", nn.initializers.zeros, shape)

    def __call__(self, observation: jax.Array) -> tuple[Distribution, jax.Array]:
        """The distribution of answers and the value, so that initialisation touches every part."""
        return self.distribution(observation), self.value(observation)

    def logits(self, observation: jax.Array) -> jax.Array:
        """`[..., N]`: logits over actions, or the mean logits over next states."""
        return self.actor(observation)

    def distribution(self, observation: jax.Array) -> Distribution:
        """The distribution of answers at an observation."""
        if self.head == "gaussian":
            return diagonal_gaussian(self.actor(observation), self.log_standard_deviation)
        return categorical(self.actor(observation))

    def value(self, observation: jax.Array) -> jax.Array:
        """`[...]`: the critic's estimate of the return from here."""
        return self.critic(observation)[..., 0]


class Player(NamedTuple):
    """A parametrised strategy as pure functions.

    Attributes:
        init: (key) -> params.
        logits: (params, observation `[..., D]`) -> `[..., N]`.
        distribution: (params, observation) -> distribution of answers.
        value: (params, observation) -> `[...]`.
    """

    init: Callable[[jax.Array], Params]
    logits: Callable[[Params, jax.Array], jax.Array]
    distribution: Callable[[Params, jax.Array], Distribution]
    value: Callable[[Params, jax.Array], jax.Array]


def actor_critic(actor: nn.Module, critic_hidden: tuple[int, ...], head: Head, observation_size: int) -> Player:
    """A `Player` with the given actor and a tanh critic; `critic_hidden = ()` is a linear critic."""
    module = ActorCritic(actor, MultiLayerPerceptron(critic_hidden, 1, output_gain=1.0), head)

    def call(method: str) -> Callable[[Params, jax.Array], Any]:
        return lambda params, observation: module.apply(params, observation, method=method)

    return Player(
        init=lambda key: module.init(key, jnp.zeros(observation_size)),
        logits=call("logits"),
        distribution=call("distribution"),
        value=call("value"),
    )


def with_context(description: jax.Array, observation: jax.Array) -> jax.Array:
    """`[..., C + D]`: the description ω `[C]` in front of each observation `[..., D]`."""
    shape = (*observation.shape[:-1], description.shape[-1])
    return jnp.concatenate([jnp.broadcast_to(description, shape), observation], axis=-1)


def contextual_strategy(
    logits: Callable[[Params, jax.Array], jax.Array], params: Params, description: jax.Array, seat
) -> Strategy:
    """The table that a context-conditioned player plays against the leader described by ω: softmax net(θ, ω, ·)."""
    return seat.table(logits(params, with_context(description, seat.queries)))
