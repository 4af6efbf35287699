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
# > **The puzzle**
# >
# > This network was trained to name photographs; nothing ever asked it where things are. Freeze it, and keep only the average of each channel.
# > A linear layer on those averages names the cell of a 3×3 canvas that holds the picture, nearly every time. But it does so just as well on the
# > averages of a network with random weights. So what did we learn about the trained one?

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # digits | cifar10 | cifar100 | photos | a folder: what is placed; "" is the profile's
scenes = ""           # digits_on_photos (bundled, the default) | camvid: what the segmentation network is trained on
pretrained = ""       # e.g. "resnet18,vgg16=FILE.safetensors"; "" is what lies under the data root's weights/, if any
grids = ""            # e.g. "3,5,7,10"; "" is 3,5,7, and 3,5 at smoke
seeds = 0             # how many; 0 is the profile's number

# %%
from functools import partial
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

from posenc_lib.claims import pretrained_decoding as claims
from posenc_lib.claims.claim import Scale
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
# Supplement S1 of [Islam et al. (2021)](../book/bibliography.md#islam2021global) reads two frozen ResNet-18s, one trained on ImageNet and one for segmentation on PASCAL VOC. Location can be decoded
# through GAPNet's head and not through a shuffled one. The supplement shows this in a figure and prints no number. Each network is a claim of its own here, judged on
# whatever stands in for it. For classification that is the ImageNet ResNet-18; without its weights, the other ImageNet networks; without any, the small
# network that learns to name photographs. For segmentation it is the small network that learns to label pixels.

# %%
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## By hand: averaging commutes with a 1×1 convolution
#
# On a frozen network, the [head](../book/glossary.md#head) of [GAPNet](../book/glossary.md#gapnet) is a 1×1 convolution followed by [GAP](../book/glossary.md#gap). Both are linear; one acts on channels, the other on positions:
#
# $$ \frac{1}{HW} \sum_{ij} \Big( \sum_c W_{kc} f_c(i, j) + b_k \Big) = \sum_c W_{kc} \Big( \frac{1}{HW} \sum_{ij} f_c(i, j) \Big) + b_k = (W z + b)_k . $$
#
# > **A guess to make**
# >
# > So the head needs no feature maps. The [pooled latent](../book/glossary.md#pooled-latent) $z$ is enough: a few hundred numbers per picture, computed once. Does that also hold for the
# > 3×3 convolution of the released GAPNet? Under every padding?

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
# For 1×1 it is an identity. For 3×3 it holds only under circular padding: elsewhere the head itself reads the border, and could find the location even
# in features that do not contain it. The head on this page is 1×1, so whatever is decoded was in the network.
#
# ## Build it
#
# Place every image in every cell of a [canvas](../book/glossary.md#canvas), run the frozen network once, and keep $z$ of each stage. A head is then an ordinary linear
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
# **What is the most that a stage can know?** A unit sees only part of the canvas. Where that part contains no border, two cells look alike: in a 7×7 grid, a stage whose
# units reach over one cell can tell apart the four corners, the four edges and the interior, so nine [distinguishable cells](../book/glossary.md#distinguishable-cells) and not 49. They can be counted:
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
# **Held fixed:** the canvases and the heads' schedule. **Varied:** the frozen network, its stage, the grid, and the head. Four heads read each stage (`decoding.decode`): its channels
# *in order*; *shuffled* anew in every batch; *few channels*, drawn at random; and *in order* but with *permuted labels*, the locations of other canvases, which $z$ cannot hold.
# Heads learn on training images and are scored on test images. Each image is in every cell, so chance is exactly $1/k^2$.
# A seed determines the heads and, for a network made here, the network. The ImageNet networks are the same for every seed.
#
# **Deviations from the paper**
#
# * **Networks.** The paper's are ResNet-18s, trained on ImageNet and on PASCAL VOC. Here: every ImageNet architecture whose weights are under the data root
#   (the `paper` profile downloads ResNet-18's), and a *small* VGG trained on the spot, to name bundled photographs or to label the
#   pixels of a scene: digits pasted on photographs, or the streets of CamVid (`-p scenes camvid`). The reference runs have no ResNet-18: they read SqueezeNet 1.1 and MobileNetV2.
# * **What is placed.** The text does not say. Digits in `quick`, CIFAR-10 in `paper` and in the reference runs, as on page 03.
# * **The heads' schedule.** The text gives neither steps nor learning rate. The cell below prints ours: Adam, far shorter in `quick` and in the reference runs than the 2,000 steps of `paper`.
# * **Every stage** is read, not only the last, and channels are standardised by their mean and spread over the training canvases. Without that, a short schedule
#   reads less from stages whose channels differ in scale; for the head in order it is only another parametrisation.

