"""Practical PAL and MAL on Pendulum-v1 against their peers at equal real steps: rl-blox's PETS, rejax's PPO and SAC.

python benchmarks/continuous_peers.py [--quick] --out FILE.json [--only METHOD ...] [--add]

Return against real steps, and the seconds that a seed costs until its mean return is above -200. Each peer runs in a
virtual environment of its own, made from its requirements file when it is first needed. Methods run one after the
other, all on CPU, and FILE.json, FILE.md and FILE.png are written after each; --add puts methods into a file that
exists. The methods:

- pal, mal: `sbmrl train` in a process of its own, compiled anew, all seeds in one program; then one seed alone.
- pal_short: with one random episode to begin with instead of five.
- pets: with planning cut to 100 samples, 5 particles, 5 iterations and 15 steps ahead, so that it ends.
- pets_example: with the settings of its own example for Pendulum, for --limit seconds of planned steps.
- ppo, sac: with the settings that rejax ships for Pendulum, all seeds in one program.

A real step counts when it is made: the return of a policy stands at the steps made when its own episodes are over, for
PETS as for ours. A return of PETS is of one episode, so it is told as from an average start: less what the optimum
earns from the episode's own start, plus what it earns from all; "raw" in the JSON has the returns as they were.
"""

import argparse
import contextlib
import functools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
from peer_environments import default_root, prepare_environment
from peer_returns import Cost, describe, draw, even, table
from peer_serve import Answer
from peer_sides import Worker
from peers import HERE, Parser, jax_variables, num_cores, positive, processor, tell

import sbmrl
from sbmrl.core.files import write_bytes, write_json, write_text
from sbmrl.errors import InputError, require
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.grid import grid_optimum
from sbmrl.games.continuous.worlds.pendulum import FASTEST

