"""Runs on worker processes: the same records, whatever dies or fails in between; nothing is left behind."""
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cloudpickle
import dask
import psutil
import pytest
import torch
import yaml
from conftest import ROOT, environment, wait_for
from distributed.utils import get_mp_context
from torch.nn.functional import cross_entropy

from posenc_lib.data import registry
from posenc_lib.nets import classifiers
from posenc_lib.run import cluster, training
from posenc_lib.run.config import Recipe, Workspace
from posenc_lib.run.records import load, run_or_load

cloudpickle.register_pickle_by_value(sys.modules[__name__])   # as a page's functions are
pytestmark = pytest.mark.slow
HERE = "local:2"


@dataclass(frozen=True)
class Config:
    grid: int = 3


@pytest.fixture(scope="module", autouse=True)
def workers():
    """Two workers, shared by these tests; GPUs 5 and 7 are handed out, and not used.

    Dask would look for a lost worker after 2 seconds, not 15, if `cluster` did not forbid that.  Workers are forks of a
    process that has imported the library, because they die often here.
    """
    dask.config.set({"distributed.deploy.lost-worker-timeout": "2s",
                     "distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context().set_forkserver_preload(["distributed", "lightning.fabric", "posenc_lib.data.registry",
                                             "posenc_lib.nets.classifiers", "posenc_lib.run.records"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
        patch.setenv("OMP_NUM_THREADS", "1")
        client = cluster.connect(HERE)
    yield client
    cluster.close(HERE)


@pytest.fixture
def workspace(tmp_path):
    return Workspace("smoke", out=str(tmp_path), cluster=HERE)


def sweep(run, workspace, grids=(3, 5, 7), seeds=(0, 1)):
    return run_or_load("a-claim", [Config(grid) for grid in grids], run, seeds=seeds, workspace=workspace)


def keys(records) -> list[tuple[int, int]]:
    return [(r.config["grid"], r.seed) for r in records]


ALL = [(3, 0), (3, 1), (5, 0), (5, 1), (7, 0), (7, 1)]
digits = registry.load("digits", "", size=8).train.take(slice(0, 64))


def train(c, seed, checkpoint):
    torch.manual_seed(seed)
    net = classifiers.gapnet(10, width=4)
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=10.0 ** -c.grid, flip=False)
    history = training.fit(net, digits, lambda net, x, y, _: cross_entropy(net(x), y), recipe, seed=seed,
                           checkpoint=checkpoint)
    return {"loss": history[-1]["loss"], "weights": [p.detach().double().sum().item() for p in net.parameters()]}


def test_records_are_those_of_one_process_bit_by_bit(workspace, tmp_path, capsys, monkeypatch):
    there = sweep(train, workspace)
    assert "a-claim: 6 ran in" in (output := capsys.readouterr().out) and "0 were on file; side by side" in output
    threads = torch.get_num_threads()
    torch.set_num_threads(1)   # as each worker has
    try:
        here = sweep(train, Workspace("smoke", out=str(tmp_path / "here")))
    finally:
        torch.set_num_threads(threads)
    assert keys(there) == keys(here) == ALL
    assert [(r.digest, r.results) for r in there] == [(r.digest, r.results) for r in here]
    assert {r.source["threads"] for r in there} == {1}
    assert sweep(lambda *_: pytest.fail("computed again"), workspace) == there


def where(c, seed, checkpoint):
    time.sleep(0.3)
    return {"pid": os.getpid(), "gpu": os.environ["CUDA_VISIBLE_DEVICES"], "headless": os.environ["POSENC_HEADLESS"],
            "threads": [os.environ[name] for name in cluster.THREADS],
            "malloc": os.environ.get("MALLOC_TRIM_THRESHOLD_"),
            "profile": dask.config.get("distributed.worker.profile.enabled")}


def test_each_worker_has_one_run_at_a_time_and_a_gpu_of_its_own(workspace):
    runs = [r.results for r in sweep(where, workspace)]
    assert {(run["headless"], *run["threads"], run["malloc"], run["profile"]) for run in runs} == {
        ("1", "1", "1", "1", None, False)}
    assert len({(run["pid"], run["gpu"]) for run in runs}) == 2 and {run["gpu"] for run in runs} == {"5", "7"}


@pytest.mark.parametrize("visible, n, shares", [
    ("5,7", 3, ["5", "7", "5"]), (None, 2, []), ("GPU-8,MIG-2", 1, ["GPU-8"])])
def test_gpus_are_handed_out_in_turn(monkeypatch, visible, n, shares):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in cluster._gpus(n) if one] == shares


