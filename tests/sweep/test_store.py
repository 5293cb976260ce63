"""The files: atomic, checked, never over another run's."""

import numpy as np
import pytest

from sbmrl.errors import InputError
from sbmrl.sweep import load, store


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "value.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(path, {"a": np.nan})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_create_directory_accepts_new_and_empty_ones(tmp_path):
    assert store.create_directory(tmp_path / "a" / "b").is_dir()
    assert store.create_directory(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    with pytest.raises(InputError, match="new or empty"):
        store.create_directory(tmp_path / "a")


def test_find_runs_wants_a_run(tmp_path):
    with pytest.raises(InputError, match="must be the directory of a finished run"):
        load.find_runs(tmp_path)
