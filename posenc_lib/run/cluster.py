"""Runs in parallel worker processes: on this machine, on Slurm, or on any Dask cluster.

A worker executes one run at a time, on one GPU if there are any.  It returns results only; the caller writes them.
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
from posenc_lib.base.checks import one_line, optional_packages
from posenc_lib.run.config import PROJECT

FORMS = ("local:N for N worker processes on this machine, tcp://HOST:PORT (or tls://) for a running Dask scheduler, or "
         "slurm for jobs as configured in cluster.yml")
SETTINGS = "cluster.yml"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WORKER_ENVIRONMENT = {  # of workers that Slurm or Kubernetes starts; see `_local` for the reasons
    "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "33554432",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
TIMEOUT = 60                       # seconds to wait for a scheduler, generous for busy machines
HEADLESS = {"POSENC_HEADLESS": "1"}   # workers show no progress bars
_clients: dict[str, Client] = {}


def _reduce_cached(wrapper: _lru_cache_wrapper):
    """Pickle a cached function by name if it belongs to a module, else by value with an empty cache."""
    if wrapper.__module__ != "__main__":
        return wrapper.__qualname__
    return _rebuild_cached, (wrapper.__wrapped__, wrapper.cache_parameters())


def _rebuild_cached(function: Callable, parameters: dict) -> Callable:
    return lru_cache(**parameters)(function)


copyreg.pickle(_lru_cache_wrapper, _reduce_cached)


def dispatch(work: Callable, jobs: Sequence[tuple], spec: str, describe: Callable[..., str]) -> Iterator:
    """Execute work(*job) for every job on the workers of a cluster; yields results as they complete.

    spec      the cluster, see FORMS
    describe  (*job) -> description of a job for error messages
    A job that raises, or whose worker dies, is retried once after the others.  Jobs that fail twice are reported at the
    end, in a RuntimeError raised from the last job's error; all others are complete by then.  If the caller stops
    early, busy workers are killed; their nanny, or whatever supervises them, restarts them.
    """
    try:
        sent, blobs = cloudpickle.dumps(work), [cloudpickle.dumps(job) for job in jobs]
    except Exception as error:  # pickling may raise anything
        raise ValueError(
            f"cluster: the work cannot be sent to a worker ({one_line(error)}); create what cannot be pickled, "
            "such as open files, inside the run, or run without a cluster"
        ) from error
    client = connect(spec)
    waiting = deque(range(len(jobs)))
    tries: Counter[int] = Counter()
    failed: dict[int, BaseException] = {}
    functions: dict[str, Future] = {}             # worker -> `work`, sent once
    running: dict[str, tuple[int, Future]] = {}   # worker -> its job
    try:
        while waiting or running:
            workers = _workers(client, spec)
            for worker in [w for w in workers if w not in running][:len(waiting)]:
                if worker not in functions:
                    functions[worker] = _submit(client, worker, _received, sent, library())
                n = waiting.popleft()
                running[worker] = n, _submit(client, worker, _called, functions[worker], blobs[n])
            with suppress(TimeoutError, CancelledError), client.as_current():
                wait([future for _, future in running.values()], timeout=1, return_when="FIRST_COMPLETED")
            for worker in [w for w, (_, future) in running.items() if future.done() or w not in workers]:
                n, future = running.pop(worker)
                if future.status == "finished":
                    yield future.result()
                    continue
                reason = future.exception() if future.status == "error" else ConnectionError("its worker died")
                functions.pop(worker, None)
                tries[n] += 1
                if tries[n] == 1:
                    waiting.append(n)
                else:
                    failed[n] = reason
    finally:
        with suppress(Exception):   # the cluster may be gone
            client.cancel([*functions.values(), *(future for _, future in running.values())], force=True)
            if running:   # threads cannot be interrupted
                client.run(os._exit, 1, workers=list(running), on_error="ignore")
    if failed:
        report = "\n".join(f"  {describe(*jobs[n])}: {one_line(reason)}" for n, reason in failed.items())
        raise RuntimeError(f"cluster: {len(failed)} of {len(jobs)} runs failed twice and are not recorded; the others "
                           f"are:\n{report}") from next(reversed(failed.values()))


def _submit(client: Client, worker: str, function: Callable, *args) -> Future:
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):   # a job carries the page's data
        return client.submit(function, *args, workers=[worker], pure=False)


def _received(sent: bytes, version: str) -> Callable:
    if library() != version:
        raise ValueError(
            f"cluster: the workers' posenc_lib in {PROJECT} is not the version that sends them runs; check out "
            "the same commit on both sides and restart the workers"
        )
    return cloudpickle.loads(sent)


def _called(work: Callable, job: bytes):
    return work(*cloudpickle.loads(job))


@cache
def library() -> str:
    """Digest of the library's source code, as loaded by this process."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _workers(client: Client, spec: str) -> list[str]:
    """Addresses of the current workers; waits for the first."""
    try:
        if not (workers := client.nthreads()):
            progress.log(f"cluster: {spec} has no worker yet; waiting")
            client.wait_for_workers(1)
            workers = client.nthreads()
    except (OSError, RuntimeError) as error:
        raise ConnectionError(
            f"cluster: {spec} no longer responds ({one_line(error)}); existing records are kept, run the "
            "same command again to continue"
        ) from None
    return list(workers)


