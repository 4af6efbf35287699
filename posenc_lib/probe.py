"""Probe any network for position: which layers and channels encode it, where it comes from, what breaks without it.

Page 08 walks through the four functions: `probe`, `rank`, `attack` and `padding_report`.

A network is any `nn.Module` that takes square images (batch, rgb, row, col).  A layer is any of its submodules that
outputs feature maps, (batch, channel, row, col) or (batch, row, col, channel), or tokens, (batch, token, channel).  The
network runs in evaluation mode and is restored afterwards, also after an error: weights, buffers, training flags and
hooks.  Images are float tensors on any device, normalised the way the network expects.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from math import isnan, nan

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice
from posenc_lib.base.modules import like, modules, named_modules
from posenc_lib.base.shapes import Images, Latents
from posenc_lib.data.bundled import photographs
from posenc_lib.data.imageset import IMAGENET
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import hooks, padding, tracing
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import decoding
from posenc_lib.run.config import Recipe

RECIPE = Recipe(epochs=1, epoch_steps=200, batch_size=128, learning_rate=1e-2, flip=False)   # of page 04's heads
HEADS = {name: decoding.HEADS[name] for name in ("in_order", "shuffled", "permuted_labels")}
RULES = ("flip", "shift", "decodability", "rms_activation", *measure_channels.REGIONS)
AS_BUILT = "as_built"   # the padding mode of a network that is run unchanged

# A shift sensitivity of at most this is float32 rounding: without a response to the border, convolutional networks of
# 18 to 152 layers gave exactly 0, and vision transformers at most 2e-7.
MIN_SENSITIVITY = 5e-7


@dataclass(frozen=True)
class Layer:
    """A layer's output, as traced in a forward pass.

    axis      that counts channels
    channels  the number of channels
    stride    image pixels by which an image has to move for the map to move by whole positions: the total stride
    shape     of the output for one image, without the batch
    """
    name: str
    axis: int
    channels: int
    stride: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ProbeResult:
    """Result of `probe`.

    accuracy  one row per layer and head: layer, channels, head; mean, low, high (percent; mean and Student's t interval
              over n folds of images), n, chance; ceiling, an upper bound for any head; margin and margin_low, the mean
              and lower bound of the difference to the shuffled head, fold by fold
    place_fields        layer -> (channel, grid, grid), each channel's mean response by cell
    variance_explained  layer -> (channel,), the fraction of a channel's variance that the cell explains, 0..1
    layers    probed, shallow to deep
    grid      cells per side
    cell, size  side of a cell and of the canvas in pixels
    n_images  the number of images, each placed in every cell
    draws     the layers whose output differs between two passes over one image: the network draws random numbers in
              evaluation mode, or keeps a state
    single    the images were run one at a time, since the network takes a single one, or mixes those of a batch
    """
    accuracy: pd.DataFrame
    place_fields: dict[str, Tensor]
    variance_explained: dict[str, Tensor]
    layers: list[Layer]
    grid: int
    cell: int
    size: int
    n_images: int
    draws: list[str]
    single: bool


@dataclass(frozen=True)
class PaddingReport:
    """Result of `padding_report`.

    operations  one row per layer that pads its input: layer, operation, fills (see `padding.border_fill`)
    layers      one row per layer and padding mode (`AS_BUILT`, then each requested mode): layer, padding_mode; energy,
                low, high (border energy, a log2 ratio; mean and Student's t interval over n images; nan for a map
                without interior); shift_sensitivity, the relative change of the pooled latent when the image is rolled
                by a multiple of the stride: 0 where the layer does not respond to the border, nan where this cannot be
                determined
    refused     padding mode -> why the network cannot run with it
    undetermined  layer -> why its shift sensitivity is nan in every mode
    size        side of the images in pixels, see `fitting_size`
    rounding    a shift sensitivity of at most this is rounding: `MIN_SENSITIVITY`, more for a network in half precision
    """
    operations: pd.DataFrame
    layers: pd.DataFrame
    refused: dict[str, str]
    undetermined: dict[str, str]
    size: int
    rounding: float = MIN_SENSITIVITY

    def leak(self, padding_mode: str = "circular") -> str | None:
        """The first layer, in execution order, that responds to the border under `padding_mode`.

        None if none does, except for layers that are `undetermined`.
        """
        rows = self.layers[self.layers["padding_mode"] == padding_mode]
        sensitive = rows[rows["shift_sensitivity"] > self.rounding]
        return None if sensitive.empty else sensitive["layer"].iloc[0]


def find_layers(model: nn.Module, names: Sequence[str] | None = None, *, size: int = 224) -> list[Layer]:
    """Find the named layers, or without names those of `tracing.stages`; in execution order.

    ValueError if a name does not exist or its layer outputs no feature map (the message lists those that do), and if
    the network cannot take square images of `size` pixels.

    >>> [layer.name for layer in find_layers(resnet18())]
    ['relu', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    return _select(model, _trace(model, size), names)


def _trace(model: nn.Module, size: int, channels: int = 3) -> tracing.Trace:
    """`tracing.trace` on two images of uniform noise."""
    with hooks.eval_and_restore(model), _takes(model, channels):
        return tracing.trace(model, _noise(model, 2, size, channels))


def _noise(model: nn.Module, n: int, size: int, channels: int) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0), device="cpu").to(like(model))


