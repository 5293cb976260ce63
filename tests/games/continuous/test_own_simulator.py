"""A simulated world of somebody's own: played if it is one, else refused in one line that names the field."""

import importlib.util
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_plugins import EXAMPLES, forgetful  # noqa: F401  # the fixture, so that nothing stays registered

from sbmrl import InputError, WorldRow, preset, register
from sbmrl.cli import main
from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.experiment.checks import check
from sbmrl.experiment.solver import world_of
from sbmrl.games.continuous.catalogue import WORLDS
from sbmrl.games.continuous.checks import check_simulator
from sbmrl.games.continuous.simulator import Box, Discrete, Known, rollout_returns
from sbmrl.games.continuous.worlds.pendulum import CHART, pendulum

pytestmark = pytest.mark.xdist_group("plugins")


def changed(**changes):
    """(simulator) -> the same with other fields; those of the rules by their names."""

    def change(simulator):
        own = {name: value for name, value in changes.items() if hasattr(simulator, name)}
        rules = simulator.rules._replace(**{name: value for name, value in changes.items() if name not in own})
        return simulator.replace(**{"rules": rules, **own})

    return change


def registered(change=lambda simulator: simulator):
    """A pendulum of one's own, by the name "own"."""
    make = lambda: change(pendulum()).replace(name="own")  # noqa: E731
    register(WorldRow("own", "mine", "continuous", make))


def test_a_world_of_ones_own_is_judged_kept_and_read_as_any_other(tmp_path):
    registered(changed(horizon=30, known=Known(-1.0, -9.0, "best of 8 runs")))
    experiment = check(preset("small", "pal", env="own"))
    assert experiment.leader.num_steps == 30
    world = world_of(experiment).replace(physics={**pendulum().physics, "mass": jnp.float32(1.5)})
    kind = compose(experiment).kind
    path = tmp_path / "world.json"
    path.write_text(json.dumps(kind.world_fields(world)))
    found = kind.read_world(path)
    assert jax.tree.structure(found) == jax.tree.structure(world)
    assert float(found.physics["mass"]) == 1.5
    assert found.known == Known(-1.0, -9.0, "best of 8 runs")


def test_an_outline_is_only_shapes():
    registered()
    found = registry.outline(registry.kind("continuous"), "own")
    assert {type(leaf) for leaf in jax.tree.leaves(found)} == {jax.ShapeDtypeStruct}
    assert (found.horizon, found.known) == (200, pendulum().known)


@pytest.mark.parametrize("name", WORLDS)
def test_our_own_worlds_pass_what_others_must(name):
    check_simulator(WORLDS[name][1](), "")


