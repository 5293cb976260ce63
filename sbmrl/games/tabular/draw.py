"""Draws finite MDPs as graphs, a learned world model beside the true world, as SVG and PNG.

States are circles and a state's actions are small squares around it. Arrows run from an action to the next states
and carry `probability  (reward)`. All panels share one layout, found for all their arrows together: each arrow's
bend and its label's place are chosen by coordinate descent on a count of overlaps. Lengths are in inches.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path as Outline
from scipy.optimize import linear_sum_assignment

from sbmrl.errors import require

SMALLEST_PROBABILITY = 0.005  # a less likely arrow is not drawn: its label would read 0.00
ACTION_COLOURS = ("#0060A8", "#C04A00", "#00785A", "#A0408A", "#5C4A00", "#404040")  # Okabe-Ito, darker for text
CIRCLE_RADIUS, SQUARE_RADIUS = 0.28, 0.16
STATE_DISTANCE = {1: 0.0, 2: 1.9, 3: 2.1, 4: 2.8, 5: 3.6}  # from the centre of the panel
ACTION_DISTANCE, START_LENGTH = 1.35, 0.65  # from the state
LABEL_SIZE, CHARACTER_WIDTH, LABEL_HEIGHT = 10.0, 0.078, 0.18  # the first in points
MARGIN, TITLE_HEIGHT = 0.25, 0.4
BENDS = (0.0, -0.15, 0.15, -0.3, 0.3, -0.5, 0.5, -0.8, 0.8)  # of an arrow, as a part of its length
LOOP_BENDS = (-0.7, 0.7, -0.9, 0.9)
NUM_POINTS = 25  # along an arrow
LABEL_PLACES = (12, 10, 14, 8, 16, 6, 18)  # of these points
STRENGTHS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.0, 1.0, 1.0)  # of the overlaps in the sweeps of the descent

Edge = tuple[int, int, int]  # state, action, next state


class Panel(NamedTuple):
    """One MDP to draw: `transition` and `reward` `[S, A, S]`, `initial` `[S]`, the states that end the episode, and
    a `policy` `[S, A]` or None; its likeliest action in each state is drawn bold.
    """

    title: str
    transition: np.ndarray
    reward: np.ndarray
    initial: np.ndarray
    terminal: tuple[int, ...]
    policy: np.ndarray | None = None


class _Route(NamedTuple):
    """How an arrow runs, or with a leading axis, several: `points` `[P, 2]` on a quadratic Bézier curve at equal steps
    of its parameter, the middle of the `label` `[2]` and `half` its size `[2]`, and `dislike` `[]` of this choice in
    itself. A node is one too: its line to its state is the curve and its box the label.
    """

    points: np.ndarray
    label: np.ndarray
    half: np.ndarray
    dislike: np.ndarray


class _Layout(NamedTuple):
    """Where everything is: `states` `[S, 2]`, `actions` `[S, A, 2]`, tails of start arrows `starts` `[S, 2]`."""

    states: np.ndarray
    actions: np.ndarray
    starts: np.ndarray


class Graph(Figure):
    """A figure that a notebook shows at once; a plain one it shows only after pyplot has drawn another."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=120)
        return content.getvalue()


def draw_panels(panels: Sequence[Panel], stem: Path) -> list[Path]:
    """Draw `panels` side by side in one layout, the same bytes every time; return `stem`.svg and `stem`.png.

    Raises:
        InputError: as `panels_figure`.
    """
    figure = panels_figure(panels, len(panels))
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("svg", "png")]
    with matplotlib.rc_context({"svg.hashsalt": "sbmrl", "svg.fonttype": "none"}):
        figure.savefig(paths[0], metadata={"Date": None})
    figure.savefig(paths[1], dpi=150)
    return paths


