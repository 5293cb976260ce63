"""Ensembles of networks that predict the difference of two observations (Rajeswaran, Mordatch, Kumar 2020).

    ŝ' = s + mean + scale·f(θ_i, (s, a) normalised)

Members differ by their first parameters and by the minibatches that they draw. All train and predict in one batched
product each. The squared head has the loss mean (f − y)², y the normalised difference; the Gaussian one

    mean ((f − y)²·e^{−v} + v),   v = bounded(log variance) in −10..0.5   (mbrl-lib, with its bounds fixed)
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from sbmrl.core.game import Info
from sbmrl.core.options import require_counts
from sbmrl.core.players import MultiLayerPerceptron, Params
from sbmrl.games.continuous import fitting
from sbmrl.games.continuous.family import Data, ModelFamily, ModelState, Prediction, Reward, make_possible
from sbmrl.games.continuous.fitting import (
    Fitted,
    FittingOptions,
    Objective,
    Source,
    fit_members,
    make_optimizer,
    masked_mean,
)
from sbmrl.games.continuous.normaliser import (
    Deviation,
    Normaliser,
    following_of,
    identity,
    inputs_of,
    statistics,
    targets_of,
)
from sbmrl.games.continuous.replay import Transitions, action_size, encode_action, newest
from sbmrl.games.continuous.simulator import Rules

ErrorHead = Literal["squared", "gaussian"]
LOWEST, HIGHEST = -10.0, 0.5  # log variance of a normalised difference


@dataclasses.dataclass(frozen=True)
class EnsembleOptions(FittingOptions):
    """An ensemble of networks fitted to a replay."""

    num_members: int = 4
    """Networks of the ensemble."""
    hidden: tuple[int, ...] = (512, 512)
    """Widths of each network's hidden layers."""
    activation: Literal["relu", "swish", "tanh"] = "relu"
    """What follows each hidden layer."""
    head: ErrorHead = "squared"
    """What is fitted: the mean by squared errors, or mean and variance by Gaussian likelihood."""
    deviation: Deviation = "absolute"
    """What scales inputs and differences: the mean absolute deviation, or the standard deviation."""
    renormalise: bool = True
    """Every fit takes means and scales from the replay anew; else they stay as the state has them."""


class Network(NamedTuple):
    """What one member is, without its numbers."""

    hidden: tuple[int, ...]
    activation: str
    head: ErrorHead
    observation_size: int

    def module(self) -> MultiLayerPerceptron:
        """The network itself; a Gaussian's log variances come behind its means."""
        num_outputs = self.observation_size * (2 if self.head == "gaussian" else 1)
        return MultiLayerPerceptron(self.hidden, num_outputs, output_gain=1.0, activation=self.activation)


class EnsembleModel(struct.PyTreeNode):
    """The strategy of a model player that is an ensemble.

    Attributes:
        params: of the networks, each array with an axis of members M in front.
        normaliser: of all members.
        network: what each member is (static).
    """

    params: Params
    normaliser: Normaliser
    network: Network = struct.field(pytree_node=False)

    @property
    def num_members(self) -> int:
        """M."""
        return jax.tree.leaves(self.params)[0].shape[0]

    def predict(self, rules: Rules, key: jax.Array | None, observation: jax.Array, action: jax.Array) -> Prediction:
        """As `Model.predict`."""
        inputs = inputs_of(self.normaliser, observation, encode_action(rules.actions, action))
        with jax.default_matmul_precision("float32"):
            target, log_variance = jax.vmap(outputs_of, (None, 0, 0))(self.network, self.params, inputs)
        if key is not None and log_variance is not None:
            target += jnp.exp(log_variance / 2) * jax.random.normal(key, target.shape)
        return make_possible(rules, following_of(self.normaliser, observation, target))

    def loss(self, rules: Rules, transitions: Transitions, valid: jax.Array) -> jax.Array:
        """As `Model.loss`."""
        inputs, targets = _rows(self.normaliser, transitions)

        def of_member(params: Params) -> jax.Array:
            mean, _ = outputs_of(self.network, params, inputs)
            return masked_mean(rules.judged((mean - targets) ** 2), valid)

        with jax.default_matmul_precision("float32"):
            return jax.vmap(of_member)(self.params)


def bounded(log_variance: jax.Array) -> jax.Array:
    """Softly between `LOWEST` and `HIGHEST`, with a gradient everywhere."""
    below = HIGHEST - jax.nn.softplus(HIGHEST - log_variance)
    return LOWEST + jax.nn.softplus(below - LOWEST)


def outputs_of(network: Network, params: Params, inputs: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """One member's normalised difference and its log variance, `[..., D]` each; the squared head has no variance."""
    outputs: jax.Array = network.module().apply(params, inputs)  # pyright: ignore[reportAssignmentType]
    if network.head == "squared":
        return outputs, None
    mean, log_variance = jnp.split(outputs, 2, axis=-1)
    return mean, bounded(log_variance)


def make_ensemble(rules: Rules, options: EnsembleOptions) -> ModelFamily:
    """Ensembles for the observations and actions of a world."""
    network = Network(options.hidden, options.activation, options.head, rules.observation_size)
    sizes = rules.observation_size, action_size(rules.actions)
    optimizer = make_optimizer(options)

    def init_member(key: jax.Array) -> Fitted:
        params = network.module().init(key, jnp.zeros(sum(sizes)))
        return Fitted(params, optimizer.init(params))

    def init(key: jax.Array) -> ModelState:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(options.num_members))
        params, optimizer_state = jax.vmap(init_member)(keys)
        return ModelState(EnsembleModel(params, identity(*sizes), network), optimizer_state)

    def fit(
        key: jax.Array, state: ModelState, data: Data, num_new: int, reward: Reward | None
    ) -> tuple[ModelState, Info]:
        objective, kept = _objective(network), data[0][0]
        before = state.model.loss(rules, *newest(kept, num_new))
        normaliser = statistics(kept, options.deviation) if options.renormalise else state.model.normaliser
        sources = [Source(replay, _rows(normaliser, replay.transitions), weight) for replay, weight in data]
        started = Fitted(state.model.params, state.optimizer_state)

        def paid(key: jax.Array, params: Params) -> jax.Array:
            assert reward is not None
            return reward(key, EnsembleModel(jax.tree.map(lambda x: x[None], params), normaliser, network))

        # A GPU would round to 10 bits, of which little is left in a small difference.
        with jax.default_matmul_precision("float32"):
            fitted, info = fit_members(key, started, sources, objective, options, paid if reward else None)
        model = EnsembleModel(fitted.params, normaliser, network)
        return ModelState(model, fitted.optimizer_state), info | {"loss_on_new": before}

    return ModelFamily(init, fit)


def _rows(normaliser: Normaliser, transitions: Transitions) -> tuple[jax.Array, jax.Array]:
    inputs = inputs_of(normaliser, transitions.observation, transitions.action)
    return inputs, targets_of(normaliser, transitions)


def _objective(network: Network) -> Objective:
    def errors(params: Params, rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        mean, _ = outputs_of(network, params, rows[0])
        return jnp.mean((mean - rows[1]) ** 2, axis=-1)

    def surprises(params: Params, rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        mean, log_variance = outputs_of(network, params, rows[0])
        assert log_variance is not None
        return jnp.mean((mean - rows[1]) ** 2 * jnp.exp(-log_variance) + log_variance, axis=-1)

    return Objective(surprises, LOWEST, errors) if network.head == "gaussian" else Objective(errors, 0.0, errors)


def check(options: EnsembleOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    fitting.check(options, where)
    require_counts(options, where, "num_members", "hidden")
