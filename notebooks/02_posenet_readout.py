# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · PosENet: can a position map be predicted from frozen features?
#
# > **In short**
# >
# > Take a network trained to classify photographs, freeze it, and train one convolution on its
# > [feature maps](../book/glossary.md#feature-map) to predict a gradient from left to right, whatever the photograph.
# > The photograph does not contain this gradient, and the network was not trained to encode it. Can the convolution
# > predict it?
# >
# > **Roughly, and not because of what the network has learned. From frozen features, the map is predicted far better
# > than from pixels, although the photograph shows through. From the same networks with random weights, it is predicted
# > even better, in 14 of 15 pairs of network and map.** A small network loses more than half of the SPC, the rank
# > correlation with the map, when its zero padding is removed; the paper reports a similar loss for VGG-16. Whether
# > position is lost, or the network no longer works without its padding, is undecided.
# >
# > ![SPC by target map for trained and random networks, on photographs, black, white and noise images](../figures/paper/02_table1.png)
# >
# > *Caveats.* The networks are SqueezeNet 1.1, MobileNetV2 and a small VGG in place of VGG-16 and ResNet-152, with
# > readouts trained on 128 photographs in place of 10,533. Two of the paper's seven claims, on the size of the readout
# > and on the training task, cannot be judged at this scale.
# >
# > *Run it:* `./run_all.sh --only 02`, about two minutes on two cores.

# %% Parameters tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
photos = ""           # photographs: "photos" (embedded, the default), or a folder of the data root
scenes = ""           # Table 5: "streets" (the default), digits_on_photos, camvid, cityscapes
pretrained = ""       # e.g. "vgg16,resnet18=FILE.safetensors"; "" is what the data root has
schedule = ""         # cpu | long: those of the committed runs, for a folder of photographs
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
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch.nn.functional import interpolate

from posenc_lib.claims import posenet_readout as claims
from posenc_lib.claims.claim import IN_DIRECTION, NOT_TESTABLE, RIVAL_HOLDS, UNDECIDED, points
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
preset = experiments.preset(profile, schedule)
scale = experiments.image_scale(profile, photos, schedule)
# nothing is chosen on this page, so there is no validation set
splits = inputs.load_for(workspace, photos, size=scale["size"], validation=0.0)
labelled = inputs.load_for(workspace, scenes, size=preset["scratch"]["crop"], validation=0.0,
                           seeds=preset.get("scenes"))   # for Table 5
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# [Islam et al. (2020)](../book/bibliography.md#islam2020how) make seven claims: two from Table 1 and one from each
# later table. Each is listed with the rule by which this page judges it, a rival explanation, the experiment that tests
# that explanation, and the rule for its outcome. Every rule states the smallest effect of interest and the minimum
# training needed to detect it. Tables and figures whose number has no dot are the paper's.

# %% tags=["remove-input"]
page.claim_box(*claims.CLAIMS)

# %% [markdown]
# ## By hand: the target maps and the score
#
# There are five [target maps](../book/glossary.md#target-map), with values from 0 to 1. They are the same for every
# photograph, so the photograph does not help to predict them. $u$ and $v$ run from 0 to 1, from left to right and from
# top to bottom:
#
# $$ H = u, \quad V = v, \quad G = e^{-\frac12 [(2u-1)^2 + (2v-1)^2]}, \quad HS = \cos 5\pi v, \quad VS = \cos 5\pi u, $$
#
# each then scaled to the range 0 to 1. This page adds a sixth: $H$ cut into 64 blocks, which are arranged in a fixed,
# random order.

# %% Draw the figure
targets = experiments.target_maps(scale["size"])                          # (map, row, col)
pictured = dict(zip(experiments.TARGETS, targets.numpy(), strict=True))
pictured = {style.label(name): values for name, values in pictured.items()}
floor = {("target", name): f"constant: {abs(t - np.median(t)).mean():.3f}"
         for name, t in pictured.items()}
page.show(show_images.picture_grid({"target": pictured}, floor), "02_targets",
          """The target maps, dark 0 to bright 1. Below each map: the mean absolute error of the
          best constant map, which is the smallest error possible without position information.""",
          """Six square maps: gradients to the right and downwards, a bright centre, two sets of
          stripes, and a checkerboard of shuffled blocks.""", workspace=workspace)

# %% [markdown]
# There are two scores. **MAE** is the mean absolute error. [SPC](../book/glossary.md#spc) is Spearman's rank
# correlation: replace the values of both maps by their ranks, then correlate. Equal values share the mean of their
# ranks, and position maps have many equal values. By hand, with four pixels:
#
# | | pixels | ranks | minus 2.5 |
# |---|---|---|---|
# | target | 0, 0, 1, 1 | 1.5, 1.5, 3.5, 3.5 | −1, −1, 1, 1 |
# | predicted | 0.2, 0.3, 0.3, 0.9 | 1, 2.5, 2.5, 4 | −1.5, 0, 0, 1.5 |
#
# The products sum to 3, the squares to 4 and 4.5, so $\mathrm{SPC} = 3 / \sqrt{4 \cdot 4.5}$.
#
# > **Make a guess**
# >
# > For an entirely black image, an unpadded convolution of the *pixels* predicts the same value everywhere. What is the
# > SPC of a constant map? The paper prints .0.

# %%
predicted, target = torch.tensor([[[.2, .3], [.3, .9]]]), torch.tensor([[0., 0.], [1., 1.]])
by_pencil = 3 / (4 * 4.5) ** 0.5
assert abs(metrics.spearman(predicted, target)[0] - by_pencil) < 1e-12
assert abs(spearmanr(predicted.flatten(), target.flatten()).statistic - by_pencil) < 1e-12
constant = metrics.spearman(torch.ones(1, 2, 2), target)[0]
print(f"by hand and by scipy: {by_pencil:.4f}; a constant map: {constant}")

# %% [markdown]
# It is undefined: a constant map has no order. Where the paper prints a zero, this page prints a dash, and counts such
# maps.
#
# ## Build it
#
# The [readout](../book/glossary.md#readout) is [PosENet](../book/glossary.md#posenet). The features of all stages are
# resized to 28×28 and stacked. One convolution *without padding*, so that it adds no border of its own, maps them to
# one [channel](../book/glossary.md#channel); a sigmoid follows, and the result is enlarged to the size of the image.
# Below it is written in five lines and compared with the library's.
#
# Where could position information come from? A convolution treats all positions alike, except where it reads
# [padding](../book/glossary.md#padding-mode). On a black image there is no other source: with circular, reflect or
# replicate padding, or without padding, a network's features are constant, and *no* readout can predict a map from
# them; with zero padding they are not constant. The last lines check this.

