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
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from posenc_lib.claims import region_attack as paper
from posenc_lib.data import imageset
from posenc_lib.experiments import ablation, region_attack
from posenc_lib.measure import canvas, channels
from posenc_lib.nets import segmenters
from posenc_lib.nets.classifiers import ResNet18
from posenc_lib.nets.heads import gap
from posenc_lib.nets.hooks import ablated
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import page, style

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or ("camvid" if profile == "paper" else "streets")
size, _, scenes = region_attack.preset(profile, dataset, network)
splits = inputs.load_for(workspace, dataset, size=size, validation=0.0,   # nothing is chosen on this page
                         seeds=scenes)
train, test = splits.train, splits.test
networks = region_attack.configs(profile, dataset, splits.fingerprint, network=network, layer=layer or "layer4",
                                 backbone=backbone, checkpoint=checkpoint, steps=steps)
plain = networks["plain"]
if checkpoint:                                                        # report a fault in it at once
    segmenters.load_checkpoint(region_attack.build(plain, len(train.classes)), checkpoint)
released_lists = pd.DataFrame(channels.compare_released_lists(released)) if released else paper.RELEASED
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# {cite:t}`islam2021global`, Sec. 4.2 and supplement S3. The public text prints no number of these experiments: they are in figures only, so the rules judge directions.

# %%
claims = (paper.CHANNELS_OVERALL, paper.CHANNELS_PERIPHERY, paper.CHANNELS_REGION)
page.claim_box(*claims)

# %% [markdown]
# ## By hand: the flip response, and an ablation
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

top = by_hand.argsort(descending=True)[:2]                            # the two channels of highest response,
assert torch.equal(top, channels.top_channels(by_hand, 2))
f = torch.arange(1.0, 25).reshape(1, 3, 1, 8)                         # (batch, channel, row, col)
without = f.clone()
without[:, top] = 0                                                   # set to zero
assert torch.equal(without, ablation.Ablation(top)(f))

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
torch.manual_seed(0)
symmetric = region_attack.symmetrised(ResNet18(4)).eval()             # every kernel averaged with its mirror image
for width in (129, 128):
    pictures = torch.randn(4, 3, 65, width)
    r = channels.mean_response(lambda x: gap(symmetric.features(x)), pictures.split(3))
    torch.testing.assert_close(r, channels.mean_response(lambda x: gap(symmetric.features(x)), pictures.split(1)))
    mean = gap(symmetric.features(pictures)).mean()
    print(f"{width} columns: largest flip response {r.max():.1e}, mean activation {mean:.2f}")

# %% [markdown]
# A stride of 2 keeps columns 0, 2, 4 … Of an odd number of columns that choice is symmetric; of an even number it is not, and zero padding then stands on one side of it {cite:p}`alsallakh2021mind`. So even the most symmetric
# network tells left from right by its sampling, at every size that is usual. We will see what that does to the trained one.
#
# ## Build it
#
# **The network.** DeepLabv3 {cite:p}`chen2017rethinking`: a ResNet whose last map *f* is read by ASPP, a pyramid of dilated convolutions, and enlarged to the picture. The attack sets channels of *f* to zero
# (`hooks.ablated`). The network has to run up to *f* only once per picture, however many sets of channels are tried.
#
# **The score** is {term}`mean IoU`. Its counts add up over pictures and over eight zones of the picture, so every region's score, and every bootstrap over pictures, comes from the same counts (`region_attack.sweep`).

# %%
tiny = region_attack.SegmenterConfig(profile=profile, dataset=dataset, data="", **region_attack.SMOKE.settings)
net = region_attack.build(tiny, len(train.classes)).eval()
images, labels = test.batch(torch.arange(4))
some = torch.tensor([3, 10, 5])
with torch.no_grad(), ablated(net, "backbone.layer4", some):
    predictions = net(images).argmax(1)


def iou_by_hand(predicted, truth):
    iou = []
    for k in truth[truth != imageset.VOID].unique():
        both = (predicted == k) & (truth == k)
        either = ((predicted == k) | (truth == k)) & (truth != imageset.VOID)
        iou.append(both.sum() / either.sum())
    return float(np.mean(iou))


