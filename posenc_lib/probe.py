"""The book's questions, asked of any network: how much position does it know, where, in which channels, and what breaks
without them?  Page 08 walks through it.

A network is any `nn.Module` that takes square images (batch, rgb, row, col); a layer any part of it that puts out
feature maps (batch, channel, row, col), tokens (batch, token, channel), or maps (batch, row, col, channel).  Nothing of
the network is changed: it is asked in evaluation mode, and afterwards its weights, buffers, training flags and hooks
are as before, also after an error.  Images are float tensors, normalised as the network wants them, on any device.
"""
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from math import log2, sqrt

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice, one_line
from posenc_lib.base.shapes import Images, Latents
from posenc_lib.data.bundled import photographs
from posenc_lib.data.imageset import IMAGENET
from posenc_lib.experiments.decoding import HEADS, decode, n_distinguishable_cells
from posenc_lib.experiments.pretrained_decoding import DecodingConfig
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import hooks, padding
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run.config import Recipe

READER = DecodingConfig.recipe   # page 04's
READERS = {name: HEADS[name] for name in ("in_order", "shuffled", "permuted_labels")}
RULES = ("flip", "shift", "decodability", "strength", *measure_channels.REGIONS)
FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError)   # of a forward pass


@dataclass(frozen=True)
class Layer:
    """What a forward pass said of a layer: the axis that counts its channels, how many there are, its stride.

    stride  pixels of the image from one place of the map to the next, the nearest power of two
    """
    name: str
    axis: int
    channels: int
    stride: int


@dataclass(frozen=True)
class Probe:
    """What `probe` found.

    accuracy  a row for every layer and reader: layer, channels, head, mean, low, high (percent; mean over folds of
              images and Student's t interval), n folds, chance, ceiling (the most that the layer can know), and margin
              and margin_low, the mean and the lower bound of what the reader is better by than "shuffled", fold by fold
    fields    layer -> place fields (channel, grid, grid), the mean response of each channel by cell
    explained layer -> (channel,) the share of a channel's variance that the cell explains, 0..1
    layers    those asked, shallow to deep
    grid      cells a side; cell, size  pixels a side of a cell and of the canvas; images  how many were asked with
    """
    accuracy: pd.DataFrame
    fields: dict[str, Tensor]
    explained: dict[str, Tensor]
    layers: list[Layer]
    grid: int
    cell: int
    size: int
    images: int


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """One network of page 08's comparison: random weights from the seed, its convolutions run with `padding_mode`.

    network  as the page names it; images  how many pictures; folds, steps  of the readers
    """
    profile: str
    network: str
    padding_mode: str = "zeros"
    grid: int = 3
    size: int = 96
    images: int = 16
    folds: int = 4
    steps: int = 100
    revision: int = 1

    def __post_init__(self):
        check_choice("padding_mode", self.padding_mode, PADDING_MODES)


# What a profile changes.  The canvas of "paper" is the one that the networks are made for.
PRESETS = {"smoke": {"images": 4, "folds": 2, "steps": 5}, "quick": {},
           "paper": {"size": 224, "images": 90, "folds": 6, "steps": 200}}


def find_layers(model: nn.Module, names: Sequence[str] | None = None, *, size: int = 224) -> list[Layer]:
    """The layers of these names, in the network's order; without names those of `hooks.stages`, found by tracing.

    ValueError that lists what there is for a name that no layer has, or whose layer puts out no feature map, and for a
    network that cannot take a square image of `size` pixels.
    """
    probed = next(model.parameters(), torch.zeros(()))
    blank = torch.zeros(1, 3, size, size, device=probed.device, dtype=probed.dtype)
    with hooks.eval_and_restore(model):
        try:
            shapes = hooks.trace_feature_maps(model, blank)
        except FAILURES as error:
            raise ValueError(f"layers: {type(model).__name__} cannot take images of shape (1, 3, {size}, {size}), "
                             f"{one_line(error)}; give a size that it can") from error
    found = hooks.stages(model, shapes)
    if not found:
        raise ValueError(f"layers: no layer of {type(model).__name__} puts out a feature map (batch, channel, row, "
                         "col) or tokens (batch, token, channel) of more than one place")
    for name in names or ():
        hooks.layer(model, name)
        if name not in shapes:
            raise ValueError(f"layers: {name} of {type(model).__name__} puts out no feature map; those that do are, at "
                             f"each resolution, {', '.join(found)}")
    return [_layer(name, shape, size) for name, shape in shapes.items() if name in (names or found)]


