"""Gradient ascent of a table whose size is bounded: a model that cannot say all must choose what to be right about.

Source: Nikishin, Abachi, Agarwal & Bacon (2022), "Control-Oriented Model-Based Reinforcement Learning with Implicit
Differentiation", arXiv 2106.03273: their tabular experiment bounds the norm of a model's parameters in this way.

The parameters are θ, whose logits are θ / τ, and of a model with rewards of its own also r̂. They are one array for a
policy's logits `[S, A]`, one for a model's `[A, S, S]`, one for r̂ `[S, A]`, decision states only. After every step they
are scaled back to the bound where they exceed it.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sbmrl.core.learner import Task, Trainee, trainee_of_answers
from sbmrl.core.options import require_counts, require_positive, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Params
from sbmrl.learners.gradient import gradient, make_optimizer


@dataclasses.dataclass(frozen=True)
class ProjectedOptions:
    """Adam on the exact payoff of a table, projected after each step to parameters of a bounded norm."""

    num_updates: int = 10_000
    """Gradient steps (rounded up to whole records)."""
    norm: Literal["joint", "by_array"] = "joint"
    """What is bounded: (θ / τ, r̂) as one vector, or each array by itself with only its first slice divided by τ."""
    norm_bound: float = 5.0
    """The largest Euclidean norm; positive."""
    learning_rate: float = 0.01
    """Adam's step size, in units of θ and of reward."""
    temperature: float = 0.01
    """τ: logits are θ / τ, and θ starts uniform in [0, 1]; positive."""


def norms(params: Params, norm: str, temperature: jax.typing.ArrayLike) -> Params:
    """The norm `[]` that counts for each array of θ = {"logits", "rewards"}, in either reading.

    "joint": √(Σ (θ / τ)² + Σ r̂²), for all. "by_array": √(Σ (x₀ / τ)² + Σ_{i > 0} x_i²) of each array x, x₀ its first
    slice: action 0 of a model's logits, state 0 of its rewards. The published experiment's code bounds the second.
    """
    if norm == "by_array":
        return {name: optax.tree.norm((x[0] / temperature, x[1:])) for name, x in params.items()}
    outputs = {name: x / temperature if name == "logits" else x for name, x in params.items()}
    return dict.fromkeys(params, optax.tree.norm(outputs))


def project(params: Params, norm: str, bound: jax.typing.ArrayLike, temperature: jax.typing.ArrayLike) -> Params:
    """The parameters, scaled to the bound where their norm exceeds it."""
    found = norms(params, norm, temperature)
    return {name: x * jnp.minimum(1.0, bound / jnp.maximum(found[name], 1e-30)) for name, x in params.items()}


def build(task: Task, options: ProjectedOptions) -> Trainee:
    """Projected Adam on a task's exact payoff."""
    queries, num_outputs = np.shape(task.seat.queries)[0], task.seat.num_outputs
    world = task.game.world
    num_deciding, num_actions, num_states = len(world.decision_states), world.num_actions, world.num_states
    acts = task.seat.head == "categorical"

    def projected(params: Params) -> Params:
        return project(params, options.norm, options.norm_bound, options.temperature)

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key)
        if acts:
            return projected({"logits": jax.random.uniform(keys[0], (num_deciding, num_actions))})
        params = {"logits": jax.random.uniform(keys[0], (num_actions, num_deciding, num_states))}
        if num_outputs > num_states:
            params["rewards"] = jax.random.uniform(keys[1], (num_deciding, num_actions))
        return projected(params)

    def answers(params: Params, description: jax.Array | None = None) -> jax.Array:
        assert description is None, "a table cannot be conditioned on a description"
        logits = params["logits"] / options.temperature
        if acts:
            return logits
        rows = jnp.swapaxes(logits, 0, 1).reshape(queries, num_states)
        rewards = [params["rewards"].reshape(queries, 1)] if "rewards" in params else []
        return jnp.concatenate([rows, *rewards], axis=-1)

    adam = task.optimizer or make_optimizer("adam", options.learning_rate)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        steps, state = adam.update(updates, state, params)
        moved = projected(optax.apply_updates(params, steps))
        return jax.tree.map(jnp.subtract, moved, params), state

    optimizer = optax.GradientTransformation(adam.init, update)
    learner = gradient(init, lambda params: task.seat.table(answers(params)), task.payoff, optimizer)
    return trainee_of_answers(task, learner, answers)


def check(options: ProjectedOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    require_counts(options, where, "num_updates")
    require_ranges(options, where, learning_rate=(0.0, math.inf))
    require_positive(options, where, "norm_bound", "temperature")


PROJECTED = LearnerKind(
    name="projected",
    summary="gradient of the exact payoff, a table whose norm is bounded",
    options=ProjectedOptions,
    build=build,
    check=check,
    preset=lambda name: ProjectedOptions(num_updates=1000) if name == "fast" else ProjectedOptions(),
    differentiates=True,
    kind="tabular",
)
