"""One process at a time writes a directory."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from sbmrl.errors import InputError


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; it is let go when the process ends, however that happens.

    Raises:
        InputError: another process holds it.
    """
    with (directory / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"out: {directory} is being written by another process") from error
        yield
