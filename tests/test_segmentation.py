"""Segmenters are torchvision's and the authors', and no code is read from a file of weights."""
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from posenc_lib.data.imageset import IMAGENET, VOID, ImageSet
from posenc_lib.experiments import region_attack
from posenc_lib.experiments.region_attack import SegmenterConfig
from posenc_lib.measure import channels as measure_channels
from posenc_lib.nets import pretrained, segmenters
from posenc_lib.nets.heads import gap
from posenc_lib.nets.segmenters import STAGES, Segmenter

CONFIG = SegmenterConfig(profile="smoke", dataset="", data="", net="resnet18", width=2, output_stride=8,
                         rates=(1, 2, 3), head=4, flip_augmentation=False, jitter=0.0)


def small(classes: int = 3, **options) -> Segmenter:
    torch.manual_seed(0)
    return region_attack.build(replace(CONFIG, **options), classes).eval()


def calibrated(plus: bool) -> Segmenter:
    """Its statistics are those of images and its logits are centred at 0, so that it predicts every class somewhere."""
    net, x = small(plus=plus).train(), torch.randn(8, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(30):
            net(x)
        logits = net.eval()(x)
        last = list(net.modules())[-1]
        last.bias -= logits.mean((0, 2, 3))
    return net


@pytest.fixture(scope="module", params=[False, True], ids=["v3", "v3plus"])
def net(request):
    return calibrated(request.param)


def labelled_images() -> ImageSet:
    """Five images of 16x32; the label of a pixel is its red, in thirds of 255, and a tenth are void."""
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
        with pytest.raises(ValueError, match=r"^checkpoint: .*w\.pth is damaged or not a checkpoint \(.+\); copy it"):
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
    ({"classes": 5}, r"checkpoint: .*w\.pth has 5 classes, but the image set has 3; give one that was trained"),
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
    with pytest.raises(FileNotFoundError, match=rf"checkpoint: .*none\.{suffix} does not exist; give "):
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
    ({"width": 3}, "segmenter: width 3 is odd; give an even number"),
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


def test_the_backbone_starts_from_imagenet_or_says_what_is_missing(offline, tmp_path):
    net = Segmenter("resnet18", 3, head=4)
    with pytest.raises(FileNotFoundError, match=r"weights: .*resnet18-imagenet\.safetensors does not exist, and torchv"
                                                r"ision's resnet18 could not be downloaded \(.*no route.*\); put a "):
        segmenters.from_imagenet(net, "resnet18", tmp_path)
    theirs, file = torchvision.models.resnet18(), pretrained.weights_file("resnet18", tmp_path)
    file.parent.mkdir()
    save_file(theirs.state_dict(), file)
    assert segmenters.from_imagenet(net, "resnet18", tmp_path) is net
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in net.backbone.state_dict().items())


def test_imagenet_weights_do_not_go_into_a_small_network(tmp_path):
    file = pretrained.weights_file("resnet18", tmp_path)
    file.parent.mkdir()
    save_file(torchvision.models.resnet18().state_dict(), file)
    net = small()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"weights: those of resnet18 lack conv1\.weight and \d+ more tensors of the"):
        segmenters.from_imagenet(net, "resnet18", tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
