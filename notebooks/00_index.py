# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where is it? Position information in convolutional networks
#
# A convolution applies the same kernel everywhere, so a convolutional network should not know where anything is. Yet it does. This book reproduces
# the experiments of two papers on the subject ([Islam et al., 2020](../book/bibliography.md#islam2020how);
# [Islam et al., 2021](../book/bibliography.md#islam2021global)) and tests each claim against the most plausible rival explanation.

# %% Parameters tags=["parameters", "remove-input"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # not used on this page, but every page has this parameter
out = ""              # folder of the pages' records and figures; "" is the project folder

# %% Install the library where it is missing tags=["remove-cell"]
import site
import sysconfig
from importlib.util import find_spec

source = ""   # a wheel, or -e git+ADDRESS#egg=posenc-book
if not find_spec("posenc_lib"):   # in a notebook opened on its own, for instance on Colab
    if not source:
        raise ModuleNotFoundError("posenc_lib is not installed; run this notebook in its "
                                  "repository, or set `source` in this cell")
    get_ipython().run_line_magic("pip", f"install --quiet {source}")
    site.addsitedir(sysconfig.get_path("purelib"))

# %% Imports tags=["remove-input"]
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from posenc_lib import claims
from posenc_lib.claims.claim import CONTRADICTED, RIVAL_HOLDS, RULED_OUT
from posenc_lib.experiments import gapnet_vs_permutenet, shuffled_sum, two_places
from posenc_lib.run import config, records
from posenc_lib.show import figures, page, style

workspace = config.Workspace(profile, data_root, out)
style.use_style()

# %% Draw the figure tags=["remove-input"]
placed = two_places.frame(records.reference("two_places", workspace))
placed = placed[(placed["kernel"] == 3) & (placed["placement"] == two_places.CENTRED)]
placed = placed.replace({"padding": {"none": "without_padding"}})
at_scale = gapnet_vs_permutenet.frame(shuffled_sum.at_scale(workspace))
at_scale = at_scale.query("task == 'location' and grid == 3 and padding_mode == 'zeros'")
circular = gapnet_vs_permutenet.frame(
    records.reference("gapnet_vs_permutenet", workspace, gapnet_vs_permutenet.is_circular))
circular = circular.query("task == 'location' and grid == 3 and head == 'gapnet'")
heads = {
    "channels in order,\nzero padding": at_scale.loc[at_scale["head"] == "gapnet", "accuracy"],
    "channels shuffled,\nzero padding": at_scale.loc[at_scale["head"] == "permutenet", "accuracy"],
    "channels in order,\ncircular padding": circular["accuracy"],
}
fig = plt.figure(figsize=(10, 5.6), layout="constrained")
above, below = fig.subfigures(2, 1, height_ratios=(1, 1.5))
figures.schematic(above.subplots())
left, right = below.subplots(1, 2)
figures.accuracy_by_size(placed, left, two_places.smallest_hopeless_size(3))
left.set(title="Is the image top left or bottom right?", xlabel="side of the canvas (pixels)",
         ylabel="accuracy (%)")
left.legend(fontsize="small", loc="center right")
figures.seeds_by_group(heads, right, 100 / 9, [style.PADDING_COLOURS[mode] for mode in
                                               ("zeros", "zeros", "circular")])
right.tick_params(axis="x", labelsize="small")
right.set(title="In which of nine places is the image?", ylabel="accuracy (%)", ylim=(0, 114),
          yticks=range(0, 101, 20))
page.show(fig, "00_answer", f"""Padding lets a network distinguish places, and after averaging, the
    order of the channels still carries the difference. Left: two places, by the size of the canvas;
    shaded, where the image is too far from the border (digits, CPU, n =
    {placed["seed"].nunique()}). Right: nine places after global average pooling (CIFAR-10,
    ResNet-18; zero padding at the paper's scale, n = {at_scale["seed"].nunique()}; circular padding
    at width 8, n = {len(circular)}); one dot per network (equal values
    coincide). Dotted: chance.""",
          "A schematic from padding to feature map to averages to head; accuracy for two places "
          "by size and padding; "
          "accuracy for nine places with channels in order, shuffled, and under circular padding.",
          workspace=workspace)
