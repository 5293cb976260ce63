"""What `sbmrl theory` leaves behind: theory.json, a table and a figure of how tight the bounds are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sbmrl.games.tabular.theory.check import ABSOLUTE_TOLERANCE, NUM_BINS, RELATIVE_TOLERANCE, SETTINGS, Survey, Tally
from sbmrl.games.tabular.theory.judge import LOSSES, STATEMENTS, name_of
from sbmrl.games.tabular.theory.search import Tightest

_LOSS_TITLES = {"kl": "KL", "brier": "Brier"}
_SHOWN = ("0.99", "0.999", "max")


def to_json(survey: Survey, found: Mapping[str, Mapping[str, Tightest]]) -> dict[str, Any]:
    """theory.json; `found` is name of statement and loss -> range of discounts -> tightest instance."""
    total = sum(survey.num_instances.values())
    by_setting = {setting: survey.tallies[setting] for setting in SETTINGS}
    names = list(by_setting[SETTINGS[0]])
    return {
        "instances": total,
        "instances_by_setting": survey.num_instances,
        "violations": {name: sum(tallies[name].violations for tallies in by_setting.values()) for name in names},
        "seconds": round(survey.seconds, 2),
        "instances_per_minute": round(60.0 * total / survey.seconds),
        "bounds": {name: statement.bound for name, statement in STATEMENTS.items()},
        "tolerance": {"relative": RELATIVE_TOLERANCE, "absolute": ABSOLUTE_TOLERANCE},
        "bounded": {s: {name: tally.num_bounded for name, tally in own.items()} for s, own in by_setting.items()},
        "tightness": _quantiles(by_setting, "tightness"),
        "tightness_beyond_own_errors": _quantiles(by_setting, "rest"),
        "violations_by_family": survey.violations,
        "violations_of_the_printed_theorem_2": survey.printed_violations,
        "tightest": {t: {name: _instance(best) for name, best in by_range.items()} for t, by_range in found.items()},
    }


def _quantiles(by_setting: Mapping[str, Mapping[str, Tally]], which: str) -> dict[str, Any]:
    return {s: {name: tally.quantiles(which) for name, tally in own.items()} for s, own in by_setting.items()}


def _instance(best: Tightest) -> dict[str, Any]:
    instance = best.instance
    arrays = {
        "transition": instance.world.transition,
        "reward": instance.world.reward,
        "initial": instance.world.initial,
        "policy": instance.policy,
        "model": instance.model,
        "model_at_optimum": instance.model_at_optimum,
        "reply": instance.reply,
        "pairs": instance.pairs,
    }
    plain = {name: np.asarray(array).tolist() for name, array in arrays.items()}
    return {"share": best.share, "discount": float(instance.discount), "alpha": float(instance.alpha)} | plain


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown tables."""
    counts = " and ".join(f"{count:,} {setting}" for setting, count in summary["instances_by_setting"].items())
    lines = [
        f"{summary['instances']:,} random instances ({counts}), each judged by every statement under both losses, in "
        f"{summary['seconds']:.0f} s ({summary['instances_per_minute']:,} a minute).",
        "",
        "| statement | right-hand side | loss | violations | discounted: 99 %, 99.9 %, largest "
        "| over T steps: 99 %, 99.9 %, largest | by ascent |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, statement in STATEMENTS.items():
        for loss in LOSSES:
            name = name_of(key, loss)
            shares = [summary["tightness_beyond_own_errors"][setting][name] for setting in SETTINGS]
            used = [", ".join(f"{share[q]:.3f}" for q in _SHOWN) for share in shares]
            ascent = " / ".join(f"{best['share']:.3f}" for best in summary["tightest"].get(name, {}).values())
            if statement.identity:
                used, ascent = ["equal"] * len(used), "equal"
            cells = (statement.title, statement.bound, _LOSS_TITLES[loss], str(summary["violations"][name]))
            lines.append("| " + " | ".join((*cells, *used, ascent)) + " |")
    ranges = " / ".join(next(iter(summary["tightest"].values())))
    printed = ", ".join(
        f"{family} {count:,}" for family, count in summary["violations_of_the_printed_theorem_2"].items()
    )
    lines += [
        "",
        "Share used: (left − own errors) / (right-hand side − own errors), at quantiles over the instances (upper "
        "edges of bins of 1e-4; 0 where the left side is below the players' own errors, where the bound is infinite, "
        f"or less than 1e-7 above them). By ascent: the largest that gradient ascent finds for {ranges}. "
        "c = √2·R·H^{3/2} for KL, √(S − [S odd]/S)·R·H² for Brier (over T steps T·√((T+1)(2T+1)/6) for H²), R half of "
        "the reward's span, D a total variation distance. An identity is violated on either side.",
        "",
        f"With the poster's constant, 4γ·max|R|·√ε_M/(1−γ)², theorem 2 fails in: {printed}.",
    ]
    return "\n".join(lines) + "\n"


def draw(survey: Survey, summary: Mapping[str, Any]) -> Figure:
    """How often a bound is used to at least a given share: a panel a loss, a line a statement, marks for the ascent.

    Solid lines are discounted instances, dashed ones those over T steps.
    """
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    panels = figure.subplots(1, len(LOSSES), sharey=True)
    edges = np.arange(NUM_BINS) / NUM_BINS
    least = min(survey.num_instances.values())
    for axes, loss in zip(panels, LOSSES, strict=True):
        for key, statement in STATEMENTS.items():
            if statement.identity:
                continue
            name = name_of(key, loss)
            for setting, line in zip(SETTINGS, ("-", "--"), strict=True):
                exceeding = _exceeding(survey.tallies[setting][name])
                axes.plot(edges[1:], exceeding[1:], line, color=statement.colour, lw=1.4)
            for best in summary["tightest"].get(name, {}).values():
                axes.plot(best["share"], 0.6 / least, "v", ms=6, color=statement.colour, clip_on=False)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1e-4, 1.15)
        axes.set_ylim(0.5 / least, 1.2)
        axes.axvline(1.0, color="#222222", lw=0.8, ls=":")
        axes.set_title(_LOSS_TITLES[loss], fontsize=10)
        axes.set_xlabel("share of the bound that is used, own errors taken off")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("share of instances above")
    for statement in STATEMENTS.values():
        if not statement.identity:
            panels[0].plot([], [], color=statement.colour, label=_in_words(statement.title))
    panels[0].plot([], [], "-", color="#444444", label="discounted")
    panels[0].plot([], [], "--", color="#444444", label="over T steps")
    panels[0].plot([], [], "v", color="#444444", label="gradient ascent")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def _in_words(title: str) -> str:
    """A title without symbols that the figure's font lacks."""
    readings = {"D(μ_M^π*, μ_M^π)": "distance in the world", "D(μ_M^π* ⊗ P, μ_M̂^π* ⊗ P̂)": "distance to the model"}
    for symbols, words in readings.items():
        title = title.replace(symbols, words)
    return title


def _exceeding(tally: Tally) -> np.ndarray:
    """`[NUM_BINS]` the part of the instances whose share is at least that of the bin; NaN where it is none."""
    counts = tally.rest[::-1].cumsum()[::-1]
    return np.where(counts > 0, counts, np.nan) / max(counts[0], 1)


def save_figure(figure: Figure, stem: Path) -> None:
    """The figure as SVG and PNG."""
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), dpi=150)
