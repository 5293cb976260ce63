"""Players without a critic, who answer all that they can see at once: free rows, or a network."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sbmrl.core.formulation import Role
from sbmrl.core.game import Game
from sbmrl.core.players import MultiLayerPerceptron, Parametrization, Params, with_context

USUAL = "usual"  # the first of a game's ways for a table to start


class FreePlayer(NamedTuple):
    """A player that answers its queries by a table or a network, without a critic.

    Attributes:
        init: (key) -> θ.
        logits: (θ, description ω `[C]` or None where there is none) -> `[Q, N]` at all queries.
    """

    init: Callable[[jax.Array], Params]
    logits: Callable[..., jax.Array]


def free_player(
    game: Game,
    role: Role,
    queries: jax.Array,
    parametrization: Parametrization,
    hidden: tuple[int, ...],
    initial: str,
    context_size: int = 0,
) -> FreePlayer:
    """The player of a learner that needs no critic, who sees what is in `queries` `[Q, D]`.

    Args:
        game: the game.
        role: the player's.
        queries: everything that it can observe, behind a description.
        parametrization: a free row of outputs per query, or a network.
        hidden: widths of the network's hidden layers.
        initial: how a table starts: a name of the game's `starts`, or their first, the usual one.
        context_size: C, numbers of the description that stands in front of every observation.
    """
    seat = game.seats[role]
    if parametrization == "network":
        network = MultiLayerPerceptron(hidden, seat.num_outputs, output_gain=0.01)

        def outputs(params: Params, description: jax.Array | None = None) -> jax.Array:
            seen = queries if description is None else with_context(description, queries)
            return network.apply(params, seen)  # pyright: ignore[reportReturnType]

        return FreePlayer(lambda key: network.init(key, jnp.zeros(context_size + queries.shape[1])), outputs)

    def init(key: jax.Array) -> Params:
        starts = game.starts[role]
        rows = starts[next(iter(starts)) if initial == USUAL else initial](key)
        return {"logits": jnp.tile(rows, (queries.shape[0] // rows.shape[0], 1))}  # the same in both phases

    def rows(params: Params, description: jax.Array | None = None) -> jax.Array:
        assert description is None, "a table cannot be conditioned on a description"
        return params["logits"]

    return FreePlayer(init, rows)
