"""How much fits: the program's own account against what machine, container and limits leave."""

import subprocess
import sys

import pytest

from sbmrl.sweep import memory


@pytest.mark.parametrize(
    ("bytes_each", "free", "width"),
    [(2, 256, 64), (2, 255, 32), (100, 210, 1), (100, 0, 1), (2, float("inf"), 64)],
)
def test_the_width_that_fits_half_of_the_free_memory(bytes_each, free, width):
    assert memory.room(64, bytes_each, free).fit == width


def test_on_cpu_a_batch_beyond_the_caches_does_not_pay():
    """The tests run on four CPU devices."""
    assert memory.room(4096, 2**20, 2**60) == (4096, 1024)
    assert memory.room(100, 2**20, 2**60) == (100, 100)
    assert memory.first_guess(4096) == 256
    assert memory.first_guess(100) == 100


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
        "most = psutil.Process().memory_info().vms + 2**31; resource.setrlimit(resource.RLIMIT_AS, (most, most));"
        "print(free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 <= float(done.stdout) <= 2**31
