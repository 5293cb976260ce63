"""The order of moves when a game is played out."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Collector
from sbmrl.core.learner import Learner
from sbmrl.core.scheme import answering
from sbmrl.core.stackelberg import stackelberg

FORMULATION = Formulation("first", "second", {}, {})
# The state of both sides is the data that they have seen: the leader's at its step, the follower's where it adapts.
LEADER = Learner(lambda key, opponent: jnp.int32(-1), lambda key, state, sees: (sees(0.0)["data"], {}), lambda s: s, 1)


def scheme(adapts):
    one = answering(lambda key, given: jnp.zeros(()), draws=adapts)
    return one._replace(
        init=lambda key, leaders: jnp.int32(-1), adapt=lambda key, state, leaders: (leaders(key)["data"], {})
    )


@pytest.mark.parametrize("adapts", [True, False])
@pytest.mark.parametrize("after_follower", [True, False])
def test_data_are_collected_where_the_game_says(after_follower, adapts):
    """Ten transitions a step; data behind the follower's move are those that the leader learns from."""
    collector = Collector(
        lambda key: {"data": jnp.int32(0)}, lambda key, data, profile: {"data": data["data"] + 10}, after_follower
    )
    game: Any = SimpleNamespace(priors={"first": lambda key: jnp.zeros(())}, collector=collector)
    run = stackelberg(game, FORMULATION, LEADER, lambda params: params, scheme(adapts), 1)
    (stage,) = run.stages
    state, _ = stage.step(jax.random.key(1), run.init(jax.random.key(0)))
    assert int(state.data["data"]) == 10
    assert int(state.leader) == (10 if after_follower else 0)
    assert int(state.follower) == (0 if adapts else -1)
