"""Evolution strategies: for payoffs whose gradient says nothing, as through a hard response."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.game import Outcome
from sbmrl.core.learner import Info, Learner
from sbmrl.core.options import EvolutionOptions
from sbmrl.core.players import Params


class EvolutionState(NamedTuple):
    """The mean of the population, and evosax's state."""

    params: Params
    strategy_state: Any


def evolution(
    init_params: Callable[[jax.Array], Params],
    fitness: Callable[[jax.Array, Params, Outcome], jax.Array],
    steps_per_candidate: int,
    optimizer: optax.GradientTransformation,
    options: EvolutionOptions,
) -> Learner:
    """OpenAI-ES (Salimans et al. 2017, arXiv 1703.03864), evosax's: antithetic candidates, centred ranks.

    Every candidate θ + σε is judged with the response to it, so this leader needs no derivative of anything.

    Args:
        init_params: (key) -> θ.
        fitness: (key, θ, outcome) -> `[]` a payoff to be maximised, exact or of played episodes.
        steps_per_candidate: environment steps of one fitness; 1 where it is exact.
        optimizer: how the estimated gradient becomes a step.
        options: of the strategy.
    """
    from evosax.algorithms import Open_ES  # here, because it imports half a second of algorithms

    shape = jax.eval_shape(init_params, jax.random.key(0))
    algorithm = Open_ES(
        options.population_size,
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape),
        optimizer=optimizer,
        std_schedule=optax.constant_schedule(jnp.asarray(options.standard_deviation, float)),
    )

    def init(key: jax.Array, opponent: Outcome) -> EvolutionState:
        key_params, key_state = jax.random.split(key)
        params = init_params(key_params)
        state = algorithm.init(key_state, params, algorithm.default_params)
        return EvolutionState(params, jax.tree.map(lambda x: x.astype(x.dtype), state))  # no weak types in a carry

    def update(key: jax.Array, state: EvolutionState, opponent: Outcome) -> tuple[EvolutionState, Info]:
        key_ask, key_tell, key_play = jax.random.split(key, 3)
        asked, new = algorithm.ask(key_ask, state.strategy_state, algorithm.default_params)
        # One key for all candidates: what chance adds to one it adds to the others.
        payoffs = jax.vmap(lambda params: fitness(key_play, params, opponent))(asked)
        new, _ = algorithm.tell(key_tell, asked, -payoffs, new, algorithm.default_params)  # evosax minimises
        info = {"payoff": jnp.mean(payoffs), "best_payoff": jnp.max(payoffs)}
        return EvolutionState(algorithm.get_mean(new), new), info

    return Learner(init, update, lambda state: state.params, options.population_size * steps_per_candidate)
