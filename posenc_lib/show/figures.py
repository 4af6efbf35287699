"""One function per kind of figure: data in, axes out.  Figures made of images are in `images`."""
import textwrap
from collections.abc import Hashable, Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator
from matplotlib.typing import ColorType
from scipy.special import softmax

from posenc_lib.claims import claim
from posenc_lib.measure.canvas import POSITION_MAPS
from posenc_lib.show import style
from posenc_lib.show.style import (
    CHANCE,
    COLOURS,
    HEAD_MARKERS,
    MAP_COLOURS,
    NETWORK_COLOURS,
    PADDING_COLOURS,
    PAPER,
)

Looks = Mapping[Hashable, tuple[ColorType, str]]    # kind -> colour and marker
BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}    # a legend to the right of the axes
VERDICT_MARKS = {
    claim.REPRODUCED: ("o", COLOURS[2]), claim.SUBSTITUTE: ("o", COLOURS[2]), claim.NEAR: ("o", COLOURS[2]),
    claim.IN_DIRECTION: ("^", COLOURS[0]), claim.INCONCLUSIVE: ("D", COLOURS[7]), claim.CONTRADICTED: ("X", COLOURS[3]),
    claim.NOT_TESTABLE: ("s", COLOURS[7]), claim.NOT_RUN: ("_", COLOURS[7]),
}
PROBE_LOOKS = {   # of heads on frozen networks (pages 04 and 08): format, colour, colour of the marker's face
    "in_order": ("o-", COLOURS[0], None), "in_order_random": ("o--", COLOURS[0], "white"),
    "shuffled": ("s-", "0.4", None), "few_channels": ("D-", COLOURS[9], None), "permuted_labels": ("^-", "0.65", None)}
OUTCOME_MARKS = {claim.RULED_OUT: ("o", COLOURS[2]), claim.RIVAL_HOLDS: ("X", COLOURS[3]),
                 claim.UNDECIDED: ("D", COLOURS[7]), claim.NOT_TRIED: ("_", COLOURS[7]), "–": ("_", COLOURS[7])}


def accuracy_by_grid(summary: pd.DataFrame, task: str, ax: Axes) -> Axes:
    """Table 1 as a figure: accuracy (%) by padding mode and grid, a marker per head, with the paper and chance.

    summary  task, head, padding_mode, grid, mean, low, high, chance and paper (percent); nan where nothing was run
    """
    conditions = list(summary[["grid", "padding_mode"]].drop_duplicates().itertuples(index=False))
    for x, (grid, mode) in enumerate(conditions):
        cells = summary[(summary["task"] == task) & (summary["grid"] == grid) & (summary["padding_mode"] == mode)]
        cells = cells.dropna(subset="mean")
        if cells.empty:
            ax.text(x, 50, "not run", ha="center", color="0.35", fontsize="small")
            continue
        ax.hlines(cells["chance"].iloc[0], x - 0.4, x + 0.4, **CHANCE)
        for row in cells.itertuples():
            shuffled = row.head == "permutenet"
            at = x + (0.15 if shuffled else -0.15)
            ax.vlines(at, row.low, row.high, color=PADDING_COLOURS[mode], linewidth=2)
            ax.plot(at, row.mean, HEAD_MARKERS[row.head], color=PADDING_COLOURS[mode], markersize=8,
                    markerfacecolor="white" if shuffled else None)
            ax.hlines(row.paper, at - 0.13, at + 0.13, **PAPER)
    ax.set_xticks(range(len(conditions)), [f"{style.label(mode)}\n{grid}×{grid}" for grid, mode in conditions],
                  fontsize="small" if len(conditions) > 8 else None)
    ax.set(xlim=(-0.6, len(conditions) - 0.4), ylim=(-3, 104), ylabel="test accuracy (%)",
           title=f"Task: {style.label(task)}")
    return ax


def head_legend() -> list[Line2D]:
    """Handles for the legend of `accuracy_by_grid`."""
    heads = [Line2D([], [], color="0.3", marker=marker, markerfacecolor="white" if head == "permutenet" else None,
                    linestyle="", label=style.label(head)) for head, marker in HEAD_MARKERS.items()]
    return [*heads, Line2D([], [], **PAPER, label="paper"), Line2D([], [], **CHANCE, label="chance")]


def span(low: float, high: float) -> str | None:
    """Format the bounds of an interval; None where there is none."""
    return None if np.isnan(low) else f"[{low:.1f}, {high:.1f}]"


def answers_by_epoch(curves: pd.DataFrame, paper: Sequence[float], ax: Axes) -> Axes:
    """Accuracy times the number of classes after each epoch, one line per network.

    curves  run, padding_mode, epoch, answers
    paper   the paper's values, as numbers of classes too
    """
    for mode, networks in curves.groupby("padding_mode", sort=False):
        for n, (_, line) in enumerate(networks.groupby("run", sort=False)):
            ax.plot(line["epoch"], line["answers"], "o-", markersize=3, color=PADDING_COLOURS[mode],
                    label=None if n else style.label(mode))
    for n, value in enumerate(paper):
        ax.axhline(value, **PAPER, label=None if n else "paper")
    ax.axhline(1, **CHANCE, label="chance")
    ax.yaxis.set_major_locator(MultipleLocator(1))
    ax.xaxis.set_major_locator(MultipleLocator(5))
    ax.grid(axis="y", color="0.9")
    ax.set(xlabel="epoch")
    return ax


