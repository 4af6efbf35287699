"""Find out which layers of any network output feature maps, and by how many pixels their positions are apart."""
import re
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import isqrt, lcm

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posenc_lib.base.modules import named_modules
from posenc_lib.nets import hooks

SAME = 1e-3   # images affect each other if an output changes by more than this fraction, or 8 units of its rounding
PREFIX = 16   # up to so many of a layer's tokens belong to no position, such as a class token and registers
ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True)
class Output:
    """What a layer outputs for a batch.

    shape   (batch, channel, row, col), (batch, row, col, channel) or (batch, token, channel)
    stride  image pixels by which the image has to move for this map, and all before it, to move by whole positions
    moments (batch, 2 channel), mean and root mean square over positions, see `moments`
    """
    shape: tuple[int, ...]
    stride: int
    moments: Tensor


@dataclass(frozen=True)
class Trace:
    """The layers of a network that output feature maps: name -> `Output` for one image, in the order they finish.

    single  the network takes one image at a time, or mixes the images of a batch
    draws   layers whose output differs between two passes over the same image
    fixed   layers whose output is the same for two different images
    idle    modules that did not run
    """
    outputs: dict[str, Output]
    single: bool
    draws: frozenset[str]
    fixed: frozenset[str]
    idle: frozenset[str]


def trace(model: nn.Module, images: Tensor) -> Trace:
    """Run two different square `images` (2, rgb, row, col), alone and together.

    A table that has nothing to do with the images, such as one of relative positions, is no layer.
    ValueError if the network cannot take them one at a time.
    """
    first, idle = _trace(model, images[:1])
    again, second = (_trace(model, image)[0] for image in (images[:1], images[1:]))
    try:
        both = _trace(model, images)[0]
    except ValueError:
        both = {}
    if images.is_meta:   # shapes without values
        return Trace(first, not both, frozenset(), frozenset(), idle)
    rounding = 8 * torch.finfo(images.dtype).eps
    outputs, draws, fixed, single = {}, set(), set(), not both
    for name, output in first.items():
        if any(name not in other or other[name].shape != output.shape for other in (again, second)):
            continue
        own, together = output.moments, both.get(name)
        of_images = together is not None and together.shape == (2, *output.shape[1:])
        if torch.equal(own, second[name].moments):
            fixed.add(name)
        elif _differ(own, again[name].moments, rounding):
            draws.add(name)
        elif together is None or not of_images or _differ(own, together.moments[:1], max(SAME, rounding)):
            single = True
        if of_images or name not in fixed:
            outputs[name] = output
    return Trace(outputs, single, frozenset(draws), frozenset(fixed & outputs.keys()), idle)


