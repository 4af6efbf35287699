"""Page 06: train DeepLabv3 segmenters, rank the channels of a layer, and ablate them, over the image and by region.

Source: Islam et al., ICCV 2021, Sec. 4.2; released code where the text leaves something open.
"""
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Images, LabelMaps, Latents
from posenc_lib.data import imageset
from posenc_lib.experiments import ablation
from posenc_lib.experiments.ablation import Ablation, Planned, Preset
from posenc_lib.measure import canvas, channels, metrics
from posenc_lib.nets import pretrained, segmenters
from posenc_lib.nets.heads import gap
from posenc_lib.nets.padding import PADDING_MODES, set_padding_mode
from posenc_lib.nets.segmenters import BACKBONES, STAGES, Segmenter
from posenc_lib.run import config, records
from posenc_lib.run.config import PolyRecipe, Workspace
from posenc_lib.run.training import Checkpoint, fit

REGION_FRACTION = 300 / 2048   # from this fraction on, regions are ablated too; the released code's folder names 300
RULES = ("flip", "shift", "decodability", "rms_activation")
SIDES = ("left", "right")
BOOTSTRAP_DRAWS = 500
OPPOSITE = {"left": "right", "top": "bottom", "centre": "periphery"}
OPPOSITE |= {opposite: region for region, opposite in OPPOSITE.items()}


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """One network of page 06: how it is trained, and how its channels are ranked and ablated.

    data               fingerprint of the image set
    net, width, output_stride, rates, head, plus   see `Segmenter`; the defaults are the authors'
    weights            "" for random initialisation, "imagenet" for an ImageNet backbone, else the fingerprint of a
                       checkpoint
    flip_augmentation  train on horizontally flipped images with probability 1/2, as the authors did
    balance            weight a class with pixel fraction p by p^-balance in the loss; 0 weights all classes equally
    crop               rows and columns of training crops; None means whole images
    jitter             brightness, contrast and saturation are each multiplied by 1 - jitter .. 1 + jitter
    layer              whose channels are ranked and ablated
    rank_images        number of training images to rank on; None means all
    test_images        number of test images to evaluate ablations on; None means all
    fractions          of the channels to ablate; 100 / 2048 is the authors' script, 300 / 2048 their folder's name
    n_random_sets      random sets of channels at each fraction, and as many RMS-matched ones
    revision           2: RMS-matched sets are drawn from the channels that are not flip-ranked
    """
    profile: str
    dataset: str
    data: str
    net: str = "resnet50"
    width: int | None = None
    output_stride: int = 16
    rates: tuple[int, ...] = (6, 12, 18)
    head: int = 256
    plus: bool = False
    padding_mode: str = "zeros"
    weights: str = ""
    flip_augmentation: bool = True
    balance: float = 0.0
    crop: tuple[int, int] | None = None
    jitter: float = 0.5
    layer: str = "layer4"
    rank_images: int | None = None
    test_images: int | None = None
    fractions: tuple[float, ...] = (100 / 2048, 300 / 2048, 1000 / 2048)
    n_random_sets: int = 20
    recipe: PolyRecipe = field(default_factory=PolyRecipe)
    revision: int = 2

    def __post_init__(self):
        check_choice("padding_mode", self.padding_mode, PADDING_MODES)
        check_choice("layer", self.layer, STAGES)


# The small network and its schedules are choices of this book.  "paper" follows the released script, with an ImageNet
# backbone.  Its 30,000 steps of 16 images are 161 epochs of Cityscapes' 2,975 images, but would be 1,308 of CamVid's
# 367: there it trains for 200 epochs of 23 steps, 4,600 in all, with the same learning rates, which fall to 0 likewise.
SMALL = {"net": "resnet18", "plus": True, "rates": (1, 2, 3), "balance": 0.3, "jitter": 0.0}
FAST = {"learning_rate": 1e-2, "adamw": True, "backbone_scale": 1.0}
FEW_SCENES = {"train": range(16), "test": range(10_000, 10_006)}
SMOKE = Preset((32, 64), {
    **SMALL, "width": 2, "output_stride": 8, "head": 4, "rank_images": 8, "test_images": 6, "n_random_sets": 2,
    "recipe": PolyRecipe(epochs=2, epoch_steps=1, batch_size=4, **FAST)}, FEW_SCENES)
