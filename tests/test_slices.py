"""Runs in slices of minutes: each stops in time, nothing is lost or doubled, and together they are one run."""
import json
from dataclasses import dataclass, field, replace
from math import inf

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from posenc_lib.data import registry
from posenc_lib.run import config as run_config
from posenc_lib.run import records, status, training
from posenc_lib.run.config import Recipe, Workspace, digest
from posenc_lib.run.records import NotRun, Record, run_or_load
from posenc_lib.run.status import State

RECIPE = Recipe(epochs=4, epoch_steps=2, batch_size=8, flip=False)


@dataclass(frozen=True)
class Config:
    width: int
    data: str = ""
    recipe: Recipe = RECIPE
    profile: str = "smoke"


@dataclass(frozen=True)
class Inner:
    network: Config = field(default_factory=lambda: Config(1))
    recipe: Recipe | None = None


CONFIGS, SEEDS = [Config(2), Config(3)], range(2)
DIGITS = registry.load("digits", "", size=8).train.take(slice(0, 32))


class Clock:
    """Seconds, ten an epoch; it stands for `time.time` in the library."""

    def __init__(self, monkeypatch):
        self.now, self.begun = 1000.0, []
        monkeypatch.setattr("time.time", lambda: self.now)

    def run(self, c, seed, checkpoint):
        self.begun.append((c.width, seed))
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, c.width, 3), nn.Dropout(0.2), nn.Flatten(), nn.Linear(36 * c.width, 10))

        def evaluate(_):
            self.now += 10
            return {}
        history = training.fit(net, DIGITS, lambda net, x, y, _: cross_entropy(net(x), y), c.recipe, seed=seed,
                               evaluate=evaluate, checkpoint=checkpoint)
        return {"loss": [row["loss"] for row in history], "weights": [p.sum().item() for p in net.parameters()]}

    def sweep(self, out, **options):
        workspace = Workspace("smoke", out=str(out), **options)
        return run_or_load("a-claim", CONFIGS, self.run, seeds=SEEDS, workspace=workspace)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def plain(found: list[Record]) -> list[tuple]:
    return [(r.experiment, r.digest, r.seed, r.config, r.results) for r in found]


def test_three_slices_are_one_run_bit_by_bit(clock, tmp_path, capsys):
    whole = clock.sweep(tmp_path / "whole")
    clock.begun.clear()
    first = clock.sweep(tmp_path, minutes=1.1)   # 66 seconds: 4 epochs, and 3 of the next run
    assert plain(first) == plain(whole[:1]) and clock.begun == [(2, 0), (3, 0)]
    told = capsys.readouterr().out
    assert " s; 0 were on file\nThe time budget is used up; run the same again to continue.\nexperiment  runs" in told
    assert "a-claim     4     1         1 (epoch 3 of 4)  2      about 90 s" in told   # 10 + 40 + 40
    second = clock.sweep(tmp_path, minutes=0.5)
    assert plain(second) == plain([whole[0], whole[2]]) and clock.begun[2:] == [(3, 0), (2, 1)]
    third = clock.sweep(tmp_path, minutes=10)
    assert plain(third) == plain(whole) and clock.begun[4:] == [(2, 1), (3, 1)]
    file = Workspace("smoke", out=str(tmp_path)).records("a-claim")
    assert len(file.read_text().splitlines()) == 4 and not list((tmp_path / "build" / "checkpoints").iterdir())
    assert [r.source.get("part") for r in third] == [None, 0.5, 0.25, None]   # of what went on from epochs 2 and 3
    assert [r.source["seconds"] for r in third] == [40, 20, 10, 40]


def test_the_last_epoch_ends_the_run_however_late_it_is(clock, tmp_path):
    assert len(clock.sweep(tmp_path, minutes=0.66)) == 1   # 39.6 of 40 seconds
    with pytest.raises(training.OutOfTime, match=r"after epoch 1 of 4; .*a.pt holds it"):
        clock.run(Config(2), 0, training.Checkpoint(tmp_path / "a.pt", until=clock.now))
    assert training.epochs_in(tmp_path / "a.pt") == 1
    assert clock.run(Config(2), 0, tmp_path / "a.pt") == clock.run(Config(2), 0, tmp_path / "b.pt")


def test_a_slice_without_any_record_says_so_and_measures_all_the_same(clock, tmp_path, monkeypatch, capsys):
    with pytest.raises(NotRun, match=r"^a-claim: none of its 4 runs has been recorded yet, and the time budget"):
        clock.sweep(tmp_path, minutes=0.3)
    assert "a-claim     4     0         1 (epoch 2 of 4)  3      about 2 min" in capsys.readouterr().out   # 20 + 3 * 40
    monkeypatch.setenv("POSENC_UNTIL", str(clock.now))
    with pytest.raises(NotRun):
        clock.sweep(tmp_path)
    assert clock.begun == [(2, 0)]
    assert capsys.readouterr().out.endswith("not measured yet\n")


def test_a_checkpoint_goes_on_in_another_folder(clock, tmp_path):
    with pytest.raises(NotRun):
        clock.sweep(tmp_path / "here", minutes=0.3)
    (tmp_path / "here").rename(tmp_path / "there")
    assert plain(clock.sweep(tmp_path / "there")) == plain(clock.sweep(tmp_path / "whole"))
    assert str(tmp_path).encode() not in (tmp_path / "there" / "records" / "smoke" / "a-claim.jsonl").read_bytes()


