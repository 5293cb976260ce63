"""Every tutorial runs from top to bottom, in small sizes, and its page shows the code that it has now."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
# NAME -> its first cell's sizes, in small.
SMALL: dict[str, dict[str, object]] = {
    "best_response": {"num_steps": (1, 10), "num_plain_steps": (1, 10), "num_directions": 2},
    "continuous": {
        "num_seeds": 4,
        "num_updates": 20,
        "num_pendulum_seeds": 2,
        "num_iterations": 2,
        "num_policy_steps": 1,
        "num_imagined_episodes": 10,
    },
    "formulation_and_scheme": {"num_seeds": 4, "num_steps": 10, "other_worlds": ("ergodic_mdp_2",)},
    "fooled": {"num_seeds": 8, "num_updates": 20},
    "own_mdp": {"num_seeds": 4, "num_updates": 10},
    "sweep": {"num_seeds": 8, "num_updates": 10},
}
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.name != "render.py")


def code_cells(name):
    return [cell for cell in jupytext.read(FOLDER / f"{name}.py").cells if cell.cell_type == "code"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs(name, tmp_path):
    cells = code_cells(name)
    assert cells[0].metadata["tags"] == ["parameters"]
    sizes = cells[0].source
    for field, value in SMALL[name].items():
        sizes, found = re.subn(rf"^{field} = [^#\n]+", f"{field} = {value!r}", sizes, flags=re.MULTILINE)
        assert found == 1, f"{name}: no {field} in its first cell"
    program = "\n\n".join([sizes, *(cell.source for cell in cells[1:])])
    (tmp_path / "tutorial.py").write_text(program, encoding="utf-8")
    variables = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(FOLDER.parents[1])}
    line = [sys.executable, "tutorial.py"]
    done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", NAMES)
def test_its_page_shows_its_code(name):
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)\n```", page, flags=re.DOTALL)
    assert shown == [cell.source for cell in code_cells(name)]
    for figure in re.findall(r"\]\((figures/[^)]+)\)", page):
        assert (FOLDER / figure).is_file()
