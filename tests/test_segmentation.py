"""Segmenters are torchvision's and the authors', read no code from a file, and lose exactly the channels asked for."""
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

from posenc_lib.base.draws import Draws
from posenc_lib.data.imageset import IMAGENET, VOID, ImageSet
from posenc_lib.experiments import region_attack
from posenc_lib.experiments.ablation import Ablation
from posenc_lib.experiments.region_attack import SegmenterConfig, region_iou, sweep
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import pretrained, segmenters
from posenc_lib.nets.heads import gap
from posenc_lib.nets.hooks import ablated
from posenc_lib.nets.segmenters import STAGES, Segmenter
from posenc_lib.run import training
from posenc_lib.run.config import PolyRecipe

CONFIG = SegmenterConfig(profile="smoke", dataset="", data="", net="resnet18", width=2, output_stride=8,
                         rates=(1, 2, 3), head=4, mirrored=False, jitter=0.0)


def small(classes: int = 3, **options) -> Segmenter:
    torch.manual_seed(0)
    return region_attack.build(replace(CONFIG, **options), classes).eval()


@pytest.fixture(scope="module", params=[False, True], ids=["v3", "v3plus"])
def net(request):
    """Its statistics are those of images and its logits stand around 0, so that it tells every class somewhere."""
    net, x = small(plus=request.param).train(), torch.randn(8, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(30):
            net(x)
        logits = net.eval()(x)
        last = list(net.modules())[-1]
        last.bias -= logits.mean((0, 2, 3))
    return net


@pytest.fixture(scope="module")
def pictures():
    """Five pictures of 16x32; the label of a pixel is its red, in thirds of 255, and a tenth are void."""
    seed = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 3, 16, 32), dtype=torch.uint8, generator=seed)
    labels = (images[:, 0].long() * 3) // 256
    labels[torch.rand(5, 16, 32, generator=seed) < 0.1] = VOID
    return ImageSet("made", "test", images, labels, ("a", "b", "c"), *IMAGENET)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_torchvisions_weights_give_torchvisions_logits(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    with torch.device("meta"):
        ours = Segmenter("resnet50", 21, output_stride=8, rates=(12, 24, 36))
    ours = segmenters.load_checkpoint(ours.to_empty(device="cpu"), tmp_path / "theirs.pth")
    assert not ours.training
    with torch.no_grad():
        x = torch.randn(1, 3, 65, 65)
        logits = theirs(x)["out"]
        assert torch.allclose(ours(x), logits, rtol=0, atol=1e-5 * float(logits.abs().max()))
    assert list(ours.state_dict()) == [name for name in theirs.state_dict() if not name.startswith("aux")]


@pytest.mark.parametrize("wrapped", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3},
                                     lambda s: {"module." + name: tensor for name, tensor in s.items()},
                                     lambda s: {**s, "aux_classifier.0.weight": torch.zeros(2)}])
def test_a_state_dict_loads_bare_and_wrapped(net, tmp_path, wrapped):
    torch.save(wrapped(net.state_dict()), tmp_path / "w.pth")
    other = small(plus=isinstance(net.classifier, segmenters._Plus))
    for parameter in other.parameters():
        nn.init.constant_(parameter, 0.5)
    assert segmenters.load_checkpoint(other.train(), str(tmp_path / "w.pth")) is other
    assert same(other, net) and not other.training


def test_the_authors_checkpoints_load(net, tmp_path):
    plus = isinstance(net.classifier, segmenters._Plus)
    head = "classifier." if plus else "classifier.classifier."
    state = {"module." + (name if name.startswith("backbone") else name.replace("classifier.", head, 1)): tensor
             for name, tensor in net.state_dict().items()}
    assert "module.classifier.classifier.0" + (".weight" if plus else ".convs.0.0.weight") in state
    adam = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"cur_itrs": 3, "model_state": state, "optimizer_state": adam, "best_score": np.float64(0.7)},
               tmp_path / "authors.pth")
    other = small(plus=plus)
    nn.init.zeros_(other.backbone.conv1.weight)
    assert same(segmenters.load_checkpoint(other, tmp_path / "authors.pth"), net)


@pytest.mark.parametrize("wrapped", [lambda s: s, lambda s: {"module." + name: tensor for name, tensor in s.items()}],
                         ids=["bare", "module"])
def test_safetensors_load(net, tmp_path, wrapped):
    save_file(wrapped(net.state_dict()), tmp_path / "w.safetensors")
    other = small(plus=isinstance(net.classifier, segmenters._Plus))
    nn.init.zeros_(other.backbone.conv1.weight)
    assert same(segmenters.load_checkpoint(other, tmp_path / "w.safetensors"), net)


