"""Checkpoints that can be trusted: written under a temporary name, with the checksum of every file.

A checkpoint is a directory `step-00000012/` with orbax's files under `state/`, other files, and a `manifest.json`. It
appears under its name only when it is complete, and what is read back is verified first: a flipped byte is found, the
checkpoint is named, and the newest good one is used.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sbmrl.errors import InputError
from sbmrl.sweep.processes import any_of, on_first

_MANIFEST = "manifest.json"
_KEPT = 2  # the newest, and one to fall back to
_OVERHEAD = 2**20  # bytes of orbax's own files, generously


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path) -> None:
    """List every file below `directory` with its checksum."""
    sums = {str(path.relative_to(directory)): digest(path) for path in sorted(directory.rglob("*")) if path.is_file()}
    (directory / _MANIFEST).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def damage(directory: Path, only: str | None = None) -> str | None:
    """What is wrong with the files below `directory`, or with one of them only, in a few words, or None."""
    try:
        sums = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
        for name, expected in sums.items():
            if only in (None, name) and digest(directory / name) != expected:
                return f"{name} has another checksum"
    except (OSError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    present = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()} - {_MANIFEST}
    return None if present == set(sums) else f"{sorted(present ^ set(sums))[0]} is missing or not listed"


def write_state(path: Path, state: Any) -> None:
    """Write a pytree of arrays with orbax; with several processes, each calls this and writes its part.

    Raises:
        OSError: it cannot be written; orbax passes on whatever its storage raises, told here in one line.
    """
    needed = sum(x.nbytes for x in jax.tree.leaves(state)) + _OVERHEAD

    def check_space() -> None:  # said here, because orbax's threads would print tracebacks
        if needed > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {needed / 2**20:,.0f} MiB needed")

    on_first(check_space)
    reason = ""
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path.absolute(), state)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    if any_of(bool(reason)):
        raise OSError(None, reason or "another process failed")


def read_state(path: Path, like: Any) -> Any:
    """The inverse of `write_state`; `like` gives structure, shapes, dtypes and the devices (`ShapeDtypeStruct`)."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path.absolute(), like)


def save(directory: Path, step: int, state: Any, files: Mapping[str, bytes]) -> None:
    """Write the checkpoint of `step` with further `files` into `directory`, then let go of all but the newest two.

    Raises:
        InputError: it cannot be written, as on a full disk; the older checkpoints are intact.
    """
    final = path_of(directory, step)
    temporary = final.with_name(final.name + ".tmp")

    def begin() -> None:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)

    def end() -> None:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        write_manifest(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        for old in checkpoints(directory)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    try:
        on_first(begin)
        write_state(temporary / "state", state)
        on_first(end)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(f"{final}: cannot be written ({error.strerror or error})") from error


def checkpoints(directory: Path) -> list[Path]:
    """The complete checkpoints in `directory`, oldest first."""
    return sorted(path for path in directory.glob("step-????????") if path.is_dir())


def newest(directory: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint in `directory` that is good, or None where there is none.

    Args:
        directory: where the checkpoints are.
        warn: told of every damaged checkpoint, which stays where it is.
    """
    for path in reversed(checkpoints(directory)):
        wrong = damage(path)
        if wrong is None:
            return path
        warn(f"{path}: damaged ({wrong}); using an older one")
    return None


def step_of(path: Path) -> int:
    """The step of a checkpoint."""
    return int(path.name.removeprefix("step-"))


def path_of(directory: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return directory.absolute() / f"step-{step:08d}"
