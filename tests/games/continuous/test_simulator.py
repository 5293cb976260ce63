"""What every simulator shares: actions, families of physics, and episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.games.continuous.catalogue import WORLDS, make_simulator
from sbmrl.games.continuous.simulator import (
    Box,
    Discrete,
    clip_action,
    draw_starts,
    random_physics,
    rollout_returns,
    to_box,
)


def test_actions_are_clipped_to_their_range():
    box = Box((-1.0, 0.0), (1.0, 4.0))
    np.testing.assert_allclose(clip_action(box, jnp.array([-3.0, 5.0])), [-1, 4])
    np.testing.assert_allclose(clip_action(box, jnp.array([0.5, 1.0])), [0.5, 1])
    assert [int(clip_action(Discrete(3), jnp.int32(action))) for action in (-1, 0, 2, 7)] == [0, 0, 2, 2]


def test_a_network_speaks_in_half_widths():
    box = Box((-1.0, 0.0), (1.0, 4.0))
    for outputs, action in ([0.0, 0.0], [0, 2]), ([1.0, -1.0], [1, 0]), ([0.5, 0.5], [0.5, 3]), ([9.0, -9.0], [1, 0]):
        np.testing.assert_allclose(to_box(box, jnp.array(outputs)), action)


@pytest.mark.parametrize("name", [*WORLDS, "corridor_3"])
def test_two_of_the_same_world_are_one_program(name):
    assert jax.tree.structure(make_simulator(name)) == jax.tree.structure(make_simulator(name))
    assert hash(make_simulator(name).rules) == hash(make_simulator(name).rules)


@pytest.mark.parametrize("name", WORLDS)
def test_a_family_varies_every_number_around_the_true_one(name):
    simulator = make_simulator(name)
    ranges = {key: (low, high) for key, low, high in simulator.rules.ranges}
    assert set(ranges) == set(simulator.physics)
    drawn = jax.vmap(random_physics, (0, None))(jax.random.split(jax.random.key(0), 400), simulator).physics
    for key, (low, high) in ranges.items():
        assert low < simulator.physics[key] < high
        shares = np.log(np.asarray(drawn[key]) / low) / np.log(high / low)
        assert -1e-5 <= shares.min() < 0.02
        assert 0.98 < shares.max() <= 1 + 1e-5
        assert abs(shares.mean() - 0.5) < 0.06


@pytest.mark.parametrize(("push", "earned"), [(1.0, 44), (-1.0, 1), (0.0, 0), (1e6, 44)])
@pytest.mark.parametrize("name", ["corridor", "corridor_3"])
def test_a_return_is_what_is_paid_until_the_episode_ends(name, push, earned):
    """Left of the corridor a step would pay 1 each time, if anything were paid behind the end."""
    found = rollout_returns(jax.random.key(0), make_simulator(name), lambda *seen: jnp.array([push]), 3)
    np.testing.assert_array_equal(found, [earned] * 3)


def test_what_would_come_behind_the_end_cannot_spoil_a_return():
    """A pole that falls on and on, ever faster, soon stops being a number."""
    simulator = make_simulator("gymnax:CartPole-v1")
    wild = simulator.replace(physics={**simulator.physics, "force": jnp.float32(1e30)})
    np.testing.assert_array_equal(rollout_returns(jax.random.key(0), wild, lambda *seen: jnp.int32(1), 2), [2, 2])


def test_episodes_begin_at_the_starts_that_can_be_asked_for_and_act_hears_the_time():
    simulator = make_simulator("corridor_3").replace(horizon=9)
    key = jax.random.key(3)
    places = draw_starts(key, simulator, 4)[:, 0]

    def act(key, observation, time):
        """Far right at once, but only from the first step on, so the steps paid tell the time it was."""
        return jnp.where(time < 7, 1.0, -8.0)[None]

    assert len(set(np.asarray(places).tolist())) == 4
    # Seven steps bring it there, and the first one back already lies before 1 unless the start was late.
    np.testing.assert_array_equal(rollout_returns(key, simulator, act, 4), 1 + (places + 6 / 4 >= 1))
