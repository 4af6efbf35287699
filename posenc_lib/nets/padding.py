"""Any padding mode on any model.  Built up by hand in page 01.

    zeros  1234 -> 00123400      reflect   1234 -> 32123432
                                 replicate 1234 -> 11123444      circular 1234 -> 34123412      (2 on each side)
"""
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Drawing

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def set_padding_mode(model: nn.Module, mode: str) -> nn.Module:
    """Make every convolution of `model` pad by `mode`; the same as a model built with it.  Returns the model.

    mode  "zeros", "reflect", "replicate" or "circular", as in `torch.nn.Conv2d`

    Pooling is not touched: max-pooling pads by minus infinity whatever the convolutions do.  "No padding" is
    another experiment, not a mode.  Under reflect and circular padding a layer that is handed a map too small to pad
    says so by name.
    Refused with a ValueError that names the layer, because the mode would be ignored or be wrong:
    a convolution whose `padding` was edited after it was built (Conv2d keeps a copy of it: pytorch #51711), and one
    that pads in a forward of its own (timm's Conv2dSame).
    """
    check_choice("padding_mode", mode, PADDING_MODES)
    convolutions = _convolutions(model, "set_padding_mode")
    for name, conv in convolutions:
        if list(conv._reversed_padding_repeated_twice) != _amounts(conv):
            raise ValueError(f"set_padding_mode: layer {name} was built with another padding than the {conv.padding} "
                             f"it has now; build it anew with the padding it should have")
    for name, conv in convolutions:
        conv.padding_mode = mode
        if type(conv) is nn.Conv2d:
            conv.__class__ = _Conv2d   # the same convolution, faster on a GPU
        for key in [key for key, hook in conv._forward_pre_hooks.items()
                    if isinstance(hook, partial) and hook.func is _check_size]:
            del conv._forward_pre_hooks[key]
        if mode in ("reflect", "circular") and any(_amounts(conv)):
            conv.register_forward_pre_hook(partial(_check_size, name, mode))
    return model


class CopiedPadding(torch.autograd.Function):
    """Padding by copies of rows and columns: torch's own on a GPU leaves channels-last memory, and its gradient adds
    atomically, which made training with reflect padding 1.8 times as long.

    x       (batch, channel, row, col) -> (batch, channel, row + 2 p_row, col + 2 p_col), channels last
    mode    reflect, replicate or circular; values are exactly those of `torch.nn.functional.pad`
    amount  (p_row, p_col), less than the side under reflect, at most the side under circular padding
    """
    @staticmethod
    def forward(ctx, x: Tensor, mode: str, amount: tuple[int, int]) -> Tensor:
        (batch, channel, *sides), (row, col) = x.shape, amount
        ctx.copies = [_copies(mode, side, p) for side, p in zip(sides, amount, strict=True)]
        ctx.inside = (..., slice(row, row + sides[0]), slice(col, col + sides[1]))
        out = torch.empty(batch, channel, sides[0] + 2 * row, sides[1] + 2 * col, dtype=x.dtype, device=x.device,
                          memory_format=torch.channels_last)
        out[ctx.inside] = x
        for to, source in ctx.copies[1]:
            out[:, :, ctx.inside[1], to] = out[:, :, ctx.inside[1], source]
        for to, source in ctx.copies[0]:
            out[:, :, to] = out[:, :, source]
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.clone(memory_format=torch.channels_last)
        for to, source in ctx.copies[0]:
            gradient[:, :, source] += gradient[:, :, to]
        for to, source in ctx.copies[1]:
            gradient[:, :, ctx.inside[1], source] += gradient[:, :, ctx.inside[1], to]
        return gradient[ctx.inside].contiguous(memory_format=torch.channels_last), None, None


def _copies(mode: str, side: int, p: int) -> list[tuple[int, int]]:
    """(to, from) in the padded row, for each pixel that is added: p before and p after `side` pixels."""
    source = {"reflect": lambda i: 2 * p - i if i < p else 2 * (p + side - 1) - i,
              "replicate": lambda i: p if i < p else p + side - 1,
              "circular": lambda i: i + side if i < p else i - side}[mode]
    return [(i, source(i)) for i in (*range(p), *range(p + side, 2 * p + side))]


class _Conv2d(nn.Conv2d):
    """On a GPU, pads a channels-last map by copies; else torch's own convolution."""
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not x.is_cuda or self.padding_mode == "zeros" or isinstance(self.padding, str) or not any(self.padding):
            return super()._conv_forward(x, weight, bias)
        padded = CopiedPadding.apply(x, self.padding_mode, self.padding)
        return conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)

    def _get_name(self) -> str:
        return "Conv2d"


@contextmanager
def switched(model: nn.Module, mode: str) -> Iterator[nn.Module]:
    """`set_padding_mode` inside the block only; what it changes is put back, however the block ended."""
    before = [(m, type(m), m.padding_mode, dict(m._forward_pre_hooks)) for m in model.modules()
              if isinstance(m, nn.Conv2d)]
    try:
        yield set_padding_mode(model, mode)
    finally:
        for conv, kind, padding_mode, pre_hooks in before:
            conv.__class__, conv.padding_mode = kind, padding_mode
            conv._forward_pre_hooks.clear()
            conv._forward_pre_hooks.update(pre_hooks)


