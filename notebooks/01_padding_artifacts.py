# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Padding: what does a network see beyond the edge of the image?
#
# > **In short**
# >
# > A convolution applies the same kernel everywhere, and [global average pooling](../book/glossary.md#gap) (GAP)
# > averages over all positions. How can a network that ends in GAP still know where in the image something is?
# >
# > **It knows from the border. Zero padding marks the border of the feature maps even before any training, and
# > averaging does not remove the marks. Two places can be distinguished if a single receptive field reaches from the
# > image past the border, and not otherwise.** A network without padding can distinguish them up to the same distance;
# > with circular padding, which has no border, accuracy is at chance.
# >
# > ![Accuracy of distinguishing two places against the size of the canvas, for zero, no and circular padding](../figures/paper/01_two_places.png)
# >
# > *Caveats.* The networks are small and were trained on a CPU for a short time. The paper's slides name no network and
# > no data, and print no number, so their claim can at best be *reproduced on a substitute*. How much zero padding
# > changes the border depends on the photograph: of ten crops, it adds energy in six and removes some in the others.
# >
# > *Run it:* `./run_all.sh --only 01`, about two minutes on two cores.

# %% Parameters tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets and weights; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # photos | a folder of images under the data root; "" is photos
seeds = 0             # how many; 0 is the profile's number
schedule = ""         # long: the networks of the committed CPU run; "" is the profile

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
from contextlib import ExitStack
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from posenc_lib.claims import padding_artifacts as claims
from posenc_lib.claims.claim import RULED_OUT
from posenc_lib.experiments import padding_artifacts as experiments
from posenc_lib.experiments import two_places
from posenc_lib.measure import metrics
from posenc_lib.nets import classifiers, hooks, padding, pretrained
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures, interactive, page, style
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
# ## One digit, two places
#
# The authors' slides for [Islam et al. (2021)](../book/bibliography.md#islam2021global) introduce the question with
# two classes of images, and [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation) study the
# same effect. Each digit below occurs in both classes with the same pixels; only its place differs.

# %% Draw the figure
digits = inputs.load_for(workspace, "digits", size=two_places.SIDE, validation=0)
digit = digits.test.images[:1]
examples = {size: two_places.place(digit, size, two_places.centred_gap(size), 255.0)
            for size in (16, 28, 40)}
shown = {f"class {n + 1}": {f"{size} pixels": canvases[n][0].permute(1, 2, 0).numpy() / 255
                            for size, canvases in examples.items()} for n in (0, 1)}
fig = show_images.picture_grid(shown)
for ax in fig.axes:
    ax.spines[:].set_visible(True)
page.show(fig, "01_two_classes", f"""The two classes: a digit of
          {two_places.SIDE}×{two_places.SIDE} pixels at the centre of the top left or of the
          bottom right quadrant of a white canvas. The larger the canvas, the farther the digit is
          from the border.""",
          """A small digit at the top left of a white square and, below, at the bottom right, for
          three sizes.""", workspace=workspace)

# %% [markdown]
# The network is nearly as small as it can be: two convolutions, each with batch normalisation and a ReLU; the average
# over all positions; a linear layer with two outputs. It is built in three versions. With *zero padding*, convolutions
# read zeros beyond the edge. With *circular padding*, they read the opposite side of the image. With *no padding*, they
# read nothing, and every map is smaller than the one before.
#
# > **Make a guess**
# >
# > Up to what size of the canvas can each of the three networks distinguish the classes? And without padding, when no
# > values are made up beyond the edge, can the network know where the edge is?
#
# ### By hand: which units see both the digit and the border?
#
# A unit of the last map sees $R = 2r + 1$ pixels along each axis, its
# [receptive field](../book/glossary.md#receptive-field): $r$ on either side of its own position. With two 3×3
# convolutions, $r = 2$. Take one axis, and let $g$ be the gap between the border and the digit, in pixels. A unit at
# position $p$ sees the pixels $p - r$ to $p + r$.
#
# * **Zero padding.** The unit sees past the border if $p < r$, and it sees the digit if $p \ge g - r$. A unit that sees
#   both, and can respond to the combination, exists exactly if $g < 2r$. Otherwise some units see the digit and others
#   see the border. Both groups respond alike in both classes, so the average is the same.
# * **No padding.** Every unit sees pixels of the image only, but units exist only where their whole receptive field
#   lies inside it. A digit far from the border is seen by units that have it on their right *and* by units that have it
#   on their left. Near the left border, the $2r - g$ units that would have it farthest to their right are missing; near
#   the right border, their mirror images are. The average shows which are missing. So this network, too, can
#   distinguish the classes exactly if $g < 2r$.
# * **Circular padding.** There is no border, and the average is the same for every place.
#
# The prediction: with zero padding and without padding, the classes can be distinguished up to a gap of $2r-1=R-2$
# pixels. Beyond it, accuracy is at chance; with circular padding, it always is. What matters is the distance from the
# border, not the size of the canvas: the two places of a digit in a corner can be distinguished on a canvas of any
# size.
#
# That a network without padding still has access to the border is a point of
# [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation): close to the edge, some weights of a
# kernel are never applied. One detail matters. On a canvas whose value is 0, the zeros of the first layer continue the
# canvas without an edge, and the effect of zero padding reaches less far. Here the canvas is white, and white is not 0
# after normalisation.
#
# The prediction can be checked before any training. How much do the averages for the two places differ in a network
# with random weights, in double precision?

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
print(f"R = {two_places.receptive_field(c.kernel)} pixels; "
      "largest difference of the averages, by gap in pixels:")
