"""The theorems: no violation on random instances, certificates that hold, bounds that are met, and a wrong constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.game import greedy, random_rows
from sbmrl.games.tabular.catalogue import FOOLING_MODELS, WORLDS
from sbmrl.games.tabular.closed_forms import (
    discounted_optimum,
    discounted_return,
    finite_horizon_optimum,
    finite_horizon_return,
    kl_divergence,
    optimal_action_values,
)
from sbmrl.games.tabular.mdp import make_world, with_transition
from sbmrl.games.tabular.theory.bounds import certify, simulation_gap
from sbmrl.games.tabular.theory.check import SHAPES, Tally, check_theorems
from sbmrl.games.tabular.theory.instances import FAMILIES, Draws
from sbmrl.games.tabular.theory.judge import THEOREMS, judge
from sbmrl.games.tabular.theory.search import tightest


def test_no_violation_on_random_instances_and_what_the_survey_counts():
    """The poster's constant, 4γ for 2√2, fails where rewards depend on the next state and γ is small; only there."""
    seen = []
    survey = check_theorems(6_001, report=seen.append)
    assert survey.num_instances == seen[-1] == 6_001
    for theorem, tally in survey.tallies.items():
        assert tally.violations == 0, theorem
        assert tally.tightness.sum() == tally.rest.sum() == 6_001
        assert 0.0 < tally.largest["rest"] <= 1.0
        assert set(tally.quantiles("rest")) == {"0.5", "0.9", "0.99", "0.999", "max"}
    assert set(survey.violations) == set(FAMILIES)
    assert survey.printed_violations["reward_on_pairs"] == 0
    assert survey.printed_violations["dense"] > 0


def test_a_violation_would_be_counted():
    tally = Tally()
    regret, bound = np.array([1.0, 2.0, np.nan]), np.array([2.0, 1.0, 1.0])
    assert tally.add(regret, bound, np.zeros(3)) == 2  # what cannot be compared does not pass either


@pytest.mark.parametrize("family", FAMILIES)
def test_families_draw_what_they_say(family):
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 32)
        drawn = jax.jit(jax.vmap(lambda key: FAMILIES[family](Draws(key, *SHAPES[0]))))(keys)
        for rows in (drawn.world.transition, drawn.world.initial, drawn.policy, drawn.model, drawn.model_at_optimum):
            np.testing.assert_allclose(rows.sum(-1), 1.0, atol=1e-12)
            assert float(rows.min()) >= 0.0
        assert float(jnp.abs(drawn.world.reward).max()) <= 1.0
        assert 0.0 < float(drawn.discount.min()) < float(drawn.discount.max()) < 0.99
        if family == "reward_on_pairs":
            np.testing.assert_array_equal(drawn.world.reward, drawn.world.reward[..., :1] + 0 * drawn.world.reward)
        if family in ("best_response", "hidden_reward"):
            verdict = jax.vmap(judge)(drawn)
            np.testing.assert_allclose(verdict.epsilon_1, 0.0, atol=1e-9)


def test_judging_agrees_with_the_definitions():
    with jax.enable_x64(True):
        instance = FAMILIES["dense"](Draws(jax.random.key(3), 4, 2))
        world, discount, policy = instance.world, instance.discount, instance.policy
        verdict = judge(instance)
        optimum = discounted_optimum(world, discount)
        regret = optimum.value - discounted_return(world, policy, discount)
        assert float(verdict.regret) == pytest.approx(float(regret), rel=1e-9)
        imagined = with_transition(world, instance.model)
        own = discounted_return(imagined, policy, discount)
        assert float(verdict.epsilon_1) == pytest.approx(float(discounted_optimum(imagined, discount).value - own))
        assert float(verdict.theorem_2) == pytest.approx(
            float(verdict.epsilon_2)
            + 2 * np.sqrt(2 * worst_loss(instance)) * float(jnp.abs(world.reward).max()) / float(1 - discount) ** 2,
            rel=1e-6,
        )


def worst_loss(instance):
    """max of ℓ_KL(M̂(π), μ^π) and ℓ_KL(M̂(π*), μ^{π*}), by summing the series Σ γᵗ μ_t."""
    world, discount = instance.world, float(instance.discount)
    losses = []
    optimal = discounted_optimum(world, discount).policy
    for policy, model in ((instance.policy, instance.model), (optimal, instance.model_at_optimum)):
        divergence = np.asarray(kl_divergence(world.transition, model))
        state, total = np.asarray(world.initial), 0.0
        for time in range(4000):
            pairs = state[:, None] * np.asarray(policy)
            total += (1 - discount) * discount**time * (pairs * divergence).sum()
            state = np.einsum("sa,sat->t", pairs, np.asarray(world.transition))
        losses.append(total)
    return max(losses)


