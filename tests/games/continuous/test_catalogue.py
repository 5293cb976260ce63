"""The worlds: those of gymnax against gymnax, the others against what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.errors import InputError
from sbmrl.games.continuous.catalogue import WORLDS, make_simulator, summaries
from sbmrl.games.continuous.simulator import Box, clip_action, random_physics
from sbmrl.games.continuous.worlds import brax

ALL = [*WORLDS, "corridor_4"]
NUM_STATES = 200


def pendulum(gymnax_state, physics, params, seen):
    state = gymnax_state(theta=jnp.arctan2(seen[1], seen[0]), theta_dot=seen[2], last_u=jnp.zeros(()), time=0)
    return state, params.replace(m=physics["mass"], l=physics["length"], g=physics["gravity"])


def cart_pole(gymnax_state, physics, params, seen):
    cart, pole, length = physics["cart_mass"], physics["pole_mass"], physics["length"]
    state = gymnax_state(x=seen[0], x_dot=seen[1], theta=seen[2], theta_dot=seen[3], time=0)
    return state, params.replace(
        masscart=cart,
        masspole=pole,
        total_mass=cart + pole,
        length=length,
        polemass_length=pole * length,
        gravity=physics["gravity"],
        force_mag=physics["force"],
    )


def mountain_car(gymnax_state, physics, params, seen):
    state = gymnax_state(position=seen[0], velocity=seen[1], time=0)
    return state, params.replace(power=physics["power"], gravity=physics["gravity"])


def acrobot(gymnax_state, physics, params, seen):
    angles = jnp.arctan2(seen[1], seen[0]), jnp.arctan2(seen[3], seen[2])
    state = gymnax_state(joint_angle1=angles[0], joint_angle2=angles[1], velocity_1=seen[4], velocity_2=seen[5], time=0)
    return state, params.replace(
        link_mass_1=physics["mass_1"],
        link_mass_2=physics["mass_2"],
        link_length_1=physics["length_1"],
        link_length_2=physics["length_2"],
        link_com_pos_1=physics["length_1"] / 2,
        link_com_pos_2=physics["length_2"] / 2,
    )


def reacher(gymnax_state, physics, params, seen):
    angles = jnp.arctan2(seen[2:4], seen[0:2])
    state = gymnax_state(angles=angles, angle_vels=seen[4:6], goal_xy=seen[6:8], time=0.0)
    return state, params.replace(torque_scale=physics["torque"])


# name -> (gymnax's state and params, how wide to draw what is seen, our action as gymnax wants it)
GYMNAX = {
    "gymnax:Pendulum-v1": (pendulum, [1, 1, 8], lambda action: action[0]),
    "gymnax:CartPole-v1": (cart_pole, [2.4, 3, 0.2, 3], lambda action: action),
    "gymnax:CartPole-v1:continuous": (cart_pole, [2.4, 3, 0.2, 3], lambda action: (action[0] + 1) / 2),
    "gymnax:MountainCarContinuous-v0": (mountain_car, [1.2, 0.07], lambda action: action[0]),
    "gymnax:Acrobot-v1": (acrobot, [1, 1, 1, 1, 12, 28], lambda action: action),
    "gymnax:Reacher-misc": (reacher, [1, 1, 1, 1, 5, 5, 2, 2], lambda action: action),
}


def draw_action(key, actions):
    if isinstance(actions, Box):
        return jax.random.uniform(
            key, (len(actions.low),), minval=jnp.array(actions.low), maxval=jnp.array(actions.high)
        )
    return jax.random.randint(key, (), 0, actions.num)


def draw_seen(key, rules, widths):
    """A possible observation: the starts alone would tell little."""
    return rules.project(jax.random.uniform(key, (len(widths),), minval=-jnp.array(widths), maxval=jnp.array(widths)))


@pytest.mark.parametrize("name", GYMNAX)
def test_gymnax_and_we_step_pay_end_and_start_alike(name):
    import gymnax

    translate, widths, their_action = GYMNAX[name]
    simulator = make_simulator(name)
    rules = simulator.rules
    environment, defaults = gymnax.make(name.split(":")[1])
    assert simulator.horizon == defaults.max_steps_in_episode
    assert (rules.observation_size,) == environment.observation_space(defaults).shape
    template = type(environment.reset_env(jax.random.key(0), defaults)[1])

    def both(key):
        """A random state and action, with the true physics in half of the cases and drawn ones in the others."""
        keys = jax.random.split(key, 5)
        drawn = random_physics(keys[0], simulator).physics
        physics = jax.tree.map(lambda a, b: jnp.where(jax.random.bernoulli(keys[1]), a, b), drawn, simulator.physics)
        if name == "gymnax:Acrobot-v1":
            physics["gravity"] = 9.8  # a constant there
        seen, action = draw_seen(keys[2], rules, widths), draw_action(keys[3], rules.actions)
        following = rules.step(keys[4], physics, seen, action)
        ours = following, rules.reward(physics, seen, action, following), rules.terminated(physics, following)
        state, params = translate(template, physics, defaults, seen)
        told, _, reward, over, _ = environment.step_env(keys[4], state, their_action(action), params)
        before = environment.is_terminated(state, params)
        starts = rules.start(keys[4], physics), environment.reset_env(keys[4], params)[0]
        return ours, (told, reward, over), before, starts

    with jax.enable_x64(True):  # in single precision a fast acrobot magnifies the rounding
        found = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(0), NUM_STATES))
        ours, theirs, before, starts = jax.tree.map(np.asarray, found)
    np.testing.assert_allclose(*starts, atol=1e-9)
    # CartPole pays by the state before the step; nobody steps from where it is over.
    alive = ~before
    assert alive.sum() > NUM_STATES / 2
    for mine, gymnaxs in zip(ours, theirs, strict=True):
        scale = 1 + np.abs(gymnaxs[alive])
        np.testing.assert_allclose(mine[alive] / scale, gymnaxs[alive] / scale, atol=1e-9)
    if name.startswith(("gymnax:Acrobot", "gymnax:CartPole", "gymnax:Mountain")):
        assert 0 < np.mean(theirs[2][alive]) < 1


@pytest.mark.parametrize("name", ALL)
def test_rules_fit_together(name):
    simulator = make_simulator(name)
    rules, physics = simulator.rules, simulator.physics
    assert simulator.name == name

    def check(key):
        keys = jax.random.split(key, 4)
        first, action = rules.start(keys[0], physics), draw_action(keys[1], rules.actions)
        wide = 5 * action if isinstance(rules.actions, Box) else 5 * action - 1
        clipped = clip_action(rules.actions, wide)
        following = [rules.step(keys[2], physics, first, each) for each in (action, wide, clipped)]
        paid = [rules.reward(physics, first, each, following[0]) for each in (wide, clipped)]
        anything = 10 * jax.random.normal(keys[3], first.shape)
        once = rules.project(anything)
        return first, following, paid, (once, rules.project(once)), [rules.project(x) for x in (first, following[0])]

    first, following, paid, projected, kept = jax.jit(jax.vmap(check))(jax.random.split(jax.random.key(1), 50))
    assert first.shape == following[0].shape == (50, rules.observation_size)
    assert first.dtype == following[0].dtype == jnp.float32
    np.testing.assert_allclose(following[1], following[2], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(*paid, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(*projected, atol=1e-6)
    np.testing.assert_allclose(kept[0], first, atol=1e-6)
    np.testing.assert_allclose(kept[1], following[0], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(make_simulator(name).rules.actions, Box)])
def test_gradients_flow_through_a_few_steps(name):
    simulator = make_simulator(name)
    rules, physics, key = simulator.rules, simulator.physics, jax.random.key(0)

    def far(action):
        """Where three steps lead, and what they pay."""
        seen = rules.start(key, physics)
        for _ in range(3):
            seen = rules.step(key, physics, seen, action)
        return jnp.sum(seen) + rules.reward(physics, seen, action, seen)

    slope = np.asarray(jax.grad(far)(jnp.full_like(draw_action(key, rules.actions), 0.1)))
    assert np.isfinite(slope).all()
    assert (slope != 0).all()


@pytest.mark.parametrize("name", [name for name in ALL if make_simulator(name).rules.chart])
def test_a_chart_tells_what_its_state_is_and_back(name):
    chart = make_simulator(name).rules.chart
    assert chart is not None
    states = jax.random.uniform(jax.random.key(0), (20, len(chart.low))) * 0.98 + 0.01
    states = jnp.array(chart.low) + states * (jnp.array(chart.high) - jnp.array(chart.low))
    np.testing.assert_allclose(jax.vmap(lambda state: chart.state_of(chart.observe(state)))(states), states, atol=1e-5)


@pytest.mark.parametrize("name", ["gymnax:Pendulum-v1", "gymnax:Acrobot-v1", "gymnax:Reacher-misc"])
def test_projecting_is_finite_everywhere_and_so_is_its_gradient(name):
    rules = make_simulator(name).rules
    for vector in jnp.zeros(rules.observation_size), jnp.ones(rules.observation_size):
        slope = jax.jacobian(rules.project)(vector)
        assert np.isfinite(np.asarray(slope)).all()


def test_predicted_angles_are_put_back_onto_the_circle():
    rules = make_simulator("gymnax:Pendulum-v1").rules
    np.testing.assert_allclose(rules.project(jnp.array([3.0, 4.0, 9.0])), [0.6, 0.8, 8], rtol=1e-6)
    rules = make_simulator("gymnax:Reacher-misc").rules
    found = rules.project(jnp.array([3.0, 0.0, 4.0, -2.0, 7.0, 7.0, 1.0, -3.0]))
    np.testing.assert_allclose(found, [0.6, 0, 0.8, -1, 7, 7, 1, -2], atol=1e-6)


def test_the_point_mass_moves_as_many_small_steps_would_and_stops_at_the_edge():
    simulator = make_simulator("point_mass")
    physics = {key: float(value) for key, value in simulator.physics.items()}
    place, velocity, push = np.array([0.2, -0.4]), np.array([1.0, 0.5]), np.array([0.7, -0.3])
    x, v, small = place.copy(), velocity.copy(), 0.05 / 20000
    for _ in range(20000):
        middle = v + small / 2 * (physics["force"] * push - physics["damping"] * v) / physics["mass"]
        x += small * middle
        v += small * (physics["force"] * push - physics["damping"] * middle) / physics["mass"]
    seen = jnp.concatenate([jnp.asarray(part, jnp.float32) for part in (place, velocity, np.zeros(2))])
    following = simulator.rules.step(jax.random.key(0), simulator.physics, seen, jnp.asarray(push, jnp.float32))
    np.testing.assert_allclose(following, [*x, *v, 0, 0], atol=1e-5)
    reward = simulator.rules.reward(simulator.physics, seen, jnp.asarray(push), jnp.array([0.6, -0.8, 0, 0, 0, 0]))
    np.testing.assert_allclose(reward, -1.4 - 0.5, rtol=1e-6)
    fast = jnp.array([1.35, 0.0, 9.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(
        simulator.rules.step(jax.random.key(0), simulator.physics, fast, jnp.zeros(2))[jnp.array([0, 2])], [1.4, 0]
    )


def test_the_corridors_noise_keeps_its_variance_and_its_memory():
    simulator = make_simulator("corridor_4")
    rules, keys = simulator.rules, jax.random.split(jax.random.key(0), 4000)
    first = jax.vmap(rules.start, (0, None))(keys, simulator.physics)
    following = jax.vmap(rules.step, (0, None, 0, None))(keys[::-1], simulator.physics, first, jnp.array([1.0]))
    np.testing.assert_allclose(jnp.var(first[:, 1:], axis=0), 1, atol=0.1)
    np.testing.assert_allclose(jnp.var(following[:, 1:], axis=0), 1, atol=0.1)
    np.testing.assert_allclose(jnp.mean(first[:, 1:] * following[:, 1:], axis=0), 0.9, atol=0.1)
    np.testing.assert_allclose(following[:, 0], first[:, 0] + 0.25, atol=1e-6)
    assert -0.75 <= first[:, 0].min() < first[:, 0].max() <= -0.65


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("gymnax:Pendulum-v0", "did you mean 'gymnax:Pendulum-v1'"),
        ("corridor_1", "did you mean 'corridor_D'"),
        ("corridor_D", "a real number for D, 2 or more"),
    ],
)
def test_an_unknown_world_is_refused_with_the_nearest(wrong, told):
    with pytest.raises(InputError, match=told):
        make_simulator(wrong)


def test_a_listing_has_a_line_for_every_world():
    assert set(summaries()) == {*WORLDS, *brax.WORLDS, "corridor_D"}
    assert all(line and "\n" not in line for line in summaries().values())
