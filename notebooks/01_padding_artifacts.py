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
# > **The puzzle**
# >
# > A convolution does the same thing everywhere, and an average over all positions forgets where it did it. So
# > a convolutional network that ends in [global average pooling](../book/glossary.md#gap) should give a picture the same
# > answer wherever it lies.
# >
# > Show it the same picture at the top left and at the bottom right, call them class 1 and class 2, and train.
# > It gets every image right. How?

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets and weights; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # photos | a folder of images under the data root; "" is photos
seeds = 0             # how many; 0 is the profile's number
schedule = ""         # long: the networks of the committed CPU run; "" is the profile

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
from posenc_lib.experiments import two_places
from posenc_lib.measure import metrics
from posenc_lib.nets import classifiers, hooks, padding, pretrained
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, page, style
from posenc_lib.show import images as show_images

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or "photos"
schedule = schedule or profile
preset = experiments.SCHEDULES[schedule]
# to train on; nothing is chosen on this page
splits = inputs.load_for(workspace, "photos", size=preset.get("train_crop"), validation=0)
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## The question in one picture
#
# This is the two-class example of the slides to [Islam et al. (2021)](../book/bibliography.md#islam2021global); [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation)
# study the same effect. Each digit below occurs in both classes with the same pixels. Only its place differs.

# %%
digits = inputs.load_for(workspace, "digits", size=two_places.SIDE, validation=0)
examples = {size: two_places.place(digits.test.images[:1], size, two_places.centred_gap(size), 255.0)
            for size in (16, 28, 40)}
shown = {f"class {n + 1}": {f"{size} pixels": canvases[n][0].permute(1, 2, 0).numpy() / 255
                            for size, canvases in examples.items()} for n in (0, 1)}
fig = show_images.picture_grid(shown)
for ax in fig.axes:
    ax.spines[:].set_visible(True)
page.show(fig, "01_two_classes", f"""The two classes: a digit of {two_places.SIDE}×{two_places.SIDE} pixels at the
centre of the top left or of the bottom right quadrant of a white canvas. The larger the canvas, the farther the digit is
from the border.""",
          "A small digit at the top left of a white square and, below, at the bottom right, for three sizes.",
          workspace=workspace)

# %% [markdown]
# The network is about the smallest that will do: two convolutions, each with batch normalisation and a ReLU;
# the average over all positions; a linear layer with two outputs. Beyond the edge it reads one of three
# things. With *zero padding*, it reads zeros. With *circular padding*, it reads the opposite side of the
# image. With *no padding*, it reads nothing, and every map is smaller than the one before.
#
# > **A guess to make**
# >
# > How large may the canvas be for each of the three networks still to tell the classes apart? And without
# > padding, when nothing is invented beyond the edge: can the network know where the edge is?
#
# ### What arithmetic predicts
#
# A unit of the last map sees $R = 2r + 1$ pixels along each axis, its receptive field: $r$ on either side of
# its own position. With two 3×3 convolutions, $r = 2$. Take one axis, and let the digit begin $g$ pixels from
# the border: the gap. A unit at position $p$ sees the pixels $p - r$ to $p + r$.
#
# * **Zero padding.** The unit sees past the border if $p < r$, and it sees the digit if $p \ge g - r$. Some
#   unit sees both, and can respond to the combination, exactly if $g < 2r$. Otherwise some units see the
#   digit and others see the border; both groups respond alike in both classes, and so does the average.
# * **No padding.** Every unit sees pixels of the image only, but units exist only where their whole receptive
#   field lies inside it. A digit far inside is seen by units that have it on their right *and* by units that
#   have it on their left. Near the left border, the $2r - g$ units that would have it farthest to their right
#   are missing; near the right border, their mirror images are. The average shows which. So this network can
#   tell the classes apart, too, exactly if $g < 2r$.
# * **Circular padding.** There is no border, and the average is the same for every place.
#
# The prediction: with zero padding and without padding the classes can be told apart up to a gap of
# $2r-1=R-2$ pixels; beyond it accuracy is at chance, and under circular padding it always is. What counts is
# the distance from the border, not the size: a digit that stays in the corner can be on a canvas of any size.
#
# That leaving padding out does not hide the border is a point of [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation): close to
# the edge, some weights of a kernel are never applied. One detail matters. On a canvas whose value is 0, the
# first layer's zeros continue the canvas seamlessly, and zero padding reaches less far. Here the canvas is
# white, and white is not 0 after normalisation.
#
# The arithmetic can be checked before any training. How far apart are the averages of the two places in a
# network with random weights, in double precision?

