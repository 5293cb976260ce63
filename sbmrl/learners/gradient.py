"""Gradient ascent on the exact payoff of whatever profile results: leaders, and followers in an inner loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sbmrl.core.game import Outcome, Profile, Strategy
from sbmrl.core.learner import Info, Learner
from sbmrl.core.options import EvolutionOptions, GradientOptions
from sbmrl.core.players import Params

# Under the root, so that a leader may differentiate through a step whose gradient is 0.
_DIFFERENTIABLE = {name: {"eps_root": 1e-16} for name in ("adabelief", "adam", "adamw", "amsgrad", "nadam", "radam")}


class GradientState(NamedTuple):
    """Parameters and optimiser state."""

    params: Params
    optimizer_state: Any


def make_optimizer(options: GradientOptions | EvolutionOptions) -> optax.GradientTransformation:
    """The optax optimizer of that name; it minimises, so learners hand it the negative gradient."""
    return getattr(optax, options.optimizer)(options.learning_rate, **_DIFFERENTIABLE.get(options.optimizer, {}))


def gradient(
    init_params: Callable[[jax.Array], Params],
    strategy: Callable[[Params], Strategy],
    payoff: Callable[[Profile], jax.Array],
    optimizer: optax.GradientTransformation,
) -> Learner:
    """θ ← θ + step(∂/∂θ payoff(outcome(strategy(θ)))).

    The derivative is total: where the outcome contains a response that depends on the strategy, it goes through it.
    An update is itself differentiable in whatever the outcome closes over.
    """

    def init(key: jax.Array, opponent: Outcome) -> GradientState:
        params = init_params(key)
        return GradientState(params, optimizer.init(params))

    def update(key: jax.Array, state: GradientState, opponent: Outcome) -> tuple[GradientState, Info]:
        value, slope = jax.value_and_grad(lambda params: payoff(opponent(strategy(params))))(state.params)
        descent = jax.tree.map(jnp.negative, slope)
        updates, optimizer_state = optimizer.update(descent, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return GradientState(params, optimizer_state), {"payoff": value, "gradient_norm": gradient_norm(slope)}

    return Learner(init, update, lambda state: state.params, 1)


def gradient_norm(slope: Params) -> jax.Array:
    """`[]`: the Euclidean norm over all parameters, with derivative 0 at 0."""
    total = optax.tree.norm(slope, squared=True)
    return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1.0)), 0.0)
