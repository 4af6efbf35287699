"""Set, swap or remove the padding of any model's convolutions.  Built by hand on page 01.  Two values on each side:

    zeros      1234 -> 00123400
    reflect    1234 -> 32123432
    replicate  1234 -> 11123444
    circular   1234 -> 34123412

`PADDING_MODES` is the registry: a mode added there is available everywhere in the book.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from posenc_lib.base.checks import Refused, check_choice
from posenc_lib.base.draws import Drawing
from posenc_lib.base.modules import modules, named_modules

PadMap = Callable[[Tensor, Sequence[int]], Tensor]   # (x, [left, right, top, bottom]) -> padded x


@dataclass(frozen=True)
class PaddingMode:
    """How a convolution pads its input.

    pad    pads a map (batch, channel, row, col); None for a mode that `torch.nn.Conv2d` has under the same name
    spare  pixels by which each side of the map must exceed its padding; None if the mode fits any map
    """
    pad: PadMap | None = None
    spare: int | None = None


PADDING_MODES = {
    "zeros": PaddingMode(),
    "reflect": PaddingMode(spare=1),
    "replicate": PaddingMode(),
    "circular": PaddingMode(spare=0),
}


def set_padding_mode(model: nn.Module, mode: str) -> nn.Module:
    """Switch every convolution of `model`, in place, to a padding mode and return the model.

    The result equals a model built with that mode.  Pooling layers are unaffected: max pooling always pads with minus
    infinity.  Removing the padding is a different intervention, see `remove_padding`.

    mode  a key of `PADDING_MODES`
    Raises ValueError naming the layer if the mode would be ignored or wrong: for a convolution whose `padding` was
    edited after construction (Conv2d caches it: pytorch #51711), and for one that pads in its own forward (timm's
    Conv2dSame).  In a forward pass, a map too small to be padded is a ValueError that names the layer.

    >>> net = set_padding_mode(resnet18(), "circular")
    >>> net.conv1.padding_mode
    'circular'
    """
    check_choice("padding_mode", mode, PADDING_MODES)
    convolutions = _convolutions(model, "set_padding_mode")
    for name, conv in convolutions:
        if list(conv._reversed_padding_repeated_twice) != _amounts(conv):
            raise ValueError(f"set_padding_mode: layer {name} was built with a padding other than its current "
                             f"{conv.padding}; rebuild it with the padding it should have")
        if PADDING_MODES[mode].pad and type(conv) not in (nn.Conv2d, _Conv2d):
            raise ValueError(f"set_padding_mode: layer {name} is a {type(conv).__name__}, which cannot pad by {mode}; "
                             f"build the model with plain Conv2d layers")
    for name, conv in convolutions:
        conv.padding_mode = mode   # type: ignore[assignment]  # of torch's four, or one added to PADDING_MODES
        if type(conv) is nn.Conv2d:
            conv.__class__ = _Conv2d
        for key, hook in list(conv._forward_pre_hooks.items()):
            if isinstance(hook, partial) and hook.func is _check_size:
                del conv._forward_pre_hooks[key]
        if PADDING_MODES[mode].spare is not None and any(_amounts(conv)):
            conv.register_forward_pre_hook(partial(_check_size, name, mode))
    return model


class CopiedPadding(torch.autograd.Function):
    """Pad by copying rows and columns, with exactly the values of `torch.nn.functional.pad`.

    On a GPU torch's own padding gives up the channels-last memory format, and its backward pass uses atomic adds; with
    it, training with reflect padding takes 1.8 times as long.

    x       (batch, channel, row, col) -> (batch, channel, row + 2 p_row, col + 2 p_col), channels last
    mode    reflect, replicate or circular
    amount  (p_row, p_col); less than the side under reflect, at most the side under circular padding
    """
    @staticmethod
    def forward(ctx, x: Tensor, mode: str, amount: tuple[int, int]) -> Tensor:
        batch, channel, rows, cols = x.shape
        row, col = amount
        ctx.row_copies, ctx.col_copies = _copies(mode, rows, row), _copies(mode, cols, col)
        ctx.rows, ctx.cols = slice(row, row + rows), slice(col, col + cols)   # the input's place in the output
        out = torch.empty(batch, channel, rows + 2 * row, cols + 2 * col, dtype=x.dtype, device=x.device,
                          memory_format=torch.channels_last)
        out[:, :, ctx.rows, ctx.cols] = x
        for target, source in ctx.col_copies:
            out[:, :, ctx.rows, target] = out[:, :, ctx.rows, source]
        for target, source in ctx.row_copies:
            out[:, :, target] = out[:, :, source]
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.clone(memory_format=torch.channels_last)
        for target, source in ctx.row_copies:
            gradient[:, :, source] += gradient[:, :, target]
        for target, source in ctx.col_copies:
            gradient[:, :, ctx.rows, source] += gradient[:, :, ctx.rows, target]
        return gradient[:, :, ctx.rows, ctx.cols].contiguous(memory_format=torch.channels_last), None, None


def _copies(mode: str, side: int, p: int) -> list[tuple[int, int]]:
    """(target, source) indices into a row padded by p on both ends, for each of the 2 p added pixels."""
    first, last = p, p + side - 1
    added = [*range(first), *range(last + 1, last + 1 + p)]
    if mode == "reflect":
        return [(i, 2 * first - i if i < first else 2 * last - i) for i in added]
    if mode == "replicate":
        return [(i, first if i < first else last) for i in added]
    return [(i, i + side if i < first else i - side) for i in added]   # circular


class _Conv2d(nn.Conv2d):
    """torch's convolution, with the modes of `PADDING_MODES`, and faster padding on a GPU."""
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        custom, amounts = PADDING_MODES[self.padding_mode].pad, self._reversed_padding_repeated_twice
        if custom:
            padded = custom(x, amounts) if any(amounts) else x
        elif x.is_cuda and self.padding_mode != "zeros" and not isinstance(self.padding, str) and any(self.padding):
            padded = CopiedPadding.apply(x, self.padding_mode, self.padding)
        else:
            return super()._conv_forward(x, weight, bias)
        return conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)

    def _get_name(self) -> str:
        return "Conv2d"


