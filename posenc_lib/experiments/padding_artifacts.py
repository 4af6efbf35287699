"""Line artifacts along the border of feature maps, by padding mode."""
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images
from posenc_lib.data import bundled
from posenc_lib.data.imageset import IMAGENET, ImageSet, Splits
from posenc_lib.experiments.encoders import seeded
from posenc_lib.measure import metrics
from posenc_lib.nets import classifiers, hooks, pretrained
from posenc_lib.nets.padding import PADDING_MODES, set_padding_mode
from posenc_lib.run import inputs as run_inputs
from posenc_lib.run import training
from posenc_lib.run.config import Recipe, Workspace
from posenc_lib.run.records import Record, summarise

# Layer -> its total stride.
LAYERS = {
    "resnet": {"conv1": 2, "layer1": 2, "layer2": 4, "layer3": 8, "layer4": 16},
    "squeezenet": {"features.0": 2, "features.4": 4, "features.7": 8, "features.12": 16},
}
# ResNet-18's layer -> reach of the padding into its map, in pixels of the image; an exercise of page 01 derives it.
REACH = {"conv1": 3, "layer1": 11, "layer2": 25, "layer3": 53, "layer4": 109}
EXAMPLE_STRIDE = 4   # stride of the map of which a record holds one channel
TRUTH = "true_surroundings"


@dataclass(frozen=True, kw_only=True)
class PaddingConfig:
    """One network whose feature maps are compared under every padding mode.  The paper states no set-up.

    profile  key of `SCHEDULES`
    data     fingerprint of the measured pieces, and of the training crops
    net      "random", "trained" to classify photographs, or "imagenet": SqueezeNet 1.1 with weights from a file
    trained  padding mode it was trained with; None for a random one
    weights  fingerprint of the weights file
    width    channels of ResNet-18's first stage (64 in its source)
    crop     side in pixels of the crop that the network is given
    context  pixels of true surroundings on each side, for the control: at least the reach of the deepest layer (109
             for ResNet-18, by arithmetic), and a multiple of its stride (16)
    """
    profile: str
    dataset: str
    data: str
    net: str = "random"
    trained: str | None = None
    weights: str = ""
    width: int = 64
    crop: int = 128
    context: int = 112
    recipe: Recipe | None = None
    revision: int = 2

    def __post_init__(self):
        check_choice("net", self.net, ("random", "trained", "imagenet"))
        check_choice("trained", self.trained, (*PADDING_MODES, None))


# What each profile changes.  "pieces" is the number cut from each photograph, at most 2; "train_crop" is the side of
# the training crops, 64 by default.  No schedule is the paper's.
PADDING = {
    "smoke": {"pieces": 1, "seeds": 2, "width": 4, "crop": 64, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=2, batch_size=8)},
    "quick": {"pieces": 1, "seeds": 3, "width": 16, "train_crop": 48,
              "recipe": Recipe(epochs=1, epoch_steps=30, batch_size=12)},
    "paper": {"pieces": 2, "seeds": 10, "recipe": Recipe(epochs=20, epoch_steps=100)},
}
# "long" is the committed CPU run.
SCHEDULES = {**PADDING, "long": {"pieces": 2, "seeds": 3, "width": 16, "train_crop": 48,
                                 "recipe": Recipe(epochs=2, epoch_steps=40, batch_size=12)}}


@dataclass(frozen=True, eq=False)
class PaddingInputs:
    """What all runs share.

    pieces    images whose middle is the measured crop; the margin is its true surroundings
    splits    photographs to train on
    schedule  key of `SCHEDULES`
    """
    pieces: ImageSet
    splits: Splits
    workspace: Workspace
    schedule: str

    @property
    def fingerprint(self) -> str:
        return self.pieces.fingerprint + self.splits.fingerprint


