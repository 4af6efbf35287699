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
# > **The puzzle**
# >
# > Mirror a street scene, and some of a network's averaged channels change. They must encode left and right, so switch them off: the segmentation falls apart, more than
# > after switching off as many at random. So position matters.
# >
# > But which channels change most when *anything* is done to the image? The most active ones. And which does a network miss most?

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # streets (embedded) | camvid | cityscapes; "" is the profile's
network = ""          # resnet18 | resnet34 | resnet50 (as the authors') | torchvision | small (15 of them)
checkpoint = ""       # a trained network of that kind (.pt or .safetensors), instead of training one
backbone = ""         # random | imagenet: what training starts from; "" is the profile's
layer = ""            # whose channels are ranked and removed: layer1 ... layer4; "" is layer4
released = ""         # position_attack/targeted_neurons/deeplabv3_resnet50 of a clone of the authors' code
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %%
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from posenc_lib.claims import region_attack as paper
from posenc_lib.data import imageset
from posenc_lib.experiments import ablation, region_attack, size_parity
from posenc_lib.measure import canvas, channels
from posenc_lib.nets import classifiers, segmenters
from posenc_lib.nets import pretrained as encoders
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
splits = inputs.load_for(workspace, dataset, size=size, validation=0.0,   # nothing is selected on this page
                         seeds=scenes)
train, test = splits.train, splits.test
networks = region_attack.configs(profile, dataset, splits.fingerprint, network=network, backbone=backbone,
                                 layer=layer or "layer4", checkpoint=checkpoint, steps=steps)
plain = networks["plain"]
if checkpoint:                                                        # report a fault in it at once
    segmenters.load_checkpoint(region_attack.build(plain, len(train.classes)), checkpoint)
released_lists = pd.DataFrame(channels.compare_released_lists(released)) if released else paper.RELEASED
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# [Islam et al. (2021)](../book/bibliography.md#islam2021global), Sec. 4.2 and supplement S3. The paper shows these experiments in figures and prints no number, so the rules below judge directions.

# %%
claims = (paper.CHANNELS_OVERALL, paper.CHANNELS_PERIPHERY, paper.CHANNELS_REGION)
page.claim_box(*claims)

# %% [markdown]
# ## By hand: the flip response, and an ablation
#
# The paper ranks channels by how much their average changes when the image $x$ is mirrored to $\overleftarrow{x}$ (Eq. 2). With $z_c$ the [pooled latent](../book/glossary.md#pooled-latent) of channel $c$,
#
# $$ r_c = \frac{1}{N} \sum_{n} \big| z_c(x_n) - z_c(\overleftarrow{x}_n) \big| . $$
#
# This is the [flip response](../book/glossary.md#flip-response). For a [region](../book/glossary.md#region) the released code drops the absolute value: channels whose *signed* change is large are "left".
#
# > **A guess to make**
# >
# > An image is one row, `0 1 2 3 0 1 2 3`. Three channels look at it. One averages the brightness. One multiplies it by the column, so it encodes position. One marks every pixel whose right
# > neighbour is brighter by more than 2, with circular padding, so that it *cannot* encode position. Which of them have a flip response of 0?

# %%
row = torch.tensor([[[[0.0, 1, 2, 3, 0, 1, 2, 3]]]])                  # (batch, rgb, row, col)


def three(x):                                                         # -> z (batch, channel)
    bright, column, steep = x, x * torch.arange(8.0), (x.roll(-1, -1) - x > 2).float()
    return torch.cat([bright, column, steep], 1).mean((-2, -1))


by_hand = (three(row) - three(row.flip(-1))).abs()[0]
print("z", three(row)[0].tolist(), "· mirrored", three(row.flip(-1))[0].tolist())
print("flip response", by_hand.tolist())
assert torch.equal(channels.mean_response(three, [row]), by_hand.double())
print("shift response", channels.mean_response(three, [row], channels.roll_half_width).tolist())

top = by_hand.argsort(descending=True)[:2]                            # the two channels of highest response,
assert torch.equal(top, channels.top_channels(by_hand, 2))
f = torch.arange(1.0, 25).reshape(1, 3, 1, 8)                         # (batch, channel, row, col)
without = f.clone()
without[:, top] = 0                                                   # set to zero
assert torch.equal(without, ablation.Ablation(top)(f))

# %% [markdown]
# The third channel encodes no position and yet has a flip response: steps up become steps down. So the flip response also measures *orientation*. A cleaner question is what happens when the
# image is moved instead of mirrored: here by half its width, around the edge (`channels.roll_half_width`). No edge changes its orientation, and a network that cannot encode the column has a [shift response](../book/glossary.md#shift-response) of exactly 0.
#
# How much of the flip response comes from the kernels, and how much from the sampling? Average every kernel with its mirror image, and the response of a network should be 0.
#
# > **Another guess**
# >
# > It is, for an image 129 pixels wide. What about 128, or the 2048 of Cityscapes?

# %%
torch.manual_seed(0)
symmetric = region_attack.symmetrised(ResNet18(4)).eval()   # every kernel averaged with its mirror image
for width in (129, 128):
    pictures = torch.randn(4, 3, 65, width)
    r, by_one = (channels.mean_response(lambda x: gap(symmetric.features(x)), pictures.split(n))
                 for n in (3, 1))
    torch.testing.assert_close(r, by_one)
    mean = gap(symmetric.features(pictures)).mean()
    print(f"{width} columns: largest flip response {r.max():.1e}, mean activation {mean:.2f}")

# %% [markdown]
# A stride of 2 keeps columns 0, 2, 4 … With an odd number of columns that choice is symmetric. With an even number it is not, and zero padding is then used on one side only ([Alsallakh et al., 2021](../book/bibliography.md#alsallakh2021mind)). So even a network of
# symmetric kernels tells left from right by its sampling, at all the usual widths. [table 06_mirrors](#tab-06_mirrors) shows what this does to the trained networks.
#
# ## Build it
#
# **The network.** DeepLabv3 ([Chen et al., 2017](../book/bibliography.md#chen2017rethinking)): a ResNet whose last feature map *f* is read by ASPP, a pyramid of dilated convolutions, and upsampled to the image. The attack sets channels of *f* to zero
# (`hooks.ablated`). The network runs up to *f* only once per image, however many sets of channels are tried.
#
# **The score** is [mean IoU](../book/glossary.md#mean-iou). Its counts add up over images and over eight zones of the image, so every region's score, and every bootstrap over images, comes from the same counts (`region_attack.sweep`).
# A region's mean IoU is the mean over the classes that are *labelled* in that region of the test set. A class that is predicted there but never labelled does not count as an IoU of 0; it still lowers the IoU of the classes whose pixels it takes.

