"""The configuration of an experiment: frozen, typed, one sentence a field. Imports nothing heavy.

Every `float` field is *traced*: it enters the compiled program as a number that may be vmapped, and changing it
never recompiles. Every other field is *static*: it shapes the program. `traced_fields` and `with_traced` move
between the two views; the traced view is a flat dict from dotted names, as in `{"leader.learning_rate": 3e-4}`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import tyro

from sbmrl.errors import InputError, require, require_known
from sbmrl.formulations import AGENT_REWARDS, FORMULATIONS

Response = Literal["greedy", "sampled"]

SCHEMES = {"contextual": "contextualized follower: pretrained on random leaders given ω, then frozen"}
LOSS_NAMES = ("brier", "kl")


@dataclasses.dataclass(frozen=True)
class PPOOptions:
    """Proximal policy optimisation; the defaults are Stable-Baselines3's."""

    total_steps: int = 250_000
    """Environment steps to train for, queries included (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 128
    """Steps in each environment between two updates (Stable-Baselines3: 2,048 in one)."""
    minibatch_size: int = 64
    """Samples per gradient step; a multiple of the number of environments."""
    num_epochs: int = 10
    """Passes over each rollout."""
    parametrization: Literal["network", "table"] = "network"
    """The actor: a network, or a free row of logits per query (leaders only)."""
    actor_hidden: tuple[int, ...] = (64, 64)
    """Widths of the actor's hidden layers (tanh)."""
    critic_hidden: tuple[int, ...] = (64, 64)
    """Widths of the critic's hidden layers (tanh); none is a linear critic."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    discount: float = 0.99
    """γ, discount per step."""
    gae_lambda: float = 0.95
    """λ of generalised advantage estimation."""
    clip_range: float = 0.2
    """ε, how far the probability ratio may leave 1."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: float = 0.5
    """Weight of the critic's loss."""
    max_gradient_norm: float = 0.5
    """Global norm above which a gradient is scaled down."""


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Fitting a context-conditioned world model to real transitions of random policies."""

    total_steps: int = 167_000
    """Real environment steps to train on (rounded up to whole updates and records)."""
    num_environments: int = 16
    """Environments played side by side."""
    num_steps: int = 104
    """Steps in each environment between two updates."""
    minibatch_size: int = 16
    """Transitions per gradient step; a multiple of the number of environments."""
    num_epochs: int = 1
    """Passes over each rollout."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the model's hidden layers (ReLU)."""
    learning_rate: float = 1e-3
    """Adam's step size."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One cell: a formulation, solved by a scheme, in a world."""

    formulation: tyro.conf.Positional[str] = "mal"
    """Which game is played: a row of the formulation table."""
    env: str = "simple_mdp_2"
    """The world: a name (see `sbmrl list`), random_S_A_SEED, or a .json or .npz file."""
    scheme: Literal["contextual"] = "contextual"
    """How the follower answers the leader."""
    loss: Literal["brier", "kl"] = "brier"
    """ℓ, the model's loss: Brier (the poster's code) or KL divergence (the poster's text)."""
    agent_reward: Literal["world", "model"] = "world"
    """Where mal_agent_reward earns the return: the true world (the poster's code) or the model (its text)."""
    response: Response = "greedy"
    """How a policy follower answers the leader: by its best action, or by actions sampled from its policy."""
    alpha: float = 0.5
    """α in [0, 1], weight of plain MAL in the two repairs; 1 is MAL exactly."""
    leader: PPOOptions = PPOOptions()
    """How the leader learns."""
    follower: tyro.conf.AvoidSubcommands[PPOOptions | FitOptions] = PPOOptions()
    """How the follower is pretrained."""
    num_records: int = 25
    """Points kept on each learning curve."""
    num_leader_pool: int = 2048
    """Random leaders drawn for each follower update; episodes pick among them."""
    num_random_leaders: int = 64
    """Random leaders on which the follower's regret is measured exactly."""
    num_eval_episodes: int = 10
    """Episodes behind each seed's sampled return."""


# The reference follower had no entropy bonus and best-responded at the truth in about 80 % of seeds (docs/results.md).
_POSTER_FOLLOWER = PPOOptions(actor_hidden=(8, 8, 8, 8), critic_hidden=(), entropy_coefficient=0.1)
_POSTER_POLICY_LEADER = PPOOptions(total_steps=100_000, actor_hidden=(8, 8, 8, 8), critic_hidden=())


