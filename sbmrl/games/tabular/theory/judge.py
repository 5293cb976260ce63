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
    expected_visits,
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
        return expected_visits(world.replace(horizon=num_steps), policy) / num_steps

    def policy_like(policy: jax.Array) -> jax.Array:
        return jnp.broadcast_to(policy, (num_steps, *policy.shape))

    horizon = jnp.asarray(float(num_steps))
    return _Returns(horizon, bounds.squared_horizon(horizon), occupancy, optimum, policy_like)


class _Situation(NamedTuple):
    """What all statements on an instance share, whatever the loss; occupancies `[S, A]`, the rest `[]`.

    Attributes:
        horizon: H.
        horizon_squared: what stands for H² in the gap of squared errors.
        reward_bound: R, half of the reward's span.
        regret: J* − J(π, M).
        truth: ε₀, the same of the follower's answer to the truth, π₀.
        plan: ε_π against all policies.
        policy: ε_π against π*.
        second: ε_π of theorem 2, in M̂(π*).
        rounds: mean ε_π of two rounds.
        in_world: J(·, M) of "policy", "optimal" and "reply".
        in_model: J(π, M̂).
        own: π's data, the distribution of its decisions.
        of_reply: π₀'s.
        decided: occupancies of "policy" and "optimal" in which somebody decides.
        wide: ν.
        data: D.
        covered: concentrability of π* in "wide" and in "D", and of π in "D", as "policy".
        distances: statement -> total variation.
    """

    horizon: jax.Array
    horizon_squared: jax.Array
    reward_bound: jax.Array
    regret: jax.Array
    truth: jax.Array
    plan: jax.Array
    policy: jax.Array
    second: jax.Array
    rounds: jax.Array
    in_world: dict[str, jax.Array]
    in_model: jax.Array
    own: jax.Array
    of_reply: jax.Array
    decided: dict[str, jax.Array]
    wide: jax.Array
    data: jax.Array
    covered: dict[str, jax.Array]
    distances: dict[str, jax.Array]


def judge(instance: Instance, wide_data: jax.typing.ArrayLike = 2, num_steps: int | None = None) -> dict[str, Sides]:
    """Both sides of all statements for both losses, by `name_of`, and of theorem 2 as printed.

    Args:
        instance: world, policies, models, data.
        wide_data: `[]` which of WIDE_DATA ν is.
        num_steps: T; None for discounted returns.
    """
    returns = _discounted(instance.discount) if num_steps is None else _over_steps(num_steps)
    situation = _situation(instance, returns, wide_data)
    of_losses = (_sides(instance, situation, loss) for loss in LOSSES)
    return {name: Sides(*both) for sides in of_losses for name, both in sides.items()}