# %%
settings = region_attack.SMOKE.settings
tiny = region_attack.SegmenterConfig(profile=profile, dataset=dataset, data="", **settings)
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
# **Ranked on training images, attacked on test images.** At each fraction of the channels, these sets are ablated: the channels of highest flip response; of highest shift response; of highest *decodability*, the variance explained by the cell of page 03's
# canvas ([place field](../book/glossary.md#place-field)); of highest *RMS activation*; of *lowest* flip response; and the flip-ranked set again, set to its mean instead of zero. Then uniform random sets, and as many *RMS-matched* ones. An RMS-matched set has as many channels in each tenth
# of the order of RMS activation as the flip-ranked set, drawn from the channels that are *not* flip-ranked. Where a tenth has too few others, all of them are taken and the rest comes from the flip-ranked ones; [table 06_overlap](#tab-06_overlap) counts these.
#
# **Regions.** Signed responses rank channels for left and right (the image mirrored), for top and bottom (turned upside down), and for centre and periphery (moved by half the width, which exchanges the two). [Specificity](../book/glossary.md#specificity) is an interaction: what the region
# loses minus what the rest loses, minus the same for random sets. Damage that is the same everywhere gives 0.
#
# **Deviations from the paper**
#
# * **Data.** Cityscapes cannot be redistributed. `quick` renders its own street scenes with Cityscapes' classes. The reference runs use CamVid (`-p dataset camvid`, ([Brostow et al., 2009](../book/bibliography.md#brostow2009semantic))). Cityscapes itself (`-p dataset cityscapes`, ([Cordts et al., 2016](../book/bibliography.md#cordts2016cityscapes))) is read at half its size, to fit into memory.
# * **Network.** `paper` trains DeepLabv3 on a ResNet-50 with output stride 16. `quick` trains a narrow ResNet-18 of the same stride from scratch, with the skip connection of DeepLabv3+ for thin objects (the released code has it too),
#   and with rare classes weighted up, AdamW and no colour jitter. `paper` has the released flags: SGD at 0.1, a tenth of that for the backbone, momentum 0.9, weight decay 1e-4, poly 0.9, jitter 0.5; the backbone starts from ImageNet.
# * **Batch norm and dropout.** The released code sets the momentum of the backbone's batch norm to 0.01 and drops out 10 % of ASPP's output. Here they are torchvision's: 0.1 and 50 %.
# * **Schedule.** The released 30,000 steps of 16 images are 161 epochs of Cityscapes' 2,975 training images, and `paper` keeps them there. On CamVid's 367 they would be 1,308 epochs; `paper` trains for 200, which are 4,600 steps, with the learning rate
#   falling to 0 in the same way.
# * **Many networks.** The paper has one network. `./run_all.sh --only 06 --data DIR -p dataset camvid -p network small` trains 15 small ones on a CPU, on images of 48×64 pixels, with output stride 8 and without the skip connection, as in the authors' network: at this size a network with the skip hardly needs *f*.
#   With `--profile paper` it trains 15 wider ones at 120×160 pixels. Fifteen give an interval over networks that can carry a verdict.
# * **Ranking.** The released code ranks on the very images that the attack is scored on. Here it does not.
# * **How many channels.** The script removes 100 of 2,048; the name of a folder suggests 300. Here the same fractions of the layer are removed, and others up to 1,000 of 2,048.
# * **Random sets.** The released code has one, commented out. Here there are several at each fraction, and several networks; the captions give the numbers.
# * **Mean IoU of a region** is over the classes labelled in it, as said above.

# %%
run = partial(region_attack.run, splits=splits, workspace=workspace, trained=checkpoint)
seeds = range(1 if checkpoint else seeds or region_attack.n_seeds(profile, dataset, network))
runs = region_attack.collect(networks, seeds, run, workspace)
recorded = region_attack.recorded_sets(records.reference("region_attack", workspace))
reference = runs if workspace.is_reference and runs else recorded[0] if recorded else []


# %%
def evidence(name, runs, size):
    """What figures, tables and verdicts show of some runs."""
    names = region_attack.network_names(runs)
    rows, gaps, specificity = (ablation.rows_of(runs, result, "network", names)
                               for result in ("rows", "gaps", "specificity"))
    base = [r for r in runs if names[r.digest] == "plain"]
    c, n = region_attack.recorded(base[0]), len(base)
    steps = c.recipe.epochs * (c.recipe.epoch_steps or 0)
    trained_here = c.weights in ("", "imagenet")
    trained = f"{steps:,} steps of {c.recipe.batch_size}" if trained_here else Path(checkpoint).name
    data = style.label(c.dataset)
    return SimpleNamespace(
        name=name, runs=runs, names=names, base=base, c=c, n=n, size=size, rows=rows, gaps=gaps,
        specificity=specificity, periphery=region_attack.periphery_specificity(rows),
        total=base[0].results["channels"], spread=ablation.spread(n),
        title=f"{name}: {data}, width {c.width or 64}, {records.origin(base)}, n = {n}",
        what=f"{data}, {size[0]}×{size[1]} pixels, ResNet of width {c.width or 64}, {trained}, "
             f"{c.test_images or 'all'} test images")


shown = []   # the reference first
if reference:
    shown.append(evidence("Reference runs", reference, region_attack.recorded_size(reference)))
if runs and not (workspace.is_reference and shown):
    shown.append(evidence("This run", runs, size))
records.require(shown, "the attack on a segmenter's channels")
first, here = shown[0], shown[-1] if runs else None
what = ". ".join(f"{part.name}: {part.what}; {part.spread}" for part in shown)
for part in shown:
    print(f"{part.title}. {part.what}; {part.spread}.")
    controls = pd.Series([part.names[r.digest] for r in part.runs if r not in part.base], dtype=str)
    print("  control networks:", ", ".join(f"{style.label(name)} {count}"
                                           for name, count in controls.value_counts().items()) or "none")


def both(height, width_ratio=0.55, **options):
    """A figure with a panel for the reference, and a narrower one for this run; yields (part, axes)."""
    ratios = [1, width_ratio][:len(shown)]
    fig, axes = plt.subplots(1, len(shown), figsize=(9.6, height), layout="constrained", squeeze=False,
                             gridspec_kw={"width_ratios": ratios}, **options)
    for part, ax in zip(shown, axes[0], strict=True):
        ax.set_title(part.title.replace(", ", "\n", 1), fontsize="small")
    return fig, list(zip(shown, axes[0], strict=True))


def text(row):
    """A mean with its interval."""
    bounds = "" if row["low"] != row["low"] else f" [{row['low']:+.1f}, {row['high']:+.1f}]"
    return f"{row['mean']:+.1f}{bounds}"


