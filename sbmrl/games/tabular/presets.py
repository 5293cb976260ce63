"""Budgets and networks of model-based RL on tabular worlds: the poster's, a fraction, and Rajeswaran et al.'s."""

import dataclasses
from typing import Any

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, Preset
from sbmrl.errors import InputError
from sbmrl.learners.fit import FitOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.learners.natural_policy_gradient import of_rollouts
from sbmrl.learners.policy_gradient import of_ppo
from sbmrl.learners.ppo import PPOOptions
from sbmrl.schemes.contextual import CONTEXTUAL, ContextualOptions
from sbmrl.schemes.inner_outer import INNER_OUTER, InnerOuterOptions

ENV = "simple_mdp_2"

# The reference follower had no entropy bonus and best-responded at the truth in about 80 % of seeds
# (docs/results/follower.md).
_FOLLOWER = PPOOptions(actor_hidden=(8, 8, 8, 8), critic_hidden=(), entropy_coefficient=0.1)
_POLICY_LEADER = PPOOptions(total_steps=100_000, actor_hidden=(8, 8, 8, 8), critic_hidden=())
_MODEL_LEADER = PPOOptions(discount=1.0)
# Where a softmax policy is nearly certain its Fisher information is nearly 0: by the learner's own defaults a step
# then goes much further than δ says, and 9 of 16 fast runs of PAL (exact scheme) end well instead of 16.
_NATURAL = {"step_size": 0.01, "damping": 0.01}
_FAST = {"total_steps": 50_000, "num_epochs": 4, "minibatch_size": 256}

# What differs between the practical PAL and MAL (arXiv 2004.07804, section 5 and appendix; tables instead of networks,
# gradients instead of natural gradients): how fast each side moves, and how much old data the model keeps.
_PRACTICAL: dict[str, tuple[int, dict[str, int]]] = {
    "pal": (25, {"num_initial_transitions": 1000, "num_new_transitions": 250, "buffer_size": 2500}),
    "mal": (20, {"num_initial_transitions": 2500, "num_new_transitions": 500, "buffer_size": 100_000}),
}


def _leader(choice: Choice, learner: registry.LearnerKind) -> Any:
    """A policy gradient has the poster's networks; any other learner its own options for the preset."""
    options = _POLICY_LEADER if choice.row.leader == "policy" else _MODEL_LEADER
    if choice.preset == "fast":
        options = dataclasses.replace(options, **_FAST, learning_rate=2e-3)
    known = {
        "ppo": options,
        "policy_gradient": of_ppo(options),
        "natural_policy_gradient": dataclasses.replace(of_rollouts(options), **_NATURAL),
    }
    return known[learner.name] if learner.name in known else registry.defaults_of(learner, choice.preset)


def _contextual_follower(choice: Choice) -> PPOOptions | FitOptions:
    fast = choice.preset == "fast"
    if choice.only_predicts:
        return FitOptions(total_steps=50_000) if fast else FitOptions()
    return dataclasses.replace(_FOLLOWER, **_FAST, learning_rate=3e-3) if fast else _FOLLOWER


def _build(choice: Choice) -> Experiment:
    """The same response for every formulation, one that the leader's learner can move where it has a derivative."""
    scheme = choice.scheme or CONTEXTUAL
    learner = choice.learner or registry.learner("ppo" if scheme is CONTEXTUAL else "gradient")
    leader = _leader(choice, learner)
    choice = choice._replace(scheme=scheme, learner=learner)
    if scheme is CONTEXTUAL:
        options: Any = ContextualOptions(_contextual_follower(choice))
    else:
        options = scheme.default(choice, leader)
    sampled = learner.differentiates and choice.row.follower == "policy"
    game = choice.options(
        context=learner.heard(leader)[0] if learner.heard(leader) else "answers",
        response="sampled" if sampled else "greedy",
    )
    records = 10 if choice.preset == "fast" else 25
    return Experiment(choice.row.name, choice.env, game, options, leader, num_records=records)


def _practical(choice: Choice) -> Experiment:
    if choice.row.name not in _PRACTICAL:
        raise InputError(f"preset: practical is for {' and '.join(_PRACTICAL)}, got formulation {choice.row.name!r}")
    if choice.scheme not in (None, INNER_OUTER) or (choice.learner and choice.learner.name != "gradient"):
        raise InputError("preset: practical is the inner_outer scheme with a gradient learner")
    num_inner_steps, data = _PRACTICAL[choice.row.name]
    game = choice.options(
        loss="kl",
        data="aggregated",
        context="probabilities",
        response="sampled" if choice.row.follower == "policy" else "greedy",
        **data,
    )
    learner = GradientOptions(learning_rate=0.05)
    return Experiment(choice.row.name, choice.env, game, InnerOuterOptions(learner, num_inner_steps), learner)


PRESETS = {
    "poster": Preset(
        "the reference run's budget and networks (250,000 + 250,000 steps; PAL 167,000 + 100,000)", _build
    ),
    "fast": Preset("50,000 + 50,000 steps with larger updates, for a first look", _build),
    "practical": Preset(
        "PAL and MAL as Rajeswaran et al. run them: aggregated data, first-order, speeds apart", _practical
    ),
}
