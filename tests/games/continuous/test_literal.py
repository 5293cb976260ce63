"""The literal game in simulated worlds: what fools a model, exactly; every scheme runs; what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl import InputError, make_train, preset
from sbmrl.cli import main
from sbmrl.core.experiment import compose
from sbmrl.experiment.checks import check
from sbmrl.experiment.solver import make_game
from sbmrl.games.continuous.catalogue import make_simulator
from sbmrl.games.continuous.episodes import as_action
from sbmrl.games.continuous.grid_acting import GridOptions, grid_response
from sbmrl.games.continuous.measures import LARGE_LOSS, SMALL_LOSS
from sbmrl.games.continuous.physics import model_of
from sbmrl.games.continuous.simulator import Box

WORLD = "corridor"
FOLLOWER = {"num_environments": 8, "actor_hidden": (8,), "critic_hidden": (8,), "value_minibatch_size": 40}
FOLLOWER |= {"num_steps": 50, "num_fisher_samples": 16}


def literal(formulation="mal", scheme=None, **changes):
    """Two records of two generations."""
    experiment = preset("literal", formulation, scheme, env=WORLD)
    sizes = {"leader__num_updates": 4, "leader__population_size": 4, "num_records": 2, "num_test_episodes": 4}
    if scheme != "exact":
        sizes |= {f"follower__{name}": value for name, value in FOLLOWER.items()}
        sizes |= {"follower__total_steps": 2 * 400}
    return experiment.replace(**sizes | changes)


@functools.cache
def game():
    experiment = literal(scheme="exact")
    return make_game(experiment, make_simulator(WORLD)), compose(experiment).formulation


def model_with(**physics):
    """A model that is the corridor but for some of its numbers."""
    seat = game()[0].seats["model"]
    row = seat.rows(model_of(make_simulator(WORLD)))[0]
    names = [name for name, _, _ in make_simulator(WORLD).rules.ranges]
    row = jnp.array([jnp.log(physics[name]) if name in physics else row[i] for i, name in enumerate(names)])
    return seat.table(row[None])


@functools.cache
def answered(wall):
    """The model with such a wall and its exact best response, with all payoffs."""
    played, formulation = game()
    model = model_with(wall=wall)
    assert played.best_response is not None
    policy = played.best_response(formulation, GridOptions())(jax.random.key(0), {"model": model})
    profile = {"model": model, "policy": policy}
    return profile, {name: float(payoff.exact(profile)) for name, payoff in played.payoffs.items()}


def test_at_the_truth_there_is_no_error_and_both_returns_are_the_optimum():
    _, payoffs = answered(4.0)
    assert payoffs == {"data_fit": 0.0, "random_fit": 0.0, "model_return": 44.0, "real_return": 44.0}


def test_a_wall_in_the_way_fools_a_model_that_has_no_error_on_its_own_data():
    """The poster's world: the best response to the model leaves, and nothing that it sees is wrong."""
    profile, payoffs = answered(1.0)
    assert payoffs["model_return"] == payoffs["real_return"] == 1.0
    assert payoffs["data_fit"] == 0.0
    assert -payoffs["random_fit"] > LARGE_LOSS
    played, formulation = game()
    measures = played.measures(formulation)
    metrics, evaluated = measures.profile(profile["model"], lambda model: profile)
    verdict = measures.verdict(evaluated, metrics, lambda model: profile)
    assert bool(verdict["fooled"])
    assert float(verdict["regret"]) == 43.0
    assert float(verdict["follower_gap"]) == 0.0
    assert -float(metrics["fit"]) <= SMALL_LOSS


def test_a_model_that_is_wrong_where_its_policy_goes_is_not_called_fooled():
    played, _ = game()
    model = model_with(speed=0.5)
    policy = grid_response(make_simulator(WORLD), GridOptions())(model)
    assert -float(played.payoffs["data_fit"].exact({"model": model, "policy": policy})) > SMALL_LOSS


def test_a_follower_is_told_the_numbers_on_the_scale_of_their_ranges():
    describe = game()[0].describe["model"]
    low = {name: value for name, value, _ in make_simulator(WORLD).rules.ranges}
    high = {name: value for name, _, value in make_simulator(WORLD).rules.ranges}
    np.testing.assert_allclose(describe(model_with(**low)), -1.0, atol=1e-6)
    np.testing.assert_allclose(describe(model_with(**high)), 1.0, atol=1e-6)
    # what lies outside is met at the edge
    np.testing.assert_allclose(
        describe(model_with(**{name: 10 * value for name, value in high.items()})), 1.0, atol=1e-6
    )


