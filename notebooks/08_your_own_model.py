# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Your own network: does it encode position, and through which layer?
#
# > **In short**
# >
# > You have a network of your own. Which of its layers encode location, in which channels, how much does its output
# > depend on them, and through which layer does position enter?
# >
# > **Four functions and one command answer this for any network that takes square images.** Applied to fourteen
# > networks with random weights, they find five that encode no location at all: their accuracy is exactly chance.
# > Circular padding is not enough for that. A ResNet-18 with circular padding in all convolutions still encodes
# > location, because its max-pool responds to the border. Without the max-pool it does not.
# >
# > ![Location accuracy of fourteen networks with random weights, sorted](../figures/paper/08_architectures.png)
# >
# > *Caveats.* One random network of each kind, probed with 16 to 60 crops of six photographs. The intervals are over
# > images, not over networks. A head that decodes location does not show that the network uses it.
# >
# > *Run it:* `./run_all.sh --only 08`, two to five minutes on two cores.

# %% Parameters tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
pretrained = ""       # "resnet18=FILE.safetensors"; "": weights in the data root, or trained here
seeds = 1             # random networks of every architecture

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
from contextlib import suppress
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import torch
import torchvision
from torch.nn.functional import max_pool2d, pad

from posenc_lib import probe
from posenc_lib.experiments import your_own_model
from posenc_lib.nets import custom, padding
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style
from posenc_lib.show.images import place_field_maps
from posenc_lib.show.tables import with_interval

workspace = config.Workspace(profile, data_root, out)
splits = inputs.load_for(workspace, "photos", size=96, validation=0.0)
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What this page is for
#
# The other pages test the claims of two papers. This one turns their methods into four functions for a network of your
# own: [probe](../book/glossary.md#probe) measures how well location can be decoded from each layer; `rank`, which
# channels encode it; `attack`, what the network loses without them; `padding_report`, which layers respond to the
# border. This page judges no claim of the papers, and the authors' code has no counterpart to it. The functions are in
# [`posenc_lib.probe`](../book/api_probe.md); for a first look, ask
# [three questions about a torchvision network](../book/three_questions.md). There is also one command:
#
# ```bash
# posenc probe --model timm:resnet18 --weights resnet18.safetensors --images ~/photos
# posenc probe --model my_network.py:build --layer stage4
# ```
#
# ## By hand: a max-pool pads too
#
# Take a max-pool of width three, with stride one and padding one, on a row of four numbers. Beyond the border it reads
# *minus infinity*, which is never the maximum.
#
# > **Make a guess**
# >
# > For which rows does this differ from a max-pool that reads the *other end* of the row beyond the border, as under
# > circular padding? Can a *constant* row show the difference, as it did for zero padding on page 01?

# %%
def pools(row):
    row = torch.tensor(row, dtype=torch.float)[None, None, None]            # (1, 1, 1, col)
    around = max_pool2d(pad(row, (1, 1, 0, 0), mode="circular"), (1, 3), stride=1)
    beyond = max_pool2d(row, (1, 3), stride=1, padding=(0, 1))
    return beyond.flatten().tolist(), around.flatten().tolist()


for row in ([5, 5, 5, 5], [1, 2, 3, 4], [4, 1, 1, 1]):
    beyond, around = pools(row)
    print(row, f"padded with minus infinity: {beyond}   circular: {around}")

# %% [markdown]
# A constant row is unchanged, so the test of page 01 does not detect this padding. But a maximum at one end of the row
# should also appear at the other end, and does not. A *circular shift* detects it: shift the image circularly by a
# multiple of the stride. If no layer responds to the border, the feature map is shifted too, and the
# [pooled latent](../book/glossary.md#pooled-latent) is the same. The relative change of the latent is the
# [shift sensitivity](../book/glossary.md#shift-sensitivity) of a layer.
#
# ## Build it
#
# Shift sensitivity needs only the network and a hook. `probe.padding_report` measures it for every layer and every
# padding mode, and restores the network.

