"""GAPNet and PermuteNet on the authors' ResNet-18 or on NIN (built up by hand in page 03), PosENet's readout and a
small VGG to read from (page 02), the classifiers of page 05, and weights from a file.

Source: Islam et al., ICCV 2021, Sec. 3, and ICLR 2020, Sec. 3; released code for what the texts leave open.
"""
import difflib
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import BlurPool2d
from timm.models.resnet import BasicBlock as TimmBlock
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from posenc_lib.config import choose
from posenc_lib.draws import Drawing
from posenc_lib.padding import set_padding_mode
from posenc_lib.shapes import Features, Images, Latents, Logits, Maps


class Shuffle(Drawing):
    """Reorder the channels of a pooled latent: z (batch, channel) -> z[:, permutation].

    none    as it comes
    fixed   one permutation, drawn when the layer is built, in training and in test
    batch   a new permutation a forward pass, the same for the whole batch: the released PermuteNet
    sample  a new permutation for every image
    test    none in training; as "batch" in evaluation mode

    While the network is trained or examined by a run they come from the run's own generator (`draws.drawing`), else
    from torch's global one.
    """
    def __init__(self, permutation: str, channels: int):
        super().__init__()
        self.permutation = choose("permutation", permutation, ("none", "fixed", "batch", "sample", "test"))
        if permutation == "fixed":
            self.register_buffer("order", torch.randperm(channels))

    def forward(self, z: Latents) -> Latents:
        if self.permutation == "fixed":
            return z[:, self.order]
        if self.permutation == "sample":
            return z.gather(1, self.draw(torch.rand, *z.shape, device=z.device).argsort(1))
        if self.permutation == "batch" or (self.permutation == "test" and not self.training):
            return z[:, self.draw(torch.randperm, z.shape[1], device=z.device)]
        return z


def _block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
    return BasicBlock(channels_in, channels, stride, shortcut if stride > 1 or channels_in != channels else None)


