"""AugShift in Islam et al., ICCV 2021 (Table 2, supplement S2): the printed numbers, the claims and their rules.

Accuracy and consistency are in percent, differences in percentage points.
"""
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import pandas as pd

from posenc_lib.base.names import label
from posenc_lib.claims.claim import (
    IN_DIRECTION,
    NEAR,
    NOT_TESTABLE,
    NOT_TRIED,
    REPRODUCED,
    SINGLE_SEED,
    Claim,
    Scale,
    direction,
    points,
    rival,
)
from posenc_lib.data.imageset import Splits
from posenc_lib.run import records
from posenc_lib.run.records import Record

# Table 2: top-1, Cons.8 and, on ImageNet, Cons.16.  One run each, no intervals.
_TABLE2 = {
    ("cifar100", "baseline"): (72.6, 70.1), ("cifar10", "baseline"): (93.1, 90.8),
    ("cifar100", "augshift"): (72.6, 85.6), ("cifar10", "augshift"): (92.1, 94.8),
    ("cifar100", "blurpool"): (72.4, 78.2), ("cifar10", "blurpool"): (92.5, 92.5),
    ("imagenet", "baseline"): (69.7, 89.5, 87.4), ("imagenet", "augshift"): (70.1, 90.2, 88.2),
    ("imagenet", "blurpool"): (71.4, 90.5, 88.8),
}
TABLE2 = pd.DataFrame([(dataset, method, measure, value) for (dataset, method), row in _TABLE2.items()
                       for measure, value in zip(("top1", "cons8", "cons16"), row, strict=False)],
                      columns=["dataset", "method", "measure", "paper"])

# The pairs of methods whose difference page 05 reports, (method, against).
PAIRS = (("augshift", "baseline"), ("augshift", "blurpool"), ("two_crops", "baseline"), ("two_crops", "blurpool"),
         ("augshift", "two_crops"), ("blurpool_augshift", "augshift"), ("blurpool_augshift", "blurpool"),
         ("augshift", "baseline_long"), ("baseline_long", "baseline"))
FILL_PAIRS = (("augshift", "baseline"), ("augshift", "blurpool"), ("blurpool_augshift", "augshift"),
              ("blurpool_augshift", "blurpool"))   # the same, by what a shift uncovers
IMAGENET_PAIRS = (("blurpool", "augshift"), ("augshift", "baseline"))

# The smallest effects of interest, in percentage points.  That on ImageNet is also about the standard error of an
# agreement of 90 % over its 50,000 test images, 0.13.
SMALLEST_GAIN = 2.0          # AugShift over the baseline: half of Table 2's smaller gain on CIFAR (4.0)
SMALLEST_LEAD = 1.0          # AugShift over BlurPool: just under half of Table 2's smaller lead on CIFAR (2.3); also of
                             # both together over each, for which the paper prints no number
SMALLEST_AT_A_SHIFT = 1.0    # S2 prints no number; one image in a hundred
SMALLEST_ON_IMAGENET = 0.15  # BlurPool over AugShift: half of Table 2's smallest lead (0.3)
NEGLIGIBLE_LOSS = 2.0        # of top-1: twice the largest loss in Table 2 (1.0)
# How far a mean may be from the paper's, in percentage points.
TOLERANCE = 5.0
TOLERANCE_ON_IMAGENET = 0.5  # all leads there are below 1.5, so that 5 would accept anything

# What a run needs to be judged.  After 640 steps a ResNet-18 of width 8 classifies more than half of CIFAR-10 correctly
# (records/cpu).  A network that has learned less may always answer the same, and then it is perfectly consistent.  The
# standard error of an agreement over 1,000 images is at most 1.6 points, less than the smallest gain of interest.
LEARNED = {"steps": 600, "width": 8, "images": 1000}
LEARNED_ON_IMAGENET = {"steps": 100_000}   # 20 epochs in batches of 256 images, or 80 in batches of 1,024

