"""What the pages show runs: every `sbmrl` command, with its plan shrunk to two seeds and a few updates, and every program.

Above a block that cannot be run here stands `<!-- not run: the reason -->`.
"""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import tiny_experiment
from test_plugins import forgetful  # noqa: F401  # the fixture, so that nothing stays registered

import sbmrl
from sbmrl.cli import main
from sbmrl.commands import training
from sbmrl.core.experiment import Experiment
from sbmrl.core.options import settings, with_values
from sbmrl.experiment.checks import check

ROOT = Path(__file__).parents[1]
# What is generated is tried at its source: the reference by the docstrings, the tutorials in test_tutorials.py.
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if not {"reference", "tutorials"} & set(path.parts) and path.name != "CHANGELOG.md"
]
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<text>.*?)^ *```",
    flags=re.DOTALL | re.MULTILINE,
)
_SMALL = {
    "total_steps": 64,
    "num_environments": 4,
    "num_steps": 8,
    "minibatch_size": 16,
    "num_epochs": 2,
    "num_updates": 2,
    "population_size": 4,
    "actor_hidden": (8,),
    "critic_hidden": (8,),
    "hidden": (8,),
    "num_leader_pool": 8,
    "num_records": 1,
    "num_random_leaders": 4,
    "num_eval_episodes": 2,
}
_EPISODES = {"num_initial_episodes": 1, "num_new_episodes": 1, "num_test_episodes": 4, "buffer_size": 2100}
_MOST_CELLS = 3


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    title: str
    reason: str


def blocks(page: Path) -> list[Block]:
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["language"], m["text"], m["title"] or "", m["reason"] or "") for m in found]


def commands(text: str) -> list[list[str]]:
    """The words of each line; a line that ends with a backslash goes on."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def shrunk(experiment: Experiment) -> Experiment:
    """The same experiment in every choice, with a budget of two updates or so."""
    found = {setting.name: setting.value for setting in settings(experiment)}
    small = {name: _SMALL[last] for name in found if (last := name.rpartition(".")[2]) in _SMALL and found[name]}
    small |= {name: value for name, value in _EPISODES.items() if name in found}
    for side in ("leader", "follower"):
        if found.get(f"{side}.parametrization", "network") == "table":  # a table has no layers
            small.pop(f"{side}.hidden", None)
        if f"{side}.num_cg_iterations" in found:  # it plays whole episodes, and its critic whole time steps
            steps = found[f"{side}.num_steps"]
            sizes = {"num_steps": steps, "num_repeats": 1, "num_cg_iterations": 2, "total_steps": 8 * steps}
            small |= {f"{side}.{name}": value for name, value in sizes.items()}
            small |= {f"{side}.value_minibatch_size": 4 * steps, f"{side}.value_epochs": 1}
    return check(with_values(experiment, small))


@pytest.fixture
def small(monkeypatch):
    """Every command is read, checked and run as it stands; only its plan is shrunk before it runs."""
    run = training._run

    def shrunk_run(plan, out, options):
        cells = tuple(cell._replace(experiment=shrunk(cell.experiment)) for cell in plan.cells[:_MOST_CELLS])
        plan = dataclasses.replace(plan, cells=cells, num_seeds=2, chunk_size=None)
        return run(plan, out, options)

    monkeypatch.setattr(training, "_run", shrunk_run)
    monkeypatch.setattr(sbmrl, "preset", lambda name, *chosen, **others: shrunk(_preset(name, *chosen, **others)), raising=False)


_preset = sbmrl.preset


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "sh" for b in blocks(page))], ids=name_of)
def test_the_commands_of_a_page_run(page, small, forgetful, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", "examples")
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
    for block in blocks(page):
        if block.language != "sh" or block.reason:
            continue
        for words in commands(block.text):
            assert words[0] == "sbmrl", f"neither run nor marked: {shlex.join(words)}"
            try:
                main(words[1:])
            except SystemExit as end:
                assert not end.code, f"{shlex.join(words)}: {capsys.readouterr().err}"
