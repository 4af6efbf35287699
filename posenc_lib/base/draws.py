"""Random numbers from a run's own generator, so that runs can train side by side and a step can be captured.

A CUDA graph replays exactly what it captured, so no random number can be drawn inside it.  `Draws` therefore records
the draws of one step, draws the numbers of the following steps in advance into tables on the device, and lets the
captured step read its row.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from posenc_lib.base.modules import modules


class Draws:
    """Random numbers on `device`, from a generator of their own.

        draws(torch.randint, 9, (48,))      draws(torch.rand, (48, 1))      draws(torch.randperm, 512)

    Works with any function that accepts `generator` and `device`.
    """
    def __init__(self, device: torch.device | str = "cpu", seed: int = 0):
        self.generator = torch.Generator(device)
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Reseed the generator and begin a new step."""
        self.generator.manual_seed(seed)
        self._calls: list[tuple[Callable, tuple, Tensor]] = []   # the draws of the current step
        self._rows: Iterator[Tensor] | None = None               # a table row, while a step reads its draws from one

    def __call__(self, function: Callable[..., Tensor], *args) -> Tensor:
        if self._rows is not None:
            return next(self._rows)
        drawn = self.new(function, *args)
        self._calls.append((function, args, drawn))
        return drawn

    def new(self, function: Callable[..., Tensor], *args) -> Tensor:
        """Draw from the generator directly, without recording the draw."""
        return function(*args, generator=self.generator, device=self.generator.device)

    def watch(self) -> None:
        """Begin a step whose sequence of draws the following steps will repeat."""
        self._calls.clear()

    def table(self, steps: int) -> "Table":
        """Allocate room for the draws of up to `steps` steps like the one just watched."""
        return Table(self, list(self._calls), steps)


class Table:
    """The draws of the coming steps, one row per step, in the order in which a step makes them."""
    def __init__(self, draws: Draws, calls: list[tuple[Callable, tuple, Tensor]], steps: int):
        self.draws, self.calls = draws, calls
        self.columns = [drawn.new_empty(steps, *drawn.shape) for _, _, drawn in calls]

    def fill(self, steps: int) -> None:
        """Draw the first `steps` rows anew."""
        for row in range(steps):
            for column, (function, args, _) in zip(self.columns, self.calls, strict=True):
                column[row] = self.draws.new(function, *args)

    @contextmanager
    def read(self, row: Tensor) -> Iterator[None]:
        """Take all draws inside the block from `row`, an integer tensor (1,) on the device."""
        self.draws._rows = (column.index_select(0, row)[0] for column in self.columns)
        try:
            yield
        finally:
            self.draws._rows = None


class Drawing(nn.Module):
    """A layer with random numbers: from a run's `Draws` inside `drawing`, else from torch's global generator."""
    draws: Draws | None = None

    def draw(self, function: Callable[..., Tensor], *args, device: torch.device) -> Tensor:
        return function(*args, device=device) if self.draws is None else self.draws(function, *args)


@contextmanager
def drawing(model: nn.Module, draws: Draws) -> Iterator[nn.Module]:
    """Make every `Drawing` layer of `model` draw from `draws` inside the block."""
    previous = [(layer, layer.draws) for layer in modules(model) if isinstance(layer, Drawing)]
    try:
        for layer, _ in previous:
            layer.draws = draws
        yield model
    finally:
        for layer, own in previous:
            layer.draws = own


def keep(like: Tensor, p: float, *, generator: torch.Generator | None = None, device=None) -> Tensor:
    """Return a tensor that is 1 with probability `p` and else 0, in the shape and memory format of `like`."""
    return torch.empty_like(like, device=device).bernoulli_(p, generator=generator)


class Dropout(Drawing, nn.Dropout):
    """torch's dropout, bit by bit, with random numbers that may come from a run's own generator."""
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * self.draw(keep, x.detach(), 1 - self.p, device=x.device).div_(1 - self.p)
