"""Both sides of every statement for one world, policy and model, discounted or over T steps.

Everything is exact and unbatched; batch with `jax.vmap`, and use float64: where a model is right to the last bits, √ℓ
is as large as the square root of the rounding error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.game import greedy
from sbmrl.games.tabular.closed_forms import (
    discounted_occupancy,
    discounted_optimum,
    excess_brier_score,
    expected_reward,
    optimal_action_values,
    safe_log,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition
from sbmrl.games.tabular.theory import bounds


class Instance(NamedTuple):
    """A world M with a policy, models and data; what is planned in them is the judge's.

    Attributes:
        world: M; its horizon is not used, and a state that ends it is an absorbing one without reward.
        deciding: `[S]` bool, the states that do not end the world.
        discount: `[]` γ in [0, 1); not used over T steps.
        policy: `[S, A]` π.
        responds: `[]` bool, whether the best response to M̂ is played instead of `policy`.
        model: `[S, A, S]` M̂(π).
        model_at_optimum: `[S, A, S]` M̂(π*).
        reply: `[S, A]` π₀, the follower's answer to the truth, and its policy in a second round.
        replies_well: `[]` bool, whether π₀ is π* instead.
        pairs: `[S, A]` a distribution over the pairs in which somebody decides.
        crowd: `[N, S, A]` policies whose mean occupancy makes wide data.
        alpha: `[]` α in (0, 1).
        kept: `[]` share of π's own data in D, which is else ν.
        raw: `[]` 1 for raw losses (cross-entropy, Brier), 0 for excess ones.
    """

    world: TabularMDP
    deciding: jax.Array
    discount: jax.Array
    policy: jax.Array
    responds: jax.Array
    model: jax.Array
    model_at_optimum: jax.Array
    reply: jax.Array
    replies_well: jax.Array
    pairs: jax.Array
    crowd: jax.Array
    alpha: jax.Array
    kept: jax.Array
    raw: jax.Array


WIDE_DATA = ("uniform policy", "mean of random policies", "pairs")  # what ν is


class Sides(NamedTuple):
    """Both sides of a statement, `[]` each, or `[N]` of a batch, on the device or as numpy.

    Attributes:
        left: what is bounded: the regret, or of a simulation gap |J(π, M) − J(π, M̂)|.
        right: the right-hand side.
        own: the part of it that the players' own errors explain.
        rounding: what the computation of the two may be off by, beyond the usual.
    """

    left: Any
    right: Any
    own: Any
    rounding: Any


def share_of(sides: Sides) -> jax.Array:
    """`[...]` (left − own) / (right − own); 0 where all that is at stake is rounding."""
    whole = sides.right - sides.own
    meaningful = whole > 1e-7 + 100.0 * sides.rounding
    return jnp.where(meaningful, (sides.left - sides.own) / jnp.where(meaningful, whole, 1.0), 0.0)


class Statement(NamedTuple):
    """A row of the table.

    Attributes:
        title: its name in print.
        bound: its right-hand side.
        colour: in the figure.
        identity: whether both sides are equal.
    """

    title: str
    bound: str
    colour: str
    identity: bool = False


STATEMENTS = {
    "gap": Statement("simulation gap", "c·√ℓ", "#0072b2"),
    "theorem_1_world": Statement("theorem 1, D(μ_M^π*, μ_M^π)", "ε_π + c·√ℓ + 2RH·D", "#56b4e9"),
    "theorem_1_model": Statement("theorem 1, D(μ_M^π* ⊗ P, μ_M̂^π* ⊗ P̂)", "ε_π + c·√ℓ + 2RH·D", "#999999"),
    "theorem_2": Statement("theorem 2", "ε_π + 2c·√ℓ", "#009e73"),
    "reward_in_world": Statement("agent reward in the world", "ε₀ + (e − αℓ + α·noise)/(1−α)", "", True),
    "reward_in_model": Statement("agent reward in the model", "ε₀ + (e + α·noise)/(1−α) + (1−α)·c²/(4α)", "#d55e00"),
    "random_noise": Statement("random noise", "ε_π + c·√((e + α·noise)·(C/(1−α) + 1/α))", "#cc79a7"),
    "any_data": Statement("any data", "ε_π + c·(√C_D + √C_D^π)·√ℓ_D", "#e69f00"),
    "aggregated": Statement("aggregated data, two rounds", "ε_π + c·√(ε̄·(C/(1−α) + 1/α))", "#222222"),
}
LOSSES = ("kl", "brier")
PRINTED = "printed_kl"  # theorem 2 with the poster's constant, 4γ·max|R|·H²: no theorem (docs/theory.md)


def name_of(statement: str, loss: str) -> str:
    """The key of a statement for a loss in what `judge` returns."""
    return f"{statement}_{loss}"


class _Returns(NamedTuple):
    """How rewards are summed.

    Attributes:
        horizon: `[]` H.
        horizon_squared: `[]` what stands for H² in the gap of squared errors.
        occupancy: (world, policy) -> `[S, A]` averaged over time.
        optimum: world -> (value `[]`, an optimal policy).
        policy_like: (policy `[S, A]`) -> in the shape of an optimal policy.
    """

    horizon: jax.Array
    horizon_squared: jax.Array
    occupancy: Callable[[TabularMDP, jax.Array], jax.Array]
    optimum: Callable[[TabularMDP], tuple[jax.Array, jax.Array]]
    policy_like: Callable[[jax.Array], jax.Array]


def _discounted(discount: jax.Array) -> _Returns:
    horizon = 1.0 / (1.0 - discount)

    def optimum(world: TabularMDP) -> tuple[jax.Array, jax.Array]:
        plan = discounted_optimum(world, discount)
        return plan.value, plan.policy

    def occupancy(world: TabularMDP, policy: jax.Array) -> jax.Array:
        return discounted_occupancy(world, policy, discount)

    return _Returns(horizon, horizon**2, occupancy, optimum, lambda policy: policy)


def _over_steps(num_steps: int) -> _Returns:
    def optimum(world: TabularMDP) -> tuple[jax.Array, jax.Array]:
        action_values = optimal_action_values(world.replace(horizon=num_steps))
        return world.initial @ jnp.max(action_values[0], axis=-1), greedy(action_values)

    def occupancy(world: TabularMDP, policy: jax.Array) -> jax.Array:
        """As `expected_visits`, without a matrix for each time: here it is the batch that is long."""
        rows = world.transition.reshape(-1, world.num_states)

        def step(carry: tuple[jax.Array, jax.Array], chosen: jax.Array):
            state, visits = carry
            pairs = state[:, None] * chosen
            return (pairs.ravel() @ rows, visits + pairs), None

        start = (world.initial, jnp.zeros_like(policy[0]))
        return jax.lax.scan(step, start, policy, unroll=5)[0][1] / num_steps

    def policy_like(policy: jax.Array) -> jax.Array:
        return jnp.broadcast_to(policy, (num_steps, *policy.shape))

    horizon = jnp.asarray(float(num_steps))
    return _Returns(horizon, bounds.squared_horizon(horizon), occupancy, optimum, policy_like)


def judge(instance: Instance, wide_data: jax.typing.ArrayLike = 2, num_steps: int | None = None) -> dict[str, Sides]:
    """Both sides of all statements for both losses, by `name_of`, and of theorem 2 as printed.

    Args:
        instance: world, policies, models, data.
        wide_data: `[]` which of WIDE_DATA ν is.
        num_steps: T; None for discounted returns.
    """
    world, deciding = instance.world, instance.deciding
    returns = _discounted(instance.discount) if num_steps is None else _over_steps(num_steps)
    horizon = returns.horizon
    models = (instance.model, instance.model_at_optimum)
    imagined, imagined_at_optimum = (with_transition(world, model) for model in models)

    _, optimal = returns.optimum(world)
    best_in_model, best_response = returns.optimum(imagined)
    policy = jnp.where(instance.responds, best_response, returns.policy_like(instance.policy))
    reply = jnp.where(instance.replies_well, optimal, returns.policy_like(instance.reply))
    in_one_go = jax.vmap(returns.occupancy, (None, 0))
    played = in_one_go(world, jnp.stack([policy, optimal, reply]))
    occupancies = dict(zip(("policy", "optimal", "reply"), played, strict=True))
    in_world = {name: horizon * jnp.sum(mu * expected_reward(world)) for name, mu in occupancies.items()}
    regret, epsilon_truth = (in_world["optimal"] - in_world[name] for name in ("policy", "reply"))
    decided = {name: jnp.where(deciding[:, None], mu, 0.0) for name, mu in occupancies.items()}

    fooled = in_one_go(imagined, jnp.stack([policy, optimal]))
    in_model = {
        name: horizon * jnp.sum(mu * expected_reward(imagined))
        for name, mu in zip(("policy", "optimal"), fooled, strict=True)
    }
    imagined_flow = fooled[1][..., None] * instance.model
    second = in_one_go(imagined_at_optimum, jnp.stack([reply, optimal]))
    at_optimum = {
        name: horizon * jnp.sum(mu * expected_reward(imagined_at_optimum))
        for name, mu in zip(("reply", "optimal"), second, strict=True)
    }
    epsilon_plan = jnp.maximum(best_in_model - in_model["policy"], 0.0)
    epsilon_policy = jnp.maximum(in_model["optimal"] - in_model["policy"], 0.0)
    epsilon_2 = jnp.maximum(at_optimum["optimal"] - in_model["policy"], 0.0)
    epsilon_rounds = 0.5 * (epsilon_policy + jnp.maximum(at_optimum["optimal"] - at_optimum["reply"], 0.0))

    wide = _wide_data(instance, returns, wide_data)
    data = instance.kept * _own_data(decided["policy"]) + (1.0 - instance.kept) * wide
    covered = {name: bounds.concentrability(decided["optimal"], rows) for name, rows in (("wide", wide), ("D", data))}
    covered_policy = bounds.concentrability(decided["policy"], data)

    reward_bound = bounds.half_span(world.reward)
    distances = {
        "theorem_1_world": bounds.total_variation(occupancies["optimal"], occupancies["policy"]),
        "theorem_1_model": bounds.total_variation(occupancies["optimal"][..., None] * world.transition, imagined_flow),
    }
    coefficients = {
        "kl": bounds.simulation_gap(1.0, reward_bound, horizon),
        "brier": bounds.simulation_gap_brier(1.0, reward_bound, returns.horizon_squared, len(deciding)),
    }
    rows_of = {"kl": bounds.kl_rows, "brier": excess_brier_score}
    uncertain = {
        "kl": -jnp.sum(world.transition * safe_log(world.transition), axis=-1),
        "brier": 1.0 - jnp.sum(world.transition**2, axis=-1),
    }
    alpha, zero = instance.alpha, jnp.zeros_like(regret)
    found: dict[str, Sides] = {}
    for loss in LOSSES:
        coefficient = coefficients[loss]
        rows, rows_at_optimum = (rows_of[loss](world.transition, model) for model in models)
        unavoidable = instance.raw * uncertain[loss]
        own, of_reply = _own_data(decided["policy"]), _own_data(decided["reply"])
        on_policy, on_wide = jnp.sum(own * rows), jnp.sum(wide * rows)
        noise = jnp.sum((of_reply - own) * unavoidable)
        gap = coefficient * jnp.sqrt(jnp.sum(decided["policy"] * rows))
        at_both = jnp.maximum(jnp.sum(decided["policy"] * rows), jnp.sum(decided["optimal"] * rows_at_optimum))

        # What the leader pays, and would pay with the truth; all but its reward.
        pays, at_truth = (jnp.sum(mu * unavoidable) for mu in (own, of_reply))
        pays += on_policy
        magnitude = alpha * (pays + at_truth)
        sees = {"world": in_world["policy"], "model": in_model["policy"]}
        excess = {
            where: alpha * (pays - at_truth) - (1.0 - alpha) * (seen - in_world["reply"])
            for where, seen in sees.items()
        }
        excess_noise = alpha * on_policy + (1.0 - alpha) * on_wide - alpha * noise
        ulps = 16.0 * jnp.finfo(jnp.float64).eps
        rounding = ulps * (magnitude + (1.0 - alpha) * horizon * jnp.max(jnp.abs(world.reward)))
        excess_noise += instance.raw * ulps * magnitude

        rounds = (own, rows), (of_reply, rows_at_optimum)
        mean_loss = 0.5 * sum(jnp.sum((alpha * mu + (1.0 - alpha) * wide) * wrong) for mu, wrong in rounds)
        own_model = epsilon_truth + jnp.maximum(excess["model"] + alpha * noise, 0.0) / (1.0 - alpha)
        slack = rounding / (1.0 - alpha)
        of_loss = {
            "gap": (jnp.abs(in_world["policy"] - in_model["policy"]), gap, zero, zero),
            **{
                name: (regret, bounds.theorem_1(epsilon_plan, gap, d, reward_bound, horizon), epsilon_plan, zero)
                for name, d in distances.items()
            },
            "theorem_2": (
                regret,
                bounds.theorem_2(epsilon_2, coefficient * jnp.sqrt(at_both)),
                epsilon_2,
                zero,
            ),
            "reward_in_world": (
                regret,
                bounds.reward_in_world(excess["world"], on_policy, alpha, epsilon_truth, noise),
                zero,
                slack,
            ),
            "reward_in_model": (
                regret,
                bounds.reward_in_model(excess["model"], alpha, coefficient, epsilon_truth, noise),
                own_model,
                slack,
            ),
            "random_noise": (
                regret,
                bounds.random_noise(epsilon_policy, excess_noise, alpha, covered["wide"], coefficient, noise),
                epsilon_policy,
                zero,
            ),
            "any_data": (
                regret,
                bounds.any_data(epsilon_policy, jnp.sum(data * rows), covered["D"], covered_policy, coefficient),
                epsilon_policy,
                zero,
            ),
            "aggregated": (
                0.5 * (regret + epsilon_truth),
                bounds.aggregated(epsilon_rounds, mean_loss, alpha, covered["wide"], coefficient),
                epsilon_rounds,
                zero,
            ),
        }
        found |= {name_of(statement, loss): Sides(*sides) for statement, sides in of_loss.items()}
        if loss == "kl":
            printed = 4.0 * instance.discount * jnp.max(jnp.abs(world.reward)) * horizon**2 * jnp.sqrt(at_both)
            found[PRINTED] = Sides(regret, epsilon_2 + printed, epsilon_2, zero)
    return found


def _own_data(decided: jax.Array) -> jax.Array:
    """`[S, A]`: the distribution of decisions, from the share of time that is spent in each."""
    return decided / jnp.sum(decided)


def _wide_data(instance: Instance, returns: _Returns, which: jax.typing.ArrayLike) -> jax.Array:
    """`[S, A]` ν."""

    def of_policy(policy: jax.Array) -> jax.Array:
        mu = returns.occupancy(instance.world, returns.policy_like(policy))
        return _own_data(jnp.where(instance.deciding[:, None], mu, 0.0))

    def uniform() -> jax.Array:
        return of_policy(jnp.full_like(instance.policy, 1.0 / instance.policy.shape[-1]))

    def crowd() -> jax.Array:
        return jnp.mean(jax.vmap(of_policy)(instance.crowd), axis=0)

    return jax.lax.switch(which, (uniform, crowd, lambda: instance.pairs))
