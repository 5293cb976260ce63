"""Many seeds of an experiment from a notebook, as fast as from the command line."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sbmrl.core.devices import compiler_options, over_devices
from sbmrl.core.experiment import Experiment
from sbmrl.core.options import require_count
from sbmrl.core.parts import World
from sbmrl.errors import require_known
from sbmrl.experiment.program import Hyper, Result, make_program, make_train
from sbmrl.experiment.solver import world_of
from sbmrl.sweep.execute import cpu_options, pack, seed_key, traced_values
from sbmrl.sweep.memory import bytes_of_arrays, lay_out
from sbmrl.sweep.shelf import NO_SHELF, Shelf, shelf_of

_SEEDS = ("many seeds in one call",)  # apart from a sweep's programs


def make_train_seeds(experiment: Experiment, num_seeds: int, world: World | None = None) -> Callable[..., Result]:
    """`train(hyper={}, root_seed=0) -> Result`: the seeds 0 … N−1 side by side, one compiled program for all calls.

    It is `jax.jit(jax.vmap(make_train(experiment)))` of the command line's keys, in the layout that a sweep has: seeds
    are spread over all devices, on CPU in groups whose parameters stay in a core's cache, with the compiler options of
    the command line. Call `sbmrl.prepare_devices()` before anything touches a device, else there is one CPU device
    only, random numbers are slow, and nothing is kept in the compilation cache.

    Args:
        experiment: the configuration.
        num_seeds: N. All of them have to fit the memory; a sweep (`run_plan`) cuts them into chunks.
        world: of the formulation's kind of game, if it is not the one that `env` names.

    Returns:
        A function of traced hyper-parameters by dotted name, the same for all seeds, and of the root of all random
        numbers. Its result has a leading axis `[N]` on each array.

    Raises:
        InputError: the experiment cannot run, or `num_seeds` is below 1; from a call, a name that is no traced
            hyper-parameter.
    """
    require_count(num_seeds, "num_seeds")
    program, own = make_program(experiment, world), traced_values(experiment)

    def shelf() -> Shelf:  # what a world of one's own is made of cannot be known
        return NO_SHELF if world is not None else shelf_of(experiment, world_of(experiment), num_seeds, _SEEDS)

    def state() -> Any:
        return jax.eval_shape(lambda key: pack(program.init(key, own)), jax.random.key(0))

    layout = lay_out(num_seeds, bytes_of_arrays(shelf().state(state)))
    numbers = np.minimum(np.arange(layout.width, dtype=np.int32), num_seeds - 1)
    seeds = jax.device_put(numbers, over_devices(layout.mesh))

    def of_seed(root: jax.Array, seed: jax.Array, hyper: Hyper) -> Result:
        return make_train(experiment, world)(seed_key(root, seed), hyper)

    @functools.cache
    def compiled(shelf: Shelf) -> Callable[..., Result]:
        function, options = shelf.load("train"), cpu_options(experiment)
        if function is None:
            mapped = layout.map(of_seed, (False, True, False), options)
            function = shelf.keep("train", mapped, (np.int32(0), seeds, own))
            if function is None:
                return mapped
        return jax.jit(function, compiler_options=compiler_options(options))

    def train(hyper: Hyper | None = None, root_seed: int = 0) -> Result:
        for name in hyper or {}:
            require_known(name, "hyper-parameter", own)
        given = {**own, **{name: np.float32(value) for name, value in (hyper or {}).items()}}
        result = compiled(shelf())(np.int32(root_seed), seeds, given)  # other settings of jax, another program
        return jax.tree.map(lambda x: x[:num_seeds], result)

    return train
