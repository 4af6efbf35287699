"""Results: one line of JSON per experiment, configuration and seed; computed once, read by every page and figure.

Files are append-only: one write per line, under a lock, flushed to disk before the run counts as done.
"""
import base64
import io
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from posenc_lib import __version__
from posenc_lib.base import files as base_files
from posenc_lib.base import git, progress
from posenc_lib.base.checks import one_line, optional_packages
from posenc_lib.data.imageset import Splits, StandIn
from posenc_lib.measure.metrics import mean_interval
from posenc_lib.run import status, streams, training
from posenc_lib.run.config import Workspace, describe, device_type, digest

Run = Callable[..., dict]   # (config, seed, checkpoint) -> results by name


@dataclass(frozen=True)
class Record:
    """The results of one run.

    results  numbers by name; an undefined number is None, and results["<name>_reason"] says why
    source   provenance: device, versions, commit, duration in seconds, start time
    """
    experiment: str
    digest: str
    seed: int
    config: dict
    results: dict
    source: dict = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        return self.digest, self.seed


def append(path: Path | str, record: Record) -> None:
    """Append one record to a file, atomically and durably.  A torn last line is first moved to FILE.torn.

    ValueError for nan or infinity: store None and a reason instead.  OSError if it cannot be written, for instance on a
    full disk; the file is then unchanged.
    """
    path = Path(path)
    try:
        line = json.dumps(vars(record), allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(
            f"records: {record.experiment} {record.digest} has a number that is not finite ({error}); store "
            f"None and its reason"
        ) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), open(path, "a+b", buffering=0) as file:   # a buffer would be flushed on close
            _set_torn_aside(path, file)
            _write(file, line.encode())
    except OSError as error:
        raise OSError(f"records: {path} cannot be written to ({one_line(error)}); free some space or choose another "
                      f"folder, and run the same command again: existing records are kept") from None


def _set_torn_aside(path: Path, file: io.FileIO) -> None:
    file.seek(0)
    content = file.readall()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(f"{path}.torn", "ab", buffering=0) as torn:
            _write(torn, content[whole:] + b"\n")
        file.truncate(whole)


def _write(file: io.FileIO, line: bytes) -> None:
    """Append all of `line` to a file and flush it to disk, or leave the file unchanged."""
    before = file.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[file.write(line):]   # on a full disk, only part is written
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise


def load(path: Path | str) -> list[Record]:
    """The records in a file, in order, or in all *.jsonl files of a folder.  A missing file has no records.

    An unfinished last line, left by a killed run, is skipped with a warning.  Any other line that is not a record is a
    ValueError with its line number, as is one whose digest does not match its configuration or that contains a
    non-finite number.  If a run has two records, which two pages may have computed at once, the first counts.

    Damage that leaves a line well formed and its configuration intact goes unnoticed: lines have no checksum, because
    these files are repaired and merged by hand.
    """
    path = Path(path)
    if path.is_dir():
        return [record for file in sorted(path.glob("*.jsonl")) for record in load(file)]
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        warnings.warn(f"records: the last line of {path} is incomplete (a run was killed while writing it); it is "
                      f"skipped, and that run will be repeated", stacklevel=2)
    records: dict[tuple[str, int], Record] = {}
    for number, line in enumerate(lines, start=1):
        record = _parse(line, f"{path}:{number}")
        records.setdefault(record.key, record)
    return list(records.values())


TYPES = {"experiment": str, "digest": str, "seed": int, "config": dict, "results": dict, "source": dict}


def _parse(line: bytes, where: str) -> Record:
    try:
        values = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once)   # some editors write a byte-order mark
        if not isinstance(values, dict) or set(values) != set(TYPES):
            raise ValueError(f"it needs exactly the keys {', '.join(TYPES)}")
        wrong = [name for name, kind in TYPES.items() if type(values[name]) is not kind]
        if wrong:
            raise ValueError(f"{wrong[0]} is not of type {TYPES[wrong[0]].__name__}")
        json.dumps(values, allow_nan=False)   # json.loads accepts Infinity, NaN and 1e999
        if values["digest"] != digest(values["config"]):
            raise ValueError("its digest does not match its configuration")
    except (ValueError, RecursionError) as error:   # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"records: {where} is not a record ({error}); delete that line, and its run will be "
                         f"repeated") from None
    return Record(**values)


def _once(pairs: list[tuple[str, object]]) -> dict:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("it has a duplicate key")
    return values


