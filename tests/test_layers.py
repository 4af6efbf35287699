"""The library stands in rooms: one imports only from those before it, and importing the package costs nothing.

And ruff agrees with every file.
"""
import ast
import re
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch

import posenc_lib
from posenc_lib.measure import canvas

FOLDER = Path(posenc_lib.__file__).parent
ORDER = re.findall(r"^(\w+)  ", posenc_lib.__doc__, re.MULTILINE)
MODULES = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.py") if file.name != "__main__.py")


def room(module: str) -> str:
    return Path(module).parts[0].removesuffix(".py")


def tree(module: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((FOLDER / module).read_text())))


def imported(module: str) -> set[str]:
    """The rooms of the library that a module imports from, at its top or inside a function."""
    found = set()
    for node in tree(module):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; the library imports by full names"
            names = [alias.name for alias in node.names] if node.module == "posenc_lib" else [
                (node.module or "").removeprefix("posenc_lib.")]
            if (node.module or "").split(".")[0] == "posenc_lib":
                found |= {name.split(".")[0] for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("posenc_lib.")}
    return found


def test_every_room_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted({room(module) for module in MODULES} - {"__init__"})


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_rooms_before_it(module):
    here = ORDER.index(room(module)) if room(module) in ORDER else -1
    assert imported(module) <= set(ORDER[:here + 1])


def test_the_rule_finds_an_import_that_runs_back(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "FOLDER", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "files.py").write_text("def f():\n    from posenc_lib.show import page\n")
    with pytest.raises(AssertionError):
        test_a_module_imports_only_from_rooms_before_it("data/files.py")


@pytest.mark.parametrize("module", [m for m in MODULES if m != "base/progress.py"])
def test_the_library_does_not_print_and_moves_nothing_to_a_fixed_device(module):
    calls = [node.func for node in tree(module) if isinstance(node, ast.Call)]
    assert not [c for c in calls if isinstance(c, ast.Name) and c.id == "print"]
    assert not [c for c in calls if isinstance(c, ast.Attribute) and c.attr == "cuda"]


def test_importing_the_package_imports_no_heavy_library():
    code = ("import sys, posenc_lib.run.status; "
            "print(*{m.partition('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pandas'})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert done.stdout.strip() == ""


def test_shapes_are_checked_here():
    with pytest.raises(jaxtyping.TypeCheckError, match="images"):
        canvas.place(torch.zeros(3, 8, 8), torch.tensor([0]), 3)


def test_ruff_has_no_complaint():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=FOLDER.parent,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
