"""Forks the pages' kernels from one process that has imported what the pages import, which takes longer than some pages
run.  Started by kernels.py; its arguments are the modules, each request and each answer is a line of JSON.

    {"start": [arguments of ipykernel], "env": {...}, "cwd": ...}  ->  its process id
    {"poll": process id}                                           ->  its exit code, or null while it runs

When standard input ends, because whoever started it is done or dead, all kernels are killed.
"""
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import warnings
from typing import TextIO


def preload(modules: list[str]) -> None:
    gc.disable()   # imports only add objects; collecting among them takes a sixth of the time
    for name in modules:
        with contextlib.suppress(Exception):   # the page that imports it reports it
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


def start(request: dict, answers: TextIO) -> int:
    """Fork a kernel; -> its process id.  Never returns in the kernel's process."""
    parent = f"--IPKernelApp.parent_handle={os.getpid()}"   # without this process, the kernel ends itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # of a fork beside threads: those of BLAS, which are prepared for it
        pid = os.fork()
    if pid:
        return pid
    answers.close()
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance(argv=[*request["start"], parent])
    sys.exit()


def exit_code(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def main(modules: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)        # what a kernel prints past Jupyter must not end up among the answers
    del sys.path[0]      # this file's folder
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")   # as every kernel has it
    preload(modules)
    ended: dict[int, int] = {}
    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer = start(request, answers)
            running.add(answer)
        else:
            pid = request["poll"]
            if pid in running and (code := exit_code(pid)) is not None:
                running.remove(pid)
                ended[pid] = code
            answer = ended.get(pid)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in running:
        for kill in (os.killpg, os.kill):   # a kernel just forked leads no group yet
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
