"""What can be set of model-based RL on a linear-quadratic world."""

import dataclasses
from typing import Literal

from sbmrl.core.options import AnswerOptions, GameOptions

Derivative = Literal["exact", "none"]


@dataclasses.dataclass(frozen=True)
class LinearQuadraticOptions(GameOptions):
    """The data and the loss of the model."""

    loss: Literal["squared", "kl"] = "squared"
    """ℓ, the model's loss, relative to the truth: squared error, or KL divergence where the noise is known."""
    action_noise: float = 0.0
    """σ², variance of the noise on each action while data are collected; 0 is a policy that only does what it wants."""

    @property
    def fit(self) -> str:
        """The payoff that is the model's fit."""
        return "fit"


@dataclasses.dataclass(frozen=True)
class RiccatiOptions(AnswerOptions):
    """The exact best response of a policy: the optimal control of the model."""

    derivative: Derivative = "exact"
    """Whether the leader sees how the answer changes with it, exactly, or takes it as it is (first-order)."""

    @property
    def differentiable(self) -> bool:
        """As the option says."""
        return self.derivative == "exact"


@dataclasses.dataclass(frozen=True)
class RegressionOptions(AnswerOptions):
    """The exact best response of a model: one that fits the policy's own data without error."""

    among: Literal["truth", "self_confirming"] = "truth"
    """Which of the models without error: the true one, or the one in which the policy is already optimal."""
    derivative: Derivative = "exact"
    """Whether the leader sees how the answer changes with it, exactly, or takes it as it is (first-order)."""

    @property
    def differentiable(self) -> bool:
        """As the option says."""
        return self.derivative == "exact"


@dataclasses.dataclass(frozen=True)
class IterationOptions(AnswerOptions):
    """The optimal control of the model as a fixed point, differentiated by the implicit function theorem."""

    num_doublings: int = 8
    """Doublings of the solver, k look 2ᵏ steps ahead; what is left at the end is reported as the residual."""

    @property
    def differentiable(self) -> bool:
        """By the implicit function theorem."""
        return True
