"""Islam et al., ICCV 2021, authors' slides on padding: the claim and its rule."""
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, REPRODUCED, Claim, outcome
from posenc_lib.claims.gapnet_vs_permutenet import PADDED
from posenc_lib.experiments.padding_artifacts import ExcessScore, mean_over_crops
from posenc_lib.measure.metrics import mean_interval


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
    """Excess border energy (log2 ratio) over seeds, with its 95 % interval; networks run in their own padding mode."""
    net: str
    padding_mode: str
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
    """Return the mean and 95 % interval over seeds of random networks, and of trained ones in their own mode."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.net == "random" or (row.net == "trained" and row.trained == row.padding_mode):
            groups.setdefault((row.net, row.padding_mode), []).append(row.excess)
    return [Excess(*key, *mean_interval(values), len(values)) for key, values in groups.items()]


def _padding_artifacts(rows: Sequence[Excess]) -> tuple[str, str]:
    """The excess is the border energy of the padded map minus that of the same map in true surroundings, a log2 ratio,
    averaged over images and over the five layers conv1 to layer4: one number a seed. *Reproduced* when, in
    random and in trained networks alike, its 95 % interval over seeds lies above 0 under each of zero, reflect and
    replicate padding. *Reproduced in direction* when it does under zero padding only, or under zero and one of the
    others. Else *not reproduced*.
    """
    padded = [row for row in rows if row.padding_mode in PADDED]
    above = {mode: all(row.low > 0 for row in padded if row.padding_mode == mode) for mode in PADDED}
    verdict = REPRODUCED if all(above.values()) else IN_DIRECTION if above["zeros"] else NOT_REPRODUCED
    numbers = "; ".join(f"{row.net}, {row.padding_mode} {_interval(row.mean, row.low, row.high)}" for row in padded)
    return verdict, f"excess (log2 ratio): {numbers}, n = {min(row.n for row in rows)}"


def _padding_swapped(rows: Sequence[SeedExcess]) -> tuple[str, str]:
    """A seed has four networks, one trained with each mode, and each is run with all four. *Passed* when the excess, a
    log2 ratio, varies more with the mode that is run than with the mode that was trained (standard deviation over one,
    averaged over the other; the 95 % interval over seeds of the difference lies above 0), and the networks that were
    not trained with zeros have it when run with zeros (the interval of their mean lies above 0); else *not passed*: the
    line is as much a matter of the weights.
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
    return outcome(low > 0 and line_low > 0, len(seeds), (
        f"log2 ratio: it varies by {over_modes.mean():.2f} with the mode that is run and by {over_trained.mean():.2f} "
        f"with the mode that was trained, difference {_interval(difference, low, high)}; trained without zeros and run "
        f"with them {_interval(mean_line, line_low, line_high)}, n = {len(seeds)}"))


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


PADDING_ARTIFACTS = Claim(
    "padding-artifacts", "01_padding_artifacts",
    "Every way of padding draws line artifacts along the border of feature maps.",
    "ICCV 2021, authors' slides on padding", "", _padding_artifacts,
    "true surroundings, the same crop inside a larger piece of its photograph, are in the measure; tried are networks "
    "run with a padding that they were not trained with, to tell what the padding does from what the weights do",
    _padding_swapped, "01_border_energy")

CLAIMS = (PADDING_ARTIFACTS,)
