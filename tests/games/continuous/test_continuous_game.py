"""The practical game in simulated worlds: played by both leaders, counted, kept on disk, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import same_files, stopped_and_resumed

import sbmrl
from sbmrl import InputError, make_train, preset
from sbmrl.cli import main
from sbmrl.core.experiment import compose
from sbmrl.core.game import Acting
from sbmrl.experiment.checks import check
from sbmrl.experiment.program import make_program
from sbmrl.experiment.solver import world_of
from sbmrl.games.continuous.catalogue import WORLDS, make_simulator
from sbmrl.games.continuous.episodes import at_random, play, real_environment
from sbmrl.games.continuous.measures import LARGE_LOSS, SMALL_LOSS
from sbmrl.games.continuous.model_learner import imagined_return
from sbmrl.games.continuous.physics import PhysicsOptions, make_physics_family, model_of
from sbmrl.games.continuous.replay import Transitions, empty, write
from sbmrl.games.continuous.simulator import known_returns, never
from sbmrl.games.matrix.q_learning import QLearningOptions
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GradientOptions
from sbmrl.sweep.plan import Plan

WORLD = "corridor"
POLICY = {
    "num_environments": 8,
    "num_steps": 50,
    "actor_hidden": (8,),
    "critic_hidden": (8,),
    "value_minibatch_size": 40,
    "num_fisher_samples": 16,
}
MODEL = {"hidden": (8,), "num_epochs": 2, "minibatch_size": 32}
GAME: dict = {"buffer_size": 500, "num_initial_episodes": 2, "num_new_episodes": 1, "num_test_episodes": 4}


def small(formulation, **changes):
    """Two records of a step each."""
    leads = formulation == "pal"
    policy, model = ("leader", "follower") if leads else ("follower", "leader")
    sizes = {f"{policy}__{name}": value for name, value in POLICY.items()}
    sizes |= {f"{model}__{name}": value for name, value in MODEL.items()}
    sizes |= {"leader__total_steps": 2 * 10 * 400} if leads else {"leader__num_updates": 2, "num_inner_steps": 2}
    return preset("small", formulation, env=WORLD).replace(**sizes | GAME | {"num_records": 2} | changes)


KEYS = jax.random.split(jax.random.key(0), 2)


@functools.cache
def trained(name):
    return jax.jit(jax.vmap(make_train(small(name))))(KEYS)


@pytest.mark.xdist_group("continuous")  # one worker compiles what the tests have in common
@pytest.mark.parametrize("name", ["pal", "mal"])
def test_both_leaders_play_and_count_their_real_steps(name):
    result = trained(name)
    metrics = result.final.metrics
    assert bool(metrics["finite"].all())
    assert {"policy", "model"} == set(result.final.profile)
    curves = result.curves["play"]
    first = float(curves["real_steps"][0, 0])
    assert 2 < first <= 3 * 50  # two episodes to begin with and one more; some leave the corridor early
    assert float(curves["real_steps"][0, 1]) > first
    assert np.isfinite(curves["model_return"]).all()
    follower = {"pal": "follower_holdout_loss", "mal": "follower_kl"}[name]
    assert np.isfinite(curves[follower]).all()
    assert np.isnan(metrics["follower_gap"]).all()  # nobody knows


@pytest.mark.xdist_group("continuous")
def test_a_seed_is_the_same_alone():
    alone = jax.jit(jax.vmap(make_train(small("mal"))))(KEYS[1:])
    both = [result.curves["play"]["loss_on_new"][-1] for result in (trained("mal"), alone)]
    np.testing.assert_allclose(*both, rtol=1e-3)


@pytest.mark.parametrize("name", ["small", "practical"])
def test_the_presets_fit_every_world(name):
    for env in WORLDS:
        for formulation in ("pal", "mal", "mal_random_noise"):
            make_program(preset(name, formulation, env=env))


def test_the_published_sizes_are_in_episodes_of_the_world():
    """Hopper's 4,000 samples and 1,000 a step, 50 starts in each of 4 members, 5 steps of 50 iterations."""
    published = preset("practical", "pal", env="gymnax:Pendulum-v1")
    assert (published.game.num_initial_episodes, published.game.num_new_episodes) == (20, 5)
    assert published.leader.num_environments == 50 * published.scheme.follower.num_members
    assert published.leader.total_steps == 50 * 5 * 200 * 200
    assert preset("practical", "mal", env="gymnax:Pendulum-v1").scheme.num_inner_steps == 20


