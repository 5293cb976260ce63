"""Exact values in worlds of cells with neighbours: returns over T steps, and the entropy-regularised optimum.

Shapes: C contexts, S cells, A actions, D moves; π `[C, S, A]`, rewards and values `[C, S]`. A reward is paid for a step
that is made in a cell; the step made at the goal is the last. Only neighbours are looked at, S·D numbers and not S².
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.shaping.world import ShapingWorld


def agent_reward(world: ShapingWorld, penalties: jax.Array) -> jax.Array:
    """`[C, S]`: 1 at the goal, elsewhere what the designer takes, −p `[S]`."""
    return jnp.where(world.at_goal, 1.0, -penalties)


def target_reward(world: ShapingWorld) -> jax.Array:
    """`[C, S]`: what the designer earns for where the agent is."""
    return jnp.broadcast_to(world.target, world.at_goal.shape)


def cost_reward(world: ShapingWorld, penalties: jax.Array) -> jax.Array:
    """`[C, S]`: −Σ p at the goal: the designer answers for all its penalties when the agent arrives."""
    return jnp.where(world.at_goal, -jnp.sum(penalties), 0.0)


def _goes_on(world: ShapingWorld) -> jax.Array:
    """`[C, S]`: γ, and 0 behind the step at the goal."""
    return jnp.where(world.at_goal, 0.0, world.discount)


def action_values(world: ShapingWorld, reward: jax.Array, values: jax.Array) -> jax.Array:
    """`[C, S, A]`: r(c, s) + γ Σ_d P(d | a) V(c, neighbour d of s)."""
    ahead = values[:, world.following] @ world.moves.T
    return reward[..., None] + _goes_on(world)[..., None] * ahead


def step_values(world: ShapingWorld, reward: jax.Array, policy: jax.Array) -> jax.Array:
    """`[C, S]`: Σ_{t<T} γᵗ E r under π, by T backups."""
    flow = _goes_on(world)[..., None] * (policy @ world.moves)

    def backup(values: jax.Array, _: None) -> tuple[jax.Array, None]:
        return reward + jnp.sum(flow * values[:, world.following], axis=-1), None

    return jax.lax.scan(backup, jnp.zeros_like(reward), length=world.horizon, unroll=4)[0]


def expected_at_start(world: ShapingWorld, values: jax.Array) -> jax.Array:
    """`[]`: of values `[C, S]`, over contexts and first cells."""
    return world.contexts @ values @ world.initial


def expected_return(world: ShapingWorld, reward: jax.Array, policy: jax.Array) -> jax.Array:
    """`[]`: Σ_{t<T} γᵗ E r under π, a context and a first cell drawn."""
    return expected_at_start(world, step_values(world, reward, policy))


def best_return(world: ShapingWorld, reward: jax.Array) -> jax.Array:
    """`[]`: the largest expected return over T steps of any policy, by backward induction."""

    def backup(values: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jnp.max(action_values(world, reward, values), axis=-1), None

    return expected_at_start(world, jax.lax.scan(backup, jnp.zeros_like(reward), length=world.horizon)[0])


class SoftOptimum(NamedTuple):
    """The optimum with an entropy bonus, over an infinite horizon.

    Attributes:
        policy: `[C, S, A]` softmax(Q / λ).
        residual: `[]` max |T V − V|, in units of return.
    """

    policy: jax.Array
    residual: jax.Array


def _stationary_values(world: ShapingWorld, reward: jax.Array, policy: jax.Array) -> jax.Array:
    """`[C, S]`: (I − γ P_π)⁻¹ r for a policy that is held fixed, by one linear solve a context."""
    flow = _goes_on(world)[..., None] * (policy @ world.moves)
    cells = jnp.arange(world.num_cells)
    chain = jnp.zeros((*reward.shape, world.num_cells)).at[:, cells[:, None], world.following].add(flow)
    return jnp.linalg.solve(jnp.eye(world.num_cells) - chain, reward[..., None])[..., 0]


def soft_optimum(
    world: ShapingWorld, reward: jax.Array, temperature: jax.typing.ArrayLike, max_iterations: int
) -> SoftOptimum:
    """The fixed point of (T V)(s) = λ log Σ_a exp(Q_V(s, a) / λ), V = r at the goal, where nobody chooses.

    Backups find it nearly; the policy is then held fixed, its evaluation (a Newton step) and one improvement are
    differentiated. By the envelope theorem ∂V is that at fixed π, so ∂ log π = ∂A_λ / λ, and the first derivative in
    the reward is exact. Second ones would be wrong.
    """

    def backup(values: jax.Array) -> jax.Array:
        soft = temperature * jax.nn.logsumexp(action_values(world, reward, values) / temperature, axis=-1)
        return jnp.where(world.at_goal, reward, soft)

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, moved, iteration = carry
        return (moved > tolerance) & (iteration < max_iterations)

    def improve(carry: tuple[jax.Array, jax.Array, jax.Array]):
        values, _, iteration = carry
        new = backup(values)
        return new, jnp.max(jnp.abs(new - values)), iteration + 1

    # What is left then is 1e-3 in the logits, times at most 1 / (1 − γ), before the Newton step squares it.
    tolerance = 1e-3 * jnp.asarray(temperature) + 8.0 * jnp.finfo(reward.dtype).eps
    start = (jnp.zeros_like(reward), jnp.asarray(jnp.inf, reward.dtype), jnp.int32(0))
    values = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, improve, jax.lax.stop_gradient(start))[0])

    def softmax(values: jax.Array) -> jax.Array:
        return jax.nn.softmax(action_values(world, reward, values) / temperature, axis=-1)

    held = jax.lax.stop_gradient(softmax(values))
    entropy = jnp.sum(jax.scipy.special.entr(held), axis=-1)
    values = _stationary_values(world, reward + jnp.where(world.at_goal, 0.0, temperature * entropy), held)
    return SoftOptimum(softmax(values), jax.lax.stop_gradient(jnp.max(jnp.abs(backup(values) - values))))
