"""How each kind of learner learns and each kind of follower responds: options, one sentence a field.

Every `float` field is *traced* (see `sbmrl.core.experiment`), every other field is static.
"""

import dataclasses
from typing import Literal

Parametrization = Literal["network", "table"]
Optimizer = Literal["adabelief", "adam", "adamw", "amsgrad", "lion", "nadam", "radam", "rmsprop", "sgd", "yogi"]
Initial = Literal["uniform", "random", "truth"]
TieBreaking = Literal["lowest", "optimistic", "pessimistic"]


@dataclasses.dataclass(frozen=True)
class PPOOptions:
    """Proximal policy optimisation; the defaults are Stable-Baselines3's."""

    total_steps: int = 250_000
    """Environment steps to train for, queries included (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 128
    """Steps in each environment between two updates (Stable-Baselines3: 2,048 in one)."""
    minibatch_size: int = 64
    """Samples per gradient step; a multiple of the number of environments."""
    num_epochs: int = 10
    """Passes over each rollout."""
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
    clip_range: float = 0.2
    """ε, how far the probability ratio may leave 1."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the critic's loss."""
    max_gradient_norm: float = 0.5
    """Global norm above which a gradient is scaled down."""


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Fitting a context-conditioned world model to real transitions of random policies."""

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


@dataclasses.dataclass(frozen=True)
class EvolutionOptions:
    """Evolution strategies (Salimans et al. 2017, arXiv 1703.03864) on the exact payoff: uses no gradient."""

    num_updates: int = 500
    """Generations (rounded up to whole records)."""
    population_size: int = 32
    """Candidates a generation, in antithetic pairs; an even number."""
    optimizer: Optimizer = "adam"
    """Any of optax's: how the estimated gradient becomes a step."""
    parametrization: Parametrization = "table"
    """A free row of logits per query, or a network."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of a network's hidden layers (tanh)."""
    initial: Initial = "uniform"
    """A table's start: nearly uniform rows, random rows (Dirichlet(1)), or the truth (model), the optimum (policy)."""
    learning_rate: float = 0.1
    """Step size of the optimizer."""
    standard_deviation: float = 0.5
    """Spread of the candidates around the mean, in units of the parameters (logits)."""
    num_episodes: int = 0
    """Episodes of the query-augmented game that each candidate plays to be judged; 0 judges by the exact payoff."""


@dataclasses.dataclass(frozen=True)
class QLearningOptions:
    """Tabular Q-learning against the leader, from a table of zeros in every one of the leader's episodes.

    The defaults are those of Gerstgrasser & Parkes (2023). Every step of it asks the leader for an action.
    """

    num_episodes: int = 80
    """Episodes that the follower learns in before the leader's own T steps."""
    learning_rate: float = 0.1
    """α, the step of the table towards each new estimate."""
    discount: float = 0.9
    """γ, discount per step."""
    exploration: float = 0.1
    """ε, the share of random actions while it learns."""


@dataclasses.dataclass(frozen=True)
class ExactOptions:
    """The exact best response: backward induction for a policy, the true conditionals for a model."""

    backup: Literal["hard", "soft"] = "hard"
    """A policy's backups: the maximum over actions, or its softmax at `temperature`."""
    tie_breaking: TieBreaking = "lowest"
    """Policy, hard backups: among best actions the lowest, the leader's favourite (strong Stackelberg) or its worst
    (weak). Model: rows of pairs without data are the truth (uniform with num_transitions), or lead to the best or the
    worst next state for the leader."""
    tie_tolerance: float = 1e-3
    """Actions within this of the best are tied, in units of return and at each decision."""
    temperature: float = 0.1
    """τ of a policy's soft backups, in units of return; positive."""
    num_transitions: int = 0
    """A model is fitted by maximum likelihood to this many transitions drawn from the policy's data; 0 is infinitely
    many: the true conditionals."""
    clock: bool = True
    """Whether a policy, or the follower of a matrix game, knows the time of the episode; only the latter may not."""


@dataclasses.dataclass(frozen=True)
class ImplicitOptions:
    """The soft best response over an infinite horizon, differentiated by the implicit function theorem."""

    max_iterations: int = 50
    """Newton steps (soft policy iterations) of the solver; what is left at the end is reported as the residual."""
    temperature: float = 0.1
    """τ of the soft backups, in units of return; positive."""
    discount: float = 0.98
    """γ in [0, 1), of the problem that the follower solves (the poster's T = 50 is 1/(1 − γ) at 0.98)."""


LeaderOptions = PPOOptions | GradientOptions | EvolutionOptions
FollowerOptions = PPOOptions | FitOptions | GradientOptions | QLearningOptions | ExactOptions | ImplicitOptions
LEARNERS: dict[str, str] = {
    "ppo": "proximal policy optimisation on the sampled, query-augmented episode",
    "policy_gradient": "plain policy gradient: one gradient step on each rollout",
    "gradient": "gradient of the exact payoff through the response, any optax optimizer",
    "evolution": "evolution strategies on the exact payoff or on played episodes, no gradient",
}


def plain_policy_gradient(options: PPOOptions) -> PPOOptions:
    """PPO's options with one epoch of one minibatch.

    The gradient is then taken where the probability ratio is 1 and nothing is clipped: the policy gradient with
    advantages (Sutton et al. 2000).
    """
    batch = options.num_environments * options.num_steps
    return dataclasses.replace(options, num_epochs=1, minibatch_size=batch)


def learner_name(options: LeaderOptions) -> str:
    """The key of `LEARNERS` under which a leader's options stand."""
    if isinstance(options, PPOOptions):
        return "policy_gradient" if options == plain_policy_gradient(options) else "ppo"
    return "gradient" if isinstance(options, GradientOptions) else "evolution"


def plays(options: LeaderOptions) -> bool:
    """Whether a leader learns from episodes that it plays; else from exact payoffs."""
    return isinstance(options, PPOOptions) or (isinstance(options, EvolutionOptions) and options.num_episodes > 0)
