"""GAPNet and PermuteNet on the authors' ResNet-18 or on NIN (built up by hand in page 03), PosENet's readout and a
small VGG to read from (page 02), the classifiers of page 05, and weights from a file.

Source: Islam et al., ICCV 2021, Sec. 3, and ICLR 2020, Sec. 3; released code for what the texts leave open.
"""
import difflib
from collections import OrderedDict

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
    backbone = BACKBONES[check_choice("backbone", name, tuple(BACKBONES))]
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


def vgg(num_classes: int, width: int = 64, *, task: str = "classify") -> nn.Sequential:
    """A small VGG to train and then to read from: four blocks of two convolutions with batch normalisation, 2x2 pools.

    width  channels of the first block, 64 in VGG-16; doubled from block to block.  Total stride 8
    task   "classify": GAP and a linear layer, logits (batch, label).  "segment": a 1x1 convolution, enlarged to the
           image, logits (batch, label, row, col)
    No residual sum asks two maps to be equally large, so it also runs without padding (`padding.remove_padding`).
    """
    check_choice("task", task, ("classify", "segment"))
    blocks = make_layers([width, width, "M", 2 * width, 2 * width, "M", 4 * width, 4 * width, "M",
                          8 * width, 8 * width], batch_norm=True)
    head = (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, num_classes))
            if task == "classify" else nn.Sequential(nn.Conv2d(8 * width, num_classes, 1), nn.Upsample(scale_factor=8)))
    for conv in (m for m in blocks if isinstance(m, nn.Conv2d)):   # as torchvision starts its VGGs
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(conv.bias)
    return nn.Sequential(OrderedDict(features=blocks, head=head))


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
