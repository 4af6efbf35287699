# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · What does a network see beyond the edge?
#
# :::{admonition} The puzzle
# :class: puzzle
# A picture of one single colour goes through one convolution. What comes out has a frame, and four marked corners.
#
# There was nothing in the picture. Where does the pattern come from?
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets and weights; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # photos | a folder of images under the data root; "" is photos
seeds = 0             # how many; 0 is the profile's number

# %%
from contextlib import ExitStack
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from posenc_lib.claims import padding_artifacts as claims
from posenc_lib.experiments import padding_artifacts as experiments
from posenc_lib.measure import metrics
from posenc_lib.nets import classifiers, hooks, padding, pretrained
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style
from posenc_lib.show import images as show_images

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or "photos"
preset = experiments.PADDING[profile]
# to train on; nothing is chosen on this page
splits = inputs.load_for(workspace, "photos", size=preset.get("train_crop"), validation=0)
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# The slides to {cite:t}`islam2021global` say that zero padding draws lines along the border of {term}`feature maps <feature map>`, and print no
# number. So the page needs a measure of its own and a rule for it, with the other padding modes for comparison. The rule was fixed with
# short runs on a CPU already seen, and before the reference run.

# %%
page.claim_box(claims.PADDING_ARTIFACTS)

# %% [markdown]
# ## By hand: what stands beyond the edge
#
# A 3×3 convolution centred on a corner pixel reads five pixels that do not exist. Something has to be put there, and the
# {term}`padding mode` says what. In one dimension, two pixels on each side:
#
# | mode | 1 2 3 4 becomes | in words |
# |---|---|---|
# | zero | 0 0 **1 2 3 4** 0 0 | nothing |
# | reflect | 3 2 **1 2 3 4** 3 2 | a mirror on the outermost pixel |
# | replicate | 1 1 **1 2 3 4** 4 4 | the outermost pixel, again |
# | circular | 3 4 **1 2 3 4** 1 2 | the other side |
#
# Each is nothing but a rule for *which pixel to read*, so each is one line of arithmetic on indices. Write $i$ for a
# position that may lie outside $0 \dots n-1$:

# %%
def pad_by_hand(image, p, mode):
    n = len(image)
    i = torch.arange(-p, n + p)
    source = {"zeros": i.clamp(0, n - 1),                    # masked below
              "replicate": i.clamp(0, n - 1),
              "circular": i % n,
              "reflect": (n - 1) - ((n - 1) - i.abs()).abs()}[mode]
    padded = image[source][:, source]
    inside = (i >= 0) & (i < n)
    return padded * (inside[:, None] & inside) if mode == "zeros" else padded


image = torch.arange(1.0, 17).reshape(4, 4)
torchs_own = [name for name, mode in padding.PADDING_MODES.items() if mode.pad is None]
padded = {mode: pad_by_hand(image, 2, mode) for mode in torchs_own}
for mode, by_hand in padded.items():
    by_torch = pad(image[None], (2, 2, 2, 2), mode="constant" if mode == "zeros" else mode)[0]
    assert torch.equal(by_hand, by_torch), mode
page.show(show_images.padded_squares({mode: p.numpy() for mode, p in padded.items()}, margin=2), "01_modes",
          "A 4×4 image (framed) padded by two pixels in each of the four modes. What was added is tinted; the same colours "
          "stand for the modes through the whole book.",
          "Four 8 by 8 squares of numbers, each with the same 4 by 4 square in its middle.", workspace=workspace)

# %% [markdown]
# :::{admonition} A guess to make
# :class: guess
# Now the puzzle: a 5×5 image of ones, a 3×3 kernel of ones. Which numbers come out under each mode? And in which of them
# could you still tell, from the output alone, where the border was?
# :::

# %%
constant, ones = torch.ones(1, 1, 5, 5), nn.Conv2d(1, 1, 3, padding=1, bias=False)
nn.init.ones_(ones.weight)
with torch.no_grad():
    answers = {mode: padding.set_padding_mode(ones, mode)(constant)[0, 0] for mode in padding.PADDING_MODES}
