# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · The same questions, asked of any network you bring
#
# > **The puzzle**
# >
# > Two ResNet-18s that nobody ever trained, with the same weights and with circular padding in every convolution, so that no convolution can tell the edge of
# > a picture from its middle. One of them does not encode where a picture is: a linear head on its features is right exactly as often as a blind guess. The other can. The only
# > difference between them is a layer that has no weights and is hardly ever mentioned.

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
pretrained = ""       # "resnet18=FILE.safetensors"; "": weights under the data root, or trained here
seeds = 1             # random networks of every architecture

# %% tags=["hide-input"]
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

workspace = config.Workspace(profile, data_root, out)
splits = inputs.load_for(workspace, "photos", size=96, validation=0.0)
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What this page is for
#
# The other pages ask whether two papers are right. This one turns their methods into four questions to a network of your own: [probe](../book/glossary.md#probe), how well
# location can be decoded from each layer; `rank`, from which channels; `attack`, what breaks without them; `padding_report`, where position comes from. There is no claim of the
# papers to judge here, and no code of theirs that does this. They are functions of `posenc_lib.probe`, and one command:
#
# ```bash
# python -m posenc_lib probe --model timm:resnet18 --weights resnet18.safetensors --images ~/photos
# python -m posenc_lib probe --model my_network.py:build --layer stage4
# ```
#
# ## By hand: a layer that pads without saying so
#
# A max-pool of three, with a stride of one and a padding of one, on a row of four numbers. Beyond the edge it sees *minus infinity*, which never wins.
#
# > **A guess to make**
# >
# > For which rows of numbers does this differ from a pool that sees the *other end* of the row beyond the edge, as circular padding has it? Can a *constant* row show the
# > difference, as it did for zero padding on page 01?

# %%
def pools(row):
    row = torch.tensor(row, dtype=torch.float)[None, None, None]            # (1, 1, 1, col)
    around = max_pool2d(pad(row, (1, 1, 0, 0), mode="circular"), (1, 3), stride=1)
    beyond = max_pool2d(row, (1, 3), stride=1, padding=(0, 1))
    return beyond.flatten().tolist(), around.flatten().tolist()


for row in ([5, 5, 5, 5], [1, 2, 3, 4], [4, 1, 1, 1]):
    beyond, around = pools(row)
    print(row, f"padded by minus infinity: {beyond}   around the edge: {around}")

# %% [markdown]
# A constant passes unchanged, so page 01's test does not see it; but wherever the maximum lies at one edge, the other edge would have had it. What does see it is a *circular shift*: roll the picture
# around its edge by a multiple of the stride. A network that does not respond to the border gives a map that is rolled too, and the same [pooled latent](../book/glossary.md#pooled-latent). How much the latent changes
# instead is the [shift sensitivity](../book/glossary.md#shift-sensitivity) of a layer.
#
# ## Build it
#
# Shift sensitivity needs nothing but the network and a hook. `probe.padding_report` measures it for every layer and every padding mode, and restores the network.

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
# The report names the layer: `maxpool`. And it restores the network:

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
# ## One network, all four questions
#
# With weights under the data root this is the first ImageNet network there; without, a small VGG that learns here, for seconds, to classify embedded photographs.
#
# **What is ours, not the papers':** everything on this page. **Held:** crops of the six photographs bundled with the book, placed in every cell of a 3×3 [canvas](../book/glossary.md#canvas).
# The linear heads are page 04's, and are tested on photographs that they were not trained on: a fold is a series of neighbouring crops. The intervals are over folds, so they speak
# of other pictures, not of other networks.

# %% tags=["hide-input"]
preset = your_own_model.IN_DEPTH[profile]
size, n = preset["size"], preset["images"]
records.require_gpu(workspace)
encoder, key = your_own_model.encoder_in_depth(pretrained, profile, workspace.data)
label = style.label(key)
encoder.net.to(workspace.device)

sample_images = partial(probe.sample_images, mean=encoder.mean, std=encoder.std)
recipe = replace(probe.RECIPE, epoch_steps=preset["steps"])
result = probe.probe(encoder.net, encoder.stages, images=sample_images(size, n), size=size,
                     folds=preset["folds"], recipe=recipe)

# %% [markdown]
# **Which layers encode it?** *What to look for:* round dots, channels in order, against squares, their order shuffled. Triangles are heads trained on permuted labels, and belong on the dotted line.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
figures.accuracy_by_layer(result.accuracy, ax).set(ylabel="location accuracy (%)", title=label)
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "08_by_layer",
          f"""Location decoded from the pooled latent of each layer ({label}; {result.n_images}
          pictures in every cell of a canvas of {result.size} pixels). Mean and 95 % interval
          (Student's t) over {result.accuracy["n"].iloc[0]} folds of pictures, one network.
          Dotted: chance. Grey: the ceiling, an upper bound for any head.""",
          "Accuracy by layer for channels in order, shuffled, and permuted labels, with chance and "
          "ceiling.",
          workspace=workspace, data=result.accuracy)