# %%
torch.manual_seed(0)
encoder = encoders.small_vgg(classifiers.vgg(6, width=4))   # a random network of four stages
pictures = splits.test.take(slice(0, 4))
stages = encoder(encoder.view(pictures).batch(torch.arange(4))[0])
f = torch.cat([interpolate(stage, (28, 28), mode="bilinear", align_corners=True)
               for stage in stages], 1)
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
print("stages:", [tuple(stage.shape[1:]) for stage in stages])
print("spread on a black image:", ", ".join(f"{style.label(mode)} {spread:.1g}"
                                            for mode, spread in spreads.items()))

# %% [markdown]
# ## The experiment
#
# **Held fixed:** the photographs, the readout's schedule and the targets. **Varied:** the frozen network, and the
# readout. The readout is trained on training photographs and scored on test photographs, a black image, a white image,
# and Gaussian noise. A seed sets the readout's initial weights and the order of the photographs and, for a network
# trained here or left random, that network as well. Table 1, on which the first two claims rest, has two more seeds
# than the other tables.
#
# The verdicts rest on the **reference runs**, which are committed with the book. When you run the page in another
# profile, your own runs, **this run**, stand beside them and are never mixed with them: their networks are tiny and
# trained for few steps, and they show that the code works.
#
# The most important deviations: the networks are smaller than the paper's VGG-16 and ResNet-152, the readouts are
# trained on far fewer photographs and for fewer steps, and there is no saliency. Random networks, which the paper does
# not report, have separate rows.
#
# <details><summary>Deviations from the paper, in full</summary>
#
# * **Photographs.** The paper trains on DUT-S (10,533 photographs) and tests on PASCAL-S. The reference runs in
#   `records/cpu/` use ECSSD at the paper's 224 pixels; the captions state how many of its photographs. `quick` uses
#   crops of six embedded photographs, with test crops from another part of each, or any folder (`-p photos NAME`), of
#   which it takes 128 images for training and 64 for testing. A folder named `duts_pascals`, with DUT-S for training
#   and PASCAL-S for testing, counts as the paper's own.
# * **Networks.** VGG-16 and ResNet-152 need their weights, which the `paper` profile downloads before its first run.
#   The runs in `records/cpu/` use two smaller ImageNet networks instead, SqueezeNet 1.1 and MobileNetV2, whose stored
#   weights are 16-bit and de-quantised 8-bit. Every run also uses a *small* VGG of four blocks, trained here for a few
#   seconds: to classify which embedded photograph a crop is from, or to label the pixels of digits pasted on
#   photographs (*digits_on_photos*, which replaces saliency and segmentation).
# * **Schedule.** The released code trains for 15 epochs in batches of 32, about 4,950 steps on DUT-S, with a learning
#   rate of 0.1 that drops to a tenth at epoch 10; the paper states neither learning rate nor batch size. The runs in
#   `records/cpu/` start at the same rate and drop it after two thirds, in batches of 8: 15 epochs of 128 photographs
#   (240 steps) or 3 epochs of 800 (300 steps). `quick`: a rate of 0.05 for four epochs in batches of 4, then a tenth of
#   it for two.
# * **Kept from the released code, though not in the text:** batch normalisation before the sigmoid, no ½ in the loss,
#   aligned corners when features are resized. **Not kept:** it feeds images without ImageNet's mean and standard
#   deviation and, by default, leaves the frozen network *random*. Here, each network gets images normalised as in its
#   training, and random networks have separate rows.
# * **What is scored.** The readout after its last epoch: no epoch is selected, and there is no validation set. SPC, MAE
#   and MSE are computed for each test image and averaged over images, then over seeds. The paper does not state which
#   epoch it reports, or whether it averages over images. The released code prints MSE as well; the paper does not, and
#   records older than this score lack it (a dash).
# * **Precision.** On a GPU, readouts are trained under bfloat16 autocast and scored in float32; on a CPU both are in
#   float32. Cached features are stored in half precision wherever they do not overflow it.
# * **Table 2a.** Between layers, the released code keeps the number of input channels: 1,472 for VGG-16. Six readouts
#   of that width are too large for a CPU. The runs in `records/cpu/` have 8 channels there, `quick` has 4.
# * **Table 5.** There is no saliency here without its data (DUT-S, ECSSD's masks, PASCAL-S, DUT-OMRON), and no VOC
#   2012. The small network learns to label the pixels of rendered street scenes, where position should help because the
#         sky is at the top and the road at the bottom; or of any labelled set (`-p scenes NAME`). A map smaller than
#         the image is resized to the whole image, which is how we understand the paper.
# * **Target maps** and noise images have no formula in the text. The maps are fitted to the released images
#   (`canvas.position_map`); the noise is Gaussian around mid-grey, drawn separately for each of 8 images. There is one
#   black and one white image.
# * **Stripes.** The paper's MAE on HS and VS is on a scale twice as large: its best constant map has .628, ours half of
#   that. The tables double ours.
#
# </details>

# %% Train the readouts
defaults = ["vgg16", "resnet152"] if profile == "paper" else []
files = encoders.parse_encoders(pretrained, workspace.data, defaults)
shared = experiments.readout_inputs(splits, workspace, files, **scale)
networks = experiments.make_encoders(profile, files, workspace.data, schedule)
# (table, variant, configuration, images)
cells = experiments.plan(profile, photos, shared, networks, schedule)
configs = experiments.configs(cells)

planned = range(seeds or config.SEEDS[profile])
extra = range(len(planned), len(planned) + 2)                # two more for Table 1, the headline
run_or_load = partial(records.run_or_load, "posenet_readout", workspace=workspace)
run = {"run": partial(experiments.run_readout, inputs=shared),
       "before": partial(encoders.check_weights, files, workspace.data)}
runs = run_or_load(configs, **run, seeds=planned, optional=workspace.is_reference)
more = run_or_load(experiments.configs(cells, "1"), **run, seeds=extra, optional=True)

# %% Collect the runs
def recorded(kind):
    return records.reference("posenet_readout", workspace,
                             lambda run: run.config["class"] == kind)


