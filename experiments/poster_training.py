"""How often each formulation is fooled, against how long its leader has trained: from the runs of the poster's table.

sbmrl reproduce --num-seeds 1024 --chunk-size 128 --out runs/poster
sbmrl sweep pal mal mal_agent_reward mal_random_noise --grid loss=kl,excess_brier --num-seeds 256 --out runs/losses
python experiments/poster_training.py runs/poster runs/losses
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from common import clean, fraction, save
from matplotlib.figure import Figure

import sbmrl
from sbmrl.core.measures import FOOLED_FRACTION
from sbmrl.games.model_based.formulations import FORMULATIONS

TITLES = {row.name: row.title for row in FORMULATIONS}
COLOURS = {"pal": "#222222", "mal": "#d55e00", "mal_agent_reward": "#0072b2", "mal_random_noise": "#009e73"}


def curve_of(cell: Any) -> dict[str, Any]:
    """The share fooled at each record of the leader's training, judged by the greedy policy's exact return."""
    kept = cell.results().filter("finite")
    gain = pl.col("optimal_return") - pl.col("uniform_return")
    least = kept.select("seed", least=pl.col("optimal_return") - FOOLED_FRACTION * gain)
    curve = cell.curves().filter(stage="play", metric="exact_return").join(least, on="seed")
    points = []
    for (steps,), record in curve.group_by("steps", maintain_order=True):
        missed = (record["value"] < record["least"]).to_numpy()
        points.append({"steps": int(steps), "fooled": fraction(missed, np.ones(len(missed), bool))})
    experiment = cell.plan.experiment
    return {
        "formulation": experiment.formulation,
        "loss": experiment.game.loss,
        "points": sorted(points, key=lambda point: point["steps"]),
        "end": fraction(kept["fooled"].to_numpy(), np.ones(len(kept), bool)),
    }


def draw(curves: Sequence[dict[str, Any]]) -> Figure:
    """A panel a loss, a line a formulation, a band its interval."""
    losses = list(dict.fromkeys(curve["loss"] for curve in curves))
    figure = Figure(figsize=(3.6 * len(losses) + 0.6, 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(losses), sharey=True))
    for axes, loss in zip(panels, losses, strict=True):
        own = [curve for curve in curves if curve["loss"] == loss]
        for curve in own:
            steps = [point["steps"] for point in curve["points"]]
            share = [point["fooled"] for point in curve["points"]]
            colour = COLOURS[curve["formulation"]]
            axes.plot(steps, [s["value"] for s in share], color=colour, lw=1.6, label=TITLES[curve["formulation"]])
            axes.fill_between(
                steps, [s["low"] for s in share], [s["high"] for s in share], color=colour, alpha=0.2, lw=0
            )
        axes.set_title(f"{loss.replace('_', ' ')}, {own[0]['end']['count']:,} seeds", fontsize=10)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("leader steps", fontsize=9)
        axes.grid(lw=0.4, alpha=0.5)
        clean(axes)
    panels[0].set_ylabel("fooled, share of the seeds", fontsize=9)
    lines, titles = panels[0].get_legend_handles_labels()
    columns = 4 if len(losses) > 1 else 2
    figure.legend(lines, titles, frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
    return figure


def main() -> None:
    """Read the runs, keep the numbers and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+", help="what `sbmrl reproduce` or `sweep` wrote")
    arguments = parser.parse_args()
    curves = [curve_of(cell) for directory in arguments.directories for cell in sbmrl.load(directory).cells.values()]
    for curve in curves:
        shares = [f"{point['steps']:,} {point['fooled']['value']:.1%}" for point in curve["points"]]
        print(f"{curve['formulation']} {curve['loss']}: end {curve['end']}; {', '.join(shares)}")
    save("poster_training", draw(curves), curves)


if __name__ == "__main__":
    main()
