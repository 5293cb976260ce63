"""The one exception for bad input: what the user wrote is wrong, and here is what is allowed."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input, told in one line that names the field and what is allowed.

    The command line prints it on stderr and exits with code 2.
    """


def require(condition: bool, field: str, allowed: str, got: object) -> None:
    """Raise `InputError` naming `field` unless `condition` holds."""
    if not condition:
        raise InputError(f"{field}: {allowed}, got {got}")


def raises(error: Exception) -> str:
    """What a user's own code has raised, in one line: "raises TypeError: …"."""
    return f"raises {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def require_known(name: str, field: str, known: Iterable[str]) -> None:
    """Raise `InputError` with the nearest known names unless `name` is one of `known`."""
    names = list(known)
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise InputError(f"{field}: '{name}' is unknown; {hint}allowed: {', '.join(names)}")
