"""Page 06: segmenters train, are ablated and scored by region; its presets, tables and rules."""
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from test_segmentation import CONFIG, calibrated, labelled_images
from torch.nn.functional import cross_entropy

from posenc_lib import claims
from posenc_lib.base.draws import Draws
from posenc_lib.claims import claim as paper
from posenc_lib.claims import region_attack as judged
from posenc_lib.data import registry
from posenc_lib.data.imageset import VOID
from posenc_lib.experiments import ablation, region_attack
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.experiments.region_attack import SegmenterConfig, region_iou, sweep
from posenc_lib.measure import canvas, channels, metrics
from posenc_lib.nets.hooks import ablated
from posenc_lib.run import records, training
from posenc_lib.run.config import PolyRecipe, Workspace, describe, digest
from posenc_lib.show import figures as show_figures


@pytest.fixture(scope="module", params=[False, True], ids=["v3", "v3plus"])
def net(request):
    return calibrated(request.param)


@pytest.fixture(scope="module")
def pictures():
    return labelled_images()


@pytest.mark.parametrize("layer", ["act1", "layer1", "layer2", "layer4"])
def test_a_sweep_equals_full_evaluations_under_ablation(net, pictures, layer):
    n = 16 if layer == "layer4" else 4 if layer == "layer2" else 2
    sets = [torch.tensor(numbers, dtype=torch.long) for numbers in ([], [0], [n - 1, 0], list(range(n)))]
    counts = sweep(net, pictures, [Ablation(chosen) for chosen in sets], layer=layer, batch=2)
    assert counts.shape == (4, 5, 8, 3, 3)
    zones = canvas.zones(16, 32)
    for chosen, ours in zip(sets, counts, strict=True):
        with torch.no_grad(), ablated(net, "backbone." + layer, chosen):
            for image in range(5):
                x, labels = pictures.batch(torch.tensor([image]))
                predictions = net(x).argmax(1)
                for zone in range(8):
                    for c in range(3):
                        there = (zones == zone) & (labels[0] != VOID)
                        is_c, predicted_c = there & (labels[0] == c), there & (predictions[0] == c)
                        expected = [(is_c & predicted_c).sum(), is_c.sum(), predicted_c.sum()]
                        assert ours[image, zone, :, c].tolist() == expected
    assert len({tuple(of_ablation.flatten().tolist()) for of_ablation in counts}) >= 3   # the ablations differ


def test_region_iou_by_pencil():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, VOID]]])
    predictions = torch.tensor([[[0, 1, 1, 1], [0, 0, 0, 1]],
                                [[0, 2, 1, 1], [0, 0, 1, 1]]])   # class 2 is never labelled
    counts = torch.stack([metrics.class_counts(metrics.confusion(p[None], labels, 3, canvas.zones(2, 4)))
                          for p in predictions]).int()
    for region, scores in (("", ((3 / 5 + 2 / 4) / 2, (3 / 4 + 1) / 2)), ("left", (3 / 4, 3 / 4)),
                           ("right", (2 / 3, 1)), ("periphery", (1, 1)), ("bottom", ((2 / 3 + 0) / 2, 1))):
        assert region_iou(counts, region)[:, 0].tolist() == pytest.approx(scores), region


def test_an_image_drawn_twice_counts_twice(net, pictures):
    ablations, weights = [Ablation(torch.arange(n)) for n in (0, 8)], torch.ones(2, 5)
    counts, weights[0, :2] = sweep(net, pictures, ablations), torch.tensor([2.0, 0.0])
    for region in ("", *canvas.REGIONS):
        scores = region_iou(counts, region, weights=weights)
        again = sweep(net, pictures.take(torch.tensor([0, 0, 2, 3, 4])), ablations)
        assert torch.allclose(scores[:, :1], region_iou(again, region))
        assert torch.allclose(scores[:, 1:], region_iou(counts, region)) and scores.shape == (2, 2)


def augmented(pictures, seed: int = 0, **options):
    x, labels = pictures.images.float() / 255, pictures.labels
    return region_attack.augment(replace(CONFIG, **options), x, labels, Draws(seed=seed))


