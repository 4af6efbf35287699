"""Kills in the midst of runs that train, losses that are no numbers: nothing is lost, doubled or torn.

The other faults are in test_faults_disk.py (a disk that is full), test_faults_files.py (damage),
test_faults_downloads.py and test_faults_interrupts.py.
"""
import hashlib
import io
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from posenc_lib.base import files
from posenc_lib.data import registry
from posenc_lib.run import records as run_records
from posenc_lib.run import training
from posenc_lib.run.config import Recipe, Workspace, digest

# Processes come from a server that has imported everything: Python and torch take seconds to start.  The server never
# computes, for a fork of a process whose OpenMP threads have run hangs.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["lightning.fabric", "posenc_lib.data.registry", "posenc_lib.run.records",
                               "posenc_lib.run.training", "sklearn.datasets", "sklearn.model_selection", "pytest",
                               "nbformat", "psutil"])
SEEDS = range(4)
RECIPE = Recipe(epochs=3, epoch_steps=10, batch_size=16, learning_rate=0.01)


@dataclass(frozen=True)
class Config:
    width: int
    recipe: Recipe = RECIPE


CONFIGS = [Config(width) for width in (4, 8, 12)]
RUNS = [(digest(config), seed) for config in CONFIGS for seed in SEEDS]


@dataclass(frozen=True)
class Sweep:
    """A dozen small trainings, as a page does them; `pause` is how many seconds a step takes at least.

    The file `steps` has a line for every training that came to its end: how many steps it took itself.
    """
    out: Path
    pause: float = 0.0
    broken: int | None = None   # the width at which the loss is not a number

    @property
    def workspace(self) -> Workspace:
        return Workspace("smoke", out=str(self.out))

    @property
    def records(self) -> Path:
        return self.workspace.records("sweep")

    @property
    def checkpoints(self) -> Path:
        return self.workspace.checkpoint(CONFIGS[0], 0).parent

    def run(self, config: Config, seed: int, checkpoint: Path) -> dict:
        steps = []
        digits = registry.load("digits", "", size=8).train.take(slice(0, 80))
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, config.width, 3), nn.BatchNorm2d(config.width), nn.ReLU(), nn.Dropout(0.2),
                            nn.Flatten(), nn.Linear(config.width * 36, 300), nn.Linear(300, 10))

        def loss(net, images, labels, _):
            time.sleep(self.pause)
            steps.append(1)
            return cross_entropy(net(images), labels) * (float("nan") if config.width == self.broken else 1)

        history = training.fit(net, digits, loss, config.recipe, seed=seed, checkpoint=checkpoint)
        with open(self.out / "steps", "a") as file:
            file.write(f"{len(steps)}\n")
        weights = b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())
        return {"loss": [row["loss"] for row in history], "weights": hashlib.sha256(weights).hexdigest()}

    def __call__(self, begun=None, die: Callable[[], None] = lambda: None) -> None:
        torch.set_num_threads(1)
        die()
        if begun:
            begun.set()
        run_records.run_or_load("sweep", CONFIGS, self.run, seeds=SEEDS, workspace=self.workspace)

    def results(self) -> dict:
        """What is on file, line by line: one for every run, or this fails."""
        lines = [json.loads(line) for line in self.records.read_text().splitlines()]
        found = {(line["digest"], line["seed"]): line["results"] for line in lines}
        assert Counter((line["digest"], line["seed"]) for line in lines) == Counter(RUNS)
        return found

    def files(self) -> dict[str, tuple]:
        """Every file that it writes, with what changes when it does."""
        found = {}
        for folder in (self.records.parent, self.checkpoints):
            for path in folder.glob("*"):
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue
                found[path.name] = about.st_ino, about.st_size, about.st_mtime_ns
        return found


def child(function: Callable, *args) -> multiprocessing.Process:
    process = SERVER.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def in_child(function: Callable, *args) -> None:
    process = child(function, *args)
    process.join(120)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict:
    """The results of the sweep when nothing happens to it."""
    sweep = Sweep(tmp_path_factory.mktemp("whole"))
    in_child(sweep)
    return sweep.results()


def after_seconds(dice: random.Random, sweep: Sweep, process: multiprocessing.Process) -> None:
    time.sleep(dice.uniform(0, 0.25))


def at_a_change(dice: random.Random, sweep: Sweep, process: multiprocessing.Process) -> None:
    """Until one of its files has changed for the n-th time, or it has ended."""
    for _ in range(dice.randint(1, 5)):
        before, end = sweep.files(), time.monotonic() + 20
        while sweep.files() == before and process.is_alive() and time.monotonic() < end:
            time.sleep(0.0002)


