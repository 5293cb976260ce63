"""The figure beside the poster's table: where each seed of each formulation ended, exactly.

sbmrl reproduce --num-seeds 1024 --chunk-size 128 --out runs/poster
python experiments/poster_table.py runs/poster docs/figures/poster_table
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.model_based.formulations import FORMULATIONS
from sbmrl.games.tabular.display import POSTER

TITLES = {row.name: row.title for row in FORMULATIONS}
FOOLED, FINE, REFERENCE = "#d55e00", "#0072b2", "#222222"


def draw(results: pl.DataFrame) -> Figure:
    """One line a formulation: a dot a seed (exact return of its greedy policy) and the poster's mean of five runs."""
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    axes = figure.subplots()
    order = [
        name for name in ("mal", "mal_agent_reward", "mal_random_noise", "pal") if name in set(results["formulation"])
    ]
    generator = np.random.default_rng(0)
    for line, name in enumerate(reversed(order)):
        row = results.filter(formulation=name, finite=True)
        height = line + generator.uniform(-0.22, 0.22, len(row))
        colour = np.where(row["fooled"].to_numpy(), FOOLED, FINE)
        axes.scatter(row["exact_return"], height, s=14, c=colour, alpha=0.4, linewidths=0, rasterized=True)
        fooled = int(row["fooled"].sum())
        axes.text(38.2, line, f"fooled {fooled:,} of {len(row):,}", va="center", fontsize=9)
        mean, spread = POSTER[name]
        axes.errorbar(mean, line + 0.34, xerr=spread, fmt="D", ms=4, color=REFERENCE, capsize=2, lw=1)
    optimum, uniform = results["optimal_return"][0], results["uniform_return"][0]
    axes.axvline(optimum, color=REFERENCE, lw=0.8, ls="--")
    axes.text(optimum - 0.4, len(order) - 0.45, f"optimum {optimum:.2f}", ha="right", fontsize=8)
    axes.axvline(uniform, color=REFERENCE, lw=0.8, ls=":")
    axes.text(uniform + 0.4, len(order) - 0.45, f"uniform policy {uniform:.2f}", fontsize=8)
    axes.set_yticks(range(len(order)), [TITLES[name] for name in reversed(order)])
    axes.set_ylim(-0.6, len(order) - 0.2)
    axes.set_xlim(-1, 47)
    axes.set_xticks(range(0, 40, 5))
    axes.set_xlabel("exact return of the greedy policy in the true world (◆ the poster: mean ± spread of 5 runs)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    """Read a reproduction's results and write the figure as SVG and PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="what `sbmrl reproduce --out` wrote")
    parser.add_argument("stem", type=Path, help="path of the figure without its suffix")
    arguments = parser.parse_args()
    figure = draw(sbmrl.load(arguments.directory).results)
    arguments.stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".svg", ".png"):
        figure.savefig(arguments.stem.with_suffix(suffix), dpi=150)


if __name__ == "__main__":
    main()
