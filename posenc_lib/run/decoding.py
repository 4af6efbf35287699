"""Decode location from pooled latents with linear heads, layer by layer.  Built by hand on page 04.

Source: Islam et al., ICCV 2021, supplement S1: a 1x1 convolution and GAP, which is a linear head on the pooled latent.
"""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Labels, Latents
from posenc_lib.data.imageset import Samples
from posenc_lib.nets.heads import Heads
from posenc_lib.run import training
from posenc_lib.run.config import Recipe


@dataclass(frozen=True)
class Head:
    """How a linear head reads a layer.

    permutation      of its channels, see `heads.Shuffle`
    few              reads a random subset of the channels, of the same size in every layer
    permuted_labels  learns the locations of other canvases, which z cannot hold
    """
    permutation: str = "none"
    few: bool = False
    permuted_labels: bool = False


HEADS = {
    "in_order": Head(),
    "shuffled": Head(permutation="batch"),
    "few_channels": Head(few=True),
    "permuted_labels": Head(permuted_labels=True),
}
SAME_LATENT = 1e-5   # latents closer than this, relative to the largest norm, differ by float32 rounding only


def standardize(latents: Sequence[Tensor], like: Sequence[Tensor]) -> Latents:
    """Concatenate the latents of all layers and standardize each channel by its mean and standard deviation in `like`.

    A standard deviation below a thousandth of the largest is raised to that, so that a nearly silent channel stays so;
    if all channels are constant, all are 0.
    """
    z, reference = torch.cat(list(latents), 1), torch.cat(list(like), 1)
    std = reference.std(0)
    return (z - reference.mean(0)) / std.clamp(min=1e-3 * std.max()).clamp(min=torch.finfo(z.dtype).tiny)


def n_distinguishable_cells(z: Latents) -> int:
    """Number of different latents that one image has in the cells of a grid, which bounds what any head can decode.

    z  (cell, channel), of one image.  No head has an accuracy above n_distinguishable_cells / cells.
    """
    z = z.double()
    same = torch.cdist(z, z) <= SAME_LATENT * z.norm(dim=1).max()   # (cell, cell)
    is_first = same.tril(-1).sum(1) == 0                            # no earlier cell has this latent
    return int(is_first.sum())


def decode(latents: Sequence[Tensor], location: Labels, test_latents: Sequence[Tensor],
           test_location: Int[Tensor, " tested"], *,
           cells: int, recipe: Recipe, seed: int, few: int = 8, heads: Mapping[str, Head] = HEADS,
           checkpoint: training.Checkpoint | Path | None = None) -> list[dict]:
    """Train every head on each layer, all at once, and test it on other canvases.

    latents   z (canvas, channel) of each layer; `test_latents` the same for the test canvases
    location  (canvas,) the cell, 0 .. cells-1
    few       number of channels of the heads that read a subset
    -> for each layer, counted from 1, and head: layer, head, channels, accuracy (0..1).  Chance is 1 / cells if every
    image is in every cell.  All random numbers derive from `seed`; torch's global state is restored.
    """
    z, z_test = standardize(latents, latents), standardize(test_latents, latents)
    specs = list(heads.values()) * len(latents)
    with torch.random.fork_rng(devices=[z.device] if z.is_cuda else []):
        torch.manual_seed(seed)
        channels = list(_channels([part.shape[1] for part in latents], heads, few, seed))
        model = Heads(channels, [head.permutation for head in specs], cells)
        order = torch.randperm(len(location), generator=torch.Generator().manual_seed(seed)).to(location.device)
        labels = [location[order] if head.permuted_labels else location for head in specs]

        def loss(model: nn.Module, z: Tensor, labels: Tensor, _: Draws) -> Tensor:
            logits = model(z)   # (head, canvas, label)
            return len(logits) * cross_entropy(logits.mT, labels.T)   # sum of the heads' losses

        samples = Samples(z, torch.stack(labels, 1))   # labels (canvas, head)
        training.fit(model, samples, loss, recipe, seed=seed, checkpoint=checkpoint)
        device = next(model.parameters()).device   # to which `fit` has moved them
        with torch.no_grad():
            predictions = model(z_test.to(device)).argmax(-1)   # (head, canvas)
        accuracies = (predictions == test_location.to(device)).double().mean(1).tolist()
    names = list(heads) * len(latents)
    return [{"layer": n // len(heads) + 1, "head": name, "channels": len(read), "accuracy": accuracy}
            for n, (name, read, accuracy) in enumerate(zip(names, channels, accuracies, strict=True))]


def _channels(widths: Sequence[int], heads: Mapping[str, Head], few: int, seed: int) -> Iterator[Tensor]:
    """For each layer and head, the indices of the channels that it reads in the concatenated layers."""
    generator = torch.Generator().manual_seed(seed)
    for layer in torch.arange(sum(widths)).split(list(widths)):
        subset = layer[torch.randperm(len(layer), generator=generator)[:few]]
        for head in heads.values():
            yield subset if head.few else layer
