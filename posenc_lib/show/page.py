"""What a page puts out: provenance, claim boxes, figures and tables with their downloads, verdicts.

Each output is made twice in one: HTML for JupyterLab, MyST (with number, caption, alt text and downloads) for the book.
`show` and `table` save what they put out: figures/<profile>/NAME.svg and .png, NAME.csv and .md.
"""
import base64
import csv
import html
import io
import json
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from posenc_lib import claims as paper
from posenc_lib.claims import claim
from posenc_lib.claims.claim import Claim
from posenc_lib.data.imageset import Splits
from posenc_lib.run.config import PROJECT, Workspace
from posenc_lib.show.tables import markdown_table

# Verdict or a control's outcome: class in the book's style sheet.
BADGES = {claim.REPRODUCED: "reproduced", claim.IN_DIRECTION: "in-direction", claim.NOT_REPRODUCED: "not-reproduced",
          claim.NOT_TESTABLE: "not-testable-here", claim.PASSED: "reproduced", claim.NOT_PASSED: "not-reproduced",
          claim.NOT_TRIED: "not-testable-here"}
NOT_RUN = "not run"
BLANK = base64.b64encode(   # the picture of a figure that has not been made
    b'<svg xmlns="http://www.w3.org/2000/svg" width="480" height="60"><rect x="1" y="1" width="478" height="58" '
    b'fill="none" stroke="#767676" stroke-dasharray="6 4"/></svg>').decode()
ROLE = re.compile(r"\[([^]]*)\]\{[^}]*\}|\{\w+\}`([^`]*)`")   # MyST for the book alone: [word]{.class}, {role}`word`


def provenance(workspace: Workspace, splits: Splits) -> str:
    """One line: profile, data with sizes and fingerprint, device, versions."""
    shown = " (what is on file in records/paper; nothing is trained without a GPU)" if workspace.on_file else ""
    sizes = " + ".join(f"{len(part)} {part.split}" for part in splits if len(part))
    return (f"profile {workspace.profile}{shown} · {splits.train.name} ({sizes} images, fingerprint "
            f"{splits.fingerprint}) · {workspace.device} · torch {version('torch')} · "
            f"Python {platform.python_version()}")


def claim_box(*claims: Claim) -> None:
    """What the paper claims and how it will be judged, as it stands in `paper`."""
    parts = [{"Source": f"{c.source}{c.printed and ': '}{c.printed}.", "Rule": c.rule,
              "Control": f"{c.control}. {c.control_rule}"}
             for c in claims]
    markdown = "\n".join(
        f":::{{admonition}} Claim `{c.id}`\n:class: claim\n{c.statement}\n\n"
        + "\n\n".join(f"**{name}:** {text}" for name, text in part.items()) + "\n:::\n"
        for c, part in zip(claims, parts, strict=True))
    as_html = "".join(
        f"<p><b>Claim <code>{c.id}</code>.</b> {html.escape(c.statement)}</p><ul>"
        + "".join(f"<li><b>{name}:</b> {html.escape(text)}</li>" for name, text in part.items()) + "</ul>"
        for c, part in zip(claims, parts, strict=True))
    _put_out(markdown, as_html, "\n".join(c.statement for c in claims))


def show(fig: Figure, name: str, caption: str, alt: str, *, workspace: Workspace,
         data: pd.DataFrame | None = None) -> None:
    """Save a figure and put it out, numbered in the book; {numref}`fig-NAME` refers to it.

    caption  MyST text; says n and what the interval is
    alt      what a reader who cannot see it should know
    data     the numbers drawn, saved beside it as NAME.csv
    """
    folder = _folder(workspace)
    fig.savefig(folder / f"{name}.svg", metadata={"Date": None})
    fig.savefig(folder / f"{name}.png")
    plt.close(fig)
    if data is not None:
        data.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    kinds = ("svg", "png") if data is None else ("svg", "png", "csv")
    png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    quoted = json.dumps(_line(alt), ensure_ascii=False)
    markdown = (f"```{{figure}} figures/{name}.svg\n:name: fig-{name}\n:alt: {quoted}\n\n"
                f"{_line(caption)}\n\n{_downloads(name, *kinds)}\n```\n")
    as_html = (f'<figure><img alt="{html.escape(alt)}" src="data:image/png;base64,{png}" style="max-width:100%">'
               f"<figcaption>{html.escape(_line(caption))}</figcaption></figure>")
    _put_out(markdown, as_html, f"{caption}\n({alt})")


