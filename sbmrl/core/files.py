"""Files: results, written so that nobody ever sees half of one; the worlds of users, read and checked by field."""

import dataclasses
import json
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sbmrl.errors import InputError, require, require_known

SUFFIXES = (".json", ".npz")


def write_bytes(path: Path, content: bytes) -> None:
    """Write through a temporary name, so that a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def world_fields(world: Any) -> dict[str, Any]:
    """The fields of a world, a dataclass such as flax's pytrees, as plain data: arrays become nested lists."""
    values = {field.name: getattr(world, field.name) for field in dataclasses.fields(world)}
    return {
        name: np.asarray(value, np.float64).tolist() if hasattr(value, "shape") else value
        for name, value in values.items()
    }


def world_of_fields(kind: type, path: Path) -> Any:
    """The inverse of `world_fields`, from a JSON file; arrays are float32.

    Raises:
        InputError: the file is damaged, or of another kind of world.
    """
    names = tuple(field.name for field in dataclasses.fields(kind))
    fields, hints = read_fields(path, f"a {kind.__name__}", names, ()), typing.get_type_hints(kind)
    arrays = {name for name in names if hints[name] is jax.Array}
    return kind(**{name: jnp.float32(value) if name in arrays else value for name, value in fields.items()})


def read_fields(path: Path, kind: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    """The keys and values of a JSON or npz file of a `kind` ("an MDP"): all `required` keys, and `optional` ones.

    Raises:
        InputError: unreadable or foreign file, missing or unknown key.
    """
    fields = _read(path, kind, required)
    require_keys(fields, required, optional, f"{path}: ")
    return fields


def require_keys(
    fields: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...], where: str = ""
) -> None:
    """Raise `InputError` unless all `required` keys are there, and beside them only `optional` ones.

    A misspelt optional key would else be as if it were not there.
    """
    for key in required:
        keys = f"required (keys: {', '.join(required)}, optional {', '.join(optional)})"
        require(key in fields, f"{where}{key}", keys, "nothing")
    for key in fields:
        require_known(key, f"{where}key", (*required, *optional))


def name_in(fields: dict[str, Any], path: Path) -> str:
    """The world's name: the file's `name`, or what the file is called; `InputError` if no file could have that name."""
    return usable_name(str(fields.get("name", path.stem)), f"{path}: name")


def usable_name(name: str, field: str) -> str:
    """`name`; `InputError` if no file could have it."""
    require(bool(name) and not set(name) & set("/\\\0\n"), field, "must be usable as a file name", repr(name))
    return name


def _read(path: Path, kind: str, required: tuple[str, ...]) -> dict[str, Any]:
    require(path.suffix in SUFFIXES, str(path), f"{kind} file ends in {' or '.join(SUFFIXES)}", repr(path.suffix))
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return dict(archive)
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # zipfile, pickle, unicode and JSON errors share no base class
        form = "a JSON object" if path.suffix == ".json" else "a numpy .npz archive"
        raise InputError(f"{path}: must be {form} with the keys {', '.join(required)}; it is not") from error
    require(isinstance(fields, dict), str(path), "must be a JSON object", type(fields).__name__)
    return fields


def numbers(value: Any, field: str) -> np.ndarray:
    """`value` as finite float64 numbers; `InputError` names the field."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{field}: must be a rectangular array of numbers") from error
    require(bool(np.isfinite(array).all()), field, "must be finite numbers", "NaN or infinity")
    return array


def horizon_of(value: Any, field: str) -> int:
    """`value` as a whole number of decisions of at least 1; `InputError` names the field."""
    array = numbers(value, field)
    require(array.ndim == 0, field, "must be one whole number of at least 1", f"shape {list(array.shape)}")
    horizon = whole(array, field, "must be a whole number of at least 1")
    require(horizon >= 1, field, "must be a whole number of at least 1", horizon)
    return horizon


def whole(number: Any, field: str, allowed: str) -> int:
    """`number` as an int; `InputError` names the field where it is none."""
    require(float(number) == int(number), field, allowed, float(number))
    return int(number)