within = placed[placed["can_differ"] & (placed["padding"] == "zeros")]
assert within["accuracy"].mean() > 90 and placed.loc[~placed["can_differ"], "accuracy"].max() < 60
assert at_scale.loc[at_scale["head"] == "gapnet", "accuracy"].min() == 100
assert at_scale.loc[at_scale["head"] == "permutenet", "accuracy"].max() < 80
assert abs(circular["accuracy"] - 100 / 9).max() < 0.1

# %% [markdown]
# ## Results
#
# * **Padding provides position information.** A network whose units see both the image and the border can predict
#   where the image is; with circular padding, which has no border, networks whose every layer is padded in this way
#   are exactly at chance.
# * **Averaging over space preserves it.** Position is then encoded in *how strongly* each channel responds, and in the
#   order of the channels: a network of the paper's size predicts the cell without error; trained with its channels
#   shuffled, it still recognises six or seven of the nine cells.
# * **Open questions** are what training adds, and whether networks need position. Location can be decoded from networks with random weights as well
#   as from trained ones. In fifteen small segmentation networks, removing the channels that respond most to mirroring, which the paper takes as those
#   that encode position, costs no more accuracy than removing as many at random.

# %% [markdown]
# ## The pages

# %% tags=["remove-input"]
scores = page.score_table(workspace)
built = set(scores.loc[scores["verdict"] != page.NOT_RUN, "page"])
found = scores.set_index("claim")[["verdict", "outcome"]]
for claim, column, expected in (   # what the sentences above say of the pages that have been run
    ("06 channels-overall", "verdict", CONTRADICTED),
    ("04 pretrained-location", "outcome", RIVAL_HOLDS),
    ("03 gapnet-location", "outcome", RULED_OUT),
):
    assert found.loc[claim, column] in (expected, page.MISSING, page.NOT_RUN), claim
page.cards(sorted(Path().glob("0[1-9]_*.py")), built)

# %% [markdown]
# ## The claims and their verdicts
#
# One row for each claim of the papers. The verdict rests on the committed reference runs: at the papers' scale where there is such a run, otherwise
# the largest run on a CPU. The last column has the outcome for the most plausible rival explanation. The rules, the numbers and the runs are in the
# [appendix](99_rules.ipynb).

# %% tags=["remove-input"]
statements = {f"{c.page[:2]} {c.id}": c for c in claims.CLAIMS}
rows = [{"page": f"[{row.page[:2]}]({row.page}.ipynb)" if row.page in built else row.page[:2],
         "claim": statements[row.claim].statement, "source": statements[row.claim].source,
         "verdict": page.badge(row.verdict), "rival explanation": page.badge(row.outcome)}
        for row in scores.itertuples()]
page.table(
    pd.DataFrame(rows),
    "00_claims",
    "Every claim, with its verdict and the outcome of its control.",
    workspace=workspace,
    widths=(6, 42, 18, 17, 17),
)

# %% [markdown]
# ## Read, run, extend
#
# * **Read.** Each page begins with its answer, explains the idea with numbers that you can check by hand, builds the tool in a few lines before
#   importing it, and then presents the experiment, the controls and the comparison with the paper. Solutions to the exercises open on a click. Terms
#   are in the [glossary](../book/glossary.md), sources in the [bibliography](../book/bibliography.md).
# * **Run.** `./run_all.sh` runs every page on images that come with the packages, in five to ten minutes on two cores
#   (two pages at a time), and builds this book. `./run_all.sh --profile paper` runs the papers' models and schedules
#   on a GPU. `README.md` lists all options.
# * **Intervals** are 95 % intervals, and each caption states over what: seeds, images or draws.
# * **Cite** the papers, and this book by `CITATION.cff`. The code is under the MIT licence.
