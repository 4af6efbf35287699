# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Frozen networks: do the averaged channels of a pretrained network encode location?
#
# > **In short**
# >
# > Take a network trained to classify photographs, freeze it, and average each channel of its last stage over space.
# > Can a linear layer decode from these averages which cell of a canvas holds an image?
# >
# > **Yes, but the averages of networks with random weights encode the location too.** In a 3×3 grid, the head is
# > correct on more than 95 % of the test canvases for two ImageNet networks, and on more than 99 % for the same
# > architectures with random weights. The information that the head decodes is there before any training. In a small
# > network with circular padding, it is absent; in SqueezeNet 1.1 with circular convolutions, accuracy is still 83 %,
# > so the padding of its convolutions is not its only source of position.
# >
# > ![Location accuracy by stage, trained and random weights, for four networks and three grids](../figures/paper/04_by_stage.png)
# >
# > *Caveats.* The paper's ResNet-18s are not among these networks: SqueezeNet 1.1, MobileNetV2 and a small VGG replace
# > them. The heads are trained for 200 steps. That a head can decode location does not show that the network uses it.
# >
# > *Run it:* `./run_all.sh --only 04`, about a minute on two cores.

# %% Parameters tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # placed: digits | cifar10 | cifar100 | photos | a folder; "" is the profile's
scenes = ""           # of the segmentation network: digits_on_photos ("", bundled) | camvid
pretrained = ""       # e.g. "resnet18,vgg16=FILE.safetensors"; "" is those in the data's weights/
grids = ""            # e.g. "3,5,7,10"; "" is 3,5,7, and 3,5 at smoke
seeds = 0             # how many; 0 is the profile's number

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
# Supplement S1 of [Islam et al. (2021)](../book/bibliography.md#islam2021global) probes two frozen ResNet-18s, one
# trained on ImageNet and one trained for segmentation on PASCAL VOC. Location can be decoded with GAPNet's head, but
# not with a shuffled one. The supplement shows this in a figure and prints no number. Here, each network is a separate
# claim, judged on the best available substitute. For classification, that is the ImageNet ResNet-18; without its
# weights, the other ImageNet networks; without any of them, a small network trained to classify photographs. For
# segmentation, it is the small network trained to label pixels.

# %% tags=["remove-input"]
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## By hand: averaging commutes with a 1×1 convolution
#
# On a frozen network, the [head](../book/glossary.md#head) on this page is a 1×1 convolution followed by
# [GAP](../book/glossary.md#gap). Both are linear; one acts on channels, the other on positions:
#
# $$ \frac{1}{HW} \sum_{ij} \Big( \sum_c W_{kc} f_c(i, j) + b_k \Big) = \sum_c W_{kc} \Big( \frac{1}{HW} \sum_{ij} f_c(i, j) \Big) + b_k = (W z + b)_k . $$
#
# > **Make a guess**
# >
# > So the head does not need the feature maps. The [pooled latent](../book/glossary.md#pooled-latent) $z$ is enough: a
# > few hundred numbers per image, computed once. Is this also true for the 3×3 convolution of the released
# > [GAPNet](../book/glossary.md#gapnet)? With every padding mode?

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
# For 1×1 it is an identity. For 3×3 it holds only with circular padding. With any other padding, the head itself
# responds to the border, and could find the location in features that do not contain it. The head on this page is 1×1,
# so whatever is decoded was in the features.
#
# ## Build it
#
# Place every image in every cell of a [canvas](../book/glossary.md#canvas), run the frozen network once, and keep $z$
# of each stage. A head is then an ordinary linear classifier, and several are trained side by side (`heads.Heads`):

# %%
encoder = encoders.small_vgg(classifiers.vgg(6, width=4))
patches = splits.test.take(slice(0, 5))
latents, location, number = features.pooled_latents(encoder, patches, 3)

