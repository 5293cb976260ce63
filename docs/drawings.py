"""Draws the pictures of the documentation that show no measurement: the game, a run, the layers of the package, and
a world beside a model that hides the best way in it.

`python docs/drawings.py` writes docs/figures/drawings/NAME_light.svg and NAME_dark.svg, the same bytes every time. The
background is transparent and letters are outlines, so a picture looks alike on any page and without any font. World
and model are drawn as `sbmrl draw` draws them, on white.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from sbmrl.display.plotting import COLOURS
from sbmrl.games.tabular.catalogue import named_world
from sbmrl.games.tabular.draw import Panel, draw_panels

OUT = Path(__file__).parent / "figures" / "drawings"
WIDTH = 600  # of every picture; lengths are in these units
INCHES = 0.01  # of a unit
TITLE, LARGE, SMALL = 17.0, 15.0, 13.5  # letters in points; a phone, 370 pixels wide, shows the last 11 pixels high
STYLE: Any = {"svg.hashsalt": "sbmrl", "svg.fonttype": "path", "mathtext.fontset": "dejavusans"}


class Theme(NamedTuple):
    """The colours of a page: of letters, of what matters less, of the page, of both players and of the rest."""

    ink: str
    faint: str
    paper: str
    policy: str
    model: str
    other: str


THEMES = {
    "light": Theme("#222222", "#6b6b6b", "#ffffff", COLOURS[0], "#b84f00", "#00785a"),
    "dark": Theme("#ececec", "#a8a8a8", "#15171d", COLOURS[5], "#f0a04b", "#4cc9a0"),
}


class Pen:
    """Draws on a page of `WIDTH` by `height`, its origin at the top left."""

    def __init__(self, theme: Theme, height: float):
        self.theme = theme
        self.figure = Figure(figsize=(WIDTH * INCHES, height * INCHES))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        self.axes.axis("off")

    def text(self, x: float, y: float, words: str, size: float = SMALL, colour: str = "", **how: Any) -> None:
        """Words around (x, y), or beside it as `ha` and `va` say."""
        how = {"ha": "center", "va": "center", "linespacing": 1.3} | how
        self.axes.text(x, y, words, size=size, color=colour or self.theme.ink, **how)

    def box(self, x: float, y: float, width: float, height: float, colour: str, full: bool = False) -> None:
        """A rounded box from its top left corner on: full of colour, or framed by it and tinted."""
        shape: Any = "round,pad=0,rounding_size=9"
        for inside, frame, alpha in ((colour, "none", 1.0 if full else 0.12), ("none", colour, 1.0)):
            patch = FancyBboxPatch((x, y), width, height, boxstyle=shape, fc=inside, ec=frame, alpha=alpha, lw=1.8)
            self.axes.add_patch(patch)

    def arrow(self, tail: tuple[float, float], head: tuple[float, float], colour: str = "") -> None:
        """A straight arrow."""
        look: Any = {"arrowstyle": "-|>", "mutation_scale": 20, "shrinkA": 0, "shrinkB": 0, "lw": 2.4}
        self.axes.add_patch(FancyArrowPatch(tail, head, color=colour or self.theme.ink, **look))


class Player(NamedTuple):
    """A player as it stands in a box: its name, its symbol, what it earns, and that as a formula."""

    name: str
    symbol: str
    earns: str
    formula: str
    colour: str


def game(theme: Theme) -> Figure:
    """Who leads, who hears what and who earns what, in both orders; below, how a model that leads fools itself."""
    pen = Pen(theme, 846)
    policy = Player("policy", r"$\pi$", "return in the model", r"$J(\pi, \hat{M})$", theme.policy)
    model = Player("model", r"$\hat{M}$", r"fit to the data of $\pi$", r"$-\ell(\hat{M}, \mu^\pi)$", theme.model)
    _order(pen, 6, "PAL: policy leads", policy, model)
    _order(pen, 314, "MAL: model leads", model, policy)
    pen.text(WIDTH / 2, 532, "How a model that leads fools itself", TITLE, weight="bold")
    left, right, high, low, wide, tall = 6, 334, 562, 744, 260, 96
    steps = (
        (left, high, "The model hides\na good way.", theme.model),
        (right, high, "The policy plans in it\nand does not go there.", theme.policy),
        (right, low, "No data come\nfrom the good way.", theme.other),
        (left, low, "The loss does not see it,\nnothing is corrected.", theme.model),
    )
    for x, y, words, colour in steps:
        pen.box(x, y, wide, tall, colour)
        pen.text(x + wide / 2, y + tall / 2, words)
    pen.arrow((left + wide + 6, high + tall / 2), (right - 6, high + tall / 2))
    pen.arrow((right + wide / 2, high + tall + 8), (right + wide / 2, low - 8))
    pen.arrow((right - 6, low + tall / 2), (left + wide + 6, low + tall / 2))
    pen.arrow((left + wide / 2, low - 8), (left + wide / 2, high + tall + 8))
    pen.text(WIDTH / 2, (high + tall + low) / 2, "again and again", colour=theme.faint)
    return pen.figure


def _order(pen: Pen, x: float, title: str, leader: Player, follower: Player) -> None:
    """One order of play from `x` on: the leader above, the follower below, and what passes between them."""
    wide, tall, top = 280, 158, 46
    low = top + tall + 100
    pen.text(x + wide / 2, 28, title, TITLE, weight="bold", va="baseline")
    for y, player, role, full in ((top, leader, "leads", True), (low, follower, "follows", False)):
        ink = pen.theme.paper if full else pen.theme.ink
        pen.box(x, y, wide, tall, player.colour, full)
        name = f"{player.name} {player.symbol} {role}"
        pen.text(x + wide / 2, y + 38, name, LARGE, ink, weight="bold", va="baseline")
        pen.text(x + wide / 2, y + 83, f"and earns the\n{player.earns}", SMALL, ink)
        pen.text(x + wide / 2, y + 139, player.formula, LARGE, ink, va="baseline")
    pen.arrow((x + 104, top + tall + 7), (x + 104, low - 7), leader.colour)
    pen.arrow((x + wide - 122, low - 7), (x + wide - 122, top + tall + 7), follower.colour)
    middle = (top + tall + low) / 2
    pen.text(x + 90, middle, f"1. shows\n{leader.symbol}", ha="right")
    pen.text(x + wide - 108, middle, f"2. answers\nwith {follower.symbol}", ha="left")


def run(theme: Theme) -> Figure:
    """From a command to its files: plan, cells, chunks of seeds, stages and records."""
    pen = Pen(theme, 1010)
    pen.box(6, 6, 588, 60, theme.faint)
    pen.text(300, 36, "sbmrl sweep … --grid alpha=0:1:3", family="monospace", weight="bold")
    pen.arrow((300, 72), (300, 100))
    pen.box(6, 106, 588, 80, theme.policy, full=True)
    pen.text(300, 129, "plan", LARGE, theme.paper, weight="bold")
    pen.text(300, 162, "cells × points × seeds", SMALL, theme.paper)
    for x in (146, 454):
        pen.arrow((x, 192), (x, 220))
    for x, name, points in ((6, "mal", 1), (314, "mal_random_noise", 3)):
        pen.box(x, 226, 280, 250, theme.policy)
        pen.text(x + 140, 250, "cell: one compile", LARGE, weight="bold")
        pen.text(x + 140, 280, name, family="monospace")
        _runs(pen, x + 40, 320, points)
        pen.text(x + 185, 454, "a column: a seed" if points == 1 else "a row: a point", colour=theme.faint)
    pen.arrow((89, 341), (89, 510), theme.model)
    pen.box(6, 516, 588, 262, theme.model)
    pen.text(300, 542, "chunk: seeds side by side", LARGE, weight="bold")
    pen.text(96, 590, "stages", colour=theme.faint)
    pen.text(374, 590, "records, one after another", colour=theme.faint)
    for y, stage, colour in ((633, "pretrain", theme.policy), (690, "play", theme.model)):
        pen.text(96, y, stage)
        for record in range(9):
            pen.axes.add_patch(Rectangle((176 + 45 * record, y - 19), 37, 38, fc=colour, ec="none"))
    pen.text(300, 748, "record = updates, then exact values", SMALL)
    pen.arrow((300, 784), (300, 812))
    pen.box(6, 818, 588, 186, theme.other)
    pen.text(300, 844, "files", LARGE, weight="bold")
    for place, (name, what) in enumerate(
        (("chunks/", "trained states, checksums"), ("results.parquet", "a row for each run"), ("report/", "one page"))
    ):
        y = 892 + 42 * place
        pen.text(30, y, name, family="monospace", ha="left", va="baseline")
        pen.text(256, y, what, ha="left", va="baseline")
    return pen.figure


def _runs(pen: Pen, x: float, y: float, num_points: int) -> None:
    """Runs of a cell as dots, a row each point, a column each seed; the first chunk is full of colour."""
    for point in range(num_points):
        for seed in range(8):
            chosen = seed < 4 and num_points == 1
            colour = pen.theme.model if chosen else pen.theme.policy
            inside = colour if chosen else "none"
            pen.axes.add_patch(Circle((x + 28.5 * seed, y + 40 * point), 9, fc=inside, ec=colour, lw=2))


def layers(theme: Theme) -> Figure:
    """The layers of the package, and which may import which."""
    pen = Pen(theme, 686)
    rows = (
        ("commands", "words become options", theme.other),
        ("report", "tables, figures, one page", theme.other),
        ("sweep", "plans, chunks, files", theme.other),
        ("experiment", "options become functions", theme.policy),
        ("games", "worlds and formulations", theme.model),
        ("schemes", "how a follower answers", theme.model),
        ("learners", "how a player improves", theme.model),
        ("core", "what all games share", theme.policy),
    )
    tall, gap, top = 66, 10, 42
    pen.text(6, 18, "Each may import those below it.", ha="left")
    for place, (name, does, colour) in enumerate(rows):
        y = top + place * (tall + gap)
        full = name == "core"
        ink = theme.paper if full else theme.ink
        pen.box(60, y, 534, tall, colour, full)
        line: Any = {"ha": "left", "va": "baseline"}
        pen.text(78, y + tall / 2 + 7, name, LARGE, ink, weight="bold", family="monospace", **line)
        pen.text(246, y + tall / 2 + 7, does, SMALL, ink, **line)
    pen.arrow((28, top + 6), (28, top + len(rows) * (tall + gap) - gap - 4))
    return pen.figure


def worlds() -> dict[str, str]:
    """SVG of the poster's world and of the model of docs/idea.md that hides the way to s0; bold: the best response.

    Both are drawn as one picture, for one layout, and each is a window on its half.
    """
    world = named_world("simple_mdp_2")
    hiding = np.array(world.transition)
    hiding[1, 1] = (0.01, 0.01, 0.98)
    stay, leave = (np.array([[0, 1], [second, 1 - second], [1, 0]], float) for second in (0, 1))
    panels = [
        Panel(title, rows, world.reward, world.initial, world.terminal, policy)
        for title, rows, policy in (("the world", world.transition, stay), ("a model that hides", hiding, leave))
    ]
    with tempfile.TemporaryDirectory() as where:
        both = draw_panels(panels, Path(where) / "both")[0].read_text(encoding="utf-8")
    (size,) = re.findall(r'width="[0-9.]+pt" height="[0-9.]+pt" viewBox="[^"]*"', both)
    width, height = (float(number) for number in re.findall(r"([0-9.]+)pt", size))
    window = f'width="{width / 2:g}pt" height="{height:g}pt" viewBox="{{:g}} 0 {width / 2:g} {height:g}"'
    return {name: both.replace(size, window.format(left)) for name, left in (("world", 0.0), ("hiding", width / 2))}


PICTURES: dict[str, Callable[[Theme], Figure]] = {"game": game, "run": run, "layers": layers}


def main() -> None:
    """Write all pictures."""
    OUT.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, picture in PICTURES.items():
            for kind, theme in THEMES.items():
                path = OUT / f"{name}_{kind}.svg"
                picture(theme).savefig(path, metadata={"Date": None}, transparent=True)
                print(path)
    for name, svg in worlds().items():
        path = OUT / f"{name}.svg"
        path.write_text(svg, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
