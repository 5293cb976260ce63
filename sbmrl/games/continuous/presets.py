"""The games in simulated worlds: practical PAL and MAL, small and as published, and the literal game."""

import dataclasses
import math
from typing import Any, NamedTuple

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, Preset
from sbmrl.errors import InputError
from sbmrl.games.continuous.checks import outline_of
from sbmrl.games.continuous.ensemble import EnsembleOptions
from sbmrl.games.continuous.model_learner import ENSEMBLE, PHYSICS
from sbmrl.games.continuous.physics import PhysicsOptions
from sbmrl.games.continuous.simulator import Discrete, Simulator
from sbmrl.learners.evolution import EVOLUTION, EvolutionOptions
from sbmrl.learners.natural_policy_gradient import NATURAL_POLICY_GRADIENT, NaturalPolicyGradientOptions
from sbmrl.learners.ppo import PPO, PPOOptions
from sbmrl.schemes.contextual import CONTEXTUAL, ContextualOptions
from sbmrl.schemes.exact import EXACT
from sbmrl.schemes.inner_outer import INNER_OUTER, InnerOuterOptions

ENV = "gymnax:Pendulum-v1"
_NUM_ITERATIONS = 12

# The critic is fitted twice over in small minibatches. With one pass in large ones policies relapse, and more so with
# the paper's δ = .05 (docs/results/pendulum.md).
_MINIBATCH = 100
_POLICY = NaturalPolicyGradientOptions(
    num_environments=100,
    actor_hidden=(32, 32),
    critic_hidden=(64, 64),
    num_fisher_samples=2000,
    initial_log_standard_deviation=-0.3,
    min_log_standard_deviation=-2.0,
    step_size=0.02,
    value_minibatch_size=_MINIBATCH,
    value_epochs=2,
)
_MODEL = EnsembleOptions(
    hidden=(64, 64),
    activation="swish",
    num_epochs=10,
    minibatch_size=256,
    max_gradient_steps=800,
)


class _Sizes(NamedTuple):
    """A practical game: how often, on how much data, by whom.

    Attributes:
        num_iterations: fits of the model, with new real episodes for each.
        num_repeats: K, steps of the policy in each model.
        policy: how it learns; its episodes are as long as the world's.
        model: how it is fitted.
        game: what else can be set.
    """

    num_iterations: int
    num_repeats: int
    policy: NaturalPolicyGradientOptions
    model: EnsembleOptions
    game: dict[str, Any]


def _small(choice: Choice) -> Experiment:
    """Twelve iterations: five real episodes to begin with, two more in each, imagined ones as long as real ones."""
    repeats = 10 if choice.row.leader == "policy" else 20
    policy = _of_equal_batches(outline_of(choice.kind, choice.env).horizon)
    return _practical_game(choice, _Sizes(_NUM_ITERATIONS, repeats, policy, _MODEL, {"buffer_size": 6000}))


_BATCH = 20_000  # imagined steps behind a step of the policy, where 20 to 100 episodes have as many


