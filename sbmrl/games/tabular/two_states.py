"""The world of two states in which optimal model design was first shown.

Source: Dadashi et al. (2019), "The Value Function Polytope in Reinforcement Learning", arXiv 1901.11524, appendix A;
used in Nikishin et al. (2022), arXiv 2106.03273.
"""

import numpy as np

from sbmrl.core.parts import WorldRow
from sbmrl.games.tabular.catalogue import WorldArrays
from sbmrl.games.tabular.mdp import TabularMDP, make_mdp

NAME = "two_states"
DISCOUNT = 0.9
_HORIZON = 150  # behind it lies 1.4e-7 of the reward of an endless episode, less than float32 resolves


def make() -> TabularMDP:
    """a1 leads to s0 from both states; a0 leads to s1 and stays there, which alone pays."""
    transition = np.array([[[0.7, 0.3], [0.99, 0.01]], [[0.2, 0.8], [0.99, 0.01]]])
    reward = np.array([[-0.45, -0.1], [0.5, 0.5]])
    rewards = np.broadcast_to(reward[..., None], transition.shape)
    return make_mdp(WorldArrays(NAME, transition, rewards, np.array([0.5, 0.5]), (), _HORIZON, DISCOUNT))


TWO_STATES = WorldRow(
    name=NAME,
    summary="2 states, endless, discounted by .9: where optimal model design was first shown",
    kind="tabular",
    make=make,
)
