"""Command line of the library, as posenc or python -m posenc_lib: probe, augshift, records."""
import argparse
import os
import shlex
import sys
import time
import warnings
from io import TextIOWrapper
from pathlib import Path

# As in run_all.sh: waiting threads spin for microseconds, then sleep; on a busy machine, spinning is many times slower.
os.environ["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "5000")
if __name__ == "__main__" or Path(sys.argv[0]).stem == "posenc":
    os.environ["MPLBACKEND"] = "agg"   # figures go to files; a backend with windows fails where there is no display

from torch import distributed

from posenc_lib import __version__, probe
from posenc_lib.base import modules
from posenc_lib.data import files
from posenc_lib.experiments import augshift_imagenet
from posenc_lib.experiments.augshift import METHODS, AugShiftConfig
from posenc_lib.nets import custom
from posenc_lib.run import records
from posenc_lib.run.config import Workspace, device_type, digest
from posenc_lib.show import report

AUGSHIFT = """Train and evaluate one of page 05's methods on ImageNet, or on any folder of images sorted by class.

    torchrun --standalone --nproc-per-node 8 -m posenc_lib augshift --data DIR --method augshift

DIR contains train/CLASS/*.jpg and val/CLASS/*.jpg, the layout of torchvision's ImageFolder.  Each process uses one GPU,
or the CPU if there is none; a single process does not need torchrun.  After an interruption, the same command resumes
from the last complete epoch.  The result is a line in records/paper/augshift.jsonl, which page 05 displays.
"""

PROBE = """Probe a network of your own for position: which layers and channels encode it, what breaks without them.

    python -m posenc_lib probe --model timm:resnet18
    python -m posenc_lib probe --model torchvision:vgg11 --weights vgg11.safetensors --images ~/photos
    python -m posenc_lib probe --model my_network.py:build --layer stage3 --layer stage4 --out report/

Takes a minute or two on a laptop and needs no internet connection: without --weights the network keeps its initial
random weights, without --images it is shown the photographs bundled with the book.  The output folder contains
report.html with the figures embedded, report.md, and every figure as svg and png with its numbers as csv.  Page 08 of
the book explains how to read it.
"""

RECORDS = """Check that every line of these files is a record, and that its digest is that of its configuration; after a
merge or a repair by hand, for instance."""

MIN_IMAGES = 12
MIN_SIZE = 16


def program() -> str:
    """The command under which this runs."""
    return "posenc" if Path(sys.argv[0]).stem == "posenc" else "python -m posenc_lib"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program(), description=__doc__)
    parser.add_argument("--version", action="version", version=f"posenc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("augshift", help="train AugShift or a control on ImageNet, on one or more GPUs",
                                description=AUGSHIFT, formatter_class=argparse.RawDescriptionHelpFormatter)
    train.set_defaults(command=run_augshift)
    train.add_argument("--data", type=Path, required=True, help="folder that contains train/CLASS/ and val/CLASS/")
    train.add_argument("--method", default="augshift", help=", ".join(METHODS))
    train.add_argument("--arch", default="resnet18", help="a timm architecture (resnet50 for supplement S2)")
    train.add_argument("--epochs", type=int, default=90)
    train.add_argument("--batch-size", type=int, default=256, help="of all processes together (256)")
    train.add_argument("--learning-rate", type=float, default=0.1)
    train.add_argument("--size", type=int, default=224, help="side of the network's input in pixels (224)")
    train.add_argument("--shift", type=int, default=16, help="largest shift of a training crop in pixels (16)")
    train.add_argument("--weight", type=float, default=AugShiftConfig.weight,
                       help="lambda, the weight of the distance between latents")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--workers", type=int, default=4, help="image-loading processes per training process (4)")
    train.add_argument("--out", default="", help="folder for records and checkpoints (the project folder)")
    probing = commands.add_parser("probe", help="report how much position a network encodes",
                                  description=PROBE, formatter_class=argparse.RawDescriptionHelpFormatter)
    probing.set_defaults(command=run_probe)
    probing.add_argument("--model", required=True, help=custom.FORMS)
    probing.add_argument("--weights", default="", metavar="FILE",
                         help="a state dict or a trainer's checkpoint (.safetensors, .pth, .ckpt, ...), or the word "
                         "pretrained to download the library's own")
    probing.add_argument("--layer", action="append", help="name of a layer, may be repeated (found by tracing); the "
                         "channels of the deepest one are ranked")
    probing.add_argument("--images", type=Path, metavar="DIR", help="folder of images (the book's photographs)")
    probing.add_argument("--n-images", type=int, default=90, metavar="N",
                         help="number of images used, evenly spread (90)")
    probing.add_argument("--grid", type=int, default=3, help="cells per side of the canvas (3)")
    probing.add_argument("--size", type=int, help="side of the canvas in pixels (the network's own, otherwise 224)")
    probing.add_argument("--seed", type=int, default=0, help="of random weights, heads and random sets (0)")
    probing.add_argument("--out", type=Path, metavar="DIR", help="an empty or new folder for the report (probe-MODEL)")
    probing.add_argument("--overwrite", action="store_true", help="replace an earlier report in that folder")
    checking = commands.add_parser("records", help="check files of records", description=RECORDS)
    checking.set_defaults(command=run_records)
    checking.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .jsonl file of records")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if isinstance(value, str | Path):
            setattr(args, name, type(value)(os.path.expanduser(value)))   # no shell does that in --out=~/report
    return args


