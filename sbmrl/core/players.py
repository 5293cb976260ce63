"""The parametrised players: tables and networks, in flax.

The same modules serve policies and world models, leaders and followers: a player maps an observation to logits,
over actions or over next states, and a follower's observation begins with the leader's description ω.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sbmrl.core.distributions import Distribution, categorical, diagonal_gaussian
from sbmrl.core.game import Head, Seat

Parametrization = Literal["network", "table"]
Params = Any
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"tanh": nn.tanh, "relu": nn.relu, "swish": nn.swish}


@jax.custom_vjp
def _product(weights: jax.Array, features: jax.Array) -> jax.Array:
    """`[I, O], [I, B] -> [O, B]`: Wᵀ h."""
    return _transposed(weights) @ features


def _transposed(matrix: jax.Array) -> jax.Array:
    """The transpose in memory; without the barrier XLA folds it into a matrix product several times as slow on CPU."""
    return jax.lax.optimization_barrier(matrix.T)


_product.defvjp(
    lambda weights, features: (_product(weights, features), (weights, features)),
    lambda saved, slope: (saved[1] @ slope.T, saved[0] @ slope),
)


class _Affine(nn.Module):
    """Weights orthogonal with the given gain, biases 0: h W + b `[B, O]`, or batch last Wᵀ h + b `[O, B]`."""

    width: int
    gain: float
    batch_last: bool

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """`[B, I] -> [B, O]`; batch last, `[I, B] -> [O, B]`."""
        num_inputs = features.shape[0 if self.batch_last else 1]
        kernel = self.param("kernel", nn.initializers.orthogonal(self.gain), (num_inputs, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return _product(kernel, features) + bias[:, None] if self.batch_last else features @ kernel + bias


class MultiLayerPerceptron(nn.Module):
    """Dense layers with orthogonal weights of gain √2 and a linear last layer of gain `output_gain`, biases 0.

    The initialisation is Stable-Baselines3's. `[..., D] -> [..., num_outputs]`. A batch that is longer than the layers
    are wide is put last, so that rows of 8 units, say, do not leave most of a vector register empty.
    """

    hidden: tuple[int, ...]
    num_outputs: int
    output_gain: float
    activation: str = "tanh"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """`[..., D] -> [..., num_outputs]`."""
        features = observation.reshape(-1, observation.shape[-1])
        batch_last = features.shape[0] >= max(self.hidden, default=1)
        if batch_last:
            features = _transposed(features)
        for number, width in enumerate(self.hidden):
            layer = _Affine(width, 2.0**0.5, batch_last, name=f"Dense_{number}")
            features = ACTIVATIONS[self.activation](layer(features))
        last = _Affine(self.num_outputs, self.output_gain, batch_last, name=f"Dense_{len(self.hidden)}")
        outputs = last(features).T if batch_last else last(features)
        return outputs.reshape(*observation.shape[:-1], self.num_outputs)


class Table(nn.Module):
    """One free row of outputs per query. `[..., D] -> [..., num_outputs]`.

    An observation is looked up as the query with the largest inner product, which is the query itself since
    queries are (pairs of) one-hot vectors. Where the player is linear the queries are the unit vectors, and the answer
    to an observation x is Σ_i x_i · row_i.

    Attributes:
        queries: `[Q, D]` all observations.
        linear: whether the player is linear.
    """

    queries: jax.Array
    num_outputs: int
    initial_scale: float
    linear: bool = False

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """`[..., D] -> [..., num_outputs]`."""
        shape = (self.queries.shape[0], self.num_outputs)
        logits = self.param("logits", nn.initializers.normal(self.initial_scale), shape)
        if self.linear:
            return observation @ logits
        return logits[jnp.argmax(observation @ self.queries.T, axis=-1)]


class ActorCritic(nn.Module):
    """An actor whose answers are drawn from a distribution, and a critic that values observations.

    Attributes:
        actor_module: observation -> logits.
        critic_module: observation -> value.
        head: the distribution.
        initial_log_standard_deviation: where a Gaussian's log σ starts, in every direction.
    """

    actor_module: nn.Module
    critic_module: nn.Module
    head: Head
    initial_log_standard_deviation: jax.typing.ArrayLike = 0.0

    def setup(self):
        """Name the parts, and the Gaussian's spread, which does not depend on the observation."""
        self.actor = self.actor_module
        self.critic = self.critic_module
        if self.head == "gaussian":
            shape = (self.actor_module.num_outputs,)
            initial = nn.initializers.constant(self.initial_log_standard_deviation)
            self.log_standard_deviation = self.param("log_standard_deviation", initial, shape)

    def __call__(self, observation: jax.Array) -> tuple[Distribution, jax.Array]:
        """The distribution of answers and the value, so that initialisation touches every part."""
        return self.distribution(observation), self.value(observation)

    def logits(self, observation: jax.Array) -> jax.Array:
        """`[..., N]`: logits over actions, or the mean logits over next states."""
        return self.actor(observation)

    def distribution(self, observation: jax.Array) -> Distribution:
        """The distribution of answers at an observation."""
        return self._distribution(self.actor(observation))

    def distribution_parameters(self, observation: jax.Array) -> Any:
        """What that distribution is made of: logits `[..., N]`; a Gaussian's mean and log σ, `[..., N]` each."""
        logits = self.actor(observation)
        if self.head == "gaussian":
            return logits, jnp.broadcast_to(self.log_standard_deviation, logits.shape)
        return logits

    def _distribution(self, logits: jax.Array) -> Distribution:
        if self.head == "gaussian":
            return diagonal_gaussian(logits, self.log_standard_deviation)
        return categorical(logits)

    def likelihood(self, observation: jax.Array, answer: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-probabilities of given answers and entropies, `[...]` each.

        One by one, mapped over a last axis: as in the networks a sum over a few actions is then one over whole vectors.
        """

        def one(logits: jax.Array, answer: jax.Array) -> tuple[jax.Array, jax.Array]:
            distribution = self._distribution(logits)
            return distribution.log_prob(answer), distribution.entropy()

        batch, logits = observation.shape[:-1], self.actor(observation)
        answers = answer.reshape(-1, *answer.shape[len(batch) :])
        found = jax.vmap(one, in_axes=-1)(logits.reshape(-1, logits.shape[-1]).T, answers.T)
        log_probability, entropy = (x.reshape(batch) for x in found)
        return log_probability, entropy

    def value(self, observation: jax.Array) -> jax.Array:
        """`[...]`: the critic's estimate of the return from here."""
        return self.critic(observation)[..., 0]


class Player(NamedTuple):
    """A parametrised strategy as pure functions.

    Attributes:
        init: (key) -> params.
        logits: (params, observation `[..., D]`) -> `[..., N]`.
        distribution: (params, observation) -> distribution of answers.
        distribution_parameters: (params, observation) -> what it is made of, `[..., N]` each: logits, or a Gaussian's
            mean and log σ.
        likelihood: (params, observation, answer) -> log-probability and entropy, `[...]` each.
        value: (params, observation) -> `[...]`.
        head: of the distribution.
        module: the network behind these functions, by value.
    """

    init: Callable[[jax.Array], Params]
    logits: Callable[[Params, jax.Array], jax.Array]
    distribution: Callable[[Params, jax.Array], Distribution]
    distribution_parameters: Callable[[Params, jax.Array], Any]
    likelihood: Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    value: Callable[[Params, jax.Array], jax.Array]
    head: Head
    module: nn.Module


def actor_critic(
    actor: nn.Module,
    critic_hidden: tuple[int, ...],
    head: Head,
    observation_size: int,
    initial_log_standard_deviation: jax.typing.ArrayLike = 0.0,
) -> Player:
    """A `Player` with the given actor and a tanh critic; `critic_hidden = ()` is a linear critic.

    A Gaussian's log σ starts at `initial_log_standard_deviation` `[]`; other heads have none.
    """
    critic = MultiLayerPerceptron(critic_hidden, 1, output_gain=1.0)
    module = ActorCritic(actor, critic, head, initial_log_standard_deviation)

    def call(method: str) -> Callable[..., Any]:
        return lambda params, *inputs: module.apply(params, *inputs, method=method)

    return Player(
        init=lambda key: module.init(key, jnp.zeros(observation_size)),
        logits=call("logits"),
        distribution=call("distribution"),
        distribution_parameters=call("distribution_parameters"),
        likelihood=call("likelihood"),
        value=call("value"),
        head=head,
        module=ActorCritic(actor, critic, head),
    )


_CRITIC, _SPREAD = "critic_module", "log_standard_deviation"  # names of an `ActorCritic`'s parameters


def separated(params: Params) -> tuple[Params, Params]:
    """An `actor_critic`'s parameters as those of its answers and those of its values."""
    parts = params["params"]
    policy = {name: part for name, part in parts.items() if name != _CRITIC}
    return {"params": policy}, {"params": {_CRITIC: parts[_CRITIC]}}


def united(policy: Params, critic: Params) -> Params:
    """The parameters that `separated` took apart."""
    return {"params": {**policy["params"], **critic["params"]}}


def spread_at_least(policy: Params, log_standard_deviation: jax.typing.ArrayLike) -> Params:
    """The parameters of an `actor_critic`'s answers, with a Gaussian's log σ raised to a number `[]` if it is less."""
    parts = policy["params"]
    if _SPREAD not in parts:
        return policy
    return {"params": {**parts, _SPREAD: jnp.maximum(parts[_SPREAD], log_standard_deviation)}}


def with_context(description: jax.Array, observation: jax.Array) -> jax.Array:
    """`[..., C + D]`: the description ω `[C]` in front of each observation `[..., D]`."""
    shape = (*observation.shape[:-1], description.shape[-1])
    return jnp.concatenate([jnp.broadcast_to(description, shape), observation], axis=-1)


def make_actor(seat: Seat, queries: jax.Array, parametrization: Parametrization, hidden: tuple[int, ...]) -> nn.Module:
    """A policy gradient's actor in a seat: a free row of outputs for each of the `queries` `[Q, D]`, or a network."""
    if parametrization == "table":
        return Table(queries, seat.num_outputs, initial_scale=0.01, linear=seat.linear)
    return MultiLayerPerceptron(hidden, seat.num_outputs, output_gain=0.01)
