"""What is shipped: both archives are built, and the wheel runs outside of the checkout by itself."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = ["--preset", "fast", "--scheme", "exact", "--num-seeds", "2", "--num-records", "1", "--leader.num-updates", "2"]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """(wheel, sdist), built without a network."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """(words) -> the finished process of `python -m sbmrl words` with the wheel alone, in an empty directory."""
    site, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    line = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(archives[0])]
    subprocess.run(line, check=True)
    variables = os.environ | {"PYTHONPATH": str(site)}

    def run(*words):
        whole = [sys.executable, *words]
        return subprocess.run(whole, cwd=elsewhere, env=variables, capture_output=True, text=True, check=False)

    place = run("-c", "import sbmrl; print(sbmrl.__file__)")
    assert Path(place.stdout.strip()).is_relative_to(site), place.stderr
    return run


def test_the_wheel_has_the_package_its_data_and_its_licence_and_nothing_else(archives):
    names = zipfile.ZipFile(archives[0]).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sbmrl"}
    assert "sbmrl/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    missing = [
        path.relative_to(ROOT)
        for path in (ROOT / "sbmrl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(ROOT)) not in names
    ]
    assert not missing


def test_the_source_archive_has_what_is_needed_to_test_it(archives):
    with tarfile.open(archives[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "constraints.txt", "pyproject.toml"} <= names
    assert {"tests/conftest.py", "examples/formulation.py", "docs/theory.md", "benchmarks/peers.py"} <= names


def test_the_wheel_runs_outside_of_the_checkout(installed):
    listed = installed("-m", "sbmrl", "list")
    assert listed.returncode == 0, listed.stderr
    assert "mal_random_noise" in listed.stdout
    example = ROOT / "examples" / "formulation.py"
    trained = installed("-m", "sbmrl", "train", "fit_then_plan", "--plugin", str(example), *TINY, "--out", "run")
    assert trained.returncode == 0, trained.stderr
    assert "fit, then plan" in trained.stdout


def test_its_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
