"""Where the time of an update goes, and how far each phase is from what the machine could do.

Each phase is compiled as a program of its own over the same seeds, which lie on the devices as in training; what a
phase leaves is what the next one is given.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from sbmrl.benchmark.ceilings import Ceilings
from sbmrl.benchmark.counts import Work, together
from sbmrl.benchmark.sides import PHASES, Side, SideName, make_side
from sbmrl.core.devices import CPU_OPTIONS, over_devices
from sbmrl.core.experiment import Experiment
from sbmrl.core.options import with_traced
from sbmrl.core.rollout import Trajectory
from sbmrl.core.stackelberg import GameState
from sbmrl.experiment.program import Hyper, make_program
from sbmrl.experiment.solver import world_of
from sbmrl.learners.rollouts import Samples
from sbmrl.sweep.execute import pack, seed_key, traced_values, unpack
from sbmrl.sweep.memory import Layout, bytes_of_arrays, free_bytes, lay_out, room

WHOLE = "whole"


class Phase(NamedTuple):
    """A phase of an update, or the whole of it.

    Attributes:
        side: "follower" (in pretraining) or "leader" (in play).
        phase: "rollout", "advantage", "update" or "whole".
        num_seeds: side by side.
        seconds: of one update of all of them, the median of the repeats.
        work: of one update of one of them.
    """

    side: SideName
    phase: str
    num_seeds: int
    seconds: float
    work: Work

    @property
    def seconds_per_seed(self) -> float:
        """Of one update."""
        return self.seconds / self.num_seeds

    @property
    def operations_per_second(self) -> float:
        """Of all seeds together."""
        return self.work.operations / self.seconds_per_seed

    @property
    def bytes_per_second(self) -> float:
        """Of all seeds together."""
        return self.work.bytes / self.seconds_per_seed

    def share_of_arithmetic(self, ceilings: Ceilings) -> float:
        """Operations per second over those of a large matrix product."""
        return self.operations_per_second / ceilings.operations

    def share_of_limit(self, ceilings: Ceilings) -> float:
        """The least time over the measured one; the least is that of the operations or of the bytes, if it is more."""
        return max(self.share_of_arithmetic(ceilings), self.bytes_per_second / ceilings.bytes)


def measure_phases(experiment: Experiment, name: SideName, num_seeds: int, num_repeats: int = 5) -> list[Phase]:
    """Time the phases of a side of an experiment of the contextual scheme, and the whole update.

    All seeds go side by side, or as many of them as the share of the memory holds that a sweep may take.
    """
    programs, state, work = _prepare(experiment, name, num_seeds)
    _, trajectory = programs["rollout"](state)
    new = programs["advantage"](state, trajectory)
    inputs = {"rollout": (), "advantage": (trajectory,), "update": (trajectory, new), WHOLE: ()}
    seconds: dict[str, list[float]] = {phase: [] for phase in (*PHASES, WHOLE)}
    for number in range(num_repeats + 1):  # in turn, so that a slow moment of the machine meets all of them
        for phase, found in seconds.items():
            began = time.perf_counter()
            jax.block_until_ready(programs[phase](state, *inputs[phase]))
            if number:  # the first one touches memory for the first time
                found.append(time.perf_counter() - began)
    width = len(jax.tree.leaves(state)[0])
    return [Phase(name, phase, width, statistics.median(found), work[phase]) for phase, found in seconds.items()]


def _prepare(
    experiment: Experiment, name: SideName, num_seeds: int
) -> tuple[Mapping[str, Callable[..., Any]], Any, Mapping[str, Work]]:
    """The phases as programs of the state `[W, ...]` and what they are given, that state, and the work of each."""
    world, fixed = world_of(experiment), traced_values(experiment)
    program = make_program(experiment, world)
    like = jax.eval_shape(program.init, jax.random.key(0), fixed)
    layout = _layout(make_side(experiment, world, name), like, num_seeds)
    seeds = jax.device_put(np.arange(layout.width, dtype=np.int32), over_devices(layout.mesh))

    def compiled(function: Callable[..., Any], num_arrays: int) -> Callable[..., Any]:
        mapped = layout.map(function, (True, False, *[True] * num_arrays), CPU_OPTIONS)
        return lambda *arrays: mapped(seeds, fixed, *arrays)

    def phase(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(seed: jax.Array, fixed: Hyper, packed: Any, *given: Any) -> Any:
            side = make_side(with_traced(experiment, fixed), world, name)
            return pack(call(side, seed_key(0, seed), unpack(packed, like), *given))

        return run

    start = compiled(lambda seed, fixed: pack(program.init(seed_key(0, seed), fixed)), 0)
    programs = {
        "rollout": compiled(phase(lambda side, key, state: side.rollout(key, state)), 1),
        "advantage": compiled(phase(lambda side, key, state, trajectory: _new(side.advantage(state, trajectory))), 2),
        "update": compiled(phase(_update), 3),
        WHOLE: compiled(phase(lambda side, key, state: side.whole(key, state)), 1),
    }
    work = make_side(experiment, world, name).work
    return programs, start(), {**work, WHOLE: together(work.values())}


def _new(samples: Samples) -> Any:
    """The samples without what they share with the trajectory: as a result of a program it would be copied."""
    return samples._replace(observation=None, answer=None)  # pyright: ignore[reportArgumentType]


def _update(side: Side, key: jax.Array, state: GameState, trajectory: Trajectory, new: Samples) -> Any:
    samples = new._replace(observation=trajectory.observation, answer=trajectory.answer)
    return side.update(key, state, samples)


def _layout(side: Side, like: GameState, num_seeds: int) -> Layout:
    def arrays(key: jax.Array, state: GameState) -> Any:
        _, trajectory = side.rollout(key, state)
        return state, trajectory, _new(side.advantage(state, trajectory)), side.whole(key, state)

    needed = bytes_of_arrays(jax.eval_shape(lambda key, state: pack(arrays(key, state)), jax.random.key(0), like))
    return lay_out(room(num_seeds, needed, free_bytes()).fit, bytes_of_arrays(jax.eval_shape(pack, like)))
