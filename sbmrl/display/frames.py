"""Parts of results and curves, which are frames."""

from collections.abc import Mapping
from typing import Any

import polars as pl


def at_point(frame: pl.DataFrame, point: Mapping[str, float]) -> pl.DataFrame:
    """The rows of a point of the axes, whose values were stored as float32."""
    for name, wanted in point.items() if len(frame) else ():
        frame = frame.filter((pl.col(name) - wanted).abs() <= 1e-5 * abs(wanted) + 1e-9)
    return frame


def median_run(finite: pl.DataFrame) -> dict[str, Any]:
    """The run at the median exact return, of an even number the lower one; ties go to the lower seed."""
    ordered = finite.sort("exact_return", "seed")
    return ordered.row((len(ordered) - 1) // 2, named=True)
