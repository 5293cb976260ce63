"""What each side of a game has to learn, as a task for any learner."""

from collections.abc import Callable

import jax
import optax

from sbmrl.core.environment import Environment
from sbmrl.core.formulation import Formulation
from sbmrl.core.game import Game, Outcome, Profile, Strategy
from sbmrl.core.learner import Task
from sbmrl.core.options import GameOptions
from sbmrl.core.oracles import Oracle
from sbmrl.core.payoffs import exact_payoff
from sbmrl.core.problems import Leaders, follower_problem, leader_problem, leader_view


def leader_task(
    game: Game,
    formulation: Formulation,
    options: GameOptions,
    oracle: Oracle | None,
    optimizer: optax.GradientTransformation | None = None,
) -> Task:
    """The leader's: the query-augmented episode, and its exact payoff with the follower as it is evaluated.

    Args:
        game: the game.
        formulation: who leads and who wants what.
        options: how leader and follower meet.
        oracle: how the follower asks; without one each query once.
        optimizer: in place of the one that the learner's options name.
    """
    seat, follower = game.seats[formulation.leader], formulation.follower
    view = leader_view(seat, options.phase_told)

    def problem(
        outcome: Outcome,
    ) -> Environment:  # not made for leaders of exact payoffs, some of which cannot be played
        if game.problem is not None:
            return game.problem(formulation, formulation.leader)(outcome(None))
        return leader_problem(game, formulation, options.response, options.conditions(), oracle)(outcome)

    def payoff(profile: Profile) -> jax.Array:
        if options.response == "greedy":
            profile = {**profile, follower: game.played[follower](profile[follower])}
        return exact_payoff(game.payoffs, formulation.leader_wants, profile)

    return Task(
        game,
        formulation.leader,
        seen=view.queries,
        played=view.playing(seat.queries),
        context_size=0,
        problem=problem,
        payoff=payoff,
        wants=formulation.leader_wants,
        num_steps=(oracle.num_queries if oracle else len(seat.queries)) + game.horizon,
        optimizer=optimizer,
    )


def follower_task(
    game: Game,
    formulation: Formulation,
    describe: Callable[[Strategy], jax.Array] | None = None,
    num_leaders: int = 1,
) -> Task:
    """The follower's: an episode against a leader drawn for it, and its exact payoff.

    Args:
        game: the game.
        formulation: who leads and who wants what.
        describe: (the leader's strategy as heard) -> ω `[C]`, which then stands in front of every observation; for a
            follower of one leader there is none.
        num_leaders: that it learns against in an update.
    """
    seat, leader = game.seats[formulation.follower], formulation.leader
    prior, heard = game.priors[leader], game.heard[leader]

    def describe_given(key: jax.Array, given: Profile) -> jax.Array:
        assert describe is not None
        return describe(heard(key, given[leader]))

    size = 0 if describe is None else jax.eval_shape(lambda: describe(prior(jax.random.key(0)))).shape[0]

    def problem(leaders: Leaders) -> Environment:  # likewise not made for followers of exact payoffs
        if game.problem is not None:
            return game.problem(formulation, formulation.follower)(leaders(jax.random.key(0)))
        return follower_problem(game, formulation, describe)(leaders)

    return Task(
        game,
        formulation.follower,
        seen=seat.queries,
        played=seat.queries,
        context_size=size,
        problem=problem,
        payoff=lambda profile: exact_payoff(game.payoffs, formulation.follower_wants, profile),
        wants=formulation.follower_wants,
        num_steps=game.horizon,
        describe=None if describe is None else describe_given,
        num_leaders=num_leaders,
    )
