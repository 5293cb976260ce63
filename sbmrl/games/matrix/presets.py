"""Budgets and networks of iterated matrix games: those of Gerstgrasser & Parkes (2023), and a fraction of them."""

import dataclasses
from typing import Any

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, LearnerKind, Preset
from sbmrl.games.matrix.q_learning import QLearningOptions
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GRADIENT
from sbmrl.learners.natural_policy_gradient import of_rollouts
from sbmrl.learners.policy_gradient import of_ppo
from sbmrl.learners.ppo import PPO, PPOOptions
from sbmrl.schemes.contextual import CONTEXTUAL, ContextualOptions
from sbmrl.schemes.inner_outer import INNER_OUTER, InnerOuterOptions

ENV = "prisoners_dilemma"

# γ = 1 and λ = 1 as Gerstgrasser & Parkes have them, and no more steps than theirs; rollouts are whole episodes of 5
# queries and 10 steps. Their batch of 1,000 steps is not enough for `hero` (docs/how_to/matrix_games.md).
_LEADER = PPOOptions(
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
_FOLLOWER = PPOOptions(
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

# More, smaller batches than PPO's; with less damping steps grow where the leader is nearly certain.
_NATURAL = {"num_environments": 32, "value_minibatch_size": 192, "damping": 0.01}


def _leader(learner: LearnerKind, preset: str, asked_in_play: bool) -> Any:
    """A leader that plays its episodes where its learner can; `asked_in_play` by a follower that learns in them."""
    ppo = dataclasses.replace(_LEADER, **_Q_LEADER) if asked_in_play else _LEADER
    if preset == "fast":
        ppo = dataclasses.replace(ppo, total_steps=ppo.total_steps // 4)
    known = {
        "ppo": ppo,
        "policy_gradient": of_ppo(dataclasses.replace(ppo, num_environments=32, learning_rate=0.05)),
        "natural_policy_gradient": dataclasses.replace(of_rollouts(ppo), **_NATURAL),
        "evolution": EvolutionOptions(num_updates=100, num_episodes=10, standard_deviation=1.0),
    }
    return known[learner.name] if learner.name in known else registry.defaults_of(learner, preset)


def _build(choice: Choice) -> Experiment:
    """The prisoner's dilemma, unless another game is named."""
    scheme, learner, fast = choice.scheme or CONTEXTUAL, choice.learner or PPO, choice.preset == "fast"
    asked_in_play = scheme is INNER_OUTER and learner is not GRADIENT
    leader = _leader(learner, choice.preset, asked_in_play)
    choice = choice._replace(scheme=scheme, learner=learner)
    if scheme is CONTEXTUAL:
        steps = _FOLLOWER.total_steps // 2 if fast else _FOLLOWER.total_steps
        options: Any = ContextualOptions(dataclasses.replace(_FOLLOWER, total_steps=steps))
    elif asked_in_play:
        options = InnerOuterOptions(QLearningOptions())
    else:
        options = scheme.default(choice, leader)
    game = choice.options(
        context=learner.heard(leader)[0] if learner.heard(leader) else "answers",
        response="sampled" if learner.differentiates and scheme.answer is None else "greedy",
    )
    records = 10 if fast else 50 if asked_in_play else 20
    return Experiment(choice.row.name, choice.env, game, options, leader, num_records=records)


PRESETS = {
    "oracles_followers": Preset(
        "the iterated matrix games of Gerstgrasser & Parkes (contextual: 100,000 + 300,000 steps)", _build
    ),
    "fast": Preset("a quarter of the leader's steps and half of the follower's, for a first look", _build),
}
