"""What a set of models is: something that is fitted to a replay and predicts; a game can hold any of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from sbmrl.core.game import Info
from sbmrl.games.continuous.replay import Replay, Transitions
from sbmrl.games.continuous.simulator import Rules

Data = Sequence[tuple[Replay, jax.typing.ArrayLike]]
Reward = Callable[[jax.Array, "Model"], jax.Array]
LIMIT = 100.0  # in the world's units; imagined states stay within ± this (Rajeswaran et al.'s code)


class Model(Protocol):
    """A strategy of the model player: a pytree whose parameters have an axis of members M in front."""

    @property
    def num_members(self) -> int:
        """M."""
        ...

    def predict(self, rules: Rules, key: jax.Array | None, observation: jax.Array, action: jax.Array) -> "Prediction":
        """Each member's of its own part of `[M, ..., D]` and of actions `[M, ...]`; without a key (None) the mean."""
        ...

    def loss(self, rules: Rules, transitions: Transitions, valid: jax.Array) -> jax.Array:
        """`[M]`: mean squared error, in the model's own units, over those of `[n, ...]` that are `valid` `[n]`.

        Of the numbers seen, those that `rules` call predictable count.
        """
        ...


class ModelState(NamedTuple):
    """Carried from fit to fit.

    Attributes:
        model: the strategy, a `Model` of the family's own class.
        optimizer_state: of each member, `[M, ...]`.
    """

    model: Any
    optimizer_state: Any


class Prediction(NamedTuple):
    """What members say of a step.

    Attributes:
        observation: `[M, ..., D]` what follows, possible in the world.
        clamped: `[M, ...]` bool, it was beyond ±`LIMIT` before.
    """

    observation: jax.Array
    clamped: jax.Array


class ModelFamily(NamedTuple):
    """A set of models of a world and how one of them is chosen.

    Attributes:
        init: (key) -> state.
        fit: (key, state, data, n, reward) -> (state, info); the data are replays with weights, the first that of the
            policies, and the reward (key, model of one member) -> `[]` is what is wanted beside the fit, if anything
            is. The info holds `[M]` numbers: `num_epochs`, `training_loss`
            and `holdout_loss` of the fit, and `loss_on_new`, that on the newest n transitions *before* it. The last two
            are means of squared normalised errors, whatever was lowered; of several replays with their weights.
    """

    init: Callable[[jax.Array], ModelState]
    fit: Callable[[jax.Array, ModelState, Data, int, Reward | None], tuple[ModelState, Info]]


def make_possible(rules: Rules, observation: jax.Array) -> Prediction:
    """What was predicted, `[..., D]`, clamped to ±`LIMIT` and then projected to what can be seen in the world."""
    clamped = jnp.any(jnp.abs(observation) > LIMIT, axis=-1)
    project = jnp.vectorize(rules.project, signature="(d)->(d)")
    return Prediction(project(jnp.clip(observation, -LIMIT, LIMIT)), clamped)
