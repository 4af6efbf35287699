"""Tables as Markdown text, for pages and reports."""
import html
import re

import pandas as pd

NUMBER = re.compile(r"[+\u2212-]?[\d.,]+( ?%)?( \[[^]]*\])?|\u2013|")   # with its interval, or missing


def markdown_table(frame: pd.DataFrame) -> str:
    """Format a frame, without its index, as a Markdown pipe table; pipes in cells are escaped, columns of numbers
    aligned to the right.
    """
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (frame.columns, *frame.to_numpy())]
    rows.insert(1, ["---:" if number else "---" for number in _are_numbers(frame)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def html_table(frame: pd.DataFrame) -> str:
    """Format a frame, without its index, as an HTML table, aligned as `markdown_table` is, whatever the style sheet."""
    sides = ["right" if number else "left" for number in _are_numbers(frame)]

    def row(cells, tag: str) -> str:
        return "<tr>" + "".join(f'<{tag} style="text-align:{side}">{html.escape(str(cell))}</{tag}>'
                                for cell, side in zip(cells, sides, strict=True)) + "</tr>"

    body = "\n".join(row(cells, "td") for cells in frame.to_numpy())
    return f"<table><thead>{row(frame.columns, 'th')}</thead>\n<tbody>{body}</tbody></table>"


def _are_numbers(frame: pd.DataFrame) -> list[bool]:
    return [len(column) > 0 and all(NUMBER.fullmatch(str(cell)) for cell in column) for column in frame.to_numpy().T]


def with_interval(row, digits: int = 1) -> str | None:
    """A row's mean with its interval, as in "70.4 [54.4, 86.3]"; without bounds the mean alone; None without a mean.

    row  mean, low, high, as from `DataFrame.itertuples`
    """
    if pd.isna(row.mean):
        return None
    mean, low, high = (f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\u2212")
                       for value in (row.mean, row.low, row.high))
    return mean if pd.isna(row.low) else f"{mean} [{low}, {high}]"
