"""DeepLabv3 and DeepLabv3+ on a ResNet."""
import codecs
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import timm
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.segmentation.deeplabv3 import ASPP

from posenc_lib.base import files
from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Dropout
from posenc_lib.base.shapes import Features, Images
from posenc_lib.nets import pretrained

Low = Float[Tensor, "batch low_channel low_row low_col"]   # layer1's map, beside the deeper f
BACKBONES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
STAGES = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")
# The released code keeps its best score as a NumPy number beside the weights.
_SCALARS = [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
            np._core.multiarray.scalar, np.dtype, type(np.dtype(np.float64)), codecs.encode]


def _aspp(channels: int, rates: Sequence[int], head: int) -> ASPP:
    """torchvision's, with a dropout that draws from the run's own generator."""
    aspp = ASPP(channels, list(rates), head)
    aspp.project[-1] = Dropout(aspp.project[-1].p)
    return aspp


class _Plus(nn.Module):
    """The head of DeepLabv3+: ASPP enlarged to an early map, beside a few channels of that map."""
    def __init__(self, channels: int, low_channels: int, num_classes: int, rates: Sequence[int], head: int):
        super().__init__()
        low = min(48, low_channels)
        self.project = nn.Sequential(nn.Conv2d(low_channels, low, 1, bias=False), nn.BatchNorm2d(low), nn.ReLU())
        self.aspp = _aspp(channels, rates, head)
        self.classifier = nn.Sequential(nn.Conv2d(head + low, head, 3, padding=1, bias=False), nn.BatchNorm2d(head),
                                        nn.ReLU(), nn.Conv2d(head, num_classes, 1))

    def forward(self, f: Features, low: Low) -> Tensor:
        enlarged = interpolate(self.aspp(f), tuple(low.shape[-2:]), mode="bilinear", align_corners=False)
        return self.classifier(torch.cat([self.project(low), enlarged], 1))


class Segmenter(nn.Module):
    """DeepLabv3: a dilated ResNet, atrous spatial pyramid pooling (ASPP), logits enlarged to the image.

        images (batch, rgb, row, col) -> f (batch, channel, f_row, f_col) -> logits (batch, label, row, col)

    name           "resnet18", "resnet34" or "resnet50"
    width          channels of the first stage, 64 in the source.  Given one, the network is a small one of basic
                   blocks without max-pool, so that a circular network stays exactly shift-invariant.  None is the
                   source's own network
    output_stride  pixels of the image a pixel of f, 8 or 16; the authors' is 16, torchvision's 8
    rates          dilations of ASPP: the authors' at stride 16; (12, 24, 36) is torchvision's, at 8
    head           channels of ASPP, 256 in the source
    plus           DeepLabv3+: the head also reads layer1, for what is thin; one of the networks of the released code
    Parameters are named and ordered as torchvision's.  Random weights, from torch's global generator.
    """
    def __init__(self, name: str, num_classes: int, *, width: int | None = None, output_stride: int = 16,
                 rates: tuple[int, ...] = (6, 12, 18), head: int = 256, plus: bool = False):
        super().__init__()
        blocks = BACKBONES[check_choice("segmenter", name, tuple(BACKBONES))]
        check_choice("output_stride", output_stride, (8, 16))
        if width is None:
            self.backbone = timm.create_model(name, output_stride=output_stride, num_classes=0, global_pool="")
        elif width % 2:
            raise ValueError(f"segmenter: width {width} was asked for; give an even number")
        else:   # timm counts the stride of the max-pool that is taken out here
            self.backbone = ResNet(BasicBlock, blocks, output_stride=2 * output_stride, num_classes=0, global_pool="",
                                   zero_init_last=False, stem_type="deep", stem_width=width // 2,
                                   channels=tuple(width * n for n in (1, 2, 4, 8)))
            self.backbone.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.backbone.maxpool = nn.Identity()
        channels, low = (self.backbone.feature_info[n]["num_chs"] for n in (-1, 1))
        self.classifier = _Plus(channels, low, num_classes, rates, head) if plus else nn.Sequential(
            _aspp(channels, rates, head), nn.Conv2d(head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head),
            nn.ReLU(), nn.Conv2d(head, num_classes, 1))

    def features(self, images: Images, layer: str = "layer4") -> tuple[Features, Low | None]:
        """f, what `layer` of the backbone puts out (ASPP reads the last one's), and layer1's map if it is passed."""
        x, low = images, None
        for stage in STAGES[:STAGES.index(check_choice("layer", layer, STAGES)) + 1]:
            x = getattr(self.backbone, stage)(x)
            low = x if stage == "layer1" else low
        return x, low

    def decode(self, f: Features, low: Low | None, size: tuple[int, int],
               layer: str = "layer4") -> Float[Tensor, "batch label shown_row shown_col"]:
        """The rest of the way: logits of `size` from what `features` gave, f changed or not."""
        low = f if layer == "layer1" else low
        for stage in STAGES[STAGES.index(check_choice("layer", layer, STAGES)) + 1:]:
            f = getattr(self.backbone, stage)(f)
            low = f if stage == "layer1" else low
        logits = self.classifier(f, low) if isinstance(self.classifier, _Plus) else self.classifier(f)
        return interpolate(logits, size, mode="bilinear", align_corners=False)

    def forward(self, images: Images) -> Float[Tensor, "batch label row col"]:
        return self.decode(*self.features(images), tuple(images.shape[-2:]))


