"""Hyper policy gradient: a leader's total derivative from sampled episodes of the follower's response.

A leader x is answered by a policy π_x that draws its actions. Of a payoff J(x, π) that is a return,

    dJ/dx = ∂J/∂x + E Σ_t A(s_t, a_t) ∂ log π_x(a_t | s_t),        episodes of π_x,

A the advantage by what the *leader* earns: REINFORCE, whose score is not that of parameters of the follower but the
derivative of its answer in x. Where π_x is the optimum with entropy bonus λ, π_x = softmax(Q_λ / λ), the score is
∂A_λ(s_t, a_t) / λ with A_λ = Q_λ − V_λ, and by the envelope theorem ∂A_λ is that at fixed π: one linear solve in the
model, which is what the closed forms' derivative is. So the leader needs the episodes and what it earns in them, the
response and its derivative, and not how the follower came to it. Real samples are needed for the advantages alone.

Source: Thoma, Pásztor, Krause, Ramponi and Hu (2024), arXiv 2406.01575; the estimator is derived here. Theirs
estimates ∂A_λ from the same episodes; here it is exact, so the estimate has no bias (`docs/design.md`).
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.formulation import Role, Weights
from sbmrl.core.free_players import USUAL, free_player
from sbmrl.core.game import Info, Outcome, Payoff, Play, Seat, SeatState, Strategy, sample_row
from sbmrl.core.learner import Learner, Task, Trainee, answers_of, gradient_norm, trainee_of_answers
from sbmrl.core.options import require_count, require_positive
from sbmrl.core.parts import Composition, LearnerKind
from sbmrl.core.payoffs import exact_payoff
from sbmrl.core.players import Parametrization, Params
from sbmrl.errors import InputError, require
from sbmrl.learners import gradient
from sbmrl.learners.gradient import GradientState, Optimizer

NAME = "hyper_policy_gradient"


@dataclasses.dataclass(frozen=True)
class HyperPolicyGradientOptions:
    """Gradient ascent on the leader's payoff, estimated from episodes of the follower (arXiv 2406.01575)."""

    num_updates: int = 500
    """Gradient steps (rounded up to whole records)."""
    num_episodes: int = 20
    """K, episodes of the follower behind each step and each kind of episode; an even number."""
    optimizer: Optimizer = "adam"
    """Any of optax's: how a gradient becomes a step."""
    parametrization: Parametrization = "table"
    """A free row of outputs per query, or a network."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of a network's hidden layers (tanh)."""
    initial: str = USUAL
    """How a table starts: the kind of game's usual way, or by name another that it has, as uniform, random, truth."""
    learning_rate: float = 0.1
    """Step size of the optimizer."""
    max_gradient_norm: float = 1.0
    """Global norm above which a gradient is scaled down."""


class Episodes(NamedTuple):
    """K episodes of T steps of a seat, `[K, T]` each.

    Attributes:
        reward: what the leader earns, differentiable in the strategies; 0 behind the end.
        time: steps made before.
        query: what was observed, as the number of a query.
        answer: what was answered.
        alive: whether the episode had not ended yet.
    """

    reward: jax.Array
    time: jax.Array
    query: jax.Array
    answer: Any
    alive: jax.Array


def play_episodes(
    key: jax.Array,
    seat: Seat,
    other: Strategy,
    play: Play,
    answer: Callable[[jax.Array, jax.Array, jax.Array], Any],
    wants: Weights,
    shape: tuple[int, int],
) -> Episodes:
    """Play whole episodes of one kind.

    Args:
        key: random key.
        seat: of who acts.
        other: the other side's strategy.
        play: the kind of episode.
        answer: (key, time `[]`, query `[]`) -> the answer.
        wants: step reward by name -> weight.
        shape: (K, T).
    """
    count, horizon = shape

    def step(carry: tuple[SeatState, jax.Array], key: jax.Array):
        state, alive = carry
        key_answer, key_step = jax.random.split(key)
        query = seat.observed(state)
        given = answer(key_answer, state.time, query)
        new, earned, terminated, _ = seat.step(key_step, state, given)
        paid = sum((weight * earned[name] for name, weight in wants.items()), jnp.zeros(()))
        return (new, alive & ~terminated), Episodes(jnp.where(alive, paid, 0.0), state.time, query, given, alive)

    def episode(key: jax.Array) -> Episodes:
        key_reset, key_steps = jax.random.split(key)
        start = (seat.reset(key_reset, other, play), jnp.array(True))
        return jax.lax.scan(step, start, jax.random.split(key_steps, horizon))[1]

    return jax.vmap(episode)(jax.random.split(key, count))


