"""Formulation × scheme × learner: what fits together runs and is finite, and α = 1 is MAL in every scheme."""

import functools
from typing import Any, cast

import jax
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import finish_key, make_program, make_train
from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.fit import FitOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.learners.ppo import PPOOptions
from sbmrl.sweep.execute import seed_keys

REPAIRS = [
    ("mal_agent_reward", {"agent_reward": "world"}),
    ("mal_agent_reward", {"agent_reward": "model"}),
    ("mal_random_noise", {}),
]
LEADERS = [
    name
    for name, learner in registry.learners().items()
    if learner.heard(learner.options()) and learner.kind in ("", "tabular")
]


def run(experiment):
    """Train once, and look at the numbers of the end."""
    train = make_train(experiment)
    final = jax.device_get(jax.jit(lambda key: train(key).final)(jax.random.key(3)))
    look_at(experiment, final.metrics)
    return final


def look_at(experiment, metrics):
    assert metrics["finite"]
    assert metrics["regret"] >= -1e-3
    if compose(experiment).kind.name == "tabular":
        for bound in ("theorem_1_world", "theorem_1_model", "theorem_2"):
            assert metrics[bound] >= metrics["regret"] - 1e-2


@functools.cache
def mal(scheme, learner):
    return run(tiny_experiment("mal", scheme, learner))


@pytest.mark.parametrize(("formulation", "changes"), REPAIRS, ids=str)
@pytest.mark.parametrize(
    ("scheme", "learner"),
    [
        pytest.param(*pair, marks=pytest.mark.xdist_group("mal " + "-".join(pair)))  # they share the run of mal
        for pair in (
            ("inner_outer", "gradient"),
            ("exact", "gradient"),
            ("implicit", "gradient"),
            ("exact", "evolution"),
        )
    ],
)
def test_alpha_one_is_mal_in_every_scheme(scheme, learner, formulation, changes):
    """So its regrets and bounds, functions of the profile, are mal's, which are looked at, and need no program here."""
    train = make_train(tiny_experiment(formulation, scheme, learner, alpha=1.0, **changes))

    @jax.jit
    def strategies(key):
        final = train(key).final
        return final.profile, final.params

    profile, params = jax.device_get(strategies(jax.random.key(3)))
    plain = mal(scheme, learner)
    np.testing.assert_allclose(profile["model"], plain.profile["model"], atol=1e-6)
    np.testing.assert_allclose(profile["policy"], plain.profile["policy"], atol=1e-6)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("scheme", "learner"),
    # PPO and natural policy gradient in the contextual scheme are tested elsewhere; plain policy gradient is PPO with
    # other options.
    [
        (scheme, learner)
        for scheme in registry.schemes()
        for learner in LEADERS
        if (scheme, learner) != ("contextual", "ppo")
        and learner != "hyper_policy_gradient"  # a policy that leads has no follower that draws actions
        and (learner not in ("policy_gradient", "natural_policy_gradient") or scheme == "exact")
    ],
)
def test_pal_runs_with_every_scheme_and_learner(scheme, learner):
    run(tiny_experiment("pal", scheme, learner))


@pytest.mark.parametrize(
    ("scheme", "learner", "changes"),
    [
        ("contextual", "gradient", {}),
        ("contextual", "evolution", {}),
        ("exact", "ppo", {"follower": PlanOptions(tie_breaking="pessimistic")}),
        ("implicit", "ppo", {}),
        ("inner_outer", "ppo", {"unroll": 1}),
        ("inner_outer", "gradient", {"follower": "ppo"}),
        ("exact", "gradient", {"follower": PlanOptions(backup="soft")}),
    ],
    ids=str,
)
def test_mal_with_agent_reward_runs_with_the_other_pairs(scheme, learner, changes):
    if changes.get("follower") == "ppo":
        changes = {"follower": tiny_experiment("mal").scheme.follower, "agent_reward": "model", "unroll": 0}
    run(tiny_experiment("mal_agent_reward", scheme, learner, **changes))


@pytest.mark.parametrize("scheme", registry.schemes())
def test_mal_runs_by_hyper_policy_gradient_with_every_scheme(scheme):
    run(tiny_experiment("mal", scheme, "hyper_policy_gradient"))


def test_a_model_leads_by_evolution_strategies_on_played_episodes():
    run(tiny_experiment("mal_agent_reward", "implicit", "evolution", leader__num_episodes=2, context="probabilities"))


@pytest.mark.parametrize("formulation", registry.formulations())
def test_every_formulation_runs_in_the_inner_outer_loop(formulation):
    small = {"env": "two_ways"} if formulation == "reward_shaping" else {}  # the usual one has 104 cells
    run(tiny_experiment(formulation, "inner_outer", **small))


