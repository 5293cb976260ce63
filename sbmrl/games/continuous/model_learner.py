"""Fitting a model to all data so far, as a leader and as a follower: ensembles of networks, and families of physics.

What is lowered is what the formulation wants, with its weights:

    w_fit·loss(data of the policies) + w_random·loss(data of random actions) − w_return·J(π, M̂)

J is followed by its derivative through a few imagined steps of the present policy, whose answer to the model is held
fixed: (T/H)·E[Σ_{t<H} r_t] from states of the replay, for a horizon T.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.core.game import Acting, Info, Outcome, Profile
from sbmrl.core.learner import Learner, Task, Trainee
from sbmrl.core.parts import LearnerKind
from sbmrl.games.continuous import ensemble, physics
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble
from sbmrl.games.continuous.episodes import EpisodeState, imagined_environment, meant, play_from
from sbmrl.games.continuous.family import Model, ModelFamily, ModelState, Reward
from sbmrl.games.continuous.fitting import FittingOptions
from sbmrl.games.continuous.physics import PhysicsOptions, make_physics_family
from sbmrl.games.continuous.replay import Replay, draw
from sbmrl.games.continuous.simulator import Simulator


def imagined_return(
    simulator: Simulator, policy: Acting, replay: Replay, num_steps: int, num_starts: int
) -> Callable[[jax.Array, Model], jax.Array]:
    """(key, model of one member) -> `[]` J(π, M̂) by a few steps from states of the replay, differentiable in M̂."""
    short = simulator.replace(horizon=num_steps)

    def estimate(key: jax.Array, model: Model) -> jax.Array:
        key_starts, key_play = jax.random.split(key)
        seen = replay.transitions.observation[draw(key_starts, replay, (num_starts,), 0)]
        starts = seen, EpisodeState(seen, jnp.zeros(num_starts, jnp.int32))
        environment = imagined_environment(short, model, "fixed")
        returns = play_from(key_play, environment, short, meant(policy), starts).returns
        return simulator.horizon / num_steps * jnp.mean(returns)

    return estimate


def _builder(make_family: Callable[[Simulator, Any], ModelFamily]) -> Callable[[Task, FittingOptions], Trainee]:
    """(task, options) -> a model of the task's world; it begins fitted to the first data."""

    def build(task: Task, options: FittingOptions) -> Trainee:
        simulator: Simulator = task.game.world
        family, wants = make_family(simulator, options), task.wants

        def reward_of(profile: Profile) -> Reward | None:
            if "model_return" not in wants:
                return None
            sizes = min(options.num_reward_steps, simulator.horizon), options.num_reward_starts
            estimate = imagined_return(simulator, profile["policy"], profile["data"], *sizes)
            return lambda key, model: wants["model_return"] * estimate(key, model)

        def fit(key: jax.Array, state: ModelState, opponent: Outcome) -> tuple[ModelState, Info]:
            profile: Profile = opponent(state.model)
            data = [(profile["data"], wants["data_fit"])]
            if "random_fit" in wants:
                data.append((profile["random"], wants["random_fit"]))
            new, info = family.fit(key, state, data, options.num_new, reward_of(profile))
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
