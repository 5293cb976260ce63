"""The knobs of the formulations of model-based RL, and what they mean together with the other parts."""

import dataclasses
from typing import Any, Literal

from sbmrl.core.formulation import Formulation
from sbmrl.core.options import require_positive, require_ranges
from sbmrl.core.parts import Composition
from sbmrl.errors import InputError


@dataclasses.dataclass(frozen=True)
class RepairOptions:
    """How much of plain MAL is kept."""

    alpha: float = 0.5
    """α in [0, 1], weight of plain MAL; 1 is MAL exactly."""


AlphaScale = Literal["sum", "horizon"]


@dataclasses.dataclass(frozen=True)
class AgentRewardOptions(RepairOptions):
    """How much of plain MAL is kept, and where the agent is paid."""

    alpha: float = 0.5
    """α in [0, 1], weight of the loss of a step; 1 − α weighs a return, all T steps (see alpha-scale). 1 is MAL."""
    agent_reward: Literal["world", "model"] = "world"
    """Where the leader earns the return: the true world (the poster's code) or the model (its text)."""
    alpha_scale: AlphaScale = "sum"
    """What 1 − α weighs: the return, T steps against the loss of one ("sum"), or a T-th of the return ("horizon")."""
    allow_void: bool = False
    """Run a combination in which the reward has no effect (the error that refuses it says why)."""

    def over(self, horizon: float) -> Any:
        """The same with α on the scale of the sum: the weights of loss and return are as α to (1 − α)/H."""
        if self.alpha_scale == "sum":
            return self
        loss = horizon * self.alpha
        return dataclasses.replace(self, alpha=loss / (loss + 1.0 - self.alpha), alpha_scale="sum")

    @property
    def reward(self) -> str:
        """The payoff that is the agent's reward."""
        return "real_return" if self.agent_reward == "world" else "model_return"


@dataclasses.dataclass(frozen=True)
class PessimisticOptions:
    """How pessimistic the model is."""

    beta: float = 10.0
    """β > 0, weight of the fit against pessimism, in units of return per unit of loss."""


def check_alpha(options: Any) -> None:
    """Raise `InputError` unless α is a share."""
    require_ranges(options, "", alpha=(0.0, 1.0))


def check_beta(options: Any) -> None:
    """Raise `InputError` unless β is positive."""
    require_positive(options, "", "beta")


def only_plans(formulation: Formulation) -> bool:
    """Whether the follower is a policy that wants nothing but its return in the model, so that it can be planned."""
    return formulation.follower == "policy" and set(formulation.follower_wants) == {"model_return"}


def require_plans(formulation: Formulation, name: str, where: str) -> None:
    """Raise `InputError` for a policy that follows and wants more than its return in the model.

    Args:
        formulation: the game.
        name: of the formulation.
        where: the worlds in which nothing else can be followed, in words.
    """
    if formulation.follower == "policy" and not only_plans(formulation):
        wanted = ", ".join(formulation.follower_wants)
        raise InputError(
            f"formulation: a policy that follows must want model_return alone in {where}; {name}: {wanted}"
        )


def columns(options: Any) -> dict[str, Any]:
    """What the results say of the knobs; of a formulation without α or agent reward, the default."""
    return {
        "alpha": getattr(options, "alpha", RepairOptions.alpha),
        "agent_reward": getattr(options, "agent_reward", AgentRewardOptions.agent_reward),
    }


def refuse_void(composition: Composition, greedy_is_flat: bool) -> None:
    """Raise `InputError` for a model that is paid in the world by what cannot move it.

    The real return is a function of the policy alone, so it needs a response that the leader can move: with a response
    held fixed, ∂ real_return / ∂M̂ = 0, and such a run would be plain MAL under another name, or with OMD nothing.

    Args:
        composition: the experiment with its parts.
        greedy_is_flat: whether a greedy response has no derivative in the model, as a choice among actions has none.
    """
    options = composition.experiment.game
    wants = composition.formulation.leader_wants
    if composition.row.leader != "model" or "real_return" not in wants or getattr(options, "allow_void", False):
        return
    reason = composition.scheme.unmoved(composition)
    flat = greedy_is_flat and composition.leader.differentiates and options.response == "greedy"
    if not reason and flat:
        reason = "answers by a best action, which has no gradient in the model"
    if not reason:
        return
    told, ways = "this is plain MAL", ", agent_reward=model, or allow_void to run it all the same"
    if len(wants) == 1:
        told, ways = "it learns nothing", ""
    raise InputError(
        f"scheme: {composition.scheme.name} {reason}, so a reward in the world does not move the leader and {told}; "
        f"use a response that depends on the leader{ways}"
    )
