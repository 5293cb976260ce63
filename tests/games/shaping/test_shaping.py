"""Reward shaping: closed forms against dense ones, played against exact, every learner, the programme."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from sbmrl import InputError, load, make_train, preset
from sbmrl.cli import main
from sbmrl.core.stackelberg import GameState
from sbmrl.core.tasks import leader_task
from sbmrl.experiment.checks import check
from sbmrl.experiment.solver import make_solver
from sbmrl.games.shaping import closed_forms as forms
from sbmrl.games.shaping import measures
from sbmrl.games.shaping import programme_report as shown
from sbmrl.games.shaping.catalogue import DRAWINGS
from sbmrl.games.shaping.programme_cells import cells
from sbmrl.games.shaping.world import check_world, make_world
from sbmrl.learners.hyper_policy_gradient import make_estimate
from sbmrl.sweep.plan import Axis, CellPlan, Plan
from sbmrl.sweep.run import run_plan


@pytest.fixture(autouse=True)
def short_ascent(monkeypatch, cache):
    """What a run is held against need not be good; and nobody else shall find what is compiled of it."""
    monkeypatch.setattr(measures, "_ASCENT_STEPS", 2)


SMALL = {"num_records": 2, "num_random_leaders": 2, "num_eval_episodes": 2, "env": "two_ways"}


def small(scheme=None, learner=None, **changes):
    """A run of a few updates in the small world."""
    experiment = preset("fast", "reward_shaping", scheme, learner)
    sizes: dict = dict(SMALL)
    for where, options in (("leader", experiment.leader), ("follower", getattr(experiment.scheme, "follower", None))):
        wanted = {"num_updates": 4, "num_episodes": 4, "total_steps": 32, "num_environments": 4, "num_steps": 4}
        wanted |= {"minibatch_size": 16}
        if learner == "evolution":
            wanted.pop("num_episodes")
        sizes |= {f"{where}__{name}": size for name, size in wanted.items() if hasattr(options, name)}
    if scheme is None:
        sizes["follower__max_iterations"] = 60
    if hasattr(experiment.scheme, "num_inner_steps"):
        sizes |= {"num_inner_steps": 2, "unroll": 2}
    return experiment.replace(**sizes | changes)


def dense(world, policy):
    """P_π `[C, S, S]` of a policy `[C, S, A]`, entry by entry; nothing follows the goal."""
    chain = np.zeros((world.num_contexts, world.num_cells, world.num_cells))
    neighbours, moves, goals = np.asarray(world.neighbours, int), np.asarray(world.moves), np.asarray(world.goals, int)
    for context, cell, action, move in np.ndindex(*policy.shape, moves.shape[1]):
        if cell != goals[context]:
            chain[context, cell, neighbours[cell, move]] += policy[context, cell, action] * moves[action, move]
    return chain


def test_four_rooms_are_those_of_the_paper():
    world = make_world("four_rooms")
    assert (world.num_cells, world.num_actions, world.num_contexts, world.horizon) == (104, 4, 2, 200)
    np.testing.assert_allclose(np.asarray(world.moves).diagonal(), 0.56, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(world.moves).sum(1), 1.0, rtol=1e-6)
    neighbours = np.asarray(world.following)
    for name, drawing in DRAWINGS.items():
        assert all(drawing.lines[r][c] != "#" for r, c in (drawing.start, drawing.target, *drawing.goals)), name
    for cell, move in np.ndindex(*neighbours.shape):  # a way back for every way that leads somewhere else
        there = neighbours[cell, move]
        assert there == cell or neighbours[there, (move + 2) % 4] == cell


def test_values_are_those_of_the_dense_matrices():
    world = make_world("two_ways")
    policy = jax.random.dirichlet(jax.random.key(0), jnp.ones(4), (2, world.num_cells))
    reward = jax.random.normal(jax.random.key(1), (2, world.num_cells))
    chain, discount = dense(world, np.asarray(policy)), float(world.discount)
    values = np.zeros(reward.shape)
    for _ in range(world.horizon):
        values = np.asarray(reward) + discount * np.einsum("cst,ct->cs", chain, values)
    np.testing.assert_allclose(forms.step_values(world, reward, policy), values, rtol=2e-5, atol=1e-5)
    best = float(forms.best_return(world, reward))
    assert best >= float(forms.expected_return(world, reward, policy))


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_the_soft_optimum_solves_its_equation_and_its_derivative_is_exact(temperature):
    """In float64, against finite differences."""
    with jax.enable_x64(True):
        world = jax.tree.map(lambda x: x.astype(jnp.float64), make_world("two_ways"))
        weight = jax.random.normal(jax.random.key(0), (2, world.num_cells, 4), jnp.float64)

        def soft(penalties):
            return forms.soft_optimum(world, forms.agent_reward(world, penalties), temperature, 2000)

        def score(penalties):
            return jnp.sum(weight * soft(penalties).policy)

        penalties = 0.2 * jax.random.dirichlet(jax.random.key(1), jnp.ones(world.num_cells, jnp.float64))
        step = 1e-6 * jnp.eye(world.num_cells)
        differences = jax.jit(jax.vmap(lambda d: (score(penalties + d) - score(penalties - d)) / 2e-6))(step)
        slope = jax.grad(score)(penalties)
        assert float(soft(penalties).residual) < 1e-6
        assert float(jnp.abs(slope).max()) > 0.1
        np.testing.assert_allclose(slope, differences, rtol=1e-3, atol=1e-3 * float(jnp.abs(slope).max()))


@pytest.mark.parametrize("role", ["agent", "designer"])
def test_played_episodes_earn_the_exact_payoffs_in_both_seats(role):
    """On average, cost included; the sum of both, so that no payoff can stand for another."""
    experiment = small()
    world = make_world("two_ways")
    solver = make_solver(experiment, world)
    game = solver.game
    penalties = game.priors["designer"](jax.random.key(0))
    policy = solver.algorithm.outcome(GameState(None, (), {}))(penalties)["agent"]
    profile = {"designer": penalties, "agent": policy}
    seat = game.seats[role]
    outputs = jnp.log(game.seats["designer"].rows(penalties))[0]

    @jax.jit
    def earned(key):
        other = profile["designer" if role == "agent" else "agent"]

        def step(carry, key):
            state, alive = carry
            answer = outputs
            if role == "agent":
                answer = jax.random.categorical(key, jnp.log(policy[seat.observed(state)]))
            state, paid, ended, _ = seat.step(jax.random.fold_in(key, 1), state, answer)
            return (state, alive & ~ended), {name: jnp.where(alive, value, 0.0) for name, value in paid.items()}

        start = (seat.reset(jax.random.fold_in(key, 0), other, game.payoffs["target"].play), jnp.array(True))
        paid = jax.lax.scan(step, start, jax.random.split(key, game.horizon))[1]
        return {name: jnp.sum(value) for name, value in paid.items()}

    found = jax.vmap(earned)(jax.random.split(jax.random.key(1), 4000))
    for name, payoff in game.payoffs.items():
        values = np.asarray(found[name], np.float64)
        standard = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - float(payoff.exact(profile))) < 4.5 * standard + 1e-5, name


def test_the_sampled_hypergradient_has_no_bias():
    """Through the agent's answer and through the designer's own cost."""
    experiment = small(follower__temperature=0.05, beta=2.0)
    solver = make_solver(experiment, make_world("two_ways"))
    task = leader_task(solver.game, solver.formulation, experiment.game, None)
    outcome = solver.algorithm.outcome(GameState(None, (), {}))
    outputs = jax.random.normal(jax.random.key(1), (1, 13))
    estimate = make_estimate(task, "agent", lambda x: x, 8)

    @jax.jit
    def slopes(keys):
        slope = jax.grad(lambda x, key: estimate(key, x, outcome)[0])
        return jax.lax.map(lambda key: slope(outputs, key)[0], keys, batch_size=256)

    exact = np.asarray(jax.jit(jax.grad(lambda x: task.payoff(outcome(task.seat.table(x)))))(outputs))[0]
    found = np.asarray(slopes(jax.random.split(jax.random.key(2), 4096)), np.float64)
    standard = found.std(0, ddof=1) / np.sqrt(len(found))
    assert np.abs(exact).max() > 20 * np.median(standard)
    assert np.abs((found.mean(0) - exact) / standard).max() < 4.5


@pytest.mark.parametrize(
    ("scheme", "learner"),
    [
        (None, "evolution"),
        (None, "ppo"),
        ("inner_outer", "hyper_policy_gradient"),
    ],
)
def test_every_learner_leads(scheme, learner):
    final = jax.jit(lambda key: make_train(small(scheme, learner))(key).final)(jax.random.key(0))
    metrics = jax.device_get(final.metrics)
    assert metrics["finite"]
    assert metrics["regret"] >= 0.0
    assert metrics["follower_gap"] >= -1e-5
    assert 0.0 <= metrics["penalties"] <= 0.2 + 1e-5


def test_the_designer_learns_to_lead_the_agent_past_its_target():
    """From 16 episodes a step; without a penalty half of the agents take the other way."""
    experiment = small(leader__num_updates=60, leader__num_episodes=16, beta=0.2, follower__temperature=0.02)
    train = make_train(experiment)
    metrics = jax.jit(jax.vmap(lambda key: train(key).final.metrics))(jax.random.split(jax.random.key(0), 2))
    assert float((metrics["exact_return"] - metrics["uniform_return"]).min()) > 0.1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"beta": -1.0}, "beta: must be at least 0"),
        ({"follower__temperature": 0.0}, "follower.temperature: must be positive"),
        ({"follower__max_iterations": 0}, "follower.max_iterations: must be a whole number"),
        ({"response": "greedy"}, "response: must be sampled in reward shaping"),
    ],
)
def test_bad_numbers_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        check(preset("fast", "reward_shaping", None, "gradient").replace(**changes))


def test_no_scheme_answers_by_a_best_action():
    with pytest.raises(InputError, match="scheme: exact has no closed form for the follower of reward_shaping"):
        preset("fast", "reward_shaping", "exact")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"moves": 0.5 * np.eye(4)}, "moves: must be probabilities that sum to 1"),
        ({"goals": np.array([3.0, 50.0])}, "goals: must be numbers of cells, 0 to 11"),
        ({"target": np.zeros(3)}, r"target: must have shape \[12\]"),
        ({"discount": 1.0}, r"discount: must be in \[0, 1\)"),
        ({"limit": 0.0}, "limit: must be positive"),
        ({"horizon": 0}, "horizon: must be at least 1"),
        ({"neighbours": np.zeros(12)}, r"neighbours: must have shape \[S, D\]"),
    ],
    ids=str,
)
def test_a_world_that_cannot_be_played_is_refused_with_its_field(changes, says):
    with pytest.raises(InputError, match=says):
        check_world(make_world("two_ways").replace(**changes), "")


def test_the_programme_is_three_programs_of_nine_settings():
    made = cells(functools.partial(preset, "hpgd"), None)
    assert [cell.name for cell in made] == ["hyper_policy_gradient", "gradient", "evolution"]
    for cell in made:
        check(cell.experiment)
        assert len(CellPlan(cell.name, cell.experiment, tuple(Axis(*axis) for axis in cell.axes)).points()) == 9


def test_the_programmes_table_and_figure_are_those_of_its_runs(tmp_path, monkeypatch):
    for name, values in (("TEMPERATURES", (0.003,)), ("BETAS", (1.0, 5.0))):
        monkeypatch.setattr(shown, name, values)
    axes = (Axis("follower.temperature", (0.003,)), Axis("beta", (1.0, 5.0)))
    plans = tuple(CellPlan(name, small(None, name), axes) for name in ("hyper_policy_gradient", "gradient"))
    out = run_plan(Plan(plans, num_seeds=2), tmp_path / "run")
    paths = shown.write(load(out), out)
    assert [path.suffix for path in paths] == [".md", ".json", ".svg", ".png"]
    rows = json.loads(paths[1].read_text())["rows"]
    own = pl.read_parquet(out / "gradient" / "results.parquet").filter(pl.col("beta") == 5.0)
    (row,) = [row for row in rows if (row["beta"], row["learner"]) == (5.0, "gradient")]
    assert row["mean"] == pytest.approx(own["exact_return"].mean(), abs=1e-5)  # the last of two records
    assert row["published"] == {"value": 0.32, "spread": 0.0}
    assert "0.95 ± 0.002" in paths[0].read_text()


def test_a_run_of_the_command_line_keeps_its_world_and_says_what_it_measured(tmp_path):
    words = ["reward_shaping", "--preset", "fast", "--env", "two_ways", "--num-seeds", "2", "--num-records", "2"]
    words += [
        "--leader.num-updates",
        "4",
        "--leader.num-episodes",
        "4",
        "--follower.max-iterations",
        "60",
        "--no-report",
    ]
    main(["train", *words, "--out", str(tmp_path / "run")])
    (cell,) = load(tmp_path / "run").cells.values()
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), cell.world, make_world("two_ways")))
    agent = cell.agent(seed=1)
    assert agent.acting == ["agent"]
    assert int(agent.act(jax.random.key(0), 3)) in range(4)
    assert agent.play(jax.random.key(0), 5).shape == (5,)
    assert {"beta", "target_return", "penalties", "cost"} <= set(agent.results)
