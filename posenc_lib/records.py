"""Results: one line of JSON a claim, configuration and seed; computed once, read by every page and figure.

A file is only ever added to: one write a line, under a lock, on the disk before the run counts as done.
"""
import base64
import io
import json
import os
import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from posenc_lib import lanes, progress, training
from posenc_lib.config import PROJECT, Workspace, describe, digest, reason
from posenc_lib.metrics import mean_interval

Run = Callable[..., dict]   # (config, seed, checkpoint) -> results by name


@dataclass(frozen=True)
class Record:
    """What one run gave.

    results  numbers by name; None is an undefined one, and results["<name>_reason"] says why
    source   where the numbers come from: device, versions, commit, seconds, time of the run
    """
    claim: str
    digest: str
    seed: int
    config: dict
    results: dict
    source: dict = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        return self.digest, self.seed


def append(path: Path | str, record: Record) -> None:
    """Add one record to a file, atomically and durably.  A torn last line is moved to FILE.torn first.

    ValueError for nan or infinity: an undefined number is None, with its reason.  OSError where it cannot be written,
    on a full disk say; the file is then as it was.
    """
    path = Path(path)
    try:
        line = json.dumps(asdict(record), allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"records: {record.claim} {record.digest} has a number that is not finite ({error}); store "
                         f"None and its reason") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"), open(path, "a+b", buffering=0) as file:   # a buffer would be written on closing
            _set_torn_aside(path, file)
            _write(file, line.encode())
    except OSError as error:
        raise OSError(f"records: {path} cannot be written to ({reason(error)}); make room there, or give another "
                      f"folder, and run the same again: what is on file stays") from None


def _set_torn_aside(path: Path, file: io.FileIO) -> None:
    file.seek(0)
    content = file.readall()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(f"{path}.torn", "ab", buffering=0) as torn:
            _write(torn, content[whole:] + b"\n")
        file.truncate(whole)


def _write(file: io.FileIO, line: bytes) -> None:
    """All of it at the end of a file, on the disk; or else nothing."""
    before = file.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[file.write(line):]   # on a disk that gets full, a part
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise


def load(path: Path | str) -> list[Record]:
    """The records of a file, in order; of a folder, those of all its *.jsonl files.  No file: no records.

    A last line without its end, left by a killed run, is passed over with a warning.  Any other line that is no record
    is a ValueError with its number; so is one whose digest does not belong to its configuration, or that has a number
    that is not finite.  Of two records of one run, which two pages may have made at once, the first counts.

    What damage leaves well formed outside the configuration is read as it stands: a line has no checksum, for these
    files are mended and merged by hand.
    """
    path = Path(path)
    if path.is_dir():
        return [record for file in sorted(path.glob("*.jsonl")) for record in load(file)]
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        warnings.warn(f"records: the last line of {path} is torn (a run was killed while writing it); it is not "
                      f"read, and that run will be done again", stacklevel=2)
    records: dict[tuple[str, int], Record] = {}
    for number, line in enumerate(lines, start=1):
        record = _parse(line, f"{path}:{number}")
        records.setdefault(record.key, record)
    return list(records.values())


TYPES = {"claim": str, "digest": str, "seed": int, "config": dict, "results": dict, "source": dict}


def _parse(line: bytes, where: str) -> Record:
    try:
        values = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once)   # some editors put a mark in front
        if not isinstance(values, dict) or set(values) != set(TYPES):
            raise ValueError(f"it needs exactly the keys {', '.join(TYPES)}")
        wrong = [name for name, kind in TYPES.items() if type(values[name]) is not kind]
        if wrong:
            raise ValueError(f"{wrong[0]} is no {TYPES[wrong[0]].__name__}")
        json.dumps(values, allow_nan=False)   # Infinity, NaN and 1e999 are read without a word
        if values["digest"] != digest(values["config"]):
            raise ValueError("its digest does not belong to its configuration")
    except (ValueError, RecursionError) as error:   # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"records: {where} is no record ({error}); take that line away, its run will be done "
                         f"again") from None
    return Record(**values)


def _once(pairs: list[tuple[str, object]]) -> dict:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key comes twice in it")
    return values


