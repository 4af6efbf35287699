"""Islam et al., ICLR 2020, as data: its tables as printed, its claims and the rules that judge them."""
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from posenc_lib.claims.claim import (
    IN_DIRECTION,
    NOT_REPRODUCED,
    NOT_TRIED,
    REPRODUCED,
    Claim,
    interval,
    outcome,
    points,
)
from posenc_lib.measure.metrics import mean_interval

# Tables 1 to 4 and 6: Spearman correlation (SPC) and mean absolute error (MAE) of the map drawn.  One run each, no
# intervals.  On the stripes (HS, VS) the paper's MAE is on a scale twice as long as the maps': its constant predictor
# has .628, and that of the released maps, from 0 to 1, .318.
# (table, variant): target -> SPC/MAE for natural, black, white and noise images, or for natural ones alone.
_POSENET = {
    ("1", "PosENet"): {
        "H": (.012, .251, .0, .251, .0, .251, .001, .251), "V": (.131, .248, .0, .251, .0, .251, .053, .250),
        "G": (-.001, .233, .0, .186, .0, .186, -.034, .214), "HS": (-.001, .712, -.055, .704, .0, .704, .023, .710),
        "VS": (.006, .723, .081, .709, .081, .709, .018, .714)},
    ("1", "VGG"): {
        "H": (.742, .149, .751, .164, .873, .157, .591, .173), "V": (.816, .129, .846, .146, .927, .138, .771, .150),
        "G": (.814, .109, .842, .123, .898, .116, .762, .129), "HS": (.405, .556, .532, .583, .576, .574, .375, .573),
        "VS": (.374, .567, .538, .575, .437, .578, .526, .566)},
    ("1", "ResNet"): {
        "H": (.933, .084, .987, .080, .994, .078, .973, .077), "V": (.951, .083, .978, .069, .979, .072, .968, .074),
        "G": (.936, .070, .953, .068, .964, .064, .971, .055), "HS": (.534, .528, .566, .518, .562, .515, .471, .530),
        "VS": (.520, .537, .574, .523, .593, .514, .523, .545)},
    ("2a", "PosENet, 1 layer"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .712)},
    ("2a", "PosENet, 2 layers"): {"H": (.056, .250), "G": (.067, .187), "HS": (-.006, .628)},
    ("2a", "PosENet, 3 layers"): {"H": (.055, .250), "G": (.126, .186), "HS": (.003, .628)},
    ("2a", "VGG, 1 layer"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("2a", "VGG, 2 layers"): {"H": (.797, .128), "G": (.828, .105), "HS": (.483, .538)},
    ("2a", "VGG, 3 layers"): {"H": (.830, .117), "G": (.835, .104), "HS": (.491, .540)},
    ("2b", "PosENet, 1x1"): {"H": (.013, .251), "G": (.017, .188), "HS": (-.004, .628)},
    ("2b", "PosENet, 3x3"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .723)},   # .712 in Tables 1 and 2a
    ("2b", "PosENet, 7x7"): {"H": (.060, .250), "G": (.068, .187), "HS": (.002, .628)},
    ("2b", "VGG, 1x1"): {"H": (.542, .196), "G": (.724, .127), "HS": (.317, .576)},
    ("2b", "VGG, 3x3"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("2b", "VGG, 7x7"): {"H": (.828, .120), "G": (.816, .111), "HS": (.487, .532)},
    ("3", "VGG, stage 1"): {"H": (.101, .249), "G": (.241, .182)},
    ("3", "VGG, stage 2"): {"H": (.344, .225), "G": (.404, .168)},
    ("3", "VGG, stage 3"): {"H": (.472, .203), "G": (.588, .146)},
    ("3", "VGG, stage 4"): {"H": (.610, .181), "G": (.653, .138)},
    ("3", "VGG, stage 5"): {"H": (.657, .177), "G": (.693, .135)},
    ("3", "VGG, all stages"): {"H": (.742, .149), "G": (.814, .109)},
    ("4", "PosENet"): {"H": (.012, .251), "G": (-.001, .233), "HS": (-.001, .712)},
    ("4", "PosENet, padding 1"): {"H": (.274, .239), "G": (.205, .184), "HS": (.148, .608)},
    ("4", "PosENet, padding 2"): {"H": (.397, .223), "G": (.380, .177), "HS": (.214, .595)},
    ("4", "VGG"): {"H": (.742, .149), "G": (.814, .109), "HS": (.405, .556)},
    ("4", "VGG, padding removed"): {"H": (.381, .223), "G": (.359, .174), "HS": (.011, .628)},
    ("Fig. 6", "PosENet"): {"G": (.286, .186)}, ("Fig. 6", "PosENet, padding 1"): {"G": (.227, .180)},   # one image
    ("Fig. 6", "PosENet, padding 2"): {"G": (.473, .169)}, ("Fig. 6", "VGG"): {"G": (.928, .085)},
    ("Fig. 6", "VGG, padding removed"): {"G": (.405, .170)},
    ("6", "VGG"): {   # again the row of Table 1
        "H": (.742, .149, .751, .164, .873, .157, .591, .173), "G": (.814, .109, .842, .123, .898, .116, .762, .129),
        "HS": (.405, .556, .532, .583, .576, .574, .375, .573)},
    ("6", "VGG, saliency"): {
        "H": (.969, .055, .857, .099, .938, .087, .965, .060), "G": (.948, .067, .904, .086, .907, .085, .912, .077),
        "HS": (.667, .476, .699, .506, .709, .482, .668, .489)},
    ("6", "VGG, segmentation"): {
        "H": (.982, .038, .990, .030, .985, .032, .985, .033), "G": (.971, .055, .984, .050, .989, .046, .982, .051),
        "HS": (.810, .430, .802, .426, .810, .426, .789, .428)},
}
POSENET = pd.DataFrame([(table, variant, target, images, spc, mae)
                        for (table, variant), targets in _POSENET.items() for target, cells in targets.items()
                        for images, spc, mae in zip(("natural", "black", "white", "noise"), cells[::2], cells[1::2],
                                                    strict=False)],
                       columns=["table", "variant", "target", "images", "paper_spc", "paper_mae"])