@cache
def _machine() -> dict:
    device = torch.cuda.get_device_name() if device_type() == "cuda" else f"{platform.machine()} CPU"
    return {"device": device, "threads": torch.get_num_threads(), "python": platform.python_version(),
            "torch": version("torch"), "torchvision": version("torchvision"),
            "commit": git.output("describe", "--always", "--dirty", "--abbrev=12") or f"version {__version__}"}


def new_record(experiment: str, config, seed: int, results: dict, start: float) -> Record:
    """Record of a run on this machine that began at `start` (seconds since the epoch) and ends now."""
    source = {**_machine(), "seconds": round(time.time() - start, 1),
              "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))}
    return Record(experiment, digest(config), seed, describe(config), results, source)


class NotRun(LookupError):
    """Runs that a cell needs are missing.  run_all.sh then shows a placeholder in place of its figures."""


@dataclass(frozen=True)
class Stopped:
    """A run interrupted by the end of the time budget: its digest, and an estimate of its total duration in seconds."""
    digest: str
    seconds: float


Outcome = Record | Stopped | None   # of a run; None if it got nowhere before the deadline


def run_or_load(experiment: str, configs: Sequence, run: Run, *, seeds: Sequence[int], workspace: Workspace,
                side_by_side: int = 1, before: Callable[[], None] | None = None,
                optional: bool = False) -> list[Record]:
    """The record of every configuration and seed: loaded if it exists, else computed and appended.

    experiment    names the file, records/<profile>/<experiment>.jsonl
    configs       frozen dataclasses; duplicates run once
    run           (config, seed, checkpoint) -> results; `checkpoint` is a `training.Checkpoint` to resume from
    side_by_side  number of runs that a GPU trains concurrently (`streams`); a CPU runs one at a time
    before        called once in this process before the first run, if any run is needed: raises early what would
                  otherwise fail after an hour, such as missing weights

    A run counts as soon as its line is on disk, so a page that was killed continues where it stopped.  The first seed
    of every configuration runs before the second seed of any.  Records are returned in the order of configs, then
    seeds, always as read back from the file, so that new and old records cannot differ in type.
    Runs execute sequentially in this process, or in parallel on the workspace's cluster, where a failed run is retried
    once and does not stop the others (`cluster.dispatch`); only this process writes the file.

    After the workspace's deadline no run starts, and a training stops at its next checkpoint; if the workspace only
    shows recorded results (`Workspace.on_file`), nothing runs.  Then fewer records are returned; NotRun if there are
    none, unless they are `optional`.
    """
    described = {digest(config): config for config in configs}
    wanted = list(dict.fromkeys((name, seed) for name in described for seed in seeds))
    found, stopped = ((_alike(experiment, described, workspace), []) if workspace.on_file
                      else _run(experiment, described, run, seeds, workspace, side_by_side, before))
    states = _states(experiment, wanted, described, found, stopped, workspace)
    if page := os.environ.get("POSENC_PAGE"):
        status.save(workspace.root / "build" / "slices" / page, experiment, states)
    elif len(found) < len(wanted) and not workspace.on_file:
        progress.log(
            "The time budget is used up; run the same again to continue.\n"
            + status.table({experiment: states.values()})
        )
    if wanted and not found and not optional:
        raise NotRun(f"{experiment}: none of its {len(wanted)} runs has been recorded" + (
            f"; to run them, on a machine with a GPU: {_command()}" if workspace.on_file else
            " yet, and the time budget is used up; run the same again to continue"))
    return [found[key] for key in wanted if key in found]


def _command() -> str:
    """The command that runs the current page at the papers' scale."""
    page = os.environ.get("POSENC_PAGE")
    return f"`./run_all.sh --profile paper{f' --only {page[:2]}' if page else ''} --data DIR`"


def on_file(experiment: str, configs: Sequence, workspace: Workspace) -> list[Record]:
    """Recorded results of these configurations with any seed, data and weights: this workspace's, then the project's
    reference runs in records/paper.  Nothing runs.
    """
    return list(_alike(experiment, {digest(config): config for config in configs}, workspace).values())


def reference(experiment: str, workspace: Workspace,
              where: Callable[[Record], bool] = lambda run: True) -> list[Record]:
    """The committed runs on which figures, tables and verdicts rest: those in records/paper, at the papers' scale; if
    it has none of these runs, those in records/cpu.

    where  which runs of the experiment are meant; figures of one page may rest on different files
    """
    for scale in ("paper", "cpu"):
        if runs := [run for run in load(workspace.records(experiment, scale)) if where(run)]:
            return runs
    return []


def origin(runs: Sequence[Record]) -> str:
    """On what runs were computed, as in "NVIDIA H200" or "CPU"; "" without runs."""
    devices = dict.fromkeys("CPU" if run.source["device"].endswith("CPU") else run.source["device"] for run in runs)
    return " and ".join(devices)


def require(available, what: str) -> None:
    """Raise NotRun, naming `what`, if `available` is False or None."""
    if available is None or available is False:
        raise NotRun(f"{what} has not been run yet")


def require_data(splits: Splits) -> None:
    """Raise NotRun if the images that results are shown with are missing (`inputs.load_for`)."""
    if isinstance(splits, StandIn):
        raise NotRun("results are shown with their own images, which are missing; pass `--data DIR`")


def complete_seeds(runs: Sequence[Record], configs: Sequence) -> tuple[list[Record], list[int]]:
    """The runs of the seeds that every configuration has, and these seeds; NotRun if there is no such seed.

    For comparisons between configurations, some of which a time budget may have left out.
    """
    names = {digest(config) for config in configs}
    had = {seed: {run.digest for run in runs if run.seed == seed} for seed in dict.fromkeys(run.seed for run in runs)}
    seeds = sorted(seed for seed, of_it in had.items() if names <= of_it)
    if names and not seeds:
        raise NotRun(f"{len(set.union(*had.values(), set()) & names)} of {len(names)} configurations have been run, "
                     "and what follows compares all of them")
    return [run for run in runs if run.seed in seeds], seeds


def _run(experiment: str, described: dict, run: Run, seeds: Sequence[int], workspace: Workspace, side_by_side: int,
         before: Callable[[], None] | None) -> tuple[dict[tuple, Record], list[Stopped]]:
    """The recorded runs by key, after computing missing ones, and the runs interrupted by the deadline."""
    path, spec = workspace.records(experiment), workspace.cluster or os.environ.get("POSENC_CLUSTER", "")
    wanted = {(name, seed): config for seed in seeds for name, config in described.items()}
    on_file = {record.key for record in load(path)} & set(wanted)
    for name, seed in on_file:   # left by a run killed after its record was written
        base_files.discard(workspace.checkpoint(wanted[name, seed], seed))
    missing = [(experiment, config, seed, training.Checkpoint(workspace.checkpoint(config, seed), workspace.until))
               for (name, seed), config in wanted.items() if (name, seed) not in on_file]
    if missing and before:
        before()
    side_by_side = side_by_side if workspace.device.type == "cuda" else 1
    beside = "; side by side" if missing and (spec or side_by_side > 1) else ""
    note = f"{len(on_file)} were on file{beside}"
    stopped: list[Stopped] = []

    def recorded(outcomes: Iterator[Outcome]) -> Iterator[Record]:
        """The records among them; what the deadline interrupted is noted in `stopped`."""
        for outcome in outcomes:
            if isinstance(outcome, Record):
                yield outcome
            elif outcome:
                stopped.append(outcome)

    with closing(_each(partial(_made, run), missing, spec, side_by_side)) as outcomes:
        for record in progress.counted_bar(recorded(outcomes), len(missing), experiment, note):
            append(path, record)
            base_files.discard(workspace.checkpoint(record.config, record.seed))
    return {record.key: record for record in load(path) if record.key in wanted}, stopped


def _made(run: Run, experiment: str, config, seed: int, checkpoint: training.Checkpoint) -> Outcome:
    """The record of a run; None if the deadline passes before it starts.

    If it resumed from a checkpoint, source["part"] is the fraction of its epochs that source["seconds"] covers.
    """
    start = time.time()
    if start >= checkpoint.until:
        return None
    before, epochs = training.epochs_in(checkpoint.path), status.epochs_of(describe(config))
    try:
        record = new_record(experiment, config, seed, run(config, seed, checkpoint), start)
    except training.OutOfTime:
        done = (training.epochs_in(checkpoint.path) - before) / epochs if epochs else 0
        return Stopped(digest(config), (time.time() - start) / done) if done > 0 else None
    if 0 < before < epochs:
        record.source["part"] = round(1 - before / epochs, 4)
    return record


def _alike(experiment: str, described: dict, workspace: Workspace) -> dict[tuple, Record]:
    """Recorded results of each configuration, with whatever data and weights it was run.

    Under the digest of the requested configuration; the record's own configuration identifies its data and weights.
    """
    files = dict.fromkeys(
        (workspace.records(experiment), workspace.records(experiment, "paper"))
    )  # of --out, then of the project
    records = [record for file in files for record in load(file)]
    found: dict[tuple, Record] = {}
    for name, config in described.items():
        plain = _without_fingerprints(json.loads(json.dumps(describe(config))))
        same = [record for record in records if _without_fingerprints(record.config) == plain]
        for record in sorted(same, key=lambda record: record.digest != name):
            found.setdefault((name, record.seed), replace(record, digest=name))
    return found


def _without_fingerprints(values):
    """A description whose `data` and `weights`, at any depth, only tell whether they are set."""
    if isinstance(values, dict):
        return {name: bool(value) if name in ("data", "weights") else _without_fingerprints(value)
                for name, value in values.items()}
    return [_without_fingerprints(value) for value in values] if isinstance(values, list) else values


def _states(experiment: str, wanted: list[tuple], described: dict, found: dict[tuple, Record], stopped: list[Stopped],
            workspace: Workspace) -> dict[str, status.State]:
    """State of each run by "digest-seed"; remaining time at the speed of runs of its configuration, else of others."""
    epochs = {name: status.epochs_of(describe(config)) for name, config in described.items()}
    now = {key: 0 if key in found or workspace.on_file else
           training.epochs_in(workspace.checkpoint(described[key[0]], key[1])) for key in wanted}
    if len(found) >= len(wanted):
        return {f"{name}-{seed}": status.State(True) for name, seed in wanted}
    here = _machine()["device"]
    timed = [record for record in load(workspace.records(experiment)) if record.source.get("seconds")]
    took = [(record.digest, record.source["seconds"] / record.source.get("part", 1)) for record in timed
            if record.source.get("device") == here]
    took += [(one.digest, one.seconds) for one in stopped]
    states = {}
    for name, seed in wanted:
        same = [seconds for of, seconds in took if of == name] or [seconds for _, seconds in took]
        left = 1 - now[name, seed] / epochs[name] if epochs[name] else 1
        states[f"{name}-{seed}"] = status.State((name, seed) in found, now[name, seed], epochs[name],
                                                round(median(same) * left, 1) if same else None)
    return states


def _named(experiment: str, config, seed: int, checkpoint: training.Checkpoint) -> str:
    return f"{experiment}, seed {seed}, {describe(config)}"


def _each(work: Callable[..., Outcome], jobs: list[tuple], spec: str,
          side_by_side: int = 1) -> Generator[Outcome, None, None]:
    """work(*job) for each job: here, in order or `side_by_side` at a time, or on a cluster, as they finish."""
    if spec and jobs:
        with optional_packages("cluster", "--cluster"):
            from posenc_lib.run import cluster
        yield from cluster.dispatch(work, jobs, spec, _named)
    elif side_by_side > 1:
        yield from streams.run_side_by_side(partial(_noted, work), jobs, side_by_side)
    else:
        for job in jobs:
            yield _noted(work, *job)


def _noted(work: Callable[..., Outcome], *job) -> Outcome:
    """work(*job); errors name the run."""
    try:
        return work(*job)
    except Exception as error:
        error.add_note(f"in the run {_named(*job)}")
        raise


def pack(maps: Int[Tensor, "image row col"]) -> list[str]:
    """Label maps, 0..255, as text that fits into a record: PNG files in base64."""
    files = [io.BytesIO() for _ in maps]
    for file, labels in zip(files, maps, strict=True):
        Image.fromarray(labels.cpu().numpy().astype(np.uint8)).save(file, "PNG")
    return [base64.b64encode(file.getvalue()).decode() for file in files]


def unpack(text: str) -> np.ndarray:
    """One map of `pack`: uint8 (row, col)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record: seed, every configuration value and every result as columns (nested values as name.inner)."""
    rows = [{"seed": r.seed, **r.config, **r.results} for r in records]
    return pd.json_normalize(rows) if rows else pd.DataFrame()


def summarise(runs: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean, 95 % interval (Student's t over seeds) and number of runs of `value`, one row per combination of `by`."""
    rows = [(*(key if isinstance(key, tuple) else (key,)), *mean_interval(group[value]), len(group))
            for key, group in runs.groupby(list(by), sort=False, dropna=False)]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])