BAD = [
    # what is seen before anything is made
    (changed(known=None), "own has no known optimum to judge a run by; `known` of its Simulator must be given"),
    (changed(known=(1.0, 0.0)), "env: own: known: must be Known or None, got tuple"),
    (changed(known=Known(float("nan"), 0.0, "x")), "env: own: known.optimal: must be a finite number, got nan"),
    (changed(known=Known(1.0, None, "x")), "env: own: known.uniform: must be a finite number, got None"),  # pyright: ignore
    (changed(known=Known(0.0, 1.0, "x")), r"env: own: known.optimal: must be above known.uniform \(1\), got 0.0"),
    (changed(known=Known(1.0, 0.0, " ")), "env: own: known.judge: must say how the optimum is known"),
    (changed(horizon=0), "env: own: horizon: must be a whole number of at least 1, got 0"),
    (changed(horizon="100"), "env: own: horizon: must be a whole number of at least 1, got 100"),
    (lambda simulator: simulator.replace(rules=SimpleNamespace()), "env: own: rules: must be Rules, got"),
    (changed(reward=None), "env: own: rules.reward: must be a function, got None"),
    (changed(observation_size=2.5), "env: own: rules.observation_size: must be a whole number"),
    (changed(actions=(-1, 1)), "env: own: rules.actions: must be a Box or Discrete, got tuple"),
    (changed(actions=Box([-1.0], [1.0])), "env: own: rules.actions: must be two tuples"),  # pyright: ignore
    (changed(actions=Box((1.0,), (-1.0,))), "env: own: rules.actions: must be two tuples"),
    (changed(actions=Discrete(1)), "env: own: rules.actions.num: must be a whole number of at least 2, got 1"),
    (changed(ranges=[("mass", 0.5, 2.0)]), "env: own: rules.ranges: must be a tuple"),
    (changed(ranges=(("mass", -1.0, 2.0),)), r"env: own: rules.ranges: must be \(name, low, high\) with 0 < low"),
    (changed(ranges=(("mass", 0.5, 2.0),) * 2), "env: own: rules.ranges: must have each name once"),
    (changed(chart="x"), "env: own: rules.chart: must be a Chart or None, got str"),
    (changed(chart=CHART._replace(wraps=(True,))), "rules.chart: must have one to three coordinates"),
    (changed(chart=CHART._replace(high=CHART.low)), "rules.chart: must have numbers with low < high"),
    (changed(chart=CHART._replace(observe=None)), "rules.chart.observe: must be a function, got None"),
    (changed(chart=CHART._replace(names=("angle",))), "rules.chart.names: must be 2 names, or none"),
    (
        changed(chart=CHART._replace(state_of=lambda seen: seen)),
        r"chart.state_of: must return \[2\] float32, got \[3\]",
    ),
    (
        changed(predictable="0"),
        "rules.predictable: must be None, or a tuple of one or more different numbers from 0 to 2",
    ),
    (changed(predictable=()), "rules.predictable: must be None"),
    (changed(predictable=(0, 0)), "rules.predictable: must be None"),
    (changed(predictable=(3,)), r"rules.predictable: must be None.* got \(3,\)"),
    (changed(chart=[1]), "env: own: rules: must hold tuples of numbers and functions only"),
    (changed(physics={"mass": "heavy"}), "env: own: its shape raises TypeError"),
    # what is seen when it is made
    (changed(physics={"mass": jnp.float32(0.0)}), "env: own: physics: mass: must be a positive finite number, got 0.0"),
    (changed(physics={"mass": jnp.ones(2)}), "env: own: physics: mass: must be a positive finite number"),
    (changed(physics={"mass": 1.0}), "env: own: physics: must have the length of rules.ranges, got mass"),
    (changed(physics={"mass": 9.0}), "env: own: physics: mass: must be in its range of rules.ranges, 0.5 to 2, got 9"),
    (changed(physics=[1.0]), "env: own: physics: must be numbers by name, got list"),
    (changed(start=lambda *_: jnp.zeros(4)), r"rules.start: must return \[3\] float32, got \[4\] float32"),
    (changed(start=lambda *_: jnp.zeros(3, int)), r"rules.start: must return \[3\] float32, got \[3\] int32"),
    (changed(step=lambda *_: jnp.zeros((3, 1))), r"rules.step: must return \[3\] float32, got \[3, 1\] float32"),
    (changed(step=lambda *_: (1, 2)), r"rules.step: must return \[3\] float32, got tuple"),
    (changed(step=lambda key: key), "env: own: rules.step: raises TypeError: "),
    (changed(reward=lambda *_: jnp.zeros(3)), r"rules.reward: must return \[\] float32, got \[3\] float32"),
    (changed(reward=lambda physics, seen, *_: 1.0 if seen[0] > 0 else 0.0), "rules.reward: raises TracerBoolConv"),
    (changed(terminated=lambda *_: jnp.zeros(())), r"rules.terminated: must return \[\] bool, got \[\] float32"),
    (changed(project=lambda seen: seen[:2]), r"rules.project: must return \[3\] float32, got \[2\] float32"),
]


@pytest.mark.parametrize(("change", "says"), BAD, ids=range(len(BAD)))
def test_what_is_no_world_is_refused_with_its_field(change, says):
    registered(change)
    with pytest.raises(InputError, match=says) as caught:
        world_of(check(preset("small", "pal", env="own")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [changed(known=None), changed(reward=lambda *_: jnp.zeros(3))])
def test_the_command_line_refuses_it_before_anything_is_written(change, tmp_path, capsys):
    registered(change)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "pal", "--env", "own", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_example_is_judged_by_what_can_be_earned():
    spec = importlib.util.spec_from_file_location("example_world", EXAMPLES / "world.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    world = registry.make_world(registry.kind("continuous"), "cart")
    assert world.known is not None

    def returns(act, num_episodes):
        return np.asarray(rollout_returns(jax.random.key(0), world, act, num_episodes))

    assert returns(lambda *_: jnp.ones(1), 1) == world.known.optimal
    drawn = returns(lambda key, *_: jax.random.uniform(key, (1,), minval=-1.0), 4000)
    assert abs(drawn.mean() - world.known.uniform) < 3 * drawn.std() / 4000**0.5 + 0.05
