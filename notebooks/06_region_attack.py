# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Ablating channels of a segmentation network: do those that respond to mirroring matter most?
#
# > **In short**
# >
# > When a street scene is mirrored, some channels of a segmentation network change more than others.
# > [Islam et al. (2021)](../book/bibliography.md#islam2021global) take this
# > [flip response](../book/glossary.md#flip-response) as a sign that a channel encodes position. When they set the
# > channels with the highest response to zero, segmentation deteriorates more than when they zero as many random
# > channels. Is this true for other networks, and is it position that is lost?
# >
# > **No: in 15 small networks, removing the channels that respond most to mirroring costs no more than removing random
# > ones.** Without the 15 % of the channels with the highest flip response, the networks lose 0.7 of 31 points of mean
# > IoU; without as many random channels, 0.6. The difference is +0.1 points, with a 95 % interval from −0.3 to +0.4,
# > and its sign changes from one network to the next. Without the 15 % most active channels, they lose 3.3 points.
# >
# > ![Points of mean IoU lost against the percentage of channels ablated, by how the channels were chosen](../figures/paper/06_removal.png)
# >
# > *Caveats.* The networks are small, and CamVid stands in for Cityscapes. They contradict the claim as a general
# > statement; the paper's own network was not available. Whether the periphery is harmed more than the centre remains
# > open. On average, removing channels ranked for left or right harms their own half slightly more than the other, but
# > not beyond the variation between networks. But the same ranking also fails in networks in which left and right do
# > differ, so this result says little about sides.
# >
# > *Run it:* `./run_all.sh --only 06`, about two minutes on two cores.

# %% Parameters tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # streets (embedded) | camvid | cityscapes; "" is the profile's
network = ""          # resnet18 | resnet34 | resnet50 | torchvision | small (15 of them)
checkpoint = ""       # a trained network of that kind (.pt or .safetensors), not trained here
backbone = ""         # random | imagenet: what training starts from; "" is the profile's
layer = ""            # whose channels are ranked and ablated: layer1 ... layer4; "" is layer4
released = ""         # position_attack/targeted_neurons/deeplabv3_resnet50 of the authors' code
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %% Install the library where it is missing tags=["remove-cell"]
import site
import sysconfig
from importlib.util import find_spec

source = ""   # a wheel, or -e git+ADDRESS#egg=posenc-book
if not find_spec("posenc_lib"):   # in a notebook opened on its own, for instance on Colab
    if not source:
        raise ModuleNotFoundError("posenc_lib is not installed; run this notebook in its "
                                  "repository, or set `source` in this cell")
    get_ipython().run_line_magic("pip", f"install --quiet {source}")
    site.addsitedir(sysconfig.get_path("purelib"))

# %% Imports and data
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

from posenc_lib.claims import region_attack as paper
from posenc_lib.data import camvid, cityscapes, imageset, streets
from posenc_lib.experiments import ablation, region_attack, size_parity
from posenc_lib.measure import canvas, channels
from posenc_lib.nets import classifiers, segmenters
from posenc_lib.nets import pretrained as encoders
from posenc_lib.nets.classifiers import ResNet18
from posenc_lib.nets.heads import gap
from posenc_lib.nets.hooks import ablated
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style
from posenc_lib.show import images as image_figures
from posenc_lib.show.style import KIND_LOOKS

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or ("camvid" if profile == "paper" else "streets")
size, _, scenes = region_attack.preset(profile, dataset, network)
splits = inputs.load_for(workspace, dataset, size=size, seeds=scenes,
                         validation=0.0)   # nothing is chosen on this page
train, test = splits.train, splits.test
networks = region_attack.configs(profile, dataset, splits.fingerprint, network=network,
                                 backbone=backbone, layer=layer or "layer4",
                                 checkpoint=checkpoint, steps=steps)
plain = networks["plain"]
if checkpoint:                             # report a fault in it at once
    segmenters.load_checkpoint(region_attack.build(plain, len(train.classes)), checkpoint)
released_lists = paper.RELEASED
if released:
    released_lists = pd.DataFrame(channels.compare_released_lists(released))
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# There are three claims, from Sec. 4.2, the authors' slides and supplement S3. The paper shows these experiments in
# figures and prints no number, so the rules judge the direction of each effect.

# %% tags=["remove-input"]
claims = (paper.CHANNELS_OVERALL, paper.CHANNELS_PERIPHERY, paper.CHANNELS_REGION)
page.claim_box(*claims)

# %% [markdown]
# ## By hand: the flip response, and an ablation
#
# The paper ranks channels by how much their average changes when the image $x$ is mirrored to $\overleftarrow{x}$
# (Eq. 2). With $z_c$ the [pooled latent](../book/glossary.md#pooled-latent) of channel $c$,
#
# $$ r_c = \frac{1}{N} \sum_{n} \big| z_c(x_n) - z_c(\overleftarrow{x}_n) \big| . $$
#
# This is the [flip response](../book/glossary.md#flip-response). To rank channels for a [region](../book/glossary.md#region), the released code
# leaves out the absolute value: the channels with the largest *signed* change are those for the left.
#
# > **Make a guess**
# >
# > Take an image of one row, `0 1 2 3 0 0 0 0`, and three channels. The first is the brightness. The second is the
# > brightness times the column, so it encodes position. The third is 1 at every pixel whose right neighbour is brighter
# > by more than 2, with circular padding, so it *cannot* encode position. Which of the three have a flip response of 0?

# %%
row = torch.tensor([[[[0.0, 1, 2, 3, 0, 0, 0, 0]]]])          # (batch, rgb, row, col)


def three_channels(x):                                        # -> z (batch, channel)
    bright = x
    column = x * torch.arange(8.0)
    steep = (x.roll(-1, -1) - x > 2).float()
    return torch.cat([bright, column, steep], 1).mean((-2, -1))


z, z_mirrored = three_channels(row), three_channels(row.flip(-1))
flip_by_hand = (z - z_mirrored).abs()[0]
assert torch.equal(channels.mean_response(three_channels, [row]), flip_by_hand.double())
shift = channels.mean_response(three_channels, [row], channels.roll_half_width)
print("z             ", z[0].tolist())
print("z, mirrored   ", z_mirrored[0].tolist())
print("flip response ", flip_by_hand.tolist())
print("shift response", shift.tolist())

# %% [markdown]
# An ablation sets the channels with the highest response to zero:

# %%
top = flip_by_hand.argsort(descending=True)[:2]
assert torch.equal(top, channels.top_channels(flip_by_hand, 2))
f = torch.arange(1.0, 25).reshape(1, 3, 1, 8)                 # (batch, channel, row, col)
without = f.clone()
without[:, top] = 0
assert torch.equal(without, ablation.Ablation(top)(f))

# %% [markdown]
# The third channel encodes no position, yet its flip response is not 0: mirroring turns steps up into steps down. So
# the flip response also measures *orientation*. A cleaner test shifts the image circularly instead of mirroring it,
# here by half of its width (`channels.roll_half_width`). No edge changes its orientation, and a network that cannot
# encode the column has a [shift response](../book/glossary.md#shift-response) of exactly 0.
#
# How much of the flip response comes from the kernels, and how much from the sampling? If every kernel is averaged with
# its mirror image, the flip response of a network should be 0.
#
# > **Another guess**
# >
# > It is 0 for images that are 129 pixels wide. Is it also 0 for 128 pixels, or for the 2,048 of Cityscapes?

# %%
torch.manual_seed(0)
symmetric = region_attack.symmetrised(ResNet18(4)).eval()     # kernels and mirrored ones averaged


def encode(x):
    return gap(symmetric.features(x))


for width in (129, 128):
    pictures = torch.randn(4, 3, 65, width)
    response = channels.mean_response(encode, pictures.split(3))
    one_by_one = channels.mean_response(encode, pictures.split(1))
    torch.testing.assert_close(response, one_by_one)          # independent of the batch size
    print(f"{width} columns: largest flip response {response.max():.1e}, "
          f"mean activation {encode(pictures).mean():.2f}")

