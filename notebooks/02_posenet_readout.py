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
# > **The puzzle**
# >
# > Take a network that learned to name photographs, freeze it, and show it a photograph it has never seen. Ask a single
# > convolution, on nothing but the frozen features, to draw a gradient from left to right. The photograph says nothing of it.
# >
# > The paper says that it draws the gradient. Ask the same of a network that has learned *nothing*, and look again.

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
photos = ""           # the pictures that are read: "photos" (embedded, the default), or a folder under the data root
scenes = ""           # the labelled pictures of Table 5: "streets" (the default), "digits_on_photos", "camvid", "cityscapes"
pretrained = ""       # e.g. "vgg16,resnet18=FILE.safetensors"; "" is what lies under the data root's weights/, if any
schedule = ""         # cpu | long: the schedules of the committed runs, for a folder of photographs; "" is the profile's
seeds = 0             # how many; 0 is the profile's number

# %%
from functools import partial
from types import SimpleNamespace

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
preset, scale = experiments.preset(profile, schedule), experiments.image_scale(profile, photos, schedule)
splits = inputs.load_for(workspace, photos, size=scale["size"], validation=0.0)   # nothing is chosen
crop = preset["scratch"]["crop"]
labelled = inputs.load_for(workspace, scenes, size=crop, validation=0.0, seeds=preset.get("scenes"))   # for Table 5
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# Seven statements of [Islam et al. (2020)](../book/bibliography.md#islam2020how): two from Table 1 and one from each later table. Each comes with the rule by which this page judges
# it, a rival explanation, the experiment that tests that explanation, and the rule for it. Every rule names the smallest effect of interest and the
# least training needed to detect it.

# %%
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## The maps, and how a drawing is scored
#
# There are five [target maps](../book/glossary.md#target-map), with values from 0 to 1. They are the same for every photograph, so the photograph is a
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
# Two scores. **MAE** is the mean absolute error. [SPC](../book/glossary.md#spc) is Spearman's correlation: replace the values of both maps by their ranks, then
# correlate. Equal values share the mean of their ranks, and position maps are full of equal values. By pencil, with four pixels:
#
# | | pixels | ranks | minus 2.5 |
# |---|---|---|---|
# | target | 0, 0, 1, 1 | 1.5, 1.5, 3.5, 3.5 | −1, −1, 1, 1 |
# | drawn | .2, .3, .3, .9 | 1, 2.5, 2.5, 4 | −1.5, 0, 0, 1.5 |
#
# The products sum to 3, the squares to 4 and 4.5, so $\mathrm{SPC} = 3 / \sqrt{4 \cdot 4.5}$.
#
# > **A guess to make**
# >
# > On a photograph that is black all over, an unpadded convolution of the *pixels* draws the same value everywhere. What is the SPC of a
# > constant map? The paper prints .0.

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
# The [readout](../book/glossary.md#readout) is [PosENet](../book/glossary.md#posenet). The features of all stages are brought to 28×28 and stacked; one convolution *without
# padding*, so that it adds no border of its own, makes one [channel](../book/glossary.md#channel) of them; a sigmoid; enlarged to the image. In five lines,
# against the library's.
#
# Where could the position come from? A convolution treats every place alike, except where it meets the [padding](../book/glossary.md#padding-mode). On a
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
# **Held fixed:** the pictures, the schedule of the readout, the targets. **Varied:** the frozen network, and the readout. The readout is fitted on
# training pictures and scored on test pictures, on a black one, a white one, and on Gaussian noise. A seed sets the readout's initial weights
# and the order of the pictures and, for a network trained here or left random, that network as well. Table 1, on which the first two claims rest,
# gets two seeds more than the rest.
#
# Results come from two sets of runs, which are never mixed. The **reference runs** are committed with the book, and verdicts rest on them. **This run** is what
# your machine has just computed, in profile `quick` with tiny networks and few steps: it shows that the code works.
#
# **Deviations from the paper**
#
# * **Pictures.** The paper trains on DUT-S (10,533 photographs) and tests on PASCAL-S. The reference runs in `records/cpu/` use ECSSD at the
#   paper's 224 pixels, how many of its photographs each caption says. `quick` uses crops of six embedded photographs, with test crops
#   from another part of each, or any folder (`-p photos NAME`), of which it takes 128 for training and 64 for testing. A folder named
#   `duts_pascals`, with DUT-S for training and PASCAL-S for testing, counts as the paper's own.
# * **Networks.** VGG-16 and ResNet-152 need their weights, which the `paper` profile downloads before its first run. The runs in `records/cpu/` read two smaller
#   ImageNet networks instead, SqueezeNet 1.1 and MobileNetV2, whose stored weights are 16-bit and de-quantised 8-bit. Every run also reads a *small* VGG
#   of four blocks, trained here for seconds: to name the embedded photograph of a crop, or to label the pixels of digits pasted on photographs
#   (*digits_on_photos*, which replaces saliency and segmentation).
# * **Schedule.** The released code takes 15 epochs of batches of 32, about 4,950 steps on DUT-S, with a learning rate of 0.1 that drops to a tenth at epoch 10;
#   the paper does not state rate or batch size. The runs in `records/cpu/` start at the same rate and drop it after two thirds, in batches of 8: 15 epochs of
#   128 photographs (240 steps) or 3 epochs of 800 (300 steps). `quick`: a rate of 0.05 for four epochs in batches of 4, then a tenth of it for two.
# * **Kept from the released code, though not in the text:** batch normalisation before the sigmoid, no ½ in the loss, aligned corners
#   when features are resized. **Not kept:** it feeds pictures without ImageNet's mean and standard deviation and, unless told otherwise, leaves
#   the frozen network *random*. Here each network sees pictures as it was trained, and random networks are rows of their own.
# * **What is scored.** The readout after its last epoch: nothing is selected, and there is no validation set. SPC, MAE and MSE are computed for each picture and averaged
#   over pictures, then over seeds. The paper does not say which epoch it reports, or whether it averages over pictures. The released code prints MSE as well; the
#   paper does not, and records older than this score lack it (a dash).
# * **Precision.** On a GPU, readouts are trained under bfloat16 autocast and scored in float32; on a CPU both are in float32. Cached features are stored
#   in half precision wherever they do not overflow it.
# * **Table 2a.** Between layers the released code keeps as many channels as come in: 1,472 for VGG-16. Six readouts of that width are beyond a CPU. The runs in
#   `records/cpu/` have 8 channels there, `quick` has 4.
# * **Table 5.** There is no saliency here without its data (DUT-S, ECSSD's masks, PASCAL-S, DUT-OMRON), and no VOC 2012. The small network learns to
#   label the pixels of drawn street scenes, where position should help because the sky is above and the road below; or of any labelled set
#   (`-p scenes NAME`). A map smaller than the picture is resized to the whole picture, as we read the paper.
# * **Target maps** and noise images have no formula in the text. The maps are fitted to the released pictures (`canvas.position_map`); the
#   noise is Gaussian around mid-grey, drawn separately for each of 8 pictures. One picture each is black and white.
# * **Stripes.** The paper's MAE on HS and VS is on a scale twice as long: its best constant has .628, ours half of that. Tables double ours.

