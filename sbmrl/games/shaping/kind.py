"""Reward shaping as one part: its worlds, answers, presets and checks."""

from collections.abc import Mapping
from typing import Any

from sbmrl.core.displays import GameDisplay
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.options import require_counts, require_positive
from sbmrl.core.parts import Composition, GameKind
from sbmrl.games.shaping.catalogue import DRAWINGS
from sbmrl.games.shaping.game import shaping_game
from sbmrl.games.shaping.options import RegularisedOptions, ShapingOptions
from sbmrl.games.shaping.presets import ENV, PRESETS
from sbmrl.games.shaping.world import ShapingWorld, check_world, make_world

_TOLERANCE = 0.05  # of the agent's regret, in units of what it earns at its goal


def _worlds() -> Mapping[str, str]:
    return {name: drawing.summary for name, drawing in DRAWINGS.items()}


def _make_game(world: ShapingWorld, formulation: Formulation, options: ShapingOptions) -> Game:
    del formulation, options  # nothing of the game depends on them
    return shaping_game(world)


def _soft(row: FormulationRow, differentiable: bool) -> RegularisedOptions:
    del row, differentiable  # it always has a derivative
    return RegularisedOptions()


def _check(composition: Composition) -> None:
    """What the closed form can be told."""
    answer = getattr(composition.experiment.scheme, "follower", None)
    if isinstance(answer, RegularisedOptions):
        require_counts(answer, "follower.", "max_iterations")
        require_positive(answer, "follower.", "temperature")


def _unused(composition: Composition) -> dict[str, str]:
    del composition
    return {"response": "in reward shaping, where an agent draws from its policy"}


def _columns(options: Any) -> dict[str, Any]:
    return {"beta": options.beta}


def _display() -> GameDisplay:
    return GameDisplay(
        returns="the designer's",
        baseline="no penalty",
        responds=f"within {_TOLERANCE} of the best policy against {{leader}}",
        tolerance=lambda head: _TOLERANCE,
    )


SHAPING = GameKind(
    name="shaping",
    summary="reward shaping: a designer's penalties on the cells of a world, an agent on its way to a goal",
    world=ShapingWorld,
    what="a world of cells",
    worlds=_worlds,
    make_world=make_world,
    check_world=check_world,
    make_game=_make_game,
    env=ENV,
    options=ShapingOptions,
    presets=PRESETS,
    check=_check,
    unused=_unused,
    scores=lambda row: True,
    answers={"soft": _soft},
    columns=_columns,
    display=_display,
)
