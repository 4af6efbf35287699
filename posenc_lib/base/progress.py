"""Progress bars in JupyterLab and in a terminal; plain lines of text everywhere."""
import os
import sys
import time
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm


def watched() -> bool:
    """Whether to draw bars: in JupyterLab and in a terminal, but not in a pipe or under run_all.sh (POSENC_HEADLESS).
    """
    return "POSENC_HEADLESS" not in os.environ and ("ipykernel" in sys.modules or sys.stderr.isatty())


def bar(items: Iterable, label: str, n: int | None = None) -> Iterable:
    """Iterate over `items` under a progress bar that disappears at the end; without a bar where nobody watches.

    n  number of items, if they have no length
    """
    return tqdm(items, desc=label, total=n, leave=False) if watched() else items


def counted_bar(items: Iterable, n: int, label: str, note: str = "") -> Iterator:
    """Iterate as `bar` does, then print one line: label, number of items, seconds, note."""
    start, ran = time.monotonic(), 0
    for item in bar(items, label, n):
        yield item
        ran += 1
    log(f"{label}: {ran} ran in {time.monotonic() - start:.0f} s{note and '; '}{note}")


def log(line: str) -> None:
    """Print a line and flush it."""
    print(line, flush=True)
