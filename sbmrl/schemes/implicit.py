"""The soft best response as a fixed point, whose derivative the implicit function theorem gives.

A policy follower answers with the optimum of the discounted problem with entropy bonus τ; the leader's total derivative
goes through the fixed point, not through the iterations that found it. A model follower's soft best response is the
exact one: with all the data there is nothing to trade off.
"""

import jax
import jax.numpy as jnp

from sbmrl.environments.planning import SoftOptimum, soft_optimum
from sbmrl.environments.tabular import with_transition
from sbmrl.formulations import Formulation
from sbmrl.game import Game, Strategy
from sbmrl.learners.base import Info
from sbmrl.options import ImplicitOptions
from sbmrl.payoffs import Profile
from sbmrl.problems import Leaders
from sbmrl.schemes.base import Scheme


def implicit(game: Game, formulation: Formulation, options: ImplicitOptions) -> Scheme:
    """The scheme; its residual is that of the soft Bellman equation, in units of return."""

    def solve(model: Strategy) -> SoftOptimum:
        imagined = with_transition(game.mdp, model)
        return soft_optimum(imagined, options.discount, options.temperature, options.max_iterations)

    def respond(state: tuple[()], given: Profile) -> Strategy:
        return solve(given["model"]).policy if formulation.follower == "policy" else game.mdp.transition

    def residual(state: tuple[()], given: Profile) -> jax.Array:
        return solve(given["model"]).residual if formulation.follower == "policy" else jnp.zeros(())

    def adapt(key: jax.Array, state: tuple[()], leaders: Leaders) -> tuple[tuple[()], Info]:
        return state, {}

    return Scheme(lambda key, leaders: (), adapt, respond, residual, lambda state: {}, 0, adapts_in_play=False)
