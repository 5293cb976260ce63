"""Instances that use up a bound: with a constant 2 % smaller each of these statements would be false."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.games.tabular.closed_forms import discounted_occupancy, discounted_optimum
from sbmrl.games.tabular.mdp import with_transition
from sbmrl.games.tabular.theory import bounds
from sbmrl.games.tabular.theory.instances import make_world
from sbmrl.games.tabular.theory.judge import Instance, judge

SMALL = 1e-3
# (γ, T): discounted where T is None
HORIZONS = [(0.0, None), (0.9, None), (0.98, None), (0.0, 1), (0.0, 5), (0.0, 20), (0.0, 50)]
sums = pytest.mark.parametrize(("discount", "num_steps"), HORIZONS, ids=str)


def horizon_of(discount, num_steps):
    return 1.0 / (1.0 - discount) if num_steps is None else float(num_steps)


def make_exactly(transition, reward, initial):
    with jax.enable_x64(True):
        return make_world(*(jnp.asarray(x) for x in (transition, reward, initial)))


def make_instance(**values: Any) -> Instance:
    """Excess losses, a follower that plays what it is told to, and nothing that ends the world."""
    rows, policy = values["model"], values["policy"]
    plain = {
        "deciding": np.ones(len(rows), bool),
        "responds": np.array(False),
        "model_at_optimum": rows,
        "reply": policy,
        "replies_well": np.array(False),
        "pairs": np.full(policy.shape, 1.0 / policy.size),
        "crowd": policy[None],
        "alpha": np.array(0.5),
        "kept": np.array(0.0),
        "raw": np.array(0.0),
    }
    return Instance(**(plain | values))


def coins(discount, world, model, at_optimum=None, **changes):
    """Two coins, one an action: heads leads to 1 a step for ever, tails to −1. Given are the chances of heads.

    π throws the first coin; the second is better, so π* throws it.
    """
    states = np.eye(3)

    def rows(heads):
        thrown = [[0.0, chance, 1.0 - chance] for chance in heads]
        return np.stack([thrown, states[[1, 1]], states[[2, 2]]])

    paid = np.broadcast_to([0.0, 1.0, -1.0], (3, 2, 3))
    given = {
        "world": make_exactly(rows(world), paid, states[0]),
        "discount": np.array(discount),
        "policy": np.tile(states[0, :2], (3, 1)),
        "model": rows(model),
        "model_at_optimum": rows(model if at_optimum is None else at_optimum),
    }
    return make_instance(**(given | changes))


judge_once = jax.jit(judge, static_argnames="num_steps")  # a program a horizon, for all tests


def judged(instance, num_steps, name):
    with jax.enable_x64(True):
        instance = jax.tree.map(lambda x: np.asarray(x, bool if np.asarray(x).dtype == bool else float), instance)
        return jax.device_get(judge_once(instance, np.int32(2), num_steps=num_steps))[name]


def used_up(instance, num_steps, name):
    """Whether the statement holds, and would not with 0.98 of its constant."""
    sides = judged(instance, num_steps, name)
    left, right = sides.left - sides.own, sides.right - sides.own
    return 0.98 * right < left <= right * (1.0 + 1e-9)


@sums
def test_the_gap(discount, num_steps):
    assert used_up(coins(discount, (0.5 - SMALL, 0.5), (0.5, 0.5)), num_steps, "gap_kl")


@sums
def test_theorem_1_in_the_loss_and_in_the_distance(discount, num_steps):
    """The model overrates π's coin, which it takes for as good as the other; or hides that the other is all heads."""
    assert used_up(coins(discount, (0.5 - SMALL, 0.5), (0.5, 0.5)), num_steps, "theorem_1_model_kl")
    hidden = coins(discount, (0.0, 1.0), (0.0, 0.0))
    assert used_up(hidden, num_steps, "theorem_1_world_kl")
    assert used_up(hidden, num_steps, "theorem_1_model_kl")


@sums
def test_theorem_2(discount, num_steps):
    """M̂(π) overrates π's coin, M̂(π*) underrates the other, and they look alike."""
    world = (0.5 - SMALL, 0.5 + SMALL)
    assert used_up(coins(discount, world, (0.5, 0.5), (0.5, 0.5)), num_steps, "theorem_2_kl")