print(pd.Series(apart).unstack().loc[list(two_places.PADDINGS)].map("{:.0e}".format).to_string())

# %% [markdown]
# ### Does training find the difference?
#
# Training does not have to find a difference that exists. So one network is trained for each padding, size and seed on
# digits at the centre of their quadrant, and another on digits in the corner. They are tested on other digits, each in
# both places, so chance is 50 %. Everything is repeated with 5×5 convolutions, where $R = 9$ instead of 5.
#
# *What to look for:* how close to the shaded sizes the curves stay at 100 %. At the shaded sizes, by the argument
# above, no network can do better than chance.

# %% Train and test
placing = "long" if profile == "paper" else schedule
placed = records.run_or_load("two_places", two_places.configs(placing, digits.fingerprint),
                             partial(two_places.run, splits=digits, device=workspace.device),
                             seeds=range(seeds or two_places.SCHEDULES[placing]["seeds"]),
                             workspace=workspace, optional=True)
on_file = records.reference("two_places", workspace)
reference_placed = (workspace.is_reference and placed) or on_file
parts = {"Reference runs": reference_placed, "This run": placed}
if workspace.is_reference:
    del parts["This run"]
places = {name: two_places.frame(part).replace({"padding": {"none": "without_padding"}})
          for name, part in parts.items() if part}
records.require(bool(places), "two_places")


# %% Draw the figure
def in_panel(rows, kernel, placement):
    return rows[(rows["kernel"] == kernel) & (rows["placement"] == placement)]


def networks(rows):
    """How many seeds a point of the figure has."""
    n = rows.groupby(["placement", "kernel", "padding", "size"])["seed"].nunique()
    return f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"


panels = [(3, two_places.CENTRED), (5, two_places.CENTRED), (3, two_places.CORNER)]
fig, axes = plt.subplots(len(places), 3, figsize=(8.7, 2.9 * len(places)), sharex="col",
                         sharey=True, squeeze=False, layout="constrained")
for axes_row, (name, rows) in zip(axes, places.items(), strict=True):
    for ax, (kernel, placement) in zip(axes_row, panels, strict=True):
        of_panel = in_panel(rows, kernel, placement)
        if of_panel.empty:
            ax.set_axis_off()
            continue
        hopeless = None
        if placement == two_places.CENTRED:
            hopeless = two_places.smallest_hopeless_size(kernel)
        figures.accuracy_by_size(of_panel, ax, hopeless)
        title = f"R = {two_places.receptive_field(kernel)}, {placement}"
        ax.set_title(title if ax in axes[0] else "")
        ax.tick_params(labelbottom=True)
    axes_row[0].set_ylabel(f"{name}\naccuracy (%)")
for column, panel in zip(axes.T, panels, strict=True):
    tried = in_panel(pd.concat(places.values()), *panel)["size"]
    if len(tried):
        column[0].set_xlim(tried.min() - 3, tried.max() + 3)
fig.supxlabel("side of the canvas (pixels)", fontsize="medium")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside upper center",
           ncols=4)
counts = "; ".join(f"{name.lower()}: {records.origin(parts[name])}, n = {networks(rows)} seeds"
                   for name, rows in places.items())
page.show(fig, "01_two_places", f"""Where no receptive field contains both the digit and
          what lies beyond the border (shaded, $g \\ge R - 1$), accuracy is at chance, 50 %, as
          predicted. Accuracy of distinguishing the two places, by size of the canvas and padding.
          Lines: means; marks: single seeds. On the right, the digit stays in the corner.
          {counts[0].upper() + counts[1:]}; width 8.""",
          """Accuracy against size of the canvas for zero, no and circular padding, in panels by
          receptive field.""", workspace=workspace,
          data=pd.concat(rows.assign(runs=name) for name, rows in places.items()))

# %% Make the table
largest = [two_places.largest_sizes(rows).assign(runs=name) for name, rows in places.items()]
sizes_table = largest[0].drop(columns="runs")
for name, part in zip(list(places)[1:], largest[1:], strict=True):
    added = part[["kernel", "padding", "largest", "n"]]
    added = added.rename(columns={"largest": name.lower(), "n": "its n"})
    sizes_table = sizes_table.merge(added, on=["kernel", "padding"], how="left")
sizes_table.insert(0, "receptive field",
                   sizes_table.pop("kernel").map(two_places.receptive_field))
sizes_table["padding"] = sizes_table["padding"].map(style.label)
sizes_table = sizes_table.rename(columns={"largest": next(iter(places)).lower()})
whole = sizes_table.columns.drop("padding")
sizes_table[whole] = sizes_table[whole].astype("Int64").astype(object)
page.table(sizes_table, "01_two_places_sizes", f"""Side, in pixels, of the largest canvas on which
           every network classifies at least 99 % of the test images correctly, with the digit at
           the centre of its quadrant; and the largest size that was run at which this is possible
           (predicted). A dash: at no size. Not every size was run.
           {counts[0].upper() + counts[1:]}.""",
           workspace=workspace, hidden=[name for name in ("n", "its n") if name in sizes_table])
for name, rows in places.items():
    beyond, within = rows[~rows["can_differ"]], rows[rows["can_differ"]]
    print(f"{name}: where it is impossible, accuracy is {beyond['accuracy'].min():.1f} to "
          f"{beyond['accuracy'].max():.1f} % and logits differ by at most "
          f"{beyond['difference'].max():.0e}; where it is possible, accuracy is "
          f"{within['accuracy'].min():.1f} to {within['accuracy'].max():.1f} %")

