"""The comparison of two versions' runs: alike, different, and what cannot be compared."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import two_samples

from sbmrl.benchmark.agreement import compare_samples
from sbmrl.errors import InputError


def run_of(**cells) -> Any:
    """What `load` gives, as far as it is looked at: cells with results."""
    frames = {name: pl.DataFrame({"exact_return": values}) for name, values in cells.items()}
    return SimpleNamespace(cells={name: SimpleNamespace(results=lambda f=f: f) for name, f in frames.items()})


def test_samples_of_one_distribution_pass_and_shifted_ones_do_not(monkeypatch):
    random = np.random.default_rng(0)
    one, other = random.normal(size=256), random.normal(size=256)
    runs = {
        "old": run_of(mal=one, pal=one),
        "same": run_of(mal=other, pal=one),
        "new": run_of(mal=other + 0.5, pal=one),
    }
    monkeypatch.setattr(two_samples, "load", lambda directory: runs[str(Path(directory))])
    for name, code in (("same", 0), ("new", 1)):
        monkeypatch.setattr(sys, "argv", ["two_samples", "old", name])
        assert two_samples.main() == code
    rows = {row[0]: row[-1] for row in compare_samples(runs["old"], runs["new"])}
    assert rows["pal"] == pytest.approx(1.0)
    assert rows["mal"] < 1e-4


def test_runs_of_other_cells_are_not_compared(monkeypatch, capsys):
    with pytest.raises(InputError, match="mal is in one of them only"):
        compare_samples(run_of(mal=np.zeros(3)), run_of(pal=np.zeros(3)))
    monkeypatch.setattr(sys, "argv", ["two_samples", "one"])
    assert two_samples.main() == 2
    assert "two directories" in capsys.readouterr().err