assert all((answers[mode] == 9).all() for mode in ("reflect", "replicate", "circular"))
page.show(show_images.padded_squares({mode: a.numpy() for mode, a in answers.items()}, margin=1), "01_constant",
          "A constant image after one convolution of ones. The border of the output is tinted: under zero padding it sums six "
          "pixels instead of nine, four in the corners.",
          "Four 5 by 5 squares of numbers: 4, 6 and 9 under zero padding, 9 everywhere under the others.", workspace=workspace)

# %% [markdown]
# Under zero padding the output says where it is; under the other three a constant image stays constant, through any
# number of layers. But the world is not constant. On a picture with content, *every* mode invents something beyond the edge,
# and only at the edge. Both identities, on noise, in a layer of the library's own:

# %%
torch.manual_seed(0)
conv, noise = nn.Conv2d(3, 8, 3, padding=1), torch.randn(1, 3, 12, 12)
with torch.no_grad():
    f = torch.stack([padding.set_padding_mode(conv, mode)(noise) for mode in padding.PADDING_MODES])
differs = ((f - f[0]).abs().amax((0, 1, 2)) > 1e-5).int()
assert not differs[1:-1, 1:-1].any()                  # the interior does not know the mode
assert differs.sum() == 12 * 12 - 10 * 10             # every pixel of the border does

# %% [markdown]
# ## The experiment
#
# To know what padding does, one has to know what *should* be there. So every crop is cut out of the middle of a larger
# piece of a photograph. The network sees the piece, and then the crop's window is cut out of the feature map: this is the
# map of the crop in its {term}`true surroundings`. The margin is wider than any unit's receptive field reaches, and a multiple
# of the total stride, so that the two maps stand on the same grid and differ *by padding alone*.
#
# **Networks.** The authors' ResNet-18 ({cite:t}`he2016deep` without max-pool), random and trained; and, if its weights
# are under the data root, an ImageNet SqueezeNet 1.1. **Varied:** the padding mode. **Held:** crops, weights (random and
# ImageNet), start and schedule (trained).
#
# **Deviations.** The slides give neither network, nor data, nor layer: all of these are choices of this page.
#
# * The trained networks learn to tell the six embedded photographs apart, from small crops (48 pixels; 64 in the `paper` profile) in
#   the left three quarters of each; for a second or two in the `quick` profile, at a quarter of the usual width. The crops
#   measured here are larger, and partly overlap those trained on.
# * The ImageNet network was trained with zero padding and is only *run* with the others.
# * Pictures from a folder are scaled to the size of a piece, which makes small ones smooth.
#
# First the pieces; then the two functions that hold the whole experiment: one runs a network and keeps the maps of some layers, the
# other cuts the window. Is the control what it claims to be? Then it must not depend on how the *piece* is padded, in the deepest
# layer either, and that is checked at once.

# %%
shared = experiments.padding_inputs(dataset, splits, workspace)
context = experiments.PaddingConfig.context
inner = slice(context, -context)
x = shared.pieces.normalise(shared.pieces.images).to(workspace.device)   # (image, rgb, side, side)
crop = x[..., inner, inner].shape[-1]
print(f"{len(x)} pieces of {x.shape[-1]} pixels, of which the inner {crop} are the crop")

# %%
@torch.no_grad()
def maps(net, images, layers):
    with ExitStack() as stack:
        outputs = {name: stack.enter_context(hooks.captured(net, name)) for name in layers}
        net.features(images)
    return {name: out[0] for name, out in outputs.items()}


def window(f, like, stride):
    """The part of the piece's map that belongs to the crop, as large as the crop's own map."""
    first = context // stride
    return f[..., first:first + like.shape[-2], first:first + like.shape[-1]]


torch.manual_seed(0)
net = classifiers.gapnet(6, width=preset.get("width", 64)).eval().to(workspace.device)
deepest = {}
for mode in ("zeros", "circular"):
    padding.set_padding_mode(net, mode)
    crop_map, piece_map = (maps(net, part, ["layer4"])["layer4"] for part in (x[:1, :, inner, inner], x[:1]))
    deepest[mode] = window(piece_map, crop_map, 16), crop_map
torch.testing.assert_close(deepest["zeros"][0], deepest["circular"][0], rtol=1e-4, atol=1e-5)
in_truth, in_crop = (float((a - b).abs().max()) for a, b in zip(*deepest.values(), strict=True))
print(f"layer4 under zero and circular padding, largest difference: {in_crop:.2g} for the crop, "
      f"{in_truth:.2g} in true surroundings")

