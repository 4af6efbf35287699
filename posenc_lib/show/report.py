"""Write the results of `probe` for one network as a report: figures, tables, report.md and report.html."""
import base64
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from torch import Tensor, nn

import posenc_lib
from posenc_lib import probe
from posenc_lib.base.modules import like, parameters
from posenc_lib.base.shapes import Images
from posenc_lib.measure import channels
from posenc_lib.nets import hooks
from posenc_lib.nets.custom import Network
from posenc_lib.show import figures, style
from posenc_lib.show.images import place_field_maps
from posenc_lib.show.tables import markdown_table

RULES = ("decodability", "flip", "shift", "rms_activation")
FRACTIONS = (0.05, 0.15, 0.5)   # of the layer's channels, ablated
DRAWS = 10                      # random sets
FIGURES = ("location", "border", "place_fields", "ablation")
FILES = ("report.md", "report.html", *(f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png", "csv")))
LEGEND: dict[str, Any] = {"fontsize": "small", "loc": "center left", "bbox_to_anchor": (1, 0.5)}
TITLE = """# How much position does {name} encode?

{kind}, {parameters:,} parameters, {weights}. Probed with {n_images} images ({source}), each placed in all {cells} cells
of a {grid}×{grid} canvas of {size} pixels; a cell has {cell}.{notes}"""
SINGLE = " One image at a time: the network takes no batches, or mixes the images of a batch."
DRAWN = """ The output of {layers} differs between two passes over the same image: the network draws random numbers in
evaluation mode, or keeps a state. All that is measured there contains this noise."""
LOCATION = """## Which layers encode location? Decoding it from the pooled channels

{summary}

{figure}

{table}

Percent: mean and 95 % interval (Student's t) over n = {n} contiguous folds of the images; linear heads are tested on
one fold after training on the others. *In order* reads all channels in their order; for *shuffled* the order is drawn
anew in every batch; *permuted labels* cannot be predicted, so it must be at chance. *Ceiling*: an upper bound for any
head, from the number of cells that the layer can distinguish."""
BORDER = """## Where does it come from? Layers that respond to the border

{summary}

{figure}

{table}

Border energy: mean and 95 % interval (Student's t) over images; undefined for tokens and for maps without interior.
Shift sensitivity: how much the pooled channels change when the image is rolled by a multiple of the stride. Where it
is 0, the layer does not respond to the border, and location cannot be decoded from it."""
PLACE_FIELDS = """## Place fields of `{layer}`

{figure}"""
RANKING = """## Which channels of `{layer}`?

The ten channels that each of four rules ranks highest, on {n} images. *Decodability*: the fraction of a channel's
variance that the cell explains. *Flip response*: its mean change when the image is mirrored (ICCV 2021, Eq. 2);
detectors of one-sided edges have one, too. *Shift response*: its mean change when the image is rolled by half its
width. *RMS activation*: its root mean square.

{top}

Agreement of the rules on all channels (Spearman's rank correlation; 1 is the same order):

{agreement}"""
ABLATION = """## What breaks without them?

The network's output for {n} other images, with channels of `{layer}` set to exact zero. R² is 1 where the output does
not change, and 0 where it is as far off as the mean output. Channels that encode position matter more than others
only where they are below *random* and below *random, RMS-matched*.

{figure}

{table}"""
NO_ABLATION = """## What breaks without them?

The network does not output a single tensor of floating-point numbers that is finite, varies between images and is the
same in two passes, so its outputs cannot be compared here; call `posenc_lib.probe.attack` with a score of your own."""
LIMITS = """## What this shows, and what it does not

* If a head decodes the location, the layer *encodes* it; that does not show that the network *uses* it.
* Random networks encode it, too: it comes from padding, and reaches as far as the receptive fields. Compare with the
  same architecture without weights before attributing it to training.
* A rule ranks channels by what it measures. A high flip response does not yet mean that a channel encodes position.
* Images on an empty canvas are not what the network was trained on."""
PROVENANCE = """## How this report was made

`{command}`; posenc-book {book}, torch {torch}, torchvision {torchvision}, timm {timm}, Python {python}. The csv files
in this folder contain the numbers of the figures."""
STYLE = """body{max-width:54rem;margin:2rem auto;padding:0 1rem;font:1rem/1.55 system-ui,sans-serif;color:#1c1c1c;
background:#fff} img{max-width:100%} table{border-collapse:collapse;margin:1rem 0;font-size:.88rem;display:block;
overflow-x:auto} td,th{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:left} h1{line-height:1.2}
h2{margin-top:2.4rem} code{background:#f2f2f2;padding:.1em .3em;border-radius:3px}"""

Rankings = Mapping[str, tuple[Tensor, Tensor]]   # rule -> channels, responses


def write(network: Network, out: Path, *, images: Images, source: str, command: str, layers: list[str] | None = None,
          grid: int = 3, seed: int = 0, note: str = "") -> Path:
    """Probe a network and write the report to `out`; returns the path of report.html, which embeds the figures.

    images   (image, rgb, side, side), side the canvas's; similar images should be neighbours: the first half ranks the
             channels, the second half is used for the ablation
    source   of the images, in words; command  that was called
    layers   see `probe.probe`; the channels of the deepest one are ranked and ablated
    note     a sentence on how the network is run
    """
    style.use_style()
    model = network.model
    result = probe.probe(model, layers, grid=grid, images=images, size=images.shape[-1])
    border = probe.padding_report(model, images[::max(1, len(images) // 8)])
    deepest = result.layers[-1]
    out.mkdir(parents=True, exist_ok=True)   # only now: nothing is left behind if the network cannot be probed
    for name in FILES:                       # of an earlier report, whose text must not stand beside new figures
        (out / name).unlink(missing_ok=True)
    notes = f" {note}" * bool(note) + SINGLE * result.single
    if result.draws:
        notes += DRAWN.format(layers=_several(result.draws))
    versions = {name: version(name) for name in ("torch", "torchvision", "timm")}
    text = "\n\n".join([
        TITLE.format(name=network.name, kind=type(model).__name__, weights=network.weights, n_images=result.n_images,
                     source=source, parameters=sum(p.numel() for p in parameters(model)), cells=result.grid ** 2,
                     grid=result.grid, size=result.size, cell=result.cell, notes=notes),
        _location(result, out),
        _border(border, [layer.name for layer in result.layers], out),
        _place_fields(result, deepest.name, out),
        _channels(model, deepest, images, out, seed, 1 if result.single else len(images)),
        LIMITS,
        PROVENANCE.format(command=command, python=platform.python_version(), book=posenc_lib.__version__, **versions)])
    _write(out / "report.md", text + "\n")
    page = out / "report.html"
    _write(page, _html(text, network.name, out))
    return page


def _write(file: Path, text: str) -> None:
    """As UTF-8, file names included that are not text in the reader's locale, or in any."""
    file.write_text(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), encoding="utf-8")


def may_overwrite(folder: Path) -> bool:
    """Whether a folder holds a report, or nothing but what a report that was cut off leaves."""
    return (folder / "report.md").is_file() or {file.name for file in folder.iterdir()} <= {*FILES}


def _location(result: probe.ProbeResult, out: Path) -> str:
    rows = result.accuracy
    fig, ax = plt.subplots(figsize=(1.2 * len(result.layers) + 4, 3.6), layout="constrained")
    figures.accuracy_by_layer(rows, ax).set_ylabel("location accuracy (%)")
    ax.tick_params(axis="x", rotation=20)
    ax.legend(**LEGEND)
    shown = rows.assign(head=rows["head"].map(style.label),
                        accuracy=[f"{row.mean:.1f} [{row.low:.1f}, {row.high:.1f}]" for row in rows.itertuples()])
    table = shown.pivot(index=["layer", "channels", "chance", "ceiling"], columns="head", values="accuracy")
    table = table.reindex(rows["layer"].unique(), level=0)[shown["head"].unique()].reset_index()
    in_order = rows[rows["head"] == "in_order"]
    encodes = in_order[(in_order["low"] > in_order["chance"]) & (in_order["margin_low"] > 0)]["layer"]
    summary = "Location cannot be decoded from any layer beyond chance and beyond the shuffled control."
    if len(encodes):
        summary = (f"Location can be decoded from the order of the channels of {_join(encodes)}: the 95 % intervals of "
                   "accuracy lie above chance and, fold by fold, above the shuffled control.")
    caption = "Accuracy of linear heads that decode the cell from a layer's channels, each averaged over space"
    figure = _figure(fig, out, "location", caption, rows)
    return LOCATION.format(summary=summary, figure=figure, table=_table(table, 1), n=rows["n"].iloc[0])


def _border(border: probe.PaddingReport, stages: list[str], out: Path) -> str:
    rows = border.layers[border.layers["layer"].isin(stages)]
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    figures.border_by_layer(rows, "energy", axes[0]).set_ylabel("border energy (log2 ratio)")
    figures.border_by_layer(rows, "shift_sensitivity", axes[1]).set_ylabel("shift sensitivity (fraction of the latent)")
    axes[0].axhline(0, **style.CHANCE)
    axes[1].axhline(border.rounding, **style.CHANCE)
    axes[1].legend(title="padding", **LEGEND)
    first, circular = border.leak(probe.AS_BUILT), border.leak("circular")
    no_layer = "none of the other layers" if border.undetermined else "no layer"
    summary = [f"Whether {_several(layers)} responds to the border cannot be determined: {reason}."
               for reason, layers in _invert(border.undetermined).items()]
    summary.append(f"As built, the first layer that responds to the border is `{first}`." if first else
                   f"As built, {no_layer} responds to the border.")
    if circular:
        summary.append(f"With circular padding in every convolution it is `{circular}`, so position does not come from "
                       "the convolutions' padding alone.")
    elif "circular" not in border.refused:
        conclusion = "" if border.undetermined else ", so the network then cannot encode where an image is"
        summary.append(f"With circular padding in every convolution {no_layer} does{conclusion}.")
    summary += [f"It cannot run with {mode} padding: {reason}." for mode, reason in border.refused.items()]
    operations = border.operations.groupby(["operation", "fills"], sort=False, as_index=False).agg(
        layers=("layer", "size"), first=("layer", "first"))
    table = _table(operations, 0) if len(operations) else "No layer pads its input."
    caption = ("Left: log2 ratio of the energy at a map's border to that in its interior. Right: relative change under "
               "a circular shift; below the dotted line it is rounding")
    figure = _figure(fig, out, "border", caption, border.layers)
    return BORDER.format(summary=" ".join(summary), figure=figure, table=table)


def _place_fields(result: probe.ProbeResult, layer: str, out: Path) -> str:
    explained = result.variance_explained[layer]
    best = channels.top_channels(explained, min(8, len(explained)))
    fig = place_field_maps([result.place_fields[layer][c].numpy() for c in best], explained[best].tolist())
    caption = (f"Mean response by cell of channels {_join(best.tolist())}, whose variance the cell explains best (η², "
               "above each map); every map has its own scale")
    return PLACE_FIELDS.format(layer=layer, figure=_figure(fig, out, "place_fields", caption))


def _channels(model: nn.Module, layer: probe.Layer, images: Images, out: Path, seed: int, batch: int) -> str:
    half = len(images) // 2
    ranking_images, ablation_images = images[:half:max(1, half // 16)], images[half::max(1, half // 8)]
    rankings = {rule: probe.rank(model, layer.name, ranking_images, rule) for rule in RULES}
    top = pd.DataFrame({style.label(rule): order[:10].tolist() for rule, (order, _) in rankings.items()})
    agreement = pd.DataFrame([
        {"rule": style.label(rule)} | {style.label(other): channels.rank_correlation(response, rankings[other][1])
                                       for other in RULES}
        for rule, (_, response) in rankings.items()])
    ranking = RANKING.format(layer=layer.name, n=len(ranking_images), top=_table(top, 0),
                             agreement=_table(agreement, 2))
    rows = pd.concat([_ablate(model, layer, fraction, rankings, ablation_images, seed, batch)
                      for fraction in FRACTIONS])
    if rows.empty:
        return f"{ranking}\n\n{NO_ABLATION}"
    fig, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    clipped = rows.assign(**{name: rows[name].clip(-1) for name in ("mean", "low", "high")})
    figures.curves(clipped, "percent", "ablated", ax).set(xlabel="channels ablated (%)", ylabel="R² of the output")
    ax.axhline(0, **style.CHANCE)
    ax.legend(title="ablated", **LEGEND)
    caption = ("R² of the output by the fraction of channels ablated, drawn at −1 if it is lower. Random sets, with "
               f"and without RMS matching: mean of {DRAWS} sets, and the range of 95 % of them")
    table = rows.assign(ablated=rows["ablated"].map(style.label)).astype({"percent": int}).rename(
        columns={"percent": "channels (%)", "mean": "R²"})[["channels (%)", "ablated", "R²", "low", "high", "n"]]
    return ranking + "\n\n" + ABLATION.format(n=len(ablation_images), layer=layer.name, table=_table(table, 2),
                                              figure=_figure(fig, out, "ablation", caption, rows))


def _ablate(model: nn.Module, layer: probe.Layer, fraction: float, rankings: Rankings, images: Images,
            seed: int, batch: int) -> pd.DataFrame:
    """R² of the output without the most decodable channels, those of highest flip response, and random sets.

    Empty if the network's outputs cannot be compared.
    """
    def predict(net: nn.Module) -> Tensor:
        """(image, value), float64; without values if the outputs are no floating-point numbers for every image."""
        outputs = [hooks.run(net, part) for part in images.to(like(net)).split(batch)]
        if not all(isinstance(output, Tensor) and output.is_floating_point() and output.ndim
                   and output.layout is torch.strided for output in outputs):
            return torch.empty(0)
        output = torch.cat(outputs)
        return output.reshape(len(images), -1).double() if len(output) == len(images) else torch.empty(0)

    def r_squared(net: nn.Module) -> float:
        return float(1 - (predict(net) - intact).square().sum() / spread)

    n = max(1, round(fraction * layer.channels))
    with hooks.eval_and_restore(model):
        intact = predict(model)
        comparable = intact.numel() and intact.isfinite().all() and torch.equal(intact, predict(model))
        spread = (intact - intact.mean(0)).square().sum() if comparable else 0
        if not spread:
            return pd.DataFrame()
        with hooks.ablated(model, layer.name, rankings["flip"][0][:n], layer.axis):
            highest_flip = r_squared(model)
    rows = probe.attack(model, layer.name, rankings["decodability"][0][:n], r_squared, draws=DRAWS, seed=seed,
                        rms_activation=rankings["rms_activation"][1], axis=layer.axis)
    rows = rows[rows["ablated"] != "none"].replace({"ablated": {"targets": "highest_decodability"}})
    flip_row = pd.DataFrame([{"ablated": "highest_flip", "mean": highest_flip, "n": 1}])
    return pd.concat([rows, flip_row]).assign(percent=100 * fraction)


def _several(layers: Sequence[str]) -> str:
    return f"`{layers[0]}`" if len(layers) == 1 else f"`{layers[0]}` (and {len(layers) - 1} more layers)"


def _invert(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """reason -> layers, from layer -> reason."""
    return {reason: [layer for layer, of_layer in reasons.items() if of_layer == reason]
            for reason in dict.fromkeys(reasons.values())}


def _join(names: Iterable) -> str:
    *rest, last = map(str, names)
    return f"{', '.join(rest)} and {last}" if rest else last


def _figure(fig: Figure, out: Path, name: str, caption: str, data: pd.DataFrame | None = None) -> str:
    style.save(fig, out, name, data)
    return f"![{caption}.]({name}.svg)\n\n*{caption}.*"


def _table(frame: pd.DataFrame, digits: int) -> str:
    def cell(value) -> str:
        if not isinstance(value, float):
            return str(value)
        return "–" if isnan(value) else f"{value:.{digits}f}"

    return markdown_table(frame.map(cell)).rstrip("\n")


def _html(text: str, title: str, out: Path) -> str:
    """Render the report as one file that embeds the figures."""
    body = MarkdownIt("commonmark").enable("table").render(text)
    for file in out.glob("*.svg"):
        data = base64.b64encode(file.read_bytes()).decode()
        body = body.replace(f'src="{file.name}"', f'src="data:image/svg+xml;base64,{data}"')
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width"><title>Position in {title}</title><style>{STYLE}</style></head>\n'
            f"<body><main>\n{body}</main></body></html>\n")
