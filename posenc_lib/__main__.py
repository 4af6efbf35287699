"""What the library does from a command line: python -m posenc_lib probe, python -m posenc_lib augshift."""
import argparse
import os
import shlex
import sys
import time
from pathlib import Path

# As in run_all.sh: threads that wait spin for microseconds, then sleep, or a busy machine becomes many times slower.
os.environ["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "5000")

import torch
from torch import distributed

from posenc_lib import probe as probing
from posenc_lib.data import files
from posenc_lib.experiments import augshift_imagenet
from posenc_lib.experiments.augshift import METHODS, AugShiftConfig
from posenc_lib.nets import custom
from posenc_lib.run import records
from posenc_lib.run.config import Workspace, digest
from posenc_lib.show import report

AUGSHIFT = """Train and examine one of page 05's methods on ImageNet, or on any folder of images by class.

    torchrun --standalone --nproc-per-node 8 -m posenc_lib augshift --data DIR --method augshift

DIR holds train/CLASS/*.jpg and val/CLASS/*.jpg, as torchvision's ImageFolder has them.  Each process drives one GPU, or
the CPU where there is none; one process needs no torchrun.  After a kill, the same command goes on from the last whole
epoch.  The result is a line in records/paper/augshift.jsonl, which page 05 shows.
"""

PROBE = """Ask a network of your own where it knows, how much, in which channels, and what breaks without them.

    python -m posenc_lib probe --model timm:resnet18
    python -m posenc_lib probe --model torchvision:vgg11 --weights vgg11.safetensors --images ~/photos
    python -m posenc_lib probe --model my_network.py:build --layer stage3 --layer stage4 --out report/

It takes a minute or two on a laptop and needs no network: without --weights the network has the random weights that
it is built with, without --images it sees photographs that come with the book.  The folder gets report.html, which has
the figures in it, report.md, every figure as svg and png, and its numbers as csv.  Page 08 of the book says how to read
it.
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m posenc_lib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    told = {"description": AUGSHIFT, "formatter_class": argparse.RawDescriptionHelpFormatter}
    shift = commands.add_parser("augshift", help="AugShift and its controls on ImageNet, several GPUs at once", **told)
    shift.set_defaults(command=augshift)
    shift.add_argument("--data", type=Path, required=True, help="folder that holds train/CLASS/ and val/CLASS/")
    shift.add_argument("--method", default="augshift", help=", ".join(METHODS))
    shift.add_argument("--arch", default="resnet18", help="a network of timm's (resnet50 for supplement S2)")
    shift.add_argument("--epochs", type=int, default=90)
    shift.add_argument("--batch-size", type=int, default=256, help="of all processes together (256)")
    shift.add_argument("--learning-rate", type=float, default=0.1)
    shift.add_argument("--size", type=int, default=224, help="pixels a side of what the network sees (224)")
    shift.add_argument("--shift", type=int, default=16, help="pixels that a training crop is moved by, at most (16)")
    shift.add_argument("--weight", type=float, default=AugShiftConfig.weight, help="lambda of the latents' distance")
    shift.add_argument("--seed", type=int, default=0)
    shift.add_argument("--workers", type=int, default=4, help="processes that read images, for each that trains (4)")
    shift.add_argument("--out", default="", help="where records and checkpoints go (the project)")
    told = {"description": PROBE, "formatter_class": argparse.RawDescriptionHelpFormatter}
    ask = commands.add_parser("probe", help="how much position any network knows: a report", **told)
    ask.set_defaults(command=probe)
    ask.add_argument("--model", required=True, help=custom.FORMS)
    ask.add_argument("--weights", default="", metavar="FILE", help="a .safetensors state dict; or the word pretrained, "
                     "to download the library's own")
    ask.add_argument("--layer", action="append", help="a layer by its name; may be repeated (found by tracing). The "
                     "deepest is the one whose channels are ranked")
    ask.add_argument("--images", type=Path, metavar="DIR", help="pictures to ask with (the book's photographs)")
    ask.add_argument("--n-images", type=int, default=90, metavar="N", help="so many of them, evenly spread (90)")
    ask.add_argument("--grid", type=int, default=3, help="cells a side of the canvas (3)")
    ask.add_argument("--size", type=int, help="pixels a side of the canvas (the network's own, else 224)")
    ask.add_argument("--seed", type=int, default=0, help="of random weights, readers and random sets (0)")
    ask.add_argument("--out", type=Path, metavar="DIR", help="an empty or new folder for the report (probe-MODEL)")
    ask.add_argument("--overwrite", action="store_true", help="replace an earlier report in that folder")
    return parser.parse_args(argv)


def probe(args: argparse.Namespace) -> None:
    name = "".join(c if c.isalnum() or c in "._" else "-" for c in Path(args.model).name)
    out = args.out or Path(f"probe-{name}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out: {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (args.overwrite and (out / "report.md").is_file()):
        raise ValueError(f"out: {out} is not empty; name another folder, or give --overwrite to replace an earlier "
                         "report")
    if args.n_images < 12:
        raise ValueError(f"n-images: {args.n_images} pictures were asked for; give 12 or more")
    start = time.time()
    network = custom.load(args.model, args.weights, seed=args.seed)
    if torch.cuda.is_available():
        network.model.cuda()
    size = network.size if args.size is None else args.size
    if size < 16:
        raise ValueError(f"size: a canvas of {size} pixels was asked for; give 16 or more")
    like = {"mean": network.mean, "std": network.std}
    if args.images:
        pixels, what = files.pictures(args.images, size, args.n_images), str(args.images)
        if len(pixels) < 12:
            raise ValueError(f"images: {args.images} has {len(pixels)} images; 12 or more are needed")
        images = probing.normalised(pixels, **like)
    else:
        images, what = probing.pictures(size, args.n_images, **like), "photographs that come with the book"
    command = "python -m posenc_lib " + shlex.join(sys.argv[1:])
    page = report.write(network, out, images=images, what=what, command=command, layers=args.layer, grid=args.grid,
                        seed=args.seed)
    print(f"probe: {network.name}, {network.weights}: {page} ({time.time() - start:.0f} s)")


def augshift(args: argparse.Namespace) -> None:
    c = augshift_imagenet.ImageNetConfig(profile="paper", dataset=args.data.resolve().name, data="", method=args.method,
                                width=None, backbone=args.arch, shift=args.shift, weight=args.weight, size=args.size,
                                test_shifts=augshift_imagenet.CURVE)
    c = augshift_imagenet.configure(args.data, c, args.epochs, args.batch_size, args.learning_rate)
    workspace = Workspace("paper", str(args.data), args.out)
    path = workspace.records("augshift")
    if (digest(c), args.seed) in {record.key for record in records.load(path)}:
        print(f"augshift: this run is on file in {path}")
        return
    start, checkpoint = time.time(), workspace.checkpoint(c, args.seed)
    results = augshift_imagenet.run(c, args.seed, args.data, args.workers, checkpoint)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        records.append(path, records.new_record("augshift", c, args.seed, results, start))
        checkpoint.unlink(missing_ok=True)
        print(f"augshift: {args.method}, {args.arch}: top-1 {100 * results['top1']:.1f} %; the record is in {path}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


def main(argv: list[str] | None = None) -> int:
    """0, or 2 after one sentence about what was asked."""
    args = parse(argv)
    try:
        args.command(args)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"python -m posenc_lib: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
