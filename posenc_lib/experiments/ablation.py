"""Ablation of channels: which sets are ablated, and what a ranking costs beyond random sets.  Pages 06 and 07."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from posenc_lib.base.shapes import Features
from posenc_lib.measure import canvas, metrics
from posenc_lib.measure.channels import Ranking, overlap
from posenc_lib.nets import hooks
from posenc_lib.run import records

CONTROLS = ("random", "rms_matched")   # random sets that the cost of a ranking is compared with


class Preset(NamedTuple):
    """What a profile chooses for an image set.

    size      rows and columns of the images
    settings  non-default fields of a config
    seeds     of the scenes of `streets`, by split; None means all of its own
    """
    size: tuple[int, int]
    settings: dict[str, Any]
    seeds: dict[str, range] | None = None


def select(presets: Mapping[str, Mapping[str, Any]], profile: str, dataset: str) -> Any:
    """Return the entry of a profile for an image set, or else its entry for "any".  ValueError without either.
    """
    available = presets[profile]
    if dataset not in available and "any" not in available:
        raise ValueError(f"dataset: profile {profile} has no preset for {dataset!r}; choose one of "
                         f"{', '.join(available)}")
    return available.get(dataset, available.get("any"))


@dataclass(frozen=True, eq=False)
class Ablation:
    """Replace channels of a feature map.

    channels  indices, on any device
    instead   (channel,) replacement value for each channel of the layer; None means zero, as in the authors' code
    inside    a region of `canvas.REGIONS` to which the ablation is restricted; "" means the whole map
    """
    channels: Int[Tensor, " n"]
    instead: Float[Tensor, " channel"] | None = None
    inside: str = ""

    def __call__(self, f: Features) -> Features:
        """Return a new map; `f` is not modified."""
        ablated = hooks.ablate(f, self.channels)
        if self.instead is not None:
            channels = self.channels.to(f.device)
            ablated[:, channels] = self.instead.to(f)[channels, None, None]
        if self.inside:
            zones = canvas.zones(*f.shape[-2:]).to(f.device)
            region = torch.isin(zones, torch.tensor(canvas.REGIONS[self.inside], device=f.device))
            ablated = torch.where(region, ablated, f)
        return ablated


NOTHING = Ablation(torch.tensor([], dtype=torch.long))


class Planned(NamedTuple):
    """One ablation of a plan.

    kind      "nothing", a rule of `Ranking`, "lowest_flip", "random", "rms_matched", or a page's own
    fraction  of the layer's channels, as in the config
    n         number of channels
    region    of which the channels are, or to which the ablation is restricted; None if it is not regional
    shared    number of channels that are in the flip-ranked set of the same size too; None if not counted
    """
    kind: str
    fraction: int | float
    n: int
    ablation: Ablation
    region: str | None = None
    shared: int | None = None

    @property
    def tags(self) -> dict:
        """The fields that identify the ablation in a record."""
        return {"kind": self.kind, "fraction": self.fraction, "n": self.n, "region": self.region,
                "shared": self.shared}


def n_channels(fraction: int | float, total: int) -> int:
    """Number of channels to ablate; a fraction of 1 or more is a number of channels already."""
    return int(fraction) if fraction >= 1 else round(fraction * total)


def plan(rank: Ranking, fractions: Sequence[int | float], n_random_sets: Sequence[int], seed: int) -> Iterator[Planned]:
    """Yield "nothing", then at every fraction the top channels of each rule, those of lowest flip response, random
    sets, and random sets of other channels matched to the flip-ranked set in RMS activation.

    n_random_sets  at each fraction, of either kind
    """
    yield Planned("nothing", 0.0, 0, NOTHING, shared=0)
    for fraction, n_sets in zip(fractions, n_random_sets, strict=True):
        n = n_channels(fraction, len(rank.mean))
        sets = rank.sets(n, n_sets, seed)
        flip, = sets["flip"]
        for kind, of_kind in sets.items():
            for chosen in of_kind:
                yield Planned(kind, fraction, n, Ablation(chosen), shared=overlap(chosen.cpu(), flip.cpu()))


def batch_size(device: torch.device, rows: int, cols: int) -> int:
    """Images per forward pass: 2^18 pixels on a CPU, 2^21 on a GPU."""
    return max(1, 2 ** (18 if device.type == "cpu" else 21) // (rows * cols))


def bootstrap_weights(n: int, draws: int, seed: int) -> Float[Tensor, "draw {n}"]:
    """How often each of n images counts: once each in the first row, which is the test set itself, then in `draws`
    bootstrap samples.
    """
    return torch.cat([torch.ones(1, n), metrics.bootstrap(n, draws, seed)])


def value_with_interval(values: Float[Tensor, " draw"], scale: int | float = 1) -> dict[str, float]:
    """The value on the test set, and the 95 % interval of its bootstrap, from one value per row of
    `bootstrap_weights`.
    """
    low, high = values[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return {"value": scale * values[0].item(), "low": scale * low, "high": scale * high}


def ranking_gaps(cost: Mapping[tuple[str, int | float], Float[Tensor, " draw"]], kinds: Sequence[str],
                 fractions: Sequence[int | float], scale: int | float = 1) -> list[dict]:
    """The cost of ablating a ranked set beyond random sets, and beyond RMS-matched random sets, of the same size.

    cost  (kind, fraction) -> cost of the ablation, averaged over sets, one value per row of `bootstrap_weights`
    Returns a row for every kind, control and fraction: kind, against, fraction, value, low, high.
    """
    return [{"kind": kind, "against": against, "fraction": fraction,
             **value_with_interval(cost[kind, fraction] - cost[against, fraction], scale)}
            for kind in kinds for against in CONTROLS for fraction in fractions]


def rows_of(runs: Sequence[records.Record], result: str, column: str, names: Mapping[str, str]) -> pd.DataFrame:
    """Concatenate the rows that runs have under `result`, with their seed, and their name in `column`.

    names  digest of a config -> name
    """
    frames = [pd.DataFrame(run.results[result]).assign(**{column: names[run.digest]}, seed=run.seed) for run in runs]
    return pd.concat(frames, ignore_index=True)


def summarise(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """`records.summarise`, but with the two values in place of an interval where there are two networks, whose 95 %
    interval is wider than the scale.
    """
    summary = records.summarise(frame, by, value)
    ends = frame.groupby(list(by), sort=False, dropna=False)[value].agg(["min", "max"]).to_numpy()
    two = summary["n"] == 2
    return summary.assign(low=summary["low"].where(~two, ends[:, 0]), high=summary["high"].where(~two, ends[:, 1]))


def spread(n: int) -> str:
    """Describe what `summarise` gives for n networks."""
    return {1: "one network", 2: "mean of two networks, the line from one to the other"}.get(
        n, f"mean and 95 % interval (Student's t) over n = {n} networks")


def gap_table(gaps: pd.DataFrame, by: Sequence[str], seed: int) -> pd.DataFrame:
    """Summarise gaps over seeds, one row per combination of `by`; "bootstrap" is the value and interval of `seed`
    alone, as text.
    """
    summary = summarise(gaps, by, "value")
    single = gaps[gaps["seed"] == seed].set_index(list(by))
    rows = [single.loc[key] for key in summary[list(by)].itertuples(index=False, name=None)]
    return summary.assign(bootstrap=[f"{row['value']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]" for row in rows])


def overlaps(rows: pd.DataFrame, total: int, fractions: Sequence[int | float]) -> pd.DataFrame:
    """How many channels random sets share with the flip-ranked set of the same size, one row per fraction and kind of
    `CONTROLS`: n, expected (of a uniform random set, n^2 / total) and shared (mean over sets and networks).

    rows  the "rows" of all runs (`rows_of`).  "shared" is nan in records made before it was counted
    """
    found = []
    for fraction in fractions:
        for kind in CONTROLS:
            sets = rows[(rows["kind"] == kind) & ((rows["fraction"] - fraction).abs() < 1e-4)]   # rounded in records
            n = n_channels(fraction, total)
            shared = sets["shared"].astype(float).mean() if "shared" in sets else float("nan")
            found.append({"fraction": fraction, "kind": kind, "n": n, "expected": n * n / total, "shared": shared})
    return pd.DataFrame(found)
