"""Islam et al., ICCV 2021, supplement S1: the claim and its rule."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, REPRODUCED, Claim, interval, outcome
from posenc_lib.run.records import summarise

STAGE = ["network", "grid", "layer", "head"]   # what identifies an accuracy of page 04


class Accuracy(NamedTuple):
    """Location accuracy of one head on one stage of a frozen network, in percent.

    network         key of the encoder, "small/photos"
    layer           stage, counted from 1
    head            a key of `decoding.HEADS`
    mean, low, high mean and 95 % interval over n seeds
    channels        number of channels that the head reads
    ceiling         the best accuracy possible, from the cells in which the stage's latents differ
    """
    network: str
    grid: int
    layer: int
    head: str
    mean: float
    low: float
    high: float
    n: int
    channels: int
    ceiling: float
    chance: float


class Control(NamedTuple):
    """Accuracy of the head "in_order" on the last stage of one network of the control.

    role         "trained": a network that is judged.  "random", "circular": what it is compared with
    random_twin  key of the same network with random weights
    """
    role: str
    random_twin: str
    network: str
    grid: int
    mean: float
    low: float
    high: float
    n: int
    chance: float


def accuracy_rows(frame: pd.DataFrame) -> list[Accuracy]:
    """Summarise runs over seeds.

    frame  as from `experiments.pretrained_decoding.accuracy_frame`
    """
    details = frame.groupby(STAGE, as_index=False).agg(channels=("channels", "first"), ceiling=("ceiling", "mean"))
    summary = summarise(frame, STAGE, "accuracy").merge(details, on=STAGE)
    summary["chance"] = 100 / summary["grid"] ** 2
    return [Accuracy(**row) for row in summary.to_dict("records")]


def last_stage(rows: Sequence[Accuracy]) -> list[Accuracy]:
    """Return the rows of each network's last stage."""
    last: dict[str, int] = {}
    for row in rows:
        last[row.network] = max(row.layer, last.get(row.network, 0))
    return [row for row in rows if row.layer == last[row.network]]


def control_rows(rows: Sequence[Accuracy], judged: Sequence[str], random_twin: Mapping[str, str],
                 circular: Sequence[str]) -> list[Control]:
    """Make the rows of the control from those of all last stages.

    judged       keys of the networks that are judged
    random_twin  key of each trained network, with that of the same network with random weights
    circular     keys of the small networks under circular padding
    """
    roles = {"trained": judged, "random": random_twin.values(), "circular": circular}
    return [Control(role, random_twin.get(row.network, row.network), row.network, row.grid, row.mean, row.low, row.high,
                    row.n, row.chance)
            for role, networks in roles.items() for row in rows if row.network in networks and row.head == "in_order"]


def _pretrained_location(rows: Sequence[Accuracy]) -> tuple[str, str]:
    """Location accuracy from the last layer of every ImageNet network, or where there is none of every network trained
    here, and in every grid that was run. *Reproduced* when, with the channels in order, its 95 % interval over seeds
    lies above chance everywhere, and the whole interval with the channels shuffled lies closer to chance than to that.
    *Reproduced in direction* when in order is above chance, and its interval above the shuffled one's, everywhere.
    Else *not reproduced*.
    """
    shuffled = {(row.network, row.grid): row for row in rows if row.head == "shuffled"}
    pairs = [(row, shuffled[row.network, row.grid]) for row in rows if row.head == "in_order"]
    above_chance = all(order.low > order.chance for order, _ in pairs)
    apart = all(order.low > shuffle.high for order, shuffle in pairs)
    shuffle_fails = all(shuffle.high < (order.mean + order.chance) / 2 for order, shuffle in pairs)
    if above_chance and shuffle_fails:
        verdict = REPRODUCED
    elif above_chance and apart:
        verdict = IN_DIRECTION
    else:
        verdict = NOT_REPRODUCED
    lowest = min((order for order, _ in pairs), key=lambda row: row.mean)
    highest = max((shuffle for _, shuffle in pairs), key=lambda row: row.mean)
    return verdict, (f"of {len(pairs)} (network, grid), in order at least {interval(lowest)} ({_name(lowest)}), "
                     f"shuffled at most {interval(highest)} ({_name(highest)})")


def _pretrained_untrained(rows: Sequence[Control]) -> tuple[str, str]:
    """Last layer, channels in order, every grid, means and 95 % intervals over seeds. *Passed* when every network that
    is judged tells the location better than the same one with random weights, its whole interval above the other's, and
    the small networks under circular padding are within half a point of chance, or else the method is at fault. Else
    *not passed*: then the location may be there, but training need not have put it there.
    """
    random = {(row.network, row.grid): row for row in rows if row.role == "random"}
    pairs = [(row, random[row.random_twin, row.grid]) for row in rows if row.role == "trained"]
    better = sum(trained.low > twin.high for trained, twin in pairs)
    off_chance = max(abs(row.mean - row.chance) for row in rows if row.role == "circular")
    trained, twin = min(pairs, key=lambda pair: pair[0].mean - pair[1].mean)
    return outcome(better == len(pairs) and off_chance <= 0.5, min(row.n for row in rows), (
        f"better than with random weights in {better} of {len(pairs)} (network, grid), least so {_name(trained)}: "
        f"{interval(trained)}, random {twin.mean:.1f} %; circular padding up to {off_chance:.1f} points off chance"))


def _name(row: Accuracy | Control) -> str:
    return f"{row.network.replace('/', ', ')}, {row.grid}×{row.grid}"


PRETRAINED_LOCATION = Claim(
    "pretrained-location", "04_pretrained_decoding",
    "A network trained on classes or on segments tells the location of an image from its averaged channels, though "
    "nobody asked it to; with the channels shuffled it does not.",
    "ICCV 2021, supplement S1", "", _pretrained_location,
    "the same networks with random weights, and circular padding, under which there is nothing to tell",
    _pretrained_untrained, "04_by_stage", ("ICCV 2021, Fig. S1",))

CLAIMS = (PRETRAINED_LOCATION,)
