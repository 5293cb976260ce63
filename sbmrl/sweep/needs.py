"""What programs need of memory, remembered beside the compilation cache.

How many runs go side by side depends on it, and only a compiled program can tell. Remembered, it lets a run begin when
its first stage is compiled, instead of all of its parts.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from sbmrl.core.experiment import Experiment
from sbmrl.core.files import write_text
from sbmrl.core.parts import World
from sbmrl.core.version import VERSION
from sbmrl.experiment.plugins import plugins_of

_SOURCE = Path(__file__).parents[1]
_DIRECTORY = "sbmrl_memory"  # in the compilation cache


def key_of(experiment: Experiment, world: World, width: int, axes: tuple[str, ...]) -> str:
    """A checksum of all that the needs of an experiment's programs depend on.

    That is the experiment, its plug-ins and world, how many runs lie side by side and which hyper-parameters tell them
    apart, the devices, the versions and settings of jax and XLA, and the code of sbmrl itself.
    """
    device, arrays = jax.devices()[0], jax.tree.leaves(world)
    facts = (
        (experiment, plugins_of(experiment), jax.tree.structure(world), width, axes),
        [(np.shape(array), np.asarray(array).tobytes()) for array in arrays],
        (device.platform, device.device_kind, jax.device_count()),
        (VERSION, version("jax"), version("jaxlib"), os.environ.get("XLA_FLAGS", "")),
        (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision, _source()),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _source() -> str:
    """A checksum of the package's code."""
    found = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*.py")):
        found.update(f"{path.relative_to(_SOURCE)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def remembered(key: str, measure: Callable[[], int]) -> int:
    """The bytes kept under `key`; measured, and kept where there is a compilation cache, if there are none.

    Several processes always measure: they compile the same things in the same order, whatever each remembers.
    """
    cache = jax.config.jax_compilation_cache_dir
    if not cache or jax.process_count() > 1:
        return measure()
    path = Path(cache) / _DIRECTORY / key
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never measured, or damaged
        needed = measure()
    with contextlib.suppress(OSError):  # a cache that cannot be written is worth no failure
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{needed}\n")
    return needed
