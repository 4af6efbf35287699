"""Classifiers: GAPNet and PermuteNet on any of `BACKBONES` (page 03), a small VGG (pages 02 and 04), timm's networks
(page 05).

To add a backbone, write a subclass of `Backbone` and enter it in `BACKBONES`.
Source: Islam et al., ICCV 2021, Sec. 3, and ICLR 2020, Sec. 3; released code for what the papers leave open.
"""
import difflib
from collections import OrderedDict
from typing import Any

import timm
from timm.layers import BlurPool2d
from timm.models.resnet import BasicBlock as TimmBlock
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from posenc_lib.base.checks import check_choice
from posenc_lib.base.shapes import Features, Images, Latents, Logits
from posenc_lib.nets.heads import Shuffle
from posenc_lib.nets.padding import set_padding_mode


def _block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
    return BasicBlock(channels_in, channels, stride, shortcut if stride > 1 or channels_in != channels else None)


class Backbone(nn.Module):
    """Feature extractor of GAPNet and PermuteNet, which set its `head`.

    stride    total stride of the feature map
    channels  of the feature map
    The constructor takes the width of the first stage, with a default.
    """
    stride: int
    channels: int
    head: nn.Module

    def features(self, images: Images) -> Features:
        """Compute the feature map f (batch, channels, row / stride, col / stride)."""
        raise NotImplementedError

    def forward(self, images: Images) -> Tensor:
        return self.head(self.features(images))


