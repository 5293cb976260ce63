"""The games as data: who leads, and which weighted sum of payoffs each side wants.

A formulation is one row; registering a row adds a game. The payoff names are those of the row's kind of game. Which
terms appear is static; their weights may be traced numbers, so α is an axis that can be vmapped and a whole α-sweep is
one compiled program.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Role = str  # "policy" and "model", or "row" and "column"
Weights = Mapping[str, Any]


class Formulation(NamedTuple):
    """A Stackelberg game: `max_x Σ leader_wants(x, y(x))  with  y(x) ∈ argmax_y Σ follower_wants(x, y)`.

    Attributes:
        leader: role that commits first.
        follower: role that best-responds.
        leader_wants: payoff name -> weight (scalar, possibly traced).
        follower_wants: payoff name -> weight (scalar, possibly traced).
    """

    leader: Role
    follower: Role
    leader_wants: Weights
    follower_wants: Weights


class FormulationRow(NamedTuple):
    """One row of the table: a formulation for all of its options, and a sentence that says what it is.

    Attributes:
        name: as a user writes it.
        title: its name in print.
        family: the kinds of game it is played in, which have these roles and payoffs: the name of one, or of several
            kinds that share it, as "model_based".
        leader: role that commits first.
        follower: role that best-responds.
        leader_wants: (options) -> weights.
        follower_wants: (options) -> weights.
        summary: one line for `sbmrl list`.
        options: the row's own knobs, a frozen dataclass; what can be set of its game are these and the options of the
            kind of game. None where it has no knob.
        check: (options) -> None; raises `InputError` for knobs that are not allowed.
    """

    name: str
    title: str
    family: str
    leader: Role
    follower: Role
    leader_wants: Callable[[Any], Weights]
    follower_wants: Callable[[Any], Weights]
    summary: str
    options: type | None = None
    check: Callable[[Any], None] = lambda options: None

    def formulation(self, options: Any) -> Formulation:
        """The game at the given options, whose numbers may be traced."""
        return Formulation(self.leader, self.follower, self.leader_wants(options), self.follower_wants(options))
