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
# :::{admonition} The puzzle
# :class: puzzle
# Two ResNet-18s that nobody ever trained, with the same weights and with circular padding in every convolution, so that no convolution can tell the edge of
# a picture from its middle. One of them cannot say where a picture is: a reader of its features is right exactly as often as a blind guess. The other can. The only
# difference between them is a layer that has no weights and is hardly ever mentioned.
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
pretrained = ""       # "resnet18=FILE.safetensors"; "" is what lies under the data root's weights/, else a network trained here
seeds = 1             # random networks of every architecture

# %% tags=["hide-input"]
from contextlib import suppress
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import timm
import torch
import torchvision
from torch import nn
from torch.nn.functional import max_pool2d, pad

from posenc_lib import probe
from posenc_lib.experiments import encoders as experiments_encoders
from posenc_lib.experiments import posenet_readout
from posenc_lib.nets import custom, padding
from posenc_lib.nets import pretrained as encoders
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import page, style

workspace = config.Workspace(profile, data_root, out)
splits = inputs.load_for(workspace, "photos", size=96, validation=0.0)
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What this page is for
#
# The other pages ask whether two papers are right. This one turns what they are made of into four questions to a network of your own: {term}`probe`, how well
# is location told from each layer; `rank`, by which channels; `attack`, what breaks without them; `padding_report`, what it is that marks the place. There is no claim of the
# papers to judge here, and no code of theirs that does this. They are functions of `posenc_lib.probing`, and one command:
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
# :::{admonition} A guess to make
# :class: guess
# For which rows of numbers does this differ from a pool that sees the *other end* of the row beyond the edge, as circular padding has it? Can a *constant* row show the
# difference, as it did for zero padding on page 01?
# :::

# %%
def pools(row):
    row = torch.tensor(row, dtype=torch.float)[None, None, None]                      # (1, 1, 1, col)
    around = max_pool2d(pad(row, (1, 1, 0, 0), mode="circular"), (1, 3), stride=1)
    return max_pool2d(row, (1, 3), stride=1, padding=(0, 1)).flatten().tolist(), around.flatten().tolist()


for row in ([5, 5, 5, 5], [1, 2, 3, 4], [4, 1, 1, 1]):
    print(row, "padded by minus infinity: {}   around the edge: {}".format(*pools(row)))

# %% [markdown]
# A constant passes unchanged, so page 01's test does not see it; but wherever the maximum lies at one edge, the other edge would have had it. What does see it is a *slide*: roll the picture
# around its edge by a multiple of the stride. A network that cannot feel the border gives a map that is rolled too, and the same {term}`pooled latent`.
#
# ## Build it
#
# A slide needs nothing but the network and a hook. `probing.padding_report` does it for every layer and every padding mode, and puts the network back as it was.

# %%
def slide(net, layer, images, by):
    """How much the pooled latent of a layer changes when the images are rolled, as a part of its length."""
    seen = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _, __, f: seen.append(f.mean((-2, -1))))
    with torch.no_grad():
        net(images), net(images.roll((by, by), (-2, -1)))
    handle.remove()
    return float(((seen[1] - seen[0]).norm(dim=1) / seen[0].norm(dim=1)).mean())


torch.manual_seed(0)
net = torchvision.models.resnet18().eval()
images = probe.pictures(96, whole=True)[::4]
report = probe.padding_report(net, images, modes=("circular",))
with padding.switched(net, "circular"):
    by_hand = {layer: slide(net, layer, images, 32) for layer in ("conv1", "maxpool", "layer4")}
theirs = report.layers[report.layers["run with"] == "circular"].set_index("layer")["slide"]
for layer, value in by_hand.items():
    torch.testing.assert_close(value, theirs[layer], atol=1e-5, rtol=1e-3)
    print(f"circular padding, {layer:8s} changes by {value:.1e}")
print("first layer that feels the border, as it is:", report.leak("as it is"), "· with circular convolutions:", report.leak())

