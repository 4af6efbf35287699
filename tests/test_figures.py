"""Figures draw the data they are given: values, intervals, chance, the paper's numbers, a colour per padding mode."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_hex
from torchvision.datasets import Cityscapes

from posenc_lib.claims import claim, gapnet_vs_permutenet
from posenc_lib.data import camvid, cityscapes, imageset, streets
from posenc_lib.measure.canvas import POSITION_MAPS
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import decoding
from posenc_lib.show import figures, images, style
from posenc_lib.show.style import MAP_COLOURS, PADDING_COLOURS

matplotlib.use("agg")


@pytest.fixture
def summary():
    """Table 1 as if it were this run's, each value with an interval of two points."""
    rows = gapnet_vs_permutenet.TABLE1.assign(mean=gapnet_vs_permutenet.TABLE1["paper"] - 1, chance=10.0)
    return rows.assign(low=rows["mean"] - 2, high=rows["mean"] + 2)


def drawn(ax) -> set[tuple[float, float]]:
    """The points of every marker."""
    return {(round(float(x), 2), float(y)) for line in ax.lines if line.get_marker() not in ("None", "", None)
            for x, y in zip(*line.get_data(), strict=True)}


def segments(ax) -> list[tuple[float, float]]:
    """(low, high) of every vertical and horizontal segment, sorted, without those that have no value."""
    ends = [tuple(s[:, 1].tolist()) for lines in ax.collections for s in lines.get_segments() if len(s) == 2]
    return sorted(end for end in ends if not np.isnan(end).any())


def intervals(rows: pd.DataFrame) -> list[tuple[float, float]]:
    return sorted(zip(rows["low"], rows["high"], strict=True))


def labels(ax, axis: str = "x") -> list[str]:
    return [t.get_text() for t in getattr(ax, f"get_{axis}ticklabels")()]


def test_every_padding_mode_has_a_colour_of_its_own():
    assert list(PADDING_COLOURS) == list(PADDING_MODES)
    assert len(set(PADDING_COLOURS.values())) == len(PADDING_MODES)


@pytest.mark.parametrize("key, name", [("gapnet", "GAPNet"), ("vgg/depth_2", "VGG, 2 layers"), ("layer4", "layer4"),
                                       (8, 8)])
def test_a_label_looks_up_every_part_of_a_key(key, name):
    assert style.label(key) == name


@pytest.mark.parametrize("task", ["location", "image"])
def test_accuracy_by_grid_draws_every_cell_with_interval_paper_and_chance(summary, ax, task):
    assert figures.accuracy_by_grid(summary, task, ax) is ax
    rows = summary[summary["task"] == task]
    assert sorted(y for _, y in drawn(ax)) == sorted(rows["mean"])
    levels = [(y, y) for y in (*rows["paper"], *[10.0] * 9)]
    assert segments(ax) == sorted(intervals(rows) + levels)
    assert [t.get_text() for t in ax.get_xticklabels()][:4] == ["zero\n3×3", "zero\n5×5", "zero\n7×7", "reflect\n3×3"]
    for line in ax.lines[:2]:
        assert same_color(line.get_color(), PADDING_COLOURS["zeros"])


def test_a_cell_without_a_printed_number_is_drawn_without_one(summary, ax):
    figures.accuracy_by_grid(summary.assign(paper=np.nan), "image", ax)
    assert len(drawn(ax)) == 18


def test_both_heads_the_paper_and_chance_are_in_the_legend():
    assert [handle.get_label() for handle in figures.head_legend()] == ["GAPNet", "PermuteNet", "paper", "chance"]


def test_an_interval_without_bounds_is_no_text():
    assert figures.span(1.23, 45.67) == "[1.2, 45.7]" and figures.span(np.nan, np.nan) is None


def test_a_cell_that_was_not_run_says_so(summary, ax):
    kept = summary[~((summary["task"] == "image") & (summary["grid"] == 7) & (summary["padding_mode"] == "zeros"))]
    figures.accuracy_by_grid(kept, "image", ax)
    assert [t.get_text() for t in ax.texts] == ["not run"] and len(drawn(ax)) == 16