QUICK_STREETS = Preset((64, 128), {
    **SMALL, "width": 8, "head": 16, "rank_images": 60, "n_random_sets": 8,
    "recipe": PolyRecipe(epochs=12, epoch_steps=12, batch_size=4, **FAST)},
    {"train": range(240), "test": range(10_000, 10_032)})
QUICK = Preset((120, 160), {
    **SMALL, "width": 16, "head": 48, "rank_images": 150, "test_images": 120,
    "recipe": PolyRecipe(epochs=20, epoch_steps=50, batch_size=8, **FAST)})
PAPER_CAMVID = Preset((360, 480), {"weights": "imagenet", "recipe": PolyRecipe(epochs=200, epoch_steps=23)})
PAPER_CITYSCAPES = Preset((512, 1024), {"weights": "imagenet", "crop": (512, 512)})   # half size, to fit in memory
PRESETS = {
    "smoke": {"any": SMOKE},
    "quick": {"streets": QUICK_STREETS, "any": QUICK},
    "paper": {"camvid": PAPER_CAMVID, "cityscapes": PAPER_CITYSCAPES, "any": PAPER_CITYSCAPES},
}
# For `network="small"` in profile "paper": enough networks for a verdict in minutes on a GPU.  The 1,000 steps of 8 of
# QUICK are 22 epochs of CamVid; this trains for 100.
PAPER_SMALL = Preset((120, 160), {
    **SMALL, "width": 32, "head": 96, "recipe": PolyRecipe(epochs=100, epoch_steps=23, **FAST)})
# The same in profile "quick" on photographs: as small as 1,000 steps at width 16 come in two CPU minutes, with the loss
# at more numbers of channels, as in supplement S3.  Without the skip, as in the authors' network: at this size one with
# it hardly needs f, and loses nothing when half of the channels are removed.  A stride of 8 makes f 6 x 8.
QUICK_SMALL = Preset((48, 64), {
    **SMALL, "plus": False, "output_stride": 8, "width": 16, "head": 24, "rank_images": 100, "test_images": 120,
    "n_random_sets": 10,
    "fractions": tuple(n / 2048 for n in (100, 200, 300, 500, 700, 1000)),
    "recipe": PolyRecipe(epochs=20, epoch_steps=50, batch_size=4, **FAST)})
MANY_SEEDS = 15
MANY_CONTROL_SEEDS = 4
# Networks that replace a profile's; "torchvision" is torchvision's DeepLabv3-ResNet50.
AUTHORS = {"width": None, "output_stride": 16, "rates": (6, 12, 18), "head": 256, "plus": False}
NETWORKS = {**{name: {"net": name, **AUTHORS} for name in BACKBONES},
            "torchvision": {"net": "resnet50", **AUTHORS, "output_stride": 8, "rates": (12, 24, 36)}}


def preset(profile: str, dataset: str, network: str = "") -> Preset:
    """Return the preset of a profile for an image set.

    network  replaces the profile's: one of `NETWORKS`, or "small" for many small ones (`trains_many`)
    """
    check_choice("network", network, ("", "small", *NETWORKS))
    if trains_many(profile, dataset, network):
        return PAPER_SMALL if profile == "paper" else QUICK_SMALL
    chosen = ablation.select(PRESETS, profile, dataset)
    return chosen._replace(settings={**chosen.settings, **NETWORKS.get(network, {})})


def trains_many(profile: str, dataset: str, network: str) -> bool:
    """Whether enough small networks are trained for a verdict.  Those of smoke, and of quick on streets, are small
    anyway, and too few.
    """
    return network == "small" and (profile == "paper" or (profile == "quick" and dataset != "streets"))


def n_seeds(profile: str, dataset: str, network: str = "") -> int:
    """Return the number of plain networks that a profile trains."""
    return MANY_SEEDS if trains_many(profile, dataset, network) else config.SEEDS[profile]


