"""The games as data: who leads, and which weighted sum of payoffs each side wants.

A formulation is one row of `FORMULATIONS`; adding a row adds a game. The payoff names are keys of
`sbmrl.payoffs.PAYOFFS`. Which terms appear is static; their weights may be traced numbers, so α is an
axis that can be vmapped and a whole α-sweep is one compiled program.

Source: Rajeswaran et al. (2020), arXiv 2004.07804, for PAL and MAL; the poster "Model-Based RL as
Stackelberg Games: Don't Be Fooled by Your Own Model", section 2, for the two repairs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

Role = Literal["policy", "model"]
Weights = Mapping[str, Any]


class Formulation(NamedTuple):
    """A Stackelberg game: `max_x Σ leader_wants(x, y(x))  with  y(x) ∈ argmax_y Σ follower_wants(x, y)`.

    Attributes:
        leader: role that commits first.
        follower: role that best-responds.
        leader_wants: payoff name -> weight (scalar, possibly traced).
        follower_wants: payoff name -> weight (scalar, possibly traced).
    """

    leader: Role
    follower: Role
    leader_wants: Weights
    follower_wants: Weights


class FormulationRow(NamedTuple):
    """One row of the table: a formulation for every α, and a sentence that says what it is.

    Attributes:
        leader: role that commits first.
        leader_wants: (α, payoff used as agent reward) -> weights.
        follower_wants: weights.
        uses_alpha: whether α changes the game.
        summary: one line for `sbmrl list`.
    """

    leader: Role
    leader_wants: Callable[[Any, str], Weights]
    follower_wants: Weights
    uses_alpha: bool
    summary: str


FORMULATIONS: dict[str, FormulationRow] = {
    "pal": FormulationRow(
        leader="policy",
        leader_wants=lambda alpha, reward: {"model_return": 1.0},
        follower_wants={"fit": 1.0},
        uses_alpha=False,
        summary="policy leads: max_π J(π, M̂^π), the model fits the data π causes",
    ),
    "mal": FormulationRow(
        leader="model",
        leader_wants=lambda alpha, reward: {"fit": 1.0},
        follower_wants={"model_return": 1.0},
        uses_alpha=False,
        summary="model leads: min_M̂ ℓ(M̂, μ_M^π), the policy best-responds to M̂",
    ),
    "mal_agent_reward": FormulationRow(
        leader="model",
        leader_wants=lambda alpha, reward: {"fit": alpha, reward: 1.0 - alpha},
        follower_wants={"model_return": 1.0},
        uses_alpha=True,
        summary="MAL whose leader is also paid the follower's return: min α·ℓ − (1−α)·J",
    ),
    "mal_random_noise": FormulationRow(
        leader="model",
        leader_wants=lambda alpha, reward: {"fit": alpha, "random_fit": 1.0 - alpha},
        follower_wants={"model_return": 1.0},
        uses_alpha=True,
        summary="MAL that must also fit random policies: min ℓ(M̂, α·μ^π + (1−α)·E μ^π')",
    ),
}

# Where the agent reward is earned: the poster's code pays the true return, the poster prints the model's.
AGENT_REWARDS: dict[str, str] = {"world": "real_return", "model": "model_return"}


def make_formulation(name: str, alpha: Any, agent_reward: str) -> Formulation:
    """The game `name` at α (may be traced), its agent reward earned in the "world" or the "model"."""
    row = FORMULATIONS[name]
    wants = row.leader_wants(alpha, AGENT_REWARDS[agent_reward])
    return Formulation(row.leader, "model" if row.leader == "policy" else "policy", wants, row.follower_wants)
