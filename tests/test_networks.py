"""Networks as people bring them are probed rightly, or refused in one sentence; none ends in a traceback."""
import functools
from collections import namedtuple
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from test_hooks import assert_untouched, remembered
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from posenc_lib import probe
from posenc_lib.__main__ import main
from posenc_lib.base import modules
from posenc_lib.nets import hooks, tracing
from posenc_lib.run import decoding
from posenc_lib.run.config import Recipe

DECODE = decoding.decode
QUICK = Recipe(epochs=1, epoch_steps=3, batch_size=32, flip=False)


def conv(a: int, b: int, k: int = 3, stride: int = 1, mode: str = "circular") -> nn.Conv2d:
    return nn.Conv2d(a, b, k, stride, k // 2, padding_mode=mode)


def plain(mode: str = "zeros") -> list[nn.Module]:
    """Total stride 8."""
    return [conv(3, 8, 3, 2, mode), nn.ReLU(), conv(8, 8, 3, 2, mode), nn.ReLU(), conv(8, 8, 3, 2, mode), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]


class Net(nn.Module):
    """A network of `forward(self, x)`, with modules as keywords."""
    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def net_of(forward, **parts) -> Net:
    torch.manual_seed(0)
    return Net(forward, body=nn.Sequential(*plain()[:6]), head=nn.Sequential(*plain()[6:]), **parts)


# ------------------------------------------------------------------------------------------ strides


class Patches(nn.Module):
    """A network that cannot know the place: patches without padding, no encoding of position; tokens before them."""
    def __init__(self, patch: int, tokens: int = 0, side: int | None = None):
        super().__init__()
        self.embed, self.side = nn.Conv2d(3, 16, patch, patch), side
        self.tokens = nn.Parameter(torch.randn(1, tokens, 16))
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()) for _ in range(3)))

    def forward(self, x):
        assert self.side in (None, x.shape[-1]), f"images of {self.side} pixels"
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([self.tokens.expand(len(x), -1, -1), tokens], 1)).mean(1)


class Unfolded(nn.Module):
    """Patches by reshaping, as of einops: no convolution tells their side."""
    def __init__(self, patch: int):
        super().__init__()
        self.patch, self.embed, self.mix = patch, nn.Linear(3 * patch ** 2, 16), nn.Linear(16, 16)

    def forward(self, x):
        side = x.shape[-1] // self.patch
        x = x.reshape(len(x), 3, side, self.patch, side, self.patch)
        return self.mix(self.embed(x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)).relu()).mean(1)


