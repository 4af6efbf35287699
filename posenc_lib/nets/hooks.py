"""Find layers, capture their outputs, ablate their channels.  Every hook is removed when its block ends."""
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from posenc_lib.base.checks import Refused, one_line
from posenc_lib.base.modules import evaluate, modules, named_modules, parameters, submodule

ADVICE = "choose a size that it accepts, or wrap it in a module that takes such images"
Keep = Callable[[Tensor], Any]   # layer output -> what is kept of it


def layer(model: nn.Module, name: str) -> nn.Module:
    """Look up the submodule `name` ("layer4", "layer3.0.conv1"), by any of its names if it has several.

    ValueError that lists similar names, and for a layer whose output cannot be observed.

    >>> layer(resnet18(), "layer3.0.conv1")
    Conv2d(128, 256, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
    """
    found = submodule(model, name) if name else None
    if found is None:
        names = [name for name, _ in named_modules(model) if name]
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or [n for n in names if "." not in n]
        raise ValueError(f"layer: {type(model).__name__} has no layer {name!r}; similar names are {', '.join(near)}")
    if isinstance(found, torch.jit.ScriptModule):
        raise ValueError(f"layer: {name} of {type(model).__name__} is compiled by TorchScript, which hides its output; "
                         "name another layer, or give the network as it was before")
    return found


@contextmanager
def captured(model: nn.Module, name: str, keep: Keep = Tensor.clone) -> Iterator[list[Any]]:
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
    outputs: list[Any] = []

    def capture(_, __, output) -> None:
        if not isinstance(output, Tensor):
            raise Refused(f"captured: layer {name} outputs a {type(output).__name__}; name a layer that outputs a "
                             "tensor")
        outputs.append(keep(output.detach()))

    handle = layer(model, name).register_forward_hook(capture)
    try:
        yield outputs
    finally:
        handle.remove()


def run(model: nn.Module, images: Tensor):
    """The network's output for a copy of `images`; whatever it raises is a ValueError of one sentence."""
    try:
        return model(images.clone())   # some networks normalise their input in place
    except Refused:
        raise
    except Exception as error:   # of somebody else's code, so of any type
        raise ValueError(f"layers: {type(model).__name__} cannot take images of shape {tuple(images.shape)}: "
                         f"{one_line(error)}; {ADVICE}") from error


def ablate(f: Tensor, channels: Tensor, axis: int = 1) -> Tensor:
    """Return a copy of `f` with exact zeros in `channels` of `axis`.  ValueError for a channel that does not exist.

    >>> ablate(torch.ones(1, 3, 1, 2), torch.tensor([1])).tolist()
    [[[[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]]]
    """
    n = f.shape[axis]
    if len(channels) and not 0 <= int(channels.min()) <= int(channels.max()) < n:
        raise Refused(f"ablate: channels {int(channels.min())}..{int(channels.max())} were requested, but there are "
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

    Restores, for every submodule, its training flag, its attributes, and the names and exact values of its buffers
    (some networks create them in the first forward pass, or update them even in evaluation mode), and torch's random
    state.  Inside, cuDNN's float32 convolutions do not round to TF32 (see `config.Workspace.device`), and a network
    compiled with torch.compile runs eagerly, because compiled code would bypass the hooks.
    ValueError for a network whose layers cannot be observed, see `check_observable`.

    >>> net = resnet18()
    >>> with eval_and_restore(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    check_observable(model)
    before = [_State(module) for module in modules(model)]
    devices = {tensor.device for tensor in [*parameters(model), *_buffers(model)] if tensor.is_cuda}
    compiled = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        with compiled, torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            yield evaluate(model)
    finally:
        torch.backends.cudnn.allow_tf32 = allow_tf32
        for state in before:
            state.restore()


def check_observable(model: nn.Module) -> None:
    """ValueError for a network in TorchScript, and for one with lazy layers, whose weights do not exist yet."""
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(f"layers: {type(model).__name__} is compiled by TorchScript, which hides its layers; give the "
                         "nn.Module from which it was made")
    for name, module in named_modules(model):
        if isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook"):
            raise ValueError(f"layers: {name or 'the network'} is a {type(module).__name__} and has no weights before "
                             "its first forward pass; run the network once on an image first")


def _buffers(model: nn.Module) -> list[Tensor]:
    return [buffer for module in modules(model) for _, buffer in module._buffers.items() if buffer is not None]


class _State:
    """A module's training flag, attributes, and the content of its buffers and other collections (shallow)."""
    def __init__(self, module: nn.Module):
        self.module, self.training = module, module.training
        self.buffers = [(buffer, buffer.clone()) for _, buffer in module._buffers.items() if buffer is not None]
        self.attributes = dict(vars(module))
        self.collections = [(value, value.copy()) for value in self.attributes.values()
                            if type(value) in (dict, set, list)]   # hooks are in an OrderedDict and left alone

    @torch.no_grad()
    def restore(self) -> None:
        if isinstance(self.module, torch.jit.ScriptModule):
            self.module.training = self.training
        else:
            vars(self.module).clear()
            vars(self.module).update(self.attributes)
            for collection, content in self.collections:
                collection.clear()
                collection.extend(content) if isinstance(collection, list) else collection.update(content)
        for buffer, content in self.buffers:
            with suppress(RuntimeError), torch.inference_mode(buffer.is_inference()):
                buffer.copy_(content)   # refused for an expanded buffer, which nothing else can have written to either
