"""Probe any network for position: which layers and channels encode it, where it comes from, what breaks without it.

Page 08 walks through the four functions: `probe`, `rank`, `attack` and `padding_report`.

A network is any `nn.Module` that takes square images (batch, rgb, row, col).  A layer is any of its submodules that
outputs feature maps, (batch, channel, row, col) or (batch, row, col, channel), or tokens, (batch, token, channel).  The
network runs in evaluation mode and is restored afterwards, also after an error: weights, buffers, training flags and
hooks.  Images are float tensors on any device, normalised the way the network expects.
"""
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from math import log2, nan, sqrt

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
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import hooks, padding
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import decoding
from posenc_lib.run.config import Recipe

RECIPE = Recipe(epochs=1, epoch_steps=200, batch_size=128, learning_rate=1e-2, flip=False)   # of page 04's heads
HEADS = {name: decoding.HEADS[name] for name in ("in_order", "shuffled", "permuted_labels")}
RULES = ("flip", "shift", "decodability", "rms_activation", *measure_channels.REGIONS)
FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError)
AS_BUILT = "as_built"   # the padding mode of a network that is run unchanged

# A shift sensitivity of at most this is float32 rounding: without a response to the border, convolutional networks of
# 18 to 152 layers gave exactly 0, and vision transformers at most 2e-7.
MIN_SENSITIVITY = 5e-7


@dataclass(frozen=True)
class Layer:
    """A layer's output, as traced in a forward pass.

    axis      that counts channels
    channels  the number of channels
    stride    image pixels from one position of the feature map to the next, rounded to a power of two
    """
    name: str
    axis: int
    channels: int
    stride: int


@dataclass(frozen=True)
class ProbeResult:
    """Result of `probe`.

    accuracy  one row per layer and head: layer, channels, head; mean, low, high (percent; mean and Student's t interval
              over n folds of images), n, chance; ceiling, an upper bound for any head; margin and margin_low, the mean
              and lower bound of the difference to the shuffled head, fold by fold
    place_fields        layer -> (channel, grid, grid), each channel's mean response by cell
    variance_explained  layer -> (channel,), the fraction of a channel's variance that the cell explains, 0..1
    layers    probed, shallow to deep
    grid      cells per side; cell, size  side of a cell and of the canvas in pixels
    n_images  the number of images, each placed in every cell
    """
    accuracy: pd.DataFrame
    place_fields: dict[str, Tensor]
    variance_explained: dict[str, Tensor]
    layers: list[Layer]
    grid: int
    cell: int
    size: int
    n_images: int


@dataclass(frozen=True)
class PaddingReport:
    """Result of `padding_report`.

    operations  one row per layer that pads its input: layer, operation, fills (see `padding.border_fill`)
    layers      one row per layer and padding mode (`AS_BUILT`, then each requested mode): layer, padding_mode; energy,
                low, high (border energy, a log2 ratio; mean and Student's t interval over n images; nan for a map
                without interior); shift_sensitivity, the relative change of the pooled latent when the image is rolled
                by a multiple of the stride: 0 where the layer does not respond to the border
    refused     padding mode -> why the network cannot run with it
    """
    operations: pd.DataFrame
    layers: pd.DataFrame
    refused: dict[str, str]

    def leak(self, padding_mode: str = "circular") -> str | None:
        """The first layer, in execution order, that responds to the border under `padding_mode`; None if none does."""
        rows = self.layers[self.layers["padding_mode"] == padding_mode]
        sensitive = rows[rows["shift_sensitivity"] > MIN_SENSITIVITY]
        return None if sensitive.empty else sensitive["layer"].iloc[0]