def read(cells, runs, seeds=None):
    """The scores of some table entries, by seed and summarised, and in words what they rest on."""
    scores = experiments.map_scores(cells, runs, seeds)
    words = f"{claims.in_words(cells, scores)}; {records.origin(runs)}"
    return SimpleNamespace(cells=cells, runs=runs, scores=scores, words=words,
                           frame=pd.DataFrame(scores),
                           summary=pd.DataFrame(claims.summarise(scores)))


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
# ## Table 1: trained networks, random networks and pixels
#
# *What to look for:* maps that look like their target in every row except that of the pixels, and whether the
# photograph shows through.

# %% Draw the figure
def is_bound(cell):
    """Whether a row is in Table 1, or is one of its networks with random weights."""
    return (cell.table in ("1", "untrained_imagenet")
            or (cell.table, cell.variant) == ("untrained", "zeros"))


def of_seed_0(part, c):
    """The record of seed 0, which holds the maps that the readout draws from one test image."""
    return next(run for run in part.runs
                if run.digest == config.digest(c) and "predicted" in run.results)


SHOWN = ("H", "G")
VIEWS = dict(zip(("one image", "another", "mean of all"), experiments.RECORDED_MAPS, strict=True))
small = torch.nn.functional.adaptive_avg_pool2d(targets, experiments.RECORDED_SIDE)
small = dict(zip(experiments.TARGETS, small, strict=True))
rows = {"target": {f"{target}, {view}": small[target].numpy()
                   for target in SHOWN for view in VIEWS}}
under, unexplained = {}, {}
for name, part in parts.items():
    prefix = "" if part is first else f"{name}: "
    for cell in filter(is_bound, part.cells):
        key = cell.config.encoder.key
        label = (prefix + style.label(key)).replace(", ", ",\n").replace(": ", ":\n")
        record = of_seed_0(part, cell.config)
        rows[label] = {}
        for view, which in VIEWS.items():
            for target in SHOWN:
                drawn = experiments.predicted_maps(record, which)[target]
                [spc] = metrics.spearman(torch.from_numpy(drawn)[None], small[target])
                rows[label][f"{target}, {view}"] = drawn
                under[label, f"{target}, {view}"] = (
                    "constant" if spc is None else f"SPC {spc:.2f}".replace("-", "−"))
        drawn = experiments.predicted_maps(record)["H"]
        unexplained[name, key] = 1 - drawn.mean(0).var() / drawn.var()
shown_through = "; ".join(f"{style.label(key).replace(', ', ' (')}) {fraction:.2f}"
                          for (name, key), fraction in unexplained.items()
                          if name == rests_on and key != "pixels")
page.show(show_images.picture_grid(rows, under), "02_drawn",
          f"""In the maps predicted from one image, the photograph shows through; in the mean over
          test images, it averages out. The maps H and G that the readouts of seed 0 predict from
          two test images, and the mean over all test images, by the network that provides the
          frozen features{", above in the reference runs, below in this run" * (len(parts) > 1)}.
          Below each map: its SPC (from the recorded map of 28×28 pixels, rounded to whole percent).
          A predicted H should be constant down each column. Fraction of the first map's variance
          that columns do not explain: {shown_through}. {what}.""",
          """A grid of small maps with their SPC: the first row has the targets, then one row per
          network; blotched for single images, smoother in the mean over
          all.""", workspace=workspace)

# %% Draw the figure
over_seeds = "mean and 95 % interval (Student's t) over seeds"
bounds = {}
for name, part in parts.items():
    rows = part.summary[[is_bound(row) for row in part.summary.itertuples()]]
    rows = rows[rows["target"].isin(canvas.POSITION_MAPS)]
    bounds[name] = rows.assign(network=rows["network"].map(style.label))
read_networks = list(dict.fromkeys(pd.concat(bounds.values())["network"]))
panels = [(name, images, of_set) for images in ("natural", "black", "white", "noise")
          for name, rows in bounds.items()
          for _, of_set in rows[rows["images"] == images].groupby("images")]
fig, axes = plt.subplots(-(-len(panels) // 2), 2, figsize=(10, 0.8 + 1.6 * len(panels)),
                         sharex=True, sharey=True, layout="constrained")
lowest = min(rows["low"].min() for rows in bounds.values())
for ax, (name, images, of_set) in zip(axes.flat, panels, strict=True):
    figures.scores_by_map(of_set, ax, read_networks)
    ax.set_title(f"{name}: {images} images", fontsize="medium")
    ax.get_legend().remove()
    ax.set(ylim=(min(-0.05, max(lowest, -1) - 0.03), 1.03), ylabel="")
for ax in axes[:, 0]:
    ax.set_ylabel("SPC")
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
           fontsize="small")
[*_, above] = claims.POSENET_READOUT.judge(claims.judged(first.scores))   # the finding, in words
higher, n_twins = claims.random_above_trained(claims.summarise(first.scores))
page.show(fig, "02_table1", f"""Random weights have a higher mean SPC than trained ones in {higher}
          of {n_twins} pairs of network and map on natural images. Against the pixels: {above}. SPC
          (Table 1) by target map and frozen network, on natural images and on images without
          content, {over_seeds}. Filled: trained; open: the same architecture with random weights.
          No marker: all predicted maps are constant. Intervals are cut at 1, the largest possible
          SPC. Dotted: 0, no correlation. {what}.""",
          """Four panels of SPC by target map, one marker per network, with the paper's VGG-16
          dashed.""",
          workspace=workspace,
          data=pd.concat(rows.assign(runs=name) for name, rows in bounds.items()))

