"""The structure: imports go one way, light modules stay light, and the core names no concrete part."""

import ast
from pathlib import Path

import pytest

import sbmrl

ROOT = Path(sbmrl.__file__).parent

# Later layers may import earlier ones, and modules of one layer each other.
LAYERS = [
    {"errors"},
    {"formulations", "options"},
    {"config"},
    {"presets", "checks"},
    {"environments", "devices", "threefry"},
    {"worlds", "theory", "distributions"},
    {"game"},
    {"payoffs", "measures", "oracles"},
    {"model_based", "matrix"},
    {"players"},
    {"problems", "rollout"},
    {"learners"},
    {"schemes"},
    {"stackelberg"},
    {"solver"},
    {"program"},
    {"sweep"},
    {"oracles_followers"},
    {"report"},
    {"benchmark"},
    {"commands", "cli", "__main__", "__init__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(ROOT.rglob("*.py"))


def layer_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sbmrl":
            parts = node.module.split(".")[1:]
            yield from [parts[0]] if parts else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = RANK[layer_of(path)]
    for name in imported(path):
        assert RANK.get(name, 0) <= own, f"{path.name} imports {name}"


def test_the_core_names_no_concrete_part():
    text = (ROOT / "stackelberg.py").read_text()
    for name in ("ppo", "gradient", "contextual", "exact", "model_based", "matrix", "environments", "fit", "players"):
        assert f"sbmrl.{name}" not in text
        assert f".{name} import" not in text


@pytest.mark.parametrize("name", ["game", "payoffs", "measures", "oracles", "problems", "stackelberg", "program"])
def test_what_all_games_share_names_no_kind_of_game(name):
    assert not {"model_based", "matrix"} & set(imported(ROOT / f"{name}.py"))


def test_only_one_module_imports_distrax():
    assert [path.name for path in MODULES if "import distrax" in path.read_text()] == ["distributions.py"]


def test_every_public_name_can_be_imported():
    for name in sbmrl.__all__:
        assert getattr(sbmrl, name) is not None
    assert set(sbmrl.__all__) <= set(dir(sbmrl))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = sbmrl.absent
