"""Tabular Q-learning as an oracle: the follower learns by playing against the leader, in front of the leader's steps.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers", the inner-loop baseline; Watkins & Dayan (1992). Every step
of an inner episode asks the leader for its action at what it would see there, so a leader's episode has N·T queries.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Game
from sbmrl.core.options import require_counts, require_ranges
from sbmrl.core.oracles import Oracle
from sbmrl.core.parts import LearnerKind
from sbmrl.games.matrix.rules import MatrixGame, MatrixState, first_state, step


@dataclasses.dataclass(frozen=True)
class QLearningOptions:
    """Tabular Q-learning against the leader, from a table of zeros in every one of the leader's episodes.

    The defaults are those of Gerstgrasser & Parkes (2023). Every step of it asks the leader for an action.
    """

    num_episodes: int = 80
    """Episodes that the follower learns in before the leader's own T steps."""
    learning_rate: float = 0.1
    """α, the step of the table towards each new estimate."""
    discount: float = 0.9
    """γ, discount per step."""
    exploration: float = 0.1
    """ε, the share of random actions while it learns."""


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


def _oracle(game: Game, formulation: Formulation, options: QLearningOptions) -> Oracle:
    return q_learning(game.world, formulation, options)


def _check(options: QLearningOptions, where: str) -> None:
    require_counts(options, where, "num_episodes")
    share = (0.0, 1.0)
    require_ranges(options, where, learning_rate=(0.0, math.inf), discount=share, exploration=share)


Q_LEARNING = LearnerKind(
    name="q_learning",
    summary="tabular Q-learning inside every episode of the leader; for followers in matrix games",
    options=QLearningOptions,
    build=None,
    check=_check,
    heard=lambda options: (),
    oracle=_oracle,
    kind="matrix",
)
