"""Read weights and checkpoints, as safetensors, PyTorch and the usual trainers save them, and load them into a network.

No code in a file is run: files of torch.save are read with weights_only.
"""
import argparse
import codecs
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from posenc_lib.base import files
from posenc_lib.base.checks import one_line
from posenc_lib.base.modules import evaluate

# Plain values that trainers save along with the weights: NumPy scalars (the released code's best score) and the
# command's arguments.
_SCALAR = np._core.multiarray.scalar   # type: ignore[attr-defined]  # private, but what files name
_VALUES = [(_SCALAR, "numpy.core.multiarray.scalar"), _SCALAR, np.dtype, type(np.dtype(np.float64)),
           type(np.dtype(np.int64)), codecs.encode, argparse.Namespace]
# Entries of a checkpoint that hold the weights.  An average over the training (EMA) comes first, as timm reads it.
ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state", "model_state_dict", "state_dict", "model")
PREFIXES = ("", "model.", "net.", "network.")   # preferred if a file has the weights several times, as with an EMA
WRAPPERS = {"module", "_orig_mod"}              # parts that DataParallel and torch.compile insert into names
TORCH = {".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl"}


def _refused(path: Path, what: str, problem: str) -> ValueError:
    """One line, whatever the names in a file contain."""
    return ValueError(f"{what}: {path} {' '.join(problem.splitlines())}")


def read(path: Path, what: str = "weights") -> dict[str, Tensor]:
    """The state dict in a file, .safetensors or saved by torch.save, bare or in an entry of it (`ENTRIES`).

    what  how an error calls the file
    ValueError if it is damaged, is no such file, or holds anything but tensors and plain values.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    is_pickle = start[:2] == b"PK" or start[:1] == b"\x80" or path.suffix in TORCH
    state = _read_safetensors(path, what) if start[8:] == b"{" or not is_pickle else _read_torch(path, what)
    for _ in range(2):   # an entry of an entry
        state = _entry(state, path, what)
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and
               (isinstance(value, Tensor) or name.endswith("_extra_state"))} if isinstance(state, Mapping) else {}
    if not tensors:
        there = f"the entries {', '.join(map(str, list(state)[:6]))}" if isinstance(state, Mapping) and state else (
            f"an empty {type(state).__name__}" if not state else f"a {type(state).__name__}")
        raise _refused(path, what, f"holds no state dict, only {there}; save net.state_dict() alone")
    return tensors


def _entry(state, path: Path, what: str):
    """The entry of a checkpoint that holds its weights; the checkpoint itself if it is a state dict."""
    if not isinstance(state, Mapping):
        return state
    nested = [name for name, entry in state.items() if isinstance(entry, Mapping)]
    for name in ENTRIES:
        if name in nested:
            return state[name]
    nested = [name for name in nested if any(isinstance(value, Tensor) for value in state[name].values())]
    if not nested or any(isinstance(value, Tensor) for value in state.values()):
        return state
    if len(nested) > 1:
        raise _refused(path, what, f"holds several state dicts, {', '.join(map(str, nested[:6]))}; save one of "
                       "them alone")
    return state[nested[0]]


def _read_safetensors(path: Path, what: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:   # SafetensorError for a damaged file; of a header that is odd, any other
        reason = error if isinstance(error, SafetensorError) else one_line(error)
        raise _refused(path, what, f"is damaged or not a safetensors file ({reason}); download it again") from None


def _read_torch(path: Path, what: str):
    try:
        with torch.serialization.safe_globals(_VALUES), warnings.catch_warnings():
            warnings.simplefilter("ignore")   # about pickle's protocol
            return files.read(path)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        kind = f", a {found[1]}" if found else ""
        raise _refused(path, what, f"holds more than tensors and plain values{kind}, or is not a checkpoint; it "
                       "was not loaded, because that could run code in it; save net.state_dict() alone") from None
    except Exception as error:   # the type depends on where the file is damaged
        if "TorchScript" in str(error):
            raise _refused(path, what, "is a network compiled by TorchScript, not a state dict; save "
                           "net.state_dict() alone") from None
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise _refused(path, what, f"is damaged or not a checkpoint ({reason}); copy it again") from None


def load(model: nn.Module, state: Mapping[str, Tensor], path: Path, what: str = "weights", *, noun: str = "model",
         kind: str = "") -> nn.Module:
    """Load a state dict into the model and return it, in evaluation mode.

    Names may have a prefix ("model."), and parts that wrappers insert ("module.", "_orig_mod."); tied parameters may be
    there once, as safetensors saves them.  Half precision is widened.
    ValueError that says in what the file at `path` differs from the model.
    """
    kind = kind or type(model).__name__
    every = nn.Module.state_dict(model, keep_vars=True)
    expected = {name: tensor for name, tensor in every.items() if isinstance(tensor, Tensor)}
    given, prefix = _rename(state, expected, path, what)
    names = {id(tensor): name for name, tensor in expected.items() if name in given}
    given |= {name: given[names[id(tensor)]] for name, tensor in expected.items()
              if name not in given and id(tensor) in names}
    differing = sorted(given.keys() ^ every.keys())[:3] or _differing_shapes(given, expected)
    wrong = [name for name, tensor in expected.items()
             if name in given and tensor.is_floating_point() and not given[name].is_floating_point()]
    if not differing and wrong:
        raise _refused(path, what, f"has {wrong[0]} as {given[wrong[0]].dtype}, but {kind} computes with "
                       "floating-point numbers; save weights that are not quantised")
    try:
        model.load_state_dict(given)
    except Exception as error:   # of a network's own hooks, any
        reason = f"they differ in {', '.join(differing)}" if differing else (str(error).split("\n\t")[-1].strip()[:300])
        without = f" (without {prefix!r} before their names)" if prefix else ""
        raise _refused(path, what, f"does not fit {kind}: it has {len(given)} tensors{without}, the {noun} "
                       f"{len(every)}; {reason}") from None
    return evaluate(model)


def _rename(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, what: str
            ) -> tuple[dict[str, Tensor], str]:
    """The tensors of the file by the model's names, as far as they have them, and the prefix that was removed.

    Of a file with several prefixes, tensors with another one belong to something else, such as a loss.
    """
    if state.keys() >= expected.keys():
        return dict(state), ""
    short = {_without_wrappers(name): name for name in expected}
    names = state.keys() - ({"n_averaged"} - short.keys())   # a count that AveragedModel keeps
    given = {_without_wrappers(name): state[name] for name in state if name in names}
    prefixes = Counter(name[:-len(inner)] for name in given for inner in _ends(name) if inner in short)
    if not prefixes or len(short) < len(expected) or len(given) < len(names):
        return dict(state), ""
    most = max(prefixes.values())
    best = [prefix for prefix, n in prefixes.items() if n == most]
    best = [prefix for prefix in PREFIXES if prefix in best][:1] or best
    if len(best) > 1:
        raise _refused(path, what, f"has these weights {len(best)} times, under {', '.join(best)}; save one of "
                       "them alone")
    (prefix,) = best
    renamed = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
    return {short.get(name, name): tensor for name, tensor in renamed.items()}, prefix


def _ends(name: str) -> list[str]:
    """a.b.c -> a.b.c, b.c, c"""
    parts = name.split(".")
    return [".".join(parts[n:]) for n in range(len(parts))]


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _differing_shapes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            theirs, ours = ("x".join(map(str, shape)) or "a number" for shape in (given[name].shape, tensor.shape))
            return [f"the shapes of its tensors ({name} is {theirs}, not {ours})"]
    return []
