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
# This book takes two papers on the subject, runs their experiments again, and asks of each claim what could overturn it:
#
# * *How Much Position Information Do Convolutional Neural Networks Encode?* {cite:p}`islam2020how`
# * *Global Pooling, More than Meets the Eye: Position Information is Encoded Channel-Wise in CNNs*
#   {cite:p}`islam2021global`
#
# :::{toctree}
# :hidden:
# :glob:
# :caption: Pages
# [0-9][0-9]_*
# :::
#
# :::{toctree}
# :hidden:
# :caption: Reference
# glossary
# bibliography
# :::

# %% tags=["parameters", "remove-input"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # not read here; every page has it
out = ""              # where the pages' records and figures are; "" is the project folder

# %% tags=["remove-input"]
from posenc_lib import config, figures, page, paper

workspace = config.Workspace(profile, data_root, out)
figures.use_style()

# %% [markdown]
# ## The claims, and what came of them
#
# Every number is read from the tables that the pages of this run put out; none is typed here. *Paper* is what the paper
# prints. *Reference run* is a run at the papers' own scale, where there is one. *This run* is the run that built this book.

# %% tags=["remove-input"]
scores = page.score_table(workspace)
page.table(scores[["claim", "page", "paper", "reference run", "this run", "verdict"]], "00_scores",
           "Every claim, its number in the paper, in the reference run and in this one, and the verdict by its rule.",
           workspace=workspace)

# %% tags=["remove-input"]
fig = figures.verdict_strip(scores["claim"], scores["bare"])
page.show(fig, "00_verdicts", f"The verdicts of this run (profile {profile}) at a glance.",
          "One line a claim, with a mark under reproduced, reproduced in direction, not reproduced or not run.",
          workspace=workspace)

# %% [markdown]
# ## How each claim is judged, and what was tried against it

# %% tags=["remove-input"]
page.claim_box(*paper.CLAIMS)

# %% [markdown]
# ## How to read this book
#
# Each page opens with a puzzle, shows the idea on numbers that you can check with a pencil, builds the tool in a few lines
# before it imports it, and lists its deviations from the paper *before* its results. Then come the figure, the comparison
# with the paper, and a control that could have overturned the reading. Exercises have solutions that open on a click.
#
# * **Profiles.** `smoke` only checks the wiring, and its numbers mean nothing. `quick` runs on a laptop on images that come
#   with the packages: directions show, the papers' numbers do not. `paper` is the papers' data, models and schedules on a GPU.
# * **Intervals** are 95 %, and each caption says over what: seeds, images or draws.
# * **Verdicts** follow rules written before the run; each stands in its claim's box above.
# * **Words** are in the [glossary](glossary.md), sources in the [bibliography](bibliography.md).
