"""The table of Thoma et al. (2024), arXiv 2406.01575, as a plan: three learners, each one program for all λ and β."""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell

TEMPERATURES, BETAS = (0.001, 0.003, 0.005), (1.0, 3.0, 5.0)
AXES = (("follower.temperature", TEMPERATURES), ("beta", BETAS))
METHODS = {  # learner -> what it is called in print
    "hyper_policy_gradient": "sampled hypergradient",
    "gradient": "exact gradient",
    "evolution": "zeroth order",
}


def cells(recipe: Callable[..., Experiment], env: str | None) -> Sequence[ProgrammeCell]:
    """A cell a learner, of nine points each."""
    made = {learner: recipe("reward_shaping", learner=learner) for learner in METHODS}
    return [
        ProgrammeCell(learner, one if env is None else one.replace(env=env), (("leader by", METHODS[learner]),), AXES)
        for learner, one in made.items()
    ]
