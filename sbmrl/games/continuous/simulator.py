"""What a continuous world is: pure functions on observations, and the numbers of its physics.

A world is Markov in what is seen of it: a step depends on (physics, observation, action, key) and on nothing else, so a
learned model can take the place of `step` and leave start, reward and termination as they are. An episode ends by
termination or after T decisions; its return is the undiscounted sum of its rewards. Everything is unbatched.

Actions lie in a box or are numbers 0..A−1. Rules clip what they are given before they use it, for the dynamics and for
the reward alike (`clip_action`), so no action out of range costs or gains anything. A network speaks in units of the
half-width: output 0 is the middle of the box, ±1 its edges (`to_box`).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from sbmrl.errors import InputError

Physics = Mapping[str, jax.Array | np.float32]
Act = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Box(NamedTuple):
    """Actions `[A]` float between two corners, each a tuple of A numbers in the world's units."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class Discrete(NamedTuple):
    """Actions `[]` int, 0..num−1."""

    num: int


class Chart(NamedTuple):
    """Coordinates of the part of a world that matters, for dynamic programming on a grid (`K` ≤ 3 numbers).

    What a step does to the state must not depend on its key, nor the reward on anything else that is seen.

    Attributes:
        low: the least of each coordinate; what lies below is met at the edge.
        high: the greatest of each.
        wraps: whether `high` is the same place as `low`, as with an angle.
        observe: (state `[K]`) -> an observation `[D]` of it.
        state_of: (observation `[D]`) -> state `[K]`.
        names: of the coordinates, with their units, for figures; empty where they have none.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    wraps: tuple[bool, ...]
    observe: Callable[[jax.Array], jax.Array]
    state_of: Callable[[jax.Array], jax.Array]
    names: tuple[str, ...] = ()


class Rules(NamedTuple):
    """The equations of a world. Two are equal when their functions are the same, so they may be static under `jit`.

    Attributes:
        start: (key, physics) -> first observation `[D]`.
        step: (key, physics, observation `[D]`, action) -> next observation `[D]`.
        reward: (physics, observation `[D]`, action, next observation `[D]`) -> `[]`.
        terminated: (physics, next observation `[D]`) -> `[]` bool: no reward follows.
        project: (any vector `[D]`) -> a possible observation near it: angles (cos, sin) to norm 1, known bounds kept;
            the identity where nothing is known.
        observation_size: D.
        actions: a box or a number of actions.
        ranges: (name, low, high) of every number of the physics, positive: a family of worlds around the true one.
        chart: the coordinates for a grid; None where there are more than three.
        predictable: which of the D numbers a model is judged by; None is all. Numbers that are noise, and that nothing
            depends on, would hide whether it is right about the others.
    """

    start: Callable[[jax.Array, Physics], jax.Array]
    step: Callable[[jax.Array, Physics, jax.Array, jax.Array], jax.Array]
    reward: Callable[[Physics, jax.Array, jax.Array, jax.Array], jax.Array]
    terminated: Callable[[Physics, jax.Array], jax.Array]
    project: Callable[[jax.Array], jax.Array]
    observation_size: int
    actions: Box | Discrete
    ranges: tuple[tuple[str, float, float], ...] = ()
    chart: Chart | None = None
    predictable: tuple[int, ...] | None = None

    def judged(self, errors: jax.Array) -> jax.Array:
        """`[...]`: of errors `[..., D]` the mean over the numbers that a model is judged by."""
        return jnp.mean(errors if self.predictable is None else errors[..., np.array(self.predictable)], axis=-1)


class Known(NamedTuple):
    """What a world is judged by.

    Attributes:
        optimal: expected return of the best policy.
        uniform: of actions drawn uniformly, below `optimal`; of sbmrl's own worlds the mean of 4,000 episodes.
        judge: how the optimum is known, in words: "by dynamic programming on a grid".
    """

    optimal: float
    uniform: float
    judge: str


BY_CONSTRUCTION = "by its construction"
ON_A_GRID = "by dynamic programming on a grid"  # sbmrl.games.continuous.grid


class Simulator(struct.PyTreeNode):
    """A world that can be played.

    Attributes:
        physics: name -> `[]`, its masses, lengths and forces in the world's units, positive; may be empty.
            Numpy's numbers, if it may be made before a device is chosen.
        name: what a user calls it (static).
        horizon: decisions of an episode, T (static).
        rules: its equations (static).
        known: what it is judged by, with these physics (static); None where no optimum is known, and then no run is
            started in it.
    """

    physics: Physics
    name: str = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)
    rules: Rules = struct.field(pytree_node=False)
    known: Known | None = struct.field(pytree_node=False, default=None)


def known_returns(simulator: Simulator) -> Known:
    """What a world is judged by.

    Raises:
        InputError: the optimum of the world is not known.
    """
    if simulator.known is None:
        raise InputError(
            f"env: {simulator.name} has no known optimum to judge a run by; `known` of its Simulator must be given"
        )
    return simulator.known


def never(physics: Physics, next_observation: jax.Array) -> jax.Array:
    """`terminated` of a world that ends by the clock alone."""
    return jnp.zeros((), bool)


def clip_action(actions: Box | Discrete, action: jax.Array) -> jax.Array:
    """The nearest action in range."""
    if isinstance(actions, Discrete):
        return jnp.clip(action, 0, actions.num - 1)
    return jnp.clip(action, jnp.asarray(actions.low, action.dtype), jnp.asarray(actions.high, action.dtype))


def to_box(actions: Box, outputs: jax.Array) -> jax.Array:
    """An unbounded sample u `[A]` as an action: clip(centre + half-width·u)."""
    low, high = (jnp.asarray(side, outputs.dtype) for side in actions)
    return clip_action(actions, (low + high) / 2 + (high - low) / 2 * outputs)


def random_physics(key: jax.Array, simulator: Simulator) -> Simulator:
    """The same world with its physics drawn log-uniformly, each number by itself, from the rules' ranges."""
    ranges = simulator.rules.ranges
    shares = jax.random.uniform(key, (len(ranges),))
    drawn = {name: low * (high / low) ** share for (name, low, high), share in zip(ranges, shares, strict=True)}
    return simulator.replace(physics={**simulator.physics, **drawn})


