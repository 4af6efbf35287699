"""Progress of the runs of a page under a time budget: what is complete, what remains, and how long that will take.

`records.run_or_load` saves it to build/slices/PAGE/EXPERIMENT.json; `book/make.py` reads it without importing torch.
"""
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

HEADER = ("experiment", "runs", "complete", "interrupted", "to do", "remaining time, one run after the other")


@dataclass(frozen=True)
class State:
    """Progress of one run.

    on_file  whether it has been recorded
    epoch    epochs in its checkpoint, of `epochs`; 0 for a run that has not started or has no epochs
    seconds  estimated time for the rest, from runs on this machine; None without any
    """
    on_file: bool
    epoch: int = 0
    epochs: int = 0
    seconds: float | None = None


def epochs_of(description: Mapping) -> int:
    """Number of epochs of a described configuration: those of its outermost recipe; 0 without a recipe."""
    level = deque([description])
    while level:
        values = level.popleft()
        if isinstance(values.get("recipe"), Mapping):
            return values["recipe"].get("epochs", 0)
        level.extend(value for value in values.values() if isinstance(value, Mapping))
    return 0


def save(folder: Path, experiment: str, states: Mapping[str, State]) -> None:
    """Save the progress of an experiment's runs atomically, merged with what an earlier call saved."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {**_read(folder / f"{experiment}.json"), **{run: asdict(state) for run, state in states.items()}}
    partial = folder / f"{experiment}.{uuid4().hex}.partial"
    partial.write_text(json.dumps(merged, indent=1), encoding="utf-8")
    os.replace(partial, folder / f"{experiment}.json")


def load(folder: Path) -> dict[str, list[State]]:
    """What `save` wrote: the runs of each experiment."""
    return {file.stem: [State(**values) for values in _read(file).values()] for file in sorted(folder.glob("*.json"))}


def _read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def table(experiments: Mapping[str, Iterable[State]]) -> str:
    """One line per experiment: number of runs, complete, interrupted and to do, and the estimated remaining time."""
    rows = [HEADER, *(_row(experiment, list(states)) for experiment, states in experiments.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)


def _row(experiment: str, states: list[State]) -> tuple[str, ...]:
    done = sum(state.on_file for state in states)
    half = [state for state in states if state.epoch and not state.on_file]
    epochs = ", ".join(f"{state.epoch} of {state.epochs}" for state in half)
    left = [state.seconds for state in states if not state.on_file]
    known = [seconds for seconds in left if seconds is not None]
    time = "-" if not left else "not measured yet" if len(known) < len(left) else f"about {_duration(sum(known))}"
    return (experiment, str(len(states)), str(done), f"{len(half)} (epoch {epochs})" if half else "0",
            str(len(states) - done - len(half)), time)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
