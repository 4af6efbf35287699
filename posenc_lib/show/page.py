"""The outputs of a page: provenance, claim boxes, figures and tables with their downloads, verdicts.

Each output is displayed in two formats at once: HTML for JupyterLab, and MyST with number, caption, alt text and
downloads for the book.  `show` and `table` also save theirs: figures/<profile>/NAME.svg and .png, NAME.csv and .md.
"""
import base64
import html
import json
import os
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from posenc_lib import claims as all_claims
from posenc_lib.claims import claim
from posenc_lib.claims.claim import NOT_RUN, NOT_TESTABLE, NOT_TRIED, Claim, Judged
from posenc_lib.data.imageset import Splits
from posenc_lib.run.config import Workspace
from posenc_lib.show import style
from posenc_lib.show.tables import html_table, markdown_table

# Verdict or outcome of a control: its class in the book's style sheet.
BADGES = {claim.REPRODUCED: "reproduced", claim.SUBSTITUTE: "substitute", claim.NEAR: "substitute",
          claim.IN_DIRECTION: "in-direction", claim.INCONCLUSIVE: "inconclusive", claim.CONTRADICTED: "contradicted",
          claim.NOT_TESTABLE: "not-testable-here", claim.RULED_OUT: "reproduced", claim.RIVAL_HOLDS: "contradicted",
          claim.UNDECIDED: "inconclusive", claim.NOT_TRIED: "not-testable-here"}
MISSING = "–"
BLANK = base64.b64encode(   # stands in for a figure that has not been run
    b'<svg xmlns="http://www.w3.org/2000/svg" width="480" height="60"><rect x="1" y="1" width="478" height="58" '
    b'fill="none" stroke="#767676" stroke-dasharray="6 4"/></svg>').decode()
INTERVAL = re.compile(r"([\[(][^\]\[() ]+), ([^\]\[() ]+[\])])")
MINUS = re.compile(r"(?<![\w{])-(?=[\d.])")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
# MyST for the book alone: [word]{.class}, {role}`word`, {numref}`Fig. %s <fig-word>`
ROLE = re.compile(r"\[([^]]*)\]\{[^}]*\}|\{\w+\}`(?:[^`<]*<)?([^`>]*)>?`")


def provenance(workspace: Workspace, splits: Splits) -> str:
    """Describe a run in one line: profile, data with sizes and fingerprint, device, versions."""
    note = " (recorded runs in records/paper; nothing is trained without a GPU)" if workspace.on_file else ""
    sizes = " + ".join(f"{len(part)} {part.split}" for part in splits if len(part))
    return (f"profile {workspace.profile}{note} · {splits.train.name} ({sizes} images, fingerprint "
            f"{splits.fingerprint}) · {workspace.device} · torch {version('torch')} · "
            f"Python {platform.python_version()}")


def claim_box(*claims: Claim) -> None:
    """Display the paper's claims and, folded, the rules that judge each claim and its control."""
    parts = [{"Rule": c.rule, "Control": f"{c.control}. {c.control_rule}", "Rules fixed": f"{c.fixed}."}
             for c in claims]
    markdown = "\n".join(
        f"::::{{admonition}} Claim `{c.id}`\n:class: claim\n{c.statement}\n\n*{c.reference}.*\n\n"
        ":::{admonition} How it is judged\n:class: dropdown\n"
        + "\n\n".join(f"**{name}:** {text}" for name, text in part.items()) + "\n:::\n::::\n"
        for c, part in zip(claims, parts, strict=True))
    as_html = "".join(
        f"<p><b>Claim <code>{c.id}</code>.</b> {_as_html(c.statement)} <i>{_as_html(c.reference)}.</i></p>"
        "<details><summary>How it is judged</summary><ul>"
        + "".join(f"<li><b>{name}:</b> {_as_html(text)}</li>" for name, text in part.items()) + "</ul></details>"
        for c, part in zip(claims, parts, strict=True))
    _display(markdown, as_html, "\n".join(c.statement for c in claims))


