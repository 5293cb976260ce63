"""Episodes in models: the truth as a model is the world, each member by itself, and what lies behind an end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from sbmrl.core.environment import auto_reset
from sbmrl.core.rollout import rollout, start
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.ensemble import EnsembleOptions, make_ensemble
from sbmrl.games.continuous.episodes import (
    EpisodeState,
    Group,
    at_random,
    imagined_environment,
    play,
    play_from,
    play_side_by_side,
    real_environment,
)
from sbmrl.games.continuous.family import Prediction
from sbmrl.games.continuous.physics import model_of


class Adding(struct.PyTreeNode):
    """Member m of M adds `added[m]` to what is seen, and says that it was clamped."""

    added: jax.Array

    @property
    def num_members(self):
        return len(self.added)

    def predict(self, rules, key, observation, action):
        added = self.added.reshape(-1, *[1] * (observation.ndim - 1))
        return Prediction(observation + added, jnp.ones(observation.shape[:-1], bool))

    def loss(self, rules, transitions, valid):
        raise NotImplementedError


def still(key, observation):
    return jnp.zeros((*observation.shape[:-1], 1))


def at(starts):
    return starts, EpisodeState(starts, jnp.zeros(len(starts), jnp.int32))


def test_the_true_physics_as_a_model_is_the_world():
    world = make_simulator("gymnax:Pendulum-v1")
    model = jax.tree.map(lambda x: jnp.concatenate([x, x]), model_of(world).log_physics)
    model = model_of(world).replace(log_physics=model)  # two members, both true
    act = lambda key, observation: 0.3 * jnp.sin(7.0 * observation[..., :1])  # noqa: E731
    real = play(jax.random.key(0), real_environment(world), world, act, 4)
    for propagation in ("fixed", "random"):
        imagined = play(jax.random.key(0), imagined_environment(world, model, propagation), world, act, 4)
        np.testing.assert_allclose(imagined.returns, real.returns, rtol=1e-3)
        np.testing.assert_allclose(imagined.transitions.action, real.transitions.action, atol=0.05)


@pytest.mark.parametrize("num_episodes", [1, 3, 4, 7])
def test_any_number_of_episodes_is_dealt_to_the_members(num_episodes):
    """The first ⌈E/3⌉ of E episodes are in the first of three members, and so on."""
    adds = jnp.array([1e-3, 2e-3, 3e-3])
    environment = imagined_environment(make_simulator("corridor"), Adding(adds), "fixed")
    _, state = jax.vmap(environment.reset)(jax.random.split(jax.random.key(0), num_episodes))
    assert environment.step_many is not None
    keys = jax.random.split(jax.random.key(1), num_episodes)
    following, *_, info = environment.step_many(keys, state, jnp.zeros((num_episodes, 1)))
    member = np.arange(num_episodes) // -(-num_episodes // 3)
    np.testing.assert_allclose(following[:, 0], -0.75 + adds[member], rtol=1e-6)
    np.testing.assert_array_equal(info["share_clamped"], 1.0)
    one = environment.step(keys[0], jax.tree.map(lambda x: x[0], state), jnp.zeros(1))
    np.testing.assert_allclose(one[0], [-0.749], rtol=1e-6)


def test_an_episode_stays_with_its_member_or_goes_through_all_of_them():
    world, adds = make_simulator("corridor").replace(horizon=30), jnp.array([0.0, 1e-3, 1e-6])

    def answered(propagation):
        environment = imagined_environment(world, Adding(adds), propagation)
        rows = play_from(jax.random.key(0), environment, world, still, at(jnp.zeros((120, 1)))).transitions
        moved = np.asarray(rows.next_observation - rows.observation).reshape(120, 30, 1)
        return np.abs(moved - np.asarray(adds)).argmin(-1).reshape(3, 40, 30)  # the member that answered

    fixed, random = answered("fixed"), answered("random")
    np.testing.assert_array_equal(fixed, np.broadcast_to(np.arange(3)[:, None, None], fixed.shape))
    np.testing.assert_array_equal(np.sort(random, axis=0), fixed)  # each member answers once in each column
    np.testing.assert_allclose([(random == m).mean(axis=(1, 2)) for m in range(3)], 1 / 3, atol=0.06)
    np.testing.assert_allclose((random[..., 1:] != random[..., :-1]).mean(), 2 / 3, atol=0.05)


def test_behind_a_termination_nothing_is_paid_and_nothing_counts():
    """Members walk left by 0.1 and 0.3 a step from −0.75 and 0: out in the third, first and fourth step."""
    world = make_simulator("corridor").replace(horizon=5)
    starts = jnp.array([[-0.75], [0.0], [-0.75], [0.0]])
    environment = imagined_environment(world, Adding(jnp.array([-0.1, -0.3])), "fixed")
    played = play_from(jax.random.key(0), environment, world, still, at(starts))
    np.testing.assert_array_equal(played.returns, [1, 0, 1, 1])
    np.testing.assert_array_equal(played.valid.reshape(4, 5).sum(1), [3, 5, 1, 4])


def test_groups_side_by_side_are_played_as_each_alone():
    """Two in the world, which is stepped once for both, and two in a model, whose members go by an episode's place."""
    world = make_simulator("corridor").replace(horizon=20)
    real = real_environment(world)
    model = imagined_environment(world, Adding(jnp.array([0.0, 1e-3])), "random")
    sides = [(real, 0.1, 3), (real, 1.0, 5), (model, 0.1, 2), (model, 1.0, 7)]
    groups = [
        Group(key, environment, at_random(world, noise), jax.vmap(real.reset)(jax.random.split(key, num)))
        for key, (environment, noise, num) in zip(jax.random.split(jax.random.key(0), 4), sides, strict=True)
    ]
    together = play_side_by_side(world, groups)
    for group, played in zip(groups, together, strict=True):
        alone = play_side_by_side(world, [group])[0]
        jax.tree.map(np.testing.assert_array_equal, played, alone)
    assert len({float(played.transitions.action[0, 0]) for played in together}) == 4


def test_steps_of_many_episodes_are_those_of_each():
    world = real_environment(make_simulator("gymnax:CartPole-v1"))
    many = world._replace(step_many=jax.vmap(world.step))
    answer = lambda key, observation: (observation[:, 2] > 0).astype(jnp.int32)  # noqa: E731
    found = []
    for environment in (world, many):
        running = start(jax.random.key(0), environment, 3)
        found.append(rollout(jax.random.key(1), auto_reset(environment), answer, running, 120)[1])
    assert bool(found[0].terminated.any())
    for one, other in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_seed_that_diverges_spoils_none_beside_it():
    world = make_simulator("gymnax:Pendulum-v1").replace(horizon=5)
    family = make_ensemble(world.rules, EnsembleOptions(num_members=3, hidden=(16,)))
    keys = jax.random.split(jax.random.key(0), 2)
    models = jax.vmap(lambda key: family.init(key).model)(keys)
    noisy = lambda key, seen: seen[..., :1] + jax.random.normal(key, (*seen.shape[:-1], 1))  # noqa: E731
    run = jax.jit(jax.vmap(lambda key, model: play(key, imagined_environment(world, model, "random"), world, noisy, 6)))
    spoilt = jax.tree.map(lambda x: x.at[0].set(jnp.nan) if x.dtype == jnp.float32 else x, models)
    sound, found = run(keys, models).returns, run(keys, spoilt).returns
    assert jnp.isnan(found[0]).any()
    np.testing.assert_array_equal(found[1], sound[1])
