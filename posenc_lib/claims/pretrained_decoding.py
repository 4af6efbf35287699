"""Islam et al., ICCV 2021, supplement S1: the claims and their rules.

S1 reads two frozen networks: a ResNet-18 trained on ImageNet, and one trained for segmentation on PASCAL VOC 2012.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from posenc_lib.base.names import label
from posenc_lib.claims.claim import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Claim, Judged, Scale, points, rival
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.experiments.pretrained_decoding import Plan, n_images
from posenc_lib.measure.metrics import mean_interval
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import summarise

PAPER_NETWORKS = {"classification": "an ImageNet ResNet-18",
                  "segmentation": "a ResNet-18 trained for segmentation on PASCAL VOC 2012"}
STAGE = ["network", "grid", "layer", "head"]   # what identifies an accuracy of page 04

# Location accuracy above chance, in points; the paper prints none.  In the CPU runs, the 95 % interval over three seeds
# of a shuffled head's accuracy reaches 3.5 points to each side (median), so much less than 5 cannot be distinguished
# from noise.
SMALLEST_ABOVE_CHANCE = 5.0
CHANCE_MARGIN = 0.5   # points; under circular padding an accuracy is at chance exactly, but for rounding

# What a run needs to be judged.  Steps are those of the networks trained here, see `scale`.  At width 8, the
# small network names 63 to 77 % of the test crops of six photographs after 60 steps (two seeds).  Trained to segment
# pasted digits, it calls nearly everything background after 200 steps (of the digits' pixels, 2 % are labelled
# correctly, one seed) and has learned something after 600 (28 %).  Seeds share the test images: with fewer than ten, an
# interval over seeds says nothing of other images.
CLASSIFICATION_MINIMUM = {"steps": 60, "images": 10}
HEAD_STEPS = 60
SEGMENTATION_MINIMUM = {"steps": 600, "images": 10}


class Accuracy(NamedTuple):
    """Location accuracy of one head on one stage of a frozen network, in percent.

    network         key of the encoder, "small/photos"
    layer           stage, counted from 1
    head            a key of `decoding.HEADS`
    mean, low, high mean and 95 % interval over n seeds, cut to 0 to 100; of two seeds, both
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


class Margin(NamedTuple):
    """A difference of location accuracies in points: last stage of one network in one grid, channels in order.

    compared         "chance": by how much the accuracy lies above chance.  "shuffled", "random": by how much that of
                     the shuffled head, or with random weights, lies below halfway from chance to the accuracy in order
    mean, low, high  mean and 95 % interval over n seeds
    in_order, other  mean accuracies, in order and of the accuracy it is compared with, in percent
    """
    network: str
    grid: int
    compared: str
    mean: float
    low: float
    high: float
    n: int
    in_order: float
    other: float


def spread(frame: pd.DataFrame, by: Sequence[str], value: str, least: float, most: float) -> pd.DataFrame:
    """Summarise over seeds as `records.summarise` does, with intervals cut to `least` to `most`.

    Two seeds have no useful interval: low and high are then the seeds themselves.
    """
    summary = summarise(frame, by, value)
    summary[["low", "high"]] = summary[["low", "high"]].clip(least, most)
    two = summary["n"] == 2
    ends = summary[by].merge(frame.groupby(list(by))[value].agg(["min", "max"]).reset_index(), on=list(by))
    summary.loc[two, ["low", "high"]] = ends.loc[two, ["min", "max"]].to_numpy()
    return summary


def accuracy_rows(frame: pd.DataFrame) -> list[Accuracy]:
    """Summarise runs over seeds.

    frame  as from `experiments.pretrained_decoding.accuracy_frame`
    """
    details = frame.groupby(STAGE, as_index=False).agg(channels=("channels", "first"), ceiling=("ceiling", "mean"))
    summary = spread(frame, STAGE, "accuracy", 0, 100).merge(details, on=STAGE)
    summary["chance"] = 100 / summary["grid"] ** 2
    return [Accuracy(**row) for row in summary.to_dict("records")]


def last_stage(rows: Sequence[Accuracy]) -> list[Accuracy]:
    """Return the rows of each network's last stage."""
    last: dict[str, int] = {}
    for row in rows:
        last[row.network] = max(row.layer, last.get(row.network, 0))
    return [row for row in rows if row.layer == last[row.network]]