# %%
torch.manual_seed(0)
picture, gaps = torch.rand(1, 3, two_places.SIDE, two_places.SIDE, dtype=torch.float64), range(7)
apart = {}
for mode in two_places.PADDINGS:
    for gap in gaps:
        side = 2 * two_places.SIDE + 4 * gap
        c = two_places.TwoPlacesConfig(profile=profile, data="", padding=mode, size=side, gap=gap)
        average = two_places.network(c).double().eval()[:-1]          # all but the linear layer
        with torch.no_grad():
            first, second = map(average, two_places.place(picture, side, gap, 1.0))
        apart[mode, gap] = float((first - second).abs().max())
        assert (apart[mode, gap] > 1e-9) == two_places.can_differ(mode, gap, c.kernel)
print("R =", two_places.receptive_field(c.kernel), "pixels; largest difference of the averages, by gap in pixels:")
print(pd.Series(apart).unstack().loc[list(two_places.PADDINGS)].map("{:.0e}".format).to_string())

# %% [markdown]
# ### What training finds
#
# A difference that exists need not be found by training. So one network is trained for every padding, size
# and seed, on digits that lie at the centre of their quadrant; others, on digits that stay in the corner.
# Other digits test it, each in both places, so that chance is 50 %. Once more with 5×5 convolutions: $R = 9$
# instead of 5.
#
# *What to look for:* how close to the shaded sizes the curves stay at 100 %, where by the count above no
# network can do better than chance.

# %%
placing = "long" if profile == "paper" else schedule
placed = records.run_or_load("two_places", two_places.configs(placing, digits.fingerprint),
                             partial(two_places.run, splits=digits, device=workspace.device),
                             seeds=range(seeds or two_places.SCHEDULES[placing]["seeds"]), workspace=workspace,
                             optional=True)
reference_placed = placed if workspace.is_reference and placed else records.reference("two_places", workspace)
parts = {"Reference runs": reference_placed, "This run": placed}
if workspace.is_reference:
    del parts["This run"]
places = {name: two_places.frame(part).replace({"padding": {"none": "without_padding"}})
          for name, part in parts.items() if part}
records.require(bool(places), "two_places")



def in_panel(rows, kernel, placement):
    return rows[(rows["kernel"] == kernel) & (rows["placement"] == placement)]


def networks(rows):
    """How many seeds a point of the figure has."""
    n = rows.groupby(["placement", "kernel", "padding", "size"])["seed"].nunique()
    return f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"


panels = [(3, two_places.CENTRED), (5, two_places.CENTRED), (3, two_places.CORNER)]
fig, axes = plt.subplots(len(places), 3, figsize=(8.7, 2.9 * len(places)), sharex="col", sharey=True,
                         squeeze=False, layout="constrained")
for axes_row, (name, rows) in zip(axes, places.items(), strict=True):
    for ax, (kernel, placement) in zip(axes_row, panels, strict=True):
        of_panel = in_panel(rows, kernel, placement)
        if of_panel.empty:
            ax.set_axis_off()
            continue
        centred = placement == two_places.CENTRED
        figures.accuracy_by_size(of_panel, ax, two_places.smallest_hopeless_size(kernel) if centred else None)
        ax.set_title(f"R = {two_places.receptive_field(kernel)}, {placement}" if ax in axes[0] else "")
        ax.tick_params(labelbottom=True)
    axes_row[0].set_ylabel(f"{name}\naccuracy (%)")
for column, panel in zip(axes.T, panels, strict=True):
    tried = in_panel(pd.concat(places.values()), *panel)["size"]
    if len(tried):
        column[0].set_xlim(tried.min() - 3, tried.max() + 3)
fig.supxlabel("side of the canvas (pixels)", fontsize="medium")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=4)
counts = "; ".join(f"{name.lower()}: {records.origin(parts[name])}, n = {networks(rows)}"
                   for name, rows in places.items())
page.show(fig, "01_two_places", f"""Accuracy of telling the two places apart, by size of the canvas and padding:
mean and single seeds. Shaded: the digit is a receptive field from the border or more ($g \\ge R - 1$), and by arithmetic
no network can do better than chance, 50 %. On the right the digit stays in the corner. {counts[0].upper() + counts[1:]}; width 8.""",
          "Accuracy against size of the canvas for zero, no and circular padding, in panels by receptive field.",
          workspace=workspace, data=pd.concat(rows.assign(runs=name) for name, rows in places.items()))

