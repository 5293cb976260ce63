"""Fitting a model to all data so far, as a leader and as a follower: ensembles of networks, and families of physics."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.core.game import Info, Outcome, Profile
from sbmrl.core.learner import Learner, Task, Trainee
from sbmrl.core.parts import LearnerKind
from sbmrl.games.continuous import ensemble, physics
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble
from sbmrl.games.continuous.family import ModelFamily, ModelState
from sbmrl.games.continuous.fitting import FittingOptions
from sbmrl.games.continuous.physics import PhysicsOptions, make_physics_family
from sbmrl.games.continuous.simulator import Simulator


def _builder(make_family: Callable[[Simulator, Any], ModelFamily]) -> Callable[[Task, FittingOptions], Trainee]:
    """(task, options) -> a model of the task's world; it begins fitted to the first data."""

    def build(task: Task, options: FittingOptions) -> Trainee:
        family = make_family(task.game.world, options)

        def fit(key: jax.Array, state: ModelState, opponent: Outcome) -> tuple[ModelState, Info]:
            profile: Profile = opponent(state.model)
            new, info = family.fit(key, state, profile["data"], options.num_new)
            return new, jax.tree.map(lambda x: jnp.mean(x.astype(float)), info)

        def init(key: jax.Array, opponent: Outcome) -> ModelState:
            key_init, key_fit = jax.random.split(key)
            return fit(key_fit, family.init(key_init), opponent)[0]

        return Trainee(Learner(init, fit, lambda state: state.model, 1), lambda params, description: params)

    return build


ENSEMBLE = LearnerKind(
    name="ensemble",
    summary="an ensemble of networks, fitted to all transitions so far; for models of simulated worlds",
    options=EnsembleOptions,
    build=_builder(lambda simulator, options: make_ensemble(simulator.rules, options)),
    check=ensemble.check,
    follows=True,
    predicts=True,
    kind="continuous",
    steps="fits of the model",
)
PHYSICS = ENSEMBLE._replace(
    name="physics",
    summary="masses, lengths and forces of a simulated world, fitted to all transitions so far",
    options=PhysicsOptions,
    build=_builder(make_physics_family),
    check=physics.check,
)
