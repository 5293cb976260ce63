"""What a sweep costs beside its training, and what a seed costs as seeds grow.

python benchmarks/sweeps.py [--num-seeds 256] [--repeats 2] [--out FILE.json]

Overhead: seconds inside store, checkpoints, bar and W&B (offline) of a whole command, beside those of its training.
Cost per seed: sweeps of a tenth of the steps, 256 seeds against 1,024 and 4,096, in chunks as they come; beside them
the bare program with all seeds side by side.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import sbmrl
from sbmrl.cli import main as command
from sbmrl.commands.watch import Watcher
from sbmrl.sweep import checkpoint, store
from sbmrl.sweep.execute import Engine, all_runs, prepare_devices
from sbmrl.sweep.files import describe_machine

FORMULATION, PRESET = "mal_random_noise", "fast"


def bare(experiment: sbmrl.Experiment, num_seeds: int) -> float:
    """Seconds of the compiled program alone."""
    compiling: list[float] = []
    program = sbmrl.make_program(experiment)
    engine = Engine(experiment, program, num_seeds, compiled=lambda part: compiling.append(part.seconds))
    began = time.perf_counter()
    engine.run(all_runs(num_seeds))
    return time.perf_counter() - began - sum(compiling)


def beside_training(num_seeds: int) -> dict[str, float]:
    """Seconds of a whole command inside training and inside each thing beside it; compilation is in neither."""
    spent: dict[str, float] = {}

    def clocked(owner: Any, name: str) -> Callable[..., Any]:
        real = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return real(*arguments)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        return call

    parts = [(store, name) for name in ("save_config", "save_chunk", "finish_cell")] + [(checkpoint, "save")]
    parts += [(Watcher, name) for name in ("begin", "record", "chunk", "end")]
    with contextlib.ExitStack() as patched, tempfile.TemporaryDirectory() as folder:
        for owner, name in parts:
            patched.enter_context(mock.patch.object(owner, name, clocked(owner, name)))
        out = Path(folder) / "run"
        line = f"sweep {FORMULATION} --preset {PRESET} --num-seeds {num_seeds} --wandb offline --no-report"
        command([*line.split(), "--out", str(out)])
        meta = json.loads(next(out.glob("*/meta.json")).read_text(encoding="utf-8"))
    inside = spent["record"] + spent.get("save", 0.0)  # these two fall into the seconds of the chunks
    return {"training": meta["seconds"]["run"] - inside} | spent


def swept(experiment: sbmrl.Experiment, num_seeds: int) -> float:
    """Seconds of a sweep from Python without compilation, chunks written and put together."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = sbmrl.run_plan(sbmrl.make_plan([experiment], num_seeds=num_seeds), Path(folder) / "run")
        seconds = time.perf_counter() - began
        meta = json.loads(next(out.glob("*/meta.json")).read_text(encoding="utf-8"))
    return seconds - meta["seconds"]["compile"]


def tenth(experiment: sbmrl.Experiment) -> sbmrl.Experiment:
    """The same experiment with a tenth of the steps."""
    leader, follower = experiment.leader.total_steps // 10, experiment.scheme.follower.total_steps // 10
    return experiment.replace(leader__total_steps=leader, follower__total_steps=follower, num_records=2)


def main() -> None:
    """Print and write both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-seeds", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_devices()
    experiment = sbmrl.preset(PRESET, FORMULATION)
    growing: dict[int, list[float]] = {256: [], 1024: [], 4096: []}
    side_by_side: dict[int, list[float]] = {256: [], 1024: []}
    for _ in range(options.repeats):
        for how, measured in ((swept, growing), (bare, side_by_side)):
            for num_seeds, seconds in measured.items():
                seconds.append(how(tenth(experiment), num_seeds) / num_seeds)
                print(f"{how.__name__} {num_seeds:5} seeds: {1e3 * seconds[-1]:.2f} ms a seed", flush=True)
    beside_training(8)  # what is imported on first use is imported
    accounts = []
    for _ in range(options.repeats):
        accounts.append(beside_training(options.num_seeds))
        print({name: round(seconds, 2) for name, seconds in accounts[-1].items()}, flush=True)
    per_seed = {num_seeds: statistics.median(seconds) for num_seeds, seconds in growing.items()}
    shares = [sum(account.values()) / account["training"] - 1.0 for account in accounts]
    summary = {
        "num_seeds": options.num_seeds,
        "overhead": statistics.median(shares),
        "seconds": accounts,
        "seconds_per_seed": growing,
        "seconds_per_seed_all_side_by_side": side_by_side,
        "cost_per_seed_against_256": {n: value / per_seed[256] for n, value in per_seed.items()},
        "machine": describe_machine(),
    }
    print(f"overhead {summary['overhead']:.1%}; cost per seed {summary['cost_per_seed_against_256']}")
    if options.out:
        options.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
