"""What is kept of programs beside the compilation cache, so that a run need not trace them again.

The compilation cache spares compiling, but to ask it a program must be traced, which takes longer than all else before
the first record. A shelf is found without: by a checksum of all that a program depends on. It has the traced programs
(`jax.export`), the shapes of the state, and the memory that the programs need, on which depends how many runs go side
by side. Executables are left to jax's own cache.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pickle
import re
import stat
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sbmrl.core import threefry
from sbmrl.core.experiment import Experiment
from sbmrl.core.files import write_bytes
from sbmrl.core.options import traced_fields, with_values
from sbmrl.core.parts import World
from sbmrl.core.version import IMPORTED
from sbmrl.experiment.plugins import plugins_of

_SOURCE = Path(__file__).parents[1]
_DIRECTORY = "sbmrl_programs"  # in the compilation cache


class Shelf(NamedTuple):
    """A program's place, or none.

    Attributes:
        directory: None where nothing is kept.
        settings: what was set of jax and XLA when it was found; nothing is read or kept while they are others.
    """

    directory: Path | None = None
    settings: str = ""

    def needed(self, measure: Callable[[], int]) -> int:
        """The bytes that the program needs, measured once."""
        return self._known("bytes", measure)

    def state(self, trace: Callable[[], Any]) -> Any:
        """Shapes and dtypes of the state of one run as plain arrays, traced once."""
        return self._known("state", trace)

    def load(self, name: str) -> Callable[..., Any] | None:
        """The part `name` as a function to be compiled, None where it is not kept."""
        path = self._path(name)
        return None if path is None else _read(path, _function)

    def keep(self, name: str, jitted: Any, arguments: Sequence[Any]) -> Callable[..., Any] | None:
        """Keep a jitted part for arguments like these; what `load` will give, None where it cannot be kept."""
        path = self._path(name)
        if path is None:
            return None
        try:
            exported = jax.export.export(jitted)(*arguments)
            # Leaves in place of trees, as a file of jax holds no classes of ours.
            leaves = jax.tree.structure((tuple(range(exported.in_tree.num_leaves)), {}))
            results = jax.tree.structure(tuple(range(exported.out_tree.num_leaves)))
            plain = dataclasses.replace(exported, in_tree=leaves, out_tree=results)
            content = pickle.dumps((bytes(plain.serialize()), exported.out_tree))
        except Exception:  # host callbacks, custom calls whose meaning may change, results that hold functions, …
            return None
        _write(path, content)
        return _function(pickle.loads(content))

    def _path(self, name: str) -> Path | None:
        return self.directory / name if self.directory is not None and self.settings == _settings() else None

    def _known(self, name: str, make: Callable[[], Any]) -> Any:
        path = self._path(name)
        found = None if path is None else _read(path, lambda value: value)
        if found is None:
            found = make()
            if path is not None:
                with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):  # what holds functions
                    _write(path, pickle.dumps(found))
        return found


def _function(kept: tuple[bytes, Any]) -> Callable[..., Any]:
    program, out_tree = kept
    exported = jax.export.deserialize(bytearray(program))
    return lambda *arguments: jax.tree.unflatten(out_tree, exported.call(*jax.tree.leaves(arguments)))


def _read(path: Path, make: Callable[[Any], Any]) -> Any:
    """What `make` makes of what is kept, None where there is nothing or where it is damaged."""
    try:
        checksum, content = path.read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        return None
    try:
        return make(pickle.loads(content))
    except Exception as error:  # pickle, jax and flatbuffers share no base class
        warnings.warn(f"{path} cannot be used and is made again ({error})", stacklevel=2)
        return None


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written is worth no failure
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


NO_SHELF = Shelf()


def shelf_of(experiment: Experiment, world: World, width: int, axes: Sequence[str]) -> Shelf:
    """The place of an experiment's program for `width` runs side by side, told apart by the hyper-parameters `axes`.

    There is none without a local compilation cache that belongs to the user alone; none for several processes, which
    compile the same things in the same order whatever each of them keeps; none where a plug-in has a part in the
    program, as what it imports cannot be known; and none if the code of sbmrl was changed on disk since this process
    imported it. What a process patches in memory is not noticed.
    """
    cache = jax.config.jax_compilation_cache_dir if jax.config.jax_enable_compilation_cache else None
    if not cache or "://" in cache or jax.process_count() > 1 or plugins_of(experiment):
        return NO_SHELF
    if _has_changed(_SOURCE) or not _own(Path(cache)):
        return NO_SHELF
    untraced = with_values(experiment, dict.fromkeys(traced_fields(experiment), 0.0))  # values are arguments
    arrays = [
        (np.asarray(array).dtype, np.shape(array), np.asarray(array).tobytes()) for array in jax.tree.leaves(world)
    ]
    facts = (untraced, jax.tree.structure(world), arrays, width, tuple(axes))
    settings = _settings()
    return Shelf(Path(cache) / _DIRECTORY / _checksum((facts, settings, _packages(), _source(_SOURCE))), settings)


def _checksum(facts: Any) -> str:
    """Of what they are in print; functions are told by their names."""
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", repr(facts)).encode()).hexdigest()


def _own(cache: Path) -> bool:
    """Whether nobody else can write there: what is unpickled is code."""
    place = cache / _DIRECTORY
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        above, status = cache.stat(), place.stat()
    except OSError:
        return False
    exchangeable = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    return not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not exchangeable
    )


def _settings() -> str:
    """What every program depends on: devices, and what was set of jax and XLA, in this thread."""
    device = jax.devices()[0]
    settings = sorted((name, value) for name, value in jax.config.values.items() if "cache" not in name)
    environment = [(name, os.environ.get(name, "")) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    kinds = (device.platform, device.device_kind, device.client.platform_version, jax.device_count())
    return _checksum((kinds, settings, environment, threefry.is_straight()))


def _packages() -> Any:
    """Python and every package that is installed, with their versions."""
    found: set[str] = set()
    for place in sys.path:
        with contextlib.suppress(OSError):  # archives, and what is not there
            found.update(name for name in os.listdir(place or ".") if name.endswith((".dist-info", ".egg-info")))
    return sys.version, sorted(found)


def _has_changed(directory: Path) -> bool:
    """Whether a file of the package's code is younger than what this process has imported."""
    return any(path.stat().st_mtime > IMPORTED for path in directory.rglob("*.py"))


@functools.cache
def _source(directory: Path) -> str:
    """A checksum of the package's code."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*.py")):
        found.update(f"{path.relative_to(directory)}\n".encode() + path.read_bytes())
    return found.hexdigest()
