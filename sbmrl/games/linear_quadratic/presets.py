"""How linear-quadratic games are solved if nothing else is said: by the exact derivative, with the exact response."""

import dataclasses
from typing import Any

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, LearnerKind, Preset
from sbmrl.learners.evolution import EvolutionOptions
from sbmrl.learners.gradient import GRADIENT, GradientOptions
from sbmrl.learners.natural_policy_gradient import of_rollouts
from sbmrl.learners.policy_gradient import of_ppo
from sbmrl.learners.ppo import PPOOptions
from sbmrl.schemes.contextual import CONTEXTUAL, ContextualOptions
from sbmrl.schemes.exact import EXACT
from sbmrl.schemes.inner_outer import INNER_OUTER, InnerOuterOptions

ENV = "lqr_double_integrator"

# A model ends where its steps lead it, so they are small: see docs/results/linear_quadratic.md for larger ones.
_RATES = {"model": 0.001, "policy": 0.1}
# Step rewards are discounted already, and an episode is one environment's rollout.
_PLAYING = PPOOptions(
    total_steps=2_000_000,
    num_environments=16,
    num_steps=700,
    minibatch_size=1600,
    parametrization="table",
    actor_hidden=(),
    discount=1.0,
    learning_rate=1e-3,
)
_FOLLOWER = GradientOptions(num_updates=1000, parametrization="network", hidden=(64, 64), learning_rate=3e-3)
_INNER = GradientOptions(learning_rate=0.05)


def _leader(choice: Choice, learner: LearnerKind) -> Any:
    rate, preset = _RATES[choice.row.leader], choice.preset
    known = {
        "gradient": GradientOptions(num_updates=1000, learning_rate=rate),
        "evolution": EvolutionOptions(num_updates=1000, learning_rate=rate, standard_deviation=rate),
        "ppo": _PLAYING,
        "policy_gradient": of_ppo(_PLAYING),
        "natural_policy_gradient": dataclasses.replace(of_rollouts(_PLAYING), value_minibatch_size=1600),
    }
    found = known[learner.name] if learner.name in known else registry.defaults_of(learner, preset)
    sizes = {name: getattr(found, name) // 4 for name in ("total_steps", "num_updates") if hasattr(found, name)}
    return dataclasses.replace(found, **sizes) if preset == "fast" else found


def _build(choice: Choice) -> Experiment:
    """The exact response, and a leader that sees how it changes."""
    scheme, learner, fast = choice.scheme or EXACT, choice.learner or GRADIENT, choice.preset == "fast"
    leader = _leader(choice, learner)
    choice = choice._replace(scheme=scheme, learner=learner)
    if scheme is CONTEXTUAL:
        steps = _FOLLOWER.num_updates // 4 if fast else _FOLLOWER.num_updates
        options: Any = ContextualOptions(dataclasses.replace(_FOLLOWER, num_updates=steps), num_leader_pool=64)
    elif scheme is INNER_OUTER:
        options = InnerOuterOptions(_INNER, unroll=10)
    else:
        options = scheme.default(choice, leader)
    heard = learner.heard(leader)
    game = choice.options(context=heard[0] if heard else "answers")
    return Experiment(choice.row.name, choice.env, game, options, leader, num_records=10 if fast else 20)


PRESETS = {
    "lqr": Preset("1,000 steps by the exact derivative, with the exact response (contextual: 1,000 before)", _build),
    "fast": Preset("a quarter of the steps, for a first look", _build),
}