def beside(summarise, by):
    """One row per combination of `by`: the reference with its interval and n, then this run's mean."""
    columns = []
    for part in shown:
        summary = summarise(part).set_index(by)
        if part is shown[0]:
            columns += [summary.apply(text, axis=1).rename(part.name.lower()), summary["n"].rename("n")]
        else:
            columns.append(summary["mean"].rename("this run"))
    table = pd.concat(columns[:2], axis=1)
    return table.join(columns[2:], how="left").reset_index()


# %%
table = region_attack.score_table(first.rows, first.runs, first.names)
if len(shown) > 1:
    scores = region_attack.score_table(here.rows, here.runs, here.names).set_index("network")
    table["this run"] = table["network"].map(scores["whole image"])
page.table(table.map(style.label), "06_base",
           f"""Mean IoU (%) with nothing ablated, over the classes labelled in the whole image and in
           each region, and the percentage of pixels classified correctly; in brackets the 95 %
           interval, or both values where n = 2. {what}.""",
           workspace=workspace)

# %% [markdown]
# ## What came out
#
# First a look at what is scored, on the networks of this run: a test image, its label map, the prediction, and what is left of it without the flip-ranked channels, or without as many at random.

# %%
records.require_data(splits)
records.require(runs, "the attack on a segmenter's channels in this profile")
colours = figures.class_colours(test.classes)
examples = here.base[0].results["examples"]
most = round(100 * here.c.fractions[-1])
titles = {"nothing": "prediction", "flip": f"without {most} %,\nflip response",
          "random": f"without {most} %,\nrandom"}