# %%
largest = [two_places.largest_sizes(rows).assign(runs=name) for name, rows in places.items()]
sizes_table = largest[0].drop(columns="runs")
for name, part in zip(list(places)[1:], largest[1:], strict=True):
    added = part[["kernel", "padding", "largest", "n"]].rename(columns={"largest": name.lower(), "n": "its n"})
    sizes_table = sizes_table.merge(added, on=["kernel", "padding"], how="left")
sizes_table.insert(0, "receptive field", sizes_table.pop("kernel").map(two_places.receptive_field))
sizes_table["padding"] = sizes_table["padding"].map(style.label)
sizes_table = sizes_table.rename(columns={"largest": next(iter(places)).lower()})
whole = sizes_table.columns.drop("padding")
sizes_table[whole] = sizes_table[whole].astype("Int64").astype(object)
page.table(sizes_table, "01_two_places_sizes", """Side, in pixels, of the largest canvas on which every
network has at least 99 % of the test images right, the digit at the centre of its quadrant; and the largest of the sizes
that were run on which it is possible (predicted). A dash: on none.""", workspace=workspace)
for name, rows in places.items():
    beyond, within = rows[~rows["can_differ"]], rows[rows["can_differ"]]
    print(f"{name}: where the count says never, accuracy is {beyond['accuracy'].min():.1f} to "
          f"{beyond['accuracy'].max():.1f} % and logits differ by at most {beyond['difference'].max():.0e}; where it "
          f"says possible, accuracy is {within['accuracy'].min():.1f} to {within['accuracy'].max():.1f} %")

# %%
if reference_placed:   # what the text below says
    rows = two_places.frame(reference_placed)
    beyond, within = rows[~rows["can_differ"]], rows[rows["can_differ"]]
    assert (beyond["difference"] < 1e-4).all() and (beyond["accuracy"] - 50).abs().max() < 1
    assert (within["difference"] > 0.1).all()
    last = within["gap"] == within["kernel"].map(two_places.receptive_field) - 2
    assert (within.loc[~last | (within["padding"] == "none"), "accuracy"] >= 99).all()
    reached = two_places.largest_sizes(rows).set_index(["kernel", "padding"])["largest"].unstack()
    assert (reached["none"] >= reached["zeros"]).all()

# %% [markdown]
# The answer is the border. In the reference runs the logits of the two places differ wherever the count
# allows it, and are equal to within rounding wherever it does not, four pixels of canvas later. Without
# padding every network is right up to the last possible size, where a single row and column of units, present
# or missing, makes the difference. With zeros, where a unit has to respond to digit and border at once,
# training does not always get there on that last size; on all smaller canvases it does. Two things follow for
# the rest of the book:
#
# * **Global average pooling does not remove position.** It is enough that the border and the picture come
#   within a receptive field of each other. The receptive field of page 03's ResNet-18 has 219 pixels, about
#   as many as its largest canvas.
# * **Taking padding away is no control.** It leaves the border in place. Circular padding is the control,
#   because it has no border.

# %% [markdown]
# ## What the paper claims
#
# How does the border show inside a network? The slides to [Islam et al. (2021)](../book/bibliography.md#islam2021global) say that zero padding
# draws lines along the border of [feature maps](../book/glossary.md#feature-map), and print no number. So this page needs
# a measure of its own and a rule for it, with the other padding modes for comparison. Short CPU runs, not on
# file, had been seen when the rule was fixed; the reference runs had not.

# %%
page.claim_box(claims.PADDING_ARTIFACTS)

