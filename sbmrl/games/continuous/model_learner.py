"""Fitting an ensemble to all data so far: the practical model, as a leader and as a follower."""

import dataclasses

import jax
import jax.numpy as jnp

from sbmrl.core.game import Info, Outcome, Profile
from sbmrl.core.learner import Learner, Task, Trainee
from sbmrl.core.options import require_count
from sbmrl.core.parts import LearnerKind
from sbmrl.games.continuous import ensemble
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble
from sbmrl.games.continuous.family import ModelState


@dataclasses.dataclass(frozen=True)
class EnsembleLearnerOptions(EnsembleOptions):
    """An ensemble of networks, fitted anew to all data at each step."""

    num_updates: int = 25
    """Fits as a leader, each with new data of the policy (rounded up to whole records)."""
    num_new: int = 200
    """The newest transitions, on which the loss before a fit is told."""


def build(task: Task, options: EnsembleLearnerOptions) -> Trainee:
    """The ensemble of a task's world; it begins fitted to the first data."""
    family = make_ensemble(task.game.world.rules, options)

    def fit(key: jax.Array, state: ModelState, opponent: Outcome) -> tuple[ModelState, Info]:
        profile: Profile = opponent(state.model)
        new, info = family.fit(key, state, profile["data"], options.num_new)
        return new, jax.tree.map(lambda x: jnp.mean(x.astype(float)), info)

    def init(key: jax.Array, opponent: Outcome) -> ModelState:
        key_init, key_fit = jax.random.split(key)
        return fit(key_fit, family.init(key_init), opponent)[0]

    return Trainee(Learner(init, fit, lambda state: state.model, 1), lambda params, description: params)


def check(options: EnsembleLearnerOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    ensemble.check(options, where)
    require_count(options.num_updates, f"{where}num_updates")
    require_count(options.num_new, f"{where}num_new")


ENSEMBLE = LearnerKind(
    name="ensemble",
    summary="an ensemble of networks, fitted to all transitions so far; for models of simulated worlds",
    options=EnsembleLearnerOptions,
    build=build,
    check=check,
    follows=True,
    predicts=True,
    kind="continuous",
    steps="fits of the model",
)