images, _ = encoder.view(patches).batch(number)               # by hand, all at once
canvases = canvas.place(images, location, 3)
for z, f in zip(latents, encoder(canvases), strict=True):
    torch.testing.assert_close(z, f.mean((-2, -1)))
print([tuple(z.shape) for z in latents], "(canvas, channel) of each stage")

with torch.no_grad():                                         # a linear head by hand
    z = latents[-1]
    head = heads.Heads([torch.arange(z.shape[1])], ["none"], num_classes=9)
    torch.testing.assert_close(head(z)[0], z @ head.weight[0].T + head.bias[0])

# %% [markdown]
# **What is the most that a stage can encode?** A unit sees only part of the canvas. Where that part contains no border,
# the response does not depend on the cell. In a 7×7 grid, a stage whose units reach across one cell can distinguish the
# four corners, the four edges and the interior: nine
# [distinguishable cells](../book/glossary.md#distinguishable-cells), not 49. They can be counted: place one image in
# every cell and compare the latents $z$.

# %%
def same_latent(z):
    """Which pairs of cells have the same z, but for rounding?  z (cell, channel) of one image"""
    z = z.double()
    return torch.cdist(z, z) < 1e-5 * z.norm(dim=1).max()     # (cell, cell)


def n_distinguishable(z):
    """In how many cells does z differ from that in every earlier cell?"""
    earlier = same_latent(z).tril(-1)
    return int((earlier.sum(1) == 0).sum())


size = patches.images.shape[-1]
by_hand = [n_distinguishable(z[number == 0]) for z in latents]
assert experiment.distinguishable_cells(encoder, patches, 3) == by_hand
counts = {f"{k}×{k}": experiment.distinguishable_cells(encoder, patches, k) for k in (3, 5, 7)}
print(f"random network, cells of {size} pixels, distinguishable cells by stage: "
      + "; ".join(f"{grid} {', '.join(map(str, cells))}" for grid, cells in counts.items()))

# %% [markdown]
# A map shows which cells are confused. This network has random biases, since a trained network has biases too: with
# biases, the border shows in the empty part of the canvas as well.

# %% Draw the figure
torch.manual_seed(0)
with_biases = classifiers.vgg(6, width=4)
for name, parameter in with_biases.named_parameters():
    if name.endswith("bias"):
        nn.init.uniform_(parameter, -0.1, 0.1)
with_biases = encoders.small_vgg(with_biases)
of_one, _, _ = features.pooled_latents(with_biases, patches.take(slice(0, 1)), 7)
fig, axes = plt.subplots(1, len(of_one), figsize=(9, 2.6), layout="constrained")
for stage, (z, ax) in enumerate(zip(of_one, axes, strict=True), start=1):
    alike = same_latent(z).sum(1).reshape(7, 7)
    ax.imshow(alike, cmap="Greys", vmin=0, vmax=49)
    for row in range(7):
        for col in range(7):
            count = int(alike[row, col])
            shade = "white" if count > 30 else "black"
            ax.text(col, row, count, ha="center", va="center", color=shade, fontsize=8)
    ax.set_title(f"stage {stage}: {n_distinguishable(z)} of 49", fontsize=10)
    ax.set(xticks=[], yticks=[])
*before, last = (str(n_distinguishable(z)) for z in of_one)
page.show(fig, "04_cells_alike",
          f"""Of the 49 cells of a 7×7 canvas, the four stages can distinguish
          {", ".join(before)} and {last}. The number in each cell is the number of cells with the
          same latent, including the cell itself. One image, cells of {size} pixels, a small VGG
          with random weights and biases.""",
          "Four maps of 49 cells, one per stage, with the number of cells that share a latent.",
          workspace=workspace)

