"""rl-blox's side: its PETS on gymnasium's Pendulum-v1, one seed, with the package's own loop, model and reward.

PETS plans every step and adds no noise, so an episode of its training is its evaluation too: one return from one
start. Every episode's start is told, so that the reader can say what was to be earned from there.
"""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from peer_serve import Answer, Requests, serve, versions
from rl_blox.algorithm.pets import create_pets_state, train_pets
from rl_blox.algorithm.pets_reward_models import pendulum_reward

NOTES = (
    "one process and one seed at a time: rl-blox does not train seeds side by side",
    "the clock starts when training is called; the planner's first compilation is told apart, those of every fit "
    "(its arrays grow with the data) are in the rest",
    "train_pets goes on from the old observation after a reset: the first action of an episode is planned from the end "
    "of the one before, and one transition in 200 joins two episodes",
)


class OutOfTimeError(Exception):
    """The planned steps took longer than they may."""


class Watched(gymnasium.Wrapper[np.ndarray, np.ndarray, np.ndarray, np.ndarray]):
    """The environment with a clock and a book: what every step took, where episodes began and what they earned."""

    def __init__(self, env: gymnasium.Env[np.ndarray, np.ndarray], num_random: int, limit: float | None) -> None:
        """Raise `OutOfTimeError` at the first step that ends more than `limit` seconds after the first planned one.

        That one waits for the first fit and for compilation.
        """
        super().__init__(env)
        self.num_random, self.limit = num_random, limit
        self.began = self.ready = time.perf_counter()
        self.stamps: list[float] = []  # when each step ended
        self.starts: list[list[float]] = []  # angle and speed
        self.episodes: list[tuple[int, float, float]] = []  # at their ends: steps so far, return, seconds since began
        self.earned = 0.0

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Note the start; the first reset comes when the planner has been compiled."""
        observation, info = self.env.reset(**options)
        if not self.stamps:
            self.ready = time.perf_counter()
        cosine, sine, speed = observation.tolist()
        self.starts.append([float(np.arctan2(sine, cosine)), speed])
        self.earned = 0.0
        return observation, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Note the reward, and the time when all of it is done: jax hands over actions that it still computes."""
        observation, reward, terminated, truncated, info = self.env.step(np.asarray(action))
        self.earned += float(reward)
        self.stamps.append(time.perf_counter())
        if terminated or truncated:
            self.episodes.append((len(self.stamps), self.earned, self.stamps[-1] - self.began))
        planned = self.stamps[self.num_random :]
        if self.limit is not None and planned and planned[-1] - planned[0] > self.limit:
            raise OutOfTimeError
        return observation, float(reward), terminated, truncated, info


def learn(settings: Mapping[str, Any]) -> Answer:
    """Train once, until all steps are made or the time is up."""
    num_random, steps_per_fit = settings["num_random"], settings["steps_per_fit"]
    environment = Watched(gymnasium.make("Pendulum-v1"), num_random, settings["limit_seconds"])
    model = create_pets_state(environment, seed=settings["seed"])
    environment.began, processor = time.perf_counter(), time.process_time()
    try:
        train_pets(
            environment,
            pendulum_reward,
            model,
            plan_horizon=settings["horizon"],
            n_particles=settings["num_particles"],
            n_samples=settings["num_samples"],
            n_opt_iter=settings["num_iterations"],
            init_with_previous_plan=False,
            seed=settings["seed"],
            learning_starts=num_random,
            learning_starts_gradient_steps=settings["num_first_epochs"],
            n_steps_per_iteration=steps_per_fit,
            gradient_steps=settings["num_epochs"],
            total_timesteps=settings["total_steps"],
            progress_bar=False,
        )
        out_of_time = False
    except OutOfTimeError:
        out_of_time = True
    took = np.diff(environment.stamps, prepend=environment.ready)[num_random:].tolist()
    fits = [seconds for number, seconds in enumerate(took) if number % steps_per_fit == 0]
    planned = [seconds for number, seconds in enumerate(took) if number % steps_per_fit != 0]
    steps, returns, seconds = zip(*environment.episodes, strict=True) if environment.episodes else ((), (), ())
    return {
        "steps": steps,
        "returns": returns,
        "starts": environment.starts[: len(steps)],
        "seconds": seconds,
        "compile_seconds": environment.ready - environment.began,
        "total_seconds": environment.stamps[-1] - environment.began,
        "processor_seconds": time.process_time() - processor,
        "num_planned": len(took),
        "seconds_per_planned_step": statistics.median(planned) if planned else None,
        "seconds_of_steps_with_fit": fits,
        "out_of_time": out_of_time,
    }


def prepare(settings: Answer) -> tuple[Answer, Requests]:
    """Nothing can be compiled before training: `train_pets` builds its own planner."""
    own = versions("rl-blox", "gymnasium", "jax", "jaxlib", "flax", "optax", "tfp-nightly", "numpy")
    return {"notes": NOTES, "versions": own}, {"learn": lambda: learn(settings)}


if __name__ == "__main__":
    serve(prepare)
