"""One visible training loop on Lightning Fabric, which takes care of precision, devices and processes."""
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn

from posenc_lib.base import progress
from posenc_lib.base.checks import one_line
from posenc_lib.base.draws import Draws, drawing
from posenc_lib.base.files import read, save_atomically
from posenc_lib.base.modules import modules
from posenc_lib.data.imageset import Trainable
from posenc_lib.run import streams
from posenc_lib.run.config import Recipe, device_type

if TYPE_CHECKING:   # seconds, and only training needs it
    from lightning.fabric import Fabric

CHECK_EVERY = 50   # steps between two checks of the loss on a CPU; steps whose random numbers a GPU prepares in advance
Loss = Callable[[nn.Module, Tensor, Tensor, Draws], Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Where training state is saved after each epoch, and when training is interrupted.

    until  deadline in seconds since the epoch, as from `time.time()`
    """
    path: Path
    until: float = inf


class OutOfTime(Exception):
    """The time budget is used up; the checkpoint holds every completed epoch."""


def fit(model: nn.Module, train: Trainable, loss: Loss, recipe: Recipe, *, seed: int,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        checkpoint: Checkpoint | Path | None = None, capture: bool = True) -> list[dict[str, float]]:
    """Train `model` in place according to `recipe`; returns the scores of `evaluate` after each epoch.

    train       images on any device (`imageset.ImageSet`), moved to the device once and normalised per batch; or
                precomputed features of a frozen network (`imageset.Samples`); or files (`augshift_imagenet.Streamed`)
    loss        (model, images, labels, draws) -> mean loss of the batch; takes its random numbers (where to place an
                image, say) from `draws`, see `Draws`
    evaluate    called after each epoch with the model in evaluation mode; the epoch's mean "loss" is added to it
    checkpoint  file to resume from if it exists, and to write after each epoch (atomically; read with weights_only).
                With a deadline `until`, raises OutOfTime after the first epoch that ends later, unless it is the last
    capture     on a GPU, capture the training step as a CUDA graph and replay it.  Pass False for a loss whose shapes
                depend on the values in the batch, or that synchronises with the GPU

    bfloat16 autocast on a GPU, float32 on a CPU; channels-last where that is safe.  All randomness of an epoch derives
    from (seed, epoch), so on a CPU a resumed run equals an uninterrupted one bit for bit, and comes from generators of
    this run, so that runs can train side by side (`streams`).
    Under `torchrun`, DistributedDataParallel: every process takes its share of each batch, gradients are averaged, and
    rank 0 writes the checkpoint.  The batch size must then be divisible by the number of processes.
    FloatingPointError if the loss is not finite; ValueError for an unreadable checkpoint, and if features would have to
    be mirrored.
    """
    checkpoint, until = (checkpoint.path, checkpoint.until) if isinstance(checkpoint, Checkpoint) else (checkpoint, inf)
    fabric = _fabric()
    device, processes = fabric.device, fabric.world_size
    capture = capture and _capturable(device, processes, train)
    optimizer = recipe.optimizer(recipe.groups(model), capturable=capture and device.type == "cuda")
    memory_format = _memory_format(model, device)
    model.to(device, memory_format=memory_format)
    wrapped, optimizer = fabric.setup(model, optimizer)
    train = train.to(device)
    history = _restore(checkpoint, model, optimizer, device)
    total, draws, layers = torch.zeros((), device=device), Draws(device), Draws(device)

    def step(images: Tensor, labels: Tensor) -> None:
        if recipe.flip:
            images = _mirror_half(images, draws)
        batch_loss = loss(wrapped, images, labels, draws)
        optimizer.zero_grad()
        fabric.backward(batch_loss)
        optimizer.step()
        total.add_(batch_loss.detach())

    steps = _Captured(step, train, (draws, layers)) if capture else _Plain(step, train)
    with (torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _on_gpu(device),
          _input_format(memory_format, model), drawing(model, layers)):
        for epoch in range(len(history), recipe.epochs):
            start = (seed << 20) + epoch
            torch.manual_seed(start)   # for layers of other libraries, which use the global generator
            draws.restart(start)
            layers.restart(start)
            batches = _batches(len(train), recipe.epoch_steps, recipe.batch_size, draws)
            if processes > 1:
                batches = [_part(index, fabric) for index in batches]
                draws.restart(start * processes + fabric.global_rank)
            for group in optimizer.param_groups:
                _set_rate(group, group["scale"] * recipe.rate(epoch))
            model.train()
            total.zero_()
            done = progress.bar(steps(batches, start), f"epoch {epoch + 1}/{recipe.epochs}", len(batches))
            for n, _ in enumerate(done, start=1):
                if (n % steps.check_every == 0 or n == len(batches)) and not torch.isfinite(total):
                    raise FloatingPointError(f"fit: the loss is {total.item()} by step {n} of epoch {epoch + 1}; lower "
                                             f"the learning rate ({recipe.learning_rate}) or check the images")
            model.eval()
            with torch.no_grad(), autocast(device):
                scores = evaluate(model) if evaluate else {}
            history.append({"loss": float(fabric.all_reduce(total, reduce_op="mean")) / len(batches), **scores})
            if fabric.is_global_zero:
                _save(checkpoint, model, optimizer, history)
            fabric.barrier()
            if epoch + 1 < recipe.epochs and time.time() >= until:
                raise OutOfTime(
                    f"fit: the time budget ended after epoch {epoch + 1} of {recipe.epochs}; {checkpoint} holds it"
                )
    model.eval()
    return history


class _Plain:
    """Training steps executed eagerly, one after the other."""
    check_every = CHECK_EVERY

    def __init__(self, step: Callable[[Tensor, Tensor], None], train: Trainable):
        self.step, self.train = step, train

    def __call__(self, batches: list[Tensor], seed: int) -> Iterator[None]:
        """One step per list of indices; yields after each."""
        for images, labels in self.train.batches(batches, seed):
            yield self.step(images, labels)


class _Captured:
    """A whole step, including indexing the batch, captured once as a CUDA graph and replayed: a small network is
    several times faster this way than if Python launches every kernel.

    A replay reads its indices and random numbers from tables on the device, filled for `CHECK_EVERY` steps at a time.
    The first steps, which warm up, and a smaller last batch run eagerly.
    """
    warm_up, check_every = 3, 1 << 62   # reading the loss would wait for all pending replays

    def __init__(self, step: Callable[[Tensor, Tensor], None], train: Trainable, draws: Sequence[Draws]):
        self.step, self.train, self.draws = step, train, draws
        self.replay: Callable[[], None] | None = None

    def __call__(self, batches: list[Tensor], seed: int) -> Iterator[None]:
        full = [index for index in batches if len(index) == len(batches[0])]
        eager = 0 if self.replay else self.warm_up
        for index in full[:eager]:
            for draws in self.draws:
                draws.watch()
            yield self.step(*self.train.batch(index))
        if self.replay is None and len(full) > eager:
            self._capture(full[0])
        for n in range(eager, len(full), CHECK_EVERY):
            part = full[n:n + CHECK_EVERY]
            self._fill(part)
            with streams.yield_turn():
                for _ in part:
                    self.replay()
            yield from [None] * len(part)
        for index in batches[len(full):]:
            yield self.step(*self.train.batch(index))

    def _capture(self, like: Tensor) -> None:
        self.row = torch.zeros(1, dtype=torch.long, device=like.device)
        self.indices = like.new_zeros(CHECK_EVERY, len(like))
        self.tables = [draws.table(CHECK_EVERY) for draws in self.draws]

        def body() -> None:
            with ExitStack() as reading:
                for table in self.tables:
                    reading.enter_context(table.read(self.row))
                self.step(*self.train.batch(self.indices.index_select(0, self.row)[0]))
            self.row += 1

        self.replay = _graph(body)

    def _fill(self, part: list[Tensor]) -> None:
        self.indices[:len(part)] = torch.stack(part)
        for table in self.tables:
            table.fill(len(part))
        self.row.zero_()


def _graph(body: Callable[[], None]) -> Callable[[], None]:
    """Capture `body` as a CUDA graph, without running it; returns the function that replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        body()
    return graph.replay


def _capturable(device: torch.device, processes: int, train: Trainable) -> bool:
    """Whether a step can be captured: on a single GPU, with data indexed on the device."""
    return device.type == "cuda" and processes == 1 and train.on_device


@contextmanager
def _on_gpu(device: torch.device) -> Iterator[None]:
    """cuDNN autotuning, and a stream that can be captured: the caller's, or a new one instead of the default stream."""
    if device.type != "cuda":
        yield
        return
    before, outer = torch.backends.cudnn.benchmark, torch.cuda.current_stream(device)
    stream = torch.cuda.Stream(device) if outer == torch.cuda.default_stream(device) else outer
    stream.wait_stream(outer)
    torch.backends.cudnn.benchmark = True
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.backends.cudnn.benchmark = before
        outer.wait_stream(stream)


def autocast(device: torch.device) -> AbstractContextManager:
    """The precision of `fit`, for evaluations elsewhere: bfloat16 autocast on a GPU, else float32."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def _set_rate(group: dict, rate: float) -> None:
    """Set a learning rate; a captured optimizer reads it from a tensor, which is changed in place."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _fabric() -> "Fabric":
    """One process on one device; under torchrun, one process per device."""
    accelerator = device_type()
    if not distributed.is_torchelastic_launched():
        return _one_device(accelerator)
    from lightning.fabric import Fabric
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=all_of_them // here, strategy="ddp",
                    precision=_precision(accelerator))
    fabric.launch()
    return fabric


