"""Which parts a field belongs to: what to tell somebody who sets it where it has no meaning."""

import dataclasses
from collections.abc import Iterator

from sbmrl.core import registry
from sbmrl.core.options import settings
from sbmrl.experiment import parts  # noqa: F401  # which parts there are


def belonging(name: str) -> str:
    """As in "alpha belongs to the formulations mal_agent_reward, mal_random_noise"; nothing for a field of no part."""
    owners: dict[str, list[str]] = {}
    for kind, owner, field in _fields():
        if field == name and owner not in owners.setdefault(kind, []):
            owners[kind].append(owner)
    told = [f"the {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}" for kind, names in owners.items() if names]
    return f"{name} belongs to {' and '.join(told)}" if told else ""


def _fields() -> Iterator[tuple[str, str, str]]:
    """(kind of part, its name, field) of everything that can be set."""
    for row in registry.formulations().values():
        for setting in settings(row.options()):
            yield "formulation", row.name, setting.name
        for scheme in registry.schemes().values():
            make = None if scheme.answer is None else registry.kind_of(row).answers.get(scheme.answer)
            options = None if make is None else make(row, False)
            for setting in () if options is None else settings(options, "follower."):
                yield "scheme", scheme.name, setting.name
    for scheme in registry.schemes().values():
        for field in dataclasses.fields(scheme.options):
            if field.name != "follower":
                yield "scheme", scheme.name, field.name
    for learner in registry.learners().values():
        options = learner.options()
        for prefix, can in (("leader.", bool(learner.heard(options))), ("follower.", _follows(learner))):
            for setting in settings(options, prefix) if can else ():
                yield "learner", learner.name, setting.name


def _follows(learner: registry.LearnerKind) -> bool:
    return learner.follows or learner.oracle is not None