# %%
def shift_sensitivity(net, layer, images, shift):
    """Relative change of a layer's pooled latent when the images are rolled."""
    latents = []
    hook = net.get_submodule(layer).register_forward_hook(
        lambda _, __, f: latents.append(f.mean((-2, -1))))
    with torch.no_grad():
        net(images)
        net(images.roll((shift, shift), (-2, -1)))
    hook.remove()
    z, z_shifted = latents
    return float(((z_shifted - z).norm(dim=1) / z.norm(dim=1)).mean())


torch.manual_seed(0)
net = torchvision.models.resnet18().eval()
images = probe.sample_images(96, full_height=True)[::4]
report = probe.padding_report(net, images, modes=("circular",))
with padding.switched(net, "circular"):
    by_hand = {layer: shift_sensitivity(net, layer, images, 32)
               for layer in ("conv1", "maxpool", "layer4")}
circular = report.layers[report.layers["padding_mode"] == "circular"].set_index("layer")
for layer, value in by_hand.items():
    torch.testing.assert_close(value, circular["shift_sensitivity"][layer], atol=1e-5, rtol=1e-3)
    print(f"circular padding, {layer:8s} changes by {value:.1e}")
print("first layer that responds to the border, as built:", report.leak(probe.AS_BUILT),
      "· with circular convolutions:", report.leak("circular"))

# %% [markdown]
# The report identifies the layer, `maxpool`. Every function of `probe` leaves the network as it was, even if it fails
# midway:

# %%
def state(net):
    hooks = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks))
             for m in net.modules()]
    return [tensor.clone() for tensor in net.state_dict().values()], hooks


before = state(net.train())
probe.padding_report(net, images[:1], modes=("reflect",))
with suppress(ZeroDivisionError):
    probe.attack(net, "layer4", [0, 1], lambda net: 1 / 0)      # a score that fails
after = state(net)
assert before[1] == after[1]
assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
print(report.operations.groupby(["operation", "fills"]).size().to_string())

# %% [markdown]
# ## One network, all four functions
#
# The network is the first ImageNet network whose weights are found in the data root. Without weights, it is a small
# VGG, trained here for a few seconds to classify the bundled photographs. **Held fixed:** crops of the six photographs
# that come with the book, placed in every cell of a 3×3 [canvas](../book/glossary.md#canvas). The linear heads are
# those of page 04, and are tested on photographs that they were not trained on: a fold is a series of neighbouring
# crops. The intervals are over folds, so they cover the variation between images, not between networks. Nothing in this
# section is taken from the papers.

# %% Probe the network
scale = "quick" if workspace.on_file else profile   # without a GPU, at the scale of a laptop
preset = your_own_model.IN_DEPTH[scale]
size, n = preset["size"], preset["images"]
encoder, key = your_own_model.encoder_in_depth(pretrained, scale, workspace.data)
label = style.label(key)
encoder.net.to(workspace.device)

sample_images = partial(probe.sample_images, mean=encoder.mean, std=encoder.std)
recipe = replace(probe.RECIPE, epoch_steps=preset["steps"])
result = probe.probe(encoder.net, encoder.stages, images=sample_images(size, n), size=size,
                     folds=preset["folds"], recipe=recipe)

# %% [markdown]
# **Which layers encode location?** *What to look for:* circles (channels in order) above squares (channels shuffled).
# Triangles are heads trained on permuted labels, and should lie on the dotted chance line.

# %% Draw the figure
bounded = result.accuracy.copy()
bounded[["low", "high"]] = bounded[["low", "high"]].clip(0, 100)
of_last = bounded[bounded["head"] == "in_order"].iloc[-1]
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
figures.accuracy_by_layer(bounded, ax).set(ylabel="location accuracy (%)", title=label)
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "08_by_layer",
          f"""From the last layer of {label}, a head decodes the location correctly in
          {of_last["mean"]:.0f} % of the canvases. Accuracy by layer, from the pooled latent;
          {result.n_images} images in every cell of a canvas of {result.size} pixels. Mean and 95 %
          interval (Student's t, cut to 0 to 100 %) over {result.accuracy["n"].iloc[0]} folds of
          images, one network. Dotted: chance. Grey: the ceiling, an upper bound for any head.""",
          "Accuracy by layer for channels in order, shuffled, and permuted labels, with chance and "
          "ceiling.",
          workspace=workspace, data=result.accuracy)

