"""Episodes of a policy that is a network: in the real world, and in a model whose members all play side by side."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.environment import Environment, Step
from sbmrl.core.game import Acting
from sbmrl.games.continuous.family import Model
from sbmrl.games.continuous.options import Propagation
from sbmrl.games.continuous.replay import Transitions, encode_action
from sbmrl.games.continuous.simulator import Box, Simulator, to_box

Act = Callable[[jax.Array, jax.Array], jax.Array]  # (key, observation [..., D]) -> what the player answers


class EpisodeState(NamedTuple):
    """Where an episode stands: what is seen `[D]`, and the decisions made so far `[]`."""

    observation: jax.Array
    time: jax.Array


def sampled(policy: Acting) -> Act:
    """The policy as it learns: its answers drawn."""

    def act(key: jax.Array, observation: jax.Array) -> jax.Array:
        return policy.distribution(observation).sample(seed=key)

    return act


def meant(policy: Acting) -> Act:
    """The policy as it is evaluated: its mean, or its best action."""
    return lambda key, observation: policy.distribution(observation).mode()


def at_random(simulator: Simulator, noise: jax.typing.ArrayLike) -> Act:
    """Gaussian actions around the middle of the range, of the given spread; of numbered actions each alike."""
    actions = simulator.rules.actions

    def act(key: jax.Array, observation: jax.Array) -> jax.Array:
        if isinstance(actions, Box):
            return jnp.asarray(noise) * jax.random.normal(key, (*observation.shape[:-1], len(actions.low)))
        return jax.random.randint(key, observation.shape[:-1], 0, actions.num)

    return act


def as_action(simulator: Simulator, answer: jax.Array) -> jax.Array:
    """What a player answers, as an action of the world."""
    actions = simulator.rules.actions
    return to_box(actions, answer) if isinstance(actions, Box) else answer


def real_environment(simulator: Simulator) -> Environment:
    """The world; it ends by its rules, or is cut at its horizon."""
    rules, physics = simulator.rules, simulator.physics

    def reset(key: jax.Array) -> tuple[jax.Array, EpisodeState]:
        observation = rules.start(key, physics)
        return observation, EpisodeState(observation, jnp.int32(0))

    def step(key: jax.Array, state: EpisodeState, answer: jax.Array) -> Step:
        action = as_action(simulator, answer)
        return _judged(simulator, state, action, rules.step(key, physics, state.observation, action))

    return Environment(reset, step)


def _judged(simulator: Simulator, state: EpisodeState, action: jax.Array, following: jax.Array) -> Step:
    """A step that leads to `following`, with the world's own reward and end."""
    rules, physics = simulator.rules, simulator.physics
    reward = rules.reward(physics, state.observation, action, following)
    terminated = rules.terminated(physics, following)
    new = EpisodeState(following, state.time + 1)
    truncated = (new.time >= simulator.horizon) & ~terminated
    return following, new, reward, terminated, truncated, {}


def imagined_environment(simulator: Simulator, model: Model, propagation: Propagation) -> Environment:
    """The world whose steps a model makes (TS∞ and TS1 of Chua et al. 2018).

    Of E episodes at once the first ⌈E/M⌉ are in the first member, and so on, one by one an episode is in the first.
    With `fixed` an episode stays with its member, which is a strategy by itself; with `random` it moves to another one
    at every step. A step's info tells whether what the model said had to be clamped, as 0 or 1.
    """
    world = real_environment(simulator)
    rules, num_members = simulator.rules, model.num_members

    def step(key: jax.Array, state: EpisodeState, answer: jax.Array) -> Step:
        one = jax.tree.map(lambda x: x[None], (state, answer))
        return jax.tree.map(lambda x: x[0], step_many(key[None], *one))

    def step_many(keys: jax.Array, state: EpisodeState, answer: jax.Array) -> Step:
        action = jax.vmap(lambda answer: as_action(simulator, answer))(answer)
        key_deal, key_model = jax.random.split(keys[0])
        deal, collect = _deal(key_deal, num_members, action.shape[0], propagation)
        predicted = model.predict(rules, key_model, deal(state.observation), deal(action))
        following, clamped = jax.tree.map(collect, predicted)
        stepped = jax.vmap(lambda *own: _judged(simulator, *own))(state, action, following)
        return *stepped[:-1], {"share_clamped": clamped.astype(float)}

    return Environment(world.reset, step, step_many=step_many)


