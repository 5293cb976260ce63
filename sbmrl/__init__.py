"""sbmrl: model-based reinforcement learning as a Stackelberg game, in JAX.

The public face; everything is imported on first use, so that `sbmrl --help` stays quick.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from sbmrl.core.version import VERSION

if sys.version_info < (3, 12):  # noqa: UP036  # a checkout on the path bypasses the installer's own check
    raise ImportError(f"sbmrl needs Python 3.12 or newer, as jax 0.11 does; this is Python {sys.version.split()[0]}")

if TYPE_CHECKING:
    from sbmrl.core.experiment import Experiment
    from sbmrl.core.formulation import FormulationRow
    from sbmrl.core.parts import GameKind, LearnerKind, Programme, SchemeKind, WorldRow
    from sbmrl.core.registry import register
    from sbmrl.display.statistics import (
        fraction_interval,
        interquartile_mean_interval,
        mean_interval,
        paired_improvement,
    )
    from sbmrl.errors import InputError
    from sbmrl.experiment.plugins import load_plugin
    from sbmrl.experiment.presets import preset
    from sbmrl.experiment.program import hyper_parameters, make_program, make_train
    from sbmrl.games.matrix.options import ReplyOptions
    from sbmrl.games.matrix.q_learning import QLearningOptions
    from sbmrl.games.tabular.closed_forms import finite_horizon_optimum, finite_horizon_return
    from sbmrl.games.tabular.mdp import TabularMDP, imagined, make_mdp, make_world, random_mdp
    from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions, SoftOptions
    from sbmrl.games.tabular.panels import draw_mdps
    from sbmrl.learners.evolution import EvolutionOptions
    from sbmrl.learners.fit import FitOptions
    from sbmrl.learners.gradient import GradientOptions
    from sbmrl.learners.hyper_policy_gradient import HyperPolicyGradientOptions
    from sbmrl.learners.natural_policy_gradient import NaturalPolicyGradientOptions
    from sbmrl.learners.policy_gradient import PolicyGradientOptions
    from sbmrl.learners.ppo import PPOOptions
    from sbmrl.report.page import write_report
    from sbmrl.schemes.contextual import ContextualOptions
    from sbmrl.schemes.exact import ExactOptions
    from sbmrl.schemes.implicit import ImplicitOptions
    from sbmrl.schemes.inner_outer import InnerOuterOptions
    from sbmrl.sweep.execute import Engine, prepare_devices
    from sbmrl.sweep.load import load
    from sbmrl.sweep.plan import Axis, Plan, make_plan
    from sbmrl.sweep.run import Listener, PreemptedError, run_plan
    from sbmrl.sweep.seeds import make_train_seeds

_HOMES = {
    "core.experiment": ("Experiment",),
    "core.formulation": ("FormulationRow",),
    "core.parts": ("GameKind", "LearnerKind", "Programme", "SchemeKind", "WorldRow"),
    "core.registry": ("register",),
    "display.statistics": (
        "fraction_interval",
        "interquartile_mean_interval",
        "mean_interval",
        "paired_improvement",
    ),
    "errors": ("InputError",),
    "experiment.plugins": ("load_plugin",),
    "experiment.presets": ("preset",),
    "experiment.program": ("hyper_parameters", "make_program", "make_train"),
    "games.matrix.options": ("ReplyOptions",),
    "games.matrix.q_learning": ("QLearningOptions",),
    "games.tabular.closed_forms": ("finite_horizon_optimum", "finite_horizon_return"),
    "games.tabular.mdp": ("TabularMDP", "imagined", "make_mdp", "make_world", "random_mdp"),
    "games.tabular.options": ("ConditionalsOptions", "PlanOptions", "SoftOptions"),
    "games.tabular.panels": ("draw_mdps",),
    "learners.evolution": ("EvolutionOptions",),
    "learners.fit": ("FitOptions",),
    "learners.gradient": ("GradientOptions",),
    "learners.hyper_policy_gradient": ("HyperPolicyGradientOptions",),
    "learners.natural_policy_gradient": ("NaturalPolicyGradientOptions",),
    "learners.policy_gradient": ("PolicyGradientOptions",),
    "learners.ppo": ("PPOOptions",),
    "report.page": ("write_report",),
    "schemes.contextual": ("ContextualOptions",),
    "schemes.exact": ("ExactOptions",),
    "schemes.implicit": ("ImplicitOptions",),
    "schemes.inner_outer": ("InnerOuterOptions",),
    "sweep.execute": ("Engine", "prepare_devices"),
    "sweep.load": ("load",),
    "sweep.plan": ("Axis", "Plan", "make_plan"),
    "sweep.run": ("Listener", "PreemptedError", "run_plan"),
    "sweep.seeds": ("make_train_seeds",),
}
_MODULES = {name: f"sbmrl.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Axis",
    "ConditionalsOptions",
    "ContextualOptions",
    "Engine",
    "EvolutionOptions",
    "ExactOptions",
    "Experiment",
    "FitOptions",
    "FormulationRow",
    "GameKind",
    "GradientOptions",
    "HyperPolicyGradientOptions",
    "ImplicitOptions",
    "InnerOuterOptions",
    "InputError",
    "LearnerKind",
    "Listener",
    "NaturalPolicyGradientOptions",
    "PPOOptions",
    "Plan",
    "PlanOptions",
    "PolicyGradientOptions",
    "PreemptedError",
    "Programme",
    "QLearningOptions",
    "ReplyOptions",
    "SchemeKind",
    "SoftOptions",
    "TabularMDP",
    "WorldRow",
    "draw_mdps",
    "finite_horizon_optimum",
    "finite_horizon_return",
    "fraction_interval",
    "hyper_parameters",
    "imagined",
    "interquartile_mean_interval",
    "load",
    "load_plugin",
    "make_mdp",
    "make_plan",
    "make_program",
    "make_train",
    "make_train_seeds",
    "make_world",
    "mean_interval",
    "paired_improvement",
    "prepare_devices",
    "preset",
    "random_mdp",
    "register",
    "run_plan",
    "write_report",
]
__version__ = VERSION


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'sbmrl' has no attribute '{name}'")
    if name in ("register", "load_plugin"):
        importlib.import_module("sbmrl.experiment.parts")  # what is there must be known before anything is added
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
