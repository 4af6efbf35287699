"""Look at a layer, capture what it says, silence some of its channels.  Every hook is gone when its block ends."""
import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule called `name` ("layer4", "layer3.0.conv1").  ValueError that lists the nearest names."""
    modules = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(name, modules, n=5, cutoff=0.3) or [n for n, _ in model.named_children()]
        raise ValueError(f"layer: {type(model).__name__} has no layer {name!r}; near it are {', '.join(near)}")
    return modules[name]


@contextmanager
def captured(model: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Collect what layer `name` puts out, one tensor a forward pass, detached.

        with captured(model, "layer4") as outputs:
            model(images)
        f = outputs[-1]                                     # (batch, channel, row, col)

    Each output is cloned: an in-place ReLU behind the layer would otherwise overwrite what was captured.
    """
    outputs: list[Tensor] = []
    handle = layer(model, name).register_forward_hook(lambda _, __, out: outputs.append(out.detach().clone()))
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def ablated(model: nn.Module, name: str, channels: Iterable[int] | Tensor) -> Iterator[nn.Module]:
    """Let layer `name` put out exact zeros in `channels`, inside the block only.

        with ablated(model, "layer4", [3, 17]):
            logits = model(images)

    channels  numbers of channels, axis 1 of the layer's output; none is allowed, one beyond the layer a ValueError
    The output is replaced, never written into, so tensors the caller holds stay as they are.  Blocks nest.
    Source: ICCV 2021, Sec. 4.2 (the authors set the channels of the pooled layer to 0).
    """
    channels = torch.as_tensor(channels if isinstance(channels, Tensor) else list(channels), dtype=torch.long)

    def silence(_, __, out: Tensor) -> Tensor:
        n = out.shape[1]
        if len(channels) and (channels.min() < 0 or channels.max() >= n):
            raise ValueError(f"ablated: channels {int(channels.min())}..{int(channels.max())} were asked for, but "
                             f"layer {name} has 0..{n - 1}")
        return out.index_fill(1, channels.to(out.device), 0)

    handle = layer(model, name).register_forward_hook(silence)
    try:
        yield model
    finally:
        handle.remove()