half = size[1] // 2
counts = region_attack.sweep(net, test.take(slice(0, 4)), [ablation.NOTHING, ablation.Ablation(some)])
print(tuple(counts.shape), "(ablation, picture, zone, [both, labelled, predicted], class)")
left_iou = region_attack.region_iou(counts, "left")[1, 0]
np.testing.assert_allclose(left_iou, iou_by_hand(predictions[..., :half], labels[..., :half]))
sides = [counts[:, :, list(canvas.REGIONS[side])].sum(2) for side in ("left", "right")]
assert torch.equal(sum(sides), counts.sum(2))

# %% [markdown]
# ## The experiment
#
# **Ranked on training pictures, attacked on test pictures.** At each fraction of the channels that is ablated: those of highest flip response; of highest shift response; of highest *decodability*, the variance that the cell of page 03's
# canvas explains ({term}`place field`); of highest *RMS activation*; those of *lowest* flip response; and the first again, set to their mean instead of zero. Then random sets, 20 of them, or 8 in `quick` on streets, and as many *RMS-matched* ones, with as many channels from each tenth
# of the order of RMS activation as the flip-ranked set has.
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
# * **How many.** The script removes 100 of 2048 channels; a folder's name hints at 300. Here the same fractions of the layer, and 1000 of 2048.
# * **One random set**, commented out, is what the released code has; here there are 20, in `quick` on streets 8. And one network; here there are several, of the controls two, on streets one.

# %%
run = partial(region_attack.run, splits=splits, workspace=workspace, trained=checkpoint)
seeds = range(1 if checkpoint else seeds or region_attack.n_seeds(profile, network))
runs = region_attack.collect(networks, seeds, run, workspace)

# %%
names = {config.digest(c): name for name, c in networks.items()}
base = [r for r in runs if names[r.digest] == "plain"]
n_seeds = len(base)
over = f"mean and 95 % interval (Student's t) over n = {n_seeds} seeds" if n_seeds > 1 else "one network"
total = base[0].results["channels"]
n_steps = plain.recipe.epochs * (plain.recipe.epoch_steps or 0)
schedule = Path(checkpoint).name if checkpoint else f"{n_steps} steps of {plain.recipe.batch_size}"
n_test = plain.test_images or ("all" if isinstance(splits, imageset.StandIn) else len(test))
what = (f"{dataset}, {size[0]}×{size[1]} pixels, {schedule}, {total} channels, "
        f"{n_test} test pictures")
rows, gaps, specificity = (ablation.rows_of(runs, name, "network", names)
                           for name in ("rows", "gaps", "specificity"))
page.table(region_attack.score_table(rows, runs, names).replace(style.NAMES), "06_base",
           f"""Mean IoU (%) with nothing ablated, over the classes labelled in the whole picture and in
           each region, and the percentage of pixels classified correctly ({what}); {over}.""",
           workspace=workspace)

# %% [markdown]
# ## What came out
#
# First a look at what is scored: a test picture, its label map, what the network makes of it, and what is left of that without the flip-ranked channels, or without as many at random.

# %%
records.require_data(splits)
colours = figures.class_colours(test.classes)
examples = base[0].results["examples"]
most = round(100 * plain.fractions[-1])
titles = {"nothing": "prediction", "flip": f"without {most} %,\nflip response",
          "random": f"without {most} %,\nrandom"}
pictures = {}
for at, number in enumerate(examples["images"]):
    maps = {kind: records.unpack(examples[kind][at]) for kind in titles}
    opacity = np.where(maps["nothing"] != maps["flip"], 1.0, 0.15)[..., None]
    pictures[f"{number}"] = {
        "picture": test.images[number].permute(1, 2, 0).numpy() / 255,
        "label": colours[test.labels[number].numpy()],
        **{title: colours[maps[kind]] for kind, title in titles.items()},
        "changed by\nflip response": opacity * colours[maps["flip"]],
    }
fig = figures.picture_grid(pictures)
labelled = test.labels[test.labels != imageset.VOID].unique().tolist()
figures.class_legend(fig, test.classes, labelled)
for ax in fig.axes[5::6]:
    for left in (0, 3 * size[1] / 4):                                 # the periphery
        ax.add_patch(plt.Rectangle((left - 0.5, -0.5), size[1] / 4, size[0], fill=False,
                                   edgecolor="white", linewidth=1, linestyle="--"))
