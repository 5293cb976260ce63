"""Finite MDPs as pytrees, and a finite MDP played as an environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.core.environment import Environment, Step
from sbmrl.core.files import SUFFIXES
from sbmrl.core.game import sample_row
from sbmrl.errors import require, require_known
from sbmrl.games.tabular.catalogue import HORIZON, WORLDS, WorldArrays, named_world
from sbmrl.games.tabular.files import load_world, world_of_arrays


class TabularMDP(struct.PyTreeNode):
    """A finite MDP. Terminal states are absorbing and pay 0.

    Attributes:
        transition: `[S, A, S]` probabilities.
        reward: `[S, A, S]`, paid on the transition.
        initial: `[S]` distribution of the first state.
        terminal: per state, whether it ends the episode (static).
        horizon: decisions per episode, T (static).
        name: the world's name (static).
        discount: γ in (0, 1], weight of a step's reward relative to the step before (static).
    """

    transition: jax.Array
    reward: jax.Array
    initial: jax.Array
    terminal: tuple[bool, ...] = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="mdp")
    discount: float = struct.field(pytree_node=False, default=1.0)

    @property
    def num_states(self) -> int:
        """S."""
        return self.transition.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.transition.shape[1]

    @property
    def decision_states(self) -> np.ndarray:
        """`[D]` states in which somebody acts: the non-terminal ones, in order."""
        return np.flatnonzero(~np.array(self.terminal))


def make_mdp(world: WorldArrays, dtype=None) -> TabularMDP:
    """Bring checked arrays onto the device as a `TabularMDP`."""
    terminal = np.isin(np.arange(len(world.initial)), list(world.terminal))
    # numpy, as jax would compile each operation before the first program is
    rows = np.where(terminal[:, None, None], np.eye(len(terminal))[:, None, :], world.transition)
    reward = np.where(terminal[:, None, None], 0.0, world.reward)
    rows, reward, initial = (
        jnp.asarray(np.asarray(array, dtype or np.float32)) for array in (rows, reward, world.initial)
    )
    return TabularMDP(rows, reward, initial, tuple(terminal.tolist()), world.horizon, world.name, world.discount)


def make_world(source: str | Path | Mapping[str, Any]) -> TabularMDP:
    """A named world, `random_S_A_SEED`, or one's own MDP: a JSON or npz file, or the same keys with their arrays.

    The keys are `transition` `[S, A, S]`, `reward` `[S, A, S]` or `[S, A]`, `initial` (a state or a distribution
    `[S]`), `terminal` (list of states, may be empty) and `horizon` (decisions per episode); `name` and `discount` may
    be left out.

    Raises:
        InputError: unknown name (with the nearest known one), a file that is no MDP, or arrays that are none.
    """
    if isinstance(source, Mapping):
        return make_mdp(world_of_arrays(source))
    name = str(source)
    if name.endswith(SUFFIXES):
        return make_mdp(load_world(name))
    if name.startswith("random_"):
        return _random_from_name(name)
    require_known(name, "env", [*WORLDS, "random_S_A_SEED", "a .json or .npz file"])
    require(name in WORLDS, "env", "write numbers for S, A and SEED, or a real file name", repr(name))
    return make_mdp(named_world(name))


def _random_from_name(name: str) -> TabularMDP:
    parts = name.split("_")[1:]
    well_formed = len(parts) == 3 and all(part.isdecimal() for part in parts)
    require(well_formed, "env", "a random world is named random_S_A_SEED, as in random_5_2_0", repr(name))
    num_states, num_actions, seed = map(int, parts)
    require(num_states >= 1 and num_actions >= 1, "env", "a random world needs S ≥ 1 and A ≥ 1", repr(name))
    return random_mdp(jax.random.key(seed), num_states, num_actions).replace(name=name)


def random_mdp(
    key: jax.Array, num_states: int, num_actions: int, concentration: float = 1.0, horizon: int = HORIZON
) -> TabularMDP:
    """A random endless world: rows Dirichlet(concentration), rewards uniform in [−1, 1], start in state 0."""
    key_transition, key_reward = jax.random.split(key)
    shape = (num_states, num_actions, num_states)
    transition = jax.random.dirichlet(key_transition, jnp.full(num_states, concentration), shape[:2])
    reward = jax.random.uniform(key_reward, shape, minval=-1.0, maxval=1.0)
    return TabularMDP(transition, reward, jnp.eye(num_states)[0], (False,) * num_states, horizon, "random_mdp")


def with_transition(mdp: TabularMDP, transition: jax.Array) -> TabularMDP:
    """`mdp` whose states move as `transition` `[S, A, S]` says: a world model played as a world.

    Rewards, start, horizon and terminal states stay the true ones; terminal states are made absorbing.
    """
    terminal = np.array(mdp.terminal)[:, None, None]
    stay = jnp.eye(mdp.num_states, dtype=transition.dtype)[:, None, :]
    reward = jnp.where(terminal, 0.0, mdp.reward)
    return mdp.replace(transition=jnp.where(terminal, stay, transition), reward=reward)


def imagined(mdp: TabularMDP, model: jax.Array) -> TabularMDP:
    """The world that a model's strategy tells: P̂ `[S, A, S]`, or with rewards of its own (P̂, r̂) `[S, A, S + 1]`.

    r̂(s, a) is the last column, paid whatever the next state. Without it rewards are the true ones.
    """
    rows = transition_of(mdp, model)
    if model.shape[-1] > mdp.num_states:
        mdp = mdp.replace(reward=jnp.broadcast_to(model[..., mdp.num_states :], rows.shape))
    return with_transition(mdp, rows)


def transition_of(mdp: TabularMDP, model: jax.Array) -> jax.Array:
    """P̂ `[S, A, S]` of a model's strategy, which may have rewards behind it."""
    return model[..., : mdp.num_states]


class TabularState(NamedTuple):
    """Where an episode stands: `state` `[]` int, `time` `[]` int (decisions made so far)."""

    state: jax.Array
    time: jax.Array


def tabular_environment(mdp: TabularMDP) -> Environment:
    """`mdp` as an environment with one-hot observations `[S]` and integer actions; cut (truncated) at its horizon."""

    def reset(key: jax.Array):
        state = TabularState(sample_row(key, mdp.initial), jnp.int32(0))
        return jax.nn.one_hot(state.state, mdp.num_states), state

    def step(key: jax.Array, state: TabularState, action: jax.Array) -> Step:
        next_state = sample_row(key, mdp.transition[state.state, action])
        reward = mdp.reward[state.state, action, next_state]
        new = TabularState(next_state, state.time + 1)
        terminated = jnp.array(mdp.terminal)[next_state]
        truncated = (new.time >= mdp.horizon) & ~terminated
        return jax.nn.one_hot(next_state, mdp.num_states), new, reward, terminated, truncated, {}

    return Environment(reset, step)
