"""One visible training loop, on Lightning Fabric: precision, device and processes are its business, the steps are read
here.
"""
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import Tensor, distributed, nn

from posenc_lib.base import progress
from posenc_lib.base.checks import one_line
from posenc_lib.base.draws import Draws, drawing
from posenc_lib.base.files import read, save_atomically
from posenc_lib.data.imageset import Trainable
from posenc_lib.run import streams
from posenc_lib.run.config import Recipe

CHECK_EVERY = 50   # steps between two looks at the loss on a CPU, and steps whose draws a GPU makes ahead
Loss = Callable[[nn.Module, Tensor, Tensor, Draws], Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept after each epoch, and when to stop for now.

    until  seconds since the epoch, as `time.time()` has them
    """
    path: Path
    until: float = inf


class OutOfTime(Exception):
    """The time for runs is up; the checkpoint has all epochs that came to an end."""


def fit(model: nn.Module, train: Trainable, loss: Loss, recipe: Recipe, *, seed: int,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
        checkpoint: Checkpoint | Path | None = None, capture: bool = True) -> list[dict[str, float]]:
    """Train `model` in place by `recipe`; returns what `evaluate` found after each epoch.

    train       images on any device (`data.ImageSet`); they are moved to the device once and normalised by batch.  Or
                features of a frozen network, computed once (`data.Samples`), or files (`imagenet.Streamed`)
    loss        (model, images, labels, draws) -> mean loss of the batch; draws whatever it needs (where to place
                an image, say) from `draws`, see `Draws`
    evaluate    called after each epoch with the model in evaluation mode; "loss", the epoch's mean, is added
    checkpoint  file to go on from if it is there, and to write after each epoch (atomic; read with weights_only)
                With a time `until`, OutOfTime once an epoch ends later than that, unless it is the last
    capture     on a GPU, capture the step as a CUDA graph and replay it.  False for a loss whose shapes depend on the
                values of its batch, or that waits for the GPU

    On a GPU in bfloat16 where it is safe (autocast), else in float32; channels last where that is safe.  All
    randomness of an epoch comes from (seed, epoch), so on a CPU a resumed run equals an uninterrupted one bit by bit,
    and it comes from generators that belong to this run, so runs can go side by side (`lanes`).
    Under `torchrun`, by DistributedDataParallel: each process takes its part of every batch, the gradients are
    averaged, and the first process writes the checkpoint.  A batch must then divide by the number of processes.
    FloatingPointError when the loss is not finite; ValueError for a checkpoint that cannot be read, and where features
    are to be mirrored.
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
          _fed_in(memory_format, model), drawing(model, layers)):
        for epoch in range(len(history), recipe.epochs):
            start = (seed << 20) + epoch
            torch.manual_seed(start)   # for layers of other libraries, which know no other generator
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
                                             f"the learning rate ({recipe.learning_rate}) or look at the images")
            model.eval()
            with torch.no_grad(), autocast(device):
                scores = evaluate(model) if evaluate else {}
            history.append({"loss": float(fabric.all_reduce(total, reduce_op="mean")) / len(batches), **scores})
            if fabric.is_global_zero:
                _save(checkpoint, model, optimizer, history)
            fabric.barrier()
            if epoch + 1 < recipe.epochs and time.time() >= until:
                raise OutOfTime(f"fit: the time is up after epoch {epoch + 1} of {recipe.epochs}; {checkpoint} has it")
    model.eval()
    return history


class _Plain:
    """Steps one after the other, as they are written."""
    check_every = CHECK_EVERY

    def __init__(self, step: Callable[[Tensor, Tensor], None], train: Trainable):
        self.step, self.train = step, train

    def __call__(self, batches: list[Tensor], seed: int) -> Iterator[None]:
        """A step for each list of indices; yields after each."""
        for images, labels in self.train.batches(batches, seed):
            yield self.step(images, labels)


