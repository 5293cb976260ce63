"""One side's PPO update as functions of a run's state: whole, as the solver makes it, and phase by phase."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax

from sbmrl.benchmark import counts
from sbmrl.core.experiment import Experiment
from sbmrl.core.learner import Trainee
from sbmrl.core.parts import World
from sbmrl.core.rollout import Running, Trajectory
from sbmrl.core.stackelberg import GameState
from sbmrl.experiment.solver import Solver, make_solver
from sbmrl.schemes.contextual import pooled

SideName = Literal["follower", "leader"]
STAGES: dict[SideName, str] = {"follower": "pretrain", "leader": "play"}  # in which each of them learns
PHASES = ("rollout", "advantage", "update")


class Side(NamedTuple):
    """A contextual follower or a leader that learn from rollouts; `key` is the one that an update is given.

    Attributes:
        whole: (key, state) -> state after one update, as in training.
        rollout: (key, state) -> (running, trajectory); a follower's pool of random leaders is drawn here.
        advantage: (state, trajectory) -> samples.
        update: (key, state, samples) -> (params, optimizer state, info).
        sizes: of the networks.
        work: of each of `PHASES`, for one run.
    """

    whole: Callable[[jax.Array, GameState], GameState]
    rollout: Callable[[jax.Array, GameState], tuple[Running, Trajectory]]
    advantage: Callable[[GameState, Trajectory], Any]
    update: Callable[[jax.Array, GameState, Any], Any]
    sizes: counts.Sizes
    work: Mapping[str, counts.Work]


def make_side(experiment: Experiment, world: World, name: SideName) -> Side:
    """The side of an experiment of the contextual scheme, whose traced fields may hold arrays."""
    solver = make_solver(experiment, world)
    leader = solver.formulation.leader
    parts = _trainee(solver, name).phases
    assert parts is not None, f"the {name} does not learn from rollouts in phases"
    stage = next(stage for stage in solver.algorithm.stages if stage.name == STAGES[name])

    def split(key: jax.Array, state: GameState) -> tuple[jax.Array, jax.Array, Any]:
        """The keys of rollout and shuffle, and the opponent, as the scheme and the learner make them."""
        if name == "leader":
            return *jax.random.split(key), solver.algorithm.outcome(state)
        key_pool, key = jax.random.split(key)
        prior, size = solver.game.priors[leader], experiment.scheme.num_leader_pool
        return *jax.random.split(key), pooled(key_pool, lambda key: {leader: prior(key)}, size)

    def rollout(key: jax.Array, state: GameState) -> tuple[Running, Trajectory]:
        key_rollout, _, opponent = split(key, state)
        own = getattr(state, name)
        return parts.collect(key_rollout, own.params, own.running, opponent)

    def advantage(state: GameState, trajectory: Trajectory) -> Any:
        return parts.assess(getattr(state, name).params, trajectory)

    def update(key: jax.Array, state: GameState, samples: Any) -> Any:
        own = getattr(state, name)
        return parts.improve(split(key, state)[1], own.params, own.optimizer_state, samples)

    sizes, options = _sizes(solver, name), experiment.leader if name == "leader" else experiment.scheme.follower
    work = {phase: getattr(counts, phase)(sizes, options) for phase in PHASES}
    return Side(lambda key, state: stage.step(key, state)[0], rollout, advantage, update, sizes, work)


def has_phases(experiment: Experiment, world: World, name: SideName) -> bool:
    """Whether a side learns from rollouts, in phases."""
    return _trainee(make_solver(experiment, world), name).phases is not None


def _trainee(solver: Solver, name: SideName) -> Trainee:
    found = solver.leader if name == "leader" else solver.scheme.follower
    assert found is not None
    return found


def _sizes(solver: Solver, name: SideName) -> counts.Sizes:
    seat, networks = solver.game.seats[getattr(solver.formulation, name)], _trainee(solver, name).networks
    assert networks is not None
    gaussian = seat.head == "gaussian"
    sizes = counts.Sizes(
        actor=networks.actor,
        critic=networks.critic,
        other_parameters=seat.num_outputs if gaussian else 0,
        answer=seat.num_outputs if gaussian else 1,
        info=0 if name == "leader" else 1,
    )
    if name == "follower":
        return sizes
    other, opponent = solver.game.seats[solver.formulation.follower], _trainee(solver, "follower").networks
    assert opponent is not None
    return sizes._replace(opponent=opponent.actor, num_queries=other.queries.shape[0])
