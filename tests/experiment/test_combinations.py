"""Formulation × scheme × learner: what fits together runs and is finite, and α = 1 is MAL in every scheme."""

import dataclasses
from typing import Any, cast

import jax
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core.experiment import SCHEMES
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.core.options import (
    LEARNERS,
    EvolutionOptions,
    ExactOptions,
    FitOptions,
    GradientOptions,
    Optimizer,
    PPOOptions,
)
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_train
from sbmrl.sweep.execute import seed_keys

MODEL_LEADS = [
    ("mal", "world"),
    ("mal_agent_reward", "world"),
    ("mal_agent_reward", "model"),
    ("mal_random_noise", "world"),
]


def run(experiment, **hyper):
    result = jax.jit(make_train(experiment))(jax.random.key(3), hyper)
    metrics = result.final.metrics
    assert bool(metrics["finite"])
    assert float(metrics["regret"]) >= -1e-3
    if FORMULATIONS[experiment.formulation].kind == "model_based":
        for bound in ("theorem_1_world", "theorem_1_model", "theorem_2"):
            assert float(metrics[bound]) >= float(metrics["regret"]) - 1e-2
    return result


def every(scheme, learner):
    """The experiments of a scheme and a learner whose model leads."""
    for formulation, reward in MODEL_LEADS:
        yield tiny_experiment(formulation, scheme, learner, agent_reward=reward)


@pytest.mark.parametrize(
    ("scheme", "learner"),
    [("inner_outer", "gradient"), ("exact", "gradient"), ("implicit", "gradient"), ("exact", "evolution")],
)
def test_alpha_one_is_mal_in_every_scheme(scheme, learner):
    mal, *repaired = (run(experiment, alpha=1.0) for experiment in every(scheme, learner))
    for result in repaired:
        np.testing.assert_allclose(result.final.profile["model"], mal.final.profile["model"], atol=1e-6)
        np.testing.assert_allclose(result.final.profile["policy"], mal.final.profile["policy"], atol=1e-6)


@pytest.mark.parametrize(
    ("scheme", "learner"),
    # PPO in the contextual scheme is tested elsewhere; plain policy gradient is PPO with other options.
    [(s, x) for s in SCHEMES for x in LEARNERS if (s, x) != ("contextual", "ppo") and x != "policy_gradient"],
)
def test_pal_runs_with_every_scheme_and_learner(scheme, learner):
    run(tiny_experiment("pal", scheme, learner))


@pytest.mark.parametrize(
    ("scheme", "learner", "changes"),
    [
        ("contextual", "gradient", {}),
        ("contextual", "evolution", {}),
        ("exact", "ppo", {"follower": ExactOptions(tie_breaking="pessimistic")}),
        ("implicit", "ppo", {}),
        ("inner_outer", "ppo", {"unroll": 1}),
        ("inner_outer", "gradient", {"follower": "ppo"}),
        ("exact", "gradient", {"follower": ExactOptions(backup="soft")}),
    ],
    ids=str,
)
def test_mal_with_agent_reward_runs_with_the_other_pairs(scheme, learner, changes):
    if changes.get("follower") == "ppo":
        changes = {"follower": tiny_experiment("mal").follower, "agent_reward": "model", "unroll": 0}
    run(tiny_experiment("mal_agent_reward", scheme, learner, **changes))


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_every_formulation_runs_in_the_inner_outer_loop(formulation):
    run(tiny_experiment(formulation, "inner_outer"))


