"""Features of a frozen network on an image set."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from posenc_lib.base import progress
from posenc_lib.base.modules import parameters
from posenc_lib.base.shapes import Features, Labels, Latents
from posenc_lib.data.imageset import ImageSet, Trainable
from posenc_lib.measure import canvas
from posenc_lib.nets import heads
from posenc_lib.nets.pretrained import Encoder

CACHE_LIMIT = 2 * 2 ** 30   # bytes of features cached per image set: 2 GiB hold 930 images of VGG-16


def stacked_features(
    encoder: Encoder, images: ImageSet, *, side: int = 28, batch: int = 32, device: torch.device | str | None = None
) -> tuple[Float[Tensor, "image channel {side} {side}"], list[int]]:
    """Resize the features of all stages to one grid and stack them by channel; also return the channels per stage.

    device  where the features are stored; None is the network's device, or the images' if it has no parameters
    Stored in half precision unless a value overflows it: one image of VGG-16 takes 2.3 MB.  Bilinear with aligned
    corners, as in the released code.  Source: ICLR 2020, Sec. 3.1.
    """
    images, stacked = encoder.view(images), torch.empty(0)
    channels: list[int] = []
    for index in progress.bar(torch.arange(len(images)).split(batch), "features"):
        full, channels = _compute_stacked(encoder, images, index, side)
        half = full.half()
        if not len(stacked):
            stacked = torch.empty(len(images), *full.shape[1:], dtype=half.dtype, device=device or full.device)
        part = half if half.isfinite().all() else full   # a random ResNet-152 overflows half precision
        stacked = stacked.to(torch.promote_types(stacked.dtype, part.dtype))
        stacked[index[0]:index[-1] + 1] = part.to(stacked.device)
    return stacked, channels


@dataclass(frozen=True, eq=False)
class FrozenFeatures(Trainable):
    """Stacked features of an image set in the form `training.fit` trains on; see `frozen_features`.

    images    normalised as the encoder expects them
    cached    output of `stacked_features`, (image, channel, side, side); None runs the encoder on every batch
    selected  indices of the channels that a batch has, see `select_channels`; None is all
    A batch is float32 on the images' device; its labels are the images' labels.
    """
    encoder: Encoder
    images: ImageSet
    side: int
    cached: Tensor | None = None
    selected: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_device(self) -> bool:   # running the encoder in each step keeps a GPU busy without a captured graph
        return self.cached is not None

    def select(self, channels: Tensor) -> "FrozenFeatures":
        """Return the same features, restricted to these channels of the stack."""
        return replace(self, selected=channels)

    def to(self, device: torch.device | str) -> "FrozenFeatures":
        cached, selected = (None if tensor is None else tensor.to(device) for tensor in (self.cached, self.selected))
        return replace(self, images=self.images.to(device), cached=cached, selected=selected)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        device = self.images.images.device
        index = index.to(device)
        if self.cached is None:
            f = _compute_stacked(self.encoder, self.images, index, self.side)[0].to(device)
        else:
            f = self.cached[index]
        if self.selected is not None:
            f = f[:, self.selected.to(device)]
        return f.float(), self.images.labels[index]


def frozen_features(
    encoder: Encoder, images: ImageSet, *, side: int = 28, limit: int = CACHE_LIMIT
) -> tuple[FrozenFeatures, list[int]]:
    """Return the stacked features of an image set, on the images' device, and the channels per stage.

    limit  size in bytes, at half precision, up to which the features are computed once and cached.  Larger sets are
           not cached: the frozen network runs on every batch of every epoch.

    The paper's 10,553 training images would take 24 GB with VGG-16 and 63 GB with ResNet-152.  Uncached, fifteen epochs
    are 158,000 images through a network of 31 or 23 GFLOP per image: an estimated 1 to 2 minutes per readout at 50
    TFLOP/s, with 1.6 GB for the images (uint8, 224 pixels) and less than 4 GB for a batch of 32.
    """
    images = encoder.view(images)
    one, channels = _compute_stacked(encoder, images, torch.arange(1), side)
    if 2 * one.numel() * len(images) > limit:
        return FrozenFeatures(encoder, images, side), channels
    cached, _ = stacked_features(encoder, images, side=side, device=images.images.device)
    return FrozenFeatures(encoder, images, side, cached), channels


def _compute_stacked(encoder: Encoder, images: ImageSet, index: Tensor, side: int) -> tuple[Features, list[int]]:
    """Compute the stacked features of the images at `index`, in full precision on the network's device."""
    pixels, _ = images.batch(index.to(images.images.device))
    features = encoder(pixels.to(_device(encoder, pixels.device)))
    return torch.cat([_resize(f, side) for f in features], 1), [f.shape[1] for f in features]


def _resize(f: Features, side: int) -> Tensor:
    return interpolate(f, (side, side), mode="bilinear", align_corners=True)


def _device(encoder: Encoder, default: torch.device) -> torch.device:
    """Return the device of the network's parameters, or `default` for a network without any, such as `Coordinates`."""
    return next((p.device for p in parameters(encoder.net)), default)


def select_channels(
    channels: Sequence[int], stage: int | None = None, n: int | None = None, *, seed: int = 0
) -> Tensor:
    """Return the indices, in the stack, of the channels that a readout reads.

    channels  channels per stage, as returned by `stacked_features`
    stage     read this stage only, counted from 1; None is all stages
    n         read a random subset of this size, drawn with `seed`; None is all channels
    """
    index = torch.arange(sum(channels))
    if stage:
        index = index.split(list(channels))[stage - 1]
    if n:
        index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:n]]
    return index


def pooled_latents(
    encoder: Encoder, images: ImageSet, grid: int, *, batch: int = 32, device: torch.device | str | None = None
) -> tuple[list[Tensor], Labels, Tensor]:
    """Place every image in every cell of a grid x grid canvas and pool the features of each stage.

    device  where the results are stored; None is the network's device, or the images' if it has no parameters
    -> z (canvas, channel) of each stage, then the cell and the image index of each canvas.
    Empty cells have the mean colour, 0 after normalisation, as in the released code of ICCV 2021.
    """
    latents: list[list[Latents]] = [[] for _ in encoder.stages]
    images = encoder.view(images)
    compute_device = _device(encoder, images.images.device)
    device = device or compute_device
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(grid ** 2))
    for part in progress.bar(pairs.split(batch), "latents"):
        number, location = part.unbind(1)
        pixels, _ = images.batch(number.to(images.images.device))
        canvases = canvas.place(pixels.to(compute_device), location.to(compute_device), grid)
        for parts, z in zip(latents, encoder(canvases, heads.gap), strict=True):
            parts.append(z.to(device))
    return [torch.cat(parts) for parts in latents], pairs[:, 1].to(device), pairs[:, 0].to(device)
