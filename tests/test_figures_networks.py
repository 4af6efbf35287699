"""Figures of page 08 draw the data they are given."""
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from test_figures import drawn, intervals, labels, segments

from posenc_lib.show import figures, style

matplotlib.use("agg")


@pytest.fixture
def border():
    rows = pd.DataFrame([(layer, mode) for layer in ("stem", "deep") for mode in ("as_built", "zeros", "circular")],
                        columns=["layer", "padding_mode"])
    rows["energy"] = np.arange(6) / 10
    return rows.assign(low=rows["energy"] - 0.1, high=rows["energy"] + 0.1,
                       shift_sensitivity=[0.1, 0.1, 0.0, 0.2, 0.2, 1e-3])


def lines(ax) -> dict[str, tuple[list[float], str]]:
    return {line.get_label(): (line.get_ydata().tolist(), line.get_color()) for line in ax.lines}


def test_border_energy_is_drawn_by_layer_with_its_interval_in_the_modes_colour(ax, border):
    assert figures.border_by_layer(border, "energy", ax) is ax
    by_label = lines(ax)
    assert list(by_label) == ["as built", "zero", "circular"]
    assert np.allclose([values for values, _ in by_label.values()], [[0, 0.3], [0.1, 0.4], [0.2, 0.5]])
    assert by_label["as built"][1] == "black" and same_color(by_label["circular"][1], style.PADDING_COLOURS["circular"])
    assert np.allclose(segments(ax), intervals(border)) and labels(ax) == ["stem", "deep"]


def test_a_sensitivity_of_zero_is_clipped_on_the_logarithmic_axis(ax, border):
    figures.border_by_layer(border, "shift_sensitivity", ax)
    assert lines(ax)["circular"][0] == [1e-8, 1e-3] and ax.get_yscale() == "log" and not segments(ax)
    assert ax.get_ylim()[0] < 1e-8


def test_every_network_has_a_row_with_each_head_and_the_first_layer_that_the_border_affects():
    fig, ax = plt.subplots(layout="constrained")
    rows = pd.DataFrame([(run, head, first) for run, first in (("one", "conv1"), ("two", "none"))
                         for head in ("in_order", "shuffled")], columns=["run", "head", "first"])
    rows["mean"] = [90.0, 20.0, 11.0, 11.5]
    rows = rows.assign(low=rows["mean"] - 1, high=rows["mean"] + 2, chance=100 / 9)
    assert figures.dots_by_network(rows, ax) is ax
    assert {(x, round(y, 1)) for x, y in drawn(ax)} == {(90.0, -0.2), (20.0, 0.0), (11.0, 0.8), (11.5, 1.0)}
    strokes = sorted(tuple(s[:, 0]) for c in ax.collections for s in c.get_segments())
    assert strokes == sorted(intervals(rows)) and labels(ax, "y") == ["one", "two"]
    assert [t.get_text() for t in ax.texts[:2]] == ["conv1", "none"]
    assert any(np.allclose(line.get_xdata(), 100 / 9) for line in ax.lines)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["in order", "shuffled", "chance"]
    plt.close(fig)
