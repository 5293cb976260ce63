"""Ensembles and families of physics: each member by itself, early stopping, and what they learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.learner import gradient_norm
from sbmrl.core.options import with_traced
from sbmrl.errors import InputError
from sbmrl.games.continuous import ensemble, fitting, physics
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.ensemble import EnsembleModel, EnsembleOptions, Network, bounded, make_ensemble
from sbmrl.games.continuous.family import LIMIT, make_possible
from sbmrl.games.continuous.fitting import Fitted, FittingOptions, Objective, Source, fit_members, make_optimizer
from sbmrl.games.continuous.normaliser import following_of, identity, statistics
from sbmrl.games.continuous.physics import PhysicsModel, PhysicsOptions, make_physics_family, model_of
from sbmrl.games.continuous.replay import Transitions, empty, encode_action, newest, write
from sbmrl.games.continuous.simulator import Box, Rules, draw_starts, never

LINEAR = jnp.array([[0.9, 0.2], [-0.1, 0.95]])
PUSH = jnp.array([0.0, 0.3])
RULES = Rules(
    start=lambda key, physics: jax.random.normal(key, (2,)),
    step=lambda key, physics, observation, action: LINEAR @ observation + PUSH * action[0],
    reward=lambda physics, observation, action, following: -jnp.sum(observation**2),
    terminated=never,
    project=lambda observation: observation,
    observation_size=2,
    actions=Box((-1.0,), (1.0,)),
)
SMALL = EnsembleOptions(num_members=3, hidden=(16,), minibatch_size=16, num_epochs=3)


def seen(key, rules, physics, num, states):
    """A full replay of single steps from the given states `[n, D]` under uniform actions."""
    action = jax.random.uniform(key, (num, 1), minval=rules.actions.low[0], maxval=rules.actions.high[0])
    following = jax.vmap(rules.step, (None, None, 0, 0))(key, physics, states, action)
    transitions = Transitions(states, encode_action(rules.actions, action), following)
    return write(empty(num, rules.observation_size, 1), transitions, jnp.ones(num, bool))


def linear_replay(seed, num=200):
    key = jax.random.key(seed)
    return seen(key, RULES, {}, num, jax.random.normal(key, (num, 2)))


def pendulum_replay(seed, num):
    simulator, key = make_simulator("gymnax:Pendulum-v1"), jax.random.key(seed)
    states = draw_starts(key, simulator, num)
    spread = states.at[:, 2].multiply(6.0)  # starts turn at ±1, swings at up to ±8
    return seen(key, simulator.rules, simulator.physics, num, spread)


def close(x, y, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), x, y)


def part(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


@pytest.mark.parametrize("head", ["squared", "gaussian"])
def test_what_becomes_of_a_member_does_not_depend_on_how_many_there_are(head):
    found = []
    for num_members in (1, 3):
        family = make_ensemble(RULES, dataclasses.replace(SMALL, num_members=num_members, head=head))
        state, info = jax.jit(family.fit, static_argnums=(3, 4))(
            jax.random.key(1), family.init(jax.random.key(0)), [(linear_replay(0), 1.0)], 20, None
        )
        found.append((state.model.params, state.optimizer_state, info))
    close(part(found[0], 0), part(found[1], 0))
    first, second = part(found[1][0], 0), part(found[1][0], 1)
    assert gradient_norm(jax.tree.map(jnp.subtract, first, second)) > 0.1


def test_log_variances_are_bounded_with_a_gradient_everywhere():
    raw = jnp.array([-1e3, -20.0, -3.0, 0.0, 5.0, 1e3])
    found = bounded(raw)
    assert (found >= -10).all()
    assert (found <= 0.5 + 1e-4).all()  # softplus(0.5 + 10) is 0.00003 above
    assert (jnp.diff(found) >= 0).all()
    np.testing.assert_allclose(bounded(jnp.array(-4.0)), -4.0, atol=0.02)
    assert (jax.vmap(jax.grad(bounded))(raw[1:5]) > 0).all()


def test_a_gaussian_head_finds_mean_and_spread():
    """s' = s + 1 + 0.5·ε: predictions are spread as the world is, and none without a key."""
    key = jax.random.key(0)
    states, noise = jax.random.normal(key, (400, 2)), jax.random.normal(jax.random.key(1), (400, 2))
    transitions = Transitions(states, jnp.zeros((400, 1)), states + 1 + 0.5 * noise)
    replay = write(empty(400, 2, 1), transitions, jnp.ones(400, bool))
    options = EnsembleOptions(
        num_members=2, hidden=(8,), head="gaussian", learning_rate=1e-2, minibatch_size=64, num_epochs=40, patience=40
    )
    family = make_ensemble(RULES, options)
    state, info = jax.jit(family.fit, static_argnums=(3, 4))(key, family.init(key), [(replay, 1.0)], 20, None)
    observation, action = jnp.zeros((2, 2_000, 2)), jnp.zeros((2, 2_000, 1))
    drawn = state.model.predict(RULES, jax.random.key(2), observation, action).observation
    np.testing.assert_allclose(drawn.mean(1), 1.0, atol=0.15)
    np.testing.assert_allclose(drawn.std(1), 0.5, atol=0.1)
    assert np.ptp(state.model.predict(RULES, None, observation, action).observation, axis=1).max() < 1e-6
    assert (info["holdout_loss"] > 0).all()


