# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Switch off the channels that know left: does only the left suffer?
#
# :::{admonition} The puzzle
# :class: puzzle
# Mirror a street, and some of a network's averaged channels change. They must know left from right, so switch them off: the segmentation falls apart, much more than after
# switching off as many at random. So position matters.
#
# But which channels change most when anything at all is done to the picture? The loudest. And which are missed most?
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # streets (embedded) | camvid | cityscapes; "" is the profile's
network = ""          # resnet18 | resnet34 | resnet50: DeepLabv3 as the authors'; torchvision: its ResNet-50; small: 15 small ResNet-18s, in `paper`; "" is the profile's
checkpoint = ""       # a trained network of that kind (state dict, .pt or .safetensors), attacked instead of training one
backbone = ""         # random | imagenet: what training starts from; "" is the profile's
layer = ""            # whose channels are ranked and removed: layer1 ... layer4; "" is layer4
released = ""         # position_attack/targeted_neurons/deeplabv3_resnet50 of a clone of the authors' code
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %%
import json
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from posenc_lib.base import checks
from posenc_lib.claims import region_attack as paper
from posenc_lib.data import imageset
from posenc_lib.experiments import ablation, region_attack
from posenc_lib.measure import canvas, channels, metrics
from posenc_lib.nets import pretrained, segmenters
from posenc_lib.nets.classifiers import ResNet18
from posenc_lib.nets.heads import gap
from posenc_lib.nets.hooks import ablated
from posenc_lib.run import config, inputs, records
from posenc_lib.run.training import fit
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import page, style

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or ("camvid" if profile == "paper" else "streets")
preset = region_attack.preset(profile, dataset, network)
size, n_seeds = preset.pop("size"), preset.pop("seeds", config.SEEDS[profile])
splits = inputs.load_for(workspace, dataset, size=size, validation=0.0)   # nothing is chosen on this page
train, test = splits.train, splits.test
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# {cite:t}`islam2021global`, Sec. 4.2 and supplement S3. The public text prints no number of these experiments: they are in figures only. The rules below were written before the runs.

# %%
claims = (paper.CHANNELS_OVERALL, paper.CHANNELS_REGION)
page.claim_box(*claims)

# %% [markdown]
# ## By hand: the flip response
#
# The paper ranks channels by how much their average changes when the picture $x$ is mirrored to $\overleftarrow{x}$ (Eq. 2), $z_c$ being the {term}`pooled latent` of channel $c$:
#
# $$ r_c = \frac{1}{N} \sum_{n} \big| z_c(x_n) - z_c(\overleftarrow{x}_n) \big| . $$
#
# This is the {term}`flip response`. For a {term}`region` the released code leaves the bars out: channels with a large *signed* change are "left".
#
# :::{admonition} A guess to make
# :class: guess
# A picture is one row, `0 1 2 3 0 1 2 3`. Three channels look at it: one averages the brightness; one multiplies it by the column, so it knows where things are; and one marks every place where
# the next pixel is brighter by more than 2, looking around the edge (circular padding), so that it *cannot* know where anything is. Which have a flip response of 0?
# :::

# %%
row = torch.tensor([[[[0.0, 1, 2, 3, 0, 1, 2, 3]]]])                  # (batch, rgb, row, col)


def three(x):                                                         # -> z (batch, channel)
    bright, column, steep = x, x * torch.arange(8.0), (x.roll(-1, -1) - x > 2).float()
    return torch.cat([bright, column, steep], 1).mean((-2, -1))


by_hand = (three(row) - three(row.flip(-1))).abs()[0]
print("z", three(row)[0].tolist(), "· mirrored", three(row.flip(-1))[0].tolist(), "· flip response", by_hand.tolist())
assert torch.equal(channels.mean_response(three, [row]), by_hand.double())
print("shift response", channels.mean_response(three, [row], channels.roll_half_width).tolist())

# %% [markdown]
# The third channel has no position and yet a flip response: steps up become steps down. The flip response is one for *orientation* as well. A cleaner question is to
# move the picture instead of mirroring it: here by half its width, around the edge (`channels.roll_half_width`). Nothing is turned over, and a network that cannot know the column has a {term}`shift response` of exactly 0.
#
# How much of the flip response is in the kernels, and how much in the sampling? Make every kernel its own mirror image, and the response of a network should be 0.
#
# :::{admonition} Another guess
# :class: guess
# It is, for a picture 129 pixels wide. And for one of 128, or for Cityscapes' 2048?
# :::

# %%
def symmetrised(net):
    """The same network, every kernel averaged with its mirror image."""
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.data = (conv.weight.data + conv.weight.data.flip(-1)) / 2
    return net


torch.manual_seed(0)
mirrored = symmetrised(ResNet18(4)).eval()
for width in (129, 128):
    pictures = torch.randn(4, 3, 65, width)
    r = channels.mean_response(lambda x: gap(mirrored.features(x)), pictures.split(3))
    torch.testing.assert_close(r, channels.mean_response(lambda x: gap(mirrored.features(x)), pictures.split(1)))
    print(f"{width} columns: largest flip response {r.max():.1e}, mean activation {gap(mirrored.features(pictures)).mean():.2f}")

