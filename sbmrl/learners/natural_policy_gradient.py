"""Natural policy gradient (Kakade 2001), as Rajeswaran et al. use it in models (2020, arXiv 2004.07804).

One update plays fresh episodes, moves the policy once by δ in the metric of its Fisher information, and then fits the
values. The defaults are theirs; the step is θ + √(δ / |g·x|) x with x = (F + damping·I)⁻¹ g by conjugate gradients, and
there is no line search.
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
from sbmrl.core.learner import Learner, Opponent, Task, Trainee, scan_minibatches
from sbmrl.core.measures import all_finite
from sbmrl.core.options import require_count, require_counts, require_positive, require_ranges
from sbmrl.core.players import Params, Player, separated, spread_at_least, united
from sbmrl.core.rollout import start
from sbmrl.errors import require
from sbmrl.learners import rollouts
from sbmrl.learners.natural_step import fisher_vector_product, natural_step
from sbmrl.learners.ppo import PPO
from sbmrl.learners.rollouts import RolloutOptions, Samples


@dataclasses.dataclass(frozen=True)
class NaturalPolicyGradientOptions(RolloutOptions):
    """Natural policy gradient; the defaults are those of Rajeswaran et al."""

    num_steps: int = 128
    """Steps in each environment, which starts anew in every update; at least those of a whole episode."""
    discount: float = 0.995
    """γ, discount per step."""
    gae_lambda: float = 0.97
    """λ of generalised advantage estimation."""
    num_repeats: int = 1
    """Steps in one update, each on fresh episodes of its own."""
    step_size: float = 0.05
    """δ, twice the mean KL divergence from the old policy to the new one."""
    num_cg_iterations: int = 10
    """Iterations of conjugate gradients."""
    damping: float = 1e-4
    """What is added to the Fisher information's diagonal."""
    num_fisher_samples: int = 0
    """States behind the Fisher information, drawn with replacement from the rollout; 0 takes all of them, once each."""
    initial_log_standard_deviation: float = 0.0
    """Where log σ of a Gaussian policy starts."""
    min_log_standard_deviation: float = -2.5
    """What log σ of a Gaussian policy is kept at or above."""
    value_learning_rate: float = 1e-3
    """Adam's step size on the critic."""
    value_weight_decay: float = 1e-3
    """Weight decay of the critic, as AdamW has it."""
    value_minibatch_size: int = 128
    """Samples per gradient step on the critic; a multiple of the number of environments."""
    value_epochs: int = 1
    """Passes over each rollout that fit the critic."""


def of_rollouts(options: RolloutOptions) -> NaturalPolicyGradientOptions:
    """The rollouts, networks and discounts of another policy gradient, with the defaults of this one's own numbers."""
    return NaturalPolicyGradientOptions(**rollouts.shared(options, RolloutOptions))


class NaturalPolicyGradientState(NamedTuple):
    """Parameters of policy and critic, and the critic's optimiser state."""

    params: Params
    optimizer_state: Any


def policy_step(
    key: jax.Array, player: Player, params: Params, samples: Samples, options: NaturalPolicyGradientOptions
) -> tuple[Params, Params]:
    """(g, step) in the parameters of the answers: g = ∇ E[log π(a|s) Â] with whitened Â, and its `natural_step`.

    E is the mean over the samples, weighted where they have weights.
    """
    policy, critic = separated(params)
    mean, advantage = rollouts.mean_over(samples.weight), rollouts.whitened(samples.advantage, samples.weight)

    def surrogate(policy: Params) -> jax.Array:
        return mean(player.likelihood(united(policy, critic), samples.observation, samples.answer)[0] * advantage)

    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (samples.observation, samples.weight))
    if options.num_fisher_samples:
        drawn = jax.random.randint(key, (options.num_fisher_samples,), 0, len(flat[0]))
        flat = jax.tree.map(lambda x: x[drawn], flat)
    observation, weight = flat
    product = fisher_vector_product(
        lambda policy: player.distribution_parameters(united(policy, critic), observation), player.head, policy, weight
    )
    gradient = jax.grad(surrogate)(policy)
    return gradient, natural_step(product, gradient, options.step_size, options.damping, options.num_cg_iterations)


def _optimizer(options: NaturalPolicyGradientOptions) -> optax.GradientTransformation:
    """The critic's."""
    return optax.adamw(options.value_learning_rate, weight_decay=options.value_weight_decay)


def fit_values(
    key: jax.Array,
    player: Player,
    params: Params,
    optimizer_state: Any,
    samples: Samples,
    options: NaturalPolicyGradientOptions,
) -> tuple[Params, Any, jax.Array]:
    """Minibatches of AdamW on E[(V − V̂)²]: the critic's parameters and optimiser state, and `[]` the mean loss."""
    policy, critic = separated(params)
    optimizer = _optimizer(options)

    def step(carry: tuple[Params, Any], minibatch: Samples):
        critic, optimizer_state = carry

        def loss(critic: Params) -> jax.Array:
            value = player.value(united(policy, critic), minibatch.observation)
            return rollouts.mean_over(minibatch.weight)((value - minibatch.value_target) ** 2)

        value, gradient = jax.value_and_grad(loss)(critic)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, critic)
        return (optax.apply_updates(critic, updates), optimizer_state), value

    sizes = (options.value_minibatch_size, options.value_epochs)
    (critic, optimizer_state), losses = scan_minibatches(key, step, (critic, optimizer_state), samples, *sizes)
    return critic, optimizer_state, jnp.mean(losses)


