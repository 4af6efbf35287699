"""Place an image in one cell of a grid, read it back, merge cells.  Built up by hand in page 03.

Source: Islam et al., ICCV 2021, Sec. 3 and Fig. 1: a k x k grid of cells as large as the image; one holds it.
"""
import torch
from jaxtyping import Int, Num
from torch import Tensor

from posenc_lib.shapes import Labels


def place(images: Num[Tensor, "batch rgb row col"], location: Labels, k: int,
          fill: float | Tensor = 0.0) -> Num[Tensor, "batch rgb {k}*row {k}*col"]:
    """Put image n in cell `location[n]` of an otherwise empty k x k canvas.

        place(x, 5, 3):    . . .
                           . . x      location = cell_row * k + cell_col, counted from 0
                           . . .

    images    (batch, rgb, row, col)
    location  (batch,) whole numbers in 0 .. k*k-1
    fill      value of the empty cells: one number, or one a colour, shape (rgb,).  The default, 0, is black only
              before normalisation; after it, it is the mean colour of the set (as in the authors' code).
    One indexed assignment on the images' device.  ValueError for a location outside the grid.
    """
    batch, rgb, row, col = images.shape
    if len(location) != batch:
        raise ValueError(f"place: {batch} images, but {len(location)} locations; one a image is needed")
    low, high = (int(location.min()), int(location.max())) if batch else (0, 0)
    if low < 0 or high >= k * k:
        raise ValueError(f"place: locations span {low}..{high}, but a {k}x{k} grid has 0..{k * k - 1}")
    canvas = images.new_empty(batch, rgb, k, row, k, col)
    canvas[:] = torch.as_tensor(fill, dtype=images.dtype, device=images.device).reshape(-1, 1, 1, 1, 1)
    canvas[torch.arange(batch, device=images.device), :, location // k, :, location % k] = images
    return canvas.reshape(batch, rgb, k * row, k * col)


def patch(canvas: Num[Tensor, "batch rgb row col"], location: Labels,
          k: int) -> Num[Tensor, "batch rgb row//{k} col//{k}"]:
    """What stands in cell `location[n]` of canvas n: the inverse of `place`.  (batch, rgb, row / k, col / k)"""
    batch, rgb, row, col = canvas.shape
    cells = canvas.reshape(batch, rgb, k, row // k, k, col // k)
    return cells[torch.arange(batch, device=canvas.device), :, location // k, :, location % k]


def merge(labels: Labels, n: int, classes: int | None) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
    """Merge `n` labels into `classes` groups of equally many neighbours; labels that fill no group are left out.

        n = 10, classes = 3:   0 1 2 -> 0    3 4 5 -> 1    6 7 8 -> 2    9 left out

    Returns the merged labels of what is kept, and its indices.  None merges nothing.  With it location and image
    class are asked with the same number of answers (page 03's matched control).
    """
    if classes is None:
        return labels, torch.arange(len(labels), device=labels.device)
    if not 2 <= classes <= n:
        raise ValueError(f"merge: {classes} groups were asked of {n} labels; ask for 2..{n}")
    size = n // classes
    kept = torch.nonzero(labels < classes * size).flatten()
    return labels[kept] // size, kept
