"""The library stands in rooms: one imports only from those before it, and importing the package costs nothing."""
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
                found |= {name.split(".")[0] for name in names if name != "__version__"}
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


@pytest.mark.parametrize("module, missing", [
    ("posenc_lib", {"torch", "numpy", "pandas"}), ("posenc_lib.run.status", {"torch", "numpy", "pandas"}),
    ("posenc_lib.__main__", {"torch", "numpy", "pandas"}),
    ("posenc_lib.probe", {"lightning", "matplotlib", "timm", "torchvision", "sklearn", "skimage", "distributed"})])
def test_importing_the_package_imports_no_heavy_library(module, missing):
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}} & {missing})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert done.stdout.strip() == ""


def test_shapes_are_checked_here():
    with pytest.raises(jaxtyping.TypeCheckError, match="images"):
        canvas.place(torch.zeros(3, 8, 8), torch.tensor([0]), 3)


READERS = {"open", "fdopen", "read_text", "write_text", "run", "Popen", "check_output", "NamedTemporaryFile"}
PROJECT = FOLDER.parent
SOURCES = sorted(str(file.relative_to(PROJECT)) for folder in ("posenc_lib", "book", "bench", "notebooks")
                 for file in (PROJECT / folder).rglob("*.py") if "_build" not in file.parts)


def without_encoding(source: str) -> list[int]:
    """Lines that read or write text in the encoding of the reader's locale."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
        if name not in READERS:
            continue
        options = {option.arg: option.value for option in node.keywords}
        modes = [arg.value for arg in (*node.args, *options.values()) if isinstance(arg, ast.Constant)]
        binary = any(isinstance(mode, str) and re.fullmatch(r"[rwax+]*b[rwax+]*", mode) for mode in modes)
        text = {"read_text", "write_text"} & {name} or {"text", "universal_newlines"} & {*options} or (
            name in ("open", "fdopen") and not binary and ast.unparse(node.func) not in ("Image.open", "os.open")) or (
            name == "NamedTemporaryFile" and any(isinstance(mode, str) and set(mode) <= set("rwax+") for mode in modes))
        if text and "encoding" not in options:
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("file", SOURCES)
def test_text_is_read_and_written_in_a_stated_encoding(file):
    """Some clusters still have a locale without UTF-8.  The tests run in UTF-8, whatever the locale (run_all.sh)."""
    assert without_encoding((PROJECT / file).read_text(encoding="utf-8")) == []


def test_the_rule_finds_text_without_an_encoding():
    found = ["open(f)", "open(f, 'w')", "os.fdopen(1, 'w')", "f.read_text()", "f.write_text('b')", "f.open()",
             "run(c, text=True)", "subprocess.Popen(c, universal_newlines=True)", "NamedTemporaryFile('w')"]
    passed = ["open(f, 'rb')", "f.open(mode='wb')", "Image.open(f)", "f.read_text(encoding='utf-8')", "run(c)",
              "run(c, encoding='utf-8')", "f.read_bytes()", "NamedTemporaryFile()", "os.open(f, os.O_RDONLY)"]
    assert without_encoding("\n".join(found + passed)) == [*range(1, len(found) + 1)]
