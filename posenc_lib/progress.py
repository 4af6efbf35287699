"""A progress bar in JupyterLab and in a terminal, one line when nobody is watching."""
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from tqdm.auto import tqdm


def watched() -> bool:
    """True in JupyterLab and in a terminal; False under papermill (run_all.sh sets POSENC_HEADLESS) and in a pipe."""
    return "POSENC_HEADLESS" not in os.environ and ("ipykernel" in sys.modules or sys.stderr.isatty())


def quiet(items: Sequence, label: str) -> Iterable:
    """Pass `items` on under a bar that goes when it is full; headless, nothing."""
    return tqdm(items, desc=label, leave=False) if watched() else items


def told(items: Sequence, label: str, note: str = "") -> Iterator:
    """As `quiet`, and then one line that stays: label, how many, the seconds they took, note."""
    start = time.monotonic()
    yield from quiet(items, label)
    print(f"{label}: {len(items)} ran in {time.monotonic() - start:.0f} s{note and '; '}{note}")
