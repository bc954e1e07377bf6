"""Importing does nothing, and the command line starts without waiting for numerics."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cryoisac
from cryoisac.cli.main import COMMANDS

PACKAGE = Path(cryoisac.__file__).parent
MODULES = sorted(
    ".".join(("cryoisac", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"  # running is its purpose
    and (path.parent.name != "gpu" or path.name == "__init__.py")  # which need torch, and nobody else does
)
HEAVY = ("h5py", "matplotlib", "mrcfile", "numpy", "rich", "scipy", "torch")

IMPORT_ALL = """
import importlib, json, os, sys, threading
before, threads = dict(os.environ), threading.active_count()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({
    "environment": dict(os.environ) == before,
    "threads": threading.active_count() - threads,
    "files": os.listdir(),
    "loaded": sorted(sys.modules),
}))
"""
HELP = """
import contextlib, io, json, sys
from cryoisac.cli.main import run
with contextlib.redirect_stdout(io.StringIO()):
    status = run(sys.argv[1:])
print(json.dumps({"status": status, "loaded": sorted(sys.modules)}))
"""


def fresh(program: str, arguments: list[str], directory: Path) -> Any:
    """Run a program in a fresh interpreter in an empty directory, and return the JSON that it prints."""
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def heavy(loaded: list[str]) -> set[str]:
    return set(HEAVY) & set(loaded)


def test_importing_every_module_changes_nothing(tmp_path: Path) -> None:
    """Definition: no output, no file, no environment variable, no thread, no torch."""
    seen = fresh(IMPORT_ALL, MODULES, tmp_path)
    assert seen["files"] == []
    assert seen["environment"]
    assert seen["threads"] == 0
    assert "torch" not in seen["loaded"]


@pytest.mark.parametrize("module", ["cryoisac", "cryoisac.conventions", "cryoisac.errors", "cryoisac.settings"])
def test_the_ground_needs_no_numerics(module: str, tmp_path: Path) -> None:
    """Definition: these modules are the standard library's alone."""
    assert heavy(fresh(IMPORT_ALL, [module], tmp_path)["loaded"]) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["isac", "--help"]], ids=" ".join)
def test_the_command_line_starts_without_numerics(arguments: list[str], tmp_path: Path) -> None:
    """Definition: what every user calls first loads click and nothing that takes longer."""
    assert heavy(fresh(HELP, arguments, tmp_path)["loaded"]) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_needs_no_plots(command: str, tmp_path: Path) -> None:
    """Definition: help comes back without matplotlib or torch."""
    seen = fresh(HELP, [command, "--help"], tmp_path)
    assert seen["status"] == 0
    assert not heavy(seen["loaded"]) & {"matplotlib", "torch"}


def test_only_the_engines_for_gpus_import_torch() -> None:
    """Definition: the base install needs no PyTorch, so nothing else may name it; and those are imported when asked."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = path.parent.name == "gpu"
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert inside or not any(name.split(".")[0] == "torch" for name in names), path
        if not inside:
            top = [n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)]
            assert not any(name.startswith("cryoisac.engine.gpu") for name in top), path
