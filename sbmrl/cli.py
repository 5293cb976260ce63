"""The command line: reads what the user wrote, and only then imports what does the work.

Bad input ends in one line on stderr and exit code 2, before anything is written.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from sbmrl.commands.options import HELP
from sbmrl.errors import InputError, require_known


class Command(NamedTuple):
    """A command: the function that does it in `sbmrl.commands`, and one line of what that is.

    Its words are read by `parse_NAME` of `sbmrl.commands.parsing`, before the module of the function is imported.
    """

    module: str
    function: str
    summary: str


GROUPS: dict[str, dict[str, Command]] = {
    "run": {
        "train": Command("training", "train", "one formulation in one world, many seeds"),
        "sweep": Command("training", "sweep", "formulations over a grid of hyper-parameters"),
        "reproduce": Command("training", "reproduce", "a programme: the poster's table, Oracles & Followers, your own"),
    },
    "look": {
        "list": Command("inspection", "show_list", "worlds, formulations, schemes, learners, presets"),
        "report": Command("report", "report", "a page on one or more runs: table, statistics, figures"),
        "evaluate": Command("inspection", "evaluate", "evaluate a finished run again, exactly and by sampling"),
        "draw": Command("inspection", "draw", "a world, or what a run has learned beside it"),
    },
    "check": {
        "theory": Command("theory", "theory", "check the theorems on random worlds; counts, tightness, figure"),
        "bench": Command("bench", "bench", "wall-clock of formulations for growing numbers of seeds"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
_EXAMPLES = """\
examples:
  sbmrl train mal --preset fast --num-seeds 16 --out runs/mal    a model that leads, and fools itself in some seeds
  sbmrl draw runs/mal                                            what it has learned, beside the world
  sbmrl sweep pal mal mal_random_noise --preset fast             three formulations, one table and one report

`sbmrl COMMAND --help` describes a command; `sbmrl train FORMULATION --help` what can be set of it.
`--plugin FILE.py` adds your own formulations, schemes, learners, worlds and games to any command.
"""


def usage() -> str:
    """What `sbmrl --help` prints."""
    lines = ["usage: sbmrl COMMAND [OPTIONS]", "", "Model-based reinforcement learning as a Stackelberg game."]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<10} {command.summary}" for name, command in commands.items())]
    return "\n".join([*lines, "", _EXAMPLES])


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
    if not arguments or arguments[0] in HELP:
        print(usage(), end="")
        return
    name, rest = arguments[0], arguments[1:]
    require_known(name, "command", COMMANDS)
    command = COMMANDS[name]
    told = getattr(importlib.import_module("sbmrl.commands.parsing"), f"parse_{name}")(rest)
    getattr(importlib.import_module(f"sbmrl.commands.{command.module}"), command.function)(*told)
