"""Every page runs at smoke on a device that is not there, as on a GPU: no cell mixes the two."""
import subprocess
import sys

import pytest
from conftest import ROOT, environment

PAGES = sorted(p.name for p in (ROOT / "notebooks").glob("0[1-8]_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_mixes_no_devices(page, tmp_path):
    done = subprocess.run([sys.executable, ROOT / "tests" / "accelerator.py", ROOT / "notebooks" / page, tmp_path],
                          cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
