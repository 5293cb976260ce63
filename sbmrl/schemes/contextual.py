"""The contextualized follower: pretrained on random leaders given their description ω, then frozen.

Source: Gerstgrasser & Parkes (2023), "Oracles & Followers"; the poster, section 1. The follower's answer to a leader
is net(θ, ω(leader)), so it changes with the leader without any further training.
"""

import dataclasses
from typing import Any

import jax

from sbmrl.core import registry
from sbmrl.core.game import Game, Profile, Strategy
from sbmrl.core.learner import Trainee
from sbmrl.core.options import require_count
from sbmrl.core.parts import Choice, Composition, LearnerKind, SchemeKind
from sbmrl.core.problems import Leaders
from sbmrl.core.scheme import Scheme, no_residual
from sbmrl.core.tasks import follower_task
from sbmrl.errors import InputError, require
from sbmrl.learners.fit import FIT
from sbmrl.learners.ppo import PPO


@dataclasses.dataclass(frozen=True)
class ContextualOptions:
    """A follower that is pretrained on random leaders, knowing each by its answers."""

    follower: Any
    """How the follower learns."""
    num_leader_pool: int = 2048
    """Random leaders drawn for each update of the follower; its episodes, if it plays any, pick among them."""


def pooled(key: jax.Array, leaders: Leaders, pool_size: int) -> Leaders:
    """A sampler that picks among `pool_size` leaders drawn here.

    An environment that resets itself under `vmap` would otherwise draw a whole new leader at every step.
    """
    pool = jax.vmap(leaders)(jax.random.split(key, pool_size))
    return lambda key: jax.tree.map(lambda x: x[jax.random.randint(key, (), 0, pool_size)], pool)


def contextual(
    game: Game, role: str, leader: str, follower: Trainee, num_pretrain_steps: int, pool_size: int
) -> Scheme:
    """The scheme around a follower that is conditioned on its leader's description.

    Args:
        game: the game.
        role: the follower's.
        leader: the leader's role.
        follower: its learner and player.
        num_pretrain_steps: follower updates before play.
        pool_size: random leaders drawn for each update, among which its episodes pick; 0 for a learner that draws them.
    """
    learner, describe = follower.learner, game.describe[leader]

    def adapt(key: jax.Array, state: Any, leaders: Leaders):
        key_pool, key_update = jax.random.split(key)
        return learner.update(key_update, state, pooled(key_pool, leaders, pool_size) if pool_size else leaders)

    def respond(state: Any, given: Profile) -> Strategy:
        return follower.strategy(learner.params(state), describe(given[leader]))

    return Scheme(
        learner.init,
        adapt,
        respond,
        no_residual,
        learner.params,
        num_pretrain_steps,
        adapts_in_play=False,
        steps_per_round=learner.steps_per_update,
        follower=follower,
    )


def build(game: Game, composition: Composition) -> Scheme:
    """The scheme of an experiment."""
    experiment, kind = composition.experiment, composition.follower
    options, formulation = experiment.scheme, composition.formulation
    assert kind is not None
    assert kind.build is not None
    leader = formulation.leader
    task = follower_task(game, formulation, game.describe[leader], options.num_leader_pool)
    follower = kind.build(task, options.follower)
    rounds = experiment.whole_records(kind.num_updates(options.follower))
    pool_size = options.num_leader_pool if kind.plays(options.follower) else 0
    return contextual(game, formulation.follower, leader, follower, rounds, pool_size)


def check(composition: Composition) -> None:
    """Raise `InputError` unless the follower can be conditioned on its leader and learns what it wants."""
    options, kind = composition.experiment.scheme, composition.follower
    require_count(options.num_leader_pool, "num_leader_pool")
    assert kind is not None
    fitting = [one.name for one in registry.learners().values() if _fits(one, composition)]
    allowed = f"must learn by {' or '.join(fitting)} in {composition.row.name} with contextual"
    require(kind.name in fitting, "follower", allowed, kind.name)
    if getattr(options.follower, "parametrization", "network") == "table":
        raise InputError("follower.parametrization: must be 'network', a table cannot be conditioned on the leader")


def _fits(kind: LearnerKind, composition: Composition) -> bool:
    """Whether a learner can be pretrained on many leaders and learn what the follower wants."""
    if not (kind.follows and kind.pretrains) or kind.build is None:
        return False
    exact = not kind.plays(registry.defaults_of(kind))
    return exact or kind.predicts == composition.only_predicts


def default(choice: Choice, leader: Any) -> ContextualOptions:
    """A follower that only predicts is fitted, any other learns by PPO."""
    del leader
    return ContextualOptions(registry.defaults_of(FIT if choice.only_predicts else PPO, choice.preset))


CONTEXTUAL = SchemeKind(
    name="contextual",
    summary="contextualized follower: pretrained on random leaders given ω, then frozen",
    options=ContextualOptions,
    build=build,
    default=default,
    check=check,
)
