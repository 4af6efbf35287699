"""What test files share: which tests run beside which, checks of shapes, and the whole book built once at smoke.

Two processes run the tests (pytest-xdist); `-n 0` runs them in this one.
"""
import gc
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")   # two processes on two cores; read when torch is imported
sys.modules["rfc3987_syntax"] = None   # see book/make.py
gc.disable()   # until all tests are collected; imports only add objects

import functools
import importlib
import re
import subprocess
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from urllib.error import URLError

import hypothesis
import jaxtyping
import pytest
from beartype import beartype

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))

hypothesis.settings.register_profile("quick", max_examples=20, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=300, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# ------------------------------------------------------------------------------------------ shapes

def checked_once_called(function):
    """beartype's check of a function, made at its first call: a test run calls few of all functions."""
    made = functools.cache(lambda: beartype(function))

    @functools.wraps(function)
    def call(*args, **options):
        return made()(*args, **options)
    return call


def shaped_modules() -> list[str]:
    """The modules of the library that annotate shapes."""
    files = [file for file in sorted((ROOT / "posenc_lib").rglob("*.py"))
             if any(word in file.read_text() for word in ("from jaxtyping import", "posenc_lib.base.shapes"))]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]


# jaxtyping's loader looks for byte code under names of its own, also in what the checked modules import: SciPy and
# scikit-learn, unless they are here already, would be compiled.
for name in ("scipy.io", "scipy.ndimage", "scipy.stats", "sklearn.linear_model", "sklearn.model_selection"):
    importlib.import_module(name)
jaxtyping.install_import_hook(shaped_modules(), f"{__name__}.{checked_once_called.__name__}")


# ------------------------------------------------------------------------------------------ which tests run together

BOOK = {"smoke_book", "browser"}   # fixtures; their tests run in one process, so that there is one book and one browser
ALONE = {"test_contributing.py", "test_faults_interrupts.py", "test_run_all.py"}   # long tests that share nothing


def slow(item) -> bool:
    return item.get_closest_marker("slow") is not None


def group(item) -> str:
    if BOOK & set(item.fixturenames):
        return "book"
    return "" if item.path.name in ALONE and slow(item) else item.path.name


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_itemcollected(item):
    """A file's tests run in one process, for what they share."""
    if group(item):
        item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_modifyitems(config, items):
    """Files with quick tests come first.  With two processes one begins with the book, which takes longest; the last
    are long tests that run alone."""
    def place(item) -> int:
        if group(item) == "book":
            return -1 if hasattr(config, "workerinput") else 3
        return slow(item) + (not group(item))

    items.sort(key=place)


# ------------------------------------------------------------------------------------------ fixtures


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that needs it is skipped where there is none."""
    if not os.environ.get("POSENC_DATA"):
        pytest.skip("real data: POSENC_DATA names no folder")
    return Path(os.environ["POSENC_DATA"])


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No cache and no network: every download is refused."""
    import torch

    def refused(url, *_, **__):
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)


@pytest.fixture
def ax():
    """Axes to draw on."""
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


@pytest.fixture(scope="session")
def run_all():
    """run_all(*arguments, cwd=, **variables) -> the finished ./run_all.sh, in this environment, on embedded data."""
    def run(*arguments, cwd=ROOT, **variables) -> subprocess.CompletedProcess:
        return subprocess.run([ROOT / "run_all.sh", *arguments], cwd=cwd, env=environment(**variables),
                              capture_output=True, text=True)
    return run


def environment(**variables) -> dict[str, str]:
    other = ("POSENC_DATA", "POSENC_CLUSTER", "OMP_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in other}
    return {**inherited, "POSENC_PYTHON": sys.executable, **variables}


@pytest.fixture(scope="session")
def smoke_book(run_all, tmp_path_factory) -> tuple[Path, Path]:
    """Every page run at smoke and the book built from them, once a session: (out folder, html folder)."""
    out = tmp_path_factory.mktemp("smoke")
    done = run_all("--profile", "smoke", "--out", out)
    assert done.returncode == 0, f"./run_all.sh --profile smoke:\n{done.stdout}{done.stderr}"
    return out, out / "book" / "_build" / "html"


@pytest.fixture(scope="session")
def pages_imported() -> None:
    """What the pages import is imported here, once: forks then have it."""
    import execute
    import kernel_server
    import make
    sources = [page.read_text() for page in sorted((ROOT / "notebooks").glob("[0-9]*.py"))]
    kernel_server.preload([*dict.fromkeys(name for text in sources for name in execute.imports(text)), *make.LATER])


def wait_for(true, seconds=120):
    """Until it is true; the limit is generous, for machines that have other things to do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def in_fork(function, *args, **options) -> subprocess.CompletedProcess:
    """Call a function in a fork of this process, which has imported everything: its exit code and what it printed."""
    command = [function.__name__, *map(str, args)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, warnings.catch_warnings():
        warnings.simplefilter("ignore")   # of a fork beside threads
        if not (pid := os.fork()):
            code = 1
            try:
                os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)   # noqa: SIM115
                code = function(*args, **options) or 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        out.seek(0), err.seek(0)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), out.read(), err.read())


def run_cells(page: Path, **parameters) -> None:
    """The code cells of a page, one after the other, in this process, with these parameters."""
    text = page.read_text()
    for name, value in parameters.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", lambda _, name=name, value=value: f"{name} = {value!r}", text,
                              count=1)
        assert found, f"{page} has no parameter {name}"
    cells = re.split(r"(?m)^# %%(.*)$", text)
    space, line = {"__name__": "__main__"}, cells[0].count("\n")
    for head, body in zip(cells[1::2], cells[2::2], strict=True):
        if "[markdown]" not in head:
            exec(compile("\n" * line + body, page, "exec"), space)
        line += body.count("\n")
