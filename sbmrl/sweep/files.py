"""Files: written atomically, in a directory that one process at a time writes."""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import polars as pl

from sbmrl.core.files import write_json
from sbmrl.core.version import VERSION
from sbmrl.errors import InputError, require

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy", "polars", "wandb")
_LOCK = ".lock"


def create_directory(out: Path) -> Path:
    """Make an empty directory for a run.

    Raises:
        InputError: it holds files already, is a file, or cannot be written.
    """
    out = out.absolute()
    try:
        if out.exists():
            require(out.is_dir(), "out", "must be a directory", f"the file {out}")
            held = any(path.name != _LOCK for path in out.iterdir())  # which a run killed at once leaves alone there
            require(not held, "out", "must be a new or empty directory", f"{out}, which holds files")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"out: {out} cannot be written ({error.strerror or error})") from error
    return out


def write_parquet(path: Path, frame: pl.LazyFrame, metadata: Mapping[str, str]) -> None:
    """Write a frame with metadata, atomically and streaming: it need not fit the memory."""
    temporary = path.with_name(path.name + ".tmp")
    frame.sink_parquet(temporary, metadata=dict(metadata))
    os.replace(temporary, path)


def describe_machine() -> dict[str, Any]:
    """Versions, devices and git state, for meta.json."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"sbmrl": VERSION} | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "devices": [f"{device.platform}:{device.device_kind}" for device in jax.devices()],
        "git": _git_state(),
    }


def log_start(directory: Path) -> None:
    """Add this process' command, the time and the machine to the directory's commands.json."""
    path = directory / "commands.json"
    commands = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    program = Path(sys.argv[0]).name
    command = shlex.join(["sbmrl" if program == "__main__.py" else program, *sys.argv[1:]])
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_json(path, [*commands, {"command": command, "started": started} | describe_machine()])


def _git_state() -> dict[str, Any] | None:
    """The commit of the checkout this package lies in, if it lies in one."""

    def git(*args: str) -> str:
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; it is let go when the process ends, however that happens.

    Raises:
        InputError: another process holds it.
    """
    with (directory / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"out: {directory} is being written by another process") from error
        yield
