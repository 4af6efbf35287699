"""Every page runs at smoke on a device that is not there, as on a GPU: no cell mixes the two."""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, environment

PAGES = sorted(p.name for p in (ROOT / "notebooks").glob("0[1-8]_*.py"))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """All pages, two at a time: what they have left once they end."""
    def run(page: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, ROOT / "tests" / "accelerator.py", ROOT / "notebooks" / page,
                               tmp_path_factory.mktemp(page[:2])], cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)),
                              capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        yield {page: pool.submit(run, page) for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_mixes_no_devices(page, running):
    done = running[page].result()
    assert done.returncode == 0, done.stderr
