"""What this machine can do, measured in the same process: a large matrix product and a large copy on every device."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.devices import make_mesh, map_over_devices

_SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the square matrices of a device
_NUMBERS = {"cpu": 2**25, "gpu": 2**28, "tpu": 2**28}  # copied on a device
_PASSES = 10  # over the same memory in one program: pages that were never touched would cost more than the copy
_REPEATS = 7


class Ceilings(NamedTuple):
    """Medians over all devices together.

    Attributes:
        operations: floating-point operations per second of a float32 matrix product.
        bytes: per second, read and written, of a float32 copy.
    """

    operations: float
    bytes: float


def measure_ceilings() -> Ceilings:
    """Both ceilings, a few seconds."""
    devices = jax.devices()
    platform = devices[0].platform
    side, numbers = _SIDE.get(platform, 2048), _NUMBERS.get(platform, 2**25)
    square = jnp.full((len(devices), side, side), 1.0 / side)
    line = jnp.ones((len(devices), numbers))
    product, copy = _seconds(lambda x: x @ x, square), _seconds(_passes, line)
    return Ceilings(len(devices) * 2.0 * side**3 / product, len(devices) * 8.0 * _PASSES * numbers / copy)


def _passes(line: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, _PASSES, lambda _, numbers: numbers + 1.0, line)


def _seconds(function: Callable[[jax.Array], Any], argument: jax.Array) -> float:
    mapped = map_over_devices(function, make_mesh(jax.devices()), (True,))
    jax.block_until_ready(mapped(argument))
    found = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(mapped(argument))
        found.append(time.perf_counter() - began)
    return statistics.median(found)