# %% Check the sentences above and below
verdicts = {name: claims.judge_readouts(part.scores, part.cells) for name, part in parts.items()}
if found := verdicts.get("Reference runs"):
    assert (higher, n_twins) == (14, 15)
    assert above.startswith("15 of 15 (network, map) above pixels")
    assert found[claims.POSENET_READOUT].verdict == IN_DIRECTION
    assert found[claims.POSENET_READOUT].outcome == RIVAL_HOLDS
    assert found[claims.POSENET_PADDING].verdict == IN_DIRECTION
    assert found[claims.POSENET_PADDING].outcome == UNDECIDED
    assert {c for c in found if found[c].verdict == NOT_TESTABLE} == {
        claims.POSENET_SIZE, claims.POSENET_TASK}
    assert all(fraction > 0.1 for (name, key), fraction in unexplained.items()
               if name == "Reference runs" and not key.endswith(("pixels", "random")))
    trained = {cell.n_train for cell in first.cells if cell.table == "1"}
    assert trained == {128} and len(claims.CLAIMS) == 7
    of_maps = bounds["Reference runs"].query("images == 'natural'")
    from_pixels = of_maps.loc[of_maps["network"] == "pixels", "mean"].max()
    assert from_pixels < 0.1 and of_maps.loc[of_maps["network"] != "pixels", "mean"].min() > 0.2
    table4 = first.summary.query("table == '4' and images == 'natural'")
    table4 = table4.set_index(["variant", "target"])["mean"].unstack()[list(claims.THREE_MAPS)]
    assert (table4.loc["vgg/padding_removed"] < table4.loc["vgg"] / 2).all()

# %% [markdown]
# From every network, the readout predicts maps with an SPC above 0.2; from pixels, with an SPC below 0.1. But the
# photograph shows through in the maps of the trained networks, and in 14 of 15 pairs of network and map, the same
# architecture with random weights has the higher SPC. So the score is more a property of the padded architecture than
# of what the network has learned.
#
# The paper's Fig. 6 shows predictions of the map $G$ for one photograph, with padding and without.

# %% Draw the figure
columns = {"posenet": "pixels,\npadding 0", "posenet/padding_1": "pixels,\npadding 1",
           "posenet/padding_2": "pixels,\npadding 2",
           "vgg": "network", "vgg/padding_removed": "network,\npadding removed"}
rows, under, sixth = {}, {}, {}
for name, part in parts.items():
    of_figure = (part.summary["table"] == "fig6") & (part.summary["target"] == "G")
    sixth[name] = part.summary[of_figure]
    spc = sixth[name].set_index("variant")
    rows[name] = {"target": targets[2].numpy()}
    for cell in part.cells:
        if cell.table == "fig6":
            label, row = columns[cell.variant], spc.loc[cell.variant]
            record = of_seed_0(part, cell.config)
            rows[name][label] = experiments.predicted_maps(record)["G"]
            printed = f"SPC {row['mean']:+.2f}\npaper {row['paper_spc']:+.2f}"
            under[name, label] = printed.replace("-", "−")
page.show(show_images.picture_grid(rows, under), "02_fig6", f"""Fig. 6: the map G predicted from one
          test image, by PosENet on pixels with 0, 1 and 2 pixels of padding in its own convolution,
          and from a frozen network with its padding and with the padding removed. Below each map:
          its SPC, mean over seeds, and the paper's. {what}.""",
          "Rows of six small maps, each with its SPC and the paper's.", workspace=workspace,
          data=pd.concat(sixth.values()))

# %% Make the tables
def wide(rows, value, index):
    """A row a network, a column a map: mean, and interval where there are three seeds or more."""
    table = records.summarise(rows.dropna(subset=value), [*index, "target"], value)
    texts = [f"{row.mean:.2f}" + (f" [{row.low:.2f}, {row.high:.2f}]" if row.n > 2 else "")
             for row in table.itertuples()]
    table["text"] = [text.replace("-", "−") for text in texts]
    table = table.set_index([*index, "target"])["text"].unstack("target").reset_index()
    table = rows[index].drop_duplicates().merge(table, how="left", on=index)
    return table.reindex(columns=[*index, *rows["target"].unique()])


def sources(table):
    """The column of a table that says whose numbers a row has."""
    paper = table["runs"].map({"paper": " (paper)", "this run": " (this run)"}).fillna("")
    images = ": " + table["images"] if "images" in table else ""
    return table["network"] + paper + images


by = ["runs", "network", "images"]
printed = claims.POSENET[claims.POSENET["table"] == "1"].assign(runs="paper")
papers = {"posenet": "pixels", "vgg": "VGG-16", "resnet": "ResNet-152"}
printed["network"] = printed["variant"].map(papers)
named = pd.concat(part.frame.assign(runs=name.lower()) for name, part in parts.items())
named = named.assign(network=named["network"].map(style.label),
                     target=named["target"].map(style.label),
                     spc=named["spc"].astype(float), mse=named["mse"].astype(float))
ours = named[(named["table"] == "1") & named["target"].isin(canvas.POSITION_MAPS)]
counts = ours.groupby(by, as_index=False, sort=False).agg(
    n=("seed", "nunique"), pictures=("n_images", "first"), undefined=("undefined", "sum"))
half = "mean over test images, then mean and 95 % interval (Student's t) over seeds"
as_printed = {name: wide(printed.rename(columns={f"paper_{name}": name}), name, by)
              for name in ("spc", "mae")}
table1 = pd.concat([as_printed["spc"], counts.merge(wide(ours, "spc", by), on=by)])
extra = ["runs", "network", "images", "n", "pictures", "undefined"]
table1 = table1.assign(source=sources(table1))[["source", *canvas.POSITION_MAPS, *extra]]
table1 = table1.astype({name: "Int64" for name in ("n", "pictures", "undefined")})
page.table(table1, "02_spc", f"""Table 1, SPC: {half}; the paper's values are single runs. A dash:
          all predicted maps are constant and have no SPC.
          {what}.""", workspace=workspace, hidden=extra)

natural = ours[ours["images"] == "natural"]
doubled = np.where(natural["target"].isin(["HS", "VS"]), 2, 1)
on_paper_scale = natural.assign(mae=natural["mae"] * doubled)
errors = pd.concat([as_printed["mae"].query("images == 'natural'"),
                    wide(on_paper_scale, "mae", by)])
squared = wide(natural, "mse", by).rename(columns={m: f"MSE, {m}" for m in canvas.POSITION_MAPS})
errors = errors.drop(columns="images").merge(squared.drop(columns="images"), how="left",
                                             on=["runs", "network"])
errors.insert(0, "source", sources(errors))
page.table(errors, "02_mae", f"""Table 1 on natural images, MAE: {half}. On HS and VS it is on the
           paper's scale, twice ours. The csv has the MSE as well, on a scale of 0 to 1, where
           records have it; the paper prints none. {what}.""", workspace=workspace,
           hidden=["runs", "network", *(name for name in errors if name.startswith("MSE"))])