# %%
grids = [int(k) for k in grids.split(",")] if grids else experiment.GRIDS[profile]
seeds = range(seeds or config.SEEDS[profile])
files = encoders.parse_encoders(pretrained, workspace.data, ["resnet18"] if profile == "paper" else [])
plan = experiment.plan(profile, dataset, splits.fingerprint, files, workspace.data,
                       scenes=scenes or "digits_on_photos", grids=grids)
read = experiment.Inputs(splits, workspace.data, files, workspace.device)
runs = records.run_or_load("pretrained_decoding", plan.configs, partial(experiment.run, inputs=read),
                           seeds=seeds, workspace=workspace, optional=True,
                           before=lambda: encoders.check_weights(files, workspace.data))
if runs:
    runs, seeds = records.complete_seeds(runs, plan.configs)
reference = runs if workspace.is_reference else []
reference = reference or records.reference(
    "pretrained_decoding", workspace, where=lambda run: run.config["dataset"] == "cifar10" and
    run.config["revision"] == experiment.DecodingConfig.revision)

# %%
def evidence(name, plan, runs):
    """What figures, tables and verdicts show of some runs."""
    frame = experiment.accuracy_frame(runs)
    n = frame.groupby("network")["seed"].nunique().min()
    c = plan.configs[0]
    data = style.label(c.dataset)
    spread = {1: "one seed", 2: "mean and both seeds"}.get(
        n, f"mean and 95 % interval (Student's t) over n = {n} seeds")
    return SimpleNamespace(
        name=name, plan=plan, frame=frame, rows=claims.accuracy_rows(frame),
        ridge=claims.spread(experiment.ridge_frame(runs), ["network", "grid", "cells"], "R2", -1e9, 1),
        title=f"{name}: {data}, {records.origin(runs)}, n = {n}",
        what=f"{data}, {c.canvases:,} canvases to learn on and half as many to test, {c.recipe.epoch_steps:,} steps of "
             f"the heads; {spread}")


shown = []   # the reference first
if reference:
    shown.append(evidence("Reference runs", *experiment.recorded_plan(reference)))
if runs and not workspace.is_reference:
    shown.append(evidence("This run", plan, runs))
records.require(shown, "the decoding of location from frozen networks")
what = ". ".join(f"{part.name}: {part.what}" for part in shown)
for part in shown:
    print(f"{part.title}. {part.what}. Networks trained here:")
    for c in part.plan.trained:
        if c.recipe:
            print(f"  {style.label(c.key)}: width {c.width}, {c.recipe.epochs * c.recipe.epoch_steps:,} steps")
print("Accuracies are cut to 0 to 100 %.")

# %% [markdown]
# ## What came out: which stage knows where
#
# *What to look for:* round dots (in order) far above the dotted chance line, square ones (shuffled) near it. The grey step is the ceiling: no head on that
# stage can do better. Then compare with the same networks before any training, in the second figure.

