# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Shift a picture by a few pixels: is it still the same thing?
#
# :::{admonition} The puzzle
# :class: puzzle
# A convolution does the same everywhere, and averaging over space forgets where. So a network made of the two should say the same of a picture and
# of the picture three pixels further left.
#
# Ask one. It often changes its mind.
# :::

# %% tags=["parameters"]
profile = "quick"     # smoke | quick | paper
data_root = ""        # folder of data sets; "" is $POSENC_DATA, else data/
out = ""              # where records and figures go; "" is the project folder
dataset = ""          # e.g. "cifar10,cifar100": Table 2 of each, controls on the first; "" is the profile's
weights = ""          # lambdas to sweep, e.g. "0.01,1"; "" is the profile's
seeds = 0             # how many; 0 is the profile's number
steps = 0             # optimiser steps of each training; 0 is the profile's

# %%
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import conv1d, cross_entropy

from posenc_lib.base.draws import Draws
from posenc_lib.claims import augshift
from posenc_lib.data import bundled
from posenc_lib.experiments import augshift as experiments_augshift
from posenc_lib.measure import canvas, features, metrics
from posenc_lib.nets import pretrained
from posenc_lib.run import config, inputs, records, training
from posenc_lib.show import figures as show_figures
from posenc_lib.show import images as figures
from posenc_lib.show import page, style

workspace = config.Workspace(profile, data_root, out)
datasets = (dataset or ("cifar10,cifar100" if profile == "paper" else "digits")).split(",")
sets = {name: inputs.load_for(workspace, name, validation=0) for name in datasets}   # nothing is chosen on this page
style.use_style()
for splits in sets.values():
    print(page.provenance(workspace, splits))

# %% [markdown]
# ## What the paper claims
#
# {cite:t}`islam2021global` train a network to ignore shifts, {term}`AugShift`, and compare it with an ordinary network and with {term}`BlurPool` {cite:p}`zhang2019making`. The rules
# below were written before the run; those of the first and third claim were made stricter after it. They had asked for a gain at least as large as the paper's, which a network
# trained for minutes meets with a gain several times as large. When a control is *passed* was laid down last, with runs on CIFAR-10 at hand.

# %%
claims = (augshift.AUGSHIFT_CONSISTENCY, augshift.AUGSHIFT_ACCURACY, augshift.AUGSHIFT_BLURPOOL, augshift.AUGSHIFT_SHIFTS)
page.claim_box(*claims)

# %% [markdown]
# ## By hand: a pixel that blinks
#
# Padding is one reason why a shift matters: the border sees other things. Here is another that needs no border. A network halves its maps several times
# by keeping every second value (a *stride* of 2). Take a row of eight dark pixels with a single one of brightness 4.
#
# :::{admonition} A guess to make
# :class: guess
# Keep every second pixel, counted from 0, and add up what is kept. What is the sum when the bright pixel is number 2? When it is number 3? And if the
# row is blurred first, each pixel a quarter of its left neighbour, half of itself and a quarter of its right one?
#
# And {term}`consistency`, how often a network says the same of a picture in two places: five pictures are told 3, 1, 4, 1, 5 in one place and 3, 1, 4, 2, 6 in another. What
# is it? What is it for a network that says 7 whatever it sees?
# :::

# %%
row = torch.tensor([[[0.0, 0, 4, 0, 0, 0, 0, 0]]])
blur = torch.tensor([[[0.25, 0.5, 0.25]]])
for number, signal in ((2, row), (3, row.roll(1))):
    kept, blurred = (s[..., ::2].sum().item() for s in (signal, conv1d(signal, blur, padding=1)))
    print(f"bright pixel {number}: every second, summed {kept:.0f}; blurred first {blurred:.0f}")

here, there = torch.tensor([3, 1, 4, 1, 5]), torch.tensor([3, 1, 4, 2, 6])   # the class told
constant = torch.tensor([7, 7, 7, 7, 7])                                     # always the same
print("consistency", metrics.agreement(here, there), "· of one that always says 7:",
      metrics.agreement(constant, constant))

