"""Placing and shifting equal plain loops, reading back undoes placing, merging keeps groups of equal size; the target
maps; regions part an image in two.
"""
from inspect import unwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from posenc_lib.measure.canvas import (
    FILLS,
    POSITION_MAPS,
    REGIONS,
    merge,
    patch,
    place,
    position_map,
    shift,
    shuffle_blocks,
    zones,
)


@st.composite
def placements(draw):
    """(images, location, k): any number of images, any side, any kind of number."""
    batch, rgb, row, col, k = (draw(st.integers(low, high)) for low, high in ((0, 4), (1, 3), (1, 5), (1, 5), (1, 4)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.uint8]))
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    images = torch.randint(0, 256, (batch, rgb, row, col), generator=seed)
    location = draw(st.lists(st.integers(0, k * k - 1), min_size=batch, max_size=batch))
    return images.to(dtype), torch.tensor(location, dtype=torch.long), k


def placed_by_a_loop(images, location, k, fill):
    batch, rgb, row, col = images.shape
    canvas = torch.zeros(batch, rgb, k * row, k * col, dtype=images.dtype)
    for n in range(batch):
        for colour in range(rgb):
            canvas[n, colour] = fill[colour]
        top, left = int(location[n]) // k * row, int(location[n]) % k * col
        canvas[n, :, top:top + row, left:left + col] = images[n]
    return canvas


@given(placements(), st.lists(st.integers(0, 255), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_place_equals_a_plain_loop_and_the_cell_reads_back(placement, colours):
    images, location, k = placement
    fill = torch.tensor(colours[:images.shape[1]], dtype=images.dtype)
    canvas = place(images, location, k, fill)
    assert canvas.dtype == images.dtype and torch.equal(canvas, placed_by_a_loop(images, location, k, fill))
    assert torch.equal(patch(canvas, location, k), images)


def test_the_default_canvas_is_zero():
    images = torch.ones(1, 3, 2, 2)
    assert place(images, torch.tensor([5]), 3).sum() == images.sum()


def test_location_counts_along_rows():
    canvas = place(torch.ones(1, 1, 1, 1), torch.tensor([5]), 3)
    assert canvas[0, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_callers_images_are_untouched():
    images = torch.ones(2, 3, 4, 4)
    place(images, torch.tensor([0, 1]), 2, fill=7.0).zero_()
    assert (images == 1).all()


@pytest.mark.parametrize("location, sentence", [
    ([1, 9], "place: locations span 1..9, but a 3x3 grid has 0..8"),
    ([-1, 2], "place: locations span -1..2, but a 3x3 grid has 0..8"),
    ([1], "place: 2 images, but 1 locations; give one location per image"),
])
def test_a_location_that_does_not_fit_is_refused(location, sentence):
    with pytest.raises(ValueError) as error:
        unwrap(place)(torch.ones(2, 3, 4, 4), torch.tensor(location), 3)   # without the tests' own shape check
    assert str(error.value) == sentence


@given(st.integers(2, 49).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))),
       st.lists(st.integers(0, 1000), max_size=60))
