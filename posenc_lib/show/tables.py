"""Tables as Markdown text, for pages and reports."""
import pandas as pd


def markdown_table(frame: pd.DataFrame) -> str:
    """Format a frame, without its index, as a Markdown pipe table; pipes in cells are escaped."""
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (frame.columns, *frame.to_numpy())]
    rows.insert(1, ["---"] * len(frame.columns))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
