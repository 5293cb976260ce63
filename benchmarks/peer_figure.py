"""The learning curves of the peer benchmark."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sbmrl.display.plotting import COLOURS, DASHES, Drawing, clean, new_figure, render

_TITLES = {
    "follower_gap_true": "follower: regret at the true model",
    "follower_gap_random": "follower: regret over random models",
    "return": "CartPole-v1: return",
}


def draw(compared: Mapping[str, Any]) -> Drawing:
    """A panel for each metric: mean over the seeds and one standard deviation, against the steps of a seed."""
    metrics = [
        (name, learning)
        for learning in (own["learning"] for own in compared.values())
        for name in learning["sbmrl"]["curves"]
    ]
    figure = new_figure(3.6 * len(metrics), 3.4)
    for axes, (name, learning) in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _panel(axes, name, learning)
    note = "Mean over the seeds of each side and one sample standard deviation, after equally many steps of a seed."
    return render("peers", "Learning beside the peers", note, figure)


def _panel(axes: Axes, name: str, learning: Mapping[str, Any]) -> None:
    for number, (side, own) in enumerate(learning.items()):
        steps, mean = np.array(own["steps"]) / 1000.0, np.array(own["curves"][name]["mean"])
        deviation = np.array(own["curves"][name]["standard_deviation"], float)  # nan where there is one seed
        label = f"{side} ({own['num_seeds']} {'seed' if own['num_seeds'] == 1 else 'seeds'})"
        axes.plot(steps, mean, color=COLOURS[number], linestyle=DASHES[number], lw=1.8, label=label)
        axes.fill_between(steps, mean - deviation, mean + deviation, color=COLOURS[number], alpha=0.15, lw=0)
    axes.set(title=_TITLES[name], xlabel="thousand steps of a seed")
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="y", color="#e4e4e4", lw=0.8)
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
