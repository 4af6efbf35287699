"""The same sweep of 12 small trainings: one process with one thread, one with two, two worker processes, and the limit.

    ./run_all.sh bench cluster [--steps 60] [--rounds 2] [--width 8]

Four padding modes and three seeds of GAPNet 3x3 on the embedded digits, by `records.run_or_load` as on a page.  Each
way has a process and a folder of its own; the ways take turns, `rounds` times, and the fastest of each counts,
because other programs on the machine can only slow one down.  The limit is two processes that know nothing of each
other, each with the whole sweep: two cores that share their cache and memory do less than twice as much.  Starting
two workers, with their imports, is listed separately: it happens once for a whole book.  Records are compared number by
number, without what says where and when they were made.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from posenc_lib.data import registry
from posenc_lib.measure import canvas
from posenc_lib.nets import classifiers
from posenc_lib.nets.padding import PADDING_MODES
from posenc_lib.run import cluster, records, training
from posenc_lib.run.config import Recipe, Workspace

GRID = 3
WAYS = {  # threads, cluster, how many processes do the sweep at once
    "1 process, 1 thread": ("1", "", 1), "1 process, 2 threads": ("2", "", 1),
    "local:2, 1 thread each": ("1", "local:2", 1), "limit: half of 2 sweeps": ("1", "", 2)}


@dataclass(frozen=True)
class Config:
    padding_mode: str
    width: int
    recipe: Recipe


def sweep(args: argparse.Namespace, out: str, where: str) -> None:
    """Prints the seconds that it took to start, and to run."""
    images = registry.load("digits", "", validation=0).train

    def loss(net, x, labels, draws):
        location = draws(torch.randint, GRID ** 2, labels.shape)
        return cross_entropy(net(canvas.place(x, location, GRID)), location)

    def run(c, seed, checkpoint):
        torch.manual_seed(seed)
        net = classifiers.gapnet(GRID ** 2, padding_mode=c.padding_mode, width=c.width)
        history = training.fit(net, images, loss, c.recipe, seed=seed, checkpoint=checkpoint)
        return {"loss": history[-1]["loss"], "weights": [p.detach().double().sum().item() for p in net.parameters()]}

    recipe = Recipe(epochs=1, epoch_steps=args.steps, flip=False)
    configs = [Config(mode, args.width, recipe) for mode in PADDING_MODES]
    begun = time.perf_counter()
    if where:   # imports, and whatever a first step sets up, on both at once
        first = Config("zeros", 2, Recipe(epochs=1, epoch_steps=1))
        list(cluster.dispatch(run, [(first, 0, None), (first, 1, None)], where, str))
    started = time.perf_counter()
    records.run_or_load("sweep", configs, run, seeds=range(3), workspace=Workspace("quick", out=out, cluster=where))
    print(json.dumps([started - begun, time.perf_counter() - started]))


def numbers(out: str) -> dict:
    """What the records of a sweep say: results by configuration and seed; every line must be one."""
    path = Path(out, "records", "quick", "sweep.jsonl")
    results, lines = {record.key: record.results for record in records.load(path)}, path.read_bytes().count(b"\n")
    assert len(results) == lines == 3 * len(PADDING_MODES), f"{lines} records of {len(results)} runs"
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 60), ("rounds", 2), ("width", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sweep", nargs=2, metavar=("OUT", "CLUSTER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sweep:
        return sweep(args, *args.sweep)

    seconds, made = {way: [] for way in WAYS}, {}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(args.rounds):
            for way, (threads, where, processes) in WAYS.items():
                outs = [f"{folder}/{n} {way} {i}" for i in range(processes)]
                started = [subprocess.Popen(
                    [sys.executable, __file__, *sys.argv[1:], "--sweep", out, where], stdout=subprocess.PIPE,
                    env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "POSENC_CLUSTER": ""})
                    for out in outs]
                outputs = [process.communicate()[0] for process in started]
                if any(process.returncode for process in started):
                    sys.exit(f"bench cluster: {way} failed, see above")
                start, ran = zip(*(json.loads(text.splitlines()[-1]) for text in outputs), strict=True)
                seconds[way].append((max(start), max(ran) / processes))
                made[way] = numbers(outs[-1])
    first = next(iter(WAYS))
    alone = min(ran for _, ran in seconds[first])
    print(f"12 runs of GAPNet {GRID}x{GRID}, width {args.width}, {args.steps} steps; best of {args.rounds} rounds; "
          f"torch {torch.__version__.split('+')[0]}, {cluster.CPU_COUNT} cores")
    for way, times in seconds.items():
        ran = min(ran for _, ran in times)
        apart = max(abs(made[way][key]["loss"] - made[first][key]["loss"]) for key in made[first])
        same = "the same records" if made[way] == made[first] else f"the same runs, losses apart by up to {apart:.0e}"
        start = f", started in {min(start for start, _ in times):.1f} s" if WAYS[way][1] else ""
        print(f"{way:24} {ran:7.1f} s   ratio {alone / ran:5.2f}   {same}{start}")


if __name__ == "__main__":
    main()
