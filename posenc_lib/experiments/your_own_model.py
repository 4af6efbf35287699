"""Page 08: one network probed in depth, and architectures with random weights compared."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import timm
import torch
import torchvision
from torch import Tensor, nn

from posenc_lib import probe
from posenc_lib.base.checks import check_choice
from posenc_lib.experiments import encoders, posenet_readout
from posenc_lib.nets import padding, pretrained
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run.config import Workspace
from posenc_lib.run.records import Record


def _resnet18_without_maxpool(size: int) -> nn.Module:
    net = torchvision.models.resnet18()
    net.maxpool = nn.Identity()
    return net


def _vit_tiny(size: int, positions: bool = True) -> nn.Module:
    net = timm.create_model("vit_tiny_patch16_224", img_size=size)
    if not positions:
        nn.init.zeros_(net.pos_embed)
    return net


# Side of the images in pixels -> a network with random weights from torch's global generator.
ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda size: torchvision.models.resnet18(),
    "resnet18_without_maxpool": _resnet18_without_maxpool,
    "resnet18_blurpool": lambda size: timm.create_model("resnetblur18"),
    "vgg11": lambda size: torchvision.models.vgg11(),
    "mobilenet_v2": lambda size: torchvision.models.mobilenet_v2(),
    "convnext_tiny": lambda size: torchvision.models.convnext_tiny(),
    "vit_tiny": _vit_tiny,
    "vit_tiny_without_positions": partial(_vit_tiny, positions=False),
}


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """One network of the comparison: random weights from the seed, all convolutions set to `padding_mode`.

    network  a name of `ARCHITECTURES`
    grid     cells per side of the canvas; size  its side in pixels; images  their number
    folds, steps  of the linear heads
    """
    profile: str
    network: str
    padding_mode: str = "zeros"
    grid: int = 3
    size: int = 96
    images: int = 16
    folds: int = 4
    steps: int = 100
    revision: int = 1

    def __post_init__(self):
        check_choice("network", self.network, ARCHITECTURES)
        check_choice("padding_mode", self.padding_mode, PADDING_MODES)


# What a profile changes.  The canvas of "paper" has the size that the networks are designed for.
PRESETS = {"smoke": {"images": 2, "folds": 2, "steps": 5}, "quick": {"images": 8, "steps": 50},
           "paper": {"size": 224, "images": 90, "folds": 6, "steps": 200}}
# Networks in which position leaves a weak signal, which "quick" decodes from more images: that of a max-pool, and that
# of blocks scaled by a millionth.
WEAK_SIGNALS = {("resnet18", "circular"): {"images": 36, "folds": 6, "steps": 100},
                ("convnext_tiny", "zeros"): {"images": 16, "steps": 100}}
NETWORKS = {"smoke": ("resnet18", "vit_tiny_without_positions"),
            "quick": tuple(ARCHITECTURES), "paper": tuple(ARCHITECTURES)}
# Of the network that is probed in depth: side of the canvas, number of images, folds and steps of the heads.
IN_DEPTH = {"smoke": {"size": 96, "images": 4, "folds": 2, "steps": 5},
            "quick": {"size": 96, "images": 36, "folds": 6, "steps": 100},
            "paper": {"size": 224, "images": 90, "folds": 6, "steps": 200}}
FRACTIONS = (0.05, 0.15, 0.5)   # of a layer's channels, ablated


def configs(profile: str) -> list[ProbeConfig]:
    """List the comparison: every network with zero padding, convolutional ones also with circular padding."""
    runs = []
    for network in NETWORKS[profile]:
        modes = ("zeros",) if network.startswith("vit") else ("zeros", "circular")
        runs += [ProbeConfig(profile=profile, network=network, padding_mode=mode, **PRESETS[profile]) for mode in modes]
    if profile == "quick":
        runs = [replace(c, **WEAK_SIGNALS.get((c.network, c.padding_mode), {})) for c in runs]
    return runs


def run(c: ProbeConfig, seed: int, checkpoint: object = None, *, workspace: Workspace) -> dict:
    """Probe the last layer of one random network.

    checkpoint  unused: a run takes seconds
    Returns layer; accuracy, the rows of `probe.ProbeResult`; shift_sensitivity of the layer; and first, the first layer
    of the network that responds to the border ("none" if none does).
    """
    torch.manual_seed(seed)
    net = padding.set_padding_mode(ARCHITECTURES[c.network](c.size), c.padding_mode).to(workspace.device)
    layer = probe.find_layers(net, size=c.size)[-1].name
    images = probe.sample_images(c.size, c.images)
    result = probe.probe(net, [layer], grid=c.grid, images=images, size=c.size, folds=c.folds,
                         recipe=replace(probe.RECIPE, epoch_steps=c.steps))
    border = probe.padding_report(net, images[::6], modes=())
    sensitivity = border.layers.set_index("layer")["shift_sensitivity"]
    return {"layer": layer, "accuracy": result.accuracy.to_dict("records"),
            "shift_sensitivity": float(sensitivity[layer]), "first": border.leak(probe.AS_BUILT) or "none"}


def to_rows(runs: Sequence[Record]) -> pd.DataFrame:
    """One row per run and head: network, padding_mode, seed, the run's accuracy row, shift_sensitivity, first."""
    return pd.DataFrame([
        {"network": r.config["network"], "padding_mode": r.config["padding_mode"], "seed": r.seed, **row,
         "shift_sensitivity": r.results["shift_sensitivity"], "first": r.results["first"]}
        for r in runs for row in r.results["accuracy"]])


def encoder_in_depth(requested: str, profile: str, root: Path) -> tuple[pretrained.Encoder, str]:
    """The network to probe in depth, and its key: the first pretrained one, or a small one trained on photographs.

    requested  see `pretrained.parse_encoders`; root  of data sets and weights
    """
    files = pretrained.parse_encoders(requested, root)
    if files:
        name, file = next(iter(files.items()))
        return pretrained.pretrained(name, root, file), f"{name}/imagenet"
    c = encoders.trained_config("photos", root, **posenet_readout.READOUT[profile]["small"])
    return encoders.build_encoder(c, 0, root), c.key


def ablation_rows(net: nn.Module, layer: probe.Layer, ranked: Mapping[str, tuple[Tensor, Tensor]],
                  evaluate: Callable[[nn.Module], float], *, rules: Sequence[str] = ("decodability", "flip"),
                  draws: int = 10) -> pd.DataFrame:
    """`probe.attack` on the channels that each rule ranks highest, for each of `FRACTIONS`: its rows, percent, rule.

    ranked  rule -> (channels, responses) of `probe.rank`; "rms_activation" among them, to match random sets
    """
    tables = []
    for fraction in FRACTIONS:
        for rule in rules:
            targets = ranked[rule][0][:round(fraction * layer.channels)]
            rows = probe.attack(net, layer.name, targets, evaluate, draws=draws, axis=layer.axis,
                                rms_activation=ranked["rms_activation"][1])
            tables.append(rows.assign(percent=100 * fraction, rule=rule))
    return pd.concat(tables)
