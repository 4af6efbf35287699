"""GAPNet and PermuteNet trained on canvases: configuration, training and test, and the list of runs."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from math import ceil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws, drawing
from posenc_lib.base.names import label
from posenc_lib.base.shapes import Images, Labels, Latents
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.measure import canvas, metrics
from posenc_lib.nets import classifiers, heads
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import config, training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record, origin, to_frame

PADDED = ("zeros", "reflect", "replicate")   # padding modes of Table 1
PERMUTATIONS = ("none", "fixed", "batch", "sample", "test")   # of the controls, see `heads.Shuffle`
CIFAR_IMAGES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}   # training and test images


@dataclass(frozen=True, kw_only=True)
class PlacementConfig:
    """One cell of Table 1 (ICCV 2021), or of one of page 03's controls.  Defaults are the authors' protocol.

    data         fingerprint of the image set, so that other images are another experiment
    task         "location": which cell of the canvas holds the image?  "image": what is its class?
    head         "gapnet": 3x3 convolution, then GAP.  "permutenet": GAP, shuffle, linear layer
    permutation  of the channels, see `heads.Shuffle`; ignored by "gapnet"
    backbone     a key of `classifiers.BACKBONES`
    width        channels of the first stage; None is the backbone's default (ResNet-18: 64, and 8 times that in its
                 last stage; NIN: 192)
    fill         colour of the empty cells: "mean" is 0 after normalisation, as in the authors' code; "black" is black
    classes      number of labels after merging neighbours (see `canvas.merge`); None merges nothing
    test_images  number of test images, each of which is placed in every cell; None is all of them
    revision     raised by hand whenever a change alters this experiment's numbers.  2: evaluates in one random cell per
                 image after each epoch and in all cells at the end; drops images whose class is not in a merged group
    """
    profile: str
    dataset: str
    data: str
    task: str = "location"
    head: str = "gapnet"
    permutation: str = "none"
    backbone: str = "resnet18"
    width: int | None = None
    padding_mode: str = "zeros"
    grid: int = 3
    fill: str = "mean"
    classes: int | None = None
    test_images: int | None = None
    recipe: Recipe = Recipe()
    revision: int = 2

    def __post_init__(self):
        check_choice("task", self.task, ("location", "image"))
        check_choice("head", self.head, ("gapnet", "permutenet"))
        check_choice("padding_mode", self.padding_mode, PADDING_MODES)
        check_choice("fill", self.fill, ("mean", "black"))
        if self.task == "location" and self.classes == self.grid ** 2:   # merging nothing: the same experiment
            object.__setattr__(self, "classes", None)


# What each profile changes in the authors' protocol, by data set; "any" applies to every one without its own entry.
# A seed determines the initial weights and the order of images.
PLACEMENT = {
    "smoke": {"any": {"width": 2, "test_images": 6, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4)}},
    "quick": {"digits": {"width": 4, "test_images": 40,
                         "recipe": Recipe(epochs=2, epoch_steps=22, batch_size=12, learning_rate=4e-3)},
              "any": {"width": 8, "test_images": 100,
                      "recipe": Recipe(epochs=2, epoch_steps=100, batch_size=24, learning_rate=2e-3)}},
    "paper": {"any": {}},
}
PADDING_ORDER = ("zeros", "circular", "reflect", "replicate")   # the most informative runs first


class Plan(NamedTuple):
    """The runs of page 03, by what they are for.  A configuration may serve several purposes."""
    table1: list[PlacementConfig]      # padded networks, as in the paper
    circular: list[PlacementConfig]    # the same under circular padding, location only
    shuffles: list[PlacementConfig]    # GAPNet, every permutation, and a black canvas
    matched: list[PlacementConfig]     # both tasks with the same number of labels

    def all(self) -> list[PlacementConfig]:
        """Every configuration once, the most informative first."""
        main = [*self.table1, *self.circular]
        backbones = list(dict.fromkeys(c.backbone for c in main))
        return sorted(dict.fromkeys([*main, *self.shuffles, *self.matched]), key=lambda c: (
            backbones.index(c.backbone), c.grid, c not in main, PADDING_ORDER.index(c.padding_mode)))


def preset(profile: str, dataset: str, steps: int = 0) -> dict:
    """What a profile changes on an image set, training recipe included.

    steps  total number of optimiser steps; 0 is the profile's
    """
    entries = PLACEMENT[profile]
    changes = entries.get(dataset, entries["any"])
    recipe = replace(changes.get("recipe", Recipe()), flip=dataset != "digits")   # a mirrored digit is another sign
    if steps:
        recipe = replace(recipe, epochs=2, epoch_steps=-(-steps // 2))
    return {**changes, "recipe": recipe}


def n_seeds(profile: str, dataset: str) -> int:
    """How many seeds each configuration is run with: fewer where the default book would take longest."""
    return 2 if (profile, dataset) == ("quick", "digits") else config.SEEDS[profile]


def plan(profile: str, dataset: str, data: str, *, grids: Sequence[int], backbones: Sequence[str],
         steps: int = 0) -> Plan:
    """List the runs of page 03.

    data   fingerprint of the image set
    steps  optimiser steps of each training; 0 is the profile's number
    """
    options = {"profile": profile, "dataset": dataset, "data": data, **preset(profile, dataset, steps)}

    def pair(**varied) -> list[PlacementConfig]:
        return [permutenet(permutation="batch", **varied), gapnet(**varied)]

    def gapnet(**varied) -> PlacementConfig:
        return PlacementConfig(head="gapnet", **options, **varied)

    def permutenet(**varied) -> PlacementConfig:
        return PlacementConfig(head="permutenet", **options, **varied)

    return Plan(
        table1=[c for k in grids for b in backbones for mode in PADDED for task in ("location", "image")
                for c in pair(backbone=b, padding_mode=mode, grid=k, task=task)],
        circular=[c for k in grids for b in backbones for c in pair(backbone=b, padding_mode="circular", grid=k)],
        shuffles=[gapnet(), *(permutenet(permutation=order) for order in PERMUTATIONS),
                  permutenet(permutation="batch", fill="black"), gapnet(fill="black")],
        matched=[c for n in (3, 9) for task in ("location", "image") for c in pair(task=task, classes=n)])


def n_labels(c: PlacementConfig, images: ImageSet) -> int:
    """Number of labels of the task before merging."""
    return c.grid ** 2 if c.task == "location" else len(images.classes)


def n_outputs(c: PlacementConfig, images: ImageSet) -> int:
    """Number of labels of the task after merging: the logits of the network."""
    return c.classes or n_labels(c, images)


def group_size(c: PlacementConfig, images: ImageSet) -> int:
    """Number of neighbouring labels that are merged into one."""
    return n_labels(c, images) // n_outputs(c, images)


def n_cells(c: PlacementConfig, images: ImageSet) -> int:
    """Number of cells that images are placed in: all, unless merging locations leaves some out."""
    return c.classes * group_size(c, images) if c.task == "location" and c.classes else c.grid ** 2


def labelled(c: PlacementConfig, images: ImageSet) -> ImageSet:
    """Return the images that have a label: all, unless merging image classes leaves some out."""
    if c.task == "location" or c.classes is None:
        return images
    _, kept = canvas.merge(images.labels, n_labels(c, images), c.classes)
    return images.take(kept)


def build(c: PlacementConfig, images: ImageSet) -> nn.Module:
    """Build the untrained network, drawing from torch's global generator."""
    if c.head == "gapnet":
        return classifiers.gapnet(n_outputs(c, images), c.backbone, c.padding_mode, width=c.width)
    return classifiers.permutenet(n_outputs(c, images), c.backbone, c.padding_mode, permutation=c.permutation,
                                  width=c.width)