class Code:
    """Unpickling it creates a file."""
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


@pytest.mark.parametrize("save", [torch.save, lambda what, file: file.write_bytes(pickle.dumps(what, protocol=2))])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path, save):
    net, made = small(), tmp_path / "made"
    save({"model_state": net.state_dict(), "best_score": Code(made)}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"checkpoint: .*evil\.pth holds more than tensors and plain values"):
        segmenters.load_checkpoint(net, tmp_path / "evil.pth")
    assert not made.exists()
    pickle.loads(pickle.dumps(Code(made))).close()   # it would have
    assert made.exists()


def test_a_checkpoint_that_is_cut_off_or_changed_is_told(tmp_path):
    net, file = small(), tmp_path / "w.pth"
    torch.save(net.state_dict(), file)
    whole = file.read_bytes()
    at = whole.index(net.backbone.conv1.weight.detach().numpy().tobytes())
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]
    for content in (b"", whole[:len(whole) // 2], whole[:-10], changed):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"^checkpoint: .*w\.pth is damaged or no checkpoint \(.+\); copy it"):
            segmenters.load_checkpoint(net, file)


@pytest.mark.parametrize("content", ["hello", "cut off"])
def test_what_is_no_checkpoint_is_told_in_one_sentence(tmp_path, content):
    """A text, and the start of a file in the format that torch wrote before 1.6."""
    net, file = small(), tmp_path / "w.pth"
    file.write_text(content)
    if content == "cut off":
        torch.save(net.state_dict(), file, _use_new_zipfile_serialization=False)
        file.write_bytes(file.read_bytes()[:110])
    with pytest.raises(ValueError, match=r"^checkpoint: .*w\.pth .*"):
        segmenters.load_checkpoint(net, file)


@pytest.mark.parametrize("other, sentence", [
    ({"classes": 5}, r"checkpoint: .*w\.pth tells 5 classes apart, and the image set has 3; give one that was trained"),
    ({"net": "resnet34"}, r"checkpoint: .*w\.pth does not fit this network: it has \d+ tensors, the network \d+; they "
                          r"differ in backbone\.layer1\.2\.bn1\.bias"),
    ({"width": 4}, r"does not fit this network: it has (\d+) tensors, the network \1; they differ in the shapes"),
    ({"plus": True}, r"does not fit this network: it has \d+ tensors, the network \d+; they differ in classifier"),
])
def test_other_classes_and_other_networks_are_refused(tmp_path, other, sentence):
    torch.save(small(**other).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=sentence) as error:
        segmenters.load_checkpoint(small(), tmp_path / "w.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_missing_checkpoint_is_told(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=rf"checkpoint: .*none\.{suffix} was asked for and is not there; give "):
        segmenters.load_checkpoint(small(), tmp_path / f"none.{suffix}")


@pytest.mark.parametrize("layer", STAGES)
def test_features_and_decode_are_the_two_parts_of_forward(net, layer):
    x = torch.randn(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        f, low = net.features(x, layer)
        assert (low is None) == (STAGES.index(layer) < STAGES.index("layer1"))
        assert torch.equal(net.decode(f, low, (16, 32), layer), net(x))
        assert net.decode(f, low, (5, 7), layer).shape == (2, 3, 5, 7)


@pytest.mark.parametrize("layer", ["layer5", "fc", ""])
def test_an_unknown_layer_is_answered_with_those_there_are(net, layer):
    with pytest.raises(ValueError, match=f"layer: '{layer}' is not supported; choose from 'conv1', .*'layer4'"):
        net.features(torch.zeros(1, 3, 16, 16), layer)
    with pytest.raises(ValueError, match=f"layer: '{layer}' is not supported"):
        replace(CONFIG, layer=layer)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name, width, channels", [("resnet18", None, 512), ("resnet50", None, 2048),
                                                   ("resnet18", 2, 16), ("resnet34", 4, 32)])
def test_the_size_of_the_feature_map(name, width, channels, stride):
    with torch.device("meta"):   # shapes only
        f, low = Segmenter(name, 3, width=width, output_stride=stride).features(torch.zeros(1, 3, 64, 96))
    assert f.shape == (1, channels, 64 // stride, 96 // stride)
    assert low.shape[-2:] == ((16, 24) if width is None else (32, 48))


@pytest.mark.parametrize("arguments, sentence", [
    ({"name": "resnet101"}, "segmenter: 'resnet101' is not supported; choose from 'resnet18', "),
    ({"output_stride": 32}, "output_stride: 32 is not supported; choose from 8, 16"),
    ({"width": 3}, "segmenter: width 3 was asked for; give an even number"),
])
def test_a_network_that_is_not_there_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Segmenter(**{"name": "resnet18", "num_classes": 3, **arguments})


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_build_honours_the_padding(mode):
    built, plain = small(padding_mode=mode), small()
    assert {m.padding_mode for m in built.modules() if isinstance(m, nn.Conv2d)} == {mode}
    assert same(built, plain)
    x = torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    moved = measure_channels.mean_response(
        lambda images: gap(built.features(images)[0]), [x], measure_channels.roll_half_width
    ).max()
    assert moved < 1e-6 if mode == "circular" else moved > 1e-3      # a small network stays shift-invariant


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
                told = net(x).argmax(1)
                for zone in range(8):
                    for c in range(3):
                        there = (zones == zone) & (labels[0] != VOID)
                        is_c, told_c = there & (labels[0] == c), there & (told[0] == c)
                        assert ours[image, zone, :, c].tolist() == [(is_c & told_c).sum(), is_c.sum(), told_c.sum()]
    assert len({tuple(removed.flatten().tolist()) for removed in counts}) >= 3   # the removals tell


def test_a_removal_takes_exactly_what_was_asked_for_and_writes_nowhere():
    f = torch.rand(2, 512, 2, 3, generator=torch.Generator().manual_seed(0)) + 1
    kept, response = f.clone(), torch.rand(512, generator=torch.Generator().manual_seed(1))
    for n in (100, 300, 50, 0, 100):
        chosen = measure_channels.top_channels(response, n)
        left = Ablation(chosen)(f)
        silent = (left == 0).flatten(2).all(2)
        assert silent.sum(1).tolist() == [n, n] and silent[:, chosen].all()
        assert torch.equal(left[~silent], f[~silent]) and torch.equal(f, kept)


def test_a_removal_puts_means_in_place_and_stays_inside_its_region():
    f, mean = torch.randn(2, 6, 4, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6.0).double() + 10
    chosen = torch.tensor([4, 1])
    left = Ablation(chosen, mean)(f)
    assert (left[:, 4] == 14).all() and (left[:, 1] == 11).all() and left.dtype == f.dtype
    assert torch.equal(left[:, [0, 2, 3, 5]], f[:, [0, 2, 3, 5]])
    for region in canvas.REGIONS:
        inside = torch.isin(canvas.zones(4, 8), torch.tensor(canvas.REGIONS[region]))
        part = Ablation(chosen, mean, region)(f)
        assert torch.equal(part[..., inside], left[..., inside]) and torch.equal(part[..., ~inside], f[..., ~inside])


@pytest.mark.parametrize("numbers, span", [([2, 6], "2..6"), ([-1], "-1..-1")])
def test_a_channel_beyond_the_layer_is_refused(numbers, span):
    with pytest.raises(ValueError) as error:
        Ablation(torch.tensor(numbers))(torch.zeros(1, 6, 2, 2))
    assert str(error.value) == f"Removal: channels {span} were asked for, but the layer has 0..5"


def test_region_iou_by_pencil():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, VOID]]])
    told = torch.tensor([[[0, 1, 1, 1], [0, 0, 0, 1]], [[0, 2, 1, 1], [0, 0, 1, 1]]])   # class 2 is never labelled
    counts = torch.stack([metrics.class_counts(metrics.confusion(p[None], labels, 3, canvas.zones(2, 4)))
                          for p in told]).int()
    for region, scores in (("", ((3 / 5 + 2 / 4) / 2, (3 / 4 + 1) / 2)), ("left", (3 / 4, 3 / 4)),
                           ("right", (2 / 3, 1)), ("periphery", (1, 1)), ("bottom", ((2 / 3 + 0) / 2, 1))):
        assert region_iou(counts, region)[:, 0].tolist() == pytest.approx(scores), region


