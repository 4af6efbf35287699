"""The outputs of a page: files on disk, MyST for the book, HTML for JupyterLab; identical on every run."""
from collections import namedtuple
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.claims import gapnet_vs_permutenet, padding_artifacts
from posenc_lib.data import registry
from posenc_lib.run.config import Workspace
from posenc_lib.show import page, style
from posenc_lib.show.tables import markdown_table, with_interval

matplotlib.use("agg")


@pytest.fixture
def workspace(tmp_path):
    return Workspace("smoke", out=str(tmp_path))


@pytest.fixture
def outputs(monkeypatch):
    """The MIME bundles displayed so far."""
    bundles = []
    monkeypatch.setattr(page, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def draw():
    style.use_style()
    fig, ax = plt.subplots(figsize=(2, 2))
    ax.plot([1, 2], [3, 4], "o-")
    ax.set_title("η²")
    return fig


def test_a_figure_is_saved_and_displayed_with_number_caption_alt_and_downloads(workspace, outputs):
    fig = draw()
    page.show(fig, "03_a", "*Mean* of 3 seeds,\n95 % interval from -1 by `a*b*c`.", 'A line "rising": <3 to 4>.',
              workspace=workspace, data=pd.DataFrame({"x": [1 / 3]}))
    assert sorted(f.name for f in workspace.figures.iterdir()) == ["03_a.csv", "03_a.png", "03_a.svg"]
    assert (workspace.figures / "03_a.csv").read_text() == "x\n0.333333\n"
    markdown = outputs[0]["text/markdown"]
    assert markdown.startswith("```{figure} figures/03_a.svg\n:name: fig-03_a\n")
    assert ':alt: "A line \\"rising\\": <3 to 4>."\n\n' in markdown
    assert '\n\n*Mean* of 3 seeds, 95\u00a0% interval from \u22121 by `a*b*c`.\n\n' in markdown
    for kind in ("svg", "png", "csv"):
        assert f"{{download}}`{kind} <figures/03_a.{kind}>`" in markdown
    as_html = outputs[0]["text/html"]
    assert 'alt="A line &quot;rising&quot;: &lt;3 to 4&gt;."' in as_html
    assert as_html.startswith('<figure id="fig-03_a">')
    assert "<em>Mean</em> of 3 seeds" in as_html and "<code>a*b*c</code>" in as_html
    assert not plt.fignum_exists(fig.number)   # closed, or JupyterLab would show it a second time


def test_a_figure_saved_twice_is_the_same_byte_by_byte(workspace, outputs):
    saved = []
    for _ in range(2):
        page.show(draw(), "a", "Caption.", "Alt.", workspace=workspace)
        saved.append([(workspace.figures / f"a.{kind}").read_bytes() for kind in ("svg", "png")])
    assert saved[0] == saved[1]


def test_a_table_is_saved_whole_and_shown_rounded_with_dashes_for_what_is_missing(workspace, outputs):
    frame = pd.DataFrame({"mode": ["zeros", "a|b, c"], "mean": [1 / 3, np.nan], "n": [3, 4], "why": [None, 'so "so"']})
    page.table(frame, "03_t", "A\ntable.", workspace=workspace, digits=2)
    assert (workspace.figures / "03_t.csv").read_text().splitlines()[:2] == ["mode,mean,n,why", "zeros,0.333333,3,"]
    assert (workspace.figures / "03_t.md").read_text().splitlines() == [
        "| mode | mean | n | why |", "| --- | ---: | ---: | --- |", "| zeros | 0.33 | 3 | – |",
        '| a\\|b, c | – | 4 | so "so" |']
    head, _, rest = outputs[0]["text/markdown"].partition("\n\n")
    assert head == "```{table} A table.\n:name: tab-03_t"
    assert rest.partition("```")[0] == (workspace.figures / "03_t.md").read_text()
    assert '<td style="text-align:right">0.33</td>' in outputs[0]["text/html"]
    assert '<td style="text-align:left">so &quot;so&quot;</td>' in outputs[0]["text/html"]


def test_hidden_columns_of_a_table_are_in_its_csv_alone(workspace, outputs):
    frame = pd.DataFrame({"mode": ["zeros"], "mean": [0.5], "low": [0.25]})
    page.table(frame, "03_t", "Table.", workspace=workspace, hidden=["low"])
    assert (workspace.figures / "03_t.csv").read_text() == "mode,mean,low\nzeros,0.5,0.25\n"
    assert (workspace.figures / "03_t.md").read_text().splitlines()[0] == "| mode | mean |"
    assert "low" not in outputs[0]["text/markdown"] + outputs[0]["text/html"]


@pytest.mark.parametrize("cells, numbers", [
    (["0.3", "−1.2 [−2.0, −0.4]", "–"], True), (["12 %", "+1,041"], True), (["3×3", "5"], False), (["4 of 9"], False)])
def test_columns_of_numbers_are_aligned_to_the_right(cells, numbers):
    assert (markdown_table(pd.DataFrame({"a": cells})).splitlines()[1] == "| ---: |") == numbers


def test_a_folded_table_says_how_long_it_is(workspace, outputs):
    page.table(pd.DataFrame({"a": range(30)}), "t", "Table.", workspace=workspace, folded="All of it")
    markdown = outputs[0]["text/markdown"]
    assert markdown.startswith(":::{dropdown} All of it (30 rows)\n```{table} Table.\n:name: tab-t\n")
    assert markdown.rstrip().endswith(":::")
    assert '<details><summary>All of it (30 rows)</summary><p id="tab-t"><b>Table t.</b>' in outputs[0]["text/html"]


def test_a_table_of_given_widths_takes_the_margin(workspace, outputs):
    frame = pd.DataFrame({"a": ["x"], "b": ["y"]})
    for widths in ((), (1, 3)):
        page.table(frame, "t", "Table.", workspace=workspace, widths=widths)
    plain, wide = (bundle["text/markdown"] for bundle in outputs)
    assert ":name: tab-t\n:widths: 1 3\n:class: full-width\n\n" in wide and ":widths:" not in plain
    assert plain.count("\n\n") == wide.count("\n\n")


def test_a_claim_box_has_every_part_of_the_claim(outputs):
    page.claim_box(gapnet_vs_permutenet.GAPNET_LOCATION, padding_artifacts.PADDING_ARTIFACTS)
    markdown = outputs[0]["text/markdown"]
    for claim in (gapnet_vs_permutenet.GAPNET_LOCATION, padding_artifacts.PADDING_ARTIFACTS):
        for text in (f"Claim `{claim.id}`", claim.statement, claim.source, claim.paper_value, claim.rule, claim.control,
                     claim.control_rule):
            assert text in markdown
    assert outputs[0]["text/html"].count("<p><b>Claim") == 2


GAPNET, PADDING = gapnet_vs_permutenet.GAPNET_LOCATION, padding_artifacts.PADDING_ARTIFACTS
REFERENCE = {GAPNET: paper.Judged(paper.REPRODUCED, "100.0 %", paper.RULED_OUT, "circular: 11.1 %"),
             PADDING: paper.Judged(paper.IN_DIRECTION, "+0.2", paper.RIVAL_HOLDS, "excess +0.1")}
HERE = {GAPNET: paper.Judged(paper.NOT_TESTABLE, "4 channels", paper.NOT_TRIED, "4 channels")}
RUNS = {"reference": "CIFAR-10, 2 seeds", "here": "digits, 1 seed"}


def test_verdicts_are_plain_in_the_file_and_have_badges_in_the_book(workspace, outputs):
    page.against_paper(REFERENCE, HERE, "03_against_paper", runs=RUNS, workspace=workspace)
    saved = pd.read_csv(workspace.figures / "03_against_paper.csv")
    assert saved["verdict"].tolist() == [paper.REPRODUCED, paper.IN_DIRECTION]
    assert saved["reference"].tolist() == ["100.0 %", "+0.2"]
    assert saved["this run"].tolist() == ["4 channels", "–"]
    assert saved["verdict here"].tolist() == [paper.NOT_TESTABLE] * 2
    assert saved["paper"].tolist() == [GAPNET.paper_value, "no number printed"]
    assert saved["run"].tolist() == ["CIFAR-10, 2 seeds"] * 2 and saved["run here"].tolist() == ["digits, 1 seed"] * 2
    assert saved["control"].tolist() == [paper.RULED_OUT, paper.RIVAL_HOLDS]
    assert saved["control evidence"].tolist() == ["circular: 11.1 %", "excess +0.1"]
    markdown = outputs[0]["text/markdown"]
    assert "[in direction]{.verdict .in-direction} +0.2" in markdown
    assert "[rival explanation holds]{.verdict .contradicted} excess +0.1" in markdown
    assert "[not testable here]{.verdict .not-testable-here} 4 channels" in markdown
    assert "Reference runs: CIFAR-10, 2 seeds. This run: digits, 1 seed." in markdown


def test_runs_that_are_the_reference_have_no_column_of_their_own(workspace, outputs):
    page.against_paper(REFERENCE, {}, "03_against_paper", runs=RUNS, workspace=workspace)
    assert "This run" not in outputs[0]["text/markdown"] and "this run" not in outputs[0]["text/markdown"]
    assert pd.read_csv(workspace.figures / "03_against_paper.csv")["this run"].tolist() == ["–"] * 2


def test_jupyterlab_sees_words_where_the_book_has_roles(workspace, outputs):
    cells = ["[passed]{.verdict .reproduced} 3 of [0, 5]", "{numref}`Fig. %s <fig-03_a>`", "[03](03.ipynb)"]
    frame = pd.DataFrame({"a": cells})
    page.table(frame, "03_t", "Table.", workspace=workspace)
    assert (workspace.figures / "03_t.md").read_text().splitlines()[2] == "| passed 3 of [0,\u00a05] |"
    text = outputs[0]["text/html"]
    assert ">passed 3 of [0,\u00a05]</td>" in text and ">fig-03_a</td>" in text and "{" not in text


def test_the_score_table_has_every_claim_from_what_the_pages_left(workspace, outputs):
    page.against_paper(REFERENCE, HERE, "03_against_paper", runs=RUNS, workspace=workspace)
    scores = page.score_table(workspace).set_index("claim")
    assert len(scores) == len(claims.CLAIMS) and list(scores.index) == [f"{c.page[:2]} {c.id}" for c in claims.CLAIMS]
    row = scores.loc["03 gapnet-location"]
    assert row["page"] == "03_gapnet_vs_permutenet"
    assert (row["verdict"], row["outcome"]) == (paper.REPRODUCED, paper.RULED_OUT)
    assert row["figure"] == f"{{numref}}`Fig. %s <fig-{GAPNET.figure}>`"
    assert (row["reference"], row["run"]) == ("100.0 %", "CIFAR-10, 2 seeds")
    assert (row["this run"], row["verdict here"]) == ("4 channels", paper.NOT_TESTABLE)
    assert row["run here"] == "digits, 1 seed"
    assert (row["control"], row["evidence"]) == (GAPNET.control, "circular: 11.1 %")
    assert row["paper"].startswith("ICCV 2021, Table 1: 100 %")
    not_run = scores.drop(index=["03 gapnet-location", "01 padding-artifacts"])
    assert set(not_run["verdict"]) == {"not run"} and set(not_run["outcome"]) == set(not_run["figure"]) == {"–"}


def test_the_score_table_passes_over_what_an_earlier_version_of_the_book_left(workspace, outputs):
    workspace.figures.mkdir(parents=True)
    old = pd.DataFrame({"claim": ["gapnet-location"], "this run": ["100.0 %"], "verdict": ["not reproduced"]})
    old.to_csv(workspace.figures / "03_against_paper.csv")
    assert set(page.score_table(workspace)["verdict"]) == {"not run"}


def test_every_verdict_and_every_outcome_has_a_badge_and_what_has_not_run_has_none():
    assert [page.badge(word) for word in ("not run", "–")] == ["not run", "–"]
    for word in (*paper.VERDICTS, *paper.OUTCOMES):
        assert page.badge(word).startswith(f"[{word}]{{.verdict .")


def test_provenance_names_profile_data_and_versions(workspace):
    splits = registry.load("digits", "", validation=0.0)
    line = page.provenance(workspace, splits)
    assert line.startswith(f"profile smoke · digits (1297 train + 500 test images, fingerprint {splits.fingerprint})")
    other = splits._replace(test=replace(splits.test, labels=splits.test.labels.flip(0)))
    assert page.provenance(workspace, other) != line


class Parsed(HTMLParser):
    """The tags of a piece of HTML, each with its attributes and the text that follows it."""
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), ""))

    def handle_data(self, data):
        tag, attributes, text = self.tags[-1]
        self.tags[-1] = tag, attributes, text + data

    def all(self, name: str) -> list[dict]:
        return [{**attributes, "text": text} for tag, attributes, text in self.tags if tag == name]


