"""The one command: its errors in one sentence, and that a run that failed leaves nothing that looks whole.

Runs tiny pages of its own (--notebooks) with a tiny Sphinx configuration (--book).
"""
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import kernels
import make as book
import nbformat
import pytest
from conftest import ROOT, environment, in_fork

HEAD = """# ---
# jupyter:
#   kernelspec: {name: python3, language: python, display_name: Python 3}
# ---

# %% [markdown]
# # A page

# %% tags=["parameters"]
profile = "quick"  # profile="smoke" would be another
data_root = ""
out = ""
"""
RECORDS = """
# %%
from pathlib import Path
Path(out, "figures", profile, "01_dots.csv").write_text("1")
print("here", Path.cwd().name)
"""


class Tiny:
    """A folder with pages 00 and 01, a book configuration and an output folder."""

    def __init__(self, folder: Path):
        self.folder, self.out, self.started = folder, folder / "out", []
        (folder / "notebooks").mkdir()
        (folder / "book").mkdir()
        (folder / "book" / "conf.py").touch()   # the pages are left out, which saves Sphinx seconds
        (folder / "book" / "index.rst").write_text("Tiny\n====\n")
        self.page("00_index", "\n# %%\nprint('index')\n")
        self.page("01_dots", RECORDS)

    def page(self, name: str, code: str):
        (self.folder / "notebooks" / f"{name}.py").write_text(HEAD + code)

    def arguments(self, *more) -> list[str]:
        return ["--notebooks", "notebooks", "--book", "book", "--out", "out", *more]

    def start(self, *more) -> subprocess.Popen:
        self.started.append(subprocess.Popen(
            [ROOT / "run_all.sh", *self.arguments(*more)], cwd=self.folder, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True))
        return self.started[-1]

    def executed(self, name: str) -> Path:
        return self.out / "build" / "notebooks" / f"{name}.ipynb"

    def printed(self, name: str) -> str:
        cells = nbformat.read(self.executed(name), as_version=4).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        return "".join(output.text for output in outputs if output.output_type == "stream")

    @property
    def html(self) -> Path:
        return self.out / "book" / "_build" / "html"


@pytest.fixture
def tiny(tmp_path) -> Iterator[Tiny]:
    tiny = Tiny(tmp_path)
    yield tiny
    for run in tiny.started:   # none outlives a test that failed; its kernels go with it
        run.kill()
        run.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[kernels._Server]:
    """What kernels fork from, one process for all runs: importing torch takes longer than they do."""
    server = kernels._Server(["posenc_lib.run.records", "posenc_lib.show.page"])
    yield server
    server.close()


@pytest.fixture
def make(tiny, server):
    """make(*more, **variables) -> a run of the tiny pages in a fork of this process; kernels and Sphinx are real."""
    def run(arguments, variables):
        kernels._Server = lambda _: server
        server.close = lambda: None
        os.chdir(tiny.folder)
        variables = environment(PYTHONPATH=str(ROOT), **variables)
        os.environ.clear()
        os.environ.update(variables)
        return book.main(arguments)

    def make(*more, **variables):
        server.ask(poll=0)   # which starts it, here and not in the fork
        return in_fork(run, tiny.arguments(*more), variables)
    return make


# ------------------------------------------------------------------------------------------ what was asked wrongly

