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
# > **The puzzle**
# >
# > Remove a hundred channels that "encode position" from a pedestrian detector, and it misses more people than after losing a hundred at random: 34.36 % instead of 31.92 %, says the paper. So detectors rely on position.
# >
# > Now shift every image by a single pixel, which removes nothing. How far does the same number move?

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # streets | camvid | citypersons | a folder with COCO-style json; "" is the profile's
detectors = ""        # of faster, cascade and csp, with commas, or all; "" is the profile's
schedule = ""         # on streets: long (larger images, half an hour) | many (five networks of CSP)
backbone = ""         # random | imagenet: what training starts from; "" is the profile's
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %%
from functools import partial
from types import SimpleNamespace

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
splits = inputs.load_for(workspace, dataset, boxes=True, size=size, seeds=scenes,
                         validation=0.0)   # nothing is selected on this page
train, test = splits.train, splits.test
configs = pedestrian_detection.configs(profile, dataset, splits.fingerprint, detectors, workspace.data,
                                       schedule=schedule, backbone=backbone, steps=steps)
one = configs[detectors[0]]
style.use_style()
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# [Islam et al. (2021)](../book/bibliography.md#islam2021global), supplement S4: three detectors on CityPersons ([Zhang et al., 2017](../book/bibliography.md#zhang2017citypersons)), each with nothing removed, with 100 random channels removed, and with the 100 of highest [flip response](../book/glossary.md#flip-response). The text
# calls the score mAP; the numbers of Table S1 are [miss rates](../book/glossary.md#miss-rate), lower is better.

# %%
page.claim_box(paper.PEDESTRIANS)

# %% [markdown]
# ## By hand: how many are missed
#
# A detector returns boxes with scores. The box with the highest score is matched first: it has *found* a person when the intersection of the two boxes is at least half of their union. Every further box on the same person is a false positive. People who are too small or too occluded for the set-up
# are *ignored*: missing them is no error, and neither is finding them. Lower the threshold on the score, and fewer people are missed, at the price of more false positives per image. The log-average miss rate is the geometric mean of the miss rate at nine such prices, from one false positive in 100 images to one per image ([Doll{\'a}r et al., 2012](../book/bibliography.md#dollar2012pedestrian)):
#
# $$ \mathrm{MR}^{-2} = \exp \Big( \tfrac{1}{9} \sum_{i=0}^{8} \ln m\big(10^{-2 + i/4}\big) \Big) . $$
#
# > **A guess to make**
# >
# > One image, two people, three boxes: score 0.9 on the first person, 0.8 on nobody, 0.7 on the second. The miss rate is 1/2 until one false positive per image is allowed, then 0. What is the geometric mean?

# %%
# (image, person, [left, top, width, height, visible, ignored])
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
# A single 0 makes the whole product 0, so on few or easy images the measure jumps. Where nobody is missed, this page counts *half a person*, half of the smallest possible step. The benchmark's own number, to its two decimals, is
# `miss_rate.miss_rate`; average precision is reported too.
#
# ## Build it
#
# **Three detectors**, built from torchvision and timm (`posenc_lib/nets/detectors.py`). *Faster R-CNN* ([Ren et al., 2015](../book/bibliography.md#ren2015faster)): a feature pyramid on a ResNet proposes boxes, and a second stage classifies and refines them. *Cascade R-CNN* ([Cai and Vasconcelos, 2018](../book/bibliography.md#cai2018cascade)) on HRNet ([Wang et al., 2021](../book/bibliography.md#wang2020deep)): three such stages, each requiring a better overlap.
# *CSP* ([Liu et al., 2019](../book/bibliography.md#liu2019high)): no proposals, only a map of centres and one of heights. Each goes *up* to a map *f*, whose channels are ranked and removed, and *down* from it to boxes.