# %%
defaults = ["vgg16", "resnet152"] if profile == "paper" else []
files = encoders.parse_encoders(pretrained, workspace.data, defaults)
shared = experiments.readout_inputs(splits, workspace, files, **scale)
networks = experiments.make_encoders(profile, files, workspace.data, schedule)
cells = experiments.plan(profile, photos, shared, networks, schedule)   # (table, variant, configuration, images)
configs = experiments.configs(cells)

planned = range(seeds or config.SEEDS[profile])
extra = range(len(planned), len(planned) + 2)                # two more for Table 1, the headline
run_or_load = partial(records.run_or_load, "posenet_readout", workspace=workspace)
run = {"run": partial(experiments.run_readout, inputs=shared),
       "before": partial(encoders.check_weights, files, workspace.data)}
runs = run_or_load(configs, **run, seeds=planned, optional=workspace.is_reference)
more = run_or_load(experiments.configs(cells, "1"), **run, seeds=extra, optional=True)

# %%
def recorded(kind):
    return records.reference("posenet_readout", workspace, lambda run: run.config["class"] == kind)


def read(cells, runs, seeds=None):
    """The scores of some cells, by seed and summarised, and in words what they rest on."""
    scores = experiments.map_scores(cells, runs, seeds)
    words = f"{claims.in_words(cells, scores)}; {records.origin(runs)}"
    return SimpleNamespace(cells=cells, runs=runs, scores=scores, frame=pd.DataFrame(scores),
                           summary=pd.DataFrame(claims.summarise(scores)), words=words)


parts = {}
if reference := recorded("ReadoutConfig"):
    parts["Reference runs"] = read(experiments.recorded_cells(reference), reference)
if not workspace.is_reference:
    runs, complete = records.complete_seeds(runs, configs)
    parts["This run"] = read(cells, runs + more, complete)
records.require(parts or None, "the page")
rests_on, first = next(iter(parts.items()))                   # what figures and tables rest on
what = ". ".join(f"{name}: {part.words}" for name, part in parts.items())
print(what.replace(". ", "\n"))

# %% [markdown]
# ## What came out
#
# *What to look for:* maps that look like their target in every row but that of the pixels. The photograph should not show through. Then the
# scores, and the paper's Fig. 6: the map $G$ from one photograph, bright in the centre with padding, and not without.

