"""How many people a detector misses: the log-average miss rate of CityPersons, and average precision (page 07).

Source: Dollar, Wojek, Schiele, Perona, "Pedestrian Detection", TPAMI 2012, for the measure; Zhang, Benenson, Schiele,
"CityPersons", CVPR 2017, for set-ups and rules of counting, which are those of its evaluation script.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from posenc_lib.base.checks import check_choice
from posenc_lib.base.shapes import Boxes, Detections
from posenc_lib.measure.canvas import REGIONS, zones

OVERLAP = 0.5       # a detection with as much of it finds a person
MOST = 1000         # detections of an image that count, the best ones
EXPANDED = 1.25     # detections count to a fourth beyond the heights of the people looked for
FPPI = (0.0100, 0.0178, 0.0316, 0.0562, 0.1000, 0.1778, 0.3162, 0.5623, 1.0000)   # as rounded in the script
CHUNK = 64          # draws of a bootstrap that are scored at once
ROUNDING = 1e-12    # a miss rate below it is 0, but for sums of fractional weights


@dataclass(frozen=True)
class Setup:
    """Lowest and highest height, in the benchmark's pixels, and share of the body seen, 0..1, of people looked for."""
    height: tuple[float, float]
    visible: tuple[float, float]


SETUPS = {"Reasonable": Setup((50.0, inf), (0.65, inf)), "Small": Setup((50.0, 75.0), (0.65, inf)),
          "Heavy": Setup((50.0, inf), (0.2, 0.65)), "All": Setup((20.0, inf), (0.2, inf))}


@dataclass(frozen=True)
class Matches:
    """The detections that count, those of all images together, best first: the number of the image each is in, its
    score, and whether it found a person, else it is a false positive.  people: how many each image has to be found.
    """
    image: Int[Tensor, " n"]
    score: Float[Tensor, " n"]
    right: Bool[Tensor, " n"]
    people: Int[Tensor, " image"]


def match(people: Boxes, detections: Sequence[Detections], setup: Setup, *, unit: float = 1.0, region: str = "",
            size: tuple[int, int] | None = None) -> Matches:
    """Tell for every detection whether it found a person that the set-up looks for.

        people    A 100 high, B 40 high      Reasonable looks for A and ignores B
        .9 on A -> right    .8 on A -> false, A is taken    .7 and .6 on B -> left out    .5 on neither -> false

    people      (image, person, 6) rows of left, top, width, height, visible 0..1, ignore 0 or 1; in pixels, rows of
                nan for nobody.  A row with ignore, or outside the set-up, is ignored.
    detections  one of each image
    unit        pixels of the picture to one of the benchmark's: 0.5 for pictures of half its size
    region      a key of `canvas.REGIONS`, with the pictures' size (rows, cols): count only there

    The best detection chooses first, equal ones in their order: of the people not yet taken the one with which it
    has the largest intersection over union, at least 1/2, the later of two alike; only when there is none, an ignored
    one that covers 1/2 of its own area, then it is left out.  Heights a fourth beyond the set-up's are left out first.
    A region leaves this as it is and counts its part: people and those who found them by the person's centre, false
    positives by their own.  So left and right add up to the whole.  A box without area overlaps nothing.
    ValueError for a score or a box that is not finite, negative sides, and what does not fit together.
    """
    _check(people, detections)
    if not (isfinite(unit) and unit > 0):
        raise ValueError(f"matched: unit is {unit}; give the positive number of pixels to one of the benchmark's")
    regular = people[..., 5] == 0
    for values, (low, high) in ((people[..., 3] / unit, setup.height), (people[..., 4], setup.visible)):
        regular &= (values >= low) & (values <= high)    # in the boxes' own precision: 0.65 is within its bound
    nobody = ((0, 0), (0, 1))                            # a last row, which a person numbered -1 is
    regular = np.pad(regular.cpu().numpy(), nobody)
    truth = np.pad(people[..., :4].double().cpu().numpy(), (*nobody, (0, 0)), constant_values=nan)

    counts = [len(found.scores) for found in detections]
    boxes, scores = (torch.cat(parts).double().cpu().numpy() for parts in zip(*detections, strict=True))
    image = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-scores, image))                 # by image, best first, equal ones as they come
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    height = boxes[order, 3] / unit
    order = order[(rank < MOST) & (height >= setup.height[0] / EXPANDED) & (height < setup.height[1] * EXPANDED)]
    image, scores, boxes = image[order], scores[order], boxes[order]
    start = np.searchsorted(image, np.arange(len(counts) + 1))
    person = np.array([p for n in range(len(counts))
                       for p in _choices(boxes[start[n]:start[n + 1]], truth[n], regular[n])], dtype=int)

    right = regular[image, person]
    counted = right | (person == -1)
    if region:
        counted &= _inside(np.where(right[:, None], truth[image, person], boxes), region, size)
        regular &= _inside(truth, region, size)
    counted = np.flatnonzero(counted)
    counted = counted[np.argsort(-scores[counted], kind="stable")]
    return Matches(*(torch.from_numpy(values) for values in
                     (image[counted], scores[counted], right[counted], regular.sum(1))))


