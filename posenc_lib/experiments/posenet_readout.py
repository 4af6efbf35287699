"""Position maps read out of frozen features (PosENet), and networks trained from scratch with and without padding."""
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate

from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Features, LabelMaps, Maps, Pixels
from posenc_lib.data.imageset import VOID, ImageSet, Splits
from posenc_lib.experiments.encoders import EncoderConfig, build_encoder, imagenet_configs, seeded, trained_config
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure.features import FrozenFeatures, frozen_features, select_channels
from posenc_lib.nets import classifiers, heads, padding
from posenc_lib.nets.pretrained import KNOWN
from posenc_lib.run import training
from posenc_lib.run.config import Recipe, SgdRecipe, Workspace, digest
from posenc_lib.run.records import Record

TARGETS = (*canvas.POSITION_MAPS, "shuffled_H")
RECORDED_SIDE = 28   # side of the predicted maps that a record holds
RECORDED_MAPS = ("predicted", "predicted_second", "predicted_mean")
SMALL_STAGES = 4     # stages of the small network, `pretrained.small_vgg`


@dataclass(frozen=True, kw_only=True)
class ReadoutConfig:
    """Readouts of all target maps from one frozen network: a cell of the ICLR 2020 paper's tables, or a control.

    data      fingerprint of the training and test images
    size      side in pixels of the images and of the predicted maps
    stage     read this stage of the network only, counted from 1; None is all stages
    channels  read a random subset of this many channels; None is all channels
    kernel, depth, padding, hidden   see `heads.Readout`
    """
    profile: str
    dataset: str
    data: str
    size: int = 224
    train_images: int | None = None
    test_images: int | None = None
    encoder: EncoderConfig = EncoderConfig()
    stage: int | None = None
    channels: int | None = None
    kernel: int = 3
    depth: int = 1
    padding: int = 0
    hidden: int | None = None
    recipe: Recipe = SgdRecipe()
    revision: int = 1


@dataclass(frozen=True, kw_only=True)
class ScratchConfig:
    """A small network trained from scratch to segment images: ICLR 2020, Table 5.  The paper states no schedule.

    network  image set and its fingerprint, width, padding mode, crop and recipe
    window   train on the window that an unpadded map covers; otherwise a smaller map is resized to the whole image
    """
    profile: str
    network: EncoderConfig
    window: bool = False
    revision: int = 1


# What each profile changes in the released protocol.  "images" has the scale of each image set, "any" that of every
# other set: a folder is read at the paper's size.  Width, crop and schedule of the network trained here ("small") and
# of those of Table 5 ("scratch") are choices of this book.  "scenes" are seeds of the streets of Table 5, if not all.
_FOLDER = {"size": 224, "train_images": 128, "test_images": 64}
READOUT = {
    "smoke": {
        "images": {"photos": {"size": 80, "train_images": 8, "test_images": 2}, "any": _FOLDER},
        "hidden": 2,
        "recipe": SgdRecipe(epochs=1, batch_size=8),
        "small": {"width": 2, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=8, flip=False)},
        "scratch": {"width": 2, "crop": 96, "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)},
        "scenes": {"train": range(8), "test": range(10_000, 10_004)},
    },
    "quick": {
        "images": {"photos": {"size": 80, "train_images": 32, "test_images": 16}, "any": _FOLDER},
        "hidden": 4,
        "recipe": SgdRecipe(epochs=6, drop=4, batch_size=4, learning_rate=0.05),
        "small": {"width": 8, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=30, batch_size=8, flip=False)},
        "scratch": {"width": 8, "crop": 96,
                    "recipe": Recipe(epochs=1, epoch_steps=30, batch_size=4, learning_rate=4e-3, flip=False)},
        "scenes": {"train": range(120), "test": range(10_000, 10_040)},
    },
    "paper": {
        "images": {"photos": {"size": 112}, "any": {"size": 224}},
        "hidden": None,
        "recipe": SgdRecipe(),
        "small": {"width": 64, "crop": 112, "recipe": Recipe(epochs=20, epoch_steps=100, flip=False)},
        "scratch": {"width": 64, "crop": 224, "recipe": Recipe(epochs=20, epoch_steps=100, batch_size=16, flip=False)},
    },
}


