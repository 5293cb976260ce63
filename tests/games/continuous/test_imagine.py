"""Playing in models: the truth as a model plays as the world does, and each member by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble, take_member
from sbmrl.games.continuous.family import Prediction
from sbmrl.games.continuous.imagine import imagine
from sbmrl.games.continuous.physics import PhysicsOptions, make_physics_family, model_of
from sbmrl.games.continuous.simulator import Discrete, draw_starts, rollout_returns

OPTIONS = EnsembleOptions(num_members=3, hidden=(16,))


def balance(simulator):
    """A policy without chance, and the same for many at once."""
    weights = jnp.linspace(-1.0, 2.0, simulator.rules.observation_size)

    def act(key, observation, time):
        pushed = jnp.dot(observation, weights)
        return (pushed > 0).astype(int) if isinstance(simulator.rules.actions, Discrete) else pushed[None]

    return act, lambda key, observation: jnp.vectorize(lambda x: act(key, x, 0), signature=_signature(simulator))(
        observation
    )


def _signature(simulator):
    return "(d)->()" if isinstance(simulator.rules.actions, Discrete) else "(d)->(a)"


def noisy(key, observation):
    return observation[..., :1] + jax.random.normal(key, (*observation.shape[:-1], 1))


def zeros(key, observation):
    return jnp.zeros((*observation.shape[:-1], 1))


def counting(key, model, observation, action):
    """Member m of M adds `model[m]` to what is seen."""
    added = model.reshape(-1, *[1] * (observation.ndim - 1))
    return Prediction(observation + added, jnp.zeros(observation.shape[:-1], bool))


@pytest.mark.parametrize("name", ["gymnax:Pendulum-v1", "gymnax:CartPole-v1", "gymnax:CartPole-v1:continuous"])
def test_in_the_true_model_it_is_played_as_in_the_world(name):
    simulator, key = make_simulator(name), jax.random.key(0)
    act, act_many = balance(simulator)
    starts = draw_starts(key, simulator, 5)
    predict = make_physics_family(simulator, PhysicsOptions()).predict
    # Long enough for every cart-pole to fall, too short for rounding to grow in the pendulum.
    simulator = simulator.replace(horizon=100)
    found = imagine(key, predict, model_of(simulator), 1, simulator, act_many, starts, 100)
    np.testing.assert_allclose(
        found.reward.sum(0)[0], rollout_returns(key, simulator, act, 5), rtol=2e-3, err_msg="returns"
    )
    np.testing.assert_array_equal(found.observation[0, 0], starts)
    np.testing.assert_array_equal(found.observation[1:], found.next_observation[:-1])
    assert not found.clamped.any()
    assert bool(found.terminated.any()) == ("Cart" in name)


def test_behind_a_termination_nothing_moves_and_nothing_is_paid():
    """Members walk the corridor left by 0.1 and 0.3 a step from −0.75: out in the third step, and in the first."""
    simulator = make_simulator("corridor")
    starts = jnp.array([[-0.75], [0.0]])
    found = imagine(jax.random.key(0), counting, jnp.array([-0.1, -0.3]), 2, simulator, zeros, starts, 5)
    alive = [[True, True, True, False, False], [True] * 5], [[True] + [False] * 4, [True] * 4 + [False]]
    np.testing.assert_array_equal(found.alive, np.moveaxis(np.array(alive), -1, 0))
    np.testing.assert_array_equal(found.terminated[:, 0, 0], [False, False, True, False, False])
    np.testing.assert_array_equal(found.reward.sum(0), [[1, 0], [1, 1]])
    np.testing.assert_allclose(found.next_observation[-1, ..., 0], [[-1.05, -0.5], [-1.05, -1.2]], atol=1e-6)
    np.testing.assert_array_equal(found.observation[3:, 0, 0], found.next_observation[3:, 0, 0])


def test_a_member_plays_its_trajectories_alone_or_each_goes_through_all_members():
    simulator, adds = make_simulator("corridor"), jnp.array([0.0, 1e-3, 1e-6])

    def steps(propagation):
        starts = jnp.zeros((40, 1))
        found = imagine(jax.random.key(0), counting, adds, 3, simulator, zeros, starts, 30, propagation)
        moved = np.asarray(found.next_observation - found.observation)[..., 0]
        return np.abs(moved[..., None] - np.asarray(adds)).argmin(-1)  # [H, M, S] the member that answered

    fixed, random = steps("fixed"), steps("random")
    np.testing.assert_array_equal(fixed, np.broadcast_to(np.arange(3)[:, None], fixed.shape))
    np.testing.assert_array_equal(np.sort(random, axis=1), fixed)  # each member answers once for each start
    shares = np.stack([(random == member).mean(axis=(0, 2)) for member in range(3)])
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    changes = (random[1:] != random[:-1]).mean()
    np.testing.assert_allclose(changes, 2 / 3, atol=0.05)


def test_all_members_play_the_same_starts_and_one_alone_plays_the_same():
    simulator, key = make_simulator("gymnax:Pendulum-v1"), jax.random.key(0)
    family, act = make_ensemble(simulator.rules, OPTIONS), balance(simulator)[1]
    model, starts = family.init(key).model, draw_starts(key, simulator, 4)
    found = imagine(key, family.predict, model, 3, simulator, act, starts, 6)
    np.testing.assert_array_equal(found.observation[0], jnp.stack([starts] * 3))
    assert jnp.ptp(found.next_observation[0], axis=0).max() > 1e-3
    alone = imagine(key, family.predict, take_member(model, 2), 1, simulator, act, starts, 6)
    np.testing.assert_allclose(alone.next_observation[:, 0], found.next_observation[:, 2], rtol=1e-4, atol=1e-4)


def test_clamped_steps_are_told_while_the_trajectory_lives():
    simulator = make_simulator("corridor")

    def wild(key, model, observation, action):
        told = counting(key, model, observation, action)
        return Prediction(told.observation, jnp.ones(observation.shape[:-1], bool))

    found = imagine(jax.random.key(0), wild, jnp.array([-0.2]), 1, simulator, zeros, jnp.array([[-0.75]]), 4)
    np.testing.assert_array_equal(found.clamped[:, 0, 0], [True, True, False, False])


@pytest.mark.parametrize("propagation", ["fixed", "random"])
def test_seeds_side_by_side_are_those_one_by_one_and_none_spoils_its_neighbour(propagation):
    simulator = make_simulator("gymnax:Pendulum-v1")
    family = make_ensemble(simulator.rules, OPTIONS)

    def run(key, model):
        starts = draw_starts(key, simulator, 4)
        return imagine(key, family.predict, model, 3, simulator, noisy, starts, 5, propagation)

    keys = jax.random.split(jax.random.key(0), 2)
    models, many = jax.vmap(lambda key: family.init(key).model)(keys), jax.jit(jax.vmap(run))
    together = many(keys, models)
    for number in range(2):
        alone = run(keys[number], jax.tree.map(lambda x, n=number: x[n], models))
        jax.tree.map(lambda x, y, n=number: np.testing.assert_allclose(x[n], y, rtol=1e-4, atol=1e-4), together, alone)
    spoilt = many(keys, jax.tree.map(lambda x: x.at[0].set(jnp.nan) if x.dtype == jnp.float32 else x, models))
    assert jnp.isnan(spoilt.next_observation[:, ..., 0][:, 0]).any()
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[1], y[1]), spoilt, together)