# %%
def panels(networks, heads, name, caption, alt):
    """One column a network, one row a grid; the reference on the left.  networks(plan) -> list of encoders"""
    columns = [networks(part.plan) for part in shown]
    all_grids = sorted({row.grid for part in shown for row in part.rows})
    fig = plt.figure(figsize=(9, 0.9 + 1.75 * len(all_grids)), layout="constrained")
    blocks = fig.subfigures(1, len(shown), width_ratios=[len(c) + 0.5 * (n == 0) for n, c in enumerate(columns)],
                            squeeze=False)[0]
    data = []
    for block, part, encoders_shown in zip(blocks, shown, columns, strict=True):
        rows = pd.DataFrame(part.rows)
        axes = block.subplots(len(all_grids), len(encoders_shown), sharey=True, squeeze=False)
        title = part.title if len(encoders_shown) > 2 else part.title.replace(", ", "\n", 1)
        block.suptitle(title, fontsize="small", fontweight="bold")
        for axes_row, k in zip(axes, all_grids, strict=True):
            for ax, c in zip(axes_row, encoders_shown, strict=True):
                panel = rows[(rows["network"] == c.key) & (rows["grid"] == k) & rows["head"].isin(heads)]
                if panel.empty:
                    ax.set_axis_off()
                    continue
                figures.accuracy_by_layer(panel.assign(head=panel["head"].map(style.label)), ax)
                ax.set_yticks([0, 50, 100])
                ax.tick_params(labelsize=8)
                ax.set_xlabel("stage" if k == all_grids[-1] else "", fontsize="small")
                label = style.label(c.key).replace(", ", "\n").replace(" on ", " on\n")
                ax.set_title(label if k == all_grids[0] else "", fontsize=8)
            axes_row[0].set_ylabel(f"{k}×{k}\naccuracy (%)" if part is shown[0] else "", fontsize="small")
        keys = [c.key for c in encoders_shown]
        data.append(rows[rows["network"].isin(keys) & rows["head"].isin(heads)].assign(run=part.name))
    labelled = next(ax for ax in blocks[0].axes if ax.get_legend_handles_labels()[1])
    fig.legend(*labelled.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=6)
    page.show(fig, name, caption, alt, workspace=workspace, data=pd.concat(data))


panels(lambda plan: plan.trained, ["in_order", "shuffled"], "04_by_stage",
       f"""From a trained network, location can be read off the averages of late stages with their channels
           in order, and hardly
       with them shuffled. Location accuracy by stage and grid. Dotted: chance. Grey: the ceiling, from the
       number
       of cells that the stage can distinguish. {what}.""",
       "Accuracy by stage, one column a trained network, one row a grid.")
panels(lambda plan: plan.untrained, ["in_order", "shuffled"], "04_by_stage_random",
       f"""The same from the same architectures with random weights: is it less? {what}.""",
       "Accuracy by stage, one column a random network, one row a grid.")

# %%
def cell(row):
    return f"{row.mean:.1f} [{row.low:.1f}, {row.high:.1f}]" if row.low == row.low else f"{row.mean:.1f}"


lines = {}
for part in shown:
    for row in claims.last_stage(part.rows):
        c = next(c for c in part.plan.configs if c.encoder.key == row.network)
        if row.head in ("in_order", "shuffled") and c.encoder in part.plan.trained + part.plan.untrained:
            line = lines.setdefault((row.network, row.head),
                                    {"network": style.label(row.network), "head": style.label(row.head)})
            if part.name == "Reference runs":
                line[f"{row.grid}×{row.grid}"] = cell(row)
                line["n"] = str(row.n)
            else:
                line["this run"] = f"{line['this run']} / {row.mean:.0f}" if "this run" in line else f"{row.mean:.0f}"
order = ["network", "head", *(f"{k}×{k}" for k in (3, 5, 7, 10)), "n", "this run"]
table = pd.DataFrame(lines.values())
table = table[[name for name in order if name in table] + [name for name in table if name not in order]]
page.table(table, "04_last_stage", f"""Location accuracy (%) from the last stage of each frozen network,
    channels in order
           and shuffled, by grid; chance is {100 / 9:.1f}, {100 / 25:.1f} and {100 / 49:.1f} %. The paper
           prints no number. Reference runs with their interval; this run's means
           by grid, {" / ".join(f"{k}×{k}" for k in grids)}. {what}.""", workspace=workspace)