# Schedules of profile "quick" for a folder of photographs: those of the committed runs on ECSSD in records/cpu.
# "cpu" trains every readout and network of the page longer than "quick" does; "long" reads all of ECSSD's 800 training
# photographs, for Table 2, because larger readouts learn 128 by heart.
SCHEDULES = {
    "cpu": {
        "images": {"any": _FOLDER},
        "hidden": 8,
        "recipe": SgdRecipe(batch_size=8),
        "small": {"width": 8, "crop": 80, "recipe": Recipe(epochs=1, epoch_steps=60, batch_size=16, flip=False)},
        "scratch": {"width": 8, "crop": 96,
                    "recipe": Recipe(epochs=1, epoch_steps=40, batch_size=8, learning_rate=4e-3, flip=False)},
        "scenes": None,
    },
}
SCHEDULES["long"] = SCHEDULES["cpu"] | {
    "images": {"any": {"size": 224, "train_images": 800, "test_images": 100}},
    "recipe": SgdRecipe(epochs=3, drop=2, batch_size=8),
}


def preset(profile: str, schedule: str = "") -> dict:
    """Return what a profile changes in the released protocol, or one of `SCHEDULES`; "" is the profile's own."""
    check_choice("schedule", schedule, ("", *SCHEDULES))
    return READOUT[profile] | SCHEDULES.get(schedule, {})


def image_scale(profile: str, dataset: str, schedule: str = "") -> dict[str, int]:
    """Return size, train_images and test_images of `dataset`, where the profile limits them."""
    scales = preset(profile, schedule)["images"]
    return scales.get(dataset, scales["any"])


def target_maps(size: int) -> Float[Tensor, "map {size} {size}"]:
    """Return the maps of `TARGETS`: the paper's five, and H cut into 64 blocks in a fixed random order."""
    maps = torch.stack([canvas.position_map(name, size) for name in canvas.POSITION_MAPS])
    return torch.cat([maps, canvas.shuffle_blocks(maps[0], 8, seed=0)[None]])


# The readouts of frozen features.

@dataclass(frozen=True, eq=False)
class ReadoutInputs:
    """What all readouts of a page share; `readout_inputs` builds it.

    tests  test sets by name: "natural", "black", "white" and "noise"
    files  weights file of each ImageNet network, see `pretrained.parse_encoders`
    """
    train: ImageSet
    tests: dict[str, ImageSet]
    files: dict[str, str]
    workspace: Workspace

    @property
    def fingerprint(self) -> str:
        return self.train.fingerprint + self.tests["natural"].fingerprint


def readout_inputs(
    splits: Splits, workspace: Workspace, files: dict[str, str], *,
    size: int, train_images: int | None = None, test_images: int | None = None
) -> ReadoutInputs:
    """Subsample training and test images and add the black, white and noise test sets."""
    natural = splits.test.subsample(test_images)
    noise = 128 + 64 * torch.randn(min(8, len(natural)), 3, size, size, generator=torch.Generator().manual_seed(0))
    pixels = {"black": torch.zeros(1, 3, size, size), "white": torch.full((1, 3, size, size), 255.0),
              "noise": noise.clamp(0, 255)}
    tests = {"natural": natural} | {name: _unlabelled(natural, name, x.to(torch.uint8)) for name, x in pixels.items()}
    return ReadoutInputs(splits.train.subsample(train_images), tests, files, workspace)


def _unlabelled(like: ImageSet, name: str, pixels: Pixels) -> ImageSet:
    return replace(like, name=name, images=pixels, labels=torch.zeros(len(pixels), dtype=torch.long))