# %% Check the sentences above and below
if reference_placed:
    rows = two_places.frame(reference_placed)
    beyond, within = rows[~rows["can_differ"]], rows[rows["can_differ"]]
    assert (beyond["difference"] < 1e-4).all() and (beyond["accuracy"] - 50).abs().max() < 1
    assert set(rows.loc[rows["padding"] == "circular", "can_differ"]) == {False}
    assert (within["difference"] > 0.1).all()
    last = within["gap"] == within["kernel"].map(two_places.receptive_field) - 2
    at_limit = within[last & (within["padding"] == "zeros") & (within["kernel"] == 3)]
    assert (within.loc[~last | (within["padding"] == "none"), "accuracy"] >= 99).all()
    assert at_limit["accuracy"].min() < 99
    reached = two_places.largest_sizes(rows).set_index(["kernel", "padding"])["largest"].unstack()
    assert (reached["none"] >= reached["zeros"]).all()
    step = two_places.smallest_hopeless_size(3) - two_places.largest_sizes(rows)["predicted"].min()
    assert step == 4   # "four pixels of canvas later"

# %% [markdown]
# In the reference runs, the logits for the two places differ wherever the argument above allows it. On the next larger
# canvas, four pixels wider, they are equal to within rounding. Without padding, every network classifies correctly up
# to the last possible size, where a single row and column of units makes the difference. With zero padding, a unit has
# to respond to digit and border at once, and training does not always find the difference at that last size; on all
# smaller canvases it does. Two conclusions matter for the rest of the book:
#
# * **Global average pooling does not remove position.** It is enough that the border and the image come within a
#   receptive field of each other. The receptive field of page 03's ResNet-18 has 219 pixels, about as many as its
#   largest canvas.
# * **Removing the padding is not a control.** The border is still there. Circular padding is the control, because it
#   has no border.

# %% [markdown]
# ## What the paper claims
#
# How does the border show inside a network? The authors' slides for
# [Islam et al. (2021)](../book/bibliography.md#islam2021global) say that zero padding produces lines along the border
# of [feature maps](../book/glossary.md#feature-map), and print no number. So this page defines a measure and a rule for
# it, with the other padding modes for comparison. When the rule was fixed, the results of short CPU runs that are not
# on file were known; those of the reference runs were not.

# %% tags=["remove-input"]
page.claim_box(claims.PADDING_ARTIFACTS)

# %% [markdown]
# ## By hand: what convolutions read beyond the edge
#
# A 3×3 convolution centred on a corner pixel reads five pixels that are not part of the image. The
# [padding mode](../book/glossary.md#padding-mode) says which values take their place. In one dimension, with two pixels
# on each side:
#
# | mode | 1 2 3 4 becomes | in words |
# |---|---|---|
# | zero | 0 0 **1 2 3 4** 0 0 | zeros |
# | reflect | 3 2 **1 2 3 4** 3 2 | mirrored at the outermost pixel |
# | replicate | 1 1 **1 2 3 4** 4 4 | the outermost pixel repeated |
# | circular | 3 4 **1 2 3 4** 1 2 | the opposite side |
#
# Each mode is a rule for *which pixel to read*, so each is one line of arithmetic on indices. Write $i$ for a position
# that may lie outside $0 \dots n-1$:

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
page.show(show_images.padded_squares({mode: p.numpy() for mode, p in padded.items()}, margin=2),
          "01_modes", """A 4×4 image (framed) padded by two pixels in each of the four modes. Padded
          values are tinted in the colour of the mode, which is the same throughout the book.""",
          "Four 8 by 8 squares of numbers, each with the same 4 by 4 square in its middle.",
          workspace=workspace)

# %% [markdown]
# > **Make a guess**
# >
# > Take a constant image, 5×5 pixels of value 1, and a 3×3 kernel of ones. What is the output under each mode? And
# > under which modes could you see from the output alone where the border was?

# %%
constant, ones = torch.ones(1, 1, 5, 5), nn.Conv2d(1, 1, 3, padding=1, bias=False)
nn.init.ones_(ones.weight)
with torch.no_grad():
    answers = {mode: padding.set_padding_mode(ones, mode)(constant)[0, 0]
               for mode in padding.PADDING_MODES}
assert all((answers[mode] == 9).all() for mode in ("reflect", "replicate", "circular"))
page.show(show_images.padded_squares({mode: a.numpy() for mode, a in answers.items()}, margin=1),
          "01_constant", """Only zero padding changes a constant image at its border: the output
          of one convolution of ones, its border tinted. Under zero padding it sums six pixels
          instead of nine there, and four in the corners.""",
          "Four 5 by 5 squares: 4, 6 and 9 under zero padding, 9 everywhere under the others.",
          workspace=workspace)

# %% [markdown]
# Under zero padding the output shows where the border is. Under the other three a constant image stays constant through
# any number of layers. But photographs are not constant. On an image with content, *every* mode makes up values beyond
# the edge, and in a single layer they change the output at the edge and nowhere else. On noise:

# %%
torch.manual_seed(0)
conv, noise = nn.Conv2d(3, 8, 3, padding=1), torch.randn(1, 3, 12, 12)
with torch.no_grad():
    f = torch.stack([padding.set_padding_mode(conv, mode)(noise) for mode in padding.PADDING_MODES])
differs = ((f - f[0]).abs().amax((0, 1, 2)) > 1e-5).int()
assert not differs[1:-1, 1:-1].any()                  # the interior does not depend on the mode
assert differs.sum() == 12 * 12 - 10 * 10             # every pixel of the border does

