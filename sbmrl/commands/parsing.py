"""What each command was told: one function a command, from its words to options that have been checked.

World, preset, scheme, learner and plug-ins are looked at before all other words, because what these may be depends on
them.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from sbmrl.commands.options import (
    HELP,
    Bench,
    Choices,
    Draw,
    Evaluate,
    List,
    PluginOptions,
    Report,
    Reproduce,
    RunOptions,
    SweepOptions,
    Theory,
)
from sbmrl.commands.words import bare, parse, take
from sbmrl.core import registry
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.options import hints_of, require_count
from sbmrl.core.parts import Composition
from sbmrl.errors import require, require_known
from sbmrl.experiment.checks import check, unused
from sbmrl.experiment.plugins import find_plugins, load_plugin
from sbmrl.experiment.presets import preset, presets_of
from sbmrl.sweep.plan import parse_axis, read_plan

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


def _parse_with_plugins(config: type, arguments: Sequence[str], program: str, default: Any = None) -> Any:
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


def parse_train(arguments: Sequence[str]) -> tuple[Experiment, RunOptions]:
    """`FORMULATION [--env W] [--preset P] …`: formulation, world, preset, scheme and learner set all other defaults.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    program = "sbmrl train"
    names, rest = _take_formulations(take_plugins(arguments, program))
    require(len(names) == 1, "formulation", "must be one; `sbmrl sweep` takes several", " ".join(names))
    return _parse_run("Train one formulation in one world.", RunOptions(), names[0], rest, program)