# %% [markdown]
# *Why this number differs from that of page 04.* There, a small network of the same kind has different accuracies in
# the 3×3 grid. The measurements differ: here the images are crops of photographs, and the heads are trained on few of
# them and tested on *other photographs*; there, they are CIFAR-10 images or digits, there are more of them, and
# training and test images are of the same kind. The cell width and the training of the network differ as well.

# %% Print both numbers
on_page_04 = records.reference(
    "pretrained_decoding", workspace,
    where=lambda run: run.config["encoder"]["source"] == "photos" and run.config["grid"] == 3
    and run.config["encoder"]["run_with"] is None and run.config["dataset"] == "cifar10")
there = [100 * [row for row in run.results["layers"] if row["head"] == "in_order"][-1]["accuracy"]
         for run in on_page_04]
trained_on = n - n // preset["folds"]
print(f"here: {of_last['mean']:.0f} % [{of_last['low']:.0f}, {of_last['high']:.0f}], heads trained "
      f"on {trained_on} photographs in 9 cells")
if there:
    by_seed = ", ".join(f"{value:.0f} %" for value in there)
    print(f"page 04, reference runs, by seed: {by_seed}, heads trained on "
          f"{on_page_04[0].config['canvases'] // 9} CIFAR-10 images in 9 cells")

# %% Draw the figure
deepest = result.layers[-1]
explained = result.variance_explained[deepest.name]
best = explained.argsort(descending=True)[:8]
fields = result.place_fields[deepest.name][best].numpy()
fig = place_field_maps(list(fields), explained[best].tolist())
page.show(fig, "08_place_fields",
          f"""The cell explains {100 * explained[best[0]]:.0f} % of the variance of one channel of
          {deepest.name} ({label}). Place fields, the mean response by cell, of the eight channels
          whose variance the cell explains best, each on its own scale; above each map the fraction
          explained, η². {result.n_images} images.""",
          "Eight small maps of nine cells, each bright in some cells and dark in others.",
          workspace=workspace)

# %% [markdown]
# **Which channels encode location, and how much does the output depend on them?** Half of the photographs are used to
# rank the channels, the other half for the ablation. The score measures how much of the network's output is preserved:
# R² is 1 for an unchanged output, and 0 if it is as far off as the mean output. *What to look for:* is the line of the
# channels that encode position *below* that of random sets, and below that of RMS-matched random sets?

# %% Rank and ablate
ranking_images, ablation_images = (half[::3] for half in sample_images(size, n).chunk(2))
rankings = {rule: probe.rank(encoder.net, deepest.name, ranking_images, rule)
            for rule in ("decodability", "flip", "rms_activation")}
with torch.no_grad():
    ablation_images = ablation_images.to(workspace.device)
    intact = encoder.net(ablation_images)


def r_squared(net):
    error = (net(ablation_images) - intact).square().sum()
    return float(1 - error / (intact - intact.mean(0)).square().sum())


ablations = your_own_model.ablation_rows(encoder.net, deepest, rankings, r_squared)

# %% Draw the figure
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, rule in zip(axes, ("decodability", "flip"), strict=True):
    rows = ablations[(ablations["rule"] == rule) & (ablations["ablated"] != "none")]
    rows = rows.replace({"ablated": {"targets": f"highest_{rule}"}})
    rows[["mean", "low", "high"]] = rows[["mean", "low", "high"]].clip(-1)
    looks = style.KIND_LOOKS | {f"highest_{rule}": style.KIND_LOOKS[rule]}
    figures.curves(rows, "percent", "ablated", ax, looks)
    ax.set(xlabel="channels ablated (%)", title=f"ranked by {style.label(rule)}")
    ax.axhline(0, **style.CHANCE)
    ax.legend(fontsize="small", loc="lower left")
