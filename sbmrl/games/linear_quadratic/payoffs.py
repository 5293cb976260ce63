"""What a player can want on a linear-quadratic world, exactly and step by step.

| name | exact | moved by | driven by | step reward |
|---|---|---|---|---|
| model_return | −J(K, M̂) | model | policy | −γᵗ (xᵀQx + uᵀRu) |
| real_return | −J(K, M) | world | policy | −γᵗ (xᵀQx + uᵀRu) |
| fit | −ℓ(M̂, Z_K) | world | policy, with action noise | −(1−γ) γᵗ ‖(M̂ − M) z‖² |
| random_fit | −E ℓ(M̂, Z_K') | world | random policy K', with action noise of variance 1 | as fit |

Z_K is what the policy's data tell. Returns are those of the policy's mean action: action noise belongs to the data.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax

from sbmrl.core.game import Payoff, Profile
from sbmrl.games.linear_quadratic.closed_forms import cost, kl_divergence, occupancy, squared_error
from sbmrl.games.linear_quadratic.system import LinearQuadraticSystem

Loss = Callable[[LinearQuadraticSystem, jax.Array, jax.Array], jax.Array]
LOSSES: dict[str, Loss] = {"squared": squared_error, "kl": kl_divergence}


class Play(NamedTuple):
    """A kind of episode. Scalars, possibly traced.

    Attributes:
        in_model: the state moves as the model predicts (else as the world does).
        random_driver: actions come from a policy drawn at random for the episode, with noise of variance 1.
    """

    in_model: jax.typing.ArrayLike
    random_driver: jax.typing.ArrayLike


class Measurement(NamedTuple):
    """What an exact payoff needs to know of the game beside the profile.

    Attributes:
        system: the true world.
        loss: ℓ.
        action_noise: σ², of the policy's own data.
        random_data: `[n + m, n + m]` E Z_K' over random policies; ℓ is linear in it.
    """

    system: LinearQuadraticSystem
    loss: Loss
    action_noise: jax.typing.ArrayLike
    random_data: jax.Array


def _model_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return -cost(measurement.system, profile["model"], profile["policy"])


def _real_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return -cost(measurement.system, measurement.system.truth, profile["policy"])


def own_data(measurement: Measurement, policy: jax.Array) -> jax.Array:
    """`[n + m, n + m]` Z_K of a policy's own data."""
    return occupancy(measurement.system, policy, measurement.action_noise)


def _fit(measurement: Measurement, profile: Profile) -> jax.Array:
    return -measurement.loss(measurement.system, profile["model"], own_data(measurement, profile["policy"]))


def _random_fit(measurement: Measurement, profile: Profile) -> jax.Array:
    return -measurement.loss(measurement.system, profile["model"], measurement.random_data)


def payoffs(measurement: Measurement) -> dict[str, Payoff]:
    """The table of this module for one world, by name."""

    def payoff(exact: Callable[[Measurement, Profile], jax.Array], play: Play, earned: str) -> Payoff:
        return Payoff(functools.partial(exact, measurement), play, earned)

    return {
        "model_return": payoff(_model_return, Play(True, False), "return"),
        "real_return": payoff(_real_return, Play(False, False), "return"),
        "fit": payoff(_fit, Play(False, False), "fit"),
        "random_fit": payoff(_random_fit, Play(False, True), "fit"),
    }
