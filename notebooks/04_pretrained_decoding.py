# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Does a network trained on classes know where?
#
# :::{admonition} The puzzle
# :class: puzzle
# Nobody ever asked this network where anything is. It learned to name photographs, it is frozen, and all that is kept of a picture is the
# average of each channel. One linear layer on those averages tells in which cell the picture was, nearly every time. But a network that has
# learned nothing at all is as good a witness. What, then, did we find out about the first?
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # digits | cifar10 | cifar100 | photos | a folder: what is placed on the canvas; "" is the profile's
scenes = ""           # digits_on_photos (embedded, the default) | camvid: what the segmentation network is trained on
pretrained = ""       # e.g. "resnet18,vgg16=FILE.safetensors"; "" is what lies under the data root's weights/, if any
grids = ""            # e.g. "3,5,7,10"; "" is 3,5,7, and 3,5 at smoke
seeds = 0             # how many; 0 is the profile's number

# %%
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

from posenc_lib.claims import pretrained_decoding as claims
from posenc_lib.experiments import pretrained_decoding as experiment
from posenc_lib.measure import canvas, features
from posenc_lib.nets import classifiers, heads
from posenc_lib.nets import pretrained as encoders
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or ("cifar10" if profile == "paper" else "digits")
splits = inputs.load_for(workspace, dataset, validation=0.0)   # nothing is chosen on this page
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# Supplement S1 of {cite:t}`islam2021global`: frozen ResNet-18s, one trained on ImageNet and one for segmentation on PASCAL VOC, decode location
# through GAPNet's head and fail through a shuffled one. It prints no number, only a figure. Each of the two networks is a claim of its own here, judged on
# whatever stands in for it: for classification the ImageNet ResNet-18, without its weights the other ImageNet networks, and without any of them the small
# network that learns to name photographs; for segmentation the small network that learns to label pixels. The rules were revised with the runs in `records/cpu/`
# already seen, and before the reference run.

# %%
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## By hand: averaging and a 1×1 convolution change places
#
# {term}`GAPNet`'s {term}`head` on a frozen network is a 1×1 convolution and then {term}`GAP`. Both are linear, and one acts on channels, the other on places:
#
# $$ \frac{1}{HW} \sum_{ij} \Big( \sum_c W_{kc} f_c(i, j) + b_k \Big) = \sum_c W_{kc} \Big( \frac{1}{HW} \sum_{ij} f_c(i, j) \Big) + b_k = (W z + b)_k . $$
#
# :::{admonition} A guess to make
# :class: guess
# So the head needs no feature maps: the {term}`pooled latent` $z$ will do, a few hundred numbers a picture, computed once. Does that also hold for the
# 3×3 convolution of the released GAPNet? Under every padding?
# :::