def run_probe(args: argparse.Namespace) -> None:
    name = "".join(c if c.isalnum() or c in "._" else "-" for c in Path(args.model).name)
    out = args.out or Path(f"probe-{name}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out: {out} is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not (args.overwrite and report.may_overwrite(out)):
        raise ValueError(f"out: {out} is not empty; name another folder, or use --overwrite to replace an earlier "
                         "report")
    if args.n_images < MIN_IMAGES:
        raise ValueError(f"n-images: {args.n_images} images were requested; use at least {MIN_IMAGES}")
    start = time.time()
    network = custom.load(args.model, args.weights, seed=args.seed)
    modules.move(network.model, device_type())
    requested = network.size if args.size is None else args.size
    if requested < MIN_SIZE:
        raise ValueError(f"size: a canvas of {requested} pixels was requested; use at least {MIN_SIZE}")
    size = probe.fitting_size(network.model, requested)
    note = "" if size == requested else f"A side of {requested} pixels is no multiple of the network's total stride."
    if args.images:
        pixels, source = files.pictures(args.images, size, args.n_images), str(args.images)
        if len(pixels) < MIN_IMAGES:
            raise ValueError(f"images: {args.images} has {len(pixels)} images; at least {MIN_IMAGES} are needed")
        images = probe.normalise(pixels, network.mean, network.std)
    else:
        images = probe.sample_images(size, args.n_images, mean=network.mean, std=network.std)
        source = "photographs bundled with the book"
    command = f"{program()} {shlex.join(sys.argv[1:])}"
    page = report.write(network, out, images=images, source=source, command=command, layers=args.layer, grid=args.grid,
                        seed=args.seed, note=note)
    print(f"probe: {network.name}, {network.weights}: {page} ({time.time() - start:.0f} s)")


def run_augshift(args: argparse.Namespace) -> None:
    c = augshift_imagenet.ImageNetConfig(
        profile="paper", dataset=args.data.resolve().name, data="", method=args.method, width=None, backbone=args.arch,
        shift=args.shift, weight=args.weight, size=args.size, test_shifts=augshift_imagenet.CURVE)
    c = augshift_imagenet.configure(args.data, c, args.epochs, args.batch_size, args.learning_rate)
    workspace = Workspace("paper", str(args.data), args.out)
    path = workspace.records("augshift")
    if (digest(c), args.seed) in {record.key for record in records.load(path)}:
        print(f"augshift: {path} already contains this run")
        return
    start, checkpoint = time.time(), workspace.checkpoint(c, args.seed)
    results = augshift_imagenet.run(c, args.seed, args.data, args.workers, checkpoint)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        records.append(path, records.new_record("augshift", c, args.seed, results, start))
        checkpoint.unlink(missing_ok=True)
        print(f"augshift: {args.method}, {args.arch}: top-1 {100 * results['top1']:.1f} %; recorded in {path}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


def run_records(args: argparse.Namespace) -> None:
    n = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")   # of an incomplete last line
        for file in args.files:
            if not file.is_file():
                raise FileNotFoundError(f"records: {file} does not exist; name files of records")
            try:
                n += len(records.load(file))
            except UserWarning as warning:
                raise ValueError(warning) from None
    print(f"records: {n} runs in {len(args.files)} files, all valid")


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0, or 2 after printing what was wrong with the request in one sentence."""
    args = parse(argv)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")   # as of stderr: any file name can be printed in any locale
    try:
        args.command(args)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"{program()}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
