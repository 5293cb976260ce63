"""Plain policy gradient: one gradient step on each rollout, the policy gradient with advantages (Sutton et al. 2000).

It is PPO with one epoch of one minibatch: the gradient is then taken where the probability ratio is 1, so that nothing
is ever clipped. There is no second implementation.
"""

import dataclasses

from sbmrl.core.learner import Task, Trainee
from sbmrl.core.options import require_counts
from sbmrl.core.players import Parametrization
from sbmrl.learners import ppo


@dataclasses.dataclass(frozen=True)
class PolicyGradientOptions:
    """One gradient step on each rollout."""

    total_steps: int = 250_000
    """Environment steps to train for, queries included (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 128
    """Steps in each environment between two updates."""
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


def as_ppo(options: PolicyGradientOptions) -> ppo.PPOOptions:
    """PPO's options with one epoch of one minibatch, the whole rollout."""
    own = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    batch = options.num_environments * options.num_steps
    return ppo.PPOOptions(**own, num_epochs=1, minibatch_size=batch)


def of_ppo(options: ppo.PPOOptions) -> PolicyGradientOptions:
    """The options that plain policy gradient shares with PPO's."""
    shared = {field.name: getattr(options, field.name) for field in dataclasses.fields(PolicyGradientOptions)}
    return PolicyGradientOptions(**shared)


def build(task: Task, options: PolicyGradientOptions) -> Trainee:
    """Policy gradient of a task's sampled episode."""
    return ppo.build(task, as_ppo(options))


def check(options: PolicyGradientOptions, where: str) -> None:
    """Raise `InputError` for a number that is not allowed; `where` is the prefix of the names."""
    require_counts(options, where, "total_steps", "num_environments", "num_steps", "actor_hidden", "critic_hidden")
    ppo.check_ranges(options, where)


POLICY_GRADIENT = ppo.PPO._replace(
    name="policy_gradient",
    summary="plain policy gradient: one gradient step on each rollout",
    options=PolicyGradientOptions,
    build=build,
    check=check,
)
