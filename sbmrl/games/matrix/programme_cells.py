"""The programme of "Oracles & Followers" (Gerstgrasser & Parkes 2023) as a plan: games, two followers, conditions.

Every cell is an ordinary experiment. The conditions are those under which the query-augmented episode has the
Stackelberg equilibrium as its optimum; each is given up in a cell of its own, and twice kept by a leader that does not
need it.
"""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell
from sbmrl.games.matrix.catalogue import TWELVE_GAMES

CONTEXTUAL, Q_LEARNING = "contextual", "q_learning"  # the two followers, as in the names of the cells
GIVEN_UP = "given up"  # what tells the demonstrations apart
FORMULATION = "matrix_game"

Recipe = Callable[..., Experiment]  # (formulation, scheme, learner) -> experiment of the chosen preset


def demonstrations(recipe: Recipe) -> list[ProgrammeCell]:
    """Each condition given up where it matters, and the leader that does not care about hidden queries."""
    ppo = recipe(FORMULATION)
    evolution = recipe(FORMULATION, learner="evolution")
    inner = recipe(FORMULATION, "inner_outer")
    hidden = {"hidden_queries": True}
    rows: Sequence[tuple[str, str, str, Experiment, dict]] = (
        ("hidden-ppo", "queries hidden from PPO", "hidden_query", ppo, hidden),
        ("hidden-evolution", "queries hidden from evolution strategies", "hidden_query", evolution, hidden),
        ("kept", "nothing", "hidden_query", ppo, {}),
        ("hidden-ppo", "queries hidden from PPO", "prisoners_dilemma", ppo, hidden),
        ("hidden-evolution", "queries hidden from evolution strategies", "prisoners_dilemma", evolution, hidden),
        ("phase", "leader told the phase", "prisoners_dilemma", ppo, {"phase_told": True}),
        ("no-reset", "follower not reset", "prisoners_dilemma", ppo, {"follower_reset": False}),
        ("paid", "answers paid, 5 of 15 steps", "prisoners_dilemma", ppo, {"paid_queries": True}),
        ("paid-q", "answers paid, 800 of 810 steps", "prisoners_dilemma", inner, {"paid_queries": True}),
        ("discount", "γ = 0.5 across 5 queries", "prisoners_dilemma", ppo, {"leader__discount": 0.5}),
        ("discount-q", "γ = 0.9 across 800 queries", "prisoners_dilemma", inner, {"leader__discount": 0.9}),
    )
    return [
        ProgrammeCell(f"{game}-{name}", experiment.replace(env=game, **changes), (("env", game), (GIVEN_UP, told)))
        for name, told, game, experiment, changes in rows
    ]


def cells(recipe: Recipe, env: str | None = None) -> Sequence[ProgrammeCell]:
    """Both followers in every game, or in one, then the demonstrations."""
    contextual, inner = recipe(FORMULATION), recipe(FORMULATION, "inner_outer")
    found = []
    for follower, experiment in ((CONTEXTUAL, contextual), (Q_LEARNING, inner)):
        for game in TWELVE_GAMES if env is None else (env,):
            static = (("env", game), ("follower", follower))
            found.append(ProgrammeCell(f"{game}-{follower}".replace("/", "_"), experiment.replace(env=game), static))
    return [*found, *demonstrations(recipe)]
