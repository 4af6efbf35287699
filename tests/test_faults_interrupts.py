"""Runs of ./run_all.sh that are cut off, or come two at once: nothing is left at work, or looks whole that is not."""
import signal

import psutil
import pytest
from conftest import wait_for
from test_run_all import make, server, tiny

__all__ = ["make", "server", "tiny"]   # fixtures


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


SLEEPING = """
# %%
import os, subprocess, time
from pathlib import Path
child = subprocess.Popen(["sleep", "9000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
Path(out, "child").write_text(str(child.pid))
Path(out, "pid").write_text(str(os.getpid()))
while not Path(out, "go").exists():
    time.sleep(0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_cut_off_leaves_no_kernel_and_no_page_and_goes_on_later(tiny, make, number):
    tiny.page("01_dots", SLEEPING)
    run = tiny.start()
    wait_for(lambda: (tiny.out / "pid").exists() and (tiny.out / "pid").read_text())
    kernel, its_child = (int((tiny.out / name).read_text()) for name in ("pid", "child"))
    assert alive(kernel) and alive(its_child)
    run.send_signal(number)
    _, error = run.communicate(timeout=120)
    if number != signal.SIGKILL:
        assert run.returncode == 128 + number
        assert error.strip() == f"run_all.sh: stopped by {number.name}; run the same command again to continue."
        wait_for(lambda: not alive(its_child))
    wait_for(lambda: not alive(kernel))
    assert not tiny.executed("01_dots").exists() and not tiny.html.exists()

    (tiny.out / "go").touch()
    assert make().returncode == 0
    assert tiny.executed("01_dots").exists() and (tiny.html / "index.html").exists()


SWEEP = """
# %%
import os, time
from dataclasses import dataclass
from pathlib import Path
from posenc_lib.run import records
from posenc_lib.run.config import Workspace

@dataclass(frozen=True)
class Config:
    n: int = 0

def run(c, seed, checkpoint):
    Path(out, f"worker{seed}").write_text(str(os.getpid()))
    while not Path(out, "go").exists():
        time.sleep(0.1)
    return {"pid": os.getpid()}

made = records.run_or_load("sweep", [Config()], run, seeds=range(4), workspace=Workspace(profile, data_root, out))
print(len(made), len({r.results["pid"] for r in made}), os.getpid() in {r.results["pid"] for r in made})
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_on_a_cluster_that_is_cut_off_leaves_no_worker_and_goes_on_later(tiny, make, number):
    tiny.page("01_dots", SWEEP)
    run = tiny.start("--cluster", "local:1")
    pid = tiny.out / "worker0"
    wait_for(lambda: pid.exists() and pid.read_text(), 300)   # a worker imports torch
    started = [child.pid for child in psutil.Process(run.pid).children(recursive=True)]
    assert int(pid.read_text()) in started
    run.send_signal(number)
    output, _ = run.communicate(timeout=120)
    assert "  runs go to local:1" in output.splitlines()
    assert run.returncode == (128 + number if number == signal.SIGINT else -number)
    wait_for(lambda: not any(alive(one) for one in started))

    (tiny.out / "go").touch()
    assert make().returncode == 0
    assert tiny.printed("01_dots").endswith("4 1 True\n")
    assert "runs go to" not in make("--cluster", "local:1").stdout   # nothing is left to run


@pytest.mark.slow
def test_a_second_run_waits_for_the_first(tiny):
    tiny.page("01_dots", SLEEPING)
    first = tiny.start()
    wait_for(lambda: (tiny.out / "pid").exists())
    second = tiny.start()
    assert second.stdout.readline() == f"another run is active in {tiny.out}; waiting for it to finish\n"
    (tiny.out / "go").touch()
    for run in (first, second):
        output, error = run.communicate(timeout=120)
        assert run.returncode == 0, error
    assert "01_dots is unchanged" in output