def location_margins(frame: pd.DataFrame, networks: Sequence[str]) -> list[Margin]:
    """Compare the head in order with chance and with the shuffled head, seed by seed.

    frame     as for `accuracy_rows`
    networks  keys of those that are judged
    """
    accuracy = _last_accuracies(frame)
    margins = []
    for network in networks:
        for grid in frame["grid"].unique():
            in_order, shuffled = (accuracy[network, grid, head] for head in ("in_order", "shuffled"))
            margins.append(_above_chance(network, grid, in_order))
            margins.append(_below_halfway(network, grid, in_order, "shuffled", shuffled))
    return margins


def control_margins(frame: pd.DataFrame, random_twin: Mapping[str, str], circular: Sequence[str]) -> list[Margin]:
    """Compare trained weights with random ones, seed by seed, and networks under circular padding with chance.

    frame        as for `accuracy_rows`
    random_twin  key of each network that is judged, with that of the same network with random weights
    circular     keys of the small networks under circular padding
    """
    accuracy = _last_accuracies(frame)
    grids = frame["grid"].unique()
    trained = [_below_halfway(network, grid, accuracy[network, grid, "in_order"], "random",
                              accuracy[random_twin[network], grid, "in_order"])
               for network in random_twin for grid in grids]
    return trained + [_above_chance(network, grid, accuracy[network, grid, "in_order"])
                      for network in circular for grid in grids]


def _last_accuracies(frame: pd.DataFrame) -> pd.Series:
    """Accuracies from the last stage, in percent, by network, grid, head and seed."""
    last = frame[frame["layer"] == frame.groupby("network")["layer"].transform("max")]
    return last.set_index(["network", "grid", "head", "seed"])["accuracy"].sort_index()


def _above_chance(network: str, grid: int, in_order: pd.Series) -> Margin:
    chance = 100 / grid ** 2
    return Margin(network, grid, "chance", *mean_interval(in_order - chance), len(in_order), in_order.mean(), chance)


def _below_halfway(network: str, grid: int, in_order: pd.Series, compared: str, other: pd.Series) -> Margin:
    halfway = (in_order + 100 / grid ** 2) / 2
    below = (halfway - other).dropna()   # of the seeds that both have
    return Margin(network, grid, compared, *mean_interval(below), len(below), in_order.mean(), other.mean())


def scale(plan: Plan, task: str, available: int) -> Scale:
    """Return the fewest training steps and test images of the networks that are judged, and how they differ from the
    paper's.

    task       a key of `PAPER_NETWORKS`
    available  number of test images that the image set has
    Steps are those of the networks trained here, or those of the heads if no network is, or if the heads have fewer
    than `HEAD_STEPS`.  The paper does not state which images it places; those of its Table 1 are CIFAR-10's.
    """
    judged = plan.judged[task]
    configs = [c for c in plan.configs if c.encoder in judged]
    heads = min(_steps(c.recipe) for c in configs)
    networks = [_steps(c.recipe) for c in judged if c.recipe]
    steps = min(networks) if networks and heads >= HEAD_STEPS else min([heads, *networks])
    images = min(available, *(n_images(c)[1] for c in configs))
    used = " and ".join(_in_words(c) for c in judged)
    differences = {used: PAPER_NETWORKS[task], label(configs[0].dataset): "CIFAR-10"}
    return Scale({"steps": steps, "images": images},
                 ", ".join(f"{ours} for {papers}" for ours, papers in differences.items() if ours != papers))


def judge(plan: Plan, frame: pd.DataFrame, available: int) -> dict[Claim, Judged]:
    """Judge both claims and their controls; a claim without runs is not testable.

    plan, frame  networks by what they are for, and their accuracies, as for `accuracy_rows`
    available    number of test images that the image set has
    """
    judged = {}
    circular = [c.key for c in plan.circular]
    for task, claim in BY_TASK.items():
        networks = [c.key for c in plan.judged[task]]
        if not networks:
            judged[claim] = claim.judged([], Scale())
            continue
        twins = {key: plan.random_twin[key] for key in networks}
        judged[claim] = claim.judged(location_margins(frame, networks), scale(plan, task, available),
                                     control_margins(frame, twins, circular))
    return judged


def _steps(recipe: Recipe) -> int:
    return recipe.epochs * recipe.epoch_steps