@contextmanager
def switched(model: nn.Module, mode: str) -> Iterator[nn.Module]:
    """Apply `set_padding_mode` inside the block and restore the model afterwards, even after an exception.

    >>> net = resnet18()
    >>> with switched(net, "reflect"):
    ...     print(net.conv1.padding_mode)
    reflect
    >>> net.conv1.padding_mode
    'zeros'
    """
    before = [(m, type(m), m.padding_mode, dict(m._forward_pre_hooks)) for m in modules(model)
              if isinstance(m, nn.Conv2d)]
    try:
        yield set_padding_mode(model, mode)
    finally:
        for conv, cls, padding_mode, pre_hooks in before:
            conv.__class__, conv.padding_mode = cls, padding_mode
            conv._forward_pre_hooks.clear()
            conv._forward_pre_hooks.update(pre_hooks)


_FILLS = {
    nn.MaxPool2d: "minus infinity",
    nn.AvgPool2d: "zeros",
    nn.ZeroPad2d: "zeros",
    nn.ConstantPad2d: "a constant",
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
    nn.CircularPad2d: "circular",
    nn.ConvTranspose2d: "nothing, crops its output",
}


def border_fill(module: nn.Module) -> str:
    """What a layer pads its input with: "zeros", "reflect", ..., for max pooling "minus infinity"; "" without padding.

    Only what a layer declares is seen, not padding inside its forward.

    >>> border_fill(nn.Conv2d(3, 8, 3, padding=1))
    'zeros'
    >>> border_fill(nn.MaxPool2d(3, padding=1))
    'minus infinity'
    """
    if isinstance(module, nn.Conv2d):
        return "pads in its own forward" if _has_own_forward(module) else module.padding_mode * any(_amounts(module))
    amount = getattr(module, "padding", 0)   # of other people's modules, anything
    if any(amount) if isinstance(amount, (tuple, list)) else isinstance(amount, int) and amount:
        if isinstance(module, nn.AvgPool2d) and not module.count_include_pad:
            return "nothing, averages fewer pixels"
        for cls, fill in _FILLS.items():
            if isinstance(module, cls):
                return fill
        mode = getattr(module, "pad_mode", "")   # timm's BlurPool2d
        return mode if isinstance(mode, str) else ""
    return "windows that extend past it" if getattr(module, "ceil_mode", False) is True else ""


