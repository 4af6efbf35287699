"""Features of a frozen network on an image set."""
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from posenc_lib.base import progress
from posenc_lib.base.shapes import Features, Labels, Latents
from posenc_lib.data.imageset import ImageSet, Trainable
from posenc_lib.measure import canvas
from posenc_lib.nets import heads
from posenc_lib.nets.pretrained import Encoder

CACHE_LIMIT = 2 * 2 ** 30   # bytes of features of one image set that are kept: 2 GiB are 930 pictures of VGG-16


def stacked_features(encoder: Encoder, images: ImageSet, *, side: int = 28, batch: int = 32,
            device: torch.device | str | None = None) -> tuple[Float[Tensor, "image channel {side} {side}"], list[int]]:
    """The features of all stages, resized to one grid and stacked by channel; and how many channels each stage has.

    device  where they are put; None is where the network is, or where the images are if it has no parameters
    In half precision where it reaches: one image of VGG-16 takes 2.3 MB.  Bilinear, with the corners aligned, as in the
    released code.  Source: ICLR 2020, Sec. 3.1.
    """
    images, kept, channels = encoder.view(images), torch.empty(0), []
    for index in progress.bar(torch.arange(len(images)).split(batch), "features"):
        full, channels = _compute_stacked(encoder, images, index, side)
        half = full.half()
        if not len(kept):
            kept = torch.empty(len(images), *full.shape[1:], dtype=half.dtype, device=device or full.device)
        part = half if half.isfinite().all() else full   # a random ResNet-152 goes beyond half precision
        kept = kept.to(torch.promote_types(kept.dtype, part.dtype))
        kept[index[0]:index[-1] + 1] = part.to(kept.device)
    return kept, channels


@dataclass(frozen=True, eq=False)
class FrozenFeatures(Trainable):
    """The stacked features of an image set, as `training.fit` takes them; see `frozen_features`.

    images  normalised as the encoder wants them
    kept    (image, channel, side, side) what `stacked_features` gave; None: the encoder is run on every batch
    use     numbers of the channels that are read; None is all
    A batch is float32, where the images are; its labels are those of the images.
    """
    encoder: Encoder
    images: ImageSet
    side: int
    kept: Tensor | None = None
    use: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def on_device(self) -> bool:   # a frozen network in each step keeps a GPU busy without being captured
        return self.kept is not None

    def only(self, use: Tensor) -> "FrozenFeatures":
        """Of these channels alone, as `select_channels` numbers them."""
        return replace(self, use=use)

    def to(self, device: torch.device | str) -> "FrozenFeatures":
        kept, use = (None if tensor is None else tensor.to(device) for tensor in (self.kept, self.use))
        return replace(self, images=self.images.to(device), kept=kept, use=use)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        device = self.images.images.device
        index = index.to(device)
        if self.kept is None:
            f = _compute_stacked(self.encoder, self.images, index, self.side)[0].to(device)
        else:
            f = self.kept[index]
        return (f if self.use is None else f[:, self.use.to(device)]).float(), self.images.labels[index]


def frozen_features(
    encoder: Encoder, images: ImageSet, *, side: int = 28, limit: int = CACHE_LIMIT
) -> tuple[FrozenFeatures, list[int]]:
    """The stacked features of an image set, where the images are, and how many channels each stage has.

    limit  bytes of features, in half precision, up to which they are computed once and kept.  Beyond that nothing is
           kept: the frozen network runs on every batch, in every epoch.

    The paper's 10,553 training pictures would be 24 GB of VGG-16 and 63 GB of ResNet-152, in fifteen epochs 158,000
    pictures through a network of 31 and 23 GFLOP a picture: by arithmetic 1 to 2 minutes a readout at 50 TFLOP/s, in
    which the pictures take 1.6 GB (uint8, 224 pixels) and a batch of 32 less than 4 GB.
    """
    images = encoder.view(images)
    one, channels = _compute_stacked(encoder, images, torch.arange(1), side)
    if 2 * one.numel() * len(images) > limit:
        return FrozenFeatures(encoder, images, side), channels
    return FrozenFeatures(
        encoder, images, side, stacked_features(encoder, images, side=side, device=images.images.device)[0]
    ), channels


def _compute_stacked(encoder: Encoder, images: ImageSet, index: Tensor, side: int = 28) -> tuple[Features, list[int]]:
    """Features of some of the images, of all stages, in full precision, on the network's device; channels of each."""
    pixels, _ = images.batch(index.to(images.images.device))
    features = encoder(pixels.to(_device(encoder, pixels.device)))
    return torch.cat([resized(f, side) for f in features], 1), [f.shape[1] for f in features]


def select_channels(
    channels: Sequence[int], stage: int | None = None, n: int | None = None, *, seed: int = 0
) -> Tensor:
    """Numbers of the stacked channels that a readout is given.

    channels  how many each stage has, as `stacked_features` says
    stage     this one alone, counted from 1; None is all
    n         so many of them, drawn by `seed`; None is all
    """
    number = torch.arange(sum(channels))
    if stage:
        number = number.split(list(channels))[stage - 1]
    if n:
        number = number[torch.randperm(len(number), generator=torch.Generator().manual_seed(seed))[:n]]
    return number


def _device(encoder: Encoder, otherwise: torch.device) -> torch.device:
    """Where a network computes; one without parameters, such as `Coordinates`, wherever its images are."""
    return next((p.device for p in encoder.net.parameters()), otherwise)


def resized(f: Features, side: int) -> Tensor:
    return interpolate(f, (side, side), mode="bilinear", align_corners=True)


def pooled_latents(encoder: Encoder, images: ImageSet, grid: int, *, batch: int = 90,
           device: torch.device | str | None = None) -> tuple[list[Tensor], Labels, Tensor]:
    """Every image in every cell of a grid x grid canvas: z (canvas, channel) of each stage, location, and image number.

    device  where they are put; None is where the network is, or where the images are if it has no parameters
    The empty cells are the mean colour, 0 after normalisation, as in the released code of ICCV 2021.
    """
    latents: list[list[Latents]] = [[] for _ in encoder.stages]
    images = encoder.view(images)
    runs_on = _device(encoder, images.images.device)
    device = device or runs_on
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(grid ** 2))
    for part in progress.bar(pairs.split(batch), "latents"):
        number, location = part.unbind(1)
        pixels, _ = images.batch(number.to(images.images.device))
        for kept, f in zip(latents, encoder(canvas.place(pixels.to(runs_on), location.to(runs_on), grid)), strict=True):
            kept.append(heads.gap(f).to(device))
    return [torch.cat(kept) for kept in latents], pairs[:, 1].to(device), pairs[:, 0].to(device)
