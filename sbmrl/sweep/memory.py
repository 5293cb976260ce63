"""How many runs fit side by side: what the compiled program says it needs against what the devices have."""

from pathlib import Path
from typing import Any

import jax
import psutil

_SHARE = 0.5  # of the free memory; results, checkpoints and the rest of the machine need some too
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


def fitting_width(width: int, needed: int, free: float) -> int:
    """`width` where `needed` bytes fit into the share of the free ones, else the largest power of 2 that would."""
    allowed = free * _SHARE
    if needed <= allowed:
        return width
    most = max(int(width * allowed / needed), 1)
    return 1 << (most.bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the runtime says that the memory did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
