"""A virtual environment for each peer, made from its requirements file when it is first needed and kept."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from sbmrl.errors import InputError

_OWN = ("XLA_FLAGS", "PYTHONPATH", "PYTHONHOME")
_COMPLETE = "complete"  # a file that marks an environment as finished


def clean_variables() -> dict[str, str]:
    """The environment variables without those that would change what a peer imports or how its jax compiles."""
    return {name: value for name, value in os.environ.items() if name not in _OWN and not name.startswith("JAX_")}


def default_root() -> Path:
    """Where the environments lie unless the user says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sbmrl" / "peers"


def prepare_environment(name: str, requirements: Path, root: Path) -> Path:
    """The Python of the environment `name`; it is made unless it is there, for these requirements and this Python.

    Raises:
        InputError: the folder cannot be written, or a package cannot be had.
    """
    told = requirements.read_bytes() + platform.python_version().encode()
    folder = root.absolute() / f"{name}-{hashlib.sha256(told).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / _COMPLETE).exists():
        return python
    print(f"peers: installing {name} into {folder}", file=sys.stderr, flush=True)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        _run(name, [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)])
        (folder / _COMPLETE).touch()
    except OSError as error:
        raise InputError(f"environments: {folder} cannot be written ({error.strerror or error})") from error
    return python


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=clean_variables())
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        told = [line for line in lines if line.startswith("ERROR")] or lines
        raise InputError(f"{name}: its packages cannot be installed: {told[-1].removeprefix('ERROR:').strip()}")
