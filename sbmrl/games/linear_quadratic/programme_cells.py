"""The programme of linear-quadratic worlds as a plan: who fools himself, from where, seeing what; what repairs it."""

from collections.abc import Callable, Sequence

from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import ProgrammeCell
from sbmrl.games.linear_quadratic.options import RegressionOptions, RiccatiOptions

START, SEES, CHANGED = "start", "sees", "with"  # what tells cells apart, where it is not as usual
EXACT, FIRST_ORDER, NOTHING = "the response move", "the response fixed", ""
WEIGHTS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of the agent's reward, in parts of the fit's
IN_MODEL = "reward in the model · "
_WEIGHT_IN_WORLD = 1e-3

Recipe = Callable[..., Experiment]  # (formulation, scheme, learner) -> experiment of the chosen preset


def alpha_of(weight: float) -> float:
    """α with (1 − α)/α = `weight`."""
    return 1.0 / (1.0 + weight)


def _cell(name: str, start: str, sees: str, changed: str, experiment: Experiment) -> ProgrammeCell:
    told = ((START, start), (SEES, "" if sees == EXACT else sees), (CHANGED, changed))
    return ProgrammeCell(
        f"{name}-{start}", experiment.replace(leader__initial=start), tuple(pair for pair in told if pair[1])
    )


def _from(recipe: Recipe, start: str) -> list[ProgrammeCell]:
    """Every formulation, derivative and repair from one start."""
    mal, rewarded = recipe("mal"), recipe("mal_agent_reward")
    in_world = rewarded.replace(agent_reward="world", alpha=alpha_of(_WEIGHT_IN_WORLD))
    cells = [
        _cell("pal", start, EXACT, NOTHING, recipe("pal")),
        _cell("mal", start, EXACT, NOTHING, mal),
        _cell("mal-first-order", start, FIRST_ORDER, NOTHING, mal.replace(follower=RiccatiOptions("none"))),
        _cell("mal-action-noise-0.01", start, EXACT, "action noise .01", mal.replace(action_noise=0.01)),
        _cell("mal-action-noise-1", start, EXACT, "action noise 1", mal.replace(action_noise=1.0)),
        _cell("mal-random-noise", start, EXACT, "data of random policies", recipe("mal_random_noise")),
        _cell("mal-reward-world", start, EXACT, f"reward in the world · {_WEIGHT_IN_WORLD:g}", in_world),
    ]
    for weight in WEIGHTS:
        experiment = rewarded.replace(agent_reward="model", alpha=alpha_of(weight))
        cells.append(_cell(f"mal-reward-model-{weight:g}", start, EXACT, f"{IN_MODEL}{weight:g}", experiment))
    return cells


def _pal_confirmed(recipe: Recipe) -> list[ProgrammeCell]:
    """PAL whose model, of all without error, is the one in which the policy is already optimal.

    First-order it takes plain gradient steps: its gradient is 0 but for rounding, which Adam would scale up.
    """
    told = "the model that confirms the policy"
    pal = recipe("pal", "exact", "gradient")
    moves = pal.replace(follower=RegressionOptions("self_confirming", "exact"))
    held = pal.replace(follower=RegressionOptions("self_confirming", "none"))
    held = held.replace(leader__optimizer="sgd", leader__learning_rate=1e-3)
    return [
        _cell("pal-self-confirming", "weak", EXACT, told, moves),
        _cell("pal-self-confirming-first-order", "weak", FIRST_ORDER, told, held),
    ]


def _schemes(recipe: Recipe) -> list[ProgrammeCell]:
    """MAL with every other way in which the follower comes to answer."""
    unrolled, held = recipe("mal", "inner_outer"), recipe("mal", "inner_outer").replace(unroll=0)
    return [
        _cell("mal-implicit", "weak", EXACT, "scheme implicit", recipe("mal", "implicit")),
        _cell("mal-unrolled", "weak", "10 steps move", "scheme inner_outer", unrolled),
        _cell("mal-held", "weak", FIRST_ORDER, "scheme inner_outer", held),
        _cell("mal-contextual", "weak", "a network move", "scheme contextual", recipe("mal", "contextual")),
    ]


def cells(recipe: Recipe, env: str | None = None) -> Sequence[ProgrammeCell]:
    """From both starts; the recipe has been told the world already."""
    del env
    return [*_from(recipe, "weak"), *_from(recipe, "random"), *_pal_confirmed(recipe), *_schemes(recipe)]