def _layer(name: str, shape: tuple[int, ...], size: int) -> Layer:
    axis = hooks.channel_axis(shape)
    places = torch.Size(shape).numel() / shape[axis]
    return Layer(name, axis, shape[axis], max(1, 2 ** round(log2(size / sqrt(places)))))


def pictures(side: int, n: int | None = None, *, whole: bool = False, mean: Sequence[float] = IMAGENET[0],
             std: Sequence[float] = IMAGENET[1]) -> Images:
    """The photographs that come with the book, one after the other, as squares of `side` pixels, normalised.

    15 windows of each, half as wide as it is high, or its two ends if `whole`.  Resized with antialiasing.
    n  how many of them, evenly spread; None, or more than there are, is all
    """
    squares = []
    for photo in photographs().values():
        rows, cols = photo.shape[-2:]
        window = min(rows, cols) // (1 if whole else 2)
        tops, lefts = ((0,), (0, cols - window)) if whole else (
            [n * (rows - window) // 2 for n in range(3)], [n * (cols - window) // 4 for n in range(5)])
        squares += [photo[..., top:top + window, left:left + window] for top in tops for left in lefts]
    n = min(n or len(squares), len(squares))
    kept = [_resized(squares[i * len(squares) // n].float(), side) for i in range(n)]
    return normalised(torch.cat(kept), mean, std)


def normalised(pixels: Tensor, mean: Sequence[float] = IMAGENET[0], std: Sequence[float] = IMAGENET[1]) -> Images:
    """Pixels 0..255 (image, rgb, row, col) -> what a network reads, (p / 255 - mean) / std, colour by colour"""
    return (pixels / 255 - torch.tensor(mean).reshape(-1, 1, 1)) / torch.tensor(std).reshape(-1, 1, 1)


def _resized(images: Images, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def probe(model: nn.Module, layers: Sequence[str] | None = None, *, grid: int = 3, images: Images | None = None,
          size: int = 224, folds: int = 6, recipe: Recipe = READER, batch: int = 32) -> Probe:
    """How well the location of an image can be read from each layer's pooled latent: the book's page 03 and 04.

    layers  names ("layer4"); None finds some, see `find_layers`
    grid    cells a side of the canvas; every image is placed in each.  Cells measure a multiple of the layers' stride,
            so that a network that cannot know the place gives the same latent in each
    images  (image, rgb, row, col), resized to a cell; None are `pictures`.  Neighbours should lie side by side
    size    pixels a side of the canvas; what the cells leave is empty margin, equal on both sides but for a pixel
    folds   parts of the images, contiguous; each is tested by readers that learned on the others
    recipe  how readers learn; batch  canvases at a time

    Readers are linear: on the channels *in order*; on channels *shuffled* anew in every batch, the control that takes
    the order away; and in order for *answers permuted*, which no honest reader can tell better than by chance.
    ValueError for fewer images than folds, a grid too fine for the layers' stride, unknown layers, latents that are
    not finite.
    """
    found = find_layers(model, layers, size=size)
    stride = max(layer.stride for layer in found)
    cell = size // grid // stride * stride if grid > 0 else 0
    if grid < 2 or cell == 0:
        raise ValueError(f"probe: a {grid}x{grid} grid was asked for; on a canvas of {size} pixels and with a stride "
                         f"of {stride} there can be 2 to {size // stride} cells a side")
    patches = pictures(cell) if images is None else _resized(images, cell)
    if not 2 <= folds <= len(patches):
        raise ValueError(f"probe: {folds} folds of {len(patches)} images were asked for; give 2 folds or more, and at "
                         "least as many images")
    number, location = torch.cartesian_prod(torch.arange(len(patches)), torch.arange(grid ** 2)).T
    parts = list(zip(number.split(batch), location.split(batch), strict=True))
    canvases = (_framed(canvas.place(patches[n], at, grid), size) for n, at in progress.bar(parts, "canvases"))
    latents = _latents(model, found, canvases)
    rows = []
    for fold, part in enumerate(torch.arange(len(patches)).tensor_split(folds)):
        held = torch.isin(number, part)
        rows += decode([z[~held] for z in latents], location[~held], [z[held] for z in latents], location[held],
                       cells=grid ** 2, recipe=recipe, seed=fold, heads=READERS)
    scored = (100 * pd.DataFrame(rows).set_index(["layer", "head"])["accuracy"]).groupby(level=[0, 1], sort=False)
    scored = scored.apply(lambda of_folds: of_folds.to_numpy())
    table = []
    for (n, head), values in scored.items():
        mean, low, high = metrics.mean_interval(values)
        margin, margin_low, _ = metrics.mean_interval(values - scored[n, "shuffled"])
        table.append({"layer": found[n - 1].name, "channels": found[n - 1].channels, "head": head, "mean": mean,
                      "low": low, "high": high, "n": folds, "chance": 100 / grid ** 2, "margin": margin,
                      "margin_low": margin_low,
                      "ceiling": 100 * n_distinguishable_cells(latents[n - 1][number == 0]) / grid ** 2})
    measured = {layer.name: metrics.place_fields(z, location, grid) for layer, z in zip(found, latents, strict=True)}
    return Probe(pd.DataFrame(table), {name: fields for name, (fields, _) in measured.items()},
                 {name: share.nan_to_num(0.0, posinf=0.0).clamp(0, 1) for name, (_, share) in measured.items()},
                 found, grid, cell, size, len(patches))


def _framed(images: Images, size: int) -> Tensor:
    """In the middle of an empty square of `size` pixels."""
    rows, cols = (size - n for n in images.shape[-2:])
    return pad(images, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))


def _latents(model: nn.Module, layers: Sequence[Layer], batches: Iterable[Tensor]) -> list[Tensor]:
    """z (image, channel) of each layer, on the CPU; where a layer runs more than once, its first output's."""
    like = next(model.parameters(), torch.zeros(()))
    kept: list[list[Tensor]] = [[] for _ in layers]
    with hooks.eval_and_restore(model):
        for images in batches:
            with ExitStack() as stack:
                outputs = [stack.enter_context(hooks.captured(model, layer.name, _pool(layer.axis)))
                           for layer in layers]
                model(images.to(like))
            for rows, output in zip(kept, outputs, strict=True):
                rows.append(output[0].float().cpu())
    latents = [torch.cat(rows) for rows in kept]
    for layer, z in zip(layers, latents, strict=True):
        if not z.isfinite().all():
            raise ValueError(f"probe: layer {layer.name} puts out values that are not finite, so nothing can be read "
                             "from it; name other layers, or give weights")
    return latents


def _pool(axis: int) -> Callable[[Tensor], Tensor]:
    return lambda out: out.movedim(axis, 1).flatten(2).mean(-1)


def rank(model: nn.Module, layer: str, images: Images, rule: str = "flip", *, batch: int = 16
         ) -> tuple[Int[Tensor, " channel"], Float[Tensor, " channel"]]:
    """The layer's channels by what they answer, highest first, and every channel's response, in channel order.

    images  (image, rgb, side, side), square and as large as the network takes them, on any device
    rule    "flip" (ICCV 2021, Eq. 2), "shift", "strength", all in units of the activation; "decodability", the share of
            variance that the cell of a 3x3 canvas explains; or a region: "left", "right", "top", "bottom", "centre",
            "periphery", by the signed response.  See `channels`, and page 06 for what each of them measures
    """
    check_choice("rule", rule, RULES)
    (found,) = find_layers(model, [layer], size=images.shape[-1])
    like = next(model.parameters(), torch.zeros(()))

    def features(x: Images) -> Tensor:   # (batch, channel, place, 1)
        with hooks.captured(model, layer, lambda out: out.movedim(found.axis, 1).flatten(2)[..., None].clone()) as f:
            model(_framed(x, images.shape[-1]))
        return f[0].float()

    def encode(x: Images) -> Latents:
        return features(x).mean((-2, -1))

    batches = (x.to(like) for x in images.split(batch))   # one device from here on
    with hooks.eval_and_restore(model):
        if rule == "strength":
            response = measure_channels.rms_activation(features, batches)
        elif rule == "decodability":
            response = measure_channels.decodability(encode, batches, stride=found.stride)
        elif rule in measure_channels.REGIONS:
            change, sign = measure_channels.REGIONS[rule]
            response = sign * measure_channels.mean_response(encode, batches, change, signed=True)
        else:
            response = measure_channels.mean_response(
                encode,
                batches,
                {"flip": measure_channels.flip_horizontally, "shift": measure_channels.roll_half_width}[rule],
            )
    response = response.cpu()
    return measure_channels.top_channels(response, len(response)), response


def attack(model: nn.Module, layer: str, targets: Sequence[int] | Tensor, evaluate: Callable[[nn.Module], float], *,
           draws: int = 20, seed: int = 0, strength: Float[Tensor, " channel"] | None = None, axis: int | None = None
           ) -> pd.DataFrame:
    """What `evaluate` says with a layer's `targets` at exact zero, and with as many channels drawn at random.

    evaluate  network -> a score; it has to run the layer
    strength  any measure (`rank(..., "strength")`): adds sets of channels as strong as the targets
    axis      that counts the layer's channels; None is the last of (batch, token, channel), else 1
    -> a row each for what was removed: "nothing", "targets", "random", "as strong": mean score, low and high (where 95
    percent of the sets lie; nan for a single one), n sets, and `harm`, the mean score lost against nothing.  ValueError
    for channels beyond the layer, and when `evaluate` does not run it.
    """
    with hooks.eval_and_restore(model):
        with hooks.captured(model, layer, lambda out: out[:0]) as seen:
            whole = float(evaluate(model))
        if not seen:
            raise ValueError(f"attack: `evaluate` did not run layer {layer}, so nothing can be removed from it")
        along = axis if axis is not None else 2 if seen[0].ndim == 3 else 1
        targets = torch.as_tensor(targets, dtype=torch.long)
        sets = {
            "targets": [targets],
            "random": measure_channels.random_sets(seen[0].shape[along], len(targets), draws, seed),
        }
        if strength is not None:
            sets["as strong"] = measure_channels.rms_matched_sets(strength, targets, draws, seed)
        scores = {"nothing": [whole]}
        for name, removed in sets.items():
            scores[name] = []
            for those in progress.bar(removed, f"without {name}"):
                with hooks.ablated(model, layer, those, along):
                    scores[name].append(float(evaluate(model)))
    rows = []
    for name, values in scores.items():
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) > 1 else (float("nan"),) * 2
        rows.append({"removed": name, "mean": np.mean(values), "low": low, "high": high, "n": len(values),
                     "harm": whole - np.mean(values)})
    return pd.DataFrame(rows)


# A slide that changes a latent by less than this part of its length changes nothing, but for float32: rounding alone
# made 0 in convolutional networks of 18 to 152 layers, and 2e-7 at most in vision transformers.
SEES = 5e-7


@dataclass(frozen=True)
class PaddingReport:
    """What `padding_report` found.

    operations  a row for every layer that pads its input: layer, operation, fills (see `padding.border_fill`)
    layers      a row for every layer and way to run the network ("as it is", then each mode): energy, low, high (border
                energy in doublings, mean over n images and Student's t interval; nan for a map without interior) and
                slide, the change of the pooled latent when the image is rolled by a multiple of the stride, relative to
                its length: 0 where a layer cannot feel the border
    refused     mode -> why the network cannot be run with it
    """
    operations: pd.DataFrame
    layers: pd.DataFrame
    refused: dict[str, str]

    def leak(self, mode: str = "circular") -> str | None:
        """The first layer, in the order in which they are done, that feels the border when run with `mode`."""
        felt = self.layers[(self.layers["run with"] == mode) & (self.layers["slide"] > SEES)]
        return None if felt.empty else felt["layer"].iloc[0]


def padding_report(model: nn.Module, images: Images | None = None, *, size: int = 224,
                   modes: Sequence[str] = PADDING_MODES) -> PaddingReport:
    """How the network meets the border: what pads, by how much it shows, and what changes when the mode is switched.

    images  (image, rgb, side, side); None are `pictures` of `size` pixels
    modes   of the convolutions, see `padding.set_padding_mode`; the network's own are put back

    A network all of whose convolutions pad circularly cannot know where an image is, unless something else feels the
    border: max-pooling, which pads by minus infinity, a padding in a forward of its own, an encoding of position that
    is added.  `PaddingReport.leak` names the first layer that does.  All layers are looked at, not only the stages.
    """
    images = pictures(size, whole=True) if images is None else images
    found = find_layers(model, (), size=images.shape[-1])
    with hooks.eval_and_restore(model):
        shapes = hooks.trace_feature_maps(model, images[:1].to(next(model.parameters(), images)))
    everything = [_layer(name, shape, images.shape[-1]) for name, shape in shapes.items()]
    stride = max(layer.stride for layer in found)
    moved = images.roll((stride * max(1, images.shape[-1] // stride // 2),) * 2, (-2, -1))
    rows, refused = [], {}
    for mode in ("as it is", *modes):
        try:
            with padding.switched(model, mode) if mode in modes else nullcontext():
                measured, after = (_border(model, everything, x) for x in (images, moved))
        except ValueError as error:
            refused[mode] = str(error)
            continue
        for layer, (energy, z), (_, z_moved) in zip(everything, measured, after, strict=True):
            finite = energy[energy.isfinite()].tolist()
            mean, low, high = metrics.mean_interval(finite) if finite else (float("nan"),) * 3
            slide = (z_moved - z).norm(dim=1) / z.norm(dim=1)
            rows.append({"layer": layer.name, "run with": mode, "energy": mean, "low": low, "high": high,
                         "n": len(finite), "slide": float(slide.nan_to_num(0.0).mean())})
    operations = [{"layer": name, "operation": type(module).__name__, "fills": fills}
                  for name, module in model.named_modules() if (fills := padding.border_fill(module))]
    return PaddingReport(pd.DataFrame(operations, columns=["layer", "operation", "fills"]), pd.DataFrame(rows), refused)


def _border(model: nn.Module, layers: Sequence[Layer], images: Images) -> list[tuple[Tensor, Tensor]]:
    """Of each layer: border energy of every image, nan for tokens and maps without interior; pooled latent, float64."""
    def measured(axis: int) -> Callable[[Tensor], Tensor]:
        def keep(out: Tensor) -> Tensor:
            f = out.movedim(axis, 1).double()
            inside = f.ndim == 4 and min(f.shape[-2:]) > 2
            energy = metrics.border_energy(f) if inside else f.new_full((len(f),), float("nan"))
            return torch.cat([energy[:, None], f.flatten(2).mean(-1)], 1).cpu()
        return keep

    like = next(model.parameters(), images)
    with hooks.eval_and_restore(model), ExitStack() as stack:
        outputs = [stack.enter_context(hooks.captured(model, layer.name, measured(layer.axis))) for layer in layers]
        for x in images.split(4):
            model(x.to(like))
    # a layer that runs r times a pass has r outputs for each part; the first of each pass counts
    passes = -(-len(images) // 4)
    return [(kept[:, 0], kept[:, 1:]) for kept in (torch.cat(out[::len(out) // passes]) for out in outputs)]
