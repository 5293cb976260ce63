"""Train Stable-Baselines3 PPO on the follower pretraining task, as a peer for sbmrl's own follower.

The task and its exact judge are in `sb3_world.py`. Nothing of sbmrl is imported, so that the two sides share no code;
`peers.py` runs both sides in one go and compares their speed too.

    pip install -r benchmarks/requirements-sb3.txt
    python benchmarks/sb3_follower.py --num-seeds 16
    python benchmarks/sb3_follower.py --compare RUN_DIR

RUN_DIR is a run of sbmrl with the same settings, that is without the entropy bonus of sbmrl's own preset:

    sbmrl train mal --num-seeds 64 --follower.entropy-coefficient 0 --out RUN_DIR
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sb3_world import (
    HORIZON,
    NUM_TEST_MODELS,
    POSTER_SETTINGS,
    TEST_MODELS_SEED,
    TRUE_MODEL,
    evaluate,
    exact_returns,
    make_agent,
)

NEAR_OPTIMAL = 0.5  # a seed counts as near-optimal when it loses at most this much return in the true model


@dataclass(frozen=True)
class SeedResult:
    """One trained follower.

    Attributes:
        seed: the training seed.
        greedy_actions: the greedy action in each state with a decision, given the true model.
        return_true: exact return of the greedy policy in the true model.
        return_true_stochastic: exact return of the policy with its own action probabilities in the true model.
        follower_gap_true: optimal return minus `return_true`.
        follower_gap_random: the same gap of the greedy policy, averaged over the random test models.
        num_steps: environment steps trained for; Stable-Baselines3 rounds up to whole rollouts.
        steps_per_second: `num_steps` over the wall-clock time of training.
    """

    seed: int
    greedy_actions: tuple[int, ...]
    return_true: float
    return_true_stochastic: float
    follower_gap_true: float
    follower_gap_random: float
    num_steps: int
    steps_per_second: float


def train_and_evaluate(job: tuple[int, int]) -> SeedResult:
    """Train one follower for `(seed, total steps)` on one thread and judge it."""
    seed, total_steps = job
    torch.set_num_threads(1)
    agent = make_agent(seed)
    started = time.perf_counter()
    agent.learn(total_steps)
    seconds = time.perf_counter() - started
    speed = agent.num_timesteps / seconds
    return SeedResult(seed=seed, num_steps=agent.num_timesteps, steps_per_second=speed, **evaluate(agent))


def run_seeds(num_seeds: int, total_steps: int, num_processes: int) -> list[SeedResult]:
    """Train seeds 0, 1, ... over the processes, telling of each as it ends; the results are in order of seed."""
    results = []
    with multiprocessing.get_context("spawn").Pool(min(num_processes, num_seeds)) as pool:
        for result in pool.imap_unordered(train_and_evaluate, [(seed, total_steps) for seed in range(num_seeds)]):
            print(
                f"seed {result.seed}: return {result.return_true:.3f}, gap {result.follower_gap_true:.3f} "
                f"(random models {result.follower_gap_random:.3f}), {result.steps_per_second:.0f} steps/s",
                flush=True,
            )
            results.append(result)
    return sorted(results, key=lambda result: result.seed)


def summarise_gaps(gaps_true: Sequence[float], gaps_random: Sequence[float]) -> dict[str, float | None]:
    """Fraction near the optimum, mean and sample standard deviation over seeds (None for a single seed)."""
    summary: dict[str, float | None] = {
        "fraction_within_half_of_optimal": sum(gap <= NEAR_OPTIMAL for gap in gaps_true) / len(gaps_true)
    }
    for name, gaps in (("follower_gap_true", gaps_true), ("follower_gap_random", gaps_random)):
        summary[f"{name}_mean"] = statistics.fmean(gaps)
        summary[f"{name}_std"] = statistics.stdev(gaps) if len(gaps) > 1 else None
    return summary


def read_sbmrl_summary(run_dir: Path) -> dict[str, float | None]:
    """The summary of a finished sbmrl run, whose `results.parquet` has one row per seed."""
    import polars as pl  # only this comparison needs it

    frame = pl.read_parquet(run_dir / "results.parquet", columns=["follower_gap_true", "follower_gap_random"])
    if frame.is_empty() or any(frame.null_count().row(0)):
        raise ValueError("no rows, or rows without a follower gap")
    return summarise_gaps(frame["follower_gap_true"].to_list(), frame["follower_gap_random"].to_list())


def print_summaries(summaries: dict[str, dict[str, float | None]]) -> None:
    """One line per side: fraction near-optimal, then mean ± standard deviation of both gaps."""

    def spread(summary: dict[str, float | None], name: str) -> str:
        std = summary[f"{name}_std"]
        return f"{summary[f'{name}_mean']:.3f} ± " + ("n/a" if std is None else f"{std:.3f}")

    for side, summary in summaries.items():
        print(
            f"{side}: {summary['fraction_within_half_of_optimal']:.0%} within {NEAR_OPTIMAL} of optimal; "
            f"gap at the true model {spread(summary, 'follower_gap_true')}; "
            f"gap on random models {spread(summary, 'follower_gap_random')}"
        )


def report(results: list[SeedResult], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything the JSON file holds."""
    packages = ("stable-baselines3", "gymnasium", "torch", "numpy")
    summary = summarise_gaps(
        [result.follower_gap_true for result in results], [result.follower_gap_random for result in results]
    )
    speed = statistics.median(result.steps_per_second for result in results)
    return {
        "settings": settings,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "optimal_return_true": float(exact_returns(TRUE_MODEL[None])[0]),
        "seeds": [asdict(result) for result in results],
        "summary": summary | {"steps_per_second_per_process_median": speed},
    }


