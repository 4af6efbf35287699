"""One function a kind of figure: data in, axes out; one look, one set of colours through the whole book."""
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from posenc_lib import streets
from posenc_lib.canvas import POSITION_MAPS

_C = sns.color_palette("colorblind")
PADDING_COLOURS = {"zeros": _C[0], "reflect": _C[1], "replicate": _C[2], "circular": _C[4]}   # through the whole book
MAP_COLOURS = dict(zip(POSITION_MAPS, (_C[3], _C[5], _C[9], _C[7], _C[8]), strict=True))   # of page 02's target maps
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


def accuracy_by_grid(summary: pd.DataFrame, task: str, ax: Axes) -> Axes:
    """Table 1 as a picture: accuracy (%) by padding mode and grid, one marker a head, its interval, paper and chance.

    summary  rows of task, head, padding_mode, grid, mean, low, high, chance, paper (percent)
    """
    columns = list(dict.fromkeys(zip(summary["grid"], summary["padding_mode"], strict=True)))
    for x, (grid, mode) in enumerate(columns):
        cells = summary[(summary["task"] == task) & (summary["grid"] == grid) & (summary["padding_mode"] == mode)]
        if cells.empty:
            ax.text(x, 50, "not run", ha="center", color="0.35", fontsize="small")
            continue
        ax.hlines(cells["chance"].iloc[0], x - 0.4, x + 0.4, **CHANCE)
        for row in cells.itertuples():
            at = x + (0.15 if row.head == "permutenet" else -0.15)
            ax.plot([at, at], [row.low, row.high], color=PADDING_COLOURS[mode], linewidth=2)
            ax.plot(at, row.mean, HEAD_MARKERS[row.head], color=PADDING_COLOURS[mode], markersize=8,
                    markerfacecolor="white" if row.head == "permutenet" else None)
            ax.hlines(row.paper, at - 0.13, at + 0.13, **PAPER)
    ax.set_xticks(range(len(columns)), [f"{NAMES.get(mode, mode)}\n{grid}×{grid}" for grid, mode in columns])
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-3, 104), ylabel="test accuracy (%)", title=f"Task: {NAMES[task]}")
    ax.legend(handles=[
        Line2D([], [], color="0.3", marker=HEAD_MARKERS["gapnet"], linestyle="", label="GAPNet"),
        Line2D([], [], color="0.3", marker=HEAD_MARKERS["permutenet"], markerfacecolor="white", linestyle="",
               label="PermuteNet"),
        Line2D([], [], **PAPER, label="paper"), Line2D([], [], **CHANCE, label="chance")],
        fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def above_chance(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Both tasks with equally many answers: percent of the way from chance to 100 %, by number of answers.

    summary  rows of task, classes, mean, low, high
    """
    for task, colour, shift in (("location", _C[3], -0.06), ("image", _C[7], 0.06)):
        rows = summary[summary["task"] == task].sort_values("classes")
        at = np.arange(len(rows)) + shift
        ax.vlines(at, rows["low"], rows["high"], color=colour, linewidth=2)
        ax.plot(at, rows["mean"], "o-" if task == "location" else "s-", color=colour, label=NAMES[task])
        ax.set_xticks(range(len(rows)), [f"{n:.0f} answers" for n in rows["classes"]])
    ax.axhline(0, **CHANCE)
    ax.set(ylabel="way from chance to 100 % (%)", xlim=(-0.5, len(rows) - 0.5))
    ax.legend(title="task, under the shuffle", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def bars(summary: pd.DataFrame, labels: Sequence[str], ax: Axes, *, chance: float) -> Axes:
    """Accuracy (%) of a few conditions with interval, and the chance line.  summary: rows of mean, low, high."""
    at = np.arange(len(summary))
    ax.bar(at, summary["mean"], color="0.75", width=0.6)
    ax.vlines(at, summary["low"], summary["high"], color="0.15", linewidth=2)
    ax.axhline(chance, **CHANCE)
    ax.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize="small",
                color="0.35")
    ax.set_xticks(at, labels)
    ax.set(ylim=(0, 104), ylabel="location accuracy (%)")
    return ax


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


def selectivity_curve(deciles: Sequence[float], ax: Axes, **line) -> Axes:
    """Share of each channel's variance that the cell explains, channels sorted.  deciles: 11 of it, 0..1"""
    ax.plot(np.linspace(0, 100, len(deciles)), 100 * np.sort(deciles)[::-1], **line)
    ax.set(xlabel="channels, from most to least selective (%)", ylabel="variance explained\nby the cell, η² (%)",
           ylim=(-3, 103))
    return ax


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
        ax.add_patch(plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=_C[1], linewidth=1.2,
                                   linestyle=styles[n] if styles else "-", alpha=strength[n] if strength else 1))


def scores_by_map(summary: pd.DataFrame, ax: Axes) -> Axes:
    """SPC on each target map, one marker a network with its interval; the paper's VGG-16 dashed.

    summary  rows of network, target, mean, low, high, paper_spc (nan where the paper has none)
    """
    networks = list(dict.fromkeys(summary["network"]))
    for n, network in enumerate(networks):
        rows = summary[summary["network"] == network].set_index("target").reindex(POSITION_MAPS)
        at = np.arange(len(rows)) + 0.7 * ((n + 0.5) / len(networks) - 0.5)
        ax.vlines(at, rows["low"], rows["high"], color=_C[n % 10], linewidth=2)
        ax.plot(at, rows["mean"], "osD^vP*X<>"[n % 10], color=_C[n % 10], label=network, markersize=6)
    paper = summary.groupby("target")["paper_spc"].max().reindex(POSITION_MAPS)
    ax.hlines(paper, np.arange(5) - 0.4, np.arange(5) + 0.4, **PAPER, label="paper, VGG-16")
    ax.axhline(0, **CHANCE)
    ax.set_xticks(range(5), POSITION_MAPS)
    ax.set(ylabel="SPC", xlim=(-0.6, 4.6), ylim=(-0.55, 1.03))
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def scores_by_padding(summary: pd.DataFrame, single: pd.DataFrame, ax: Axes) -> Axes:
    """SPC by padding mode: random networks open, trained ones filled, single runs as dots beside their interval.

    summary  rows of table ("untrained" or "trained"), variant (the mode), mean, low, high; single  rows of spc
    """
    modes = list(dict.fromkeys(single["variant"]))
    for table, shift in (("untrained", -0.17), ("trained", 0.17)):
        for at, mode in enumerate(modes):
            colour = PADDING_COLOURS.get(mode, "0.35")
            dots = single[(single["table"] == table) & (single["variant"] == mode)]["spc"].dropna().astype(float)
            ax.plot([at + shift] * len(dots), dots, "o", color=colour,
                    markerfacecolor=colour if table == "trained" else "white")
            for row in summary[(summary["table"] == table) & (summary["variant"] == mode)].itertuples():
                ax.vlines(at + shift + 0.12, row.low, row.high, color=colour, linewidth=2)
    ax.axhline(0, **CHANCE)
    ax.set_xticks(range(len(modes)), [NAMES.get(mode, mode) for mode in modes], rotation=30)
    ax.set(ylim=(-0.5, 1.03), xlim=(-0.6, len(modes) - 0.4))
    return ax


def score_ladder(summary: pd.DataFrame, variants: Sequence[str], ax: Axes) -> Axes:
    """SPC from one variant to the next, a line a target map: this run with its interval, the paper dashed.

    summary  rows of variant, target, mean, low, high, paper_spc
    """
    for n, (target, rows) in enumerate(summary.groupby("target", sort=False)):
        rows = rows.set_index("variant").reindex(variants)
        at = np.arange(len(variants)) + 0.06 * (n - 1)
        colour = MAP_COLOURS[target]
        ax.vlines(at, rows["low"], rows["high"], color=colour, linewidth=2)
        ax.plot(at, rows["mean"], "o-", color=colour, label=target, markersize=5)
        ax.plot(at, rows["paper_spc"], "--", color=colour, linewidth=1.2)
    ax.axhline(0, **CHANCE)
    labels = [variant.partition(", ")[2].replace(" ", "\n") or "as it is" for variant in variants]
    ax.set_xticks(range(len(variants)), labels, fontsize="x-small")
    ax.set(ylim=(-0.25, 1.03), xlim=(-0.3, len(variants) - 0.7))
    return ax


def accuracy_by_layer(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Location accuracy (%) by layer, one line a head with its interval, chance, and the layer's ceiling.

    summary  rows of layer (in order of depth), head, mean, low, high, chance, ceiling (percent)
    """
    layers = list(dict.fromkeys(summary["layer"]))
    for n, (head, rows) in enumerate(summary.groupby("head", sort=False)):
        at = np.array([layers.index(layer) for layer in rows["layer"]]) + 0.07 * (n - 1)
        ax.vlines(at, rows["low"], rows["high"], color=_C[n], linewidth=2)
        ax.plot(at, rows["mean"], "os^D"[n] + "-", color=_C[n], label=head, markersize=5)
    ceiling = summary.drop_duplicates("layer")["ceiling"]
    ax.hlines(ceiling, np.arange(len(layers)) - 0.5, np.arange(len(layers)) + 0.5, color="0.75", linewidth=4, zorder=0,
              label="the most a layer can know")
    ax.axhline(summary["chance"].iloc[0], **CHANCE, label="chance")
    ax.set_xticks(range(len(layers)), layers, fontsize="small")
    ax.set(ylim=(-3, 104), xlabel="layer")
    return ax


def dots_by_group(summary: pd.DataFrame, group: str, kind: str, ax: Axes, floor: float = -1) -> Axes:
    """A number by group, one marker a kind, with its interval; what is below `floor` is drawn there.

    summary  rows of `group`, `kind`, mean, low, high
    """
    groups = list(dict.fromkeys(summary[group]))
    for n, (label, rows) in enumerate(summary.groupby(kind, sort=False)):
        at = np.array([groups.index(value) for value in rows[group]]) + 0.2 * (n - 0.5)
        ax.vlines(at, rows["low"].clip(floor), rows["high"].clip(floor), color=_C[n], linewidth=2)
        ax.plot(at, rows["mean"].clip(floor), "os^D"[n], color=_C[n], label=label)
    ax.axhline(0, **CHANCE)
    ax.set_xticks(range(len(groups)), groups, rotation=40, ha="right", fontsize="small")
    ax.legend(fontsize="small")
    return ax


def excess_by_depth(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Border energy above that in true surroundings, by layer; one line a padding mode.

    summary  rows of layer (in order of depth), padding_mode, mean, low, high, in doublings
    """
    layers = list(dict.fromkeys(summary["layer"]))
    ax.axhline(0, color="0.25", linestyle="-.", linewidth=1.2, label="true surroundings")
    for n, (mode, rows) in enumerate(summary.groupby("padding_mode", sort=False)):
        at = np.array([layers.index(layer) for layer in rows["layer"]]) + 0.12 * (n - 1.5)
        ax.vlines(at, rows["low"], rows["high"], color=PADDING_COLOURS[mode], linewidth=2, alpha=0.7)
        ax.plot(at, rows["mean"], "o-", color=PADDING_COLOURS[mode], label=NAMES.get(mode, mode), markersize=5)
    ax.set_xticks(range(len(layers)), layers, rotation=30)
    return ax


def error_by_distance(curves: pd.DataFrame, ax: Axes, floor: float = 1e-9) -> Axes:
    """Padding error by distance to the border on a logarithmic axis; a curve ends where the error is exactly 0.

    curves  rows of padding_mode, distance (pixels of the image), error
    """
    for mode, rows in curves.groupby("padding_mode", sort=False):
        rows = rows[rows["error"] > floor]
        ax.plot(rows["distance"], rows["error"], ".-", color=PADDING_COLOURS[mode], label=NAMES.get(mode, mode))
    ax.axhline(1, **CHANCE)
    ax.set(yscale="log", ylim=(floor, max(ax.get_ylim()[1], 3, 2 * curves["error"].max())))   # axes may be shared
    return ax


def mode_matrix(values: pd.DataFrame, ax: Axes, label: str) -> Axes:
    """One number for every mode trained with (rows) and run with (columns)."""
    sns.heatmap(values, ax=ax, annot=True, fmt="+.2f", cmap="vlag", center=0, linewidths=1, cbar_kws={"label": label})
    ax.set(xlabel="run with", ylabel="trained with")
    ax.set_xticklabels([NAMES.get(mode, mode) for mode in values.columns])
    ax.set_yticklabels([NAMES.get(mode, mode) for mode in values.index], rotation=0)
    return ax


def agreement_matrix(values: pd.DataFrame, ax: Axes, low: float, high: float) -> Axes:
    """One number for every pair, from `low` to `high`; around 0 where the scale has two signs."""
    sns.heatmap(values, ax=ax, annot=True, fmt=".2f" if low < 0 else ".1f", cmap="vlag" if low < 0 else "viridis",
                vmin=low, vmax=high, linewidths=1, annot_kws={"fontsize": "small"})
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=40)
    return ax


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


def verdict_strip(claims: Sequence[str], verdicts: Sequence[str]) -> Figure:
    """One line a claim, one column a verdict, a mark where they meet."""
    columns = ("reproduced", "reproduced in direction", "not reproduced", "not testable here", "not run")
    marks = dict(zip(columns, (("o", _C[2]), ("^", _C[0]), ("X", _C[3]), ("s", "0.5"), ("_", "0.5")), strict=True))
    fig, ax = plt.subplots(figsize=(8, 0.6 + 0.4 * len(claims)), layout="constrained")
    for y, verdict in enumerate(verdicts):
        mark, colour = marks[verdict]
        ax.plot(columns.index(verdict), y, mark, color=colour, markersize=11)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(claims) - 0.5, -0.5))
    ax.set_xticks(range(len(columns)), [column.replace(" ", "\n", 1) for column in columns])
    ax.set_yticks(range(len(claims)), claims)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    ax.grid(axis="y", color="0.9")
    ax.spines[:].set_visible(False)
    return fig


