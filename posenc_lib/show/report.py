"""`probing`'s answers about one network as a report to read: figures, tables, report.md and report.html."""
import base64
import platform
from importlib.metadata import version
from math import isnan
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from torch import Tensor, nn

from posenc_lib import probe
from posenc_lib.base.shapes import Images
from posenc_lib.measure import channels
from posenc_lib.nets import hooks
from posenc_lib.nets.custom import Network
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import style

RULES = ("decodability", "flip", "shift", "strength")
SHARES = (0.05, 0.15, 0.5)   # of the layer's channels, removed
DRAWS = 10                   # random sets
TITLE = """# How much position does {name} know?

{kind}, {parameters:,} parameters, {weights}. Asked with {images} pictures ({what}), each placed in all {cells} cells of
a {grid}×{grid} canvas of {size} pixels; a cell has {cell}."""
LOCATION = """## Where is it? Location told from the averaged channels

{said}

{figure}

{table}

Percent: mean and 95 % interval (Student's t) over n = {n} contiguous folds of the pictures, each told by readers that
learned on the others. *In order* reads every channel by its place; *shuffled* has the order drawn anew for every batch;
*answers permuted* asks for what cannot be known, and has to be at chance. *Ceiling*: the most that any reader can tell,
from the number of cells in which one picture gives different latents."""
BORDER = """## What marks the place? Layers that meet the border

{said}

{figure}

{table}

Border energy: mean and 95 % interval (Student's t) over pictures; none for tokens, and for maps without interior.
Slide: how much the averaged channels change when the picture is rolled by a multiple of the stride. Where it is 0, a
layer cannot feel the border, and the place cannot be read from it."""
FIELDS = """## Place fields of `{layer}`

{figure}"""
RANKED = """## Which channels of `{layer}`?

The ten that answer most by each of four rules, on {n} pictures. *Decodability*: the share of a channel's variance that
the cell explains. *Flip*: its mean change when the picture is mirrored (ICCV 2021, Eq. 2), which one-sided edges have,
too. *Shift*: when it is rolled by half its width. *Strength*: its root mean square.

{top}

How alike the rules rank all channels (Spearman's correlation; 1 is the same order):

{alike}"""
REMOVED = """## What breaks without them?

The network's answers to {n} other pictures, with channels of `{layer}` at exact zero. R² is 1 where the answers are
as before, and 0 where they are as far off as the mean answer. Channels that carry position break more than others only
where they lie below *random* and below *as strong*.

{figure}

{table}"""
NOT_COMPARED = """## What breaks without them?

The network does not put out one tensor, so its answers cannot be compared here; call `posenc_lib.probing.attack` with a
score of your own."""
LIMITS = """## What this shows, and what it does not

* That a reader tells the location shows that the layer *holds* it, not that the network *uses* it.
* Random networks hold it, too: it comes from padding, and from how far units see. Compare with the same architecture
  without weights before crediting what it learned.
* A rule that ranks channels finds what it measures. A high flip response is not yet knowledge of position.
* Pictures on an empty canvas are not what the network was trained on."""
MADE = """## How this was made

`{command}`; posenc-book {book}, torch {torch}, torchvision {torchvision}, timm {timm}, Python {python}. The numbers of
the figures are in the csv files beside this report."""
STYLE = """body{max-width:54rem;margin:2rem auto;padding:0 1rem;font:1rem/1.55 system-ui,sans-serif;color:#1c1c1c;
background:#fff} img{max-width:100%} table{border-collapse:collapse;margin:1rem 0;font-size:.88rem;display:block;
overflow-x:auto} td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:left} h1{line-height:1.2}
h2{margin-top:2.4rem} code{background:#f2f2f2;padding:.1em .3em;border-radius:3px}"""