# %% [markdown]
# ## The experiment
#
# **Held fixed:** the canvases and the heads' schedule. **Varied:** the frozen network, its stage, the grid, and the
# head. Four heads are trained on each stage (`decoding.decode`): on its channels *in order*; *shuffled* anew in every
# batch; on *few channels*, drawn at random; and *in order* but with *permuted labels*, the locations of other canvases,
# which $z$ cannot contain. Heads are trained on canvases with training images and tested on canvases with test images.
# Each image is placed in every cell, so chance is exactly $1/k^2$. A seed determines the heads and, for a network
# trained here, the network. The ImageNet networks are the same for every seed.
#
# Other networks replace the paper's two, and the heads' schedule is ours, because the paper does not give one.
#
# <details><summary>Deviations from the paper, in full</summary>
#
# * **Networks.** The paper's are ResNet-18s, trained on ImageNet and on PASCAL VOC. Here: every ImageNet architecture
#   whose weights are under the data root (the `paper` profile downloads ResNet-18's), and a *small* VGG trained here,
#   to classify the bundled photographs or to label the pixels of a scene: digits pasted on photographs, or the streets
#   of CamVid (`-p scenes camvid`). The reference runs have no ResNet-18: they use SqueezeNet 1.1 and MobileNetV2.
# * **Which images are placed.** The text does not state it. Here: digits in `quick`, CIFAR-10 in `paper` and in the
#   reference runs, as on page 03.
# * **The heads' schedule.** The text gives neither steps nor learning rate. Ours is Adam, with the numbers of steps
#   given in the captions: far fewer in `quick` and in the reference runs than the 2,000 of `paper`.
# * **Every stage** is probed, not only the last, and channels are standardised by their mean and standard deviation
#   over the training canvases. Without standardisation, a short schedule decodes less from stages whose channels differ
#   in scale. For the head in order, it is only another parametrisation.
#
# </details>

# %% Train the heads
grids = [int(k) for k in grids.split(",")] if grids else experiment.GRIDS[profile]
seeds = range(seeds or config.SEEDS[profile])
downloaded = ["resnet18"] if profile == "paper" else []
files = encoders.parse_encoders(pretrained, workspace.data, downloaded)
plan = experiment.plan(profile, dataset, splits.fingerprint, files, workspace.data,
                       scenes=scenes or "digits_on_photos", grids=grids)
read = experiment.Inputs(splits, workspace.data, files, workspace.device)
runs = records.run_or_load("pretrained_decoding", plan.configs,
                           partial(experiment.run, inputs=read),
                           seeds=seeds, workspace=workspace, optional=True,
                           before=lambda: encoders.check_weights(files, workspace.data))
if runs:
    runs, seeds = records.complete_seeds(runs, plan.configs)
reference = runs if workspace.is_reference else []
reference = reference or records.reference(
    "pretrained_decoding", workspace, where=lambda run: run.config["dataset"] == "cifar10" and
    run.config["revision"] == experiment.DecodingConfig.revision)


# %% Collect the runs
def evidence(name, plan, runs):
    """What figures, tables and verdicts show of some runs."""
    frame = experiment.accuracy_frame(runs)
    n = frame.groupby("network")["seed"].nunique().min()
    c = plan.configs[0]
    data = style.label(c.dataset)
    spread = {1: "one seed", 2: "mean and both seeds"}.get(
        n, f"mean and 95 % interval (Student's t) over n = {n} seeds")
    ridge = claims.spread(experiment.ridge_frame(runs), ["network", "grid", "cells"], "R2", -1e9, 1)
    return SimpleNamespace(
        name=name, plan=plan, frame=frame, rows=claims.accuracy_rows(frame), ridge=ridge,
        title=f"{name}: {data}, {records.origin(runs)}, n = {n}",
        what=f"{c.canvases:,} canvases to train on and half as many to test, "
             f"{c.recipe.epoch_steps:,} steps of the heads; {spread}")


shown = []   # the reference first
if reference:
    shown.append(evidence("Reference runs", *experiment.recorded_plan(reference)))
if runs and not workspace.is_reference:
    shown.append(evidence("This run", plan, runs))
