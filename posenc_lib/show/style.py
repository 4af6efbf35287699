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
NAMES |= {   # page 02: networks, rows of the tables, tables and targets
    "photos": "photographs", "imagenet": "ImageNet", "posenet": "PosENet", "vgg": "VGG", "resnet": "ResNet",
    "depth_1": "1 layer", "depth_2": "2 layers", "depth_3": "3 layers",
    "kernel_1": "1x1", "kernel_3": "3x3", "kernel_7": "7x7",
    **{f"stage_{n}": f"stage {n}" for n in range(1, 6)}, "all_stages": "all stages",
    "padding_1": "padding 1", "padding_2": "padding 2", "padding_removed": "padding removed",
    "without_padding": "without padding", "fig6": "Fig. 6", "shuffled_H": "shuffled H",
}
PAPER = {"color": "0.25", "linestyle": "--", "linewidth": 1.2}     # the paper's value
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}    # what guessing gives


NAMES |= {"true_surroundings": "true surroundings"}   # page 01


def label(key: str) -> str:
    """Return the display name of a key of results: its parts between slashes by `NAMES`, "small, photographs"."""
    return ", ".join(NAMES.get(part, part) for part in key.split("/"))


def use_style() -> None:
    """The book's look; called by the first cell of every page."""
    sns.set_theme(style="ticks", palette="colorblind", context="notebook", font_scale=0.9)
    plt.rcParams.update({"svg.hashsalt": "posenc", "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight",
                         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
                         "image.cmap": "viridis", "image.interpolation": "nearest", "svg.fonttype": "path"})
