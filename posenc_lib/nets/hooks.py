"""Find layers, capture what they say, silence some of their channels.  Every hook is gone when its block ends."""
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

Keep = Callable[[Tensor], Tensor]   # what of a layer's output is kept


def layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule called `name` ("layer4", "layer3.0.conv1").  ValueError that lists the nearest names."""
    modules = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(name, modules, n=5, cutoff=0.3) or [n for n, _ in model.named_children()]
        raise ValueError(f"layer: {type(model).__name__} has no layer {name!r}; near it are {', '.join(near)}")
    return modules[name]


@contextmanager
def captured(model: nn.Module, name: str, keep: Keep = Tensor.clone) -> Iterator[list[Tensor]]:
    """Collect what layer `name` puts out, one tensor a forward pass, detached.

        with captured(model, "layer4") as outputs:
            model(images)
        f = outputs[-1]                                     # (batch, channel, row, col)

    keep  what is kept of each output; all of it is cloned, for an in-place ReLU behind the layer would overwrite it
    """
    outputs: list[Tensor] = []

    def note(_, __, out) -> None:
        if not isinstance(out, Tensor):
            raise ValueError(f"captured: layer {name} puts out a {type(out).__name__}; name one that puts out a tensor")
        outputs.append(keep(out.detach()))

    handle = layer(model, name).register_forward_hook(note)
    try:
        yield outputs
    finally:
        handle.remove()


def ablate(f: Tensor, channels: Tensor, axis: int = 1) -> Tensor:
    """Return a copy of `f` with exact zeros in `channels` of `axis`.  ValueError for a channel that does not exist."""
    n = f.shape[axis]
    if len(channels) and not 0 <= int(channels.min()) <= int(channels.max()) < n:
        raise ValueError(f"ablate: channels {int(channels.min())}..{int(channels.max())} were requested, but there are "
                         f"only 0..{n - 1}")
    return f.index_fill(axis, channels.to(f.device), 0)


@contextmanager
def ablated(model: nn.Module, name: str, channels: Iterable[int] | Tensor, axis: int | None = None
            ) -> Iterator[nn.Module]:
    """Let layer `name` put out exact zeros in `channels`, inside the block only.

        with ablated(model, "layer4", [3, 17]):
            logits = model(images)

    channels  numbers of channels; none is allowed, one beyond the layer a ValueError
    axis      of the output that counts channels; None is the last of (batch, token, channel), else 1
    The output is replaced, never written into, so tensors the caller holds stay as they are.  Blocks nest.
    Source: ICCV 2021, Sec. 4.2 (the authors set the channels of the pooled layer to 0).
    """
    channels = torch.as_tensor(channels if isinstance(channels, Tensor) else list(channels), dtype=torch.long)

    def zero(_, __, out: Tensor) -> Tensor:
        along = axis if axis is not None else 2 if out.ndim == 3 else 1
        return ablate(out, channels, along)

    handle = layer(model, name).register_forward_hook(zero)
    try:
        yield model
    finally:
        handle.remove()


@contextmanager
def eval_and_restore(model: nn.Module) -> Iterator[nn.Module]:
    """Evaluation mode and no gradients inside the block; after it the model is as before, however the block ended.

    What every submodule had is put back: its training flag and its buffers, the same tensors with the same bits, for
    some networks count in them even in evaluation.  What is drawn inside leaves torch's random state as it was.
    Inside, cuDNN's convolutions of float32 do not round to TF32 (see `config.Workspace.device`).
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, key, buffer, None if buffer is None else buffer.clone())
               for module in model.modules() for key, buffer in module._buffers.items()]
    devices = {tensor.device for tensor in chain(model.parameters(), model.buffers()) if tensor.is_cuda}
    rounds = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            yield model.eval()
    finally:
        torch.backends.cudnn.allow_tf32 = rounds
        with torch.no_grad():
            for module, key, buffer, before in buffers:
                module._buffers[key] = buffer if before is None else buffer.copy_(before)
        for module, training in modes:
            module.training = training


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis counts channels in what a layer puts out for square images; None where it is no feature map.

    (batch, channel, n, n) -> 1     (batch, n, n, channel) -> 3     (batch, token, channel) -> 2
    A map has more than one place.
    """
    if len(shape) == 3:
        return 2 if shape[1] > 1 else None
    if len(shape) != 4 or max(sorted(shape[1:])[1:]) == 1:
        return None
    if shape[2] == shape[3]:
        return 1 if shape[2] > 1 else None
    return 3 if shape[1] == shape[2] > 1 else None


def trace_feature_maps(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The layers that put out feature maps when `images` (batch, rgb, row, col), square, go through: name -> shape.

    In the order in which they are done, so a block comes after its parts.  Left out are what has no name or holds no
    features of its own (`nn.Identity`, `nn.Dropout`, `nn.Softmax`), and what does not put out one tensor of the batch.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, out) -> None:
        if isinstance(out, Tensor) and len(out) == len(images) and channel_axis(tuple(out.shape)):
            shapes.pop(name, None)   # one that runs twice counts where it is done
            shapes[name] = tuple(out.shape)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name and not isinstance(module, (nn.Identity, nn.Dropout, nn.Softmax)):
                handle = module.register_forward_hook(lambda _, __, out, name=name: note(name, out))
                stack.callback(handle.remove)
        model(images)
    return shapes


def stages(model: nn.Module, shapes: dict[str, tuple[int, ...]], *, at_most: int = 4) -> list[str]:
    """Of traced layers, those to look at when none is named, shallow to deep: the last at each resolution.

    A layer inside a block that ends at another resolution should not stand for its own, so names of at most two parts
    come first ("layer1", "stages.0"), then those of fewest.  What is called a classifier or a head comes only where
    there is nothing else: its channels are answers, not features.

    A network that keeps one resolution, as vision transformers do, has instead `at_most` of its blocks, evenly spread:
    of the longest row of layers that are told apart by a number at the end of their names.
    """
    pooling = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    maps = {name: shape for name, shape in shapes.items() if not isinstance(layer(model, name), pooling)}
    maps = {name: shape for name, shape in maps.items() if not re.match(r"\w*(classifier|head)", name)} or maps
    inmost_first = sorted(maps.items(), key=lambda item: -max(item[0].count("."), 1))
    last = {_places(shape): name for name, shape in inmost_first}
    if len(last) > 2:
        kept = set(last.values())
        return [name for name in maps if name in kept]
    rows: dict[tuple, list[str]] = {}
    for name, shape in maps.items():
        if numbered := re.fullmatch(r"(.*?)\d+", name):
            rows.setdefault((numbered[1], shape), []).append(name)
    blocks = max(rows.values(), key=len, default=list(maps))
    n = min(at_most, len(blocks))
    return [blocks[(i + 1) * len(blocks) // n - 1] for i in range(n)]


def _places(shape: tuple[int, ...]) -> int:
    axis = channel_axis(shape)
    return torch.Size(shape).numel() // (shape[0] * shape[axis])
