"""The exact best response: no learning on the follower's side.

Source: Gerstgrasser & Parkes (2023), "oracles". What the best response is, and what can be set of it, is the game's own
knowledge.
"""

import dataclasses
from typing import Any

from sbmrl.core.game import Game
from sbmrl.core.parts import Choice, Composition, SchemeKind
from sbmrl.core.scheme import Scheme, answering
from sbmrl.errors import InputError


@dataclasses.dataclass(frozen=True)
class ExactOptions:
    """A follower that answers every leader by its exact best response."""

    follower: Any
    """What the game lets its best response be told."""


def build(game: Game, composition: Composition) -> Scheme:
    """The scheme of an experiment."""
    assert game.best_response is not None
    options = composition.experiment.scheme.follower
    return answering(game.best_response(composition.formulation, options), draws=options.draws)


def default(choice: Choice, leader: Any) -> ExactOptions:
    """The game's own best response, with a derivative where the leader's learner takes one.

    Raises:
        InputError: the game has none for this follower.
    """
    del leader
    differentiates = choice.learner is not None and choice.learner.differentiates
    make = choice.kind.answers.get("exact")
    options = None if make is None else make(choice.row, differentiates)
    if options is None:
        raise InputError(f"scheme: exact has no closed form for the follower of {choice.row.name}; use another")
    return ExactOptions(options)


def unmoved(composition: Composition) -> str:
    """A best action has no derivative."""
    flat = composition.leader.differentiates and not composition.experiment.scheme.follower.differentiable
    return "answers by a best action, which has no gradient in the model" if flat else ""


EXACT = SchemeKind(
    name="exact",
    summary="exact best response, by a closed form of the game",
    options=ExactOptions,
    build=build,
    default=default,
    answer="exact",
    unmoved=unmoved,
    cheap=True,
)
