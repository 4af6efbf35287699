# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Switch off channels of a pedestrian detector: whom does it miss?
#
# :::{admonition} The puzzle
# :class: puzzle
# Take a hundred channels that "know position" from a pedestrian detector, and it misses more people than after losing a hundred at random: 34.36 % instead of 31.92 %, says the paper. So detectors lean on position.
#
# Now shift every picture by a single pixel, which takes nothing away. How far does the same number move?
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # streets (embedded) | camvid | citypersons | a folder with COCO-style json (coco_person); "" is the profile's
detectors = ""        # of faster, cascade and csp, with commas, or all; "" is the profile's
schedule = ""         # long: larger pictures and a longer training on streets, for half an hour; "" is the profile's
backbone = ""         # random | imagenet: what training starts from; "" is the profile's
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from posenc_lib.base import shapes
from posenc_lib.claims import pedestrian_detection as paper
from posenc_lib.data import imageset
from posenc_lib.experiments import ablation, pedestrian_detection
from posenc_lib.measure import miss_rate
from posenc_lib.nets.detectors import KINDS
from posenc_lib.run import config, inputs, records
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import page, style

workspace = config.Workspace(profile, data_root, out)
dataset = dataset or ("citypersons" if profile == "paper" else "streets")
detectors = pedestrian_detection.parse_detectors(profile, dataset, detectors, schedule)
size, _, scenes = pedestrian_detection.preset(profile, dataset, detectors[0], schedule)
splits = inputs.load_for(workspace, dataset, boxes=True, size=size, validation=0.0,   # nothing is chosen on this page
                         seeds=scenes)
train, test = splits.train, splits.test
configs = pedestrian_detection.configs(profile, dataset, splits.fingerprint, detectors, workspace.data,
                                       schedule=schedule, backbone=backbone, steps=steps)
first = configs[detectors[0]]
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# {cite:t}`islam2021global`, supplement S4: three detectors on CityPersons {cite:p}`zhang2017citypersons`, each with nothing removed, with 100 random channels removed, and with the 100 of highest {term}`flip response`. The text
# calls the score mAP; the numbers of Table S1 are {term}`miss rates <miss rate>`, lower is better.

# %%
page.claim_box(paper.PEDESTRIANS)

# %% [markdown]
# ## By hand: how many are missed
#
# A detector returns boxes with scores. The best-scored box chooses first: it has *found* a person when the intersection of the two boxes is at least half of their union; every further box on the same person is a false positive. Whoever is too small or too hidden for the question
# asked is *ignored*: neither to be found nor a mistake. Lower the threshold on the score, and fewer people are missed at the price of more false positives per picture. The log-average miss rate is the geometric mean of the miss rate at nine prices from 1 in 100 pictures to 1 a picture {cite:p}`dollar2012pedestrian`:
#
# $$ \mathrm{MR}^{-2} = \exp \Big( \tfrac{1}{9} \sum_{i=0}^{8} \ln m\big(10^{-2 + i/4}\big) \Big) . $$
#
# :::{admonition} A guess to make
# :class: guess
# One picture, two people. Three boxes: score 0.9 on the first person, 0.8 on nobody, 0.7 on the second. The miss rate is 1/2 until one false positive per picture is allowed, then 0. What is the geometric mean?
# :::

# %%
# (picture, person, [left, top, width, height, visible, ignored])
two = torch.tensor([[[10.0, 10, 20, 50, 1, 0], [60, 10, 20, 50, 1, 0]]])
boxes = torch.tensor([[10.0, 10, 20, 50], [100, 10, 20, 50], [62, 10, 20, 50]])
three = shapes.Detections(boxes, torch.tensor([0.9, 0.8, 0.7]))
reasonable = miss_rate.SETUPS["Reasonable"]
matches = miss_rate.match(two, [three], reasonable)
print("right", matches.right.tolist(), "· MR-2 by the script", miss_rate.log_average(matches).item(),
      "· with half a person", round(miss_rate.log_average(matches, least=0.5).item(), 2))
