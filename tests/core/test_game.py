"""Seats, payoffs and problems: sampled twins agree with exact ones; what the leader's episode asks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core.environment import auto_reset
from sbmrl.core.formulation import Knobs, make_formulation
from sbmrl.core.game import greedy, random_rows
from sbmrl.core.payoffs import exact_payoff, objective
from sbmrl.core.problems import follower_problem, leader_problem
from sbmrl.core.rollout import rollout, start
from sbmrl.games.tabular.closed_forms import uniform_policy
from sbmrl.games.tabular.game import model_based_game
from sbmrl.games.tabular.mdp import make_world
from sbmrl.games.tabular.measures import follower_regret, measure_profile
from sbmrl.games.tabular.payoffs import LOSSES, Measurement

KNOBS = Knobs(alpha=1.0, beta=1.0, reward="real_return", fit="fit")
WORLD = "simple_mdp_2_endless"  # no early end: the sampled fit's per-episode mean is the exact pooled one


def measurement_of(mdp, loss):
    return Measurement(mdp, loss, jnp.full((mdp.num_states, mdp.num_actions), 1.0 / mdp.num_states / mdp.num_actions))


def logits_of(rows):
    return jnp.log(jnp.maximum(rows, 1e-30))


def played_payoff(game, wants, model, policy, num_episodes, seat_name="model"):
    """Monte Carlo estimate of Σ wants·payoff from the seat of one role, with its standard error."""
    seat, goal = game.seats[seat_name], objective(game.payoffs, wants)
    other = policy if seat_name == "model" else model

    def episode(key):
        key_kind, key_reset, key_steps = jax.random.split(key, 3)
        kind = goal.draw(key_kind)
        state = seat.reset(key_reset, other, goal.play(kind))

        def step(carry, key):
            state, alive, total = carry
            key_answer, key_step = jax.random.split(key)
            if seat_name == "model":
                answer = logits_of(model[state.state, state.action])
            else:
                answer = jax.random.categorical(key_answer, logits_of(policy[state.state]))
            state, earned, terminated, _ = seat.step(key_step, state, answer)
            total = total + jnp.where(alive, goal.reward(kind, earned), 0.0)
            return (state, alive & ~terminated, total), None

        keys = jax.random.split(key_steps, game.horizon)
        (_, _, total), _ = jax.lax.scan(step, (state, jnp.array(True), 0.0), keys)
        return total

    totals = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(9), num_episodes)))
    return totals.mean(), totals.std() / np.sqrt(num_episodes)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "wants",
    [
        {"fit": 1.0},
        {"random_fit": 1.0},
        {"real_return": 1.0},
        {"model_return": 1.0},
        {"fit": 0.3, "random_fit": 0.7},
        {"fit": 0.3, "real_return": 0.7},
        {"fit": 0.3, "model_return": 0.7},
        {"fit": 0.5, "model_return": -0.5},
    ],
    ids=str,
)
def test_sampled_payoffs_agree_with_exact_ones(wants, loss):
    mdp = make_world(WORLD)
    game = model_based_game(mdp, LOSSES[loss], num_random_policies=4096)
    model = 0.9 * random_rows(jax.random.key(0), mdp.transition.shape) + 0.1 * mdp.transition
    policy = random_rows(jax.random.key(1), (3, 2))
    profile = {"model": model, "policy": policy}
    exact = float(exact_payoff(game.payoffs, wants, profile))
    mean, error = played_payoff(game, wants, model, policy, 20_000)
    assert abs(mean - exact) < 5 * error + 0.01 * ("random_fit" in wants)
    if "random_fit" not in wants:
        mean, error = played_payoff(game, wants, model, policy, 20_000, seat_name="policy")
        assert abs(mean - exact) < 5 * error


def test_a_weight_of_zero_never_plays_its_kind():
    payoffs = model_based_game(make_world(WORLD), LOSSES["kl"]).payoffs
    goal = objective(payoffs, {"fit": 1.0, "random_fit": 0.0})
    plays = jax.vmap(lambda key: goal.play(goal.draw(key)))(jax.random.split(jax.random.key(0), 1000))
    assert not np.asarray(plays.random_driver).any()


@pytest.mark.parametrize("role", ["model", "policy"])
def test_the_leaders_episode_asks_every_query_once_then_plays(role):
    mdp = make_world("simple_mdp_2_endless").replace(horizon=5)
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = make_formulation("mal" if role == "model" else "pal", KNOBS)
    heard = []

    def outcome(strategy):
        heard.append(strategy)
        follower = uniform_policy(mdp) if role == "model" else mdp.transition
        return {formulation.leader: strategy, formulation.follower: follower}

    environment = leader_problem(game, formulation, "greedy")(outcome)
    seat = game.seats[role]
    observation, state = environment.reset(jax.random.key(0))
    num_queries = len(seat.queries)
    for step in range(num_queries + 5):
        if step < num_queries:
            np.testing.assert_array_equal(observation, seat.queries[step])
        answer = jnp.int32(step % 2) if role == "policy" else jnp.eye(3)[step % 3] * 5.0
        observation, state, reward, terminated, truncated, _ = environment.step(jax.random.key(step), state, answer)
        assert (float(reward) == 0.0) or step >= num_queries
        assert bool(terminated) == (step == num_queries + 4)
        assert not bool(truncated)
        assert any(bool((observation == query).all()) for query in seat.queries)  # play looks like a query
    answers = np.asarray(state.oracle.answers)
    expected = (
        [step % 2 for step in range(num_queries)] if role == "policy" else np.eye(3)[np.arange(num_queries) % 3] * 5
    )
    np.testing.assert_allclose(answers, expected)


def test_the_follower_in_play_answers_what_the_leader_said():
    mdp = make_world("simple_mdp_2")
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = make_formulation("mal", KNOBS)

    def outcome(model):  # plays a1 everywhere iff the model says that s1, a0 stays in s1
        action = (model[1, 0, 1] > 0.5).astype(jnp.int32)
        return {"model": model, "policy": jnp.tile(jax.nn.one_hot(action, 2), (3, 1))}

    environment = leader_problem(game, formulation, "greedy")(outcome)
    for stays, action in ((True, 1), (False, 0)):
        _, state = environment.reset(jax.random.key(0))
        for query in game.seats["model"].queries:
            is_pair = bool((query == jnp.array([0, 1, 0, 1, 0])).all())  # s1, a0
            answer = 9.0 * jax.nn.one_hot(1 if is_pair and stays else 2, 3)
            _, state, *_ = environment.step(jax.random.key(1), state, answer)
        assert int(state.played.action) == action


def test_the_follower_sees_its_leader_and_gets_a_new_one_each_episode():
    mdp = make_world("simple_mdp_2")
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = make_formulation("mal", KNOBS)
    environment = auto_reset(
        follower_problem(game, formulation, game.describe["model"])(lambda key: {"model": game.priors["model"](key)})
    )
    running = start(jax.random.key(0), environment, 4)
    _, trajectory = rollout(
        jax.random.key(1), environment, lambda key, o: jnp.zeros(4, jnp.int32), running, num_steps=60
    )
    context = trajectory.observation[..., :12].reshape(60, 4, 4, 3)
    np.testing.assert_allclose(context.sum(-1), 1.0, atol=1e-5)
    ended = np.asarray(trajectory.terminated | trajectory.truncated)[:-1]
    changed = np.asarray((trajectory.observation[1:, :, :12] != trajectory.observation[:-1, :, :12]).any(-1))
    np.testing.assert_array_equal(ended, changed)
    assert ended.any()


def test_follower_regret_is_zero_at_the_best_response_and_positive_elsewhere():
    mdp = make_world("simple_mdp_2")
    for loss in LOSSES.values():
        measurement = measurement_of(mdp, loss)
        regret = functools.partial(follower_regret, measurement)
        mal, pal = (make_formulation(name, KNOBS) for name in ("mal", "pal"))
        best = jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        assert regret(mal, {"model": mdp.transition, "policy": best}) == pytest.approx(0.0, abs=1e-2)
        assert regret(mal, {"model": mdp.transition, "policy": greedy(1.0 - best)}) > 30
        uniform = uniform_policy(mdp)
        assert regret(pal, {"policy": uniform, "model": mdp.transition}) == pytest.approx(0.0, abs=1e-6)
        wrong = random_rows(jax.random.key(0), mdp.transition.shape)
        assert regret(pal, {"policy": uniform, "model": wrong}) > 0.05


def test_pal_in_its_own_terms_promises_what_the_world_keeps():
    """With a follower that is right, the leader's promise J(π, M̂) is its return J(π, M)."""
    mdp = make_world("ergodic_mdp_2")
    measurement = measurement_of(mdp, LOSSES["kl"])
    formulation = make_formulation("pal", KNOBS)
    policy = random_rows(jax.random.key(2), (4, 2))
    metrics, _ = measure_profile(
        measurement, formulation, policy, lambda strategy: {"policy": strategy, "model": mdp.transition}
    )
    assert metrics["model_return"] == pytest.approx(float(metrics["exact_return"]), rel=1e-6)
    assert metrics["fit"] == pytest.approx(0.0, abs=1e-6)