# %% [markdown]
# A stride of 2 keeps columns 0, 2, 4 … If the number of columns is odd, that choice is symmetric. If it is even, it is
# not, and the zero padding is then read on one side only
# ([Alsallakh et al., 2021](../book/bibliography.md#alsallakh2021mind)). So even a network with symmetric kernels
# distinguishes left from right through its sampling, at all the usual widths. [Table 06_mirrors](#tab-06_mirrors)
# shows the size of this effect in the trained networks.
#
# ## Build it
#
# **The network.** DeepLabv3 ([Chen et al., 2017](../book/bibliography.md#chen2017rethinking)) reads the last feature
# map *f* of a ResNet with a pyramid of dilated convolutions (ASPP) and upsamples the result to the size of the image.
# The attack sets channels of *f* to zero (`hooks.ablated`). The network is run up to *f* once per image, regardless of
# how many sets of channels are ablated.
#
# **The score** is [mean IoU](../book/glossary.md#mean-iou). Its counts are additive over images and over eight zones of
# the image, so the score of every region, and of every bootstrap sample of images, is computed from the same counts
# (`region_attack.sweep`). A region's mean IoU is the mean over the classes that are *labelled* in that region of the
# test set. A class that is predicted there but never labelled does not count as an IoU of 0, but it lowers the IoU of
# the classes whose pixels it takes.

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
four = test.take(slice(0, 4))
counts = region_attack.sweep(net, four, [ablation.NOTHING, ablation.Ablation(some)])
print(tuple(counts.shape), "(ablation, image, zone, [both, labelled, predicted], class)")
left_iou = region_attack.region_iou(counts, "left")[1, 0]
by_hand = iou_by_hand(predictions[..., :half], labels[..., :half])
np.testing.assert_allclose(left_iou, by_hand)
left, right = (counts[:, :, list(canvas.REGIONS[side])].sum(2) for side in ("left", "right"))
assert torch.equal(left + right, counts.sum(2))               # the two halves are the whole image

# %% [markdown]
# ## The experiment
#
# **Held fixed:** architecture, training and the number of channels removed. **Varied:** which channels are removed.
# Channels are ranked on training images, and the ablated networks are scored on test images. These sets are ablated:
#
# * the channels with the highest flip response; the same, set to their mean instead of zero; those with the *lowest* flip response;
# * those with the highest shift response, and with the highest *decodability* ([explained variance](../book/glossary.md#explained-variance): how
#   much of a channel's variance the cell of the canvas of page 03 explains);
# * those with the highest [RMS activation](../book/glossary.md#rms-activation);
# * uniform random sets, and [RMS-matched random sets](../book/glossary.md#rms-matched-random-sets), which are as active as the flip-ranked set.
#
# An RMS-matched set has as many channels from each tenth of the layer by RMS activation as the flip-ranked set, and
# excludes the flip-ranked channels themselves. Where a tenth has too few others, flip-ranked channels fill the rest;
# [Table 06_overlap](#tab-06_overlap) counts these.
#
# **Regions.** Signed responses rank channels for left and right (the image is mirrored), for top and bottom (it is
# flipped upside down), and for centre and periphery (it is shifted by half its width, which exchanges the two).
# [Specificity](../book/glossary.md#specificity) is an interaction: the loss of the region minus the loss of the rest,
# minus the same difference for random sets. It is 0 if the damage is the same everywhere.
#
# The most important deviations: the networks are small and trained from scratch, CamVid or rendered streets replace
# Cityscapes, and there are several networks instead of one.
#
# <details><summary>Deviations from the paper, in full</summary>
#
# * **Data.** Cityscapes ([Cordts et al., 2016](../book/bibliography.md#cordts2016cityscapes)) may not be redistributed. `quick` renders its own
#   street scenes with Cityscapes' classes. The reference runs use CamVid ([Brostow et al., 2009](../book/bibliography.md#brostow2009semantic);
#   `-p dataset camvid`). Cityscapes itself (`-p dataset cityscapes`) is read at half its size, to fit into memory.
# * **Network.** `paper` trains DeepLabv3 on a ResNet-50 with output stride 16, by the released settings: SGD at 0.1, a
#   tenth of that for the backbone, momentum 0.9, weight decay 1e-4, poly 0.9, colour jitter 0.5, and a backbone that
#   starts from ImageNet weights. `quick` trains a narrow ResNet-18 of the same stride from scratch, with the skip
#   connection of DeepLabv3+ for thin objects (the released code has it too), larger loss weights for rare classes,
#   AdamW and no colour jitter.
# * **Batch norm and dropout.** The released code sets the momentum of the backbone's batch norm to 0.01 and drops out
#   10 % of ASPP's output. Here both have torchvision's values, 0.1 and 50 %.
# * **Schedule.** The released 30,000 steps of 16 images are 161 epochs of Cityscapes' 2,975 training images, and `paper`
#   keeps them there. On CamVid's 367 images they would be 1,308 epochs; `paper` trains for 200, which are 4,600 steps,
#   with the learning rate falling to 0 in the same way.
# * **Many networks.** The paper has one network. The reference runs are 15 small ones, on images of 48×64 pixels, with
#   output stride 8 and without the skip connection, as in the authors' network: at this size a network with the skip
#   hardly needs *f*. They come from `./run_all.sh --only 06 --data DIR -p dataset camvid -p network small`. With
#   `--profile paper`, that trains 15 wider ones at 120×160 pixels. With 15 networks, the interval is narrow enough for a verdict.
# * **Ranking.** The released code ranks channels on the same images that it scores the attack on. Here, different
#   images are used.
# * **How many channels.** The script removes 100 of 2,048; the name of a folder suggests 300. Here the same fractions of
#   the layer are removed, and others up to 1,000 of 2,048.
# * **Random sets.** The released code has one, which is commented out. Here there are several at each fraction, and
#   several networks; the captions give the numbers.
# * **Mean IoU of a region** is over the classes labelled in it, as described above.
#
# </details>

# %% Train and attack
run = partial(region_attack.run, splits=splits, workspace=workspace, trained=checkpoint)
seeds = range(1 if checkpoint else seeds or region_attack.n_seeds(profile, dataset, network))
runs = region_attack.collect(networks, seeds, run, workspace)
recorded = region_attack.recorded_sets(records.reference("region_attack", workspace))
reference = recorded[0] if recorded else []
if workspace.is_reference and runs:
    reference = runs


# %% Collect the runs
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
of_runs = ". ".join(f"{part.name}: {part.what}" for part in shown)   # where no interval is theirs
for part in shown:
    names = [part.names[r.digest] for r in part.runs if r not in part.base]
    counted = [f"{style.label(name)} {names.count(name)}" for name in dict.fromkeys(names)]
    print(f"{part.name} ({records.origin(part.base)}): {part.what}; {part.spread}.",
          "Control networks:", ", ".join(counted) or "none")


def each_part(height, columns=1, sharey="row"):
    """A figure with a row for the reference and a lower one for this run; yields (part, axes)."""
    ratios = [1, 0.8][:len(shown)]
    fig, axes = plt.subplots(len(shown), columns, figsize=(9.6, height * sum(ratios) + 0.7),
                             layout="constrained", squeeze=False, sharey=sharey,
                             gridspec_kw={"height_ratios": ratios})
    return fig, list(zip(shown, axes, strict=True))


def legend_below(fig, ax, columns=3):
    handles = ax.get_legend_handles_labels()
    fig.legend(*handles, fontsize="small", loc="outside lower center", ncols=columns)


def text(row):
    """A mean with its interval: +0.6 [−1.9, +3.0]."""
    bounds = "" if row["low"] != row["low"] else f" [{row['low']:+.1f}, {row['high']:+.1f}]"
    return f"{row['mean']:+.1f}{bounds}".replace("-", "−")


def in_percent(fraction):
    return (100 * fraction).round(0).astype(int)


def beside(summarise, by):
    """A row for each combination of `by`: the reference with its interval, n, this run's mean."""
    columns = []
    for part in shown:
        summary = summarise(part).set_index(by)
        if part is first:
            columns += [summary.apply(text, axis=1).rename(part.name.lower()), summary["n"]]
        else:
            columns.append(summary["mean"].rename("this run"))
    table = pd.concat(columns[:2], axis=1)
    return table.join(columns[2:], how="left").reset_index()


def signs(rows, by):
    """How many single networks lie above and below 0, by their intervals over test images."""
    above = (rows["low"] > 0).groupby([rows[column] for column in by]).sum()
    below = (rows["high"] < 0).groupby([rows[column] for column in by]).sum()
    return above.astype(str) + " above, " + below.astype(str) + " below"


# %% Make the table
table = region_attack.score_table(first.rows, first.runs, first.names)
table["mean IoU"] = [f"{mean:.1f}" + (f" {interval}" if interval != "–" else "") for mean, interval
                     in zip(table["whole image"], table["95 %"], strict=True)]
order = ["network", "n", "mean IoU", "left", "right", "pixels correct"]
hidden = [column for column in table if column not in order]
table = table[[*order, *hidden]]
if len(shown) > 1:
    scores = region_attack.score_table(here.rows, here.runs, here.names).set_index("network")
    table.insert(6, "this run", table["network"].map(scores["whole image"]))
    hidden.append("pixels correct")
