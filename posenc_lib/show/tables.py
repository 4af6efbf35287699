"""Tables as Markdown text, for pages and reports."""
import re

import pandas as pd

NUMBER = re.compile(r"[+\u2212-]?[\d.,]+( ?%)?( \[[^]]*\])?|\u2013|")   # with its interval, or missing


def markdown_table(frame: pd.DataFrame) -> str:
    """Format a frame, without its index, as a Markdown pipe table; pipes in cells are escaped, columns of numbers
    aligned to the right.
    """
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (frame.columns, *frame.to_numpy())]
    numbers = [all(NUMBER.fullmatch(cell) for cell in column) for column in zip(*rows[1:], strict=True)]
    rows.insert(1, ["---:" if number else "---" for number in numbers or [False] * len(frame.columns)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_interval(row, digits: int = 1) -> str | None:
    """A row's mean with its interval, as in "70.4 [54.4, 86.3]"; without bounds the mean alone; None without a mean.

    row  mean, low, high, as from `DataFrame.itertuples`
    """
    if pd.isna(row.mean):
        return None
    mean, low, high = (f"{value:.{digits}f}".replace("-", "\u2212") for value in (row.mean, row.low, row.high))
    return mean if pd.isna(row.low) else f"{mean} [{low}, {high}]"
