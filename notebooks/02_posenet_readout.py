# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · Can a photograph's features draw a map of the plane?
#
# :::{admonition} The puzzle
# :class: puzzle
# Take a network that learned to name photographs, freeze it, and show it a photograph it has never seen. Ask a single
# convolution, on nothing but the frozen features, to draw a gradient from left to right. The photograph says nothing of it.
#
# The paper says that it draws the gradient. Ask the same of a network that has learned *nothing*, and look again.
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
photos = ""           # the pictures that are read: "photos" (embedded, the default), or a folder under the data root
scenes = ""           # the labelled pictures of Table 5: "streets" (the default), "digits_on_photos", "camvid", "cityscapes"
pretrained = ""       # e.g. "vgg16,resnet18=FILE.safetensors"; "" is what lies under the data root's weights/, if any
seeds = 0             # how many; 0 is the profile's number

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import interpolate

from posenc_lib.claims import posenet_readout as claims
from posenc_lib.data.imageset import VOID
from posenc_lib.experiments import posenet_readout as experiments
from posenc_lib.experiments.encoders import EncoderConfig, build_encoder
from posenc_lib.measure import canvas, features, metrics
from posenc_lib.nets import classifiers, heads, padding
from posenc_lib.nets import pretrained as encoders
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style
from posenc_lib.show import images as show_images

workspace = config.Workspace(profile, data_root, out)
photos, scenes = photos or "photos", scenes or "streets"
scale = experiments.image_scale(profile, photos)
crop = experiments.READOUT[profile]["scratch"]["crop"]
splits = inputs.load_for(workspace, photos, size=scale["size"], validation=0.0)   # nothing is chosen
labelled = inputs.load_for(workspace, scenes, size=crop, validation=0.0,   # for Table 5, far below
                           seeds=experiments.READOUT[profile].get("scenes"))
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# Seven statements of {cite:t}`islam2020how`, two from Table 1 and one from each table after it. Each has the rule by which this page judges it, a
# rival explanation with the experiment that tries it, and the rule for that. Every rule names the smallest effect that would matter and the least
# training that it takes to look for one. The rules were fixed with the runs in `records/cpu/` already seen, and before the reference run.

# %%
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## The maps, and how a drawing is scored
#
# There are five {term}`target maps <target map>`, with values from 0 to 1. They are the same for every photograph, so the photograph is a
# distraction. $u$ and $v$ run from 0 to 1 across and down:
#
# $$ H = u, \quad V = v, \quad G = e^{-\frac12 [(2u-1)^2 + (2v-1)^2]}, \quad HS = \cos 5\pi v, \quad VS = \cos 5\pi u, $$
#
# each then stretched to 0…1. A sixth is ours: $H$ cut into 64 blocks that are laid out in a fixed, random order.

# %%
targets = experiments.target_maps(scale["size"])                          # (map, row, col)
pictured = dict(zip(experiments.TARGETS, targets.numpy(), strict=True))
floor = {("target", name): f"constant: {abs(t - np.median(t)).mean():.3f}"
         for name, t in pictured.items()}
page.show(show_images.picture_grid({"target": pictured}, floor), "02_targets",
          """The target maps, dark 0 to bright 1. Below each, the mean absolute error of the best constant map: whoever
          knows nothing of position cannot do better.""", """Six square maps: gradients to the right and downwards, a bright
          centre, two sets of stripes, and a checkerboard of shuffled blocks.""", workspace=workspace)

# %% [markdown]
# Two scores. **MAE** is the mean absolute error. {term}`SPC` is Spearman's correlation: replace the values of both maps by their ranks, then
# correlate. Equal values share the mean of their ranks, and position maps are full of equal values. By pencil, with four pixels:
#
# | | pixels | ranks | minus 2.5 |
# |---|---|---|---|
# | target | 0, 0, 1, 1 | 1.5, 1.5, 3.5, 3.5 | −1, −1, 1, 1 |
# | drawn | .2, .3, .3, .9 | 1, 2.5, 2.5, 4 | −1.5, 0, 0, 1.5 |
#
# The products sum to 3, the squares to 4 and 4.5, so $\mathrm{SPC} = 3 / \sqrt{4 \cdot 4.5}$.
#
# :::{admonition} A guess to make
# :class: guess
# On a photograph that is black all over, an unpadded convolution of the *pixels* draws the same value everywhere. What is the SPC of a
# constant map? The paper prints .0.
# :::