def from_imagenet(net: Segmenter, name: str, root: Path | str) -> Segmenter:
    """Fill the backbone with ImageNet weights (`pretrained.load_imagenet_backbone`); returns the network."""
    pretrained.load_imagenet_backbone(net.backbone, name, root)
    return net


def load_checkpoint(net: Segmenter, path: Path | str) -> Segmenter:
    """Fill `net` from a user's file: .safetensors, or what torch.save wrote of a state dict, bare or in a dictionary
    under "model_state" (as the authors' code does), "state_dict" or "model".  Returns it, in evaluation mode.

    Names of DataParallel ("module.") and of the authors' code ("classifier.classifier.") are understood; torchvision's
    auxiliary classifier is left out.  Only tensors and plain values are read (weights_only): a file that holds code
    is refused with a ValueError, as is one that is damaged, or of other classes or another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} was asked for and is not there; give the path of a state dict, "
                                ".safetensors or torch.save's")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals(_SCALARS):
                state = files.read(path)
    except UnpicklingError:
        raise ValueError(f"checkpoint: {path} holds more than tensors and plain values, or is no checkpoint, and is "
                         "refused: reading it could run what is in it; save net.state_dict() alone") from None
    except Exception as error:   # what torch raises on a damaged file depends on where it is damaged
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise ValueError(f"checkpoint: {path} is damaged or no checkpoint ({reason}); copy it again") from None
    for name in ("model_state", "state_dict", "model"):
        state = state.get(name, state) if isinstance(state, dict) else {}
    state = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    wanted = net.state_dict()
    weights = {name.removeprefix("module."): tensor for name, tensor in state.items() if "aux_classifier." not in name}
    weights = {name if name in wanted else name.replace("classifier.classifier.", "classifier."): tensor
               for name, tensor in weights.items()}
    last = list(wanted)[-1]
    if last in weights and weights[last].ndim == 1 and weights[last].shape != wanted[last].shape:
        raise ValueError(f"checkpoint: {path} tells {len(weights[last])} classes apart, and the image set has "
                         f"{len(wanted[last])}; give one that was trained on these classes")
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        odd = sorted(set(weights) ^ set(wanted))[:3] or ["the shapes of its tensors"]
        raise ValueError(f"checkpoint: {path} does not fit this network: it has {len(weights)} tensors, the network "
                         f"{len(wanted)}; they differ in {', '.join(odd)}") from None
    return net.eval()
