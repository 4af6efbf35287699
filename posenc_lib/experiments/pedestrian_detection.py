"""Page 07: train pedestrian detectors, rank the channels that their heads read, ablate them, and count who is missed.

Source: Islam et al., ICCV 2021, supplement S4.  The detectors: Ren et al., NeurIPS 2015, with a feature pyramid (Lin et
al., CVPR 2017); Cai and Vasconcelos, CVPR 2018, on HRNet (Wang et al., TPAMI 2020); Liu et al., CVPR 2019.
"""
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from posenc_lib.base import progress
from posenc_lib.base.checks import check_choice
from posenc_lib.base.draws import Draws
from posenc_lib.base.shapes import Boxes, Detections, Images
from posenc_lib.data import people as people_data
from posenc_lib.data.imageset import ImageSet, Splits
from posenc_lib.experiments import ablation
from posenc_lib.experiments.ablation import NOTHING, Ablation, Planned, Preset
from posenc_lib.measure import channels, miss_rate
from posenc_lib.measure.canvas import REGIONS, shift
from posenc_lib.measure.miss_rate import SETUPS, Matches
from posenc_lib.nets import detectors, pretrained
from posenc_lib.nets.detectors import ASPECT, CSP, KINDS, TwoStage, backbone
from posenc_lib.run import records
from posenc_lib.run.config import PolyRecipe, Workspace
from posenc_lib.run.training import Checkpoint, fit

BOOTSTRAP_DRAWS = 300
N_EXAMPLE_SETS = 5      # random sets that regions and operating points are measured for
ONE_PIXEL = ((0, 1), (0, -1), (1, 0), (-1, 0))   # shifts (row, col)


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """One detector of page 07: how it is trained, and how its channels are ranked and ablated.

    data               fingerprint of the image set
    unit               pixels of an image per pixel of the benchmark, in which all heights here are (`people.unit`)
    detector           "faster", "cascade" or "csp"
    net, width         see `backbone`
    head, units, proposals, heights, aspect   see `TwoStage` and `CSP`; the defaults are the sources'
    weights            "" for random initialisation; else the fingerprint of the backbone's ImageNet weights, with
                       frozen batch norm
    flip_augmentation  train on horizontally flipped images with probability 1/2
    zoom               training rescales an image by a factor of 2^-zoom .. 2^zoom
    learned            lowest height and visible fraction of people to train on; others are ignored in training
    rank_images        number of training images to rank on; None means all
    test_images        number of test images to evaluate ablations on; None means all
    fractions          of the channels to ablate, first the one that a verdict is about; an integer is a number of
                       channels (100 in the paper)
    n_random_sets      random sets of channels at the first fraction, and as many RMS-matched ones; a quarter of that
                       at the others
    revision           2: RMS-matched sets are drawn from the channels that are not flip-ranked
    """
    profile: str
    dataset: str
    data: str
    unit: float
    detector: str = "faster"
    net: str = "resnet50"
    width: int | None = None
    head: int = 256
    units: int = 1024
    proposals: int = 1000
    heights: tuple[tuple[int | float, ...], ...] = ((30, 45), (70, 105), (160, 240), (360, 540))
    aspect: float | None = ASPECT
    weights: str = ""
    flip_augmentation: bool = True
    zoom: float = 0.0
    learned: tuple[int | float, float] = (20, 0.3)
    rank_images: int | None = None
    test_images: int | None = None
    fractions: tuple[int | float, ...] = (100, 0.05, 0.5)
    n_random_sets: int = 20
    recipe: PolyRecipe = field(default_factory=PolyRecipe)
    revision: int = 2

    def __post_init__(self):
        check_choice("detector", self.detector, KINDS)


def _of_each(size: tuple[int, int], shared: dict[str, Any], seeds: dict[str, range] | None = None,
             **own: dict[str, Any]) -> dict[str, Preset]:
    """Return a preset for each detector, from shared settings and its own."""
    return {detector: Preset(size, {**shared, **own.get(detector, {}), "detector": detector}, seeds)
            for detector in KINDS}


