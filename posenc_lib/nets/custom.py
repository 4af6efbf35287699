"""Load a network of the reader's own by name: timm:resnet18, torchvision:vgg11, my_file.py:build."""
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
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from posenc_lib.base.checks import one_line
from posenc_lib.base.modules import evaluate
from posenc_lib.data.imageset import IMAGENET
from posenc_lib.nets import hooks, pretrained
from posenc_lib.nets.classifiers import check_timm_name
from posenc_lib.nets.pretrained import UNIT

FORMS = "timm:NAME, torchvision:NAME or FILE.py:FUNCTION"
SIZE = 224   # side of the images in pixels, for a network that does not state its own


@dataclass(frozen=True)
class Network:
    """A network and how to use it.

    name     as requested, "timm:resnet18"
    weights  their source, in words
    size     side of the square input images in pixels
    mean, std  of each colour on the scale 0..1, for normalisation
    """
    model: nn.Module
    name: str
    weights: str
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(name: str, weights: Path | str = "", *, seed: int = 0) -> Network:
    """Load the network `name`, in evaluation mode.

    name     timm:NAME, torchvision:NAME, or FILE.py:FUNCTION, a function without arguments that returns an nn.Module
    weights  a file with a matching state dict, see `pretrained.load_weights`; "pretrained" downloads the library's own;
             "" keeps the initial weights: random from `seed`, or those that the function sets
    FileNotFoundError or ValueError if the network, the function or the file does not exist, or the weights do not fit.
    """
    library, _, rest = name.rpartition(":")
    if not rest or (library not in ("timm", "torchvision") and not library.endswith(".py")):
        raise ValueError(f"model: {name!r} does not name a network; use {FORMS}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if library == "timm":
            check_timm_name("model", rest, "network")
            model = timm.create_model(rest)
        elif library == "torchvision":
            model = _from_torchvision(_check_name(library, rest, torchvision.models.list_models()))
        else:
            model = _from_file(Path(library), rest)
    hooks.check_observable(model)
    evaluate(model)
    if str(weights) == "pretrained":
        source = _download(model, library, rest)
    elif weights:
        pretrained.load_weights(model, weights)
        source = Path(weights).name
    elif library in ("timm", "torchvision"):
        source = f"random weights, seed {seed}"
    else:
        source = f"weights set by {rest}()"
    return Network(model, name, source, *_preprocessing(model, library, rest))


def _preprocessing(model: nn.Module, library: str, name: str) -> tuple[int, tuple, tuple]:
    """Size, mean and standard deviation of the network's images, as its library has them."""
    if transform := _detector_transform(model):   # it normalises for itself
        return (transform.fixed_size or (SIZE,))[0], *UNIT
    cfg = _timm_cfg(model)
    size = (*cfg.get("input_size", ()), SIZE)[:3][-1]
    if library == "torchvision" and (weights := getattr(torchvision.models.get_model_weights(name), "DEFAULT", None)):
        preset = weights.transforms() if weights.transforms else None
        cfg = {key: getattr(preset, key, None) for key in ("mean", "std")}
        size = getattr(preset, "crop_size", [SIZE])[0]
    size = getattr(model, "image_size", size)
    mean, std = (tuple(cfg[key]) if isinstance(cfg.get(key), (tuple, list)) and len(cfg[key]) == 3 else default
                 for key, default in zip(("mean", "std"), IMAGENET, strict=True))
    return size if isinstance(size, int) else SIZE, mean, std


def _check_name(library: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        similar = get_close_matches(name, known, n=3) or get_close_matches(name, known, n=3, cutoff=0)
        raise ValueError(f"model: {library} has no network {name!r}; similar names are {', '.join(similar)}")
    return name


def _from_torchvision(name: str) -> nn.Module:
    """Build torchvision's network without downloading anything, including the weights of its backbone.

    A detector does not resize its images: it would enlarge them to some 800 pixels, out of step with its strides.
    """
    build = torchvision.models.get_model_builder(name)
    options = {"weights": None, "weights_backbone": None, "init_weights": True}
    parameters = inspect.signature(build).parameters
    model = build(**{key: value for key, value in options.items() if key in parameters})
    if _detector_transform(model):
        model.transform.resize = lambda image, target: (image, target)
    return model


def _detector_transform(model: nn.Module) -> GeneralizedRCNNTransform | None:
    """What a detector of torchvision does with its images; None for another network."""
    transform = getattr(model, "transform", None)
    return transform if isinstance(transform, GeneralizedRCNNTransform) else None


def _timm_cfg(model: nn.Module) -> dict:
    """What timm states of a network's weights and images; empty for a network that is not timm's."""
    cfg = getattr(model, "pretrained_cfg", None)
    return dict(cfg) if isinstance(cfg, dict) else {}


def _from_file(path: Path, function: str) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"model: {path} does not exist; name a network as {FORMS}")
    module = _import(path)
    if not callable(getattr(module, function, None)):
        defined = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise ValueError(f"model: {path} has no function {function!r}; it defines {', '.join(defined) or 'none'}")
    try:
        model = getattr(module, function)()
    except (Exception, SystemExit) as error:
        raise ValueError(f"model: {function}() of {path} fails with {one_line(error)}; it must run without "
                         "arguments") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: {function}() of {path} returns a {type(model).__name__}; it must return an nn.Module")
    return model


def _import(path: Path) -> ModuleType:
    """Import a file under a name that no library has; it can import modules from its own folder."""
    spec = importlib.util.spec_from_file_location(f"network_of_{path.stem}", path)
    assert spec and spec.loader   # every .py file has them
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)   # dataclasses look their module up there
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"model: {path} cannot be imported ({one_line(error)}); make it run by itself") from error
    finally:
        sys.path.remove(folder)
    return module


def _download(model: nn.Module, library: str, name: str) -> str:
    """Fill the model with the library's own weights; returns their source, in words."""
    try:
        if library == "timm":
            cfg = _timm_cfg(model)
            model.load_state_dict(_from_timm(name, cfg).state_dict())
            return f"timm's own, {cfg['tag'] or 'untagged'}"
        if library == "torchvision":
            weights = torchvision.models.get_model_weights(name).DEFAULT
            model.load_state_dict(pretrained.download_weights(weights))
            return f"torchvision's own, {weights.name}"
    except Exception as error:  # the libraries raise different errors for a missing network, file, or weights
        raise FileNotFoundError(
            f"weights: those of {library}:{name} could not be downloaded ({one_line(error)}); provide a .safetensors "
            "state dict, or omit them for random weights"
        ) from None
    raise ValueError(f"weights: no pretrained weights are published for {library}:{name}; provide a .safetensors state "
                     f"dict, or load them in {name}()")


def _from_timm(name: str, cfg: dict) -> nn.Module:
    """Create timm's network with its weights.  Remove damaged files: timm checks their size at most."""
    try:
        return timm.create_model(name, pretrained=True)
    finally:
        for file, sha256 in _cached_weights(cfg):
            pretrained.refuse_damaged(file, sha256)


def _cached_weights(cfg: dict) -> Iterator[tuple[Path, str]]:
    """The files from which timm reads weights, and the beginning of their SHA-256."""
    if not cfg.get("hf_hub_id"):
        yield pretrained.cached_download(cfg.get("url", ""))
        return
    for name in (cfg.get("hf_hub_filename") or "model.safetensors", "pytorch_model.bin"):
        link = try_to_load_from_cache(cfg["hf_hub_id"], name)
        blob = Path(link).resolve() if isinstance(link, str) else Path()
        if re.fullmatch("[0-9a-f]{64}", blob.name):   # the hub names a large file by its SHA-256
            yield blob, blob.name
