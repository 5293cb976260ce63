"""What is kept of traced programs is found again, gives the same bits, and is never that of another program."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cached_in, tiny_experiment

from sbmrl.core import threefry
from sbmrl.core.options import traced_fields, with_values
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import world_of
from sbmrl.sweep import shelf
from sbmrl.sweep.execute import Cell, Compiled, Engine, all_runs, engine_for, traced_values
from sbmrl.sweep.shelf import NO_SHELF, Shelf, shelf_of

EXPERIMENT = tiny_experiment("mal", "exact")
WORLD = world_of(EXPERIMENT)
PARTS = ["play", "init", "finish"]


class Filled(NamedTuple):
    """A cache after a first run, the parts that were made then, and what came out."""

    cache: Path
    told: list[Compiled]
    cell: Cell


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shelf") / "cache"
    with cached_in(directory):
        return Filled(directory, *run_of())


@pytest.fixture
def filled(first_run, tmp_path):
    """The cache of a first run, to be damaged at will."""
    shutil.copytree(first_run.cache, tmp_path / "cache")
    with cached_in(tmp_path / "cache"):
        yield first_run._replace(cache=tmp_path / "cache")


def place(experiment=EXPERIMENT, world=WORLD, width=4, axes=()):
    return shelf_of(experiment, world, width, axes)


def place_of(name):
    directory = place().directory
    assert directory is not None
    return directory / name


def forbidden(*arguments):
    raise AssertionError("this was kept")


def run_of(experiment=EXPERIMENT, width=4):
    """The parts that were made, and what came out."""
    told = []
    engine = Engine(experiment, make_program(experiment), width, 0, told.append, place(experiment))
    return told, engine.run(all_runs(width))


def same_bits(one, other):
    values = ([np.asarray(x) for x in jax.tree.leaves(cell[:3])] for cell in (one, other))
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*values, strict=True))


def test_bytes_are_measured_once(cache):
    measured, kept = [], place()

    def measure():
        measured.append(1)
        return 123

    assert [kept.needed(measure), place().needed(measure)] == [123, 123]
    assert len(measured) == 1
    assert kept.directory is not None
    (kept.directory / "bytes").write_bytes(b"damaged")
    assert [kept.needed(measure), kept.needed(measure)] == [123, 123]
    assert len(measured) == 2


@pytest.mark.parametrize(("formulation", "scheme"), [("mal", "exact"), ("pal", "contextual"), ("pal", "implicit")])
def test_a_run_without_a_shelf_has_the_same_bits(cache, formulation, scheme):
    experiment = tiny_experiment(formulation, scheme)
    engine = Engine(experiment, make_program(experiment), 4)
    assert same_bits(run_of(experiment)[1], engine.run(all_runs(4)))


def test_what_is_kept_is_not_traced_again_and_gives_the_same_bits(filled, monkeypatch):
    assert sorted(part.name for part in filled.told) == sorted(PARTS)
    assert all(part.jaxpr is not None for part in filled.told)
    monkeypatch.setattr(jax, "make_jaxpr", forbidden)
    monkeypatch.setattr(Shelf, "keep", forbidden)
    told, cell = run_of()
    assert sorted(part.name for part in told) == sorted(PARTS)
    assert all(part.jaxpr is None for part in told)
    assert same_bits(filled.cell, cell)


_PROCESS = """
import hashlib, json, sys
import jax
import jax.numpy as jnp
import numpy as np
from conftest import tiny_options
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import world_of
from sbmrl.sweep.execute import Engine, all_runs
from sbmrl.sweep.shelf import shelf_of

found = {}
for formulation, scheme, env, sizes in json.loads(sys.argv[1]):
    experiment, told = preset(None, formulation, scheme, env=env), []
    sizes |= {"num_records": 2, "leader": tiny_options(experiment.leader)}
    if hasattr(experiment.scheme, "follower"):
        sizes["follower"] = tiny_options(experiment.scheme.follower)
    experiment = experiment.replace(**sizes)
    world = world_of(experiment)
    engine = Engine(experiment, make_program(experiment, world), 4, 0, told.append, shelf_of(experiment, world, 4, ()))
    cell = engine.run(all_runs(4))
    bits = hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(cell[:3]))).hexdigest()
    found[env] = [bits, sum(part.jaxpr is not None for part in told)]
