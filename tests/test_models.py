"""The networks are the authors', and what they can and cannot know about position follows from their padding."""
import os
import pickle
from copy import deepcopy
from math import gcd

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import BlurPool2d
from torch import nn
from torch.nn.functional import interpolate

from posenc_lib.measure import canvas
from posenc_lib.nets import classifiers
from posenc_lib.nets.classifiers import BACKBONES, Classifier, gapnet, permutenet, vgg
from posenc_lib.nets.heads import Heads, Readout, Shuffle, gap
from posenc_lib.nets.hooks import captured
from posenc_lib.nets.padding import PADDING_MODES, remove_padding, set_padding_mode
from posenc_lib.nets.pretrained import load_weights

ORDER = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "head"]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("build", [gapnet, permutenet])
def test_parameters_stand_in_the_authors_order(build):
    assert list(dict.fromkeys(name.partition(".")[0] for name, _ in build(9, width=2).named_parameters())) == ORDER


def test_parameter_counts_of_the_full_width():
    backbone = 11_176_512   # torchvision's ResNet-18 without its last layer
    for net, head in ((gapnet(9), 512 * 9 * 9 + 9), (permutenet(9), 512 * 9 + 9)):
        assert sum(p.numel() for p in net.parameters()) == backbone + head


def test_features_equal_torchvisions_without_its_max_pool():
    theirs, ours = torchvision.models.resnet18(), classifiers.ResNet18()
    theirs.maxpool, theirs.avgpool, theirs.fc = nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Identity()
    ours.load_state_dict(theirs.state_dict())
    x = images(2, 3, 32, 32).float()
    assert torch.equal(gap(ours.eval().features(x)), theirs.eval()(x))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbones_feature_map_has_its_total_stride_and_channels(backbone):
    net = gapnet(5, backbone, width=2)
    s = net.stride
    assert net.features(torch.zeros(1, 3, 6 * s, 10 * s)).shape == (1, net.channels, 6, 10)
    assert net(torch.zeros(2, 3, 3 * s, 3 * s)).shape == (2, 5)
    assert list(net.named_children())[-1][0] == "head"


def test_total_stride_and_channels_of_the_authors_backbones():
    assert [(net.stride, net.channels) for net in (gapnet(5, name, width=2) for name in ("resnet18", "nin"))] == [
        (16, 16), (4, 2)]