@cache
def _machine() -> dict:
    commit = subprocess.run(["git", "-C", PROJECT, "describe", "--always", "--dirty", "--abbrev=12"],
                            capture_output=True, text=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return {"device": device, "threads": torch.get_num_threads(), "python": platform.python_version(),
            "torch": version("torch"), "torchvision": version("torchvision"),
            "commit": commit.stdout.strip() or "unknown"}


def made(claim: str, config, seed: int, results: dict, start: float) -> Record:
    """The record of a run that began at `start` (seconds since the epoch) and ends now, on this machine."""
    source = {**_machine(), "seconds": round(time.time() - start, 1),
              "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))}
    return Record(claim, digest(config), seed, describe(config), results, source)


class NotRun(LookupError):
    """What a cell needs has not been run yet."""


def need(there, what: str) -> None:
    """NotRun, naming `what`, where `there` is false or None: the cell that follows cannot be drawn yet."""
    if there is None or there is False:
        raise NotRun(f"{what} has not been run yet")


def run_or_load(claim: str, configs: Sequence, run: Run, *, seeds: Sequence[int], workspace: Workspace,
                abreast: int = 1, before: Callable[[], None] | None = None) -> list[Record]:
    """The record of every configuration and seed: read where it is on file, computed and appended where it is not.

    claim    names the file, records/<profile>/<claim>.jsonl
    configs  frozen dataclasses; equal ones run once
    run      (config, seed, checkpoint) -> results; `checkpoint` is a path to go on from after a kill (`training.fit`)
    before   called once, in this process, before the first run and only if there is one: to raise what would otherwise
             be raised after an hour, weights that are missing say

    A run counts once its line is on the disk, so a page that was killed goes on where it stopped.  In the order of
    configs, then seeds, and always as read from the file: a new record and an old one cannot differ in kind.
    One after the other in this process, or side by side on the workspace's cluster, where a run that fails is tried
    once more and does not keep the others from running (`cluster.spread`); this process alone writes the file.
    """
    path, spec = workspace.records(claim), workspace.cluster or os.environ.get("POSENC_CLUSTER", "")
    wanted = {(digest(config), seed): config for config in configs for seed in seeds}
    on_file = {record.key for record in load(path)}
    for key in on_file & set(wanted):   # of a run that was killed between its line and this
        training.discard(workspace.checkpoint(wanted[key], key[1]))
    missing = [(claim, config, key[1], workspace.checkpoint(config, key[1])) for key, config in wanted.items()
               if key not in on_file]
    if missing and before:
        before()
    note = f"{len(wanted) - len(missing)} were on file" + ("; side by side" if spec and missing else "")
    n = abreast if workspace.device.type == "cuda" else 1
    with closing(_each(partial(_made, run), missing, spec, n)) as runs:
        for record in progress.told(runs, len(missing), claim, note):
            append(path, record)
            training.discard(workspace.checkpoint(record.config, record.seed))
    by_key = {record.key: record for record in load(path)}
    return [by_key[key] for key in wanted]


def _made(run: Run, claim: str, config, seed: int, checkpoint: Path) -> Record:
    start = time.time()
    return made(claim, config, seed, run(config, seed, checkpoint), start)


def _named(claim: str, config, seed: int, checkpoint: Path) -> str:
    return f"{claim}, seed {seed}, {describe(config)}"


def _each(work: Callable[..., Record], jobs: list[tuple], spec: str, abreast: int) -> Iterator[Record]:
    """work(*job) of each job: here, in order or `abreast` at a time, or on a cluster, as they end."""
    if spec and jobs:
        from posenc_lib import cluster
        yield from cluster.spread(work, jobs, spec, _named)
        return
    if abreast > 1:
        yield from lanes.abreast(work, jobs, abreast)
        return
    for job in jobs:
        try:
            record = work(*job)
        except Exception as error:
            error.add_note(f"in the run {_named(*job)}")
            raise
        yield record


def pack(maps: Int[Tensor, "image row col"]) -> list[str]:
    """Label maps, 0..255, as text that a record can hold: PNG files in base64."""
    files = [io.BytesIO() for _ in maps]
    for file, labels in zip(files, maps, strict=True):
        Image.fromarray(labels.cpu().numpy().astype(np.uint8)).save(file, "PNG")
    return [base64.b64encode(file.getvalue()).decode() for file in files]


def unpack(text: str) -> np.ndarray:
    """One map of `pack`: uint8 (row, col)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: seed, every configuration value and every result as columns (nested values as name.inner)."""
    rows = [{"seed": r.seed, **r.config, **r.results} for r in records]
    return pd.json_normalize(rows) if rows else pd.DataFrame()


def summarise(runs: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean, 95 % interval (Student's t over seeds) and number of runs of `value`, one row a combination of `by`."""
    rows = [(*(key if isinstance(key, tuple) else (key,)), *mean_interval(group[value]), len(group))
            for key, group in runs.groupby(list(by), sort=False, dropna=False)]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])
