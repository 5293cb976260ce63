"""What a game is: roles with seats, strategies, payoffs and measures. Knows no concrete game.

A *strategy* is what the other side can see of a player, an array or a function; a *profile* is one for each role. A
*seat* is the game as one role plays it while the other's strategy is fixed. A kind of game is a package below
`sbmrl.games`, or a user's own file, that builds a `Game` from a world.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from sbmrl.core.distributions import Distribution
from sbmrl.core.environment import Environment
from sbmrl.core.formulation import Formulation, Role

Strategy = Any  # an array, or a pytree
# role -> strategy; where the game collects data also "data" -> what has been collected
Profile = Mapping[str, Any]
Head = Literal["categorical", "gaussian"]
Outcome = Callable[[Strategy], Profile]  # "if I play this, which profile results?"
Earned = dict[str, jax.Array]  # step rewards by name
Metrics = dict[str, jax.Array]
Info = dict[str, jax.Array]
SeatState = Any  # where a played episode stands; `time` `[]` counts the steps made so far
Play = Any  # a kind of episode, the game's own: a NamedTuple of numbers


class Acting(struct.PyTreeNode):
    """A player as a function of what it observes, and of how many decisions it has made."""

    def sample(self, key: jax.Array, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """Its answers to `[..., D]`, drawn, `time` `[...]` decisions in."""
        raise NotImplementedError

    def mode(self, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """Its best or mean answers, as it is evaluated."""
        raise NotImplementedError


class NetworkActing(Acting):
    """A network that acts, the same at all times.

    Attributes:
        params: θ.
        description: ω `[C]` of the other side, in front of every observation; None where there is none.
        module: the network (static), an `ActorCritic`.
    """

    params: Any
    description: jax.Array | None
    module: nn.Module = struct.field(pytree_node=False)

    def distribution(self, observation: jax.Array) -> Distribution:
        """Of its answers to `[..., D]`."""
        if self.description is not None:
            shape = (*observation.shape[:-1], self.description.shape[-1])
            observation = jnp.concatenate([jnp.broadcast_to(self.description, shape), observation], axis=-1)
        return self.module.apply(self.params, observation, method="distribution")

    def sample(self, key: jax.Array, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """As `Acting.sample`."""
        return self.distribution(observation).sample(seed=key)

    def mode(self, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """As `Acting.mode`."""
        return self.distribution(observation).mode()


class Payoff(NamedTuple):
    """A quantity that a player can want.

    Attributes:
        exact: (profile) -> `[]`, differentiable in the strategies.
        play: the kind of episode in which it is earned, a NamedTuple of numbers; None if it cannot be played.
        earned: which step reward earns it. Summed over an episode and averaged over episodes of that kind, the step
            rewards estimate the payoff.
        imagined: whether it is earned in the strategies alone, so that no real step is needed to know it.
        by_others: whether others act in its episodes in the players' place, so that no action of theirs moves it.
    """

    exact: Callable[[Profile], jax.Array]
    play: Play | None
    earned: str
    imagined: bool = False
    by_others: bool = False


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
        prediction_loss: (predicted row `[N]`, info of the step) -> `[]` how wrong a prediction of what followed is;
            None where this role predicts nothing.
        linear: whether the answer to any observation is the same combination of the answers to the queries as the
            observation is of them: a linear player, told entirely by its answers to the unit vectors.
        number: (state) -> `[]` int, which query is observed, where that is known without a look at all of them.
        of_function: (player's function) -> strategy, where no queries tell a player, who is then known as a function;
            None where `table` does.
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
    prediction_loss: Callable[[jax.Array, Info], jax.Array] | None = None
    linear: bool = False
    number: Callable[[SeatState], jax.Array] | None = None
    of_function: Callable[["Acting"], Strategy] | None = None

    def observed(self, state: SeatState) -> jax.Array:
        """`[]` int: the number of the query that is observed, that with the largest inner product."""
        return jnp.argmax(self.queries @ self.observe(state)) if self.number is None else self.number(state)


def _not_asked(*arguments: Any) -> Any:
    """What a player that is known as a function has no need of."""
    raise TypeError("a player that is known as a function is asked nothing and has no table")


def function_seat(observation_size: int, num_outputs: int, head: Head) -> Seat:
    """The seat of a player that is known as a function `[D] -> [N]`; the game makes its episodes (`Game.problem`)."""
    queries, nothing = jnp.zeros((0, observation_size)), _not_asked
    return Seat(
        queries, nothing, nothing, nothing, nothing, nothing, nothing, num_outputs, head, of_function=lambda f: f
    )


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
        unknown: names of metrics that may be NaN, "not known", or infinite, "no bound".
    """

    profile: Callable[[Strategy, Outcome], tuple[Metrics, Profile]]
    follower: Callable[[jax.Array, Outcome, int], Metrics]
    verdict: Callable[[Profile, Metrics, Outcome], Metrics]
    sampled_returns: Callable[[jax.Array, Profile, int], jax.Array]
    unknown: frozenset[str] = frozenset()


