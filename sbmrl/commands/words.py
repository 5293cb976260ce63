"""Words to options by tyro, and what it refuses as one line.

What is done by hand here is what tyro has no way to: `field=value` for `--field value`, one line in place of its boxes,
and for a field of another part the parts that have it.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tyro
from tyro import _errors as refusals  # they have no public name yet; pyproject.toml bounds the version

from sbmrl.core import registry
from sbmrl.core.belonging import belonging
from sbmrl.errors import InputError, require_known
from sbmrl.experiment.presets import presets

# The options whose values are the names of something.
_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "preset": presets,
    "scheme": registry.schemes,
    "learner": registry.learners,
}


def parse(config: type, arguments: Sequence[str], program: str, default: Any = None) -> Any:
    """All of the arguments.

    Raises:
        InputError: an unknown option, with the nearest known one, or a value of the wrong type.
    """
    before = ["", *arguments]  # the value of --cluster-options is itself written as name=value
    words = [a if b == "--cluster-options" else _as_flag(a) for a, b in zip(arguments, before, strict=False)]
    kwargs = {} if default is None else {"default": default}
    with refusals.on_parse_error(lambda event: _refuse(event, config, program)):
        return tyro.cli(config, args=words, prog=program, **kwargs)


def take(config: type, arguments: Sequence[str], program: str) -> tuple[Any, list[str]]:
    """The options that `config` has, wherever they stand, and all other arguments.

    Raises:
        InputError: an option without its value.
    """
    with refusals.on_parse_error(lambda event: _refuse(event, config, program)):
        return tyro.cli(config, args=list(arguments), prog=program, return_unknown_args=True, add_help=False)


def _as_flag(argument: str) -> str:
    """`leader.learning_rate=1e-4` means `--leader.learning_rate=1e-4`."""
    return f"--{argument}" if re.match(r"[A-Za-z_][\w.-]*=", argument) else argument


def _refuse(event: refusals.ParseErrorEvent, config: type, program: str) -> None:
    reason = _reason(event, config)
    if reason is not None:
        raise InputError(f"{reason} (see `{program} --help`)")


def _reason(event: refusals.ParseErrorEvent, config: type) -> str | None:
    """What is wrong in one line; None for a refusal that this program does not know, which tyro then prints."""
    match event:
        case refusals.UnrecognizedArgs():
            return _unknown(event.tokens[0], _flags(config))
        case refusals.InvalidChoice():
            require_known(event.value, event.argument.display_name(), event.choices)
        case refusals.BadValue():
            name = event.argument.display_name().lstrip("-").replace("-", "_")
            allowed = f"one of {', '.join(_NAMES[name]())}" if name in _NAMES else "given a value"
            return f"{name}: must be {allowed}, got nothing"
        case refusals.MissingArgs():
            missing = [context.arg.get_invocation_text()[1].as_str_no_ansi() for context in event.missing_arguments]
            return f"{', '.join(missing)}: must be given, got nothing"
        case refusals.InstantiationFailure():
            where = "" if event.argument is None else f"{event.argument.display_name()}: "
            return where + " ".join(event.message.split())
    return None


def _unknown(token: str, flags: Iterable[str]) -> str:
    """An option that this command does not have: which part it belongs to, or what it is like."""
    name = token.lstrip("-").partition("=")[0]
    field = name.replace("-", "_")
    if belonging(field):
        return f"{field}: has no meaning here; {belonging(field)}"
    nearest = difflib.get_close_matches(name.replace("_", "-"), list(flags), n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(f'--{one}' for one in nearest)}?" if nearest else ""
    return f"{token}: is no option of this command{hint}"


def _flags(config: type, prefix: str = "") -> list[str]:
    """The names of a command's options."""
    found, marked = [], typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        kind, marks = bare(marked[field.name])
        if tyro.conf.Suppress in marks:
            continue
        if dataclasses.is_dataclass(kind):
            nameless = tyro.conf.OmitArgPrefixes in marks or any(getattr(mark, "name", None) == "" for mark in marks)
            found += _flags(kind, prefix if nameless else f"{prefix}{field.name}.")  # pyright: ignore[reportArgumentType]
        else:
            found.append((prefix + field.name).replace("_", "-"))
    return found


def bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and what is marked on it."""
    return (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())
