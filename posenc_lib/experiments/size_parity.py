"""How much of the flip response is due to the sampling?  Every width of one period, for page 06.

Source: the flip response is Eq. 2 of Islam et al., ICCV 2021; that a stride reads its padding unevenly at most sizes is
from Alsallakh et al., "Mind the Pad", ICLR 2021.
"""
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images, Latents
from posenc_lib.data import registry
from posenc_lib.data.imageset import IMAGENET, ImageSet
from posenc_lib.experiments.encoders import (
    EncoderConfig,
    build_encoder,
    encoder_of,
    imagenet_configs,
    seeded,
)
from posenc_lib.experiments.region_attack import symmetrised
from posenc_lib.measure import channels
from posenc_lib.nets import classifiers
from posenc_lib.nets.heads import gap
from posenc_lib.nets.pretrained import Encoder, small_vgg
from posenc_lib.run import training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record

TOP = 0.1   # fraction of the channels whose overlap is counted


@dataclass(frozen=True, kw_only=True)
class ParityConfig:
    """Flip responses of the last stage of one frozen network, at every width from `narrowest` to `widest`.

    data       fingerprint of the images
    encoder    the network.  With a width, "resnet18" is `classifiers.ResNet18` and "vgg" is `classifiers.vgg`
    images     number of images, drawn by the seed
    rows       in pixels; images are cropped at their centre
    narrowest, widest  range of widths in pixels.  The ranking at each width is compared with that at the widest
    revision   raised by hand whenever a change alters this experiment's numbers
    """
    profile: str
    dataset: str
    data: str
    encoder: EncoderConfig
    images: int = 8
    rows: int = 64
    narrowest: int = 209
    widest: int = 225
    revision: int = 1


IMAGES = {"smoke": {"images": 2, "rows": 32}, "quick": {"images": 6, "rows": 32}, "paper": {"images": 8, "rows": 64}}
PERIOD = 16   # columns, after which the arithmetic of four halvings repeats
TRAINED = {   # the small ResNet-18, trained to name crops of photographs, of an even size as is usual
    "smoke": {"width": 4, "crop": 32, "recipe": Recipe(epochs=1, epoch_steps=2, batch_size=8)},
    "quick": {"width": 8, "crop": 32, "recipe": Recipe(epochs=1, epoch_steps=30, batch_size=16)},
    "paper": {"width": 8, "crop": 64, "recipe": Recipe(epochs=1, epoch_steps=200, batch_size=16)},
}
SEEDS = {"smoke": 1, "quick": 1, "paper": 3}


def plan(profile: str, images: ImageSet, files: Mapping[str, str], root: Path | str) -> list[ParityConfig]:
    """List the runs: a small ResNet-18, trained and untrained, an untrained VGG, and the ImageNet networks in `files`
    (`pretrained.parse_encoders`), each also untrained.

    images  that are mirrored, at least 33 columns wide
    root    folder of image sets and weights
    """
    small = TRAINED[profile]
    widest = (images.images.shape[-1] - 1) // 32 * 32 + 1   # symmetric in networks that halve odd widths five times
    photographs = _training_images("photos", root, small["crop"])
    imagenet = imagenet_configs(dict(files), root)
    encoders = [EncoderConfig(net="resnet18", source="photos", data=photographs.fingerprint, **small),
                EncoderConfig(net="resnet18", width=small["width"]), EncoderConfig(net="vgg", width=small["width"]),
                *imagenet, *(EncoderConfig(net=c.net) for c in imagenet)]
    return [ParityConfig(profile=profile, dataset=images.name, data=images.fingerprint, encoder=c,
                         narrowest=widest - PERIOD, widest=widest, **IMAGES[profile]) for c in encoders]


@lru_cache(maxsize=1)
def _training_images(name: str, root: Path | str, size: int) -> ImageSet:
    return registry.load(name, root, size=size, validation=0.0).train


@dataclass(frozen=True)
class Inputs:
    """What runs read besides their configuration.

    images  at least as large as the configuration's `rows` and `widest`
    root    folder of image sets and weights
    files   ImageNet networks and their weights, see `pretrained.parse_encoders`
    """
    images: ImageSet = field(compare=False)
    root: Path
    files: Mapping[str, str] = field(compare=False)
    device: torch.device


