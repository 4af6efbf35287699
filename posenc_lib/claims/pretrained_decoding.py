"""Islam et al., ICCV 2021, supplement S1: the claim and its rule."""
import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, REPRODUCED, Claim, interval, outcome


def _pretrained_location(table: pd.DataFrame) -> tuple[str, str]:
    """Location accuracy from the last layer of every ImageNet network, or where there is none of every network trained
    here, and in every grid that was run. *Reproduced* when, with the channels in order, its 95 % interval over seeds
    lies above chance everywhere, and the whole interval with the channels shuffled lies closer to chance than to that.
    *Reproduced in direction* when in order is above chance, and its interval above the shuffled one's, everywhere.
    Else *not reproduced*.
    """
    keys = ["network", "grid"]
    order, shuffled = (table[table["head"] == head].set_index(keys) for head in ("in order", "shuffled"))
    shuffled = shuffled.loc[order.index]
    above = (order["low"] > order["chance"]).all()
    apart = (order["low"] > shuffled["high"]).all()
    fails = (shuffled["high"] < (order["mean"] + order["chance"]) / 2).all()
    verdict = REPRODUCED if above and fails else IN_DIRECTION if above and apart else NOT_REPRODUCED
    (network, grid), (other, there) = order["mean"].idxmin(), shuffled["mean"].idxmax()
    return verdict, (f"of {len(order)} (network, grid), in order at least {interval(order.loc[(network, grid)])} "
                     f"({network}, {grid}×{grid}), shuffled at most {interval(shuffled.loc[(other, there)])} "
                     f"({other}, {there}×{there})")


def _pretrained_untrained(table: pd.DataFrame) -> tuple[str, str]:
    """Last layer, channels in order, every grid, means and 95 % intervals over seeds. *Passed* when every network that
    is judged tells the location better than the same one with random weights, its whole interval above the other's, and
    the small networks under circular padding are within half a point of chance, or else the method is at fault. Else
    *not passed*: then the location may be there, but training need not have put it there.
    """
    pairs = table[table["role"] == "trained"].merge(table[table["role"] == "random"], on=["of", "grid"],
                                                    suffixes=("", "_random"))
    above = pairs["low"] > pairs["high_random"]
    blind = table[table["role"] == "circular"]
    off = (blind["mean"] - blind["chance"]).abs().max()
    least = pairs.loc[(pairs["mean"] - pairs["mean_random"]).idxmin()]
    at = f"{least['network']}, {least['grid']}×{least['grid']}"
    return outcome(above.all() and off <= 0.5, table["n"].min(), (
        f"better than with random weights in {above.sum()} of {len(above)} (network, grid), least so {at}: "
        f"{interval(least)}, random {least['mean_random']:.1f} %; circular padding up to {off:.1f} points off chance"))


PRETRAINED_LOCATION = Claim(
    "pretrained-location", "04_pretrained_decoding",
    "A network trained on classes or on segments tells the location of an image from its averaged channels, though "
    "nobody asked it to; with the channels shuffled it does not.",
    "ICCV 2021, supplement S1", "", _pretrained_location,
    "the same networks with random weights, and circular padding, under which there is nothing to tell",
    _pretrained_untrained, "04_by_stage", ("ICCV 2021, Fig. S1",))

CLAIMS = (PRETRAINED_LOCATION,)