# %% [markdown]
# ## The experiment
#
# To measure what padding changes, we need the map without that change. So every crop is cut out of the middle of a
# larger piece of a photograph. The network is given the whole piece, and the crop's window is cut out of the feature
# map: this is the map of the crop in its [true surroundings](../book/glossary.md#true-surroundings). The margin is
# wider than the reach of any unit's receptive field, and a multiple of the total stride, so the two maps lie on the
# same grid and differ *by padding alone*.
#
# **Networks.** The authors' ResNet-18 ([He et al. (2016)](../book/bibliography.md#he2016deep) without max-pool), random
# and trained; and an ImageNet SqueezeNet 1.1, which is part of a run only if its weights are under the data root.
# **Varied:** the padding mode. **Held fixed:** crops, weights (random and ImageNet), initial weights and schedule
# (trained).
#
# The slides name no network, data or layer, so all of these are choices of this page. The trained networks are small
# and learn to distinguish six photographs.
#
# <details><summary>Deviations from the paper, in full</summary>
#
# * The slides give no network, data or layer: all of these are choices of this page.
# * The trained networks learn to distinguish the six bundled photographs, from small crops (48 pixels; 64 in the
#   `paper` profile) of the left three quarters of each. The captions state their width and their number of training
#   steps. The crops measured here are larger, and partly overlap those trained on.
# * The reference runs measure two crops of each photograph that is large enough, `quick` one.
# * The ImageNet network was trained with zero padding and is only *run* with the other modes.
# * Images from a folder (`-p dataset`) are scaled to the size of a piece, which blurs small ones.
#
# </details>
#
# ## Build it
#
# First the pieces; then the two functions that the experiment needs: one runs a network and keeps the maps of some
# layers, the other cuts out the window. If the map in true surroundings is correct, it does not depend on how the
# *piece* is padded, not even in the deepest layer. The cell checks this.

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
    crop_map, piece_map = (maps(net, part, ["layer4"])["layer4"]
                           for part in (x[:1, :, inner, inner], x[:1]))
    deepest[mode] = window(piece_map, crop_map, 16), crop_map
torch.testing.assert_close(deepest["zeros"][0], deepest["circular"][0], rtol=1e-4, atol=1e-5)
in_truth, in_crop = (float((a - b).abs().max()) for a, b in zip(*deepest.values(), strict=True))
print(f"layer4 under zero and circular padding, largest difference: {in_crop:.2g} for the crop, "
      f"{in_truth:.2g} in true surroundings")

# %% [markdown]
# ### What is measured
#
# [Border energy](../book/glossary.md#border-energy) is how much a map's outermost ring stands out from its interior.
# The claim is about its **excess** over true surroundings. With $m_c$ the mean of channel $c$ over the interior,
#
# $$ e(f) = \log_2 \frac{\langle (f_c - m_c)^2 \rangle_{\text{border}}}{\langle (f_c - m_c)^2 \rangle_{\text{interior}}},
# \qquad \text{excess} = e(f_\text{padded}) - e(f_\text{true}). $$
#
# An excess of 1 is a border with twice the energy it should have. The excess is also 0 if the border is wrong but has
# the right energy. *Padding error* detects that case: the energy of $f_\text{padded} - f_\text{true}$, by distance to
# the border, in units of the true map's variance. Where the interior of a map is constant, the excess is undefined;
# such crops are left out for that layer, and their number is printed.
#
# One run is one network, evaluated under all four modes, including those that it was not trained with.

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

# %% Train and measure
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

# %% Collect the runs
on_file = records.reference("padding_artifacts", workspace)
reference = (workspace.is_reference and runs) or on_file
parts = {"Reference runs": reference, "This run": [] if workspace.is_reference else runs}
parts = {name: part for name, part in parts.items() if part}
records.require(bool(parts), "padding_artifacts")
first = next(iter(parts.values()))   # what the text is about: the reference runs if there are any


def described(part):
    """Data, network, schedule, device and n of some runs, in words."""
    own = [run for run in part if run.config["net"] != "imagenet"]
    recipe = next(run.config["recipe"] for run in own if run.config["recipe"])
    crops = len(own[0].results["maps"][0]["excess"])
    data, width = style.label(own[0].config["dataset"]), own[0].config["width"]
    return (f"{crops} crops of {data}, ResNet-18 of width {width}, "
            f"{recipe['epochs'] * recipe['epoch_steps']:,} training steps, {records.origin(part)}, "
            f"n = {len({run.seed for run in own})} seeds")


what = {name: described(part) for name, part in parts.items()}
for name, part in parts.items():
    accuracies = [run.results["accuracy"] for run in part if run.config["net"] == "trained"]
    print(f"{name}: {what[name]}; trained networks name the photograph of "
          f"{100 * min(accuracies):.0f} to {100 * max(accuracies):.0f} % of "
          f"{len(splits.test)} test crops "
          f"(chance {100 * metrics.chance(splits.test.labels):.0f} %)")

# %% [markdown]
# ## Lines along the border
#
# *What to look for:* lines of colour along the edge of the map. In each pair of rows, the upper one shows the map and
# the lower one the padded map minus the true one: red where padding makes the response too high, blue where it makes it
# too low. If the photograph itself has an edge at the border, the map in true surroundings shows it too, and the
# difference does not.

# %% Draw the figure
shown_layers = {name: layers[name] for name in ("conv1", "layer2", "layer4")}
piece_maps = maps(net, x[:1], shown_layers)
found = {mode: maps(padding.set_padding_mode(net, mode), x[:1, :, inner, inner], shown_layers)
         for mode in padding.PADDING_MODES}
