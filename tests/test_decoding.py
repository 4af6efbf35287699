"""Linear heads on pooled latents: what is in them is decoded, what is not is at chance."""
import pytest
import torch

from posenc_lib.run import decoding
from posenc_lib.run.config import Recipe

RECIPE = Recipe(epochs=1, epoch_steps=120, batch_size=64, learning_rate=3e-2, flip=False)
CELLS = 4


def latents(images: int, seed: int, channels: int = 12):
    """z of two layers, and the cell: the first adds a code of the cell to the image's latent, the second nothing."""
    draw = torch.Generator().manual_seed(seed)
    always = torch.Generator().manual_seed(99)   # the same numbers for every cell, in another order
    code = torch.randn(channels, generator=always)[torch.stack([torch.randperm(channels, generator=always)
                                                                for _ in range(CELLS)])]
    own = torch.randn(images, channels, generator=draw)
    number, location = torch.cartesian_prod(torch.arange(images), torch.arange(CELLS)).T
    return [own[number] + 2 * code[location], own[number]], location


def decoded(**options):
    seen, location = latents(40, 0)
    tested, tested_location = latents(30, 1)
    rows = decoding.decode(seen, location, tested, tested_location, cells=CELLS, recipe=RECIPE, seed=0, **options)
    return {(row["layer"], row["head"]): row for row in rows}


def test_location_is_decoded_in_order_and_lost_by_the_shuffle():
    rows = decoded(few=3)
    assert list(rows) == [(layer, head) for layer in (1, 2) for head in decoding.HEADS]
    assert rows[1, "in_order"]["accuracy"] > 0.9 > 0.6 > rows[1, "shuffled"]["accuracy"]
    assert abs(rows[1, "permuted_labels"]["accuracy"] - 1 / CELLS) < 0.15
    assert [rows[1, head]["channels"] for head in decoding.HEADS] == [12, 12, 3, 12]


def test_where_every_cell_gives_the_same_latent_chance_is_exact():
    rows = decoded()
    assert {rows[2, head]["accuracy"] for head in decoding.HEADS} == {1 / CELLS}


def test_only_the_requested_heads_are_trained():
    rows = decoded(heads={"in_order": decoding.HEADS["in_order"]})
    assert list(rows) == [(1, "in_order"), (2, "in_order")]


def test_the_same_seed_gives_the_same_and_the_callers_random_state_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = decoded()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert decoded() == first


def test_channels_are_standardised_by_the_training_canvases_and_silent_ones_stay_silent():
    z = torch.tensor([[0.0, 5.0, 1.0], [2.0, 5.0, 1.0 + 1e-9], [4.0, 5.0, 1.0]])
    other = torch.tensor([[4.0, 5.0, 1.5]])
    torch.testing.assert_close(decoding.standardize([z[:, :1], z[:, 1:]], [z[:, :1], z[:, 1:]])[:, 0],
                               torch.tensor([-1.0, 0.0, 1.0]))
    out = decoding.standardize([other], [z])
    torch.testing.assert_close(out, torch.tensor([[1.0, 0.0, 0.5 / 2e-3]]))   # a thousandth of the spread of 2


@pytest.mark.parametrize("z, cells", [
    (torch.eye(4), 4), (torch.ones(4, 3), 1), (torch.tensor([[1.0, 0], [1, 0], [0, 1], [1, 1e-7]]), 2),
    (torch.tensor([[1.0, 0], [1, 1e-3], [0, 1], [1, 0]]), 3)])
def test_cells_are_distinguishable_by_their_latents_but_for_rounding(z, cells):
    assert decoding.n_distinguishable_cells(z) == cells
