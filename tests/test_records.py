"""Results survive kills, torn lines and two writers at once; what is on file is never computed again."""
import json
import multiprocessing
import os
import signal
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from posenc_lib.measure.metrics import mean_interval
from posenc_lib.run import config as run_config
from posenc_lib.run.config import Workspace, describe, digest
from posenc_lib.run.records import Record, append, load, origin, reference, run_or_load, summarise, to_frame


@dataclass(frozen=True)
class Config:
    grid: int = 3
    widths: tuple[int, ...] = (1, 2)


def record(grid: int = 3, seed: int = 0, **results) -> Record:
    config = Config(grid)
    return Record("a-claim", digest(config), seed, json.loads(json.dumps(describe(config))), results, {"device": "CPU"})


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.dictionaries(st.text(), VALUES | st.lists(VALUES) | st.dictionaries(st.text(), VALUES)), max_size=4))
def test_records_come_back_as_they_were(many):
    with tempfile.TemporaryDirectory() as folder:
        records = [replace(record(seed=n), results=results) for n, results in enumerate(many)]
        for one in records:
            append(Path(folder) / "new" / "a.jsonl", one)
        assert load(Path(folder) / "new" / "a.jsonl") == records


def test_a_folder_holds_the_records_of_all_its_files_and_no_file_none(tmp_path):
    append(tmp_path / "b.jsonl", record(seed=1))
    append(tmp_path / "a.jsonl", record(seed=0))
    assert [r.seed for r in load(tmp_path)] == [0, 1]
    assert load(tmp_path / "nowhere.jsonl") == []


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_torn_last_line_is_passed_over_with_a_warning_then_set_aside(tmp_path, cut):
    file = tmp_path / "a.jsonl"
    append(file, record(seed=0))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:cut])
    with pytest.warns(UserWarning, match=r"records: the last line of .*a\.jsonl is incomplete"):
        assert [r.seed for r in load(file)] == [0]
    append(file, record(seed=1))
    assert [r.seed for r in load(file)] == [0, 1]   # and no warning
    assert (tmp_path / "a.jsonl.torn").read_bytes() == whole[:cut] + b"\n"


GOOD = asdict(record())


@pytest.mark.parametrize("line, reason", [
    ("{\"experiment\": ", "Expecting value"),
    ("", "Expecting value"),
    ("[1, 2]", "it needs exactly the keys experiment, digest, seed, config, results, source"),
    (json.dumps({**GOOD, "more": 1}), "it needs exactly the keys"),
    (json.dumps({**GOOD, "seed": "0"}), "seed is not of type int"),
    (json.dumps({**GOOD, "seed": True}), "seed is not of type int"),
    (json.dumps({**GOOD, "config": {**GOOD["config"], "grid": 5}}), "its digest does not match its configuration"),
    ("\udcff", "can't decode byte 0xff"),
], ids=lambda text: text[:12])
def test_a_damaged_line_is_named_by_file_and_number(tmp_path, line, reason):
    file = tmp_path / "a.jsonl"
    append(file, record(seed=0))
    with open(file, "ab") as out:
        out.write(line.encode(errors="surrogateescape") + b"\n")
    append(file, record(seed=1))
    with pytest.raises(ValueError, match=rf"records: .*a\.jsonl:2 is not a record \(.*{reason}.*\); delete that line"):
        load(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_a_number_that_is_not_finite_is_refused_and_nothing_written(tmp_path, value):
    with pytest.raises(ValueError, match=r"records: a-claim .* is not finite .*; store None and its reason"):
        append(tmp_path / "a.jsonl", record(loss=value))
    assert load(tmp_path / "a.jsonl") == []


def in_process(target, *args) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=target, args=args)
    process.start()
    return process


def append_fifty(file, grid):
    for seed in range(50):
        append(file, record(grid, seed))


