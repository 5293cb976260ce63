"""A Stackelberg game played out: game × formulation × learner × scheme -> algorithm. Knows no concrete one of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sbmrl.formulations import Formulation
from sbmrl.game import Game, Outcome
from sbmrl.learners.base import Info, Learner
from sbmrl.schemes.base import Scheme


class GameState(NamedTuple):
    """Everything that changes while the game is learned: the leader's learner state and the scheme's state."""

    leader: Any
    follower: Any


class Stage(NamedTuple):
    """A named loop: `num_steps` times `step: (key, state) -> (state, info)`."""

    name: str
    step: Callable[[jax.Array, GameState], tuple[GameState, Info]]
    num_steps: int


class Algorithm(NamedTuple):
    """A whole run as pure functions.

    Attributes:
        init: (key) -> state.
        stages: loops to run in order.
        outcome: (state) -> "if the leader plays this strategy, which profile results?".
    """

    init: Callable[[jax.Array], GameState]
    stages: tuple[Stage, ...]
    outcome: Callable[[GameState], Outcome]


def stackelberg(game: Game, formulation: Formulation, leader: Learner, scheme: Scheme, num_steps: int) -> Algorithm:
    """The leader learns for `num_steps` while the scheme answers for the follower.

    Stage "pretrain": the follower adapts to random leaders. Stage "play": the leader learns, knowing the outcome of
    anything it may play.
    """
    random_leader = game.priors[formulation.leader]

    def outcome(state: GameState) -> Outcome:
        return lambda strategy: {
            formulation.leader: strategy,
            formulation.follower: scheme.respond(state.follower, strategy),
        }

    def init(key: jax.Array) -> GameState:
        key_leader, key_follower = jax.random.split(key)
        follower = scheme.init(key_follower, random_leader)
        return GameState(leader.init(key_leader, outcome(GameState(None, follower))), follower)

    def pretrain(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        follower, info = scheme.adapt(key, state.follower, random_leader)
        return state._replace(follower=follower), info

    def play(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        new, info = leader.update(key, state.leader, outcome(state))
        return state._replace(leader=new), info

    stages = (Stage("pretrain", pretrain, scheme.num_pretrain_steps), Stage("play", play, num_steps))
    return Algorithm(init, stages, outcome)