@cache   # each new one reads the entry points of all installed packages, which takes as long as a few training steps
def _one_device(accelerator: str) -> "Fabric":
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments import LightningEnvironment
    alone = LightningEnvironment()   # ignore Slurm's variables: this may be one worker of a larger job
    return Fabric(accelerator=accelerator, devices=1, precision=_precision(accelerator), plugins=alone)


def _precision(accelerator: str) -> str:
    return "bf16-mixed" if accelerator == "cuda" else "32-true"


def _part(index: Tensor, fabric: "Fabric") -> Tensor:
    """This process's share of a batch; shares must be equal, or averaged gradients are not those of the batch."""
    if len(index) % fabric.world_size:
        raise ValueError(f"fit: a batch of {len(index)} cannot be divided among {fabric.world_size} processes; give a "
                         "divisible batch size, and epoch_steps so that no batch is smaller")
    return index[fabric.global_rank::fabric.world_size]


def _memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels-last, twice as fast on a CPU and made for tensor cores on a GPU, except where a CPU kernel is faulty.

    With oneDNN 3.11 (torch 2.12) on AVX-512, the backward pass of a strided 1x1 convolution with fewer than 16 input
    channels writes out of bounds in this format, which crashes the process or corrupts memory; channels-last input
    alone is enough to trigger it (`_input_format`).
    """
    unsafe = device.type == "cpu" and any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
        for m in modules(model))
    return torch.contiguous_format if unsafe else torch.channels_last


@contextmanager
def _input_format(memory_format: torch.memory_format, model: nn.Module) -> Iterator[None]:
    """Convert the network's input to the memory format of its weights, or a convolution may use either."""
    hook = model.register_forward_pre_hook(lambda _, inputs: tuple(
        x.contiguous(memory_format=memory_format) if x.ndim == 4 else x for x in inputs))
    try:
        yield
    finally:
        hook.remove()


