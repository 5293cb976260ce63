"""`sbmrl reproduce continuous`: its cells in its own world and in others."""

from functools import partial

import pytest

from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.games.continuous.presets import ENV
from sbmrl.games.continuous.programme_cells import cells
from sbmrl.games.continuous.programme_report import to_markdown
from sbmrl.learners.natural_policy_gradient import NaturalPolicyGradientOptions
from sbmrl.learners.ppo import PPOOptions


@pytest.mark.parametrize(
    ("env", "num_cells"),
    [(None, 14), (ENV, 14), ("point_mass", 7), ("gymnax:CartPole-v1", 7), ("gymnax:MountainCarContinuous-v0", 7)],
)
def test_every_cell_can_be_played_and_what_is_changed_is_asked_in_one_world(env, num_cells):
    made = cells(partial(preset, "small", env=env or ENV), env)
    assert len({cell.name for cell in made}) == num_cells
    for cell in made:
        check(cell.experiment)
        assert cell.experiment.env == (env or ENV)


def test_ppo_is_set_for_pendulum_there_alone():
    name = "pal-the-true-world-as-its-model-PPO"
    found = {
        env: {cell.name: cell for cell in cells(partial(preset, "small", env=env), env)} for env in (ENV, "corridor")
    }
    leaders = {env: own[name].experiment.leader for env, own in found.items()}
    assert {env: leader.discount for env, leader in leaders.items() if isinstance(leader, PPOOptions)} == {
        ENV: 0.9,
        "corridor": 0.99,
    }


@pytest.mark.parametrize(
    ("env", "environments", "minibatch"),
    [
        ("point_mass", 100, 100),
        (ENV, 100, 100),
        ("gymnax:CartPole-v1", 40, 80),
        ("gymnax:MountainCarContinuous-v0", 20, 60),
    ],
)
def test_long_episodes_are_imagined_fewer_at_a_time(env, environments, minibatch):
    policy = preset("small", "pal", env=env).leader
    assert isinstance(policy, NaturalPolicyGradientOptions)
    assert (policy.num_environments, policy.value_minibatch_size) == (environments, minibatch)


@pytest.mark.parametrize(
    ("goal", "told"), [(-192.3, "| -156 [-157, -155] |"), (-9.99, "| -156.30 [-157.10, -155.20] |")]
)
def test_returns_are_told_to_three_digits_of_the_goal(goal, told):
    nothing = dict.fromkeys(("worst_late", "share_relapsed", "own_loss", "wide_loss", "model_gap", "num_fooled"), 0)
    row = {"formulation": "PAL", "changed": "", "num_seeds": 8, "goal": goal, "steps_to_goal": None} | nothing
    assert told in to_markdown([row | {"final_return": {"value": -156.3, "low": -157.1, "high": -155.2}}])
