"""A padding mode set afterwards is that of a layer built with it; what cannot be set is refused by name."""
import copy
from itertools import combinations

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from posenc_lib.config import PADDING_MODES
from posenc_lib.padding import remove_padding, set_padding_mode

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
    with pytest.raises(ValueError, match="padding_mode: 'reflection' was asked for, but there are only 'zeros'"):
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
