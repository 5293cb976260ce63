"""Practical PAL and MAL in simulated worlds: as Rajeswaran et al.'s code has them, and scaled to small tasks."""

import dataclasses

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, Preset
from sbmrl.errors import InputError
from sbmrl.games.continuous.checks import outline_of
from sbmrl.games.continuous.ensemble import EnsembleOptions
from sbmrl.games.continuous.model_learner import ENSEMBLE, PHYSICS
from sbmrl.games.continuous.physics import PhysicsOptions
from sbmrl.learners.natural_policy_gradient import NATURAL_POLICY_GRADIENT, NaturalPolicyGradientOptions
from sbmrl.schemes.inner_outer import INNER_OUTER, InnerOuterOptions

ENV = "gymnax:Pendulum-v1"
_NUM_ITERATIONS = 12

# The critic is fitted twice over in small minibatches. With one pass in large ones policies relapse, and more so with
# the paper's δ = .05 (docs/continuous.md).
_POLICY = NaturalPolicyGradientOptions(
    num_environments=100,
    actor_hidden=(32, 32),
    critic_hidden=(64, 64),
    num_repeats=10,
    num_fisher_samples=2000,
    initial_log_standard_deviation=-0.3,
    min_log_standard_deviation=-2.0,
    step_size=0.02,
    value_minibatch_size=100,
    value_epochs=2,
)
_MODEL = EnsembleOptions(
    hidden=(64, 64),
    activation="swish",
    num_epochs=10,
    minibatch_size=256,
    max_gradient_steps=800,
    num_updates=_NUM_ITERATIONS,
)


def _small(choice: Choice) -> Experiment:
    """Twelve iterations: five real episodes to begin with, two more in each, imagined ones as long as real ones."""
    if choice.scheme not in (None, INNER_OUTER):
        raise InputError(f"scheme: must be inner_outer in {choice.env}, whose games are practical")
    horizon = outline_of(choice.kind, choice.env).horizon
    steps = _NUM_ITERATIONS * _POLICY.num_repeats * _POLICY.num_environments * horizon
    policy = dataclasses.replace(_POLICY, num_steps=horizon, total_steps=steps)
    if choice.row.leader == "policy":
        options = {NATURAL_POLICY_GRADIENT.name: policy}
        scheme = InnerOuterOptions(_MODEL, num_inner_steps=1)
    else:
        options = {ENSEMBLE.name: _MODEL, PHYSICS.name: PhysicsOptions(num_updates=_NUM_ITERATIONS)}
        scheme = InnerOuterOptions(dataclasses.replace(policy, num_repeats=1), num_inner_steps=20)
    wanted = choice.learner or registry.learner(next(iter(options)))
    if wanted.name not in options:
        allowed = " or ".join(options)
        raise InputError(f"learner: must be {allowed} for the leader of {choice.row.name} in {choice.env}")
    leader = options[wanted.name]
    game = choice.options(context=wanted.heard(leader)[0], buffer_size=6000)
    return Experiment(choice.row.name, choice.env, game, scheme, leader, num_records=_NUM_ITERATIONS)


PRESETS = {"small": Preset("practical PAL and MAL for tasks of a few hundred steps: 12 iterations", _small)}
