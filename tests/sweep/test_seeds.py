"""Many seeds from a notebook: the numbers of the command line, whatever their number."""

import jax
import numpy as np
import pytest
from conftest import tiny_experiment

import sbmrl
from sbmrl.errors import InputError
from sbmrl.experiment.program import make_program
from sbmrl.sweep import seeds
from sbmrl.sweep.execute import Engine, all_runs


@pytest.mark.parametrize(("scheme", "num_seeds"), [("exact", 3), ("contextual", 6)])
def test_the_seeds_are_those_of_a_sweep(scheme, num_seeds):
    experiment = tiny_experiment("mal", scheme, "gradient")
    result = sbmrl.make_train_seeds(experiment, num_seeds)()
    swept = Engine(experiment, make_program(experiment), num_seeds).run(all_runs(num_seeds))
    for name, values in swept.metrics.items():
        assert result.final.metrics[name].shape == (num_seeds,)
        np.testing.assert_allclose(result.final.metrics[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
    assert len(set(np.asarray(result.curves["play"]["fit"])[:, -1].tolist())) > 1


def test_hyper_parameters_reach_all_seeds():
    experiment = tiny_experiment("mal_random_noise", "exact")
    mal = sbmrl.make_train_seeds(tiny_experiment("mal", "exact"), 2)()
    train = sbmrl.make_train_seeds(experiment, 2)
    for alpha, same in ((1.0, True), (0.5, False)):
        result = train({"alpha": alpha})
        assert np.allclose(result.final.profile["model"], mal.final.profile["model"], atol=1e-6) == same


def test_what_was_traced_before_is_not_traced_again(cache, monkeypatch):
    experiment = tiny_experiment("mal", "exact")
    first = sbmrl.make_train_seeds(experiment, 3)({"leader.learning_rate": 0.05}, root_seed=1)

    def forbidden(*arguments):
        raise AssertionError("this was kept")

    monkeypatch.setattr(seeds, "make_train", forbidden)
    monkeypatch.setattr(seeds, "pack", forbidden)
    again = sbmrl.make_train_seeds(experiment, 3)({"leader.learning_rate": 0.05}, root_seed=1)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(AssertionError, match="this was kept"):
        sbmrl.make_train_seeds(experiment, 2)()


def test_a_world_of_ones_own_is_traced_each_time(cache):
    world = sbmrl.random_mdp(jax.random.key(5), 4, 2)
    sbmrl.make_train_seeds(tiny_experiment("pal", "exact"), 2, world)()
    assert not (cache / "sbmrl_programs").exists()


def test_a_world_of_ones_own():
    world = sbmrl.random_mdp(jax.random.key(5), 4, 2)
    result = sbmrl.make_train_seeds(tiny_experiment("pal", "exact"), 2, world)()
    assert result.final.profile["model"].shape == (2, 4, 2, 4)


def test_bad_input_is_said():
    with pytest.raises(InputError, match="num_seeds: must be a whole number of at least 1"):
        sbmrl.make_train_seeds(tiny_experiment("pal", "exact"), 0)
    with pytest.raises(InputError, match="hyper-parameter: 'alhpa' is unknown; did you mean 'alpha'"):
        sbmrl.make_train_seeds(tiny_experiment("mal_random_noise", "exact"), 2)({"alhpa": 0.5})