def test_the_best_response_on_a_grid_speaks_as_a_network_does():
    """Half-widths around the middle, here 2 ± 2: what pays most is the action 4, then 0, an answer of 1, then −1."""
    world = make_simulator(WORLD)
    for best, answer in ((4.0, 1.0), (0.0, -1.0), (2.0, 0.0)):
        paid = lambda physics, seen, action, following, best=best: -jnp.abs(action[0] - best)  # noqa: E731
        own = world.replace(rules=world.rules._replace(actions=Box((0.0,), (4.0,)), reward=paid))
        policy = grid_response(own, GridOptions(num_points=5, num_actions=5))(model_of(own))
        seen = jnp.array([[-0.5], [0.25]])
        np.testing.assert_array_equal(policy.mode(seen, jnp.array([3, 3])), jnp.full((2, 1), answer))
        np.testing.assert_array_equal(policy.sample(jax.random.key(0), seen[0], 3), [answer])
        np.testing.assert_array_equal(as_action(own, policy.mode(seen, 3)), jnp.full((2, 1), best))


@pytest.mark.parametrize(
    ("formulation", "scheme", "changes"),
    [
        ("mal", "exact", {}),
        ("mal_random_noise", "exact", {"alpha": 0.5}),
        ("mal_agent_reward", "exact", {"alpha": 0.9, "agent_reward": "world"}),
        ("mal", "contextual", {}),
        ("mal", "inner_outer", {"num_inner_steps": 1}),
    ],
)
def test_every_scheme_answers_a_model_of_a_few_numbers(formulation, scheme, changes):
    found = jax.jit(make_train(literal(formulation, scheme, **changes)))(jax.random.key(0))
    metrics = found.final.metrics
    assert bool(metrics["finite"])
    assert np.isnan(metrics["real_steps"])
    assert float(metrics["regret"]) == 44.0 - float(metrics["exact_return"])
    if scheme == "exact":
        assert float(metrics["follower_gap"]) == float(metrics["follower_gap_true"]) == 0.0


def test_pal_that_is_answered_by_the_truth_learns_in_the_world():
    sizes = {f"leader__{name}": value for name, value in FOLLOWER.items()}
    experiment = preset("literal", "pal", env=WORLD).replace(
        **sizes | {"leader__total_steps": 4 * 400, "num_records": 2, "num_test_episodes": 4}
    )
    found = jax.jit(make_train(experiment))(jax.random.key(0))
    assert float(found.final.metrics["fit"]) == 0.0
    np.testing.assert_array_equal(found.curves["play"]["model_return"], found.curves["play"]["exact_return"])


def test_what_cannot_lead_or_answer_is_refused_from_python_too():
    with pytest.raises(InputError, match=r"scheme: must be exact for pal where data=own"):
        check(preset("small", "pal", env=WORLD).replace(data="own"))
    with pytest.raises(InputError, match=r"leader: must learn by evolution as the model where data=own"):
        check(preset("small", "mal", env=WORLD).replace(data="own"))
    with pytest.raises(InputError, match=r"leader\.parametrization: must be table"):
        check(literal(leader__parametrization="network"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("mal --env gymnax:CartPole-v1 --scheme exact", "a world of at most three coordinates for a grid"),
        ("mal --env corridor --buffer-size 500", "buffer_size: must be 10000 unless data is aggregated"),
        ("mal --env corridor --scheme exact --follower.num-points 1", "follower.num_points: must be a whole number"),
        ("mal_agent_reward --env corridor --scheme inner_outer", "does not move the leader"),
        ("pessimistic_pal --env corridor", "pessimistic_pal"),
        ("mal --env corridor --learner gradient", "learner: must be evolution for the leader of mal"),
        ("mal --env corridor --data aggregated", "scheme: must be inner_outer where data=aggregated"),
    ],
)
def test_what_has_no_literal_game_is_refused_in_one_line(capsys, tmp_path, words, says):
    with pytest.raises(SystemExit) as stopped:
        main(["train", *words.split(), "--preset", "literal", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
