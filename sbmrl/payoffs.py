"""What a player can want in model-based RL, exactly and step by step.

Every payoff is a number to be *maximised* and has two twins:

- `exact(game, profile)`: its closed form on a tabular world, differentiable in both strategies;
- a `Play`: the kind of episode in which it is earned, and which step reward earns it. Summed over an episode and
  averaged over episodes of that kind, the step rewards estimate the payoff.

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

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.environments.closed_forms import (
    brier_score,
    finite_horizon_occupancy,
    finite_horizon_return,
    kl_divergence,
    safe_log,
)
from sbmrl.environments.tabular import TabularMDP, with_transition
from sbmrl.formulations import Weights

# role -> strategy as a table: policy [S, A], with a clock [T, S, A], model [S, A, S]; where the game collects
# transitions, "data" -> their (weighted) counts [S, A, S]
Profile = Mapping[str, jax.Array]


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


class Payoff(NamedTuple):
    """A quantity a player can want; see the table of this module.

    Attributes:
        exact: (measurement, profile) -> `[]`.
        play: kind of episode in which it is earned; None if it cannot be played.
        earned: which step reward earns it: "return" or "fit".
    """

    exact: Callable[[Measurement, Profile], jax.Array]
    play: Play | None
    earned: str


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


PAYOFFS: dict[str, Payoff] = {
    "model_return": Payoff(_model_return, Play(True, False), "return"),
    "real_return": Payoff(_real_return, Play(False, False), "return"),
    "fit": Payoff(_fit, Play(False, False), "fit"),
    "random_fit": Payoff(_random_fit, Play(False, True), "fit"),
    "data_fit": Payoff(_data_fit, None, "fit"),
}


def exact_payoff(measurement: Measurement, wants: Weights, profile: Profile) -> jax.Array:
    """`[]`: Σ_j wants[j] · payoff_j, exactly."""
    return sum((w * PAYOFFS[name].exact(measurement, profile) for name, w in wants.items()), jnp.zeros(()))


class Objective(NamedTuple):
    """A weighted sum of payoffs as something that can be played.

    `Σ_j w_j E[g_j]` is estimated by drawing a kind of episode k with probability q_k ∝ Σ_{j in k} |w_j| and paying
    `Σ_{j in k} (w_j / q_k) g_j` in it. Payoffs earned in the same kind of episode share it, so a weight of 0 on the
    only payoff of a kind means that this kind is never played: α = 1 is MAL exactly, not approximately.

    Attributes:
        draw: (key) -> index of the kind of episode `[]`.
        play: (index) -> `Play`.
        reward: (index, {"return": r, "fit": r}) -> `[]`.
    """

    draw: Callable[[jax.Array], jax.Array]
    play: Callable[[jax.Array], Play]
    reward: Callable[[jax.Array, Mapping[str, jax.Array]], jax.Array]


def objective(wants: Weights) -> Objective:
    """The playable form of `Σ_j wants[j] · payoff_j`; each payoff must have a kind of episode."""
    kinds = {PAYOFFS[name].play for name in wants}
    plays = sorted(kind for kind in kinds if kind is not None)
    shares = jnp.stack([sum(jnp.abs(w) for n, w in wants.items() if PAYOFFS[n].play == play) for play in plays])
    probabilities = shares / jnp.sum(shares)
    scale = jnp.where(probabilities > 0, 1.0 / jnp.where(probabilities > 0, probabilities, 1.0), 0.0)
    weights = {
        earned: jnp.stack([sum(_weight(name, wants, play, earned) for name in wants) for play in plays])
        for earned in sorted({PAYOFFS[name].earned for name in wants})
    }

    def draw(key: jax.Array) -> jax.Array:
        if len(plays) == 1:
            return jnp.int32(0)
        return jax.random.categorical(key, safe_log(probabilities))

    def play(index: jax.Array) -> Play:
        in_model, random_driver = (jnp.array(column) for column in zip(*plays, strict=True))
        return Play(in_model[index], random_driver[index])

    def reward(index: jax.Array, earned: Mapping[str, jax.Array]) -> jax.Array:
        return scale[index] * sum(weight[index] * earned[name] for name, weight in weights.items())

    return Objective(draw, play, reward)


def _weight(name: str, wants: Weights, play: Play, earned: str) -> jax.Array:
    mine = PAYOFFS[name].play == play and PAYOFFS[name].earned == earned
    return jnp.asarray(wants[name] if mine else 0.0, dtype=float)
