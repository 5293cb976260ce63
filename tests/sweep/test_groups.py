"""Runs that advance in groups, one group after the other, are the same runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.experiment.program import make_program
from sbmrl.sweep import memory
from sbmrl.sweep.execute import Engine, all_runs

pytestmark = pytest.mark.xdist_group("sweep")


def test_groups_keep_order_and_shared_arguments():
    def function(shared, own):
        return {"sum": own["x"] + shared, "empty": jnp.zeros(0), "max": jnp.max(own["y"])}

    mesh = make_mesh(jax.devices()[:2])
    own = {"x": jnp.arange(12.0), "y": jnp.arange(36.0).reshape(12, 3)}
    arguments = (jnp.float32(100.0), own)
    whole = map_over_devices(function, mesh, (False, True))(*arguments)
    grouped = map_over_devices(function, mesh, (False, True), num_groups=3)(*arguments)
    assert grouped["empty"].shape == (12, 0)
    np.testing.assert_array_equal(grouped["sum"], np.arange(12.0) + 100.0)
    jax.tree.map(np.testing.assert_array_equal, grouped, whole)


def test_states_of_a_group_fit_the_cache():
    assert memory.num_groups_of(64, memory._CPU_CACHE // 8) == 8
    assert memory.num_groups_of(64, memory._CPU_CACHE // 10) == 8  # eight at a time, a power of two
    assert memory.num_groups_of(20, memory._CPU_CACHE // 8) == 3
    assert memory.num_groups_of(64, 100) == 1
    assert memory.num_groups_of(5, 2 * memory._CPU_CACHE) == 5  # one alone is too large already


def test_a_grouped_batch_ends_where_a_whole_one_does(monkeypatch):
    experiment = tiny_experiment("pal", "implicit")
    runs = all_runs(10)
    whole = Engine(experiment, make_program(experiment), 10)
    monkeypatch.setattr(memory, "_CPU_CACHE", 1)
    grouped = Engine(experiment, make_program(experiment), 10)
    assert (whole._layout.num_groups, grouped._layout.num_groups) == (1, 3)  # ten runs on four devices
    expected, found = whole.run(runs), grouped.run(runs)
    assert found.metrics.keys() == expected.metrics.keys()
    for name, values in expected.metrics.items():
        np.testing.assert_allclose(found.metrics[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(found.profile["model"], expected.profile["model"], atol=1e-4)
