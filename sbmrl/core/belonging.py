"""Which parts a field belongs to: what to tell somebody who sets it where it has no meaning."""

import dataclasses

from sbmrl.core import registry
from sbmrl.core.options import settings


def belonging(name: str) -> str:
    """As in "alpha belongs to the formulations mal_agent_reward, mal_random_noise"; nothing for a field of no part."""
    owners = {"formulation": _formulations(name), "scheme": _schemes(name), "learner": _learners(name)}
    told = [f"the {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}" for kind, names in owners.items() if names]
    return f"{name} belongs to {' and '.join(told)}" if told else ""


def _has(options: object, name: str, prefix: str = "") -> bool:
    return any(setting.name == name for setting in settings(options, prefix))


def _formulations(name: str) -> list[str]:
    """The formulations with the knob, or in whose games it can be set, named where that are not all of the family."""
    found: dict[str, list[str]] = {}
    for row in registry.formulations().values():
        kinds = registry.kinds_of(row)
        having = [kind.what for kind in kinds if _has(kind.options_of(row)(), name)]
        if having:
            where = "" if len(having) == len(kinds) else f" in {' or '.join(having)}"
            found.setdefault(where, []).append(row.name)
    return [name for where, rows in found.items() for name in (*rows[:-1], rows[-1] + where)]


def _schemes(name: str) -> list[str]:
    """Schemes with the field, and those whose closed form has it for a follower of certain formulations."""
    found = []
    for scheme in registry.schemes().values():
        if any(field.name == name for field in dataclasses.fields(scheme.options) if field.name != "follower"):
            found.append(scheme.name)
        if scheme.answer is None:
            continue
        rows = []
        for row in registry.formulations().values():
            answers = [kind.answers.get(scheme.answer) for kind in registry.kinds_of(row)]
            told = [make(row, False) for make in answers if make is not None]
            if any(options is not None and _has(options, name, "follower.") for options in told):
                rows.append(row.name)
        if rows:
            found.append(f"{scheme.name} with {' or '.join(rows)}")
    return found


def _learners(name: str) -> list[str]:
    found = []
    for learner in registry.learners().values():
        options = learner.options()
        leads, follows = bool(learner.heard(options)), learner.follows or learner.oracle is not None
        if (leads and _has(options, name, "leader.")) or (follows and _has(options, name, "follower.")):
            found.append(learner.name)
    return found
