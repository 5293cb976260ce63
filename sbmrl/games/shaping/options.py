"""What can be set of reward shaping."""

import dataclasses

from sbmrl.core.options import AnswerOptions, GameOptions, Response, require_ranges


@dataclasses.dataclass(frozen=True)
class BurdenOptions:
    """What penalties cost their designer."""

    beta: float = 1.0
    """β ≥ 0, cost of the sum of all penalties when the agent arrives, in units of a step at the target."""


@dataclasses.dataclass(frozen=True)
class ShapingOptions(GameOptions):
    """How a designer and its agent meet."""

    response: Response = "sampled"
    """An agent always draws from its policy."""


@dataclasses.dataclass(frozen=True)
class RegularisedOptions(AnswerOptions):
    """The agent's optimum with an entropy bonus over an infinite horizon, differentiated by the envelope theorem."""

    max_iterations: int = 1000
    """Soft backups before the Newton step; what is left at the end is reported as the residual."""
    temperature: float = 0.005
    """λ of the entropy bonus, in units of return; positive."""

    @property
    def differentiable(self) -> bool:
        """By the envelope theorem."""
        return True


def check_beta(options: BurdenOptions) -> None:
    """Raise `InputError` unless β is a cost."""
    require_ranges(options, "", beta=(0.0, float("inf")))