# %% [markdown]
# ## What is measured
#
# {term}`Border energy <border energy>` is how much a map's outermost ring stands out from its interior; the claim is about its **excess** over
# true surroundings. With $m_c$ the mean of channel $c$ over the interior,
#
# $$ e(f) = \log_2 \frac{\langle (f_c - m_c)^2 \rangle_{\text{border}}}{\langle (f_c - m_c)^2 \rangle_{\text{interior}}},
# \qquad \text{excess} = e(f_\text{padded}) - e(f_\text{true}). $$
#
# An excess of 1 is a border with twice the energy it should have. It is 0 as well if the border is wrong but no more
# lively than it should be. *Padding error* sees that too: the energy of $f_\text{padded} - f_\text{true}$, by distance to
# the border, in units of the true map's variance. Where the interior of a map is constant, the excess is undefined; such a
# crop is left out for that layer, and counted.
#
# One run is one network, looked at under all four modes: also under those that it was not trained with.

# %%
def energy(f):
    """e(f) of one map (channel, row, col), the outermost ring being the border."""
    border = torch.ones(f.shape[-2:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    squared = (f - f[:, ~border].mean(1)[:, None, None]).square()
    return (squared[:, border].mean() / squared[:, ~border].mean()).log2()


mode, layers = "zeros", experiments.LAYERS["resnet"]
crop_maps, piece_maps = (maps(padding.set_padding_mode(net, mode), part, layers)
                         for part in (x[:1, :, inner, inner], x[:1]))
f = crop_maps["layer2"].cpu().double()
truth = window(piece_maps["layer2"].cpu().double(), f, layers["layer2"])
by_hand = energy(f[0]) - energy(truth[0])
comparison, _ = experiments.compare_modes(net, x[:1], layers, context)              # the library's
by_library, = (row["excess"][0] for row in comparison
               if (row["padding_mode"], row["layer"]) == (mode, "layer2"))
assert abs(by_library - by_hand) < 1e-3
print(f"one crop, layer2, a random network under zero padding: excess {by_hand:+.2f}")

# %%
configs = experiments.configs(shared)
weights = pretrained.weights_file("squeezenet1_1", workspace.data)
files = {"squeezenet1_1": ""} if weights.is_file() else {}
run_or_load = partial(records.run_or_load, "padding_artifacts", workspace=workspace,
                      run=partial(experiments.run, inputs=shared),
                      before=partial(pretrained.check_weights, files, workspace.data))
runs = run_or_load(configs, seeds=range(seeds or preset["seeds"]))
runs, seeds = records.complete_seeds(runs, configs)
if files or workspace.on_file:
    runs += run_or_load([experiments.imagenet_config(shared)], seeds=[0], optional=True)
else:
    print(f"{weights} is not there, so the ImageNet network is left out.")
accuracies = [r.results["accuracy"] for r in runs if r.config["net"] == "trained"]
print(f"{len(configs)} configurations, {len(seeds)} seeds; trained networks name the photograph of "
      f"{min(accuracies):.0%} to {max(accuracies):.0%} of {len(splits.test)} test crops "
      f"(chance {metrics.chance(splits.test.labels):.0%})")

# %% [markdown]
# ## Lines
#
# *What to look for:* a frame along the edge of the map that the last column does not have. A thin one belongs to
# the mode; where the photograph itself has an edge there, the last column has it too.

# %%
examples = {(r.config["net"], r.config["trained"]): r.results["example"]
            for r in runs if "example" in r.results}
columns = (*padding.PADDING_MODES, experiments.TRUTH)
rows = {style.label(net): {name: examples[net, trained][name] for name in columns}
        for net, trained in (("random", None), ("imagenet", "zeros")) if (net, trained) in examples}
page.show(show_images.feature_maps(rows), "01_lines", """One channel of the map at stride 4, for the same crop and the same weights
under each padding mode, and in true surroundings. The channel is the one in which zero padding is furthest from the truth, so
the worst, not a typical one. Each row has one scale of grey.""", "Feature maps of one photograph in a row: under zero padding the "
          "edge of the map is drawn as a line, under the other modes hardly.", workspace=workspace)

pairs = {"own padding": {mode: examples["trained", mode][mode] for mode in padding.PADDING_MODES},
         "true surroundings": {mode: examples["trained", mode][experiments.TRUTH]
                               for mode in padding.PADDING_MODES}}
page.show(show_images.feature_maps(pairs), "01_lines_trained", """The same, in four networks each trained with the padding mode
above it and run with it (first row) and in true surroundings (second). In each, the channel that its own mode changes most.""",
          "Feature maps of four trained networks, padded above, in true surroundings below.", workspace=workspace)

# %% [markdown]
# These are single channels, chosen because they show a difference.
#
# ## How much, and how deep
#
# *What to look for:* points above the line, in every layer. Below the line, padding makes the border *calmer* than
# it should be.

# %%
scores = experiments.excess_scores(runs)
undefined = sum(score.excess is None for score in scores)
print(f"excess undefined for {undefined} of {len(scores)} (a crop, a layer, a mode, a network), which are left out")
by_depth = experiments.excess_by_layer(scores)

nets = list(by_depth["net"].unique())
fig, axes = plt.subplots(1, len(nets), figsize=(2.9 * len(nets), 3.6), sharey=True, layout="constrained")
for ax, net in zip(axes, nets, strict=True):
    figures.excess_by_depth(by_depth[by_depth["net"] == net], ax).set_title(style.label(net))
axes[0].set_ylabel("excess border energy\n(log2 ratio)")
fig.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=5)
page.show(fig, "01_border_energy", f"""Excess border energy by layer. Random and trained: mean of {len(x)} crops, then mean and 95 %
interval (Student's t) over n = {len(seeds)} seeds, the crops held; each trained network is run with the mode it was trained with.
{f"ImageNet: one network, interval over its {len(x)} crops. Its first layer has no padding." if "imagenet" in nets else ""}""",
          "Excess border energy by layer, one line a padding mode, one panel a network.", workspace=workspace, data=by_depth)

# %% [markdown]
# Zero padding puts an edge where the picture ends. So does circular padding, where the two sides of a photograph do not fit
# together; what an edge is worth depends on the kernels. Reflect and replicate padding continue the picture without one. But a border that
# is as lively as it should be need not be right. The second measure:

# %%
curves = pd.DataFrame(experiments.error_scores(runs))
curves = curves.groupby(["net", "layer", "padding_mode", "distance"], sort=False, as_index=False)["error"].mean()
# a GPU may sum a crop and a piece in different orders
rounding = max(1e-9 if r.source["device"].endswith("CPU") else 1e-6 for r in runs)
assert (curves["error"][curves["distance"] >= curves["layer"].map(experiments.REACH)] < rounding).all()

fig, axes = plt.subplots(2, 5, figsize=(8.7, 5), sharex="col", sharey=True, layout="constrained")
for (net, layer), rows in curves.groupby(["net", "layer"], sort=False):
    ax = axes[["random", "trained"].index(net), list(experiments.REACH).index(layer)]
    figures.error_by_distance(rows, ax).axvline(experiments.REACH[layer], color="0.7")
    ax.set(title=layer if net == "random" else "", xlim=(-2, crop / 2))
for ax, net in zip(axes[:, 0], ("random", "trained"), strict=True):
    ax.set_ylabel(f"{net}\npadding error")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=4)