# %% [markdown]
# The report names the layer: `maxpool`. And what it did to the network, it undid:

# %%
def state(net):
    hooks = [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    return [tensor.clone() for tensor in net.state_dict().values()], hooks


before = state(net.train())
probe.padding_report(net, images[:1], modes=("reflect",))
with suppress(ZeroDivisionError):
    probe.attack(net, "layer4", [0, 1], lambda net: 1 / 0)      # a score that fails half-way
after = state(net)
assert before[1] == after[1] and all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
print(report.operations.groupby(["operation", "fills"]).size().to_string())

# %% [markdown]
# ## One network, all four questions
#
# With weights under the data root this is the first ImageNet network there; without, a small VGG that learns here, for seconds, to tell embedded photographs apart.
#
# **What is ours, not the papers':** everything on this page. **Held:** windows of the six photographs that come with the book, placed in every cell of a 3×3 {term}`canvas`.
# Readers are page 04's, and are tested on photographs that they did not learn on: a fold is a run of neighbouring windows. The intervals are over folds, so they speak
# of other pictures, not of other networks.

# %% tags=["hide-input"]
preset = probe.PRESETS[profile]
size, n, folds = preset.get("size", 96), {"smoke": 12, "quick": 60, "paper": 90}[profile], preset.get("folds", 6)
records.require_gpu(workspace)
small = posenet_readout.READOUT[profile]["small"]
files = encoders.parse_encoders(pretrained, workspace.data)
if files:
    (name, file), *_ = files.items()
    encoder, label = encoders.pretrained(name, workspace.data, file), f"{name}, ImageNet"
else:
    c = experiments_encoders.trained_config("photos", workspace.data, **small)
    encoder, label = experiments_encoders.build_encoder(c, 0, workspace.data), style.label(c.key)
encoder.net.to(workspace.device)


pictures = partial(probe.pictures, mean=encoder.mean, std=encoder.std)
recipe = replace(probe.READER, epoch_steps=preset.get("steps", 200))
told = probe.probe(encoder.net, encoder.stages, images=pictures(size, n), size=size, folds=folds, recipe=recipe)

# %% [markdown]
# **Where is it known?** *What to look for:* round dots, channels in order, against squares, their order shuffled. Triangles are asked for what nobody can know, and belong on the dotted line.

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
show_figures.accuracy_by_layer(told.accuracy, ax).set(ylabel="location told (%)", title=label)
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "08_by_layer", f"""Location told from the pooled latent of each layer ({label}; {told.images} pictures in every cell of a canvas of {told.size} pixels).
          Mean and 95 % interval (Student's t) over {told.accuracy['n'].iloc[0]} folds of pictures, one network. Dotted: chance. Grey: the most that the layer can know.""",
          "Accuracy by layer for channels in order, shuffled, and for permuted answers, with chance and ceiling.",
          workspace=workspace, data=told.accuracy)

# %% tags=["hide-input"]
deepest = told.layers[-1].name
best = told.explained[deepest].argsort(descending=True)[:8]
fig = figures.place_field_maps([told.fields[deepest][c].numpy() for c in best], told.explained[deepest][best].tolist())
page.show(fig, "08_place_fields", f"""{{term}}`Place fields <place field>` of {deepest} ({label}): mean response by cell of the eight channels whose variance the cell explains most,
          each on its own scale; above each the share explained, η².""",
          "Eight small maps of nine cells, each bright in some cells and dark in others.", workspace=workspace)

# %% [markdown]
# **Which channels, and what breaks without them?** Half of the photographs rank the channels, the others are asked when they are gone. The score is how much of the network's own answer is kept: R² is 1 for
# answers as before, 0 where they are as far off as the mean answer. *What to look for:* do the channels that carry position lie *below* random sets, and below sets as strong?

# %%
first, others = (half[::3] for half in pictures(size, n).chunk(2))
ranked = {rule: probe.rank(encoder.net, deepest, first, rule) for rule in ("decodability", "flip", "strength")}
with torch.no_grad():
    others = others.to(workspace.device)
    answers = encoder.net(others)


