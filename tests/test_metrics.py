"""Metrics against worked examples, closed forms and the peers' own functions."""
from inspect import unwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.feature_selection import f_classif
from sklearn.metrics import jaccard_score
from torchmetrics.functional.classification import multiclass_confusion_matrix

from posenc_lib.measure import canvas, metrics

NAN, INF = float("nan"), float("inf")


def test_accuracy_and_chance():
    logits = torch.tensor([[0.1, 2.0], [3.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([1, 1, 1])
    assert metrics.accuracy(logits, labels) == pytest.approx(2 / 3)
    assert metrics.chance(torch.tensor([0, 2, 2, 1])) == 0.5
    assert metrics.chance(torch.arange(9)) == pytest.approx(1 / 9)


@pytest.mark.parametrize("k", [9, 10, 25])
def test_above_chance_is_the_same_scale_for_any_number_of_classes(k):
    assert metrics.above_chance(1 / k, 1 / k) == 0
    assert metrics.above_chance(1.0, 1 / k) == pytest.approx(1)
    assert metrics.above_chance(0.0, 1 / k) == pytest.approx(-1 / (k - 1))


@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_mean_interval_is_students(confidence):
    values = [0.7, 0.9, 0.4, 0.85]
    theirs = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert metrics.mean_interval(values, confidence) == pytest.approx((np.mean(values), theirs.low, theirs.high))


def test_mean_intervals_of_one_run_and_of_none():
    assert metrics.mean_interval([0.5]) == pytest.approx((0.5, NAN, NAN), nan_ok=True)
    with pytest.raises(ValueError, match="mean_interval: `values` is empty"):
        metrics.mean_interval([])


def framed(border: float, inside: list[list[float]]) -> torch.Tensor:
    f = torch.full((1, 1, len(inside) + 2, len(inside[0]) + 2), float(border))
    f[..., 1:-1, 1:-1] = torch.tensor(inside)
    return f


def test_border_energy_by_pencil():
    f = framed(2, [[1, -1], [-1, 1]])                        # interior: mean 0, energy 1; border: energy 4
    assert metrics.border_energy(f).tolist() == [2.0]        # log2 of 4
    assert metrics.border_energy(3 * f - 7).tolist() == [2.0]   # whatever the scale and the offset
    two = torch.cat([f, framed(0, [[1, -1], [-1, 1]])], 1)   # a second channel with a silent border: 4 -> 2
    assert metrics.border_energy(two).tolist() == [1.0]
    assert metrics.border_energy(torch.cat([f, f / 2 + 1])).tolist() == [2.0, 2.0]


def test_border_energy_of_constant_maps():
    ones = [[1.0, 1], [1, 1]]
    assert metrics.border_energy(framed(2, ones)).item() == INF
    assert np.isnan(metrics.border_energy(framed(1, ones)).item())


def test_a_wider_ring_and_one_that_leaves_no_interior():
    f = torch.nn.functional.pad(framed(2, [[1, -1], [-1, 1]])[..., 1:-1, 1:-1], (2, 2, 2, 2), value=2.0)
    assert metrics.border_energy(f, ring=2).tolist() == [2.0]
    for ring in (0, 3):
        with pytest.raises(ValueError, match=f"border_energy: a ring of {ring} leaves no interior in a 6x6 map"):
            metrics.border_energy(f, ring=ring)


def test_padding_error_by_pencil():
    truth = framed(1, [[-1, -1], [-1, -1]])                  # 12 ones and 4 minus ones: mean 1/2, variance 3/4
    f = truth.clone()
    f[0, 0, 0, 0] += 3                                       # ring 0 has 12 pixels: mean square 9 / 12
    assert metrics.padding_error(f, truth).tolist() == pytest.approx([1.0, 0.0])
    assert metrics.padding_error(2 * f + 5, 2 * truth + 5).tolist() == pytest.approx([1.0, 0.0])
    error = metrics.padding_error(torch.full_like(truth, 0.5), truth)
    assert (12 * error[0] + 4 * error[1]) / 16 == 1          # knowing the mean only
    flat = torch.ones_like(f)
    assert metrics.padding_error(flat, flat).isnan().all() and not metrics.padding_error(f, flat).isfinite().any()
    with pytest.raises(ValueError, match=r"padding_error: the maps are \(1, 1, 4, 4\) and \(1, 1, 3, 4\); cut out"):
        unwrap(metrics.padding_error)(f, truth[:, :, 1:])   # without the tests' own shape check


def test_padding_error_of_a_batch_weighs_errors_by_one_variance():
    truth = framed(1, [[-1, -1], [-1, -1]])
    f, silent = truth.clone(), torch.ones_like(truth)        # the silent map has no variance of its own
    f[0, 0, 0, 0] += 3
    both = metrics.padding_error(torch.cat([f, silent]), torch.cat([truth, silent]))
    assert both.tolist() == pytest.approx([1.0, 0.0])        # error and variance are both halved


def test_padding_error_rings_count_from_the_border():
    truth = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    for distance in range(3):
        f = truth.clone()
        f[..., distance, distance] += 1
        assert (metrics.padding_error(f, truth) > 0).tolist() == [d == distance for d in range(3)]


def test_place_fields_against_plain_loops_and_sklearns_f_test():
    draw = torch.Generator().manual_seed(0)
    location = torch.cat([torch.arange(9), torch.randint(9, (31,), generator=draw)])   # unequal counts
    z = torch.randn(40, 4, generator=draw) + location[:, None] * torch.tensor([0.0, 0.1, 1.0, 0.0])
    z[:, 3] = location.float() ** 2                                                     # the cell explains all of it
    means, eta2 = metrics.place_fields(z, location, 3)
    for cell in range(9):
        assert torch.allclose(means[:, cell // 3, cell % 3], z[location == cell].double().mean(0))
    f_value = f_classif(z[:, :3].double().numpy(), location.numpy())[0]
    between = eta2[:3].numpy()
    assert between / 8 / ((1 - between) / 31) == pytest.approx(f_value)
    assert eta2[3] == pytest.approx(1) and between[2] > between[0]


def test_place_fields_of_a_constant_channel_and_of_an_empty_cell():
    z = torch.ones(9, 1)
    assert metrics.place_fields(z, torch.arange(9), 3)[1].isnan().all()
    with pytest.raises(ValueError, match="place_fields: 2 of the 9 cells have no image; give more images"):
        metrics.place_fields(z[:7], torch.arange(7), 3)


@st.composite
def tied_maps(draw):
    """Maps of a few whole numbers, full of ties, and a target that is not constant."""
    batch, row, col = (draw(st.integers(low, 4)) for low in (1, 1, 2))
    numbers = st.lists(st.integers(0, 3), min_size=row * col, max_size=row * col)
    target = draw(numbers.filter(lambda values: len(set(values)) > 1))
    maps = [draw(numbers) for _ in range(batch)]
    return torch.tensor(maps).float().reshape(batch, row, col), torch.tensor(target).float().reshape(row, col)


@given(tied_maps())
@settings(max_examples=80, deadline=None)
def test_spearman_is_scipys_with_ties_and_sees_only_the_order(case):
    maps, target = case
    theirs = [stats.spearmanr(m.flatten(), target.flatten()).statistic if m.unique().numel() > 1 else None
              for m in maps]
    ours = metrics.spearman(maps, target)
    assert [value is None for value in ours] == [value is None for value in theirs]
    assert [v for v in ours if v is not None] == pytest.approx([v for v in theirs if v is not None])
    assert metrics.spearman(maps ** 3 + 5, target) == pytest.approx(ours)
    assert metrics.spearman(maps[:1], target) == ours[:1]


def test_spearman_of_a_map_with_itself_and_with_its_mirror_image():
    target = torch.arange(12.0).reshape(3, 4) / 11
    maps = torch.stack([target ** 2, 1 - target])
    assert metrics.spearman(maps, target) == pytest.approx([1, -1])


def test_a_constant_map_has_no_rank_correlation_not_even_by_rounding():
    target = torch.arange(16.0, dtype=torch.float64).reshape(4, 4)
    maps = torch.stack([0 * target + 0.5, 0.5 + 1e-8 * target / 15, 0.5 + 1e-4 * target / 15])
    assert metrics.spearman(maps, target) == [None, None, pytest.approx(1)]


def test_a_constant_target_has_no_correlation():
    with pytest.raises(ValueError, match="spearman: the target is constant"):
        metrics.spearman(torch.rand(2, 3, 3), torch.ones(3, 3))


def test_agreement_by_pencil():
    first, second = torch.tensor([3, 1, 4, 1, 5]), torch.tensor([3, 1, 4, 2, 6])
    assert metrics.agreement(first, second) == metrics.agreement(second, first) == 0.6
    assert metrics.agreement(first, first) == 1 and metrics.agreement(first, first + 1) == 0
    assert type(metrics.agreement(first, second)) is float   # a record is written as JSON


@pytest.mark.parametrize("n", [1, 2, 5])
def test_effective_rank_is_the_number_of_equal_directions(n):
    z = torch.cat([torch.eye(n), -torch.eye(n)])
    assert metrics.effective_rank(z) == pytest.approx(n, abs=1e-9)
    turned = torch.linalg.qr(torch.randn(9, n, dtype=torch.double, generator=torch.Generator().manual_seed(0)))[0]
    assert metrics.effective_rank(z.double() @ turned.T) == pytest.approx(n, abs=1e-9)   # in 9 channels


def test_effective_rank_by_pencil():
    axes = torch.diag(torch.tensor([2.0, 1.0, 1.0]))                     # deviations 2:1:1, entropy 3/2 ln 2
    z = torch.cat([axes, -axes])
    for scale, offset in ((1.0, 0.0), (1024.0, 0.0), (2.0 ** -40, 0.0), (-4.0, 8.0)):
        assert metrics.effective_rank(scale * z + offset) == pytest.approx(2 ** 1.5, abs=1e-9)


def test_effective_rank_of_a_line_and_of_a_point():
    line = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0, -3.0]) + 7
    assert metrics.effective_rank(line) == pytest.approx(1, abs=1e-9)
    for value in (0.0, 0.1, -1e4):
        assert metrics.effective_rank(torch.full((7, 3), value)) == 0
    noise = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))
    assert metrics.effective_rank(1e4 + 0.002 * noise) == 0   # not even by rounding: float32 has steps of 0.001 there


def noisy(n: int = 3, rows: int = 9, cols: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    """(predictions, labels) of 5 classes, two thirds correct; class 3 is never labelled, class 4 in neither."""
    seed = torch.Generator().manual_seed(0)
    labels, guess = (torch.randint(high, (n, rows, cols), generator=seed) for high in (3, 4))
    predicted = torch.where(torch.rand(n, rows, cols, generator=seed) < 0.6, labels, guess)
    return predicted, torch.where(torch.rand(n, rows, cols, generator=seed) < 0.1, 255, labels)


def test_segmentation_scores_equal_the_peers(data_root):
    file = data_root.parent / "peers" / "segmentation_scores.npz"
    if not file.is_file():
        pytest.skip("peers' outputs: segmentation_scores.npz is not beside the data root")
    peers = np.load(file)
    predicted, labels = (torch.from_numpy(peers[name]).long() for name in ("predictions", "labels"))
    counts = metrics.class_counts(metrics.confusion(predicted, labels, 19)).sum((0, 1))
    both, labelled, _ = counts.double()
    assert metrics.class_iou(counts).tolist() == pytest.approx(peers["class_iou"].tolist(), abs=1e-12)
    assert float(metrics.mean_iou(counts)) == pytest.approx(float(peers["mean_iou"]), abs=1e-12)
    assert float(both.sum() / labelled.sum()) == pytest.approx(float(peers["overall_accuracy"]), abs=1e-12)
    assert float((both / labelled).nanmean()) == pytest.approx(float(peers["mean_accuracy"]), abs=1e-12)


def test_confusion_and_iou_equal_torchmetrics_and_scikit_learn():
    predicted, labels = noisy()
    confusion = metrics.confusion(predicted, labels, 5)
    assert confusion.shape == (3, 1, 5, 5)
    for n in range(3):
        theirs = multiclass_confusion_matrix(predicted[n], labels[n], 5, ignore_index=255)
        assert torch.equal(confusion[n, 0], theirs)
    counts, scored = metrics.class_counts(confusion.sum((0, 1))), labels != 255
    theirs = jaccard_score(labels[scored], predicted[scored], labels=[0, 1, 2, 3], average=None)
    iou = metrics.class_iou(counts)
    assert iou[:4].tolist() == pytest.approx(theirs.tolist(), abs=1e-12) and iou[4].isnan()
    assert float(metrics.mean_iou(counts)) == pytest.approx(theirs.mean(), abs=1e-12)
    labelled = torch.tensor([True, True, True, False, False])
    assert float(metrics.mean_iou(counts, labelled)) == pytest.approx(theirs[:3].mean(), abs=1e-12)
    assert metrics.mean_iou(counts, ~labelled) == 0   # class 3 is predicted and never right, class 4 does not occur


def test_counts_by_pencil():
    labels, predicted = torch.tensor([[[0, 0, 1, 255]]]), torch.tensor([[[0, 1, 1, 0]]])
    counts = metrics.class_counts(metrics.confusion(predicted, labels, 2))
    assert counts.tolist() == [[[[1, 1], [2, 1], [1, 2]]]]
    assert metrics.class_iou(counts).tolist() == [[[0.5, 0.5]]]


@pytest.mark.parametrize("void", [255, 5, -1])
def test_void_pixels_count_neither_as_label_nor_as_prediction(void):
    predicted, labels = noisy()
    unscored = labels == 255
    labels = torch.where(unscored, void, labels)
    confusion = metrics.confusion(predicted, labels, 5)
    assert confusion.sum() == (~unscored).sum()
    for guess in (0, 4):
        assert torch.equal(metrics.confusion(torch.where(unscored, guess, predicted), labels, 5), confusion)


def test_the_zones_of_a_confusion_matrix_add_up():
    predicted, labels = noisy()
    zones = canvas.zones(9, 14)
    whole, parts = (metrics.confusion(predicted, labels, 5, z) for z in (None, zones))
    assert whole.shape == (3, 1, 5, 5) and parts.shape == (3, 8, 5, 5)
    assert torch.equal(parts.sum(1), whole[:, 0])
    assert torch.equal(metrics.class_counts(parts).sum(1), metrics.class_counts(whole)[:, 0])
    for one, other in (("left", "right"), ("top", "bottom"), ("centre", "periphery")):
        both = [parts[:, list(canvas.REGIONS[region])].sum(1) for region in (one, other)]
        assert torch.equal(both[0] + both[1], whole[:, 0]) and min(part.sum() for part in both) > 0
    alone = metrics.confusion(predicted[..., :7], labels[..., :7], 5)       # the left half, cut out
    assert torch.equal(parts[:, list(canvas.REGIONS["left"])].sum(1), alone[:, 0])
    assert torch.equal(parts[1:2], metrics.confusion(predicted[1:2], labels[1:2], 5, zones))   # images keep apart


def test_maps_of_different_sizes_are_refused():
    one, other, zones = torch.zeros(2, 4, 4).long(), torch.zeros(2, 4, 5).long(), torch.zeros(4, 5).long()
    sentence = "confusion: predictions are (2, 4, 4), labels {} and zones {}; give maps of one size"
    for labels, z in ((other, None), (one, zones), (other, zones)):
        with pytest.raises(ValueError) as error:
            unwrap(metrics.confusion)(one, labels, 3, z)   # without the tests' own shape check
        assert str(error.value) == sentence.format(tuple(labels.shape), tuple((labels[0] if z is None else z).shape))


def test_bootstrap_draws_n_of_n_with_replacement():
    weights = metrics.bootstrap(20, 500, seed=1)
    assert weights.shape == (500, 20) and (weights.sum(1) == 20).all()
    assert (weights == weights.round()).all() and (weights >= 0).all()
    assert torch.allclose(weights.mean(0), torch.ones(20), atol=0.2)                 # deviation 0.044
    assert weights.var() == pytest.approx(0.95, abs=0.05)                            # binomial: 1 - 1/n
    assert torch.equal(metrics.bootstrap(20, 500, seed=1), weights)
    assert not torch.equal(metrics.bootstrap(20, 500, seed=2), weights)
    assert metrics.bootstrap(3).shape == (1000, 3)
