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
# A convolution does the same thing everywhere, so a convolutional network should not know where anything is. It does.
# This book reproduces the experiments of two papers on the subject, and tests each claim against what could overturn it:
#
# * *How Much Position Information Do Convolutional Neural Networks Encode?* ([Islam et al., 2020](../book/bibliography.md#islam2020how))
# * *Global Pooling, More than Meets the Eye: Position Information is Encoded Channel-Wise in CNNs*
#   ([Islam et al., 2021](../book/bibliography.md#islam2021global))

# %% tags=["parameters", "remove-input"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # not used on this page, but every page has this parameter
out = ""              # folder of the pages' records and figures; "" is the project folder

# %% tags=["remove-input"]
import pandas as pd

from posenc_lib import claims
from posenc_lib.run import config
from posenc_lib.show import figures, page, style

workspace = config.Workspace(profile, data_root, out)
style.use_style()

# %% [markdown]
# ## At a glance
#
# One row per claim. On the left is its verdict; on the right, what became of the most plausible rival explanation. A claim can be reproduced
# and its interpretation still be wrong: look for a circle on the left and a cross on the right.

# %% tags=["remove-input"]
scores = page.score_table(workspace)
fig = figures.verdict_strip(scores["claim"], scores["verdict"], scores["outcome"])
page.show(fig, "00_verdicts", """The verdict on each claim, and the outcome of its control, from the committed reference runs: the papers' scale
          where there is such a run, else the largest run on a CPU.""",
          "One row per claim, with a mark in the column of its verdict and one for its control.", workspace=workspace)

# %% [markdown]
# ## The claims and their verdicts
#
# *Paper* is the printed value. *Reference runs* are on file in `records/paper` and `records/cpu`, and the verdict rests on them alone. *This run* is the
# run that built this book: small networks, a check that the code on your machine does what it should. The rules are [below](#how-each-claim-and-its-control-are-judged).

# %% tags=["remove-input"]
marked = scores.assign(verdict=scores["verdict"].map(page.badge), outcome=scores["outcome"].map(page.badge))
columns = ["claim", "paper", "reference", "verdict", "outcome", "this run", "figure"]
page.table(marked[columns].rename(columns={"outcome": "control", "reference": "reference runs"}), "00_scores",
           "Every claim, its number in the paper, in the reference runs and in this run, its verdict, and "
           "the outcome of its control.", workspace=workspace, widths=(13, 16, 21, 14, 11, 17, 8))

# %% [markdown]
# **What could have overturned each interpretation**, and whether it did.

# %% tags=["remove-input"]
page.table(marked[["claim", "control", "outcome", "evidence", "fixed"]], "00_controls",
           "The control of each claim in the reference runs, with the numbers that its outcome rests on, and when the rules of "
           "claim and control were fixed.", workspace=workspace, widths=(14, 27, 12, 35, 12))

# %% [markdown]
# **What was run**, page by page.

# %% tags=["remove-input"]
page.table(scores[["page", "run", "run here"]].drop_duplicates().rename(columns={"run": "reference runs", "run here": "this run"}),
           "00_runs", "Data, networks, schedules, devices and numbers of seeds.", workspace=workspace)

# %% [markdown]
# ## Where to find each table of the papers
#
# Each row of the papers' results tables, and of the figures that stand in for one, is reproduced on one page.

# %% tags=["remove-input"]
built = set(scores.loc[scores["verdict"] != page.NOT_RUN, "page"])
rows = [{"table": table, "rows": "; ".join(map(style.label, keys)), "page": f"[{name}]({name}.ipynb)" if name in built else name}
        for table, keys in claims.TABLES.items() for name in claims.pages_of(table)]
page.table(pd.DataFrame(rows), "00_tables", "The page that reproduces each table of the papers.",
           workspace=workspace)

# %% [markdown]
# ## How each claim and its control are judged

# %% tags=["remove-input"]
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## How to read this book
#
# Each page opens with a puzzle, shows the idea on numbers that you can check with a pencil, builds the tool in a few lines
# before it imports it, and lists its deviations from the paper *before* its results. Then come the figure, the comparison
# with the paper, and a control that could have overturned the interpretation. Solutions to the exercises open on a click.
#
# * **Profiles.** `smoke` only checks that everything runs, and its numbers mean nothing. `quick` runs on a laptop on images that
#   come with the packages: effects show, the papers' numbers do not. `paper` is the papers' models and
#   schedules on a GPU, on the papers' data where you have them; what stands in is named in each verdict.
# * **Intervals** are 95 %, and each caption says over what: seeds, images or draws.
# * **Verdicts** follow the rules in the claim boxes above, each with the time at which it was fixed. They rest on the reference runs alone.
# * **Terms** are in the [glossary](glossary.md), sources in the [bibliography](bibliography.md).
