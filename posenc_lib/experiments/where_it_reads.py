"""Where on its map GAPNet's evidence for the location is, and whether its head itself responds to the border.

GAPNet's head convolves the feature map f to one channel per label and averages: logit_k = mean over positions of m_k.
So before the average there is a map m_k of each label's confidence, and a prediction is a sum of votes over positions.
Source: the released GAPNet of ICCV 2021, Sec. 3, whose head is a 3x3 convolution padded with zeros; the text names
Network in Network as a second backbone.  The measurements are this book's.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from posenc_lib.base.checks import check_choice
from posenc_lib.base.shapes import Features, Images, Labels
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments import gapnet_vs_permutenet as gapnet
from posenc_lib.experiments.gapnet_vs_permutenet import CanvasTask, PlacementConfig
from posenc_lib.measure import canvas
from posenc_lib.nets import classifiers
from posenc_lib.nets.padding import set_padding_mode
from posenc_lib.run import training
from posenc_lib.run.config import Recipe
from posenc_lib.run.records import Record

HEADS = ("zeros", "circular", "1x1")      # of the head's convolution: 3x3 with this padding, or 1x1
BACKBONES = ("zeros", "circular")         # padding of everything before it
REGIONS = ("image", "border", "empty")    # of the map, see `regions`

# Schedules on digits; "reference" is the committed CPU run.
SCHEDULES = {
    "smoke": {name: {"width": 2, "test_images": 4,
                     "recipe": Recipe(epochs=1, epoch_steps=1, batch_size=4, flip=False)}
              for name in ("resnet18", "nin")},
    "quick": {"resnet18": {"width": 4, "test_images": 20,
                           "recipe": Recipe(epochs=1, epoch_steps=32, batch_size=12, learning_rate=4e-3, flip=False)},
              "nin": {"width": 4, "test_images": 20,
                      "recipe": Recipe(epochs=1, epoch_steps=32, batch_size=12, learning_rate=4e-3, flip=False)}},
    "reference": {"resnet18": {"width": 8, "test_images": 100,
                               "recipe": Recipe(epochs=2, epoch_steps=40, batch_size=24, learning_rate=2e-3,
                                                flip=False)},
                  "nin": {"width": 8, "test_images": 100,
                          "recipe": Recipe(epochs=4, epoch_steps=60, batch_size=12, learning_rate=4e-3,
                                           flip=False)}},
}


@dataclass(frozen=True)
class ReadsConfig:
    """A GAPNet trained for location whose head may be padded differently from the rest.

    placement  the network, its task and its schedule; its padding_mode is that of the backbone
    head       one of `HEADS`; "zeros" is the released head
    revision   raised by hand whenever a change alters this experiment's numbers
    """
    placement: PlacementConfig
    head: str = "zeros"
    revision: int = 1

    def __post_init__(self):
        check_choice("head", self.head, HEADS)


def configs(schedule: str, data: str) -> list[ReadsConfig]:
    """ResNet-18 with every padding of backbone and head, and NIN as released and, with the schedule "reference", with a
    circular backbone under the head as released and under a circular one.  On digits, at 3x3.

    schedule  a key of `SCHEDULES`
    data      fingerprint of the image set
    """
    pairs = {"resnet18": [(padding_mode, head) for padding_mode in BACKBONES for head in HEADS],
             "nin": [("zeros", "zeros"), ("circular", "zeros"), ("circular", "circular")]}
    if schedule != "reference":
        pairs["nin"] = pairs["nin"][:1]
    return [ReadsConfig(PlacementConfig(profile=schedule, dataset="digits", data=data, backbone=backbone,
                                        padding_mode=padding_mode, **SCHEDULES[schedule][backbone]), head)
            for backbone, of_backbone in pairs.items() for padding_mode, head in of_backbone]


def build(c: ReadsConfig, images: ImageSet) -> classifiers.Backbone:
    """Build the untrained network, drawing from torch's global generator.  Its head is padded according to `c.head`.

    With both 3x3 heads it starts from the weights of `gapnet_vs_permutenet.build`.
    """
    net = gapnet.build(c.placement, images)
    if c.head == "1x1":
        net.head[0] = nn.Conv2d(net.channels, gapnet.n_outputs(c.placement, images), 1)
    else:
        set_padding_mode(net.head, c.head)
    return net


def confidence_maps(net: nn.Module, canvases: Images) -> Features:
    """What GAPNet's head averages: the map m_k of each label (batch, label, row, col), whose mean is the logit."""
    return net.head[0](net.features(canvases))


