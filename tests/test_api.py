"""The book's pages on the library: every function has an example, and every example gives what it shows."""
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module

import docstrings
import markup
import nbformat
import pytest
import torch
from conftest import ROOT

BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("api_*.md"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def module(page) -> object:
    return import_module(re.search(r"automodule:: (\S+)", page.read_text())[1])


def documented(page) -> list[str]:
    return re.findall(r"auto(?:function|class):: (\S+)", page.read_text())


def names(page) -> dict:
    """What a reader has after the import at the top of the page."""
    space = {}
    exec(re.search(r"```python\n(.+?)```", page.read_text(), re.DOTALL)[1], space)
    return space


class Near(doctest.OutputChecker):
    """Numbers within a tenth of the expected, or 8: other processors train other heads."""
    def check_output(self, want: str, got: str, flags: int) -> bool:
        numbers = zip(NUMBER.findall(want), NUMBER.findall(got), strict=False)
        same = [" ".join(NUMBER.sub("#", text).split()) for text in (want, got)]
        return same[0] == same[1] and all(abs(float(a) - float(b)) <= (8 if abs(float(a)) > 10 else 0.5)
                                          for a, b in numbers)


def problems(test: doctest.DocTest, checker=None) -> str:
    """What an example gives in place of what it shows."""
    report = []
    doctest.DocTestRunner(checker, verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    return "".join(report)


def test_the_sidebar_has_every_page():
    assert sorted(markup.LIBRARY) == sorted([page.stem for page in PAGES] + ["three_questions"])


def test_the_page_on_probe_has_all_of_its_functions_and_results():
    page = BOOK / "api_probe.md"
    own = [name for name, value in vars(module(page)).items()
           if getattr(value, "__module__", "") == module(page).__name__ and not name.startswith("_")]
    assert sorted(own) == sorted(documented(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_documented_function_has_an_example_that_runs(page):
    torch.manual_seed(0)
    without = []
    for name in documented(page):
        documented_object = getattr(module(page), name)
        text = inspect.getdoc(documented_object)
        test = doctest.DocTestParser().get_doctest(text, names(page), name, str(page), 0)
        if not test.examples and not hasattr(documented_object, "__dataclass_fields__"):
            without.append(name)
        assert not problems(test)
    assert not without, f"no example: {without}"


def test_the_three_questions_are_answered_as_the_page_shows():
    text = (BOOK / "three_questions.md").read_text()
    code = "\n".join(re.findall(r"```pycon\n(.+?)```", text, re.DOTALL))
    assert not problems(doctest.DocTestParser().get_doctest(code, {}, "three_questions", None, 0), Near())


def test_the_pages_on_the_library_are_in_a_book_of_any_pages(tmp_path):
    shutil.copytree(BOOK, tmp_path / "book", ignore=shutil.ignore_patterns("_build", "__pycache__"))
    start = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Start")])
    nbformat.write(start, tmp_path / "book" / "00_index.ipynb")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-b", "html",
                           tmp_path / "book", tmp_path / "html"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        html = (tmp_path / "html" / f"{page.stem}.html").read_text(encoding="utf-8")
        for name in documented(page):
            assert f'id="{module(page).__name__}.{name}"' in html


@pytest.mark.parametrize("want, got, near", [("97.0 b", "96.0  b", True), ("97.0 b", "86.0 b", False),
                                             ("-1.2", "-1.4", True), ("1.0", "2.0", False), ("1 a", "1 b", False),
                                             ("1 2", "1 2 3", False)])
def test_numbers_of_the_tutorial_may_differ_a_little(want, got, near):
    assert Near().check_output(want, got, 0) == near


DOCSTRING = """Decode the cell; see `heads`.

    r_c = |z_c| / 2

layers  "names" of "many layers"
        or None
a, b    numbers
Some text.
ValueError for mean |change| of x_ and k * k cells.  Two
lines.

>>> 1 + 1
2
"""
RST = r"""
Decode the cell; see `heads`.

.. code-block:: text

    r_c = |z_c| / 2


.. container:: names

    :layers: ``"names"`` of "many layers"
        or None
    :a, b: numbers

Some text.

ValueError for mean \|change\| of x\_ and k * k cells.  Two
lines.

>>> 1 + 1
2
"""


def test_a_docstring_becomes_paragraphs_lists_of_names_and_literal_blocks():
    assert "\n".join(docstrings.to_rst(DOCSTRING.splitlines())).strip() == RST.strip()


class Example:
    def __init__(self, channels: int, *, kernel: "int | None" = None):
        pass

    def leak(self, mode: str = "circular") -> "str | None":
        pass


def test_signatures_are_as_written():
    def written(what, obj):
        return docstrings.as_written(None, what, "", obj, None, None, None)
    assert written("class", Example) == ("(channels: int, *, kernel: 'int | None'=None)", None)
    assert written("method", Example.leak) == ("(mode: str='circular')", "'str | None'")
    assert written("class", module(BOOK / "api_probe.md").Layer) == ("", None)
    assert written("module", docstrings) is None
