"""A world, and a run's learned model beside it, as panels to draw; any MDPs, as a figure."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sbmrl.core.game import at_time
from sbmrl.core.options import require_count
from sbmrl.display.results import Cell
from sbmrl.errors import require_known
from sbmrl.games.tabular.closed_forms import finite_horizon_optimum
from sbmrl.games.tabular.draw import Graph, Panel, panels_figure
from sbmrl.games.tabular.mdp import TabularMDP, imagined


def world_panel(world: TabularMDP) -> Panel:
    """A world with its optimal policy (its first decision)."""
    return _panel(world.name, world, finite_horizon_optimum(world).policy)


def model_panels(cell: Cell, run: int) -> list[Panel]:
    """The world beside the model that a run has learned, both with the run's policy.

    Raises:
        InputError: the run is not finished, or its files are damaged.
    """
    world, profile = cell.world, cell.profile(run)
    model, policy = profile["model"], at_time(profile["policy"], 0)
    panel = _panel(f"{world.name}: the world", world, policy)
    return [panel, _panel(f"learned model, seed {cell.seed_of(run)}", imagined(world, model), policy)]


def draw_mdps(
    mdps: Mapping[str, TabularMDP], policies: Mapping[str, jax.Array | np.ndarray] | None = None, columns: int = 2
) -> Graph:
    """MDPs as graphs in one layout, as a figure for a notebook: circles are states, squares actions.

    Arrows carry probability and (reward); those below 0.005 are left out. Grey states end the episode.

    Args:
        mdps: title -> MDP, all with as many states and actions; `imagined(world, model)` makes one of a learned model.
        policies: title -> `[(T,) S, A]` policy, of which the likeliest action in each state is bold, of a policy with a
            clock that at the first decision.
        columns: panels in a row.

    Raises:
        InputError: no MDP, MDPs of several shapes, a policy under another title, or `columns` below 1.
    """
    policies = policies or {}
    for title in policies:
        require_known(title, "policies", mdps)
    require_count(columns, "columns")
    chosen = {title: at_time(np.asarray(policy), 0) for title, policy in policies.items()}
    return panels_figure([_panel(title, mdp, chosen.get(title)) for title, mdp in mdps.items()], columns)


def _panel(title: str, mdp: TabularMDP, policy: Any) -> Panel:
    terminal = tuple(state for state, ends in enumerate(mdp.terminal) if ends)
    return Panel(
        title,
        transition=np.asarray(mdp.transition),
        reward=np.asarray(mdp.reward),
        initial=np.asarray(mdp.initial),
        terminal=terminal,
        policy=None if policy is None else np.asarray(policy),
    )
