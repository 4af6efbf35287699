"""A padding mode set afterwards is that of a layer built with it; what cannot be set is refused by name."""
import copy
from itertools import combinations, product

import pytest
import torch
from timm.layers import BlurPool2d, Conv2dSame
from torch import nn
from torch.nn.functional import conv2d, pad

from posenc_lib.nets.padding import (
    PADDING_MODES,
    CopiedPadding,
    border_fill,
    pad_at_random,
    remove_padding,
    set_padding_mode,
    switched,
)

LAYERS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 7, "padding": 3, "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": (3, 5), "padding": (1, 2)},
    {"kernel_size": 4, "padding": "same"},   # uneven: one pixel more at the end
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 5, "padding": 3, "groups": 2},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 1},
]


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def conv():
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1, bias=False)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_setting_a_mode_equals_building_with_it(layer, mode):
    built = nn.Conv2d(2, 4, padding_mode=mode, **layer)
    changed = nn.Conv2d(2, 4, **layer)
    changed.load_state_dict(built.state_dict())
    x = images(2, 2, 9, 11)
    assert torch.equal(set_padding_mode(changed, mode)(x), built(x))


def test_every_convolution_of_a_model_is_set_and_the_model_returned():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()))
    assert set_padding_mode(model, "circular") is model
    assert [m.padding_mode for m in model.modules() if isinstance(m, nn.Conv2d)] == ["circular", "circular"]


def test_setting_a_mode_twice_and_back_leaves_nothing_behind(conv):
    x, before = images(1, 1, 6, 6), conv(images(1, 1, 6, 6))
    for mode in ("reflect", "reflect", "circular"):
        set_padding_mode(conv, mode)
        assert len(conv._forward_pre_hooks) == 1
    set_padding_mode(conv, "zeros")
    assert len(conv._forward_pre_hooks) == 0 and torch.equal(conv(x), before)


def test_a_callers_own_hook_stays(conv):
    handle = conv.register_forward_pre_hook(lambda module, inputs: None)
    set_padding_mode(set_padding_mode(conv, "reflect"), "zeros")
    assert list(conv._forward_pre_hooks) == [handle.id]


def test_the_modes_differ_at_the_border_and_nowhere_else(conv):
    """torch up to 1.4 took "reflect" and "replicate" and padded with zeros all the same."""
    x = images(1, 1, 8, 8)
    outputs = {mode: set_padding_mode(copy.deepcopy(conv), mode)(x)[0, 0] for mode in PADDING_MODES}
    for a, b in combinations(PADDING_MODES, 2):
        differs = (outputs[a] - outputs[b]).abs() > 1e-6
        assert not differs[1:-1, 1:-1].any(), f"{a} and {b} differ in the interior"
        assert differs[0].any() and differs[-1].any() and differs[:, 0].any() and differs[:, -1].any(), f"{a} is {b}"


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_a_constant_image_stays_constant_but_under_zero_padding(conv, mode):
    out = set_padding_mode(conv, mode)(torch.ones(1, 1, 6, 6))
    assert torch.allclose(out, out[..., 3, 3].expand_as(out), atol=1e-6) == (mode != "zeros")


def test_an_edited_padding_is_refused_and_nothing_is_changed():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    model[1].padding = (2, 2)
    with pytest.raises(ValueError, match=r"layer 1 was built with another padding than the \(2, 2\) it has now"):
        set_padding_mode(model, "reflect")
    assert model[0].padding_mode == "zeros"


def test_a_convolution_that_pads_by_itself_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Conv2dSame(1, 1, 3, stride=2))
    with pytest.raises(ValueError, match=r"layer 1 is a Conv2dSame, which pads in its own way whatever"):
        set_padding_mode(model, "circular")
    assert model[0].padding_mode == "zeros"


def test_an_unknown_mode_is_answered_with_the_choices(conv):
    with pytest.raises(ValueError, match="padding_mode: 'reflection' is not supported; choose from 'zeros'"):
        set_padding_mode(conv, "reflection")