# %% [markdown]
# A constant map has no information about position. Compare each trained network with the random one
# ([figure 02_table1](#fig-02_table1), [table 02_controls](#tab-02_controls)), and each set of images with the next: a
# map that can be predicted from a random network was not learned, and a map predicted for a black image does not come
# from the image.
#
# ## The paper's Tables 2, 3, 4 and 6: readout, depth, padding and task
#
# *What to look for:* solid lines with the slope of the dashed ones (the paper). Their *level* depends on the network
# and the schedule.

# %% Draw the figures
def ladder(part, table, net):
    """Scores on photographs of a table's rows that begin with `net`."""
    rows = part.summary[(part.summary["images"] == "natural")
                        & part.summary["target"].isin(["H", "G", "HS"])]
    rows = rows[(rows["table"] == table) & rows["variant"].str.startswith(net)]
    return rows.assign(variant=rows["variant"].map(style.label))


beside = parts.get("This run") if first is not parts.get("This run") else None
matched = next((cell.config.channels for cell in first.cells
                if cell.table == "matched_channels"), "")
numbers = claims.summarise(first.scores)


PLAIN = {("4", "vgg"): "with\npadding", ("4", "posenet"): "padding 0",
         ("6", "vgg"): "classification"}   # the networks above, by their place in these tables


def show_ladders(name, panels, tables, caption):
    """The panels (table, network) that one claim rests on."""
    n_rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(n_rows, 2, figsize=(8.6, 0.4 + 2.9 * n_rows), sharey=True,
                             layout="constrained", squeeze=False)
    for ax in axes.flat[len(panels):]:
        ax.set_axis_off()
    for ax, (table, net) in zip(axes.flat, panels, strict=False):
        rows = ladder(first, table, net)
        figures.score_ladder(rows, list(dict.fromkeys(rows["variant"])), ax,
                             beside and ladder(beside, table, net), PLAIN.get((table, net), ""))
        read_from = rows["network"].map(style.label).str.partition(", ")[0]
        title = f"Table {table}"
        if table == "matched_channels":
            title = f"Table 3, {matched} channels of each"
        ax.set_title("\n".join([title, *read_from.replace("small", "small VGG").unique()]),
                     fontsize="medium")
    for ax in axes[:, 0]:
        ax.set_ylabel("SPC on photographs")
    of_this_run = " Open circles: this run, mean over seeds, from its own networks."
    page.show(fig, name, f"""{claims.ladders_in_words(numbers, tables)}. {caption} Solid:
              {rests_on.lower()}, {over_seeds}; a letter names the target map. Dashed: the paper,
              whose network is VGG-16.{of_this_run * bool(beside)} {what}.""",
              "Panels of SPC against the variants of a table, one labelled line per target map.",
              workspace=workspace, data=pd.concat(
                  part.summary[part.summary["table"].isin([table for table, _ in panels])]
                  .assign(runs=name) for name, part in parts.items()))


show_ladders("02_ladders", [("2a", "vgg"), ("2b", "vgg"), ("2a", "posenet"), ("2b", "posenet")],
             ["2a", "2b"], """Table 2, readout depth (2a) and kernel (2b), from a network above
             and from pixels below.""")

# %% [markdown]
# Is a deep stage of a network better because it is deep, or because it is wide? Later stages have more channels, so a
# readout has more to choose from. The control therefore uses the same small number of channels from each stage.

# %% Draw the figures
show_ladders("02_stages", [("3", "vgg"), ("matched_channels", "vgg")], ["3"], """Table 3, stage of
             the network; on the right with equally many channels of each, drawn separately for
             every seed.""")
show_ladders("02_padding", [("4", "vgg"), ("4", "posenet")], ["4"], """Table 4, padding: removed
             from a trained network on the left, added to a readout of pixels on the right.""")
show_ladders("02_task", [("6", "vgg")], ["6"], """Table 6, training task of the network:
             classification of photographs, and segmentation of digits pasted on photographs.""")

# %% [markdown]
# Does a larger readout extract *more*, or does it memorise its training photographs? Comparing a readout's loss on its
# training photographs with its scores on test photographs distinguishes the two.

# %% Make the table
main = next((cell.config.encoder for cell in first.cells if cell.variant == "vgg/depth_3"), None)
records.require(main, "Table 2")
fits = pd.DataFrame(experiments.readout_fits(first.runs, main))
of_maps = {f"SPC {target}": fits["spc"].map(lambda spc, t=target: spc[t])
           for target in claims.THREE_MAPS}
fits = fits.assign(**of_maps).astype({"test_mse": float})
fits = fits.groupby(["n_train", "depth", "kernel"]).agg(
    n=("seed", "size"), **{name: (name, "mean") for name in ("loss", "test_mse", *of_maps)})
shown = fits.reset_index()
shown.insert(0, "readout", [f"{row.depth} layer{'s' * (row.depth > 1)}, {row.kernel}×{row.kernel}"
                            for row in shown.itertuples()])
shown.insert(0, "training photographs", shown["n_train"])
shown = shown.rename(columns={"loss": "training loss", "test_mse": "the same on test photographs"})
hidden = ["n_train", "depth", "kernel", "n", "the same on test photographs"]
seeds_of = ", ".join(f"{' or '.join(map(str, sorted(set(of['n']))))} with {n_train}"
                     for n_train, of in shown.groupby("n_train"))
page.table(shown, "02_readout_size", f"""Readouts of {style.label(main.key)} by number of training
           photographs, layers and kernel: the sum of the mean squared errors of all six maps in
           the last epoch of training, and SPC on test photographs; means over seeds (n =
           {seeds_of} photographs). {rests_on}.""",
           workspace=workspace, digits=3, hidden=hidden)
for n_train in fits.index.unique("n_train"):
    sizes = fits.loc[n_train]
    if {(1, 3), (3, 3)} <= set(sizes.index):
        one, three = sizes.loc[1, 3], sizes.loc[3, 3]
        spc = ", ".join(f"{m} {one[f'SPC {m}']:.2f} to {three[f'SPC {m}']:.2f}"
                        for m in claims.THREE_MAPS)
        print(f"{n_train} training photographs, from one layer to three: training loss "
              f"{one['loss']:.2f} to {three['loss']:.2f}; SPC on test photographs {spc}")

