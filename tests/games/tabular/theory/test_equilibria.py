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


@jax.jit
def optimum_of(mdp):
    return discounted_optimum(mdp, DISCOUNT)


@jax.jit
def returns_of(mdp, policies):
    return jax.vmap(lambda policy: discounted_return(mdp, policy, DISCOUNT))(policies)


@jax.jit
def fooled_by(mdp, model):
    """The policy that is best in the model: the model's loss on its data, and its return."""
    policy = discounted_optimum(with_transition(mdp, model), DISCOUNT).policy
    loss = jnp.sum(discounted_occupancy(mdp, policy, DISCOUNT) * kl_divergence(mdp.transition, model))
    return loss, discounted_return(mdp, policy, DISCOUNT)


def anonymous(name):
    """The world without its name, so that worlds of one shape share a program."""
    return make_world(name).replace(name="")


def policies_of(mdp):
    """`[A^S, S, A]`: every deterministic policy."""
    chosen = itertools.product(range(mdp.num_actions), repeat=mdp.num_states)
    return np.eye(mdp.num_actions, dtype=np.float32)[list(chosen)]


@pytest.mark.xdist_group("equilibria")
@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_is_an_equilibrium_and_pal_takes_the_best(name):
    mdp = anonymous(name)
    found = enumerate_equilibria(mdp, DISCOUNT)
    optimum = float(optimum_of(mdp).value)
    assert found.pal_return == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    policies = policies_of(mdp)
    value_of = dict(zip([policy.tobytes() for policy in policies], returns_of(mdp, policies).tolist(), strict=True))
    for policy in found.pal.astype(np.float32):
        assert value_of[policy.tobytes()] == pytest.approx(optimum, rel=1e-3, abs=1e-3)
    assert found.optimistic_returns.max() == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    assert found.pessimistic_returns.max() == pytest.approx(optimum, rel=1e-4, abs=1e-4)
    for policy, value in zip(found.optimistic.astype(np.float32), found.optimistic_returns, strict=True):
        assert value_of[policy.tobytes()] == pytest.approx(value, rel=1e-3, abs=1e-3)


@jax.jit
def optima_in(mdp, models):
    return jax.vmap(lambda model: discounted_optimum(with_transition(mdp, model), DISCOUNT).value)(models)


@pytest.mark.xdist_group("equilibria")
@pytest.mark.parametrize("seed", range(3))
def test_a_search_over_models_finds_the_same_equilibria(seed):
    """Every assignment of extreme rows to unvisited pairs: a policy is sustained iff it is optimal in one of them."""
    mdp = random_mdp(jax.random.key(seed), 3, 2)
    found = {tuple(policy.argmax(-1)) for policy in enumerate_equilibria(mdp, DISCOUNT).optimistic}
    pairs = list(itertools.product(range(3), range(2)))
    policies = policies_of(mdp)
    returns = np.asarray(returns_of(mdp, policies))
    brute = set()
    for policy, own in zip(policies, returns, strict=True):
        actions = tuple(policy.argmax(-1))
        free = [pair for pair in pairs if pair[1] != actions[pair[0]]]  # dense world: every state is visited
        rows = np.array(list(itertools.product(np.eye(3), repeat=len(free))))
        models = np.broadcast_to(np.asarray(mdp.transition), (len(rows), 3, 2, 3)).copy()
        for number, (state, action) in enumerate(free):
            models[:, state, action] = rows[:, number]
        if (np.asarray(optima_in(mdp, models)) <= own + 1e-4).any():
            brute.add(actions)
    assert found == brute


@pytest.mark.xdist_group("equilibria")
@pytest.mark.parametrize("name", FOOLING_MODELS)
def test_the_fooling_model_is_among_the_equilibria(name):
    mdp = anonymous(name)
    loss, value = (float(x) for x in fooled_by(mdp, np.asarray(FOOLING_MODELS[name], np.float32)))
    assert loss == pytest.approx(0.0, abs=1e-6)
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
    uniform = np.full((1, 3, 2), 0.5, np.float32)
    returns = [float(returns_of(make_mdp(trembling(world, m)), uniform)[0]) for m in (0.0, 0.4, 1.0)]
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
    large = make_world("simple_mdp_2").replace(transition=np.zeros((9, 3, 9)), terminal=(False,) * 9)
    with pytest.raises(InputError, match="at most 100,000 sets"):
        enumerate_equilibria(large, 0.9)
