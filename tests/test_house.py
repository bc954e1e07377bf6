"""The house rules that a program can check; CONTRIBUTING.md says them in words."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "cryoisac").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

MOST_LINES = 500
LINES_AIMED_AT = 300
PARAMETERS_THAT_NEED_A_SECTION = 5
FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common|new|old|v\d+)$")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"/(?:work|root|home|Users)/\w")

Function = ast.FunctionDef | ast.AsyncFunctionDef
by_module = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT / "src").as_posix())


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the public methods of the latter."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (n for n in node.body if isinstance(n, Function) and not n.name.startswith("_"))


def parameters(function: Function) -> list[str]:
    a = function.args
    every = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]
    return [p.arg for p in every if p.arg not in ("self", "cls")]


def section(docstring: str, heading: str) -> str:
    """Return the text under a heading of a NumPy docstring; empty where there is none."""
    found = re.search(rf"^{heading}\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", docstring, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def documented(docstring: str) -> set[str]:
    """Return the names that a Parameters section explains."""
    lines = (line for line in section(docstring, "Parameters").splitlines() if line and not line[0].isspace())
    return {name.strip("* ") for line in lines for name in line.split(" : ")[0].split(",")}


def is_command(function: Function) -> bool:
    """Return whether a function is a click command, whose options carry their own help."""
    return any(ast.unparse(d).startswith("click.") for d in function.decorator_list)


@by_module
def test_names_say_what_a_module_holds(path: Path) -> None:
    """Definition."""
    for part in path.relative_to(ROOT / "src").with_suffix("").parts:
        assert not FORBIDDEN_NAMES.search(part)


@by_module
def test_modules_are_small(path: Path) -> None:
    """Definition: the limit is 500 lines, the aim 300; `pytest -s` names those above the aim."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > LINES_AIMED_AT:
        sys.stdout.write(f"{path.relative_to(ROOT)}: {lines} lines, above the {LINES_AIMED_AT} aimed at\n")
    assert lines <= MOST_LINES


@by_module
def test_what_is_public_is_explained(path: Path) -> None:
    """Definition: every module, public class, function and method has a docstring."""
    assert ast.get_docstring(TREES[path])
    assert [n.name for n in public(TREES[path]) if not ast.get_docstring(n)] == []


@by_module
def test_functions_with_many_parameters_explain_them(path: Path) -> None:
    """Definition: few parameters may be explained in the one sentence; from five on they have a section.

    Methods may leave it to the protocol that they answer.
    """
    functions = [n for n in TREES[path].body if isinstance(n, Function) and n.name[0] != "_" and not is_command(n)]
    many = [f for f in functions if len(parameters(f)) >= PARAMETERS_THAT_NEED_A_SECTION]
    assert [f.name for f in many if not section(ast.get_docstring(f) or "", "Parameters")] == []


@by_module
def test_explained_parameters_are_those_that_exist(path: Path) -> None:
    """Definition: a Parameters section names every parameter and nothing else."""
    for function in (n for n in ast.walk(TREES[path]) if isinstance(n, Function)):
        explained = documented(ast.get_docstring(function) or "")
        assert not explained or explained == set(parameters(function)), function.name


@by_module
def test_values_are_frozen(path: Path) -> None:
    """Definition: no dataclass can be changed once it is made."""
    for node in (n for n in ast.walk(TREES[path]) if isinstance(n, ast.ClassDef)):
        decorators = [ast.unparse(d) for d in node.decorator_list if "dataclass" in ast.unparse(d)]
        assert all("frozen=True" in d for d in decorators), node.name


@by_module
def test_the_package_never_prints(path: Path) -> None:
    """Definition: what a run says goes through its progress; what a command says through click or rich."""
    calls = (n.func for n in ast.walk(TREES[path]) if isinstance(n, ast.Call))
    assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls)


@by_module
def test_nothing_is_left_for_later(path: Path) -> None:
    """Definition."""
    assert not UNFINISHED.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [p for p, t in TREES.items() if "__all__" in ast.dump(t)], ids=lambda p: p.stem)
def test_lists_of_public_names_are_sorted_and_true(path: Path) -> None:
    """Definition: ``__all__`` is in order and holds only what there is."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    module = importlib.import_module(".".join(p for p in parts if p != "__init__"))
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        getattr(module, name)


def test_the_version_is_the_same_everywhere() -> None:
    """Definition: the package, the build and the changelog agree."""
    version = importlib.import_module("cryoisac").__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == version
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == version


def test_the_licence_is_stated() -> None:
    """Definition: the licence file is the one that the build names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == {"text": "BSD-3-Clause"}
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")


def tracked() -> list[Path]:
    """Return the files under version control."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: nothing says which files are tracked")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine() -> None:
    """Definition: no tracked text holds a path that exists on one machine only."""
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m.group()}" for m in MACHINE_PATH.finditer(text)]
    assert found == []
