"""Figures that show pictures: feature maps, grids of pictures, boxes, label maps.  `figures` has them all."""
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from posenc_lib.data import streets
from posenc_lib.show.style import COLOURS, NAMES, PADDING_COLOURS


def place_field_maps(fields: Sequence[np.ndarray], eta2: Sequence[float]) -> Figure:
    """Mean response of single channels by cell, each on its own scale, under the variance that the cell explains.

    fields  k x k arrays of mean z_c; eta2  their shares of variance explained, 0..1
    """
    fig, axes = plt.subplots(1, len(fields), figsize=(1.1 * len(fields), 1.5), squeeze=False, layout="constrained")
    for ax, field, share in zip(axes[0], fields, eta2, strict=True):
        ax.imshow(np.asarray(field))
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"η² = {share:.0%}", fontsize="small")
        ax.spines[:].set_visible(True)
    return fig


def padded_squares(padded: dict[str, np.ndarray], margin: int) -> Figure:
    """Small padded arrays as squares of numbers, what was added tinted in the padding mode's colour."""
    fig, axes = plt.subplots(1, len(padded), figsize=(2 * len(padded), 2.3), squeeze=False,
                             layout="constrained")
    for ax, (mode, values) in zip(axes[0], padded.items(), strict=True):
        side = len(values)
        for (row, col), value in np.ndenumerate(values):
            added = min(row, col) < margin or max(row, col) >= side - margin
            ax.add_patch(plt.Rectangle((col, row), 1, 1, edgecolor="white", linewidth=1,
                                       facecolor=(*PADDING_COLOURS[mode], 0.3) if added else "0.92"))
            ax.text(col + 0.5, row + 0.5, f"{value:g}", ha="center", va="center", fontsize="x-small",
                    fontweight="normal" if added else "bold")
        inner = side - 2 * margin
        ax.add_patch(plt.Rectangle((margin, margin), inner, inner, fill=False, edgecolor="0.15", linewidth=1.5))
        ax.set(xlim=(0, side), ylim=(side, 0), aspect="equal", title=NAMES.get(mode, mode))
        ax.axis("off")
    return fig


def feature_maps(rows: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Maps in a grid of pictures: row label -> column label -> map.  A row shares one scale of grey.

    A column named for a padding mode is framed in its colour.
    """
    n = max(len(row) for row in rows.values())
    fig, axes = plt.subplots(len(rows), n, figsize=(1.5 * n + 0.4, 1.6 * len(rows)), squeeze=False,
                             layout="constrained")
    for number, (axes_row, (label, maps)) in enumerate(zip(axes, rows.items(), strict=True)):
        low, high = np.percentile(np.concatenate([np.ravel(m) for m in maps.values()]), (0.5, 99.5))
        for ax, (column, values) in zip(axes_row, maps.items(), strict=True):
            ax.imshow(values, cmap="gray", vmin=low, vmax=high)
            ax.spines[:].set_visible(False)
            ax.add_patch(plt.Rectangle(   # beside the outermost pixels, which are what this is about
                (-0.015, -0.015), 1.03, 1.03, transform=ax.transAxes, clip_on=False, fill=False, linewidth=3,
                edgecolor=PADDING_COLOURS.get(column, "0.6")))
            ax.set(xticks=[], yticks=[], title=NAMES.get(column, column) if number == 0 else "")
        axes_row[0].set_ylabel(label)
    return fig


def picture_grid(rows: dict[str, dict[str, np.ndarray]], under: dict[tuple[str, str], str] | None = None) -> Figure:
    """Row label -> column label -> a photograph (row, col, rgb), 0..1, or a map (row, col) on the scale 0..1.

    under  what stands below a picture: (row label, column label) -> text
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    shape = np.shape(next(iter(next(iter(rows.values())).values())))
    width = 1.35 * max(1, shape[1] / shape[0]) ** 0.5                      # wide pictures are drawn larger
    fig, axes = plt.subplots(len(rows), len(columns), squeeze=False, layout="constrained", figsize=(
        width * len(columns) + 0.8, (width * shape[0] / shape[1] + 0.15) * len(rows)))
    for number, (axes_row, (label, pictures)) in enumerate(zip(axes, rows.items(), strict=True)):
        for ax, column in zip(axes_row, columns, strict=True):
            if column in pictures:
                ax.imshow(np.asarray(pictures[column]), vmin=0, vmax=1)
            ax.spines[:].set_visible(False)
            ax.set(xticks=[], yticks=[])
            ax.set_title("" if number else column, fontsize="small")
            ax.set_xlabel((under or {}).get((label, column), ""), fontsize="x-small")
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return fig


def boxes(ax: Axes, boxes: np.ndarray, styles: Sequence[str] | None = None,
          strength: Sequence[float] | None = None) -> None:
    """Draw boxes (left, top, width, height) over a picture, each in its line style; fainter the less its strength."""
    for n, (left, top, width, height) in enumerate(np.asarray(boxes, float).reshape(-1, 4)):
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=COLOURS[1],
                                   linewidth=1.2, linestyle=styles[n] if styles else "-",
                                   alpha=strength[n] if strength else 1))


def class_colours(classes: Sequence[str]) -> np.ndarray:
    """Colours of a label map, (256, 3), 0..1, by the number of the class: Cityscapes' own, void black.

    classes  names; those of CamVid are told by their counterparts in Cityscapes
    """
    same = {"pavement": "sidewalk", "tree": "vegetation", "sign": "traffic sign", "pedestrian": "person",
            "bicyclist": "rider"}
    named = dict(zip(streets.CLASSES, streets.COLOURS, strict=True))
    colours = np.zeros((256, 3))
    for n, name in enumerate(classes):
        colours[n] = np.array(named.get(same.get(name, name), (128, 128, 128))) / 255
    return colours


def class_legend(fig: Figure, classes: Sequence[str], shown: Sequence[int]) -> None:
    """The colours of a label map by name, for the numbers of the classes that are `shown`, under a figure."""
    colours = class_colours(classes)
    fig.legend(handles=[Patch(color=colours[n], label=classes[n]) for n in shown], loc="outside lower center",
               ncols=7, fontsize="x-small")