def compute_features(
    c: EncoderConfig, seed: int, inputs: ReadoutInputs
) -> tuple[FrozenFeatures, dict[str, FrozenFeatures], list[int]]:
    """Return the stacked features of the training images and of each test set, and the channels per stage."""
    encoder = build_encoder(c, seed, inputs.workspace.data, inputs.files.get(c.net, ""))
    device = inputs.workspace.device
    encoder.net.to(device)
    train, channels = frozen_features(encoder, inputs.train.to(device))
    tests = {name: frozen_features(encoder, images.to(device))[0] for name, images in inputs.tests.items()}
    return train, tests, channels


_recent_features = lru_cache(maxsize=4)(compute_features)        # of networks that each seed builds anew
_imagenet_features = lru_cache(maxsize=None)(compute_features)   # of networks that all seeds share


def readout_loss(readout: nn.Module, features: Features, targets: Tensor) -> Tensor:
    """Sum over the target maps of each map's mean squared error: every map has a readout of its own."""
    return (readout(features) - targets).square().mean((0, 2, 3)).sum()


def map_metrics(maps: Maps, targets: Tensor, images: str) -> Iterator[dict]:
    """Yield SPC, MAE and MSE of each target map, averaged over the images; SPC is None if no predicted map has one.

    images  name of the test set.  `undefined` counts the images whose predicted map is constant.
    """
    for name, target, predicted in zip(TARGETS, targets.to(maps.device), maps.unbind(1), strict=True):
        spc = metrics.spearman(predicted, target)
        error = predicted - target
        defined = [s for s in spc if s is not None]
        yield {"target": name, "images": images, "n_images": len(spc), "mae": error.abs().mean().item(),
               "mse": error.square().mean().item(),
               "spc": sum(defined) / len(defined) if defined else None, "undefined": len(spc) - len(defined)}


def run_readout(
    c: ReadoutConfig, seed: int, checkpoint: training.Checkpoint | Path | None, *, inputs: ReadoutInputs
) -> dict:
    """Fit one readout per target map to frozen features and score the maps that they predict.

    -> maps   rows of `map_metrics`; test set "first" is the first natural image alone, for Fig. 6
       loss   of the last epoch: the sum over the maps of the mean squared error on training images
       n_train   number of training images
       predicted   for seed 0, the maps predicted from the first natural image in percent, (target, 28, 28)
       predicted_second, predicted_mean   the same of the second natural image, and the mean over natural images
    """
    if c.encoder.source == "imagenet":
        train, tests, channels = _imagenet_features(c.encoder, 0, inputs)
    else:
        train, tests, channels = _recent_features(c.encoder, seed, inputs)
    selected = select_channels(channels, c.stage, c.channels, seed=seed)
    targets = target_maps(c.size).to(inputs.workspace.device)
    with seeded(seed):
        readout = heads.Readout(len(selected), len(TARGETS), kernel=c.kernel, depth=c.depth, padding=c.padding,
                                hidden=c.hidden, size=c.size)

    def loss(readout: nn.Module, features: Tensor, _: Tensor, __: Draws) -> Tensor:
        return readout_loss(readout, features, targets)

    history = training.fit(readout, train.select(selected), loss, c.recipe, seed=seed, checkpoint=checkpoint)
    maps = {name: _predict(readout, features.select(selected)) for name, features in tests.items()}
    rows = [row for name, predicted in maps.items() for row in map_metrics(predicted, targets, name)]
    rows += map_metrics(maps["natural"][:1], targets, "first")
    results = {"maps": rows, "loss": history[-1]["loss"], "n_train": len(inputs.train)}
    if seed == 0:
        first, second = maps["natural"][0], maps["natural"][min(1, len(maps["natural"]) - 1)]
        for name, shown in zip(RECORDED_MAPS, (first, second, maps["natural"].mean(0)), strict=True):
            results[name] = adaptive_avg_pool2d(shown, RECORDED_SIDE).mul(100).round().int().tolist()
    return results


@torch.no_grad()
def _predict(readout: nn.Module, features: FrozenFeatures) -> Tensor:
    return torch.cat([readout(features.batch(index)[0]) for index in torch.arange(len(features)).split(50)])


def predicted_maps(record: Record, which: str = "predicted") -> dict[str, np.ndarray]:
    """Return the maps that a record of seed 0 holds, 0 to 1, by target; `which` is one of `RECORDED_MAPS`."""
    return dict(zip(TARGETS, torch.tensor(record.results[which]).div(100).numpy(), strict=True))


