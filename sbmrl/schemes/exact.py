"""The exact best response: no learning on the follower's side.

A policy follower plans by backward induction in the model and answers with a clock, π `[T, S, A]`: the best response
among *all* policies. Hard backups have no derivative in the model; soft ones (an entropy bonus τ) are differentiated
through the induction. A model follower knows the true conditionals, or their maximum-likelihood estimate from N
transitions of the leader's data. Source: Gerstgrasser & Parkes (2023), "oracles"; ties as in strong and weak
Stackelberg equilibria (Breton, Alj & Haurie 1988).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sbmrl.environments.closed_forms import expected_reward, expected_visits, greedy, optimal_action_values
from sbmrl.environments.planning import break_ties, extreme_rows
from sbmrl.environments.tabular import with_transition
from sbmrl.formulations import Formulation, Weights
from sbmrl.game import Game, Strategy, at_time
from sbmrl.learners.base import Info
from sbmrl.options import ExactOptions
from sbmrl.payoffs import Profile
from sbmrl.problems import Leaders
from sbmrl.schemes.base import Scheme

_SIGN = {"optimistic": 1.0, "pessimistic": -1.0}  # the leader's favourite, or its worst


def exact(game: Game, formulation: Formulation, options: ExactOptions) -> Scheme:
    """The scheme of a follower whose best response has a closed form.

    Its state is a key, new at each leader step: the maximum-likelihood model is that of the transitions drawn with it.
    """
    respond: Callable[[jax.Array, Profile], Strategy]
    if formulation.follower == "policy":
        respond = lambda key, given: _plan(game, formulation, options, given["model"])  # noqa: E731
    else:
        respond = lambda key, given: _model(key, game, options, given["policy"])  # noqa: E731

    def adapt(key: jax.Array, state: jax.Array, leaders: Leaders) -> tuple[jax.Array, Info]:
        return key, {}

    return Scheme(
        lambda key, leaders: key,
        adapt,
        respond,
        lambda key, given: jnp.zeros(()),
        lambda key: {},
        num_pretrain_steps=0,
        adapts_in_play=options.num_transitions > 0,
    )


def leader_gain(game: Game, wants: Weights, model: Strategy) -> jax.Array:
    """`[S, A]`: what the leader earns at a pair of the world, by the payoffs that depend on the follower's choice.

    Its fit counts −ℓ(s, a) / T at each decision (additive, also where an episode can end early); model_return is the
    same for all best responses, random_fit and data_fit for all policies.
    """
    mdp, loss = game.mdp, game.measurement.loss
    earned = {
        "fit": -loss.expected(mdp.transition, model) / mdp.horizon,
        "real_return": expected_reward(mdp),
    }
    return sum((wants[name] * gain for name, gain in earned.items() if name in wants), jnp.zeros(model.shape[:2]))


def _plan(game: Game, formulation: Formulation, options: ExactOptions, model: Strategy) -> Strategy:
    imagined = with_transition(game.mdp, model)
    if options.backup == "soft":
        return jax.nn.softmax(optimal_action_values(imagined, options.temperature) / options.temperature, axis=-1)
    action_values = optimal_action_values(imagined)
    if options.tie_breaking == "lowest":
        return greedy(action_values)
    gain = _SIGN[options.tie_breaking] * leader_gain(game, formulation.leader_wants, model)
    return jax.lax.stop_gradient(break_ties(game.mdp, action_values, gain, options.tie_tolerance))


def _model(key: jax.Array, game: Game, options: ExactOptions, policy: Strategy) -> Strategy:
    mdp = game.mdp
    if options.num_transitions == 0:
        known, rows = expected_visits(mdp, policy) > 0, mdp.transition
    else:
        counts = game.collect(key, policy, options.num_transitions)
        pairs = jnp.sum(counts, axis=-1)
        known = pairs > 0
        uniform = jnp.full_like(counts, 1.0 / mdp.num_states)
        rows = jnp.where(known[..., None], counts / jnp.where(known, pairs, 1.0)[..., None], uniform)
    estimated = with_transition(mdp, rows)
    if options.tie_breaking == "lowest":
        return estimated.transition
    first = jax.lax.stop_gradient(at_time(policy, jnp.int32(0)))
    return with_transition(mdp, extreme_rows(estimated, known, first, _SIGN[options.tie_breaking])).transition