@pytest.mark.parametrize(("arguments", "sentence"), [
    (["nonsense"],
     "there is no command 'nonsense'; there are run (the default), test, lab, bench, clean, lock and help."),
    (["--nonsense"], "unrecognized arguments: --nonsense; ./run_all.sh help lists the options."),
    (["--prof", "quick"], "unrecognized arguments: --prof quick; ./run_all.sh help lists the options."),
    (["--only"], "argument --only: expected one argument; ./run_all.sh help lists the options."),
    (["--profile", "fast"], "there is no profile 'fast'; there are smoke, quick, paper."),
    (["--cluster", "local"], "--cluster takes local:N, tcp://HOST:PORT or slurm, not 'local'."),
    *[(["--minutes", n], f"--minutes takes a number above 0, fractions included, not '{n}'.")
      for n in ("0", "-2", "soon", "nan")],
    (["--jobs", "0"], "--jobs takes a whole number from 1, not '0'."),
    (["--data", "nowhere"],
     "there is no data folder nowhere; --data (or POSENC_DATA) names the folder that holds the data sets."),
    (["--only", "01,77"], "--only: there is no page '77'; there are 00_index, 01_dots."),
    (["--notebooks", "book"], "there are no pages in {folder}/book; a page is called NN_name.py."),
    (["-p", "profile", "quick"], "-p profile is not possible; use --profile."),
    (["-p", "data_root", "x"], "-p data_root is not possible; use --data."),
    (["-p", "sedes", "3"], "-p sedes: no chosen page has this parameter; they have seeds."),
    (["-p", "seeds", "3", "--only", "00"], "-p seeds: no chosen page has this parameter; they have none to set."),
    (["--out", "book/conf.py/x"],
     "cannot write to {folder}/book/conf.py/x (Not a directory: {folder}/book/conf.py/x/build/notebooks); "
     "give --out another folder."),
    (["bench", "nonsense"], "there is no bench/nonsense.py; there are: "),
    (["clean", "paper"], "clean takes --all or nothing, not: paper."),
])
def test_a_wrong_argument_is_one_sentence_and_exit_code_2(tiny, make, run_all, arguments, sentence):
    tiny.page("01_dots", "seeds = [0]\n")
    done = make(*arguments) if arguments[0].startswith("-") else run_all(*arguments, cwd=tiny.folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"run_all.sh: {sentence.format(folder=tiny.folder)}")
    assert done.stderr.count("\n") == 1
    assert not list(tiny.folder.glob("out/build/notebooks/*.ipynb"))


def test_POSENC_DATA_is_held_to_the_same(run_all):
    done = run_all(POSENC_DATA="nowhere")
    assert done.returncode == 2 and done.stderr.startswith("run_all.sh: there is no data folder nowhere; --data")


@pytest.mark.parametrize(("cell", "sentence"), [
    ('profile = "quick"',
     "has no parameter data_root, out; its cell tagged `parameters` needs profile, data_root, out."),
    ("profile = (", "has a mistake in its cell tagged `parameters`: '(' was never closed, `profile = (`."),
])
def test_a_page_without_its_parameters_is_one_sentence(tiny, make, cell, sentence):
    (tiny.folder / "notebooks" / "02_bare.py").write_text(f'# %% tags=["parameters"]\n{cell}\n')
    done = make()
    assert done.returncode == 2
    assert done.stderr == f"run_all.sh: {tiny.folder}/notebooks/02_bare.py {sentence}\n"


def test_help_says_all_and_needs_nothing(run_all):
    done = run_all("help", POSENC_PYTHON="/nowhere")
    assert done.returncode == 0
    words = done.stdout.replace("=", " ").split()
    assert {"--profile", "--data", "--only", "-p", "--jobs", "--cluster", "--minutes", "--out"} <= set(words)
    assert "POSENC_PYTHON" in words
    assert {"test", "lab", "bench", "clean", "lock", "help"} <= set(words)


# ------------------------------------------------------------------------------------------ the environment

