"""Random numbers that belong to one run, so that several runs can train side by side and a step can be captured.

A CUDA graph replays exactly what it captured, so nothing can be drawn inside it.  `Draws` therefore watches one step,
makes the draws of the next steps ahead of them into tables on the device, and lets the captured step read its row.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Draws:
    """Random numbers from a generator of their own, on `device`.

        draws(torch.randint, 9, (48,))      draws(torch.rand, (48, 1))      draws(torch.randperm, 512)

    Any function that takes `generator` and `device` will do.
    """
    def __init__(self, device: torch.device | str = "cpu", seed: int = 0):
        self.generator = torch.Generator(device)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Draw from `seed` on; a new step begins."""
        self.generator.manual_seed(seed)
        self._calls: list[tuple[Callable, tuple, Tensor]] = []   # what the current step has drawn so far
        self._rows: Iterator[Tensor] | None = None               # a table's row, where a step reads its draws from one

    def __call__(self, function: Callable[..., Tensor], *args) -> Tensor:
        if self._rows is not None:
            return next(self._rows)
        drawn = self.new(function, *args)
        self._calls.append((function, args, drawn))
        return drawn

    def new(self, function: Callable[..., Tensor], *args) -> Tensor:
        """Drawn from the generator now, whatever the step."""
        return function(*args, generator=self.generator, device=self.generator.device)

    def watch(self) -> None:
        """Begin a step whose draws later ones will repeat."""
        self._calls.clear()

    def table(self, steps: int) -> "Table":
        """Room for the draws of up to `steps` steps like the one just watched."""
        return Table(self, list(self._calls), steps)


class Table:
    """The draws of coming steps, a row a step, in the order in which the steps would make them."""
    def __init__(self, draws: Draws, calls: list[tuple[Callable, tuple, Tensor]], steps: int):
        self.draws, self.calls = draws, calls
        self.columns = [drawn.new_empty(steps, *drawn.shape) for _, _, drawn in calls]

    def fill(self, steps: int) -> None:
        for row in range(steps):
            for column, (function, args, _) in zip(self.columns, self.calls, strict=True):
                column[row] = self.draws.new(function, *args)

    @contextmanager
    def read(self, row: Tensor) -> Iterator[None]:
        """Inside the block the draws are those of `row`, a whole number (1,) on the device."""
        self.draws._rows = (column.index_select(0, row)[0] for column in self.columns)
        try:
            yield
        finally:
            self.draws._rows = None


class Drawing(nn.Module):
    """A layer that draws: from a run's `Draws` inside `drawing`, else from torch's global generator."""
    draws: Draws | None = None

    def draw(self, function: Callable[..., Tensor], *args, device: torch.device) -> Tensor:
        return function(*args, device=device) if self.draws is None else self.draws(function, *args)


@contextmanager
def drawing(model: nn.Module, draws: Draws) -> Iterator[nn.Module]:
    """Let every `Drawing` layer of `model` draw from `draws` inside the block."""
    layers = [(m, m.draws) for m in model.modules() if isinstance(m, Drawing)]
    try:
        for layer, _ in layers:
            layer.draws = draws
        yield model
    finally:
        for layer, before in layers:
            layer.draws = before


def keep(like: Tensor, p: float, *, generator: torch.Generator | None = None, device=None) -> Tensor:
    """1 with probability `p`, else 0, of the shape and memory format of `like`."""
    return torch.empty_like(like, device=device).bernoulli_(p, generator=generator)


class Dropout(Drawing, nn.Dropout):
    """torch's dropout, bit by bit, that can draw from a run's own generator."""
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * self.draw(keep, x.detach(), 1 - self.p, device=x.device).div_(1 - self.p)