# The paper's scale.  The paper prints no schedule: the steps on CIFAR are those of the `paper` preset, the epochs on
# ImageNet those of torchvision's recipe, whose ResNet-18 is as accurate as Table 2's baseline.
CIFAR_IMAGES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}   # training and test images
PAPER_WIDTH = 64
PAPER_STEPS = 78_200   # 200 epochs of 391 batches
IMAGENET_IMAGES = 1_281_167
IMAGENET_EPOCHS = 90
IMAGENET_SIDE = 224


class Gain(NamedTuple):
    """The difference in one measure between two methods, paired by seed: mean and 95 % interval over n seeds.

    measure   "top1", or "cons<N>" for shifts by up to N pixels; "cons<N>_black" on ImageNet, where the border is black
              and not the rest of the image
    main      true for the Cons.N that stands for Cons.8: N is a quarter of the image's side, as 8 is on CIFAR
    paper     the difference in Table 2, nan if it is not there
    at_scale  whether nothing stands in for the paper's network, data or schedule
    """
    dataset: str
    backbone: str
    method: str
    against: str
    measure: str
    main: bool
    mean: float
    low: float
    high: float
    n: int
    paper: float
    at_scale: bool


class FillGain(NamedTuple):
    """The difference in consistency between two methods with one border fill: mean and 95 % interval over n seeds.

    fill  one of `canvas.FILLS`; or "identity", for the consistency of `method` itself under circular shifts by
          multiples of the total stride, with `against` ""
    """
    fill: str
    method: str
    against: str
    mean: float
    low: float
    high: float
    n: int


def scale(runs: Sequence[Record], data: Mapping[str, Splits]) -> Scale:
    """The scale of page 05's runs, beside Table 2's: ResNet-18 of width 64, trained on CIFAR for `PAPER_STEPS`.

    data  the images, by name, of sets other than CIFAR
    """
    sizes = _sizes(runs, data)
    others = _others(runs, CIFAR_IMAGES)
    substitutes = {f"{others} for CIFAR": bool(others),
                   f"width {sizes['width']} for {PAPER_WIDTH}": sizes["width"] != PAPER_WIDTH,
                   f"{sizes['steps']:,} steps for {PAPER_STEPS:,}": sizes["steps"] < PAPER_STEPS}
    return Scale(sizes, _joined(substitutes))


def scale_of_shifts(runs: Sequence[Record], data: Mapping[str, Splits]) -> Scale:
    """The scale of the same runs, beside supplement S2's: a ResNet-50 on ImageNet."""
    sizes = _sizes(runs, data)
    others = _others(runs, ("imagenet",))
    small = any(run.config["backbone"] == "cifar_resnet18" for run in runs)
    substitutes = {f"{others} for ImageNet": bool(others), f"ResNet-18 of width {sizes['width']} for ResNet-50": small}
    return Scale(sizes, _joined(substitutes))


def _sizes(runs: Sequence[Record], data: Mapping[str, Splits]) -> dict[str, int]:
    """The smallest numbers of training steps, channels and test images."""
    steps, images = [], []
    for c in (run.config for run in runs):
        # If the files of a set are missing, `data` has other images in their place.
        dataset, recipe = c["dataset"], c["recipe"]
        training, test = CIFAR_IMAGES.get(dataset) or (len(data[dataset].train), len(data[dataset].test))
        steps.append(recipe["epochs"] * (recipe["epoch_steps"] or ceil(training / recipe["batch_size"])))
        images.append(min(c["test_images"] or test, test))
    return {"steps": min(steps), "width": min(run.config["width"] for run in runs), "images": min(images)}


def _others(runs: Sequence[Record], names: Sequence[str] | Mapping) -> str:
    return ", ".join(dict.fromkeys(label(run.config["dataset"]) for run in runs if run.config["dataset"] not in names))


def _joined(substitutes: Mapping[str, bool]) -> str:
    return ", ".join(words for words, needed in substitutes.items() if needed)


