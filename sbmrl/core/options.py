"""What a user can set. Options are frozen dataclasses, one sentence a field; everything that reads them is here.

Every `float` field is *traced*: it enters the compiled program as a number that may be vmapped, and changing it never
recompiles. Every other field is *static*: it shapes the program.

Options may hold options. A field of an inner set is named with a dot, `leader.learning_rate`, unless the outer field is
`OPENED`: then its fields are named as if they stood outside, `alpha`. Names are unique over a whole experiment.
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from sbmrl.errors import InputError, require, require_known

Response = Literal["greedy", "sampled"]
Context = Literal["answers", "probabilities"]
# Metadata of a dataclass field that holds options whose fields are named without it.
OPENED: Mapping[str, Any] = {"opened": True}


class Conditions(NamedTuple):
    """What the leader's episode keeps to, and what each condition is for when it is given up.

    What becomes of each is in docs/results/matrix_games.md.

    Attributes:
        hidden_queries: the leader's learner does not see its answers.
        phase_told: the leader sees whether it is being asked or is playing.
        follower_reset: the follower restarts in every episode; else it plays the response to the episode before.
        paid_queries: answers are paid as if they were steps of the game.
    """

    hidden_queries: bool = False
    phase_told: bool = False
    follower_reset: bool = True
    paid_queries: bool = False


@dataclasses.dataclass(frozen=True)
class GameOptions:
    """How a leader and its follower meet, in every kind of game."""

    response: Response = "greedy"
    """How a follower that acts answers a learning leader: by its best action, or drawing from its policy."""
    context: Context = "answers"
    """How a leader is heard: by the answers it draws, or by its probabilities, so that a mixed one can be described."""
    hidden_queries: bool = False
    """A leader that plays does not learn from its answers to the follower's queries."""
    phase_told: bool = False
    """A leader that plays is told whether it is being asked or is playing."""
    follower_reset: bool = True
    """The follower restarts in each of the leader's episodes; else it enters one with the response to the last."""

    def over(self, horizon: float) -> "GameOptions":
        """The same where returns add up `horizon` steps; some options may be said on the scale of one step."""
        del horizon
        return self

    def conditions(self) -> Conditions:
        """Those of "Oracles & Followers", and which of them are given up."""
        return Conditions(**{name: getattr(self, name) for name in Conditions._fields if hasattr(self, name)})


def is_opened(field: dataclasses.Field) -> bool:
    """Whether the fields of the options in it are named without it."""
    return bool(field.metadata.get("opened"))


@dataclasses.dataclass(frozen=True)
class AnswerOptions:
    """A closed form by which a follower answers: what a game lets it be told is the fields of a subclass."""

    @property
    def differentiable(self) -> bool:
        """Whether the answer has a derivative in the leader."""
        return False

    @property
    def draws(self) -> bool:
        """Whether the answer draws random numbers."""
        return False


@functools.cache
def hints_of(options: type) -> dict[str, Any]:
    """The types of a dataclass' fields, names resolved."""
    return typing.get_type_hints(options)


@functools.cache
def options_of(knobs: type | None, game: type) -> type:
    """What can be set of a formulation in a kind of game: its own knobs and the kind's options, as one class."""
    if knobs is None:
        return game
    body = {"__doc__": knobs.__doc__, "__module__": __name__}
    return dataclasses.dataclass(frozen=True)(
        type(f"{knobs.__name__.removesuffix('Options')}{game.__name__}", (knobs, game), body)
    )


class Setting(NamedTuple):
    """A field as it is set.

    Attributes:
        name: as a user writes it.
        kind: its type.
        value: what it is set to.
        default: of its options; `dataclasses.MISSING` where there is none.
    """

    name: str
    kind: Any
    value: Any
    default: Any


