"""What the README shows is true: its program runs, is as short as promised, and its commands are the ones CI calls."""

import re
from pathlib import Path

import pytest
from conftest import tiny_experiment

import sbmrl

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_program_runs(monkeypatch, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    monkeypatch.setattr(sbmrl, "preset", lambda name, formulation: tiny_experiment(formulation), raising=False)
    exec(compile(program, "README.md", "exec"), {})
    assert "(8, 3)" in capsys.readouterr().out


def test_the_programs_of_the_page_on_notebooks_run(monkeypatch, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "how_to" / "notebooks.md").read_text(encoding="utf-8")
    monkeypatch.setattr(sbmrl, "preset", lambda name, *chosen: tiny_experiment(*chosen), raising=False)
    monkeypatch.chdir(tmp_path)
    ran = []
    for program in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        names = {}
        exec(compile(program, "docs/how_to/notebooks.md", "exec"), names)
        ran.append(names)
    (swept,) = [names for names in ran if "agent" in names]
    assert len(swept["run"].results) == 16 + 3 * 16
    assert swept["agent"].results["seed"] == 3
    assert swept["agent"].results["alpha"] == 0.5
    assert Path("report/report.html").is_file()


def test_every_file_it_links_is_there():
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link


@pytest.mark.parametrize("ending", ["sbmrl reproduce", "pytest"])
def test_the_two_commands_stand_alone(ending):
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv") and line.endswith(ending)]
    assert len(commands) == 1
