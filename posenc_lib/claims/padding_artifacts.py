"""Islam et al., ICCV 2021, authors' slides on padding: the claim and its rule."""
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, REPRODUCED, Claim, Scale, direction, interval_text, rival
from posenc_lib.experiments.padding_artifacts import ExcessScore, in_own_mode, mean_over_crops
from posenc_lib.measure.metrics import mean_interval
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run.records import Record

# Excess border energy (log2 ratio) below which a reader would not speak of a line: 19 % more energy, 9 % in amplitude.
SMALLEST_EXCESS = 0.25
# Training steps.  In CPU runs of 30 steps, networks of width 16 named 30 to 53 % of the test crops of six photographs
# (means of four seeds, by padding mode); with fewer steps, a trained network is little more than a random one.
STEPS = 30


class SeedExcess(NamedTuple):
    """Excess border energy (log2 ratio) of one network in one padding mode, mean over crops and layers.

    trained  padding mode the network was trained with; None for a random one
    """
    net: str
    trained: str | None
    padding_mode: str
    seed: int
    excess: float


class Excess(NamedTuple):
    """Excess border energy (log2 ratio) over seeds, with its 95 % interval; networks run in their own padding mode.

    minus  padding mode whose excess is subtracted, seed by seed; None if it is the excess itself
    """
    net: str
    padding_mode: str
    minus: str | None
    mean: float
    low: float
    high: float
    n: int


def excess_by_seed(scores: Iterable[ExcessScore]) -> list[SeedExcess]:
    """Average over crops, then over layers."""
    keys = ["net", "trained", "padding_mode", "seed"]
    frame = mean_over_crops(scores).groupby(keys, sort=False, dropna=False, as_index=False)["excess"].mean()
    return [SeedExcess(row.net, row.trained if isinstance(row.trained, str) else None, row.padding_mode, int(row.seed),
                       float(row.excess)) for row in frame.itertuples()]


def summarise(rows: Iterable[SeedExcess]) -> list[Excess]:
    """Summarise over seeds random networks, and trained ones in their own mode.

    -> the excess in every mode, then that of zero padding minus that of every other mode
    """
    own = in_own_mode(pd.DataFrame(rows, columns=SeedExcess._fields))
    summary = []
    for net, group in own.groupby("net", sort=False):
        excess = group.pivot(index="seed", columns="padding_mode", values="excess")
        modes = [mode for mode in PADDING_MODES if mode in excess]
        values = {(mode, None): excess[mode] for mode in modes}
        values |= {("zeros", other): excess["zeros"] - excess[other] for other in modes if other != "zeros"}
        summary += [Excess(net, *names, *mean_interval(part.dropna()), int(part.count()))
                    for names, part in values.items()]
    return summary


def scale(runs: Sequence[Record]) -> Scale:
    """Return the fewest training steps and the smallest width.  All is a substitute: the slides state no set-up.

    runs  of random and of trained networks; a scale without sizes if there are none
    """
    configs = [run.config for run in runs if run.config["net"] != "imagenet"]
    if not configs:
        return Scale()
    steps = min(c["recipe"]["epochs"] * c["recipe"]["epoch_steps"] for c in configs if c["recipe"])
    width = min(c["width"] for c in configs)
    return Scale({"steps": steps, "width": width},
                 f"ResNet-18 of width {width}, {steps:,} training steps and {configs[0]['dataset']} for a "
                 "set-up that the slides do not state")


def _padding_artifacts(rows: Sequence[Excess]) -> tuple[str, str]:
    """The excess is the border energy of a padded map minus that of the same map in true surroundings, a log2 ratio,
    averaged over images and over the five layers conv1 to layer4: one number per seed. Effects: the excess under zero
    padding, and the same minus the excess under reflect, replicate and circular padding, seed by seed, each with its
    95 % interval (Student's t) over seeds, in random networks and in networks run with the padding they were trained
    with. Smallest effect of interest: 0.25, which is 19 % more energy. *Reproduced* when every interval lies above 0;
    since the slides state no set-up, always *on a substitute*. Otherwise *contradicted* when some interval lies below
    0.25, and *inconclusive* when none does.
    """
    judged = [row for row in rows if row.padding_mode == "zeros"]
    verdict = direction(judged, SMALLEST_EXCESS)
    numbers = "; ".join(f"{row.net}, zero padding{_minus(row)} {interval_text(row, spec='+.2f')}" for row in judged)
    return (REPRODUCED if verdict == IN_DIRECTION else verdict,
            f"excess (log2 ratio): {numbers}, n = {min(row.n for row in judged)}")


def _minus(row: Excess) -> str:
    return f" minus {row.minus}" if row.minus else ""


def _padding_swapped(rows: Sequence[SeedExcess]) -> tuple[str, str]:
    """Each seed has four networks, one trained with each mode, and each network is run with all four modes. Two
    quantities, log2 ratios with 95 % intervals over seeds: how much more the excess varies with the mode that a network
    is run with than with the mode that it was trained with (standard deviation over one, averaged over the other), and
    the mean excess, when run with zeros, of the networks that were not trained with zeros. *Ruled out* when both
    intervals lie above 0. Otherwise the *rival explanation holds* when the first lies below 0 or the second below 0.25.
    In all other cases *undecided*.
    """
    excess = {(row.seed, row.trained, row.padding_mode): row.excess for row in rows if row.net == "trained"}
    seeds, trained, modes = (list(dict.fromkeys(key[n] for key in excess)) for n in range(3))
    values = np.array([[[excess[seed, was, mode] for mode in modes] for was in trained] for seed in seeds])
    over_modes = values.std(axis=2, ddof=1).mean(axis=1)      # (seed,)
    over_trained = values.std(axis=1, ddof=1).mean(axis=1)
    without_zeros = [n for n, was in enumerate(trained) if was != "zeros"]
    line = values[:, without_zeros, modes.index("zeros")].mean(axis=1)
    difference, low, high = mean_interval(over_modes - over_trained)
    mean_line, line_low, line_high = mean_interval(line)
    ruled_out = low > 0 and line_low > 0
    holds = high < 0 or line_high < SMALLEST_EXCESS
    return rival(ruled_out, holds, len(seeds), (
        f"standard deviation of the excess (log2 ratio) over the modes that a network is run with "
        f"{over_modes.mean():.2f}, over those that it was trained with {over_trained.mean():.2f}, difference "
        f"{_interval(difference, low, high)}; trained without zeros but run with them "
        f"{_interval(mean_line, line_low, line_high)}, n = {len(seeds)}"))


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


PADDING_ARTIFACTS = Claim(
    "padding-artifacts", "01_padding_artifacts",
    "Zero padding produces line artifacts along the border of feature maps.",
    "ICCV 2021, authors' slides on padding", "", _padding_artifacts,
    "The rival explanation that a network's learned weights produce the lines, not its padding: tested by running "
    "networks with padding modes that they were not trained with; edges of the photograph itself are excluded by the "
    "measure, which subtracts the same map in true surroundings",
    _padding_swapped, "01_border_energy", minimum={"steps": STEPS},
    fixed="after CPU runs that are not on file, before those on file")

CLAIMS = (PADDING_ARTIFACTS,)
