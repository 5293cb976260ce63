"""brax's worlds against brax's own environments, step by step; without brax one line says what is missing."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.cli import main
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.checks import check_simulator
from sbmrl.games.continuous.simulator import rollout_returns
from sbmrl.games.continuous.worlds import brax as worlds

# name -> (steps compared, largest difference of a position and of a speed, how hard actions push)
NAMES = {"brax:inverted_pendulum": (12, 1e-6, 1e-5, 0.3), "brax:hopper": (40, 1e-5, 2e-3, 1.2)}


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_is_asked_for_in_one_line(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "pal", "--env", name, "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told == f"sbmrl: error: env: {name} needs the package brax: pip install 'sbmrl[brax]'\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.xdist_group("brax")
@pytest.mark.parametrize("name", NAMES)
def test_brax_and_we_step_pay_and_end_alike(name):
    """Along brax's own episodes, whose states are carried on, from what is seen of each of them."""
    pytest.importorskip("brax")
    num_steps, near, slow, width = NAMES[name]
    simulator, rules = make_simulator(name), make_simulator(name).rules
    check_simulator(simulator, "")
    hops = name == "brax:hopper"
    environment = worlds._hopper() if hops else worlds._inverted_pendulum()

    def step(carried, key):
        state, seen = carried
        action = width * jax.random.uniform(key, (environment.action_size,), minval=-1.0)
        theirs = environment.step(state, jnp.clip(action, -1, 1))
        told = theirs.obs.at[0].add(-state.obs[0]) if hops else theirs.obs  # how far, in place of where
        ours = rules.step(key, {}, seen, action)
        paid = rules.reward({}, seen, action, ours), rules.terminated({}, ours)
        return (theirs, told), (seen, told, ours, (theirs.reward, paid[0]), (theirs.done, paid[1]))

    def episode(key):
        state = environment.reset(key)
        seen = state.obs.at[0].set(0.0) if hops else state.obs
        same = seen - rules.start(key, {})
        return same, jax.lax.scan(step, (state, seen), jax.random.split(key, num_steps))[1]

    same, found = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 8))
    seen, theirs, ours, rewards, ends = jax.tree.map(np.asarray, found)
    over = np.cumsum(ends[0], axis=1) - ends[0] > 0  # brax goes on behind the end
    np.testing.assert_array_equal(same, 0.0)
    half = seen.shape[-1] // 2
    np.testing.assert_allclose(ours[~over][:, :half], theirs[~over][:, :half], atol=near)
    np.testing.assert_allclose(ours[~over][:, half:], theirs[~over][:, half:], atol=slow)
    assert np.abs(theirs - seen)[~over][:, half:].mean() > 100 * slow  # what a step changes is far more
    np.testing.assert_allclose(*(paid[~over] for paid in rewards), atol=1e-2 if hops else 0)
    np.testing.assert_array_equal(*(end[~over] for end in ends))
    assert ends[0][~over].any()


@pytest.mark.xdist_group("brax")
def test_the_pendulum_can_be_balanced_to_the_end():
    pytest.importorskip("brax")
    world = make_simulator("brax:inverted_pendulum")
    assert world.known is not None
    gains = jnp.array([[0.3, 3.0, 0.5, 0.5]])
    found = rollout_returns(jax.random.key(0), world, lambda key, seen, time: gains @ seen, 8)
    np.testing.assert_array_equal(found, world.known.optimal)
    found = rollout_returns(
        jax.random.key(1), world, lambda key, seen, time: jax.random.uniform(key, (1,), minval=-1.0), 400
    )
    assert abs(float(found.mean()) - world.known.uniform) < 4 * float(found.std()) / 20
