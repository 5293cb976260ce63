"""The continuous worlds by their names."""

import re
from collections.abc import Callable
from typing import NamedTuple

from sbmrl.errors import InputError, require, require_known
from sbmrl.games.continuous.simulator import Simulator
from sbmrl.games.continuous.worlds.acrobot import acrobot
from sbmrl.games.continuous.worlds.cart_pole import cart_pole, cart_pole_continuous
from sbmrl.games.continuous.worlds.corridor import corridor, make_corridor
from sbmrl.games.continuous.worlds.mountain_car import mountain_car
from sbmrl.games.continuous.worlds.pendulum import pendulum
from sbmrl.games.continuous.worlds.point_mass import point_mass
from sbmrl.games.continuous.worlds.reacher import reacher


class WorldRow(NamedTuple):
    """One row of the catalogue.

    Attributes:
        summary: one line for a listing.
        make: () -> the world with its true physics.
        known: what it can be judged by; None where no optimum is known.
    """

    summary: str
    make: Callable[[], Simulator]
    known: "Known | None" = None


class Known(NamedTuple):
    """Expected returns of a world: `optimal`, and `uniform` of actions drawn uniformly (mean of 4,000 episodes)."""

    optimal: float
    uniform: float


# gymnax's worlds are written on observations here, with everything that its own do; the tests hold the two together.
WORLDS: dict[str, WorldRow] = {
    "corridor": WorldRow("1 number seen, optimum 44; a model with a wall leaves for 1", corridor, Known(44.0, 1.33)),
    "point_mass": WorldRow("a mass is pushed to a goal in the plane, 25 steps (Rajeswaran et al.)", point_mass),
    "gymnax:Pendulum-v1": WorldRow(
        "swing up and hold, 200 steps; optimum about -138", pendulum, Known(-137.5, -1224.1)
    ),
    "gymnax:CartPole-v1": WorldRow("balance by two pushes; optimum 500", cart_pole, Known(500.0, 22.5)),
    "gymnax:CartPole-v1:continuous": WorldRow(
        "balance by any force; optimum 500", cart_pole_continuous, Known(500.0, 28.4)
    ),
    "gymnax:MountainCarContinuous-v0": WorldRow(
        "out of a valley in 999 steps; optimum about 99.6", mountain_car, Known(99.64, -33.2)
    ),
    "gymnax:Acrobot-v1": WorldRow("swing the tip up by a motor in the elbow, 500 steps", acrobot),
    "gymnax:Reacher-misc": WorldRow("two joints bring a hand to a goal, 100 steps", reacher),
}
CORRIDOR_NAME = "corridor_D"
_CORRIDOR = re.compile(r"corridor_([2-9]|[1-9]\d{1,3})")


def summaries() -> dict[str, str]:
    """Name -> one line, for a listing."""
    noisy = {CORRIDOR_NAME: "the corridor among D - 1 numbers of noise, D = 2, 3, ...; optimum 44"}
    return {name: row.summary for name, row in WORLDS.items()} | noisy


def known_returns(name: str) -> Known:
    """What a world is judged by: closed forms, or dynamic programming on a grid (`sbmrl.games.continuous.grid`).

    Raises:
        InputError: the optimum of the world is not known.
    """
    require_known("corridor" if _CORRIDOR.fullmatch(name) else name, "env", WORLDS)
    known = WORLDS["corridor" if _CORRIDOR.fullmatch(name) else name].known
    if known is None:
        judged = [other for other, row in WORLDS.items() if row.known is not None]
        raise InputError(f"env: {name} has no known optimum to judge a run by; use {', '.join(judged)}")
    return known


def make_simulator(name: str) -> Simulator:
    """The world of that name.

    Raises:
        InputError: there is none, with the nearest one.
    """
    corridor_of_size = _CORRIDOR.fullmatch(name)
    if corridor_of_size:
        return make_corridor(int(corridor_of_size.group(1)), name)
    require_known(name, "env", summaries())
    require(name != CORRIDOR_NAME, "env", "write a real number for D, 2 or more", repr(name))
    return WORLDS[name].make()