def panels_figure(panels: Sequence[Panel], columns: int) -> Graph:
    """`panels` in rows of at most `columns`, all in one layout, as a figure that belongs to no window.

    Raises:
        InputError: there is no panel, or they have MDPs of several shapes.
    """
    shapes = sorted({np.shape(panel.transition) for panel in panels})
    require(len(shapes) == 1, "panels", "at least one, all with transitions of one shape", shapes)
    layout = _layout(panels[0])
    routes = _routes(panels, layout)
    boxes = [r.label + sign * r.half for r in routes.values() for sign in (-1, 1)]
    drawn = np.concatenate([layout.states, *(r.points for r in routes.values()), np.reshape(boxes, (-1, 2))])
    low, high = drawn.min(0) - CIRCLE_RADIUS - MARGIN, drawn.max(0) + CIRCLE_RADIUS + MARGIN + [0, TITLE_HEIGHT]
    width, height = high - low
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Graph(figsize=(width * columns, height * rows), facecolor="white")
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        axes = figure.add_axes((column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows))
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.axis("off")
        axes.text(low[0] + width / 2, high[1] - TITLE_HEIGHT, panel.title, size=16, ha="center")
        _draw_panel(axes, panel, layout, routes, f"panel{index}")
    return figure


def _edges(panel: Panel) -> list[Edge]:
    """The transitions of non-terminal states that are likely enough to draw."""
    likely = np.argwhere(np.asarray(panel.transition) >= SMALLEST_PROBABILITY).tolist()
    return [(s, a, n) for s, a, n in likely if s not in panel.terminal]


def _label(panel: Panel, edge: Edge) -> str:
    reward = f"{float(panel.reward[edge]) + 0.0:.4g}".replace("-", "\N{MINUS SIGN}")
    return f"{float(panel.transition[edge]):.2f}  ({reward})"


def _layout(world: Panel) -> _Layout:
    """States on a circle; around each, its actions, each in the slot nearest to where it leads in `world`."""
    num_states, num_actions, _ = np.shape(world.transition)
    outward = np.pi * (0.5 + 0.5 * (num_states == 2) + 2 * np.arange(num_states) / num_states)
    spacing = 2 * np.pi / (num_actions + (0.5 if num_actions < 3 else 1.0))
    turns = ((num_actions - 1) / 2 - np.arange(num_actions)) * spacing
    angle = outward[:, None] + np.append(turns, [0.0, spacing / 2 if num_actions % 2 else 0.0])
    around = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    states = around[:, -2] * (STATE_DISTANCE.get(num_states, 0.75 * num_states) + 0.4 * max(num_actions - 2, 0))
    slots = states[:, None] + ACTION_DISTANCE * around[:, :-2]
    detour = world.transition @ np.linalg.norm(states[:, None, None] - slots, axis=-1).transpose(1, 0, 2)
    detour = detour + 0.02 * np.arange(num_actions)[:, None] * slots[:, None, :, 1]  # for equals, a0 above a1
    seats = [linear_sum_assignment(np.round(costs, 6))[1] for costs in detour]
    actions = np.take_along_axis(slots, np.array(seats)[..., None], axis=1)
    return _Layout(states, actions, states + START_LENGTH * around[:, -1])


def _routes(panels: Sequence[Panel], layout: _Layout) -> dict[Edge, _Route]:
    """A route for each edge: coordinate descent on the overlaps, likely edges first."""
    weight = np.max([panel.transition for panel in panels], axis=0)
    edges = sorted({edge for panel in panels for edge in _edges(panel)}, key=lambda edge: (-weight[edge], edge))
    nodes = _nodes(panels, layout, sorted({edge[:2] for edge in edges}))
    candidates, chosen = {}, {}
    for edge in edges:
        length = max(len(_label(panel, edge)) for panel in panels)
        candidate = _candidates(layout.actions[edge[:2]], layout.states[edge[2]], edge[0] == edge[2], length)
        dislike = (0.3 + weight[edge]) * candidate.dislike + _overlap(candidate, nodes, 80.0)
        candidates[edge] = candidate._replace(dislike=dislike)
        chosen[edge] = _best(candidate, dislike)
    for strength in STRENGTHS if len(edges) > 1 else ():
        for edge, candidate in candidates.items():
            others = _stack(route for other, route in chosen.items() if other != edge)
            chosen[edge] = _best(candidate, candidate.dislike + strength * _overlap(candidate, others, 14.0))
    return chosen


