"""The matrix game in play: seats against exact values, oracles, the conditions and how each is broken."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.environment import auto_reset
from sbmrl.core.game import random_rows
from sbmrl.core.options import Conditions
from sbmrl.core.oracles import interview
from sbmrl.core.payoffs import objective
from sbmrl.core.problems import follower_problem, leader_problem
from sbmrl.core.rollout import episode_returns
from sbmrl.games.matrix.formulations import FORMULATIONS
from sbmrl.games.matrix.game import matrix_game, random_strategy
from sbmrl.games.matrix.options import MatrixOptions
from sbmrl.games.matrix.q_learning import QLearningOptions, q_learning
from sbmrl.games.matrix.rules import make_game
from sbmrl.games.matrix.values import best_response, game_returns, led_by

BY_LEADER = {row.leader: row.formulation(MatrixOptions()) for row in FORMULATIONS}


def made(name="prisoners_dilemma", leader="row", mixed=False):
    formulation = BY_LEADER[leader]
    return matrix_game(make_game(name), formulation, mixed), formulation


def fixed(game, formulation, follower):
    """An outcome of a follower that plays `follower` whatever it hears."""
    return lambda strategy: {formulation.leader: strategy, formulation.follower: follower}


@pytest.mark.parametrize("name", ["prisoners_dilemma", "hidden_query", "chicken_one_shot"])
@pytest.mark.parametrize("role", ["row", "column"])
def test_sampled_returns_agree_with_exact_ones(name, role):
    world = make_game(name)
    game, _ = made(name)
    own, other = (0, 1) if role == "row" else (1, 0)
    shapes = list(zip(world.num_observations, world.num_actions, strict=True))
    mine, theirs = random_rows(jax.random.key(0), shapes[own]), random_rows(jax.random.key(1), shapes[other])
    seat, goal = game.seats[role], objective(game.payoffs, {f"{role}_return": 1.0})

    def episode(key):
        state = seat.reset(key, theirs, goal.play(goal.draw(key)))

        def step(carry, key):
            state, total = carry
            key_answer, key_step = jax.random.split(key)
            answer = jax.random.categorical(key_answer, jnp.log(seat.observe(state) @ mine))
            state, earned, ended, _ = seat.step(key_step, state, answer)
            return (state, total + goal.reward(jnp.int32(0), earned)), ended

        (_, total), ended = jax.lax.scan(step, (state, 0.0), jax.random.split(key, world.horizon))
        return total, ended

    totals, ended = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(2), 20_000))
    exact = game.payoffs[f"{role}_return"].exact({role: mine, ("column" if role == "row" else "row"): theirs})
    assert abs(totals.mean() - exact) < 5 * totals.std() / np.sqrt(len(totals)) + 1e-4
    assert bool((ended == (jnp.arange(world.horizon) == world.horizon - 1)).all())  # it ends then, by the rules


def test_measured_samples_are_those_of_the_evaluated_profile():
    game, formulation = made()
    profile = {"row": random_rows(jax.random.key(0), (5, 2)), "column": random_rows(jax.random.key(1), (10, 5, 2))}
    sampled = game.measures(formulation).sampled_returns(jax.random.key(2), profile, 20_000)
    exact = game_returns(make_game("prisoners_dilemma"), profile["row"], profile["column"])[0]
    assert abs(sampled.mean() - exact) < 5 * sampled.std() / np.sqrt(len(sampled))


@pytest.mark.parametrize("leader", ["row", "column"])
def test_the_leaders_episode_asks_every_observation_then_plays_against_the_response_to_its_answers(leader):
    game, formulation = made("hidden_query", leader)
    heard = {}

    def outcome(strategy):
        heard["strategy"] = strategy
        copies = jnp.tile(strategy[0], (3, 1))  # the follower always plays what the leader answers to query 0
        return {formulation.leader: strategy, formulation.follower: copies}

    environment = leader_problem(game, formulation, "greedy")(outcome)
    for first in (0, 1):
        observation, state = environment.reset(jax.random.key(0))
        total = 0.0
        for step in range(3 + 5):
            if step < 3:
                np.testing.assert_array_equal(observation, np.eye(3)[step])
            answer = first if step == 0 else 1
            observation, state, reward, ended, cut, info = environment.step(
                jax.random.key(step), state, jnp.int32(answer)
            )
            total += float(reward)
            assert (float(reward) == 0.0) == (step < 3)  # no payoff of this game is 2.5, so play is never paid 0
            assert (bool(ended), bool(cut), info) == (step == 7, False, {})
        np.testing.assert_array_equal(state.oracle.answers, [first, 1, 1])
        rewards = np.asarray(make_game("hidden_query").rewards[0 if leader == "row" else 1])
        paid = rewards[1, first] if leader == "row" else rewards[first, 1]
        assert total == pytest.approx(5 * paid)


def test_random_leaders_are_every_map_equally_often_or_mixed():
    sure = jax.vmap(lambda key: random_strategy(key, 3, 2, mixed=False))(jax.random.split(jax.random.key(0), 4000))
    counts = np.bincount(np.asarray(sure.argmax(-1)) @ np.array([4, 2, 1]), minlength=8)
    assert counts.min() > 400
    assert counts.max() < 600
    np.testing.assert_array_equal(np.unique(np.asarray(sure)), [0.0, 1.0])
    mixed = jax.vmap(lambda key: random_strategy(key, 3, 2, mixed=True))(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(mixed.sum(-1), 1.0, atol=1e-6)
    assert np.mean(np.asarray(mixed).max(-1) == 1.0) == pytest.approx(0.5, abs=0.03)


def test_a_mixed_leader_is_heard_as_it_is_and_a_played_one_through_its_actions():
    strategy = random_rows(jax.random.key(0), (5, 2))
    for mixed in (True, False):
        game, _ = made(mixed=mixed)
        heard = game.heard["row"](jax.random.key(1), strategy)
        assert bool((heard == strategy).all()) == mixed
        np.testing.assert_allclose(heard.max(-1) == 1.0, not mixed)
        np.testing.assert_array_equal(game.played["row"](strategy), strategy if mixed else strategy.round())
        np.testing.assert_array_equal(game.played["column"](strategy), strategy.round())


def test_hidden_queries_weigh_nothing_and_pay_the_same():
    game, formulation = made()
    follower = jnp.tile(jnp.array([1.0, 0.0]), (5, 1))
    environment = leader_problem(game, formulation, "greedy", Conditions(hidden_queries=True))(
        fixed(game, formulation, follower)
    )
    _, state = environment.reset(jax.random.key(0))
    weights = []
    for step in range(15):
        *_, info = environment.step(jax.random.key(step), state, jnp.int32(0))
        _, state, *_ = environment.step(jax.random.key(step), state, jnp.int32(0))
        weights.append(float(info["weight"]))
    assert weights == [0.0] * 5 + [1.0] * 10


def test_told_the_phase_a_leader_sees_another_half_of_its_observation():
    game, formulation = made()
    environment = leader_problem(game, formulation, "greedy", Conditions(phase_told=True))(
        fixed(game, formulation, jnp.tile(jnp.array([1.0, 0.0]), (5, 1)))
    )
    observation, state = environment.reset(jax.random.key(0))
    for step in range(15):
        asked, playing = observation[:5], observation[5:]
        assert (float(asked.sum()), float(playing.sum())) == ((1.0, 0.0) if step < 5 else (0.0, 1.0))
        observation, state, *_ = environment.step(jax.random.key(step), state, jnp.int32(0))


def test_paid_queries_pay_what_a_step_would():
    """Defecting pays row 4 or 2, cooperating 3 or 1, each less 2.5; against a random action."""
    game, formulation = made()
    environment = leader_problem(game, formulation, "greedy", Conditions(paid_queries=True))(
        fixed(game, formulation, jnp.tile(jnp.array([1.0, 0.0]), (5, 1)))
    )
    _, state = environment.reset(jax.random.key(0))
    for action, mean in ((0, -0.5), (1, 0.5)):
        pays = jax.vmap(lambda key, action=action: environment.step(key, state, jnp.int32(action))[2])(
            jax.random.split(jax.random.key(1), 2000)
        )
        assert float(pays.mean()) == pytest.approx(mean, abs=0.1)
        assert set(np.round(np.asarray(pays), 1)) == {mean - 1.0, mean + 1.0}


def test_without_a_reset_the_follower_plays_the_response_to_the_episode_before():
    game, formulation = made()

    def outcome(strategy):
        return {"row": strategy, "column": jnp.tile(strategy[0], (5, 1))}  # plays what it heard at query 0

    for reset in (True, False):
        environment = auto_reset(leader_problem(game, formulation, "greedy", Conditions(follower_reset=reset))(outcome))
        _, state = environment.reset(jax.random.key(0))
        rewards = []
        for episode in range(3):
            for step in range(15):
                answer = int(episode == 1) if step == 0 else 0  # says 1 in the second episode only; plays 0
                _, state, reward, *_ = environment.step(jax.random.key(step), state, jnp.int32(answer))
                if step == 10:
                    rewards.append(float(reward))
        fooled = {
            True: [0.5, -1.5, 0.5],
            False: [0.5, 0.5, -1.5],
        }  # 0 against 0 pays 3 − 2.5, against 1 it pays 1 − 2.5
        assert rewards == fooled[reset]


def learned(name, leader, strategy, **options):
    """How often a Q-learner's answer is a best response to a fixed leader."""
    world = make_game(name)
    _, formulation = made(name, leader)
    oracle = q_learning(world, formulation, QLearningOptions(**options))
    led = led_by(world, leader)
    best = best_response(led, strategy, clock=False).follower_value

    def answer(key, query):
        return jax.random.categorical(key, jnp.log(strategy[query]))

    def regret(key):
        follower = interview(key, oracle, answer)
        profile = (strategy, follower) if leader == "row" else (follower, strategy)
        return best - game_returns(world, *profile)[1 if leader == "row" else 0]

    return np.asarray(jax.jit(jax.vmap(regret))(jax.random.split(jax.random.key(0), 64)))