pictures = {}
for at, number in enumerate(examples["images"]):
    maps = {kind: records.unpack(examples[kind][at]) for kind in titles}
    opacity = np.where(maps["nothing"] != maps["flip"], 1.0, 0.15)[..., None]
    pictures[f"{number}"] = {
        "image": test.images[number].permute(1, 2, 0).numpy() / 255,
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
page.show(fig, "06_examples", f"""This run: test images by number, their labels, and what the network
          predicts with all channels, without the {most} % of highest flip response, and without as many
          random ones (seed 0). Last: the pixels whose class changed with the flip-ranked ablation, in
          the colour of their class after it; dashed: the periphery.""",
          "Rows of street scenes with label maps and predictions.", workspace=workspace)

space = np.ones((size[0], 2, 3))
label = colours[test.labels[examples["images"][0]].numpy()]
frames = {}
for n, maps in examples["steps"].items():
    flip, random = (colours[records.unpack(packed)] for packed in maps)
    frames[f"{n} of {here.total} channels ablated"] = np.concatenate([label, space, flip, space, random], 1)
page.explorer(frames, f"""This run, image {examples["images"][0]}. Left: label. Middle: without the N
              channels of highest flip response. Right: without N at random. Move the slider.""")

# %% [markdown]
# **More and more channels.** *What to look for:* the paper's claim is the gap between the flip-ranked line and the random one. Then look at the RMS-matched sets and at the channels of highest RMS activation, which know nothing of mirrors. If rankings
# found the channels that encode position, they would also agree with each other.

# %%
kinds = ["flip", "flip_mean", "rms_activation", "random", "rms_matched", "lowest_flip"]
fig, panels = both(4.6)
drawn = []
for part, ax in panels:
    curve = region_attack.loss_curve(part.rows, kinds)
    show_figures.curves(curve.assign(kind=curve["kind"].map(style.label)), "percent", "kind", ax)
    ax.set(xlabel="channels ablated (%)")
    ax.axhline(0, **style.CHANCE)
    percent = [100 * fraction for fraction in part.c.fractions]
    ax.set_xticks([0, *percent], ["0", *(f"{value:.0f}" for value in percent)])
    drawn.append(curve.assign(run=part.name))
panels[0][1].set(ylabel="lost (points of mean IoU)")
fig.legend(*panels[0][1].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
random_sets = ", ".join(f"{part.name.lower()} {part.c.n_random_sets}" for part in shown)
page.show(fig, "06_removal", f"""Mean IoU lost against the fraction of channels ablated, by how they
          were selected. The paper prints no number. {what}. Random sets at each fraction:
          {random_sets}.""",
          "Points of mean IoU lost as channels are ablated, one line per way to select them.",
          workspace=workspace, data=pd.concat(drawn))
for part in shown:
    curve = region_attack.loss_curve(part.rows, kinds)
    costly = curve[curve["fraction"] == curve["fraction"].max()].set_index("kind")["mean"].sort_values()
    print(f"{part.name}: mean points lost by ablating {100 * part.c.fractions[-1]:.0f} %, highest last: ",
          ", ".join(f"{style.label(kind)} {lost:.1f}" for kind, lost in costly.items()))

# %%
# of the released script, of the name of its folder, and about half
judged_fractions = [100 / 2048, region_attack.REGION_FRACTION, 1000 / 2048]
by = ["kind", "against", "fraction"]


def gaps_at(part):
    plain = part.gaps[(part.gaps["network"] == "plain") & part.gaps["fraction"].isin(judged_fractions)]
    return ablation.summarise(plain, by, "value")


table = beside(gaps_at, by)
above = first.gaps[first.gaps["network"] == "plain"].groupby(by)[["low", "high"]].agg(list)
table.insert(5, "single networks", [
    f"{sum(x > 0 for x in above['low'][key])} above, {sum(x < 0 for x in above['high'][key])} below 0"
    for key in table[by].itertuples(index=False, name=None)])
table["fraction"] = (100 * table["fraction"]).round(0).astype(int)
page.table(table.map(style.label).rename(columns={
    "kind": "ranked by", "against": "beyond", "fraction": "ablated (%)"}), "06_gaps",
    f"""Points of mean IoU that a ranking loses beyond uniform random sets of as many channels, and
    beyond RMS-matched random sets. Reference runs: mean with its interval over networks, and how many
    single networks lie above and below 0 by the 95 % interval of a bootstrap over test images. This
    run: the mean. {what}.""", workspace=workspace)
of_one = first.gaps[(first.gaps["network"] == "plain") & (first.gaps["kind"] == "flip")
                    & (first.gaps["against"] == "random")
                    & (first.gaps["fraction"] == region_attack.REGION_FRACTION)]
least, highest = of_one["value"].min(), of_one["value"].max()
print(f"{first.name}: at 15 % the flip-ranked set costs {least:+.1f} to {highest:+.1f} points beyond "
      "random sets, from network to network.")
if len(of_one) > 1:
    half = (of_one["high"] - of_one["low"]).mean() / 2
    print(f"The interval over test images of one network is {half:.1f} points to either side on average; the "
          f"standard deviation between networks is {of_one['value'].std():.1f}.")

# %%
tables = []
for part in shown:
    plain = part.rows[part.rows["network"] == "plain"]
    tables.append(ablation.overlaps(plain, part.total, part.c.fractions).assign(run=part.name.lower()))
table = pd.concat(tables)
table["fraction"] = (100 * table["fraction"]).round(0).astype(int)
page.table(table[["run", "fraction", "kind", "n", "expected", "shared"]].map(style.label).rename(columns={
    "fraction": "ablated (%)", "kind": "sets", "n": "channels", "expected": "expected of uniform sets"}),
    "06_overlap",
    """Channels that a random set shares with the flip-ranked set of the same size: n²/C of C channels
    are expected of a uniform set; then the mean over sets and networks. A dash: recorded before the
    overlap was counted, when RMS-matched sets were drawn from all channels.""", workspace=workspace)

# %%
n_top = [part.base[0].results["n_top"] for part in shown]
fig, axes = plt.subplots(len(shown), 2, figsize=(9.6, 3.9 * len(shown)), layout="constrained", squeeze=False)
for part, n, of_part in zip(shown, n_top, axes, strict=True):
    spearman, shared = region_attack.agreement_tables(part.base)
    for ax, matrix, title, limits in (
            (of_part[0], spearman, "Spearman's rank correlation", (-1, 1)),
            (of_part[1], shared, f"shared among the first {n} (chance {n ** 2 / part.total:.1f})", (0, n))):
        matrix = matrix.rename(index=style.label, columns=style.label)
        show_figures.agreement_matrix(matrix, ax, *limits)
        ax.set_title(f"{part.title}\n{title}", fontsize="small")
page.show(fig, "06_rankings",
          f"How far rankings of the same channels agree; means over plain networks. {what}.",
          "Heat maps: rank correlation and number of shared channels of six rankings.", workspace=workspace)
for part, n in zip(shown, n_top, strict=True):
    stability = pd.DataFrame([r.results["stability"] for r in part.base])
    mean, low, high = stability["mean"].mean(), stability["low"].min(), stability["high"].max()
    print(f"{part.name}: of the {n} channels of highest flip response, {mean:.0%} remain among them when the "
          f"images are resampled (95 % of samples: {low:.0%} to {high:.0%}).")

# %% [markdown]
# **Centre and periphery.** The paper also compares the middle half of the columns with the two outer quarters. *What to look for:* values above 0 mean that the flip-ranked channels, beyond random ones, are missed more in the periphery.
# Networks with circular padding, in which no column is special, stand beside them: if theirs are as high, the damage follows what tends to be in the periphery, not position.

# %%
kinds_of_network = ["plain", "circular_padding"]
by_network = ["network", "fraction"]


def periphery_at(part, value="value"):
    kept = part.periphery[part.periphery["network"].isin(kinds_of_network)]
    return ablation.summarise(kept, by_network, value)


fig, panels = both(4.2)
drawn = []
for part, ax in panels:
    summary = periphery_at(part)
    summary["percent"] = [f"{100 * fraction:.0f} %" for fraction in summary["fraction"]]
    show_figures.dots_by_group(summary, "percent", "network", ax, floor=-100)
    ax.set(xlabel="channels ablated")
    ax.tick_params(axis="x", rotation=0)
    ax.get_legend().remove()
    drawn.append(summary.assign(run=part.name))
panels[0][1].set(ylabel="periphery minus centre\n(points of mean IoU)")
fig.legend(*panels[0][1].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=2)
page.show(fig, "06_periphery", f"""What ablating the flip-ranked channels costs beyond random ones in
          the periphery, minus the same in the centre, for plain networks and for those with circular
          padding, which cannot encode the column. The paper prints no number. {what}; n of each network
          and fraction is in {{numref}}`tab-06_periphery_gaps`.""",
          "Dots of the difference between periphery and centre by the fraction of channels ablated, for plain "
          "networks and for those with circular padding.", workspace=workspace, data=pd.concat(drawn))
table = beside(periphery_at, by_network)
for region in ("centre", "periphery"):
    means = periphery_at(first, region).set_index(by_network)["mean"]
    table.insert(2, region, [means[key] for key in table[by_network].itertuples(index=False, name=None)])
table["fraction"] = (100 * table["fraction"]).round(0).astype(int)
table = table[["network", "fraction", "centre", "periphery", *table.columns[4:]]]
page.table(table.map(style.label).rename(columns={
    "fraction": "ablated (%)", "reference runs": "periphery minus centre"}), "06_periphery_gaps",
    f"""Points of mean IoU that the flip-ranked set costs beyond random sets in the centre and in the
    periphery, and the difference. {what}.""", workspace=workspace)

# %% [markdown]
# **Left and right.** By the released rule the *right* list is the *left* one read from the end, because mirroring only changes the sign of the signed response. Two lists made by this rule share no channel at the top and have a Spearman correlation of −1.
# The rankings that the authors released show neither.

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
# So those lists were made by another rule, or from other images for each side. The released code does not determine what the paper's region attack removed.
#
# **As the paper draws it.** Supplement S3 removes the channels ranked for one side and plots the loss against their number, with "moderate but consistent decrease" in the targeted half. *What to look for:* the targeted half should lose more than the other half, and more than it loses when as many random channels are
# removed.

# %%
fig, axes = plt.subplots(1, 2 * len(shown), figsize=(9.6, 4.2), layout="constrained", squeeze=False,
                         gridspec_kw={"width_ratios": [1, 1, 0.7, 0.7][:2 * len(shown)]})
drawn = []
side_names = {"targeted": "targeted half", "other": "other half", "random": "targeted half, random channels"}
for part, pair in zip(shown, (axes[0, :2], axes[0, 2:]), strict=False):
    curve = region_attack.side_curve(part.rows)
    for ax, side in zip(pair, region_attack.SIDES, strict=True):
        of_side = curve[curve["side"] == side]
        show_figures.curves(of_side.assign(kind=of_side["kind"].map(side_names)), "percent", "kind", ax)
        percent = sorted(of_side["percent"].unique())
        ax.set_xticks(percent, [f"{value:.0f}" for value in percent])
        ax.set_title(f"{part.name}\nranked as {side}", fontsize="small")
        ax.set(xlabel="channels ablated (%)")
        ax.axhline(0, **style.CHANCE)
    pair[1].sharey(pair[0])
    drawn.append(curve.assign(run=part.name))
axes[0, 0].set(ylabel="lost in the half (points of mean IoU)")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
page.show(fig, "06_sides", f"""Mean IoU lost in the half that the ranking targets and in the other half,
          against the fraction of channels ablated, as in Figs. S3 (right) and S4 (left) of the paper,
          which prints no number. {what}.""",
          "Points of mean IoU lost by half of the image, against the fraction of channels ablated, for the "
          "rankings of left and of right.", workspace=workspace, data=pd.concat(drawn))
for part in shown:
    curve = region_attack.side_curve(part.rows).set_index(["side", "kind", "percent"])["mean"].sort_index()
    for side in region_attack.SIDES:
        at = [percent for percent in curve[side, "targeted"].index if curve[side, "targeted"][percent]
              > max(curve[side, "other"][percent], curve[side, "random"][percent])]
        print(f"{part.name}, ranked as {side}: the targeted half loses more on average than the other half, "
              f"and more than with random channels, at {len(at)} of {len(curve[side, 'targeted'])} fractions.")

# %% [markdown]
# **Is the damage where it should be?** *What to look for:* circles above 0 mean that channels ranked for a region by their signed response are missed more inside it. Squares rank by where a channel is active, with no mirror at all. Triangles are a positive control: the flip-ranked channels
# are ablated *only there*, so the damage is local by construction.

# %%
by = ["network", "kind", "region", "fraction"]
fractions = [region_attack.REGION_FRACTION, 1000 / 2048]
fig, axes = plt.subplots(len(shown), 2, figsize=(9.6, 1 + 3.2 * len(shown)), sharey="row", squeeze=False,
                         layout="constrained", gridspec_kw={"height_ratios": [1, 0.8][:len(shown)]})
drawn = []
for part, of_part in zip(shown, axes, strict=True):
    regional = ablation.summarise(part.specificity, by, "value")
    for ax, fraction in zip(of_part, fractions, strict=True):
        in_plain = regional[(regional["network"] == "plain") & (regional["fraction"] == fraction)]
        show_figures.dots_by_group(in_plain, "region", "kind", ax, floor=-100)
        ax.set_title(f"{part.title}\n{100 * fraction:.0f} % of the channels ablated", fontsize="small")
        ax.tick_params(axis="x", rotation=0)
        ax.get_legend().remove()
    of_part[0].set(ylabel="specificity\n(points of mean IoU)")
    drawn.append(regional.assign(run=part.name))
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=3)
page.show(fig, "06_regions", f"""Specificity: what a region loses minus what the rest loses, beyond
          random sets. 0 is the same damage everywhere. {what}.""",
          "Dots of specificity for six regions, three kinds of ablation.",
          workspace=workspace, data=pd.concat(drawn))
by = ["region"]


def signed_at(part):
    rows = part.specificity[(part.specificity["network"] == "plain") & (part.specificity["kind"] == "signed")
                            & (part.specificity["fraction"] == region_attack.REGION_FRACTION)]
    return ablation.summarise(rows, by, "value")


table = beside(signed_at, by)
single = first.specificity[(first.specificity["network"] == "plain") & (first.specificity["kind"] == "signed")]
single = single[single["fraction"] == region_attack.REGION_FRACTION].groupby("region")
table.insert(3, "single networks", [f"{(single.get_group(region)['low'] > 0).sum()} above, "
                                    f"{(single.get_group(region)['high'] < 0).sum()} below 0"
                                    for region in table["region"]])
page.table(table, "06_specificity",
           f"""Specificity of the signed rankings at 15 % of the channels, in points: reference runs
           with the interval over networks, and how many single networks lie above and below 0 by the 95
           % interval of a bootstrap over test images. {what}.""", workspace=workspace)
for part in shown:
    regional = ablation.summarise(part.specificity[part.specificity["network"] == "plain"],
                                  ["kind", "region", "fraction"], "value")
    for kind, of_kind in regional.groupby("kind", sort=False):
        print(f"{part.name}, {style.label(kind)}: of {len(of_kind)} intervals over networks, "
              f"{(of_kind['low'] > 0).sum()} lie above 0 and {(of_kind['high'] < 0).sum()} below.")

# %% [markdown]
# ## Controls that could overturn the reading
#
# > **Is it position that was removed?**
# >
# > * **RMS-matched:** [table 06_gaps](#tab-06_gaps) has what the flip-ranked set costs beyond random sets of the same RMS activation. If nothing is left there, activity is enough to explain the cost.
# > * **Circular padding:** a network that cannot encode the column has channels of high flip response too. If removing *those* hurts as much, the damage says nothing about position. The same comparison decides what a difference between periphery and centre means ([figure 06_periphery](#fig-06_periphery)).
# > * **Never mirrored:** training that mirrors half of its images makes left and right alike and leaves a left list nothing to find. Without it, left and right really differ (in right-hand traffic).
# > * **Only there:** [figure 06_regions](#fig-06_regions) has an ablation that is local by construction. If specificity does not show that one, it cannot show a side either.
# > * **Odd width:** how much of the ranking belongs to the sampling ([table 06_mirrors](#tab-06_mirrors))?

# %%
fig, axes = plt.subplots(len(shown), 2, figsize=(9.6, 0.8 + 3.2 * len(shown)), squeeze=False,
                         layout="constrained", gridspec_kw={"height_ratios": [1, 0.8][:len(shown)]})
drawn = []
for part, of_part in zip(shown, axes, strict=True):
    gaps, sides = part.gaps, part.specificity
    flip = gaps[(gaps["kind"] == "flip") & (gaps["fraction"] == region_attack.REGION_FRACTION)]
    flip = flip.assign(against="beyond " + flip["against"].map(style.label))
    sides = sides[(sides["kind"] == "signed") & sides["region"].isin(region_attack.SIDES)
                  & (sides["fraction"] == region_attack.REGION_FRACTION)]
    for ax, rows, kind in zip(of_part, (flip, sides), ("against", "region"), strict=True):
        rows = rows.rename(columns={"value": "mean"})
        show_figures.networks_by_group(rows, "network", kind, ax)
        drawn.append(rows.assign(run=part.name))
    of_part[0].set_title(f"{part.title}\n15 % of highest flip response", fontsize="small")
    of_part[1].set_title("15 % ranked by signed response", fontsize="small")
    of_part[0].set(ylabel="lost (points of mean IoU)")
    of_part[1].set(ylabel="specificity\n(points of mean IoU)")
page.show(fig, "06_controls", f"""The same attack on control networks, one mark per network: loss beyond
          random sets (left), and specificity for left and right (right). Lines: 95 % interval of a
          bootstrap over test images, for one network. {what}.""",
          "Marks of the loss beyond random sets, and of left and right specificity, one per network.",
          workspace=workspace, data=pd.concat(drawn))


# %%
def mirrors(part):
    with_symmetry = [r for r in part.runs if "symmetry" in r.results]
    rows = ablation.rows_of(with_symmetry, "symmetry", "network", part.names)
    rows["width"] = np.where(rows["columns"] % 2, "odd", "even")
    responses = rows.set_index(["network", "kernels", "width"])["response"]
    return with_symmetry, responses.rename(part.name.lower())


responses = [mirrors(part)[1] for part in shown if any("symmetry" in r.results for r in part.runs)]
records.require(responses, "the flip response at an odd width")
table = responses[0].to_frame().join(responses[1:], how="left").reset_index()
page.table(table.map(style.label), "06_mirrors", """Mean flip response over mean activation, on 40
           training images at their own, even width and one column wider (one network of each kind, seed
           0): with the kernels as they were trained, and with each kernel averaged with its mirror
           image.""", workspace=workspace, digits=3)
for part in shown:
    for r in mirrors(part)[0]:
        print(f"{part.name}, {style.label(part.names[r.digest])}: Spearman's correlation of the flip response at "
              f"the even and at the odd width {r.results['even_odd_correlation']:+.2f}; mean shift response over "
              f"mean flip response {r.results['shift_over_flip']:.2g}")

# %% [markdown]
# ## How much of the flip response is the sampling?
#
# A layer with kernel $k$, stride $s$ and $p$ padded columns on each side reads $n$ columns evenly only if $(n + 2p - k) / s$ leaves no remainder. Otherwise some columns on the right are
# never read, and the padding is applied unevenly ([Alsallakh et al., 2021](../book/bibliography.md#alsallakh2021mind)). Then even the flip response of a network with mirror-symmetric kernels is not 0, as the two widths at the top of this page showed. Does the
# flip response of an ordinary network vanish where the sampling is symmetric?
#
# The two causes can be separated without changing what the network is. Mirror every kernel, and give this *mirrored network* $\overleftarrow{z}$ the mirror image. If sampling treats left and right alike,
# it sees exactly what the network sees in the picture, whatever the kernels:
#
# $$ z(x) = \overleftarrow{z}(\overleftarrow{x}) . $$
#
# So $|z(x) - \overleftarrow{z}(\overleftarrow{x})|$ is what the sampling alone does, and the flip response $|z(x) - z(\overleftarrow{x})|$ is what sampling and kernels do together.
#
# > **A guess to make**
# >
# > Which widths are symmetric? For a ResNet-18, whose four strided layers all have odd kernels with equal padding: $16m + 1$. For a VGG, with 2×2 pools? For SqueezeNet, whose first layer has no padding?

# %%
def symmetric_widths(net, widths):
    return [n for n in widths if not size_parity.uneven_layers(net.eval(), torch.zeros(1, 3, 32, n))]


for name, net in (("ResNet-18", classifiers.permutenet(2, width=2)), ("VGG", classifiers.vgg(2, 2)),
                  ("SqueezeNet 1.1", encoders.untrained("squeezenet1_1").net)):
    print(f"{name:15s} symmetric among 64 to 97 columns:", symmetric_widths(net, range(64, 98)))

resnet = classifiers.permutenet(2, width=4).eval()
mirrored = size_parity.mirrored(deepcopy(resnet))
for n in (97, 96):                                                    # both sides of the equation above
    pictures = torch.randn(4, 3, 32, n)
    with torch.no_grad():
        difference = gap(resnet.features(pictures)) - gap(mirrored.features(pictures.flip(-1)))
    print(f"{n} columns: largest difference {difference.abs().max():.0e}; uneven layers:",
          ", ".join(size_parity.uneven_layers(resnet, pictures[:1])) or "none")

# %% [markdown]
# **The experiment.** *Held fixed:* the pictures. *Varied:* their width, from one multiple of 16 plus 1 to the next, by cropping at the centre; and the network: a small ResNet-18, trained to name photographs (at
# an even size, half of them mirrored) or untrained; an untrained VGG; and the ImageNet networks whose weights are at hand, trained and untrained. The pooled latent is that of the last stage. Every change is relative to the
# standard deviation of $z$ over pictures, with both averaged over channels. The control has symmetric kernels: there, sampling is the only cause of a flip response.

# %%
files = encoders.parse_encoders("", workspace.data)
parity_plan = size_parity.plan(profile, train, files, workspace.data)
parity_inputs = size_parity.Inputs(train, workspace.data, files, workspace.device)
parity_runs = records.run_or_load("size_parity", parity_plan, partial(size_parity.run, inputs=parity_inputs),
                                  seeds=range(size_parity.SEEDS[profile]), workspace=workspace, optional=True)
parity_reference = records.reference("size_parity", workspace)
parity = {}                                                           # title -> rows; the reference first
if parity_reference:
    data = style.label(parity_reference[0].config["dataset"])
    title = f"Reference runs: {data}, {records.origin(parity_reference)}"
    parity[title] = size_parity.parity_frame(parity_reference)
if parity_runs and not workspace.is_reference:
    parity[f"This run: {style.label(dataset)}"] = size_parity.parity_frame(parity_runs)
records.require(parity, "the flip response by width")

# %% [markdown]
# *What to look for.* Grey lines mark the widths at which, by the arithmetic, no layer is uneven. There, squares and triangles must fall to rounding error. And the round dots?

# %%
def parity_figure():
    """One panel a network; the reference on the left, in two columns."""
    blocks = [(title, rows, rows["network"].unique()) for title, rows in parity.items()]
    columns = [2, 1][:len(blocks)]
    n_rows = max(-(-len(keys) // n) for (_, _, keys), n in zip(blocks, columns, strict=True))
    fig = plt.figure(figsize=(9, 1.2 + 1.6 * n_rows), layout="constrained")
    parts = fig.subfigures(1, len(blocks), width_ratios=[n + 0.15 for n in columns], squeeze=False)[0]
    for block, n, (title, rows, keys) in zip(parts, columns, blocks, strict=True):
        block.suptitle(title, fontsize="small", fontweight="bold")
        axes = block.subplots(n_rows, n, squeeze=False, sharey=True)
        for ax in axes.flat[len(keys):]:
            ax.set_axis_off()
        for ax, key in zip(axes.flat, keys, strict=False):
            of_network = rows[rows["network"] == key]
            show_figures.mirror_by_width(of_network, ax)
            ax.set_title(f"{style.label(key)}, n = {of_network['seed'].nunique()}", fontsize=8)
            ax.tick_params(labelsize=8)
        for ax in axes[:, 0]:
            ax.set_ylabel("change / spread" if block is parts[0] else "", fontsize=8)
        for column in axes.T:
            [ax for ax in column if ax.axison][-1].set_xlabel("width (pixels)", fontsize=8)
    fig.legend(*parts[0].axes[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    return fig


page.show(parity_figure(), "06_parity", """The sampling's part vanishes at exactly the widths that the
    arithmetic names; the flip response does
          not. Change of the pooled latent under a mirror image, relative to its spread over images, by
          width. Lines: means over n seeds, which are
          draws of images and, except with ImageNet weights, of networks; dots: single seeds. Grey: no
          layer is uneven.""",
          "One panel a network: a flat line for the flip response, and two lines with deep dips.", workspace=workspace,
          data=pd.concat([rows.assign(run=title.split(":")[0]) for title, rows in parity.items()]))

# %%
def mean_and_seeds(values, spec=".2f"):
    values = values.dropna()
    if len(values) < 2:
        return format(values.iloc[0], spec) if len(values) else "–"
    return f"{values.mean():{spec}} ({', '.join(format(value, spec) for value in values)})"


def parity_lines():
    for title, rows in parity.items():
        for key, of_seeds in size_parity.parity_summary(rows).groupby("network", sort=False):
            yield {
                "run": title.split(":")[0], "network": style.label(key),
                "symmetric widths": of_seeds["symmetric"].iloc[0] or "none",
                "flip response there": mean_and_seeds(of_seeds["flip_symmetric"]),
                "at the others": mean_and_seeds(of_seeds["flip_uneven"]),
                "sampling alone": mean_and_seeds(of_seeds["sampling"]),
                "rankings": mean_and_seeds(of_seeds["spearman"]),
                "top tenth shared (%)": mean_and_seeds(100 * of_seeds["overlap"], ".0f"),
                "halves": mean_and_seeds(of_seeds["halves"]),
            }


page.table(pd.DataFrame(parity_lines()), "06_parity_widths", """Flip response at symmetric widths and at
    the others, and what the sampling alone changes at the others, in units
           of the spread over images; mean, with the seeds in brackets. Then how much the ranking of the
           channels depends on the kind of width: Spearman correlation of the
           flip responses at the widest width and at the nearest one of the other kind, on the same images,
           and how much of the top tenth they share. Last, for comparison: the
           correlation between rankings from either half of the images, at the widest width.""",
           workspace=workspace, widths=(10, 14, 11, 14, 14, 14, 14, 14, 14))

# %%
for title, of_widths in parity.items():
    symmetric = of_widths["uneven"] == 0
    sampling = of_widths[["mirrored_network", "symmetrised_flip"]]
    print(f"{title}. The sampling's part is at most {sampling[symmetric].max(axis=None):.0e} where no layer is uneven, "
          f"and at least {sampling[~symmetric].min(axis=None):.2g} elsewhere.")
    assert sampling[symmetric].max(axis=None) < 1e-5
if parity_reference:
    rows = next(iter(parity.values()))
    assert rows.loc[rows["uneven"] > 0, ["mirrored_network", "symmetrised_flip"]].min(axis=None) > 0.01
    of_seeds = size_parity.parity_summary(next(iter(parity.values())))
    ratio = (of_seeds["flip_symmetric"] / of_seeds["flip_uneven"]).dropna()
    alone = of_seeds["sampling"] / of_seeds["flip_uneven"]
    print(f"Reference runs: flip response at symmetric widths over that at the others, {ratio.min():.2f} to "
          f"{ratio.max():.2f}; sampling alone over flip response, at the others, {alone.min():.2f} to {alone.max():.2f}")
    assert ratio.between(0.5, 2).all()
    mobilenet = of_seeds["network"].str.startswith("mobilenetv2")
    assert (of_seeds.loc[~mobilenet, "spearman"] > 0.8).all()
    assert (of_seeds["overlap"] < 0.9).all()
    assert (ratio[of_seeds["network"] == "mobilenetv2_100/imagenet"] > 1).all()
    assert (of_seeds.loc[mobilenet, ["spearman", "halves"]] < 0.5).all(axis=None)

# %% [markdown]
# **Does the left-right asymmetry behind the flip rankings vanish at symmetric sizes? No.** The sampling's part does, to rounding error, at exactly the widths that the arithmetic names. But the flip response is about as large there as
# elsewhere ([table 06_parity_widths](#tab-06_parity_widths)): kernels that are not their own mirror images are enough to make it. Only with symmetric kernels *and* a symmetric size are an image and its mirror image the same to a network.
# The two causes do not add up. At the other widths, what the sampling alone does to $z$ is comparable to what mirroring the image does (the last line printed above), and yet without it the flip response is hardly smaller, and in the trained MobileNetV2 larger.
#
# The sampling does have a say in *which* channels come first. A column or two more changes the top tenth in every network. In the ResNets, the VGG and SqueezeNet most of the order stays; in MobileNetV2 little does, but
# there the rankings from either half of the images do not agree either. A symmetric size removes a left-right difference that has nothing to do with content, so it is the better choice for such rankings. It does not make the flip response a measure of position.

# %% [markdown]
# ## Against the paper

# %%
rows_of_claim = {paper.CHANNELS_OVERALL: lambda part: paper.gap_rows(part.gaps),
                 paper.CHANNELS_PERIPHERY: lambda part: paper.specificity_rows(part.periphery),
                 paper.CHANNELS_REGION: lambda part: paper.specificity_rows(part.specificity)}


def judge(part):
    scale = paper.scale(part.c, part.size, part.n)
    judged = {}
    for claim, make in rows_of_claim.items():
        rows = make(part)
        judged[claim] = claim.judged([row for row in rows if row.network == "plain"], scale, rows)
    return judged


verdicts = {part.name: judge(part) for part in shown}
none = {claim: claim.judged([], paper.scale(first.c, first.size, 0)) for claim in claims}
page.against_paper(verdicts.get("Reference runs", none), verdicts.get("This run", {}), "06_against_paper",
                   runs={"reference": f"{first.what}, {records.origin(first.base)}, n = {first.n}"
                         if reference else "none on file",
                         "here": f"{here.what}, {records.origin(here.base)}, n = {here.n}" if here else "none"},
                   workspace=workspace)

# %% [markdown]
# Do the verdicts depend on the size of images and networks? These are all sets of networks on file, each judged by the same rules.

# %%
lines = []
for runs_of_set in region_attack.recorded_sets([*records.reference("region_attack", workspace)]):
    part = evidence("on file", runs_of_set, region_attack.recorded_size(runs_of_set))
    for claim, judged in judge(part).items():
        lines.append({"networks": f"{part.what}, {part.n} networks", "claim": claim.id,
                      "verdict": judged.verdict, "evidence": judged.evidence, "control": judged.outcome})
records.require(lines, "no run is on file")
page.table(pd.DataFrame(lines), "06_sets",
           "Every set of networks on file, by the rules of this page; the first is the reference.",
           workspace=workspace)
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What it means, and what it does not
#
# The cell below states the results in sentences made from the records.

# %%
def findings(part, judged):
    """Sentences about some runs, from their rows."""
    at_15 = region_attack.REGION_FRACTION
    plain = part.gaps[part.gaps["network"] == "plain"]
    cost = ablation.summarise(plain[plain["fraction"] == at_15], ["kind", "against"], "value")
    cost = cost.set_index(["kind", "against"])
    single = plain[(plain["fraction"] == at_15) & (plain["kind"] == "flip") & (plain["against"] == "random")]
    overall, outer = judged[paper.CHANNELS_OVERALL], judged[paper.CHANNELS_PERIPHERY]
    yield (f"Removing the 15 % of highest flip response costs {text(cost.loc['flip', 'random'])} points beyond "
           f"uniform random sets and {text(cost.loc['flip', 'rms_matched'])} beyond RMS-matched ones; removing "
           f"those of highest RMS activation costs {text(cost.loc['rms_activation', 'random'])} beyond uniform "
           f"ones (claim: {overall.verdict}; control: {overall.outcome}).")
    yield (f"For a single network the interval over test images lies above 0 in {(single['low'] > 0).sum()} and "
           f"below 0 in {(single['high'] < 0).sum()} of {len(single)} networks that differ only in their seed.")
    spearman = region_attack.agreement_tables(part.base)[0].loc["flip"]
    yield (f"Spearman's correlation of the flip response is {spearman['shift']:+.2f} with the shift "
           f"response, {spearman['decodability']:+.2f} with decodability and "
           f"{spearman['rms_activation']:+.2f} with RMS activation.")
    outside = periphery_at(part).set_index(by_network)
    largest = part.periphery["fraction"].max()
    yield (f"At {100 * largest:.0f} %, beyond random sets, the periphery loses "
           f"{text(outside.loc['plain', largest])} points more than the centre (claim: {outer.verdict}; control: "
           f"{outer.outcome}).")
    by_side = ["network", "kind", "region"]
    sides = part.specificity[part.specificity["fraction"] == at_15]
    sides = ablation.summarise(sides, by_side, "value").set_index(by_side)
    for network, kind, subject in (
            ("plain", "signed", "The signed lists have a specificity of"),
            ("plain", "only_there", "The flip-ranked channels removed only there have"),
            ("never_flipped", "signed", "In networks that never saw a mirrored image, the signed lists have")):
        if (network, kind, "left") in sides.index:
            left, right = (sides.loc[network, kind, side] for side in region_attack.SIDES)
            yield f"{subject} {text(left)} points for left and {text(right)} for right, n = {left['n']:.0f}."


for line in findings(first, judge(first)):
    print("*", line)
circular = [r for part in shown for r in part.runs if part.names[r.digest] == "circular_padding"]
assert all(r.results["shift_over_flip"] < 1e-5 for r in circular)

# %% [markdown]
# * **Look at several networks.** The bootstrap over images measures how well the cost is known for *one* network ([table 06_gaps](#tab-06_gaps)). The interval over networks answers another question: whether the next network, trained in the same way from another seed, would show the same. Where the mean is near 0, even
#   another number of threads, which changes only rounding, can change the sign. The paper and its code have one network, and no number of test images makes up for that.
# * **Compare with activity.** Zeroing an active channel changes *f* more than zeroing a quiet one. Uniform random sets ignore this; RMS-matched sets are the fair comparison. [table 06_overlap](#tab-06_overlap) says how far they could be drawn from other channels: when half of the layer is removed, there are too few.
# * **The flip response is not a measure of position.** It ranks channels in a circular network as well, which cannot encode the column; the shift response is 0 there, up to rounding (the assertion above). Part of it belongs to the sampling grid at every even width ([table 06_mirrors](#tab-06_mirrors)). Flip response,
#   shift response and decodability all claim to measure position; where they rank channels differently ([figure 06_rankings](#fig-06_rankings)), they cannot all be right.
# * **Centre and periphery.** The outer quarters of a street scene hold other things than its middle. A larger loss there is evidence of position only if networks that cannot encode the column do not show it too ([table 06_periphery_gaps](#tab-06_periphery_gaps)).
# * **Left and right.** Training on mirrored images, as the released flags have it, makes left and right alike. What is left of a signed response then comes from the sampling and from the images at hand. Networks that *never* saw a mirrored image
#   have something to find ([figure 06_controls](#fig-06_controls)).
# * **What specificity can see.** Channels removed *only there* must be specific wherever their loss does harm. Where that interval includes 0, so few channels are hardly missed wherever they are taken from, and an effect of the signed lists would go unseen too.
# * **Not shown:** Cityscapes and a DeepLabv3-ResNet50 at its own scale (`--profile paper`), and the effect of the authors' own lists. The skip connection of DeepLabv3+ softens every ablation, because thin objects do not need *f*; `-p dataset camvid` trains networks with and without it.
#
# ## Summary
#
# * What removing the channels of highest flip response costs has to be read from several networks, beyond uniform and beyond RMS-matched random sets. A single network does not say which sign the next one will have.
# * The released left and right lists cannot have come from the released rule.
# * A ranking that is named after position has to be compared with activity, with other measures of position, and with a network that cannot encode it.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > Find an image of one row on which the third channel of the first code cell (steps up by more than 2) has a flip response of 0, although it marks a step.
# >
# > <details><summary>Solution</summary>
# >
# > `0 3 0 0` with circular padding has one step up of 3 and one step down of 3. Mirroring swaps them, and the count stays 1. The response measures how *asymmetric* steps up and down are, not where they are.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Do the rankings agree better in an earlier layer? Run the page with `-p layer layer3`, and compare [figure 06_rankings](#fig-06_rankings).
# >
# > <details><summary>A start</summary>
# >
# > `./run_all.sh --only 06 -p layer layer3 --out /tmp/layer3` keeps the run separate. Start with the correlation of flip and shift response.
# >
# > </details>
#
# > **Exercise 3, to overturn the reading**
# >
# > RMS-matched sets match the flip-ranked one in activation only. Match them in the size of the weights that *read* them too (`classifier.aspp.convs`), and see whether any cost specific to the flip response remains.
# >
# > <details><summary>A start</summary>
# >
# > The size of what reads channel *c*, over the convolutions of ASPP: `w = sum(m.weight.square().sum((0, 2, 3)) for m in net.classifier.aspp.convs.modules() if isinstance(m, nn.Conv2d)).sqrt()`. A channel contributes roughly its
# > RMS activation times that. So give `channels.rms_matched_sets` the product `rank.rules["rms_activation"] * w` instead of the RMS activation, and measure the gap again. A gap above 0 in every network would overturn this page's reading: then neither activity nor weights explain it.
# >
# > </details>
