"""Read the location off pooled latents with linear heads, layer by layer.  Built up by hand in page 04.

Source: Islam et al., ICCV 2021, supplement S1: a 1x1 convolution and GAP, which is a linear head on the pooled latent.
"""
from collections.abc import Iterator, Mapping, Sequence
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

# Name of a head: how its channels are shuffled first (`models.Shuffle`), and which answer it learns: 0 the location, 1
# the locations of other canvases, which z cannot hold.  "few" heads read as many channels of every layer.
HEADS = {"in_order": ("none", 0), "shuffled": ("batch", 0), "few_channels": ("none", 0),
         "permuted_labels": ("none", 1)}
SAME_LATENT = 1e-5   # latents closer than this part of the longest are the same, but for float32


def standardize(latents: Sequence[Tensor], like: Sequence[Tensor]) -> Latents:
    """The latents of all layers side by side, each channel moved and scaled by its mean and spread in `like`.

    A channel whose spread is below a thousandth of the largest stays near silent; where all are constant, all are 0.
    """
    z, reference = torch.cat(list(latents), 1), torch.cat(list(like), 1)
    spread = reference.std(0)
    return (z - reference.mean(0)) / spread.clamp(min=1e-3 * spread.max()).clamp(min=torch.finfo(z.dtype).tiny)


def n_distinguishable_cells(z: Latents) -> int:
    """How many different latents one image gives in the cells of a grid: in how many kinds of cell a layer can part it.

    z  (cell, channel), of one image.  No reader can be right more often than kinds / cells.
    """
    z = z.double()
    alike = torch.cdist(z, z) <= SAME_LATENT * z.norm(dim=1).max()        # (cell, cell)
    return int((alike.tril(-1).sum(1) == 0).sum())                   # the first of its kind


def decode(latents: Sequence[Tensor], location: Labels, tested: Sequence[Tensor],
           tested_location: Int[Tensor, " tested"], *,
           cells: int, recipe: Recipe, seed: int, few: int = 8, heads: Mapping[str, tuple[str, int]] = HEADS,
           checkpoint: training.Checkpoint | Path | None = None) -> list[dict]:
    """Train a head of every kind on each layer, side by side, and score it on other canvases.

    latents   of each layer, z (canvas, channel); `tested` the same layers on the canvases to test
    location  (canvas,) the cell, 0 .. cells-1
    few       channels, drawn at random, of the heads named so
    -> for each layer, counted from 1, and head: layer, head, channels, accuracy (0..1).  Chance is 1 / cells where
    every image is in every cell.  Draws from `seed`; torch's random state is left as it was.
    """
    z, z_tested = standardize(latents, latents), standardize(tested, latents)
    with torch.random.fork_rng(devices=[z.device] if z.is_cuda else []):
        torch.manual_seed(seed)
        channels = list(_channels([part.shape[1] for part in latents], heads, few, seed))
        shuffles = [shuffle for shuffle, _ in heads.values()] * len(latents)
        readers = Heads(channels, shuffles, cells)
        order = torch.randperm(len(location), generator=torch.Generator().manual_seed(seed)).to(location.device)
        which = [answer for _, answer in heads.values()] * len(latents)

        def loss(readers: nn.Module, z: Tensor, answers: Tensor, _: Draws) -> Tensor:
            logits = readers(z)   # (head, canvas, label)
            return len(logits) * cross_entropy(logits.flatten(0, 1), answers.T.flatten())

        samples = Samples(z, torch.stack([location, location[order]], 1)[:, which])   # (canvas, head)
        training.fit(readers, samples, loss, recipe, seed=seed, checkpoint=checkpoint)
        device = next(readers.parameters()).device   # `fit` has moved them
        with torch.no_grad():
            told = readers(z_tested.to(device)).argmax(-1)
        right = (told == tested_location.to(device)).double().mean(1).tolist()
    names = list(heads) * len(latents)
    return [{"layer": n // len(heads) + 1, "head": name, "channels": len(read), "accuracy": accuracy}
            for n, (name, read, accuracy) in enumerate(zip(names, channels, right, strict=True))]


def _channels(widths: Sequence[int], heads: Mapping[str, tuple[str, int]], few: int, seed: int) -> Iterator[Tensor]:
    """For each layer and head, the numbers of the channels that it reads in the stack of all layers."""
    draw = torch.Generator().manual_seed(seed)
    for stage in torch.arange(sum(widths)).split(list(widths)):
        drawn = stage[torch.randperm(len(stage), generator=draw)[:few]]
        yield from (drawn if name == "few_channels" else stage for name in heads)