# %%
few = test.take(slice(0, 2))
for kind in KINDS:
    settings = pedestrian_detection.SMOKE[kind].settings
    c = pedestrian_detection.DetectorConfig(profile=profile, dataset=dataset, data="", unit=one.unit,
                                            **settings)
    torch.manual_seed(0)
    net = pedestrian_detection.build(c).eval()
    with torch.no_grad():
        f, others = net.features(few.batch(torch.arange(2))[0])
    some = ablation.Ablation(torch.tensor([1, 3]))
    intact, _ = pedestrian_detection.sweep(net, few, [ablation.NOTHING, some])
    assert torch.equal(intact[0].boxes, net.decode(f, others, size)[0].boxes)
    assert some(f)[:, [1, 3]].abs().max() == 0
    print(f"{kind:8} f {tuple(f.shape)} (image, channel, row, col), and {len(others)} further maps; "
          f"boxes in the first image: {len(intact[0].scores)}")

# %% [markdown]
# ## The experiment
#
# **Ranked on training images, attacked on test images**, as on page 06: the channels of *f* by flip response; by RMS activation; by two other measures of position; the lowest flip response; uniform random sets, and *RMS-matched* random sets of channels that are not flip-ranked. Each set is set to zero, and the miss rate measured again.
#
# **The yardstick.** The same test images shifted by one pixel in each of four directions, with reflect padding; nothing is removed. What an ablation does beyond random sets has to exceed that to mean anything.
#
# **Deviations from the paper**
#
# * **Data.** CityPersons cannot be redistributed. `quick` and the CPU reference runs render their own street scenes, with everybody's box and visible fraction; riders are ignored, as in CityPersons. Folders with COCO-style boxes, CamVid and CityPersons can be read too (`-p dataset`).
#   Heights are in pixels of an image of 1,024 rows; on streets, where people stand nearer, in three of those.
# * **Networks.** `paper` has ResNet-50, HRNet-W32 and CSP on ResNet-50. `quick` and the CPU reference runs train ten-layer ResNets and a small HRNet of few channels from scratch; `quick` only CSP and Faster R-CNN. On folders, CSP runs on an ImageNet MobileNetV2. The paper states no schedule, so all schedules are ours. CSP's loss is slightly simpler than its source's (`detectors.CSP`).
# * **Which channels.** The paper does not say which layer. Here *f* is, for Faster R-CNN, the deepest map of the backbone; for HRNet, all its maps side by side; for CSP, the map that its head reads.
# * **How many.** The paper removes 100. Of Cascade R-CNN on HRNet these are presumably 100 of the 256 channels of the pyramid's output, which is 39 %. Here *f* has HRNet-W32's 480 channels, and 100 of them (`paper`) are 21 %. The small networks have about 100 channels in all, so 15 % are removed.
# * **Random sets and networks.** The paper has one random set and one network of each detector. Here there are several random sets; the captions give the number of networks.
# * **The score** is the benchmark's, except for two details that matter on small sets (`miss_rate.log_average`): half a person where nobody is missed, and 1 where even the highest-scored box is one false positive too many; there the script looks up the end of its list.

# %%
run = partial(pedestrian_detection.run, splits=splits, workspace=workspace)
seeds = range(seeds or pedestrian_detection.n_seeds(profile, schedule))
before = partial(pedestrian_detection.check_weights, tuple(configs.values()), workspace.data)
runs = records.run_or_load("pedestrian_detection", list(configs.values()), run, seeds=seeds,
                           workspace=workspace, before=before, optional=True)
if runs:
    runs, seeds = records.complete_seeds(runs, list(configs.values()))
reference = runs if workspace.is_reference and runs else records.reference("pedestrian_detection", workspace)


# %%
def evidence(name, runs):
    """What figures, tables and verdicts show: for each detector, the config of which most networks were run."""
    chosen = pedestrian_detection.most_networks(runs)
    runs = [run for of_it in chosen.values() for run in of_it]
    names = {run.digest: detector for detector, of_it in chosen.items() for run in of_it}
    rows, gaps, regions, shifts, points = (ablation.rows_of(runs, result, "detector", names) for result in (
        "rows", "gaps", "regions", "shifts", "operating_point"))
    used = {detector: pedestrian_detection.recorded(of_it[0]) for detector, of_it in chosen.items()}
    n = {detector: len(of_it) for detector, of_it in chosen.items()}
    main = next(iter(used.values())).fractions[0]
    what = []
    for detector, c in used.items():
        rows_, cols = pedestrian_detection.recorded_size(c)
        what.append(f"{style.label(detector)}, {style.label(c.dataset)}, {rows_}×{cols} pixels, "
                    f"{c.recipe.epochs * c.recipe.epoch_steps:,} steps of {c.recipe.batch_size}, "
                    f"{c.n_random_sets} random sets, {ablation.spread(n[detector])}")
    return SimpleNamespace(
        name=name, runs=runs, names=names, used=used, n=n, main=main, rows=rows, gaps=gaps, regions=regions,
        shifts=shifts, points=points, detectors=list(used), what="; ".join(what),
        pixel=pedestrian_detection.pixel_changes(rows, shifts),
        total={names[run.digest]: run.results["channels"] for run in runs},
        n_main=rows[rows["fraction"] == main].groupby("detector")["n"].first(),
        title=f"{name}: {style.label(next(iter(used.values())).dataset)}, {records.origin(runs)}")


