"""Fitting a model to what is observed, by stochastic gradient: the follower that only predicts."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.environment import auto_reset
from sbmrl.core.game import Info
from sbmrl.core.learner import Learner, Networks, Opponent, Task, Trainee, scan_minibatches, trainee_of_answers
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import MultiLayerPerceptron, Params, with_context
from sbmrl.core.rollout import Running, rollout, start
from sbmrl.learners.rollouts import check_minibatches, updates_of_rollouts


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Fitting a model to the real transitions that leaders cause."""

    total_steps: int = 167_000
    """Real environment steps to train on (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 104
    """Steps in each environment between two updates."""
    minibatch_size: int = 16
    """Transitions per gradient step; a multiple of the number of environments."""
    num_epochs: int = 1
    """Passes over each rollout."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the model's hidden layers (ReLU)."""
    learning_rate: float = 1e-3
    """Adam's step size."""


class FitState(NamedTuple):
    """Parameters, optimiser state and environments in play."""

    params: Params
    optimizer_state: Any
    running: Running


def build(task: Task, options: FitOptions) -> Trainee:
    """Adam on the mean loss of the predicted rows softmax(net(θ, ω, observation)) `[N]`.

    One update = one rollout of real steps, then epochs of minibatches on it. What the loss compares with is in the
    steps' info; answers do not influence what is observed, so zeros are sent.
    """
    seat, optimizer = task.seat, optax.adam(options.learning_rate)
    network = MultiLayerPerceptron(options.hidden, seat.num_outputs, output_gain=0.01, activation="relu")
    prediction_loss = seat.prediction_loss
    assert prediction_loss is not None, f"{task.role} predicts nothing"

    def init(key: jax.Array, opponent: Opponent) -> FitState:
        key_player, key_environment = jax.random.split(key)
        params = network.init(key_player, jnp.zeros(task.observation_size))
        running = start(key_environment, task.problem(opponent), options.num_environments)
        return FitState(params, optimizer.init(params), running)

    def logits(params: Params, observation: jax.Array) -> Any:
        return network.apply(params, observation)

    def mean_loss(params: Params, observation: jax.Array, info: Info) -> jax.Array:
        predicted = jax.nn.softmax(logits(params, observation))
        return jnp.mean(jax.vmap(prediction_loss)(predicted, info))

    def minibatch_step(carry, minibatch: tuple[jax.Array, Info]):
        params, optimizer_state = carry
        value, gradient = jax.value_and_grad(mean_loss)(params, *minibatch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def update(key: jax.Array, state: FitState, opponent: Opponent) -> tuple[FitState, Info]:
        key_rollout, key_shuffle = jax.random.split(key)
        environment = auto_reset(task.problem(opponent))
        silence = jnp.zeros((options.num_environments, seat.num_outputs))
        running, trajectory = rollout(
            key_rollout, environment, lambda key, observation: silence, state.running, options.num_steps
        )
        carry, data = (state.params, state.optimizer_state), (trajectory.observation, trajectory.info)
        (params, optimizer_state), losses = scan_minibatches(
            key_shuffle, minibatch_step, carry, data, options.minibatch_size, options.num_epochs
        )
        return FitState(params, optimizer_state, running), {"loss": jnp.mean(losses)}

    def answers(params: Params, description: jax.Array | None) -> jax.Array:
        return logits(params, task.played if description is None else with_context(description, task.played))

    steps = options.num_environments * options.num_steps
    learner = Learner(init, update, lambda state: state.params, steps)
    networks = Networks((task.observation_size, *options.hidden, seat.num_outputs))
    return trainee_of_answers(task, learner, answers, networks=networks)


def check(options: FitOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    counts = ("total_steps", "num_environments", "num_steps", "minibatch_size", "num_epochs")
    require_counts(options, where, *counts, "hidden")
    require_ranges(options, where, learning_rate=(0.0, math.inf))
    check_minibatches(options, where)


FIT = LearnerKind(
    name="fit",
    summary="stochastic gradient on the loss of what is predicted; for followers that only predict",
    options=FitOptions,
    build=build,
    check=check,
    num_updates=updates_of_rollouts,
    heard=lambda options: (),
    plays=lambda options: True,
    follows=True,
    pretrains=True,
    predicts=True,
)
