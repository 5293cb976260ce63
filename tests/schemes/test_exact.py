"""The exact response: against brute force, ties for and against the leader, soft against hard, maximum likelihood."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core import registry
from sbmrl.core.game import greedy, random_rows
from sbmrl.core.scheme import answering
from sbmrl.games.tabular.closed_forms import (
    expected_visits,
    finite_horizon_return,
    optimal_action_values,
    uniform_policy,
)
from sbmrl.games.tabular.game import model_based_game
from sbmrl.games.tabular.kind import TABULAR
from sbmrl.games.tabular.mdp import make_world, random_mdp, with_transition
from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions, TieBreaking
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.planning import break_ties, extreme_rows


def formulation_of(name):
    row = registry.formulation(name)
    return row.formulation(TABULAR.options_of(row)())


def exact(game, formulation, options):
    assert game.best_response is not None
    return answering(game.best_response(formulation, options), draws=options.draws)


def clocked_policies(num_states, num_actions, horizon):
    """Every deterministic policy with a clock, `[A^(S·T), T, S, A]`."""
    choices = itertools.product(range(num_actions), repeat=num_states * horizon)
    return np.eye(num_actions, dtype=np.float32)[list(choices)].reshape(-1, horizon, num_states, num_actions)


@jax.jit
def returns_of(mdp, policies):
    return jax.vmap(finite_horizon_return, (None, 0))(mdp, policies)


@pytest.fixture(scope="module")
def plans():
    """Three random worlds' plans and their returns, and the best of all policies with a clock."""

    @jax.jit
    @jax.vmap
    def compute(seed):
        mdp = random_mdp(jax.random.key(seed), 2, 2, horizon=3)
        plan = greedy(optimal_action_values(mdp))
        return plan, finite_horizon_return(mdp, plan), returns_of(mdp, clocked_policies(2, 2, 3)).max()

    return jax.device_get(compute(jnp.arange(3)))


@pytest.mark.parametrize("seed", range(3))
def test_the_plan_is_the_best_of_all_policies_with_a_clock(plans, seed):
    plan, value, best = (each[seed] for each in plans)
    assert plan.shape == (3, 2, 2)
    assert value == pytest.approx(best, abs=1e-6)


def test_a_policy_that_repeats_itself_is_the_same_with_and_without_a_clock():
    mdp = make_world("simple_mdp_2")
    policy = random_rows(jax.random.key(0), (3, 2))
    measure = jax.jit(lambda policy: (finite_horizon_return(mdp, policy), expected_visits(mdp, policy)))
    value, visits = measure(policy)
    clocked_value, clocked_visits = measure(np.broadcast_to(policy, (mdp.horizon, 3, 2)))
    np.testing.assert_allclose(value, clocked_value, rtol=1e-5)
    np.testing.assert_allclose(visits, clocked_visits, rtol=1e-4, atol=1e-5)
    assert float(visits.sum()) == pytest.approx(mdp.horizon, rel=1e-5)


def test_ties_are_broken_as_brute_force_would():
    """In each state the actions tie, so every policy is a best response, and the gain alone decides."""

    @jax.jit
    @jax.vmap
    def compute(sign):
        world = random_mdp(jax.random.key(1), 2, 2, horizon=3)
        imagined = world.replace(reward=jnp.zeros_like(world.reward).at[0].set(1.0))
        imagined = imagined.replace(transition=jnp.broadcast_to(world.transition[:, :1], world.transition.shape))
        gain = sign * random_rows(jax.random.key(2), (2, 2))
        chosen = break_ties(world, optimal_action_values(imagined), gain, 1e-3)
        paying = world.replace(reward=jnp.broadcast_to(gain[..., None], (2, 2, 2)))
        return finite_horizon_return(paying, chosen), returns_of(paying, clocked_policies(2, 2, 3)).max()

    for total, best in zip(*compute(jnp.array([1.0, -1.0])), strict=True):
        assert float(total) == pytest.approx(float(best), abs=1e-5)


def test_without_ties_tie_breaking_changes_nothing():
    @jax.jit
    def compute():
        mdp = random_mdp(jax.random.key(4), 4, 3, horizon=6)
        values = optimal_action_values(mdp)
        return break_ties(mdp, values, random_rows(jax.random.key(0), (4, 3)), 1e-5), greedy(values)

    np.testing.assert_array_equal(*compute())


def test_optimistic_ties_serve_the_leader_and_pessimistic_ones_harm_it():
    """counterexample_1 where the model says that both actions pay 1: only a1 is what the world does."""
    mdp = make_world("counterexample_1")
    mdp = mdp.replace(reward=mdp.reward.at[0, 0, 1].set(1.0))
    game = model_based_game(mdp, LOSSES["kl"])
    model = mdp.transition.at[0, 0].set(jnp.array([0.0, 1.0, 0.0]))
    expected: dict[TieBreaking, int] = {"optimistic": 1, "pessimistic": 0}
    for tie_breaking, action in expected.items():
        scheme = exact(game, formulation_of("mal"), PlanOptions(tie_breaking=tie_breaking))
        policy = jax.jit(scheme.respond)(jax.random.key(0), {"model": model})
        assert int(np.argmax(policy[0, 0])) == action