def natural_policy_gradient(
    problem: Callable[[Opponent], Environment], player: Player, options: NaturalPolicyGradientOptions
) -> Learner:
    """Natural policy gradient for whoever faces `problem`; one update = fresh episodes, one step, a fit of the values.

    Episodes that end before `num_steps` are followed by others. Steps with `info["weight"]` 0, where the problem gives
    weights, are not learned from. A step that is not finite leaves everything as it was, and is reported.

    Its info, `[]` each: `kl` the mean KL divergence from the old policy to the new one on the states of the rollout, in
    nats; `gradient_norm`; `value_loss`; `skipped` 1 where the step was not finite, else 0; `mean_reward`;
    `share_ended`.
    """
    collect = rollouts.collector(problem, player, options.num_steps)
    assess = rollouts.assessor(player, options)

    def init(key: jax.Array, opponent: Opponent) -> NaturalPolicyGradientState:
        params = player.init(key)
        return NaturalPolicyGradientState(params, _optimizer(options).init(separated(params)[1]))

    def update(
        key: jax.Array, state: NaturalPolicyGradientState, opponent: Opponent
    ) -> tuple[NaturalPolicyGradientState, Info]:
        key_start, key_rollout, key_fisher, key_shuffle = jax.random.split(key, 4)
        running = start(key_start, problem(opponent), options.num_environments)
        _, trajectory = collect(key_rollout, state.params, running, opponent)
        samples = assess(state.params, trajectory)
        gradient, step = policy_step(key_fisher, player, state.params, samples, options)
        policy = optax.apply_updates(separated(state.params)[0], step)
        policy = spread_at_least(policy, options.min_log_standard_deviation)
        critic, optimizer_state, value_loss = fit_values(
            key_shuffle, player, state.params, state.optimizer_state, samples, options
        )
        new = NaturalPolicyGradientState(united(policy, critic), optimizer_state)
        finite = all_finite((gradient, step))
        new = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state)
        old_answers, new_answers = (player.distribution(s.params, samples.observation) for s in (state, new))
        return new, {
            "kl": rollouts.mean_over(samples.weight)(old_answers.kl_divergence(new_answers)),
            "gradient_norm": optax.tree.norm(gradient),
            "value_loss": value_loss,
            "skipped": 1.0 - finite,
            **rollouts.told_of_play(trajectory),
        }

    def repeat(key: jax.Array, state: NaturalPolicyGradientState, opponent: Opponent):
        keys = jax.random.split(key, options.num_repeats)
        state, infos = jax.lax.scan(lambda state, key: update(key, state, opponent), state, keys)
        return state, jax.tree.map(jnp.mean, infos)

    steps = options.num_repeats * options.num_environments * options.num_steps
    return Learner(init, repeat if options.num_repeats > 1 else update, lambda state: state.params, steps)


def build(task: Task, options: NaturalPolicyGradientOptions) -> Trainee:
    """Natural policy gradient of a task's sampled episode.

    Raises:
        InputError: `num_steps` are fewer than an episode has, whose end would then never be played.
    """
    allowed = f"must be at least {task.num_steps} for the {task.role}, as every update starts episodes anew"
    require(options.num_steps >= task.num_steps, "num_steps", allowed, options.num_steps)
    player = rollouts.make_player(task, options, options.initial_log_standard_deviation)
    return rollouts.trainee(task, options, player, natural_policy_gradient(task.problem, player, options))


def check(options: NaturalPolicyGradientOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    rollouts.check_rollouts(options, where)
    require_counts(options, where, "num_cg_iterations", "value_epochs", "num_repeats")
    require_count(options.num_fisher_samples, f"{where}num_fisher_samples", least=0)
    require_positive(options, where, "step_size")
    positive, any_number = (0.0, math.inf), (-math.inf, math.inf)
    require_ranges(options, where, damping=positive, value_learning_rate=positive, value_weight_decay=positive)
    require_ranges(options, where, initial_log_standard_deviation=any_number, min_log_standard_deviation=any_number)
    rollouts.check_minibatches(options, where, "value_minibatch_size")


NATURAL_POLICY_GRADIENT = PPO._replace(
    name="natural_policy_gradient",
    summary="natural policy gradient: one step of a given KL divergence on fresh episodes",
    options=NaturalPolicyGradientOptions,
    build=build,
    check=check,
    num_updates=lambda options: math.ceil(rollouts.updates_of_rollouts(options) / options.num_repeats),
)
