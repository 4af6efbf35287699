"""Hooks capture a layer's output, ablate channels exactly, and are removed when their block ends."""
from contextlib import suppress

import pytest
import torch
from captum.attr import LayerFeatureAblation
from torch import nn

from posenc_lib.nets import tracing
from posenc_lib.nets.hooks import ablated, captured, eval_and_restore, layer
from posenc_lib.nets.tracing import channel_axis, stages


def trace_feature_maps(net, x) -> dict[str, tuple[int, ...]]:
    return {name: output.shape for name, output in tracing._trace(net, x)[0].items()}


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


def test_hooks_exist_inside_the_block_only(net):
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
    assert torch.equal(outputs[0], net[0](x)) and (outputs[0] < 0).any()  # the in-place ReLU after it did not change it
    assert not outputs[0].requires_grad


def test_ablating_equals_zeroing_the_next_layers_input_weights(net, x):
    with ablated(net, "0", [1, 3]):
        logits = net(x)
    net[2].weight.data[:, [1, 3]] = 0
    assert torch.equal(logits, net(x))


def test_ablating_equals_captums_feature_ablation(net, x):
    mask = torch.arange(5).reshape(1, 5, 1, 1)   # one feature a channel
    theirs = LayerFeatureAblation(net, net[2]).attribute(x, target=1, layer_mask=mask)[:, :, 0, 0]
    intact = net(x)[:, 1]
    for channel in range(5):
        with ablated(net, "2", [channel]):
            assert torch.allclose(intact - net(x)[:, 1], theirs[:, channel])


def test_blocks_nest_and_undo_themselves_in_order(net, x):
    intact = net(x)
    with ablated(net, "2", torch.tensor([0, 3])):
        both = net(x)
    with ablated(net, "2", [0]):
        one = net(x)
        with ablated(net, "2", [3]):
            assert torch.equal(net(x), both)
        assert torch.equal(net(x), one)
    assert torch.equal(net(x), intact) and not torch.equal(one, intact)


def test_ablating_nothing_changes_nothing(net, x):
    with ablated(net, "2", []):
        logits = net(x)
    assert torch.equal(logits, net(x))


def test_the_callers_tensors_are_untouched(net, x):
    kept = []
    handle = net[2].register_forward_hook(lambda _, __, out: kept.append((out, out.clone())))
    images = x.clone()
    with ablated(net, "2", [0, 1, 2, 3, 4]):
        assert torch.equal(net(x), net[5].bias.expand(2, 2))   # exact zeros
    handle.remove()
    assert torch.equal(*kept[0]) and torch.equal(x, images)


@pytest.mark.parametrize("channels, span", [([2, 5], "2..5"), ([-1], "-1..-1")])
def test_a_channel_that_does_not_exist_is_refused(net, x, channels, span):
    with pytest.raises(ValueError) as error, ablated(net, "2", channels):
        net(x)
    assert str(error.value) == f"ablate: channels {span} were requested, but there are only 0..4"
    assert hooks(net) == 0


def test_an_unknown_layer_is_an_error_that_lists_similar_names():
    net = nn.ModuleDict({"conv1": nn.Conv2d(1, 1, 1), "layer1": nn.Identity(), "head": nn.Identity()})
    with pytest.raises(ValueError, match="layer: ModuleDict has no layer 'layer9'; similar names are layer1"):
        layer(net, "layer9")
    with (
        pytest.raises(ValueError, match="no layer 'xyz'; similar names are conv1, layer1, head"),
        ablated(net, "xyz", [0]),
    ):
        pass
    with pytest.raises(ValueError, match="has no layer ''"):
        layer(net, "")
    assert layer(net, "conv1") is net["conv1"]


def test_what_is_kept_of_an_output_can_be_chosen(net, x):
    with captured(net, "0", lambda out: out.mean((-2, -1))) as outputs:
        net(x)
    torch.testing.assert_close(outputs[0], net[0](x).mean((-2, -1)))


def test_a_layer_whose_output_is_no_tensor_cannot_be_captured():
    net = nn.Sequential()
    net.add_module("pair", nn.LSTM(3, 4))
    with pytest.raises(ValueError, match="layer pair outputs a tuple; name a layer that outputs a tensor"), \
            captured(net, "pair"):
        net(torch.randn(5, 2, 3))
    assert hooks(net) == 0


@pytest.mark.parametrize("axis, shape", [(None, (2, 7, 5)), (3, (2, 4, 4, 5)), (1, (2, 5, 4, 4)), (None, (2, 5, 4, 4))])
def test_channels_are_ablated_along_their_own_axis(axis, shape):
    net = nn.Sequential(nn.Hardtanh())
    x = torch.rand(shape) + 0.1
    where = axis or (2 if len(shape) == 3 else 1)
    with ablated(net, "0", [1, 4], axis):
        out = net(x).movedim(where, 0)
    assert not out[[1, 4]].any() and torch.equal(out[[0, 2, 3]], net(x).movedim(where, 0)[[0, 2, 3]])


@pytest.mark.parametrize("shape, axis", [
    ((2, 8, 7, 7), 1), ((2, 7, 7, 8), 3), ((2, 7, 7, 7), 1), ((2, 49, 8), 2), ((2, 8, 1, 1), None), ((2, 1, 8), None),
    ((2, 8), None), ((2, 3, 4, 5), None), ((2, 1, 1, 8), None), ((2, 8, 8, 1), 3), ((2, 8, 7, 7, 7), None)])
