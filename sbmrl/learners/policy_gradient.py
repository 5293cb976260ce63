"""Plain policy gradient: one gradient step on each rollout, the policy gradient with advantages (Sutton et al. 2000).

It is PPO with one epoch of one minibatch: the gradient is then taken where the probability ratio is 1, so that nothing
is ever clipped. There is no second implementation.
"""

import dataclasses

from sbmrl.core.learner import Task, Trainee
from sbmrl.learners import ppo
from sbmrl.learners.rollouts import shared


@dataclasses.dataclass(frozen=True)
class PolicyGradientOptions(ppo.SurrogateOptions):
    """One gradient step on each rollout."""


def as_ppo(options: PolicyGradientOptions) -> ppo.PPOOptions:
    """PPO's options with one epoch of one minibatch, the whole rollout."""
    batch = options.num_environments * options.num_steps
    return ppo.PPOOptions(**shared(options, ppo.SurrogateOptions), num_epochs=1, minibatch_size=batch)


def of_ppo(options: ppo.PPOOptions) -> PolicyGradientOptions:
    """What plain policy gradient shares with PPO."""
    return PolicyGradientOptions(**shared(options, ppo.SurrogateOptions))


def build(task: Task, options: PolicyGradientOptions) -> Trainee:
    """Policy gradient of a task's sampled episode."""
    return ppo.build(task, as_ppo(options))


POLICY_GRADIENT = ppo.PPO._replace(
    name="policy_gradient",
    summary="plain policy gradient: one gradient step on each rollout",
    options=PolicyGradientOptions,
    build=build,
    check=ppo.check_surrogate,
)
