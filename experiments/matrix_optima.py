"""The optima of the named matrix games: deterministic leaders by brute force, mixed ones by ascent.

python experiments/matrix_optima.py
"""

import jax
import numpy as np
from common import FIGURES, Clock

from sbmrl.games.matrix.catalogue import GAMES, TWELVE_GAMES
from sbmrl.games.matrix.optima import deterministic_optimum, mixed_lower_bound
from sbmrl.games.matrix.rules import make_game
from sbmrl.games.matrix.values import TIE_BREAKING, led_by

LED = [(name, "row") for name in TWELVE_GAMES]  # symmetric: column earns as much as a leader
LED += [(f"{name}_small_memory", "row") for name in TWELVE_GAMES]
LED += [("hidden_query", "row"), ("hidden_query", "column")]
LED += [(f"{name}_one_shot", "row") for name in GAMES]


def shown(leader: jax.Array) -> str:
    """The probability of action 1 in each observation; whole numbers where the leader does not mix."""
    return " ".join(f"{p:.2f}".removesuffix(".00") for p in np.asarray(leader)[:, 1])


def line(name: str, leader: str) -> str:
    """One row of the table."""
    led, cells, best = led_by(make_game(name), leader), [], []
    for clock in (False, True):
        found = [deterministic_optimum(led, clock=clock, tie_breaking=ties).best for ties in TIE_BREAKING]
        values = [f"{float(one.leader_value):.1f}" for one in found]
        cells.append(values[0] if len(set(values)) == 1 else " / ".join(values))
        best.append(f"{shown(found[0].leader)}, {float(found[0].follower_value):.1f}")
    mixed = [mixed_lower_bound(led, jax.random.key(0), clock=clock) for clock in (False, True)]
    cells += [f"{np.floor(100 * float(one.leader_value) + 1e-3) / 100:.2f}" for one in mixed]  # a lower bound: down
    return f"| {name} | {leader} | " + " | ".join(cells + best) + " |"


def main() -> None:
    """Write docs/figures/matrix_optima.md."""
    clock, lines = Clock(), []
    lines += [
        "| game | leader | deterministic, no clock | deterministic, clock | mixed, no clock ≥ | mixed, clock ≥ "
        "| no clock: leader, follower's return | clock: leader, follower's return |",
        "|" + "---|" * 8,
    ]
    for name, leader in LED:
        lines.append(line(name, leader))
        clock.tick(lines[-1])
    (FIGURES / "matrix_optima.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