# %% [markdown]
# Under a stride the pixel blinks as it moves; blurred first, it does not. That is BlurPool, an old rule of sampling: *first blur, then skip*. It makes the network's
# parts behave. AugShift leaves the parts alone and trains the whole: it shows two shifted crops of each picture, asks for the same class, and for the same averaged
# channels. And a network that has learned nothing is perfectly consistent: consistency must be read *beside* accuracy, and beside a check that the latents have
# not *collapsed* to a point.
#
# ## Build it
#
# A shift uncovers a border, and something has to be shown there. The library's `canvas.shift` is one indexed read for a whole batch; by hand it is two loops:

# %%
def shift_by_hand(image, down, right, black):
    moved = black[:, None, None].expand_as(image).clone()
    rows, cols = image.shape[-2:]
    for r in range(rows):
        for c in range(cols):
            if 0 <= r - down < rows and 0 <= c - right < cols:
                moved[:, r, c] = image[:, r - down, c - right]
    return moved


train, test = sets[datasets[0]].train, sets[datasets[0]].test
images, labels = test.batch(torch.arange(4))
offset = torch.tensor([[0, 0], [3, -2], [-1, 5], [4, 4]])
by_hand = torch.stack([shift_by_hand(image, int(down), int(right), test.black)
                       for image, (down, right) in zip(images, offset, strict=True)])
assert torch.equal(canvas.shift(images, offset, colour=test.black), by_hand)

# %%
photograph = bundled.photographs()["cat"][:, :, 40:216, 120:296].float() / 255   # 128 pixels, and 24 on each side
window = canvas.shift(photograph, torch.zeros(1, 2, dtype=torch.long), "true", side=128)
pictures = {"as it is": window}
for fill in canvas.FILLS:
    source, side = (photograph, 128) if fill == "true" else (window, None)
    pictures[f"{fill.replace('zeros', 'black')} fill"] = canvas.shift(source, torch.tensor([[-16, 24]]), fill, side=side)
fig = figures.picture_grid({"": {name: picture[0].permute(1, 2, 0) for name, picture in pictures.items()}})
page.show(fig, "05_fills_shown", """One photograph, and the same moved 16 pixels up and 24 to the right, with four ways to fill what comes into view. Only *true*
          invents nothing: it needs a larger picture.""",
          "Five photographs of a cat: in the middle, and shifted with black, mirrored, wrapped-around and true surroundings.", workspace=workspace)

# %% [markdown]
# The loss. Two crops $x_1, x_2$ of a picture with label $t$ go through one network; $z$ is its {term}`pooled latent`, $y$ its answer:
#
# $$ L = \tfrac{1}{2}\,\big(\mathrm{CE}(y_1, t) + \mathrm{CE}(y_2, t)\big) + \lambda\,\mathrm{MSE}(z_1, z_2). $$