# %% [markdown]
# *What the reference runs show.* In the first stage, a network under zero padding distinguishes nine cells in every grid: corners, edges, interior. Deeper stages distinguish more, and more is read from them. Random networks do
# the same. The shuffle takes away more than half of what is above chance, everywhere. The next cell checks these sentences on the committed records.

# %%
if reference:
    first = shown[0]
    plain = [c.key for c in first.plan.trained + first.plan.untrained]
    by_stage = pd.DataFrame(first.rows).query("network in @plain")
    in_order = by_stage[by_stage["head"] == "in_order"].set_index(["network", "grid", "layer"]).sort_index()
    shuffled = by_stage[by_stage["head"] == "shuffled"].set_index(["network", "grid", "layer"]).sort_index()
    early = in_order.xs(1, level="layer")
    late = in_order.groupby(["network", "grid"]).last()
    assert (early["ceiling"] * early.index.get_level_values("grid") ** 2 / 100).round().eq(9).all()
    assert (late["ceiling"] >= early["ceiling"]).all() and (late["mean"] > early["mean"] + 10).all()
    assert (in_order["mean"] <= in_order["ceiling"] + 1e-6).all()
    last_shuffled = shuffled.groupby(["network", "grid"]).last()
    assert (last_shuffled["mean"] < (late["mean"] + late["chance"]) / 2).all()
    at_3 = late.xs(3, level="grid")["mean"]
    print("3×3, last stage, in order:", ", ".join(f"{style.label(key)} {value:.1f} %" for key, value in at_3.items()))
    for c in first.plan.imagenet:
        assert at_3[c.key] > 95 and at_3[first.plan.random_twin[c.key]] > 95

# %% [markdown]
# ## Controls that could overturn the reading
#
# > **Is it training, the padding, the head, the number of channels?**
# >
# > **Random weights** decide whether training put it there: compare [figure 04_by_stage](#fig-04_by_stage) with [figure 04_by_stage_random](#fig-04_by_stage_random).
# > **Circular padding**, same weights: in the small network, whose [total stride](../book/glossary.md#total-stride) (8) divides the cells, moving the image by a cell only rotates the feature maps, so accuracy must be
# > *exactly* chance. **Permuted labels:** a head that is asked for something $z$ cannot hold must be near chance on test images; otherwise it has memorised them
# > (its accuracy scatters, because all canvases of a cell look alike and share one lot of labels).
# > **Few channels:** equally many from every stage, drawn at random, because later stages are wider. An ImageNet network need *not* be blind under circular padding:
# > its pooling or its first layer may meet the border in other ways.

# %%
def controls(plan):
    return [plan.trained[0], *plan.circular, *plan.imagenet_circular]


panels(controls, ["in_order", "few_channels", "permuted_labels"], "04_controls",
       f"""Under circular padding the small networks are exactly at chance. Zero and circular padding;
           {shown[0].plan.configs[0].channels} channels
       of each stage; permuted labels. {what}.""",
       "Panels of accuracy by stage: under circular padding the small networks are on the chance line.")
for part in shown:
    exact = part.frame[part.frame["network"].isin([c.key for c in part.plan.circular])]
    exact = exact[exact["head"] == "in_order"]
    off_chance = (exact["accuracy"] - 100 / exact["grid"] ** 2).abs().max()
    print(f"{part.name}: small networks, circular padding, largest distance of any run from chance: "
          f"{off_chance:.2g} points in {len(exact)} (run, stage)")
    assert off_chance < 1e-6 or part.name == "This run"
    for c in part.plan.imagenet_circular:
        last = [row for row in claims.last_stage(part.rows) if (row.network, row.head) == (c.key, "in_order")]
        print(f"{part.name}: {style.label(c.key)}, last stage:",
              ", ".join(f"{row.grid}×{row.grid} {row.mean:.1f} %" for row in last))
        assert all(row.low > row.chance for row in last) or part.name == "This run"

# %% [markdown]
# **A list of cells, or a sense of place?** A head that has seen every cell may have learned a list. So fit row and column by ridge regression on half of the cells,
# the squares of one colour of a checkerboard, and ask for the cells *between* them, on new images. $R^2 = 1$ is perfect; 0 is what the mean of all cells would give.

