"""Image sets as tensors: what a split is, how a batch of it is normalised, and what `training.fit` may train on.

Nothing here reads a disk; `data.load` makes the sets.
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
VOID = 255   # in a label map: not to be learned nor scored
SPLIT_SEED = 2021   # of the embedded sets' splits and of every validation split


class Trainable:
    """What `training.fit` trains on: it has a length, moves to a device, and is read by lists of indices.

    on_device  whether `batch` reads tensors on the device by indices that lie there, as a captured step has to
    """
    on_device = True

    def batches(self, indices: Iterable[Tensor], seed: int) -> Iterable[tuple[Tensor, Tensor]]:
        """Each list's inputs and labels.  `seed` is the epoch's; tensors draw nothing from it."""
        return map(self.batch, indices)


@dataclass(frozen=True)
class ImageSet(Trainable):
    """Images of one split, as two tensors on one device; normalised a batch at a time.

    images  uint8 (image, rgb, row, col); never normalised in store
    labels  int64 (image,), zeros where a set has none; or (image, row, col), one a pixel, `VOID` where it has none;
            or boxes (image, person, 6), float32, of `people`
    classes names of the labels
    mean, std  of each colour on the scale 0..1, what `normalise` takes away and divides by
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
        """The images of `index`, in its order."""
        return replace(self, images=self.images[index], labels=self.labels[index], split=split or self.split)

    def subsample(self, n: int | None) -> "ImageSet":
        """`n` of the images, evenly spread over the set; None is all of them, as is more than there are."""
        return self if n is None or n >= len(self) else self.take(torch.arange(n) * len(self) // n)

    @cached_property
    def per_colour(self) -> tuple[Tensor, Tensor]:
        """mean and std on the images' device, (rgb, 1, 1): copied there once, not with every batch."""
        return tuple(torch.tensor(v, device=self.images.device).reshape(-1, 1, 1) for v in (self.mean, self.std))

    def normalise(self, pixels: Pixels) -> Images:
        """uint8 0..255 -> float, (p / 255 - mean) / std, colour by colour"""
        mean, std = self.per_colour
        return (pixels.float() / 255 - mean) / std

    @cached_property
    def black(self) -> Tensor:
        """What a black pixel is after `normalise`, shape (rgb,)."""
        mean, std = self.per_colour
        return (-mean / std).flatten()

    def batch(self, index: Tensor) -> tuple[Images, Labels | LabelMaps | Boxes]:
        return self.normalise(self.images[index]), self.labels[index]

    @cached_property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of every pixel and label: names the data of a run, wherever they were read."""
        state = hashlib.sha256(self.images.cpu().numpy().tobytes())
        state.update(self.labels.cpu().numpy().tobytes())
        return state.hexdigest()[:12]


@dataclass(frozen=True)
class Samples(Trainable):
    """Features of a frozen network with their labels, as `training.fit` takes them in an ImageSet's place.

    inputs  (image, ...), of any precision; a batch of them is float32
    labels  int64 (image,), or (image, answer) for readers that learn different ones
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
    """train to fit, validation to choose, test to report: nothing is ever chosen on test."""
    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("".join(part.fingerprint for part in self).encode()).hexdigest()[:12]


class StandIn(Splits):
    """Embedded images in the place of a set that is not here; no result is ever computed from them."""
