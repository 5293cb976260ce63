"""Whether what makes an update fast is still there: ratios of times of this very process, no absolute ones.

python benchmarks/regression.py

A line for each ratio with its bound; one beyond its bound ends in exit code 1. To be run alone, with the command line's
own compiler options; about a minute and a half on two cores. What is compared is timed in turn, so that a busy
machine slows both sides; and a ratio must be beyond its bound three times, as a neighbour on the machine may slow one
side alone. The bounds are between what was measured and what was measured with the code broken
(docs/performance.md).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import sbmrl
from sbmrl.benchmark.ceilings import measure_ceilings
from sbmrl.benchmark.phases import WHOLE, measure_phases
from sbmrl.benchmark.sides import PHASES
from sbmrl.benchmark.worlds import measure_update
from sbmrl.core.devices import CPU_OPTIONS, over_devices
from sbmrl.core.players import MultiLayerPerceptron
from sbmrl.sweep import execute, memory

_REPEATS = 9
_ATTEMPTS = 3
_STEPS = 50  # gradient steps of a program
_BATCH = 64


class Ratio(NamedTuple):
    """A ratio, the most that it may be, and what has been lost where it is more."""

    name: str
    value: float
    most: float
    lost: str


def medians(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each call, made in turn."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(_REPEATS + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            if number:  # the first one compiles
                found[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def training(network: Any, apply: Callable[..., Any], widths: tuple[int, ...], num_seeds: int) -> Callable[[], Any]:
    """`_STEPS` steps of Adam on a network of those widths, for many seeds that lie on the devices as in a sweep."""
    optimizer = optax.adam(1e-4)

    def init(seed: jax.Array) -> Any:
        params = network.init(jax.random.key(seed), jnp.zeros(widths[0]))
        return params, optimizer.init(params)

    def step(state: Any, batch: jax.Array) -> Any:
        params, moments = state
        slope = jax.grad(lambda params: jnp.sum(apply(params, batch) ** 2))(params)
        updates, moments = optimizer.update(slope, moments)
        return (optax.apply_updates(params, updates), moments), None

    def train(state: Any, seen: jax.Array) -> Any:
        return jax.lax.scan(step, state, seen)[0]

    layout = memory.lay_out(num_seeds, memory.bytes_of_arrays(jax.eval_shape(init, 0)))
    seeds = jax.device_put(jnp.arange(layout.width), over_devices(layout.mesh))
    states = layout.map(init, (True,), CPU_OPTIONS)(seeds)
    seen = jax.random.normal(jax.random.key(0), (_STEPS, _BATCH, widths[0]))
    mapped = layout.map(train, (True, False), CPU_OPTIONS)
    return lambda: mapped(states, seen)


def plain(params: Any, features: jax.Array) -> Any:
    """The network as it is written down: h W + b, tanh between the layers."""
    layers = params["params"]
    for number in range(len(layers)):
        layer = layers[f"Dense_{number}"]
        features = features @ layer["kernel"] + layer["bias"]
        features = jnp.tanh(features) if number + 1 < len(layers) else features
    return features


def batch_last() -> float:
    """Training the follower's network as `players` lays it out, over the same with the batch first."""
    widths = (15, 8, 8, 8, 8, 2)
    network = MultiLayerPerceptron(widths[1:-1], widths[-1], output_gain=0.01)
    found = medians(
        {name: training(network, apply, widths, 32) for name, apply in (("ours", network.apply), ("plain", plain))}
    )
    return found["ours"] / found["plain"]


def groups() -> float:
    """Cost per seed of training the leader's network, many seeds over few."""
    widths, few, many = (5, 64, 64, 3), 16, 512
    network = MultiLayerPerceptron(widths[1:-1], widths[-1], output_gain=0.01)
    found = medians({str(count): training(network, network.apply, widths, count) for count in (few, many)})
    return found[str(many)] / many / (found[str(few)] / few)


def _seconds_of(line: list[str], variables: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *line], env=variables, check=True, capture_output=True)
    return time.perf_counter() - began


def warm_start() -> float:
    """A process that trains for one record with all programs in the cache, over one that only imports what it needs."""
    with tempfile.TemporaryDirectory() as directory:
        variables = dict(os.environ) | {"JAX_COMPILATION_CACHE_DIR": f"{directory}/cache"}
        budget = ["--num-records", "1", "--leader.total-steps", "2048", "--follower.total-steps", "2048"]
        words = ["train", "mal", "--preset", "fast", "--num-seeds", "2", *budget, "--no-report", "--out"]
        train = [_seconds_of(["-m", "sbmrl", *words, f"{directory}/{number}"], variables) for number in range(4)]
        modules = "import sbmrl.commands.training, sbmrl.experiment.parts, orbax.checkpoint, distrax, scipy.stats"
        imports = [_seconds_of(["-c", modules], variables) for _ in range(3)]
    return statistics.median(train[1:]) / statistics.median(imports)  # the first one compiled


def ratios() -> Iterator[Ratio]:
    """All of them, each as soon as it is measured."""
    yield Ratio("batch last over batch first", batch_last(), 0.75, "the batch-last networks of players.py")
    yield Ratio("cost per seed, 512 seeds over 16", groups(), 1.1, "groups that stay in a core's cache (memory.py)")
    found = {phase.phase: phase for phase in measure_phases(sbmrl.preset("poster", "mal"), "follower", 64, _REPEATS)}
    parts = sum(found[phase].seconds for phase in PHASES)
    yield Ratio("whole over its phases", found[WHOLE].seconds / parts, 1.25, "an update of just its phases")
    of_update = found["rollout"].seconds / found["update"].seconds
    yield Ratio("rollout over update", of_update, 0.85, "random numbers compiled straight (threefry.py)")
    ceilings = measure_ceilings()
    reached = found["update"].share_of_arithmetic(ceilings)
    yield Ratio(
        "matrix product over update, operations a second", 1.0 / reached, 11, "fast gradient steps (players.py, groups)"
    )
    update = measure_update("mal", 64, _REPEATS)
    yield Ratio(
        "exact update over its products, 64 states", update.seconds / update.bound(ceilings), 60, "derivatives by hand"
    )
    yield Ratio(
        "warm start over its imports", warm_start(), 2.6, "the compilation cache, or what is kept beside it (shelf.py)"
    )


def main() -> int:
    """Print every ratio; 1 if any is beyond its bound in each of `_ATTEMPTS`."""
    execute.prepare_devices()
    beyond: set[str] = set()
    for attempt in range(_ATTEMPTS):
        found = list(ratios())
        missed = {ratio.name for ratio in found if not ratio.value <= ratio.most}
        beyond = missed & beyond if attempt else missed
        for ratio in found:
            told = f"FAILED: lost {ratio.lost}" if ratio.name in missed else "ok"
            print(f"{ratio.name}: {ratio.value:.2f}, at most {ratio.most:g}: {told}", flush=True)
        if not beyond:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
