"""The user's own MDP from a JSON or npz file or as arrays, checked before anything runs.

Keys: `transition` `[S, A, S]`, `reward` `[S, A, S]` or `[S, A]`, `initial` (a state or a distribution `[S]`),
`terminal` (list of states, may be empty), `horizon` (decisions per episode), optional `name` and `discount`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.files import horizon_of, name_in, numbers, read_fields, require_keys, usable_name, whole
from sbmrl.errors import require
from sbmrl.games.tabular.catalogue import WorldArrays

_REQUIRED = ("transition", "reward", "initial", "terminal", "horizon")
_OPTIONAL = ("name", "discount")
_ROW_SUM_TOLERANCE = 1e-6


def load_world(path: str | Path) -> WorldArrays:
    """Read and check an MDP file.

    Raises:
        InputError: unreadable or foreign file, missing or unknown key, wrong shape, NaN, negative probability, row that
            does not sum to 1, state that does not exist, horizon below 1, discount outside (0, 1].
    """
    path = Path(path)
    fields = read_fields(path, "an MDP", _REQUIRED, _OPTIONAL)
    return check_world(fields, name_in(fields, path), where=f"{path}: ")


def world_of_arrays(fields: Mapping[str, Any]) -> WorldArrays:
    """The same from the keys of a file and their values; without a `name` it is called "mdp".

    Raises:
        InputError: as `load_world`, for what a file may hold.
    """
    require_keys(fields, _REQUIRED, _OPTIONAL)
    return check_world(fields, usable_name(str(fields.get("name", "mdp")), "name"))


def check_world(fields: Mapping[str, Any], name: str, where: str = "") -> WorldArrays:
    """Check the fields of an MDP and bring them to their full shapes; `InputError` names the field."""
    transition = numbers(fields["transition"], where + "transition")
    shape = transition.shape
    require(
        len(shape) == 3 and shape[0] == shape[2] and min(shape) >= 1,
        where + "transition",
        "must have shape [S, A, S]",
        list(shape),
    )
    num_states, num_actions = shape[:2]
    _require_distributions(transition, where + "transition")
    reward = numbers(fields["reward"], where + "reward")
    if reward.shape == (num_states, num_actions):
        reward = np.broadcast_to(reward[:, :, None], shape)
    allowed = f"must have shape {[num_states, num_actions, num_states]} or {[num_states, num_actions]}"
    require(reward.shape == shape, where + "reward", allowed, list(reward.shape))
    return WorldArrays(
        name,
        transition / transition.sum(-1, keepdims=True),
        np.array(reward),
        _initial(fields["initial"], num_states, where + "initial"),
        _terminal(fields["terminal"], num_states, where + "terminal"),
        horizon_of(fields["horizon"], where + "horizon"),
        _discount(fields.get("discount", 1.0), where + "discount"),
    )


def _discount(value: Any, field: str) -> float:
    array = numbers(value, field)
    require(array.ndim == 0 and bool(0.0 < array <= 1.0), field, "must be a number in (0, 1]", value)
    return float(array)


def _require_distributions(rows: np.ndarray, field: str) -> None:
    sums = rows.sum(-1)
    for index in np.argwhere((rows < 0).any(-1)):
        at = f"{field}{[int(i) for i in index]}" if len(index) else field
        require(False, at, "probabilities must not be negative", float(rows[tuple(index)].min()))
    for index in np.argwhere(np.abs(sums - 1.0) > _ROW_SUM_TOLERANCE):
        at = f"{field}{[int(i) for i in index]}" if len(index) else field
        require(False, at, "must sum to 1", round(float(sums[tuple(index)]), 6))


def _initial(value: Any, num_states: int, field: str) -> np.ndarray:
    array = numbers(value, field)
    if array.ndim == 0:
        state = whole(array, field, f"must be a state 0..{num_states - 1} or a distribution over {num_states} states")
        require(0 <= state < num_states, field, f"must be a state 0..{num_states - 1}", state)
        return np.eye(num_states)[state]
    require(array.shape == (num_states,), field, f"must be a state or have shape [{num_states}]", list(array.shape))
    _require_distributions(array, field)
    return array / array.sum()


def _terminal(value: Any, num_states: int, field: str) -> tuple[int, ...]:
    array = numbers(value, field)
    require(array.ndim == 1, field, "must be a list of states (may be empty)", f"shape {list(array.shape)}")
    states = [whole(number, field, f"must be states 0..{num_states - 1}") for number in array]
    for state in states:
        require(0 <= state < num_states, field, f"must be states 0..{num_states - 1}", state)
    require(len(set(states)) < num_states, field, "must leave at least one state in which to act", states)
    return tuple(sorted(set(states)))
