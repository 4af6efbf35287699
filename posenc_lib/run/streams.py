"""Several runs side by side on one GPU: each in a thread and on a CUDA stream of its own.

One thread at a time runs Python: a lane gives its turn away only while the GPU replays its captured steps.  So whatever
a run does otherwise (building a network, evaluating it, filling a cache) happens as if it were alone.
"""
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext

import torch

_this_thread = threading.local()   # .lanes: what it belongs to


class _Lanes:
    def __init__(self):
        self.turn, self.stopped = threading.Lock(), threading.Event()


def run_side_by_side(work: Callable, jobs: Sequence[tuple], n: int) -> Iterator:
    """work(*job) of every job, `n` at a time; the results as they come.

    After the first error no job begins, and the lanes that are running stop when it is their turn; then it is raised.
    Their checkpoints have every epoch that came to its end.
    """
    lanes = _Lanes()

    def lane(job: tuple):
        with torch.cuda.stream(torch.cuda.Stream()) if torch.cuda.is_available() else nullcontext():
            _this_thread.lanes = lanes
            with lanes.turn:
                return work(*job)

    with ThreadPoolExecutor(n) as pool:
        waiting = [pool.submit(lane, job) for job in jobs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:   # a run's error, an interrupt, or a caller who stops
            lanes.stopped.set()
            for future in waiting:
                future.cancel()
            raise


@contextmanager
def yield_turn() -> Iterator[None]:
    """Let the other lanes run Python while the block keeps the GPU busy.  Without lanes, just the block."""
    lanes = getattr(_this_thread, "lanes", None)
    if lanes is None:
        yield
        return
    _wait()   # what this lane has computed, others may read
    lanes.turn.release()
    try:
        yield
        _wait()
    finally:
        lanes.turn.acquire()
        if lanes.stopped.is_set():
            raise InterruptedError("this run was stopped with the runs beside it; it goes on from its checkpoint")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.current_stream().synchronize()
