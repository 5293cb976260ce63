"""Set-up before anything touches jax: CPU, four devices, typed keys only, a compilation cache kept between runs."""

import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_LEGACY_PRNG_KEY"] = "error"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "sbmrl-test-compilation-cache"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # tests compile much and run little
os.environ["WANDB_MODE"] = "offline"

import dataclasses

from hypothesis import settings

from sbmrl.core.experiment import Experiment
from sbmrl.core.options import EvolutionOptions, GradientOptions, PPOOptions, QLearningOptions
from sbmrl.experiment.presets import preset

settings.register_profile("sbmrl", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("sbmrl")


def tiny_experiment(formulation: str, scheme: str = "contextual", learner: str | None = None, **changes) -> Experiment:
    """A complete experiment of a few updates: everything happens, nothing is learned."""
    experiment = preset("fast", formulation, scheme, learner)
    sizes = {"num_records": 2, "num_leader_pool": 8, "num_random_leaders": 4, "num_eval_episodes": 3}
    parts = {"leader": tiny_options(experiment.leader), "follower": tiny_options(experiment.follower)}
    inner = {"num_inner_steps": 3, "unroll": min(experiment.unroll, 2)}
    return dataclasses.replace(experiment, **parts | sizes | inner | changes)


def tiny_options(options):
    """The same options with a budget of two updates or so."""
    if isinstance(options, GradientOptions | EvolutionOptions):
        small = {"population_size": 4} if isinstance(options, EvolutionOptions) else {}
        return dataclasses.replace(options, num_updates=4, hidden=(8,), **small)
    if isinstance(options, QLearningOptions):
        return dataclasses.replace(options, num_episodes=2)
    if not hasattr(options, "total_steps"):
        return options
    small = {"total_steps": 64, "num_environments": 4, "num_steps": 8, "minibatch_size": 16, "num_epochs": 2}
    hidden = {"actor_hidden": (8,)} if isinstance(options, PPOOptions) else {"hidden": (8,)}
    return dataclasses.replace(options, **small, **hidden)