def pools_of_three() -> nn.Module:
    return nn.Sequential(conv(3, 8), nn.ReLU(), nn.MaxPool2d(3), conv(8, 8), nn.ReLU(), nn.MaxPool2d(3), conv(8, 8),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def decoder() -> nn.Module:
    """A small U-Net: its last layer has a position per pixel, and the stride of its deepest one."""
    def forward(self, x):
        deep = self.down(x)
        return self.out(nn.functional.interpolate(deep, scale_factor=8) + self.stem(x))
    return Net(forward, stem=conv(3, 8), down=nn.Sequential(*plain("circular")[:6]), out=conv(8, 4))


def functional() -> nn.Module:
    """Pools of three and two outside any module."""
    def forward(self, x):
        x = nn.functional.max_pool2d(self.first(x), 3)
        return self.third(nn.functional.avg_pool2d(self.second(x), 2)).mean((2, 3))
    return Net(forward, first=conv(3, 8), second=conv(8, 8), third=conv(8, 8))


STRIDES = {   # network, size that is asked for, the nearest one that fits, total stride
    "patches of 16": (lambda: Patches(16), 224, 224, 16),
    "patches of 14": (lambda: Patches(14), 224, 224, 14),
    "patches of 14, 100 pixels": (lambda: Patches(14), 100, 98, 14),
    "patches of 14 and a class token": (lambda: Patches(14, 1), 126, 126, 14),
    "patches of 12 and registers": (lambda: Patches(12, 5), 130, 132, 12),
    "patches of 10, reshaped": (lambda: Unfolded(10), 60, 60, 10),
    "pools of three": (pools_of_three, 100, 99, 9),
    "pools of three and two": (functional, 62, 60, 6),
    "strides of two": (lambda: nn.Sequential(*plain("circular")), 96, 96, 8),
    "strides of two, 100 pixels": (lambda: nn.Sequential(*plain("circular")), 100, 96, 8),
    "strides of two, 61 pixels": (lambda: nn.Sequential(*plain("circular")), 61, 64, 8),
    "a stride of five": (lambda: nn.Sequential(conv(3, 8, 5, 5), nn.ReLU(), conv(8, 8)), 64, 65, 5),
    "a stride of seven, few positions": (lambda: nn.Sequential(conv(3, 8, 3, 7), conv(8, 8, 3, 3)), 50, 42, 21),
    "a decoder": (decoder, 72, 72, 8),
    "two resolutions": (lambda: nn.Sequential(*plain("circular")[:4]), 96, 96, 4),
    "two resolutions, 98 pixels": (lambda: nn.Sequential(*plain("circular")[:4]), 98, 96, 4),
}


@pytest.mark.parametrize("build, size, fits, stride", STRIDES.values(), ids=STRIDES)
def test_a_network_without_a_border_has_none_at_any_stride_and_size(build, size, fits, stride):
    torch.manual_seed(1)
    net = build()
    report = probe.padding_report(net, probe.sample_images(size, 3, full_height=True), modes=())
    assert report.size == probe.fitting_size(net, size) == fits and report.leak(probe.AS_BUILT) is None
    assert not report.undetermined and report.layers["shift_sensitivity"].max() < 1e-6
    assert probe.find_layers(net, size=fits)[-1].stride == stride
    result = probe.probe(net, size=size, grid=2, folds=2, images=probe.sample_images(32, 4), recipe=QUICK)
    assert result.size == fits and result.cell % stride == 0
    rows = result.accuracy
    assert (rows["ceiling"] == rows["chance"]).all() and np.allclose(rows["mean"], 25)


@pytest.mark.parametrize("build, size, fits", [
    (lambda: nn.Sequential(*plain("zeros")), 100, 96), (lambda: Patches(16), 40, 32)])
def test_the_fitting_size_still_shows_a_border_that_is_there(build, size, fits):
    net = build()
    if isinstance(net, Patches):
        net.embed = nn.Conv2d(3, 16, 18, 16, 1)   # its padding
    report = probe.padding_report(net, probe.sample_images(size, 3, full_height=True), modes=())
    assert report.size == fits and report.leak(probe.AS_BUILT) in ("0", "embed")


def test_what_cannot_be_told_at_a_fixed_size_is_not_called_a_border():
    net = Patches(14, side=225)
    report = probe.padding_report(net, probe.sample_images(225, 3, full_height=True), modes=())
    assert report.size == 225 and report.leak(probe.AS_BUILT) is None
    assert report.layers["shift_sensitivity"].isna().all()
    assert set(report.undetermined.values()) == {
        "its total stride is 14, and 225 pixels are not two or more whole strides"}
    fixed = Patches(16, side=224)
    assert probe.padding_report(fixed, modes=()).layers["shift_sensitivity"].max() < 1e-6


def test_a_shift_by_the_whole_image_tells_nothing():
    """Patches of 4 and of 6 pixels: their total stride is 12, and so is the side."""
    def forward(self, x):
        assert x.shape[-1] == 12, "images of 12 pixels"
        return self.four(x).mean((2, 3)) + self.six(x).mean((2, 3))

    net = Net(forward, four=nn.Conv2d(3, 8, 4, 4), six=nn.Conv2d(3, 8, 6, 6))
    report = probe.padding_report(net, torch.rand(3, 3, 12, 12), modes=())
    assert report.undetermined == {"six": "its total stride is 12, and 12 pixels are not two or more whole strides"}
    assert report.layers["shift_sensitivity"].isna().tolist() == [False, True] and report.leak("as_built") is None


def test_two_resolutions_are_two_stages():
    assert [layer.name for layer in probe.find_layers(nn.Sequential(*plain()[:4]), size=32)] == ["1", "3"]


# ------------------------------------------------------------------------------------------ outputs


class Table(nn.Module):
    """One output for all images, as Swin v2's cpb_mlp has; expanded to the batch if asked."""
    def __init__(self, *shape: int, expand: bool = False):
        super().__init__()
        self.register_buffer("places", torch.randn(shape))
        self.mlp, self.expand = nn.Linear(shape[-1], shape[-1]), expand

    def forward(self, n: int = 1):
        return self.mlp(self.places).expand(n, *[-1] * (self.places.ndim - 1)) if self.expand else self.mlp(self.places)


def with_table(*shape: int, expand: bool = False) -> nn.Module:
    return net_of(lambda self, x: self.head(self.body(x) + self.bias(len(x)).mean()), bias=Table(*shape, expand=expand))


@pytest.mark.parametrize("net", [with_table(1, 15, 15, 6), with_table(1, 49, 6), with_table(1, 15, 15, 6, expand=True),
                                 with_table(2, 15, 15, 6)], ids=["map", "tokens", "expanded", "of two"])
def test_a_layer_that_does_not_depend_on_the_images_is_none(net):
    assert {layer.name.split(".")[0] for layer in probe.find_layers(net, size=64)} == {"body"}
    report = probe.padding_report(net, size=64, modes=())
    assert report.leak(probe.AS_BUILT) == "body.0"


@dataclass
class Answer:
    logits: torch.Tensor


OUTPUTS = {
    "labels": lambda f: f.argmax(1, keepdim=True),
    "flat labels": lambda f: f.argmax(1),
    "truths": lambda f: f > 0,
    "complex": lambda f: f.to(torch.complex64),
    "a dict": lambda f: {"out": f, "aux": f},
    "a list": lambda f: [f, f],
    "a tuple": lambda f: (f, f),
    "a named tuple": lambda f: namedtuple("Pair", "a b")(f, f),
    "a dataclass": Answer,
    "nothing": lambda f: None,
    "a number": lambda f: f.sum(),
    "a number an image": lambda f: f.sum((1, 2, 3)),
    "one row": lambda f: f.mean(0, keepdim=True),
    "a row more": lambda f: torch.cat([f, f[:1]]),
    "not a number": lambda f: f * torch.nan,
    "random": lambda f: f + torch.rand_like(f),
    "sparse": lambda f: f.flatten(1).to_sparse(),
}


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command(build, *arguments) -> the report of `probe` on what `build` returns, or its error."""
    (tmp_path / "mine.py").write_text("import test_networks\ndef build():\n    return test_networks.BUILD()\n")
    monkeypatch.chdir(tmp_path)

    def run(build, *arguments) -> str:
        monkeypatch.setattr("test_networks.BUILD", build, raising=False)
        monkeypatch.setattr("posenc_lib.show.report.DRAWS", 2)
        monkeypatch.setattr("posenc_lib.show.report.FRACTIONS", (0.5,))
        monkeypatch.setattr("posenc_lib.show.style.save", lambda fig, *_, **__: plt.close(fig))   # drawing and training
        monkeypatch.setattr(decoding, "decode", lambda *args, recipe, **options: DECODE(  # heads take most of the time
            *args, recipe=QUICK, **options))
        options = ["--size", "32", "--n-images", "12", "--grid", "2", "--out", "out", "--overwrite", *arguments]
        code = main(["probe", "--model", "mine.py:build", *options])
        error = capsys.readouterr().err
        if code:
            assert code == 2 and error.count("\n") == 1
            return error
        return (tmp_path / "out" / "report.md").read_text()
    return run


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_of_any_kind_is_reported_or_refused(command, name):
    """In the middle of the network, as a layer, and at its end."""
    last = Net(lambda self, f: OUTPUTS[name](f))
    text = command(lambda: net_of(lambda self, x: self.last(self.body(x)), last=last))
    if name == "not a number":
        assert "layer last outputs values that are not finite, so it cannot be probed; name other layers" in text
    else:
        assert ("does not output a single tensor" in text) == (name not in ("a number an image", "one row"))
        assert "`body.0`" in text
    net = net_of(lambda self, x: (self.last(self.body(x)), self.head(self.body(x)))[1], last=last)
    if name not in ("random", "one row"):
        with pytest.raises(ValueError, match=r"last of Net outputs no feature map|last outputs values that are not"):
            probe.probe(net, ["last"], size=32, grid=2, images=torch.rand(6, 3, 16, 16), recipe=QUICK)
    if name not in ("one row", "a row more", "not a number", "random"):
        with pytest.raises(ValueError, match=r"attack: layer last outputs|captured: layer last outputs"):
            probe.attack(net, "last", [0], lambda net: float(net(torch.rand(2, 3, 32, 32)).sum()), draws=1)


def test_a_network_whose_layers_are_whole_numbers_or_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"no layer of Net outputs a feature map .* of floating-point numbers"):
        probe.find_layers(Net(lambda self, x: self.a(x), a=Net(lambda self, x: x.long())), size=16)
    net = net_of(lambda self, x: self.head(self.body(x)))
    net.body[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"layer body\.1 outputs values that are not finite"):
        probe.probe(net, size=32, grid=2, images=torch.rand(6, 3, 16, 16), recipe=QUICK)
    with pytest.raises(ValueError, match=r"rank: layer body\.1 outputs values that are not finite"):
        probe.rank(net, "body.1", torch.rand(2, 3, 32, 32))
    report = probe.padding_report(net, size=32, modes=())
    assert report.leak(probe.AS_BUILT) is None and report.undetermined["body.0"] == "its output is not finite"


# ------------------------------------------------------------------------------------------ calls


def test_of_a_layer_that_runs_several_times_the_last_output_of_its_shape_counts():
    def forward(self, x):
        self.act(self.act(self.conv(x))[:, :, ::2, ::2] - 1)
        return self.act(self.act(2 * self.conv(x)).mean((2, 3), keepdim=True))   # at last of one position

    net = Net(forward, conv=conv(3, 4), act=nn.ReLU())
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        expected = (2 * net.conv(images)).relu().square().mean((0, 2, 3)).sqrt()
    assert torch.allclose(probe.rank(net, "act", images, "rms_activation")[1], expected.double(), rtol=1e-5)


def test_a_layer_has_all_of_its_names_and_one_that_does_not_run_is_told():
    shared = conv(8, 8)
    net = net_of(lambda self, x: self.head(self.second(self.first(self.body(x)))), first=shared, second=shared,
                 never=conv(8, 8))
    for name in ("first", "second"):
        assert [layer.name for layer in probe.find_layers(net, [name], size=32)] == [name]
        assert len(probe.rank(net, name, torch.rand(2, 3, 32, 32))[0]) == 8
        assert "mean" in probe.attack(net, name, [0], lambda net: float(net(torch.rand(1, 3, 32, 32)).sum()), draws=1)
    with pytest.raises(ValueError, match=r"layers: never of Net does not run in the forward pass; layers that do incl"):
        probe.find_layers(net, ["never"], size=32)
    with pytest.raises(ValueError, match=r"layers: head\.1 of Net outputs no feature map; layers that do include body"):
        probe.find_layers(net, ["head.1"], size=32)


def one_only(self, x):
    assert len(x) == 1, "one image at a time"
    return self.head(self.body(x))


SINGLE = {
    "asserts": one_only,
    "views": lambda self, x: self.head(self.body(x).reshape(1, 8, 4, 4)),
    "the first image only": lambda self, x: self.head(self.body(x[:1])),
    "mixes": lambda self, x: self.head(self.body(x - x.mean(0) * (len(x) > 1))),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_network_of_one_image_is_given_one_at_a_time(command, name):
    text = command(lambda: net_of(SINGLE[name]))
    assert "One image at a time: the network takes no batches, or mixes the images of a batch." in text
    images = torch.rand(4, 3, 32, 32)
    of_one, of_many = net_of(SINGLE[name]), net_of(lambda self, x: self.head(self.body(x)))
    for rule in ("flip", "decodability"):
        responses = [probe.rank(net, "body.5", images, rule)[1] for net in (of_one, of_many)]
        assert torch.allclose(*responses, rtol=1e-4, atol=1e-7)


def test_batch_norm_without_running_statistics_sees_one_image_at_a_time():
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8, track_running_stats=False))
    assert probe._trace(net, 16).single
    assert not probe._trace(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.InstanceNorm2d(8)), 16).single


def test_a_network_that_fails_later_is_refused_and_not_without_a_border():
    def few(self, x):
        assert len(x) < 3, "two images at most"
        return self.head(self.body(x))

    with pytest.raises(ValueError, match=r"Net cannot take images of shape \(4, 3, 32, 32\): AssertionError: two im"):
        probe.padding_report(net_of(few), torch.rand(4, 3, 32, 32), modes=())


def picks(net: nn.Module, channels: int) -> nn.Module:
    net.body[0] = conv(channels, 8, 3, 2, "zeros")
    return net


REFUSED = {
    "four channels": (lambda: picks(net_of(lambda self, x: self.head(self.body(x))), 4),
                      "its first convolution takes 4 channels: wrap it in a module that makes them from 3"),
    "one channel": (lambda: picks(net_of(lambda self, x: self.head(self.body(x))), 1),
                    "its first convolution takes 1 channels: wrap"),
    "a fixed size": (lambda: Patches(16, side=48),
                     r"cannot take images of shape \(1, 3, 32, 32\): AssertionError: images of 48 pixels; choose a"),
    "an error of its own": (lambda: net_of(lambda self, x: {}["no key"]), "KeyError: 'no key'; choose a size"),
    "no end": (lambda: net_of(lambda self, x: self(x)), "RecursionError: maximum recursion depth exceeded"),
    "targets": (lambda: Net(lambda self, x, targets: x), "TypeError"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()),
             "layers: 0 is a LazyConv2d and has no weights before its first forward pass; run the network once on an"),
    "scripted": (lambda: torch.jit.script(nn.Sequential(conv(3, 8), nn.ReLU())),
                 "is compiled by TorchScript, which hides its layers; give the nn.Module from which it was made"),
    "traced": (lambda: torch.jit.trace(nn.Sequential(conv(3, 8), nn.ReLU()), torch.rand(1, 3, 32, 32)),
               "is compiled by TorchScript"),
    "nothing to observe": (lambda: nn.Flatten(), "no layer of Flatten outputs a feature map"),
    "a tensor": (lambda: torch.rand(3), "returns a Tensor; it must return an nn.Module"),
    "an exit": (lambda: exit(3), "fails with SystemExit: 3; it must run without arguments"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_probed_is_refused_in_one_sentence(command, name):
    build, sentence = REFUSED[name]
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(command(build))


def test_networks_of_other_channels_are_asked_with_images_of_theirs():
    net = picks(net_of(lambda self, x: self.head(self.body(x))), 1)
    images = torch.rand(6, 1, 32, 32)
    assert probe.padding_report(net, images, modes=()).leak(probe.AS_BUILT) == "body.0"
    assert len(probe.rank(net, "body.5", images)[0]) == 8
    assert probe.probe(net, size=32, grid=2, images=images, recipe=QUICK).n_images == 6


@pytest.mark.parametrize("images", [torch.rand(2, 3, 32, 48), torch.rand(3, 32, 32), torch.rand(0, 3, 32, 32),
                                    torch.ones(2, 3, 32, 32).byte()], ids=["oblong", "one", "none", "bytes"])
def test_images_that_are_none_are_refused(images):
    with pytest.raises(ValueError, match=r"probe: images of shape .* and type torch.* were given; give a float tensor"):
        probe._check_images("probe", images)


def test_the_callers_images_are_not_normalised_in_place():
    net = net_of(lambda self, x: self.head(self.body(x.sub_(0.5).div_(0.2))))
    images = torch.rand(4, 3, 32, 32)
    before = images.clone()
    probe.rank(net, "body.0", images)
    report = probe.padding_report(net, images, modes=())
    assert torch.equal(images, before) and not report.undetermined


# ------------------------------------------------------------------------------------------ draws


def test_a_network_that_draws_is_said_to_draw_and_has_no_border(command):
    def build():
        return net_of(lambda self, x: self.head(self.mix(self.drop(self.body(x)))), mix=conv(8, 8),
                      drop=Net(lambda self, f: nn.functional.dropout(f, 0.5, training=True)))

    text = command(build)
    assert ("The output of `drop` (and 1 more layers) differs between two passes over the same image: the network "
            "draws") in text
    assert ("Whether `drop` (and 1 more layers) responds to the border cannot be determined: its output differs "
            "between two passes over the same image. As built, the first layer that responds to the border is "
            "`body.0`.") in text
    assert "The network does not output a single tensor" in text
    circular = build()
    for name in "024":
        circular.body[int(name)].padding_mode = "circular"
    report = probe.padding_report(circular, size=64, modes=())
    assert report.leak(probe.AS_BUILT) is None and set(report.undetermined) == {"drop", "mix"}


@pytest.mark.parametrize("noise", [lambda f: torch.from_numpy(np.random.rand(*f.shape)).to(f), torch.randn_like],
                         ids=["NumPy", "torch"])
def test_noise_from_anywhere_is_found(noise):
    net = net_of(lambda self, x: self.head(self.noise(self.body(x))), noise=Net(lambda self, f: f + noise(f)))
    assert probe._trace(net, 32).draws == {"noise"} and not probe._trace(net, 32).single


# ------------------------------------------------------------------------------------------ left as it was


class Norm(nn.Module):
    def __init__(self, expand: bool):
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.5).expand(1, 3, 1, 1) if expand else torch.zeros(1, 3, 1, 1))

    def forward(self, x):
        return x - self.mean


class Late(nn.Module):
    """Makes a buffer, a parameter and a layer when it first sees a size, and counts its calls."""
    def __init__(self):
        super().__init__()
        self.net, self.made, self.seen = nn.Sequential(*plain()), False, []

    def forward(self, x):
        self.seen.append(x.shape)
        self.last = x
        if not self.made:
            self.register_buffer("pos", torch.ones(1, 1, *x.shape[-2:]), persistent=True)
            self.register_buffer("hidden", torch.ones(1), persistent=False)
            self.scale, self.extra, self.made = nn.Parameter(torch.ones(1)), nn.Identity(), True
        return self.net(self.extra(x + self.pos * self.scale))


class Counts(nn.Module):
    """Counts its calls in a buffer that exists in inference mode only."""
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*plain())
        with torch.inference_mode():
            self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        with torch.inference_mode():
            self.calls += 1
        return self.net(x)


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(Norm(False), *plain()[:2], nn.BatchNorm2d(8), *plain()[2:])


def parametrised(how) -> nn.Module:
    net = nn.Sequential(*plain())
    for n in (0, 2):
        net[n] = how(net[n])
    return net


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("build", [
    lambda: nn.Sequential(Norm(True), *plain()), in_inference_mode, Counts, Late, lambda: parametrised(weight_norm),
    lambda: parametrised(spectral_norm), lambda: parametrised(parametrizations.weight_norm),
    lambda: parametrised(parametrizations.spectral_norm), lambda: parametrised(parametrizations.orthogonal),
    lambda: nn.Sequential(*plain()).half(), lambda: nn.Sequential(*plain()).to(torch.bfloat16),
    lambda: nn.Sequential(*plain()).double(), lambda: nn.DataParallel(nn.Sequential(*plain())),
], ids=["expanded", "inference", "counts", "late", "weight_norm", "spectral_norm", "weight_norm, new",
        "spectral_norm, new", "orthogonal", "half", "bfloat16", "double", "DataParallel"])
@pytest.mark.parametrize("training", [False, True])
def test_a_network_is_left_bit_for_bit_as_it_was(build, training):
    net = build().train(training)
    before, attributes = remembered(net), [{**vars(m)} for m in net.modules()]
    names, images = list(net.state_dict()), probe.sample_images(32, 6)
    with torch.no_grad():
        layer = probe.find_layers(net, size=32)[-1]
        result = probe.probe(net, size=32, grid=2, folds=2, images=images, recipe=QUICK)
        ranked, _ = probe.rank(net, layer.name, images)
        report = probe.padding_report(net, images, modes=("circular", "reflect"))
        probe.attack(net, layer.name, ranked[:2], lambda net: float(hooks.run(net, images.to(modules.like(net))).sum()),
                     draws=1)
    assert list(net.state_dict()) == names and result.accuracy["mean"].notna().all() and not report.undetermined
    assert_untouched(net, before)
    for module, kept in zip(net.modules(), attributes, strict=True):
        assert vars(module).keys() == kept.keys() and all(vars(module)[key] is kept[key] for key in kept)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_in_torchscript_runs_but_is_no_layer():
    scripted = torch.jit.script(nn.BatchNorm2d(8))
    net = net_of(lambda self, x: self.head(self.script(self.body(x))), script=scripted).train()
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert [layer.name for layer in probe.find_layers(net, size=32)] == ["body.1", "body.3", "body"]
    assert probe.padding_report(net, size=32).leak("as_built") == "body.0" and net.script.training
    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    with pytest.raises(ValueError, match="layer: script of Net is compiled by TorchScript, which hides its output"):
        probe.rank(net, "script", torch.rand(2, 3, 32, 32))


def test_half_precision_has_its_own_rounding():
    net = Patches(16).to(torch.bfloat16)
    report = probe.padding_report(net, size=64, modes=())
    assert report.leak(probe.AS_BUILT) is None and report.rounding == pytest.approx(probe.MIN_SENSITIVITY * 2 ** 16)
    assert probe.padding_report(nn.Sequential(*plain()).to(torch.bfloat16), size=64, modes=()).leak("as_built") == "0"


def test_torch_compile_does_not_hide_the_hooks():
    net = nn.Sequential(*plain())
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        compiled(torch.rand(1, 3, 32, 32))   # compiled without hooks
    names = [layer.name for layer in probe.find_layers(compiled, size=32)]
    assert names == ["_orig_mod.1", "_orig_mod.3", "_orig_mod.5"]
    _, ours = probe.rank(net, "5", torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    _, theirs = probe.rank(compiled, names[-1], torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(ours, theirs)


# ------------------------------------------------------------------------------------------ shadowed names


class Shadowed(nn.Module):
    """Its attributes have the names of nn.Module's methods, also on a submodule."""
    def __init__(self, deep: bool = True):
        super().__init__()
        self.body, self.head = nn.Sequential(*plain()[:6]), nn.Sequential(*plain()[6:])
        if deep:
            self.inner = Shadowed(False)
        self.modules, self.children, self.parameters, self.buffers = [self.body], [], 3, None
        self.named_modules = self.named_children = self.named_parameters = self.named_buffers = {}
        self.features, self.padding, self.stride, self.ceil_mode = self.body[0], nn.Identity(), torch.ones(3), "floor"
        self.eval, self.train, self.device, self.dtype, self.pad_mode = "no", 0, "tpu", str, 3
        self.forward = functools.partial(self.compute, scale=2.0)

    def compute(self, x, scale):
        return self.head(self.body(scale * x))


def test_a_network_may_shadow_the_names_of_nn_module(command):
    assert "the first layer that responds to the border is `body.0`" in command(Shadowed)
    torch.manual_seed(0)
    net, images = Shadowed(), torch.rand(6, 3, 32, 32)
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert [layer.name for layer in probe.find_layers(net, size=32)] == ["body.1", "body.3", "body"]
    probe.rank(net, "body.5", images, "decodability")
    probe.attack(net, "body.5", [1], lambda net: float(net(images).sum()), draws=2)
    assert probe.padding_report(net, images).refused == {} and net.train == 0 and net.training
    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    with pytest.raises(ValueError, match="has no layer 'boddy'; similar names are body"):
        hooks.layer(net, "boddy")


def test_the_walk_is_torchs_own():
    shared = nn.ReLU()
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), shared), shared, nn.BatchNorm2d(4))
    net.register_module("nothing", None)
    assert list(modules.named_modules(net)) == list(net.named_modules())
    assert list(modules.modules(net)) == list(net.modules())
    assert all(a is b for a, b in zip(modules.parameters(net), net.parameters(), strict=True))
    for name in ("0.0", "1", "0.1"):
        assert modules.submodule(net, name) is net.get_submodule(name)
    assert modules.submodule(net, "nothing") is modules.submodule(net, "0.7.3") is None
    assert not modules.evaluate(net.train())[0].training
    assert {p.device.type for p in modules.parameters(modules.move(net, "meta"))} == {"meta"}


