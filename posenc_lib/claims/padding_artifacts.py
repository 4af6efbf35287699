"""Islam et al., ICCV 2021, authors' slides on padding: the claim and its rule."""
import pandas as pd

from posenc_lib.claims.claim import IN_DIRECTION, NOT_REPRODUCED, REPRODUCED, Claim, outcome
from posenc_lib.claims.gapnet_vs_permutenet import PADDED
from posenc_lib.measure.metrics import mean_interval


def _padding_artifacts(table: pd.DataFrame) -> tuple[str, str]:
    """The excess is the border energy of the padded map minus that of the same map in true surroundings, in doublings
    (log2), averaged over images and over the five layers conv1 to layer4: one number a seed. *Reproduced* when, in
    random and in trained networks alike, its 95 % interval over seeds lies above 0 under each of zero, reflect and
    replicate padding. *Reproduced in direction* when it does under zero padding only, or under zero and one of the
    others. Else *not reproduced*.
    """
    above = table[table["padding_mode"].isin(PADDED)].groupby("padding_mode")["low"].min() > 0   # in both networks
    verdict = REPRODUCED if above.all() else IN_DIRECTION if above["zeros"] else NOT_REPRODUCED
    said = "; ".join(f"{row.net}, {row.padding_mode} {row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
                     for row in table[table["padding_mode"].isin(PADDED)].itertuples(index=False))
    return verdict, f"excess in doublings: {said}, n = {table['n'].min()}"


def _padding_swapped(table: pd.DataFrame) -> tuple[str, str]:
    """A seed has four networks, one trained with each mode, and each is run with all four. *Passed* when the excess, in
    doublings, varies more with the mode that is run than with the mode that was trained (standard deviation over one,
    averaged over the other; the 95 % interval over seeds of the difference lies above 0), and the networks that were
    not trained with zeros have it when run with zeros (the interval of their mean lies above 0); else *not passed*: the
    line is as much a matter of the weights.
    """
    both = table.set_index(["seed", "trained", "padding_mode"])["excess"].unstack()
    run_with = both.std(axis=1).groupby("seed").mean()
    trained = both.groupby("seed").std().mean(axis=1)
    wins, low, high = mean_interval(run_with - trained)
    others = both.drop("zeros", level="trained")["zeros"].groupby("seed").mean()
    line, at_least, at_most = mean_interval(others)
    return outcome(low > 0 and at_least > 0, len(others), (
        f"doublings: it varies by {run_with.mean():.2f} with what is run and by {trained.mean():.2f} with what was "
        f"trained, difference {wins:+.2f} [{low:+.2f}, {high:+.2f}]; trained without zeros and run with them "
        f"{line:+.2f} [{at_least:+.2f}, {at_most:+.2f}], n = {len(others)}"))


PADDING_ARTIFACTS = Claim(
    "padding-artifacts", "01_padding_artifacts",
    "Every way of padding draws line artifacts along the border of feature maps.",
    "ICCV 2021, authors' slides on padding", "", _padding_artifacts,
    "true surroundings, the same crop inside a larger piece of its photograph, are in the measure; tried are networks "
    "run with a padding that they were not trained with, to tell what the padding does from what the weights do",
    _padding_swapped, "01_border_energy")

CLAIMS = (PADDING_ARTIFACTS,)