@contextmanager
def _takes(model: nn.Module, channels: int) -> Iterator[None]:
    """Add to an error of the forward pass that the network's first convolution takes another number of channels."""
    try:
        yield
    except ValueError as error:
        first = next((m.in_channels for m in modules(model) if isinstance(m, nn.Conv2d)), channels)
        if first == channels:
            raise
        advice = f"its first convolution takes {first} channels: wrap it in a module that makes them from {channels}"
        raise ValueError(str(error).replace(hooks.ADVICE, advice)) from error


def _select(model: nn.Module, trace: tracing.Trace, names: Sequence[str] | None) -> list[Layer]:
    kind, shapes = type(model).__name__, {name: output.shape for name, output in trace.outputs.items()}
    stages = tracing.stages(model, {name: shape for name, shape in shapes.items() if name not in trace.fixed} or shapes)
    if not stages:
        raise ValueError(f"layers: no layer of {kind} outputs a feature map (batch, channel, row, col) or tokens "
                         "(batch, token, channel) of floating-point numbers with more than one position")
    first_names = {module: name for name, module in named_modules(model)}
    chosen = {name: first_names[hooks.layer(model, name)] for name in names or stages}   # a layer may have many names
    for name, first in chosen.items():
        if first not in shapes:
            problem = "does not run in the forward pass" if first in trace.idle else "outputs no feature map"
            raise ValueError(f"layers: {name} of {kind} {problem}; layers that do include {', '.join(stages)}")
    order = list(shapes)
    return [_layer(name, trace.outputs[first])
            for name, first in sorted(chosen.items(), key=lambda item: order.index(item[1]))]


def _layer(name: str, output: tracing.Output) -> Layer:
    axis = tracing.channel_axis(output.shape)
    assert axis is not None   # a trace has feature maps only
    return Layer(name, axis, output.shape[axis], output.stride, output.shape[1:])


