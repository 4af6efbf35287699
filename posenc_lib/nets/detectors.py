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
from posenc_lib.nets.pretrained import load_imagenet_backbone

ASPECT = 0.41           # width over height of a person, as annotated in CityPersons
MAX_DETECTIONS = 100    # per image
MIN_SCORE = 0.01
NMS_IOU = 0.5
KINDS = ("faster", "cascade", "csp")


def backbone(name: str, width: int | None = None, *, output_stride: int = 32) -> nn.Module:
    """images -> feature maps, shallow to deep; the attribute `strides` holds the stride of each.

    name   a timm model: "resnet50", "hrnet_w32", "mobilenetv2_100", ...: maps of strides 4, 8, 16 and 32, or 4, 8, 16
           and 16 (dilated) at output stride 16
    width  channels of the first stage, for a small network of the same architecture.  A small ResNet has no max pool,
           for the sake of small people: its maps have strides 4, 8 and 16.  None is the published network
    """
    if name.startswith("hrnet"):
        architecture = deepcopy(hrnet.cfg_cls[name])
        if width is not None:
            architecture["stem_width"] = 2 * width
            for branches in (1, 2, 3, 4):
                architecture[f"stage{branches}"]["num_channels"] = tuple(width * 2 ** n for n in range(branches))
        net = hrnet.HighResolutionNetFeatures(architecture, feature_location="", out_indices=(1, 2, 3, 4))
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


def _concatenated(maps: Sequence[Tensor]) -> Tensor:
    """Maps upsampled to the size of the first and concatenated along channels."""
    size = tuple(maps[0].shape[-2:])
    upsampled = [interpolate(m, size, mode="bilinear", align_corners=False) for m in maps[1:]]
    return torch.cat([maps[0], *upsampled], 1)


class _Pyramid(nn.Module):
    """HRNetV2p: f reduced to `head` channels, then average-pooled by 1, 2, 4, ..."""
    def __init__(self, channels: int, head: int, levels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, head, 1)
        self.smooth = nn.ModuleList(nn.Conv2d(head, head, 3, padding=1) for _ in range(levels))

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        f = self.reduce(maps["0"])
        return {str(n): smooth(avg_pool2d(f, 2 ** n) if n else f) for n, smooth in enumerate(self.smooth)}


