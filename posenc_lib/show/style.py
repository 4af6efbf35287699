"""The book's look: one set of colours, names and line styles through all figures."""
import matplotlib.pyplot as plt
import seaborn as sns

from posenc_lib.measure.canvas import POSITION_MAPS

COLOURS = sns.color_palette("colorblind")
PADDING_COLOURS = {"zeros": COLOURS[0], "reflect": COLOURS[1], "replicate": COLOURS[2], "circular": COLOURS[4]}
MAP_COLOURS = dict(zip(POSITION_MAPS, (COLOURS[n] for n in (3, 5, 9, 7, 8)), strict=True))   # of page 02's target maps
HEAD_MARKERS = {"gapnet": "o", "permutenet": "s"}
NAMES = {"gapnet": "GAPNet", "permutenet": "PermuteNet", "zeros": "zero", "location": "location",
         "image": "image class", "augshift": "AugShift", "blurpool": "BlurPool"}
NAMES |= {   # page 05: variants of training, and the border fill
    "baseline_long": "baseline, twice as long", "one_crop": "one crop", "two_crops": "two crops",
    "blurpool_augshift": "BlurPool + AugShift", "mse_only": "MSE without crops", "random_padding": "random padding",
    "circular_padding": "circular padding", "constant": "black"}
PAPER = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}     # the paper's value
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}    # what guessing gives


def use_style() -> None:
    """The book's look; called by the first cell of every page."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})