records.require(shown, "the decoding of location from frozen networks")
what = ". ".join(f"{part.title}: {part.what}" for part in shown)
for part in shown:
    print(f"{part.title}. {part.what}. Networks trained here:")
    for c in part.plan.trained:
        if c.recipe:
            steps = c.recipe.epochs * c.recipe.epoch_steps
            print(f"  {style.label(c.key)}: width {c.width}, {steps:,} steps")
print("Accuracies are cut to 0 to 100 %.")

# %% [markdown]
# ## Results: which stages encode location
#
# *What to look for:* filled circles (trained network, channels in order) far above the dotted chance line, and grey
# squares (the same channels, shuffled) near it. Then compare the filled circles with the open ones, which are the same
# architecture with random weights. The grey bar is the ceiling of the trained network, which no head can exceed.

# %% Draw the figure
def with_random_twin(part, c, grid):
    """Rows of one network and grid: trained, in order and shuffled; random weights, in order."""
    rows = pd.DataFrame(part.rows).query("grid == @grid")
    trained = rows[(rows["network"] == c.key) & rows["head"].isin(["in_order", "shuffled"])]
    twin = rows[(rows["network"] == part.plan.random_twin[c.key]) & (rows["head"] == "in_order")]
    return pd.concat([trained, twin.assign(head="in_order_random")])


all_grids = sorted({row.grid for part in shown for row in part.rows})
fig = plt.figure(figsize=(9, 1 + 1.75 * len(all_grids)), layout="constrained")
widths = [len(part.plan.trained) + 0.5 * (part is shown[0]) for part in shown]
blocks = fig.subfigures(1, len(shown), width_ratios=widths, squeeze=False)[0]
drawn = []
for block, part in zip(blocks, shown, strict=True):
    networks = part.plan.trained
    axes = block.subplots(len(all_grids), len(networks), sharey=True, squeeze=False)
    title = part.title if len(networks) > 2 else part.title.replace(", ", "\n", 1)
    block.suptitle(title, fontsize="small", fontweight="bold")
    for axes_row, k in zip(axes, all_grids, strict=True):
        for ax, c in zip(axes_row, networks, strict=True):
            panel = with_random_twin(part, c, k)
            if panel.empty:
                ax.set_axis_off()
                continue
            figures.accuracy_by_layer(panel, ax)
            ax.set_yticks([0, 50, 100])
            ax.tick_params(labelsize=8)
            ax.set_xlabel("stage" if k == all_grids[-1] else "", fontsize="small")
            if k == all_grids[0]:
                label = style.label(c.key).replace(", ", "\n").replace(" on ", " on\n")
                ax.set_title(label, fontsize=9)
            drawn.append(panel.assign(run=part.name, beside=c.key))
        if part is shown[0]:
            axes_row[0].set_ylabel(f"{k}×{k}\naccuracy (%)", fontsize="small")
labelled = next(ax for ax in blocks[0].axes if ax.get_legend_handles_labels()[1])
fig.legend(*labelled.get_legend_handles_labels(), fontsize="small", loc="outside lower center",
           ncols=5)


def last_stage(part, key, grid, head="in_order"):
    """Mean accuracy from the last stage of a network, in percent."""
    return next(row.mean for row in claims.last_stage(part.rows)
                if (row.network, row.grid, row.head) == (key, grid, head))


coarse = all_grids[0]
by_network = "; ".join(
    f"{style.label(c.key)} {last_stage(shown[0], c.key, coarse):.1f} %, random weights "
    f"{last_stage(shown[0], shown[0].plan.random_twin[c.key], coarse):.1f} %"
    for c in shown[0].plan.trained)
page.show(fig, "04_by_stage",
          f"""In the {coarse}×{coarse} grid, location is decoded from random weights as accurately
          as from trained ones, or more so. From the last stage: {by_network}. Accuracy by stage,
          one column per network, one row per grid. Filled circles: trained, channels in order;
          open: the same architecture with random weights; squares: trained, shuffled. Dotted:
          chance. Grey bar: the ceiling of the trained network, from the number of cells that the
          stage can distinguish. {what}.""",
          """Accuracy by stage, one column per network, one row per grid; trained and random weights
          lie close together, shuffled channels near chance.""",
          workspace=workspace, data=pd.concat(drawn))


