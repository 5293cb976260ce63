"""A cart is pushed to the end of its track, from rest; every step costs 1, so the best is to push as hard as one can.

    v' = v + h·force·u/mass,   x' = x + h·v',   |u| ≤ 1,   h = 0.1 s

Seen: (x, v); start (0, 0). x' ≥ 1 ends the episode; T = 50. Under full force x is h²·n·(n + 1)/2 after n steps with the
true physics, and nobody is further after n steps; that is 0.91 after 13 and 1.05 after 14, so the optimum is −14.
"""

import jax.numpy as jnp
import numpy as np

import sbmrl
from sbmrl.games.continuous.simulator import Box, Known, Rules, Simulator, clip_action

ACTIONS = Box((-1.0,), (1.0,))
SECONDS = 0.1


def _start(key, physics):
    return jnp.zeros(2)


def _step(key, physics, observation, action):
    place, speed = observation
    speed = speed + SECONDS * physics["force"] * clip_action(ACTIONS, action)[0] / physics["mass"]
    return jnp.stack([place + SECONDS * speed, speed])


def _reward(physics, observation, action, following):
    return -jnp.ones(())


def _terminated(physics, following):
    return following[0] >= 1


def _project(observation):
    return observation


RANGES = (("force", 0.3, 3.0), ("mass", 0.3, 3.0))
RULES = Rules(_start, _step, _reward, _terminated, _project, 2, ACTIONS, RANGES)
KNOWN = Known(optimal=-14.0, uniform=-47.6, judge="by its construction")


def _cart():
    return Simulator({"force": np.float32(1.0), "mass": np.float32(1.0)}, "cart", 50, RULES, KNOWN)


sbmrl.register(sbmrl.WorldRow("cart", "a cart is pushed to the end of its track; optimum -14", "continuous", _cart))