# %% [markdown]
# A stride of 2 keeps columns 0, 2, 4 … Of an odd number of columns that choice is symmetric; of an even number it is not, and zero padding then stands on one side of it {cite:p}`alsallakh2021mind`. So even the most symmetric
# network tells left from right by its sampling, at every size that is usual. We will see what that does to the trained one.
#
# ## Build it
#
# **The network.** DeepLabv3 {cite:p}`chen2017rethinking`: a ResNet whose last map *f* is read by ASPP, a pyramid of dilated convolutions, and enlarged to the picture. The attack sets channels of *f* to zero
# (`hooks.ablated`). The network has to run up to *f* only once per picture, however many sets of channels are tried.
#
# **The score** is {term}`mean IoU`. Its counts add up over pictures and over eight zones of the picture, so every region's score, and every bootstrap over pictures, comes from the same counts (`segmentation.sweep`).

# %%
c = region_attack.SegmenterConfig(profile=profile, dataset=dataset, data=splits.fingerprint, **preset, layer=layer or "layer4")
if checkpoint:                                                        # what is wrong with it is said at once
    segmenters.load_checkpoint(region_attack.build(c, len(train.classes)), checkpoint)
theirs = pd.DataFrame(channels.compare_released_lists(released)) if released else paper.RELEASED
net = region_attack.build(replace(c, width=4, head=8, net="resnet18", weights=""), len(train.classes)).eval()
images, labels = test.batch(torch.arange(4))
gone = ablation.Ablation(torch.tensor([3, 17, 5]))
with torch.no_grad(), ablated(net, "backbone.layer4", gone.channels):
    told = net(images).argmax(1)


def iou_by_hand(predicted, truth):
    iou = [((predicted == k) & (truth == k)).sum() / (((predicted == k) | (truth == k)) & (truth != imageset.VOID)).sum()
           for k in truth[truth != imageset.VOID].unique()]
    return float(np.mean(iou))


half = size[1] // 2
counts = region_attack.sweep(net, test.take(slice(0, 4)), [ablation.Ablation(gone.channels[:0]), gone])
print(tuple(counts.shape), "(removal, picture, zone, [both, labelled, predicted], class)")
np.testing.assert_allclose(region_attack.region_iou(counts, "left")[1, 0], iou_by_hand(told[..., :half], labels[..., :half]))
assert torch.equal(sum(counts[:, :, list(canvas.REGIONS[side])].sum(2) for side in ("left", "right")), counts.sum(2))

# %% [markdown]
# ## The experiment
#
# **Ranked on training pictures, attacked on test pictures.** At each share of the channels that is removed: those of highest flip response; of highest shift response; those whose cell page 03's canvas tells best
# ({term}`place field`; *decodability* in the tables); the *strongest* (largest root mean square); those of *lowest* flip response; and the first again, set to their mean instead of zero. Beside them, 20 random sets, and 20 of
# *matched* strength: as many channels from each tenth of the order of strength as the flip-ranked set has (*random, as strong*).
#
# **Regions.** Signed responses rank channels for left and right (mirrored), top and bottom (turned upside down), centre and periphery (moved by half the width, which exchanges the two). {term}`Specificity <specificity>` is an interaction: what the region
# loses minus what the rest loses, minus the same for random sets. Damage everywhere gives 0.
#
# **Deviations from the paper**
#
# * **Data.** Cityscapes cannot be redistributed. `quick` draws its own streets, in Cityscapes' classes; CamVid (`-p dataset camvid`, {cite:p}`brostow2009semantic`) and Cityscapes (`-p dataset cityscapes`, {cite:p}`cordts2016cityscapes`, at half its size, to fit into memory) are read where they lie.
# * **Network.** DeepLabv3 on a ResNet-50, output stride 16, is what `paper` trains. `quick` trains a ResNet-18 of few channels, of the same stride, from nothing, with the skip of DeepLabv3+ for thin things (one of the networks of the released code) and
#   rare classes weighed up, by AdamW and without colour jitter. `paper` has the released flags: SGD at 0.1, a tenth of it for the backbone, momentum 0.9, weight decay 1e-4, poly 0.9, jitter 0.5; the backbone starts from ImageNet.
# * **Schedule.** The released 30,000 steps of 16 pictures are 161 passes over Cityscapes' 2,975 training pictures, and `paper` keeps them there. Over CamVid's 367 they would be 1,308 passes; `paper` makes 200 of them, 4,600 steps, with the rates
#   falling to 0 in the same way: no fewer passes than the released flags make over their own set.
# * **Fifteen networks.** `./run_all.sh --profile paper --only 06 --data DIR -p network small` trains small ResNet-18s from nothing on CamVid at 120×160 pixels, 100 passes each, for an interval over networks that can carry a verdict; the paper has one large network.
# * **Ranking** in the released code uses the very pictures the attack is scored on. Here it does not.
# * **How many.** The script removes 100 of 2048 channels; a folder's name hints at 300. Here the same shares of the layer, and 1000 of 2048.
# * **One random set**, commented out, is what the released code has; here there are 20. And one network; here there are several, of the controls two, on streets one.