def fitting_size(model: nn.Module, size: int, channels: int = 3) -> int:
    """The side nearest to `size` at which the effect of a shift can be distinguished from a response to the border.

    It is a multiple of the network's total stride: for a `size` of 224, it is 224 for a stride of 16 or 14, and 225
    for 9.  At another size, the grid of positions does not close when the image wraps round, so even a network that
    ignores the border changes under a circular shift.  `size` itself if the network takes no such image.  ValueError
    if it does not take one of `size` pixels either.

    >>> fitting_size(resnet18(), 100)
    96
    """
    with hooks.eval_and_restore(model):
        def stride(side: int) -> int:
            return tracing.total_stride(model, _noise(model, 1, side, channels))

        with _takes(model, channels):
            side, step = size, stride(size)
        for _ in range(3):   # small maps may hide the stride, so that a larger image has another
            if side % step == 0 and side >= 2 * step:
                return side
            side = step * max(2, round(size / step))
            try:
                step = stride(side)
            except ValueError:
                break
    return size


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
    size    side of the canvas in pixels, see `fitting_size`; the cells are centred on it
    folds   contiguous parts of the images; heads are tested on one part after training on the others
    recipe  of the heads' training
    batch   canvases per forward pass; one for a network that takes a single image, or mixes those of a batch

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
    rgb = 3 if images is None else _check_images("probe", images).shape[1]
    size = fitting_size(model, size, rgb)
    trace = _trace(model, size, rgb)
    probed = _select(model, trace, layers)
    batch = 1 if trace.single else batch
    stride = max(layer.stride for layer in probed)
    cell = size // grid // stride * stride if grid > 0 else 0
    if grid < 2 or cell == 0:
        allowed = f"2 to {size // stride} cells per side" if size // stride > 1 else "none"
        raise ValueError(f"probe: a {grid}x{grid} grid was requested; a canvas of {size} pixels with stride {stride} "
                         f"allows {allowed}: choose another grid, larger images, or layers of a smaller stride")
    patches = sample_images(cell) if images is None else _resize(images, cell)
    if not 2 <= folds <= len(patches):
        raise ValueError(f"probe: {folds} folds of {len(patches)} images were requested; choose at least 2 folds, and "
                         "at least as many images as folds")
    image, location = torch.cartesian_prod(torch.arange(len(patches)), torch.arange(grid ** 2)).T
    batches = list(zip(image.split(batch), location.split(batch), strict=True))
    canvases = (_centred(canvas.place(patches[i], at, grid), size) for i, at in progress.bar(batches, "canvases"))
    latents = _pooled_latents(model, probed, canvases)
    rows = []
    for fold, part in enumerate(torch.arange(len(patches)).tensor_split(folds)):
        test = torch.isin(image, part)
        with torch.enable_grad():   # also for a caller who has switched it off
            rows += decoding.decode([z[~test] for z in latents], location[~test], [z[test] for z in latents],
                                    location[test], cells=grid ** 2, recipe=recipe, seed=fold, heads=HEADS)
    by_fold = pd.DataFrame(rows).groupby(["layer", "head"], sort=False)["accuracy"]
    percent = {key: 100 * accuracy.to_numpy() for key, accuracy in by_fold}
    table = []
    for (number, head), values in percent.items():
        layer, z = probed[number - 1], latents[number - 1]
        mean, low, high = metrics.mean_interval(values)
        margin, margin_low, _ = metrics.mean_interval(values - percent[number, "shuffled"])
        ceiling = 100 * decoding.n_distinguishable_cells(z[image == 0]) / grid ** 2
        table.append({"layer": layer.name, "channels": layer.channels, "head": head, "mean": mean, "low": low,
                      "high": high, "n": folds, "chance": 100 / grid ** 2, "margin": margin, "margin_low": margin_low,
                      "ceiling": ceiling})
    place_fields, variance_explained = {}, {}
    for layer, z in zip(probed, latents, strict=True):
        place_fields[layer.name], explained = metrics.place_fields(z, location, grid)
        variance_explained[layer.name] = explained.nan_to_num(0.0, posinf=0.0).clamp(0, 1)
    return ProbeResult(pd.DataFrame(table), place_fields, variance_explained, probed, grid, cell, size, len(patches),
                       [name for name in trace.outputs if name in trace.draws], trace.single)


def _check_images(caller: str, images: Tensor) -> Images:
    """The images; ValueError unless they are at least one, square, and of floating-point numbers."""
    if images.ndim != 4 or not len(images) or images.shape[2] != images.shape[3] or not images.is_floating_point():
        raise ValueError(f"{caller}: images of shape {tuple(images.shape)} and type {images.dtype} were given; give a "
                         "float tensor (image, rgb, side, side) of square, normalised images")
    return images


def _centred(images: Images, size: int) -> Tensor:
    """Centre the images on an empty square of `size` pixels."""
    rows, cols = (size - n for n in images.shape[-2:])
    return pad(images, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))


def _pooled_latents(model: nn.Module, layers: Sequence[Layer], batches: Iterable[Tensor]) -> list[Tensor]:
    """z (image, channel) of each layer, on the CPU."""
    latents = _reduce_outputs(model, layers, batches, lambda f: tracing.pool(f).float())
    for layer, z in zip(layers, latents, strict=True):
        if not z.isfinite().all():
            raise ValueError(f"probe: layer {layer.name} outputs values that are not finite, so it cannot be probed; "
                             "name other layers, or load other weights")
    return latents


