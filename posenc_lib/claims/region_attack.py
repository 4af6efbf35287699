"""Islam et al., ICCV 2021, Sec. 4.2 and supplement S3: ablation of channels, the claims and their rules."""
from collections.abc import Sequence
from math import inf, nan
from typing import NamedTuple

import pandas as pd
from scipy import stats

from posenc_lib.claims.claim import (
    CONTRADICTED,
    IN_DIRECTION,
    NOT_TRIED,
    REPRODUCED,
    Claim,
    Scale,
    direction,
    points,
    rival,
)
from posenc_lib.experiments.region_attack import REGION_FRACTION, SegmenterConfig
from posenc_lib.run.records import summarise

# The paper shows its numbers in figures only.  What can be counted is the authors' released rankings of 2,048 channels
# (github.com/islamamirul/PermuteNet at 8425918): how many of the first 100 and 300 two lists share (two random ones 4.9
# and 43.9), and Spearman's correlation.  A file called right holds a list called "left".
RELEASED = pd.DataFrame([("left", "right", 19, 104, 0.386), ("left", "overall", 10, 72, -0.01),
                         ("right", "overall", 13, 70, -0.03)],
                        columns=["first", "second", "shared of 100", "shared of 300", "spearman"])

# Points of mean IoU, the smallest effect of interest.  The paper prints no number.  Three networks that differ in
# nothing but their seed have 40.6 to 41.4 % with nothing ablated (CPU runs on file): less than a point is what a seed
# changes.
SMALLEST = 1.0
LARGEST = 1.0                         # the fraction nearest to it is the largest that was ablated
BEYOND_CIRCULAR = "beyond_circular"   # plain networks minus those with circular padding

# What a run needs.  After 1,000 steps at width 16 networks reach 40 % of mean IoU on CamVid, and ablating 15 % of the
# channels costs points.  After the 144 steps at width 8 of profile quick on streets it changes less than 0.3 points,
# whichever channels they are.  The gap of the flip-ranked set and the specificity of the signed lists at 15 % have an
# SD between networks of about 1.0 point (0.98, 0.73 and 0.95 over the three CPU runs at 120×160 pixels): a two-sided
# t-test at 5 % detects `SMALLEST` = 1 SD with a power of 0.80 from 10 networks on, by the noncentral t; the 95 %
# interval over 3 is 2.5 points to either side.  Controls are read by their own intervals, so they require no number of
# networks.
TRAINED = {"steps": 1000, "width": 16}
MINIMUM = {**TRAINED, "networks": 10}
# Periphery minus centre at the largest fraction has an SD of 0.29 points over the same three networks: there 3 see 1
# point with a power of 0.83, and their 95 % interval is 0.7 points to either side.
PERIPHERY_MINIMUM = {**TRAINED, "networks": 3}


class Gap(NamedTuple):
    """Points of mean IoU that ablating a ranked set costs beyond a control of the same size.

    network   "plain": mean and 95 % interval over n networks; `BEYOND_CIRCULAR`: mean of those minus mean of the
              networks with circular padding, 95 % interval (Student's t, pooled variance), n of the fewer; a control
              network: one seed, interval of a bootstrap over test images, n = 1
    kind      the ranking, see `ablation.Planned`
    against   "random" or "rms_matched"
    fraction  of the channels that are ablated
    """
    network: str
    kind: str
    against: str
    fraction: float
    mean: float
    low: float
    high: float
    n: int


class Specificity(NamedTuple):
    """Points of mean IoU that an ablation costs inside a region minus outside, beyond random sets; as `Gap`."""
    network: str
    kind: str
    region: str
    fraction: float
    mean: float
    low: float
    high: float
    n: int


Rows = Sequence[tuple]   # named tuples with mean, low, high and n


def gap_rows(gaps: pd.DataFrame) -> list[Gap]:
    """Make the rows that the rules take from the gaps of all runs (`ablation.rows_of`)."""
    return _rows(Gap, gaps, ["network", "kind", "against", "fraction"])


def specificity_rows(specificity: pd.DataFrame) -> list[Specificity]:
    """Make the rows that the rules take from the specificity of all runs (`ablation.rows_of`), or from
    `region_attack.periphery_specificity`, which has no intervals over images.
    """
    return _rows(Specificity, specificity, ["network", "kind", "region", "fraction"])


