"""The formulation of reward shaping, a row. Source: Thoma et al. (2024), arXiv 2406.01575, the four rooms."""

from sbmrl.core.formulation import FormulationRow
from sbmrl.games.shaping.options import BurdenOptions, check_beta

REWARD_SHAPING = FormulationRow(
    name="reward_shaping",
    title="reward shaping",
    family="shaping",
    leader="designer",
    follower="agent",
    leader_wants=lambda options: {"target": 1.0, "cost": options.beta},
    follower_wants=lambda options: {"agent_return": 1.0},
    options=BurdenOptions,
    check=check_beta,
    summary="a designer sets penalties so that an agent, on its way to its goal, passes where it should",
)
