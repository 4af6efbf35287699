"""Line artifacts along the border of feature maps, under every padding mode."""
from dataclasses import dataclass

from posenc_lib.base.checks import check_choice
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run.config import Recipe


@dataclass(frozen=True, kw_only=True)
class PaddingConfig:
    """One network whose feature maps page 01 looks at, under every padding mode.  The paper states no set-up.

    data     fingerprint of the pictures, and of the training crops
    net      "random", "trained" to tell photographs apart, or "imagenet": SqueezeNet 1.1 with weights from a file
    trained  the padding mode it was trained with; None for a random one
    weights  fingerprint of the file of weights
    width    channels of ResNet-18's first stage (64 in its source)
    crop     pixels a side that the network is given
    context  pixels of real surroundings on each side, for the control: at least the reach of the deepest layer (109
             for ResNet-18, by arithmetic), and a multiple of its stride (16)
    """
    profile: str
    dataset: str
    data: str
    net: str = "random"
    trained: str | None = None
    weights: str = ""
    width: int = 64
    crop: int = 128
    context: int = 112
    recipe: Recipe | None = None
    revision: int = 1

    def __post_init__(self):
        check_choice("net", self.net, ("random", "trained", "imagenet"))
        check_choice("trained", self.trained, (*PADDING_MODES, None))


# What a profile changes; "pieces" is how many are cut from each photograph, at most 2; "train_crop" is the side of the
# crops to train on, 64 where it is not said.  No schedule is the paper's.
PADDING = {
    "smoke": {"pieces": 1, "seeds": 2, "width": 16, "crop": 64, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=2, batch_size=8)},
    "quick": {"pieces": 2, "seeds": 5, "width": 16, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=24)},
    "paper": {"pieces": 2, "seeds": 10, "recipe": Recipe(epochs=20, epoch_steps=100)},
}
