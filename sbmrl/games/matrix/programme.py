"""The programme of "Oracles & Followers" (Gerstgrasser & Parkes 2023) as a plan: games, two followers, conditions.

Every cell is an ordinary experiment. The conditions are those under which the query-augmented episode has the
Stackelberg equilibrium as its optimum; each is given up in a cell of its own, and twice kept by a leader that does not
need it.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from sbmrl.core.experiment import Experiment
from sbmrl.games.matrix.catalogue import TWELVE_GAMES
from sbmrl.experiment.presets import preset
from sbmrl.sweep.plan import CellPlan

CONTEXTUAL, Q_LEARNING = "contextual", "q_learning"  # the two followers, as in the names of the cells
FORMULATION = "matrix_game"


class Demonstration(NamedTuple):
    """A condition given up.

    Attributes:
        name: of its cell.
        told: what is given up, in a few words.
        game: where.
        experiment: the cell.
    """

    name: str
    told: str
    game: str
    experiment: Experiment


def demonstrations(preset_name: str) -> list[Demonstration]:
    """Each condition given up where it matters, and the leader that does not care about hidden queries."""
    ppo = preset(preset_name, FORMULATION)
    evolution = preset(preset_name, FORMULATION, learner="evolution")
    inner = preset(preset_name, FORMULATION, "inner_outer")
    cut = dataclasses.replace(ppo.leader, discount=0.5)
    cut_inner = dataclasses.replace(inner.leader, discount=0.9)
    hidden = {"hidden_queries": True}
    rows: Sequence[tuple[str, str, str, Experiment, dict]] = (
        ("hidden-ppo", "queries hidden from PPO", "hidden_query", ppo, hidden),
        ("hidden-evolution", "queries hidden from evolution strategies", "hidden_query", evolution, hidden),
        ("kept", "nothing", "hidden_query", ppo, {}),
        ("hidden-ppo", "queries hidden from PPO", "prisoners_dilemma", ppo, hidden),
        ("hidden-evolution", "queries hidden from evolution strategies", "prisoners_dilemma", evolution, hidden),
        ("phase", "leader told the phase", "prisoners_dilemma", ppo, {"phase_told": True}),
        ("no-reset", "follower not reset", "prisoners_dilemma", ppo, {"follower_reset": False}),
        ("paid", "answers paid, 5 of 15 steps", "prisoners_dilemma", ppo, {"paid_queries": True}),
        ("paid-q", "answers paid, 800 of 810 steps", "prisoners_dilemma", inner, {"paid_queries": True}),
        ("discount", "γ = 0.5 across 5 queries", "prisoners_dilemma", ppo, {"leader": cut}),
        ("discount-q", "γ = 0.9 across 800 queries", "prisoners_dilemma", inner, {"leader": cut_inner}),
    )
    return [
        Demonstration(f"{game}-{name}", told, game, dataclasses.replace(experiment, env=game, **changes))
        for name, told, game, experiment, changes in rows
    ]


def cells(preset_name: str, games: Sequence[str] = TWELVE_GAMES) -> tuple[CellPlan, ...]:
    """Both followers in every game, then the demonstrations.

    Raises:
        InputError: a preset that is not for matrix games.
    """
    contextual = preset(preset_name, FORMULATION)
    inner = preset(preset_name, FORMULATION, "inner_outer")
    found = []
    for follower, experiment in ((CONTEXTUAL, contextual), (Q_LEARNING, inner)):
        for game in games:
            static = (("env", game), ("follower", follower))
            directory = f"{game}-{follower}".replace("/", "_")
            found.append(CellPlan(directory, dataclasses.replace(experiment, env=game), (), static))
    for one in demonstrations(preset_name):
        static = (("env", one.game), ("given up", one.told))
        found.append(CellPlan(one.name, one.experiment, (), static))
    return tuple(found)
