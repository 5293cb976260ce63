"""Hyper policy gradient: its formula, no bias, error as 1/√K, what it counts, and where it is refused."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core.stackelberg import GameState
from sbmrl.core.tasks import leader_task
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.solver import make_solver
from sbmrl.games.tabular.closed_forms import expected_reward, finite_horizon_return
from sbmrl.games.tabular.mdp import make_world, random_mdp, with_transition
from sbmrl.games.tabular.planning import soft_optimum
from sbmrl.learners.hyper_policy_gradient import advantages, make_estimate, play_episodes, score_term

LEARNER = "hyper_policy_gradient"
DISCOUNT, TEMPERATURE = 0.9, 0.3


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def in_float64(mdp):
    mdp = jax.tree.map(lambda x: x.astype(jnp.float64), mdp)
    return mdp.replace(transition=mdp.transition / mdp.transition.sum(-1, keepdims=True))


@pytest.mark.parametrize("name", ["random_4_2_0", "simple_mdp_2_endless"])
def test_the_leaders_advantage_times_the_derivative_of_the_soft_advantage_is_the_implicit_derivative(float64, name):
    """∂_x J(π_x) = (1/λ) Σ_t E A_t(s, a) ∂A_λ(s, a), ∂A_λ at fixed π by a linear solve in the model."""
    mdp = in_float64(make_world(name)).replace(horizon=20)
    logits = jax.random.normal(jax.random.key(0), mdp.transition.shape, jnp.float64)

    def response(logits):
        return soft_optimum(with_transition(mdp, jax.nn.softmax(logits)), DISCOUNT, TEMPERATURE, 50).policy

    def soft_advantage(logits, policy):
        """A_λ of a policy that is held fixed."""
        model = with_transition(mdp, jax.nn.softmax(logits))
        entropy = -TEMPERATURE * jnp.sum(policy * jnp.log(policy), axis=-1)
        kept = jnp.einsum("sa,sat->st", policy, model.transition)
        reward = jnp.sum(policy * expected_reward(model), axis=-1) + entropy
        values = jnp.linalg.solve(jnp.eye(mdp.num_states) - DISCOUNT * kept, reward)
        return expected_reward(model) + DISCOUNT * model.transition @ values - values[:, None]

    def leader_advantage(policy):
        """Σ_t P(s_t = s, a_t = a) A_t(s, a) `[S, A]`, backwards and forwards over the horizon."""
        values, found = jnp.zeros(mdp.num_states), []
        for _ in range(mdp.horizon):
            action_values = expected_reward(mdp) + mdp.transition @ values
            values = jnp.sum(policy * action_values, axis=-1)
            found.append(action_values - values[:, None])
        visits, total = mdp.initial, jnp.zeros(policy.shape)
        for advantage in reversed(found):
            total += visits[:, None] * policy * advantage
            visits = jnp.einsum("s,sa,sat->t", visits, policy, mdp.transition)
        return total

    @jax.jit
    def derivatives(logits):
        policy = response(logits)
        weight = leader_advantage(policy) / TEMPERATURE
        by_formula = jax.grad(lambda x: jnp.sum(weight * soft_advantage(x, policy)))(logits)
        return by_formula, jax.grad(lambda x: finite_horizon_return(mdp, response(x)))(logits)

    by_formula, implicit = derivatives(logits)
    assert float(jnp.abs(implicit).max()) > 1e-3
    np.testing.assert_allclose(by_formula, implicit, rtol=1e-8, atol=1e-10)


@functools.cache
def setting(formulation, scheme, changes=()):
    """(slopes: (keys, K) -> estimates `[R, N]` of the leader's derivative, the exact one `[N]`) in a small world."""
    changes = {"loss": "kl", "follower__temperature": 1.0, **dict(changes)}  # soft, so that no action is too rare
    experiment = tiny_experiment(formulation, scheme, LEARNER, **changes)
    solver = make_solver(experiment, random_mdp(jax.random.key(0), 3, 2, horizon=6))
    task = leader_task(solver.game, solver.formulation, experiment.game, None)
    outcome = solver.algorithm.outcome(GameState(None, (), {}))
    outputs = jax.random.normal(jax.random.key(1), (6, 3))

    def estimates(keys, num_episodes):
        estimate = make_estimate(task, solver.formulation.follower, lambda x: x, num_episodes)
        slope = jax.grad(lambda x, key: estimate(key, x, outcome)[0])
        return jax.lax.map(lambda key: slope(outputs, key).ravel(), keys, batch_size=256)

    exact = jax.jit(jax.grad(lambda x: task.payoff(outcome(task.seat.table(x)))))(outputs)
    return jax.jit(estimates, static_argnums=1), np.asarray(exact).ravel()


@pytest.mark.parametrize(
    ("formulation", "scheme", "changes"),
    [
        ("mal_agent_reward", "implicit", (("alpha", 0.0),)),
        ("mal_agent_reward", "implicit", (("alpha", 0.5),)),
        ("mal_agent_reward", "exact", (("alpha", 0.1),)),  # a response with a clock
        ("mal_agent_reward", "implicit", (("alpha", 0.5), ("agent_reward", "model"))),
        ("mal", "implicit", ()),
    ],
    ids=str,
)
def test_the_estimate_has_no_bias(formulation, scheme, changes):
    """Not even with the fewest episodes, each half of which is the other's baseline."""
    estimates, exact = setting(formulation, scheme, changes)
    found = np.asarray(estimates(jax.random.split(jax.random.key(2), 8192), 2), np.float64)
    error = found.mean(0) - exact
    standard = found.std(0, ddof=1) / np.sqrt(len(found))
    assert np.abs(exact).max() > 20 * np.median(standard)  # else a bias could hide
    assert np.abs(error / standard).max() < 4.5


def test_the_error_falls_as_one_over_the_root_of_the_number_of_episodes():
    estimates, exact = setting("mal_agent_reward", "implicit", (("alpha", 0.0),))
    keys = jax.random.split(jax.random.key(3), 64)
    errors = [np.linalg.norm(np.asarray(estimates(keys, count)) - exact, axis=1) for count in (16, 128, 1024)]
    spread = [np.sqrt(np.mean(error**2)) for error in errors]
    for wide, narrow in itertools.pairwise(spread):
        assert 2.2 < wide / narrow < 3.6  # √8 = 2.8 by the law
    assert spread[-1] < 0.1 * np.linalg.norm(exact)


def test_the_baseline_makes_the_error_smaller():
    """Returns to go without one are unbiased as well, and further off."""
    experiment = tiny_experiment("mal_agent_reward", "implicit", LEARNER, alpha=0.0)
    solver = make_solver(experiment, random_mdp(jax.random.key(0), 3, 2, horizon=20))
    seat, model = solver.game.seats["policy"], random_mdp(jax.random.key(5), 3, 2).transition
    policy = jnp.full((3, 2), 0.5)

    @jax.jit
    def spreads(keys):
        def both(key):
            answer = lambda key, time, query: jax.random.randint(key, (), 0, 2)  # noqa: E731
            play = solver.game.payoffs["real_return"].play
            episodes = play_episodes(key, seat, model, play, answer, {"return": 1.0}, (16, 20))
            plain = jnp.cumsum(episodes.reward[:, ::-1], axis=1)[:, ::-1]
            found = [jax.grad(score_term)(policy[None], episodes, a) for a in (plain, advantages(episodes, 3))]
            return jnp.stack(found)

        return jnp.std(jax.vmap(both)(keys), axis=0)

    plain, held = np.asarray(spreads(jax.random.split(jax.random.key(0), 256)))
    assert np.all(held < 0.6 * plain)


def test_random_noise_is_learned_from_episodes_that_others_act_in():
    estimates, exact = setting("mal_random_noise", "implicit", (("alpha", 0.5),))
    found = np.asarray(estimates(jax.random.split(jax.random.key(2), 64), 256)).mean(0)
    cosine = found @ exact / np.linalg.norm(found) / np.linalg.norm(exact)
    assert cosine > 0.99


def test_real_steps_are_counted_and_imagined_ones_are_not():
    """Two payoffs of one kind of episode share it; the return in the model needs no episode."""
    for changes in ({}, {"agent_reward": "model"}):
        experiment = tiny_experiment("mal_agent_reward", "implicit", LEARNER, leader__num_episodes=20, **changes)
        assert make_solver(experiment, make_world("random_3_2_0")).steps_per_update["play"] == 20 * 50
    noise = tiny_experiment("mal_random_noise", "implicit", LEARNER, leader__num_episodes=20)
    assert make_solver(noise, make_world("random_3_2_0")).steps_per_update["play"] == 2 * 20 * 50
    ended = make_solver(
        tiny_experiment("mal_agent_reward", "implicit", LEARNER, leader__num_episodes=20), make_world("simple_mdp_2")
    )
    key = jax.random.key(0)
    state = jax.jit(ended.algorithm.init)(key)
    told = jax.jit(ended.algorithm.stages[0].step)(key, state)[1]
    assert 20 <= float(told["real_steps"]) < 20 * 50  # episodes end in its terminal state


@pytest.mark.parametrize(
    ("formulation", "scheme", "changes", "says"),
    [
        ("pal", "implicit", {}, "needs a follower that draws its actions and a leader that draws none"),
        ("pal", "exact", {}, "needs a follower that draws its actions"),
        ("mal", "exact", {"follower__backup": "hard"}, "and exact answers by a best action"),
        ("mal", "inner_outer", {"unroll": 0}, "and inner_outer holds the response fixed"),
        ("mal", "implicit", {"response": "greedy"}, "response: must be sampled for hyper_policy_gradient"),
        ("mal", "implicit", {"leader__num_episodes": 3}, "leader.num_episodes: must be even"),
        ("mal", "implicit", {"leader__num_episodes": 0}, "leader.num_episodes: must be a whole number of at least 2"),
        ("mal", "implicit", {"leader__max_gradient_norm": 0.0}, "leader.max_gradient_norm: must be positive"),
        ("mal", "implicit", {"leader__hidden": (8,)}, "leader.hidden: must be"),
    ],
    ids=str,
)
def test_it_is_refused_where_it_is_void(formulation, scheme, changes, says):
    with pytest.raises(InputError, match=says):
        check(preset("fast", formulation, scheme, LEARNER).replace(**changes))


@pytest.mark.parametrize("env", ["lqr_double_integrator", "corridor"])
def test_other_kinds_of_games_have_no_score(env):
    with pytest.raises(InputError, match="leader"):
        check(preset(None, "mal", None, LEARNER, env))
