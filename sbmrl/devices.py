"""One axis mapped over all local devices, each with its own share: nothing crosses between them."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "seed"
_LEVEL = "xla_backend_optimization_level"


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """The devices in a row."""
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def over_devices(mesh: Mesh) -> NamedSharding:
    """The leading axis spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def map_over_devices(
    function: Callable[..., Any], mesh: Mesh, mapped: tuple[bool, ...], cpu_level: int
) -> Callable[..., Any]:
    """`jit` of `function` mapped over the leading axis of the arguments marked in `mapped`.

    A shard is a plain smaller `vmap`. `cpu_level` is XLA's optimisation level on CPU: its default, 3, compiles scans of
    tiny operations twice as long as 2 for a difference in speed that is within noise. A level in XLA_FLAGS is kept.
    """
    batched = jax.vmap(function, in_axes=tuple(0 if own else None for own in mapped))
    specs = tuple(PartitionSpec(AXIS) if own else PartitionSpec() for own in mapped)
    sharded = jax.shard_map(batched, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)
    chosen = _LEVEL in os.environ.get("XLA_FLAGS", "")
    options = {_LEVEL: cpu_level} if jax.default_backend() == "cpu" and not chosen else None
    return jax.jit(sharded, compiler_options=options)
