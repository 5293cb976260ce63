"""The game of model-based RL on a tabular world: two seats, their strategies, queries and random players.

A policy's strategy is its table π `[S, A]` (with a clock `[T, S, A]`), a model's its table P̂ `[S, A, S]`, or with
rewards of its own (P̂, r̂) `[S, A, S + 1]`; collected data are (weighted) counts of transitions `[S, A, S]`. The policy
answers states with actions, the model answers state–action pairs with a distribution over next states.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.core.game import (
    Collector,
    Game,
    Info,
    Profile,
    Seat,
    Strategy,
    at_time,
    random_rows,
    sample_row,
    softmax_starts,
)
from sbmrl.games.tabular.closed_forms import (
    expected_reward,
    finite_horizon_optimum,
    mean_occupancy,
    uniform_policy,
)
from sbmrl.games.tabular.mdp import TabularMDP, with_transition
from sbmrl.games.tabular.measures import PLAYED, make_measures
from sbmrl.games.tabular.payoffs import Loss, Measurement, Play, payoffs
from sbmrl.games.tabular.responses import best_response, sample_transitions, soft_response


class TabularSeatState(NamedTuple):
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


def _transition(key: jax.Array, mdp: TabularMDP, loss: Loss, now: TabularSeatState, action, predicted):
    """One move of either seat: `(s', next states as the loss needs them, step rewards, total loss, terminated)`."""
    true_row = mdp.transition[now.state, action]
    next_state = sample_row(key, jnp.where(now.play.in_model, predicted, true_row))
    more = [sample_row(jax.random.fold_in(key, draw), true_row) for draw in range(1, loss.num_draws)]
    drawn = jnp.stack([next_state, *more])
    total_loss = now.total_loss + loss.sampled(true_row, predicted, drawn)
    terminated = jnp.array(mdp.terminal)[next_state]
    ended = terminated | (now.time + 1 >= mdp.horizon)
    mean_loss = total_loss / (now.time + 1)
    weight = 1.0 if mdp.discount == 1.0 else mdp.discount**now.time
    paid = weight * mdp.reward[now.state, action, next_state]
    earned = {"return": paid, "fit": jnp.where(ended, -mean_loss, 0.0)}
    return next_state, drawn, earned, total_loss, terminated


def _policy_seat(mdp: TabularMDP, loss: Loss) -> Seat:
    deciding = mdp.decision_states
    one_hot = np.eye(mdp.num_states)

    def reset(key: jax.Array, model: Strategy, play: Play) -> TabularSeatState:
        return TabularSeatState(
            sample_row(key, mdp.initial), jnp.int32(0), jnp.int32(0), jnp.zeros_like(mdp.initial[0]), model, play
        )

    def step(key: jax.Array, now: TabularSeatState, answer: jax.Array):
        predicted = now.other[now.state, answer]
        next_state, drawn, earned, total_loss, terminated = _transition(key, mdp, loss, now, answer, predicted)
        now = now._replace(state=next_state, time=now.time + 1, total_loss=total_loss)
        return now, earned, terminated, {"next_states": drawn}

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


def _model_seat(mdp: TabularMDP, loss: Loss, learned_rewards: bool) -> Seat:
    states, actions = (
        index.ravel() for index in np.meshgrid(mdp.decision_states, range(mdp.num_actions), indexing="ij")
    )

    of_state, of_action = (np.eye(number, dtype=np.float32) for number in (mdp.num_states, mdp.num_actions))
    queries = np.concatenate([of_state[states], of_action[actions]], axis=-1)

    def reset(key: jax.Array, policy: Strategy, play: Play) -> TabularSeatState:
        key_state, key_action, key_random = jax.random.split(key, 3)
        state = sample_row(key_state, mdp.initial)
        driver = jnp.where(play.random_driver, random_rows(key_random, policy.shape[-2:]), policy)
        action = sample_row(key_action, at_time(driver, jnp.int32(0))[state])
        return TabularSeatState(state, action, jnp.int32(0), jnp.zeros_like(mdp.initial[0]), driver, play)

    def step(key: jax.Array, now: TabularSeatState, answer: jax.Array):
        key_next, key_action = jax.random.split(key)
        predicted = jax.nn.softmax(answer)
        next_state, drawn, earned, total_loss, terminated = _transition(key_next, mdp, loss, now, now.action, predicted)
        action = sample_row(key_action, at_time(now.other, now.time + 1)[next_state])
        now = now._replace(state=next_state, action=action, time=now.time + 1, total_loss=total_loss)
        return now, earned, terminated, {"next_states": drawn}

    def table(outputs: jax.Array) -> Strategy:
        logits, rewards = outputs[:, : mdp.num_states], outputs[:, mdp.num_states :]
        rows = jnp.zeros_like(mdp.transition).at[states, actions].set(jax.nn.softmax(logits))
        rows = with_transition(mdp, rows).transition
        if not learned_rewards:
            return rows
        return jnp.concatenate([rows, jnp.zeros_like(rows[..., :1]).at[states, actions].set(rewards)], axis=-1)

    def prediction_loss(predicted: jax.Array, info: Info) -> jax.Array:
        """With KL this is cross-entropy: the log-probability under the true row has no gradient."""
        observed = jax.nn.one_hot(info["next_states"][0], mdp.num_states)  # as if this next state were certain
        return loss.sampled(observed, predicted, info["next_states"])

    return Seat(
        jnp.asarray(queries),
        lambda now: jnp.concatenate([jnp.asarray(of_state)[now.state], jnp.asarray(of_action)[now.action]]),
        reset,
        step,
        table=table,
        rows=lambda model: model[states, actions],
        heard=table,
        num_outputs=mdp.num_states + learned_rewards,
        head="gaussian",
        prediction_loss=prediction_loss,
    )


def _with_rewards(key: jax.Array, mdp: TabularMDP, rows: jax.Array, spread: float) -> Strategy:
    """A model with rewards of its own: `rows`, and the true rewards, or with spread 1 random ones between them."""
    rewards = expected_reward(mdp)
    low, high = jnp.min(rewards), jnp.max(rewards)
    drawn = jax.random.uniform(key, rewards.shape, minval=low, maxval=high)
    return jnp.concatenate([rows, (rewards + spread * (drawn - rewards))[..., None]], axis=-1)


def _with_reward_starts(
    mdp: TabularMDP, seat: Seat, starts: Mapping[str, Callable[[jax.Array], jax.Array]]
) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
    """How a model with rewards starts: logits as those without, rewards near 0, random or true."""
    spreads = {"random": 1.0, "truth": 0.0}

    def start(name: str, key: jax.Array) -> jax.Array:
        key_rows, key_rewards = jax.random.split(key)
        logits = starts[name](key_rows)
        if name not in spreads:
            rewards = 0.01 * jax.random.normal(key_rewards, (len(logits), 1))
        else:
            rewards = seat.rows(_with_rewards(key_rewards, mdp, mdp.transition, spreads[name]))[:, -1:]
        return jnp.concatenate([logits, rewards], axis=-1)

    return {name: functools.partial(start, name) for name in starts}


def _all_pairs(mdp: TabularMDP) -> jax.Array:
    """`[S, A]`: every pair in which somebody decides alike."""
    weights = jnp.zeros((mdp.num_states, mdp.num_actions)).at[mdp.decision_states].set(1.0)
    return weights / jnp.sum(weights)


@functools.partial(jax.jit, static_argnames="num_policies")  # else it would be compiled operation by operation
def _random_occupancy(mdp: TabularMDP, num_policies: int) -> jax.Array:
    policies = random_rows(jax.random.key(0), (num_policies, mdp.num_states, mdp.num_actions))
    return mean_occupancy(mdp, policies)


class Aggregation(NamedTuple):
    """How data are aggregated while the game is played.

    Attributes:
        num_initial: transitions of the uniform policy to begin with.
        num_new: transitions of the present policy added at each leader step.
        size: transitions kept; beyond it all old counts fade in equal measure.
    """

    num_initial: int
    num_new: int
    size: int


def _collector(mdp: TabularMDP, aggregation: Aggregation) -> Collector:
    new = aggregation.num_new

    def init(key: jax.Array) -> Profile:
        return {"data": sample_transitions(key, mdp, uniform_policy(mdp), aggregation.num_initial)}

    def update(key: jax.Array, data: Profile, profile: Profile) -> Profile:
        old = data["data"]
        room = jnp.maximum(aggregation.size - new, 0)
        kept = old * jnp.minimum(1.0, room / jnp.sum(old))
        return {"data": kept + sample_transitions(key, mdp, profile["policy"], new)}

    return Collector(init, update)


def model_based_game(
    mdp: TabularMDP,
    loss: Loss,
    mixed_leaders: bool = False,
    num_random_policies: int = 256,
    aggregation: Aggregation | None = None,
    learned_rewards: bool = False,
    random_pairs: bool = False,
) -> Game:
    """The game on `mdp`, with random players drawn from Dirichlet(1) rows.

    A policy is heard through one sampled action per state, or with `mixed_leaders` through its probabilities. The
    exact `random_fit` averages over `num_random_policies` policies drawn once from a fixed key, so that it is a fixed
    function of the model; with `random_pairs` it averages over all pairs and cannot be played. With an `aggregation`
    the transitions that profiles cause are collected. With `learned_rewards` a model's strategy is (P̂, r̂)
    `[S, A, S + 1]`; its seats then serve learners of exact payoffs only.
    """
    deciding = mdp.decision_states
    policy_shape = (mdp.num_states, mdp.num_actions)
    occupancy = _all_pairs(mdp) if random_pairs else _random_occupancy(mdp, num_random_policies)
    measurement = Measurement(mdp, loss, occupancy, random_pairs, learned_rewards)

    def heard_policy(key: jax.Array, policy: Strategy) -> Strategy:
        if mixed_leaders:
            return policy
        actions = jax.vmap(sample_row)(jax.random.split(key, mdp.num_states), policy)
        return jax.nn.one_hot(actions, mdp.num_actions)

    def random_model(key: jax.Array) -> Strategy:
        return with_transition(mdp, random_rows(key, mdp.transition.shape)).transition

    priors = {"policy": lambda key: random_rows(key, policy_shape), "model": random_model}
    heard = {"policy": heard_policy, "model": lambda key, model: model}
    seats = {"policy": _policy_seat(mdp, loss), "model": _model_seat(mdp, loss, learned_rewards)}
    truth = {"policy": lambda: finite_horizon_optimum(mdp).policy, "model": lambda: mdp.transition}
    plain = {"policy": seats["policy"], "model": _model_seat(mdp, loss, False)}
    starts = {role: softmax_starts(plain[role], priors[role], truth[role]) for role in seats}
    if learned_rewards:
        starts["model"] = _with_reward_starts(mdp, seats["model"], starts["model"])
        priors["model"] = lambda key: _with_rewards(jax.random.fold_in(key, 1), mdp, random_model(key), 1.0)
    return Game(
        mdp,
        mdp.horizon,
        seats=seats,
        payoffs=payoffs(measurement),
        priors=priors,
        heard=heard,
        describe={role: lambda strategy: strategy[deciding].ravel() for role in ("policy", "model")},
        played=PLAYED,
        starts=starts,
        measures=lambda formulation: make_measures(measurement, formulation, priors, heard),
        best_response=functools.partial(best_response, measurement),
        soft_response=functools.partial(soft_response, mdp),
        collector=None if aggregation is None else _collector(mdp, aggregation),
    )
