"""A progress bar in JupyterLab and in a terminal, one line when nobody is watching."""
import os
import sys
import time
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm


def watched() -> bool:
    """True in JupyterLab and in a terminal; False under papermill (run_all.sh sets POSENC_HEADLESS) and in a pipe."""
    return "POSENC_HEADLESS" not in os.environ and ("ipykernel" in sys.modules or sys.stderr.isatty())


def bar(items: Iterable, label: str, n: int | None = None) -> Iterable:
    """Pass `items` (`n` of them, if they cannot say) on under a bar that goes when it is full; headless, nothing."""
    return tqdm(items, desc=label, total=n, leave=False) if watched() else items


def counted_bar(items: Iterable, n: int, label: str, note: str = "") -> Iterator:
    """As `bar`, and then one line that stays: label, how many came, the seconds they took, note."""
    start, ran = time.monotonic(), 0
    for item in bar(items, label, n):
        yield item
        ran += 1
    log(f"{label}: {ran} ran in {time.monotonic() - start:.0f} s{note and '; '}{note}")


def log(line: str) -> None:
    """A line that stays, at once."""
    print(line, flush=True)
