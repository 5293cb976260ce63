"""The soft best response as a fixed point, whose derivative the implicit function theorem gives.

The leader's total derivative goes through the fixed point, not through the iterations that found it.
"""

import jax

from sbmrl.core.game import Profile, SoftResponse, Strategy
from sbmrl.core.learner import Info
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme


def implicit(response: SoftResponse) -> Scheme:
    """The scheme around a game's soft best response."""

    def respond(state: tuple[()], given: Profile) -> Strategy:
        return response.respond(given)

    def residual(state: tuple[()], given: Profile) -> jax.Array:
        return response.residual(given)

    def adapt(key: jax.Array, state: tuple[()], leaders: Leaders) -> tuple[tuple[()], Info]:
        return state, {}

    return Scheme(lambda key, leaders: (), adapt, respond, residual, lambda state: {}, 0, adapts_in_play=False)
