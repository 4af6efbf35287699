"""Portable Markdown and the MyST that the book's build makes of it."""
import json
from types import SimpleNamespace

import markup
import pytest

BOX = """# A title

> **Make a guess**
>
> How many?
>
> <details><summary>Solution</summary>
>
> Nine.
>
> </details>

After it.

<details><summary>All of them</summary>

* one
</details>
"""
ADMONITIONS = """# A title

::::{admonition} Make a guess
:class: guess


How many?

:::{admonition} Solution
:class: dropdown


Nine.

:::
::::

After it.

:::{admonition} All of them
:class: dropdown


* one
:::"""


def test_boxes_and_what_opens_on_a_click_become_admonitions():
    assert markup.to_myst(BOX).rstrip("\n") == ADMONITIONS


def test_a_box_whose_end_shares_its_line_is_refused():
    with pytest.raises(ValueError, match="needs a line of its own"):
        markup.to_myst(BOX.replace("> </details>", "> </details> **Exercise 3**"))


def test_a_quotation_without_a_bold_title_stays_one():
    text = "> As he said:\n> **bold** words\n\nafter"
    assert markup.to_myst(text).rstrip("\n") == text


def test_two_boxes_in_a_row_and_one_at_the_end():
    text = "> **In short**\n>\n> a\n\n> **Exercise 1, by pencil**\n>\n> b"
    myst = markup.to_myst(text)
    assert myst.count("::::{admonition}") == 2 and myst.rstrip("\n").endswith("b\n::::")
    assert ":class: short" in myst and ":class: exercise" in myst


@pytest.mark.parametrize("title, kind", [
    ("In short", "short"), ("The puzzle", "puzzle"), ("Another guess", "guess"),
    ("Predictions, written before the first run", "guess"), ("Exercise 2, in code", "exercise"),
    ("Is it the order of the channels?", "control")])
def test_the_title_says_what_kind_of_box_it_is(title, kind):
    assert markup.kind(title) == kind


@pytest.mark.parametrize("portable, myst", [
    ("[pooled latents](../book/glossary.md#pooled-latent)", "{term}`pooled latents <pooled latent>`"),
    ("[GAP](../book/glossary.md#gap)", "{term}`GAP <GAP>`"),
    ("[Islam et al. (2021)](../book/bibliography.md#islam2021global) say", "{cite:t}`islam2021global` say"),
    ("so ([A, 2020](../book/bibliography.md#a2020); [B, 2021](../book/bibliography.md#b2021))",
     "so {cite:p}`a2020,b2021`"),
    ("([figure 03_x](#fig-03_x), [table 03_y](#tab-03_y))", "({numref}`fig-03_x`, {numref}`tab-03_y`)"),
    ("[functions](../book/api_probe.md)", "[functions](api_probe.md)"),
    ("![alt](../figures/paper/03_x.png)", "![alt](reference/03_x.png)"),
    ("[the appendix](99_rules.ipynb) and [here](#a-heading)", "[the appendix](99_rules.ipynb) and [here](#a-heading)"),
])
def test_links_become_roles(portable, myst):
    assert markup.to_myst(portable).rstrip("\n") == myst


def test_a_term_that_the_glossary_lacks_is_an_error():
    with pytest.raises(KeyError, match="no-such-term"):
        markup.to_myst("[x](../book/glossary.md#no-such-term)")


def test_a_page_is_translated_and_its_titled_cells_are_folded(tmp_path):
    for name in ("00_index", "03_heads", "99_rules"):
        (tmp_path / f"{name}.ipynb").touch()
    app = SimpleNamespace(srcdir=tmp_path, config=SimpleNamespace(root_doc="00_index"))
    cells = [{"cell_type": "markdown", "source": ["# Start\n", "> **In short**\n", "> a"], "metadata": {}},
             {"cell_type": "code", "source": "1", "metadata": {"title": "Train", "tags": ["x"]}},
             {"cell_type": "code", "source": "2", "metadata": {}}]
    source = [json.dumps({"cells": cells})]
    markup.translate(app, "00_index", source)
    start, titled, plain = json.loads(source[0])["cells"]
    assert "::::{admonition} In short" in start["source"]
    assert ":caption: How it is written\n03_heads\n" in start["source"] and "Where it comes from" not in start["source"]
    assert ":caption: The library\nthree_questions\napi_probe\n" in start["source"]
    assert ":caption: Reference\n99_rules\nglossary\nbibliography\nlicences\n" in start["source"]
    assert titled["metadata"]["mystnb"]["code_prompt_show"] == "Train"
    assert titled["metadata"]["tags"] == ["x", "hide-input"] and not plain["metadata"]
    source = ["# Glossary, {term}`kept`"]
    markup.translate(app, "glossary", source)
    assert source == ["# Glossary, {term}`kept`"]