def test_a_python_that_is_none_is_one_sentence(run_all):
    done = run_all(POSENC_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert done.stderr == ("run_all.sh: POSENC_PYTHON=/nowhere/python is not a Python 3.11 or newer; name one that is, "
                           "or unset it.\n")


@pytest.fixture
def check_environment(tmp_path):
    """check_environment.py in a project of its own, so that nothing is remembered."""
    for name in ("book/check_environment.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, tmp_path / "book" / "check_environment.py", "book"]
    return lambda: subprocess.run(command, env=environment(PYTHONPATH=str(tmp_path)), capture_output=True, text=True)


def test_a_package_that_is_missing_or_too_old_is_named(tmp_path, check_environment):
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text().replace('"scipy"', '"scipy>=99", "no-such-thing>1"'))
    done = check_environment()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "lacks scipy>=99 (there is " in done.stderr and ", no-such-thing>1; install the pinned set" in done.stderr


def test_torch_and_torchvision_that_do_not_fit_are_told(tmp_path, check_environment):
    (tmp_path / "torchvision.py").write_text("class ops:\n    def nms(*boxes):\n"
                                             "        raise RuntimeError('operator torchvision::nms does not exist')\n")
    done = check_environment()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "do not fit each other (operator torchvision::nms does not exist); install the pinned set" in done.stderr


# ------------------------------------------------------------------------------------------ a run

MORE = """seeds = [0]
dataset = "digits"
grids = ""

# %%
import os
print(profile, data_root, out, seeds, dataset, repr(grids), os.environ["OMP_NUM_THREADS"])
"""


def test_parameters_reach_the_pages_that_have_them(tiny, run_all):
    tiny.page("02_more", MORE)
    (tiny.folder / "data").mkdir()
    (tiny.folder / "book" / "conf.py").write_text('extensions = ["myst_nb"]\nnb_execution_mode = "off"\n')
    (tiny.folder / "book" / "index.rst").write_text("Tiny\n====\n\n.. toctree::\n   :glob:\n\n   0*\n")
    done = run_all(*tiny.arguments("--profile", "smoke", "--data", "data", "--jobs", "64", "-p", "seeds", "(3, 4)",
                                   "-p", "dataset", "cifar10", "-p", "grids", "3,5"), cwd=tiny.folder)
    assert (done.returncode, done.stderr) == (0, "")   # not even a warning: kernels speak over ipc
    assert tiny.printed("02_more") == f"smoke {tiny.folder}/data {tiny.out} [3, 4] cifar10 '3,5' 1\n"
    assert tiny.printed("01_dots") == "here notebooks\n"
    assert done.stdout.splitlines()[-1] == f"The book: {(tiny.html / 'index.html').as_uri()}"
    assert "here notebooks" in (tiny.html / "01_dots.html").read_text()
    assert str(tiny.out) not in (tiny.html / "01_dots.html").read_text()
    assert sorted(os.listdir(tiny.folder / "notebooks")) == ["00_index.py", "01_dots.py", "02_more.py"]


@pytest.mark.parametrize("given, jobs", [("", 2), ("--only 01", 1), ("--profile paper", 1), ("--jobs 3", 3)])
def test_pages_run_side_by_side_and_share_the_cores(tiny, given, jobs):
    tiny.page("02_more", MORE)
    code = ("import sys, os; sys.path.insert(0, 'book'); os.sched_getaffinity = lambda _: set(range(2)); "
            "import arguments; print(arguments.parse(sys.argv[1:]).jobs)")
    done = subprocess.run([sys.executable, "-c", code, *given.split(), "--notebooks", tiny.folder / "notebooks"],
                          cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == jobs


@pytest.mark.slow
def test_only_what_changed_runs_again(tiny, make):
    def states(*more):
        done = make(*more)
        assert done.returncode == 0, done.stderr
        pages = done.stdout.splitlines()[-2].removeprefix("Pages: ").split(", ")
        return {page.split()[0]: "unchanged" if page.endswith("unchanged") else "took" for page in pages}

    assert states() == {"00_index": "took", "01_dots": "took"}
    built = tiny.html.stat().st_ino
    assert states() == {"00_index": "unchanged", "01_dots": "unchanged"}
    assert tiny.html.stat().st_ino == built
    (tiny.out / "figures" / "quick" / "01_dots.csv").unlink()
    assert states() == {"00_index": "unchanged", "01_dots": "took"}
    tiny.page("00_index", "\n# %%\nprint('another')\n")
    assert states("--only", "01") == {"00_index": "took", "01_dots": "unchanged"}     # the index always runs
    (tiny.out / "records" / "quick" / "dots.jsonl").write_text("{}\n")
    assert states() == {"00_index": "took", "01_dots": "took"}
    assert states("--profile", "smoke", "--only", "dots") == {"00_index": "took", "01_dots": "took"}


@pytest.mark.slow
def test_an_index_alone_is_no_book(tiny, make):
    done = make("--only", "00")
    assert done.returncode == 1 and not tiny.html.exists()
    assert done.stderr.startswith("run_all.sh: a book of profile quick has no page yet except its index; select other")


FAILING = '''
# %%
x = 1

# %%
# looks
raise FileNotFoundError("cifar10: looked in /d/cifar10 and found nothing; get it from there")
'''


@pytest.mark.slow
def test_a_failing_page_is_reported_and_the_book_has_the_others(tiny, make):
    def in_the_book() -> list[str]:
        return sorted(page.stem for page in (tiny.out / "build" / "book").glob("*.ipynb"))

    tiny.page("00_index", "\n# %%\nimport os\nprint(os.environ['POSENC_FAILED'], os.environ['POSENC_NOT_RUN'])\n")
    tiny.page("02_bad", "")
    assert make("--only", "01").returncode == 0 and tiny.printed("00_index") == " 02_bad\n"
    assert make().returncode == 0 and in_the_book() == ["00_index", "01_dots", "02_bad"]
    assert tiny.printed("00_index") == " \n"
    tiny.page("02_bad", FAILING)
    tiny.page("03_dead", "\n# %%\nimport os\nos._exit(9)\n")
    done = make("--jobs", "2")
    assert done.returncode == 1
    report = done.stderr.split("02_bad failed in cell 4, `# looks`:\n")[1].splitlines()
    assert report[0] == "  FileNotFoundError: cifar10: looked in /d/cifar10 and found nothing; get it from there"
    assert any("raise FileNotFoundError" in line for line in report) and "\x1b" not in done.stderr
    assert "03_dead failed: DeadKernelError: Kernel died" in done.stderr
    assert done.stderr.endswith("run_all.sh: 2 of 4 page(s) failed, and the book is without: 02_bad, 03_dead.\n")
    assert tiny.executed("02_bad").with_suffix(".partial.ipynb").exists()
    assert in_the_book() == ["00_index", "01_dots"] and (tiny.html / "index.html").exists()
    assert tiny.printed("00_index") == "02_bad,03_dead 02_bad,03_dead\n"
    assert not make("--only", "01").returncode and in_the_book() == ["00_index", "01_dots"]   # nor an old one of it

    (tiny.folder / "notebooks" / "03_dead.py").unlink()
    tiny.page("02_bad", "\n# %%\nif True:\nprint(1)\n")   # no Python
    done = make()
    assert done.returncode == 1 and "02_bad failed in cell 3" in done.stderr and "IndentationError" in done.stderr
    assert done.stderr.endswith("run_all.sh: 1 of 3 page(s) failed, and the book is without: 02_bad.\n")

    before = (tiny.html / "index.html").stat().st_ino
    tiny.page("00_index", FAILING)
    done = make("--only", "01")
    assert done.returncode == 1 and done.stderr.endswith("1 of 2 page(s) failed, so the book was left unchanged.\n")
    assert (tiny.html / "index.html").stat().st_ino == before


# ------------------------------------------------------------------------------------------ what has not been run

GAPS = """
# %%
from posenc_lib.run import records
from posenc_lib.show import page
from posenc_lib.run.config import Recipe, Workspace
shown, late = "of an earlier cell", 1

# %%
early = 2
if not profile == "quick":
    pass
short = Workspace("smoke", out=out, minutes=1e-9)
shown = len(records.run_or_load("sweep", [Recipe()], print, seeds=[0], workspace=short))
late = 3

# %%
print("early is", early)

# %%
import matplotlib.pyplot as plt
import pandas as pd
table = pd.DataFrame({"a": [1]})
page.table(table, "01_there", "A table that is there.", workspace=Workspace(profile, data_root, out))
def draw(name, *rest):
    page.show(plt.figure(), name, "A figure.", "A figure.", workspace=Workspace(profile, data_root, out))

draw(f"01_{shown}") if shown == 0 else draw("01_dots", shown)

# %%
for name in ("01_one", "01_two"):
    draw(name, late)

# %%
late = 4
print("late is", late)

# %%
page.show(plt.figure(), "01_last", "A figure.", "A figure.", workspace=Workspace(profile, data_root, out))
"""
BOOK = """# Tiny

{numref}`fig-01_dots` {numref}`fig-01_one` {numref}`fig-01_two` {numref}`tab-01_there` {numref}`fig-01_last`

```{toctree}
:glob:
0*
```
"""


@pytest.mark.slow
def test_what_has_not_been_run_is_a_placeholder_and_the_rest_of_the_page_runs(tiny, make, monkeypatch):
    (tiny.folder / "book" / "conf.py").write_text(
        'extensions = ["myst_nb"]\nnb_execution_mode = "off"\nnumfig = True\nexclude_patterns = ["figures"]\n'
        'nb_mime_priority_overrides = [("html", "text/markdown", 0)]\nnb_render_markdown_format = "myst"\n'
        'myst_enable_extensions = ["attrs_block"]\n')
    (tiny.folder / "book" / "index.rst").unlink()
    (tiny.folder / "book" / "index.md").write_text(BOOK)
    tiny.page("01_dots", GAPS)
    done = make()
    assert (done.returncode, done.stderr) == (0, "")
    assert "01_dots took" in done.stdout and ", 3 of its figures and tables not run yet" in done.stdout
    assert tiny.printed("01_dots") == ("sweep: 0 ran in 0 s; 0 were on file\nearly is 2\nlate is 4\n")
    text = (tiny.html / "01_dots.html").read_text()
    assert text.count("Not run yet. <code") >= 3 and "sweep: none of its 1 runs has been recorded yet" in text
    assert "./run_all.sh --profile quick --only 01" in text.replace("</span>", "").replace('<span class="pre">', "")
    assert sorted(path.name for path in (tiny.out / "figures" / "quick").iterdir()) == [
        "01_last.png", "01_last.svg", "01_there.csv", "01_there.md"]
    monkeypatch.chdir(tiny.folder)
    args = book.parse(tiny.arguments())
    args.on_file = False
    page = book.Page(tiny.folder / "notebooks" / "01_dots.py", args)
    assert page.stopped() and not page.unchanged()   # a run is left for another slice


RUNS = """
# %%
from dataclasses import dataclass
from posenc_lib.run import records
from posenc_lib.run.config import Workspace

@dataclass(frozen=True)
class Config:
    n: int = 0

workspace = Workspace(profile, data_root, out)
made = records.run_or_load("sweep", [Config()], lambda *_: {}, seeds=range(2), workspace=workspace)
"""


@pytest.mark.slow
def test_a_slice_of_minutes_ends_well_and_the_next_goes_on(tiny, make):
    tiny.page("01_dots", RUNS)
    done = make("--minutes", "0.0001")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "After 0.0001 minutes; run the same command again to continue.\nexperiment " in done.stdout
    assert not list(tiny.out.rglob("*.jsonl"))
    done = make("--minutes", "30")
    assert done.returncode == 0 and "All runs of these pages are complete.\nexperiment " in done.stdout
    assert "not run yet" not in done.stdout


def test_a_book_that_sphinx_complains_of_does_not_replace_the_old_one(tiny, make):
    assert make().returncode == 0
    before = (tiny.html / "index.html").stat().st_ino
    (tiny.folder / "book" / "index.rst").write_text("Tiny pages\n=====\n")
    for _ in range(2):   # the second time as well: what Sphinx said on reading is not forgotten
        done = make()
        assert done.returncode == 1 and "Sphinx reported problems" in done.stderr
        assert "underline too short" in done.stderr
    assert (tiny.html / "index.html").stat().st_ino == before


def test_a_cluster_that_is_not_there_is_one_sentence(make):
    done = make("--cluster", "slurm", PATH=f"{Path(sys.executable).parent}:/bin")
    assert done.returncode == 1
    assert done.stderr.startswith("run_all.sh: cluster: ") and done.stderr.count("\n") == 1


def test_clean_keeps_what_the_paper_profile_made(tmp_path):
    shutil.copy(ROOT / "run_all.sh", tmp_path)
    kept = {"records/paper", "figures/paper", "book/conf.py", "data"}
    gone = {f"{folder}/{profile}" for folder in ("records", "figures") for profile in ("smoke", "quick")}
    for name in kept | gone | {"build/notebooks", "book/_build/html", ".venv/bin"}:
        (tmp_path / name).mkdir(parents=True)

    def left():
        return {str(path.relative_to(tmp_path)) for path in [*tmp_path.glob("*"), *tmp_path.glob("*/*")]}

    expected = kept | {"records", "figures", "book", "run_all.sh"}
    subprocess.run([tmp_path / "run_all.sh", "clean"], check=True)
    assert left() == expected | {".venv", ".venv/bin"}
    subprocess.run([tmp_path / "run_all.sh", "clean", "--all"], check=True)
    assert left() == expected


@pytest.mark.parametrize("remote, address", [
    ("https://github.com/someone/book.git", "https://github.com/someone/book"),
    ("https://someone:secret@gitlab.example.org/group/book/", "https://gitlab.example.org/group/book"),
    ("git@github.com:someone/book.git", "https://github.com/someone/book"),
    ("ssh://git@git.example.org:2222/someone/book", "https://git.example.org/someone/book"),
    ("/srv/git/book.git", ""), ("file:///srv/git/book.git", ""), ("../book", ""), ("", "")])
def test_the_book_links_to_the_repository_that_it_was_cloned_from(remote, address, monkeypatch):
    monkeypatch.setattr(book.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=remote + "\n"))
    assert book.repository() == address
