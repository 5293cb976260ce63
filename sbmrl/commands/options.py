"""What each command can be told, one sentence an option. Imports nothing heavy."""

import dataclasses
import re
from pathlib import Path
from typing import Literal

import tyro

from sbmrl.errors import require

HELP = ("-h", "--help")


@dataclasses.dataclass(frozen=True)
class PluginOptions:
    """What every command can be told."""

    plugin: tyro.conf.UseAppendAction[tuple[str, ...]] = dataclasses.field(default=(), kw_only=True)
    """A Python file (my_game.py) or module with parts of your own; give --plugin once for each."""


@dataclasses.dataclass(frozen=True)
class Choices(PluginOptions):
    """What sets the defaults of everything else."""

    env: str | None = None
    """The world: a name or pattern that `sbmrl list` shows, or a .json or .npz file."""
    preset: str | None = None
    """Budget and networks behind the defaults (see `sbmrl list`); the usual ones of the world's kind where not said."""
    scheme: str | None = None
    """How the follower comes to answer; the preset's own where not said."""
    learner: str | None = None
    """How the leader learns; the preset's own where not said."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a plan is run."""

    num_seeds: int = 16
    """Seeds of each cell or point."""
    out: Path | None = None
    """Directory for the files; must be new or empty. Default: runs/<what>-<time>."""
    seed: int = 0
    """Root of all random numbers; a seed's key is fold_in(root, seed number)."""
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: "offline" needs no account."""
    chunk_size: int | None = None
    """Runs side by side; as many as the memory allows, where not said."""
    resume: bool = False
    """Go on with what an earlier run of the same command left in --out."""
    checkpoint_seconds: float = 300.0
    """Seconds between two checkpoints inside a chunk."""
    report: bool = True
    """End with a report, as `sbmrl report` writes it, in report/ below --out."""
    distributed: str = "off"
    """Several processes: "auto" (SLURM, Open MPI, Kubernetes, TPU pods) or HOST:PORT,N,I, process I of N."""

    @property
    def distributed_as(self) -> tuple[str, int, int] | Literal["off", "auto"]:
        """`distributed` as "off", "auto", or address, number and index.

        Raises:
            InputError: none of these.
        """
        return parse_distributed(self.distributed)


def parse_distributed(how: str) -> tuple[str, int, int] | Literal["off", "auto"]:
    """The text "off" or "auto", or HOST:PORT, N and I of `HOST:PORT,N,I`.

    Raises:
        InputError: none of these.
    """
    if how in ("off", "auto"):
        return how
    form = "must be off, auto or HOST:PORT,N,I with 0 <= I < N"
    found = re.fullmatch(r"([^\s,]+:\d+),(\d+),(\d+)", how)
    address = (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)
    require(address[2] < address[1], "distributed", form, repr(how))
    return address


@dataclasses.dataclass(frozen=True)
class Reproduce(RunOptions, PluginOptions):
    """Run a programme: several experiments with their figure and tables (`sbmrl list` names them)."""

    programme: tyro.conf.Positional[str] = "poster"
    """What to reproduce."""
    preset: str | None = None
    """Budget and networks: the programme's own where not said."""
    env: str | None = None
    """Another world than the programme's own, or one instead of all: a name, or a .json or .npz file."""


@dataclasses.dataclass(frozen=True)
class SweepOptions(RunOptions):
    """How the sweep is run."""

    grid: tuple[str, ...] = ()
    """An axis, alpha=0:1:11, leader.learning_rate=1e-4,3e-4 or log:1e-5:1e-3:5; give --grid once for each."""
    cluster: str = "off"
    """Run each cell as a job: "slurm", or "local" for processes on this machine (needs 'sbmrl[cluster]')."""
    cluster_options: str = ""
    """What submitit is told of the jobs: timeout_min=60,gpus_per_node=1,slurm_partition=gpu."""


@dataclasses.dataclass(frozen=True)
class Evaluate(PluginOptions):
    """Reload a finished run and evaluate it again, exactly and by sampling."""

    directory: tyro.conf.Positional[Path]
    """Directory of a finished run, or of several."""
    num_episodes: int = 100
    """Episodes behind each seed's sampled return."""
    seed: int = 1
    """Root of the evaluation's random numbers."""


@dataclasses.dataclass(frozen=True)
class List(PluginOptions):
    """Name everything there is, one line each, and where it comes from."""


@dataclasses.dataclass(frozen=True)
class Draw(PluginOptions):
    """Draw an MDP; for a run, the learned model beside it. Writes an SVG and a PNG."""

    source: tyro.conf.Positional[str]
    """Name of a world, an MDP file, or the directory of a finished run."""
    out: Path | None = None
    """Path of the picture without its suffix. Default: ./<name>, or model-seed<N> inside the run's directory."""
    run_seed: int = 0
    """Which seed of the run to draw."""


@dataclasses.dataclass(frozen=True)
class Report(PluginOptions):
    """Write a page on one or more runs, finished or not: report.html, table.md, table.json and figures/."""

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """What train, reproduce or sweep left: one directory, or several."""
    compare: tyro.conf.FlagCreatePairsOff[bool] = False
    """Pair the rows of further directories with the same rows of the first one, seed by seed."""
    out: Path | None = None
    """Directory for the files; an earlier report there is replaced. Default: report inside the first directory."""


@dataclasses.dataclass(frozen=True)
class Bench(PluginOptions):
    """Time formulations for growing numbers of seeds: trace, compile and run apart, beside the machine's ceilings."""

    formulations: tyro.conf.Positional[tuple[str, ...]] = ()
    """Formulations to time. Default: pal and mal, so that each side leads once."""
    schemes: tuple[str, ...] = ("contextual", "exact")
    """How the follower answers; each is timed."""
    num_seeds: tuple[int, ...] | None = None
    """Seeds to train; each number is timed, in chunks as a sweep would run it. Default: 1 128, with --accelerator 1024
    4096 256 and as many as fit."""
    num_repeats: int = 2
    """Records of each stage to take the median of."""
    phase_seeds: int = 128
    """Seeds side by side behind the phases of a PPO update and their distance to the ceilings; 0 leaves them out."""
    preset: str | None = None
    """Budget and networks. Default: fast, with --accelerator poster."""
    worlds: tuple[int, ...] = ()
    """Time one update of the exact scheme in random worlds with so many states instead, beside its matrix products."""
    accelerator: tyro.conf.FlagCreatePairsOff[bool] = False
    """Try a GPU or TPU instead: first whether it computes what this machine's CPU computes, then the formulations
    (contextual only) for growing numbers of seeds, then the phases; one JSON file, named by the device."""
    compare: bool = True
    """With --accelerator: whether to train on CPU, too, and to compare."""
    limit: float = 420.0
    """With --accelerator: seconds behind which no step is begun; what is left out is named in the file."""
    out: Path | None = None
    """Directory for the files; must be new or empty. Default: runs/bench-<time>."""


@dataclasses.dataclass(frozen=True)
class Theory(PluginOptions):
    """Check every bound on random worlds, policies and models, and find the instances that make each tightest."""

    num_instances: int = 1_000_000
    """Random instances to judge."""
    out: Path | None = None
    """Directory for theory.json, a table and a figure; must be new or empty. Default: runs/theory-<time>."""
    seed: int = 0
    """Root of all random numbers."""