axes[0].set_ylabel("R² of the output")
half = ablations[(ablations["percent"] == 50) & (ablations["rule"] == "decodability")]
kept = half.set_index("ablated")["mean"].clip(-1)
page.show(fig, "08_removal",
          f"""Without the half of the channels that encode location best, R² is
          {kept["targets"]:.2f}; without as many random ones {kept["random"]:.2f}, without
          RMS-matched random ones {kept["rms_matched"]:.2f}. R² of the output of {label} for
          {len(ablation_images)} images when channels of {deepest.name} are ablated, chosen on
          {len(ranking_images)} other images. Random sets: mean of 10, and the range of 95 % of
          them. Values below −1 are drawn at −1.""",
          "R squared against the fraction of channels ablated, for ranked, random and RMS-matched "
          "channels.",
          workspace=workspace, data=ablations)

# %% [markdown]
# ## The experiment: which architectures encode location before any training?
#
# Five architectures with random weights (`your_own_model.ARCHITECTURES`): each as built, and the four convolutional
# ones again with circular padding in every convolution; ResNet-18 also without its max-pool and with BlurPool, under
# both paddings; and the transformer also without its positional encoding. `your_own_model.run` probes the last layer
# of one of them, and uses `padding_report` to find the first layer that responds to the border.
#
# > **Make a guess**
# >
# > Which of these will be *exactly* at chance? And in each of the others, which layer will be the first to respond to
# > the border?

# %% Probe the architectures
configs = your_own_model.configs(profile)
run = partial(your_own_model.run, workspace=workspace)
runs = records.run_or_load("your_own_model", configs, run, seeds=range(seeds), workspace=workspace,
                           optional=True)
if runs:
    runs, _ = records.complete_seeds(runs, configs)
reference = records.reference("your_own_model", workspace)
sources = {"Reference runs": reference, "This run": [] if workspace.is_reference else runs}
sources = {name: found for name, found in sources.items() if found}
records.require(sources or None, "the comparison of architectures")

# %% [markdown]
# *What to look for:* rows in which all three marks coincide on the dotted line. The layer on the right comes from
# `padding_report`, without any trained head.

# %% Draw the figure
def to_frame(found):
    """Rows of some runs, named for the figure, the most accurate network first."""
    frame = your_own_model.to_rows(found)
    names = frame["network"].map(style.NAMES)
    frame.insert(0, "run", names.where(frame["padding_mode"] == "zeros", names + ", circular"))
    frame[["low", "high"]] = frame[["low", "high"]].clip(0, 100)
    accuracy = frame[frame["head"] == "in_order"].groupby("run", sort=False)["mean"].mean()
    best_first = list(accuracy.sort_values(ascending=False, kind="stable").index)
    return frame.sort_values("run", key=lambda names: names.map(best_first.index), kind="stable")


frames = {name: to_frame(found) for name, found in sources.items()}
source, frame = next(iter(frames.items()))
one = frame[frame["seed"] == 0]
in_order = frame[frame["head"] == "in_order"]
at_chance = in_order[in_order["ceiling"] <= in_order["chance"] + 1e-9]
found = [run.config for run in sources[source]]
least, most = (end(c["images"] for c in found) for end in (min, max))
grid = found[0]["grid"]
fig, ax = plt.subplots(figsize=(9, 5.4), layout="constrained")
figures.dots_by_network(one, ax).set(xlabel="location accuracy (%)")
page.show(fig, "08_architectures",
          f"""{len(at_chance)} of {len(in_order)} networks with random weights encode no location:
          all heads are exactly at chance. Location decoded from the last layer ({source.lower()}:
          {grid}×{grid} canvas of {found[0]["size"]} pixels, {least} to {most} images in every
          cell). Mean and 95 % interval (Student's t, cut to 0 to 100 %) over folds of images, one
          network each, sorted by accuracy. On the right: the first layer that responds to the
          border.""",
          "One row per network, with dots for channels in order, shuffled and for permuted labels, "
          "from 100 per cent down to chance.", workspace=workspace, data=one)

# %% Show the table
shown = in_order[in_order["seed"] == 0]
table = shown[["run", "layer"]].rename(columns={"run": "network"})
table["location (%)"] = [with_interval(row) for row in shown.itertuples()]
if len(frames) > 1:
    here = frames["This run"].query("head == 'in_order' and seed == 0")
    of_this_run = {row.run: with_interval(row) for row in here.itertuples()}
    table["this run (%)"] = shown["run"].map(of_this_run)
