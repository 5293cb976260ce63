"""Agent reward in the model against α: how often leaders are fooled from the truth, uniform or random rows, 16 starts.

python experiments/printed_alphas.py [NUMBER OF RANDOM WORLDS] [OF THE BEST OF 16 STARTS]

The best of 16 random starts by the leader's own payoff stands for the leader's global optimum, which nobody computes
here; from the other starts a leader by gradient ends where its payoff has a maximum nearby.
"""

import dataclasses
import sys
from typing import Any

from common import Clock, clean, random_worlds, save
from matplotlib.figure import Figure
from repairs import LOCAL, Arm, finals, held, judge, payoff_at_truth

ALPHAS = (0.5, 0.9, 0.97, 0.99, 0.999, 0.9999)
NUM_RANDOM, NUM_BEST = 1000, 250
# name -> initial model, number of starts, colour
STARTS = {
    "from the truth": ("truth", 1, "#009e73"),
    "from uniform rows": ("uniform", 1, "#e69f00"),
    "from random rows": ("random", 1, "#d55e00"),
    "from random rows, the best of 16": ("random", 16, "#0072b2"),
}


def points(start: str, num_worlds: int, clock: Clock) -> list[dict[str, Any]]:
    """The share fooled at each α, with the return in the model beside that in the world."""
    initial, number, _ = STARTS[start]
    worlds, found = random_worlds(num_worlds), []
    for alpha in ALPHAS:
        arm = Arm(dataclasses.replace(LOCAL, initial=initial), held(alpha), (number,))
        metrics = finals(arm, "kl", worlds)
        (row,) = judge(arm, metrics, payoff_at_truth(arm, "kl", worlds))
        found.append({"start": start, "alpha": alpha, "num_worlds": num_worlds} | row)
        clock.tick(f"{start}, α = {alpha}: fooled {row['fooled']['value']:.1%}")
    return found


def draw(rows: list[dict[str, Any]]) -> Figure:
    """The share fooled against the weight of the return, a line for each start."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for start, (_, _, colour) in STARTS.items():
        own = [row for row in rows if row["start"] == start]
        weights = [1.0 - row["alpha"] for row in own]
        shares = [row["fooled"] for row in own]
        axes.plot(weights, [share["value"] for share in shares], "o-", color=colour, ms=4, lw=1.5, label=start)
        low, high = ([share[side] for share in shares] for side in ("low", "high"))
        axes.fill_between(weights, low, high, color=colour, alpha=0.2, lw=0)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("1 − α, the weight of the return in the model", fontsize=9)
    axes.set_ylabel("fooled, share of random worlds", fontsize=9)
    axes.grid(lw=0.4, alpha=0.5)
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    return figure


def main() -> None:
    """Run everything, keep the numbers and draw."""
    clock, told = Clock(), [int(word) for word in sys.argv[1:]]
    num_random, num_best = (*told, *(NUM_RANDOM, NUM_BEST)[len(told) :])
    rows = []
    for start, (_, number, _) in STARTS.items():
        rows += points(start, num_random if number == 1 else num_best, clock)
    save("printed_alphas", draw(rows), rows)


if __name__ == "__main__":
    main()