@pytest.mark.parametrize("layer, reach", [("layer4", 219), ("head.0", 251)])
def test_receptive_field(layer, reach):
    """219 pixels for the features and 251 with GAPNet's head: arithmetic from kernels and strides."""
    net = gapnet(1, width=1).double().eval()
    for p in net.parameters():
        p.data.abs_()   # nothing cancels, no ReLU is shut
    x = torch.ones(1, 3, 16, 416, dtype=torch.double, requires_grad=True)
    outputs = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _, __, out: outputs.append(out))
    net(x)
    handle.remove()
    outputs[0][0, 0, 0, outputs[0].shape[-1] // 2].backward()
    assert (x.grad.sum((0, 1, 2)) != 0).sum() == reach


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_averaging_and_a_1x1_convolution_commute_under_any_padding(mode):
    conv = set_padding_mode(nn.Conv2d(4, 3, 1), mode).double()
    f = images(2, 4, 5, 6)
    assert torch.allclose(gap(conv(f)), nn.functional.linear(gap(f), conv.weight[..., 0, 0], conv.bias))


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_averaging_and_a_3x3_convolution_commute_under_circular_padding_only(mode):
    """So GAPNet's head reads the border, unless it is circular."""
    conv = set_padding_mode(nn.Conv2d(4, 3, 3, padding=1), mode).double()
    f = images(2, 4, 5, 6)
    linear = nn.functional.linear(gap(f), conv.weight.sum((-2, -1)), conv.bias)
    assert torch.allclose(gap(conv(f)), linear) == (mode == "circular")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("build", [gapnet, permutenet])
def test_under_circular_padding_every_cell_is_the_same(build, backbone):
    """Page 03's negative control.  The side of a cell is a multiple of the total stride."""
    torch.manual_seed(0)
    options = {"permutation": "none"} if build is permutenet else {}
    net = build(9, backbone, "circular", width=4, **options).eval()
    side = 16 * net.stride // gcd(16, net.stride)
    x = canvas.place(images(1, 3, side, side).expand(9, -1, -1, -1), torch.arange(9), 3)

    def spread(net, x):
        z = torch.cat([gap(net.features(x)), net(x)], 1)
        return ((z - z[0]).abs().max() / z.std()).item()

    assert spread(net.double(), x) < 1e-10
    assert net.float()(x.float()).argmax(1).unique().numel() == 1
    assert spread(set_padding_mode(net, "zeros").double(), x) > 1e-5


@pytest.mark.parametrize("permutation", ["none", "fixed", "batch", "sample", "test"])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_shuffled_when(permutation, training):
    torch.manual_seed(0)
    shuffle = Shuffle(permutation, 64).train(training)
    z = torch.arange(64.0).repeat(3, 1)
    first, second = shuffle(z), shuffle(z)
    moving = permutation in ("batch", "sample") or (permutation == "test" and not training)
    assert torch.equal(first.sort(1).values, z)                               # channels are reordered, nothing else
    assert torch.equal(first, z) == (not moving and permutation != "fixed")
    assert torch.equal(first, second) == (not moving)                         # a new order in every pass
    assert torch.equal(first[0], first[1]) == (permutation != "sample")       # one order for the batch


def test_the_default_of_permutenet_is_the_released_one():
    assert permutenet(9, width=1).head[2].permutation == "batch"


def test_a_fixed_permutation_travels_with_the_weights():
    a, b = Shuffle("fixed", 64), Shuffle("fixed", 64)
    b.load_state_dict(a.state_dict())
    z = images(2, 64).float()
    assert torch.equal(a(z), b(z))


@pytest.mark.parametrize("call, sentence", [
    (lambda: gapnet(9, "resnet50"), "backbone: 'resnet50' .*" + ", ".join(map(repr, BACKBONES))),
    (lambda: gapnet(9, padding_mode="zero", width=1), "padding_mode: 'zero' is not supported"),
    (lambda: permutenet(9, permutation="random", width=1), "permutation: 'random' is not supported; choose from"),
])
def test_unknown_variants_are_answered_with_the_choices(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_weights_come_back_and_half_precision_is_widened(tmp_path):
    net = gapnet(3, width=2)
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_weights(gapnet(3, width=2).train(), tmp_path / "w.safetensors")
    assert not loaded.training and loaded.conv1.weight.dtype == torch.float32
    assert torch.equal(loaded.conv1.weight, net.conv1.weight.half().float())
    assert loaded.bn1.num_batches_tracked.dtype == torch.int64


class Trap:
    def __reduce__(self):
        return os.mkdir, (os.environ["TRAP"],)


def test_weights_that_cannot_be_used_are_told_in_one_sentence(tmp_path, monkeypatch):
    file = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=r"weights: .*w\.safetensors does not exist; put a "):
        load_weights(gapnet(3, width=2), file)

    save_file(gapnet(3, width=2).state_dict(), file)
    with pytest.raises(ValueError, match=r"does not fit ResNet18: .* differ in head\.0\.bias, head\.0\.weight"):
        load_weights(permutenet(3, width=2), file)
    with pytest.raises(ValueError, match=r"does not fit ResNet18: .* differ in the shapes of its tensors"):
        load_weights(gapnet(4, width=2), file)

    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"w\.safetensors is damaged or not a safetensors file .*; download it again"):
        load_weights(gapnet(3, width=2), file)

    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"holds more than tensors and plain values.+ it was not loaded"):
        load_weights(gapnet(3, width=2), file)
    assert not (tmp_path / "sprung").exists()   # no code in a pickle is run


def test_the_head_reads_the_features_that_are_measured():
    net = gapnet(3, width=2).eval()
    x = images(2, 3, 48, 48).float()
    with captured(net, "layer4") as outputs:
        logits = net(x)
    assert torch.equal(outputs[0], net.features(x)) and torch.equal(net.head(outputs[0]), logits)