# %%
predicted, target = torch.tensor([[[.2, .3], [.3, .9]]]), torch.tensor([[0., 0.], [1., 1.]])
by_pencil = 3 / (4 * 4.5) ** 0.5
assert abs(metrics.spearman(predicted, target)[0] - by_pencil) < 1e-12
assert abs(spearmanr(predicted.flatten(), target.flatten()).statistic - by_pencil) < 1e-12
print(f"by pencil and by scipy: {by_pencil:.4f}; a constant map: {metrics.spearman(torch.ones(1, 2, 2), target)[0]}")

# %% [markdown]
# It is undefined: a constant map has no order. This page writes a dash there and counts such maps, rather than printing a zero.
#
# ## Build it
#
# The {term}`readout` is {term}`PosENet`. The features of all stages are brought to 28×28 and stacked; one convolution *without
# padding*, so that it adds no border of its own, makes one {term}`channel` of them; a sigmoid; enlarged to the image. In five lines,
# against the library's.
#
# Where could the position come from? A convolution treats every place alike, except where it meets the {term}`padding <padding mode>`. On a
# black image that is all there is: under circular padding, or without any, a network's features are constant, and *no* readout can draw
# anything from them; under reflect and replicate padding too; under zero padding they are not. The last lines check it.

# %%
torch.manual_seed(0)
encoder = encoders.small_vgg(classifiers.vgg(6, width=4))             # a random network of four stages
pictures = splits.test.take(slice(0, 4))
stages = encoder(encoder.view(pictures).batch(torch.arange(4))[0])
f = torch.cat([interpolate(s, (28, 28), mode="bilinear", align_corners=True) for s in stages], 1)
conv, norm = torch.nn.Conv2d(f.shape[1], 1, 3), torch.nn.BatchNorm2d(1).eval()
by_hand = interpolate(torch.sigmoid(norm(conv(f))), scale["size"], mode="bilinear")

readout = heads.Readout(f.shape[1], size=scale["size"]).eval()
readout.output[0].load_state_dict(conv.state_dict())
stacked, _ = features.stacked_features(encoder, pictures)     # the same stack, in half precision
assert torch.equal(readout(f), by_hand)
assert torch.allclose(stacked.float(), f, atol=1e-2)

loss = (by_hand - targets[0]).square().mean()                 # what one readout is fitted by
torch.testing.assert_close(experiments.readout_loss(readout, f, targets[:1]), loss)

spreads = {}          # largest spread of a channel over space, on a black image
for mode in (*padding.PADDING_MODES, "none"):
    net = build_encoder(EncoderConfig(width=4, padding_mode=mode), 0, "")
    last = net(torch.full((1, 3, 96, 96), -2.0))[-1]
    spreads[mode] = float((last.amax((-2, -1)) - last.amin((-2, -1))).max())
assert max(spreads[mode] for mode in spreads if mode != "zeros") < 1e-5 < spreads["zeros"]
print("stages:", [tuple(s.shape[1:]) for s in stages])
print("spread on a black image:", {mode: f"{spread:.1g}" for mode, spread in spreads.items()})

