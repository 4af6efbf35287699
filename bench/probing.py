"""An epoch of training heads on a frozen network: on latents that were computed once, against through the network.

    ./run_all.sh bench probing [--images 40] [--rounds 3] [--net small]

cached   `models.Heads` on kept pooled latents, as page 04 trains them
through  the same heads, the same canvases in the same batches, each batch run through the frozen network first, as
         one would without keeping anything

Both run in turn, `rounds` times, in one process; the fastest round of each counts.  What it takes to compute the
latents once is printed too, with the number of epochs after which it has paid.
"""
import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from posenc_lib.data import imageset, registry
from posenc_lib.experiments import encoders
from posenc_lib.measure import canvas, features
from posenc_lib.nets import heads as models
from posenc_lib.nets import pretrained
from posenc_lib.run import config, training

GRID = 3


def head_loss(heads, z, location, draws):
    logits = heads(z)
    return len(logits) * cross_entropy(logits.flatten(0, 1), location.repeat(len(logits)))


def seconds(samples, loss: Callable, heads, recipe: config.Recipe) -> float:
    ends: list[float] = []   # of two epochs; the first, with whatever is set up once, is not counted
    training.fit(heads, samples, loss, replace(recipe, epochs=2), seed=0,
                 evaluate=lambda net: ends.append(time.perf_counter()) or {})
    return ends[1] - ends[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--net", default="small", choices=("small", *pretrained.KNOWN))
    args = parser.parse_args()
    device = torch.device(config.device_type())
    encoder = encoders.build_encoder(
        encoders.EncoderConfig(net=args.net, width=64 if args.net == "small" else None), 0, ""
    )
    encoder.net.to(device)
    images = registry.load("digits", "", size=32, validation=0.0).train.take(slice(0, args.images))
    recipe = config.Recipe(epoch_steps=None, batch_size=90, flip=False)

    start = time.perf_counter()
    latents, location, number = features.pooled_latents(encoder, images, GRID)
    once = time.perf_counter() - start
    reads = list(torch.arange(sum(z.shape[1] for z in latents)).split([z.shape[1] for z in latents]))

    def through(heads, pairs, location, draws):   # pairs (batch, 2): image and cell
        pixels, _ = encoder.view(images).batch(pairs[:, 0].long().cpu())
        stages = encoder(canvas.place(pixels.to(device), pairs[:, 1].long(), GRID))
        return head_loss(heads, torch.cat([models.gap(f) for f in stages], 1), location, draws)

    def heads():
        return models.Heads(reads, ["none"] * len(reads), GRID ** 2)

    kept = imageset.Samples(torch.cat(latents, 1), location)
    pairs = imageset.Samples(torch.stack([number, location], 1), location)
    rounds = [(seconds(pairs, through, heads(), recipe), seconds(kept, head_loss, heads(), recipe))
              for _ in range(args.rounds)]
    slow, fast = (min(column) for column in zip(*rounds, strict=True))
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"heads on {len(reads)} stages of {args.net}, {len(location)} canvases of {GRID * 32} px, "
          f"batch {recipe.batch_size}; {name}, torch {torch.__version__.split('+')[0]}; best of {args.rounds} rounds")
    print(f"through {slow:8.3f} s an epoch")
    print(f"cached  {fast:8.3f} s an epoch, after {once:.2f} s once: paid back after {once / (slow - fast):.1f} epochs")
    print(f"ratio   {slow / fast:8.0f}")


if __name__ == "__main__":
    main()