def _in_words(c: EncoderConfig) -> str:
    if c.source == "imagenet":
        return f"an ImageNet {label(c.net)}"
    return f"a VGG of width {c.width} trained for {_steps(c.recipe):,} steps on {label(c.source)}"


def _location(rows: Sequence[Margin]) -> tuple[str, str]:
    """Location accuracy from the last stage in every grid that was run, of the paper's network or, where it was not
    run, of the networks that replace it. Effects: the accuracy of the head with channels in order minus chance; and how
    far the head with channels shuffled lies below the point halfway between chance and that accuracy, which is positive
    if the shuffle removes more than half; in points, seed by seed, each with its 95 % interval (Student's t) over
    seeds. Smallest effects of interest: 5 points above chance, and 0 below halfway. *Reproduced* when every interval
    lies above 0. Otherwise *contradicted* when some interval of the first kind lies below 5 points or of the second
    kind below 0, and *inconclusive* when none does.
    """
    above, below = ([row for row in rows if row.compared == name] for name in ("chance", "shuffled"))
    if all(row.low > 0 for row in rows):
        verdict = REPRODUCED
    elif any(row.high < SMALLEST_ABOVE_CHANCE for row in above) or any(row.high < 0 for row in below):
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    lowest, closest = (min(part, key=lambda row: row.mean) for part in (above, below))
    return verdict, (f"least of {len(above)} (network, grid), in order above chance: {points(lowest)} "
                     f"({_name(lowest)}: {lowest.in_order:.1f} %); shuffled below halfway: {points(closest)} "
                     f"({_name(closest)}: {closest.other:.1f} %), n = {min(row.n for row in rows)}")


def _random_weights(rows: Sequence[Margin]) -> tuple[str, str]:
    """Accuracies as above, channels in order. Effect: how far the accuracy with random weights lies below the point
    halfway between chance and that with trained weights, in points, seed by seed, with its 95 % interval (Student's t)
    over seeds, in every network and grid. *Ruled out* when every interval lies above 0: more than half is there only
    after training. The *rival explanation holds* when some interval lies below 0: there, random weights give more than
    half. Otherwise *undecided*. Also *undecided* whenever a small network with circular padding, whose latents are the
    same in every cell, is on average more than half a point off chance, because then the method is at fault.
    """
    random, circular = ([row for row in rows if row.compared == name] for name in ("random", "chance"))
    off_chance = max(abs(row.mean) for row in circular)
    sound = off_chance <= CHANCE_MARGIN
    ruled_out = all(row.low > 0 for row in random)
    holds = any(row.high < 0 for row in random)
    closest, n = min(random, key=lambda row: row.mean), min(row.n for row in rows)
    return rival(sound and ruled_out, sound and holds, n, (
        f"least of {len(random)} (network, grid), random weights below halfway: {points(closest)} ({_name(closest)}: "
        f"trained {closest.in_order:.1f} %, random {closest.other:.1f} %), n = {n}; circular padding up to "
        f"{off_chance:.1f} points off chance"))


def _name(row: Margin) -> str:
    network = label(row.network)
    return f"{network}, {row.grid}×{row.grid}"


_PAGE, _SOURCE, _TABLES = "04_pretrained_decoding", "ICCV 2021, supplement S1", ("ICCV 2021, Fig. S1",)
_CONTROL = (
    "The rival explanation that architecture and padding encode the location, not the learned weights: tested with the "
    "same networks with random weights; the method itself is tested with circular padding, under which no location is "
    "encoded")

PRETRAINED_LOCATION = Claim(
    "pretrained-location", _PAGE,
    "In a frozen network trained for classification, the location of an image can be decoded from the averaged "
    "channels, but not after the channels are shuffled.",
    _SOURCE, "", _location, _CONTROL, _random_weights, "04_by_stage", _TABLES, minimum=CLASSIFICATION_MINIMUM)
SEGMENTATION_LOCATION = Claim(
    "segmentation-location", _PAGE,
    "In a frozen network trained for segmentation, the location of an image can be decoded from the averaged "
    "channels, but not after the channels are shuffled.",
    _SOURCE, "", _location, _CONTROL, _random_weights, "04_by_stage", _TABLES, minimum=SEGMENTATION_MINIMUM)

CLAIMS = (PRETRAINED_LOCATION, SEGMENTATION_LOCATION)
BY_TASK = dict(zip(("classification", "segmentation"), CLAIMS, strict=True))   # what the network was trained for
