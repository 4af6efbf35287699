"""Every page runs at smoke on a device that is not there, as on a GPU: no cell mixes the two."""
import accelerator
import pytest
from conftest import ROOT, in_fork

PAGES = sorted((ROOT / "notebooks").glob("0[1-8]_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_mixes_no_devices(page, tmp_path):
    done = in_fork(accelerator.run_page, page, tmp_path)
    assert done.returncode == 0, done.stderr
