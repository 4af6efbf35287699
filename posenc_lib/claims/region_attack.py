"""Islam et al., ICCV 2021, as data: channels removed (Sec. 4.2, supplement S3 and S4), the claims and the rules that
judge them.
"""
import pandas as pd

from posenc_lib.claims.claim import (
    IN_DIRECTION,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    NOT_TRIED,
    REPRODUCED,
    Claim,
    outcome,
    points,
)

# Sec. 4.2 of the paper removes channels; its numbers are in figures only.  What can be counted is the authors' released
# rankings of 2,048 channels (github.com/islamamirul/PermuteNet at 8425918): how many of the first 100 and 300 two lists
# share (two random ones 4.9 and 43.9), and Spearman's correlation.  A file called right holds a list called "left".
RELEASED = pd.DataFrame([("left", "right", 19, 104, 0.386), ("left", "overall", 10, 72, -0.01),
                         ("right", "overall", 13, 70, -0.03)],
                        columns=["first", "second", "shared of 100", "shared of 300", "spearman"])

# How page 06 hands a run to these rules: a row for every ranking or region and share of channels, with the mean and the
# 95 % interval over seeds, in points of mean IoU.  "against" says what a ranking is compared with.



def _above_zero(rows: pd.DataFrame) -> str:
    if rows.empty:
        return NOT_TESTABLE
    return REPRODUCED if (rows["low"] > 0).all() else IN_DIRECTION if (rows["mean"] > 0).all() else NOT_REPRODUCED


def _channels_overall(table: pd.DataFrame) -> tuple[str, str]:
    """What is lost in mean IoU when the channels of highest flip response are removed, minus what is lost on average
    when as many random ones are. *Reproduced* when its 95 % interval over seeds lies above 0 at every share of channels
    that was removed. *Reproduced in direction* when its mean does. Else *not reproduced*.
    """
    rows = table[(table["kind"] == "flip") & (table["against"] == "random")]
    told = [f"{100 * row['share']:.0f} % of the channels: {points(row)}" for _, row in rows.iterrows()]
    return _above_zero(rows), f"{'; '.join(told)}, n = {rows['n'].min():.0f}"


def _channels_region(table: pd.DataFrame) -> tuple[str, str]:
    """Specificity: what the left half loses in mean IoU minus what the right half loses, when the channels ranked as
    left are removed, minus the same for random sets of as many; and the mirror image of it for right; at 15 % of the
    channels, the 300 of 2,048 of the released code's folder. *Reproduced* when its 95 % interval over seeds lies above
    0 for left and for right. *Reproduced in direction* when both means do. Else *not reproduced*.
    """
    rows = table[table["region"].isin(["left", "right"]) & (table["kind"] == "signed")]
    off = (rows["share"] - 300 / 2048).abs()
    rows = rows[off == off.min()]
    verdict = _above_zero(rows)
    return verdict, "; ".join(f"{row['region']}: {points(row)}"
                              for _, row in rows.iterrows()) + f", n = {rows['n'].min():.0f}"


def _channels_overall_controls(table: pd.DataFrame) -> tuple[str, str]:
    """Points of mean IoU, means and 95 % intervals over seeds. *Passed* when two things hold. The flip-ranked set costs
    more than random sets as strong: that gap's interval lies above 0 at every share that was removed. And it costs more
    than where it cannot mean position: the interval of its gap beyond random sets lies above that gap of every network
    with circular padding, at every share at which those were attacked. Else *not passed*. (*Not tried here* when there
    is no network with circular padding.)
    """
    flip = table[table["kind"] == "flip"]
    mine, blind = flip[flip["network"] == "plain"], flip[flip["network"] == "circular padding"]
    strong, blind = mine[mine["against"] == "rms_matched"], blind[blind["against"] == "random"]
    if blind.empty:
        return NOT_TRIED, "no network with circular padding was attacked"
    pairs = mine[mine["against"] == "random"].merge(blind, on="share", suffixes=("", "_blind"))
    told = "; ".join(f"{100 * row['share']:.0f} % {points(row)}" for _, row in strong.iterrows())
    beside = "; ".join(f"{100 * share:.0f} % {_each(rows['mean_blind'])}, others {points(rows.iloc[0])}"
                       for share, rows in pairs.groupby("share"))
    return outcome((strong["low"] > 0).all() and (pairs["low"] > pairs["mean_blind"]).all(), mine["n"].min(), (
        f"beyond sets as strong: {told}, n = {mine['n'].min():.0f}; beyond random sets, under circular padding, each "
        f"network: {beside}"))


def _channels_region_controls(table: pd.DataFrame) -> tuple[str, str]:
    """Two removals that have to be specific if the verdict is to mean anything, at its share of the channels, in points
    of mean IoU. *Passed* when both are, for left and for right. The flip-ranked channels removed in that half only: the
    95 % interval over seeds lies above 0. And the signed lists of networks that never saw a mirrored image, which have
    a side to find: for every such network the 95 % interval of a bootstrap over test images lies above 0. Else *not
    passed*: then the measure, or the ranking, cannot be relied on to see a side. (*Not tried here* when no network was
    trained without mirrored images.)
    """
    near = table[table["region"].isin(["left", "right"])]
    off = (near["share"] - 300 / 2048).abs()
    near = near[off == off.min()].sort_values("region", kind="stable")
    local = near[(near["network"] == "plain") & (near["kind"] == "only there")]
    sides = near[(near["network"] == "never mirrored") & (near["kind"] == "signed")]
    if sides.empty:
        return NOT_TRIED, "no network was trained without mirrored images"
    there, listed = ("; ".join(f"{row['region']} {points(row)}" for _, row in rows.iterrows())
                     for rows in (local, sides))
    return outcome((local["low"] > 0).all() and (sides["low"] > 0).all(), local["n"].min(), (
        f"removed only there: {there}, n = {local['n'].min():.0f}; signed lists, never mirrored, interval over images, "
        f"each network: {listed}"))


def _each(means: pd.Series) -> str:
    return " and ".join(f"{mean:+.1f}" for mean in means)


CHANNELS_OVERALL = Claim(
    "channels-overall", "06_region_attack",
    "Removing the channels that change most when the image is mirrored harms segmentation more than removing as many "
    "at random.",
    "ICCV 2021, Sec. 4.2, Figs. 4 and 5", "", _channels_overall,
    "random sets of channels that are as strong, which know nothing of mirrors; and the same attack on networks with "
    "circular padding, which cannot know the column", _channels_overall_controls, "06_removal",
    ("ICCV 2021, Figs. 4 and 5",))
CHANNELS_REGION = Claim(
    "channels-region", "06_region_attack",
    "Removing the channels ranked as left harms the left half of the image more than the right, and the reverse.",
    "ICCV 2021, Sec. 4.2 and supplement S3", "", _channels_region,
    "both halves for every list and random sets are in the measure; a removal that is truly local, which the measure "
    "has to see; training without mirrored images, which leaves a side for the ranking to find",
    _channels_region_controls, "06_regions", ("ICCV 2021, Figs. S3 and S4",))

CLAIMS = (CHANNELS_OVERALL, CHANNELS_REGION)
