"""Ablation of channels, shared by pages 06 and 07."""
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posenc_lib.base.shapes import Features
from posenc_lib.measure import canvas


@dataclass(frozen=True, eq=False)
class Ablation:
    """Channels of a feature map to be put out of action.

    channels  their numbers, on any device
    instead   (channel,) what each channel of the layer holds after that; None is zero, as in the authors' code
    inside    a region of `canvas.REGIONS`, if only that part of the map is touched; "" is all of it
    """
    channels: Int[Tensor, " n"]
    instead: Float[Tensor, " channel"] | None = None
    inside: str = ""

    def __call__(self, f: Features) -> Features:
        """A new map; f stays as it is."""
        n = f.shape[1]
        if len(self.channels) and not 0 <= int(self.channels.min()) <= int(self.channels.max()) < n:
            raise ValueError(f"Removal: channels {int(self.channels.min())}..{int(self.channels.max())} were asked "
                             f"for, but the layer has 0..{n - 1}")
        touched = torch.zeros(n, 1, 1, dtype=torch.bool, device=f.device)
        touched[self.channels.to(f.device)] = True
        if self.inside:
            zones = canvas.zones(*f.shape[-2:]).to(f.device)
            touched = touched & torch.isin(zones, torch.tensor(canvas.REGIONS[self.inside], device=f.device))
        value = 0.0 if self.instead is None else self.instead.to(f)[:, None, None]
        return torch.where(touched, value, f)