def dots_by_method(summary: pd.DataFrame, single: pd.DataFrame, methods: Sequence[str], ax: Axes) -> Axes:
    """A percentage, one line a method from the top: single runs as dots, mean and interval, the paper's value dashed.

    summary  rows of method, mean, low, high, paper (nan where it has none); single  rows of method, value
    """
    for y, method in enumerate(methods):
        ax.plot(single[single["method"] == method]["value"], [y] * (single["method"] == method).sum(), "o", color="0.7",
                markersize=4)
        for row in summary[summary["method"] == method].itertuples():
            ax.hlines(y + 0.22, row.low, row.high, color=_C[0], linewidth=2.5)
            ax.plot(row.mean, y + 0.22, "D", color=_C[0], markersize=5)
            ax.vlines(row.paper, y - 0.35, y + 0.45, **PAPER)
    ax.set_yticks(range(len(methods)), methods)
    ax.set(ylim=(len(methods) - 0.4, -0.6))
    ax.grid(axis="y", color="0.92")
    return ax


def curves(summary: pd.DataFrame, x: str, kind: str, ax: Axes) -> Axes:
    """A number against another, one line a kind, with its interval.  summary: rows of `x`, `kind`, mean, low, high"""
    places = sorted(summary[x].unique())
    step = min(np.diff(places), default=1)
    for n, (label, rows) in enumerate(summary.groupby(kind, sort=False)):
        rows = rows.sort_values(x)
        at = rows[x] + 0.04 * step * (n - summary[kind].nunique() / 2)   # side by side, so that intervals can be seen
        ax.vlines(at, rows["low"], rows["high"], color=_C[n], linewidth=1.6, alpha=0.7)
        ax.plot(at, rows["mean"], "os^Dv"[n % 5] + "-", color=_C[n], label=label, markersize=5)
    ax.set_xticks(places)
    return ax