def padding_inputs(dataset: str, splits: Splits, workspace: Workspace, schedule: str = "") -> PaddingInputs:
    """Cut the pieces: from one or two corners of each large bundled photograph ("photos"), or from the images of a
    folder.

    schedule  key of `SCHEDULES`; "" is the workspace's profile
    """
    schedule = schedule or workspace.profile
    preset = SCHEDULES[schedule]
    side = preset.get("crop", PaddingConfig.crop) + 2 * PaddingConfig.context
    if dataset == "photos":
        large = [photo for photo in bundled.photographs().values() if min(photo.shape[-2:]) >= side]
        pieces = torch.cat([photo[..., -side:, -side:] if n else photo[..., :side, :side]
                            for n in range(preset["pieces"]) for photo in large])
    else:
        test = run_inputs.load_for(workspace, dataset, size=side, validation=0).test
        pieces = test.images[:6 * preset["pieces"]]
    labels = torch.zeros(len(pieces), dtype=torch.long)
    return PaddingInputs(ImageSet(dataset, "pieces", pieces, labels, ("none",), *IMAGENET), splits, workspace, schedule)


@torch.no_grad()
def feature_maps(net: nn.Module, images: Images, layers: Iterable[str]) -> dict[str, Tensor]:
    """Return the output (image, channel, row, col) of each named layer."""
    with ExitStack() as stack:
        outputs = {name: stack.enter_context(hooks.captured(net, name)) for name in layers}
        net.features(images)
    return {name: output[0] for name, output in outputs.items()}


def crop_window(f: Tensor, rows: int, cols: int, first: int) -> Tensor:
    """Return the `rows` x `cols` of a piece's map that belong to the crop; `first` is its margin, in pixels of f."""
    return f[..., first:first + rows, first:first + cols]