def preset(name: str = "poster", formulation: str = "mal") -> Experiment:
    """A preset experiment: "poster" has the reference run's budget, "fast" a fraction of it, for a first look.

    Raises:
        InputError: unknown preset or formulation, with the nearest known name.
    """
    require_known(name, "preset", PRESETS)
    require_known(formulation, "formulation", FORMULATIONS)
    experiment = Experiment(formulation)
    if FORMULATIONS[formulation].leader == "policy":
        experiment = dataclasses.replace(experiment, leader=_POSTER_POLICY_LEADER, follower=FitOptions())
    else:
        leader = PPOOptions(discount=1.0)
        experiment = dataclasses.replace(experiment, leader=leader, follower=_POSTER_FOLLOWER)
    return _fast(experiment) if name == "fast" else experiment


def _fast(experiment: Experiment) -> Experiment:
    """A tenth of the poster's budget with larger steps: fewer epochs, wider minibatches, a higher learning rate."""
    leader = dataclasses.replace(
        experiment.leader, total_steps=50_000, num_epochs=4, minibatch_size=256, learning_rate=2e-3
    )
    follower = dataclasses.replace(experiment.follower, total_steps=50_000)
    if isinstance(follower, PPOOptions):
        follower = dataclasses.replace(follower, num_epochs=4, minibatch_size=256, learning_rate=3e-3)
    return dataclasses.replace(experiment, leader=leader, follower=follower, num_records=10)


PRESETS = {
    "poster": "the reference run's budget and networks (250,000 + 250,000 steps; PAL 167,000 + 100,000)",
    "fast": "50,000 + 50,000 steps with larger updates, for a first look",
}


def check(experiment: Experiment) -> Experiment:
    """Return `experiment` if it can run.

    Raises:
        InputError: an unknown name, α or a rate outside its range, a count below 1, sizes that do not divide.
    """
    require_known(experiment.formulation, "formulation", FORMULATIONS)
    require_known(experiment.scheme, "scheme", SCHEMES)
    require_known(experiment.loss, "loss", LOSS_NAMES)
    require_known(experiment.agent_reward, "agent_reward", AGENT_REWARDS)
    require_known(experiment.response, "response", get_args(Response))
    _require_range(experiment.alpha, "alpha", 0.0, 1.0)
    for field in ("num_records", "num_leader_pool", "num_random_leaders", "num_eval_episodes"):
        require_count(getattr(experiment, field), field)
    _check_learner(experiment.leader, "leader")
    _check_learner(experiment.follower, "follower")
    expected = FitOptions if FORMULATIONS[experiment.formulation].leader == "policy" else PPOOptions
    if not isinstance(experiment.follower, expected):
        raise InputError(f"follower: {experiment.formulation} needs {expected.__name__}")
    if isinstance(experiment.follower, PPOOptions) and experiment.follower.parametrization == "table":
        raise InputError("follower.parametrization: must be 'network', a table cannot be conditioned on the leader")
    return experiment


def require_count(value: int, field: str) -> None:
    """Raise `InputError` unless `value` is a whole number of at least 1."""
    require(isinstance(value, int) and value >= 1, field, "must be a whole number of at least 1", value)


def _check_learner(options: PPOOptions | FitOptions, where: str) -> None:
    for field in ("total_steps", "num_environments", "num_steps", "minibatch_size", "num_epochs"):
        require_count(getattr(options, field), f"{where}.{field}")
    for field in ("actor_hidden", "critic_hidden", "hidden"):
        for width in getattr(options, field, ()):
            require_count(width, f"{where}.{field}")
    environments, minibatch = options.num_environments, options.minibatch_size
    divides = minibatch % environments == 0 and (options.num_steps * environments) % minibatch == 0
    allowed = f"must be a multiple of num_environments ({environments}) that divides num_environments·num_steps"
    require(divides, f"{where}.minibatch_size", allowed, minibatch)
    _require_range(options.learning_rate, f"{where}.learning_rate", 0.0, math.inf)
    if isinstance(options, PPOOptions):
        for field in ("discount", "gae_lambda"):
            _require_range(getattr(options, field), f"{where}.{field}", 0.0, 1.0)
        for field in ("clip_range", "entropy_coefficient", "value_coefficient", "max_gradient_norm"):
            _require_range(getattr(options, field), f"{where}.{field}", 0.0, math.inf)


def _require_range(value: float, field: str, low: float, high: float) -> None:
    allowed = f"must be in [{low:g}, {high:g}]" if math.isfinite(high) else f"must be at least {low:g} and finite"
    require(math.isfinite(value) and low <= value <= high, field, allowed, value)


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