def _check(people: Tensor, detections: Sequence[Detections]) -> None:
    """One sentence for what cannot be scored."""
    if len(detections) != len(people) or not len(people):
        raise ValueError(f"missrate: there are {len(people)} images and detections of {len(detections)}; give one "
                         f"`Detections` for each of at least one image")
    whole = people.isfinite().all(-1) & (people[..., 2:4] >= 0).all(-1) | people.isnan().all(-1)
    if not whole.all():
        raise ValueError(f"missrate: image {int((~whole).nonzero()[0, 0])} has a person with a negative side or a "
                         f"value that is not finite; only a row of nothing but nan is nobody")
    for n, (boxes, scores) in enumerate(detections):
        fault = (f"{len(scores)} scores for boxes of shape {tuple(boxes.shape)}" if boxes.shape != (len(scores), 4) else
                 "a score that is not finite" if not scores.isfinite().all() else
                 "a box with a negative side or a value that is not finite" if not (
                     boxes.isfinite().all() and (boxes[:, 2:] >= 0).all()) else "")
        if fault:
            raise ValueError(f"missrate: the detections of image {n} have {fault}; give n finite scores and (n, 4) "
                             f"boxes of left, top, width, height")


def _choices(boxes: np.ndarray, people: np.ndarray, regular: np.ndarray) -> list[int]:
    """The person that each box of an image, best first, chooses; -1 where there is none."""
    order = [*np.flatnonzero(regular).tolist(), *np.flatnonzero(~regular & ~np.isnan(people[:, 0])).tolist()]
    ignored = int(regular.sum())                                            # where they start
    one, other = boxes[:, None], people[None, order]                        # (detection, person, 4)
    shared = (np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
              - np.maximum(one[..., :2], other[..., :2])).clip(0).prod(-1)
    areas = one[..., 2:].prod(-1), other[..., 2:].prod(-1)
    whole = np.where(np.arange(len(order)) < ignored, areas[0] + areas[1] - shared, areas[0])
    chosen, free = [], list(range(len(order)))
    for overlaps in (shared / np.where(shared > 0, whole, 1)).tolist():
        best, choice = OVERLAP, -1
        for p in free:
            if p >= ignored and choice != -1:
                break
            if overlaps[p] >= best:
                best, choice = overlaps[p], p
        if 0 <= choice < ignored:
            free.remove(choice)
        chosen.append(-1 if choice == -1 else order[choice])
    return chosen