# The direction of a cell is what it adds to the SPC of the cell that the paper sets it against.
POSENET_AGAINST = {
    ("1", "VGG"): "PosENet", ("1", "ResNet"): "PosENet",
    **{("2a", f"{net}, {n} layers"): f"{net}, 1 layer" for net in ("PosENet", "VGG") for n in (2, 3)},
    **{("2b", f"{net}, {k}x{k}"): f"{net}, 1x1" for net in ("PosENet", "VGG") for k in (3, 7)},
    **{("3", f"VGG, {part}"): "VGG, stage 1" for part in ("stage 2", "stage 3", "stage 4", "stage 5", "all stages")},
    **{(at, f"PosENet, padding {n}"): "PosENet" for n in (1, 2) for at in ("4", "Fig. 6")},
    **{(at, "VGG, padding removed"): "VGG" for at in ("4", "Fig. 6")},
    ("6", "VGG, saliency"): "VGG", ("6", "VGG, segmentation"): "VGG",
}
# Table 5: networks trained from scratch; F-measure and mean absolute error of saliency, 0..1, and mean IoU in percent.
_TABLE5 = {"VGG": (.78, .17, .66, .21, .63, .18, 23.1), "VGG, without padding": (.36, .48, .32, .48, .25, .48, 12.3)}
TABLE5 = pd.DataFrame([(variant, *cell, value) for variant, row in _TABLE5.items() for cell, value in zip(
    (*((dataset, measure) for dataset in ("ECSSD", "PASCAL-S", "DUT-OMRON") for measure in ("F", "MAE")),
     ("VOC 2012", "mean IoU")), row, strict=True)], columns=["variant", "dataset", "measure", "paper"])


def _natural(table: pd.DataFrame, number: str) -> pd.DataFrame:
    """The cells of one of the paper's tables on natural images: (variant, target) -> mean, low, high.  "VGG" is the
    network that stands in its place.  An SPC undefined throughout is 0, as the paper prints it."""
    cells = table[(table["table"] == number) & (table["images"] == "natural") & table["paper_spc"].notna()]
    return cells.set_index(["variant", "target"])[["mean", "low", "high"]].astype(float).fillna(0)