without = miss_rate.match(two, [shapes.Detections(boxes[:2], three.scores[:2])], reasonable)
by_hand = np.exp(np.mean(np.log([0.5] * 9)))                          # the second person is never found
np.testing.assert_allclose(miss_rate.log_average(without), by_hand)
pd.DataFrame({name: {"height (pixels)": "{:g} to {:g}".format(*s.height),
                     "visible fraction": "{:g} to {:g}".format(*s.visible)}
              for name, s in miss_rate.SETUPS.items()}).T

# %% [markdown]
# A single 0 makes the whole product 0: the measure is harsh, and on few or easy pictures it jumps. Where nobody is missed, this page counts *half a person*, which is half of the smallest step there is. The benchmark's own number, to its two decimals, is
# `miss_rate.miss_rate`; average precision is there too, for those who prefer it.
#
# ## Build it
#
# **Three detectors**, made of parts of torchvision and timm (`posenc_lib/nets/detectors.py`). *Faster R-CNN* {cite:p}`ren2015faster`: a pyramid on a ResNet proposes boxes, a second stage judges and refines them. *Cascade R-CNN* {cite:p}`cai2018cascade` on HRNet {cite:p}`wang2020deep`: three such stages, each requiring a better overlap.
# *CSP* {cite:p}`liu2019high`: no boxes to begin with, only a map of centres and one of heights. Each goes *up* to a map *f*, whose channels are ranked and removed, and *down* from it to boxes.

# %%
few = test.take(slice(0, 2))
for kind in KINDS:
    settings = pedestrian_detection.SMOKE[kind].settings
    c = pedestrian_detection.DetectorConfig(profile=profile, dataset=dataset, data="", unit=first.unit, **settings)
    torch.manual_seed(0)
    net = pedestrian_detection.build(c).eval()
    with torch.no_grad():
        f, others = net.features(few.batch(torch.arange(2))[0])
    some = ablation.Ablation(torch.tensor([1, 3]))
    intact, _ = pedestrian_detection.sweep(net, few, [ablation.NOTHING, some])
    assert torch.equal(intact[0].boxes, net.decode(f, others, size)[0].boxes)
    assert some(f)[:, [1, 3]].abs().max() == 0
    print(f"{kind:8} f {tuple(f.shape)} (picture, channel, row, col), and {len(others)} further maps; "
          f"boxes in the first picture: {len(intact[0].scores)}")

# %% [markdown]
# ## The experiment
#
# **Ranked on training pictures, attacked on test pictures**, as on page 06: channels of *f* by flip response; by RMS activation; by two other measures of position; the lowest; random sets, 20 of them, or 8 in `quick` on streets, and *RMS-matched* random sets. Each set is set to zero, and the miss rate measured again.
#
# **The yardstick.** The same test pictures moved by one pixel to each of four sides, what comes in at the edge mirrored; nothing is removed. What an ablation does beyond random sets has to be larger than that to mean anything.
#
# **Deviations from the paper**
#
# * **Data.** CityPersons cannot be redistributed. `quick` draws its own streets, with everybody's box and how much of it is visible; riders are ignored, as in CityPersons. Folders with COCO-style boxes, CamVid and CityPersons are read where they lie (`-p dataset`).
#   Heights are in pixels of a picture of 1,024 rows; on streets, where people stand nearer, in three of those.
# * **Networks.** `paper` has ResNet-50, HRNet-W32 and CSP on ResNet-50. `quick` has ten-layer ResNets of few channels from nothing, CSP and Faster R-CNN only; on folders, CSP on a MobileNetV2 for ImageNet. All schedules are ours, the paper states none. CSP's loss is a little simpler than its source's (`detectors.CSP`).
# * **Which channels.** The paper does not say which layer. Here: of Faster R-CNN the deepest map of the backbone; of HRNet all its maps side by side; of CSP the map that its head reads.
# * **How many.** 100 in `paper`; small networks have about 100 channels in all or fewer, so 15 % of them.
# * **One random set** is what the paper has, of one network each. Here there are 20 sets, in `quick` on streets 8, and several networks.
# * **The score** is the benchmark's, but for two corners that matter on small sets (`miss_rate.log_average`): half a person where nobody is missed, and 1 where even the best box is a false positive too many, for which the script looks up the end of its list.

# %%
run = partial(pedestrian_detection.run, splits=splits, workspace=workspace)
seeds = range(seeds or (1 if schedule else pedestrian_detection.SEEDS[profile]))
before = partial(pedestrian_detection.check_weights, tuple(configs.values()), workspace.data)
runs = records.run_or_load("pedestrian_detection", list(configs.values()), run, seeds=seeds, workspace=workspace,
                           before=before)
