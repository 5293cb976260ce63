"""Named experiments: budgets and networks for every formulation, scheme and learner."""

from collections.abc import Mapping

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.parts import Choice, GameKind, Preset
from sbmrl.errors import InputError, require_known
from sbmrl.experiment import parts  # noqa: F401  # which parts there are

PLAIN = "plain"


def presets() -> dict[str, str]:
    """Every preset of every kind of game, with one line of what it is."""
    return {name: one.summary for kind in registry.kinds().values() for name, one in presets_of(kind).items()}


def presets_of(kind: GameKind) -> Mapping[str, Preset]:
    """The presets of a kind of game; one without any has `plain`."""
    return kind.presets or {PLAIN: Preset("every part's own defaults", _plain)}


def default_preset(formulation: str) -> str:
    """The preset of a formulation where none is named.

    Raises:
        InputError: an unknown formulation.
    """
    return next(iter(presets_of(registry.kind_of(registry.formulation(formulation)))))


def preset(
    name: str | None = None, formulation: str = "mal", scheme: str | None = None, learner: str | None = None
) -> Experiment:
    """A preset experiment.

    Args:
        name: a preset of the formulation's kind of game, such as "poster", "fast" or "practical"; its usual one if not
            said.
        formulation: a row of the formulation table.
        scheme: how the follower answers; the preset's own if not said.
        learner: how the leader learns; the preset's own if not said.

    Raises:
        InputError: an unknown name, with the nearest known one, or a preset that is not for the formulation.
    """
    row = registry.formulation(formulation)
    kind = registry.kind_of(row)
    name = name or default_preset(formulation)
    require_known(name, "preset", presets())
    own = presets_of(kind)
    if name not in own:
        raise InputError(f"preset: {name} is not for the formulation {formulation}; use {' or '.join(own)}")
    how = None if scheme is None else registry.scheme(scheme)
    return own[name].build(Choice(name, row, kind, how, None if learner is None else registry.learner(learner)))


def _plain(choice: Choice) -> Experiment:
    """The parts' own defaults: contextual, and PPO for a follower that is contextual, else gradient."""
    scheme = choice.scheme or registry.scheme("contextual")
    learner = choice.learner or registry.learner("ppo" if scheme.answer is None else "gradient")
    leader = registry.defaults_of(learner, choice.preset)
    options = choice.row.options(context=learner.heard(leader)[0])
    choice = choice._replace(scheme=scheme, learner=learner)
    return Experiment(choice.row.name, choice.kind.env, options, scheme.default(choice, leader), leader)