@pytest.mark.parametrize("leader", ["row", "column"])
def test_a_q_learner_learns_a_best_response(leader):
    defect_once_then_copy = jax.nn.one_hot(jnp.array([1, 0, 0, 1, 1] if leader == "row" else [1, 0, 1, 0, 1]), 2)
    regrets = learned("prisoners_dilemma", leader, defect_once_then_copy, num_episodes=400, discount=0.99)
    assert regrets.min() >= -1e-4
    assert np.mean(regrets < 1e-3) > 0.8
    untaught = learned("prisoners_dilemma", leader, defect_once_then_copy, num_episodes=1)
    assert untaught.mean() > regrets.mean() + 1.0


def test_one_step_of_q_learning_is_the_rule():
    """From zeros, column's first move in the prisoner's dilemma: Q(0, 0) = α r, since argmax of a tie is action 0."""
    world = make_game("prisoners_dilemma")
    _, formulation = made()
    oracle = q_learning(world, formulation, QLearningOptions(learning_rate=0.5, exploration=0.0))
    state = oracle.begin(jax.random.key(0))
    assert int(oracle.query(state)) == 0
    state = oracle.hear(jax.random.key(1), state, jnp.int32(1))  # row defects, column cooperates: 1 − 2.5
    assert float(state.action_values[0, 0]) == pytest.approx(0.5 * -1.5)
    assert int(oracle.query(state)) == 2  # 1 + a_row + 2·a_column
    state = oracle.hear(jax.random.key(2), state, jnp.int32(0))
    assert float(state.action_values[2, 0]) == pytest.approx(0.5 * 0.5)
    assert oracle.num_queries == 800


