"""Log-average miss rate of pedestrian detectors, as in CityPersons, and average precision.  Used on page 07.

Sources: Dollar, Wojek, Schiele, Perona, "Pedestrian Detection", TPAMI 2012, for the measure; Zhang, Benenson, Schiele,
"CityPersons", CVPR 2017, for the set-ups and the matching rules, which are those of its evaluation script.
"""
from collections.abc import Iterator, Sequence
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

MIN_OVERLAP = 0.5        # IoU of a true positive
MAX_DETECTIONS = 1000    # per image, those of highest score
HEIGHT_MARGIN = 1.25     # detections count up to this factor outside the set-up's heights
FPPI = (0.0100, 0.0178, 0.0316, 0.0562, 0.1000, 0.1778, 0.3162, 0.5623, 1.0000)   # as rounded in the script
CHUNK = 64               # bootstrap draws that are scored at once
ROUNDING = 1e-12         # a smaller miss rate is the rounding error of fractional weights
UNMATCHED, IGNORED = -1, -2


@dataclass(frozen=True)
class Setup:
    """Which people are evaluated: (lowest, highest) height in benchmark pixels, and visible fraction of the body."""
    height: tuple[float, float]
    visible: tuple[float, float]


SETUPS = {"Reasonable": Setup((50.0, inf), (0.65, inf)), "Small": Setup((50.0, 75.0), (0.65, inf)),
          "Heavy": Setup((50.0, inf), (0.2, 0.65)), "All": Setup((20.0, inf), (0.2, inf))}


@dataclass(frozen=True)
class Matches:
    """True and false positives of all images, by descending score.

    image   index of the image
    score   of the detection
    right   whether it is a true positive
    people  number of people to be detected in each image
    """
    image: Int[Tensor, " n"]
    score: Float[Tensor, " n"]
    right: Bool[Tensor, " n"]
    people: Int[Tensor, " image"]


def match(people: Boxes, detections: Sequence[Detections], setup: Setup, *, unit: float = 1.0, region: str = "",
          size: tuple[int, int] | None = None, most: int = MAX_DETECTIONS) -> Matches:
    """Greedy matching of detections to people by descending score, as in COCO.

        people    A 100 high, B 40 high      Reasonable evaluates A and ignores B
        .9 on A -> true     .8 on A -> false, A is taken     .7 and .6 on B -> ignored     .5 on neither -> false

    people      (image, person, 6) rows of left, top, width, height, visible 0..1, ignore 0 or 1; in pixels, unused rows
                nan.  People with ignore, or outside the set-up, are ignored
    detections  one `Detections` per image
    unit        image pixels per benchmark pixel: 0.5 for images of half the size
    region      a key of `canvas.REGIONS`, with the images' size (rows, cols): count only inside it
    most        number of detections of an image that count, those of highest score

    Detections match in descending score, ties in their order.  Each takes the free person of highest IoU, at least 0.5,
    the last of ties.  Without one, it is ignored if an ignored person covers half of its area, else a false positive.
    Detections outside the set-up's heights by more than a factor of 1.25 are dropped first.
    A region does not change the matching.  It counts people and true positives by the person's centre, false positives
    by their own, so that left and right add up to the whole image.  A box without area overlaps nothing.
    ValueError for scores and boxes that are not finite, negative sides, and arguments that do not fit each other.
    """
    _check(people, detections)
    if not (isfinite(unit) and unit > 0):
        raise ValueError(f"match: unit is {unit}; give a positive number, the image pixels per benchmark pixel")
    # Compared in the boxes' own precision, in which a visible fraction of 0.65 lies within its bound.
    height, visible = people[..., 3] / unit, people[..., 4]
    in_setup = people[..., 5] == 0
    in_setup &= (height >= setup.height[0]) & (height <= setup.height[1])
    in_setup &= (visible >= setup.visible[0]) & (visible <= setup.visible[1])
    evaluated = in_setup.cpu().numpy()                                      # (image, person)
    truth = people[..., :4].double().cpu().numpy()                          # (image, person, 4)

    counts = np.array([len(scores) for _, scores in detections])
    boxes, scores = (torch.cat(parts).double().cpu().numpy() for parts in zip(*detections, strict=True))
    image = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-scores, image))                                    # image by image, by descending score
    position = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    heights = boxes[order, 3] / unit
    fits = (heights >= setup.height[0] / HEIGHT_MARGIN) & (heights < setup.height[1] * HEIGHT_MARGIN)
    order = order[fits & (position < most)]
    image, boxes, scores = image[order], boxes[order], scores[order]
    person = _assign(boxes, image, truth, evaluated)

    right, counted = person >= 0, person != IGNORED
    if region:
        boxes[right] = truth[image[right], person[right]]
        counted &= _inside(boxes, region, size)
        evaluated &= _inside(truth, region, size)
    order = np.flatnonzero(counted)
    order = order[np.argsort(-scores[order], kind="stable")]
    columns = image[order], scores[order], right[order], evaluated.sum(1)
    return Matches(*map(torch.from_numpy, columns))


