"""The structure: imports go down only, light modules stay light, and each part is known to its own file alone."""

import ast
from pathlib import Path

import pytest

import sbmrl
from sbmrl.core.formulation import FormulationRow
from sbmrl.core.parts import GameKind, LearnerKind, SchemeKind
from sbmrl.experiment.parts import PARTS

ROOT = Path(sbmrl.__file__).parent

# Each layer may import those before it, and its own modules each other.
LAYERS = ("errors", "core", "display", "learners", "schemes", "games", "experiment", "sweep", "report", "benchmark")
LAYERS += ("commands", "cli", "__main__", "__init__")
MODULES = sorted(ROOT.rglob("*.py"))
KINDS = sorted(part.name for part in PARTS if isinstance(part, GameKind))


def layer_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """The modules of sbmrl that a file imports, wherever in it, as tuples of their names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sbmrl":
            parts = tuple(node.module.split(".")[1:])
            if (ROOT.joinpath(*parts) / "__init__.py").is_file():  # `from package import module, name`
                yield from ((*parts, alias.name) for alias in node.names)
            else:
                yield parts


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    if path.name == "__init__.py" and path.parent == ROOT:
        return  # the public face names everything, for type checkers only
    own = LAYERS.index(layer_of(path))
    for parts in imported(path):
        if parts[0] in LAYERS:  # else a name of the package itself, such as its version
            assert LAYERS.index(parts[0]) <= own, f"{path.name} imports {'.'.join(parts)}"


def test_no_module_imports_itself_in_a_circle():
    files = {path.relative_to(ROOT).with_suffix("").parts: path for path in MODULES}
    arrows = {own: {parts for parts in imported(path) if parts in files} for own, path in files.items()}
    del arrows["__init__",]
    done: set[tuple[str, ...]] = set()

    def visit(module, above):
        assert module not in above, " -> ".join(map(".".join, (*above, module)))
        if module not in done:
            for other in arrows.get(module, ()):
                visit(other, (*above, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


def test_at_most_eight_modules_lie_loose():
    loose = {path.stem for path in ROOT.glob("*.py")}
    assert len(loose) <= 8
    assert {"__init__", "__main__", "cli", "errors"} <= loose


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_game_is_known_to_itself_and_to_the_list_of_parts_only(kind):
    """The theory of model-based RL has a command of its own."""
    allowed = {ROOT / "experiment" / "parts.py", ROOT / "commands" / "theory.py", ROOT / "__init__.py"}
    for path in MODULES:
        if path in allowed or path.is_relative_to(ROOT / "games" / kind):
            continue
        for parts in imported(path):
            assert parts[:2] != ("games", kind), f"{path.relative_to(ROOT)} imports {'.'.join(parts)}"


def owners():
    """name -> file of everything that only the part it belongs to may look at: options and worlds."""
    found = {}
    for part in PARTS:
        if isinstance(part, GameKind):
            found[part.world.__name__] = Path("games") / part.name
        else:
            options = part.options if isinstance(part, LearnerKind | SchemeKind) else None
            if options is not None:
                found[options.__name__] = Path(*options.__module__.split(".")[1:]).with_suffix(".py")
        if isinstance(part, GameKind | FormulationRow) and part.options is not None:
            found[part.options.__name__] = Path(*part.options.__module__.split(".")[1:3])
    return found


def test_nobody_asks_what_kind_options_or_a_world_are_but_the_part_that_owns_them():
    own = owners()
    assert len(own) >= 15
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                for name in {leaf.id for leaf in ast.walk(node.args[1]) if isinstance(leaf, ast.Name)} & set(own):
                    assert path.relative_to(ROOT).is_relative_to(own[name]), f"{path}:{node.lineno} asks for {name}"


def test_nobody_compares_a_kind_of_game_by_its_name_but_itself():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                words = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
                for kind in set(KINDS) & words:
                    assert path.is_relative_to(ROOT / "games" / kind), f"{path}:{node.lineno}"


def test_only_one_module_imports_distrax():
    assert [path.name for path in MODULES if "import distrax" in path.read_text()] == ["distributions.py"]


def test_every_public_name_can_be_imported():
    for name in sbmrl.__all__:
        assert getattr(sbmrl, name) is not None
    assert set(sbmrl.__all__) <= set(dir(sbmrl))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = sbmrl.absent
