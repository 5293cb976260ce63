"""Estimates and tables in print."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sbmrl.display.statistics import Estimate


def number(value: float) -> float | None:
    """A number as plain data; None for NaN."""
    return None if math.isnan(value) else float(value)


def median(values: np.ndarray) -> float | None:
    """The median of what is known, as plain data; None where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def bounds_of(estimate: Estimate) -> dict[str, float | None]:
    """An estimate as plain data; None for what is not known."""
    return {name: number(value) for name, value in estimate._asdict().items()}


def value(bounds: Mapping[str, float | None], form: str) -> str:
    """An estimate in print, without its interval."""
    return "–" if bounds["value"] is None else form.format(bounds["value"])


def with_interval(bounds: Mapping[str, float | None], form: str) -> str:
    """An estimate and its interval in print: 0.50 [0.40, 0.60]; only what is known of it."""
    if bounds["low"] is None or bounds["high"] is None:
        return value(bounds, form)
    return f"{value(bounds, form)} [{form.format(bounds['low'])}, {form.format(bounds['high'])}]"


def markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *lines))
