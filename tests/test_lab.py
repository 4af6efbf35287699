"""The pages as JupyterLab shows them: no markup of the book is left to read."""
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import jupytext
import nbformat
import pytest
from conftest import ROOT
from test_book import browser, missing

__all__ = ["browser"]   # a fixture
PAGES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
MARKUP = re.compile(r":::|\{[a-z:]+\}`|^\([a-z-]+\)=$", re.MULTILINE)


def test_the_pattern_finds_what_the_book_alone_understands():
    for text in (":::{admonition} A", "see {term}`GAP`", "{cite:t}`a`", "a\n(rules)=\n# B"):
        assert MARKUP.search(text)
    assert not MARKUP.search("`{key: value}`, $\\{1\\}$ and f(x)=2")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_markdown_cells_are_portable(page):
    for cell in jupytext.read(page).cells:
        assert cell.cell_type != "markdown" or not MARKUP.search(cell.source), cell.source


@pytest.mark.slow
def test_outputs_are_portable(smoke_book):
    for page in sorted((smoke_book[0] / "build" / "notebooks").glob("[0-9]*.ipynb")):
        for cell in nbformat.read(page, as_version=4).cells:
            for output in cell.get("outputs", []):
                shown = output.get("data", {}).get("text/html", "") or output.get("text", "")
                assert not MARKUP.search("".join(shown)), f"{page.stem}: {MARKUP.search(''.join(shown))}"


@pytest.fixture(scope="module")
def lab(smoke_book, tmp_path_factory):
    """Address of a JupyterLab with the executed pages, which renders every cell at once."""
    home = tmp_path_factory.mktemp("lab")
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    for page in (smoke_book[0] / "build" / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        if ".partial" not in page.name:
            shutil.copy(page, home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ip=127.0.0.1", "--allow-root",
         f"--ServerApp.root_dir={home}", "--IdentityProvider.token=", f"--LabApp.user_settings_dir={home / 'settings'}",
         f"--LabApp.workspaces_dir={home / 'workspaces'}"],
        cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urlopen(f"http://127.0.0.1:{port}/api").close()
                break
            except OSError:
                if server.poll() is not None:
                    missing("JupyterLab did not start")
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["00_index", "03_gapnet_vs_permutenet"])
def test_jupyterlab_shows_no_markup(lab, browser, name):
    context = browser.new_context(viewport=dict(width=1400, height=900))
    try:
        page = context.new_page()
        page.goto(f"{lab}/doc/tree/{name}.ipynb?reset", timeout=60_000)
        page.wait_for_function("document.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown h2').length > 2",
                               timeout=60_000)
        cells = page.locator(".jp-Notebook").inner_text()
        assert "In short" in cells or name == "00_index"
        assert len(cells) > 2_000 and not MARKUP.search(cells)
        boxes = page.locator(".jp-RenderedMarkdown blockquote").count()
        folded = page.locator(".jp-RenderedMarkdown details").count()
        assert name == "00_index" or (boxes > 3 and folded >= 3)
    finally:
        context.close()