def _differ(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether finite moments differ by more than a fraction of their norm."""
    return bool((one - other).norm() > tolerance * one.norm())


def total_stride(model: nn.Module, image: Tensor) -> int:
    """The stride of the whole network: the least common multiple of those of its layers; 1 without feature maps."""
    return max((output.stride for output in _trace(model, image)[0].values()), default=1)


def _trace(model: nn.Module, images: Tensor) -> tuple[dict[str, Output], frozenset[str]]:
    """Outputs by layer, in the order in which they last finish, and the names of the modules that did not run.

    Left out are the network itself, layers without features of their own (`nn.Identity`, `nn.Dropout`, `nn.Softmax`),
    and outputs other than one floating-point tensor with the batch size of the images.
    """
    outputs: dict[str, Output] = {}
    strides = _Strides(images.shape[-1])
    named = [(name, module) for name, module in named_modules(model)
             if name and not isinstance(module, torch.jit.ScriptModule)]
    idle = {name for name, _ in named}

    def record(name: str, module: nn.Module, inputs: tuple, output) -> None:
        idle.discard(name)
        if not _is_map(output, len(images)):
            return
        shape = tuple(output.shape)
        if not len(module._modules):
            before = tuple(inputs[0].shape) if inputs and _is_map(inputs[0], len(images)) else None
            strides.follow(module, before, shape)
        if not isinstance(module, (nn.Identity, nn.Dropout, nn.Softmax)):
            outputs.pop(name, None)   # a layer that runs twice counts where it last finishes
            outputs[name] = Output(shape, strides.total, moments(output.movedim(channel_axis(shape), 1)))

    with ExitStack() as stack:
        for name, module in named:
            handle = module.register_forward_hook(
                lambda module, inputs, output, name=name: record(name, module, inputs, output))
            stack.callback(handle.remove)
        hooks.run(model, images)
    return outputs, frozenset(idle)


def pool(f: Tensor) -> Tensor:
    """f (batch, channel, ...) -> z (batch, channel), averaged over positions."""
    return f.flatten(2).mean(-1)


def moments(f: Tensor) -> Float[Tensor, "batch both"]:
    """f (batch, channel, ...) -> float64: mean, then root mean square over positions, of each channel."""
    f = f.double()
    return torch.cat([pool(f), pool(f.square()).sqrt()], 1)


def _is_map(output, n: int) -> bool:
    return (isinstance(output, Tensor) and output.layout is torch.strided and output.is_floating_point()
            and output.ndim > 2 and len(output) == n and channel_axis(tuple(output.shape)) is not None)


@dataclass
class _Strides:
    """The stride of a map of each side, found as the layers run.

    A layer that states its stride divides the side by that; otherwise the quotient of the sides, rounded, counts, so
    that sides that do not divide (25 -> 13) and maps without padding (32 -> 30) give the network's own stride.
    """
    side: int
    total: int = 1
    of: dict[int, int] = field(default_factory=dict)

    def __post_init__(self):
        self.of[self.side] = 1

    def follow(self, module: nn.Module, before: tuple[int, ...] | None, after: tuple[int, ...]) -> None:
        start = side(before, self.of) if before else None
        end = side(after, self.of)
        if start and isinstance(module, ADAPTIVE):   # has no stride: its windows depend on the side
            if end:
                self.of.setdefault(end, self._stride(start))
            return
        if start:
            self._count(self._stride(start))
        if not end or end == start:
            return
        if not start:
            self._count(self._stride(end))
        elif end < start:
            self.of.setdefault(end, self._stride(start) * (_stated(module) or max(1, round(start / end))))
            self._count(self.of[end])
        else:
            self.of.setdefault(end, self._stride(start))

    def _stride(self, n: int) -> int:
        """Of a map of side n; of one that no layer has output, by the next larger one."""
        if n not in self.of:
            larger = [known for known in self.of if known > n]
            self.of[n] = self.of[min(larger)] * max(1, round(min(larger) / n)) if larger else 1
        return self.of[n]

    def _count(self, stride: int) -> None:
        if lcm(self.total, stride) <= self.side:
            self.total = lcm(self.total, stride)


def _stated(module: nn.Module) -> int | None:
    """The stride that a convolution or pooling layer states."""
    stated = getattr(module, "stride", None)
    stated = stated[0] if isinstance(stated, (tuple, list)) and stated else stated
    return stated if type(stated) is int and stated > 1 else None


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


def side(shape: tuple[int, ...], known: Collection[int] = ()) -> int | None:
    """The side of a layer's map in positions.

    Tokens form a map of a known side, after up to `PREFIX` tokens of no position, or one into which a known side
    divides; None if they do not.
    """
    if len(shape) == 4:
        return shape[2]   # whether channels come first or last
    n = isqrt(shape[1])
    for candidate in sorted(known, reverse=True):
        if 0 <= shape[1] - candidate ** 2 <= min(PREFIX, candidate ** 2):
            return candidate
    return n if n > 1 and n * n == shape[1] and any(candidate % n == 0 for candidate in known) else None


def stages(model: nn.Module, shapes: dict[str, tuple[int, ...]], *, at_most: int = 4) -> list[str]:
    """Choose among traced layers those to examine by default, shallow to deep: the last one at each resolution.

    Outer layers are preferred, since a layer inside a block that ends at another resolution is no stage: names of up to
    two parts ("layer1", "stages.0"), then those with the fewest parts.  Classifiers and heads are used only if there is
    nothing else: their channels are predictions, not features.

    A network that keeps one resolution, such as a vision transformer, has no such stages; it gets up to `at_most`
    blocks, evenly spread over its longest series of layers of one shape whose names differ in a final number only.
    """
    features = {name: shape for name, shape in shapes.items() if not isinstance(hooks.layer(model, name), ADAPTIVE)}
    without_heads = {name: shape for name, shape in features.items() if not re.match(r"\w*(classifier|head)", name)}
    candidates = without_heads or features
    innermost_first = sorted(candidates, key=lambda name: -max(name.count("."), 1))
    sides = {shape[2] for shape in candidates.values() if len(shape) == 4}
    last_at_resolution = {side(candidates[name], sides) or candidates[name][1]: name for name in innermost_first}
    if len(last_at_resolution) > 1:
        return [name for name in candidates if name in last_at_resolution.values()]
    blocks = _longest_series(candidates)
    n = min(at_most, len(blocks))
    return [blocks[(i + 1) * len(blocks) // n - 1] for i in range(n)]


def _longest_series(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """The most layers of one shape whose names differ in a final number only; all layers if no name ends in one."""
    series: dict[tuple, list[str]] = {}
    for name, shape in shapes.items():
        if numbered := re.fullmatch(r"(.*?)\d+", name):
            series.setdefault((numbered[1], shape), []).append(name)
    return max(series.values(), key=len, default=list(shapes))
