"""What `sbmrl theory` leaves behind: theory.json, a table and a figure of how tight the bounds are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sbmrl.games.tabular.theory.check import ABSOLUTE_TOLERANCE, NUM_BINS, QUANTILES, RELATIVE_TOLERANCE, Survey, Tally
from sbmrl.games.tabular.theory.search import Tightest

TITLES = {
    "theorem_1_world": "theorem 1, D(μ_M^π*, μ_M^π)",
    "theorem_1_model": "theorem 1, D(μ_M^π* ⊗ P, μ_M̂^π* ⊗ P̂)",
    "theorem_2": "theorem 2",
}
BOUNDS = {
    "theorem_1_world": "ε_π + √2·R·√ε_M/(1−γ)² + 2R·D/(1−γ)",
    "theorem_1_model": "ε_π + √2·R·√ε_M/(1−γ)² + 2R·D/(1−γ)",
    "theorem_2": "ε_π + 2√2·R·√ε_M/(1−γ)²",
}
LEGEND = {
    "theorem_1_world": r"theorem 1, $D_{TV}(\mu_M^{\pi^*}, \mu_M^{\pi})$",
    "theorem_1_model": r"theorem 1, $D_{TV}(\mu_M^{\pi^*}, \mu_{\hat M}^{\pi^*})$",
    "theorem_2": "theorem 2",
}
COLOURS = {"theorem_1_world": "#0072b2", "theorem_1_model": "#e69f00", "theorem_2": "#009e73"}


def to_json(survey: Survey, found: Mapping[str, Mapping[str, Tightest]]) -> dict[str, Any]:
    """theory.json; `found` is theorem -> range of discounts -> tightest instance."""
    return {
        "instances": survey.num_instances,
        "violations": {theorem: tally.violations for theorem, tally in survey.tallies.items()},
        "seconds": round(survey.seconds, 2),
        "instances_per_minute": round(60.0 * survey.num_instances / survey.seconds),
        "bounds": BOUNDS,
        "tolerance": {"relative": RELATIVE_TOLERANCE, "absolute": ABSOLUTE_TOLERANCE},
        "tightness": {theorem: tally.quantiles("tightness") for theorem, tally in survey.tallies.items()},
        "tightness_beyond_policy_error": {t: tally.quantiles("rest") for t, tally in survey.tallies.items()},
        "violations_by_family": survey.violations,
        "violations_of_the_printed_theorem_2": survey.printed_violations,
        "tightest": {t: {name: _instance(best) for name, best in by_range.items()} for t, by_range in found.items()},
    }


def _instance(best: Tightest) -> dict[str, Any]:
    instance = best.instance
    arrays = {
        "transition": instance.world.transition,
        "reward": instance.world.reward,
        "initial": instance.world.initial,
        "policy": instance.policy,
        "model": instance.model,
        "model_at_optimum": instance.model_at_optimum,
    }
    plain = {name: np.asarray(array).tolist() for name, array in arrays.items()}
    return {"share": best.share, "discount": float(instance.discount)} | plain


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown tables."""
    names = [f"{q:.1%}" for q in QUANTILES]
    lines = [
        f"{summary['instances']:,} random instances in {summary['seconds']:.0f} s "
        f"({summary['instances_per_minute']:,} a minute).",
        "",
        "| theorem | right-hand side | violations | share used, " + ", ".join(names) + " | largest | by ascent |",
        "|---|---|---|---|---|---|",
    ]
    for theorem, title in TITLES.items():
        rest = summary["tightness_beyond_policy_error"][theorem]
        ascent = " / ".join(f"{best['share']:.3f}" for best in summary["tightest"][theorem].values())
        values = ", ".join(f"{rest[f'{q:g}']:.4f}" for q in QUANTILES)
        lines.append(
            f"| {title} | {BOUNDS[theorem]} | {summary['violations'][theorem]} | {values} | {rest['max']:.3f} "
            f"| {ascent} |"
        )
    ranges = " / ".join(next(iter(summary["tightest"].values())))
    printed = ", ".join(
        f"{family} {count:,}" for family, count in summary["violations_of_the_printed_theorem_2"].items()
    )
    lines += [
        "",
        "Share used: (regret − ε_π) / (right-hand side − ε_π), at quantiles over the instances (upper edges of bins of "
        "1e-4; 0 where the regret is below ε_π or the bound less than 1e-7 above it). By ascent: the largest that "
        f"gradient ascent finds for {ranges}. R = max |R(s, a, s')|, D a total variation distance.",
        "",
        f"With the poster's constant, 4γ instead of 2√2, theorem 2 fails in: {printed}.",
    ]
    return "\n".join(lines) + "\n"


def draw(survey: Survey, summary: Mapping[str, Any]) -> Figure:
    """How often a bound is used to at least a given share: one line a theorem, the ascent's best as a mark."""
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.arange(NUM_BINS) / NUM_BINS
    for theorem, tally in survey.tallies.items():
        axes.plot(edges[1:], _exceeding(tally)[1:], color=COLOURS[theorem], lw=1.8, label=LEGEND[theorem])
        for best in summary["tightest"][theorem].values():
            axes.plot(best["share"], 0.6 / survey.num_instances, "v", ms=7, color=COLOURS[theorem], clip_on=False)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1e-4, 1.15)
    axes.set_ylim(0.5 / survey.num_instances, 1.2)
    axes.axvline(1.0, color="#222222", lw=0.8, ls="--")
    axes.text(0.93, 0.9, "violated beyond here", rotation=90, ha="right", va="top", fontsize=8)
    axes.set_xlabel(
        "share of the bound that the regret uses, $\\epsilon_\\pi$ taken off both (▼ found by gradient ascent)"
    )
    axes.set_ylabel("share of instances above")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _exceeding(tally: Tally) -> np.ndarray:
    """`[NUM_BINS]` the part of the instances whose share is at least that of the bin."""
    counts = tally.rest[::-1].cumsum()[::-1]
    return counts / max(counts[0], 1)


def save_figure(figure: Figure, stem: Path) -> None:
    """The figure as SVG and PNG."""
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), dpi=150)