# %% Show the table
def value(row):
    if row.low != row.low:
        return f"{row.mean:.1f}"
    return f"{row.mean:.1f} [{row.low:.1f}, {row.high:.1f}]"


lines = {}
for part in shown:
    placed = [c.key for c in part.plan.trained + part.plan.untrained]
    for row in claims.last_stage(part.rows):
        if row.head not in ("in_order", "shuffled") or row.network not in placed:
            continue
        names = {"network": style.label(row.network), "channels": style.label(row.head)}
        line = lines.setdefault((row.network, row.head), names)
        if part.name == "Reference runs":
            line[f"{row.grid}×{row.grid}"] = value(row)
        else:
            before = [line["this run"]] if "this run" in line else []
            line["this run"] = " / ".join([*before, f"{row.mean:.0f}"])
table = pd.DataFrame(lines.values())
of_this_run = ""
if len(shown) > 1:
    of_this_run = f" This run: means for {', '.join(f'{k}×{k}' for k in grids)}."
page.table(table, "04_last_stage",
           f"""Location accuracy (%) from the last stage of each frozen network, by grid; chance is
           {100 / 9:.1f}, {100 / 25:.1f} and {100 / 49:.1f} %. The paper prints no
           number.{of_this_run} {what}.""", workspace=workspace)

# %% [markdown]
# *What the reference runs show.* In the first stage, every network distinguishes nine cells in each grid: corners,
# edges and interior. The last stage distinguishes at least as many cells as the first, and its head is more accurate.
# Networks with random weights behave in the same way: in the 3×3 grid they are as accurate as the trained ones or more
# accurate. Heads do not reach every ceiling: the last stage of the small network trained on photographs could
# distinguish all 25 cells of the 5×5 grid, yet fewer than half of the canvases are located correctly. The shuffle
# removes more than half of the accuracy above chance, everywhere.

# %% Check the sentences above
if reference:
    first = shown[0]
    pairs = [(c.key, first.plan.random_twin[c.key]) for c in first.plan.trained]
    plain = [c.key for c in first.plan.trained + first.plan.untrained]
    by_stage = pd.DataFrame(first.rows).query("network in @plain")
    index = ["network", "grid", "layer"]
    in_order = by_stage[by_stage["head"] == "in_order"].set_index(index).sort_index()
    shuffled = by_stage[by_stage["head"] == "shuffled"].set_index(index).sort_index()
    early = in_order.xs(1, level="layer")
    late = in_order.groupby(["network", "grid"]).last()
    cells = early["ceiling"] * early.index.get_level_values("grid") ** 2 / 100
    assert cells.round().eq(9).all()
    assert (late["ceiling"] >= early["ceiling"]).all()
    assert (late["mean"] > early["mean"] + 10).all()
    assert (in_order["mean"] <= in_order["ceiling"] + 1e-6).all()
    last_shuffled = shuffled.groupby(["network", "grid"]).last()
    assert (last_shuffled["mean"] < (late["mean"] + late["chance"]) / 2).all()
    at_3 = late.xs(3, level="grid")["mean"]
    assert all(at_3[random] > at_3[trained] - 0.2 for trained, random in pairs)
    assert all(at_3[c.key] > 95 for c in first.plan.imagenet)
    assert all(at_3[first.plan.random_twin[c.key]] > 99 for c in first.plan.imagenet)
    small = late.loc[("small/photos", 5)]
    assert small["ceiling"] == 100 and small["mean"] < 50
    assert all(c.recipe.epoch_steps == 200 for c in first.plan.configs)

