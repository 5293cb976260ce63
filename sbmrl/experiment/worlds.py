"""Worlds of either kind, an MDP or a matrix game, as an experiment names them and as a run keeps them."""

from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.experiment import Experiment
from sbmrl.games.tabular.files import load_world
from sbmrl.games.matrix.files import load_game
from sbmrl.games.matrix.rules import MatrixGame, make_game, make_matrix_game
from sbmrl.games.matrix.values import led_by
from sbmrl.games.tabular.mdp import TabularMDP, make_mdp, make_world
from sbmrl.errors import require
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.games.matrix.optima import require_enumerable

World = TabularMDP | MatrixGame


def world_of(experiment: Experiment) -> World:
    """The world that `env` names, of the kind that the formulation is played in.

    Raises:
        InputError: there is none of that name and kind, its file cannot be read, or it is a matrix game with too many
            strategies for the optimum by which every run is judged.
    """
    row = FORMULATIONS[experiment.formulation]
    if row.kind == "model_based":
        return make_world(experiment.env)
    game = make_game(experiment.env)
    require_enumerable(led_by(game, row.leader), clock=False)
    return game


def require_kind(experiment: Experiment, world: World) -> None:
    """Raise `InputError` unless the world is of the kind that the formulation is played in."""
    kinds = {"matrix": (MatrixGame, "a matrix game"), "model_based": (TabularMDP, "an MDP")}
    kind, name = kinds[FORMULATIONS[experiment.formulation].kind]
    require(isinstance(world, kind), "world", f"must be {name} for {experiment.formulation}", type(world).__name__)


def to_plain(world: World) -> dict[str, Any]:
    """A world's arrays in the format of the user's own files."""

    def plain(array: Any) -> Any:
        return np.asarray(array, np.float64).tolist()

    if isinstance(world, MatrixGame):
        return {
            "name": world.name,
            "row": plain(world.payoffs[0]),
            "column": plain(world.payoffs[1]),
            "offset": plain(world.offset),
            "horizon": world.horizon,
            "memory": world.memory,
        }
    return {
        "name": world.name,
        "transition": plain(world.transition),
        "reward": plain(world.reward),
        "initial": plain(world.initial),
        "terminal": [state for state, ends in enumerate(world.terminal) if ends],
        "horizon": world.horizon,
    }


def read_world(path: Path, experiment: Experiment) -> World:
    """The world that `to_plain` has left in a file, of the experiment's kind.

    Raises:
        InputError: the file is damaged.
    """
    if FORMULATIONS[experiment.formulation].kind == "matrix":
        return make_matrix_game(load_game(path))
    return make_mdp(load_world(path))