def _reduce_outputs(model: nn.Module, layers: Sequence[Layer], batches: Iterable[Tensor],
                    reduce: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """reduce(f) of each layer's output f (batch, channel, ...), concatenated over the batches, on the CPU.

    Of a layer that runs more than once per forward pass, the last output counts that has the layer's traced shape.
    """
    tensor = like(model)
    reduced: list[list[Tensor]] = [[] for _ in layers]
    with hooks.eval_and_restore(model):
        for images in batches:
            for parts, output in zip(reduced, _outputs(model, layers, images.to(tensor), reduce), strict=True):
                parts.append(output.cpu())
    return [torch.cat(parts) for parts in reduced]


def _outputs(model: nn.Module, layers: Sequence[Layer], images: Tensor, reduce: Callable[[Tensor], Tensor]
             ) -> list[Tensor]:
    """reduce(f) of each layer's output f (batch, channel, ...) for one batch."""
    def keep(layer: Layer, output: Tensor) -> Tensor | None:
        return reduce(output.movedim(layer.axis, 1)) if output.shape == (len(images), *layer.shape) else None

    with ExitStack() as stack:
        outputs = [stack.enter_context(hooks.captured(model, layer.name, partial(keep, layer))) for layer in layers]
        hooks.run(model, images)
    last = [[output for output in of_layer if output is not None][-1:] for of_layer in outputs]
    for layer, output in zip(layers, last, strict=True):
        if not output:
            raise ValueError(f"layers: {layer.name} of {type(model).__name__} outputs maps of another shape than "
                             f"{layer.shape} for some images of the same size; name other layers")
    return [output for (output,) in last]


def rank(model: nn.Module, layer: str, images: Images, rule: str = "flip", *, batch: int = 16
         ) -> tuple[Int[Tensor, " channel"], Float[Tensor, " channel"]]:
    """Rank the channels of a layer; returns the channels, highest response first, and the responses in channel order.

    images  (image, rgb, side, side), square and as large as the network takes them, on any device
    rule    "flip" (ICCV 2021, Eq. 2), "shift" or "rms_activation", in units of the activation; "decodability", the
            fraction of variance that the cell of a 3x3 canvas explains (2x2 if the stride allows no more); or a region
            ("left", "right", "top", "bottom", "centre", "periphery"), by the signed response.  See `measure.channels`,
            and page 06 for what they measure
    ValueError for an unknown layer or rule, images of another shape, and responses that are not finite.

    >>> channels, response = rank(resnet18(), "layer4", sample_images(96, 4), "flip")
    >>> bool(response[channels[0]] == response.max())
    True
    """
    check_choice("rule", rule, RULES)
    _, rgb, size, _ = _check_images("rank", images).shape
    trace = _trace(model, size, rgb)
    (found,) = _select(model, trace, [layer])
    tensor = like(model)

    def features(x: Images) -> Tensor:   # (batch, channel, position, 1)
        (f,) = _outputs(model, [found], _centred(x, size), lambda f: f.flatten(2)[..., None].float().clone())
        return f

    def encode(x: Images) -> Latents:
        return features(x).mean((-2, -1))

    batches = (x.to(tensor) for x in images.split(1 if trace.single else batch))   # one device from here on
    with hooks.eval_and_restore(model):
        if rule == "rms_activation":
            response = measure_channels.rms_activation(features, batches)
        elif rule == "decodability":
            k = min(3, max(2, size // found.stride))
            response = measure_channels.decodability(encode, batches, k, found.stride)
        elif rule in measure_channels.REGIONS:
            change, sign = measure_channels.REGIONS[rule]
            response = sign * measure_channels.mean_response(encode, batches, change, signed=True)
        else:
            changes = {"flip": measure_channels.flip_horizontally, "shift": measure_channels.roll_half_width}
            response = measure_channels.mean_response(encode, batches, changes[rule])
    response = response.cpu()
    if not response.isfinite().all():
        raise ValueError(f"rank: layer {layer} outputs values that are not finite, so its channels cannot be ranked; "
                         "name another layer, or load other weights")
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
        kinds: list[tuple[torch.Size, torch.dtype, torch.layout]] = []
        with hooks.captured(model, layer, lambda output: kinds.append((output.shape, output.dtype, output.layout))):
            baseline = float(evaluate(model))
        if not kinds:
            raise ValueError(f"attack: `evaluate` did not run layer {layer}, so ablating it has no effect; choose a "
                             "layer that it runs")
        shape, dtype, layout = kinds[0]
        if len(shape) < 2 or not dtype.is_floating_point or layout is not torch.strided:
            raise ValueError(f"attack: layer {layer} outputs {dtype} of shape {tuple(shape)}, which has no channels to "
                             "ablate; choose a layer that outputs activations (batch, channel, ...)")
        if axis is None:
            axis = 2 if len(shape) == 3 else 1
        n_channels = shape[axis]
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
    rgb, size = (3, size) if images is None else _check_images("padding_report", images).shape[1:3]
    size = fitting_size(model, size, rgb)
    images = sample_images(size, full_height=True) if images is None else _resize(images, size)
    trace = _trace(model, size, rgb)
    layers = [_layer(name, output) for name, output in trace.outputs.items()]
    _select(model, trace, None)   # refuses a network without layers
    undetermined = {
        layer.name: f"its total stride is {layer.stride}, and {size} pixels are not two or more whole strides"
        for layer in layers if size % layer.stride or layer.stride == size}
    undetermined |= dict.fromkeys(trace.draws, "its output differs between two passes over the same image")
    stride = max((layer.stride for layer in layers if size % layer.stride == 0 and layer.stride < size), default=size)
    shift = stride * max(1, size // stride // 2)
    shifted = images.roll((shift, shift), (-2, -1))
    batch = 1 if trace.single else 4
    eps = max(torch.finfo(dtype).eps for dtype in (torch.float32, like(model).dtype))
    rounding = MIN_SENSITIVITY * eps / torch.finfo(torch.float32).eps
    rows, refused = [], {}
    for mode in (AS_BUILT, *modes):
        try:
            with nullcontext() if mode == AS_BUILT else padding.switched(model, mode):
                original = _reduce_outputs(model, layers, images.split(batch), _border_energy_and_moments)
                moved = _reduce_outputs(model, layers, shifted.split(batch), lambda f: tracing.pool(f.double()))
        except ValueError as error:
            if mode == AS_BUILT:
                raise
            refused[mode] = str(error)
            continue
        for layer, measured, z_shifted in zip(layers, original, moved, strict=True):
            energy, (z, rms) = measured[:, 0], measured[:, 1:].chunk(2, 1)
            finite = energy[energy.isfinite()].tolist()
            mean, low, high = metrics.mean_interval(finite) if finite else (nan, nan, nan)
            change = (z_shifted - z).norm(dim=1)
            relative, of_rms = change / z.norm(dim=1), change / rms.norm(dim=1)
            rounded = (change == 0) | (relative > rounding) & (of_rms <= eps)   # z is 0 behind an instance norm
            sensitivity = float(torch.where(rounded, 0.0, relative).mean())
            if isnan(sensitivity):
                undetermined.setdefault(layer.name, "its output is not finite")
            rows.append({"layer": layer.name, "padding_mode": mode, "energy": mean, "low": low, "high": high,
                         "n": len(finite), "shift_sensitivity": nan if layer.name in undetermined else sensitivity})
    operations = [{"layer": name, "operation": type(module).__name__, "fills": fills}
                  for name, module in named_modules(model) if (fills := padding.border_fill(module))]
    return PaddingReport(pd.DataFrame(operations, columns=["layer", "operation", "fills"]), pd.DataFrame(rows), refused,
                         {layer.name: undetermined[layer.name] for layer in layers if layer.name in undetermined},
                         size, rounding)


def _border_energy_and_moments(f: Tensor) -> Tensor:
    """(image, 1 + 2 channel), float64: border energy (nan for tokens and maps without interior), then moments."""
    f = f.double()
    has_interior = f.ndim == 4 and min(f.shape[-2:]) > 2
    energy = metrics.border_energy(f) if has_interior else f.new_full((len(f),), nan)
    return torch.cat([energy[:, None], tracing.moments(f)], 1)
