"""From the words of a command to options, by tyro; what it refuses becomes one line.

What is done by hand here is what tyro has no way to: a first look at the options on which the defaults of all others
depend, `field=value` for `--field value`, one line in place of its boxes, and for a field of another part the parts
that have it.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro import (
    _errors as refusals,  # its structured refusals have no public name yet; pyproject.toml bounds the version
)

from sbmrl.commands.options import HELP, Choices, PluginOptions, RunOptions, SweepOptions
from sbmrl.core import registry
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.options import hints_of, require_count
from sbmrl.errors import InputError, require, require_known
from sbmrl.experiment.belonging import belonging
from sbmrl.experiment.checks import check, unused
from sbmrl.experiment.plugins import find_plugins, load_plugin
from sbmrl.experiment.presets import default_preset, preset
from sbmrl.sweep.plan import read_plan

_HIDDEN = (tyro.conf.Suppress, tyro.conf.Fixed)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The axes of a sweep."""

    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """As in `SweepOptions`."""


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Where an earlier run lies that is gone on with."""

    out: Path | None = None
    """As in `RunOptions`."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """As in `RunOptions`."""


def parse(config: type, arguments: Sequence[str], program: str, default: Any = None) -> Any:
    """All of the arguments.

    Raises:
        InputError: an unknown option, with the nearest known one, or a value of the wrong type.
    """
    before = ["", *arguments]  # the value of --cluster-options is itself written as name=value
    words = [a if b == "--cluster-options" else _as_flag(a) for a, b in zip(arguments, before, strict=False)]
    kwargs = {} if default is None else {"default": default}
    with refusals.on_parse_error(lambda event: _refuse(event, config, program)):
        return tyro.cli(config, args=words, prog=program, **kwargs)


def take(config: type, arguments: Sequence[str], program: str) -> tuple[Any, list[str]]:
    """The options that `config` has, wherever they stand, and all other arguments.

    Raises:
        InputError: an option without its value.
    """
    with refusals.on_parse_error(lambda event: _refuse(event, config, program)):
        return tyro.cli(config, args=list(arguments), prog=program, return_unknown_args=True, add_help=False)


def parse_with_plugins(config: type, arguments: Sequence[str], program: str, default: Any = None) -> Any:
    """Load the plug-ins, then parse all other arguments; raises what `take_plugins` and `parse` raise."""
    return parse(config, take_plugins(arguments, program), program, default)


def take_plugins(arguments: Sequence[str], program: str) -> list[str]:
    """Load what --plugin names, and what the directory needs that --resume goes on with; all other arguments.

    Raises:
        InputError: a plug-in that cannot be used, is missing or has changed.
    """
    chosen, rest = take(PluginOptions, arguments, program)
    for named in chosen.plugin:
        load_plugin(named)
    earlier, _ = take(Resumed, rest, program)
    if earlier.resume and earlier.out is not None and (earlier.out / "plan.json").is_file():
        path = earlier.out / "plan.json"
        for cell in read_plan(path)["cells"]:
            find_plugins(cell.get("plugins", []), f"{path}: ")
    return rest


def _as_flag(argument: str) -> str:
    """`leader.learning_rate=1e-4` means `--leader.learning_rate=1e-4`."""
    return f"--{argument}" if re.match(r"[A-Za-z_][\w.-]*=", argument) else argument


def _refuse(event: refusals.ParseErrorEvent, config: type, program: str) -> None:
    reason = _reason(event, config)
    if reason is not None:
        raise InputError(f"{reason} (see `{program} --help`)")


def _reason(event: refusals.ParseErrorEvent, config: type) -> str | None:
    """What is wrong in one line; None for a refusal that this program does not know, which tyro then prints."""
    match event:
        case refusals.UnrecognizedArgs():
            return _unknown(event.tokens[0], _flags(config))
        case refusals.InvalidChoice():
            require_known(event.value, event.argument.display_name(), event.choices)
        case refusals.BadValue():
            return f"{event.argument.display_name()}: must have a value, got nothing"
        case refusals.MissingArgs():
            missing = [context.arg.get_invocation_text()[1].as_str_no_ansi() for context in event.missing_arguments]
            return f"{', '.join(missing)}: must be given, got nothing"
        case refusals.InstantiationFailure():
            return " ".join(event.message.split())
    return None


def _unknown(token: str, flags: Iterable[str]) -> str:
    """An option that this command does not have: which part it belongs to, or what it is like."""
    name = token.lstrip("-").partition("=")[0]
    told = belonging(name.replace("-", "_"))
    if told:
        return f"{name.replace('-', '_')}: has no meaning here; {told}"
    nearest = difflib.get_close_matches(name.replace("_", "-"), list(flags), n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(f'--{one}' for one in nearest)}?" if nearest else ""
    return f"{token}: is no option of this command{hint}"


def _flags(config: type, prefix: str = "") -> list[str]:
    """The names of a command's options."""
    found, marked = [], typing.get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        kind, marks = _bare(marked[field.name])
        if tyro.conf.Suppress in marks:
            continue
        if dataclasses.is_dataclass(kind):
            nameless = tyro.conf.OmitArgPrefixes in marks or any(getattr(mark, "name", None) == "" for mark in marks)
            found += _flags(kind, prefix if nameless else f"{prefix}{field.name}.")  # pyright: ignore[reportArgumentType]
        else:
            found.append((prefix + field.name).replace("_", "-"))
    return found


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())


