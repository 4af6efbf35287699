"""Is position used?  Networks trained with class k always in cell k, tested with that pairing broken.

In training, the place determines the class as well as the image does.  With an image of class k in a cell other than k
the two indicate different classes: a prediction follows the place, the image ("picture"), or neither.
Source: a question that ICCV 2021 leaves open.  It shows that position is encoded; is it used?  The experiment is this
book's.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws, drawing
from posenc_lib.base.shapes import Images, Labels, Latents, Logits
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments import augshift
from posenc_lib.experiments import gapnet_vs_permutenet as placement
from posenc_lib.experiments.gapnet_vs_permutenet import CanvasTask, PlacementConfig
from posenc_lib.nets import classifiers, heads
from posenc_lib.run import training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record

METHODS = ("baseline", "two_crops", "augshift")   # of `augshift.METHODS`, on canvases
ANSWERS = ("place", "picture", "neither")         # what a prediction can follow

# Schedules on digits; "reference" is the committed CPU run.
SCHEDULES = {
    "smoke": {"width": 2, "test_images": 9, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)},
    "quick": {"width": 4, "test_images": 20,
              "recipe": Recipe(epochs=1, epoch_steps=20, batch_size=12, learning_rate=4e-3, flip=False)},
    "reference": {"width": 8, "test_images": 100,
                  "recipe": Recipe(epochs=3, epoch_steps=40, batch_size=24, learning_rate=2e-3, flip=False)},
}


@dataclass(frozen=True)
class PairConfig:
    """A classifier of images on canvases, trained with the place as a second cue.

    placement  the network and its schedule, for the task "image", with as many classes as the canvas has cells
    method     one of `METHODS`: whole canvases, or two randomly shifted ones, without or with AugShift's latent term
    shift      largest shift of a canvas, in pixels, down and right: a quarter of a digit's side, as on page 05
    weight     lambda of the latent term, as on page 05
    paired     whether class k is always in cell k in training; otherwise each image is in a random cell
    revision   raised by hand whenever a change alters this experiment's numbers
    """
    placement: PlacementConfig
    method: str = "baseline"
    shift: int = 4
    weight: float = 0.1
    paired: bool = True
    revision: int = 1

    def __post_init__(self):
        check_choice("method", self.method, METHODS)


# The networks compared, by what is varied: padding mode, head, permutation of the channels, method, paired.
VARIANTS = {
    "zero": ("zeros", "gapnet", "none", "baseline", True),
    "circular": ("circular", "gapnet", "none", "baseline", True),
    "zero_anywhere": ("zeros", "gapnet", "none", "baseline", False),
    "zero_augshift": ("zeros", "gapnet", "none", "augshift", True),
    "zero_two_crops": ("zeros", "gapnet", "none", "two_crops", True),
    "zero_in_order": ("zeros", "permutenet", "none", "baseline", True),
    "zero_shuffled": ("zeros", "permutenet", "batch", "baseline", True),
    "circular_in_order": ("circular", "permutenet", "none", "baseline", True),
    "circular_shuffled": ("circular", "permutenet", "batch", "baseline", True),
}


def configs(schedule: str, data: str) -> dict[str, PairConfig]:
    """The networks of `VARIANTS`, by name: nine of the digits on a canvas of 3x3 cells.

    schedule  a key of `SCHEDULES`
    data      fingerprint of the image set
    """
    def one(padding_mode: str, head: str, permutation: str, method: str, paired: bool) -> PairConfig:
        return PairConfig(PlacementConfig(profile=schedule, dataset="digits", data=data, task="image", classes=9,
                                          padding_mode=padding_mode, head=head, permutation=permutation,
                                          **SCHEDULES[schedule]), method, paired=paired)

    return {name: one(*varied) for name, varied in VARIANTS.items()}


class WithLatent(nn.Module):
    """A network of page 03 that also returns its pooled latent: images -> z (batch, channel), logits."""
    def __init__(self, net: classifiers.Backbone):
        super().__init__()
        self.net = net

    def forward(self, images: Images) -> tuple[Latents, Logits]:
        f = self.net.features(images)
        return heads.gap(f), self.net.head(f)


class PairTask:
    """The canvases and the loss of a configuration on one image set, whose classes and normalisation count."""
    def __init__(self, c: PairConfig, images: ImageSet, device: torch.device | str = "cpu"):
        self.config, self.canvas = c, CanvasTask(c.placement, images, device)
        self.classes = placement.n_outputs(c.placement, images)
        self.method = augshift.AugShiftConfig(profile=c.placement.profile, dataset=c.placement.dataset,
                                              data=c.placement.data, method=c.method, shift=c.shift, weight=c.weight)

    def loss(self, net: nn.Module, images: Images, labels: Labels, draws: Draws) -> Float[Tensor, ""]:
        """AugShift's objective (page 05) on canvases with each image in the cell of its class; for `training.fit`."""
        location = labels // self.canvas.group
        if not self.config.paired:
            location = draws(torch.randint, self.classes, labels.shape)
        canvases, target = self.canvas.canvases(images, labels, location)
        seen = augshift.views(self.method, canvases, draws, colour=self.canvas.fill)
        return augshift.objective(self.method, net, seen, target)

    @torch.no_grad()
    def answers(self, net: nn.Module, images: ImageSet) -> Int[Tensor, "image cell"]:
        """The class predicted for every image in each of the first cells, as many as there are classes.

        A shuffled head draws a permutation for each 100 canvases, as on page 03.
        """
        device = next(net.parameters()).device
        pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(self.classes)).to(device)
        pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).to(device)]
        images, answers = images.to(device), torch.zeros(len(images), self.classes, dtype=torch.long, device=device)
        for part in pairs.split(100):
            number, location = part.unbind(1)
            canvases, _ = self.canvas.canvases(*images.batch(number), location)
            answers[number, location] = net(canvases)[1].argmax(1)
        return answers