@sums
def test_agent_reward_in_the_model(discount, num_steps):
    """The leader is paid as much for overrating π's coin as its loss costs it: e = 0, at the worst loss."""
    horizon = horizon_of(discount, num_steps)
    alpha = 1.0 / (1.0 + 2.0 * SMALL / horizon**2)
    instance = coins(discount, (0.5 - SMALL / 2, 0.5), (0.5 + SMALL / 2, 0.5), replies_well=True, alpha=alpha)
    assert used_up(instance, num_steps, "reward_in_model_kl")


@sums
@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.9])
def test_random_noise_and_aggregated_data(discount, num_steps, alpha):
    """Wide data hold π*'s coin a tenth as often as π* throws it, and never π's."""
    horizon, concentration = horizon_of(discount, num_steps), 10.0
    share = 1.0 / (horizon * concentration)
    pairs = np.array([[0.0, share], [0.5 - share / 2, 0.0], [0.5 - share / 2, 0.0]])
    errors = np.array([1.0 / alpha, concentration / (1.0 - alpha)])
    under, over = SMALL * errors / errors.sum()
    instance = coins(discount, (0.5 - under, 0.5 + over), (0.5, 0.5), pairs=pairs, alpha=alpha)
    assert used_up(instance, num_steps, "random_noise_kl")
    assert used_up(instance, num_steps, "aggregated_kl")


@sums
def test_any_data_where_one_coefficient_is_much_the_larger(discount, num_steps):
    horizon, concentration = horizon_of(discount, num_steps), 1e5
    share, own = 1.0 / (horizon * concentration), 1.0 / (horizon + 1.0)
    rest = (1.0 - share - own) / 2
    pairs = np.array([[own, share], [rest, 0.0], [rest, 0.0]])
    assert used_up(coins(discount, (0.5, 0.5 + SMALL), (0.5, 0.5), pairs=pairs), num_steps, "any_data_kl")


