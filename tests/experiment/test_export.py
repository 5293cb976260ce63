"""No accelerator is needed to know that a program would compile for one: every part is lowered for CUDA and TPU."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_experiment

from sbmrl.core import registry
from sbmrl.core.devices import make_mesh, map_over_devices
from sbmrl.errors import InputError
from sbmrl.experiment.checks import check
from sbmrl.experiment.presets import preset
from sbmrl.experiment.program import make_program
from sbmrl.sweep.execute import pack, seed_key, traced_values, unpack

PLATFORMS = ("cuda", "tpu")
LEADERS = [name for name, learner in registry.learners().items() if learner.heard(learner.options())]


def fitting():
    """Formulation, scheme and learner wherever they fit together."""
    for formulation in registry.formulations():
        for scheme in registry.schemes():
            for learner in LEADERS:
                small = {"env": "two_ways"} if formulation == "reward_shaping" else {}  # the usual one has 104 cells
                try:
                    check(tiny_experiment(formulation, scheme, learner, **small))
                except InputError:
                    continue
                yield formulation, scheme, learner


FITTING = list(fitting())
OTHER_KINDS = [
    *(("mal", scheme, None, "lqr_scalar") for scheme in ("exact", "implicit", "contextual", "inner_outer")),
    ("pal", "exact", None, "lqr_scalar"),
    ("pal", None, None, "corridor"),
    ("mal", None, "ensemble", "corridor"),
    ("mal", None, "physics", "gymnax:Pendulum-v1"),
]


def exported(function, mapped, *arguments):
    """A function over two runs on one device, as the command line maps it, lowered for all platforms."""
    mesh = make_mesh(jax.devices()[:1])
    batch = [jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), one) for one in arguments]
    given = [both if own else one for both, one, own in zip(batch, arguments, mapped, strict=True)]
    mapped_function: Any = map_over_devices(function, mesh, mapped)
    return jax.export.export(mapped_function, platforms=PLATFORMS)(*given)


def test_every_part_is_exported_somewhere():
    assert {row[0] for row in FITTING} == set(registry.formulations())
    assert {row[1] for row in FITTING} == set(registry.schemes())
    assert {row[2] for row in FITTING} | {row[2] for row in OTHER_KINDS} == {*LEADERS, None}


@pytest.mark.parametrize(("formulation", "scheme", "learner"), FITTING)
def test_every_program_is_one_for_accelerators(formulation, scheme, learner):
    small = {"env": "two_ways"} if formulation == "reward_shaping" else {}
    experiment = tiny_experiment(formulation, scheme, learner, **small)
    first = next(one for *pair, one in FITTING if pair == [formulation, scheme])
    export_all(experiment, with_end=learner == first)  # the end asks for no learner


@pytest.mark.parametrize(("formulation", "scheme", "learner", "env"), OTHER_KINDS)
def test_so_are_those_of_worlds_without_tables(formulation, scheme, learner, env):
    export_all(preset(None, formulation, scheme, learner, env), with_end=True)


def export_all(experiment, with_end):
    """Init, a record of each stage, and the end: each is lowered for all platforms."""
    program, fixed = make_program(experiment), traced_values(experiment)
    like = jax.eval_shape(program.init, jax.random.key(0), fixed)
    state, seed = jax.eval_shape(pack, like), jax.ShapeDtypeStruct((), np.int32)

    def init(seed, fixed):
        return pack(program.init(seed_key(0, seed), fixed))

    programs = [exported(init, (True, False), seed, fixed)]
    for stage in program.stages:

        def record(seed, fixed, packed, stage=stage):
            state, metrics = stage.record(seed_key(0, seed), fixed, unpack(packed, like), jnp.int32(0))
            return pack(state), metrics

        programs.append(exported(record, (True, False, True), seed, fixed, state))
    if with_end:

        def finish(seed, fixed, packed):
            final = program.finish(seed_key(0, seed), fixed, unpack(packed, like))
            return final.metrics, final.profile

        programs.append(exported(finish, (True, False, True), seed, fixed, state))
    for one in programs:
        assert one.platforms == PLATFORMS
        assert len(one.mlir_module_serialized) > 1000