def test_in_front_of_a_q_learner_the_leader_answers_all_its_inner_steps():
    world = make_game("prisoners_dilemma_small_memory")
    game, formulation = made("prisoners_dilemma_small_memory")
    oracle = q_learning(world, formulation, QLearningOptions(num_episodes=4))
    environment = leader_problem(game, formulation, "greedy", oracle=oracle)(fixed(game, formulation, None))
    observation, state = environment.reset(jax.random.key(0))
    for step in range(4 * 5 + 5):
        if step % 5 == 0:
            np.testing.assert_array_equal(observation, [1, 0, 0])  # every inner episode begins anew
        observation, state, reward, ended, *_ = environment.step(jax.random.key(step), state, jnp.int32(1))
        assert (float(reward) == 0.0) == (step < 20)
        assert bool(ended) == (step == 24)


def test_against_one_that_always_defects_a_q_learner_learns_to_defect():
    world = make_game("prisoners_dilemma_small_memory")
    game, formulation = made("prisoners_dilemma_small_memory")
    oracle = q_learning(world, formulation, QLearningOptions(num_episodes=200))
    environment = leader_problem(game, formulation, "greedy", oracle=oracle)(fixed(game, formulation, None))
    returns = episode_returns(jax.random.key(0), environment, lambda key, observation: jnp.int32(1), 8, 1005)
    assert np.mean(np.isclose(returns, 5 * -0.5)) > 0.7


def test_a_matrix_follower_is_not_bootstrapped_behind_the_end():
    game, formulation = made()
    environment = follower_problem(game, formulation, game.describe["row"])(
        lambda key: {"row": game.priors["row"](key)}
    )
    observation, state = environment.reset(jax.random.key(0))
    assert observation.shape == (5 * 2 + 5,)
    for step in range(10):
        observation, state, _, terminated, truncated, _ = environment.step(jax.random.key(step), state, jnp.int32(0))
        assert (bool(terminated), bool(truncated)) == (step == 9, False)


def test_the_references_are_the_optimum_and_its_best_response():
    game, formulation = made()
    rows = {role: starts["truth"](jax.random.key(0)) for role, starts in game.starts.items()}
    profile = {role: game.played[role](jax.nn.softmax(logits)) for role, logits in rows.items()}
    metrics, _ = game.measures(formulation).profile(profile["row"], lambda leader: profile | {"row": leader})
    assert float(metrics["exact_return"]) == pytest.approx(6.0)
    assert float(metrics["follower_gap"]) == pytest.approx(0.0, abs=1e-5)
    assert float(metrics["follower_gap_clock"]) == pytest.approx(1.0)  # it does not defect in the last step
    assert dataclasses.asdict(QLearningOptions())["num_episodes"] == 80