# %% tags=["hide-input"]
deepest = result.layers[-1]
explained = result.variance_explained[deepest.name]
best = explained.argsort(descending=True)[:8]
fields = result.place_fields[deepest.name][best].numpy()
fig = place_field_maps(list(fields), explained[best].tolist())
page.show(fig, "08_place_fields",
          f"""{{term}}`Place fields <place field>` of {deepest.name} ({label}): mean response by
          cell of the eight channels whose variance the cell explains best, each on its own scale;
          above each the fraction explained, η².""",
          "Eight small maps of nine cells, each bright in some cells and dark in others.",
          workspace=workspace)

# %% [markdown]
# **Which channels, and what breaks without them?** Half of the photographs rank the channels, the other half is used for the ablation. The score is how much of the network's own output is kept: R² is 1 for
# an unchanged output, 0 where it is as far off as the mean output. *What to look for:* do the channels that encode position lie *below* random sets, and below RMS-matched random sets?

# %%
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

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, rule in zip(axes, ("decodability", "flip"), strict=True):
    rows = ablations[(ablations["rule"] == rule) & (ablations["ablated"] != "none")]
    rows = rows.replace({"ablated": {"targets": f"highest_{rule}"}})
    rows[["mean", "low", "high"]] = rows[["mean", "low", "high"]].clip(-1)
    figures.curves(rows, "percent", "ablated", ax)
    ax.set(xlabel="channels ablated (%)", title=f"ranked by {style.label(rule)}")
    ax.axhline(0, **style.CHANCE)
    ax.legend(fontsize="small")
axes[0].set_ylabel("R² of the output")
page.show(fig, "08_removal",
          f"""What is left of the output of {label} for {len(ablation_images)} pictures when
          channels of {deepest.name} are ablated, by how they were chosen on {len(ranking_images)}
          other pictures. Random sets, with and without RMS matching: mean of 10 sets, and the
          range of 95 % of them. Drawn at −1 if it is lower.""",
          "R squared against the fraction of channels ablated, for ranked, random and RMS-matched "
          "channels.",
          workspace=workspace, data=ablations)

# %% [markdown]
# ## Many architectures: where does position come from?
#
# Six architectures with random weights (`your_own_model.ARCHITECTURES`): as each is built, and again with every convolution padding circularly. ResNet-18 also without its max-pool, and the
# transformer without its positional encoding. `your_own_model.run` probes the last layer of one of them and asks `padding_report` for the first layer that responds to the border.
#
# > **A guess to make**
# >
# > Which of these will be *exactly* at chance? And which layer will be the first to respond to the border in each of the others?

# %%
configs = your_own_model.configs(profile)
run = partial(your_own_model.run, workspace=workspace)
runs = records.run_or_load("your_own_model", configs, run, seeds=range(seeds), workspace=workspace)
runs, _ = records.complete_seeds(runs, configs)

# %% [markdown]
# *What to look for:* lines on which all three marks lie on top of each other, on the dotted line. The layer on the right is what `padding_report` says, without any trained head.

# %% tags=["hide-input"]
frame = your_own_model.to_rows(runs)
names = frame["network"].map(style.NAMES)
frame.insert(0, "run", names.where(frame["padding_mode"] == "zeros", names + ", circular"))
one = frame[frame["seed"] == 0]
fig, ax = plt.subplots(figsize=(9, 5.4), layout="constrained")
figures.dots_by_network(one, ax).set(xlabel="location accuracy (%)")
c = min(configs, key=lambda c: c.images)
more = ", ".join(f"{style.NAMES[other.network]}, {style.label(other.padding_mode)} padding: {other.images}"
                 for other in configs if other.images > c.images)
page.show(fig, "08_architectures",
          f"""Location decoded from the last layer of networks with random weights
          ({c.grid}×{c.grid} canvas of {c.size} pixels, {c.images} pictures{more and f"; {more}"}).
          Mean and 95 % interval (Student's t) over folds of pictures, one network each. On the
          right: the first layer that responds to the border.""",
          "One line a network, with dots for channels in order, shuffled and for permuted labels, from "
          "chance to 100 per cent.", workspace=workspace, data=one)

# %% tags=["hide-input"]
in_order = frame[frame["head"] == "in_order"]
accuracy = [f"{row.mean:.1f} [{row.low:.1f}, {row.high:.1f}]" for row in in_order.itertuples()]
sensitivity = [f"{value:.0e}" if value else "0" for value in in_order["shift_sensitivity"]]
shown = in_order.assign(
    network=in_order["network"].map(style.NAMES), accuracy=accuracy, sensitivity=sensitivity,
    padding=in_order["padding_mode"].replace(style.NAMES))
shown = shown[["network", "padding", "layer", "accuracy", "ceiling", "sensitivity", "first"]].rename(columns={
    "accuracy": "location (%)", "ceiling": "ceiling (%)", "sensitivity": "shift sensitivity",
    "first": "first to respond to the border"})
page.table(shown, "08_networks",
           f"""Every network of the comparison: location decoded from its last layer, channels in
           order, with its 95 % interval (chance is {one["chance"].iloc[0]:.1f} %); the ceiling,
           from the number of cells that one picture's latents distinguish; the shift sensitivity
           of its latent; and the first layer that responds to the border.""", workspace=workspace)

