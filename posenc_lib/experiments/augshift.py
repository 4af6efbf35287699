"""AugShift and the methods it is compared with: training step, runs, and measurements of page 05, which builds the core
by hand.

Source: Islam et al., ICCV 2021, Sec. 4.1 and Fig. 2.  The public text gives no equation, weight, crop size or schedule,
and no code was released, so these are our choices.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float, Int, Num
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images, Labels, Latents
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.measure import canvas, features, metrics
from posenc_lib.nets import classifiers
from posenc_lib.nets.padding import pad_at_random, set_padding_mode
from posenc_lib.nets.polyphase import sample_adaptively
from posenc_lib.nets.pretrained import Encoder
from posenc_lib.run import training
from posenc_lib.run.config import CosineRecipe, Recipe
from posenc_lib.run.records import Record

TOTAL_STRIDE = 8   # of cifar_resnet18
PROBE_GRID = 3     # cells on each side of the canvas for the location probe


@dataclass(frozen=True)
class Method:
    """How a classifier is trained: a row of Table 2 (ICCV 2021), or a control.

    views        what a training step sees of each image: "whole", the image itself, or "crop", the image randomly
                 shifted
    classified   number of views, counted from the first, that enter the cross-entropy
    latent_term  whether the loss penalises the distance between the pooled latents of the two views
    blur         BlurPool at every stride
    padding      "zeros", "circular", or "random", of the first convolution only (`padding.pad_at_random`)
    polyphase    adaptive polyphase sampling at every stride (`polyphase.sample_adaptively`)
    """
    views: tuple[str, ...] = ("whole",)
    classified: int = 1
    latent_term: bool = False
    blur: bool = False
    padding: str = "zeros"
    polyphase: bool = False


METHODS = {
    "baseline": Method(),
    "one_crop": Method(("crop",)),
    "two_crops": Method(("crop", "crop"), 2),
    "augshift": Method(("crop", "crop"), 2, latent_term=True),
    "blurpool": Method(blur=True),
    "blurpool_augshift": Method(("crop", "crop"), 2, latent_term=True, blur=True),
    "mse_only": Method(("whole", "crop"), 1, latent_term=True),
    "random_padding": Method(padding="random"),
    "circular_padding": Method(padding="circular"),
    "polyphase": Method(padding="circular", polyphase=True),
}


@dataclass(frozen=True, kw_only=True)
class AugShiftConfig:
    """One network of page 05, trained by a method of `METHODS`.

    data          fingerprint of the image set
    backbone      see `classifiers.Classifier`; width is the number of channels of its first stage (64 in the paper)
    shift         largest shift of a crop, in pixels, vertically and horizontally
    weight        lambda, the weight of the latent term, for methods that have one
    test_shifts   the shifts N, in pixels, for which consistency is measured; tables show the first
    test_images   number of test images; all if None
    probe_images  number of training images of the location probe, which is tested on half as many test images; all if
                  None, no probe if 0
    """
    profile: str
    dataset: str
    data: str
    method: str = "augshift"
    backbone: str = "cifar_resnet18"
    width: int | None = 64
    shift: int = 8
    weight: float = 0.1
    test_shifts: tuple[int, ...] = (8, 16)
    test_images: int | None = None
    probe_images: int | None = None
    recipe: Recipe = field(default_factory=CosineRecipe)
    revision: int = 2

    def __post_init__(self):
        check_choice("method", self.method, tuple(METHODS))


# What each profile changes in the configuration, by data set; "any" applies to every data set without its own entry.
PRESETS = {
    "smoke": {"any": {"width": 2, "test_images": 4, "probe_images": 4,
                      "recipe": CosineRecipe(epochs=2, epoch_steps=1, batch_size=4)}},
    "quick": {"digits": {"width": 4, "test_images": 80, "probe_images": 8,
                         "recipe": CosineRecipe(epochs=8, epoch_steps=6, batch_size=24, warmup=1)},
              "any": {"width": 8, "test_images": 1000, "probe_images": 40,
                      "recipe": CosineRecipe(epochs=8, epoch_steps=80, batch_size=64, warmup=1)}},
    "paper": {"any": {"width": 64, "probe_images": 1000, "recipe": CosineRecipe(warmup=5)}},
}
# The other values of lambda that each profile sweeps.  The default, 0.1, was chosen before these runs on held-out
# digits, where 0.01 and 0.1 performed alike and 1 slowed down a short training.
WEIGHTS = {"smoke": (1.0,), "quick": (0.01, 1.0), "paper": (0.01, 1.0, 10.0)}
TABLE2_METHODS = ("baseline", "augshift", "blurpool")


def preset(profile: str, dataset: str) -> dict:
    """The entry of `PRESETS` for a data set; ValueError if there is neither one of its own nor one for any."""
    entries = PRESETS[profile]
    name = dataset if dataset in entries or "any" not in entries else "any"
    return dict(entries[check_choice("dataset", name, tuple(entries))])


def configure(profile: str, dataset: str, splits: Splits, *, steps: int = 0, **changes) -> AugShiftConfig:
    """The configuration of one network on a data set, `changes` over the profile's preset.

    steps  number of optimiser steps in 8 epochs; the preset's schedule if 0
    Crops move by up to a quarter of the side; consistency is measured up to half of it, in steps of an eighth.
    """
    values = preset(profile, dataset)
    recipe = replace(values["recipe"], flip=dataset != "digits")   # a mirrored digit is no longer that digit
    if steps:
        recipe = replace(recipe, epochs=8, epoch_steps=-(-steps // 8))
    side = splits.train.images.shape[-1]
    values |= {"shift": side // 4, "test_shifts": tuple(side * n // 8 for n in (2, 1, 3, 4)), "recipe": recipe}
    return AugShiftConfig(**{"profile": profile, "dataset": dataset, "data": splits.fingerprint, **values, **changes})


def plan(profile: str, data: Mapping[str, Splits], *, weights: Sequence[float] = (),
         steps: int = 0) -> dict[tuple[str, str], AugShiftConfig]:
    """The runs of page 05 by (data set, variant): Table 2 on every data set, everything else on the first.

    weights  values of lambda to sweep; the profile's if empty
    A variant is a method, "baseline_long" (twice the epochs), or "augshift_<lambda>" of the sweep.
    """
    make = {name: partial(configure, profile, name, splits, steps=steps) for name, splits in data.items()}
    runs = {(name, method): make[name](method=method) for name in data for method in TABLE2_METHODS}
    first = next(iter(data))
    baseline, side = runs[first, "baseline"], data[first].train.images.shape[-1]
    for method in ("two_crops", "blurpool_augshift", "circular_padding"):
        runs[first, method] = make[first](method=method)

    brief = partial(make[first], probe_images=0, test_shifts=baseline.test_shifts[:1])   # measured in Cons.N only
    longer = replace(baseline.recipe, epochs=2 * baseline.recipe.epochs)
    runs[first, "baseline_long"] = brief(method="baseline", recipe=longer)
    runs[first, "one_crop"] = brief(method="one_crop", shift=side // 8)
    runs[first, "mse_only"] = brief(method="mse_only")
    runs[first, "random_padding"] = brief(method="random_padding")
    for weight in weights or WEIGHTS[profile]:
        if weight != baseline.weight:   # AugShift itself has that
            runs[first, sweep_variant(weight)] = brief(method="augshift", weight=weight)
    return runs


def sweep_variant(weight: float) -> str:
    """The variant name, in `plan`, of AugShift with another lambda."""
    return f"augshift_{weight:g}"


def build(c: AugShiftConfig, num_classes: int) -> classifiers.Classifier:
    """Build the network of a configuration, with random weights from torch's global generator."""
    method = METHODS[c.method]
    net = classifiers.Classifier(c.backbone, num_classes, width=c.width, blur=method.blur)
    if method.polyphase:
        sample_adaptively(net)
    if method.padding == "random":
        return pad_at_random(net, [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d)][:1])
    return set_padding_mode(net, method.padding) if method.padding != "zeros" else net


