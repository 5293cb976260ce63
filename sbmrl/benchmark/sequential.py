"""What a device has to do one after the other: the steps of innermost loops, and the kernels it launches for them.

On a GPU a step of a loop is a row of kernels, each of them launched: with small arrays their number, not what they
compute, is what time is spent on. The steps are counted in the program as traced, the launches in the program as XLA
has compiled it, so the latter are of the device at hand.
"""

import re
from typing import Any, NamedTuple

from jax.extend.core import Jaxpr, jaxprs_in_params

# Instructions of a compiled program that launch nothing: names for memory that is there already, or the second half of
# one that was launched before.
_NAMES = ("parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast")
_FREE = frozenset((*_NAMES, "after-all", "opt-barrier", "partition-id", "replica-id"))
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?:\(.*?\)|\S+) ([\w\-]+)\(")
_CALLED = re.compile(r"(?:body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Sequential(NamedTuple):
    """What one program does one after the other.

    Attributes:
        steps: iterations of loops that hold no other loop, all of them together.
        operations: operations as traced, each as often as it comes; XLA fuses several of them into a kernel.
        unbounded: loops whose iterations are known only when they run; each is counted as one.
    """

    steps: int
    operations: int
    unbounded: int


class Launches(NamedTuple):
    """What a compiled program launches.

    Attributes:
        kernels: of all kinds, products and copies included.
        recorded: those of them that are launched together, as a graph recorded before.
        graphs: of those.
    """

    kernels: int
    recorded: int
    graphs: int


def count_steps(jaxpr: Jaxpr) -> Sequential:
    """Steps and operations of a traced program (`jax.make_jaxpr(...)(...).jaxpr`); branches count the longest."""
    steps = operations = unbounded = 0
    for equation in jaxpr.eqns:
        inner = [count_steps(one) for one in jaxprs_in_params(equation.params)]
        operations += not inner
        if not inner:
            continue
        length = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        is_loop = equation.primitive.name in ("scan", "while")
        longest = equation.primitive.name == "cond"
        own = (max if longest else sum)(one.steps for one in inner)
        steps += length * (max(own, 1) if is_loop else own)
        operations += length * (max if longest else sum)(one.operations for one in inner)
        unbounded += length * sum(one.unbounded for one in inner) + (equation.primitive.name == "while")
    return Sequential(steps, operations, unbounded)


def count_launches(compiled: Any) -> Launches:
    """Launches of a compiled program on one device, by its text; loops whose iterations are unknown count one."""
    bodies, entry = _computations(compiled.as_text())
    return _launches(bodies, entry, {})


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Name -> instructions, and the name of the first to run."""
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        head = _COMPUTATION.match(line)
        if head:
            lines = bodies.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line.startswith(" "):
            lines.append(line)
    return bodies, entry


def _launches(bodies: dict[str, list[str]], name: str, known: dict[str, Launches]) -> Launches:
    if name in known:
        return known[name]
    kernels = recorded = graphs = 0
    for line in bodies[name]:
        found = _INSTRUCTION.match(line)
        kind = found[1] if found else "parameter"
        if kind in _FREE or kind.endswith("-done"):
            continue
        if kind not in ("while", "call", "conditional"):
            kernels += 1
            continue
        branches = _BRANCHES.search(line)
        called = [one.strip(" %") for one in branches[1].split(",")] if branches else _CALLED.findall(line)
        inner = [_launches(bodies, one, known) for one in called]
        most = max(inner, key=lambda one: one.kernels)
        trips = _TRIPS.search(line)
        times = int(trips[1]) if trips and kind == "while" else 1
        is_graph = kind == "call" and "command_buffer" in called[0]
        kernels += times * most.kernels
        recorded += times * (most.kernels if is_graph else most.recorded)
        graphs += times * (1 if is_graph else most.graphs)
    known[name] = Launches(kernels, recorded, graphs)
    return known[name]