fig.supxlabel("distance to the border (pixels of the image)", fontsize="medium")
page.show(fig, "01_padding_error", f"""Padding error by distance to the border (mean of {len(x)} crops and {len(seeds)} seeds). 1, dotted, is as
wrong as knowing only each channel's mean. The grey line is how far padding *can* reach by arithmetic (in layer4 farther than the
crop has pixels); beyond it the error is 0, and is not drawn below $10^{{-9}}$.""", "Padding error falls steeply with distance to the border, in ten panels, layer by layer.",
          workspace=workspace, data=curves)

# %% [markdown]
# A mode can be wrong at the border without standing out there. The error ends where arithmetic says it must; how fast it falls on the
# way says how thin the band is in which it matters. After a total stride of 16, one ring of the map is a band of 16 pixels.
# {cite:t}`kayhan2020translation` report border effects that reach far; here one sees both how far, and how thin.
#
# ## A surprise: padding that is used on one side only
#
# A convolution with kernel $k$, stride $s$ and padding $p$ on each side makes $\lfloor (n + 2p - k) / s \rfloor + 1$ pixels of $n$. If
# the division leaves a remainder, $(n + 2p - k) \bmod s$ padded columns on the right are never read: the padding is **uneven**,
# as {cite:t}`alsallakh2021mind` point out. It happens at every even size, the usual ones included:

