"""Training steps, images a second: GAPNet's on a 3x3 canvas, the book's loop against a plain one; AugShift's, one crop
of an image against two.

    ./run_all.sh bench throughput [--steps 6] [--rounds 3] [--width 64] [--batch 48] [--compile]

plain     what the authors' released script does: PIL images through torchvision transforms in a DataLoader, images
          placed one by one in a Python loop, float32
book      `training.fit`: tensors on the device, one indexed assignment, channels last, bfloat16 on a GPU
compiled  with --compile: the same, the network through torch.compile (on a GPU with CUDA graphs)

They run in turn, `rounds` times, in one process; the fastest round of each counts, because other programs on the
machine can only slow a round down.  Then come their ratios, and the book's arithmetic against a measured matrix product
of the same machine and precision.

The last three lines are page 05's step on 32-pixel images, with one crop of each image and with two, as AugShift has
it: images a second, not crops.  Two crops go through in one batch, so they should take no more than twice as long.
"""
import argparse
import time
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from posenc_lib import augshift, canvas, data, models, training
from posenc_lib.config import Recipe

GRID = 3


class PilImages(Dataset):
    """The same images, as PIL pictures behind transforms."""
    def __init__(self, images: data.ImageSet):
        self.pictures = [transforms.functional.to_pil_image(image) for image in images.images.cpu()]
        self.labels = images.labels.tolist()
        self.transform = transforms.Compose([
            transforms.RandomCrop(images.images.shape[-1], padding=0), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(images.mean, images.std)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, n: int):
        return self.transform(self.pictures[n]), self.labels[n]


def seconds_plain(images: data.ImageSet, recipe: Recipe, width: int, device: torch.device) -> float:
    net = models.gapnet(GRID ** 2, width=width).to(device).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=recipe.betas)
    loader = iter(DataLoader(PilImages(images), recipe.batch_size, shuffle=True, num_workers=2))
    size = images.images.shape[-1]
    start = None
    for _ in range(recipe.epoch_steps + 1):
        pictures, _ = next(loader)
        canvases, answers = torch.zeros(len(pictures), 3, GRID * size, GRID * size), torch.zeros(len(pictures)).long()
        for n, picture in enumerate(pictures):
            answers[n] = int(torch.randint(GRID ** 2, ()))
            row, col = divmod(int(answers[n]), GRID)
            canvases[n, :, row * size:(row + 1) * size, col * size:(col + 1) * size] = picture
        optimizer.zero_grad()
        loss = cross_entropy(net(canvases.to(device)), answers.to(device))
        loss.backward()
        optimizer.step()
        loss.item()   # the script prints it at every step
        start = start or time.perf_counter()   # the first step, with the workers' start, is not counted
    return (time.perf_counter() - start) / recipe.epoch_steps


def location_loss(net, images, labels, generator):
    location = torch.randint(GRID ** 2, labels.shape, generator=generator, device=labels.device)
    return cross_entropy(net(canvas.place(images, location, GRID)), location)


def seconds_of_fit(net, images: data.ImageSet, loss: training.Loss, recipe: Recipe) -> float:
    ends: list[float] = []   # of two epochs; the first, with whatever is set up once, is not counted
    training.fit(net, images, loss, replace(recipe, epochs=2), seed=0,
                 evaluate=lambda net: ends.append(time.perf_counter()) or {})
    return (ends[1] - ends[0]) / recipe.epoch_steps


def seconds_book(images: data.ImageSet, recipe: Recipe, width: int) -> float:
    return seconds_of_fit(models.gapnet(GRID ** 2, width=width), images, location_loss, recipe)


def seconds_compiled(images: data.ImageSet, recipe: Recipe, width: int) -> float:
    net = models.gapnet(GRID ** 2, width=width)
    faster = torch.compile(net, mode="reduce-overhead")   # done in the first epoch, which is not counted
    return seconds_of_fit(net, images, lambda _, *batch: location_loss(faster, *batch), recipe)


def seconds_crops(method: str, images: data.ImageSet, recipe: Recipe, width: int) -> float:
    c = augshift.AugShiftConfig(profile="quick", dataset="digits", data="", method=method, width=width, recipe=recipe)
    return seconds_of_fit(augshift.build(c, 10), images, lambda net, x, y, draws: augshift.objective(
        c, net, augshift.views(c, x, draws), y), recipe)


def flops_a_step(images: data.ImageSet, batch: int, width: int) -> int:
    side = GRID * images.images.shape[-1]
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        models.gapnet(GRID ** 2, width=width)(torch.empty(batch, 3, side, side)).sum().backward()
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 6), ("rounds", 3), ("width", 64), ("batch", 48)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = data.load("digits", "", size=32, validation=0).train
    recipe = Recipe(epochs=1, epoch_steps=args.steps, batch_size=args.batch)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

    rounds = [(seconds_plain(images, recipe, args.width, device), seconds_book(images, recipe, args.width),
               *(seconds_crops(method, images, recipe, args.width) for method in ("crop", "augshift")))
              for _ in range(args.rounds)]
    plain, book, one, two = (min(column) for column in zip(*rounds, strict=True))
    rate, limit = flops_a_step(images, args.batch, args.width) / book, matmul_rate(device, dtype)
    compiled = min(seconds_compiled(images, recipe, args.width) for _ in range(args.rounds)) if args.compile else None
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"GAPNet {GRID}x{GRID}, ResNet-18 of width {args.width}, canvas {GRID * 32} px, batch {args.batch}; {name}, "
          f"torch {torch.__version__.split('+')[0]}; best of {args.rounds} rounds of {args.steps} steps")
    print(f"plain  {args.batch / plain:10.1f} images/s   float32")
    print(f"book   {args.batch / book:10.1f} images/s   {str(dtype).removeprefix('torch.')}, channels last")
    print(f"ratio  {plain / book:10.2f}")
    if compiled:
        print(f"compiled {args.batch / compiled:8.1f} images/s   ratio to the book's {book / compiled:.2f}")
    print(f"limit  {rate / limit:10.0%} of this machine's matrix product "
          f"({rate / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s)")
    print(f"crop   {args.batch / one:10.1f} images/s   cifar_resnet18 of width {args.width}, one crop an image")
    print(f"crops  {args.batch / two:10.1f} images/s   two crops an image, their latents drawn together")
    print(f"ratio  {two / one:10.2f} times as long for two")


if __name__ == "__main__":
    main()
