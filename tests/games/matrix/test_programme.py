"""Matrix games from the command line to the programme: what is refused, what is learned, what is written."""

import functools
import json

import jax
import numpy as np
import polars as pl
import pytest
from conftest import tiny_experiment

import sbmrl
from sbmrl.core.experiment import compose
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program, make_train
from sbmrl.games.matrix import programme_report as shown
from sbmrl.games.matrix.catalogue import TWELVE_GAMES
from sbmrl.games.matrix.options import ReplyOptions
from sbmrl.games.matrix.programme_cells import GIVEN_UP, cells, demonstrations
from sbmrl.games.matrix.q_learning import QLearningOptions
from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions, SoftOptions
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.ppo import PPOOptions
from sbmrl.schemes.exact import ExactOptions
from sbmrl.schemes.implicit import ImplicitOptions
from sbmrl.schemes.inner_outer import InnerOuterOptions
from sbmrl.sweep.execute import Engine, all_runs
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import CellPlan, Plan
from sbmrl.sweep.run import run_plan


@pytest.mark.parametrize("learner", ["ppo", "policy_gradient", "natural_policy_gradient", "evolution", "gradient"])
@pytest.mark.parametrize("scheme", ["contextual", "inner_outer", "exact"])
def test_every_scheme_and_learner_fits_a_matrix_game(scheme, learner):
    experiment = check(preset("oracles_followers", "matrix_game", scheme, learner))
    assert compose(experiment).leader.name == learner
    assert experiment.env == "prisoners_dilemma"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheme": ImplicitOptions(SoftOptions())}, "scheme: implicit has no closed form for the follower of matrix"),
        ({"data": "aggregated"}, "data: has no meaning here; data belongs to the formulations pal, mal"),
        ({"context": "probabilities"}, "context: must be answers for a leader by ppo, which learns from its answers"),
        (
            {"follower": QLearningOptions()},
            "follower: must learn by ppo or policy_gradient or natural_policy_gradient or gradient in",
        ),
        ({"scheme": ExactOptions(PlanOptions("soft"))}, "matrix_game with exact needs ReplyOptions, got Plan"),
        ({"scheme": ExactOptions(ConditionalsOptions(num_transitions=5))}, "needs ReplyOptions, got Conditionals"),
        ({"scheme": InnerOuterOptions(QLearningOptions(num_episodes=0))}, "follower.num_episodes"),
        ({"scheme": InnerOuterOptions(QLearningOptions(exploration=1.5))}, "follower.exploration"),
        ({"leader": EvolutionOptions(num_episodes=-1)}, "leader.num_episodes: must be a whole number of at least 0"),
        ({"leader": EvolutionOptions()}, "context: must be probabilities for a leader by evolution, which learns from"),
        (
            {"leader": EvolutionOptions(), "context": "probabilities", "hidden_queries": True},
            "hidden_queries: must be False unless the leader plays",
        ),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_a_matrix_game_are_refused(changes, says):
    experiment = preset("oracles_followers", "matrix_game")
    with pytest.raises(InputError, match=says):
        check(experiment.replace(**changes))


def test_model_based_rl_has_no_paid_queries_and_always_a_clock():
    with pytest.raises(InputError, match="paid_queries belongs to the formulations matrix_game"):
        preset("fast", "mal").replace(paid_queries=True)
    with pytest.raises(InputError, match=r"follower.clock belongs to the scheme exact with matrix_game"):
        preset("fast", "mal", "exact").replace(follower__clock=False)
    with pytest.raises(InputError, match="follower: mal with exact needs PlanOptions, got ReplyOptions"):
        check(preset("fast", "mal", "exact").replace(follower=ReplyOptions(clock=False)))
    with pytest.raises(InputError, match="world: must be a matrix game for matrix_game, got TabularMDP"):
        sbmrl.make_program(tiny_experiment("matrix_game"), sbmrl.make_world("simple_mdp_2"))


@pytest.mark.parametrize(
    ("scheme", "learner", "changes"),
    [
        ("contextual", "gradient", {"parametrization": "network"}),
        ("contextual", "evolution", {"num_episodes": 2}),
        ("exact", "ppo", {}),
        ("exact", "evolution", {"num_episodes": 0}),
        ("inner_outer", "gradient", {}),
        ("inner_outer", "evolution", {"num_episodes": 2}),
    ],
)
def test_a_matrix_game_runs_with_it(scheme, learner, changes):
    experiment = tiny_experiment("matrix_game_column", scheme, learner, env="prisoners_dilemma_small_memory")
    context = "probabilities" if changes.get("num_episodes") == 0 else experiment.game.context
    experiment = experiment.replace(context=context, **{f"leader__{name}": value for name, value in changes.items()})
    metrics = jax.jit(make_train(experiment))(jax.random.key(0)).final.metrics
    assert bool(metrics["finite"])
    assert float(metrics["optimal_return"]) == pytest.approx(3.5)
    if scheme == "exact":
        assert float(metrics["follower_gap"]) == pytest.approx(0.0, abs=1e-5)
        assert float(metrics["regret"]) >= -1e-5


