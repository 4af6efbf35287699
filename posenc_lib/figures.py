"""Every figure and table of the book: data in, axes out; one look, one set of colours.

A page calls `show` and `table`, which save what they show (figures/<profile>/NAME.svg, .png; NAME.csv, .md) and put it
out twice: as a picture or HTML for JupyterLab, and as MyST with caption, number and downloads for the book.
"""
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from posenc_lib.config import Workspace

_C = sns.color_palette("colorblind")
PADDING_COLOURS = {"zeros": _C[0], "reflect": _C[1], "replicate": _C[2], "circular": _C[4]}   # through the whole book
HEAD_MARKERS = {"gapnet": "o", "permutenet": "s"}
NAMES = {"gapnet": "GAPNet", "permutenet": "PermuteNet", "zeros": "zero", "location": "location", "image": "image class"}
PAPER = dict(color="0.25", linestyle="--", linewidth=1.2)     # the paper's value
CHANCE = dict(color="0.55", linestyle=":", linewidth=1.2)     # what guessing gives


def use_style() -> None:
    """The book's look; called by the first cell of every page."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})


def show(fig: Figure, name: str, caption: str, alt: str, *, workspace: Workspace, data: pd.DataFrame | None = None) -> None:
    """Save a figure, then put it out: the picture for JupyterLab, a numbered figure with its downloads for the book.

    name     of the files, and of the label: {numref}`fig-NAME` refers to it
    caption  MyST text; says n and what the interval is
    alt      what a reader who cannot see it should know
    data     the numbers drawn, saved beside it as NAME.csv
    """
    folder = _folder(workspace)
    fig.savefig(folder / f"{name}.svg", metadata={"Date": None})
    fig.savefig(folder / f"{name}.png")
    files = ["svg", "png"]
    if data is not None:
        data.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        files.append("csv")
    plt.close(fig)
    downloads = " · ".join(f"[{kind}](figures/{name}.{kind})" for kind in files)
    book = f"```{{figure}} figures/{name}.svg\n:name: fig-{name}\n:alt: {_line(alt)}\n\n{caption} ({downloads})\n```"
    display({"image/png": (folder / f"{name}.png").read_bytes(), "text/markdown": book, "text/plain": alt}, raw=True,
            metadata={"image/png": {"width": round(fig.get_figwidth() * 90), "alt": alt}})


def table(frame: pd.DataFrame, name: str, caption: str, *, workspace: Workspace, digits: int = 1) -> None:
    """Save a table (NAME.csv, NAME.md), then put it out: HTML for JupyterLab, a numbered table for the book.

    Referred to as {numref}`tab-NAME`.  Numbers are shown with `digits` decimals, missing ones as a dash; the csv keeps
    them whole.
    """
    folder = _folder(workspace)
    frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    shown = frame.map(lambda v: _cell(v, digits))
    rows = [list(shown.columns), *shown.values.tolist()]
    markdown = ["| " + " | ".join(str(c).replace("|", r"\|") for c in row) + " |" for row in rows]
    markdown.insert(1, "|" + "---|" * len(shown.columns))
    (folder / f"{name}.md").write_text("\n".join(markdown) + "\n")
    listed = "\n".join("* - " + "\n  - ".join(str(c) for c in row) for row in rows)
    book = (f"```{{list-table}} {caption} ([csv](figures/{name}.csv))\n:name: tab-{name}\n:header-rows: 1\n\n{listed}\n```")
    display({"text/html": shown.to_html(index=False), "text/markdown": book, "text/plain": shown.to_string(index=False)}, raw=True)


def _folder(workspace: Workspace) -> Path:
    workspace.figures.mkdir(parents=True, exist_ok=True)
    return workspace.figures


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(value, digits: int) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