@pytest.mark.parametrize("mode, too_small, enough", [("reflect", 3, 4), ("circular", 2, 3)])
def test_a_map_too_small_to_pad_names_the_layer(mode, too_small, enough):
    model = set_padding_mode(nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 7, padding=3)), mode)
    assert model(torch.ones(1, 1, enough, enough)).shape[-1] == enough
    with pytest.raises(ValueError) as error:
        model(torch.ones(1, 1, 9, too_small))
    assert str(error.value) == (f"layer 1: {mode} padding of (3, 3) needs a larger map than the 9x{too_small} it was "
                                "given; use larger images or another padding mode")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_removing_padding_equals_building_without_it(layer, mode):
    built = nn.Conv2d(2, 4, **{**layer, "padding": 0})
    changed = set_padding_mode(nn.Conv2d(2, 4, **layer), mode)
    changed.load_state_dict(built.state_dict())
    x = images(2, 2, 9, 11)
    assert torch.equal(remove_padding(changed)(x), built(x))
    assert torch.equal(set_padding_mode(changed, "circular")(x), built(x))   # a mode finds nothing left to fill


def test_every_convolution_loses_its_padding_and_the_model_is_returned():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sequential(nn.Conv2d(2, 2, 5, padding=2), nn.ReLU()))
    assert remove_padding(model) is model
    assert model(images(1, 1, 9, 9)).shape[-2:] == (3, 3)


@pytest.mark.parametrize("layer", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 7, "padding": 3, "stride": 2},
                                   {"kernel_size": (3, 5), "padding": (1, 2), "bias": False, "groups": 2},
                                   {"kernel_size": 3, "padding": 2, "dilation": 2}], ids=str)
def test_a_randomly_padded_layer_pads_one_corner_in_training_and_as_built_in_evaluation(layer):
    conv = nn.Conv2d(2, 4, **layer)
    x, (row, col) = images(2, 2, 9, 11), conv.padding
    before, weights = conv.eval()(x), {name: w.clone() for name, w in conv.state_dict().items()}
    assert pad_at_random(conv, ["model"]) is conv
    assert torch.equal(conv(x), before)
    corners = [conv2d(pad(x, (*across, *down)), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
               for down, across in product([(2 * row, 0), (0, 2 * row)], [(2 * col, 0), (0, 2 * col)])]
    conv.train()
    drawn = []
    for seed in range(30):
        torch.manual_seed(seed)
        out = conv(x)
        assert out.shape == before.shape
        found = [n for n, corner in enumerate(corners) if torch.equal(corner, out)]
        assert len(found) == 1
        drawn += found
        torch.manual_seed(seed)
        assert torch.equal(conv(x), out)
    assert set(drawn) == {0, 1, 2, 3}
    assert len({torch.equal(conv(x), conv(x)) for _ in range(30)}) == 2   # drawn anew in every pass
    assert list(conv.state_dict()) == list(weights)
    assert all(torch.equal(w, weights[name]) for name, w in conv.state_dict().items())


def test_only_the_layers_that_are_named_pad_at_random():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()))
    names, kept = list(model.state_dict()), list(model.parameters())
    assert pad_at_random(model, ["1.0"]) is model
    assert [type(m) is nn.Conv2d for m in (model[0], model[1][0])] == [True, False]
    assert list(model.state_dict()) == names
    assert all(new is old for new, old in zip(model.parameters(), kept, strict=True))   # an optimiser still has them
    x = images(1, 1, 6, 6)
    torch.manual_seed(0)
    assert len({model[0](x).detach().numpy().tobytes() for _ in range(20)}) == 1
    assert len({model(x).detach().numpy().tobytes() for _ in range(20)}) == 4


@pytest.mark.parametrize("options, name, there", [
    ({"padding": 1}, "1", "is no convolution of this model"),
    ({"padding": 1}, "conv9", "is no convolution of this model"),
    ({"padding": "same"}, "0", "pads same by zeros"),
    ({"padding": 1, "padding_mode": "circular"}, "0", "pads (1, 1) by circular"),
])
def test_a_layer_that_cannot_pad_at_random_is_refused_by_name(options, name, there):
    model = nn.Sequential(nn.Conv2d(1, 1, 3, **options), nn.ReLU())
    with pytest.raises(ValueError) as error:
        pad_at_random(model, [name])
    assert str(error.value) == (f"pad_at_random: layer {name} {there}; name convolutions with zero padding in numbers")