def parse_train(arguments: Sequence[str]) -> tuple[Experiment, RunOptions]:
    """`FORMULATION [--preset P] …`: formulation, preset, scheme and learner set the defaults that other options change.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    program = "sbmrl train"
    names, rest = _take_formulations(take_plugins(arguments, program))
    require(len(names) == 1, "formulation", "must be one; `sbmrl sweep` takes several", " ".join(names))
    return _parse_run("Train one formulation in one world.", RunOptions(), names[0], rest, program)


def parse_sweep(arguments: Sequence[str]) -> tuple[list[Experiment], SweepOptions]:
    """`FORMULATION… [--grid FIELD=VALUES]… […]`: one experiment a formulation, and how the sweep is run.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    program = "sbmrl sweep"
    names, rest = _take_formulations(take_plugins(arguments, program))
    taken, rest = take(Grid, rest, program)
    told = "Train formulations over a grid of hyper-parameters."
    parsed = [_parse_run(told, SweepOptions(), name, rest, program) for name in names]
    return [experiment for experiment, _ in parsed], dataclasses.replace(parsed[0][1], grid=taken.grid)


def _take_formulations(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names in front of the options, and all else."""
    known = registry.formulations()
    count = next((i for i, a in enumerate(arguments) if a.startswith("-") or "=" in a), len(arguments))
    asks_help = any(flag in arguments for flag in HELP)
    require(count > 0 or asks_help, "formulation", f"must come first, one of {', '.join(known)}", "nothing")
    for name in arguments[:count]:
        require_known(name, "formulation", known)
    return list(arguments[:count]) or ["mal"], list(arguments[count:])


def _parse_run(told: str, run: RunOptions, formulation: str, arguments: Sequence[str], program: str) -> tuple[Any, Any]:
    """(experiment, options) of one formulation."""
    chosen, rest = take(Choices, arguments, program)
    name = chosen.preset or default_preset(formulation)
    defaults = preset(name, formulation, chosen.scheme, chosen.learner)
    composition = compose(defaults)
    shown = Choices(name, composition.scheme.name, composition.leader.name)
    command, default = _command(
        f"{told} Preset, scheme and learner set every default shown here.", shown, run, defaults
    )
    parsed = parse(command, rest, f"{program} {formulation}", default)
    check_run(parsed.run)
    return check(_experiment(defaults, parsed)), parsed.run


def _command(told: str, choices: Choices, run: RunOptions, experiment: Experiment) -> tuple[type, Any]:
    """What tyro is to parse: a class with a group for each part, of what applies to it alone, and its defaults."""
    composition = compose(experiment)
    hidden = unused(composition)
    open_group, flat = tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")
    row, scheme, leader, follower = composition.row, composition.scheme, composition.leader, composition.follower
    groups: dict[str, Any] = {"formulation": Annotated[(str, *_HIDDEN)]}
    groups["game"] = Annotated[_shown(experiment.game, hidden), open_group, _told(row.name, row.summary)]
    own = _shown(experiment.scheme, hidden, "", {"follower": Annotated[(Any, *_HIDDEN)]})
    groups["scheme"] = Annotated[own, open_group, _told(scheme.name, scheme.summary)]
    groups["leader"] = Annotated[_shown(experiment.leader, hidden, "leader."), _told(leader.name, leader.summary)]
    fields: list[tuple[str, Any, Any]] = [
        ("choices", Annotated[Choices, flat], choices),
        ("experiment", Annotated[_subclass(Experiment, groups), flat], None),
        ("run", Annotated[type(run), flat], run),
    ]
    answer = getattr(experiment.scheme, "follower", None)
    if answer is not None:
        by = follower or scheme
        kind = Annotated[_shown(answer, hidden, "follower."), _told(by.name, by.summary)]
        fields.insert(2, ("follower", kind, answer))
    command = dataclasses.make_dataclass("Command", [(name, kind) for name, kind, _ in fields], frozen=True)
    command.__doc__ = told
    values = {name: value for name, _, value in fields}
    values["experiment"] = _as(experiment, _bare(fields[1][1])[0])
    if answer is not None:
        values["follower"] = _as(answer, _bare(fields[2][1])[0])
    return command, command(**values)


def _told(name: str, summary: str) -> Any:
    return tyro.conf.arg(help=f"{name}: {summary}")


def _shown(options: Any, hidden: Mapping[str, str], prefix: str = "", changed: dict[str, Any] | None = None) -> type:
    """The class of options without the fields that have no meaning in the run."""
    kind = type(options)
    names = [field.name for field in dataclasses.fields(options) if prefix + field.name in hidden]
    return _subclass(
        kind, {name: Annotated[hints_of(kind)[name], tyro.conf.Suppress] for name in names} | (changed or {})
    )


def _subclass(kind: type, annotations: Mapping[str, Any]) -> type:
    """`kind` with other types for some of its fields; its sentences are found where it was written."""
    body = {"__annotations__": dict(annotations), "__doc__": kind.__doc__, "__module__": kind.__module__}
    return dataclasses.dataclass(frozen=True, kw_only=True)(type(kind.__name__, (kind,), body))


def _as(options: Any, kind: Any) -> Any:
    """Options as an instance of another class with the same fields, those in them likewise."""
    hints, values = hints_of(kind), {}
    for field in dataclasses.fields(options):
        value, hint = getattr(options, field.name), hints[field.name]
        values[field.name] = _as(value, hint) if dataclasses.is_dataclass(value) and hint is not Any else value
    return kind(**values)


def _experiment(defaults: Experiment, parsed: Any) -> Experiment:
    """The experiment of what was parsed, made of the parts' own classes again."""
    own = parsed.experiment
    scheme = _as(own.scheme, type(defaults.scheme))
    if hasattr(parsed, "follower"):
        scheme = dataclasses.replace(scheme, follower=_as(parsed.follower, type(defaults.scheme.follower)))
    plain = {field.name: getattr(own, field.name) for field in dataclasses.fields(Experiment)}
    game, leader = _as(own.game, type(defaults.game)), _as(own.leader, type(defaults.leader))
    return Experiment(**plain | {"game": game, "scheme": scheme, "leader": leader})


def check_run(options: RunOptions) -> None:
    """Raise `InputError` for how a plan cannot be run."""
    require_count(options.num_seeds, "num_seeds")
    check_seed(options.seed)
    if options.chunk_size is not None:
        require_count(options.chunk_size, "chunk_size")
    seconds = options.checkpoint_seconds
    require(seconds > 0, "checkpoint_seconds", "must be positive", seconds)
    alone = options.distributed_as == "off"
    require(alone or options.out is not None, "out", "must be given with --distributed, the same everywhere", "nothing")


def check_seed(seed: int) -> None:
    """Raise `InputError` unless `seed` can be the root of all random numbers."""
    require(0 <= seed < 2**31, "seed", "must be a whole number of at least 0", seed)