# %% [markdown]
# ## Could it be something else?
#
# * **Is it training?** No: with random weights the location is encoded too ([figure 04_by_stage](#fig-04_by_stage)).
# * **Is it the padding?** Keep the weights and switch the convolutions to circular padding. In the small network, whose
#   [total stride](../book/glossary.md#total-stride) (8) divides the side of a cell, moving the image by one cell then
#   only shifts the feature maps circularly, so accuracy must be *exactly* chance. An ImageNet network need *not* be at
#   chance: its pooling or its first layer may respond to the border in other ways.
# * **Is it the head?** With *permuted labels*, a head must be near chance on test images. If it is not, it has
#   memorised the canvases.
# * **Is it the number of channels?** Later stages are wider. So use the same small number of channels from every stage,
#   drawn at random (*few channels*).

# %% Print the controls
for part in shown:
    circular = [c.key for c in part.plan.circular]
    exact = part.frame[part.frame["network"].isin(circular) & (part.frame["head"] == "in_order")]
    off_chance = (exact["accuracy"] - 100 / exact["grid"] ** 2).abs().max()
    print(f"{part.name}, small networks, circular padding: at most {off_chance:.1g} points from "
          f"chance in {len(exact)} combinations of run and stage")
    assert off_chance < 1e-6 or part.name == "This run"
    for c in part.plan.imagenet_circular:
        last = [row for row in claims.last_stage(part.rows)
                if (row.network, row.head) == (c.key, "in_order")]
        values = ", ".join(f"{row.grid}×{row.grid} {row.mean:.1f} % (ceiling {row.ceiling:.0f} %)"
                           for row in last)
        print(f"{part.name}, {style.label(c.key)}, last stage: {values}")
        assert all(row.low > row.chance for row in last) or part.name == "This run"
    permuted = [row for row in part.rows if row.head == "permuted_labels"]
    for k in sorted({row.grid for row in permuted}):
        means = [row.mean for row in permuted if row.grid == k]
        print(f"{part.name}, permuted labels, all networks and stages, {k}×{k}: "
              f"{min(means):.1f} to {max(means):.1f} %, chance {100 / k ** 2:.1f} %")
    channels = part.plan.configs[0].channels
    for c in part.plan.trained:
        few = sorted((row for row in part.rows if row.grid == 3 and row.network == c.key
                      and row.head == "few_channels"), key=lambda row: row.layer)
        if few:
            print(f"{part.name}, {style.label(c.key)}, {channels} channels of each stage, 3×3: "
                  + ", ".join(f"{row.mean:.0f} %" for row in few))

# %% [markdown]
# With circular padding, the small networks are at chance in every run, trained or random. SqueezeNet 1.1 is above
# chance in every grid, so the padding of its convolutions is not its only source of position; in the 5×5 grid its head
# has an accuracy of 62 %, where the ceiling is 100 %. With equally few channels, too, accuracy is higher from the last
# stage than from the first.

# %% Check the sentences above
if reference:
    squeezed = [row for row in claims.last_stage(first.rows) if row.head == "in_order"
                                and row.network in [c.key for c in first.plan.imagenet_circular]]
    assert {row.network for row in squeezed} == {"squeezenet1_1/imagenet/circular"}
    at_5 = next(row for row in squeezed if row.grid == 5)
    assert round(at_5.mean) == 62 and at_5.ceiling == 100
    assert round(next(row for row in squeezed if row.grid == 3).mean) == 83
    few = by_stage[(by_stage["head"] == "few_channels") & (by_stage["grid"] == 3)]
    few = few.groupby("network")["mean"]
    assert (few.last() > few.first() + 10).all()

# %% [markdown]
# **Does the head memorise a list of cells, or learn a map?** A head that was trained on every cell may have learned a
# list. So fit row and column by ridge regression on half of the cells, the squares of one colour of a checkerboard, and
# predict them for the cells *between*, on new images. $R^2 = 1$ is perfect; 0 is the result of always predicting the
# mean.

