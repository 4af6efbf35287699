"""A device that is not there: ordinary CPU tensors that say they are elsewhere, and refuse to meet those that are not.

    with accelerator.pretended() as device:                    # torch.device("xpu")
        net = models.gapnet(9, width=2).to(device)
        net(images)                                            # RuntimeError: images on the CPU
        net(images.to(device)).sum().backward()                # as on a GPU

    with accelerator.pretended() as device:
        ...                                                    # what a step needs is put there first
        with accelerator.forbids_waits():
            loss(net, images, labels, draws)                   # RuntimeError where the host waits for the device,
                                                               # copies to it, or draws random numbers itself

Values are the CPU's own, so code may read them (`.item()`), train, and move modules about.  What counts as elsewhere is
a tensor's storage, so views, parameters and what autograd saves need no care.  The device's type is neither "cpu" nor
"cuda": code that asks for one of those two takes the way of neither.

`run_page` runs a page's cells there.
"""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import torch
from conftest import run_cells
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE, CPU = torch.device("xpu"), torch.device("cpu")
aten = torch.ops.aten
COPIES = {aten.copy_.default}                                        # between any two devices
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Operations whose result, or the shape of it, goes by values: a GPU's are waited for.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
         "equal", "is_nonzero", "repeat_interleave"}
PROPERTIES = {Tensor.device: (CPU, DEVICE), Tensor.is_cpu: (True, False)}

_elsewhere: dict[int, StorageWeakRef] = {}   # a weak reference keeps the address from being given to another storage
_state = {"forbidden": False, "made on": CPU}   # the latter: where a function makes what it needs


def _tensors(*values) -> Iterator[Tensor]:
    """Those among the values, and in the lists, tuples and dictionaries among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(*value)
        elif isinstance(value, dict):
            yield from _tensors(*value.values())


def is_elsewhere(tensor: Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata in _elsewhere


def _of(tensor: Tensor) -> torch.device:
    return DEVICE if is_elsewhere(tensor) else CPU


def _put(result, device: torch.device):
    """The same tensors, said to be on `device`."""
    with torch._C.DisableTorchFunction():
        for storage in (t.untyped_storage() for t in _tensors(result)):
            if device.type == CPU.type:
                _elsewhere.pop(storage._cdata, None)
            else:
                _elsewhere[storage._cdata] = StorageWeakRef(storage)
    return result


def _wait(what: str) -> None:
    if _state["forbidden"]:
        raise RuntimeError(f"not on the device alone: {what}")


class _Checked(TorchDispatchMode):
    """The tensors of every operation, backward ones too, are on one device, and so is what comes out."""
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = list(_tensors(args, kwargs))
        here, there = ([t for t in tensors if is_elsewhere(t) == where] for where in (False, True))
        name = function.overloadpacket.__name__
        if here and there:
            self._mixed(function, args, here)
        if name in READS:
            _wait(f"{name}, whose values the host waits for")
        masked = function in INDEXED and any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1])
        if masked and not (function != aten.index.Tensor and here and args[2].ndim == 0):   # x[mask] = 0.0 only fills
            _wait(f"{name} by a mask, whose hits the host waits for")
        result = function(*args, **kwargs)
        if function in COPIES:
            return result
        if there or (not tensors and _state["made on"] == DEVICE):
            return _put(result, DEVICE)
        if torch.Tag.nondeterministic_seeded in function.tags:
            _wait(f"{name} draws on the host")
        return result

    def _mixed(self, function, args, here: list[Tensor]) -> None:
        """A number of the CPU may go into pointwise operations, an index into what is elsewhere; nothing else may."""
        if function in COPIES:
            return _wait(f"{function} between devices")
        moved = [] if function not in INDEXED or not is_elsewhere(args[0]) else [t for t in args[1] if t is not None]
        number = (torch.Tag.pointwise in function.tags or function in {*INDEXED, aten.fill_.Tensor}
                  or "_foreach_" in str(function))
        for tensor in here:
            if any(tensor is index for index in moved):
                _wait(f"an index of {tuple(tensor.shape)} is copied to the device")
            elif not (number and tensor.ndim == 0):
                raise RuntimeError(f"Expected all tensors to be on the same device: {function} has one of "
                                   f"{tuple(tensor.shape)} on {CPU}, and others on {DEVICE}")
        return None


class _Pretending(TorchFunctionMode):
    """Tensors say where they are, and go where they are sent."""
    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", "")
        of = next((a for a in args[:1] if isinstance(a, Tensor)), None)
        if of is not None:
            if name == "__get__" and function.__self__ in PROPERTIES:
                return PROPERTIES[function.__self__][is_elsewhere(of)]
            if name in ("numpy", "__array__") and is_elsewhere(of):
                raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first")
            if name in ("to", "type_as", "cpu", "as_tensor"):
                return self._sent(name, of, list(args[1:]), kwargs)
            if name == "__deepcopy__":
                return _put(function(*args, **kwargs), _of(of))
            if name == "tolist":
                _wait("tolist")
        asked = kwargs.get("device")
        device = torch.device(asked) if asked is not None else CPU if of is None else _of(of)
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != device.type:
            raise RuntimeError(f"Expected a '{device.type}' device type for generator but found "
                               f"'{generator.device.type}'")
        if asked is None:
            inside = DEVICE if name not in ("__getitem__", "__setitem__") and any(
                isinstance(a, Tensor) and is_elsewhere(a) for a in (*args, *kwargs.values())) else CPU
            with mock.patch.dict(_state, {"made on": inside}):
                return function(*args, **kwargs)
        if name in ("tensor", "as_tensor", "asarray") and device.type == DEVICE.type:
            _wait(f"{name} copies from the host")
        kwargs["device"] = CPU if device.type == DEVICE.type else device
        with mock.patch.dict(_state, {"made on": device}):
            return _put(function(*args, **kwargs), device)

    def _sent(self, name: str, of: Tensor, args: list, kwargs: dict) -> Tensor:
        """`to`, `cpu`, `type_as` and `as_tensor`: a copy where the device is another."""
        device = CPU if name == "cpu" else _of(of)
        other = next((a for a in (*args[:1], kwargs.pop("other", None)) if isinstance(a, Tensor)), None)
        if other is not None:
            device, kwargs["dtype"] = _of(other), other.dtype
        elif args and isinstance(args[0], (str, torch.device)):
            device = torch.device(args[0])
        elif kwargs.get("device") is not None:
            device = torch.device(kwargs["device"])
        how = [a for a in args if isinstance(a, torch.dtype)]
        how += [kwargs["dtype"]] if kwargs.get("dtype") is not None else []
        memory_format = kwargs.get("memory_format", torch.preserve_format)
        result = Tensor.to(of, *how, memory_format=memory_format)
        if device.type == _of(of).type:
            return result
        _wait(f"{tuple(of.shape)} is copied from {_of(of)} to {device}")
        return _put(result.clone(), device)


class _Generator(torch.Generator):
    """One that may be elsewhere: it draws the CPU's numbers."""
    def __new__(cls, device: torch.device | str = "cpu"):
        made = super().__new__(cls)
        made.where = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.where