# %% [markdown]
# ## The experiment
#
# **Held:** the pictures, the readout's schedule, the targets. **Varied:** the frozen network, and the readout. The readout is fitted on
# training pictures and scored on test pictures, on a black one, a white one, and on Gaussian noise. One seed is one readout (its start and
# the order of the pictures), and, for a network made here, that network too; Table 1, which the first two claims rest on, gets two more than the rest.
#
# **Deviations from the paper**
#
# * **Pictures.** The paper trains on DUT-S (10,533 photographs) and tests on PASCAL-S. Here: crops of six embedded photographs, the test
#   crops from another part of each; or any folder (`-p photos NAME`), of which the `quick` profile takes 128 and 64. A folder named `duts_pascals`,
#   with DUT-S for training and PASCAL-S for testing, counts as the paper's own.
# * **Networks.** VGG-16 and ResNet-152 need their weights, which the `paper` profile downloads before its first run. `quick` takes whichever ImageNet weights
#   lie under the data root, and always a *small* VGG of four blocks that it trains itself for a second or two: to name the embedded
#   photograph of a crop, or to label the pixels of a digit pasted on it (*digits_on_photos*, in the place of saliency and segmentation).
# * **What the released code does and the text does not say**, kept here: learning rate 0.1, a tenth of it from epoch 10, batch 32 (in `quick`
#   0.05 in batches of 4 for four epochs, then a tenth for two), batch normalisation before the sigmoid, no ½ in the loss. **Not kept:** it feeds pictures without ImageNet's mean and standard deviation, and
#   unless told otherwise leaves the frozen network *random*; here each network sees pictures as it was trained, and random ones are rows of their own.
# * **Table 2a:** between layers, 4 channels in `quick` where the released code keeps as many as come in.
# * **Table 5.** There is no saliency here without its data (DUT-S, ECSSD, PASCAL-S, DUT-OMRON), and no VOC 2012. The small network learns to
#   label the pixels of drawn street scenes, in which the sky is above and the road below, as position is to help; or of any labelled set
#   (`-p scenes NAME`). A smaller map is resized to the whole picture, as we read the paper.
# * **Target maps** and noise image have no formula in the text. The maps are fitted to the released pictures (`canvas.position_map`), the
#   noise is Gaussian around mid-grey, drawn anew for each of 8 pictures.
# * **Stripes.** The paper's MAE on HS and VS is on a scale twice as long (its own constant predictor has .628). Both scales are shown.

# %%
defaults = ["vgg16", "resnet152"] if profile == "paper" else []
files = encoders.parse_encoders(pretrained, workspace.data, defaults)
shared = experiments.readout_inputs(splits, workspace, files, **scale)
networks = experiments.make_encoders(profile, files, workspace.data)
cells = experiments.plan(profile, photos, shared, networks)     # (table, variant, configuration)
configs = experiments.configs(cells)
test_images = shared.tests["natural"]

planned = range(seeds or config.SEEDS[profile])
extra = range(len(planned), len(planned) + 2)                # two more for Table 1, the headline
run_or_load = partial(records.run_or_load, "posenet_readout", workspace=workspace)
run = {"run": partial(experiments.run_readout, inputs=shared),
       "before": partial(encoders.check_weights, files, workspace.data)}
runs = run_or_load(configs, **run, seeds=planned)
more = run_or_load(experiments.configs(cells, "1"), **run, seeds=extra, optional=True)
runs, seeds = records.complete_seeds(runs, configs)
runs += more
scores = experiments.map_scores(cells, runs, seeds)          # per cell, target, test set and seed
frame = pd.DataFrame(scores)

# %% [markdown]
# ## What came out
#
# *What to look for:* maps that look like their target in every row but that of the pixels. The photograph should not show through. Then the
# scores, and the paper's Fig. 6: the map $G$ from one photograph, bright in the centre with padding, and not without.

# %%
cell_scores = claims.summarise(scores)
summary = pd.DataFrame(cell_scores)
n_seeds = f"n = {len(seeds)} seeds, {len({r.seed for r in runs})} in Table 1"
over_seeds = f"mean and 95 % interval (Student's t) over {n_seeds}"
what = (f"{photos}, {len(shared.train)} training and {len(test_images)} test pictures of "
        f"{scale['size']} pixels")


def predicted_maps(c):
    return experiments.predicted_maps(next(
        r for r in runs if r.digest == config.digest(c) and r.seed == seeds[0]))


rows = {"target": pictured | {"picture": test_images.images[0].permute(1, 2, 0).numpy() / 255}}
rows |= {style.label(cell.config.encoder.key): predicted_maps(cell.config) for cell in cells
         if cell.table in ("1", "untrained_imagenet") or cell[:2] == ("untrained", "zeros")}
page.show(show_images.picture_grid(rows), "02_drawn", f"""What the readouts draw from one test picture, by the network
          whose frozen features they read ({what}; seed {seeds[0]}). The picture is on the right of the first row.""",
          "A grid of small maps: the first row the targets, then one row a network.", workspace=workspace)