# The readouts to fit: the cells of the paper's tables, and the controls.

class Cell(NamedTuple):
    """One cell of a table and the configuration whose runs fill it; two tables may share a configuration.

    table    "1", "2a", "2b", "3", "4", "6", "fig6", or a control: "matched_channels", "untrained", "trained",
             "untrained_imagenet", "coordinates"
    variant  row of the table: the paper's network and, after a slash, what varies; of a control, what varies
    n_train  number of training images of the readout
    """
    table: str
    variant: str
    config: ReadoutConfig
    n_train: int = 0


@dataclass(frozen=True)
class Encoders:
    """The frozen networks of a page; `make_encoders` builds it.

    trained    small network that classifies photographs
    segmenter  small network that segments digits pasted on photographs
    random     small network before training
    """
    imagenet: tuple[EncoderConfig, ...]
    trained: EncoderConfig
    segmenter: EncoderConfig
    random: EncoderConfig

    @property
    def main(self) -> EncoderConfig:
        """The network of Tables 2 and 3: the first ImageNet network if there is one."""
        return self.imagenet[0] if self.imagenet else self.trained

    @property
    def vgg(self) -> EncoderConfig:
        """The network of Table 4: VGG-16 if its weights are there, else the small VGG.  Both run without padding."""
        return next((c for c in self.imagenet if c.net == "vgg16"), self.trained)

    @property
    def matched(self) -> int:
        """Number of channels that every stage of the main network has."""
        return 8 if self.main.net == "small" else 16


def make_encoders(profile: str, files: dict[str, str], root: Path | str, schedule: str = "") -> Encoders:
    """Return the networks to read: those of `files` (`pretrained.parse_encoders`), and the small ones."""
    small = preset(profile, schedule)["small"]
    return Encoders(tuple(imagenet_configs(files, root)), trained_config("photos", root, **small),
                    trained_config("digits_on_photos", root, **small), EncoderConfig(width=small["width"]))


def plan(profile: str, dataset: str, inputs: ReadoutInputs, encoders: Encoders, schedule: str = "") -> list[Cell]:
    """Return every cell of Tables 1 to 4 and 6, of Fig. 6, and of the controls."""
    chosen = preset(profile, schedule)
    base = ReadoutConfig(profile=profile, dataset=dataset, data=inputs.fingerprint, recipe=chosen["recipe"],
                         **image_scale(profile, dataset, schedule))
    return _cells(base, encoders, chosen["hidden"], len(inputs.train))


def _cells(base: ReadoutConfig, encoders: Encoders, hidden: int | None, n_train: int) -> list[Cell]:
    """Return every cell on the images and with the schedule of `base`; `hidden` channels between the layers of 2a."""
    cells: list[Cell] = []

    def add(table: str, variant: str, encoder: EncoderConfig, **settings) -> None:
        cells.append(Cell(table, variant, replace(base, encoder=encoder, **settings), n_train))

    pixels, coordinates = (EncoderConfig(net=net) for net in ("pixels", "coordinates"))
    main, trained = encoders.main, encoders.trained
    for c in (pixels, trained, *encoders.imagenet):
        add("1", {"pixels": "posenet", "resnet": "resnet"}.get(c.net[:6], "vgg"), c)
    for name, c in (("posenet", pixels), ("vgg", main)):
        for depth in (1, 2, 3):
            add("2a", f"{name}/depth_{depth}", c, depth=depth, hidden=hidden if depth > 1 else None)
        for kernel in (1, 3, 7):
            add("2b", f"{name}/kernel_{kernel}", c, kernel=kernel)
    n_stages = len(KNOWN[main.net].stages) if main.net in KNOWN else SMALL_STAGES
    for stage in range(1, n_stages + 1):
        add("3", f"vgg/stage_{stage}", main, stage=stage)
        add("matched_channels", f"vgg/stage_{stage}", main, stage=stage, channels=encoders.matched)
    add("3", "vgg/all_stages", main)
    for table in ("4", "fig6"):
        for n in (0, 1, 2):
            add(table, f"posenet/padding_{n}" if n else "posenet", pixels, padding=n)
        add(table, "vgg", encoders.vgg)
        add(table, "vgg/padding_removed", replace(encoders.vgg, run_with="none"))
    add("6", "vgg", trained)
    add("6", "vgg/segmentation", encoders.segmenter)

    for mode in (*padding.PADDING_MODES, "none"):
        add("untrained", mode, replace(encoders.random, padding_mode=mode))
    for mode in ("zeros", "none"):
        add("trained", mode, replace(trained, padding_mode=mode))
    for c in encoders.imagenet:
        add("untrained_imagenet", c.net, EncoderConfig(net=c.net))
    add("coordinates", "depth_1", coordinates)
    add("coordinates", "depth_3", coordinates, depth=3, hidden=16)
    return cells


