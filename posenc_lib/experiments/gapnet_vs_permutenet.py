"""What a network of Table 1 is: its task, head, padding and schedule."""
from dataclasses import dataclass

from posenc_lib.base.checks import check_choice
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run.config import Recipe


@dataclass(frozen=True, kw_only=True)
class PlacementConfig:
    """One cell of Table 1 (ICCV 2021), or of one of page 03's controls.  Defaults are the authors' protocol.

    data         fingerprint of the image set, so that other data are another experiment
    task         "location": in which cell was the image placed?  "image": what does it show?
    head         "gapnet": 3x3 convolution, then GAP.  "permutenet": GAP, shuffle, linear
    permutation  of the channels, see `models.Shuffle`; it has no meaning for "gapnet"
    width        channels of the first stage; None is the network's own (ResNet-18: 64, and 8 times as many at its end;
                 NIN: 192)
    fill         colour of the empty canvas: "mean" is 0 after normalisation, as in the authors' code; "black" is black
    classes      labels left after merging neighbours (see `canvas.merge`); None merges nothing
    test_images  how many test images are tried, each in every cell; None is all of them
    revision     raised by hand when a change changes this experiment's numbers.  2: tested in one random cell an image
                 after each epoch, in all cells at the end; images outside the merged classes are left out of the set
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


# What a profile changes of the authors' protocol.  One seed is one initialisation and one order of the images.
PLACEMENT = {
    "smoke": {"width": 8, "test_images": 6, "recipe": Recipe(epochs=2, epoch_steps=1, batch_size=8)},
    "quick": {"width": 8, "test_images": 100,
              "recipe": Recipe(epochs=2, epoch_steps=100, batch_size=24, learning_rate=2e-3)},
    "paper": {},
}
