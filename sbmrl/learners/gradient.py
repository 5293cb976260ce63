"""Gradient ascent on the exact payoff of whatever profile results: leaders, and followers in an inner loop."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.free_players import USUAL, free_player
from sbmrl.core.game import Info, Outcome, Profile, Strategy
from sbmrl.core.learner import Learner, Task, Trainee, answers_of, gradient_norm, trainee_of_answers
from sbmrl.core.measures import all_finite
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Parametrization, Params
from sbmrl.core.problems import Leaders

Optimizer = Literal["adabelief", "adam", "adamw", "amsgrad", "lion", "nadam", "radam", "rmsprop", "sgd", "yogi"]
# Under the root, so that a leader may differentiate through a step whose gradient is 0.
_DIFFERENTIABLE = {name: {"eps_root": 1e-16} for name in ("adabelief", "adam", "adamw", "amsgrad", "nadam", "radam")}


@dataclasses.dataclass(frozen=True)
class GradientOptions:
    """Gradient ascent on the exact payoff, through the other side's response where that depends on the player."""

    num_updates: int = 500
    """Gradient steps (rounded up to whole records); a follower in an inner loop makes num_inner_steps instead."""
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


class GradientState(NamedTuple):
    """Parameters and optimiser state."""

    params: Params
    optimizer_state: Any


def make_optimizer(name: Optimizer, learning_rate: jax.typing.ArrayLike) -> optax.GradientTransformation:
    """The optax optimizer of that name; it minimises, so learners hand it the negative gradient."""
    return getattr(optax, name)(learning_rate, **_DIFFERENTIABLE.get(name, {}))


def gradient(
    init_params: Callable[[jax.Array], Params],
    strategy: Callable[[Params], Strategy],
    payoff: Callable[[Profile], jax.Array],
    optimizer: optax.GradientTransformation,
) -> Learner:
    """θ ← θ + step(∂/∂θ payoff(outcome(strategy(θ)))).

    The derivative is total: where the outcome contains a response that depends on the strategy, it goes through it.
    An update is itself differentiable in whatever the outcome closes over.
    """

    def init(key: jax.Array, opponent: Outcome) -> GradientState:
        params = init_params(key)
        return GradientState(params, optimizer.init(params))

    def update(key: jax.Array, state: GradientState, opponent: Outcome) -> tuple[GradientState, Info]:
        value, slope = jax.value_and_grad(lambda params: payoff(opponent(strategy(params))))(state.params)
        descent = jax.tree.map(jnp.negative, slope)
        updates, optimizer_state = optimizer.update(descent, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return GradientState(params, optimizer_state), {"payoff": value, "gradient_norm": gradient_norm(slope)}

    return Learner(init, update, lambda state: state.params, 1)


def over_leaders(
    init_params: Callable[[jax.Array], Params],
    payoff: Callable[[jax.Array, Params, Profile], jax.Array],
    optimizer: optax.GradientTransformation,
    num_leaders: int,
) -> Learner:
    """θ ← θ + step(mean over leaders of ∂/∂θ payoff / (1 + |payoff|)): a follower of many leaders, by their payoffs.

    A leader against whom the payoff is large counts by its relative change, so that it does not drown the others;
    one against whom it is not finite does not count. The best answer to each leader stays the same.

    Args:
        init_params: (key) -> θ.
        payoff: (key, θ, what is given of a leader) -> `[]`, differentiable in θ.
        optimizer: how a gradient becomes a step.
        num_leaders: drawn for each update.
    """

    def init(key: jax.Array, leaders: Leaders) -> GradientState:
        params = init_params(key)
        return GradientState(params, optimizer.init(params))

    def of_one(params: Params, key: jax.Array, given: Profile) -> tuple[jax.Array, Params]:
        value, slope = jax.value_and_grad(lambda params: payoff(key, params, given))(params)
        counts = all_finite((value, slope))
        descent = jax.tree.map(lambda x: jnp.where(counts, -x / (1.0 + jnp.abs(value)), 0.0), slope)
        return jnp.where(counts, value, jnp.nan), descent

    def update(key: jax.Array, state: GradientState, leaders: Leaders) -> tuple[GradientState, Info]:
        keys, keys_leader = jax.random.split(key, (2, num_leaders))
        values, descents = jax.vmap(of_one, (None, 0, 0))(state.params, keys, jax.vmap(leaders)(keys_leader))
        descent = jax.tree.map(lambda x: jnp.mean(x, axis=0), descents)
        updates, optimizer_state = optimizer.update(descent, state.optimizer_state, state.params)
        info = {
            "payoff": jnp.nanmedian(values),
            "gradient_norm": gradient_norm(descent),
            "share_not_finite": jnp.mean(jnp.isnan(values)),
        }
        return GradientState(optax.apply_updates(state.params, updates), optimizer_state), info

    return Learner(init, update, lambda state: state.params, num_leaders)


def build(task: Task, options: GradientOptions) -> Trainee:
    """Gradient ascent on a task's exact payoff, against one leader or, knowing its description, against many."""
    size, describe = task.context_size, task.describe
    table = (options.parametrization, options.hidden, options.initial)
    player = free_player(task.game, task.role, task.seen, *table, size)
    answers = answers_of(task, player)
    optimizer = task.optimizer or make_optimizer(options.optimizer, options.learning_rate)
    if describe is not None:

        def payoff(key: jax.Array, params: Params, given: Profile) -> jax.Array:
            answer = task.seat.table(answers(params, describe(key, given)))
            return task.payoff({**given, task.role: answer})

        return trainee_of_answers(task, over_leaders(player.init, payoff, optimizer, task.num_leaders), answers)

    def strategy(params: Params) -> Strategy:
        return task.seat.table(answers(params, None))

    return trainee_of_answers(task, gradient(player.init, strategy, task.payoff, optimizer), answers)


def unused(options: Any) -> dict[str, str]:
    """A table has no layers; how it starts is said of tables alone."""
    if options.parametrization == "table":
        return {"hidden": "unless parametrization is network"}
    return {"initial": "unless parametrization is table"}


def check(options: Any, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    require_counts(options, where, "num_updates", "hidden")
    require_ranges(options, where, learning_rate=(0.0, math.inf))


GRADIENT = LearnerKind(
    name="gradient",
    summary="gradient of the exact payoff through the response, any optax optimizer",
    options=GradientOptions,
    build=build,
    check=check,
    unused=unused,
    preset=lambda name: GradientOptions(num_updates=200) if name == "fast" else GradientOptions(),
    follows=True,
    pretrains=True,
    differentiates=True,
    no_derivative=lambda options: "the step of lion is a sign" if options.optimizer == "lion" else "",
)