def repaired(formulation, alpha, **changes):
    return jax.jit(make_train(small(formulation, **{"alpha": alpha} | changes)))(jax.random.key(0))


def test_a_model_is_fitted_to_the_data_of_random_actions_as_much_as_is_wanted():
    """With α = 1 the policies' data alone, as MAL does; with α = 0 the random ones alone, which stay as they are."""
    plain = jax.jit(make_train(small("mal")))(jax.random.key(0)).final
    same = repaired("mal_random_noise", 1.0).final
    for name in ("exact_return", "fit", "random_fit", "real_steps"):
        np.testing.assert_allclose(same.metrics[name], plain.metrics[name], rtol=1e-4, atol=1e-6)
    noisy = repaired("mal_random_noise", 0.0).final
    assert float(noisy.metrics["real_steps"]) > 100
    assert float(jnp.abs(noisy.metrics["fit"] - plain.metrics["fit"])) > 1e-3


class Right(Acting):
    """Always as far to the right as can be."""

    def mode(self, observation, time):
        return jnp.ones((*observation.shape[:-1], 1))


def road():
    """A corridor that goes on for ever and pays the place that was reached."""
    world = make_simulator("corridor")
    rules = world.rules._replace(reward=lambda physics, seen, action, following: following[0], terminated=never)
    return world.replace(rules=rules)


def test_a_model_that_is_paid_the_return_becomes_optimistic():
    """It believes in a higher speed than the data say, by as much as the weight of the reward bids it."""
    world = road()
    replay = write(empty(200, 1, 1), *play(KEYS[0], real_environment(world), world, at_random(world, 1.0), 4)[:2])
    family = make_physics_family(world, PhysicsOptions(minibatch_size=32, num_epochs=20, patience=20))
    estimate = imagined_return(world, Right(), replay, 5, 8)

    @jax.jit
    def speed_of(weight):
        started, data = family.init(KEYS[0]), [(replay, 1.0)]
        fitted, _ = family.fit(KEYS[1], started, data, 20, lambda key, model: weight * estimate(key, model))
        return jnp.exp(fitted.model.log_physics["speed"][0])

    honest, hopeful, more = (float(speed_of(weight)) for weight in (0.0, 1e-3, 1e-2))
    assert abs(honest - 0.25) < 0.01
    assert honest < hopeful < more


def test_the_return_in_a_model_has_the_derivative_of_its_few_steps():
    """On a straight road: r = x' where nothing ends, so d/dv Σ_{t<H} x_t = Σ_{t<H} (t + 1) for v a step."""
    world, nowhere = road(), jnp.zeros((4, 1))
    replay = write(empty(4, 1, 1), Transitions(nowhere, nowhere, nowhere), jnp.ones(4, bool))
    estimate, truth = imagined_return(world, Right(), replay, 3, 8), model_of(world)

    def of_speed(speed):
        physics = {**truth.log_physics, "speed": jnp.log(speed)[None]}
        return estimate(jax.random.key(0), truth.replace(log_physics=physics))

    value, slope = jax.value_and_grad(of_speed)(jnp.float32(0.25))
    np.testing.assert_allclose(value, 50 / 3 * 0.25 * 6, rtol=1e-5)
    np.testing.assert_allclose(slope, 50 / 3 * 6, rtol=1e-5)


def test_a_few_numbers_of_physics_can_lead():
    """A model of masses and lengths finds the pendulum's."""
    policy = {f"follower__{name}": value for name, value in POLICY.items()} | {"follower__num_steps": 200}
    experiment = preset("small", "mal", learner="physics", env="gymnax:Pendulum-v1")
    sizes = {"leader__num_updates": 2, "num_inner_steps": 1, "num_records": 2, "num_test_episodes": 4}
    found = jax.jit(make_train(experiment.replace(**sizes, **policy)))(jax.random.key(0))
    assert float(found.final.profile["model"].log_physics["gravity"].shape[0]) == 1
    losses = found.curves["play"]["holdout_loss"]
    assert losses[-1] < 1e-2