def _of_equal_batches(horizon: int) -> NaturalPolicyGradientOptions:
    """The small policy with fewer episodes at a time where they are long, so that a world costs what another does."""
    num = min(max(_BATCH // horizon, 20), _POLICY.num_environments)
    return dataclasses.replace(_POLICY, num_environments=num, value_minibatch_size=minibatch_of(num, horizon))


def minibatch_of(num_environments: int, num_steps: int) -> int:
    """Samples behind a step of the critic: whole time steps, up to 100 samples if there are no more environments."""
    times = max(times for times in range(1, max(1, _MINIBATCH // num_environments) + 1) if num_steps % times == 0)
    return times * num_environments


# Rajeswaran et al.'s configurations for PAL and MAL on the hopper, and for PAL on the point mass, as their released
# code reads them. Samples are rounded up to whole episodes; minibatches of the critic are whole time steps.
_CRITIC = {"critic_hidden": (128, 128), "value_epochs": 1}
_HOPPER_POLICY = NaturalPolicyGradientOptions(num_cg_iterations=25, damping=1e-3, **_CRITIC)
_HOPPER_MODEL = EnsembleOptions(holdout_every=0, patience=25)
_PUBLISHED = {
    "pal": (4_000, 1_000, _Sizes(50, 5, dataclasses.replace(_HOPPER_POLICY, num_environments=200), _HOPPER_MODEL, {})),
    "mal": (
        10_000,
        2_000,
        _Sizes(
            25,
            20,
            dataclasses.replace(_HOPPER_POLICY, num_environments=100, initial_log_standard_deviation=-0.5),
            dataclasses.replace(_HOPPER_MODEL, num_epochs=10, max_gradient_steps=100_000),
            {"buffer_size": 100_000, "initial_noise": math.exp(-0.5)},
        ),
    ),
    "point_mass": (
        1_000,
        100,
        _Sizes(
            5,
            10,
            NaturalPolicyGradientOptions(
                num_environments=750,
                actor_hidden=(32, 32),
                initial_log_standard_deviation=-0.5,
                min_log_standard_deviation=-2.0,
                **_CRITIC,
            ),
            EnsembleOptions(num_members=3, hidden=(256, 256), minibatch_size=16, holdout_every=0, patience=25),
            {"initial_noise": math.exp(-0.5)},
        ),
    ),
}


def _practical(choice: Choice) -> Experiment:
    """The paper's sizes."""
    policy_leads = choice.row.leader == "policy"
    named = "point_mass" if policy_leads and choice.env == "point_mass" else "pal" if policy_leads else "mal"
    initial, new, sizes = _PUBLISHED[named]
    simulator = outline_of(choice.kind, choice.env)
    rounded = (math.ceil(samples / simulator.horizon) for samples in (initial, new))
    game = sizes.game | dict(zip(("num_initial_episodes", "num_new_episodes"), rounded, strict=True))
    if isinstance(simulator.rules.actions, Discrete):
        game.pop("initial_noise", None)  # numbered actions have none
    policy = dataclasses.replace(sizes.policy, value_minibatch_size=sizes.policy.num_environments)
    return _practical_game(choice, sizes._replace(policy=policy, game=game))


def _practical_game(choice: Choice, sizes: _Sizes) -> Experiment:
    """A practical game of the given sizes, whoever leads."""
    if choice.scheme not in (None, INNER_OUTER):
        name = choice.scheme.name
        raise InputError(f"scheme: must be inner_outer in the practical game, got {name}; --preset literal has others")
    simulator, rounds = outline_of(choice.kind, choice.env), sizes.num_iterations
    policy = _policy_in(simulator, sizes.policy)
    model = dataclasses.replace(sizes.model, num_updates=rounds)
    if choice.row.leader == "policy":
        steps = rounds * sizes.num_repeats * policy.num_environments * policy.num_steps
        learns = dataclasses.replace(policy, num_repeats=sizes.num_repeats, total_steps=steps)
        options = {NATURAL_POLICY_GRADIENT.name: learns}
        scheme = InnerOuterOptions(model, num_inner_steps=1)
    else:
        options = {ENSEMBLE.name: model, PHYSICS.name: PhysicsOptions(num_updates=rounds)}
        scheme = InnerOuterOptions(policy, num_inner_steps=sizes.num_repeats)
    wanted = choice.learner or registry.learner(next(iter(options)))
    if wanted.name not in options:
        allowed = " or ".join(options)
        raise InputError(f"learner: must be {allowed} for the leader of {choice.row.name} in {choice.env}")
    leader = options[wanted.name]
    game = choice.options(context=wanted.heard(leader)[0], **sizes.game)
    return Experiment(choice.row.name, choice.env, game, scheme, leader, num_records=rounds)


def _policy_in(simulator: Simulator, policy: NaturalPolicyGradientOptions) -> NaturalPolicyGradientOptions:
    """Episodes as long as the world's; where actions are numbered there is no spread to be set."""
    usual = NaturalPolicyGradientOptions()
    fields = ("initial_log_standard_deviation", "min_log_standard_deviation")
    numbered = isinstance(simulator.rules.actions, Discrete)
    spread = {name: getattr(usual, name) for name in fields} if numbered else {}
    return dataclasses.replace(policy, num_steps=simulator.horizon, **spread)


# A follower meets models from all of the ranges and sees which one it is, so it learns for longer than against one.
_NUM_FOLLOWER_UPDATES = 300
_SEARCH = EvolutionOptions(num_updates=100, population_size=16, learning_rate=0.05, standard_deviation=0.1)


def _literal(choice: Choice) -> Experiment:
    """A few numbers of physics lead, answered by a policy that knows them; a policy that leads learns in the world."""
    policy = _policy_in(outline_of(choice.kind, choice.env), _POLICY)
    sizes = policy.num_environments * policy.num_steps
    policy_leads = choice.row.leader == "policy"
    learner = choice.learner or (NATURAL_POLICY_GRADIENT if policy_leads else EVOLUTION)
    scheme = choice.scheme or (EXACT if policy_leads else CONTEXTUAL)
    known: dict[str, Any] = {EVOLUTION.name: _SEARCH}
    if policy_leads:
        known = {
            NATURAL_POLICY_GRADIENT.name: dataclasses.replace(policy, total_steps=100 * sizes),
            PPO.name: PPOOptions(total_steps=1_000_000, learning_rate=1e-3),
        }
    if learner.name not in known:
        allowed = " or ".join(known)
        raise InputError(f"learner: must be {allowed} for the leader of {choice.row.name} in the literal game")
    leader = known[learner.name]
    if policy_leads and scheme is not EXACT:
        raise InputError(f"scheme: must be exact for {choice.row.name} in the literal game, got {scheme.name}")
    choice = choice._replace(scheme=scheme, learner=learner)
    followers = {
        CONTEXTUAL.name: lambda: ContextualOptions(
            dataclasses.replace(policy, total_steps=_NUM_FOLLOWER_UPDATES * sizes), num_leader_pool=100
        ),
        INNER_OUTER.name: lambda: InnerOuterOptions(policy, num_inner_steps=10),
    }
    answer = followers[scheme.name]() if scheme.name in followers else scheme.default(choice, leader)
    game = choice.options(context=learner.heard(leader)[0], data="own", num_test_episodes=16)
    return Experiment(choice.row.name, choice.env, game, answer, leader, num_records=20)


PRESETS = {
    "small": Preset("practical PAL and MAL for tasks of a few hundred steps: 12 iterations", _small),
    "practical": Preset("practical PAL and MAL with the sizes of Rajeswaran et al.'s code", _practical),
    "literal": Preset(
        "a model of a few numbers leads, judged on its own policy's data; PAL learns in the world", _literal
    ),
}
