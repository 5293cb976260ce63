"""What several commands need: where output goes."""

import datetime
import sys
from pathlib import Path

from rich.console import Console

PLAIN_WIDTH = 160  # columns of a table that goes to a file


def console(stderr: bool = False) -> Console:
    """The terminal, or plain text of a fixed width."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr) if stream.isatty() else Console(stderr=stderr, width=PLAIN_WIDTH)


def default_directory(name: str) -> Path:
    """A new directory for the files of a command that was not told where."""
    return Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