# %%
def is_bound(cell):
    """Whether a cell of a table is in Table 1, or its network's twin with random weights."""
    return cell.table in ("1", "untrained_imagenet") or (cell.table, cell.variant) == ("untrained", "zeros")


def drawn(part, c):
    """The maps that the readout of seed 0 draws from one test picture, by target."""
    return experiments.predicted_maps(next(
        run for run in part.runs if run.digest == config.digest(c) and "predicted" in run.results))


rows = {"target": pictured}
for name, part in parts.items():
    prefix = "" if part is first else f"{name}: "
    for cell in part.cells:
        if is_bound(cell):
            label = prefix + style.label(cell.config.encoder.key)
            rows[label.replace(", ", ",\n").replace(": ", ":\n")] = drawn(part, cell.config)
page.show(show_images.picture_grid(rows), "02_drawn", f"""What the readouts of seed 0 draw from one test picture,
          by the network whose frozen features they read: in the {rests_on.lower()}, and below them in this run.
          {what}.""",
          "A grid of small maps: the first row the targets, then one row a network.", workspace=workspace)

# %%
over_seeds = "mean and 95 % interval (Student's t) over seeds"
bounds = {}
for name, part in parts.items():
    rows = part.summary[[is_bound(row) for row in part.summary.itertuples()]]
    rows = rows[rows["target"].isin(canvas.POSITION_MAPS)]
    bounds[name] = rows.assign(network=rows["network"].map(style.label))
read_networks = list(dict.fromkeys(pd.concat(bounds.values())["network"]))
fig, axes = plt.subplots(4, len(parts), figsize=(11, 11), sharex=True, sharey=True, layout="constrained",
                         squeeze=False, width_ratios=[5, 3][:len(parts)])
for column, (name, rows) in zip(axes.T, bounds.items(), strict=True):
    for ax, (images, of_set) in zip(column, rows.groupby("images", sort=False), strict=True):
        figures.scores_by_map(of_set, ax, read_networks).set_title(f"{name}: {images} images", fontsize="medium")
        ax.get_legend().remove()
        ax.set_ylabel("")
for ax in axes[:, 0]:
    ax.set_ylabel("SPC")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
[*_, above] = claims.POSENET_READOUT.judge(claims.judged(first.scores))   # the finding, in words
page.show(fig, "02_table1", f"""Table 1. {rests_on}: {above}. SPC by target map and by the frozen network, on
          natural images and on those without content, {over_seeds}; *random* is the same architecture before any training. No marker: all drawn maps are
          constant. Dotted: 0, no correlation. {what}.""",
          "Panels of SPC by target map, one marker a network, with the paper's VGG-16 dashed.", workspace=workspace,
          data=pd.concat(rows.assign(runs=name) for name, rows in bounds.items()))

# %%
columns = {"posenet": "pixels,\npadding 0", "posenet/padding_1": "pixels,\npadding 1",
           "posenet/padding_2": "pixels,\npadding 2",
           "vgg": "network", "vgg/padding_removed": "network,\npadding removed"}
rows, under, sixth = {}, {}, {}
for name, part in parts.items():
    sixth[name] = part.summary[(part.summary["table"] == "fig6") & (part.summary["target"] == "G")]
    spc = sixth[name].set_index("variant")
    rows[name] = {"target": targets[2].numpy()}
    for cell in part.cells:
        if cell.table == "fig6":
            label, row = columns[cell.variant], spc.loc[cell.variant]
            rows[name][label] = drawn(part, cell.config)["G"]
            under[name, label] = f"SPC {row['mean']:+.2f}\npaper {row['paper_spc']:+.2f}"
page.show(show_images.picture_grid(rows, under), "02_fig6", f"""Fig. 6: the map G drawn from one test picture, by
          PosENet on pixels with 0, 1 and 2 pixels of padding in its own convolution, and from a frozen network
          with its own padding and with that removed. Below each its SPC, mean over seeds, and the paper's. {what}.""",
          "Rows of six small maps, each with its SPC and the paper's.", workspace=workspace,
          data=pd.concat(sixth.values()))

# %%
def wide(rows, value, index):
    """A row a network, a column a map: mean ± half the interval over seeds, where there are three or more."""
    table = records.summarise(rows.dropna(subset=value), [*index, "target"], value)
    table["cell"] = [f"{row.mean:.2f}" + (f"±{(row.high - row.low) / 2:.2f}" if row.n > 2 else "")
                     for row in table.itertuples()]
    table = table.set_index([*index, "target"])["cell"].unstack("target").reset_index()
    table = rows[index].drop_duplicates().merge(table, how="left", on=index)
    return table.reindex(columns=[*index, *rows["target"].unique()])


