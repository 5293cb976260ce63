"""The soft best response as a fixed point, whose derivative the implicit function theorem gives.

The leader's total derivative goes through the fixed point, not through the iterations that found it.
"""

import dataclasses
from typing import Any

import jax

from sbmrl.core.game import Game, Info, Profile, SoftResponse, Strategy
from sbmrl.core.parts import Choice, Composition, SchemeKind
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme
from sbmrl.errors import InputError


@dataclasses.dataclass(frozen=True)
class ImplicitOptions:
    """A follower that answers every leader by its soft best response."""

    follower: Any
    """What the game lets its soft best response be told."""


def implicit(response: SoftResponse) -> Scheme:
    """The scheme around a game's soft best response."""

    def respond(state: tuple[()], given: Profile) -> Strategy:
        return response.respond(given)

    def residual(state: tuple[()], given: Profile) -> jax.Array:
        return response.residual(given)

    def adapt(key: jax.Array, state: tuple[()], leaders: Leaders) -> tuple[tuple[()], Info]:
        return state, {}

    return Scheme(lambda key, leaders: (), adapt, respond, residual, lambda state: {}, 0, adapts_in_play=False)


def build(game: Game, composition: Composition) -> Scheme:
    """The scheme of an experiment."""
    assert game.soft_response is not None
    return implicit(game.soft_response(composition.formulation, composition.experiment.scheme.follower))


def default(choice: Choice, leader: Any) -> ImplicitOptions:
    """The game's own soft best response.

    Raises:
        InputError: the game has none for this follower.
    """
    del leader
    make = choice.kind.answers.get("soft")
    options = None if make is None else make(choice.row, True)
    if options is None:
        raise InputError(f"scheme: implicit has no closed form for the follower of {choice.row.name}; use another")
    return ImplicitOptions(options)


IMPLICIT = SchemeKind(
    name="implicit",
    summary="soft best response over an infinite horizon, differentiated implicitly",
    options=ImplicitOptions,
    build=build,
    default=default,
    answer="soft",
)