# %%
with torch.no_grad():
    for n in (8, 9):
        print(f"n = {n}: {(n + 2 - 3) % 2} left over\n{conv2d(torch.ones(1, 1, n, n), ones.weight, stride=2, padding=1)[0, 0].int().numpy()}")

# %% [markdown]
# At 8 pixels there is a frame on the left and on top, and none on the right and below. A ResNet has four such layers, one after the
# other. To see it cleanly, give a random one kernels that are their own mirror images: on a constant image its maps *must* be
# symmetric, unless the padding is not.

# %%
torch.manual_seed(0)
mirrored = classifiers.gapnet(6, width=16).eval()
for conv in (m for m in mirrored.modules() if isinstance(m, nn.Conv2d)):
    conv.weight.data = (conv.weight + conv.weight.flip(-1)).data / 2
    conv.weight.data = (conv.weight + conv.weight.flip(-2)).data / 2
uneven = {}
for n in (128, 129):
    f = maps(mirrored, torch.ones(1, 3, n, n), ["layer3"])["layer3"][0]
    variance = (f - f.mean((-2, -1), keepdim=True)).square().mean()
    uneven[n] = f.mean(0), float((f - f.flip(-1)).square().mean() / variance)
assert uneven[129][1] < 1e-6 < uneven[128][1]

fig, axes = plt.subplots(1, 2, figsize=(5.6, 2.8), layout="constrained")
for ax, (n, (picture, asymmetry)) in zip(axes, uneven.items(), strict=True):
    ax.imshow(picture, cmap="gray")
    ax.set(xticks=[], yticks=[], title=f"{n} pixels", xlabel=f"asymmetry {asymmetry:.{'2f' if asymmetry > 0.01 else '0e'}}")
    ax.spines[:].set_visible(True)
page.show(fig, "01_uneven", """Mean map of layer3 on a constant image, zero padding, kernels that are their own mirror images. Below
each, the energy of the difference between the map and its mirror image, in units of the map's variance.""",
          "Two small maps of a constant image: the frame is thicker on the left and on top at 128 pixels, even at 129.", workspace=workspace)

# %% [markdown]
# One more pixel, and the frame is even. So the *size* of the picture decides whether left and right are treated alike:
# one to remember whenever a later page finds a difference between them.
#
# ## A control that could overturn the reading
#
# :::{admonition} Is it the padding, or what the network made of it?
# :class: control
# A network trained with zeros has had every chance to adapt to them. If the excess belonged to its *weights*, it would stay
# when the same network is run with reflect padding, and a network trained with reflect padding would not have it when run
# with zeros. If it belongs to the padding, columns differ below, and rows do not.
# :::

# %%
per_network = claims.excess_by_seed(scores)                          # mean over crops, then over layers
crossed = [row for row in per_network if row.net == "trained"]
swapped = pd.DataFrame(crossed).groupby(["trained", "padding_mode"])["excess"].mean().unstack()
swapped = swapped.loc[list(padding.PADDING_MODES), list(padding.PADDING_MODES)]
spread = swapped.std(axis=0).mean(), swapped.std(axis=1).mean()
fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
figures.mode_matrix(swapped, ax, "excess (log2 ratio)")
page.show(fig, "01_swapped", f"""Excess border energy of networks trained with one mode and run with another (mean over five layers,
{len(x)} crops, {len(seeds)} seeds). Standard deviation down a column, over what it was trained with: {spread[0]:.2f}; along a row,
over what it is run with: {spread[1]:.2f}.""", "A four by four table of excess border energy, trained with by run with.",
          workspace=workspace, data=swapped.reset_index())