def compare_modes(
    net: nn.Module, pieces: Images, layers: Mapping[str, int], context: int
) -> tuple[list[dict], dict[str, Tensor]]:
    """Compare the maps of a crop under every padding mode with its maps in true surroundings.

    pieces   of which all but the outer `context` pixels are the crop
    layers   layer -> total stride
    -> rows of padding_mode, layer, excess (by image, four decimals, None where undefined) and error (by distance to
    the border, four digits), and the maps of the first image at `EXAMPLE_STRIDE`, (channel, row, col) by padding mode
    and "true_surroundings"
    """
    crops = pieces[..., context:-context, context:-context]
    true_maps = feature_maps(net, pieces, layers)
    rows, examples = [], {}
    for mode in PADDING_MODES:
        for layer, f in feature_maps(set_padding_mode(net, mode), crops, layers).items():
            truth = crop_window(true_maps[layer], *f.shape[-2:], context // layers[layer])
            excess = metrics.border_energy(f) - metrics.border_energy(truth)   # (image,)
            rows.append({"padding_mode": mode, "layer": layer,
                         "excess": [round(e, 4) if isfinite(e) else None for e in excess.tolist()],
                         "error": [float(f"{e:.4g}") for e in metrics.padding_error(f, truth).tolist()]})
            if layers[layer] == EXAMPLE_STRIDE:
                examples |= {mode: f[0], TRUTH: truth[0]}
    return rows, examples


def most_changed_channel(maps: Mapping[str, Tensor], mode: str) -> dict[str, list[list[float]]]:
    """Return, of every map, the channel in which `mode` is furthest from the truth, rounded to three decimals."""
    channel = (maps[mode] - maps[TRUTH]).square().mean((-2, -1)).argmax()
    return {name: [[round(v, 3) for v in row] for row in f[channel].tolist()] for name, f in maps.items()}


def run(
    c: PaddingConfig, seed: int, checkpoint: training.Checkpoint | Path | None, *, inputs: PaddingInputs
) -> dict:
    """Build or train one network and compare all padding modes.

    -> maps   rows of `compare_modes`
       example   for seed 0, the channel that the network's own padding mode changes most
       loss, accuracy   of a trained network after the last epoch
    """
    splits, device = inputs.splits, inputs.workspace.device
    with seeded(seed):
        if c.net == "imagenet":
            net = pretrained.pretrained("squeezenet1_1", inputs.workspace.data).net
        else:
            net = classifiers.gapnet(len(splits.train.classes), padding_mode=c.trained or "zeros", width=c.width)
    layers = LAYERS["squeezenet" if c.net == "imagenet" else "resnet"]

    def loss(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
        return cross_entropy(net(images), labels)

    def evaluate(net: nn.Module) -> dict[str, float]:
        index = torch.arange(len(splits.test), device=device)
        images, labels = splits.test.to(device).batch(index)
        return {"accuracy": metrics.accuracy(net(images), labels)}

    results = {}
    if c.net == "trained":
        history = training.fit(net, splits.train, loss, c.recipe, seed=seed, evaluate=evaluate, checkpoint=checkpoint)
        results = history[-1]
    pieces = inputs.pieces.normalise(inputs.pieces.images).to(device)
    rows, examples = compare_modes(net.eval().to(device), pieces, layers, c.context)
    results = {**results, "maps": rows}
    if seed == 0:
        results["example"] = most_changed_channel(examples, c.trained or "zeros")
    return results


def configs(inputs: PaddingInputs) -> list[PaddingConfig]:
    """Return the random network and a trained one for each padding mode."""
    recipe = SCHEDULES[inputs.schedule]["recipe"]
    shared = _shared(inputs)
    return [PaddingConfig(**shared),
            *(PaddingConfig(**shared, net="trained", trained=mode, recipe=recipe) for mode in PADDING_MODES)]


def imagenet_config(inputs: PaddingInputs) -> PaddingConfig:
    """Return the configuration of SqueezeNet 1.1 with ImageNet weights."""
    weights = pretrained.fingerprint("squeezenet1_1", inputs.workspace.data)
    return PaddingConfig(**_shared(inputs), net="imagenet", trained="zeros", weights=weights)


def _shared(inputs: PaddingInputs) -> dict:
    preset = SCHEDULES[inputs.schedule]
    return {"profile": inputs.schedule, "dataset": inputs.pieces.name, "data": inputs.fingerprint,
            **{name: preset[name] for name in ("width", "crop") if name in preset}}


class ExcessScore(NamedTuple):
    """Excess border energy, a log2 ratio, of one crop in one layer; None where it is undefined.

    trained  padding mode the network was trained with, padding_mode the one it runs with
    """
    net: str
    trained: str | None
    seed: int
    padding_mode: str
    layer: str
    excess: float | None


class ErrorScore(NamedTuple):
    """Padding error at a distance to the border, in pixels of the image; mean over the crops."""
    net: str
    trained: str | None
    seed: int
    padding_mode: str
    layer: str
    distance: int
    error: float


def excess_scores(runs: Sequence[Record]) -> list[ExcessScore]:
    """Return the excess of every run, padding mode, layer and crop."""
    return [ExcessScore(run.config["net"], run.config["trained"], run.seed, row["padding_mode"], row["layer"], excess)
            for run in runs for row in run.results["maps"] for excess in row["excess"]]


def error_scores(runs: Sequence[Record]) -> list[ErrorScore]:
    """Return the padding error, by distance, of random networks and of trained ones in their own padding mode."""
    scores = []
    for run in runs:
        net, trained = run.config["net"], run.config["trained"]
        for row in run.results["maps"] if net != "imagenet" else ():
            mode, layer = row["padding_mode"], row["layer"]
            if trained in (None, mode):
                stride = LAYERS["resnet"][layer]
                scores += [ErrorScore(net, trained, run.seed, mode, layer, n * stride, error)
                           for n, error in enumerate(row["error"])]
    return scores


def mean_over_crops(scores: Iterable[ExcessScore]) -> pd.DataFrame:
    """Return net, trained, padding_mode, layer, seed and the mean excess over the crops where it is defined."""
    frame = pd.DataFrame(scores, columns=ExcessScore._fields).astype({"excess": float}).dropna(subset="excess")
    keys = ["net", "trained", "padding_mode", "layer", "seed"]
    return frame.groupby(keys, sort=False, dropna=False, as_index=False)["excess"].mean()


def in_own_mode(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the random networks, and each trained one in the padding mode it was trained with."""
    own = (frame["net"] == "trained") & (frame["trained"] == frame["padding_mode"])
    return frame[(frame["net"] == "random") | own]


def excess_by_layer(scores: Sequence[ExcessScore]) -> pd.DataFrame:
    """Return net, padding_mode, layer, mean, low, high and n: over seeds, or over the crops of the ImageNet network."""
    keys = ["net", "padding_mode", "layer"]
    crops = pd.DataFrame(scores).astype({"excess": float}).dropna(subset="excess")
    return pd.concat([summarise(in_own_mode(mean_over_crops(scores)), keys, "excess"),
                      summarise(crops[crops["net"] == "imagenet"], keys, "excess")])