table["shift sensitivity"] = [f"{value:.0e}" if value else "0"
                              for value in shown["shift_sensitivity"]]
table["first to respond to the border"] = shown["first"]
page.table(table, "08_networks",
           f"""Every network of the comparison ({source.lower()}): location decoded from its last
           layer, channels in order, with the 95 % interval over folds of images (chance is
           {one["chance"].iloc[0]:.1f} %); the shift sensitivity of its latent; and the first layer
           that responds to the border.""", workspace=workspace)

# %% [markdown]
# *Interpretation.* In nine of the fourteen networks, the latent changes under a circular shift. In each of the nine,
# the latents of all nine cells differ, and in eight the head is above chance. The ninth is the zero-padded ResNet-18
# with BlurPool, whose interval contains chance: its latents differ from cell to cell, but these 16 images are too few
# to show that a head can decode location. The other five networks are exactly at chance.

# %% Check the sentences above and below
if source == "Reference runs":
    rows = shown.set_index("run")
    assert len(rows) == 14 and len(at_chance) == 5
    responds = rows[rows["shift_sensitivity"] > probe.MIN_SENSITIVITY]
    assert len(responds) == 9 and (responds["ceiling"] == 100).all()
    unsure = responds[responds["low"] <= responds["chance"]]
    assert list(unsure.index) == ["ResNet-18 with BlurPool"] and unsure["high"].item() > 50
    assert (rows.loc[at_chance["run"], "mean"] - rows["chance"].iloc[0]).abs().max() < 1e-9
    circular = rows.loc["ResNet-18, circular"]
    assert circular["first"] == "maxpool" and circular["low"] > circular["chance"]
    assert circular["mean"] < 30 and "ResNet-18 without max-pool, circular" in set(at_chance["run"])
    blurred = rows.loc["ResNet-18 with BlurPool, circular"]
    assert blurred["first"].startswith("maxpool") and blurred["low"] > blurred["chance"]
    assert rows.loc["VGG-11, circular", "first"] == "avgpool"
    assert "VGG-11, circular" in set(at_chance["run"])
    assert rows.loc["ConvNeXt-T", "shift_sensitivity"] < 2e-6 and rows.loc["ConvNeXt-T", "low"] > 30
    assert rows.loc["ViT-Ti", "low"] > 90 and "ViT-Ti without positions" in set(at_chance["run"])
    assert (least, most) == (16, 60)

# %% [markdown]
# ## Could it be something else? Is chance exact where it must be?
#
# If no layer up to the probed one responds to the border, every cell gives the same latent, and no head can be better
# or worse than chance on any fold: accuracy is not *near* chance but *at* chance. If a layer does respond, no head is
# needed to see it: the latents differ. If location could be decoded from a network whose shift sensitivity is 0, or if
# a network with a shift sensitivity above 0 had a ceiling at chance, the two measures would contradict each other.

# %% Compare the two measures
for name, compared in frames.items():
    compared = compared[compared["head"] == "in_order"]
    insensitive = compared[compared["shift_sensitivity"] <= probe.MIN_SENSITIVITY]
    sensitive = compared[compared["shift_sensitivity"] > probe.MIN_SENSITIVITY]
    for row in insensitive.itertuples():
        print(f"{name}, {row.run:38s} does not respond to the border: {row.mean:.4f} % "
              f"[{row.low:.4f}, {row.high:.4f}], chance {row.chance:.4f} %")
    distance = insensitive[["mean", "ceiling"]].sub(insensitive["chance"], axis=0).abs()
    exact = distance.max(axis=None) < 1e-9
    differ = (sensitive["ceiling"] > sensitive["chance"]).all()
    print(f"{name}: exactly at chance where no layer responds to the border: {bool(exact)}; the "
          f"latents differ where one does: {bool(differ)}")
    assert (exact and differ) or name == "This run"

# %% [markdown]
# ## Use your own network
#
# Any `nn.Module` that takes square images can be used. This one is written to a file and loaded in the same way as by
# the command. It pads inside its `forward`, so no list of its layers shows the padding.

