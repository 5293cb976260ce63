"""The formulations of model-based RL, a row each.

Source: Rajeswaran et al. (2020), arXiv 2004.07804, for PAL and MAL; the poster "Model-Based RL as Stackelberg Games:
Don't Be Fooled by Your Own Model", section 2, for the two repairs; Nikishin et al. (2022), arXiv 2106.03273, for OMD.
"""

from sbmrl.core.formulation import FormulationRow
from sbmrl.games.model_based.options import (
    AgentRewardOptions,
    PessimisticOptions,
    RepairOptions,
    check_alpha,
    check_beta,
)

FORMULATIONS = (
    FormulationRow(
        name="pal",
        title="PAL",
        family="model_based",
        leader="policy",
        follower="model",
        leader_wants=lambda options: {"model_return": 1.0},
        follower_wants=lambda options: {options.fit: 1.0},
        summary="policy leads: max_π J(π, M̂^π), the model fits the data π causes",
    ),
    FormulationRow(
        name="mal",
        title="MAL",
        family="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda options: {options.fit: 1.0},
        follower_wants=lambda options: {"model_return": 1.0},
        summary="model leads: min_M̂ ℓ(M̂, μ_M^π), the policy best-responds to M̂",
    ),
    FormulationRow(
        name="mal_agent_reward",
        title="MAL + agent reward",
        family="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda options: {options.fit: options.alpha, options.reward: 1.0 - options.alpha},
        follower_wants=lambda options: {"model_return": 1.0},
        options=AgentRewardOptions,
        check=check_alpha,
        summary="MAL whose leader is also paid the follower's return: min α·ℓ − (1−α)·J",
    ),
    FormulationRow(
        name="mal_random_noise",
        title="MAL + random noise",
        family="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda options: {options.fit: options.alpha, "random_fit": 1.0 - options.alpha},
        follower_wants=lambda options: {"model_return": 1.0},
        options=RepairOptions,
        check=check_alpha,
        summary="MAL that must also fit random policies: min ℓ(M̂, α·μ^π + (1−α)·E μ^π')",
    ),
    FormulationRow(
        name="omd",
        title="OMD",
        family="model_based",
        leader="model",
        follower="policy",
        leader_wants=lambda options: {"real_return": 1.0},
        follower_wants=lambda options: {"model_return": 1.0},
        summary="model leads and wants nothing but the return of the policy that plans in it: max_M̂ J(π, M)",
    ),
    FormulationRow(
        name="pessimistic_pal",
        title="pessimistic PAL",
        family="model_based",
        leader="policy",
        follower="model",
        leader_wants=lambda options: {"model_return": 1.0},
        follower_wants=lambda options: {options.fit: options.beta, "model_return": -1.0},
        options=PessimisticOptions,
        check=check_beta,
        summary="PAL whose model is also against the policy: min_M̂ β·ℓ + J(π, M̂)",
    ),
)
