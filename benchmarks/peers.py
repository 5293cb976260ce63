"""sbmrl against its peers, on this machine and in one run: Stable-Baselines3 on the follower, rejax on CartPole.

python benchmarks/peers.py [--quick] --out FILE.json

Environment steps per second over all seeds, compilation apart, and what was learned from equally many steps. Each
peer runs in a virtual environment of its own, made from its requirements file when it is first needed. The sides take
turns, repeat after repeat, and only one computes at a time. All sides run on CPU. FILE.png shows the learning curves.

- stable_baselines3: pretraining the poster's follower without an entropy bonus, the reference run's networks and
  budget. sbmrl trains all seeds in one program over one device per core, every record measured exactly in the timed
  part; Stable-Baselines3 trains one seed in each of as many processes as there are cores. The first point of the
  curve is on neither side timed.
- rejax: PPO on CartPole-v1 with equal budget, networks and hyper-parameters and no evaluation in the timed part.
  rejax runs as its README says, `jit(vmap(train))`, and also with `pmap` over one device per core; the faster counts.
"""

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from peer_environments import clean_variables, default_root, prepare_environment
from peer_figure import draw
from peer_serve import Answer
from peer_sides import Side, alternate, compare_speeds, join_curves, start_side

import sbmrl
from sbmrl.core.files import write_bytes, write_json
from sbmrl.errors import InputError, require

HERE = Path(__file__).resolve().parent


class Budget(NamedTuple):
    """How much is measured: repeats, and for both tasks the steps of a seed and the points of its learning curve."""

    num_repeats: int
    follower: Answer
    cartpole: Answer


FULL = Budget(
    num_repeats=3,
    follower={"total_steps": 256_000, "num_points": 25},
    cartpole={"total_steps": 81_920, "num_points": 10},
)
QUICK = Budget(
    num_repeats=2,
    follower={"total_steps": 20_480, "num_points": 5},
    cartpole={"total_steps": 20_480, "num_points": 5},
)
CARTPOLE: Answer = {  # for both sides; the learning rate is rejax's default
    "num_environments": 16,
    "num_steps": 128,
    "num_epochs": 4,
    "num_minibatches": 4,
    "hidden": [64, 64],
    "learning_rate": 3e-4,
    "discount": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "entropy_coefficient": 0.01,
    "value_coefficient": 0.5,
    "max_gradient_norm": 1e9,  # rejax's default is no limit, and it means one of every entry where sbmrl means the norm
    "num_episodes": 16,  # of an evaluation: means of this many returns, actions drawn from the policy
    "max_episode_steps": 500,
}


def tell(message: str) -> None:
    """Progress, on stderr."""
    print(f"peers: {message}", file=sys.stderr, flush=True)


def num_cores() -> int:
    """The cores that this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


def jax_variables(num_devices: int | None = None) -> dict[str, str]:
    """The environment of a jax process: CPU, no cache, so that it says what compiling costs."""
    variables = clean_variables() | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    return variables if num_devices is None else variables | {"JAX_NUM_CPU_DEVICES": str(num_devices)}


def start_sbmrl(stack: contextlib.ExitStack, script: str, settings: Answer, num_devices: int) -> Side:
    """Our side, with this Python and this sbmrl."""
    variables = jax_variables(num_devices) | {"PYTHONPATH": str(Path(sbmrl.__file__).parents[1])}
    return start_side(stack, "sbmrl", (Path(sys.executable), HERE / script), [settings], variables)


def measure(sides: Sequence[Side], num_repeats: int) -> dict[str, Any]:
    """Everything about a comparison: sbmrl is the first side, the faster of the others counts."""
    speeds = compare_speeds(alternate(sides, num_repeats, tell))
    compared = [side for side in sides if side.name in (sides[0].name, speeds["ratio_against"])]
    ready = {side.name: dict(side.workers[0].ready) for side in sides}
    return {
        **speeds,
        "compile_seconds": {name: own.pop("compile_seconds") for name, own in ready.items()},
        "learning": {side.name: join_curves(side.ask("learn")) for side in compared},
        "sides": ready,
    }


def against_stable_baselines3(python: Path, num_seeds: int, budget: Budget) -> dict[str, Any]:
    """Pretraining the poster's follower: all seeds in one program against one process per core."""
    settings, cores = {"num_seeds": num_seeds, **budget.follower}, num_cores()
    with contextlib.ExitStack() as stack:
        ours = start_sbmrl(stack, "peer_sbmrl_follower.py", settings, cores)
        own = [budget.follower | {"process": number, "num_processes": cores} for number in range(cores)]
        theirs = start_side(stack, "Stable-Baselines3", (python, HERE / "peer_sb3.py"), own, clean_variables())
        return {"task": "follower", "settings": settings, **measure([ours, theirs], budget.num_repeats)}


