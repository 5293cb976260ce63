"""The exact best responses of linear-quadratic games: optimal controls of a model, and models of a policy's data."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Profile, SoftResponse, Strategy
from sbmrl.games.linear_quadratic.closed_forms import best_response, riccati, self_confirming_model
from sbmrl.games.linear_quadratic.options import IterationOptions, RegressionOptions, RiccatiOptions
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem


def exact_response(
    system: LinearQuadraticSystem, options: RiccatiOptions | RegressionOptions
) -> Callable[[jax.Array, Profile], Strategy]:
    """(key, given) -> the follower's strategy; nothing is drawn.

    A policy answers with the optimal control of the model, a model with one that has loss 0 on the policy's data.
    """
    held = options.derivative == "none"

    def respond(key: jax.Array, given: Profile) -> Strategy:
        given = jax.lax.stop_gradient(given) if held else given
        if isinstance(options, RiccatiOptions):
            return best_response(system, given["model"]).gain
        return system.truth if options.among == "truth" else self_confirming_model(system, given["policy"])

    return respond


def iterated_response(
    system: LinearQuadraticSystem, formulation: Formulation, options: IterationOptions
) -> SoftResponse:
    """The optimal control of the model by as many doublings as are allowed, with its residual in parts of P.

    A model that only fits has the exact one: there is nothing to iterate.
    """
    if formulation.follower == "model":
        return SoftResponse(lambda given: system.truth, lambda given: jnp.zeros(()))
    return SoftResponse(
        lambda given: best_response(system, given["model"], options.num_doublings).gain,
        lambda given: riccati(system, given["model"], options.num_doublings).residual,
    )