SEEDS = {"smoke": 1, "quick": 2, "paper": 5}   # the interval over two networks is too wide for "reproduced"
# The small networks and all schedules are choices of this book: the paper states none.
FAST = {"learning_rate": 5e-3, "adamw": True, "backbone_scale": 1.0, "batch_size": 8}
SMALL = {"width": 16, "head": 32, "units": 64, "proposals": 128, "heights": ((43, 59), (77, 101), (123, 155)),
         "fractions": (0.15, 0.05, 0.5)}
SMALL_NETS = {"faster": {"net": "resnet10t"}, "cascade": {"net": "hrnet_w18_small", "width": 8},
              "csp": {"net": "resnet10t"}}
FINE_TUNED = {"head": 32, "units": 256, "proposals": 256, "aspect": None, "zoom": 0.5, "fractions": (0.15, 0.5),
              "net": "mobilenetv2_100", "weights": "imagenet",
              "recipe": PolyRecipe(epochs=8, epoch_steps=50, **(FAST | {"backbone_scale": 0.05}))}
LARGE = {"weights": "imagenet", "recipe": PolyRecipe(epochs=50, epoch_steps=300, learning_rate=1e-4, adamw=True,
                                                     backbone_scale=1.0, batch_size=16)}
LARGE_NETS = {"cascade": {"net": "hrnet_w32"}}

SMOKE = _of_each((32, 64), {
    **SMALL, "width": 2, "head": 4, "units": 8, "proposals": 16, "n_random_sets": 2, "rank_images": 8, "test_images": 6,
    "recipe": PolyRecipe(epochs=2, epoch_steps=1, **(FAST | {"batch_size": 4}))},
    {"train": range(16), "test": range(10_000, 10_006)}, **SMALL_NETS)
QUICK_STREETS = _of_each(
    (64, 128),
    {**SMALL, "width": 8, "rank_images": 48, "fractions": (0.15, 0.5), "n_random_sets": 8,
     "recipe": PolyRecipe(epochs=12, epoch_steps=15, **FAST)},
    {"train": range(300), "test": range(10_000, 10_048)},
    **{**SMALL_NETS, "faster": {"net": "resnet10t", "proposals": 32,
                                "recipe": PolyRecipe(epochs=12, epoch_steps=10, **FAST)}})
QUICK_STREETS_LONG = _of_each(
    (128, 256),
    {**SMALL, "rank_images": 150, "recipe": PolyRecipe(epochs=12, epoch_steps=50, **FAST)},
    **{**SMALL_NETS, "csp": {"net": "resnet10t", "recipe": PolyRecipe(epochs=24, epoch_steps=50, **FAST)}})
# Images of profile quick and 600 steps, so that five networks of CSP come in some fifteen CPU minutes.
QUICK_STREETS_MANY = _of_each(
    (64, 128), {**SMALL, "rank_images": 100, "n_random_sets": 10,
                "recipe": PolyRecipe(epochs=12, epoch_steps=50, **FAST)},
    {"train": range(600), "test": range(10_000, 10_080)}, **SMALL_NETS)
QUICK_CAMVID = _of_each((180, 240), FINE_TUNED)
QUICK = _of_each((256, 256), FINE_TUNED)
PAPER_CITYPERSONS = _of_each((512, 1024), {"zoom": 0.3, **LARGE}, **LARGE_NETS)
PAPER_CAMVID = _of_each((360, 480), {"zoom": 0.7, "aspect": None, **LARGE}, **LARGE_NETS)
PAPER = _of_each((512, 512), {"zoom": 0.7, "aspect": None, **LARGE}, **LARGE_NETS)
PRESETS = {
    "smoke": {"any": SMOKE},
    "quick": {"streets": QUICK_STREETS, "camvid": QUICK_CAMVID, "any": QUICK},
    "paper": {"citypersons": PAPER_CITYPERSONS, "camvid": PAPER_CAMVID, "any": PAPER},
}
# "long": larger images and a longer training; "many": a longer training of more networks.
SCHEDULES = {"long": QUICK_STREETS_LONG, "many": QUICK_STREETS_MANY}


