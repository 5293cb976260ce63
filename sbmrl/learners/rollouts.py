"""What learners that play share: rollouts with their advantages, the player that plays them, checks of their sizes."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment, auto_reset
from sbmrl.core.game import Info, NetworkActing
from sbmrl.core.learner import Learner, Networks, Opponent, Phases, Task, Trainee, trainee_of_answers
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.players import Parametrization, Params, Player, actor_critic, make_actor, with_context
from sbmrl.core.rollout import Running, Trajectory, rollout
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
    discount: float = 0.99
    """γ, discount per step."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation."""


def shared(options: RolloutOptions, kind: type[RolloutOptions]) -> dict[str, Any]:
    """Field -> value of what `options` have of `kind`, a class that they inherit from."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(kind)}


class Samples(NamedTuple):
    """What a policy gradient needs of a rollout, `[T, E, ...]` each; weights only where not all steps count."""

    observation: jax.Array
    answer: jax.Array
    log_probability: jax.Array
    advantage: jax.Array
    value_target: jax.Array
    weight: jax.Array | None = None


def mean_over(weight: jax.Array | None) -> Callable[[jax.Array], jax.Array]:
    """(x `[...]`) -> `[]`: its mean, weighted where there are weights `[...]`; of weights that are all 0 it is 0."""
    if weight is None:
        return jnp.mean
    count = jnp.maximum(jnp.sum(weight), 1.0)
    return lambda x: jnp.sum(weight * x) / count


def whitened(advantage: jax.Array, weight: jax.Array | None) -> jax.Array:
    """`[...]`: advantages less their mean, divided by their standard deviation, over the steps that count."""
    if weight is None:
        return (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)
    mean = mean_over(weight)
    centred = advantage - mean(advantage)
    return centred / (jnp.sqrt(mean(centred**2)) + 1e-8)


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


def collector(
    problem: Callable[[Opponent], Environment], player: Player, num_steps: int
) -> Callable[[jax.Array, Params, Running, Opponent], tuple[Running, Trajectory]]:
    """(key, params, running, opponent) -> (running, trajectory): `Phases.collect`, T = `num_steps`."""

    def collect(key: jax.Array, params: Params, running: Running, opponent: Opponent) -> tuple[Running, Trajectory]:
        def answer(key: jax.Array, observation: jax.Array) -> jax.Array:
            return player.distribution(params, observation).sample(seed=key)

        return rollout(key, auto_reset(problem(opponent)), answer, running, num_steps)

    return collect


def assessor(player: Player, options: RolloutOptions) -> Callable[[Params, Trajectory], Samples]:
    """(params, trajectory) -> samples: `Phases.assess`, the targets of the values are Â + V."""

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

    return assess


def told_of_play(trajectory: Trajectory) -> Info:
    """What every learner that plays reports of its rollout: the mean reward, how many steps ended an episode, and the
    means of what the environment tells as `share_…`.
    """
    told = {name: jnp.mean(value) for name, value in trajectory.info.items() if name.startswith("share_")}
    return told | {
        "mean_reward": jnp.mean(trajectory.reward),
        "share_ended": jnp.mean(trajectory.terminated | trajectory.truncated),
    }


def make_player(
    task: Task, options: RolloutOptions, initial_log_standard_deviation: jax.typing.ArrayLike = 0.0
) -> Player:
    """The actor and critic of a task's player."""
    actor = make_actor(task.seat, task.seen, options.parametrization, options.actor_hidden)
    critic = options.critic_hidden
    return actor_critic(actor, critic, task.seat.head, task.observation_size, initial_log_standard_deviation)


def trainee(
    task: Task, options: RolloutOptions, player: Player, learner: Learner, phases: Phases | None = None
) -> Trainee:
    """A learner of `make_player`'s player with what a solver asks of it."""

    def answers(params: Params, description: jax.Array | None) -> jax.Array:
        queries = task.played if description is None else with_context(description, task.played)
        return player.logits(params, queries)

    networks = Networks(
        (task.observation_size, *options.actor_hidden, task.seat.num_outputs),
        (task.observation_size, *options.critic_hidden, 1),
    )
    of_function = task.seat.of_function
    if of_function is None:
        return trainee_of_answers(task, learner, answers, phases, networks)
    strategy = lambda params, description: of_function(NetworkActing(params, description, player.module))  # noqa: E731
    return Trainee(learner, strategy, None, phases, networks)


def check_rollouts(options: RolloutOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    require_counts(options, where, "total_steps", "num_environments", "num_steps", "actor_hidden", "critic_hidden")
    require_ranges(options, where, discount=(0.0, 1.0), gae_lambda=(0.0, 1.0))


def check_minibatches(options: Any, where: str, name: str = "minibatch_size") -> None:
    """Raise `InputError` unless whole time steps of all environments make minibatches, and these make a rollout."""
    environments, minibatch = options.num_environments, getattr(options, name)
    require_counts(options, where, name)
    divides = minibatch % environments == 0 and (options.num_steps * environments) % minibatch == 0
    allowed = f"must be a multiple of num_environments ({environments}) that divides num_environments·num_steps"
    require(divides, f"{where}{name}", allowed, minibatch)


def updates_of_rollouts(options: Any) -> int:
    """Updates of one rollout each that cover `total_steps`."""
    return math.ceil(options.total_steps / (options.num_environments * options.num_steps))
