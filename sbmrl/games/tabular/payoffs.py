"""What a player can want in model-based RL, exactly and step by step.

Every payoff is a number to be *maximised* and has two twins:

- `exact(profile)`: its closed form on a tabular world, differentiable in both strategies;
- a `Play`: the kind of episode in which it is earned, and which step reward earns it.

| name | exact | moved by | driven by | step reward |
|---|---|---|---|---|
| model_return | J(π, M̂) | model | policy | R(s, a, s') |
| real_return | J(π, M) | world | policy | R(s, a, s') |
| fit | −ℓ(M̂, μ_M^π) | world | policy | −(mean loss of the episode), paid on its last step |
| random_fit | −E_π' ℓ(M̂, μ_M^π') | world | random policy | as fit |
| data_fit | −ℓ(M̂, the transitions collected so far) | – | – | cannot be played |

The sampled fit averages over the steps of each episode, as the poster's code did, so that short episodes are not
rewarded for being short; the exact one averages over the pooled steps. They agree on worlds without early ends.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import Payoff, Profile
from sbmrl.games.tabular.closed_forms import (
    brier_score,
    finite_horizon_occupancy,
    finite_horizon_return,
    kl_divergence,
    safe_log,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition


class Loss(NamedTuple):
    """How wrong a predicted row is.

    Attributes:
        expected: (true rows `[..., S]`, predicted rows `[..., S]`) -> `[...]`.
        sampled: (true row `[S]`, predicted row `[S]`, next state `[]`) -> `[]`; its mean over next states of the
            true row is `expected`.
    """

    expected: Callable[[jax.Array, jax.Array], jax.Array]
    sampled: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def _log_ratio(true_row: jax.Array, predicted_row: jax.Array, next_state: jax.Array) -> jax.Array:
    """Log P(s') − log P̂(s'): unbiased for KL(P ‖ P̂). The first term does not depend on the model, but on the policy."""
    return safe_log(true_row[next_state]) - safe_log(predicted_row[next_state])


def _squared_distance(true_row: jax.Array, predicted_row: jax.Array, next_state: jax.Array) -> jax.Array:
    """Σ_i (P̂(i) − 1[i = s'])²: the Brier score of one observed transition, the poster's code."""
    del true_row
    return jnp.sum((predicted_row - jax.nn.one_hot(next_state, predicted_row.shape[0])) ** 2)


LOSSES: dict[str, Loss] = {
    "kl": Loss(kl_divergence, _log_ratio),
    "brier": Loss(brier_score, _squared_distance),
}


class Play(NamedTuple):
    """A kind of episode. Scalars, possibly traced.

    Attributes:
        in_model: the state moves as the model predicts (else as the world does).
        random_driver: actions come from a policy drawn at random for the episode (else from the policy player).
    """

    in_model: jax.typing.ArrayLike
    random_driver: jax.typing.ArrayLike


class Measurement(NamedTuple):
    """What an exact payoff needs to know of the game beside the profile.

    Attributes:
        mdp: the true world M.
        loss: ℓ.
        random_occupancy: `[S, A]` E_π' μ_M^π'; ℓ is linear in it.
    """

    mdp: TabularMDP
    loss: Loss
    random_occupancy: jax.Array


def _model_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return finite_horizon_return(with_transition(measurement.mdp, profile["model"]), profile["policy"])


def _real_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return finite_horizon_return(measurement.mdp, profile["policy"])


def expected_loss(measurement: Measurement, occupancy: jax.Array, model: jax.Array) -> jax.Array:
    """ℓ(M̂, μ) = Σ_{s,a} μ(s, a) ℓ(P(·|s, a), P̂(·|s, a)), linear in μ `[S, A]`."""
    return jnp.sum(occupancy * measurement.loss.expected(measurement.mdp.transition, model))


def _fit(measurement: Measurement, profile: Profile) -> jax.Array:
    occupancy = finite_horizon_occupancy(measurement.mdp, profile["policy"])
    return -expected_loss(measurement, occupancy, profile["model"])


def _random_fit(measurement: Measurement, profile: Profile) -> jax.Array:
    return -expected_loss(measurement, measurement.random_occupancy, profile["model"])


def _data_fit(measurement: Measurement, profile: Profile) -> jax.Array:
    """−Σ D(s, a) ℓ(P_D(·|s, a), P̂(·|s, a)), D the share of each pair and P_D the conditionals of the data."""
    counts = profile["data"]
    pairs = jnp.sum(counts, axis=-1)
    rows = counts / jnp.where(pairs > 0, pairs, 1.0)[..., None]
    losses = measurement.loss.expected(rows, profile["model"])
    return -jnp.sum(pairs * losses) / jnp.sum(pairs)


def payoffs(measurement: Measurement) -> dict[str, Payoff]:
    """The table of this module for one world, by name."""

    def payoff(exact: Callable[[Measurement, Profile], jax.Array], play: Play | None, earned: str) -> Payoff:
        in_model, random = (False, False) if play is None else (bool(play.in_model), bool(play.random_driver))
        return Payoff(functools.partial(exact, measurement), play, earned, imagined=in_model, by_others=random)

    return {
        "model_return": payoff(_model_return, Play(True, False), "return"),
        "real_return": payoff(_real_return, Play(False, False), "return"),
        "fit": payoff(_fit, Play(False, False), "fit"),
        "random_fit": payoff(_random_fit, Play(False, True), "fit"),
        "data_fit": payoff(_data_fit, None, "fit"),
    }
