"""Matrix games from the command line to the programme: what is refused, what is learned, what is written."""

import dataclasses
import json

import jax
import numpy as np
import polars as pl
import pytest
from conftest import tiny_experiment

import sbmrl
from sbmrl.core.options import EvolutionOptions, ExactOptions, PPOOptions, QLearningOptions, learner_name
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import default_preset, preset
from sbmrl.experiment.program import make_train
from sbmrl.games.matrix import programme as oracles_followers
from sbmrl.games.matrix import programme_report as shown
from sbmrl.games.matrix.catalogue import TWELVE_GAMES
from sbmrl.sweep.load import load
from sbmrl.sweep.plan import CellPlan, Plan
from sbmrl.sweep.run import run_plan


@pytest.mark.parametrize("learner", ["ppo", "policy_gradient", "evolution", "gradient"])
@pytest.mark.parametrize("scheme", ["contextual", "inner_outer", "exact"])
def test_every_scheme_and_learner_fits_a_matrix_game(scheme, learner):
    experiment = check(preset("oracles_followers", "matrix_game", scheme, learner))
    assert learner_name(experiment.leader) == learner
    assert experiment.env == "prisoners_dilemma"
    assert default_preset("matrix_game") == "oracles_followers"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheme": "implicit"}, "scheme: must not be implicit in a matrix game"),
        ({"data": "aggregated"}, "scheme: must be inner_outer with data=aggregated"),
        ({"context": "probabilities"}, "context: must be answers for a leader by policy gradient"),
        ({"follower": QLearningOptions()}, "follower: matrix_game with contextual needs PPOOptions"),
        ({"scheme": "exact", "follower": ExactOptions("soft")}, "follower.backup: must be hard"),
        ({"scheme": "exact", "follower": ExactOptions(num_transitions=5)}, "follower.num_transitions: must be 0"),
        ({"scheme": "inner_outer", "follower": QLearningOptions(num_episodes=0)}, "follower.num_episodes"),
        ({"scheme": "inner_outer", "follower": QLearningOptions(exploration=1.5)}, "follower.exploration"),
        ({"leader": EvolutionOptions(num_episodes=-1)}, "leader.num_episodes: must be a whole number of at least 0"),
        ({"leader": EvolutionOptions()}, "context: must be probabilities for a leader of exact payoffs"),
        (
            {"leader": EvolutionOptions(), "context": "probabilities", "hidden_queries": True},
            "hidden_queries: must be False unless the leader plays",
        ),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_a_matrix_game_are_refused(changes, says):
    experiment = preset("oracles_followers", "matrix_game")
    if changes.get("scheme") == "implicit":
        changes = changes | {"follower": sbmrl.ImplicitOptions()}
    with pytest.raises(InputError, match=says):
        check(dataclasses.replace(experiment, **changes))


def test_model_based_rl_has_no_paid_queries_and_always_a_clock():
    with pytest.raises(InputError, match="paid_queries: must be False outside matrix games"):
        check(dataclasses.replace(preset("fast", "mal"), paid_queries=True))
    with pytest.raises(InputError, match=r"follower.clock: must be True outside matrix games"):
        check(dataclasses.replace(preset("fast", "mal", "exact"), follower=ExactOptions(clock=False)))
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
    context = "probabilities" if changes.get("num_episodes") == 0 else experiment.context
    leader = dataclasses.replace(experiment.leader, **changes)
    experiment = dataclasses.replace(experiment, leader=leader, context=context)
    metrics = jax.jit(make_train(experiment))(jax.random.key(0)).final.metrics
    assert bool(metrics["finite"])
    assert float(metrics["optimal_return"]) == pytest.approx(3.5)
    if scheme == "exact":
        assert float(metrics["follower_gap"]) == pytest.approx(0.0, abs=1e-5)
        assert float(metrics["regret"]) >= -1e-5