class _Captured:
    """Steps of one batch size captured once, taking of the batch and all, and replayed: a GPU runs such small networks
    several times as fast as Python can launch them.

    A replay reads its indices and draws from tables on the device that are filled for `CHECK_EVERY` steps at a time.
    The first steps of a run warm up what is captured, and a last batch that is smaller has a size of its own: they run
    as they are written.
    """
    warm_up, check_every = 3, 1 << 62   # a look at the loss would wait for all that is still to be replayed

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
    """A function that replays what `body` does on the GPU.  Capturing does not run it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
        body()
    return graph.replay


def _capturable(device: torch.device, processes: int, train: Trainable) -> bool:
    """Whether a step can be captured: on one GPU, of a set that is read by indices on the device."""
    return device.type == "cuda" and processes == 1 and train.on_device


@contextmanager
def _on_gpu(device: torch.device) -> Iterator[None]:
    """cuDNN's fastest algorithms, and a stream that can be captured: the lane's own, or one in place of the default."""
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
    """The precision of `fit`, for evaluations outside it: bfloat16 where it is safe on a GPU, else float32."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def _set_rate(group: dict, rate: float) -> None:
    """A captured optimizer reads its rate from the device, where it has to be changed in place."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _fabric() -> Fabric:
    """One process on one device; under torchrun one of the processes that it started, each with a device of its own."""
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision = "bf16-mixed" if accelerator == "cuda" else "32-true"
    if not distributed.is_torchelastic_launched():
        alone = LightningEnvironment()   # not what Slurm's variables say of a job in which this is one worker
        return Fabric(accelerator=accelerator, devices=1, precision=precision, plugins=alone)
    here, all_of_them = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=all_of_them // here, strategy="ddp",
                    precision=precision)
    fabric.launch()
    return fabric


def _part(index: Tensor, fabric: Fabric) -> Tensor:
    """This process's part of a batch: equally many for each, or an average of gradients is no longer the batch's."""
    if len(index) % fabric.world_size:
        raise ValueError(f"fit: a batch of {len(index)} was to be divided among {fabric.world_size} processes; give a "
                         "batch size that divides, and epoch_steps so that no batch is smaller")
    return index[fabric.global_rank::fabric.world_size]


def _memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last: twice as fast here on a CPU, made for tensor cores on a GPU; but not for every network on a CPU.

    With oneDNN 3.11 (torch 2.12) on AVX-512, the backward pass of a strided 1x1 convolution of fewer than 16 channels
    writes beyond its memory in that format, which ends the process or spoils what lies there; images that come in it
    are enough (`_fed_in`).
    """
    unsafe = device.type == "cpu" and any(
        isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
        for m in model.modules())
    return torch.contiguous_format if unsafe else torch.channels_last


@contextmanager
def _fed_in(memory_format: torch.memory_format, model: nn.Module) -> Iterator[None]:
    """Hand the network its images in the format of its weights: a convolution computes in either's, if it is not."""
    hook = model.register_forward_pre_hook(lambda _, inputs: tuple(
        x.contiguous(memory_format=memory_format) if x.ndim == 4 else x for x in inputs))
    try:
        yield
    finally:
        hook.remove()


def _batches(n: int, steps: int | None, size: int, draws: Draws) -> list[Tensor]:
    """Indices of one pass over the set, the last batch as small as it comes; or of `steps` full batches.

    Full batches go through the set pass after pass.  Each pass is in a new order.
    """
    passes = 1 if steps is None else -(-steps * size // n)
    order = torch.cat([draws(torch.randperm, n) for _ in range(passes)])
    return list(order.split(size)[:steps])


def _mirror_half(images: Tensor, draws: Draws) -> Tensor:
    if images.ndim != 4:
        raise ValueError(f"fit: the recipe mirrors images, and a batch here is {tuple(images.shape)}; give a recipe "
                         "with flip=False")
    chosen = draws(torch.rand, len(images), 1, 1, 1) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def epochs_in(path: Path) -> int:
    """How many epochs a checkpoint has; 0 without one, and for one that cannot be read, which `fit` refuses."""
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
        groups = optimizer.state_dict()["param_groups"]   # the recipe's and this device's, not the file's
        optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
    except Exception as error:   # what they raise on a damaged file depends on where it is damaged
        raise ValueError(f"fit: checkpoint {path} cannot be gone on from ({one_line(error)}); delete it to start this "
                         f"run anew") from None
    return history