page.table(table.map(style.label), "06_base",
           f"""Scores with nothing ablated, in percent: mean IoU over the classes labelled in the
          whole image, with its 95 % interval (or both values where n = 2), and in the left and
          the right half; pixels classified correctly. The csv has the other regions. {what}.""",
           workspace=workspace, hidden=hidden)

# %% [markdown]
# ## Results
#
# An example first: the prediction with all channels, without the channels with the highest flip response, and without
# as many random ones. The lower row enlarges the window in which most pixels change. There, pixels whose class does not
# change are pale.

# %% Draw the figure
CLASSES = {"camvid": camvid.CLASSES, "cityscapes": cityscapes.CLASSES, "streets": streets.CLASSES}


def with_examples(part):
    return next((r.results["examples"] for r in part.base if "examples" in r.results), None)


def faded(map_, intact, colours):
    """A label map in its colours, pale where it is the intact one."""
    opacity = np.where(map_ != intact, 1.0, 0.2)[..., None]
    return 1 - opacity * (1 - colours[map_])


def busiest(changed):
    """The window of half the height and width in which most pixels change."""
    rows, cols = changed.shape[0] // 2, changed.shape[1] // 2
    windows = np.lib.stride_tricks.sliding_window_view(changed, (rows, cols)).sum((-2, -1))
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return slice(top, top + rows), slice(left, left + cols)


def example_figure(part, images=None):
    """The first example of a part, with its image and label where they are at hand, and the
    percentages of pixels that change."""
    examples = with_examples(part)
    intact, flip, random = (records.unpack(examples[kind][0])
                            for kind in ("nothing", "flip", "random"))
    classes = images.classes if images else CLASSES.get(part.c.dataset, test.classes)
    colours = image_figures.class_colours(classes)
    pictures, details = {}, {}
    if images:
        number = examples["images"][0]
        pictures["image"] = images.images[number].permute(1, 2, 0).numpy() / 255
        pictures["label"] = colours[images.labels[number].numpy()]
    pictures["all channels"] = colours[intact]
    percent = [f"{100 * (map_ != intact).mean():.0f} %" for map_ in (flip, random)]
    for name, map_, share in zip(("flip-ranked", "random"), (flip, random), percent, strict=True):
        title = f"{name} channels ablated:\n{share} of pixels change"
        pictures[title] = colours[map_]
        details[title] = faded(map_, intact, colours)
    height = 1.75 * 9.6 / len(pictures) * part.size[0] / part.size[1]
    fig = plt.figure(figsize=(9.6, height + 1), layout="constrained")
    window = busiest((flip != intact) | (random != intact))
    image_figures.zoomed(pictures, details, window, fig)
    present = np.unique([intact, flip, random])
    image_figures.class_legend(fig, classes, present[present < len(classes)])
    return fig, percent


part = next((part for part in shown if with_examples(part)), None)
records.require(part, "an attack whose predictions are on record")
fig, changed = example_figure(part, test if part is here else None)
most = f"{100 * part.c.fractions[-1]:.0f} %"
page.show(fig, "06_examples", f"""With {most} of the channels ablated, {changed[0]} of the pixels
          change their class if these channels have the highest flip response, and {changed[1]} if
          they are random. {part.name}: test image {with_examples(part)["images"][0]}, the first on
          record, seed 0. Above: predicted classes. Below: the framed window, with the changed
          pixels in full colour. {part.what}.""",
          "Predicted label maps with all channels and without two sets, and a window enlarged.",
          workspace=workspace)

# %% [markdown]
# The same image with fewer and with more channels ablated. *What to look for:* how many channels can be ablated before
# the prediction breaks down, and whether this happens earlier in the upper row.

# %% Draw the figure
examples = with_examples(part)
colours = image_figures.class_colours(CLASSES.get(part.c.dataset, test.classes))
intact = records.unpack(examples["nothing"][0])
numbers = [n for n in examples["steps"] if int(n)][1::2]
pictures = {"flip\nresponse": {}, "random": {}}
changes = []
for n in numbers:
    for label, packed in zip(pictures, examples["steps"][n], strict=True):
        map_ = records.unpack(packed)
        percent = round(100 * int(n) / part.total)
        pictures[label][f"{n} channels ({percent} %)"] = faded(map_, intact, colours)
        changes.append({"ablated": label.replace("\n", " "), "channels": int(n),
                        "changed (%)": 100 * (map_ != intact).mean()})
changes = pd.DataFrame(changes)
captions = {(label, f"{n} channels ({round(100 * int(n) / part.total)} %)"):
            f"{changes['changed (%)'][2 * at + row]:.0f} % change"
            for at, n in enumerate(numbers) for row, label in enumerate(pictures)}
fig = image_figures.picture_grid(pictures, captions)
page.show(fig, "06_steps", f"""{part.name}, test image {examples["images"][0]}, seed 0: pixels whose
          class changes as more of the {part.total} channels are ablated, by highest flip response
          or at random; unchanged pixels are pale. Below each map: the percentage of changed
          pixels.""",
          "Two rows of label maps in which more and more pixels change.", workspace=workspace,
          data=changes)

# %% [markdown]
# **Loss by number of channels.** *What to look for:* according to the paper, the line of the flip response lies above
# that of random channels. Then look at the RMS-matched sets and at the most active channels; neither is chosen by
# mirroring.

# %% Draw the figure
kinds = ["rms_activation", "rms_matched", "lowest_flip", "random", "flip"]
fig, panels = each_part(3.9)
drawn = []
for part, (ax,) in panels:
    curve = region_attack.loss_curve(part.rows, kinds)
    figures.curves(curve, "percent", "kind", ax, KIND_LOOKS)
    ax.axhline(0, **style.CHANCE)
    percent = [100 * fraction for fraction in part.c.fractions]
    ax.set_xticks([0, *percent], ["0", *(f"{value:.0f}" for value in percent)])
    ax.set(ylabel="lost (points of mean IoU)")
    ax.set_title(part.title, fontsize="small")
    drawn.append(curve.assign(run=part.name))
panels[-1][1][0].set(xlabel="channels ablated (%)")
legend_below(fig, panels[0][1][0])


def gaps_at(part):
    """What each ranking costs beyond random sets, by ranking, control and fraction."""
    plain = part.gaps[part.gaps["network"] == "plain"]
    return ablation.summarise(plain, ["kind", "against", "fraction"], "value")


judged = region_attack.REGION_FRACTION
cost = gaps_at(first).set_index(["kind", "against", "fraction"])
costs_more = cost.loc[("flip", "random", judged), "low"] > 0
found = "costs more than" if costs_more else "does not cost more than"
page.show(fig, "06_removal", f"""Removing the 15 % of the channels with the highest flip response
          {found} removing as many random ones: the difference is
          {text(cost.loc["flip", "random", judged])} points; for the most active channels it is
          {text(cost.loc["rms_activation", "random", judged])} ({first.name.lower()}). Points of
          mean IoU lost by the percentage of channels ablated. The paper prints no number.
          {what}. Random sets at each fraction:
          {", ".join(f"{part.name.lower()} {part.c.n_random_sets}" for part in shown)}.""",
          "Points of mean IoU lost as channels are ablated, one line for each way to choose them.",
          workspace=workspace, data=pd.concat(drawn))
for part in shown:
    curve = region_attack.loss_curve(part.rows, [*kinds, "flip_mean", "shift", "decodability"])
    last = curve[curve["fraction"] == curve["fraction"].max()].set_index("kind")["mean"]
    last = last.sort_values()
    most = f"{100 * part.c.fractions[-1]:.0f} %"
    print(f"{part.name}: mean points lost by ablating {most}, in ascending order:",
          ", ".join(f"{style.label(kind)} {lost:.1f}" for kind, lost in last.items()))

# %% [markdown]
# **Network by network.** The paper has one network. *What to look for:* whether the orange line lies above the grey
# one in every network.

# %% Draw the figure
of_one = first.gaps[(first.gaps["network"] == "plain") & (first.gaps["kind"] == "flip")
                    & (first.gaps["against"] == "random") & (first.gaps["fraction"] == judged)]