rows, signed, outer = {}, [], {}
for layer, stride in shown_layers.items():
    truth = window(piece_maps[layer], found["zeros"][layer], stride)[0].cpu()
    change = (found["zeros"][layer][0].cpu() - truth).square().mean((-2, -1))
    channel = change.argmax()
    padded_maps = {mode: found[mode][layer][0, channel].cpu().numpy() for mode in found}
    true_map = truth[channel].numpy()
    rows[layer] = {**padded_maps, experiments.TRUTH: true_map}
    signed.append(f"{layer},\npadded − true")
    rows[signed[-1]] = {mode: values - true_map for mode, values in padded_maps.items()}
    outer[layer] = {mode: float(metrics.padding_error(found[mode][layer].cpu(), truth[None])[0])
                    for mode in found}
    least = min(outer[layer][mode] for mode in ("zeros", "circular"))
    assert least > max(outer[layer][mode] for mode in ("reflect", "replicate"))
numbers = "; ".join(f"{layer} " + ", ".join(f"{style.label(mode)} {error:.2f}"
                                            for mode, error in errors.items())
                    for layer, errors in outer.items())
page.show(show_images.feature_maps(rows, signed), "01_lines", f"""At every depth, zero and circular
          padding change the border more than reflect and replicate padding do: one crop with each
          padding mode and in true surroundings, in a ResNet-18 with random weights (width
          {preset.get("width", 64)}, n = 1, made on this page), and below it the padded map minus
          the true one, red above 0, blue below. Padding error of the outermost ring, all channels:
          {numbers}. At each depth the channel is the one that zero padding changes most, not a
          typical one. Each row has one scale.""",
          """Feature maps of one photograph at three depths, a column for each padding mode and
          one for true surroundings; below each row the difference from the truth, coloured along
          the border.""",
          workspace=workspace)

# %% [markdown]
# Try it: choose a padding mode and a layer.

# %% Make the frames
found = {mode: maps(padding.set_padding_mode(net, mode), x[:1, :, inner, inner], layers)
         for mode in padding.PADDING_MODES}
piece_maps, frames = maps(net, x[:1], layers), {}
for layer, stride in layers.items():
    truth = window(piece_maps[layer], found["zeros"][layer], stride)[0].cpu()
    differences = {mode: found[mode][layer][0].cpu() - truth for mode in found}
    channel = differences["zeros"].square().mean((-2, -1)).argmax()
    limit = 2 * differences["zeros"][channel].abs().max()
    for mode, difference in differences.items():
        shades = plt.cm.RdBu_r((0.5 + difference[channel] / limit).clamp(0, 1).numpy())
        frames[style.label(mode), layer] = shades[..., :3]
interactive.pictures(frames, ("padding", "layer"), """What padding changes, at every depth: the
    padded map minus the true one, for the same crop, network and channels as above; red above 0,
    blue below, on one scale for each layer.""")


# %% Draw the figure
def shown_maps(part):
    """The recorded maps of some runs, by network and by the mode it was trained with."""
    return {(run.config["net"], run.config["trained"]): as_arrays(run.results["example"])
            for run in part if "example" in run.results}


def as_arrays(example):
    return {name: np.array(values) for name, values in example.items()}


examples = shown_maps(first)
of_network = {mode: ("trained", mode) for mode in padding.PADDING_MODES}
of_network["ImageNet, zero"] = ("imagenet", "zeros")
padded, truth = {}, {}
for column, (of, mode) in of_network.items():
    if (of, mode) in examples:
        unit = examples[of, mode][experiments.TRUTH].max()
        padded[column] = examples[of, mode][mode] / unit
        truth[column] = examples[of, mode][experiments.TRUTH] / unit
rows = {"own padding": padded, "true\nsurroundings": truth,
        "padded − true": {column: values - truth[column] for column, values in padded.items()}}
beside = " and, on the right, an ImageNet SqueezeNet 1.1 with zero padding"
page.show(show_images.feature_maps(rows, ["padded − true"]), "01_lines_trained", f"""What padding
          changes in trained networks: four networks, each trained and run with the padding mode
          above it{beside * ("ImageNet, zero" in padded)} (n = 1 each). Maps at stride 4 of the same
          crop; in each network the channel that its own padding changes most, not a typical one.
          Unit: the highest response of that channel in true surroundings. {next(iter(parts))}, seed
          0.""",
          """Feature maps of trained networks, padded above, in true surroundings in the middle,
          and the difference below, coloured along the border.""", workspace=workspace)

# %% [markdown]
# These are single channels, chosen because they show a difference. The next two figures average over all channels and
# crops.
#
# ## How much, and how deep
#
# *What to look for:* points above the line, in every layer. Below the line, padding gives the border *less* energy than
# it should have.

# %% Draw the figure
def without_intervals_of_two(frame):
    """Leave out the intervals of fewer than three values, which would span anything."""
    bounds = frame[["low", "high"]].where(frame["n"] > 2)
    return frame.assign(**bounds)


scores = {name: experiments.excess_scores(part) for name, part in parts.items()}
by_depth = {name: without_intervals_of_two(experiments.excess_by_layer(part))
            for name, part in scores.items()}
for name, part in scores.items():
    undefined = sum(score.excess is None for score in part)
    print(f"{name}: excess undefined for {undefined} of {len(part)} "
          "combinations of crop, layer, mode and network, "
          "which are left out")

nets = list(by_depth[next(iter(parts))]["net"].unique())
fig, axes = plt.subplots(len(parts), len(nets), sharex="col", sharey=True, squeeze=False,
                         figsize=(2.9 * len(nets), 0.6 + 2.9 * len(parts)), layout="constrained")
