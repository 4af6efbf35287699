"""Walk through any network's modules, also where an attribute of its own shadows `modules`, `children` or the like.

torch's own methods call each other by name on the network and on its submodules, so one shadowed name breaks them all.
"""
from collections.abc import Iterator

import torch
from torch import Tensor, nn

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def named_modules(model: nn.Module, prefix: str = "", seen: set[nn.Module] | None = None
                  ) -> Iterator[tuple[str, nn.Module]]:
    """As `nn.Module.named_modules`: (name, module) of the network, named "", and of every submodule, each once."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield prefix, model
    for name, child in model._modules.items():
        if child is not None:
            yield from named_modules(child, f"{prefix}.{name}" if prefix else name, seen)


def modules(model: nn.Module) -> Iterator[nn.Module]:
    """As `nn.Module.modules`."""
    return (module for _, module in named_modules(model))


def submodule(model: nn.Module, name: str) -> nn.Module | None:
    """As `nn.Module.get_submodule`, by any of a module's names; None if there is no such submodule."""
    found: nn.Module | None = model
    for part in name.split("."):
        if found is None or part not in found._modules:
            return None
        found = found._modules[part]
    return found


def parameters(model: nn.Module) -> list[nn.Parameter]:
    """As `nn.Module.parameters`, in a list."""
    every = [p for module in modules(model) for _, p in module._parameters.items() if p is not None]
    return list({id(p): p for p in every}.values())


def evaluate(model: nn.Module) -> nn.Module:
    """Put every module in evaluation mode and return the model, as `nn.Module.eval` does."""
    for module in modules(model):
        module.training = False
    return model


def move(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Move every parameter and buffer to a device, in place, and return the model, as `nn.Module.to` does."""
    for module in modules(model):
        module._apply(lambda tensor: tensor.to(device), recurse=False)
    return model


def like(model: nn.Module) -> Tensor:
    """An empty tensor with the dtype and the device of the images that the network takes.

    Those of its first parameter, or else buffer, of floating-point numbers; float32 on the CPU without any.
    """
    buffers = [buffer for module in modules(model) for _, buffer in module._buffers.items() if buffer is not None]
    tensors = [*parameters(model), *buffers]
    first = next((tensor for tensor in tensors if tensor.dtype in FLOATS), None)
    return torch.empty(0) if first is None else torch.empty(0, dtype=first.dtype, device=first.device)
