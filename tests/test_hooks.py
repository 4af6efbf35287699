"""Hooks capture what a layer said, silence channels exactly, and are gone when their block ends."""
import pytest
import torch
from captum.attr import LayerFeatureAblation
from torch import nn

from posenc_lib.hooks import ablated, captured, layer


@pytest.fixture
def net():
    """conv -> in-place ReLU -> conv -> average -> two logits; small enough to follow with a pencil."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(5, 2)).double()


@pytest.fixture
def x():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def hooks(net) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def test_hooks_are_there_inside_the_block_only(net):
    with captured(net, "0"):
        assert hooks(net) == 1
        with ablated(net, "2", [1]), ablated(net, "2", [2]):
            assert hooks(net) == 3
    assert hooks(net) == 0


@pytest.mark.parametrize("block", [lambda net: captured(net, "0"), lambda net: ablated(net, "0", [0])])
def test_hooks_are_gone_after_an_exception(net, block):
    with pytest.raises(KeyError), block(net):
        raise KeyError
    assert hooks(net) == 0


def test_captured_outputs_are_the_layers_own_clones(net, x):
    with captured(net, "0") as outputs:
        net(x)
        net(x[:1])
    assert [len(f) for f in outputs] == [2, 1]
    assert torch.equal(outputs[0], net[0](x)) and (outputs[0] < 0).any()   # the in-place ReLU behind did not reach it
    assert not outputs[0].requires_grad


def test_ablating_equals_zeroing_the_next_layers_input_weights(net, x):
    with ablated(net, "0", [1, 3]):
        silenced = net(x)
    net[2].weight.data[:, [1, 3]] = 0
    assert torch.equal(silenced, net(x))


def test_ablating_equals_captums_feature_ablation(net, x):
    mask = torch.arange(5).reshape(1, 5, 1, 1)   # one feature a channel
    theirs = LayerFeatureAblation(net, net[2]).attribute(x, target=1, layer_mask=mask)[:, :, 0, 0]
    whole = net(x)[:, 1]
    for channel in range(5):
        with ablated(net, "2", [channel]):
            assert torch.allclose(whole - net(x)[:, 1], theirs[:, channel])


def test_blocks_nest_and_undo_themselves_in_order(net, x):
    whole = net(x)
    with ablated(net, "2", torch.tensor([0, 3])):
        both = net(x)
    with ablated(net, "2", [0]):
        one = net(x)
        with ablated(net, "2", [3]):
            assert torch.equal(net(x), both)
        assert torch.equal(net(x), one)
    assert torch.equal(net(x), whole) and not torch.equal(one, whole)


def test_ablating_nothing_changes_nothing(net, x):
    with ablated(net, "2", []):
        silenced = net(x)
    assert torch.equal(silenced, net(x))


def test_the_callers_tensors_are_untouched(net, x):
    kept = []
    handle = net[2].register_forward_hook(lambda _, __, out: kept.append((out, out.clone())))
    images = x.clone()
    with ablated(net, "2", [0, 1, 2, 3, 4]):
        assert torch.equal(net(x), net[5].bias.expand(2, 2))   # exact zeros
    handle.remove()
    assert torch.equal(*kept[0]) and torch.equal(x, images)


@pytest.mark.parametrize("channels, span", [([2, 5], "2..5"), ([-1], "-1..-1")])
def test_a_channel_that_is_not_there_is_refused(net, x, channels, span):
    with pytest.raises(ValueError) as error, ablated(net, "2", channels):
        net(x)
    assert str(error.value) == f"ablated: channels {span} were asked for, but layer 2 has 0..4"
    assert hooks(net) == 0


def test_an_unknown_layer_is_answered_with_the_nearest_names():
    net = nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 1), "layer1": nn.Identity(), "head": nn.Identity()})
    with pytest.raises(ValueError, match="layer: ModuleDict has no layer 'layer9'; near it are layer1"):
        layer(net, "layer9")
    with pytest.raises(ValueError, match="no layer 'xyz'; near it are conv1, layer1, head"), ablated(net, "xyz", [0]):
        pass
    with pytest.raises(ValueError, match="has no layer ''"):
        layer(net, "")
    assert layer(net, "conv1") is net["conv1"]