by = ["runs", "network", "images"]
printed = claims.POSENET[claims.POSENET["table"] == "1"].assign(runs="paper")
printed["network"] = printed["variant"].map({"posenet": "pixels", "vgg": "VGG-16", "resnet": "ResNet-152"})
named = pd.concat(part.frame.assign(runs=name.lower()) for name, part in parts.items())
named = named.assign(network=named["network"].map(style.label), target=named["target"].map(style.label),
                     spc=named["spc"].astype(float), mse=named["mse"].astype(float))
ours = named[(named["table"] == "1") & named["target"].isin(canvas.POSITION_MAPS)]
counts = ours.groupby(by, as_index=False, sort=False).agg(
    n=("seed", "nunique"), pictures=("n_images", "first"), undefined=("undefined", "sum"))
half = "mean over pictures, then mean ± half the 95 % interval (Student's t) over seeds"
as_printed = {name: wide(printed.rename(columns={f"paper_{name}": name}), name, by) for name in ("spc", "mae")}
table1 = pd.concat([as_printed["spc"], counts.merge(wide(ours, "spc", by), on=by)])
table1 = table1[[*by, "n", "pictures", "undefined", *canvas.POSITION_MAPS]]
table1 = table1.astype({name: "Int64" for name in ("n", "pictures", "undefined")})
page.table(table1, "02_spc", f"""Table 1, SPC: {half}; the paper's are single runs. *Undefined*: maps drawn, of
           all seeds and targets, that are constant and have no SPC; they are not in the mean. {what}.""", workspace=workspace)

natural = ours[ours["images"] == "natural"]
on_paper_scale = natural.assign(mae=natural["mae"] * np.where(natural["target"].isin(["HS", "VS"]), 2, 1))
errors = [as_printed["mae"].query("images == 'natural'").assign(score="MAE")]
errors += [wide(on_paper_scale, "mae", by).assign(score="MAE"), wide(natural, "mse", by).assign(score="MSE")]
page.table(pd.concat(errors)[["score", "runs", "network", *canvas.POSITION_MAPS]], "02_mae",
           f"""Table 1 on natural images, MAE and MSE: {half}. MAE on HS and VS is on the paper's scale, twice ours;
           MSE is on ours, 0 to 1. The paper prints no MSE, and records older than this score have none. {what}.""", workspace=workspace)

# %% [markdown]
# A flat map knows nothing of position. Compare each trained network with its random twin, and each set of pictures with the next: what a
# random network draws was not learned, and what is drawn on black does not come from the picture.
#
# ## Tables 2, 3, 4 and 6
#
# *What to look for:* solid lines that go where the dashed ones (the paper) go. Their *level* depends on the network and the
# schedule. One control is among the panels: is a deep stage better because it is deep, or because it is wide? Later stages have more
# channels, and a readout has more to choose from. So the same small number of channels is read from each.

# %%
def ladder(part, table, net):
    """Scores on photographs of a table's rows that begin with `net`."""
    rows = part.summary[(part.summary["images"] == "natural") & part.summary["target"].isin(["H", "G", "HS"])]
    rows = rows[(rows["table"] == table) & rows["variant"].str.startswith(net)]
    return rows.assign(variant=rows["variant"].map(style.label))


panels = [("2a", "vgg"), ("2b", "vgg"), ("3", "vgg"), ("2a", "posenet"), ("2b", "posenet"),
          ("matched_channels", "vgg"), ("4", "vgg"), ("4", "posenet"), ("6", "vgg")]
fig, axes = plt.subplots(3, 3, figsize=(10.8, 8.6), sharey=True, layout="constrained")
beside = parts.get("This run") if first is not parts.get("This run") else None
for ax, (table, net) in zip(axes.flat, panels, strict=True):
    rows = ladder(first, table, net)
    figures.score_ladder(rows, list(dict.fromkeys(rows["variant"])), ax, beside and ladder(beside, table, net))
    read_from = rows["network"].map(style.label).str.partition(", ")[0].replace("small", "small VGG")
    matched = next((cell.config.channels for cell in first.cells if cell.table == "matched_channels"), "")
    title = f"Table 3, {matched} channels of each" if table == "matched_channels" else f"Table {table}"
    ax.set_title("\n".join([title, *read_from.unique()]), fontsize="small")
for ax in axes[:, 0]:
    ax.set_ylabel("SPC on photographs")
