"""What programs need of memory is remembered, and never under the key of another program."""

import jax
import pytest
from conftest import tiny_experiment

from sbmrl.core.options import with_values
from sbmrl.experiment.solver import world_of
from sbmrl.sweep import needs
from sbmrl.sweep.execute import Engine, all_runs, engine_for
from sbmrl.sweep.needs import key_of, remembered
from sbmrl.sweep.run import make_program

EXPERIMENT = tiny_experiment("mal", "exact")
WORLD = world_of(EXPERIMENT)


@pytest.fixture
def cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before)


def test_it_is_measured_once(cache):
    measured = []

    def measure():
        measured.append(1)
        return 123

    assert [remembered("key", measure), remembered("key", measure)] == [123, 123]
    assert len(measured) == 1
    (path,) = cache.rglob("key")
    path.write_text("12", encoding="utf-8")
    assert remembered("key", measure) == 12
    path.write_text("not a number", encoding="utf-8")
    assert [remembered("key", measure), remembered("key", measure)] == [123, 123]
    assert len(measured) == 2


def test_without_a_cache_or_with_one_that_cannot_be_written_it_is_measured(cache):
    cache.write_text("a file where a directory should be", encoding="utf-8")
    assert remembered("key", lambda: 5) == 5
    jax.config.update("jax_compilation_cache_dir", None)
    assert [remembered("key", lambda: 5), remembered("key", lambda: 6)] == [5, 6]


def test_several_processes_measure_whatever_one_of_them_remembers(cache, monkeypatch):
    assert remembered("key", lambda: 5) == 5
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert remembered("key", lambda: 6) == 6


def test_whatever_the_needs_depend_on_changes_the_key(monkeypatch, tmp_path):
    def key(experiment=EXPERIMENT, world=WORLD, width=8, axes=()):
        return key_of(experiment, world, width, axes)

    first = key()
    assert key() == first
    keys = {
        first,
        key(width=16),
        key(axes=("alpha",)),
        key(with_values(EXPERIMENT, {"num_records": EXPERIMENT.num_records + 1})),
        key(world=WORLD.replace(transition=WORLD.transition[:, ::-1])),
        key(world=WORLD.replace(horizon=WORLD.horizon + 1)),
    }
    assert len(keys) == 6
    changes = {
        "version": lambda package: f"another {package}",
        "VERSION": "another",
        "plugins_of": lambda experiment: [{"name": "mine.py", "checksum": "1"}],
        "_SOURCE": tmp_path,
    }
    (tmp_path / "code.py").write_text("x = 1", encoding="utf-8")
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(needs, name, value)
            keys.add(key())
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--another")
        keys.add(key())
        patch.setattr(jax, "device_count", lambda: 1_000)
        keys.add(key())
    with jax.default_matmul_precision("bfloat16"):
        keys.add(key())
    assert len(keys) == 13
    assert key() == first


def test_what_is_remembered_lets_a_run_begin_before_all_is_compiled(cache):
    told = []
    experiment = tiny_experiment("pal", "contextual", "gradient")

    def make_engine(width):
        return Engine(experiment, make_program(experiment), width, compiled=lambda part: told.append(part.name))

    for first in (["pretrain", "play", "init", "finish"], []):
        told.clear()
        room, engine = engine_for(all_runs(2), make_engine, lambda width, measure: remembered("key", measure))
        assert told == first
    assert min(room) == 2
    begun = []

    def after_record(saved):
        begun.append(list(told))

    engine.run(all_runs(2), after_record=after_record)
    assert begun[0] == ["pretrain", "init"]
    assert told == ["pretrain", "init", "play", "finish"]
