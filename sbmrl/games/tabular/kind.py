"""Model-based RL on a tabular world as one part: its worlds, answers, presets and checks."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.displays import GameDisplay
from sbmrl.core.formulation import Formulation, FormulationRow
from sbmrl.core.game import Game
from sbmrl.core.options import require_count, require_counts, require_positive, require_ranges
from sbmrl.core.parts import Composition, GameKind
from sbmrl.errors import InputError, require
from sbmrl.games.model_based.options import columns, only_plans, refuse_void
from sbmrl.games.tabular.catalogue import WORLDS
from sbmrl.games.tabular.files import check_world, load_world
from sbmrl.games.tabular.game import Aggregation, model_based_game
from sbmrl.games.tabular.mdp import TabularMDP, make_mdp, make_world
from sbmrl.games.tabular.options import ConditionalsOptions, PlanOptions, SoftOptions, TabularOptions
from sbmrl.games.tabular.payoffs import LOSSES
from sbmrl.games.tabular.presets import ENV, PRESETS
from sbmrl.schemes.inner_outer import INNER_OUTER


def _worlds() -> Mapping[str, str]:
    return {name: summary for name, (summary, _) in WORLDS.items()} | {
        "random_S_A_SEED": "a random endless world with S states and A actions",
        "FILE.json, FILE.npz": "your own MDP (docs/how_to/worlds.md)",
    }


def _knows(env: str) -> bool:
    return env in WORLDS or env.startswith("random_")


def _world_fields(world: TabularMDP) -> dict[str, Any]:
    """A world's arrays in the format of the user's own files."""
    arrays = {"transition": world.transition, "reward": world.reward, "initial": world.initial}
    return {
        "name": world.name,
        **{name: np.asarray(array, np.float64).tolist() for name, array in arrays.items()},
        "terminal": [state for state, ends in enumerate(world.terminal) if ends],
        "horizon": world.horizon,
        "discount": world.discount,
    }


def _check_world(world: TabularMDP, where: str) -> None:
    check_world(_world_fields(world), world.name, where)


def _world_of_fields(path: Path) -> TabularMDP:
    return make_mdp(load_world(path))


def _make_game(world: TabularMDP, formulation: Formulation, options: TabularOptions) -> Game:
    del formulation  # both roles have everything, whoever leads
    own = options.data == "own"
    data = Aggregation(options.num_initial_transitions, options.num_new_transitions, options.buffer_size)
    mixed = options.context == "probabilities"
    return model_based_game(
        world,
        LOSSES[options.loss],
        mixed,
        aggregation=None if own else data,
        learned_rewards=options.rewards == "learned",
        random_pairs=options.random_data == "pairs",
    )


def _exact(row: FormulationRow, differentiable: bool) -> PlanOptions | ConditionalsOptions | None:
    """A policy plans; a model that only fits knows the conditionals; who wants more has no closed form."""
    if only_plans(row.formulation(TABULAR.options_of(row)())):
        return PlanOptions(backup="soft" if differentiable else "hard")
    return ConditionalsOptions() if TABULAR.only_predicts(row) else None


def _soft(row: FormulationRow, differentiable: bool) -> SoftOptions | None:
    del differentiable  # it always is
    plans = only_plans(row.formulation(TABULAR.options_of(row)()))
    return SoftOptions() if plans or TABULAR.only_predicts(row) else None


def _check(composition: Composition) -> None:
    """Numbers in their ranges, aggregated data only where a follower learns from it, no repair without effect."""
    options, scheme = composition.experiment.game, composition.experiment.scheme
    _check_answer(getattr(scheme, "follower", None))
    require_counts(options, "", "num_initial_transitions", "num_new_transitions", "buffer_size")
    if options.data == "aggregated":
        _check_aggregated(composition)
    if options.rewards == "learned":
        _check_rewards(composition)
    if options.random_data == "pairs" and composition.leader_plays:
        raise InputError("random_data: must be policies for a leader that plays, as no episode visits all pairs alike")
    refuse_void(composition, greedy_is_flat=True)


def _check_answer(options: Any) -> None:
    """What the closed forms of this game can be told."""
    positive = (0.0, math.inf)
    if isinstance(options, PlanOptions):
        require_ranges(options, "follower.", tie_tolerance=positive)
        require_positive(options, "follower.", "temperature")
    if isinstance(options, ConditionalsOptions):
        require_count(options.num_transitions, "follower.num_transitions", least=0)
    if isinstance(options, SoftOptions):
        require_counts(options, "follower.", "max_iterations")
        require_positive(options, "follower.", "temperature")
        require_ranges(options, "follower.", discount=(0.0, 1.0))
        discount = options.discount
        require(discount < 1.0, "follower.discount", "must be below 1: the horizon is infinite", discount)


def _check_aggregated(composition: Composition) -> None:
    """Its follower must learn from the data so far, its leader from exact payoffs: `data_fit` cannot be played."""
    options, follower = composition.experiment.game, composition.follower
    learns = composition.scheme is INNER_OUTER and follower is not None and follower.differentiates
    allowed = "must be inner_outer with data=aggregated, whose follower learns from the data so far by gradient"
    require(learns, "scheme", allowed, composition.scheme.name)
    told = "one next state a decision; brier differs from it by a constant of the data"
    allowed = f"must need no second next state with data=aggregated, which holds {told}"
    require(LOSSES[options.loss].num_draws == 1, "loss", allowed, options.loss)
    least, size = options.num_new_transitions, options.buffer_size
    require(size >= least, "buffer_size", f"must be at least num_new_transitions ({least})", size)
    if composition.leader_plays:
        name = composition.leader.name
        raise InputError(f"leader: {name} plays for its payoff; data=aggregated needs a learner of exact payoffs")


def _check_rewards(composition: Composition) -> None:
    """A model that leads has rewards of its own only where everybody learns from exact payoffs."""
    options, row, scheme = composition.experiment.game, composition.row, composition.experiment.scheme
    require(row.leader == "model", "rewards", f"must be known for {row.name}, where the policy leads", options.rewards)
    require(options.data == "own", "rewards", "must be known with data=aggregated", options.rewards)
    follower = composition.follower
    plays = composition.leader_plays or (follower is not None and follower.plays(scheme.follower))
    allowed = "must be known where a player learns from episodes: learned rewards need learners of exact payoffs"
    require(not plays, "rewards", allowed, options.rewards)


def _unused(composition: Composition) -> dict[str, str]:
    """A model draws no actions; data are collected only where they are aggregated; only hard backups have ties."""
    options, answer = composition.experiment.game, getattr(composition.experiment.scheme, "follower", None)
    found = {}
    if composition.row.follower == "model":
        found["response"] = "where the follower is a model, which answers as it predicts"
    follower = composition.follower
    if composition.scheme is not INNER_OUTER or follower is None or not follower.differentiates:
        found["data"] = "unless the follower learns by gradient in the inner_outer scheme"
    if options.data == "own":
        fields = ("num_initial_transitions", "num_new_transitions", "buffer_size")
        found |= dict.fromkeys(fields, "unless data is aggregated")
    if isinstance(answer, PlanOptions) and answer.backup == "soft":
        found |= dict.fromkeys(
            ("follower.tie_breaking", "follower.tie_tolerance"), "with soft backups, which have no ties"
        )
    if isinstance(answer, PlanOptions) and answer.backup == "hard":
        found["follower.temperature"] = "with hard backups"
    return found


def _columns(options: TabularOptions) -> dict[str, Any]:
    """What the results say of the settings."""
    own = columns(options)
    return {"alpha": own["alpha"], "loss": options.loss, "agent_reward": own["agent_reward"]}


def _display() -> GameDisplay:
    from sbmrl.games.tabular.display import DISPLAY  # here, so that a run does not wait for matplotlib

    return DISPLAY


TABULAR = GameKind(
    name="tabular",
    family="model_based",
    knows=_knows,
    options=TabularOptions,
    summary="model-based RL in a finite world: a policy and a world model",
    world=TabularMDP,
    what="an MDP",
    worlds=_worlds,
    make_world=make_world,
    check_world=_check_world,
    world_fields=_world_fields,
    world_of_fields=_world_of_fields,
    make_game=_make_game,
    env=ENV,
    presets=PRESETS,
    check=_check,
    unused=_unused,
    answers={"exact": _exact, "soft": _soft},
    scores=lambda row: row.follower == "policy",
    predictions=frozenset({"fit"}),
    columns=_columns,
    display=_display,
)
