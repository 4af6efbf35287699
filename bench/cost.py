"""CPU seconds of the book, by page, or of the tests, by file.

    ./run_all.sh bench cost pages [--profile quick] [options of ./run_all.sh]
    ./run_all.sh bench cost tests [--top N] [options of pytest]

pages  runs the pages into an empty folder, then runs the same command again, which should find everything unchanged.
       Prints for each page the CPU seconds of its kernel and its dearest cells
tests  runs pytest.  Prints for each test file the CPU seconds of its tests, their subprocesses included; the `--top`
       dearest tests; and what fixtures that several tests share cost, each in a line of its own

CPU seconds are user and system time of all threads and subprocesses: on a busy machine they vary less than wall time.
They lack processes that nobody waits for, such as a browser's or those of a fork server; the line "the machine" has
these as well, and whatever else ran at the time (on Linux; nan elsewhere).  The first line is the machine's speed, a
float32 matrix product on one thread, in the same run.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE = "POSENC_COST"   # environment variable: where each process of pytest writes what it has spent


def machine_speed(side: int = 1024, rounds: int = 20) -> float:
    """GFLOP per CPU second of a float32 matrix product on one thread."""
    import torch
    torch.set_num_threads(1)
    a = torch.randn(side, side)
    a @ a
    start = time.process_time()
    for _ in range(rounds):
        a @ a
    return 2e-9 * side ** 3 * rounds / (time.process_time() - start)


def machine_seconds() -> float:
    """CPU seconds that all programs have spent since the machine started."""
    try:
        user, nice, system = Path("/proc/stat").read_text(encoding="utf-8").split()[1:4]
    except FileNotFoundError:
        return float("nan")
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def run(*command) -> tuple[float, float]:
    """Run a command.  -> its CPU seconds, subprocesses included, and its wall seconds"""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    code = subprocess.run([str(part) for part in command], cwd=ROOT).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        print(f"exit code {code}: {' '.join(map(str, command))}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, time.monotonic() - start


def pages(options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as out:
        command = [ROOT / "run_all.sh", "--out", out, *options]
        cpu, wall = run(*command)
        cpu_again, wall_again = run(*command)
        executed = sorted((Path(out) / "build" / "notebooks").glob("[0-9]*.ipynb"))
        total = 0.0
        print(f"\n{'page':28s} {'CPU s':>7s}   dearest cells, CPU s")
        for path in executed:
            spent = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["spent"]
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            by_cell = [later - earlier for earlier, later in zip([0.0, *spent], spent, strict=False)]
            total += spent[-1]
            dearest = sorted(range(len(spent)), key=by_cell.__getitem__, reverse=True)[:4]
            first_lines = [f"{by_cell[n]:.0f} {''.join(cells[n]['source']).splitlines()[0][:40]}" for n in dearest]
            print(f"{path.stem:28s} {spent[-1]:7.1f}   {' | '.join(first_lines)}")
    print(f"{'imports, set-up and Sphinx':28s} {cpu - total:7.1f}")
    print(f"{'in all':28s} {cpu:7.1f}   {wall:.0f} s of wall time")
    print(f"{'again, unchanged':28s} {cpu_again:7.1f}   {wall_again:.1f} s of wall time")


def tests(top: int, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cost"
        os.environ |= {FILE: str(file), "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
        before = machine_seconds()
        cpu, wall = run(sys.executable, "-m", "pytest", "-p", "cost", *options)
        spent = Counter()
        for part in Path(folder).glob("cost.*"):
            spent.update(json.loads(part.read_text(encoding="utf-8")))
    by_file = Counter()
    for name, seconds in spent.items():
        by_file[name.partition("::")[0]] += seconds
    print(f"\n{'tests':44s} {'CPU s':>7s}")
    for name, seconds in by_file.most_common():
        print(f"{name:44s} {seconds:7.1f}")
    print(f"{'collecting, imports':44s} {cpu - sum(spent.values()):7.1f}")
    print(f"{'in all':44s} {cpu:7.1f}   {wall:.0f} s of wall time")
    print(f"{'the machine':44s} {machine_seconds() - before:7.1f}\n\nThe {top} dearest tests:")
    for name, seconds in spent.most_common(top):
        print(f"{seconds:7.1f} {name}")


class _Spent:
    """The plugin of pytest that `tests` loads: CPU seconds by test, shared fixtures apart."""

    def __init__(self):
        self.by_test, self.shared = Counter(), 0.0

    @staticmethod
    def now() -> float:
        return sum(os.times()[:4])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        start, self.shared = self.now(), 0.0
        yield
        self.by_test[item.nodeid] += self.now() - start - self.shared

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        start, inner = self.now(), self.shared
        yield
        if fixturedef.scope != "function":
            seconds = self.now() - start - (self.shared - inner)   # without the shared fixtures that it uses
            self.by_test[f"fixture {fixturedef.argname}"] += seconds
            self.shared += seconds

    def pytest_sessionfinish(self):
        Path(f"{os.environ[FILE]}.{os.getpid()}").write_text(json.dumps(self.by_test), encoding="utf-8")


def pytest_configure(config) -> None:
    config.pluginmanager.register(_Spent())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pages", "tests"))
    parser.add_argument("--top", type=int, default=20, help="number of tests to list")
    args, options = parser.parse_known_args()
    print(f"this machine: {machine_speed():.0f} GFLOP per CPU second, float32, one thread", flush=True)
    if args.what == "pages":
        pages(options)
    else:
        tests(args.top, options)


if __name__ == "__main__":
    main()
