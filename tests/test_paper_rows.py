"""Every claim is complete, and every row of the papers' tables belongs to exactly one page."""
import re

import pandas as pd
import pytest

from posenc_lib import claims
from posenc_lib.claims import claim as paper
from posenc_lib.run.config import PROJECT

# The results tables of both papers, and the figures that stand in for one, with their numbers of rows.
ROWS = {"ICLR 2020, Table 1": 3, "ICLR 2020, Table 2a": 6, "ICLR 2020, Table 2b": 6, "ICLR 2020, Table 3": 6,
          "ICLR 2020, Table 4": 5, "ICLR 2020, Table 5": 2, "ICLR 2020, Table 6": 3, "ICLR 2020, Fig. 6": 5,
          "ICCV 2021, Table 1": 6, "ICCV 2021, Table 2": 3, "ICCV 2021, Figs. 4 and 5": 3, "ICCV 2021, Fig. S1": 2,
          "ICCV 2021, Fig. S2": 3, "ICCV 2021, Figs. S3 and S4": 2, "ICCV 2021, Table S1": 9}
SOURCES = {page.stem: page.read_text() for page in (PROJECT / "notebooks").glob("[0-9]*.py")}
claim = pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)


def test_every_table_is_listed_with_its_rows():
    assert {table: len(rows) for table, rows in claims.TABLES.items()} == ROWS
    assert all(len(set(rows)) == len(rows) for rows in claims.TABLES.values())


@pytest.mark.parametrize("table", ROWS)
def test_every_table_belongs_to_exactly_one_page(table):
    assert len(claims.pages_of(table)) == 1


@claim
def test_a_claim_is_complete(claim):
    assert set(claim.tables) <= set(ROWS)
    assert claim.tables or not re.search(r"Tables?|Figs?\.", claim.source)   # as of slides
    assert claim.page in SOURCES and claim.figure[:2] == claim.page[:2]
    assert f'"{claim.figure}"' in SOURCES[claim.page] or f'"{claim.figure}_' in SOURCES[claim.page]


@claim
def test_rules_name_their_outcomes(claim):
    """A rule can come out well and badly; so can a control's."""
    verdicts, outcomes = (
        {phrase.lower() for phrase in re.findall(r"\*([^*]+)\*", rule)} & set(words)
        for rule, words in ((claim.rule, paper.VERDICTS), (claim.control_rule, paper.OUTCOMES)))
    assert {paper.REPRODUCED, paper.INCONCLUSIVE, paper.CONTRADICTED} <= verdicts
    assert {paper.RULED_OUT, paper.RIVAL_HOLDS} <= outcomes


@pytest.mark.slow
def test_the_score_table_of_the_book_has_every_claim_with_a_verdict_and_a_control(smoke_book):
    figures = smoke_book[0] / "figures" / "smoke"
    scores = pd.read_csv(figures / "99_scores.csv")
    assert scores["claim"].tolist() == [f"{c.page[:2]} {c.id}" for c in claims.CLAIMS]
    assert scores["verdict"].str.match(rf"\[({'|'.join(paper.VERDICTS)})\]").all()
    outcomes = pd.read_csv(figures / "99_controls.csv")["outcome"]
    assert outcomes.str.match(rf"\[({'|'.join(paper.OUTCOMES)})\]").all()
    stated = pd.read_csv(figures / "00_claims.csv")
    assert stated["claim"].tolist() == [c.statement for c in claims.CLAIMS]
    for c, figure in zip(claims.CLAIMS, scores["figure"], strict=True):
        assert figure == f"{{numref}}`Fig. %s <fig-{c.figure}>`" and (figures / f"{c.figure}.svg").is_file()
    tables = pd.read_csv(figures / "99_tables.csv")
    assert tables["table"].tolist() == list(claims.TABLES)
    assert tables["page"].str.match(r"\[0\d\]\(0\d_\w+\.ipynb\)").all()
