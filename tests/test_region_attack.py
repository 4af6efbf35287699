"""Page 06: segmenters train, are ablated and scored by region; its presets, tables and rules."""
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

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
from posenc_lib.measure import canvas, metrics
from posenc_lib.nets.hooks import ablated
from posenc_lib.run import records, training
from posenc_lib.run.config import PolyRecipe, Workspace, digest


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
    assert preset("quick", "camvid", "small") == region_attack.QUICK
    assert preset("quick", "camvid", "resnet50").settings == (
        region_attack.QUICK.settings | region_attack.NETWORKS["resnet50"])
    with pytest.raises(ValueError, match=r"network: 'resnet99' .* '', 'small', "):
        preset("paper", "camvid", "resnet99")
    assert region_attack.n_seeds("paper", "small") == 15 and region_attack.n_seeds("quick", "small") == 3


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
    configs = region_attack.configs("quick", "camvid", kept[0].config["data"])
    assert {record.digest for record in kept} == {digest(c) for c in configs.values()}


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
    assert len(overall) == 4 * 2 * 3 and len(sides) == 3 * 6 * 2 and {row.n for row in [*overall, *sides]} == {2}


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


FRACTIONS = (0.05, 0.15, 0.5)
SIDES = ("right", "left", "top")


def rows(*changes: tuple[str, float], half: float = 1.0, n: int = 3) -> tuple[list, list]:
    """Gaps and specificity: everything 2 points with intervals of `half` on each side, under circular padding 0.9.

    changes  "network/kind/against or region/percent of the channels", mean: what differs ("*" is any)
    """
    keys = [("plain", kind, against, fraction) for kind in ("flip", "shift", "rms_activation")
            for against in ablation.CONTROLS for fraction in FRACTIONS]
    keys += [("plain", kind, region, fraction) for kind in ("signed", "only_there", "active")
             for region in SIDES for fraction in FRACTIONS]
    keys += [(network, "flip", against, fraction) for network in ("circular_padding", "never_flipped")
             for against in ablation.CONTROLS for fraction in FRACTIONS[1:]]
    keys += [(network, kind, region, fraction)
             for network in ("circular_padding", *2 * ["never_flipped"]) for kind in ("signed", "only_there", "active")
             for region in SIDES for fraction in FRACTIONS[1:]]
    names = ["/".join((*key[:3], f"{100 * key[3]:.0f}")) for key in keys]
    means = [0.9 if key[0] == "circular_padding" else 2.0 for key in keys]
    for pattern, mean in changes:
        matches = [bool(re.fullmatch(pattern.replace("*", "[^/]*"), name)) for name in names]
        assert any(matches), pattern
        means = [mean if match else old for match, old in zip(matches, means, strict=True)]
    gaps, specificity = [], []
    for (network, kind, where, fraction), mean in zip(keys, means, strict=True):
        values = (network, kind, where, fraction, mean, mean - half, mean + half, n if network == "plain" else 1)
        if where in ablation.CONTROLS:
            gaps.append(judged.Gap(*values))
        else:
            specificity.append(judged.Specificity(*values))
    return gaps, specificity


def of(claim: paper.Claim, *changes: tuple[str, float], **options) -> list:
    """The rows that a claim is about."""
    return rows(*changes, **options)[0 if claim is judged.CHANNELS_OVERALL else 1]


def plain(some: list) -> list:
    return [row for row in some if row.network == "plain"]


OTHER_GAPS = [(f"plain/{kind}/*/*", -9) for kind in ("shift", "rms_activation")]
OTHER_SIDES = [(f"plain/{kind}/*/*", -9) for kind in ("active", "only_there")]


