"""Grids: what they mean, and what is refused."""

import json

import pytest

from sbmrl.errors import InputError
from sbmrl.experiment.presets import preset
from sbmrl.sweep.plan import Axis, difference, make_plan, parse_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("alpha=0:1:5", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("alpha=0.5", (0.5,)),
        ("leader.learning-rate=1e-4,3e-4", (1e-4, 3e-4)),
        ("leader.learning_rate=log:1e-4:1e-2:3", (1e-4, 1e-3, 1e-2)),
        ("loss=kl,brier", ("kl", "brier")),
        ("num_inner_steps=1,5", (1, 5)),
    ],
)
def test_axes(text, values):
    axis = parse_axis(text)
    assert axis.name == text.partition("=")[0].replace("-", "_")
    assert axis.values == pytest.approx(values) if isinstance(values[0], float) else axis.values == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alpha", "must look like alpha=0:1:11"),
        ("alpha=", "must have at least one value"),
        ("alpha=0:1", "must be start:stop:count"),
        ("alpha=0:1:0", "count: must be a whole number of at least 1"),
        ("alpha=log:0:1:3", "with positive ends"),
        ("alpha=0.1,0.1", "must not repeat a value"),
    ],
)
def test_axes_that_are_none(text, says):
    with pytest.raises(InputError, match=says):
        parse_axis(text)


def test_traced_axes_are_points_and_static_ones_cells():
    experiments = [preset("fast", name, "exact") for name in ("mal", "mal_random_noise")]
    plan = make_plan(experiments, [Axis("alpha", (0.0, 1.0)), Axis("loss", ("kl", "brier"))], num_seeds=4)
    assert [cell.name for cell in plan.cells] == [
        f"{name}-exact-simple_mdp_2-loss={loss}" for name in ("mal", "mal_random_noise") for loss in ("kl", "brier")
    ]
    assert [len(cell.points()) for cell in plan.cells] == [1, 1, 2, 2]  # α changes nothing in plain MAL
    assert plan.cells[0].experiment.game.loss == "kl"
    stored, changed = (json.loads(json.dumps(plan.to_dict())) for _ in range(2))
    assert difference(stored, changed) == []
    changed["cells"][0]["experiment"]["leader"]["learning_rate"] = 0.2
    assert difference(stored, changed) == [
        "cells.mal-exact-simple_mdp_2-loss=kl.experiment.leader.learning_rate: 0.1 -> 0.2"
    ]


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ([Axis("alfa", (1.0,))], "did you mean 'alpha'"),
        ([Axis("alpha", (2.0,))], r"alpha: must be in \[0, 1\]"),
        ([Axis("alpha", ("x",))], "must be numbers"),
        ([Axis("alpha", (0.1,)), Axis("alpha", (0.2,))], "must be given once"),
        (
            [Axis("beta", (1.0,))],
            "and has no meaning here; beta belongs to the formulations pessimistic_pal, reward_shaping",
        ),
        ([Axis("num_inner_steps", (1, 5))], "num_inner_steps belongs to the scheme inner_outer"),
        ([Axis("num_records", ("many",))], "must be of type int"),
        ([Axis("loss", ("l2",))], "loss"),
        ([Axis("num_seeds", (1,))], "is unknown"),
    ],
)
def test_grids_that_contradict_themselves(axes, says):
    with pytest.raises(InputError, match=says):
        make_plan([preset("fast", "mal_random_noise", "exact")], axes)


def test_a_cell_twice_is_refused():
    with pytest.raises(InputError, match="must not have a cell twice"):
        make_plan([preset("fast", "mal"), preset("fast", "mal")])