def connect(spec: str) -> Client:
    """The client of a cluster, one per process; starts local and Slurm clusters.

    ValueError for a spec that is none of FORMS, or jobs that Slurm rejects; ConnectionError if no scheduler responds;
    FileNotFoundError without Slurm.
    """
    client = _clients.get(spec)
    if client is None or client.status != "running":
        _clients[spec] = client = _connected(spec)
    return client


def _connected(spec: str) -> Client:
    if match := re.fullmatch(r"local:([1-9]\d*)", spec):
        cluster = _local(int(match[1]))
    elif spec == "slurm":
        cluster = _slurm()
    elif re.fullmatch(r"(tcp|tls)://.+:\d+", spec):
        try:
            return Client(spec, timeout=TIMEOUT, set_as_default=False)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(f"cluster: no Dask scheduler responds at {spec} ({one_line(error)}); start one with "
                                  "`dask scheduler`, and workers with `dask worker`") from None
    else:
        raise ValueError(f"cluster: {spec!r} is not a cluster; use {FORMS}")
    return Client(cluster, set_as_default=False)


def _local(n: int) -> SpecCluster:
    """N processes that share this machine's cores and GPUs; they end with this process, however it ends."""
    security = Security.temporary()   # other users of the machine could send code to an open port
    threads = os.environ.get("OMP_NUM_THREADS") or max(1, CPU_COUNT // n)
    common = {"security": security, "protocol": "tls", "host": "127.0.0.1"}
    workers = {i: {"cls": Nanny, "options": {**common, "nthreads": 1, "memory_limit": 0, "env": {**HEADLESS, **gpu},
                                             "silence_logs": logging.CRITICAL}}
               for i, gpu in enumerate(_gpus(n))}
    scheduler = {"cls": Scheduler, "options": {**common, "dashboard_address": "127.0.0.1:0"}}
    dask.config.set({   # for good: a worker that takes the place of a dead one reads it too
        # After this delay Dask looks for a lost worker's name and mistakes one that is starting for one that never came
        "distributed.deploy.lost-worker-timeout": "1000 days",
        # Without Dask's MALLOC_TRIM_THRESHOLD_, which returns memory to the system in every step (1.6 times slower),
        # and its profiler, which samples workers every 10 ms (1.1 times slower)
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS, threads),
        "distributed.worker.profile.enabled": False})
    return SpecCluster(workers, scheduler, security=security, silence_logs=logging.CRITICAL)


def _gpus(n: int) -> list[dict[str, str]]:
    """Environment of each of N workers that assigns it one of this process's GPUs, in turn; empty without GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(gpu) for gpu in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(n)]


def _slurm() -> SpecCluster:
    """Slurm jobs as configured in cluster.yml, one worker each; a job that ends early is replaced."""
    interrupted = signal.getsignal(signal.SIGINT)
    with optional_packages("cluster", "cluster: slurm"):
        from dask_jobqueue import SLURMCluster
    signal.signal(signal.SIGINT, interrupted)   # importing dask_jobqueue makes Ctrl-C a silent exit with code 0

    if not shutil.which("sbatch"):
        raise FileNotFoundError(
            "cluster: slurm was requested, but sbatch is not on PATH; run this on a login node of a Slurm cluster"
        )
    try:
        settings = yaml.safe_load((PROJECT / SETTINGS).read_text(encoding="utf-8"))
        jobs, slurm = settings["jobs"], settings["slurm"]
        shared = PROJECT / "build" / "slurm"
        shared.mkdir(parents=True, exist_ok=True)
        variables = {**HEADLESS, **WORKER_ENVIRONMENT, **dict.fromkeys(THREADS, "${SLURM_CPUS_PER_TASK:-1}")}
        slurm = {"processes": 1, "log_directory": str(shared), "shared_temp_directory": str(shared),
                 "scheduler_options": {"dashboard_address": ":0"}, **slurm,
                 "job_script_prologue": [f"export {name}={value}" for name, value in variables.items()]
                 + slurm.get("job_script_prologue", []),
                 "worker_extra_args": ["--nthreads", "1", *slurm.get("worker_extra_args", [])]}
        cluster = SLURMCluster(security=Security.temporary(), **slurm)
        check = subprocess.run(["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True,
                               encoding="utf-8", errors="replace")
        if check.returncode:
            raise ValueError(f"Slurm rejects such a job: {check.stderr.strip().splitlines()[-1]}")
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"cluster: {PROJECT / SETTINGS} does not give valid jobs ({one_line(error)}); its comments say what it "
            "needs"
        ) from None
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


@contextmanager
def served(spec: str) -> Iterator[dict[str, str]]:
    """Share a cluster with other processes of this user: yields the environment variables by which they connect.

    A cluster that was started here ends with the block.
    """
    client = connect(spec)
    try:
        assert client.scheduler and client.scheduler.address   # of a connected client
        address, tls = client.scheduler.address, client.security.get_tls_config_for_role("client")
        names = {"ca_file": "CA_FILE", "cert": "CLIENT__CERT", "key": "CLIENT__KEY"}
        yield {"POSENC_CLUSTER": address,
               **{f"DASK_DISTRIBUTED__COMM__TLS__{name}": tls[key] for key, name in names.items() if tls.get(key)}}
    finally:
        close(spec)


def close(spec: str) -> None:
    """Disconnect from a cluster; one that was started here ends, with its workers and jobs."""
    client = _clients.pop(spec, None)
    if client is not None:
        cluster = client.cluster
        client.close()
        if cluster is not None:
            cluster.close()
