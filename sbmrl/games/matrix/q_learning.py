"""Tabular Q-learning as an oracle: the follower learns by playing against the leader, in front of the leader's steps.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers", the inner-loop baseline; Watkins & Dayan (1992). Every step
of an inner episode asks the leader for its action at what it would see there, so a leader's episode has N·T queries.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.matrix.rules import MatrixGame, MatrixState, first_state, step
from sbmrl.core.formulation import Formulation
from sbmrl.core.options import QLearningOptions
from sbmrl.core.oracles import Oracle


class QState(NamedTuple):
    """The follower's action values `[O, A]`, and where the inner episode stands."""

    action_values: jax.Array
    game: MatrixState


def q_learning(world: MatrixGame, formulation: Formulation, options: QLearningOptions) -> Oracle:
    """The oracle of a follower that starts from a table of zeros, explores with probability ε and answers greedily.

    Q(o, a) ← Q(o, a) + α (r + γ max_a' Q(o', a') − Q(o, a)), with nothing behind the end of an episode.
    """
    row_leads = formulation.leader == "row"
    own = 1 if row_leads else 0
    shape = (world.num_observations[own], world.num_actions[own])

    def seen(state: MatrixState) -> tuple[jax.Array, jax.Array]:
        """What the leader and what the follower sees."""
        row, column = state.row_observation, state.column_observation
        return (row, column) if row_leads else (column, row)

    def hear(key: jax.Array, state: QState, leader_action: jax.Array) -> QState:
        key_explore, key_action = jax.random.split(key)
        observation = seen(state.game)[1]
        explore = jax.random.uniform(key_explore) < options.exploration
        best, other = jnp.argmax(state.action_values[observation]), jax.random.randint(key_action, (), 0, shape[1])
        action = jnp.where(explore, other, best)
        actions = (leader_action, action) if row_leads else (action, leader_action)
        game, row_reward, column_reward, ended = step(world, state.game, *actions)
        reward = column_reward if row_leads else row_reward
        behind = jnp.where(ended, 0.0, jnp.max(state.action_values[seen(game)[1]]))
        error = reward + options.discount * behind - state.action_values[observation, action]
        action_values = state.action_values.at[observation, action].add(options.learning_rate * error)
        game = jax.tree.map(lambda new, now: jnp.where(ended, new, now), first_state(), game)
        return QState(action_values, game)

    return Oracle(
        options.num_episodes * world.horizon,
        begin=lambda key: QState(jnp.zeros(shape), first_state()),
        query=lambda state: seen(state.game)[0],
        hear=hear,
        respond=lambda state: jax.nn.one_hot(jnp.argmax(state.action_values, axis=-1), shape[1]),
    )
