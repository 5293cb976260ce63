"""From a configuration to pure functions: `make_train(experiment)(key, hyper) -> Result`.

The same pieces make one program for a notebook (`make_train`) and equal chunks for the command line
(`make_program`): a record is a fixed number of updates followed by one exact measurement, and a stage is a scan over
records. Chunked or whole, the keys and so the numbers are the same.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.experiment import Experiment
from sbmrl.core.formulation import Role
from sbmrl.core.game import Metrics, Strategy
from sbmrl.core.measures import all_finite
from sbmrl.core.options import traced_fields, with_traced
from sbmrl.core.parts import World
from sbmrl.core.stackelberg import GameState
from sbmrl.experiment.checks import check
from sbmrl.experiment.solver import Solver, make_solver, world_of

Hyper = Mapping[str, Any]  # traced hyper-parameters by dotted name; those left out keep the experiment's value


class StageProgram(NamedTuple):
    """One stage cut into equal records.

    Attributes:
        name: "pretrain" or "play".
        record: (key, hyper, state, index of the record) -> (state, metrics); key is the run's key.
        num_records: records in the stage.
        steps_per_record: environment steps in one record.
    """

    name: str
    record: Callable[[jax.Array, Hyper, GameState, jax.Array], tuple[GameState, Metrics]]
    num_records: int
    steps_per_record: int


class Final(NamedTuple):
    """What is known of a trained seed; unbatched.

    Attributes:
        metrics: final numbers, `[]` each (see the kind of game's measures).
        profile: role -> the evaluated strategy, as the kind of game has it: in model-based RL "model" `[S, A, S]` and
            "policy" `[(T,) S, A]`, T where it was planned with a clock.
        params: {"leader": …, "follower": …} trained parameters.
    """

    metrics: Metrics
    profile: Mapping[Role, Strategy]
    params: Mapping[str, Any]


class Result(NamedTuple):
    """A finished run: its `Final` and its learning curves, stage -> metric -> `[num_records]`."""

    final: Final
    curves: Mapping[str, Metrics]


class Program(NamedTuple):
    """A run as pure functions; batch each with `jax.vmap` over keys and hyper-parameters.

    Attributes:
        init: (key, hyper) -> state.
        stages: to run in order, record by record.
        finish: (key, hyper, state) -> final; another key gives another sampled return.
        params: (state) -> {"leader": …, "follower": …} trained parameters.
    """

    init: Callable[[jax.Array, Hyper], GameState]
    stages: tuple[StageProgram, ...]
    finish: Callable[[jax.Array, Hyper, GameState], Final]
    params: Callable[[GameState], Mapping[str, Any]]


def _measure(solver: Solver, state: GameState, stage: str, key: jax.Array, num_leaders: int) -> Metrics:
    """The point that a learning curve keeps: the follower's regret while it is pretrained, the profile in play."""
    outcome, measures = solver.algorithm.outcome(state), solver.game.measures(solver.formulation)
    if stage == "pretrain":
        return measures.follower(key, outcome, num_leaders)
    return measures.profile(solver.algorithm.leader_strategy(state), outcome)[0]


def _finish(solver: Solver, experiment: Experiment, key: jax.Array, state: GameState) -> Final:
    key_leaders, key_episodes = jax.random.split(key)
    outcome, measures = solver.algorithm.outcome(state), solver.game.measures(solver.formulation)
    leader = solver.algorithm.leader_strategy(state)
    metrics, profile = measures.profile(leader, outcome)
    metrics |= measures.verdict(profile, metrics, outcome)
    metrics |= measures.follower(key_leaders, outcome, experiment.num_random_leaders)
    episodes = measures.sampled_returns(key_episodes, profile, experiment.num_eval_episodes)
    metrics["sampled_return"] = jnp.mean(episodes)
    params = solver.params(state)
    known = {name: value for name, value in metrics.items() if name not in measures.unknown}
    metrics["finite"] = all_finite((params, known))
    metrics["residual"] = solver.scheme.residual(state.follower, solver.algorithm.given(state)(leader))
    return Final(metrics, profile, params)


def make_program(
    experiment: Experiment,
    world: World | None = None,
    leader_optimizer: optax.GradientTransformation | None = None,
) -> Program:
    """The program of an experiment, cut into records.

    Args:
        experiment: the configuration.
        world: of the formulation's kind of game, if it is not the one that `env` names.
        leader_optimizer: any optax transformation, in place of the named optimizer of a gradient or evolution leader.

    Raises:
        InputError: the experiment cannot run (see `sbmrl.experiment.checks.check`), or its world cannot be read.
    """
    check(experiment)
    world = world_of(experiment) if world is None else world

    def solver(hyper: Hyper) -> Solver:
        return make_solver(with_traced(experiment, hyper), world, leader_optimizer)

    def init(key: jax.Array, hyper: Hyper) -> GameState:
        return solver(hyper).algorithm.init(jax.random.fold_in(key, 0))

    plan = solver({})  # which stages there are and how long they take, no matter what is traced

    def make_stage(index: int) -> StageProgram:
        stage = plan.algorithm.stages[index]
        updates_per_record = stage.num_steps // experiment.num_records

        def record(key: jax.Array, hyper: Hyper, state: GameState, number: jax.Array):
            own = solver(hyper)
            key = jax.random.fold_in(jax.random.fold_in(key, 1 + index), number)
            key_updates, key_measure = jax.random.split(key)
            keys = jax.random.split(key_updates, updates_per_record)
            step = own.algorithm.stages[index].step
            state, infos = jax.lax.scan(lambda state, key: step(key, state), state, keys)
            measured = _measure(own, state, stage.name, key_measure, experiment.num_random_leaders)
            return state, measured | jax.tree.map(jnp.mean, infos)

        steps = updates_per_record * plan.steps_per_update[stage.name]
        return StageProgram(stage.name, record, experiment.num_records, steps)

    return Program(
        init,
        tuple(make_stage(index) for index in range(len(plan.algorithm.stages))),
        lambda key, hyper, state: _finish(solver(hyper), with_traced(experiment, hyper), key, state),
        plan.params,
    )


def finish_key(key: jax.Array) -> jax.Array:
    """The key with which a run's own final evaluation is made."""
    return jax.random.fold_in(key, 0x66696E)  # far behind the stages' numbers


def make_train(
    experiment: Experiment,
    world: World | None = None,
    leader_optimizer: optax.GradientTransformation | None = None,
) -> Callable[..., Result]:
    """`train(key, hyper={}) -> Result`: a whole run as one pure function, for `jax.jit(jax.vmap(...))`.

    `hyper` replaces traced hyper-parameters by dotted name (`hyper_parameters(experiment)` lists them), e.g.
    `{"alpha": 0.3, "leader.learning_rate": 1e-4}`; its values may be vmapped. The other arguments are `make_program`'s.
    """
    program = make_program(experiment, world, leader_optimizer)

    def train(key: jax.Array, hyper: Hyper | None = None) -> Result:
        hyper = hyper or {}
        state, curves = program.init(key, hyper), {}
        for stage in program.stages:

            def record(state: GameState, number: jax.Array, stage: StageProgram = stage):
                return stage.record(key, hyper, state, number)

            state, curves[stage.name] = jax.lax.scan(record, state, jnp.arange(stage.num_records))
        return Result(program.finish(finish_key(key), hyper, state), curves)

    return train


def hyper_parameters(experiment: Experiment) -> dict[str, float]:
    """The traced hyper-parameters of an experiment and their values, by dotted name."""
    return traced_fields(experiment)
