"""Figures as files, and what a programme leaves beside the report of its run."""

from pathlib import Path
from typing import Any

from sbmrl.core.files import write_json, write_text
from sbmrl.display.plotting import Drawing


def write_findings(out: Path, data: Any, markdown: str, drawing: Drawing) -> list[Path]:
    """The drawing's name as .md, .json, .svg and .png in `out`; returns their paths."""
    stem = out / drawing.name
    write_json(stem.with_suffix(".json"), data)
    write_text(stem.with_suffix(".md"), markdown)
    return [stem.with_suffix(".md"), stem.with_suffix(".json"), *write_figure(out, drawing)]


def write_figure(out: Path, drawing: Drawing) -> list[Path]:
    """The drawing's name as .svg and .png in `out`; returns their paths."""
    paths = [out / f"{drawing.name}.svg", out / f"{drawing.name}.png"]
    for path, picture in zip(paths, (drawing.svg, drawing.png), strict=True):
        path.write_bytes(picture)
    return paths
