"""Evolution strategies on the exact payoff: for payoffs whose gradient says nothing, as through a hard response."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.game import Outcome, Strategy
from sbmrl.learners.base import Info, Learner
from sbmrl.options import EvolutionOptions
from sbmrl.payoffs import Profile
from sbmrl.players import Params


class EvolutionState(NamedTuple):
    """The mean of the population, and evosax's state."""

    params: Params
    strategy_state: Any


def evolution(
    init_params: Callable[[jax.Array], Params],
    strategy: Callable[[Params], Strategy],
    payoff: Callable[[Profile], jax.Array],
    optimizer: optax.GradientTransformation,
    options: EvolutionOptions,
) -> Learner:
    """OpenAI-ES (Salimans et al. 2017, arXiv 1703.03864), evosax's: antithetic candidates, centred ranks.

    Every candidate θ + σε is played out in full, response included, so this leader needs no derivative of anything.
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
        key_ask, key_tell = jax.random.split(key)
        asked, new = algorithm.ask(key_ask, state.strategy_state, algorithm.default_params)
        payoffs = jax.vmap(lambda params: payoff(opponent(strategy(params))))(asked)
        new, _ = algorithm.tell(key_tell, asked, -payoffs, new, algorithm.default_params)  # evosax minimises
        info = {"payoff": jnp.mean(payoffs), "best_payoff": jnp.max(payoffs)}
        return EvolutionState(algorithm.get_mean(new), new), info

    return Learner(init, update, lambda state: state.params, options.population_size)
