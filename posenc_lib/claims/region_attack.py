"""Islam et al., ICCV 2021, Sec. 4.2 and supplement S3: ablation of channels, the claims and their rules."""
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from posenc_lib.claims.claim import (
    NOT_TRIED,
    Claim,
    above_zero,
    outcome,
    points,
)
from posenc_lib.run.records import summarise

# The paper shows its numbers in figures only.  What can be counted is the authors' released rankings of 2,048 channels
# (github.com/islamamirul/PermuteNet at 8425918): how many of the first 100 and 300 two lists share (two random ones 4.9
# and 43.9), and Spearman's correlation.  A file called right holds a list called "left".
RELEASED = pd.DataFrame([("left", "right", 19, 104, 0.386), ("left", "overall", 10, 72, -0.01),
                         ("right", "overall", 13, 70, -0.03)],
                        columns=["first", "second", "shared of 100", "shared of 300", "spearman"])

REGION_FRACTION = 300 / 2048   # at which regions are judged


class Gap(NamedTuple):
    """Points of mean IoU that ablating a ranked set costs beyond a control of the same size.

    network   "plain": mean and 95 % interval over n seeds; a control network: one seed, interval of a bootstrap over
              test images, n = 1
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
    """Points of mean IoU that an ablation for a region costs inside minus outside, beyond random sets; as `Gap`."""
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
    """Make the rows that the rules take from the specificity of all runs (`ablation.rows_of`)."""
    return _rows(Specificity, specificity, ["network", "kind", "region", "fraction"])


def _rows(row: type, frame: pd.DataFrame, by: list[str]) -> list:
    plain = frame[frame["network"] == "plain"]
    controls = frame[frame["network"] != "plain"].rename(columns={"value": "mean"}).assign(n=1)
    rows = pd.concat([summarise(plain, by, "value"), controls])[list(row._fields)]
    return [row(*values) for values in rows.itertuples(index=False, name=None)]


def _means(rows: Rows) -> str:
    return " and ".join(f"{row.mean:+.1f}" for row in rows)


def _select(rows: Rows, **values: str) -> list:
    return [row for row in rows if all(getattr(row, name) == value for name, value in values.items())]


def _sides(rows: Sequence[Specificity]) -> list[Specificity]:
    """The rows of left and right at the fraction nearest to `REGION_FRACTION`."""
    sides = [row for row in rows if row.region in ("left", "right")]
    nearest = min((abs(row.fraction - REGION_FRACTION) for row in sides), default=0)
    return [row for row in sides if abs(row.fraction - REGION_FRACTION) == nearest]


def _channels_overall(rows: Sequence[Gap]) -> tuple[str, str]:
    """What is lost in mean IoU when the channels of highest flip response are ablated, minus what is lost on average
    when as many random ones are. *Reproduced* when its 95 % interval over seeds lies above 0 at every fraction of the
    channels that was ablated. *Reproduced in direction* when its mean does. Else *not reproduced*.
    """
    rows = _select(rows, network="plain", kind="flip", against="random")
    numbers = [f"{100 * row.fraction:.0f} % of the channels: {points(row)}" for row in rows]
    return above_zero(rows), f"{'; '.join(numbers)}, n = {min((row.n for row in rows), default=0)}"


def _channels_region(rows: Sequence[Specificity]) -> tuple[str, str]:
    """Specificity: what the left half loses in mean IoU minus what the right half loses, when the channels ranked as
    left are ablated, minus the same for random sets of as many; and the mirror image of it for right; at 15 % of the
    channels, the 300 of 2,048 of the released code's folder. *Reproduced* when its 95 % interval over seeds lies above
    0 for left and for right. *Reproduced in direction* when both means do. Else *not reproduced*.
    """
    rows = _sides(_select(rows, network="plain", kind="signed"))
    numbers = "; ".join(f"{row.region}: {points(row)}" for row in rows)
    return above_zero(rows), f"{numbers}, n = {min((row.n for row in rows), default=0)}"


def _channels_overall_controls(rows: Sequence[Gap]) -> tuple[str, str]:
    """Points of mean IoU, means and 95 % intervals over seeds. *Passed* when two things hold. The flip-ranked set costs
    more than RMS-matched random sets: that gap's interval lies above 0 at every fraction that was ablated. And it costs
    more than where it cannot mean position: the interval of its gap beyond random sets lies above that gap of every
    network with circular padding, at every fraction at which those were attacked. Else *not passed*. (*Not tried here*
    when there is no network with circular padding.)
    """
    matched = _select(rows, network="plain", kind="flip", against="rms_matched")
    random = {row.fraction: row for row in _select(rows, network="plain", kind="flip", against="random")}
    circular: dict[float, list[Gap]] = {}
    for row in _select(rows, network="circular_padding", kind="flip", against="random"):
        circular.setdefault(row.fraction, []).append(row)
    if not circular:
        return NOT_TRIED, "no network with circular padding was attacked"
    passed = all(row.low > 0 for row in matched) and all(
        random[fraction].low > row.mean for fraction, others in circular.items() for row in others)
    n = min(row.n for row in [*matched, *random.values()])
    beyond_matched = "; ".join(f"{100 * row.fraction:.0f} % {points(row)}" for row in matched)
    beyond_random = "; ".join(f"{100 * fraction:.0f} % {_means(circular[fraction])}, others {points(random[fraction])}"
                              for fraction in sorted(circular))
    return outcome(passed, n, f"beyond RMS-matched sets: {beyond_matched}, n = {n}; beyond random sets, under circular "
                              f"padding, each network: {beyond_random}")


def _channels_region_controls(rows: Sequence[Specificity]) -> tuple[str, str]:
    """Two ablations that have to be specific if the verdict is to mean anything, at its fraction of the channels, in
    points of mean IoU. *Passed* when both are, for left and for right. The flip-ranked channels ablated in that half
    only: the 95 % interval over seeds lies above 0. And the signed lists of networks that never saw a mirrored image,
    which have a side to find: for every such network the 95 % interval of a bootstrap over test images lies above 0.
    Else *not passed*: then the measure, or the ranking, cannot be relied on to see a side. (*Not tried here* when no
    network was trained without mirrored images.)
    """
    sides = sorted(_sides(rows), key=lambda row: row.region)
    local = _select(sides, network="plain", kind="only_there")
    signed = _select(sides, network="never_flipped", kind="signed")
    if not signed:
        return NOT_TRIED, "no network was trained without mirrored images"
    passed = all(row.low > 0 for row in [*local, *signed])
    n = min((row.n for row in local), default=0)
    inside, lists = ("; ".join(f"{row.region} {points(row)}" for row in rows) for rows in (local, signed))
    return outcome(passed, n, f"ablated only there: {inside}, n = {n}; signed lists, never mirrored, interval over "
                              f"images, each network: {lists}")


CHANNELS_OVERALL = Claim(
    "channels-overall", "06_region_attack",
    "Removing the channels that change most when the image is mirrored harms segmentation more than removing as many "
    "at random.",
    "ICCV 2021, Sec. 4.2, Figs. 4 and 5", "", _channels_overall,
    "RMS-matched random sets of channels, which know nothing of mirrors; and the same attack on networks with "
    "circular padding, which cannot know the column", _channels_overall_controls, "06_removal",
    ("ICCV 2021, Figs. 4 and 5",))
CHANNELS_REGION = Claim(
    "channels-region", "06_region_attack",
    "Removing the channels ranked as left harms the left half of the image more than the right, and the reverse.",
    "ICCV 2021, Sec. 4.2 and supplement S3", "", _channels_region,
    "both halves for every list and random sets are in the measure; an ablation that is truly local, which the "
    "measure has to see; training without mirrored images, which leaves a side for the ranking to find",
    _channels_region_controls, "06_regions", ("ICCV 2021, Figs. S3 and S4",))

CLAIMS = (CHANNELS_OVERALL, CHANNELS_REGION)
