"""What a learner is, what it is told of the player that it trains, and what it hands back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.environment import Environment
from sbmrl.core.formulation import Role, Weights
from sbmrl.core.free_players import FreePlayer
from sbmrl.core.game import Game, Info, Profile, Seat, Strategy
from sbmrl.core.players import Params
from sbmrl.core.rollout import Running, Trajectory

Opponent = Any  # what the problem needs to know of the other side: an `Outcome`, or a sampler of leaders
LearnerState = Any


class Learner(NamedTuple):
    """A player's way to improve, whatever its role.

    Attributes:
        init: (key, opponent) -> state.
        update: (key, state, opponent) -> (state, info).
        params: (state) -> the player's parameters.
        steps_per_update: environment steps taken by one update; for learners of exact payoffs, payoffs computed.
    """

    init: Callable[[jax.Array, Opponent], LearnerState]
    update: Callable[[jax.Array, LearnerState, Opponent], tuple[LearnerState, Info]]
    params: Callable[[LearnerState], Any]
    steps_per_update: int


class Task(NamedTuple):
    """What a player has to learn, whatever its side: all that a learner's builder is told.

    Attributes:
        game: the game.
        role: the player's.
        seen: `[Q', D]` everything that it can observe, behind a description.
        played: `[Q, D]` what it observes at its queries while it plays.
        context_size: C, numbers of the description ω in front of every observation; 0 where there is none.
        problem: (opponent) -> its sampled episode; not every game can be played.
        payoff: (profile) -> `[]` what it wants, exactly.
        wants: payoff name -> weight, of what that is the sum.
        num_steps: most steps of an episode of the problem, queries counted.
        describe: (key, what is given: a profile with the leader's strategy) -> ω `[C]`; None where there is no
            description.
        num_leaders: leaders that a follower of many learns against in an update.
        optimizer: in place of the one that the options name.
    """

    game: Game
    role: Role
    seen: jax.Array
    played: jax.Array
    context_size: int
    problem: Callable[[Opponent], Environment]
    payoff: Callable[[Profile], jax.Array]
    wants: Weights
    num_steps: int
    describe: Callable[[jax.Array, Profile], jax.Array] | None = None
    num_leaders: int = 1
    optimizer: optax.GradientTransformation | None = None

    @property
    def seat(self) -> Seat:
        """The player's."""
        return self.game.seats[self.role]

    @property
    def observation_size(self) -> int:
        """Numbers in an observation, description included."""
        return self.context_size + self.seen.shape[1]


class Phases(NamedTuple):
    """The three phases of an update on rollouts, apart so that each can be timed on its own.

    Attributes:
        collect: (key, params, running, opponent) -> (running, trajectory): play T steps in E environments.
        assess: (params, trajectory) -> samples: values, advantages and log-probabilities.
        improve: (key, params, optimizer state, samples) -> (params, optimizer state, info).
    """

    collect: Callable[[jax.Array, Params, Running, Opponent], tuple[Running, Trajectory]]
    assess: Callable[[Params, Trajectory], Any]
    improve: Callable[[jax.Array, Params, Any, Any], tuple[Params, Any, Info]]


class Networks(NamedTuple):
    """The widths of a player's networks, inputs first and outputs last; of no critic, none."""

    actor: tuple[int, ...]
    critic: tuple[int, ...] = ()


class Trainee(NamedTuple):
    """A learner with the player that it trains.

    Attributes:
        learner: of the task.
        strategy: (params, ω `[C]` or None where there is none) -> what the other side can see of the player.
        answers: (params, ω or None) -> `[Q, N]` what it outputs at all of its queries, as played; None where it has no
            queries.
        phases: of an update, where it is made of these.
        networks: their widths, where the player consists of networks.
    """

    learner: Learner
    strategy: Callable[[Params, jax.Array | None], Strategy]
    answers: Callable[[Params, jax.Array | None], jax.Array] | None = None
    phases: Phases | None = None
    networks: Networks | None = None


def trainee_of_answers(
    task: Task,
    learner: Learner,
    answers: Callable[[Params, jax.Array | None], jax.Array],
    phases: Phases | None = None,
    networks: Networks | None = None,
) -> Trainee:
    """A player that its answers to all queries tell."""
    strategy = lambda params, description: task.seat.table(answers(params, description))  # noqa: E731
    return Trainee(learner, strategy, answers, phases, networks)


def answers_of(task: Task, player: FreePlayer) -> Callable[[Params, jax.Array | None], jax.Array]:
    """(params, ω or None) -> `[Q, N]` outputs of a player that answers all it can see at once."""

    def answers(params: Params, description: jax.Array | None = None) -> jax.Array:
        return player.logits(params, description)[-task.played.shape[0] :]  # told the phase, that of play is the last

    return answers


def scan_minibatches(
    key: jax.Array,
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    data: Any,
    minibatch_size: int,
    num_epochs: int,
) -> tuple[Any, Any]:
    """`step(carry, minibatch)` over shuffled minibatches `[B, ...]` of `data` `[T, E, ...]`, once each per epoch.

    Whole time steps of all E environments are shuffled, so that a shuffle sorts T numbers instead of T·E: under a
    vmap over seeds a sort of every sample costs more than the gradient steps. Minibatches are flattened to one batch
    axis, because a matrix product with one is a third faster than with two. B is a multiple of E that divides T·E.
    """
    num_steps, num_environments = jax.tree.leaves(data)[0].shape[:2]
    keys = jax.random.split(key, num_epochs)
    order = jax.vmap(lambda k: jax.random.permutation(k, num_steps))(keys)
    order = order.reshape(-1, minibatch_size // num_environments)

    def scan_step(carry: Any, rows: jax.Array):
        minibatch = jax.tree.map(lambda x: x[rows].reshape(minibatch_size, *x.shape[2:]), data)
        return step(carry, minibatch)

    return jax.lax.scan(scan_step, carry, order)


def gradient_norm(slope: Params) -> jax.Array:
    """`[]`: the Euclidean norm over all parameters, with derivative 0 at 0."""
    total = optax.tree.norm(slope, squared=True)
    return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1.0)), 0.0)