of_one = of_one.sort_values("value")
columns = min(5, len(of_one))
rows = -(-len(of_one) // columns)
fig, axes = plt.subplots(rows, columns, figsize=(9.6, 1 + 1.8 * rows), layout="constrained",
                         squeeze=False, sharex=True, sharey=True)
drawn = []
for ax, (seed, value) in zip(axes.flat, of_one[["seed", "value"]].to_numpy(), strict=False):
    curve = region_attack.loss_curve(first.rows[first.rows["seed"] == seed],
                                     ["rms_activation", "random", "flip"])
    figures.curves(curve, "percent", "kind", ax, KIND_LOOKS)
    ax.set_title(f"seed {seed:.0f}: {value:+.1f}".replace("-", "−"), fontsize="small")
    ax.set_xticks([0, 15, 50])
    drawn.append(curve.assign(seed=int(seed)))
for ax in axes.flat[len(of_one):]:
    ax.set_visible(False)
axes[-1, columns // 2].set_xlabel("channels ablated (%)")
axes[rows // 2, 0].set_ylabel("lost (points of mean IoU)")
legend_below(fig, axes[0, 0])
above, below = (of_one["low"] > 0).sum(), (of_one["high"] < 0).sum()
found = "changes" if above and below else "is the same"
page.show(fig, "06_networks", f"""The sign {found} from network to network: what the flip-ranked
          set costs beyond random sets at 15 % is printed above each panel; its interval over
          test images lies above 0 in {above} of {len(of_one)} networks, below 0 in {below}. One
          panel for each network, which differ only in their seed, sorted by that difference.
          {first.name}: {first.what}.""",
          "Small panels, one for each network: flip-ranked, random and most active channels.",
          workspace=workspace, data=pd.concat(drawn))
print(f"{first.name}: at 15 % the flip-ranked set costs {of_one['value'].min():+.1f} to "
      f"{of_one['value'].max():+.1f} points beyond random sets, from network to network.")
if len(of_one) > 1:
    half = (of_one["high"] - of_one["low"]).mean() / 2
    print(f"The interval over test images of one network is {half:.1f} points to either side on "
          f"average; the standard deviation between networks is {of_one['value'].std():.1f}.")

# %% Make the table
by = ["kind", "against", "fraction"]
# of the released script, of the name of its folder, and about half
fractions = [100 / 2048, judged, 1000 / 2048]
table = beside(lambda part: gaps_at(part).query("fraction in @fractions"), by)
single = signs(first.gaps[first.gaps["network"] == "plain"], by)
keys = table[by].itertuples(index=False, name=None)
table.insert(4, "single networks", [single[key] for key in keys])
table["fraction"] = in_percent(table["fraction"])
page.table(table.map(style.label).rename(columns={
    "kind": "ranked by", "against": "beyond", "fraction": "ablated (%)"}), "06_gaps",
    f"""Points of mean IoU that a ranked set costs beyond uniform random sets, and beyond
          RMS-matched ones, of as many channels: mean over n = {first.n} networks with its 95 %
          interval. *Single networks*: how many lie above and below 0 by their own interval, a
          bootstrap over test images. {what}.""",
    workspace=workspace, hidden=["n"], folded="The same for every ranking, in numbers")

# %% Make the table
tables = []
for part in shown:
    of_plain = part.rows[part.rows["network"] == "plain"]
    counted = ablation.overlaps(of_plain, part.total, part.c.fractions)
    tables.append(counted.assign(run=part.name.lower()))
table = pd.concat(tables)
table["fraction"] = in_percent(table["fraction"])
table = table[["run", "fraction", "kind", "n", "expected", "shared"]]
no_overlap = (" A dash: recorded before the overlap was counted, when RMS-matched sets were drawn "
              "from all channels.")
page.table(table.map(style.label).rename(columns={
    "fraction": "ablated (%)", "kind": "sets", "n": "channels"}), "06_overlap",
    f"""RMS-matched sets exclude the flip-ranked channels as long as there are enough others.
    *Shared*: the number of channels that a random set shares with the flip-ranked set of the same
    size, mean over sets and networks. *Expected*: n²/C of C channels, for a uniform
    set.{no_overlap * int(table["shared"].isna().any())}""", workspace=workspace)

# %% [markdown]
# If the rankings identified the channels that encode position, they would also agree with each other:

# %% Draw the figure
n_top = [part.base[0].results["n_top"] for part in shown]
fig, axes = plt.subplots(len(shown), 2, figsize=(9.6, 3.9 * len(shown)), layout="constrained",
                         squeeze=False)
for part, n, of_part in zip(shown, n_top, axes, strict=True):
    spearman, shared = region_attack.agreement_tables(part.base)
    for ax, matrix, title, limits in (
            (of_part[0], spearman, "Spearman's rank correlation", (-1, 1)),
            (of_part[1], shared, f"shared of {n} (chance {n ** 2 / part.total:.1f})", (0, n))):
        matrix = matrix.rename(index=style.label, columns=style.label)
        figures.agreement_matrix(matrix, ax, *limits)
        ax.set_title(f"{part.name}\n{title}", fontsize="small")
spearman = region_attack.agreement_tables(first.base)[0].loc["flip"]
page.show(fig, "06_rankings", f"""The rankings that are meant to measure position do not agree:
          the flip response has a rank correlation of {spearman["shift"]:.2f} with the shift
          response and of {spearman["decodability"]:.2f} with decodability; with RMS activation
          it is {spearman["rms_activation"]:.2f} ({first.name.lower()}). Means over plain
          networks. {of_runs}.""",
          "Heat maps: rank correlation and number of shared channels of six rankings.",
          workspace=workspace)
for part, n in zip(shown, n_top, strict=True):
    stability = pd.DataFrame([r.results["stability"] for r in part.base])
    mean, low, high = stability["mean"].mean(), stability["low"].min(), stability["high"].max()
    print(f"{part.name}: of the {n} channels with the highest flip response, {100 * mean:.0f} % "
          f"remain among them when the images are resampled (95 % of samples: {100 * low:.0f} to "
          f"{100 * high:.0f} %).")

# %% [markdown]
# **Centre and periphery.** The paper also compares the middle half of the columns with the two outer quarters (its
# Figs. 4 and 5). *What to look for:* in the first two panels, whether ablating the flip-ranked channels costs more than
# ablating random ones, and where. The third panel shows the difference: values above 0 mean that ablating the
# flip-ranked channels, beyond random ones, costs more in the periphery. Networks with circular padding, in which no
# column is special, are shown for comparison. If their values are as high, the damage depends on what tends to be in
# the periphery, not on position.

# %% Draw the figure
by_network = ["network", "fraction"]


def periphery_at(part, value="value"):
    kept = part.periphery[part.periphery["network"].isin(["plain", "circular_padding"])]
    return ablation.summarise(kept, by_network, value)


fig, panels = each_part(3.2, columns=3, sharey=False)
drawn = []
for part, axes in panels:
    curve = region_attack.region_curve(part.rows, ["random", "flip"], ["centre", "periphery"])
    for ax, region in zip(axes, ("centre", "periphery"), strict=False):
        figures.curves(curve[curve["region"] == region], "percent", "kind", ax, KIND_LOOKS)
        ax.set_xticks([5, 15, 49])
        ax.set_title(f"{part.name}\n{region}", fontsize="small")
        ax.set(xlabel="channels ablated (%)")
        ax.axhline(0, **style.CHANCE)
    limits = [ax.get_ylim() for ax in axes[:2]]
    for ax in axes[:2]:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    axes[0].set(ylabel="lost in the region\n(points of mean IoU)")
    summary = periphery_at(part)
    summary["percent"] = in_percent(summary["fraction"]).astype(str)
    figures.dots_by_group(summary, "percent", "network", axes[2], floor=-100, looks=KIND_LOOKS)
    axes[2].set_title(f"{part.name}\nperiphery minus centre", fontsize="small")
    axes[2].set(xlabel="channels ablated (%)", ylabel="beyond random sets\n(points of mean IoU)")
    for tick in axes[2].get_xticklabels():
        tick.set(rotation=0, ha="center")
    axes[2].get_legend().remove()
    drawn += [curve.assign(run=part.name), summary.assign(run=part.name)]
handles, names = panels[0][1][0].get_legend_handles_labels()
more_handles, more_names = panels[0][1][2].get_legend_handles_labels()
fig.legend(handles + more_handles, names + more_names, fontsize="small", loc="outside lower center",
           ncols=4)
outside = periphery_at(first).set_index(by_network)
largest = first.periphery["fraction"].max()
page.show(fig, "06_periphery", f"""Beyond random sets, ablating {100 * largest:.0f} % by flip
          response costs {text(outside.loc[("plain", largest)])} points more in the periphery
          than in the centre in plain networks, and
          {text(outside.loc[("circular_padding", largest)])} with circular padding, which cannot
          encode the column ({first.name.lower()}). The paper prints no number. {what}; n of each
          network is in {{numref}}`tab-06_periphery_gaps`.""",
          "Points lost in the centre and in the periphery, and the difference for plain networks "
          "and for those with circular padding.", workspace=workspace, data=pd.concat(drawn))

# %% Make the table
table = beside(periphery_at, by_network)
for region in ("periphery", "centre"):
    means = periphery_at(first, region).set_index(by_network)["mean"]
    keys = table[by_network].itertuples(index=False, name=None)
    table.insert(2, region, [means[key] for key in keys])
table["fraction"] = in_percent(table["fraction"])
counted = ", ".join(f"{style.label(network)} {n}" for network, n in
                    table.groupby("network", sort=False)["n"].first().items())
page.table(table.map(style.label).rename(columns={
    "fraction": "ablated (%)", first.name.lower(): "periphery minus centre"}), "06_periphery_gaps",
    f"""Points of mean IoU that the flip-ranked set costs beyond random sets in the centre and in
          the periphery, and the difference with its 95 % interval. Networks: {counted}. {what}.""",
    workspace=workspace, hidden=["n"])

# %% [markdown]
# **Left and right.** By the released rule, the *right* list is the *left* one in reverse, because mirroring only
# changes the sign of the signed response. Two lists made by this rule share no channel at the top and have a Spearman
# correlation of −1. Neither is true of the lists that the authors released.

# %% Make the table
generator = torch.Generator().manual_seed(0)
signed = torch.randn(2048, generator=generator).double()       # any response will do
left, right = (channels.top_channels(sign * signed, 2048) for sign in (1, -1))
rule = {"first": "left", "second": "right",
        **{f"shared of {n}": channels.overlap(left[:n], right[:n]) for n in (100, 300)},
        "spearman": channels.rank_correlation(left.argsort(), right.argsort())}
chance = {"first": "random", "second": "random", "shared of 100": 100 ** 2 / 2048,
          "shared of 300": 300 ** 2 / 2048, "spearman": 0.0}
table = pd.concat([pd.DataFrame([rule]).assign(source="by the released rule"),
                   released_lists.assign(source="the released lists"),
                   pd.DataFrame([chance]).assign(source="two random lists")])
table = table[["source", *rule]].rename(columns={"spearman": "Spearman correlation"})
for column in table.filter(like="shared of"):
    table[column] = [f"{count:.3g}" for count in table[column]]
page.table(table, "06_released",
           "Rankings of 2,048 channels: what the released rule implies, and the released lists.",
           workspace=workspace, digits=2)

# %% [markdown]
# So those lists were made by another rule, or from different images for each side. Which channels the paper's region
# attack removed cannot be determined from the released code.
#
# **As plotted in the paper.** Supplement S3 removes the channels ranked for one side and plots the loss against their
# number, with a "moderate but consistent decrease" in the targeted half. *What to look for:* the targeted half should
# lose more than the other half, and more than it loses when as many random channels are removed.

# %% Draw the figure
fig, panels = each_part(3.2, columns=2)
drawn = []
for part, axes in panels:
    curve = region_attack.side_curve(part.rows)
    for ax, side in zip(axes, region_attack.SIDES, strict=True):
        figures.curves(curve[curve["side"] == side], "percent", "kind", ax, KIND_LOOKS)
        percent = sorted(curve["percent"].unique())
        ax.set_xticks(percent, [f"{value:.0f}" for value in percent])
        ax.set_title(f"{part.name}: channels ranked for the {side}", fontsize="small")
        ax.axhline(0, **style.CHANCE)
    axes[0].set(ylabel="lost in the half\n(points of mean IoU)")
    drawn.append(curve.assign(run=part.name))
for ax in panels[-1][1]:
    ax.set(xlabel="channels ablated (%)")
legend_below(fig, panels[0][1][0])


def with_more_damage(part, side):
    """At how many fractions the targeted half loses more than the other, and than at random."""
    curve = region_attack.side_curve(part.rows).set_index(["side", "kind", "percent"])["mean"]
    of_side = curve.unstack("kind").loc[side]
    more = (of_side["targeted"] > of_side["other"]) & (of_side["targeted"] > of_side["random"])
    return f"{more.sum()} of {len(more)}"


page.show(fig, "06_sides", f"""On average the targeted half loses more than the other half, and more
          than with random channels, at {with_more_damage(first, "left")} fractions for the left
          ranking and at {with_more_damage(first, "right")} for the right one
          ({first.name.lower()}); whether that exceeds the variation between networks is shown in
          {{numref}}`tab-06_specificity`. Points of mean IoU lost in either half (grey: the targeted
          half, with random channels), as in Figs. S3 (right) and S4 (left) of the paper, which
          prints no number. {what}.""",
          "Points of mean IoU lost by half of the image, against the percentage of channels "
          "ablated, for the rankings of left and of right.",
          workspace=workspace, data=pd.concat(drawn))

# %% [markdown]
# **Is the damage where it should be?** *What to look for:* circles above 0 mean that ablating the channels ranked for a
# region by their signed response costs more inside it. For the squares, channels are ranked by where they are active,
# without any mirroring. Triangles are a positive control: the flip-ranked channels are ablated *only in the region*, so
# the damage is local by construction.

# %% Draw the figure
by = ["network", "kind", "region", "fraction"]
fig, panels = each_part(3.3, columns=2)
drawn = []
for part, axes in panels:
    regional = ablation.summarise(part.specificity, by, "value")
    for ax, fraction in zip(axes, [judged, 1000 / 2048], strict=True):
        in_plain = regional[(regional["network"] == "plain") & (regional["fraction"] == fraction)]
        figures.dots_by_group(in_plain, "region", "kind", ax, floor=-100, looks=KIND_LOOKS)
        ax.set_title(f"{part.name}: {100 * fraction:.0f} % ablated", fontsize="small")
        for tick in ax.get_xticklabels():
            tick.set(rotation=0, ha="center")
        ax.get_legend().remove()
    axes[0].set(ylabel="specificity\n(points of mean IoU)")
    drawn.append(regional.assign(run=part.name))
legend_below(fig, panels[0][1][0])


def specificity_at(part, kind):
    """The rows of plain networks at 15 %."""
    rows = part.specificity[part.specificity["fraction"] == judged]
    return rows[(rows["network"] == "plain") & (rows["kind"] == kind)]


def above_zero(part, kind):
    """How many regions have an interval above 0 at 15 %."""
    return (ablation.summarise(specificity_at(part, kind), ["region"], "value")["low"] > 0).sum()


page.show(fig, "06_regions", f"""At 15 %, the interval over networks lies above 0 for
          {above_zero(first, "signed")} of 6 regions when channels are ranked by their signed
          response, for {above_zero(first, "active")} when they are ranked by where they are active,
          and for {above_zero(first, "only_there")} when flip-ranked channels are ablated only there
          ({first.name.lower()}). Specificity: the loss of a region minus the loss of the rest,
          beyond random sets. 0 means the same damage everywhere. {what}.""",
          "Dots of specificity for six regions, three kinds of ablation.",
          workspace=workspace, data=pd.concat(drawn))

# %% Make the table
def signed_at(part):
    return ablation.summarise(specificity_at(part, "signed"), ["region"], "value")


table = beside(signed_at, ["region"])
single = signs(specificity_at(first, "signed"), ["region"])
table.insert(2, "single networks", [single[region] for region in table["region"]])
page.table(table, "06_specificity",
           f"""Specificity of the signed rankings at 15 % of the channels, in points of mean IoU:
          mean over n = {first.n} networks with its 95 % interval, and how many single networks
          lie above and below 0 by a bootstrap over test images. {what}.""",
           workspace=workspace, hidden=["n"])

# %% [markdown]
# ## Could it be something else?
#
# > **Controls**
# >
# > * **Is it activity?** [table 06_gaps](#tab-06_gaps) compares the flip-ranked set with random sets of the same RMS
# >   activation. If no difference remains, activity is enough to explain the cost.
# > * **Does it also happen in a network without position information?** A network with circular padding cannot encode
# >   the column, yet it has channels with a high flip response. If removing *those* costs as much, the damage is no
# >   evidence about position. The same comparison determines what a difference between periphery and centre means
# >   ([figure 06_periphery](#fig-06_periphery)).
# > * **Do the sides differ at all?** Training that mirrors half of its images makes left and right alike, so there is
# >   nothing for a left list to find. Networks trained *without mirroring* see traffic only on its own side of the
# >   road: for them, left and right differ.
# > * **Can the measure see local damage?** [figure 06_regions](#fig-06_regions) includes an ablation that is local by
# >   construction. If specificity does not detect that, it cannot detect a side either.
# > * **Is it the sampling?** [table 06_mirrors](#tab-06_mirrors) gives the flip response at an even and at an odd
# >   width.

# %% Draw the figure
fig, panels = each_part(3.4, columns=2, sharey=False)
drawn = []
for part, axes in panels:
    gaps, sides = part.gaps, part.specificity
    flip = gaps[(gaps["kind"] == "flip") & (gaps["fraction"] == judged)]
    sides = sides[(sides["kind"] == "signed") & sides["region"].isin(region_attack.SIDES)
                  & (sides["fraction"] == judged)]
    for ax, rows, kind in zip(axes, (flip, sides), ("against", "region"), strict=True):
        rows = rows.rename(columns={"value": "mean"})
        figures.networks_by_group(rows, "network", kind, ax, KIND_LOOKS)
        drawn.append(rows.assign(run=part.name))
    axes[0].get_legend().set_title("beyond", {"size": "small"})
    axes[0].set_title(f"{part.name}\nhighest flip response, 15 %", fontsize="small")
    axes[1].set_title(f"{part.name}\nranked by signed response, 15 %", fontsize="small")
    axes[0].set(ylabel="lost beyond random sets\n(points of mean IoU)")
    axes[1].set(ylabel="specificity\n(points of mean IoU)")


def of_networks(part, network):
    """What the flip-ranked set costs beyond random sets in single networks of a kind, in words."""
    rows = part.gaps[(part.gaps["network"] == network) & (part.gaps["kind"] == "flip")
                     & (part.gaps["against"] == "random") & (part.gaps["fraction"] == judged)]
    ends = rows["value"].min(), rows["value"].max()
    return "{:+.1f} to {:+.1f}".format(*ends).replace("-", "−") + f" points (n = {len(rows)})"


page.show(fig, "06_controls", f"""In networks with circular padding, which cannot encode the
          column, the flip-ranked set costs {of_networks(first, "circular_padding")} beyond
          random sets; in plain networks {of_networks(first, "plain")} ({first.name.lower()}).
          Left: loss beyond random sets. Right: specificity for left and right. One mark for
          each network, with the 95 % interval of a bootstrap over test images. {of_runs}.""",
          "Loss beyond random sets, and left and right specificity, one mark for each network.",
          workspace=workspace, data=pd.concat(drawn))


# %% Make the table
def mirrors(part):
    with_symmetry = [r for r in part.runs if "symmetry" in r.results]
    rows = ablation.rows_of(with_symmetry, "symmetry", "network", part.names)
    rows["width"] = np.where(rows["columns"] % 2, "odd", "even")
    responses = rows.set_index(["network", "kernels", "width"])["response"]
    return with_symmetry, responses.rename(part.name.lower())


responses = [mirrors(part)[1] for part in shown if any("symmetry" in r.results for r in part.runs)]
records.require(responses, "the flip response at an odd width")
table = responses[0].to_frame().join(responses[1:], how="left").reset_index()
page.table(table.map(style.label), "06_mirrors", """The flip response vanishes only with symmetric
          kernels *and* an odd width. Mean flip response over mean activation, on 40 training images
          at their own, even width and one column wider (one network of each kind, seed 0): with the
          kernels as they were trained, and with each kernel averaged with its mirror image.""",
           workspace=workspace, digits=3)
odd = table[(table["kernels"] == "symmetrised") & (table["width"] == "odd")]
others = table.drop(odd.index)
assert (odd[first.name.lower()] < 1e-4).all() and (others[first.name.lower()] > 1e-3).all()
for part in shown:
    for r in mirrors(part)[0]:
        print(f"{part.name}, {style.label(part.names[r.digest])}: Spearman correlation of the flip "
              f"responses at the even and the odd width {r.results['even_odd_correlation']:.2f}; "
              f"mean shift response over mean flip response {r.results['shift_over_flip']:.2g}")

# %% [markdown]
# ## How much of the flip response is due to the sampling?
#
# A layer with kernel $k$, stride $s$ and $p$ padded columns on each side reads $n$ columns evenly only if
# $(n + 2p - k) / s$ leaves no remainder. Otherwise some columns on the right are never read, and the padding is applied
# unevenly ([Alsallakh et al., 2021](../book/bibliography.md#alsallakh2021mind)). Then even a network with
# mirror-symmetric kernels has a flip response, as the two widths at the top of this page show. Does the flip response
# of an ordinary network vanish where the sampling is symmetric?
#
# The two causes can be separated without changing what the network computes. Mirror every kernel, and apply this
# *mirrored network* $\overleftarrow{z}$ to the mirror image. If the sampling treats left and right alike, its latent
# equals that of the original network for the original image, whatever the kernels:
#
# $$ z(x) = \overleftarrow{z}(\overleftarrow{x}) . $$
#
# So $|z(x) - \overleftarrow{z}(\overleftarrow{x})|$ is the effect of the sampling alone, and the flip response
# $|z(x) - z(\overleftarrow{x})|$ is the joint effect of sampling and kernels.
#
# > **Make a guess**
# >
# > Which widths are symmetric? For a ResNet-18, whose four strided layers all have odd kernels with equal padding:
# > $16m + 1$. For a VGG, with 2×2 pools? For SqueezeNet, whose first layer has no padding?

# %%
def symmetric_widths(net, widths):
    net.eval()
    return [n for n in widths if not size_parity.uneven_layers(net, torch.zeros(1, 3, 32, n))]


for name, net in (("ResNet-18", classifiers.permutenet(2, width=2)),
                  ("VGG", classifiers.vgg(2, 2)),
                  ("SqueezeNet 1.1", encoders.untrained("squeezenet1_1").net)):
    print(f"{name:15s} symmetric among 64 to 97 columns:", symmetric_widths(net, range(64, 98)))

resnet = classifiers.permutenet(2, width=4).eval()
mirrored = size_parity.mirrored(deepcopy(resnet))
for n in (97, 96):                                            # both sides of the equation above
    pictures = torch.randn(4, 3, 32, n)
    with torch.no_grad():
        z = gap(resnet.features(pictures))
        z_mirrored = gap(mirrored.features(pictures.flip(-1)))
    print(f"{n} columns: largest difference {(z - z_mirrored).abs().max():.0e}; uneven layers:",
          ", ".join(size_parity.uneven_layers(resnet, pictures[:1])) or "none")

# %% [markdown]
# **The experiment.** *Held fixed:* the images. *Varied:* their width, from one multiple of 16 plus 1 to the next, by
# cropping at the centre; and the network: a small ResNet-18, trained to classify photographs (at an even size, half of
# them mirrored) or untrained; an untrained VGG; and the networks whose ImageNet weights are available, trained and
# untrained. The pooled latent is that of the last stage. Every change is relative to the standard deviation of $z$ over
# images, with both averaged over channels. In the control, the kernels are symmetric, so the sampling is the only cause
# of a flip response.

# %% Measure the flip response by width
files = encoders.parse_encoders("", workspace.data)
parity_plan = size_parity.plan(profile, train, files, workspace.data)
parity_inputs = size_parity.Inputs(train, workspace.data, files, workspace.device)
parity_runs = records.run_or_load(
    "size_parity", parity_plan, partial(size_parity.run, inputs=parity_inputs),
    seeds=range(size_parity.SEEDS[profile]), workspace=workspace, optional=True)
parity_reference = records.reference("size_parity", workspace)
parity = {}                                                   # title -> rows; the reference first
if parity_reference:
    data = style.label(parity_reference[0].config["dataset"])
    title = f"Reference runs: {data}, {records.origin(parity_reference)}"
    parity[title] = size_parity.parity_frame(parity_reference)
if parity_runs and not workspace.is_reference:
    parity[f"This run: {style.label(dataset)}"] = size_parity.parity_frame(parity_runs)
records.require(parity, "the flip response by width")

# %% [markdown]
# *What to look for.* Grey lines mark the widths at which, by the arithmetic, no layer is uneven. There, squares and
# triangles must fall to rounding error. Do the round dots fall too?

# %% Draw the figure
def parity_figure():
    """One panel for each network; the reference on the left, in two columns."""
    blocks = [(title, rows, rows["network"].unique()) for title, rows in parity.items()]
    columns = [2, 1][:len(blocks)]
    n_rows = max(-(-len(keys) // n) for (_, _, keys), n in zip(blocks, columns, strict=True))
    fig = plt.figure(figsize=(9, 1.2 + 1.6 * n_rows), layout="constrained")
    parts = fig.subfigures(1, len(blocks), width_ratios=[n + 0.15 for n in columns],
                           squeeze=False)[0]
    for block, n, (title, rows, keys) in zip(parts, columns, blocks, strict=True):
        block.suptitle(title, fontsize="small", fontweight="bold")
        axes = block.subplots(n_rows, n, squeeze=False, sharey=True)
        for ax in axes.flat[len(keys):]:
            ax.set_axis_off()
        for ax, key in zip(axes.flat, keys, strict=False):
            of_network = rows[rows["network"] == key]
            figures.mirror_by_width(of_network, ax)
            ax.set_title(f"{style.label(key)}, n = {of_network['seed'].nunique()}", fontsize=9)
            ax.tick_params(labelsize=9)
        for ax in axes[:, 0]:
            ax.set_ylabel("change / spread" if block is parts[0] else "", fontsize=9)
        for column in axes.T:
            [ax for ax in column if ax.axison][-1].set_xlabel("width (pixels)", fontsize=9)
    handles = parts[0].axes[0].get_legend_handles_labels()
    fig.legend(*handles, fontsize=9, loc="outside lower center", ncols=3)
    return fig


page.show(parity_figure(), "06_parity", """The effect of the sampling vanishes at exactly the widths
          predicted by arithmetic; the flip response does not. Change of the pooled latent under a
          mirror image, relative to its spread over images, by width. Lines: means over n seeds,
          which are draws of images and, except with ImageNet weights, of networks; dots: single
          seeds. Grey: no layer is uneven.""",
          "One panel for each network: a flat line for the flip response, and two with deep dips.",
          workspace=workspace,
          data=pd.concat([rows.assign(run=title.split(":")[0]) for title, rows in parity.items()]))


# %% Make the table
def mean_and_seeds(values, spec=".2f"):
    values = values.dropna()
    if len(values) < 2:
        return format(values.iloc[0], spec) if len(values) else "–"
    single = ", ".join(format(value, spec) for value in values)
    return f"{values.mean():{spec}} ({single})".replace("-", "−")


def parity_lines():
    for title, rows in parity.items():
        for key, of_seeds in size_parity.parity_summary(rows).groupby("network", sort=False):
            run = "" if title.startswith("Reference") or len(parity) == 1 else "this run: "
            yield {
                "network": run + style.label(key),
                "at symmetric widths": mean_and_seeds(of_seeds["flip_symmetric"]),
                "at the others": mean_and_seeds(of_seeds["flip_uneven"]),
                "sampling alone": mean_and_seeds(of_seeds["sampling"]),
                "ranking, other width": mean_and_seeds(of_seeds["spearman"]),
                "ranking, other images": mean_and_seeds(of_seeds["halves"]),
                "symmetric widths": of_seeds["symmetric"].iloc[0] or "none",
                "top tenth shared (%)": mean_and_seeds(100 * of_seeds["overlap"], ".0f"),
            }


page.table(pd.DataFrame(parity_lines()), "06_parity_widths", """The flip response at symmetric
          widths is about as large as at the others. Flip response at both kinds of width, and the
          effect of the sampling alone at the others, in units of the spread over images. Then two
          Spearman correlations between rankings by flip response: at the widest width and at the
          nearest one of the other kind, on the same images; and on either half of the images, at
          the widest width. Mean, with single seeds in brackets. The csv has the symmetric widths,
          and the share of the top tenth that two widths have in common.""",
           workspace=workspace, hidden=["symmetric widths", "top tenth shared (%)"])

# %% Check the sentences below
for title, of_widths in parity.items():
    symmetric = of_widths["uneven"] == 0
    sampling = of_widths[["mirrored_network", "symmetrised_flip"]]
    largest_there = sampling[symmetric].max(axis=None)
    least_elsewhere = sampling[~symmetric].min(axis=None)
    print(f"{title}. The sampling's effect is at most {largest_there:.0e} where no layer is "
          f"uneven, and at least {least_elsewhere:.2g} elsewhere.")
    assert not largest_there > 1e-5                 # not so, too, where no width is symmetric
if parity_reference:   # on narrow images, what an uneven layer leaves out may not matter
    rows = next(iter(parity.values()))
    sampling = rows.loc[rows["uneven"] > 0, ["mirrored_network", "symmetrised_flip"]]
    assert sampling.min(axis=None) > 1e-3
    of_seeds = size_parity.parity_summary(rows)
    ratio = (of_seeds["flip_symmetric"] / of_seeds["flip_uneven"]).dropna()
    alone = of_seeds["sampling"] / of_seeds["flip_uneven"]
    print(f"Reference runs: flip response at symmetric widths over that at the others, "
          f"{ratio.min():.2f} to {ratio.max():.2f}; sampling alone over flip response, at the "
          f"others, {alone.min():.2f} to {alone.max():.2f}")
    assert ratio.between(0.5, 2).all() and alone.between(0.5, 2).all()
    mobilenet = of_seeds["network"].str.startswith("mobilenetv2")
    assert (of_seeds.loc[~mobilenet, "spearman"] > 0.8).all()
    assert (of_seeds["overlap"] < 0.9).all()
    assert (ratio[of_seeds["network"] == "mobilenetv2_100/imagenet"] > 1).all()
    assert (of_seeds.loc[mobilenet, ["spearman", "halves"]] < 0.5).all(axis=None)

# %% [markdown]
# **Does the flip response vanish at symmetric widths? No.** The effect of the sampling does, to rounding error, at
# exactly the widths predicted by arithmetic. The flip response is about as large there as elsewhere
# ([table 06_parity_widths](#tab-06_parity_widths)): asymmetric kernels are enough to cause it. Only with symmetric
# kernels *and* a symmetric width does a network respond equally to an image and its mirror image. The two causes do not
# add up. At the other widths, the sampling alone changes $z$ about as much as mirroring the image does (the last line
# printed above), and yet without it the flip response is hardly smaller, and larger in the trained MobileNetV2.
#
# The sampling does affect *which* channels rank highest. Adding a column or two changes the top tenth in every network.
# In the ResNets, the VGG and SqueezeNet, most of the ranking is preserved. In MobileNetV2 little of it is, but there
# the rankings from the two halves of the images do not agree either. A symmetric width removes a left-right difference
# that is unrelated to content, so it is the better choice for such rankings. It does not make the flip response a
# measure of position.

# %% [markdown]
# ## Against the paper

# %% Judge the claims
rows_of_claim = {paper.CHANNELS_OVERALL: lambda part: paper.gap_rows(part.gaps),
                 paper.CHANNELS_PERIPHERY: lambda part: paper.specificity_rows(part.periphery),
                 paper.CHANNELS_REGION: lambda part: paper.specificity_rows(part.specificity)}


def judge(part):
    scale = paper.scale(part.c, part.size, part.n)
    verdicts = {}
    for claim, make in rows_of_claim.items():
        rows = make(part)
        verdicts[claim] = claim.judged([row for row in rows if row.network == "plain"], scale, rows)
    return verdicts


verdicts = {part.name: judge(part) for part in shown}
none = {claim: claim.judged([], paper.scale(first.c, first.size, 0)) for claim in claims}
described = {"reference": "none on file", "here": "none"}
if reference:
    described["reference"] = f"{first.what}, {records.origin(first.base)}, n = {first.n}"
if here:
    described["here"] = f"{here.what}, {records.origin(here.base)}, n = {here.n}"
page.against_paper(verdicts.get("Reference runs", none), verdicts.get("This run", {}),
                   "06_against_paper", runs=described, workspace=workspace)

# %% [markdown]
# Do the verdicts depend on the size of images and networks? The table lists all sets of networks on file, each judged
# by the same rules.

# %% Make the table
lines = []
for runs_of_set in region_attack.recorded_sets([*records.reference("region_attack", workspace)]):
    part = evidence("on file", runs_of_set, region_attack.recorded_size(runs_of_set))
    for claim, of_claim in judge(part).items():
        evidence_of = of_claim.evidence.split("; not judged")[0]
        lines.append({"networks": f"{part.what}, {part.n} networks", "claim": claim.id,
                      "verdict": of_claim.verdict, "evidence": evidence_of,
                      "control": of_claim.outcome})
records.require(lines, "no run is on file")
page.table(pd.DataFrame(lines), "06_sets",
           "Every set of networks on file, by the rules of this page; the first is the reference.",
           workspace=workspace)

# %% [markdown]
# ## What it means, and what it does not
#
# The cell below states the results in sentences made from the records.

# %% State the results
def findings(part, verdicts):
    """Sentences about some runs, from their rows."""
    cost = gaps_at(part).set_index(["kind", "against", "fraction"])
    single = part.gaps[(part.gaps["network"] == "plain") & (part.gaps["fraction"] == judged)
                       & (part.gaps["kind"] == "flip") & (part.gaps["against"] == "random")]
    overall, outer, sided = (verdicts[claim] for claim in claims)
    yield (f"Removing the 15 % of the channels with the highest flip response costs "
           f"{text(cost.loc[('flip', 'random', judged)])} points beyond uniform random sets and "
           f"{text(cost.loc[('flip', 'rms_matched', judged)])} beyond RMS-matched ones; removing "
           f"the most active 15 % costs {text(cost.loc[('rms_activation', 'random', judged)])} "
           f"beyond uniform ones (claim: {overall.verdict}; control: {overall.outcome}).")
    yield (f"In single networks, which differ only in their seed, the interval over test images "
           f"lies above 0 in {(single['low'] > 0).sum()} and below 0 in "
           f"{(single['high'] < 0).sum()} of {len(single)}.")
    spearman = region_attack.agreement_tables(part.base)[0].loc["flip"]
    yield (f"The Spearman correlation of the flip response is {spearman['shift']:.2f} with the "
           f"shift response, {spearman['decodability']:.2f} with decodability and "
           f"{spearman['rms_activation']:.2f} with RMS activation.".replace("-", "−"))
    outside = periphery_at(part).set_index(by_network)
    largest = part.periphery["fraction"].max()
    yield (f"At {100 * largest:.0f} %, beyond random sets, the periphery loses "
           f"{text(outside.loc[('plain', largest)])} points more than the centre (claim: "
           f"{outer.verdict}; control: {outer.outcome}).")
    by_side = ["network", "kind", "region"]
    sides = part.specificity[part.specificity["fraction"] == judged]
    sides = ablation.summarise(sides, by_side, "value").set_index(by_side)
    for network, kind, subject in (
            ("plain", "signed", "Channels ranked by signed response have a specificity of"),
            ("plain", "active", "Channels ranked by where they are active have"),
            ("plain", "only_there", "Flip-ranked channels ablated only in the region have"),
            ("never_flipped", "signed",
             "In networks trained without mirroring, those ranked by signed response have")):
        if (network, kind, "left") in sides.index:
            left, right = (sides.loc[(network, kind, side)] for side in region_attack.SIDES)
            yield (f"{subject} {text(left)} points for left and {text(right)} for right, "
                   f"n = {left['n']:.0f}.")
    yield f"Left and right (claim: {sided.verdict}; control: {sided.outcome})."


display(Markdown("\n".join(f"* {line}" for line in findings(first, judge(first)))))

# %% Check the sentences above and below
circular = [r for part in shown for r in part.runs if part.names[r.digest] == "circular_padding"]
assert all(r.results["shift_over_flip"] < 1e-5 for r in circular)
if first.name == "Reference runs" and first.c.profile == "quick":   # the committed CPU runs
    assert first.n == 15 and first.size == (48, 64)
    nothing = first.rows.query("network == 'plain' and kind == 'nothing'")["miou"].mean()
    lost = region_attack.loss_curve(first.rows, ["flip", "random", "rms_activation", "lowest_flip"])
    lost = lost.assign(percent=in_percent(lost["fraction"])).set_index(["kind", "percent"])["mean"]
    at_15 = [round(lost[kind, 15], 1) for kind in ("flip", "random", "rms_activation")]
    assert round(nothing) == 31 and at_15 == [0.7, 0.6, 3.3]
    assert text(cost.loc[("flip", "random", judged)]) == "+0.1 [−0.3, +0.4]"
    assert min(above, below) > 2 and above + below > len(of_one) / 2
    assert cost.loc[("rms_activation", "random", judged), "low"] > 0
    assert lost["lowest_flip", 49] > 1.5 * lost["flip", 49]

    spearman = region_attack.agreement_tables(first.base)[0].loc["flip"]
    assert abs(spearman["decodability"]) < 0.1 and spearman["rms_activation"] < 0.4
    of_claims = [judge(first)[claim] for claim in claims]
    assert [(of_claim.verdict, of_claim.outcome) for of_claim in of_claims] == [
        ("contradicted", "undecided"), ("inconclusive", "undecided"),
        ("contradicted", "rival explanation holds")]

    low = {kind: ablation.summarise(specificity_at(first, kind), ["region"], "value")
           .set_index("region")["low"] for kind in ("signed", "active", "only_there")}
    for kind in ("active", "only_there"):
        assert (low[kind][["left", "right"]] > 0).all()
    assert (low["signed"][["top", "bottom"]] > 0).all()
    unmirrored = first.specificity.query("fraction == @judged and network == 'never_flipped'")
    unmirrored = unmirrored.query("kind == 'signed' and region == 'left'")
    assert len(unmirrored) == 2 and (unmirrored["value"] < 0).all()

# %% [markdown]
# * **The claim does not hold for these networks.** Removing the channels with the highest flip response costs as much
#   as removing random ones, within half a point. When half of the layer is removed, even the channels with the *lowest*
#   flip response cost more. What matters most to these networks is their most active channels.
# * **Use several networks.** The bootstrap over images measures how well the cost is known for *one* network. The
#   interval over networks answers a different question: what another network, trained in the same way from another
#   seed, would show. More than half of the single networks differ from 0 by their own intervals, some above and some
#   below ([figure 06_networks](#fig-06_networks)). The paper and its code have one network, and no number of test
#   images can compensate for that.
# * **Compare with activity.** Zeroing an active channel changes *f* more than zeroing a quiet one. Uniform random sets
#   ignore this, so RMS-matched sets are the fairer comparison. [Table 06_overlap](#tab-06_overlap) shows to what
#   extent they could be drawn from other channels: when half of the layer is removed, there are too few.
# * **The flip response is not a measure of position.** Networks with circular padding cannot encode the column, and
#   their shift response is 0 up to rounding, yet their channels have a flip response too. Part of it comes from the
#   sampling at every even width ([table 06_mirrors](#tab-06_mirrors)). Flip response, shift response and decodability
#   are all meant to measure position, but they rank the channels differently ([figure 06_rankings](#fig-06_rankings)),
#   so they do not measure the same thing.
# * **Centre and periphery: undecided.** The interval includes 0 and effects of interest. The outer quarters of a street
#   scene also differ in content from its middle: a larger loss there is evidence of position only if networks that
#   cannot encode the column do not show it too ([table 06_periphery_gaps](#tab-06_periphery_gaps)).
# * **Left and right: the ranking fails, not the measure.** Training on mirrored images, as in the released code, makes
#   left and right alike, and the signed ranking then finds no side. It is no more reliable in the two networks that
#   were never trained on mirrored images: there, ablating the channels ranked for the left harms the right half more.
#   The measure itself does detect local damage (channels ablated only in one half), and ablating channels ranked by
#   where they are active does harm their own side more. For top and bottom, the signed ranking works.
# * **Not shown:** Cityscapes and a DeepLabv3-ResNet50 at full scale (`--profile paper`), and the effect of the authors'
#   own lists. The skip connection of DeepLabv3+ weakens the effect of every ablation, because thin objects do not need
#   *f*: `-p dataset camvid` trains networks with and without it.
#
# ## Summary
#
# * Removing the channels with the highest flip response costs these networks no more than removing random ones.
# * The sign of the difference varies between networks, so one network does not determine it.
# * The released left and right lists cannot come from the released rule.
# * A ranking that is supposed to measure position has to be compared with activity, with other measures of position,
#   and with a network that cannot encode position.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > Find an image of one row on which the third channel of the first code cell (steps up by more than 2) has a flip
# > response of 0, although it contains such a step.
# >
# > <details><summary>Solution</summary>
# >
# > `0 3 0 0` with circular padding has one step up of 3 and one step down of 3. Mirroring swaps them, and the count
# > remains 1. The response measures how *asymmetric* steps up and down are, not where they are.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Do the rankings agree better in an earlier layer? Run the page with `-p layer layer3`, and compare
# > [figure 06_rankings](#fig-06_rankings).
# >
# > <details><summary>A start</summary>
# >
# > `./run_all.sh --only 06 -p layer layer3 --out /tmp/layer3` keeps the run separate. Start with the correlation of flip
# > and shift response.
# >
# > </details>
#
# > **Exercise 3, to overturn the interpretation**
# >
# > RMS-matched sets match the flip-ranked set in activation only. Match them also in the size of the weights *applied
# > to* them (`classifier.aspp.convs`). Does the flip-ranked set then cost more?
# >
# > <details><summary>A start</summary>
# >
# > The size of the weights applied to channel *c*, over the convolutions of ASPP:
# > `w = sum(m.weight.square().sum((0, 2, 3)) for m in net.classifier.aspp.convs.modules() if isinstance(m, nn.Conv2d)).sqrt()`.
# > A channel contributes roughly its RMS activation times that. So give `channels.rms_matched_sets` the product
# > `rank.rules["rms_activation"] * w` instead of the RMS activation, and measure the gap again. A gap above 0 in every
# > network would overturn this page's interpretation: neither activity nor weights would explain it.
# >
# > </details>
