"""What the figures of a report share: one style, small multiples, dots with intervals. Sizes in inches."""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c6d31")  # Okabe–Ito first
MARKERS = "osD^vPX*"
# Lines may lie on each other: the first is widest, and those above it have gaps.
WIDTHS = (3.4, 2.8, 2.4, 2.0, 1.8, 1.6, 1.4, 1.2)
DASHES = ("-", (0, (6, 2)), (2, (4, 3)), (4, (2, 2)), (0, (7, 2, 1, 2)), (3, (3, 4)), (0, (1, 2)), (5, (5, 5)))
MOST_LINES = len(COLOURS)  # of a panel
MOST_PANELS = 12  # of a figure
WIDTH = 6.4  # of a figure of one panel: still read on a phone
_LABEL_WIDTH = 36  # characters of a line of a label
BOUNDS = ("value", "low", "high")
STYLE: Any = {"svg.hashsalt": "sbmrl", "svg.fonttype": "none", "font.size": 10.0, "axes.titlesize": 10.0}


class Drawing(NamedTuple):
    """A finished figure.

    Attributes:
        name: of its files, without suffix.
        title: what it shows, in a few words; also the text for those who cannot see it.
        note: what the reader needs to know, and what is left out.
        svg: its bytes.
        png: its bytes.
    """

    name: str
    title: str
    note: str
    svg: bytes
    png: bytes


def render(name: str, title: str, note: str, figure: Figure) -> Drawing:
    """A figure as SVG and PNG, the same bytes every time."""
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=150)
    return Drawing(name, title, note, svg.getvalue(), png.getvalue())


def left_out(shown: int, total: int, what: str) -> str:
    """The sentence that says how much of it is not in the figure; nothing where all is."""
    return "" if shown >= total else f" Shown: the first {shown} of {total} {what}; the tables have all."


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many items at a time as lines go into a panel."""
    for start in range(0, len(items), MOST_LINES):
        yield items[start : start + MOST_LINES]


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def in_lines(label: str) -> str:
    """A label in lines that leave room for the figure, its numbers to three digits."""
    short = re.sub(r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.3g}", label)
    return textwrap.fill(short, _LABEL_WIDTH, break_long_words=False)


def row_figure(labels: Sequence[str], columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with a named line for each label, from the top, in one panel or several beside each other."""
    told = [in_lines(label) for label in labels]
    figure = new_figure(WIDTH + 0.4 * (columns - 1), 0.9 + sum(0.12 + 0.15 * text.count("\n") + 0.15 for text in told))
    several = list(np.ravel(figure.subplots(1, columns, sharey=True, squeeze=False)))
    several[0].set_yticks(range(len(told)), told, fontsize=9)
    return figure, several


def panels(labels: Sequence[Sequence[str]]) -> tuple[Figure, list[Axes]]:
    """Small multiples with room for the legend of each: one panel alone is wide, more stand in two columns."""
    columns = 1 if len(labels) == 1 else 2
    lines = max(sum(in_lines(label).count("\n") + 1 for label in own) for own in labels)
    height = 3.2 + 0.16 * (lines if columns == 2 else (lines + 1) // 2)
    figure = new_figure(WIDTH if columns == 1 else WIDTH + 2.0, height * -(-len(labels) // columns))
    axes = list(np.ravel(figure.subplots(-(-len(labels) // columns), columns, squeeze=False)))
    for unused in axes[len(labels) :]:
        unused.axis("off")
    return figure, axes[: len(labels)]


def clean(axes: Axes) -> None:
    """No frame above and to the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend_below(axes: Axes, columns: int) -> None:
    """The legend below a panel, where it covers no line."""
    place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    axes.legend(frameon=False, fontsize=8, ncols=columns, handlelength=3.2, **place)


def dots(axes: Axes, estimates: Sequence[Mapping[str, float | None]], colours: Sequence[str]) -> None:
    """One line each, from the top: the value, and its interval where there is one."""
    for place, (estimate, colour) in enumerate(zip(estimates, colours, strict=True)):
        value, low, high = (estimate[name] for name in BOUNDS)
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
        if value is not None:
            axes.plot(value, place, "o", ms=6, color=colour, clip_on=False, zorder=4)
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    clean(axes)


def same_range(several: Sequence[Axes]) -> None:
    """One horizontal range for all of them."""
    ends = [axes.get_xlim() for axes in several]
    for axes in several:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
