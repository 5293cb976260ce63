"""What a programme leaves beside the report of its run."""

from pathlib import Path
from typing import Any

from sbmrl.core.files import write_json, write_text
from sbmrl.display.plotting import Drawing


def write_findings(out: Path, data: Any, markdown: str, drawing: Drawing) -> list[Path]:
    """The drawing's name as .md, .json, .svg and .png in `out`; returns their paths."""
    stem = out / drawing.name
    write_json(stem.with_suffix(".json"), data)
    write_text(stem.with_suffix(".md"), markdown)
    stem.with_suffix(".svg").write_bytes(drawing.svg)
    stem.with_suffix(".png").write_bytes(drawing.png)
    return [stem.with_suffix(suffix) for suffix in (".md", ".json", ".svg", ".png")]
