"""The book's visual style: one set of colours, display names and line styles for all figures."""
from collections.abc import Hashable

import matplotlib.pyplot as plt
import seaborn as sns

from posenc_lib.measure.canvas import POSITION_MAPS

COLOURS = sns.color_palette("colorblind")
PADDING_COLOURS = {"zeros": COLOURS[0], "reflect": COLOURS[1], "replicate": COLOURS[2], "circular": COLOURS[4]}
MAP_COLOURS = dict(zip(POSITION_MAPS, (COLOURS[n] for n in (3, 5, 9, 7, 8)), strict=True))   # target maps of page 02
HEAD_MARKERS = {"gapnet": "o", "permutenet": "s"}
PAPER = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}    # the paper's value
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}    # chance level

# Display names, in figures and tables, of the identifiers in configs, records and rows; the rest print as they are.
NAMES = {
    # heads
    "gapnet": "GAPNet",
    "permutenet": "PermuteNet",
    # padding modes
    "zeros": "zero",
    # tasks
    "location": "location",
    "image": "image class",
    # training methods
    "augshift": "AugShift",
    "blurpool": "BlurPool",
}


def display_name(identifier: Hashable) -> Hashable:
    """Look up the display name of an identifier; anything not in `NAMES` is returned unchanged."""
    return NAMES.get(identifier, identifier)


def use_style() -> None:
    """Set the book's matplotlib style; the first cell of every page calls this."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})
