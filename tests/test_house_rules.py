"""The rules of the house, executed: floors, sizes, names, and where certain imports may stand (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import ovgsr
from ovgsr import config

SOURCE = Path(ovgsr.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
FLOORS = {
    **dict.fromkeys(("situation", "interactions", "vocabulary", "hoi_vocabulary", "verb_split", "errors", "files"), 0),
    **dict.fromkeys(
        (
            "boxes",
            "tensors",
            "config",
            "captions",
            "noun_phrases",
            "inflections",
            "irregular_verbs",
            "hub",
            "mat_files",
        ),
        1,
    ),
    **dict.fromkeys(("data", "sketch", "models", "losses", "evaluation", "teacher"), 2),
    **dict.fromkeys(
        ("recognizers", "distillation", "drawing", "pair_drawing", "report", "rationale_page", "explanation_page"), 3
    ),
    **dict.fromkeys(("training", "export"), 4),
    **dict.fromkeys(("cli", "web"), 5),
}
WINGS = {"data", "sketch", "models", "losses", "evaluation", "teacher", "training", "export", "cli", "web"}
DRAWERS = {"utils", "util", "misc", "common", "helpers", "helper", "tools"}
LONGEST_FILE, LONGEST_FUNCTION, LARGEST_SECTION = 400, 60, 12


def name_of(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def room_of(file: Path) -> str:
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """Every module named in an import, lazy ones included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(str(node.module))
            if node.module == "ovgsr":
                found |= {f"ovgsr.{alias.name}" for alias in node.names if alias.name in FLOORS}
    return found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_keeps_to_its_floor(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":
        return  # the front door re-exports
    assert room in FLOORS, f"{room} has no floor: add it to layout and test"
    for module in imported(tree_of(file)):
        parts = module.split(".")
        if parts[0] != "ovgsr" or len(parts) == 1 or parts[1] == room:
            continue
        assert parts[1] in FLOORS, f"{name_of(file)} imports {module}, which has no floor"
        lower = FLOORS[parts[1]] < FLOORS[room]
        neighbour = FLOORS[parts[1]] == FLOORS[room] and not {parts[1], room} & WINGS
        assert lower or neighbour, f"{name_of(file)} (floor {FLOORS[room]}) imports {module} (floor {FLOORS[parts[1]]})"


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        module = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        graph[module] = imported(tree_of(file))
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in graph[module] & graph.keys() - {"ovgsr"}:
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        if module != "ovgsr":
            visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_and_functions_stay_small(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{name_of(file)}: {node.name} has {length} lines"


def test_no_drawers() -> None:
    assert not {part for file in FILES for part in file.relative_to(SOURCE).with_suffix("").parts} & DRAWERS


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_some_names_have_one_home(file: Path) -> None:
    tree, room = tree_of(file), room_of(file)
    modules = {module.split(".")[0] for module in imported(tree)}
    assert "torchvision" not in modules
    assert "pickle" not in modules
    if name_of(file) != "training/engine.py":
        assert "accelerate" not in modules
    if room not in {"teacher", "recognizers"} and not re.fullmatch(r"models/(image|text)_\w+\.py", name_of(file)):
        assert "transformers" not in modules
    if name_of(file) != "models/image_adapter.py":
        assert "peft" not in modules
    if FLOORS.get(room) == 0:
        assert "torch" not in modules
    if name_of(file) != "training/engine.py" and room not in {"recognizers", "cli"}:
        assert "cuda" not in file.read_text(encoding="utf-8")
    if room != "cli":
        calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert "print" not in calls


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_unpickles(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "torch.load" not in text
    assert "trust_remote_code=True" not in text


def test_settings_sections_are_small_and_explained() -> None:
    sections = [v for v in vars(config).values() if isinstance(v, type) and issubclass(v, config.Section)]
    for section in sections:
        if section is config.Config:
            continue  # the recipe: a list of sections
        assert len(section.model_fields) <= LARGEST_SECTION, section
        if section is not config.Section:
            assert all(field.description for field in section.model_fields.values()), section


def test_every_module_imports() -> None:
    for module in pkgutil.walk_packages(ovgsr.__path__, "ovgsr."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_every_recipe_loads() -> None:
    recipes = sorted((SOURCE / "configs").glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        assert config.load_config(recipe).name == recipe.stem
