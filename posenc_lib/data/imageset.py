"""Image sets as tensors: one split, its normalisation, and the interface that `training.fit` trains on.

Nothing here reads a file; `registry.load` builds the sets.
"""
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from posenc_lib.base.shapes import Boxes, Images, LabelMaps, Labels, Pixels

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))   # mean and standard deviation of torchvision's weights
VOID = 255   # in a label map: excluded from the loss and from scores
SPLIT_SEED = 2021   # of the splits of bundled sets and of every validation split


class Trainable:
    """Base of what `training.fit` trains on: it has a length, moves to a device, and returns batches by index.

    on_device  whether `batch` takes indices on the device and reads tensors there, as CUDA graph capture requires
    """
    @property
    def on_device(self) -> bool:
        return True

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels at these indices."""
        raise NotImplementedError

    def batches(self, indices: Iterable[Tensor], seed: int) -> Iterable[tuple[Tensor, Tensor]]:
        """Inputs and labels of each batch of indices; `seed` is the epoch's, and tensors need no random numbers."""
        return map(self.batch, indices)


@dataclass(frozen=True)
class ImageSet(Trainable):
    """Images and labels of one split, on one device; images are stored as uint8 and normalised batch by batch.

    images     uint8 (image, rgb, row, col)
    labels     int64 class indices (image,), zeros if the set has no classes; or int64 label maps (image, row, col),
               `VOID` where a pixel has no class; or float32 boxes (image, person, 6), see `people`
    classes    names of the classes
    mean, std  per colour channel, for pixel values in 0..1
    """
    name: str
    split: str
    images: Pixels
    labels: Labels | LabelMaps | Boxes
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageSet":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, index: Tensor | slice, split: str | None = None) -> "ImageSet":
        """Select images and labels by index, in the order of the index."""
        return replace(self, images=self.images[index], labels=self.labels[index], split=split or self.split)

    def subsample(self, n: int | None) -> "ImageSet":
        """Select `n` images at even spacing.  All if n is None or exceeds len(self)."""
        return self if n is None or n >= len(self) else self.take(torch.arange(n) * len(self) // n)

    @cached_property
    def per_colour(self) -> tuple[Tensor, Tensor]:
        """`mean` and `std` on the images' device, each (rgb, 1, 1); cached, so that they are copied only once."""
        mean, std = (torch.tensor(v, device=self.images.device).reshape(-1, 1, 1) for v in (self.mean, self.std))
        return mean, std

    def normalise(self, pixels: Pixels) -> Images:
        """Convert uint8 pixels to float and standardise each colour channel: (p / 255 - mean) / std."""
        mean, std = self.per_colour
        return (pixels.float() / 255 - mean) / std

    @cached_property
    def black(self) -> Tensor:
        """A black pixel after `normalise`, shape (rgb,)."""
        mean, std = self.per_colour
        return (-mean / std).flatten()

    def batch(self, index: Tensor) -> tuple[Images, Labels | LabelMaps | Boxes]:
        return self.normalise(self.images[index]), self.labels[index]

    @cached_property
    def fingerprint(self) -> str:
        """The first 12 hex digits of the SHA-256 of all pixels and labels; identifies the data in a configuration."""
        state = hashlib.sha256(self.images.cpu().numpy().tobytes())
        state.update(self.labels.cpu().numpy().tobytes())
        return state.hexdigest()[:12]


@dataclass(frozen=True)
class Samples(Trainable):
    """Features of a frozen network with their labels, which `training.fit` accepts in place of an `ImageSet`.

    inputs  (image, ...), of any floating-point type; batches are converted to float32
    labels  int64 (image,), or (image, answer) to train several linear heads at once, each on its own labels
    """
    inputs: Tensor
    labels: Int[Tensor, "batch *answer"]

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "Samples":
        return Samples(self.inputs.to(device), self.labels.to(device))

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.inputs[index].float(), self.labels[index]


class Splits(NamedTuple):
    """Training, validation and test images; hyperparameters are chosen on validation, never on test."""
    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("".join(part.fingerprint for part in self).encode()).hexdigest()[:12]


class StandIn(Splits):
    """Bundled images in place of a missing data set, for demonstrations only; no result is computed from them."""