# %% [markdown]
# ## By hand: what stands beyond the edge
#
# A 3×3 convolution centred on a corner pixel reads five pixels that do not exist. Something has to be put
# there, and the [padding mode](../book/glossary.md#padding-mode) says what. In one dimension, two pixels on each side:
#
# | mode | 1 2 3 4 becomes | in words |
# |---|---|---|
# | zero | 0 0 **1 2 3 4** 0 0 | nothing |
# | reflect | 3 2 **1 2 3 4** 3 2 | a mirror on the outermost pixel |
# | replicate | 1 1 **1 2 3 4** 4 4 | the outermost pixel, again |
# | circular | 3 4 **1 2 3 4** 1 2 | the other side |
#
# Each is nothing but a rule for *which pixel to read*, so each is one line of arithmetic on indices. Write
# $i$ for a position that may lie outside $0 \dots n-1$:

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
# > **A guess to make**
# >
# > A picture of one single colour: a 5×5 image of ones, and a 3×3 kernel of ones. Which numbers come out under
# > each mode? And in which of them could you still tell, from the output alone, where the border was?

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
# Under zero padding the output says where it is; under the other three a constant image stays constant,
# through any number of layers. But pictures are not constant. On one with content, *every* mode invents
# something beyond the edge, which changes the output at the edge and nowhere else. Both identities, on noise,
# in a single layer:

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
# To know what padding does, one has to know what *should* be there. So every crop is cut out of the middle of
# a larger piece of a photograph. The network sees the piece, and then the crop's window is cut out of the
# feature map: this is the map of the crop in its [true surroundings](../book/glossary.md#true-surroundings). The margin is wider than any
# unit's receptive field reaches, and a multiple of the total stride, so that the two maps lie on the same
# grid and differ *by padding alone*.
#
# **Networks.** The authors' ResNet-18 ([He et al. (2016)](../book/bibliography.md#he2016deep) without max-pool), random and trained; and an
# ImageNet SqueezeNet 1.1, which this run has only if its weights are under the data root. **Varied:** the
# padding mode. **Held:** crops, weights (random and ImageNet), initial weights and schedule (trained).
#
# **Deviations.** The slides give neither network, nor data, nor layer: all of these are choices of this page.
#
# * The trained networks learn to tell the six bundled photographs apart, from small crops (48 pixels; 64 in
#   the `paper` profile) of the left three quarters of each. Their width and their few training steps stand in
#   the captions. The crops measured here are larger, and partly overlap those trained on.
# * The reference runs measure two crops of each photograph that is large enough, `quick` one.
# * The ImageNet network was trained with zero padding and is only *run* with the others.
# * Pictures from a folder (`-p dataset`) are scaled to the size of a piece, which makes small ones smooth.
#
# First the pieces; then the two functions that hold the whole experiment: one runs a network and keeps the
# maps of some layers, the other cuts the window. If the control is what it claims to be, it does not depend
# on how the *piece* is padded, not even in the deepest layer; that is checked at once.

# %%
shared = experiments.padding_inputs(dataset, splits, workspace, schedule)
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
# [Border energy](../book/glossary.md#border-energy) is how much a map's outermost ring stands out from its interior; the
# claim is about its **excess** over true surroundings. With $m_c$ the mean of channel $c$ over the interior,
#
# $$ e(f) = \log_2 \frac{\langle (f_c - m_c)^2 \rangle_{\text{border}}}{\langle (f_c - m_c)^2 \rangle_{\text{interior}}},
# \qquad \text{excess} = e(f_\text{padded}) - e(f_\text{true}). $$
#
# An excess of 1 is a border with twice the energy it should have. It is 0 as well if the border is wrong but
# no more lively than it should be. *Padding error* sees that too: the energy of $f_\text{padded} -
# f_\text{true}$, by distance to the border, in units of the true map's variance. Where the interior of a map
# is constant, the excess is undefined; such a crop is left out for that layer, and counted.
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
runs = run_or_load(configs, seeds=range(seeds or preset["seeds"]), optional=workspace.on_file)
if runs:
    runs, _ = records.complete_seeds(runs, configs)
if files or workspace.on_file:
    runs += run_or_load([experiments.imagenet_config(shared)], seeds=[0], optional=True)
else:
    print("This run has no ImageNet network: there are no weights under the data root.")
reference = runs if workspace.is_reference and runs else records.reference("padding_artifacts", workspace)
parts = {"Reference runs": reference, "This run": [] if workspace.is_reference else runs}
parts = {name: part for name, part in parts.items() if part}
records.require(bool(parts), "padding_artifacts")
first = next(iter(parts.values()))   # what the text is about: the reference runs if there are any


def described(part):
    """Data, network, schedule, device and n of some runs, in words."""
    own = [run for run in part if run.config["net"] != "imagenet"]
    recipe = next(run.config["recipe"] for run in own if run.config["recipe"])
    crops = len(own[0].results["maps"][0]["excess"])
    return (f"{crops} crops of {style.label(own[0].config['dataset'])}, ResNet-18 of width {own[0].config['width']}, "
            f"{recipe['epochs'] * recipe['epoch_steps']:,} training steps, {records.origin(part)}, "
            f"n = {len({run.seed for run in own})}")