def initialise(c: AugShiftConfig, num_classes: int, seed: int) -> classifiers.Classifier:
    """Build the network with random weights from `seed`; torch's global generator is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(c, num_classes)


def random_shifts(n: int, reach: int, draws: Draws) -> Int[Tensor, "{n} 2"]:
    """Draw `n` shifts, down and right, each uniform over the integers -reach .. reach."""
    return draws(torch.randint, -reach, reach + 1, (n, 2))


def views(c: AugShiftConfig, images: Num[Tensor, "batch rgb row col"], draws: Draws, **border) -> list[Tensor]:
    """The views of each image in one training step; `border` is the fill of a crop's border (`canvas.shift`)."""
    reach = {"whole": 0, "crop": c.shift}
    return [canvas.shift(images, random_shifts(len(images), reach[view], draws), **border)
            for view in METHODS[c.method].views]


def objective(c: AugShiftConfig, net: nn.Module, seen: Sequence[Images], labels: Labels) -> Float[Tensor, ""]:
    """The loss of the views `seen` of a batch: cross-entropy, plus the latent term for methods that have it.

        L  =  mean over classified views of CE(y_v, label)  +  weight * MSE(z_1, z_2)     MSE over channels and images

    All views pass through the network in one batch, so batch normalisation computes its statistics over all of them.
    """
    method = METHODS[c.method]
    z, logits = (out.chunk(len(seen)) for out in net(torch.cat(list(seen))))
    loss = torch.stack([cross_entropy(y, labels) for y in logits[:method.classified]]).mean()
    return loss + c.weight * mse_loss(z[0], z[1]) if method.latent_term else loss