def _rows(row: type, frame: pd.DataFrame, by: list[str]) -> list:
    plain = frame[frame["network"] == "plain"]
    controls = frame[frame["network"] != "plain"].rename(columns={"value": "mean"}).assign(n=1)
    parts = [summarise(plain, by, "value"), _beyond_circular(frame, by), controls]
    rows = pd.concat([part for part in parts if len(part)])[list(row._fields)]
    return [row(*values) for values in rows.itertuples(index=False, name=None)]


def _beyond_circular(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The plain networks minus those with circular padding, one row per combination of `by` that both have."""
    rows = []
    for key, group in frame.groupby(by[1:], sort=False):
        plain, circular = (group.loc[group["network"] == name, "value"] for name in ("plain", "circular_padding"))
        if len(plain) and len(circular):
            interval = _difference(plain, circular)
            rows.append((BEYOND_CIRCULAR, *key, *interval, min(len(plain), len(circular))))
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def _difference(first: pd.Series, second: pd.Series) -> tuple[float, float, float]:
    """Difference of two means and its 95 % interval (Student's t, pooled variance); nan bounds for a single value."""
    mean = first.mean() - second.mean()
    if min(len(first), len(second)) < 2:
        return mean, nan, nan
    low, high = stats.ttest_ind(first, second).confidence_interval(0.95)
    return mean, low, high


def _select(rows: Rows, **values: str) -> list:
    return [row for row in rows if all(getattr(row, name) == value for name, value in values.items())]


def _nearest(rows: Rows, fraction: float) -> list:
    """The rows at the fraction nearest to `fraction`."""
    nearest = min((abs(row.fraction - fraction) for row in rows), default=0)
    return [row for row in rows if abs(row.fraction - fraction) == nearest]


def _sides(rows: Sequence[Specificity]) -> list[Specificity]:
    """The rows of left and right at the fraction that is judged."""
    return _nearest([row for row in rows if row.region in ("left", "right")], REGION_FRACTION)


def _verdict(rows: Rows) -> str:
    """`direction`, for a claim of which only the direction is judged, because the paper prints no number."""
    verdict = direction(rows, SMALLEST)
    return REPRODUCED if verdict == IN_DIRECTION else verdict


def _points(row: Gap | Specificity) -> str:
    """`points`, without an interval over networks where there is one network."""
    return points(row) if row.n > 1 else f"{row.mean:+.1f} points"


def _by_fraction(rows: Rows) -> str:
    return "; ".join(f"{100 * row.fraction:.0f} % of the channels: {points(row)}" for row in rows)


def _at(rows: Rows, fraction: float) -> tuple[str, str]:
    """Judge rows at the fraction nearest to `fraction`; the evidence lists the others too."""
    judged = _nearest(rows, fraction)
    others = [row for row in rows if row not in judged]
    evidence = f"{_by_fraction(judged)}, n = {min((row.n for row in judged), default=0)}"
    return _verdict(judged), f"{evidence}; not judged: {_by_fraction(others)}" if others else evidence


def _channels_overall(rows: Sequence[Gap]) -> tuple[str, str]:
    """Points of mean IoU lost by ablating the channels of highest flip response, minus the mean loss from ablating as
    many random ones, at 15 % of the channels, like the 300 of 2,048 that a folder name in the released code suggests;
    95 % interval over networks. The paper prints no number, so only the direction is judged. *Reproduced* when the
    interval lies above 0. *Contradicted* when it does not, and lies below 1 point, the smallest effect of interest.
    Otherwise *inconclusive*. Other fractions are shown but not judged.
    """
    return _at(_select(rows, network="plain", kind="flip", against="random"), REGION_FRACTION)


def _channels_periphery(rows: Sequence[Specificity]) -> tuple[str, str]:
    """Points of mean IoU lost by ablating the channels of highest flip response beyond as many random ones in the
    periphery (the outer quarters of the columns), minus the same in the centre (the two middle quarters); at the
    largest fraction ablated, where the loss is largest; 95 % interval over networks. The paper prints no number, so
    only the direction is judged. *Reproduced* when the interval lies above 0. *Contradicted* when it does not, and lies
    below 1 point, the smallest effect of interest. Otherwise *inconclusive*. Other fractions are shown but not judged.
    """
    return _at(_select(rows, network="plain", kind="flip", region="periphery"), LARGEST)


def _channels_region(rows: Sequence[Specificity]) -> tuple[str, str]:
    """Specificity: points of mean IoU that the left half loses minus those that the right half loses when the channels
    ranked for the left are ablated, minus the same for random sets of as many; and likewise for right, with the halves
    exchanged; at 15 % of the channels, like the 300 of 2,048 that a folder name in the released code suggests; 95 %
    interval over networks. The paper prints no number, so only the direction is judged. *Reproduced* when the intervals
    lie above 0 for left and for right. *Contradicted* when they do not, and one of them lies below 1 point, the
    smallest effect of interest. Otherwise *inconclusive*.
    """
    rows = _sides(_select(rows, network="plain", kind="signed"))
    numbers = "; ".join(f"{row.region}: {points(row)}" for row in rows)
    return _verdict(rows), f"{numbers}, n = {min((row.n for row in rows), default=0)}"


def _channels_overall_controls(rows: Sequence[Gap]) -> tuple[str, str]:
    """Two differences, at the fraction of the rule above: the cost of the flip-ranked set beyond RMS-matched random
    sets (95 % interval over networks), and its cost beyond random sets minus the same in networks with circular padding
    (95 % interval, Student's t with the pooled variance of both kinds of network). *Ruled out* when both intervals lie
    above 0. The *rival explanation holds* when there is a cost to explain (the rule's interval lies above 0) and one of
    the two explains it: RMS-matched sets cost as much, or networks with circular padding lose as much (the interval of
    that difference does not lie above 0, and lies below 1 point). Otherwise *undecided*. RMS-matched sets are drawn
    from channels that are not flip-ranked, where there are enough. *Not tried here* when there is no network with
    circular padding.
    """
    flip = _nearest(_select(rows, kind="flip"), REGION_FRACTION)
    beyond = _select(flip, network=BEYOND_CIRCULAR, against="random")
    if not beyond:
        return NOT_TRIED, "no network with circular padding was attacked"
    cost, = _select(flip, network="plain", against="random")
    matched, = _select(flip, network="plain", against="rms_matched")
    circular = _select(flip, network="circular_padding", against="random")
    versus_circular = direction(beyond, SMALLEST)
    ruled_out = matched.low > 0 and versus_circular == IN_DIRECTION
    holds = cost.low > 0 and CONTRADICTED in (direction([matched], SMALLEST), versus_circular)
    beside = _beside_circular(beyond[0], circular)
    return rival(ruled_out, holds, min(row.n for row in [*beyond, matched]),
                 f"beyond RMS-matched sets {_points(matched)}, n = {matched.n}; {beside}")


def _channels_periphery_controls(rows: Sequence[Specificity]) -> tuple[str, str]:
    """The rule's difference between periphery and centre, minus the same in networks with circular padding, in points
    of mean IoU (95 % interval, Student's t with the pooled variance of both kinds of network). *Ruled out* when the
    interval lies above 0. The *rival explanation holds* when there is a difference to explain (the rule's interval lies
    above 0) and networks with circular padding have as large a one: the interval does not lie above 0, and lies below 1
    point. Otherwise *undecided*. *Not tried here* when there is no network with circular padding.
    """
    flip = _nearest(_select(rows, kind="flip", region="periphery"), LARGEST)
    beyond = _select(flip, network=BEYOND_CIRCULAR)
    if not beyond:
        return NOT_TRIED, "no network with circular padding was attacked"
    difference, = _select(flip, network="plain")
    versus_circular = direction(beyond, SMALLEST)
    return rival(versus_circular == IN_DIRECTION, difference.low > 0 and versus_circular == CONTRADICTED, beyond[0].n,
                 _beside_circular(beyond[0], _select(flip, network="circular_padding")))


def _beside_circular(beyond: Gap | Specificity, circular: Rows) -> str:
    each = ", ".join(f"{row.mean:+.1f}" for row in circular)
    each = " and ".join(each.rsplit(", ", 1))
    return f"beyond networks with circular padding {_points(beyond)}, which have {each}"


def _channels_region_controls(rows: Sequence[Specificity]) -> tuple[str, str]:
    """Specificity at the fraction of the rule above, in two cases where it must be present: for the flip-ranked
    channels ablated in one half only (95 % interval over networks), and for the signed lists of each network trained
    without mirrored images, in which the two sides do differ (95 % interval of a bootstrap over test images; at least
    two networks). *Ruled out* when all these intervals lie above 0, for left and for right. The
    *rival explanation holds* when they do not, and one of them lies below 1 point, the smallest effect of interest: the
    method can then fail to detect a difference between the sides that exists. Otherwise *undecided*. This control
    concerns a missing effect; it does not separate position from other differences between the halves. *Not tried here*
    when no network was trained without mirrored images.
    """
    sides = sorted(_sides(rows), key=lambda row: row.region)
    local = _select(sides, network="plain", kind="only_there")
    signed = _select(sides, network="never_flipped", kind="signed")
    if not signed:
        return NOT_TRIED, "no network was trained without mirrored images"
    seen = direction([*local, *signed], SMALLEST)
    n = min((row.n for row in local), default=0)
    inside = "; ".join(f"{row.region} {_points(row)}" for row in local)
    lists = "; ".join(f"{row.region} {points(row)}" for row in signed)
    return rival(seen == IN_DIRECTION, seen == CONTRADICTED, min(n, len(_select(signed, region="left"))),
                 f"ablated only there: {inside}, n = {n}; signed lists, never mirrored, interval over images, each "
                 f"network: {lists}")


def scale(c: SegmenterConfig, size: tuple[int, int], networks: int) -> Scale:
    """The size of a run, and what in it stands in for the paper's set-up, as far as the released code shows that.

    c         the plain network's config; the controls have its size and schedule
    size      rows and columns of the images
    networks  number of plain networks
    """
    width = c.width or 64
    if c.weights not in ("", "imagenet"):
        return Scale({"steps": inf, "width": width, "networks": networks}, "a network trained elsewhere")
    steps = c.recipe.epochs * c.recipe.epoch_steps
    differences = [   # used, the paper's, unit
        (c.dataset.replace("cityscapes", "Cityscapes"), "Cityscapes", ""),
        (f"{size[0]}×{size[1]}", "1024×2048", " pixels"),
        (_network(c), "resnet50", ""),
        (c.layer, "layer4", ""),
        (f"{steps:,}", "30,000", " steps"),
        ("ImageNet" if c.weights else "random", "ImageNet", " weights"),
    ]
    substitutes = [f"{used} for {papers}{unit}" for used, papers, unit in differences if used != papers]
    return Scale({"steps": steps, "width": width, "networks": networks}, ", ".join(substitutes))


def _network(c: SegmenterConfig) -> str:
    """The backbone, and in what the network is not the authors' DeepLabv3."""
    width = f" of width {c.width}" if c.width else ""
    stride = f" at stride {c.output_stride}" if c.output_stride != 16 else ""
    return f"{c.net}{width}{stride}{' with the skip of DeepLabv3+' if c.plus else ''}"


CHANNELS_OVERALL = Claim(
    "channels-overall", "06_region_attack",
    "Removing the channels that change most when the image is mirrored harms segmentation more than removing as many "
    "at random.",
    "ICCV 2021, Sec. 4.2, Figs. 4 and 5", "", _channels_overall,
    "The rival explanation that removing these channels is harmful for reasons other than position: tested with "
    "RMS-matched random sets, which are as active but chosen without mirroring, and with the same attack on networks "
    "with circular padding, which cannot encode the column", _channels_overall_controls, "06_removal",
    ("ICCV 2021, Figs. 4 and 5",), MINIMUM, TRAINED)
CHANNELS_PERIPHERY = Claim(
    "channels-periphery", "06_region_attack",
    "Removing the channels that change most when the image is mirrored harms the periphery of the image more than the "
    "centre.",
    "ICCV 2021, Fig. 5 and slides", "", _channels_periphery,
    "The rival explanation that the content of the periphery is harder to segment without these channels, whether or "
    "not they encode position: tested with the same attack on networks with circular padding, which cannot encode the "
    "column",
    _channels_periphery_controls, "06_periphery", ("ICCV 2021, Figs. 4 and 5",), PERIPHERY_MINIMUM, TRAINED)
CHANNELS_REGION = Claim(
    "channels-region", "06_region_attack",
    "Removing the channels ranked for the left harms the left half of the image more than the right half, and vice "
    "versa.",
    "ICCV 2021, Sec. 4.2 and supplement S3", "", _channels_region,
    "The rival explanation of a missing effect, that the measure or the ranking cannot detect sides: tested with an "
    "ablation that is local by construction, and with networks trained without mirrored images, in which the sides do "
    "differ",
    _channels_region_controls, "06_regions", ("ICCV 2021, Figs. S3 and S4",), MINIMUM, TRAINED)

CLAIMS = (CHANNELS_OVERALL, CHANNELS_PERIPHERY, CHANNELS_REGION)
