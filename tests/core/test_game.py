"""Seats, payoffs and problems: sampled twins agree with exact ones; what the leader's episode asks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sbmrl.core import registry
from sbmrl.core.environment import auto_reset
from sbmrl.core.game import greedy, random_rows
from sbmrl.core.payoffs import exact_payoff, objective
from sbmrl.core.problems import follower_problem, leader_problem
from sbmrl.core.rollout import rollout, start
from sbmrl.games.tabular.closed_forms import uniform_policy
from sbmrl.games.tabular.game import model_based_game
from sbmrl.games.tabular.kind import TABULAR
from sbmrl.games.tabular.mdp import make_world
from sbmrl.games.tabular.measures import follower_regret, measure_profile
from sbmrl.games.tabular.payoffs import LOSSES, Measurement, Play

WORLD = "simple_mdp_2_endless"  # no early end: the sampled fit's per-episode mean is the exact pooled one
NUM_EPISODES = 20_000
WANTS = [
    {"fit": 1.0},
    {"random_fit": 1.0},
    {"real_return": 1.0},
    {"model_return": 1.0},
    {"fit": 0.3, "random_fit": 0.7},
    {"fit": 0.3, "real_return": 0.7},
    {"fit": 0.3, "model_return": 0.7},
    {"fit": 0.5, "model_return": -0.5},
]


def formulation_of(name):
    row = registry.formulation(name)
    return row.formulation(TABULAR.options_of(row)())


def measurement_of(mdp, loss):
    return Measurement(mdp, loss, jnp.full((mdp.num_states, mdp.num_actions), 1.0 / mdp.num_states / mdp.num_actions))


def logits_of(rows):
    return jnp.log(jnp.maximum(rows, 1e-30))


def earned_in_play(game, seat_name, profile, key, play):
    """Step rewards, summed over an episode of the given kind, of the seat's role when it plays as in the profile."""
    seat = game.seats[seat_name]
    key_reset, key_steps = jax.random.split(key)
    state = seat.reset(key_reset, profile["policy" if seat_name == "model" else "model"], play)

    def step(carry, key):
        state, alive = carry
        key_answer, key_step = jax.random.split(key)
        if seat_name == "model":
            answer = logits_of(profile["model"][state.state, state.action])
        else:
            answer = jax.random.categorical(key_answer, logits_of(profile["policy"][state.state]))
        state, earned, terminated, _ = seat.step(key_step, state, answer)
        return (state, alive & ~terminated), jax.tree.map(lambda x: jnp.where(alive, x, 0.0), earned)

    _, earned = jax.lax.scan(step, (state, jnp.array(True)), jax.random.split(key_steps, game.horizon))
    return jax.tree.map(jnp.sum, earned)


@pytest.fixture(scope="module", params=LOSSES)
def estimates(request):
    """The exact payoff of each of WANTS; and from each seat its Monte Carlo estimate, with the standard error."""
    mdp = make_world(WORLD)
    game = model_based_game(mdp, LOSSES[request.param], num_random_policies=4096)
    model = 0.9 * random_rows(jax.random.key(0), mdp.transition.shape) + 0.1 * mdp.transition
    profile = {"model": model, "policy": random_rows(jax.random.key(1), (3, 2))}
    goals = [objective(game.payoffs, wants) for wants in WANTS]
    plays = [Play(False, False), Play(False, True), Play(True, False)]

    def estimate(goal, keys, earned):
        """Over episodes of the kinds that the goal draws, each already played in every kind."""
        kind = jax.vmap(goal.draw)(keys)
        drawn = jax.vmap(goal.play)(kind)
        which = drawn.random_driver + 2 * drawn.in_model
        totals = jax.vmap(goal.reward)(kind, jax.tree.map(lambda x: x[which, jnp.arange(NUM_EPISODES)], earned))
        return totals.mean(), totals.std() / NUM_EPISODES**0.5

    @jax.jit
    def estimates(key, profile):
        key_kinds, key_play = jax.random.split(key)
        kinds, keys = (jax.random.split(key, NUM_EPISODES) for key in (key_kinds, key_play))
        found = {}
        for seat_name in game.seats:
            episode = functools.partial(earned_in_play, game, seat_name, profile)
            each = jax.tree.map(lambda *values: jnp.array(values), *plays)
            earned = jax.vmap(jax.vmap(episode, (0, None)), (None, 0))(keys, each)
            found[seat_name] = [estimate(goal, kinds, earned) for goal in goals]
        return [exact_payoff(game.payoffs, wants, profile) for wants in WANTS], found

    return jax.device_get(estimates(jax.random.key(9), profile))


@pytest.mark.xdist_group("sampled payoffs")
@pytest.mark.parametrize("number", range(len(WANTS)), ids=[str(wants) for wants in WANTS])
def test_sampled_payoffs_agree_with_exact_ones(estimates, number):
    exact, found = estimates
    random_driver = "random_fit" in WANTS[number]
    for seat_name, estimated in found.items():
        if seat_name == "model" or not random_driver:
            mean, error = (float(x) for x in estimated[number])
            assert abs(mean - float(exact[number])) < 5 * error + 0.01 * random_driver


def test_a_weight_of_zero_never_plays_its_kind():
    payoffs = model_based_game(make_world(WORLD), LOSSES["kl"]).payoffs
    goal = objective(payoffs, {"fit": 1.0, "random_fit": 0.0})
    plays = jax.jit(jax.vmap(lambda key: goal.play(goal.draw(key))))(jax.random.split(jax.random.key(0), 1000))
    assert not np.asarray(plays.random_driver).any()


