"""The exact best response of a policy in a world with a chart: the optimum on a grid, followed from wherever one is."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sbmrl.core.game import Acting
from sbmrl.core.options import AnswerOptions
from sbmrl.games.continuous.family import Model
from sbmrl.games.continuous.grid import Dynamics, GridSolution, chart_of, greedy, grid_optimum
from sbmrl.games.continuous.simulator import Box, Simulator


@dataclasses.dataclass(frozen=True)
class GridOptions(AnswerOptions):
    """The exact best response of a policy, by dynamic programming in the model on a grid."""

    num_points: int = 61
    """Points of the grid along each coordinate."""
    num_actions: int = 9
    """Actions tried along each dimension of a range, its ends included; numbered actions are all tried."""


class GridActing(Acting):
    """The policy that looks one step ahead with a model, the values behind it known on a grid.

    Attributes:
        solution: the values.
        simulator: the true world, whose start, reward and end are the model's too.
        model: what it looks ahead with, of one member.
    """

    solution: GridSolution
    simulator: Simulator
    model: Model

    def sample(self, key: jax.Array, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """As `Acting.sample`; it has nothing to draw."""
        return self.mode(observation, time)

    def mode(self, observation: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
        """As `Acting.mode`, of episodes that are all at the same `time`."""
        act = greedy(self.simulator, self.solution, _dynamics(self.simulator, self.model))
        batch, size = observation.shape[:-1], observation.shape[-1]
        # Episodes that are played side by side are equally far, so the values of that time are looked up once for all.
        now = jnp.max(jnp.asarray(time))
        action = jax.vmap(lambda seen: act(jax.random.key(0), seen, now))(observation.reshape(-1, size))
        answer = _as_answer(self.simulator, action)
        return answer.reshape(*batch, *answer.shape[1:])


def grid_response(simulator: Simulator, options: GridOptions) -> Callable[[Model], GridActing]:
    """(model of one member) -> the policy that is optimal in it.

    Raises:
        InputError: the world has no chart, or a grid cannot be of this size.
    """
    num_actions = options.num_actions if isinstance(simulator.rules.actions, Box) else None
    resolution = (options.num_points,) * len(chart_of(simulator).low)

    def respond(model: Model) -> GridActing:
        solution = grid_optimum(simulator, resolution, num_actions, _dynamics(simulator, model))
        return GridActing(solution, simulator, model)

    return respond


def _dynamics(simulator: Simulator, model: Model) -> Dynamics:
    def following(observation: jax.Array, action: jax.Array) -> jax.Array:
        return model.predict(simulator.rules, None, observation[None], action[None]).observation[0]

    return following


def _as_answer(simulator: Simulator, action: jax.Array) -> jax.Array:
    """An action of the world as a network would give it: in half-widths of the range around its middle."""
    actions = simulator.rules.actions
    if not isinstance(actions, Box):
        return action
    low, high = (jnp.asarray(side, action.dtype) for side in actions)
    return (2 * action - low - high) / (high - low)