class TwoStage(nn.Module):
    """Faster R-CNN on a feature pyramid; Cascade R-CNN with more than one box head.

        images -> f and the remaining maps -> pyramid -> proposals -> boxes, refined by one box head after another

    overlaps   IoU from which each box head assigns a proposal to a person: (0.5,), or (0.5, 0.6, 0.7)
    fused      whether f is all maps of the backbone, upsampled and concatenated, as in HRNetV2; else the deepest map
    heights    of the anchors in pixels, for each map of the pyramid
    head       channels of the pyramid
    units      of the two hidden layers of a box head
    proposals  per image
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
                     tuple(n * weight for weight in (10.0, 10.0, 5.0, 5.0)), MIN_SCORE, NMS_IOU, MAX_DETECTIONS)
            for n, overlap in enumerate(overlaps, start=1))

    def features(self, images: Images) -> tuple[Features, list[Tensor]]:
        """f, whose channels are ablated, and the remaining maps of the pyramid."""
        rows, cols = images.shape[-2:]
        right, bottom = (-side % self.backbone.strides[-1] for side in (cols, rows))   # up to a multiple of the stride
        maps = self.backbone(pad(images, (0, right, 0, bottom)))
        return (_concatenated(maps), []) if self.fused else (maps[-1], maps[:-1])

    def _run_heads(self, f: Features, remaining: list[Tensor], size: tuple[int, int], targets: list[dict] | None):
        """Loss; class probabilities of every box head; box deltas of the last one, and the proposals they refine."""
        maps = self.pyramid({str(n): m for n, m in enumerate([*remaining, f])})
        sizes = [size] * len(f)
        padded_size = [side + -side % self.backbone.strides[-1] for side in size]
        proposals, losses = self.rpn(ImageList(f.new_zeros(len(f), 1, *padded_size), sizes), maps, targets)
        loss, probabilities = sum(losses.values()), []
        for n, stage in enumerate(self.stages):
            if targets is not None:
                proposals, _, labels, true_deltas = stage.select_training_samples(list(proposals), targets)
            logits, deltas = stage.box_predictor(stage.box_head(stage.box_roi_pool(maps, proposals, sizes)))
            probabilities.append(logits.softmax(-1))
            if targets is not None:
                loss = loss + sum(fastrcnn_loss(logits, deltas, labels, true_deltas)) / 2 ** n
            if n + 1 < len(self.stages):
                boxes = stage.box_coder.decode(deltas.detach(), proposals).reshape(-1, 2, 4)[:, 1]   # can be empty
                proposals = [clip_boxes_to_image(b, size) for b in boxes.split([len(p) for p in proposals])]
        return loss, probabilities, deltas, proposals

    def forward(self, images: Images, people: Boxes) -> Tensor:
        """Loss: that of the proposals plus that of every box head, each weighted half as much as the one before.

        Ignored people are left out of the heads' losses; the proposal network, which cannot ignore, learns them as
        people.
        """
        targets = []
        for rows in people:
            rows = rows[~rows[:, 0].isnan()]
            labels = 1 - 2 * rows[:, 5].long()   # 1 for a person, -1 for proposals that are left out of the loss
            targets.append({"boxes": box_convert(rows[:, :4], "xywh", "xyxy"), "labels": labels})
        f, remaining = self.features(images)
        with torch.autocast(images.device.type, enabled=False):   # bfloat16 rounds coordinates above 256 to 2 pixels
            return self._run_heads(f.float(), [m.float() for m in remaining], tuple(images.shape[-2:]), targets)[0]

    def decode(self, f: Features, remaining: list[Tensor], size: tuple[int, int]) -> list[Detections]:
        """The detections in every image, best first, from what `features` returned, with f intact or ablated."""
        _, probabilities, deltas, proposals = self._run_heads(f, remaining, size, None)
        mean = sum(probabilities) / len(probabilities)   # over the heads, as in the source
        boxes, scores, _ = self.stages[-1].postprocess_detections(mean.clamp_min(1e-9).log(), deltas, proposals,
                                                                  [size] * len(f))
        return [Detections(box_convert(b, "xyxy", "xywh"), s) for b, s in zip(boxes, scores, strict=True)]


class CSP(nn.Module):
    """Center and Scale Prediction (CSP): anchor-free, a person is a centre point with a height.

        images -> f, the deepest three maps upsampled to stride 4, each L2-normalised -> centre, scale and offset maps

    head    channels of each upsampled map (256 in the source), and of the layer that reads f
    aspect  width over height of every person; None predicts the width too
    Simplified from the source: the centre loss has weight 1 (0.01 in the source), and the height is learned only in
    the cell of the centre (in the source, also around it).
    """
    stride = 4     # of f

    def __init__(self, net: nn.Module, *, head: int = 256, aspect: float | None = ASPECT):
        super().__init__()
        self.backbone, self.aspect = net, aspect
        self.enlarge = nn.ModuleList(
            nn.Conv2d(channels, head, 3, padding=1) if stride == self.stride else
            nn.ConvTranspose2d(channels, head, stride // self.stride, stride // self.stride)
            for channels, stride in list(zip(net.feature_info.channels(), net.strides, strict=True))[-3:])
        self.scales = nn.Parameter(torch.full((3,), 10.0))
        last = nn.Conv2d(head, 4 if aspect else 5, 1)   # centre, log height, two offsets, log width
        self.read = nn.Sequential(nn.Conv2d(3 * head, head, 3, padding=1, bias=False), nn.BatchNorm2d(head), nn.ReLU(),
                                  last)
        with torch.no_grad():
            last.bias.zero_()[0] = -4.6   # a prior of 1 % that a cell is a centre

    def features(self, images: Images) -> tuple[Features, list[Tensor]]:
        """f, whose channels are ablated; no other map is used."""
        maps = [enlarge(m) for enlarge, m in zip(self.enlarge, self.backbone(images)[-3:], strict=True)]
        rows, cols = maps[0].shape[-2:]   # upsampled deeper maps can be larger
        normalised = [scale * normalize(m[..., :rows, :cols]) for scale, m in zip(self.scales, maps, strict=True)]
        return torch.cat(normalised, 1), []

    def forward(self, images: Images, people: Boxes) -> Tensor:
        """Loss per person: focal loss of the centre map, L1 of the log height and, weighted by 0.1, of the offsets.

        Cells near a centre count less as false positives (the source's Eq. 2 to 4), those within an ignored person not
        at all.
        """
        predictions = self.read(self.features(images)[0]).float()                     # (batch, 4 or 5, row, col)
        rows, cols = predictions.shape[-2:]
        left, top, width, height = (people[..., :4] / self.stride).unbind(-1)         # (batch, person), in cells
        is_person, is_ignored = people[..., 5] == 0, people[..., 5] == 1              # rows of nan are neither
        middle_row, middle_col = top + height / 2, left + width / 2

        # Distance of every row and column of cells from every person's centre.
        row_distance = torch.arange(rows, device=people.device) + 0.5 - middle_row[..., None]   # (batch, person, row)
        col_distance = torch.arange(cols, device=people.device) + 0.5 - middle_col[..., None]   # (batch, person, col)

        # A Gaussian around every person's centre, the highest where they overlap.
        row_gaussian = torch.exp(-(row_distance / (0.15 * height + 0.35)[..., None]) ** 2 / 2)
        col_gaussian = torch.exp(-(col_distance / (0.15 * width + 0.35)[..., None]) ** 2 / 2)
        gaussian = row_gaussian[..., None] * col_gaussian[..., None, :]               # (batch, person, row, col)
        gaussian = torch.where(is_person[..., None, None], gaussian, 0.0).amax(1)     # (batch, row, col)

        # Cells within the box of an ignored person.
        row_covered = row_distance.abs() <= height[..., None] / 2
        col_covered = col_distance.abs() <= width[..., None] / 2
        covered = row_covered[..., None] & col_covered[..., None, :]                  # (batch, person, row, col)
        ignored = (covered & is_ignored[..., None, None]).any(1)                      # (batch, row, col)

        # The cell that holds each person's centre; from here on, `person` indexes the people of all images together.
        image, person = is_person.nonzero(as_tuple=True)
        middle = torch.stack([middle_row, middle_col], -1)[image, person]             # (person, 2)
        cell = middle.long()
        row, col = cell.unbind(-1)
        is_centre = torch.zeros_like(ignored)
        is_centre[image, row, col] = True

        p = predictions[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
        positive_loss = -(1 - p) ** 2 * p.log()
        negative_loss = -(1 - gaussian) ** 4 * p ** 2 * (1 - p).log() * ~ignored
        centre_loss = torch.where(is_centre, positive_loss, negative_loss).sum()

        at_centre = predictions[image, :, row, col]                                   # (person, 4 or 5)
        if self.aspect:
            log_sides, true_sides = at_centre[:, [1]], height[..., None]
        else:
            log_sides, true_sides = at_centre[:, [1, 4]], torch.stack([height, width], -1)
        size_loss = smooth_l1_loss(log_sides, true_sides[image, person].log(), reduction="sum")
        offset_loss = smooth_l1_loss(at_centre[:, 2:4], middle - cell - 0.5, reduction="sum")
        return (centre_loss + size_loss + 0.1 * offset_loss) / max(len(image), 1)

    def decode(self, f: Features, remaining: list[Tensor], size: tuple[int, int]) -> list[Detections]:
        """The detections in every image, best first, from what `features` returned, with f intact or ablated."""
        predictions = self.read(f).float()                                            # (batch, 4 or 5, row, col)
        centre = predictions[:, 0].sigmoid().flatten(1)
        scores, cell = centre.topk(min(5 * MAX_DETECTIONS, centre.shape[1]))          # (batch, candidate)
        predictions = predictions.flatten(2)
        predictions = predictions.gather(2, cell[:, None].expand(-1, predictions.shape[1], -1))
        row = cell // f.shape[-1] + 0.5 + predictions[:, 2]
        col = cell % f.shape[-1] + 0.5 + predictions[:, 3]
        height = predictions[:, 1].exp()
        width = self.aspect * height if self.aspect else predictions[:, 4].exp()
        boxes = box_convert(self.stride * torch.stack([col, row, width, height], -1), "cxcywh", "xyxy")
        detections = []
        for box, score in zip(boxes, scores, strict=True):
            sure = score > MIN_SCORE
            box, score = clip_boxes_to_image(box[sure], size), score[sure]
            kept = nms(box, score, NMS_IOU)[:MAX_DETECTIONS]
            detections.append(Detections(box_convert(box[kept], "xyxy", "xywh"), score[kept]))
        return detections


def from_imagenet(net: TwoStage | CSP, name: str, root: Path | str) -> TwoStage | CSP:
    """Load ImageNet weights into the backbone, freeze its batch norm, and return the detector."""
    load_imagenet_backbone(net.backbone, name, root)
    strides = net.backbone.strides
    net.backbone = freeze_batch_norm_2d(net.backbone)
    net.backbone.strides = strides
    return net