def _spc(cell: pd.Series) -> str:
    return f"{cell['mean']:+.2f}±{(cell['high'] - cell['low']) / 2:.2f}"


def _ordered(cells: pd.DataFrame, variants: Sequence[str]) -> tuple[bool, bool]:
    """Does the mean rise from each variant to the next, on every map?  And do the intervals of first and last part?"""
    steps = [(cells.loc[a, "mean"] < cells.loc[b, "mean"]).all() for a, b in pairwise(variants)]
    return all(steps), bool((cells.loc[variants[0], "high"] < cells.loc[variants[-1], "low"]).all())


def _said(cells: pd.DataFrame, first: str, last: str) -> str:
    """ "1 layer → 3 layers: H +0.53±0.16 → +0.51±0.22", and so on for every map."""
    names = [variant.partition(", ")[2] or "as it is" for variant in (first, last)]
    return " → ".join(names) + ": " + ", ".join(
        f"{on} {_spc(cells.loc[first, on])} → {_spc(cells.loc[last, on])}" for on in cells.loc[first].index)


def _n(table: pd.DataFrame) -> str:
    return f", n = {table['n'].min():.0f}"


def _posenet_readout(table: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, 0 where it is undefined. *Reproduced* when, on each of the five maps, the whole 95 %
    interval over seeds of every trained network lies above that of PosENet on pixels, and its mean at most 0.1 below
    the paper's. *Reproduced in direction* when only the first holds. Else *not reproduced*.
    """
    cells = table[(table["table"] == "1") & (table["images"] == "natural") & (table["variant"] != "PosENet")]
    pixels = _natural(table, "1").loc["PosENet"]
    above = cells["low"].to_numpy() > pixels["high"].loc[cells["target"]].to_numpy()
    near = cells["mean"] >= cells["paper_spc"] - 0.1
    worst = cells.loc[(cells["mean"] - cells["paper_spc"]).idxmin()]
    verdict = NOT_REPRODUCED if not above.all() else REPRODUCED if near.all() else IN_DIRECTION
    return verdict, (f"{above.sum()} of {len(cells)} (network, map) lie above pixels; furthest below the paper: "
                     f"{worst['network']}, {worst['target']} {_spc(worst)}, pixels {_spc(pixels.loc[worst['target']])}"
                     f"{_n(cells)}")


def _posenet_size(table: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS, of the trained network. *Reproduced* when it rises on every map from
    1 to 2 to 3 layers and from 1×1 to 3×3 to 7×7 kernels, and the 95 % intervals over seeds of the first and the last
    do not overlap. *Reproduced in direction* when the last is above the first on every map. Else *not reproduced*.
    """
    cells = pd.concat([_natural(table, "2a"), _natural(table, "2b")])
    ladders = [[f"VGG, {n}" for n in ladder] for ladder in (("1 layer", "2 layers", "3 layers"), ("1x1", "3x3", "7x7"))]
    orders = [_ordered(cells, ladder) for ladder in ladders]
    ends = [_ordered(cells, ladder[::2])[0] for ladder in ladders]
    verdict = REPRODUCED if all(map(all, orders)) else IN_DIRECTION if all(ends) else NOT_REPRODUCED
    return verdict, "; ".join(_said(cells, ladder[0], ladder[-1]) for ladder in ladders) + _n(table)


def _posenet_depth(table: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H and G, from one stage of the network at a time. *Reproduced* when it rises from
    each stage to the next and to all together, and the 95 % intervals over seeds of the first and the last stage do
    not overlap. *Reproduced in direction* when the last stage is above the first on both maps. Else *not reproduced*.
    """
    cells = _natural(table, "3")
    stages = [v for v in dict.fromkeys(cells.index.get_level_values(0)) if v != "VGG, all stages"]
    rises, _ = _ordered(cells, [*stages, "VGG, all stages"])
    direction, apart = _ordered(cells, [stages[0], stages[-1]])
    verdict = REPRODUCED if rises and apart else IN_DIRECTION if direction else NOT_REPRODUCED
    return verdict, _said(cells, stages[0], stages[-1]) + _n(table)


def _posenet_padding(table: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Reproduced* when on every map the 95 % interval over seeds without the
    network's padding lies below that with it, and PosENet on pixels rises from padding 0 to 1 to 2 with the first
    interval below the last. *Reproduced in direction* when only the first holds. Else *not reproduced*.
    """
    cells = _natural(table, "4")
    removed = _ordered(cells, ["VGG, padding removed", "VGG"])[1]
    added = all(_ordered(cells, ["PosENet", "PosENet, padding 1", "PosENet, padding 2"]))
    verdict = NOT_REPRODUCED if not removed else REPRODUCED if added else IN_DIRECTION
    return verdict, (f"network: {_said(cells, 'VGG', 'VGG, padding removed')}; pixels: "
                     f"{_said(cells, 'PosENet', 'PosENet, padding 2')}{_n(table)}")


def _posenet_task(table: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Reproduced* when on every map the 95 % interval over seeds of the
    network trained to label every pixel lies above that of the same network trained to classify. *Reproduced in
    direction* when its mean does on every map. Else *not reproduced*.
    """
    cells = _natural(table, "6")
    direction, apart = _ordered(cells, ["VGG", "VGG, segmentation"])
    verdict = REPRODUCED if apart else IN_DIRECTION if direction else NOT_REPRODUCED
    return verdict, _said(cells, "VGG", "VGG, segmentation") + _n(table)

# How page 02 hands its controls to the rules below: all runs, a row a (table, variant, network, target, images, seed),
# with their SPC; undefined ones count as 0 here, too.



def _runs(runs: pd.DataFrame) -> pd.Series:
    """SPC on natural images by (table, variant, target, seed)."""
    runs = runs[runs["images"] == "natural"].astype({"spc": float}).fillna({"spc": 0})
    return runs.set_index(["table", "variant", "target", "seed"])["spc"].sort_index()


def _of_map(cell: pd.Series) -> pd.Series:
    mean, low, high = mean_interval(cell)
    return pd.Series({"mean": mean, "low": low, "high": high, "n": len(cell)})


def _by_map(cell: pd.Series, maps: Sequence[str]) -> pd.DataFrame:
    """(target, seed) -> a row a map: mean, 95 % interval over seeds and their number."""
    return pd.DataFrame({on: _of_map(cell[on]) for on in maps}).T


def _listed(cells: pd.DataFrame) -> str:
    return ", ".join(f"{on} {_spc(cell)}" for on, cell in cells.iterrows())


def _untrained(runs: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images. *Passed* when, on each of the five maps, the whole 95 % interval over seeds of every
    trained network lies above that of the same architecture before any training; else *not passed*: the map that is
    drawn is no sign of what the network has learned.
    """
    runs = runs[(runs["images"] == "natural") & runs["target"].isin(POSENET["target"])]
    runs = runs.assign(spc=runs["spc"].astype(float).fillna(0), net=runs["network"].str.partition(", ")[0])
    start = (runs["table"] == "untrained") & (runs["variant"] == "zeros") | (runs["table"] == "untrained ImageNet")
    trained, untrained = (part.groupby(["network", "net", "target"] if n == 0 else ["net", "target"], sort=False)["spc"]
                          .apply(_of_map).unstack() for n, part in enumerate((
                              runs[(runs["table"] == "1") & (runs["variant"] != "PosENet")], runs[start])))
    pairs = trained.join(untrained.add_suffix(" before"), on=["net", "target"])
    above = pairs["low"] > pairs["high before"]
    worst = (pairs["mean"] - pairs["mean before"]).idxmin()
    before = untrained.loc[worst[1:]]
    return outcome(above.all(), min(trained["n"].min(), untrained["n"].min()), (
        f"trained above random in {above.sum()} of {len(pairs)} (network, map); furthest below: {worst[0]}, "
        f"{worst[2]} {_spc(trained.loc[worst])}, random {_spc(before)}, n = {before['n']:.0f}"))


def _on_pixels(runs: pd.DataFrame) -> tuple[str, str]:
    """SPC gained on natural images, maps H, G and HS, from 1 to 3 layers and from 1×1 to 7×7, seed by seed. *Passed*
    when, wherever the 95 % interval over seeds of the network's gain lies above 0, so does that of its gain minus the
    gain of the same readouts on pixels; else *not passed*. (*Not tried here* when the network gains nowhere.)
    """
    spc, kept = _runs(runs), []
    for table, first, last in (("2a", "1 layer", "3 layers"), ("2b", "1x1", "7x7")):
        on = spc[table]
        network, pixels = (on[f"{net}, {last}"] - on[f"{net}, {first}"] for net in ("VGG", "PosENet"))
        gains, beyond = _by_map(network, ("H", "G", "HS")), _by_map(network - pixels, ("H", "G", "HS"))
        kept.append(beyond[gains["low"] > 0].rename(lambda at, step=f"{first} → {last}": f"{step} {at}"))
    cells, n = pd.concat(kept), _by_map(network, ("H",))["n"].min()
    if cells.empty and n >= 2:
        return NOT_TRIED, f"the network gains on no map with its interval above 0, n = {n:.0f}"
    return outcome((cells["low"] > 0).all(), n, f"gained beyond pixels: {_listed(cells)}, n = {n:.0f}")


def _matched_channels(runs: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H and G, from one stage at a time, equally few channels of each, drawn anew for
    every seed. *Passed* when on both maps the 95 % interval over seeds of the last stage minus the first, seed by seed,
    lies above 0; else *not passed*: the rise may be one of the number of channels.
    """
    spc = _runs(runs)
    stages = spc["matched"].index.unique("variant")
    matched, all_of_them = (_by_map(spc[table, stages[-1]] - spc[table, stages[0]], ("H", "G"))
                            for table in ("matched", "3"))
    return outcome((matched["low"] > 0).all(), matched["n"].min(), (
        f"stage {stages[0][-1]} → {stages[-1][-1]}, equally many channels: {_listed(matched)}; all channels: "
        f"{_listed(all_of_them)}, n = {matched['n'].min():.0f}"))


def _never_padded(runs: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS, of the small network. *Passed* when on every map the whole 95 % interval
    over seeds of a network *trained* without padding lies below half the mean of the same network trained with zeros;
    else *not passed*. (*Not tried here* when the interval with zeros is not above 0 on every map.)
    """
    zeros, none = (_by_map(_runs(runs)["trained", mode], ("H", "G", "HS")) for mode in ("zeros", "none"))
    n = none["n"].min()
    if n >= 2 and not (zeros["low"] > 0).all():
        return NOT_TRIED, f"even with zero padding the network draws little: {_listed(zeros)}, n = {n:.0f}"
    return outcome((none["high"] < zeros["mean"] / 2).all(), n, (
        f"trained without padding: {_listed(none)}; with zeros: {_listed(zeros)}, n = {n:.0f}"))


def _before_the_task(runs: pd.DataFrame) -> tuple[str, str]:
    """SPC on natural images, maps H, G and HS. *Passed* when on every map the 95 % interval over seeds of the network
    that labels pixels minus the same architecture before any training, seed by seed, lies above 0; else *not passed*:
    labelling pixels has taught it no position that it did not have.
    """
    spc = _runs(runs)
    gains = _by_map(spc["6", "VGG, segmentation"] - spc["untrained", "zeros"], ("H", "G", "HS"))
    return outcome((gains["low"] > 0).all(), gains["n"].min(),
                   f"segmentation minus untrained: {_listed(gains)}, n = {gains['n'].min():.0f}")


def _posenet_scratch(table: pd.DataFrame) -> tuple[str, str]:
    """Mean IoU on whole test pictures of networks trained from scratch, in percent. *Reproduced* when the whole 95 %
    interval over seeds without padding lies below that with zero padding. *Reproduced in direction* when its mean does.
    Else *not reproduced*.
    """
    zeros, none = (table[(table["padding_mode"] == mode) & (table["scored"] == "picture")].iloc[0]
                   for mode in ("zeros", "none"))
    verdict = (REPRODUCED if none["high"] < zeros["low"] else
               IN_DIRECTION if none["mean"] < zeros["mean"] else NOT_REPRODUCED)
    return verdict, f"with zero padding {interval(zeros)}; without padding {interval(none)}"


def _seen_and_reflected(runs: pd.DataFrame) -> tuple[str, str]:
    """Mean IoU in points, differences seed by seed. *Passed* when zero padding is better than no padding on the window
    that a map without padding covers, where the network without it is also trained, and better than reflect padding on
    whole pictures: the 95 % interval over seeds of each difference lies above 0. Else *not passed*: what zero padding
    gives may be no more than a map as large as the picture.
    """
    miou = runs.set_index(["padding_mode", "scored", "seed"])["miou"].sort_index()
    window, reflect = (_of_map(miou["zeros", scored] - miou[mode, scored])
                       for mode, scored in (("none", "window"), ("reflect", "picture")))
    return outcome(window["low"] > 0 and reflect["low"] > 0, window["n"], (
        f"zero padding minus none, on the window: {points(window)}; minus reflect, on the picture: {points(reflect)}, "
        f"n = {window['n']:.0f}"))


POSENET_READOUT = Claim(
    "posenet-readout", "02_posenet_readout",
    "From the frozen features of a trained network one convolution draws a position map that has nothing to do with "
    "the image; from the image itself it cannot.",
    "ICLR 2020, Table 1", "SPC on H: 0.742 (VGG-16), 0.933 (ResNet-152), 0.012 (pixels)", _posenet_readout,
    "the same networks before any training", _untrained, "02_table1", ("ICLR 2020, Table 1",))
POSENET_SIZE = Claim(
    "posenet-size", "02_posenet_readout", "A deeper readout, or one with larger kernels, draws the map better.",
    "ICLR 2020, Table 2", "SPC on H: 0.742 → 0.830 with 3 layers, 0.542 → 0.828 from 1×1 to 7×7", _posenet_size,
    "the same readouts on pixels", _on_pixels, "02_ladders", ("ICLR 2020, Table 2a", "ICLR 2020, Table 2b"))
POSENET_DEPTH = Claim(
    "posenet-depth", "02_posenet_readout", "Deeper stages of a network hold more position than shallow ones.",
    "ICLR 2020, Table 3", "SPC on H: 0.101 at the first stage, 0.657 at the fifth, 0.742 with all", _posenet_depth,
    "as many channels from every stage", _matched_channels, "02_ladders", ("ICLR 2020, Table 3",))
POSENET_PADDING = Claim(
    "posenet-padding", "02_posenet_readout", "Zero padding is where the position comes from.",
    "ICLR 2020, Table 4", "SPC on H: 0.742 → 0.381 without padding; pixels 0.012 → 0.397 with two pixels of it",
    _posenet_padding, "a network trained without padding, not one that has lost it", _never_padded, "02_untrained",
    ("ICLR 2020, Table 4", "ICLR 2020, Fig. 6"))
POSENET_TASK = Claim(
    "posenet-task", "02_posenet_readout",
    "Networks trained to label every pixel hold more position than those trained to name the image.",
    "ICLR 2020, Table 6", "SPC on H: 0.742 (classification), 0.969 (saliency), 0.982 (segmentation)", _posenet_task,
    "the same architecture, pictured with the same photographs, before any task", _before_the_task, "02_ladders",
    ("ICLR 2020, Table 6",))
POSENET_SCRATCH = Claim(
    "posenet-scratch", "02_posenet_readout", "Trained from scratch without padding, a network labels pixels worse.",
    "ICLR 2020, Table 5", "VOC 2012: mean IoU 23.1 → 12.3 % without padding; saliency, F on ECSSD: 0.78 → 0.36",
    _posenet_scratch, "a network without padding that is trained and scored only where it sees, and reflect padding, "
    "which gives a map of the same size and hardly marks the border", _seen_and_reflected, "02_scratch",
    ("ICLR 2020, Table 5",))

CLAIMS = (POSENET_READOUT, POSENET_SIZE, POSENET_DEPTH, POSENET_PADDING, POSENET_TASK, POSENET_SCRATCH)