def kept(net):
    return float(1 - (net(others) - answers).square().sum() / (answers - answers.mean(0)).square().sum())


attacks = []
for share in (0.05, 0.15, 0.5):
    for rule in ("decodability", "flip"):
        targets = ranked[rule][0][:round(share * told.layers[-1].channels)]
        rows = probe.attack(encoder.net, deepest, targets, kept, draws=10, strength=ranked["strength"][1])
        attacks.append(rows.assign(share=100 * share, rule=rule))
attacks = pd.concat(attacks)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, rule in zip(axes, ("decodability", "flip"), strict=True):
    rows = attacks[(attacks["rule"] == rule) & (attacks["removed"] != "nothing")].replace({"targets": f"highest {rule}"})
    rows[["mean", "low", "high"]] = rows[["mean", "low", "high"]].clip(-1)
    show_figures.curves(rows, "share", "removed", ax).set(xlabel="channels removed (%)", title=f"ranked by {rule}")
    ax.axhline(0, **style.CHANCE)
    ax.legend(fontsize="small")
axes[0].set_ylabel("R² of the answers")
page.show(fig, "08_removal", f"""What is left of the answers of {label} to {len(others)} pictures when channels of {deepest} are removed, by how they were chosen on {len(first)} others.
          Random and as strong: mean of 10 sets, and where 95 % of them lie. Drawn at −1 below that.""",
          "R squared against the share of channels removed, for ranked, random and equally strong channels.",
          workspace=workspace, data=attacks)

# %% [markdown]
# ## Many architectures: what marks the place?
#
# Six architectures with random weights: as each is built, and again with every convolution padding circularly. ResNet-18 also without its max-pool, and the transformer without its
# encoding of position.
#
# :::{admonition} A guess to make
# :class: guess
# Which of these will be *exactly* at chance? And which layer will be the first to feel the border in each of the others?
# :::

# %%
def vit(position=True):
    net = timm.create_model("vit_tiny_patch16_224", img_size=size)
    if not position:
        nn.init.zeros_(net.pos_embed)
    return net


def without_pool():
    net = torchvision.models.resnet18()
    net.maxpool = nn.Identity()
    return net


ZOO = {"ResNet-18": torchvision.models.resnet18,
       "ResNet-18 without max-pool": without_pool,
       "ResNet-18 with BlurPool": partial(timm.create_model, "resnetblur18"),
       "VGG-11": torchvision.models.vgg11,
       "MobileNetV2": torchvision.models.mobilenet_v2,
       "ConvNeXt-T": torchvision.models.convnext_tiny,
       "ViT-Ti": vit,
       "ViT-Ti without positions": partial(vit, position=False)}


# %%
def run(c, seed, checkpoint):
    torch.manual_seed(seed)
    net = padding.set_padding_mode(ZOO[c.network](), c.padding_mode).to(workspace.device)
    reader = replace(probe.READER, epoch_steps=c.steps)
    layer = probe.find_layers(net, size=c.size)[-1].name
    of_them = probe.pictures(c.size, c.images)
    found = probe.probe(net, [layer], grid=c.grid, images=of_them, size=c.size, folds=c.folds, recipe=reader)
    border = probe.padding_report(net, of_them[::6], modes=())
    felt = border.layers.set_index("layer")["slide"]
    return {"layer": layer, "accuracy": found.accuracy.to_dict("records"), "slide": float(felt[layer]),
            "first": border.leak("as it is") or "none"}


asked = ("ResNet-18", "ResNet-18 without max-pool", "ViT-Ti without positions") if profile == "smoke" else ZOO
modes = {name: ("zeros",) if name.startswith("ViT") else ("zeros", "circular") for name in asked}
configs = [probe.ProbeConfig(profile=profile, network=name, padding_mode=mode, **preset)
           for name, of_it in modes.items() for mode in of_it]
