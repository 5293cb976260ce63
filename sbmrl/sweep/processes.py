"""Several processes, on one machine or many, that run one plan together.

All of them run the same programs over all devices, in step; the first one alone reads the clock, decides and writes
files, and what it found is told to the others. With one process all of this is nothing.
"""

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils

from sbmrl.errors import InputError

REQUEUE = 75  # exit code where everything is saved: run the same command again, with --resume
Address = tuple[str, int, int]  # HOST:PORT of the first process, their number, the index of this one


class PeerError(Exception):
    """The first process failed and has said why."""


@contextlib.contextmanager
def connected(how: Address | Literal["off", "auto"]) -> Iterator[None]:
    """Join the other processes, and at the end wait for them. Before anything touches a device.

    Where another process is lost, this one ends with the exit code `REQUEUE`.

    Args:
        how: "off", "auto" (SLURM, Open MPI, Kubernetes and TPU pods are recognised), or an address.

    Raises:
        InputError: no cluster is found, or nobody answers.
    """
    if how == "off":
        yield
        return
    try:
        if how == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(how[0], num_processes=how[1], process_id=how[2])
    except Exception as error:  # each cluster and the network behind it fail in their own way
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"distributed: {how}: cannot join the other processes ({reason})") from error
    try:
        yield
    except jax.errors.JaxRuntimeError as error:  # what the network says when another process is lost
        reason = str(error).strip().splitlines()[0][:200]
        print(f"sbmrl: another process was lost; go on with --resume ({reason})", file=sys.stderr, flush=True)
        os._exit(REQUEUE)  # without the others there is no orderly end; everything on disk is good
    finally:
        jax.distributed.shutdown()


def is_first() -> bool:
    """Whether this is the process that decides and writes."""
    return jax.process_index() == 0


def tell[T: (int, tuple[int, ...])](value: T) -> T:
    """What the first process passes, in every process."""
    if jax.process_count() == 1:
        return value
    told = multihost_utils.broadcast_one_to_all(np.asarray(value, np.int32))
    return int(told) if np.ndim(told) == 0 else tuple(int(x) for x in told)  # pyright: ignore[reportReturnType]


def smallest(value: int) -> int:
    """The least of what the processes pass."""
    if jax.process_count() == 1:
        return value
    return int(np.min(multihost_utils.process_allgather(np.int32(value))))


def any_of(flag: bool) -> bool:
    """Whether one of the processes passes True."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def gather(tree: Any) -> Any:
    """Arrays that lie over all devices, as numpy in every process."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(np.asarray, tree)


def on_first[T](action: Callable[[], T]) -> T | None:
    """Let the first process act, and the others wait until it has.

    Raises:
        Exception: whatever the action raised, in the first process.
        PeerError: it raised, in the others.
    """
    if jax.process_count() == 1:
        return action()
    result, failed = None, None
    if is_first():
        try:
            result = action()
        except Exception as error:
            failed = error
    if tell(int(failed is not None)):
        raise failed or PeerError
    return result


class stop_on_sigterm:  # noqa: N801  # read as a word in a with statement
    """While it is held, SIGTERM only asks the run to save and stop. Yields "has it been asked?"."""

    def __enter__(self) -> Callable[[], bool]:
        asked = threading.Event()
        self.previous: Any = None

        def ask(number: int, frame: types.FrameType | None) -> None:
            asked.set()

        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGTERM, ask)
        return asked.is_set

    def __exit__(self, *error: object) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGTERM, self.previous)