@pytest.mark.parametrize("claim, changes, verdict", [
    (judged.CHANNELS_OVERALL, [], paper.REPRODUCED),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/50", 1.01)], paper.REPRODUCED),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/50", 1.0)], paper.IN_DIRECTION),    # the interval starts at 0
    (judged.CHANNELS_OVERALL, [("plain/flip/random/5", 0.99)], paper.IN_DIRECTION),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/15", 0.01)], paper.IN_DIRECTION),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/*", 0.01)], paper.IN_DIRECTION),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/15", 0.0)], paper.NOT_REPRODUCED),
    (judged.CHANNELS_OVERALL, [("plain/flip/random/5", -0.01)], paper.NOT_REPRODUCED),  # at one fraction of three
    (judged.CHANNELS_OVERALL, [("plain/flip/random/*", -2)], paper.NOT_REPRODUCED),
    (judged.CHANNELS_OVERALL, [("plain/flip/rms_matched/*", -9), *OTHER_GAPS], paper.REPRODUCED),
    (judged.CHANNELS_REGION, [], paper.REPRODUCED),
    (judged.CHANNELS_REGION, [("plain/signed/left/15", 1.01)], paper.REPRODUCED),
    (judged.CHANNELS_REGION, [("plain/signed/left/15", 1.0)], paper.IN_DIRECTION),
    (judged.CHANNELS_REGION, [("plain/signed/right/15", 0.99)], paper.IN_DIRECTION),
    (judged.CHANNELS_REGION, [("plain/signed/right/15", 0.01)], paper.IN_DIRECTION),
    (judged.CHANNELS_REGION, [("plain/signed/right/15", 0.0)], paper.NOT_REPRODUCED),
    (judged.CHANNELS_REGION, [("plain/signed/left/15", -0.01)], paper.NOT_REPRODUCED),  # one side of two
    (judged.CHANNELS_REGION, [("plain/signed/left/5", -9), ("plain/signed/right/5", -9)], paper.REPRODUCED),
    (judged.CHANNELS_REGION, [("plain/signed/left/50", -9), ("plain/signed/right/50", -9)], paper.REPRODUCED),
    (judged.CHANNELS_REGION, [("plain/signed/top/*", -9), *OTHER_SIDES], paper.REPRODUCED),
])
def test_the_judges_of_the_ablations(claim, changes, verdict):
    said, numbers = claim.verdict(plain(of(claim, *changes)))
    assert said == verdict
    assert re.search(r"[+-]\d+\.\d points \[[+-]\d", numbers) and "n = 3" in numbers and "nan" not in numbers


def test_the_numbers_of_the_verdicts():
    gaps, specificity = rows(("plain/flip/random/15", 3), ("plain/flip/rms_matched/5", -4),
                             ("plain/signed/right/15", 0.5))
    assert judged.CHANNELS_OVERALL.judge(gaps)[1] == (
        "5 % of the channels: +2.0 points [+1.0, +3.0]; 15 % of the channels: +3.0 points [+2.0, +4.0]; 50 % of the "
        "channels: +2.0 points [+1.0, +3.0], n = 3")
    assert judged.CHANNELS_REGION.judge(specificity)[1] == (
        "right: +0.5 points [-0.5, +1.5]; left: +2.0 points [+1.0, +3.0], n = 3")


@pytest.mark.parametrize("claim", judged.CLAIMS, ids=lambda claim: claim.id)
def test_one_network_is_not_judged(claim):
    assert claim in claims.CLAIMS
    assert claim.verdict([]) == (paper.NOT_TESTABLE, "not run yet")
    assert claim.verdict(plain(of(claim, n=1)))[0] == paper.NOT_TESTABLE
    assert claim.verdict(plain(of(claim, n=2)))[0] == paper.REPRODUCED


