"""The command line: reads what the user wrote, and only then imports what does the work.

Bad input ends in one line on stderr and exit code 2, before anything is written.
"""

import contextlib
import dataclasses
import importlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import tyro

from sbmrl.experiment.checks import check, require_count
from sbmrl.commands.options import (
    Bench,
    Draw,
    Evaluate,
    List,
    Report,
    Reproduce,
    RunOptions,
    Sweep,
    SweepOptions,
    Theory,
    Train,
    parse_distributed,
)
from sbmrl.core.experiment import SCHEMES, Experiment
from sbmrl.errors import InputError, require, require_known
from sbmrl.core.formulation import FORMULATIONS
from sbmrl.core.options import LEARNERS, learner_name
from sbmrl.experiment.presets import PRESETS, default_preset, preset

COMMANDS: dict[str, tuple[type, str]] = {
    "reproduce": (Reproduce, "all four rows of the poster's table, or the games of Oracles & Followers"),
    "train": (Train, "one formulation in one world, many seeds"),
    "sweep": (Sweep, "formulations over a grid of hyper-parameters"),
    "evaluate": (Evaluate, "evaluate a finished run again, exactly and by sampling"),
    "report": (Report, "a page on one or more runs: table, statistics, figures"),
    "bench": (Bench, "wall-clock of formulations for growing numbers of seeds"),
    "theory": (Theory, "check the theorems on random worlds; counts, tightness, figure"),
    "list": (List, "worlds, formulations, schemes and presets"),
    "draw": (Draw, "an MDP, or a run's learned model beside its world"),
}
# command -> (module of `sbmrl.commands`, function): imported when it is run, so that help and refusals stay quick
_HOMES: dict[type, tuple[str, str]] = {
    Reproduce: ("training", "reproduce"),
    Evaluate: ("inspection", "evaluate"),
    List: ("inspection", "show_list"),
    Draw: ("inspection", "draw"),
    Report: ("report", "report"),
    Bench: ("bench", "bench"),
    Theory: ("theory", "theory"),
}
_HELP = ("-h", "--help")


