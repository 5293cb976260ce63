"""Options: what can be set of an experiment, under which names, and what belongs to another part."""

import dataclasses
import itertools
import json
import re
import typing

import numpy as np
import pytest

from sbmrl import InputError, PPOOptions
from sbmrl.cli import main
from sbmrl.commands.parsing import parse_sweep, parse_train
from sbmrl.core import registry
from sbmrl.core.belonging import belonging
from sbmrl.core.experiment import compose, from_dict, to_dict
from sbmrl.core.options import settings, static_fields, traced_fields, with_traced
from sbmrl.experiment.checks import check, unused
from sbmrl.experiment.presets import preset, presets_of


def composed():
    """Every experiment that a preset makes of a formulation, a scheme and a learner, and that can run."""
    for row in registry.formulations().values():
        for kind in registry.kinds_of(row):
            for name, scheme, learner in itertools.product(presets_of(kind), registry.schemes(), registry.learners()):
                try:
                    yield check(preset(name, row.name, scheme, learner, kind.env))
                except InputError:
                    continue


EXPERIMENTS = list(composed())


def test_every_combination_survives_a_trip_through_json():
    assert len(EXPERIMENTS) > 60
    for experiment in EXPERIMENTS:
        assert from_dict(json.loads(json.dumps(to_dict(experiment)))) == experiment


def test_no_two_fields_of_an_experiment_have_one_name():
    for experiment in EXPERIMENTS:
        names = [setting.name for setting in settings(experiment)]
        assert len(set(names)) == len(names)


def test_floats_are_traced_and_everything_else_is_static():
    experiment = preset("fast", "mal_random_noise")
    traced, static = traced_fields(experiment), static_fields(experiment)
    assert {"alpha", "leader.learning_rate", "follower.entropy_coefficient"} <= set(traced)
    assert {"loss": str, "num_leader_pool": int, "phase_told": bool}.items() <= static.items()
    assert not set(traced) & set(static)
    changed = with_traced(experiment, {"alpha": np.ones(3), "follower.discount": 0.5})
    assert changed.game.alpha.shape == (3,)
    assert changed.scheme.follower.discount == 0.5
    with pytest.raises(InputError, match="'alfa' is unknown; did you mean 'alpha'"):
        with_traced(experiment, {"alfa": 0.5})
    with pytest.raises(InputError, match="hyper-parameter: 'loss' is unknown"):
        with_traced(experiment, {"loss": "kl"})


def test_replace_takes_the_names_of_the_command_line():
    experiment = preset("fast", "mal_agent_reward", "inner_outer")
    changed = experiment.replace(alpha=0.25, leader__learning_rate=0.5, unroll=0, num_records=3, env="mdp_erg_det_2")
    assert (changed.game.alpha, changed.leader.learning_rate, changed.scheme.unroll) == (0.25, 0.5, 0)
    assert (changed.num_records, changed.env) == (3, "mdp_erg_det_2")
    assert changed.replace(follower=PPOOptions()).scheme.follower == PPOOptions()
    with pytest.raises(InputError, match="field: 'lose' is unknown; did you mean 'loss'"):
        experiment.replace(lose="kl")
    with pytest.raises(InputError, match="alpha: has no meaning here; alpha belongs to the formulations mal_agent"):
        preset("fast", "mal").replace(alpha=0.5)


def test_options_of_another_part_are_refused():
    experiment = preset("fast", "mal")
    with pytest.raises(
        InputError, match=r"game: must be RepairTabularOptions or .* for mal_random_noise, got TabularOptions"
    ):
        check(dataclasses.replace(experiment, formulation="mal_random_noise"))
    with pytest.raises(InputError, match=r"leader: must be the options of a learner \(PPOOptions, .*got dict"):
        check(dataclasses.replace(experiment, leader={}))
    with pytest.raises(InputError, match=r"scheme: must be the options of a scheme \(.*got PPOOptions"):
        check(dataclasses.replace(experiment, scheme=PPOOptions()))
    with pytest.raises(InputError, match="follower: mal with exact needs PlanOptions, got PPOOptions"):
        check(preset("fast", "mal", "exact").replace(follower=PPOOptions()))
    with pytest.raises(InputError, match="written by another version of sbmrl"):
        from_dict({"formulation": "mal", "env": "simple_mdp_2", "scheme": "contextual", "alpha": 0.5})


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("alpha", "the formulations mal_agent_reward, mal_random_noise"),
        ("beta", "the formulations pessimistic_pal, reward_shaping"),
        ("paid_queries", "the formulations matrix_game, matrix_game_column"),
        ("unroll", "the scheme inner_outer"),
        ("leader.clip_range", "the learner ppo"),
        ("follower.exploration", "the learner q_learning"),
        ("follower.num_transitions", "the scheme exact with pal"),
        ("follower.clock", "the scheme exact with matrix_game or matrix_game_column"),
        (
            "follower.max_iterations",
            "the scheme implicit with pal or mal or mal_agent_reward or mal_random_noise or omd or reward_shaping",
        ),
    ],
)
def test_a_field_knows_the_parts_that_it_belongs_to(field, says):
    assert belonging(field) == f"{field} belongs to {says}"
    assert belonging("absent") == ""