def test_an_image_drawn_twice_counts_twice(net, pictures):
    removals, weights = [Ablation(torch.arange(n)) for n in (0, 8)], torch.ones(2, 5)
    counts, weights[0, :2] = sweep(net, pictures, removals), torch.tensor([2.0, 0.0])
    for region in ("", *canvas.REGIONS):
        scores = region_iou(counts, region, weights=weights)
        again = sweep(net, pictures.take(torch.tensor([0, 0, 2, 3, 4])), removals)
        assert torch.allclose(scores[:, :1], region_iou(again, region))
        assert torch.allclose(scores[:, 1:], region_iou(counts, region)) and scores.shape == (2, 2)


def augmented(pictures, seed: int = 0, **options):
    x, labels = pictures.images.float() / 255, pictures.labels
    return region_attack.augment(replace(CONFIG, **options), x, labels, Draws(seed=seed))


def test_mirroring_and_cropping_move_image_and_map_together(pictures):
    pictures, flipped, corners = pictures.take(torch.arange(20) % 5), [], set()
    for seed in range(8):
        for options in ({"mirrored": True}, {"crop": (5, 8)}, {"crop": (5, 8), "mirrored": True}, {"crop": (99, 99)}):
            x, labels = augmented(pictures, seed, **options)
            assert x.shape[-2:] == labels.shape[-2:] == ((5, 8) if options.get("crop") == (5, 8) else (16, 32))
            red = ((x[:, 0] * 255).round().long() * 3) // 256
            assert torch.equal(labels[labels != VOID], red[labels != VOID])
            if options == {"mirrored": True}:
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
    c = replace(CONFIG, width=4, head=8, plus=True, mirrored=True, jitter=0.1, recipe=PolyRecipe(
        epochs=4, epoch_steps=4, batch_size=5, learning_rate=1e-2, adamw=True, backbone_scale=1.0))
    halves = torch.arange(32).expand(16, 32) // 16 * torch.ones(5, 1, 1).long()
    images = (halves[:, None] * 200 + pictures.images // 8).to(torch.uint8)           # bright is class 1
    train = replace(pictures, images=images, labels=halves)
    torch.manual_seed(0)
    net = region_attack.build(c, 3)
    loss = partial(region_attack.objective, c, train, region_attack.class_weights(train, 0.3))
    history = [row["loss"] for row in training.fit(net, train, loss, c.recipe, seed=0)]
    assert history[-1] < 0.7 * history[0] and not net.training


def test_the_backbone_starts_from_imagenet_or_says_what_is_missing(offline, tmp_path):
    net = Segmenter("resnet18", 3, head=4)
    with pytest.raises(FileNotFoundError, match=r"weights: .*resnet18-imagenet\.safetensors is not there, and torchv"
                                                r"ision's resnet18 could not be downloaded \(.*no route.*\); put a "):
        segmenters.from_imagenet(net, "resnet18", tmp_path)
    theirs, file = torchvision.models.resnet18(), pretrained.weights_file("resnet18", tmp_path)
    file.parent.mkdir()
    save_file(theirs.state_dict(), file)
    assert segmenters.from_imagenet(net, "resnet18", tmp_path) is net
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in net.backbone.state_dict().items())


