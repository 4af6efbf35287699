"""Responses equal plain loops and obey the symmetries of their networks; sets of channels have the requested size."""
import json

import pytest
import torch
from scipy import stats
from torch import nn

from posenc_lib.measure import canvas, channels, metrics
from posenc_lib.measure.channels import flip_horizontally, flip_vertically, roll_half_width
from posenc_lib.nets.classifiers import ResNet18
from posenc_lib.nets.heads import gap
from posenc_lib.nets.padding import set_padding_mode


def network(mode: str = "zeros") -> nn.Module:
    torch.manual_seed(0)
    return set_padding_mode(ResNet18(4).eval(), mode)


def latents(net):
    return lambda images: gap(net.features(images))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def encode():
    return latents(network())


@pytest.mark.parametrize("change, axis", [(flip_horizontally, -1), (flip_vertically, -2)])
def test_a_flip_reverses_one_axis(change, axis):
    x = noise(2, 3, 4, 5)
    assert torch.equal(change(x), torch.stack(x.unbind(axis)[::-1], axis)) and torch.equal(change(change(x)), x)


@pytest.mark.parametrize("cols", [4, 8])
def test_the_circular_shift_swaps_centre_and_periphery(cols):
    numbers = canvas.zones(2, cols).expand(1, 1, 2, cols)
    centre, periphery = (torch.isin(numbers, torch.tensor(canvas.REGIONS[r])).float() for r in ("centre", "periphery"))
    assert torch.equal(roll_half_width(centre), periphery) and torch.equal(
        roll_half_width(roll_half_width(centre)), centre
    )
    assert roll_half_width(torch.arange(float(cols)).expand(1, 1, 1, cols)).flatten().tolist()[cols // 2] == 0


@pytest.mark.parametrize("change", [flip_horizontally, flip_vertically, roll_half_width])
def test_response_equals_the_equation_by_a_plain_loop(encode, change):
    images, total, bare = noise(4, 3, 32, 48), torch.zeros(32).double(), torch.zeros(32).double()
    with torch.no_grad():
        for x in images:
            z, moved = encode(x[None])[0], encode(change(x[None]))[0]
            for c in range(32):
                total[c] += abs(float(z[c]) - float(moved[c])) / 4
                bare[c] += (float(z[c]) - float(moved[c])) / 4
    measured = channels.mean_response(encode, images.split(3), change)
    signed = channels.mean_response(encode, images.split(3), change, signed=True)
    assert torch.allclose(measured, total, atol=1e-6) and torch.allclose(signed, bare, atol=1e-6)
    assert (measured >= 0).all() and (signed < 0).any() and measured.dtype == torch.float64


def test_the_default_change_is_the_horizontal_flip(encode):
    batches = noise(2, 3, 32, 48).split(2)
    assert torch.equal(
        channels.mean_response(encode, batches), channels.mean_response(encode, batches, flip_horizontally)
    )


@pytest.mark.parametrize("measure", [channels.mean_response, channels.decodability])
def test_the_batch_size_does_not_matter(encode, measure):
    images = noise(7, 3, 48, 48)
    whole = measure(encode, images.split(7))
    assert whole.max() > 0.01
    for size in (1, 3):
        assert torch.allclose(measure(encode, images.split(size)), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side, symmetric", [(33, True), (65, True), (32, False), (64, False)])
def test_a_mirror_symmetric_network_does_not_answer_to_the_flip_at_odd_width(side, symmetric):
    net = network()
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.data = (conv.weight.data + conv.weight.data.flip(-1)) / 2
    largest = channels.mean_response(latents(net), [noise(2, 3, 32, side)]).max()
    assert largest < 1e-6 if symmetric else largest > 0.01   # at even width, strides count from the left


def test_the_signed_response_of_mirrored_data_is_the_negative(encode):
    images = noise(4, 3, 32, 33)
    plain, mirrored = (channels.mean_response(encode, x.split(2), signed=True) for x in (images, images.flip(-1)))
    assert torch.allclose(plain, -mirrored, rtol=0, atol=1e-12) and plain.abs().max() > 0.01


@pytest.mark.parametrize("mode", ["circular", "zeros"])
def test_the_shift_response_is_zero_under_circular_padding_only(mode):
    largest = channels.mean_response(latents(network(mode)), [noise(2, 3, 32, 64)], roll_half_width).max()   # stride 16
    assert largest < 1e-6 if mode == "circular" else largest > 1e-3


def test_a_one_sided_edge_detector_answers_to_the_flip_and_knows_no_column():
    net = nn.Conv2d(1, 1, (1, 3), padding=(0, 1), padding_mode="circular")
    net.weight.data, net.bias.data = torch.tensor([[[[0.0, 1.0, -1.0]]]]), torch.tensor([-2.0])
    saw = torch.arange(32.0).remainder(8).expand(1, 1, 4, 32)          # rises by 1, falls by 7

    def detect(images):
        return gap(net(images).relu())

    assert channels.mean_response(detect, [saw], flip_horizontally) == 5 / 8           # 4 falls of 7 - 2 in 32 columns
    assert channels.mean_response(detect, [saw], roll_half_width) == 0


@pytest.mark.parametrize("batches", [[], iter(())])
def test_no_image_is_refused(encode, batches):
    with pytest.raises(ValueError) as error:
        channels.mean_response(encode, batches)
    assert str(error.value) == "response_changes: `batches` is empty; give at least one batch of images"


def test_top_is_highest_first_and_equal_ones_in_channel_order():
    assert channels.top_channels(torch.tensor([1.0, 3.0, 2.0, 3.0, 1.0]), 5).tolist() == [1, 3, 2, 0, 4]
    assert channels.top_channels(torch.zeros(300), 300).tolist() == list(range(300))
    response = noise(512).round(decimals=1)
    assert channels.top_channels(response, 512).sort().values.tolist() == list(range(512))
    assert channels.top_channels(response, 512).tolist() == sorted(range(512), key=lambda c: (-float(response[c]), c))


@pytest.mark.parametrize("n", [-1, 513])
def test_more_channels_than_the_layer_has_are_refused(n):
    with pytest.raises(ValueError) as error:
        channels.top_channels(noise(512), n)
    assert str(error.value) == f"top_channels: n is {n}, but the layer has 512 channels; give 0 to 512"


def test_every_set_has_the_requested_size_whatever_was_requested_before():
    """The released code shortens its list from call to call."""
    response = noise(512)
    sizes = (100, 300, 50, 0, 100)
    sets = [channels.top_channels(response, n) for n in sizes]
    assert [len(chosen.unique()) for chosen in sets] == [len(chosen) for chosen in sets] == list(sizes)
    assert all(torch.equal(chosen, sets[1][:n]) for chosen, n in zip(sets, sizes, strict=True))
    assert torch.equal(sets[0], sets[4])


def test_random_sets_are_distinct_channels_and_come_again():
    sets = channels.random_sets(40, 12, 200, seed=3)
    assert all(len(chosen.unique()) == len(chosen) == 12 for chosen in sets) and len(sets) == 200
    assert len({tuple(chosen.sort().values.tolist()) for chosen in sets}) == 200
    assert torch.equal(torch.stack(sets), torch.stack(channels.random_sets(40, 12, 200, seed=3)))
    assert not torch.equal(torch.stack(sets), torch.stack(channels.random_sets(40, 12, 200, seed=4)))
    drawn = torch.cat(sets).bincount(minlength=40)                      # 60 each on average, deviation 6.5
    assert drawn.min() > 30 and drawn.max() < 90


def test_rms_matched_sets_have_as_many_channels_of_every_stratum():
    rms, targets = noise(100).abs(), channels.top_channels(noise(100) + torch.arange(100) / 50, 30)
    stratum = rms.argsort().argsort() // 10
    sets = channels.rms_matched_sets(rms, targets, 20, seed=0)
    for chosen in sets:
        assert len(chosen.unique()) == 30
        assert torch.equal(stratum[chosen].bincount(minlength=10), stratum[targets].bincount(minlength=10))
    assert len({tuple(chosen.sort().values.tolist()) for chosen in sets}) > 1
    assert torch.equal(torch.stack(sets), torch.stack(channels.rms_matched_sets(rms, targets, 20, seed=0)))
    halves = channels.rms_matched_sets(rms, targets, 1, seed=0, strata=2)[0]
    assert (stratum[halves] < 5).sum() == (stratum[targets] < 5).sum()


def test_rms_matched_sets_hold_targets_only_where_a_stratum_has_too_few_others():
    rms = torch.arange(20.0)                                           # strata 0..9 and 10..19
    few, many = torch.tensor([1, 3, 12]), torch.tensor([10, 11, 12, 13, 14, 15, 16])
    for chosen in channels.rms_matched_sets(rms, few, 50, seed=0, strata=2):
        assert channels.overlap(chosen, few) == 0 and (chosen >= 10).sum() == 1
    drawn = set()
    for chosen in channels.rms_matched_sets(rms, many, 50, seed=0, strata=2):
        assert len(chosen.unique()) == 7 and {17, 18, 19} <= set(chosen.tolist()) and (chosen >= 10).all()
        assert channels.overlap(chosen, many) == 4
        drawn |= set(chosen.tolist())
    assert drawn == set(range(10, 20))


def test_sets_matched_to_the_highest_stratum_are_that_stratum():
    rms = noise(100).abs()
    strongest = channels.top_channels(rms, 10)
    for chosen in channels.rms_matched_sets(rms, strongest, 20, seed=0):
        assert channels.overlap(chosen, strongest) == len(chosen) == 10


def test_decodability_of_channels_that_encode_and_that_ignore_the_cell():
    def read(images):
        shown = (images != 0).double().mean(1)                         # (batch, row, col)
        cols, rows = (torch.arange(shown.shape[axis]).double() for axis in (-1, -2))
        return torch.stack([(shown * cols).mean((1, 2)), (shown * rows[:, None]).mean((1, 2)),
                            images[:, 0].mean((1, 2)), torch.full((len(images),), 0.1, dtype=torch.float64)], 1)

    by_channel = channels.decodability(read, noise(5, 3, 12, 21).double().split(2))
    assert by_channel.tolist() == pytest.approx([1, 1, 0, 0], abs=1e-12)


def test_decodability_equals_a_plain_loop(encode):
    images, k = noise(3, 3, 50, 64), 3
    z = torch.zeros(k * k, 3, 32).double()
    for cell in range(k * k):
        for n in range(3):
            whole = torch.zeros(1, 3, 48, 48)                                         # 50 // 3 and 64 // 3, down to 16
            top, left = cell // 3 * 16, cell % 3 * 16
            whole[0, :, top:top + 16, left:left + 16] = images[n, :, 17:33, 24:40]
            z[cell, n] = encode(whole)[0].detach()
    expected = z.mean(1).var(0, correction=0) / z.flatten(0, 1).var(0, correction=0)
    measured = channels.decodability(encode, images.split(2), k)
    assert torch.allclose(measured, expected, atol=1e-6) and (measured >= 0).all() and (measured <= 1).all()


@pytest.mark.parametrize("mode", ["circular", "zeros"])
def test_no_cell_is_decodable_under_circular_padding(mode):
    by_channel = channels.decodability(latents(network(mode)), [noise(4, 3, 64, 64)], 2)   # cells of twice the stride
    assert by_channel.max() < 1e-9 if mode == "circular" else by_channel.max() > 0.01


def test_rms_activation():
    images = noise(5, 4, 6, 7)
    measured = channels.rms_activation(lambda x: 2 * x, images.split(2))
    assert torch.allclose(measured, (4 * images.double() ** 2).mean((0, 2, 3)).sqrt())


def test_overlap_and_rank_correlation():
    first, second = noise(200).round(decimals=1), noise(2, 200)[1] + noise(200)
    assert channels.rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-12)
    assert channels.overlap(torch.tensor([5, 1, 9]), torch.tensor([9, 2, 5])) == 2
    assert channels.rank_correlation(first, first) == pytest.approx(1)
    left, right = first, -first                                         # the lists are each other's reverse
    assert channels.rank_correlation(left, right) == pytest.approx(-1)
    assert (
        channels.overlap(channels.top_channels(left, 100), channels.top_channels(right, 100)) < 10
    )  # ties at the middle only
    distinct = noise(200)
    assert torch.equal(channels.top_channels(distinct, 200), channels.top_channels(-distinct, 200).flip(0))
    assert channels.overlap(channels.top_channels(distinct, 100), channels.top_channels(-distinct, 100)) == 0


def test_a_ranking_that_every_image_shares_is_stable():
    alike = noise(1, 50).expand(8, 50)
    assert (channels.stability(alike, 10, metrics.bootstrap(8, 20)) == 1).all()


def test_stability_by_pencil():
    changes = torch.tensor([[-9.0, 1.0, 0.0, 0.0], [8.0, 0.0, -2.0, 1.0]])   # means 8.5, .5, 1, .5: 0 and 2 are kept
    weights = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])             # tops: 0 and 2, 0 and 1, 0 and 2
    assert channels.stability(changes, 2, weights).tolist() == [1.0, 0.5, 1.0]


