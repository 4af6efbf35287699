"""The HTML book.  `run_all.sh` copies this folder beside the executed pages (NN_name.ipynb) and the
profile's `figures/`, and builds there with `sphinx-build -n -W --keep-going -b html`.

Everything it needs travels with it: no page asks any other machine for anything, and all of it reads
from file://.
"""
import gc
import os
import re
import sys
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes

sys.path.insert(0, str(Path(__file__).parent))
import docstrings
import markup

sys.modules["rfc3987_syntax"] = None   # see make.py
gc.disable()   # collecting takes a quarter of the build, a process of seconds

project = "Where is it?"
html_title = project
profile = os.environ.get("POSENC_PROFILE", "quick")
release = os.environ.get("POSENC_VERSION", "")

root_doc = "00_index"        # gets the tables of contents from `markup`
language = "en"
exclude_patterns = ["_build", "figures", "jupyter_execute", "*.partial.ipynb", ".*"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_design", "sphinx_copybutton", "sphinx_togglebutton",
              "sphinxcontrib.bibtex"]

# Pages: executed before, never here.
nb_execution_mode = "off"
nb_merge_streams = True
nb_output_stderr = "remove"
nb_ipywidgets_js = {}        # from a CDN otherwise
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [("html", "text/markdown", 0)]   # figures and tables come as text/html too, for JupyterLab
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_selector = ".cell_input pre, :is(.highlight-bash, .highlight-python, .highlight-pycon, .doctest) pre"
copybutton_exclude = ".linenos, .gp, .go"
togglebutton_hint = "Show"
togglebutton_hint_hide = "Hide"

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"     # sorted by author; its numbers are hidden, as the text cites by author and year
bibtex_reference_style = "author_year"

# The library, from its docstrings.
default_role = "py:obj"            # a name in single backticks, a link if these pages have it
add_module_names = False
maximum_signature_line_length = 70
toc_object_entries_show_parents = "hide"
html_domain_indices = False
nitpick_ignore_regex = [("py:.*", r"(?!posenc_lib\.).*")]   # names of other libraries, of arguments and of shapes

# Maths: one local file, and an unknown macro is an error node (a test counts them), not red text.
mathjax_source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax/tex-svg-full.js"
mathjax_path = mathjax_source.name
mathjax4_config = {"tex": {"packages": {"[-]": ["noundefined"]}}}

numfig = True
numfig_format = {"figure": "Figure %s", "table": "Table %s", "code-block": "Listing %s", "section": "Section %s"}
math_numfig = True

html_theme = "sphinx_book_theme"
html_static_path = ["_static", str(mathjax_source)]
templates_path = ["_templates"]
html_additional_pages = {"index": "landing.html"}   # what a folder's or a server's reader opens first
html_css_files = ["custom.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/favicon.svg"
html_use_index = False
html_show_search_summary = False   # would fetch() the pages, which file:// forbids
html_show_sphinx = False
html_context = {"default_mode": "auto"}
repository = os.environ.get("POSENC_REPOSITORY", "")
on_github = repository.startswith("https://github.com/")
launch = {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab",
          "colab_url": "https://colab.research.google.com" if on_github else ""}   # Binder reads from any git server
html_theme_options = {
    "repository_url": repository,
    "repository_provider": "github" if on_github else "gitlab",   # the theme refuses a server that it does not know
    "repository_branch": "main",
    "path_to_docs": "notebooks",
    "launch_buttons": launch if repository else {},
    "use_repository_button": bool(repository),
    "navbar_persistent": [],       # a second search box and a dead toggle on phones otherwise
    "logo": {"text": html_title, "alt_text": f"{html_title} - start page"},
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "use_download_button": True,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": "<p>Reference runs are on file in the project's records/; everything else here was computed by the "
                    f"run that built this book, profile <code>{profile}</code>.</p>"
                    f"<p>Version {release}, {date.today():%d %B %Y}. MIT licence. Please cite the papers, and this "
                    "book by its CITATION.cff."
                    + (f' Source and issues: <a href="{repository}">{repository}</a>.' if repository else "") + "</p>",
}


def number_by_page(app, env):
    """The second figure of page 03 is Figure 3.2, whichever other pages are in this build."""
    for page, by_kind in env.toc_fignumbers.items():
        if page[:2].isdigit():
            for figures in by_kind.values():
                number = "A" if page[:2] == "99" else int(page[:2])
                figures.update({label: (number, n) for n, label in enumerate(figures, start=1)})
    return []


def given_widths(app, doctree):
    """MyST lays out every table by its content, even one whose widths are given."""
    for table in doctree.findall(nodes.table):
        if "colwidths-given" in table["classes"]:
            table["classes"] = [name for name in table["classes"] if name != "colwidths-auto"]


ARGUMENTS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')


def valid_lists(app, page, template, context, doctree):
    """Sphinx calls the bibliography a list, and its entries something that no list may hold; arguments that stand on
    lines of their own are to it a list of definitions without terms."""
    if "body" in context:
        body = context["body"].replace(' role="list" class="citation-list"', ' class="citation-list"')
        context["body"] = ARGUMENTS.sub(as_spans, body)


def as_spans(arguments: re.Match) -> str:
    lines = arguments[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="arguments">{lines}</span>'


def setup(app):
    app.connect("autodoc-process-docstring", docstrings.translate)
    app.connect("autodoc-process-signature", docstrings.as_written)
    app.connect("source-read", markup.translate)
    app.connect("doctree-read", given_widths)
    app.connect("env-get-updated", number_by_page, priority=900)   # after Sphinx has numbered them
    app.connect("html-page-context", valid_lists)