fig.legend(*axes[0, 0].get_legend_handles_labels(), title="target map", fontsize="small", loc="outside right upper")
page.show(fig, "02_ladders", f"""{rests_on}, {claims.ladders_in_words(claims.summarise(first.scores))}. Readout
          depth (2a) and kernel (2b), stage of the network (3; in the second row, with equally many channels of each,
          drawn separately for every seed), padding (4) and training task (6), on photographs. Solid:
          {rests_on.lower()}, {over_seeds}. Dashed: the paper. Open circles: this run, mean over seeds, from its own
          networks. Where the paper says VGG-16, the {rests_on.lower()} read the network above the panel; in Table 6
          the second is trained on digits_on_photos. {what}.""",
          "Nine panels of SPC against the variants of a table, one colour a target map.", workspace=workspace,
          data=pd.concat(part.summary.assign(runs=name) for name, part in parts.items()))

# %% [markdown]
# Does a larger readout read *more*, or does it learn its training pictures by heart? A readout's loss on its training pictures, beside its
# scores on test pictures, tells the two apart.

# %%
main = next((cell.config.encoder for cell in first.cells if cell.variant == "vgg/depth_3"), None)
records.require(main, "Table 2")
fits = pd.DataFrame(experiments.readout_fits(first.runs, main))
fits = fits.assign(**{f"SPC {target}": fits["spc"].map(lambda spc, t=target: spc[t]) for target in claims.THREE_MAPS})
fits = fits.astype({"test_mse": float}).groupby(["n_train", "depth", "kernel"]).agg(
    n=("seed", "size"), **{name: (name, "mean") for name in ("loss", "test_mse", "SPC H", "SPC G", "SPC HS")})
names = {"n_train": "training pictures", "depth": "layers", "loss": "training loss", "test_mse": "the same on test pictures"}
page.table(fits.reset_index().rename(columns=names), "02_readout_size", f"""Readouts of {style.label(main.key)} by
           number of training pictures, layers and kernel: the sum of the mean squared errors of all six maps in the
           last epoch of training and on test pictures, and SPC on test pictures; means over n seeds. {rests_on}.""",
           workspace=workspace, digits=3)
for n_train in fits.index.unique("n_train"):
    sizes = fits.loc[n_train]
    if {(1, 3), (3, 3)} <= set(sizes.index):
        one, three = sizes.loc[1, 3], sizes.loc[3, 3]
        spc = ", ".join(f"{m} {one[f'SPC {m}']:.2f} to {three[f'SPC {m}']:.2f}" for m in claims.THREE_MAPS)
        print(f"{n_train} training pictures, from one layer to three: training loss {one['loss']:.2f} to "
              f"{three['loss']:.2f}; SPC on test pictures {spc}")

# %% [markdown]
# ## Controls that could overturn the reading
#
# > **Did the network have to learn anything? Did the padding have to be zeros?**
# >
# > If *training* puts position into features, a random network should draw worse. If *zeros* do, another padding should. And
# > [Lin et al. (2022)](../book/bibliography.md#lin2022unveiling) hold that this test is unreliable altogether: then its score should wander from one random network to the next. Each
# > dot below is one network. **Noise** pictures have no sky above and no ground below, so what is drawn there cannot come from
# > what photographs have in common.

# %%
def by_padding(rows):
    """The small network by padding mode, maps H and G, on photographs and on noise."""
    return rows[rows["table"].isin(["untrained", "trained"]) & rows["target"].isin(["H", "G"])
                & rows["images"].isin(["natural", "noise"])]


fig, axes = plt.subplots(len(parts), 4, figsize=(12, 3.4 * len(parts)), sharey=True, layout="constrained",
                         squeeze=False)
for axes_row, (name, part) in zip(axes, parts.items(), strict=True):
    seeds_of = dict(list(by_padding(part.frame).groupby(["target", "images"])))
    for ax, (where, rows) in zip(axes_row, by_padding(part.summary).groupby(["target", "images"]), strict=True):
        figures.scores_by_padding(rows, seeds_of[where], ax).set_title(f"{where[0]}, {where[1]} images", fontsize="small")
    axes_row[0].set_ylabel(f"{name}\nSPC")
page.show(fig, "02_untrained", f"""SPC of the small network by padding mode, random (open) and trained to tell photographs
          apart (filled); *none* is built, and where trained also *trained*, without padding. Dots: single seeds.
          Bars: 95 % interval (Student's t) over them. {what}.""",
          "Rows of four panels of SPC by padding mode, for random and trained networks.", workspace=workspace,
          data=pd.concat(part.summary.assign(runs=name) for name, part in parts.items()))

given = named[named["table"] == "coordinates"]
given = given.assign(network=given["network"] + ", " + given["variant"].map(style.label))
lines = pd.concat([named[named["table"].isin(["1", "untrained_imagenet"])], given,
                   named[(named["table"] == "untrained") & (named["variant"] == "zeros")]])
