"""sbmrl: model-based reinforcement learning as a Stackelberg game, in JAX.

The public face; everything is imported on first use, so that `sbmrl --help` stays quick.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if sys.version_info < (3, 12):  # noqa: UP036  # a checkout on the path bypasses the installer's own check
    raise ImportError(f"sbmrl needs Python 3.12 or newer, as jax 0.11 does; this is Python {sys.version.split()[0]}")

if TYPE_CHECKING:
    from sbmrl.core.experiment import Experiment
    from sbmrl.games.tabular.mdp import TabularMDP, make_mdp, make_world, random_mdp
    from sbmrl.errors import InputError
    from sbmrl.core.options import (
        EvolutionOptions,
        ExactOptions,
        FitOptions,
        GradientOptions,
        ImplicitOptions,
        PPOOptions,
    )
    from sbmrl.experiment.presets import preset
    from sbmrl.experiment.program import hyper_parameters, make_program, make_train
    from sbmrl.sweep.execute import Engine
    from sbmrl.sweep.load import load
    from sbmrl.sweep.plan import Axis, Plan, make_plan
    from sbmrl.sweep.run import Listener, run_plan

_HOMES = {
    "core.experiment": ("Experiment",),
    "games.tabular.mdp": ("TabularMDP", "make_mdp", "make_world", "random_mdp"),
    "errors": ("InputError",),
    "core.options": (
        "EvolutionOptions",
        "ExactOptions",
        "FitOptions",
        "GradientOptions",
        "ImplicitOptions",
        "PPOOptions",
    ),
    "experiment.presets": ("preset",),
    "experiment.program": ("hyper_parameters", "make_program", "make_train"),
    "sweep.execute": ("Engine",),
    "sweep.load": ("load",),
    "sweep.plan": ("Axis", "Plan", "make_plan"),
    "sweep.run": ("Listener", "run_plan"),
}
_MODULES = {name: f"sbmrl.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Axis",
    "Engine",
    "EvolutionOptions",
    "ExactOptions",
    "Experiment",
    "FitOptions",
    "GradientOptions",
    "ImplicitOptions",
    "InputError",
    "Listener",
    "PPOOptions",
    "Plan",
    "TabularMDP",
    "hyper_parameters",
    "load",
    "make_mdp",
    "make_plan",
    "make_program",
    "make_train",
    "make_world",
    "preset",
    "random_mdp",
    "run_plan",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'sbmrl' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
