"""Many runs side by side: worker processes here, on Slurm, or wherever a Dask scheduler answers.

A worker has one run at a time, and one GPU where there are any.  Nothing but results comes back: who asked writes them.
"""
import copyreg
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import _lru_cache_wrapper, cache, lru_cache
from pathlib import Path

import cloudpickle
import dask
import torch
import yaml
from dask.system import CPU_COUNT
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, wait
from distributed.client import CancelledError
from distributed.security import Security

from posenc_lib.base import progress
from posenc_lib.base.checks import one_line
from posenc_lib.run.config import PROJECT

FORMS = ("local:N for N worker processes here, tcp://HOST:PORT (or tls://) for a Dask scheduler that runs, or slurm "
         "for jobs as cluster.yml has them")
SETTINGS = "cluster.yml"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
UNDISTURBED = {  # for workers that Slurm or Kubernetes starts; `_here` tells what for
    "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "33554432",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
TIMEOUT = 60                       # seconds for a scheduler to answer, on a busy machine too
ALONE = {"POSENC_HEADLESS": "1"}   # nobody sees a worker's progress bars
_clients: dict[str, Client] = {}


def _sent(wrapper: _lru_cache_wrapper):
    """A function with a cache, to a worker: by its name if it is a module's, else by value, the cache empty."""
    if wrapper.__module__ != "__main__":
        return wrapper.__qualname__
    return _cached, (wrapper.__wrapped__, wrapper.cache_parameters())


def _cached(function: Callable, parameters: dict) -> Callable:
    return lru_cache(**parameters)(function)


copyreg.pickle(_lru_cache_wrapper, _sent)


def dispatch(work: Callable, jobs: Sequence[tuple], spec: str, named: Callable[..., str]) -> Iterator:
    """work(*job) for every job, on a worker each; the results as they come.

    spec   where: see FORMS
    named  (*job) -> what a job is called when it failed
    A job that raises, or whose worker dies, is tried once more after the others.  Those that fail twice are told at the
    end, in a RuntimeError raised from the last one's own error; all others are done then.  A caller that stops before
    the end takes the workers that are still at work down with it; a nanny, or whoever watches them, starts them again.
    """
    try:
        sent, blobs = cloudpickle.dumps(work), [cloudpickle.dumps(job) for job in jobs]
    except Exception as error:  # whatever an object's own pickling raises
        raise ValueError(
            f"cluster: what runs here cannot be sent to a worker ({one_line(error)}); let it make by itself "
            "what cannot be sent, such as open files, or leave the cluster away"
        ) from error
    client = connect(spec)
    waiting, tries, failed = deque(range(len(jobs))), Counter(), {}
    held: dict[str, Future] = {}                  # worker -> `work`, sent to it once
    at_work: dict[str, tuple[int, Future]] = {}   # worker -> what it does
    try:
        while waiting or at_work:
            workers = _workers(client, spec)
            for worker in [w for w in workers if w not in at_work][:len(waiting)]:
                if worker not in held:
                    held[worker] = _submit(client, worker, _received, sent, library())
                n = waiting.popleft()
                at_work[worker] = n, _submit(client, worker, _called, held[worker], blobs[n])
            with suppress(TimeoutError, CancelledError), client.as_current():
                wait([future for _, future in at_work.values()], timeout=1, return_when="FIRST_COMPLETED")
            for worker in [w for w, (_, future) in at_work.items() if future.done() or w not in workers]:
                n, future = at_work.pop(worker)
                if future.status == "finished":
                    yield future.result()
                    continue
                error = future.exception() if future.status == "error" else ConnectionError("its worker died")
                held.pop(worker, None)
                tries[n] += 1
                if tries[n] == 1:
                    waiting.append(n)
                else:
                    failed[n] = error
    finally:
        with suppress(Exception):   # of a cluster that is gone
            client.cancel([*held.values(), *(future for _, future in at_work.values())], force=True)
            if at_work:   # whose threads cannot be asked to stop
                client.run(os._exit, 1, workers=list(at_work), on_error="ignore")
    if failed:
        told = "\n".join(f"  {named(*jobs[n])}: {one_line(error)}" for n, error in failed.items())
        raise RuntimeError(f"cluster: {len(failed)} of {len(jobs)} runs failed twice and are not on file; the others "
                           f"are:\n{told}") from next(reversed(failed.values()))


def _submit(client: Client, worker: str, function: Callable, *args) -> Future:
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):   # a page's data go along
        return client.submit(function, *args, workers=[worker], pure=False)


def _received(sent: bytes, version: str) -> Callable:
    if library() != version:
        raise ValueError(f"cluster: posenc_lib in {PROJECT} is another version than the one that sends it runs; bring "
                         "both to the same commit, and start the workers again")
    return cloudpickle.loads(sent)


def _called(work: Callable, job: bytes):
    return work(*cloudpickle.loads(job))


