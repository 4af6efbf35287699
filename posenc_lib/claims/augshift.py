"""AugShift in Islam et al., ICCV 2021 (Table 2, supplement S2): the printed numbers, the claims and their rules.

Accuracy and consistency are in percent, differences in percentage points.
"""
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, REPRODUCED, Claim, outcome, points
from posenc_lib.run import records

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
         ("augshift", "two_crops"), ("augshift", "baseline_long"))


class Gain(NamedTuple):
    """The difference in one measure between two methods, paired by seed: mean and 95 % interval over n seeds.

    measure  "top1", or "cons<N>" for shifts by up to N pixels
    main     true for the Cons.N that stands for Cons.8: N is a quarter of the image's side, as 8 is on CIFAR
    paper    the difference in Table 2, nan if it is not there
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


class FillGain(NamedTuple):
    """The gain of AugShift over the baseline in consistency with one border fill: mean and 95 % interval over n seeds.

    fill  one of `canvas.FILLS`; or "identity", for the consistency of circular padding under circular shifts by
          multiples of the total stride
    """
    fill: str
    mean: float
    low: float
    high: float
    n: int


def gains(scores: pd.DataFrame) -> list[Gain]:
    """The gains of this run for all `PAIRS`, from `experiments.augshift.scores`."""
    by_method = scores.set_index(["dataset", "backbone", "measure", "main", "seed", "method"])["value"].unstack()
    single = pd.concat([(by_method[method] - by_method[against]).dropna().rename("value").reset_index()
                        .assign(method=method, against=against) for method, against in PAIRS])
    summary = records.summarise(single, ["dataset", "backbone", "method", "against", "measure", "main"], "value")
    paper = TABLE2.set_index(["dataset", "method", "measure"])["paper"].to_dict()
    return [Gain(**row, paper=paper.get((row["dataset"], row["method"], row["measure"]), float("nan"))
                 - paper.get((row["dataset"], row["against"], row["measure"]), float("nan")))
            for row in summary.to_dict("records")]


def fill_gains(fills: pd.DataFrame) -> list[FillGain]:
    """The gain of AugShift over the baseline by fill, and the identity, from `experiments.augshift.fills`."""
    wide = fills[fills["fill"] != "any_step"].set_index(["fill", "seed", "method"])["value"].unstack()
    lead = (wide["augshift"] - wide["baseline"]).loc[["constant", "circular", "reflect", "true"]]
    single = pd.concat([lead, wide.loc[["identity"], "circular_padding"]]).rename("value").reset_index()
    return [FillGain(**row) for row in records.summarise(single, ["fill"], "value").to_dict("records")]


def _select(gains: Sequence[Gain], method: str, against: str) -> list[Gain]:
    return [gain for gain in gains if (gain.method, gain.against) == (method, against)]


def _main(gains: Sequence[Gain]) -> list[Gain]:
    return [gain for gain in gains if gain.main]


def _top1(gains: Sequence[Gain]) -> list[Gain]:
    return [gain for gain in gains if gain.measure == "top1"]


def _more_consistent(gains: Sequence[Gain], against: str) -> tuple[str, str]:
    rows = _select(_main(gains), "augshift", against)
    above = all(row.low > 0 for row in rows)
    close = all(abs(row.mean - row.paper) <= 5 for row in rows)   # false if the paper has no number
    verdict = REPRODUCED if above and close else IN_DIRECTION if above else NOT_REPRODUCED
    return verdict, _evidence(rows)


def _judge_consistency(gains: Sequence[Gain]) -> tuple[str, str]:
    """The gain of AugShift over the baseline, in points of Cons.8 (for other image sizes: shifts by up to a quarter of
    the side), on every data set that was run. *Reproduced* when its 95 % interval over seeds lies above 0 and its mean
    within 5 points of the paper's gain. *Reproduced in direction* when the interval does. Else *not reproduced*.
    """
    verdict, evidence = _more_consistent(gains, "baseline")
    crops_alone = _select(_main(gains), "two_crops", "baseline")
    return verdict, evidence + "".join(f"; two crops alone, {row.dataset}: {points(row)}" for row in crops_alone)


def _judge_accuracy(gains: Sequence[Gain]) -> tuple[str, str]:
    """The change of top-1 from the baseline to AugShift, on every data set that was run. *Reproduced* when its 95 %
    interval over seeds lies above −2 points (in the paper the largest loss is 1.0). *Reproduced in direction* when its
    mean does. Else *not reproduced*.
    """
    rows = _select(_top1(gains), "augshift", "baseline")
    if all(row.low > -2 for row in rows):
        return REPRODUCED, _evidence(rows)
    return IN_DIRECTION if all(row.mean > -2 for row in rows) else NOT_REPRODUCED, _evidence(rows)


def _judge_blurpool(gains: Sequence[Gain]) -> tuple[str, str]:
    """The gain of AugShift over BlurPool, in points of Cons.8, on every data set that was run. *Reproduced* when its
    95 % interval over seeds lies above 0 and its mean within 5 points of the paper's gain. *Reproduced in direction*
    when the interval does. Else *not reproduced*.
    """
    return _more_consistent(gains, "blurpool")


def _judge_shifts(gains: Sequence[Gain]) -> tuple[str, str]:
    """The gain of AugShift over the baseline in consistency, at every size of shift that was tested. *Reproduced* when
    its 95 % interval over seeds lies above 0 at every one, for a ResNet-50 on ImageNet, which is what the supplement
    shows. *Reproduced in direction* when it does so for other networks and images. Else *not reproduced*.
    """
    rows = [gain for gain in _select(gains, "augshift", "baseline") if gain.measure != "top1"]
    as_in_paper = all((row.dataset, row.backbone) == ("imagenet", "resnet50") for row in rows)
    above = all(row.low > 0 for row in rows)
    verdict = NOT_REPRODUCED if not above else REPRODUCED if as_in_paper else IN_DIRECTION
    lowest = min(rows, key=lambda row: row.low)
    return verdict, f"least certain of {len(rows)} gains: {_evidence([lowest], rows)}"


def _control_consistency(gains: Sequence[Gain]) -> tuple[str, str]:
    """*Passed* when AugShift is more consistent than its own two crops: the 95 % interval over seeds of the difference,
    in points of Cons.8 (for other image sizes: shifts by up to a quarter of the side), lies above 0. Else *not passed*:
    then the crops do what was attributed to the term.
    """
    term = _select(_main(gains), "augshift", "two_crops")[0]
    return outcome(term.low > 0, term.n, f"the term adds {_describe(term)}")


def _control_accuracy(gains: Sequence[Gain]) -> tuple[str, str]:
    """*Passed* when the change of top-1 from that baseline to AugShift keeps its 95 % interval over seeds above −2
    points, as the rule requires for the ordinary baseline; else *not passed*.
    """
    change = _select(_top1(gains), "augshift", "baseline_long")[0]
    return outcome(change.low > -2, change.n, f"against a baseline trained for twice as long: {_describe(change)}")


def _control_blurpool(gains: Sequence[Gain]) -> tuple[str, str]:
    """In points of Cons.8, over seeds. *Passed* when what the term adds to two crops has its whole 95 % interval above
    0 and above that of the lead which two crops alone have over BlurPool: then most of AugShift's lead is its own. Else
    *not passed*: a network that saw shifted pictures was compared with one that saw none.
    """
    term = _select(_main(gains), "augshift", "two_crops")[0]
    crops = _select(_main(gains), "two_crops", "blurpool")[0]
    return outcome(term.low > max(0, crops.high), term.n,
                   f"the term adds {_describe(term)}; two crops alone lead BlurPool by {_describe(crops)}")


def _control_shifts(rows: Sequence[FillGain]) -> tuple[str, str]:
    """Shifts by up to an eighth of the side, in a window that has true surroundings. *Passed* when the gain of AugShift
    over the baseline in consistency has its 95 % interval over seeds above 0 under each of the four fills (black,
    reflect, circular, true), and the measurement satisfies the identity: under circular fill, networks with circular
    padding agree with themselves in at least 99 % of shifts by multiples of the total stride. Else *not passed*.
    """
    identity = next(row for row in rows if row.fill == "identity")
    fills = [row for row in rows if row.fill != "identity"]
    by_fill = "; ".join(f"{'black' if row.fill == 'constant' else row.fill} {points(row)}" for row in fills)
    n = min(row.n for row in fills)
    return outcome(all(row.low > 0 for row in fills) and identity.mean >= 99, n,
                   f"gain by fill: {by_fill}, n = {n}; circular padding agrees with itself in {identity.mean:.1f} %")


def _evidence(rows: Sequence[Gain], among: Sequence[Gain] = ()) -> str:
    """The gains of `rows`, and the smallest n of them (or of the larger set they were chosen from)."""
    listed = "; ".join(f"{row.dataset}, {measure_name(row.measure)}: {points(row)}" for row in rows)
    return f"{listed}, n = {min(row.n for row in among or rows)}"


def _describe(gain: Gain) -> str:
    return f"{points(gain)}, n = {gain.n} ({gain.dataset}, {measure_name(gain.measure)})"


def measure_name(measure: str) -> str:
    """The display name of a measure: "top-1" or "Cons.N"."""
    return measure.replace("top1", "top-1").replace("cons", "Cons.")


_TABLE_2 = ("ICCV 2021, Table 2",)
AUGSHIFT_CONSISTENCY = Claim(
    "augshift-consistency", "05_augshift",
    "AugShift makes a network say the same of an image that is shifted by a few pixels more often.",
    "ICCV 2021, Table 2", "Cons.8: CIFAR-10 90.8 → 94.8 %, CIFAR-100 70.1 → 85.6 %, ImageNet 89.5 → 90.2 %",
    _judge_consistency, "the same two crops without the term that draws their latents together", _control_consistency,
    "05_methods", _TABLE_2)
AUGSHIFT_ACCURACY = Claim(
    "augshift-accuracy", "05_augshift",
    "AugShift costs no accuracy to speak of.",
    "ICCV 2021, Table 2", "top-1: CIFAR-10 93.1 → 92.1 %, CIFAR-100 72.6 → 72.6 %, ImageNet 69.7 → 70.1 %",
    _judge_accuracy, "a baseline trained for twice as long, which sees as many images", _control_accuracy,
    "05_controls", _TABLE_2)
AUGSHIFT_BLURPOOL = Claim(
    "augshift-blurpool", "05_augshift",
    "On CIFAR, AugShift makes a network more consistent than BlurPool does.",
    "ICCV 2021, Table 2", "Cons.8, BlurPool and AugShift: CIFAR-10 92.5 and 94.8 %, CIFAR-100 78.2 and 85.6 %",
    _judge_blurpool, "two crops without the term, set against BlurPool on their own", _control_blurpool, "05_methods",
    _TABLE_2)
AUGSHIFT_SHIFTS = Claim(
    "augshift-shifts", "05_augshift",
    "AugShift helps against small shifts and against large ones.",
    "ICCV 2021, supplement S2", "", _judge_shifts,
    "four ways of filling the border, and circular padding, under which some shifts can change nothing",
    _control_shifts, "05_shifts", ("ICCV 2021, Fig. S2",))

CLAIMS = (AUGSHIFT_CONSISTENCY, AUGSHIFT_ACCURACY, AUGSHIFT_BLURPOOL, AUGSHIFT_SHIFTS)
