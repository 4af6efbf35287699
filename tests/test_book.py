"""The built book, as a reader meets it: in a real browser, from file://, with no network.

Every check is a function that returns a list of problems. `test_book` expects none: on any page, in light mode and on a
phone; on pages of every kind also by axe-core, in light and in dark mode. `test_check_finds` plants faults in a page
of the same book and expects each to be reported.
"""
import os
import re
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from posenc_lib import __version__

pytestmark = pytest.mark.slow

VIEWS = {  # name: options of the browser context
    "light": dict(color_scheme="light", viewport=dict(width=1280, height=900)),
    "dark": dict(color_scheme="dark", viewport=dict(width=1280, height=900)),
    "phone": dict(color_scheme="light", viewport=dict(width=390, height=844)),
}
PLAIN = {"01", "03", "04", "05", "07", "08"}   # numbers of pages that have nothing which the others do not have
EXTERNAL = re.compile(r"^(?!file:|data:|blob:|about:)")


def missing(what):
    """Skip, with a reason, on a machine without a browser, but fail in CI."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"the book was not tested: {what}")


@pytest.fixture(scope="module")   # not per session: Playwright keeps an event loop running
def browser():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if chromium is None:
        missing("no chromium on PATH (Debian: apt-get install chromium)")
    if not (find_spec("playwright") and find_spec("axe_playwright_python")):
        missing("playwright and axe-playwright-python are not installed (the `test` extra)")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


class Visit:
    """One page, loaded and typeset in light mode, with the errors and the external requests on the way."""

    def __init__(self, browser, path, query=""):
        self.view, self.context = "light", browser.new_context(**VIEWS["light"])
        self.context.set_default_timeout(20_000)
        self.errors, self.external = [], []
        self.context.route(EXTERNAL, lambda route: (self.external.append(route.request.url), route.abort()))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"{request.url}: {request.failure}"))
        self.page.goto(path.as_uri() + query)
        self.run("window.MathJax?.startup?.promise.then(() => null)")
        self.page.add_style_tag(content="*, ::before, ::after {transition: none !important}")   # colours change at once

    def look(self, view):
        """Show the page in another view."""
        self.view = view
        self.page.emulate_media(color_scheme=VIEWS[view]["color_scheme"])
        self.page.set_viewport_size(VIEWS[view]["viewport"])

    def run(self, script):
        return self.page.evaluate(script)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


# Checks: Visit -> problems

def console_errors(visit):
    return visit.errors


def external_requests(visit):
    return visit.external


def images(visit):
    """Every image loads and has alt text other than the file name, which docutils fills in where there is none."""
    return visit.run("""async () => {
        const images = [...document.images];
        images.forEach(image => image.loading = "eager");
        await Promise.all(images.map(image => image.decode().catch(() => null)));
        const described = image => image.alt.trim() && !/[.](svg|png|jpg)$/.test(image.alt);
        return [...images.filter(image => !image.naturalWidth).map(image => `not loaded: ${image.outerHTML}`),
                ...images.filter(image => !described(image)).map(image => `no alt text: ${image.outerHTML}`)];
    }""")


def maths(visit):
    """No macro is unknown, and no formula is left as TeX."""
    return visit.run(r"""() => [
        ...[...document.querySelectorAll('mjx-merror, [data-mml-node="merror"]')].map(e => `merror: ${e.textContent}`),
        ...[...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"))
            .map(e => `not typeset: ${e.textContent}`)]""")


@cache
def anchors(path):
    return set(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


def links(visit):
    """Every link within the book leads to a file, and to an anchor in it."""
    dead = []
    for href in set(visit.run("[...document.querySelectorAll('a[href]')].map(a => a.href)")):
        parts = urlsplit(href)
        path, anchor = Path(unquote(parts.path)), unquote(parts.fragment)
        if parts.scheme == "file" and not (path.is_file() and (not anchor or anchor in anchors(path))):
            dead.append(f"dead link: {'/'.join(path.parts[-2:])}#{anchor}")
    return dead


def raw_markup(visit):
    """No Markdown, directive, role or dollar sign is left as text."""
    return visit.run(r"""() => {
        const text = document.querySelector("article") ?? document.createElement("p");   // the search has none
        const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT), found = [];
        while (walker.nextNode()) {
            const raw = walker.currentNode.data.match(/\*\*|:::|\]\(|\{\w+\}`|\$|<\/?(details|summary)/);
            if (raw && !walker.currentNode.parentElement.closest("pre, code, script, style, mjx-container, .math"))
                found.push(`left as text: ${walker.currentNode.data.trim().slice(0, 80)}`);
        }
        return found;
    }""")


def overflow(visit):
    """Nothing is wider than the screen, except in a scrolling container."""
    return visit.run("""() => document.documentElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .slice(0, 3).map(e => `${Math.round(e.getBoundingClientRect().right)} px: ${e.outerHTML.slice(0, 120)}`)
            .concat([`the page is ${document.documentElement.scrollWidth} px wide`])""")


def overprint(visit):
    """No text in a table reaches into the next cell."""
    return visit.run("""() => [...document.querySelectorAll("table.table :is(td, th)")].flatMap(cell => {
        const range = document.createRange(), right = cell.getBoundingClientRect().right;
        range.selectNodeContents(cell);
        const over = Math.max(0, ...[...range.getClientRects()].map(text => text.right - right));
        return over > 2 ? [`${Math.round(over)} px over its cell: ${cell.textContent.trim().slice(0, 60)}`] : [];
    })""")


def cut_code(visit):
    """On a screen of 1,400 pixels, no open code box is cut at the right."""
    visit.page.set_viewport_size(dict(width=1400, height=900))
    cut = visit.run("""() => [...document.querySelectorAll(":is(.cell_input, .doctest, .highlight-pycon) pre")]
        .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)
        .map(e => `${e.scrollWidth - e.clientWidth} px of code hidden: ${e.textContent.slice(0, 80)}`)""")
    visit.look(visit.view)
    return cut


def late_figure(visit):
    """A page shows its first figure within 1,500 pixels; the start page ends within 5,000."""
    if not re.match(r"\d\d_", Path(urlsplit(visit.page.url).path).name) and "planted" not in visit.page.url:
        return []
    visit.page.set_viewport_size(dict(width=1400, height=900))
    top = visit.run("""() => Math.min(1e6, ...[...document.querySelectorAll("article img")].filter(e => e.clientWidth)
        .map(e => e.getBoundingClientRect().top + scrollY))""")
    height = visit.run("() => document.querySelector('article').getBoundingClientRect().height")
    start = "00_index" in visit.page.url or "planted" in visit.page.url
    visit.look(visit.view)
    return ([f"the first figure is at {top:.0f} px"] * (top > 1500)
            + [f"the page is {height:.0f} px high"] * (start and height > 5000))


def accessibility(visit):
    """No violation of an axe-core rule is serious or critical; in dark mode only contrasts are looked at once more.

    Of highlighted code, one token per style is checked.
    """
    visit.run("""() => {
        const seen = new Set();
        document.querySelectorAll(".highlight span").forEach(word => {
            const look = `${word.className} in ${word.closest("div[class*=cell_], .admonition")?.className}`;
            seen.has(look) ? word.replaceWith(word.textContent) : seen.add(look);
        });
    }""")
    visit.page.add_script_tag(path=Path(find_spec("axe_playwright_python").origin).with_name("axe.min.js"))
    only = ", runOnly: ['color-contrast']" if visit.view == "dark" else ""
    options = f"{{preload: false, resultTypes: ['violations']{only}}}"   # preload asks for style sheets, in vain here
    results = visit.run(f"async () => (await axe.run(document, {options})).violations")
    return [f"{rule['id']} ({rule['impact']}): {node['html'][:160]}"
            for rule in results if rule["impact"] in ("serious", "critical") for node in rule["nodes"]]


CHECKS = {  # check: the views it applies to
    console_errors: VIEWS, external_requests: VIEWS, images: VIEWS, maths: ("light",), links: ("light",),
    raw_markup: ("light",),
    overflow: ("phone",), overprint: ("light", "phone"), cut_code: ("light",), late_figure: ("light",),
    accessibility: ("light", "dark"),
}
FAULTS = [  # check, a fault that it has to report, words of its report
    (console_errors, "<script>throw new Error('planted')</script>", "planted"),
    (console_errors, "<script src='_static/no_such.js'></script>", "no_such.js"),
    (external_requests, "<link rel=stylesheet href='https://example.org/font.css'>", "example.org"),
    (images, "<img src='_images/no_such.svg' alt='planted'>", "not loaded: "),
    (images, "<img src='_static/logo.svg' alt=' '>", 'alt=" "'),
    (images, "<img src='_static/logo.svg' alt='_static/logo.svg'>", 'alt="_static/logo.svg"'),
    (maths, r"<span class='math notranslate'>\(\nosuchmacro\)</span>", "merror: "),
    (maths, r"<span class='math'>\frac{1}{2}</span>", r"not typeset: \frac{1}{2}"),
    (links, "<a href='glossary.html#term-no-such'>planted</a>", "#term-no-such"),
    (links, "<a href='09_no_such_page.html'>planted</a>", "09_no_such_page"),
    (raw_markup, "<p>planted **bold**</p>", "planted **bold**"),
    (raw_markup, "<p>planted :::{note}</p>", "planted :::{note}"),
    (overflow, "<div style='width: 700px'>planted</div>", "px wide"),
    (overprint, "<table class='table' style='table-layout: fixed; width: 30px'><tr><td>plantedword</td></tr></table>",
     "over its cell: planted"),
    (cut_code, f"<div class='cell'><div class='cell_input'><pre>{'planted ' * 40}</pre></div></div>", "planted"),
    (late_figure, "<style>article img {display: none}</style>", "the first figure is at 1000000 px"),
    (late_figure, "<div style='height: 5000px'></div>", "px high"),
    (accessibility, "<p style='color: #888; background: #999'>planted</p>", "color-contrast"),
    (accessibility, "<button></button>", "button-name"),
]


def checked(visit, view, checks) -> dict:
    """{check: its problems}, of those that apply to this view."""
    visit.look(view)
    return {check: check(visit) for check in checks if view in CHECKS[check]}


@pytest.fixture(scope="module")
def problems(browser, smoke_book):
    """{check: its problems, with page and view}, each page loaded once."""
    problems = {check: [] for check in CHECKS}
    pages = sorted(path for path in smoke_book[1].glob("*.html") if path.name != "index.html")  # only redirects
    assert pages, "the book has no page"
    for path in pages:
        plain = path.name[:2] in PLAIN
        with Visit(browser, path) as visit:
            for view in ("light", "phone") if plain else VIEWS:
                checks = [check for check in CHECKS if not plain or check is not accessibility]
                for check, found in checked(visit, view, checks).items():
                    problems[check] += [f"{path.name}, {view}: {problem}" for problem in found]
    return problems


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_book(problems, check):
    assert not problems[check], "\n".join(problems[check])


@pytest.fixture(scope="module")
def reported(browser, smoke_book, tmp_path_factory):
    """{check: what it reports of a page with all faults, and not of the same page without them}."""
    folder, reported = tmp_path_factory.mktemp("planted"), {check: set() for check in CHECKS}
    for file in smoke_book[1].iterdir():
        (folder / file.name).symlink_to(file)
    page = next(path for path in sorted(folder.glob("[0-9][0-9]_*.html")) if "tex-svg-full.js" in path.read_text())
    planted = folder / "planted.html"
    faults = "".join(fault for _, fault, _ in FAULTS)
    planted.write_text(page.read_text().replace("</article>", faults + "</article>", 1))
    with Visit(browser, page) as sound, Visit(browser, planted) as faulty:
        for view in ("light", "phone"):
            usual = checked(sound, view, CHECKS)
            for check, found in checked(faulty, view, CHECKS).items():
                reported[check] |= set(found) - set(usual[check])
    return reported


@pytest.mark.parametrize("check, fault, words", FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_check_finds(reported, check, fault, words):
    assert any(words in problem for problem in reported[check]), f"{fault}: {reported[check]}"


def test_landing_page_leads_to_the_first(browser, smoke_book):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((smoke_book[1] / "index.html").as_uri(), wait_until="commit")
        page.wait_for_url("**/00_index.html", timeout=20_000)


@pytest.mark.parametrize("query, hits", [("padding", True), ("nosuchwordinthebook", False)])
def test_search(browser, smoke_book, query, hits):
    with Visit(browser, smoke_book[1] / "search.html", query=f"?q={query}") as visit:
        visit.page.wait_for_selector("#search-results .search-summary:has-text('search')")
        visit.page.wait_for_function("!document.querySelector('#search-progress')?.textContent.includes('...')")
        assert (visit.page.locator("#search-results li").count() > 0) == hits
        assert not visit.errors


def test_figures_and_tables_are_numbered_by_page(smoke_book):
    """The second figure of page 03 is Figure 3.2, whichever pages the book has."""
    for path in smoke_book[1].glob("[0-9][0-9]_*.html"):
        for kind in ("Figure", "Table"):
            numbers = re.findall(rf'caption-number">{kind} ([A\d.]+) ', path.read_text(encoding="utf-8"))
            page = "A" if path.name[:2] == "99" else int(path.name[:2])
            assert numbers == [f"{page}.{n}" for n in range(1, len(numbers) + 1)], path.name


def test_downloads_exist(smoke_book):
    """Every numbered figure offers svg and png, every numbered table csv, and every page its notebook."""
    for path in smoke_book[1].glob("[0-9][0-9]_*.html"):
        text = path.read_text(encoding="utf-8")
        notebook = f"_sources/{path.stem}.ipynb"
        assert f'href="{notebook}"' in text and (path.parent / notebook).is_file()
        for kind, suffixes in (("Figure", ("svg", "png")), ("Table", ("csv",))):
            for suffix in suffixes:
                n = len(re.findall(rf'download="" href="_downloads/[0-9a-f]+/[\w.-]+\.{suffix}"', text))
                assert n >= text.count(f'caption-number">{kind} '), f"{path.name}: {n} {suffix} downloads"


def test_every_page_says_which_version_it_is(smoke_book):
    for path in smoke_book[1].glob("[0-9][0-9]_*.html"):
        text = path.read_text(encoding="utf-8")
        assert f"Version {__version__}, " in text and "MIT licence" in text and "<code>smoke</code>" in text, path.name