what = {name: described(part) for name, part in parts.items()}
for name, part in parts.items():
    accuracies = [run.results["accuracy"] for run in part if run.config["net"] == "trained"]
    print(f"{name}: {what[name]}; trained networks name the photograph of {min(accuracies):.0%} to "
          f"{max(accuracies):.0%} of {len(splits.test)} test crops (chance {metrics.chance(splits.test.labels):.0%})")

# %% [markdown]
# ## Lines
#
# *What to look for:* a frame along the edge of the map that the last column does not have. A thin one belongs
# to the mode; where the photograph itself has an edge there, the last column has it too.

# %%
columns = (*padding.PADDING_MODES, experiments.TRUTH)


def shown_maps(part):
    """The recorded maps of some runs, by network and by the mode it was trained with."""
    return {(run.config["net"], run.config["trained"]): run.results["example"]
            for run in part if "example" in run.results}


examples = shown_maps(first)
rows = {style.label(net): {name: examples[net, trained][name] for name in columns}
        for net, trained in (("random", None), ("imagenet", "zeros")) if (net, trained) in examples}
if len(parts) > 1:
    own = shown_maps(parts["This run"])["random", None]
    rows["random,\nthis run"] = {name: own[name] for name in columns}
page.show(show_images.feature_maps(rows), "01_lines", f"""One channel of the map at stride 4, for the same crop and the
same weights under each padding mode, and in true surroundings. The channel is the one in which zero padding is furthest
from the truth: the worst, not a typical one. Each row has one scale of grey. {next(iter(parts))}, unless the row says
otherwise.""", "Feature maps of one photograph in a row, one for each padding mode and one in true surroundings.",
          workspace=workspace)

pairs = {"own padding": {mode: examples["trained", mode][mode] for mode in padding.PADDING_MODES},
         "true surroundings": {mode: examples["trained", mode][experiments.TRUTH]
                               for mode in padding.PADDING_MODES}}
page.show(show_images.feature_maps(pairs), "01_lines_trained", f"""The same in four networks, each trained with the padding
mode above it and run with it (first row) and in true surroundings (second). In each, the channel that its own mode
changes most. {next(iter(parts))}.""",
          "Feature maps of four trained networks, padded above, in true surroundings below.", workspace=workspace)

# %% [markdown]
# These are single channels, chosen because they show a difference.
#
# ## How much, and how deep
#
# *What to look for:* points above the line, in every layer. Below the line, padding makes the border *calmer*
# than it should be.

# %%
def without_intervals_of_two(frame):
    """Leave out the intervals of fewer than three values, which would span anything."""
    bounds = frame[["low", "high"]].where(frame["n"] > 2)
    return frame.assign(**bounds)


scores = {name: experiments.excess_scores(part) for name, part in parts.items()}
by_depth = {name: without_intervals_of_two(experiments.excess_by_layer(part)) for name, part in scores.items()}
for name, part in scores.items():
    undefined = sum(score.excess is None for score in part)
    print(f"{name}: excess undefined for {undefined} of {len(part)} (a crop, a layer, a mode, a network), left out")

nets = list(by_depth[next(iter(parts))]["net"].unique())
fig, axes = plt.subplots(len(parts), len(nets), figsize=(2.9 * len(nets), 0.6 + 2.9 * len(parts)), sharex="col",
                         sharey=True, squeeze=False, layout="constrained")
for axes_row, (name, frame) in zip(axes, by_depth.items(), strict=True):
    for ax, net in zip(axes_row, nets, strict=True):
        of_net = frame[frame["net"] == net]
        if of_net.empty:
            ax.set_axis_off()
            continue
        figures.excess_by_depth(of_net, ax).tick_params(labelbottom=True)
        ax.set_title({"trained": "trained here"}.get(net, style.label(net)) if ax in axes[0] else "")
    axes_row[0].set_ylabel(f"{name}\nexcess (log2 ratio)")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=5)
page.show(fig, "01_border_energy", f"""Excess border energy by layer. Random and trained: mean over crops, then mean and
95 % interval (Student's t; none for two seeds) over n seeds, the crops held; each trained network is run with the mode it was trained with.
{"ImageNet: one network, interval over its crops; its first layer has no padding." if "imagenet" in nets else ""}
{". ".join(f"{name}: {words}" for name, words in what.items())}.""",
          "Excess border energy by layer, one line a padding mode, one panel a network.", workspace=workspace,
          data=pd.concat(frame.assign(runs=name) for name, frame in by_depth.items()))