print(json.dumps(found))
"""


def test_another_process_begins_with_what_is_kept(cache):
    """Networks that begin orthogonal call LAPACK, whose functions a process that traces nothing has to look up."""
    games = [
        ("pal", "contextual", "simple_mdp_2", {"num_leader_pool": 8, "num_random_leaders": 4}),
        ("mal", "implicit", "lqr_scalar", {}),
        ("mal", "inner_outer", "corridor", {"num_test_episodes": 4, "num_inner_steps": 1, "buffer_size": 500}),
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}

    def process():
        command = [sys.executable, "-c", _PROCESS, json.dumps(games)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    first, second = process(), process()
    assert all(traced >= 3 for _, traced in first.values())
    assert second == {env: [bits, 0] for env, (bits, _) in first.items()}


@pytest.mark.parametrize("what", ["state", *PARTS])
def test_what_is_damaged_is_made_again(filled, what):
    path = place_of(what)
    path.write_bytes(path.read_bytes()[:-1])
    told, cell = run_of()
    assert [part.name for part in told if part.jaxpr is not None] == [what] * (what in PARTS)
    assert same_bits(filled.cell, cell)


def test_what_jax_cannot_load_is_traced_again(filled):
    for name in PARTS:
        shelf._write(place_of(name), pickle.dumps((b"no program", None)))
    with pytest.warns(UserWarning, match="is made again"):
        told, cell = run_of()
    assert all(part.jaxpr is not None for part in told)
    assert same_bits(filled.cell, cell)


def test_what_jax_cannot_write_is_not_kept(cache):
    """A call of this process has no meaning in another, nor has a function."""
    number = jax.ShapeDtypeStruct((4,), jnp.float32)
    for function in (
        lambda x: jax.pure_callback(np.sin, number, x),
        lambda x: jax.tree_util.Partial(lambda y: y, x),
    ):
        assert place().keep("part", jax.jit(function), (number,)) is None
        assert place().load("part") is None
    assert place().keep("part", jax.jit(jnp.sin), (number,)) is not None
    assert place().load("part") is not None


@pytest.mark.parametrize(
    "what",
    ["none", "off", "remote", "a file", "processes", "writable by all", "in a place for all", "another's", "plug-in"],
)
def test_there_is_none_where_nothing_can_be_kept_for_this_user_alone(cache, monkeypatch, what):
    assert place() != NO_SHELF
    if what == "none":
        jax.config.update("jax_compilation_cache_dir", None)
    elif what == "off":
        jax.config.update("jax_enable_compilation_cache", False)
    elif what == "remote":
        jax.config.update("jax_compilation_cache_dir", "gs://bucket/cache")
    elif what == "a file":
        (cache.parent / "file").touch()
        jax.config.update("jax_compilation_cache_dir", str(cache.parent / "file"))
    elif what == "processes":
        monkeypatch.setattr(jax, "process_count", lambda: 2)
    elif what == "writable by all":
        (cache / "sbmrl_programs").chmod(0o777)
    elif what == "in a place for all":
        cache.chmod(0o777)
    elif what == "plug-in":
        monkeypatch.setattr(shelf, "plugins_of", lambda experiment: [{"name": "mine.py", "checksum": "1"}])
    else:
        monkeypatch.setattr(os, "getuid", lambda: -1)
    try:
        assert place() == NO_SHELF
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert NO_SHELF.needed(lambda: 5) == 5
    assert NO_SHELF.load("play") is None
    assert NO_SHELF.keep("play", jax.jit(jnp.sin), (1.0,)) is None


def test_code_that_was_changed_since_it_was_imported_is_not_taken_for_what_runs(cache, monkeypatch, tmp_path):
    code = tmp_path / "code.py"
    code.write_text("x = 1", encoding="utf-8")
    os.utime(code, (0, 0))
    monkeypatch.setattr(shelf, "_SOURCE", tmp_path)
    assert place() != NO_SHELF
    os.utime(code, (time.time(), time.time() + 1))
    assert place() == NO_SHELF


def test_nothing_is_read_or_kept_while_jax_is_set_otherwise(filled):
    kept = place()
    assert kept.load("play") is not None
    with jax.default_matmul_precision("bfloat16"):
        assert kept.load("play") is None
        assert kept.keep("other", jax.jit(jnp.sin), (1.0,)) is None
        assert kept.needed(lambda: 5) == 5
    assert not place_of("other").exists()


def test_whatever_a_program_depends_on_changes_its_place(cache, monkeypatch, tmp_path):
    first = place().directory
    assert place().directory == first
    assert (
        place(with_values(EXPERIMENT, {"leader.learning_rate": 0.123})).directory == first
    )  # an argument of the program
    places = {
        first,
        place(width=16).directory,
        place(axes=("alpha",)).directory,
        place(with_values(EXPERIMENT, {"num_records": EXPERIMENT.num_records + 1})).directory,
        place(world=WORLD.replace(transition=WORLD.transition[:, ::-1])).directory,
        place(world=WORLD.replace(horizon=WORLD.horizon + 1)).directory,
    }
    assert len(places) == 6
    (tmp_path / "code.py").write_text("x = 1", encoding="utf-8")
    os.utime(tmp_path / "code.py", (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "_SOURCE", tmp_path)
        places.add(place().directory)
    (tmp_path / "brax-0.0.0.dist-info").mkdir()
    for settings in ((sys, "path", [*sys.path, str(tmp_path)]), (sys, "version", "another")):
        with monkeypatch.context() as patch:
            patch.setattr(*settings)
            places.add(place().directory)
    with monkeypatch.context() as patch:
        patch.setattr(threefry, "_straight", not threefry.is_straight())
        places.add(place().directory)
    assert len(places) == 10
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--another")
        places.add(place().directory)
    with jax.default_matmul_precision("bfloat16"):
        places.add(place().directory)
    with jax.enable_x64(True):
        places.add(place().directory)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: 1_000)
        places.add(place().directory)
    assert len(places) == 14
    assert place().directory == first


def test_simulated_worlds_have_the_same_place_in_every_process(cache):
    world = world_of(preset(None, "mal", env="corridor"))
    again = world.replace(rules=world.rules._replace(reward=another_function(world)))
    assert repr(again.rules) != repr(world.rules)  # another address
    assert place(world=world).directory == place(world=again).directory


def another_function(world):
    def copy(*arguments):
        return world.rules.reward(*arguments)

    copy.__name__, copy.__qualname__ = world.rules.reward.__name__, world.rules.reward.__qualname__
    return copy


@pytest.mark.parametrize(
    ("formulation", "scheme", "learner"),
    [
        ("pal", "contextual", "ppo"),
        ("mal", "exact", "gradient"),
        ("mal_agent_reward", "implicit", "gradient"),
        ("mal_random_noise", "inner_outer", "evolution"),
    ],
)
def test_values_of_traced_hyper_parameters_are_no_part_of_the_program(formulation, scheme, learner):
    experiment = tiny_experiment(formulation, scheme, learner)
    values = {name: value / 2 + 0.01 for name, value in traced_fields(experiment).items() if "tie" not in name}
    other = with_values(experiment, values)
    check(other)
    programs = [make_program(each) for each in (experiment, other)]
    key, values = jax.random.key(0), traced_values(experiment)
    begun = {str(jax.make_jaxpr(program.init)(key, values)) for program in programs}
    assert len(begun) == 1
    state = jax.eval_shape(programs[0].init, key, values)
    for stage in range(len(programs[0].stages)):
        told = {str(jax.make_jaxpr(each.stages[stage].record)(key, values, state, np.int32(0))) for each in programs}
        assert len({re.sub(r" at 0x[0-9a-f]+", "", text) for text in told}) == 1


def test_what_is_known_lets_a_run_begin_before_all_is_compiled(cache):
    told = []
    experiment = tiny_experiment("pal", "contextual", "gradient")

    def make_engine(width):
        return Engine(experiment, make_program(experiment), width, 0, lambda part: told.append(part.name), kept)

    kept = place(experiment)
    for first in (["pretrain", "play", "init", "finish"], []):
        told.clear()
        room, engine = engine_for(all_runs(2), make_engine)
        assert told == first
    assert min(room) == 2
    begun = []

    def after_record(saved):
        begun.append(list(told))

    engine.run(all_runs(2), after_record=after_record)
    assert begun[0] == ["pretrain", "init"]
    assert told == ["pretrain", "init", "play", "finish"]
