"""The counts of operations agree with the real programs, and the phases put together are the real update."""

import jax
import pytest
from conftest import tiny_experiment
from jax.extend.core import jaxprs_in_params
from jax.interpreters import partial_eval

from sbmrl.benchmark import counts, phases
from sbmrl.benchmark.ceilings import Ceilings
from sbmrl.benchmark.phases import WHOLE, Phase, measure_phases
from sbmrl.benchmark.sides import PHASES, STAGES, make_side
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program
from sbmrl.games.tabular.mdp import make_world
from sbmrl.learners.ppo import PPOOptions

pytestmark = pytest.mark.xdist_group("phases")  # so that one worker compiles what two tests run

CASES = [(name, side) for name in ("mal", "mal_random_noise") for side in STAGES] + [("pal", "leader")]


def products_in(jaxpr):
    """Operations of all matrix products, those in a scan as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            summed = 1
            for axis in contracted:
                summed *= equation.invars[0].aval.shape[axis]
            total += 2 * summed * equation.outvars[0].aval.size
        inner = sum(products_in(own) for own in jaxprs_in_params(equation.params))
        assert not (inner and equation.primitive.name in ("while", "cond"))
        total += inner * (equation.params["length"] if equation.primitive.name == "scan" else 1)
    return total


def products_of(function, *arguments):
    """The same of a function, without what is computed for nothing, as the first layers' slopes of their inputs."""
    traced = jax.make_jaxpr(function)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
    return products_in(needed)


@pytest.mark.parametrize(("formulation", "name"), CASES)
@pytest.mark.parametrize("make", [lambda name: preset("poster", name), tiny_experiment], ids=["poster", "tiny"])
def test_products_by_formula_are_those_of_the_program(formulation, name, make):
    experiment = make(formulation)
    mdp = make_world(experiment.env)
    side, key = make_side(experiment, mdp, name), jax.random.key(0)
    state = jax.eval_shape(make_program(experiment, mdp).init, key, {})
    _, trajectory = jax.eval_shape(side.rollout, key, state)
    samples = jax.eval_shape(side.advantage, state, trajectory)
    counted = {
        "rollout": products_of(side.rollout, key, state),
        "advantage": products_of(side.advantage, state, trajectory),
        "update": products_of(side.update, key, state, samples),
    }
    assert counted == {phase: side.work[phase].products for phase in PHASES}
    assert products_of(side.whole, key, state) == sum(counted.values())


@pytest.mark.parametrize("name", STAGES)
def test_sizes_are_those_of_the_parameters_and_the_trajectory(name):
    experiment = tiny_experiment("mal")
    mdp = make_world(experiment.env)
    side, key = make_side(experiment, mdp, name), jax.random.key(0)
    state = jax.eval_shape(make_program(experiment, mdp).init, key, {})
    own, options = getattr(state, name), {"leader": experiment.leader, "follower": experiment.scheme.follower}[name]
    assert side.sizes.num_parameters == sum(leaf.size for leaf in jax.tree.leaves(own.params))
    _, trajectory = jax.eval_shape(side.rollout, key, state)
    written = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trajectory))
    networks = counts.parameters(side.sizes.actor) + counts.parameters(side.sizes.opponent)
    assert side.work["rollout"].bytes == written + 4 * options.num_steps * networks


@pytest.mark.parametrize("name", STAGES)
def test_phases_put_together_are_the_update(name):
    """Each a program of its own, those that are timed."""
    programs, state, _ = phases._prepare(tiny_experiment("mal"), name, num_seeds=5)
    running, trajectory = programs["rollout"](state)
    params, optimizer_state, _ = programs["update"](state, trajectory, programs["advantage"](state, trajectory))
    own = getattr(programs[WHOLE](state), name)
    for expected, found in zip(
        jax.tree.leaves(tuple(own)), jax.tree.leaves((params, optimizer_state, running)), strict=True
    ):
        assert (expected == found).all()


def test_counts_of_a_network_by_hand():
    """Layers of 3 inputs and 2 units, 2 inputs and 1 output; 4 steps in 1 environment, batches of 2, 1 epoch."""
    assert counts.parameters((3, 2, 1)) == 8 + 3
    assert counts.forward((3, 2, 1)) == (12 + 4) + (2 + 1) + 2
    assert counts.backward((3, 2, 1)) == (12 + 4 + 4) + (2 + 1) + 3 * 2
    options = PPOOptions(num_environments=1, num_steps=4, minibatch_size=2, num_epochs=1)
    sizes = counts.Sizes(actor=(3, 2, 1), critic=(3, 1), other_parameters=1, answer=1, info=0)
    assert sizes.num_parameters == 11 + 4 + 1
    assert counts.rollout(sizes, options) == (4 * 21, 4 * 16, 4 * (4 * 8 + 2) + 4 * 4 * 11)
    assert counts.advantage(sizes, options) == (
        4 * (21 + 2 * 7 + 6),
        4 * (16 + 2 * 6),
        4 * (4 * 8 + 2) + 4 * 16 + 4 * 4 * 3,
    )
    assert counts.update(sizes, options) == (
        4 * (21 + 29 + 7 + 7) + 2 * 18 * 16,
        4 * (16 + 20 + 6 + 6),
        4 * 4 * (3 + 1 + 3) + 4 * 2 * 8 * 16,
    )


def test_shares_are_of_the_nearer_ceiling():
    phase = Phase("leader", "update", 10, seconds=2.0, work=counts.Work(operations=20, products=10, bytes=40))
    assert phase.seconds_per_seed == 0.2
    assert phase.operations_per_second == pytest.approx(100.0)
    assert phase.share_of_arithmetic(Ceilings(operations=1000.0, bytes=1000.0)) == pytest.approx(0.1)
    assert phase.share_of_limit(Ceilings(operations=1000.0, bytes=1000.0)) == pytest.approx(0.2)
    assert phase.share_of_limit(Ceilings(operations=200.0, bytes=1000.0)) == pytest.approx(0.5)


@pytest.mark.parametrize("name", STAGES)
def test_every_phase_is_measured(name):
    found = measure_phases(tiny_experiment("mal"), name, num_seeds=5, num_repeats=1)
    assert [phase.phase for phase in found] == [*PHASES, WHOLE]
    assert {phase.num_seeds for phase in found} == {8}  # a multiple of the devices
    assert all(phase.seconds > 0 for phase in found)
    assert found[-1].work == counts.together(phase.work for phase in found[:-1])
