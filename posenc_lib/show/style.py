"""The visual style: one set of colours, display names and line styles for all figures, and how a figure is saved."""
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from posenc_lib.base.names import NAMES as NAMES
from posenc_lib.base.names import label as label
from posenc_lib.measure.canvas import POSITION_MAPS
from posenc_lib.nets.padding import PADDING_MODES

COLOURS = sns.color_palette("colorblind")
PADDING_COLOURS = dict(zip(PADDING_MODES, cycle(COLOURS[n] for n in (0, 1, 2, 4, 6, 3, 5, 7, 8, 9)), strict=False))
MAP_COLOURS = dict(zip(POSITION_MAPS, (COLOURS[n] for n in (3, 5, 9, 7, 8)), strict=True))   # target maps of page 02
NETWORK_COLOURS = ("0.35", "#332288", "#882255", "#117733", "#999933")   # architectures of page 02, by order
HEAD_MARKERS = {"gapnet": "o", "permutenet": "s"}
# Colour and marker of ablated sets and rankings (pages 06 and 07): red for the flip response and what is made of it,
# grey for random sets, brown for activation.  Networks that differ in their padding have its colour.
DARK_RED, LIGHT_RED = "#7d2a00", "#eda47f"
KIND_LOOKS = {
    "nothing": ("0.1", "X"), "random": ("0.6", "s"), "rms_matched": ("0.35", "D"), "flip": (COLOURS[3], "o"),
    "flip_mean": (LIGHT_RED, "o"), "only_there": (LIGHT_RED, "^"), "signed": (DARK_RED, "o"),
    "targeted": (DARK_RED, "o"), "other": (LIGHT_RED, "v"), "left": (DARK_RED, "<"), "right": (LIGHT_RED, ">"),
    "rms_activation": (COLOURS[5], "^"), "active": (COLOURS[5], "s"), "shift": (COLOURS[9], "P"),
    "decodability": (COLOURS[6], "<"), "lowest_flip": ("#1f7a8c", "v"),
    "mirrored_network": (COLOURS[9], "s"), "symmetrised_flip": ("0.35", "^"),
    "plain": (PADDING_COLOURS["zeros"], "o"), "circular_padding": (PADDING_COLOURS["circular"], "s"),
}
METHOD_COLOURS = {   # of page 05, none of them a padding mode's but that of circular padding
    "baseline": "0.3", "two_crops": COLOURS[5], "augshift": COLOURS[9], "blurpool": "#999933",
    "blurpool_augshift": "#882255", "circular_padding": PADDING_COLOURS["circular"], "polyphase": "black"}
PAPER: dict[str, Any] = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}   # the paper's value
CHANCE: dict[str, Any] = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}   # chance level


def use_style() -> None:
    """Set the book's matplotlib style, whatever a matplotlibrc says; the first cell of every page calls this."""
    plt.rcdefaults()
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})


def save(fig: Figure, folder: Path, name: str, data: pd.DataFrame | None = None) -> None:
    """Write NAME.svg, NAME.png and, with the plotted numbers, NAME.csv, then close the figure."""
    if engine := fig.get_layout_engine():
        engine.execute(fig)
        fig.set_layout_engine("none")   # laid out once, not again for each file and its bounding box
    box = fig.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])
    fig.savefig(folder / f"{name}.svg", bbox_inches=box, metadata={"Date": None})
    fig.savefig(folder / f"{name}.png", bbox_inches=box)
    plt.close(fig)
    if data is not None:
        data.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