ENV = "gymnax:Pendulum-v1"
PATIENCE = 6 * 3600.0  # seconds for one seed of PETS, or all of rejax's
GRID = ((201, 161), 21)  # points of angle and speed, torques: of the optimum that starts are told by
FASTEST_START = 1.0  # starts have any angle and a speed of at most this
EXAMPLE: Answer = {  # rl-blox's own example for Pendulum-v1
    "num_random": 600,
    "steps_per_fit": 200,
    "num_first_epochs": 300,
    "num_epochs": 10,
    "horizon": 25,
    "num_particles": 20,
    "num_samples": 400,
    "num_iterations": 10,
}
CUT: Answer = EXAMPLE | {"horizon": 15, "num_particles": 5, "num_samples": 100, "num_iterations": 5}
NORMALISED: Answer = {"agent_kwargs": {"activation": "swish"}, "normalize_observations": True}
MODEL_FREE: dict[str, Answer] = {  # rejax's own configuration for Pendulum-v1
    "ppo": NORMALISED
    | {"num_envs": 100, "num_steps": 100, "num_epochs": 10, "num_minibatches": 10, "learning_rate": 1e-3}
    | {"max_grad_norm": 10.0, "gamma": 0.995, "gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.0, "vf_coef": 0.5},
    "sac": NORMALISED
    | {"num_envs": 1, "buffer_size": 10_000, "fill_buffer": 256, "batch_size": 256, "learning_rate": 0.01}
    | {"num_epochs": 1, "gamma": 0.99, "polyak": 0.98},
}
OURS = {
    "pal": ("pal",),
    "pal_short": ("pal", "--num-initial-episodes", "1"),
    "mal": ("mal",),
}
NAMES = {
    "pal": "sbmrl, PAL",
    "pal_short": "sbmrl, PAL, one first episode",
    "mal": "sbmrl, MAL",
    "pets": "rl-blox, PETS, planning cut",
    "pets_example": "rl-blox, PETS, its example's settings",
    "sac": "rejax, SAC",
    "ppo": "rejax, PPO",
}


class Budget(NamedTuple):
    """How much is measured: real steps of a seed of each peer, and the points of a learning curve."""

    pets_steps: int
    steps: Mapping[str, int]
    num_points: int


# rejax's configuration says 150,000 steps of PPO, but evaluations round them up to 750,000.
FULL = Budget(pets_steps=2_000, steps={"ppo": 750_000, "sac": 10_000}, num_points=25)
QUICK = Budget(pets_steps=620, steps={"ppo": 30_000, "sac": 2_400}, num_points=3)


def read_run(directory: Path, processor_seconds: float) -> tuple[list[int], list[list[float]], Cost]:
    """Real steps, returns of every seed, and seconds, of what `sbmrl train` has left; records cost alike."""
    curves = pl.read_parquet(directory / "metrics.parquet").filter(pl.col("stage") == "play").sort("steps", "seed")
    real = curves.filter(pl.col("metric") == "real_steps").group_by("steps", maintain_order=True).first()
    returns = curves.filter(pl.col("metric") == "exact_return").group_by("steps", maintain_order=True).agg("value")
    seconds = json.loads((directory / "meta.json").read_text(encoding="utf-8"))["seconds"]
    points = returns["value"].to_list()
    until = [seconds["run"] * (number + 1) / len(points) for number in range(len(points))]
    return (
        [round(count) for count in real["value"]],
        points,
        Cost(seconds["compile"], seconds["run"], until, processor_seconds),
    )


def train(key: str, num_seeds: int) -> dict[str, Any]:
    """`sbmrl train`, from no compilation cache."""
    variables = jax_variables(num_cores()) | {"PYTHONPATH": str(Path(sbmrl.__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        line = ["train", *OURS[key], "--env", ENV, "--num-seeds", str(num_seeds), "--no-report", "--out", str(out)]
        began, used = time.perf_counter(), processor_seconds_of_children()
        done = subprocess.run([sys.executable, "-m", "sbmrl", *line], capture_output=True, text=True, env=variables)
        wall = time.perf_counter() - began
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise InputError(f"sbmrl: exit code {done.returncode}: {lines[-1]}")
        own = read_run(out, processor_seconds_of_children() - used)
        return describe(*own) | {"command": ["sbmrl", *line[:-2]], "wall_seconds": wall}


def processor_seconds_of_children() -> float:
    """Of all processes that were started here and have ended, on all cores."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def measure_ours(key: str, num_seeds: int) -> dict[str, Any]:
    """All seeds side by side, then one alone, whose return is no result but whose seconds are."""
    found, alone = train(key, num_seeds), train(key, 1)
    whole, compiling = alone["seconds_a_seed"], alone["compile_seconds"]
    told = f"{NAMES[key]}: one seed alone takes {whole:.3g} s, {compiling:.3g} s of them compiling."
    if found["goal"] is not None:
        steps = found["goal"]["real_steps"]
        share = (found["steps"].index(steps) + 1) / len(found["steps"])
        told += f" Compiled, it is at {steps:,} real steps after {share * alone['seconds_a_seed_compiled']:.3g} s."
    return found | {"alone": alone, "told": [told]}


def measure_model_free(python: Path, key: str, num_seeds: int, budget: Budget) -> dict[str, Any]:
    """rejax: timed without evaluation, then the curve."""
    total = budget.steps[key]
    settings = {"algorithm": key, "options": MODEL_FREE[key], "seed": 0, "num_seeds": num_seeds, "total_steps": total}
    settings["steps_per_point"] = total // budget.num_points
    with contextlib.closing(start(NAMES[key], python, "peer_model_free.py", settings)) as worker:
        worker.ask("time")
        timed = worker.answer()
        worker.ask("learn")
        learned = worker.answer()
    until = even(learned["steps"], timed["seconds"])
    cost = Cost(worker.ready["compile_seconds"], timed["seconds"], until, timed["processor_seconds"])
    return describe(learned["steps"], learned["returns"], cost) | {"settings": settings, "told": []} | worker.ready


def measure_pets(
    python: Path, key: str, num_seeds: int, total_steps: int, limit: float | None, script: str = "peer_pets.py"
) -> dict[str, Any]:
    """rl-blox: a process for each seed, one after the other; points are the episodes that all seeds have finished."""
    settings = (EXAMPLE if key == "pets_example" else CUT) | {"total_steps": total_steps, "limit_seconds": limit}
    answers, ready = [], {}
    for seed in range(1, num_seeds + 1):
        tell(f"{NAMES[key]}: seed {seed} of {num_seeds}")
        with contextlib.closing(start(NAMES[key], python, script, settings | {"seed": seed})) as worker:
            worker.ask("learn")
            answers.append(worker.answer())
            ready = worker.ready
    compiling = sum(answer["compile_seconds"] for answer in answers)
    whole = sum(answer["total_seconds"] for answer in answers)
    until = [sum(seconds) for seconds in zip(*(answer["seconds"] for answer in answers), strict=False)]
    processor_seconds = sum(answer["processor_seconds"] for answer in answers)
    cost = Cost(compiling, whole - compiling, [seconds - compiling for seconds in until], processor_seconds)
    levelled = [np.array(answer["returns"]) - above_average(answer["starts"]) for answer in answers]
    points = [list(point) for point in zip(*(own.tolist() for own in levelled), strict=False)]
    found = describe(answers[0]["steps"][: len(points)], points, cost)
    if found["steps"][-1] <= settings["num_random"]:  # no planned episode: nothing to show beside the others
        found |= {"steps": [], "goal": None}
    return {
        **found,
        "told": [timing(key, answer, settings) for answer in answers],
        "raw": answers,
        "settings": settings,
        **ready,
    }


def timing(key: str, answer: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What a planned step takes; and what all of the example's would, where the time was up before."""
    count, each = answer["num_planned"], answer["seconds_per_planned_step"]
    if each is None:
        return f"{NAMES[key]}: {count} planned steps in the time that it had."
    told = f"{NAMES[key]}: a planned step takes {each:.3g} s (median of {count})."
    if answer["out_of_time"]:
        hours = (settings["total_steps"] - settings["num_random"]) * each / 3600.0
        told += f" {settings['total_steps']:,} real steps would take {hours:.2g} h of planning (extrapolated)."
    return told


@functools.cache
def optimum() -> tuple[np.ndarray, float]:
    """`[N_1, N_2]` on the grid of angles and speeds: what can be earned from there; and from an average start."""
    values = np.asarray(grid_optimum(make_simulator(ENV), *GRID).first)
    angles = np.linspace(-math.pi, math.pi, 400, endpoint=False)
    speeds = np.linspace(-FASTEST_START, FASTEST_START, 41)
    everywhere = np.stack(np.meshgrid(angles, speeds), axis=-1).reshape(-1, 2)
    return values, float(interpolate(values, everywhere).mean())


def interpolate(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`[E]`: the grid's values at (angle, speed) `[E, 2]`; angles go round, and no start is near the fastest speeds."""
    highest = np.array([math.pi, FASTEST])
    place = (starts + highest) / (2.0 * highest) * [len(values), values.shape[1] - 1]
    return np.asarray(jax.scipy.ndimage.map_coordinates(values, list(place.T), order=1, mode="wrap"))


def above_average(starts: Sequence[Sequence[float]]) -> np.ndarray:
    """`[E]`: what the optimum earns from each start (angle, speed), less what it earns from an average one."""
    values, average = optimum()
    return interpolate(values, np.reshape(np.asarray(starts, float), (-1, 2))) - average


def start(name: str, python: Path, script: str, settings: Answer) -> Worker:
    """A peer's process, ready."""
    return Worker(name, [str(python), str(HERE / script)], settings, jax_variables(), PATIENCE)


def measure(key: str, options: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """One method, in the environment it needs."""
    if key in OURS:
        return measure_ours(key, options.num_seeds) | {"ours": True}
    peer = "rejax" if key in MODEL_FREE else "rl-blox"
    python = prepare_environment(peer, HERE / f"requirements-{peer}.txt", options.environments)
    if key in MODEL_FREE:
        found = measure_model_free(python, key, options.num_seeds, budget)
    elif key == "pets":
        found = measure_pets(python, key, options.pets_seeds, budget.pets_steps, None)
    else:
        found = measure_pets(python, key, 1, FULL.pets_steps, options.limit)
    return found | {"ours": False}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what cannot be written is refused before any work is done."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--force", action="store_true", help="overwrite --out if it exists")
    parser.add_argument("--add", action="store_true", help="keep the other methods of --out, which must exist")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="METHOD")
    parser.add_argument("--quick", action="store_true", help="some minutes: a fraction of the peers' steps")
    parser.add_argument("--num-seeds", type=positive, default=16, help="side by side in jax (default 16)")
    parser.add_argument("--pets-seeds", type=positive, default=2, help="of pets, one after the other (default 2)")
    parser.add_argument("--limit", type=positive, default=600, help="seconds of pets_example (default 600)")
    parser.add_argument("--environments", type=Path, default=default_root(), metavar="DIR", help="of the peers")
    options = parser.parse_args(arguments)
    try:
        require(options.out.suffix == ".json", "out", "must end in .json", options.out)
        require(not options.add or options.out.is_file(), "out", "must exist to --add to it", options.out)
        free = options.force or options.add
        for path in (options.out, options.out.with_suffix(".md"), options.out.with_suffix(".png")):
            require(free or not path.exists(), "out", "pass --force to overwrite", f"{path}, which exists")
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except InputError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"out: {options.out} cannot be written ({error.strerror or error})")
    return options


def write(out: Path, found: Mapping[str, Any]) -> None:
    """The results of all methods so far, their table and their figure."""
    methods = {name: found["methods"][key] for key, name in NAMES.items() if key in found["methods"]}
    write_json(out, found)
    write_text(out.with_suffix(".md"), table(methods))
    write_bytes(out.with_suffix(".png"), draw({name: own for name, own in methods.items() if own["steps"]}).png)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure method after method, write and print."""
    options = parse(arguments)
    budget = QUICK if options.quick else FULL
    found: dict[str, Any] = {"machine": {"processor": processor(), "cores": num_cores()}, "methods": {}}
    if options.add:
        found = json.loads(options.out.read_text(encoding="utf-8"))
    try:
        for key in options.only:
            tell(NAMES[key])
            began = time.perf_counter()
            own = measure(key, options, budget)
            found["methods"][key] = own | {"quick": options.quick, "seconds": time.perf_counter() - began}
            write(options.out, found)
    except InputError as error:
        print(f"peers: {error}", file=sys.stderr)
        sys.exit(2)
    print(options.out.with_suffix(".md").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
