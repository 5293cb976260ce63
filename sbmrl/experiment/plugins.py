"""A user's own parts: found in a file, in a module, or in an installed package, and found again when a run is read.

A plug-in is a Python file or module that calls `sbmrl.register` when it is imported. It is code, and importing it runs
it: a run names the file it needs, and only what the user names, or what lies where the run says with the same checksum,
is imported.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sbmrl.core import registry
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.parts import Part
from sbmrl.core.registry import Origin, registering
from sbmrl.errors import InputError

GROUP = "sbmrl.plugins"
_loaded: dict[str, Origin] = {}  # path of the file -> what was loaded from it


class PluginError(InputError):
    """A plug-in that cannot be used, or that a run needs and that is missing or has changed."""


def load_plugin(named: str) -> Origin:
    """Import a plug-in, once: `my_game.py`, or a module as in `my_package.games`.

    Raises:
        PluginError: there is none, it raises, it registers nothing, or a name that is taken.
    """
    path = _file_of(named)
    if path is None:
        raise PluginError(f"plugin: {named} must be a Python file (my_game.py) or a module that can be imported")
    if str(path) not in _loaded:
        _load(named, path, Origin(named, str(path), _checksum(path)))
    return _loaded[str(path)]


def _load(named: str, path: Path, origin: Origin) -> None:
    before = registry.num_parts()
    try:
        with registering(origin):
            if _is_file(named):
                _import_file(path)
            else:
                importlib.import_module(named)
            if registry.num_parts() == before:
                raise PluginError(f"plugin: {named} must register a part with sbmrl.register, it registers nothing")
    except PluginError:
        raise
    except InputError as error:
        raise PluginError(f"plugin: {named}: {error}") from error
    except Exception as error:  # a user's code may raise anything
        where = _line_in(error, path)
        raise PluginError(f"plugin: {named} raises {type(error).__name__}{where}: {error}") from error
    _loaded[str(path)] = origin


def _is_file(named: str) -> bool:
    return named.endswith(".py")


def _file_of(named: str) -> Path | None:
    """The file of a plug-in, None where there is none."""
    if _is_file(named):
        return Path(named).resolve() if Path(named).is_file() else None
    try:
        spec = importlib.util.find_spec(named)
    except (ImportError, ValueError, AttributeError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve()


def _import_file(path: Path) -> None:
    name = f"sbmrl_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _line_in(error: BaseException, path: Path) -> str:
    """Where in the plug-in an error was raised."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    lines, traceback = [], error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f" in line {lines[-1]}" if lines else ""


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_entry_points() -> None:
    """Import the plug-ins of installed packages (entry points of the group `sbmrl.plugins`).

    Raises:
        PluginError: as `load_plugin`.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        load_plugin(entry.module)


def plugins_of(experiment: Experiment) -> list[dict[str, Any]]:
    """The plug-ins that an experiment needs as plain data: how they were named, path, checksum, and which parts."""
    composition = compose(experiment)
    world = registry.worlds().get(experiment.env)
    needed = (composition.row, composition.kind, composition.leader, composition.scheme, composition.follower, world)
    found: dict[Origin, list[list[str]]] = {}
    for part in needed:
        if part is not None and registry.origin_of(part) != registry.BUILT_IN:
            names = found.setdefault(registry.origin_of(part), [])
            if _name_of(part) not in names:
                names.append(_name_of(part))
    return [{**origin._asdict(), "parts": names} for origin, names in found.items()]


def _name_of(part: Part) -> list[str]:
    return [registry.kind_name(part), part.name]


def find_plugins(needed: Sequence[Mapping[str, Any]], where: str = "") -> None:
    """Load the plug-ins that a run needs, unless they are there already; `where` names the file that says so.

    Raises:
        PluginError: one is missing, or has changed since the run.
    """
    for fields in needed:
        origin = Origin(fields["text"], fields["path"], fields["checksum"])
        if origin == registry.PROGRAM:
            _require_registered(fields["parts"], where)
        elif origin.checksum not in {loaded.checksum for loaded in _loaded.values()}:
            _find(origin, where)


def _require_registered(names: Sequence[Sequence[str]], where: str) -> None:
    for kind, name in names:
        if not registry.is_registered(kind, name):
            told = "which the program that wrote the run had registered itself; register it before reading the run"
            raise PluginError(f"{where}plugin: needs the {kind} {name}, {told}")


def _find(origin: Origin, where: str) -> None:
    named = origin.path if _is_file(origin.text) else origin.text
    path = _file_of(named)
    changed = any(Path(loaded.path).name == Path(origin.path).name for loaded in _loaded.values())
    if path is None and not changed:
        raise PluginError(f"{where}plugin: {named}, which the run needs, is missing; --plugin says where it is now")
    if changed or path is None or _checksum(path) != origin.checksum:
        raise PluginError(f"{where}plugin: {named} has changed since this run, which needs it as it was")
    _load(named, path, origin)  # as the run has named it, or a plan that is resumed would be another one
