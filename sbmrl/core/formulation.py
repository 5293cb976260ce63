"""The games as data: who leads, and which weighted sum of payoffs each side wants.

A formulation is one row of `FORMULATIONS`; adding a row adds a game. The payoff names are those of the row's kind of
game (`sbmrl.games.tabular.payoffs`, `sbmrl.games.matrix.game`). Which terms appear is static; their weights may be traced
numbers, so α is an axis that can be vmapped and a whole α-sweep is one compiled program.

Source: Rajeswaran et al. (2020), arXiv 2004.07804, for PAL and MAL; the poster "Model-Based RL as
Stackelberg Games: Don't Be Fooled by Your Own Model", section 2, for the two repairs; Gerstgrasser & Parkes (2023),
"Oracles & Followers", for the iterated matrix games.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

Role = str  # "policy" and "model", or "row" and "column"
Kind = Literal["model_based", "matrix"]
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


class Knobs(NamedTuple):
    """What a row of the table may depend on.

    Attributes:
        alpha: α, weight of plain MAL in the two repairs; may be traced.
        beta: β, weight of the fit of a pessimistic model; may be traced.
        reward: payoff used as agent reward, "real_return" or "model_return".
        fit: payoff used as fit, "fit" (on the policy's own data) or "data_fit" (on aggregated data).
    """

    alpha: Any
    beta: Any
    reward: str
    fit: str


class FormulationRow(NamedTuple):
    """One row of the table: a formulation for all knobs, and a sentence that says what it is.

    Attributes:
        title: its name in print.
        kind: of game: model-based RL on a tabular world, or an iterated matrix game.
        leader: role that commits first.
        follower: role that best-responds.
        leader_wants: (knobs) -> weights.
        follower_wants: (knobs) -> weights.
        uses: knobs that change the game, beside the fit.
        summary: one line for `sbmrl list`.
    """

    title: str
    kind: Kind
    leader: Role
    follower: Role
    leader_wants: Callable[[Knobs], Weights]
    follower_wants: Callable[[Knobs], Weights]
    uses: frozenset[str]
    summary: str


FORMULATIONS: dict[str, FormulationRow] = {
    "pal": FormulationRow(
        title="PAL",
        kind="model_based",
        leader="policy",
        follower="model",
        leader_wants=lambda knobs: {"model_return": 1.0},
        follower_wants=lambda knobs: {knobs.fit: 1.0},
        uses=frozenset(),
        summary="policy leads: max_π J(π, M̂^π), the model fits the data π causes",
    ),
    "mal": FormulationRow(
        title="MAL",
        kind="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda knobs: {knobs.fit: 1.0},
        follower_wants=lambda knobs: {"model_return": 1.0},
        uses=frozenset(),
        summary="model leads: min_M̂ ℓ(M̂, μ_M^π), the policy best-responds to M̂",
    ),
    "mal_agent_reward": FormulationRow(
        title="MAL + agent reward",
        kind="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda knobs: {knobs.fit: knobs.alpha, knobs.reward: 1.0 - knobs.alpha},
        follower_wants=lambda knobs: {"model_return": 1.0},
        uses=frozenset({"alpha", "reward"}),
        summary="MAL whose leader is also paid the follower's return: min α·ℓ − (1−α)·J",
    ),
    "mal_random_noise": FormulationRow(
        title="MAL + random noise",
        kind="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda knobs: {knobs.fit: knobs.alpha, "random_fit": 1.0 - knobs.alpha},
        follower_wants=lambda knobs: {"model_return": 1.0},
        uses=frozenset({"alpha"}),
        summary="MAL that must also fit random policies: min ℓ(M̂, α·μ^π + (1−α)·E μ^π')",
    ),
    "pessimistic_pal": FormulationRow(
        title="pessimistic PAL",
        kind="model_based",
        leader="policy",
        follower="model",
        leader_wants=lambda knobs: {"model_return": 1.0},
        follower_wants=lambda knobs: {knobs.fit: knobs.beta, "model_return": -1.0},
        uses=frozenset({"beta"}),
        summary="PAL whose model is also against the policy: min_M̂ β·ℓ + J(π, M̂)",
    ),
    "matrix_game": FormulationRow(
        title="row leads",
        kind="matrix",
        leader="row",
        follower="column",
        leader_wants=lambda knobs: {"row_return": 1.0},
        follower_wants=lambda knobs: {"column_return": 1.0},
        uses=frozenset(),
        summary="iterated matrix game, row leads: each wants its own return",
    ),
    "matrix_game_column": FormulationRow(
        title="column leads",
        kind="matrix",
        leader="column",
        follower="row",
        leader_wants=lambda knobs: {"column_return": 1.0},
        follower_wants=lambda knobs: {"row_return": 1.0},
        uses=frozenset(),
        summary="iterated matrix game, column leads",
    ),
}

# The poster's four, in its table's order.
POSTER_FORMULATIONS = ("pal", "mal", "mal_agent_reward", "mal_random_noise")

# Where the agent reward is earned: the poster's code pays the true return, the poster prints the model's.
AGENT_REWARDS: dict[str, str] = {"world": "real_return", "model": "model_return"}


def make_formulation(name: str, knobs: Knobs) -> Formulation:
    """The game `name` at the given knobs."""
    row = FORMULATIONS[name]
    return Formulation(row.leader, row.follower, row.leader_wants(knobs), row.follower_wants(knobs))
