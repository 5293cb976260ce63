"""One side's PPO update as functions of a run's state: whole, as the solver makes it, and phase by phase."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax

from sbmrl.benchmark import counts
from sbmrl.core.experiment import Experiment
from sbmrl.games.tabular.mdp import TabularMDP
from sbmrl.learners.ppo import Samples, phases
from sbmrl.core.options import FitOptions, PPOOptions
from sbmrl.core.players import make_player
from sbmrl.core.problems import follower_problem, leader_problem
from sbmrl.core.rollout import Running, Trajectory
from sbmrl.schemes.contextual import pooled
from sbmrl.experiment.solver import make_solver
from sbmrl.core.stackelberg import GameState

SideName = Literal["follower", "leader"]
STAGES: dict[SideName, str] = {"follower": "pretrain", "leader": "play"}  # in which each of them learns
PHASES = ("rollout", "advantage", "update")


class Side(NamedTuple):
    """A contextual follower or a leader, both by PPO; `key` is the one that an update is given.

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
    advantage: Callable[[GameState, Trajectory], Samples]
    update: Callable[[jax.Array, GameState, Samples], Any]
    sizes: counts.Sizes
    work: Mapping[str, counts.Work]


def make_side(experiment: Experiment, mdp: TabularMDP, name: SideName) -> Side:
    """The side of an experiment of the contextual scheme, whose traced fields may hold arrays."""
    solver, options = make_solver(experiment, mdp), getattr(experiment, name)
    game, formulation = solver.game, solver.formulation
    leader, role = formulation.leader, getattr(formulation, name)
    player = make_player(game.seats[role], _observation_size(solver.algorithm.init, name), options)
    if name == "follower":
        problem: Any = follower_problem(game, formulation, game.describe[leader])
    else:
        problem = leader_problem(game, formulation, experiment.response)
    parts = phases(problem, player, options)
    stage = next(stage for stage in solver.algorithm.stages if stage.name == STAGES[name])

    def split(key: jax.Array, state: GameState) -> tuple[jax.Array, jax.Array, Any]:
        """The keys of rollout and shuffle, and the opponent, as the scheme and the learner make them."""
        if name == "leader":
            return *jax.random.split(key), solver.algorithm.outcome(state)
        key_pool, key = jax.random.split(key)
        leaders = pooled(key_pool, lambda key: {leader: game.priors[leader](key)}, experiment.num_leader_pool)
        return *jax.random.split(key), leaders

    def rollout(key: jax.Array, state: GameState) -> tuple[Running, Trajectory]:
        key_rollout, _, opponent = split(key, state)
        own = getattr(state, name)
        return parts.collect(key_rollout, own.params, own.running, opponent)

    def advantage(state: GameState, trajectory: Trajectory) -> Samples:
        return parts.assess(getattr(state, name).params, trajectory)

    def update(key: jax.Array, state: GameState, samples: Samples) -> Any:
        own = getattr(state, name)
        return parts.improve(split(key, state)[1], own.params, own.optimizer_state, samples)

    sizes = _sizes(experiment, solver, name)
    work = {phase: getattr(counts, phase)(sizes, options) for phase in PHASES}
    return Side(lambda key, state: stage.step(key, state)[0], rollout, advantage, update, sizes, work)


def _observation_size(init: Callable[[jax.Array], GameState], name: SideName) -> int:
    state = jax.eval_shape(init, jax.random.key(0))
    return getattr(state, name).running.observation.shape[-1]


def _sizes(experiment: Experiment, solver: Any, name: SideName) -> counts.Sizes:
    seat = solver.game.seats[getattr(solver.formulation, name)]
    options, gaussian = getattr(experiment, name), seat.head == "gaussian"
    observation = _observation_size(solver.algorithm.init, name)
    sizes = counts.Sizes(
        actor=(observation, *options.actor_hidden, seat.num_outputs),
        critic=(observation, *options.critic_hidden, 1),
        other_parameters=seat.num_outputs if gaussian else 0,
        answer=seat.num_outputs if gaussian else 1,
        info=0 if name == "leader" else 1,
    )
    if name == "follower":
        return sizes
    other, theirs = solver.game.seats[solver.formulation.follower], experiment.follower
    assert isinstance(theirs, PPOOptions | FitOptions)
    hidden = theirs.actor_hidden if isinstance(theirs, PPOOptions) else theirs.hidden
    widths = (_observation_size(solver.algorithm.init, "follower"), *hidden, other.num_outputs)
    return sizes._replace(opponent=widths, num_queries=other.queries.shape[0])
