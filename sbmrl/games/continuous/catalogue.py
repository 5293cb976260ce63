"""The continuous worlds by their names."""

import re
from collections.abc import Callable

from sbmrl.errors import require, require_known
from sbmrl.games.continuous.simulator import Simulator
from sbmrl.games.continuous.worlds import brax
from sbmrl.games.continuous.worlds.acrobot import acrobot
from sbmrl.games.continuous.worlds.cart_pole import cart_pole, cart_pole_continuous
from sbmrl.games.continuous.worlds.corridor import corridor, make_corridor
from sbmrl.games.continuous.worlds.mountain_car import mountain_car
from sbmrl.games.continuous.worlds.pendulum import pendulum
from sbmrl.games.continuous.worlds.point_mass import point_mass
from sbmrl.games.continuous.worlds.reacher import reacher

# gymnax's worlds are written on observations here, with everything that its own do; the tests hold the two together.
WORLDS: dict[str, tuple[str, Callable[[], Simulator]]] = {  # name -> (one line, builder)
    "corridor": ("1 number seen, optimum 44; a model with a wall leaves for 1", corridor),
    "point_mass": ("a mass is pushed to a goal in the plane, 25 steps (Rajeswaran et al.)", point_mass),
    "gymnax:Pendulum-v1": ("swing up and hold, 200 steps; optimum about -138", pendulum),
    "gymnax:CartPole-v1": ("balance by two pushes; optimum 500", cart_pole),
    "gymnax:CartPole-v1:continuous": ("balance by any force; optimum 500", cart_pole_continuous),
    "gymnax:MountainCarContinuous-v0": ("out of a valley in 999 steps; optimum about 99.6", mountain_car),
    "gymnax:Acrobot-v1": ("swing the tip up by a motor in the elbow, 500 steps", acrobot),
    "gymnax:Reacher-misc": ("two joints bring a hand to a goal, 100 steps", reacher),
}
_ALL = WORLDS | brax.WORLDS  # the last need a package of their own, which may be missing
CORRIDOR_NAME = "corridor_D"
_CORRIDOR = re.compile(r"corridor_([2-9]|[1-9]\d{1,3})")


def summaries() -> dict[str, str]:
    """Name -> one line, for a listing."""
    noisy = {CORRIDOR_NAME: "the corridor among D - 1 numbers of noise, D = 2, 3, ...; optimum 44"}
    return {name: summary for name, (summary, _) in _ALL.items()} | noisy


def is_named(name: str) -> bool:
    """Whether it is one of the names or patterns."""
    return name in summaries() or _CORRIDOR.fullmatch(name) is not None


def make_simulator(name: str) -> Simulator:
    """The world of that name.

    Raises:
        InputError: there is none, with the nearest one, or it needs a package that is missing.
    """
    corridor_of_size = _CORRIDOR.fullmatch(name)
    if corridor_of_size:
        return make_corridor(int(corridor_of_size.group(1)), name)
    require_known(name, "env", summaries())
    require(name != CORRIDOR_NAME, "env", "write a real number for D, 2 or more", repr(name))
    return _ALL[name][1]()