def test_mirroring_and_cropping_move_image_and_map_together(pictures):
    pictures, flipped, corners = pictures.take(torch.arange(20) % 5), [], set()
    for seed in range(8):
        for options in ({"flip_augmentation": True}, {"crop": (5, 8)}, {"crop": (5, 8), "flip_augmentation": True},
                        {"crop": (99, 99)}):
            x, labels = augmented(pictures, seed, **options)
            assert x.shape[-2:] == labels.shape[-2:] == ((5, 8) if options.get("crop") == (5, 8) else (16, 32))
            red = ((x[:, 0] * 255).round().long() * 3) // 256
            assert torch.equal(labels[labels != VOID], red[labels != VOID])
            if options == {"flip_augmentation": True}:
                flipped += [not torch.equal(a, b) for a, b in zip(labels, pictures.labels, strict=True)]
                both = torch.where(torch.tensor(flipped[-20:])[:, None, None, None], x.flip(-1), x)
                assert torch.equal(both, pictures.images.float() / 255)
            if options == {"crop": (5, 8)}:
                windows = pictures.labels[0].unfold(0, 5, 1).unfold(1, 8, 1)          # (top, left, row, col)
                corners.add(tuple((windows == labels[0]).all(-1).all(-1).nonzero()[0].tolist()))
    assert 50 < sum(flipped) < 110 and len(corners) > 4


