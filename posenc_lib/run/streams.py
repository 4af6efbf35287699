"""Several runs side by side on one GPU, each in its own thread and on its own CUDA stream.

Only one thread at a time executes Python: a run yields its turn only while the GPU replays its captured steps.  So
whatever else it does (building a network, evaluating it, filling a cache) happens as if it ran alone.
"""
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext

import torch

_this_thread = threading.local()   # .group: the group of runs it belongs to


class _Group:
    def __init__(self):
        self.turn, self.stopped = threading.Lock(), threading.Event()


def run_side_by_side(work: Callable, jobs: Sequence[tuple], n: int) -> Iterator:
    """Execute work(*job) for every job, `n` at a time; yields results as they complete.

    After the first error no job starts, and running jobs stop at their next turn; then the error is raised.  Their
    checkpoints hold every completed epoch.
    """
    group = _Group()

    def run(job: tuple):
        with torch.cuda.stream(torch.cuda.Stream()) if torch.cuda.is_available() else nullcontext():
            _this_thread.group = group
            with group.turn:
                return work(*job)

    with ThreadPoolExecutor(n) as pool:
        waiting = [pool.submit(run, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:   # a run's error, an interrupt, or a caller that stops
            group.stopped.set()
            for future in waiting:
                future.cancel()
            raise


@contextmanager
def yield_turn() -> Iterator[None]:
    """Let the other runs execute Python while the block keeps the GPU busy.  No effect for a run on its own."""
    group = getattr(_this_thread, "group", None)
    if group is None:
        yield
        return
    _wait()   # others may read what this run has computed
    group.turn.release()
    try:
        yield
        _wait()
    finally:
        group.turn.acquire()
        if group.stopped.is_set():
            raise InterruptedError("this run was stopped by the failure of another; it resumes from its checkpoint")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.current_stream().synchronize()
