"""The poster's table as a programme: its four formulations in its world."""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Programme, ProgrammeCell

FORMULATIONS = ("pal", "mal", "mal_agent_reward", "mal_random_noise")  # in its table's order


def _cells(preset: Callable[..., Experiment], env: str | None) -> Sequence[ProgrammeCell]:
    experiments = [preset(name) for name in FORMULATIONS]
    return [ProgrammeCell(one.formulation, one if env is None else one.replace(env=env)) for one in experiments]


POSTER = Programme(
    name="poster",
    summary="the four rows of the poster's table beside its numbers",
    num_seeds=16,
    presets=("poster", "fast"),
    cells=_cells,
)