runs, seeds = records.complete_seeds(runs, list(configs.values()))

# %% tags=["hide-input"]
names = {config.digest(c): detector for detector, c in configs.items()}
rows, gaps, regions, shifts, points = (ablation.rows_of(runs, name, "detector", names)
                                       for name in ("rows", "gaps", "regions", "shifts", "operating_point"))
main = first.fractions[0]
total = {names[r.digest]: r.results["channels"] for r in runs}
n_main = rows[rows["fraction"] == main].groupby("detector")["n"].first()
over = {1: "one network", 2: "mean of two networks, the line from one to the other"}.get(
    len(seeds), f"mean and 95 % interval (Student's t) over n = {len(seeds)} networks")
n_steps = sorted({c.recipe.epochs * c.recipe.epoch_steps for c in configs.values()})
n_test = first.test_images or ("all" if isinstance(splits, imageset.StandIn) else len(test))
what = (f"{dataset}, {size[0]}×{size[1]} pixels, {' to '.join(map(str, n_steps))} steps of "
        f"{first.recipe.batch_size}, {n_test} test pictures")
tried = test.subsample(first.test_images)
if not isinstance(splits, imageset.StandIn):
    nothing = [shapes.Detections(torch.zeros(0, 4), torch.zeros(0))] * len(tried)
    n_people = {setup: int(miss_rate.match(tried.labels, nothing, s, unit=first.unit).people.sum())
                for setup, s in miss_rate.SETUPS.items()}
    print(f"People to detect in {len(tried)} test pictures:", n_people, "· training pictures:", len(train))
kinds = ["nothing", "random", "flip", "rms_matched", "rms_activation", "shift", "decodability", "lowest_flip"]
table_s1 = pedestrian_detection.rate_table(rows, main, detectors, kinds)
table_s1 = table_s1.merge(paper.TABLE_S1, how="left", on=["detector", "kind", "setup"])
table_s1["reference"] = page.reference("07_table_s1", ["detector", "kind", "setup"], table_s1)

# %% [markdown]
# ## What came out
#
# First a look at what is counted: test pictures, with the boxes of those who are to be detected and of those who are ignored, and what a detector finds.

# %%
records.require_data(splits)
one = next(r for r in runs if r.seed == seeds[0])
shown = one.results["example_images"]
detected = {(row["kind"], row["image"]): row for row in one.results["examples"]}
columns = {"nothing": "detected", "flip": "without flip-ranked", "random": "without random"}
pictures = {number: tried.images[number].permute(1, 2, 0).numpy() / 255 for number in shown}
fig = figures.picture_grid({str(number): dict.fromkeys(("picture", "to detect", *columns.values()), picture)
                            for number, picture in pictures.items()})
for at, number in enumerate(shown):
    labels = tried.labels[number][~tried.labels[number][:, 0].isnan()]
    styles = ["--" if ignored else "-" for ignored in labels[:, 5]]
    figures.boxes(fig.axes[5 * at + 1], labels[:, :4].numpy(), styles)
    for column, kind in enumerate(columns, start=2):
        row = detected[kind, number]
        figures.boxes(fig.axes[5 * at + column], np.array(row["boxes"]), scores=row["scores"])
detector = names[one.digest]
page.show(fig, "07_examples", f"""Test pictures by number. Second: everybody's box; dashed, who is ignored. Then what
          {style.NAMES[detector]} detects (scores above 0.1, fainter the lower), with all channels, without the
          {n_main[detector]} of highest flip response, and without as many random ones (seed {seeds[0]}).""",
          "Rows of street pictures with boxes around people.", workspace=workspace)

# %% [markdown]
# **Table S1.** *What to look for:* the paper's claim is that the flip-ranked row lies above the random one, for every detector and set-up (its own CSP breaks it on Heavy). The dashes are the paper's numbers on CityPersons; with other networks and pictures only the *order* can agree. Then look at the grey band:
# as far as a shift by one pixel moves the detector, with nothing ablated.