@cache
def library() -> str:
    """Digest of the library's source, as this process found it."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _workers(client: Client, spec: str) -> list[str]:
    """Addresses of the workers that there are now; waits for the first."""
    try:
        if not (workers := client.nthreads()):
            progress.log(f"cluster: {spec} has no worker yet; waiting")
            client.wait_for_workers(1)
            workers = client.nthreads()
    except (OSError, RuntimeError) as error:
        raise ConnectionError(f"cluster: {spec} no longer answers ({one_line(error)}); what is on file stays, the same "
                              "again goes on from there") from None
    return list(workers)


def connect(spec: str) -> Client:
    """The client of a cluster, which is started if it is one to be started; one a process.

    ValueError for what is none of FORMS, or what Slurm refuses; ConnectionError where nothing answers;
    FileNotFoundError without Slurm.
    """
    client = _clients.get(spec)
    if client is None or client.status != "running":
        _clients[spec] = client = _connected(spec)
    return client


def _connected(spec: str) -> Client:
    if match := re.fullmatch(r"local:([1-9]\d*)", spec):
        cluster = _here(int(match[1]))
    elif spec == "slurm":
        cluster = _slurm()
    elif re.fullmatch(r"(tcp|tls)://.+:\d+", spec):
        try:
            return Client(spec, timeout=TIMEOUT, set_as_default=False)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(f"cluster: no Dask scheduler answers at {spec} ({one_line(error)}); start one there "
                                  "with `dask scheduler`, and workers with `dask worker`") from None
    else:
        raise ValueError(f"cluster: {spec!r} was asked for; give {FORMS}")
    return Client(cluster, set_as_default=False)


def _here(n: int) -> SpecCluster:
    """N processes that share this machine's cores and GPUs; they end with this process, however it ends."""
    security = Security.temporary()   # other users of the machine could send runs to an open port
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, CPU_COUNT // n)
    common = {"security": security, "protocol": "tls", "host": "127.0.0.1"}
    workers = {i: {"cls": Nanny, "options": {**common, "nthreads": 1, "memory_limit": 0, "env": {**ALONE, **gpu},
                                             "silence_logs": logging.CRITICAL}}
               for i, gpu in enumerate(_gpus(n))}
    scheduler = {"cls": Scheduler, "options": {**common, "dashboard_address": "127.0.0.1:0"}}
    # Dask looks for a lost worker's name this long after, and takes one that is just starting for one that never came
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1000 days"})
    # without Dask's own MALLOC_TRIM_THRESHOLD_, by which memory goes back at every step (1.6 times as long), and its
    # profile, which asks every 10 ms where a worker is (1.1 times)
    with dask.config.set({"distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS, threads),
                          "distributed.worker.profile.enabled": False}):
        return SpecCluster(workers, scheduler, security=security, silence_logs=logging.CRITICAL)


def _gpus(n: int) -> list[dict[str, str]]:
    """The variable that gives each of N workers one of this process's GPUs, in turn; nothing where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(gpu) for gpu in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(n)]


def _slurm() -> SpecCluster:
    """As many jobs as cluster.yml says, each with one worker; a job that ends before the runs do is replaced."""
    interrupted = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster
    signal.signal(signal.SIGINT, interrupted)   # the import had made Ctrl-C a silent exit of code 0

    if not shutil.which("sbatch"):
        raise FileNotFoundError("cluster: slurm was asked for, and there is no sbatch on PATH; start this on a login "
                                "node of a Slurm cluster")
    try:
        settings = yaml.safe_load((PROJECT / SETTINGS).read_text())
        jobs, slurm = settings["jobs"], settings["slurm"]
        shared = PROJECT / "build" / "slurm"
        shared.mkdir(parents=True, exist_ok=True)
        variables = {**ALONE, **UNDISTURBED, **dict.fromkeys(THREADS, "${SLURM_CPUS_PER_TASK:-1}")}
        slurm = {"processes": 1, "log_directory": str(shared), "shared_temp_directory": str(shared),
                 "scheduler_options": {"dashboard_address": ":0"}, **slurm,
                 "job_script_prologue": [f"export {name}={value}" for name, value in variables.items()]
                 + slurm.get("job_script_prologue", []),
                 "worker_extra_args": ["--nthreads", "1", *slurm.get("worker_extra_args", [])]}
        cluster = SLURMCluster(security=Security.temporary(), **slurm)
        asked = subprocess.run(["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True, text=True)
        if asked.returncode:
            raise ValueError(f"Slurm refuses such a job: {asked.stderr.strip().splitlines()[-1]}")
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cluster: no jobs by {PROJECT / SETTINGS} ({one_line(error)}); its comments tell what it "
                         "needs") from None
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


@contextmanager
def served(spec: str) -> Iterator[dict[str, str]]:
    """A cluster for other processes of this user: the environment variables by which they find it.

    It ends with the block, if it was started for it.
    """
    client = connect(spec)
    try:
        address, tls = client.scheduler.address, client.security.get_tls_config_for_role("client")
        names = {"ca_file": "CA_FILE", "cert": "CLIENT__CERT", "key": "CLIENT__KEY"}
        yield {"POSENC_CLUSTER": address,
               **{f"DASK_DISTRIBUTED__COMM__TLS__{name}": tls[key] for key, name in names.items() if tls.get(key)}}
    finally:
        close(spec)


def close(spec: str) -> None:
    """Let go of a cluster; one that was started here ends, with its workers and its jobs."""
    client = _clients.pop(spec, None)
    if client is not None:
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()
