"""A disk that is really full: what is on file stays whole, one sentence says so, and with room the same goes on."""
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from test_faults import CONFIGS, RUNS, Sweep, in_child, uninterrupted
from test_run_all import Tiny

from posenc_lib.base import files
from posenc_lib.run import records
from posenc_lib.run.config import describe, digest

__all__ = ["uninterrupted"]   # a fixture


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("a disk of its own to fill: only root may mount one")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def record(seed: int, size: int = 1) -> records.Record:
    config = describe(CONFIGS[0])
    return records.Record("sweep", digest(config), seed, json.loads(json.dumps(config)), {"text": "x" * size})


def refused(path: Path, number: str) -> None:
    """A record that is too long for what is left is not written, and leaves no trace."""
    before = path.read_bytes()
    with pytest.raises(OSError, match=rf"^records: {path} cannot be written to \(OSError: \[Errno {number}\] .+\); "
                                      r"free some space .+ and run the same command again: existing records are kept$"):
        records.append(path, record(1, size=20_000))
    assert path.read_bytes() == before
    with FileLock(f"{path}.lock", timeout=0):
        pass


def test_a_record_that_does_not_fit_on_the_disk_leaves_the_file_as_it_was(small_disk):
    path = small_disk / "a.jsonl"
    records.append(path, record(0, size=3000))   # so that part of the next one would still fit in this block
    filler = fill(small_disk)
    refused(path, "28")
    filler.unlink()
    records.append(path, record(1, size=20_000))
    assert [one.seed for one in records.load(path)] == [0, 1]


def test_a_torn_line_stays_where_it_is_if_it_cannot_be_set_aside(small_disk):
    path = small_disk / "a.jsonl"
    records.append(path, record(0, size=3000))
    path.write_bytes(path.read_bytes() + b"torn")
    filler = fill(small_disk)
    refused(path, "28")
    filler.unlink()
    records.append(path, record(1))
    assert (small_disk / "a.jsonl.torn").read_bytes() == b"torn\n"
    assert [one.seed for one in records.load(path)] == [0, 1]


def limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def save_too_much(path: Path) -> None:
    limited(100_000)
    with pytest.raises(OSError, match=rf"^checkpoint: {path} cannot be written \(OSError: \[Errno 27\] .+\); "
                                      r"free some space .+ and run the same command again: it resumes from the last"):
        files.save_atomically({"weights": torch.zeros(100_000)}, path)


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one_whole(tmp_path):
    path = tmp_path / "run.pt"
    files.save_atomically({"step": 1}, path)
    in_child(save_too_much, path)
    assert torch.load(path, weights_only=True) == {"step": 1} and os.listdir(tmp_path) == ["run.pt"]


def append_too_much(path: Path) -> None:
    limited(10_000)
    refused(path, "27")
    records.append(path, record(2))


def test_a_record_over_the_quota_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.jsonl"
    records.append(path, record(0))
    in_child(append_too_much, path)
    assert [one.seed for one in records.load(path)] == [0, 2]


def sweep_on_a_full_disk(sweep: Sweep) -> None:
    with pytest.raises(OSError, match=r"^(records|checkpoint): .* cannot be .*; free some space"):
        sweep()


def test_a_sweep_that_filled_the_disk_goes_on_once_there_is_room(small_disk, uninterrupted):
    sweep = Sweep(small_disk)
    filler = fill(small_disk)
    os.truncate(filler, filler.stat().st_size - 1_500_000)   # room for a run of width 4, but not of 8
    in_child(sweep_on_a_full_disk, sweep)
    assert [path.suffix for path in sweep.checkpoints.glob("*")] == [".pt"]
    assert [one.key for one in records.load(sweep.records)] == RUNS[:1]   # seed by seed
    filler.unlink()
    in_child(sweep)
    assert sweep.results() == uninterrupted


FILLING = """
# %%
from pathlib import Path
filler = Path(out, "filler")
while not Path(out, "room").exists():
    try:
        filler.write_bytes(bytes(filler.stat().st_size * 2 if filler.exists() else 1))
    except OSError:
        break
"""


@pytest.mark.slow
def test_a_page_that_filled_the_disk_is_told_and_done_again(small_disk, tmp_path, run_all):
    tiny = Tiny(tmp_path)
    tiny.out = small_disk
    tiny.page("01_dots", FILLING)
    command = [*tiny.arguments()[:-1], small_disk]
    done = run_all(*command, cwd=tmp_path)
    assert done.returncode == 1 and "No space left on device" in done.stderr and "Traceback" not in done.stderr
    assert not tiny.executed("01_dots").exists() and not tiny.html.exists()
    (small_disk / "filler").unlink()
    (small_disk / "room").touch()
    done = run_all(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert tiny.executed("01_dots").exists() and (tiny.html / "index.html").exists()