def _nodes(panels: Sequence[Panel], layout: _Layout, pairs: list[tuple[int, int]]) -> _Route:
    """Circles, squares and start arrows, as things to keep clear of."""
    lines = [(centre, centre, CIRCLE_RADIUS) for centre in layout.states]
    lines += [(layout.states[pair[0]], layout.actions[pair], SQUARE_RADIUS) for pair in pairs]
    starts = np.flatnonzero(np.max([panel.initial for panel in panels], axis=0) > 0)
    lines += [(layout.states[s], layout.starts[s], 0.08) for s in starts]
    return _stack(_Route(np.linspace(a, b, NUM_POINTS), b, np.full(2, r), np.array(0.0)) for a, b, r in lines)


def _best(routes: _Route, cost: np.ndarray) -> _Route:
    return _Route(*(field[np.argmin(cost.round(6))] for field in routes))


def _stack(routes: Iterable[_Route]) -> _Route:
    return _Route(*map(np.stack, zip(*routes, strict=True)))


def _candidates(source: np.ndarray, target: np.ndarray, loop: bool, length: int) -> _Route:
    """Every bend with every place of the label along the curve, `LABEL_PLACES` fastest."""
    half = np.array([length * CHARACTER_WIDTH, LABEL_HEIGHT]) / 2
    routes = []
    for bend in LOOP_BENDS if loop else BENDS:
        points = _curve(source, target, bend)
        for place in LABEL_PLACES:
            shape = 3 * abs(bend) - 5 * np.linalg.norm(points[place]) if loop else 10 * abs(bend)
            hidden = (np.abs(points - points[place]) < half).all(-1).mean()
            dislike = np.array(shape + (12 if loop else 4) * abs(place / NUM_POINTS - 0.42) + 20 * hidden)
            routes.append(_Route(points, points[place], half, dislike))
    return _stack(routes)


def _curve(source: np.ndarray, target: np.ndarray, bend: float) -> np.ndarray:
    """`[P, 2]` points on the bent curve from a square to a circle, from outline to outline."""
    across = np.array([source[1] - target[1], target[0] - source[0]])
    t = np.linspace(0, 1, 2000)[:, None]
    curve = (1 - t) ** 2 * source + 2 * t * (1 - t) * ((source + target) / 2 + bend * across) + t**2 * target
    outside = np.linalg.norm(curve - source, axis=-1) > 1.2 * SQUARE_RADIUS
    outside &= np.linalg.norm(curve - target, axis=-1) > CIRCLE_RADIUS + 0.03
    first, last = np.flatnonzero(outside)[[0, -1]]
    return curve[np.linspace(first, last, NUM_POINTS).astype(int)]


