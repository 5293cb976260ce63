"""The game of model-based RL on a tabular world: two seats, their strategies, queries and random players.

A *strategy* is what the other side can see of a player: a policy is its table π `[S, A]` (with a clock `[T, S, A]`),
a model its table P̂ `[S, A, S]`. A *seat* is the game as one role plays it while the other's strategy is fixed: the
policy answers states with actions, the model answers state–action pairs with a distribution over next states.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.environments.closed_forms import finite_horizon_occupancy, greedy, uniform_policy
from sbmrl.environments.tabular import TabularMDP, sample_row, with_transition
from sbmrl.formulations import Role
from sbmrl.payoffs import Loss, Measurement, Play, Profile

Strategy = jax.Array
Head = Literal["categorical", "gaussian"]
Outcome = Callable[[Strategy], Profile]  # "if I play this, which profile results?"
Earned = dict[str, jax.Array]  # step rewards: "return" and "fit"


class SeatState(NamedTuple):
    """Where a played episode stands.

    Attributes:
        state: `[]` current state s.
        action: `[]` action that the driver has chosen in s (the model's seat answers it; unused by the policy's).
        time: `[]` decisions made so far.
        total_loss: `[]` sum of the model's losses so far.
        other: the table that answers for the other side in this episode.
        play: the kind of episode.
    """

    state: jax.Array
    action: jax.Array
    time: jax.Array
    total_loss: jax.Array
    other: Strategy
    play: Play


class Seat(NamedTuple):
    """The game as one role plays it.

    Attributes:
        queries: `[Q, D]` every observation that this role can be asked, once.
        observe: (state) -> `[D]`.
        reset: (key, other's strategy, play) -> state.
        step: (key, state, answer) -> (state, step rewards, terminated `[]`, next state s' `[]`).
        table: (outputs `[Q, N]`) -> strategy, from the logits of a player at all queries.
        rows: (strategy) -> `[Q, N]` what it answers to all queries, as probabilities.
        heard: (answers `[Q, ...]`) -> strategy, from the answers that a player *sampled* at all queries.
        num_outputs: N, logits per observation.
        head: what a sampled answer is: an action ("categorical"), or logits with noise ("gaussian").
    """

    queries: jax.Array
    observe: Callable[[SeatState], jax.Array]
    reset: Callable[[jax.Array, Strategy, Play], SeatState]
    step: Callable[[jax.Array, SeatState, jax.Array], tuple[SeatState, Earned, jax.Array, jax.Array]]
    table: Callable[[jax.Array], Strategy]
    rows: Callable[[Strategy], jax.Array]
    heard: Callable[[jax.Array], Strategy]
    num_outputs: int
    head: Head


class Game(NamedTuple):
    """Everything a formulation, a learner and a scheme need to know of the world.

    Attributes:
        mdp: the true world.
        seats: role -> seat.
        priors: role -> (key) -> a random strategy.
        heard: role -> (key, strategy) -> the strategy as its answers tell it: for a policy one sampled action per
            state, or its probabilities; for a model the rows themselves.
        describe: role -> (heard strategy) -> ω, its answers to all queries, flat.
        measurement: what exact payoffs need.
        collect: (key, policy, N) -> `[S, A, S]` counts of N transitions, each drawn from the policy's own in the world.
    """

    mdp: TabularMDP
    seats: Mapping[Role, Seat]
    priors: Mapping[Role, Callable[[jax.Array], Strategy]]
    heard: Mapping[Role, Callable[[jax.Array, Strategy], Strategy]]
    describe: Mapping[Role, Callable[[Strategy], jax.Array]]
    measurement: Measurement
    collect: Callable[[jax.Array, Strategy, int], jax.Array]


def played(role: str, strategy: Strategy) -> Strategy:
    """A strategy played out in full: a policy greedily, a model as it predicts."""
    return greedy(strategy) if role == "policy" else strategy


def at_time(policy: Strategy, time: jax.typing.ArrayLike) -> jax.Array:
    """`[S, A]`: what a policy `[(T,) S, A]` does at `time`; behind the horizon, what it did last."""
    return policy if policy.ndim == 2 else policy[jnp.minimum(time, policy.shape[0] - 1)]


def random_rows(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Rows `shape` drawn from Dirichlet(1), uniform on the simplex: normalised exponentials."""
    draws = jax.random.exponential(key, shape)
    return draws / jnp.sum(draws, axis=-1, keepdims=True)


def _transition(key: jax.Array, mdp: TabularMDP, loss: Loss, now: SeatState, action, predicted):
    """One move of either seat: `(s', step rewards, total loss, terminated)`."""
    true_row = mdp.transition[now.state, action]
    next_state = sample_row(key, jnp.where(now.play.in_model, predicted, true_row))
    total_loss = now.total_loss + loss.sampled(true_row, predicted, next_state)
    terminated = jnp.array(mdp.terminal)[next_state]
    ended = terminated | (now.time + 1 >= mdp.horizon)
    mean_loss = total_loss / (now.time + 1)
    earned = {"return": mdp.reward[now.state, action, next_state], "fit": jnp.where(ended, -mean_loss, 0.0)}
    return next_state, earned, total_loss, terminated


def _policy_seat(mdp: TabularMDP, loss: Loss) -> Seat:
    deciding = mdp.decision_states
    one_hot = np.eye(mdp.num_states)

    def reset(key: jax.Array, model: Strategy, play: Play) -> SeatState:
        return SeatState(
            sample_row(key, mdp.initial), jnp.int32(0), jnp.int32(0), jnp.zeros_like(mdp.initial[0]), model, play
        )

    def step(key: jax.Array, now: SeatState, answer: jax.Array):
        predicted = now.other[now.state, answer]
        next_state, earned, total_loss, terminated = _transition(key, mdp, loss, now, answer, predicted)
        now = now._replace(state=next_state, time=now.time + 1, total_loss=total_loss)
        return now, earned, terminated, next_state

    def fill(rows: jax.Array) -> Strategy:
        return uniform_policy(mdp).at[deciding].set(rows)

    return Seat(
        jnp.asarray(one_hot[deciding]),
        lambda now: jnp.asarray(one_hot)[now.state],
        reset,
        step,
        table=lambda outputs: fill(jax.nn.softmax(outputs)),
        rows=lambda policy: policy[deciding],
        heard=lambda answers: fill(jax.nn.one_hot(answers, mdp.num_actions)),
        num_outputs=mdp.num_actions,
        head="categorical",
    )


def _model_seat(mdp: TabularMDP, loss: Loss) -> Seat:
    states, actions = (
        index.ravel() for index in np.meshgrid(mdp.decision_states, range(mdp.num_actions), indexing="ij")
    )

    of_state, of_action = jnp.asarray(np.eye(mdp.num_states)), jnp.asarray(np.eye(mdp.num_actions))
    queries = np.concatenate([np.eye(mdp.num_states)[states], np.eye(mdp.num_actions)[actions]], axis=-1)

    def reset(key: jax.Array, policy: Strategy, play: Play) -> SeatState:
        key_state, key_action, key_random = jax.random.split(key, 3)
        state = sample_row(key_state, mdp.initial)
        driver = jnp.where(play.random_driver, random_rows(key_random, policy.shape[-2:]), policy)
        action = sample_row(key_action, at_time(driver, jnp.int32(0))[state])
        return SeatState(state, action, jnp.int32(0), jnp.zeros_like(mdp.initial[0]), driver, play)

    def step(key: jax.Array, now: SeatState, answer: jax.Array):
        key_next, key_action = jax.random.split(key)
        predicted = jax.nn.softmax(answer)
        next_state, earned, total_loss, terminated = _transition(key_next, mdp, loss, now, now.action, predicted)
        action = sample_row(key_action, at_time(now.other, now.time + 1)[next_state])
        now = now._replace(state=next_state, action=action, time=now.time + 1, total_loss=total_loss)
        return now, earned, terminated, next_state

    def table(outputs: jax.Array) -> Strategy:
        rows = jnp.zeros_like(mdp.transition).at[states, actions].set(jax.nn.softmax(outputs))
        return with_transition(mdp, rows).transition

    return Seat(
        jnp.asarray(queries),
        lambda now: jnp.concatenate([of_state[now.state], of_action[now.action]]),
        reset,
        step,
        table=table,
        rows=lambda model: model[states, actions],
        heard=table,
        num_outputs=mdp.num_states,
        head="gaussian",
    )


@functools.partial(jax.jit, static_argnames="num_policies")  # else it would be compiled operation by operation
def _random_occupancy(mdp: TabularMDP, num_policies: int) -> jax.Array:
    policies = random_rows(jax.random.key(0), (num_policies, mdp.num_states, mdp.num_actions))
    return jax.vmap(finite_horizon_occupancy, (None, 0))(mdp, policies).mean(0)


def tabular_game(mdp: TabularMDP, loss: Loss, mixed_leaders: bool = False, num_random_policies: int = 256) -> Game:
    """The game on `mdp`, with random players drawn from Dirichlet(1) rows.

    A policy is heard through one sampled action per state, or with `mixed_leaders` through its probabilities. The
    exact `random_fit` averages over `num_random_policies` policies drawn once from a fixed key, so that it is a fixed
    function of the model.
    """
    deciding = mdp.decision_states
    policy_shape = (mdp.num_states, mdp.num_actions)

    def heard_policy(key: jax.Array, policy: Strategy) -> Strategy:
        if mixed_leaders:
            return policy
        actions = jax.vmap(sample_row)(jax.random.split(key, mdp.num_states), policy)
        return jax.nn.one_hot(actions, mdp.num_actions)

    def collect(key: jax.Array, policy: Strategy, num_transitions: int) -> jax.Array:
        flow = finite_horizon_occupancy(mdp, policy)[..., None] * mdp.transition
        keys = jax.random.split(key, num_transitions)
        drawn = jax.vmap(sample_row, (0, None))(keys, jax.lax.stop_gradient(flow).ravel())
        return jnp.bincount(drawn, length=flow.size).astype(flow.dtype).reshape(flow.shape)

    return Game(
        mdp,
        seats={"policy": _policy_seat(mdp, loss), "model": _model_seat(mdp, loss)},
        priors={
            "policy": lambda key: random_rows(key, policy_shape),
            "model": lambda key: with_transition(mdp, random_rows(key, mdp.transition.shape)).transition,
        },
        heard={"policy": heard_policy, "model": lambda key, model: model},
        describe={role: lambda strategy: strategy[deciding].ravel() for role in ("policy", "model")},
        measurement=Measurement(mdp, loss, _random_occupancy(mdp, num_random_policies)),
        collect=collect,
    )