def build(c: EncoderConfig, seed: int, inputs: Inputs) -> Encoder:
    """Build the frozen network that `c` describes; initial weights and training draw from `seed`."""
    if c.width is None:
        return build_encoder(c, seed, inputs.root, inputs.files.get(c.net, ""))
    train = None if c.source == "random" else _training_images(c.source, inputs.root, c.crop)
    labels = len(train.classes) if train else 1
    with seeded(seed):
        if c.net == "vgg":
            net = classifiers.vgg(labels, c.width)
        else:
            net = classifiers.permutenet(labels, permutation="none", width=c.width)
        if train:
            training.fit(net, train, _cross_entropy, c.recipe, seed=seed)
    return small_vgg(net) if c.net == "vgg" else Encoder(net.eval(), ("layer4",), *IMAGENET)


def _cross_entropy(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
    return cross_entropy(net(images), labels)


def mirrored(net: nn.Module) -> nn.Module:
    """Mirror every kernel of a network left to right, in place."""
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.data = conv.weight.data.flip(-1)
    return net


@torch.no_grad()
def uneven_layers(net: nn.Module, images: Images) -> list[str]:
    """Names of the convolutions and pools whose windows do not lie symmetrically on the columns of their input.

    Of n columns, m windows of k columns in steps of s, with p padded columns on the left, reach (m - 1) s + k - p - n
    beyond the right end: the layer is uneven if that is not p.  With p on both sides, that is a division
    (n + 2p - k) / s with a remainder.
    Layers that are functions rather than modules, and adaptive pools, are not detected.
    """
    uneven = []

    def look(name: str, layer: nn.Module, columns: int, windows: int) -> None:
        step, kernel = _columns(layer.stride), _columns(layer.kernel_size)
        reach = (windows - 1) * step + _columns(getattr(layer, "dilation", 1)) * (kernel - 1) + 1
        pads_itself = isinstance(layer, Conv2dSame)   # with what is missing, the odd column on the right
        left = max(reach - columns, 0) // 2 if pads_itself else _columns(layer.padding)
        if reach - left - columns != left:
            uneven.append(name)

    with ExitStack() as stack:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
                handle = layer.register_forward_hook(
                    lambda layer, given, output, name=name: look(name, layer, given[0].shape[-1], output.shape[-1]))
                stack.callback(handle.remove)
        net(images)
    return uneven


def _columns(value: int | tuple[int, int]) -> int:
    return value[1] if isinstance(value, tuple) else value


def relative(difference: Float[Tensor, "image channel"], z: Latents) -> float:
    """Mean absolute difference of pooled latents, in units of their standard deviation over images.

    Both are averaged over channels before the division, because a silent channel has no spread.
    """
    return float(difference.abs().mean() / z.std(0).mean())


def crop(images: Images, rows: int, columns: int) -> Float[Tensor, "batch rgb {rows} {columns}"]:
    """Cut the centre out of images, the odd pixel from the right and below.  ValueError if they are smaller."""
    have = images.shape[-2:]
    if rows > have[0] or columns > have[1]:
        raise ValueError(f"crop: {rows}x{columns} pixels were requested, but the images have {have[0]}x{have[1]}; load "
                         "larger images")
    top, left = (have[0] - rows) // 2, (have[1] - columns) // 2
    return images[..., top:top + rows, left:left + columns]


def run(c: ParityConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *, inputs: Inputs) -> dict:
    """Measure one network at every width.  -> results of the record

    channels  of the stage
    halves    rank correlation of the flip responses on either half of the images, at `widest`
    rows      a dict for each width, with differences relative to the spread over images (`relative`):

    columns           the width
    uneven            number of layers whose windows lie unevenly on it
    flip              z(x) - z(flip x), the flip response
    mirrored_network  z(x) - z'(flip x), where the kernels of z' are those of z, mirrored.  Whatever the kernels, this
                      is 0 if no layer is uneven: it is the effect of the sampling
    symmetrised_flip  the flip response with each kernel averaged with its mirror image, for which both coincide
    spearman, overlap rank correlation of the flip response with that at `widest`, and the fraction of the top tenth of
                      the channels that both share
    A seed determines the images and, unless it has ImageNet weights, the network.
    """
    encoder = build(c.encoder, seed, inputs)
    order = torch.randperm(len(inputs.images), generator=torch.Generator().manual_seed(seed))[:c.images]
    chosen = encoder.view(inputs.images.take(order.to(inputs.images.images.device)).to(inputs.device))
    images = chosen.normalise(chosen.images)
    nets = [change(deepcopy(encoder.net)).to(inputs.device) for change in (nn.Identity(), mirrored, symmetrised)]
    own, mirror, symmetric = (_pooled(Encoder(net, encoder.stages[-1:], encoder.mean, encoder.std)) for net in nets)
    rows, responses = [], []
    for columns in range(c.narrowest, c.widest + 1):
        x = crop(images, c.rows, columns)
        flipped = channels.flip_horizontally(x)
        z, z_flipped, z_mirror, s, s_flipped = (
            encode(view) for encode, view in ((own, x), (own, flipped), (mirror, flipped), (symmetric, x),
                                              (symmetric, flipped)))
        changes = (z - z_flipped).abs()
        responses.append(changes.mean(0))
        rows.append({"columns": columns, "uneven": len(uneven_layers(nets[0], x[:1])),
                     "flip": relative(z - z_flipped, z), "mirrored_network": relative(z - z_mirror, z),
                     "symmetrised_flip": relative(s - s_flipped, s)})
    halves = channels.rank_correlation(*(half.mean(0) for half in changes.tensor_split(2)))
    n = max(1, round(TOP * len(responses[-1])))
    top = channels.top_channels(responses[-1], n)
    for row, response in zip(rows, responses, strict=True):
        row["spearman"] = channels.rank_correlation(response, responses[-1])
        row["overlap"] = channels.overlap(channels.top_channels(response, n), top) / n
    return {"rows": rows, "channels": len(responses[-1]), "halves": halves}


def _pooled(encoder: Encoder) -> Callable[[Images], Latents]:
    return lambda images: gap(encoder(images)[0]).double()


def parity_frame(runs: Sequence[Record]) -> pd.DataFrame:
    """Tabulate runs, a row per network, seed and width; `network` is the key of the encoder."""
    return pd.DataFrame([{"network": encoder_of(record.config["encoder"]).key, "seed": record.seed,
                          "halves": record.results["halves"], **row}
                         for record in runs for row in record.results["rows"]])


def parity_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare the widths without an uneven layer with the rest, a row per network and seed.

    symmetric          the widths without one, as text
    flip_symmetric, flip_uneven  mean flip response over the widths of either kind, nan without any
    sampling           mean of `mirrored_network` over the uneven ones
    at_symmetric       largest `mirrored_network` or `symmetrised_flip` over the symmetric ones: rounding only
    spearman, overlap  of the rankings at the widest width and at the nearest one of the other kind
    halves             rank correlation between rankings on either half of the images
    """
    rows = []
    for (network, seed), run_rows in frame.groupby(["network", "seed"], sort=False):
        even = run_rows["uneven"] == 0
        symmetric, uneven = run_rows[even], run_rows[~even]
        other = run_rows[even != even.loc[run_rows["columns"].idxmax()]]
        nearest = other.loc[other["columns"].idxmax()] if len(other) else pd.Series(dtype=float)
        rows.append({
            "network": network, "seed": seed, "symmetric": ", ".join(symmetric["columns"].astype(str)),
            "flip_symmetric": symmetric["flip"].mean(), "flip_uneven": uneven["flip"].mean(),
            "sampling": uneven["mirrored_network"].mean(),
            "at_symmetric": symmetric[["mirrored_network", "symmetrised_flip"]].max(axis=None),
            "spearman": nearest.get("spearman"), "overlap": nearest.get("overlap"),
            "halves": run_rows["halves"].iloc[0],
        })
    return pd.DataFrame(rows)
