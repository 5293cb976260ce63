"""α on the scale of a step: what 1 − α weighs is the return divided by how many steps it adds up."""

import pytest

from sbmrl.errors import InputError
from sbmrl.experiment.presets import preset
from sbmrl.experiment.solver import make_solver, world_of


def wants(env, alpha, scale):
    experiment = preset(None, "mal_agent_reward", "exact", env=env).replace(alpha=alpha, alpha_scale=scale)
    return make_solver(experiment, world_of(experiment)).formulation.leader_wants


@pytest.mark.parametrize(("env", "horizon"), [("simple_mdp_2", 50.0), ("lqr_double_integrator", 100.0)])
@pytest.mark.parametrize("alpha", [0.2, 0.9])
def test_horizon_weighs_the_return_of_a_step(env, horizon, alpha):
    plain, scaled = (wants(env, alpha, scale) for scale in ("sum", "horizon"))
    assert plain["fit"] == alpha
    assert plain["real_return"] == pytest.approx(1.0 - alpha)
    assert scaled["fit"] + scaled["real_return"] == pytest.approx(1.0)
    assert scaled["real_return"] / scaled["fit"] == pytest.approx((1.0 - alpha) / alpha / horizon, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_ends_are_the_same_on_both_scales(alpha):
    assert wants("simple_mdp_2", alpha, "horizon") == wants("simple_mdp_2", alpha, "sum")


def test_a_share_of_data_has_no_scale():
    with pytest.raises(InputError, match="alpha_scale: has no meaning here"):
        preset(None, "mal_random_noise", "exact").replace(alpha_scale="horizon")