lines = lines[lines["images"] == "natural"].sort_values("runs", kind="stable")
page.table(wide(lines, "spc", ["runs", "network"]), "02_controls", f"""Lower and upper bounds, SPC on photographs: {half}.
           *coordinates*: the picture with its rows and columns on two more channels,
           read by one convolution, or by three with 16 channels between them. *shuffled H* is a target in an arbitrary
           order: drawing it takes position in detail, not one smooth gradient. {what}.""", workspace=workspace)
for name, part in parts.items():
    cell_scores = claims.summarise(part.scores)
    higher, n_twins = claims.random_above_trained(cell_scores)
    print(f"{name}: random weights draw a higher mean SPC than trained ones in {higher} of {n_twins} (network, map)")
    given = [cell for cell in cell_scores
             if (cell.table, cell.images) == ("coordinates", "natural") and cell.target in claims.FIVE_MAPS]
    one, three = ({cell.target: cell.mean for cell in given if cell.variant == f"depth_{n}"} for n in (1, 3))
    for layers, spc in (("one convolution", one), ("three layers", three)):
        print(f"  given rows and columns, {layers}: {', '.join(f'{target} {mean:.2f}' for target, mean in spc.items())}")
    if name == "Reference runs":   # "What it means", below
        assert all((spc > 0.9) == (target in ("H", "V")) for target, spc in one.items())
        assert min(three.values()) > 0.9

# %% [markdown]
# What is drawn on photographs and not on noise is what photographs have in common. How far the dots lie apart shows how much a single run of
# each, which is what the paper has, can tell.
#
# ## From scratch, with padding and without
#
# Table 5 trains networks from scratch to label pixels. Without padding, each 3×3 convolution takes one pixel of its own map off every
# side: the eight of our small network, two at each stride, $2 \cdot (1 + 2 + 4 + 8) = 30$ pixels of the image. The small map that
# is left is resized to the whole picture, and its answers stand in the wrong places. (VGG-16 loses more: of 224 pixels its thirteen
# convolutions leave a map of 2×2.)
#
# > **Is it the position, or the size of the map?**
# >
# > Score both networks on the **window** that the unpadded map covers, and train the unpadded one there, too. With the *same* weights
# > the two agree in the window exactly, as the next cell checks: nothing there feels the border. (Two pixels are cut off the unpadded
# > network's picture, left and top, so that its map falls on the grid of the other.) And train with **reflect** padding, which gives
# > a map of the same size and hardly marks the border. For the table to speak of position, zeros must win both: or else the loss is one of
# > the map's size, or any padding would do.

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
nets = experiments.scratch_configs(profile, scenes, labelled, schedule)
train = partial(experiments.run_scratch, splits=labelled, workspace=workspace)
trials = run_or_load(nets, run=train, seeds=planned, optional=workspace.is_reference)
by_runs = {"Reference runs": experiments.recorded_scratch(recorded("ScratchConfig"))}
if not workspace.is_reference:
    by_runs["This run"] = records.complete_seeds(trials, nets)[0]
by_runs = {name: trials for name, trials in by_runs.items() if trials}
records.require(by_runs or None, "Table 5")
scratch = {name: experiments.scratch_scores(trials) for name, trials in by_runs.items()}
nets = {name: [experiments.read_config(run.config) for run in trials] for name, trials in by_runs.items()}
words5 = {name: f"{claims.scratch_in_words(nets[name], scratch[name])}; {records.origin(trials)}"
          for name, trials in by_runs.items()}
what5 = ". ".join(f"{name}: {words}" for name, words in words5.items())

# %%
modes = claims.TABLE5["variant"].map({"vgg": "zeros", "vgg/without_padding": "none"})
table5 = claims.TABLE5.assign(scored_on="picture", padding_mode=modes)
table5 = table5[table5["measure"] == "mean IoU"]
iou = {name: table5.merge(pd.DataFrame(claims.summarise_miou(rows)), how="right", on=["padding_mode", "scored_on"])
       for name, rows in scratch.items()}
fig, axes = plt.subplots(1, 2 * len(scratch), figsize=(11, 2.8), sharex=True, sharey=True, layout="constrained",
                         width_ratios=[3, 3, 2, 2][:2 * len(scratch)])
shown = [(name, where) for name in scratch for where in ("picture", "window")]
for ax, (name, where) in zip(axes, shown, strict=True):
    single = pd.DataFrame(scratch[name])
    rows, single = (part[part["scored_on"] == where].rename(columns={"padding_mode": "method", "miou": "value"})
                    for part in (iou[name], single))
    colours = style.PADDING_COLOURS | {"none": "0.35"}
    figures.dots_by_method(rows, single, ["zeros", "reflect", "none"], ax, colours=colours)
    if nets[name][0].network.data == labelled.train.fingerprint:
        y = labelled.test.labels if where == "picture" else labelled.test.labels[:, window, window]
        pixels = y[y != VOID].bincount()                                        # of each class
        ax.axvline(100 * float(pixels.max() / pixels.sum()) / int((pixels > 0).sum()), **style.CHANCE)
    ax.set_title(f"{name},\nscored on the {where}", fontsize="small")
    ax.set(xlabel="mean IoU (%)", yticklabels=["zero", "reflect", "none"])
