"""GAPNet and PermuteNet on the authors' ResNet-18 or on NIN, and weights from a file.  Built up by hand in page 03.

Source: Islam et al., ICCV 2021, Sec. 3; released code for what the text leaves open.
"""
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from posenc_lib.config import choose
from posenc_lib.padding import set_padding_mode
from posenc_lib.shapes import Features, Images, Latents


class Shuffle(nn.Module):
    """Reorder the channels of a pooled latent: z (batch, channel) -> z[:, permutation].

    none    as it comes
    fixed   one permutation, drawn when the layer is built, in training and in test
    batch   a new permutation a forward pass, the same for the whole batch: the released PermuteNet
    sample  a new permutation for every image
    test    none in training; as "batch" in evaluation mode

    Permutations come from torch's global generator.
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
            return z.gather(1, torch.rand_like(z).argsort(1))
        if self.permutation == "batch" or (self.permutation == "test" and not self.training):
            return z[:, torch.randperm(z.shape[1], device=z.device)]
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
