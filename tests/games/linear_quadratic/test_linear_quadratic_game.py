"""The game on linear-quadratic worlds: played against exact, every formulation, scheme and learner, and bad input."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_files, stopped_and_resumed

from sbmrl import InputError, make_plan, make_train, preset, run_plan
from sbmrl.cli import main
from sbmrl.core import registry
from sbmrl.core.experiment import compose
from sbmrl.experiment.checks import check
from sbmrl.experiment.solver import make_game, make_solver, world_of
from sbmrl.games.linear_quadratic import closed_forms as forms
from sbmrl.games.linear_quadratic.catalogue import make_world
from sbmrl.games.linear_quadratic.files import is_system_file, load_system
from sbmrl.games.linear_quadratic.options import RegressionOptions, RiccatiOptions

WORLD = "lqr_scalar"
SMALL = {"num_records": 2, "num_random_leaders": 2, "num_eval_episodes": 2}


def small(formulation, scheme=None, learner=None, env=WORLD, **changes):
    """A run of a few updates."""
    experiment = preset("lqr", formulation, scheme, learner, env)
    sizes: dict = dict(SMALL)
    for where, options in (("leader", experiment.leader), ("follower", getattr(experiment.scheme, "follower", None))):
        for name in ("num_updates", "population_size", "total_steps"):
            if hasattr(options, name):
                sizes[f"{where}__{name}"] = 4
        if getattr(options, "parametrization", "") == "network":
            sizes[f"{where}__hidden"] = (8,)
        if hasattr(options, "num_environments"):
            sizes |= {f"{where}__num_environments": 2, f"{where}__num_steps": 4}
        if hasattr(options, "minibatch_size"):
            sizes[f"{where}__minibatch_size"] = 4
    return experiment.replace(**{name: value for name, value in sizes.items() if name not in changes} | changes)


COMBINATIONS = [("mal", scheme) for scheme in registry.schemes()] + [
    ("pal", "exact"),
    ("pal", "contextual"),
    ("mal_agent_reward", "inner_outer"),
    ("mal_random_noise", "implicit"),
]


@pytest.mark.parametrize(("formulation", "scheme"), COMBINATIONS)
def test_every_formulation_runs_with_every_scheme(formulation, scheme):
    experiment = small(formulation, scheme, "gradient", leader__initial="truth")
    result = jax.jit(make_train(experiment))(jax.random.key(0))
    assert bool(result.final.metrics["finite"])
    assert set(result.final.profile) == {"policy", "model"}


def test_a_stopped_run_resumes_to_the_same_bits(tmp_path):
    plan = make_plan([small("mal", "inner_outer", "gradient")], [], 3)
    whole = run_plan(plan, tmp_path / "whole")
    (cell,) = plan.cells
    stopped = stopped_and_resumed(plan, tmp_path / "stopped")
    same_files(whole / cell.name, stopped / cell.name)


@pytest.mark.parametrize(
    ("formulation", "learner"), [("pal", "ppo"), ("mal", "evolution"), ("pal", "natural_policy_gradient")]
)
def test_leaders_that_see_no_derivative_run_too(formulation, learner):
    """Natural policy gradient plays whole episodes, so its world forgets quickly."""
    changes: dict = {}
    if learner == "natural_policy_gradient":
        changes = {"leader__num_steps": 700, "leader__value_minibatch_size": 1400}
    result = jax.jit(make_train(small(formulation, "exact", learner, **changes)))(jax.random.key(0))
    assert bool(result.final.metrics["finite"])


@pytest.mark.parametrize("payoff", ["model_return", "real_return", "fit", "random_fit"])
def test_played_episodes_earn_the_exact_payoffs(payoff):
    """On average: each payoff from the seat of the model, which plays with the policy's action noise."""
    env = "lqr_double_integrator" if payoff == "random_fit" else WORLD  # where many random policies are not stable
    experiment = preset("lqr", "mal", env=env).replace(action_noise=0.2 if "fit" in payoff else 0.0)
    game = make_game(experiment, world_of(experiment))
    world = game.world
    model = world.truth + 0.05 * (-1.0) ** jnp.arange(world.truth.size).reshape(world.truth.shape)
    profile = {"model": model, "policy": forms.riccati(world, model).gain}
    play, seat = game.payoffs[payoff].play, game.seats["model"]

    def episode(key):
        key_reset, key_steps = jax.random.split(key)

        def step(state, key):
            state, earned, _, _ = seat.step(key, state, model @ seat.observe(state))
            return state, earned[game.payoffs[payoff].earned]

        return jnp.sum(jax.lax.scan(step, seat.reset(key_reset, profile["policy"], play), key_steps_of(key_steps))[1])

    def key_steps_of(key):
        return jax.random.split(key, game.horizon)

    num_episodes = 1000
    found = np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), num_episodes)))
    exact = float(game.payoffs[payoff].exact(profile))
    assert abs(found.mean() - exact) < 4 * found.std() / num_episodes**0.5 + 2e-3 * abs(exact)


