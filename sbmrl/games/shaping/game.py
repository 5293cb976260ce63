"""The game of reward shaping: a designer's penalties `[S]`, an agent's policy π `[C·S, A]`.

The designer answers one question with S + 1 numbers: softmax shares of the limit, of which the last is not used. The
agent sees the context and its cell. Both seats move the agent in the same way; what is earned at step t is paid γᵗ
times, so that its sum is the discounted return.

Source: Thoma et al. (2024), arXiv 2406.01575.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation, Role
from sbmrl.core.game import (
    Game,
    Info,
    Payoff,
    Profile,
    Seat,
    SoftResponse,
    Strategy,
    random_rows,
    sample_row,
    softmax_starts,
)
from sbmrl.games.shaping.closed_forms import (
    SoftOptimum,
    agent_reward,
    cost_reward,
    expected_return,
    soft_optimum,
    target_reward,
)
from sbmrl.games.shaping.measures import make_measures
from sbmrl.games.shaping.options import RegularisedOptions
from sbmrl.games.shaping.world import ShapingWorld

ROLES: tuple[Role, Role] = ("designer", "agent")


class ShapingPlay(NamedTuple):
    """The only kind of episode."""


class ShapingState(NamedTuple):
    """Where an episode stands.

    Attributes:
        context: `[]` number of the context.
        cell: `[]` number of the cell.
        time: `[]` steps made so far.
        weight: `[]` γ to that power.
        other: the other side's strategy.
    """

    context: jax.Array
    cell: jax.Array
    time: jax.Array
    weight: jax.Array
    other: Strategy


def _reset(world: ShapingWorld):
    def reset(key: jax.Array, other: Strategy, play: ShapingPlay) -> ShapingState:
        key_context, key_cell = jax.random.split(key)
        context, cell = sample_row(key_context, world.contexts), sample_row(key_cell, world.initial)
        return ShapingState(context, cell, jnp.int32(0), jnp.ones_like(world.discount), other)

    return reset


def _move(key: jax.Array, world: ShapingWorld, now: ShapingState, penalties: jax.Array, action: jax.Array):
    """A step of the agent: (state, step rewards, whether it was at the goal, info)."""
    arrived = now.cell == world.goals.astype(jnp.int32)[now.context]
    earned = {
        "target": now.weight * world.target[now.cell],
        "cost": jnp.where(arrived, -now.weight * jnp.sum(penalties), 0.0),
        "agent_return": now.weight * jnp.where(arrived, 1.0, -penalties[now.cell]),
    }
    cell = world.following[now.cell, sample_row(key, world.moves[action])]
    info: Info = {}
    return now._replace(cell=cell, time=now.time + 1, weight=now.weight * world.discount), earned, arrived, info


def _observed(world: ShapingWorld, now: ShapingState) -> jax.Array:
    return now.context * world.num_cells + now.cell


def _agent_seat(world: ShapingWorld) -> Seat:
    size = world.num_contexts * world.num_cells

    def step(key: jax.Array, now: ShapingState, answer: jax.Array):
        return _move(key, world, now, now.other, answer)

    return Seat(
        jnp.eye(size),
        lambda now: jax.nn.one_hot(_observed(world, now), size),
        _reset(world),
        step,
        table=jax.nn.softmax,
        rows=lambda policy: policy,
        heard=lambda answers: jax.nn.one_hot(answers, world.num_actions),
        num_outputs=world.num_actions,
        head="categorical",
        number=lambda now: _observed(world, now),
    )


def _designer_seat(world: ShapingWorld) -> Seat:
    def table(outputs: jax.Array) -> Strategy:
        return world.limit * jax.nn.softmax(outputs[0])[:-1]

    def rows(penalties: Strategy) -> jax.Array:
        shares = penalties / world.limit
        return jnp.append(shares, 1.0 - jnp.sum(shares))[None]

    def step(key: jax.Array, now: ShapingState, answer: jax.Array):
        key_action, key_move = jax.random.split(key)
        action = sample_row(key_action, now.other[_observed(world, now)])
        return _move(key_move, world, now, table(answer[None]), action)

    return Seat(
        jnp.ones((1, 1)),
        lambda now: jnp.ones(1),
        _reset(world),
        step,
        table=table,
        rows=rows,
        heard=table,
        num_outputs=world.num_cells + 1,
        head="gaussian",
    )


def shaping_game(world: ShapingWorld) -> Game:
    """The game on `world`; random designers draw their shares from Dirichlet(1), random agents each row."""
    policy_shape = (world.num_contexts, world.num_cells, world.num_actions)

    def policy(profile: Profile) -> jax.Array:
        return profile["agent"].reshape(policy_shape)

    def solve(options: RegularisedOptions, given: Profile) -> SoftOptimum:
        reward = agent_reward(world, given["designer"])
        return soft_optimum(world, reward, options.temperature, options.max_iterations)

    def respond(formulation: Formulation, options: RegularisedOptions) -> SoftResponse:
        flat = (-1, world.num_actions)
        return SoftResponse(
            lambda given: solve(options, given).policy.reshape(flat), lambda given: solve(options, given).residual
        )

    rewards = {
        "target": lambda profile: target_reward(world),
        "cost": lambda profile: cost_reward(world, profile["designer"]),
        "agent_return": lambda profile: agent_reward(world, profile["designer"]),
    }

    def payoff(name: str) -> Payoff:
        return Payoff(
            lambda profile: expected_return(world, rewards[name](profile), policy(profile)), ShapingPlay(), name
        )

    seats = {"designer": _designer_seat(world), "agent": _agent_seat(world)}
    priors = {
        "designer": lambda key: world.limit * random_rows(key, (world.num_cells + 1,))[:-1],
        "agent": lambda key: random_rows(key, (policy_shape[0] * policy_shape[1], world.num_actions)),
    }
    nothing = {
        "designer": lambda: jnp.zeros(world.num_cells),
        "agent": lambda: jnp.full((policy_shape[0] * policy_shape[1], world.num_actions), 1.0 / world.num_actions),
    }
    payoffs = {name: payoff(name) for name in rewards}
    return Game(
        world,
        world.horizon,
        seats=seats,
        payoffs=payoffs,
        priors=priors,
        heard=dict.fromkeys(ROLES, lambda key, strategy: strategy),
        describe=dict.fromkeys(ROLES, jnp.ravel),
        played=dict.fromkeys(ROLES, lambda strategy: strategy),
        starts={role: softmax_starts(seats[role], priors[role], nothing[role]) for role in ROLES},
        measures=lambda formulation: make_measures(world, formulation, payoffs, seats, priors["designer"]),
        soft_response=respond,
    )