# %% [markdown]
# ## Controls that could overturn the interpretation
#
# > **Did the network have to learn anything? Did the padding have to be zeros?**
# >
# > If *training* puts position into features, SPC should be lower for a random network. If *zeros* do, it should be
# > lower with another padding. And [Lin et al. (2022)](../book/bibliography.md#lin2022unveiling) argue that this test
# > is unreliable in general: then its score should vary from one random network to the next. Each dot below is one
# > network. **Noise** images have no sky at the top and no ground at the bottom, so a map predicted for them cannot
# > come from what photographs have in common.

# %% Draw the figure
def by_padding(rows):
    """The small network by padding mode, maps H and G, on photographs and on noise."""
    return rows[rows["table"].isin(["untrained", "trained"])
                & rows["target"].isin(["H", "G"])
                & rows["images"].isin(["natural", "noise"])]


fig, axes = plt.subplots(len(parts), 4, figsize=(10, 3.4 * len(parts)), sharey=True,
                         layout="constrained", squeeze=False)
for axes_row, (name, part) in zip(axes, parts.items(), strict=True):
    single = dict(list(by_padding(part.frame).groupby(["target", "images"])))
    panels = by_padding(part.summary).groupby(["target", "images"])
    for ax, (where, rows) in zip(axes_row, panels, strict=True):
        figures.scores_by_padding(rows, single[where], ax)
        ax.set_title(f"{where[0]}, {where[1]} images", fontsize="medium")
    axes_row[0].set_ylabel(f"{name}\nSPC")
page.show(fig, "02_untrained", f"""SPC of the small network by padding mode, random (open) and
          trained to distinguish photographs (filled; with zero padding and without padding only).
          *none*: built and, where trained, trained without padding. Dots: single seeds. Bars: 95 %
          interval (Student's t) over them. {what}.""",
          "Rows of four panels of SPC by padding mode, for random and trained networks.",
          workspace=workspace,
          data=pd.concat(part.summary.assign(runs=name) for name, part in parts.items()))

# %% Make the table
given = named[named["table"] == "coordinates"]
given = given.assign(network=given["network"] + ", " + given["variant"].map(style.label))
lines = pd.concat([named[named["table"].isin(["1", "untrained_imagenet"])], given,
                   named[(named["table"] == "untrained") & (named["variant"] == "zeros")]])
lines = lines[lines["images"] == "natural"].sort_values("runs", kind="stable")
lines = wide(lines, "spc", ["runs", "network"])
lines.insert(0, "source", sources(lines))
page.table(lines, "02_controls", f"""Lower and upper bounds, SPC on photographs: {half}.
           *coordinates*: the image with its rows and columns on two more channels, with a readout
           of one convolution, or of three with 16 channels between them. *shuffled H* is a target
           in an arbitrary order: predicting it requires detailed position, not one smooth gradient.
           VS, in the csv, is HS rotated by 90°. {what}.""",
           workspace=workspace, hidden=["runs", "network", "VS"])

# %% Check the sentences below
for name, part in parts.items():
    cell_scores = claims.summarise(part.scores)
    higher, n_twins = claims.random_above_trained(cell_scores)
    print(f"{name}: random weights give a higher mean SPC than trained ones in {higher} of "
          f"{n_twins} (network, map)")
    given = [cell for cell in cell_scores
             if (cell.table, cell.images) == ("coordinates", "natural")
             and cell.target in claims.FIVE_MAPS]
    one, three = ({cell.target: cell.mean for cell in given if cell.variant == f"depth_{n}"}
                  for n in (1, 3))
    for layers, spc in (("one convolution", one), ("three layers", three)):
        printed = ", ".join(f"{target} {mean:.2f}" for target, mean in spc.items())
        print(f"  given rows and columns, {layers}: {printed}")
    if name == "Reference runs":
        assert all((spc > 0.9) == (target in ("H", "V")) for target, spc in one.items())
        assert min(three.values()) > 0.9

# %% [markdown]
# A map that is predicted on photographs but not on noise may come from what photographs have in common. The spread of
# the dots shows how informative a single run of each network is, which is what the paper has.
#
# ## From scratch, with padding and without
#
# In Table 5, networks are trained from scratch to label pixels. Without padding, each 3×3 convolution removes one pixel
# of its own map on every side: the eight of our small network, two at each stride, $2 \cdot (1 + 2 + 4 + 8) = 30$
# pixels of the image. The small map that remains is resized to the whole image, so its predictions are in the wrong
# places. (In the reference runs' crops of 96 pixels, the unpadded map covers only 32×32. VGG-16 loses more: of 224
# pixels, its thirteen convolutions leave a map of 2×2.)
#
# > **Is it the position, or the size of the map?**
# >
# > Score both networks on the **window** that the unpadded map covers, and also train the unpadded one there. With the
# > *same* weights, the two agree exactly in the window, as the next cell checks: no unit there is affected by the
# > border. (Two pixels are cut off the unpadded network's image, left and top, so that its map lies on the grid of the
# > other.) And train with **reflect** padding, which gives a map of the same size and hardly marks the border. If the
# > loss in Table 5 is due to position, zero padding is better in both comparisons. Otherwise it is due to the size of
# > the map, or any padding would do.

# %%
skip, start = 2, 2 + 2 * (1 + 2 + 4 + 8)
torch.manual_seed(0)
net = classifiers.vgg(3, width=2, task="segment").eval()
x, y = labelled.test.batch(torch.arange(2))
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

# %% Train from scratch
nets = experiments.scratch_configs(profile, scenes, labelled, schedule)
train = partial(experiments.run_scratch, splits=labelled, workspace=workspace)
trials = run_or_load(nets, run=train, seeds=planned, optional=workspace.is_reference)
by_runs = {"Reference runs": experiments.recorded_scratch(recorded("ScratchConfig"))}
if not workspace.is_reference:
    by_runs["This run"] = records.complete_seeds(trials, nets)[0]
by_runs = {name: trials for name, trials in by_runs.items() if trials}
records.require(by_runs or None, "Table 5")
scratch = {name: experiments.scratch_scores(trials) for name, trials in by_runs.items()}
nets = {name: [experiments.read_config(run.config) for run in trials]
        for name, trials in by_runs.items()}
words5 = {name: f"{claims.scratch_in_words(nets[name], scratch[name])}; {records.origin(trials)}"
          for name, trials in by_runs.items()}
what5 = ". ".join(f"{name}: {words}" for name, words in words5.items())