@pytest.mark.parametrize("hidden", [False, True])
def test_ppo_finds_the_optimum_of_the_hidden_query_game_unless_its_queries_are_hidden(hidden):
    """Action 0 is dominant but costs all of the follower's good will: 7.5 with the queries, −2.5 without."""
    experiment = dataclasses.replace(
        preset("fast", "matrix_game"), env="hidden_query", hidden_queries=hidden, num_records=2, num_random_leaders=8
    )
    sizes = {"num_environments": 32, "num_steps": 40, "minibatch_size": 1280}
    leader = dataclasses.replace(experiment.leader, total_steps=40_000, **sizes)
    follower = dataclasses.replace(experiment.follower, total_steps=25_000, actor_hidden=(16,), critic_hidden=(16,))
    experiment = dataclasses.replace(experiment, leader=leader, follower=follower)
    final = jax.jit(jax.vmap(make_train(experiment)))(jax.random.split(jax.random.key(0), 4)).final
    np.testing.assert_allclose(final.metrics["exact_return"], -2.5 if hidden else 7.5, atol=1e-4)
    np.testing.assert_allclose(final.metrics["follower_gap"], 0.0, atol=1e-4)
    assert bool((final.metrics["optimal"] != hidden).all())


def test_the_programme_has_every_game_with_both_followers_and_every_condition():
    cells = oracles_followers.cells("oracles_followers")
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 12 + 11
    assert {cell.experiment.env for cell in cells[:12]} == set(TWELVE_GAMES)
    for cell in cells:
        check(cell.experiment)
    given_up = [one.experiment for one in oracles_followers.demonstrations("oracles_followers")]
    for name in ("hidden_queries", "phase_told", "paid_queries"):
        assert any(getattr(experiment, name) for experiment in given_up)
    assert not all(experiment.follower_reset for experiment in given_up)
    own = oracles_followers.cells("fast", ("games/mine.json",))[0]
    assert (own.name, own.experiment.env) == ("games_mine.json-contextual", "games/mine.json")
    leaders = [experiment.leader for experiment in given_up]
    assert any(isinstance(leader, PPOOptions) and leader.discount < 1.0 for leader in leaders)


def test_steps_are_counted_until_a_share_of_the_seeds_is_at_the_optimum():
    returns = np.array([[0.0, 0.0, 0.0, 0.0], [6.0, 5.95, 0.0, 0.0], [6.0, 6.0, 6.0, 5.8], [6.0, 6.0, 6.0, 6.0]])
    curve = shown.Curve(np.array([100, 200, 300, 400]), returns)
    assert shown.steps_to(curve, 6.0, 0.5) == 200
    assert shown.steps_to(curve, 6.0, 0.9) == 400
    assert shown.steps_to(curve, 15.0, 0.5) is None


def test_the_programmes_tables_and_figure_are_those_of_its_runs(tmp_path, monkeypatch):
    one = oracles_followers.demonstrations("fast")[0]._replace(name="hero-contextual")
    tiny = {"num_seeds": 3}
    experiments = {
        "hero-contextual": tiny_experiment("matrix_game", env="hero"),
        "hero-q_learning": tiny_experiment("matrix_game", "inner_outer", env="hero"),
    }
    monkeypatch.setattr(shown, "demonstrations", lambda name: [one])
    cells = tuple(CellPlan(name, experiment, ()) for name, experiment in experiments.items())
    out = run_plan(Plan(cells, **tiny), tmp_path / "run")
    paths = shown.write(load(out), "fast", out)
    assert [path.suffix for path in paths] == [".md", ".json", ".svg", ".png"]
    assert all(path.stat().st_size > 100 for path in paths)
    data = json.loads(paths[1].read_text())
    results = pl.read_parquet(out / "results.parquet")
    for name, cell in (("contextual", "hero-contextual"), ("q_learning", "hero-q_learning")):
        own = pl.read_parquet(out / cell / "results.parquet")
        told = data["games"][0][name]
        assert told["leader_return"]["value"] == pytest.approx(own["exact_return"].mean())
        assert told["optimum"] == 15.0
    contextual, inner = (data["games"][0][name]["steps"] for name in ("contextual", "q_learning"))
    assert contextual == 128  # two updates of 4 · 8 steps of each side
    assert inner == 64
    assert data["demonstrations"][0]["given_up"] == one.told
    assert set(results["env"]) == {"hero"}
    assert "theorem_1_world" not in results.columns
    assert {"follower_return", "best_response_return", "follower_gap_clock"} <= set(results.columns)
    agent = load(out / "hero-contextual").agent(seed=1)
    assert agent.role == "row"
    assert int(agent.act(jax.random.key(0), 0)) in (0, 1)
    assert int(agent.act(jax.random.key(0), 0, role="column")) in (0, 1)
    assert agent.play(jax.random.key(0), 5).shape == (5,)
    with pytest.raises(InputError, match="role"):
        agent.act(jax.random.key(0), 0, role="policy")