# %%
untrained_small = (summary["table"] == "untrained") & (summary["variant"] == "zeros")
bounds = pd.concat([summary[summary["table"] == "1"], summary[untrained_small],
                    summary[summary["table"] == "untrained_imagenet"]])
bounds = bounds[bounds["target"].isin(canvas.POSITION_MAPS)]
bounds["network"] = bounds["network"].map(style.label)
fig, axes = plt.subplots(2, 2, figsize=(11, 6.4), sharex=True, sharey=True, layout="constrained")
for ax, (images, rows) in zip(axes.flat, bounds.groupby("images", sort=False), strict=True):
    figures.scores_by_map(rows, ax).set_title(f"{images} images", fontsize="small")
for ax in axes.flat[[0, 2, 3]]:                              # one legend is enough
    ax.get_legend().remove()
page.show(fig, "02_table1", f"""Table 1: SPC by target map and by the frozen network, on natural images and on those without content
          ({what}), {over_seeds}. *random* is the same architecture before any training. No marker: all drawn maps are
          constant. Dotted: 0, no correlation.""",
          "Four panels of SPC by target map, one marker a network, with the paper's VGG-16 dashed.", workspace=workspace,
          data=bounds)

rows, under = {"target": targets[2].numpy()}, {}
sixth = summary[(summary["table"] == "fig6") & (summary["target"] == "G")].set_index("variant")
for table, variant, c in cells:
    if table == "fig6":
        label = f"{c.encoder.net}\n{style.label(variant).partition(', ')[2] or 'as it is'}"
        rows[label] = predicted_maps(c)["G"]
        row = sixth.loc[variant]
        under["G", label] = f"SPC {row['mean']:+.2f}\npaper {row['paper_spc']:+.2f}"
page.show(show_images.picture_grid({"G": rows}, under), "02_fig6", f"""Fig. 6: the map G drawn from one test picture, by
          PosENet on pixels with 0, 1 and 2 pixels of padding in its own convolution, and from a frozen network with its
          padding and with the padding taken away. SPC: mean over n = {len(seeds)} seeds, above that of the paper.""",
          "Six small maps in a row, each with its SPC and the paper's.", workspace=workspace, data=sixth.reset_index())

# %%
def wide(rows, value, index):
    """A row a network, a column a map: mean ± half the interval over seeds."""
    table = records.summarise(rows.dropna(subset=value), [*index, "target"], value)
    table["cell"] = [f"{row.mean:.2f}±{(row.high - row.low) / 2:.2f}" for row in table.itertuples()]
    table = table.set_index([*index, "target"])["cell"].unstack("target").reset_index()
    return rows[index].drop_duplicates().merge(table, how="left", on=index)[[*index, *rows["target"].unique()]]


named = frame.assign(network=frame["network"].map(style.label), target=frame["target"].map(style.label))
by, ours = ["network", "images"], named[(named["table"] == "1") & (frame["target"] != "shuffled_H")]
counts = ours.groupby(by, as_index=False, sort=False).agg(
    n=("seed", "nunique"), pictures=("n_images", "first"), undefined=("undefined", "sum"))
half = "mean over the pictures, then mean ± half the 95 % interval (Student's t) over seeds"
page.table(counts.merge(wide(ours, "spc", by), on=by), "02_spc", f"""Table 1, SPC ({what}): {half}. *Undefined*: maps drawn, of
           all seeds and targets, that are constant and have no SPC; they are not in the mean.""", workspace=workspace)
stripes = ours[ours["target"].isin(["HS", "VS"])]
stripes = stripes.assign(mae=2 * stripes["mae"], target="2 × " + stripes["target"])
page.table(counts[[*by, "n"]].merge(wide(pd.concat([ours, stripes]), "mae", by), on=by), "02_mae",
           f"""Table 1, MAE ({what}): {half}. *2 × HS*, *2 × VS*: on the paper's scale, twice as long.""", workspace=workspace)

# %% [markdown]
# A flat map knows nothing of position. Compare each trained network with its random twin, and each set of pictures with the next: what a
# random network draws was not learned, and what is drawn on black does not come from the picture.
#
# ## Tables 2, 3, 4 and 6
#
# *What to look for:* solid lines (this run) that go where the dashed ones (the paper) go. Their *level* depends on the network and the
# schedule. One control is among the panels: is a deep stage better because it is deep, or because it is wide? Later stages have more
# channels, and a readout has more to choose from. So equally few are read from each.

