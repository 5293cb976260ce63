"""Worlds registered by name: found, told apart, checked, for every kind of game."""

import json

import numpy as np
import pytest
from test_plugins import forgetful  # noqa: F401  # the fixture, so that nothing stays registered

import sbmrl
from sbmrl import InputError, WorldRow, preset, register
from sbmrl.core import registry
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import world_of
from sbmrl.games.linear_quadratic.catalogue import random_arrays
from sbmrl.games.linear_quadratic.system import make_system
from sbmrl.games.matrix.rules import make_game

pytestmark = pytest.mark.xdist_group("plugins")


def mdp():
    return sbmrl.make_world("simple_mdp_2").replace(name="own", horizon=7)


def system():
    return make_system(random_arrays(2, 1, 0)._replace(name="lqr_own"))


OWN = {
    "own": ("tabular", mdp, "mal"),
    "lqr_own": ("linear_quadratic", system, "mal"),
    "my:game": ("matrix", lambda: make_game("chicken").replace(name="my:game", horizon=3), "matrix_game"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_world_of_any_kind_is_found_by_its_name_kept_and_read_again(name, tmp_path):
    kind, make, formulation = OWN[name]
    register(WorldRow(name, "mine", kind, make))
    experiment = preset(formulation=formulation, env=name)
    own = registry.kind(kind)
    assert registry.kind_for(registry.formulation(formulation), name) is own
    world = world_of(experiment)
    assert world.name == name
    make_program(experiment)
    path = tmp_path / "world.json"
    path.write_text(json.dumps(own.world_fields(world)))
    assert own.world_fields(own.read_world(path)) == own.world_fields(world)
    assert registry.worlds_of(own)[name] == "mine"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("simple_mdp_2", "", "tabular", mdp), "simple_mdp_2 is an MDP already, from sbmrl"),
        (("random_3_2_0", "", "tabular", mdp), "random_3_2_0 is an MDP already"),
        (("corridor_5", "", "tabular", mdp), "corridor_5 is a simulated world already"),
        (("lqr_random_3_1_0", "", "tabular", mdp), "lqr_random_3_1_0 is a linear-quadratic world already"),
        (("chicken_one_shot", "", "tabular", mdp), "chicken_one_shot is a matrix game already"),
        (("own.json", "", "tabular", mdp), "a world's name must be letters, digits, _, - and :, got 'own.json'"),
        (("", "", "tabular", mdp), "a world's name must be letters, digits, _, - and :, got ''"),
        (("own", "", "tabluar", mdp), "world own: kind: 'tabluar' is unknown; did you mean 'tabular'"),
        (("own", "", "tabular", 3), "world own: make: must be a function of nothing, got 3"),
    ],
)
def test_what_is_no_world_or_has_a_name_that_is_taken_is_refused(row, says):
    before = registry.num_parts()
    with pytest.raises(InputError, match=f"register: {says}"):
        register(WorldRow(*row))
    assert registry.num_parts() == before


def test_a_kind_of_game_cannot_bring_a_world_that_is_registered():
    register(WorldRow("own", "mine", "tabular", mdp))
    for knows in (None, lambda env: env.startswith("ow")):
        kind = registry.kind("matrix")._replace(name="another", worlds=lambda: {"own": "theirs"}, knows=knows)
        with pytest.raises(InputError, match="there is a world own already, from this program"):
            register(kind)
    with pytest.raises(InputError, match="there is a world own already, from this program"):
        register(WorldRow("own", "mine", "matrix", mdp))


def test_an_unknown_name_is_told_the_nearest_registered_ones_among_them():
    register(WorldRow("bicycle", "mine", "tabular", lambda: mdp().replace(name="bicycle")))
    with pytest.raises(InputError, match=r"env: 'bicicle' is unknown; did you mean 'bicycle'\?.*FILE.json"):
        preset(formulation="mal", env="bicicle")
    with pytest.raises(InputError, match="must be a matrix game for matrix_game, got bicycle, an MDP"):
        preset(formulation="matrix_game", env="bicycle")
    with pytest.raises(InputError, match="env: must be a linear-quadratic world, got bicycle, an MDP"):
        registry.make_world(registry.kind("linear_quadratic"), "bicycle")
    with pytest.raises(InputError, match="a world of this kind, tabular; an experiment in a linear-quadratic world"):
        world_of(preset(formulation="mal", env="bicycle").replace(env="lqr_scalar"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: 1 / 0, "env: own: make raises ZeroDivisionError: division by zero"),
        (lambda: 3, "env: own: make: must return an MDP, got int"),
        (lambda: mdp().replace(name="other"), "env: own: name: must be the one that is registered, got 'other'"),
        (lambda: mdp().replace(transition=2 * mdp().transition), r"env: own: transition\[0, 0\]: must sum to 1, got 2"),
        (lambda: mdp().replace(horizon=0), "env: own: horizon: must be a whole number of at least 1, got 0"),
    ],
)
def test_a_world_that_cannot_be_played_is_refused_with_its_field(make, says):
    register(WorldRow("own", "mine", "tabular", make))
    with pytest.raises(InputError, match=says):
        world_of(preset(formulation="mal", env="own"))


def test_other_kinds_check_their_worlds_too():
    bad = system().replace(control_cost=-np.eye(1))
    register(WorldRow("lqr_own", "mine", "linear_quadratic", lambda: bad))
    with pytest.raises(InputError, match="env: lqr_own: R: must be positive definite"):
        world_of(preset(formulation="mal", env="lqr_own"))
    game = make_game("chicken").replace(name="own", memory="joined")
    register(WorldRow("own", "mine", "matrix", lambda: game))
    with pytest.raises(InputError, match="env: own: memory: 'joined' is unknown; did you mean 'joint'"):
        world_of(preset(formulation="matrix_game", env="own"))


def test_a_matrix_game_too_large_to_judge_is_refused_also_if_it_is_registered():
    large = make_game("chicken").replace(name="own", payoffs=np.zeros((2, 9, 9)))
    register(WorldRow("own", "mine", "matrix", lambda: large))
    with pytest.raises(InputError, match="deterministic strategies can be enumerated"):
        make_program(preset(formulation="matrix_game", env="own"))
