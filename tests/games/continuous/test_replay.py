"""The replay against numpy: what is written where, what is trained on, and its statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.games.continuous.normaliser import following_of, identity, inputs_of, statistics, targets_of
from sbmrl.games.continuous.replay import (
    Transitions,
    decode_action,
    draw,
    empty,
    encode_action,
    is_filled,
    is_held_out,
    newest,
    num_training_slots,
    write,
)
from sbmrl.games.continuous.simulator import Box, Discrete


def numbered(numbers):
    """Transitions that bear a number each."""
    numbers = jnp.asarray(numbers, float)[:, None]
    return Transitions(numbers, 10 * numbers, numbers + 1)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_writes_go_round_and_leave_out_what_is_not_valid(share):
    """Also where one write is longer than the replay."""
    random = np.random.default_rng(0)
    replay, told, slots = empty(7, 1, 1), 0, np.zeros(7)
    for length in (3, 5, 20, 1, 9):
        numbers, valid = np.arange(told, told + length) + 1.0, random.random(length) < share
        replay = jax.jit(write)(replay, numbered(numbers), jnp.asarray(valid))
        for number in numbers[valid]:
            slots[told % 7], told = number, told + 1
        np.testing.assert_array_equal(replay.transitions.observation[:, 0], slots)
        np.testing.assert_array_equal(replay.transitions.action[:, 0], 10 * slots)
        np.testing.assert_array_equal(is_filled(replay), slots > 0)
        assert replay.count == told
        recent, is_there = newest(replay, 4)
        np.testing.assert_array_equal(is_there, np.arange(4) >= 4 - told)
        np.testing.assert_array_equal(
            recent.observation[is_there, 0], [slots[i % 7] for i in range(max(told - 4, 0), told)]
        )


@pytest.mark.parametrize("every", [0, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 13, 23, 40])
def test_minibatches_are_uniform_over_what_is_filled_and_not_held_out(every, count):
    replay = empty(23, 1, 1)._replace(count=jnp.int32(count))
    drawn = np.asarray(draw(jax.random.key(0), replay, (4_000,), every))
    allowed = np.flatnonzero(np.asarray(is_filled(replay)) & ~np.asarray(is_held_out(23, every)))
    assert num_training_slots(min(count, 23), every) == len(allowed)
    if len(allowed):
        assert set(drawn) == set(allowed)
        assert np.bincount(drawn)[allowed].min() > 0.6 * 4_000 / len(allowed)
    else:
        assert set(drawn) == {int(every > 0)}


@pytest.mark.parametrize("deviation", ["absolute", "standard"])
@pytest.mark.parametrize("count", [4, 9])
def test_statistics_are_those_of_the_filled_slots(deviation, count):
    random = np.random.default_rng(0)
    before, acted, after = random.normal(3.0, 2.0, (6, 2)), random.normal(size=(6, 3)), random.normal(size=(6, 2))
    replay = empty(6, 2, 3)._replace(transitions=Transitions(*map(jnp.asarray, (before, acted, after))))
    found = statistics(replay._replace(count=jnp.int32(count)), deviation)
    rows = slice(min(count, 6))
    expected = [before[rows], acted[rows], (after - before)[rows]]
    spread = np.std if deviation == "standard" else lambda x, axis: np.mean(np.abs(x - x.mean(axis)), axis)
    for number, x in enumerate(expected):
        np.testing.assert_allclose(found[2 * number], x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(found[2 * number + 1], spread(x, axis=0), rtol=1e-5)
    assert found.moves.all()


def test_what_never_moves_is_frozen_and_what_always_moves_alike_goes_on():
    """A goal that stands still in the data, and a clock."""
    before = jnp.stack([jnp.arange(8.0) ** 2, jnp.full(8, 0.3), jnp.arange(8.0)], axis=1)
    after = before + jnp.stack([jnp.arange(8.0), jnp.zeros(8), jnp.ones(8)], axis=1)
    replay = write(empty(8, 3, 1), Transitions(before, jnp.zeros((8, 1)), after), jnp.ones(8, bool))
    normaliser = statistics(replay, "absolute")
    np.testing.assert_array_equal(normaliser.moves, [True, False, False])
    predicted = following_of(normaliser, before, jnp.full((8, 3), 1e3))
    np.testing.assert_array_equal(predicted[:, 1:], after[:, 1:])
    np.testing.assert_allclose(following_of(normaliser, before, targets_of(normaliser, replay.transitions)), after)
    np.testing.assert_allclose(inputs_of(normaliser, before[0] + 5.0, jnp.ones(1))[1], 5.0)


def test_nothing_seen_leaves_all_as_it_is():
    for normaliser in identity(2, 1), statistics(empty(4, 2, 1), "absolute")._replace(moves=jnp.ones(2, bool)):
        np.testing.assert_array_equal(inputs_of(normaliser, jnp.array([3.0, 4]), jnp.array([5.0])), [3, 4, 5])
        np.testing.assert_array_equal(following_of(normaliser, jnp.array([3.0, 4]), jnp.array([1.0, 2])), [4, 6])


def test_actions_are_read_as_the_world_reads_them():
    box, pushes = Box((-1.0,), (2.0,)), Discrete(3)
    np.testing.assert_array_equal(encode_action(box, jnp.array([[-5.0], [1.0], [9.0]])), [[-1], [1], [2]])
    np.testing.assert_array_equal(encode_action(pushes, jnp.array([0, 7])), [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(decode_action(pushes, encode_action(pushes, jnp.array([0, 2]))), [0, 2])
    np.testing.assert_array_equal(decode_action(box, jnp.array([0.5])), [0.5])


def test_seeds_side_by_side_are_those_one_by_one():
    def run(key):
        key_values, key_valid, key_draw = jax.random.split(key, 3)
        numbers = jax.random.normal(key_values, (2, 9))
        replay = empty(6, 1, 1)
        for row, one in zip(numbers, jax.random.split(key_valid), strict=True):
            replay = write(replay, numbered(row), jax.random.bernoulli(one, 0.6, (9,)))
        return replay, statistics(replay, "absolute"), draw(key_draw, replay, (5,), 3), newest(replay, 4)

    keys = jax.random.split(jax.random.key(0), 2)
    together = jax.vmap(run)(keys)
    for number in range(2):
        own = jax.tree.map(lambda x, n=number: x[n], together)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), own, run(keys[number]))