def flags(capsys, *words):
    """The options that --help names."""
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    return set(re.findall(r"--([a-z][\w.-]*)", capsys.readouterr().out))


@pytest.mark.parametrize(
    ("words", "has", "lacks"),
    [
        (
            "mal",
            {"loss", "num-leader-pool", "leader.clip-range"},
            {"alpha", "beta", "unroll", "agent-reward", "context"},
        ),
        ("mal_random_noise", {"alpha"}, {"agent-reward", "allow-void", "paid-queries", "buffer-size", "data"}),
        ("mal_agent_reward --scheme exact", {"follower.backup", "follower.temperature"}, {"follower.tie-breaking"}),
        ("pal --scheme exact", {"follower.num-transitions"}, {"follower.backup", "response", "hidden-queries"}),
        ("mal --scheme inner_outer", {"unroll", "data", "follower.optimizer"}, {"leader.clip-range", "buffer-size"}),
        ("mal --preset practical", {"unroll", "data", "buffer-size"}, {"num-leader-pool"}),
        ("mal --learner policy_gradient", {"leader.num-steps"}, {"leader.clip-range", "leader.num-epochs"}),
        ("matrix_game", {"paid-queries", "hidden-queries"}, {"loss", "data", "alpha"}),
        ("matrix_game --scheme inner_outer", {"follower.exploration"}, {"unroll", "num-inner-steps"}),
    ],
)
def test_help_shows_what_applies_and_nothing_else(capsys, words, has, lacks):
    shown = flags(capsys, "train", *words.split())
    assert has <= shown
    assert not lacks & shown


def another(setting):
    """A value of the field that is not its default."""
    if isinstance(setting.default, tuple):
        return (*setting.default, 8)
    if setting.kind is str:
        return "another"
    names = [value for value in typing.get_args(setting.kind) if value != setting.default]
    return names[0] if names else not setting.default if setting.kind is bool else setting.default + 1


def test_a_field_without_a_meaning_must_keep_its_value():
    refused = set()
    for experiment in EXPERIMENTS:
        reasons = unused(compose(experiment))
        for setting in settings(experiment):
            if setting.name in reasons:
                assert setting.value == setting.default
                with pytest.raises(InputError):
                    check(experiment.replace(**{setting.name.replace(".", "__"): another(setting)}))
                refused.add(setting.name)
    assert {"response", "hidden_queries", "buffer_size", "unroll", "follower.tie_breaking", "leader.hidden"} <= refused


def test_sweeps_go_over_schemes_and_learners_too():
    line = (
        "mal pal --preset fast --grid scheme=exact,inner_outer --grid learner=gradient,evolution --grid loss=kl,brier"
    )
    experiments, options = parse_sweep(line.split())
    found = [(e.formulation, compose(e).scheme.name, compose(e).leader.name) for e in experiments]
    assert found == list(itertools.product(("mal", "pal"), ("exact", "inner_outer"), ("gradient", "evolution")))
    assert options.grid == ("loss=kl,brier",)


def test_what_the_command_line_makes_is_what_the_preset_makes():
    for experiment in EXPERIMENTS[::7]:
        parts = compose(experiment)
        words = [experiment.formulation, "--scheme", parts.scheme.name, "--learner", parts.leader.name]
        for name in presets_of(parts.kind):
            try:
                expected = preset(name, experiment.formulation, parts.scheme.name, parts.leader.name)
            except InputError:
                continue
            assert parse_train([*words, "--preset", name])[0] == expected
