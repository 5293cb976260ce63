"""What is there: every part by its name, and where it came from.

The parts of sbmrl itself are registered by `sbmrl.experiment.parts`; a user's own by `register`, in a program or in a
plug-in (`sbmrl.experiment.plugins`).
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from sbmrl.core.files import SUFFIXES
from sbmrl.core.formulation import FormulationRow
from sbmrl.core.parts import GameKind, LearnerKind, Part, Programme, SchemeKind, World, WorldRow
from sbmrl.errors import InputError, raises, require, require_known


class Origin(NamedTuple):
    """Where a part came from.

    Attributes:
        text: as it is told: "sbmrl", or how the user named the plug-in.
        path: of the file with the plug-in; "" for sbmrl's own parts and for what a program has registered itself.
        checksum: SHA-256 of that file.
    """

    text: str
    path: str = ""
    checksum: str = ""


BUILT_IN = Origin("sbmrl")
PROGRAM = Origin("this program")
_KINDS: dict[type, str] = {
    FormulationRow: "formulation",
    LearnerKind: "learner",
    SchemeKind: "scheme",
    GameKind: "kind of game",
    WorldRow: "world",
    Programme: "programme",
}
_parts: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS.values()}
_origins: dict[tuple[str, str], Origin] = {}
_by_options: dict[type, LearnerKind | SchemeKind] = {}
_registering: list[Origin] = []


@contextlib.contextmanager
def registering(origin: Origin) -> Iterator[None]:
    """What is registered inside comes from `origin`; if anything fails inside, nothing of it is kept."""
    everything = (*_parts.values(), _origins, _by_options)
    before = [dict(each) for each in everything]
    _registering.append(origin)
    try:
        yield
    except BaseException:
        for kept, old in zip(everything, before, strict=True):
            kept.clear()
            kept.update(old)  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise
    finally:
        _registering.pop()


def register[P: Part](part: P, replace: bool = False) -> P:
    """Add a part, which is then known to Python and to the command line under its name; returns it.

    Args:
        part: a formulation, a learner, a scheme, a kind of game, a world or a programme.
        replace: whether it takes the place of a part that this program has registered under its name before, as when a
            cell of a notebook is run again.

    Raises:
        InputError: no part, a name that is taken or cannot be one, options that are no frozen dataclass of its own, or
            a world of no kind of game.
    """
    kind = _KINDS.get(type(part))
    if kind is None:
        raise InputError(f"register: must be a {', '.join(one.__name__ for one in _KINDS)}, got {type(part).__name__}")
    name, marks = part.name, "_-:" if isinstance(part, WorldRow) else "_-"
    proper = isinstance(name, str) and name.translate(str.maketrans("", "", marks)).isalnum()
    told = f"{', '.join(marks[:-1])} and {marks[-1]}"
    require(proper, "register", f"a {kind}'s name must be letters, digits, {told}", repr(name))
    old = _parts[kind].get(name)
    if old is not None and not (replace and _origins[kind, name] == PROGRAM):
        raise InputError(f"register: there is a {kind} {name} already, from {_origins[kind, name].text}")
    if isinstance(part, WorldRow | GameKind):
        _require_worlds_apart(part)
    if not isinstance(part, Programme | WorldRow) and part.options is not None:
        proper = dataclasses.is_dataclass(part.options) and part.options.__dataclass_params__.frozen  # pyright: ignore
        require(bool(proper), f"register: {kind} {name}", "must have a frozen dataclass as its options", part.options)
    if isinstance(part, LearnerKind | SchemeKind):
        owner = _by_options.get(part.options)
        if owner is not None and owner is not old:
            raise InputError(f"register: {kind} {name} needs options of its own, got those of {owner.name}")
        if old is not None:
            del _by_options[old.options]
        _by_options[part.options] = part
    _parts[kind][name] = part
    _origins[kind, name] = _registering[-1] if _registering else PROGRAM
    return part


def _require_worlds_apart(part: WorldRow | GameKind) -> None:
    """A name must mean one world: a registered one, or one that a kind of game has of its own."""
    if isinstance(part, GameKind):
        for row in worlds().values():
            if part.has(row.name):
                raise InputError(f"register: there is a world {row.name} already, from {origin_of(row).text}")
        return
    require_known(part.kind, f"register: world {part.name}: kind", kinds())
    require(callable(part.make), f"register: world {part.name}: make", "must be a function of nothing", part.make)
    for kind in kinds().values():
        if kind.has(part.name):
            raise InputError(f"register: {part.name} is {kind.what} already, from {origin_of(kind).text}")


def formulations() -> Mapping[str, FormulationRow]:
    """Every formulation by its name, in the order of registration; the same for the functions below."""
    return _parts["formulation"]


def learners() -> Mapping[str, LearnerKind]:
    """Every learner."""
    return _parts["learner"]


def schemes() -> Mapping[str, SchemeKind]:
    """Every scheme."""
    return _parts["scheme"]


def kinds() -> Mapping[str, GameKind]:
    """Every kind of game."""
    return _parts["kind of game"]


def worlds() -> Mapping[str, WorldRow]:
    """Every registered world; those that kinds of games have of their own are in `GameKind.worlds`."""
    return _parts["world"]


def programmes() -> Mapping[str, Programme]:
    """Every programme."""
    return _parts["programme"]


def formulation(name: str) -> FormulationRow:
    """The formulation of that name.

    Raises:
        InputError: there is none, with the nearest one; the same for the functions below.
    """
    require_known(name, "formulation", formulations())
    return formulations()[name]


def learner(name: str) -> LearnerKind:
    """The learner of that name."""
    require_known(name, "learner", learners())
    return learners()[name]


def scheme(name: str) -> SchemeKind:
    """The scheme of that name."""
    require_known(name, "scheme", schemes())
    return schemes()[name]


def kinds_of(row: FormulationRow) -> list[GameKind]:
    """The kinds of game that a formulation is played in, the usual one first."""
    found = [kind for kind in kinds().values() if kind.plays(row)]
    if not found:
        families = dict.fromkeys(kind.family or kind.name for kind in kinds().values())
        require_known(row.family, f"family of {row.name}", families)
    return found


def kind_for(row: FormulationRow, env: str | None) -> GameKind:
    """The kind of game in whose worlds a formulation is played: that which knows `env`, the usual one if none is said.

    A file that none knows is the usual kind's to read, which says what is wrong with it.

    Raises:
        InputError: a name that no kind knows, or that of a world in which the formulation is not played.
    """
    found = kinds_of(row)
    if env is None:
        return found[0]
    knowing = [kind for kind in found if has_world(kind, env)]
    if not knowing and env in worlds():
        allowed = " or ".join(kind.what for kind in found)
        raise InputError(f"env: must be {allowed} for {row.name}, got {env}, {kind(worlds()[env].kind).what}")
    if not knowing and not env.endswith(SUFFIXES):
        require_known(env, "env", [name for kind in found for name in worlds_of(kind)])
    return knowing[0] if knowing else found[0]


def worlds_of(kind: GameKind) -> Mapping[str, str]:
    """The name or pattern of every world of a kind of game, with one line: its own, then registered ones."""
    return {**kind.worlds(), **{row.name: row.summary for row in worlds().values() if row.kind == kind.name}}


def has_world(kind: GameKind, env: str) -> bool:
    """Whether `env` means a world of a kind of game, a registered one or its own."""
    return worlds()[env].kind == kind.name if env in worlds() else kind.has(env)


def make_world(kind: GameKind, env: str) -> World:
    """The world of a kind of game that `env` names.

    Raises:
        InputError: there is none of that name and kind, its file cannot be read, or a registered one cannot be played.
    """
    world = _made(kind, env)
    if env in worlds():
        kind.check_world(world, f"env: {env}: ")
    return world


def outline(kind: GameKind, env: str) -> World:
    """The same world with shapes in place of its arrays, and not checked.

    Nothing lies on a device then, so a plan can ask for it before devices are chosen.

    Raises:
        InputError: as `make_world`.
    """
    try:
        return jax.eval_shape(lambda: _made(kind, env))
    except InputError:
        raise
    except Exception as error:
        if env not in worlds():
            raise
        raise InputError(f"env: {env}: its shape {raises(error)}") from error


def _made(kind: GameKind, env: str) -> World:
    row = worlds().get(env)
    if row is None:
        return kind.make_world(env)
    own = kinds()[row.kind]
    require(own.name == kind.name, "env", f"must be {kind.what}", f"{env}, {own.what}")
    try:
        world = row.make()
    except InputError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise InputError(f"env: {env}: make {raises(error)}") from error
    require(isinstance(world, kind.world), f"env: {env}: make", f"must return {kind.what}", type(world).__name__)
    require(world.name == env, f"env: {env}: name", "must be the one that is registered", repr(world.name))
    return world


def kind_with(row: FormulationRow, options: Any) -> GameKind:
    """The kind of game whose options these are.

    Raises:
        InputError: the options are of no kind of game that this formulation has.
    """
    found = kinds_of(row)
    for kind in found:
        if type(options) is kind.options_of(row):
            return kind
    allowed = " or ".join(kind.options_of(row).__name__ for kind in found)
    raise InputError(f"game: must be {allowed} for {row.name}, got {type(options).__name__}")


def kind(name: str) -> GameKind:
    """The kind of game of that name."""
    require_known(name, "kind of game", kinds())
    return kinds()[name]


def programme(name: str) -> Programme:
    """The programme of that name."""
    require_known(name, "programme", programmes())
    return programmes()[name]


def owner_of(options: Any) -> LearnerKind | SchemeKind | None:
    """The learner or scheme that options belong to; None for those that belong to none."""
    return _by_options.get(type(options))


def learner_of(options: Any, field: str) -> LearnerKind:
    """The learner that options belong to.

    Raises:
        InputError: `field` holds something else.
    """
    found = owner_of(options)
    if not isinstance(found, LearnerKind):
        names = ", ".join(kind.options.__name__ for kind in learners().values())
        raise InputError(f"{field}: must be the options of a learner ({names}), got {type(options).__name__}")
    return found


def scheme_of(options: Any) -> SchemeKind:
    """The scheme that options belong to.

    Raises:
        InputError: they are those of something else.
    """
    found = owner_of(options)
    if not isinstance(found, SchemeKind):
        names = ", ".join(kind.options.__name__ for kind in schemes().values())
        raise InputError(f"scheme: must be the options of a scheme ({names}), got {type(options).__name__}")
    return found


def origin_of(part: Part) -> Origin:
    """Where a registered part came from."""
    return _origins[_KINDS[type(part)], part.name]


def num_parts() -> int:
    """How many parts there are."""
    return len(_origins)


def kind_name(part: Part) -> str:
    """What kind of part it is, in words."""
    return _KINDS[type(part)]


def is_registered(kind: str, name: str) -> bool:
    """Whether there is a part of that kind, in words, and name."""
    return (kind, name) in _origins


def defaults_of(kind: LearnerKind, preset: str = "") -> Any:
    """A learner's own options for a preset."""
    return kind.options() if kind.preset is None else kind.preset(preset)
