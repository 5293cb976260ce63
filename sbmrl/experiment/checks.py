"""Which experiments can run, and why the others cannot: one clear line for each."""

import math
import typing
from typing import Any, Literal

from sbmrl.core.experiment import Experiment, choices, formulation_of
from sbmrl.errors import InputError, require, require_known
from sbmrl.core.formulation import FORMULATIONS, Formulation
from sbmrl.core.options import (
    EvolutionOptions,
    ExactOptions,
    FitOptions,
    GradientOptions,
    ImplicitOptions,
    PPOOptions,
    QLearningOptions,
    plays,
)

_COUNTS = (
    "total_steps",
    "num_environments",
    "num_steps",
    "minibatch_size",
    "num_epochs",
    "num_updates",
    "population_size",
    "max_iterations",
)
_RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, math.inf),
    "discount": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "clip_range": (0.0, math.inf),
    "entropy_coefficient": (0.0, math.inf),
    "value_coefficient": (0.0, math.inf),
    "max_gradient_norm": (0.0, math.inf),
    "tie_tolerance": (0.0, math.inf),
    "exploration": (0.0, 1.0),
}


def check(experiment: Experiment) -> Experiment:
    """Return `experiment` if it can run.

    Raises:
        InputError: an unknown name, a number outside its range, sizes that do not divide, parts that do not fit
            together, or a combination that is mathematically void.
    """
    require_known(experiment.formulation, "formulation", FORMULATIONS)
    _check_names(experiment)
    _require_range(experiment.alpha, "alpha", 0.0, 1.0)
    require(0.0 < experiment.beta < math.inf, "beta", "must be positive and finite", experiment.beta)
    for field in ("num_records", "num_leader_pool", "num_random_leaders", "num_eval_episodes", "num_inner_steps"):
        require_count(getattr(experiment, field), field)
    for field in ("num_initial_transitions", "num_new_transitions", "buffer_size"):
        require_count(getattr(experiment, field), field)
    k, most = experiment.unroll, experiment.num_inner_steps
    require(isinstance(k, int) and 0 <= k <= most, "unroll", f"must be in [0, num_inner_steps = {most}]", k)
    _check_options(experiment.leader, "leader")
    _check_options(experiment.follower, "follower")
    _check_fit_together(experiment, formulation_of(experiment))
    _check_leader(experiment)
    _check_kind(experiment)
    _refuse_void(experiment)
    return experiment


def _check_names(config: Any, prefix: str = "") -> None:
    """Every field that has names for values must hold one of them."""
    for field, kind in typing.get_type_hints(type(config)).items():
        if typing.get_origin(kind) is Literal:
            require_known(getattr(config, field), f"{prefix}{field}", choices(kind))


def require_count(value: int, field: str) -> None:
    """Raise `InputError` unless `value` is a whole number of at least 1."""
    require(isinstance(value, int) and value >= 1, field, "must be a whole number of at least 1", value)


def _check_options(options: object, where: str) -> None:
    for field in _COUNTS:
        if hasattr(options, field):
            require_count(getattr(options, field), f"{where}.{field}")
    for field in ("actor_hidden", "critic_hidden", "hidden"):
        for width in getattr(options, field, ()):
            require_count(width, f"{where}.{field}")
    for field, (low, high) in _RANGES.items():
        if hasattr(options, field):
            _require_range(getattr(options, field), f"{where}.{field}", low, high)
    _check_names(options, f"{where}.")
    for field in ("temperature", "standard_deviation"):
        if hasattr(options, field):
            value = getattr(options, field)
            require(0.0 < value < math.inf, f"{where}.{field}", "must be positive and finite", value)
    if isinstance(options, PPOOptions | FitOptions):
        environments, minibatch = options.num_environments, options.minibatch_size
        divides = minibatch % environments == 0 and (options.num_steps * environments) % minibatch == 0
        allowed = f"must be a multiple of num_environments ({environments}) that divides num_environments·num_steps"
        require(divides, f"{where}.minibatch_size", allowed, minibatch)
    if isinstance(options, EvolutionOptions):
        size, episodes = options.population_size, options.num_episodes
        require(size % 2 == 0, f"{where}.population_size", "must be even: candidates come in antithetic pairs", size)
        whole = isinstance(episodes, int) and episodes >= 0
        require(whole, f"{where}.num_episodes", "must be a whole number of at least 0", episodes)
    if isinstance(options, QLearningOptions):
        require_count(options.num_episodes, f"{where}.num_episodes")
    if isinstance(options, ImplicitOptions):
        discount = options.discount
        require(discount < 1.0, f"{where}.discount", "must be below 1: the horizon is infinite", discount)
    if isinstance(options, ExactOptions):
        number = options.num_transitions
        whole = isinstance(number, int) and number >= 0
        require(whole, f"{where}.num_transitions", "must be a whole number of at least 0", number)


def _require_range(value: float, field: str, low: float, high: float) -> None:
    allowed = f"must be in [{low:g}, {high:g}]" if math.isfinite(high) else f"must be at least {low:g} and finite"
    require(math.isfinite(value) and low <= value <= high, field, allowed, value)