def evidence(maps: Float[Tensor, "batch label row col"], label: Labels) -> Float[Tensor, "batch row col"]:
    """Confidence in the correct label minus the mean confidence in the others, at each position.

        e(p) = m_t(p) - 1 / (K - 1) sum over k != t of m_k(p)

    Unit: logits; the mean over positions is the margin of the correct logit over the mean of the others.
    """
    correct = maps[torch.arange(len(maps), device=maps.device), label]
    others = (maps.sum(1) - correct) / (maps.shape[1] - 1)
    return correct - others


def regions(side: int, grid: int) -> Bool[Tensor, "region cell {side} {side}"]:
    """Which positions of a map of `side` x `side` belong to each of `REGIONS`, with the image in each of the cells.

    image   the positions over the image's cell
    border  the outermost ring of the map, without those
    empty   the rest
    ValueError if the cells do not consist of whole positions.
    """
    if side % grid:
        raise ValueError(f"regions: a map of {side}x{side} cannot be cut into {grid}x{grid} cells; choose images whose "
                         "side is a multiple of the total stride")
    one = torch.ones(grid ** 2, 1, side // grid, side // grid)
    image = canvas.place(one, torch.arange(grid ** 2), grid)[:, 0] > 0
    ring = torch.ones(side, side, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    return torch.stack([image, ring & ~image, ~ring & ~image])


@torch.no_grad()
def measure(c: PlacementConfig, net: nn.Module, images: ImageSet, device: torch.device) -> dict:
    """Confidence maps of a trained network with every image in every cell.  -> part of the record, see `run`."""
    task, images = CanvasTask(c, images, device), images.to(device)
    total, right, hits = [], [], 0
    for cell in range(task.cells):
        maps = []
        for index in torch.arange(len(images), device=device).split(100):
            canvases, _ = task.canvases(*images.batch(index), torch.full_like(index, cell))
            maps.append(confidence_maps(net, canvases).float())
        maps = torch.cat(maps)
        label = torch.full((len(maps),), cell, device=device)
        total.append(evidence(maps, label).mean(0))
        right.append((maps.argmax(1) == cell).float().mean(0))
        hits += int((maps.mean((-2, -1)).argmax(1) == cell).sum())
    side = c.grid * images.images.shape[-1]
    blank = torch.zeros(1, 3, side, side, device=device)
    blank = blank + (task.fill if isinstance(task.fill, float) else task.fill.reshape(-1, 1, 1))
    cells = torch.arange(task.cells, device=device)
    empty = evidence(confidence_maps(net, blank).float().expand(task.cells, -1, -1, -1), cells)
    total, right = torch.stack(total), torch.stack(right)   # (cell, row, col)
    where = regions(total.shape[-1], c.grid).to(device)
    positions = total[0].numel()

    def votes(maps: Tensor) -> dict[str, float]:
        """Contribution of each region to the margin, mean over cells, in logits."""
        return {name: ((maps * inside).sum() / (positions * task.cells)).item()
                for name, inside in zip(REGIONS, where, strict=True)}

    return {"accuracy": hits / (task.cells * len(images)),
            "evidence": _rounded(total), "empty_canvas": _rounded(empty),
            "votes": votes(total), "votes_changed": votes(total - empty),
            "area": {name: inside.float().mean().item() for name, inside in zip(REGIONS, where, strict=True)},
            "right": {name: right[inside].mean().item() if inside.any() else None
                      for name, inside in zip(REGIONS, where, strict=True)}}


def _rounded(maps: Float[Tensor, "cell row col"]) -> list[list[list[float]]]:
    return [[[round(value, 3) for value in row] for row in rows] for rows in maps.tolist()]


def run(c: ReadsConfig, seed: int, checkpoint: training.Checkpoint | Path | None = None, *, splits: Splits,
        device: torch.device) -> dict:
    """Train and measure one network.  -> results of the record

    accuracy       of the location, every test image in every cell, 0..1
    evidence       mean over test images of `evidence` with the image in each cell (cell, row, col), in logits
    empty_canvas   `evidence` for each cell on a canvas without an image
    votes          contribution of each of `REGIONS` to the margin: the sum of its evidence over the number of
                   positions, mean over cells.  Together they are the mean margin
    votes_changed  the same of evidence minus empty_canvas: what placing the image changed
    area           fraction of the map in each region, mean over cells
    right          how often a position of the region alone, by its highest confidence, predicts the correct cell, 0..1
    loss           in the last epoch
    """
    torch.manual_seed(seed)
    net = build(c, splits.train).to(device)
    task = CanvasTask(c.placement, splits.train, device)
    history = training.fit(net, splits.train, task.loss, c.placement.recipe, seed=seed, checkpoint=checkpoint)
    test = splits.test.take(slice(c.placement.test_images))
    with training.autocast(device):
        return {**measure(c.placement, net, test, device), "loss": history[-1]["loss"]}


# ---- the results as tables, one row per run

def accuracies(runs: Sequence[Record]) -> pd.DataFrame:
    """Columns: backbone, padding_mode (of the backbone), head, seed, accuracy (percent)."""
    return pd.DataFrame([{"backbone": r.config["placement"]["backbone"],
                          "padding_mode": r.config["placement"]["padding_mode"], "head": r.config["head"],
                          "seed": r.seed, "accuracy": 100 * r.results["accuracy"]} for r in runs],
                        columns=["backbone", "padding_mode", "head", "seed", "accuracy"])


def released(runs: Sequence[Record], backbone: str) -> list[Record]:
    """The runs of one backbone in which backbone and head are both padded with zeros, as in the released GAPNet."""
    return [r for r in runs if (r.config["placement"]["backbone"], r.config["placement"]["padding_mode"],
                                r.config["head"]) == (backbone, "zeros", "zeros")]


def mean_maps(runs: Sequence[Record], *, changed: bool) -> Float[Tensor, "cell row col"] | None:
    """Evidence with the image in each cell, mean over runs; None without runs.

    changed  minus that of the empty canvas
    """
    if not runs:
        return None
    maps = [torch.tensor(r.results["evidence"]) - changed * torch.tensor(r.results["empty_canvas"]) for r in runs]
    return torch.stack(maps).mean(0)


def by_region(runs: Sequence[Record]) -> pd.DataFrame:
    """Where the evidence lies, means over runs, in percent, one row per region.

    Columns: region, area (of the map), share (of the margin), share_changed (of what placing the image changed; both
    nan if there is nothing to share), right (see `run`), n (runs)
    """
    def share(votes: dict[str, float], region: str) -> float:
        total = sum(votes.values())
        return 100 * votes[region] / total if total else nan

    rows = [{"region": region, "area": 100 * r.results["area"][region], "share": share(r.results["votes"], region),
             "share_changed": share(r.results["votes_changed"], region),
             "right": None if r.results["right"][region] is None else 100 * r.results["right"][region]}
            for r in runs for region in REGIONS]
    if not rows:
        return pd.DataFrame(columns=["region", "area", "share", "share_changed", "right", "n"])
    return pd.DataFrame(rows).groupby("region", sort=False).mean().reset_index().assign(n=len(runs))


def on_an_empty_canvas(runs: Sequence[Record]) -> dict[str, float]:
    """How much of the evidence for the image's cell an empty canvas already gives, in percent, by kind of cell on a 3x3
    canvas; sums over these cells and over runs.  Empty without runs.

    Over all nine cells it is 0: on an empty canvas, evidence for some cells is evidence against the others.
    """
    kinds = {"corners": [0, 2, 6, 8], "edges": [1, 3, 5, 7], "the centre": [4]}
    if not runs:
        return {}
    total, empty = (sum(torch.tensor(r.results[name]).sum((1, 2)) for r in runs) for name in ("evidence",
                                                                                               "empty_canvas"))
    return {kind: 100 * (empty[cells].sum() / total[cells].sum()).item() for kind, cells in kinds.items()}
