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
import pandas as pd

from posenc_lib import claims
from posenc_lib.run import config
from posenc_lib.show import figures, page, style

workspace = config.Workspace(profile, data_root, out)
style.use_style()

# %% [markdown]
# ## At a glance
#
# One line a claim. On the left what came of it, by a rule that was written before the run; on the right what came of the control that could have
# explained it away. A claim can be reproduced and its reading still be wrong: look for a circle on the left and a cross on the right.

# %% tags=["remove-input"]
scores = page.score_table(workspace)
fig = figures.verdict_strip(scores["claim"], scores["bare"], scores["outcome"])
page.show(fig, "00_verdicts", f"The verdicts of this run (profile {profile}), and what came of each claim's control.",
          "One line a claim, with a mark under reproduced, in direction, not reproduced, not testable or not run, and one for its control.",
          workspace=workspace)

# %% [markdown]
# ## The claims, and what came of them
#
# Every number is read from the tables that the pages of this run put out; none is typed here. *Paper* is what the paper
# prints. *Reference run* is a run at the papers' own scale, where there is one. *This run* is the run that built this book. *Control* is whether the reading
# stood up to what was tried against it, which the second table tells. How each is judged is told [below](#rules).

# %% tags=["remove-input"]
page.table(scores[["claim", "paper", "reference run", "this run", "verdict", "control", "figure"]], "00_scores",
           "Every claim, its number in the paper, in the reference run and in this one, the verdict by its rule, and its control.",
           workspace=workspace, widths=(13, 16, 11, 25, 16, 11, 8))

# %% [markdown]
# **What could have overturned each reading**, and what came of it.

# %% tags=["remove-input"]
page.table(scores[["claim", "what was tried", "control", "numbers"]], "00_controls",
           "The control of each claim in this run, with the numbers that it rests on.", workspace=workspace, widths=(15, 30, 12, 43))

# %% [markdown]
# **What was run**, page by page.

# %% tags=["remove-input"]
page.table(scores[["page", "run"]].drop_duplicates(), "00_runs", "Data, schedule and number of seeds of this run.", workspace=workspace)

# %% [markdown]
# ## Every table of the papers, and where it is
#
# Each row of the papers' tables of results, and of the figures that stand in their place, is shown again on one page.

# %% tags=["remove-input"]
ran = set(scores.loc[scores["bare"] != page.NOT_RUN, "page"])
rows = [{"table": table, "its rows": "; ".join(names), "page": f"[{number}]({number}.ipynb)" if number in ran else number}
        for table, names in claims.TABLES.items() for number in claims.pages_of(table)]
page.table(pd.DataFrame(rows), "00_tables", "Where every row of the papers' tables is shown again.", workspace=workspace)

# %% [markdown]
# (rules)=
# ## How each claim is judged, and what was tried against it

# %% tags=["remove-input"]
page.claim_box(*claims.CLAIMS)

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