def draw_starts(key: jax.Array, simulator: Simulator, num_episodes: int) -> jax.Array:
    """`[N, D]`: the first observations of the episodes that `rollout_returns` plays with the same key."""
    keys = jax.random.split(jax.random.fold_in(key, 0), num_episodes)
    return jax.vmap(simulator.rules.start, (0, None))(keys, simulator.physics)


def rollout_returns(key: jax.Array, simulator: Simulator, act: Act, num_episodes: int) -> jax.Array:
    """`[N]`: the return of each of N episodes; nothing is paid behind a termination.

    `act` is (key, observation `[D]`, time `[]`) -> action.
    """
    rules, physics = simulator.rules, simulator.physics

    def decide(key: jax.Array, observation: jax.Array, alive: jax.Array, time: jax.Array):
        key_act, key_step = jax.random.split(key)
        action = act(key_act, observation, time)
        following = rules.step(key_step, physics, observation, action)
        # Where the episode is over the world stands still: rolled on, some worlds stop being finite.
        following = jnp.where(alive, following, observation)
        paid = jnp.where(alive, rules.reward(physics, observation, action, following), 0.0)
        return following, alive & ~rules.terminated(physics, following), paid

    def play(carry, time: jax.Array):
        observation, alive, total = carry
        keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 1), time), num_episodes)
        # Time is the same in all episodes, so what `act` looks up by it is looked up once.
        observation, alive, paid = jax.vmap(decide, (0, 0, 0, None))(keys, observation, alive, time)
        return (observation, alive, total + paid), None

    first = draw_starts(key, simulator, num_episodes)
    carry = (first, jnp.ones(num_episodes, bool), jnp.zeros(num_episodes, first.dtype))
    (_, _, total), _ = jax.lax.scan(play, carry, jnp.arange(simulator.horizon))
    return total
