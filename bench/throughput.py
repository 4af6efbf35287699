"""Training steps, images a second: GAPNet's, by the book's loop against the authors' style; AugShift's, one crop of an
image against two.

    ./run_all.sh bench throughput [--steps N] [--rounds N] [--width 64] [--batch 48] [--grids 3,7]
                                  [--modes zeros,reflect] [--lanes 4] [--compile]

authors   what the released script does: PIL images through torchvision transforms in a DataLoader, images placed one by
          one in a Python loop, float32, the loss read at every step
fit       `training.fit` alone: tensors on the device, one indexed assignment, channels last; on a GPU bfloat16, the
          step captured as a CUDA graph
abreast   on a GPU: so many of them side by side (`run.streams`), images a second of all together
compiled  with --compile: `fit`, the network through torch.compile (on a GPU with CUDA graphs, the step not captured)

They run in turn, `rounds` times, in one process; the fastest round of each counts, because other programs on the
machine can only slow a round down.  Beside each stands its ratio to the authors' loop, and its arithmetic as a part of
a measured matrix product of the same machine and precision.  Any number of steps will do: the images are gone through
again.

By default a CPU does 6 steps a round at 3x3 under zero padding, a GPU 300 at 3x3 and 7x7 under zero and reflect
padding.

The last three lines are page 05's step on 32-pixel images, with one crop of each image and with two, as AugShift has
it: images a second, not crops.  Two crops go through in one batch, so they should take no more than twice as long.
"""
import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from threading import Barrier

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from posenc_lib.data import imageset, registry
from posenc_lib.experiments import augshift
from posenc_lib.measure import canvas
from posenc_lib.nets import classifiers
from posenc_lib.run import streams, training
from posenc_lib.run.config import Recipe, device_type

Build = Callable[[], torch.nn.Module]


class PilImages(Dataset):
    """The same images, as PIL pictures behind transforms."""
    def __init__(self, images: imageset.ImageSet):
        self.pictures = [transforms.functional.to_pil_image(image) for image in images.images.cpu()]
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose([
            transforms.RandomCrop(images.images.shape[-1], padding=0), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(images.mean, images.std)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, n: int):
        return self.transform(self.pictures[n]), self.labels[n]


def again_and_again(loader: DataLoader) -> Iterator:
    while True:
        yield from loader


def gapnet(grid: int, mode: str, width: int) -> torch.nn.Module:
    return classifiers.gapnet(grid ** 2, padding_mode=mode, width=width)


def seconds_authors(images: imageset.ImageSet, recipe: Recipe, grid: int, build: Build, device: torch.device) -> float:
    net = build().to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=recipe.betas)
    loader = again_and_again(DataLoader(PilImages(images), recipe.batch_size, shuffle=True, num_workers=2,
                                        drop_last=True, persistent_workers=True))
    size = images.images.shape[-1]
    start = None
    for _ in range(recipe.epoch_steps + 1):
        pictures, _ = next(loader)
        canvases, answers = torch.zeros(len(pictures), 3, grid * size, grid * size), torch.zeros(len(pictures)).long()
        for n, picture in enumerate(pictures):
            answers[n] = int(torch.randint(grid ** 2, ()))
            row, col = divmod(int(answers[n]), grid)
            canvases[n, :, row * size:(row + 1) * size, col * size:(col + 1) * size] = picture
        optimizer.zero_grad()
        loss = cross_entropy(net(canvases.to(device)), answers.to(device))
        loss.backward()
        optimizer.step()
        loss.item()   # the script prints it at every step
        start = start or time.perf_counter()   # the first step, with the workers' start, is not counted
    return (time.perf_counter() - start) / recipe.epoch_steps


def location_loss(grid: int) -> training.Loss:
    def loss(net, images, labels, draws):
        location = draws(torch.randint, grid ** 2, labels.shape)
        return cross_entropy(net(canvas.place(images, location, grid)), location)
    return loss


def seconds_of_fit(build: Build, images: imageset.ImageSet, loss: training.Loss, recipe: Recipe, **options) -> float:
    ends: list[float] = []   # of two epochs; the first, with whatever is set up once, is not counted
    training.fit(build(), images, loss, replace(recipe, epochs=2), seed=0,
                 evaluate=lambda net: ends.append(time.perf_counter()) or {}, **options)
    return (ends[1] - ends[0]) / recipe.epoch_steps


