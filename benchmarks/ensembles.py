"""What fitting an ensemble and playing in it reach of this machine's arithmetic, measured in the same process.

python benchmarks/ensembles.py [--seeds 8] [--members 4] [--hidden 256 256] [--batch 256] [--starts 64] [--repeats 5]

Prints JSON. Pendulum, all seeds side by side as in a sweep. Counted are matrix products alone, those of the gradient
steps and of the judging behind each epoch, or those of imagined steps; the policy's are left out. Shares are of a large
product timed in turn with both, so that a busy machine slows all three. Medians; the best of all repeats beside them.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sbmrl.benchmark.ceilings import measure_ceilings
from sbmrl.benchmark.counts import backward_products, forward_products
from sbmrl.core.devices import CPU_OPTIONS, over_devices
from sbmrl.core.players import MultiLayerPerceptron
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble
from sbmrl.games.continuous.episodes import EpisodeState, Played, imagined_environment, play_from
from sbmrl.games.continuous.fitting import steps_per_epoch
from sbmrl.games.continuous.replay import Transitions, empty, encode_action, write
from sbmrl.games.continuous.simulator import draw_starts
from sbmrl.games.continuous.worlds.pendulum import ACTIONS, pendulum
from sbmrl.sweep import execute, memory

_SIZE, _STEPS = 4_000, 50  # slots of the replay; imagined steps
_POLICY = MultiLayerPerceptron((32, 32), 1, output_gain=0.01)


def filled(key: jax.Array) -> Any:
    """A full replay of single steps from the world's starts under uniform actions."""
    simulator = pendulum()
    observation = draw_starts(key, simulator, _SIZE)
    action = 2 * jax.random.uniform(key, (_SIZE, 1), minval=-1.0)
    following = jax.vmap(simulator.rules.step, (None, None, 0, 0))(key, simulator.physics, observation, action)
    transitions = Transitions(observation, encode_action(ACTIONS, action), following)
    return write(empty(_SIZE, 3, 1), transitions, jnp.ones(_SIZE, bool))


def programs(options: EnsembleOptions, num_seeds: int, num_starts: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """What is timed, with the operations of its matrix products."""
    simulator = pendulum().replace(horizon=_STEPS)
    family = make_ensemble(simulator.rules, options)

    def prepare(seed: jax.Array) -> Any:
        key = jax.random.key(seed)
        return (
            key,
            family.init(key),
            filled(key),
            _POLICY.init(key, jnp.zeros(3)),
            draw_starts(key, simulator, options.num_members * num_starts),
        )

    def fit(key: jax.Array, state: Any, replay: Any) -> Any:
        return family.fit(key, state, [(replay, 1.0)], 200, None)

    def plays_in(key: jax.Array, state: Any, policy: Any, starts: jax.Array) -> Played:
        def act(key: jax.Array, observation: jax.Array, time: jax.Array) -> jax.Array:
            mean: Any = _POLICY.apply(policy, observation)
            return mean + 0.5 * jax.random.normal(key, mean.shape)

        episodes = starts, EpisodeState(starts, jnp.zeros(len(starts), jnp.int32))
        return play_from(key, imagined_environment(simulator, state.model, "fixed"), simulator, act, episodes)

    layout = memory.lay_out(num_seeds, memory.bytes_of_arrays(jax.eval_shape(lambda: prepare(jnp.int32(0))[1])))
    seeds = jax.device_put(jnp.arange(layout.width), over_devices(layout.mesh))
    key, state, replay, policy, starts = layout.map(prepare, (True,), CPU_OPTIONS)(seeds)
    fits, plays = layout.map(fit, (True,) * 3, CPU_OPTIONS), layout.map(plays_in, (True,) * 4, CPU_OPTIONS)

    widths = (4, *options.hidden, 3)
    steps = options.num_epochs * steps_per_epoch(_SIZE, options) * options.minibatch_size
    judged = (options.num_epochs + 1) * _SIZE // options.holdout_every
    of_fit = steps * (forward_products(widths) + backward_products(widths)) + judged * forward_products(widths)
    runs = layout.width * options.num_members
    return {
        "fit": (lambda: fits(key, state, replay), runs * of_fit),
        "imagine": (lambda: plays(key, state, policy, starts), runs * num_starts * _STEPS * forward_products(widths)),
    }


def measure(options: EnsembleOptions, num_seeds: int, num_starts: int, repeats: int) -> dict[str, Any]:
    """Operations per second of the ceiling, the fit and the play."""
    found: dict[str, list[float]] = {"ceiling": []}
    timed = programs(options, num_seeds, num_starts)
    for number in range(repeats + 1):
        found["ceiling"].append(measure_ceilings().operations)
        for name, (call, operations) in timed.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            if number:  # the first one compiles
                found.setdefault(name, []).append(operations / (time.perf_counter() - began))
    ceiling = statistics.median(found["ceiling"])
    return {
        name: {"median": statistics.median(rates), "best": max(rates), "share": statistics.median(rates) / ceiling}
        for name, rates in found.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 8), ("members", 4), ("batch", 256), ("starts", 64), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    asked = parser.parse_args()
    execute.prepare_devices()
    options = EnsembleOptions(
        num_members=asked.members, hidden=tuple(asked.hidden), minibatch_size=asked.batch, num_epochs=4
    )
    load = os.getloadavg()
    rates = measure(options, asked.seeds, asked.starts, asked.repeats)
    told = {"asked": vars(asked), "device": jax.devices()[0].device_kind, "num_devices": jax.device_count()}
    print(json.dumps(told | {"load": [load, os.getloadavg()], "operations_per_second": rates}, indent=1))


if __name__ == "__main__":
    main()
