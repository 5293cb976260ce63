"""The exact response: against brute force, ties for and against the leader, soft against hard, maximum likelihood."""

import itertools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.formulation import Knobs, make_formulation
from sbmrl.core.game import greedy, random_rows
from sbmrl.core.options import ExactOptions, TieBreaking
from sbmrl.games.tabular.closed_forms import (
    expected_visits,
    finite_horizon_return,
    optimal_action_values,
    uniform_policy,
)
from sbmrl.games.tabular.game import model_based_game
from sbmrl.games.tabular.mdp import make_world, random_mdp, with_transition
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.planning import break_ties, extreme_rows
from sbmrl.schemes import exact as schemes


def exact(game, formulation, options):
    return schemes.exact(game.best_response(formulation, options), draws=options.num_transitions > 0)


KNOBS = Knobs(alpha=1.0, beta=1.0, reward="real_return", fit="fit")


def clocked_policies(num_states, num_actions, horizon):
    """Every deterministic policy with a clock, `[A^(S·T), T, S, A]`."""
    choices = itertools.product(range(num_actions), repeat=num_states * horizon)
    chosen = jnp.array(list(choices))
    return jax.nn.one_hot(chosen, num_actions).reshape(-1, horizon, num_states, num_actions)


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_is_the_best_of_all_policies_with_a_clock(seed):
    mdp = random_mdp(jax.random.key(seed), 2, 2, horizon=3)
    returns = jax.vmap(finite_horizon_return, (None, 0))(mdp, clocked_policies(2, 2, 3))
    plan = greedy(optimal_action_values(mdp))
    assert plan.shape == (3, 2, 2)
    assert finite_horizon_return(mdp, plan) == pytest.approx(float(returns.max()), abs=1e-6)