# %% Draw the figure
LOOKS = {"cells used in the fit": ("0.2", "o"), "cells left out of it": ("#882255", "s")}
all_grids = sorted({k for part in shown for k in part.ridge["grid"]})
widths = [part.ridge["network"].nunique() + 1 for part in shown]
fig, axes = plt.subplots(len(all_grids), len(shown), figsize=(9, 1.6 + 1.4 * len(all_grids)),
                         sharey=True, layout="constrained", squeeze=False, width_ratios=widths)
for part, column in zip(shown, axes.T, strict=True):
    named = part.ridge.assign(network=part.ridge["network"].map(style.label),
                              cells=part.ridge["cells"].map({"learned": "cells used in the fit",
                                                             "between": "cells left out of it"}))
    for ax, k in zip(column, all_grids, strict=True):
        of_grid = named[named["grid"] == k]
        if of_grid.empty:
            ax.set_axis_off()
            continue
        figures.dots_by_group(of_grid, "network", "cells", ax, floor=-0.5, looks=LOOKS)
        ax.get_legend().remove()
        ax.set_ylim(-0.55 if of_grid["low"].min() < -0.1 else -0.1, 1.1)
        ax.tick_params(labelsize=8, labelbottom=k == max(named["grid"]))
    title = part.title if part is shown[0] else part.title.replace(", ", "\n", 1)
    column[0].set_title(title, fontsize="small", fontweight="bold")
for ax, k in zip(axes[:, 0], all_grids, strict=True):
    ax.set_ylabel(f"{k}×{k}\nR²", fontsize="small")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center",
           ncols=2)
page.show(fig, "04_between",
          f"""Cells that were left out of the fit are located too, though less accurately. Row and
          column by ridge regression on the last stage's pooled latent, on new images. {what}.""",
          "R squared by network, for cells used in the fit and left out of it, one row per grid.",
          workspace=workspace,
          data=pd.concat([part.ridge.assign(run=part.name) for part in shown]))
if reference:
    r2 = shown[0].ridge.query("network in @plain")
    r2 = r2.pivot(index=["network", "grid"], columns="cells", values="mean")
    assert (r2["between"] > 0.2).all() and (r2["between"] < r2["learned"] + 0.01).all()
    low, high = r2.min(), r2.max()
    print(f"Reference runs, zero padding: R² {low['learned']:.2f} to {high['learned']:.2f} in "
          f"cells of the fit, {low['between']:.2f} to {high['between']:.2f} in cells between")

# %% [markdown]
# ## Against the paper

# %% Judge the claims
judged = {part.name: claims.judge(part.plan, part.frame, len(splits.test)) for part in shown}
none = {claim: claim.judged([], Scale()) for claim in claims.CLAIMS}
described = {part.name: f"{part.title.partition(': ')[2]}: {part.what}" for part in shown}
page.against_paper(judged.get("Reference runs", none), judged.get("This run", {}),
                   "04_against_paper",
                   runs={"reference": described.get("Reference runs", "none"),
                         "here": described.get("This run", "–")},
                   workspace=workspace)
for part in shown:
    for c in part.plan.trained + part.plan.untrained:
        means = [row.mean for row in claims.last_stage(part.rows)
                 if (row.network, row.head) == (c.key, "in_order")]
        print(f"{part.name:14s} {style.label(c.key):32s} in order, over grids: {min(means):5.1f} "
              f"to {max(means):5.1f} %")

