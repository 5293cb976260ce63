"""How much fits: the program's own account against what machine, container and limits leave."""

import subprocess
import sys

import pytest

from sbmrl.sweep import memory


@pytest.mark.parametrize(
    ("needed", "free", "width"),
    [(100, 200, 64), (100, 199, 32), (6400, 200, 1), (6400, 0, 1), (100, float("inf"), 64)],
)
def test_the_width_that_fits_half_of_the_free_memory(needed, free, width):
    assert memory.fitting_width(64, needed, free) == width


@pytest.mark.parametrize(
    ("line", "group", "limit", "used"),
    [
        ("0::/job/step", "job", "memory.max", "memory.current"),
        ("4:memory:/job/step", "memory/job", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_control_groups_limit_from_above(tmp_path, monkeypatch, line, group, limit, used):
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path)
    assert memory._granted(line) == float("inf")
    above, own = tmp_path / group, tmp_path / group / "step"
    own.mkdir(parents=True)
    for path, most in ((above, "1000"), (own, "max")):
        (path / limit).write_text(most + "\n")
        (path / used).write_text("300\n")
    assert memory._granted(line) == 700


def test_a_limit_of_the_process_counts():
    program = (
        "import resource, psutil; from sbmrl.sweep.memory import free_bytes; import jax; jax.local_devices();"
        "most = psutil.Process().memory_info().vms + 2**26; resource.setrlimit(resource.RLIMIT_AS, (most, most));"
        "print(free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 <= float(done.stdout) <= 2**26