@pytest.mark.parametrize("changes, said", [
    ([], paper.PASSED),                                                        # plain from 1.0, circular 0.9
    ([("plain/flip/rms_matched/5", 1.01)], paper.PASSED),
    ([("plain/flip/rms_matched/5", 1.0)], paper.NOT_PASSED),                   # loudness is enough at one fraction
    ([("plain/flip/rms_matched/50", -3)], paper.NOT_PASSED),
    ([("circular_padding/flip/random/15", 0.99)], paper.PASSED),
    ([("circular_padding/flip/random/15", 1.0)], paper.NOT_PASSED),            # as much where nothing knows the column
    ([("circular_padding/flip/random/50", 3)], paper.NOT_PASSED),
    ([("plain/flip/random/5", -3)], paper.PASSED),                             # that is the verdict's business
    ([("circular_padding/flip/rms_matched/*", 9), ("never_flipped/*/*/*", -9), ("plain/only_there/*/*", -9)],
     paper.PASSED),
])
def test_the_control_of_the_flip_ranked(changes, said):
    outcome, numbers = judged.CHANNELS_OVERALL.control_outcome(rows(*changes)[0])
    assert outcome == said and "nan" not in numbers
    assert re.search(r"matched sets: 5 % [+-]\d.*; 15 % .*, n = 3; .* network: 15 % [+-]\d.*, others [+-]", numbers)


@pytest.mark.parametrize("changes, said", [
    ([], paper.PASSED),
    ([("plain/only_there/left/15", 1.01)], paper.PASSED),
    ([("plain/only_there/left/15", 1.0)], paper.NOT_PASSED),                   # the measure sees nothing
    ([("plain/only_there/right/15", -2)], paper.NOT_PASSED),
    ([("never_flipped/signed/left/15", 1.0)], paper.NOT_PASSED),               # the ranking finds no side
    ([("never_flipped/signed/right/15", 1.01)], paper.PASSED),
    ([("*/*/*/50", -9), ("*/*/top/*", -9), ("plain/signed/*/*", -9), ("*/active/*/*", -9), ("*/flip/*/*", -9),
      ("circular_padding/*/*/*", -9), ("never_flipped/only_there/*/*", -9)], paper.PASSED),
])
def test_the_control_of_the_sides(changes, said):
    outcome, numbers = judged.CHANNELS_REGION.control_outcome(rows(*changes)[1])
    assert outcome == said and "nan" not in numbers
    assert re.search(r"only there: left \S+ points .*; right .*, n = 3; .* network: left .*; left .*; right ", numbers)


def test_one_network_of_two_that_finds_no_side_is_enough():
    specificity = rows()[1]
    at = [n for n, row in enumerate(specificity)
          if row[:4] == ("never_flipped", "signed", "left", 0.15)]
    assert len(at) == 2
    specificity[at[0]] = specificity[at[0]]._replace(mean=0.0, low=-1.0, high=1.0)
    assert judged.CHANNELS_REGION.control_outcome(specificity)[0] == paper.NOT_PASSED


@pytest.mark.parametrize("claim, network", [(judged.CHANNELS_OVERALL, "circular_padding"),
                                            (judged.CHANNELS_REGION, "never_flipped")])
def test_controls_that_were_not_tried(claim, network):
    assert claim.control_outcome([row for row in of(claim) if row.network != network])[0] == paper.NOT_TRIED
    assert claim.control_outcome(of(claim, n=1))[0] == paper.NOT_TRIED                  # no interval
    assert claim.control_outcome(of(claim, n=2))[0] == paper.PASSED


def test_rows_of_controls_are_networks_by_themselves():
    frame = pd.DataFrame([{"network": network, "kind": "flip", "against": "random", "fraction": 0.5, "value": value,
                           "low": -1.0, "high": 9.0, "seed": seed}
                          for network in ("plain", "circular_padding") for seed, value in enumerate((1.0, 3.0))])
    plain, *circular = judged.gap_rows(frame)
    assert (plain.network, plain.mean, plain.n) == ("plain", 2.0, 2) and plain.low < 1 and plain.high > 3
    assert [row[4:] for row in circular] == [(1.0, -1.0, 9.0, 1), (3.0, -1.0, 9.0, 1)]
