"""How often other leaders are fooled in random worlds: sampled learners, optimal model design, pessimistic PAL.

python experiments/other_leaders.py [NUMBER OF RANDOM WORLDS] [OF SAMPLED LEARNERS]
python experiments/other_leaders.py --table

What `fooled.py` leaves out: leaders that learn from sampled episodes (PPO on the query-augmented episode, HPGD),
and two formulations whose leader or follower wants something else. Then one table of both; with --table nothing else.
"""

import itertools
import json
import sys
from typing import Any, NamedTuple

import numpy as np
from common import FIGURES, Clock, clean, finals, fooled, fraction, random_worlds, repeated, save
from fooled import INITIALS, STYLES, TITLES
from matplotlib.figure import Figure

import sbmrl
from sbmrl.games.tabular.options import PlanOptions
from sbmrl.games.tabular.programme import FORMULATIONS

NUM_RANDOM, NUM_SAMPLED = 1000, 100
BETAS = (1.0, 10.0, 50.0, 200.0, 1000.0)  # weight of the fit against pessimism, in units of return per unit of loss
OF_MODELS = [name for name in FORMULATIONS if name != "pal"]


class Cell(NamedTuple):
    """What is run; `initial` is "" for a network, which has no other start."""

    formulation: str
    scheme: str
    learner: str
    initial: str = "random"
    preset: str = "poster"


def experiment(cell: Cell, loss: str) -> sbmrl.Experiment:
    """The preset of a cell, with a response that the repairs can move."""
    made = sbmrl.preset(cell.preset, cell.formulation, cell.scheme, cell.learner).replace(loss=loss)
    if cell.initial:
        made = made.replace(leader__initial=cell.initial)
    if cell.scheme == "inner_outer":
        made = made.replace(unroll=made.scheme.num_inner_steps)
    follower = getattr(made.scheme, "follower", None)
    return made.replace(follower=PlanOptions(backup="soft")) if isinstance(follower, PlanOptions) else made


def jobs(num_random: int, num_sampled: int) -> list[tuple[Cell, str, int]]:
    """(cell, loss, number of worlds); a leader that wants nothing but the return has no loss."""
    sampled = [Cell(name, "exact", "ppo", "", "fast") for name in FORMULATIONS]
    sampled += [Cell(name, "exact", "hyper_policy_gradient") for name in OF_MODELS]
    sampled += [Cell("pessimistic_pal", "inner_outer", "gradient")]
    designed = [Cell("omd", "exact", "gradient", initial) for initial in INITIALS]
    designed += [Cell("omd", "implicit", "gradient"), Cell("omd", "exact", "evolution")]
    found = [(*pair, num_sampled) for pair in itertools.product(sampled, STYLES)]
    found.append((Cell("mal_agent_reward", "exact", "ppo", ""), "kl", num_sampled // 2))
    return found + [(cell, "kl", num_random) for cell in designed]


def measured(cell: Cell, loss: str, count: int) -> list[dict[str, Any]]:
    """One run in each of `count` random worlds and with each β: who is fooled or optimal, how many diverged."""
    betas = BETAS if cell.formulation == "pessimistic_pal" else ()
    hyper = {"beta": np.tile(betas, count)} if betas else {}
    metrics = finals(experiment(cell, loss), repeated(random_worlds(count), max(len(betas), 1)), hyper)
    rows = []
    for number, beta in enumerate(betas or (None,)):
        own = {name: value[number :: max(len(betas), 1)] for name, value in metrics.items()}
        row: dict[str, Any] = cell._asdict()
        row |= {"loss": "" if cell.formulation == "omd" else loss, "beta": beta, "fooled": fooled(own)}
        row["optimal"] = fraction(own["optimal"], own["finite"])
        row["diverged"] = int((~own["finite"]).sum())
        rows.append(row)
    return rows


def run(clock: Clock, num_random: int, num_sampled: int) -> list[dict[str, Any]]:
    """Every cell, in turn."""
    rows = []
    for cell, loss, count in jobs(num_random, num_sampled):
        for row in measured(cell, loss, count):
            rows.append(row)
            clock.tick(f"{told(row)} {loss}: fooled {row['fooled']['value']:.1%}, diverged {row['diverged']}")
    return rows


def told(row: dict[str, Any]) -> str:
    """A row's name."""
    learner = {"hyper_policy_gradient": "HPGD", "ppo": f"PPO ({row['preset']})"}.get(row["learner"], row["learner"])
    scheme = {"inner_outer": "inner–outer", "contextual": f"contextual ({row['preset']})"}.get(
        row["scheme"], row["scheme"]
    )
    beta = "" if row["beta"] is None else f"β = {row['beta']:,.0f}"
    words = (TITLES[row["formulation"]], beta, scheme, learner, row["initial"])
    return ", ".join(word for word in words if word)


def in_groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the same name together, in the order in which each first came."""
    names = [told(row) for row in rows]
    return sorted(rows, key=lambda row: names.index(told(row)))


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Fooled and optimal with their intervals, and what diverged."""
    lines = ["| formulation, scheme, learner, start | loss | fooled | optimal | runs | diverged |", "|---" * 6 + "|"]
    for row in in_groups(rows):
        shares = [f"{s['value']:.1%} [{s['low']:.0%}, {s['high']:.0%}]" for s in (row["fooled"], row["optimal"])]
        count = row["fooled"]["count"] + row["diverged"]
        lines.append(f"| {told(row)} | {row['loss'] or '–'} | {' | '.join(shares)} | {count} | {row['diverged']} |")
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]]) -> Figure:
    """The fooled share with its interval, a line a cell; colours tell excess from raw losses."""
    groups = list(dict.fromkeys(told(row) for row in rows))
    figure = Figure(figsize=(8.6, 0.36 * len(groups) + 1.0), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        colour, marker, offset = STYLES.get(row["loss"], ("#222222", "s", 0.0))
        share = row["fooled"]
        error = [[share["value"] - share["low"]], [share["high"] - share["value"]]]
        style: Any = {"color": colour, "fmt": marker, "ms": 5, "capsize": 2, "lw": 1}
        axes.errorbar(share["value"], groups.index(told(row)) + offset, xerr=error, **style)
    axes.set_yticks(range(len(groups)), groups, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("fooled, share of random worlds", fontsize=9)
    axes.grid(axis="x", lw=0.4, alpha=0.5)
    clean(axes)
    for name, (colour, marker, _) in STYLES.items():
        axes.plot([], [], marker, color=colour, ms=5, label=name.replace("_", "-"))
    axes.plot([], [], "s", color="#222222", ms=5, label="no loss")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=5)
    return figure


def write_table(rows: list[dict[str, Any]]) -> None:
    """The rows of `fooled.py` and these, in one table."""
    fooled_rows = json.loads((FIGURES / "fooled.json").read_text(encoding="utf-8"))["random"]
    with_presets = [
        {"beta": None, "preset": "fast" if row["scheme"] == "contextual" else "poster"} | row for row in fooled_rows
    ]
    (FIGURES / "random_worlds.md").write_text(to_markdown([*with_presets, *rows]), encoding="utf-8")


def main() -> None:
    """Run everything, keep the numbers and draw."""
    if sys.argv[1:] == ["--table"]:
        write_table(json.loads((FIGURES / "other_leaders.json").read_text(encoding="utf-8")))
        return
    given = [int(word) for word in sys.argv[1:]]
    rows = run(Clock(), *(*given, *(NUM_RANDOM, NUM_SAMPLED)[len(given) :]))
    save("other_leaders", draw(rows), rows)
    write_table(rows)


if __name__ == "__main__":
    main()
