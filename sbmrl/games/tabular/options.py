"""What can be set of model-based RL on a tabular world."""

import dataclasses
from typing import Literal

from sbmrl.core.options import AnswerOptions, GameOptions

TieBreaking = Literal["lowest", "optimistic", "pessimistic"]


@dataclasses.dataclass(frozen=True)
class TabularOptions(GameOptions):
    """The data and the loss of the model."""

    loss: Literal["brier", "kl", "cross_entropy", "excess_brier"] = "brier"
    """ℓ, the model's loss: Brier (the poster's code), KL (its text), or what differs from them by a row's own cost."""
    rewards: Literal["known", "learned"] = "known"
    """Whether a model that leads predicts rewards too: it then plans by r̂(s, a), whose squared error joins its loss."""
    random_data: Literal["policies", "pairs"] = "policies"
    """What `random_fit` is measured on: the data of random policies, or every state and action alike."""
    data: Literal["own", "aggregated"] = "own"
    """What `fit` is measured on: the data of the present policy, or all transitions so far (Rajeswaran et al.)."""
    num_initial_transitions: int = 1000
    """Aggregated data: transitions of the uniform policy to begin with."""
    num_new_transitions: int = 100
    """Aggregated data: transitions of the present policy added at each leader step."""
    buffer_size: int = 100_000
    """Aggregated data: transitions kept; beyond it the old ones fade."""

    @property
    def fit(self) -> str:
        """The payoff that is the model's fit: on the policy's own data, or on aggregated data."""
        return "fit" if self.data == "own" else "data_fit"


@dataclasses.dataclass(frozen=True)
class PlanOptions(AnswerOptions):
    """The exact best response of a policy: backward induction in the model."""

    backup: Literal["hard", "soft"] = "hard"
    """The maximum over actions, or its softmax at `temperature`."""
    tie_breaking: TieBreaking = "lowest"
    """Hard backups: among best actions the lowest, the leader's favourite (strong Stackelberg) or its worst (weak)."""
    tie_tolerance: float = 1e-3
    """Hard backups: actions within this of the best are tied, in units of return and at each decision."""
    temperature: float = 0.1
    """τ of soft backups, in units of return; positive."""

    @property
    def differentiable(self) -> bool:
        """A best action has no derivative in the model, a softmax has."""
        return self.backup == "soft"


@dataclasses.dataclass(frozen=True)
class ConditionalsOptions(AnswerOptions):
    """The exact best response of a model: the true conditionals, or their maximum-likelihood estimate."""

    tie_breaking: TieBreaking = "lowest"
    """Rows of pairs without data: the truth (or uniform, if fitted), or the leader's best or worst next state."""
    num_transitions: int = 0
    """Transitions of the policy to which rows are fitted by maximum likelihood; 0 is infinitely many: the truth."""

    @property
    def draws(self) -> bool:
        """Transitions are drawn, unless there are infinitely many."""
        return self.num_transitions > 0


@dataclasses.dataclass(frozen=True)
class SoftOptions(AnswerOptions):
    """The soft best response over an infinite horizon, differentiated by the implicit function theorem."""

    max_iterations: int = 50
    """Newton steps (soft policy iterations) of the solver; what is left at the end is reported as the residual."""
    temperature: float = 0.1
    """τ of the soft backups, in units of return; positive."""
    discount: float = 0.98
    """γ in [0, 1), of the problem that the follower solves (the poster's T = 50 is 1/(1 − γ) at 0.98)."""

    @property
    def differentiable(self) -> bool:
        """By the implicit function theorem."""
        return True