def fitted_baseline(returns: jax.Array, query: jax.Array, alive: jax.Array, num_queries: int) -> Callable[..., Any]:
    """(query `[K', T]`) -> `[K', T]` expected returns to go, from other episodes `[K, T]`.

    Their mean at each time, and for each query a straight line through how far they are off it: returns to go fall
    with the time that is left, or, where they are discounted, in proportion. A query that was never met has no
    correction, and few returns move it little: one further return without any is counted in.
    """
    counts = jnp.maximum(jnp.sum(alive, axis=0), 1)
    mean = jnp.sum(jnp.where(alive, returns, 0.0), axis=0) / counts
    off = jnp.where(alive, returns - mean, 0.0)
    every = jnp.broadcast_to(mean, returns.shape)

    def total(values: jax.Array) -> jax.Array:
        flat = jnp.where(alive, values, 0.0).ravel()
        return jnp.zeros(num_queries).at[query.ravel()].add(flat)

    seen = total(jnp.ones_like(returns)) + 1.0
    middle, level = total(every) / seen, total(off) / seen
    spread = total(every**2) - seen * middle**2 + jnp.var(mean) + jnp.finfo(mean.dtype).tiny
    slope = (total(every * off) - seen * middle * level) / spread
    return lambda met: mean + level[met] + slope[met] * (mean - middle[met])


def advantages(episodes: Episodes, num_queries: int) -> jax.Array:
    """`[K, T]`: returns to go less their baseline, which for each half of the episodes is that of the other half.

    So what an action adds to its own return is in no baseline that it is held against, and nothing is biased.
    """
    reward = jax.lax.stop_gradient(episodes.reward)
    returns = jnp.cumsum(reward[:, ::-1], axis=1)[:, ::-1]
    half = returns.shape[0] // 2
    halves = (slice(None, half), slice(half, None))
    other = [fitted_baseline(returns[own], episodes.query[own], episodes.alive[own], num_queries) for own in halves]
    expected = [baseline(episodes.query[own]) for baseline, own in zip(other[::-1], halves, strict=True)]
    return jnp.where(episodes.alive, returns - jnp.concatenate(expected), 0.0)


def score_term(rows: jax.Array, episodes: Episodes, advantage: jax.Array) -> jax.Array:
    """`[]`: 0, whose derivative in the rows `[T', Q, A]` (T' = 1 without a clock) is Σ A ∂ log π(a|s) / K."""
    time = jnp.minimum(episodes.time, rows.shape[0] - 1)
    weight = jnp.zeros_like(rows).at[time, episodes.query, episodes.answer].add(advantage / len(advantage))
    # Actions that were never drawn have no weight, and may have no probability either.
    log_rows = jnp.log(jnp.where(weight != 0.0, rows, 1.0))
    return jnp.sum(weight * (log_rows - jax.lax.stop_gradient(log_rows)))


class Kinds(NamedTuple):
    """The payoffs that a leader wants, by how their derivative is known; payoff name -> weight.

    Attributes:
        imagined: earned in the strategies alone, so that they are known exactly.
        acted: kind of episode -> those earned in it by what the follower does.
        watched: kind of episode -> those earned in it by what others do.
    """

    imagined: Weights
    acted: Mapping[Play, Weights]
    watched: Mapping[Play, Weights]


def kinds_of(payoffs: Mapping[str, Payoff], wants: Weights) -> Kinds:
    """How each wanted payoff is known."""

    def grouped(by_others: bool) -> dict[Play, Weights]:
        real = {name: weight for name, weight in wants.items() if not payoffs[name].imagined}
        own = [name for name in real if payoffs[name].by_others == by_others]
        plays = dict.fromkeys(payoffs[name].play for name in own)
        return {play: {name: real[name] for name in own if payoffs[name].play == play} for play in plays}

    imagined = {name: weight for name, weight in wants.items() if payoffs[name].imagined}
    return Kinds(imagined, grouped(False), grouped(True))


def _earned(payoffs: Mapping[str, Payoff], wants: Weights) -> Weights:
    """Step reward -> weight, of payoffs of one kind of episode."""
    names = dict.fromkeys(payoffs[name].earned for name in wants)
    return {one: sum(weight for name, weight in wants.items() if payoffs[name].earned == one) for one in names}