def not_run(labels: Sequence[str], sentence: str, reason: str = "") -> None:
    """Placeholders for the figures and tables of a cell whose runs are not on file; references to them hold.

    labels    fig-NAME or tab-NAME
    sentence  MyST text: each one's caption, or all there is where nothing has a label
    reason    why, if the cell says more than that
    """
    text = f"Not run yet{reason and ': '}{reason or '.'}"
    for label in labels:   # between tildes, as the sentence may have backticks
        if label.startswith("fig-"):
            markdown = (f"~~~{{figure}} data:image/svg+xml;base64,{BLANK}\n:name: {label}\n:alt: Not run yet\n\n"
                        f"{_line(sentence)}\n~~~\n")
        else:
            markdown = f"~~~{{csv-table}} {_line(sentence)}\n:name: {label}\n\nnot run yet\n~~~\n"
        _put_out(markdown, f"<p>{html.escape(_line(sentence))}</p>", sentence)
    if reason or not labels:
        _put_out(f"*{text}*\n", f"<p><i>{html.escape(text)}</i></p>", text)


def explorer(frames: dict[str, np.ndarray], caption: str) -> None:
    """Pictures to go through with a slider, in JupyterLab and in the book, where nothing is computed: all are there.

    frames  what a picture shows -> its pixels (row, col, rgb), 0..1, drawn without blur
    """
    shown = []
    for label, pixels in frames.items():
        file = io.BytesIO()
        plt.imsave(file, np.asarray(pixels), format="png")
        data = base64.b64encode(file.getvalue()).decode()
        shown.append(f'<img alt="{html.escape(label)}" src="data:image/png;base64,{data}" '
                     f'style="width:100%;image-rendering:pixelated"{" hidden" if shown else ""}>')
    first, said = html.escape(next(iter(frames))), html.escape(_line(caption))
    change = ("const f=this.closest('figure'),all=[...f.querySelectorAll('img')],now=all[this.value];"
              "all.forEach(m=>m.hidden=m!==now);f.querySelector('output').value=now.alt;"
              "this.setAttribute('aria-valuetext',now.alt)")
    slider = (f'<input type="range" min="0" max="{len(shown) - 1}" value="0" step="1" style="width:60%" '
              f'aria-label="{said}" aria-valuetext="{first}" oninput="{html.escape(change)}">')
    display(HTML(f'<figure class="explorer">{"".join(shown)}<p>{slider} <output>{first}</output></p>'
                 f"<figcaption>{said}</figcaption></figure>"))


def table(frame: pd.DataFrame, name: str, caption: str, *, workspace: Workspace, digits: int = 1,
          widths: Sequence[int] = ()) -> None:
    """Save a table and put it out, numbered in the book; {numref}`tab-NAME` refers to it.

    Numbers are shown with `digits` decimals, missing ones as a dash; the csv keeps them whole.
    widths  shares of the columns; the table then takes the book's margin, too
    """
    folder = _folder(workspace)
    frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    shown = frame.map(lambda value: _cell(value, digits))
    bare = shown.map(lambda cell: ROLE.sub(r"\1\2", cell))
    (folder / f"{name}.md").write_text(markdown_table(bare))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([shown.columns, *shown.to_numpy()])
    layout = f":widths: {' '.join(map(str, widths))}\n:class: full-width\n" if widths else ""
    markdown = (f"```{{csv-table}} {_line(caption)}\n:name: tab-{name}\n:header-rows: 1\n{layout}\n{text.getvalue()}"
                f"```\n\n{_downloads(name, 'csv', 'md')}\n")
    _put_out(markdown, f"<p>{html.escape(_line(caption))}</p>{bare.to_html(index=False)}", text.getvalue())