class ResNet18(Backbone):
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

    def features(self, images: Images) -> Features:
        x = self.relu(self.bn1(self.conv1(images)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class NIN(Backbone):
    """Network in Network (Lin, Chen, Yan, 2014) with batch normalisation; total stride 4.

    width  channels, 192 in the source.  Its overlapping 3x3 pools are 2x2 here, which need no padding, so that a
           circular network is exactly shift-invariant (page 03's negative control).  The authors released no NIN
    """
    stride = 4

    def __init__(self, width: int = 192):
        super().__init__()
        self.block1 = self._block(3, width, 5)
        self.block2 = self._block(width, width, 5)
        self.block3 = self._block(width, width, 3)
        self.channels = width

    @staticmethod
    def _block(channels_in: int, channels: int, kernel: int) -> nn.Sequential:
        layers = []
        for c, k in ((channels_in, kernel), (channels, 1), (channels, 1)):
            layers += [nn.Conv2d(c, channels, k, padding=k // 2, bias=False), nn.BatchNorm2d(channels),
                       nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    def features(self, images: Images) -> Features:
        x = nn.functional.max_pool2d(self.block1(images), 2)
        return self.block3(nn.functional.avg_pool2d(self.block2(x), 2))


BACKBONES: dict[str, type[Backbone]] = {"resnet18": ResNet18, "nin": NIN}


def _backbone(name: str, width: int | None) -> Backbone:
    backbone = BACKBONES[check_choice("backbone", name, tuple(BACKBONES))]
    return backbone() if width is None else backbone(width)


def gapnet(num_classes: int, backbone: str = "resnet18", padding_mode: str = "zeros", *,
           width: int | None = None) -> nn.Module:
    """GAPNet: features, a 3x3 convolution to `num_classes` channels, global average pooling.  -> logits

    backbone      a key of `BACKBONES`
    padding_mode  of every convolution, including the head's (the released head is zero-padded for any backbone)
    width         channels of the first stage; None is the backbone's default
    Parameters are in the authors' order: conv1, bn1, layer1..layer4, head.
    """
    net = _backbone(backbone, width)
    net.head = nn.Sequential(nn.Conv2d(net.channels, num_classes, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return set_padding_mode(net, padding_mode)


def permutenet(num_classes: int, backbone: str = "resnet18", padding_mode: str = "zeros", *,
               permutation: str = "batch", width: int | None = None) -> nn.Module:
    """PermuteNet: features, global average pooling, shuffled channels, a linear layer.  -> logits

    permutation  see `heads.Shuffle`; "batch" is the released network, "none" the same head without the shuffle
    The other arguments are those of `gapnet`.
    """
    net = _backbone(backbone, width)
    net.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Shuffle(permutation, net.channels),
                             nn.Linear(net.channels, num_classes))
    return set_padding_mode(net, padding_mode)


def vgg(num_classes: int, width: int = 64, *, task: str = "classify") -> nn.Sequential:
    """A small VGG: four blocks of two convolutions with batch normalisation, 2x2 max-pools between them.

    width  channels of the first block, 64 in VGG-16; doubled from block to block.  Total stride 8
    task   "classify": GAP and a linear layer, logits (batch, label).  "segment": a 1x1 convolution, upsampled to the
           image, logits (batch, label, row, col)
    It has no residual connections, which need maps of equal size, so it also runs without padding
    (`padding.remove_padding`).
    """
    check_choice("task", task, ("classify", "segment"))
    blocks = make_layers([width, width, "M", 2 * width, 2 * width, "M", 4 * width, 4 * width, "M",
                          8 * width, 8 * width], batch_norm=True)
    head = (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, num_classes))
            if task == "classify" else nn.Sequential(nn.Conv2d(8 * width, num_classes, 1), nn.Upsample(scale_factor=8)))
    for conv in (m for m in blocks if isinstance(m, nn.Conv2d)):   # torchvision's initialisation
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
    return nn.Sequential(OrderedDict(features=blocks, head=head))


def check_timm_name(label: str, name: str, noun: str = "model") -> None:
    """ValueError, beginning with `label`, unless timm has a model of that name and, if it has a tag, weights of it."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        similar = difflib.get_close_matches(architecture, timm.list_models(), n=3) or ["resnet18", "resnet50"]
        raise ValueError(f"{label}: timm has no {noun} {name!r}; similar names are {', '.join(similar)}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(architecture)]
    if tag and tag not in tags:
        known = f"its tags are {', '.join(tags)}" if tags else "it has none"
        raise ValueError(f"{label}: timm's {architecture} has no weights tagged {tag!r}; {known}")


class Classifier(nn.Module):
    """One of timm's networks, which also returns its pooled latent: images -> z (batch, channel), logits.

    name   "cifar_resnet18": ResNet-18 for small images, with a 3x3 stem of stride 1, without max-pool, total stride 8;
           or any model name of timm, such as "resnet50"
    width  channels of the first stage of cifar_resnet18, an even number; None is 64
    blur   BlurPool (Zhang, 2019) in every strided layer after the stem, 2x2 averages in strided shortcuts; ResNets only
    Initial weights are drawn from torch's global generator.
    """
    net: Any   # timm's networks have methods in common, but no class that has these

    def __init__(self, name: str, num_classes: int, *, width: int | None = None, blur: bool = False):
        super().__init__()
        anti_aliased: dict[str, Any] = {"aa_layer": BlurPool2d, "avg_down": True} if blur else {}
        if name == "cifar_resnet18":
            w = width or 64
            if w % 2:
                raise ValueError(f"cifar_resnet18: width {w} is odd; give an even number")
            self.net = ResNet(TimmBlock,   # type: ignore[arg-type]  # timm's annotation lacks a `type[...]`
                              (2, 2, 2, 2), num_classes, channels=(w, 2 * w, 4 * w, 8 * w),
                              stem_type="deep", stem_width=w // 2, zero_init_last=False, **anti_aliased)
            self.net.conv1 = nn.Conv2d(3, w, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.net.maxpool = nn.Identity()
        else:
            check_timm_name("backbone", name)
            try:
                self.net = timm.create_model(name, num_classes=num_classes, **anti_aliased)
            except TypeError:
                raise ValueError(f"backbone: timm has no BlurPool for {name}, only for its ResNets; choose a ResNet, "
                                 "or a method without BlurPool") from None

    def forward(self, images: Images) -> tuple[Latents, Logits]:
        z = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        return z, self.net.get_classifier()(z)