def batch_loss(c: AugShiftConfig, black: Float[Tensor, " rgb"], net: nn.Module, images: Images, labels: Labels,
               draws: Draws) -> Float[Tensor, ""]:
    """The loss of a batch for `training.fit`: `objective` on random views with a black border."""
    return objective(c, net, views(c, images, draws, colour=black), labels)


@torch.no_grad()
def predict(net: nn.Module, images: ImageSet, offset: Int[Tensor, "image 2"], fill: str = "constant", *,
            side: int | None = None, batch: int = 250) -> tuple[Labels, Latents]:
    """Predicted class and pooled latent of every image, shifted by `offset`; "constant" fill is black."""
    outputs = []
    for index in torch.arange(len(images), device=images.images.device).split(batch):
        pixels = images.batch(index)[0]
        z, logits = net(canvas.shift(pixels, offset[index.to(offset.device)], fill, side=side, colour=images.black))
        outputs.append((logits.argmax(1), z))
    classes, latents = zip(*outputs, strict=True)
    return torch.cat(classes), torch.cat(latents)


def unshifted(images: ImageSet) -> Int[Tensor, "image 2"]:
    """A shift by no pixels for every image."""
    return torch.zeros(len(images), 2, dtype=torch.long, device=images.images.device)


def top1(net: nn.Module, images: ImageSet) -> float:
    """Accuracy on unshifted images, 0..1."""
    return metrics.agreement(predict(net, images, unshifted(images))[0], images.labels)


