"""A network that a reader brings, by what names it: timm:resnet18, torchvision:vgg11, my_file.py:build."""
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import timm
import torch
import torchvision
from huggingface_hub import try_to_load_from_cache
from torch import nn

from posenc_lib.base.checks import one_line
from posenc_lib.data.imageset import IMAGENET
from posenc_lib.nets import pretrained

FORMS = "timm:NAME, torchvision:NAME or FILE.py:FUNCTION"
SIZE = 224


@dataclass(frozen=True)
class Network:
    """name     as it was asked for, "timm:resnet18"
    weights  where they come from, in words
    size     pixels a side of the square images that it takes
    mean, std  of each colour on the scale 0..1, as it was trained
    """
    model: nn.Module
    name: str
    weights: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(name: str, weights: Path | str = "", *, seed: int = 0) -> Network:
    """The network that `name` says, in evaluation mode.

    name     timm:NAME, torchvision:NAME, or FILE.py:FUNCTION, a function without arguments that returns an nn.Module
    weights  a .safetensors state dict that fits it; "pretrained" downloads the library's own; "" leaves the random
             weights that it is built with, from `seed`, or those that the function gives it
    FileNotFoundError or ValueError in one sentence when there is no such network, function or file, or it does not fit.
    """
    library, _, rest = name.rpartition(":")
    if not rest or (library not in ("timm", "torchvision") and not library.endswith(".py")):
        raise ValueError(f"model: {name!r} was asked for; name it as {FORMS}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if library == "timm":
            model = timm.create_model(_known(library, rest, timm.list_models()))
        elif library == "torchvision":
            model = _bare(_known(library, rest, torchvision.models.list_models()))
        else:
            model = _from_file(Path(library), rest)
    model.eval()
    told = f"random weights, seed {seed}" if library in ("timm", "torchvision") else f"the weights that {rest}() gives"
    if str(weights) == "pretrained":
        told = _download(model, library, rest)
    elif weights:
        pretrained.load_weights(model, weights)
        told = Path(weights).name
    about = getattr(model, "pretrained_cfg", None) or {}
    mean, std = (tuple(about.get(key, value)) for key, value in zip(("mean", "std"), IMAGENET, strict=True))
    size = getattr(model, "image_size", about.get("input_size", (3, SIZE, SIZE))[-1])
    return Network(model, name, told, size if isinstance(size, int) else SIZE, mean, std)


def _known(library: str, name: str, there: Sequence[str]) -> str:
    if name not in there:
        near = ", ".join(get_close_matches(name, there, n=3)) or ", ".join(get_close_matches(name, there, 3, cutoff=0))
        raise ValueError(f"model: {library}:{name} was asked for, and {library} has no {name!r}; near it are {near}")
    return name


def _bare(name: str) -> nn.Module:
    """torchvision's network without any download, be it of its backbone."""
    build = torchvision.models.get_model_builder(name)
    bare = {"weights": None, "weights_backbone": None, "init_weights": True}
    return build(**{key: value for key, value in bare.items() if key in inspect.signature(build).parameters})


def _from_file(path: Path, function: str) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"model: {path} was asked for and is not there; name it as {FORMS}")
    module = _imported(path)
    functions = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    if not callable(getattr(module, function, None)):
        raise ValueError(f"model: {path} has no function {function!r}; it has {', '.join(functions) or 'none'}")
    try:
        model = getattr(module, function)()
    except Exception as error:
        raise ValueError(f"model: {function}() of {path} fails with {one_line(error)}; it is called without "
                         "arguments") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: {function}() of {path} gives a {type(model).__name__}; let it return an nn.Module")
    return model


def _imported(path: Path) -> ModuleType:
    """The file, imported under a name that no library has; what lies beside it can be imported from it."""
    spec = importlib.util.spec_from_file_location(f"network_of_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)   # dataclasses look themselves up there
    beside = str(path.parent.resolve())
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"model: {path} cannot be imported, {one_line(error)}") from error
    finally:
        sys.path.remove(beside)
    return module


def _download(model: nn.Module, library: str, name: str) -> str:
    try:
        if library == "timm":
            model.load_state_dict(_from_timm(name, model.pretrained_cfg).state_dict())
            return f"timm's own, {model.pretrained_cfg['tag'] or 'untagged'}"
        if library == "torchvision":
            weights = torchvision.models.get_model_weights(name).DEFAULT
            model.load_state_dict(pretrained.download_weights(weights))
            return f"torchvision's own, {weights.name}"
    except Exception as error:  # each library has its own for a missing network, a missing file, no weights at all
        raise FileNotFoundError(
            f"weights: those of {library}:{name} could not be downloaded ({one_line(error)}); give a "
            ".safetensors state dict, or none for random weights"
        ) from None
    raise ValueError(f"weights: nobody has pretrained weights of {library}:{name}; give a .safetensors state dict, or "
                     f"let {name}() load them")


def _from_timm(name: str, about: dict) -> nn.Module:
    """timm's network with its weights.  None stay in the cache damaged: timm itself checks their size at most."""
    try:
        return timm.create_model(name, pretrained=True)
    finally:
        for file, promised in _kept(about):
            pretrained.refuse_damaged(file, promised)


def _kept(about: dict) -> Iterator[tuple[Path, str]]:
    """The files that timm reads weights from, and how their SHA-256 begins."""
    if not about.get("hf_hub_id"):
        yield pretrained.cached_download(about.get("url", ""))
        return
    for name in (about.get("hf_hub_filename") or "model.safetensors", "pytorch_model.bin"):
        link = try_to_load_from_cache(about["hf_hub_id"], name)
        blob = Path(link).resolve() if isinstance(link, str) else Path()
        if re.fullmatch("[0-9a-f]{64}", blob.name):   # the hub names a large file by its SHA-256
            yield blob, blob.name