# %%
per_network = {name: claims.excess_by_seed(part) for name, part in scores.items()}   # mean over crops and layers
summaries = {name: claims.summarise(part) for name, part in per_network.items()}
for name, summary in summaries.items():
    for net in ("random", "trained"):
        print(f"{name}, {net}: excess " + ", ".join(
            f"{style.label(row.padding_mode)} {row.mean:+.2f}" for row in summary if row.net == net and not row.minus))
    crops = pd.DataFrame(scores[name]).query("net == 'random' and padding_mode == 'zeros'")
    crops = crops.assign(crop=crops.groupby(["seed", "layer"]).cumcount()).groupby("crop")["excess"].mean()
    print(f"{name}, random, zero padding: the crops' own means go from {crops.min():+.2f} to {crops.max():+.2f}; "
          f"{(crops > 0).sum()} of {len(crops)} are above 0")
if reference:   # what the text below says
    own = {(row.net, row.padding_mode): row for row in summaries[next(iter(parts))] if not row.minus}
    for net in ("random", "trained"):
        assert own[net, "zeros"].low > claims.SMALLEST_EXCESS
        assert all(abs(own[net, mode].mean) < claims.SMALLEST_EXCESS for mode in ("reflect", "replicate"))
        assert own[net, "zeros"].mean > own[net, "circular"].mean

# %% [markdown]
# In the reference runs, zero padding makes the border stand out, in random networks and in trained ones;
# reflect and replicate padding hardly change its energy. Circular padding puts an edge where two sides of a
# photograph meet that do not fit; what an edge is worth depends on the kernels, and on average it is less
# than under zeros.
#
# But a border that is as lively as it should be need not be right. Hence the second measure:

# %%
curves = {}
for name, part in parts.items():
    errors = pd.DataFrame(experiments.error_scores(part))
    by = ["net", "layer", "padding_mode", "distance"]
    errors = errors.groupby(by, sort=False, as_index=False)["error"].mean()
    # a GPU may sum a crop and a piece in different orders
    rounding = max(1e-9 if run.source["device"].endswith("CPU") else 1e-6 for run in part)
    assert (errors["error"][errors["distance"] >= errors["layer"].map(experiments.REACH)] < rounding).all()
    curves[name] = errors

widest = 2 + max(frame["distance"].max() for frame in curves.values())
fig, axes = plt.subplots(2, 5, figsize=(8.7, 5), sharex="col", sharey=True, layout="constrained")
for frame, line in zip(curves.values(), ({}, {"linestyle": ":", "linewidth": 1}), strict=False):
    for (net, layer), rows in frame.groupby(["net", "layer"], sort=False):
        ax = axes[["random", "trained"].index(net), list(experiments.REACH).index(layer)]
        figures.error_by_distance(rows, ax, **line)
        ax.axvline(experiments.REACH[layer], color="0.7")
        ax.set(title=layer if net == "random" else "", xlim=(-2, widest))
for ax, net in zip(axes[:, 0], ("random", "trained"), strict=True):
    ax.set_ylabel(f"{net}\npadding error")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=4)
fig.supxlabel("distance to the border (pixels of the image)", fontsize="medium")
page.show(fig, "01_padding_error", f"""Padding error by distance to the border, mean over crops and seeds: solid, the
{" (dotted, the ".join(f"{name.lower()}: {words}" for name, words in what.items())}{")" * (len(what) - 1)}. A padding
error of 1 (grey, dotted) is as wrong as knowing only each channel's mean. The vertical line is how far padding *can*
reach by arithmetic (in layer4 farther than the crop has pixels); beyond it the error is 0 to within rounding; nothing below
$10^{{-9}}$ is drawn.""", "Padding error falls steeply with distance to the border, in ten panels, layer by layer.",
          workspace=workspace, data=pd.concat(frame.assign(runs=name) for name, frame in curves.items()))
at_border = {name: frame[frame["distance"] == 0].groupby("padding_mode", sort=False)["error"].agg(["min", "max"])
             for name, frame in curves.items()}
for name, errors in at_border.items():
    print(f"{name}, padding error in the outermost ring, over layers and networks: " + ", ".join(
        f"{style.label(mode)} {row['min']:.2f} to {row['max']:.2f}" for mode, row in errors.iterrows()))