def against_paper(verdicts: dict[Claim, tuple[str, str]], controls: dict[Claim, tuple[str, str]], name: str, run: str,
                  *, workspace: Workspace) -> None:
    """Claim, paper, reference run, this run, verdict, control: one row a claim.  The start page collects these tables.

    verdicts  claim -> what its `judge` said: (verdict, the numbers it rests on)
    controls  claim -> what its `tried` said: (outcome, the numbers it rests on)
    name      NN_against_paper, NN the page's number
    run       what this run was: data, schedule, n
    """
    earlier = _reference(name)
    earlier = {} if earlier is None else earlier.set_index("claim")["this run"].to_dict()
    frame = pd.DataFrame([{"claim": c.id, "paper": c.printed or "no number printed",
                           "reference run": earlier.get(c.id, "none yet"), "this run": evidence, "verdict": verdict,
                           "control": controls[c][0], "tried": controls[c][1], "run": run}
                          for c, (verdict, evidence) in verdicts.items()])
    shown = frame.drop(columns=["tried", "run"]).assign(
        verdict=frame["verdict"].map(badge), control=frame["control"].map(badge) + " " + frame["tried"])
    table(shown, name, f"Against the paper. This run: {run}.", workspace=workspace, widths=(13, 16, 11, 24, 16, 20))
    frame.to_csv(_folder(workspace) / f"{name}.csv", index=False)   # the verdicts bare, and the run


def score_table(workspace: Workspace) -> pd.DataFrame:
    """A row for every claim of `paper.CLAIMS`, from the tables that `against_paper` left.

    "bare" is the plain verdict, "outcome" that of the control, "numbers" what that rests on, "run" what was run.  A
    claim whose page has not run in this profile has the verdict "not run", as has one whose page failed just now
    ($POSENC_FAILED) or lacks the runs for it ($POSENC_NOT_RUN), whatever an earlier run left.
    """
    failed, lacking = (os.environ.get(name, "").split(",") for name in ("POSENC_FAILED", "POSENC_NOT_RUN"))
    files = sorted(workspace.figures.glob("[0-9][0-9]_against_paper.csv"))
    found = pd.concat([pd.read_csv(f) for f in files]).set_index("claim") if files else pd.DataFrame()
    rows = []
    for c in paper.CLAIMS:
        told = {"claim": f"{c.page[:2]} {c.id}", "page": c.page, "paper": f"{c.source}{c.printed and ': '}{c.printed}",
                "what was tried": c.control}
        if c.id not in found.index or c.page in failed + lacking:
            this = "the page failed" if c.page in failed else "–"
            rows.append({**told, "figure": "–", "reference run": "none yet", "this run": this, "verdict": NOT_RUN,
                         "control": "–", "numbers": "–", "run": "–", "bare": NOT_RUN, "outcome": "–"})
            continue
        row = found.loc[c.id]
        rows.append({**told, "figure": f"{{numref}}`Fig. %s <fig-{c.figure}>`", "reference run": row["reference run"],
                     "this run": row["this run"], "verdict": badge(row["verdict"]), "control": badge(row["control"]),
                     "numbers": row["tried"], "run": row["run"], "bare": row["verdict"], "outcome": row["control"]})
    return pd.DataFrame(rows)


def badge(verdict: str) -> str:
    return verdict if verdict == NOT_RUN else f"[{verdict}]{{.verdict .{BADGES[verdict]}}}"


def reference(name: str, keys: list[str], rows: pd.DataFrame) -> pd.Series:
    """The "mean" that the committed reference run, figures/paper/NAME.csv, has for each row; nan where it has none."""
    earlier = _reference(name)
    if earlier is None:
        return pd.Series(np.nan, rows.index)
    return rows[keys].merge(earlier, how="left", on=keys)["mean"].set_axis(rows.index)


def _reference(name: str) -> pd.DataFrame | None:
    file = PROJECT / "figures" / "paper" / f"{name}.csv"
    return pd.read_csv(file) if file.is_file() else None


def _put_out(markdown: str, as_html: str, plain: str) -> None:
    display({"text/markdown": markdown, "text/html": as_html, "text/plain": plain}, raw=True)


def _downloads(name: str, *kinds: str) -> str:
    return "{.downloads}\nDownload: " + " · ".join(f"{{download}}`{kind} <figures/{name}.{kind}>`" for kind in kinds)


def _folder(workspace: Workspace) -> Path:
    workspace.figures.mkdir(parents=True, exist_ok=True)
    return workspace.figures


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(value, digits: int) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value).replace(" %", "\u00a0%")