def _has_own_forward(conv: nn.Conv2d) -> bool:
    return type(conv).forward is not nn.Conv2d.forward or "forward" in vars(conv)


def remove_padding(model: nn.Module) -> nn.Module:
    """Remove the padding of every convolution, in place, so that maps shrink; weights are kept.  Returns the model.

    Source: ICLR 2020, Table 4, "without padding".  Branches that are added or concatenated no longer fit each other.
    Raises ValueError, as `set_padding_mode` does, for a convolution that pads in its own forward.

    >>> net = remove_padding(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()))
    >>> net(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 8, 30, 30])
    """
    for _, conv in _convolutions(model, "remove_padding"):
        conv.padding = (0, 0)
        conv._reversed_padding_repeated_twice = _amounts(conv)
    return model


class _RandomlyPadded(Drawing, nn.Conv2d):
    """Training: all zeros of an axis on one side, drawn anew in every pass.  Evaluation: as built."""
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert not isinstance(self.padding, str)   # which `pad_at_random` refuses
        row, col = (2 * amount for amount in self.padding)
        padded = pad(x, (col, col, row, row))   # twice the zeros on both sides, of which a window keeps one side's
        for axis, amount in zip((-2, -1), self.padding, strict=True):
            start = 2 * amount * (1 - self.draw(torch.randint, 2, (), device=x.device))
            window = torch.arange(x.shape[axis] + 2 * amount, device=x.device)
            padded = padded.index_select(axis, start + window)
        return conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def pad_at_random(model: nn.Module, layers: Iterable[str]) -> nn.Module:
    """Make zero padding uninformative about position: in training, pad one random corner.  Returns the model.

    A convolution with padding 1 pads 2 pixels above or below and 2 to the left or right, drawn anew in every forward
    pass, so its output keeps its size and shifts by a pixel.  In evaluation it pads as built.  Its random
    numbers come from the same generator as those of `Drawing`.

    layers  names of convolutions.  In a residual network, only the first: a block whose output shifts no longer aligns
            with its shortcut, and the network hardly learns
    Source: Yang et al., 2023 (arXiv 2302.08682), zeros on a random half of the border; the sampling is our reading.
    Raises ValueError for a layer without numeric zero padding, and for one that pads in its own forward.

    >>> net = pad_at_random(resnet18(), ["conv1"])
    >>> net(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1000])
    """
    convolutions = dict(_convolutions(model, "pad_at_random"))
    chosen = {name: convolutions.get(name) for name in layers}
    for name, conv in chosen.items():
        if conv is None:
            problem = "is not a convolution of this model"
        elif isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            problem = f"has padding {conv.padding} of mode {conv.padding_mode}"
        else:
            continue
        raise ValueError(f"pad_at_random: layer {name} {problem}; name convolutions with numeric zero padding")
    for conv in chosen.values():
        conv.__class__ = _RandomlyPadded   # keeps parameters and buffers
    return model


def _convolutions(model: nn.Module, caller: str) -> list[tuple[str, nn.Conv2d]]:
    """(name, layer) of every convolution; ValueError for one that pads in its own forward."""
    convolutions = [(name or "model", m) for name, m in named_modules(model) if isinstance(m, nn.Conv2d)]
    for name, conv in convolutions:
        if _has_own_forward(conv):
            raise ValueError(f"{caller}: layer {name} is a {type(conv).__name__}, which pads in its own forward and "
                             f"would ignore the change; build the model with plain Conv2d layers")
    return convolutions


def _amounts(conv: nn.Conv2d) -> list[int]:
    """[left, right, top, bottom], as Conv2d computes it from its padding when it is built."""
    like = nn.Conv2d(1, 1, conv.kernel_size, padding=conv.padding, dilation=conv.dilation,   # type: ignore[arg-type]
                     device="meta")
    return list(like._reversed_padding_repeated_twice)


def _check_size(name: str, mode: str, conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
    left, right, top, bottom = _amounts(conv)
    rows, cols = inputs[0].shape[-2:]
    spare = PADDING_MODES[mode].spare or 0
    if max(top, bottom) > rows - spare or max(left, right) > cols - spare:
        raise Refused(f"layer {name}: {mode} padding of {conv.padding} does not fit its {rows}x{cols} input; use "
                         f"larger images or another padding mode")