def _deal(key: jax.Array, num_members: int, num_episodes: int, propagation: Propagation):
    """(`[E, ...]` -> `[M, ⌈E/M⌉, ...]`, its inverse): the episodes dealt to the members, as many to each.

    Places that are left over are filled up. With `random` the m-th episode of column s goes to member (m + r_s) mod M,
    r_s uniform: each to a member drawn uniformly, without a sort.
    """
    empty = -num_episodes % num_members
    columns = jnp.arange((num_episodes + empty) // num_members)
    members = jnp.arange(num_members)[:, None]
    shift = jax.random.randint(key, columns.shape, 0, num_members) if propagation == "random" else 0

    def deal(x: jax.Array) -> jax.Array:
        filled = jnp.concatenate([x, jnp.broadcast_to(x[:1], (empty, *x.shape[1:]))])
        table = filled.reshape(num_members, -1, *x.shape[1:])
        return table[(members - shift) % num_members, columns] if propagation == "random" else table

    def collect(table: jax.Array) -> jax.Array:
        own = table[(members + shift) % num_members, columns] if propagation == "random" else table
        return own.reshape(num_episodes + empty, *own.shape[2:])[:num_episodes]

    return deal, collect


class Played(NamedTuple):
    """Episodes of the real world: `transitions` `[N·T, ...]`, those that were made `[N·T]` bool, `returns` `[N]`."""

    transitions: Transitions
    valid: jax.Array
    returns: jax.Array


def play(key: jax.Array, environment: Environment, simulator: Simulator, act: Act, num_episodes: int) -> Played:
    """Whole episodes side by side; behind an end nothing is paid."""
    key_start, key_steps = jax.random.split(key)
    return play_from(
        key_steps, environment, simulator, act, jax.vmap(environment.reset)(jax.random.split(key_start, num_episodes))
    )


class Group(NamedTuple):
    """Episodes that are played alike.

    Attributes:
        key: of their steps.
        environment: the world or a model; groups that share one are stepped as one batch.
        act: who plays.
        start: their first observations `[N, D]` and states.
    """

    key: jax.Array
    environment: Environment
    act: Act
    start: tuple[jax.Array, EpisodeState]

    @property
    def num_episodes(self) -> int:
        """N."""
        return self.start[0].shape[0]


def play_from(key: jax.Array, environment: Environment, simulator: Simulator, act: Act, start) -> Played:
    """The same from given starts: (observation `[N, D]`, states)."""
    return play_side_by_side(simulator, [Group(key, environment, act, start)])[0]


def play_side_by_side(simulator: Simulator, groups: Sequence[Group]) -> list[Played]:
    """Each group as it would be played alone, all in one loop: XLA would compile a loop for each."""
    batches: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        alone = group.environment.step_many is not None  # it may tell an episode by its place
        batches.setdefault(-1 - i if alone else id(group.environment), []).append(i)

    def step(carry, keys: jax.Array):
        keys_act, keys_step = jax.vmap(jax.random.split, out_axes=1)(keys)
        answers = [group.act(keys_act[i], carry[i][0]) for i, group in enumerate(groups)]
        asked = [
            (jax.random.split(keys_step[i], group.num_episodes), carry[i][1], answers[i])
            for i, group in enumerate(groups)
        ]
        stepped: dict[int, Step] = {}
        for batch in batches.values():
            environment = groups[batch[0]].environment
            step_many = environment.step_many or jax.vmap(environment.step)
            together = step_many(*jax.tree.map(lambda *own: jnp.concatenate(own), *(asked[i] for i in batch)))
            ends = list(itertools.accumulate(groups[i].num_episodes for i in batch))
            for i, begin, end in zip(batch, [0, *ends], ends, strict=False):
                stepped[i] = jax.tree.map(lambda x, begin=begin, end=end: x[begin:end], together)
        counted = [_counted(simulator, carry[i], answers[i], stepped[i]) for i in range(len(groups))]
        return [now for now, _ in counted], [row for _, row in counted]

    carry = [(*group.start, jnp.ones(group.num_episodes, bool), jnp.zeros(group.num_episodes)) for group in groups]
    keys = jnp.stack([jax.random.split(group.key, simulator.horizon) for group in groups], axis=1)
    ended, told = jax.lax.scan(step, carry, keys)
    # Episode by episode: what is overwritten first is the oldest episode, from its beginning.
    told = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:]), told)
    return [Played(rows, valid, now[-1]) for (rows, valid), now in zip(told, ended, strict=True)]


def _counted(simulator: Simulator, carry, answer: jax.Array, stepped: Step):
    """A group behind a step, and the rows of the step with which of them were made."""
    observation, _, alive, total = carry
    following, state, reward, terminated, truncated, _ = stepped
    action = jax.vmap(lambda answer: as_action(simulator, answer))(answer)
    row = Transitions(observation, encode_action(simulator.rules.actions, action), following)
    total = total + jnp.where(alive, reward, 0.0)
    return (following, state, alive & ~(terminated | truncated), total), (row, alive)