def recorded_cells(runs: Sequence[Record]) -> list[Cell]:
    """Return the cells of all tables that recorded runs fill, whatever their profile, images and schedule.

    Runs on the same images with the same schedule belong together.  Table 2 is taken from those that have most of its
    cells with two seeds or more, and so are all other tables together; of equals from those that read most images.
    A table is left out if a network of it was not read, except that Table 1 may have any networks.
    """
    groups: dict[ReadoutConfig, list[Record]] = {}
    for run in runs:
        c = read_config(run.config)
        groups.setdefault(replace(c, **{name: getattr(ReadoutConfig, name) for name in _VARIED}), []).append(run)
    plans = [_recorded_plan(base, group) for base, group in groups.items()]
    found: list[Cell] = []
    for of_table_2 in (False, True):
        parts = [[cell for cell in cells if (cell.table in ("2a", "2b")) == of_table_2] for cells in plans]
        found += max(parts, key=lambda part: _weight(part, runs), default=[])
    return found


_VARIED = ("encoder", "stage", "channels", "kernel", "depth", "padding", "hidden")   # between the cells of a group


def read_config(description: dict) -> ReadoutConfig | ScratchConfig:
    """Return the configuration that a record describes."""
    def recipe(kind: type[Recipe], values: dict | None) -> Recipe | None:
        return values and kind(**{**values, "betas": tuple(values["betas"])})

    values = {name: value for name, value in description.items() if name != "class"}
    network = "encoder" if "encoder" in values else "network"
    encoder = {**values[network], "recipe": recipe(Recipe, values[network]["recipe"])}
    values[network] = EncoderConfig(**encoder)
    if network == "network":
        return ScratchConfig(**values)
    return ReadoutConfig(**{**values, "recipe": recipe(SgdRecipe, values["recipe"])})


def _recorded_plan(base: ReadoutConfig, group: Sequence[Record]) -> list[Cell]:
    """Return the cells of a group of runs."""
    on_file = {read_config(run.config) for run in group}
    networks = [c.encoder for c in on_file if c.encoder.run_with is None and c.encoder.padding_mode == "zeros"]
    imagenet = {c.net: c for c in networks if c.source == "imagenet"}
    small = {c.source: c for c in networks if c.net == "small"}
    trained, segmenter, random = (small.get(source, EncoderConfig(source=source))
                                  for source in ("photos", "digits_on_photos", "random"))
    encoders = Encoders(tuple(imagenet[name] for name in KNOWN if name in imagenet), trained, segmenter, random)
    hidden = next((c.hidden for c in on_file if c.depth > 1 and c.encoder.net != "coordinates"), None)
    n_train = group[0].results.get("n_train") or base.train_images or 0
    planned = _cells(base, encoders, hidden, n_train)
    incomplete = {cell.table for cell in planned if cell.config not in on_file} - {"1"}
    return [cell for cell in planned if cell.config in on_file and cell.table not in incomplete]


def _weight(cells: Sequence[Cell], runs: Sequence[Record]) -> tuple[int, int]:
    """Order groups: the number of cells with two runs or more, then of images that a readout reads in training."""
    counts = Counter(run.digest for run in runs)
    repeated = sum(counts[digest(cell.config)] >= 2 for cell in cells)
    return repeated, max((_images_read(cell) for cell in cells), default=0)