# %%
torch.manual_seed(0)
f = torch.randn(4, 16, 6, 6)
with torch.no_grad():
    for kernel, mode in ((1, "zeros"), (3, "zeros"), (3, "reflect"), (3, "circular")):
        head = nn.Conv2d(16, 9, kernel, padding=kernel // 2, padding_mode=mode)
        pooled_last = heads.gap(head(f))
        pooled_first = heads.gap(f) @ head.weight.sum((-2, -1)).T + head.bias
        difference = (pooled_last - pooled_first).abs().max().item()
        print(f"{kernel}×{kernel}, {mode:9s} largest difference {difference:.0e}")

# %% [markdown]
# For 1×1 it is an identity. For 3×3 only under circular padding: elsewhere the head reads the border itself, and could tell the location even
# from features that do not know it. On this page the head is 1×1, so whatever is decoded was in the network.
#
# ## Build it
#
# Place every image in every cell of a {term}`canvas`, run the frozen network once, keep $z$ of each stage. Then a head is an ordinary linear
# classifier, and several are trained side by side (`heads.Heads`):

# %%
encoder = encoders.small_vgg(classifiers.vgg(6, width=4))
patches = splits.test.take(slice(0, 5))
latents, location, number = features.pooled_latents(encoder, patches, 3)

canvases = canvas.place(encoder.view(patches).batch(number)[0], location, 3)   # by hand, all at once
for z, f in zip(latents, encoder(canvases), strict=True):
    torch.testing.assert_close(z, f.mean((-2, -1)))
print([tuple(z.shape) for z in latents], "(canvas, channel) of each stage")

with torch.no_grad():                                                          # a linear head by hand
    head = heads.Heads([torch.arange(latents[-1].shape[1])], ["none"], num_classes=9)
    torch.testing.assert_close(head(latents[-1])[0], latents[-1] @ head.weight[0].T + head.bias[0])

# %% [markdown]
# **How much can a layer know at most?** A unit sees a limited part of the canvas. Where that part holds no border, two cells look alike: in a 7×7 grid, a layer whose
# units reach over one cell can tell the four corners, the four edges and the middle, nine {term}`distinguishable cells` and not 49. They can be counted:
# put one image in every cell and see which $z$ differ.

# %%
def n_distinguishable(z):
    """Of how many cells does z differ from that of every earlier cell?  z (cell, channel) of one image"""
    distance = torch.cdist(z.double(), z.double())
    same = distance < 1e-5 * z.norm(dim=1).max()       # but for rounding
    return int((same.tril(-1).sum(1) == 0).sum())


size = patches.images.shape[-1]
by_hand = [n_distinguishable(z[number == 0]) for z in latents]
assert experiment.distinguishable_cells(encoder, patches, 3) == by_hand
print(f"random network, cells of {size} pixels, distinguishable cells by stage:",
      {f"{k}×{k}": experiment.distinguishable_cells(encoder, patches, k) for k in (3, 5, 7)})

# %% [markdown]
# ## The experiment
#
# **Held:** the canvases, the heads' schedule. **Varied:** the frozen network, its stage, the grid, the head: channels *in order*, or *shuffled* anew
# in every batch. Heads learn on training images and are scored on test images, each in every cell, so chance is exactly $1/k^2$.
# One seed is one set of heads and, for a network made here, that network.
#
# **Deviations from the paper**
#
# * **Networks.** The paper's are ResNet-18s, for ImageNet and for PASCAL VOC. Here: every ImageNet architecture whose weights lie under the data root
#   (the `paper` profile downloads ResNet-18's), and a *small* VGG that the page trains for seconds: to name embedded photographs, and to label the
#   pixels of pasted digits (*digits_on_photos*) or of street scenes (`-p scenes camvid`).
# * **What is placed:** digits in `quick`, CIFAR-10 in `paper`, as on page 03; the text does not say how long its heads learn, on what, at which rate. Ours see some
#   240 canvases for 100 steps of Adam in `quick`.
# * **Every stage** is read, not only the last, and channels are standardised (mean and spread over the training canvases). Without that, a short schedule
#   reads less from layers whose channels differ in scale; for the head in order it is only another parametrisation.

# %% [markdown]
# Four heads read each stage, all trained side by side (`decoding.decode`): on its channels *in order*, *shuffled*, on *few channels* drawn at random, and *in order*
# for an answer that $z$ cannot hold, the locations of other canvases.

# %%
grids = [int(k) for k in grids.split(",")] if grids else experiment.GRIDS[profile]
seeds = range(seeds or config.SEEDS[profile])
files = encoders.parse_encoders(pretrained, workspace.data, ["resnet18"] if profile == "paper" else [])
plan = experiment.plan(profile, dataset, splits.fingerprint, files, workspace.data,
                       scenes=scenes or "digits_on_photos", grids=grids)
read = experiment.Inputs(splits, workspace.data, files, workspace.device)
runs = records.run_or_load("pretrained_decoding", plan.configs, partial(experiment.run, inputs=read),
                           seeds=seeds, workspace=workspace,
                           before=lambda: encoders.check_weights(files, workspace.data))
runs, seeds = records.complete_seeds(runs, plan.configs)

# %%
frame = experiment.accuracy_frame(runs, plan.configs)
accuracies = claims.accuracy_rows(frame)
summary = pd.DataFrame(accuracies)
interval = f"mean and 95 % interval (Student's t) over n = {len(seeds)} seeds"
what = f"{dataset}, {plan.configs[0].canvases} canvases to learn on and half as many to test"

# %% [markdown]
# ## What came out: which stage knows where
#
# *What to look for:* round dots (in order) far above the dotted chance line, square ones (shuffled) near it. The grey step is the ceiling: no head on that
# stage can do better. Then compare with the same networks before any training, in the second figure.

# %%
def panels(networks, heads, name, caption, alt):
    keys = [c.key for c in networks]
    rows = summary[summary["network"].isin(keys) & summary["head"].isin(heads)]
    named = rows.assign(head=rows["head"].map(style.label))
    fig, axes = plt.subplots(len(grids), len(keys), sharey=True, squeeze=False, layout="constrained",
                             figsize=(2.5 * len(keys) + 1, 2.3 * len(grids)))
    for axes_row, k in zip(axes, grids, strict=True):
        for ax, key in zip(axes_row, keys, strict=True):
            panel = named[(named["network"] == key) & (named["grid"] == k)]
            figures.accuracy_by_layer(panel, ax)
            ax.set_xlabel("stage" if k == grids[-1] else "")
            title = style.label(key).replace(", ", "\n", 1)
            ax.set_title(title if k == grids[0] else "", fontsize="small")
        axes_row[0].set_ylabel(f"{k}×{k}\naccuracy (%)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center",
               ncols=5)
    page.show(fig, name, caption, alt, workspace=workspace, data=rows)


for networks, name, which in ((plan.trained, "04_by_stage", "trained"),
                              (plan.untrained, "04_by_stage_random", "random")):
    panels(networks, ["in_order", "shuffled"], name, f"""Location accuracy from the pooled latent of each stage of a frozen,
           {which} network, by grid ({what}); {interval}. Dotted: chance. Grey: the ceiling, from the number of cells that the
           stage can distinguish.""", f"Accuracy by stage, one column a {which} network, one row a grid.")

# %%
last = claims.last_stage(accuracies)
table = pd.DataFrame([{"network": style.label(row.network), "head": style.label(row.head),
                       "grid": f"{row.grid}×{row.grid}, chance {row.chance:.1f}",
                       "accuracy": f"{row.mean:.1f} [{max(row.low, 0):.1f}, {min(row.high, 100):.1f}]"}
                      for row in last if row.head in ("in_order", "shuffled")])
table = table.set_index(["network", "head", "grid"])["accuracy"].unstack("grid", sort=False)
page.table(table.reset_index(), "04_last_stage", f"""Location accuracy (%) from the last stage of each frozen network, channels in order
           and shuffled ({what}); {interval}, cut to 0 to 100 %.""", workspace=workspace)

# %% [markdown]
# *What was seen so far,* on digits and on CIFAR-10: shallow stages stay at the few cells that they can distinguish, and deeper ones rise with theirs. Random networks do
# the same. Shuffling takes most of it away from all of them.

# %% [markdown]
# ## Controls that could overturn the reading
#
# :::{admonition} Is it training, the padding, the head, the number of channels?
# :class: control
# **Random weights** decide whether training put it there: compare {numref}`fig-04_by_stage` with {numref}`fig-04_by_stage_random`.
# **Circular padding**, same weights: in the small network, whose {term}`total stride` (8) divides the cells, a shift by a cell only turns the feature maps, so accuracy must be
# *exactly* chance. **Permuted answers:** a head asked for something that $z$ cannot hold must be near chance on test images, or it has learned them by heart
# (it scatters, for all canvases of a cell look alike and share one lot).
# **Few channels:** as many from every stage, drawn at random, for later stages are wider. An ImageNet network, where there is one, need *not* be blind under circular padding:
# its pooling or its first layer meets the border in ways of their own.
# :::

# %%
panels([plan.trained[0], *plan.circular, *plan.imagenet_circular],
       ["in_order", "few_channels", "permuted_labels"], "04_controls",
       f"""Controls: zero and circular padding; {plan.configs[0].channels} channels of each stage; permuted labels ({what});
       {interval}.""", "Panels of accuracy by stage: under circular padding the small networks are on the chance line.")
circular = [c.key for c in plan.circular]
exact = frame[frame["network"].isin(circular) & (frame["head"] == "in_order")]
off_chance = (exact["accuracy"] - 100 / exact["grid"] ** 2).abs().max()
print("small networks, circular padding, largest distance of any run from chance:",
      f"{off_chance:.2g} points in {len(exact)} (run, stage)")

# %% [markdown]
# **A list of cells, or a sense of place?** A head that has seen every cell may have learned a list. So teach row and column, by ridge regression, on half of the cells,
# those of one colour of a checkerboard, and ask for the cells *between*, on new images. $R^2 = 1$ is right; 0 is what the mean of all cells would give.

# %%
ridge = experiment.ridge_frame(runs, plan.configs)
r2 = records.summarise(ridge, ["network", "grid", "cells"], "R2")
named = r2.assign(network=r2["network"].map(style.label))
fig, axes = plt.subplots(1, len(grids), figsize=(4 * len(grids), 3.6), sharey=True, layout="constrained", squeeze=False)
for ax, k in zip(axes[0], grids, strict=True):
    figures.dots_by_group(named[named["grid"] == k], "network", "cells", ax)
    ax.set(title=f"{k}×{k}", ylim=(-1.1, 1.1))
axes[0, 0].set_ylabel("R² of row and column")
page.show(fig, "04_between", f"""Row and column by ridge regression on the last stage's pooled latent, on new images: in cells
          that were learned, and in those between ({what}); {interval}. Clipped below −1.""",
          "R squared by network, for learned cells and for cells between, one panel a grid.", workspace=workspace,
          data=r2)

# %% [markdown]
# ## Against the paper

# %%
verdicts, controls = {}, {}
for task, claim in claims.BY_TASK.items():
    judged = [c.key for c in plan.judged[task]]
    twins = {key: plan.random_twin[key] for key in judged}
    scale = claims.scale(plan, task, len(splits.test))
    verdicts[claim] = claim.verdict(claims.location_margins(frame, judged), scale)
    controls[claim] = claim.control_outcome(claims.control_margins(frame, twins, circular), scale)
page.against_paper(verdicts, controls, "04_against_paper", f"{what}, n = {len(seeds)} seeds", workspace=workspace)
for c in plan.trained + plan.untrained:
    means = [row.mean for row in last if (row.network, row.head) == (c.key, "in_order")]
    print(f"{style.label(c.key):28s} in order, over grids: {min(means):5.1f} to {max(means):5.1f} %")

# %% [markdown]
# ## What it means, and what it does not
#
# * **The verdicts are about decoding:** whether a linear head reads the cell off the averages of the last stage while its channels are in order, and whether a shuffle takes more than
#   half of that away.
# * **They say nothing about training** unless the control rules out that a random network of the same architecture does half as well ({numref}`fig-04_by_stage_random`). Under circular
#   padding the small networks hold no location at all, whatever their weights, so what a head reads from them otherwise is the mark that padding leaves.
# * **Which stage knows is a matter of reach** ({numref}`fig-04_by_stage`). Heads come close to the ceiling of what a stage can know at all: shallow stages see no border from
#   the cells inside, and distinguish nine cells. "Deeper layers encode more position" is, on canvases, mostly "deeper units see further". A random network's ceiling can be
#   lower still: it has no biases, so the empty canvas is 0 in every layer, and the border shows only where the image reaches it.
# * **A sense of place, not a list.** Taught on half of the cells, a ridge regression places the other half ({numref}`fig-04_between`). The code is smooth enough to
#   interpolate.
# * **Large ImageNet networks** pad in more ways than one: max-pooling with padding, pooling that rounds up, first layers without padding. Switching the convolutions of SqueezeNet 1.1 to
#   circular padding did not make it blind (`figures/cpu/04_controls.svg`): the mode of the convolutions is not the whole story.
# * **Not shown:** that a trained network *uses* any of this. A head can read what the network itself ignores.
#
# ## Summary
#
# * $\mathrm{GAP}(\mathrm{conv}_{1 \times 1}(f)) = W \, \mathrm{GAP}(f) + b$: decoding from a frozen network is a linear problem on a few numbers.
# * How many cells a stage can distinguish is a ceiling for every head, set by padding and reach. Under circular padding no two cells differ for the small network, and it is exactly at chance.
# * The same heads on random weights say how much of the location can be put down to training.
#
# ## Exercises
#
# ::::{admonition} Exercise 1, by pencil
# :class: exercise
# Stage 3 of the small network: two 3×3 convolutions at stride 1, two at stride 2, two at stride 4, with 2×2 pools between. How wide is the window that one of its units sees? In a 5×5 grid
# of 16-pixel cells, how many cells can it distinguish? A cell feels the border when some window holds a piece of its image and a piece of what is beyond the border.
#
# :::{admonition} Solution
# :class: dropdown
# Each convolution adds one of its own input pixels on both sides: $2 \cdot 1 + 2 \cdot 2 + 2 \cdot 4 = 14$. The pools add 1 and 2 pixels on one side. So the window is $1 + 2 \cdot 14 + 3 = 32$
# pixels wide. It spans the 16 pixels between the second ring of cells and the border, so all five rows differ, and $5 \times 5 = 25$ cells. The grey step of a trained network says the
# same. A random one, without biases, may show only $3 \times 3 = 9$: there only the first ring, which touches the border, feels it.
# :::
# ::::
#
# ::::{admonition} Exercise 2, in code
# :class: exercise
# Run the page with `-p grids 10`. Which stage of the small network can tell the four cells in the middle of a 10×10 grid apart?
#
# :::{admonition} A hint
# :class: dropdown
# Count first, for digits. Stage 4 adds two convolutions at stride 8 and a pool: its window is $1 + 2 \cdot (14 + 16) + 7 = 68$ pixels wide and moves in steps of 8. From the middle cells to the
# nearest border there are 64 pixels; the window that reaches over the upper border by the least ends at pixel 61. So no stage can, and the grey step of stage 4 is at most
# $9 \times 9 = 81$ of 100.
# :::
# ::::
#
# ::::{admonition} Exercise 3, to overturn the reading
# :class: exercise
# "Learning did not make it." Train the small network for ten times as long, on photographs at random positions of a canvas, so that position is of no use. Does the
# accuracy of the last stage fall below the random network's?
#
# :::{admonition} A hint
# :class: dropdown
# Page 03 has a related measurement: place fields of networks trained for image class are flatter than those of random ones, but not flat. If the accuracy falls, training does have a say:
# it can wear the mark of padding away.
# :::
# ::::

# %%
print(page.provenance(workspace, splits))