def test_two_processes_that_append_at_once_lose_nothing(tmp_path):
    writers = [in_process(append_fifty, tmp_path / "a.jsonl", grid) for grid in (3, 5)]
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    by_writer = [[r.seed for r in load(tmp_path / "a.jsonl") if r.config["grid"] == grid] for grid in (3, 5)]
    assert by_writer == [list(range(50))] * 2


def test_of_two_records_of_one_run_the_first_counts(tmp_path):
    for loss in (0.5, 0.25):   # two pages at once, on machines that round differently
        append(tmp_path / "a.jsonl", record(seed=0, loss=loss))
    append(tmp_path / "a.jsonl", record(seed=1))
    assert [(r.seed, r.results) for r in load(tmp_path / "a.jsonl")] == [(0, {"loss": 0.5}), (1, {})]


def test_a_writer_waits_for_the_one_that_holds_the_file(tmp_path):
    """Else a torn line could be set aside together with what another process has just written behind it."""
    with FileLock(tmp_path / "a.jsonl.lock"):
        waiting = in_process(append, tmp_path / "a.jsonl", record())
        waiting.join(0.3)
        assert waiting.is_alive() and load(tmp_path / "a.jsonl") == []
    waiting.join(60)
    assert load(tmp_path / "a.jsonl") == [record()]


@pytest.fixture
def workspace(tmp_path):
    return Workspace("smoke", out=str(tmp_path))


CONFIGS, SEEDS = (Config(5), Config(3)), (1, 0)
ORDER = [(5, 1), (5, 0), (3, 1), (3, 0)]   # of the records; they run seed by seed:
RUN_ORDER = [(5, 1), (3, 1), (5, 0), (3, 0)]


def run_all(workspace, run):
    return run_or_load("a-claim", CONFIGS, run, seeds=SEEDS, workspace=workspace)


def lines(file: Path) -> list[str]:
    """Of two records of one run `load` gives one, so whether there are two is seen here."""
    return file.read_text().splitlines()


def keys(records) -> list[tuple[int, int]]:
    return [(r.config["grid"], r.seed) for r in records]


def test_only_what_is_missing_is_computed_and_the_order_is_the_callers(workspace, capsys):
    calls = []

    def run(config, seed, checkpoint):
        calls.append((config.grid, seed))
        return {"sum": config.grid + seed}

    only = run_or_load("a-claim", [Config(3)], run, seeds=[0], workspace=workspace)
    records = run_all(workspace, run)
    assert calls == [(3, 0), *RUN_ORDER[:3]]
    assert keys(records) == ORDER and [r.results["sum"] for r in records] == [6, 5, 4, 3] and records[3] == only[0]
    assert run_all(workspace, lambda *_: pytest.fail("computed again")) == records
    assert keys(load(workspace.records("a-claim"))) == calls
    assert "a-claim: 3 ran in 0 s; 1 were on file" in capsys.readouterr().out
    assert {"device", "torch", "commit", "seconds", "started"} <= set(records[0].source)


def test_what_runs_need_is_looked_at_once_before_the_first_and_only_if_there_is_one(workspace):
    happened = []

    def run(config, seed, _):
        happened.append((config.grid, seed))
        return {}

    def missing():
        raise FileNotFoundError("weights")

    with pytest.raises(FileNotFoundError, match="weights"):
        run_or_load("a", CONFIGS, run, seeds=SEEDS, workspace=workspace, before=missing)
    assert not happened and not workspace.records("a").exists()
    run_or_load("a", CONFIGS, run, seeds=SEEDS, workspace=workspace, before=lambda: happened.append("looked"))
    assert happened == ["looked", *RUN_ORDER]
    run_or_load("a", CONFIGS, run, seeds=SEEDS, workspace=workspace, before=missing)   # all is on file


def test_equal_configurations_run_once(workspace):
    records = run_or_load("c", [Config(3), Config(3)], lambda *_: {}, seeds=[0, 0], workspace=workspace)
    assert len(records) == len(lines(workspace.records("c"))) == 1


