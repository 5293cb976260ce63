"""The programme of simulated worlds as a plan: both leaders, and what practical PAL owes to each of its parts."""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell

CHANGED = "with"  # what tells a cell apart from the preset

Recipe = Callable[..., Experiment]  # (formulation, scheme, learner) -> experiment of the chosen preset


def cells(recipe: Recipe, env: str | None = None) -> Sequence[ProgrammeCell]:
    """PAL and MAL as the preset has them, then PAL with one thing changed at a time."""
    del env  # the recipe has been told
    pal, mal = recipe("pal"), recipe("mal")
    steps, repeats = pal.leader.total_steps, pal.leader.num_repeats

    def with_repeats(number: int) -> Experiment:
        return pal.replace(leader__num_repeats=number, leader__total_steps=steps * number // repeats)

    changed = {
        "3 steps of the policy": with_repeats(3),
        "25 steps of the policy": with_repeats(25),
        "one member": pal.replace(follower__num_members=1),
        "one episode to begin with": pal.replace(num_initial_episodes=1),
        "timid first actions": pal.replace(initial_noise=0.1),
        "1,000 transitions kept": pal.replace(buffer_size=1000),
    }
    found = [ProgrammeCell("pal", pal), ProgrammeCell("mal", mal)]
    for told, experiment in changed.items():
        name = f"pal-{told.replace(',', '').replace(' ', '-')}"
        found.append(ProgrammeCell(name, experiment, ((CHANGED, told),)))
    return found