def seconds_abreast(build: Build, images: imageset.ImageSet, loss: training.Loss, recipe: Recipe, n: int) -> float:
    """A step of one of `n` trainings side by side, as if it ran alone: their time together over all steps."""
    ready, starts, ends = Barrier(n), [], []

    def train(seed: int) -> None:
        def look(net) -> dict:
            if len(starts) < n:   # all begin the second epoch, the one that counts, at once
                with streams.yield_turn():
                    ready.wait()
                starts.append(time.perf_counter())
            return {}

        training.fit(build(), images, loss, replace(recipe, epochs=2), seed=seed, evaluate=look)
        ends.append(time.perf_counter())

    list(streams.run_side_by_side(train, [(seed,) for seed in range(n)], n))
    return (max(ends) - min(starts)) / recipe.epoch_steps / n


def seconds_compiled(build: Build, images: imageset.ImageSet, loss: training.Loss, recipe: Recipe) -> float:
    net = build()
    faster = torch.compile(net, mode="reduce-overhead")   # done in the first epoch, which is not counted
    return seconds_of_fit(lambda: net, images, lambda _, *batch: loss(faster, *batch), recipe, capture=False)


def seconds_crops(method: str, images: imageset.ImageSet, recipe: Recipe, width: int) -> float:
    c = augshift.AugShiftConfig(profile="quick", dataset="digits", data="", method=method, width=width, recipe=recipe)
    return seconds_of_fit(partial(augshift.build, c, 10), images, lambda net, x, y, draws: augshift.objective(
        c, net, augshift.views(c, x, draws), y), recipe)


def flops_a_step(side: int, batch: int, grid: int, width: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        classifiers.gapnet(grid ** 2, width=width)(torch.empty(batch, 3, grid * side, grid * side)).sum().backward()
    return counter.get_total_flops()


def matmul_rate(device: torch.device, dtype: torch.dtype, rounds: int = 5) -> float:
    """Floating-point operations a second of a square matrix product; the best of `rounds`."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(rounds + 1):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * n ** 3 / best


def main() -> None:
    gpu = device_type() == "cuda"
    device, dtype = torch.device("cuda" if gpu else "cpu"), torch.bfloat16 if gpu else torch.float32
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 300 if gpu else 6), ("rounds", 3), ("width", 64), ("batch", 48), ("lanes", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--grids", default="3,7" if gpu else "3")
    parser.add_argument("--modes", default="zeros,reflect" if gpu else "zeros")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    images = registry.load("digits", "", size=32, validation=0).train
    recipe = Recipe(epochs=1, epoch_steps=args.steps, batch_size=args.batch)
    limit = matmul_rate(device, dtype)
    name = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"GAPNet on ResNet-18 of width {args.width}, cells of 32 px, batch {args.batch}; {name}, torch "
          f"{torch.__version__.split('+')[0]}; best of {args.rounds} rounds of {args.steps} steps; matrix product "
          f"{limit / 1e12:.3g} TFLOP/s, {str(dtype).removeprefix('torch.')}")

    for grid in map(int, args.grids.split(",")):
        flops = flops_a_step(32, args.batch, grid, args.width)
        for mode in args.modes.split(","):
            net, loss = partial(gapnet, grid, mode, args.width), location_loss(grid)
            ways = {"authors": partial(seconds_authors, images, recipe, grid, net, device),
                    "fit": partial(seconds_of_fit, net, images, loss, recipe)}
            if gpu:
                ways[f"{args.lanes} abreast"] = partial(seconds_abreast, net, images, loss, recipe, args.lanes)
            if args.compile:
                ways["compiled"] = partial(seconds_compiled, net, images, loss, recipe)
            rounds = [{way: measure() for way, measure in ways.items()} for _ in range(args.rounds)]
            best = {way: min(one[way] for one in rounds) for way in ways}
            for way, seconds in best.items():
                print(f"{grid}x{grid} {mode:8} {way:10} {args.batch / seconds:10.1f} images/s   "
                      f"{best['authors'] / seconds:6.2f} times the authors'   "
                      f"{flops / seconds / limit:5.0%} of the matrix product", flush=True)

    one, two = (min(seconds_crops(method, images, recipe, args.width) for _ in range(args.rounds))
                for method in ("one_crop", "augshift"))
    print(f"crop   {args.batch / one:10.1f} images/s   cifar_resnet18 of width {args.width}, one crop an image")
    print(f"crops  {args.batch / two:10.1f} images/s   two crops an image, their latents drawn together")
    print(f"ratio  {two / one:10.2f} times as long for two")


if __name__ == "__main__":
    main()