def answers_on_one_axis(sums: Sequence[Sequence[float] | None], lines: Sequence[Sequence[float]],
                        axes: Sequence[Axes]) -> None:
    """What a linear head predicts along sum(z), above, and where each label's canvases lie on it, below.

    sums   of each label: the deciles of sum(z), from smallest to largest; None if it has no canvas
    lines  of each label: slope and intercept of the head's line over sum(z)
    axes   two, one above the other, with a common x axis, linear near 0 and logarithmic further out
    """
    colours = sns.color_palette("husl", len(sums))
    ends = np.arcsinh([end(decile for deciles in sums if deciles for decile in deciles) for end in (min, max)])
    margin = 0.05 * (ends[1] - ends[0]) or 1
    x = np.sinh(np.linspace(ends[0] - margin, ends[1] + margin, 600))
    slope, intercept = np.asarray(lines).T
    probability = softmax(x[:, None] * slope + intercept, axis=1)
    for k, (deciles, colour) in enumerate(zip(sums, colours, strict=True)):
        axes[0].plot(x, probability[:, k], color=colour)
        axes[0].fill_between(x, probability[:, k], color=colour, alpha=0.15)
        if deciles:
            axes[1].plot([deciles[0], deciles[-1]], [k, k], color=colour, linewidth=1)
            axes[1].plot([deciles[1], deciles[-2]], [k, k], color=colour, linewidth=5, solid_capstyle="butt")
            axes[1].scatter(deciles[5], k, s=14, color=colour)   # an interval may be too short to be seen
    ticks = [0, *(sign * 10 ** n for sign in (-1, 1) for n in range(5) if x[0] < sign * 10 ** n < x[-1])]
    for ax in axes:
        ax.set_xscale("asinh")
        ax.set_xlim(x[0], x[-1])
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.set_xticks([], minor=True)
    axes[0].set(ylabel="softmax of the head", ylim=(0, 1.02))
    axes[1].set(xlabel="sum(z), the one number that survives the shuffle", yticks=range(len(sums)))
    axes[1].invert_yaxis()