def make_estimate(
    task: Task, follower: Role, answers: Callable[[Params], jax.Array], num_episodes: int
) -> Callable[[jax.Array, Params, Outcome], tuple[jax.Array, Info]]:
    """(key, θ, outcome) -> an estimate of the leader's payoff `[]`, whose derivative in θ estimates the total one.

    Args:
        task: the leader's.
        follower: the other role.
        answers: (θ) -> `[Q, N]` what the leader outputs.
        num_episodes: K.
    """
    payoffs, seats, shape = task.game.payoffs, task.game.seats, (num_episodes, task.game.horizon)
    known = kinds_of(payoffs, task.wants)

    def acted(key: jax.Array, own: Strategy, response: Strategy, play: Play, wants: Weights):
        seat = seats[follower]
        clock = response if response.ndim == 3 else response[None]
        rows = jax.vmap(seat.rows)(clock)
        drawn = jax.lax.stop_gradient(rows)

        def answer(key: jax.Array, time: jax.Array, query: jax.Array) -> jax.Array:
            return sample_row(key, drawn[jnp.minimum(time, len(drawn) - 1), query])

        episodes = play_episodes(key, seat, own, play, answer, _earned(payoffs, wants), shape)
        score = score_term(rows, episodes, advantages(episodes, len(seat.queries)))
        return jnp.sum(episodes.reward) / num_episodes + score, jnp.sum(episodes.alive)

    def watched(key: jax.Array, outputs: jax.Array, response: Strategy, play: Play, wants: Weights):
        """What the leader answers moves its own payoff alone, and nothing that happens."""
        answer = lambda key, time, query: outputs[query]  # noqa: E731
        episodes = play_episodes(key, task.seat, response, play, answer, _earned(payoffs, wants), shape)
        return jnp.sum(episodes.reward) / num_episodes, jnp.sum(episodes.alive)

    def estimate(key: jax.Array, params: Params, outcome: Outcome) -> tuple[jax.Array, Info]:
        outputs, numbers = answers(params), itertools.count()
        own = task.seat.table(outputs)
        profile = outcome(own)
        response, steps = profile[follower], jnp.zeros((), int)
        total = exact_payoff(payoffs, known.imagined, profile)
        for play, wants in known.acted.items():
            value, made = acted(jax.random.fold_in(key, next(numbers)), own, response, play, wants)
            total, steps = total + value, steps + made
        for play, wants in known.watched.items():
            value, made = watched(jax.random.fold_in(key, next(numbers)), outputs, response, play, wants)
            total, steps = total + value, steps + made
        return total, {"real_steps": steps.astype(float)}

    return estimate


def build(task: Task, options: HyperPolicyGradientOptions) -> Trainee:
    """Gradient ascent on a leader's payoff by `make_estimate`."""
    player = free_player(task.game, task.role, task.seen, options.parametrization, options.hidden, options.initial)
    answers = answers_of(task, player)
    (follower,) = set(task.game.seats) - {task.role}
    estimate = make_estimate(task, follower, lambda params: answers(params, None), options.num_episodes)
    named = task.optimizer or gradient.make_optimizer(options.optimizer, options.learning_rate)
    optimizer = optax.chain(optax.clip_by_global_norm(options.max_gradient_norm), named)  # pyright: ignore

    def init(key: jax.Array, opponent: Outcome) -> GradientState:
        params = player.init(key)
        return GradientState(params, optimizer.init(params))

    def update(key: jax.Array, state: GradientState, opponent: Outcome) -> tuple[GradientState, Info]:
        ascend = jax.value_and_grad(lambda params: estimate(key, params, opponent), has_aux=True)
        (value, told), slope = ascend(state.params)
        descent = jax.tree.map(jnp.negative, slope)
        updates, optimizer_state = optimizer.update(descent, state.optimizer_state, state.params)
        info = {"payoff": value, "gradient_norm": gradient_norm(slope), **told}
        return GradientState(optax.apply_updates(state.params, updates), optimizer_state), info

    known = kinds_of(task.game.payoffs, task.wants)
    steps = options.num_episodes * task.game.horizon * (len(known.acted) + len(known.watched))
    return trainee_of_answers(task, Learner(init, update, lambda state: state.params, steps), answers)


def check(options: HyperPolicyGradientOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    gradient.check(options, where)
    require_positive(options, where, "max_gradient_norm")
    require_count(options.num_episodes, f"{where}num_episodes", least=2)
    even = options.num_episodes % 2 == 0
    allowed = "must be even: each half of the episodes is held against the other"
    require(even, f"{where}num_episodes", allowed, options.num_episodes)


def check_leads(composition: Composition) -> None:
    """Raise `InputError` where the derivative of the response is no score of the follower's episodes, or is 0."""
    needs = "needs a follower that draws its actions and a leader that draws none"
    if not composition.kind.scores(composition.row):
        raise InputError(f"leader: {NAME} {needs}, which {composition.row.name} in {composition.kind.what} has not")
    reason = composition.scheme.unmoved(composition)
    if reason:
        name = composition.scheme.name
        raise InputError(f"leader: {NAME} needs a response that the leader can move, and {name} {reason}")
    response = composition.experiment.game.response
    require(response == "sampled", "response", f"must be sampled for {NAME}: a best action has no score", response)


HYPER_POLICY_GRADIENT = LearnerKind(
    name=NAME,
    summary="total derivative through the response, from sampled episodes of the follower",
    options=HyperPolicyGradientOptions,
    build=build,
    check=check,
    check_leads=check_leads,
    unused=gradient.unused,
    plays=lambda options: True,
    preset=lambda name: HyperPolicyGradientOptions(num_updates=200 if name == "fast" else 500),
    differentiates=True,
)