# %% [markdown]
# ## What it means, and what it does not
#
# * **The verdicts are about decoding:** whether a linear head can decode the cell from the averages of the last stage
#   when its channels are in order, and whether a shuffle removes more than half of the accuracy above chance.
# * **They are not about training.** A random network of the same architecture reaches more than half of the trained
#   network's accuracy above chance in every grid ([figure 04_by_stage](#fig-04_by_stage)). With circular padding, the
#   small networks encode no location at all, whatever their weights. So what a head decodes from them otherwise is the
#   effect of padding.
# * **Reach sets the ceiling** ([figure 04_cells_alike](#fig-04_cells_alike)): in shallow stages, the interior cells are
#   too far from the border, and only nine cells can be distinguished. A random network's ceiling can be lower than a
#   trained one's: it has no biases, so the empty canvas is 0 in every layer, and the border shows only where the image
#   reaches it.
# * **Reach is not the only factor.** In the 3×3 grid, every stage can distinguish all nine cells, and still accuracy
#   is higher from the last one than from the first.
# * **The encoding is smooth.** A ridge regression fitted on half of the cells locates the other half too
#   ([figure 04_between](#fig-04_between)). So a head does not need to memorise a list of cells.
# * **Large ImageNet networks** respond to the border in more ways than one: max-pooling with padding, pooling that
#   rounds up, first layers without padding.
# * **Not shown:** that a trained network *uses* any of this. A head can decode what the network itself ignores.

# %% Check the sentences above
if reference:
    for trained, random in pairs:
        for k in (3, 5, 7):
            halfway = (late.loc[(trained, k), "mean"] + 100 / k ** 2) / 2
            assert late.loc[(random, k), "mean"] > halfway
    assert (in_order.xs(3, level="grid")["ceiling"] == 100).all()
    ceilings = late["ceiling"].unstack("grid")
    assert all((ceilings.loc[random] <= ceilings.loc[trained]).all() for trained, random in pairs)

# %% [markdown]
# ## Summary
#
# * $\mathrm{GAP}(\mathrm{conv}_{1 \times 1}(f)) = W \, \mathrm{GAP}(f) + b$: decoding from a frozen network is a linear
#   problem on a few hundred numbers.
# * The number of cells that a stage can distinguish is a ceiling for every head, set by padding and reach. Under
#   circular padding the small network cannot distinguish any two cells, and its accuracy is exactly chance.
# * The same heads on random weights show how much of the location accuracy can be credited to training: in the 3×3
#   grid, none.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > Stage 3 of the small network has two 3×3 convolutions at stride 1, two at stride 2 and two at stride 4, with 2×2
# > pools between. How wide is the receptive field of one of its units? In a 5×5 grid of 16-pixel cells, how many cells
# > can it distinguish? The border affects a cell if some unit's window contains both a part of its image and a part of
# > what lies beyond the border.
# >
# > <details><summary>Solution</summary>
# >
# > Each convolution adds one of its own input pixels on both sides: $2 \cdot 1 + 2 \cdot 2 + 2 \cdot 4 = 14$. The pools
# > add 1 and 2 pixels on one side. So the window is $1 + 2 \cdot 14 + 3 = 32$ pixels wide. It spans the 16 pixels
# > between the second ring of cells and the border, so all five rows differ, and $5 \times 5 = 25$ cells. A random
# > network without biases may distinguish only $3 \times 3 = 9$: there the border affects only the first ring of cells,
# > which touches it.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Run the page with `-p grids 10`. Which stage of the small network can distinguish the four cells in the middle of a
# > 10×10 grid?
# >
# > <details><summary>A hint</summary>
# >
# > Count first, for digits. Stage 4 adds two convolutions at stride 8 and a pool: its window is
# > $1 + 2 \cdot (14 + 16) + 7 = 68$ pixels wide and moves in steps of 8. From the middle cells to the nearest border
# > there are 64 pixels; the window that reaches over the upper border by the least ends at pixel 61. So no stage can,
# > and the ceiling of stage 4 is at most $9 \times 9 = 81$ of 100.
# >
# > </details>
#
# > **Exercise 3, to overturn the interpretation**
# >
# > "Training did not put it there." Train the small network for ten times as long, on photographs at random positions
# > of a canvas, so that position is of no use. Does the accuracy of the last stage fall below that of the random
# > network?
# >
# > <details><summary>A hint</summary>
# >
# > Page 03 has a related measurement: the place fields of networks trained for image class, beside those of random
# > ones. If the accuracy falls, training does matter: it can remove the effect of the padding.
# >
# > </details>