# %%
natural = summary[(summary["images"] == "natural") & summary["target"].isin(["H", "G", "HS"])]
panels = [("2a", "vgg"), ("2b", "vgg"), ("3", "vgg"), ("2a", "posenet"), ("2b", "posenet"),
          ("matched_channels", "vgg"), ("4", "vgg"), ("4", "posenet"), ("6", "vgg")]
titles = {"matched_channels": f"Table 3, {networks.matched} channels of each"}
fig, axes = plt.subplots(3, 3, figsize=(10.8, 8.2), sharey=True, layout="constrained")
for ax, (table, net) in zip(axes.flat, panels, strict=True):
    rows = natural[(natural["table"] == table) & natural["variant"].str.startswith(net)]
    rows = rows.assign(variant=rows["variant"].map(style.label))
    figures.score_ladder(rows, list(dict.fromkeys(rows["variant"])), ax)
    network = style.label(rows["network"].iloc[0])
    ax.set_title(f"{titles.get(table, f'Table {table}')}: {network}", fontsize="small")
for ax in axes[:, 0]:
    ax.set_ylabel("SPC on photographs")
fig.legend(*axes[0, 0].get_legend_handles_labels(), title="target map", fontsize="small", loc="outside right upper")
page.show(fig, "02_ladders", f"""Readout depth (2a) and kernel (2b), stage of the network (3; below it, with equally many
          channels of each, drawn anew for every seed), padding (4) and training task (6), on photographs: this run solid
          ({what}; {over_seeds}), the paper dashed. Where the paper says VGG-16, the network is the one above the panel; in Table 6
          the second is trained on digits_on_photos.""",
          "Nine panels of SPC against the variants of a table, one colour a target map.", workspace=workspace,
          data=natural)

# %% [markdown]
# A larger readout has more to learn, so in the few steps of `quick` it may draw worse for want of training alone. And a rise from stage to
# stage speaks of depth only as far as it remains with equally many channels.
#
# ## Controls that could overturn the reading
#
# :::{admonition} Did the network have to learn anything? Did the padding have to be zeros?
# :class: control
# If *training* puts position into features, a random network should draw worse. If *zeros* do, another padding should. And
# {cite:t}`lin2022unveiling` hold that this test is unreliable altogether: then its score should wander from one random network to the next. Each
# dot below is one network. **Noise** pictures have no sky above and no ground below, so what is drawn there cannot come from
# what photographs have in common.
# :::

# %%
padded = ["untrained", "trained"]
picked = summary[summary["table"].isin(padded) & summary["target"].isin(["H", "G"])
                 & summary["images"].isin(["natural", "noise"])]
fig, axes = plt.subplots(1, 4, figsize=(12, 3.4), sharey=True, layout="constrained")
for ax, (where, rows) in zip(axes, picked.groupby(["target", "images"]), strict=True):
    single = frame[frame["table"].isin(padded) & (frame["target"] == where[0]) & (frame["images"] == where[1])]
    figures.scores_by_padding(rows, single, ax).set_title(f"{where[0]}, {where[1]} images", fontsize="small")
axes[0].set_ylabel("SPC")
page.show(fig, "02_untrained", f"""SPC of the small network by padding mode, random (open) and trained to tell photographs
          apart (filled); *none* is built, and where trained also *trained*, without padding ({what}). Dots: single seeds.
          Bars: 95 % interval (Student's t), n = {len(seeds)}.""",
          "Four panels of SPC by padding mode, for random and trained networks.", workspace=workspace, data=picked)

given = named[named["table"] == "coordinates"]
given = given.assign(network=given["network"] + ", " + given["variant"].map(style.label))
lines = pd.concat([named[named["table"].isin(["1", "untrained_imagenet"])], given,
                   named[(named["table"] == "untrained") & (named["variant"] == "zeros")]])