# %%
all_grids = sorted({k for part in shown for k in part.ridge["grid"]})
widths = [part.ridge["network"].nunique() + 1 for part in shown]
fig, axes = plt.subplots(len(all_grids), len(shown), figsize=(9, 1.6 + 1.4 * len(all_grids)), sharey=True,
                         layout="constrained", squeeze=False, width_ratios=widths)
for part, column in zip(shown, axes.T, strict=True):
    named = part.ridge.assign(network=part.ridge["network"].map(style.label))
    for ax, k in zip(column, all_grids, strict=True):
        of_grid = named[named["grid"] == k]
        if of_grid.empty:
            ax.set_axis_off()
            continue
        figures.dots_by_group(of_grid, "network", "cells", ax, floor=-0.5)
        ax.get_legend().remove()
        ax.set_ylim(-0.55, 1.1)
        ax.tick_params(labelsize=8, labelbottom=k == max(named["grid"]))
    title = part.title if part is shown[0] else part.title.replace(", ", "\n", 1)
    column[0].set_title(title, fontsize="small", fontweight="bold")
for ax, k in zip(axes[:, 0], all_grids, strict=True):
    ax.set_ylabel(f"{k}×{k}\nR²", fontsize="small")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=2)
page.show(fig, "04_between", f"""Cells that the regression has not seen are placed too, if less well. Row
    and column by ridge
          regression on the last stage's pooled latent, on new images: in cells that were learned, and in
          those
          between. {what}. Clipped below −0.5.""",
          "R squared by network, for learned cells and for cells between, one row a grid.", workspace=workspace,
          data=pd.concat([part.ridge.assign(run=part.name) for part in shown]))
if reference:
    r2 = shown[0].ridge.query("network in @plain").pivot(index=["network", "grid"], columns="cells", values="mean")
    assert (r2["between"] > 0.2).all() and (r2["between"] < r2["learned"] + 0.01).all()
    print(f"Reference runs, zero padding: R² {r2['learned'].min():.2f} to {r2['learned'].max():.2f} in learned cells, "
          f"{r2['between'].min():.2f} to {r2['between'].max():.2f} in cells between")

# %% [markdown]
# ## Against the paper

# %%
judged = {part.name: claims.judge(part.plan, part.frame, len(splits.test)) for part in shown}
none = {claim: claim.judged([], Scale()) for claim in claims.CLAIMS}
described = {part.name: f"{part.what}; {part.title.split(', ')[1]}" for part in shown}
page.against_paper(judged.get("Reference runs", none), judged.get("This run", {}), "04_against_paper",
                   runs={"reference": described.get("Reference runs", "none"), "here": described.get("This run", "–")},
                   workspace=workspace)
for part in shown:
    for c in part.plan.trained + part.plan.untrained:
        means = [row.mean for row in claims.last_stage(part.rows) if (row.network, row.head) == (c.key, "in_order")]
        print(f"{part.name:14s} {style.label(c.key):32s} in order, over grids: {min(means):5.1f} to "
              f"{max(means):5.1f} %")

# %% [markdown]
# ## What it means, and what it does not
#
# * **The verdicts are about decoding:** whether a linear head reads the cell off the averages of the last stage while its channels are in order, and whether a shuffle takes away more than
#   half of that.
# * **They say nothing about training** where a random network of the same architecture does more than half as well, and in the reference runs it does ([figure 04_by_stage_random](#fig-04_by_stage_random)). Under circular
#   padding the small networks hold no location at all, whatever their weights. What a head reads from them otherwise is the mark that padding leaves.
# * **Reach sets the ceiling** ([figure 04_by_stage](#fig-04_by_stage)): shallow stages see no border from interior cells, and distinguish nine cells. A random network's ceiling can be
#   lower than a trained one's: it has no biases, so the empty canvas is 0 in every layer, and the border shows only where the image reaches it.
# * **Reach is not all.** In the 3×3 grid every stage can distinguish all nine cells, and still more is read from deeper ones, also from an equal number of channels ([figure 04_controls](#fig-04_controls)).
# * **A sense of place, not a list.** Fitted on half of the cells, a ridge regression places the other half too ([figure 04_between](#fig-04_between)): the code is smooth enough to
#   interpolate.
# * **Large ImageNet networks** meet the border in more ways than one: max-pooling with padding, pooling that rounds up, first layers without padding. With its convolutions switched to
#   circular padding, SqueezeNet 1.1 is above chance in every grid ([figure 04_controls](#fig-04_controls)): the mode of the convolutions is not the whole story.
# * **Not shown:** that a trained network *uses* any of this. A head can read what the network itself ignores.

