"""What the library does from a command line: python -m posenc_lib augshift."""
import argparse
import sys
import time
from pathlib import Path

from torch import distributed

from posenc_lib import imagenet, records
from posenc_lib.augshift import METHODS, AugShiftConfig
from posenc_lib.config import Workspace, digest

AUGSHIFT = """Train and examine one of page 05's methods on ImageNet, or on any folder of images by class.

    torchrun --standalone --nproc-per-node 8 -m posenc_lib augshift --data DIR --method augshift

DIR holds train/CLASS/*.jpg and val/CLASS/*.jpg, as torchvision's ImageFolder has them.  Each process drives one GPU, or
the CPU where there is none; one process needs no torchrun.  After a kill, the same command goes on from the last whole
epoch.  The result is a line in records/paper/augshift-imagenet.jsonl, which page 05 shows.
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
    return parser.parse_args(argv)


def augshift(args: argparse.Namespace) -> None:
    c = imagenet.ImageNetConfig(profile="paper", dataset=args.data.resolve().name, data="", method=args.method,
                                width=None, backbone=args.arch, shift=args.shift, weight=args.weight, size=args.size,
                                tested=imagenet.CURVE)
    c = imagenet.configure(args.data, c, args.epochs, args.batch_size, args.learning_rate)
    workspace = Workspace("paper", str(args.data), args.out)
    path = workspace.records("augshift-imagenet")
    if (digest(c), args.seed) in {record.key for record in records.load(path)}:
        print(f"augshift: this run is on file in {path}")
        return
    start, checkpoint = time.time(), workspace.checkpoint(c, args.seed)
    results = imagenet.run(c, args.seed, args.data, args.workers, checkpoint)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        records.append(path, records.made("augshift-imagenet", c, args.seed, results, start))
        checkpoint.unlink(missing_ok=True)
        print(f"augshift: {args.method}, {args.arch}: top-1 {100 * results['top1']:.1f} %; the record is in {path}")
    if distributed.is_initialized():
        distributed.destroy_process_group()


def main(argv: list[str] | None = None) -> int:
    """0, or 2 after one sentence about what was asked."""
    args = parse(argv)
    try:
        args.command(args)
    except (FileNotFoundError, ValueError, FloatingPointError) as error:
        print(f"python -m posenc_lib: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