def consistency(net: nn.Module, images: ImageSet, reach: int, fill: str = "constant", *, side: int | None = None,
                step: int = 1, seed: int = 0, correct: Tensor | None = None) -> dict[str, float | None]:
    """Measure how often a network gives an image the same class under two random shifts by up to `reach` pixels.

    step     only shifts by multiples of it
    seed     of the shifts, the same pairs for every network
    correct  (image,) bool, whether the unshifted image is classified correctly
    Returns "consistency", Cons.N; "consistency_correct", the same over the images of `correct`, None without them;
    "accuracy" on the shifted images; and "shift_variance", the fraction of the latents' variance due to the shift:
    half the mean squared distance between an image's two latents over the variance of all latents.
    """
    draws = Draws(images.images.device, seed)
    offsets = [step * random_shifts(len(images), reach // step, draws) for _ in range(2)]
    (first, z), (second, z_second) = (predict(net, images, offset, fill, side=side) for offset in offsets)
    variance = torch.cat([z, z_second]).double().var(0, correction=0).sum()
    due_to_shift = (z.double() - z_second.double()).square().sum(1).mean() / 2
    some_correct = correct is not None and correct.any()
    return {"consistency": metrics.agreement(first, second),
            "consistency_correct": metrics.agreement(first[correct], second[correct]) if some_correct else None,
            "accuracy": metrics.agreement(first, images.labels),
            "shift_variance": float(due_to_shift / variance) if variance > 0 else None}


@torch.no_grad()
def location_accuracy(c: AugShiftConfig, net: classifiers.Classifier, splits: Splits,
                      device: torch.device | str) -> float:
    """Accuracy of a linear probe that predicts the location (3x3 canvas) from the pooled latents of new images."""
    train, test = splits.train, splits.test
    encoder = Encoder(net, ("net.layer4",), train.mean, train.std)
    samples = []
    for part, n in ((train, c.probe_images), (test, c.probe_images and c.probe_images // 2)):
        (z,), location, _ = features.pooled_latents(encoder, part.subsample(n).to(device), PROBE_GRID)
        samples.append((z.cpu().numpy(), location.cpu().numpy()))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(*samples[0])
    return float(probe.score(*samples[1]))


@torch.no_grad()
def evaluate(c: AugShiftConfig, net: nn.Module, test: ImageSet) -> dict:
    """Accuracy, consistency and latents of a network on test images, on their device.

    "fills" and "steps" are measured only where `c` tests several shifts.  "fills" compares the ways to fill the border
    on a smaller window, so that every image has true surroundings; "steps" has circular shifts by multiples of 1 and of
    the total stride, under which a network with circular padding does not change its output.
    """
    classes, z = predict(net, test, unshifted(test))
    correct = classes == test.labels
    results = {"top1": float(correct.double().mean()), "latent_norm": float(z.norm(dim=1).mean()),
               "effective_rank": metrics.effective_rank(z),
               "shifts": {n: consistency(net, test, n, correct=correct) for n in c.test_shifts}}
    if len(c.test_shifts) > 1:
        side = test.images.shape[-1]
        margin = side // 8
        window = replace(test, images=test.images[..., margin:-margin, margin:-margin])
        results["fills"] = {fill: consistency(net, test if fill == "true" else window, margin, fill,
                                              side=side - 2 * margin) for fill in canvas.FILLS}
        results["steps"] = {step: consistency(net, test, TOTAL_STRIDE, "circular", step=step)
                            for step in (1, TOTAL_STRIDE)}
    return results


def run(c: AugShiftConfig, seed: int, checkpoint: training.Checkpoint | None, *, data: Mapping[str, Splits],
        device: torch.device | str) -> dict:
    """Train and evaluate one network on `data[c.dataset]`.  -> the results of `evaluate`, and

    loss      of the last epoch
    by_epoch  mean training loss and top-1 accuracy (0..1, unshifted test images) after each epoch
    location, location_untrained   see `location_accuracy`; None where it is not measured
    """
    splits = data[c.dataset]
    net = initialise(c, len(splits.train.classes), seed).to(device).eval()
    probed = c.probe_images != 0
    untrained = location_accuracy(c, net, splits, device) if probed and c.method == "baseline" else None
    loss = partial(batch_loss, c, splits.train.black.to(device))
    test = splits.test.subsample(c.test_images).to(device)
    history = training.fit(net, splits.train, loss, c.recipe, seed=seed, checkpoint=checkpoint,
                           evaluate=lambda net: {"top1": top1(net, test)})
    trained = location_accuracy(c, net, splits, device) if probed else None
    return {**evaluate(c, net, test), "loss": history[-1]["loss"], "by_epoch": history, "location": trained,
            "location_untrained": untrained}


# ---- the results as tables, in percent, one row per run

def by_variant(runs: Sequence[Record]) -> list[tuple[tuple[str, str], Record]]:
    """Each run with its data set and variant (see `plan`), by its configuration, whatever its profile and digest.

    "baseline_long" is a baseline with more epochs than the shortest of its data set; "augshift_<lambda>" is AugShift
    with a weight other than the default.  ValueError if two runs are the same: then they differ in schedule or data.
    """
    epochs = {}
    for c in (run.config for run in runs if run.config["method"] == "baseline"):
        epochs[c["dataset"]] = min(c["recipe"]["epochs"], epochs.get(c["dataset"], c["recipe"]["epochs"]))
    found = {}
    for run in runs:
        c = run.config
        variant = c["method"]
        if variant == "baseline" and c["recipe"]["epochs"] > epochs[c["dataset"]]:
            variant = "baseline_long"
        if variant == "augshift" and c["weight"] != AugShiftConfig.weight:
            variant = sweep_variant(c["weight"])
        key = c["dataset"], variant, run.seed
        if key in found:
            raise ValueError(f"augshift: two runs of {variant} on {c['dataset']} with seed {run.seed}; give those of "
                             "one schedule")
        found[key] = run
    return [((dataset, variant), run) for (dataset, variant, _), run in found.items()]


def by_epoch(runs: Sequence[Record], dataset: str) -> pd.DataFrame:
    """Training curves of the runs that have them: method (see `plan`), seed, epoch, loss, top1 (percent)."""
    return pd.DataFrame([
        {"method": variant, "seed": run.seed, "epoch": epoch, "loss": point["loss"], "top1": 100 * point["top1"]}
        for (of, variant), run in by_variant(runs) if of == dataset
        for epoch, point in enumerate(run.results.get("by_epoch", []), start=1)])


def scores(runs: Sequence[Record]) -> pd.DataFrame:
    """Top-1 accuracy and Cons.N of every run.

    Columns: dataset, method (the variant), backbone, seed, measure ("top1" or "cons<N>"), value, and main, true for the
    Cons.N that tables show.
    """
    rows = []
    for (dataset, method), run in by_variant(runs):
        values = {"top1": run.results["top1"]}
        values |= {f"cons{n}": result["consistency"] for n, result in run.results["shifts"].items()}
        main = f"cons{run.config['test_shifts'][0]}"
        rows += [{"dataset": dataset, "method": method, "backbone": run.config["backbone"], "seed": run.seed,
                  "measure": measure, "value": 100 * value, "main": measure == main}
                 for measure, value in values.items()]
    return pd.DataFrame(rows)


def latents(runs: Sequence[Record], dataset: str) -> pd.DataFrame:
    """The pooled latents of every run on one data set, and what shifts by up to the first of `test_shifts` change.

    Columns: method (the variant), seed, latent_norm, effective_rank, shift_variance, consistency_correct, shifted_top1.
    """
    rows = []
    for (name, method), run in by_variant(runs):
        if name == dataset:
            shifted = run.results["shifts"][str(run.config["test_shifts"][0])]
            rows.append({"method": method, "seed": run.seed, "latent_norm": run.results["latent_norm"],
                         "effective_rank": run.results["effective_rank"],
                         "shift_variance": shifted["shift_variance"],
                         "consistency_correct": shifted["consistency_correct"], "shifted_top1": shifted["accuracy"]})
    frame = pd.DataFrame(rows)
    percent = ["shift_variance", "consistency_correct", "shifted_top1"]
    return frame.assign(**{name: 100 * frame[name].astype(float) for name in percent})


def fills(runs: Sequence[Record], dataset: str) -> pd.DataFrame:
    """Consistency on one data set by how the border is filled: method (the variant), seed, fill, value.

    fill is one of `canvas.FILLS`; or "identity", circular shifts by multiples of the total stride; or "any_step",
    circular shifts by any step.
    """
    rows = []
    for (name, method), run in by_variant(runs):
        if name == dataset and "fills" in run.results:
            steps = run.results["steps"]
            results = {**run.results["fills"], "identity": steps[str(TOTAL_STRIDE)], "any_step": steps["1"]}
            rows += [{"method": method, "seed": run.seed, "fill": fill, "value": 100 * result["consistency"]}
                     for fill, result in results.items()]
    return pd.DataFrame(rows)


def locations(runs: Sequence[Record], dataset: str) -> pd.DataFrame:
    """Accuracy of the location probe on one data set: method (the variant), seed, value.

    "untrained" is the baseline's network before training.
    """
    rows = []
    for (name, method), run in by_variant(runs):
        if name == dataset:
            accuracies = {method: run.results["location"], "untrained": run.results["location_untrained"]}
            rows += [{"method": label, "seed": run.seed, "value": 100 * value} for label, value in accuracies.items()
                     if value is not None]
    return pd.DataFrame(rows)