# %%
def setting(name, **given):
    """The configuration of one network; what is not given is the profile's."""
    preset = experiments_augshift.preset(profile, name)
    preset.pop("sweep")
    side = sets[name].train.images.shape[-1]
    recipe = replace(preset.pop("recipe"), flip=name != "digits")      # a mirrored digit is another sign
    recipe = replace(recipe, epochs=8, epoch_steps=-(-steps // 8)) if steps else recipe
    given = {"shift": side // 4, "tested": tuple(side * n // 8 for n in (2, 1, 3, 4)), "recipe": recipe, **given}
    return experiments_augshift.AugShiftConfig(profile=profile, dataset=name, data=sets[name].fingerprint, **{**preset, **given})


c = setting(datasets[0], method="augshift", width=4)
net, draws = experiments_augshift.build(c, len(train.classes)).eval(), Draws(seed=0)
x1, x2 = experiments_augshift.views(c, images, draws, colour=train.black)
(z1, y1), (z2, y2) = net(x1), net(x2)
by_hand = (cross_entropy(y1, labels) + cross_entropy(y2, labels)) / 2 + c.weight * ((z1 - z2) ** 2).mean()
torch.testing.assert_close(experiments_augshift.objective(c, net, [x1, x2], labels), by_hand)

# %% [markdown]
# An identity to hold on to: under *circular* padding and circular fill, a shift by a multiple of the network's {term}`total stride` (8) only turns its last maps, and the average of a
# turned map is the same. Such a network agrees with itself in 100 % of such cases, trained or not. Shifts in between still make pixels blink.

# %%
STRIDE = 8          # of cifar_resnet18
for method in ("baseline", "circular"):
    torch.manual_seed(0)
    still = experiments_augshift.build(replace(c, method=method), len(train.classes)).eval()
    for step in (STRIDE, 1):
        found = experiments_augshift.consistency(still, test.subsample(100), STRIDE, "circular", step=step)
        print(f"{method:9s} shifts by {'multiples of 8' if step == STRIDE else 'up to 8 pixels'}: latents moved by "
              f"{found['moved']:.1e} of their variance, agreement {found['agreement']:.0%}")

# %% [markdown]
# ## The experiment
#
# **Varied:** the method, a value (`augshift.METHODS`). **Held:** network, optimiser, steps, images a step, seed by seed. **Measured** on test images: top-1 accuracy in the middle, and
# Cons.N, the agreement of two views, each moved by its own random shift of up to N pixels up or down and left or right, the same shifts for every network. Black fills the border.
# No image is held out for choices, because none is made here: every weight that was run is shown.
#
# **Deviations from the paper**
#
# * **What is not known.** The public text has no equation, weight, crop size nor schedule for AugShift, and the code was never released. Chosen here: the loss above, λ = 0.1, crops
#   moved by up to a quarter of the side (8 pixels on CIFAR) with black behind them. λ is swept below.
# * **The shift of Cons.N.** "Up to N pixels" may mean each of two views, or the distance between them. Here it is each view. (The 32 offsets of antialiased-cnns are N = 16 in these terms.)
# * **Scale.** `quick` trains a ResNet-18 of width 8 for 80 steps of 64 digits, or 640 steps on other sets; at 16 pixels a digit's Cons.4 stands for Cons.8.
#   `paper` trains width 64 for 200 epochs. ImageNet has a command of its own (see below).
# * **The baseline sees no crops**, only mirrored images (digits: not even those), because a random crop *is* a shift: it gets rows of its own among the controls.
# * **BlurPool** is timm's (binomial, 3 taps, reflecting), with a 2×2 average in the shortcuts. Both views of a step share one batch normalisation.

# %%
black = {name: splits.train.black.to(workspace.device) for name, splits in sets.items()}


def batch_loss(c, net, images, labels, draws):
    return experiments_augshift.objective(c, net, experiments_augshift.views(c, images, draws, colour=black[c.dataset]), labels)


@torch.no_grad()
def location_accuracy(c, net):
    """Page 03's question to a network that was never asked it: a linear reader of z, tried on new images, 9 cells."""
    train, test = sets[c.dataset].train, sets[c.dataset].test
    encoder = pretrained.Encoder(net, ("net.layer4",), train.mean, train.std)
    z = []
    for part, n in ((train, c.probe_images), (test, c.probe_images and c.probe_images // 2)):
        (latents,), cell, _ = features.pooled_latents(encoder, part.subsample(n).to(workspace.device), 3)
        z.append((latents.cpu().numpy(), cell.cpu().numpy()))
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(*z[0])
    return float(reader.score(*z[1]))


# %%
@torch.no_grad()
def examine(c, net):
    """Everything that is asked of a network on test images."""
    tested = sets[c.dataset].test.subsample(c.test_images).to(workspace.device)
    told, z = experiments_augshift.predict(net, tested, torch.zeros(len(tested), 2, dtype=torch.long, device=workspace.device))
    right = told == tested.labels
    found = {"top1": float(right.double().mean()), "norm": float(z.norm(dim=1).mean()), "rank": metrics.effective_rank(z),
             "shifts": {n: experiments_augshift.consistency(net, tested, n, right=right) for n in c.tested}}
    if len(c.tested) > 1:     # how the border is filled: a smaller window, so that true surroundings are there for all
        side = tested.images.shape[-1]
        n, inner = side // 8, side - 2 * (side // 8)
        window = replace(tested, images=tested.images[..., n:-n, n:-n])
        found["fills"] = {fill: experiments_augshift.consistency(net, tested if fill == "true" else window, n, fill, side=inner)
                          for fill in canvas.FILLS}
        found["strides"] = {step: experiments_augshift.consistency(net, tested, STRIDE, "circular", step=step) for step in (1, STRIDE)}
    return found


def run(c, seed, checkpoint):
    torch.manual_seed(seed)
    net = experiments_augshift.build(c, len(sets[c.dataset].train.classes)).to(workspace.device).eval()
    untrained = location_accuracy(c, net) if c.probe_images != 0 and c.method == "baseline" else None
    history = training.fit(net, sets[c.dataset].train, partial(batch_loss, c), c.recipe, seed=seed, checkpoint=checkpoint)
    trained = location_accuracy(c, net) if c.probe_images != 0 else None
    return {**examine(c, net), "loss": history[-1]["loss"], "location": trained, "location_untrained": untrained}


# %%
first = datasets[0]
plain, side = setting(first), sets[first].train.images.shape[-1]
longer = replace(plain.recipe, epochs=2 * plain.recipe.epochs)
TABLE2 = ("baseline", "augshift", "blurpool")
shown = {"two crops": "crops", "BlurPool + AugShift": "blurpool+augshift", "circular padding": "circular"}
sweep = [float(w) for w in weights.split(",")] if weights else experiments_augshift.preset(profile, first)["sweep"]
rows = {(name, style.NAMES.get(method, method)): setting(name, method=method) for name in datasets for method in TABLE2}
rows |= {(first, label): setting(first, method=method) for label, method in shown.items()}
light = {"probe_images": 0, "tested": plain.tested[:1]}
rows |= {(first, "baseline, twice as long"): setting(first, method="baseline", recipe=longer, **light),
         (first, f"one crop, {side // 8} pixels"): setting(first, method="crop", shift=side // 8, **light),
         (first, "MSE without crops"): setting(first, method="mse-only", **light),
         (first, "random padding"): setting(first, method="random-padding", **light)}
rows |= {(first, f"AugShift, λ = {w:g}"): setting(first, method="augshift", weight=w, **light) for w in sweep}
seeds = range(seeds or config.SEEDS[profile])
runs = records.run_or_load("augshift", list(rows.values()), run, seeds=seeds, workspace=workspace, side_by_side=4)
runs, seeds = records.complete_seeds(runs, list(rows.values()))

# %%
where = {config.digest(c): key for key, c in rows.items()}
found = []
for r in runs:
    dataset, method = where[r.digest]
    numbers = {"top1": r.results["top1"], **{f"cons{n}": s["agreement"] for n, s in r.results["shifts"].items()}}
    found += [{"dataset": dataset, "method": method, "backbone": r.config["backbone"], "seed": r.seed, "measure": measure,
               "value": 100 * value, "first": measure == f"cons{r.config['tested'][0]}"} for measure, value in numbers.items()]
found = pd.DataFrame(found)
keys = ["dataset", "method", "backbone", "measure", "first"]
summary = records.summarise(found, keys, "value")
printed = augshift.TABLE2.assign(method=augshift.TABLE2["method"].replace(style.NAMES))
summary = summary.merge(printed, how="left", on=["dataset", "method", "measure"])
N = plain.tested[0]
told = f"mean and 95 % interval (Student's t) over n = {len(seeds)} seeds"
schedule = f"{plain.recipe.epochs} epochs" + (f" of {plain.recipe.epoch_steps} steps" if plain.recipe.epoch_steps else "")
tried = plain.test_images or len(sets[first].test)
what = f"{', '.join(datasets)}, {schedule} of {plain.recipe.batch_size} images, width {plain.width}, {tried} test images"

# %% [markdown]
# ## What came out
#
# *What to look for:* on the left, how far AugShift moves to the right of the baseline, and how far two crops *without* its second term do. On the right, what each costs. In the second figure: does the lead last as
# shifts grow beyond the crops', which reach as far as Cons.N of the first?

# %%
def panels(methods, of, name, caption, alt):
    fig, axes = plt.subplots(len(of), 2, figsize=(9.5, len(of) * (0.9 + 0.42 * len(methods))),
                             sharey=True, squeeze=False, layout="constrained")
    for dataset, pair in zip(of, axes, strict=True):
        n = setting(dataset).tested[0]
        for measure, label, ax in ((f"cons{n}", f"Cons.{n} (%)", pair[0]), ("top1", "top-1 (%)", pair[1])):
            these = f"dataset == '{dataset}' and measure == '{measure}'"
            show_figures.dots_by_method(summary.query(these), found.query(these), methods, ax)
            ax.set(xlabel=label, title=dataset, xlim=(max(ax.get_xlim()[0], -1), min(ax.get_xlim()[1], 101)))
    drawn = summary[summary["dataset"].isin(of) & summary["method"].isin(methods)]
    page.show(fig, name, caption, alt, workspace=workspace, data=drawn)


panels(["baseline", "two crops", "AugShift", "BlurPool", "BlurPool + AugShift"], datasets, "05_methods",
       f"""Consistency under shifts by up to a quarter of the side, and accuracy ({what}). Grey: single seeds; diamonds: {told}; dashed: the paper's
       value, where Table 2 has this data set.""",
       "Two rows of dots: consistency and accuracy of five methods.")

# %%
curve = summary[(summary["dataset"] == first) & (summary["measure"] != "top1")].assign(
    N=lambda frame: frame["measure"].str.removeprefix("cons").astype(int))
curve = curve[curve["method"].isin(["baseline", "two crops", "AugShift", "BlurPool", "BlurPool + AugShift"])]
fig, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
show_figures.curves(curve, "N", "method", ax).set(xlabel=f"N: shifts by up to so many of {side} pixels", ylabel="consistency (%)")
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "05_shifts", f"Consistency by the size of the shift, black border ({what}); {told}.",
          "Consistency falling as shifts grow, one line a method.", workspace=workspace, data=curve)

# %% [markdown]
# *What was seen so far,* on digits and on CIFAR-10: two crops alone lie close to AugShift, both far to the right of the baseline ({numref}`fig-05_methods`). Beyond the
# reach of the crops that lead lasts on CIFAR-10 and dwindles on digits ({numref}`fig-05_shifts`).
#
# Supplement S2 draws such curves without printing numbers (ResNet-50 on ImageNet, 8 to 64 of 224 pixels). Now the numbers, and, seed by seed, what one method gains over another:
# the verdicts rest on these differences.

# %%
def tell(frame, names, *arguments):    # of the measures, top-1 and the first shift
    frame = frame[frame["first"] | (frame["measure"] == "top1")].drop(columns=["first", "backbone"])
    frame["measure"] = frame["measure"].replace({"top1": "top-1"}).str.replace("cons", "Cons.")
    page.table(frame.rename(columns={**names, "low": "95 % low", "high": "95 % high"}), *arguments, workspace=workspace)


table2 = summary[summary["method"].isin([style.NAMES.get(m, m) for m in (*TABLE2, "two crops")])]
table2 = table2[[*keys, "paper", "mean", "low", "high", "n"]]
table2.insert(6, "reference run", page.reference("05_methods", ["dataset", "method", "measure"], table2))
tell(table2, {"mean": "this run"}, "05_table2", f"""Table 2, in percent: the paper, the reference run, and this run ({what}; {told}). *Two crops* is AugShift
     without the term that draws the latents together; the paper does not have it.""")

PAIRS = [("AugShift", "baseline"), ("AugShift", "BlurPool"), ("two crops", "baseline"), ("two crops", "BlurPool"),
         ("AugShift", "two crops"), ("AugShift", "baseline, twice as long")]
one = found.set_index(["dataset", "backbone", "measure", "first", "seed", "method"])["value"].unstack()
gains = pd.concat([(one[method] - one[other]).dropna().rename("value").reset_index().assign(method=method, against=other)
                   for method, other in PAIRS])
gains = records.summarise(gains, ["dataset", "backbone", "method", "against", "measure", "first"], "value")
values = printed.set_index(["dataset", "measure", "method"])["paper"].unstack()
gains["paper"] = [values[row.method].sub(values[row.against]).get((row.dataset, row.measure), float("nan"))
                  if {row.method, row.against} <= set(values) else float("nan") for row in gains.itertuples()]
tell(gains, {"mean": "points"}, "05_gains", f"What one method gains over another, in points, seed by seed ({what}); {told}.")

# %% [markdown]
# ## Controls that could overturn the reading
#
# :::{admonition} Is it AugShift, or what comes with it?
# :class: control
# **Two crops** are twice the work and twice the views: the baseline gets as much (*twice as long*), and the crops without the term are in the figure above. **One crop** is what
# any training recipe does. **MSE without crops** classifies whole images only; the crop enters by the term alone. **Random padding** {cite:p}`yang2023random` moves the border
# instead of the image. And a **collapsed** network would be consistent for the wrong reason: its latents would be short, or of low {term}`effective rank`.
# :::

# %%
panels(["baseline", "baseline, twice as long", f"one crop, {side // 8} pixels", "two crops", "AugShift", "MSE without crops",
        "random padding", "circular padding"], [first], "05_controls",
       f"Controls: consistency under shifts by up to {N} pixels with a black border, and accuracy ({what}); {told}.",
       "Dots of consistency and accuracy for eight ways of training.")
latents = pd.DataFrame([{"dataset": where[r.digest][0], "method": where[r.digest][1], "norm of z": r.results["norm"],
                         "effective rank": r.results["rank"],
                         "moved by shifts (%)": r.results["shifts"][str(N)]["moved"],
                         "agreement where right (%)": r.results["shifts"][str(N)]["agreement_right"],
                         "top-1, shifted (%)": r.results["shifts"][str(N)]["accuracy"]}
                        for r in runs if where[r.digest][0] == first])
latents = latents.assign(**{name: 100 * latents[name].astype(float) for name in latents if "%" in name})
means = latents.drop(columns="dataset").groupby("method", sort=False).mean().reset_index()
page.table(means, "05_latents", f"""The pooled latents, means over seeds: their length, in how many directions they spread (of
           {8 * plain.width} channels), which part of their variance a shift by up to {N} pixels makes; agreement over the images
           whose class is told right in the middle, and accuracy where they are shifted ({first}).""", workspace=workspace)

# %% [markdown]
# **How much of the term?** λ = 0 is two crops. If the term did what AugShift says, consistency should rise with λ before accuracy falls. **Which border?** The same networks on
# a smaller window, filled in four ways: where AugShift's lead is the border's, it shrinks from *black* to *true*. And the bound that follows from the identity above, circular padding under circular fill.

# %%
lambdas = {0.0: "two crops", plain.weight: "AugShift", **{w: f"AugShift, λ = {w:g}" for w in sweep}}
order = sorted(lambdas)
swept = {f"Cons.{N} (%)": (found[found["first"]], "value"), "top-1 (%)": (found[found["measure"] == "top1"], "value"),
         "latents moved by shifts (%)": (latents, "moved by shifts (%)"), "effective rank of z": (latents, "effective rank")}
fig, axes = plt.subplots(1, 4, figsize=(11, 2.8), layout="constrained")
for (label, (frame, column)), ax in zip(swept.items(), axes, strict=True):
    picked = frame[(frame["dataset"] == first) & frame["method"].isin(lambdas.values())]
    points = records.summarise(picked, ["method"], column)
    points["at"] = [order.index(next(w for w in order if lambdas[w] == m)) for m in points["method"]]
    show_figures.curves(points.assign(all=""), "at", "all", ax).set(xlabel="λ", ylabel=label)
    ax.set_xticks(range(len(order)), [f"{w:g}" for w in order])
page.show(fig, "05_weight", f"The weight λ of the term that draws latents together; 0 is two crops ({first}, {schedule}); {told}.",
          "Consistency, accuracy, movement and rank of the latents against lambda.", workspace=workspace)

# %%
deep = [r for r in runs if "fills" in r.results and where[r.digest][0] == first]
filled = pd.DataFrame([{"method": where[r.digest][1], "seed": r.seed, "fill": fill.replace("zeros", "black"),
                        "value": 100 * answer["agreement"]} for r in deep for fill, answer in
                       (r.results["fills"] | {"identity": r.results["strides"][str(STRIDE)]}).items()])
wide = filled.set_index(["fill", "seed", "method"])["value"].unstack()
lead = (wide["AugShift"] - wide["baseline"]).drop("identity")                              # seed by seed
by_fill = pd.concat([lead, wide.loc[["identity"], "circular padding"]]).rename("value").reset_index()
by_fill = records.summarise(by_fill, ["fill"], "value")
filled = records.summarise(filled[filled["fill"] != "identity"], ["fill", "method"], "value")
fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
few = filled[filled["method"].isin(["baseline", "AugShift", "BlurPool", "circular padding"])]
show_figures.dots_by_group(few, "fill", "method", ax, floor=0)
ax.set(ylabel=f"Cons.{side // 8} (%)", xlabel="what the shift uncovers is filled by", ylim=(0, 102))
ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
page.show(fig, "05_fills", f"""Consistency under shifts by up to {side // 8} pixels of a window of {side - 2 * (side // 8)} pixels, by how its border is filled
          ({first}, {schedule}); {told}.""", "Consistency for four fills, four methods each.", workspace=workspace, data=filled)
for method in ("baseline", "circular padding"):
    agreed = {step: [f"{100 * r.results['strides'][step]['agreement']:.1f}" for r in deep if where[r.digest][1] == method]
              for step in (str(STRIDE), "1")}
    print(f"circular fill, {method}, percent, a number a seed: shifts by multiples of 8 {', '.join(agreed[str(STRIDE)])}; "
          f"any {', '.join(agreed['1'])}")

# %% [markdown]
# ## Does it remove position?
#
# If AugShift made the averaged channels forget where, page 03's question, asked of the frozen network, should fall to chance.

# %%
asked = pd.DataFrame([{"method": label, "value": 100 * value} for r in deep for label, value in
                      ((where[r.digest][1], r.results["location"]), ("untrained", r.results["location_untrained"]))
                      if value is not None])
asked = records.summarise(asked, ["method"], "value")
order = ["untrained", "baseline", "two crops", "AugShift", "BlurPool", "BlurPool + AugShift", "circular padding"]
asked = asked.set_index("method").loc[order].reset_index()
fig, ax = plt.subplots(figsize=(8.5, 3.2), layout="constrained")
show_figures.bars(asked, [label.replace(" ", "\n", 1) for label in order], ax, chance=100 / 9)
page.show(fig, "05_location", f"""Location told by a linear reader from the pooled latent of each network, frozen (3×3 canvas, {first}, new images in every cell);
          {told}. *Untrained* is the baseline's network before training.""",
          "Bars of location accuracy by method, with the chance line.", workspace=workspace, data=asked)

# %% [markdown]
# ## Against the paper
#
# ImageNet does not fit into a notebook's patience: `torchrun --standalone --nproc-per-node 8 -m posenc_lib augshift --data DIR --method augshift` trains it on
# several GPUs, and what it leaves in `records/paper/` is shown here.

# %%
names = {label: method for method, label in style.NAMES.items()} | {"two crops": "crops"}
judged = gains.assign(method=gains["method"].replace(names), against=gains["against"].replace(names))
controls = {claim: claim.control_outcome(by_fill if claim is augshift.AUGSHIFT_SHIFTS else judged) for claim in claims}
page.against_paper({claim: claim.verdict(judged) for claim in claims}, controls, "05_against_paper",
                   f"{what}, n = {len(seeds)} seeds", workspace=workspace)
imagenet = records.to_frame(records.load(workspace.records("augshift", "paper")))
if len(imagenet):
    kept = {"top1": "top1", "agreement_8_true": "cons8", "agreement_16_true": "cons16"}
    measures = {name: measure for name, measure in kept.items() if name in imagenet}
    imagenet = imagenet.melt(["dataset", "backbone", "method", "seed", "recipe.epochs"], [*measures], "measure")
    imagenet = imagenet.assign(measure=imagenet["measure"].replace(measures), value=100 * imagenet["value"])
    page.table(imagenet.merge(augshift.TABLE2[augshift.TABLE2["dataset"] == "imagenet"].drop(columns="dataset"), how="left"),
               "05_imagenet", "ImageNet runs that are kept, in percent, beside the paper's.", workspace=workspace)
else:
    print("ImageNet: no run is kept in records/paper yet.")
print(page.provenance(workspace, sets[first]))

# %% [markdown]
# ## What it means, and what it does not
#
# * **Look at two crops before crediting the term.** {numref}`fig-05_controls` and the row *AugShift against two crops* of {numref}`tab-05_gains` part what the paper's comparison holds
#   together: showing a network shifted pictures, and drawing its latents together. The paper compares only with a network that saw neither. In every run so far the crops gain
#   nearly all there is to gain, and the term's own interval holds 0.
# * **Much of the gain may be the border's** ({numref}`fig-05_fills`). A network that never saw a black margin changes its mind when one appears, whatever has moved. On digits, which lie on black,
#   the fill hardly matters. On CIFAR-10 (`figures/cpu/05_fills.svg` in the repository) it does: where *true* surroundings come into view, AugShift's lead over the baseline shrinks from
#   almost thirty points to less than ten, and over BlurPool, seed by seed, to an interval that holds 0.
# * **Crops and BlurPool mend different things.** BlurPool stops pixels from blinking under strides; crops show the network what a shifted picture looks like. Together they are at least
#   as consistent as either ({numref}`fig-05_methods`).
# * **Does it learn only the shifts it is shown?** On digits it seems so: beyond the reach of the crops the lead over the baseline dwindles. On CIFAR-10 it lasts ({numref}`fig-05_shifts`). That
#   every network loses consistency as shifts grow is in part that less of the picture is left to see.
# * **Crops cost time.** In a short training, a network that sees shifted pictures learns the classes more slowly than one that sees them in the middle; at the paper's length that
#   should even out, and this run cannot say. A network trained for minutes also leaves more consistency to gain than the paper's.
# * **To ignore a shift is not to forget the place.** The latents of AugShift's network still tell the cell of a canvas ({numref}`fig-05_location`), as every zero-padded one's
#   do. Circular padding, whose latents hold no position at all, is at most a few points more consistent than the baseline: under shifts that are no multiple of the stride, it blinks like any
#   other. So position information, the subject of this book, is at most a small part of what makes an ordinary network change its mind.
# * **Collapse?** The latents keep their rank ({numref}`tab-05_latents`): what consistency there is, is not that of silence.
# * **Not shown:** the paper's numbers, which need its schedule (`--profile paper`); and what would happen at other choices of what it leaves open.
#
# ## Summary
#
# * A network trained in the ordinary way often changes its mind when the picture moves, with or without padding's marks: strides and untrained places both count.
# * Training on shifted crops makes it consistent; on CIFAR-10 to a good part because it gets used to the border that the test draws. The term that draws latents together adds next to nothing.
# * Invariance of the answer does not remove position from the averaged channels.
#
# ## Exercises
#
# ::::{admonition} Exercise 1, by pencil
# :class: exercise
# A network is right in 80 % of cases in the first place and in 80 % in the second. What is the least consistency it can have? The most?
#
# :::{admonition} Solution
# :class: dropdown
# It is right in both places in at least 60 % of cases (80 + 80 − 100), and then it agrees with itself; where it is right in one place only, it does not. So 60 % at least. At most 100 %: right and
# wrong together, with the same wrong answers. High accuracy *under shifts* therefore forces consistency, and the reverse does not hold.
# :::
# ::::
#
# ::::{admonition} Exercise 2, in code
# :class: exercise
# Train `crops` with half the range, `setting(first, method="crops", shift=side // 8)`, and draw its curve into {numref}`fig-05_shifts`. Does it fall earlier?
#
# :::{admonition} A start
# :class: dropdown
# Add the configuration to `rows` under a label of its own; `run_or_load` trains only what is new. The curve's cell needs the label in its list.
# :::
# ::::
#
# ::::{admonition} Exercise 3, to overturn the reading
# :class: exercise
# The term needs no labels; the cross-entropies do. Give `augshift.objective` the labels of only 100 images, and both crops of all of them. Is there a number of labels below which the term
# beats two crops?
#
# :::{admonition} A hint
# :class: dropdown
# Take the cross-entropies over the labelled images of a batch only, the mean squared difference over all, and train two crops on the same 100 images. Where labels are plenty, two crops
# with one label are already told to agree; where they are few, the term alone says so of the other images. If its gain over two crops has an interval above 0 there, over several seeds,
# then this page's reading, *the crops do it*, holds only for sets that are labelled throughout.
# :::
# ::::