def test_above_chance_and_bars_draw_their_data(ax):
    rows = pd.DataFrame([("location", 9, 50.0, 40, 60), ("location", 5, 30.0, 20, 40), ("image", 9, 55.0, 54, 56),
                         ("image", 5, 35.0, 34, 36)], columns=["task", "answers", "mean", "low", "high"])
    figures.above_chance(rows, ax)
    assert sorted(y for _, y in drawn(ax)) == [30, 35, 50, 55]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["5 classes", "9 classes"]
    ax.clear()
    figures.bars(rows[:2], ["a", "b"], ax, chance=11.1)
    assert [bar.get_height() for bar in ax.patches] == [50, 30]
    assert [list(line.get_ydata()) for line in ax.lines] == [[11.1, 11.1]]


def test_the_axis_of_sums_has_an_interval_for_each_label_that_has_canvases():
    _, axes = plt.subplots(2, 1)
    sums = [[0.1 * n for n in range(11)], None, [2 + 0.1 * n for n in range(11)]]
    figures.answers_on_one_axis(sums, [(-9, 9), (0, 0), (9, -9)], axes)
    spans = [tuple(np.round(line.get_xdata(), 2)) for line in axes[1].lines]
    assert spans == [(0, 1), (0.1, 0.9), (2, 3), (2.1, 2.9)]
    first, _, last = (line.get_ydata() for line in axes[0].lines)      # what the head says at both ends of the axis
    assert first[0] > 0.99 > 0.01 > last[0] and last[-1] > 0.99
    plt.close("all")


