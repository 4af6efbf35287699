# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Rules, controls and runs: how each claim was judged
#
# The verdicts of this book follow written rules. Most rules were fixed after the runs on a CPU and before any run at
# the papers' scale; where a CPU run still is the reference, the rule was therefore written with its result known. The
# last column of [table 99_controls](#tab-99_controls) states this for each claim. This page lists all rules, with the
# controls, the numbers they rest on and the runs behind the numbers. Each claim is explained on its own page.

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
import pandas as pd

from posenc_lib import claims
from posenc_lib.run import config
from posenc_lib.show import figures, page, style

workspace = config.Workspace(profile, data_root, out)
style.use_style()

# %% [markdown]
# ## Verdicts at a glance
#
# A claim can be reproduced while its interpretation is wrong. So each claim has a control that tests the most
# plausible rival explanation: a claim that was reproduced although its rival explanation holds has a circle on the
# left and a cross on the right.

# %% tags=["remove-input"]
scores = page.score_table(workspace)
fig = figures.verdict_strip(scores["claim"], scores["verdict"], scores["outcome"])
page.show(fig, "99_verdicts", """The verdict on each claim and the outcome of its control, from the
    committed reference runs: at the papers' scale where there is such a run, otherwise the
    largest run on a CPU.""",
          "One row per claim, with a mark in the column of its verdict and one for its control.",
          workspace=workspace)

# %% [markdown]
# ## The numbers behind the verdicts
#
# *Paper* is the source and, where there is one, the printed value. *Reference runs* are on file in `records/paper` and
# `records/cpu`; the verdict rests on them alone. *This run*, if the book was built with one, has small networks, which
# check that the code works on your machine.

# %% tags=["remove-input"]
marked = scores.assign(
    verdict=scores["verdict"].map(page.badge), outcome=scores["outcome"].map(page.badge)
)
widths = {"claim": 14, "paper": 18, "reference": 25, "verdict": 15, "this run": 20, "figure": 8}
if workspace.is_reference:
    del widths["this run"]
page.table(marked[list(widths)].rename(columns={"reference": "reference runs"}), "99_scores",
           "Every claim: its number in the paper and in the runs, and its verdict.",
           workspace=workspace, widths=list(widths.values()))

# %% [markdown]
# ## The controls: what could have overturned each interpretation

# %% tags=["remove-input"]
page.table(marked[["claim", "control", "outcome", "evidence", "fixed"]], "99_controls",
           "The control of each claim in the reference runs, with the numbers that its outcome "
           "rests on, "
           "and when the rules of claim and control were fixed.",
           workspace=workspace, widths=(14, 27, 12, 35, 12))

# %% [markdown]
# ## The runs

# %% tags=["remove-input"]
runs = scores[["page", "run", "run here"]].drop_duplicates()
runs = runs.assign(page=runs["page"].str[:2])
if workspace.is_reference:
    runs = runs.drop(columns="run here")
page.table(runs.rename(columns={"run": "reference runs", "run here": "this run"}), "99_runs",
           "Data, networks, schedules, devices and numbers of seeds.", workspace=workspace)

# %% [markdown]
# ## Where to find each table of the papers
#
# Each row of the papers' results tables, and of the figures shown in place of a table, is covered on one page.

# %% tags=["remove-input"]
built = set(scores.loc[scores["verdict"] != page.NOT_RUN, "page"])
rows = [{"table": table, "rows": "; ".join(map(style.label, keys)),
         "page": f"[{name[:2]}]({name}.ipynb)" if name in built else name[:2]}
        for table, keys in claims.TABLES.items() for name in claims.pages_of(table)]
page.table(pd.DataFrame(rows), "99_tables", "The page that covers each table of the papers.",
           workspace=workspace)

# %% [markdown]
# ## The rules

# %% tags=["remove-input"]
page.claim_box(*claims.CLAIMS)