def _check(people: Tensor, detections: Sequence[Detections]) -> None:
    """Raise ValueError for input that cannot be scored."""
    if len(detections) != len(people) or not len(people):
        raise ValueError(f"miss_rate: people of {len(people)} images and detections of {len(detections)} were given; "
                         f"give one `Detections` per image, for at least one image")
    valid = people.isfinite().all(-1) & (people[..., 2:4] >= 0).all(-1) | people.isnan().all(-1)
    if not valid.all():
        raise ValueError(f"miss_rate: image {int((~valid).nonzero()[0, 0])} has a person with a negative side or a "
                         f"value that is not finite; fill only whole unused rows with nan")
    if all(boxes.shape == (len(scores), 4) for boxes, scores in detections) and not _fault(
            *map(torch.cat, zip(*detections, strict=True))):
        return
    n, fault = next((n, fault) for n, part in enumerate(detections) if (fault := _fault(*part)))
    raise ValueError(f"miss_rate: the detections of image {n} have {fault}; give n finite scores and (n, 4) "
                     f"boxes of left, top, width, height")


def _fault(boxes: Tensor, scores: Tensor) -> str:
    """What is wrong with detections; "" if nothing is."""
    if boxes.shape != (len(scores), 4):
        return f"{len(scores)} scores for boxes of shape {tuple(boxes.shape)}"
    if not scores.isfinite().all():
        return "a score that is not finite"
    if not (boxes.isfinite().all() and (boxes[:, 2:] >= 0).all()):
        return "a box with a negative side or a value that is not finite"
    return ""


def _assign(boxes: np.ndarray, image: np.ndarray, people: np.ndarray, evaluated: np.ndarray) -> np.ndarray:
    """The person whom each detection takes, else UNMATCHED or IGNORED.

    boxes, image  of the detections, those of an image by descending score
    """
    people_there, is_target = people[image], evaluated[image]               # (detection, person, ...)
    area = boxes[:, None, 2:].prod(-1)                                      # (detection, 1)
    shared = _intersection(boxes[:, None], people_there)                    # (detection, person), nan in unused rows
    shares = shared > 0
    union = np.where(shares, area + people_there[..., 2:].prod(-1) - shared, 1)
    iou = np.where(shares & is_target, shared / union, 0)
    on_ignored = (shares & ~is_target & (shared / np.where(shares, area, 1) >= MIN_OVERLAP)).any(1)
    assigned = np.where(on_ignored, IGNORED, UNMATCHED)
    free = evaluated.copy()
    for n in np.flatnonzero((iou >= MIN_OVERLAP).any(1)):
        overlaps = np.where(free[image[n]], iou[n], 0)
        best = len(overlaps) - 1 - int(overlaps[::-1].argmax())             # the last of ties
        if overlaps[best] >= MIN_OVERLAP:
            free[image[n], best] = False
            assigned[n] = best
    return assigned