def usage() -> str:
    """What `sbmrl --help` prints."""
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return (
        "usage: sbmrl COMMAND [OPTIONS]\n\nModel-based reinforcement learning as a Stackelberg game.\n\ncommands:\n"
        + "\n".join(lines)
        + "\n\n`sbmrl COMMAND --help` describes a command; `sbmrl train FORMULATION --help` every hyper-parameter.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with 0, or with 2 and one line on stderr after bad input."""
    try:
        _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except InputError as error:
        _stop(str(error))
    except OSError as error:  # a disk that is full, a directory that went away
        _stop(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("sbmrl: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _stop(message: str) -> NoReturn:
    print(f"sbmrl: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in _HELP:
        print(usage(), end="")
        return
    command, rest = arguments[0], arguments[1:]
    require_known(command, "command", COMMANDS)
    if command in _PARSERS:
        parsed = _PARSERS[command](rest)
        getattr(importlib.import_module("sbmrl.commands.training"), command)(*parsed)
        return
    config = _parse(COMMANDS[command][0], rest, f"sbmrl {command}", _defaults(command, rest))
    _check_command(config)
    module, name = _HOMES[type(config)]
    getattr(importlib.import_module(f"sbmrl.commands.{module}"), name)(config)


PROGRAMMES = {"poster": "poster", "oracles-followers": "oracles_followers"}  # and their own presets


def _defaults(command: str, arguments: Sequence[str]) -> Any:
    """A programme's own number of seeds: a poster's row has 16, a game 32."""
    games = command == "reproduce" and "oracles-followers" in arguments
    return Reproduce(programme="oracles-followers", num_seeds=32) if games else None


def _check_command(config: Any) -> None:
    if isinstance(config, Reproduce):
        require_known(config.programme, "programme", PROGRAMMES)
        if config.preset is not None:
            require_known(config.preset, "preset", (PROGRAMMES[config.programme], "fast"))
        _check_run(config)
    elif isinstance(config, Evaluate):
        require_count(config.num_episodes, "num_episodes")
        _check_seed(config.seed)
    elif isinstance(config, Report):
        require(len(config.directories) > 0, "directories", "must be at least one", "none")
    elif isinstance(config, Bench):
        require(len(config.num_seeds) > 0, "num_seeds", "must be at least one number", "none")
        for count in (*config.num_seeds, config.num_repeats):
            require_count(count, "num_seeds" if count in config.num_seeds else "num_repeats")
        whole = isinstance(config.phase_seeds, int) and config.phase_seeds >= 0
        require(whole, "phase_seeds", "must be a whole number of at least 0", config.phase_seeds)
        for name in config.formulations:
            require_known(name, "formulation", FORMULATIONS)
        for name in config.schemes:
            require_known(name, "scheme", SCHEMES)
        require_known(config.preset, "preset", PRESETS)
    elif isinstance(config, Theory):
        require_count(config.num_instances, "num_instances")
        _check_seed(config.seed)
    elif isinstance(config, Draw):
        require(config.run_seed >= 0, "run_seed", "must be a whole number of at least 0", config.run_seed)


def _check_run(options: RunOptions) -> None:
    require_count(options.num_seeds, "num_seeds")
    _check_seed(options.seed)
    if options.chunk_size is not None:
        require_count(options.chunk_size, "chunk_size")
    seconds = options.checkpoint_seconds
    require(seconds > 0, "checkpoint_seconds", "must be positive", seconds)
    alone = parse_distributed(options.distributed) == "off"
    require(alone or options.out is not None, "out", "must be given with --distributed, the same everywhere", "nothing")


def _check_seed(seed: int) -> None:
    require(0 <= seed < 2**31, "seed", "must be a whole number of at least 0", seed)


def parse_train(arguments: Sequence[str]) -> tuple[Experiment, RunOptions]:
    """`FORMULATION [--preset P] …`: the formulation and the preset set the defaults that the other options change.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    formulations, rest = _take_formulations(arguments)
    require(len(formulations) == 1, "formulation", "must be one; `sbmrl sweep` takes several", " ".join(formulations))
    return _parse_run(Train, RunOptions(), formulations[0], rest, "sbmrl train")


def parse_sweep(arguments: Sequence[str]) -> tuple[list[Experiment], SweepOptions]:
    """`FORMULATION… [--grid FIELD=VALUES]… […]`: one experiment a formulation, and how the sweep is run.

    Raises:
        InputError: an unknown name, or a value that is not allowed.
    """
    formulations, rest = _take_formulations(arguments)
    grid, rest = _take_grid(rest)
    parsed = [_parse_run(Sweep, SweepOptions(), name, rest, "sbmrl sweep") for name in formulations]
    return [experiment for experiment, _ in parsed], dataclasses.replace(parsed[0][1], grid=grid)


def _take_formulations(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names in front of the options, and all else."""
    count = next((i for i, a in enumerate(arguments) if a.startswith("-") or "=" in a), len(arguments))
    asks_help = any(flag in arguments for flag in _HELP)
    require(count > 0 or asks_help, "formulation", f"must come first, one of {', '.join(FORMULATIONS)}", "nothing")
    for name in arguments[:count]:
        require_known(name, "formulation", FORMULATIONS)
    return list(arguments[:count]) or ["mal"], list(arguments[count:])


def _take_grid(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The values of every --grid, and all else."""
    grid, rest, waiting = [], [], False
    for argument in arguments:
        if waiting:
            grid.append(argument)
            waiting = False
        elif argument.startswith("--grid="):
            grid.append(argument.removeprefix("--grid="))
        elif argument == "--grid":
            waiting = True
        else:
            rest.append(argument)
    require(not waiting, "grid", "must look like alpha=0:1:11 or leader.learning_rate=1e-4,3e-4", "nothing")
    return tuple(grid), rest


def _parse_run(command: type, options: Any, formulation: str, arguments: Sequence[str], program: str) -> Any:
    """(experiment, options) of one formulation: the preset, the scheme and the learner set the defaults."""
    chosen, rest = _take_choices(arguments)
    name = chosen["preset"] or default_preset(formulation)
    defaults = preset(name, formulation, chosen["scheme"], chosen["learner"])
    shown = command(defaults, options, name, learner_name(defaults.leader))
    parsed = _parse(command, [formulation, *rest], program, shown)
    _check_run(parsed.run)
    return check(parsed.experiment), parsed.run


_PARSERS = {"train": parse_train, "sweep": parse_sweep}
_CHOICES = {"preset": PRESETS, "scheme": SCHEMES, "learner": LEARNERS}


def _take_choices(arguments: Sequence[str]) -> tuple[dict[str, str | None], list[str]]:
    """The values of --preset, --scheme and --learner, on which the other options' defaults depend, and all else."""
    chosen: dict[str, str | None] = dict.fromkeys(_CHOICES)
    rest, waiting = [], ""
    for argument in arguments:
        flag, has_value, value = argument.partition("=")
        name = flag.removeprefix("--")
        if waiting:
            chosen[waiting], waiting = argument, ""
        elif name in _CHOICES and has_value:
            chosen[name] = value
        elif name in _CHOICES and flag.startswith("--"):
            waiting = name
        else:
            rest.append(argument)
    require(not waiting, waiting, f"must be one of {', '.join(_CHOICES.get(waiting, {}))}", "nothing")
    return chosen, rest


def _parse(config: type, arguments: list[str], program: str, default: Any = None) -> Any:
    """Parse with tyro, whose several lines about a mistake become one.

    Raises:
        InputError: an unknown option, with the nearest known one, or a value of the wrong type.
    """
    before = ["", *arguments]  # the value of --cluster-options is itself written as name=value
    arguments = [a if b == "--cluster-options" else _as_flag(a) for a, b in zip(arguments, before, strict=False)]
    printed = io.StringIO()
    kwargs = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(config, args=arguments, prog=program, **kwargs)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(printed.getvalue(), program)) from None


def _as_flag(argument: str) -> str:
    """`leader.learning_rate=1e-4` means `--leader.learning_rate=1e-4`."""
    return f"--{argument}" if re.match(r"[A-Za-z_][\w.-]*=", argument) else argument


def _one_line(printed: str, program: str) -> str:
    """The reason in tyro's message, and the nearest options where it names some.

    The message is a box of paragraphs between rulers, or, where the terminal has no box characters, a title and the
    same paragraphs: the reason, then suggestions, then where to find help.
    """
    title_inside = not printed.lstrip().startswith("╭")
    paragraphs: list[list[str]] = [[]]
    for line in printed.splitlines():
        words = line.strip().strip("│").strip()
        if words.startswith("╭") or not words.strip("─-╰╯"):
            paragraphs.append([])
        else:
            paragraphs[-1].append(words)
    filled = [paragraph for paragraph in paragraphs if paragraph][title_inside:]
    suggested = [line.split()[0] for paragraph in filled[1:] for line in paragraph if line.startswith("--")]
    hint = f"; did you mean {' or '.join(suggested)}?" if suggested and "nrecognized" in filled[0][0] else ""
    return f"{' '.join(filled[0])}{hint} (see `{program} --help`)"