def show(fig: Figure, name: str, caption: str, alt: str, *, workspace: Workspace,
         data: pd.DataFrame | None = None) -> None:
    """Save a figure and display it, numbered in the book; [figure NAME](#fig-NAME) refers to it.

    caption  MyST text that states n and the kind of interval
    alt      description for readers who cannot see the figure
    data     the plotted numbers, saved as NAME.csv
    """
    folder = _folder(workspace)
    style.save(fig, folder, name, data)
    kinds = ("svg", "png") if data is None else ("svg", "png", "csv")
    png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    quoted = json.dumps(_line(alt), ensure_ascii=False)
    markdown = (f"```{{figure}} figures/{name}.svg\n:name: fig-{name}\n:alt: {quoted}\n\n"
                f"{_line(caption)}\n\n{_downloads(name, *kinds)}\n```\n")
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png}" style="max-width:100%">'
    as_html = (f'<figure id="fig-{name}">{image}'
               f"<figcaption>{_caption('figure', name, caption)}</figcaption></figure>")
    _display(markdown, as_html, f"{caption}\n({alt})")


def not_run(labels: Sequence[str], sentence: str, reason: str = "") -> None:
    """Display placeholders for the figures and tables of a cell without recorded runs, so that references resolve.

    labels    fig-NAME or tab-NAME
    sentence  MyST text, the caption of every placeholder
    reason    why the cell was not run, if known; displayed below, as is a bare "Not run yet." without labels
    """
    text = f"Not run yet: {reason}" if reason else "Not run yet."
    for label in labels:   # fenced with tildes because the sentence may contain backticks
        if label.startswith("fig-"):
            markdown = (f"~~~{{figure}} data:image/svg+xml;base64,{BLANK}\n:name: {label}\n:alt: Not run yet\n\n"
                        f"{_line(sentence)}\n~~~\n")
        else:
            markdown = f"~~~{{csv-table}} {_line(sentence)}\n:name: {label}\n\nnot run yet\n~~~\n"
        _display(markdown, f"<p>{_as_html(_line(sentence))}</p>", sentence)
    if reason or not labels:
        _display(f"*{text}*\n", f"<p><i>{_as_html(text)}</i></p>", text)


def cards(pages: Sequence[Path], built: Collection[str]) -> None:
    """Display pages as cards: title, the answer and figure of the box at its top, and how long it runs.

    pages  sources of pages, NN_name.py
    built  names of the pages that can be linked to
    """
    markdown, rows = ["::::{grid} 1 2 3 4\n:gutter: 2\n:class-container: pages\n"], []
    for source in pages:
        cell = re.search(r"(?ms)^# %% \[markdown\]$(.*?)^# %%", source.read_text(encoding="utf-8"))[1]
        text = LINK.sub(r"\1", re.sub(r"(?m)^# ?>? ?", "", cell))
        title = re.search(r"(?m)^# (.*)$", text)[1]
        answer = re.search(r"(?s)\*\*In short\*\*.*?^\*\*(.*?)\*\*", text, re.MULTILINE)
        image = re.search(r"!\[(.*?)\]\(\.\./figures/paper/(.*?)\)", cell)
        minutes = re.search(r"\*Run it:\* `.*?`, (.*?)\.\n", text)
        answer, minutes = (_line(found[1]) if found else "" for found in (answer, minutes))
        link = f":link: {source.stem}\n:link-type: doc\n" if source.stem in built else ""
        picture = f":img-top: reference/{image[2]}\n:img-alt: {image[1]}\n" if image else ""
        text = "\n\n".join(part for part in (answer, minutes and f"*{minutes}*") if part)
        markdown.append(f":::{{grid-item-card}} {title}\n{link}{picture}\n{text}\n:::\n")
        shown = f'<img alt="{image[1]}" src="../figures/paper/{image[2]}" width="220">' if image else ""
        name = f'<a href="{source.stem}.ipynb"><b>{html.escape(title)}</b></a>'
        rows.append(f'<tr><td>{shown}</td><td style="text-align:left">{name}<br>{html.escape(answer)}<br>'
                    f"<i>{html.escape(minutes)}</i></td></tr>")
    _display("\n".join([*markdown, "::::\n"]), f"<table>{''.join(rows)}</table>", "\n".join(rows))