def positive_int(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; refuse to overwrite before any work is done."""
    parser = argparse.ArgumentParser(description="Stable-Baselines3 PPO on sbmrl's follower pretraining task.")
    parser.add_argument("--num-seeds", type=positive_int, default=16, help="train seeds 0 to N-1 (default 16)")
    parser.add_argument("--total-steps", type=positive_int, default=250_000, help="per seed (default 250000)")
    parser.add_argument("--num-processes", type=positive_int, default=2, help="seeds trained at once (default 2)")
    parser.add_argument("--compare", type=Path, metavar="RUN_DIR", help="hold --out against a sbmrl run; no training")
    parser.add_argument("--out", type=Path, metavar="FILE.json", default=Path("benchmarks/results/sb3_follower.json"))
    parser.add_argument("--force", action="store_true", help="overwrite --out if it exists")
    options = parser.parse_args(arguments)
    if options.compare and not options.out.is_file():
        parser.error(f"--out: {options.out} does not exist yet; train first, without --compare")
    if not options.compare and options.out.exists() and not options.force:
        parser.error(f"--out: {options.out} exists; pass --force to overwrite it")
    return options


def compare(out: Path, run_dir: Path) -> None:
    """Print the summary of earlier results beside that of a sbmrl run."""
    summary = json.loads(out.read_text(encoding="utf-8"))["summary"]
    try:
        peer = read_sbmrl_summary(run_dir)
    except Exception as error:  # polars' own error classes cannot be named without importing it
        print(f"--compare: cannot use {run_dir / 'results.parquet'}: {error}", file=sys.stderr)
        sys.exit(2)
    print_summaries({"stable-baselines3": summary, "sbmrl": peer})


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, write the JSON file and print the summary; or compare."""
    options = parse_arguments(arguments)
    if options.compare:
        compare(options.out, options.compare)
        return
    results = run_seeds(options.num_seeds, options.total_steps, options.num_processes)
    settings = POSTER_SETTINGS | {
        "num_seeds": options.num_seeds,
        "total_steps": options.total_steps,
        "num_processes": options.num_processes,
        "horizon": HORIZON,
        "num_test_models": NUM_TEST_MODELS,
        "test_models_seed": TEST_MODELS_SEED,
        "near_optimal": NEAR_OPTIMAL,
    }
    contents = report(results, settings)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    print_summaries({"stable-baselines3": contents["summary"]})


if __name__ == "__main__":
    main()