def test_presets_fall_back_to_the_last_set():
    presets, preset = region_attack.SEGMENTER, region_attack.preset
    assert preset("quick", "streets") == presets["quick"]["streets"]
    assert preset("quick", "mine") == preset("quick", "camvid") == presets["quick"]["other"]
    assert preset("smoke", "mine") == presets["smoke"]["streets"] and preset("paper", "camvid")["size"] == (360, 480)
    preset("smoke", "mine").clear()
    assert presets["smoke"]["streets"]
    for profile in presets:
        for settings in presets[profile].values():
            of_network = {k: v for k, v in settings.items() if k not in ("size", "seeds")}
            SegmenterConfig(profile=profile, dataset="", data="", **of_network)


def test_a_network_is_asked_for_in_place_of_the_profiles():
    presets, preset = region_attack.SEGMENTER, region_attack.preset
    assert preset("paper", "camvid", "small") == presets["paper"]["small"]
    assert preset("quick", "camvid", "small") == presets["quick"]["other"]
    assert preset("quick", "camvid", "resnet50") == presets["quick"]["other"] | region_attack.NETWORKS["resnet50"]
    with pytest.raises(ValueError, match="network: 'resnet99' is not supported; choose from '', 'small', "):
        preset("paper", "camvid", "resnet99")


def test_the_papers_schedules_are_passes_over_their_sets():
    for dataset, images, least, most in (("cityscapes", 2975, 160, 162), ("camvid", 367, 199, 201),
                                         ("small", 367, 100, 101)):
        recipe = region_attack.preset("paper", dataset).get("recipe", PolyRecipe())
        assert least <= recipe.epochs * recipe.epoch_steps * recipe.batch_size / images <= most
        assert recipe.rate(0) == recipe.learning_rate and recipe.rate(recipe.epochs) == 0


def test_imagenet_weights_do_not_go_into_a_small_network(tmp_path):
    file = pretrained.weights_file("resnet18", tmp_path)
    file.parent.mkdir()
    save_file(torchvision.models.resnet18().state_dict(), file)
    net = small()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"weights: those of resnet18 lack conv1\.weight and \d+ more of the"):
        segmenters.from_imagenet(net, "resnet18", tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
