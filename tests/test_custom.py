"""Networks by name: timm's, torchvision's, those in a reader's file; errors are one sentence."""
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from posenc_lib import probe
from posenc_lib.nets import custom

MINE = """
from __future__ import annotations

from dataclasses import dataclass

import helper
from torch import nn

@dataclass
class Width:
    value: int = helper.WIDTH

def build():
    return nn.Sequential(nn.Conv2d(3, Width().value, 3, padding=1), nn.ReLU())

def broken():
    raise OSError("no such disk")

def number():
    return 3
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "helper.py").write_text("WIDTH = 5\n")
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    return tmp_path / "mine.py"


@pytest.mark.parametrize("name, kind", [
    ("timm:resnet18", timm.models.ResNet), ("torchvision:squeezenet1_1", torchvision.models.SqueezeNet),
    ("torchvision:lraspp_mobilenet_v3_large", torchvision.models.segmentation.LRASPP)])
def test_a_librarys_network_has_random_weights_of_the_seed(name, kind, offline):
    before = torch.random.get_rng_state()
    first, again, other = (custom.load(name, seed=seed).model for seed in (0, 0, 1))
    assert isinstance(first, kind) and not first.training
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [next(p for p in net.parameters() if p.ndim == 4) for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name, size, mean", [
    ("timm:vit_tiny_patch16_224", 224, (0.5, 0.5, 0.5)), ("timm:vit_tiny_patch16_384", 384, (0.5, 0.5, 0.5)),
    ("timm:vit_tiny_patch16_224.augreg_in21k", 224, (0.5, 0.5, 0.5)),
    ("timm:mobilenetv3_small_050.lamb_in1k", 224, (0.485, 0.456, 0.406)),
    ("timm:test_vit.r160_in1k", 160, (0.5, 0.5, 0.5)),
    ("torchvision:vgg11", 224, (0.485, 0.456, 0.406)), ("torchvision:efficientnet_b1", 240, (0.485, 0.456, 0.406)),
    ("torchvision:lraspp_mobilenet_v3_large", 224, (0.485, 0.456, 0.406)),
    ("torchvision:ssdlite320_mobilenet_v3_large", 320, (0, 0, 0))])   # normalises for itself
def test_a_network_states_its_input_size_and_normalisation(name, size, mean):
    network = custom.load(name)
    assert (network.size, network.mean, network.weights) == (size, mean, "random weights, seed 0")


def test_a_readers_file_can_import_from_its_folder(mine):
    network = custom.load(f"{mine}:build")
    assert network.model[0].out_channels == 5 and network.size == 224
    assert network.weights == "weights set by build()"


def test_weights_are_read_from_safetensors(mine, tmp_path):
    state = {"0.weight": torch.full((5, 3, 3, 3), 2.0), "0.bias": torch.zeros(5)}
    save_file(state, tmp_path / "w.safetensors")
    network = custom.load(f"{mine}:build", tmp_path / "w.safetensors")
    assert torch.equal(network.model[0].weight, state["0.weight"]) and network.weights == "w.safetensors"


@pytest.mark.parametrize("name, weights, error, sentence", [
    ("resnet18", "", ValueError, "model: 'resnet18' does not name a network; use timm:NAME, torchvision:NAME or FILE"),
    ("keras:vgg", "", ValueError, "model: 'keras:vgg' does not name a network; use timm:NAME"),
    ("timm:", "", ValueError, "model: 'timm:' does not name a network; use"),
    ("timm:resnet18.b9", "", ValueError, "model: timm's resnet18 has no weights tagged 'b9'; its tags are a1_in1k, a2"),
    ("timm:resnet19", "", ValueError, "timm has no network 'resnet19'; similar names are resnet1"),
    ("torchvision:zzz", "", ValueError, "torchvision has no network 'zzz'; similar names are "),
    ("{folder}/none.py:build", "", FileNotFoundError,
     "model: {folder}/none.py does not exist; name a network as timm:NAME"),
    ("{folder}/mine.py:make", "", ValueError,
     "mine.py has no function 'make'; it defines Width, build, broken, number"),
    ("{folder}/mine.py:broken", "", ValueError, "broken() of {folder}/mine.py fails with OSError: no such disk"),
    ("{folder}/mine.py:number", "", ValueError,
     "number() of {folder}/mine.py returns a int; it must return an nn.Module"),
    ("{folder}/bad.py:build", "", ValueError, "bad.py cannot be imported (ModuleNotFoundError: No module named"),
    ("{folder}/mine.py:build", "{folder}/w.safetensors", FileNotFoundError,
     "weights: {folder}/w.safetensors does not exist; put a .safetensors state dict of Sequential there"),
    ("{folder}/mine.py:build", "{folder}/mine.py", ValueError, "is damaged or not a safetensors file"),
    ("{folder}/mine.py:build", "pretrained", ValueError,
     "no pretrained weights are published for {folder}/mine.py:build"),
    ("torchvision:resnet18", "pretrained", FileNotFoundError,
     "weights: those of torchvision:resnet18 could not be downloaded (URLError"),
])
def test_errors_are_one_sentence(mine, offline, name, weights, error, sentence):
    folder = mine.parent
    with pytest.raises(error) as raised:
        custom.load(name.format(folder=folder), weights.format(folder=folder))
    assert sentence.format(folder=folder) in str(raised.value) and "\n" not in str(raised.value)


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"does not fit SqueezeNet: it has 1 tensors, the model 52; they differ in 0"):
        custom.load("torchvision:squeezenet1_1", tmp_path / "w.safetensors")


def test_the_normalisation_of_torchvisions_own_weights(monkeypatch):
    """Without building the largest EfficientNet V2, the only one of its networks that is trained on -1..1."""
    monkeypatch.setattr(custom, "_from_torchvision", lambda name: torch.nn.Identity())
    network = custom.load("torchvision:efficientnet_v2_l")
    preset = torchvision.models.EfficientNet_V2_L_Weights.DEFAULT.transforms()
    assert (network.size, network.mean, network.std) == (480, (0.5,) * 3, (0.5,) * 3)
    assert ([network.size], list(network.mean), list(network.std)) == (preset.crop_size, preset.mean, preset.std)


def test_attributes_of_a_readers_network_that_are_something_else_are_not_taken_for_timms(tmp_path):
    (tmp_path / "mine.py").write_text("""
from torch import nn

def build():
    net = nn.Conv2d(3, 4, 3)
    net.pretrained_cfg, net.image_size, net.transform = "a.yaml", (96, 96), None
    return net

def of_four():
    net = nn.Conv2d(4, 4, 3)
    net.pretrained_cfg = {"mean": (0.5,), "std": (0.2,) * 4, "input_size": (4, 64, 64)}
    return net
""")
    for function, size in (("build", 224), ("of_four", 64)):
        network = custom.load(f"{tmp_path}/mine.py:{function}")
        assert (network.size, network.mean) == (size, (0.485, 0.456, 0.406)) and network.std == (0.229, 0.224, 0.225)


def test_a_detector_of_torchvisions_is_probed_at_the_size_of_its_images():
    network = custom.load("torchvision:ssdlite320_mobilenet_v3_large")
    assert probe.fitting_size(network.model, 160) in (128, 256)
    layers = probe.find_layers(network.model, size=128)
    assert [layer.shape[1] for layer in layers] == [64, 32, 16, 8, 4, 2] and layers[-1].name == "backbone.extra.0"
    assert [layer.stride for layer in layers] == [2, 4, 8, 16, 32, 64]
    report = probe.padding_report(network.model, torch.rand(1, 3, 128, 128), modes=())
    assert report.leak("as_built") == "backbone.features.0.0.0"