page.show(fig, "06_examples", f"""Test pictures by number, their labels, and what the network predicts with all
          channels, without the {most} % of highest flip response, and without as many random ones (seed 0). Last:
          the pixels whose class changed with the flip-ranked ablation, in the colour of their class after it;
          dashed: the periphery.""", "Rows of street pictures with label maps and predictions.", workspace=workspace)

space = np.ones((size[0], 2, 3))
label = colours[test.labels[examples["images"][0]].numpy()]
frames = {}
for n, maps in examples["steps"].items():
    flip, random = (colours[records.unpack(text)] for text in maps)
    frames[f"{n} of {total} channels ablated"] = np.concatenate([label, space, flip, space, random], 1)
page.explorer(frames, f"""Picture {examples["images"][0]}. Left: label. Middle: without the N channels of highest flip
              response. Right: without N at random. Move the slider.""")

# %% [markdown]
# **More and more channels.** *What to look for:* the paper's claim is the gap between the flip-ranked line and the random one. Then look for the RMS-matched sets and the channels of highest RMS activation, which know nothing of mirrors. If rankings
# found the channels that know position, they would also agree with each other.

# %%
kinds = ["flip", "flip_mean", "rms_activation", "random", "rms_matched", "lowest_flip"]
curve = region_attack.loss_curve(rows, kinds)
fig, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
show_figures.curves(curve.replace({"kind": style.NAMES}), "percent", "kind", ax)
ax.set(xlabel="channels ablated (%)", ylabel="lost (points of mean IoU)")
ax.axhline(0, **style.CHANCE)
percent = [100 * fraction for fraction in plain.fractions]
ax.set_xticks([0, *percent], ["0", *(f"{value:.0f}" for value in percent)])
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "06_removal", f"""Mean IoU lost against the fraction of channels ablated, by how they were chosen
          ({what}); {over}; random sets: mean of {plain.n_random_sets}.""",
          "Points of mean IoU lost as channels are ablated, one line per way to choose them.",
          workspace=workspace, data=curve)

# %%
by = ["kind", "against", "fraction"]
table = ablation.gap_table(gaps[gaps["network"] == "plain"], by, seed=base[0].seed)
table["fraction"] = (100 * table["fraction"]).round(1)
page.table(table.replace(style.NAMES).rename(columns={
    "kind": "ranked by", "against": "beyond", "fraction": "ablated (%)", "mean": "points", "low": "95 % low",
    "high": "95 % high", "bootstrap": f"seed {base[0].seed}, interval over pictures"}), "06_gaps",
    f"""Points of mean IoU that a ranking loses beyond random sets of as many channels, and beyond RMS-matched
    random sets ({what}); {over}. Last column: one network, 95 % interval of a bootstrap over test pictures.""",
    workspace=workspace)
costly = curve[curve["fraction"] == curve["fraction"].max()].set_index("kind")["mean"].sort_values()
print(f"Mean points lost by ablating {most} %, highest last: ",
      ", ".join(f"{style.NAMES[kind]} {lost:.1f}" for kind, lost in costly.items()))