def settings(options: Any, prefix: str = "") -> Iterator[Setting]:
    """Every field of a set of options and of those in it."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings(value, prefix if is_opened(field) else f"{prefix}{field.name}.")
        else:
            yield Setting(prefix + field.name, hints_of(type(options))[field.name], value, field.default)


def traced_fields(options: Any) -> dict[str, float]:
    """The traced hyper-parameters as a flat dict."""
    return {setting.name: setting.value for setting in settings(options) if setting.kind is float}


def static_fields(options: Any) -> dict[str, type]:
    """The fields that shape the program, with their types, where they can be an axis of cells."""
    found: dict[str, type] = {}
    for setting in settings(options):
        values = {type(value) for value in typing.get_args(setting.kind)} or {setting.kind}
        if len(values) == 1 and values <= {int, str, bool}:
            found[setting.name] = values.pop()
    return found


def with_values(options: Any, values: Mapping[str, Any]) -> Any:
    """The options with fields replaced, by their names; a traced one may become an array.

    Raises:
        InputError: a name that is no field, with the nearest one that is.
    """
    known = [setting.name for setting in settings(options)]
    for name in values:
        require_known(name, "field", known)
    return _replaced(options, values, "")


def with_traced(options: Any, values: Mapping[str, Any]) -> Any:
    """The options with traced fields replaced by `values` (numbers or arrays).

    Raises:
        InputError: a name that is no traced field, with the nearest one that is.
    """
    for name in values:
        require_known(name, "hyper-parameter", traced_fields(options))
    return _replaced(options, values, "")


def _replaced(options: Any, values: Mapping[str, Any], prefix: str) -> Any:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            changes[field.name] = _replaced(value, values, prefix if is_opened(field) else f"{name}.")
        elif name in values:
            changes[field.name] = values[name]
    return dataclasses.replace(options, **changes)


def require_known_values(options: Any) -> None:
    """Raise `InputError` unless every field that has names for its values holds one of them."""
    for setting in settings(options):
        if typing.get_origin(setting.kind) is Literal:
            require_known(setting.value, setting.name, typing.get_args(setting.kind))


def require_defaults(options: Any, reasons: Mapping[str, str]) -> None:
    """Raise `InputError` where a field is set that has no meaning in the run.

    Args:
        options: that hold the fields.
        reasons: field -> where it has none, such as "where the follower is a model".
    """
    for setting in settings(options):
        if setting.name in reasons:
            allowed = f"must be {setting.default} {reasons[setting.name]}"
            require(setting.value == setting.default, setting.name, allowed, setting.value)


def require_count(value: Any, field: str, least: int = 1) -> None:
    """Raise `InputError` unless `value` is a whole number of at least `least`."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(whole, field, f"must be a whole number of at least {least}", value)


def require_counts(options: Any, where: str, *names: str) -> None:
    """Raise `InputError` unless the named fields, or each number in them, are whole numbers of at least 1."""
    for name in names:
        value = getattr(options, name)
        for number in value if isinstance(value, tuple) else (value,):
            require_count(number, where + name)


def require_ranges(options: Any, where: str, **ranges: tuple[float, float]) -> None:
    """Raise `InputError` unless the named fields lie between their ends; an infinite end is "at least" and finite."""
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        allowed = f"must be in [{low:g}, {high:g}]" if math.isfinite(high) else f"must be at least {low:g} and finite"
        require(math.isfinite(value) and low <= value <= high, where + name, allowed, value)


def require_positive(options: Any, where: str, *names: str) -> None:
    """Raise `InputError` unless the named fields are positive and finite."""
    for name in names:
        value = getattr(options, name)
        require(0.0 < value < math.inf, where + name, "must be positive and finite", value)


def to_plain(options: Any, name_of: Callable[[Any], str | None]) -> dict[str, Any]:
    """Options as plain data; a set that belongs to a part bears the part's name as "name".

    Args:
        options: frozen dataclasses.
        name_of: (options) -> name of the part that they belong to, or None.
    """
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            name = name_of(value)
            plain[field.name] = ({} if name is None else {"name": name}) | to_plain(value, name_of)
        else:
            plain[field.name] = list(value) if isinstance(value, tuple) else value
    return plain


def from_plain(kind: type, fields: Mapping[str, Any], where: str) -> Any:
    """One set of options back from plain data, also after a trip through JSON; inner sets must be options already.

    Raises:
        InputError: a field that does not exist, or none where one is needed.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for name in fields:
        require_known(name, where, known)
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