# %% Draw the figure
modes = claims.TABLE5["variant"].map({"vgg": "zeros", "vgg/without_padding": "none"})
table5 = claims.TABLE5.assign(scored_on="picture", padding_mode=modes)
table5 = table5[table5["measure"] == "mean IoU"]
iou = {name: table5.merge(pd.DataFrame(claims.summarise_miou(rows)), how="right",
                          on=["padding_mode", "scored_on"])
       for name, rows in scratch.items()}
fig, axes = plt.subplots(len(scratch), 2, figsize=(8.6, 2.6 * len(scratch)), sharex=True,
                         sharey=True, layout="constrained", squeeze=False)
colours = style.PADDING_COLOURS | {"none": "0.35"}
any_chance, most_frequent = False, " Dotted: every pixel labelled as the most frequent class."
for axes_row, name in zip(axes, scratch, strict=True):
    for ax, where in zip(axes_row, ("picture", "window"), strict=True):
        single = pd.DataFrame(scratch[name])
        rows, single = (part[part["scored_on"] == where]
                        .rename(columns={"padding_mode": "method", "miou": "value"})
                        for part in (iou[name], single))
        figures.dots_by_method(rows, single, ["zeros", "reflect", "none"], ax, colours=colours)
        if nets[name][0].network.data == labelled.train.fingerprint:
            y = labelled.test.labels
            y = y if where == "picture" else y[:, window, window]
            pixels = y[y != VOID].bincount()                                    # of each class
            chance = float(pixels.max() / pixels.sum()) / int((pixels > 0).sum())
            ax.axvline(100 * chance, **style.CHANCE)
            any_chance = True
        scored_on = {"picture": "whole image", "window": "window"}[where]
        ax.set_title(f"{name}, scored on the {scored_on}", fontsize="medium")
        ax.set(xlabel="mean IoU (%)", yticklabels=["zero", "reflect", "none"])
area = {"picture": "whole image", "window": "window"}
gains = "; ".join(f"zero minus {gain.against} on the {area[gain.scored_on]} {points(gain)}"
                  for gain in claims.miou_gains(next(iter(scratch.values()))))
page.show(fig, "02_scratch", f"""Table 5, {next(iter(scratch)).lower()}: {gains}. Mean IoU on test
          images by padding mode, trained from scratch. On the window *none* is also trained there.
          Dots: seeds; diamonds: mean and 95 % interval (Student's t) over them; dashed: the paper,
          on VOC 2012.{most_frequent * any_chance} {what5}.""",
          "Panels of mean IoU for zero, reflect and no padding.", workspace=workspace,
          data=pd.concat(rows.assign(runs=name) for name, rows in iou.items()))

# %% Make the table
long = claims.TABLE5.assign(cell=claims.TABLE5["dataset"] + ", " + claims.TABLE5["measure"])
columns = list(dict.fromkeys(long["cell"]))
rows = long.pivot(index="variant", columns="cell", values="paper")[columns].reset_index()
for name, found in iou.items():
    ours = found.dropna(subset="paper").set_index("variant").loc[rows["variant"]]
    texts = [f"{row.mean:.1f}"
             + (f" [{max(row.low, 0):.1f}, {min(row.high, 100):.1f}]" if row.n > 2 else "")
             for row in ours.itertuples()]
    rows[f"{name.lower()}: {nets[name][0].network.source}, mean IoU"] = texts
rows["variant"] = rows["variant"].map(style.label)
shown = ("ECSSD, F", "VOC 2012, mean IoU")
page.table(rows, "02_table5", f"""Table 5 as printed (F of saliency, 0 to 1; mean IoU in percent),
           and the networks run here: mean and 95 % interval over seeds. The csv has the paper's
           other columns. {what5}.""",
           workspace=workspace, digits=2, hidden=[name for name in columns if name not in shown])

# %% Check the sentences below
if "Reference runs" in scratch:
    by_comparison = {(gain.against, gain.scored_on): gain
                     for gain in claims.miou_gains(scratch["Reference runs"])}
    assert by_comparison["none", "picture"].low > 0
    assert by_comparison["none", "window"].low < 0 < by_comparison["none", "window"].high
    assert by_comparison["reflect", "picture"].low < 0 < by_comparison["reflect", "picture"].high

# %% [markdown]
# In the reference runs, zero padding is clearly better on whole images, as in the paper. On the window, and compared
# with reflect padding, the interval of the difference includes 0. So most of the loss is due to the size of the map.
# Whether some of it is due to position is undecided.
#
# ## Against the paper
#
# First the verdicts, then every number available in both the paper and the reference runs. The **direction** of a
# number refers to its difference from the number that the paper compares it with: a network with pixels (Table 1),
# three layers with one (2a), and so on. It is *open* if the 95 % interval of that difference, taken seed by seed,
# includes 0; otherwise *same* or *opposite*, as its sign agrees with the paper's or not. An undefined SPC counts as 0
# here, as printed in the paper.

# %% Judge the claims
for name, of_run in verdicts.items():
    of_run |= claims.judge_scratch(scratch.get(name, []), nets.get(name, []))
rest_on = {name: f"{part.words}; Table 5: {words5[name]}"
           for name, part in parts.items() if name in words5}
page.against_paper(verdicts.get("Reference runs") or dict.fromkeys(claims.CLAIMS, claims.NOTHING),
                   verdicts.get("This run", {}), "02_against_paper", workspace=workspace,
                   runs={"reference": rest_on.get("Reference runs", "none on file"),
                         "here": rest_on.get("This run", "not run")})

# %% Make the table
here = {}
for row in (claims.summarise(beside.scores) if beside else []):
    here[row.cell, row.network] = here[row.cell, ""] = row