def test_a_page_leaves_how_far_it_is_and_adds_up_its_calls(clock, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POSENC_PAGE", "05_dots")
    monkeypatch.setenv("POSENC_UNTIL", str(clock.now + 50))
    clock.sweep(tmp_path, minutes=10)   # the earlier of the two counts
    run_or_load("a-claim", CONFIGS[:1], clock.run, seeds=range(3), workspace=Workspace("smoke", out=str(tmp_path)))
    assert "time budget" not in capsys.readouterr().out
    kept = status.load(tmp_path / "build" / "slices" / "05_dots")
    assert kept == {"a-claim": [State(True, 0, 4, 40.0), State(False, 0, 4, 40.0), State(False, 1, 4, 30.0),
                                State(False, 0, 4, 40.0), State(False, 0, 4, 40.0)]}
    assert not list(tmp_path.rglob("*.partial"))


def test_what_compares_configurations_takes_whole_seeds():
    runs = [Record("c", digest(c), seed, {}, {}) for seed, c in ((0, CONFIGS[0]), (0, CONFIGS[1]), (1, CONFIGS[0]))]
    assert records.complete_seeds(runs, CONFIGS) == (runs[:2], [0])
    assert records.complete_seeds(runs, CONFIGS[:1]) == (runs, [0, 1])
    assert records.complete_seeds([], []) == ([], [])
    with pytest.raises(NotRun, match=r"^1 of 2 configurations have been run, and what follows compares all of them"):
        records.complete_seeds(runs[2:], CONFIGS)


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_slice_has_a_length(minutes):
    with pytest.raises(ValueError, match=rf"^minutes: {minutes} is not a positive number; give one"):
        Workspace(minutes=minutes)
    assert Workspace().until == inf


def test_the_recipe_that_counts_is_the_outermost():
    def n(c):
        return status.epochs_of(json.loads(json.dumps(run_config.describe(c))))
    assert (n(Config(1)), n(Inner()), n(Inner(recipe=Recipe(epochs=7)))) == (4, 4, 7)
    assert status.epochs_of({"grid": 3}) == 0


def test_the_table_adds_up():
    shown = status.table({
        "a": [State(True, seconds=9.0)], "c": [State(True), State(False)],
        "long-name": [State(False, 2, 9, 6000.0), State(False, 3, 9, 6000.0), State(False, 0, 9, 60.0)]})
    assert [line.split("  ")[0] for line in shown.splitlines()] == ["experiment", "a", "c", "long-name"]
    assert shown.splitlines()[1].split() == ["a", "1", "1", "0", "0", "-"]
    assert shown.splitlines()[3].endswith("2 (epoch 2 of 9, 3 of 9)  1      about 3.4 h")
    assert shown.splitlines()[2].endswith("not measured yet")


# ------------------------------------------------------------------------------------------ no GPU: what is on file

@dataclass(frozen=True)
class Frozen:
    network: Config
    weights: str = ""
    profile: str = "paper"


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return Workspace("paper", out=str(tmp_path))


def put(workspace, config, seed, **results):
    records.append(workspace.records("no-such-claim"), records.new_record("no-such-claim", config, seed, results, 0.0))


def show(workspace, configs, seeds=(0, 1)):
    return run_or_load("no-such-claim", configs, lambda *_: pytest.fail("it ran"), seeds=seeds, workspace=workspace)


def test_without_a_gpu_what_is_on_file_comes_back_whatever_data_are_here(no_gpu):
    there, here = Frozen(Config(2, "d1"), "w1"), Frozen(Config(2, "d2"), "w2")
    put(no_gpu, there, 1, n=1)
    put(no_gpu, there, 0, n=0)
    put(no_gpu, replace(there, network=Config(3, "d1")), 0, n=3)
    found = show(no_gpu, [here], seeds=(0, 1, 2))
    assert [(r.digest, r.seed, r.results["n"]) for r in found] == [(digest(here), 0, 0), (digest(here), 1, 1)]
    assert {r.config["network"]["data"] for r in found} == {"d1"}
    put(no_gpu, here, 0, n=7)                                            # the very one, if there is one
    assert [r.results["n"] for r in show(no_gpu, [here])] == [7, 1]
    assert [r.results["n"] for r in show(no_gpu, [there])] == [0, 1]


def test_without_a_gpu_what_is_not_on_file_is_told_with_the_command(no_gpu, monkeypatch):
    put(no_gpu, Frozen(Config(2, "d1"), "w1"), 0)
    with pytest.raises(
        NotRun,
        match=r"^no-such-claim: none of its 2 runs has been recorded; to run them, on a machine with a "
        r"GPU: `\./run_all\.sh --profile paper --data DIR`$",
    ):
        show(no_gpu, [Frozen(Config(2, "d1"))])    # random weights are no pretrained ones
    monkeypatch.setenv("POSENC_PAGE", "07_pedestrians")
    with pytest.raises(NotRun, match=r"--profile paper --only 07 --data DIR`$"):
        show(no_gpu, [Frozen(Config(5))])
    assert show(no_gpu, []) == []
    assert run_or_load("no-such-claim", [Frozen(Config(5))], print, seeds=[0], workspace=no_gpu, optional=True) == []


def test_a_gpu_runs_what_is_missing(no_gpu, monkeypatch):
    assert no_gpu.on_file and not Workspace("quick").on_file
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not no_gpu.on_file
