"""Fitting a world model to observed transitions by stochastic gradient: the follower of a leading policy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.environment import Environment, auto_reset
from sbmrl.core.learner import Info, Learner, Opponent, scan_minibatches
from sbmrl.games.tabular.payoffs import Loss
from sbmrl.core.options import FitOptions
from sbmrl.core.players import Params
from sbmrl.core.rollout import Running, rollout, start


class FitState(NamedTuple):
    """Parameters, optimiser state and environments in play."""

    params: Params
    optimizer_state: Any
    running: Running


def fit(
    problem: Callable[[Opponent], Environment],
    init_params: Callable[[jax.Array], Params],
    logits: Callable[[Params, jax.Array], jax.Array],
    num_outputs: int,
    loss: Loss,
    options: FitOptions,
) -> Learner:
    """Adam on the mean sampled loss of the predicted rows softmax(logits(θ, observation)) `[S]`.

    One update = one rollout of real transitions, then epochs of minibatches on it. `problem` must give the state
    that followed as `info["next_state"]`; its answers do not influence what is observed, so zeros are sent.
    With the KL loss this is cross-entropy: the log-probability under the true row has no gradient.
    """
    optimizer = optax.adam(options.learning_rate)

    def init(key: jax.Array, opponent: Opponent) -> FitState:
        key_player, key_environment = jax.random.split(key)
        params = init_params(key_player)
        running = start(key_environment, problem(opponent), options.num_environments)
        return FitState(params, optimizer.init(params), running)

    def mean_loss(params: Params, observation: jax.Array, next_state: jax.Array) -> jax.Array:
        predicted = jax.nn.softmax(logits(params, observation))
        observed = jax.nn.one_hot(next_state, num_outputs)  # the row of which the next state is a sample
        losses = jax.vmap(loss.sampled)(observed, predicted, next_state)
        return jnp.mean(losses)

    def minibatch_step(carry, minibatch: tuple[jax.Array, jax.Array]):
        params, optimizer_state = carry
        value, gradient = jax.value_and_grad(mean_loss)(params, *minibatch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def update(key: jax.Array, state: FitState, opponent: Opponent) -> tuple[FitState, Info]:
        key_rollout, key_shuffle = jax.random.split(key)
        environment = auto_reset(problem(opponent))
        silence = jnp.zeros((options.num_environments, num_outputs))
        running, trajectory = rollout(
            key_rollout, environment, lambda key, observation: silence, state.running, options.num_steps
        )
        carry, data = (state.params, state.optimizer_state), (trajectory.observation, trajectory.info["next_state"])
        (params, optimizer_state), losses = scan_minibatches(key_shuffle, minibatch_step, carry, data, options)
        return FitState(params, optimizer_state, running), {"loss": jnp.mean(losses)}

    steps = options.num_environments * options.num_steps
    return Learner(init, update, lambda state: state.params, steps)
