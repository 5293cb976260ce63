"""Matrix games: the named ones against what is known of them, a step, the user's own, and each mistake's line."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from matrix_brute_force import MEMORIES, random_game, sees

from sbmrl.errors import InputError
from sbmrl.games.matrix import rules as games
from sbmrl.games.matrix.catalogue import GAMES, TWELVE_GAMES
from sbmrl.games.matrix.files import load_game
from sbmrl.games.matrix.optima import deterministic_optimum
from sbmrl.games.matrix.values import deterministic_maps, led_by

EQUILIBRIA = {  # pure Nash equilibria of the one-shot game, from the games' textbook descriptions
    "prisoners_dilemma": {(1, 1)},
    "stag_hunt": {(0, 0), (1, 1)},
    "assurance": {(0, 0), (1, 1)},
    "coordination": {(0, 0), (1, 1)},
    "mixedharmony": {(0, 0)},
    "harmony": {(0, 0)},
    "noconflict": {(0, 0)},
    "deadlock": {(1, 1)},
    "prisoners_delight": {(1, 1)},
    "hero": {(0, 1), (1, 0)},
    "battle": {(0, 1), (1, 0)},
    "chicken": {(0, 1), (1, 0)},
    "hidden_query": {(0, 1)},
}
AT_EQUILIBRIUM = {  # payoffs (row, column) in the first of them
    "prisoners_dilemma": (2, 2),
    "deadlock": (3, 3),
    "prisoners_delight": (3, 3),
    "hero": (3, 4),
    "battle": (3, 4),
    "chicken": (2, 4),
    "hidden_query": (2, 4),
}
# What tells games with the same equilibria apart: row's payoffs at (0, 0), (0, 1), (1, 0), (1, 1).
ROWS_PAYOFFS = {
    "prisoners_dilemma": (3, 1, 4, 2),
    "stag_hunt": (4, 1, 3, 2),
    "assurance": (4, 1, 2, 3),
    "coordination": (4, 2, 1, 3),
    "mixedharmony": (4, 3, 1, 2),
    "harmony": (4, 3, 2, 1),
    "noconflict": (4, 2, 3, 1),
    "deadlock": (2, 1, 4, 3),
    "prisoners_delight": (1, 2, 4, 3),
    "hero": (1, 3, 4, 2),
    "battle": (2, 3, 4, 1),
    "chicken": (3, 2, 4, 1),
}


@pytest.mark.parametrize("name", GAMES)
def test_payoffs_have_the_equilibria_that_their_names_promise(name):
    row, column = np.asarray(games.make_game(name).payoffs)
    found = {
        (a, b)
        for a, b in itertools.product(range(2), repeat=2)
        if row[a, b] == row[:, b].max() and column[a, b] == column[a].max()
    }
    assert found == EQUILIBRIA[name]
    first = min(found)
    assert (row[first], column[first]) == AT_EQUILIBRIUM.get(name, (4, 4))


@pytest.mark.parametrize("name", TWELVE_GAMES)
def test_the_twelve_games_are_symmetric_orders_of_four_outcomes(name):
    row, column = np.asarray(games.make_game(name).payoffs)
    np.testing.assert_array_equal(row, column.T)
    assert tuple(row.ravel()) == ROWS_PAYOFFS[name]
    assert len(TWELVE_GAMES) == len({ROWS_PAYOFFS[other] for other in TWELVE_GAMES}) == 12


def test_the_hidden_query_game():
    game = games.make_game("hidden_query")
    row, column = np.asarray(game.payoffs)
    assert (row[0] > row[1]).all()  # action 0 is dominant for row
    np.testing.assert_array_equal(column, games.make_game("prisoners_dilemma").payoffs[1])
    assert (game.horizon, game.memory, game.num_observations) == (5, "opponent", (3, 3))


def test_variants():
    for name, horizon, memory, observations in (
        ("chicken", 10, "joint", 5),
        ("chicken_small_memory", 5, "opponent", 3),
        ("chicken_one_shot", 1, "none", 1),
    ):
        game = games.make_game(name)
        assert (game.name, game.horizon, game.memory) == (name, horizon, memory)
        assert game.num_observations == (observations, observations)
        np.testing.assert_array_equal(game.payoffs, games.make_game("chicken").payoffs)
        assert float(game.offset) == -2.5


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_step_shows_pays_and_ends_as_written_down(memory):
    game = random_game(0, memory, shape=(2, 3), horizon=4)
    rng, state, last = np.random.default_rng(1), games.first_state(), None
    for time in range(4):
        assert (int(state.row_observation), int(state.column_observation)) == sees(memory, 2, last)
        last = int(rng.integers(2)), int(rng.integers(3))
        state, row_reward, column_reward, done = games.step(game, state, *map(jnp.int32, last))
        assert [row_reward, column_reward] == [pytest.approx(float(x)) for x in game.payoffs[:, *last] - 2.5]
        assert bool(done) == (time == 3)
    assert game.num_observations == {"joint": (7, 7), "opponent": (4, 3), "none": (1, 1)}[memory]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: games.make_game("prisoner_dilema"), "env: 'prisoner_dilema' is unknown; did you mean 'prisoners_dil"),
        (lambda: games.make_game("chiken_one_shot"), "did you mean 'chicken'?"),
        (lambda: games.make_game("a .json or .npz file"), "env: write a real name or file name"),
        (lambda: led_by(games.make_game("hero"), "rwo"), "leader: 'rwo' is unknown; did you mean 'row'?"),
        (lambda: deterministic_maps(20, 2, "follower"), "follower: at most 100,000 deterministic memory-one strateg"),
        (
            lambda: deterministic_optimum(led_by(random_game(0, "joint", (3, 3))), clock=False),
            "env: at most 10,000,000 pairs of strategies can be enumerated, got 3,486,784,401",
        ),
        (
            lambda: deterministic_optimum(led_by(games.make_game("hero")), clock=True, tie_breaking="best"),
            "tie_breaking: 'best' is unknown",
        ),
    ],
)
def test_bad_names_and_sizes(call, says):
    with pytest.raises(InputError) as error:
        call()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


GOOD = {"row": [[1, 2, 3], [4, 5, 6]], "column": [[6, 5, 4], [3, 2, 1]], "horizon": 7, "memory": "opponent"}


def write(tmp_path, changes):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None}))
    return path


def test_json_and_npz_give_the_same_game(tmp_path):
    from_json = games.make_game(write(tmp_path, {}))
    with (tmp_path / "mine.npz").open("wb") as file:
        np.savez(file, **{key: np.array(value) for key, value in GOOD.items()})  # pyright: ignore[reportArgumentType]
    from_npz = games.make_game(tmp_path / "mine.npz")
    assert from_json.name == from_npz.name == "mine"
    assert from_json.num_actions == from_npz.num_actions == (2, 3)
    assert from_json.num_observations == (4, 3)
    np.testing.assert_array_equal(from_json.payoffs, from_npz.payoffs)
    np.testing.assert_array_equal(from_npz.payoffs[1], GOOD["column"])
    assert (from_npz.horizon, from_npz.memory, float(from_npz.offset)) == (7, "opponent", -2.5)
    assert float(games.make_game(write(tmp_path, {"offset": 0})).offset) == 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"row": [1, 2]}, "row: must have shape [A_row, A_column]"),
        ({"row": [[1, 2], [3]]}, "row: must be a rectangular array of numbers"),
        ({"row": [[]]}, "row: must have shape [A_row, A_column]"),
        ({"column": [[1, 2], [3, 4]]}, "column: must have row's shape [2, 3], got [2, 2]"),
        ({"column": [[1, 2, 3], [4, 5, float("nan")]]}, "column: must be finite numbers"),
        ({"column": None}, "column: required (keys: row, column, horizon, memory, optional offset, name), got nothing"),
        ({"horizon": 0}, "horizon: must be a whole number of at least 1, got 0"),
        ({"horizon": 2.5}, "horizon: must be a whole number"),
        ({"memory": "joined"}, "memory: 'joined' is unknown; did you mean 'joint'? allowed: joint, opponent, none"),
        ({"memory": 5}, "memory: '5' is unknown"),
        ({"offset": "low"}, "offset: must be a rectangular array of numbers"),
        ({"offset": [1, 2]}, "offset: must be one number"),
        ({"ofset": 1}, "key: 'ofset' is unknown; did you mean 'offset'?"),
        ({"name": "a/b"}, "name: must be usable as a file name"),
    ],
)
def test_each_mistake_is_named(tmp_path, changes, says):
    with pytest.raises(InputError) as error:
        load_game(write(tmp_path, changes))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_foreign_files(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "b.npz").write_bytes(b"not npz")
    for name in ("a.json", "b.npz", "absent.json"):
        with pytest.raises(InputError):
            games.make_game(tmp_path / name)