def border_fill(module: nn.Module) -> str:
    """With what a layer fills up the border of its map: "zeros", "reflect", ..., for pooling "minus infinity"; "" if it
    has none to fill.  A layer that pads in a forward of its own, or a function in one, is not seen here.
    """
    if isinstance(module, nn.Conv2d):
        own = type(module).forward is not nn.Conv2d.forward
        return "in its own way" if own else module.padding_mode if any(_amounts(module)) else ""
    known = {nn.MaxPool2d: "minus infinity", nn.AvgPool2d: "zeros" if getattr(module, "count_include_pad", 0) else
             "nothing, it averages fewer", nn.ZeroPad2d: "zeros", nn.ConstantPad2d: "a constant",
             nn.ReflectionPad2d: "reflect", nn.ReplicationPad2d: "replicate", nn.CircularPad2d: "circular",
             nn.ConvTranspose2d: "nothing, it crops"}
    name = next((name for kind, name in known.items() if isinstance(module, kind)), getattr(module, "pad_mode", ""))
    amount = getattr(module, "padding", 0)
    beyond = any(amount) if isinstance(amount, (tuple, list)) else bool(amount)
    return name if beyond else "windows that reach beyond it" if getattr(module, "ceil_mode", False) else ""


def remove_padding(model: nn.Module) -> nn.Module:
    """Take the padding away from every convolution, the weights as they are, so that maps shrink.  Returns the model.

    Source: ICLR 2020, Table 4, "without padding".  Where two branches are added or joined, their maps no longer fit.
    Refused, as by `set_padding_mode`, for a convolution that pads in a forward of its own.
    """
    for _, conv in _convolutions(model, "remove_padding"):
        conv.padding = (0, 0)
        conv._reversed_padding_repeated_twice = _amounts(conv)
    return model


class _RandomlyPadded(Drawing, nn.Conv2d):
    """In training, all zeros of an axis on one side, drawn anew in every pass; in evaluation, as it was built."""
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        row, col = (2 * amount for amount in self.padding)
        padded = pad(x, (col, col, row, row))
        for axis, amount in zip((-2, -1), self.padding, strict=True):   # of twice the zeros on both sides, one side's
            start = 2 * amount * (1 - self.draw(torch.randint, 2, (), device=x.device))
            shown = torch.arange(x.shape[axis] + 2 * amount, device=x.device)
            padded = padded.index_select(axis, start + shown)
        return conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def pad_at_random(model: nn.Module, layers: Iterable[str]) -> nn.Module:
    """Zero padding that marks no place: in training, `layers` pad one corner only, drawn anew in every pass.

    A convolution that pads 1 on each side pads 2 above or below and 2 left or right, so its output is as large as
    before, and moved by a pixel.  In evaluation it pads as it was built.  It draws as `draws.Drawing` does.
    layers  names of convolutions.  In a residual network the first one alone: what is moved within a block no longer
            lies on its own shortcut, and the network hardly learns
    Source: Yang et al., 2023 (arXiv 2302.08682), zeros on a random half of the border; the draw is our reading of it.
    Returns the model.  Refused, as by `set_padding_mode`, for a convolution that pads in a forward of its own.
    """
    convolutions = dict(_convolutions(model, "pad_at_random"))
    chosen = {name: convolutions.get(name) for name in layers}
    for name, conv in chosen.items():
        if conv is None or isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            there = f"pads {conv.padding} by {conv.padding_mode}" if conv else "is no convolution of this model"
            raise ValueError(f"pad_at_random: layer {name} {there}; name convolutions with zero padding in numbers")
    for conv in chosen.values():
        conv.__class__ = _RandomlyPadded   # the same weights and buffers under another forward
    return model


def _convolutions(model: nn.Module, asked: str) -> list[tuple[str, nn.Conv2d]]:
    convolutions = [(name or "model", m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    for name, conv in convolutions:
        if type(conv).forward is not nn.Conv2d.forward:
            raise ValueError(f"{asked}: layer {name} is a {type(conv).__name__}, which pads in its own way whatever it "
                             f"is told; build the model with plain Conv2d layers")
    return convolutions


def _amounts(conv: nn.Conv2d) -> list[int]:
    """What Conv2d computes from its padding when it is built: [left, right, top, bottom]."""
    return list(nn.Conv2d(1, 1, conv.kernel_size, padding=conv.padding, dilation=conv.dilation,
                          device="meta")._reversed_padding_repeated_twice)


def _check_size(name: str, mode: str, conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
    left, right, top, bottom = _amounts(conv)
    row, col = inputs[0].shape[-2:]
    spare = 1 if mode == "reflect" else 0
    if max(top, bottom) > row - spare or max(left, right) > col - spare:
        raise ValueError(f"layer {name}: {mode} padding of {conv.padding} needs a larger map than the {row}x{col} it "
                         f"was given; use larger images or another padding mode")
