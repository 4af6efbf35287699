"""What the commands of `posenc` do; each returns what is to be printed.  Their arguments: posenc_lib/__main__.py."""
import shlex
import sys
import time
import warnings
from argparse import Namespace
from pathlib import Path

from torch import distributed

from posenc_lib import probe
from posenc_lib.base import modules
from posenc_lib.data import files
from posenc_lib.experiments import augshift_imagenet
from posenc_lib.nets import custom
from posenc_lib.run import records
from posenc_lib.run.config import Workspace, device_type, digest
from posenc_lib.show import report

MIN_IMAGES = 12
MIN_SIZE = 16


def probe_network(args: Namespace) -> str:
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
    command = f"{args.program} {shlex.join(sys.argv[1:])}"
    page = report.write(network, out, images=images, source=source, command=command, layers=args.layer, grid=args.grid,
                        seed=args.seed, note=note)
    return f"probe: {network.name}, {network.weights}: {page} ({time.time() - start:.0f} s)\n"


def train_augshift(args: Namespace) -> str:
    c = augshift_imagenet.ImageNetConfig(
        profile="paper", dataset=args.data.resolve().name, data="", method=args.method, width=None, backbone=args.arch,
        shift=args.shift, weight=args.weight, size=args.size, test_shifts=augshift_imagenet.CURVE)
    c = augshift_imagenet.configure(args.data, c, args.epochs, args.batch_size, args.learning_rate)
    workspace = Workspace("paper", str(args.data), args.out)
    path = workspace.records("augshift")
    if (digest(c), args.seed) in {record.key for record in records.load(path)}:
        return f"augshift: {path} already contains this run\n"
    start, checkpoint = time.time(), workspace.checkpoint(c, args.seed)
    results = augshift_imagenet.run(c, args.seed, args.data, args.workers, checkpoint)
    result = ""   # of the other processes
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        records.append(path, records.new_record("augshift", c, args.seed, results, start))
        checkpoint.unlink(missing_ok=True)
        result = f"augshift: {args.method}, {args.arch}: top-1 {100 * results['top1']:.1f} %; recorded in {path}\n"
    if distributed.is_initialized():
        distributed.destroy_process_group()
    return result


def check_records(args: Namespace) -> str:
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
    return f"records: {n} runs in {len(args.files)} files, all valid\n"
