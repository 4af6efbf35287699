"""Position maps read out of frozen features, and networks trained from scratch."""
from dataclasses import dataclass

from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.run.config import Recipe, SgdRecipe


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Readouts of all target maps from one frozen network: a cell of the ICLR 2020 paper's tables, or a control.

    data      fingerprint of the pictures read
    size      pixels a side of the pictures, and of the maps drawn
    stage     read this stage of the network alone, counted from 1; None is all of them
    channels  read so many of its channels, drawn at random; None is all of them
    kernel, depth, padding, hidden   see `models.Readout`
    """
    profile: str
    dataset: str
    data: str
    size: int = 224
    train_images: int | None = None
    test_images: int | None = None
    encoder: EncoderConfig = EncoderConfig()
    stage: int | None = None
    channels: int | None = None
    kernel: int = 3
    depth: int = 1
    padding: int = 0
    hidden: int | None = None
    recipe: Recipe = SgdRecipe()
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class ScratchConfig:
    """A small network trained from scratch to label pixels: ICLR 2020, Table 5.  The paper states no schedule.

    network  source, its fingerprint, width, padding mode, crop and recipe
    window   trained on the window that a map without padding covers; else its map is resized to the whole picture
    """
    profile: str
    network: EncoderConfig
    window: bool = False
    revision: int = 1


# What a profile changes of the released protocol.  "small" is the network made here: its width, crops and schedule are
# choices of this book, and so are those of "scratch", for Table 5.  A folder of pictures is read at the paper's size.
_FOLDER = {"size": 224, "train_images": 128, "test_images": 64}
READOUT = {
    "smoke": {"photos": {"size": 80, "train_images": 8, "test_images": 4}, "folder": _FOLDER, "hidden": 2,
              "recipe": SgdRecipe(epochs=1, batch_size=8),
              "small": {"width": 2, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=8, flip=False)},
              "scratch": {"width": 2, "crop": 96, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)}},
    "quick": {"photos": {"size": 80, "train_images": 64, "test_images": 40}, "folder": _FOLDER, "hidden": 8,
              "recipe": SgdRecipe(batch_size=8),
              "small": {"width": 8, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=16, flip=False)},
              "scratch": {"width": 8, "crop": 96, "recipe": Recipe(epochs=1, epoch_steps=40, batch_size=8,
                                                                   learning_rate=4e-3, flip=False)}},
    "paper": {"photos": {"size": 112}, "folder": {"size": 224}, "hidden": None, "recipe": SgdRecipe(),
              "small": {"width": 64, "crop": 112, "recipe": Recipe(epochs=20, epoch_steps=100, flip=False)},
              "scratch": {"width": 64, "crop": 224, "recipe": Recipe(epochs=20, epoch_steps=100, batch_size=16,
                                                                     flip=False)}},
}