class Evaluation(NamedTuple):
    """Per canvas: whether its label is predicted correctly, its pooled latent, the cell that holds its image, and which
    image that is."""
    correct: Bool[Tensor, " canvas"]
    z: Float[Tensor, "canvas channel"]
    location: Int[Tensor, " canvas"]
    number: Int[Tensor, " canvas"]


class CanvasTask:
    """The canvases and labels of a configuration on one image set.

    images  any split; what counts are its classes and its normalisation
    """
    def __init__(self, c: PlacementConfig, images: ImageSet, device: torch.device | str = "cpu"):
        self.config = c
        self.cells, self.group = n_cells(c, images), group_size(c, images)
        self.fill = 0.0 if c.fill == "mean" else images.black.to(device)

    def canvases(self, images: Images, labels: Labels, location: Labels) -> tuple[Tensor, Tensor]:
        """Place each image at its location.  -> canvases, and the task's labels after merging"""
        target = location if self.config.task == "location" else labels
        return canvas.place(images, location, self.config.grid, self.fill), target // self.group

    def loss(self, net: nn.Module, images: Images, labels: Labels, draws: Draws) -> Tensor:
        """Cross-entropy of a batch, each image in a random cell, for `training.fit`."""
        location = draws(torch.randint, self.cells, labels.shape)
        canvases, target = self.canvases(images, labels, location)
        return cross_entropy(net(canvases), target)

    @torch.no_grad()
    def evaluate(self, net: nn.Module, images: ImageSet, *, all_cells: bool = True) -> Evaluation:
        """Classify every image on a canvas.

        all_cells  place each image in every cell, in a fixed shuffled order; otherwise in one random cell
        As in the authors' code, a permutation is drawn anew for each 100 canvases.
        """
        device = next(net.parameters()).device
        images, generator = images.to(device), torch.Generator().manual_seed(0)
        if all_cells:
            pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(self.cells))
            pairs = pairs[torch.randperm(len(pairs), generator=generator)]
        else:
            location = torch.randint(self.cells, (len(images),), generator=generator)
            pairs = torch.stack([torch.arange(len(images)), location], 1)
        batch = 100 if device.type == "cpu" else 100 * max(1, 180 // self.config.grid ** 2)
        correct, latents = [], []
        for part in pairs.to(device).split(batch):
            number, location = part.unbind(1)
            canvases, target = self.canvases(*images.batch(number), location)
            f = net.features(canvases)
            logits = torch.cat([net.head(chunk) for chunk in f.split(100)])
            correct.append(logits.argmax(1) == target)
            latents.append(heads.gap(f.float()))
        number, location = pairs.to(device).unbind(1)
        return Evaluation(torch.cat(correct), torch.cat(latents), location, number)


def selectivity(c: PlacementConfig, z: Latents, location: Labels) -> dict[str, list]:
    """Place fields of single channels, and the deciles of eta2 over all channels.  Empty for merged labels.

    eta2 is the fraction of a channel's variance that the cell explains (`metrics.place_fields`).

    fields, eta2   of the eight channels with the largest eta2
    by_cell        for each cell, of the channel with the largest eta2 among those whose mean is largest in that cell:
                   {channel, eta2, field}, or None if no channel's is
    eta2_deciles   0th to 10th
    """
    if c.classes is not None:
        return {}
    fields, eta2 = metrics.place_fields(z, location, c.grid)
    eta2 = eta2.nan_to_num(0)   # a constant channel has no variance to explain
    order = eta2.argsort(descending=True)
    peak = fields.flatten(1).argmax(1)
    by_cell = []
    for cell in range(c.grid ** 2):
        best = next((n for n in order.tolist() if peak[n] == cell and eta2[n] > 0), None)
        by_cell.append(best if best is None else
                       {"channel": best, "eta2": eta2[best].item(), "field": fields[best].tolist()})
    return {"fields": fields[order[:8]].tolist(), "eta2": eta2[order[:8]].tolist(), "by_cell": by_cell,
            "eta2_deciles": [eta2.quantile(q / 10).item() for q in range(11)]}


def run(c: PlacementConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *, splits: Splits,
        device: torch.device) -> dict:
    """Train and test one network.  -> results of the record (accuracies in 0..1)

    accuracy         after the last epoch, every test image in every cell
    chance           accuracy of always guessing the most frequent label
    best_test_epoch  the paper's rule: best of all epochs, each test image in one random cell
    by_epoch         loss and accuracy_one_cell after each epoch
    fields, eta2, by_cell, eta2_deciles   see `selectivity`
    eta2_untrained, by_cell_untrained   `eta2_deciles` and `by_cell` before training, for GAPNet, location, zero
                                        padding and seed 0; else None
    """
    torch.manual_seed(seed)
    net = build(c, splits.train).to(device)
    task = CanvasTask(c, splits.train, device)
    test = labelled(c, splits.test.take(slice(c.test_images)))
    untrained = {}
    if (c.head, c.task, c.padding_mode, seed) == ("gapnet", "location", "zeros", 0):   # the page shows no other
        with training.autocast(device):
            before = task.evaluate(net.eval(), test.subsample(2000))
        untrained = selectivity(c, before.z, before.location)

    def accuracy_one_cell(net: nn.Module) -> dict[str, float]:
        correct = task.evaluate(net, test, all_cells=False).correct
        return {"accuracy_one_cell": correct.double().mean().item()}

    history = training.fit(net, labelled(c, splits.train), task.loss, c.recipe, seed=seed, checkpoint=checkpoint,
                           evaluate=accuracy_one_cell)
    with drawing(net, Draws(device, seed)), training.autocast(device):
        after = task.evaluate(net, test)
    labels = (after.location if c.task == "location" else test.labels) // task.group
    return {
        "accuracy": after.correct.double().mean().item(),
        "chance": metrics.chance(labels),
        "loss": history[-1]["loss"],
        "best_test_epoch": max(h["accuracy_one_cell"] for h in history),
        "by_epoch": [{"epoch": n, **h} for n, h in enumerate(history, start=1)],
        **selectivity(c, after.z, after.location),
        "eta2_untrained": untrained.get("eta2_deciles"),
        "by_cell_untrained": untrained.get("by_cell"),
    }


# What identifies the cell of a table that a run belongs to; runs that differ in nothing else are repetitions of it.
CELL = ["dataset", "backbone", "padding_mode", "grid", "task", "head", "permutation", "fill", "classes"]


def frame(runs: Sequence[Record]) -> pd.DataFrame:
    """Tabulate runs of any profile, one row each, with accuracies and chance in percent.

    Of several runs of the same cell and seed, only the one with most epochs counts, the last of these.  Early records
    have no chance level, which then is that of equally frequent labels.
    """
    table = to_frame(runs)
    if table.empty:
        return table
    labels = table["classes"].fillna(table["task"].map({"image": 10}).fillna(table["grid"] ** 2))
    table["chance"] = table.get("chance", pd.Series(index=table.index, dtype=float)).fillna(1 / labels.astype(float))
    table[["accuracy", "best_test_epoch", "chance"]] *= 100
    return table.sort_values("recipe.epochs", kind="stable").drop_duplicates([*CELL, "seed"], keep="last").sort_index()


def _of_a_cell(frame: pd.DataFrame) -> pd.Series:
    """Which rows have the paper's networks, canvas and labels: PermuteNet with a new shuffle for every batch."""
    return (frame["permutation"] == frame["head"].map({"gapnet": "none", "permutenet": "batch"})) & (
        frame["fill"] == "mean") & frame["classes"].isna()


def table1(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that belong to Table 1, and the same networks under circular padding."""
    return frame[_of_a_cell(frame)] if len(frame) else frame


def shuffles(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that compare ways to shuffle the channels and fill the canvas: location at 3x3, zero padding."""
    return frame.query("task == 'location' and grid == 3 and padding_mode == 'zeros' and backbone == 'resnet18' "
                       "and classes.isna()") if len(frame) else frame


def matched(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with 3 and with 9 labels in both tasks: 3x3, zero padding; nine locations are all of them."""
    if frame.empty:
        return frame
    labels = frame["classes"].fillna(frame["task"].map({"location": 9}))
    rows = frame.assign(classes=labels).query("grid == 3 and padding_mode == 'zeros' and backbone == 'resnet18' "
                                              "and fill == 'mean' and permutation in ('none', 'batch') "
                                              "and not (head == 'permutenet' and permutation == 'none') "
                                              "and classes in (3, 9)")
    return rows.drop_duplicates([*CELL, "seed"])


def describe(runs: Sequence[Record], splits: Splits) -> str:
    """Say what was trained, on what: data, width, schedule, device and number of networks in each cell."""
    if not runs:
        return "not run yet"
    table = frame(runs)
    size = sizes(table, splits)
    n = table.groupby(CELL, dropna=False).size()
    width, steps = (_range(size[name]) for name in ("width", "steps"))
    return (f"{', '.join(table['dataset'].map(label).unique())}, width {width}, {steps} "
            f"steps, {origin(runs)}, n = {_range(n)}")


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def sizes(frame: pd.DataFrame, splits: Splits) -> pd.DataFrame:
    """Size of each run of a `frame`: number of training steps, of channels in the first stage and of test images.

    splits  the images; those of CIFAR may be missing, as where only records are shown
    """
    rows = []
    for run in frame.to_dict("records"):
        training, test = CIFAR_IMAGES.get(run["dataset"]) or (len(splits.train), len(splits.test))
        epoch_steps, width, test_images = (run[name] for name in ("recipe.epoch_steps", "width", "test_images"))
        steps = ceil(training / run["recipe.batch_size"]) if pd.isna(epoch_steps) else int(epoch_steps)
        rows.append({"steps": run["recipe.epochs"] * steps,
                     "width": own_width(run["backbone"]) if pd.isna(width) else int(width),
                     "images": test if pd.isna(test_images) else min(int(test_images), test)})
    return pd.DataFrame(rows, index=frame.index, columns=["steps", "width", "images"])


def own_width(backbone: str) -> int:
    """Number of channels in the first stage of a backbone of default width."""
    return signature(classifiers.BACKBONES[backbone]).parameters["width"].default


def is_table1_permutenet(record: Record) -> bool:
    """Whether a record is PermuteNet's in a cell of Table 1, on ResNet-18."""
    expected = {"head": "permutenet", "permutation": "batch", "backbone": "resnet18", "classes": None}
    return all(record.config[name] == value for name, value in expected.items())


def is_circular(record: Record) -> bool:
    return record.config["padding_mode"] == "circular"


def is_shuffle_control(record: Record) -> bool:
    """Whether a record is of an ordering of the channels that Table 1 does not have, or of a black canvas."""
    return record.config["permutation"] in ("fixed", "sample", "test") or record.config["fill"] == "black"


def is_matched(record: Record) -> bool:
    """Whether a record is of a task with fewer labels than Table 1 has."""
    return record.config["classes"] is not None