@pytest.mark.parametrize("formulation", ["pal", "mal"])
def test_the_practical_loop_aggregates_its_data(formulation):
    sizes = {"num_initial_transitions": 300, "num_new_transitions": 50, "buffer_size": 400, "num_random_leaders": 2}
    experiment = preset("practical", formulation).replace(
        num_records=2, num_eval_episodes=2, leader__num_updates=4, **sizes
    )
    program, key = make_program(experiment), seed_keys(0, 1)[0]
    state = jax.jit(program.init)(key, {})
    assert float(state.data["data"].sum()) == 300
    (stage,), held = program.stages, []
    record = jax.jit(stage.record)
    for number in range(stage.num_records):
        state, _ = record(key, {}, state, number)
        held.append(float(state.data["data"].sum()))
    assert held == pytest.approx([400, 400], rel=1e-5)  # 2 × 50 more each, old ones faded to keep the buffer's size
    look_at(experiment, jax.device_get(jax.jit(program.finish)(finish_key(key), {}, state).metrics))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheme": "inner_outer"}, None),
        ({"scheme": "inner_outer", "unroll": 0}, "holds the response fixed"),
        ({"scheme": "exact"}, None),
        ({"scheme": "exact", "follower": PlanOptions()}, "which has no gradient in the model"),
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
    experiment = experiment.replace(**changes)
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
        ("mal", "exact", {"unroll": 1}, "unroll belongs to the scheme inner_outer"),
        ("mal", "implicit", {"unroll": 1}, "unroll belongs to the scheme inner_outer"),
        ("mal", "inner_outer", {"num_inner_steps": 0}, "num_inner_steps: must be a whole number of at least 1"),
        ("mal", "inner_outer", {"follower": PPOOptions(), "unroll": 1}, "unroll: must be 0 unless"),
        ("mal", "exact", {"follower": PlanOptions(temperature=0.0)}, "follower.temperature: must be positive"),
        ("mal", "exact", {"follower": PlanOptions(tie_tolerance=-1.0)}, "follower.tie_tolerance: must be at least 0"),
        ("pal", "exact", {"follower": ConditionalsOptions(num_transitions=-1)}, "follower.num_transitions"),
        ("mal", "exact", {"follower": ConditionalsOptions(num_transitions=9)}, "mal with exact needs PlanOptions"),
        ("mal", "exact", {"follower__num_transitions": 9}, "belongs to the scheme exact with pal"),
        ("mal", "exact", {"follower": GradientOptions()}, "follower: mal with exact needs PlanOptions"),
        ("mal", "contextual", {"follower": GradientOptions()}, "parametrization: must be .network., a table cannot be"),
        (
            "pal",
            "contextual",
            {"follower": PPOOptions()},
            "follower: must learn by gradient or fit in pal with contextual",
        ),
        (
            "mal",
            "inner_outer",
            {"follower": FitOptions()},
            "follower: must learn by ppo or policy_gradient or",
        ),
        ("mal", "exact", {"leader": FitOptions()}, "leader: must learn by a learner that can lead, got fit"),
        ("mal", "exact", {"leader": EvolutionOptions(population_size=5)}, "leader.population_size: must be even"),
        ("mal", "exact", {"leader": EvolutionOptions(standard_deviation=-1.0)}, "leader.standard_deviation"),
        ("mal", "exact", {"follower": PlanOptions(backup=cast(Any, "sfot"))}, "did you mean 'soft'"),
        ("mal", "exact", {"leader": GradientOptions(parametrization=cast(Any, "tabel"))}, "did you mean 'table'"),
        ("mal", "exact", {"follower": PlanOptions("soft", "optimistic")}, "follower.tie_breaking: must be lowest"),
        (
            "mal",
            "exact",
            {"follower": PlanOptions("hard", temperature=2.0)},
            "follower.temperature: must be 0.1 with hard",
        ),
        (
            "mal",
            "inner_outer",
            {"follower": GradientOptions(optimizer="lion")},
            "unroll: must be 0 .* lion is a sign",
        ),
        ("mal", "exact", {"leader": GradientOptions(optimizer=cast(Any, "adm"))}, "did you mean 'adam'"),
        ("mal", "exact", {"data": "aggregated"}, "scheme: must be inner_outer with data=aggregated"),
        (
            "mal",
            "inner_outer",
            {"data": "aggregated", "leader": PPOOptions(), "context": "answers"},
            "leader: ppo plays for its payoff",
        ),
        ("mal", "inner_outer", {"data": "aggregated", "buffer_size": 50}, "buffer_size: must be at least"),
        ("mal", "inner_outer", {"buffer_size": 50}, "buffer_size: must be 100000 unless data is aggregated"),
        ("mal", "contextual", {"context": "probabilities"}, "context: must be answers for a leader by ppo"),
        ("pal", "contextual", {"response": "sampled"}, "response: must be greedy where the follower is a model"),
        ("pessimistic_pal", "contextual", {"beta": 0.0}, "beta: must be positive"),
        ("mal", "contextual", {"alpha": 0.5}, "alpha belongs to the formulations mal_agent_reward"),
        ("mal_random_noise", "contextual", {"alpha": 1.5}, r"alpha: must be in \[0, 1\]"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together_are_refused(formulation, scheme, changes, says):
    with pytest.raises(InputError, match=says):
        check(preset("fast", formulation, scheme).replace(**changes))


def test_a_follower_without_a_closed_form_is_refused_by_the_schemes_that_need_one():
    for scheme in ("exact", "implicit"):
        with pytest.raises(
            InputError, match=f"scheme: {scheme} has no closed form for the follower of pessimistic_pal"
        ):
            preset("fast", "pessimistic_pal", scheme)


def test_the_practical_preset_is_for_pal_and_mal_only():
    with pytest.raises(InputError, match="practical is for pal and mal"):
        preset("practical", "mal_random_noise")
    with pytest.raises(InputError, match="inner_outer scheme with a gradient learner"):
        preset("practical", "mal", "exact")