def _images_read(cell: Cell) -> int:
    recipe = cell.config.recipe
    return recipe.epochs * (recipe.epoch_steps * recipe.batch_size if recipe.epoch_steps else cell.n_train)


def configs(cells: Sequence[Cell], table: str | None = None) -> list[ReadoutConfig]:
    """Return the distinct configurations of all cells, network by network; of one `table`, in its order."""
    if table is not None:
        return [cell.config for cell in cells if cell.table == table]
    networks = list(dict.fromkeys(cell.config.encoder for cell in cells))
    return sorted({cell.config for cell in cells}, key=lambda c: (networks.index(c.encoder), str(c)))


class MapScore(NamedTuple):
    """SPC and MAE of one predicted map: a cell, target, test set and seed.

    network       `EncoderConfig.key`, and `architecture` its `net`
    images        "natural", "black", "white" or "noise"
    spc           mean over the images whose predicted map is not constant; None if all are
    undefined     number of images whose predicted map is constant
    mse           None in records older than this score
    """
    table: str
    variant: str
    network: str
    architecture: str
    seed: int
    target: str
    images: str
    n_images: int
    mae: float
    spc: float | None
    undefined: int
    mse: float | None = None


def map_scores(cells: Sequence[Cell], runs: Sequence[Record], seeds: Sequence[int] | None = None) -> list[MapScore]:
    """Return the scores of every cell in `seeds`, None for all; Table 1 has all seeds that were run.

    In Fig. 6 "natural" is the first natural image alone.
    """
    scores = []
    for table, variant, c, _ in cells:
        name = digest(c)
        for run in sorted((run for run in runs if run.digest == name), key=lambda run: run.seed):
            if seeds is not None and run.seed not in seeds and table != "1":
                continue
            for row in run.results["maps"]:
                if (row["images"] == "first") == (table == "fig6"):
                    values = {**row, "images": "natural" if table == "fig6" else row["images"]}
                    scores.append(MapScore(table, variant, c.encoder.key, c.encoder.net, run.seed, **values))
    return scores


class ReadoutFit(NamedTuple):
    """How a readout of all stages of a network fits training and test images; spc by target map, on natural images.

    loss      of the last epoch, on training images: the sum over all maps of the mean squared error
    test_mse  the same on natural test images; None in records older than this score
    """
    n_train: int
    depth: int
    kernel: int
    seed: int
    loss: float
    test_mse: float | None
    spc: dict[str, float | None]


def readout_fits(runs: Sequence[Record], encoder: EncoderConfig) -> list[ReadoutFit]:
    """Return the fit of every recorded readout of `encoder` without padding of its own, by images and size."""
    fits = []
    for run in runs:
        c = read_config(run.config)
        if c.encoder == encoder and (c.stage, c.channels, c.padding) == (None, None, 0):
            maps = [row for row in run.results["maps"] if row["images"] == "natural"]
            test_mse = sum(row["mse"] for row in maps) if all("mse" in row for row in maps) else None
            fits.append(ReadoutFit(run.results.get("n_train") or c.train_images or 0, c.depth, c.kernel, run.seed,
                                   run.results["loss"], test_mse, {row["target"]: row["spc"] for row in maps}))
    return sorted(fits, key=lambda fit: fit[:4])


# Table 5: networks trained from scratch.  An unpadded 3x3 convolution crops one pixel of its own map on every side, the
# eight of the small network two at each stride.  OFFSET pixels are cut off the left and top of the unpadded network's
# image, so that its map lies on the grid of the padded one.
OFFSET = 2
WINDOW_START = OFFSET + 2 * (1 + 2 + 4 + 8)


@lru_cache
def window_side(crop: int) -> int:
    """Return the side in pixels of the window that the unpadded network's map covers in an image of side `crop`."""
    with torch.device("meta"):
        net = padding.remove_padding(classifiers.vgg(1, 1, task="segment")).eval()
        return net(torch.zeros(1, 3, crop - OFFSET, crop - OFFSET)).shape[-1]