# %% [markdown]
# ## A control that could overturn the reading
#
# > **Is chance exact where it must be?**
# >
# > Where no layer responds to the border, every cell gives the same latent, and no head can be better or worse than chance, on any fold: not *near* chance but *at* it. And where one does,
# > no head is needed to know: the latents differ. If location could be decoded from a network whose shift sensitivity is 0, or a network with a shift sensitivity above 0 had a ceiling at chance, the two measures would contradict each other.

# %%
insensitive = in_order[in_order["shift_sensitivity"] <= probe.MIN_SENSITIVITY]
sensitive = in_order[in_order["shift_sensitivity"] > probe.MIN_SENSITIVITY]
for row in insensitive.itertuples():
    print(f"{row.run:40s} does not respond to the border: {row.mean:.4f} % against chance "
          f"{row.chance:.4f} %, interval [{row.low:.4f}, {row.high:.4f}]")
distance = insensitive[["mean", "ceiling"]].sub(insensitive["chance"], axis=0).abs().max(axis=None)
print("Chance is exact where no layer responds to the border:", bool(distance < 1e-9),
      "· the latents differ where one does:", bool((sensitive["ceiling"] > sensitive["chance"]).all()))

# %% [markdown]
# ## Your own
#
# Any `nn.Module` that takes square pictures will do. This one is written to a file and loaded as the command does it; it pads in its own forward method, which no list of layers shows.

# %%
source = '''
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
path.write_text(source)
mine = custom.load(f"{path}:build")
report = probe.padding_report(mine.model, sample_images(size, 6))
print(f"{len(report.operations)} layers declare a padding; the first to respond to the border is "
      f"{report.leak(probe.AS_BUILT)!r}")

# %% [markdown]
# ## What it means, and what it does not
#
# * **Position is a property of the border.** Random networks encode location ([figure 08_architectures](#fig-08_architectures)); with circular padding, those in which nothing else responds to the border are exactly
#   blind, whatever their weights.
# * **"Circular padding everywhere" is not "nothing responds to the border".** The usual max-pool still encodes position, faintly, and so does BlurPool, which pads by reflection. `padding_report` names them
#   ([table 08_networks](#tab-08_networks)). In VGG-11 it names the adaptive pool *after* the layer that is probed: that layer is blind, the classifier is not.
# * **A signal of a millionth can be decoded.** ConvNeXt scales each of its blocks by $10^{-6}$ before training, so padding hardly touches its features, and a linear head decodes the location all the same. Decodability does not say how large a
#   fraction of the features position is; the shift sensitivity does.
# * **A vision transformer is given its position.** It has no padding at all; without its positional encoding every arrangement of its patches is the same to it.
# * **Compare a ranking with RMS-matched random sets** ([figure 08_removal](#fig-08_removal)). Against plain random sets alone, channels that encode position always look as if they mattered; part of that is their high activation. And a rule can rank
#   channels that matter *less* than random ones, as the flip response may, where it finds what a network ignores.
# * **Not shown:** that a network uses what a head decodes. And the intervals here are over pictures: another random network of the same architecture may differ, `-p seeds 5` shows by how much.
#
# ## Summary
#
# * Four questions, `probe`, `rank`, `attack` and `padding_report`, to any network, which is restored afterwards.
# * What no list of layers shows, a circular shift by the stride does: the shift sensitivity is 0 where a network cannot encode location.
# * Random networks encode location as long as anything responds to the border.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > A max-pool of three, stride two, padding one, on a row of eight numbers $x_0 \dots x_7$: its windows are centred on $x_0, x_2, x_4, x_6$. Which of them reaches beyond the edge, and on which side? Why is the padding at the other
# > end of the row never used?
# >
# > <details><summary>Solution</summary>
# >
# > Only the first: it would need $x_{-1}$. The last window holds $x_5, x_6, x_7$ and ends with the row. With an even side and a stride of two, padding is used on one side only (page 01 shows what that draws), so a max-pool marks the top and the left.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Make ConvNeXt-T, with circular padding, encode the location again by changing one of its layers, and find that layer with `padding_report` without looking.
# >
# > <details><summary>Solution</summary>
# >
# > For example `net.features[0] = nn.Sequential(nn.MaxPool2d(3, 1, 1), net.features[0])` after `set_padding_mode(net, "circular")`; `padding_report(net, modes=()).leak("as_built")` names `features.0.0`.
# >
# > </details>
#
# > **Exercise 3, to overturn the reading**
# >
# > "Location cannot be decoded from a network whose shift sensitivity is 0." The shifts are by multiples of the stride, and cells are, too. Place the pictures at offsets that are *no* multiple of it and probe the ResNet without max-pool under circular padding again.
# > Is it still blind? What does its latent encode then: the location, or something else?
# >
# > <details><summary>A hint</summary>
# >
# > It distinguishes offsets *within* a stride, since subsampling takes other pixels (page 05): the phase, not the location. Two offsets that differ by a multiple of the stride still give the same latent.
# >
# > </details>

# %%
print(page.provenance(workspace, splits))