def table(frame: pd.DataFrame, name: str, caption: str, *, workspace: Workspace, digits: int = 1,
          widths: Sequence[int] = (), hidden: Sequence[str] = (), folded: str = "") -> None:
    """Save a table and display it, numbered in the book; [table NAME](#tab-NAME) refers to it.

    Numbers are displayed with `digits` decimals and missing values as a dash; the csv has six significant digits.
    widths  relative widths of the columns; the table then extends into the book's margin
    hidden  columns that are in the csv alone
    folded  what the table is; it is then hidden behind a line with that text and its number of rows, until unfolded
    """
    folder = _folder(workspace)
    frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    cells = frame.drop(columns=list(hidden)).map(lambda value: _cell(value, digits))
    plain = cells.map(lambda cell: ROLE.sub(r"\1\2", cell))
    (folder / f"{name}.md").write_text(markdown_table(plain), encoding="utf-8")
    layout = f":widths: {' '.join(map(str, widths))}\n:class: full-width\n" if widths else ""
    markdown = (f"```{{table}} {_line(caption)}\n:name: tab-{name}\n{layout}\n{markdown_table(cells)}```\n\n"
                f"{_downloads(name, 'csv', 'md')}\n")
    as_html = f'<p id="tab-{name}">{_caption("table", name, caption)}</p>{html_table(plain)}'
    if folded:
        summary = f"{folded} ({len(frame)} rows)"
        markdown = f":::{{dropdown}} {summary}\n{markdown}:::\n"
        as_html = f"<details><summary>{summary}</summary>{as_html}</details>"
    _display(markdown, as_html, markdown_table(plain))


def against_paper(reference: Mapping[Claim, Judged], here: Mapping[Claim, Judged], name: str, *,
                  runs: Mapping[str, str], workspace: Workspace) -> None:
    """Display the outcome of each claim: paper, reference runs and this run.  The start page collects the tables.

    reference  claim -> the outcome from the committed records (`records.reference`): the verdict of the book
    here       claim -> the outcome from this run; empty if this run is the reference (`Workspace.is_reference`)
    name       NN_against_paper, NN the page's number
    runs       "reference" and "here": what was run on what, data, network, schedule, device and n
    """
    none = Judged(NOT_TESTABLE, MISSING, NOT_TRIED, MISSING)
    rows = [{"claim": c.id, "paper": c.paper_value or "no number printed", "reference": judged.evidence,
             "verdict": judged.verdict, "control": judged.outcome, "control evidence": judged.control_evidence,
             "this run": here.get(c, none).evidence, "verdict here": here.get(c, none).verdict,
             "control here": here.get(c, none).outcome, "run": runs["reference"], "run here": runs.get("here", MISSING)}
            for c, judged in reference.items()]
    frame = pd.DataFrame(rows)
    displayed = pd.DataFrame({
        "claim": [c.statement for c in reference], "paper": frame["paper"],
        "reference runs": frame["verdict"].map(badge) + " " + frame["reference"],
        "control": frame["control"].map(badge) + " " + frame["control evidence"],
        "this run": frame["verdict here"].map(badge) + " " + frame["this run"]})
    caption = f"Against the paper. Reference runs: {runs['reference']}."
    if here:
        caption += f" This run: {runs['here']}."
    else:
        displayed = displayed.drop(columns="this run")
    table(displayed, name, caption, workspace=workspace, widths=(20, 14, 24, 23, 19)[:len(displayed.columns)])
    frame.to_csv(_folder(workspace) / f"{name}.csv", index=False)   # without markup, with the runs