@pytest.mark.parametrize("net, dtype", [
    (nn.Identity(), torch.float32), (nn.Conv2d(3, 4, 1).half(), torch.float16),
    (nn.BatchNorm2d(3, affine=False).double(), torch.float64), (nn.Embedding(3, 4).to(torch.bfloat16), torch.bfloat16)])
def test_images_are_given_in_the_networks_own_precision(net, dtype):
    assert modules.like(net).dtype == dtype
    net.register_parameter("a", nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False))
    assert modules.like(net).dtype == dtype


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_layers_are_told():
    net = nn.Sequential(torch.ao.quantization.QuantStub(), conv(3, 8, mode="zeros"), nn.ReLU(),
                        torch.ao.quantization.DeQuantStub())
    net.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    with torch.no_grad():
        torch.ao.quantization.prepare(net.eval(), inplace=True)(torch.rand(1, 3, 16, 16))
    torch.ao.quantization.convert(net, inplace=True)
    assert [layer.name for layer in probe.find_layers(net, size=16)] == ["3"]   # what is dequantised again
    with pytest.raises(ValueError, match="layers: 1 of Sequential outputs no feature map; layers that do include 3"):
        probe.find_layers(net, ["1"], size=16)
    dynamic = torch.ao.quantization.quantize_dynamic(nn.Sequential(*plain()), {nn.Linear})
    assert [layer.name for layer in probe.find_layers(dynamic, size=32)] == ["1", "3", "5"]


def test_the_side_of_tokens():
    assert tracing.side((1, 197, 8), {14, 28}) == 14 and tracing.side((1, 196, 8), {14}) == 14
    assert tracing.side((1, 785, 8), {14, 28}) == 28 and tracing.side((1, 100, 8), {14, 28}) is None
    assert tracing.side((1, 196, 8), {28}) == 14 and tracing.side((1, 8, 9, 9)) == tracing.side((1, 9, 9, 8)) == 9
