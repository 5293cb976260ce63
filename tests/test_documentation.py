"""What the pages show runs: every `sbmrl` command, its plan shrunk to two seeds and a few updates, and every program.

Above a block that cannot be run here stands `<!-- not run: the reason -->`.
"""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from test_plugins import forgetful  # noqa: F401  # the fixture, so that nothing stays registered

import sbmrl
from sbmrl.cli import main
from sbmrl.commands import bench, theory, training
from sbmrl.core.experiment import Experiment, compose
from sbmrl.core.options import settings, with_values
from sbmrl.experiment.checks import check, unused

ROOT = Path(__file__).parents[1]
# What is generated is tried at its source: the reference by the docstrings, the tutorials in test_tutorials.py.
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if not {"reference", "tutorials"} & set(path.parts) and path.name != "CHANGELOG.md"
]
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"^ *``` ?(?:\{\.)?(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<text>.*?)^ *```",
    flags=re.DOTALL | re.MULTILINE,
)
_SNIPPET = re.compile(r"^--8<-- \"([^\"]+)\"\n", flags=re.MULTILINE)
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
    "num_episodes": 2,
    "max_iterations": 20,
}
_EPISODES = {"num_initial_episodes": 1, "num_new_episodes": 1, "num_test_episodes": 4, "buffer_size": 2100}
_MOST_CELLS = 2
_MOST_VALUES = 2  # of an axis
_IN_TEST_README = ("README.md", "docs/how_to/notebooks.md")  # whose programs are run, and what they give is looked at
# The README's two commands and those of CONTRIBUTING.md are what CI itself calls.
_RUN_BY_CI = ("python3 -m venv", ".venv/bin/", ".ci/run", "'PATH=")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    title: str
    reason: str


def blocks(page: Path) -> list[Block]:
    whole = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    found = (match.groupdict(default="") for match in whole)
    return [Block(m["language"], _SNIPPET.sub(_included, m["text"]), m["title"], m["reason"]) for m in found]


def _included(match: re.Match[str]) -> str:
    return (ROOT / match[1]).read_text(encoding="utf-8")


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
        if f"{side}.num_cg_iterations" in found:  # it plays whole episodes, and its critic whole time steps
            steps = found[f"{side}.num_steps"]
            sizes = {"num_steps": steps, "num_repeats": 1, "num_cg_iterations": 2, "total_steps": 8 * steps}
            small |= {f"{side}.{name}": value for name, value in sizes.items()}
            small |= {f"{side}.value_minibatch_size": 4 * steps, f"{side}.value_epochs": 1}
    without = unused(compose(experiment))
    small = {name: value for name, value in small.items() if name not in without}
    return check(with_values(experiment, small))


_RAN: set[str] = set()  # programs that ran in this process: (shrunk) plans without their names
_preset = sbmrl.preset


@pytest.fixture
def small(monkeypatch):
    """Every command is read, checked and run as it stands; only its plan is shrunk before it runs.

    A plan that ran before, on whatever page, is not run again unless the command says where its files go. `theory` and
    `bench` are read and checked: they run in tests of their own.
    """
    run = training._run

    def shrunk_run(plan, out, options):
        cut = len(plan.cells) > _MOST_CELLS
        cells = tuple(
            cell._replace(
                experiment=shrunk(cell.experiment),
                axes=tuple(axis._replace(values=axis.values[:_MOST_VALUES]) for axis in cell.axes),
            )
            for cell in plan.cells[:_MOST_CELLS]
        )
        plan = dataclasses.replace(plan, cells=cells, num_seeds=2, chunk_size=None)
        told = repr(plan.to_dict())
        if told in _RAN and options.out is None:
            return False
        _RAN.add(told)
        # A programme's own tables need all of its cells, which its own tests have.
        return run(plan, out, dataclasses.replace(options, report=False)) and not cut

    monkeypatch.setattr(training, "_run", shrunk_run)
    monkeypatch.setattr(theory, "theory", lambda config: None)
    monkeypatch.setattr(bench, "bench", lambda config: None)
    own = {"preset": lambda *chosen, **others: shrunk(_preset(*chosen, **others))}
    monkeypatch.setattr(sbmrl, "preset", own["preset"], raising=False)


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    """An empty directory with the examples, and with the files that the page shows under a title."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", "examples")
    for block in blocks(request.getfixturevalue("page")):
        if block.title:
            Path(block.title).parent.mkdir(exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")


def pages_with(language):
    def run(block):  # a file with a title is used by the commands of its page
        return block.language == language and not block.reason and not block.title

    return [page for page in PAGES if any(map(run, blocks(page)))]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", pages_with("sh"), ids=name_of)
def test_the_commands_of_a_page_run(page, place, small, forgetful, capsys):  # noqa: F811
    ran = 0
    for block in blocks(page):
        if block.language != "sh" or block.reason:
            continue
        for words in commands(block.text):
            if shlex.join(words).startswith(_RUN_BY_CI):
                continue
            assert words[0] == "sbmrl", f"neither run nor marked: {shlex.join(words)}"
            try:
                main(words[1:])
            except SystemExit as end:
                if end.code:
                    pytest.fail(f"{shlex.join(words)}: {capsys.readouterr().err}")
            ran += 1
    assert ran or page.name in ("CONTRIBUTING.md",)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in pages_with("python") if name_of(p) not in _IN_TEST_README], ids=name_of)
def test_the_programs_of_a_page_run(page, place, small, forgetful):  # noqa: F811
    names = {}
    for block in blocks(page):
        if block.language == "python" and not block.reason and not block.title:
            exec(compile(block.text, name_of(page), "exec"), names)
    assert names
