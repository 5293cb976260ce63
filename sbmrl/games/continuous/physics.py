"""Families of physics as models: a world's own equations with other masses, lengths and forces.

A leader of a few numbers, log φ `[M]` each, so that all stay positive: ŝ' = step(exp(log φ), s, a). They are fitted by
gradient on the squared normalised differences, as an ensemble is.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from sbmrl.core.game import Info
from sbmrl.core.options import require_counts
from sbmrl.errors import require
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
from sbmrl.games.continuous.normaliser import Normaliser, identity, statistics, targets_of
from sbmrl.games.continuous.replay import Transitions, action_size, decode_action, newest
from sbmrl.games.continuous.simulator import Physics, Rules, Simulator, random_physics


@dataclasses.dataclass(frozen=True)
class PhysicsOptions(FittingOptions):
    """A family of physics fitted to a replay."""

    learning_rate: float = 1e-2
    """Adam's step size, on logarithms."""
    max_gradient_steps: int = 1_000
    """The most gradient steps of a fit; epochs are shortened to it."""
    num_members: int = 1
    """Settings of the physics that are fitted side by side, each from a start of its own."""


class PhysicsModel(struct.PyTreeNode):
    """The strategy of a model player that is a setting of a world's physics.

    Attributes:
        log_physics: name -> `[M]` logarithms, for M members; empty where a world has no numbers.
        normaliser: the units of its errors.
        num_members: M (static).
    """

    log_physics: Physics
    normaliser: Normaliser
    num_members: int = struct.field(pytree_node=False)

    def predict(self, rules: Rules, key: jax.Array | None, observation: jax.Array, action: jax.Array) -> Prediction:
        """As `Model.predict`. A world's noise is the model's too; without a key it is one draw."""
        keys = jax.random.split(jax.random.key(0) if key is None else key, observation.shape[:-1])
        step = rules.step
        for _ in observation.shape[1:-1]:
            step = jax.vmap(step, (0, None, 0, 0))
        following = jax.vmap(step)(keys, jax.tree.map(jnp.exp, self.log_physics), observation, action)
        return make_possible(rules, following)

    def loss(self, rules: Rules, transitions: Transitions, valid: jax.Array) -> jax.Array:
        """As `Model.loss`."""

        def of_member(log_physics: Physics) -> jax.Array:
            squares = _squared_errors(rules, self.normaliser, log_physics, transitions)
            return masked_mean(rules.judged(squares), valid)

        return jax.vmap(of_member, axis_size=self.num_members)(self.log_physics)


def model_of(simulator: Simulator) -> PhysicsModel:
    """The world itself as a model of one member."""
    sizes = simulator.rules.observation_size, action_size(simulator.rules.actions)
    return PhysicsModel({name: jnp.log(value)[None] for name, value in simulator.physics.items()}, identity(*sizes), 1)


def require_ranges(simulator: Simulator) -> None:
    """Raise `InputError` unless the world has numbers that can be fitted or chosen."""
    require(bool(simulator.rules.ranges), "env", "must have physics that can be fitted", repr(simulator.name))


def make_physics_family(simulator: Simulator, options: PhysicsOptions) -> ModelFamily:
    """The physics of the world's `ranges`, from which the first are drawn log-uniformly.

    Raises:
        InputError: the world has no physics to fit.
    """
    require_ranges(simulator)
    rules, optimizer = simulator.rules, make_optimizer(options)

    def init_member(key: jax.Array) -> Fitted:
        params = jax.tree.map(jnp.log, random_physics(key, simulator).physics)
        return Fitted(params, optimizer.init(params))

    def init(key: jax.Array) -> ModelState:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(options.num_members))
        params, optimizer_state = jax.vmap(init_member)(keys)
        normaliser = identity(rules.observation_size, action_size(rules.actions))
        return ModelState(PhysicsModel(params, normaliser, options.num_members), optimizer_state)

    def fit(
        key: jax.Array, state: ModelState, data: Data, num_new: int, reward: Reward | None
    ) -> tuple[ModelState, Info]:
        before = state.model.loss(rules, *newest(data[0][0], num_new))
        normaliser = statistics(data[0][0], "absolute")
        sources = [Source(replay, replay.transitions, weight) for replay, weight in data]
        started = Fitted(state.model.log_physics, state.optimizer_state)

        def paid(key: jax.Array, log_physics: Physics) -> jax.Array:
            assert reward is not None
            return reward(key, PhysicsModel(jax.tree.map(lambda x: x[None], log_physics), normaliser, 1))

        bonus = paid if reward else None
        fitted, info = fit_members(key, started, sources, _objective(rules, normaliser), options, bonus)
        model = PhysicsModel(fitted.params, normaliser, options.num_members)
        return ModelState(model, fitted.optimizer_state), info | {"loss_on_new": before}

    return ModelFamily(init, fit)


def _squared_errors(rules: Rules, normaliser: Normaliser, log_physics: Physics, rows: Transitions) -> jax.Array:
    """`[n, D]`: of one member's normalised differences."""
    physics = jax.tree.map(jnp.exp, log_physics)
    action = decode_action(rules.actions, rows.action)
    # A world's noise, where it has any, is one draw: a loss of fresh draws could not be compared between epochs.
    following = jax.vmap(rules.step, (None, None, 0, 0))(jax.random.key(0), physics, rows.observation, action)
    predicted = targets_of(normaliser, rows._replace(next_observation=following))
    return (predicted - targets_of(normaliser, rows)) ** 2


def _objective(rules: Rules, normaliser: Normaliser) -> Objective:
    def errors(log_physics: Physics, rows: Transitions) -> jax.Array:
        return jnp.mean(_squared_errors(rules, normaliser, log_physics, rows), axis=-1)

    return Objective(errors, 0.0, errors)


def check(options: PhysicsOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    fitting.check(options, where)
    require_counts(options, where, "num_members")
