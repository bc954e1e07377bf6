"""Which kernels are compiled: what the compiler compiles for decides, not the machine it runs on."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CROSS = "aarch64-linux-gnu-g++"
nanobind = pytest.importorskip("nanobind", reason="nanobind, which the build needs, is not here")


def variants(folder: Path, *words: str) -> set[str]:
    """Configure the project and return the instruction sets that the search is compiled for."""
    python = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dnanobind_DIR={nanobind.cmake_dir()}"]
    call = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *python, *words]
    subprocess.run(call, check=True, capture_output=True)
    commands = json.loads((folder / "compile_commands.json").read_text())
    searches = [entry["command"] for entry in commands if entry["file"].endswith("search.cpp")]
    return {word.removeprefix("-DVARIANT=") for call in searches for word in call.split() if "-DVARIANT=" in word}


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not here")
def test_kernels_for_this_machine(tmp_path: Path) -> None:
    """Known truth: this build has what the installed one has."""
    macros = subprocess.run(["c++", "-dM", "-E", "-x", "c++", "/dev/null"], check=True, capture_output=True, text=True)
    x86 = "__x86_64__" in macros.stdout
    assert variants(tmp_path) == ({"baseline", "avx2", "avx512"} if x86 else {"baseline"})


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which(CROSS) is None, reason=f"{CROSS} is not here")
def test_kernels_for_another_processor(tmp_path: Path) -> None:
    """Known truth: a compiler for ARM is given no flag of x86-64, though the processor is said to be one."""
    target = [f"-DCMAKE_CXX_COMPILER={CROSS}", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=x86_64"]
    include = f"-DPython_INCLUDE_DIR={sysconfig.get_path('include')}"  # this machine's: nothing is compiled
    assert variants(tmp_path, *target, include) == {"baseline"}
