"""Which experiments can run, and why the others cannot: one clear line for each."""

from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.free_players import USUAL
from sbmrl.core.options import require_counts, require_defaults, require_known_values
from sbmrl.core.parts import Composition
from sbmrl.errors import require, require_known
from sbmrl.experiment import parts  # noqa: F401  # which parts there are


def check(experiment: Experiment) -> Experiment:
    """Return `experiment` if it can run.

    Raises:
        InputError: an unknown name, a number outside its range, sizes that do not divide, parts that do not fit
            together, a field that has no meaning in the run, or a combination that is mathematically void.
    """
    composition = compose(experiment)
    require_known_values(experiment)
    require_counts(experiment, "", "num_records", "num_random_leaders", "num_eval_episodes")
    composition.row.check(experiment.game)
    composition.leader.check(experiment.leader, "leader.")
    if composition.follower is not None:
        composition.follower.check(experiment.scheme.follower, "follower.")
    _check_starts(composition)
    composition.scheme.check(composition)
    _check_leader(composition)
    composition.kind.check(composition)
    require_defaults(experiment, unused(composition))
    return experiment


def unused(composition: Composition) -> dict[str, str]:
    """The fields that have no meaning in a run, and where they have none."""
    found: dict[str, str] = {}
    options = composition.experiment.game
    if not (composition.leader_plays and options.context == "answers"):
        conditions = type(options)().conditions()._fields
        why = "unless the leader plays and is heard through its answers"
        found |= {name: why for name in conditions if hasattr(options, name)}
    found |= {f"leader.{name}": why for name, why in composition.leader.unused(composition.experiment.leader).items()}
    if composition.follower is not None:
        own = composition.follower.unused(composition.experiment.scheme.follower)
        found |= {f"follower.{name}": why for name, why in own.items()}
    return found | {**composition.scheme.unused(composition), **composition.kind.unused(composition)}


def _check_starts(composition: Composition) -> None:
    """A table must start in a way that the kind of game has."""
    experiment = composition.experiment
    for where, options in (("leader", experiment.leader), ("follower", getattr(experiment.scheme, "follower", None))):
        free = hasattr(options, "initial") and getattr(options, "parametrization", "network") == "table"
        if options is not None and free:
            require_known(options.initial, f"{where}.initial", (USUAL, *composition.kind.starts))


def _check_leader(composition: Composition) -> None:
    """The leader's learner must be one that can lead in this kind of game, and be heard as it can be."""
    leader, options = composition.leader, composition.experiment.game
    heard = leader.heard(composition.experiment.leader)
    require(bool(heard), "leader", "must learn by a learner that can lead", leader.name)
    fits = leader.kind in ("", composition.kind.name)
    require(fits, "leader", f"must learn by a learner for {composition.kind.name} games", leader.name)
    why = "learns from its answers" if composition.leader_plays else "learns from exact payoffs"
    allowed = f"must be {' or '.join(heard)} for a leader by {leader.name}, which {why}"
    require(options.context in heard, "context", allowed, options.context)
    leader.check_leads(composition)