# %% [markdown]
# The more the columns differ, and the less the rows do, the more the line is the padding's own. The control below compares the
# two seed by seed, and asks whether networks that never saw zeros in training draw the line when run with them.
#
# ## Against the paper

# %%
summary = claims.summarise(per_network)
verdict_table = pd.DataFrame(summary)
page.table(verdict_table.rename(columns={"net": "network", "padding_mode": "padding", "low": "95 % low", "high": "95 % high"}),
           "01_excess", f"""Excess border energy (log2 ratio), mean over {len(x)} crops and five layers, with its 95 % interval
(Student's t) over n seeds: in every padding mode, and under zero padding minus that of another mode, seed by seed. The rule reads the rows of
zero padding.""", workspace=workspace, digits=2)
claim, scale = claims.PADDING_ARTIFACTS, claims.scale(configs)
page.against_paper({claim: claim.verdict(summary, scale)}, {claim: claim.control_outcome(crossed, scale)}, "01_against_paper",
                   f"{dataset}, {len(x)} crops, ResNet-18 of width {configs[0].width}, n = {len(seeds)} seeds", workspace=workspace)

# %% [markdown]
# ## What it means, and what it does not
#
# * **Padding is input.** Nothing in these networks has to *learn* to see the border: a random one draws it too. The later pages ask who
#   reads it.
# * **"Line" covers two things.** Energy added at the border is a line one can see, and the claim is about it. A border that is wrong
#   without being livelier is a line one can only measure. Page 03 asks whether that is enough to carry position.
# * **A zero is a colour.** At the first layer the border stands out by how far the picture's edge is from the mean colour, which is 0 after
#   normalisation. The spread between crops is therefore large, and the intervals above, over seeds, do not cover it.
# * **Not done:** the slides' own networks and pictures, which they do not name; networks trained to the end in the `quick` profile;
#   maximum pooling with padding, which fills with minus infinity and belongs to no mode; and "no padding", which changes the
#   size of every map and is another experiment.
#
# ## Summary
#
# * A constant image gets a frame from zero padding alone; any other picture gets a wrong border from every mode.
# * Excess border energy says whether a border stands out, padding error whether it is wrong: a border can be wrong without being loud.
# * The error reaches no farther than the receptive field; at even sizes it is not the same on both sides.
#
# ## Exercises
#
# :::{admonition} 1. By pencil
# :class: exercise
# How far does padding reach into `layer1` and `layer2` of the ResNet-18, in pixels of the image? And for which sizes of
# the image is its padding even in all layers?
# :::
#
# :::{admonition} Solution
# :class: dropdown
# A convolution adds $(k-1)/2$ of its own input pixels, each as large as the product of the strides before it. `conv1`: 3. `layer1`: four
# 3×3 convolutions at stride 2, $3 + 4 \cdot 2 = 11$. `layer2`: one at stride 2 and three at stride 4, $11 + 2 + 3 \cdot 4 = 25$. A remainder of 0
# needs an odd size at every one of the four halvings: $n = 16 m + 1$, as 129 and not 128, nor 224.
# :::
#
# :::{admonition} 2. In code
# :class: exercise
# Partial convolution {cite}`liu2018partial` pads with zeros and multiplies each output by 9 over the number of real pixels
# it saw. Write it for one layer. What does it make of a constant image, and which of the four modes is it closest to in padding error?
# :::
#
# :::{admonition} Solution
# :class: dropdown
# `conv2d(x, w, padding=1) * 9 / conv2d(ones_like(x[:, :1]), ones(1, 1, 3, 3), padding=1)` for a layer without bias. If all of a
# kernel's weights are equal, a constant image stays constant; in general it does not, since the *weights* of the missing pixels are
# not 1/9 each. It replaces what is missing by the mean response of what is there, so look at replicate padding first.
# :::
#
# :::{admonition} 3. To overturn the claim
# :class: exercise
# The excess is an average over crops. Find crops whose excess under zero padding is *negative* (the records hold every
# crop's value). What do they have in common, and could you choose ten photographs for which zero padding draws no line?
# :::
#
# :::{admonition} A hint
# :class: dropdown
# Look at the contrast of the picture's own border and its distance from mean colour. A busy border has more to lose by zeros than to gain.
# :::

# %%
print(page.provenance(workspace, splits))