shown = []   # the reference first
if reference:
    shown.append(evidence("Reference runs", reference))
if runs and not (workspace.is_reference and shown):
    shown.append(evidence("This run", runs))
records.require(shown, "the attack on a detector's channels")
first, here = shown[0], shown[-1] if runs else None
what = ". ".join(f"{part.name}: {part.what}" for part in shown)
for part in shown:
    print(f"{part.title}. {part.what}.")


def panels(height=3.4):
    """A row of panels for the reference, a lower one for this run, one per detector; (part, detector, ax)"""
    width = max(len(part.detectors) for part in shown)
    ratios = [1, 0.8][:len(shown)]
    fig, axes = plt.subplots(len(shown), width, figsize=(9.6, height * sum(ratios) + 0.6), sharey=True,
                             squeeze=False, layout="constrained", gridspec_kw={"height_ratios": ratios})
    used = []
    for part, of_part in zip(shown, axes, strict=True):
        for ax, detector in zip(of_part, part.detectors, strict=False):
            ablated = f"{part.n_main[detector]} of {part.total[detector]} channels"
            ax.set_title(f"{part.name}, n = {part.n[detector]}\n{style.label(detector)}, {ablated}", fontsize="small")
            used.append((part, detector, ax))
        for ax in of_part[len(part.detectors):]:
            ax.set_axis_off()
            ax.set_visible(False)
    return fig, used


def in_percent(summary):
    """Display names for kinds; intervals cut to 0 to 100."""
    return summary.assign(kind=summary["kind"].map(style.label), low=summary["low"].clip(0),
                          high=summary["high"].clip(upper=100))


def legend(fig, ax):
    fig.legend(*ax.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=4)


def text(row):
    """A mean with its interval, or the two values that there are."""
    bounds = "" if row["low"] != row["low"] else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['mean']:.1f}{bounds}"


# %% tags=["hide-input"]
kinds = ["nothing", "random", "flip", "rms_matched", "rms_activation", "shift", "decodability", "lowest_flip"]
tried = test.subsample(one.test_images)
if not isinstance(splits, imageset.StandIn):
    nothing = [shapes.Detections(torch.zeros(0, 4), torch.zeros(0))] * len(tried)
    n_people = {setup: int(miss_rate.match(tried.labels, nothing, s, unit=one.unit).people.sum())
                for setup, s in miss_rate.SETUPS.items()}
    print(f"This run: people to detect in {len(tried)} test images:", n_people)
tables = []
for part in shown:
    table = pedestrian_detection.rate_table(part.rows, part.main, part.detectors, kinds)
    table = table.merge(paper.TABLE_S1, how="left", on=["detector", "kind", "setup"])
    tables.append(table.assign(run=part.name))

# %% [markdown]
# ## What came out
#
# First a look at what is counted, with a detector of this run: test images, with the boxes of those who are to be detected and of those who are ignored, and what the detector finds.

# %%
records.require_data(splits)
records.require(runs, "the attack on a detector's channels in this profile")
a_run = next(r for r in runs if r.seed == seeds[0])
numbers = a_run.results["example_images"]
detected = {(row["kind"], row["image"]): row for row in a_run.results["examples"]}
columns = {"nothing": "detected", "flip": "without flip-ranked", "random": "without random"}
pictures = {number: tried.images[number].permute(1, 2, 0).numpy() / 255 for number in numbers}
fig = figures.picture_grid({str(number): dict.fromkeys(("image", "to detect", *columns.values()), picture)
                            for number, picture in pictures.items()})
