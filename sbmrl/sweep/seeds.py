"""Many seeds of an experiment from a notebook, as fast as from the command line."""

from collections.abc import Callable

import jax
import numpy as np

from sbmrl.core.experiment import Experiment
from sbmrl.core.options import require_count
from sbmrl.core.parts import World
from sbmrl.experiment.program import Hyper, Result, make_program, make_train
from sbmrl.sweep.execute import cpu_options, pack, seed_keys, traced_values
from sbmrl.sweep.memory import bytes_of_arrays, lay_out


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
        InputError: the experiment cannot run, or `num_seeds` is below 1.
    """
    require_count(num_seeds, "num_seeds")
    program, own = make_program(experiment, world), traced_values(experiment)
    layout = lay_out(
        num_seeds, bytes_of_arrays(jax.eval_shape(lambda key: pack(program.init(key, own)), jax.random.key(0)))
    )
    mapped = layout.map(make_train(experiment, world), (True, False), cpu_options(experiment))

    def train(hyper: Hyper | None = None, root_seed: int = 0) -> Result:
        keys = seed_keys(root_seed, np.minimum(np.arange(layout.width), num_seeds - 1))
        result = mapped(keys, {**own, **{name: np.float32(value) for name, value in (hyper or {}).items()}})
        return jax.tree.map(lambda x: x[:num_seeds], result)

    return train
