"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) as pure functions.

The options and their defaults are Stable-Baselines3's: clipped surrogate, generalised advantage estimation,
advantages normalised per minibatch, global gradient-norm clipping, Adam with ε = 1e-5.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.environment import Environment
from sbmrl.core.game import Info
from sbmrl.core.learner import Learner, Opponent, Phases, Task, Trainee, scan_minibatches
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Params, Player
from sbmrl.core.rollout import Running, start
from sbmrl.learners import rollouts
from sbmrl.learners.rollouts import RolloutOptions, Samples


@dataclasses.dataclass(frozen=True)
class SurrogateOptions(RolloutOptions):
    """What PPO and plain policy gradient have in common: Adam on one loss of actor and critic."""

    learning_rate: float = 3e-4
    """Adam's step size."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the critic's loss."""
    max_gradient_norm: float = 0.5
    """Global norm above which a gradient is scaled down."""


@dataclasses.dataclass(frozen=True)
class PPOOptions(SurrogateOptions):
    """Proximal policy optimisation; the defaults are Stable-Baselines3's."""

    minibatch_size: int = 64
    """Samples per gradient step; a multiple of the number of environments."""
    num_epochs: int = 10
    """Passes over each rollout."""
    clip_range: float = 0.2
    """ε, how far the probability ratio may leave 1."""


class PPOState(NamedTuple):
    """Parameters, optimiser state and environments in play."""

    params: Params
    optimizer_state: Any
    running: Running


def surrogate_loss(player: Player, params: Params, samples: Samples, options: PPOOptions) -> tuple[jax.Array, Info]:
    """−E[min(ρÂ, clip(ρ, 1±ε)Â)] + c_v·E[(V − V̂)²] − c_e·E[entropy], ρ = π(a|s)/π_old(a|s); scalar and info.

    E is the mean over the samples, weighted where they have weights.
    """
    mean, advantage = rollouts.mean_over(samples.weight), rollouts.whitened(samples.advantage, samples.weight)
    log_probability, entropies = player.likelihood(params, samples.observation, samples.answer)
    log_ratio = log_probability - samples.log_probability
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - options.clip_range, 1.0 + options.clip_range)
    policy_loss = -mean(jnp.minimum(ratio * advantage, clipped * advantage))
    value_loss = mean((player.value(params, samples.observation) - samples.value_target) ** 2)
    entropy = mean(entropies)
    loss = policy_loss + options.value_coefficient * value_loss - options.entropy_coefficient * entropy
    approximate_kl = mean(ratio - 1.0 - log_ratio)
    return loss, {"value_loss": value_loss, "entropy": entropy, "approximate_kl": approximate_kl}


def _optimizer(options: PPOOptions) -> optax.GradientTransformation:
    """Adam behind a global gradient-norm clip, as in Stable-Baselines3."""
    return optax.chain(
        optax.clip_by_global_norm(options.max_gradient_norm), optax.adam(options.learning_rate, eps=1e-5)
    )


def phases(problem: Callable[[Opponent], Environment], player: Player, options: PPOOptions) -> Phases:
    """The phases of `ppo`."""
    optimizer = _optimizer(options)

    def minibatch_step(carry: tuple[Params, Any], minibatch: Samples):
        params, optimizer_state = carry
        gradient, info = jax.grad(lambda p: surrogate_loss(player, p, minibatch, options), has_aux=True)(params)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), info

    def improve(key: jax.Array, params: Params, optimizer_state: Any, samples: Samples) -> tuple[Params, Any, Info]:
        carry, infos = scan_minibatches(
            key, minibatch_step, (params, optimizer_state), samples, options.minibatch_size, options.num_epochs
        )
        return *carry, jax.tree.map(jnp.mean, infos)

    collect, assess = rollouts.collector(problem, player, options.num_steps), rollouts.assessor(player, options)
    return Phases(collect, assess, improve)


def ppo(problem: Callable[[Opponent], Environment], player: Player, options: PPOOptions) -> Learner:
    """PPO for whoever faces `problem`; one update = one rollout, then epochs of minibatches on it.

    Steps with `info["weight"]` 0, where the problem gives weights, are not learned from.
    """
    return _learner(problem, player, phases(problem, player, options), options)


def _learner(problem: Callable[[Opponent], Environment], player: Player, parts: Phases, options: PPOOptions) -> Learner:
    collect, assess, improve = parts

    def init(key: jax.Array, opponent: Opponent) -> PPOState:
        key_player, key_environment = jax.random.split(key)
        params = player.init(key_player)
        running = start(key_environment, problem(opponent), options.num_environments)
        return PPOState(params, _optimizer(options).init(params), running)

    def update(key: jax.Array, state: PPOState, opponent: Opponent) -> tuple[PPOState, Info]:
        key_rollout, key_shuffle = jax.random.split(key)
        running, trajectory = collect(key_rollout, state.params, state.running, opponent)
        samples = assess(state.params, trajectory)
        params, optimizer_state, info = improve(key_shuffle, state.params, state.optimizer_state, samples)
        info |= rollouts.told_of_play(trajectory)
        return PPOState(params, optimizer_state, running), info

    steps = options.num_environments * options.num_steps
    return Learner(init, update, lambda state: state.params, steps)


def build(task: Task, options: PPOOptions) -> Trainee:
    """PPO of a task's sampled episode."""
    player = rollouts.make_player(task, options)
    parts = phases(task.problem, player, options)
    return rollouts.trainee(task, options, player, _learner(task.problem, player, parts, options), parts)


def check(options: PPOOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    check_surrogate(options, where)
    require_counts(options, where, "num_epochs")
    require_ranges(options, where, clip_range=(0.0, math.inf))
    rollouts.check_minibatches(options, where)


def check_surrogate(options: SurrogateOptions, where: str) -> None:
    """The same for what PPO and plain policy gradient share."""
    rollouts.check_rollouts(options, where)
    positive = (0.0, math.inf)
    require_ranges(options, where, learning_rate=positive, entropy_coefficient=positive)
    require_ranges(options, where, value_coefficient=positive, max_gradient_norm=positive)


PPO = LearnerKind(
    name="ppo",
    summary="proximal policy optimisation on the sampled, query-augmented episode",
    options=PPOOptions,
    build=build,
    check=check,
    num_updates=rollouts.updates_of_rollouts,
    heard=lambda options: ("answers",),
    plays=lambda options: True,
    follows=True,
    pretrains=True,
    steps="environment steps of the leader",
)