# %%
pixel = pedestrian_detection.pixel_changes(rows, shifts)
width = len(detectors)
fig, axes = plt.subplots(1, width, figsize=(1.5 + 4.2 * width, 3.8), sharey=True, squeeze=False, layout="constrained")
for ax, detector in zip(axes[0], detectors, strict=True):
    drawn = table_s1[(table_s1["detector"] == detector) & table_s1["kind"].isin(kinds[:4])]
    drawn = drawn.sort_values("kind", key=lambda kind: kind.map(kinds.index), kind="stable")
    nothing = drawn[drawn["kind"] == "nothing"].set_index("setup")["mean"]
    change = pixel[detector][nothing.index]
    drawn = drawn.replace({"kind": style.NAMES})
    show_figures.dots_by_group(drawn, "setup", "kind", ax, floor=0)
    ax.set(title=f"{style.NAMES[detector]}, {n_main[detector]} of {total[detector]} channels", ylim=(0, 103))
    ax.bar(np.arange(len(nothing)) + 0.2, 2 * change, bottom=nothing - change, width=0.95, color="0.9", zorder=0)
    for n, (_, of_kind) in enumerate(drawn.groupby("kind", sort=False)):
        at = of_kind["setup"].map(list(nothing.index).index) + 0.2 * (n - 0.5)
        ax.hlines(of_kind["paper"], at - 0.09, at + 0.09, **style.PAPER)
    ax.get_legend().remove()
