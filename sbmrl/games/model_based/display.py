"""What tables show of model-based RL in every kind of world."""

from collections.abc import Mapping
from typing import Any


def departure(row: Mapping[str, Any]) -> str:
    """Where the agent is paid, if it is not the world."""
    return " (paid in the model)" if row["agent_reward"] == "model" else ""
