"""The site is built from docs/ without a warning, needs no network to be read, and describes everything public."""

import ast
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import sbmrl

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The directory of the built site. `--strict` refuses links and anchors that lead nowhere."""
    place = tmp_path_factory.mktemp("project")
    for name in ("docs", "examples", "experiments", "sbmrl"):  # what pages show is read from where it is
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", place)
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "site"


class _Page(HTMLParser):
    """What a page refers to, what can be referred to in it, and what of it is fetched to show it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.fetched = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.fetched.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.fetched.append(found["href"])


@pytest.fixture(scope="module")
def pages(site):
    return {path: _Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_and_every_file_is_there(site, pages):
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            there = target.is_file() and (not anchor or target not in pages or anchor in pages[target].ids)
            if not there and anchor not in ("only-light", "only-dark"):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_nothing_is_fetched_from_elsewhere(pages):
    fetched = {link for page in pages.values() for link in page.fetched}
    assert fetched
    assert not [link for link in fetched if urlsplit(link).netloc]


def _public():
    """The full names of all public functions and classes of the package."""
    for path in sorted((ROOT / "sbmrl").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module.startswith(("sbmrl.commands", "sbmrl.cli", "sbmrl.__main__")):  # that is the command line
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def test_the_reference_has_every_public_name(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    public = {name for name in _public() if name != "sbmrl.__getattr__"}
    assert len(public) > 500
    assert not public - described


def test_the_front_page_of_the_reference_has_what_sbmrl_gives():
    page = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| [`")]
    assert sorted(named) == sorted(sbmrl.__all__)
    for name in named:
        part = getattr(sbmrl, name)
        assert f"[`{name}`][{part.__module__}.{part.__qualname__}]" in page


def _docstrings_of_what_may_raise():
    for path in sorted((ROOT / "sbmrl").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        methods = [node for owner in tree.body if isinstance(owner, ast.ClassDef) for node in owner.body]
        for node in [*tree.body, *methods]:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
            refuses = any(isinstance(call, ast.Name) and call.id in ("InputError", "require") for call in calls)
            if refuses and node.name != "main" and "commands" not in path.parts:
                yield f"{path.relative_to(ROOT)}:{node.name}", ast.get_docstring(node) or ""


def test_what_refuses_its_input_says_so():
    found = dict(_docstrings_of_what_may_raise())
    assert len(found) > 30
    assert not [name for name, docstring in found.items() if "InputError" not in docstring]
