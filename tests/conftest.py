"""Set-up before anything touches jax: CPU, four devices, typed keys only, a compilation cache kept between runs."""

import contextlib
import io
import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_LEGACY_PRNG_KEY"] = "error"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "sbmrl-test-compilation-cache"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Tests compile much and run little: nothing is optimised, and fusions are lowered the older way, in half the time.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
)
os.environ["WANDB_MODE"] = "offline"

import dataclasses
from typing import NamedTuple

import jax
import polars as pl
import pytest
from hypothesis import settings
from jax.experimental.compilation_cache import compilation_cache

from sbmrl.cli import main
from sbmrl.core.experiment import Experiment
from sbmrl.experiment.presets import preset
from sbmrl.sweep.run import Listener, PreemptedError, run_plan

settings.register_profile("sbmrl", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("sbmrl")

_TINY = {
    "total_steps": 64,
    "num_environments": 4,
    "num_steps": 8,
    "minibatch_size": 16,
    "num_epochs": 2,
    "num_updates": 4,
    "population_size": 4,
    "actor_hidden": (8,),
    "hidden": (8,),
}


def tiny_experiment(formulation: str, scheme: str = "contextual", learner: str | None = None, **changes) -> Experiment:
    """A complete experiment of a few updates: everything happens, nothing is learned.

    `changes` are those of `Experiment.replace`.
    """
    experiment = preset("fast", formulation, scheme, learner)
    sizes = {
        "num_records": 2,
        "num_random_leaders": 4,
        "num_eval_episodes": 3,
        "leader": tiny_options(experiment.leader),
    }
    if hasattr(experiment.scheme, "follower"):
        sizes["follower"] = tiny_options(experiment.scheme.follower)
    if hasattr(experiment.scheme, "num_leader_pool"):
        sizes["num_leader_pool"] = 8
    if getattr(experiment.scheme, "unroll", 0):
        sizes |= {"num_inner_steps": 3, "unroll": 2}
    return experiment.replace(**sizes | changes)


def tiny_options(options):
    """The same options with a budget of two updates or so."""
    small = {field.name: _TINY[field.name] for field in dataclasses.fields(options) if field.name in _TINY}
    if getattr(options, "parametrization", "network") == "table":
        small.pop("hidden", None)
    if hasattr(options, "num_cg_iterations"):  # every update starts anew, so it plays whole episodes
        small |= {"num_steps": 64, "num_cg_iterations": 2, "value_minibatch_size": 64}
    if hasattr(options, "num_episodes") and options.num_episodes:
        small["num_episodes"] = 2
    return dataclasses.replace(options, **small)


class KeptRun(NamedTuple):
    """Where a run lies, and what was printed while it ran."""

    out: Path
    printed: str


@pytest.fixture(scope="session")
def corridor_run(tmp_path_factory):
    """MAL in the corridor, a simulated world: two seeds, two records, nothing learned."""
    out = tmp_path_factory.mktemp("corridor") / "run"
    words = ["mal", "--env", "corridor", "--num-inner-steps", "1", "--leader.num-updates", "2", "--num-records", "2"]
    words += ["--follower.num-environments", "8", "--follower.num-steps", "50", "--follower.value-minibatch-size", "40"]
    words += ["--follower.actor-hidden", "8", "--follower.critic-hidden", "8", "--leader.hidden", "8"]
    words += ["--leader.num-epochs", "2", "--buffer-size", "500", "--num-test-episodes", "4", "--num-seeds", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["train", *words, "--no-report", "--out", str(out)])
    return KeptRun(out, printed.getvalue())


class StopsBehindARecord(Listener):
    """Asks for a stop when the first record is done."""

    def should_stop(self):
        return True


def stopped_and_resumed(plan, out):
    """The directory of a plan that was stopped behind its first record and has been resumed to its end."""
    with pytest.raises(PreemptedError):
        run_plan(plan, out, StopsBehindARecord())
    assert list(out.rglob("step-*"))
    assert not (out / "results.parquet").exists()
    run_plan(plan, out, resume=True)
    return out


def same_files(left, right):
    """Two directories hold the same results and the same curves, to the bit."""
    for name in ("results.parquet", "metrics.parquet"):
        one, other = (pl.read_parquet(path / name) for path in (left, right))
        assert one.equals(other)


@contextlib.contextmanager
def cached_in(directory):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(directory))
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


@pytest.fixture
def cache(tmp_path):
    """An empty compilation cache."""
    with cached_in(tmp_path / "cache"):
        yield tmp_path / "cache"


@pytest.fixture
def own_cache():
    """For a command that does without the compilation cache while its process lives: the tests behind it do not."""
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