lines = lines[lines["images"] == "natural"]
page.table(wide(lines, "spc", ["network"]), "02_controls", f"""Lower and upper bounds, SPC on photographs ({what}): {half}, {n_seeds}.
           *coordinates*: the picture with its rows and columns on two more channels,
           read by one convolution, or by three with 16 channels between them. *shuffled H* is a target in an arbitrary
           order: to draw it takes position in detail, not one smooth gradient.""", workspace=workspace)

# %% [markdown]
# What is drawn on photographs and not on noise is what photographs have in common. How far the dots lie apart says how much a single run of
# each, as the paper has it, can tell.
#
# ## From scratch, with padding and without
#
# Table 5 trains networks from scratch to label pixels. Without padding, each 3×3 convolution takes one pixel of its own map off every
# side: the eight of our small network, two at each stride, $2 \cdot (1 + 2 + 4 + 8) = 30$ pixels of the image. The small map that
# is left is resized to the whole picture, and its answers stand in the wrong places. (VGG-16 loses more: of 224 pixels its thirteen
# convolutions leave a map of 2×2.)
#
# :::{admonition} Is it the position, or the size of the map?
# :class: control
# Score both networks on the **window** that the unpadded map covers, and train the unpadded one there, too. With the *same* weights
# the two agree in the window exactly, as the next cell checks: nothing there feels the border. (Two pixels are cut off the unpadded
# network's picture, left and top, so that its map falls on the grid of the other.) And train with **reflect** padding, which gives
# a map of the same size and hardly marks the border. For the table to speak of position, zeros must win both: or else the loss is one of
# the map's size, or any padding would do.
# :::

# %%
skip, start = 2, 2 + 2 * (1 + 2 + 4 + 8)
torch.manual_seed(0)
net, (x, y) = classifiers.vgg(3, width=2, task="segment").eval(), labelled.test.batch(torch.arange(2))
with torch.no_grad():
    with_padding, without = net(x), padding.remove_padding(net)(x[..., skip:, skip:])
covered = without.shape[-1]
window = slice(start, start + covered)
torch.testing.assert_close(with_padding[..., window, window], without)
print(f"of {x.shape[-1]} pixels a side, the map without padding covers {covered}, "
      f"from {start} to {start + covered - 1}")

cut, cut_labels = experiments.crop_to_window(with_padding, y)                # the library's
assert torch.equal(cut, with_padding[..., window, window])
assert torch.equal(cut_labels, y[:, window, window])
assert experiments.resize_to_image(without, y)[0].shape == with_padding.shape

# %%
nets = experiments.scratch_configs(profile, scenes, labelled)
train = partial(experiments.run_scratch, splits=labelled, workspace=workspace)
trials, trial_seeds = records.complete_seeds(run_or_load(nets, run=train, seeds=planned), nets)
scratch = experiments.scratch_scores(trials)
iou = claims.summarise_miou(scratch)

# %%
scored, single_runs = pd.DataFrame(iou), pd.DataFrame(scratch)
modes = claims.TABLE5["variant"].map({"vgg": "zeros", "vgg/without_padding": "none"})
table5 = claims.TABLE5.assign(scored_on="picture", padding_mode=modes)
table5 = table5[table5["measure"] == "mean IoU"]
printed = table5.merge(scored, how="right", on=["padding_mode", "scored_on"])
fig, axes = plt.subplots(1, 2, figsize=(9, 2.4), sharex=True, sharey=True, layout="constrained")
for ax, where in zip(axes, ("picture", "window"), strict=True):
    rows, single = (part[part["scored_on"] == where].rename(columns={"padding_mode": "method", "miou": "value"})
                    for part in (printed, single_runs))
    figures.dots_by_method(rows, single, ["zeros", "reflect", "none"], ax,
                           colours=style.PADDING_COLOURS | {"none": "0.35"})
    y = labelled.test.labels if where == "picture" else labelled.test.labels[:, window, window]
    counts = y[y != VOID].bincount()                                        # of each class
    ax.axvline(100 * float(counts.max() / counts.sum()) / int((counts > 0).sum()), **style.CHANCE)
    ax.set(title=f"scored on the {where}", xlabel="mean IoU (%)", yticklabels=["zero", "reflect", "none"])