@settings(deadline=None)
def test_merged_labels_are_groups_of_neighbours_of_equal_size(sizes, numbers):
    n, classes = sizes
    labels = torch.tensor(numbers, dtype=torch.long) % n
    merged, kept = merge(labels, n, classes)
    assert ((merged >= 0) & (merged < classes)).all()
    assert torch.equal(merged, labels[kept] // (n // classes))          # neighbours share a group
    assert (labels < classes * (n // classes)).nonzero().flatten().tolist() == kept.tolist()   # the rest fills no group
    every, _ = merge(torch.arange(n), n, classes)
    assert every.bincount().tolist() == [n // classes] * classes         # all groups equally likely


def test_merging_nothing():
    labels = torch.tensor([4, 0, 2])
    merged, kept = merge(labels, 5, None)
    assert torch.equal(merged, labels) and kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes", [1, 11])
def test_merging_into_more_labels_than_there_are_is_refused(classes):
    with pytest.raises(ValueError, match=rf"merge: 10 labels cannot form {classes} groups; give classes in 2..10"):
        merge(torch.arange(10), 10, classes)


@pytest.mark.parametrize("kind", POSITION_MAPS)
@pytest.mark.parametrize("size", [7, 28, 256])
def test_a_target_map_spans_0_to_1(kind, size):
    target = position_map(kind, size)
    assert target.shape == (size, size) and target.dtype == torch.float32
    assert (target.min(), target.max()) == (0, 1)


@pytest.mark.parametrize("kind, low, high", [("H", 0.2505, 0.2515), ("V", 0.2505, 0.2515), ("G", 0.197, 0.198),
                                             ("HS", 0.3175, 0.3185), ("VS", 0.3175, 0.3185)])
def test_the_error_of_a_constant_is_that_of_the_released_maps(kind, low, high):
    """The paper prints .251 for H; its .628 for the stripes is on a scale twice as long."""
    target = position_map(kind, 256).double()
    assert low < (target - target.mean()).abs().mean() < high


def test_directions_and_symmetries_of_the_target_maps():
    h, v, g, hs, vs = (position_map(kind, 32) for kind in POSITION_MAPS)
    assert (h[:, 1:] > h[:, :-1]).all() and (h == h[0]).all()        # brighter to the right, alike in every row
    assert torch.equal(v, h.T)
    assert torch.equal(g, g.flip(0)) and torch.equal(g, g.flip(1)) and torch.equal(g, g.T)
    assert g[0, 0] == 0 and g[15, 15] == 1
    assert torch.equal(hs, vs.T) and (hs == hs[:, :1]).all()
    assert ((vs[0] - 0.5).sign().diff() != 0).sum() == 5             # two and a half periods


def test_an_unknown_target_map_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="position_map: 'D' is not supported; choose from 'H', 'V', 'G', 'HS', 'V"):
        position_map("D", 8)


def blocks(target: torch.Tensor, k: int) -> list[bytes]:
    return [block.contiguous().numpy().tobytes() for row in target.chunk(k) for block in row.chunk(k, 1)]


@pytest.mark.parametrize("row, col, k", [(8, 8, 4), (6, 12, 3)])
def test_shuffled_blocks_are_the_same_blocks_elsewhere(row, col, k):
    target = torch.arange(float(row * col)).reshape(row, col)
    shuffled = shuffle_blocks(target, k, 0)
    assert blocks(shuffled, k) != blocks(target, k)
    assert sorted(blocks(shuffled, k)) == sorted(blocks(target, k))
    assert torch.equal(shuffle_blocks(target, k, 0), shuffled)
    assert not torch.equal(shuffle_blocks(target, k, 1), shuffled)
    assert torch.equal(shuffle_blocks(target, 1, 0), target)


def test_a_map_that_cannot_be_cut_into_blocks_is_refused():
    with pytest.raises(ValueError, match="shuffle_blocks: a 8x6 map cannot be cut into 4x4 equal blocks"):
        shuffle_blocks(torch.zeros(8, 6), 4, 0)


@st.composite
def shifts(draw):
    """(images, offset, fill, side): any sides, odd and even, and any way that the fill reaches, there and back."""
    fill, batch, rgb = draw(st.sampled_from(FILLS)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    row, col = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    reach, side = {"constant": 7, "circular": 7, "reflect": min(row, col) - 1, "true": 0}[fill], None
    if fill == "true":
        side, reach = draw(st.integers(1, 4)), draw(st.integers(0, 3))
        row, col = (side + 2 * reach + draw(st.integers(0, 2)) for _ in range(2))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.uint8]))
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    images = torch.randint(0, 256, (batch, rgb, row, col), generator=seed)
    ways = draw(st.lists(st.integers(-reach, reach), min_size=2 * batch, max_size=2 * batch))
    return images.to(dtype), torch.tensor(ways, dtype=torch.long).reshape(batch, 2), fill, side


def mirrored(at, n):
    return -at if at < 0 else 2 * (n - 1) - at if at >= n else at


def shifted_by_a_loop(images, offset, fill, side, colours):
    batch, rgb, row, col = images.shape
    shown = (side, side) if fill == "true" else (row, col)
    moved = torch.empty(batch, rgb, *shown, dtype=images.dtype)
    for n in range(batch):
        for r in range(shown[0]):
            for c in range(shown[1]):
                y, x = r - int(offset[n, 0]), c - int(offset[n, 1])
                if fill == "true":
                    y, x = y + (row - side) // 2, x + (col - side) // 2
                elif fill == "circular":
                    y, x = y % row, x % col
                elif fill == "reflect":
                    y, x = mirrored(y, row), mirrored(x, col)
                moved[n, :, r, c] = images[n, :, y, x] if 0 <= y < row and 0 <= x < col else colours
    return moved


@given(shifts(), st.lists(st.integers(0, 255), min_size=3, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_shift_equals_a_double_loop(case, colours, one):
    images, offset, fill, side = case
    colours = torch.tensor(colours[:1] * 3 if one else colours)[:images.shape[1]]
    moved = shift(images, offset, fill, side=side, colour=float(colours[0]) if one else colours)
    assert moved.dtype == images.dtype
    assert torch.equal(moved, shifted_by_a_loop(images, offset, fill, side, colours.to(images.dtype)))


@pytest.mark.parametrize("fill, row", [("constant", [0, 1, 2, 3]), ("reflect", [2, 1, 2, 3]),
                                       ("circular", [4, 1, 2, 3])])
def test_a_row_moved_by_one(fill, row):
    images = torch.tensor([1, 2, 3, 4]).reshape(1, 1, 1, 4).repeat(1, 1, 4, 1)
    assert (shift(images, torch.tensor([[0, 1]]), fill) == torch.tensor(row)).all()
    down = shift(images.mT, torch.tensor([[1, 0]]), fill)
    assert (down.mT == torch.tensor(row)).all()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("row, col", [(4, 4), (5, 5), (4, 7)])
def test_a_shift_by_nothing_is_the_image_and_leaves_the_callers_alone(fill, row, col):
    images = torch.arange(2 * 3 * row * col).reshape(2, 3, row, col)
    still = shift(images, torch.zeros(2, 2, dtype=torch.long), fill, side=3, colour=9.0)
    window = images[..., (row - 3) // 2:(row - 3) // 2 + 3, (col - 3) // 2:(col - 3) // 2 + 3]
    assert torch.equal(still, window if fill == "true" else images)
    still.zero_()
    assert images[0, 0, 0, 1] == 1 and images.sum() > 0


@pytest.mark.parametrize("down, right", [(2, -1), (-2, 2), (0, 1)])
def test_a_shift_equals_torchs_own_roll_padding_and_slice(down, right):
    images = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    way = torch.tensor([[down, right]] * 2)
    assert torch.equal(shift(images, way, "circular"), images.roll((down, right), (2, 3)))
    for fill, around in (("reflect", pad(images, (2,) * 4, mode="reflect")), ("constant", pad(images, (2,) * 4))):
        assert torch.equal(shift(images, way, fill), around[..., 2 - down:9 - down, 2 - right:11 - right])
    assert torch.equal(shift(images, way, "true", side=3), images[..., 2 - down:5 - down, 3 - right:6 - right])


@pytest.mark.parametrize("options, way, sentence", [
    ({"fill": "reflect"}, [-6, 0], "shift: a shift of 6 pixels is too large for reflect fill on 9x6 images, which "
                                   "allows 5; shift by less, or give larger images"),
    ({"fill": "true", "side": 4}, [2, 0], "shift: a shift of 2 pixels is too large for true fill with a window of "
                                          "side 4 on 9x6 images, which allows 1; shift by less, or give larger images"),
    ({"fill": "true", "side": 10}, [0, 0], "shift: a shift of 0 pixels is too large for true fill with a window of "
                                           "side 10 on 9x6 images, which allows 0; shift by less, or give larger "
                                           "images"),
    ({"fill": "black"}, [0, 0], "fill: 'black' is not supported; choose from 'constant', 'reflect', 'circular', "
                                "'true'"),
])
def test_a_way_that_a_fill_does_not_reach_is_refused(options, way, sentence):
    with pytest.raises(ValueError) as error:
        shift(torch.ones(2, 3, 9, 6), torch.tensor([[0, 0], way]), **options)
    assert str(error.value) == sentence


def test_true_fill_without_a_window_is_refused():
    with pytest.raises(ValueError, match="shift: true fill shows a window of a larger image; give its side"):
        shift(torch.ones(1, 3, 8, 8), torch.zeros(1, 2, dtype=torch.long), "true")


def region(name: str, rows: int, cols: int) -> torch.Tensor:
    return torch.isin(zones(rows, cols), torch.tensor(REGIONS[name]))


def test_zones_split_the_papers_columns_where_the_paper_does():
    number = zones(1024, 2048)
    assert (number[0].diff().nonzero().flatten() + 1).tolist() == [512, 1024, 1536]
    assert number[0, ::512].tolist() == [0, 1, 2, 3] and number[-1, ::512].tolist() == [4, 5, 6, 7]
    assert (number[:512] == number[0]).all() and (number[512:] == number[0] + 4).all()
    for name, columns in (("left", slice(0, 1024)), ("right", slice(1024, 2048)), ("centre", slice(512, 1536))):
        alone = torch.zeros(1024, 2048, dtype=torch.bool)
        alone[:, columns] = True
        assert torch.equal(region(name, 1024, 2048), alone)
    assert region("top", 1024, 2048)[:512].all() and not region("top", 1024, 2048)[512:].any()


@pytest.mark.parametrize("one, other", [("left", "right"), ("top", "bottom"), ("centre", "periphery")])
@pytest.mark.parametrize("rows, cols", [(8, 8), (5, 7), (2, 4), (9, 6), (33, 65)])
def test_pairs_of_regions_are_disjoint_and_cover_everything(one, other, rows, cols):
    first, second = region(one, rows, cols), region(other, rows, cols)
    assert (first ^ second).all() and first.any() and second.any()


@pytest.mark.parametrize("rows, cols", [(5, 7), (7, 9), (9, 11), (33, 65)])
def test_zones_of_odd_sizes(rows, cols):
    number = zones(rows, cols)
    assert number.shape == (rows, cols) and sorted(number.unique().tolist()) == list(range(8))
    assert region("top", rows, cols).sum() == rows // 2 * cols                    # the middle row is at the bottom
    assert region("left", rows, cols).sum() == rows * (cols // 2)                 # the middle column is on the right
    for name in ("centre", "periphery"):
        assert torch.equal(region(name, rows, cols), region(name, rows, cols).flip(1))   # alike from both sides