def leaking(num_states, discount, leak):
    """A good half of the states that the world never leaves and the model does, a little at every step."""
    good = np.arange(num_states) < max(num_states // 2, 1)
    true, elsewhere = (np.where(part, 1.0 / part.sum(), 0.0) for part in (good, ~good))
    stay, leave = (np.broadcast_to(row, (num_states, 1, num_states)) for row in (true, elsewhere))
    lost = np.broadcast_to(elsewhere, stay.shape)
    transition = np.where(good[:, None, None], stay, lost)
    model = np.where(good[:, None, None], (1.0 - leak) * stay + leak * leave, lost)
    reward = np.broadcast_to(np.where(good, 1.0, -1.0), transition.shape)
    world = make_exactly(transition, reward, true)
    return make_instance(world=world, discount=np.array(discount), policy=np.ones((num_states, 1)), model=model)


@pytest.mark.parametrize("num_states", [2, 3, 4, 5])
@pytest.mark.parametrize("discount", [0.0, 0.9, 0.98])
def test_the_brier_gap_is_used_up_at_every_discount_and_number_of_states(num_states, discount):
    assert used_up(leaking(num_states, discount, 1e-5), None, "gap_brier")


@pytest.mark.parametrize(("num_steps", "least"), [(1, 0.999), (5, 0.90), (50, 0.86)])
def test_over_steps_a_stationary_model_uses_most_of_the_brier_gap(num_steps, least):
    sides = judged(leaking(2, 0.0, 1e-6), num_steps, "gap_brier")
    assert least * sides.right < sides.left <= sides.right * (1.0 + 1e-9)


def test_agent_reward_in_the_world_is_an_identity():
    for raw in (0.0, 1.0):
        instance = coins(0.9, (0.3, 0.6), (0.55, 0.5), alpha=0.8, raw=raw)
        for loss in ("kl", "brier"):
            sides = judged(instance, None, f"reward_in_world_{loss}")
            assert float(sides.left) == pytest.approx(float(sides.right), rel=1e-12)


def test_what_a_bound_does_not_know_is_infinite_and_never_nan():
    assert bounds.reward_in_world(0.1, 0.1, 1.0, 0.0) == jnp.inf
    assert bounds.reward_in_world(0.0, 0.0, 1.0, 0.0) == jnp.inf
    assert [float(bounds.reward_in_model(0.0, alpha, 1.0, 0.0)) for alpha in (0.0, 1.0)] == [np.inf, np.inf]
    assert [float(bounds.random_noise(0.0, 0.0, alpha, 2.0, 1.0)) for alpha in (0.0, 1.0)] == [np.inf, np.inf]
    assert bounds.random_noise(0.0, 0.0, 0.5, jnp.inf, 1.0) == jnp.inf
    assert bounds.any_data(0.0, 0.0, jnp.inf, 1.0, 1.0) == jnp.inf
    assert bounds.concentrability(jnp.array([[0.5, 0.5]]), jnp.array([[1.0, 0.0]])) == jnp.inf
    assert bounds.concentrability(jnp.array([[1.0, 0.0]]), jnp.array([[0.5, 0.5]])) == 2.0


def test_the_best_share_makes_random_noise_least():
    for concentration in (1.0, 4.0, 21.5):
        best = float(bounds.best_share(concentration))
        least = float(bounds.random_noise(0.0, 1e-4, best, concentration, 1.0))
        assert least == pytest.approx((1.0 + np.sqrt(concentration)) * 1e-2, rel=1e-5)
        around = [
            float(bounds.random_noise(0.0, 1e-4, share, concentration, 1.0)) for share in (best - 0.02, best + 0.02)
        ]
        assert least < min(around)


NUM_ROUNDS = 128


@jax.jit
@jax.vmap
def practical_mal(key):
    """Tables that count, a best response a round, one draw from D_n a round: (losses ℓ(M̂_n, D_n), regrets, C)."""
    discount, alpha, shape = 0.5, 0.5, (3, 2, 3)
    key_rows, key_reward, key = jax.random.split(key, 3)
    transition = jax.nn.softmax(2.0 * jax.random.normal(key_rows, shape, float))
    reward = jax.random.uniform(key_reward, shape, float, minval=-1.0)
    world = make_world(transition, reward, jnp.eye(3)[0])
    optimum = discounted_optimum(world, discount)
    wide = jnp.full(shape[:2], 1.0 / 6.0)

    def one_round(counts, key):
        model = (counts + 1.0) / jnp.sum(counts + 1.0, axis=-1, keepdims=True)
        policy = discounted_optimum(with_transition(world, model), discount).policy
        occupancy = discounted_occupancy(world, policy, discount)
        data = alpha * occupancy + (1.0 - alpha) * wide
        loss = jnp.sum(data * bounds.kl_rows(transition, model))
        regret = optimum.value - jnp.sum(occupancy * jnp.sum(transition * reward, axis=-1)) / (1.0 - discount)
        drawn = jax.random.categorical(key, jnp.log((data[..., None] * transition).ravel()))
        return counts + jnp.zeros(18).at[drawn].add(1.0).reshape(shape), (loss, regret)

    _, (losses, regrets) = jax.lax.scan(one_round, jnp.zeros(shape), jax.random.split(key, NUM_ROUNDS))
    covered = bounds.concentrability(discounted_occupancy(world, optimum.policy, discount), wide)
    coefficient = bounds.simulation_gap(1.0, bounds.half_span(reward), 2.0)
    return losses.mean(), regrets.mean(), bounds.aggregated(0.0, losses.mean(), alpha, covered, coefficient)


def test_practical_mal_with_wide_data_in_every_round():
    """The mean regret is below the bound in every run, and the mean loss below that of counting with one added."""
    with jax.enable_x64(True):
        losses, regrets, bound = jax.device_get(practical_mal(jax.random.split(jax.random.key(0), 256)))
    assert (regrets <= bound + 1e-9).all()
    limit = float(bounds.counting_loss(3, 2, NUM_ROUNDS))
    assert 0.2 * limit < losses.mean() + 4.0 * losses.std() / 16.0 < limit
