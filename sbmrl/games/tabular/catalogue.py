"""The named worlds as arrays: every MDP of the poster, and the models that fool it.

Source: the poster "Model-Based RL as Stackelberg Games", sections 2 and 3, and its public code's worlds.
Rewards are `[S, A, S]`; entries where the world has probability 0 are listed too, because a *model* may put
probability there and is paid by the same table.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

HORIZON = 50  # the poster's T


class WorldArrays(NamedTuple):
    """A finite MDP as written down, before validation.

    Attributes:
        name: the world's name.
        transition: `[S, A, S]` probabilities.
        reward: `[S, A, S]`, paid on the transition.
        initial: `[S]` distribution of the first state.
        terminal: states that end the episode; may be empty.
        horizon: number of decisions in an episode.
        discount: γ in (0, 1], weight of a step's reward relative to the step before.
    """

    name: str
    transition: np.ndarray
    reward: np.ndarray
    initial: np.ndarray
    terminal: tuple[int, ...]
    horizon: int
    discount: float = 1.0


Edges = dict[tuple[int, int], dict[int, float]]  # (state, action) -> next state -> number


def _dense(num_states: int, num_actions: int, edges: Edges) -> np.ndarray:
    table = np.zeros((num_states, num_actions, num_states))
    for (state, action), row in edges.items():
        for next_state, number in row.items():
            table[state, action, next_state] = number
    return table


def _world(
    name: str,
    num_states: int,
    transition: Edges,
    reward: Edges,
    start: int = 0,
    terminal: tuple[int, ...] = (),
    horizon: int = HORIZON,
) -> WorldArrays:
    """A two-action world; pairs without a listed row stay where they are and pay 0."""
    rows = {(s, a): {s: 1.0} for s in range(num_states) for a in range(2)} | transition
    return WorldArrays(
        name,
        _dense(num_states, 2, rows),
        _dense(num_states, 2, reward),
        np.eye(num_states)[start],
        terminal,
        horizon,
    )


_SIMPLE_TRANSITION: Edges = {
    (0, 0): {0: 0.1, 1: 0.6, 2: 0.3},
    (0, 1): {0: 1.0},
    (1, 0): {1: 0.2, 2: 0.8},
    (1, 1): {0: 0.5, 1: 0.5},
}
_SIMPLE_REWARD: Edges = {
    (0, 0): {0: 1.0, 1: -0.05, 2: 1.0},
    (0, 1): {0: 0.75},
    (1, 0): {1: -0.05, 2: 1.0},
    (1, 1): {0: 0.5, 1: -0.05},
}


def _simple(name: str, transition: Edges | None = None, reward: Edges | None = None, terminal=(2,)) -> WorldArrays:
    return _world(
        name, 3, _SIMPLE_TRANSITION | (transition or {}), _SIMPLE_REWARD | (reward or {}), start=1, terminal=terminal
    )


def _ergodic_four_states(name: str, success: float) -> WorldArrays:
    failure = 1.0 - success
    transition: Edges = {
        (0, 0): {1: 1.0},
        (0, 1): {3: 1.0},
        (1, 0): {2: 1.0},
        (1, 1): {0: 1.0},
        (2, 0): {2: failure, 3: success},
        (2, 1): {1: 1.0},
        (3, 0): {0: 1.0},
        (3, 1): {2: success, 3: failure},
    }
    reward: Edges = {(0, 0): {1: 0.1}, (1, 1): {0: 0.1}, (2, 0): {3: 9.9}, (3, 1): {2: 9.9}}
    return _world(name, 4, transition, reward)


def _all_rows(rows: dict[tuple[int, int], tuple[int, float]]) -> tuple[Edges, Edges]:
    """Deterministic rows `(s, a): (s', reward)` as transition and reward edges."""
    transition: Edges = {pair: {next_state: 1.0} for pair, (next_state, _) in rows.items()}
    reward: Edges = {pair: {next_state: pay} for pair, (next_state, pay) in rows.items()}
    return transition, reward


def counterexample_1(rich: float = 10.0, name: str = "counterexample_1") -> WorldArrays:
    """One decision from s0: a0 pays `rich`, a1 pays 1. Any `rich` > 1 can be hidden at no loss."""
    return _world(name, 3, *_all_rows({(0, 0): (2, rich), (0, 1): (2, 1.0)}), terminal=(1, 2), horizon=1)


def counterexample_2(rich: float = 10.0, name: str = "counterexample_2") -> WorldArrays:
    """Ergodic and deterministic: the cycle s1 → s2 → s1 pays `rich` a step, every other step 1."""
    to_s1, to_s2 = (1, rich), (2, rich)
    rows = {(0, 0): (2, 1.0), (0, 1): (1, 1.0), (1, 0): (0, 1.0), (1, 1): to_s2, (2, 0): to_s1, (2, 1): (0, 1.0)}
    return _world(name, 3, *_all_rows(rows))


def trembling(world: WorldArrays, mixing: float) -> WorldArrays:
    """`world` in which a uniformly random action is done in place of the chosen one with probability `mixing`.

    With more mixing all policies cause the same data. A transition pays what it pays on average over the actions that
    may have been done.
    """
    chosen, average = 1.0 - mixing, mixing / world.transition.shape[1]
    transition = chosen * world.transition + average * world.transition.sum(1, keepdims=True)
    flow = world.transition * world.reward
    paid = chosen * flow + average * flow.sum(1, keepdims=True)
    possible = transition > 0
    reward = np.where(possible, paid / np.where(possible, transition, 1.0), world.reward)
    return world._replace(name=f"{world.name}_trembling", transition=transition, reward=reward)


_TWO_STATES = _all_rows({(0, 0): (1, 1.0), (0, 1): (0, 1.0), (1, 0): (1, 5.0), (1, 1): (0, 1.0)})
_THREE_STATES = _all_rows(
    {(0, 0): (1, 1.0), (0, 1): (2, 1.0), (1, 0): (2, 5.0), (1, 1): (0, 1.0), (2, 0): (0, 1.0), (2, 1): (1, 5.0)}
)
_ERGODIC_1: Edges = {(2, 0): {1: 0.1, 2: 0.9}, (2, 1): {0: 0.1, 2: 0.9}}

# name -> (one line, builder)
WORLDS: dict[str, tuple[str, Callable[[str], WorldArrays]]] = {
    "simple_mdp_1": (
        "3 states, one terminal; as simple_mdp_2 with a worse way into s0",
        lambda name: _simple(name, reward={(1, 1): {0: -0.01, 1: -0.05}}),
    ),
    "simple_mdp_2": ("3 states, one terminal; the poster's table", _simple),
    "simple_mdp_2_endless": (
        "simple_mdp_2 with no terminal state",
        lambda name: _simple(name, terminal=()),
    ),
    "simple_mdp_2_variant_1": (
        "simple_mdp_2 where leaving from s1 never succeeds",
        lambda name: _simple(name, transition={(1, 0): {1: 1.0}}),
    ),
    "simple_mdp_2_variant_2": (
        "simple_mdp_2 with an easier way into s0",
        lambda name: _simple(name, transition={(1, 1): {0: 0.8, 1: 0.2}}),
    ),
    "ergodic_mdp_1": (
        "3 states, endless, slow ways out of s2",
        lambda name: _simple(name, transition=_ERGODIC_1, terminal=()),
    ),
    "ergodic_mdp_2": (
        "4 states, endless, a rich pair far from the start",
        lambda name: _ergodic_four_states(name, 0.9),
    ),
    "deterministic_mdp_1": ("ergodic_mdp_2 made deterministic", lambda name: _ergodic_four_states(name, 1.0)),
    "mdp_erg_det_2": ("2 states, ergodic and deterministic", lambda name: _world(name, 2, *_TWO_STATES)),
    "mdp_erg_det_3": ("3 states, ergodic and deterministic", lambda name: _world(name, 3, *_THREE_STATES)),
    "counterexample_1": (
        "one decision; a model with loss 0 hides the better action",
        lambda name: counterexample_1(name=name),
    ),
    "counterexample_2": (
        "ergodic and deterministic; a model with loss 0 hides a rich cycle",
        lambda name: counterexample_2(name=name),
    ),
}

# The models of the two counterexamples: exactly right on every pair their own best response visits.
FOOLING_MODELS: dict[str, np.ndarray] = {
    "counterexample_1": _dense(
        3, 2, {(s, a): {s: 1.0} for s in (1, 2) for a in (0, 1)} | {(0, 0): {1: 1.0}, (0, 1): {2: 1.0}}
    ),
    "counterexample_2": _dense(
        3,
        2,
        {(0, 0): {1: 1.0}, (0, 1): {1: 1.0}, (1, 0): {0: 1.0}, (1, 1): {0: 1.0}, (2, 0): {1: 1.0}, (2, 1): {0: 1.0}},
    ),
}


def named_world(name: str) -> WorldArrays:
    """The arrays of a named world; `KeyError` for an unknown name."""
    return WORLDS[name][1](name)
