"""Place an image in one cell of a grid, read it back, merge cells (page 03); the five target maps (page 02); move an
image by a few pixels (page 05); part it into regions (page 06).

Source: Islam et al., ICCV 2021, Sec. 3 and Fig. 1: a k x k grid of cells as large as the image; one holds it.
Islam et al., ICLR 2020, Sec. 3.2: the target maps.
"""
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from posenc_lib.base.checks import check_choice
from posenc_lib.base.shapes import Labels

POSITION_MAPS = ("H", "V", "G", "HS", "VS")
# Zones of `zones`, by region.  Left and right, top and bottom, centre and periphery each part the image in two.
REGIONS = {"left": (0, 1, 4, 5), "right": (2, 3, 6, 7), "top": (0, 1, 2, 3), "bottom": (4, 5, 6, 7),
           "centre": (1, 2, 5, 6), "periphery": (0, 3, 4, 7)}
FILLS = ("zeros", "reflect", "circular", "true")


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
    One indexed assignment on the images' device.  ValueError for a location outside the grid; on a GPU it is the
    device's own error, because to look would make the GPU wait.
    """
    batch, rgb, row, col = images.shape
    if len(location) != batch:
        raise ValueError(f"place: {batch} images, but {len(location)} locations; one a image is needed")
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


def position_map(kind: str, size: int) -> Float[Tensor, "{size} {size}"]:
    """One of the five maps that a readout has to draw whatever the image shows, from 0 to 1.

        H   u               left to right               u, v = 0 .. 1 across and down, at the centres of the pixels
        V   v               top to bottom
        G   exp(-((2u - 1)^2 + (2v - 1)^2) / 2)         a Gaussian, half the image is one sigma
        HS  cos(5 pi v)     horizontal stripes, two and a half periods
        VS  cos(5 pi u)     vertical stripes

    each then moved and scaled so that it spans 0..1.  The text gives no formula; these are fitted to the authors'
    released 256 x 256 pictures, with which they agree to 4 of 255 grey levels.
    """
    check_choice("position_map", kind, POSITION_MAPS)
    u = ((torch.arange(size, dtype=torch.float64) + 0.5) / size).expand(size, size)
    v = u.T
    values = {"H": u, "V": v, "G": torch.exp(-((2 * u - 1) ** 2 + (2 * v - 1) ** 2) / 2),
              "HS": torch.cos(5 * torch.pi * v), "VS": torch.cos(5 * torch.pi * u)}[kind]
    return ((values - values.min()) / (values.max() - values.min())).float()


def shuffle_blocks(target: Float[Tensor, "row col"], k: int, seed: int) -> Float[Tensor, "row col"]:
    """Cut a map into k x k blocks and lay them out anew, in an order drawn from `seed`: the same values elsewhere."""
    row, col = target.shape
    if row % k or col % k:
        raise ValueError(f"shuffle_blocks: a {row}x{col} map cannot be cut into {k}x{k} equal blocks")
    blocks = target.reshape(k, row // k, k, col // k).permute(0, 2, 1, 3).reshape(k * k, row // k, col // k)
    blocks = blocks[torch.randperm(k * k, generator=torch.Generator().manual_seed(seed))]
    return blocks.reshape(k, k, row // k, col // k).permute(0, 2, 1, 3).reshape(row, col)


def zones(rows: int, cols: int) -> Int[Tensor, "{rows} {cols}"]:
    """The number of each pixel's zone: a quarter of the columns in the upper or the lower half.

        0 1 2 3
        4 5 6 7         their sums are REGIONS: left is the left half, centre the two quarters in the middle

    Source: the released ICCV 2021 code, which parts 2048 columns at 512, 1024 and 1536.
    """
    row, col = torch.arange(rows) >= rows // 2, torch.arange(cols)
    quarter = (col[:, None] >= torch.tensor([cols // 4, cols // 2, cols - cols // 4])).sum(1)
    return 4 * row[:, None].long() + quarter


def shift(images: Num[Tensor, "batch rgb row col"], offset: Int[Tensor, "batch 2"], fill: str = "zeros", *,
          side: int | None = None, colour: float | Tensor = 0.0) -> Num[Tensor, "batch rgb shown_row shown_col"]:
    """Move image n by `offset[n]` pixels, down and right; `fill` says what comes into view behind it.

        1234 one to the right:   zeros 0123    reflect 2123    circular 4123    true ?123, whatever was there

    offset  (batch, 2) whole numbers, rows then columns
    fill    "zeros" shows `colour`, one number or one a colour (rgb,), as in `place`.  "true" invents nothing: the
            result is the window of `side` x `side` at the centre of a larger image, which moves under it
    One indexed read on the images' device.  ValueError when the image is too small for the way: "reflect" reaches one
    pixel less than its side, "true" half of what it is larger than `side`.
    """
    check_choice("fill", fill, FILLS)
    row, col = images.shape[-2:]
    if fill == "true" and not side:
        raise ValueError("shift: true fill shows a window of a larger image; give its side")
    shown = (side, side) if fill == "true" else (row, col)
    margins = [(n - m) // 2 for n, m in zip((row, col), shown, strict=True)]
    reach = {"reflect": min(row, col) - 1, "true": min(margins)}.get(fill)
    furthest = int(offset.abs().max()) if reach is not None and len(offset) else 0   # asking makes a GPU wait
    if reach is not None and furthest > reach:
        window = f" and a window of side {side}" if fill == "true" else ""
        raise ValueError(f"shift: {furthest} pixels were asked for, but {fill} fill on {row}x{col} images{window} "
                         f"reaches {max(reach, 0)}; shift by less, or give larger images")
    seen, inside = [], []
    for n, m, margin, moved in zip((row, col), shown, margins, offset.to(images.device).T, strict=True):
        at = torch.arange(margin, margin + m, device=images.device) - moved[:, None]   # (batch, shown), may lie outside
        inside.append((at >= 0) & (at < n))
        seen.append({"circular": at % n, "reflect": n - 1 - (n - 1 - at.abs()).abs()}.get(fill, at.clamp(0, n - 1)))
    batch, rgb = (torch.arange(n, device=images.device) for n in images.shape[:2])
    pixels = images[batch[:, None, None, None], rgb[:, None, None], seen[0][:, None, :, None], seen[1][:, None, None]]
    if fill != "zeros":
        return pixels
    there = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    if isinstance(colour, Tensor):
        return torch.where(there, pixels, colour.to(images).reshape(-1, 1, 1))
    return pixels.masked_fill(~there, colour)
