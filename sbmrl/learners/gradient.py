"""Gradient ascent on the exact payoff of whatever profile results: leaders, and followers in an inner loop."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.game import Info, Outcome, Profile, Strategy
from sbmrl.core.learner import Learner, Task, Trainee, answers_of, gradient_norm
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Initial, Parametrization, Params, free_player

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
    """A free row of logits per query, or a network."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of a network's hidden layers (tanh)."""
    initial: Initial = "uniform"
    """A table's start: nearly uniform rows, random rows (Dirichlet(1)), or the truth (model), the optimum (policy)."""
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


def build(task: Task, options: GradientOptions) -> Trainee:
    """Gradient ascent on a task's exact payoff."""
    player = free_player(task.game, task.role, task.seen, options.parametrization, options.hidden, options.initial)
    answers = answers_of(task, player)
    optimizer = task.optimizer or make_optimizer(options.optimizer, options.learning_rate)

    def strategy(params: Params) -> Strategy:
        return task.seat.table(answers(params, None))

    return Trainee(gradient(player.init, strategy, task.payoff, optimizer), answers)


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
    differentiates=True,
    no_derivative=lambda options: "the step of lion is a sign" if options.optimizer == "lion" else "",
)
