"""sbmrl's side of the comparison with Stable-Baselines3: pretraining the poster's follower, all seeds side by side."""

import dataclasses
import time

from peer_serve import Answer, Requests, serve

import sbmrl
from sbmrl.sweep.execute import Compiled, Engine, Progress, Saved, all_runs
from sbmrl.sweep.files import describe_machine

GAPS = ("follower_gap_true", "follower_gap_random")


def follower_experiment(total_steps: int, num_points: int) -> sbmrl.Experiment:
    """The poster's MAL with the follower of the reference run, which had no entropy bonus."""
    return sbmrl.preset("poster", "mal").replace(
        follower__total_steps=total_steps, follower__entropy_coefficient=0.0, num_records=num_points
    )


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Compile the pretraining; a request to time runs all of it, from the start."""
    experiment = follower_experiment(settings["total_steps"], settings["num_points"])
    program = sbmrl.make_program(experiment)
    pretraining = program._replace(stages=program.stages[:1])
    num_seeds, parts = settings["num_seeds"], list[Compiled]()
    engine, runs = Engine(experiment, pretraining, num_seeds, compiled=parts.append), all_runs(num_seeds)
    engine.bytes_needed(runs)  # compiles what it measures
    curve: list[Progress] = []

    def timed() -> Answer:
        stamps: list[float] = []

        def after_record(saved: Saved) -> None:
            stamps.append(time.perf_counter())

        curve[:] = engine.run(runs, after_record=after_record).curves
        # The first record is the warm-up; a record includes the exact measurement of all seeds that ends it.
        return {"steps": num_seeds * (curve[-1].steps - curve[0].steps), "seconds": stamps[-1] - stamps[0]}

    def learned() -> Answer:
        metrics = {name: [point.metrics[name].tolist() for point in curve] for name in GAPS}
        return {"steps": [point.steps for point in curve], "metrics": metrics}

    ready = {
        "compile_seconds": sum(part.seconds for part in parts if part.name == program.stages[0].name),
        "options": dataclasses.asdict(experiment.scheme.follower),
        "machine": describe_machine(),
    }
    return ready, {"time": timed, "learn": learned}


if __name__ == "__main__":
    serve(prepare)
