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
NAMES |= {   # pages 06 and 07: rankings, and how the channels of an ablation are chosen
    "nothing": "nothing", "flip": "flip response", "shift": "shift response", "decodability": "decodability",
    "rms_activation": "RMS activation", "lowest_flip": "lowest flip response", "random": "random",
    "rms_matched": "random, RMS-matched", "flip_mean": "flip response, set to mean",
    "signed": "signed response", "active": "activation inside minus outside", "only_there": "flip response, only there",
    "signed_left": "signed, left", "signed_right": "signed, right",
    "plain": "plain", "circular_padding": "circular padding", "never_flipped": "never mirrored",
    "without_skip": "without the skip", "trained": "as trained",
    "faster": "Faster R-CNN", "cascade": "Cascade R-CNN", "csp": "CSP"}
PAPER = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}     # the paper's value
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}    # what guessing gives


def use_style() -> None:
    """The book's look; called by the first cell of every page."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})
