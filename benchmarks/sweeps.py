"""What a sweep costs beside its training, and what a seed costs as seeds grow.

python benchmarks/sweeps.py [--num-seeds 512] [--repeats 2] [--out FILE.json]

Overhead: the whole command (store, checkpoints, bar, W&B offline, table; compilation apart) against the bare compiled
program on the same runs, in alternation. Cost per seed: sweeps of a tenth of the steps, 256 seeds against 1,024 and
4,096, in chunks as they come; beside them the bare program with all seeds side by side.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import sbmrl
from sbmrl.cli import main as command
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


def whole(num_seeds: int) -> tuple[float, float]:
    """Seconds of the command without compilation, and of those the ones inside the chunks."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.perf_counter()
        line = f"sweep {FORMULATION} --preset {PRESET} --num-seeds {num_seeds} --wandb offline --no-report"
        command([*line.split(), "--checkpoint-seconds", "60", "--out", str(out)])
        seconds = time.perf_counter() - began
        meta = json.loads(next(out.glob("*/meta.json")).read_text(encoding="utf-8"))
    return seconds - meta["seconds"]["compile"], meta["seconds"]["run"]


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

    def less[Options](options: Options) -> Options:
        return dataclasses.replace(options, total_steps=options.total_steps // 10)  # pyright: ignore

    leader, follower = less(experiment.leader), less(experiment.follower)
    return dataclasses.replace(experiment, leader=leader, follower=follower, num_records=2)


def main() -> None:
    """Print and write both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-seeds", type=int, default=512)
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
    pairs = []
    for _ in range(options.repeats):
        alone, (all_told, training) = bare(experiment, options.num_seeds), whole(options.num_seeds)
        pairs.append({"bare": alone, "command": all_told, "inside_the_chunk": training})
        print(f"bare {alone:.1f} s, command {all_told:.1f} s, of these inside the chunk {training:.1f} s", flush=True)
    per_seed = {num_seeds: statistics.median(seconds) for num_seeds, seconds in growing.items()}
    ratio = statistics.median(p["command"] for p in pairs) / statistics.median(p["bare"] for p in pairs)
    summary = {
        "num_seeds": options.num_seeds,
        "overhead": ratio - 1.0,
        "overhead_pairs": pairs,
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