def test_sampled_returns_are_those_of_the_exact_cost():
    world = make_world(WORLD)
    experiment = preset("lqr", "mal", env=WORLD)
    game = make_game(experiment, world)
    gain = forms.riccati(world, world.truth).gain + 0.2
    measures = game.measures(compose(experiment).formulation)
    found = np.asarray(measures.sampled_returns(jax.random.key(1), {"policy": gain, "model": world.truth}, 8000))
    assert abs(found.mean() + float(forms.cost(world, world.truth, gain))) < 4 * found.std() / 8000**0.5


def finals(experiment, num_seeds):
    run = jax.jit(jax.vmap(make_train(experiment)))(jax.random.split(jax.random.key(0), num_seeds))
    return {name: np.asarray(value) for name, value in run.final.metrics.items()}


def test_the_better_mal_sees_its_follower_the_more_it_fools_itself():
    """From actuators believed too weak and with small steps; noisy actions and random data repair it."""
    steps = {"leader__num_updates": 400, "leader__learning_rate": 2e-3, "num_records": 2, "num_random_leaders": 2}
    mal, unseen = preset("lqr", "mal"), RiccatiOptions(derivative="none")
    cells = {
        "sees": mal,
        "takes": mal.replace(follower=unseen),
        "noise": mal.replace(action_noise=1.0),
        "repaired": preset("lqr", "mal_random_noise"),
    }
    share = {}
    for name, experiment in cells.items():
        run = finals(experiment.replace(**steps), 16)
        share[name] = run["fooled"][run["finite"]].mean()
    assert share["sees"] > share["takes"] + 0.2
    assert share["noise"] == share["repaired"] == 0.0


@pytest.mark.parametrize(
    ("options", "stuck"),
    [
        (RegressionOptions("truth"), False),
        (RegressionOptions("self_confirming", "exact"), False),
        (RegressionOptions("self_confirming", "none"), True),
    ],
    ids=["truth", "seen", "held"],
)
def test_first_order_pal_stays_where_its_model_confirms_it(options, stuck):
    """Every model without error has the same return, but not the same derivative."""
    experiment = preset("lqr", "pal", "exact").replace(follower=options)
    solver = make_solver(check(experiment), world_of(experiment))
    state = jax.jit(solver.algorithm.init)(jax.random.key(0))
    before = solver.algorithm.leader_strategy(state)
    _, info = jax.jit(solver.algorithm.stages[0].step)(jax.random.key(1), state)
    exact = forms.policy_gradient(solver.game.world, solver.game.world.truth, before)
    share = float(info["gradient_norm"]) / float(jnp.linalg.norm(exact))
    assert share < 1e-3 if stuck else abs(share - 1.0) < 1e-2


def test_a_contextual_follower_learns_by_exact_payoffs():
    experiment = preset("lqr", "mal", "contextual", env=WORLD).replace(
        follower__num_updates=400,
        follower__hidden=(16, 16),
        follower__learning_rate=3e-3,
        leader__num_updates=2,
        **SMALL,
    )
    curves = jax.jit(make_train(experiment))(jax.random.key(0)).curves
    gaps = np.asarray(curves["pretrain"]["follower_gap_true"])
    assert gaps[-1] < 0.05 * gaps[0] or gaps[-1] < 0.02


def test_the_world_says_which_kind_of_game_it_is(tmp_path):
    assert compose(preset(None, "mal", env="lqr_four_states")).kind.name == "linear_quadratic"
    assert compose(preset(None, "mal", env="simple_mdp_1")).kind.name == "tabular"
    assert compose(preset("lqr", "mal")).kind.name == "linear_quadratic"
    with pytest.raises(InputError, match="did you mean 'lqr_scalar'"):
        preset(None, "mal", env="lqr-scalar")
    with pytest.raises(InputError, match=r"preset: poster is not for mal in lqr_scalar; use lqr or fast"):
        preset("poster", "mal", env="lqr_scalar")
    with pytest.raises(InputError, match="env: must be a world of this kind, tabular"):
        world_of(preset("fast", "mal").replace(env="lqr_scalar"))