def accuracy_by_label(curves: Sequence[Sequence[float | None]], epochs: Sequence[int], ax: Axes) -> Axes:
    """Accuracy of each label (row) after each epoch (column), as an image from 0 to 1.

    curves  an epoch's accuracies by label, 0..1
    """
    accuracy = np.ma.masked_invalid(np.array(curves, dtype=float).T)   # a label without a canvas stays white
    image = ax.imshow(accuracy, vmin=0, vmax=1, aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="accuracy")
    shown = range(0, len(epochs), max(1, len(epochs) // 5))
    ax.set(xlabel="epoch", yticks=range(len(accuracy)), xticks=list(shown), xticklabels=[epochs[n] for n in shown])
    return ax


def answers_held(curves: pd.DataFrame, x: str, ax: Axes) -> Axes:
    """Accuracy times the number of classes, mean over seeds, one line per number of classes.

    curves  answers, accuracy (0..1) and the column `x`
    """
    held = curves.assign(held=curves["accuracy"] * curves["answers"])
    for n, (answers, rows) in enumerate(held.groupby("answers")):
        mean = rows.groupby(x)["held"].mean()
        ax.plot(mean.index, mean, f"{'o^s'[n % 3]}-", markersize=4, color=NETWORK_COLOURS[1 + n % 4],
                label=f"of {answers}")
    ax.set(ylim=(0, None))
    ax.legend(fontsize="small")
    return ax


def above_chance(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Fraction (%) of GAPNet's above-chance accuracy that PermuteNet retains, by number of classes, one line per task.

    summary  task, answers, mean, low, high
    """
    for task, marker, colour, offset in (("location", "o-", COLOURS[3], -0.06), ("image", "s-", COLOURS[7], 0.06)):
        rows = summary[summary["task"] == task].sort_values("answers")
        _estimates(ax, np.arange(len(rows)) + offset, rows, marker, colour, task, markersize=6)
    ax.set_xticks(range(len(rows)), [f"{n:.0f} classes" for n in rows["answers"]])
    ax.axhline(0, **CHANCE)
    ax.set(ylabel="GAPNet's above-chance\naccuracy retained (%)", xlim=(-0.5, len(rows) - 0.5))
    ax.legend(title="task, channels shuffled", **BESIDE)
    return ax


def bars(summary: pd.DataFrame, labels: Sequence[str], ax: Axes, *, chance: float) -> Axes:
    """Location accuracy (%) of a few conditions with its interval, and chance.  summary: mean, low, high"""
    x = np.arange(len(summary))
    ax.bar(x, summary["mean"], color="0.75", width=0.6)
    ax.vlines(x, summary["low"], summary["high"], color="0.15", linewidth=2)
    ax.axhline(chance, **CHANCE)
    ax.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize="small",
                color="0.35")
    ax.set_xticks(x, labels)
    ax.set(ylim=(0, 104), ylabel="location accuracy (%)")
    return ax


def selectivity_curve(deciles: Sequence[float], ax: Axes, **line) -> Axes:
    """Fraction of each channel's variance explained by the cell, channels sorted.  deciles: 11 of them, 0..1"""
    ax.plot(np.linspace(0, 100, len(deciles)), 100 * np.sort(deciles)[::-1], **line)
    ax.set(xlabel="channels, from most to least selective (%)", ylabel="variance explained\nby the cell, η² (%)",
           ylim=(-3, 103))
    return ax


def scores_by_map(summary: pd.DataFrame, ax: Axes, networks: Sequence[str] | None = None) -> Axes:
    """SPC on each target map, a marker per network with its interval, open for random weights; the paper's VGG-16
    dashed.  A network is its architecture and, after a comma, its weights; one architecture has one colour.

    summary   network, target, mean, low, high, paper_spc (nan if the paper has none)
    networks  all that the figure shows, in order, so that panels with some of them use the same markers
    """
    networks = summary["network"].unique() if networks is None else networks
    architectures = list(dict.fromkeys(network.partition(", ")[0] for network in networks))
    x = np.arange(len(POSITION_MAPS))
    for n, network in enumerate(networks):
        rows = summary[summary["network"] == network].set_index("target").reindex(POSITION_MAPS)
        offset = 0.7 * ((n + 0.5) / len(networks) - 0.5)
        architecture, _, weights = network.partition(", ")
        look = architectures.index(architecture) % len(style.NETWORK_COLOURS)
        _estimates(ax, x + offset, rows, "oDs^v"[look], style.NETWORK_COLOURS[look], network, markersize=6)
        if weights == "random":
            ax.lines[-1].set_markerfacecolor("white")
    paper = summary.groupby("target")["paper_spc"].max().reindex(POSITION_MAPS)
    ax.hlines(paper, x - 0.4, x + 0.4, **PAPER, label="paper, VGG-16")
    ax.axhline(0, **CHANCE)
    ax.set_xticks(x, POSITION_MAPS)
    ax.set(ylabel="SPC", xlim=(-0.6, 4.6), ylim=(-0.55, 1.03))
    ax.legend(fontsize="small", **BESIDE)
    return ax


def scores_by_padding(summary: pd.DataFrame, single: pd.DataFrame, ax: Axes) -> Axes:
    """SPC by padding mode: open dots for random networks, filled for trained ones, one per run beside the interval.

    summary  table ("untrained" or "trained"), variant (the mode), mean, low, high; single  table, variant, spc
    """
    modes = list(single["variant"].unique())
    for table, offset in (("untrained", -0.17), ("trained", 0.17)):
        for x, mode in enumerate(modes):
            colour = PADDING_COLOURS.get(mode, "0.35")
            dots = single[(single["table"] == table) & (single["variant"] == mode)]["spc"].dropna().astype(float)
            rows = summary[(summary["table"] == table) & (summary["variant"] == mode)]
            ax.plot([x + offset] * len(dots), dots, "o", color=colour,
                    markerfacecolor=colour if table == "trained" else "white")
            ax.vlines([x + offset + 0.12] * len(rows), rows["low"], rows["high"], color=colour, linewidth=2)
    ax.axhline(0, **CHANCE)
    ax.set_xticks(range(len(modes)), map(style.label, modes), rotation=30)
    ax.set(ylim=(-0.5, 1.03), xlim=(-0.6, len(modes) - 0.4))
    return ax


def score_ladder(summary: pd.DataFrame, variants: Sequence[str], ax: Axes, beside: pd.DataFrame | None = None,
                 plain: str = "as it is") -> Axes:
    """SPC from one variant to the next, a line per target map, named at its end: runs with their interval, the paper
    dashed.

    summary   variant, target, mean, low, high, paper_spc
    variants  in order; each is labelled with what follows the first comma of its display name
    beside    variant, target, mean of other runs, drawn as open circles
    plain     label of the variant whose display name has no comma
    """
    for n, (target, rows) in enumerate(summary.groupby("target", sort=False)):
        rows = rows.set_index("variant").reindex(variants)
        x = np.arange(len(variants)) + 0.06 * (n - 1)
        _estimates(ax, x, rows, "o-", MAP_COLOURS[target], target)
        ax.plot(x, rows["paper_spc"], "--", color=MAP_COLOURS[target], linewidth=1.2)
        if beside is not None:
            others = beside[beside["target"] == target].set_index("variant").reindex(variants)
            ax.plot(x + 0.03, others["mean"], "o", color=MAP_COLOURS[target], markerfacecolor="white", markersize=5)
    ends = summary[summary["variant"] == variants[-1]].sort_values("mean")
    below = -np.inf
    for target, end in zip(ends["target"], ends["mean"], strict=True):
        below = max(end, below + 0.09)   # names do not overlap
        ax.annotate(target, (len(variants) - 0.82, below), color=MAP_COLOURS[target], va="center", weight="bold",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})   # above the line at 0
    ax.axhline(0, **CHANCE)
    labels = [style.label(variant).partition(", ")[2].replace(" ", "\n") or plain for variant in variants]
    ax.set_xticks(range(len(variants)), labels, fontsize="small")
    ax.set(ylim=(-0.25, 1.03), xlim=(-0.3, len(variants) - 0.4))
    return ax


def accuracy_by_layer(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Location accuracy (%) by layer, a line per head with its interval, chance, and the layer's ceiling.

    summary  layer (in order of depth), head, mean, low, high, chance, ceiling (percent)
    """
    for _, head, rows, x in _dodged(summary, "layer", "head", 0.07, centre=1):
        fmt, colour, face = PROBE_LOOKS[head]
        _estimates(ax, x, rows, fmt, colour, head, face=face)
    layers = summary.drop_duplicates("layer")   # the ceiling of the first head's network
    x = np.arange(len(layers))
    ax.hlines(layers["ceiling"], x - 0.5, x + 0.5, color="0.75", linewidth=4, zorder=0, label="ceiling")
    ax.axhline(summary["chance"].iloc[0], **CHANCE, label="chance")
    ax.set_xticks(x, layers["layer"], fontsize="small")
    ax.set(ylim=(-3, 104), xlabel="layer")
    return ax


def dots_by_group(summary: pd.DataFrame, group: str, kind: str, ax: Axes, floor: float = -1,
                  looks: Looks | None = None) -> Axes:
    """A quantity by group, a marker per kind with its interval, clipped from below at `floor`.

    summary  `group`, `kind`, mean, low, high
    looks    kind -> colour and marker, if they are not to follow the order of the kinds
    """
    clipped = summary.assign(**{column: summary[column].clip(floor) for column in ("mean", "low", "high")})
    for n, label, rows, x in _dodged(clipped, group, kind, 0.2, centre=0.5):
        colour, marker = (looks or {}).get(label, (COLOURS[n], "os^D"[n % 4]))
        _estimates(ax, x, rows, marker, colour, label, markersize=6)
    ax.axhline(0, **CHANCE)
    groups = [str(style.label(key)) for key in summary[group].unique()]
    ax.set_xticks(range(len(groups)), groups, fontsize="small")
    if max(map(len, groups)) > 10 or len(groups) > 6:
        ax.tick_params(axis="x", labelrotation=40)
        plt.setp(ax.get_xticklabels(), ha="right")
    ax.legend(fontsize="small")
    return ax


def excess_by_depth(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Border energy relative to that in true surroundings (log2 ratio) by layer, a line per padding mode.

    summary  layer (in order of depth), padding_mode, mean, low, high
    """
    ax.axhline(0, color="0.25", linestyle="-.", linewidth=1.2, label="true surroundings")
    for _, mode, rows, x in _dodged(summary, "layer", "padding_mode", 0.12):
        _estimates(ax, x, rows, "o-", PADDING_COLOURS[mode], mode, alpha=0.7)
    layers = summary["layer"].unique()
    ax.set_xticks(range(len(layers)), layers, rotation=30)
    return ax


def error_by_distance(curves: pd.DataFrame, ax: Axes, floor: float = 1e-9, **line) -> Axes:
    """Padding error by distance to the border on a logarithmic axis; a curve ends where the error is exactly 0.

    curves  padding_mode, distance (image pixels), error
    line    how the lines are drawn, as for `Axes.plot`, if they are not the first; they are then left out of the legend
    """
    for mode, rows in curves.groupby("padding_mode", sort=False):
        rows = rows[rows["error"] > floor]
        drawn = line or {"marker": ".", "label": style.label(mode)}
        ax.plot(rows["distance"], rows["error"], color=PADDING_COLOURS[mode], **drawn)
    ax.axhline(1, **CHANCE)
    ax.set(yscale="log", ylim=(floor, max(ax.get_ylim()[1], 3, 2 * curves["error"].max())))   # axes may be shared
    return ax


def mode_matrix(values: pd.DataFrame, ax: Axes, label: str) -> Axes:
    """A heat map of one quantity by the padding mode in training (rows) and in evaluation (columns)."""
    sns.heatmap(values.rename(index=style.label, columns=style.label), ax=ax, annot=True, fmt="+.2f", cmap="vlag",
                center=0, linewidths=1, annot_kws={"color": "black"}, cbar_kws={"label": label})
    ax.set(xlabel="run with", ylabel="trained with")
    ax.tick_params(axis="y", rotation=0)
    return ax


def agreement_matrix(values: pd.DataFrame, ax: Axes, low: float, high: float) -> Axes:
    """A heat map of one quantity for every pair on the scale `low` to `high`, diverging if `low` is negative."""
    signed = low < 0
    sns.heatmap(values, ax=ax, annot=True, fmt=".2f" if signed else ".1f", cmap="vlag" if signed else "viridis",
                vmin=low, vmax=high, linewidths=1,
                annot_kws={"fontsize": "small"} | ({"color": "black"} if signed else {}))
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=40)
    return ax


def verdict_strip(claims: Sequence[str], verdicts: Sequence[str], outcomes: Sequence[str]) -> Figure:
    """One row per claim: a mark in the column of its verdict, and on the right the outcome of its control."""
    columns = list(VERDICT_MARKS)
    right = len(columns) + 0.3
    fig, ax = plt.subplots(figsize=(11, 0.7 + 0.36 * len(claims)), layout="constrained")
    for y, (verdict, outcome) in enumerate(zip(verdicts, outcomes, strict=True)):
        for x, (marker, colour) in ((columns.index(verdict), VERDICT_MARKS[verdict]), (right, OUTCOME_MARKS[outcome])):
            ax.plot(x, y, marker, color=colour, markersize=10)
        if outcome != "–":
            ax.annotate(outcome, (right, y), (9, 0), textcoords="offset points", va="center", fontsize="small")
    ax.axvline(len(columns) - 0.4, color="0.8")
    ax.set(xlim=(-0.5, len(columns) + 1.1), ylim=(len(claims) - 0.5, -0.5))
    names = [textwrap.fill(name, 12) for name in (*columns, "rival explanation")]
    ax.set_xticks([*range(len(columns)), right], names, fontsize="small")
    ax.set_yticks(range(len(claims)), claims)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    ax.grid(axis="y", color="0.9")
    ax.spines[:].set_visible(False)
    return fig


def dots_by_method(summary: pd.DataFrame, single: pd.DataFrame, methods: Sequence[str], ax: Axes, *,
                   colours: Mapping[str, ColorType] | None = None) -> Axes:
    """A percentage, a row per method from the top: single runs as dots, mean and interval, the paper's value dashed.

    summary  method, mean, low, high, paper (nan if it has none); single  method, value
    colours  by method, the first of the palette for the rest
    """
    for y, method in enumerate(methods):
        colour = (colours or {}).get(method, COLOURS[0])
        dots = single.loc[single["method"] == method, "value"]
        ax.plot(dots, [y] * len(dots), "o", color="0.7", markersize=4)
        for row in summary[summary["method"] == method].itertuples():
            ax.hlines(y + 0.22, row.low, row.high, color=colour, linewidth=2.5)
            ax.plot(row.mean, y + 0.22, "D", color=colour, markersize=5)
            ax.vlines(row.paper, y - 0.35, y + 0.45, **PAPER)
    ax.set_yticks(range(len(methods)), map(style.label, methods))
    ax.set(ylim=(len(methods) - 0.4, -0.6))
    ax.grid(axis="y", color="0.92")
    return ax


def curves(summary: pd.DataFrame, x: str, kind: str, ax: Axes, looks: Looks | None = None) -> Axes:
    """A quantity against another, a line per kind with its interval.

    summary  `x`, `kind`, mean, low, high
    looks    kind -> colour and marker, if they are not to follow the order of the kinds
    """
    values = sorted(summary[x].unique())
    dodge = 0.04 * min(np.diff(values), default=1)   # keeps overlapping intervals apart
    for n, (label, rows) in enumerate(summary.groupby(kind, sort=False)):
        rows = rows.sort_values(x)
        at = rows[x] + dodge * (n - summary[kind].nunique() / 2)
        colour, marker = (looks or {}).get(label, (COLOURS[n], "os^Dv"[n % 5]))
        _estimates(ax, at, rows, f"{marker}-", colour, label, linewidth=1.6, alpha=0.7)
    ax.set_xticks(values)
    return ax


def border_by_layer(rows: pd.DataFrame, value: str, ax: Axes) -> Axes:
    """How layers respond to the border, a line per padding mode of the network, the network as built in black.

    rows   layer (in order of depth), padding_mode ("as_built" among them) and the column `value`
    value  "energy" (log2 ratio, with low and high), or "shift_sensitivity", drawn on a logarithmic axis and clipped
           from below at the rounding error
    """
    rounding = 1e-8
    for _, mode, line, x in _dodged(rows, "layer", "padding_mode", 0.08):
        colour, fmt = (PADDING_COLOURS[mode], "o-") if mode in PADDING_COLOURS else ("black", "s--")
        if value == "energy":
            _estimates(ax, x, line.assign(mean=line["energy"]), fmt, colour, mode, linewidth=1.6, alpha=0.7)
        else:
            ax.plot(x, line[value].clip(rounding), fmt, color=colour, label=style.label(mode), markersize=5)
            ax.set(yscale="log", ylim=(rounding / 2, 3))
    layers = rows["layer"].unique()
    ax.set_xticks(range(len(layers)), layers, rotation=30, ha="right", fontsize="small")
    return ax


def dots_by_network(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Location accuracy (%), a row per network from the top: each head's mean and interval, and chance.

    rows  run, head, mean, low, high, chance, first (the first layer that responds to the border, printed on the right)
    """
    for _, head, of_head, y in _dodged(rows, "run", "head", 0.2, centre=1):
        (marker, *_), colour, _ = PROBE_LOOKS[head]
        ax.hlines(y, of_head["low"], of_head["high"], color=colour, linewidth=2)
        ax.plot(of_head["mean"], y, marker, color=colour, markersize=5, label=style.label(head))
    runs = rows.drop_duplicates("run")
    right = {"xycoords": ("axes fraction", "data"), "fontsize": "small"}
    for y, first in enumerate(runs["first"]):
        ax.annotate(first, (1.01, y), va="center", color="0.3", **right)
    ax.annotate("first layer that responds\nto the border", (1.01, -0.7), **right)
    ax.axvline(rows["chance"].iloc[0], **CHANCE, label="chance")
    ax.set_yticks(range(len(runs)), runs["run"])
    ax.set(ylim=(len(runs) - 0.4, -0.6), xlim=(-2, 103))
    ax.grid(axis="y", color="0.92")
    ax.figure.legend(fontsize="small", loc="outside lower center", ncols=4)
    return ax


def _dodged(summary: pd.DataFrame, category: str, kind: str, step: float,
            centre: int | float | None = None) -> Iterator[tuple[int, Hashable, pd.DataFrame, np.ndarray]]:
    """Yield each kind's number, label, rows and positions: its categories, `step` apart from the next kind's.

    centre  number of the kind drawn at the category itself; by default the kinds are centred on it
    """
    categories = pd.Index(summary[category].unique())
    centre = (summary[kind].nunique() - 1) / 2 if centre is None else centre
    for n, (label, rows) in enumerate(summary.groupby(kind, sort=False)):
        yield n, label, rows, categories.get_indexer(rows[category]) + step * (n - centre)


def _estimates(ax: Axes, x: np.ndarray | pd.Series, rows: pd.DataFrame, fmt: str, colour: ColorType, label: Hashable,
               *, linewidth: int | float = 2, alpha: float | None = None, markersize: int = 5,
               face: ColorType | None = None) -> None:
    """Plot means in the format `fmt` over their intervals.

    Unlike `errorbar`, accept a mean outside its interval, as a bootstrap can give.
    """
    ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=linewidth, alpha=alpha)
    ax.plot(x, rows["mean"], fmt, color=colour, label=style.label(label), markersize=markersize, markerfacecolor=face)


def evidence_maps(maps: np.ndarray, ax: Axes) -> Axes:
    """Maps of a network with its image in each cell of a canvas, laid out as the canvas, that cell's positions framed.

    maps  (cell, row, col), whose rows and columns are multiples of the grid; red above 0, blue below
    """
    maps = np.asarray(maps)
    grid, side = round(len(maps) ** 0.5), maps.shape[-1]
    gap, own = side / 4, side / grid
    reach = np.abs(maps).max() or 1
    for cell, values in enumerate(maps):
        row, col = divmod(cell, grid)
        top, left = row * (side + gap), col * (side + gap)
        image = ax.imshow(values, cmap="vlag", vmin=-reach, vmax=reach, extent=(left, left + side, top + side, top))
        ax.add_patch(Rectangle((left + col * own, top + row * own), own, own, fill=False, edgecolor="black",
                               linewidth=1.5))
    end = grid * side + (grid - 1) * gap
    ax.set(xlim=(-0.02 * end, 1.02 * end), ylim=(1.02 * end, -0.02 * end), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, shrink=0.7)
    return ax


def accuracy_by_head(single: pd.DataFrame, heads: Mapping[str, str], ax: Axes, *, chance: float) -> Axes:
    """Location accuracy (%) by the head's convolution, in the colour of the backbone's padding, a marker a backbone;
    each dot is one network.

    single  backbone, padding_mode (of the backbone), head, accuracy
    heads   the label of each head, in order
    """
    order = list(heads)
    for n, ((backbone, mode), runs) in enumerate(single.groupby(["backbone", "padding_mode"], sort=False)):
        x = runs["head"].map(order.index) + 0.16 * (n - 1.5)
        ax.plot(x, runs["accuracy"], "osD^"[list(single["backbone"].unique()).index(backbone)], markersize=7,
                color=PADDING_COLOURS[mode], alpha=0.6, label=f"{style.label(backbone)}, {style.label(mode)}")
    ax.axhline(chance, **CHANCE, label="chance")
    ax.set_xticks(range(len(order)), heads.values())
    ax.set(ylim=(-3, 104), xlim=(-0.6, len(order) - 0.4), xlabel="the head's convolution")
    return ax


def shares(rows: pd.DataFrame, kinds: Mapping[str, ColorType], variants: Sequence[str], ax: Axes) -> Axes:
    """Shares (%) that add up to 100, a stacked bar a variant from the top, means over seeds; each dot is the first
    share of one network.

    rows   variant, kind, value
    kinds  from the left, each with its colour
    """
    means = rows.groupby(["variant", "kind"])["value"].mean()
    for y, variant in enumerate(variants):
        left = 0.0
        for kind, colour in kinds.items():
            width = means.get((variant, kind))
            if width is not None:
                ax.barh(y, width, left=left, color=colour, height=0.7)
                left += width
        dots = rows.loc[(rows["variant"] == variant) & (rows["kind"] == next(iter(kinds))), "value"]
        ax.plot(dots, [y] * len(dots), "o", color="0.1", markersize=4, clip_on=False)
        if dots.empty:
            ax.text(50, y, "not run", ha="center", va="center", color="0.35", fontsize="small")
    ax.set_yticks(range(len(variants)), map(style.label, variants))
    ax.set(xlim=(0, 100), ylim=(len(variants) - 0.4, -0.6))
    return ax


def phase_curves(curves: pd.DataFrame, stride: int, ax: Axes, colour: ColorType) -> Axes:
    """Agreement (%) with the unshifted prediction against the shift in pixels, a line per seed: circular shifts solid,
    a black border dotted in grey; a vertical line at every multiple of the total stride.

    curves  fill ("circular" or "constant"), seed, pixels, value
    """
    for pixels in range(stride, int(curves["pixels"].max()) + 1, stride):
        ax.axvline(pixels, color="0.85", linewidth=1, zorder=0)
    looks = {"constant": {"color": "0.45", "linestyle": ":", "linewidth": 1.2},
             "circular": {"color": colour, "linestyle": "-", "linewidth": 1.4}}
    for fill, look in looks.items():
        for _, line in curves[curves["fill"] == fill].groupby("seed"):
            line = line.sort_values("pixels")
            ax.plot(line["pixels"], line["value"], marker=".", markersize=3, **look)
    ax.set(ylim=(0, 104), xlim=(0, curves["pixels"].max()))
    ax.set_xticks(range(0, int(curves["pixels"].max()) + 1, stride))
    return ax


def mirror_by_width(rows: pd.DataFrame, ax: Axes, floor: float = 1e-8) -> Axes:
    """Change of the pooled latent under a mirror image, relative to its spread over images, by width; logarithmic.

    rows   seed, columns, uneven (number of uneven layers) and the changes flip, mirrored_network, symmetrised_flip
    floor  smaller changes are drawn there
    Lines are means over seeds, dots single seeds.  Widths without an uneven layer are marked by a vertical line.
    """
    for kind in ("flip", "mirrored_network", "symmetrised_flip"):
        colour, marker = style.KIND_LOOKS[kind]
        values = rows.assign(value=rows[kind].clip(floor))
        mean = values.groupby("columns")["value"].mean()
        ax.plot(mean.index, mean, f"{marker}-", color=colour, linewidth=1.4, markersize=4, label=style.label(kind))
        ax.plot(values["columns"], values["value"], ".", color=colour, markersize=3, alpha=0.6)
    for columns in rows.loc[rows["uneven"] == 0, "columns"].unique():
        ax.axvline(columns, color="0.8", linewidth=4, zorder=0)
    ax.set(yscale="log", ylim=(floor / 2, 5))
    ax.xaxis.set_major_locator(MultipleLocator(4))
    return ax


def networks_by_group(single: pd.DataFrame, group: str, kind: str, ax: Axes, looks: Looks | None = None) -> Axes:
    """A quantity of single networks, side by side within their group, a marker per kind with its interval.

    single  `group`, `kind`, mean, low, high; one row per network and kind
    looks   kind -> colour and marker, if they are not to follow the order of the kinds
    """
    groups, kinds = single[group].unique(), single[kind].unique()
    width = 0.84 / len(kinds)
    for n, label in enumerate(kinds):
        for x, name in enumerate(groups):
            rows = single[(single[group] == name) & (single[kind] == label)]
            at = x - 0.42 + width * (n + (np.arange(len(rows)) + 0.5) / max(len(rows), 1))
            colour, marker = (looks or {}).get(label, (COLOURS[n], "os^D"[n % 4]))
            _estimates(ax, at, rows, marker, colour, label if x == 0 else "_nolegend_", linewidth=1.2, markersize=4)
    ax.axhline(0, **CHANCE)
    ax.set_xticks(range(len(groups)), [str(style.label(name)).replace(" ", "\n") for name in groups], fontsize="small")
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return ax


def accuracy_by_size(rows: pd.DataFrame, ax: Axes, hopeless: int | None = None) -> Axes:
    """Accuracy (%) by side of the canvas, a line per padding through its mean over seeds, a mark per seed, and chance.

    rows      padding (a padding mode or "without_padding"), size, seed, accuracy
    hopeless  smallest canvas on which the image is too far from the border; it and larger ones are shaded
    """
    smallest, largest = rows["size"].min(), rows["size"].max()
    if hopeless:
        ax.axvspan(hopeless, max(largest, hopeless) + 100, color="0.9", zorder=0, linewidth=0)
        ax.axvline(hopeless, color="0.6", linewidth=1)
    ax.axhline(50, **CHANCE, label="chance")
    for n, (padding, of_one) in enumerate(rows.groupby("padding", sort=False)):
        colour = PADDING_COLOURS.get(padding, "black")
        mean = of_one.groupby("size")["accuracy"].mean()
        ax.plot(mean.index, mean, "-", color=colour, linewidth=1.4, alpha=0.7)
        ax.plot(of_one["size"], of_one["accuracy"], "os^D"[n % 4], color=colour, markersize=max(9 - 2.5 * n, 4),
                markerfacecolor="none", label=style.label(padding))   # nested, where they coincide
    ax.set(ylim=(min(40, rows["accuracy"].min() - 5), 104), xlim=(smallest - 3, largest + 3))
    ax.xaxis.set_major_locator(MultipleLocator(8))
    return ax


def seeds_by_group(groups: Mapping[str, Sequence[float]], ax: Axes, chance: float,
                   colours: Sequence[ColorType]) -> Axes:
    """A percentage of single networks as dots, one column for each group, with their mean beside them, and chance."""
    for x, (values, colour) in enumerate(zip(groups.values(), colours, strict=True)):
        ax.plot([x] * len(values), values, "o", color=colour, markersize=8, markerfacecolor="none")
        if len(values):
            ax.annotate(f"{np.mean(values):.0f} %", (x, np.mean(values)), (12, 6), textcoords="offset points")
    ax.axhline(chance, **CHANCE)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_xlim(-0.5, len(groups) - 0.2)
    return ax


def confusions(matrices: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Confusion matrices side by side, in percent of each row: true label by row, predicted label by column."""
    fig, axes = plt.subplots(1, len(matrices), figsize=(3.1 * len(matrices), 3.2), squeeze=False, sharey=True,
                             layout="constrained")
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        shown = ax.imshow(np.asarray(matrix), cmap="Blues", vmin=0, vmax=100)
        ax.set(title=title, xlabel="predicted cell", xticks=range(len(matrix)), yticks=range(len(matrix)))
        ax.tick_params(length=0)
    axes[0, 0].set_ylabel("true cell")
    fig.colorbar(shown, ax=axes, shrink=0.8, label="% of canvases")
    return fig


def schematic(ax: Axes) -> Axes:
    """From an image with its padding to the prediction: padding, feature map, average of each channel, head."""
    cells = np.zeros((8, 8))
    cells[1:7, 1:7] = 0.35
    cells[1:3, 1:3] = 1
    ax.imshow(cells, cmap="Blues", extent=(0, 2, 0, 2), vmin=0, vmax=1.3)
    ax.add_patch(plt.Rectangle((0.25, 0.25), 1.5, 1.5, fill=False, edgecolor="0.3"))
    rng = np.random.default_rng(0)
    for n in range(3):
        x, y = 3.4 + 0.22 * n, 0.12 * (2 - n)
        channel = np.full((6, 6), 0.25) + 0.05 * rng.random((6, 6))
        channel[0, :] += 0.25 * (n != 1)
        channel[:, 0] += 0.25 * (n != 0)
        channel[:2, :2] += 0.4
        ax.imshow(channel, cmap="Blues", extent=(x, x + 1.6, y, y + 1.6), vmin=0, vmax=1.3, zorder=2 + n)
        ax.add_patch(plt.Rectangle((x, y), 1.6, 1.6, fill=False, edgecolor="0.3", zorder=2 + n))
    for n, value in enumerate((0.9, 0.5, 0.7, 0.3)):
        ax.add_patch(plt.Rectangle((6.9, 1.5 - 0.45 * n), 0.45, 0.4, facecolor=plt.cm.Blues(value), edgecolor="0.3"))
    for start, end in ((2.15, 3.25), (5.65, 6.75), (7.5, 8.8)):
        ax.annotate("", (end, 0.95), (start, 0.95), arrowprops={"arrowstyle": "->", "color": "0.3"})
    for x, title, below in ((1, "image and padding", "the border is marked"),
                            (4.5, "feature map", "where the image is"),
                            (7.12, "averages", "how much, by channel"),
                            (9.7, "head", "reads them in order")):
        ax.text(x, 2.25, title, ha="center", weight="bold", fontsize="medium")
        ax.text(x, -0.4, below, ha="center", fontsize="small", color="0.3")
    ax.text(9.7, 0.95, "top left", ha="center", va="center", fontsize="medium",
            bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.3"})
    ax.set(xlim=(-0.6, 11), ylim=(-0.6, 2.6), aspect="equal")
    ax.set_axis_off()
    return ax