class Collector(NamedTuple):
    """How data is collected while the game is played.

    Attributes:
        init: (key) -> data, entries of a profile.
        update: (key, data, profile) -> data with the transitions that the profile causes.
        after_follower: collect once the follower has adapted, before the leader's step; else behind that.
    """

    init: Callable[[jax.Array], Profile]
    update: Callable[[jax.Array, Profile, Profile], Profile]
    after_follower: bool = False


class Game(NamedTuple):
    """Everything a formulation, a learner and a scheme need to know of a world.

    Attributes:
        world: what it is played in, for parts that belong to the same kind of game.
        horizon: T, steps of an episode.
        seats: role -> seat.
        payoffs: name -> payoff.
        priors: role -> (key) -> a random strategy.
        heard: role -> (key, strategy) -> the strategy as its answers tell it.
        describe: role -> (heard strategy) -> ω, its answers to all queries, flat.
        played: role -> (strategy) -> the strategy played out in full, as in an evaluation.
        starts: role -> name -> (key) -> `[Q, N]` what a player that is a free row per query outputs to begin with.
        measures: (formulation) -> what is measured.
        best_response: (formulation, options) -> (key, given) -> the follower's exact best response; None where there is
            no closed form. The options are the kind's own.
        soft_response: (formulation, options) -> the follower's soft best response; None where there is none.
        collector: what becomes of the transitions; None where the game collects no data.
        effective_horizon: how many steps a return adds up, 1/(1 − γ) where it is discounted; None for `horizon`.
        problem: (formulation, role) -> (profile of the other side) -> that role's episode, where the other side is too
            large to be carried along in every episode's state; None where the seats make it.
    """

    world: Any
    horizon: int
    seats: Mapping[Role, Seat]
    payoffs: Mapping[str, Payoff]
    priors: Mapping[Role, Callable[[jax.Array], Strategy]]
    heard: Mapping[Role, Callable[[jax.Array, Strategy], Strategy]]
    describe: Mapping[Role, Callable[[Strategy], jax.Array]]
    played: Mapping[Role, Callable[[Strategy], Strategy]]
    starts: Mapping[Role, Mapping[str, Callable[[jax.Array], jax.Array]]]
    measures: Callable[[Formulation], Measures]
    best_response: Callable[[Formulation, Any], Callable[[jax.Array, Profile], Strategy]] | None = None
    soft_response: Callable[[Formulation, Any], SoftResponse] | None = None
    collector: Collector | None = None
    effective_horizon: float | None = None
    problem: Callable[[Formulation, Role], Callable[[Profile], Environment]] | None = None


_SURE = 1e-4  # a certain answer's other probabilities, so that its logits are finite


def softmax_starts(
    seat: Seat, prior: Callable[[jax.Array], Strategy], truth: Callable[[], Strategy]
) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
    """How a softmax table starts: nearly uniform rows, those of a random strategy, or what there should be."""

    def logits(strategy: Strategy) -> jax.Array:
        return jnp.log(jnp.maximum(seat.rows(strategy), _SURE))

    return {
        "uniform": lambda key: 0.01 * jax.random.normal(key, (seat.queries.shape[0], seat.num_outputs)),
        "random": lambda key: logits(prior(key)),
        "truth": lambda key: logits(truth()),
    }


def at_time(strategy: Strategy, time: jax.typing.ArrayLike) -> jax.Array:
    """`[O, A]`: what a strategy `[(T,) O, A]` does at `time`; behind the horizon, what it did last."""
    return strategy if strategy.ndim == 2 else strategy[jnp.minimum(time, strategy.shape[0] - 1)]


def random_rows(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Rows `shape` drawn from Dirichlet(1), uniform on the simplex: normalised exponentials."""
    draws = jax.random.exponential(key, shape)
    return draws / jnp.sum(draws, axis=-1, keepdims=True)


def sample_row(key: jax.Array, probabilities: jax.Array) -> jax.Array:
    """An index drawn from `probabilities` `[N]`, by inverting the distribution function.

    One uniform number a draw, where a Gumbel draw needs N uniforms and N logarithms. The uniform is scaled by
    the row's own sum, so rounding in a row can never select a state behind its last positive entry.
    """
    cumulative = jnp.cumsum(probabilities)
    uniform = jax.random.uniform(key, dtype=probabilities.dtype) * cumulative[-1]
    return jnp.sum(cumulative <= uniform).clip(0, probabilities.shape[0] - 1)


def greedy(action_values: jax.Array) -> jax.Array:
    """One-hot argmax over the last axis; ties go to the lowest action."""
    return jax.nn.one_hot(jnp.argmax(action_values, axis=-1), action_values.shape[-1], dtype=action_values.dtype)