@pytest.mark.parametrize("formulation", ["pal", "mal"])
def test_the_practical_loop_aggregates_its_data(formulation):
    experiment = dataclasses.replace(preset("practical", formulation), num_records=2, num_eval_episodes=2)
    leader = dataclasses.replace(experiment.leader, num_updates=4)
    sizes = {"num_initial_transitions": 300, "num_new_transitions": 50, "buffer_size": 400, "num_random_leaders": 2}
    experiment = dataclasses.replace(experiment, leader=leader, **sizes)
    program_state = []

    from sbmrl.experiment.program import make_program  # the state behind the result

    program = make_program(experiment)
    state = program.init(seed_keys(0, 1)[0], {})
    assert float(state.data["data"].sum()) == 300
    for number in range(2):
        state, _ = jax.jit(program.stages[0].record)(seed_keys(0, 1)[0], {}, state, number)
        program_state.append(float(state.data["data"].sum()))
    assert program_state == pytest.approx([400, 400], rel=1e-5)  # 4 × 50 more, old ones faded to keep the buffer's size
    run(experiment)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheme": "inner_outer"}, None),
        ({"scheme": "inner_outer", "unroll": 0}, "holds the response fixed"),
        ({"scheme": "exact"}, None),
        ({"scheme": "exact", "follower": ExactOptions()}, "which has no gradient in the model"),
        ({"scheme": "exact", "learner": "ppo"}, None),
        ({"scheme": "exact", "learner": "evolution"}, None),
        ({"scheme": "implicit", "response": "greedy"}, "which has no gradient in the model"),
        ({"scheme": "inner_outer", "unroll": 3}, None),
        ({"scheme": "inner_outer", "unroll": 0, "agent_reward": "model"}, None),
        ({"scheme": "inner_outer", "unroll": 0, "allow_void": True}, None),
        ({"scheme": "inner_outer", "learner": "evolution", "unroll": 0}, "holds the response fixed"),
    ],
    ids=str,
)
def test_a_repair_that_cannot_work_is_refused_with_the_reason(changes, says):
    changes = dict(changes)
    experiment = preset("fast", "mal_agent_reward", changes.pop("scheme"), changes.pop("learner", None))
    experiment = dataclasses.replace(experiment, **changes)
    if says is None:
        assert check(experiment) is experiment
    else:
        with pytest.raises(InputError, match=says):
            check(experiment)


@pytest.mark.parametrize(
    ("formulation", "scheme", "changes", "says"),
    [
        ("mal", "inner_outer", {"unroll": 11}, r"unroll: must be in \[0, num_inner_steps = 10\]"),
        ("mal", "inner_outer", {"unroll": -1}, "unroll"),
        ("mal", "exact", {"unroll": 1}, "unroll: must be 0 with the scheme exact"),
        ("mal", "inner_outer", {"num_inner_steps": 0}, "num_inner_steps: must be a whole number of at least 1"),
        ("mal", "inner_outer", {"follower": PPOOptions(), "unroll": 1}, "unroll: must be 0 unless"),
        ("mal", "exact", {"follower": ExactOptions(temperature=0.0)}, "follower.temperature: must be positive"),
        ("mal", "exact", {"follower": ExactOptions(num_transitions=-1)}, "follower.num_transitions"),
        ("mal", "exact", {"follower": ExactOptions(num_transitions=9)}, "must be 0 where the follower is a policy"),
        ("mal", "exact", {"follower": GradientOptions()}, "follower: mal with exact needs ExactOptions"),
        ("mal", "inner_outer", {"follower": FitOptions()}, "needs GradientOptions or PPOOptions"),
        ("mal", "exact", {"leader": EvolutionOptions(population_size=5)}, "leader.population_size: must be even"),
        ("mal", "exact", {"leader": EvolutionOptions(standard_deviation=-1.0)}, "leader.standard_deviation"),
        ("mal", "exact", {"follower": ExactOptions(backup=cast(Any, "sfot"))}, "did you mean 'soft'"),
        ("mal", "exact", {"leader": GradientOptions(parametrization=cast(Any, "tabel"))}, "did you mean 'table'"),
        ("mal", "exact", {"follower": ExactOptions("soft", "optimistic")}, "follower.tie_breaking: must be lowest"),
        ("mal", "inner_outer", {"follower": GradientOptions(optimizer="lion")}, "must not be lion"),
        ("mal", "exact", {"leader": GradientOptions(optimizer=cast(Optimizer, "adm"))}, "did you mean 'adam'"),
        ("mal", "exact", {"data": "aggregated"}, "scheme: must be inner_outer with data=aggregated"),
        ("mal", "inner_outer", {"data": "aggregated", "leader": PPOOptions()}, "leader: PPO plays for its payoff"),
        ("mal", "inner_outer", {"data": "aggregated", "buffer_size": 50}, "buffer_size: must be at least"),
        ("pessimistic_pal", "contextual", {"beta": 0.0}, "beta: must be positive"),
        ("pessimistic_pal", "contextual", {"scheme": "exact"}, "scheme: exact has no closed form"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together_are_refused(formulation, scheme, changes, says):
    with pytest.raises(InputError, match=says):
        check(dataclasses.replace(preset("fast", formulation, scheme), **changes))


def test_the_practical_preset_is_for_pal_and_mal_only():
    with pytest.raises(InputError, match="practical is for pal and mal"):
        preset("practical", "mal_random_noise")
    with pytest.raises(InputError, match="inner_outer scheme with a gradient learner"):
        preset("practical", "mal", "exact")