def write(network: Network, out: Path, *, images: Images, what: str, command: str, layers: list[str] | None = None,
          grid: int = 3, seed: int = 0) -> Path:
    """Ask the network everything and write the report to `out`; -> report.html, which has the figures in it.

    images  (image, rgb, side, side), side the canvas's; neighbours side by side, as half of them rank the channels and
            the other half are used where channels are removed
    what    the images in words; command  how this was asked for
    layers  see `probing.probe`; the deepest is the one whose channels are ranked and removed
    """
    style.use_style()
    model = network.model
    told = probe.probe(model, layers, grid=grid, images=images, size=images.shape[-1])
    border = probe.padding_report(model, images[::max(1, len(images) // 8)])
    deepest = told.layers[-1]
    out.mkdir(parents=True, exist_ok=True)   # not before the questions could be asked
    text = "\n\n".join([
        TITLE.format(name=network.name, kind=type(model).__name__, weights=network.weights, images=told.images,
                     what=what, parameters=sum(p.numel() for p in model.parameters()), cells=told.grid ** 2,
                     grid=told.grid, size=told.size, cell=told.cell),
        _location(told, out), _border(border, [layer.name for layer in told.layers], out),
        _fields(told, deepest.name, out),
        _channels(model, deepest, images, out, seed), LIMITS,
        MADE.format(command=command, python=platform.python_version(), book=version("posenc-book"),
                    **{name: version(name) for name in ("torch", "torchvision", "timm")})])
    (out / "report.md").write_text(text + "\n")
    page = out / "report.html"
    page.write_text(_html(text, network.name, out))
    return page


def _location(told: probe.Probe, out: Path) -> str:
    rows = told.accuracy
    fig, ax = plt.subplots(figsize=(1.2 * len(told.layers) + 4, 3.6), layout="constrained")
    show_figures.accuracy_by_layer(rows, ax).set_ylabel("location told (%)")
    ax.tick_params(axis="x", rotation=20)
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    cells = rows.assign(told=[f"{row.mean:.1f} [{row.low:.1f}, {row.high:.1f}]" for row in rows.itertuples()])
    table = cells.pivot(index=["layer", "channels", "chance", "ceiling"], columns="head", values="told")
    table = table.reindex(rows["layer"].unique(), level=0)[rows["head"].unique()].reset_index()
    in_order = rows[rows["head"] == "in_order"]
    knows = in_order[(in_order["low"] > in_order["chance"]) & (in_order["margin_low"] > 0)]["layer"]
    said = (f"Location can be read from the order of the channels of {_list(knows)}: accuracy lies above chance and, "
            "fold by fold, above that of the shuffled control, by their whole 95 % intervals." if len(knows) else
            "No layer tells the location beyond chance and beyond the shuffled control.")
    return LOCATION.format(
        said=said, table=_table(table, 1), n=rows["n"].iloc[0],
        figure=_figure(fig, out, "location", "Canvases whose cell a linear reader tells from a layer's channels, each "
                       "averaged over space", rows))


def _border(border: probe.PaddingReport, stages: list[str], out: Path) -> str:
    rows = border.layers[border.layers["layer"].isin(stages)]
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    show_figures.border_by_layer(rows, "energy", axes[0]).set_ylabel("border energy (doublings)")
    show_figures.border_by_layer(rows, "slide", axes[1]).set_ylabel("slide (part of the latent)")
    axes[0].axhline(0, **style.CHANCE)
    axes[1].axhline(probe.SEES, **style.CHANCE)
    axes[1].legend(fontsize="small", title="run with", loc="center left", bbox_to_anchor=(1, 0.5))
    first, circular = border.leak("as it is"), border.leak("circular")
    said = [f"As it is, the first layer that feels the border is `{first}`." if first else
            "As it is, no layer feels the border."]
    if "circular" not in border.refused:
        said.append(f"With circular padding in every convolution it is `{circular}`: something other than the "
                    "convolutions' padding marks the place." if circular else "With circular padding in every "
                    "convolution no layer does: then this network cannot know where a picture is.")
    said += [f"It cannot be run with {mode} padding: {reason}." for mode, reason in border.refused.items()]
    kinds = border.operations.groupby(["operation", "fills"], sort=False, as_index=False).agg(
        layers=("layer", "size"), first=("layer", "first"))
    return BORDER.format(
        said=" ".join(said), table=_table(kinds, 0) if len(kinds) else "No layer fills up a border.",
        figure=_figure(fig, out, "border", "Left: energy of a map's border over that of its interior, in doublings. "
                       "Right: the change by a slide; what lies below the dotted line is rounding", border.layers))


def _fields(told: probe.Probe, layer: str, out: Path) -> str:
    explained = told.explained[layer]
    best = channels.top_channels(explained, min(8, len(explained)))
    fig = figures.place_field_maps([told.fields[layer][c].numpy() for c in best], explained[best].tolist())
    return FIELDS.format(layer=layer, figure=_figure(
        fig, out, "place_fields", f"Mean response by cell of channels {_list(best.tolist())}, whose variance the cell "
        "explains most (η², above each); every map on its own scale"))


def _channels(model: nn.Module, layer: probe.Layer, images: Images, out: Path, seed: int) -> str:
    half = len(images) // 2
    first, others = images[:half:max(1, half // 16)], images[half::max(1, half // 8)]
    answers = {rule: probe.rank(model, layer.name, first, rule) for rule in RULES}
    top = pd.DataFrame({rule: order[:10].tolist() for rule, (order, _) in answers.items()})
    alike = pd.DataFrame({rule: {other: channels.rank_correlation(response, answers[other][1]) for other in RULES}
                          for rule, (_, response) in answers.items()}).rename_axis("rule").reset_index()
    ranked = RANKED.format(layer=layer.name, n=len(first), top=_table(top, 0), alike=_table(alike, 2))
    rows = pd.concat([_removed(model, layer, share, answers, others, seed) for share in SHARES])
    if rows.empty:
        return f"{ranked}\n\n{NOT_COMPARED}"
    fig, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    rows["share"] = 100 * rows["share"]
    drawn = rows.assign(**{name: rows[name].clip(-1) for name in ("mean", "low", "high")})
    show_figures.curves(drawn, "share", "removed", ax).set(xlabel="channels removed (%)", ylabel="R² of the answers")
    ax.axhline(0, **style.CHANCE)
    ax.legend(title="removed", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    caption = ("R² of the answers by the share of channels removed, drawn at −1 below that. Random and as strong: mean "
               f"of {DRAWS} sets, and where 95 % of them lie")
    return ranked + "\n\n" + REMOVED.format(
        n=len(others), layer=layer.name, figure=_figure(fig, out, "removal", caption, rows),
        table=_table(rows.astype({"share": int}).rename(columns={"share": "channels (%)", "mean": "R²"})[
            ["channels (%)", "removed", "R²", "low", "high", "n"]], 2))


def _removed(model: nn.Module, layer: probe.Layer, share: float, answers: dict[str, tuple[Tensor, Tensor]],
             images: Images, seed: int) -> pd.DataFrame:
    """`attack` by the most decodable and by the flip-ranked channels; empty where answers cannot be compared."""
    like = next(model.parameters(), images)

    def answer(net: nn.Module) -> Tensor:
        out = net(images.to(like))
        return out.flatten(1).double() if isinstance(out, Tensor) else torch.empty(0)

    def kept(net: nn.Module) -> float:
        return float(1 - (answer(net) - before).square().sum() / spread)

    with hooks.eval_and_restore(model):
        before = answer(model)
        spread = (before - before.mean(0)).square().sum() if before.numel() else 0
        if not spread:
            return pd.DataFrame()
        n = max(1, round(share * layer.channels))
        with hooks.ablated(model, layer.name, answers["flip"][0][:n], layer.axis):
            flipped = kept(model)
    rows = probe.attack(model, layer.name, answers["decodability"][0][:n], kept, draws=DRAWS, seed=seed,
                          strength=answers["strength"][1], axis=layer.axis).drop(index=0)
    rows.loc[len(rows) + 1] = {"removed": "highest flip", "mean": flipped, "n": 1}
    return rows.replace({"removed": {"targets": "highest decodability"}}).assign(share=share)


def _list(names) -> str:
    *rest, last = map(str, names)
    return f"{', '.join(rest)} and {last}" if rest else last


def _figure(fig: Figure, out: Path, name: str, said: str, data: pd.DataFrame | None = None) -> str:
    fig.savefig(out / f"{name}.svg", metadata={"Date": None})
    fig.savefig(out / f"{name}.png")
    plt.close(fig)
    if data is not None:
        data.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    return f"![{said}.]({name}.svg)\n\n*{said}.*"


def _table(frame: pd.DataFrame, digits: int) -> str:
    shown = frame.map(lambda cell: str(cell).replace("|", r"\|") if not isinstance(cell, float) else
                      "–" if isnan(cell) else f"{cell:.{digits}f}")
    rows = [shown.columns, ["---"] * len(shown.columns), *shown.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _html(text: str, title: str, out: Path) -> str:
    """One file that can be sent on: the figures are in it."""
    body = MarkdownIt("commonmark").enable("table").render(text)
    for file in out.glob("*.svg"):
        data = base64.b64encode(file.read_bytes()).decode()
        body = body.replace(f'src="{file.name}"', f'src="data:image/svg+xml;base64,{data}"')
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width"><title>Position in {title}</title><style>{STYLE}</style></head>\n'
            f"<body><main>\n{body}</main></body></html>\n")
