"""A frozen network is the requested one with the requested weights, and its cached features are what it computes."""
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from posenc_lib.base.draws import Draws
from posenc_lib.data import imageset, registry
from posenc_lib.experiments import encoders
from posenc_lib.experiments.encoders import EncoderConfig
from posenc_lib.measure import features as measure_features
from posenc_lib.nets import classifiers, heads, pretrained
from posenc_lib.nets.hooks import layer
from posenc_lib.nets.padding import set_padding_mode
from posenc_lib.run import training
from posenc_lib.run.config import Recipe, SgdRecipe
from posenc_lib.show import style

RECIPE = Recipe(epochs=1, epoch_steps=2, batch_size=4, flip=False)
TRAINED = EncoderConfig(source="photos", width=2, crop=32, recipe=RECIPE)


@pytest.fixture(scope="module")
def digits():
    return registry.load("digits", "", size=16, validation=0.0).test.take(slice(0, 3))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return pretrained.small_vgg(classifiers.vgg(3, 2))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def modes(encoder: pretrained.Encoder) -> set[str]:
    return {m.padding_mode for m in encoder.net.modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize("name, channels, strides", [
    ("vgg16", [64, 128, 256, 512, 512], [1, 2, 4, 8, 16]),
    ("resnet18", [64, 128, 256, 512], [4, 8, 16, 32]),
    ("resnet50", [256, 512, 1024, 2048], [4, 8, 16, 32]),
    ("resnet152", [256, 512, 1024, 2048], [4, 8, 16, 32]),
    ("mobilenetv2_100", [16, 24, 32, 96, 320], [2, 4, 8, 16, 32]),
])
def test_the_stages_of_known_networks(name, channels, strides):
    with torch.device("meta"):   # shapes only
        features = pretrained.untrained(name)(torch.zeros(1, 3, 224, 224))
    assert [f.shape[1] for f in features] == channels
    assert [224 // f.shape[-1] for f in features] == strides


def test_stages_of_the_small_network_end_its_blocks_after_the_relu(small, digits):
    features = small(digits.batch(torch.arange(3))[0])
    assert [tuple(f.shape[1:]) for f in features] == [(2, 16, 16), (4, 8, 8), (8, 4, 4), (16, 2, 2)]
    assert all(isinstance(layer(small.net, stage), nn.ReLU) for stage in small.stages)
    assert torch.equal(features[-1], small.net.features(digits.batch(torch.arange(3))[0]))
    assert not small.net.training and not features[-1].requires_grad


def test_pixels_are_the_image_from_0_to_1(digits):
    encoder = pretrained.untrained("pixels")
    f, = encoder(encoder.view(digits).batch(torch.arange(3))[0])
    assert torch.equal(f, digits.images / 255)


def test_coordinates_add_the_row_and_the_column_from_minus_1_to_1():
    x = torch.rand(2, 3, 4, 6)
    f, = pretrained.untrained("coordinates")(x)
    assert f.shape == (2, 5, 4, 6) and torch.equal(f[:, :3], x)
    for channel, axis, n in ((3, 0, 4), (4, 1, 6)):
        expected = torch.linspace(-1, 1, n).unsqueeze(1 - axis).expand(4, 6)
        assert torch.equal(f[1, channel], expected)


def test_an_unknown_network_lists_the_choices():
    with pytest.raises(ValueError, match=r"'resnet99' is not supported; .*'vgg16'.*'mobilenetv2_100'.*'pixels'"):
        pretrained.untrained("resnet99")
    with pytest.raises(ValueError, match="'resnet99' is not supported"):
        encoders.build_encoder(EncoderConfig(net="resnet99", source="imagenet"), 0, "")


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """(network, data root): SqueezeNet with random weights, and those weights where ImageNet's would lie."""
    torch.manual_seed(1)
    net, root = torchvision.models.squeezenet1_1(), tmp_path_factory.mktemp("root")
    (root / "weights").mkdir()
    save_file(net.state_dict(), pretrained.weights_file("squeezenet1_1", root))
    return net, root


def test_weights_come_from_the_data_root_or_from_a_file_that_is_named(squeezenet, offline, tmp_path):
    net, root = squeezenet
    encoder = pretrained.pretrained("squeezenet1_1", root)
    assert same(encoder.net, net) and not encoder.net.training
    named = pretrained.weights_file("squeezenet1_1", root).rename(tmp_path / "mine.safetensors")
    try:
        assert same(pretrained.pretrained("squeezenet1_1", root, named).net, net)
        assert same(
            encoders.build_encoder(EncoderConfig(net="squeezenet1_1", source="imagenet"), 0, root, named).net, net
        )
    finally:
        named.rename(pretrained.weights_file("squeezenet1_1", root))


def test_torchvisions_weights_are_downloaded_where_no_file_lies(squeezenet, offline, monkeypatch, tmp_path):
    downloads = []

    def download(url, path, hash_prefix, **_):
        downloads.append((url.rpartition("/")[2], hash_prefix))
        torch.save(squeezenet[0].state_dict(), path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert same(pretrained.pretrained("squeezenet1_1", tmp_path).net, squeezenet[0])
    assert downloads == [("squeezenet1_1-b8a52dc0.pth", "b8a52dc0")]   # the hash is checked


@pytest.mark.parametrize("name, sentence", [
    ("mobilenetv2_100", r"weights: .*mobilenetv2_100-imagenet\.safetensors does not exist; put a "),
    ("squeezenet1_1", r"weights: .*squeezenet1_1-imagenet\.safetensors does not exist, and torchvision's squeezenet1_1 "
                      r"could not be downloaded \(.*no route.*\); put a \.safetensors state dict of squeezenet1_1 th"),
])
def test_missing_weights_are_reported_in_one_sentence(name, sentence, offline, tmp_path):
    with pytest.raises(FileNotFoundError, match=sentence) as error:
        pretrained.pretrained(name, tmp_path)
    assert "\n" not in str(error.value)


def test_a_named_file_that_is_missing_is_not_replaced_by_a_download(squeezenet, offline, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights: .*mine\.safetensors does not exist"):
        pretrained.pretrained("squeezenet1_1", squeezenet[1], tmp_path / "mine.safetensors")


def test_another_networks_weights_and_half_a_file_are_refused(squeezenet, tmp_path):
    file = pretrained.weights_file("squeezenet1_1", squeezenet[1])
    with pytest.raises(ValueError, match=r"does not fit EfficientNet: it has 52 tensors, the model \d+; they differ"):
        pretrained.pretrained("mobilenetv2_100", "", file)
    (tmp_path / "half.safetensors").write_bytes(file.read_bytes()[:10_000])
    with pytest.raises(
        ValueError, match=r"half\.safetensors is damaged or not a safetensors file .*; download it again"
    ):
        pretrained.pretrained("squeezenet1_1", "", tmp_path / "half.safetensors")


def test_the_fingerprint_is_the_files(tmp_path):
    file = pretrained.weights_file("squeezenet1_1", tmp_path)
    named = pretrained.fingerprint("squeezenet1_1", tmp_path)   # torchvision's own
    file.parent.mkdir()
    file.write_bytes(b"weights")
    one, again = (pretrained.fingerprint("squeezenet1_1", root, f) for root, f in ((tmp_path, ""), ("", file)))
    file.write_bytes(b"weightS")
    assert one == again and len(one) == 12
    assert len({named, one, pretrained.fingerprint("squeezenet1_1", tmp_path)}) == 3


@pytest.mark.parametrize("c", [EncoderConfig(width=2), EncoderConfig(net="squeezenet1_1"), TRAINED],
                         ids=["small", "squeezenet", "trained"])
def test_one_seed_makes_one_network_and_another_seed_another(c):
    state = torch.get_rng_state()
    first = encoders.build_encoder(c, 0, "").net
    assert torch.equal(torch.get_rng_state(), state)
    encoders._trained.cache_clear()
    torch.rand(7)   # the caller's random state has no effect
    assert same(encoders.build_encoder(c, 0, "").net, first)
    assert not same(encoders.build_encoder(c, 1, "").net, first)


def test_every_weight_of_a_trained_network_was_trained():
    torch.manual_seed(0)
    start, trained = classifiers.vgg(6, 2), encoders.build_encoder(TRAINED, 0, "").net   # six photographs to tell apart
    one_step_more = encoders.build_encoder(replace(TRAINED, recipe=replace(RECIPE, epoch_steps=3)), 0, "").net
    for net in (start, one_step_more):
        assert not any(torch.equal(a, b) for a, b in zip(net.parameters(), trained.parameters(), strict=True))


@pytest.mark.parametrize("c", [EncoderConfig(width=2), TRAINED], ids=["random", "trained"])
def test_running_with_another_padding_changes_neither_the_weights_nor_the_cached_network(c, digits):
    x, _ = digits.batch(torch.arange(3))
    circular = encoders.build_encoder(replace(c, run_with="circular"), 0, "")
    plain = encoders.build_encoder(c, 0, "")
    without = encoders.build_encoder(replace(c, run_with="none"), 0, "")
    assert (modes(circular), modes(plain)) == ({"circular"}, {"zeros"})
    assert same(circular.net, plain.net) and same(without.net, plain.net)
    assert [f.shape[-1] for f in without(torch.zeros(1, 3, 80, 80))] == [76, 34, 13, 2]
    assert not torch.equal(circular(x)[-1], plain(x)[-1])


def test_a_network_trained_under_another_padding_is_another_network():
    reflect = encoders.build_encoder(replace(TRAINED, padding_mode="reflect"), 0, "")
    assert modes(reflect) == {"reflect"}
    assert not same(reflect.net, encoders.build_encoder(TRAINED, 0, "").net)


def test_a_network_that_segments_is_made_where_the_set_has_label_maps():
    c = replace(TRAINED, source="digits_on_photos")
    encoder = encoders.build_encoder(c, 0, "")
    assert encoder.net(torch.zeros(1, 3, 32, 32)).shape == (1, 11, 32, 32)
    shapes = [tuple(f.shape[1:]) for f in encoder(torch.zeros(1, 3, 32, 32))]
    assert shapes == [(2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_void_pixels_are_not_learned():
    net = classifiers.vgg(3, 2, task="segment").eval()
    x, labels = torch.randn(2, 3, 16, 16), torch.randint(3, (2, 16, 16))
    whole = encoders._cross_entropy(net, x, labels, Draws())
    half = encoders._cross_entropy(net, x, labels.index_fill(1, torch.arange(8), imageset.VOID), Draws())
    other = encoders._cross_entropy(net, x, labels.index_fill(1, torch.arange(8, 16), imageset.VOID), Draws())
    assert torch.allclose((half + other) / 2, whole)


@pytest.mark.parametrize("batch", [2, 32])
def test_stacked_features_equal_resizing_and_joining_by_hand(small, digits, batch):
    stacked, channels = measure_features.stacked_features(small, digits, side=7, batch=batch)
    assert channels == [2, 4, 8, 16] and stacked.shape == (3, 30, 7, 7) and stacked.dtype == torch.float16
    for n in range(3):
        features = small(small.view(digits).batch(torch.tensor([n]))[0])
        hand = [nn.functional.interpolate(f, (7, 7), mode="bilinear", align_corners=True) for f in features]
        assert torch.allclose(stacked[n].float(), torch.cat(hand, 1)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("use", [None, torch.tensor([29, 0, 3])], ids=["all", "three"])
def test_features_computed_per_batch_are_the_cached_ones(small, digits, use):
    cached, channels = measure_features.frozen_features(small, digits, side=7)
    streamed, same_channels = measure_features.frozen_features(small, digits, side=7, limit=0)
    assert streamed.cached is None and cached.cached is not None and channels == same_channels == [2, 4, 8, 16]
    cached, streamed = (r.to("cpu") if use is None else r.select(use).to("cpu") for r in (cached, streamed))
    for index in (torch.tensor([2]), torch.tensor([1, 0])):
        (f, labels), (g, others) = cached.batch(index), streamed.batch(index)
        wanted = measure_features.stacked_features(small, digits, side=7)[0][index].float()
        assert torch.equal(f, wanted if use is None else wanted[:, use]) and f.dtype == g.dtype == torch.float32
        assert torch.allclose(f, g, rtol=1e-3, atol=1e-3) and not g.requires_grad
        assert torch.equal(labels, others) and torch.equal(labels, digits.labels[index])


@pytest.mark.parametrize("beyond", [0, 1])
def test_features_are_cached_up_to_the_limit_in_bytes(small, digits, beyond):
    size = 2 * 3 * 30 * 7 * 7   # half precision, images, channels, grid
    reading, _ = measure_features.frozen_features(small, digits, side=7, limit=size - beyond)
    assert len(reading) == 3 and (reading.cached is None) == bool(beyond)


def test_a_readout_learns_the_same_from_streamed_features(small, digits):
    losses = []
    for limit in (0, measure_features.CACHE_LIMIT):
        torch.manual_seed(0)
        readout = heads.Readout(30, size=16)
        losses.append([row["loss"] for row in training.fit(
            readout, measure_features.frozen_features(small, digits, side=7, limit=limit)[0],
            lambda net, f, *_: (net(f) - 1).square().mean(), SgdRecipe(epochs=3, batch_size=2), seed=0)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0][0] > losses[0][-1]


@pytest.mark.parametrize("name", ["coordinates", "pixels", "small"])
def test_features_and_latents_are_stored_on_the_requested_device(name, small, digits):
    """A network without parameters is on no device.  "meta" stands for a GPU."""
    encoder = small if name == "small" else pretrained.untrained(name)
    f, _ = measure_features.stacked_features(encoder, digits, side=7, device="meta")
    latents, location, number = measure_features.pooled_latents(encoder, digits, 2, device="meta")
    assert {t.device.type for t in (f, *latents, location, number)} == {"meta"}
    reading = measure_features.frozen_features(encoder, digits, side=7)[0].select(torch.tensor([0])).to("meta")
    features, labels = reading.batch(torch.tensor([1, 2]))
    assert features.shape == (2, 1, 7, 7) and features.device.type == labels.device.type == "meta"


def test_weights_are_checked_without_a_network_being_built(squeezenet, offline, tmp_path, recwarn):
    _, root = squeezenet
    torch.manual_seed(5)
    pretrained.check_weights({"squeezenet1_1": ""}, root)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1)) and not recwarn.list
    file = pretrained.weights_file("squeezenet1_1", root)
    (tmp_path / "half.safetensors").write_bytes(file.read_bytes()[:10_000])
    other = torchvision.models.squeezenet1_1(num_classes=7)
    save_file(other.state_dict(), tmp_path / "seven.safetensors")
    for files, kind, sentence in (
            ({"squeezenet1_1": "", "mobilenetv2_100": ""}, FileNotFoundError, "mobilenetv2_100-imagenet"),
            ({"vgg16": ""}, FileNotFoundError, "torchvision's vgg16 could not be downloaded"),
            ({"squeezenet1_1": str(tmp_path / "half.safetensors")}, ValueError, "half.safetensors is damaged"),
            ({"squeezenet1_1": str(tmp_path / "seven.safetensors")}, ValueError, "differ in the shapes of its tensors"),
            ({"resnet152": str(file)}, ValueError, "does not fit ResNet")):
        with pytest.raises(kind, match=sentence):
            pretrained.check_weights(files, root)


def test_the_channels_that_a_readout_reads():
    assert measure_features.select_channels([2, 3, 4]).tolist() == list(range(9))
    assert [measure_features.select_channels([2, 3, 2], stage).tolist() for stage in (1, 2, 3)] == [
        [0, 1],
        [2, 3, 4],
        [5, 6],
    ]
    few = [measure_features.select_channels([2, 3, 40], 3, 5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert all(len(set(numbers)) == 5 and min(numbers) >= 5 for numbers in few)


def test_a_network_sees_pictures_as_it_was_trained_to(digits):
    for encoder, grey in ((pretrained.untrained("pixels"), 1.0), (pretrained.untrained("mobilenetv2_100"), 1.0),
                          (pretrained.small_vgg(classifiers.vgg(3, 2)), (1 - 0.485) / 0.229)):
        white = replace(digits, images=torch.full_like(digits.images, 255))
        assert encoder.view(white).batch(torch.tensor([0]))[0][0, 0, 0, 0] == pytest.approx(grey)
    f, _ = measure_features.stacked_features(pretrained.untrained("coordinates"), digits, side=16)
    assert torch.allclose(f[:, :3].float(), digits.images / 255, atol=1e-3)   # the set's own mean has no part in it


def test_pooled_latents_equal_a_plain_loop(small, digits):
    latents, location, number = measure_features.pooled_latents(small, digits, 2, batch=5)   # 12 canvases: 5, 5 and 2
    images = replace(digits, mean=imageset.IMAGENET[0], std=imageset.IMAGENET[1])
    rows = []
    for n in range(3):
        for cell in range(4):
            canvas = torch.zeros(1, 3, 32, 32)
            top, left = cell // 2 * 16, cell % 2 * 16
            canvas[0, :, top:top + 16, left:left + 16] = images.batch(torch.tensor([n]))[0][0]
            rows.append((n, cell, [f.mean((2, 3))[0] for f in small(canvas)]))
    assert number.tolist() == [n for n, _, _ in rows] and location.tolist() == [cell for _, cell, _ in rows]
    for stage, z in enumerate(latents):
        assert torch.allclose(z, torch.stack([hand[stage] for _, _, hand in rows]), atol=1e-5)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_under_circular_padding_every_cell_has_the_same_latent(small, digits, mode):
    """Pages 02 and 04's negative control.  Cells of 16 pixels, a multiple of the total stride."""
    set_padding_mode(small.net, mode)
    for z in measure_features.pooled_latents(small, digits, 3)[0]:
        by_cell = z.reshape(3, 9, -1)
        spread = (by_cell - by_cell[:, :1]).abs().max() / z.abs().max()
        assert spread < 1e-5 if mode == "circular" else spread > 1e-3


@pytest.mark.parametrize("name, channels", [("squeezenet1_1", [64, 128, 256, 512]),
                                            ("mobilenetv2_100", [16, 24, 32, 96, 320])])
def test_real_imagenet_weights(data_root, offline, name, channels):
    if not pretrained.weights_file(name, data_root).is_file():
        pytest.skip(f"real weights: {name} is not under the data root")
    encoder = pretrained.pretrained(name, data_root)
    photos = registry.load("photos", "", size=64, validation=0.0).test.take(slice(0, 2))
    features = encoder(encoder.view(photos).batch(torch.arange(2))[0])
    assert [f.shape[1] for f in features] == channels
    assert all(f.isfinite().all() and f.std() > 0 for f in features)
    torch.manual_seed(0)
    assert not same(encoder.net, pretrained.untrained(name).net)


def test_padding_modes_reach_every_network_or_are_refused():
    circular = encoders.build_encoder(EncoderConfig(net="squeezenet1_1", padding_mode="circular"), 0, "")
    assert {m.padding_mode for m in circular.net.modules() if isinstance(m, nn.Conv2d)} == {"circular"}
    with pytest.raises(ValueError, match="set_padding_mode: layer conv_stem is a Conv2dSame"):
        encoders.build_encoder(EncoderConfig(net="mobilenetv2_100", padding_mode="circular"), 0, "")
    with pytest.raises(ValueError, match="remove_padding: layer conv_stem is a Conv2dSame"):
        encoders.build_encoder(EncoderConfig(net="mobilenetv2_100", run_with="none"), 0, "")


def test_only_the_small_network_is_trained_here():
    with pytest.raises(ValueError, match="source of squeezenet1_1: 'photos' is not supported; choose from"):
        encoders.build_encoder(EncoderConfig(net="squeezenet1_1", source="photos"), 0, "")


def test_a_page_names_networks_or_their_files(tmp_path):
    assert pretrained.parse_encoders("", tmp_path) == {}
    assert pretrained.parse_encoders("", tmp_path, ["vgg16"]) == {"vgg16": ""}
    file = pretrained.weights_file("squeezenet1_1", tmp_path)
    file.parent.mkdir()
    file.touch()
    assert pretrained.parse_encoders("", tmp_path) == {"squeezenet1_1": ""}
    assert pretrained.parse_encoders(f"vgg16,resnet18={file}", tmp_path) == {"vgg16": "", "resnet18": str(file)}
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors, requested for vgg16, does not exist"):
        pretrained.parse_encoders(f"vgg16={tmp_path}/none.safetensors", tmp_path)
    with pytest.raises(ValueError, match="pretrained: 'vgg17' is not supported; choose from 'vgg16'"):
        pretrained.parse_encoders("vgg17", tmp_path)


def test_keys_name_network_source_and_padding_and_have_display_names():
    keys = [EncoderConfig(**c).key for c in (
        {"net": "pixels"}, {"source": "photos"}, {"net": "resnet18", "source": "imagenet"},
        {"run_with": "circular"}, {"padding_mode": "none"})]
    assert keys == ["pixels", "small/photos", "resnet18/imagenet", "small/random/circular", "small/random/none"]
    assert [style.label(key) for key in keys] == [
        "pixels", "small, photographs", "ResNet-18, ImageNet", "small, random, circular", "small, random, none"]


def test_a_network_to_train_names_its_data():
    c = encoders.trained_config("photos", "", width=2, crop=64, recipe=Recipe(epochs=1, epoch_steps=1))
    assert (c.source, c.width, c.crop) == ("photos", 2, 64)
    assert c.data == registry.load("photos", "", size=64, validation=0.0).train.fingerprint


def test_features_that_overflow_half_precision_are_stored_in_full():
    pictures = registry.load("photos", "", size=64, validation=0.0).test.take(slice(0, 2))
    net = nn.Sequential(OrderedDict(large=nn.Conv2d(3, 2, 1)))
    net.large.weight.data.fill_(1e6)
    encoder = pretrained.Encoder(net, ("large",), *pretrained.UNIT)
    features, _ = measure_features.stacked_features(encoder, pictures)
    assert features.dtype == torch.float32 and features.isfinite().all() and features.max() > 65504
    black_first = replace(pictures, images=torch.cat([torch.zeros_like(pictures.images[:1]), pictures.images]),
                          labels=torch.zeros(3, dtype=torch.long))   # the first batch does not go beyond it
    later, _ = measure_features.stacked_features(encoder, black_first, batch=1)
    assert torch.allclose(later[1:], features) and later.dtype == torch.float32
    assert torch.equal(later[0], later[0].half().float()) and later[0].std((1, 2)).max() < 1e-3