for at, number in enumerate(numbers):
    labels = tried.labels[number][~tried.labels[number][:, 0].isnan()]
    styles = ["--" if ignored else "-" for ignored in labels[:, 5]]
    figures.boxes(fig.axes[5 * at + 1], labels[:, :4].numpy(), styles)
    for column, kind in enumerate(columns, start=2):
        row = detected[kind, number]
        figures.boxes(fig.axes[5 * at + column], np.array(row["boxes"]), scores=row["scores"])
detector = here.names[a_run.digest]
page.show(fig, "07_examples", f"""This run: test images by number. Second: everybody's box; dashed, who
          is ignored. Then what {style.label(detector)} detects (scores above 0.1, fainter the lower),
          with all channels, without the {here.n_main[detector]} of highest flip response, and without
          as many random ones (seed {seeds[0]}).""",
          "Rows of street scenes with boxes around people.", workspace=workspace)

# %% [markdown]
# **Table S1.** *What to look for:* the paper's claim is that the flip-ranked row lies above the random one, for every detector and set-up (its own CSP breaks it on Heavy). The dashes are the paper's numbers on CityPersons; with other networks and images only the *order* can agree. Then look at the grey band:
# as far as a shift by one pixel changes the miss rate, with nothing ablated.

# %%
fig, used = panels()
for part, detector, ax in used:
    of_part = tables[shown.index(part)]
    drawn = of_part[(of_part["detector"] == detector) & of_part["kind"].isin(kinds[:4])]
    drawn = drawn.sort_values("kind", key=lambda kind: kind.map(kinds.index), kind="stable")
    nothing = drawn[drawn["kind"] == "nothing"].set_index("setup")["mean"]
    change = part.pixel[detector][nothing.index]
    drawn = in_percent(drawn)
    show_figures.dots_by_group(drawn, "setup", "kind", ax, floor=0)
    ax.tick_params(axis="x", rotation=0)
    ax.set(ylim=(0, 103))
    ax.bar(np.arange(len(nothing)) + 0.2, 2 * change, 0.95, nothing - change, color="0.9", zorder=0)
    for n, (_, of_kind) in enumerate(drawn.groupby("kind", sort=False)):
        at = of_kind["setup"].map(list(nothing.index).index) + 0.2 * (n - 0.5)
        ax.hlines(of_kind["paper"], at - 0.09, at + 0.09, **style.PAPER)
    ax.get_legend().remove()
    if detector == part.detectors[0]:
        ax.set(ylabel="log-average\nmiss rate (%)")
legend(fig, used[0][2])
page.show(fig, "07_table_s1", f"""Miss rates by set-up with nothing ablated, and without channels
          selected in three ways. Dashed: the paper, 100 channels, CityPersons. Grey: nothing ablated,
          plus and minus the most that a shift by one pixel changes. {what}.""",
          "Dots of miss rates by set-up, one panel per detector.",
          workspace=workspace, data=pd.concat(tables))

# %%
key = ["detector", "setup", "kind"]
table = tables[0][tables[0]["kind"].isin(kinds[:3])]
table = table.assign(reference=[text(row) for _, row in table.iterrows()])
columns = ["paper", "reference", "n"]
if len(shown) > 1:
    this_run = tables[1].set_index(key)["mean"]
    table["this run"] = [this_run.get(tuple(row), np.nan) for row in table[key].to_numpy()]
    columns.append("this run")
page.table(table[[*key, *columns]].map(style.label).rename(columns={
    "setup": "set-up", "kind": "ablated", "reference": first.name.lower()}), "07_miss_rates",
    f"Table S1: log-average miss rate (%), lower is better. {what}.", workspace=workspace)

# %% [markdown]
# **Beyond what?** The gap between flip-ranked and uniform random sets, and between flip-ranked and *RMS-matched* random sets; and beside them the yardstick. *What to look for:* a gap that is larger than both of the last two columns, in every row of the flip-ranked.

# %%
by = ["detector", "kind", "against"]
table = pd.concat([ablation.gap_table(of_it, by, seed=int(of_it["seed"].min()))
                   for _, of_it in first.gaps.groupby("detector", sort=False)])