def test_a_policy_that_repeats_itself_is_the_same_with_and_without_a_clock():
    mdp = make_world("simple_mdp_2")
    policy = random_rows(jax.random.key(0), (3, 2))
    clocked = jnp.broadcast_to(policy, (mdp.horizon, 3, 2))
    np.testing.assert_allclose(finite_horizon_return(mdp, policy), finite_horizon_return(mdp, clocked), rtol=1e-5)
    np.testing.assert_allclose(expected_visits(mdp, policy), expected_visits(mdp, clocked), rtol=1e-4, atol=1e-5)
    assert float(expected_visits(mdp, policy).sum()) == pytest.approx(mdp.horizon, rel=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_ties_are_broken_as_brute_force_would(sign):
    horizon = 3
    world = random_mdp(jax.random.key(1), 2, 2, horizon=horizon)
    imagined = world.replace(reward=jnp.zeros_like(world.reward).at[0].set(1.0))  # in each state the actions tie ...
    imagined = imagined.replace(transition=jnp.broadcast_to(world.transition[:, :1], world.transition.shape))
    values = optimal_action_values(imagined)
    gain = sign * random_rows(jax.random.key(2), (2, 2))
    chosen = break_ties(world, values, gain, 1e-3)

    def total(policy):  # ... so every policy is a best response, and the gain alone decides
        return finite_horizon_return(world.replace(reward=jnp.broadcast_to(gain[..., None], (2, 2, 2))), policy)

    best = max(float(total(policy)) for policy in clocked_policies(2, 2, horizon))
    assert float(total(chosen)) == pytest.approx(best, abs=1e-5)


def test_without_ties_tie_breaking_changes_nothing():
    mdp = random_mdp(jax.random.key(4), 4, 3, horizon=6)
    values = optimal_action_values(mdp)
    gain = random_rows(jax.random.key(0), (4, 3))
    np.testing.assert_array_equal(break_ties(mdp, values, gain, 1e-5), greedy(values))


def test_optimistic_ties_serve_the_leader_and_pessimistic_ones_harm_it():
    """counterexample_1 where the model says that both actions pay 1: only a1 is what the world does."""
    mdp = make_world("counterexample_1")
    mdp = mdp.replace(reward=mdp.reward.at[0, 0, 1].set(1.0))
    game = model_based_game(mdp, LOSSES["kl"])
    model = mdp.transition.at[0, 0].set(jnp.array([0.0, 1.0, 0.0]))
    formulation = make_formulation("mal", KNOBS)
    expected: dict[TieBreaking, int] = {"optimistic": 1, "pessimistic": 0}
    for tie_breaking, action in expected.items():
        scheme = exact(game, formulation, ExactOptions(tie_breaking=tie_breaking))
        policy = scheme.respond(jax.random.key(0), {"model": model})
        assert int(jnp.argmax(policy[0, 0])) == action


@pytest.mark.parametrize("loss", ["kl", "brier"])
def test_ties_are_broken_for_the_leaders_own_payoff_also_where_episodes_end_early(loss):
    """With no rewards everything ties; the leader's fit is a mean over decisions, so a longer episode may be better."""
    mdp = make_world("simple_mdp_2").replace(horizon=3)
    mdp = mdp.replace(reward=jnp.zeros_like(mdp.reward))
    game, formulation = model_based_game(mdp, LOSSES[loss]), make_formulation("mal", KNOBS)
    model = with_transition(mdp, 0.5 * mdp.transition + 0.5 * random_rows(jax.random.key(1), (3, 2, 3))).transition
    policies = clocked_policies(2, 2, 3)  # of the two states in which something is decided
    policies = jnp.concatenate([policies, jnp.broadcast_to(jnp.array([1.0, 0.0]), (len(policies), 3, 1, 2))], axis=2)
    fit = lambda policy: game.payoffs["fit"].exact({"policy": policy, "model": model})  # noqa: E731
    payoffs = jax.vmap(fit)(policies)
    for tie_breaking, extreme in (("optimistic", payoffs.max()), ("pessimistic", payoffs.min())):
        scheme = exact(game, formulation, ExactOptions(tie_breaking=cast(TieBreaking, tie_breaking)))
        answer = scheme.respond(jax.random.key(0), {"model": model})
        assert float(fit(answer)) == pytest.approx(float(extreme), abs=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_open_rows_lead_to_the_best_or_the_worst_next_state(sign):
    mdp = random_mdp(jax.random.key(5), 3, 2, horizon=2)
    policy = random_rows(jax.random.key(6), (3, 2))
    known = jnp.ones((3, 2), bool).at[0, 1].set(False)
    chosen = extreme_rows(mdp, known, policy, sign)
    np.testing.assert_array_equal(chosen[known], mdp.transition[known])
    candidates = [with_transition(mdp, mdp.transition.at[0, 1].set(row)) for row in jnp.eye(3)]
    returns = [sign * float(finite_horizon_return(world, policy)) for world in candidates]
    assert sign * float(finite_horizon_return(with_transition(mdp, chosen), policy)) >= max(returns) - 1e-5


def test_soft_backups_approach_hard_ones_and_give_no_bonus_behind_the_end():
    mdp = make_world("simple_mdp_2")
    hard, soft = optimal_action_values(mdp), optimal_action_values(mdp, 1e-3)
    np.testing.assert_allclose(hard, soft, atol=0.1)
    warm = optimal_action_values(mdp, 1.0)
    np.testing.assert_allclose(warm[:, 2], 0.0, atol=1e-6)  # s2 is terminal
    assert bool((warm >= hard - 1e-4).all())


def test_the_maximum_likelihood_model_approaches_the_truth_and_leaves_the_unseen_uniform():
    mdp = make_world("simple_mdp_2_endless")
    game = model_based_game(mdp, LOSSES["kl"])
    formulation = make_formulation("pal", KNOBS)
    scheme = exact(game, formulation, ExactOptions(num_transitions=20_000))
    given = {"policy": uniform_policy(mdp)}
    np.testing.assert_allclose(scheme.respond(jax.random.key(0), given), mdp.transition, atol=0.03)
    leaves = {"policy": jnp.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])}
    model = scheme.respond(jax.random.key(0), leaves)
    np.testing.assert_allclose(model[1, 1], 1 / 3, atol=1e-6)
    optimistic = exact(game, formulation, ExactOptions(num_transitions=20_000, tie_breaking="optimistic"))
    row = optimistic.respond(jax.random.key(0), leaves)[1, 1]
    assert set(np.asarray(row).tolist()) == {0.0, 1.0}
    assert scheme.adapts_in_play
    assert not exact(game, formulation, ExactOptions()).adapts_in_play
