"""What .pre-commit-config.yaml runs before a commit, run here, so that CI needs nothing else: each hook passes on the
project, and finds a fault that is planted."""
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, environment

from posenc_lib.__main__ import main

HOOKS = {hook["id"]: hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
         for hook in repo["hooks"]}


def run(name: str, *files: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """A hook's command, with this Python in the place of that of .venv."""
    program, *command = shlex.split(HOOKS[name]["entry"])
    assert (program, HOOKS[name]["language"]) == (".venv/bin/python", "system")
    return subprocess.run([sys.executable, *command, *map(str, files)], cwd=cwd, capture_output=True, text=True,
                          env=environment(PYTHONPATH=str(ROOT)))


def chosen(name: str, folder: Path) -> list[Path]:
    """The files that pre-commit gives to a hook."""
    found = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return [file for file in found if re.search(HOOKS[name]["files"], file.as_posix())]


@pytest.fixture
def pages(tmp_path) -> Path:
    """A copy of two pages and of what configures jupytext."""
    (tmp_path / "notebooks").mkdir()
    for file in (ROOT / "notebooks").glob("0[03]_*"):
        shutil.copy(file, tmp_path / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "notebooks").iterdir()}


def test_ruff_has_no_complaint():
    done = run("ruff", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_a_fault(tmp_path):
    (tmp_path / "fault.py").write_text("import os\n")
    done = run("ruff", tmp_path / "fault.py")
    assert done.returncode == 1 and "F401" in done.stdout


@pytest.mark.parametrize("newer", ["py", "ipynb"])
def test_pages_and_notebooks_are_in_sync_whichever_is_newer(pages, newer):
    before = contents(pages)
    for file in pages.glob(f"notebooks/*.{newer}"):
        file.touch()
    files = chosen("jupytext", pages)
    assert len(files) == 4
    done = run("jupytext", *files, cwd=pages)
    assert done.returncode == 0, done.stderr
    assert contents(pages) == before


def test_a_page_that_was_edited_reaches_its_notebook(pages):
    page, = pages.glob("notebooks/03_*.py")
    page.write_text(page.read_text().replace("# %% Parameters", "# %% Settings"))
    run("jupytext", *chosen("jupytext", pages), cwd=pages)
    assert '"title": "Settings"' in page.with_suffix(".ipynb").read_text()


def test_outputs_are_stripped_and_nothing_else_is(pages):
    before = contents(pages)
    files = chosen("nbstripout", pages)
    assert len(files) == 2
    assert run("nbstripout", *files, cwd=pages).returncode == 0 and contents(pages) == before
    notebook = pages / files[0]
    cells = json.loads(notebook.read_text())
    cell = next(cell for cell in cells["cells"] if cell["cell_type"] == "code")
    cell |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}]}
    notebook.write_text(json.dumps(cells))
    run("nbstripout", *files, cwd=pages)
    assert json.loads(notebook.read_text()) == json.loads(before[notebook.name])


@pytest.fixture
def check_records(capsys):
    """check_records(*files) -> exit code, stdout, stderr of the hook's command, run in this process."""
    module, command = shlex.split(HOOKS["records"]["entry"])[-2:]

    def check(*files):
        assert module == "posenc_lib"
        return main([command, *map(str, files)]), *capsys.readouterr()
    return check


def test_the_records_are_valid(check_records):
    files = [ROOT / file for file in chosen("records", ROOT) if file.parts[1] in ("cpu", "paper")]
    n = sum(len(file.read_text().splitlines()) for file in files)
    code, out, err = check_records(*files)
    assert (code, out, err) == (0, f"records: {n} runs in {len(files)} files, all valid\n", "")


@pytest.mark.parametrize("change, sentence", [
    (lambda text: text.replace('"profile": "', '"profile": "un', 1),
     "is not a record (its digest does not match its configuration); delete that line"),
    (lambda text: text.replace("{", "<<<<<<< HEAD\n{", 1), "is not a record (Expecting value"),
    (lambda text: text[:-1], "is incomplete"),
    (lambda text: None, "does not exist; name files of records")])
def test_a_record_that_is_not_valid_is_one_sentence(check_records, tmp_path, change, sentence):
    file = tmp_path / "padding_artifacts.jsonl"
    changed = change((ROOT / "records" / "cpu" / file.name).read_text())
    if changed is not None:
        file.write_text(changed)
    code, out, err = check_records(file)
    assert code == 2 and not out and sentence in err and err.count("\n") == 1 and str(file) in err


@pytest.mark.slow
def test_types_are_right():
    done = run("mypy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("line, error", [
    ("probe.rank(torch.nn.Identity(), 'layer4', images, rule=3)", 'Argument "rule" to "rank" has incompatible type'),
    ("probe.padding_report(torch.nn.Identity()).leek()", '"PaddingReport" has no attribute "leek"'),
    ("gap(images).upside_down()", '"Tensor" has no attribute "upside_down"'),
    ("channels.top_channels(images, 2.5)", 'Argument 2 to "top_channels" has incompatible type')])
def test_types_reach_whoever_imports_the_library(tmp_path, line, error):
    file = tmp_path / "mine.py"
    file.write_text("import torch\nfrom posenc_lib import probe\nfrom posenc_lib.measure import channels\n"
                    f"from posenc_lib.nets.heads import gap\nimages = torch.zeros(1, 3, 8, 8)\n{line}\n")
    done = run("mypy", file)
    assert done.returncode == 1 and f"mine.py:6: error: {error}" in done.stdout and "Found 1 error" in done.stdout
