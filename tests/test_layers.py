"""The library stands in layers: a module imports only from those before it, and importing the package costs nothing.

And ruff agrees with every file.
"""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import posenc_lib

FOLDER = Path(posenc_lib.__file__).parent
ORDER = re.search(r"\):\n([\w,\s]+)\.", posenc_lib.__doc__)[1].replace("\n", " ").split(", ")


def tree(module: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())))


def imported(module: str) -> set[str]:
    """The modules of the library that a module imports, at its top or inside a function."""
    found = set()
    for node in tree(module):
        if isinstance(node, ast.ImportFrom):
            home = node.module or ""
            assert node.level == 0, f"{module} imports relatively; the library imports by full names"
            if home == "posenc_lib":
                found |= {alias.name for alias in node.names}
            elif home.startswith("posenc_lib."):
                found.add(home.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("posenc_lib.")}
    return found


def test_every_module_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("__"))


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_those_before_it(module):
    assert imported(module) <= set(ORDER[:ORDER.index(module)])


@pytest.mark.parametrize("module", [m for m in ORDER if m != "progress"])
def test_the_library_does_not_print_and_moves_nothing_to_a_fixed_device(module):
    calls = [node.func for node in tree(module) if isinstance(node, ast.Call)]
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
    assert not [c for c in calls if isinstance(c, ast.Attribute) and c.attr == "cuda"]


def test_importing_the_package_imports_no_heavy_library():
    code = "import sys, posenc_lib; print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pandas'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert done.stdout.strip() == ""


def test_ruff_has_no_complaint():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=FOLDER.parent,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