# %%
spearman, shared = region_attack.agreement_tables(base)
n_top = base[0].results["n_top"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for ax, matrix, title, limits in (
        (axes[0], spearman, "Spearman's rank correlation", (-1, 1)),
        (axes[1], shared, f"shared among the first {n_top} (chance {n_top ** 2 / total:.1f})", (0, n_top))):
    matrix = matrix.rename(index=style.NAMES, columns=style.NAMES)
    show_figures.agreement_matrix(matrix, ax, *limits).set(title=title)
page.show(fig, "06_rankings", f"""How far rankings of the same {total} channels agree; means over n = {n_seeds} networks
          ({dataset}).""", "Two heat maps: rank correlation and number of shared channels of six rankings.",
          workspace=workspace)
stability = pd.DataFrame([r.results["stability"] for r in base])
print(f"Of the {n_top} channels of highest flip response, {stability['mean'].mean():.0%} stay among them when the "
      f"pictures are resampled (95 % of samples: {stability['low'].min():.0%} to {stability['high'].max():.0%}).")

# %% [markdown]
# **Centre and periphery.** The paper also compares the middle half of the columns with the two outer quarters. *What to look for:* circles above 0 mean that the flip-ranked channels, beyond random ones, are missed more in the periphery.
# The other markers are networks with circular padding, for which no column is special: if theirs are as high, the damage follows what tends to stand there, not position.

# %%
periphery = region_attack.periphery_specificity(rows)
periphery["percent"] = [f"{100 * fraction:.0f} %" for fraction in periphery["fraction"]]
in_plain = records.summarise(periphery[periphery["network"] == "plain"], ["network", "percent"], "value")
circular = periphery[periphery["network"] == "circular_padding"].rename(columns={"value": "mean"})
circular = circular.assign(network="circular padding " + circular["seed"].astype(str), low=np.nan, high=np.nan, n=1)
drawn = pd.concat([in_plain, circular[in_plain.columns]], ignore_index=True)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
show_figures.dots_by_group(drawn, "percent", "network", ax, floor=-100)
ax.set(xlabel="channels ablated", ylabel="periphery minus centre\n(points of mean IoU)")
page.show(fig, "06_periphery", f"""What ablating the flip-ranked channels costs beyond random ones in the periphery,
          minus the same in the centre ({what}). Circles: plain networks, {over}. Other markers: each network with
          circular padding, by its seed.""",
          "Dots of the difference between periphery and centre by the fraction of channels ablated, for plain networks "
          "and for those with circular padding.", workspace=workspace, data=drawn)
table = periphery[periphery["network"].isin(["plain", "circular_padding"])].replace({"network": style.NAMES})
page.table(table[["network", "seed", "percent", "centre", "periphery", "value"]].rename(columns={
    "percent": "ablated", "value": "difference"}), "06_periphery_gaps",
    f"""Points of mean IoU that the flip-ranked set costs beyond random sets in the centre and in the periphery, one
    row per network and fraction of the channels ({what}).""", workspace=workspace)

# %% [markdown]
# **Left and right.** By the released rule the *right* list is the *left* one read from the end: the signed response to a mirror only changes its sign. Two lists made by it share nothing at the top and have a Spearman correlation of −1, here as anywhere.
# The rankings that the authors released have neither.

# %%
signed = torch.randn(2048, generator=torch.Generator().manual_seed(0)).double()       # any response will do
left, right = (channels.top_channels(sign * signed, 2048) for sign in (1, -1))
rule = {"first": "left", "second": "right",
        **{f"shared of {n}": channels.overlap(left[:n], right[:n]) for n in (100, 300)},
        "spearman": channels.rank_correlation(left.argsort(), right.argsort())}
chance = {"first": "random", "second": "random", "shared of 100": 100 ** 2 / 2048,
          "shared of 300": 300 ** 2 / 2048, "spearman": 0.0}
table = pd.concat([pd.DataFrame([rule]).assign(source="what the released rule implies"),
                   released_lists.assign(source="the released lists"),
                   pd.DataFrame([chance]).assign(source="two random lists")])
page.table(table[["source", *rule]], "06_released",
           "Rankings of 2,048 channels: what the released rule implies, and what the released lists are.",
           workspace=workspace, digits=2)

# %% [markdown]
# So those lists were made by another rule, or from other pictures for each side, and what exactly the paper's region attack removed cannot be known from its code.
#
# **Is the damage where it should be?** *What to look for:* circles above 0 would mean that channels ranked for a region are missed more inside it. Squares rank by where a channel fires, with no mirror at all. The triangles are a positive control: the flip-ranked channels
# removed *only there*, which has to be specific, and shows how large specificity can be.

# %%
by = ["network", "kind", "region", "fraction"]
regional = records.summarise(specificity, by, "value")
in_plain = regional[regional["network"] == "plain"]
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True, layout="constrained")
for ax, fraction in zip(axes, plain.fractions[1:], strict=True):
    drawn = in_plain[in_plain["fraction"] == fraction].replace({"kind": style.NAMES})
    show_figures.dots_by_group(drawn, "region", "kind", ax, floor=-100)
    ax.set(title=f"{100 * fraction:.0f} % of the channels ablated")
    ax.get_legend().remove()