def test_the_other_learners_are_refused_from_python_too():
    for leader in (GradientOptions(), EvolutionOptions(num_episodes=2), QLearningOptions()):
        with pytest.raises(InputError, match="leader"):
            check(small("pal").replace(leader=leader, context="answers"))
    with pytest.raises(InputError, match="leader: must learn by ensemble or physics"):
        check(small("mal").replace(leader=EvolutionOptions()))
    with pytest.raises(InputError, match=r"leader\.parametrization: must be network"):
        check(small("pal").replace(leader__parametrization="table"))
    with pytest.raises(InputError, match="buffer_size: must be a whole number"):
        check(small("pal", buffer_size=100))


def test_fooled_is_said_of_a_model_that_is_right_only_where_its_policy_goes():
    experiment = small("mal")
    world = world_of(experiment)
    game = compose(experiment).kind.make_game(world, compose(experiment).formulation, experiment.game)
    judge = game.measures(compose(experiment).formulation).verdict
    profile: dict = {}

    def fooled(exact_return, own, wide):
        metrics = {
            "exact_return": jnp.float32(exact_return),
            "fit": -jnp.float32(own),
            "random_fit": -jnp.float32(wide),
        }
        return bool(judge(profile, metrics, lambda strategy: profile)["fooled"])

    assert fooled(1.0, SMALL_LOSS / 2, LARGE_LOSS)
    assert not fooled(44.0, SMALL_LOSS / 2, LARGE_LOSS)
    assert not fooled(1.0, 2 * SMALL_LOSS, 2 * LARGE_LOSS)  # a model that has not learned
    assert not fooled(1.0, SMALL_LOSS / 20, LARGE_LOSS / 2)  # one that is right everywhere


@pytest.mark.xdist_group("continuous")
def test_a_run_is_kept_read_and_played_again(corridor_run):
    assert "practical (the data of all policies are kept)" in corridor_run.printed
    assert "real steps; the model's loss on new data" in corridor_run.printed
    main(["evaluate", str(corridor_run.out)])
    agent = sbmrl.load(corridor_run.out).agent(seed=1)
    assert agent.acting == ["policy"]
    assert agent.act(jax.random.key(0), jnp.array([-0.75])).shape == (1,)
    assert agent.play(jax.random.key(1), 3).shape == (3,)
    assert agent.profile["model"].num_members == 4


@pytest.mark.xdist_group("continuous")
def test_a_stopped_run_resumes_to_the_same_bits(corridor_run, tmp_path):
    (cell,) = sbmrl.load(corridor_run.out).cells.values()
    plan = Plan((cell.plan,), num_seeds=2, seed=0, chunk_size=None)
    same_files(corridor_run.out, stopped_and_resumed(plan, tmp_path / "stopped") / cell.plan.name)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train mal_agent_reward --env corridor", "scheme: inner_outer holds the response fixed"),
        ("train mal_random_noise --env corridor --alpha 2", "alpha: must be in [0, 1]"),
        ("train mal --env corridor --leader.num-reward-steps 5", "num_reward_steps: must be 20 unless the model leads"),
        ("train mal --env corridor --scheme exact", "scheme: must be inner_outer in the practical game"),
        ("train mal --env corridor --unroll 1", "unroll: must be 0"),
        ("train mal --env corridor --learner ppo", "learner: must be ensemble or physics for the leader of mal"),
        ("train pal --env gymnax:Pendulum", "did you mean 'gymnax:Pendulum-v1'"),
        ("train mal --env corridor --leader.holdout-every 1", "leader.holdout_every: with 1 there is nothing"),
        ("train pal --env corridor --leader.num-steps 20", "num_steps: must be at least 50 for the policy"),
        (
            "train pal --env gymnax:CartPole-v1 --leader.initial-log-standard-deviation 1",
            "leader.initial_log_standard_deviation: must be 0.0 where actions are numbered",
        ),
        ("train pal --env corridor --initial-noise 0", "initial_noise: must be positive and finite"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line_before_anything_is_written(capsys, tmp_path, words, says):
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_every_world_has_a_judge_above_the_uniform_policy():
    for _, make in WORLDS.values():
        known = known_returns(make())
        assert known.optimal > known.uniform
    with pytest.raises(InputError, match="no known optimum"):
        known_returns(make_simulator(WORLD).replace(known=None))
    assert check(small("pal")).env == WORLD