table["points"] = [text(row) for _, row in table.iterrows()]
table["pixel"] = [first.pixel[detector, "All"] for detector in table["detector"]]
table["spread"] = table["detector"].map(pedestrian_detection.random_spread(first.rows, first.main))
columns = ["points", "n", "bootstrap", "pixel", "spread"]
if len(shown) > 1:
    this_run = ablation.summarise(here.gaps, by, "value").set_index(by)["mean"]
    table["this run"] = [this_run.get(tuple(row), np.nan) for row in table[by].to_numpy()]
    columns.append("this run")
page.table(table[[*by, *columns]].map(style.label).rename(columns={
    "kind": "ablated", "against": "beyond", "points": first.name.lower(),
    "bootstrap": "one network, interval over images", "pixel": "one pixel, at most",
    "spread": "random sets differ by"}), "07_gaps",
    f"""Points of miss rate on All that an ablation costs beyond random sets, and beyond RMS-matched
    random sets: the reference runs, with the interval over networks where there are three or more; one
    network of them, with the 95 % interval of a bootstrap over images; how far a shift by one pixel
    changes the miss rate, at most; and how far apart the random sets of a network lie, at most. This
    run: the mean. {what}.""", workspace=workspace)
for part in shown:
    for detector, c in part.used.items():
        of_it = part.rows[part.rows["detector"] == detector]
        shared = ablation.overlaps(of_it, part.total[detector], [part.main])
        matched = shared.set_index("kind").loc["rms_matched"]
        found = "not counted" if matched["shared"] != matched["shared"] else f"{matched['shared']:.1f}"
        print(f"{part.name}, {style.label(detector)}: a uniform set of {matched['n']:.0f} shares "
              f"{matched['expected']:.1f} channels with the flip-ranked set on average; RMS-matched sets: "
              f"{found}{' (drawn from all channels)' if c.revision < 2 else ''}.")

# %% [markdown]
# **More and more channels.** *What to look for:* how many channels a detector can lose before the lines part, and which line is on top. If the flip response found the important channels, its line would be above all others, and that of the *lowest* flip response below them.

# %%
lines = ["nothing", "random", "flip", "rms_matched", "rms_activation", "shift", "lowest_flip"]
fig, used = panels()
drawn = []
for part, detector, ax in used:
    of_it = part.rows[part.rows["detector"] == detector]
    curve = pedestrian_detection.rate_curve(of_it, lines, part.used[detector].fractions, part.total)
    curve = curve.sort_values("kind", key=lambda kind: kind.map(lines.index), kind="stable")
    show_figures.curves(in_percent(curve), "percent", "kind", ax)
    ax.set(xlabel="channels ablated (%)", ylim=(0, 103))
    drawn.append(curve.assign(run=part.name))
    if detector == part.detectors[0]:
        ax.set(ylabel="miss rate, All (%)")
legend(fig, used[0][2])
page.show(fig, "07_removal",
          f"Miss rate against the fraction of channels ablated, by how they were selected. {what}.",
          "Miss rates as channels are ablated, one line per way to select them.",
          workspace=workspace, data=pd.concat(drawn))

# %% [markdown]
# **Where are they missed?** If the removed channels encoded *where*, some regions would suffer more than others. Each region is half of the image and is scored by itself, at the same numbers of false positives per image. Compare a region with its opposite, and the ablations with each other.

# %%
by = ["detector", "kind", "region"]
fig, used = panels()
drawn = []
for part, detector, ax in used:
    of_it = part.regions[part.regions["detector"] == detector].dropna(subset="value")
    per_seed = of_it.groupby([*by, "seed"], sort=False, as_index=False)["value"].mean()
    per_region = ablation.summarise(per_seed, by, "value")
    per_region = per_region.sort_values("kind", key=lambda kind: kind.map(lines.index), kind="stable")
    show_figures.dots_by_group(in_percent(per_region), "region", "kind", ax, floor=0)
    ax.set(ylim=(0, 103))
    ax.get_legend().remove()
    drawn.append(per_region.assign(run=part.name))
    if detector == part.detectors[0]:
        ax.set(ylabel="miss rate in the region,\nAll (%)")
legend(fig, used[0][2])
page.show(fig, "07_regions", f"""Miss rate by region of the image, with nothing, the flip-ranked, and
          random channels ablated. {what}.""",
          "Dots of miss rates for six regions.", workspace=workspace, data=pd.concat(drawn))
