"""Location decoded from every stage of a frozen network."""
from dataclasses import dataclass

from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.run.config import Recipe


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """Heads that tell the location from each layer of one frozen network: supplement S1 of ICCV 2021, page 04.

    data      fingerprint of the images placed
    canvases  how many are seen in training; half as many in test.  Every image is in every cell
    channels  of the control that gives every layer equally many, drawn at random
    recipe    of the heads; the text states none
    """
    profile: str
    dataset: str
    data: str
    encoder: EncoderConfig = EncoderConfig()
    grid: int = 3
    canvases: int = 900
    channels: int = 8
    recipe: Recipe = Recipe(epochs=1, epoch_steps=200, batch_size=128, learning_rate=1e-2, flip=False)
    revision: int = 2   # 2: the ridge's penalty is chosen on other images


DECODING = {
    "smoke": {"canvases": 200, "recipe": Recipe(epochs=1, epoch_steps=5, batch_size=32, flip=False)},
    "quick": {},
    "paper": {"canvases": 20000, "recipe": Recipe(
        epochs=1, epoch_steps=2000, batch_size=128, learning_rate=1e-2, flip=False)},
}