def test_random_padding_beside_a_convolution_that_pads_by_itself_is_refused():
    with pytest.raises(ValueError, match=r"pad_at_random: layer 1 is a Conv2dSame, which pads in its own way whatever"):
        pad_at_random(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Conv2dSame(1, 1, 3, stride=2)), ["0"])


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_a_switched_mode_is_put_back_with_every_hook(mode):
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate"))
    set_padding_mode(net[:1], "circular")
    own = net[1].register_forward_pre_hook(lambda *_: None)
    before = [(conv.padding_mode, dict(conv._forward_pre_hooks)) for conv in net]
    x = images(2, 3, 8, 8)
    was = net(x)
    with pytest.raises(KeyError), switched(net, mode) as inside:
        assert inside is net and [conv.padding_mode for conv in net] == [mode, mode]
        raise KeyError
    assert [(conv.padding_mode, dict(conv._forward_pre_hooks)) for conv in net] == before
    assert own.id in net[1]._forward_pre_hooks and torch.equal(net(x), was)


def test_a_refused_switch_changes_nothing():
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), Conv2dSame(3, 3, 3))
    with pytest.raises(ValueError, match="layer 1 is a Conv2dSame"), switched(net, "circular"):
        pass
    assert net[0].padding_mode == "zeros" and not net[0]._forward_pre_hooks


@pytest.mark.parametrize("layer, said", [
    (nn.Conv2d(3, 3, 3, padding=1), "zeros"), (nn.Conv2d(3, 3, 3), ""), (nn.Conv2d(3, 3, 3, padding="same"), "zeros"),
    (nn.Conv2d(3, 3, 1, padding="same"), ""), (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "reflect"),
    (Conv2dSame(3, 3, 3), "in its own way"), (nn.MaxPool2d(3, 2, 1), "minus infinity"), (nn.MaxPool2d(2), ""),
    (nn.MaxPool2d(2, ceil_mode=True), "windows that reach beyond it"), (nn.AvgPool2d(3, 1, 1), "zeros"),
    (nn.AvgPool2d(3, 1, 1, count_include_pad=False), "nothing, it averages fewer"), (nn.ReflectionPad2d(1), "reflect"),
    (nn.ZeroPad2d(0), ""), (nn.CircularPad2d((1, 0, 0, 0)), "circular"), (nn.ConstantPad2d(1, 2.0), "a constant"),
    (nn.ReplicationPad2d(1), "replicate"), (nn.ConvTranspose2d(3, 3, 3, padding=1), "nothing, it crops"),
    (BlurPool2d(3), "reflect"), (nn.ReLU(), ""), (nn.AdaptiveAvgPool2d(1), "")], ids=str)
def test_a_layer_says_with_what_it_fills_the_border(layer, said):
    assert border_fill(layer) == said


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("sides, amount", [((5, 4), (1, 1)), ((8, 8), (3, 3)), ((4, 6), (3, 0)), ((4, 9), (2, 4))])
def test_padding_by_copies_is_torchs(mode, sides, amount):
    """Values bit by bit; the gradient but for the order of its sums, and as autograd's own check has it."""
    x = images(2, 3, *sides).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = x.detach().clone().requires_grad_()
    ours, theirs = CopiedPadding.apply(x, mode, amount), pad(y, [amount[1]] * 2 + [amount[0]] * 2, mode)
    assert torch.equal(ours, theirs) and ours.is_contiguous(memory_format=torch.channels_last)
    weight = images(*ours.shape, seed=1)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
    x = images(1, 1, *sides).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: CopiedPadding.apply(x, mode, amount), x)


def test_the_gpu_path_of_a_convolution_is_the_same_convolution():
    """`is_cuda` is only asked of the input, so the path can be taken on a CPU."""
    class OnGpu(torch.Tensor):
        is_cuda = True

    for mode in PADDING_MODES:
        conv = set_padding_mode(nn.Conv2d(3, 4, 3, stride=2, padding=1), mode)
        x = images(2, 3, 8, 8)
        with torch.no_grad():
            ours = conv(x.as_subclass(OnGpu)).as_subclass(torch.Tensor)
            torch.testing.assert_close(ours, conv(x))


def test_a_switched_network_gets_its_own_layers_back(conv):
    with switched(conv, "reflect"):
        pass
    assert type(conv) is nn.Conv2d
