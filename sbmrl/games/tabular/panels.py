"""A world, and a run's learned model beside it, as panels to draw."""

from typing import Any

import numpy as np

from sbmrl.core.game import at_time
from sbmrl.display.results import Cell
from sbmrl.games.tabular.closed_forms import finite_horizon_optimum
from sbmrl.games.tabular.draw import Panel
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


def _panel(title: str, mdp: TabularMDP, policy: Any) -> Panel:
    terminal = tuple(state for state, ends in enumerate(mdp.terminal) if ends)
    return Panel(
        title,
        transition=np.asarray(mdp.transition),
        reward=np.asarray(mdp.reward),
        initial=np.asarray(mdp.initial),
        terminal=terminal,
        policy=np.asarray(policy),
    )