@pytest.fixture(scope="module")
def ranking():
    net, images = network(), noise(5, 3, 64, 64)
    return net.features, images, channels.rank(net.features, lambda: images.split(2))


def test_a_ranking_has_every_rule_and_region(ranking):
    features, images, measured = ranking
    assert set(measured.rules) == {"flip", "shift", "decodability", "rms_activation"}
    assert set(measured.signed) == set(measured.active) == set(canvas.REGIONS)
    for values in (*measured.rules.values(), *measured.signed.values(), *measured.active.values(), measured.mean):
        assert values.shape == (32,) and values.isfinite().all()
    assert measured.flips.shape == (5, 32)
    encode, batches = (lambda x: gap(features(x))), images.split(5)
    for rule, expected in (("flip", channels.mean_response(encode, batches)),
                           ("shift", channels.mean_response(encode, batches, roll_half_width)),
                           ("decodability", channels.decodability(encode, batches)),
                           ("rms_activation", channels.rms_activation(features, batches))):
        assert torch.allclose(measured.rules[rule], expected, atol=1e-6), rule
    assert torch.allclose(measured.rules["flip"], measured.flips.abs().mean(0))


def test_a_rankings_regions(ranking):
    features, images, measured = ranking
    with torch.no_grad():
        f = features(images).double()                                   # (5, 32, 4, 4)
    assert torch.allclose(measured.mean, f.mean((0, 2, 3)), atol=1e-6)
    for region, change, sign, difference in (
            ("left", flip_horizontally, 1, f[..., :2].mean((0, 2, 3)) - f[..., 2:].mean((0, 2, 3))),
            ("top", flip_vertically, 1, f[..., :2, :].mean((0, 2, 3)) - f[..., 2:, :].mean((0, 2, 3))),
            ("centre", roll_half_width, 1, f[..., 1:3].mean((0, 2, 3)) - f[..., [0, 3]].mean((0, 2, 3)))):
        signed = channels.mean_response(lambda x: gap(features(x)), [images], change, signed=True)
        assert torch.allclose(measured.active[region], difference, atol=1e-6)
        assert torch.allclose(measured.signed[region], sign * signed, atol=1e-6)
    for one, other in (("left", "right"), ("top", "bottom"), ("centre", "periphery")):
        assert torch.equal(measured.signed[one], -measured.signed[other])
        assert torch.allclose(measured.active[one], -measured.active[other], atol=1e-12)


