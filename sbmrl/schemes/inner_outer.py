"""The inner–outer loop: K follower steps against the present leader for each step of the leader.

The response is either held fixed (first-order: the leader takes the follower as it is) or *unrolled*: the leader
differentiates through the last k of the K steps. Source: the poster, section 3; Rajeswaran et al. (2020) for the
first-order loop at two speeds; Gerstgrasser & Parkes (2023) for a follower that learns inside the leader's episodes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core import registry
from sbmrl.core.formulation import Role
from sbmrl.core.game import Game, Profile, Strategy
from sbmrl.core.learner import Learner, Task, gradient_norm
from sbmrl.core.options import require_count
from sbmrl.core.oracles import Oracle, interview
from sbmrl.core.parts import Choice, Composition, LearnerKind, SchemeKind
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme, answering, no_residual
from sbmrl.core.tasks import follower_task
from sbmrl.errors import InputError, require
from sbmrl.learners.gradient import GRADIENT


@dataclasses.dataclass(frozen=True)
class InnerOuterOptions:
    """A follower that learns against the present leader, between two of the leader's steps."""

    follower: Any
    """How the follower learns."""
    num_inner_steps: int = 10
    """K, follower steps per leader step."""
    unroll: int = 0
    """k ≤ K, how many of the last follower steps the leader differentiates through; 0 is first-order."""


class InnerState(NamedTuple):
    """The follower's learner now, and as it was k steps ago."""

    now: Any
    before: Any


def inner_outer(
    follower: Learner,
    strategy: Callable[[Any], Strategy],
    against: Callable[[Profile], Any],
    num_inner_steps: int,
    unroll: int,
    residual: Callable[[Any, Profile], jax.Array] | None = None,
) -> Scheme:
    """The scheme around a follower's learner.

    Args:
        follower: learner of the follower's payoff against one leader.
        strategy: (θ) -> the follower's strategy.
        against: (given) -> the opponent that the learner wants to be told.
        num_inner_steps: K ≥ 1.
        unroll: k in [0, K].
        residual: (θ, given) -> `[]` how far it is from a stationary point, if that can be known.
    """

    def learn(keys: jax.Array, state: Any, given: Profile):
        opponent = against(given)
        return jax.lax.scan(lambda state, key: follower.update(key, state, opponent), state, keys)

    def init(key: jax.Array, leaders: Leaders) -> InnerState:
        key_leader, key_follower = jax.random.split(key)
        state = follower.init(key_follower, against(leaders(key_leader)))
        return InnerState(state, state)

    def adapt(key: jax.Array, state: InnerState, leaders: Leaders):
        key_leader, key_learn = jax.random.split(key)
        given = leaders(key_leader)
        keys = jax.random.split(key_learn, num_inner_steps)
        before, first = learn(keys[: num_inner_steps - unroll], state.now, given)
        now, last = learn(keys[num_inner_steps - unroll :], before, given)
        infos = jax.tree.map(lambda a, b: (a.sum() + b.sum()) / num_inner_steps, first, last)
        return InnerState(now, before), {f"follower_{name}": value for name, value in infos.items()}

    def params(state: InnerState, given: Profile) -> Any:
        state = jax.lax.stop_gradient(state)
        if unroll == 0:
            return follower.params(state.now)
        # An unrolled learner is one of exact payoffs: it draws nothing from its keys.
        keys = jax.random.split(jax.random.key(0), unroll)
        return follower.params(learn(keys, state.before, given)[0])

    def respond(state: InnerState, given: Profile) -> Strategy:
        return strategy(params(state, given))

    def measure_residual(state: InnerState, given: Profile) -> jax.Array:
        return no_residual(state, given) if residual is None else residual(params(state, given), given)

    return Scheme(init, adapt, respond, measure_residual, lambda state: follower.params(state.now), 0, True)


def _gradient_in_the_outputs(task: Task, outputs: jax.Array, given: Profile) -> jax.Array:
    """The norm of the follower's gradient in what it outputs at all its queries `[Q, N]`, as logits."""
    return gradient_norm(jax.grad(lambda rows: task.payoff({**given, task.role: task.seat.table(rows)}))(outputs))


