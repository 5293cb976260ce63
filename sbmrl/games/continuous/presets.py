"""The games in simulated worlds: practical PAL and MAL, scaled to small tasks, and the literal game."""

import dataclasses

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, Preset
from sbmrl.errors import InputError
from sbmrl.games.continuous.checks import outline_of
from sbmrl.games.continuous.ensemble import EnsembleOptions
from sbmrl.games.continuous.model_learner import ENSEMBLE, PHYSICS
from sbmrl.games.continuous.physics import PhysicsOptions
from sbmrl.learners.evolution import EVOLUTION, EvolutionOptions
from sbmrl.learners.natural_policy_gradient import NATURAL_POLICY_GRADIENT, NaturalPolicyGradientOptions
from sbmrl.learners.ppo import PPO, PPOOptions
from sbmrl.schemes.contextual import CONTEXTUAL, ContextualOptions
from sbmrl.schemes.exact import EXACT
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
        raise InputError(
            f"scheme: must be inner_outer in the practical game; --preset literal has {choice.scheme.name}"
        )
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


# A follower meets models from all of the ranges and sees which one it is, so it learns for longer than against one.
_NUM_FOLLOWER_UPDATES = 300
_SEARCH = EvolutionOptions(num_updates=100, population_size=16, learning_rate=0.05, standard_deviation=0.1)


def _literal(choice: Choice) -> Experiment:
    """A few numbers of physics lead, answered by a policy that knows them; a policy that leads learns in the world."""
    horizon = outline_of(choice.kind, choice.env).horizon
    policy = dataclasses.replace(_POLICY, num_repeats=1, num_steps=horizon)
    sizes = policy.num_environments * horizon
    policy_leads = choice.row.leader == "policy"
    learner = choice.learner or (NATURAL_POLICY_GRADIENT if policy_leads else EVOLUTION)
    scheme = choice.scheme or (EXACT if policy_leads else CONTEXTUAL)
    known = {
        NATURAL_POLICY_GRADIENT.name: dataclasses.replace(policy, total_steps=100 * sizes),
        PPO.name: PPOOptions(total_steps=1_000_000, learning_rate=1e-3),
        EVOLUTION.name: _SEARCH,
    }
    leader = known.get(learner.name) or registry.defaults_of(learner, choice.preset)
    choice = choice._replace(scheme=scheme, learner=learner)
    followers = {
        CONTEXTUAL.name: lambda: ContextualOptions(
            dataclasses.replace(policy, total_steps=_NUM_FOLLOWER_UPDATES * sizes), num_leader_pool=100
        ),
        INNER_OUTER.name: lambda: InnerOuterOptions(policy, num_inner_steps=10),
    }
    answer = followers[scheme.name]() if scheme.name in followers else scheme.default(choice, leader)
    game = choice.options(context=learner.heard(leader)[0], data="own", num_test_episodes=16)
    return Experiment(choice.row.name, choice.env, game, answer, leader, num_records=20)


PRESETS = {
    "small": Preset("practical PAL and MAL for tasks of a few hundred steps: 12 iterations", _small),
    "literal": Preset(
        "a model of a few numbers leads, judged on its own policy's data; PAL learns in the world", _literal
    ),
}
