"""Cost against the size of the world: the products are counted as they are, and the table says what was measured."""

import json

import jax
import numpy as np
import pytest
from test_phases import products_in

from sbmrl.benchmark import ceilings, worlds
from sbmrl.benchmark.ceilings import Ceilings
from sbmrl.cli import main
from sbmrl.experiment.presets import preset
from sbmrl.experiment.solver import make_solver, world_of
from sbmrl.sweep.execute import pack

pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.parametrize(("formulation", "least", "most"), [("pal", 0.25, 0.3), ("mal", 1.2, 1.3)])
def test_an_update_has_about_the_products_that_are_counted(formulation, least, most):
    """MAL's answer is a plan, whose derivative is one more; PAL's policy is known, so its products are `[S, S]`."""
    experiment = preset("fast", formulation, "exact", env="random_16_4_0")
    world = world_of(experiment)
    (stage,) = make_solver(experiment, world).algorithm.stages
    state = jax.eval_shape(make_solver(experiment, world).algorithm.init, jax.random.key(0))
    counted = products_in(jax.make_jaxpr(lambda key, state: stage.step(key, state))(jax.random.key(0), state).jaxpr)
    assert least <= counted / worlds.products(16, 4, 50) <= most


def test_the_command(tmp_path, monkeypatch, capsys, own_cache):
    monkeypatch.setattr(ceilings, "_SIDE", {"cpu": 512})
    monkeypatch.setattr(ceilings, "_NUMBERS", {"cpu": 2**18})
    main(f"bench pal --worlds 2 3 --num-repeats 1 --out {tmp_path / 'out'}".split())
    summary = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [(line["formulation"], line["num_states"]) for line in summary["lines"]] == [("pal", 2), ("pal", 3)]
    operations = Ceilings(**summary["ceilings"]).operations
    for line in summary["lines"]:
        assert line["operations"] == 16 * 8 * 50 * 4 * line["num_states"] ** 2
        assert line["bound"] == pytest.approx(line["operations"] / operations)
        assert line["ratio"] == pytest.approx(line["seconds"] / line["bound"])
    assert (tmp_path / "out" / "bench.md").read_text().count("| PAL |") == 2
    assert (tmp_path / "out" / "bench.png").stat().st_size > 1000
    assert "products alone" in capsys.readouterr().out


def test_the_arrays_of_a_large_world_are_no_constants(monkeypatch):
    """Behind the barrier XLA computes nothing with them beforehand; the numbers stay the same."""
    experiment = preset("fast", "mal", "exact", env="random_8_2_0")
    world = world_of(experiment)

    def value(key):
        solver = make_solver(experiment, world)
        (stage,) = solver.algorithm.stages
        return pack(stage.step(key, solver.algorithm.init(key))[0])

    plain = jax.jit(value).lower(jax.random.key(0))
    monkeypatch.setattr("sbmrl.experiment.solver._LARGE", 8)
    behind = jax.jit(lambda key: value(key)).lower(jax.random.key(0))
    barriers = [text.as_text().count("optimization_barrier") for text in (plain, behind)]  # random numbers have some
    assert barriers[1] > barriers[0]
    for one, other in zip(*(jax.tree.leaves(x.compile()(jax.random.key(0))) for x in (plain, behind)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