@pytest.mark.parametrize("role", ["model", "policy"])
def test_the_leaders_episode_asks_every_query_once_then_plays(role):
    mdp = make_world("simple_mdp_2_endless").replace(horizon=5)
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = formulation_of("mal" if role == "model" else "pal")

    def outcome(strategy):
        follower = uniform_policy(mdp) if role == "model" else mdp.transition
        return {formulation.leader: strategy, formulation.follower: follower}

    environment = leader_problem(game, formulation, "greedy")(outcome)
    take_step = jax.jit(environment.step)
    seat = game.seats[role]
    observation, state = jax.jit(environment.reset)(jax.random.key(0))
    num_queries = len(seat.queries)
    for step in range(num_queries + 5):
        if step < num_queries:
            np.testing.assert_array_equal(observation, seat.queries[step])
        answer = np.int32(step % 2) if role == "policy" else np.eye(3, dtype=np.float32)[step % 3] * 5.0
        observation, state, reward, terminated, truncated, _ = take_step(jax.random.key(step), state, answer)
        assert (float(reward) == 0.0) or step >= num_queries
        assert bool(terminated) == (step == num_queries + 4)
        assert not bool(truncated)
        assert (np.asarray(observation) == np.asarray(seat.queries)).all(-1).any()  # play looks like a query
    answers = np.asarray(state.oracle.answers)
    expected = (
        [step % 2 for step in range(num_queries)] if role == "policy" else np.eye(3)[np.arange(num_queries) % 3] * 5
    )
    np.testing.assert_allclose(answers, expected)


def test_the_follower_in_play_answers_what_the_leader_said():
    mdp = make_world("simple_mdp_2")
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = formulation_of("mal")

    def outcome(model):  # plays a1 everywhere iff the model says that s1, a0 stays in s1
        action = (model[1, 0, 1] > 0.5).astype(jnp.int32)
        return {"model": model, "policy": jnp.tile(jax.nn.one_hot(action, 2), (3, 1))}

    environment = leader_problem(game, formulation, "greedy")(outcome)
    reset, take_step = jax.jit(environment.reset), jax.jit(environment.step)
    for stays, action in ((True, 1), (False, 0)):
        _, state = reset(jax.random.key(0))
        for query in np.asarray(game.seats["model"].queries):
            is_pair = (query == [0, 1, 0, 1, 0]).all()  # s1, a0
            answer = 9.0 * np.eye(3, dtype=np.float32)[1 if is_pair and stays else 2]
            _, state, *_ = take_step(jax.random.key(1), state, answer)
        assert int(state.played.action) == action


def test_the_follower_sees_its_leader_and_gets_a_new_one_each_episode():
    mdp = make_world("simple_mdp_2")
    game = model_based_game(mdp, LOSSES["brier"])
    formulation = formulation_of("mal")
    environment = auto_reset(
        follower_problem(game, formulation, game.describe["model"])(lambda key: {"model": game.priors["model"](key)})
    )

    @jax.jit
    def play():
        running = start(jax.random.key(0), environment, 4)
        silence = jnp.zeros(4, jnp.int32)
        return rollout(jax.random.key(1), environment, lambda key, o: silence, running, num_steps=60)[1]

    trajectory = jax.tree.map(np.asarray, play())
    context = trajectory.observation[..., :12]
    np.testing.assert_allclose(context.reshape(60, 4, 4, 3).sum(-1), 1.0, atol=1e-5)
    ended = (trajectory.terminated | trajectory.truncated)[:-1]
    changed = (context[1:] != context[:-1]).any(-1)
    np.testing.assert_array_equal(ended, changed)
    assert ended.any()


def test_follower_regret_is_zero_at_the_best_response_and_positive_elsewhere():
    mdp = make_world("simple_mdp_2")
    mal, pal = (formulation_of(name) for name in ("mal", "pal"))

    @functools.partial(jax.jit, static_argnums=0)
    def regrets(loss):
        regret = functools.partial(follower_regret, measurement_of(mdp, LOSSES[loss]))
        best, uniform = jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), uniform_policy(mdp)
        wrong = random_rows(jax.random.key(0), mdp.transition.shape)
        return (
            regret(mal, {"model": mdp.transition, "policy": best}),
            regret(mal, {"model": mdp.transition, "policy": greedy(1.0 - best)}),
            regret(pal, {"policy": uniform, "model": mdp.transition}),
            regret(pal, {"policy": uniform, "model": wrong}),
        )

    for loss in LOSSES:
        best_policy, worst_policy, true_model, wrong_model = (float(regret) for regret in regrets(loss))
        assert best_policy == pytest.approx(0.0, abs=1e-2)
        assert worst_policy > 30
        assert true_model == pytest.approx(0.0, abs=1e-6)
        assert wrong_model > 0.05


def test_pal_in_its_own_terms_promises_what_the_world_keeps():
    """With a follower that is right, the leader's promise J(π, M̂) is its return J(π, M)."""
    mdp = make_world("ergodic_mdp_2")
    measurement = measurement_of(mdp, LOSSES["kl"])
    formulation = formulation_of("pal")

    @jax.jit
    def measure(policy):
        outcome = lambda strategy: {"policy": strategy, "model": mdp.transition}  # noqa: E731
        return measure_profile(measurement, formulation, policy, outcome)[0]

    metrics = measure(random_rows(jax.random.key(2), (4, 2)))
    assert metrics["model_return"] == pytest.approx(float(metrics["exact_return"]), rel=1e-6)
    assert metrics["fit"] == pytest.approx(0.0, abs=1e-6)