def score_table(workspace: Workspace) -> pd.DataFrame:
    """Collect the tables of `against_paper` into one row for every claim of the book.

    Columns: claim, page, paper, reference, verdict, this run, verdict here, figure, control (what was done), outcome
    (of the control), evidence (for the outcome), fixed (when the rules were), run and run here.  The verdict is
    "not run" for a claim whose page has not run in this profile, and, whatever an earlier run left, for one whose page
    has just failed ($POSENC_FAILED), or is not in this book or lacks the runs for it ($POSENC_NOT_RUN).
    """
    failed, incomplete = (os.environ.get(name, "").split(",") for name in ("POSENC_FAILED", "POSENC_NOT_RUN"))
    copied = ["reference", "verdict", "this run", "verdict here", "run", "run here"]
    tables = map(pd.read_csv, sorted(workspace.figures.glob("[0-9][0-9]_against_paper.csv")))
    tables = [table for table in tables if {*copied} <= {*table.columns}]   # not those of an earlier version
    results = pd.concat(tables).set_index("claim") if tables else pd.DataFrame()
    rows = []
    for c in all_claims.CLAIMS:
        row = {"claim": f"{c.page[:2]} {c.id}", "page": c.page, "paper": c.reference, "control": c.control,
               "fixed": c.fixed}
        if c.id not in results.index or c.page in failed + incomplete:
            row |= dict.fromkeys((*copied, "figure", "outcome", "evidence"), MISSING)
            row |= {"reference": "the page failed" if c.page in failed else MISSING, "verdict": NOT_RUN}
        else:
            result = results.loc[c.id]
            row |= result[copied].to_dict()
            row |= {"figure": f"{{numref}}`Fig. %s <fig-{c.figure}>`", "outcome": result["control"],
                    "evidence": result["control evidence"]}
        rows.append(row)
    return pd.DataFrame(rows)


def badge(verdict: str) -> str:
    """Mark up a verdict or an outcome in its colour; "not run" and a dash have none."""
    return verdict if verdict in (NOT_RUN, MISSING) else f"[{verdict}]{{.verdict .{BADGES[verdict]}}}"


def _display(markdown: str, as_html: str, plain: str) -> None:
    display({"text/markdown": markdown, "text/html": as_html, "text/plain": plain}, raw=True)


def _downloads(name: str, *kinds: str) -> str:
    return "{.downloads}\nDownload: " + " · ".join(f"{{download}}`{kind} <figures/{name}.{kind}>`" for kind in kinds)


def _caption(kind: str, name: str, text: str) -> str:
    """A caption for JupyterLab, which does not number figures and tables: there they go by name."""
    plain = ROLE.sub(r"\1\2", _line(text))
    return f"<b>{kind.capitalize()} {name}.</b> {_as_html(plain)}"


def _as_html(text: str) -> str:
    """Emphasis and code of Markdown as HTML, which JupyterLab shows."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"(?<![\w*])\*(?=\S)([^*]+)\*(?![\w*])", r"<em>\1</em>", text)


def _folder(workspace: Workspace) -> Path:
    workspace.figures.mkdir(parents=True, exist_ok=True)
    return workspace.figures


def _line(text: str) -> str:
    return _numbers(" ".join(text.split()))


def _numbers(text: str) -> str:
    """With true minus signs, and percent signs on the line of their number."""
    return MINUS.sub("−", re.sub(r"(?<=\d) %", "\u00a0%", text))


def _cell(value, digits: int) -> str:
    if pd.isna(value):
        return MISSING
    if isinstance(value, float):
        return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")   # a true minus, and none before 0.0
    return _numbers(INTERVAL.sub("\\1,\u00a0\\2", str(value)))   # an interval does not break between two lines
