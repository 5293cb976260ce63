"""Fit first, then plan: the model only fits what random policies see, whatever its own policy makes of it."""

from sbmrl import register
from sbmrl.core.registry import formulation

register(
    formulation("mal")._replace(
        name="fit_then_plan",
        title="fit, then plan",
        leader_wants=lambda options: {"random_fit": 1.0},
        summary="the model fits the data of random policies only: min E ℓ(M̂, μ_M^π')",
    )
)
