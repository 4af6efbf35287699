"""Every page runs at smoke on a device that is not there, as on a GPU: no cell mixes the two."""
import accelerator
import pytest
from conftest import ROOT, in_fork

from posenc_lib.run import records

PAGES = sorted((ROOT / "notebooks").glob("0[1-8]_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_mixes_no_devices(page, smoke_book, pages_imported, tmp_path, monkeypatch):
    """Every cell runs there; of the runs of an experiment, every sixth, and the others are on file."""
    for file in (smoke_book[0] / "records" / "smoke").glob("*.jsonl"):
        on_file = [record for record in records.load(file) if record.seed == 0]
        for n, record in enumerate(on_file):
            if n % 6:
                records.append(tmp_path / "records" / "smoke" / file.name, record)
    monkeypatch.delenv("POSENC_DATA", raising=False)
    done = in_fork(accelerator.run_page, page, tmp_path)
    assert done.returncode == 0, done.stderr