axes[0].set(ylabel="specificity (points of mean IoU)")
fig.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
page.show(fig, "06_regions", f"""Specificity: what a region loses minus what the rest loses, beyond random sets
          ({what}); {over}. 0 is damage everywhere.""",
          "Dots of specificity for six regions, three kinds of ablation.", workspace=workspace, data=regional)
at_fraction = specificity[specificity["fraction"] == region_attack.REGION_FRACTION]
signed = at_fraction[(at_fraction["network"] == "plain") & (at_fraction["kind"] == "signed")]
table = signed[["region", "seed", "n", "value", "low", "high"]].sort_values(["region", "seed"])
page.table(table.astype({"n": int}).rename(columns={
    "n": "channels", "value": "specificity", "low": "95 % low", "high": "95 % high"}), "06_specificity",
    f"""Specificity of each network's signed rankings at {100 * region_attack.REGION_FRACTION:.0f} % of the channels,
    in points, with the 95 % interval of a bootstrap over test pictures ({what}).""", workspace=workspace)
for kind, of_kind in in_plain.groupby("kind", sort=False):
    print(f"{style.NAMES[kind]}: of {len(of_kind)} intervals over networks, {(of_kind['low'] > 0).sum()} lie above 0 "
          f"and {(of_kind['high'] < 0).sum()} below")

# %% [markdown]
# ## Controls that could overturn the reading
#
# :::{admonition} Is it position that was removed?
# :class: control
# **RMS-matched:** {numref}`tab-06_gaps` has what the flip-ranked set costs beyond random sets of the same RMS activation; if nothing is left there, loudness is enough. **Circular padding:** a network that cannot know the column has channels of high flip response too. If removing *those* hurts as much, the damage says nothing about position. The same comparison decides what a difference between periphery and centre means ({numref}`fig-06_periphery`). **Never mirrored:** training that mirrors
# half of its pictures makes left and right alike, and leaves a left list nothing to find; without it, left and right really differ (in right-hand traffic). **Only there:** {numref}`fig-06_regions` has a removal that is local for certain; a measure that does not see that one cannot find a side either. **Odd width:** is the ranking one of the sampling?
# :::

# %%
flip = gaps[(gaps["kind"] == "flip") & (gaps["fraction"] == region_attack.REGION_FRACTION)]
sides = at_fraction[(at_fraction["kind"] == "signed") & at_fraction["region"].isin(["left", "right"])]
single = pd.concat([flip, sides]).rename(columns={"value": "mean"})
order = {name: n for n, name in enumerate(networks)}
single = single.sort_values(["network", "seed"], key=lambda f: f.map(order) if f.name == "network" else f)
single["one"] = single["network"].map(style.NAMES) + " " + single["seed"].astype(str)
single["against"] = "beyond " + single["against"].replace(style.NAMES)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for ax, kind in zip(axes, ("against", "region"), strict=True):
    show_figures.dots_by_group(single.dropna(subset=kind), "one", kind, ax, floor=-100)
axes[0].set(ylabel="lost (points of mean IoU)",
            title=f"{100 * region_attack.REGION_FRACTION:.0f} % of highest flip response")
axes[1].set(ylabel="specificity (points of mean IoU)", title="ranked by signed response")
page.show(fig, "06_controls", f"""The same attack on networks with circular padding, and on networks trained without
          mirrored pictures, each by its seed ({what}); here the 95 % interval is that of a bootstrap over test
          pictures, for one network.""",
          "Dots of the loss beyond random sets, and of left and right specificity, one network each.",
          workspace=workspace, data=single)
first = [r for r in runs if "symmetry" in r.results]
symmetry = ablation.rows_of(first, "symmetry", "network", names)[["network", "kernels", "columns", "response"]]
page.table(symmetry.replace(style.NAMES), "06_mirrors", """Mean flip response over mean activation, on 40 training
           pictures as wide as they are and one column wider (seed 0): with the kernels as they were trained, and with
           each averaged with its mirror image.""", workspace=workspace, digits=3)
for r in first:
    print(f"{style.NAMES[names[r.digest]]}: Spearman of the flip response at {size[1]} and at {size[1] + 1} columns "
          f"{r.results['even_odd_correlation']:+.2f}; mean shift response over mean flip response "
          f"{r.results['shift_over_flip']:.2g}")

