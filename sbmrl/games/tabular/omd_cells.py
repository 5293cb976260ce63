"""The tabular experiment of optimal model design as a plan: bounded models that fit, and that serve control.

Source: Nikishin et al. (2022), arXiv 2106.03273. Both models have the same parameters, rewards included, and the same
bound on their norm. One is the maximum-likelihood fit to all pairs alike, the other wants the real return of the policy
that plans in it. Their norm has two readings (`projected.norms`); a third pair of cells has the true rewards.
"""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell
from sbmrl.games.tabular.options import SoftOptions
from sbmrl.games.tabular.two_states import DISCOUNT, NAME

MODEL, READING = "model", "norm"  # what tells cells apart
LIKELIHOOD, CONTROL = "maximum likelihood", "OMD"
JOINT, BY_ARRAY, KNOWN = "joint", "by array", "joint, true rewards"
BOUNDS = tuple(6.0 * step / 19.0 for step in (1, 2, 3, 4, 6, 9, 13, 16))  # those of the published figure
_TEMPERATURE = 0.01  # of the soft backups, and of the model's logits

Recipe = Callable[..., Experiment]


def cells(recipe: Recipe, env: str | None) -> Sequence[ProgrammeCell]:
    """Every model in every reading of the norm, each at all bounds."""
    readings = ((JOINT, "joint", "learned"), (BY_ARRAY, "by_array", "learned"), (KNOWN, "joint", "known"))
    models = ((LIKELIHOOD, "mal_random_noise", {"alpha": 0.0}), (CONTROL, "omd", {}))
    return [
        ProgrammeCell(
            f"{formulation}-{norm}-{rewards}",
            recipe(formulation, "implicit", "projected").replace(
                env=env or NAME,
                loss="kl",
                rewards=rewards,
                random_data="pairs",
                response="sampled",
                follower=SoftOptions(temperature=_TEMPERATURE, discount=DISCOUNT),
                leader__norm=norm,
                leader__temperature=_TEMPERATURE,
                **changes,
            ),
            ((MODEL, told), (READING, reading)),
            (("leader.norm_bound", BOUNDS),),
        )
        for reading, norm, rewards in readings
        for told, formulation, changes in models
    ]