def _inside(boxes: np.ndarray, region: str, size: tuple[int, int] | None) -> np.ndarray:
    """Whether the centre of each box lies in the region, or is nearest to it from outside the picture."""
    check_choice("region", region, REGIONS)
    if size is None:
        raise ValueError(f"matched: region {region!r} was asked for without a size; give the pictures' (rows, cols)")
    col, row = np.moveaxis(np.nan_to_num(boxes[..., :2] + boxes[..., 2:] / 2), -1, 0)
    row, col = (np.clip(at, 0, n - 1).astype(int) for at, n in zip((row, col), size, strict=True))
    return np.isin(zones(*size).numpy()[row, col], REGIONS[region])


def miss_rate_curve(matches: Matches, weights: Float[Tensor, "draw image"] | None = None
          ) -> tuple[Float[Tensor, "draw point"], Float[Tensor, "draw point"]]:
    """False positives per image, and miss rate 0..1: before the first detection (0 and 1), and after each.

    weights  how often each image counts, as of `metrics.bootstrap`; None is one draw, where all count once
    Images without people count as images.  The miss rate is nan where there are no people.
    ValueError for weights that are negative or not one an image.
    """
    n = len(matches.people)
    weights = torch.ones(1, n) if weights is None else weights
    if weights.shape[1:] != (n,) or not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError(f"curve: weights are {tuple(weights.shape)} and {n} images were matched; give (draw, {n}) "
                         f"numbers that are finite and not negative")
    weights = weights.double().cpu()
    each = weights[:, matches.image]                                        # (draw, detection)
    false, found = (pad(each * part, (1, 0)).cumsum(1) for part in (~matches.right, matches.right))
    return false / weights.sum(1, keepdim=True), 1 - found / (weights @ matches.people.double())[:, None]


def log_average(matches: Matches, weights: Float[Tensor, "draw image"] | None = None, *,
                official_script: bool = True, least: float = 0.0) -> Float[Tensor, " draw"]:
    """MR^-2, 0..1: the geometric mean of the miss rates at the nine points of false positives per image, `FPPI`.

    weights  as for `miss_rate_curve`: one value a draw; None gives one value, where all images count once
    At a point the miss rate is that after the last detection with no more false positives per image, wherever the
    curve ends, and 1 where even the first is beyond it.  1 without detections; 0 where one of the nine is 0; nan where
    there are no people.  A draw of as many images as there are is scored as the set in which they are repeated.

    quirk    whether to do as the script does, where of fewer than 100 images the best detection is false: beyond the
             first points, it is looked up at index -1 of the list, so they get the miss rate of the curve's end.
             With few images this can make 0 of a bad detector.  None of the peers' cases tells: it is by the letter.
    least    people who count as missed at a point where nobody is: 0 in the script, where one such point makes 0 of
             the mean.  0.5 is half of what can be told apart, so that easy sets can be compared
    """
    n = len(matches.people)
    points, scores = torch.tensor(FPPI, dtype=torch.float64), []
    for chunk in (torch.ones(1, n) if weights is None else weights).split(CHUNK):
        false, miss = miss_rate_curve(matches, chunk)
        within = torch.searchsorted(false, points.repeat(len(chunk), 1), right=True) - 1   # (draw, point)
        rates = miss.gather(1, within.clamp(min=0))
        if official_script and len(matches.right):
            first = (chunk.cpu()[:, matches.image] > 0).int().argmax(1)     # the best detection of those drawn
            rates = torch.where(~matches.right[first][:, None] & (points < 1 / n), miss[:, -1:], rates)
        floor = least / (chunk.double().cpu() @ matches.people.double())[:, None]
        scores.append(rates.masked_fill(rates < ROUNDING, 0).maximum(floor).log().mean(1).exp())
    return torch.cat(scores)


def false_positives(matches: Matches, threshold: float) -> Int[Tensor, " image"]:
    """How many false positives of at least this score each image has."""
    counted = ~matches.right & (matches.score >= threshold)
    return matches.image[counted].bincount(minlength=len(matches.people))