def _check_fit_together(experiment: Experiment, game: Formulation) -> None:
    """The follower's options must be of a kind that the scheme and the follower's wants allow."""
    scheme, follower, leader = experiment.scheme, experiment.follower, experiment.leader
    only_fits = set(game.follower_wants) == {"fit"}
    kinds: dict[str, tuple[type, ...]] = {
        "contextual": (FitOptions,) if only_fits else (PPOOptions,),
        "inner_outer": (GradientOptions, FitOptions) if only_fits else (GradientOptions, PPOOptions),
        "exact": (ExactOptions,),
        "implicit": (ImplicitOptions,),
    }
    if FORMULATIONS[experiment.formulation].kind == "matrix":
        kinds["inner_outer"] = (GradientOptions, QLearningOptions, PPOOptions)
    if experiment.data == "aggregated":
        kinds["inner_outer"] = (GradientOptions,)
        allowed = "must be inner_outer with data=aggregated, whose follower learns from the data so far"
        require(scheme == "inner_outer", "scheme", allowed, scheme)
        least, size = experiment.num_new_transitions, experiment.buffer_size
        require(size >= least, "buffer_size", f"must be at least num_new_transitions ({least})", size)
    if scheme in ("exact", "implicit") and game.follower == "model" and not only_fits:
        raise InputError(
            f"scheme: {scheme} has no closed form for the follower of {experiment.formulation}; use another"
        )
    allowed_kinds = " or ".join(kind.__name__ for kind in kinds[scheme])
    if not isinstance(follower, kinds[scheme]):
        raise InputError(f"follower: {experiment.formulation} with {scheme} needs {allowed_kinds}")
    if isinstance(follower, PPOOptions) and scheme == "contextual" and follower.parametrization == "table":
        raise InputError("follower.parametrization: must be 'network', a table cannot be conditioned on the leader")
    if isinstance(follower, ExactOptions) and follower.num_transitions and game.follower == "policy":
        raise InputError(
            "follower.num_transitions: must be 0 where the follower is a policy: it plans, it does not fit"
        )
    if experiment.unroll and scheme != "inner_outer":
        raise InputError(f"unroll: must be 0 with the scheme {scheme}, which has no inner loop")
    if experiment.unroll and not isinstance(follower, GradientOptions):
        raise InputError("unroll: must be 0 unless the follower learns by gradient (GradientOptions)")
    if experiment.unroll and isinstance(follower, GradientOptions) and follower.optimizer == "lion":
        raise InputError("follower.optimizer: must not be lion with unroll > 0: its step, a sign, has no derivative")
    if isinstance(follower, ExactOptions) and follower.backup == "soft" and follower.tie_breaking != "lowest":
        raise InputError("follower.tie_breaking: must be lowest with soft backups, which have no ties")
    if experiment.data == "aggregated" and isinstance(leader, PPOOptions):
        raise InputError("leader: PPO plays for its payoff; data=aggregated needs a gradient or evolution learner")


_CONDITIONS = ("hidden_queries", "phase_told", "follower_reset", "paid_queries")


def _check_leader(experiment: Experiment) -> None:
    """How a leader is heard and what becomes of its queries depends on whether it plays."""
    leader, context = experiment.leader, experiment.context
    if isinstance(leader, PPOOptions):
        allowed = "must be answers for a leader by policy gradient, which learns from them"
        require(context == "answers", "context", allowed, context)
    elif not plays(leader):
        require(context == "probabilities", "context", "must be probabilities for a leader of exact payoffs", context)
    for name in _CONDITIONS:
        kept = getattr(Experiment, name)  # the default keeps it
        value, heard = getattr(experiment, name), plays(leader) and context == "answers"
        allowed = f"must be {kept} unless the leader plays and is heard through its answers"
        require(heard or value == kept, name, allowed, value)


def _check_kind(experiment: Experiment) -> None:
    """What only one kind of game has."""
    matrix, follower = FORMULATIONS[experiment.formulation].kind == "matrix", experiment.follower
    if not matrix:
        require(not experiment.paid_queries, "paid_queries", "must be False outside matrix games", True)
        if isinstance(follower, ExactOptions):
            require(follower.clock, "follower.clock", "must be True outside matrix games", False)
        return
    allowed = "must not be implicit in a matrix game, which ends after T steps"
    require(experiment.scheme != "implicit", "scheme", allowed, experiment.scheme)
    no_model = "in a matrix game, which has no model to fit"
    require(experiment.data == "own", "data", f"must be own {no_model}", experiment.data)
    if isinstance(follower, ExactOptions):
        require(follower.backup == "hard", "follower.backup", "must be hard in a matrix game", follower.backup)
        number = follower.num_transitions
        require(number == 0, "follower.num_transitions", f"must be 0 {no_model}", number)


def _refuse_void(experiment: Experiment) -> None:
    """The agent reward in the world is a function of the policy alone: it needs a response that the leader can move.

    With a response held fixed, ∂ real_return / ∂M̂ = 0, so such a run would be plain MAL under another name.
    """
    if experiment.allow_void or "reward" not in FORMULATIONS[experiment.formulation].uses:
        return
    if experiment.agent_reward != "world":
        return
    held = experiment.scheme == "inner_outer" and experiment.unroll == 0
    follower = experiment.follower
    flat = isinstance(experiment.leader, GradientOptions) and (
        experiment.response == "greedy" or (isinstance(follower, ExactOptions) and follower.backup == "hard")
    )
    if held:
        reason = "holds the response fixed (unroll = 0)"
    elif flat:
        reason = "answers by a best action, which has no gradient in the model"
    else:
        return
    raise InputError(
        f"scheme: {experiment.scheme} {reason}, so a reward in the world does not move the leader and this is plain "
        "MAL; use a response that depends on the leader, agent_reward=model, or allow_void to run it all the same"
    )
