"""Heads on feature maps and pooled latents."""
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Drawing
from posenc_lib.base.shapes import Features, Latents, Maps


class Shuffle(Drawing):
    """Permute the channels of a pooled latent: z (batch, channel) -> z[:, permutation].  channels: the length of z.
    `permutation` is one of

    none    no permutation
    fixed   one permutation, drawn when the layer is built, in training and evaluation
    batch   a new permutation in every forward pass, the same for the whole batch: the released PermuteNet
    sample  a new permutation for every image
    test    none in training; like "batch" in evaluation mode

    Permutations come from a run's own generator inside `draws.drawing`, otherwise from torch's global generator.

    >>> shuffled = Shuffle("batch", channels=4)(torch.tensor([[1, 2, 3, 4]]))
    >>> shuffled.sort().values.tolist()
    [[1, 2, 3, 4]]
    """
    def __init__(self, permutation: str, channels: int):
        super().__init__()
        self.permutation = check_choice("permutation", permutation, ("none", "fixed", "batch", "sample", "test"))
        if permutation == "fixed":
            self.order: Tensor
            self.register_buffer("order", torch.randperm(channels))

    def forward(self, z: Num[Tensor, "batch channel"]) -> Num[Tensor, "batch channel"]:
        if self.permutation == "fixed":
            return z[:, self.order]
        if self.permutation == "sample":
            return z.gather(1, self.draw(torch.rand, *z.shape, device=z.device).argsort(1))
        if self.permutation == "batch" or (self.permutation == "test" and not self.training):
            return z[:, self.draw(torch.randperm, z.shape[1], device=z.device)]
        return z


def gap(f: Features) -> Latents:
    """Global average pooling: z_c is the mean of channel c over space.

    >>> gap(torch.tensor([[[[1.0, 2], [3, 4]]]]))
    tensor([[2.5000]])
    """
    return f.mean((-2, -1))


class Readout(nn.Module):
    """PosENet's readout: unpadded convolutions on stacked features, then a sigmoid, upsampled to the image.

    channels  of the stacked features (see `features.stacked_features`)
    maps      number of independent readouts.  They share no weights, so each learns as it would alone
    kernel, depth, padding   of the convolutions: 3, 1 and 0 in the paper; 1 to 7 and depth 1 to 3 in its Table 2
    hidden    channels between convolutions; None is the number of input channels, as in the released code
    size      side of the predicted maps, 224 in the paper
    Each convolution is followed by batch normalisation, which the paper does not mention, and by a ReLU or, after the
    last one, the sigmoid.  Xavier initialisation.  Source: ICLR 2020, Sec. 3.1; released code.

    >>> Readout(512, maps=2, size=96)(torch.zeros(1, 512, 12, 12)).shape
    torch.Size([1, 2, 96, 96])
    """
    def __init__(self, channels: int, maps: int = 1, *, kernel: int = 3, depth: int = 1, padding: int = 0,
                 hidden: int | None = None, size: int = 224):
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        widths = [channels] + [hidden or channels] * (depth - 1) + [1]
        for n, (wide, narrow) in enumerate(pairwise(widths)):   # readouts share the first input only
            conv = nn.Conv2d(wide * (maps if n else 1), narrow * maps, kernel, padding=padding, groups=maps if n else 1)
            for weight in conv.weight.data.chunk(maps):
                nn.init.xavier_uniform_(weight)
            nn.init.zeros_(conv.get_parameter("bias"))
            layers += [conv, nn.BatchNorm2d(narrow * maps), nn.Sigmoid() if n == depth - 1 else nn.ReLU()]
        self.output = nn.Sequential(*layers)

    def forward(self, features: Features) -> Maps:
        return interpolate(self.output(features), self.size, mode="bilinear", align_corners=False)


class Heads(nn.Module):
    """Independent linear heads on one latent, in one batched product.  They share no weights, so each learns as it
    would alone.

        logits_h = z[:, read_h] W_h^T + b_h        read_h: the channels of head h, permuted

    channels      for each head, the indices of the channels that it reads
    permutations  for each head, how those channels are permuted first, see `Shuffle`; the same for a whole batch, so
                  not "sample"
    weight (head, label, read) and bias (head, label) start as those of `nn.Linear`.  A head that reads fewer channels
    than another reads zeros in their place.

    >>> every, first = torch.arange(512), torch.arange(100)
    >>> heads = Heads([every, every, first], ["none", "batch", "none"], num_classes=9)
    >>> heads(torch.zeros(8, 512)).shape
    torch.Size([3, 8, 9])
    """
    def __init__(self, channels: Sequence[Tensor], permutations: Sequence[str], num_classes: int):
        super().__init__()
        for n, read in enumerate(channels):
            self.register_buffer(f"channels{n}", read, persistent=False)
        self.shuffles = nn.ModuleList(
            Shuffle(check_choice("permutation", permutation, ("none", "fixed", "batch", "test")), len(read))
            for read, permutation in zip(channels, permutations, strict=True))
        linears = [nn.Linear(len(read), num_classes) for read in channels]
        widest = max(map(len, channels))
        self.weight = nn.Parameter(torch.stack([pad(one.weight.detach(), (0, widest - one.in_features))
                                                for one in linears]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in linears]))

    def forward(self, z: Latents) -> Float[Tensor, "head batch label"]:
        silent = z.shape[1]   # index of one more channel, which is 0
        channels = [shuffle(getattr(self, f"channels{n}")[None])[0] for n, shuffle in enumerate(self.shuffles)]
        widest = self.weight.shape[-1]
        read = torch.stack([pad(c, (0, widest - len(c)), value=silent) for c in channels])   # (head, read)
        inputs = pad(z, (0, 1)).T[read]                                                      # (head, read, batch)
        return torch.baddbmm(self.bias[..., None], self.weight, inputs).mT
