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
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

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
        programs: whether the traced programs are kept there, or only what they need of memory.
    """

    directory: Path | None = None
    programs: bool = False

    def needed(self, measure: Callable[[], int]) -> int:
        """The bytes that the program needs, measured once."""
        return measure() if self.directory is None else _known(self.directory / "bytes", measure)

    def state(self, trace: Callable[[], Any]) -> Any:
        """Shapes and dtypes of the state of one run as plain arrays, traced once."""
        return trace() if self.directory is None or not self.programs else _known(self.directory / "state", trace)

    def load(self, name: str) -> Callable[..., Any] | None:
        """The part `name` as a function to be compiled, None where it is not kept."""
        if self.directory is None or not self.programs:
            return None
        path = self.directory / name
        found = _read(path)
        try:
            return None if found is None else _function(*found)
        except Exception as error:  # jax, flatbuffers and MLIR share no base class
            warnings.warn(f"{path} cannot be used and is traced again ({error})", stacklevel=2)
            return None

    def keep(self, name: str, jitted: Any, arguments: Sequence[Any]) -> Callable[..., Any] | None:
        """Keep a jitted part for arguments like these; what `load` will give, None where it cannot be kept."""
        if self.directory is None or not self.programs:
            return None
        try:
            exported = jax.export.export(jitted)(*arguments)
            pickle.dumps(exported.out_tree)
        except (ValueError, NotImplementedError):  # host callbacks, custom calls whose meaning may change
            return None
        except (pickle.PicklingError, AttributeError, TypeError):  # results that hold functions
            return None
        # Leaves in place of trees, as a file of jax holds no classes of ours.
        leaves = jax.tree.structure((tuple(range(exported.in_tree.num_leaves)), {}))
        results = jax.tree.structure(tuple(range(exported.out_tree.num_leaves)))
        plain = dataclasses.replace(exported, in_tree=leaves, out_tree=results)
        kept = (bytes(plain.serialize()), exported.out_tree)
        _write(self.directory / name, kept)
        return _function(*kept)


def _function(program: bytes, out_tree: Any) -> Callable[..., Any]:
    if b"lapack_" in program:
        _find_lapack()
    exported = jax.export.deserialize(bytearray(program))
    return lambda *arguments: jax.tree.unflatten(out_tree, exported.call(*jax.tree.leaves(arguments)))


@functools.cache
def _find_lapack() -> None:
    """Have LAPACK's functions looked up, as jax does when it lowers a call of them; a kept program is lowered."""
    jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), np.float32))


def _known(path: Path, make: Callable[[], Any]) -> Any:
    found = _read(path)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _read(path: Path) -> Any:
    """What is kept, None where there is nothing or where it is damaged."""
    try:
        checksum, content = path.read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    return pickle.loads(content) if hashlib.sha256(content).hexdigest().encode() == checksum else None


def _write(path: Path, value: Any) -> None:
    content = pickle.dumps(value)
    with contextlib.suppress(OSError):  # a cache that cannot be written is worth no failure
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


NO_SHELF = Shelf()


def shelf_of(experiment: Experiment, world: World, width: int, axes: Sequence[str]) -> Shelf:
    """The place of an experiment's program for `width` runs side by side, told apart by the hyper-parameters `axes`.

    There is none without a local compilation cache that belongs to the user alone, and none for several processes,
    which compile the same things in the same order whatever each of them keeps. Programs are not kept where a plug-in
    has a part in them: what it imports cannot be known. Nor is anything if the code of sbmrl was changed since this
    process imported it, as what runs is then not what is on disk.
    """
    cache = jax.config.jax_compilation_cache_dir if jax.config.jax_enable_compilation_cache else None
    source = _source(_SOURCE)
    if not cache or "://" in cache or jax.process_count() > 1 or source is None or not _own(Path(cache)):
        return NO_SHELF
    plugins = plugins_of(experiment)
    untraced = with_values(experiment, dict.fromkeys(traced_fields(experiment), 0.0))  # values are arguments
    arrays = [(np.shape(array), np.asarray(array).tobytes()) for array in jax.tree.leaves(world)]
    facts = (
        (untraced, plugins, jax.tree.structure(world), arrays, width, tuple(axes)),
        (_versions(), source, _environment()),
    )
    return Shelf(Path(cache) / _DIRECTORY / _checksum(facts), not plugins)


def _checksum(facts: Any) -> str:
    """Of what they are in print; functions are told by their names."""
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", repr(facts)).encode()).hexdigest()


def _own(cache: Path) -> bool:
    """Whether nobody else can write there: what is unpickled is code."""
    place = cache / _DIRECTORY
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = place.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _environment() -> Any:
    """What every program depends on: devices, compiler, and what was set of it."""
    device = jax.devices()[0]
    settings = sorted((name, value) for name, value in jax.config.values.items() if "cache" not in name)
    environment = [(name, os.environ.get(name, "")) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    kinds = (device.platform, device.device_kind, device.client.platform_version, jax.device_count())
    return kinds, version("jax"), version("jaxlib"), settings, environment


def _versions() -> list[tuple[str, str]]:
    """Of all packages that a program of sbmrl can be made of; "" for those that are missing."""
    asked = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("sbmrl") or () if "extra ==" not in line}
    return [(name, _version(name)) for name in sorted({"sbmrl", "brax", *asked})]


def _version(package: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return ""


@functools.cache
def _source(directory: Path) -> str | None:
    """A checksum of the package's code; None where a file is younger than what this process has imported."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*.py")):
        if path.stat().st_mtime > IMPORTED:
            return None
        found.update(f"{path.relative_to(directory)}\n".encode() + path.read_bytes())
    return found.hexdigest()