@pytest.mark.xdist_group("hidden_query")  # so that one worker compiles what both have in common
@pytest.mark.parametrize("hidden", [False, True])
def test_ppo_finds_the_optimum_of_the_hidden_query_game_unless_its_queries_are_hidden(hidden):
    """Action 0 is dominant but costs all of the follower's good will: 7.5 with the queries, −2.5 without."""
    experiment = preset("fast", "matrix_game").replace(
        env="hidden_query", hidden_queries=hidden, num_records=2, num_random_leaders=8
    )
    leader = {"total_steps": 40_000, "num_environments": 32, "num_steps": 40, "minibatch_size": 1280}
    follower = {"total_steps": 25_000, "actor_hidden": (16,), "critic_hidden": (16,)}
    experiment = experiment.replace(
        **{f"leader__{name}": value for name, value in leader.items()},
        **{f"follower__{name}": value for name, value in follower.items()},
    )
    # In parts, of which all but the leader's learning are the same program in both cases, compiled once.
    metrics = Engine(experiment, make_program(experiment), width=4).run(all_runs(4)).metrics
    np.testing.assert_allclose(metrics["exact_return"], -2.5 if hidden else 7.5, atol=1e-4)
    np.testing.assert_allclose(metrics["follower_gap"], 0.0, atol=1e-4)
    assert bool((metrics["optimal"] != hidden).all())


def recipe(name):
    """(formulation, scheme, learner) -> experiment of a preset, as the command line hands it to the programme."""
    return functools.partial(preset, name)


def test_the_programme_has_every_game_with_both_followers_and_every_condition():
    found = cells(recipe("oracles_followers"))
    assert len({cell.name for cell in found}) == len(found) == 2 * 12 + 11
    assert {cell.experiment.env for cell in found[:12]} == set(TWELVE_GAMES)
    for cell in found:
        check(cell.experiment)
    given_up = [one.experiment for one in demonstrations(recipe("oracles_followers"))]
    for name in ("hidden_queries", "phase_told", "paid_queries"):
        assert any(getattr(experiment.game, name) for experiment in given_up)
    assert not all(experiment.game.follower_reset for experiment in given_up)
    own = cells(recipe("fast"), "games/mine.json")[0]
    assert (own.name, own.experiment.env) == ("games_mine.json-contextual", "games/mine.json")
    leaders = [experiment.leader for experiment in given_up]
    assert any(isinstance(leader, PPOOptions) and leader.discount < 1.0 for leader in leaders)


def test_steps_are_counted_until_a_share_of_the_seeds_is_at_the_optimum():
    returns = np.array([[0.0, 0.0, 0.0, 0.0], [6.0, 5.95, 0.0, 0.0], [6.0, 6.0, 6.0, 5.8], [6.0, 6.0, 6.0, 6.0]])
    curve = shown.Curve(np.array([100, 200, 300, 400]), returns)
    assert shown.steps_to(curve, 6.0, 0.5) == 200
    assert shown.steps_to(curve, 6.0, 0.9) == 400
    assert shown.steps_to(curve, 15.0, 0.5) is None


HERO = "hero_one_shot"


def test_the_programmes_tables_and_figure_are_those_of_its_runs(tmp_path):
    static = demonstrations(recipe("fast"))[0].static
    plans = (  # the first one stands for a demonstration, too
        CellPlan("hero-contextual", tiny_experiment("matrix_game", "contextual", "gradient", env=HERO), (), static),
        CellPlan("hero-q_learning", tiny_experiment("matrix_game", "inner_outer", env=HERO), ()),
    )
    out = run_plan(Plan(plans, num_seeds=3), tmp_path / "run")
    paths = shown.write(load(out), out)
    assert [path.suffix for path in paths] == [".md", ".json", ".svg", ".png"]
    assert all(path.stat().st_size > 100 for path in paths)
    data = json.loads(paths[1].read_text())
    results = pl.read_parquet(out / "results.parquet")
    for name, cell in (("contextual", "hero-contextual"), ("q_learning", "hero-q_learning")):
        own = pl.read_parquet(out / cell / "results.parquet")
        told = data["games"][0][name]
        assert told["leader_return"]["value"] == pytest.approx(own["exact_return"].mean())
        assert told["optimum"] == 1.5
    contextual, inner = (data["games"][0][name]["steps"] for name in ("contextual", "q_learning"))
    assert contextual == 64 + 4  # two updates of 4 · 8 steps of the follower, then four exact payoffs of the leader
    assert inner == 64  # two updates of 4 · 8 steps, answers included
    assert data["demonstrations"][0]["given_up"] == dict(static)[GIVEN_UP]
    assert set(results["env"]) == {HERO}
    assert not {"theorem_1_world", "alpha", "loss", "agent_reward"} & set(results.columns)
    assert {"follower_return", "best_response_return", "follower_gap_clock"} <= set(results.columns)
    agent = load(out / "hero-contextual").agent(seed=1)
    assert agent.acting == ["row", "column"]
    assert int(agent.act(jax.random.key(0), 0)) in (0, 1)
    assert int(agent.act(jax.random.key(0), 0, role="column")) in (0, 1)
    assert agent.play(jax.random.key(0), 5).shape == (5,)
    with pytest.raises(InputError, match="role"):
        agent.act(jax.random.key(0), 0, role="policy")
