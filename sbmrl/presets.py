"""Named experiments: budgets and networks for every formulation, scheme and learner."""

import dataclasses
from typing import cast

from sbmrl.config import SCHEMES, Experiment, SchemeName, formulation_of
from sbmrl.errors import InputError, require_known
from sbmrl.formulations import FORMULATIONS
from sbmrl.options import (
    LEARNERS,
    ExactOptions,
    FitOptions,
    FollowerOptions,
    GradientOptions,
    ImplicitOptions,
    LeaderOptions,
    PPOOptions,
)

PRESETS = {
    "poster": "the reference run's budget and networks (250,000 + 250,000 steps; PAL 167,000 + 100,000)",
    "fast": "50,000 + 50,000 steps with larger updates, for a first look",
    "practical": "PAL and MAL as Rajeswaran et al. run them: aggregated data, first-order, speeds apart",
}

# The reference follower had no entropy bonus and best-responded at the truth in about 80 % of seeds (docs/results.md).
_POSTER_FOLLOWER = PPOOptions(actor_hidden=(8, 8, 8, 8), critic_hidden=(), entropy_coefficient=0.1)
_POSTER_POLICY_LEADER = PPOOptions(total_steps=100_000, actor_hidden=(8, 8, 8, 8), critic_hidden=())
_POSTER_MODEL_LEADER = PPOOptions(discount=1.0)
_FAST = {"total_steps": 50_000, "num_epochs": 4, "minibatch_size": 256}

# What differs between the practical PAL and MAL (arXiv 2004.07804, section 5 and appendix; tables instead of networks,
# gradients instead of natural gradients): how fast each side moves, and how much old data the model keeps.
_PRACTICAL = {
    "pal": Experiment(num_inner_steps=25, num_initial_transitions=1000, num_new_transitions=250, buffer_size=2500),
    "mal": Experiment(num_inner_steps=20, num_initial_transitions=2500, num_new_transitions=500, buffer_size=100_000),
}


def preset(
    name: str = "poster", formulation: str = "mal", scheme: str | None = None, learner: str | None = None
) -> Experiment:
    """A preset experiment.

    Args:
        name: "poster" (the reference run's budget), "fast" (a fraction of it) or "practical" (Rajeswaran et al.).
        formulation: a row of the formulation table.
        scheme: how the follower answers; "contextual" unless the preset is practical, which is "inner_outer".
        learner: how the leader learns; PPO for the contextual scheme and gradient for the others, where not said.

    Raises:
        InputError: an unknown name, with the nearest known one, or a practical preset of another formulation.
    """
    require_known(name, "preset", PRESETS)
    require_known(formulation, "formulation", FORMULATIONS)
    if name == "practical":
        return _practical(formulation, scheme, learner)
    scheme = scheme or "contextual"
    require_known(scheme, "scheme", SCHEMES)
    learner = learner or ("ppo" if scheme == "contextual" else "gradient")
    require_known(learner, "learner", LEARNERS)
    experiment = Experiment(formulation, scheme=cast(SchemeName, scheme))
    return dataclasses.replace(
        experiment,
        leader=_leader(formulation, learner, name),
        follower=_follower(formulation, scheme, learner, name),
        response="sampled" if learner == "gradient" else "greedy",
        unroll=experiment.num_inner_steps if scheme == "inner_outer" else 0,
        num_records=10 if name == "fast" else 25,
    )


def _leader(formulation: str, learner: str, name: str) -> LeaderOptions:
    options = LEARNERS[learner][0]()
    if not isinstance(options, PPOOptions):
        return dataclasses.replace(options, num_updates=200) if name == "fast" else options
    policy_leads = FORMULATIONS[formulation].leader == "policy"
    options = _POSTER_POLICY_LEADER if policy_leads else _POSTER_MODEL_LEADER
    return dataclasses.replace(options, **_FAST, learning_rate=2e-3) if name == "fast" else options


def _follower(formulation: str, scheme: str, learner: str, name: str) -> FollowerOptions:
    """The same response for every formulation, one that the leader's learner can move where it has a derivative."""
    if scheme == "exact":
        return ExactOptions(backup="soft" if learner == "gradient" else "hard")
    if scheme != "contextual":
        return GradientOptions() if scheme == "inner_outer" else ImplicitOptions()
    if set(formulation_of(Experiment(formulation)).follower_wants) == {"fit"}:
        return FitOptions(total_steps=50_000) if name == "fast" else FitOptions()
    return dataclasses.replace(_POSTER_FOLLOWER, **_FAST, learning_rate=3e-3) if name == "fast" else _POSTER_FOLLOWER


def _practical(formulation: str, scheme: str | None, learner: str | None) -> Experiment:
    if formulation not in _PRACTICAL:
        raise InputError(f"preset: practical is for {' and '.join(_PRACTICAL)}, got formulation {formulation!r}")
    if scheme not in (None, "inner_outer") or learner not in (None, "gradient"):
        raise InputError("preset: practical is the inner_outer scheme with a gradient learner")
    return dataclasses.replace(
        _PRACTICAL[formulation],
        formulation=formulation,
        scheme="inner_outer",
        data="aggregated",
        loss="kl",
        response="sampled",
        leader=GradientOptions(learning_rate=0.05),
        follower=GradientOptions(learning_rate=0.05),
    )