@pytest.mark.parametrize("case, options", [("paper", {}), ("deep", {"depth": 3, "padding": 1})])
def test_the_readout_draws_the_released_codes_maps(data_root, case, options):
    file = data_root.parent / "peers" / "posenet_readout.npz"
    if not file.is_file():
        pytest.skip(f"the released readout's own outputs: {file.name} is not beside the data")
    theirs = {name.removeprefix(f"{case}/"): torch.from_numpy(array) for name, array in np.load(file).items()
              if name.startswith(f"{case}/")}
    stages = [theirs[name] for name in sorted(theirs) if name.startswith("feature")]
    features = torch.cat([interpolate(f, (14, 14), mode="bilinear", align_corners=True) for f in stages], 1)
    readout = Readout(features.shape[1], size=theirs["map"].shape[-1], **options)
    readout.load_state_dict({n.removeprefix("weights/"): w for n, w in theirs.items() if n.startswith("weights/")})
    assert torch.allclose(readout.eval()(features), theirs["map"], atol=1e-5)


def steps(model: nn.Module, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """What `model` puts out after a few steps towards the target; every map or head has a loss of its own."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        (model(x) - target).square().flatten(2).mean((0, 2) if isinstance(model, Readout) else (1, 2)).sum().backward()
        optimizer.step()
    return model.eval()(x).detach()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_readouts_side_by_side_learn_as_each_would_alone(depth):
    torch.manual_seed(0)
    options = {"depth": depth, "hidden": 3, "size": 12}
    together, alone = Readout(4, 3, **options), [Readout(4, 1, **options) for _ in range(3)]
    for i, one in enumerate(alone):
        one.load_state_dict({n: w.chunk(3)[i] if w.ndim else w for n, w in together.state_dict().items()})
    x, target = images(6, 4, 9, 9).float(), torch.rand(3, 12, 12)
    before = deepcopy(together).eval()(x)
    after = steps(together, x, target)
    assert (after - before).abs().max() > 0.01
    for i, one in enumerate(alone):
        assert torch.allclose(steps(one, x, target[i:i + 1]), after[:, i:i + 1], atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("padding, side", [(0, 10), (1, 12), (2, 14)])
def test_a_readout_without_padding_shrinks_and_its_map_is_as_large_as_the_image(depth, padding, side):
    readout = Readout(2, 5, depth=depth, padding=padding, size=40).eval()
    f = images(3, 2, 12, 12).float()
    assert readout.output(f).shape == (3, 5, 12 + depth * (side - 12), 12 + depth * (side - 12))
    maps = readout(f)
    assert maps.shape == (3, 5, 40, 40) and maps.min() > 0 and maps.max() < 1


def test_a_readouts_hidden_layers_are_as_wide_as_what_comes_in():
    assert Readout(6, 2, depth=2).output[0].out_channels == 2 * 6
    assert Readout(6, 2, depth=2, hidden=3).output[0].out_channels == 2 * 3


def test_heads_side_by_side_learn_as_each_would_alone():
    torch.manual_seed(0)
    channels, permutations = [torch.tensor([0, 2]), torch.arange(5), torch.tensor([4])], ["none", "fixed", "none"]
    together = Heads(channels, permutations, 3)
    alone = [Heads(channels[i:i + 1], permutations[i:i + 1], 3) for i in range(3)]
    for i, one in enumerate(alone):
        one.weight.data = together.weight[i:i + 1, :, :len(channels[i])].detach().clone()
        one.bias.data = together.bias[i:i + 1].detach().clone()
        one.shuffles[0].load_state_dict(together.shuffles[i].state_dict())
    z, target = images(8, 5).float(), torch.randn(1, 8, 3)
    after = steps(together, z, target.expand(3, -1, -1))
    assert after.shape == (3, 8, 3)
    for i, one in enumerate(alone):
        assert torch.allclose(steps(one, z, target)[0], after[i], atol=1e-6)


def test_a_head_reads_its_own_channels_only():
    heads, z = Heads([torch.tensor([1, 3]), torch.tensor([0])], ["none", "none"], 2), images(4, 5).float()
    z.requires_grad_()
    heads(z)[0].sum().backward()
    assert (z.grad != 0).any(0).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("task, shape", [("classify", (2, 5)), ("segment", (2, 5, 32, 48))])
def test_the_small_vgg_for_both_of_its_tasks(task, shape):
    net = vgg(5, 2, task=task).eval()
    x = images(2, 3, 32, 48).float()
    assert net.features(x).shape == (2, 16, 4, 6)   # a total stride of 8
    assert net(x).shape == shape


@pytest.mark.parametrize("side, covered", [(96, 32), (112, 48)])
def test_without_padding_the_small_vgg_says_the_same_where_no_unit_feels_the_border(side, covered):
    """Eight convolutions take 2 (1 + 2 + 4 + 8) = 30 pixels off; two more, and both maps stand on one grid."""
    net, x = vgg(3, 2, task="segment").double().eval(), images(1, 3, side, side)
    with torch.no_grad():
        padded, unpadded = net(x), remove_padding(net)(x[..., 2:, 2:])
    assert unpadded.shape[-2:] == (covered, covered)
    assert torch.allclose(padded[..., 32:32 + covered, 32:32 + covered], unpadded)
    assert not torch.allclose(padded[..., 24:24 + covered, 24:24 + covered], unpadded)


def test_an_unknown_task_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="task: 'detect' is not supported; choose from 'classify', 'segment'"):
        vgg(5, 2, task="detect")


@pytest.mark.parametrize("name, options, side, channels", [
    ("cifar_resnet18", {"width": 2}, 16, 16), ("cifar_resnet18", {"width": 4, "blur": True}, 24, 32),
    ("test_resnet", {}, 64, 96), ("test_convnext", {}, 64, 64)])
def test_a_classifier_tells_its_pooled_latent_beside_the_answer(name, options, side, channels):
    torch.manual_seed(0)
    net = Classifier(name, 5, **options).eval()
    x = images(3, 3, side, side).float()
    z, logits = net(x)
    assert z.shape == (3, channels) and logits.shape == (3, 5)
    assert logits.std() > 0 and torch.equal(logits, net.net(x))


@pytest.mark.parametrize("blur", [False, True])
def test_the_classifier_for_small_images_has_a_total_stride_of_8_and_pools_the_mean(blur):
    torch.manual_seed(0)
    net = Classifier("cifar_resnet18", 5, width=2, blur=blur).eval()
    x = images(2, 3, 32, 48).float()
    f = net.net.forward_features(x)
    assert f.shape == (2, 16, 4, 6)
    torch.testing.assert_close(net(x)[0], gap(f))
    modules = list(net.modules())
    assert not any(isinstance(m, nn.MaxPool2d) for m in modules)
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    first = convolutions[0]
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    halving = sum(conv.stride != (1, 1) for conv in convolutions)
    assert halving == (0 if blur else 6)   # three stages begin with one, on their way and on their shortcut
    assert sum(isinstance(m, BlurPool2d) for m in modules) == (3 if blur else 0)


def test_the_width_of_the_classifier_for_small_images():
    stages = [m.weight.shape[0] for name, m in Classifier("cifar_resnet18", 5, width=4).named_modules()
              if name.endswith("1.bn2")]
    assert stages == [4, 8, 16, 32]
    net = Classifier("cifar_resnet18", 10)   # as many as torchvision's ResNet-18 has, its stem of 7x7 now 3x3
    theirs = torchvision.models.resnet18(num_classes=10)
    assert (sum(p.numel() for p in net.parameters())
            == sum(p.numel() for p in theirs.parameters()) - 64 * 3 * (7 * 7 - 3 * 3))


@pytest.mark.parametrize("name, blur, sentence", [
    ("resnet5O", False, "backbone: timm has no model 'resnet5O'; similar names are .*resnet50"),
    ("@", False, "backbone: timm has no model '@'; similar names are resnet18, resnet50$"),
    ("test_convnext", True, "backbone: timm has no BlurPool for test_convnext, only for its ResNets; choose a "
                            "ResNet, or a method without BlurPool$"),
])
def test_a_classifier_that_timm_cannot_build_is_refused(name, blur, sentence):
    with pytest.raises(ValueError, match=sentence):
        Classifier(name, 5, blur=blur)