def find_layers(model: nn.Module, names: Sequence[str] | None = None, *, size: int = 224) -> list[Layer]:
    """Find the named layers, or without names those of `hooks.stages`; in execution order.

    ValueError if a name does not exist or its layer outputs no feature map (the message lists those that do), and if
    the network cannot take square images of `size` pixels.

    >>> [layer.name for layer in find_layers(resnet18())]
    ['relu', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    shapes = _trace(model, size)
    stages = hooks.stages(model, shapes)
    if not stages:
        raise ValueError(f"layers: no layer of {type(model).__name__} outputs a feature map (batch, channel, row, col) "
                         "or tokens (batch, token, channel) with more than one position")
    for name in names or ():
        hooks.layer(model, name)
        if name not in shapes:
            raise ValueError(f"layers: {name} of {type(model).__name__} outputs no feature map; layers that do include "
                             f"{', '.join(stages)}")
    return [_layer(name, shape, size) for name, shape in shapes.items() if name in (names or stages)]


def _trace(model: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """`hooks.trace_feature_maps` on a blank image."""
    like = next(model.parameters(), torch.zeros(()))
    blank = torch.zeros(1, 3, size, size, device=like.device, dtype=like.dtype)
    with hooks.eval_and_restore(model):
        try:
            return hooks.trace_feature_maps(model, blank)
        except FORWARD_ERRORS as error:
            raise ValueError(f"layers: {type(model).__name__} cannot take images of shape (1, 3, {size}, {size}): "
                             f"{one_line(error)}; choose a size that it accepts") from error


def _layer(name: str, shape: tuple[int, ...], size: int) -> Layer:
    axis = hooks.channel_axis(shape)
    positions = torch.Size(shape).numel() / shape[axis]
    return Layer(name, axis, shape[axis], max(1, 2 ** round(log2(size / sqrt(positions)))))


def sample_images(side: int, n: int | None = None, *, full_height: bool = False, mean: Sequence[float] = IMAGENET[0],
                  std: Sequence[float] = IMAGENET[1]) -> Images:
    """Crop squares from the bundled photographs, one photograph after the other, resized to `side` pixels, normalised.

    n            the number of crops, evenly spread.  All if n is None or exceeds their number
    full_height  the left and the right end of each photograph, instead of 15 windows of half its height

    >>> sample_images(96, 6).shape
    torch.Size([6, 3, 96, 96])
    """
    crops = []
    for photo in photographs().values():
        rows, cols = photo.shape[-2:]
        window = min(rows, cols) if full_height else min(rows, cols) // 2
        tops = [0] if full_height else [i * (rows - window) // 2 for i in range(3)]
        lefts = [0, cols - window] if full_height else [i * (cols - window) // 4 for i in range(5)]
        crops += [photo[..., top:top + window, left:left + window] for top in tops for left in lefts]
    n = min(n or len(crops), len(crops))
    resized = [_resize(crops[i * len(crops) // n].float(), side) for i in range(n)]
    return normalise(torch.cat(resized), mean, std)


def normalise(pixels: Tensor, mean: Sequence[float] = IMAGENET[0], std: Sequence[float] = IMAGENET[1]) -> Images:
    """Normalise pixels 0..255 (image, rgb, row, col) as a network expects: (p / 255 - mean) / std for each colour.

    >>> grey = torch.full((1, 3, 1, 1), 127.5)
    >>> normalise(grey, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).flatten().tolist()
    [0.0, 0.0, 0.0]
    """
    return (pixels / 255 - torch.tensor(mean).reshape(-1, 1, 1)) / torch.tensor(std).reshape(-1, 1, 1)


def _resize(images: Images, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def probe(model: nn.Module, layers: Sequence[str] | None = None, *, grid: int = 3, images: Images | None = None,
          size: int = 224, folds: int = 6, recipe: Recipe = RECIPE, batch: int = 32) -> ProbeResult:
    """Measure how well linear heads decode the location of an image from each layer's pooled latent (pages 03 and 04).

    layers  names ("layer4"); see `find_layers` for None
    grid    cells per side of the canvas; every image is placed in each cell.  The side of a cell is a multiple of the
            layers' stride, so a network that cannot encode location gives the same latent in every cell
    images  (image, rgb, row, col), resized to a cell; `sample_images` if None.  Similar images should be neighbours
    size    side of the canvas in pixels; the cells are centred on it
    folds   contiguous parts of the images; heads are tested on one part after training on the others
    recipe  of the heads' training
    batch   canvases per forward pass

    The heads read all channels: *in_order*; *shuffled* anew in every batch, the control without channel order; and
    in order for *permuted_labels*, the control that cannot beat chance.
    ValueError for fewer images than folds, a grid too fine for the layers' stride, unknown layers, and latents that
    are not finite.

    >>> result = probe(resnet18(), ["layer4"], images=sample_images(32, 6), size=96, folds=2)
    >>> result.accuracy[["layer", "head", "chance"]].round(1)
        layer             head  chance
    0  layer4         in_order    11.1
    1  layer4         shuffled    11.1
    2  layer4  permuted_labels    11.1
    >>> result.place_fields["layer4"].shape
    torch.Size([512, 3, 3])
    """
    layers = find_layers(model, layers, size=size)
    stride = max(layer.stride for layer in layers)
    cell = size // grid // stride * stride if grid > 0 else 0
    if grid < 2 or cell == 0:
        raise ValueError(f"probe: a {grid}x{grid} grid was requested; a canvas of {size} pixels with stride {stride} "
                         f"allows 2 to {size // stride} cells per side")
    patches = sample_images(cell) if images is None else _resize(images, cell)
    if not 2 <= folds <= len(patches):
        raise ValueError(f"probe: {folds} folds of {len(patches)} images were requested; choose at least 2 folds, and "
                         "at least as many images as folds")
    image, location = torch.cartesian_prod(torch.arange(len(patches)), torch.arange(grid ** 2)).T
    batches = list(zip(image.split(batch), location.split(batch), strict=True))
    canvases = (_centred(canvas.place(patches[i], at, grid), size) for i, at in progress.bar(batches, "canvases"))
    latents = _pooled_latents(model, layers, canvases)
    rows = []
    for fold, part in enumerate(torch.arange(len(patches)).tensor_split(folds)):
        test = torch.isin(image, part)
        rows += decoding.decode([z[~test] for z in latents], location[~test], [z[test] for z in latents],
                                location[test], cells=grid ** 2, recipe=recipe, seed=fold, heads=HEADS)
    by_fold = pd.DataFrame(rows).groupby(["layer", "head"], sort=False)["accuracy"]
    percent = {key: 100 * accuracy.to_numpy() for key, accuracy in by_fold}
    table = []
    for (number, head), values in percent.items():
        layer, z = layers[number - 1], latents[number - 1]
        mean, low, high = metrics.mean_interval(values)
        margin, margin_low, _ = metrics.mean_interval(values - percent[number, "shuffled"])
        ceiling = 100 * decoding.n_distinguishable_cells(z[image == 0]) / grid ** 2
        table.append({"layer": layer.name, "channels": layer.channels, "head": head, "mean": mean, "low": low,
                      "high": high, "n": folds, "chance": 100 / grid ** 2, "margin": margin, "margin_low": margin_low,
                      "ceiling": ceiling})
    place_fields, variance_explained = {}, {}
    for layer, z in zip(layers, latents, strict=True):
        place_fields[layer.name], explained = metrics.place_fields(z, location, grid)
        variance_explained[layer.name] = explained.nan_to_num(0.0, posinf=0.0).clamp(0, 1)
    return ProbeResult(pd.DataFrame(table), place_fields, variance_explained, layers, grid, cell, size, len(patches))


def _centred(images: Images, size: int) -> Tensor:
    """Centre the images on an empty square of `size` pixels."""
    rows, cols = (size - n for n in images.shape[-2:])
    return pad(images, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))


def _pooled_latents(model: nn.Module, layers: Sequence[Layer], batches: Iterable[Tensor]) -> list[Tensor]:
    """z (image, channel) of each layer, on the CPU."""
    latents = _reduce_outputs(model, layers, batches, lambda f: _pool(f).float())
    for layer, z in zip(layers, latents, strict=True):
        if not z.isfinite().all():
            raise ValueError(f"probe: layer {layer.name} outputs values that are not finite, so it cannot be probed; "
                             "name other layers, or load other weights")
    return latents


def _reduce_outputs(model: nn.Module, layers: Sequence[Layer], batches: Iterable[Tensor],
                    reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """reduce(f) of each layer's output f (batch, channel, ...), concatenated over the batches, on the CPU.

    Of a layer that runs more than once per forward pass, the first output counts.
    """
    like = next(model.parameters(), torch.zeros(()))
    reduced: list[list[Tensor]] = [[] for _ in layers]
    with hooks.eval_and_restore(model):
        for images in batches:
            with ExitStack() as stack:
                outputs = [stack.enter_context(hooks.captured(model, layer.name, _channels_first(layer.axis, reduce)))
                           for layer in layers]
                model(images.to(like))
            for parts, output in zip(reduced, outputs, strict=True):
                parts.append(output[0].cpu())
    return [torch.cat(parts) for parts in reduced]


def _channels_first(axis: int, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda output: function(output.movedim(axis, 1))


def _pool(f: Tensor) -> Latents:
    """f (batch, channel, ...) -> z (batch, channel), averaged over positions."""
    return f.flatten(2).mean(-1)


def rank(model: nn.Module, layer: str, images: Images, rule: str = "flip", *, batch: int = 16
         ) -> tuple[Int[Tensor, " channel"], Float[Tensor, " channel"]]:
    """Rank the channels of a layer; returns the channels, highest response first, and the responses in channel order.

    images  (image, rgb, side, side), square and as large as the network takes them, on any device
    rule    "flip" (ICCV 2021, Eq. 2), "shift" or "rms_activation", in units of the activation; "decodability", the
            fraction of variance that the cell of a 3x3 canvas explains; or a region ("left", "right", "top", "bottom",
            "centre", "periphery"), by the signed response.  See `measure.channels`, and page 06 for what they measure

    >>> channels, response = rank(resnet18(), "layer4", sample_images(96, 4), "flip")
    >>> bool(response[channels[0]] == response.max())
    True
    """
    check_choice("rule", rule, RULES)
    (found,) = find_layers(model, [layer], size=images.shape[-1])
    like = next(model.parameters(), torch.zeros(()))

    def flatten_positions(output: Tensor) -> Tensor:
        return output.movedim(found.axis, 1).flatten(2)[..., None].clone()

    def features(x: Images) -> Tensor:   # (batch, channel, position, 1)
        with hooks.captured(model, layer, flatten_positions) as outputs:
            model(_centred(x, images.shape[-1]))
        return outputs[0].float()

    def encode(x: Images) -> Latents:
        return features(x).mean((-2, -1))

    batches = (x.to(like) for x in images.split(batch))   # one device from here on
    with hooks.eval_and_restore(model):
        if rule == "rms_activation":
            response = measure_channels.rms_activation(features, batches)
        elif rule == "decodability":
            response = measure_channels.decodability(encode, batches, stride=found.stride)
        elif rule in measure_channels.REGIONS:
            change, sign = measure_channels.REGIONS[rule]
            response = sign * measure_channels.mean_response(encode, batches, change, signed=True)
        else:
            changes = {"flip": measure_channels.flip_horizontally, "shift": measure_channels.roll_half_width}
            response = measure_channels.mean_response(encode, batches, changes[rule])
    response = response.cpu()
    return measure_channels.top_channels(response, len(response)), response


def attack(model: nn.Module, layer: str, targets: Sequence[int] | Tensor, evaluate: Callable[[nn.Module], float], *,
           draws: int = 20, seed: int = 0, rms_activation: Float[Tensor, " channel"] | None = None,
           axis: int | None = None) -> pd.DataFrame:
    """Score a network with the `targets` of a layer ablated, and with as many random channels ablated.

    evaluate        network -> score; must run the layer
    draws           the number of random sets
    rms_activation  each channel's (see `rank`); adds random sets matched to the targets in RMS activation
    axis            that counts the layer's channels; if None, the last of (batch, token, channel), otherwise 1
    Returns one row per ablation, "none", "targets", "random" and "rms_matched": ablated, mean score, low and high (the
    range of 95 percent of the sets; nan for a single set), n sets, and harm, the mean drop of the score.
    ValueError if a channel does not exist, and if `evaluate` does not run the layer.

    >>> net, images = resnet18(), sample_images(96, 4)
    >>> channels, _ = rank(net, "layer4", images)
    >>> table = attack(net, "layer4", channels[:256], lambda net: net(images).std(), draws=5)
    >>> table[["ablated", "n"]]
       ablated  n
    0     none  1
    1  targets  1
    2   random  5
    """
    with hooks.eval_and_restore(model):
        with hooks.captured(model, layer, lambda output: output[:0]) as outputs:
            baseline = float(evaluate(model))
        if not outputs:
            raise ValueError(f"attack: `evaluate` did not run layer {layer}, so ablating it has no effect; choose a "
                             "layer that it runs")
        if axis is None:
            axis = 2 if outputs[0].ndim == 3 else 1
        n_channels = outputs[0].shape[axis]
        targets = torch.as_tensor(targets, dtype=torch.long)
        sets = {"targets": [targets], "random": measure_channels.random_sets(n_channels, len(targets), draws, seed)}
        if rms_activation is not None:
            sets["rms_matched"] = measure_channels.rms_matched_sets(rms_activation, targets, draws, seed)
        scores = {"none": [baseline]}
        for name, channel_sets in sets.items():
            scores[name] = []
            for channels in progress.bar(channel_sets, f"ablating {name}"):
                with hooks.ablated(model, layer, channels, axis):
                    scores[name].append(float(evaluate(model)))
    rows = []
    for name, values in scores.items():
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) > 1 else (nan, nan)
        rows.append({"ablated": name, "mean": np.mean(values), "low": low, "high": high, "n": len(values),
                     "harm": baseline - np.mean(values)})
    return pd.DataFrame(rows)


def padding_report(model: nn.Module, images: Images | None = None, *, size: int = 224,
                   modes: Sequence[str] = tuple(PADDING_MODES)) -> PaddingReport:
    """Report what a network pads with, how much each layer responds to the border, and how the padding mode changes it.

    images  (image, rgb, side, side); full-height `sample_images` of `size` pixels if None
    modes   padding modes to run the convolutions with, see `padding.set_padding_mode`; the network's own are restored

    A network whose convolutions all pad circularly cannot encode where an image is, unless something else responds to
    the border: max-pooling, which pads with minus infinity, padding inside a forward method, or an added positional
    encoding.  `PaddingReport.leak` names the first such layer.  Covers every layer, not only the stages.

    >>> report = padding_report(resnet18(), sample_images(96, 2), modes=("circular",))
    >>> report.leak("as_built"), report.leak("circular")
    ('conv1', 'maxpool')
    """
    images = sample_images(size, full_height=True) if images is None else images
    size = images.shape[-1]
    stride = max(layer.stride for layer in find_layers(model, size=size))
    layers = [_layer(name, shape, size) for name, shape in _trace(model, size).items()]
    shift = stride * max(1, size // stride // 2)
    shifted = images.roll((shift, shift), (-2, -1))
    rows, refused = [], {}
    for mode in (AS_BUILT, *modes):
        try:
            with nullcontext() if mode == AS_BUILT else padding.switched(model, mode):
                original = _reduce_outputs(model, layers, images.split(4), _border_energy_and_latent)
                moved = _reduce_outputs(model, layers, shifted.split(4), lambda f: _pool(f.double()))
        except ValueError as error:
            refused[mode] = str(error)
            continue
        for layer, measured, z_shifted in zip(layers, original, moved, strict=True):
            energy, z = measured[:, 0], measured[:, 1:]
            finite = energy[energy.isfinite()].tolist()
            mean, low, high = metrics.mean_interval(finite) if finite else (nan, nan, nan)
            change = (z_shifted - z).norm(dim=1) / z.norm(dim=1)
            rows.append({"layer": layer.name, "padding_mode": mode, "energy": mean, "low": low, "high": high,
                         "n": len(finite), "shift_sensitivity": float(change.nan_to_num(0.0).mean())})
    operations = [{"layer": name, "operation": type(module).__name__, "fills": fills}
                  for name, module in model.named_modules() if (fills := padding.border_fill(module))]
    return PaddingReport(pd.DataFrame(operations, columns=["layer", "operation", "fills"]), pd.DataFrame(rows), refused)


def _border_energy_and_latent(f: Tensor) -> Tensor:
    """(image, 1 + channel), float64: border energy (nan for tokens and maps without interior), then pooled latent."""
    f = f.double()
    has_interior = f.ndim == 4 and min(f.shape[-2:]) > 2
    energy = metrics.border_energy(f) if has_interior else f.new_full((len(f),), nan)
    return torch.cat([energy[:, None], _pool(f)], 1)