recipe = nets[0].network.recipe
what5 = f"{scenes}, crops of {x.shape[-1]} pixels, {recipe.epochs * recipe.epoch_steps} steps"
page.show(fig, "02_scratch", f"""Table 5: mean IoU on test pictures by padding mode, trained from scratch ({what5}). On the right
          *none* is trained on the window. Dots: seeds; diamonds: mean and 95 % interval (Student's t), n = {len(trial_seeds)}; dotted: every pixel
          the most frequent class; dashed: the paper, on VOC 2012.""", "Two panels of mean IoU for zero, reflect and no padding.",
          workspace=workspace, data=scored)
long = claims.TABLE5.assign(cell=claims.TABLE5["dataset"] + ", " + claims.TABLE5["measure"])
columns = list(dict.fromkeys(long["cell"]))
rows = long.pivot(index="variant", columns="cell", values="paper")[columns].reset_index()
ours = printed.dropna(subset="paper").set_index("variant").loc[rows["variant"]]
rows[f"here: {scenes}, mean IoU"] = [f"{row.mean:.1f}±{(row.high - row.low) / 2:.1f}"
                                     for row in ours.itertuples()]
rows["variant"] = rows["variant"].map(style.label)
page.table(rows, "02_table5", f"""Table 5 as printed (F and MAE of saliency, 0 to 1; mean IoU in percent), and what is run here ({what5}):
           mean ± half the 95 % interval over seeds.""", workspace=workspace, digits=2)

# %% [markdown]
# A loss on the picture that is gone on the window is one of the size of the map. Where zeros lead over reflect, look at the window, too: no
# unit there feels the border, so a lead that is as large there is not one of position.
#
# ## Against the paper, cell by cell
#
# First the verdicts; below them every cell that the paper and this run both have. The **direction** of a cell is what it adds to the cell that the paper sets it
# against: a network against pixels (Table 1), three layers against one (2a), and so on. It is the *same*, *opposite*, or *open* when the
# interval of this run's difference, taken seed by seed, holds 0. An undefined SPC counts as 0 here, as the paper prints it.

# %%
gains = claims.miou_gains(scratch)
judged = dict.fromkeys(claims.CLAIMS, claims.judged(scores))
judged |= {claims.POSENET_CONTENT: claims.content_changes(scores), claims.POSENET_SCRATCH: gains}
tried = dict.fromkeys(claims.CLAIMS, scores) | {claims.POSENET_SCRATCH: gains}
scales = {c: claims.scale(c, cells, shared) for c in claims.CLAIMS if c is not claims.POSENET_SCRATCH}
scales[claims.POSENET_SCRATCH] = claims.scratch_scale(nets)
verdicts = {c: c.verdict(judged[c], scales[c]) for c in claims.CLAIMS}
outcomes = {c: c.control_outcome(tried[c], scales[c]) for c in claims.CLAIMS}
page.against_paper(verdicts, outcomes, "02_against_paper", f"{what}; {n_seeds}; Table 5: {what5}", workspace=workspace)

compared = []
for cell in cell_scores:
    if np.isfinite(cell.paper_spc):
        step = claims.step(cell, scores)
        compared.append({
            "table": style.label(cell.table), "cell": style.label(cell.variant),
            "network here": style.label(cell.network), "map": cell.target, "images": cell.images,
            "paper": cell.paper_spc, "SPC": cell.mean, "low": cell.low, "high": cell.high, "n": cell.n,
            "paper MAE": cell.paper_mae, "MAE": cell.mae * (2 if cell.target in ("HS", "VS") else 1),
            "against": style.label(step.against) if step else None, "paper step": step and step.paper,
            "step": step and step.mean, "direction": step and step.direction})
        if step and step.direction == "opposite":
            before, after = style.label(step.against), style.label(cell.variant)
            print(f"Table {style.label(cell.table)}, map {cell.target}, {cell.images} images: from \"{before}\" "
                  f"to \"{after}\" the paper's SPC moves by {step.paper:+.2f}, this run's "
                  f"({style.label(cell.network)}) by {step.mean:+.2f} "
                  f"[{step.low:+.2f}, {step.high:+.2f}].")
compared = pd.DataFrame(compared).astype({"n": "Int64"})
page.table(compared, "02_cells", f"""Every cell that paper and run both have
           ({what}). SPC: {over_seeds}; the paper's are one run. MAE on the stripes is doubled, to the paper's scale.""",
           workspace=workspace, digits=2)