@contextmanager
def pretended() -> Iterator[torch.device]:
    """Inside the block there is a device; yields it.  Tensors put there stay there until the block ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)   # for networks as small as a test's
    try:
        with mock.patch.object(torch, "Generator", _Generator), _Checked(), _Pretending():
            yield DEVICE
    finally:
        _elsewhere.clear()
        torch.set_num_threads(threads)


@contextmanager
def trained_on() -> Iterator[None]:
    """Inside the block `training.fit` trains there."""
    from posenc_lib.run import config, training

    def fabric():
        fabric = training._one_device.__wrapped__(config.device_type())   # one of its own, because it is changed here
        fabric._strategy._root_device = DEVICE
        fabric._accelerator.setup_device = lambda _: None
        return fabric

    contiguous = lambda *_: torch.contiguous_format   # noqa: E731   safe on the CPU that it is
    with mock.patch.object(training, "_fabric", fabric), mock.patch.object(training, "_memory_format", contiguous):
        yield


@contextmanager
def forbids_waits() -> Iterator[None]:
    """Inside the block everything happens on the device: nothing is read from it, copied to it, or drawn by the host.

    What a CUDA graph asks of a step.  The host may still make tensors of its own that are no more than numbers to the
    device, as optimisers count their steps.
    """
    with mock.patch.dict(_state, {"forbidden": True}):
        yield


def run_page(page: Path, out: Path) -> None:
    """The cells of a page, at smoke with one seed, without drawing its figures."""
    from posenc_lib.run import config
    from posenc_lib.show import page as show_page

    one_seed = {"seeds": 1} if "\nseeds = " in page.read_text() else {}
    drawn = mock.patch.object(show_page, "show", lambda fig, *_, **__: plt.close(fig))
    with mock.patch.object(config.Workspace, "device", DEVICE), drawn, trained_on(), pretended():
        run_cells(page, profile="smoke", out=str(out), **one_seed)
