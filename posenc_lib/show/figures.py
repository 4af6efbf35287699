"""One function a kind of figure: data in, axes out.  Those that show pictures come from `picture_figures`."""
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from posenc_lib.measure.canvas import POSITION_MAPS
from posenc_lib.show.style import CHANCE, COLOURS, HEAD_MARKERS, MAP_COLOURS, NAMES, PADDING_COLOURS, PAPER


def accuracy_by_grid(summary: pd.DataFrame, task: str, ax: Axes) -> Axes:
    """Table 1 as a picture: accuracy (%) by padding mode and grid, one marker a head, its interval, paper and chance.

    summary  rows of task, head, padding_mode, grid, mean, low, high, chance, paper (percent); nan where nothing was run
    """
    columns = list(dict.fromkeys(zip(summary["grid"], summary["padding_mode"], strict=True)))
    for x, (grid, mode) in enumerate(columns):
        cells = summary[(summary["task"] == task) & (summary["grid"] == grid) & (summary["padding_mode"] == mode)]
        cells = cells.dropna(subset="mean")
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
    ax.set_xticks(range(len(columns)), [f"{NAMES.get(mode, mode)}\n{grid}×{grid}" for grid, mode in columns],
                  fontsize="small" if len(columns) > 8 else None)
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-3, 104), ylabel="test accuracy (%)", title=f"Task: {NAMES[task]}")
    ax.legend(handles=[
        Line2D([], [], color="0.3", marker=HEAD_MARKERS["gapnet"], linestyle="", label="GAPNet"),
        Line2D([], [], color="0.3", marker=HEAD_MARKERS["permutenet"], markerfacecolor="white", linestyle="",
               label="PermuteNet"),
        Line2D([], [], **PAPER, label="paper"), Line2D([], [], **CHANCE, label="chance")],
        fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def answers_by_epoch(curves: pd.DataFrame, printed: Sequence[float], ax: Axes) -> Axes:
    """How many answers are told apart after each epoch: accuracy times their number, one line a padding mode and seed.

    curves   rows of padding_mode, seed, epoch, answers
    printed  the paper's values, in answers too
    """
    for (mode, _), line in curves.groupby(["padding_mode", "seed"], sort=False):
        again = NAMES.get(mode, mode) in ax.get_legend_handles_labels()[1]
        ax.plot(line["epoch"], line["answers"], "o-", markersize=3, color=PADDING_COLOURS[mode],
                label=None if again else NAMES.get(mode, mode))
    for n, value in enumerate(printed):
        ax.axhline(value, **PAPER, label=None if n else "paper")
    ax.axhline(1, **CHANCE, label="chance")
    ax.yaxis.set_major_locator(MultipleLocator(1))
    ax.xaxis.set_major_locator(MultipleLocator(5))
    ax.grid(axis="y", color="0.9")
    ax.set(xlabel="epoch")
    return ax


def above_chance(summary: pd.DataFrame, ax: Axes) -> Axes:
    """Both tasks with equally many answers: percent of the accuracy above chance that is left, by number of answers.

    summary  rows of task, answers, mean, low, high
    """
    for task, colour, shift in (("location", COLOURS[3], -0.06), ("image", COLOURS[7], 0.06)):
        rows = summary[summary["task"] == task].sort_values("answers")
        at = np.arange(len(rows)) + shift
        ax.vlines(at, rows["low"], rows["high"], color=colour, linewidth=2)
        ax.plot(at, rows["mean"], "o-" if task == "location" else "s-", color=colour, label=NAMES[task])
        ax.set_xticks(range(len(rows)), [f"{n:.0f} answers" for n in rows["answers"]])
    ax.axhline(0, **CHANCE)
    ax.set(ylabel="kept of GAPNet's accuracy\nabove chance (%)", xlim=(-0.5, len(rows) - 0.5))
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


def selectivity_curve(deciles: Sequence[float], ax: Axes, **line) -> Axes:
    """Share of each channel's variance that the cell explains, channels sorted.  deciles: 11 of it, 0..1"""
    ax.plot(np.linspace(0, 100, len(deciles)), 100 * np.sort(deciles)[::-1], **line)
    ax.set(xlabel="channels, from most to least selective (%)", ylabel="variance explained\nby the cell, η² (%)",
           ylim=(-3, 103))
    return ax


def scores_by_map(summary: pd.DataFrame, ax: Axes) -> Axes:
    """SPC on each target map, one marker a network with its interval; the paper's VGG-16 dashed.

    summary  rows of network, target, mean, low, high, paper_spc (nan where the paper has none)
    """
    networks = list(dict.fromkeys(summary["network"]))
    for n, network in enumerate(networks):
        rows = summary[summary["network"] == network].set_index("target").reindex(POSITION_MAPS)
        at = np.arange(len(rows)) + 0.7 * ((n + 0.5) / len(networks) - 0.5)
        ax.vlines(at, rows["low"], rows["high"], color=COLOURS[n % 10], linewidth=2)
        ax.plot(at, rows["mean"], "osD^vP*X<>"[n % 10], color=COLOURS[n % 10], label=network, markersize=6)
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
        ax.vlines(at, rows["low"], rows["high"], color=COLOURS[n], linewidth=2)
        ax.plot(at, rows["mean"], "os^D"[n] + "-", color=COLOURS[n], label=NAMES.get(head, head), markersize=5)
    ceiling = summary.drop_duplicates("layer")["ceiling"]
    ax.hlines(ceiling, np.arange(len(layers)) - 0.5, np.arange(len(layers)) + 0.5, color="0.75", linewidth=4, zorder=0,
              label="ceiling")
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
        ax.vlines(at, rows["low"].clip(floor), rows["high"].clip(floor), color=COLOURS[n], linewidth=2)
        ax.plot(at, rows["mean"].clip(floor), "os^D"[n], color=COLOURS[n], label=label)
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


def verdict_strip(claims: Sequence[str], verdicts: Sequence[str], controls: Sequence[str]) -> Figure:
    """One line a claim: a mark under its verdict, and on the right whether the reading passed its control."""
    columns = ("reproduced", "reproduced in direction", "not reproduced", "not testable here", "not run")
    marks = {**dict(zip(columns, (("o", 2), ("^", 0), ("X", 3), ("s", 7), ("_", 7)), strict=True)),
             "passed": ("o", 2), "not passed": ("X", 3), "not tried here": ("_", 7), "–": ("_", 7)}
    fig, ax = plt.subplots(figsize=(9, 0.7 + 0.36 * len(claims)), layout="constrained")
    for y, row in enumerate(zip(verdicts, controls, strict=True)):
        for word, x in zip(row, (columns.index(row[0]), len(columns) + 0.3), strict=True):
            mark, colour = marks[word]
            ax.plot(x, y, mark, color=COLOURS[colour], markersize=10)
            if x > len(columns) and word != "–":
                ax.annotate(word, (x, y), (9, 0), textcoords="offset points", va="center", fontsize="small")
    ax.axvline(len(columns) - 0.4, color="0.8")
    ax.set(xlim=(-0.5, len(columns) + 1.1), ylim=(len(claims) - 0.5, -0.5))
    ax.set_xticks([*range(len(columns)), len(columns) + 0.3],
                  [column.replace(" ", "\n", 1) for column in (*columns, "control of the reading")])
    ax.set_yticks(range(len(claims)), claims)
    ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    ax.grid(axis="y", color="0.9")
    ax.spines[:].set_visible(False)
    return fig


def dots_by_method(summary: pd.DataFrame, single: pd.DataFrame, methods: Sequence[str], ax: Axes, *,
                   colours: dict | None = None) -> Axes:
    """A percentage, one line a method from the top: single runs as dots, mean and interval, the paper's value dashed.

    summary  rows of method, mean, low, high, paper (nan where it has none); single  rows of method, value
    colours  of the methods, where they have colours of their own
    """
    for y, method in enumerate(methods):
        colour = (colours or {}).get(method, COLOURS[0])
        ax.plot(single[single["method"] == method]["value"], [y] * (single["method"] == method).sum(), "o", color="0.7",
                markersize=4)
        for row in summary[summary["method"] == method].itertuples():
            ax.hlines(y + 0.22, row.low, row.high, color=colour, linewidth=2.5)
            ax.plot(row.mean, y + 0.22, "D", color=colour, markersize=5)
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
        ax.vlines(at, rows["low"], rows["high"], color=COLOURS[n], linewidth=1.6, alpha=0.7)
        ax.plot(at, rows["mean"], "os^Dv"[n % 5] + "-", color=COLOURS[n], label=NAMES.get(label, label), markersize=5)
    ax.set_xticks(places)
    return ax


def border_by_layer(rows: pd.DataFrame, value: str, ax: Axes) -> Axes:
    """How layers respond to the border, one line per padding mode that the network was run with, as built in black.

    rows   of layer (in order of depth), padding_mode ("as_built" among them) and `value`: "energy" (log2 ratio, with
           low and high), or "shift_sensitivity", on a logarithmic axis at whose foot values below 1e-8 are drawn
    """
    layers, foot = list(dict.fromkeys(rows["layer"])), 1e-8
    for n, (mode, line) in enumerate(rows.groupby("padding_mode", sort=False)):
        at = np.array([layers.index(layer) for layer in line["layer"]]) + 0.08 * (n - 2)
        colour = PADDING_COLOURS.get(mode, "black")
        if value == "energy":
            ax.vlines(at, line["low"], line["high"], color=colour, linewidth=1.6, alpha=0.7)
        ax.plot(at, line[value] if value == "energy" else line[value].clip(foot), "o-" if mode in PADDING_COLOURS else
                "s--", color=colour, label=NAMES.get(mode, mode), markersize=5)
    if value == "shift_sensitivity":
        ax.set(yscale="log", ylim=(foot / 2, 3))
    ax.set_xticks(range(len(layers)), layers, rotation=30, ha="right", fontsize="small")
    return ax


def dots_by_network(rows: pd.DataFrame, ax: Axes) -> Axes:
    """Location accuracy (%), one line a network from the top: each head's mean and interval, and chance.

    rows  of run, head, mean, low, high, chance, first (the first layer that responds to the border, on the right)
    """
    runs, heads = list(dict.fromkeys(rows["run"])), list(dict.fromkeys(rows["head"]))
    for row in rows.itertuples():
        y, n = runs.index(row.run) + 0.2 * (heads.index(row.head) - 1), heads.index(row.head)
        ax.hlines(y, row.low, row.high, color=COLOURS[n], linewidth=2)
        label = NAMES.get(row.head, row.head) if row.run == runs[0] else None
        ax.plot(row.mean, y, "os^"[n], color=COLOURS[n], markersize=5, label=label)
    for y, run in enumerate(runs):
        ax.annotate(rows.loc[rows["run"] == run, "first"].iloc[0], (1.01, y), xycoords=("axes fraction", "data"),
                    va="center", fontsize="small", color="0.3")
    ax.annotate("first layer affected\nby the border", (1.01, -0.7), xycoords=("axes fraction", "data"),
                fontsize="small")
    ax.axvline(rows["chance"].iloc[0], **CHANCE, label="chance")
    ax.set_yticks(range(len(runs)), runs)
    ax.set(ylim=(len(runs) - 0.4, -0.6), xlim=(-2, 103))
    ax.grid(axis="y", color="0.92")
    ax.figure.legend(fontsize="small", loc="outside lower center", ncols=4)
    return ax
