"""What has been seen of a world, in arrays of a fixed size: the newest transitions overwrite the oldest.

A transition stays in the slot that it was written to, and every k-th slot is held out, so a transition never changes
between training and holdout. Actions are kept as a model reads them (`encode_action`). Everything is unbatched.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.games.continuous.simulator import Box, Discrete, clip_action


class Transitions(NamedTuple):
    """Some steps of a world.

    Attributes:
        observation: `[n, D]` before the step, in the world's units.
        action: `[n, A]` encoded.
        next_observation: `[n, D]` after it.
    """

    observation: jax.Array
    action: jax.Array
    next_observation: jax.Array


class Replay(NamedTuple):
    """Slots 0..N−1, filled from the front and then round and round.

    Attributes:
        transitions: of all slots, `[N, ...]`; zeros where nothing has been written.
        count: `[]` int, transitions written so far, those overwritten counted.
    """

    transitions: Transitions
    count: jax.Array

    @property
    def size(self) -> int:
        """N."""
        return self.transitions.observation.shape[0]


def action_size(actions: Box | Discrete) -> int:
    """A, numbers of an encoded action."""
    return actions.num if isinstance(actions, Discrete) else len(actions.low)


def encode_action(actions: Box | Discrete, action: jax.Array) -> jax.Array:
    """`[..., A]`: an action `[..., A]` clipped to its box as the world reads it, or a numbered one `[...]` one-hot."""
    clipped = clip_action(actions, action)
    return jax.nn.one_hot(clipped, actions.num) if isinstance(actions, Discrete) else clipped


def decode_action(actions: Box | Discrete, encoded: jax.Array) -> jax.Array:
    """The action of a world, `[..., A]` or `[...]`, from `[..., A]`."""
    return jnp.argmax(encoded, axis=-1) if isinstance(actions, Discrete) else encoded


def empty(size: int, observation_size: int, action_size: int) -> Replay:
    """N slots with nothing in them."""
    observation = jnp.zeros((size, observation_size))
    return Replay(Transitions(observation, jnp.zeros((size, action_size)), observation), jnp.int32(0))


def write(replay: Replay, transitions: Transitions, valid: jax.Array) -> Replay:
    """The replay with those of the n transitions that are `valid` `[n]`, in their order; the others take no slot.

    The i-th valid one goes to slot (count + i) mod N; of more than N the last N are kept.
    """
    place = jnp.cumsum(valid) - 1
    num = jnp.sum(valid, dtype=replay.count.dtype)
    # Two for the same slot would be written in any order, so the one that would be overwritten is left out.
    kept = valid & (place >= num - replay.size)
    slots = jnp.where(kept, (replay.count + place) % replay.size, replay.size)
    written = jax.tree.map(lambda old, new: old.at[slots].set(new, mode="drop"), replay.transitions, transitions)
    return Replay(written, replay.count + num)


def is_filled(replay: Replay) -> jax.Array:
    """`[N]` bool: something has been written to the slot."""
    return jnp.arange(replay.size) < replay.count


def newest(replay: Replay, num: int) -> tuple[Transitions, jax.Array]:
    """The last `num` ≤ N transitions, oldest first, and `[num]` bool, false in front where there are fewer."""
    written = replay.count - num + jnp.arange(num)
    return jax.tree.map(lambda x: x[written % replay.size], replay.transitions), written >= 0


def is_held_out(size: int, holdout_every: int) -> jax.Array:
    """`[N]` bool: slots 0, k, 2k, ...; none where k = 0."""
    return jnp.arange(size) % holdout_every == 0 if holdout_every else jnp.zeros(size, bool)


def num_training_slots[Count: (int, jax.Array)](filled: Count, holdout_every: int) -> Count:
    """How many of the first `filled` slots are for training, filled − ⌈filled/k⌉."""
    return filled - -(-filled // holdout_every) if holdout_every else filled


def draw(key: jax.Array, replay: Replay, shape: tuple[int, ...], holdout_every: int) -> jax.Array:
    """`shape` slots, uniform with replacement over the filled ones for training; slot 0 or 1 of an empty replay.

    The j-th slot that is not held out is j + ⌊j/(k−1)⌋ + 1, so nothing needs to be sorted.
    """
    filled = jnp.minimum(replay.count, replay.size)
    drawn = jax.random.randint(key, shape, 0, jnp.maximum(num_training_slots(filled, holdout_every), 1))
    return drawn + drawn // (holdout_every - 1) + 1 if holdout_every else drawn