def test_the_sets_of_a_ranking(ranking):
    measured = ranking[2]
    sets = measured.sets(6, 3, seed=0)
    assert {name: len(draws) for name, draws in sets.items()} == {
        "flip": 1, "shift": 1, "decodability": 1, "rms_activation": 1, "lowest_flip": 1, "random": 3, "rms_matched": 3}
    assert all(len(chosen.unique()) == len(chosen) == 6 for draws in sets.values() for chosen in draws)
    order = channels.top_channels(measured.rules["flip"], 32)
    assert torch.equal(sets["flip"][0], order[:6]) and set(sets["lowest_flip"][0].tolist()) == set(order[-6:].tolist())


def test_released_lists_are_compared_and_a_missing_one_is_named(tmp_path):
    order = list(range(400))
    for name, numbers in (("left_ordered", order), ("right_ordered", order[::-1])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"left": numbers}))   # as theirs, that key in both
    with pytest.raises(FileNotFoundError, match=r"released: .* lacks the list overall; give the folder pos"):
        list(channels.compare_released_lists(tmp_path))
    (tmp_path / "ordered.json").write_text(json.dumps({"overall": order}))
    rows = {(row["first"], row["second"]): row for row in channels.compare_released_lists(tmp_path)}
    assert list(rows) == [("left", "right"), ("left", "overall"), ("right", "overall")]
    assert [rows["left", "right"][f"shared of {n}"] for n in (100, 300)] == [0, 200]
    assert [round(row["spearman"], 6) for row in rows.values()] == [-1, 1, -1]