def test_the_best_epoch_is_kept_and_patience_ends_the_search():
    """Steps of 1 lead from 11 to 0: the loss falls, then stays for long, then falls again, for the patient only."""
    errors = jnp.array([9.0, 8, 7, 6, 5, 4, 3, 2.99, 3, 3, 3, 1])  # at parameter 11, 10, ..., 0

    def losses(param, rows):
        return jnp.full(rows.shape[0], errors[11 - jnp.round(param).astype(int)] - 10.0)

    def sloping(param, rows):
        return jax.lax.stop_gradient(losses(param, rows) - param) + param

    found = []
    for patience in (3, 8):
        options = FittingOptions(minibatch_size=1, num_epochs=11, max_gradient_steps=11, patience=patience)
        objective = Objective(sloping, -10.0, losses)
        options = dataclasses.replace(options, learning_rate=1.0)
        start = jnp.array([11.0])
        fitted = Fitted(start, jax.vmap(make_optimizer(options).init)(start))
        replay = empty(10, 1, 1)._replace(count=jnp.int32(10))
        found.append(
            fit_members(jax.random.key(0), fitted, [Source(replay, jnp.zeros((10, 1)), 1.0)], objective, options)
        )
    (early, told), (late, also) = found
    np.testing.assert_allclose(early.params, [5.0], atol=1e-3)  # 2.99 is not 1 % better than 3
    np.testing.assert_allclose(late.params, [0.0], atol=1e-3)
    assert [int(told["num_epochs"][0]), int(also["num_epochs"][0])] == [9, 11]
    np.testing.assert_allclose([told["holdout_loss"][0], also["holdout_loss"][0]], [-7, -9])
    assert int(jax.tree.leaves(early.optimizer_state)[0][0]) == 6  # Adam's count is that of the same moment


def test_a_linear_world_is_learned_and_the_loss_on_new_data_is_that_before_the_fit():
    options = EnsembleOptions(
        num_members=2, hidden=(32,), learning_rate=5e-3, minibatch_size=32, num_epochs=60, patience=60
    )
    family, key = make_ensemble(RULES, options), jax.random.key(0)
    fit, replay = jax.jit(family.fit, static_argnums=(3, 4)), linear_replay(0)
    state = family.init(key)
    untrained = state.model.predict(RULES, None, *pair(replay, 2)).observation
    state, info = fit(key, state, [(replay, 1.0)], 50, None)
    expected = jnp.mean((untrained - replay.transitions.next_observation)[:, -50:] ** 2, axis=(1, 2))
    np.testing.assert_allclose(info["loss_on_new"], expected, rtol=1e-4)
    assert info["holdout_loss"].max() < 5e-3
    fresh = linear_replay(1)
    predicted = state.model.predict(RULES, None, *pair(fresh, 2)).observation
    assert jnp.mean((predicted - fresh.transitions.next_observation) ** 2) < 2e-3
    kept = state.model
    state, info = fit(key, state, [(replay, 1.0)], 50, None)
    assert info["loss_on_new"].max() < 5e-3
    by_hand = (predicted - fresh.transitions.next_observation) / state.model.normaliser.difference_scale
    loss = kept.loss(RULES, fresh.transitions, jnp.arange(200) < 100)
    np.testing.assert_allclose(loss, jnp.mean(by_hand[:, :100] ** 2, axis=(1, 2)), rtol=1e-3)


def pair(replay, num_members):
    """What is in a replay, for each member."""
    observation, action, _ = replay.transitions
    return jnp.stack([observation] * num_members), jnp.stack([action] * num_members)


def test_the_pendulum_is_learned():
    simulator = make_simulator("gymnax:Pendulum-v1")
    options = EnsembleOptions(
        num_members=2, hidden=(64, 64), activation="swish", learning_rate=3e-3, minibatch_size=64, num_epochs=30
    )
    family, key = make_ensemble(simulator.rules, options), jax.random.key(0)
    state, info = jax.jit(family.fit, static_argnums=(3, 4))(
        key, family.init(key), [(pendulum_replay(0, 2_000), 1.0)], 50, None
    )
    fresh = pendulum_replay(1, 500)
    predicted, clamped = state.model.predict(simulator.rules, None, *pair(fresh, 2))
    error = jnp.abs(predicted - fresh.transitions.next_observation).mean((0, 1))
    assert (error < jnp.array([0.01, 0.01, 0.04])).all()
    assert info["holdout_loss"].max() < 0.01
    assert not clamped.any()