def preset(profile: str, dataset: str, detector: str, schedule: str = "") -> Preset:
    """Return the preset of a profile for an image set and a detector.

    schedule  one of `SCHEDULES`; profile quick on streets only
    """
    check_choice("schedule", schedule, ("", *SCHEDULES) if (profile, dataset) == ("quick", "streets") else ("",))
    chosen = (SCHEDULES[schedule] if schedule else ablation.select(PRESETS, profile, dataset))[detector]
    return chosen._replace(settings=dict(chosen.settings))


def n_seeds(profile: str, schedule: str = "") -> int:
    """Return the number of networks of each detector that a profile trains."""
    return {"": SEEDS[profile], "long": 1, "many": 5}[schedule]


def parse_detectors(profile: str, dataset: str, names: str = "", schedule: str = "") -> tuple[str, ...]:
    """Return the detectors of a comma-separated list, or of "all"; "" are those that the profile has time for."""
    if not names and profile == "quick" and schedule != "long":
        names = "csp,faster" if dataset == "streets" and not schedule else "csp"
    if names in ("", "all"):
        return KINDS
    return tuple(check_choice("detectors", name, KINDS) for name in names.split(","))


def configs(profile: str, dataset: str, data: str, names: Sequence[str], root: Path | str, *, schedule: str = "",
            backbone: str = "", steps: int = 0) -> dict[str, DetectorConfig]:
    """Return the configs to run, by detector.

    root      folder of data sets, with the ImageNet weights
    backbone  "random" or "imagenet"; "" keeps the preset's
    steps     optimizer steps of each training, rounded up to whole epochs; 0 keeps the preset's
    """
    check_choice("backbone", backbone, ("", "random", "imagenet"))
    chosen = {}
    for name in names:
        size, settings, _ = preset(profile, dataset, name, schedule)
        weights = backbone or settings.get("weights") or "random"
        net = settings.get("net", DetectorConfig.net)
        settings["weights"] = pretrained.fingerprint(net, root) if weights == "imagenet" else ""
        unit = people_data.unit(dataset, size[0])
        c = DetectorConfig(profile=profile, dataset=dataset, data=data, unit=unit, **settings)
        if steps:
            epoch_steps = -(-steps // c.recipe.epochs)
            c = replace(c, recipe=replace(c.recipe, epoch_steps=epoch_steps))
        chosen[name] = c
    return chosen


def check_weights(configs: Iterable[DetectorConfig], root: Path | str) -> None:
    """Raise now what would otherwise be raised when training starts from missing or damaged weights."""
    for c in configs:
        if c.weights:
            detectors.from_imagenet(build(c), c.net, root)


def build(c: DetectorConfig) -> TwoStage | CSP:
    """Return the detector of a config, with random weights from torch's global generator."""
    if c.detector == "csp":
        return CSP(backbone(c.net, c.width, output_stride=16), head=c.head, aspect=c.aspect)
    heights = [[c.unit * height for height in level] for level in c.heights]
    return TwoStage(backbone(c.net, c.width), overlaps=(0.5, 0.6, 0.7) if c.detector == "cascade" else (0.5,),
                    fused=c.detector == "cascade", heights=heights, head=c.head, units=c.units, proposals=c.proposals)


def augment(c: DetectorConfig, images: Images, people: Boxes, draws: Draws) -> tuple[Tensor, Tensor]:
    """Flip each image with probability 1/2, rescale and shift it, and move its people along.

    Pixels from outside the image are 0, the mean colour.  People of whom less than half is left are ignored.
    """
    rows, cols = images.shape[-2:]

    def uniform(*shape: int) -> Tensor:
        return 2 * draws(torch.rand, len(images), *shape) - 1

    scale = 2 ** (c.zoom * uniform())
    direction = 1 - 2 * ((uniform() < 0) & c.flip_augmentation).float()                        # -1 where flipped
    centre = (1 - 1 / scale)[:, None] * uniform(2)                  # of the window in the image, -1..1, (col, row)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = direction / scale, 1 / scale, centre
    images = grid_sample(images, affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)
    box, rest = people[..., :4], people[..., 4:]
    side = torch.tensor([cols, rows], device=images.device)
    turn = torch.stack([direction, torch.ones_like(direction)], -1)[:, None]                       # (batch, 1, 2)
    middle = box[..., :2] + box[..., 2:] / 2 - side / 2 * (1 + centre[:, None])
    middle = middle * turn * scale[:, None, None] + side / 2
    whole = box[..., 2:] * scale[:, None, None]
    first, last = ((middle + sign * whole / 2).clamp(min=torch.zeros_like(side)).minimum(side) for sign in (-1, 1))
    left = (last - first).prod(-1) / whole.prod(-1)
    rest = torch.stack([rest[..., 0], torch.where(left < 0.5, 1.0, rest[..., 1])], -1)
    moved = torch.cat([first, last - first, rest], -1)
    return images, moved.masked_fill((left <= 0)[..., None], torch.nan)


def objective(c: DetectorConfig, net: nn.Module, images: Images, people: Boxes, draws: Draws) -> Tensor:
    """The detector's loss on an augmented batch; people too small or too occluded are ignored."""
    images, people = augment(c, images, people, draws)
    lowest, least = c.learned
    beyond = (people[..., 3] < lowest * c.unit) | (people[..., 4] < least)
    return net(images, torch.cat([people[..., :5], torch.where(beyond, 1.0, people[..., 5])[..., None]], -1))


def train_detector(c: DetectorConfig, seed: int, checkpoint: Checkpoint | None, train: ImageSet, root: Path | str
                   ) -> tuple[TwoStage | CSP, Callable[[ImageSet], ImageSet]]:
    """Return a trained detector, and the function that normalises an image set as its backbone expects."""
    torch.manual_seed(seed)
    net: TwoStage | CSP = build(c)
    normalised = _unchanged
    if c.weights:
        net = detectors.from_imagenet(net, c.net, root)
        normalised = pretrained.untrained(c.net).view
    # not captured: shapes depend on the number of people
    fit(net, normalised(train), partial(objective, c), c.recipe, seed=seed, checkpoint=checkpoint, capture=False)
    return net, normalised


def _unchanged(images: ImageSet) -> ImageSet:
    return images


@torch.no_grad()
def sweep(net: TwoStage | CSP, images: ImageSet, ablations: Sequence[Ablation], *, batch: int = 20
          ) -> list[list[Detections]]:
    """Detect people in every image under every ablation: ablation -> image -> detections.

    Runs the network up to f once per image, and the rest once per ablation.
    """
    detections: list[list[Detections]] = [[] for _ in ablations]
    for index in progress.bar(torch.arange(len(images), device=images.images.device).split(batch), "ablations"):
        f, others = net.features(images.batch(index)[0])
        for of_ablation, ablate in zip(detections, ablations, strict=True):
            of_ablation += net.decode(ablate(f), others, tuple(images.images.shape[-2:]))
    return detections


def detect(net: TwoStage | CSP, images: ImageSet, ablations: Sequence[Ablation] = (NOTHING,)) -> list[list[Detections]]:
    """`sweep` with batches of a size that fits the device."""
    return sweep(net, images, ablations, batch=ablation.batch_size(images.images.device, *images.images.shape[-2:]))


def missed(matches: Matches, weights: Tensor | None = None) -> Tensor:
    """Log-average miss rate in percent, one value per row of `weights`; where nobody is missed, half a person is."""
    return 100 * miss_rate.log_average(matches, weights, official_script=False, least=0.5)


def missed_in(people: Boxes, detections: Sequence[Detections], setup: str, unit: float, **region) -> float | None:
    """`missed` of a set-up, of a region where given (see `miss_rate.match`); None where there is nobody to detect."""
    matches = miss_rate.match(people, detections, SETUPS[setup], unit=unit, **region)
    return missed(matches).item() if matches.people.any() else None


def shifted(images: ImageSet, row: int, col: int) -> ImageSet:
    """Shift images and their people by whole pixels, with reflect padding."""
    offset = torch.tensor([[row, col]], device=images.images.device).expand(len(images), 2)
    labels = images.labels + torch.tensor([col, row, 0, 0, 0, 0], device=images.labels.device)
    return replace(images, images=shift(images.images, offset, "reflect"), labels=labels)


def one_pixel_shifts(net: TwoStage | CSP, images: ImageSet, unit: float) -> list[dict]:
    """Miss rates of every set-up when the images are shifted by one pixel, one row for each direction."""
    rows = []
    for row, col in ONE_PIXEL:
        moved = shifted(images, row, col)
        detections = detect(net, moved)[0]
        rates = {setup: missed_in(moved.labels, detections, setup, unit) for setup in SETUPS}
        rows.append({"row": row, "col": col, **rates})
    return rows


@dataclass(frozen=True, eq=False)
class Attack:
    """Detections in test images under every ablation of a plan: ablation -> image -> detections."""
    c: DetectorConfig
    images: ImageSet
    planned: list[Planned]
    detections: list[list[Detections]]

    def under(self, fraction: float, kinds: Sequence[str]) -> list[tuple[str, list[Detections]]]:
        """Kind and detections of some ablations, with those of "nothing" at every fraction."""
        return [(p.kind, of_ablation) for p, of_ablation in zip(self.planned, self.detections, strict=True)
                if p.kind in kinds and p.fraction in (0.0, fraction)]

    def few(self) -> list[tuple[str, list[Detections]]]:
        """Nothing, the flip-ranked set, and `N_EXAMPLE_SETS` random sets, at the first fraction."""
        return self.under(self.c.fractions[0], ("nothing", "flip", "random"))[:2 + N_EXAMPLE_SETS]


def attack(c: DetectorConfig, net: TwoStage | CSP, rank: channels.Ranking, seed: int, test: ImageSet) -> Attack:
    """Run a detector on test images under every ablation of `ablation.plan`."""
    n_random_sets = [c.n_random_sets] + [-(-c.n_random_sets // 4)] * (len(c.fractions) - 1)
    planned = list(ablation.plan(rank, c.fractions, n_random_sets, seed))
    return Attack(c, test, planned, detect(net, test, [p.ablation for p in planned]))


def rates(attack: Attack) -> list[dict]:
    """Miss rates of every ablation: of all set-ups at the first fraction, of Reasonable and All at the others."""
    rows = []
    for p, detections in zip(attack.planned, attack.detections, strict=True):
        setups = SETUPS if p.fraction in (0.0, attack.c.fractions[0]) else ("Reasonable", "All")
        values = {setup: missed_in(attack.images.labels, detections, setup, attack.c.unit) for setup in setups}
        rows.append({"kind": p.kind, "fraction": p.fraction, "n": p.n, "shared": p.shared, **values})
    return rows


def gaps(attack: Attack, seed: int) -> list[dict]:
    """Points of miss rate on All that ablating the channels of highest flip response and of highest RMS activation
    costs beyond random sets, at the first fraction (`ablation.ranking_gaps`).
    """
    main, kinds = attack.c.fractions[0], ("flip", "rms_activation")
    weights = ablation.bootstrap_weights(len(attack.images), BOOTSTRAP_DRAWS, seed)
    values: dict[str, list[Tensor]] = {}
    for kind, detections in attack.under(main, (*kinds, *ablation.CONTROLS)):
        matches = miss_rate.match(attack.images.labels, detections, SETUPS["All"], unit=attack.c.unit)
        values.setdefault(kind, []).append(missed(matches, weights))
    cost = {(kind, main): torch.stack(of_kind).mean(0) for kind, of_kind in values.items()}
    return ablation.ranking_gaps(cost, kinds, [main])


def by_region(attack: Attack) -> list[dict]:
    """Miss rate on All within every region, of a few ablations."""
    where = {"unit": attack.c.unit, "size": tuple(attack.images.images.shape[-2:])}
    return [{"kind": kind, "region": region,
             "value": missed_in(attack.images.labels, detections, "All", region=region, **where)}
            for region in REGIONS for kind, detections in attack.few()]


def operating_point(attack: Attack, net: TwoStage | CSP, train: ImageSet) -> list[dict]:
    """False positives per image, average precision and recall (percent) of a few ablations, at the score threshold that
    allows one false positive in 10 training images.
    """
    on_train = miss_rate.match(train.labels, detect(net, train)[0], SETUPS["All"], unit=attack.c.unit)
    false, _ = miss_rate.miss_rate_curve(on_train)
    allowed = int((false[0] <= 0.1).sum()) - 1                        # detections, by falling score
    threshold = on_train.score[max(allowed - 1, 0)].item() if len(on_train.score) else 1.0
    rows = []
    for kind, detections in attack.few():
        matches = miss_rate.match(attack.images.labels, detections, SETUPS["All"], unit=attack.c.unit)
        precision = miss_rate.average_precision(attack.images.labels, detections)
        correct = (matches.right & (matches.score >= threshold)).sum().item()
        rows.append({"kind": kind,
                     "false_positives": miss_rate.false_positives(matches, threshold).double().mean().item(),
                     "ap": None if precision != precision else 100 * precision,
                     "recall": 100 * correct / max(int(matches.people.sum()), 1)})
    return rows


def examples(attack: Attack) -> dict:
    """Boxes with scores above 0.1 in three images with people: nothing, the flip-ranked and the first random set."""
    populated = (attack.images.labels[..., 5] == 0).any(1).nonzero()[:, 0].tolist()
    number = [populated[len(populated) * n // 3] for n in range(3)]
    rows = []
    for kind, detections in attack.few()[:3]:
        for image in number:
            boxes, scores = detections[image]
            keep = scores > 0.1
            rows.append({"kind": kind, "image": image, "boxes": boxes[keep].cpu().round(decimals=1).tolist(),
                         "scores": scores[keep].cpu().round(decimals=3).tolist()})
    return {"examples": rows, "example_images": number}


def batches(images: ImageSet) -> Iterator[Images]:
    """Yield the images in batches of a size that fits the device."""
    device = images.images.device
    size = ablation.batch_size(device, *images.images.shape[-2:])
    for index in torch.arange(len(images), device=device).split(size):
        yield images.batch(index)[0]


def run(c: DetectorConfig, seed: int, checkpoint: Checkpoint | None, *, splits: Splits, workspace: Workspace
        ) -> dict[str, Any]:
    """Train a detector, rank its channels on training images, and ablate them on test images; returns its results."""
    net, normalised = train_detector(c, seed, checkpoint, splits.train, workspace.data)
    train, test = (normalised(part.subsample(n)).to(workspace.device)
                   for part, n in ((splits.train, c.rank_images), (splits.test, c.test_images)))
    rank = channels.rank(lambda images: net.features(images)[0], lambda: batches(train),
                         stride=max(net.backbone.strides))
    attacked = attack(c, net, rank, seed, test)
    return {"channels": len(rank.mean), "rows": rates(attacked), "shifts": one_pixel_shifts(net, test, c.unit),
            "gaps": gaps(attacked, seed), "regions": by_region(attacked),
            "operating_point": operating_point(attacked, net, train), **(examples(attacked) if seed == 0 else {})}


def recorded(run: records.Record) -> DetectorConfig:
    """Return the config of a record, of whatever revision."""
    known = {f.name for f in fields(DetectorConfig)}

    def as_tuples(value):
        return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value

    values = {name: as_tuples(value) for name, value in run.config.items() if name in known}
    recipe = {name: as_tuples(value) for name, value in values["recipe"].items()}
    return DetectorConfig(**values | {"recipe": PolyRecipe(**recipe)})


def most_networks(runs: Sequence[records.Record]) -> dict[str, list[records.Record]]:
    """The runs of each detector that share a config, in the order of `KINDS`: of the config with most networks, then of
    the latest revision.
    """
    sets: dict[str, list[records.Record]] = {}
    for run in runs:
        sets.setdefault(run.digest, []).append(run)
    chosen = {}
    for detector in KINDS:
        of_it = [runs for runs in sets.values() if runs[0].config["detector"] == detector]
        if of_it:
            chosen[detector] = max(of_it, key=lambda runs: (len(runs), runs[0].config["revision"]))
    return chosen


def recorded_size(c: DetectorConfig) -> tuple[int, int]:
    """Rows and columns of the images of a config, from their unit and the presets."""
    rows = round(1024 * c.unit / people_data.unit(c.dataset, 1024))
    presets = [*SCHEDULES.values(), *(preset for of_profile in PRESETS.values() for preset in of_profile.values())]
    return next(preset[c.detector].size for preset in presets if preset[c.detector].size[0] == rows)


def rate_table(rows: pd.DataFrame, main: int | float, order: Sequence[str], kinds: Sequence[str]) -> pd.DataFrame:
    """Miss rates with nothing ablated and at fraction `main`, by detector, set-up and kind, in these orders."""
    values = rows[rows["fraction"].isin([0.0, main])].melt(["detector", "kind", "seed"], list(SETUPS), "setup")
    values = values.dropna(subset="value")
    per_seed = values.groupby(["detector", "kind", "setup", "seed"], sort=False, as_index=False)["value"].mean()
    table = ablation.summarise(per_seed, ["detector", "kind", "setup"], "value")
    orders = {"setup": list(SETUPS), "detector": list(order), "kind": list(kinds)}
    table = table.assign(**{column: pd.Categorical(table[column], values) for column, values in orders.items()})
    return table.sort_values(["detector", "setup", "kind"]).astype(dict.fromkeys(orders, str))


def rate_changes(rows: pd.DataFrame, main: int | float, kinds: Sequence[str]) -> pd.DataFrame:
    """Points by which an ablation at fraction `main` changes the miss rate of a detector, by set-up and kind.

    rows  the "rows" of all runs of one detector (`ablation.rows_of`)
    """
    values = rows[rows["fraction"].isin([0.0, main])].melt(["kind", "seed"], list(SETUPS), "setup").dropna()
    per_seed = values.groupby(["kind", "setup", "seed"], sort=False)["value"].mean().unstack("kind")
    changes = per_seed[list(kinds)].sub(per_seed["nothing"], axis=0).melt(ignore_index=False).reset_index().dropna()
    return ablation.summarise(changes, ["setup", "kind"], "value")


def pixel_changes(rows: pd.DataFrame, shifts: pd.DataFrame) -> pd.Series:
    """The largest change of the miss rate by a shift by one pixel, in points, by detector and set-up."""
    nothing = rows[rows["kind"] == "nothing"].set_index(["detector", "seed"])
    values = shifts.melt(["detector", "seed"], list(SETUPS), "setup").dropna(subset="value")
    values["change"] = [abs(row.value - nothing.loc[(row.detector, row.seed), row.setup])
                        for row in values.itertuples()]
    return values.groupby(["detector", "setup"])["change"].max()


def random_spread(rows: pd.DataFrame, main: int | float) -> pd.Series:
    """How far apart the miss rates on All of a network's random sets are at most, by detector."""
    random = rows[(rows["fraction"] == main) & (rows["kind"] == "random")].groupby(["detector", "seed"])["All"]
    return (random.max() - random.min()).groupby("detector").max()


def rate_curve(rows: pd.DataFrame, kinds: Sequence[str], fractions: Sequence[int | float], total: Mapping[str, int]
               ) -> pd.DataFrame:
    """Miss rate on All by fraction of the channels, of each kind of ablation, by detector.

    total  channels of each detector, of which an integer fraction is a number
    """
    per_seed = rows[rows["kind"].isin(kinds)].groupby(["detector", "kind", "fraction", "seed"], as_index=False)
    per_seed = per_seed["All"].mean()
    nothing = per_seed[per_seed["kind"] == "nothing"]
    per_seed = pd.concat([per_seed[per_seed["kind"] != "nothing"],
                          *(nothing.assign(kind=kind) for kind in kinds),
                          *(nothing.assign(fraction=fraction) for fraction in fractions)])
    per_seed["fraction"] = [fraction / total[detector] if fraction >= 1 else fraction
                            for fraction, detector in zip(per_seed["fraction"], per_seed["detector"], strict=True)]
    curve = ablation.summarise(per_seed, ["detector", "kind", "fraction"], "All")
    return curve.assign(percent=(100 * curve["fraction"]).round(1))
