"""Exact equilibria: against a direct search over models, the counterexample families, and PAL's optimum."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.errors import InputError
from sbmrl.games.tabular.catalogue import FOOLING_MODELS, WORLDS, counterexample_1, counterexample_2, trembling
from sbmrl.games.tabular.closed_forms import discounted_occupancy, discounted_optimum, discounted_return, kl_divergence
from sbmrl.games.tabular.mdp import make_mdp, make_world, random_mdp, with_transition
from sbmrl.games.tabular.theory.equilibria import enumerate_equilibria

DISCOUNT = 0.9


@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_is_an_equilibrium_and_pal_takes_the_best(name):
    mdp = make_world(name)
    found = enumerate_equilibria(mdp, DISCOUNT)
    optimum = float(discounted_optimum(mdp, DISCOUNT).value)
    assert found.pal_return == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    for policy in found.pal:
        assert float(discounted_return(mdp, jnp.asarray(policy), DISCOUNT)) == pytest.approx(
            optimum, rel=1e-3, abs=1e-3
        )
    assert found.optimistic_returns.max() == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    assert found.pessimistic_returns.max() == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    for policy, value in zip(found.optimistic, found.optimistic_returns, strict=True):
        assert float(discounted_return(mdp, jnp.asarray(policy), DISCOUNT)) == pytest.approx(value, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_models_finds_the_same_equilibria(seed):
    """Every assignment of extreme rows to unvisited pairs: a policy is sustained iff it is optimal in one of them."""
    mdp = random_mdp(jax.random.key(seed), 3, 2)
    found = {tuple(policy.argmax(-1)) for policy in enumerate_equilibria(mdp, DISCOUNT).optimistic}
    pairs = list(itertools.product(range(3), range(2)))
    brute = set()
    for actions in itertools.product(range(2), repeat=3):
        free = [pair for pair in pairs if pair[1] != actions[pair[0]]]  # dense world: every state is visited
        rows = np.array(list(itertools.product(np.eye(3), repeat=len(free))))
        models = np.broadcast_to(np.asarray(mdp.transition), (len(rows), 3, 2, 3)).copy()
        for number, (state, action) in enumerate(free):
            models[:, state, action] = rows[:, number]
        best = jax.vmap(lambda model: discounted_optimum(with_transition(mdp, model), DISCOUNT).value)(models)
        own = discounted_return(mdp, jnp.eye(2)[jnp.array(actions)], DISCOUNT)
        if bool((best <= own + 1e-4).any()):
            brute.add(actions)
    assert found == brute


@pytest.mark.parametrize("name", FOOLING_MODELS)
def test_the_fooling_model_is_among_the_equilibria(name):
    mdp = make_world(name)
    model = jnp.asarray(FOOLING_MODELS[name], jnp.float32)
    policy = discounted_optimum(with_transition(mdp, model), DISCOUNT).policy
    loss = jnp.sum(discounted_occupancy(mdp, policy, DISCOUNT) * kl_divergence(mdp.transition, model))
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    value = float(discounted_return(mdp, policy, DISCOUNT))
    found = enumerate_equilibria(mdp, DISCOUNT)
    assert value == pytest.approx(found.optimistic_returns.min(), rel=1e-4)
    assert value == pytest.approx(found.pessimistic_returns.min(), rel=1e-4)


@pytest.mark.parametrize("family", [counterexample_1, counterexample_2])
def test_mals_regret_grows_without_bound_and_pals_stays_zero(family):
    regrets = []
    for rich in (2.0, 20.0, 200.0):
        found = enumerate_equilibria(make_mdp(family(rich)), DISCOUNT)
        regrets.append(found.pal_return - found.pessimistic_returns.min())
    assert regrets[0] < regrets[1] < regrets[2]
    assert regrets[2] / regrets[1] == pytest.approx(10.0, rel=0.2)


def test_mixing_makes_mal_safe():
    worst = []
    for mixing in (0.0, 0.5, 0.9, 1.0):
        found = enumerate_equilibria(make_mdp(trembling(counterexample_2(), mixing)), DISCOUNT)
        worst.append((found.pal_return - found.optimistic_returns.min()) / found.pal_return)
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] == pytest.approx(0.0, abs=1e-6)


def test_trembling_keeps_what_the_uniform_policy_earns():
    world = counterexample_2()
    uniform = jnp.full((3, 2), 0.5)
    returns = [float(discounted_return(make_mdp(trembling(world, m)), uniform, DISCOUNT)) for m in (0.0, 0.4, 1.0)]
    assert returns == pytest.approx([returns[0]] * 3, rel=1e-5)


def test_pessimistic_equilibria_are_optimistic_ones_without_ties():
    mdp = random_mdp(jax.random.key(7), 3, 2)
    found = enumerate_equilibria(mdp, DISCOUNT)
    single = found.pessimistic[found.pessimistic.sum(-1).max(-1) == 1]
    optimistic = {tuple(policy.argmax(-1)) for policy in found.optimistic}
    assert {tuple(set_.argmax(-1)) for set_ in single} <= optimistic


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="discount"):
        enumerate_equilibria(make_world("simple_mdp_2"), 1.0)
    with pytest.raises(InputError, match="at most 100,000 sets"):
        enumerate_equilibria(make_world("random_9_3_0"), 0.9)
