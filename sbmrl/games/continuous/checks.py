"""What a simulator of somebody's own must be: checked by shapes alone, before anything runs in it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core import registry
from sbmrl.core.options import require_count
from sbmrl.core.parts import GameKind
from sbmrl.errors import InputError, raises, require
from sbmrl.games.continuous.simulator import Box, Chart, Discrete, Known, Rules, Simulator

_FUNCTIONS = ("start", "step", "reward", "terminated", "project")


def outline_of(kind: GameKind, env: str) -> Simulator:
    """A world with shapes in place of its physics, so that a plan is made before devices are chosen.

    Raises:
        InputError: there is none of that name, or `check_static` refuses it.
    """
    simulator = registry.outline(kind, env)
    check_static(simulator, f"env: {env}: ")
    return simulator


def check_static(simulator: Simulator, where: str) -> None:
    """Check all but the physics; `where` is the prefix of the names.

    Raises:
        InputError: a horizon, a known return, or a field of the rules that is none.
    """
    rules, known = simulator.rules, simulator.known
    require_count(simulator.horizon, f"{where}horizon")
    require(isinstance(rules, Rules), f"{where}rules", "must be Rules", type(rules).__name__)
    for name in _FUNCTIONS:
        given = getattr(rules, name)
        require(callable(given), f"{where}rules.{name}", "must be a function", given)
    require_count(rules.observation_size, f"{where}rules.observation_size")
    _check_actions(rules.actions, f"{where}rules.actions")
    _check_ranges(rules.ranges, f"{where}rules.ranges")
    try:
        hash(rules)
    except TypeError as error:
        told = "must hold tuples of numbers and functions only, so that two can be compared"
        raise InputError(f"{where}rules: {told}; it {raises(error)}") from error
    if rules.chart is not None:
        _check_chart(rules.chart, f"{where}rules.chart")
    if rules.predictable is not None:
        _check_predictable(rules.predictable, rules.observation_size, f"{where}rules.predictable")
    if known is not None:
        _check_known(known, f"{where}known")


def _check_actions(actions: Any, where: str) -> None:
    if isinstance(actions, Discrete):
        require_count(actions.num, f"{where}.num", least=2)
        return
    require(isinstance(actions, Box), where, "must be a Box or Discrete", type(actions).__name__)
    low, high = actions
    corners = isinstance(low, tuple) and isinstance(high, tuple) and len(low) == len(high) >= 1
    proper = corners and all(_is_number(a) and _is_number(b) and a < b for a, b in zip(low, high, strict=True))
    require(proper, where, "must be two tuples of as many numbers, each of the first below that of the second", actions)


def _check_ranges(ranges: Any, where: str) -> None:
    require(isinstance(ranges, tuple), where, "must be a tuple of (name, low, high)", type(ranges).__name__)
    for each in ranges:
        proper = isinstance(each, tuple) and len(each) == 3 and _is_number(each[1]) and _is_number(each[2])
        require(proper and 0 < each[1] < each[2], where, "must be (name, low, high) with 0 < low < high", each)
    names = [name for name, _, _ in ranges]
    require(len(set(names)) == len(names), where, "must have each name once", names)


def _check_chart(chart: Any, where: str) -> None:
    require(isinstance(chart, Chart), where, "must be a Chart or None", type(chart).__name__)
    low, high = chart.low, chart.high
    sizes = {len(side) if isinstance(side, tuple) else 0 for side in (low, high, chart.wraps)}
    allowed = "must have one to three coordinates, as many in low, high and wraps"
    require(sizes <= {1, 2, 3} and len(sizes) == 1, where, allowed, (low, high, chart.wraps))
    proper = all(_is_number(least) and _is_number(most) and least < most for least, most in zip(low, high, strict=True))
    require(proper, where, "must have numbers with low < high", (low, high))
    for name in ("observe", "state_of"):
        require(callable(getattr(chart, name)), f"{where}.{name}", "must be a function", getattr(chart, name))
    named = len(chart.names) in (0, len(low))
    require(named, f"{where}.names", f"must be {len(low)} names, or none", chart.names)


def _check_predictable(predictable: Any, size: int, where: str) -> None:
    proper = isinstance(predictable, tuple) and all(type(one) is int and 0 <= one < size for one in predictable)
    allowed = f"must be None, or a tuple of one or more different numbers from 0 to {size - 1}"
    require(proper and len(set(predictable)) == len(predictable) > 0, where, allowed, predictable)


def _check_known(known: Any, where: str) -> None:
    require(isinstance(known, Known), where, "must be Known or None", type(known).__name__)
    for name in ("optimal", "uniform"):
        value = getattr(known, name)
        require(_is_number(value), f"{where}.{name}", "must be a finite number", value)
    above = known.optimal > known.uniform
    require(above, f"{where}.optimal", f"must be above known.uniform ({known.uniform:g})", known.optimal)
    said = isinstance(known.judge, str) and bool(known.judge.strip())
    require(said, f"{where}.judge", "must say how the optimum is known", repr(known.judge))


def check_simulator(simulator: Simulator, where: str) -> None:
    """Check all of a simulator; `where` is the prefix of the names.

    Raises:
        InputError: as `check_static`; physics that are no positive numbers, or outside of their ranges; a function of
            the rules that raises, or returns another shape than `Rules` says.
    """
    check_static(simulator, where)
    _check_physics(simulator, f"{where}physics")
    _check_shapes(simulator, f"{where}rules")


def _check_physics(simulator: Simulator, where: str) -> None:
    physics = simulator.physics
    require(isinstance(physics, Mapping), where, "must be numbers by name", type(physics).__name__)
    for name, value in physics.items():
        proper = np.ndim(value) == 0 and _is_number(value) and float(value) > 0
        # Models of the physics are their logarithms.
        require(proper, f"{where}: {name}", "must be a positive finite number", value)
    for name, low, high in simulator.rules.ranges:
        require(name in physics, where, f"must have the {name} of rules.ranges", ", ".join(physics) or "nothing")
        allowed = f"must be in its range of rules.ranges, {low:g} to {high:g}"
        inside = bool(np.float32(low) <= np.float32(physics[name]) <= np.float32(high))
        require(inside, f"{where}: {name}", allowed, f"{physics[name]:g}")


def _check_shapes(simulator: Simulator, where: str) -> None:
    rules, physics = simulator.rules, simulator.physics
    shape, real = (rules.observation_size,), jnp.result_type(float)
    seen, action = jax.ShapeDtypeStruct(shape, real), jax.ShapeDtypeStruct((), jnp.int32)
    if isinstance(rules.actions, Box):
        action = jax.ShapeDtypeStruct((len(rules.actions.low),), real)
    key = jax.eval_shape(lambda: jax.random.key(0))
    returned = (
        ("start", (key, physics), seen),
        ("step", (key, physics, seen, action), seen),
        ("reward", (physics, seen, action, seen), jax.ShapeDtypeStruct((), real)),
        ("terminated", (physics, seen), jax.ShapeDtypeStruct((), jnp.bool_)),
        ("project", (seen,), seen),
    )
    for name, arguments, needed in returned:
        _check_returned(getattr(rules, name), arguments, needed, f"{where}.{name}")
    if rules.chart is not None:
        state = jax.ShapeDtypeStruct((len(rules.chart.low),), real)
        _check_returned(rules.chart.observe, (state,), seen, f"{where}.chart.observe")
        _check_returned(rules.chart.state_of, (seen,), state, f"{where}.chart.state_of")


def _check_returned(
    function: Callable[..., Any], arguments: tuple[Any, ...], needed: jax.ShapeDtypeStruct, where: str
) -> None:
    try:
        found = jax.eval_shape(lambda *own: function(*own), *arguments)  # itself it might not be hashable
    except Exception as error:  # a user's code may raise anything
        raise InputError(f"{where}: {raises(error)}") from error
    proper = isinstance(found, jax.ShapeDtypeStruct) and (found.shape, found.dtype) == (needed.shape, needed.dtype)
    got = _described(found) if isinstance(found, jax.ShapeDtypeStruct) else type(found).__name__
    require(proper, where, f"must return {_described(needed)}", got)


def _described(array: jax.ShapeDtypeStruct) -> str:
    return f"{list(array.shape)} {array.dtype}"


def _is_number(value: Any) -> bool:
    """Whether it is one real number, of Python, numpy or jax, and finite."""
    try:
        return not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False
