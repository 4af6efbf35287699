"""Agreement of a network's predictions under exact shifts, pixel by pixel: the section of page 05 on phase.

Two things change a network's prediction when the image shifts.  Strides keep every second value: which ones depends on
the phase of the shift, so agreement returns at multiples of the stride (teeth).  The effect of the border depends on
how far the image has been shifted (a slope).  Source: Zhang, ICML 2019, and Chaman and Dokmanic, CVPR 2021,
for strides; the decomposition below is this book's.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor, nn

from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments import augshift
from posenc_lib.experiments.augshift import TOTAL_STRIDE, AugShiftConfig
from posenc_lib.measure import metrics
from posenc_lib.run import training
from posenc_lib.run.config import CosineRecipe
from posenc_lib.run.records import Record

METHODS = ("baseline", "two_crops", "augshift", "blurpool", "circular_padding", "polyphase")
FILLS = ("circular", "constant")   # the first loses no part of the image; the second is Table 2's test on page 05
SEEDS = {"smoke": 1, "quick": 1, "long": 5, "paper": 3}
# Changes to page 05's own presets.  "long" is the committed CPU run, on digits of `LONG_SIDE` pixels: a few minutes on
# one core for each seed.
SCHEDULES = {
    "smoke": {},
    "quick": {"test_images": 40},
    "long": {"width": 8, "test_images": 100, "recipe": CosineRecipe(epochs=8, epoch_steps=15, batch_size=32, warmup=1)},
    "paper": {"recipe": CosineRecipe(epochs=50, warmup=5)},
}
LONG_SIDE = 24
SLIDES = 10     # images whose predictions are kept at every shift
EXACT = 99.5   # percent: agreement is exact up to a tie that rounding decides


@dataclass(frozen=True)
class ShiftPhaseConfig:
    """A network of page 05, and how it is shifted: to the right by every number of pixels up to the image's side.

    network   its training; `test_images` are the images that are shifted
    side      of the images, in pixels
    revision  raised by hand whenever a change alters this experiment's numbers
    """
    network: AugShiftConfig
    side: int
    revision: int = 1


def configs(schedule: str, dataset: str, splits: Splits, *, steps: int = 0) -> list[ShiftPhaseConfig]:
    """One network for each of `METHODS` on a data set.

    schedule  a key of `SCHEDULES`
    steps     as in `augshift.configure`
    """
    found = []
    for method in METHODS:
        network = augshift.configure("quick" if schedule == "long" else schedule, dataset, splits, steps=steps,
                                     method=method, probe_images=0)
        network = replace(network, profile=schedule, **SCHEDULES[schedule])
        recipe = replace(network.recipe, flip=dataset != "digits")   # a mirrored digit is no longer that digit
        found.append(ShiftPhaseConfig(replace(network, recipe=recipe), splits.train.images.shape[-1]))
    return found


def answers_by_shift(net: nn.Module, images: ImageSet, fill: str) -> Int[Tensor, "pixels image"]:
    """Predicted class of every image, shifted right by 0, 1, .. side pixels.

    fill  what the shift uncovers, see `canvas.shift`; "constant" is black
    A circular shift by the side is none, so its first and last row are the same.
    """
    right = torch.tensor([0, 1], device=images.images.device)
    side = images.images.shape[-1]
    return torch.stack([augshift.predict(net, images, (pixels * right).expand(len(images), 2), fill)[0]
                        for pixels in range(side + 1)])


def agreement(answers: Int[Tensor, "pixels image"]) -> list[float]:
    """For every shift, the fraction of images, 0..1, with the same predicted class as unshifted (the first row)."""
    return [metrics.agreement(answers[0], shifted) for shifted in answers]


def run(c: ShiftPhaseConfig, seed: int, checkpoint: training.Checkpoint | None = None, *, data: Mapping[str, Splits],
        device: torch.device | str) -> dict:
    """Train one network and shift its test images.  -> results of the record

    top1    accuracy of unshifted images, 0..1
    curves  by fill: for every number of pixels from 0 to the side, the fraction of images, 0..1, with the same
            predicted class as unshifted
    slides  by fill: for the first `SLIDES` images of the test set, the predicted class at every number of pixels
    loss    of the last epoch
    """
    network, splits = c.network, data[c.network.dataset]
    net = augshift.initialise(network, len(splits.train.classes), seed).to(device).eval()
    loss = partial(augshift.batch_loss, network, splits.train.black.to(device))
    history = training.fit(net, splits.train, loss, network.recipe, seed=seed, checkpoint=checkpoint)
    test = splits.test.subsample(network.test_images).to(device)
    answers = {fill: answers_by_shift(net, test, fill) for fill in FILLS}
    return {"top1": augshift.top1(net, test),
            "curves": {fill: agreement(classes) for fill, classes in answers.items()},
            "slides": {fill: classes[:, :SLIDES].T.tolist() for fill, classes in answers.items()},
            "loss": history[-1]["loss"]}


def border_loss(curve: Sequence[float]) -> float:
    """What is lost at multiples of the total stride, where strides keep the same values: 1 - mean agreement there.

    curve  agreement at 0, 1, .. side pixels; the ends, which are no shift under circular fill, are left out
    """
    whole = _whole_strides(curve)
    return 1 - sum(curve[n] for n in whole) / len(whole)


def tooth(curve: Sequence[float]) -> float:
    """How far agreement at a multiple of the total stride stands above that one pixel before and after; the mean over
    the multiples between the ends.  0 for a straight line, whatever its slope.
    """
    whole = _whole_strides(curve)
    return sum(curve[n] - (curve[n - 1] + curve[n + 1]) / 2 for n in whole) / len(whole)


def _whole_strides(curve: Sequence[float]) -> range:
    return range(TOTAL_STRIDE, len(curve) - 1, TOTAL_STRIDE)


# ---- the results as tables, in percent

def curves(runs: Sequence[Record]) -> pd.DataFrame:
    """Columns: method, seed, fill, pixels, value (percent); a row for each shift of each run."""
    return pd.DataFrame([
        {"method": run.config["network"]["method"], "seed": run.seed, "fill": fill, "pixels": pixels,
         "value": 100 * value}
        for run in runs for fill, curve in run.results["curves"].items() for pixels, value in enumerate(curve)])


def slides(runs: Sequence[Record], fill: str, seed: int) -> dict[str, list[list[int]]]:
    """Method -> for each of the first test images, the predicted class at 0, 1, .. side pixels."""
    by_method = {run.config["network"]["method"]: run.results["slides"][fill] for run in runs if run.seed == seed}
    return {method: by_method[method] for method in METHODS}


def measures(runs: Sequence[Record]) -> pd.DataFrame:
    """Columns: method, seed, fill, top1, border_loss, tooth, lowest (the lowest agreement at any shift), in percent or
    points; a row for each run and fill.
    """
    return pd.DataFrame([
        {"method": run.config["network"]["method"], "seed": run.seed, "fill": fill, "top1": 100 * run.results["top1"],
         "border_loss": 100 * border_loss(curve), "tooth": 100 * tooth(curve), "lowest": 100 * min(curve)}
        for run in runs for fill, curve in run.results["curves"].items()])


def predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """What strides and border should do, written down before the first run, and whether every seed of `measures` has
    it: prediction, holds, evidence.
    """
    by_seed = frame.pivot(index="seed", columns=["fill", "method"])

    def of(measure: str, method: str, fill: str = "circular") -> pd.Series:
        return by_seed[measure, fill, method]

    def listed(name: str, values: pd.Series) -> str:
        return f"{name} " + ", ".join(f"{value:.1f}" for value in values)

    aps, still = of("lowest", "polyphase"), of("border_loss", "circular_padding")
    teeth = {method: of("tooth", method) for method in METHODS}
    lost = {method: of("border_loss", method) for method in METHODS}
    black = of("border_loss", "polyphase", "constant")
    crops = pd.concat([lost["two_crops"], lost["augshift"]], axis=1).max(axis=1)
    rows = [
        ("With adaptive sampling and circular padding, the prediction never changes under circular shifts.",
         aps >= EXACT, listed("lowest agreement", aps)),
        ("Circular padding alone is exact at multiples of the total stride, and has teeth.",
         (still <= 100 - EXACT) & (teeth["circular_padding"] > 0),
         f"{listed('lost there', still)}; {listed('teeth', teeth['circular_padding'])}"),
        ("The baseline has teeth too, and loses agreement at multiples of the stride, because of its border.",
         (teeth["baseline"] > 0) & (lost["baseline"] > 0),
         f"{listed('teeth', teeth['baseline'])}; {listed('lost', lost['baseline'])}"),
        ("BlurPool's teeth are smaller than the baseline's.",
         teeth["blurpool"] < teeth["baseline"], listed("teeth", teeth["blurpool"])),
        ("Networks trained on crops lose less at multiples of the stride than the baseline.",
         crops < lost["baseline"], listed("lost, the larger of the two", crops)),
        ("Where a black border covers part of the image, adaptive sampling loses agreement as well.",
         black > 100 - EXACT, listed("lost", black)),
    ]
    return pd.DataFrame([{"prediction": text, "holds": bool(holds.all()), "evidence": f"{evidence} (by seed)"}
                         for text, holds, evidence in rows])