def _batches(n: int, steps: int | None, size: int, draws: Draws) -> list[Tensor]:
    """Indices for one pass over the set, whose last batch may be smaller; or for `steps` full batches.

    Full batches run through the set pass after pass, each in a new random order.
    """
    passes = 1 if steps is None else -(-steps * size // n)
    order = torch.cat([draws(torch.randperm, n) for _ in range(passes)])
    return list(order.split(size)[:steps])


def _mirror_half(images: Tensor, draws: Draws) -> Tensor:
    if images.ndim != 4:
        raise ValueError(f"fit: the recipe mirrors images, but a batch has shape {tuple(images.shape)}; use a recipe "
                         "with flip=False")
    chosen = draws(torch.rand, len(images), 1, 1, 1) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def epochs_in(path: Path) -> int:
    """Number of epochs in a checkpoint; 0 if there is none or it is unreadable, which `fit` reports."""
    with suppress(Exception):
        return len(read(path)["history"])
    return 0


def _save(path: Path | None, model: nn.Module, optimizer, history: list[dict[str, float]]) -> None:
    if path is not None:
        save_atomically({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}, path)


def _restore(path: Path | None, model: nn.Module, optimizer, device: torch.device) -> list[dict[str, float]]:
    if path is None or not path.is_file():
        return []
    try:
        state = read(path, device)
        history = list(state["history"])
        model.load_state_dict(state["model"])
        groups = optimizer.state_dict()["param_groups"]   # from the recipe and this device, not from the file
        optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
    except Exception as error:  # the exception depends on where the file is damaged
        raise ValueError(
            f"fit: cannot resume from checkpoint {path} ({one_line(error)}); delete it to restart this run"
        ) from None
    return history