axes[0, 0].set(ylabel="log-average miss rate (%)")
axes[0, -1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
n_ablated = f"{main}" if main >= 1 else f"{100 * main:.0f} % of the"
page.show(fig, "07_table_s1", f"""Miss rates by set-up with nothing ablated, and without {n_ablated} channels, chosen in
          three ways ({what}); {over}; random sets: mean of {first.n_random_sets}. Dashed: the paper, 100 channels,
          CityPersons. Grey: nothing ablated, plus and minus the most that a shift by one pixel changes.""",
          "Dots of miss rates by set-up, one panel per detector.", workspace=workspace, data=table_s1)

# %%
table = table_s1[table_s1["kind"].isin(kinds[:3])].copy()
table["interval"] = ["–" if low != low else f"[{low:.1f}, {high:.1f}]"
                     for low, high in zip(table["low"], table["high"], strict=True)]
table = table[["detector", "setup", "kind", "paper", "reference", "mean", "interval", "n"]].replace(style.NAMES)
page.table(table.rename(columns={
    "setup": "set-up", "kind": "ablated", "reference": "reference run", "mean": "this run",
    "interval": "the two networks" if len(seeds) == 2 else "95 %"}), "07_miss_rates",
    f"Table S1: log-average miss rate (%), lower is better ({what}).", workspace=workspace)

# %% [markdown]
# **Beyond what?** The gap between flip-ranked and random sets, and between flip-ranked and *RMS-matched* random sets; and beside them the yardstick. *What to look for:* a gap that is larger than both of the last two columns, in every row of the flip-ranked.

# %%
table = ablation.gap_table(gaps, ["detector", "kind", "against"], seed=seeds[0])
table["pixel"] = [pixel[detector, "All"] for detector in table["detector"]]
table["spread"] = table["detector"].map(pedestrian_detection.random_spread(rows, main))
page.table(table.replace(style.NAMES).rename(columns={
    "kind": "ablated", "against": "beyond", "mean": "points", "low": "95 % low", "high": "95 % high",
    "bootstrap": f"seed {seeds[0]}, interval over pictures", "pixel": "one pixel, at most",
    "spread": "random sets differ by"}), "07_gaps",
    f"""Points of miss rate on All that an ablation costs beyond random sets, and beyond RMS-matched random sets
    ({what}); mean and 95 % interval (Student's t) over networks. Then the 95 % interval of a bootstrap over pictures
    for one network; how far a shift by one pixel moves a network, at most; and how far apart the random sets of a
    network lie, at most.""", workspace=workspace)

# %% [markdown]
# **More and more channels.** *What to look for:* how far a detector gets before the lines part, and which line is on top. If the flip response found what matters, its line would be above all others, and that of the *lowest* flip response below them.

# %%
lines = ["nothing", "random", "flip", "rms_matched", "rms_activation", "shift", "lowest_flip"]
curve = pedestrian_detection.rate_curve(rows, lines, first.fractions, total)
fig, axes = plt.subplots(1, width, figsize=(2 + 3.8 * width, 3.6), sharey=True, squeeze=False, layout="constrained")
for ax, detector in zip(axes[0], detectors, strict=True):
    drawn = curve[curve["detector"] == detector]
    drawn = drawn.sort_values("kind", key=lambda kind: kind.map(lines.index), kind="stable")
    show_figures.curves(drawn.replace({"kind": style.NAMES}), "percent", "kind", ax)
    ax.set(xlabel="channels ablated (%)", title=style.NAMES[detector])
axes[0, 0].set(ylabel="log-average miss rate, All (%)")
axes[0, -1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "07_removal", f"""Miss rate against the fraction of channels ablated, by how they were chosen ({what});
          {over}.""", "Miss rates rising as channels are ablated, one line per way to choose them.",
          workspace=workspace, data=curve)

# %% [markdown]
# **Where are they missed?** If the removed channels knew *where*, some regions would suffer more than others. Each region is half of the picture, so at the same number of false positives per picture it is judged by itself; compare a region with its opposite, and the removals with each other.

# %%
by = ["detector", "kind", "region"]
per_seed = regions.dropna(subset="value").groupby([*by, "seed"], sort=False, as_index=False)["value"].mean()
per_region = pedestrian_detection.summarise(per_seed, by, "value")
fig, axes = plt.subplots(1, width, figsize=(2 + 4 * width, 3.5), sharey=True, squeeze=False, layout="constrained")
for ax, detector in zip(axes[0], detectors, strict=True):
    drawn = per_region[per_region["detector"] == detector]
    drawn = drawn.sort_values("kind", key=lambda kind: kind.map(lines.index), kind="stable")
    show_figures.dots_by_group(drawn.replace({"kind": style.NAMES}), "region", "kind", ax, floor=0)
    ax.set(title=style.NAMES[detector])
    ax.tick_params(axis="x", rotation=30)
    ax.get_legend().remove()
axes[0, 0].set(ylabel="miss rate in the region, All (%)")
axes[0, -1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "07_regions", f"""Miss rate by region of the picture, with nothing, the flip-ranked, and random channels
          ablated ({what}); {over}.""", "Dots of miss rates for six regions.", workspace=workspace, data=per_region)
values = ["false_positives", "recall", "ap"]
per_seed = points.groupby(["detector", "kind", "seed"], sort=False, as_index=False)[values].mean()
table = per_seed.groupby(["detector", "kind"], sort=False, as_index=False)[values].mean()
page.table(table.replace(style.NAMES).rename(columns={
    "kind": "ablated", "false_positives": "false positives a picture", "recall": "people found (%)",
    "ap": "AP at IoU 0.5 (%)"}), "07_mistakes",
    f"""At the score that lets one in ten training pictures have a false positive: false positives and people found;
    and average precision, for which higher is better ({what}); means over n = {len(seeds)} networks.""",
    workspace=workspace, digits=2)

# %% [markdown]
# ## Controls that could overturn the reading
#
# :::{admonition} Is it position that was removed?
# :class: control
# All three are in {numref}`tab-07_gaps`. **RMS-matched:** random sets with the RMS activations of the flip-ranked set; if they cost as much, loudness is enough to explain the cost. Such a set may hold some of the flip-ranked channels, which makes the two alike, so a small gap decides nothing. **One pixel:** a shift that removes nothing; a cost that is no larger is no finding. **Other draws:** how far random
# sets of the same size lie apart: the paper has one. The first two decide the control below.
# :::
#
# ## Against the paper

# %%
claim = paper.PEDESTRIANS
judged = paper.gap_rows(gaps, pixel.xs("All", level="setup").to_dict())
tested = ", ".join(style.NAMES[detector] for detector in detectors)
scale = paper.scale(configs.values(), size, len(seeds))
page.against_paper({claim: claim.verdict(judged, scale)}, {claim: claim.control_outcome(judged, scale)},
                   "07_against_paper", f"{what}, {tested}, n = {len(seeds)} seeds", workspace=workspace)
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What it means, and what it does not
#
# * **It depends on where the cut is.** Faster R-CNN reads several maps, and only the deepest loses channels: the others carry on, and little changes, whoever chooses the channels. (On streets the short training of `quick` leaves it missing almost everybody, so it shows this only when trained for longer: `figures/cpu/07_removal.svg` in the repository.) CSP's head reads *f* and nothing else: there every removal is dear, and the ways to choose part company ({numref}`fig-07_removal`). Cascade R-CNN (`-p detectors all`) stands between them: its *f* is four maps side by side, and only losing half of it hurts. The paper does not say
#   which layer its 100 channels are of, so its table cannot be compared detector by detector.
# * **One draw says little.** Read along a row of {numref}`tab-07_gaps`: random sets of one size lie about as far apart as the flip-ranked set lies above their mean, or farther. The differences between the rows of the paper's table, of a single random set and a single network, are smaller than that.
# * **Nor does a difference of a point or two.** A shift by one pixel takes nothing away, and moves the same detector by nearly as much, or more ({numref}`tab-07_gaps`, grey in {numref}`fig-07_table_s1`). That detectors jump when a picture is shifted by a pixel is known {cite:p}`manfredi2020shift`; a table of detectors needs it as a yardstick.
# * **Where the cut is dear, what is missed?** In each CSP trained on streets so far the flip-ranked channels cost more than random ones, and more than RMS-matched random ones, by the interval over pictures; that over networks is wide, for there are two. But those of highest RMS activation, and those of highest {term}`shift response`, cost more than random ones too, on average over the networks; and the people who are lost then are lost in every region
#   ({numref}`fig-07_regions`), not on one side. That the channels know position does not follow; that the head needs them does.
# * **Not shown:** CityPersons, and detectors at the paper's scale (`--profile paper`). Streets are drawn, and the detectors of `quick` miss nearly everybody before anything is removed ({numref}`tab-07_miss_rates`), so the claim cannot be tested there; trained for longer (`-p schedule long`) they miss fewer. A few dozen photographs (`-p dataset coco_person`) do not make a detector:
#   there the page shows that it runs on real pictures, and how little so small a set can say.
#
# ## Summary
#
# * Whether the flip-ranked channels of a detector are missed more than random ones depends on the detector and on the layer: they are in CSP, whose head reads the cut layer alone, and hardly in Faster R-CNN, which has other maps to read.
# * The paper's differences are of the size that a shift by one pixel, or another random draw, makes too. Its own CSP contradicts the claim on Heavy, and what it prints as mAP is a miss rate.
# * A benchmark number needs a yardstick: what else, that should not matter, moves it as far?
#
# ## Exercises
#
# ::::{admonition} Exercise 1, by pencil
# :class: exercise
# A detector finds half of the people before its first false positive, and everybody after it, at one false positive in 10 pictures. What is its log-average miss rate, by the script and with half a person where there are 50?
#
# :::{admonition} Solution
# :class: dropdown
# The points below 0.1 are four: there the miss rate is 1/2. At the five others it is 0. By the script the product is 0. With half a person it is $(0.5^4 \cdot 0.01^5)^{1/9} \approx 0.057$.
# :::
# ::::
#
# ::::{admonition} Exercise 2, in code
# :class: exercise
# Does the yardstick shrink with better training? Run the page with `-p schedule long -p detectors csp`, and compare the last columns of {numref}`tab-07_gaps`.
#
# :::{admonition} A start
# :class: dropdown
# `./run_all.sh --only 07 -p schedule long -p detectors csp --out /tmp/long` takes some minutes, and keeps the run apart.
# :::
# ::::
#
# ::::{admonition} Exercise 3, to overturn the reading
# :class: exercise
# The shift moves the sampling grid of the strides. Give the detectors an anti-aliased backbone (page 05), so that a shift moves them less, and see whether the flip-ranked channels then stand out.
#
# :::{admonition} A start
# :class: dropdown
# In `detectors.backbone`, hand `aa_layer=timm.layers.BlurPool2d` to `timm.create_model` where `width` is given: the strided convolutions of the ResNet then blur before they skip. Run the page with `--out`, so that the records stay apart, and compare the last two columns of
# {numref}`tab-07_gaps`. If one pixel moves the detectors by clearly less than the flip-ranked ablation costs, and RMS-matched sets cost less than it too, both rival explanations are ruled out, and the reading here is overturned.
# :::
# ::::
