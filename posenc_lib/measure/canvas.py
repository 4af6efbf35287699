"""Placing an image in one cell of a canvas (page 03), target maps (page 02), shifts by a few pixels (page 05), regions
(page 06).

Sources: Islam et al., ICCV 2021, Sec. 3 and Fig. 1, for the k x k canvas, whose cells are as large as the image;
Islam et al., ICLR 2020, Sec. 3.2, for the target maps.
"""
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from posenc_lib.base.checks import check_choice
from posenc_lib.base.shapes import Labels

POSITION_MAPS = ("H", "V", "G", "HS", "VS")
# The zones (see `zones`) of each region.  Left and right, top and bottom, centre and periphery each split the image.
REGIONS = {"left": (0, 1, 4, 5), "right": (2, 3, 6, 7), "top": (0, 1, 2, 3), "bottom": (4, 5, 6, 7),
           "centre": (1, 2, 5, 6), "periphery": (0, 3, 4, 7)}
FILLS = ("constant", "reflect", "circular", "true")


def place(images: Num[Tensor, "batch rgb row col"], location: Labels, k: int,
          fill: float | Tensor = 0.0) -> Num[Tensor, "batch rgb {k}*row {k}*col"]:
    """Put image n in cell `location[n]` of an otherwise empty k x k canvas.

        place(x, 5, 3):    . . .
                           . . x      location = cell_row * k + cell_col, counted from 0
                           . . .

    images    (batch, rgb, row, col)
    location  (batch,) integers in 0 .. k*k-1
    fill      value of the empty cells: a number, or one value per colour, shape (rgb,).  The default, 0, is black
              before normalisation; after normalisation it is the data set's mean colour, as in the authors' code.
    A single indexed assignment on the images' device.  ValueError for a location outside the grid; on a GPU the error
    is the device's own, because checking would force a synchronisation.
    """
    batch, rgb, row, col = images.shape
    if len(location) != batch:
        raise ValueError(f"place: {batch} images, but {len(location)} locations; give one location per image")
    if location.device.type == "cpu" and batch:
        low, high = int(location.min()), int(location.max())
        if low < 0 or high >= k * k:
            raise ValueError(f"place: locations span {low}..{high}, but a {k}x{k} grid has 0..{k * k - 1}")
    canvas = images.new_empty(batch, rgb, k, row, k, col)
    canvas[:] = fill.to(images).reshape(-1, 1, 1, 1, 1) if isinstance(fill, Tensor) else fill
    canvas[torch.arange(batch, device=images.device), :, location // k, :, location % k] = images
    return canvas.reshape(batch, rgb, k * row, k * col)


def patch(canvas: Num[Tensor, "batch rgb row col"], location: Labels,
          k: int) -> Num[Tensor, "batch rgb row//{k} col//{k}"]:
    """Read back cell `location[n]` of canvas n, the inverse of `place`: (batch, rgb, row / k, col / k)."""
    batch, rgb, row, col = canvas.shape
    cells = canvas.reshape(batch, rgb, k, row // k, k, col // k)
    return cells[torch.arange(batch, device=canvas.device), :, location // k, :, location % k]


def merge(labels: Labels, n: int, classes: int | None) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
    """Merge `n` labels into `classes` groups of neighbouring labels, all of the same size; drop leftover labels.

        n = 10, classes = 3:   0 1 2 -> 0    3 4 5 -> 1    6 7 8 -> 2    9 dropped

    Returns the merged labels and the indices of those kept; classes = None merges nothing.  It gives the location task
    and the image task the same number of classes (page 03's matched control).
    """
    if classes is None:
        return labels, torch.arange(len(labels), device=labels.device)
    if not 2 <= classes <= n:
        raise ValueError(f"merge: {n} labels cannot form {classes} groups; give classes in 2..{n}")
    size = n // classes
    kept = torch.nonzero(labels < classes * size).flatten()
    return labels[kept] // size, kept


def position_map(kind: str, size: int) -> Float[Tensor, "{size} {size}"]:
    """Return one of the five maps, from 0 to 1, that a readout is trained to predict regardless of the image.

        H   u               left to right               u, v = 0 .. 1, rightwards and downwards, at pixel centres
        V   v               top to bottom
        G   exp(-((2u - 1)^2 + (2v - 1)^2) / 2)         Gaussian, sigma is half the image
        HS  cos(5 pi v)     horizontal stripes, two and a half periods
        VS  cos(5 pi u)     vertical stripes

    each rescaled to span 0..1.  The paper gives no formula; these are fitted to the released 256 x 256 pictures and
    agree with them to within 4 of 255 grey levels.
    """
    check_choice("position_map", kind, POSITION_MAPS)
    u = ((torch.arange(size, dtype=torch.float64) + 0.5) / size).expand(size, size)
    v = u.T
    values = {"H": u, "V": v, "G": torch.exp(-((2 * u - 1) ** 2 + (2 * v - 1) ** 2) / 2),
              "HS": torch.cos(5 * torch.pi * v), "VS": torch.cos(5 * torch.pi * u)}[kind]
    return ((values - values.min()) / (values.max() - values.min())).float()


def shuffle_blocks(target: Float[Tensor, "row col"], k: int, seed: int) -> Float[Tensor, "row col"]:
    """Permute the k x k blocks of a map at random, seeded by `seed`: the same values in other places."""
    row, col = target.shape
    if row % k or col % k:
        raise ValueError(f"shuffle_blocks: a {row}x{col} map cannot be cut into {k}x{k} equal blocks")
    blocks = target.reshape(k, row // k, k, col // k).permute(0, 2, 1, 3).reshape(k * k, row // k, col // k)
    blocks = blocks[torch.randperm(k * k, generator=torch.Generator().manual_seed(seed))]
    return blocks.reshape(k, k, row // k, col // k).permute(0, 2, 1, 3).reshape(row, col)


def zones(rows: int, cols: int) -> Int[Tensor, "{rows} {cols}"]:
    """Return the zone of each pixel: one quarter of the columns, in the upper or the lower half of the image.

        0 1 2 3
        4 5 6 7         REGIONS are unions of zones: left is the left half, centre the two middle quarters

    Source: the released ICCV 2021 code, which splits 2048 columns at 512, 1024 and 1536.
    """
    row, col = torch.arange(rows) >= rows // 2, torch.arange(cols)
    quarter = (col[:, None] >= torch.tensor([cols // 4, cols // 2, cols - cols // 4])).sum(1)
    return 4 * row[:, None].long() + quarter


def shift(images: Num[Tensor, "batch rgb row col"], offset: Int[Tensor, "batch 2"], fill: str = "constant", *,
          side: int | None = None, colour: float | Tensor = 0.0) -> Num[Tensor, "batch rgb shown_row shown_col"]:
    """Shift image n by `offset[n]` pixels, down and right; `fill` says what appears at the border.

        1234 one to the right:   constant 0123    reflect 2123    circular 4123    true ?123, the real surroundings

    offset  (batch, 2) integers, rows then columns
    fill    "constant" fills with `colour`, a number or one value per colour (rgb,).  "true" invents nothing: `images`
            are larger, and the result is the `side` x `side` window at their centre, under which they move
    A single indexed read on the images' device.  ValueError for a shift too large for the image: "reflect" allows its
    side minus one pixel, "true" half of what it exceeds `side` by.
    """
    check_choice("fill", fill, FILLS)
    rows, cols = images.shape[-2:]
    if fill == "true":
        if not side:
            raise ValueError("shift: true fill shows a window of a larger image; give its side")
        margin_row, margin_col = (rows - side) // 2, (cols - side) // 2
        _check_reach(images, offset, min(margin_row, margin_col), f"true fill with a window of side {side}")
        row = torch.arange(margin_row, margin_row + side, device=images.device)
        col = torch.arange(margin_col, margin_col + side, device=images.device)
    else:
        row, col = torch.arange(rows, device=images.device), torch.arange(cols, device=images.device)
    down, right = offset.to(images.device).T
    row, col = row - down[:, None], col - right[:, None]   # (batch, shown), where each pixel is read; may lie outside

    if fill == "true":
        return _read(images, row, col)
    if fill == "circular":
        return _read(images, row % rows, col % cols)
    if fill == "reflect":
        _check_reach(images, offset, min(rows, cols) - 1, "reflect fill")
        return _read(images, rows - 1 - (rows - 1 - row.abs()).abs(), cols - 1 - (cols - 1 - col.abs()).abs())
    pixels = _read(images, row.clamp(0, rows - 1), col.clamp(0, cols - 1))
    row_inside, col_inside = (row >= 0) & (row < rows), (col >= 0) & (col < cols)
    inside = row_inside[:, None, :, None] & col_inside[:, None, None, :]
    if isinstance(colour, Tensor):
        return torch.where(inside, pixels, colour.to(images).reshape(-1, 1, 1))
    return pixels.masked_fill(~inside, colour)


def _check_reach(images: Tensor, offset: Tensor, reach: int, fill: str) -> None:
    """Refuse a shift beyond `reach`.  Reading the offsets synchronises a GPU, so other fills skip this."""
    largest = int(offset.abs().max()) if len(offset) else 0
    if largest > reach:
        row, col = images.shape[-2:]
        raise ValueError(f"shift: a shift of {largest} pixels is too large for {fill} on {row}x{col} images, which "
                         f"allows {max(reach, 0)}; shift by less, or give larger images")


def _read(images: Tensor, row: Tensor, col: Tensor) -> Tensor:
    """images[n, :, row[n], col[n]] for every image n: (batch, rgb, shown_row, shown_col)."""
    batch, rgb = (torch.arange(n, device=images.device) for n in images.shape[:2])
    return images[batch[:, None, None, None], rgb[:, None, None], row[:, None, :, None], col[:, None, None]]
