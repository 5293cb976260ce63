"""What can be set of model-based RL in a simulated world."""

import dataclasses
from typing import Literal

from sbmrl.core.options import AnswerOptions, GameOptions

Propagation = Literal["fixed", "random"]
Data = Literal["aggregated", "own"]


@dataclasses.dataclass(frozen=True)
class ContinuousOptions(GameOptions):
    """The data of the model, and how episodes are imagined."""

    data: Data = "aggregated"
    """What a model is judged by: all data so far (the practical game), or those of the present policy (the literal)."""
    num_initial_episodes: int = 5
    """Episodes of the real world to begin with, with random actions."""
    num_new_episodes: int = 2
    """Episodes of the present policy in the real world, added at each step of the leader."""
    buffer_size: int = 10_000
    """Transitions kept; beyond it the oldest are overwritten."""
    initial_noise: float = 1.0
    """Standard deviation of the random actions, in half-widths of the range of actions."""
    propagation: Propagation = "fixed"
    """Whether an imagined episode keeps its member of the model, or moves to another one at each step."""
    num_test_episodes: int = 64
    """Starts, the same for all, from which a policy is evaluated."""

    @property
    def fit(self) -> str:
        """The payoff that is the model's fit."""
        return "data_fit"


@dataclasses.dataclass(frozen=True)
class TruthOptions(AnswerOptions):
    """The exact best response of a model that wants to fit: the true world, which has no error on any data."""