if profile == "quick":      # a faint trace needs more pictures to be read
    configs = [replace(c, images=60, folds=6, steps=200) if (c.network, c.padding_mode) == ("ResNet-18", "circular") else c
               for c in configs]
runs, _ = records.complete_seeds(records.run_or_load("your_own_model", configs, run, seeds=range(seeds), workspace=workspace), configs)

# %% [markdown]
# *What to look for:* lines on which all three marks lie on top of each other, on the dotted line. The layer on the right is what `padding_report` says, without any reader.

# %% tags=["hide-input"]
where = {config.digest(c): {"network": c.network, "padding": style.NAMES.get(c.padding_mode, c.padding_mode)} for c in configs}
frame = pd.DataFrame([{**where[r.digest], "seed": r.seed, **row, "slide": r.results["slide"], "first": r.results["first"]}
                      for r in runs for row in r.results["accuracy"]])
frame.insert(0, "run", frame["network"] + frame["padding"].map({"zero": "", "circular": ", circular"}))
one = frame[frame["seed"] == 0]
fig, ax = plt.subplots(figsize=(9, 5.4), layout="constrained")
show_figures.dots_by_network(one, ax).set(xlabel="location told (%)")
page.show(fig, "08_architectures", f"""Location told from the last layer of networks with random weights ({configs[0].grid}×{configs[0].grid} canvas of {configs[0].size} pixels, {configs[0].images} pictures). Mean and 95 % interval
          (Student's t) over {configs[0].folds} folds of pictures, one network each; ResNet-18 with circular padding was asked with {max(c.images for c in configs)}. On the right: the first layer that feels the border.""",
          "One line a network, with dots for channels in order, shuffled and for permuted answers, from chance to 100 per cent.", workspace=workspace, data=one)

# %% tags=["hide-input"]
in_order = frame[frame["head"] == "in order"]
shown = in_order.assign(told=[f"{r.mean:.1f} [{r.low:.1f}, {r.high:.1f}]" for r in in_order.itertuples()],
                        slide=[f"{value:.0e}" if value else "0" for value in in_order["slide"]])
shown = shown[["network", "padding", "layer", "told", "ceiling", "slide", "first"]].rename(columns={
    "told": "location (%)", "ceiling": "ceiling (%)", "first": "first to feel the border"})
page.table(shown, "08_networks", f"""Every network of the comparison: location told from its last layer, channels in order, with its 95 % interval (chance is {one['chance'].iloc[0]:.1f} %);
           the ceiling, from the kinds of cell that one picture's latents part; the change of its latent by a slide; and the first layer that feels the border.""", workspace=workspace)

# %% [markdown]
# ## A control that could overturn the reading
#
# :::{admonition} Is chance exact where it must be?
# :class: control
# Where no layer feels the border, every cell gives the same latent, and no reader can be better or worse than chance, on any fold: not *near* chance but *at* it. And where one does,
# no reader is needed to know: the latents differ. If a network without a slide were decodable, or one with a slide had a ceiling at chance, the two measures would contradict each other.
# :::

# %%
blind = in_order[in_order["slide"] <= probe.SEES]
sees = in_order[in_order["slide"] > probe.SEES]
for row in blind.itertuples():
    print(f"{row.run:40s} feels no border: {row.mean:.4f} % against chance {row.chance:.4f} %, interval [{row.low:.4f}, {row.high:.4f}]")
exact = (blind["mean"] - blind["chance"]).abs().max() < 1e-9 and (blind["ceiling"] - blind["chance"]).abs().max() < 1e-9
print("Chance is exact where no layer feels the border:", bool(exact), "· the latents differ where one does:", bool((sees["ceiling"] > sees["chance"]).all()))

# %% [markdown]
# ## Your own
#
# Any `nn.Module` will do that takes square pictures. This one is written to a file and read back as the command does it; it pads its pictures in its own forward, which no list of layers shows.

