"""Pedestrian detectors: Faster R-CNN, Cascade R-CNN and CSP."""
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import timm
import torch
from timm.models import hrnet
from timm.utils.model import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, normalize, pad, smooth_l1_loss
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, box_convert, clip_boxes_to_image, nms

from posenc_lib.base.shapes import Boxes, Detections, Features, Images
from posenc_lib.nets import pretrained

ASPECT = 0.41         # width over height of a person, as CityPersons annotates
MOST = 100            # detections of an image,
LEAST = 0.01          # none of a lower score
OVERLAP = 0.5         # of two detections that overlap more, the better one stays
KINDS = ("faster", "cascade", "csp")


def backbone(name: str, width: int | None = None, *, output_stride: int = 32) -> nn.Module:
    """images -> maps, shallow to deep; `strides` says how many pixels of the image a pixel of each is.

    name   a timm model: "resnet50", "hrnet_w32", "mobilenetv2_100", ...: maps of strides 4, 8, 16 and 32, or the last
           two of 16, dilated, where that is the output stride
    width  channels of the first stage, for a small network of the same kind.  Without the max-pool, so that small
           people are seen: a ResNet's maps have strides 4, 8 and 16.  None is the source's own network
    """
    if name.startswith("hrnet"):
        size = deepcopy(hrnet.cfg_cls[name])
        if width is not None:
            size["stem_width"] = 2 * width
            for branches in (1, 2, 3, 4):
                size[f"stage{branches}"]["num_channels"] = tuple(width * 2 ** n for n in range(branches))
        net = hrnet.HighResolutionNetFeatures(size, feature_location="", out_indices=(1, 2, 3, 4))
        strides = (4, 8, 16, 32)
    elif width is None:
        same = {"pad_type": "same"} if name.startswith("mobilenet") else {}
        net = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4), output_stride=output_stride, **same)
        strides = tuple(net.feature_info.reduction())
    else:
        net = timm.create_model(name, features_only=True, out_indices=(2, 3, 4), stem_type="deep",
                                stem_width=width // 2, channels=tuple(width * n for n in (1, 2, 4, 8)))
        net["maxpool"], strides = nn.Identity(), (4, 8, 16)
    net.strides = strides
    return net


def _enlarged(maps: Sequence[Tensor]) -> Tensor:
    """Maps resized to the first one's grid, side by side."""
    size = tuple(maps[0].shape[-2:])
    return torch.cat([maps[0], *(interpolate(m, size, mode="bilinear", align_corners=False) for m in maps[1:])], 1)


class _Pyramid(nn.Module):
    """HRNetV2p: f to `head` channels, then halved and halved again."""
    def __init__(self, channels: int, head: int, levels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, head, 1)
        self.smooth = nn.ModuleList(nn.Conv2d(head, head, 3, padding=1) for _ in range(levels))

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        f = self.reduce(maps["0"])
        return {str(n): smooth(avg_pool2d(f, 2 ** n) if n else f) for n, smooth in enumerate(self.smooth)}


class TwoStage(nn.Module):
    """Faster R-CNN on a feature pyramid; Cascade R-CNN where it has more than one box head.

        images -> f, what else is read -> pyramid -> proposals -> boxes, refined by head after head

    overlaps  IoU with a person from which each box head takes a proposal for one: (0.5,), or (0.5, 0.6, 0.7)
    fused     f is all maps of the backbone at the grid of the first, side by side, as in HRNetV2; else the deepest map
    heights   of the anchors, in pixels, on each map of the pyramid
    head      channels of the pyramid, and `units` of the two hidden layers of a box head
    proposals of an image that are refined
    """
    def __init__(self, net: nn.Module, *, overlaps: Sequence[float], fused: bool, heights: Sequence[Sequence[float]],
                 head: int = 256, units: int = 1024, proposals: int = 1000):
        super().__init__()
        self.backbone, self.fused = net, fused
        channels = net.feature_info.channels()
        self.pyramid = _Pyramid(sum(channels), head, len(heights)) if fused else FeaturePyramidNetwork(channels, head)
        sizes = tuple(tuple(height * ASPECT ** 0.5 for height in level) for level in heights)
        anchors = AnchorGenerator(sizes, ((1 / ASPECT,),) * len(sizes))
        kept = {"training": proposals, "testing": proposals}
        self.rpn = RegionProposalNetwork(anchors, RPNHead(head, anchors.num_anchors_per_location()[0]), 0.7, 0.3, 256,
                                         0.5, kept, kept, 0.7)
        self.stages = nn.ModuleList(
            RoIHeads(MultiScaleRoIAlign([str(n) for n in range(len(heights))], 7, 2), TwoMLPHead(head * 49, units),
                     FastRCNNPredictor(units, 2), overlap, overlap, proposals // 2, 0.25,
                     tuple(n * weight for weight in (10.0, 10.0, 5.0, 5.0)), LEAST, OVERLAP, MOST)
            for n, overlap in enumerate(overlaps, start=1))

    def features(self, images: Images) -> tuple[Features, list[Tensor]]:
        """f, whose channels are attacked, and what else is read."""
        rows, cols = images.shape[-2:]
        across, down = (-side % self.backbone.strides[-1] for side in (cols, rows))   # every map's pixels are whole
        maps = self.backbone(pad(images, (0, across, 0, down)))
        return (_enlarged(maps), []) if self.fused else (maps[-1], maps[:-1])

    def _read(self, f: Features, others: list[Tensor], size: tuple[int, int], targets: list[dict] | None):
        """Losses; and of the last head logits, box deltas and the proposals that they refine."""
        maps = self.pyramid({str(n): m for n, m in enumerate([*others, f])})
        sizes = [size] * len(f)
        whole = [side + -side % self.backbone.strides[-1] for side in size]
        proposals, losses = self.rpn(ImageList(f.new_zeros(len(f), 1, *whole), sizes), maps, targets)
        losses, told = sum(losses.values()), []
        for n, stage in enumerate(self.stages):
            if targets is not None:
                proposals, _, labels, wanted = stage.select_training_samples(list(proposals), targets)
            logits, deltas = stage.box_predictor(stage.box_head(stage.box_roi_pool(maps, proposals, sizes)))
            told.append(logits.softmax(-1))
            if targets is not None:
                losses = losses + sum(fastrcnn_loss(logits, deltas, labels, wanted)) / 2 ** n
            if n + 1 < len(self.stages):
                boxes = stage.box_coder.decode(deltas.detach(), proposals).reshape(-1, 2, 4)[:, 1]   # may be none
                proposals = [clip_boxes_to_image(b, size) for b in boxes.split([len(p) for p in proposals])]
        return losses, told, deltas, proposals

    def forward(self, images: Images, people: Boxes) -> Tensor:
        """The loss: that of proposals and of every head, each head's half of the one before.

        Who is ignored teaches the heads nothing; the proposals, which cannot ignore, learn them as people.
        """
        targets = [{"boxes": box_convert(there[:, :4], "xywh", "xyxy"), "labels": 1 - 2 * there[:, 5].long()}
                   for there in (rows[~rows[:, 0].isnan()] for rows in people)]   # -1: such proposals teach nothing
        f, others = self.features(images)
        with torch.autocast(images.device.type, enabled=False):   # bfloat16 would round anchors to 2 pixels beyond 256
            return self._read(f.float(), [m.float() for m in others], tuple(images.shape[-2:]), targets)[0]

    def decode(self, f: Features, others: list[Tensor], size: tuple[int, int]) -> list[Detections]:
        """The people of every image, best first, from what `features` gave, f changed or not."""
        _, told, deltas, proposals = self._read(f, others, size, None)
        scores = (sum(told) / len(told)).clamp_min(1e-9).log()   # as in the source, the mean of what the heads say
        boxes, scores, _ = self.stages[-1].postprocess_detections(scores, deltas, proposals, [size] * len(f))
        return [Detections(box_convert(b, "xyxy", "xywh"), s) for b, s in zip(boxes, scores, strict=True)]


class CSP(nn.Module):
    """Center and Scale Prediction: people as points, each with a height, and no anchors.

        images -> f, the deepest three maps enlarged to stride 4, each normalised -> centre, scale and offset maps

    head    channels that each map is brought to (256 in the source), and of the layer that reads f
    aspect  width over height of everybody; None learns the width as well
    Simpler than the source: the centre's part of the loss weighs 1 (there 0.01), and the height is learned in the cell
    of the centre alone (there also around it).
    """
    stride = 4     # pixels of the image a pixel of f

    def __init__(self, net: nn.Module, *, head: int = 256, aspect: float | None = ASPECT):
        super().__init__()
        self.backbone, self.aspect = net, aspect
        self.enlarge = nn.ModuleList(
            nn.Conv2d(channels, head, 3, padding=1) if stride == self.stride else
            nn.ConvTranspose2d(channels, head, stride // self.stride, stride // self.stride)
            for channels, stride in list(zip(net.feature_info.channels(), net.strides, strict=True))[-3:])
        self.scales = nn.Parameter(torch.full((3,), 10.0))
        told = nn.Conv2d(head, 4 if aspect else 5, 1)              # centre, log height, two offsets, log width
        self.read = nn.Sequential(nn.Conv2d(3 * head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head), nn.ReLU(),
                                  told)
        with torch.no_grad():
            told.bias.zero_()[0] = -4.6                            # at first, one place in a hundred is told a centre

    def features(self, images: Images) -> tuple[Features, list[Tensor]]:
        maps = [enlarge(m) for enlarge, m in zip(self.enlarge, self.backbone(images)[-3:], strict=True)]
        rows, cols = maps[0].shape[-2:]     # what is deeper may reach beyond
        return torch.cat([scale * normalize(m[..., :rows, :cols]) for scale, m in zip(self.scales, maps, strict=True)],
                         1), []

    def forward(self, images: Images, people: Boxes) -> Tensor:
        """The loss: where a centre is told, its height there and, for a tenth, where in its cell it lies; by person.

        A place counts the less as a mistake the nearer it is to a centre (the source's Eq. 2 to 4), and nothing within
        those who are ignored.
        """
        told = self.read(self.features(images)[0]).float()                             # (batch, 4, row, col)
        left, top, width, height = (people[..., :4] / self.stride).unbind(-1)          # in cells
        at = torch.stack([top + height / 2, left + width / 2], -1)                     # (batch, person, 2)
        away = [torch.arange(n, device=at.device) + 0.5 - a[..., None]
                for n, a in zip(told.shape[-2:], at.unbind(-1), strict=True)]          # (batch, person, row), ... col)
        hills, covered = zip(*((torch.exp(-(d / (0.15 * side + 0.35)[..., None]) ** 2 / 2),
                                d.abs() <= side[..., None] / 2)
                               for d, side in zip(away, (height, width), strict=True)), strict=True)
        real = people[..., 5] == 0
        hill = torch.where(real[..., None, None], hills[0][..., None] * hills[1][..., None, :], 0.0).amax(1)
        ignored = (people[..., 5] == 1)[..., None, None]
        unknown = (covered[0][..., None] & covered[1][..., None, :] & ignored).any(1)
        image, person = real.nonzero(as_tuple=True)
        cell = at[image, person].long()
        centre = torch.zeros_like(unknown).index_put((image, *cell.T), torch.tensor(True, device=at.device))
        p = told[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
        mistaken = torch.where(centre, -(1 - p) ** 2 * p.log(), -(1 - hill) ** 4 * p ** 2 * (1 - p).log() * ~unknown)
        there = told[image, :, *cell.T]                                                # (person, 4 or 5)
        sides = torch.stack([height, *([] if self.aspect else [width])], -1)[image, person].log()
        large = smooth_l1_loss(there[:, [1, *range(4, there.shape[1])]], sides, reduction="sum")
        within = smooth_l1_loss(there[:, 2:4], at[image, person] - cell - 0.5, reduction="sum")
        return (mistaken.sum() + large + 0.1 * within) / max(len(image), 1)

    def decode(self, f: Features, others: list[Tensor], size: tuple[int, int]) -> list[Detections]:
        told = self.read(f).float()
        scores, cell = told[:, 0].sigmoid().flatten(1).topk(min(5 * MOST, told[0, 0].numel()))
        told = told.flatten(2).gather(2, cell[:, None].expand(-1, told.shape[1], -1))  # (batch, 4 or 5, candidate)
        row, col = (at + 0.5 + offset for at, offset in
                    zip((cell // f.shape[-1], cell % f.shape[-1]), told[:, 2:4].unbind(1), strict=True))
        height = told[:, 1].exp()
        width = self.aspect * height if self.aspect else told[:, 4].exp()
        boxes = self.stride * torch.stack([col, row, width, height], -1)
        found = []
        for box, score in zip(box_convert(boxes, "cxcywh", "xyxy"), scores, strict=True):
            box, score = clip_boxes_to_image(box[score > LEAST], size), score[score > LEAST]
            kept = nms(box, score, OVERLAP)[:MOST]
            found.append(Detections(box_convert(box[kept], "xyxy", "xywh"), score[kept]))
        return found


def from_imagenet(net: TwoStage | CSP, name: str, root: Path | str) -> TwoStage | CSP:
    """Fill the backbone with weights for ImageNet (`encoders.fill`) and freeze its batch norm; returns the detector."""
    pretrained.load_imagenet_backbone(net.backbone, name, root)
    strides, net.backbone = net.backbone.strides, freeze_batch_norm_2d(net.backbone)
    net.backbone.strides = strides
    return net