values = ["false_positives", "recall", "ap"]
tables_of_mistakes = []
for part in shown:
    per_seed = part.points.groupby(["detector", "kind", "seed"], sort=False, as_index=False)[values].mean()
    means = per_seed.groupby(["detector", "kind"], sort=False, as_index=False)[values].mean()
    tables_of_mistakes.append(means.assign(run=part.name.lower(), n=means["detector"].map(part.n)))
table = pd.concat(tables_of_mistakes)[["run", "detector", "kind", *values, "n"]]
page.table(table.map(style.label).rename(columns={
    "kind": "ablated", "false_positives": "false positives per image", "recall": "people found (%)",
    "ap": "AP at IoU 0.5 (%)"}), "07_mistakes",
    f"""At the score threshold that allows one false positive in ten training images: false positives
    and people found; and average precision, for which higher is better; means over networks. {what}.""",
    workspace=workspace, digits=2)

# %% [markdown]
# ## Controls that could overturn the reading
#
# > **Is it position that was removed?**
# >
# > All three are in [table 07_gaps](#tab-07_gaps).
# >
# > * **RMS-matched:** random sets with the RMS activations of the flip-ranked set. If they cost as much, activity is enough to explain the cost. They are drawn from channels that are not flip-ranked, as far as there are enough.
# > * **One pixel:** a shift that removes nothing. A cost that is no larger is no finding.
# > * **Other random sets:** how far random sets of the same size lie apart; the paper has one.
# >
# > The first two decide the control below.

# %% [markdown]
# ## Against the paper

# %%
claim = paper.PEDESTRIANS


def judge(part):
    """Judge the detectors with most networks."""
    most = [detector for detector in part.detectors if part.n[detector] == max(part.n.values())]
    gaps = part.gaps[part.gaps["detector"].isin(most)]
    judged = paper.gap_rows(gaps, part.pixel.xs("All", level="setup").to_dict())
    c = [part.used[detector] for detector in most]
    smallest = min(pedestrian_detection.recorded_size(one) for one in c)
    return most, claim.judged(judged, paper.scale(c, smallest, max(part.n.values())))


def tested(part):
    most, _ = judge(part)
    named = tuple(map(style.label, most))
    described = "; ".join(of_it for of_it in part.what.split("; ") if of_it.startswith(named))
    return f"{described}, {records.origin(part.runs)}"


by_part = {part.name: judge(part)[1] for part in shown}
none = claim.judged([], paper.scale(list(first.used.values()), size, 0))
page.against_paper({claim: by_part.get("Reference runs", none)},
                   {claim: by_part["This run"]} if "This run" in by_part else {}, "07_against_paper",
                   runs={"reference": tested(first) if reference else "none on file",
                         "here": tested(here) if here else "none"}, workspace=workspace)
print(page.provenance(workspace, splits))

# %% [markdown]
# ## What it means, and what it does not
#
# The cell below states the results in sentences made from the records.

# %%
def findings(part):
    """Sentences about each detector, from its rows."""
    summary = ablation.summarise(part.gaps, ["detector", "kind", "against"], "value")
    summary = summary.set_index(["detector", "kind", "against"])
    apart = pedestrian_detection.random_spread(part.rows, part.main)
    intact = part.rows[part.rows["kind"] == "nothing"].groupby("detector")["All"].mean()
    for detector in part.detectors:
        flip = summary.loc[detector, "flip", "random"]
        pixel = part.pixel[detector, "All"]
        beyond = "more" if flip["mean"] > pixel else "less"
        matched, active = (text(summary.loc[detector, kind, against])
                           for kind, against in (("flip", "rms_matched"), ("rms_activation", "random")))
        yield (f"{style.label(detector)} misses {intact[detector]:.0f} % on All with nothing removed. Removing the "
               f"channels of highest flip response costs {text(flip)} points beyond uniform random sets and "
               f"{matched} beyond RMS-matched ones, n = {part.n[detector]}; removing those of highest RMS "
               f"activation costs {active} beyond uniform ones. That of the flip-ranked is {beyond} than the "
               f"{pixel:.1f} points by which a shift by one pixel changes the miss rate at most. The random sets of "
               f"a network lie up to {apart[detector]:.1f} points apart; the paper's difference is "
               f"{paper.PRINTED[detector]:.2f}.")