@lru_cache(maxsize=1)
def read(name):
    return name, time.monotonic_ns(), os.getpid()


read.__module__ = "__main__"   # where a page's functions are, so that it goes to a worker by value


def test_what_a_page_keeps_is_kept_on_each_worker(workspace):
    runs = sweep(lambda *_: {"read": list(read("features"))}, workspace, grids=range(8))
    assert len({tuple(r.results["read"]) for r in runs}) <= 2 < len(runs)
    assert {r.results["read"][2] for r in runs}.isdisjoint({os.getpid()})


def test_what_cannot_be_sent_is_one_sentence(workspace, tmp_path):
    with (open(tmp_path / "file", "w") as file,
          pytest.raises(ValueError, match=r"^cluster: the work cannot be sent to a worker \(.+\); create what")):
        sweep(lambda *_: {"name": file.name}, workspace)


def first_time(checkpoint: training.Checkpoint) -> bool:
    """Whether this run was never begun; a file counts the times."""
    file = checkpoint.path.with_suffix(".times")
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as counted:
        counted.write("x")
    return file.read_text() == "x"


def dies(c, seed, checkpoint):
    if first_time(checkpoint) and (c.grid, seed) in ((3, 1), (7, 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"grid": c.grid}


def test_a_worker_that_dies_costs_one_run_which_is_done_again(workspace, tmp_path):
    assert keys(sweep(dies, workspace)) == ALL
    times = sorted(len(file.read_text()) for file in tmp_path.rglob("*.times"))
    assert times == [1, 1, 1, 1, 2, 2]
    assert len(workspace.records("a-claim").read_text().splitlines()) == 6


def test_a_worker_that_takes_the_place_of_a_dead_one_is_set_up_as_it_was(workspace, tmp_path):
    sweep(dies, workspace)
    later = Workspace("smoke", out=str(tmp_path / "later"), cluster=HERE)
    test_each_worker_has_one_run_at_a_time_and_a_gpu_of_its_own(later)


def fails(c, seed, checkpoint):
    first = first_time(checkpoint)
    if (c.grid, seed) == (3, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if (c.grid, seed) == (3, 1):
        raise FloatingPointError("fit: the loss is nan\nby step 3")
    if (c.grid, seed) == (5, 0) and first:
        raise OSError("once")
    return {"grid": c.grid}


def test_runs_that_fail_twice_are_told_with_their_configuration_and_the_rest_is_done(workspace, tmp_path):
    with pytest.raises(RuntimeError, match=r"^cluster: 2 of 6 runs failed twice and are not recorded; the") as error:
        sweep(fails, workspace)
    lines = sorted(str(error.value).splitlines()[1:])
    assert lines == ["  a-claim, seed 0, {'class': 'Config', 'grid': 3}: ConnectionError: its worker died",
                     "  a-claim, seed 1, {'class': 'Config', 'grid': 3}: FloatingPointError: fit: the loss is nan"]
    assert isinstance(error.value.__cause__, FloatingPointError | ConnectionError)
    assert sorted(keys(load(workspace.records("a-claim")))) == ALL[2:]
    assert sorted(len(file.read_text()) for file in tmp_path.rglob("*.times")) == [1, 1, 1, 2, 2, 2]
    assert keys(sweep(lambda *_: {}, workspace)) == ALL   # only these two are left to do


def in_no_time(c, seed, checkpoint):
    first_time(checkpoint)
    if seed == 1:
        raise training.OutOfTime("fit: the time is up")
    return {"grid": c.grid}


def test_a_run_that_the_time_stops_is_no_failure_and_is_not_tried_again(tmp_path):
    workspace = Workspace("smoke", out=str(tmp_path), cluster=HERE, minutes=5)
    assert keys(sweep(in_no_time, workspace)) == ALL[::2]
    assert sorted(len(file.read_text()) for file in tmp_path.rglob("*.times")) == [1] * 6
    late = Workspace("smoke", out=str(tmp_path), cluster=HERE, minutes=1e-9)
    assert keys(sweep(lambda *_: {}, late)) == ALL[::2]   # no run begins
    assert keys(sweep(lambda *_: {}, Workspace("smoke", out=str(tmp_path), cluster=HERE))) == ALL


def test_one_process_names_the_run_that_failed(tmp_path):
    with pytest.raises(ZeroDivisionError) as error:
        sweep(lambda c, seed, checkpoint: {"ratio": 1 // seed}, Workspace("smoke", out=str(tmp_path)))
    assert error.value.__notes__ == ["in the run a-claim, seed 0, {'class': 'Config', 'grid': 3}"]


def sleeps(c, seed, checkpoint):
    first_time(checkpoint)
    Path(checkpoint.path.parent, str(os.getpid())).touch()
    if seed == 1:
        time.sleep(600)
    return {}


def test_who_stops_early_stops_the_workers_too(workspace, tmp_path, workers):
    jobs = [(Config(), seed, training.Checkpoint(tmp_path / f"{name}.pt")) for seed, name in enumerate("ab")]
    runs = cluster.dispatch(sleeps, jobs, HERE, str)
    assert next(runs) == {}
    wait_for(lambda: (tmp_path / "b.times").exists())
    before = set(workers.nthreads())
    runs.close()
    wait_for(lambda: len(workers.nthreads()) == 2 and set(workers.nthreads()) != before)
    gone = [path for path in tmp_path.iterdir() if path.name.isdigit() and not psutil.pid_exists(int(path.name))]
    assert len(gone) == 1
    assert keys(sweep(where, workspace, seeds=[0])) == [(3, 0), (5, 0), (7, 0)]   # and they are of use again


def test_a_worker_may_die_while_dask_still_looks_for_the_one_before(workspace, workers):
    """It gave a worker up that was just starting again."""
    before, begun = set(workers.nthreads()), time.monotonic()
    workers.run(os._exit, 1, on_error="ignore")
    wait_for(lambda: len(workers.nthreads()) == 2 and before.isdisjoint(workers.nthreads()))
    wait_for(lambda: time.monotonic() > begun + 3)   # past the time at which it would look
    assert keys(sweep(where, workspace)) == ALL


def test_workers_of_another_version_of_the_library_are_refused(workspace, monkeypatch):
    monkeypatch.setattr(cluster, "library", lambda: "another")
    with pytest.raises(RuntimeError, match=r"6 of 6 runs failed twice.*\n.*posenc_lib in .+ is not the version that"):
        sweep(where, workspace)


@pytest.mark.parametrize("spec", ["local", "local:0", "local:two", "ray", "tcp://host"])
def test_what_is_no_cluster_is_one_sentence(spec):
    with pytest.raises(ValueError, match=f"^cluster: '{spec}' is not a cluster; use local:N for N worker"):
        cluster.connect(spec)


def test_slurm_without_slurm_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match=r"^cluster: slurm was requested, but sbatch is not on PATH"):
        cluster.connect("slurm")


def test_slurm_leaves_ctrl_c_to_who_asked(monkeypatch):
    """The import of dask_jobqueue sets a handler of its own, which ends the process without a word, code 0."""
    for name in ("dask_jobqueue", "dask_jobqueue.runner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(FileNotFoundError):
        cluster.connect("slurm")
    assert signal.getsignal(signal.SIGINT) is before


SBATCH = """#!/bin/sh
echo "sbatch: error: invalid partition specified: {partition}" >&2
exit {code}
"""


@pytest.mark.parametrize("settings, code, message", [
    (None, 1, r"Slurm rejects such a job: sbatch: error: invalid partition"),
    ("jobs: 2", 0, r"KeyError: 'slurm'"),
    ("jobs: 2\nslurm: {cores: 1}", 0, "ValueError: You must specify how much cores and memory"),
    ("jobs: 2\nslurm: {cores: 1, memory: 1GB, time: 3}", 0, "ValueError: Got unexpected keyword argument 'time'"),
    ("jobs: [", 0, "ParserError"),
])
def test_settings_that_slurm_or_its_cluster_refuses_are_one_sentence(monkeypatch, tmp_path, settings, code, message):
    monkeypatch.setattr(cluster, "PROJECT", tmp_path)
    (tmp_path / "cluster.yml").write_text(settings or (ROOT / "cluster.yml").read_text())
    (tmp_path / "sbatch").write_text(SBATCH.format(partition="none", code=code))
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(
        ValueError, match=rf"^cluster: {tmp_path}/cluster.yml does not give valid jobs \(.*{message}.*\); its comments"
    ):
        cluster.connect("slurm")


# ------------------------------------------------------------------------------------------ as on Kubernetes

def commands() -> dict[str, list[str]]:
    """What the manifest's containers run (once .venv is there), by the container's name."""
    documents = yaml.safe_load_all((ROOT / "kubernetes.yml").read_text())
    containers = [one["spec"]["template"]["spec"]["containers"][0] for one in documents if "template" in one["spec"]]
    return {one["name"]: [*one["command"][:-1], *one["command"][-1].split("exec .venv/bin/")[-1].split()]
            for one in containers}


@pytest.fixture
def scheduler(tmp_path):
    """The manifest's scheduler and one worker, here: its processes, and its address."""
    started, expected = [], commands()

    def start(name, *more):
        command = expected[name][expected[name].index("dask") + 1:]
        command = [more[0] if word == "tcp://posenc-scheduler:8786" else word for word in command]
        started.append(subprocess.Popen([Path(sys.executable).with_name("dask"), *command, *more[1:]], cwd=tmp_path,
                                        env=environment(), stderr=subprocess.PIPE, text=True))
        return started[-1]

    first = start("scheduler", "", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
    address = next(line.split()[-1] for line in first.stderr if "Scheduler at:" in line)
    start("worker", address)
    yield first, address
    for process in started:
        process.terminate()
        process.communicate(timeout=120)
    cluster.close(address)


def one_by_one(c, seed, checkpoint):
    Path(checkpoint.path.parent.parent, f"run{c.grid}").touch()
    time.sleep(1)
    return {}


def test_a_scheduler_that_goes_away_leaves_what_was_done(scheduler, tmp_path, monkeypatch):
    process, address = scheduler
    monkeypatch.setattr(cluster, "TIMEOUT", 10)
    monkeypatch.setitem(dask.config.config["distributed"]["comm"]["timeouts"], "connect", "10s")
    workspace = Workspace("smoke", out=str(tmp_path), cluster=address)
    (tmp_path / "build").mkdir()
    assert keys(sweep(one_by_one, workspace, grids=(3,), seeds=(0,))) == [(3, 0)]
    monitor = subprocess.Popen(["sh", "-c", f"while [ ! -e {tmp_path}/build/run7 ]; do sleep 0.1; done; "
                                            f"kill -9 {process.pid}"])
    with pytest.raises(
        ConnectionError, match=rf"^cluster: {address} no longer responds \(.+\); existing records are kept"
    ):
        sweep(one_by_one, workspace, seeds=(0,))
    monitor.wait(60)
    assert keys(load(workspace.records("a-claim"))) == [(3, 0), (5, 0)]


def test_the_manifests_workers_are_left_to_their_runs():
    assert all(f'{{name: {name}, value: "{value}"}}' in (ROOT / "kubernetes.yml").read_text()
               for name, value in cluster.WORKER_ENVIRONMENT.items())


def test_the_manifests_job_is_a_command_of_this_book():
    command = [word if word != "/posenc/data" else str(ROOT) for word in commands()["book"]]
    assert command[0] == "./run_all.sh"
    check = [sys.executable, ROOT / "book" / "arguments.py", *command[1:]]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_no_scheduler_answers_is_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", 2)
    with pytest.raises(ConnectionError, match=r"^cluster: no Dask scheduler responds at tcp://127.0.0.1:9 \(.+\);"):
        cluster.connect("tcp://127.0.0.1:9")