# %%
code = '''
from torch import nn
from torch.nn.functional import pad

class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 5, stride=2), nn.Conv2d(16, 32, 5, stride=2)
    def forward(self, x):
        x = self.first(pad(x, (2, 2, 2, 2))).relu()
        return self.second(pad(x, (2, 2, 2, 2), mode="circular")).mean((-2, -1))

def build():
    return Padded()
'''
path = workspace.root / "build" / "my_network.py"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(code, encoding="utf-8")
mine = custom.load(f"{path}:build")
report = probe.padding_report(mine.model, sample_images(size, 6))
print(f"{len(report.operations)} layers declare a padding; the first to respond to the border is "
      f"{report.leak(probe.AS_BUILT)!r}")

# %% [markdown]
# ## What it means, and what it does not
#
# * **In convolutional networks, position comes from the border.** Random networks encode location
#   ([figure 08_architectures](#fig-08_architectures)). With circular padding, those in which nothing else responds to
#   the border are exactly at chance.
# * **"Circular padding in every convolution" does not mean "nothing responds to the border".** The usual max-pool of
#   ResNet-18 still lets some position information in, and so does BlurPool, which pads by reflection. `padding_report`
#   identifies them ([table 08_networks](#tab-08_networks)). In VGG-11 it identifies the adaptive pool *after* the layer
#   that is probed: that layer encodes no location, but the classifier's input may.
# * **A relative change of a millionth can be decoded.** ConvNeXt scales each of its blocks by $10^{-6}$ before
#   training, so padding hardly changes its features, yet a linear head decodes the location. Decodability does not show
#   what fraction of the features is due to position; the shift sensitivity does.
# * **A vision transformer is given its position.** It has no padding; without its positional encoding, the order of its
#   patches does not affect the pooled output.
# * **Compare a ranking with RMS-matched random sets** ([figure 08_removal](#fig-08_removal)). Uniform random sets are
#   not enough: ablating a ranked set may do more harm only because its channels respond strongly. And a ranking can
#   select channels that matter *less* than random ones.
# * **Not shown:** that a network uses what a head decodes. And the intervals here are over images: another random
#   network of the same architecture may differ; `-p seeds 5` shows by how much.
#
# ## Summary
#
# * Four functions for any network: `probe`, `rank`, `attack` and `padding_report`. The network is restored afterwards.
# * A circular shift by the stride detects what no list of layers shows: if the shift sensitivity is 0, a layer cannot
#   encode location.
# * Random networks encode location if some layer responds to the border, or if they are given a positional encoding.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > Take a max-pool of width three, stride two and padding one, on a row of eight numbers $x_0 \dots x_7$. Its windows
# > are centred on $x_0, x_2, x_4, x_6$. Which of them reaches beyond the border, and on which side? Why is the padding
# > at the other end of the row never used?
# >
# > <details><summary>Solution</summary>
# >
# > Only the first: it would need $x_{-1}$. The last window contains $x_5, x_6, x_7$ and ends with the row. With an even
# > side and a stride of two, padding is used on one side only (page 01 shows what that does), so a max-pool affects the
# > top and the left.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Change one layer of ConvNeXt-T with circular padding so that the network encodes location again, and identify that
# > layer with `padding_report` alone.
# >
# > <details><summary>Solution</summary>
# >
# > For example `net.features[0] = nn.Sequential(nn.MaxPool2d(3, 1, 1), net.features[0])` after
# > `set_padding_mode(net, "circular")`; `padding_report(net, modes=()).leak("as_built")` names `features.0.0`.
# >
# > </details>
#
# > **Exercise 3, to overturn the interpretation**
# >
# > "Location cannot be decoded from a network whose shift sensitivity is 0." The shifts are by multiples of the stride,
# > and so are the sides of the cells. Place the images at offsets that are *not* multiples of it, and probe the ResNet
# > without max-pool under circular padding again. Is it still at chance? If not, what does its latent encode: the
# > location, or something else?
# >
# > <details><summary>A hint</summary>
# >
# > It distinguishes offsets *within* a stride, because subsampling selects different pixels (page 05): it encodes the
# > phase, not the location. Two offsets that differ by a multiple of the stride still give the same latent.
# >
# > </details>