page.show(fig, "02_scratch", f"""Table 5: mean IoU on test pictures by padding mode, trained from scratch. On the
          window *none* is also trained there. Dots: seeds; diamonds: mean and 95 % interval (Student's t) over them;
          dashed: the paper, on VOC 2012; dotted, on this run's pictures: every pixel the most frequent class. {what5}.""",
          "Panels of mean IoU for zero, reflect and no padding.",
          workspace=workspace, data=pd.concat(rows.assign(runs=name) for name, rows in iou.items()))
long = claims.TABLE5.assign(cell=claims.TABLE5["dataset"] + ", " + claims.TABLE5["measure"])
columns = list(dict.fromkeys(long["cell"]))
rows = long.pivot(index="variant", columns="cell", values="paper")[columns].reset_index()
for name, here in iou.items():
    ours = here.dropna(subset="paper").set_index("variant").loc[rows["variant"]]
    rows[f"{name.lower()}: {nets[name][0].network.source}, mean IoU"] = [
        f"{row.mean:.1f}" + (f" [{max(row.low, 0):.1f}, {min(row.high, 100):.1f}], n = {row.n}" if row.n > 2 else "")
        for row in ours.itertuples()]
rows["variant"] = rows["variant"].map(style.label)
page.table(rows, "02_table5", f"""Table 5 as printed (F and MAE of saliency, 0 to 1; mean IoU in percent), and what is run here:
           mean and 95 % interval over seeds. {what5}.""", workspace=workspace, digits=2)

# %% [markdown]
# A loss on the picture that is gone on the window is a loss of the map's size. Where zeros lead over reflect, look at the window, too: no
# unit there feels the border, so a lead that is as large there is not one of position.
#
# ## Against the paper, cell by cell
#
# First the verdicts, then every cell that the paper and the reference runs both have. The **direction** of a cell is its difference from the cell that the paper compares it
# with: a network with pixels (Table 1), three layers with one (2a), and so on. It is *same*, *opposite*, or *open* when the 95 %
# interval of that difference, taken seed by seed, contains 0. An undefined SPC counts as 0 here, as the paper prints it.

# %%
verdicts = {name: claims.judge_readouts(part.scores, part.cells) for name, part in parts.items()}
for name, of_run in verdicts.items():
    of_run |= claims.judge_scratch(scratch.get(name, []), nets.get(name, []))
rest_on = {name: f"{part.words}; Table 5: {words5[name]}" for name, part in parts.items() if name in words5}
page.against_paper(verdicts.get("Reference runs") or dict.fromkeys(claims.CLAIMS, claims.NOTHING),
                   verdicts.get("This run", {}), "02_against_paper", workspace=workspace,
                   runs={"reference": rest_on.get("Reference runs", "none on file"),
                         "here": rest_on.get("This run", "not run")})

here = {}
for row in (claims.summarise(beside.scores) if beside else []):
    here[row.cell, row.network] = here[row.cell, ""] = row
compared = []
for cell in claims.summarise(first.scores):
    if np.isfinite(cell.paper_spc):
        step = claims.step(cell, first.scores)
        ours = here.get((cell.cell, cell.network if cell.table == "1" else ""))
        compared.append({
            "table": style.label(cell.table), "cell": style.label(cell.variant),
            "network": style.label(cell.network), "map": cell.target, "images": cell.images, "paper": cell.paper_spc,
            rests_on.lower(): cell.mean, "low": cell.low, "high": cell.high, "n": cell.n,
            "this run": ours.mean if ours else np.nan,
            "paper MAE": cell.paper_mae, "MAE": cell.mae * (2 if cell.target in ("HS", "VS") else 1), "MSE": cell.mse,
            "against": style.label(step.against) if step else None, "direction": step and step.direction})
        if step and step.direction == "opposite":
            before, after = style.label(step.against), style.label(cell.variant)
            print(f"Table {style.label(cell.table)}, map {cell.target}, {cell.images} images: from \"{before}\" "
                  f"to \"{after}\" the paper's SPC moves by {step.paper:+.2f}, here "
                  f"({style.label(cell.network)}) by {step.mean:+.2f} [{step.low:+.2f}, {step.high:+.2f}].")
