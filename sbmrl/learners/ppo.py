"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) as pure functions.

The options and their defaults are Stable-Baselines3's: clipped surrogate, generalised advantage estimation,
advantages normalised per minibatch, global gradient-norm clipping, Adam with ε = 1e-5.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from sbmrl.core.environment import Environment, auto_reset
from sbmrl.core.game import Info
from sbmrl.core.learner import Learner, Networks, Opponent, Phases, Task, Trainee, scan_minibatches
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.parts import LearnerKind
from sbmrl.core.players import Parametrization, Params, Player, actor_critic, make_actor, with_context
from sbmrl.core.rollout import Running, Trajectory, rollout, start
from sbmrl.errors import require


@dataclasses.dataclass(frozen=True)
class RolloutOptions:
    """What policy gradients on rollouts have in common; the defaults are Stable-Baselines3's."""

    total_steps: int = 250_000
    """Environment steps to train for, queries included (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 128
    """Steps in each environment between two updates (Stable-Baselines3: 2,048 in one)."""
    parametrization: Parametrization = "network"
    """The actor: a network, or a free row of logits per query (leaders only)."""
    actor_hidden: tuple[int, ...] = (64, 64)
    """Widths of the actor's hidden layers (tanh)."""
    critic_hidden: tuple[int, ...] = (64, 64)
    """Widths of the critic's hidden layers (tanh); none is a linear critic."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    discount: float = 0.99
    """γ, discount per step."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the critic's loss."""
    max_gradient_norm: float = 0.5
    """Global norm above which a gradient is scaled down."""


@dataclasses.dataclass(frozen=True)
class PPOOptions(RolloutOptions):
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


class Samples(NamedTuple):
    """What the surrogate needs of a rollout, `[T, E, ...]` each; weights only where not all steps count."""

    observation: jax.Array
    answer: jax.Array
    log_probability: jax.Array
    advantage: jax.Array
    value_target: jax.Array
    weight: jax.Array | None = None


def generalized_advantage_estimation(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    discount: jax.typing.ArrayLike,
    gae_lambda: jax.typing.ArrayLike,
) -> jax.Array:
    """`[T, ...]` advantages Â_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ V(s_{t+1}) − V(s_t) (Schulman et al. 2016).

    V(s_{t+1}) is the value of the state that really followed, 0 where it is terminal: a truncated episode
    bootstraps, a terminated one does not, and no trace crosses either end. All arguments are `[T, ...]`.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    keep = jnp.where(terminated | truncated, 0.0, discount * gae_lambda)

    def step(advantage_tp1, inputs):
        delta_t, keep_t = inputs
        advantage_t = delta_t + keep_t * advantage_tp1
        return advantage_t, advantage_t

    _, advantage = jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, keep), reverse=True)
    return advantage


def surrogate_loss(player: Player, params: Params, samples: Samples, options: PPOOptions) -> tuple[jax.Array, Info]:
    """−E[min(ρÂ, clip(ρ, 1±ε)Â)] + c_v·E[(V − V̂)²] − c_e·E[entropy], ρ = π(a|s)/π_old(a|s); scalar and info.

    E is the mean over the samples, weighted where they have weights.
    """
    if samples.weight is not None:
        count = jnp.maximum(jnp.sum(samples.weight), 1.0)
        mean = lambda x: jnp.sum(samples.weight * x) / count  # noqa: E731
        centred = samples.advantage - mean(samples.advantage)
        advantage = centred / (jnp.sqrt(mean(centred**2)) + 1e-8)
    else:
        mean = jnp.mean
        advantage = (samples.advantage - samples.advantage.mean()) / (samples.advantage.std(ddof=1) + 1e-8)
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

    def collect(key: jax.Array, params: Params, running: Running, opponent: Opponent) -> tuple[Running, Trajectory]:
        def answer(key: jax.Array, observation: jax.Array) -> jax.Array:
            return player.distribution(params, observation).sample(seed=key)

        return rollout(key, auto_reset(problem(opponent)), answer, running, options.num_steps)

    def assess(params: Params, trajectory: Trajectory) -> Samples:
        value = player.value(params, trajectory.observation)
        advantage = generalized_advantage_estimation(
            trajectory.reward,
            value,
            player.value(params, trajectory.next_observation),
            trajectory.terminated,
            trajectory.truncated,
            options.discount,
            options.gae_lambda,
        )
        log_probability, _ = player.likelihood(params, trajectory.observation, trajectory.answer)
        weight = trajectory.info.get("weight")
        return Samples(trajectory.observation, trajectory.answer, log_probability, advantage, advantage + value, weight)

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
        info |= {
            "mean_reward": jnp.mean(trajectory.reward),
            "share_ended": jnp.mean(trajectory.terminated | trajectory.truncated),
        }
        return PPOState(params, optimizer_state, running), info

    steps = options.num_environments * options.num_steps
    return Learner(init, update, lambda state: state.params, steps)


def build(task: Task, options: PPOOptions) -> Trainee:
    """PPO of a task's sampled episode."""
    seat = task.seat
    actor = make_actor(seat, task.seen, options.parametrization, options.actor_hidden)
    player = actor_critic(actor, options.critic_hidden, seat.head, task.observation_size)
    parts = phases(task.problem, player, options)

    def answers(params: Params, description: jax.Array | None) -> jax.Array:
        queries = task.played if description is None else with_context(description, task.played)
        return player.logits(params, queries)

    networks = Networks(
        (task.observation_size, *options.actor_hidden, seat.num_outputs),
        (task.observation_size, *options.critic_hidden, 1),
    )
    return Trainee(_learner(task.problem, player, parts, options), answers, parts, networks)


def check(options: PPOOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    check_rollouts(options, where)
    require_counts(options, where, "minibatch_size", "num_epochs")
    require_ranges(options, where, clip_range=(0.0, math.inf))
    check_minibatches(options, where)


def check_rollouts(options: RolloutOptions, where: str) -> None:
    """The same for what all policy gradients on rollouts have."""
    require_counts(options, where, "total_steps", "num_environments", "num_steps", "actor_hidden", "critic_hidden")
    positive = (0.0, math.inf)
    require_ranges(options, where, learning_rate=positive, discount=(0.0, 1.0), gae_lambda=(0.0, 1.0))
    require_ranges(options, where, entropy_coefficient=positive, value_coefficient=positive, max_gradient_norm=positive)


def check_minibatches(options: Any, where: str) -> None:
    """Raise `InputError` unless whole time steps of all environments make minibatches, and these make a rollout."""
    environments, minibatch = options.num_environments, options.minibatch_size
    divides = minibatch % environments == 0 and (options.num_steps * environments) % minibatch == 0
    allowed = f"must be a multiple of num_environments ({environments}) that divides num_environments·num_steps"
    require(divides, f"{where}minibatch_size", allowed, minibatch)


def updates_of_rollouts(options: Any) -> int:
    """Updates of one rollout each that cover `total_steps`."""
    return math.ceil(options.total_steps / (options.num_environments * options.num_steps))


PPO = LearnerKind(
    name="ppo",
    summary="proximal policy optimisation on the sampled, query-augmented episode",
    options=PPOOptions,
    build=build,
    check=check,
    num_updates=updates_of_rollouts,
    heard=lambda options: ("answers",),
    plays=lambda options: True,
    follows=True,
    pretrains=True,
    steps="environment steps of the leader",
)
