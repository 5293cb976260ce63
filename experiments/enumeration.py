"""The solver against enumeration: PAL's exact value on every named world and 200 random ones.

python experiments/enumeration.py
"""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, GROUPS, Clock, finals, random_worlds, repeated, stacked

import sbmrl
from sbmrl.games.tabular.closed_forms import finite_horizon_return
from sbmrl.games.tabular.mdp import TabularMDP

NUM_RANDOM, TOLERANCE = 200, 1e-3
SEEDS = 16


def enumerated_optimum(worlds: TabularMDP) -> np.ndarray:
    """`[N]`: the best return over T steps of all deterministic policies without a clock."""
    num_states, num_actions = worlds.transition.shape[1:3]
    policies = jnp.eye(num_actions)[jnp.array(list(itertools.product(range(num_actions), repeat=num_states)))]
    returns = jax.vmap(jax.vmap(finite_horizon_return, (None, 0)), (0, None))(worlds, policies)
    return np.asarray(returns.max(1))


def groups() -> Iterator[tuple[str, TabularMDP]]:
    """Stacked worlds, by name."""
    for names in GROUPS:
        yield ", ".join(names), stacked(names)
    yield f"{NUM_RANDOM} random worlds", random_worlds(NUM_RANDOM)


def main() -> None:
    """Print how often the solver's value is within 1e-3 of the enumerated optimum."""
    clock = Clock()
    agree = total = 0
    lines = []
    for name, worlds in groups():
        count = len(worlds.initial)
        metrics = finals(sbmrl.preset("poster", "pal", "exact"), repeated(worlds, SEEDS))
        short = enumerated_optimum(worlds)[:, None] - metrics["exact_return"].reshape(count, SEEDS)
        within = (short <= TOLERANCE).all(1)  # in every seed
        agree, total = agree + int(within.sum()), total + count
        runs = int((short <= TOLERANCE).sum())
        lines.append(f"| {name} | {int(within.sum())} of {count} | {runs} of {short.size} | {short.max():.2g} |")
        clock.tick(lines[-1])
    lines = [
        "| worlds | within 1e-3 in all seeds | runs within 1e-3 | largest shortfall |",
        "|---|---|---|---|",
        *lines,
    ]
    lines.append(f"\nTogether: {agree} of {total} worlds.")
    (FIGURES / "enumeration.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[-1])


if __name__ == "__main__":
    main()
