"""The book's look: one set of colours, names and line styles through all figures."""
from itertools import cycle

import matplotlib.pyplot as plt
import seaborn as sns

from posenc_lib.measure.canvas import POSITION_MAPS
from posenc_lib.nets.padding import PADDING_MODES

COLOURS = sns.color_palette("colorblind")
PADDING_COLOURS = dict(zip(PADDING_MODES, cycle(COLOURS[n] for n in (0, 1, 2, 4, 6, 3, 5, 7, 8, 9)), strict=False))
MAP_COLOURS = dict(zip(POSITION_MAPS, (COLOURS[n] for n in (3, 5, 9, 7, 8)), strict=True))   # of page 02's target maps
HEAD_MARKERS = {"gapnet": "o", "permutenet": "s"}
NAMES = {"gapnet": "GAPNet", "permutenet": "PermuteNet", "zeros": "zero", "location": "location",
         "image": "image class", "augshift": "AugShift", "blurpool": "BlurPool"}
PAPER = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}     # the paper's value
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}    # what guessing gives


def use_style() -> None:
    """The book's look; called by the first cell of every page."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})
