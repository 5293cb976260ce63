"""The user's own linear-quadratic world from a JSON or npz file, checked before anything runs.

Keys: `A` `[n, n]`, `B` `[n, m]`, `Q` `[n, n]` and `R` `[m, m]` (positive definite), `noise` `[n, n]` (covariance of w),
`initial` `[n, n]` (covariance of x₀, mean 0), `discount` in (0, 1), optional `name`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sbmrl.core.files import SUFFIXES, name_in, numbers, read_fields
from sbmrl.errors import InputError, require
from sbmrl.games.linear_quadratic.system import SystemArrays

_REQUIRED = ("A", "B", "Q", "R", "noise", "initial", "discount")


def is_system_file(path: str) -> bool:
    """Whether a JSON or npz file can be read and has an `A`."""
    if not path.endswith(SUFFIXES):
        return False
    try:
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as archive:
                return "A" in archive
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
    except Exception:  # whoever reads it as a world of another kind says what is wrong with it
        return False
    return isinstance(fields, dict) and "A" in fields


def load_system(path: str | Path) -> SystemArrays:
    """Read and check a file of a linear-quadratic world.

    Raises:
        InputError: unreadable or foreign file, missing or unknown key, shapes that do not fit, NaN, a cost that is not
            positive definite, a covariance that is none, a discount outside (0, 1), a pair (A, B) that cannot be
            stabilised.
    """
    path = Path(path)
    fields = read_fields(path, "a linear-quadratic world", _REQUIRED, ("name",))
    return check_system(fields, name_in(fields, path), where=f"{path}: ")


def check_system(fields: dict[str, Any], name: str, where: str = "") -> SystemArrays:
    """Check the fields of a linear-quadratic world; `InputError` names the field."""
    arrays = {key: numbers(fields[key], where + key) for key in _REQUIRED}
    a, b = arrays["A"], arrays["B"]
    require(a.ndim == 2 and a.shape[0] == a.shape[1] >= 1, f"{where}A", "must have shape [n, n]", list(a.shape))
    size = a.shape[0]
    fits = b.ndim == 2 and b.shape[0] == size and b.shape[1] >= 1
    require(fits, f"{where}B", f"must have shape [{size}, m], as A has {size} states", list(b.shape))
    shapes = {"Q": size, "R": b.shape[1], "noise": size, "initial": size}
    for key, number in shapes.items():
        shape = list(arrays[key].shape)
        require(shape == [number, number], where + key, f"must have shape {[number, number]}", shape)
        _require_definite(arrays[key], where + key, strictly=key in "QR")
    moves = bool(arrays["noise"].any() or arrays["initial"].any())
    require(moves, f"{where}initial", "must not be 0 where noise is 0, or nothing ever moves", 0)
    discount = arrays["discount"]
    proper = discount.ndim == 0 and 0.0 < float(discount) < 1.0
    require(proper, f"{where}discount", "must be one number in (0, 1)", fields["discount"])
    _require_stabilisable(a, b, float(discount), where)
    return SystemArrays(name, **{key: arrays[key] for key in _REQUIRED[:-1]}, discount=float(discount))


def _require_definite(matrix: np.ndarray, field: str, strictly: bool) -> None:
    require(np.allclose(matrix, matrix.T), field, "must be symmetric", "a matrix that differs from its transpose")
    least, scale = float(np.linalg.eigvalsh(matrix).min()), float(np.abs(matrix).max())
    if strictly:
        require(least > 1e-9 * scale, field, "must be positive definite", f"smallest eigenvalue {least:g}")
    else:
        allowed = "must be a covariance: no negative eigenvalue"
        require(least >= -1e-9 * scale, field, allowed, f"smallest eigenvalue {least:g}")


def _require_stabilisable(a: np.ndarray, b: np.ndarray, discount: float, where: str) -> None:
    """Hautus: an eigenvalue λ of A with √γ|λ| ≥ 1 must have rank [A − λI, B] = n, or no policy's cost is finite."""
    for eigenvalue in np.linalg.eigvals(a):
        if discount**0.5 * abs(eigenvalue) >= 1.0:
            rank = np.linalg.matrix_rank(np.concatenate([a - eigenvalue * np.eye(len(a)), b], axis=1))
            if rank < len(a):
                told = f"must reach every state that grows faster than 1/√discount = {discount**-0.5:.4g} a step"
                raise InputError(f"{where}B: {told}, got none for the eigenvalue {eigenvalue:.4g} of A")