class ResNet18(nn.Module):
    """The authors' ResNet-18: a 7x7 convolution of stride 2, no max-pool, four stages; total stride 16.

    width  channels of the first stage, 64 in the paper; the feature map has 8 x width
    """
    stride = 16

    def __init__(self, width: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(_block(width, width, 1), _block(width, width, 1))
        self.layer2 = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(_block(2 * width, 4 * width, 2), _block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(_block(4 * width, 8 * width, 2), _block(8 * width, 8 * width, 1))
        self.channels = 8 * width
        self.head = nn.Identity()

    def features(self, images: Images) -> Features:
        """f (batch, 8 width, row / 16, col / 16)"""
        x = self.relu(self.bn1(self.conv1(images)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Images) -> Tensor:
        return self.head(self.features(images))


class NIN(nn.Module):
    """Network in Network (Lin, Chen, Yan, 2014) with batch normalisation; total stride 4.

    width  channels; 192 in the source.  Its overlapping 3x3 pools are 2x2 here: they need no padding, so that a
    circular network stays exactly shift-invariant (page 03's negative control).  The authors released no NIN.
    """
    stride = 4

    def __init__(self, width: int = 192):
        super().__init__()
        self.block1 = self._block(3, width, 5)
        self.block2 = self._block(width, width, 5)
        self.block3 = self._block(width, width, 3)
        self.channels = width
        self.head = nn.Identity()

    @staticmethod
    def _block(channels_in: int, channels: int, kernel: int) -> nn.Sequential:
        layers = []
        for c, k in ((channels_in, kernel), (channels, 1), (channels, 1)):
            layers += [nn.Conv2d(c, channels, k, padding=k // 2, bias=False), nn.BatchNorm2d(channels),
                       nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    def features(self, images: Images) -> Features:
        """f (batch, width, row / 4, col / 4)"""
        x = nn.functional.max_pool2d(self.block1(images), 2)
        return self.block3(nn.functional.avg_pool2d(self.block2(x), 2))

    def forward(self, images: Images) -> Tensor:
        return self.head(self.features(images))


BACKBONES = {"resnet18": ResNet18, "nin": NIN}


def _backbone(name: str, width: int | None) -> nn.Module:
    backbone = BACKBONES[choose("backbone", name, tuple(BACKBONES))]
    return backbone() if width is None else backbone(width)


def gapnet(num_classes: int, backbone: str = "resnet18", padding_mode: str = "zeros", *,
           width: int | None = None) -> nn.Module:
    """GAPNet: features, a 3x3 convolution to `num_classes` channels, global average pooling.  -> logits

    backbone      "resnet18" or "nin"
    padding_mode  of every convolution, the head's too (the released head is zero-padded whatever the backbone)
    width         channels of the first stage; None is the source's own
    Parameters stand in the authors' order: conv1, bn1, layer1..layer4, head.
    """
    net = _backbone(backbone, width)
    net.head = nn.Sequential(nn.Conv2d(net.channels, num_classes, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return set_padding_mode(net, padding_mode)


def permutenet(num_classes: int, backbone: str = "resnet18", padding_mode: str = "zeros", *,
               permutation: str = "batch", width: int | None = None) -> nn.Module:
    """PermuteNet: features, global average pooling, shuffled channels, a linear layer.  -> logits

    permutation  see `Shuffle`; "batch" is the released network, "none" the same head without the shuffle
    The others as in `gapnet`.
    """
    net = _backbone(backbone, width)
    net.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Shuffle(permutation, net.channels),
                             nn.Linear(net.channels, num_classes))
    return set_padding_mode(net, padding_mode)


def gap(f: Features) -> Latents:
    """Global average pooling: z_c, the mean of channel c over space."""
    return f.mean((-2, -1))


def vgg(num_classes: int, width: int = 64, *, task: str = "classify") -> nn.Sequential:
    """A small VGG to train and then to read from: four blocks of two convolutions with batch normalisation, 2x2 pools.

    width  channels of the first block, 64 in VGG-16; doubled from block to block.  Total stride 8
    task   "classify": GAP and a linear layer, logits (batch, label).  "segment": a 1x1 convolution, enlarged to the
           image, logits (batch, label, row, col)
    No residual sum asks two maps to be equally large, so it also runs without padding (`padding.remove_padding`).
    """
    choose("task", task, ("classify", "segment"))
    blocks = make_layers([width, width, "M", 2 * width, 2 * width, "M", 4 * width, 4 * width, "M",
                          8 * width, 8 * width], batch_norm=True)
    head = (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, num_classes))
            if task == "classify" else nn.Sequential(nn.Conv2d(8 * width, num_classes, 1), nn.Upsample(scale_factor=8)))
    for conv in (m for m in blocks if isinstance(m, nn.Conv2d)):   # as torchvision starts its VGGs
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(conv.bias)
    return nn.Sequential(OrderedDict(features=blocks, head=head))


class Readout(nn.Module):
    """PosENet's readout: unpadded convolutions on stacked features, then a sigmoid, enlarged to the image.

    channels  of the stacked features (see `encoders.stacked`)
    maps      how many readouts stand side by side.  They share no weight, so n of them learn as one would alone
    kernel, depth, padding   of its convolutions: 3, 1 and 0 in the paper; 1 to 7 and depth 1 to 3 in its Table 2
    hidden    channels between convolutions; None is as many as came in, as in the released code
    size      side of the maps drawn, 224 in the paper
    Each convolution is followed by batch normalisation, which the text does not mention, and by a ReLU or, at the end,
    the sigmoid.  Xavier initialisation.  Source: ICLR 2020, Sec. 3.1; released code.
    """
    def __init__(self, channels: int, maps: int = 1, *, kernel: int = 3, depth: int = 1, padding: int = 0,
                 hidden: int | None = None, size: int = 224):
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        widths = [channels] + [hidden or channels] * (depth - 1) + [1]
        for n, (wide, narrow) in enumerate(pairwise(widths)):   # all read the same features, then each its own
            conv = nn.Conv2d(wide * (maps if n else 1), narrow * maps, kernel, padding=padding, groups=maps if n else 1)
            for weight in conv.weight.data.chunk(maps):
                nn.init.xavier_uniform_(weight)
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.BatchNorm2d(narrow * maps), nn.Sigmoid() if n == depth - 1 else nn.ReLU()]
        self.output = nn.Sequential(*layers)

    def forward(self, features: Features) -> Maps:
        return interpolate(self.output(features), self.size, mode="bilinear", align_corners=False)


class Heads(nn.Module):
    """Linear heads side by side on one long latent.  They share no weight, so each learns as it would alone.

    channels      for each head, the numbers of the channels that it reads
    permutations  for each head, how those are shuffled first, see `Shuffle`
    """
    def __init__(self, channels: Sequence[Tensor], permutations: Sequence[str], num_classes: int):
        super().__init__()
        for n, read in enumerate(channels):
            self.register_buffer(f"channels{n}", read, persistent=False)
        self.heads = nn.ModuleList(nn.Sequential(Shuffle(permutation, len(read)), nn.Linear(len(read), num_classes))
                                   for read, permutation in zip(channels, permutations, strict=True))

    def forward(self, z: Latents) -> Float[Tensor, "head batch label"]:
        return torch.stack([head(z[:, getattr(self, f"channels{n}")]) for n, head in enumerate(self.heads)])


class Classifier(nn.Module):
    """A network of timm's, telling the pooled latent beside its answer: images -> z (batch, channel), logits.

    name   "cifar_resnet18": ResNet-18 for small images, a 3x3 stem without stride and no max-pool, total stride 8; or
           any name that timm knows, "resnet50"
    width  channels of the first stage of cifar_resnet18, an even number; None is 64
    blur   BlurPool (Zhang, 2019) at every stride behind the stem, a 2x2 average at those of the shortcuts; for ResNets
    Random weights, from torch's global generator.
    """
    def __init__(self, name: str, num_classes: int, *, width: int | None = None, blur: bool = False):
        super().__init__()
        anti_aliased = {"aa_layer": BlurPool2d, "avg_down": True} if blur else {}
        if name == "cifar_resnet18":
            w = width or 64
            if w % 2:
                raise ValueError(f"cifar_resnet18: width {w} was asked for; give an even number")
            self.net = ResNet(TimmBlock, (2, 2, 2, 2), num_classes, channels=(w, 2 * w, 4 * w, 8 * w),
                              stem_type="deep", stem_width=w // 2, zero_init_last=False, **anti_aliased)
            self.net.conv1 = nn.Conv2d(3, w, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.net.maxpool = nn.Identity()
        elif not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), n=3) or ["resnet18", "resnet50"]
            raise ValueError(f"backbone: {name!r} was asked for, and timm has none of that name; near it are "
                             f"{', '.join(near)}")
        else:
            try:
                self.net = timm.create_model(name, num_classes=num_classes, **anti_aliased)
            except TypeError:
                raise ValueError(f"backbone: BlurPool was asked for in {name}; timm puts it into its ResNets only, so "
                                 "ask for one of those, or for a method without it") from None

    def forward(self, images: Images) -> tuple[Latents, Logits]:
        z = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        return z, self.net.get_classifier()(z)


def load_weights(model: nn.Module, path: Path | str) -> nn.Module:
    """Fill `model` from a .safetensors file of its own architecture; returns the model, in evaluation mode.

    FileNotFoundError when the file is missing; ValueError when it is cut off or fits another architecture.
    Half-precision weights are widened.  No pickle is read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} was asked for and is not there; put a .safetensors state dict of "
                                f"{type(model).__name__} at that path")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"weights: {path} is damaged or no safetensors file ({error}); download it again") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        there, wanted = set(weights), set(model.state_dict())
        odd = sorted(there ^ wanted)[:3] or ["the shapes of its tensors"]
        raise ValueError(f"weights: {path} does not fit {type(model).__name__}: it has {len(there)} tensors, the model "
                         f"{len(wanted)}; they differ in {', '.join(odd)}") from None
    return model.eval()