# %%
if reference:   # the sentences above, on the committed records
    half = [(late.loc[(c.key, k), "mean"] + 100 / k ** 2) / 2 for c in first.plan.trained for k in (3, 5, 7)]
    twin = [late.loc[(first.plan.random_twin[c.key], k), "mean"] for c in first.plan.trained for k in (3, 5, 7)]
    assert all(random > enough for random, enough in zip(twin, half, strict=True))
    assert (in_order.xs(3, level="grid")["ceiling"] == 100).all()
    few = by_stage[(by_stage["head"] == "few_channels") & (by_stage["grid"] == 3)].groupby("network")["mean"]
    assert (few.last() > few.first() + 10).all()
    ceilings = late["ceiling"].unstack("grid")
    assert all((ceilings.loc[first.plan.random_twin[c.key]] <= ceilings.loc[c.key]).all() for c in first.plan.trained)

# %% [markdown]
# ## Summary
#
# * $\mathrm{GAP}(\mathrm{conv}_{1 \times 1}(f)) = W \, \mathrm{GAP}(f) + b$: decoding from a frozen network is a linear problem on a few numbers.
# * The number of cells that a stage can distinguish is a ceiling for every head, set by padding and reach. Under circular padding no two cells differ for the small network, and it is exactly at chance.
# * The same heads on random weights show how much of the location training can be credited with.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > Stage 3 of the small network: two 3×3 convolutions at stride 1, two at stride 2, two at stride 4, with 2×2 pools between. How wide is the window that one of its units sees? In a 5×5 grid
# > of 16-pixel cells, how many cells can it distinguish? The border affects a cell when some window holds part of its image and part of what is beyond the border.
# >
# > <details><summary>Solution</summary>
# >
# > Each convolution adds one of its own input pixels on both sides: $2 \cdot 1 + 2 \cdot 2 + 2 \cdot 4 = 14$. The pools add 1 and 2 pixels on one side. So the window is $1 + 2 \cdot 14 + 3 = 32$
# > pixels wide. It spans the 16 pixels between the second ring of cells and the border, so all five rows differ, and $5 \times 5 = 25$ cells. Compare it with the grey step of a trained network on
# > digits, whose cells are 16 pixels wide. A random one, without biases, may show only $3 \times 3 = 9$: there only the first ring, which touches the border, feels it.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Run the page with `-p grids 10`. Which stage of the small network can tell the four cells in the middle of a 10×10 grid apart?
# >
# > <details><summary>A hint</summary>
# >
# > Count first, for digits. Stage 4 adds two convolutions at stride 8 and a pool: its window is $1 + 2 \cdot (14 + 16) + 7 = 68$ pixels wide and moves in steps of 8. From the middle cells to the
# > nearest border there are 64 pixels; the window that reaches over the upper border by the least ends at pixel 61. So no stage can, and the grey step of stage 4 is at most
# > $9 \times 9 = 81$ of 100.
# >
# > </details>
#
# > **Exercise 3, to overturn the reading**
# >
# > "Training did not put it there." Train the small network for ten times as long, on photographs at random positions of a canvas, so that position is of no use. Does the
# > accuracy of the last stage fall below the random network's?
# >
# > <details><summary>A hint</summary>
# >
# > Page 03 has a related measurement: the place fields of networks trained for image class, beside those of random ones. If the accuracy falls, training does matter:
# > it can wear away the mark of the padding.
# >
# > </details>

# %%
print(page.provenance(workspace, splits))
