"""How many runs fit side by side: what the compiled program says it needs against what the devices have."""

from pathlib import Path
from typing import Any

import jax
import psutil

_SHARE = 0.5  # of the free memory; results, checkpoints and the rest of the machine need some too
_CONTROL_GROUPS = (  # what a container or a scheduler grants: (limit, in use), second and first version of the kernel's
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def free_bytes() -> float:
    """Free memory for arrays on this process' devices together.

    On CPU the least of what the machine has, its control group grants, and the process' own limit (`ulimit -v`) leaves.
    """
    devices = jax.local_devices()
    limits = [device.memory_stats() for device in devices] if devices[0].platform != "cpu" else []
    if limits and all(limits):
        return sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in limits)
    return min(psutil.virtual_memory().available, _granted(), _unlimited())


def _granted() -> float:
    for limit, used in _CONTROL_GROUPS:
        try:
            return max(int(limit.read_text()) - int(used.read_text()), 0)
        except (OSError, ValueError):  # no such file, or no limit ("max")
            continue
    return float("inf")


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
    allowed = int(free * _SHARE)
    if needed <= allowed:
        return width
    most = max(int(width * allowed / needed), 1)
    return 1 << (most.bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the runtime says that the memory did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