@pytest.mark.parametrize("theorem", THEOREMS)
def test_gradient_ascent_finds_instances_that_use_most_of_the_bound(theorem):
    best = tightest(theorem, num_starts=16, num_steps=150)
    assert 0.6 < best.share <= 1.0 + 1e-9
    np.testing.assert_allclose(best.instance.world.transition.sum(-1), 1.0)


def test_the_simulation_gap_holds_for_every_policy_with_a_wrong_model():
    mdp = make_world("simple_mdp_2")
    for seed in range(5):
        policy, model = random_rows(jax.random.key(seed), (3, 2)), random_rows(jax.random.key(100 + seed), (3, 2, 3))
        certificate = certify(mdp, policy, model, model)
        gap = abs(finite_horizon_return(mdp, policy) - finite_horizon_return(with_transition(mdp, model), policy))
        assert float(gap) <= float(simulation_gap(certificate.epsilon_model, 1.0, mdp.horizon))


@pytest.mark.parametrize("name", WORLDS)
def test_certificates_bound_the_regret_on_every_named_world(name):
    mdp = make_world(name)
    optimum = finite_horizon_optimum(mdp).value
    for seed in range(4):
        model = 0.7 * mdp.transition + 0.3 * random_rows(jax.random.key(seed), mdp.transition.shape)
        model = with_transition(mdp, model).transition
        policy = greedy(optimal_action_values(with_transition(mdp, model)))
        certificate = certify(mdp, policy, model, model)
        regret = float(optimum - finite_horizon_return(mdp, policy))
        slack = 1e-4 * (1.0 + abs(float(optimum)))
        assert float(certificate.epsilon_policy) <= slack
        for bound in (certificate.theorem_1_world, certificate.theorem_1_model, certificate.theorem_2):
            assert regret <= float(bound) + slack


def test_a_nearly_right_model_keeps_its_small_loss():
    """In float32 a loss of 1e-8 is below the rounding of KL as a difference of logarithms; its root is not small."""
    mdp = make_world("simple_mdp_2_endless")
    policy = random_rows(jax.random.key(0), (3, 2))
    model = mdp.transition.at[1, 1].add(jnp.array([-6e-5, 6e-5, 0.0]))
    with jax.enable_x64(True):
        precise = certify(*jax.tree.map(lambda x: x.astype(jnp.float64), (mdp, policy, model, model)))
    rough = certify(mdp, policy, model, model)
    assert float(rough.epsilon_model) == pytest.approx(float(precise.epsilon_model), rel=0.02)
    assert float(rough.theorem_2) == pytest.approx(float(precise.theorem_2), rel=0.02)


def test_the_hidden_pair_looks_poor_in_the_model():
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), 400)
        drawn = jax.jit(jax.vmap(lambda key: FAMILIES["hidden_reward"](Draws(key, 3, 2))))(keys)
        verdict = jax.jit(jax.vmap(judge))(drawn)
        assert float((verdict.regret > 1e-6).mean()) > 0.5


@pytest.mark.parametrize("name", FOOLING_MODELS)
def test_at_a_fooling_model_only_the_distance_warns(name):
    """MAL's loss is 0 and its policy best-responds; theorem 1 holds by its distance alone, theorem 2 asks for more."""
    mdp = make_world(name)
    model = jnp.asarray(FOOLING_MODELS[name], jnp.float32)
    policy = greedy(optimal_action_values(with_transition(mdp, model)))
    certificate = certify(mdp, policy, model, model)
    assert float(certificate.epsilon_model) == pytest.approx(0.0, abs=1e-6)
    assert float(certificate.epsilon_policy) == pytest.approx(0.0, abs=1e-4)
    assert float(certificate.distance_model) > 0.1
    regret = float(finite_horizon_optimum(mdp).value - finite_horizon_return(mdp, policy))
    assert regret > 1.0
    assert float(certificate.theorem_1_model) >= regret
    assert float(certificate.theorem_2) >= regret
    truthful = certify(mdp, policy, mdp.transition, mdp.transition)
    assert float(truthful.epsilon_policy) == pytest.approx(regret, abs=1e-3)
