"""The files: atomic, checked, never over another run's."""

import numpy as np
import pytest

from sbmrl.core.files import write_json
from sbmrl.errors import InputError
from sbmrl.sweep.files import create_directory
from sbmrl.sweep.load import load


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": np.nan})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_create_directory_accepts_new_and_empty_ones(tmp_path):
    assert create_directory(tmp_path / "a" / "b").is_dir()
    assert create_directory(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    with pytest.raises(InputError, match="new or empty"):
        create_directory(tmp_path / "a")


def test_load_wants_a_run(tmp_path):
    with pytest.raises(InputError, match="must be the directory of a run"):
        load(tmp_path)
