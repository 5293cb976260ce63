"""What a game is: roles with seats, strategies, payoffs and measures. Knows no concrete game.

A *strategy* is what the other side can see of a player, as a table; a *profile* is one for each role. A *seat* is the
game as one role plays it while the other's strategy is fixed. A kind of game is a package that builds a `Game` from a
world: `sbmrl.model_based` and `sbmrl.matrix`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.options import ExactOptions, ImplicitOptions

Strategy = jax.Array
# role -> strategy; where the game collects data also "data" -> what has been collected
Profile = Mapping[str, jax.Array]
Head = Literal["categorical", "gaussian"]
Outcome = Callable[[Strategy], Profile]  # "if I play this, which profile results?"
Earned = dict[str, jax.Array]  # step rewards by name
Metrics = dict[str, jax.Array]
Info = dict[str, jax.Array]
SeatState = Any  # where a played episode stands; `time` `[]` counts the steps made so far
Play = Any  # a kind of episode, the game's own: a NamedTuple of numbers


class Payoff(NamedTuple):
    """A quantity that a player can want.

    Attributes:
        exact: (profile) -> `[]`, differentiable in the strategies.
        play: the kind of episode in which it is earned, a NamedTuple of numbers; None if it cannot be played.
        earned: which step reward earns it. Summed over an episode and averaged over episodes of that kind, the step
            rewards estimate the payoff.
    """

    exact: Callable[[Profile], jax.Array]
    play: Play | None
    earned: str


class Seat(NamedTuple):
    """The game as one role plays it.

    Attributes:
        queries: `[Q, D]` every observation that this role can be asked, once.
        observe: (state) -> `[D]`.
        reset: (key, other's strategy, play) -> state.
        step: (key, state, answer) -> (state, step rewards, terminated `[]`, info).
        table: (outputs `[Q, N]`) -> strategy, from the logits of a player at all queries.
        rows: (strategy) -> `[Q, N]` what it answers to all queries, as probabilities.
        heard: (answers `[Q, ...]`) -> strategy, from the answers that a player *sampled* at all queries.
        num_outputs: N, logits per observation.
        head: what a sampled answer is: an action ("categorical"), or logits with noise ("gaussian").
        pay: (key, query `[]`, answer) -> `[]` what an answer to a query would earn if it were a step of the game; None
            where that has no meaning.
    """

    queries: jax.Array
    observe: Callable[[SeatState], jax.Array]
    reset: Callable[[jax.Array, Strategy, Play], SeatState]
    step: Callable[[jax.Array, SeatState, jax.Array], tuple[SeatState, Earned, jax.Array, Info]]
    table: Callable[[jax.Array], Strategy]
    rows: Callable[[Strategy], jax.Array]
    heard: Callable[[jax.Array], Strategy]
    num_outputs: int
    head: Head
    pay: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None


class SoftResponse(NamedTuple):
    """A soft best response that solves an equation, differentiably.

    Attributes:
        respond: (given) -> the follower's strategy.
        residual: (given) -> `[]` how far it is from solving its equation.
    """

    respond: Callable[[Profile], Strategy]
    residual: Callable[[Profile], jax.Array]


class Measures(NamedTuple):
    """What is measured of a formulation, exactly unless it says sampled. All scalars.

    Attributes:
        profile: (leader's strategy, outcome) -> (metrics, the evaluated profile), a point of a learning curve.
        follower: (key, outcome, N) -> the follower's regret at the leader it should meet and over N random ones.
        verdict: (evaluated profile, its metrics, outcome) -> metrics of the end of a run.
        sampled_returns: (key, evaluated profile, N) -> `[N]` returns of played episodes.
    """

    profile: Callable[[Strategy, Outcome], tuple[Metrics, Profile]]
    follower: Callable[[jax.Array, Outcome, int], Metrics]
    verdict: Callable[[Profile, Metrics, Outcome], Metrics]
    sampled_returns: Callable[[jax.Array, Profile, int], jax.Array]


class Game(NamedTuple):
    """Everything a formulation, a learner and a scheme need to know of a world.

    Attributes:
        horizon: T, steps of an episode.
        seats: role -> seat.
        payoffs: name -> payoff.
        priors: role -> (key) -> a random strategy.
        heard: role -> (key, strategy) -> the strategy as its answers tell it.
        describe: role -> (heard strategy) -> ω, its answers to all queries, flat.
        played: role -> (strategy) -> the strategy played out in full, as in an evaluation.
        reference: role -> () -> the strategy that there should be.
        best_response: (formulation, options) -> (key, given) -> the follower's exact best response.
        soft_response: (formulation, options) -> the follower's soft best response; None where there is none.
        measures: (formulation) -> what is measured.
        collect: (key, N, policy or None for the uniform one) -> counts of N transitions, each drawn from the policy's
            own; None where the game collects no data.
    """

    horizon: int
    seats: Mapping[Role, Seat]
    payoffs: Mapping[str, Payoff]
    priors: Mapping[Role, Callable[[jax.Array], Strategy]]
    heard: Mapping[Role, Callable[[jax.Array, Strategy], Strategy]]
    describe: Mapping[Role, Callable[[Strategy], jax.Array]]
    played: Mapping[Role, Callable[[Strategy], Strategy]]
    reference: Mapping[Role, Callable[[], Strategy]]
    best_response: Callable[[Formulation, ExactOptions], Callable[[jax.Array, Profile], Strategy]]
    soft_response: Callable[[Formulation, ImplicitOptions], SoftResponse] | None
    measures: Callable[[Formulation], Measures]
    collect: Callable[[jax.Array, int, Strategy | None], jax.Array] | None


def at_time(strategy: Strategy, time: jax.typing.ArrayLike) -> jax.Array:
    """`[O, A]`: what a strategy `[(T,) O, A]` does at `time`; behind the horizon, what it did last."""
    return strategy if strategy.ndim == 2 else strategy[jnp.minimum(time, strategy.shape[0] - 1)]


def random_rows(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Rows `shape` drawn from Dirichlet(1), uniform on the simplex: normalised exponentials."""
    draws = jax.random.exponential(key, shape)
    return draws / jnp.sum(draws, axis=-1, keepdims=True)