def follows(answers: Int[Tensor, "image cell"], label: Int[Tensor, " image"]) -> dict[str, float | None]:
    """How often a prediction is the cell ("place"), the class ("picture") or neither, over the pairs of an image and a
    cell that is not its class's; and "trained", how often it is right in the cell of its class.  0..1

        answers 0 0 2 of an image of class 0 in cells 0 1 2:  trained 1, picture 1/2 (cell 1), place 1/2 (cell 2)

    None for "trained" if there is no image.  ValueError if no pair is broken.
    """
    cell = torch.arange(answers.shape[1], device=answers.device)
    broken = label[:, None] != cell
    if not broken.any():
        raise ValueError("follows: there is no image in a cell other than its class's; give images of several classes")
    place, picture = answers == cell, answers == label[:, None]
    share = {"place": place[broken].double().mean().item(), "picture": picture[broken].double().mean().item()}
    trained = place[~broken]
    return {**share, "neither": (~place & ~picture)[broken].double().mean().item(),
            "trained": trained.double().mean().item() if len(trained) else None}


def run(c: PairConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *, splits: Splits,
        device: torch.device) -> dict:
    """Train and test one network.  -> results of the record: those of `follows`, and

    same    fraction of test images with the same prediction in every cell, 0..1
    loss    in the last epoch
    """
    torch.manual_seed(seed)
    net = WithLatent(placement.build(c.placement, splits.train)).to(device)
    task = PairTask(c, splits.train, device)
    train, test = (placement.labelled(c.placement, images) for images in (splits.train, splits.test.take(
        slice(c.placement.test_images))))
    history = training.fit(net, train, task.loss, c.placement.recipe, seed=seed, checkpoint=checkpoint)
    with drawing(net, Draws(device, seed)), training.autocast(device):
        answers = task.answers(net, test)
    same = (answers == answers[:, :1]).all(1).double().mean().item()
    label = test.labels.to(answers.device) // task.canvas.group
    return {**follows(answers, label), "same": same, "loss": history[-1]["loss"]}


# ---- the results as tables, in percent

def variant(config: dict) -> str | None:
    """The key of `VARIANTS` of a recorded configuration; None if it is none of them."""
    net = config["placement"]
    varied = (net["padding_mode"], net["head"], net["permutation"], config["method"], config["paired"])
    return next((name for name, values in VARIANTS.items() if values == varied), None)


def rows(runs: Sequence[Record]) -> pd.DataFrame:
    """Columns: variant, seed, follows (one of `ANSWERS`, or "trained"), value (percent)."""
    found = [{"variant": variant(r.config), "seed": r.seed, "follows": name, "value": 100 * r.results[name]}
             for r in runs for name in (*ANSWERS, "trained") if r.results[name] is not None]
    return pd.DataFrame(found, columns=["variant", "seed", "follows", "value"])