def test_accuracy_by_label_and_answers_held_draw_their_data(ax):
    figures.accuracy_by_label([[0.0, None], [1.0, 0.5]], [400, 800], ax)
    np.testing.assert_array_equal(ax.images[0].get_array().filled(-1), [[0, 1], [-1, 0.5]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["400", "800"]
    _, other = plt.subplots()
    curves = pd.DataFrame([(9, 0, 20, 0.5), (9, 1, 20, 1.0), (25, 0, 20, 0.2)],
                          columns=["answers", "seed", "step", "accuracy"])
    figures.answers_held(curves, "step", other)
    assert drawn(other) == {(20, 6.75), (20, 5)}
    plt.close("all")


def test_place_fields_are_titled_with_their_explained_variance(ax):
    fields = [np.arange(9.0).reshape(3, 3), np.eye(3)]
    fig = images.place_field_maps(fields, [0.25, 1.0])
    assert [a.get_title() for a in fig.axes] == ["η² = 25%", "η² = 100%"]
    assert all((a.images[0].get_array() == f).all() for a, f in zip(fig.axes, fields, strict=True))
    plt.close(fig)
    figures.selectivity_curve([0.0, 0.5, 1.0], ax)
    assert ax.lines[0].get_ydata().tolist() == [100, 50, 0]


def test_place_fields_by_cell_are_in_standard_deviations_of_their_channel():
    """The channel of cell 0 is 1 there and 0 elsewhere, without noise."""
    field = np.array([[1.0, 0], [0, 0]])
    fig = images.place_fields_by_cell({"trained": [{"field": field, "eta2": 0.25}, None, None, None]})
    first, second, *_ = fig.axes
    expected = (field - 0.25) / (field.std() / 0.25 ** 0.5)
    np.testing.assert_allclose(first.images[0].get_array(), expected)
    [outline] = first.patches
    assert first.get_title() == "25%" and outline.get_xy() == (-0.5, -0.5)
    assert not second.images and second.texts[0].get_text() == "none"
    plt.close(fig)


def test_answers_to_a_sliding_picture_are_orange_where_they_change():
    answers = {"net": [1, 1, 0, 1, 1], "other": [0] * 5}
    fig = images.sliding_answers({0: np.eye(4), 2: np.eye(4)}, answers, ("a", "b"), 2)
    ax = fig.axes[1]
    assert [text.get_text() for text in ax.texts] == ["b", "b", "a", "b", "b", *"aaaaa"]
    changed = [same_color(patch.get_facecolor(), style.COLOURS[1]) for patch in ax.patches]
    assert changed == [False, False, True, *[False] * 7]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["net", "other"]
    plt.close(fig)


def test_padded_squares_tint_the_padding():
    fig = images.padded_squares({"reflect": np.pad(np.arange(4).reshape(2, 2), 1, mode="reflect")}, margin=1)
    squares = [p for p in fig.axes[0].patches if p.get_fill()]
    tinted = [same_color(p.get_facecolor(), (*PADDING_COLOURS["reflect"], 0.3)) for p in squares]
    assert len(squares) == 16 and sum(tinted) == 12
    assert [t.get_text() for t in fig.axes[0].texts][:4] == ["3", "2", "3", "2"]
    plt.close(fig)


def test_feature_maps_of_a_row_share_one_scale():
    rows = {"conv1": {"zeros": np.zeros((4, 4)), "reflect": np.full((4, 4), 9.0)},
            "layer4": {"zeros": np.ones((2, 2)), "reflect": np.ones((2, 2))}}
    fig = images.feature_maps(rows)
    assert fig.axes[0].images[0].get_clim() == fig.axes[1].images[0].get_clim() == (0, 9)
    assert [a.get_title() for a in fig.axes] == ["zero", "reflect", "", ""]
    assert [a.get_ylabel() for a in fig.axes[::2]] == ["conv1", "layer4"]
    assert same_color(fig.axes[1].patches[0].get_edgecolor(), PADDING_COLOURS["reflect"])
    plt.close(fig)


def test_differences_of_feature_maps_are_red_above_0_and_blue_below_it():
    fig = images.feature_maps({"conv1": {"zeros": np.eye(4), "truth": np.ones((4, 4))}, "minus": {"zeros": -np.eye(4)}},
                              signed=["minus"])
    image, = fig.axes[2].images
    assert image.get_clim() == (-1, 1) and not fig.axes[3].axison   # nothing below the truth
    (red, _, blue, _), (_, _, grey_blue, _) = image.cmap(0.0), fig.axes[0].images[0].cmap(0.0)
    assert blue > red and grey_blue == 0
    plt.close(fig)


def test_curves_by_padding_mode(ax):
    rows = pd.DataFrame([(layer, mode, n, n - 0.5, n + 0.5) for n, mode in enumerate(PADDING_MODES)
                         for layer in ("conv1", "layer1")], columns=["layer", "padding_mode", "mean", "low", "high"])
    figures.excess_by_depth(rows, ax)
    assert sorted(y for _, y in drawn(ax)) == sorted(2 * [*range(len(PADDING_MODES))])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["conv1", "layer1"]
    ax.clear()
    figures.error_by_distance(pd.DataFrame([("zeros", 0, 1.0), ("zeros", 1, 0.5), ("zeros", 2, 0.0)],
                                           columns=["padding_mode", "distance", "error"]), ax)
    assert drawn(ax) == {(0, 1.0), (1, 0.5)}   # an error of exactly 0 has no place on a logarithmic axis
    figures.error_by_distance(pd.DataFrame([("zeros", 0, 0.25)], columns=["padding_mode", "distance", "error"]), ax,
                              linestyle=":")
    assert ax.get_legend_handles_labels()[1] == ["zero"] and ax.lines[-2].get_linestyle() == ":"


def test_accuracy_by_size_shows_every_seed_and_where_no_network_can_succeed(ax):
    rows = pd.DataFrame([("zeros", 16, 0, 100.0), ("zeros", 16, 1, 90.0), ("zeros", 32, 0, 50.0),
                         ("without_padding", 16, 0, 100.0)], columns=["padding", "size", "seed", "accuracy"])
    figures.accuracy_by_size(rows, ax, hopeless=32)
    marks = {(round(x), y) for x, y in drawn(ax)}
    assert {(16, 100.0), (16, 90.0), (32, 50.0)} <= marks
    assert ax.get_legend_handles_labels()[1] == ["chance", "zero", "without padding"]
    shaded, = ax.patches
    assert shaded.get_x() == 32
    ax.clear()
    figures.accuracy_by_size(rows, ax)
    assert not ax.patches


@pytest.mark.filterwarnings("ignore:The set_bad function")   # seaborn's
def test_a_mode_matrix_names_rows_and_columns_by_the_papers_names(ax):
    frame = pd.DataFrame([[1.0, -0.25], [0.5, 2]], index=["zeros", "circular"], columns=["zeros", "circular"])
    figures.mode_matrix(frame, ax, "excess")
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [t.get_text() for t in labels] == ["zero", "circular"]
    assert [t.get_text() for t in ax.texts] == ["+1.00", "-0.25", "+0.50", "+2.00"]


def test_a_verdict_strip_marks_each_claim_under_its_verdict_and_its_control():
    verdicts = [claim.CONTRADICTED, claim.REPRODUCED, "not run", claim.IN_DIRECTION, claim.NOT_TESTABLE]
    controls = [claim.RULED_OUT, claim.RIVAL_HOLDS, "–", claim.NOT_TRIED, claim.UNDECIDED]
    fig = figures.verdict_strip(list("abcde"), verdicts, controls)
    strip = fig.axes[0]
    columns = {round(float(x), 1): t.get_text().replace("\n", " ")
               for x, t in zip(strip.get_xticks(), strip.get_xticklabels(), strict=True)}
    marks = sorted((columns[round(x, 1)], y) for x, y in drawn(strip))
    assert marks == sorted([*((v, y) for y, v in enumerate(verdicts)),
                            *(("rival explanation", y) for y in range(5))])
    assert [t.get_text() for t in strip.texts] == [control for control in controls if control != "–"]
    assert [t.get_text() for t in strip.get_yticklabels()] == list("abcde")
    plt.close(fig)


def test_a_picture_grid_holds_each_picture_in_its_row_and_column_on_one_scale():
    photo, dim = np.full((4, 4, 3), 0.5), np.full((4, 4), 0.25)
    rows = {"cat": {"image": photo, "H": dim}, "china": {"image": photo, "VS": 2 * dim}}
    fig = images.picture_grid(rows, {("china", "VS"): "SPC 0.50"})
    grid = np.array(fig.axes).reshape(2, 3)
    assert [ax.get_title() for ax in fig.axes] == ["image", "H", "VS", "", "", ""]
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["cat", "china"]
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "", "", "", "", "SPC 0.50"]
    assert [[len(ax.images) for ax in row] for row in grid] == [[1, 1, 0], [1, 0, 1]]
    assert (grid[0, 1].images[0].get_array() == dim).all() and grid[0, 1].images[0].get_clim() == (0, 1)
    plt.close(fig)


def spc_table(**columns) -> pd.DataFrame:
    """Rows of `columns`, lists of equal length, each with its own mean and an interval of .02."""
    rows = pd.DataFrame(columns)
    rows["mean"] = 0.1 + 0.05 * np.arange(len(rows))
    return rows.assign(low=rows["mean"] - 0.01, high=rows["mean"] + 0.01)


def test_scores_by_map_draws_every_network_and_the_papers_numbers_once(ax):
    rows = spc_table(network=["vgg"] * 5 + ["pixels"] * 5, target=[*POSITION_MAPS[::-1], *POSITION_MAPS])
    rows["paper_spc"] = [0.374, np.nan, 0.814, 0.816, 0.742] + [np.nan] * 5   # none is printed for HS, say
    assert figures.scores_by_map(rows, ax) is ax
    levels = [(y, y) for y in (0.374, 0.742, 0.814, 0.816)]
    assert segments(ax) == sorted(intervals(rows) + levels)
    assert sorted(y for _, y in drawn(ax)) == sorted(rows["mean"])
    near = {(round(x), y) for x, y in drawn(ax)}
    assert near == {(POSITION_MAPS.index(row.target), row.mean) for row in rows.itertuples(index=False)}
    assert labels(ax) == list(POSITION_MAPS)
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["VGG", "pixels"]


def test_scores_by_map_leave_a_gap_where_a_map_was_not_drawn(ax):
    rows = spc_table(network=["vgg"] * 2, target=["H", "VS"]).assign(paper_spc=np.nan)
    figures.scores_by_map(rows, ax)
    assert {(round(x), y) for x, y in drawn(ax) if not np.isnan(y)} == set(zip((0, 4), rows["mean"], strict=True))


def test_scores_by_map_give_a_network_the_marker_that_it_has_in_the_other_panels(ax):
    rows = spc_table(network=["pixels"] * 5, target=POSITION_MAPS).assign(paper_spc=np.nan)
    figures.scores_by_map(rows, ax, ["vgg", "pixels"])
    marked = {line.get_label(): line for line in ax.lines if line.get_marker() in "oD"}
    assert marked["pixels"].get_marker() == "D" and same_color(marked["pixels"].get_color(), style.NETWORK_COLOURS[1])
    assert np.isnan(marked["VGG"].get_ydata()).all()


def test_scores_by_map_draw_the_random_network_open_in_the_colour_of_the_trained_one(ax):
    rows = spc_table(network=["VGG, ImageNet", "VGG, random"], target=["H", "H"]).assign(paper_spc=np.nan)
    figures.scores_by_map(rows, ax)
    trained, random = (line for line in ax.lines if line.get_label().startswith("VGG"))
    assert same_color(trained.get_color(), random.get_color()) and trained.get_marker() == random.get_marker()
    assert same_color(random.get_markerfacecolor(), "white")
    assert same_color(trained.get_markerfacecolor(), trained.get_color())
    assert not {style.NETWORK_COLOURS[0]} & {*PADDING_COLOURS.values(), *MAP_COLOURS.values()}


def test_scores_by_padding_distinguish_random_from_trained_and_the_modes(ax):
    summary = spc_table(table=["untrained", "trained"] * 2, variant=["zeros", "zeros", "none", "none"])
    single = pd.DataFrame([("untrained", "zeros", 0.1), ("untrained", "zeros", None), ("trained", "zeros", 0.8),
                           ("untrained", "none", 0.0), ("trained", "none", 0.2), ("trained", "none", 0.3)],
                          columns=["table", "variant", "spc"])
    figures.scores_by_padding(summary, single, ax)
    assert sorted(y for _, y in drawn(ax)) == [0, 0.1, 0.2, 0.3, 0.8]   # an undefined one is not drawn
    assert segments(ax) == intervals(summary)
    assert labels(ax) == ["zero", "none"]
    dots = {line.get_ydata()[0]: line for line in ax.lines if line.get_marker() == "o"}
    assert same_color(dots[0.1].get_color(), PADDING_COLOURS["zeros"])
    assert same_color(dots[0.1].get_markerfacecolor(), "white")
    assert same_color(dots[0.8].get_markerfacecolor(), PADDING_COLOURS["zeros"])
    assert not same_color(dots[0.2].get_color(), PADDING_COLOURS["zeros"])


def test_a_score_ladder_has_a_line_a_map_and_the_papers_beside_it(ax):
    variants = ["VGG", "VGG, 2 layers", "VGG, 3 layers"]
    rows = spc_table(variant=variants[::-1] + variants[:2], target=["H"] * 3 + ["G"] * 2)   # G has no third
    rows["paper_spc"] = [0.83, 0.79, 0.74, 0.81, np.nan]
    figures.score_ladder(rows, variants, ax)
    of_h = [line for line in ax.lines if same_color(line.get_color(), MAP_COLOURS["H"])]
    ours, theirs = ([line for line in of_h if line.get_linestyle() == style] for style in ("-", "--"))
    assert list(ours[0].get_ydata()) == rows["mean"].tolist()[2::-1]
    assert list(theirs[0].get_ydata()) == [0.74, 0.79, 0.83]
    assert {y for _, y in drawn(ax) if not np.isnan(y)} == set(rows["mean"])
    assert segments(ax) == intervals(rows)
    assert labels(ax) == ["as it is", "2\nlayers", "3\nlayers"]
    named, = ax.texts
    assert named.get_text() == "H" and same_color(named.get_color(), MAP_COLOURS["H"])
    assert named.xy[1] == rows["mean"][0]


def test_the_names_of_lines_that_end_together_do_not_overlap(ax):
    rows = spc_table(variant=["VGG, 2 layers"] * 3, target=["H", "G", "HS"]).assign(paper_spc=np.nan, mean=0.5)
    figures.score_ladder(rows, ["VGG, 2 layers"], ax)
    heights = sorted(text.xy[1] for text in ax.texts)
    assert heights == pytest.approx([0.5, 0.59, 0.68])


def test_other_runs_stand_beside_a_score_ladder_as_open_circles(ax):
    variants = ["VGG", "VGG, 2 layers"]
    rows = spc_table(variant=variants, target=["H"] * 2).assign(paper_spc=np.nan)
    figures.score_ladder(rows, variants, ax, rows.assign(mean=[0.7, 0.9])[1:])
    beside = [line for line in ax.lines if same_color(line.get_markerfacecolor(), "white")]
    assert len(beside) == 1 and beside[0].get_linestyle() == "None"
    assert [y for y in beside[0].get_ydata() if not np.isnan(y)] == [0.9]


def test_accuracy_by_layer_draws_heads_chance_and_ceiling(ax):
    rows = spc_table(layer=[1, 2, 3, 1, 2, 3], head=["in_order"] * 3 + ["shuffled"] * 3)
    rows = rows.assign(chance=11.1, ceiling=[44.0, 77.0, 100.0] * 2)
    figures.accuracy_by_layer(rows, ax)
    assert sorted(y for _, y in drawn(ax)) == sorted(rows["mean"])
    assert {(round(x), y) for x, y in drawn(ax)} == {(row.layer - 1, row.mean) for row in rows.itertuples(index=False)}
    assert segments(ax) == sorted(intervals(rows) + [(y, y) for y in (44.0, 77.0, 100.0)])
    assert [11.1, 11.1] in [list(line.get_ydata()) for line in ax.lines]
    assert labels(ax) == ["1", "2", "3"]


def test_heads_on_frozen_networks_look_the_same_on_every_page(ax):
    assert {*decoding.HEADS, "in_order_random"} <= set(figures.PROBE_LOOKS)
    rows = spc_table(layer=[1, 1, 1], head=["in_order", "in_order_random", "shuffled"])
    figures.accuracy_by_layer(rows.assign(chance=11.1, ceiling=100.0), ax)
    trained, random, shuffled = ax.lines[:3]
    assert same_color(trained.get_color(), random.get_color()) and same_color(random.get_markerfacecolor(), "white")
    assert same_color(trained.get_markerfacecolor(), trained.get_color())
    assert not same_color(trained.get_color(), shuffled.get_color())
    assert [line.get_label() for line in (trained, random)] == ["in order", "in order, random weights"]


def test_no_method_has_the_colour_of_another_or_of_a_padding_mode_it_does_not_use():
    colours = {method: to_hex(colour) for method, colour in style.METHOD_COLOURS.items()}
    assert len(set(colours.values())) == len(colours)
    others = {to_hex(colour) for mode, colour in PADDING_COLOURS.items() if mode != "circular"}
    main = {to_hex(PADDING_COLOURS[mode]) for mode in ("zeros", "reflect", "replicate")}
    assert not main & set(colours.values()) and main <= others
    assert colours["circular_padding"] == to_hex(PADDING_COLOURS["circular"])


def test_dots_by_group_are_clipped_at_the_floor(ax):
    rows = spc_table(network=["a", "b"] * 2, cells=["seen", "seen", "unseen", "unseen"])
    rows.loc[3, ["mean", "low", "high"]] = -40.0, -50.0, 0.5
    figures.dots_by_group(rows, "network", "cells", ax, floor=-2.0)
    assert sorted(y for _, y in drawn(ax)) == sorted([*rows["mean"][:3], -2])
    assert segments(ax) == sorted([*intervals(rows[:3]), (-2, 0.5)])
    assert {(round(x), y) for x, y in drawn(ax)} >= {(0, rows["mean"][2]), (1, -2)}
    assert labels(ax) == ["a", "b"] and [t.get_text() for t in ax.get_legend().get_texts()] == ["seen", "unseen"]


def test_dots_by_method_stand_on_one_line_a_method_from_the_top(ax):
    methods = ["baseline", "two crops", "AugShift"]
    rows = spc_table(method=["AugShift", "baseline"]).assign(paper=[85.6, np.nan])
    single = pd.DataFrame([("baseline", 60.0), ("AugShift", 80.0), ("AugShift", 84.0), ("two crops", 70.0),
                           ("BlurPool", 99.0)], columns=["method", "value"])   # the last is not in `methods`
    assert figures.dots_by_method(rows, single, methods, ax) is ax
    bottom, top = ax.get_ylim()
    assert labels(ax, "y") == methods and bottom > 2 > 0 > top   # the first is uppermost
    marks = {mark: {(round(y), float(x)) for line in ax.lines if line.get_marker() == mark
                    for x, y in zip(*line.get_data(), strict=True)} for mark in "oD"}
    assert marks["o"] == {(0, 60.0), (1, 70.0), (2, 80.0), (2, 84.0)}
    assert marks["D"] == {(2, rows["mean"][0]), (0, rows["mean"][1])}
    lines = [s for strokes in ax.collections for s in strokes.get_segments() if len(s) == 2 and not np.isnan(s).any()]
    level, upright = ([s for s in lines if s[0, axis] == s[1, axis]] for axis in (1, 0))
    assert sorted((round(s[0, 1]), *s[:, 0]) for s in level) == [
        (methods.index(row.method), row.low, row.high) for row in rows[::-1].itertuples(index=False)]
    (printed,) = upright   # the paper has no number for the baseline
    assert set(printed[:, 0]) == {85.6} and min(printed[:, 1]) < 2 < max(printed[:, 1])


def test_curves_have_a_line_a_kind_through_places_in_order(ax):
    rows = spc_table(N=[16, 8, 2, 2, 16], method=["AugShift"] * 3 + ["baseline"] * 2)   # the baseline has no 8
    assert figures.curves(rows, "N", "method", ax) is ax
    assert [line.get_label() for line in ax.lines] == ["AugShift", "baseline"]
    for line, indices in zip(ax.lines, ([2, 1, 0], [3, 4]), strict=True):
        assert [round(x) for x in line.get_xdata()] == rows["N"][indices].tolist()
        assert list(line.get_ydata()) == rows["mean"][indices].tolist() and line.get_linestyle() == "-"
    assert segments(ax) == intervals(rows)
    assert len({line.get_marker() for line in ax.lines}) == 2 == len({line.get_color() for line in ax.lines})
    assert list(ax.get_xticks()) == [2, 8, 16]
    assert ax.lines[0].get_xdata()[0] != ax.lines[1].get_xdata()[0]   # side by side


@pytest.mark.parametrize("draw", [figures.curves, figures.dots_by_group, figures.networks_by_group])
def test_kinds_have_the_colour_and_marker_that_they_are_given(ax, draw):
    rows = spc_table(N=[2, 8] * 2, kind=["flip", "flip", "new", "new"])
    draw(rows, "N", "kind", ax, looks=style.KIND_LOOKS)
    by_label = {line.get_label(): line for line in ax.lines}
    for label, (colour, marker) in (("flip response", style.KIND_LOOKS["flip"]), ("new", (style.COLOURS[1], "s"))):
        assert by_label[label].get_marker() == marker and same_color(by_label[label].get_color(), colour)


def test_a_curve_of_one_place_is_drawn(ax):
    rows = spc_table(N=[8, 8], method=["a", "b"])
    figures.curves(rows, "N", "method", ax)
    assert {(round(x), y) for x, y in drawn(ax)} == {(8, y) for y in rows["mean"]} and list(ax.get_xticks()) == [8]


def printed_sizes(fig) -> np.ndarray:
    """(axes, 2): width and height of each picture in inches."""
    fig.canvas.draw()
    return np.array([ax.get_window_extent().size for ax in fig.axes]) / fig.dpi


def grid_of(rows: int, cols: int):
    picture = np.linspace(0, 1, rows * cols).reshape(rows, cols)
    colours = np.stack([picture] * 3, -1)
    return images.picture_grid({str(n): {"picture": colours / (n + 1), "a": picture / (n + 1), "b": 1 - picture}
                                 for n in range(2)})


def test_a_picture_grid_of_wide_pictures_draws_them_all_whole_and_larger():
    wide, square = grid_of(20, 40), grid_of(20, 20)
    assert [ax.images[0].get_array().shape[:2] for ax in wide.axes] == [(20, 40)] * 6
    for n, ax in enumerate(wide.axes[i] for i in (0, 1, 3, 4)):
        assert ax.images[0].get_array().max() == pytest.approx(1 / (1 + n // 2))
    sizes = printed_sizes(wide)
    np.testing.assert_allclose(sizes[:, 0], 2 * sizes[:, 1], rtol=0.01)
    np.testing.assert_allclose(sizes, sizes[[0] * 6], rtol=0.01)             # one size for all
    assert (sizes[:, 0] > 1.2 * printed_sizes(square)[:, 0]).all()
    inches = wide.get_size_inches()
    assert 2 * sizes[0, 1] > 0.7 * inches[1] and 3 * sizes[0, 0] > 0.7 * inches[0]   # and little is left empty
    for fig in (wide, square):
        plt.close(fig)


@pytest.mark.filterwarnings("ignore:The set_bad function")   # seaborn's
@pytest.mark.parametrize("low, high, texts", [(-1.0, 1.0, ["1.00", "-0.46", "0.20", "1.00"]),
                                              (0.0, 12.0, ["1.0", "-0.5", "0.2", "1.0"])])
def test_an_agreement_matrix_shows_its_numbers_on_the_scale_it_is_given(ax, low, high, texts):
    frame = pd.DataFrame([[1.0, -0.456], [0.2, 1]], index=["flip", "shift"], columns=["flip", "shift"])
    assert figures.agreement_matrix(frame, ax, low, high) is ax
    assert [t.get_text() for t in ax.texts] == texts
    assert labels(ax) == labels(ax, "y") == ["flip", "shift"]
    mesh = ax.collections[0]
    assert mesh.get_clim() == (low, high) and ax.get_xlabel() == ax.get_ylabel() == ""
    red, _, blue, _ = mesh.to_rgba((low + high) / 2)
    assert (abs(red - blue) < 0.05) == (low < 0)   # a colour for neither sign is grey


def test_a_window_is_framed_in_every_picture_and_enlarged_below_it():
    fig = plt.figure()
    one, two = np.random.default_rng(0).random((2, 12, 16, 3))
    axes = images.zoomed({"one": one, "two": two}, {"two": 1 - two}, (slice(2, 6), slice(8, 14)), fig)
    assert axes.shape == (2, 2) and [ax.get_title() for ax in axes[0]] == ["one", "two"]
    for ax, picture in zip(axes.flat, (one, two, one[2:6, 8:14], 1 - two[2:6, 8:14]), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), picture)
    for ax in axes[0]:
        frame, = ax.patches
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((7.5, 1.5), 6, 4)
    plt.close(fig)


OF_CITYSCAPES = {c.name: c.color for c in Cityscapes.classes if c.train_id not in (-1, 255)}   # torchvision's list


@pytest.mark.parametrize("classes", [streets.CLASSES, cityscapes.CLASSES, cityscapes.CLASSES[::-1]])
def test_classes_have_the_colours_of_cityscapes(classes):
    colours = images.class_colours(classes)
    assert colours.shape == (256, 3) and sorted(classes) == sorted(OF_CITYSCAPES)
    np.testing.assert_allclose(255 * colours[:19], [OF_CITYSCAPES[name] for name in classes])
    assert len({tuple(colour) for colour in colours[:20]}) == 20   # unlike each other and black
    assert not colours[imageset.VOID].any() and not colours[19:].any()


def test_classes_of_camvid_have_the_colours_of_their_counterparts():
    like = ("sky", "building", "pole", "road", "sidewalk", "vegetation", "traffic sign", "fence", "car", "person",
            "rider")
    colours = images.class_colours(camvid.CLASSES)
    np.testing.assert_allclose(255 * colours[:11], [OF_CITYSCAPES[name] for name in like])
    assert not colours[imageset.VOID].any()
    np.testing.assert_allclose(images.class_colours(["unknown", "road"])[:2], [
        [128 / 255] * 3, np.array(OF_CITYSCAPES["road"]) / 255])   # grey


def test_boxes_enclose_their_pixels(ax):
    images.boxes(ax, np.array([[2, 3, 4, 5], [0, 0, 1, 1]]), ["-", "--"], [1.0, 0.25])
    one, two = ax.patches
    assert (one.get_xy(), one.get_width(), one.get_height()) == ((1.5, 2.5), 4, 5)   # pixel 2 begins at 1.5
    assert (one.get_linestyle(), two.get_linestyle()) == ("-", "--") and (one.get_alpha(), two.get_alpha()) == (1, 0.25)
    images.boxes(ax, np.array([]))
    assert len(ax.patches) == 2


def test_confusions_share_one_scale_and_have_the_true_label_by_row():
    matrices = {"in order": 100 * np.eye(3), "shuffled": np.full((3, 3), 100 / 3)}
    fig = figures.confusions(matrices)
    first, second, bar = fig.axes
    for ax, (title, matrix) in zip((first, second), matrices.items(), strict=True):
        (image,) = ax.images
        np.testing.assert_array_equal(image.get_array(), matrix)
        assert image.get_clim() == (0, 100) and ax.get_title() == title and ax.get_xlabel() == "predicted cell"
    assert first.get_ylabel() == "true cell" and bar.get_ylabel() == "% of canvases"
    plt.close(fig)


def test_seeds_by_group_are_dots_with_their_mean_beside_them(ax):
    figures.seeds_by_group({"in order": [100.0, 99.0], "shuffled": [70.0], "none": []}, ax, 11.1, ["C0", "C0", "C1"])
    assert drawn(ax) == {(0, 100.0), (0, 99.0), (1, 70.0)}
    assert [text.get_text() for text in ax.texts] == ["100 %", "70 %"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["in order", "shuffled", "none"]
    assert [11.1, 11.1] in [list(line.get_ydata()) for line in ax.lines]


def test_no_text_of_the_schematic_overlaps_another(ax):
    ax.figure.set_size_inches(10, 2.3)
    figures.schematic(ax)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) > 8 and not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