print(compared.groupby(["table", "direction"]).size().unstack(fill_value=0).to_string())

# %% [markdown]
# ## What it means, and what it does not
#
# * **Position or content?** The target maps are the same for every photograph, so a readout could also learn them from what photographs
#   have in common. Black, white and noise images have none of that, and so they have a claim of their own: without
#   it, a map drawn on photographs is not yet one that needs no photograph.
# * **Was it learned?** The paper speaks of pretrained networks. How much of their score is a property of padded convolutions is what a
#   *random* network of the same architecture says ({numref}`fig-02_table1`). The released code leaves the backbone random unless told otherwise.
# * **Which padding?** Page 03 asks averaged features for the cell under every padding mode. There a head is *trained with* the network, and has nine
#   cells to tell apart; here it has to draw a map from what happens to be there ({numref}`fig-02_untrained`). The two need not agree.
# * **Taken away or never there.** The paper strips the padding off a network that was trained with it, which breaks the network too
#   {cite}`murase2020how`. A network *trained* without padding is not open to that objection.
# * **Deep or wide?** Later stages of a network have more channels as well as more depth. Table 3 varies both at once.
# * **What padding is good for.** Without it a map has no answers for the edge of the picture. Unless zeros also win on the window and
#   against reflect padding, Table 5 is no evidence that a network uses position.
# * **Unreliable?** {cite:t}`lin2022unveiling` doubt the test. The dots of {numref}`fig-02_untrained` show how far one random network is from the next, and the paper prints one run
#   of each. So a verdict here takes intervals: where one of them holds 0, means that rise from row to row decide nothing.
# * **The upper bound** is a network that is *given* rows and columns ({numref}`tab-02_controls`). One convolution is linear in them, so of the five maps it can order only H and V;
#   three layers can bend. The shuffled target asks for position in detail, which no smooth map has.
# * **Not done:** saliency (half of Table 5, and a row of Table 6), VGG-16 and ResNet-152 themselves in `quick`, and the paper's own data.
#
# ## Summary
#
# * A readout says what frozen features hold of position, and images without content say whether the picture has a part in it.
# * A random network beside a trained one says what an architecture *lets through*. The score alone does not say what a network has learned to use.
# * Report it with several seeds, with a random network beside every trained one, and with the padding taken away *before* training.
#
# ## Exercises
#
# :::{admonition} 1. By pencil
# :class: exercise
# A 1×1 readout sees one place of the stacked features. From the first stage alone (two 3×3 convolutions, zero padding), on a black picture:
# in how many places of the 28×28 map can it say anything but the same? What does that make of its SPC on H?
# :::
#
# :::{admonition} Solution
# :class: dropdown
# Two convolutions reach two pixels: only a frame two pixels wide differs from the inside. Of the places of the 28×28 map, which lie three pixels apart or
# more, that is the outermost ring, $28^2 - 26^2 = 108$ of 784. Inside it the drawn map is constant, and its ranks are all
# tied, so SPC rests on the left and the right edge. That is Table 3's first row: small, and not zero.
# :::
#
# :::{admonition} 2. In code
# :class: exercise
# Give the readout two pixels of zero padding of its own and *no* network (`encoder=EncoderConfig(net="pixels"), padding=2`). The paper reaches an SPC of .397 on H. How much
# of that is left if the padding is `reflect`? (`padding.set_padding_mode` works on a readout.)
# :::
#
# :::{admonition} A start
# :class: dropdown
# `padding.set_padding_mode(heads.Readout(3, len(experiments.TARGETS), padding=2, size=scale["size"]), "reflect")`, trained by `training.fit` as in `experiments.run_readout`. Reflected pixels look like pixels: expect little.
# :::
#
# :::{admonition} 3. To overturn the claim
# :class: exercise
# If the maps came from what photographs have in common (sky above, ground below), a readout trained on photographs turned by random quarter turns
# would fail. Turn them (`torch.rot90`), train again, and look at V.
# :::
#
# :::{admonition} A hint
# :class: dropdown
# The scores on noise and black pictures in the table of cells answer the same question: nothing there is up.
# :::

# %%
print(page.provenance(workspace, splits))
