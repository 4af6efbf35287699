"""Islam et al., ICCV 2021, supplement S4: Table S1, the claim and its rules."""
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from posenc_lib.claims.claim import CONTRADICTED, IN_DIRECTION, REPRODUCED, Claim, Scale, direction, points, rival
from posenc_lib.experiments.pedestrian_detection import PAPER_CITYPERSONS, DetectorConfig
from posenc_lib.run.records import summarise

# Table S1, in percent: log-average miss rates on CityPersons, N = 100 channels, one network each.  The text calls them
# mAP, and quotes two differences of All, 4.02 and 1.58 points.
DETECTORS = {"faster": "Faster R-CNN", "cascade": "Cascade R-CNN", "csp": "CSP"}
_SETUPS = ("Reasonable", "Small", "Heavy", "All")
_TABLE_S1 = {
    ("faster", "nothing"): (10.3, 11.59, 33.07, 30.34), ("faster", "random"): (10.83, 11.87, 33.78, 31.92),
    ("faster", "flip"): (12.51, 12.77, 36.95, 34.36),
    ("cascade", "nothing"): (7.55, 8.55, 27.47, 26.89), ("cascade", "random"): (7.85, 8.39, 28.31, 27.17),
    ("cascade", "flip"): (8.44, 9.3, 30.59, 28.57),
    ("csp", "nothing"): (11.05, 14.76, 41.35, 37.57), ("csp", "random"): (11.05, 15.0, 41.3, 38.05),
    ("csp", "flip"): (11.14, 16.7, 41.24, 38.82),
}
TABLE_S1 = pd.DataFrame([(detector, kind, setup, value) for (detector, kind), row in _TABLE_S1.items()
                         for setup, value in zip(_SETUPS, row, strict=True)],
                        columns=["detector", "kind", "setup", "paper"])
# Points on All that the flip-ranked set costs beyond the random one: 2.44, 1.40 and 0.77.
PRINTED = {detector: _TABLE_S1[detector, "flip"][-1] - _TABLE_S1[detector, "random"][-1] for detector in DETECTORS}
# Points of miss rate on All, the smallest effect of interest: half of the median of the three.
SMALLEST = 0.7
# What a run needs.  After 120 to 180 steps (profile quick on streets) detectors miss 91 to 99 % on All with nothing
# ablated, and can hardly miss more; after 600, 33 to 51 % at 128×256 pixels, and CSP some 80 % at 64×128 (CPU runs).
# The 95 % interval over two networks is 9 SDs to either side, over five 1.2; how much the gap varies between networks
# was not known when this was fixed.
# The control is read by its own intervals, so it requires no number of networks.
TRAINED = {"steps": 600}
MINIMUM = {**TRAINED, "networks": 5}


class Gap(NamedTuple):
    """Points of miss rate on All that ablating a ranked set costs a detector beyond a control of the same size.

    kind             the ranking, see `ablation.Planned`
    against          "random" or "rms_matched"
    mean, low, high  with 95 % interval over n seeds
    pixel            largest change of any of the detector's networks when the images are shifted by one pixel
    """
    detector: str
    kind: str
    against: str
    mean: float
    low: float
    high: float
    n: int
    pixel: float


def gap_rows(gaps: pd.DataFrame, pixel: Mapping[str, float]) -> list[Gap]:
    """Make the rows that the rules take.

    gaps   the gaps of all runs (`ablation.rows_of`), at one fraction
    pixel  detector -> largest change by a shift by one pixel
    """
    summary = summarise(gaps, ["detector", "kind", "against"], "value")
    return [Gap(*row, pixel[row[0]]) for row in summary.itertuples(index=False, name=None)]


def _pedestrians(rows: Sequence[Gap]) -> tuple[str, str]:
    """Points of log-average miss rate on All with the channels of highest flip response ablated, minus the mean with as
    many random ones ablated; 100 channels, or 15 % of a small network's; 95 % interval over networks. *Reproduced* when
    the interval lies above 0 for each of the paper's three detectors, and each mean is between half and twice the
    paper's difference (+2.44, +1.40 and +0.77 points). *In direction* when the interval lies above 0 for every detector
    that was run. *Contradicted* when it does not, and for some detector lies below 0.7 points, the smallest effect of
    interest: half of the paper's median. Otherwise *inconclusive*. A miss rate cannot exceed 100 %, so the difference
    is at most 100 % minus the miss rate with random sets ablated.
    """
    flip = _beyond(rows, "random")
    verdict = direction(list(flip.values()), SMALLEST)
    sizes_agree = set(flip) == set(PRINTED) and all(
        PRINTED[detector] / 2 <= row.mean <= 2 * PRINTED[detector] for detector, row in flip.items())
    if verdict == IN_DIRECTION and sizes_agree:
        verdict = REPRODUCED
    numbers = "; ".join(f"{DETECTORS[detector]}: {points(row)}" for detector, row in flip.items())
    return verdict, f"{numbers}, n = {min((row.n for row in flip.values()), default=0)}"


