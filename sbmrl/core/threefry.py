"""jax's random bits, the same to the last one, compiled as straight-line code on CPU.

jax compiles the twenty rounds of threefry on CPU as a loop of five, which XLA can neither fuse nor vectorise with what
is around it: a draw of a few thousand numbers inside a scan then costs more than the step that wanted it. GPUs and
TPUs have kernels of their own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry2x32_p
from jax.interpreters.mlir import lower_fun, register_lowering

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)


def threefry(key1: jax.Array, key2: jax.Array, count1: jax.Array, count2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

    All arguments and results are uint32 and broadcast against each other.
    """
    keys = (key1, key2, key1 ^ key2 ^ _PARITY)
    left, right = count1 + keys[0], count2 + keys[1]
    for number in range(20):
        rotation = np.uint32(_ROTATIONS[number % 8])
        left = left + right
        right = left ^ ((right << rotation) | (right >> (np.uint32(32) - rotation)))
        if number % 4 == 3:  # the key again, behind every fourth round
            group = number // 4 + 1
            left, right = left + keys[group % 3], right + keys[(group + 1) % 3] + np.uint32(group)
    # One array of both words is one kernel to compile, where two arrays would be two with all rounds in each. Without
    # the barrier XLA tries to fuse draws from split keys from split keys, each of whose words it would compute again
    # for every use: some programs then hardly compile at all.
    words = jax.lax.optimization_barrier(jnp.where(_is_first(jnp.ndim(left)), left, right))
    return words[0], words[1]


def _is_first(num_axes: int) -> jax.Array:
    """`[2, 1, ...]`: true, false."""
    return jax.lax.broadcasted_iota(np.uint32, (2,) + (1,) * num_axes, 0) == 0


_straight = False


def is_straight() -> bool:
    """Whether jax's threefry is compiled as `threefry` above."""
    return _straight


def compile_straight() -> None:
    """From here on, compile jax's threefry on CPU as `threefry` above; programs compiled before stay as they are."""
    global _straight  # as what it tells of: jax's registry of lowerings
    _straight = True
    register_lowering(threefry2x32_p, lower_fun(threefry, multiple_results=True), platform="cpu", inline=False)