# %% tags=["hide-input"]
weight = region_attack.class_weights(train, c.balance)
BATCH = max(1, 2 ** (18 if workspace.device.type == "cpu" else 21) // (size[0] * size[1]))


def seen(part, n, width=None):
    """Batches of n pictures, on the device; resized to `width` columns."""
    part = part.subsample(n).to(workspace.device)
    for index in torch.arange(len(part), device=workspace.device).split(BATCH):
        pictures = part.batch(index)[0]
        yield pictures if width is None else nn.functional.interpolate(pictures, (size[0], width), mode="bilinear")


def latent(net, layer, pictures):
    return gap(net.features(pictures, layer)[0])


def made(c, seed, file):
    """The trained network: the user's own, or one trained here."""
    torch.manual_seed(seed)
    net = region_attack.build(c, len(train.classes))
    if checkpoint:
        return segmenters.load_checkpoint(net, checkpoint).to(workspace.device), {}
    if c.weights == "imagenet":
        segmenters.from_imagenet(net, c.net, workspace.data)
    there = train.to(workspace.device)
    loss = partial(region_attack.objective, c, there, weight.to(workspace.device))
    return net, fit(net, there, loss, c.recipe, seed=seed, checkpoint=file)[-1]


# %% tags=["hide-input"]
SHARE = c.shares[1]     # 300 of 2048: regions are removed from here on, and pictures shown at it


def planned(c, rank, seed):
    """What is removed: labels, and the removal."""
    total, none = len(rank.mean), torch.tensor([], dtype=torch.long)
    yield {"kind": "nothing", "share": 0.0}, ablation.Ablation(none)
    for share in c.shares:
        at = {"share": share, "n": round(share * total)}
        sets = rank.sets(at["n"], c.draws, seed)
        flip = sets["flip"][0]
        for kind, drawn in sets.items():
            yield from (({"kind": kind, **at}, ablation.Ablation(chosen)) for chosen in drawn)
        yield {"kind": "flip, mean", **at}, ablation.Ablation(flip, rank.mean)
        for region in canvas.REGIONS if share >= SHARE else ():
            for kind, ranks in (("signed", rank.signed), ("active", rank.active)):
                yield {"kind": kind, **at, "region": region}, ablation.Ablation(channels.top_channels(ranks[region], at["n"]))
            yield {"kind": "only there", **at, "region": region}, ablation.Ablation(flip, None, region)


def between(values):
    """Points on the test set itself (the first value), and the 95 % interval of its bootstrap over pictures."""
    low, high = values[1:].quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return {"value": 100 * values[0].item(), "low": 100 * low, "high": 100 * high}


# %% tags=["hide-input"]
OPPOSITE = {"left": "right", "top": "bottom", "centre": "periphery"}
OPPOSITE |= {rest: region for region, rest in OPPOSITE.items()}


def attacked(c, net, rank, seed):
    """Mean IoU of every removal, by region; what a ranking costs beyond random sets; how specific a region's is."""
    tags, removals = zip(*planned(c, rank, seed), strict=True)
    tags, tried = pd.DataFrame(tags), test.subsample(c.test_images).to(workspace.device)
    counts = region_attack.sweep(net, tried, removals, layer=c.layer, batch=BATCH)
    weights = torch.cat([torch.ones(1, len(tried)), metrics.bootstrap(len(tried), 500, seed)])   # first, the test set
    iou = {region: region_attack.region_iou(counts, region, weights=weights) for region in ("", *canvas.REGIONS)}
    table = tags.assign(**{region or "miou": 100 * values[:, 0] for region, values in iou.items()})

    def lost(rows, region=""):         # mean over draws, (1 + draws of the bootstrap,)
        return iou[region][0] - iou[region][rows].mean(0)

    where = tags.groupby(["kind", "share"]).indices
    gaps = [{"kind": kind, "against": other, "share": share, **between(lost(where[kind, share]) - lost(where[other, share]))}
            for kind in rank.rules for other in ("random", "rms_matched") for share in c.shares]
    specific = []
    for at, tag in (tags.dropna(subset="region") if "region" in tags else tags[:0]).iterrows():
        inside, rest, usual = tag["region"], OPPOSITE[tag["region"]], where["random", tag["share"]]
        both = lost([at], inside) - lost([at], rest)
        specific.append({**tag, **between(both - (lost(usual, inside) - lost(usual, rest)))})
    return table, gaps, specific, counts


# %% tags=["hide-input"]
def compared(c, rank):
    """How far the rankings agree: Spearman's correlation, and shared channels at the second share."""
    n = max(1, round(SHARE * len(rank.mean)))
    pairs = {**rank.rules, **{f"signed, {region}": s for region, s in rank.signed.items() if region in ("left", "right")}}
    agree = [{"first": a, "second": b, "spearman": channels.rank_correlation(x, y),
              "shared": channels.overlap(channels.top_channels(x, n), channels.top_channels(y, n))} for a, x in pairs.items() for b, y in pairs.items()]
    weights = metrics.bootstrap(len(rank.flips), 200)
    kept = channels.stability(rank.flips, n, weights).double()
    return {"agree": agree, "listed": n, "stability": {"mean": float(kept.mean()), "low": float(kept.quantile(0.025)), "high": float(kept.quantile(0.975))}}


@torch.no_grad()
def mirrors(c, net):
    """Mean flip response over mean activation, as wide as it is and one column wider, kernels as trained and symmetrised."""
    found, responses = [], []
    for kernels, network in (("as trained", net), ("symmetrised", symmetrised(deepcopy(net)))):
        for width in (size[1], size[1] + 1):
            encode = partial(latent, network, c.layer)
            z = torch.cat([encode(pictures) for pictures in seen(train, 40, width)])
            responses.append(channels.mean_response(encode, seen(train, 40, width)))
            found.append({"kernels": kernels, "columns": width, "response": float(responses[-1].mean() / z.mean())})
    return {"mirrors": found, "even_odd": channels.rank_correlation(*responses[:2])}


# %% tags=["hide-input"]
@torch.no_grad()
def examples(c, net, rank):
    """What is told of three test pictures: whole, without the largest share of flip-ranked channels, without as many at
    random; and of the first with more and more channels gone, flip-ranked and at random."""
    number = torch.arange(3) * len(test) // 3 + len(test) // 6
    f, low = net.features(test.take(number).to(workspace.device).batch(torch.arange(3, device=workspace.device))[0], c.layer)

    def told(chosen, rows=slice(None)):
        gone = ablation.Ablation(chosen)
        return records.pack(net.decode(gone(f[rows]), None if low is None else low[rows], size, c.layer).max(1).indices)

    total, flip = len(rank.mean), rank.rules["flip"]
    at_random = channels.random_sets(total, total, 1, 0)[0]
    n = round(c.shares[-1] * total)
    steps = sorted({round(total * k / 12) for k in range(9)})
    return {"number": number.tolist(), "nothing": told(at_random[:0]), "flip": told(channels.top_channels(flip, n)), "random": told(at_random[:n]),
            "steps": {k: told(channels.top_channels(flip, k), slice(0, 1)) + told(at_random[:k], slice(0, 1)) for k in steps}}


@cache
def ready():
    """Raise now what is wrong with the backbone's weights."""
    if plain.weights == "imagenet":
        segmenters.from_imagenet(region_attack.build(plain, len(train.classes)), plain.net, workspace.data)


# %%
def run(c, seed, file):
    net, told = made(c, seed, file)
    rank = channels.rank(lambda pictures: net.features(pictures, c.layer)[0], lambda: seen(train, c.rank_images))
    table, gaps, specific, counts = attacked(c, net, rank, seed)
    whole = counts[0].sum((0, 1))                                     # nothing removed: (3, class)
    iou = [None if value != value else value for value in metrics.class_iou(whole).tolist()]
    rows = json.loads(table.to_json(orient="records", double_precision=4))
    return {"miou": table["miou"][0] / 100, "accuracy": float(whole[0].sum() / whole[1].sum()), "iou": iou, "loss": told.get("loss"),
            "channels": len(rank.mean), "shift_over_flip": float(rank.rules["shift"].mean() / rank.rules["flip"].mean()),
            "rows": rows, "gaps": gaps, "specific": specific, **compared(c, rank),
            **({**mirrors(c, net), **examples(c, net, rank)} if seed == 0 else {})}

# %%
start = {"": c.weights, "random": "", "imagenet": "imagenet"}[checks.check_choice("backbone", backbone, ("", "random", "imagenet"))]
plain = replace(c, weights=pretrained.fingerprint("", "", checkpoint) if checkpoint else start)
if steps:
    plain = replace(plain, recipe=replace(c.recipe, epoch_steps=-(-steps // c.recipe.epochs)))
light = {"draws": min(5, plain.draws), "shares": plain.shares[1:]}
kinds = {"plain": plain}
given = {"circular padding": {"padding_mode": "circular"}, "never mirrored": {"mirrored": False},
         **({"without the skip": {"plus": False}} if plain.plus and dataset != "streets" else {})}   # streets would take too long
kinds |= {} if checkpoint else {kind: replace(plain, **light, **what) for kind, what in given.items()}
seeds = range(1 if checkpoint else seeds or n_seeds)
few = seeds[:1 if dataset == "streets" else 2]                        # for the controls
abreast = 4 if plain.width else 1                                      # small networks leave room on a GPU
runs = records.run_or_load("region_attack", list(kinds.values()), run, seeds=few, workspace=workspace, side_by_side=abreast, before=ready)
runs += records.run_or_load("region_attack", [plain], run, seeds=seeds[len(few):], workspace=workspace, side_by_side=abreast, before=ready,
                            optional=True)
records.complete_seeds(runs, list(kinds.values()))                             # one seed of each at least
runs.sort(key=lambda r: ([config.digest(c) for c in kinds.values()].index(r.digest), r.seed))
seeds = [r.seed for r in runs if r.digest == config.digest(plain)]

# %%
where = {config.digest(c): kind for kind, c in kinds.items()}
base = [r for r in runs if where[r.digest] == "plain"]
told = f"mean and 95 % interval (Student's t) over n = {len(seeds)} seeds" if len(seeds) > 1 else "one network"
total = base[0].results["channels"]
schedule = Path(checkpoint).name if checkpoint else f"{plain.recipe.epochs * (plain.recipe.epoch_steps or 0)} steps of {plain.recipe.batch_size}"
what = f"{dataset}, {size[0]}×{size[1]} pixels, {schedule}, {total} channels, {plain.test_images or ('all' if isinstance(splits, imageset.StandIn) else len(test))} test pictures"


def gathered(of, name):
    """The rows that every run has under `name`, with its kind and seed."""
    return pd.concat([pd.DataFrame(r.results[name]).assign(network=where[r.digest], seed=r.seed) for r in of], ignore_index=True)


rows, gaps, specific = (gathered(runs, name) for name in ("rows", "gaps", "specific"))
scores = rows[rows["kind"] == "nothing"]
scores = pd.concat([records.summarise(scores.rename(columns={column: "value"}), ["network"], "value").assign(region=column)
                    for column in ("miou", *canvas.REGIONS)])
whole = scores[scores["region"] == "miou"].set_index("network")
wide = scores.pivot(index="network", columns="region", values="mean").loc[list(kinds), ["miou", *canvas.REGIONS]].reset_index()
wide.insert(1, "n", whole["n"].loc[wide["network"]].to_numpy())
wide.insert(3, "95 %", ["–" if low != low else f"[{low:.1f}, {high:.1f}]" for low, high in whole.loc[wide["network"], ["low", "high"]].to_numpy()])
wide["pixels right"] = [100 * np.mean([r.results["accuracy"] for r in runs if where[r.digest] == kind]) for kind in wide["network"]]
page.table(wide.rename(columns={"miou": "whole picture"}), "06_base", f"""Mean IoU (%) with nothing removed, over the classes labelled in the whole picture and in each region, and the
           share of pixels told right ({what}); {told}.""", workspace=workspace)

# %% [markdown]
# ## What came out
#
# First a look at what is scored: a test picture, its label map, what the network makes of it, and what is left of that without the flip-ranked channels, or without as many at random.

# %%
records.require_data(splits)
colours = figures.class_colours(test.classes)
shown = base[0].results
most = round(100 * plain.shares[-1])
pictures = {}
for at, number in enumerate(shown["number"]):
    maps = {name: records.unpack(shown[key][at]) for name, key in (("prediction", "nothing"), (f"without {most} %,\nflip-ranked", "flip"),
                                                             (f"without {most} %,\nrandom", "random"))}
    changed = np.where(maps["prediction"] != list(maps.values())[1], 1.0, 0.15)[..., None] * colours[list(maps.values())[1]]
    pictures[f"{number}"] = {"picture": test.images[number].permute(1, 2, 0).numpy() / 255, "label": colours[test.labels[number].numpy()],
                             **{name: colours[m] for name, m in maps.items()}, "changed by\nflip-ranked": changed}
fig = figures.picture_grid(pictures)
figures.class_legend(fig, test.classes, test.labels[test.labels != imageset.VOID].unique().tolist())
for ax, left in ((ax, left) for ax in fig.axes[5::6] for left in (0, 3 * size[1] / 4)):       # the periphery
    ax.add_patch(plt.Rectangle((left - 0.5, -0.5), size[1] / 4, size[0], fill=False, edgecolor="white", linewidth=1, linestyle="--"))
page.show(fig, "06_examples", f"""Test pictures by number, their labels, and what the network tells with all channels, without the {most} % of highest flip response, and without as many
          random ones (seed 0). Last: the pixels whose class changed with the flip-ranked removal, in the colour of what is told then; dashed: the periphery.""",
          "Rows of street pictures with label maps and predictions.", workspace=workspace)

space = np.ones((size[0], 2, 3))
label = colours[test.labels[shown["number"][0]].numpy()]
frames = {f"{n} of {total} channels removed": np.concatenate(
    [label, space, colours[records.unpack(flip)], space, colours[records.unpack(drawn)]], 1)
          for n, (flip, drawn) in shown["steps"].items()}
page.explorer(frames, f"Picture {shown['number'][0]}. Left: label. Middle: without the N channels of highest flip response. Right: without N at random. Move the slider.")

# %% [markdown]
# **More and more channels.** *What to look for:* the paper's claim is the gap between the flip-ranked line and the random one. Then look for the matched sets and the strongest channels, which know nothing of mirrors. If rankings
# found the channels that know position, they would also agree with each other.

# %%
KINDS = {"flip": "flip-ranked", "flip, mean": "flip-ranked, set to mean", "rms_activation": "strongest", "random": "random", "rms_matched": "random, as strong", "lowest_flip": "lowest flip response"}
per_seed = rows[rows["network"] == "plain"].groupby(["kind", "share", "seed"], as_index=False)["miou"].mean()
nothing = per_seed[per_seed["kind"] == "nothing"]
per_seed = pd.concat([per_seed[per_seed["kind"].isin(KINDS)], *(nothing.assign(kind=kind) for kind in KINDS)])
per_seed["lost"] = per_seed["seed"].map(nothing.set_index("seed")["miou"]) - per_seed["miou"]     # network by network
curve = records.summarise(per_seed, ["kind", "share"], "lost").assign(percent=lambda f: 100 * f["share"])
curve["kind"] = pd.Categorical(curve["kind"].replace(KINDS), list(KINDS.values()))
curve = curve.sort_values(["kind", "share"]).astype({"kind": str})
fig, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
show_figures.curves(curve, "percent", "kind", ax).set(xlabel="channels removed (%)", ylabel="lost (points of mean IoU)")
ax.axhline(0, **style.CHANCE)
ax.set_xticks([0, *(100 * np.array(plain.shares))], ["0", *(f"{100 * share:.0f}" for share in plain.shares)])
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "06_removal", f"Mean IoU lost against the share of channels removed, by how they were chosen ({what}); {told}; random sets: mean of {plain.draws}.",
          "Points of mean IoU lost as channels are removed, one line a way to choose them.", workspace=workspace, data=curve)

# %%
beyond = records.summarise(gaps, ["network", "kind", "against", "share"], "value")
one = gaps[(gaps["network"] == "plain") & (gaps["seed"] == 0)].set_index(["kind", "against", "share"])
mine = beyond[beyond["network"] == "plain"].drop(columns="network").copy()
mine["bootstrap"] = [f"{one.loc[key, 'value']:+.1f} [{one.loc[key, 'low']:+.1f}, {one.loc[key, 'high']:+.1f}]"
                     for key in zip(mine["kind"], mine["against"], mine["share"], strict=True)]
mine["share"] = (100 * mine["share"]).round(1)
named = {"flip": "flip response", "shift": "shift response", "rms_matched": "random, as strong"}
page.table(mine.replace({"kind": named, "against": named}).rename(columns={"kind": "ranked by", "against": "beyond", "share": "removed (%)", "mean": "points", "low": "95 % low", "high": "95 % high",
                                "bootstrap": "seed 0, interval over pictures"}), "06_gaps",
           f"""Points of mean IoU that a ranking loses beyond random sets of as many channels, and beyond random sets as strong ({what}); {told}. Last column: one network,
           95 % interval of a bootstrap over test pictures.""", workspace=workspace)
costly = curve[curve["share"] == curve["share"].max()].set_index("kind")["mean"]
print(f"Of all ways to remove {most} %, '{costly.idxmax()}' costs most on average over the networks: {costly.max():.1f} points. Flip-ranked {costly['flip-ranked']:.1f}, "
      f"random, as strong {costly['random, as strong']:.1f}, random {costly['random']:.1f}.")

# %%
agree = gathered(base, "agree").groupby(["first", "second"], sort=False)[["spearman", "shared"]].mean().unstack()
names = list(dict.fromkeys(gathered(base, "agree")["first"]))
listed = base[0].results["listed"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for ax, column, title, spread in ((axes[0], "spearman", "Spearman's rank correlation", (-1, 1)),
                                  (axes[1], "shared", f"shared among the first {listed} (chance {listed ** 2 / total:.1f})", (0, listed))):
    show_figures.agreement_matrix(agree[column].loc[names, names], ax, *spread).set(title=title)
page.show(fig, "06_rankings", f"How far rankings of the same {total} channels agree; means over n = {len(seeds)} networks ({dataset}).",
          "Two heat maps: rank correlation and number of shared channels of six rankings.", workspace=workspace)
steady = pd.DataFrame([r.results["stability"] for r in base])
print(f"Of the {listed} channels of highest flip response, {steady['mean'].mean():.0%} stay among them when the pictures are drawn anew "
      f"(95 % of draws: {steady['low'].min():.0%} to {steady['high'].max():.0%}).")

# %% [markdown]
# **Left and right.** By the released rule the *right* list is the *left* one read from the end: the signed response to a mirror only changes its sign. Two lists made by it share nothing at the top and have a Spearman correlation of −1, here as anywhere.
# The rankings that the authors released have neither.

# %%
signed = torch.randn(2048, generator=torch.Generator().manual_seed(0)).double()       # any response will do
left, right = (channels.top_channels(sign * signed, 2048) for sign in (1, -1))
rule = {"first": "left", "second": "right", **{f"shared of {n}": channels.overlap(left[:n], right[:n]) for n in (100, 300)},
        "spearman": channels.rank_correlation(left.argsort(), right.argsort())}
chance = {"first": "random", "second": "random", "shared of 100": 100 ** 2 / 2048, "shared of 300": 300 ** 2 / 2048, "spearman": 0.0}
compared_lists = pd.concat([pd.DataFrame([rule]).assign(source="what the released rule implies"), theirs.assign(source="the released lists"),
                            pd.DataFrame([chance]).assign(source="two random lists")])
page.table(compared_lists[["source", *rule]], "06_released", "Rankings of 2,048 channels: what the released rule implies, and what the released lists are.",
           workspace=workspace, digits=2)

# %% [markdown]
# So those lists were made by another rule, or from other pictures for each side, and what exactly the paper's region attack removed cannot be known from its code.
#
# **Is the damage where it should be?** *What to look for:* circles above 0 would mean that channels ranked for a region are missed more inside it. Squares rank by where a channel fires, with no mirror at all. The triangles are a positive control: the flip-ranked channels
# removed *only there*, which has to be specific, and shows how large specificity can be.

# %%
OF = {"signed": "ranked by signed response", "active": "ranked by where it fires", "only there": "flip-ranked, removed only there"}
regional = records.summarise(specific, ["network", "kind", "region", "share"], "value")
regional["said"] = regional["kind"].replace(OF)
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True, layout="constrained")
for ax, share in zip(axes, plain.shares[1:], strict=True):
    drawn = regional[(regional["network"] == "plain") & (regional["share"] == share)]
    show_figures.dots_by_group(drawn, "region", "said", ax, floor=-100)
    ax.set(title=f"{100 * share:.0f} % of the channels removed", ylabel="specificity (points of mean IoU)" if share == SHARE else "")
    ax.get_legend().remove()
fig.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
page.show(fig, "06_regions", f"Specificity: what a region loses minus what the rest loses, beyond random sets ({what}); {told}. 0 is damage everywhere.",
          "Dots of specificity for six regions, three kinds of removal.", workspace=workspace, data=regional)
within = specific[(specific["network"] == "plain") & (specific["kind"] == "signed") & (specific["share"] == SHARE)]
page.table(within.astype({"n": int})[["region", "seed", "n", "value", "low", "high"]].sort_values(["region", "seed"]).rename(columns={"n": "channels", "value": "specificity", "low": "95 % low", "high": "95 % high"}),
           "06_specificity", f"""Specificity of each network's signed rankings at {100 * SHARE:.0f} % of the channels, in points, with the 95 % interval of a bootstrap over test
           pictures ({what}).""", workspace=workspace)
for kind, rows_of in regional[regional["network"] == "plain"].groupby("kind", sort=False):
    print(f"{OF[kind]}: of {len(rows_of)} intervals over networks, {(rows_of['low'] > 0).sum()} lie above 0 and {(rows_of['high'] < 0).sum()} below")

# %% [markdown]
# ## Controls that could overturn the reading
#
# :::{admonition} Is it position that was removed?
# :class: control
# **As strong:** {numref}`tab-06_gaps` has what the flip-ranked set costs beyond random sets of the same strength; if nothing is left there, loudness is enough. **Circular padding:** a network that cannot know the column has channels of high flip response too. If removing *those* hurts as much, the damage says nothing about position. **Never mirrored:** training that mirrors
# half of its pictures makes left and right alike, and leaves a left list nothing to find; without it, left and right really differ (in right-hand traffic). **Only there:** {numref}`fig-06_regions` has a removal that is local for certain; a measure that does not see that one cannot find a side either. **Odd width:** is the ranking one of the sampling?
# :::

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
single = pd.concat([gaps[gaps["kind"] == "flip"], specific[(specific["kind"] == "signed") & specific["region"].isin(["left", "right"])]])
single = single[single["share"] == SHARE].rename(columns={"value": "mean"}).assign(one=lambda f: f["network"] + " " + f["seed"].astype(str))
single["against"] = "beyond " + single["against"].replace("rms_matched", "random, as strong")
single = single.sort_values(["network", "seed"], key=lambda f: f.map(list(kinds).index) if f.name == "network" else f)
for ax, kind in zip(axes, ("against", "region"), strict=True):
    show_figures.dots_by_group(single.dropna(subset=kind), "one", kind, ax, floor=-100)
axes[0].set(ylabel="lost (points of mean IoU)", title=f"the flip-ranked {100 * SHARE:.0f} %")
axes[1].set(ylabel="specificity (points of mean IoU)", title="ranked by signed response")
page.show(fig, "06_controls", f"""The same attack on networks with circular padding, and on networks trained without mirrored pictures, each by its seed ({what}); here the 95 % interval is
          that of a bootstrap over test pictures, for one network.""",
          "Dots of the loss beyond random sets, and of left and right specificity, one network each.", workspace=workspace, data=single)
mirrored = pd.concat([pd.DataFrame(r.results["mirrors"]).assign(network=where[r.digest]) for r in runs if "mirrors" in r.results])
page.table(mirrored[["network", "kernels", "columns", "response"]], "06_mirrors", """Mean flip response over mean activation, on 40 training pictures as wide as they are and one column wider
           (seed 0): with the kernels as they were trained, and with each averaged with its mirror image.""", workspace=workspace, digits=3)
for r in runs:
    if "even_odd" in r.results:
        print(f"{where[r.digest]}: Spearman of the flip response at {size[1]} and at {size[1] + 1} columns {r.results['even_odd']:+.2f}; mean shift response over mean flip "
              f"response {r.results['shift_over_flip']:.2g}")

# %% [markdown]
# ## Against the paper

# %%
judged = pd.concat([beyond, regional]).query("network == 'plain'")
others = pd.concat([gaps, specific]).query("network != 'plain'").rename(columns={"value": "mean"}).assign(n=1)   # each by itself
page.against_paper({claim: claim.verdict(judged) for claim in claims}, {claim: claim.control_outcome(pd.concat([judged, others])) for claim in claims},
                   "06_against_paper", f"{what}, n = {len(seeds)} seeds", workspace=workspace)
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What it means, and what it does not
#
# * **Look at several networks.** The bootstrap over pictures in {numref}`tab-06_gaps` and {numref}`tab-06_specificity` is narrow: for *one* network, what its flip-ranked channels cost is well known. The interval over networks is many times wider, because the next network,
#   trained in the same way from another start, may say the opposite. So may the same seed on another number of threads, which changes no more than the rounding: where the mean is near 0, the verdict can change with it. The paper and its code have one network. No number of test pictures makes up for that.
# * **Loudness, first of all.** When much is removed, what costs most on average over networks is to lose the *strongest* channels ({numref}`fig-06_removal`). The flip-ranked ones are stronger than random ones, so random sets *as strong* are the fair comparison; beyond those, what the flip-ranked
#   cost is above 0 in one network and below it in the next.
# * **The flip response is not position.** It ranks channels in a circular network as well, which cannot know the column ({numref}`fig-06_controls`), and part of it is the sampling grid's at every even width ({numref}`tab-06_mirrors`). The shift response, 0 there by construction,
#   orders the channels in another way ({numref}`fig-06_rankings`), and page 03's question in a third. Three measures of position that do not agree cannot all be of position.
# * **Left and right.** Training on mirrored pictures, as the released flags have it, makes left and right alike; what is left of a signed response is then the sampling's and that of the pictures at hand, and removing its channels harms now one side, now the other. Networks that *never* saw a mirrored picture
#   have something to find: on CamVid (`figures/cpu/06_controls.svg` in the repository) the signed ranking is specific for left and for right, in both of them.
# * **What the measure can see.** Ranking by *where a channel fires* needs no mirror at all ({numref}`fig-06_regions`). Channels removed *only there* have to be specific, wherever their loss does harm. Where their interval reaches 0, as it does on CamVid at the share of the rule, so few channels are hardly missed, wherever they are taken from: then
#   *not reproduced* says that no such effect was seen, not that there is none, and the control is *not passed*.
# * **Not shown:** Cityscapes and a DeepLabv3-ResNet50 at its own scale (`--profile paper`), and what the authors' own lists did. The skip of DeepLabv3+ softens every removal, because thin things do not need *f*; on CamVid the page also trains the network without it.
#
# ## Summary
#
# * Removing the channels of highest flip response costs more than removing random ones in some networks and less in others; when much is removed, losing the strongest costs most on average.
# * Signed flip responses do not find channels of a side in networks trained on mirrored pictures; on CamVid they do in networks that never saw one. The released left and right lists cannot have come from the released rule.
# * A ranking named for position has to be compared with loudness, with other measures of position, and with a network that cannot know it.
#
# ## Exercises
#
# ::::{admonition} Exercise 1, by pencil
# :class: exercise
# Find a picture of one row on which the third channel of the first code cell (steps up by more than 2) has a flip response of 0, though it marks a step.
#
# :::{admonition} Solution
# :class: dropdown
# `0 3 0 0`, around the edge: one step up of 3 and one step down of 3. Mirrored, they change places, and the count stays 1. The response measures how *asymmetric* steps up and down are, not where they are.
# :::
# ::::
#
# ::::{admonition} Exercise 2, in code
# :class: exercise
# Is the ranking better in an earlier layer? Run the page with `-p layer layer3`, and compare {numref}`fig-06_rankings`.
#
# :::{admonition} A start
# :class: dropdown
# `./run_all.sh --only 06 -p layer layer3 --out /tmp/layer3` keeps the run apart. Look at the correlation of flip and shift response first.
# :::
# ::::
#
# ::::{admonition} Exercise 3, to overturn the reading
# :class: exercise
# Random sets match the flip-ranked one in strength only. Match them in the size of the weights that *read* them too (`classifier.aspp.convs`), and see whether anything of the flip response's own remains.
#
# :::{admonition} A start
# :class: dropdown
# The size of what reads channel *c*, over the convolutions of ASPP: `w = sum(m.weight.square().sum((0, 2, 3)) for m in net.classifier.aspp.convs.modules() if isinstance(m, nn.Conv2d)).sqrt()`. What a channel hands on is about its
# strength times that. So give `channels.rms_matched_sets` the product `rank.rules["rms_activation"] * w` instead of the strength, and take the gap anew. A gap that is above 0 in every network would overturn this page's reading: then it is neither loudness nor weights.
# :::
# ::::