def _situation(instance: Instance, returns: _Returns, wide_data: jax.typing.ArrayLike) -> _Situation:
    world, deciding, horizon = instance.world, instance.deciding, returns.horizon
    imagined, at_optimum = (with_transition(world, model) for model in (instance.model, instance.model_at_optimum))

    def played(world: TabularMDP, *policies: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Occupancies `[N, S, A]` and returns `[N]`."""
        occupancies = jax.vmap(returns.occupancy, (None, 0))(world, jnp.stack(policies))
        return occupancies, horizon * jnp.sum(occupancies * expected_reward(world), axis=(1, 2))

    _, optimal = returns.optimum(world)
    best_in_model, best_response = returns.optimum(imagined)
    policy = jnp.where(instance.responds, best_response, returns.policy_like(instance.policy))
    reply = jnp.where(instance.replies_well, optimal, returns.policy_like(instance.reply))
    visits, worth = played(world, policy, optimal, reply)
    imagined_visits, in_model = played(imagined, policy, optimal)
    _, later = played(at_optimum, reply, optimal)
    of_policy, of_optimal, of_reply = jnp.where(deciding[:, None], visits, 0.0)
    epsilon_policy = jnp.maximum(in_model[1] - in_model[0], 0.0)

    wide = _wide_data(instance, returns, wide_data)
    data = instance.kept * _own_data(of_policy) + (1.0 - instance.kept) * wide
    imagined_flow = imagined_visits[1][..., None] * instance.model
    return _Situation(
        horizon=horizon,
        horizon_squared=returns.horizon_squared,
        reward_bound=bounds.half_span(world.reward),
        regret=worth[1] - worth[0],
        truth=worth[1] - worth[2],
        plan=jnp.maximum(best_in_model - in_model[0], 0.0),
        policy=epsilon_policy,
        second=jnp.maximum(later[1] - in_model[0], 0.0),
        rounds=0.5 * (epsilon_policy + jnp.maximum(later[1] - later[0], 0.0)),
        in_world=dict(zip(("policy", "optimal", "reply"), worth, strict=True)),
        in_model=in_model[0],
        own=_own_data(of_policy),
        of_reply=_own_data(of_reply),
        decided={"policy": of_policy, "optimal": of_optimal},
        wide=wide,
        data=data,
        covered={
            "wide": bounds.concentrability(of_optimal, wide),
            "D": bounds.concentrability(of_optimal, data),
            "policy": bounds.concentrability(of_policy, data),
        },
        distances={
            "theorem_1_world": bounds.total_variation(visits[1], visits[0]),
            "theorem_1_model": bounds.total_variation(visits[1][..., None] * world.transition, imagined_flow),
        },
    )


def _rows_of(loss: str, transition: jax.Array, model: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`[S, A]` each: the excess loss of every row, and what a raw loss adds to it."""
    if loss == "kl":
        return bounds.kl_rows(transition, model), -jnp.sum(transition * safe_log(transition), axis=-1)
    return excess_brier_score(transition, model), 1.0 - jnp.sum(transition**2, axis=-1)


class _Account(NamedTuple):
    """What MAL's leader pays beyond what the truth would cost it, `[]` each.

    Attributes:
        excess: e of agent reward in the "world" and in the "model".
        noise: V(μ^{π₀}) − V(μ^π).
        random: e of random noise.
        rounding: what e may be off by.
    """

    excess: dict[str, jax.Array]
    noise: jax.Array
    random: jax.Array
    rounding: jax.Array


def _account(instance: Instance, now: _Situation, rows: jax.Array, unavoidable: jax.Array) -> _Account:
    alpha, on_policy = instance.alpha, jnp.sum(now.own * rows)
    noise = jnp.sum((now.of_reply - now.own) * unavoidable)
    # What the leader pays, and would pay with the truth; all but its reward.
    pays, at_truth = (jnp.sum(mu * unavoidable) for mu in (now.own, now.of_reply))
    pays += on_policy
    excess = {
        where: alpha * (pays - at_truth) - (1.0 - alpha) * (seen - now.in_world["reply"])
        for where, seen in {"world": now.in_world["policy"], "model": now.in_model}.items()
    }
    ulps = 16.0 * jnp.finfo(jnp.float64).eps
    magnitude = alpha * (pays + at_truth)
    random = alpha * on_policy + (1.0 - alpha) * jnp.sum(now.wide * rows) - alpha * noise
    rounding = ulps * (magnitude + (1.0 - alpha) * now.horizon * jnp.max(jnp.abs(instance.world.reward)))
    return _Account(excess, noise, random + instance.raw * ulps * magnitude, rounding)


def _sides(instance: Instance, now: _Situation, loss: str) -> dict[str, tuple[Any, Any, Any, Any]]:
    """The fields of `Sides` for one loss, by `name_of`."""
    world, alpha, zero = instance.world, instance.alpha, jnp.zeros_like(now.regret)
    coefficient = (
        bounds.simulation_gap(1.0, now.reward_bound, now.horizon)
        if loss == "kl"
        else bounds.simulation_gap_brier(1.0, now.reward_bound, now.horizon_squared, len(instance.deciding))
    )
    rows, uncertain = _rows_of(loss, world.transition, instance.model)
    rows_at_optimum, _ = _rows_of(loss, world.transition, instance.model_at_optimum)
    on_policy = jnp.sum(now.decided["policy"] * rows)
    at_both = jnp.maximum(on_policy, jnp.sum(now.decided["optimal"] * rows_at_optimum))
    gap, gap_at_both = coefficient * jnp.sqrt(on_policy), coefficient * jnp.sqrt(at_both)

    excess, noise, random, rounding = _account(instance, now, rows, instance.raw * uncertain)
    slack = rounding / (1.0 - alpha)
    own_model = now.truth + jnp.maximum(excess["model"] + alpha * noise, 0.0) / (1.0 - alpha)
    on_own = jnp.sum(now.own * rows)
    in_world = bounds.reward_in_world(excess["world"], on_own, alpha, now.truth, noise)
    in_model = bounds.reward_in_model(excess["model"], alpha, coefficient, now.truth, noise)
    noisy = bounds.random_noise(now.policy, random, alpha, now.covered["wide"], coefficient, noise)
    on_data = jnp.sum(now.data * rows)
    any_data = bounds.any_data(now.policy, on_data, now.covered["D"], now.covered["policy"], coefficient)
    rounds = (now.own, rows), (now.of_reply, rows_at_optimum)
    mean_loss = 0.5 * sum(jnp.sum((alpha * mu + (1.0 - alpha) * now.wide) * wrong) for mu, wrong in rounds)
    aggregated = bounds.aggregated(now.rounds, mean_loss, alpha, now.covered["wide"], coefficient)
    sides = {
        "gap": (jnp.abs(now.in_world["policy"] - now.in_model), gap, zero, zero),
        **{
            name: (now.regret, bounds.theorem_1(now.plan, gap, d, now.reward_bound, now.horizon), now.plan, zero)
            for name, d in now.distances.items()
        },
        "theorem_2": (now.regret, bounds.theorem_2(now.second, gap_at_both), now.second, zero),
        "reward_in_world": (now.regret, in_world, zero, slack),
        "reward_in_model": (now.regret, in_model, own_model, slack),
        "random_noise": (now.regret, noisy, now.policy, zero),
        "any_data": (now.regret, any_data, now.policy, zero),
        "aggregated": (0.5 * (now.regret + now.truth), aggregated, now.rounds, zero),
    }
    found = {name_of(statement, loss): both for statement, both in sides.items()}
    if loss == "kl":
        printed = 4.0 * instance.discount * jnp.max(jnp.abs(world.reward)) * now.horizon**2 * jnp.sqrt(at_both)
        found[PRINTED] = now.regret, now.second + printed, now.second, zero
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
