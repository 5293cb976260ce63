"""One axis mapped over all local devices, each with its own share: nothing crosses between them."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "seed"
# XLA's optimisation on CPU: level 2 compiles scans of tiny operations in half the time of its default, 3, for a
# difference in speed that is within noise.
CPU_OPTIONS: Mapping[str, Any] = {"xla_backend_optimization_level": 2}
# The library that XLA hands matrix products and sums to is slow at sums over a few states or actions: products only.
CPU_OPTIONS_TINY_SUMS = {**CPU_OPTIONS, "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def make_mesh(devices: Sequence[Any]) -> Mesh:
    """The devices in a row."""
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def over_devices(mesh: Mesh) -> NamedSharding:
    """The leading axis spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def map_over_devices(
    function: Callable[..., Any],
    mesh: Mesh,
    mapped: tuple[bool, ...],
    cpu_options: Mapping[str, Any] = CPU_OPTIONS,
    num_groups: int = 1,
) -> Callable[..., Any]:
    """`jit` of `function` mapped over the leading axis of the arguments marked in `mapped`.

    A shard is a plain smaller `vmap`, or `num_groups` of them one after the other. `cpu_options` are XLA's, on CPU; one
    that is in XLA_FLAGS is kept.
    """
    batched = jax.vmap(function, in_axes=tuple(0 if own else None for own in mapped))
    shard = batched if num_groups == 1 else _one_after_the_other(batched, mapped, num_groups)
    specs = tuple(PartitionSpec(AXIS) if own else PartitionSpec() for own in mapped)
    sharded = jax.shard_map(shard, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)
    return jax.jit(sharded, compiler_options=compiler_options(cpu_options))


def compiler_options(cpu_options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `jit` is told: XLA's `cpu_options` on CPU, less those that are in XLA_FLAGS, None elsewhere."""
    chosen = os.environ.get("XLA_FLAGS", "")
    options = {name: value for name, value in cpu_options.items() if name not in chosen}
    return options if jax.default_backend() == "cpu" else None


def _one_after_the_other(batched: Callable[..., Any], mapped: tuple[bool, ...], num_groups: int) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        own = [argument for argument, is_own in zip(arguments, mapped, strict=True) if is_own]

        def group(own: list[Any]) -> Any:
            left = iter(own)
            return batched(*(next(left) if is_own else one for one, is_own in zip(arguments, mapped, strict=True)))

        grouped = jax.tree.map(lambda x: x.reshape(num_groups, x.shape[0] // num_groups, *x.shape[1:]), own)
        return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), jax.lax.map(group, grouped))

    return call