def learning_anew(game: Game, leader: Role, oracle: Oracle) -> Scheme:
    """The scheme of a follower that learns from nothing in every episode of its leader, which it asks while it does."""

    def respond(key: jax.Array, given: Profile) -> Strategy:
        rows = game.seats[leader].rows(given[leader])
        return interview(key, oracle, lambda key, query: jax.random.categorical(key, jnp.log(rows[query])))

    return answering(respond, draws=True)._replace(oracle=oracle)


def build(game: Game, composition: Composition) -> Scheme:
    """The scheme of an experiment."""
    options, kind, formulation = composition.experiment.scheme, composition.follower, composition.formulation
    assert kind is not None
    if kind.oracle is not None:
        return learning_anew(game, formulation.leader, kind.oracle(game, formulation, options.follower))
    assert kind.build is not None
    task, role = follower_task(game, formulation), formulation.follower
    follower = kind.build(task, options.follower)

    def strategy(params: Any) -> Strategy:
        return follower.strategy(params, None)

    steps = (options.num_inner_steps, options.unroll)
    if kind.plays(options.follower):
        return inner_outer(follower.learner, strategy, lambda given: lambda key: given, *steps)
    against = lambda given: lambda answer: {**given, role: answer}  # noqa: E731
    answers = follower.answers
    if answers is None:
        return inner_outer(follower.learner, strategy, against, *steps)
    residual = lambda params, given: _gradient_in_the_outputs(task, answers(params, None), given)  # noqa: E731
    return inner_outer(follower.learner, strategy, against, *steps, residual)


def _fits(kind: LearnerKind, composition: Composition) -> bool:
    """Whether a learner can follow one leader and learn what the follower wants."""
    if kind.oracle is None and not kind.follows:
        return False
    exact = kind.build is not None and not kind.plays(registry.defaults_of(kind))
    of_the_game = kind.kind in ("", composition.kind.name)
    return of_the_game and (exact or kind.oracle is not None or kind.predicts == composition.only_predicts)


def check(composition: Composition) -> None:
    """Raise `InputError` unless the follower can learn what it wants, and the unrolling is possible."""
    options, kind = composition.experiment.scheme, composition.follower
    require_count(options.num_inner_steps, "num_inner_steps")
    k, most = options.unroll, options.num_inner_steps
    require(isinstance(k, int) and 0 <= k <= most, "unroll", f"must be in [0, num_inner_steps = {most}]", k)
    assert kind is not None
    fitting = [one.name for one in registry.learners().values() if _fits(one, composition)]
    allowed = f"must learn by {' or '.join(fitting)} in {composition.row.name} with inner_outer"
    require(kind.name in fitting, "follower", allowed, kind.name)
    if options.unroll and kind.differentiates and kind.no_derivative(options.follower):
        reason = kind.no_derivative(options.follower)
        raise InputError(f"unroll: must be 0 where the follower's update has no derivative: {reason}")


def unused(composition: Composition) -> dict[str, str]:
    """Fields of the loop without a meaning for this follower."""
    kind = composition.follower
    if kind is not None and kind.oracle is not None:
        why = f"for {kind.name}, which learns inside the leader's episodes"
        return {"num_inner_steps": why, "unroll": why}
    return {} if kind is not None and kind.differentiates else {"unroll": "unless the follower learns by gradient"}


def unmoved(composition: Composition) -> str:
    """A response that is held fixed does not depend on the leader."""
    return "" if composition.experiment.scheme.unroll else "holds the response fixed (unroll = 0)"


def default(choice: Choice, leader: Any) -> InnerOuterOptions:
    """A follower by gradient, all of whose steps are unrolled."""
    del leader
    options = InnerOuterOptions(registry.defaults_of(GRADIENT))
    return dataclasses.replace(options, unroll=options.num_inner_steps)


INNER_OUTER = SchemeKind(
    name="inner_outer",
    summary="inner–outer loop: K follower steps per leader step, the last k of them differentiable",
    options=InnerOuterOptions,
    build=build,
    default=default,
    check=check,
    unused=unused,
    unmoved=unmoved,
    judged_at="last",
)