def parse_sweep(arguments: Sequence[str]) -> tuple[list[Experiment], SweepOptions]:
    """`FORMULATION… [--grid FIELD=VALUES]… […]`: the experiments, and how the sweep is run.

    There is one for each formulation and for each value of a grid over `scheme` or `learner`, which set the defaults.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    program = "sbmrl sweep"
    names, rest = _take_formulations(take_plugins(arguments, program))
    taken, rest = take(Grid, rest, program)
    told = "Train formulations over a grid of hyper-parameters."
    over_parts = [text for text in taken.grid if text.partition("=")[0].strip() in ("scheme", "learner")]
    axes = [[f"--{axis.name}={value}" for value in axis.values] for axis in map(parse_axis, over_parts)]
    parsed = [
        _parse_run(told, SweepOptions(), name, [*rest, *chosen], program)
        for name in names
        for chosen in itertools.product(*axes)
    ]
    grid = tuple(text for text in taken.grid if text not in over_parts)
    return [experiment for experiment, _ in parsed], dataclasses.replace(parsed[0][1], grid=grid)


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
    defaults = preset(chosen.preset, formulation, chosen.scheme, chosen.learner, chosen.env)
    composition = compose(defaults)
    name = chosen.preset or next(iter(presets_of(composition.kind)))
    shown = Choices(defaults.env, name, composition.scheme.name, composition.leader.name)
    asks_help = any(flag in rest for flag in HELP)  # else an option may give another one a meaning, and `check` decides
    hidden = _hidden(composition) if asks_help else ()
    told = f"{told} World, preset, scheme and learner set every default shown here."
    command, default = _command(told, shown, run, composition, hidden)
    parsed = parse(command, rest, f"{program} {formulation}", default)
    check_run(parsed.run)
    return check(_experiment(defaults, parsed)), parsed.run


def _hidden(composition: Composition) -> set[str]:
    """The fields that --help leaves out: with everything else as it stands they can have one value only."""
    heard = composition.leader.heard(composition.experiment.leader)
    return {*unused(composition), *(["context"] if len(heard) == 1 else [])}


def _command(
    told: str, choices: Choices, run: RunOptions, composition: Composition, hidden: Collection[str]
) -> tuple[type, Any]:
    """What tyro is to parse: a class with a group for each part, of what applies to it alone, and its defaults."""
    experiment = composition.experiment
    open_group, flat = tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")
    row, scheme, leader, follower = composition.row, composition.scheme, composition.leader, composition.follower
    groups: dict[str, Any] = dict.fromkeys(("formulation", "env"), Annotated[(str, *_HIDDEN)])
    groups["game"] = Annotated[_shown(experiment.game, hidden), open_group, _told(row.name, row.summary)]
    answer = getattr(experiment.scheme, "follower", None)  # told as a group of its own, where there is one
    own = _shown(experiment.scheme, hidden, "", {} if answer is None else {"follower": Annotated[(Any, *_HIDDEN)]})
    groups["scheme"] = Annotated[own, open_group, _told(scheme.name, scheme.summary)]
    groups["leader"] = Annotated[
        _shown(experiment.leader, hidden, "leader.", _starts(experiment.leader, composition)),
        _told(leader.name, leader.summary),
    ]
    fields: list[tuple[str, Any, Any]] = [
        ("choices", Annotated[Choices, flat], choices),
        ("experiment", Annotated[_subclass(Experiment, groups), flat], None),
        ("run", Annotated[type(run), flat], run),
    ]
    if answer is not None:
        by = follower or scheme
        group = _shown(answer, hidden, "follower.", _starts(answer, composition))
        kind = Annotated[group, _told(by.name, by.summary)]
        fields.insert(2, ("follower", kind, answer))
    command = dataclasses.make_dataclass("Command", [(name, kind) for name, kind, _ in fields], frozen=True)
    command.__doc__ = told
    values = {name: value for name, _, value in fields}
    values["experiment"] = _as(experiment, bare(fields[1][1])[0])
    if answer is not None:
        values["follower"] = _as(answer, bare(fields[2][1])[0])
    return command, command(**values)


def _told(name: str, summary: str) -> Any:
    return tyro.conf.arg(help=f"{name}: {summary}")


def _shown(options: Any, hidden: Collection[str], prefix: str = "", changed: dict[str, Any] | None = None) -> type:
    """The class of options, some of its fields `changed`, without those that have no meaning in the run."""
    kind = type(options)
    names = [field.name for field in dataclasses.fields(options) if prefix + field.name in hidden]
    return _subclass(
        kind, (changed or {}) | {name: Annotated[hints_of(kind)[name], tyro.conf.Suppress] for name in names}
    )


def _starts(options: Any, composition: Composition) -> dict[str, Any]:
    """The field that says how a table starts, told with the names that the kind of game has for it."""
    usual, *others = composition.kind.starts
    told = tyro.conf.arg(help=f"How a table starts: {', '.join((f'{usual} (usual)', *others))}.")
    return {"initial": Annotated[str, told]} if hasattr(options, "initial") else {}


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


def parse_reproduce(arguments: Sequence[str]) -> tuple[Reproduce]:
    """`[PROGRAMME] …`, which has its own number of seeds; raises `InputError` as the other functions here do."""
    program = "sbmrl reproduce"
    rest = take_plugins(arguments, program)
    named = next((word for word in rest if word in registry.programmes()), Reproduce.programme)
    default = Reproduce(programme=named, num_seeds=registry.programme(named).num_seeds)
    config = parse(Reproduce, rest, program, default)
    programme = registry.programme(config.programme)
    if config.preset is not None:
        require_known(config.preset, "preset", programme.presets)
    check_run(config)
    return (config,)


def parse_list(arguments: Sequence[str]) -> tuple[()]:
    """Nothing but plug-ins."""
    _parse_with_plugins(List, arguments, "sbmrl list")
    return ()


def parse_evaluate(arguments: Sequence[str]) -> tuple[Evaluate]:
    """`DIRECTORY …`."""
    config = _parse_with_plugins(Evaluate, arguments, "sbmrl evaluate")
    require_count(config.num_episodes, "num_episodes")
    check_seed(config.seed)
    return (config,)


def parse_draw(arguments: Sequence[str]) -> tuple[Draw]:
    """`SOURCE …`."""
    config = _parse_with_plugins(Draw, arguments, "sbmrl draw")
    require_count(config.run_seed, "run_seed", least=0)
    return (config,)


def parse_report(arguments: Sequence[str]) -> tuple[Report]:
    """`DIRECTORY… …`."""
    config = _parse_with_plugins(Report, arguments, "sbmrl report")
    require(len(config.directories) > 0, "directories", "must be at least one", "none")
    return (config,)


def parse_theory(arguments: Sequence[str]) -> tuple[Theory]:
    """Counts and a seed."""
    config = _parse_with_plugins(Theory, arguments, "sbmrl theory")
    require_count(config.num_instances, "num_instances")
    check_seed(config.seed)
    return (config,)


def parse_bench(arguments: Sequence[str]) -> tuple[Bench]:
    """`[FORMULATION…] …`."""
    config = _parse_with_plugins(Bench, arguments, "sbmrl bench")
    require(config.num_seeds != (), "num_seeds", "must be at least one number", "none")
    for count in config.num_seeds or ():
        require_count(count, "num_seeds")
    for count in config.worlds:
        require_count(count, "worlds", least=2)
    for name in ("accelerator", "num_seeds", "preset") if config.worlds else ():
        given = getattr(config, name)
        require(not given, name, "must not be given with --worlds, which times 16 seeds of preset fast", given)
    require_count(config.num_repeats, "num_repeats")
    require_count(config.phase_seeds, "phase_seeds", least=0)
    require(config.limit > 0, "limit", "must be above 0", config.limit)
    return (config,)


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
