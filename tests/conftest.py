"""What several test files share: where real data lie, a browser, and the whole book built once at smoke."""
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that needs it is skipped where there is none."""
    if not os.environ.get("POSENC_DATA"):
        pytest.skip("real data: POSENC_DATA names no folder")
    return Path(os.environ["POSENC_DATA"])


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser's path; without one the test is skipped, or fails where CI=true says that all has to run."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    sentence = "no browser: install chromium or google-chrome"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


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


def wait_for(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
