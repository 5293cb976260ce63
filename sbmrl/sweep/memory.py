"""How many runs fit side by side, and how they lie: what a compiled program says it needs against what devices have."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import psutil
from jax.sharding import Mesh

from sbmrl.core.devices import make_mesh, map_over_devices

_SHARE = 0.5  # of the free memory; results, checkpoints and the rest of the machine need some too
_CPU_BYTES = 2**28  # of a batch on a device: a larger one gains nothing and is saved less often
# Parameters and optimiser states that are in a core's own cache together: a gradient step reads and writes all of them,
# and 64 at once took a fifth longer each than 8 (benchmarks/NOTES.md).
_CPU_CACHE = 2**20
_CPU_GUESS = 64  # runs on a device
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def free_bytes() -> float:
    """Free memory for arrays on this process' devices together.

    On CPU the least of what the machine has, its control group grants, and the process' own limit (`ulimit -v`) leaves.
    """
    devices = jax.local_devices()
    limits = [device.memory_stats() for device in devices] if devices[0].platform != "cpu" else []
    if limits and all(limits):
        return sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in limits)
    return min(psutil.virtual_memory().available, _granted(), _unlimited())


def _granted(membership: str | None = None) -> float:
    """What the control groups leave that a container or a scheduler has put this process into.

    Args:
        membership: the text of /proc/self/cgroup; a line is hierarchy:controllers:path, 0::path in the second version.
    """
    if membership is None:
        try:
            membership = Path("/proc/self/cgroup").read_text()
        except OSError:  # not Linux
            return float("inf")
    left = float("inf")
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            root, limit, used = _CONTROL_GROUPS, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            root, limit, used = _CONTROL_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = root / path.lstrip("/")
        for group in (own, *own.parents):  # each group above has a limit of its own
            try:
                left = min(left, max(int((group / limit).read_text()) - int((group / used).read_text()), 0))
            except (OSError, ValueError):  # no such group in this container's view, or no limit ("max")
                continue
    return left


def _unlimited() -> float:
    process = psutil.Process()
    limit, _ = process.rlimit(psutil.RLIMIT_AS) if hasattr(process, "rlimit") else (-1, -1)
    return float("inf") if limit < 0 else max(limit - process.memory_info().vms, 0)


def bytes_of(compiled: Any) -> int:
    """What a compiled program occupies on each device: its arguments, results and temporaries."""
    analysis = compiled.memory_analysis()
    return analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes


def bytes_of_arrays(tree: Any) -> int:
    """What all arrays of a tree occupy together."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


class Layout(NamedTuple):
    """How a batch of runs lies on the devices.

    Attributes:
        mesh: the devices in a row.
        width: W, runs side by side, a multiple of the number of devices times that of groups.
        num_groups: of runs on a device, advanced one after the other.
    """

    mesh: Mesh
    width: int
    num_groups: int

    def map(
        self, function: Callable[..., Any], mapped: tuple[bool, ...], cpu_options: Mapping[str, Any]
    ) -> Callable[..., Any]:
        """`map_over_devices` of a function of one run, over batches that lie like this."""
        return map_over_devices(function, self.mesh, mapped, cpu_options, self.num_groups)


def lay_out(width: int, state_bytes: int) -> Layout:
    """Room for at least `width` runs with states of that size on all devices, or on as many as there are runs."""
    devices = jax.devices()
    if jax.process_count() == 1:
        devices = devices[:width]
    per_device = -(-width // len(devices))
    num_groups = num_groups_of(per_device, state_bytes)
    return Layout(make_mesh(devices), -(-per_device // num_groups) * num_groups * len(devices), num_groups)


def num_groups_of(runs_per_device: int, state_bytes: int) -> int:
    """Into how many groups, one after the other, runs with states of that size are cut; 1 where it is no CPU."""
    return -(-runs_per_device // _largest(runs_per_device, state_bytes, _CPU_CACHE)) if _on_cpu() else 1


class Room(NamedTuple):
    """How many runs go side by side: as many as `fit` the memory, and no more than `pay`."""

    fit: int
    pay: int


def first_guess(width: int) -> int:
    """The width whose needs are looked at first: on CPU a usual one, so that it need not be compiled for nothing."""
    return min(width, _CPU_GUESS * jax.local_device_count()) if _on_cpu() else width


def room(width: int, bytes_each: float, free: float) -> Room:
    """`width`, or the largest powers of 2 below it that fit the share of the free bytes, and that pay."""
    pay = _largest(width, bytes_each, _CPU_BYTES * jax.local_device_count()) if _on_cpu() else width
    return Room(_largest(width, bytes_each, free * _SHARE), pay)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _largest(width: int, bytes_each: float, allowed: float) -> int:
    if width * bytes_each <= allowed:
        return width
    return 1 << (max(int(allowed / bytes_each), 1).bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the runtime says that the memory did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
