"""How many runs fit side by side: what the compiled program says it needs against what the devices have."""

import os
from typing import Any

import jax

_SHARE = 0.5  # of the free memory; results, checkpoints and the rest of the machine need some too


def free_bytes() -> int:
    """Free memory for arrays on the local devices together."""
    devices = jax.local_devices()
    limits = [device.memory_stats() for device in devices] if devices[0].platform != "cpu" else []
    if limits and all(limits):
        return sum(stats["bytes_limit"] - stats["bytes_in_use"] for stats in limits)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def bytes_of(compiled: Any) -> int:
    """What a compiled program occupies on each device: its arguments, results and temporaries."""
    analysis = compiled.memory_analysis()
    return analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes


def fitting_width(width: int, needed: int, free: int) -> int:
    """`width` where `needed` bytes fit into the share of the free ones, else the largest power of 2 that would."""
    allowed = int(free * _SHARE)
    if needed <= allowed:
        return width
    most = max(int(width * allowed / needed), 1)
    return 1 << (most.bit_length() - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the runtime says that the memory did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
