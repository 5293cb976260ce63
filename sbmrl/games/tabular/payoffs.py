"""What a player can want in model-based RL, exactly and step by step.

Every payoff is a number to be *maximised* and has two twins:

- `exact(profile)`: its closed form on a tabular world, differentiable in both strategies;
- a `Play`: the kind of episode in which it is earned, and which step reward earns it.

| name | exact | moved by | driven by | step reward |
|---|---|---|---|---|
| model_return | J(π, M̂) | model | policy | R(s, a, s') |
| real_return | J(π, M) | world | policy | R(s, a, s') |
| fit | −ℓ(M̂, μ_M^π) | world | policy | −(mean loss of the episode), paid on its last step |
| random_fit | −E_π' ℓ(M̂, μ_M^π'), or −ℓ averaged over all pairs | world | random policy | as fit; of all pairs, none |
| data_fit | −ℓ(M̂, the transitions collected so far) | – | – | cannot be played |

The sampled fit averages over the steps of each episode, as the poster's code did, so that short episodes are not
rewarded for being short; the exact one averages over the pooled steps. They agree on worlds without early ends.
Where the model has rewards of its own, (r̂(s, a) − r(s, a))² is part of its loss at a pair.

Four losses ℓ (`LOSSES`). An *excess* loss is 0 at the truth; a *raw* one is an excess loss plus what it costs to be
right, v(s, a), which depends on the pair alone. In the model both have the same derivative. A leader whose follower
answers chooses the pairs as well, and a raw loss pays it for pairs with a small v: where the world is predictable.

| loss | row | v | from samples |
|---|---|---|---|
| kl | Σ P log(P / P̂) | – | needs log P, which no learner knows |
| cross_entropy | −Σ P log P̂ | entropy of P | one next state |
| brier | Σ (P̂ − P)² + 1 − ΣP² | 1 − ΣP² | one next state |
| excess_brier | Σ (P̂ − P)² | – | two independent next states of the pair |
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import Payoff, Profile
from sbmrl.games.tabular.closed_forms import (
    brier_score,
    cross_entropy,
    excess_brier_score,
    expected_reward,
    finite_horizon_occupancy,
    finite_horizon_return,
    kl_divergence,
    safe_log,
)
from sbmrl.games.tabular.mdp import TabularMDP, imagined, transition_of


class Loss(NamedTuple):
    """How wrong a predicted row is.

    Attributes:
        expected: (true rows `[..., S]`, predicted rows `[..., S]`) -> `[...]`.
        sampled: (true row `[S]`, predicted row `[S]`, next states `[num_draws]`) -> `[]`; its mean over independent
            next states of the true row is `expected`.
        excess: whether it is 0 at the truth (static).
        divergence: what it is in excess of the truth's, KL(P ‖ P̂) or Σ(P̂ − P)² (static).
        num_draws: next states of one pair that it needs (static).
    """

    expected: Callable[[jax.Array, jax.Array], jax.Array]
    sampled: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
    excess: bool
    divergence: Literal["kl", "brier"]
    num_draws: int = 1


def _log_ratio(true_row: jax.Array, predicted_row: jax.Array, next_states: jax.Array) -> jax.Array:
    """Log P(s') − log P̂(s'): unbiased for KL(P ‖ P̂). The first term does not depend on the model, but on the policy."""
    return safe_log(true_row[next_states[0]]) - safe_log(predicted_row[next_states[0]])


def _surprise(true_row: jax.Array, predicted_row: jax.Array, next_states: jax.Array) -> jax.Array:
    """−log P̂(s'): the cross-entropy of one observed transition."""
    del true_row
    return -safe_log(predicted_row[next_states[0]])


def _squared_distance(true_row: jax.Array, predicted_row: jax.Array, next_states: jax.Array) -> jax.Array:
    """Σ_i (P̂(i) − 1[i = s'])²: the Brier score of one observed transition, the poster's code."""
    del true_row
    return jnp.sum((predicted_row - jax.nn.one_hot(next_states[0], predicted_row.shape[0])) ** 2)


def _product_of_errors(true_row: jax.Array, predicted_row: jax.Array, next_states: jax.Array) -> jax.Array:
    """Σ_i (P̂(i) − 1[i = s'])(P̂(i) − 1[i = s'']), s' and s'' independent: the mean of each factor is P̂(i) − P(i)."""
    del true_row
    errors = predicted_row - jax.nn.one_hot(next_states, predicted_row.shape[0])
    return jnp.sum(errors[0] * errors[1])


LOSSES: dict[str, Loss] = {
    "kl": Loss(kl_divergence, _log_ratio, True, "kl"),
    "brier": Loss(brier_score, _squared_distance, False, "brier"),
    "cross_entropy": Loss(cross_entropy, _surprise, False, "kl"),
    "excess_brier": Loss(excess_brier_score, _product_of_errors, True, "brier", num_draws=2),
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
        random_occupancy: `[S, A]` E_π' μ_M^π', or all pairs alike; ℓ is linear in it.
        random_pairs: whether it is all pairs alike, which no policy's episodes are (static).
        learned_rewards: whether a model has rewards of its own (static).
    """

    mdp: TabularMDP
    loss: Loss
    random_occupancy: jax.Array
    random_pairs: bool = False
    learned_rewards: bool = False


def _model_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return finite_horizon_return(imagined(measurement.mdp, profile["model"]), profile["policy"])


def _real_return(measurement: Measurement, profile: Profile) -> jax.Array:
    return finite_horizon_return(measurement.mdp, profile["policy"])


def pair_losses(measurement: Measurement, model: jax.Array) -> jax.Array:
    """`[S, A]`: ℓ(P(·|s, a), P̂(·|s, a)), and the squared error of the rewards where the model has its own."""
    mdp = measurement.mdp
    losses = measurement.loss.expected(mdp.transition, transition_of(mdp, model))
    if measurement.learned_rewards:
        losses = losses + (model[..., -1] - expected_reward(mdp)) ** 2
    return losses


def expected_loss(measurement: Measurement, occupancy: jax.Array, model: jax.Array) -> jax.Array:
    """ℓ(M̂, μ) = Σ_{s,a} μ(s, a) · the loss at (s, a), linear in μ `[S, A]`."""
    return jnp.sum(occupancy * pair_losses(measurement, model))


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
        "random_fit": payoff(_random_fit, None if measurement.random_pairs else Play(False, True), "fit"),
        "data_fit": payoff(_data_fit, None, "fit"),
    }