def _overlap(routes: _Route, others: _Route, cost_through: float) -> np.ndarray:
    """`[C]`: labels on labels, labels on lines, and lines close to each other before the states where they meet."""
    each_bend = routes.points[:: len(LABEL_PLACES)]
    labels = (_gap(routes.label[:, None], others.label, routes.half[:, None] + others.half) < 0.05).sum(-1)
    covers = (_gap(routes.label[:, None, None], others.points, routes.half[:, None, None]) < 0.03).any(-1).sum(-1)
    covered = _gap(each_bend[:, None, 3:-3], others.label[:, None], others.half[:, None]) < 0.05
    middle = each_bend[:, 3 : 3 * NUM_POINTS // 4, None, None]
    close = (_gap(middle, others.points, np.zeros(2)) < 0.09).any(-1)
    by_bend = cost_through * covered.any(-1).sum(-1) + 0.5 * close.sum((1, 2))
    return 60.0 * labels + 12.0 * covers + np.repeat(by_bend, len(LABEL_PLACES))


def _gap(middle: np.ndarray, other: np.ndarray, half: np.ndarray) -> np.ndarray:
    """The larger of the horizontal and the vertical distance between boxes; negative where they overlap."""
    return np.maximum(*(np.abs(middle[..., i] - other[..., i]) - half[..., i] for i in range(2)))


def _draw_panel(axes: Axes, panel: Panel, layout: _Layout, routes: dict[Edge, _Route], name: str) -> None:
    """Everything but the title; `name` starts the ids of the SVG's shapes."""
    for edge in _edges(panel):
        _draw_edge(axes, panel, routes[edge], edge, name)
    for state, centre in enumerate(layout.states):
        terminal = state in panel.terminal
        chosen = None if panel.policy is None else int(np.argmax(panel.policy[state]))
        for action, square in enumerate(layout.actions[state] if not terminal else ()):
            _draw_action(axes, np.stack([centre, square]), action, chosen, f"{name}-s{state}-a{action}")
        fill = "#D0D0D0" if terminal else "white"
        axes.add_patch(Circle(tuple(centre), CIRCLE_RADIUS, fc=fill, ec="black", lw=1.6, zorder=5))
        if terminal:
            axes.add_patch(Circle(tuple(centre), CIRCLE_RADIUS - 0.05, fill=False, ec="black", zorder=6))
        axes.text(centre[0], centre[1], f"s{state}", size=14, ha="center", va="center_baseline", zorder=7)
        if panel.initial[state] > 0:
            head = centre + (CIRCLE_RADIUS + 0.02) / START_LENGTH * (layout.starts[state] - centre)
            line = np.linspace(layout.starts[state], head, NUM_POINTS)
            _draw_arrow(axes, line, "black", 1.8, 3, f"{name}-start-s{state}")


def _draw_action(axes: Axes, line: np.ndarray, action: int, chosen: int | None, name: str) -> None:
    """A square and the line from its state: bold if the policy chooses it, hollow if it chooses another."""
    bold, filled = action == chosen, chosen in (action, None)
    colour = ACTION_COLOURS[action % len(ACTION_COLOURS)]
    axes.plot(*line.T, color=colour, linewidth=4.5 if bold else 1.2, zorder=3)
    shape = Rectangle(tuple(line[1] - SQUARE_RADIUS), 2 * SQUARE_RADIUS, 2 * SQUARE_RADIUS, zorder=5, gid=name)
    axes.add_patch(shape).set(fc=colour if filled else "white", ec="black" if bold else colour, lw=2.6 if bold else 1.2)
    text = axes.text(line[1, 0], line[1, 1], f"a{action}", size=11, ha="center", va="center_baseline", zorder=6)
    text.set(color="white" if filled else colour, weight="bold" if bold else "normal")


def _draw_edge(axes: Axes, panel: Panel, route: _Route, edge: Edge, name: str) -> None:
    """An arrow, wider and stronger the likelier it is, and its label."""
    probability = float(panel.transition[edge])
    colour = ACTION_COLOURS[edge[1] % len(ACTION_COLOURS)]
    faint = 0.65 * (1 - min(probability, 1.0))
    red, green, blue = ((1 - faint) * part + faint for part in to_rgb(colour))
    name += "-s{}-a{}-s{}".format(*edge)
    _draw_arrow(axes, route.points, to_hex((red, green, blue)), 0.8 + 2.7 * probability, 2 + probability / 2, name)
    text = axes.text(route.label[0], route.label[1], _label(panel, edge), size=LABEL_SIZE, ha="center", va="center")
    text.set(color=colour, zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})


def _draw_arrow(axes: Axes, points: np.ndarray, colour: str, width: float, zorder: float, name: str) -> None:
    start, middle, end = points[[0, NUM_POINTS // 2, -1]]
    path = Outline([start, 2 * middle - (start + end) / 2, end], [Outline.MOVETO, Outline.CURVE3, Outline.CURVE3])
    arrow = FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=8 + 2.5 * width, color=colour, lw=width)
    axes.add_patch(arrow).set(zorder=zorder, gid=name)