compared = pd.DataFrame(compared).astype({"n": "Int64"})
page.table(compared, "02_cells", f"""Every cell that the paper and the {rests_on.lower()} both have. SPC: {over_seeds},
           and the mean in this run, whose network may be another; the paper's are one run. MAE on the stripes is
           doubled, to the paper's scale; MSE is not, and is missing in older records. {what}.""",
           workspace=workspace, digits=2)
print(compared.groupby(["table", "direction"]).size().unstack(fill_value=0).to_string())

# %% [markdown]
# ## What it means, and what it does not
#
# * **Position or content?** The target maps are the same for every photograph, so a readout could also learn them from what photographs
#   have in common. Black, white and noise images have none of that, and so they have a claim of their own: without
#   it, a map drawn on photographs is not yet one that needs no photograph.
# * **Was it learned?** The paper speaks of pretrained networks. How much of their score is a property of padded convolutions is what a
#   *random* network of the same architecture says ([figure 02_table1](#fig-02_table1)). The released code leaves the backbone random unless told otherwise.
# * **Which padding?** Page 03 asks averaged features for the cell under every padding mode. There a head is *trained with* the network, and has nine
#   cells to tell apart; here it has to draw a map from what happens to be there ([figure 02_untrained](#fig-02_untrained)). The two need not agree.
# * **Taken away or never there.** The paper strips the padding off a network that was trained with it, which breaks the network too
#   ([Murase et al., 2020](../book/bibliography.md#murase2020how)). A network *trained* without padding is not open to that objection.
# * **Deep or wide?** Later stages of a network have more channels as well as more depth. Table 3 varies both at once.
# * **Read or learned by heart?** A larger readout has more weights. Where its loss on training pictures falls and its SPC on test pictures does not rise,
#   it has learned those pictures, not position ([table 02_readout_size](#tab-02_readout_size)). Table 2 can only be judged with enough training pictures.
# * **What padding is good for.** Without it a map has no answers for the edge of the picture. Unless zeros also win on the window and
#   against reflect padding, Table 5 is no evidence that a network uses position.
# * **Unreliable?** [Lin et al. (2022)](../book/bibliography.md#lin2022unveiling) doubt the test. The dots of [figure 02_untrained](#fig-02_untrained) show how far one random network is from the next, and the paper prints one run
#   of each. So verdicts here rest on intervals: where an interval contains 0, means that rise from row to row decide nothing.
# * **The upper bound** is a network that is *given* rows and columns ([table 02_controls](#tab-02_controls)). One convolution is linear in them, so of the five maps it can order only H and V;
#   three layers can bend. The shuffled target asks for position in detail, which no smooth map has.
# * **Not done:** saliency (half of Table 5, and a row of Table 6). And the runs in `records/cpu/` have neither the paper's networks, VGG-16 and
#   ResNet-152, nor its data: ECSSD's photographs replace DUT-S and PASCAL-S. No verdict from them can be better than *reproduced on a substitute*.
#
# ## Summary
#
# * A readout says what frozen features hold of position, and images without content say whether the picture has a part in it.
# * A random network beside a trained one says what an architecture *lets through*. The score alone does not say what a network has learned to use.
# * Report it with several seeds, with a random network beside every trained one, and with the padding taken away *before* training.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > A 1×1 readout sees one place of the stacked features. From the first stage alone (two 3×3 convolutions, zero padding), on a black picture:
# > in how many places of the 28×28 map can it say anything but the same? What does that make of its SPC on H?
# >
# > <details><summary>Solution</summary>
# >
# > Two convolutions reach two pixels: only a frame two pixels wide differs from the inside. The places of the 28×28 map lie more than two pixels
# > apart, so that is the outermost ring, $28^2 - 26^2 = 108$ of 784. Inside it the drawn map is constant, and its ranks are all
# > tied, so SPC rests on the left and the right edge. That is Table 3's first row: small, and not zero.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Give the readout two pixels of zero padding of its own and *no* network (`encoder=EncoderConfig(net="pixels"), padding=2`). The paper reaches an SPC of .397 on H. How much
# > of that is left if the padding is `reflect`? (`padding.set_padding_mode` works on a readout.)
# >
# > <details><summary>A start</summary>
# >
# > `padding.set_padding_mode(heads.Readout(3, len(experiments.TARGETS), padding=2, size=scale["size"]), "reflect")`, trained by `training.fit` as in `experiments.run_readout`. Reflected pixels look like pixels: expect little.
# >
# > </details>
#
# > **Exercise 3, to overturn the claim**
# >
# > If the maps came from what photographs have in common (sky above, ground below), a readout trained on photographs turned by random quarter turns
# > would fail. Turn them (`torch.rot90`), train again, and look at V.
# >
# > <details><summary>A hint</summary>
# >
# > The scores on noise and black pictures in the table of cells answer the same question: nothing there is up.
# >
# > </details>

# %%
print(page.provenance(workspace, splits))
