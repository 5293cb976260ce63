"""Named experiments: budgets and networks for every formulation, scheme and learner."""

from collections.abc import Mapping

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment
from sbmrl.core.formulation import FormulationRow
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


def preset(
    name: str | None = None,
    formulation: str = "mal",
    scheme: str | None = None,
    learner: str | None = None,
    env: str | None = None,
) -> Experiment:
    """A preset experiment.

    Args:
        name: a preset of the formulation's kind of game, such as "poster", "fast" or "practical"; its usual one if not
            said.
        formulation: a row of the formulation table.
        scheme: how the follower answers; the preset's own if not said.
        learner: how the leader learns; the preset's own if not said.
        env: the world, which says of what kind the game is; the usual one of the preset's kind if not said.

    Raises:
        InputError: an unknown name, with the nearest known one, or a preset that is not for the formulation.
    """
    row = registry.formulation(formulation)
    kind = _kind(row, name, env)
    name, own = name or next(iter(presets_of(kind))), presets_of(kind)
    require_known(name, "preset", presets())
    if name not in own:
        where = f"{formulation} in {env}" if env else f"the formulation {formulation}"
        raise InputError(f"preset: {name} is not for {where}; use {' or '.join(own)}")
    how, by = scheme and registry.scheme(scheme), learner and registry.learner(learner)
    return own[name].build(Choice(name, row, kind, how or None, by or None, env or kind.env))


def _kind(row: FormulationRow, name: str | None, env: str | None) -> GameKind:
    """The kind of the world; where none is named, the first that has the preset."""
    if env is None and name is not None:
        return next((kind for kind in registry.kinds_of(row) if name in presets_of(kind)), registry.kinds_of(row)[0])
    return registry.kind_for(row, env)


def _plain(choice: Choice) -> Experiment:
    """The parts' own defaults: contextual, and PPO for a follower that is contextual, else gradient."""
    scheme = choice.scheme or registry.scheme("contextual")
    learner = choice.learner or registry.learner("ppo" if scheme.answer is None else "gradient")
    leader = registry.defaults_of(learner, choice.preset)
    options = choice.options(context=learner.heard(leader)[0])
    choice = choice._replace(scheme=scheme, learner=learner)
    return Experiment(choice.row.name, choice.env, options, scheme.default(choice, leader), leader)