# %% [markdown]
# ## Against the paper

# %%
evidence = {paper.CHANNELS_OVERALL: paper.gap_rows(gaps),
            paper.CHANNELS_PERIPHERY: paper.specificity_rows(periphery),
            paper.CHANNELS_REGION: paper.specificity_rows(specificity)}
scale = paper.scale(plain, size, n_seeds)
verdicts = {claim: claim.verdict([row for row in rows if row.network == "plain"], scale)
            for claim, rows in evidence.items()}
controls = {claim: claim.control_outcome(rows, scale) for claim, rows in evidence.items()}
page.against_paper(verdicts, controls, "06_against_paper", f"{what}, n = {n_seeds} seeds", workspace=workspace)
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What it means, and what it does not
#
# * **Look at several networks.** The bootstrap over pictures in {numref}`tab-06_gaps` and {numref}`tab-06_specificity` is narrow: for *one* network, what its flip-ranked channels cost is well known. The interval over networks is many times wider, because the next network,
#   trained in the same way from another start, may say the opposite. So may the same seed on another number of threads, which changes no more than the rounding: where the mean is near 0, the verdict can change with it. The paper and its code have one network. No number of test pictures makes up for that.
# * **Loudness, first of all.** When much is removed, what costs most on average over networks is to lose the channels of highest RMS activation ({numref}`fig-06_removal`). The flip-ranked ones are more active than random ones, so RMS-matched random sets are the fair comparison; beyond those, what the flip-ranked
#   cost is above 0 in one network and below it in the next.
# * **The flip response is not position.** It ranks channels in a circular network as well, which cannot know the column ({numref}`fig-06_controls`), and part of it is the sampling grid's at every even width ({numref}`tab-06_mirrors`). The shift response, 0 there by construction,
#   orders the channels in another way ({numref}`fig-06_rankings`), and page 03's question in a third. Three measures of position that do not agree cannot all be of position.
# * **Centre and periphery.** The outer quarters of a street scene hold other things than its middle. A larger loss out there is a sign of position only if networks that cannot know the column do not show it too ({numref}`tab-06_periphery_gaps`).
# * **Left and right.** Training on mirrored pictures, as the released flags have it, makes left and right alike; what is left of a signed response is then the sampling's and that of the pictures at hand, and removing its channels harms now one side, now the other. Networks that *never* saw a mirrored picture
#   have something to find: on CamVid (`figures/cpu/06_controls.svg` in the repository) the signed ranking is specific for left and for right, in both of them.
# * **What the measure can see.** Ranking by *where a channel fires* needs no mirror at all ({numref}`fig-06_regions`). Channels removed *only there* have to be specific, wherever their loss does harm. Where their interval does not lie above 0, as on CamVid and on the streets of `quick` at the fraction of the rule, so few channels are hardly missed, wherever they are taken from: then
#   an effect of the signed lists that is not seen may still be there, and the control says so.
# * **Not shown:** Cityscapes and a DeepLabv3-ResNet50 at its own scale (`--profile paper`), and what the authors' own lists did. The skip of DeepLabv3+ softens every removal, because thin things do not need *f*; on CamVid the page also trains the network without it.
#
# ## Summary
#
# * Removing the channels of highest flip response costs more than removing random ones in some networks and less in others; when much is removed, losing those of highest RMS activation costs most on average.
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
# Random sets match the flip-ranked one in RMS activation only. Match them in the size of the weights that *read* them too (`classifier.aspp.convs`), and see whether anything of the flip response's own remains.
#
# :::{admonition} A start
# :class: dropdown
# The size of what reads channel *c*, over the convolutions of ASPP: `w = sum(m.weight.square().sum((0, 2, 3)) for m in net.classifier.aspp.convs.modules() if isinstance(m, nn.Conv2d)).sqrt()`. What a channel hands on is about its
# RMS activation times that. So give `channels.rms_matched_sets` the product `rank.rules["rms_activation"] * w` instead of the RMS activation, and take the gap anew. A gap that is above 0 in every network would overturn this page's reading: then it is neither loudness nor weights.
# :::
# ::::