# %%
source = '''
from torch import nn
from torch.nn.functional import pad

class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 5, stride=2), nn.Conv2d(16, 32, 5, stride=2)
    def forward(self, x):
        return self.second(pad(self.first(pad(x, (2, 2, 2, 2))).relu(), (2, 2, 2, 2), mode="circular")).mean((-2, -1))

def build():
    return Padded()
'''
path = workspace.root / "build" / "my_network.py"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(source)
mine = custom.load(f"{path}:build")
report = probe.padding_report(mine.model, pictures(size, 6))
print(f"{len(report.operations)} layers pad by what they say of themselves; the first to feel the border is {report.leak('as it is')!r}")

# %% [markdown]
# ## What it means, and what it does not
#
# * **Position is a property of the border.** Random networks tell the location ({numref}`fig-08_architectures`); with circular padding those in which nothing else meets the border are exactly
#   blind, whatever their weights.
# * **"Circular padding everywhere" is not "nothing feels the border".** The usual max-pool goes on marking the place, faintly, and so does BlurPool, which reflects. `padding_report` names them
#   ({numref}`tab-08_networks`). In VGG-11 it names the adaptive pool *behind* the layer that is probed: that layer is blind, the classifier is not.
# * **A trace of a millionth can be read.** ConvNeXt scales each of its blocks by $10^{-6}$ before training, so padding hardly touches its features, and a reader tells the place all the same. Decodability does not say how large a
#   part of the features position is; the slide does.
# * **A vision transformer is told.** It has no padding at all; without its encoding of position every arrangement of its patches is the same to it.
# * **Compare a ranking with sets as strong** ({numref}`fig-08_removal`). Beside random sets alone, channels that carry position always look as if they mattered; part of that is that they are strong. And a rule can rank
#   channels that matter *less* than random ones, as the flip response may, where it finds what a network ignores.
# * **Not shown:** that a network uses what a reader finds. And the intervals here are over pictures: another random network of the same architecture may differ, `-p seeds 5` shows by how much.
#
# ## Summary
#
# * Four questions, `probe`, `rank`, `attack` and `padding_report`, to any network, which is left as it was.
# * What no list of layers shows, a slide by the stride does: 0 where a network cannot know the place.
# * Random networks know the place as long as anything meets the border.
#
# ## Exercises
#
# :::{admonition} 1. By pencil
# :class: exercise
# A max-pool of three, stride two, padding one, on a row of eight numbers $x_0 \dots x_7$: its windows are centred on $x_0, x_2, x_4, x_6$. Which of them reaches beyond the edge, and on which side? Why is the padding at the other
# end of the row never used?
# :::
#
# :::{admonition} Solution
# :class: dropdown
# Only the first: it would need $x_{-1}$. The last window holds $x_5, x_6, x_7$ and ends with the row. With an even side and a stride of two, padding is used on one side only (page 01 shows what that draws), so a max-pool marks the top and the left.
# :::
#
# :::{admonition} 2. In code
# :class: exercise
# Make ConvNeXt-T, with circular padding, tell the location again by changing one of its layers, and find that layer with `padding_report` without looking.
# :::
#
# :::{admonition} Solution
# :class: dropdown
# For example `net.features[0] = nn.Sequential(nn.MaxPool2d(3, 1, 1), net.features[0])` after `set_padding_mode(net, "circular")`; `padding_report(net, modes=()).leak("as it is")` names `features.0.0`.
# :::
#
# :::{admonition} 3. To overturn the reading
# :class: exercise
# "A network without a slide cannot be decoded." Slides are by multiples of the stride, and cells are, too. Place the pictures at offsets that are *no* multiple of it and probe the ResNet without max-pool under circular padding again.
# Is it still blind? What then does its latent tell: the place, or something else?
# :::
#
# :::{admonition} A hint
# :class: dropdown
# It tells offsets *within* a stride apart, since subsampling takes other pixels (page 05): its phase, not its place. Two offsets that differ by a multiple of the stride still give the same latent.
# :::

# %%
print(page.provenance(workspace, splits))