def test_an_exception_keeps_what_was_done(workspace):
    def run(config, seed, checkpoint):
        if (config.grid, seed) == RUN_ORDER[2]:
            raise FloatingPointError
        return {}

    with pytest.raises(FloatingPointError):
        run_all(workspace, run)
    assert keys(load(workspace.records("a-claim"))) == RUN_ORDER[:2]


def run_and_kill(workspace, started):
    def run(config, seed, checkpoint):
        with open(started, "a") as file:
            file.write(f"{config.grid} {seed}\n")
        if (config.grid, seed) == RUN_ORDER[2]:
            checkpoint.path.parent.mkdir(parents=True)
            checkpoint.path.write_text("half way")
            os.kill(os.getpid(), signal.SIGKILL)
        return {}
    run_all(workspace, run)


@pytest.mark.filterwarnings("ignore:records. the last line")
def test_a_killed_run_goes_on_where_it_stopped(workspace, tmp_path):
    killed = in_process(run_and_kill, workspace, tmp_path / "started")
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert (tmp_path / "started").read_text() == "5 1\n3 1\n5 0\n"
    file = workspace.records("a-claim")
    file.write_bytes(file.read_bytes()[:-30])   # as if it had been killed while writing the second line

    rest = []
    records = run_all(workspace, lambda c, s, checkpoint: rest.append((c.grid, s, checkpoint.path.exists())) or {})
    assert rest == [(3, 1, False), (5, 0, True), (3, 0, False)]   # the killed one finds its checkpoint
    assert keys(records) == ORDER and keys(load(file)) == RUN_ORDER and len(lines(file)) == 4   # none lost or doubled
    assert not list((tmp_path / "build" / "checkpoints").iterdir())


def test_the_reference_is_at_the_papers_scale_where_it_has_the_runs_else_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(run_config, "PROJECT", tmp_path)
    here = Workspace("quick", out=str(tmp_path / "out"))
    assert reference("a-claim", here) == []
    on_cpu = [record(grid=3), record(grid=5)]
    at_scale = replace(record(grid=3), results={"accuracy": 1.0}, source={"device": "NVIDIA H200"})
    for one in on_cpu:
        append(here.records("a-claim", "cpu"), one)
    assert reference("a-claim", here) == on_cpu
    append(here.records("a-claim", "paper"), at_scale)
    append(here.records("a-claim"), record(grid=3, seed=7))   # this run's are never the reference
    assert reference("a-claim", here) == [at_scale]
    assert reference("a-claim", here, lambda run: run.config["grid"] == 5) == on_cpu[1:]
    assert origin([at_scale, *on_cpu]) == "NVIDIA H200 and CPU" and origin([]) == ""
    assert Workspace("paper").is_reference and not here.is_reference


def test_a_frame_has_a_column_for_every_value():
    table = to_frame([record(3, 0, location={"accuracy": 0.5}), record(5, 1, location={"accuracy": None})])
    assert table[["seed", "grid"]].values.tolist() == [[0, 3], [1, 5]]
    assert table["location.accuracy"].isna().tolist() == [False, True]
    assert to_frame([]).empty


def test_a_summary_is_the_mean_interval_of_every_group_in_order():
    runs = (5, 0), (5, 1), (3, 0), (3, 1), (3, 2), (7, 0)
    table = to_frame([record(grid, seed, accuracy=float(grid + seed)) for grid, seed in runs])
    rows = summarise(table, ["grid"], "accuracy")
    assert rows["grid"].tolist() == [5, 3, 7] and rows["n"].tolist() == [2, 3, 1]
    assert rows.loc[1, ["mean", "low", "high"]].tolist() == list(mean_interval([3.0, 4.0, 5.0]))
    assert rows.loc[2, ["low", "high"]].isna().all()
    assert summarise(table, ["grid", "class"], "accuracy")["class"].tolist() == ["Config"] * 3
