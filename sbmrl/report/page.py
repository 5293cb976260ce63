"""Writes a report: one self-contained page, its table as Markdown and JSON, and its figures."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import markupsafe

from sbmrl.core.files import write_bytes, write_json, write_text
from sbmrl.display.plotting import Drawing
from sbmrl.errors import InputError, require
from sbmrl.report.sections import overview, sections, title
from sbmrl.report.summary import summarise, to_markdown
from sbmrl.sweep.load import LoadedRun

MOST_ROWS = 60  # of a table that stands open
_FILES = {"report.html", "table.md", "table.json", "figures"}


def write_report(runs: Sequence[LoadedRun], out: Path, compare: bool = False) -> Path:
    """Write report.html, table.md, table.json and figures/ into `out`, after everything is computed.

    Args:
        runs: what `load` read, finished or not; with `compare` at least two.
        out: a new or empty directory, or one of an earlier report, which is replaced.
        compare: pair the rows of further runs with those of the first.

    Returns:
        The path of the page, which holds its figures itself and needs no network.

    Raises:
        InputError: `out` is something else or cannot be written, a file of a run is damaged, or nothing is comparable.
    """
    out = Path(out)
    _require_replaceable(out)
    summary = summarise(runs, compare)
    content = sections(summary)
    drawings = [drawing for section in content for drawing in section.pictures]
    inline = {drawing.name: markupsafe.Markup(_inline(drawing)) for drawing in drawings}
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("sbmrl.report"), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html.j2")
    page = template.render(
        title=title(summary.data),
        overview=overview(summary.data),
        data=summary.data,
        sections=content,
        inline=inline,
        most_rows=MOST_ROWS,
    )
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            write_bytes(out / "figures" / f"{drawing.name}.svg", drawing.svg)
            write_bytes(out / "figures" / f"{drawing.name}.png", drawing.png)
        write_text(out / "table.md", to_markdown(summary.data))
        write_json(out / "table.json", summary.data)
        write_text(out / "report.html", page)  # last: it stands for all of them
        for path in (out / "figures").iterdir():
            if path.stem not in inline:
                path.unlink()
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror or error})") from error
    return out / "report.html"


def _require_replaceable(out: Path) -> None:
    """Refuse to write where something lies that is no report."""
    if not out.exists():
        return
    require(out.is_dir(), "out", "must be a directory", f"the file {out}")
    strange = {path.name.removesuffix(".tmp") for path in out.iterdir()} - _FILES
    figures = out / "figures"
    if figures.exists():
        pictures = figures.iterdir() if figures.is_dir() else [figures]
        strange |= {path.name for path in pictures if path.name.removesuffix(".tmp")[-4:] not in (".svg", ".png")}
    found = next(iter(sorted(strange)), "")
    require(not strange, "out", "must be a new or empty directory, or an earlier report", f"{out}, which holds {found}")


def _inline(drawing: Drawing) -> str:
    """The figure as an element of the page: no prolog, no addresses, ids of its own, a text for who cannot see it."""
    svg = drawing.svg.decode("utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    own = f"{drawing.name}-"
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{own}", svg)
    label = markupsafe.escape(f"{drawing.title}. {drawing.note}")
    return re.sub(r"<svg\b", f'<svg role="img" aria-label="{label}"', svg, count=1)