if reference:   # what the text below says
    errors = at_border[next(iter(parts))]
    assert own["trained", "circular"].mean < claims.SMALLEST_EXCESS and errors.loc["circular", "min"] > 0.7
    assert errors.loc["zeros", "min"] > errors.loc[["reflect", "replicate"], "max"].max()

# %% [markdown]
# A border can be wrong without standing out. In the reference runs, networks trained with circular padding
# give the border about the energy it should have, and the outermost ring is about as wrong as if one knew
# only the channel's mean. Reflect and replicate padding guess best, and they do not guess exactly. Zero
# padding is both loud and wrong.
#
# The error ends where arithmetic says it must; how fast it falls on the way says how thin the band is in
# which it matters. After a total stride of 16, one ring of the map is a band of 16 pixels.
# [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation) report border effects that reach far; here one sees both how far, and how
# thin.
#
# ## A surprise: padding that is used on one side only
#
# A convolution with kernel $k$, stride $s$ and padding $p$ on each side makes $\lfloor (n + 2p - k) / s
# \rfloor + 1$ pixels of $n$. If the division leaves a remainder, $(n + 2p - k) \bmod s$ padded columns on the
# right are never read: the padding is **uneven**, as [Alsallakh et al. (2021)](../book/bibliography.md#alsallakh2021mind) point out. It happens at
# every even size, the usual ones included:

# %%
with torch.no_grad():
    for n in (8, 9):
        print(f"n = {n}: {(n + 2 - 3) % 2} left over\n{conv2d(torch.ones(1, 1, n, n), ones.weight, stride=2, padding=1)[0, 0].int().numpy()}")

# %% [markdown]
# At 8 pixels there is a frame on the left and on top, and none on the right and below. A ResNet has four such
# layers, one after the other. To see it cleanly, give a random one kernels that are their own mirror images:
# on a constant image its maps *must* be symmetric, unless the padding is not.

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
# One more pixel, and the frame is even. So the *size* of the picture decides whether left and right are
# treated alike: one to remember whenever a later page finds a difference between them.
#
# ## A control that could overturn the reading
#
# > **Is it the padding, or what the network made of it?**
# >
# > A network trained with zeros has had every chance to adapt to them. If the excess belonged to its *weights*,
# > it would stay when the same network is run with reflect padding, and a network trained with reflect padding
# > would not have it when run with zeros. If it belongs to the padding, columns differ below, and rows do not.

# %%
crossed, matrices = {}, {}
for name, part in per_network.items():
    crossed[name] = [row for row in part if row.net == "trained"]
    matrix = pd.DataFrame(crossed[name]).groupby(["trained", "padding_mode"])["excess"].mean().unstack()
    matrices[name] = matrix.loc[list(padding.PADDING_MODES), list(padding.PADDING_MODES)]
spread = "; ".join(f"{name.lower()} {matrix.std(axis=0).mean():.2f} and {matrix.std(axis=1).mean():.2f}"
                   for name, matrix in matrices.items())
fig, axes = plt.subplots(1, len(matrices), figsize=(4.6 * len(matrices), 3.4), squeeze=False, layout="constrained")
for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
    figures.mode_matrix(matrix, ax, "excess (log2 ratio)")
    ax.set_title(name)
page.show(fig, "01_swapped", f"""Excess border energy of networks trained with one mode and run with another, mean over
five layers, crops and seeds. Standard deviation down a column, over what a network was trained with, and along a row,
over what it is run with: {spread}.""", "Tables of excess border energy, four by four: trained with by run with.",
          workspace=workspace, data=pd.concat(matrix.assign(runs=name) for name, matrix in matrices.items())
          .reset_index())

# %% [markdown]
# The more the columns differ, and the less the rows do, the more the line is due to the padding itself. The
# control below compares the two seed by seed, and asks whether networks that never saw zeros in training draw
# the line when run with them.
#
# ## Against the paper

# %%
main, *others = parts
table = without_intervals_of_two(pd.DataFrame(summaries[main])).assign(paper="no number")
table = table[["net", "padding_mode", "minus", "paper", "mean", "low", "high", "n"]]
for name in others:
    own = pd.DataFrame(summaries[name])[["net", "padding_mode", "minus", "mean", "n"]]
    own = own.rename(columns={"mean": name.lower(), "n": "its n"})
    table = table.merge(own, on=["net", "padding_mode", "minus"], how="left")