for axes_row, (name, frame) in zip(axes, by_depth.items(), strict=True):
    for ax, of in zip(axes_row, nets, strict=True):
        of_net = frame[frame["net"] == of]
        if of_net.empty:
            ax.set_axis_off()
            continue
        figures.excess_by_depth(of_net, ax).tick_params(labelbottom=True)
        ax.set_title(style.label(of) if ax in axes[0] else "")
    axes_row[0].set_ylabel(f"{name}\nexcess (log2 ratio)")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside lower center",
           ncols=5)
summaries = {name: claims.summarise(claims.excess_by_seed(part)) for name, part in scores.items()}
of_zeros = ", ".join(f"{row.net} {row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
                     for row in summaries[next(iter(parts))]
                     if row.padding_mode == "zeros" and not row.minus)
of_imagenet = "ImageNet: one network, interval over its crops; its first layer has no padding."
page.show(fig, "01_border_energy", f"""Mean excess border energy under zero padding over all layers
          ({next(iter(parts)).lower()}): {of_zeros}. The panels show it by layer and padding mode.
          Random and trained: mean over crops, then mean and 95 % interval (Student's t; none for
          two seeds) over n seeds, with the crops fixed; each trained network is run with the mode
          it was trained with. {of_imagenet * ("imagenet" in nets)}
          {". ".join(f"{name}: {words}" for name, words in what.items())}.""",
          "Excess border energy by layer, one line per padding mode, one panel per network.",
          workspace=workspace,
          data=pd.concat(frame.assign(runs=name) for name, frame in by_depth.items()))

# %% Check the sentences above and below
per_network = {name: claims.excess_by_seed(part) for name, part in scores.items()}
for name, summary in summaries.items():
    for of in ("random", "trained"):
        of_modes = ", ".join(f"{style.label(row.padding_mode)} {row.mean:+.2f}"
                             for row in summary if row.net == of and not row.minus)
        print(f"{name}, {of}: excess {of_modes}")
    crops = pd.DataFrame(scores[name]).query("net == 'random' and padding_mode == 'zeros'")
    crops = crops.assign(crop=crops.groupby(["seed", "layer"]).cumcount())
    crops = crops.groupby("crop")["excess"].mean()
    print(f"{name}, random, zero padding: means of single crops range from {crops.min():+.2f} to "
          f"{crops.max():+.2f}; {(crops > 0).sum()} of {len(crops)} are above 0")
    if name == "Reference runs":
        assert ((crops > 0).sum(), (crops < 0).sum()) == (6, 4)
if reference:
    own = {(row.net, row.padding_mode): row for row in summaries["Reference runs"] if not row.minus}
    for of in ("random", "trained"):
        assert own[of, "zeros"].low > claims.SMALLEST_EXCESS
        assert all(abs(own[of, mode].mean) < claims.SMALLEST_EXCESS
                   for mode in ("reflect", "replicate"))
        assert own[of, "zeros"].mean > own[of, "circular"].mean

# %% [markdown]
# In the reference runs, zero padding makes the border stand out, in random networks and in trained ones. Reflect and
# replicate padding hardly change its energy. Circular padding joins two sides of a photograph that do not match, which
# makes an edge where they meet. How strong the response to that edge is depends on the kernels; on average, it is
# weaker than the response to zeros.
#
# But a border with the right energy can still be wrong, so there is a second measure:

# %% Draw the figure
curves = {}
for name, part in parts.items():
    errors = pd.DataFrame(experiments.error_scores(part))
    by = ["net", "layer", "padding_mode", "distance"]
    errors = errors.groupby(by, sort=False, as_index=False)["error"].mean()
    # a GPU may sum a crop and a piece in different orders
    rounding = max(1e-9 if run.source["device"].endswith("CPU") else 1e-6 for run in part)
    beyond = errors["distance"] >= errors["layer"].map(experiments.REACH)
    assert (errors["error"][beyond] < rounding).all()
    curves[name] = errors

widest = 2 + max(frame["distance"].max() for frame in curves.values())
fig, axes = plt.subplots(2, 5, figsize=(8.7, 5), sharex="col", sharey=True, layout="constrained")
looks = ({}, {"linestyle": ":", "linewidth": 1})
for frame, line in zip(curves.values(), looks, strict=False):
    for (of, layer), rows in frame.groupby(["net", "layer"], sort=False):
        ax = axes[["random", "trained"].index(of), list(experiments.REACH).index(layer)]
        figures.error_by_distance(rows, ax, **line)
        ax.axvline(experiments.REACH[layer], color="0.7")
        ax.set(title=layer if of == "random" else "", xlim=(-2, widest))
for ax, of in zip(axes[:, 0], ("random", "trained"), strict=True):
    ax.set_ylabel(f"{of}\npadding error")
fig.legend(*axes[0, 0].get_legend_handles_labels(), fontsize="small", loc="outside upper center",
           ncols=4)
fig.supxlabel("distance to the border (pixels of the image)", fontsize="medium")
drawn = "; dotted, ".join(f"{name.lower()} ({words})" for name, words in what.items())
page.show(fig, "01_padding_error", f"""Padding error falls to 0, to within rounding, at the distance
          that padding can reach, by arithmetic (vertical line; in layer4 it is larger than the
          crop). Lines: mean over crops and seeds; {drawn}. A padding
          error of 1 (grey, dotted) is the error of predicting each channel's mean. Nothing below
          $10^{{-9}}$ is drawn.""",
          """Padding error falls steeply with distance to the border, in ten panels, layer by
          layer.""",
          workspace=workspace,
          data=pd.concat(frame.assign(runs=name) for name, frame in curves.items()))