def average_precision(people: Boxes, detections: Sequence[Detections]) -> float:
    """Area under precision over recall, 0..1, as COCO takes it: at 101 recalls, of the 100 best detections an image.

    people, detections  as for `match`.  Everybody counts, whatever their height and how much is seen, but for the
    ignored: a detection that covers one by half is neither right nor false.  nan where nobody counts.
    """
    from torchmetrics.detection import MeanAveragePrecision  # takes seconds

    _check(people, detections)
    metric = MeanAveragePrecision("xywh", iou_thresholds=[OVERLAP])
    metric.warn_on_many_detections = False
    for found, truth in zip(detections, people, strict=True):
        truth = truth[~truth.isnan().all(-1)].cpu()
        metric.update([{"boxes": found.boxes.cpu(), "scores": found.scores.cpu(),
                        "labels": torch.zeros(len(found.scores), dtype=torch.long)}],
                      [{"boxes": truth[:, :4], "labels": torch.zeros(len(truth), dtype=torch.long),
                        "iscrowd": (truth[:, 5] != 0).long()}])
    area = float(metric.compute()["map"])
    return nan if area == -1 else area


def miss_rate(ground_truth: dict, detections: list[dict], setup: str) -> float:
    """MR^-2 in percent, from the contents of the benchmark's own files.

    ground_truth  images with id; annotations with image_id and bbox, and, if known, height, vis_ratio (else 1) and
                  ignore (else iscrowd, else 0)
    detections    with image_id, bbox and score, and height if known
    setup         a key of `SETUPS`
    Boxes are (left, top, width, height) in the benchmark's pixels.  What has a category_id other than 1, pedestrian,
    is left out.  ValueError for a missing key, an image that is not there, a height that is not that of the box, no
    images, and where the set-up leaves nobody to be found.
    """
    check_choice("setup", setup, SETUPS)
    images, annotations = _read("the ground truth", ground_truth, "images", "annotations")
    number = {image: n for n, image in enumerate(sorted({_read("an image", i, "id")[0] for i in images}))}
    if not number:
        raise ValueError("miss_rate: the ground truth has no image; give those that the detector has seen")
    truth, found = ([[] for _ in number] for _ in range(2))
    for kind, rows, into in (("annotation", annotations, truth), ("detection", detections, found)):
        for at, row in enumerate(rows):
            image, box, *score = _read(f"{kind} {at}", row, "image_id", "bbox", *["score"] * (into is found))
            if image not in number:
                raise ValueError(f"miss_rate: {kind} {at} is of image {image!r}, which the ground truth does not have; "
                                 f"its {len(number)} images go from {min(number)!r} to {max(number)!r}")
            if abs(row.get("height", box[3]) - box[3]) > 1e-3:
                raise ValueError(f"miss_rate: {kind} {at} has height {row['height']} and a box {box[3]} high; "
                                 f"give the same number twice, or only the box")
            rest = score or (row.get("vis_ratio", 1), row.get("ignore", row.get("iscrowd", 0)))
            if row.get("category_id", 1) == 1:
                into[number[image]].append([*box, *rest])
    people = torch.full((len(number), max(map(len, truth)), 6), nan, dtype=torch.float64)
    for n, rows in enumerate(truth):
        people[n, :len(rows)] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    tables = [torch.tensor(rows, dtype=torch.float64).reshape(-1, 5) for rows in found]
    matches = match(people, [Detections(table[:, :4], table[:, 4]) for table in tables], SETUPS[setup])
    if not matches.people.any():
        raise ValueError(f"miss_rate: none of the {sum(map(len, truth))} people is one that {setup} looks for; take "
                         f"another set-up or more images")
    return 100 * log_average(matches).item()


def _read(name: str, of: dict, *keys: str) -> list:
    if missing := [key for key in keys if key not in of]:
        raise ValueError(f"miss_rate: {name} has no {' and no '.join(missing)}; it needs {', '.join(keys)}")
    return [of[key] for key in keys]
