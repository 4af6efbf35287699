"""Figures made of images: feature maps, image grids, boxes, label maps."""
from collections.abc import Collection, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle

from posenc_lib.data import streets
from posenc_lib.show import style
from posenc_lib.show.style import COLOURS, PADDING_COLOURS


def place_field_maps(fields: Sequence[np.ndarray], eta2: Sequence[float]) -> Figure:
    """Mean response of single channels by cell, each on its own scale, titled with the variance the cell explains.

    fields  k x k arrays of mean z_c
    eta2    fraction of each channel's variance explained, 0..1
    """
    fig, axes = plt.subplots(1, len(fields), figsize=(1.1 * len(fields), 1.5), squeeze=False, layout="constrained")
    for ax, field, fraction in zip(axes[0], fields, eta2, strict=True):
        ax.imshow(np.asarray(field))
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"η² = {fraction:.0%}", fontsize="small")
        ax.spines[:].set_visible(True)
    return fig


def place_fields_by_cell(rows: Mapping[str, Sequence[Mapping | None]]) -> Figure:
    """The place field of one channel for each cell (column) in each network (row), all on one scale.

    rows  network -> for each cell, {"field", "eta2"} of a channel that responds most there, or None if there is none;
          "field" k x k, mean z_c by cell (`gapnet_vs_permutenet.selectivity`)
    Colour: (mean z_c of the cell - mean z_c) / standard deviation of z_c over all canvases.  The cell is outlined.
    """
    cells = len(next(iter(rows.values())))
    k = round(cells ** 0.5)
    fig, axes = plt.subplots(len(rows), cells, squeeze=False, layout="constrained",
                             figsize=(0.95 * cells + 1.2, 1.2 * len(rows) + 0.3))
    for (label, channels), axes_row in zip(rows.items(), axes, strict=True):
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize="small")
        for cell, (channel, ax) in enumerate(zip(channels, axes_row, strict=True)):
            ax.set(xticks=[], yticks=[], xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), aspect="equal")
            ax.spines[:].set_visible(channel is not None)
            if channel is None:
                ax.text((k - 1) / 2, (k - 1) / 2, "none", ha="center", va="center", fontsize="small")
                continue
            field = np.asarray(channel["field"])
            deviation = (field.var() / channel["eta2"]) ** 0.5   # eta2 is the field's share of the variance
            image = ax.imshow((field - field.mean()) / deviation, cmap="RdBu_r", vmin=-3, vmax=3)
            ax.set_title(f"{channel['eta2']:.0%}", fontsize="small", pad=3)
            ax.add_patch(Rectangle((cell % k - 0.5, cell // k - 0.5), 1, 1, fill=False, edgecolor="black"))
    fig.colorbar(image, ax=axes, shrink=0.8, label="standard deviations", ticks=(-3, 0, 3))
    return fig


def sliding_answers(pictures: Mapping[int, np.ndarray], answers: Mapping[str, Sequence[int]], classes: Sequence[str],
                    stride: int) -> Figure:
    """An image at some shifts, above what each network predicts at every shift.

    pictures  shift in pixels -> grey values (row, col) of the shifted image
    answers   network -> predicted class at 0, 1, .. pixels
    stride    vertical lines are drawn at its multiples
    A prediction other than the first is orange.
    """
    shifts = len(next(iter(answers.values())))
    fig = plt.figure(figsize=(9, 1.5 + 0.34 * len(answers)), layout="constrained")
    above, ax = fig.subplots(2, 1, height_ratios=(1, 0.34 * len(answers)), sharex=True)
    for n, picture in enumerate(pictures.values()):
        inset = above.inset_axes((n / len(pictures), 0, 0.98 / len(pictures), 1))
        inset.imshow(picture, cmap="gray")
        inset.set(xticks=[], yticks=[])
        inset.set_title(f"{list(pictures)[n]} pixels", fontsize="small")
    above.axis("off")
    for row, given in enumerate(answers.values()):
        for pixels, answer in enumerate(given):
            same = answer == given[0]
            ax.add_patch(Rectangle((pixels - 0.46, row - 0.4), 0.92, 0.8, facecolor="0.85" if same else COLOURS[1]))
            ax.text(pixels, row, classes[answer], ha="center", va="center", fontsize="small",
                    color="0.35" if same else "black")
    for pixels in range(stride, shifts - 1, stride):
        ax.axvline(pixels, color="0.5", linewidth=1, zorder=0)
    ax.set(xlim=(-0.6, shifts - 0.4), ylim=(len(answers) - 0.4, -0.6), xlabel="shift to the right (pixels)")
    ax.set_yticks(range(len(answers)), answers)
    ax.set_xticks(range(0, shifts, stride // 2))
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
    return fig


def padded_squares(padded: Mapping[str, np.ndarray], margin: int) -> Figure:
    """Small padded arrays as squares of numbers, the `margin` of padding tinted in the padding mode's colour."""
    fig, axes = plt.subplots(1, len(padded), figsize=(2 * len(padded), 2.3), squeeze=False, layout="constrained")
    for ax, (mode, values) in zip(axes[0], padded.items(), strict=True):
        side = len(values)
        inner = side - 2 * margin
        for (row, col), value in np.ndenumerate(values):
            is_padding = min(row, col) < margin or max(row, col) >= side - margin
            ax.add_patch(Rectangle((col, row), 1, 1, edgecolor="white", linewidth=1,
                                   facecolor=(*PADDING_COLOURS[mode], 0.3) if is_padding else "0.92"))
            ax.text(col + 0.5, row + 0.5, f"{value:g}", ha="center", va="center", fontsize="x-small",
                    fontweight="normal" if is_padding else "bold")
        ax.add_patch(Rectangle((margin, margin), inner, inner, fill=False, edgecolor="0.15", linewidth=1.5))
        ax.set(xlim=(0, side), ylim=(side, 0), aspect="equal", title=style.label(mode))
        ax.axis("off")
    return fig


def feature_maps(rows: Mapping[str, Mapping[str, np.ndarray]], signed: Collection[str] = ()) -> Figure:
    """A grid of feature maps, row label -> column label -> map; the maps of a row share one scale, of grey or, around
    0, of red and blue.

    signed  labels of the rows in red (above 0) and blue (below)
    A column named after a padding mode is framed in its colour.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    fig, axes = plt.subplots(len(rows), len(columns), squeeze=False, layout="constrained",
                             figsize=(1.5 * len(columns) + 0.4, 1.6 * len(rows)))
    for number, (axes_row, (label, maps)) in enumerate(zip(axes, rows.items(), strict=True)):
        values = np.concatenate([np.ravel(m) for m in maps.values()])
        low, high = np.percentile(values, (0.5, 99.5))
        if label in signed:
            high = np.percentile(np.abs(values), 99.5) or 1
            low = -high
        for ax, column in zip(axes_row, columns, strict=True):
            if column not in maps:
                ax.set_axis_off()
                continue
            ax.imshow(maps[column], cmap="vlag" if label in signed else "gray", vmin=low, vmax=high)
            ax.spines[:].set_visible(False)
            ax.add_patch(Rectangle(   # just outside the border pixels, which the figure is about
                (-0.015, -0.015), 1.03, 1.03, transform=ax.transAxes, clip_on=False, fill=False, linewidth=3,
                edgecolor=PADDING_COLOURS.get(column, "0.6")))
            ax.set(xticks=[], yticks=[], title=style.label(column) if number == 0 else "")
        axes_row[0].set_ylabel(label)
    return fig


def picture_grid(rows: Mapping[str, Mapping[str, np.ndarray]],
                 captions: Mapping[tuple[str, str], str] | None = None) -> Figure:
    """A grid of images: row label -> column label -> photograph (row, col, rgb) or map (row, col), both in 0..1.

    captions  (row label, column label) -> text below that image
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    height, width = np.shape(next(iter(next(iter(rows.values())).values())))[:2]
    inches = 1.35 * max(1, width / height) ** 0.5    # wide images are drawn larger
    size = inches * len(columns) + 0.8, (inches * height / width + 0.15) * len(rows)
    fig, axes = plt.subplots(len(rows), len(columns), squeeze=False, layout="constrained", figsize=size)
    for number, (axes_row, (label, pictures)) in enumerate(zip(axes, rows.items(), strict=True)):
        for ax, column in zip(axes_row, columns, strict=True):
            if column in pictures:
                ax.imshow(np.asarray(pictures[column]), vmin=0, vmax=1)
            ax.spines[:].set_visible(False)
            ax.set(xticks=[], yticks=[])
            ax.set_title("" if number else column, fontsize="small")
            ax.set_xlabel((captions or {}).get((label, column), ""), fontsize="x-small")
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return fig


def zoomed(pictures: Mapping[str, np.ndarray], details: Mapping[str, np.ndarray], window: tuple[slice, slice],
           fig: Figure | SubFigure) -> np.ndarray:
    """Images in a row, each with the same window enlarged below it; returns their axes, (2, image).

    pictures  title -> image (row, col, rgb), 0..1
    details   title -> what the window shows, of the image's size, where it is not the image itself
    window    rows and columns, framed in the images
    """
    rows, cols = window
    height, width = np.shape(next(iter(pictures.values())))[:2]
    ratios = height / width, (rows.stop - rows.start) / (cols.stop - cols.start)
    axes = fig.subplots(2, len(pictures), squeeze=False, height_ratios=ratios)
    for (above, below), (title, picture) in zip(axes.T, pictures.items(), strict=True):
        above.imshow(picture)
        above.set_title(title, fontsize="small")
        above.add_patch(Rectangle((cols.start - 0.5, rows.start - 0.5), cols.stop - cols.start,
                                  rows.stop - rows.start, fill=False, edgecolor="white", linewidth=1.5))
        below.imshow(details.get(title, picture)[window])
        for ax in (above, below):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    return axes


def boxes(ax: Axes, boxes: np.ndarray, styles: Sequence[str] | None = None,
          scores: Sequence[float] | None = None) -> None:
    """Draw boxes (left, top, width, height) on an image, each in its line style, fainter for lower scores (0..1)."""
    for n, (left, top, width, height) in enumerate(np.asarray(boxes, float).reshape(-1, 4)):
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=COLOURS[1], linewidth=1.2,
                               linestyle=styles[n] if styles else "-", alpha=scores[n] if scores else 1))


def class_colours(classes: Sequence[str]) -> np.ndarray:
    """Return the colours of a label map by class number, (256, 3), 0..1, in the Cityscapes palette with void in black.

    classes  names; CamVid's take the colours of their Cityscapes counterparts, unknown ones are grey
    """
    counterparts = {"pavement": "sidewalk", "tree": "vegetation", "sign": "traffic sign", "pedestrian": "person",
                    "bicyclist": "rider"}
    palette = dict(zip(streets.CLASSES, streets.COLOURS, strict=True))
    colours = np.zeros((256, 3))
    for n, name in enumerate(classes):
        colours[n] = np.array(palette.get(counterparts.get(name, name), (128, 128, 128))) / 255
    return colours


def class_legend(fig: Figure, classes: Sequence[str], numbers: Sequence[int]) -> None:
    """Add a legend of label-map colours below a figure, for the given class numbers."""
    colours = class_colours(classes)
    fig.legend(handles=[Patch(color=colours[n], label=classes[n]) for n in numbers], loc="outside lower center",
               ncols=6, fontsize="small")