# %% Check the sentences below
at_border = {}
for name, frame in curves.items():
    by_mode = frame[frame["distance"] == 0].groupby("padding_mode", sort=False)["error"]
    at_border[name] = by_mode.agg(["min", "max"])
for name, errors in at_border.items():
    of_modes = ", ".join(f"{style.label(mode)} {row['min']:.2f} to {row['max']:.2f}"
                         for mode, row in errors.iterrows())
    print(f"{name}, padding error in the outermost ring, over layers and networks: {of_modes}")
if reference:
    errors = at_border["Reference runs"]
    assert own["trained", "circular"].mean < claims.SMALLEST_EXCESS
    assert errors.loc["circular", "min"] > 0.7
    assert errors.loc[["reflect", "replicate"], "min"].min() > 0.01
    assert errors.loc["zeros", "min"] > errors.loc[["reflect", "replicate"], "max"].max()

# %% [markdown]
# A border can be wrong without standing out. In the reference runs, networks trained with circular padding give the
# border about the right energy, and yet its error is about that of predicting each channel's mean, or larger. Reflect
# and replicate padding have the smallest error, but not 0. Zero padding has both an excess and a large error.
#
# The error ends at the distance that arithmetic predicts. How fast it falls before that shows how narrow the band is in
# which it matters. After a total stride of 16, one ring of the map is a band of 16 pixels.
# [Kayhan and van Gemert (2020)](../book/bibliography.md#kayhan2020translation) report border effects that reach far
# into the image. The figure shows both how far they reach and how weak they are there.
#
# ## Uneven padding: left and right are not always treated alike
#
# A convolution with kernel $k$, stride $s$ and padding $p$ on each side turns $n$ pixels into
# $\lfloor (n + 2p - k) / s \rfloor + 1$. If the division leaves a remainder, $(n + 2p - k) \bmod s$ padded columns on
# the right are never read: the padding is **uneven**, as
# [Alsallakh et al. (2021)](../book/bibliography.md#alsallakh2021mind) point out. It happens at every even size, the
# usual ones included:

# %%
with torch.no_grad():
    for n in (8, 9):
        summed = conv2d(torch.ones(1, 1, n, n), ones.weight, stride=2, padding=1)[0, 0]
        print(f"n = {n}: {(n + 2 - 3) % 2} left over\n{summed.int().numpy()}")

# %% [markdown]
# At 8 pixels there is a frame on the left and on top, and none on the right and at the bottom. A ResNet has four such
# layers in sequence. To isolate the effect, make the kernels of a random ResNet mirror-symmetric: on a constant image,
# its maps *must* then be symmetric, unless the padding is not.

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

# %% Draw the figure
fig, axes = plt.subplots(1, 2, figsize=(5.6, 2.8), layout="constrained")
for ax, (n, (picture, asymmetry)) in zip(axes, uneven.items(), strict=True):
    ax.imshow(picture, cmap="gray")
    digits_shown = "2f" if asymmetry > 0.01 else "0e"
    ax.set(xticks=[], yticks=[], title=f"{n} pixels")
    ax.set_xlabel(f"asymmetry {asymmetry:.{digits_shown}}")
    ax.spines[:].set_visible(True)
page.show(fig, "01_uneven", """At 128 pixels the frame is thicker on the left and on top; at 129
          pixels it is even. Mean map of layer3 on a constant image, zero padding, mirror-symmetric
          kernels (n = 1, random weights). Below each, the energy of the difference between the map
          and its mirror image, in units of the map's variance.""",
          """Two small maps of a constant image: the frame is thicker on the left and on top at
          128 pixels, even at 129.""", workspace=workspace)

# %% [markdown]
# With one more pixel the frame is even. So the *size* of an image decides whether a network treats left and right
# alike. Later pages return to this where they find a difference between the two sides.
#
# ## A control that could overturn the interpretation
#
# > **Is it the padding, or the learned weights?**
# >
# > A network trained with zeros could adapt to them. If the excess came from the *weights*, it would remain when the
# > same network is run with reflect padding, and a network trained with reflect padding would not have it when run with
# > zeros. If it comes from the padding, the excess differs more between the columns of the figure below than between
# > its rows.

# %% Draw the figure
crossed, matrices = {}, {}
modes = list(padding.PADDING_MODES)
for name, part in per_network.items():
    crossed[name] = [row for row in part if row.net == "trained"]
    matrix = pd.DataFrame(crossed[name]).groupby(["trained", "padding_mode"])["excess"].mean()
    matrices[name] = matrix.unstack().loc[modes, modes]
claim = claims.PADDING_ARTIFACTS
control = {name: claim.judge_control(part) for name, part in crossed.items()}
fig, axes = plt.subplots(1, len(matrices), figsize=(4.6 * len(matrices), 3.4), squeeze=False,
                         layout="constrained")
for ax, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
    figures.mode_matrix(matrix, ax, "excess (log2 ratio)")
    ax.set_title(name)
numbers = ". ".join(f"{name}: {evidence}" for name, (_, evidence) in control.items())
page.show(fig, "01_swapped", f"""Excess border energy of networks trained with one mode and run
          with another, mean over five layers, crops and seeds. {numbers}.""",
          "Tables of excess border energy, four by four: trained with by run with.",
          workspace=workspace,
          data=pd.concat(matrix.assign(runs=name)
                         for name, matrix in matrices.items()).reset_index())