def test_the_channel_axis_is_inferred_from_the_shape_for_square_images(shape, axis):
    assert channel_axis(shape) == axis


class Odd(nn.Module):
    """Counts its calls in a buffer even in evaluation, replaces another, draws random numbers, and fails on request."""
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fail = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), None
        self.register_buffer("calls", torch.zeros(2))
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("nothing", None)

    def forward(self, x):
        self.calls += 1
        self.last = self.last + torch.rand(1)
        out = self.norm(self.conv(x))
        if self.fail:
            raise self.fail
        return out


def remembered(net: nn.Module):
    return ([(m.training, {**m._parameters}, {k: (b, None if b is None else b.clone()) for k, b in m._buffers.items()},
              len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
            {k: v.clone() for k, v in net.state_dict().items()}, torch.random.get_rng_state())


def assert_untouched(net: nn.Module, before):
    modules, state, rng = before
    for (training, parameters, buffers, *counts), m in zip(modules, net.modules(), strict=True):
        assert m.training == training and [len(m._forward_hooks), len(m._forward_pre_hooks)] == counts
        assert all(m._parameters[k] is p for k, p in parameters.items())
        assert list(m._buffers) == list(buffers)
        for key, (buffer, value) in buffers.items():
            assert m._buffers[key] is buffer and (value is None or torch.equal(buffer, value)), key
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in state.items())
    assert torch.equal(torch.random.get_rng_state(), rng)


@pytest.mark.parametrize("fail", [None, ValueError("no"), KeyboardInterrupt()], ids=str)
def test_a_network_is_as_before_however_the_block_ended(fail):
    net = Odd().train()
    net.norm.eval()                         # training flags that differ
    before = remembered(net)
    net.fail = fail
    with suppress(ValueError, KeyboardInterrupt), eval_and_restore(net):
        assert not net.training and not torch.is_grad_enabled()
        net(torch.randn(2, 3, 8, 8))
    assert torch.is_grad_enabled()
    assert_untouched(net, before)


def test_layers_are_traced_in_the_order_in_which_they_finish(net, x):
    with eval_and_restore(net):
        shapes = trace_feature_maps(net, x)
    assert shapes == {"0": (2, 4, 6, 6), "1": (2, 4, 6, 6), "2": (2, 5, 4, 4)}    # the average has one place
    assert hooks(net) == 0


def test_layers_without_features_of_their_own_or_with_another_batch_size_are_not_traced():
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle, self.drop, self.share = nn.Identity(), nn.Dropout(), nn.Softmax(1)
            self.again, self.parted, self.last = nn.ReLU(), nn.Hardtanh(), nn.Tanh()

        def forward(self, x):
            x = self.share(self.drop(self.idle(self.again(x))))
            self.parted(x.reshape(-1, 3, 4, 4))
            return self.last(self.again(x)[:, :, ::2, ::2])

    with eval_and_restore(Windows()) as net:
        shapes = trace_feature_maps(net, torch.rand(1, 3, 8, 8))
    assert list(shapes.items()) == [("again", (1, 3, 8, 8)), ("last", (1, 3, 4, 4))]
    net.last = nn.Sequential(nn.Tanh(), net.again)       # now finishes last
    with eval_and_restore(net):
        assert list(trace_feature_maps(net, torch.rand(1, 3, 8, 8))) == ["last.0", "again", "last"]


@pytest.mark.parametrize("shapes, wanted", [
    ({"conv1": (1, 8, 32, 32), "relu": (1, 8, 32, 32), "layer1.0.conv": (1, 8, 16, 16), "layer1.0": (1, 8, 16, 16),
      "layer1": (1, 8, 16, 16), "layer2.0.conv1": (1, 8, 16, 16), "layer2": (1, 16, 8, 8)},
     ["relu", "layer1", "layer2"]),
    ({"stem": (1, 8, 16, 16), "stages.0": (1, 8, 16, 16), "stages.1.down.0": (1, 8, 16, 16), "stages.1": (1, 9, 8, 8),
      "stages.2": (1, 9, 4, 4), "stages": (1, 9, 4, 4)}, ["stages.0", "stages.1", "stages"]),
    ({"a.b.c": (1, 8, 32, 32), "a.b.d": (1, 8, 16, 16), "a.e": (1, 8, 8, 8)}, ["a.b.c", "a.b.d", "a.e"]),
    ({"patch": (1, 8, 4, 4), **{f"blocks.{n}.mlp": (1, 17, 8) for n in range(2)},
      **{f"blocks.{n}": (1, 17, 8) for n in range(8)}}, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"]),
    ({"one": (1, 8, 4, 4), "two": (1, 8, 4, 4)}, ["one", "two"]),
    ({"features.0": (1, 8, 8, 8), "features.1": (1, 8, 4, 4), "features.2": (1, 8, 2, 2), "classifier.1": (1, 9, 2, 2),
      "segmentation_head": (1, 9, 8, 8)}, ["features.0", "features.1", "features.2"]),
    ({"head.0": (1, 8, 8, 8), "head.1": (1, 8, 8, 8)}, ["head.0", "head.1"]),
    ({}, [])])
def test_stages_are_the_last_at_each_resolution_or_blocks_evenly_spread(shapes, wanted):
    net = nn.Module()
    for name in shapes:
        at = net
        for part in name.split("."):
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
    assert stages(net, shapes) == wanted
