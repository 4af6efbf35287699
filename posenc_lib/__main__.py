"""Command line of the library, as posenc or python -m posenc_lib: probe, augshift, records."""
import argparse
import os
import sys
from io import TextIOWrapper
from pathlib import Path

# As in run_all.sh: waiting threads spin for microseconds, then sleep; on a busy machine, spinning is many times slower.
os.environ["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", "5000")
if __name__ == "__main__" or Path(sys.argv[0]).stem == "posenc":
    os.environ["MPLBACKEND"] = "agg"   # figures go to files; a backend with windows fails where there is no display

from posenc_lib import __version__

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


def program() -> str:
    """The command under which this runs."""
    return "posenc" if Path(sys.argv[0]).stem == "posenc" else "python -m posenc_lib"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program(), description=__doc__)
    parser.set_defaults(program=parser.prog)
    parser.add_argument("--version", action="version", version=f"posenc {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser("augshift", help="train AugShift or a control on ImageNet, on one or more GPUs",
                                description=AUGSHIFT, formatter_class=argparse.RawDescriptionHelpFormatter)
    train.set_defaults(command="train_augshift")
    train.add_argument("--data", type=Path, required=True, help="folder that contains train/CLASS/ and val/CLASS/")
    train.add_argument("--method", default="augshift",
                       help="augshift (the default), baseline, one_crop, two_crops, mse_only, blurpool, "
                       "blurpool_augshift, random_padding, circular_padding or polyphase")
    train.add_argument("--arch", default="resnet18", help="a timm architecture (resnet50 for supplement S2)")
    train.add_argument("--epochs", type=int, default=90)
    train.add_argument("--batch-size", type=int, default=256, help="of all processes together (256)")
    train.add_argument("--learning-rate", type=float, default=0.1)
    train.add_argument("--size", type=int, default=224, help="side of the network's input in pixels (224)")
    train.add_argument("--shift", type=int, default=16, help="largest shift of a training crop in pixels (16)")
    train.add_argument("--weight", type=float, default=0.1,
                       help="lambda, the weight of the distance between latents (0.1)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--workers", type=int, default=4, help="image-loading processes per training process (4)")
    train.add_argument("--out", default="", help="folder for records and checkpoints (the project folder)")
    probing = commands.add_parser("probe", help="report how much position a network encodes",
                                  description=PROBE, formatter_class=argparse.RawDescriptionHelpFormatter)
    probing.set_defaults(command="probe_network")
    probing.add_argument("--model", required=True, help="timm:NAME, torchvision:NAME or FILE.py:FUNCTION")
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
    checking.set_defaults(command="check_records")
    checking.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a .jsonl file of records")
    args = parser.parse_args(argv)
    for name, value in vars(args).items():
        if isinstance(value, str | Path):
            setattr(args, name, type(value)(os.path.expanduser(value)))   # no shell does that in --out=~/report
    return args


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0, or 2 after printing what was wrong with the request in one sentence."""
    args = parse(argv)

    from posenc_lib import commands  # here: --help and a misspelt option need no torch, which takes seconds to import

    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")   # as of stderr: any file name can be printed in any locale
    try:
        print(getattr(commands, args.command)(args), end="")
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"{program()}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