def kill_in(call: str, n: int) -> None:
    """From now on the n-th os.<call> does nothing but end this process."""
    done, real = [], getattr(os, call)

    def called(*args, **options):
        done.append(call)
        if len(done) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    setattr(os, call, called)


@pytest.mark.slow
def test_thirty_kills_lose_double_and_tear_nothing(tmp_path, uninterrupted):
    """At random times, at the sight of a file that changes, and between writing a file and its being in place."""
    dice, sweep, codes, left = random.Random(0), Sweep(tmp_path, pause=0.01), [], []
    for attempt in range(30):
        begun, kill = SERVER.Event(), (after_seconds, at_a_change, None)[attempt % 3]
        inside = partial(kill_in, dice.choice(["fsync", "replace", "unlink"]), dice.randint(1, 4))
        process = child(*(sweep, begun) if kill else (sweep, begun, inside))
        assert begun.wait(60)
        if kill:
            kill(dice, sweep, process)
            process.kill()
        process.join(60)
        codes.append(process.exitcode)
        left.append({path.suffix for path in sweep.checkpoints.glob("*")})
    steps = [int(line) for line in (tmp_path / "steps").read_text().splitlines()]
    in_child(Sweep(tmp_path))

    assert codes.count(-signal.SIGKILL) >= 25
    assert sum(n < RECIPE.epochs * RECIPE.epoch_steps for n in steps) >= 5, "hardly a run went on from its checkpoint"
    assert any(".partial" in suffixes for suffixes in left), "no kill while a checkpoint was written"
    assert sweep.results() == uninterrupted   # each run once, bit by bit
    assert not list(sweep.checkpoints.glob("*"))


# ------------------------------------------------------------------------------------------ two at once

def save(path: Path, writer: int, halfway=None, other=None) -> None:
    """A checkpoint by this writer, longer for a higher number; it may wait in the midst of the file for the other's."""
    class Interrupted(io.FileIO):
        def write(self, content):
            done = super().write(content[:len(content) // 2])
            halfway.set()
            assert other.wait(60)
            return done + super().write(content[done:])

    if halfway:
        files.open = Interrupted   # in front of the builtin
    files.save_atomically({"writer": writer, "weights": torch.full((20_000 * writer,), writer)}, path)


@pytest.mark.parametrize("first, second", [(1, 2), (2, 1)])
def test_two_processes_that_write_one_checkpoint_leave_one_of_both(tmp_path, first, second):
    path, halfway, other = tmp_path / "run.pt", SERVER.Event(), SERVER.Event()
    slow = child(save, path, first, halfway, other)
    assert halfway.wait(60)
    in_child(save, path, second)
    other.set()
    slow.join(60)
    assert slow.exitcode == 0 and os.listdir(tmp_path) == ["run.pt"]
    state = files.read(path)
    assert len(state["weights"]) == 20_000 * state["writer"] and (state["weights"] == state["writer"]).all()


@pytest.mark.parametrize("end", [lambda path: files.save_atomically({}, path), files.discard])
def test_what_killed_writers_left_goes_and_nothing_else(tmp_path, end):
    path = tmp_path / "run[1]-0.pt"
    others = {"run[1]-0.pt.zip", "run[1]-00.pt.0a.partial", "run1-0.pt.0a.partial", "run[1]-1.pt"}
    for name in {*others, "run[1]-0.pt", "run[1]-0.pt.0a.partial", "run[1]-0.pt.0b.partial"}:
        (tmp_path / name).touch()
    end(path)
    assert set(os.listdir(tmp_path)) - {path.name} == others
    assert path.exists() == (end is not files.discard)
    files.discard(tmp_path / "nowhere" / "run.pt")


# ------------------------------------------------------------------------------------------ a loss that is no number

def diverge(sweep: Sweep) -> None:
    with pytest.raises(FloatingPointError, match="fit: the loss is nan by step 10 of epoch 1; lower") as told:
        sweep()
    note, = told.value.__notes__
    assert "seed 0" in note and "'width': 8" in note


def test_a_loss_that_is_no_number_keeps_the_runs_before_it_and_names_its_own(tmp_path, uninterrupted):
    in_child(diverge, Sweep(tmp_path, broken=8))
    on_file = {one.key: one.results for one in run_records.load(Sweep(tmp_path).records)}
    assert list(on_file) == RUNS[:1] and on_file == {RUNS[0]: uninterrupted[RUNS[0]]}   # width 4 ran first
