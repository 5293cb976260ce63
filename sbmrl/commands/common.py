"""What several commands need: where output goes."""

import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from sbmrl.errors import InputError

PLAIN_WIDTH = 160  # columns of a table that goes to a file


def console(stderr: bool = False) -> Console:
    """The terminal, or plain text of a fixed width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr) if stream.isatty() else Console(stderr=stderr, width=PLAIN_WIDTH)


@contextlib.contextmanager
def output_directory(out: Path | None, name: str) -> Iterator[Path]:
    """`out`, or without one a new directory below runs/ named by `name` and the time.

    The new one is made at once, so that commands which start in the same second do not meet in it (the later ones end
    in -2, -3, ...), and it is removed again if the command leaves nothing in it.

    Raises:
        InputError: it cannot be written.
    """
    if out is not None:
        yield out
        return
    parent = Path("runs")
    is_new = not parent.exists()
    made = _make_new(parent / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):  # it holds files
            made.rmdir()
            if is_new:
                parent.rmdir()


def _make_new(wanted: Path) -> Path:
    path, number = wanted, 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            raise InputError(f"out: {path} cannot be written ({error.strerror or error})") from error
