"""`python -m posenc_lib probe` on the smallest network of each model family of timm and torchvision.

    ./run_all.sh bench families [--only timm:resnet torchvision:vgg] [--again] [--seconds 300] [--gigabytes 8]

A family is a module of the library (`timm/models/vision_transformer.py`); its smallest network is the one of the fewest
multiplications, estimated as parameters times pixels.  Weights are random.  To save time there are 6 images, 2x2 cells,
one random set of channels to ablate, and canvases of 128 pixels where the network takes them, else of its own size.
Each network has its own process with a limit of CPU time and memory.  The table is families.csv beside this file;
families that are in it are skipped, so a run that was stopped goes on, and `--again` starts over.  The last line counts
how the networks ended:

ran        a report was written; the table has its size, and the first layer that responds to the border
refused    with a sentence, which the table has
stopped    by the limit of time or memory
traceback  which must not happen
"""
import argparse
import csv
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import timm
import torch
import torchvision

from posenc_lib import __main__ as command
from posenc_lib.nets import custom, hooks
from posenc_lib.show import report

TABLE = Path(__file__).with_suffix(".csv")
SMALL = 128   # pixels
COLUMNS = ("family", "network", "parameters", "size", "outcome", "what", "seconds")


def families() -> dict[str, list[str]]:
    """family -> its networks: "timm:vision_transformer" -> ["timm:vit_base_patch16_224", ...]."""
    found: dict[str, list[str]] = {}
    for family in timm.list_modules():
        found[f"timm:{family}"] = [f"timm:{name}" for name in timm.list_models(module=family)]
    for name in torchvision.models.list_models():
        family = torchvision.models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
        found.setdefault(f"torchvision:{family}", []).append(f"torchvision:{name}")
    return {family: names for family, names in found.items() if names}


def smallest(names: list[str]) -> tuple[str, int, int]:
    """The network that computes least, its parameters and the side of its images."""
    sizes = []
    for name in names:
        try:
            with torch.device("meta"):
                network = custom.load(name)
        except Exception:   # some cannot be built without values
            network = custom.load(name)
        n = sum(p.numel() for p in network.model.parameters())
        sizes.append((n * network.size ** 2, name, n, network.size))
    return min(sizes)[1:]


def probe(name: str, out: str) -> int:
    """In the process of one network."""
    report.FRACTIONS, report.DRAWS, command.MIN_IMAGES = (0.15,), 1, 6
    network = custom.load(name)
    try:
        size = min(SMALL, network.size)
        with hooks.eval_and_restore(network.model):
            hooks.run(network.model, torch.zeros(1, 3, size, size))
    except ValueError:
        size = network.size
    return command.main(["probe", "--model", name, "--size", str(size), "--n-images", "6", "--grid", "2", "--out", out])


def outcome(name: str, seconds: int, gigabytes: int) -> tuple[str, str]:
    """How the process of a network ends, and what it says."""
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (gigabytes * 2 ** 30,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds,) * 2)

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--probe", name, folder]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", preexec_fn=limit,
                              env=os.environ | {"OMP_NUM_THREADS": "1"})
        text = Path(folder, "report.md").read_text(encoding="utf-8") if done.returncode == 0 else ""
    if "Traceback" in done.stderr:
        return "traceback", done.stderr.strip().splitlines()[-1]
    if done.returncode < 0:
        return "stopped", f"by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        return "refused", done.stderr.strip().splitlines()[-1].removeprefix("python -m posenc_lib: ")
    size = re.search(r"canvas of (\d+) pixels", text)[1]
    border = re.search(r"As built, .+?(?=\.( |$))", text, re.MULTILINE)[0]
    return "ran", f"{size} pixels; {border}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="FAMILY")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--gigabytes", type=int, default=8)
    parser.add_argument("--probe", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probe:
        sys.exit(probe(*args.probe))
    rows = [] if args.again or not TABLE.is_file() else list(csv.DictReader(TABLE.open(encoding="utf-8")))
    rows = [row for row in rows if row["family"] not in args.only]
    done = {row["family"] for row in rows}
    chosen = {family: names for family, names in families().items() if not args.only or family in args.only}
    for family, names in chosen.items():
        if family in done:
            continue
        name, parameters, size = smallest(names)
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        ended, what = outcome(name, args.seconds, args.gigabytes)
        seconds = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
        rows.append(dict(zip(COLUMNS, (family, name, parameters, size, ended, what, seconds), strict=True)))
        print(f"{family:42} {ended:10} {what}", flush=True)
        rows.sort(key=lambda row: row["family"])
        with TABLE.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    counts = Counter(row["outcome"] for row in rows)
    print(f"{len(rows)} families: {', '.join(f'{n} {ended}' for ended, n in counts.most_common())}")


if __name__ == "__main__":
    main()
