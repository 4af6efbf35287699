"""Names for the tensor shapes that the whole book uses.

Checked in the tests, at every call (tests/conftest.py installs that); elsewhere they cost nothing.
Two pitfalls: an axis name binds once per call, including the result, so `canvas.place` names its result
"batch rgb {k}*row {k}*col"; and a shaped annotation must not go inside a container, where a ragged last batch would
fail at random.
"""
from typing import NamedTuple

from jaxtyping import Float, Int, UInt8
from torch import Tensor


class Detections(NamedTuple):
    """The detections in one image: boxes (n, 4) of (left, top, width, height) in pixels, and their scores (n,)."""
    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]


Pixels = UInt8[Tensor, "batch rgb row col"]        # as stored, 0..255
Images = Float[Tensor, "batch rgb row col"]        # as a network reads them, normalised
Features = Float[Tensor, "batch channel f_row f_col"]   # f, a feature map; its size differs from the images'
Latents = Float[Tensor, "batch channel"]           # z, a feature map averaged over space
Logits = Float[Tensor, "batch label"]
Labels = Int[Tensor, " batch"]
LabelMaps = Int[Tensor, "batch row col"]
Maps = Float[Tensor, "batch map row col"]          # the output of a readout, 0..1
Boxes = Float[Tensor, "batch person 6"]            # left, top, width, height, visible, ignore (`people`), or nan