def _intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas that boxes (..., 4) share, pair by pair."""
    start = np.maximum(first[..., :2], second[..., :2])
    end = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    return (end - start).clip(0).prod(-1)


def _inside(boxes: np.ndarray, region: str, size: tuple[int, int] | None) -> np.ndarray:
    """Whether the centre of each box, moved to the nearest pixel of the image, lies in the region."""
    check_choice("region", region, REGIONS)
    if size is None:
        raise ValueError(f"match: region {region!r} needs the size of the images; give size=(rows, cols)")
    centre = np.nan_to_num(boxes[..., :2] + boxes[..., 2:] / 2)
    col = centre[..., 0].clip(0, size[1] - 1).astype(int)
    row = centre[..., 1].clip(0, size[0] - 1).astype(int)
    return np.isin(zones(*size).numpy()[row, col], REGIONS[region])


def miss_rate_curve(matches: Matches, weights: Float[Tensor, "draw image"] | None = None
          ) -> tuple[Float[Tensor, "draw point"], Float[Tensor, "draw point"]]:
    """False positives per image and miss rate 0..1, before the first detection (0 and 1) and after each.

    weights  how often each image counts, as `metrics.bootstrap` draws them; None counts each once, in one draw
    Images without people count as images.  Without people at all, the miss rate is nan.
    ValueError for weights that are negative or not one per image.
    """
    n = len(matches.people)
    weights = torch.ones(1, n) if weights is None else weights
    if weights.shape[1:] != (n,) or not (weights.isfinite() & (weights >= 0)).all():
        raise ValueError(f"miss_rate_curve: weights of shape {tuple(weights.shape)} were given for {n} images; give "
                         f"(draw, {n}) numbers that are finite and not negative")
    weights = weights.double().cpu()
    weight = weights[:, matches.image]                                      # (draw, detection)
    false_positives = pad(weight * ~matches.right, (1, 0)).cumsum(1)        # (draw, 1 + detection)
    true_positives = pad(weight * matches.right, (1, 0)).cumsum(1)
    people = (weights @ matches.people.double())[:, None]                   # (draw, 1)
    return false_positives / weights.sum(1, keepdim=True), 1 - true_positives / people


def log_average(matches: Matches, weights: Float[Tensor, "draw image"] | None = None, *,
                official_script: bool = True, least: float = 0.0) -> Float[Tensor, " draw"]:
    """MR^-2, 0..1: the geometric mean of the miss rates at the nine false positives per image of `FPPI`.

    At each of them, the miss rate is that after the last detection with no more false positives per image, even where
    the curve ends before, and 1 if the first detection already has more.  So it is 1 without detections, 0 if any of
    the nine is 0, and nan without people.

    weights          as in `miss_rate_curve`: one value per draw, or a single one for None.  A bootstrap draw is scored
                     as the set that repeats its images
    official_script  whether to reproduce an index error of the script.  With fewer than 100 images and a false positive
                     of highest score, it looks up the points before the first detection at index -1, the end of the
                     curve, and so can give 0 to a bad detector of a small set.  No test case of the script covers it;
                     it is implemented from its text
    least            number of missed people that counts as the minimum at each point.  In the script it is 0, and one
                     point without a miss makes the mean 0; half a person, 0.5, keeps easy sets comparable
    """
    n = len(matches.people)
    points, averages = torch.tensor(FPPI, dtype=torch.float64), []
    for chunk in (torch.ones(1, n) if weights is None else weights).split(CHUNK):
        false_positives, miss = miss_rate_curve(matches, chunk)
        last = torch.searchsorted(false_positives, points.repeat(len(chunk), 1), right=True) - 1   # (draw, point)
        rates = miss.gather(1, last.clamp(min=0))
        if official_script and len(matches.right):
            first = (chunk.cpu()[:, matches.image] > 0).int().argmax(1)     # the best detection of the drawn images
            starts_false = ~matches.right[first][:, None]
            rates = torch.where(starts_false & (points < 1 / n), miss[:, -1:], rates)
        people = (chunk.double().cpu() @ matches.people.double())[:, None]  # (draw, 1)
        rates = rates.masked_fill(rates < ROUNDING, 0).maximum(least / people)
        averages.append(rates.log().mean(1).exp())
    return torch.cat(averages)


def false_positives(matches: Matches, threshold: float) -> Int[Tensor, " image"]:
    """Number of false positives of each image with a score of at least `threshold`."""
    counted = ~matches.right & (matches.score >= threshold)
    return matches.image[counted].bincount(minlength=len(matches.people))


def average_precision(people: Boxes, detections: Sequence[Detections]) -> float:
    """COCO's average precision at IoU 0.5, 0..1: over 101 recalls, of the 100 best detections per image.

    people, detections  as in `match`.  People of any height and visibility count, unless they have ignore, in which
    case detections on them are neither true nor false positives.  nan if nobody counts.
    """
    matches = match(people, detections, Setup((0.0, inf), (0.0, inf)), most=100)
    if not matches.people.any():
        return nan
    right = matches.right.double().cumsum(0)
    recall = right / matches.people.sum()
    precision = right / torch.arange(1, len(right) + 1)
    precision = precision.flip(0).cummax(0).values.flip(0)                  # the best at this recall or a higher one
    reached = torch.searchsorted(recall, torch.from_numpy(np.linspace(0, 1, 101)))
    return pad(precision, (0, 1))[reached].mean().item()                    # 0 at recalls that are not reached


def miss_rate(ground_truth: dict, detections: list[dict], setup: str) -> float:
    """MR^-2 in percent, from the contents of the benchmark's own files.

    ground_truth  images with id; annotations with image_id, bbox and optionally height, vis_ratio (default 1), ignore
                  (default iscrowd, else 0)
    detections    with image_id, bbox, score and optionally height
    setup         a key of `SETUPS`
    Boxes are (left, top, width, height) in benchmark pixels.  Entries of a category_id other than 1, pedestrian, are
    skipped.  ValueError for a missing key, an unknown image, a height that is not its box's, no images, and a set-up
    under which nobody is evaluated.
    """
    check_choice("setup", setup, SETUPS)
    _require("the ground truth", ground_truth, "images", "annotations")
    for image in ground_truth["images"]:
        _require("an image", image, "id")
    number = {image: n for n, image in enumerate(sorted({image["id"] for image in ground_truth["images"]}))}
    if not number:
        raise ValueError("miss_rate: the ground truth has no image; give those that the detector was run on")
    people: list[list[list[float]]] = [[] for _ in number]
    boxes: list[list[list[float]]] = [[] for _ in number]
    scores: list[list[float]] = [[] for _ in number]
    for n, entry in _pedestrians("annotation", ground_truth["annotations"], number, "image_id", "bbox"):
        ignore = entry.get("ignore", entry.get("iscrowd", 0))
        people[n].append([*entry["bbox"], entry.get("vis_ratio", 1), ignore])
    for n, entry in _pedestrians("detection", detections, number, "image_id", "bbox", "score"):
        boxes[n].append(entry["bbox"])
        scores[n].append(entry["score"])

    truth = torch.full((len(number), max(map(len, people)), 6), nan, dtype=torch.float64)
    for n, rows in enumerate(people):
        truth[n, :len(rows)] = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    predicted = [Detections(torch.tensor(box, dtype=torch.float64).reshape(-1, 4),
                            torch.tensor(score, dtype=torch.float64))
                 for box, score in zip(boxes, scores, strict=True)]
    matches = match(truth, predicted, SETUPS[setup])
    if not matches.people.any():
        raise ValueError(f"miss_rate: none of the {sum(map(len, people))} people is evaluated under {setup}; choose "
                         f"another set-up or more images")
    return 100 * log_average(matches).item()


def _pedestrians(kind: str, entries: list[dict], number: dict, *keys: str) -> Iterator[tuple[int, dict]]:
    """(index of its image, entry) of every pedestrian; ValueError for an entry that cannot be used."""
    for n, entry in enumerate(entries):
        _require(f"{kind} {n}", entry, *keys)
        image, height = entry["image_id"], entry["bbox"][3]
        if image not in number:
            raise ValueError(f"miss_rate: {kind} {n} has image_id {image!r}, which the ground truth does not have; the "
                             f"ids of its {len(number)} images range from {min(number)!r} to {max(number)!r}")
        if abs(entry.get("height", height) - height) > 1e-3:
            raise ValueError(f"miss_rate: {kind} {n} has height {entry['height']} and a box of height {height}; make "
                             f"them equal, or leave height out")
        if entry.get("category_id", 1) == 1:
            yield number[image], entry


def _require(name: str, entry: dict, *keys: str) -> None:
    if missing := [key for key in keys if key not in entry]:
        raise ValueError(f"miss_rate: {name} lacks {' and '.join(missing)}; it needs {', '.join(keys)}")
