"""An experiment: a formulation in a world, composed of the options of its parts, so that nothing else can be set."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sbmrl.core import registry
from sbmrl.core.belonging import belonging
from sbmrl.core.formulation import FormulationRow
from sbmrl.core.options import OPENED, from_plain, settings, to_plain, with_values
from sbmrl.core.parts import Composition, GameKind, SchemeKind
from sbmrl.errors import InputError, require


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One cell: a formulation, solved by a scheme and a learner, in a world."""

    formulation: str
    """Which game is played: a row of the formulation table."""
    env: str
    """The world: a name or pattern that `sbmrl list` shows, or a .json or .npz file."""
    game: Any = dataclasses.field(metadata=OPENED)
    """What can be set of the game: the formulation's options."""
    scheme: Any = dataclasses.field(metadata=OPENED)
    """How the follower comes to answer: a scheme's options, which hold the follower's."""
    leader: Any
    """How the leader learns: a learner's options."""
    num_records: int = 25
    """Points kept on each learning curve."""
    num_random_leaders: int = 64
    """Random leaders on which the follower's regret is measured exactly."""
    num_eval_episodes: int = 10
    """Episodes behind each seed's sampled return."""

    def replace(self, **changes: Any) -> "Experiment":
        """The experiment with fields replaced, by the names of the command line; a dot is written as `__`.

        `experiment.replace(alpha=0.8, leader__learning_rate=1e-3)`. Whole sets of options are `game`, `scheme`,
        `leader` and `follower`.

        Raises:
            InputError: a name that is no field, with the part that has it or the nearest one that is.
        """
        own = {field.name for field in dataclasses.fields(self)}
        changed = dataclasses.replace(self, **{name: value for name, value in changes.items() if name in own})
        if "follower" in changes:
            scheme = dataclasses.replace(changed.scheme, follower=changes["follower"])
            changed = dataclasses.replace(changed, scheme=scheme)
        others = {name.replace("__", "."): v for name, v in changes.items() if name not in own and name != "follower"}
        _require_meaning(changed, others)
        return with_values(changed, others)

    def whole_records(self, num_updates: int) -> int:
        """A number of updates, rounded up to whole records."""
        return math.ceil(num_updates / self.num_records) * self.num_records


def _require_meaning(experiment: Experiment, names: Iterable[str]) -> None:
    """Raise `InputError` for a field of a part that this experiment does not have."""
    known = {setting.name for setting in settings(experiment)}
    for name in names:
        told = "" if name in known else belonging(name)
        if told:
            raise InputError(f"{name}: has no meaning here; {told}")


def compose(experiment: Experiment) -> Composition:
    """The experiment with the parts that its options belong to.

    Raises:
        InputError: a name or options that belong to no part, or to another one.
    """
    row = registry.formulation(experiment.formulation)
    kind, scheme = registry.kind_with(row, experiment.game), registry.scheme_of(experiment.scheme)
    leader, follower = registry.learner_of(experiment.leader, "leader"), None
    told = getattr(experiment.scheme, "follower", None)
    if scheme.answer is not None:
        _require_answer(scheme, kind, row, told)
    elif told is not None:
        follower = registry.learner_of(told, "follower")
    return Composition(experiment, row, kind, leader, scheme, follower)


def _answer_options(scheme: SchemeKind, kind: GameKind, row: FormulationRow) -> type:
    """The class of options of the closed form by which a scheme's follower answers."""
    make = None if scheme.answer is None else kind.answers.get(scheme.answer)
    options = None if make is None else make(row, False)
    if options is None:
        raise InputError(f"scheme: {scheme.name} has no closed form for the follower of {row.name}; use another")
    return type(options)


def _require_answer(scheme: SchemeKind, kind: GameKind, row: FormulationRow, options: Any) -> None:
    needed = _answer_options(scheme, kind, row)
    allowed = f"{row.name} with {scheme.name} needs {needed.__name__}"
    require(type(options) is needed, "follower", allowed, type(options).__name__)


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data; the options of a kind of game, a learner or a scheme bear its name."""

    def name_of(options: Any) -> str | None:
        owner = kind if options is experiment.game else registry.owner_of(options)
        return None if owner is None else owner.name

    kind = compose(experiment).kind
    return to_plain(experiment, name_of)


def from_dict(fields: Mapping[str, Any]) -> Experiment:
    """The inverse of `to_dict`, also after a trip through JSON.

    Raises:
        InputError: a part or a field that does not exist, or data of another version.
    """
    changes = dict(fields)
    if not all(isinstance(changes.get(name), Mapping) for name in ("game", "scheme", "leader")):
        raise InputError("was written by another version of sbmrl, whose runs this one cannot read")
    row = registry.formulation(changes["formulation"])
    game, told = dict(changes["game"]), dict(changes["scheme"])
    kind = registry.kind(game.pop("name", "none"))
    scheme = registry.scheme(told.pop("name", "none"))
    if isinstance(told.get("follower"), Mapping):
        follower = dict(told["follower"])
        if scheme.answer is None:
            told["follower"] = _learner_options(follower, "follower")
        else:
            told["follower"] = from_plain(_answer_options(scheme, kind, row), follower, "follower")
    changes["game"] = from_plain(kind.options_of(row), game, "game")
    changes["scheme"] = from_plain(scheme.options, told, "scheme")
    changes["leader"] = _learner_options(dict(changes["leader"]), "leader")
    return from_plain(Experiment, changes, "experiment")


def _learner_options(fields: dict[str, Any], where: str) -> Any:
    return from_plain(registry.learner(fields.pop("name", "none")).options, fields, where)