def family_loss(simulator, model, transitions):
    valid = jnp.ones(transitions.action.shape[0], bool)
    return model.loss(simulator.rules, transitions, valid)[0]


@pytest.mark.parametrize("name", ["gymnax:Pendulum-v1", "gymnax:CartPole-v1"])
def test_physics_are_found_and_the_true_ones_make_no_error(name):
    simulator, key = make_simulator(name), jax.random.key(0)
    rules, size = simulator.rules, simulator.rules.observation_size
    states = 3 * draw_starts(key, simulator, 300)
    states = jax.vmap(rules.project)(states)
    action = jax.random.randint(key, (300,), 0, 2) if "Cart" in name else jax.random.uniform(key, (300, 1))
    following = jax.vmap(rules.step, (None, None, 0, 0))(key, simulator.physics, states, action)
    transitions = Transitions(states, encode_action(rules.actions, action), following)
    replay = write(empty(300, size, transitions.action.shape[1]), transitions, jnp.ones(300, bool))
    predicted = model_of(simulator).predict(rules, None, states[None], action[None]).observation
    np.testing.assert_allclose(predicted[0], following, atol=1e-5)
    assert family_loss(simulator, model_of(simulator), transitions) < 1e-10
    options = PhysicsOptions(num_members=2, learning_rate=3e-2, minibatch_size=32, num_epochs=60, patience=60)
    family = make_physics_family(simulator, options)
    state, info = jax.jit(family.fit, static_argnums=(3, 4))(
        key, family.init(jax.random.key(3)), [(replay, 1.0)], 20, None
    )
    assert info["loss_on_new"].min() > 1e-3
    assert info["holdout_loss"].max() < 1e-3
    assert isinstance(state.model, PhysicsModel)


def test_a_world_without_physics_cannot_be_fitted_by_them():
    with pytest.raises(InputError, match="must have physics"):
        make_physics_family(make_simulator("corridor").replace(rules=RULES._replace(ranges=())), PhysicsOptions())


def test_models_are_strategies_in_a_carry_and_a_member_is_one_by_itself():
    family, key = make_ensemble(RULES, SMALL), jax.random.key(0)
    state, replay = family.init(key), linear_replay(0)
    again = make_ensemble(RULES, dataclasses.replace(SMALL))
    assert jax.tree.structure(again.init(key)) == jax.tree.structure(state)

    def repeat(state, key):
        return family.fit(key, state, [(replay, 1.0)], 10, None)

    state, _ = jax.lax.scan(repeat, state, jax.random.split(key, 2))
    observation, action = pair(replay, 3)
    alone = state.model.replace(params=jax.tree.map(lambda x: x[1:2], state.model.params))
    together = state.model.predict(RULES, None, observation, action).observation
    close(alone.predict(RULES, None, observation[:1], action[:1]).observation[0], together[1])


def test_without_a_holdout_members_are_judged_by_all_that_is_filled():
    family, key = make_ensemble(RULES, dataclasses.replace(SMALL, holdout_every=0)), jax.random.key(0)
    replay = linear_replay(0)
    half = replay._replace(count=jnp.int32(100))
    state, info = family.fit(key, family.init(key), [(half, 1.0)], 10, None)
    close(info["holdout_loss"], state.model.loss(RULES, replay.transitions, jnp.arange(200) < 100))


def test_the_normaliser_can_be_kept():
    family, key = make_ensemble(RULES, dataclasses.replace(SMALL, renormalise=False)), jax.random.key(0)
    state, _ = family.fit(key, family.init(key), [(linear_replay(0), 1.0)], 10, None)
    close(state.model.normaliser, identity(2, 1))


def test_predictions_are_clamped_counted_and_projected():
    rules = make_simulator("gymnax:Pendulum-v1").rules
    found = make_possible(rules, jnp.array([[0.0, 2.0, 3.0], [300.0, 0.0, -900.0]]))
    np.testing.assert_array_equal(found.clamped, [False, True])
    np.testing.assert_allclose(found.observation, [[0, 1, 3], [1, 0, -8]], atol=1e-6)
    wild = EnsembleModel(make_ensemble(RULES, SMALL).init(jax.random.key(0)).model.params, identity(2, 1), NETWORK)
    wild = wild.replace(params=jax.tree.map(lambda x: 1e4 * (x + 1), wild.params))
    far = wild.predict(RULES, None, jnp.ones((3, 5, 2)), jnp.ones((3, 5, 1)))
    assert far.clamped.all()
    assert (jnp.abs(far.observation) == LIMIT).all()


