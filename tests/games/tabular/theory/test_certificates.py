"""What is certified of the repairs and of collected data: true on named worlds, for every loss, and told in words."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from sbmrl.core.game import greedy, random_rows
from sbmrl.games.tabular.catalogue import WORLDS
from sbmrl.games.tabular.closed_forms import (
    finite_horizon_occupancy,
    finite_horizon_optimum,
    finite_horizon_return,
    optimal_action_values,
    uniform_policy,
)
from sbmrl.games.tabular.display import DISPLAY
from sbmrl.games.tabular.mdp import make_world, with_transition
from sbmrl.games.tabular.payoffs import LOSSES, Measurement, expected_loss
from sbmrl.games.tabular.responses import sample_transitions
from sbmrl.games.tabular.theory.certificates import Certificate, certify_data, certify_noise, certify_reward


def leaders_cost(measurement, wants, policy, model):
    """L, by the definition of the payoffs."""
    mdp = measurement.mdp
    worth = {
        "fit": -expected_loss(measurement, finite_horizon_occupancy(mdp, policy), model),
        "random_fit": -expected_loss(measurement, measurement.random_occupancy, model),
        "real_return": finite_horizon_return(mdp, policy),
        "model_return": finite_horizon_return(with_transition(mdp, model), policy),
    }
    return -sum(weight * worth[name] for name, weight in wants.items())


@functools.partial(jax.jit, static_argnames=("loss", "other"))
def certified(mdp, loss, other, alpha):
    """For four models near the truth and far: regret, the leader's excess cost by its definition, what is certified."""
    measurement = Measurement(mdp, LOSSES[loss], finite_horizon_occupancy(mdp, uniform_policy(mdp)))
    wants = {"fit": alpha, other: 1.0 - alpha}
    reply = uniform_policy(mdp)  # the statements hold for whatever the follower answers to the truth

    def one(seed):
        wrong = 0.1 + 0.2 * seed
        model = (1.0 - wrong) * mdp.transition + wrong * random_rows(jax.random.key(seed), mdp.transition.shape)
        model = with_transition(mdp, model).transition
        policy = greedy(optimal_action_values(with_transition(mdp, model)))
        excess = leaders_cost(measurement, wants, policy, model)
        excess -= leaders_cost(measurement, wants, reply, mdp.transition)
        given = (measurement, wants, policy, model, reply)
        regret = finite_horizon_optimum(mdp).value - finite_horizon_return(mdp, policy)
        return regret, excess, certify_reward(*given) | certify_noise(*given)

    return jax.vmap(one)(jnp.arange(4))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("other", "name"),
    [("real_return", "reward_in_world"), ("model_return", "reward_in_model"), ("random_fit", "random_noise")],
)
@pytest.mark.parametrize("world", ["simple_mdp_2", "ergodic_mdp_1"])
def test_the_repairs_certificates_hold_for_every_loss(world, other, name, loss):
    mdp = make_world(world).replace(name="")
    regret, excess, found = jax.device_get(certified(mdp, loss, other, 0.9))
    np.testing.assert_allclose(found["excess_cost"], excess, atol=1e-4)
    assert (regret <= found[name] + 1e-3).all()
    if name == "reward_in_world":
        np.testing.assert_allclose(found[name], regret, atol=1e-3)
    if not LOSSES[loss].excess:
        assert np.abs(found["noise"]).max() > 1e-4
    else:
        np.testing.assert_allclose(found["noise"], 0.0, atol=1e-6)


@jax.jit
def certified_data(mdp):
    counts = sample_transitions(jax.random.key(0), mdp, uniform_policy(mdp), 5_000)
    model = (counts + 1.0) / jnp.sum(counts + 1.0, axis=-1, keepdims=True)
    model = with_transition(mdp, model).transition
    policy = greedy(optimal_action_values(with_transition(mdp, model)))
    regret = finite_horizon_optimum(mdp).value - finite_horizon_return(mdp, policy)
    return regret, certify_data(mdp, policy, model, counts), certify_data(mdp, policy, model, counts.at[0, 0].set(0.0))


@pytest.mark.parametrize("name", WORLDS)
def test_collected_data_certify_what_they_cover_and_nothing_else(name):
    regret, found, without = jax.device_get(certified_data(make_world(name).replace(name="")))
    assert regret <= found["any_data"] + 1e-3
    assert 0.0 < found["concentrability"] < 1e4
    visited = np.isinf(without["concentrability"]) or np.isinf(without["concentrability_policy"])
    assert visited == np.isinf(without["any_data"])
    assert not np.isnan(list(without.values())).any()


def test_a_leader_that_wants_something_else_has_no_statement_of_its_own():
    assert certify_reward(None, {"fit": 1.0}, None, None, None) == {}  # type: ignore[arg-type]
    assert certify_noise(None, {"data_fit": 1.0, "random_fit": 1.0}, None, None, None) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("alpha", "columns", "says"),
    [
        (1.0, {"random_noise": [np.inf] * 2, "concentrability": [3.0] * 2}, "regret ≤ no bound at α = 1"),
        (0.0, {"random_noise": [np.inf] * 2, "concentrability": [3.0] * 2}, "regret ≤ no bound at α = 0"),
        (
            0.5,
            {"random_noise": [np.inf] * 2, "concentrability": [np.inf] * 2},
            "regret ≤ ∞: the data leave out a pair that π* visits (e = 0.1, C = ∞: the data leave out",
        ),
        (0.5, {"random_noise": [7.0] * 2, "concentrability": [3.0] * 2}, "random noise: regret ≤ 7 (e = 0.1, C = 3"),
    ],
)
def test_a_bound_that_says_nothing_says_why(alpha, columns, says):
    zeros = {name: [0.0] * 2 for name in Certificate._fields}
    more = {"alpha": [alpha] * 2, "excess_cost": [0.1] * 2, "best_alpha": [0.2] * 2}
    measured = DISPLAY.measured(pl.DataFrame(zeros | more | columns))
    row = {**measured, "title": "MAL", "label": "MAL", "regret": {"median": 1.0}}
    (line,) = DISPLAY.lines([row])
    assert says in line
    assert "nan" not in line.lower()
    table = DISPLAY.table([row])
    assert table is not None
    assert says in table.lines[0][-1]


def test_a_model_that_rules_out_what_happens_has_no_bound_and_the_reason_is_not_alpha():
    infinite = {name: [np.inf] * 2 for name in ("epsilon_model", "theorem_1_model")}
    zeros = {name: [0.0] * 2 for name in Certificate._fields}
    row = {**DISPLAY.measured(pl.DataFrame(zeros | infinite | {"alpha": [0.5] * 2})), "title": "MAL"}
    (line,) = DISPLAY.lines([row])
    assert line.count("∞: the model gives probability 0 to a transition of the world") == 2
    assert "α" not in line