def _pedestrians_controls(rows: Sequence[Gap]) -> tuple[str, str]:
    """Points of miss rate on All, number of channels and interval are those of the rule above. *Ruled out* when, for
    every detector that was run, the interval of the flip-ranked set's cost beyond RMS-matched random sets lies above 0,
    and the interval of its cost beyond random sets lies above the largest change of the miss rate, over that detector's
    networks, when the images are shifted by one pixel in any of four directions. The *rival explanation holds* when for
    some detector there is a cost to explain (its interval beyond random sets lies above 0) and one of the two explains
    it: RMS-matched sets cost as much (the interval beyond them does not lie above 0, and lies below 0.7 points), or a
    shift by one pixel changes more (the interval beyond random sets lies below that largest change). Otherwise
    *undecided*. RMS-matched sets are drawn from channels that are not flip-ranked, where there are enough.
    """
    random, matched = (_beyond(rows, against) for against in ("random", "rms_matched"))
    numbers = "; ".join(f"{DETECTORS[detector]}: beyond RMS-matched sets {_points(matched[detector])}, beyond random "
                        f"ones {_points(row)}, one pixel changes it by up to {row.pixel:.1f}"
                        for detector, row in random.items())
    ruled_out = all(matched[detector].low > 0 and row.low > row.pixel for detector, row in random.items())
    holds = any(row.low > 0 and (direction([matched[detector]], SMALLEST) == CONTRADICTED or row.high < row.pixel)
                for detector, row in random.items())
    n = min((row.n for row in random.values()), default=0)
    return rival(ruled_out, holds, n, f"{numbers}, n = {n}")


def _points(row: Gap) -> str:
    """`points`, without an interval where there is one network."""
    return points(row) if row.n > 1 else f"{row.mean:+.1f} points"


def _beyond(rows: Sequence[Gap], against: str) -> dict[str, Gap]:
    """The row of each detector for the flip-ranked set beyond a control."""
    return {row.detector: row for row in rows if (row.kind, row.against) == ("flip", against)}


def scale(configs: Iterable[DetectorConfig], size: tuple[int, int], networks: int) -> Scale:
    """The size of the smallest run, and what stands in for the paper's data and detectors; it states no schedule.

    configs   of the detectors that were run
    size      rows and columns of the images
    networks  number of networks of each detector
    """
    configs = list(configs)
    differences = []   # used, the paper's, unit
    for c in configs:
        width = f" of width {c.width}" if c.width else ""
        ablated = c.fractions[0]
        differences += [
            (c.dataset.replace("citypersons", "CityPersons"), "CityPersons", ""),
            (f"{size[0]}×{size[1]}", "1024×2048", " pixels"),
            (f"{c.net}{width}", PAPER_CITYPERSONS[c.detector].settings.get("net", DetectorConfig.net), ""),
            ("ImageNet" if c.weights else "random", "ImageNet", " weights"),
            (f"{ablated}" if ablated >= 1 else f"{100 * ablated:.0f} % of the channels", "100", ""),
        ]
    substitutes = dict.fromkeys(f"{used} for {papers}{unit}" for used, papers, unit in differences if used != papers)
    steps = min(c.recipe.epochs * c.recipe.epoch_steps for c in configs)
    return Scale({"steps": steps, "networks": networks}, ", ".join(substitutes))


PEDESTRIANS = Claim(
    "pedestrian-detectors", "07_pedestrian_detection",
    "Removing the 100 channels that change most when the image is mirrored makes a pedestrian detector miss more "
    "people than removing 100 at random.",
    "ICCV 2021, supplement S4, Table S1",
    "miss rate on All, nothing, random and flip-ranked removed: Faster R-CNN 30.34, 31.92, 34.36 %; Cascade R-CNN "
    "26.89, 27.17, 28.57 %; CSP 37.57, 38.05, 38.82 %", _pedestrians,
    "Two rival explanations: that removing these channels is harmful because they are the most active, tested with "
    "RMS-matched random sets, which are chosen without mirroring; and that the difference is within the normal "
    "variation of the miss rate, tested by shifting the images by one pixel, which removes nothing",
    _pedestrians_controls, "07_table_s1", ("ICCV 2021, Table S1",), MINIMUM, TRAINED)

CLAIMS = (PEDESTRIANS,)