def test_the_command_line_trains_evaluates_and_reports(tmp_path, capsys):
    out = tmp_path / "run"
    line = ["mal", "--env", WORLD, "--leader.num-updates", "4", "--num-records", "2", "--num-seeds", "3"]
    main(["train", *line, "--num-random-leaders", "2", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "whoever pays twice the optimal cost" in printed
    assert "loss on its own data" in printed
    main(["evaluate", str(out)])
    assert "lqr_scalar" in (out / "report" / "report.html").read_text()


ARRAYS = {
    "A": [[1.0, 0.1], [0.0, 1.0]],
    "B": [[0.0], [0.1]],
    "Q": [[1.0, 0.0], [0.0, 0.1]],
    "R": [[0.1]],
    "noise": [[0.01, 0.0], [0.0, 0.01]],
    "initial": [[1.0, 0.0], [0.0, 1.0]],
    "discount": 0.99,
}


def save(path, fields):
    arrays: dict = {name: np.asarray(value) for name, value in fields.items()}
    np.savez(path, **arrays)


def test_a_world_of_ones_own(tmp_path):
    path = tmp_path / "cart.json"
    path.write_text(json.dumps(ARRAYS))
    save(tmp_path / "cart.npz", ARRAYS)
    assert is_system_file(str(path))
    for name in ("cart.json", "cart.npz"):
        world = make_world(str(tmp_path / name))
        assert world.name == "cart"
        np.testing.assert_allclose(world.truth, make_world("lqr_double_integrator").truth)
    assert compose(preset(None, "mal", env=str(path))).kind.name == "linear_quadratic"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"A": [[1.0, 0.1]]}, r"A: must have shape \[n, n\], got \[1, 2\]"),
        ({"B": [[0.0], [0.1], [0.2]]}, r"B: must have shape \[2, m\], as A has 2 states, got \[3, 1\]"),
        ({"Q": [[1.0, 0.0], [0.0, 0.0]]}, "Q: must be positive definite, got smallest eigenvalue 0"),
        ({"R": [[-0.1]]}, "R: must be positive definite, got smallest eigenvalue -0.1"),
        ({"R": [[0.1, 0.0], [0.0, 0.1]]}, r"R: must have shape \[1, 1\], got \[2, 2\]"),
        ({"Q": [[1.0, 0.5], [0.0, 1.0]]}, "Q: must be symmetric"),
        ({"noise": [[-1.0, 0.0], [0.0, 1.0]]}, "noise: must be a covariance: no negative eigenvalue"),
        ({"noise": [[0.0, 0.0]] * 2, "initial": [[0.0, 0.0]] * 2}, "initial: must not be 0 where noise is 0"),
        ({"discount": 1.0}, r"discount: must be one number in \(0, 1\), got 1.0"),
        ({"A": [[2.0, 0.0], [0.0, 0.5]], "B": [[0.0], [1.0]]}, "B: must reach every state that grows faster than"),
        ({"A": [[1.0, float("nan")], [0.0, 1.0]]}, "A: must be finite numbers"),
    ],
)
def test_bad_worlds_are_refused_in_one_line(tmp_path, changes, says):
    save(tmp_path / "own.npz", ARRAYS | changes)
    with pytest.raises(InputError, match=says):
        load_system(tmp_path / "own.npz")


def test_combinations_without_a_meaning_are_refused():
    with pytest.raises(InputError, match="its model can make the cost infinite at a finite loss"):
        check(small("pessimistic_pal", "inner_outer"))
    with pytest.raises(InputError, match="among: must be truth where action_noise is positive"):
        check(small("pal", "exact", action_noise=0.1, follower=RegressionOptions(among="self_confirming")))
    with pytest.raises(InputError, match="so a reward in the world does not move the leader"):
        check(small("mal_agent_reward", "exact", follower=RiccatiOptions(derivative="none")))
    with pytest.raises(InputError, match=r"initial: 'uniform' is unknown.*allowed: usual, weak, random, truth"):
        check(small("mal", leader__initial="uniform"))
    with pytest.raises(InputError, match="action_noise: must be at least 0 and finite"):
        check(small("mal", action_noise=-1.0))
    with pytest.raises(InputError, match="response: must be greedy in linear-quadratic worlds"):
        check(small("mal", response="sampled"))
    singular = {**ARRAYS, "noise": [[0.0, 0.0], [0.0, 0.01]]}
    world = make_world("lqr_double_integrator").replace(noise=jnp.asarray(singular["noise"]))
    with pytest.raises(InputError, match="the noise of a KL divergence must reach every state"):
        make_game(preset("lqr", "mal").replace(loss="kl"), world)
