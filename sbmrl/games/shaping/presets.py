"""Budgets of reward shaping: those of Thoma et al. (2024) where they are known, and a fraction of them."""

import dataclasses
from typing import Any

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, LearnerKind, Preset
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.learners.hyper_policy_gradient import HYPER_POLICY_GRADIENT, HyperPolicyGradientOptions
from sbmrl.schemes.implicit import IMPLICIT

ENV = "four_rooms"

_KNOWN: dict[str, Any] = {
    "hyper_policy_gradient": HyperPolicyGradientOptions(num_updates=2000, num_episodes=50, learning_rate=0.1),
    "gradient": GradientOptions(num_updates=1000, learning_rate=0.1),
    "evolution": EvolutionOptions(num_updates=2000, population_size=2, standard_deviation=0.1, learning_rate=0.1),
}


def _leader(learner: LearnerKind, preset: str) -> Any:
    options = _KNOWN.get(learner.name)
    if options is None:
        return registry.defaults_of(learner, preset)
    return dataclasses.replace(options, num_updates=options.num_updates // 10) if preset == "fast" else options


def _build(choice: Choice) -> Experiment:
    """The agent answers by its entropy-regularised optimum, unless another scheme is named."""
    scheme, learner = choice.scheme or IMPLICIT, choice.learner or HYPER_POLICY_GRADIENT
    leader = _leader(learner, choice.preset)
    choice = choice._replace(scheme=scheme, learner=learner)
    heard = learner.heard(leader)
    game = choice.options(context=heard[0] if heard else "answers")
    options = scheme.default(choice, leader)
    return Experiment(choice.row.name, choice.env, game, options, leader, num_records=20)


PRESETS = {
    "hpgd": Preset("reward shaping in four rooms, 10,000 real steps behind each step of the designer", _build),
    "fast": Preset("a tenth of the designer's steps, for a first look", _build),
}