table["padding_mode"] = table["padding_mode"].map(style.label)
page.table(table.rename(columns={"net": "network", "padding_mode": "padding", "mean": main.lower(), "low": "95 % low",
                                 "high": "95 % high"}), "01_excess",
           """Excess border energy (log2 ratio), mean over crops and five layers, with its 95 % interval (Student's t)
over n seeds: in every padding mode, and under zero padding minus that of another mode, seed by seed. The rule reads the
rows of zero padding.""", workspace=workspace, digits=2)
claim = claims.PADDING_ARTIFACTS
judged = {name: {claim: claim.judged(summaries[name], claims.scale(part), crossed[name])}
          for name, part in parts.items()}
none = claim.judged([], claims.scale([]))
page.against_paper(judged.get("Reference runs", {claim: none}), judged.get("This run", {}), "01_against_paper",
                   runs={"reference": what.get("Reference runs", "none on file"), "here": what.get("This run", "")},
                   workspace=workspace)

# %% [markdown]
# ## What it means, and what it does not
#
# * **Padding is input.** Nothing in these networks has to *learn* to see the border: a random one draws the
#   line, too. The later pages ask who reads it.
# * **"Line" covers two things.** Energy added at the border is a line one can see, and the claim is about it.
#   A border that is wrong without being livelier is a line one can only measure. Page 03 asks whether that is
#   enough to carry position.
# * **No padding is not no border.** The networks without padding at the start of this page told the two
#   places apart at least as far from the border as those with zero padding.
# * **A zero is a colour.** At the first layer the border stands out by how far the picture's edge is from the
#   mean colour, which is 0 after normalisation. So the excess differs from crop to crop, and the intervals
#   above, over seeds, do not cover that.
# * **Not done:** the slides' own networks and pictures, which they do not name; networks trained to the end
#   in `quick` and in the CPU reference runs; maximum pooling with padding, which fills with minus infinity
#   and belongs to no mode; and line artifacts without padding, where maps change their size.
#
# ## Summary
#
# * Two places that differ in nothing but their distance to the borders can be told apart after global average
#   pooling, with zero padding and without padding, up to a gap of $R - 2$ pixels and no farther; under
#   circular padding never.
# * A constant image gets a frame from zero padding alone; any other picture gets a wrong border from every
#   mode.
# * Excess border energy says whether a border stands out, padding error whether it is wrong: a border can be
#   wrong without being loud.
# * The error reaches no farther than the receptive field; at even sizes it is not the same on both sides.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > How far does padding reach into `layer1` and `layer2` of the ResNet-18, in pixels of the image? And for
# > which sizes of the image is its padding even in all layers?
# >
# > <details><summary>Solution</summary>
# >
# > A convolution adds $(k-1)/2$ of its own input pixels, each as large as the product of the strides before it.
# > `conv1`: 3. `layer1`: four 3×3 convolutions at stride 2, $3 + 4 \cdot 2 = 11$. `layer2`: one at stride 2 and
# > three at stride 4, $11 + 2 + 3 \cdot 4 = 25$. A remainder of 0 needs an odd size at every one of the four
# > halvings: $n = 16 m + 1$, as 129 and not 128, nor 224.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Partial convolution ([Liu et al., 2018](../book/bibliography.md#liu2018partial)) pads with zeros and multiplies each output by 9 over the number
# > of real pixels it saw. Write it for one layer. What does it make of a constant image, and which of the four
# > modes is it closest to in padding error?
# >
# > <details><summary>Solution</summary>
# >
# > `conv2d(x, w, padding=1) * 9 / conv2d(ones_like(x[:, :1]), ones(1, 1, 3, 3), padding=1)` for a layer without
# > bias. If all of a kernel's weights are equal, a constant image stays constant; in general it does not, since
# > the *weights* of the missing pixels are not 1/9 each. It replaces what is missing by the mean response of
# > what is there, so look at replicate padding first.
# >
# > </details>
#
# > **Exercise 3, to overturn the claim**
# >
# > The excess is an average over crops. Find crops whose excess under zero padding is *negative* (the records
# > hold every crop's value). What do they have in common, and could you choose ten photographs for which zero
# > padding draws no line?
# >
# > <details><summary>A hint</summary>
# >
# > Look at the contrast of the picture's own border and its distance from mean colour. A busy border has more
# > to lose by zeros than to gain.
# >
# > </details>

# %%
print(page.provenance(workspace, splits))
