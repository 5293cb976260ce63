"""Fictitious play: the follower best-responds to the average of the leaders that it has met (Brown 1951)."""

import dataclasses
from typing import Any

import sbmrl
from sbmrl.core.scheme import Scheme, no_residual


@dataclasses.dataclass(frozen=True)
class FictitiousOptions:
    """A follower that answers an average of the past."""

    follower: Any
    """What the game lets its exact best response be told."""
    rate: float = 0.1
    """Share of the present leader in the average."""


def _build(game, composition):
    options, role = composition.experiment.scheme, composition.formulation.leader
    respond = game.best_response(composition.formulation, options.follower)

    def adapt(key, state, leaders):
        average = state[1] + options.rate * (leaders(key)[role] - state[1])
        return (key, average), {}

    def answer(state, given):
        return respond(state[0], {**given, role: state[1]})

    return Scheme(lambda key, leaders: (key, leaders(key)[role]), adapt, answer, no_residual, lambda state: {}, 0, True)


def _default(choice, leader):
    return FictitiousOptions(choice.kind.answers["exact"](choice.row, False))


SUMMARY = "fictitious play: exact best response to the average of past leaders"
FICTITIOUS = sbmrl.SchemeKind("fictitious", SUMMARY, FictitiousOptions, _build, _default, answer="exact")
sbmrl.register(FICTITIOUS._replace(unmoved=lambda composition: "answers leaders of the past", judged_at="last"))
