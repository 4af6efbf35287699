"""12 removals of channels scored in one pass over the pictures, against 12 full evaluations.

    ./run_all.sh bench sweep [--images 8] [--rounds 3] [--net deeplabv3] [--batch 8] [--scale 1]

full   with channels silenced by `hooks.ablated`, the whole network on every picture, anew for every removal
sweep  `region_attack.sweep`, as page 06 attacks its networks: up to the layer once a picture, the rest once a removal

The removals are 12 random sets of channels of the same layer, the scores the same counts by picture and zone, and both
must come out equal.  Both run in turn, `rounds` times, in one process; the fastest round of each counts.  deeplabv3 is
the authors' network, ResNet-50 at output stride 16; resnet18 is page 06's at `quick`, whose head is DeepLabv3+'s and
takes nearly half of the time, so that there is less to save.  --scale enlarges the pictures.

Weights are random, in channels last, as training leaves them, and batch normalisation has seen the first pictures:
without that, deeplabv3 would call every pixel the same whatever is removed, and there would be nothing to compare.
"""
import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from posenc_lib.data import imageset, registry
from posenc_lib.experiments import ablation, region_attack
from posenc_lib.measure import canvas, channels, metrics
from posenc_lib.nets import hooks, segmenters
from posenc_lib.run.config import device_type

REMOVALS = 12


def configuration(net: str) -> tuple[region_attack.SegmenterConfig, tuple[int, int]]:
    """A network, and the rows and columns of the pictures that page 06 shows its own."""
    size, settings = region_attack.preset("quick", "streets")
    c = region_attack.SegmenterConfig(
        profile="quick", dataset="streets", data="", **settings if net == "resnet18" else {}
    )
    return c, size


@torch.no_grad()
def network(c: region_attack.SegmenterConfig, images: imageset.ImageSet) -> segmenters.Segmenter:
    torch.manual_seed(0)
    net = region_attack.build(c, len(images.classes)).to(images.images.device, memory_format=torch.channels_last)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.ones_(norm.weight)   # timm starts those that end a block at 0
        norm.momentum = 1.0          # statistics of the one batch below
    net.train()(images.batch(torch.arange(min(8, len(images)), device=images.images.device))[0])
    return net.eval()


@torch.no_grad()
def full(net: segmenters.Segmenter, images: imageset.ImageSet, removals: Sequence[ablation.Ablation], layer: str,
         batch: int) -> Tensor:
    """What `region_attack.sweep` gives, from as many evaluations as there are removals."""
    zones = canvas.zones(*images.images.shape[-2:]).to(images.images.device)
    found = []
    for removal in removals:
        with hooks.ablated(net, f"backbone.{layer}", removal.channels):
            parts = []
            for index in torch.arange(len(images), device=images.images.device).split(batch):
                pixels, labels = images.batch(index)
                predictions = net(pixels).max(1).indices
                parts.append(
                    metrics.class_counts(metrics.confusion(predictions, labels, len(images.classes), zones)).int()
                )
        found.append(torch.cat(parts).cpu())
    return torch.stack(found)


def timed(evaluate, *args) -> tuple[float, Tensor]:
    start = time.perf_counter()
    counts = evaluate(*args)   # on the CPU, so a GPU has finished
    return time.perf_counter() - start, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--net", default="deeplabv3", choices=("deeplabv3", "resnet18"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--scale", type=int, default=1)
    args = parser.parse_args()
    device = torch.device(device_type())
    c, size = configuration(args.net)
    size = tuple(args.scale * side for side in size)
    images = registry.load("streets", "", size=size, validation=0.0).test.subsample(args.images).to(device)
    net = network(c, images)
    with torch.no_grad():
        total = net.features(images.batch(torch.arange(1, device=device))[0], c.layer)[0].shape[1]
    removals = [ablation.Ablation(chosen.to(device))
                for chosen in channels.random_sets(total, round(c.fractions[1] * total), REMOVALS, 0)]

    def sweep(net, images, removals, layer, batch):
        return region_attack.sweep(net, images, removals, layer=layer, batch=batch)

    slow, fast = [], []
    for _ in range(args.rounds):
        seconds, wanted = timed(full, net, images, removals, c.layer, args.batch)
        slow.append(seconds)
        seconds, counts = timed(sweep, net, images, removals, c.layer, args.batch)
        fast.append(seconds)
    difference = int((counts - wanted).abs().max())
    unlike = len({tuple(count.flatten().tolist()) for count in counts})
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{REMOVALS} removals of {len(removals[0].channels)} of {total} channels of {c.layer}, {args.net}, "
          f"{len(images)} pictures of {size[0]}x{size[1]} px, batch {args.batch}; {name}, torch "
          f"{torch.__version__.split('+')[0]}; best of {args.rounds} rounds")
    print(f"counts  largest difference {difference} pixels; {unlike} of {REMOVALS} ablations differ")
    print(f"full    {min(slow):8.3f} s")
    print(f"sweep   {min(fast):8.3f} s")
    print(f"ratio   {min(slow) / min(fast):8.2f}")
    if difference:
        raise SystemExit("sweep: the counts of the two differ")


if __name__ == "__main__":
    main()
