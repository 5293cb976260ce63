"""What is kept of compiled programs beside the compilation cache, so that a run need not trace them again.

The compilation cache spares compiling, but to ask it a program must be traced, which takes longer than all else before
the first record. A shelf is found without: by a checksum of all that a program depends on. It has the shapes of the
state, the memory that the programs need, on which depends how many runs go side by side, and which executables they
are. An executable is kept under a checksum of the traced program, so that where the code has changed and the program
has not, the next run finds it again.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import re
import threading
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.sharding import Mesh

from sbmrl.core.experiment import Experiment
from sbmrl.core.files import write_bytes
from sbmrl.core.options import traced_fields, with_values
from sbmrl.core.parts import World
from sbmrl.core.version import IMPORTED
from sbmrl.experiment.plugins import plugins_of

_SOURCE = Path(__file__).parents[1]
_DIRECTORY = "sbmrl_programs"  # in the compilation cache
_HIT = "/jax/compilation_cache/cache_hits"
_hits = threading.local()


def _count_hits(event: str, **_: Any) -> None:
    if event == _HIT:
        _hits.number = getattr(_hits, "number", 0) + 1


jax.monitoring.register_event_listener(_count_hits)


class Shelf(NamedTuple):
    """A program's place, or none.

    Attributes:
        directory: None where nothing is kept.
        executables: where executables are kept, None where they are not.
        told: what an executable depends on beside its program.
    """

    directory: Path | None = None
    executables: Path | None = None
    told: str = ""

    def needed(self, measure: Callable[[], int]) -> int:
        """The bytes that the program needs, measured once."""
        return measure() if self.directory is None else _known(self.directory / "bytes", measure)

    def state(self, trace: Callable[[], Any]) -> Any:
        """Shapes and dtypes of the state of one run as plain arrays, traced once."""
        return (
            trace() if self.directory is None or self.executables is None else _known(self.directory / "state", trace)
        )

    def load(self, name: str, mesh: Mesh) -> Any:
        """The executable of the part `name`, None where there is none."""
        if self.directory is None or self.executables is None:
            return None
        found = _read(self.directory / name)
        return None if found is None else _loaded(self.executables, found, mesh)

    def build(self, name: str, lowered: jax.stages.Lowered, options: Mapping[str, Any], mesh: Mesh) -> Any:
        """The executable of a part that has been traced and lowered, compiled with `options` if none is kept."""
        if self.directory is None or self.executables is None:
            return lowered.compile()
        trees = (lowered.in_tree, lowered.out_tree)
        checksum = _checksum((self.told, sorted(options.items()), trees, lowered.as_text()))
        kept = (checksum, *trees)
        built = _loaded(self.executables, kept, mesh)
        if built is None:
            built = _compile(lowered, self.executables / checksum)
        if (self.executables / checksum).exists():
            _write(self.directory / name, kept)
        return built


def _loaded(executables: Path, kept: tuple[str, Any, Any], mesh: Mesh) -> Any:
    checksum, *trees = kept
    content = _read(executables / checksum)
    if content is None:
        return None
    try:
        if b"lapack_" in content:
            _find_lapack()
        return deserialize_and_load(content, *trees, execution_devices=list(mesh.devices.flat))
    except Exception as error:  # jax, XLA and pickle share no base class
        warnings.warn(f"{executables / checksum} cannot be used and is compiled again ({error})", stacklevel=2)
        return None


def _compile(lowered: jax.stages.Lowered, path: Path) -> Any:
    """Compile a program and keep it.

    One that jax's own cache had is not kept: once loaded, XLA on CPU serialises a program without its functions.
    """
    before = getattr(_hits, "number", 0)
    compiled = lowered.compile()
    if getattr(_hits, "number", 0) == before:
        with contextlib.suppress(ValueError, NotImplementedError):  # what jax cannot serialise is not kept
            _write(path, serialize(compiled)[0])
    return compiled


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
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        return None
    return pickle.loads(zlib.decompress(content))


def _write(path: Path, value: Any) -> None:
    content = zlib.compress(pickle.dumps(value), 1)
    with contextlib.suppress(OSError):  # a cache that cannot be written is worth no failure
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


NO_SHELF = Shelf()


@functools.cache
def _find_lapack() -> None:
    """Have LAPACK's functions looked up, as jax does when it lowers the first one; an executable calls them without."""
    jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), np.float32))


def shelf_of(experiment: Experiment, world: World, width: int, axes: Sequence[str]) -> Shelf:
    """The place of an experiment's program for `width` runs side by side, told apart by the hyper-parameters `axes`.

    There is none without a local compilation cache that belongs to the user alone, and none for several processes,
    which compile the same things in the same order whatever each of them keeps. Executables are not kept where a
    plug-in has a part in them: what it imports cannot be known. Nor is anything if the code of sbmrl was changed
    since this process imported it, as what runs is then not what is on disk.
    """
    cache = jax.config.jax_compilation_cache_dir if jax.config.jax_enable_compilation_cache else None
    source = _source(_SOURCE)
    if not cache or "://" in cache or jax.process_count() > 1 or source is None or not _own(Path(cache)):
        return NO_SHELF
    plugins, told = plugins_of(experiment), _environment()
    untraced = with_values(experiment, dict.fromkeys(traced_fields(experiment), 0.0))  # values are arguments
    arrays = [(np.shape(array), np.asarray(array).tobytes()) for array in jax.tree.leaves(world)]
    facts = (untraced, jax.tree.structure(world), arrays, width, tuple(axes), plugins, _versions(), source, told)
    place = Path(cache) / _DIRECTORY
    return Shelf(place / _checksum(facts), None if plugins else place / "executables", told)


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


def _environment() -> str:
    """What every executable depends on: devices, processor, compiler, and what was set of it."""
    settings = sorted((name, value) for name, value in jax.config.values.items() if "cache" not in name)
    environment = [(name, os.environ.get(name, "")) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    return _checksum((_machine(), version("jax"), version("jaxlib"), settings, environment))


def _machine() -> tuple[Any, ...]:
    """The devices, what drives them, and the instructions that the processor has."""
    device = jax.devices()[0]
    try:
        processor = {line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")}
    except OSError:
        processor = {platform.processor()}
    kinds = (device.platform, device.device_kind, device.client.platform_version, jax.device_count())
    return (*kinds, platform.machine(), sorted(processor))


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
