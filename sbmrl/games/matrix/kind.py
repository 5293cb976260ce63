"""Iterated matrix games as one part: their worlds, answers, presets and checks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.displays import GameDisplay
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.parts import GameKind
from sbmrl.games.matrix.catalogue import GAMES, VARIANTS, split_name
from sbmrl.games.matrix.files import check_game, load_game
from sbmrl.games.matrix.game import matrix_game
from sbmrl.games.matrix.optima import require_enumerable
from sbmrl.games.matrix.options import MatrixOptions, ReplyOptions
from sbmrl.games.matrix.presets import ENV, PRESETS
from sbmrl.games.matrix.rules import MatrixGame, make_game, make_matrix_game
from sbmrl.games.matrix.values import led_by


def _worlds() -> Mapping[str, str]:
    variants = {f"NAME_{name}": f"the same payoffs, {variant.horizon} steps" for name, variant in VARIANTS.items()}
    files = {"FILE.json, FILE.npz": "your own payoffs (docs/how_to/matrix_games.md)"}
    return {name: row.summary for name, row in GAMES.items()} | variants | files


def _knows(env: str) -> bool:
    return split_name(env)[0] in GAMES


def _world_fields(world: MatrixGame) -> dict[str, Any]:
    """A game's payoffs in the format of the user's own files."""
    row, column = np.asarray(world.payoffs, np.float64).tolist()
    return {
        "name": world.name,
        "row": row,
        "column": column,
        "offset": np.asarray(world.offset, np.float64).tolist(),
        "horizon": world.horizon,
        "memory": world.memory,
    }


def _check_world(world: MatrixGame, where: str) -> None:
    check_game(_world_fields(world), world.name, where)


def _world_of_fields(path: Path) -> MatrixGame:
    return make_matrix_game(load_game(path))


def _make_game(world: MatrixGame, formulation: Formulation, options: MatrixOptions) -> Game:
    """The game, unless it has too many strategies for the optimum by which every run is judged."""
    require_enumerable(led_by(world, formulation.leader), clock=False)
    return matrix_game(world, formulation, options.context == "probabilities")


def _exact(row: FormulationRow, differentiable: bool) -> ReplyOptions:
    del row, differentiable  # a best answer has no derivative, whoever gives it
    return ReplyOptions()


def _display() -> GameDisplay:
    return GameDisplay(responds="within 0.5 of the best strategy without a clock against {leader}")


MATRIX = GameKind(
    name="matrix",
    summary="iterated matrix games: a row player and a column player",
    world=MatrixGame,
    what="a matrix game",
    worlds=_worlds,
    make_world=make_game,
    check_world=_check_world,
    knows=_knows,
    world_fields=_world_fields,
    world_of_fields=_world_of_fields,
    make_game=_make_game,
    env=ENV,
    options=MatrixOptions,
    presets=PRESETS,
    answers={"exact": _exact},
    display=_display,
)