def test_jitter_leaves_pixels_or_keeps_them_from_0_to_1(pictures):
    x, labels = augmented(pictures)
    assert torch.equal(x, pictures.images.float() / 255) and torch.equal(labels, pictures.labels)
    for seed in range(10):
        x, labels = augmented(pictures, seed, jitter=0.9)
        assert x.min() >= 0 and x.max() <= 1 and torch.equal(labels, pictures.labels)
        assert all(not torch.allclose(a, b / 255) for a, b in zip(x, pictures.images, strict=True))
    whole, drawn = replace(pictures, images=100 + pictures.images // 8), []           # far from black and white
    for x, seen in zip(whole.images.double() / 255, augmented(whole, 3, jitter=0.2)[0].double(), strict=True):
        parts = [(p.mean(), p.mean(0) - p.mean(), p - p.mean(0)) for p in (x, seen)]   # light, grey, colour
        light, grey, colour = ((b * a).sum() / (a * a).sum() for a, b in zip(*parts, strict=True))
        drawn += [light, grey / light, colour / grey]
        assert all(torch.allclose(b, n * a, atol=1e-5) for a, b, n in zip(*parts, (light, grey, colour), strict=True))
    assert all(0.8 <= factor <= 1.2 for factor in drawn) and len({round(float(n), 4) for n in drawn}) == 15


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_class_weights(pictures, balance):
    labels = torch.where(pictures.labels == 2, 1, pictures.labels)                    # class 2 is absent
    weight = region_attack.class_weights(replace(pictures, labels=labels), balance)
    zero, one = ((labels == c).sum().double() / (labels != VOID).sum() for c in (0, 1))
    assert weight[2] == 0 and float(zero * weight[0] + one * weight[1]) == pytest.approx(1, abs=1e-6)
    assert float(weight[0] / weight[1]) == pytest.approx(float(one / zero) ** balance, rel=1e-5)
    assert balance or weight[:2].tolist() == pytest.approx([1, 1])


def test_the_objective_is_torchs_cross_entropy(net, pictures):
    weight = torch.tensor([0.5, 1.0, 2.0])
    x, labels = pictures.batch(torch.arange(5))
    loss = region_attack.objective(CONFIG, pictures, weight, net, x, labels, Draws())
    log = net(x).log_softmax(1)
    counted, total = 0.0, 0.0
    for c in range(3):
        total = total - weight[c] * log[:, c][labels == c].sum()
        counted = counted + weight[c] * (labels == c).sum()
    assert torch.allclose(loss, total / counted, rtol=1e-4)
    assert torch.allclose(loss, cross_entropy(net(x), labels, weight=weight, ignore_index=VOID), rtol=1e-4)


def test_a_short_fit_lowers_the_loss(pictures):
    c = replace(CONFIG, width=4, head=8, plus=True, flip_augmentation=True, jitter=0.1, recipe=PolyRecipe(
        epochs=4, epoch_steps=4, batch_size=5, learning_rate=1e-2, adamw=True, backbone_scale=1.0))
    halves = torch.arange(32).expand(16, 32) // 16 * torch.ones(5, 1, 1).long()
    images = (halves[:, None] * 200 + pictures.images // 8).to(torch.uint8)           # bright is class 1
    train = replace(pictures, images=images, labels=halves)
    torch.manual_seed(0)
    net = region_attack.build(c, 3)
    loss = partial(region_attack.objective, c, train, region_attack.class_weights(train, 0.3))
    history = [row["loss"] for row in training.fit(net, train, loss, c.recipe, seed=0)]
    assert history[-1] < 0.7 * history[0] and not net.training


@pytest.mark.parametrize("profile, dataset", [("smoke", "streets"), ("smoke", "mine"), ("quick", "streets"),
                                              ("quick", "mine"), ("paper", "camvid"), ("paper", "cityscapes")])
def test_every_preset_makes_a_config(profile, dataset):
    SegmenterConfig(profile=profile, dataset="", data="", **region_attack.preset(profile, dataset).settings)


def test_presets_of_image_sets_and_networks():
    preset = region_attack.preset
    assert preset("quick", "streets") == region_attack.QUICK_STREETS
    assert preset("quick", "mine") == preset("quick", "camvid") == region_attack.QUICK
    assert preset("smoke", "mine") == region_attack.SMOKE and preset("paper", "camvid").size == (360, 480)
    preset("smoke", "mine").settings.clear()
    assert region_attack.SMOKE.settings
    assert preset("paper", "camvid", "small") == region_attack.PAPER_SMALL
    assert preset("quick", "camvid", "small") == region_attack.QUICK_SMALL
    assert preset("quick", "streets", "small") == region_attack.QUICK_STREETS
    assert preset("quick", "camvid", "resnet50").settings == (
        region_attack.QUICK.settings | region_attack.NETWORKS["resnet50"])
    with pytest.raises(ValueError, match=r"network: 'resnet99' .* '', 'small', "):
        preset("paper", "camvid", "resnet99")
    n_seeds = region_attack.n_seeds
    assert n_seeds("paper", "camvid", "small") == n_seeds("quick", "camvid", "small") == 15
    assert n_seeds("quick", "camvid") == n_seeds("quick", "streets", "small") == 3


def test_the_papers_schedules_are_passes_over_their_sets():
    for preset, images, least, most in ((region_attack.PAPER_CITYSCAPES, 2975, 160, 162),
                                        (region_attack.PAPER_CAMVID, 367, 199, 201),
                                        (region_attack.PAPER_SMALL, 367, 100, 101)):
        recipe = preset.settings.get("recipe", PolyRecipe())
        assert least <= recipe.epochs * recipe.epoch_steps * recipe.batch_size / images <= most
        assert recipe.rate(0) == recipe.learning_rate and recipe.rate(recipe.epochs) == 0


def test_the_configs_of_a_page(tmp_path):
    configs = region_attack.configs("quick", "camvid", "0123456789ab")
    assert list(configs) == ["plain", "circular_padding", "never_flipped", "without_skip"]
    plain, circular, unflipped, _ = configs.values()
    assert circular == replace(plain, padding_mode="circular", n_random_sets=5, fractions=plain.fractions[1:])
    assert unflipped == replace(circular, padding_mode="zeros", flip_augmentation=False)
    assert list(region_attack.configs("quick", "streets", "")) == ["plain", "circular_padding", "never_flipped"]
    assert list(region_attack.configs("quick", "camvid", "", network="small")) == [
        "plain", "circular_padding", "never_flipped"]
    assert region_attack.configs("quick", "streets", "", steps=41)["plain"].recipe.epoch_steps == 4   # of 12 epochs
    assert region_attack.configs("quick", "streets", "", backbone="imagenet")["plain"].weights == "imagenet"
    assert region_attack.configs("paper", "camvid", "", backbone="random")["plain"].weights == ""
    file = tmp_path / "w.pth"
    file.write_text("any")
    trained = region_attack.configs("quick", "camvid", "", checkpoint=str(file))
    assert list(trained) == ["plain"] and len(trained["plain"].weights) == 12
    with pytest.raises(ValueError, match=r"^backbone: 'none' "):
        region_attack.configs("quick", "camvid", "", backbone="none")


def test_the_kept_records_are_those_of_the_configs():
    kept = records.load(Path(__file__).parents[1] / "records" / "cpu" / "region_attack.jsonl")
    for runs in region_attack.recorded_sets(kept):
        network = "small" if region_attack.recorded_size(runs) == (48, 64) else ""
        configs = region_attack.configs("quick", "camvid", runs[0].config["data"], network=network)
        names = region_attack.network_names(runs)
        for run in runs:
            c = region_attack.recorded(run)
            assert replace(configs[names[run.digest]], revision=c.revision) == c and digest(c) == run.digest


def record(c: SegmenterConfig, seed: int) -> records.Record:
    return records.Record("region_attack", digest(c), seed, json.loads(json.dumps(describe(c))), {})


def test_recorded_sets_are_plain_networks_and_their_controls():
    large = region_attack.configs("quick", "camvid", "a")
    small = region_attack.configs("quick", "camvid", "b", network="small")
    old = {name: replace(c, revision=1) for name, c in large.items()}
    runs = [record(c, 0) for networks in (old, large) for c in networks.values()]
    runs += [record(small["plain"], seed) for seed in range(2)] + [record(small["circular_padding"], 0)]
    runs.append(record(replace(small["circular_padding"], width=4), 0))          # the control of no plain network
    sets = region_attack.recorded_sets(runs)
    assert [[region_attack.network_names(of_set)[run.digest] for run in of_set] for of_set in sets] == [
        ["plain", "plain", "circular_padding"], list(large), list(old)]
    assert [of_set[0].config["revision"] for of_set in sets] == [2, 2, 1]
    assert region_attack.recorded(runs[0]) == old["plain"]
    assert region_attack.recorded_size([runs[0]]) == (120, 160)                 # of the preset, without a prediction


def test_many_small_networks_are_run_with_their_controls(monkeypatch, tmp_path):
    wanted = []
    networks = region_attack.configs("quick", "camvid", "", network="small")
    names = {digest(c): name for name, c in networks.items()}

    def run_or_load(experiment, configs, run, *, seeds, **options):
        made = [record(c, seed) for c in configs for seed in seeds]
        wanted.extend((names[run.digest], run.seed) for run in made)
        return made

    monkeypatch.setattr(region_attack.records, "run_or_load", run_or_load)
    runs = region_attack.collect(networks, range(15), dict, Workspace("quick", out=str(tmp_path)))
    counts = pd.Series([name for name, _ in wanted]).value_counts().to_dict()
    assert counts == {"plain": 15, "circular_padding": 4, "never_flipped": 2} and len(set(wanted)) == len(runs) == 21
    assert [names[run.digest] for run in runs][:15] == ["plain"] * 15


def test_the_loss_of_either_half():
    rows = pd.DataFrame([("nothing", 0.0, None, 50, 40), ("signed", 0.1, "left", 42, 39),
                         ("signed", 0.1, "right", 45, 30),
                         ("signed", 0.1, "top", 0, 0), ("random", 0.1, None, 47, 36), ("random", 0.1, None, 45, 36)],
                        columns=["kind", "fraction", "region", "left", "right"]).assign(network="plain", seed=0)
    curve = region_attack.side_curve(pd.concat([rows, rows.assign(network="circular_padding", left=0, right=0)]))
    assert curve.set_index(["side", "kind"])["mean"].to_dict() == {
        ("left", "targeted"): 8, ("left", "other"): 1, ("left", "random"): 4,
        ("right", "targeted"): 10, ("right", "other"): 5, ("right", "random"): 4}
    assert curve["percent"].eq(10).all()


def test_the_loss_of_a_region():
    rows = pd.DataFrame([("nothing", 0.0, 50, 40), ("flip", 0.1, 42, 39), ("random", 0.1, 47, 36),
                         ("random", 0.1, 45, 38), ("shift", 0.1, 0, 0)],
                        columns=["kind", "fraction", "centre", "periphery"]).assign(network="plain", seed=0)
    others = rows.assign(network="circular_padding", centre=0, periphery=0)
    curve = region_attack.region_curve(pd.concat([rows, others]), ["flip", "random"], ["centre", "periphery"])
    assert curve.set_index(["region", "kind"])["mean"].to_dict() == {
        ("centre", "flip"): 8, ("centre", "random"): 4, ("periphery", "flip"): 1, ("periphery", "random"): 3}
    assert curve["percent"].eq(10).all() and curve["n"].eq(1).all()


def test_a_plan_has_both_sides_at_every_fraction(pictures):
    c = replace(CONFIG, fractions=(0.25, region_attack.REGION_FRACTION, 0.3, 0.5), n_random_sets=1)
    conv = torch.nn.Conv2d(3, 16, 3, padding=1)
    rank = channels.rank(conv, lambda: torch.rand(4, 3, 32, 32).split(2))
    planned = pd.DataFrame([p.tags for p in region_attack.plan(c, rank, 0)])
    regional = planned.dropna(subset="region").groupby("fraction")["region"].agg(["nunique", "size"])
    assert regional["nunique"].tolist() == [6, 2, 2, 6] and regional["size"].tolist() == [18, 2, 2, 18]


def test_a_run_is_the_seeds_and_its_tables_come_from_its_record(tmp_path):
    size, _, seeds = region_attack.SMOKE
    splits = registry.load("streets", "", size=size, validation=0.0, seeds=seeds)
    c = region_attack.configs("smoke", "streets", splits.fingerprint)["plain"]
    run = partial(region_attack.run, splits=splits, workspace=Workspace("smoke", out=str(tmp_path)))
    runs = [records.Record("region_attack", digest(c), seed, {}, run(c, seed, None)) for seed in (0, 1)]
    assert {**runs[1].results} == run(c, 1, None)
    assert {"symmetry", "examples"} <= set(runs[0].results) and "symmetry" not in runs[1].results

    names = {digest(c): "plain"}
    rows, gaps, specificity = (ablation.rows_of(runs, name, "network", names)
                               for name in ("rows", "gaps", "specificity"))
    assert set(rows["region"].dropna()) == set(canvas.REGIONS)
    table = region_attack.score_table(rows, runs, names)
    assert table["n"].tolist() == [2]
    assert table["whole image"][0] == pytest.approx(50 * sum(r.results["miou"] for r in runs), abs=1e-3)
    curve = region_attack.loss_curve(rows, ["flip", "random"])
    assert curve["kind"].tolist() == 4 * ["flip"] + 4 * ["random"] and curve["mean"][curve["percent"] == 0].eq(0).all()
    spearman, shared = region_attack.agreement_tables(runs)
    assert list(spearman.index) == [*region_attack.RULES, "signed_left", "signed_right"]
    assert all(spearman.loc[rule, rule] == 1 and shared.loc[rule, rule] == 2 for rule in spearman.index)
    overall, sides = judged.gap_rows(gaps), judged.specificity_rows(specificity)
    assert len(overall) == 4 * 2 * 3 and len(sides) == 3 * 6 * 2 + 2 and {row.n for row in [*overall, *sides]} == {2}


# Typed a second time: first list, second list, shared of 100, shared of 300, Spearman's correlation.
RELEASED = """
left   right    19  104   0.386
left   overall  10   72  -0.01
right  overall  13   70  -0.03
"""


def test_what_the_released_rankings_share():
    lines = [line.split() for line in RELEASED.split("\n")[1:-1]]
    assert judged.RELEASED.columns.tolist() == ["first", "second", "shared of 100", "shared of 300", "spearman"]
    assert judged.RELEASED.to_numpy().tolist() == [
        [first, second, int(hundred), int(three), float(rho)] for first, second, hundred, three, rho in lines]


LARGE = paper.Scale({"steps": 1000, "width": 16, "networks": 10})
NO = -9.0   # of rows that no rule reads


def row(network: str, kind: str, where: str, mean: float, half: float = 1.0, fraction: float = 0.15, n: int = 12):
    """A gap beyond `where`, or the specificity for that region, with an interval of `half` to either side."""
    make = judged.Gap if where in ablation.CONTROLS else judged.Specificity
    return make(network, kind, where, fraction, mean, mean - half, mean + half, n)


def plain(claim: paper.Claim, mean: float, half: float, n: int = 12) -> list:
    """Rows of plain networks in which a claim's effect is `mean`."""
    if claim is judged.CHANNELS_OVERALL:
        return [row("plain", "flip", "random", mean, half, n=n), row("plain", "flip", "random", NO, fraction=0.05, n=n),
                row("plain", "flip", "random", NO, fraction=0.5, n=n), row("plain", "flip", "rms_matched", NO, n=n),
                row("plain", "shift", "random", NO, n=n)]
    if claim is judged.CHANNELS_PERIPHERY:
        return [row("plain", "flip", "periphery", mean, half, fraction=0.5, n=n),
                row("plain", "flip", "periphery", NO, n=n)]
    return [row("plain", "signed", "left", mean, half, n=n), row("plain", "signed", "right", 2, n=n),
            row("plain", "signed", "top", NO, n=n), row("plain", "active", "left", NO, n=n),
            row("plain", "signed", "left", NO, fraction=0.5, n=n)]


@pytest.mark.parametrize("claim", judged.CLAIMS, ids=lambda claim: claim.id)
@pytest.mark.parametrize("mean, half, verdict", [
    (2.0, 1.9, paper.REPRODUCED),
    (0.3, 0.2, paper.REPRODUCED),        # small, and there
    (2.0, 2.0, paper.INCONCLUSIVE),      # the interval starts at 0
    (-1.0, 2.0, paper.INCONCLUSIVE),     # it still holds the smallest effect of interest
    (0.1, 0.8, paper.CONTRADICTED),      # no effect of interest
    (-3.0, 1.0, paper.CONTRADICTED),
])
def test_the_verdicts_of_the_ablations(claim, mean, half, verdict):
    outcome, numbers = claim.verdict(plain(claim, mean, half), LARGE)
    assert outcome == verdict
    assert f"{mean:+.1f} points [" in numbers and "n = 12" in numbers


def test_both_sides_have_to_suffer_more():
    sides = [row("plain", "signed", "left", 2), row("plain", "signed", "right", -0.5)]
    assert judged.CHANNELS_REGION.verdict(sides, LARGE)[0] == paper.CONTRADICTED


def test_a_verdict_shows_the_fractions_that_it_does_not_judge():
    assert judged.CHANNELS_PERIPHERY.verdict(plain(judged.CHANNELS_PERIPHERY, 2, 1), LARGE)[1] == (
        "50 % of the channels: +2.0 points [+1.0, +3.0], n = 12; not judged: 15 % of the channels: -9.0 points "
        "[-10.0, -8.0]")


@pytest.mark.parametrize("claim", judged.CLAIMS, ids=lambda claim: claim.id)
def test_one_network_is_not_judged(claim):
    assert claim in claims.CLAIMS
    assert claim.verdict(plain(claim, 2, 1, n=1), LARGE)[0] == paper.NOT_TESTABLE


@pytest.mark.parametrize("profile, dataset, testable", [
    ("smoke", "streets", []), ("quick", "streets", []),
    ("quick", "camvid", [judged.CHANNELS_PERIPHERY.id]), ("paper", "camvid", [judged.CHANNELS_PERIPHERY.id]),
    ("quick small", "camvid", [claim.id for claim in judged.CLAIMS]),
    ("paper small", "camvid", [claim.id for claim in judged.CLAIMS])])
def test_what_the_runs_of_a_profile_can_judge(profile, dataset, testable):
    profile, _, network = profile.partition(" ")
    c = region_attack.configs(profile, dataset, "", network=network)["plain"]
    scale = judged.scale(c, (120, 160), region_attack.n_seeds(profile, dataset, network))
    assert [claim.id for claim in judged.CLAIMS
            if claim.verdict(plain(claim, 2, 1), scale)[0] != paper.NOT_TESTABLE] == testable


def test_what_stands_in_for_the_papers_set_up(tmp_path):
    file = tmp_path / "w.pth"
    file.write_text("any")
    small, authors, large_stride, elsewhere = (region_attack.configs(*of, "", **options)["plain"] for of, options in (
        (("quick", "camvid"), {}), (("paper", "cityscapes"), {}), (("paper", "cityscapes"), {"network": "torchvision"}),
        (("paper", "cityscapes"), {"checkpoint": str(file)})))
    assert judged.scale(small, (120, 160), 3) == paper.Scale(
        {"steps": 1000, "width": 16, "networks": 3},
        "camvid for Cityscapes, 120×160 for 1024×2048 pixels, resnet18 of width 16 with the skip of DeepLabv3+ for "
        "resnet50, 1,000 for 30,000 steps, random for ImageNet weights")
    assert judged.scale(authors, (1024, 2048), 3) == paper.Scale({"steps": 30_000, "width": 64, "networks": 3})
    assert judged.scale(large_stride, (1024, 2048), 3).substitutes == "resnet50 at stride 8 for resnet50"
    assert judged.scale(elsewhere, (1024, 2048), 1).substitutes == "a network trained elsewhere"


# Mean and half of an interval: the cost, that beyond RMS-matched sets, and that beyond networks with circular padding.
@pytest.mark.parametrize("cost, matched, circular, outcome", [
    ((2, 1), (2, 1), (2, 1), paper.RULED_OUT),
    ((2, 1), (-2, 1), (2, 1), paper.RIVAL_HOLDS),
    ((2, 1), (2, 1), (0, 0.9), paper.RIVAL_HOLDS),
    ((2, 1), (2, 1), (0, 2), paper.UNDECIDED),
    ((2, 1), (0, 0.5), (2, 1), paper.RIVAL_HOLDS),     # matched sets cost as much
    ((2, 1), (0, 1.5), (2, 1), paper.UNDECIDED),
    ((0, 1), (-2, 1), (0, 0.9), paper.UNDECIDED),      # there is nothing to explain
])
def test_the_control_of_the_flip_ranked(cost, matched, circular, outcome):
    rows = [row("plain", "flip", "random", *cost), row("plain", "flip", "rms_matched", *matched),
            row(judged.BEYOND_CIRCULAR, "flip", "random", *circular, n=2),
            row("circular_padding", "flip", "random", 0.5, n=1), row("circular_padding", "flip", "random", 0.7, n=1),
            row(judged.BEYOND_CIRCULAR, "flip", "rms_matched", NO), row("never_flipped", "flip", "random", NO, n=1),
            row("plain", "flip", "rms_matched", NO, fraction=0.05)]
    verdict, numbers = judged.CHANNELS_OVERALL.control_outcome(rows, LARGE)
    assert verdict == outcome and numbers.endswith("which have +0.5 and +0.7")


@pytest.mark.parametrize("difference, circular, outcome", [
    ((2, 1), (2, 1), paper.RULED_OUT),
    ((2, 1), (-1, 1), paper.RIVAL_HOLDS),
    ((2, 1), (0, 2), paper.UNDECIDED),
    ((0, 1), (-1, 1), paper.UNDECIDED),                # there is nothing to explain
])
def test_the_control_of_the_periphery(difference, circular, outcome):
    rows = [row("plain", "flip", "periphery", *difference, fraction=0.5), row("plain", "flip", "periphery", NO),
            row(judged.BEYOND_CIRCULAR, "flip", "periphery", *circular, fraction=0.5, n=2),
            row(judged.BEYOND_CIRCULAR, "flip", "periphery", NO)]
    assert judged.CHANNELS_PERIPHERY.control_outcome(rows, LARGE)[0] == outcome


def sides(local: tuple, signed: tuple, n: int = 2) -> list:
    """Rows of the control of the sides, in which one of each kind has the given mean and half of its interval."""
    listed = [row("never_flipped", "signed", side, 2, n=1) for side in ("left", "right") for _ in range(n)]
    return [row("plain", "only_there", "left", *local), row("plain", "only_there", "right", 2),
            listed[0]._replace(mean=signed[0], low=signed[0] - signed[1], high=signed[0] + signed[1]), *listed[1:],
            row("plain", "signed", "left", NO), row("never_flipped", "signed", "top", NO, n=1)]


@pytest.mark.parametrize("local, signed, outcome", [
    ((2, 1), (2, 1), paper.RULED_OUT),
    ((0, 0.9), (2, 1), paper.RIVAL_HOLDS),             # the measure sees nothing
    ((2, 1), (-1, 1), paper.RIVAL_HOLDS),              # the ranking finds no side, in one network of two
    ((1, 2), (2, 1), paper.UNDECIDED),
    ((2, 1), (1, 2), paper.UNDECIDED),
])
def test_the_control_of_the_sides(local, signed, outcome):
    assert judged.CHANNELS_REGION.control_outcome(sides(local, signed), LARGE)[0] == outcome


def test_controls_without_the_networks_for_them():
    for claim in judged.CLAIMS:
        assert claim.control_outcome(plain(claim, 2, 1), LARGE)[0] == paper.NOT_TRIED
    assert judged.CHANNELS_REGION.control_outcome(sides((2, 1), (2, 1), n=1), LARGE)[0] == paper.UNDECIDED


def test_rows_of_controls_are_networks_by_themselves_and_against_the_plain_ones():
    frame = pd.DataFrame([{"network": network, "kind": "flip", "against": "random", "fraction": 0.5, "value": value,
                           "low": -1.0, "high": 9.0, "seed": seed}
                          for network, values in (("plain", (1.0, 2.0, 3.0)), ("circular_padding", (0.0, 1.0)))
                          for seed, value in enumerate(values)])
    plain, beyond, *circular = judged.gap_rows(frame)
    assert (plain.network, plain.mean, plain.n) == ("plain", 2.0, 3) and plain.low < 1 and plain.high > 3
    assert [row[4:] for row in circular] == [(0.0, -1.0, 9.0, 1), (1.0, -1.0, 9.0, 1)]
    half = 3.182 * (2.5 / 3 * (1 / 3 + 1 / 2)) ** 0.5          # Student's t with 3 degrees of freedom, pooled variance
    assert beyond[4:] == pytest.approx((1.5, 1.5 - half, 1.5 + half, 2), abs=1e-3)
    single = judged.gap_rows(frame[:4])[1]
    assert (single.network, single.mean, single.n) == (judged.BEYOND_CIRCULAR, 2.0, 1) and single.low != single.low


def test_what_the_periphery_loses_more_than_the_centre():
    rows = pd.DataFrame([("nothing", 0.0, 50, 50), ("flip", 0.15, 40, 30), ("random", 0.15, 44, 41),
                         ("random", 0.15, 46, 43), ("rms_matched", 0.15, 0, 0)],
                        columns=["kind", "fraction", "centre", "periphery"]).assign(network="plain", seed=0)
    found = region_attack.periphery_specificity(rows)
    assert found[["fraction", "centre", "periphery", "value"]].to_numpy().tolist() == [[0.15, 5, 12, 7]]
    made, = judged.specificity_rows(pd.concat([found, found.assign(seed=1)]))
    assert made[:5] == ("plain", "flip", "periphery", 0.15, 7) and made.n == 2


def test_single_networks_stand_side_by_side_within_their_group():
    single = pd.DataFrame([(network, region, seed, seed - 1.0, seed + 1.0)
                           for network, seeds in (("plain", range(3)), ("never_flipped", range(1)))
                           for region in ("left", "right") for seed in seeds],
                          columns=["network", "region", "mean", "low", "high"])
    ax = show_figures.networks_by_group(single, "network", "region", plt.figure().subplots())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["plain", "never\nmirrored"]
    lines = [line for line in ax.get_lines() if line.get_marker() != "None"]
    drawn = sorted((round(float(x), 3), y) for line in lines for x, y in line.get_xydata())
    assert [y for _, y in drawn] == [0, 1, 2, 0, 1, 2, 0, 0]                    # left, then right, of either network
    assert [x < 0.5 for x, _ in drawn] == 6 * [True] + 2 * [False] and len({x for x, _ in drawn}) == 8
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]
