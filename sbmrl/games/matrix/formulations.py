"""The formulations of iterated matrix games, a row each.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers", where row leads.
"""

from sbmrl.core.formulation import FormulationRow

FORMULATIONS = (
    FormulationRow(
        name="matrix_game",
        title="row leads",
        family="matrix",
        leader="row",
        follower="column",
        leader_wants=lambda options: {"row_return": 1.0},
        follower_wants=lambda options: {"column_return": 1.0},
        summary="iterated matrix game, row leads: each wants its own return",
    ),
    FormulationRow(
        name="matrix_game_column",
        title="column leads",
        family="matrix",
        leader="column",
        follower="row",
        leader_wants=lambda options: {"column_return": 1.0},
        follower_wants=lambda options: {"row_return": 1.0},
        summary="iterated matrix game, column leads",
    ),
)
