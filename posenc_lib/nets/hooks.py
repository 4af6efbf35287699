"""Find layers, capture their outputs, ablate their channels.  Every hook is removed when its block ends."""
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

Keep = Callable[[Tensor], Tensor]   # layer output -> what is kept of it


def layer(model: nn.Module, name: str) -> nn.Module:
    """Look up the submodule `name` ("layer4", "layer3.0.conv1").  ValueError that lists similar names.

    >>> layer(resnet18(), "layer3.0.conv1")
    Conv2d(128, 256, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
    """
    modules = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(name, modules, n=5, cutoff=0.3) or [n for n, _ in model.named_children()]
        raise ValueError(f"layer: {type(model).__name__} has no layer {name!r}; similar names are {', '.join(near)}")
    return modules[name]


@contextmanager
def captured(model: nn.Module, name: str, keep: Keep = Tensor.clone) -> Iterator[list[Tensor]]:
    """Collect the outputs of layer `name`, one detached tensor per forward pass.

        with captured(model, "layer4") as outputs:
            model(images)
        f = outputs[-1]                                     # (batch, channel, row, col)

    keep  what to keep of each output.  By default a clone: an in-place ReLU after the layer would overwrite the output

    >>> net, images = resnet18(), torch.zeros(2, 3, 64, 64)
    >>> with captured(net, "layer4") as outputs:
    ...     logits = net(images)
    >>> outputs[-1].shape
    torch.Size([2, 512, 2, 2])
    """
    outputs: list[Tensor] = []

    def capture(_, __, output) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"captured: layer {name} outputs a {type(output).__name__}; name a layer that outputs a "
                             "tensor")
        outputs.append(keep(output.detach()))

    handle = layer(model, name).register_forward_hook(capture)
    try:
        yield outputs
    finally:
        handle.remove()


def ablate(f: Tensor, channels: Tensor, axis: int = 1) -> Tensor:
    """Return a copy of `f` with exact zeros in `channels` of `axis`.  ValueError for a channel that does not exist.

    >>> ablate(torch.ones(1, 3, 1, 2), torch.tensor([1])).tolist()
    [[[[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]]]
    """
    n = f.shape[axis]
    if len(channels) and not 0 <= int(channels.min()) <= int(channels.max()) < n:
        raise ValueError(f"ablate: channels {int(channels.min())}..{int(channels.max())} were requested, but there are "
                         f"only 0..{n - 1}")
    return f.index_fill(axis, channels.to(f.device), 0)


@contextmanager
def ablated(model: nn.Module, name: str, channels: Iterable[int] | Tensor, axis: int | None = None
            ) -> Iterator[nn.Module]:
    """Ablate `channels` of layer `name`: inside the block it outputs exact zeros there.

        with ablated(model, "layer4", [3, 17]):
            logits = model(images)

    channels  indices of channels, possibly none.  ValueError for a channel that does not exist
    axis      of the output that counts channels; if None, the last of (batch, token, channel), otherwise 1
    The output is replaced, not modified in place, so the caller's tensors do not change.  Blocks can be nested.
    Source: ICCV 2021, Sec. 4.2 (the authors set the channels of the pooled layer to 0).

    >>> net, images = resnet18(), torch.zeros(2, 3, 64, 64)
    >>> with ablated(net, "layer4", range(512)):
    ...     torch.equal(net(images), net.fc.bias.expand(2, -1))
    True
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
    """Run the block in evaluation mode without gradients, then restore the model, also after an error.

    Restores every submodule's training flag and buffers (the same tensors with the same bits: some networks update them
    even in evaluation mode), and torch's random state.  Inside, cuDNN's float32 convolutions do not round to TF32 (see
    `config.Workspace.device`).

    >>> net = resnet18()
    >>> with eval_and_restore(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, key, buffer, None if buffer is None else buffer.clone())
               for module in model.modules() for key, buffer in module._buffers.items()]
    devices = {tensor.device for tensor in chain(model.parameters(), model.buffers()) if tensor.is_cuda}
    allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            yield model.eval()
    finally:
        torch.backends.cudnn.allow_tf32 = allow_tf32
        with torch.no_grad():
            for module, key, buffer, before in buffers:
                module._buffers[key] = buffer if before is None else buffer.copy_(before)
        for module, training in modes:
            module.training = training


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Infer from a layer's output shape for square images which axis counts channels; None if it is no feature map.

    (batch, channel, n, n) -> 1     (batch, n, n, channel) -> 3     (batch, token, channel) -> 2
    A feature map has more than one position.
    """
    if len(shape) == 3:
        return 2 if shape[1] > 1 else None
    if len(shape) != 4 or max(sorted(shape[1:])[1:]) == 1:
        return None
    if shape[2] == shape[3]:
        return 1 if shape[2] > 1 else None
    return 3 if shape[1] == shape[2] > 1 else None


def trace_feature_maps(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """Run square `images` (batch, rgb, row, col) and return the layers that output feature maps: name -> shape.

    In the order in which they finish, so a block follows its parts.  Left out are the model itself, layers without
    features of their own (`nn.Identity`, `nn.Dropout`, `nn.Softmax`), and those whose output is not one tensor with the
    same batch size.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, output) -> None:
        if isinstance(output, Tensor) and len(output) == len(images) and channel_axis(tuple(output.shape)):
            shapes.pop(name, None)   # a layer that runs twice counts where it last finishes
            shapes[name] = tuple(output.shape)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name and not isinstance(module, (nn.Identity, nn.Dropout, nn.Softmax)):
                handle = module.register_forward_hook(lambda _, __, output, name=name: record(name, output))
                stack.callback(handle.remove)
        model(images)
    return shapes


def stages(model: nn.Module, shapes: dict[str, tuple[int, ...]], *, at_most: int = 4) -> list[str]:
    """Choose among traced layers those to examine by default, shallow to deep: the last one at each resolution.

    Outer layers are preferred, since a layer inside a block that ends at another resolution is no stage: names of up to
    two parts ("layer1", "stages.0"), then those with the fewest parts.  Classifiers and heads are used only if there is
    nothing else: their channels are predictions, not features.

    A network that keeps one resolution, such as a vision transformer, has no such stages; it gets up to `at_most`
    blocks, evenly spread over its longest series of layers of one shape whose names differ in a final number only.
    """
    features = {name: shape for name, shape in shapes.items() if _has_features(layer(model, name))}
    without_heads = {name: shape for name, shape in features.items() if not re.match(r"\w*(classifier|head)", name)}
    candidates = without_heads or features
    innermost_first = sorted(candidates, key=lambda name: -max(name.count("."), 1))
    last_at_resolution = {_n_positions(candidates[name]): name for name in innermost_first}
    if len(last_at_resolution) > 2:
        return [name for name in candidates if name in last_at_resolution.values()]
    blocks = _longest_series(candidates)
    n = min(at_most, len(blocks))
    return [blocks[(i + 1) * len(blocks) // n - 1] for i in range(n)]


def _has_features(module: nn.Module) -> bool:
    return not isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d))


def _longest_series(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The most layers of one shape whose names differ in a final number only; all layers if no name ends in one."""
    series: dict[tuple, list[str]] = {}
    for name, shape in shapes.items():
        if numbered := re.fullmatch(r"(.*?)\d+", name):
            series.setdefault((numbered[1], shape), []).append(name)
    return max(series.values(), key=len, default=list(shapes))


def _n_positions(shape: tuple[int, ...]) -> int:
    return torch.Size(shape[1:]).numel() // shape[channel_axis(shape)]