# %% Check the sentences below
if reference:
    assert control["Reference runs"][0] == RULED_OUT

# %% [markdown]
# In the reference runs, the excess varies more with the padding that a network is run with than with the padding that
# it was trained with, and networks never trained with zeros show the line when they are run with zeros. So the control
# rules out the rival explanation that learned weights produce the line.
#
# ## Against the paper

# %% Make the table
def with_interval(row):
    interval = f" [{row.low:+.2f}, {row.high:+.2f}]" if row.n > 2 else ""
    return f"{row.mean:+.2f}{interval}".replace("-", "−")


table = pd.DataFrame(summaries[next(iter(parts))])[["net", "padding_mode", "minus"]]
for name in parts:
    column = pd.DataFrame(summaries[name])
    column = column.assign(**{name.lower(): [with_interval(row) for row in summaries[name]]})
    column = column.rename(columns={key: f"{name.lower()}, {key}"
                                    for key in ("mean", "low", "high", "n")})
    table = table.merge(column, on=["net", "padding_mode", "minus"], how="left")
hidden = [column for column in table if ", " in column]
table["padding_mode"] = table["padding_mode"].map(style.label)
table = table.rename(columns={"net": "network", "padding_mode": "padding"})
sizes = "; ".join(f"{name.lower()} {min(row.n for row in summaries[name])}" for name in parts)
page.table(table, "01_excess", f"""Excess border energy (log2 ratio), mean over crops and five
           layers, with its 95 % interval (Student's t) over seeds (n: {sizes}): in every padding
           mode, and under zero padding minus that of another mode, seed by seed. The rule uses the
           rows of zero padding. The paper prints no number.""",
           workspace=workspace, digits=2, hidden=hidden)

# %% Judge the claim
judged = {name: {claim: claim.judged(summaries[name], claims.scale(part), crossed[name])}
          for name, part in parts.items()}
none = claim.judged([], claims.scale([]))
page.against_paper(judged.get("Reference runs", {claim: none}), judged.get("This run", {}),
                   "01_against_paper", workspace=workspace,
                   runs={"reference": what.get("Reference runs", "none on file"),
                         "here": what.get("This run", "")})

# %% [markdown]
# ## What it means, and what it does not
#
# * **Padding acts as input.** No network has to *learn* to respond to the border: random networks show the line too.
#   Later pages examine whether networks use it.
# * **A wrong border need not be a visible line.** The claim is about visible lines, energy added at the border. A
#   border can also be wrong without added energy, and then only the padding error shows it. Page 03 tests whether that
#   is enough to encode position.
# * **Without padding there is still a border.** The networks without padding at the start of this page distinguished
#   the two places at least as far from the border as those with zero padding.
# * **Zero is a colour.** At the first layer, how much the border stands out depends on how far the colour at the
#   image's edge is from the mean colour, which is 0 after normalisation. So the excess differs from crop to crop. The
#   intervals above are over seeds and do not include this variation.
# * **Not done:** the slides' own networks and images, which they do not name; networks trained to convergence in
#   `quick` and in the CPU reference runs; max-pooling with padding, which fills with minus infinity and corresponds to
#   no mode; and line artifacts without padding, where maps change their size.
#
# ## Summary
#
# * Two places that differ only in their distances to the borders can be distinguished after global average pooling,
#   with zero padding and without padding, up to a gap of $R - 2$ pixels and no farther; with circular padding never.
# * On a constant image, only zero padding produces a frame. On other images, every mode generally makes the border
#   wrong.
# * Excess border energy measures whether a border stands out; padding error measures whether it is wrong. A border can
#   be wrong without standing out.
# * The error reaches no farther than the receptive field. At even sizes, it is not the same on both sides.
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > How far does the effect of padding reach in `layer1` and `layer2` of the ResNet-18, in pixels of the image? And for
# > which image sizes is its padding even in all layers?
# >
# > <details><summary>Solution</summary>
# >
# > A convolution adds $(k-1)/2$ of its own input pixels, each as large as the product of the strides before it.
# > `conv1`: 3. `layer1`: four 3×3 convolutions at stride 2, $3 + 4 \cdot 2 = 11$. `layer2`: one at stride 2 and three
# > at stride 4, $11 + 2 + 3 \cdot 4 = 25$. A remainder of 0 needs an odd size at every one of the four halvings:
# > $n = 16 m + 1$, as 129 and not 128, nor 224.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Partial convolution ([Liu et al., 2018](../book/bibliography.md#liu2018partial)) pads with zeros and multiplies each
# > output by 9 divided by the number of image pixels it reads. Write it for one layer. What is its output for a
# > constant image, and which of the four modes is closest to it in padding error?
# >
# > <details><summary>Solution</summary>
# >
# > `conv2d(x, w, padding=1) * 9 / conv2d(ones_like(x[:, :1]), ones(1, 1, 3, 3), padding=1)` for a layer without bias.
# > If all of a kernel's weights are equal, a constant image stays constant; in general it does not, since the *weights*
# > of the missing pixels are not 1/9 each. It replaces the missing response by the mean response to the pixels that
# > exist, so look at replicate padding first.
# >
# > </details>
#
# > **Exercise 3, to overturn the claim**
# >
# > The excess is an average over crops. Find crops whose excess under zero padding is *negative* (the records contain
# > every crop's value). What do they have in common, and could you choose ten photographs for which zero padding
# > produces no line?
# >
# > <details><summary>A hint</summary>
# >
# > Look at the contrast along the photograph's own border and its distance from the mean colour. Zeros remove more
# > energy from a high-contrast border than they add.
# >
# > </details>
