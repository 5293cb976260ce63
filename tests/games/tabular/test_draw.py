"""Tests of the drawings of worlds and models: what is on them, and that labels stay readable."""

import re
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest

import sbmrl
from sbmrl.errors import InputError
from sbmrl.games.tabular import draw
from sbmrl.games.tabular.catalogue import named_world
from sbmrl.games.tabular.draw import Panel, draw_panels

WORLD = named_world("simple_mdp_2")
LEARNED_ROWS = [[0.13, 0.08, 0.79], [0.05, 0.03, 0.92], [0.02, 0.08, 0.90], [0.01, 0.01, 0.98]]
POLICY = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])


def panel(title, transition=WORLD.transition, policy=None):
    return Panel(title, transition, WORLD.reward, WORLD.initial, WORLD.terminal, policy)


def with_rows(rows):
    """The world with other rows for its two states that do not end the episode."""
    return np.concatenate([np.reshape(rows, (2, 2, 3)), WORLD.transition[2:]])


def drawn(panels, folder):
    return draw_panels(panels, folder / "graph")[0].read_text(encoding="utf-8")


def ids(svg):
    return set(re.findall(r'id="(panel[^"]*)"', svg))


@pytest.fixture(scope="module")
def pair():
    return [panel("World", policy=POLICY), panel("Learned model", with_rows(LEARNED_ROWS))]


@pytest.fixture(scope="module")
def paths(pair, tmp_path_factory):
    return draw_panels(pair, tmp_path_factory.mktemp("draw") / "new" / "simple_mdp.2")


@pytest.fixture(scope="module")
def svg(paths):
    return paths[0].read_text(encoding="utf-8")


def test_writes_both_files_and_makes_their_folder(paths):
    assert [path.name for path in paths] == ["simple_mdp.2.svg", "simple_mdp.2.png"]
    assert paths[0].read_text(encoding="utf-8").startswith("<?xml")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_the_same_panels_give_the_same_bytes(pair, paths, tmp_path):
    again = draw_panels(pair, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_titles_states_and_labels_are_text(svg):
    world = ["0.10  (1)", "0.60  (−0.05)", "0.30  (1)", "1.00  (0.75)", "0.20  (−0.05)", "0.80  (1)", "0.50  (0.5)"]
    learned = ["0.13  (1)", "0.92  (0)", "0.98  (0)"]
    for text in ["World", "Learned model", "s0", "s1", "s2", "a0", "a1", "0.50  (−0.05)", *world, *learned]:
        assert f">{text}</text>" in svg, text


def test_every_possible_transition_has_an_arrow_and_terminal_states_have_no_actions(svg):
    rows = {f"s{state}-a{action}" for state in (0, 1) for action in (0, 1)}
    arrows = {f"s{s}-a{a}-s{n}" for s, a, n in np.argwhere(WORLD.transition) if s != 2}
    world = {"start-s1", *rows, *arrows}
    learned = {"start-s1", *rows, *(f"{row}-s{state}" for row in rows for state in range(3))}
    assert ids(svg) == {f"panel0-{name}" for name in world} | {f"panel1-{name}" for name in learned}


def test_an_unlikely_transition_is_not_drawn(tmp_path):
    rows = [[0.004, 0.006, 0.99], *LEARNED_ROWS[1:]]
    names = ids(drawn([panel("Model", with_rows(rows))], tmp_path))
    assert "panel0-s0-a0-s0" not in names
    assert {"panel0-s0-a0-s1", "panel0-s0-a0-s2"} <= names


def test_what_the_policy_chooses_has_a_black_outline(svg):
    squares = re.findall(r'id="panel0-(s\d-a\d)">\s*<path [^>]*stroke: #000000', svg)
    assert squares == ["s0-a1", "s1-a0"]


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_clear_of_each_other_and_of_nodes(seed):
    model = with_rows(np.random.default_rng(seed).dirichlet(np.ones(3), 4))
    panels = [panel("World"), panel("Learned model", model)]
    layout = draw._layout(panels[0])
    routes = list(draw._routes(panels, layout).values())
    nodes = [(centre, draw.CIRCLE_RADIUS) for centre in layout.states]
    nodes += [(centre, draw.SQUARE_RADIUS) for centre in layout.actions[:2].reshape(-1, 2)]
    for one, other in combinations(routes, 2):
        assert (np.abs(one.label - other.label) >= one.half + other.half).any()
    for route in routes:
        assert all((np.abs(route.label - centre) >= route.half + radius).any() for centre, radius in nodes)


@pytest.mark.parametrize("terminal", [(), (0,)])
def test_the_smallest_world_can_be_drawn(tmp_path, terminal):
    svg = drawn([Panel("Loop", np.ones((1, 1, 1)), np.full((1, 1, 1), -2.0), np.ones(1), terminal)], tmp_path)
    assert (">1.00  (−2)</text>" in svg) == (not terminal)


def test_panels_must_be_there_and_of_one_shape(tmp_path):
    other = named_world("mdp_erg_det_2")
    smaller = Panel("Smaller", other.transition, other.reward, other.initial, other.terminal)
    for panels in ([], [panel("World"), smaller]):
        with pytest.raises(InputError, match="panels"):
            draw_panels(panels, tmp_path / "graph")


def test_mdps_as_a_figure_in_rows():
    world = sbmrl.make_world("simple_mdp_2")
    model = sbmrl.imagined(world, jnp.float32(with_rows(LEARNED_ROWS)))
    clock = np.stack([POLICY, 1.0 - POLICY])  # [T, S, A]: the first decision is what is drawn
    mdps = {"World": world, "Early": model, "Late": model}
    figure = sbmrl.draw_mdps(mdps, {"World": clock, "Late": POLICY})
    titles = [axes.texts[0].get_text() for axes in figure.axes]
    corners = [tuple(axes.get_position().p0) for axes in figure.axes]
    assert titles == ["World", "Early", "Late"]
    assert corners == [(0.0, 0.5), (0.5, 0.5), (0.0, 0.0)]
    bold = [{text.get_text() for text in axes.texts if text.get_fontweight() == "bold"} for axes in figure.axes]
    assert bold == [{"a1", "a0"}, set(), {"a1", "a0"}]
    labels = [{text.get_text() for text in axes.texts} for axes in figure.axes]
    assert "0.60  (−0.05)" in labels[0] - labels[1]
    assert "0.92  (0)" in labels[1] - labels[0]
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for


def test_what_cannot_be_drawn_is_named():
    world = sbmrl.make_world("simple_mdp_2")
    with pytest.raises(InputError, match="policies: 'Wrold' is unknown; did you mean 'World'"):
        sbmrl.draw_mdps({"World": world}, {"Wrold": POLICY})
    with pytest.raises(InputError, match="columns"):
        sbmrl.draw_mdps({"World": world}, columns=0)
    with pytest.raises(InputError, match="panels"):
        sbmrl.draw_mdps({})