def configs(profile: str, dataset: str, data: str, *, network: str = "", layer: str = "layer4", backbone: str = "",
            checkpoint: str = "", steps: int = 0) -> dict[str, SegmenterConfig]:
    """Return the configs to run by name: "plain", and the control networks.

    backbone    "random" or "imagenet"; "" keeps the preset's
    checkpoint  file of a trained network, ablated instead of training one; there are no control networks then
    steps       optimizer steps of each training, rounded up to whole epochs; 0 keeps the preset's
    """
    check_choice("backbone", backbone, ("", "random", "imagenet"))
    settings = dict(preset(profile, dataset, network).settings)
    if checkpoint:
        settings["weights"] = pretrained.fingerprint("", "", checkpoint)
    elif backbone:
        settings["weights"] = "imagenet" if backbone == "imagenet" else ""
    plain = SegmenterConfig(profile=profile, dataset=dataset, data=data, layer=layer, **settings)
    if steps:
        epoch_steps = -(-steps // plain.recipe.epochs)
        plain = replace(plain, recipe=replace(plain.recipe, epoch_steps=epoch_steps))
    if checkpoint:
        return {"plain": plain}
    control = replace(plain, n_random_sets=min(5, plain.n_random_sets), fractions=plain.fractions[1:])
    networks = {"plain": plain, "circular_padding": replace(control, padding_mode="circular"),
                "never_flipped": replace(control, flip_augmentation=False)}
    if plain.plus and dataset != "streets":   # streets would take too long
        networks["without_skip"] = replace(control, plus=False)
    return networks


def collect(networks: Mapping[str, SegmenterConfig], seeds: Sequence[int], run: Callable[..., dict],
            workspace: Workspace) -> list[records.Record]:
    """Run or load all seeds of the plain network and the first ones of the controls (two, one on streets; beside many
    plain networks `MANY_CONTROL_SEEDS` with circular padding); sorted by network, then seed.

    run  `run` of this module with everything but config, seed and checkpoint bound
    """
    plain = networks["plain"]
    first = seeds[:1 if plain.dataset == "streets" else 2]
    options = {"workspace": workspace, "before": partial(check_weights, plain, workspace.data),
               "side_by_side": 4 if plain.width else 1}          # small networks leave room on a GPU
    runs = records.run_or_load("region_attack", list(networks.values()), run, seeds=first, optional=True, **options)
    runs += records.run_or_load("region_attack", [plain], run, seeds=seeds[len(first):], optional=True, **options)
    if len(seeds) >= MANY_SEEDS and "circular_padding" in networks:
        runs += records.run_or_load("region_attack", [networks["circular_padding"]], run,
                                    seeds=seeds[len(first):MANY_CONTROL_SEEDS], optional=True, **options)
    if not runs:
        return []
    records.complete_seeds(runs, list(networks.values()))    # at least one seed of each
    order = [config.digest(c) for c in networks.values()]
    return sorted(runs, key=lambda r: (order.index(r.digest), r.seed))


def build(c: SegmenterConfig, num_classes: int) -> Segmenter:
    """Return the network of a config, with random weights from torch's global generator."""
    net = Segmenter(c.net, num_classes, width=c.width, output_stride=c.output_stride, rates=c.rates, head=c.head,
                    plus=c.plus)
    return net if c.padding_mode == "zeros" else set_padding_mode(net, c.padding_mode)


def check_weights(c: SegmenterConfig, root: Path | str) -> None:
    """Raise now what would otherwise be raised when training starts from missing or damaged weights."""
    if c.weights == "imagenet":
        segmenters.from_imagenet(build(c, 2), c.net, root)


def class_weights(images: imageset.ImageSet, balance: float) -> Float[Tensor, " label"]:
    """Weight of each class in the loss: its fraction of the labelled pixels to the power -balance; 1 on average over
    pixels, 0 for a class that does not occur.
    """
    labelled = images.labels[images.labels != imageset.VOID]
    fraction = labelled.bincount(minlength=len(images.classes)).double() / len(labelled)
    weight = torch.where(fraction > 0, fraction.clamp(min=1e-9) ** -balance, 0.0)
    return (weight / (weight * fraction).sum()).float()


def augment(c: SegmenterConfig, images: Images, labels: LabelMaps, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return a random crop of a batch, each image and its label map flipped with probability 1/2, with colour jitter.

    images  0..1, not normalised
    """
    rows, cols = images.shape[-2:]

    def uniform() -> Tensor:
        return draws(torch.rand, len(images), 1, 1, 1)

    if c.crop is not None:
        for axis, side, limit in zip((-2, -1), c.crop, (rows, cols), strict=True):
            side = min(side, limit)
            window = draws(torch.randint, limit - side + 1, ()) + torch.arange(side, device=images.device)
            images, labels = images.index_select(axis, window), labels.index_select(axis, window)
    if c.flip_augmentation:
        chosen = uniform() < 0.5
        images = torch.where(chosen, images.flip(-1), images)
        labels = torch.where(chosen[:, 0], labels.flip(-1), labels)
    if c.jitter:
        brightness, contrast, saturation = (1 + c.jitter * (2 * uniform() - 1) for _ in range(3))
        images = brightness * images
        average = images.mean((1, 2, 3), keepdim=True)
        images = average + contrast * (images - average)
        grey = images.mean(1, keepdim=True)
        images = (grey + saturation * (images - grey)).clamp(0, 1)
    return images, labels


def objective(
    c: SegmenterConfig,
    train: imageset.ImageSet,
    weight: Float[Tensor, " label"],
    net: nn.Module,
    images: Images,
    labels: LabelMaps,
    draws: Draws,
) -> Float[Tensor, ""]:
    """Cross-entropy over the labelled pixels of an augmented batch; `weight` is from `class_weights`.

    train, weight  on the device of the images, to avoid a copy in every step
    """
    mean, std = train.per_colour
    images, labels = augment(c, images * std + mean, labels, draws)
    logits = net((images - mean) / std)
    logits = logits.permute(0, 2, 3, 1).flatten(0, 2)          # reductions are faster with classes last
    return cross_entropy(logits, labels.flatten(), weight=weight, ignore_index=imageset.VOID)


def train_segmenter(c: SegmenterConfig, seed: int, checkpoint: Checkpoint | None, train: imageset.ImageSet,
                    workspace: Workspace, trained: str = "") -> tuple[Segmenter, float | None]:
    """Return a trained network and the loss of its last epoch.

    trained  file of a trained network to load instead; its loss is None
    """
    torch.manual_seed(seed)
    net = build(c, len(train.classes))
    if trained:
        return segmenters.load_checkpoint(net, trained).to(workspace.device), None
    if c.weights == "imagenet":
        segmenters.from_imagenet(net, c.net, workspace.data)
    weight = class_weights(train, c.balance).to(workspace.device)
    loss = partial(objective, c, train.to(workspace.device), weight)
    return net, fit(net, train, loss, c.recipe, seed=seed, checkpoint=checkpoint)[-1]["loss"]


@torch.no_grad()
def sweep(net: Segmenter, images: imageset.ImageSet, ablations: Sequence[Ablation], *, layer: str = "layer4",
          batch: int = 20) -> Int[Tensor, "ablation image zone 3 label"]:
    """Segment every image under every ablation: `metrics.class_counts` by image and zone of `canvas.zones`.

    Runs the network up to `layer` once per image, and the rest once per ablation.  Equals a full evaluation under
    `hooks.ablated(net, "backbone." + layer, ablation.channels)`.
    """
    zones = canvas.zones(*images.images.shape[-2:]).to(images.images.device)
    batches = []
    for index in progress.bar(torch.arange(len(images), device=images.images.device).split(batch), "ablations"):
        pixels, labels = images.batch(index)
        f, low = net.features(pixels, layer)
        counts = []
        for ablate in ablations:
            logits = net.decode(ablate(f), low, tuple(labels.shape[-2:]), layer)
            predictions = logits.max(1).indices                                      # argmax is 4 times as slow
            confusion = metrics.confusion(predictions, labels, len(images.classes), zones)
            counts.append(metrics.class_counts(confusion))
        batches.append(torch.stack(counts).int().cpu())
    return torch.cat(batches, 1)


def region_iou(counts: Int[Tensor, "ablation image zone 3 label"], region: str = "", *,
               weights: Float[Tensor, "draw image"] | None = None) -> Float[Tensor, "ablation draw"]:
    """Mean IoU, 0..1, of every ablation within a region ("" is the whole image), over the classes labelled there.

    weights  how often each image counts, one row per bootstrap draw; None counts each once (one draw)
    """
    zones = list(canvas.REGIONS[region]) if region else slice(None)
    by_image = counts[:, :, zones].sum(2).double()                                  # (ablation, image, 3, label)
    classes = by_image[0, :, 1].sum(0) > 0
    weights = torch.ones(1, counts.shape[1]) if weights is None else weights
    return metrics.mean_iou(torch.einsum("dn,rnil->rdil", weights.double(), by_image), classes)


def plan(c: SegmenterConfig, rank: channels.Ranking, seed: int) -> Iterator[Planned]:
    """Yield the ablations of `ablation.plan`; at every fraction the flip-ranked set replaced by its mean activations,
    and the channels ranked for left and for right by signed response, as in supplement S3; at `REGION_FRACTION` and the
    largest fraction, for every region, the channels ranked for it by signed response and by activation inside minus
    outside, and the flip-ranked set ablated inside the region only.
    """
    yield from ablation.plan(rank, c.fractions, [c.n_random_sets] * len(c.fractions), seed)
    for fraction in c.fractions:
        n = ablation.n_channels(fraction, len(rank.mean))
        flip = channels.top_channels(rank.rules["flip"], n)
        yield Planned("flip_mean", fraction, n, Ablation(flip, rank.mean))
        every = fraction in (REGION_FRACTION, max(c.fractions))
        for region in canvas.REGIONS if every else SIDES:
            signed = channels.top_channels(rank.signed[region], n)
            yield Planned("signed", fraction, n, Ablation(signed), region)
            if not every:
                continue
            active = channels.top_channels(rank.active[region], n)
            yield Planned("active", fraction, n, Ablation(active), region)
            yield Planned("only_there", fraction, n, Ablation(flip, inside=region), region)


def attack(c: SegmenterConfig, net: Segmenter, rank: channels.Ranking, seed: int, test: imageset.ImageSet) -> dict:
    """Evaluate every ablation of the plan on test images.

    Returns results of a record: "rows", percent of mean IoU over the whole image and by region; "gaps", points that a
    ranking costs beyond random sets; "specificity", points that an ablation for a region costs inside minus outside,
    minus the same for random sets; and scores of the network with nothing ablated.
    """
    planned = list(plan(c, rank, seed))
    images = test.subsample(c.test_images)
    batch = ablation.batch_size(images.images.device, *images.images.shape[-2:])
    counts = sweep(net, images, [p.ablation for p in planned], layer=c.layer, batch=batch)
    weights = ablation.bootstrap_weights(len(images), BOOTSTRAP_DRAWS, seed)
    iou = {region: region_iou(counts, region, weights=weights) for region in ("", *canvas.REGIONS)}

    tags = pd.DataFrame([p.tags for p in planned])
    rows = tags.assign(**{region or "miou": 100 * values[:, 0] for region, values in iou.items()})
    positions = tags.groupby(["kind", "fraction"]).indices

    def cost(ablations: Sequence[int] | np.ndarray, region: str = "") -> Float[Tensor, " draw"]:
        return iou[region][0] - iou[region][ablations].mean(0)

    costs = {key: cost(ablations) for key, ablations in positions.items()}
    specificity = []
    for at, (kind, fraction, n, _, region, _) in enumerate(planned):
        if region is None:
            continue
        random, opposite = positions["random", fraction], OPPOSITE[region]
        excess = cost([at], region) - cost([at], opposite)
        usual = cost(random, region) - cost(random, opposite)
        specificity.append({"kind": kind, "fraction": fraction, "n": n, "region": region,
                            **ablation.value_with_interval(excess - usual, scale=100)})
    intact = counts[0].sum((0, 1))                                                   # (3, label)
    return {"miou": float(rows["miou"][0]) / 100,
            "accuracy": float(intact[0].sum() / intact[1].sum()),
            "iou": [None if value != value else value for value in metrics.class_iou(intact).tolist()],
            "rows": json.loads(rows.to_json(orient="records", double_precision=4)),
            "gaps": ablation.ranking_gaps(costs, RULES, c.fractions, scale=100),
            "specificity": specificity}


def agreement(rank: channels.Ranking) -> dict:
    """Spearman's correlation and the number of shared top channels of every pair of rankings, and how many of the top
    flip-ranked channels stay so when images are resampled; at `REGION_FRACTION`.
    """
    n = max(1, round(REGION_FRACTION * len(rank.mean)))
    sides = {f"signed_{region}": rank.signed[region] for region in ("left", "right")}
    rankings = {**rank.rules, **sides}
    pairs = [{"first": first, "second": second, "spearman": channels.rank_correlation(x, y),
              "shared": channels.overlap(channels.top_channels(x, n), channels.top_channels(y, n))}
             for first, x in rankings.items() for second, y in rankings.items()]
    kept = channels.stability(rank.flips, n, metrics.bootstrap(len(rank.flips), 200)).double()
    stability = {"mean": float(kept.mean()), "low": float(kept.quantile(0.025)), "high": float(kept.quantile(0.975))}
    return {"agreement": pairs, "n_top": n, "stability": stability}


def batches(images: imageset.ImageSet, n: int | None, width: int | None = None) -> Iterator[Images]:
    """Yield `n` of the images in batches, resized to `width` columns; None means all, and their own width."""
    images = images.subsample(n)
    rows, cols = images.images.shape[-2:]
    device = images.images.device
    for index in torch.arange(len(images), device=device).split(ablation.batch_size(device, rows, cols)):
        pixels = images.batch(index)[0]
        yield pixels if width is None else interpolate(pixels, (rows, width), mode="bilinear")


def symmetrised(net: nn.Module) -> nn.Module:
    """Average every kernel of a network with its mirror image, in place."""
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.data = (conv.weight.data + conv.weight.data.flip(-1)) / 2
    return net


@torch.no_grad()
def symmetry(net: Segmenter, layer: str, train: imageset.ImageSet) -> dict:
    """Mean flip response over mean activation on 40 images, at their width and one column wider, with kernels as
    trained and symmetrised; and how far the rankings at the two widths agree.
    """
    cols = train.images.shape[-1]
    rows, responses = [], []
    for kernels, network in (("trained", net), ("symmetrised", symmetrised(deepcopy(net)))):
        for width in (cols, cols + 1):
            pictures = list(batches(train, 40, width))
            z, mirrored = (torch.cat([latent(network, layer, change(x)).double() for x in pictures])
                           for change in (nn.Identity(), channels.flip_horizontally))
            response = (z - mirrored).abs().mean(0)
            rows.append({"kernels": kernels, "columns": width, "response": float(response.mean() / z.mean())})
            responses.append(response)
    return {"symmetry": rows, "even_odd_correlation": channels.rank_correlation(*responses[:2])}


def latent(net: Segmenter, layer: str, images: Images) -> Latents:
    """z, the feature map of a layer averaged over space."""
    return gap(net.features(images, layer)[0])


@torch.no_grad()
def examples(c: SegmenterConfig, net: Segmenter, rank: channels.Ranking, test: imageset.ImageSet) -> dict:
    """Predictions for three test images with nothing ablated, and with the largest fraction of the channels,
    flip-ranked and random; and for the first image with more and more channels ablated, flip-ranked and random.
    """
    number = torch.arange(3) * len(test) // 3 + len(test) // 6
    shown = test.take(number.to(test.images.device))
    f, low = net.features(shown.batch(torch.arange(3, device=shown.images.device))[0], c.layer)
    size = tuple(test.images.shape[-2:])

    def predictions(ablated: Tensor, rows: slice = slice(None)) -> list[str]:
        logits = net.decode(Ablation(ablated)(f[rows]), None if low is None else low[rows], size, c.layer)
        return records.pack(logits.max(1).indices)

    total, flip = len(rank.mean), rank.rules["flip"]
    random = channels.random_sets(total, total, 1, 0)[0]
    n = round(c.fractions[-1] * total)
    steps = {}
    for k in sorted({round(total * k / 12) for k in range(9)}):
        steps[k] = [*predictions(channels.top_channels(flip, k), slice(0, 1)), *predictions(random[:k], slice(0, 1))]
    return {"examples": {"images": number.tolist(), "nothing": predictions(random[:0]),
                         "flip": predictions(channels.top_channels(flip, n)), "random": predictions(random[:n]),
                         "steps": steps}}


def run(c: SegmenterConfig, seed: int, checkpoint: Checkpoint | None, *, splits: imageset.Splits, workspace: Workspace,
        trained: str = "") -> dict[str, Any]:
    """Train a network, rank its channels on training images, and ablate them on test images; returns its results.

    trained  see `train_segmenter`
    """
    net, loss = train_segmenter(c, seed, checkpoint, splits.train, workspace, trained)
    net.to(memory_format=torch.channels_last)   # faster, and without a backward pass always safe
    train, test = (part.to(workspace.device) for part in (splits.train, splits.test))
    rank = channels.rank(lambda images: net.features(images, c.layer)[0], lambda: batches(train, c.rank_images))
    shift_over_flip = float(rank.rules["shift"].mean() / rank.rules["flip"].mean())
    results = {**attack(c, net, rank, seed, test), "loss": loss, "channels": len(rank.mean),
               "shift_over_flip": shift_over_flip, **agreement(rank)}
    if seed == 0:
        results |= {**symmetry(net, c.layer, train), **examples(c, net, rank, test)}
    return results


def recorded(run: records.Record) -> SegmenterConfig:
    """Return the config of a record, of whatever revision."""
    known = {f.name for f in fields(SegmenterConfig)}
    values = {name: tuple(value) if isinstance(value, list) else value
              for name, value in run.config.items() if name in known}
    recipe = {name: tuple(value) if isinstance(value, list) else value for name, value in values["recipe"].items()}
    return SegmenterConfig(**values | {"recipe": PolyRecipe(**recipe)})


def network_names(runs: Sequence[records.Record]) -> dict[str, str]:
    """Name the networks of a set, digest -> "plain", or the control network that it is (`configs`)."""
    configs = {run.digest: recorded(run) for run in runs}
    with_skip = any(c.plus for c in configs.values())

    def name(c: SegmenterConfig) -> str:
        if c.padding_mode == "circular":
            return "circular_padding"
        if not c.flip_augmentation:
            return "never_flipped"
        return "plain" if c.plus == with_skip else "without_skip"

    return {digest: name(c) for digest, c in configs.items()}


def recorded_sets(runs: Sequence[records.Record]) -> list[list[records.Record]]:
    """Divide runs into sets of a plain network and its controls; most plain networks first, then the latest revision.
    """
    sets: dict[str, list[records.Record]] = {}
    for run in runs:
        c = recorded(run)
        shared = replace(c, padding_mode="zeros", flip_augmentation=True, plus=False, fractions=(), n_random_sets=0)
        sets.setdefault(config.digest(shared), []).append(run)

    def size(runs: list[records.Record]) -> tuple[int, int]:
        names = network_names(runs)
        return sum(names[run.digest] == "plain" for run in runs), recorded(runs[0]).revision

    return sorted((runs for runs in sets.values() if size(runs)[0]), key=size, reverse=True)


def recorded_size(runs: Sequence[records.Record]) -> tuple[int, int]:
    """Rows and columns of the images, which the predictions in a record of seed 0 have; else those of the preset."""
    for run in runs:
        if "examples" in run.results:
            return records.unpack(run.results["examples"]["nothing"][0]).shape
    c = recorded(runs[0])
    return preset(c.profile, c.dataset).size


def score_table(rows: pd.DataFrame, runs: Sequence[records.Record], names: Mapping[str, str]) -> pd.DataFrame:
    """Mean IoU of every network with nothing ablated, over the whole image and by region, averaged over seeds; its 95 %
    interval, or both values of two networks; and the percentage of pixels classified correctly.

    rows   the "rows" of all runs (`ablation.rows_of`)
    names  digest of a config -> network, in the order of the table
    """
    networks = list(dict.fromkeys(names.values()))
    nothing = rows[rows["kind"] == "nothing"]
    means = {region: ablation.summarise(nothing, ["network"], region).set_index("network").loc[networks]
             for region in ("miou", *canvas.REGIONS)}
    whole = means.pop("miou")
    return pd.DataFrame({
        "network": networks,
        "n": whole["n"].to_numpy(),
        "whole image": whole["mean"].to_numpy(),
        "95 %": ["–" if low != low else f"[{low:.1f}, {high:.1f}]" for low, high in whole[["low", "high"]].to_numpy()],
        **{region: summary["mean"].to_numpy() for region, summary in means.items()},
        "pixels correct": [100 * np.mean([r.results["accuracy"] for r in runs if names[r.digest] == network])
                           for network in networks],
    })


def periphery_specificity(rows: pd.DataFrame) -> pd.DataFrame:
    """Points of mean IoU that the flip-ranked set costs beyond random sets in the centre, in the periphery, and
    ("value") in the periphery minus in the centre; a row per network, seed and fraction, with the kind and region of a
    record's "specificity".

    rows  the "rows" of all runs (`ablation.rows_of`)
    """
    regions = ["centre", "periphery"]
    kept = rows.groupby(["kind", "network", "seed", "fraction"], sort=False)[regions].mean()
    beyond = (kept.loc["random"] - kept.loc["flip"]).reset_index()
    return beyond.assign(kind="flip", region="periphery", value=beyond["periphery"] - beyond["centre"])


def loss_curve(rows: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """Points of mean IoU lost by fraction of the channels, of each kind of ablation, summarised over the seeds of the
    plain network; sorted by kind, then fraction.
    """
    per_seed = rows[rows["network"] == "plain"].groupby(["kind", "fraction", "seed"], as_index=False)["miou"].mean()
    nothing = per_seed[per_seed["kind"] == "nothing"]
    per_seed = pd.concat([per_seed[per_seed["kind"].isin(kinds)], *(nothing.assign(kind=kind) for kind in kinds)])
    per_seed["lost"] = per_seed["seed"].map(nothing.set_index("seed")["miou"]) - per_seed["miou"]
    curve = ablation.summarise(per_seed, ["kind", "fraction"], "lost")
    curve["percent"] = 100 * curve["fraction"]
    curve["kind"] = pd.Categorical(curve["kind"], kinds)
    return curve.sort_values(["kind", "fraction"]).astype({"kind": str})


def side_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """Points of mean IoU lost by fraction of the channels, as in supplement S3: by the half that the ranking targets
    ("targeted"), by the other half ("other"), and by the targeted half when as many random channels are ablated
    ("random"), for the signed ranking of either side ("side"), summarised over the seeds of the plain network.
    """
    rows = rows[rows["network"] == "plain"]
    intact = rows[rows["kind"] == "nothing"].set_index("seed")
    parts = []
    for side in SIDES:
        signed, random = rows[(rows["kind"] == "signed") & (rows["region"] == side)], rows[rows["kind"] == "random"]
        for kind, chosen, half in (("targeted", signed, side), ("other", signed, OPPOSITE[side]),
                                   ("random", random, side)):
            lost = chosen["seed"].map(intact[half]) - chosen[half]
            parts.append(chosen[["seed", "fraction"]].assign(side=side, kind=kind, lost=lost))
    per_seed = pd.concat(parts).groupby(["side", "kind", "fraction", "seed"], as_index=False, sort=False)["lost"].mean()
    curve = ablation.summarise(per_seed, ["side", "kind", "fraction"], "lost")
    return curve.assign(percent=100 * curve["fraction"])


def region_curve(rows: pd.DataFrame, kinds: Sequence[str], regions: Sequence[str]) -> pd.DataFrame:
    """Points of mean IoU that a region loses by fraction of the channels, of each kind of ablation, summarised over the
    seeds of the plain network; a row per region, kind and fraction.
    """
    rows = rows[rows["network"] == "plain"]
    intact = rows[rows["kind"] == "nothing"].set_index("seed")
    chosen = rows[rows["kind"].isin(kinds)]
    lost = pd.concat([chosen[["kind", "fraction", "seed"]].assign(
        region=region, lost=chosen["seed"].map(intact[region]) - chosen[region]) for region in regions])
    per_seed = lost.groupby(["region", "kind", "fraction", "seed"], as_index=False, sort=False)["lost"].mean()
    curve = ablation.summarise(per_seed, ["region", "kind", "fraction"], "lost")
    return curve.assign(percent=100 * curve["fraction"])


def agreement_tables(runs: Sequence[records.Record]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Spearman's correlation, and shared top channels, of every pair of rankings: means over runs, one matrix each."""
    pairs = pd.concat([pd.DataFrame(r.results["agreement"]) for r in runs])
    rankings = list(dict.fromkeys(pairs["first"]))
    means = pairs.groupby(["first", "second"], sort=False)[["spearman", "shared"]].mean().unstack()
    spearman, shared = (means[column].loc[rankings, rankings] for column in ("spearman", "shared"))
    return spearman, shared