for line in findings(first):
    print("*", line)

# %% [markdown]
# * **It depends on where the cut is.** Faster R-CNN reads several maps, and only the deepest loses channels; the others remain. CSP's head reads *f* and nothing else, so every ablation reaches all of what it reads. Cascade R-CNN is between the two: its *f* is four maps side by side. The paper does not say
#   which layer its 100 channels come from, so its table cannot be compared detector by detector. [figure 07_removal](#fig-07_removal) shows how differently the three respond.
# * **One random set says little.** Compare, in [table 07_gaps](#tab-07_gaps), how far random sets of one size lie apart with how far the flip-ranked set lies above their mean. The paper's table has a single random set and a single network.
# * **Nor does a difference of a point or two.** A shift by one pixel removes nothing, and changes the miss rate of the same detector ([table 07_gaps](#tab-07_gaps), grey in [figure 07_table_s1](#fig-07_table_s1)). That detectors are sensitive to shifts by a pixel is known ([Manfredi and Wang, 2020](../book/bibliography.md#manfredi2020shift)); a table of detectors needs it as a yardstick.
# * **Where an ablation is costly, what is lost?** Channels of high flip response are also active ones. If RMS-matched sets, and the channels of highest RMS activation or highest [shift response](../book/glossary.md#shift-response), cost much too, the head needs active channels; that they encode position does not follow. Position would show as a loss in one region
#   more than in its opposite ([figure 07_regions](#fig-07_regions)).
# * **Not shown:** CityPersons, and detectors at the paper's scale (`--profile paper`). Streets are rendered, and the detectors of `quick` miss nearly everybody before anything is removed ([table 07_miss_rates](#tab-07_miss_rates)), so the claim cannot be tested there; trained for longer (`-p schedule long`, `-p schedule many`) they miss fewer. A few dozen photographs (`-p dataset coco_person`) are too few to train a detector:
#   there the page only shows that it runs on real images.
#
# ## Summary
#
# * Whether flip-ranked channels are missed more than random ones is a question about the detector and the layer, and one network of each does not answer it.
# * The paper's differences, 0.77 to 2.44 points, come from one random set and one network of each detector. Its own CSP contradicts the claim on Heavy, and what its text calls mAP is a miss rate.
# * A benchmark number needs a yardstick: what else, that should not matter, changes it as far?
#
# ## Exercises
#
# > **Exercise 1, by pencil**
# >
# > A detector finds half of the people before its first false positive, and everybody after it, at one false positive in 10 images. What is its log-average miss rate, by the script and with half a person where there are 50?
# >
# > <details><summary>Solution</summary>
# >
# > The points below 0.1 are four: there the miss rate is 1/2. At the five others it is 0. By the script the product is 0. With half a person it is $(0.5^4 \cdot 0.01^5)^{1/9} \approx 0.057$.
# >
# > </details>
#
# > **Exercise 2, in code**
# >
# > Does the yardstick shrink with better training? Run the page with `-p schedule long -p detectors csp`, and compare the columns of [table 07_gaps](#tab-07_gaps).
# >
# > <details><summary>A start</summary>
# >
# > `./run_all.sh --only 07 -p schedule long -p detectors csp --out /tmp/long` takes some minutes, and keeps the run separate.
# >
# > </details>
#
# > **Exercise 3, to overturn the reading**
# >
# > A shift moves the image against the sampling grid of the strides. Give the detectors an anti-aliased backbone (page 05), so that a shift changes them less, and see whether the flip-ranked channels then stand out.
# >
# > <details><summary>A start</summary>
# >
# > In `detectors.backbone`, pass `aa_layer=timm.layers.BlurPool2d` to `timm.create_model` where `width` is given: the strided convolutions of the ResNet then blur before they subsample. Run the page with `--out`, so that the records stay separate, and compare the columns of
# > [table 07_gaps](#tab-07_gaps). If one pixel changes the miss rate by clearly less than the flip-ranked ablation costs, and RMS-matched sets cost less too, both rival explanations are ruled out.
# >
# > </details>