def against_rejax(python: Path, num_seeds: int, budget: Budget) -> dict[str, Any]:
    """PPO on CartPole-v1: both sides all seeds in one program."""
    settings = {"num_seeds": num_seeds, **CARTPOLE, **budget.cartpole}
    devices = max(count for count in range(1, num_cores() + 1) if num_seeds % count == 0)
    command = (python, HERE / "peer_rejax.py")
    with contextlib.ExitStack() as stack:
        sides = [start_sbmrl(stack, "peer_sbmrl_cartpole.py", settings, devices)]
        sides.append(start_side(stack, "rejax", command, [settings], jax_variables()))
        if devices > 1:
            name = f"rejax, {devices} devices"
            sides.append(start_side(stack, name, command, [settings], jax_variables(devices)))
        return {"task": "CartPole-v1", "settings": settings, **measure(sides, budget.num_repeats)}


def processor() -> str:
    """The processor's name, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def summary(name: str, compared: dict[str, Any]) -> str:
    """A comparison in a few lines."""
    low, high = compared["ratio_range"]
    speeds = ", ".join(f"{side} {speed:,.0f}" for side, speed in compared["steps_per_second_median"].items())
    num_repeats = len(compared["ratio_of_each_repeat"])
    lines = [
        f"{name}: sbmrl is {compared['ratio']:.3g} times as fast as {compared['ratio_against']} "
        f"({low:.3g} to {high:.3g} in {num_repeats} repeats)",
        f"  steps per second: {speeds}",
    ]
    for metric in compared["learning"]["sbmrl"]["curves"]:
        told = []
        for side, learning in compared["learning"].items():
            curve, count = learning["curves"][metric], learning["num_seeds"]
            deviation = curve["standard_deviation"][-1]
            spread = "" if deviation is None else f" ± {deviation:.3g}"
            told.append(f"{side} {curve['mean'][-1]:.3g}{spread} ({count} {'seed' if count == 1 else 'seeds'})")
        lines.append(f"  {metric} after {compared['settings']['total_steps']:,} steps: {', '.join(told)}")
    return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"peers: {message}\n")


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what cannot be written is refused before any work is done."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--force", action="store_true", help="overwrite --out if it exists")
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer repeats, a fraction of the steps")
    parser.add_argument("--num-seeds", type=positive, default=128, help="side by side in jax (default 128)")
    parser.add_argument("--environments", type=Path, default=default_root(), metavar="DIR", help="of the peers")
    options = parser.parse_args(arguments)
    try:
        require(options.out.suffix == ".json", "out", "must end in .json", options.out)
        for path in (options.out, options.out.with_suffix(".png")):
            require(options.force or not path.exists(), "out", "pass --force to overwrite", f"{path}, which exists")
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except InputError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"out: {options.out} cannot be written ({error.strerror or error})")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    options, began = parse(arguments), time.perf_counter()
    budget = QUICK if options.quick else FULL
    try:
        pythons = {
            name: prepare_environment(name, HERE / f"requirements-{name}.txt", options.environments)
            for name in ("sb3", "rejax")
        }
        compared = {
            "stable_baselines3": against_stable_baselines3(pythons["sb3"], options.num_seeds, budget),
            "rejax": against_rejax(pythons["rejax"], options.num_seeds, budget),
        }
    except InputError as error:
        print(f"peers: {error}", file=sys.stderr)
        sys.exit(2)
    machine = {"processor": processor(), "cores": num_cores()} | compared["rejax"]["sides"]["sbmrl"]["machine"]
    seconds = time.perf_counter() - began
    write_json(options.out, {**compared, "machine": machine, "quick": options.quick, "seconds": seconds})
    write_bytes(options.out.with_suffix(".png"), draw(compared).png)
    print("\n".join(summary(name, own) for name, own in compared.items()))


if __name__ == "__main__":
    main()
