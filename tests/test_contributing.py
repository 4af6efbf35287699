"""CONTRIBUTING.md: its recipes are followed, word by word, in a copy of the project."""
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ENVIRONMENT = Path(sys.prefix)   # its `activate` is part of the recipes


def blocks(recipe: str) -> list[str]:
    """The code of a recipe, block by block."""
    section = re.search(rf"^### {recipe}\n(.*?)^##", TEXT, re.DOTALL | re.MULTILINE)[1]
    code = re.findall(r"^ *```(?:python|bash)\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in code]


class Copy:
    """A copy of the working tree, in which a contributor follows a recipe."""

    def __init__(self, folder: Path):
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
            if name and (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(ENVIRONMENT)
        self.replace("CONTRIBUTING.md", TEXT, TEXT.replace("/tmp/", f"{folder.parent}/"))

    def write(self, name: str, code: str) -> None:
        assert not (self.folder / name).exists()
        (self.folder / name).write_text(code, encoding="utf-8")

    def append(self, name: str, code: str) -> None:
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(f"\n\n{code}")

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        (self.folder / name).write_text(text.replace(old, new), encoding="utf-8")

    def enter(self, name: str, opening: str, entry: str) -> None:
        """As the last of a dict whose first line begins with `opening`."""
        text = (self.folder / name).read_text(encoding="utf-8")
        end = text.index("\n}", text.index(f"\n{opening}")) + 1
        (self.folder / name).write_text(text[:end] + entry + text[end:], encoding="utf-8")

    def run(self, code: str) -> str:
        """What a block of commands prints; each of them has to succeed."""
        variables = os.environ | {"POSENC_PYTHON": sys.executable, "PYTHONPATH": str(self.folder)}
        variables = {name: value for name, value in variables.items()
                     if not name.startswith(("PYTEST_", "COV_")) and name != "POSENC_DATA"}
        code = code.replace("/tmp/", f"{self.folder.parent}/")
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=self.folder, env=variables, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{code}\n{done.stdout[-6000:]}"
        return done.stdout

    def lint(self) -> None:
        assert "All checks passed" in self.run(re.search(r"`(\.venv/bin/ruff check \.)`", TEXT)[1])


@pytest.fixture
def copy(tmp_path):
    if not (ENVIRONMENT / "bin" / "activate").exists():
        pytest.skip("the tests' Python is in no virtual environment")
    return Copy(tmp_path / "copy")


@pytest.mark.slow
def test_a_padding_mode(copy):
    mode, test, commands = blocks("A padding mode")
    function, entry = re.fullmatch(r"(.+?)PADDING_MODES = \{\n    \.\.\.\n(.+)\}\n", mode, re.DOTALL).groups()
    copy.replace("posenc_lib/nets/padding.py", "PADDING_MODES = {\n", f"{function}PADDING_MODES = {{\n")
    copy.enter("posenc_lib/nets/padding.py", "PADDING_MODES = {", entry)
    copy.append("tests/test_padding.py", test)
    printed = re.search(r"This prints `(.+?)`", TEXT)[1]
    assert copy.run(commands).splitlines()[-1] == printed
    copy.lint()


@pytest.mark.slow
def test_a_backbone(copy):
    backbone, commands = blocks("A backbone")
    definition, registry = re.fullmatch(r"(.+?)(BACKBONES: .+)", backbone, re.DOTALL).groups()
    file = "posenc_lib/nets/classifiers.py"
    listed = re.search(r"(?m)^BACKBONES: .+\n", (ROOT / file).read_text(encoding="utf-8"))[0]
    copy.replace(file, listed, definition + registry)
    name = re.search(r"`(\"strided\": .+?)`", TEXT)[1]
    copy.enter("posenc_lib/base/names.py", "NAMES = {", f"    {name},\n")
    copy.run(commands)
    book = copy.folder.parent / "backbone/book/_build/html"
    assert "strided CNN" in (book / "03_gapnet_vs_permutenet.html").read_text(encoding="utf-8")
    copy.lint()


@pytest.mark.slow
def test_a_data_set(copy):
    reader, entry, table, test, commands = blocks("A data set")
    copy.write("posenc_lib/data/pathmnist.py", reader)
    registry = "posenc_lib/data/registry.py"
    copy.replace(registry, "files, people\n", "files, pathmnist, people\n")
    copy.enter(registry, "SETS = {", textwrap.indent(entry, "    "))
    old = re.search(r"(?m)^\| data set \|(?:.+\n)+", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
    copy.replace("README.md", old, copy.run(table))
    copy.append("tests/test_data.py", test)
    copy.run(commands)
    copy.lint()


@pytest.mark.slow
def test_a_page_and_a_claim(copy):
    experiment, claims, page, test, papermill, build = blocks("A page")
    copy.write("posenc_lib/experiments/constant_image.py", experiment)
    copy.write("posenc_lib/claims/constant_image.py", claims)
    copy.write("notebooks/09_constant_image.py", page)
    copy.replace("book/markup.py", '"Your network": ("08",)', re.search(r'`("Your network": .+?)`', TEXT)[1])
    copy.write("tests/test_constant_image.py", test)
    copy.run(papermill)
    copy.run(build)
    book = copy.folder.parent / "page/book/_build/html"
    assert "Zero padding changes a constant image" in (book / "00_index.html").read_text(encoding="utf-8")
    copy.lint()

    rule, judged = blocks("A claim")
    file = "posenc_lib/claims/constant_image.py"
    copy.replace(file, "CLAIMS = (ZEROS_DEVIATE,)\n", rule)
    imports, rest = re.fullmatch(r"(.+?\n)\n\n(.+)", judged, re.DOTALL).groups()
    copy.replace("tests/test_constant_image.py", "from posenc_lib.experiments",
                 f"{imports}from posenc_lib.experiments")
    copy.append("tests/test_constant_image.py", rest)
    copy.run(papermill)
    copy.run(build)
    assert "Reflect padding leaves a constant image" in (book / "00_index.html").read_text(encoding="utf-8")
    copy.lint()
