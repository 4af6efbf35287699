"""DeepLabv3 and DeepLabv3+ on a ResNet."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.segmentation.deeplabv3 import ASPP

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Dropout
from posenc_lib.base.shapes import Features, Images
from posenc_lib.nets import weights
from posenc_lib.nets.pretrained import load_imagenet_backbone

Low = Float[Tensor, "batch low_channel low_row low_col"]   # layer1's feature map
BACKBONES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
STAGES = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _aspp(channels: int, rates: Sequence[int], head: int) -> ASPP:
    """torchvision's ASPP, with a dropout that draws from the run's own generator."""
    aspp = ASPP(channels, list(rates), head)
    aspp.project[-1] = Dropout(aspp.project[-1].p)
    return aspp


class _Plus(nn.Module):
    """The head of DeepLabv3+: ASPP upsampled to layer1's map, concatenated with a few channels of that map."""
    def __init__(self, channels: int, low_channels: int, num_classes: int, rates: Sequence[int], head: int):
        super().__init__()
        projected = min(48, low_channels)
        self.project = nn.Sequential(nn.Conv2d(low_channels, projected, 1, bias=False), nn.BatchNorm2d(projected),
                                     nn.ReLU())
        self.aspp = _aspp(channels, rates, head)
        self.classifier = nn.Sequential(
            nn.Conv2d(head + projected, head, 3, padding=1, bias=False), nn.BatchNorm2d(head), nn.ReLU(),
            nn.Conv2d(head, num_classes, 1))

    def forward(self, f: Features, low: Low) -> Tensor:
        upsampled = interpolate(self.aspp(f), tuple(low.shape[-2:]), mode="bilinear", align_corners=False)
        return self.classifier(torch.cat([self.project(low), upsampled], 1))


class Segmenter(nn.Module):
    """DeepLabv3: a dilated ResNet, atrous spatial pyramid pooling (ASPP), logits upsampled to the image.

        images (batch, rgb, row, col) -> f (batch, channel, f_row, f_col) -> logits (batch, label, row, col)

    name           "resnet18", "resnet34" or "resnet50"
    width          channels of the first stage, for a small network of basic blocks, without max pool so that it is
                   exactly shift-invariant under circular padding.  None is the published network, which has 64
    output_stride  total stride of f, 8 or 16; the authors use 16, torchvision 8
    rates          dilation rates of ASPP: the authors' for stride 16; torchvision has (12, 24, 36) for stride 8
    head           channels of ASPP, 256 in the source
    plus           DeepLabv3+, also in the released code: the head has layer1 as a second input, for thin objects
    Parameters have torchvision's names and order.  Weights are random, from torch's global generator.
    """
    backbone: Any   # timm's ResNet, whose own annotations do not allow for another stem
    classifier: nn.Module

    def __init__(self, name: str, num_classes: int, *, width: int | None = None, output_stride: int = 16,
                 rates: tuple[int, ...] = (6, 12, 18), head: int = 256, plus: bool = False):
        super().__init__()
        blocks = BACKBONES[check_choice("segmenter", name, tuple(BACKBONES))]
        check_choice("output_stride", output_stride, (8, 16))
        if width is None:
            self.backbone = timm.create_model(name, output_stride=output_stride, num_classes=0, global_pool="")
        elif width % 2:
            raise ValueError(f"segmenter: width {width} is odd; give an even number")
        else:   # timm's output stride includes the max pool, which is removed below
            self.backbone = ResNet(BasicBlock,   # type: ignore[arg-type]  # timm's annotation lacks a `type[...]`
                                   blocks, output_stride=2 * output_stride, num_classes=0, global_pool="",
                                   zero_init_last=False, stem_type="deep", stem_width=width // 2,
                                   channels=tuple(width * n for n in (1, 2, 4, 8)))
            self.backbone.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.backbone.maxpool = nn.Identity()
        channels, low_channels = (self.backbone.feature_info[n]["num_chs"] for n in (-1, 1))
        if plus:
            self.classifier = _Plus(channels, low_channels, num_classes, rates, head)
        else:
            self.classifier = nn.Sequential(
                _aspp(channels, rates, head), nn.Conv2d(head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head),
                nn.ReLU(), nn.Conv2d(head, num_classes, 1))

    def features(self, images: Images, layer: str = "layer4") -> tuple[Features, Low | None]:
        """f, the output of `layer` (ASPP takes layer4's), and layer1's map, None if `layer` comes before it."""
        x, low = images, None
        for stage in STAGES[:STAGES.index(check_choice("layer", layer, STAGES)) + 1]:
            x = getattr(self.backbone, stage)(x)
            low = x if stage == "layer1" else low
        return x, low

    def decode(self, f: Features, low: Low | None, size: tuple[int, int],
               layer: str = "layer4") -> Float[Tensor, "batch label out_row out_col"]:
        """Logits of `size` (rows, cols) from what `features` returned for `layer`, with f intact or ablated."""
        low = f if layer == "layer1" else low
        for stage in STAGES[STAGES.index(check_choice("layer", layer, STAGES)) + 1:]:
            f = getattr(self.backbone, stage)(f)
            low = f if stage == "layer1" else low
        logits = self.classifier(f, low) if isinstance(self.classifier, _Plus) else self.classifier(f)
        return interpolate(logits, size, mode="bilinear", align_corners=False)

    def forward(self, images: Images) -> Float[Tensor, "batch label row col"]:
        rows, cols = images.shape[-2:]
        return self.decode(*self.features(images), (rows, cols))


def from_imagenet(net: Segmenter, name: str, root: Path | str) -> Segmenter:
    """Load ImageNet weights into the backbone and return the network."""
    load_imagenet_backbone(net.backbone, name, root)
    return net


def load_checkpoint(net: Segmenter, path: Path | str) -> Segmenter:
    """Load a user's weights into `net` and return it in evaluation mode.

    path  .safetensors, or a torch.save file of a state dict, bare or in a trainer's checkpoint (`weights.read`)
    Prefixes of trainers (`weights.load`) and of the authors' code ("classifier.classifier.") are converted;
    torchvision's auxiliary classifier is dropped.  Files are read with weights_only, so that none can run code.
    FileNotFoundError without a file.  ValueError if it is damaged, holds anything but tensors and plain values, or has
    other classes or another architecture.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} does not exist; give the path of a state dict, .safetensors or "
                                "saved by torch.save")
    expected = net.state_dict()
    state = {name: tensor for name, tensor in weights.read(path, "checkpoint").items() if "aux_classifier." not in name}
    if not isinstance(net.classifier, _Plus):
        state = {name.replace("classifier.classifier.", "classifier."): tensor for name, tensor in state.items()}
    last = list(expected)[-1]   # the classifier's bias
    theirs = next((tensor for name, tensor in state.items() if name.endswith(last)), expected[last])
    if theirs.ndim == 1 and theirs.shape != expected[last].shape:
        raise ValueError(f"checkpoint: {path} has {len(theirs)} classes, but the image set has {len(expected[last])}; "
                         "give one that was trained on these classes")
    weights.load(net, state, path, "checkpoint", noun="network", kind="this network")
    return net