compared = []
for cell in claims.summarise(first.scores):
    if np.isfinite(cell.paper_spc):
        step = claims.step(cell, first.scores)
        ours = here.get((cell.cell, cell.network if cell.table == "1" else ""))
        interval = f" [{cell.low:.2f}, {cell.high:.2f}]" if (cell.n or 0) > 2 else ""
        spc = f"{cell.mean:.2f}{interval}".replace("-", "−") if cell.n else None
        compared.append({
            "row": f"{style.label(cell.table)}: {style.label(cell.variant)}",
            "network": style.label(cell.network), "map": f"{cell.target}, {cell.images}",
            "paper": cell.paper_spc, rests_on.lower(): spc,
            "direction": step and step.direction, "table": style.label(cell.table),
            "mean": cell.mean, "low": cell.low, "high": cell.high, "n": cell.n,
            "this run": ours.mean if ours else np.nan,
            "paper MAE": cell.paper_mae,
            "MAE": cell.mae * (2 if cell.target in ("HS", "VS") else 1), "MSE": cell.mse,
            "against": style.label(step.against) if step else None})
        if step and step.direction == "opposite":
            before, after = style.label(step.against), style.label(cell.variant)
            table = style.label(cell.table)
            table = table if table.startswith("Fig") else f"Table {table}"
            print(f"{table}, map {cell.target}, {cell.images} images: from "
                  f"\"{before}\" to \"{after}\" the paper's SPC changes by {step.paper:+.2f}, here "
                  f"({style.label(cell.network)}) by {step.mean:+.2f} "
                  f"[{step.low:+.2f}, {step.high:+.2f}].")
compared = pd.DataFrame(compared).astype({"n": "Int64"})
seeds_of = f"n = {compared['n'].min()} to {compared['n'].max()}"
page.table(compared, "02_cells", f"""Every SPC that the paper and the {rests_on.lower()} both
           have: {over_seeds} ({seeds_of}); the paper's are one run. The csv also has n, the MAE
           (on the stripes doubled, to the paper's scale), the MSE, which older records lack, and
           the mean of this run, whose network may be another. {what}.""",
           workspace=workspace, digits=2, hidden=list(compared.columns[6:]),
           folded="Every SPC of the paper compared with ours")
print(compared.groupby(["table", "direction"]).size().unstack(fill_value=0).to_string())

# %% [markdown]
# ## What it means, and what it does not
#
# * **Position or content?** The target maps are the same for every photograph, so a readout could also learn them from
#   what photographs have in common. Black, white and noise images have none of this, so they are the subject of a
#   separate claim. Without them, a map predicted on photographs could still come from the photographs.
# * **Was it learned?** The paper uses pretrained networks. A *random* network of the same architecture shows how much
#   of their score is a property of padded convolutions ([figure 02_table1](#fig-02_table1)). In the reference runs,
#   random networks mostly score higher. The released code leaves the backbone random by default.
# * **Which padding?** Page 03 predicts the [cell](../book/glossary.md#cell) from averaged features under every padding
#   mode. There, a head is *trained with* the network, and has nine cells to distinguish; here, a readout has to predict
#   a map from the features of a network that was not trained for it ([figure 02_untrained](#fig-02_untrained)). The two
#   need not agree.
# * **Removed, or never there.** The paper removes the padding from a network that was trained with it, which also
#   damages the network ([Murase et al., 2020](../book/bibliography.md#murase2020how)). A network *trained* without
#   padding avoids this objection.
# * **Deep or wide?** Later stages of a network have more channels as well as more depth. Table 3 varies both at once
#   ([figure 02_stages](#fig-02_stages)).
# * **Read or memorised?** A larger readout has more weights. If its loss on training photographs falls and its SPC on
#   test photographs does not rise, it has memorised those photographs and not learned position
#   ([table 02_readout_size](#tab-02_readout_size)). Table 2 can only be judged with enough training photographs.
# * **What padding is good for.** Without it, a map has no predictions for the edge of the image. Unless zero padding is
#   also better on the window and better than reflect padding, Table 5 is no evidence that a network uses position.
# * **Unreliable?** [Lin et al. (2022)](../book/bibliography.md#lin2022unveiling) question the test. The dots of
#   [figure 02_untrained](#fig-02_untrained) show how much random networks differ, and the paper prints one run of each
#   network. So verdicts here rest on intervals: where an interval includes 0, means that rise from row to row are no
#   evidence.
# * **The upper bound** is a network that is *given* rows and columns ([table 02_controls](#tab-02_controls)). One
#   convolution is linear in them, so of the five maps it predicts only H and V well; three layers predict all five. The
#   shuffled target requires detailed position, which no smooth map provides.
# * **Not done:** saliency (half of Table 5, and a row of Table 6). The runs in `records/cpu/` have neither the paper's
#   networks, VGG-16 and ResNet-152, nor its data: ECSSD's photographs replace DUT-S and PASCAL-S. No verdict from them
#   can be better than *reproduced on a substitute*.
#
# ## Summary
#
# * A readout measures how much position information frozen features contain. Images without content show whether the
#   photograph contributes.
# * Comparison with a random network shows what the *architecture* provides. The score alone does not show what a
#   network has learned to use.
# * Report the score with several seeds, with a random network beside every trained one, and with networks *trained*
#   without padding.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > A 1×1 readout reads one position of the stacked features. Given the first stage alone (two 3×3 convolutions, zero
# > padding) and a black image: at how many positions of the 28×28 map can the readout's value differ from the rest?
# > What does this mean for its SPC on H?
# >
# > <details><summary>Solution</summary>
# >
# > Two convolutions reach two pixels: only a frame two pixels wide differs from the inside. The positions of the 28×28
# > map lie more than two pixels apart, so the frame is the outermost ring, $28^2 - 26^2 = 108$ of 784. Inside it the
# > predicted map is constant, and its ranks are all tied, so SPC depends on the left and the right edge only. This
# > explains Table 3's first row: small, but not zero.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Give the readout two pixels of zero padding of its own and *no* network
# > (`encoder=EncoderConfig(net="pixels"), padding=2`). The paper reaches an SPC of 0.397 on H. How much of that
# > remains if the padding is `reflect`? (`padding.set_padding_mode` works on a readout.)
# >
# > <details><summary>A start</summary>
# >
# > `padding.set_padding_mode(heads.Readout(3, len(experiments.TARGETS), padding=2, size=scale["size"]), "reflect")`,
# > trained by `training.fit` as in `experiments.run_readout`. Reflected pixels look like any other pixels, so expect
# > little.
# >
# > </details>
#
# > **Exercise 3, to overturn the claim**
# >
# > If the maps came from what photographs have in common (sky at the top, ground at the bottom), a readout trained on
# > photographs rotated by random multiples of 90° would fail. Rotate them (`torch.rot90`), train again, and look at the
# > SPC on V.
# >
# > <details><summary>A hint</summary>
# >
# > The scores on noise and black images in the table of all SPCs answer the same question: such images have no top and
# > bottom.
# >
# > </details>