@pytest.mark.parametrize("loss", ["kl", "brier"])
def test_ties_are_broken_for_the_leaders_own_payoff_also_where_episodes_end_early(loss):
    """With no rewards everything ties; the leader's fit is a mean over decisions, so a longer episode may be better."""
    mdp = make_world("simple_mdp_2").replace(horizon=3)
    mdp = mdp.replace(reward=jnp.zeros_like(mdp.reward))
    game, formulation = model_based_game(mdp, LOSSES[loss]), formulation_of("mal")
    policies = clocked_policies(2, 2, 3)  # of the two states in which something is decided
    ended = np.broadcast_to(np.array([1.0, 0.0], np.float32), (len(policies), 3, 1, 2))
    policies = np.concatenate([policies, ended], axis=2)

    @jax.jit
    def compute(model):
        model = with_transition(mdp, model).transition
        fit = lambda policy: game.payoffs["fit"].exact({"policy": policy, "model": model})  # noqa: E731
        schemes = [exact(game, formulation, PlanOptions(tie_breaking=t)) for t in ("optimistic", "pessimistic")]
        answers = [scheme.respond(jax.random.key(0), {"model": model}) for scheme in schemes]
        return jax.vmap(fit)(policies), [fit(answer) for answer in answers]

    payoffs, found = compute(0.5 * mdp.transition + 0.5 * random_rows(jax.random.key(1), (3, 2, 3)))
    for fitted, extreme in zip(found, (payoffs.max(), payoffs.min()), strict=True):
        assert float(fitted) == pytest.approx(float(extreme), abs=1e-5)


def test_ties_are_broken_for_a_discounted_return_as_brute_force_would():
    """A model in which all actions are alike leaves the choice to OMD's leader, who is paid by the world's own γ."""
    mdp = random_mdp(jax.random.key(3), 2, 2, horizon=3).replace(discount=0.2)
    game, formulation = model_based_game(mdp, LOSSES["kl"]), formulation_of("omd")
    scheme = exact(game, formulation, PlanOptions(tie_breaking="optimistic", tie_tolerance=100.0))
    policy = jax.jit(scheme.respond)(jax.random.key(0), {"model": mdp.transition})
    best = returns_of(mdp, clocked_policies(2, 2, 3)).max()
    assert float(finite_horizon_return(mdp, policy)) == pytest.approx(float(best), abs=1e-5)


def test_open_rows_lead_to_the_best_or_the_worst_next_state():
    known = np.ones((3, 2), bool)
    known[0, 1] = False

    @jax.jit
    def compute():
        mdp = random_mdp(jax.random.key(5), 3, 2, horizon=2)
        policy = random_rows(jax.random.key(6), (3, 2))
        chosen = jnp.stack([extreme_rows(mdp, jnp.asarray(known), policy, sign) for sign in (1.0, -1.0)])
        candidates = jax.vmap(lambda row: mdp.transition.at[0, 1].set(row))(jnp.eye(3))
        value = jax.vmap(lambda transition: finite_horizon_return(with_transition(mdp, transition), policy))
        return mdp.transition, chosen, value(chosen), value(candidates)

    transition, chosen, (best, worst), returns = jax.device_get(compute())
    for rows in chosen:
        np.testing.assert_array_equal(rows[known], transition[known])
    assert best >= returns.max() - 1e-5
    assert worst <= returns.min() + 1e-5


def test_soft_backups_approach_hard_ones_and_give_no_bonus_behind_the_end():
    mdp = make_world("simple_mdp_2")
    hard = np.asarray(jax.jit(optimal_action_values)(mdp))
    soft, warm = jax.device_get(jax.jit(jax.vmap(optimal_action_values, (None, 0)))(mdp, jnp.array([1e-3, 1.0])))
    np.testing.assert_allclose(hard, soft, atol=0.1)
    np.testing.assert_allclose(warm[:, 2], 0.0, atol=1e-6)  # s2 is terminal
    assert (warm >= hard - 1e-4).all()


def test_the_maximum_likelihood_model_approaches_the_truth_and_leaves_the_unseen_uniform():
    mdp = make_world("simple_mdp_2_endless")
    game, formulation = model_based_game(mdp, LOSSES["kl"]), formulation_of("pal")
    scheme = exact(game, formulation, ConditionalsOptions(num_transitions=20_000))
    respond = jax.jit(scheme.respond)
    given = {"policy": uniform_policy(mdp)}
    np.testing.assert_allclose(respond(jax.random.key(0), given), mdp.transition, atol=0.03)
    leaves = {"policy": jnp.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])}
    model = np.asarray(respond(jax.random.key(0), leaves))
    np.testing.assert_allclose(model[1, 1], 1 / 3, atol=1e-6)
    optimistic = exact(game, formulation, ConditionalsOptions("optimistic", num_transitions=20_000))
    row = np.asarray(jax.jit(optimistic.respond)(jax.random.key(0), leaves))[1, 1]
    assert set(row.tolist()) == {0.0, 1.0}
    assert scheme.adapts_in_play
    assert not exact(game, formulation, ConditionalsOptions()).adapts_in_play