NETWORK = Network((16,), "relu", "squared", 2)


@pytest.mark.parametrize("family", ["ensemble", "physics"])
def test_numbers_that_nobody_can_predict_do_not_count(family):
    """In a corridor with noise a model is judged by the place: noise does not hide that it knows it, or does not."""
    simulator, key = make_simulator("corridor_10"), jax.random.key(5)
    rules = simulator.rules
    states = draw_starts(key, simulator, 300).at[:, 0].set(jax.random.uniform(key, (300,), minval=-0.9, maxval=1.5))
    replay = seen(key, rules, simulator.physics, 300, states)
    if family == "physics":
        model, blocked = (
            model_of(simulator.replace(physics={"speed": jnp.float32(0.25), "wall": jnp.float32(wall)}))
            for wall in (4.0, 1.0)
        )
        normaliser = statistics(replay, "absolute")
        own, wrong = (one.replace(normaliser=normaliser) for one in (model, blocked))
        assert float(own.loss(rules, *newest(replay, 300))[0]) < 1e-10
        assert float(wrong.loss(rules, *newest(replay, 300))[0]) > 1.0
    else:
        learner = make_ensemble(rules, SMALL)
        state, _ = learner.fit(key, learner.init(key), [(replay, 1.0)], 10, None)
        every = rules._replace(predictable=None)
        each = [state.model.loss(rules._replace(predictable=(one,)), *newest(replay, 300)) for one in range(10)]
        close(state.model.loss(rules, *newest(replay, 300)), each[0])
        close(state.model.loss(every, *newest(replay, 300)), sum(each) / 10, 1e-4)


def test_frozen_dimensions_stay_where_they_are():
    key = jax.random.key(0)
    states = jax.random.normal(key, (100, 2))
    transitions = Transitions(states, jnp.zeros((100, 1)), states.at[:, 0].add(states[:, 1]))
    replay = write(empty(100, 2, 1), transitions, jnp.ones(100, bool))
    family = make_ensemble(RULES, SMALL)
    state, _ = family.fit(key, family.init(key), [(replay, 1.0)], 10, None)
    predicted = state.model.predict(RULES, key, *pair(replay, 3)).observation
    np.testing.assert_array_equal(predicted[..., 1], jnp.stack([states[:, 1]] * 3))
    np.testing.assert_array_equal(
        predicted[..., 1], following_of(state.model.normaliser, pair(replay, 3)[0], predicted)[..., 1]
    )


def test_seeds_side_by_side_are_those_one_by_one_and_none_spoils_its_neighbour():
    family = make_ensemble(RULES, SMALL)
    keys = jax.random.split(jax.random.key(0), 2)
    replays = jax.tree.map(lambda *x: jnp.stack(x), linear_replay(0), linear_replay(1))

    def run(key, replay):
        state, info = family.fit(key, family.init(key), [(replay, 1.0)], 10, None)
        return state, info, state.model.predict(RULES, key, *pair(replay, 3))

    many = jax.jit(jax.vmap(run))
    together = many(keys, replays)
    for number in range(2):
        close(part(together, number), run(keys[number], part(replays, number)), 1e-4)
    poisoned = jax.tree.map(lambda x: x.at[0].set(jnp.nan) if x.ndim > 1 else x, replays)
    spoilt = many(keys, poisoned)
    jax.tree.map(np.testing.assert_array_equal, part(spoilt, 1), part(together, 1))
    first = family.init(keys[0])
    jax.tree.map(np.testing.assert_array_equal, part(spoilt, 0)[0].model.params, first.model.params)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"holdout_every": 1}, "nothing to train on"),
        ({"num_members": 0}, "num_members"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"max_gradient_steps": 2}, "at least num_epochs, which is 3"),
    ],
)
def test_numbers_without_a_meaning_are_refused(changes, told):
    with pytest.raises(InputError, match=told):
        ensemble.check(dataclasses.replace(SMALL, **changes), "")


def test_the_defaults_are_allowed():
    ensemble.check(EnsembleOptions(), "")
    physics.check(PhysicsOptions(), "")
    fitting.check(FittingOptions(holdout_every=0), "")


def test_traced_numbers_can_lie_side_by_side():
    key, replay = jax.random.key(0), linear_replay(0)

    def run(rate, decay):
        family = make_ensemble(RULES, with_traced(SMALL, {"learning_rate": rate, "weight_decay": decay}))
        return family.fit(key, family.init(key), [(replay, 1.0)], 10, None)[0].model.params

    rates, decays = jnp.array([1e-3, 1e-2]), jnp.array([0.0, 3.0])
    together = jax.jit(jax.vmap(run))(rates, decays)
    for number in range(2):
        close(part(together, number), run(float(rates[number]), float(decays[number])), 1e-4)
