"""Stable-Baselines3's side: pretraining the poster's follower, seed after seed, in one process of one thread.

peers.py starts one such process for each core.
"""

import itertools
import time

import torch
from peer_serve import Answer, Requests, serve, versions
from sb3_world import POSTER_SETTINGS, evaluate, make_agent

GAPS = ("follower_gap_true", "follower_gap_random")


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Nothing to compile; a request to time trains this process' next seed, from the start."""
    torch.set_num_threads(1)
    num_points = settings["num_points"]
    steps_per_point = settings["total_steps"] // num_points
    seeds = itertools.count(settings["process"], settings["num_processes"])
    steps: list[int] = []
    curves: dict[str, list[list[float]]] = {name: [] for name in GAPS}  # [seed][point]

    def timed() -> Answer:
        agent, own, seconds = make_agent(next(seeds)), [], 0.0
        steps.clear()
        for point in range(num_points):
            began = time.perf_counter()
            agent.learn(steps_per_point, reset_num_timesteps=False)
            if point > 0:  # the first is the warm-up
                seconds += time.perf_counter() - began
            own.append(evaluate(agent))
            steps.append(agent.num_timesteps)
        for name in GAPS:
            curves[name].append([judged[name] for judged in own])
        return {"steps": steps[-1] - steps[0], "seconds": seconds}

    def learned() -> Answer:
        by_point = {name: [list(point) for point in zip(*own, strict=True)] for name, own in curves.items()}
        return {"steps": steps, "metrics": by_point}

    ready = {
        "compile_seconds": 0.0,
        "options": POSTER_SETTINGS,
        "versions": versions("stable-baselines3", "gymnasium", "torch", "numpy"),
    }
    return ready, {"time": timed, "learn": learned}


if __name__ == "__main__":
    serve(prepare)