CARD = """# ---
# %% [markdown]
# # 03 · Heads: what is <left>?
#
# > **In short**
# >
# > A question about [GAP](../book/glossary.md#gap)?
# >
# > **Yes, in the order of
# > the [channels](../book/glossary.md#channel).** More words.
# >
# > ![Dots & lines](../figures/paper/03_accuracy.png)
# >
# > *Run it:* `./run_all.sh --only 03`, three minutes.

# %%
1
"""


def test_a_card_has_the_pages_title_answer_figure_and_minutes(tmp_path, outputs):
    (tmp_path / "03_heads.py").write_text(CARD)
    (tmp_path / "04_bare.py").write_text("# %% [markdown]\n# # 04 · Bare: is it?\n\n# %%\n1\n")
    page.cards(sorted(tmp_path.glob("*.py")), {"03_heads"})
    markdown, shown = outputs[0]["text/markdown"], outputs[0]["text/html"]
    first, second = markdown.split(":::{grid-item-card} ")[1:]
    assert first.splitlines()[0] == "03 · Heads: what is <left>?"
    assert ":link: 03_heads\n:link-type: doc\n" in first and "link" not in second
    assert ":img-top: reference/03_accuracy.png\n:img-alt: Dots & lines\n" in first and "img" not in second
    assert "\nYes, in the order of the channels.\n\n*three minutes*\n" in first
    assert "what is &lt;left&gt;?" in shown and "<left>" not in shown and "Yes, in the order of the channels." in shown


Estimate = namedtuple("Estimate", "mean low high")


@pytest.mark.parametrize("values, text", [
    ((70.36, 54.4, 86.33), "70.4 [54.4, 86.3]"), ((-1.25, -2.0, 0.5), "\u22121.2 [\u22122.0, 0.5]"),
    ((32.0, np.nan, np.nan), "32.0"), ((np.nan, np.nan, np.nan), None)])
def test_a_number_with_its_interval_is_one_cell_of_a_table(values, text):
    assert with_interval(Estimate(*values)) == text