def gains(scores: pd.DataFrame, scale: Scale, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[Gain]:
    """The gains of this run for all pairs of methods that it has, from `experiments.augshift.scores`."""
    by_method = scores.set_index(["dataset", "backbone", "measure", "main", "seed", "method"])["value"].unstack()
    single = pd.concat([(by_method[method] - by_method[against]).dropna().rename("value").reset_index()
                        .assign(method=method, against=against) for method, against in pairs
                        if {method, against} <= set(by_method)])
    summary = records.summarise(single, ["dataset", "backbone", "method", "against", "measure", "main"], "value")
    paper = TABLE2.set_index(["dataset", "method", "measure"])["paper"].to_dict()
    return [Gain(**row, paper=paper.get((row["dataset"], row["method"], row["measure"]), float("nan"))
                 - paper.get((row["dataset"], row["against"], row["measure"]), float("nan")),
                 at_scale=not scale.substitutes) for row in summary.to_dict("records")]


def imagenet_runs(runs: Sequence[Record]) -> list[Record]:
    """The runs of Table 2's ResNet-18 on ImageNet among records of `experiments.augshift_imagenet`: AugShift and
    BlurPool, and the baseline if there, which differ in nothing but method and seed.

    If there are several such sets, that which saw most images; none if no set has both methods.
    """
    sets = defaultdict(list)
    for run in runs:
        if run.config["class"] == "ImageNetConfig" and run.config["backbone"] == "resnet18":
            sets[json.dumps(run.config | {"method": ""}, sort_keys=True)].append(run)
    compared = [alike for alike in sets.values() if {"augshift", "blurpool"} <= {run.config["method"] for run in alike}]
    return max(compared, key=lambda alike: _epoch_images(alike[0]) * alike[0].config["recipe"]["epochs"], default=[])


def imagenet_scale(runs: Sequence[Record]) -> Scale:
    """The scale of `imagenet_runs`, beside Table 2's: all of ImageNet at 224 pixels, for `IMAGENET_EPOCHS`."""
    if not runs:
        return Scale()
    c, images = runs[0].config, _epoch_images(runs[0])   # the same for all
    recipe = c["recipe"]
    fewer = images + recipe["batch_size"] < IMAGENET_IMAGES
    substitutes = {f"{images:,} training images for {IMAGENET_IMAGES:,}": fewer,
                   f"{c['size']} pixels for {IMAGENET_SIDE}": c["size"] != IMAGENET_SIDE,
                   f"{recipe['epochs']} epochs for {IMAGENET_EPOCHS}": recipe["epochs"] < IMAGENET_EPOCHS}
    return Scale({"steps": recipe["epochs"] * recipe["epoch_steps"]}, _joined(substitutes))


def imagenet_gains(runs: Sequence[Record]) -> list[Gain]:
    """The gains of `imagenet_runs` for all `IMAGENET_PAIRS`; none without runs."""
    measures = {"top1": "top1", "consistency_8_true": "cons8", "consistency_16_true": "cons16",
                "consistency_8_constant": "cons8_black", "consistency_16_constant": "cons16_black"}
    rows = [{"dataset": "imagenet", "backbone": run.config["backbone"], "method": run.config["method"],
             "seed": run.seed, "measure": measure, "main": measure == "cons8", "value": 100 * run.results[result]}
            for run in runs for result, measure in measures.items() if result in run.results]
    return gains(pd.DataFrame(rows), imagenet_scale(runs), IMAGENET_PAIRS) if rows else []


def _epoch_images(run: Record) -> int:
    """The images of one epoch: all but the rest that fills no batch."""
    recipe = run.config["recipe"]
    return recipe["epoch_steps"] * recipe["batch_size"]


def fill_gains(fills: pd.DataFrame) -> list[FillGain]:
    """The gains of `FILL_PAIRS` by fill, and the identity, from `experiments.augshift.fills`."""
    wide = fills[fills["fill"] != "any_step"].set_index(["fill", "seed", "method"])["value"].unstack()
    border = wide.drop("identity", level="fill")
    single = [(border[method] - border[against]).dropna().rename("value").reset_index()
              .assign(method=method, against=against)
              for method, against in FILL_PAIRS if {method, against} <= set(wide)]
    if "circular_padding" in wide:
        single.append(wide.loc[["identity"], "circular_padding"].rename("value").reset_index()
                      .assign(method="circular_padding", against=""))
    summary = records.summarise(pd.concat(single), ["fill", "method", "against"], "value")
    return [FillGain(**row) for row in summary.to_dict("records")]


def _select(gains: Sequence[Gain], method: str, against: str) -> list[Gain]:
    return [gain for gain in gains if (gain.method, gain.against) == (method, against)]


def _main(gains: Sequence[Gain]) -> list[Gain]:
    return [gain for gain in gains if gain.main]


def _top1(gains: Sequence[Gain]) -> list[Gain]:
    return [gain for gain in gains if gain.measure == "top1"]


def _is_as_printed(rows: Sequence[Gain], smallest: float, tolerance: float) -> bool:
    """Whether every mean is at least `smallest` and within `tolerance` points of the paper's, if the paper has it."""
    return all(row.mean >= smallest and abs(row.mean - row.paper) <= tolerance for row in rows)


def _above(rows: Sequence[Gain], smallest: float, tolerance: float) -> str:
    """The verdict on gains that a claim puts above 0 and the paper prints."""
    verdict = direction(rows, smallest)
    return REPRODUCED if verdict == IN_DIRECTION and _is_as_printed(rows, smallest, tolerance) else verdict


def _near(rows: Sequence[Gain], smallest: float, tolerance: float) -> tuple[str, str]:
    """The verdict on the same of a single seed."""
    if not all(row.at_scale for row in rows) or not _is_as_printed(rows, smallest, tolerance):
        return NOT_TESTABLE, SINGLE_SEED
    listed = "; ".join(f"{label(row.dataset)}, {measure_name(row.measure)}: {row.mean:+.1f} points, paper "
                       f"{row.paper:+.1f}" for row in rows)
    return NEAR, f"{listed}, n = 1"


def _judge_consistency(gains: Sequence[Gain]) -> tuple[str, str]:
    """The gain of AugShift over the baseline, in points of Cons.8 (for other image sizes: shifts by up to a quarter of
    the side), on every data set of the page, each with a 95 % interval over seeds. Gains below 2 points are too small
    to matter. *Reproduced* when every interval lies above 0, and every mean is at least 2 points and within 5 points of
    the paper's gain. *In direction* when every interval lies above 0, but a mean is not that close, or the paper prints
    no gain for the data set. Otherwise *contradicted* when some interval lies below 2 points, and *inconclusive* when
    none does. A single seed has no interval: at the paper's scale it is *near the paper, n = 1* if its gains meet the
    conditions that *reproduced* sets for the means.
    """
    rows = _select(_main(gains), "augshift", "baseline")
    crops_alone = _select(_main(gains), "two_crops", "baseline")
    alone = "".join(f"; two crops alone, {label(row.dataset)}: {points(row)}" for row in crops_alone)
    return _above(rows, SMALLEST_GAIN, TOLERANCE), _evidence(rows) + alone


def _judge_consistency_of_one(gains: Sequence[Gain]) -> tuple[str, str]:
    return _near(_select(_main(gains), "augshift", "baseline"), SMALLEST_GAIN, TOLERANCE)


def _judge_accuracy(gains: Sequence[Gain]) -> tuple[str, str]:
    """The change of top-1 from the baseline to AugShift, in points, on every data set of the page, each with a 95 %
    interval over seeds. A loss of up to 2 points is negligible; the paper's largest is 1.0. *Not testable here* if
    training the baseline for twice as long adds more than 2 points to its mean top-1 (on the first data set): the
    networks are then compared in mid-training, and crops slow training down. *Reproduced* when every interval lies
    above −2 points, and every mean is within 2 points of the paper's change. *In direction* when every interval lies
    above −2 points, but a mean is not that close, or the paper prints no change for the data set. *Contradicted* when
    some interval lies below −2 points. Otherwise *inconclusive*. A single seed has no interval: at the paper's scale it
    is *near the paper, n = 1* if its changes are above −2 points and within 2 points of the paper's.
    """
    rows = _select(_top1(gains), "augshift", "baseline")
    if reason := _still_learning(gains):
        return NOT_TESTABLE, f"{_evidence(rows)}; {reason}"
    beyond_the_margin = [row._replace(low=row.low + NEGLIGIBLE_LOSS, high=row.high + NEGLIGIBLE_LOSS) for row in rows]
    verdict = direction(beyond_the_margin, smallest=0)
    if verdict == IN_DIRECTION and _is_as_printed(rows, -NEGLIGIBLE_LOSS, NEGLIGIBLE_LOSS):
        verdict = REPRODUCED
    return verdict, _evidence(rows)


def _judge_accuracy_of_one(gains: Sequence[Gain]) -> tuple[str, str]:
    if reason := _still_learning(gains):
        return NOT_TESTABLE, reason
    return _near(_select(_top1(gains), "augshift", "baseline"), -NEGLIGIBLE_LOSS, NEGLIGIBLE_LOSS)


def _still_learning(gains: Sequence[Gain]) -> str:
    """Say how much accuracy the baseline gains from training for twice as long; "" if that is negligible."""
    added = _select(_top1(gains), "baseline_long", "baseline")
    return "; ".join(f"twice the training adds {row.mean:+.1f} points to the baseline ({label(row.dataset)})"
                     for row in added if row.mean > NEGLIGIBLE_LOSS)


def _judge_blurpool(gains: Sequence[Gain]) -> tuple[str, str]:
    """The lead of AugShift over BlurPool, in points of Cons.8 (for other image sizes: shifts by up to a quarter of the
    side), on every data set of the page, each with a 95 % interval over seeds. Leads below 1 point are too small to
    matter. *Reproduced* when every interval lies above 0, and every mean is at least 1 point and within 5 points of the
    paper's lead. *In direction* when every interval lies above 0, but a mean is not that close, or the paper prints no
    lead for the data set. Otherwise *contradicted* when some interval lies below 1 point, and *inconclusive* when none
    does. A single seed has no interval: at the paper's scale it is *near the paper, n = 1* if its leads meet the
    conditions that *reproduced* sets for the means.
    """
    rows = _select(_main(gains), "augshift", "blurpool")
    return _above(rows, SMALLEST_LEAD, TOLERANCE), _evidence(rows)


def _judge_blurpool_of_one(gains: Sequence[Gain]) -> tuple[str, str]:
    return _near(_select(_main(gains), "augshift", "blurpool"), SMALLEST_LEAD, TOLERANCE)


def _judge_shifts(gains: Sequence[Gain]) -> tuple[str, str]:
    """The gain of AugShift over the baseline in consistency, in points, at every size of shift that was tested and on
    every data set of the page, each with a 95 % interval over seeds. Gains below 1 point are too small to matter. The
    supplement plots curves and prints no numbers, so only the direction can be reproduced. *Reproduced* when every
    interval lies above 0. Otherwise *contradicted* when some interval lies below 1 point, and *inconclusive* when none
    does.
    """
    rows = [gain for gain in _select(gains, "augshift", "baseline") if gain.measure != "top1"]
    verdict = direction(rows, SMALLEST_AT_A_SHIFT)
    lowest = min(rows, key=lambda row: row.low)
    return (REPRODUCED if verdict == IN_DIRECTION else verdict,
            f"least certain of {len(rows)} gains: {_evidence([lowest], rows)}")


def _judge_imagenet(gains: Sequence[Gain]) -> tuple[str, str]:
    """The lead of BlurPool over AugShift in top-1, Cons.8 and Cons.16 of a ResNet-18, in points, each with a 95 %
    interval over seeds. *Not testable here* unless ImageNet was run, which takes a separate command. Leads below 0.15
    points are too small to matter. *Reproduced* when every interval lies above 0, and every mean is at least 0.15
    points and within 0.5 points of the paper's lead. *In direction* when every interval lies above 0, but a mean is not
    that close. Otherwise *contradicted* when some interval lies below 0.15 points, and *inconclusive* when none does. A
    single seed has no interval: at the paper's scale it is *near the paper, n = 1* if its leads meet the conditions
    that *reproduced* sets for the means.
    """
    rows = _printed(_select(gains, "blurpool", "augshift"))
    over_baseline = _printed(_select(gains, "augshift", "baseline"))
    evidence = _evidence(rows) + (f"; AugShift over the baseline: {_evidence(over_baseline)}" if over_baseline else "")
    return _above(rows, SMALLEST_ON_IMAGENET, TOLERANCE_ON_IMAGENET), evidence


def _judge_imagenet_of_one(gains: Sequence[Gain]) -> tuple[str, str]:
    return _near(_printed(_select(gains, "blurpool", "augshift")), SMALLEST_ON_IMAGENET, TOLERANCE_ON_IMAGENET)


def _printed(gains: Sequence[Gain]) -> list[Gain]:
    """Those in measures of Table 2."""
    return [gain for gain in gains if not gain.measure.endswith("_black")]


def _control_consistency(gains: Sequence[Gain]) -> tuple[str, str]:
    """In points of Cons.8 (for other image sizes: shifts by up to a quarter of the side), with 95 % intervals over
    seeds, on the first data set. *Ruled out* when the interval of the term's contribution (AugShift minus two crops)
    lies above 0. Otherwise the *rival explanation holds* when the interval of the crops' contribution (two crops minus
    the baseline) lies above 0 and above that of the term: most of the gain then comes from the crops. In all other
    cases *undecided*.
    """
    term = _select(_main(gains), "augshift", "two_crops")[0]
    crops = _select(_main(gains), "two_crops", "baseline")[0]
    return rival(term.low > 0, _exceeds(crops, term), term.n,
                 f"term: {_describe(term)}; two crops alone: {_describe(crops)}")


def _control_accuracy(gains: Sequence[Gain]) -> tuple[str, str]:
    """The change of top-1 from that baseline to AugShift, in points, with a 95 % interval over seeds, on the first data
    set. *Ruled out* when the interval lies above −2 points. The *rival explanation holds* when it lies below −2 points.
    Otherwise *undecided*. *Not tried here* if the longer training adds more than 2 points to the baseline's mean top-1,
    as in the rule.
    """
    change = _select(_top1(gains), "augshift", "baseline_long")[0]
    evidence = f"against a baseline trained for twice as long: {_describe(change)}"
    if reason := _still_learning(gains):
        return NOT_TRIED, f"{evidence}; {reason}"
    return rival(change.low > -NEGLIGIBLE_LOSS, change.high < -NEGLIGIBLE_LOSS, change.n, evidence)


def _control_blurpool(gains: Sequence[Gain]) -> tuple[str, str]:
    """In points of Cons.8 (for other image sizes: shifts by up to a quarter of the side), with 95 % intervals over
    seeds, on the first data set. *Ruled out* when the interval of the term's contribution (AugShift minus two crops)
    lies above 0 and above that of the crops' lead (two crops minus BlurPool): most of AugShift's lead then comes from
    the term. The *rival explanation holds* when the interval of the crops' lead lies above 0 and above that of the
    term's contribution. Otherwise *undecided*.
    """
    term = _select(_main(gains), "augshift", "two_crops")[0]
    crops = _select(_main(gains), "two_crops", "blurpool")[0]
    return rival(_exceeds(term, crops), _exceeds(crops, term), term.n,
                 f"term: {_describe(term)}; lead of two crops alone over BlurPool: {_describe(crops)}")


def _exceeds(gain: Gain, other: Gain) -> bool:
    """Whether the interval of a gain lies above 0 and above another's."""
    return gain.low > max(0, other.high)


def _control_shifts(rows: Sequence[FillGain]) -> tuple[str, str]:
    """The gain of AugShift over the baseline in consistency, in points, under shifts by up to an eighth of the side, in
    a window that has true surroundings, with 95 % intervals over seeds. *Ruled out* when the interval lies above 0 with
    each of the four fills (black, reflect, circular, true). Otherwise the *rival explanation holds* when it lies below
    1 point with the true fill, which invents nothing. In all other cases *undecided*. Also *undecided* when the
    measurement fails its own check: with circular fill, the consistency of a network with circular padding under shifts
    by multiples of the total stride has to be at least 99 % (100 % except for rounding).
    """
    by_fill = {row.fill: row for row in rows if (row.method, row.against) == ("augshift", "baseline")}
    identity, = (row for row in rows if row.fill == "identity")
    n, measured = min(row.n for row in by_fill.values()), identity.mean >= 99
    return rival(measured and all(row.low > 0 for row in by_fill.values()),
                 measured and by_fill["true"].high < SMALLEST_AT_A_SHIFT, n,
                 f"gain by fill: {_by_fill(by_fill.values())}, n = {n}; consistency with circular padding "
                 f"{identity.mean:.1f} %")


def _judge_together(gains: Sequence[Gain]) -> tuple[str, str]:
    """The leads of BlurPool and AugShift together over AugShift alone and over BlurPool alone, in points of Cons.8 (for
    other image sizes: shifts by up to a quarter of the side), on every data set where all three were run, each with a
    95 % interval over seeds. Leads below 1 point are too small to matter. The parts of the paper that are available
    here have no such row, so only the direction can be reproduced. *Reproduced* when every interval lies above 0 and
    every mean is at least 1 point. *In direction* when every interval lies above 0. Otherwise *contradicted* when some
    interval lies below 1 point, and *inconclusive* when none does.
    """
    rows = _main([*_select(gains, "blurpool_augshift", "augshift"), *_select(gains, "blurpool_augshift", "blurpool")])
    verdict = direction(rows, SMALLEST_LEAD)
    if verdict == IN_DIRECTION and all(row.mean >= SMALLEST_LEAD for row in rows):
        verdict = REPRODUCED
    return verdict, f"together, over {_over_each(rows)}"


def _over_each(rows: Sequence[Gain]) -> str:
    """The gains of `rows` by the method they are over."""
    listed = "; ".join(f"{label(row.against)} alone ({label(row.dataset)}): {points(row)}" for row in rows)
    return f"{listed}, n = {min(row.n for row in rows)}"


def _control_together(rows: Sequence[FillGain]) -> tuple[str, str]:
    """The same two leads in consistency, in points, under shifts by up to an eighth of the side, in a window that has
    true surroundings, with 95 % intervals over seeds. *Ruled out* when both intervals lie above 0 with the true fill,
    which invents nothing. Otherwise the *rival explanation holds* when one of them lies below 1 point with that fill.
    In all other cases *undecided*.
    """
    leads = [row for row in rows if row.method == "blurpool_augshift" and row.fill == "true"]
    n = min(row.n for row in leads)
    listed = "; ".join(f"{'AugShift' if row.against == 'augshift' else 'BlurPool'} alone {points(row)}"
                       for row in leads)
    return rival(all(row.low > 0 for row in leads), any(row.high < SMALLEST_LEAD for row in leads), n,
                 f"with true surroundings, over {listed}, n = {n}")


def _by_fill(rows: Iterable[FillGain]) -> str:
    return "; ".join(f"{'black' if row.fill == 'constant' else row.fill} {points(row)}" for row in rows)


def _control_imagenet(gains: Sequence[Gain]) -> tuple[str, str]:
    """The lead of BlurPool over AugShift in Cons.8 and Cons.16 with a black border, in points, with 95 % intervals over
    seeds. *Ruled out* when both intervals lie above 0. The *rival explanation holds* when one lies below 0: AugShift is
    then ahead of BlurPool. Otherwise *undecided*.
    """
    rows = [gain for gain in _select(gains, "blurpool", "augshift") if gain.measure.endswith("_black")]
    return rival(all(row.low > 0 for row in rows), any(row.high < 0 for row in rows), min(row.n for row in rows),
                 _evidence(rows))


def _evidence(rows: Sequence[Gain], among: Sequence[Gain] = ()) -> str:
    """The gains of `rows`, and the smallest n of them (or of the larger set they were chosen from)."""
    listed = "; ".join(f"{label(row.dataset)}, {measure_name(row.measure)}: {points(row)}" for row in rows)
    return f"{listed}, n = {min(row.n for row in among or rows)}"


def _describe(gain: Gain) -> str:
    return f"{points(gain)}, n = {gain.n} ({label(gain.dataset)}, {measure_name(gain.measure)})"


def measure_name(measure: str) -> str:
    """The display name of a measure: "top-1", "Cons.N" or "Cons.N, black border"."""
    return measure.replace("top1", "top-1").replace("cons", "Cons.").replace("_black", ", black border")


_TABLE_2 = ("ICCV 2021, Table 2",)
AUGSHIFT_CONSISTENCY = Claim(
    "augshift-consistency", "05_augshift",
    "With AugShift, a network's prediction changes less often when the image is shifted by a few pixels.",
    "ICCV 2021, Table 2", "Cons.8: CIFAR-10 90.8 → 94.8 %, CIFAR-100 70.1 → 85.6 %, ImageNet 89.5 → 90.2 %",
    _judge_consistency,
    "The rival explanation that consistency comes from training on shifted crops, not from the term that pulls their "
    "latents together: tested by training on the same two crops without the term",
    _control_consistency, "05_methods", _TABLE_2, minimum=LEARNED, judge_one=_judge_consistency_of_one)
AUGSHIFT_ACCURACY = Claim(
    "augshift-accuracy", "05_augshift",
    "AugShift costs no appreciable accuracy.",
    "ICCV 2021, Table 2", "top-1: CIFAR-10 93.1 → 92.1 %, CIFAR-100 72.6 → 72.6 %, ImageNet 69.7 → 70.1 %",
    _judge_accuracy,
    "The rival explanation that AugShift's second crop, which doubles the work per step, makes up for a loss of "
    "accuracy: tested against a baseline trained for twice as long, which sees as many images",
    _control_accuracy, "05_controls", _TABLE_2, minimum=LEARNED, judge_one=_judge_accuracy_of_one)
AUGSHIFT_BLURPOOL = Claim(
    "augshift-blurpool", "05_augshift",
    "On CIFAR, AugShift makes a network more consistent than BlurPool does.",
    "ICCV 2021, Table 2", "Cons.8, BlurPool and AugShift: CIFAR-10 92.5 and 94.8 %, CIFAR-100 78.2 and 85.6 %",
    _judge_blurpool,
    "The rival explanation that AugShift is ahead because its network was trained on shifted images and BlurPool's was "
    "not: tested by comparing two crops without the term with BlurPool",
    _control_blurpool, "05_methods", _TABLE_2, minimum=LEARNED, judge_one=_judge_blurpool_of_one)
AUGSHIFT_SHIFTS = Claim(
    "augshift-shifts", "05_augshift",
    "AugShift increases consistency under small shifts and under large ones.",
    "ICCV 2021, supplement S2", "",
    _judge_shifts,
    "The rival explanation that AugShift only adapts its network to the border that a shift uncovers: tested by "
    "filling it in four ways",
    _control_shifts, "05_shifts", ("ICCV 2021, Fig. S2",), minimum=LEARNED)
AUGSHIFT_WITH_BLURPOOL = Claim(
    "augshift-with-blurpool", "05_augshift",
    "BlurPool and AugShift together make a network more consistent than either alone.",
    "ICCV 2021, Sec. 4.1; Table 2 has no such row", "",
    _judge_together,
    "The rival explanation that the two together are ahead only where the test fills the border with black: tested "
    "with true surroundings",
    _control_together, "05_methods", _TABLE_2, minimum=LEARNED)
AUGSHIFT_IMAGENET = Claim(
    "augshift-imagenet", "05_augshift",
    "On ImageNet, BlurPool is ahead of AugShift, in accuracy and in consistency.",
    "ICCV 2021, Table 2", "AugShift and BlurPool: top-1 70.1 and 71.4 %, Cons.8 90.2 and 90.5 %, Cons.16 88.2 and "
    "88.8 %",
    _judge_imagenet,
    "The rival explanation that what a shift brings into view (here more of the image) decides which of the two is "
    "ahead: tested with a black border on the same networks",
    _control_imagenet, "05_methods", _TABLE_2, minimum=LEARNED_ON_IMAGENET,
    judge_one=_judge_imagenet_of_one, fixed="before any run on ImageNet")

CLAIMS = (AUGSHIFT_CONSISTENCY, AUGSHIFT_ACCURACY, AUGSHIFT_BLURPOOL, AUGSHIFT_WITH_BLURPOOL, AUGSHIFT_SHIFTS,
          AUGSHIFT_IMAGENET)
