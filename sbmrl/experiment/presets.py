"""Named experiments: budgets and networks for every formulation, scheme and learner."""

import dataclasses
from typing import cast

from sbmrl.core.experiment import SCHEMES, Context, Experiment, SchemeName, formulation_of
from sbmrl.errors import InputError, require_known
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.core.options import (
    LEARNERS,
    EvolutionOptions,
    ExactOptions,
    FitOptions,
    FollowerOptions,
    GradientOptions,
    ImplicitOptions,
    LeaderOptions,
    PPOOptions,
    QLearningOptions,
    plain_policy_gradient,
    plays,
)

PRESETS = {
    "poster": "the reference run's budget and networks (250,000 + 250,000 steps; PAL 167,000 + 100,000)",
    "fast": "50,000 + 50,000 steps with larger updates, for a first look",
    "practical": "PAL and MAL as Rajeswaran et al. run them: aggregated data, first-order, speeds apart",
    "oracles_followers": "the iterated matrix games of Gerstgrasser & Parkes (contextual: 100,000 + 300,000 steps)",
}

_BY_PPO = ("ppo", "policy_gradient")

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


# γ = 1 and λ = 1 as Gerstgrasser & Parkes have them, and no more steps than theirs; rollouts are whole episodes of 5
# queries and 10 steps. Their batch of 1,000 steps is not enough for `hero` (docs/matrix_games.md).
_MATRIX_LEADER = PPOOptions(
    total_steps=307_200,
    num_environments=128,
    num_steps=60,
    minibatch_size=7680,
    num_epochs=10,
    parametrization="table",
    critic_hidden=(),
    learning_rate=8e-3,
    discount=1.0,
    gae_lambda=1.0,
    clip_range=0.3,
    entropy_coefficient=0.05,
)
_MATRIX_FOLLOWER = PPOOptions(
    total_steps=102_400,
    num_environments=64,
    num_steps=80,
    minibatch_size=640,
    num_epochs=10,
    actor_hidden=(32, 32),
    critic_hidden=(32, 32),
    learning_rate=3e-3,
    discount=1.0,
    gae_lambda=1.0,
    entropy_coefficient=0.05,
)
# One whole episode of 80 · 10 queries and 10 steps in each environment; with the bonus above it would not learn at all.
_Q_LEADER = {
    "total_steps": 3_000_000,
    "num_environments": 16,
    "num_steps": 810,
    "minibatch_size": 12_960,
    "learning_rate": 5e-3,
    "entropy_coefficient": 0.003,
}


def default_preset(formulation: str) -> str:
    """The preset of a formulation where none is named."""
    known = formulation in FORMULATIONS and FORMULATIONS[formulation].kind == "matrix"
    return "oracles_followers" if known else "poster"


def preset(
    name: str = "poster", formulation: str = "mal", scheme: str | None = None, learner: str | None = None
) -> Experiment:
    """A preset experiment.

    Args:
        name: "poster" (the reference run's budget), "fast" (a fraction of it), "practical" (Rajeswaran et al.) or, for
            matrix games, "oracles_followers" (Gerstgrasser & Parkes).
        formulation: a row of the formulation table.
        scheme: how the follower answers; "contextual" unless the preset is practical, which is "inner_outer".
        learner: how the leader learns; if not said, PPO with a contextual scheme or in a matrix game, else gradient.

    Raises:
        InputError: an unknown name, with the nearest known one, or a preset that is not for the formulation.
    """
    require_known(name, "preset", PRESETS)
    require_known(formulation, "formulation", FORMULATIONS)
    matrix = FORMULATIONS[formulation].kind == "matrix"
    if name == "practical":
        return _practical(formulation, scheme, learner)
    if matrix != (name == "oracles_followers") and name != "fast":
        raise InputError(f"preset: {name} is not for the formulation {formulation}; use {default_preset(formulation)}")
    scheme = scheme or "contextual"
    require_known(scheme, "scheme", SCHEMES)
    learner = learner or ("ppo" if scheme == "contextual" or matrix else "gradient")
    require_known(learner, "learner", LEARNERS)
    experiment = Experiment(formulation, scheme=cast(SchemeName, scheme))
    if matrix:
        return _matrix(experiment, learner, name)
    leader = _leader(formulation, learner, name)
    return dataclasses.replace(
        experiment,
        context=_context(leader),
        leader=leader,
        follower=_follower(formulation, scheme, learner, name),
        response="sampled" if learner == "gradient" else "greedy",
        unroll=experiment.num_inner_steps if scheme == "inner_outer" else 0,
        num_records=10 if name == "fast" else 25,
    )


def _context(leader: LeaderOptions) -> Context:
    return "answers" if plays(leader) else "probabilities"


def _leader(formulation: str, learner: str, name: str) -> LeaderOptions:
    if learner not in _BY_PPO:
        return _of_exact_payoffs(learner, name)
    policy_leads = FORMULATIONS[formulation].leader == "policy"
    options = _POSTER_POLICY_LEADER if policy_leads else _POSTER_MODEL_LEADER
    if name == "fast":
        options = dataclasses.replace(options, **_FAST, learning_rate=2e-3)
    return plain_policy_gradient(options) if learner == "policy_gradient" else options


def _of_exact_payoffs(learner: str, name: str) -> GradientOptions | EvolutionOptions:
    options = GradientOptions() if learner == "gradient" else EvolutionOptions()
    return dataclasses.replace(options, num_updates=200) if name == "fast" else options


def _matrix(experiment: Experiment, learner: str, name: str) -> Experiment:
    """A matrix game: the prisoner's dilemma, unless another one is named."""
    scheme = experiment.scheme
    leader = _MATRIX_LEADER if learner in _BY_PPO else _of_exact_payoffs(learner, name)
    if isinstance(leader, EvolutionOptions):  # of played episodes, so that it is heard as PPO is
        leader = dataclasses.replace(leader, num_updates=100, num_episodes=10, standard_deviation=1.0)
    follower: FollowerOptions = _MATRIX_FOLLOWER
    if scheme == "exact":
        follower = ExactOptions(clock=False, tie_breaking="optimistic")
    elif scheme == "inner_outer":
        follower = GradientOptions() if learner == "gradient" else QLearningOptions()
    elif scheme == "implicit":
        follower = ImplicitOptions()
    if isinstance(leader, PPOOptions):
        if isinstance(follower, QLearningOptions):
            leader = dataclasses.replace(leader, **_Q_LEADER)
        if name == "fast":
            leader = dataclasses.replace(leader, total_steps=leader.total_steps // 4)
        if learner == "policy_gradient":
            leader = plain_policy_gradient(dataclasses.replace(leader, num_environments=32, learning_rate=0.05))
    if isinstance(follower, PPOOptions) and name == "fast":
        follower = dataclasses.replace(follower, total_steps=follower.total_steps // 2)
    unrolled = isinstance(follower, GradientOptions)
    return dataclasses.replace(
        experiment,
        env="prisoners_dilemma",
        context=_context(leader),
        leader=leader,
        follower=follower,
        response="sampled" if learner == "gradient" and scheme != "exact" else "greedy",
        unroll=experiment.num_inner_steps if unrolled else 0,
        num_records=10 if name == "fast" else 50 if isinstance(follower, QLearningOptions) else 20,
    )


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
        context="probabilities",
        leader=GradientOptions(learning_rate=0.05),
        follower=GradientOptions(learning_rate=0.05),
    )
