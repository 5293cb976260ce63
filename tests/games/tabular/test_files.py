"""The user's own MDP: every key, both formats, and each mistake with its own line."""

import json

import numpy as np
import pytest

from sbmrl.errors import InputError
from sbmrl.games.tabular.files import load_world
from sbmrl.games.tabular.mdp import make_world

GOOD = {
    "transition": [[[0.5, 0.5], [1, 0]], [[0, 1], [0, 1]]],
    "reward": [[1, 2], [0, 0]],
    "initial": 0,
    "terminal": [1],
    "horizon": 10,
}


def write(tmp_path, **changes):
    path = tmp_path / "world.json"
    path.write_text(json.dumps({k: v for k, v in (GOOD | changes).items() if v is not None}))
    return path


def test_json_and_npz_give_the_same_world(tmp_path):
    from_json = make_world(write(tmp_path, initial=[0.25, 0.75], name="mine"))
    arrays = GOOD | {"initial": [0.25, 0.75], "name": "mine"}
    with (tmp_path / "world.npz").open("wb") as file:
        np.savez(file, **{k: np.array(v) for k, v in arrays.items()})  # pyright: ignore[reportArgumentType]
    from_npz = make_world(tmp_path / "world.npz")
    assert from_json.name == from_npz.name == "mine"
    np.testing.assert_array_equal(from_json.transition, from_npz.transition)
    np.testing.assert_array_equal(from_json.reward, from_npz.reward)
    np.testing.assert_allclose(from_json.reward[0, 1], [2.0, 2.0])  # [S, A] rewards hold for every next state
    assert from_json.terminal == from_npz.terminal == (False, True)


def test_arrays_give_the_same_world_as_their_file(tmp_path):
    from_file, arrays = make_world(write(tmp_path)), {name: np.array(value) for name, value in GOOD.items()}
    from_arrays = make_world(arrays)
    np.testing.assert_array_equal(from_arrays.transition, from_file.transition)
    np.testing.assert_array_equal(from_arrays.reward, from_file.reward)
    assert (from_arrays.name, from_arrays.terminal, from_arrays.horizon) == ("mdp", (False, True), 10)
    named = make_world(arrays | {"name": "mine", "discount": 0.9})
    assert (named.name, named.discount) == ("mine", 0.9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"transition": np.full((2, 2, 2), 0.4)}, "transition[0, 0]: must sum to 1, got 0.8"),
        ({"horizon": None}, "horizon: required (keys: transition"),
        ({"name": "a/b"}, "name: must be usable as a file name"),
    ],
)
def test_each_mistake_in_arrays_is_named(changes, says):
    with pytest.raises(InputError) as error:
        make_world({name: value for name, value in (GOOD | changes).items() if value is not None})
    assert str(error.value).startswith(says)


def test_the_file_name_is_the_default_name_and_terminal_may_be_empty(tmp_path):
    mdp = make_world(write(tmp_path, terminal=[]))
    assert mdp.name == "world"
    assert not any(mdp.terminal)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"transition": [[[0.5, 0.4], [1, 0]], [[0, 1], [0, 1]]]}, "transition[0, 0]: must sum to 1, got 0.9"),
        ({"transition": [[[1.5, -0.5], [1, 0]], [[0, 1], [0, 1]]]}, "transition[0, 0]: probabilities must not be neg"),
        ({"transition": [[[float("nan"), 1], [1, 0]], [[0, 1], [0, 1]]]}, "transition: must be finite"),
        ({"transition": [[0.5, 0.5], [1, 0]]}, "transition: must have shape [S, A, S]"),
        ({"transition": [[[1.0], [1, 0]], [[0, 1], [0, 1]]]}, "transition: must be a rectangular array"),
        ({"transition": None}, "transition: required"),
        ({"reward": [[1, 2, 3], [0, 0, 0]]}, "reward: must have shape"),
        ({"reward": [["a", 2], [0, 0]]}, "reward: must be a rectangular array of numbers"),
        ({"initial": 2}, "initial: must be a state 0..1"),
        ({"initial": 0.5}, "initial: must be a state"),
        ({"initial": [0.5, 0.6]}, "initial: must sum to 1"),
        ({"terminal": [2]}, "terminal: must be states 0..1"),
        ({"terminal": [0, 1]}, "terminal: must leave at least one state"),
        ({"terminal": 1}, "terminal: must be a list"),
        ({"horizon": 0}, "horizon: must be a whole number of at least 1"),
        ({"horizon": 2.5}, "horizon: must be a whole number"),
        ({"horizon": [3]}, "horizon: must be one whole number"),
        ({"name": "../escape"}, "name: must be usable as a file name"),
        (
            {"discuont": 0.9},
            "key: 'discuont' is unknown; did you mean 'discount'? allowed: transition, reward, initial",
        ),
    ],
)
def test_each_mistake_is_named(tmp_path, changes, says):
    with pytest.raises(InputError) as error:
        load_world(write(tmp_path, **changes))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "content"), [("a.json", b"not json"), ("a.npz", b"not npz"), ("b.json", b"[1, 2]")])
def test_foreign_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="must be"):
        load_world(tmp_path / name)


def test_missing_file_and_unknown_names(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        make_world(tmp_path / "absent.json")
    with pytest.raises(InputError, match="did you mean 'simple_mdp_2'"):
        make_world("simpel_mdp_2")
    with pytest.raises(InputError, match="random_S_A_SEED"):
        make_world("random_3")
    assert make_world("random_5_3_7").transition.shape == (5, 3, 5)