def crop_to_window(logits: Float[Tensor, "batch label y x"], labels: LabelMaps) -> tuple[Tensor, Tensor]:
    """Crop both to the window that an unpadded map covers; unpadded logits are that window already."""
    side = window_side(labels.shape[-1])
    window = slice(WINDOW_START, WINDOW_START + side)
    return logits if logits.shape[-1] == side else logits[..., window, window], labels[:, window, window]


def resize_to_image(logits: Float[Tensor, "batch label y x"], labels: LabelMaps) -> tuple[Tensor, Tensor]:
    """Resize smaller logits to the whole image."""
    size = labels.shape[1:]
    return logits if logits.shape[-2:] == size else interpolate(logits, size, mode="bilinear"), labels


SCORED_ON = {"picture": resize_to_image, "window": crop_to_window}


def run_scratch(
    c: ScratchConfig, seed: int, checkpoint: training.Checkpoint | Path | None, *, splits: Splits, workspace: Workspace
) -> dict:
    """Train a small network from scratch to segment images.  -> mean IoU, 0 to 1, on whole images and on the window."""
    mode = c.network.padding_mode
    with seeded(seed):
        net = classifiers.vgg(len(splits.train.classes), c.network.width, task="segment")
    net = padding.remove_padding(net) if mode == "none" else padding.set_padding_mode(net, mode)
    first = OFFSET if mode == "none" else 0
    fitted = SCORED_ON["window" if c.window else "picture"]

    def loss(net: nn.Module, images: Tensor, labels: Tensor, _: Draws) -> Tensor:
        return cross_entropy(*fitted(net(images[..., first:, first:]), labels), ignore_index=VOID)

    training.fit(net, splits.train, loss, c.network.recipe, seed=seed, checkpoint=checkpoint)
    test = splits.test.to(workspace.device)
    counts = dict.fromkeys(SCORED_ON, 0)
    for images, labels in map(test.batch, torch.arange(len(test), device=workspace.device).split(40)):
        with torch.no_grad():
            logits = net(images[..., first:, first:])
        for name, resize in SCORED_ON.items():
            resized, target = resize(logits, labels)
            counts[name] += metrics.confusion(resized.argmax(1), target, len(test.classes)).sum((0, 1))
    return {name: metrics.mean_iou(metrics.class_counts(count)).item() for name, count in counts.items()}


def scratch_configs(profile: str, dataset: str, splits: Splits, schedule: str = "") -> list[ScratchConfig]:
    """Return zero, reflect and no padding on whole images, and no padding on the window."""
    base = EncoderConfig(source=dataset, data=splits.train.fingerprint, **preset(profile, schedule)["scratch"])
    return [ScratchConfig(profile=profile, network=replace(base, padding_mode=mode), window=window)
            for mode, window in (("zeros", False), ("reflect", False), ("none", False), ("none", True))]


def recorded_scratch(runs: Sequence[Record]) -> list[Record]:
    """Return the recorded runs of Table 5 on one image set with one schedule: of several, those that have most runs."""
    groups: dict[EncoderConfig, list[Record]] = {}
    for run in runs:
        groups.setdefault(replace(read_config(run.config).network, padding_mode="zeros"), []).append(run)
    return max(groups.values(), key=len, default=[])


class MiouScore(NamedTuple):
    """Mean IoU, in percent, of one network trained from scratch; scored_on is "picture" or "window"."""
    padding_mode: str
    scored_on: str
    seed: int
    miou: float


def scratch_scores(runs: Sequence[Record]) -> list[MiouScore]:
    """Return the scores of networks trained from scratch; an unpadded one is scored only where it was trained."""
    scores = []
    for run in runs:
        mode = run.config["network"]["padding_mode"]
        trained_on = "window" if run.config["window"] else "picture"
        scores += [MiouScore(mode, scored_on, run.seed, 100 * miou) for scored_on, miou in run.results.items()
                   if mode != "none" or scored_on == trained_on]
    return scores
