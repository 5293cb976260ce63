"""A Stackelberg game played out: game × formulation × learner × scheme -> algorithm. Knows no concrete one of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Collector, Game, Info, Outcome, Profile, Strategy
from sbmrl.core.learner import Learner
from sbmrl.core.scheme import Scheme

# Tags far behind the small numbers that `split` counts with: a learner may split the key that it is handed.
_FOLLOWER_TAG, _DATA_TAG = 0x666F6C, 0x646174


class GameState(NamedTuple):
    """Everything that changes while the game is learned: the leader's learner, the scheme's state, collected data."""

    leader: Any
    follower: Any
    data: Profile


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
        given: (state) -> "if the leader plays this strategy, what does the follower know?".
        outcome: (state) -> "if the leader plays this strategy, which profile results?".
        leader_strategy: (state) -> the leader's present strategy.
    """

    init: Callable[[jax.Array], GameState]
    stages: tuple[Stage, ...]
    given: Callable[[GameState], Outcome]
    outcome: Callable[[GameState], Outcome]
    leader_strategy: Callable[[GameState], Strategy]


def stackelberg(
    game: Game,
    formulation: Formulation,
    leader: Learner,
    leader_strategy: Callable[[Any], Strategy],
    scheme: Scheme,
    num_steps: int,
) -> Algorithm:
    """The leader learns for `num_steps` while the scheme answers for the follower.

    Stage "pretrain", where the scheme has one: the follower adapts to random leaders. Stage "play": the follower
    adapts to the present leader if its scheme does so, the leader learns, knowing the outcome of anything it may
    play, and the profile leaves its transitions in the data.

    Args:
        game: the game.
        formulation: who leads and who wants what.
        leader: the leader's learner; its opponent is an outcome.
        leader_strategy: (leader's parameters) -> its strategy.
        scheme: how the follower answers.
        num_steps: leader steps.
    """

    def random_leader(key: jax.Array) -> Profile:
        return {formulation.leader: game.priors[formulation.leader](key)}

    def given(state: GameState) -> Outcome:
        return lambda strategy: {**state.data, formulation.leader: strategy}

    def outcome(state: GameState) -> Outcome:
        def result(strategy: Strategy) -> Profile:
            known = given(state)(strategy)
            return {**known, formulation.follower: scheme.respond(state.follower, known)}

        return result

    def strategy(state: GameState) -> Strategy:
        return leader_strategy(leader.params(state.leader))

    def init(key: jax.Array) -> GameState:
        key_leader, key_follower = jax.random.split(key)
        data = {} if game.collector is None else game.collector.init(jax.random.fold_in(key, _DATA_TAG))
        follower = scheme.init(key_follower, lambda key: {**data, **random_leader(key)})
        return GameState(leader.init(key_leader, outcome(GameState(None, follower, data))), follower, data)

    def pretrain(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        follower, info = scheme.adapt(key, state.follower, random_leader)
        return state._replace(follower=follower), info

    play = _play(leader, scheme, game.collector, given, outcome, strategy)
    stages = (Stage("pretrain", pretrain, scheme.num_pretrain_steps), Stage("play", play, num_steps))
    return Algorithm(init, tuple(stage for stage in stages if stage.num_steps), given, outcome, strategy)


def _play(
    leader: Learner,
    scheme: Scheme,
    collector: Collector | None,
    given: Callable[[GameState], Outcome],
    outcome: Callable[[GameState], Outcome],
    strategy: Callable[[GameState], Strategy],
) -> Callable[[jax.Array, GameState], tuple[GameState, Info]]:
    """A step of the stage "play": the follower's move, the leader's, and that of the data where they are due."""

    def follow(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        present = given(state)(strategy(state))
        follower, info = scheme.adapt(jax.random.fold_in(key, _FOLLOWER_TAG), state.follower, lambda key: present)
        return state._replace(follower=follower), info

    def lead(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        new, info = leader.update(key, state.leader, outcome(state))
        return state._replace(leader=new), info

    def collect(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        assert collector is not None
        profile = outcome(state)(strategy(state))
        return state._replace(data=collector.update(jax.random.fold_in(key, _DATA_TAG), state.data, profile)), {}

    moves = [follow, lead] if scheme.adapts_in_play else [lead]
    if collector is not None:
        moves.insert(moves.index(lead) if collector.after_follower else len(moves), collect)

    def play(key: jax.Array, state: GameState) -> tuple[GameState, Info]:
        info: Info = {}
        for move in moves:
            state, told = move(key, state)
            info |= told
        return state, info

    return play
