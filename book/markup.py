"""Portable Markdown, which reads right in JupyterLab, VS Code and on GitHub, as the MyST that the book is built from.

    > **Make a guess**                a quotation under a bold title: a box, whose kind follows from its title
    >
    <details><summary>Solution</summary>      a box that opens on a click, also inside a quotation
    ...
    </details>

    [pooled latents](../book/glossary.md#pooled-latent)                a term of the glossary
    [Islam et al. (2021)](../book/bibliography.md#islam2021global)     a citation, in the book's own form
    ([Islam et al., 2021](../book/bibliography.md#islam2021global))    the same, in brackets
    [figure 03_accuracy](#fig-03_accuracy), [table ...](#tab-...)      a figure or table, by its number
    [text](../book/api_probe.md)                                       another page of this folder
    ![...](../figures/paper/03_accuracy.png)                           a committed figure

A code cell with a title (`# %% Train and test`) is folded in the book, under its title.
"""
import json
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"in short": "short", "puzzle": "puzzle", "guess": "guess", "prediction": "guess", "exercise": "exercise"}
GROUPS = {"Where it comes from": ("01", "02"), "How it is written": ("03", "04"), "Is it used?": ("05", "06", "07"),
          "Your network": ("08",)}   # the sidebar's, by pages
LIBRARY = ["three_questions", "api_probe", "api_padding", "api_hooks", "api_heads", "api_channels"]
TITLE = re.compile(r"> \*\*(.+)\*\*$")
OPEN = re.compile(r"<details>\s*<summary>(.*?)</summary>$")
TERM = re.compile(r"\[([^]]*)\]\(\.\./book/glossary\.md#([\w-]+)\)")
CITATION = r"\[[^]]*\]\(\.\./book/bibliography\.md#(\w+)\)"
BRACKETED = re.compile(rf"\({CITATION}((?:; {CITATION})*)\)")
LABEL = re.compile(r"\[[^]]*\]\(#((?:fig|tab)-\w+)\)")


def to_myst(text: str) -> str:
    """Translate one Markdown cell.  KeyError for a term that the glossary does not have."""
    text = text.replace("](../figures/paper/", "](reference/")
    text = BRACKETED.sub(lambda m: "{cite:p}`" + ",".join(re.findall(CITATION, m[0])) + "`", text)
    text = re.sub(CITATION, r"{cite:t}`\1`", text)
    text = TERM.sub(lambda m: f"{{term}}`{m[1]} <{terms()[m[2]]}>`", text)
    text = text.replace("](../book/", "](")
    text = LABEL.sub(r"{numref}`\1`", text)
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)   # not at the start of a line
    return "\n".join(_boxes(text.splitlines()))


def kind(title: str) -> str:
    """Class of a box in the book's style sheet."""
    return next((name for word, name in KINDS.items() if word in title.lower()), "control")


@cache
def terms() -> dict[str, str]:
    """The glossary's terms by their anchors."""
    blocks = re.findall(r":::\{glossary\}\n(.*?)\n:::", (HERE / "glossary.md").read_text(encoding="utf-8"), re.DOTALL)
    names = [line for block in blocks for line in block.splitlines() if line and not line[0].isspace()]
    return {re.sub(r"\W+", "-", name.lower()).strip("-"): name for name in names}


def _boxes(lines: list[str]):
    """Yield the lines, quotations under a bold title and what opens on a click as admonitions.

    ValueError for a </details> that shares its line: the box would not end there.
    """
    inside = False
    for line in [*lines, ""]:
        if "</details>" in line and line.removeprefix("> ") != "</details>":
            raise ValueError(f"{line!r}: </details> needs a line of its own")
        if inside and not line.startswith(">"):
            inside = False
            yield "::::"
        if not inside and (title := TITLE.match(line)):
            inside = True
            yield f"::::{{admonition}} {title[1]}\n:class: {kind(title[1])}\n"
            continue
        line = line[2:] if inside else line
        if summary := OPEN.match(line):
            yield f":::{{admonition}} {summary[1]}\n:class: dropdown\n"
        else:
            yield ":::" if line == "</details>" else line


def contents(pages: list[str]) -> str:
    """The book's tables of contents, for its sidebar, of the pages that are in this build."""
    groups = {title: [page for page in pages if page[:2] in numbers] for title, numbers in GROUPS.items()}
    groups["The library"] = LIBRARY
    groups["Reference"] = [*(page for page in pages if page[:2] == "99"), "glossary", "bibliography",
                           "licences"]
    return "\n".join(f":::{{toctree}}\n:hidden:\n:caption: {title}\n{chr(10).join(entries)}\n:::"
                     for title, entries in groups.items() if entries)


def translate(app, name: str, source: list[str]) -> None:
    """Sphinx's event `source-read`: translate the Markdown of a page, an executed notebook."""
    if name[:2].isdigit():
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = to_myst("".join(cell["source"]))
            elif title := cell["metadata"].get("title"):
                cell["metadata"]["mystnb"] = {"code_prompt_show": title, "code_prompt_hide": title}
                cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
        if name == app.config.root_doc:
            pages = sorted(page.stem for page in Path(app.srcdir).glob("[0-9]*.ipynb"))
            first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
            first["source"] += f"\n\n{contents(pages)}\n"
        source[0] = json.dumps(notebook)
