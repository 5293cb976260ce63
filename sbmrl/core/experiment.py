"""The configuration of an experiment: frozen, typed, one sentence a field. Imports nothing heavy.

Every `float` field is *traced*: it enters the compiled program as a number that may be vmapped, and changing it
never recompiles. Every other field is *static*: it shapes the program. `traced_fields` and `with_traced` move
between the two views; the traced view is a flat dict from dotted names, as in `{"leader.learning_rate": 3e-4}`.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

import tyro

from sbmrl.errors import InputError, require_known
from sbmrl.core.formulation import AGENT_REWARDS, Formulation, Knobs, make_formulation
from sbmrl.core.options import (
    EvolutionOptions,
    ExactOptions,
    FitOptions,
    FollowerOptions,
    GradientOptions,
    ImplicitOptions,
    LeaderOptions,
    PPOOptions,
    QLearningOptions,
)

Response = Literal["greedy", "sampled"]
Context = Literal["answers", "probabilities"]
SchemeName = Literal["contextual", "inner_outer", "exact", "implicit"]

SCHEMES: dict[str, str] = {
    "contextual": "contextualized follower: pretrained on random leaders given ω, then frozen",
    "inner_outer": "inner–outer loop: K follower steps per leader step, the last k of them differentiable",
    "exact": "exact best response: backward induction, or the true conditionals",
    "implicit": "soft best response over an infinite horizon, differentiated implicitly",
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One cell: a formulation, solved by a scheme, in a world."""

    formulation: tyro.conf.Positional[str] = "mal"
    """Which game is played: a row of the formulation table."""
    env: str = "simple_mdp_2"
    """The world: a name (see `sbmrl list`), random_S_A_SEED, or a .json or .npz file; a matrix game for matrix_game."""
    scheme: SchemeName = "contextual"
    """How the follower comes to answer the leader."""
    loss: Literal["brier", "kl"] = "brier"
    """ℓ, the model's loss: Brier (the poster's code) or KL divergence (the poster's text)."""
    agent_reward: Literal["world", "model"] = "world"
    """Where mal_agent_reward earns the return: the true world (the poster's code) or the model (its text)."""
    response: Response = "greedy"
    """How a follower that acts answers a learning leader: by its best action, or drawing from its policy."""
    context: Context = "answers"
    """How a leader is heard: by the answers it draws, or by its probabilities, so that a mixed one can be described."""
    hidden_queries: bool = False
    """A leader that plays does not learn from its answers to the follower's queries."""
    phase_told: bool = False
    """A leader that plays is told whether it is being asked or is playing."""
    follower_reset: bool = True
    """The follower restarts in each of the leader's episodes; else it enters one with the response to the last."""
    paid_queries: bool = False
    """A leader that plays is paid for its answers as if they were steps of the game (matrix games)."""
    alpha: float = 0.5
    """α in [0, 1], weight of plain MAL in the two repairs; 1 is MAL exactly."""
    beta: float = 10.0
    """β > 0, weight of the fit against pessimism in pessimistic_pal, in units of return per unit of loss."""
    num_inner_steps: int = 10
    """K, follower steps per leader step of the inner–outer loop."""
    unroll: int = 0
    """k ≤ K, how many of the last follower steps the leader differentiates through; 0 is first-order."""
    data: Literal["own", "aggregated"] = "own"
    """What `fit` is measured on: the data of the present policy, or all transitions so far (Rajeswaran et al.)."""
    num_initial_transitions: int = 1000
    """Aggregated data: transitions of the uniform policy to begin with."""
    num_new_transitions: int = 100
    """Aggregated data: transitions of the present policy added at each leader step."""
    buffer_size: int = 100_000
    """Aggregated data: transitions kept; beyond it the old ones fade."""
    allow_void: bool = False
    """Run a combination whose repair has no effect (the error that refuses it says why)."""
    leader: tyro.conf.AvoidSubcommands[LeaderOptions] = dataclasses.field(default_factory=PPOOptions)
    """How the leader learns."""
    follower: tyro.conf.AvoidSubcommands[FollowerOptions] = dataclasses.field(default_factory=PPOOptions)
    """How the follower is pretrained, learns in the inner loop, or responds."""
    num_records: int = 25
    """Points kept on each learning curve."""
    num_leader_pool: int = 2048
    """Random leaders drawn for each update of a contextual follower; episodes pick among them."""
    num_random_leaders: int = 64
    """Random leaders on which the follower's regret is measured exactly."""
    num_eval_episodes: int = 10
    """Episodes behind each seed's sampled return."""


def formulation_of(experiment: Experiment) -> Formulation:
    """The game of an experiment; its weights may be traced."""
    knobs = Knobs(
        alpha=experiment.alpha,
        beta=experiment.beta,
        reward=AGENT_REWARDS[experiment.agent_reward],
        fit="fit" if experiment.data == "own" else "data_fit",
    )
    return make_formulation(experiment.formulation, knobs)


def traced_fields(config: Any, prefix: str = "") -> dict[str, float]:
    """The traced hyper-parameters of a configuration as a flat dict with dotted names."""
    traced: dict[str, float] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            traced |= traced_fields(value, f"{prefix}{field.name}.")
        elif field.type is float:
            traced[prefix + field.name] = value
    return traced


def with_traced(config: Any, values: Mapping[str, Any]) -> Any:
    """`config` with traced fields replaced by `values` (numbers or arrays), by dotted name.

    Raises:
        InputError: a name that is no traced field, with the nearest one that is.
    """
    for name in values:
        require_known(name, "hyper-parameter", traced_fields(config))
    changes: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    for field in dataclasses.fields(config):
        nested = {n.partition(".")[2]: v for n, v in values.items() if n.partition(".")[0] == field.name and "." in n}
        if nested:
            changes[field.name] = with_traced(getattr(config, field.name), nested)
    return dataclasses.replace(config, **changes)


_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        PPOOptions,
        FitOptions,
        GradientOptions,
        EvolutionOptions,
        QLearningOptions,
        ExactOptions,
        ImplicitOptions,
    )
}


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as plain data; each set of options names its `kind`."""
    fields = dataclasses.asdict(experiment)
    for seat in ("leader", "follower"):
        fields[seat] = {"kind": type(getattr(experiment, seat)).__name__} | fields[seat]
    return fields


def from_dict(fields: Mapping[str, Any]) -> Experiment:
    """The inverse of `to_dict`, also after a trip through JSON.

    Raises:
        InputError: a kind of options that does not exist.
        TypeError: a field that does not exist.
    """
    changes = dict(fields)
    for seat in ("leader", "follower"):
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in changes[seat].items()}
        kind = options.pop("kind", "none")
        if kind not in _KINDS:
            raise InputError(f"{seat}.kind: must be one of {', '.join(_KINDS)}, got {kind!r}")
        changes[seat] = _KINDS[kind](**options)
    return Experiment(**changes)


def choices(literal: Any) -> tuple[str, ...]:
    """The values of a Literal type."""
    return typing.get_args(literal)
